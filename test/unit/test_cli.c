/* The command line, and the sources of the cookie. */
#include "base/log.h"
#include "cnode/cli.h"
#include "cnode/cookie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static np_cli cli;

/* Parses; the error line, or NULL. */
static char *parse(const char *const *arguments) {
    char *argv[16] = {"native-pool"};
    int argc = 1;
    char *error;
    int rc;

    while (*arguments != NULL)
        argv[argc++] = (char *)*arguments++;
    argv[argc] = NULL;
    rc = np_cli_parse(argc, argv, &cli, &error);
    assert_int_equal(rc, error == NULL ? 0 : NP_EINVAL);
    return error;
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void refused(char *error, const char *expected) {
    assert_non_null(error);
    assert_string_equal(error, expected);
    free(error);
}

static void options(void **state) {
    (void)state;
    assert_null(PARSE("--config", "c.yaml"));
    assert_int_equal(cli.action, NP_CLI_RUN);
    assert_string_equal(cli.config_file, "c.yaml");
    assert_null(cli.name);
    assert_int_equal(cli.connect_count, 0);
    assert_false(cli.supervised);

    assert_null(PARSE("--name", "n@h", "--cookie-file=f", "--connect", "a@b", "--connect", "c@d", "--supervised"));
    assert_string_equal(cli.name, "n@h");
    assert_string_equal(cli.cookie_file, "f");
    assert_int_equal(cli.connect_count, 2);
    assert_string_equal(cli.connect[1], "c@d");
    assert_true(cli.supervised);

    assert_null(PARSE("--check-config", "--config", "c"));
    assert_int_equal(cli.action, NP_CLI_CHECK_CONFIG);
    assert_null(PARSE("--print-config", "--name", "n@h"));
    assert_int_equal(cli.action, NP_CLI_PRINT_CONFIG);
    assert_null(PARSE("--version"));
    assert_int_equal(cli.action, NP_CLI_VERSION);
    assert_null(PARSE("--help"));
    assert_int_equal(cli.action, NP_CLI_HELP);
}

static void mistakes(void **state) {
    (void)state;
    refused(parse((const char *const[]){NULL}), "give --config FILE, or --name NAME@HOST");
    refused(PARSE("--foo"), "--foo: unknown option, or one that takes no value");
    refused(PARSE("--name", "n@h", "--config"), "--config: needs a value");
    refused(PARSE("--name", "n@h", "--name", "m@h"), "--name: given twice");
    refused(PARSE("--name", "n@h", "more"), "more: unexpected argument");
    refused(PARSE("--cookie", "secret", "--name", "n@h", "secret"), "secret: unexpected argument");
}

/* ---- cookies ---- */

static char dir[] = "/tmp/np-test-cli.XXXXXX";
static char file[64];

static void write_cookie(const char *text, mode_t mode) {
    FILE *stream;

    unlink(file);
    stream = fopen(file, "w");
    assert_non_null(stream);
    fputs(text, stream);
    fclose(stream);
    assert_int_equal(chmod(file, mode), 0);
}

static void expect_cookie(const char *from, const char *text) {
    np_cookie_text cookie;
    char *error;

    assert_int_equal(np_cookie_find(from, NULL, &cookie, &error), 0);
    assert_null(error);
    assert_string_equal(cookie.text, text);
}

static void expect_error(const char *from, const char *part) {
    np_cookie_text cookie;
    char *error;

    assert_int_equal(np_cookie_find(from, NULL, &cookie, &error), NP_EINVAL);
    assert_non_null(strstr(error, part));
    free(error);
}

static int setup(void **state) {
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/.erlang.cookie", dir);
    setenv("HOME", dir, 1);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unlink(file);
    return rmdir(dir);
}

static void cookie_sources(void **state) {
    (void)state;
    write_cookie("fromfile\n", 0400);
    setenv("NATIVE_POOL_COOKIE", "fromenv", 1);
    expect_cookie(file, "fromfile");
    assert_null(getenv("NATIVE_POOL_COOKIE")); /* not left behind, used or not */

    /* the config's file: after the environment, before ~/.erlang.cookie */
    np_cookie_text cookie;
    char *error;
    char other[600];
    snprintf(other, sizeof other, "%s.other", file);
    FILE *stream = fopen(other, "w");
    assert_non_null(stream);
    fputs("fromconfig\n", stream);
    fclose(stream);
    assert_int_equal(np_cookie_find(NULL, other, &cookie, &error), 0);
    assert_string_equal(cookie.text, "fromconfig");
    setenv("NATIVE_POOL_COOKIE", "fromenv", 1);
    assert_int_equal(np_cookie_find(NULL, other, &cookie, &error), 0);
    assert_string_equal(cookie.text, "fromenv");
    unlink(other);
    setenv("NATIVE_POOL_COOKIE", "fromenv", 1);
    expect_cookie(NULL, "fromenv");
    expect_cookie(NULL, "fromfile"); /* of the home directory */
    unlink(file);
    expect_error(NULL, "/.erlang.cookie: cannot open the cookie file: No such file");
}

static void cookie_texts(void **state) {
    char longest[300];

    (void)state;
    write_cookie("abc\r\nmore", 0400);
    expect_cookie(file, "abc");
    write_cookie("", 0400);
    expect_error(file, ": the cookie is empty");
    write_cookie("\n", 0400);
    expect_error(file, ": the cookie is empty");
    write_cookie("a b\n", 0400);
    expect_error(file, ": the cookie has a blank or a control character");
    memset(longest, 'x', sizeof longest);
    longest[256] = '\0';
    write_cookie(longest, 0400);
    expect_error(file, ": the cookie is longer than 255 bytes");
    longest[255] = '\0';
    write_cookie(longest, 0400);
    expect_cookie(file, longest);
    setenv("NATIVE_POOL_COOKIE", "", 1);
    expect_error(NULL, "NATIVE_POOL_COOKIE: the cookie is empty");
}

static void cookie_open_to_others(void **state) {
    char log[512] = "";
    int pipes[2];

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    np_log_set_fd(pipes[1]);
    write_cookie("abc", 0400);
    expect_cookie(file, "abc");
    write_cookie("abc", 0644);
    expect_cookie(file, "abc");
    np_log_set_fd(2);
    close(pipes[1]);
    assert_true(read(pipes[0], log, sizeof log - 1) > 0);
    close(pipes[0]);
    assert_non_null(strstr(log, " warning cnode/cookie cookie file is accessible to others file="));
    assert_non_null(strstr(log, " mode=644\n"));
    assert_ptr_equal(strchr(log, '\n'), log + strlen(log) - 1); /* one line: the first file was fine */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(cookie_sources),
        cmocka_unit_test(cookie_texts),
        cmocka_unit_test(cookie_open_to_others),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
