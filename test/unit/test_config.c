/*
 * The YAML config: what is read, what defaults are, what is refused and how it is said, and that --print-config gives the same
 * again. Files are written to a directory of this test.
 */
#include "base/assert.h"
#include "cnode/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/np-test-config.XXXXXX";
static char file[64];

static void write_file(const char *path, const char *text) {
    FILE *stream = fopen(path, "w");

    assert_non_null(stream);
    assert_int_equal(fwrite(text, 1, strlen(text), stream), strlen(text));
    fclose(stream);
}

static int setup(void **state) {
    char path[64];

    (void)state;
    NP_ASSERT(mkdtemp(dir) != NULL);
    snprintf(file, sizeof file, "%s/c.yaml", dir);
    snprintf(path, sizeof path, "%s/counter.so", dir);
    write_file(path, "");
    unsetenv("ERL_EPMD_PORT");
    setenv("HOME", "/home/me", 1);
    return 0;
}

static int teardown(void **state) {
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static bool linked_in(const char *name) { return strcmp(name, "built_in") == 0; }

static np_config_env env = {.program_dir = "/opt/np", .linked_in = linked_in};

static np_config *load(const char *text) {
    np_config *config;
    char *errors;
    int rc;

    write_file(file, text);
    rc = np_config_load(file, &env, &config, &errors);
    if (rc != 0)
        print_error("%s", errors);
    assert_int_equal(rc, 0);
    assert_null(errors);
    assert_non_null(config);
    return config;
}

/* Loading must fail with exactly these lines; each stands behind the file's name. */
static void fails(const char *text, const char *const *lines) {
    char *expected = NULL;
    size_t len;
    FILE *stream = open_memstream(&expected, &len);
    np_config *config;
    char *errors;

    for (; *lines != NULL; lines++)
        fprintf(stream, "%s%s\n", file, *lines);
    fclose(stream);
    write_file(file, text);
    assert_int_equal(np_config_load(file, &env, &config, &errors), NP_EINVAL);
    assert_null(config);
    assert_string_equal(errors, expected);
    free(errors);
    free(expected);
}

#define FAILS(text, ...) fails(text, (const char *const[]){__VA_ARGS__, NULL})

static void defaults(void **state) {
    np_config *config = load("node: {name: n@h}\n");

    (void)state;
    assert_string_equal(config->name, "n@h");
    assert_null(config->cookie_file);
    assert_int_equal(config->connect_count, 0);
    assert_int_equal(config->cookies_count, 0);
    assert_true(config->hidden);
    assert_null(config->listen_address);
    assert_int_equal(config->port, 0);
    assert_true(config->epmd);
    assert_int_equal(config->epmd_port, 4369);
    assert_int_equal(config->tick_time_s, 60);
    assert_int_equal(config->max_message_mb, 256);
    assert_int_equal(config->out_queue_mb, 256);
    assert_int_equal(config->peer_ports_count, 0);
    assert_int_equal(config->peer_port, 0);
    assert_true(config->discover);
    assert_int_equal(config->log_level, NP_LOG_NOTICE);
    assert_int_equal(config->pools_count, 0);
    np_config_destroy(&config);
    assert_null(config);
}

static void everything(void **state) {
    np_config *config = load("node:\n"
                             "  name: nat_ive-1@host.example\n"
                             "  cookie_file: ~/cookie\n"
                             "  cookies: [{node: p@h, cookie_file: other}]\n"
                             "  connect: [a@b, c@d]\n"
                             "  scopes: [users, Elixir.My.Scope]\n"
                             "  hidden: no\n"
                             "  listen_address: ::1\n"
                             "  port: 9100\n"
                             "  epmd: false\n"
                             "  epmd_port: 4370\n"
                             "  tick_time_s: 8\n"
                             "  max_message_mb: 16\n"
                             "  out_queue_mb: 32\n"
                             "  peer_ports: [{node: p@h, port: 9101}]\n"
                             "  peer_port: 9102\n"
                             "  discover: off\n"
                             "  log_level: debug\n"
                             "pools:\n"
                             "  - name: Elixir.A\n"
                             "    worker: counter\n"
                             "    isolation: inline\n"
                             "    segments: 4\n"
                             "    start: [1, -2, \"3\", four, 05, 9223372036854775807]\n"
                             "  - name: Elixir.B\n"
                             "    worker: built_in\n"
                             "    worker_module: Elixir.B.Thing\n");
    const np_config_pool *pool = config->pools;
    char path[64];

    (void)state;
    assert_string_equal(config->file, file);
    assert_string_equal(config->cookie_file, "/home/me/cookie");
    assert_int_equal(config->cookies_count, 1);
    assert_string_equal(config->cookies[0].node, "p@h");
    snprintf(path, sizeof path, "%s/other", dir);
    assert_string_equal(config->cookies[0].cookie_file, path);
    assert_int_equal(config->connect_count, 2);
    assert_string_equal(config->connect[1], "c@d");
    assert_int_equal(config->scopes_count, 2);
    assert_string_equal(config->scopes[1], "Elixir.My.Scope");
    assert_false(config->hidden);
    assert_string_equal(config->listen_address, "::1");
    assert_int_equal(config->port, 9100);
    assert_false(config->epmd);
    assert_int_equal(config->epmd_port, 4370);
    assert_int_equal(config->tick_time_s, 8);
    assert_int_equal(config->max_message_mb, 16);
    assert_int_equal(config->out_queue_mb, 32);
    assert_int_equal(config->peer_ports_count, 1);
    assert_int_equal(config->peer_ports[0].port, 9101);
    assert_int_equal(config->peer_port, 9102);
    assert_false(config->discover);
    assert_int_equal(config->log_level, NP_LOG_DEBUG);

    assert_int_equal(config->pools_count, 2);
    assert_string_equal(pool->name, "Elixir.A");
    assert_string_equal(pool->worker, "counter");
    snprintf(path, sizeof path, "%s/counter.so", dir);
    assert_string_equal(pool->worker_file, path);
    assert_string_equal(pool->worker_module, "Elixir.A.Worker");
    assert_int_equal(pool->isolation, NP_CONFIG_INLINE);
    assert_int_equal(pool->segments, 4);
    assert_int_equal(pool->start_count, 6);
    assert_false(pool->start[0].is_text);
    assert_int_equal(pool->start[0].number, 1);
    assert_int_equal(pool->start[1].number, -2);
    assert_true(pool->start[2].is_text); /* quoted */
    assert_string_equal(pool->start[2].text, "3");
    assert_string_equal(pool->start[3].text, "four");
    assert_string_equal(pool->start[4].text, "05"); /* no decimal number: YAML 1.1 has octal ones here */
    assert_true(pool->start[5].number == INT64_MAX);
    pool++;
    assert_null(pool->worker_file);
    assert_string_equal(pool->worker_module, "Elixir.B.Thing");
    assert_int_equal(pool->segments, 1);
    assert_int_equal(pool->start_count, 0);
    np_config_destroy(&config);
}

static void empty_values_are_defaults(void **state) {
    np_config *config = load("node:\n  name: n@h\n  connect:\n  port: ~\npools:\n");

    (void)state;
    assert_int_equal(config->connect_count, 0);
    assert_int_equal(config->port, 0);
    assert_int_equal(config->pools_count, 0);
    np_config_destroy(&config);
}

static void structure_errors(void **state) {
    (void)state;
    FAILS("node:\n  name: n@h\n  foo: 1\n  hidden: maybe\n  port: 1.5\n  connect: a@b\n",
          ":3: node.foo: unknown key; use one of: name, cookie_file, cookies, connect, scopes, hidden, listen_address, port, "
          "epmd, epmd_port, tick_time_s, max_message_mb, out_queue_mb, peer_ports, peer_port, discover, log_level",
          ":4: node.hidden: 'maybe' is not allowed; use true or false",
          ":5: node.port: '1.5' is not allowed; use a whole number",
          ":6: node.connect: is a single value; use a list ([a, b], or lines of `- a`)");
    FAILS("pools:\n  - name: A\n  - worker: counter\n    worker: counter\n",
          ":2: pools[0]: the key 'worker' is missing", ":3: pools[1]: the key 'name' is missing",
          ":4: pools[1].worker: given twice, first in line 3");
    FAILS("pools: [{name: A, worker: counter, isolation: foo, start: [{}]}]\n",
          ":1: pools[0].isolation: 'foo' is not allowed; use one of: inline",
          ":1: pools[0].start[0]: is a mapping; use a single value");
    FAILS("node: &n {name: n@h}\npools: [{name: *n, worker: counter}]\n",
          ":2: pools[0].name: anchors and aliases (&name, *name) are not supported; write the value out");
    FAILS("node: {name: n@h}\n  pools: [\n", ":2: not YAML: did not find expected key while parsing a block mapping");
    FAILS("[1, 2]\n", ":1: is a list; use a mapping (lines of `key: value`)");
}

static void value_errors(void **state) {
    (void)state;
    FAILS(
        "node:\n  name: na.me@h\n  port: 70000\n  connect: [a@b, bad]\n  listen_address: localhost\n  tick_time_s: 1\n"
        "  cookies:\n    - {node: a@b, cookie_file: x}\n    - {node: a@b, cookie_file: y}\n",
        ":2: node.name: 'na.me@h' is not a node name; before the @ use letters, digits, - and _ only",
        ":3: node.port: 70000 is not allowed; use 0 to 65535",
        ":4: node.connect[1]: 'bad' is not a full node name; use NAME@HOST",
        ":5: node.listen_address: 'localhost' is not allowed; use an IPv4 or IPv6 address",
        ":6: node.tick_time_s: 1 is not allowed; use 4 to 86400",
        ":9: node.cookies[1].node: a@b has a cookie already in node.cookies[0]");
    FAILS("pools: []\n", ":1: node.name: is missing; give it here or with --name NAME@HOST");
    FAILS("node: {name: n@h, epmd: false}\n",
          ":1: node.epmd: without epmd nobody can find a free port; give node.port a fixed one");
    FAILS("node: {name: n@h}\n"
          "pools:\n"
          "  - name: A\n    worker: counter\n    segments: 0\n    isolation: process\n"
          "  - name: A\n    worker: counter\n    start: [1, a, 2, \"1\", 1, a]\n"
          "  - name: A.Server\n    worker: counter\n"
          "  - {name: B, worker: built_in, start: [9223372036854775808]}\n",
          ":5: pools[0].segments: 0 is not allowed; use 1 to 4096",
          ":6: pools[0].isolation: 'process' is not available in this version; use one of: inline",
          ":7: pools[1].name: 'A' is the name of pools[0] already",
          ":9: pools[1].start[4]: is in the list already; each id can be started once",
          ":9: pools[1].start[5]: is in the list already; each id can be started once",
          ":10: pools[2].name: 'A.Server' clashes with 'A': a pool P registers P, P.Server and P.WorkerSupervisor",
          ":12: pools[3].start[0]: 9223372036854775808 is too large; use at most 64 bits");
}

static void worker_not_found(void **state) {
    char expected[512];

    (void)state;
    setenv("NATIVE_POOL_WORKERS", "/a:/b/c", 1);
    snprintf(expected, sizeof expected,
             ":2: pools[0].worker: no worker type 'nope'; looked for %s/nope.so, /opt/np/workers/nope.so, /a/nope.so, "
             "/b/c/nope.so",
             dir);
    FAILS("node: {name: n@h}\npools: [{name: A, worker: nope}]\n", expected);
    unsetenv("NATIVE_POOL_WORKERS");
    snprintf(expected, sizeof expected, ":2: pools[0].worker: no worker type './x/y.so'; looked for %s/x/y.so", dir);
    FAILS("node: {name: n@h}\npools: [{name: A, worker: ./x/y.so}]\n", expected);
}

static void worker_by_path_list(void **state) {
    np_config *config;
    char path[64];

    (void)state;
    snprintf(path, sizeof path, "%s/w", dir);
    mkdir(path, 0700);
    setenv("NATIVE_POOL_WORKERS", path, 1);
    snprintf(path, sizeof path, "%s/w/far.so", dir);
    write_file(path, "");
    config = load("node: {name: n@h}\npools: [{name: A, worker: far}, {name: B, worker: w/far.so}]\n");
    assert_string_equal(config->pools[0].worker_file, path);
    assert_string_equal(config->pools[1].worker_file, path);
    np_config_destroy(&config);
    unsetenv("NATIVE_POOL_WORKERS");
}

static void command_line_wins(void **state) {
    const char *const connect[] = {"x@y", "a@b"};
    np_config *config;
    char *errors;

    (void)state;
    env.name = "other@h";
    env.cookie_file = "/c";
    env.connect = connect;
    env.connect_count = 2;
    config = load("node: {name: n@h, cookie_file: d, connect: [a@b]}\n");
    assert_string_equal(config->name, "other@h");
    assert_string_equal(config->cookie_file, "/c");
    assert_int_equal(config->connect_count, 2);
    assert_string_equal(config->connect[0], "a@b");
    assert_string_equal(config->connect[1], "x@y");
    np_config_destroy(&config);

    assert_int_equal(np_config_load(NULL, &env, &config, &errors), 0);
    assert_string_equal(config->name, "other@h");
    assert_null(config->file);
    np_config_destroy(&config);

    env.name = "bad";
    assert_int_equal(np_config_load(NULL, &env, &config, &errors), NP_EINVAL);
    assert_string_equal(errors, "command line: --name: 'bad' is not a full node name; use NAME@HOST\n");
    free(errors);
    env = (np_config_env){.program_dir = "/opt/np", .linked_in = linked_in};
}

static void missing_file(void **state) {
    np_config *config;
    char *errors;

    (void)state;
    assert_int_equal(np_config_load("/no/such.yaml", &env, &config, &errors), NP_EINVAL);
    assert_string_equal(errors, "/no/such.yaml: cannot open: No such file or directory\n");
    free(errors);
}

static void epmd_port_of_environment(void **state) {
    np_config *config;

    (void)state;
    setenv("ERL_EPMD_PORT", "5000", 1);
    config = load("node: {name: n@h}\n");
    assert_int_equal(config->epmd_port, 5000);
    np_config_destroy(&config);
    setenv("ERL_EPMD_PORT", "x", 1);
    FAILS("node: {name: n@h}\n", ":1: environment ERL_EPMD_PORT: 'x' is not allowed; use 1 to 65535");
    unsetenv("ERL_EPMD_PORT");
}

static char *print(const np_config *config) {
    char *text = NULL;
    size_t len;
    FILE *stream = open_memstream(&text, &len);

    np_config_print(config, stream);
    fclose(stream);
    return text;
}

static void prints_what_it_reads(void **state) {
    np_config *config = load("node:\n"
                             "  name: n@h\n  cookie_file: c\n  cookies: [{node: p@h, cookie_file: ~/x}]\n"
                             "  connect: [a@b]\n  scopes: [s]\n  listen_address: 127.0.0.1\n  peer_ports: [{node: p@h, port: 1}]\n"
                             "pools:\n"
                             "  - {name: 'true', worker: counter, start: [1, \"1\", \"a\\\"\\\\\\n\\x01é\", ~a]}\n"
                             "  - {name: 'a: b', worker: built_in}\n");
    char *first = print(config);
    char *second;

    (void)state;
    np_config_destroy(&config);
    config = load(first);
    second = print(config);
    assert_string_equal(second, first);
    assert_string_equal(config->pools[0].start[2].text, "a\"\\\n\x01é");
    assert_string_equal(config->pools[0].start[3].text, "~a");
    assert_string_equal(config->pools[1].name, "a: b");
    np_config_destroy(&config);
    free(first);
    free(second);
}

static void node_names(void **state) {
    char longest[300];

    (void)state;
    assert_null(np_config_node_name_error("a@b"));
    assert_null(np_config_node_name_error("a_-9@127.0.0.1"));
    assert_null(np_config_node_name_error("a@::1"));
    assert_non_null(np_config_node_name_error(""));
    assert_non_null(np_config_node_name_error("a"));
    assert_non_null(np_config_node_name_error("a@"));
    assert_non_null(np_config_node_name_error("@b"));
    assert_non_null(np_config_node_name_error("a@b@c"));
    assert_non_null(np_config_node_name_error("a b@c"));
    memset(longest, 'a', sizeof longest);
    longest[255] = '\0';
    longest[1] = '@';
    assert_null(np_config_node_name_error(longest));
    longest[255] = 'a';
    longest[256] = '\0';
    assert_non_null(np_config_node_name_error(longest));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(everything),
        cmocka_unit_test(empty_values_are_defaults),
        cmocka_unit_test(structure_errors),
        cmocka_unit_test(value_errors),
        cmocka_unit_test(worker_not_found),
        cmocka_unit_test(worker_by_path_list),
        cmocka_unit_test(command_line_wins),
        cmocka_unit_test(missing_file),
        cmocka_unit_test(epmd_port_of_environment),
        cmocka_unit_test(prints_what_it_reads),
        cmocka_unit_test(node_names),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
