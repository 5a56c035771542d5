/*
 * config.h - the configuration of the program: a YAML file, checked, completed with defaults, with all paths absolute.
 *
 * Read once at start, on the main thread; nothing here is changed afterwards. main.c translates it for the node layer.
 * Every key is optional but node.name (which --name may give) and a pool's name and worker. The reference of all keys,
 * with their defaults and bounds, is the struct below and cnode/README.md.
 */
#ifndef NP_CNODE_CONFIG_H
#define NP_CNODE_CONFIG_H

#include <native_pool/types.h>
#include <stdio.h>

enum {
    NP_CONFIG_FILE_BYTES_MAX = 16 << 20, /* a larger file is no config but a mistake */
    NP_CONFIG_NOT_OFFERED = 1000,  /* values of enums from here on are known but not listed among what is allowed */
    NP_CONFIG_START_MAX = 1000000, /* ids started with the node, per pool; as many workers as one node is made for */
};

/* An id of a worker: an integer (plain decimal digits in YAML) or a binary (any other text, or quoted). */
typedef struct np_config_value {
    bool is_text;
    int64_t number;
    char *text; /* NULL unless is_text */
} np_config_value;

typedef enum np_config_isolation {
    NP_CONFIG_INLINE,
    NP_CONFIG_PROCESS = NP_CONFIG_NOT_OFFERED /* known, but not in this version */
} np_config_isolation;

typedef struct np_config_cookie {
    char *node;        /* the peer */
    char *cookie_file; /* absolute */
} np_config_cookie;

typedef struct np_config_peer_port {
    char *node;
    uint16_t port;
} np_config_peer_port;

typedef struct np_config_pool {
    char *name;          /* pools[].name: an atom, e.g. Elixir.MyPool */
    char *worker;        /* pools[].worker, as written: a linked-in type, a plugin's name, or a plugin's file */
    char *worker_file;   /* absolute file of the plugin; NULL: linked in */
    char *worker_module; /* pools[].worker_module: the module atom in refs; default NAME.Worker */
    np_config_isolation isolation; /* pools[].isolation: inline, the default and the only one */
    uint32_t segments;             /* pools[].segments: default 1 */
    np_config_value *start;        /* pools[].start: ids started with the node, each once */
    size_t start_count;
} np_config_pool;

typedef struct np_config {
    char *file;                /* absolute; NULL when there is none */
    char *name;                /* node.name */
    char *cookie_file;         /* node.cookie_file or --cookie-file, absolute; NULL: not given */
    bool cookie_file_given;    /* it is --cookie-file's */
    np_config_cookie *cookies; /* node.cookies: other cookies for some peers */
    size_t cookies_count;
    char **connect; /* node.connect: seeds, dialled and redialled */
    size_t connect_count;
    char **scopes; /* node.scopes: syn scopes joined besides those of the pools, each once */
    size_t scopes_count;
    bool hidden;             /* node.hidden: true */
    char *listen_address;    /* node.listen_address: NULL, that is the name's host if it is an address, else all */
    uint16_t port;           /* node.port: 0, that is any free one */
    bool epmd;               /* node.epmd: true; false: neither registered nor looked up, needs port and peer_ports */
    uint16_t epmd_port;      /* node.epmd_port: environment ERL_EPMD_PORT or 4369 */
    uint32_t tick_time_s;    /* node.tick_time_s: 60, as net_ticktime */
    uint32_t max_message_mb; /* node.max_message_mb: 256 */
    uint32_t out_queue_mb;   /* node.out_queue_mb: 256; queued for one peer before sends fail */
    np_config_peer_port *peer_ports; /* node.peer_ports: peers reached at a known port, without epmd */
    size_t peer_ports_count;
    uint16_t peer_port;     /* node.peer_port: with epmd off, the port of all other peers; 0: the same as port */
    bool discover;          /* node.discover: true; connect to the other nodes of the seeds' cluster, too */
    np_log_level log_level; /* node.log_level: notice */
    np_config_pool *pools;
    size_t pools_count;
} np_config;

/* What loading needs to know from outside the file. */
typedef struct np_config_env {
    const char *name; /* --name; wins over node.name; NULL: none */
    const char
        *cookie_file; /* --cookie-file, relative to the working directory; wins over node.cookie_file; NULL: none */
    const char *const *connect; /* --connect, in addition to node.connect */
    size_t connect_count;
    const char *program_dir;             /* where the program is: plugins are looked for in its workers/ */
    bool (*linked_in)(const char *name); /* is this the name of a linked-in worker type; NULL: there are none */
    /* can this file be used as a plugin: 0, or NP_EINVAL and why not; NULL: not asked */
    int (*check_plugin)(const char *file, char *why, size_t size);
} np_config_env;

/*
 * Loads and checks a file (NULL: no file, defaults only), with what env overrides. Returns 0 and the config, or
 * NP_EINVAL and in *errors the reasons: one line each, `FILE:LINE: KEY: what is wrong; what is allowed`, for the caller
 * to free().
 */
int np_config_load(const char *file, const np_config_env *env, np_config **config, char **errors);
void np_config_destroy(np_config **config);

/* Writes the effective config as YAML; loading that gives the same config again, from any directory. */
void np_config_print(const np_config *config, FILE *to);

/* NULL if text is a full node name, NAME@HOST, as epmd and the handshake accept it; else what is wrong with it. */
const char *np_config_node_name_error(const char *text);

#endif
