/*
 * node.h - the native node: everything wired together, ready to be run by a program.
 *
 * One thread, the caller of np_node_run. Files of this layer: node.c (life), route.c (who gets which message),
 * peers.c/peer.c/epmd_client.c (connections), resident.c (processes written by us), kernel.c (net_kernel, rex,
 * native_pool), rpc.c and functions.c (spawn requests and what can be called), client.c (calls of ours to others),
 * discover.c (finding the rest of the cluster), pool.c (a pool's tree), host.c (what inline workers ask for).
 */
#ifndef NP_NODE_NODE_H
#define NP_NODE_NODE_H

#include "node/peers.h"

#include <native_pool/worker.h>

typedef struct np_node np_node;

/* An id a pool starts with the node: an integer, or a text (an Erlang binary). */
typedef struct np_start_id {
    bool is_text;
    int64_t number;
    const char *text;
} np_start_id;

typedef struct np_pool_config {
    const char *name;          /* the pool's atom, e.g. "Elixir.MyPool" */
    const char *worker_module; /* of its workers' refs; NULL: name ++ ".Worker" */
    const np_worker_ops *ops;  /* the worker type, checked by np_runtime_check_ops */
    uint32_t segments;         /* 0: 1 */
    const np_start_id *start;
    size_t start_len;
} np_pool_config;

typedef struct np_node_config {
    np_peers_config
        peers; /* creation 0: a random one is chosen; hidden, limits etc. as there. Zero limits get their defaults */
    bool discover; /* ask peers for the rest of the cluster and connect to it */
    const char *const *scopes; /* syn scopes joined besides those of the pools */
    size_t scopes_len;
    const np_pool_config *pools;
    size_t pools_len;
    uint32_t drain_ms;                                         /* how long an orderly stop may take; 0: 5000 */
    void (*ready)(void *arg, const char *name, uint16_t port); /* called once, when the node serves */
    void *arg;
} np_node_config;

/* Builds the node; nothing runs yet. Strings and tables of config are borrowed until destroy. On error why (size bytes)
 * says what, where and what to do. */
int np_node_new(np_node **node, const np_node_config *config, char *why, size_t size);

/*
 * Listens, starts the pools, serves until SIGTERM or SIGINT has been answered with an orderly stop (0), or a start
 * failed (negative, with a text). A second signal ends the process at once with status 1.
 */
int np_node_run(np_node *node, char *why, size_t size);

/* Asks a running node for an orderly stop; from its own thread (signal handlers use SIGTERM). */
void np_node_stop(np_node *node);

void np_node_destroy(np_node **node);

#endif
