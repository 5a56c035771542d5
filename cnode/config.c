/*
 * config.c - see config.h: the schema, the raw structs that cyaml fills, and their way into np_config with defaults and
 * checks.
 *
 * Main thread, at start; allocation failures end the program (nothing is running yet).
 */
#include "cnode/config.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"
#include "cnode/config_file.h"
#include "cnode/paths.h"

#include <native_pool/term.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    TEXT_MAX = 65535,        /* bytes of any text value */
    ATOM_CHARS_MAX = 255,    /* of OTP */
    POOL_NAME_MAX = 238,     /* NAME.WorkerSupervisor is an atom, too */
    LISTED_MAX = 4096,       /* seeds, cookies, peer ports: NP_PEERS_MAX */
    TICK_TIME_S_MIN = 4,     /* a tick each second */
    TICK_TIME_S_MAX = 86400, /* a day; longer is off */
    MESSAGE_MB_MAX = 4095,   /* the length of a packet has 32 bits */
    QUEUE_MB_MAX = 1 << 20,
    EPMD_PORT = 4369,
};

/* ---- what cyaml fills; NULL: the key is not there ---- */

typedef struct raw_cookie {
    char *node;
    char *cookie_file;
} raw_cookie;

typedef struct raw_peer_port {
    char *node;
    int64_t port;
} raw_peer_port;

typedef struct raw_node {
    char *name;
    char *cookie_file;
    raw_cookie *cookies;
    unsigned cookies_count;
    char **connect;
    unsigned connect_count;
    char **scopes;
    unsigned scopes_count;
    bool *hidden;
    char *listen_address;
    int64_t *port;
    bool *epmd;
    int64_t *epmd_port;
    int64_t *tick_time_s;
    int64_t *max_message_mb;
    int64_t *out_queue_mb;
    raw_peer_port *peer_ports;
    unsigned peer_ports_count;
    int64_t *peer_port;
    bool *discover;
    np_log_level *log_level;
} raw_node;

typedef struct raw_pool {
    char *name;
    char *worker;
    char *worker_module;
    np_config_isolation *isolation;
    int64_t *segments;
    char **start;
    unsigned start_count;
} raw_pool;

typedef struct raw_config {
    raw_node *node;
    raw_pool *pools;
    unsigned pools_count;
} raw_config;

/* ---- the schema ---- */

#define MAYBE (CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER_NULL_STR)
#define MUST  CYAML_FLAG_POINTER

static const cyaml_strval_t log_levels[] = {
    {"emergency", NP_LOG_EMERGENCY}, {"alert", NP_LOG_ALERT},   {"critical", NP_LOG_CRITICAL}, {"error", NP_LOG_ERROR},
    {"warning", NP_LOG_WARNING},     {"notice", NP_LOG_NOTICE}, {"info", NP_LOG_INFO},         {"debug", NP_LOG_DEBUG},
};
static const cyaml_strval_t isolations[] = {{"inline", NP_CONFIG_INLINE}, {"process", NP_CONFIG_PROCESS}};

static const cyaml_schema_value_t text_schema = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, TEXT_MAX)};
static const cyaml_schema_value_t value_schema = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, TEXT_MAX)};

static const cyaml_schema_field_t cookie_fields[] = {
    CYAML_FIELD_STRING_PTR("node", MUST, raw_cookie, node, 1, TEXT_MAX),
    CYAML_FIELD_STRING_PTR("cookie_file", MUST, raw_cookie, cookie_file, 1, TEXT_MAX),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t cookie_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, raw_cookie, cookie_fields)};

static const cyaml_schema_field_t peer_port_fields[] = {
    CYAML_FIELD_STRING_PTR("node", MUST, raw_peer_port, node, 1, TEXT_MAX),
    CYAML_FIELD_INT("port", CYAML_FLAG_DEFAULT, raw_peer_port, port),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t peer_port_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, raw_peer_port, peer_port_fields)};

static const cyaml_schema_field_t node_fields[] = {
    CYAML_FIELD_STRING_PTR("name", MAYBE, raw_node, name, 1, TEXT_MAX),
    CYAML_FIELD_STRING_PTR("cookie_file", MAYBE, raw_node, cookie_file, 1, TEXT_MAX),
    CYAML_FIELD_SEQUENCE_COUNT("cookies", MAYBE, raw_node, cookies, cookies_count, &cookie_schema, 0, LISTED_MAX),
    CYAML_FIELD_SEQUENCE_COUNT("connect", MAYBE, raw_node, connect, connect_count, &text_schema, 0, LISTED_MAX),
    CYAML_FIELD_SEQUENCE_COUNT("scopes", MAYBE, raw_node, scopes, scopes_count, &text_schema, 0, LISTED_MAX),
    CYAML_FIELD_BOOL_PTR("hidden", MAYBE, raw_node, hidden),
    CYAML_FIELD_STRING_PTR("listen_address", MAYBE, raw_node, listen_address, 1, TEXT_MAX),
    CYAML_FIELD_INT_PTR("port", MAYBE, raw_node, port),
    CYAML_FIELD_BOOL_PTR("epmd", MAYBE, raw_node, epmd),
    CYAML_FIELD_INT_PTR("epmd_port", MAYBE, raw_node, epmd_port),
    CYAML_FIELD_INT_PTR("tick_time_s", MAYBE, raw_node, tick_time_s),
    CYAML_FIELD_INT_PTR("max_message_mb", MAYBE, raw_node, max_message_mb),
    CYAML_FIELD_INT_PTR("out_queue_mb", MAYBE, raw_node, out_queue_mb),
    CYAML_FIELD_SEQUENCE_COUNT("peer_ports", MAYBE, raw_node, peer_ports, peer_ports_count, &peer_port_schema, 0,
                               LISTED_MAX),
    CYAML_FIELD_INT_PTR("peer_port", MAYBE, raw_node, peer_port),
    CYAML_FIELD_BOOL_PTR("discover", MAYBE, raw_node, discover),
    CYAML_FIELD_ENUM_PTR("log_level", MAYBE | CYAML_FLAG_STRICT, raw_node, log_level, log_levels,
                         NP_ARRAY_LEN(log_levels)),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t pool_fields[] = {
    CYAML_FIELD_STRING_PTR("name", MUST, raw_pool, name, 1, TEXT_MAX),
    CYAML_FIELD_STRING_PTR("worker", MUST, raw_pool, worker, 1, TEXT_MAX),
    CYAML_FIELD_STRING_PTR("worker_module", MAYBE, raw_pool, worker_module, 1, TEXT_MAX),
    CYAML_FIELD_ENUM_PTR("isolation", MAYBE | CYAML_FLAG_STRICT, raw_pool, isolation, isolations,
                         NP_ARRAY_LEN(isolations)),
    CYAML_FIELD_INT_PTR("segments", MAYBE, raw_pool, segments),
    CYAML_FIELD_SEQUENCE_COUNT("start", MAYBE, raw_pool, start, start_count, &value_schema, 0, NP_CONFIG_START_MAX),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t pool_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, raw_pool, pool_fields)};

static const cyaml_schema_field_t config_fields[] = {
    CYAML_FIELD_MAPPING_PTR("node", MAYBE, raw_config, node, node_fields),
    CYAML_FIELD_SEQUENCE_COUNT("pools", MAYBE, raw_config, pools, pools_count, &pool_schema, 0, NP_POOLS_MAX),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t config_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, raw_config, config_fields)};

/* ---- loading ---- */

typedef struct loader {
    np_config_file *file;
    const np_config_env *env;
    char *dir; /* of the file: what relative paths in it are relative to */
    np_config *config;
    char *cyaml_error; /* the first one */
} loader;

static void *alloc_array(size_t count, size_t size) {
    void *array = calloc(count > 0 ? count : 1, size);

    NP_ASSERT(array != NULL);
    return array;
}

static char *copy(const char *text) {
    char *result = strdup(text);

    NP_ASSERT(result != NULL);
    return result;
}

/* "pools[0].start[3]" and the like. */
typedef struct path_text {
    char text[128];
} path_text;

static path_text path(const char *format, ...) __attribute__((format(printf, 1, 2)));

static path_text path(const char *format, ...) {
    path_text result;
    va_list args;

    va_start(args, format);
    vsnprintf(result.text, sizeof result.text, format, args);
    va_end(args);
    return result;
}

const char *np_config_node_name_error(const char *text) {
    static const char alive[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    static const char host[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:";
    size_t len = strspn(text, alive);
    const char *at = text + len;

    if (strchr(text, '@') == NULL)
        return "is not a full node name; use NAME@HOST";
    if (len == 0 || *at != '@')
        return "is not a node name; before the @ use letters, digits, - and _ only";
    if (at[1] == '\0' || at[1 + strspn(at + 1, host)] != '\0')
        return "is not a node name; behind the @ must be a host's name or address";
    if (strlen(text) > ATOM_CHARS_MAX)
        return "is too long; a node name has at most 255 characters";
    return NULL;
}

static bool check_node_name(loader *loader, const char *where, const char *name) {
    const char *error = np_config_node_name_error(name);

    if (error != NULL)
        np_config_file_error(loader->file, where, "'%.60s' %s", name, error);
    return error == NULL;
}

static int64_t number(loader *loader, const char *where, const int64_t *value, int64_t preset, int64_t min,
                      int64_t max) {
    if (value == NULL)
        return preset;
    if (*value < min || *value > max)
        np_config_file_error(loader->file, where, "%lld is not allowed; use %lld to %lld", (long long)*value,
                             (long long)min, (long long)max);
    return *value;
}

static bool boolean(const bool *value, bool preset) { return value != NULL ? *value : preset; }

static uint16_t default_epmd_port(loader *loader) {
    const char *text = getenv("ERL_EPMD_PORT");
    char *end;
    long port;

    if (text == NULL || *text == '\0')
        return EPMD_PORT;
    port = strtol(text, &end, 10);
    if (*end != '\0' || port < 1 || port > 65535) {
        np_config_file_error(loader->file, "", "environment ERL_EPMD_PORT: '%.60s' is not allowed; use 1 to 65535",
                             text);
        return EPMD_PORT;
    }
    return (uint16_t)port;
}

/* ---- node ---- */

static void take_name(loader *loader, const raw_node *raw) {
    const char *from_env = loader->env->name;
    const char *name = from_env != NULL ? from_env : raw->name;
    const char *error;

    if (name == NULL) {
        np_config_file_error(loader->file, "node.name", "is missing; give it here or with --name NAME@HOST");
        return;
    }
    loader->config->name = copy(name);
    error = np_config_node_name_error(name);
    if (error != NULL && from_env != NULL)
        np_config_file_error(loader->file, "", "--name: '%.60s' %s", name, error);
    else if (error != NULL)
        np_config_file_error(loader->file, "node.name", "'%.60s' %s", name, error);
}

static void add_seed(np_config *config, const char *name) {
    for (size_t i = 0; i < config->connect_count; i++)
        if (strcmp(config->connect[i], name) == 0)
            return; /* given in the file and with --connect */
    config->connect[config->connect_count++] = copy(name);
}

static void take_connect(loader *loader, const raw_node *raw) {
    const np_config_env *env = loader->env;
    np_config *config = loader->config;

    config->connect = alloc_array(raw->connect_count + env->connect_count, sizeof *config->connect);
    for (unsigned i = 0; i < raw->connect_count; i++)
        if (check_node_name(loader, path("node.connect[%u]", i).text, raw->connect[i]))
            add_seed(config, raw->connect[i]);
    for (size_t i = 0; i < env->connect_count; i++) {
        const char *error = np_config_node_name_error(env->connect[i]);

        if (error != NULL)
            np_config_file_error(loader->file, "", "--connect: '%.60s' %s", env->connect[i], error);
        else
            add_seed(config, env->connect[i]);
    }
}

/* syn names its processes and tables after a scope: syn_registry_by_name_SCOPE is the longest. */
enum { SCOPE_CHARS_MAX = NP_ATOM_CHARS_MAX - 24 };

static void take_scopes(loader *loader, const raw_node *raw) {
    np_config *config = loader->config;

    config->scopes = alloc_array(raw->scopes_count, sizeof *config->scopes);
    for (unsigned i = 0; i < raw->scopes_count; i++) {
        const char *scope = raw->scopes[i];

        if (strlen(scope) > SCOPE_CHARS_MAX || scope[0] == '\0')
            np_config_file_error(loader->file, path("node.scopes[%u]", i).text,
                                 "'%.60s' is not allowed; a scope has 1 to %d bytes", scope, SCOPE_CHARS_MAX);
        for (size_t j = 0; j < config->scopes_count; j++)
            if (strcmp(config->scopes[j], scope) == 0)
                np_config_file_error(loader->file, path("node.scopes[%u]", i).text, "'%.60s' is there twice", scope);
        config->scopes[config->scopes_count++] = copy(scope);
    }
}

static void take_cookies(loader *loader, const raw_node *raw) {
    np_config *config = loader->config;

    config->cookie_file_given = loader->env->cookie_file != NULL;
    if (config->cookie_file_given)
        config->cookie_file = np_path_absolute(NULL, loader->env->cookie_file);
    else if (raw->cookie_file != NULL)
        config->cookie_file = np_path_absolute(loader->dir, raw->cookie_file);
    config->cookies = alloc_array(raw->cookies_count, sizeof *config->cookies);
    for (unsigned i = 0; i < raw->cookies_count; i++) {
        const raw_cookie *cookie = &raw->cookies[i];

        check_node_name(loader, path("node.cookies[%u].node", i).text, cookie->node);
        for (unsigned k = 0; k < i; k++)
            if (strcmp(raw->cookies[k].node, cookie->node) == 0)
                np_config_file_error(loader->file, path("node.cookies[%u].node", i).text,
                                     "%.60s has a cookie already in node.cookies[%u]", cookie->node, k);
        config->cookies[config->cookies_count++] =
            (np_config_cookie){copy(cookie->node), np_path_absolute(loader->dir, cookie->cookie_file)};
    }
}

static void take_peer_ports(loader *loader, const raw_node *raw) {
    np_config *config = loader->config;

    config->peer_ports = alloc_array(raw->peer_ports_count, sizeof *config->peer_ports);
    for (unsigned i = 0; i < raw->peer_ports_count; i++) {
        const raw_peer_port *peer = &raw->peer_ports[i];

        check_node_name(loader, path("node.peer_ports[%u].node", i).text, peer->node);
        for (unsigned k = 0; k < i; k++)
            if (strcmp(raw->peer_ports[k].node, peer->node) == 0)
                np_config_file_error(loader->file, path("node.peer_ports[%u].node", i).text,
                                     "%.60s has a port already in node.peer_ports[%u]", peer->node, k);
        number(loader, path("node.peer_ports[%u].port", i).text, &peer->port, 0, 1, 65535);
        config->peer_ports[config->peer_ports_count++] = (np_config_peer_port){copy(peer->node), (uint16_t)peer->port};
    }
}

static void take_listen_address(loader *loader, const raw_node *raw) {
    unsigned char address[sizeof(struct in6_addr)];

    if (raw->listen_address == NULL)
        return;
    if (inet_pton(AF_INET, raw->listen_address, address) != 1 && inet_pton(AF_INET6, raw->listen_address, address) != 1)
        np_config_file_error(loader->file, "node.listen_address", "'%.60s' is not allowed; use an IPv4 or IPv6 address",
                             raw->listen_address);
    loader->config->listen_address = copy(raw->listen_address);
}

static void take_node(loader *loader, const raw_node *raw) {
    np_config *config = loader->config;

    take_name(loader, raw);
    take_connect(loader, raw);
    take_scopes(loader, raw);
    take_cookies(loader, raw);
    take_peer_ports(loader, raw);
    take_listen_address(loader, raw);
    config->hidden = boolean(raw->hidden, true);
    config->port = (uint16_t)number(loader, "node.port", raw->port, 0, 0, 65535);
    config->epmd = boolean(raw->epmd, true);
    config->epmd_port = raw->epmd_port == NULL
                            ? default_epmd_port(loader)
                            : (uint16_t)number(loader, "node.epmd_port", raw->epmd_port, 0, 1, 65535);
    config->tick_time_s =
        (uint32_t)number(loader, "node.tick_time_s", raw->tick_time_s, NP_TICKTIME_S, TICK_TIME_S_MIN, TICK_TIME_S_MAX);
    config->max_message_mb =
        (uint32_t)number(loader, "node.max_message_mb", raw->max_message_mb, NP_MESSAGE_MAX >> 20, 1, MESSAGE_MB_MAX);
    config->out_queue_mb =
        (uint32_t)number(loader, "node.out_queue_mb", raw->out_queue_mb, NP_OUT_HARD_BYTES >> 20, 1, QUEUE_MB_MAX);
    config->peer_port = (uint16_t)number(loader, "node.peer_port", raw->peer_port, 0, 0, 65535);
    config->discover = boolean(raw->discover, true);
    config->log_level = raw->log_level != NULL ? *raw->log_level : NP_LOG_NOTICE;
    if (!config->epmd && config->port == 0)
        np_config_file_error(loader->file, raw->port != NULL ? "node.port" : "node.epmd",
                             "without epmd nobody can find a free port; give node.port a fixed one");
}

/* ---- pools ---- */

static bool is_integer(const char *text) {
    text += *text == '-';
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0' && (*text != '0' || text[1] == '\0');
}

/* A list of ids: plain decimal digits are an integer, all else is a binary. */
static np_config_value *take_values(loader *loader, const char *where, char **raw, size_t count) {
    np_config_value *values = alloc_array(count, sizeof *values);

    for (size_t i = 0; i < count; i++) {
        path_text here = path("%s[%zu]", where, i);

        if (is_integer(raw[i]) && np_config_file_is_plain(loader->file, here.text)) {
            errno = 0;
            values[i].number = strtoll(raw[i], NULL, 10);
            if (errno == ERANGE)
                np_config_file_error(loader->file, here.text, "%.60s is too large; use at most 64 bits", raw[i]);
        } else {
            values[i].is_text = true;
            values[i].text = copy(raw[i]);
        }
    }
    return values;
}

static int compare_values(const void *a, const void *b) {
    const np_config_value *x = *(const np_config_value *const *)a;
    const np_config_value *y = *(const np_config_value *const *)b;

    if (x->is_text != y->is_text)
        return x->is_text ? 1 : -1;
    if (x->is_text)
        return strcmp(x->text, y->text);
    return (x->number > y->number) - (x->number < y->number);
}

static void check_start_unique(loader *loader, const char *where, const np_config_value *values, size_t count) {
    const np_config_value **sorted = alloc_array(count, sizeof *sorted);

    for (size_t i = 0; i < count; i++)
        sorted[i] = &values[i];
    qsort(sorted, count, sizeof *sorted, compare_values);
    for (size_t i = 1; i < count; i++) {
        if (compare_values(&sorted[i - 1], &sorted[i]) == 0) {
            size_t index = (size_t)((sorted[i] > sorted[i - 1] ? sorted[i] : sorted[i - 1]) - values);

            np_config_file_error(loader->file, path("%s[%zu]", where, index).text,
                                 "is in the list already; each id can be started once");
        }
    }
    free(sorted);
}

/* Where the worker's code is: linked in, or a plugin that is there now. */
static void take_worker(loader *loader, np_config_pool *pool, const char *where, const char *worker) {
    char *looked_at = NULL;
    const np_config_env *env = loader->env;
    char why[512];

    pool->worker = copy(worker);
    if (env->linked_in != NULL && env->linked_in(worker))
        return;
    pool->worker_file = np_path_find_worker(loader->dir, env->program_dir, worker, &looked_at);
    if (pool->worker_file == NULL)
        np_config_file_error(loader->file, where, "no worker type '%.200s'; looked for %s", worker, looked_at);
    else if (env->check_plugin != NULL && env->check_plugin(pool->worker_file, why, sizeof why) != 0)
        np_config_file_error(loader->file, where, "%s", why);
    free(looked_at);
}

static size_t utf8_chars(const char *text) {
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static void take_pool(loader *loader, unsigned index, const raw_pool *raw) {
    np_config_pool *pool = &loader->config->pools[loader->config->pools_count++];
    path_text start_path = path("pools[%u].start", index);
    char *module = NULL;

    if (utf8_chars(raw->name) > POOL_NAME_MAX)
        np_config_file_error(loader->file, path("pools[%u].name", index).text,
                             "is too long; at most %d characters are allowed", POOL_NAME_MAX);
    pool->name = copy(raw->name);
    take_worker(loader, pool, path("pools[%u].worker", index).text, raw->worker);
    if (raw->worker_module != NULL && utf8_chars(raw->worker_module) > ATOM_CHARS_MAX)
        np_config_file_error(loader->file, path("pools[%u].worker_module", index).text,
                             "is too long; at most %d characters are allowed", ATOM_CHARS_MAX);
    if (raw->worker_module != NULL)
        module = copy(raw->worker_module);
    else
        NP_ASSERT(asprintf(&module, "%s.Worker", raw->name) >= 0);
    pool->worker_module = module;
    pool->isolation = raw->isolation != NULL ? *raw->isolation : NP_CONFIG_INLINE;
    if (pool->isolation == NP_CONFIG_PROCESS)
        np_config_file_error(loader->file, path("pools[%u].isolation", index).text,
                             "'process' is not available in this version; use one of: inline");
    pool->segments =
        (uint32_t)number(loader, path("pools[%u].segments", index).text, raw->segments, 1, 1, NP_SEGMENTS_MAX);
    pool->start = take_values(loader, start_path.text, raw->start, raw->start_count);
    pool->start_count = raw->start_count;
    check_start_unique(loader, start_path.text, pool->start, pool->start_count);
}

/* Is `name` what the node registers for the pool `of`: itself, its server, its first worker supervisor? */
static bool is_name_of(const char *name, const char *of) {
    size_t len = strlen(of);

    return strncmp(name, of, len) == 0 &&
           (name[len] == '\0' || strcmp(name + len, ".Server") == 0 || strcmp(name + len, ".WorkerSupervisor") == 0);
}

static void check_pool_names(loader *loader) {
    const np_config *config = loader->config;

    for (size_t i = 1; i < config->pools_count; i++) {
        const char *name = config->pools[i].name;

        for (size_t k = 0; k < i; k++) {
            const char *other = config->pools[k].name;
            path_text where = path("pools[%zu].name", i);

            if (strcmp(name, other) == 0) {
                np_config_file_error(loader->file, where.text, "'%.60s' is the name of pools[%zu] already", name, k);
                break;
            }
            if (is_name_of(name, other) || is_name_of(other, name)) {
                np_config_file_error(loader->file, where.text,
                                     "'%.60s' clashes with '%.60s': a pool P registers P, P.Server and "
                                     "P.WorkerSupervisor",
                                     name, other);
                break;
            }
        }
    }
}

/* ---- cyaml ---- */

static void keep_first_error(cyaml_log_t level, void *context, const char *format, va_list args) {
    loader *loader = context;

    if (level < CYAML_LOG_ERROR || loader->cyaml_error != NULL)
        return;
    NP_ASSERT(vasprintf(&loader->cyaml_error, format, args) >= 0);
    loader->cyaml_error[strcspn(loader->cyaml_error, "\n")] = '\0';
}

static void take_raw(loader *loader, const raw_config *raw) {
    static const raw_node no_node;
    np_config *config = loader->config;

    take_node(loader, raw->node != NULL ? raw->node : &no_node);
    config->pools = alloc_array(raw->pools_count, sizeof *config->pools);
    for (unsigned i = 0; i < raw->pools_count; i++)
        take_pool(loader, i, &raw->pools[i]);
    check_pool_names(loader);
}

/* The file has passed the check against the schema: cyaml has no reason to complain, but its word counts if it does. */
static void load_raw(loader *loader) {
    static const raw_config empty;
    const cyaml_config_t cyaml = {.log_fn = keep_first_error,
                                  .log_ctx = loader,
                                  .mem_fn = cyaml_mem,
                                  .log_level = CYAML_LOG_ERROR,
                                  .flags = CYAML_CFG_NO_ALIAS};
    np_bytes text = np_config_file_text(loader->file);
    cyaml_data_t *raw = NULL;
    cyaml_err_t rc = CYAML_OK;

    if (text.len > 0)
        rc = cyaml_load_data(text.data, text.len, &cyaml, &config_schema, &raw, NULL);
    if (rc != CYAML_OK)
        np_config_file_error(loader->file, "", "%s",
                             loader->cyaml_error != NULL ? loader->cyaml_error : cyaml_strerror(rc));
    else
        take_raw(loader, raw != NULL ? raw : &empty);
    cyaml_free(&cyaml, &config_schema, raw, 0);
    free(loader->cyaml_error);
}

int np_config_load(const char *file, const np_config_env *env, np_config **config, char **errors) {
    loader loader = {.file = np_config_file_open(file), .env = env};
    int rc = 0;

    *config = NULL;
    *errors = NULL;
    loader.config = alloc_array(1, sizeof *loader.config);
    loader.config->file = file != NULL ? np_path_absolute(NULL, file) : NULL;
    loader.dir = np_path_dir(loader.config->file);
    np_config_file_check(loader.file, &config_schema);
    if (np_config_file_error_count(loader.file) == 0)
        load_raw(&loader);
    if (np_config_file_error_count(loader.file) > 0) {
        *errors = np_config_file_errors(loader.file);
        np_config_destroy(&loader.config);
        rc = NP_EINVAL;
    }
    *config = loader.config;
    free(loader.dir);
    np_config_file_close(&loader.file);
    return rc;
}

static void free_values(np_config_value *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(values[i].text);
    free(values);
}

void np_config_destroy(np_config **config_p) {
    np_config *config = *config_p;

    if (config == NULL)
        return;
    for (size_t i = 0; i < config->pools_count; i++) {
        np_config_pool *pool = &config->pools[i];

        free(pool->name);
        free(pool->worker);
        free(pool->worker_file);
        free(pool->worker_module);
        free_values(pool->start, pool->start_count);
    }
    for (size_t i = 0; i < config->connect_count; i++)
        free(config->connect[i]);
    for (size_t i = 0; i < config->scopes_count; i++)
        free(config->scopes[i]);
    for (size_t i = 0; i < config->cookies_count; i++) {
        free(config->cookies[i].node);
        free(config->cookies[i].cookie_file);
    }
    for (size_t i = 0; i < config->peer_ports_count; i++)
        free(config->peer_ports[i].node);
    free(config->pools);
    free(config->connect);
    free(config->scopes);
    free(config->cookies);
    free(config->peer_ports);
    free(config->file);
    free(config->name);
    free(config->cookie_file);
    free(config->listen_address);
    free(config);
    *config_p = NULL;
}
