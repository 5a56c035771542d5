/*
 * run.c - see run.h. All that the node layer borrows lives here until the node is gone.
 */
#include "cnode/run.h"

#include "base/assert.h"
#include "cnode/cookie.h"
#include "cnode/workers.h"
#include "node/node.h"

#include <stdlib.h>
#include <string.h>

enum { EXIT_USAGE = 2, WHY_MAX = 1024 };

typedef struct setup {
    np_node_config node;
    np_pool_config *pools;
    np_start_id **starts; /* by pool */
    np_cookie *cookies;
    np_cookie_text *cookie_texts;
    np_peer_port *ports;
    void (*ready)(const char *name);
} setup;

static void *alloc_array(size_t count, size_t size) {
    void *array = calloc(count > 0 ? count : 1, size);

    NP_ASSERT(array != NULL);
    return array;
}

static int set_cookies(setup *setup, const np_config *config) {
    setup->cookies = alloc_array(config->cookies_count, sizeof *setup->cookies);
    setup->cookie_texts = alloc_array(config->cookies_count, sizeof *setup->cookie_texts);
    for (size_t i = 0; i < config->cookies_count; i++) {
        char *error;

        if (np_cookie_read(config->cookies[i].cookie_file, &setup->cookie_texts[i], &error) != 0) {
            fprintf(stderr, "native-pool: node.cookies[%zu]: %s\n", i, error);
            free(error);
            return NP_EINVAL;
        }
        setup->cookies[i] = (np_cookie){config->cookies[i].node, setup->cookie_texts[i].text};
    }
    return 0;
}

static int set_pool(setup *setup, const np_config *config, size_t index) {
    const np_config_pool *from = &config->pools[index];
    np_pool_config *to = &setup->pools[index];
    char why[WHY_MAX];

    if (np_worker_load(from->worker, from->worker_file, &to->ops, why, sizeof why) != 0) {
        fprintf(stderr, "native-pool: pools[%zu].worker: %s\n", index, why);
        return NP_EINVAL;
    }
    to->name = from->name;
    to->worker_module = from->worker_module;
    to->segments = from->segments;
    setup->starts[index] = alloc_array(from->start_count, sizeof **setup->starts);
    for (size_t i = 0; i < from->start_count; i++)
        setup->starts[index][i] = (np_start_id){from->start[i].is_text, from->start[i].number, from->start[i].text};
    to->start = setup->starts[index];
    to->start_len = from->start_count;
    return 0;
}

static int set_pools(setup *setup, const np_config *config) {
    setup->pools = alloc_array(config->pools_count, sizeof *setup->pools);
    setup->starts = alloc_array(config->pools_count, sizeof *setup->starts);
    for (size_t i = 0; i < config->pools_count; i++)
        if (set_pool(setup, config, i) != 0)
            return NP_EINVAL;
    setup->node.pools = setup->pools;
    setup->node.pools_len = config->pools_count;
    return 0;
}

static void set_scopes(setup *setup, const np_config *config) {
    setup->node.scopes = (const char *const *)config->scopes;
    setup->node.scopes_len = config->scopes_count;
}

static void set_peers(setup *setup, const np_config *config, const char *cookie) {
    setup->ports = alloc_array(config->peer_ports_count, sizeof *setup->ports);
    for (size_t i = 0; i < config->peer_ports_count; i++)
        setup->ports[i] = (np_peer_port){config->peer_ports[i].node, config->peer_ports[i].port};
    setup->node.peers = (np_peers_config){
        .name = config->name,
        .cookie = cookie,
        .cookies = setup->cookies,
        .cookies_len = config->cookies_count,
        .hidden = config->hidden,
        .listen_address = config->listen_address,
        .port = config->port,
        .epmd = config->epmd,
        .epmd_port = config->epmd_port,
        .ports = setup->ports,
        .ports_len = config->peer_ports_count,
        .peer_port = config->peer_port,
        .seeds = (const char *const *)config->connect,
        .seeds_len = config->connect_count,
        .ticktime_ms = (uint64_t)config->tick_time_s * 1000,
        .message_max = (size_t)config->max_message_mb << 20,
        .out_hard_bytes = (size_t)config->out_queue_mb << 20,
    };
}

static void on_ready(void *arg, const char *name, uint16_t port) {
    const setup *setup = arg;

    (void)port;
    setup->ready(name);
}

static int run_node(setup *setup) {
    np_node *node = NULL;
    char why[WHY_MAX] = "";
    int rc;

    setup->node.ready = on_ready;
    setup->node.arg = setup;
    rc = np_node_new(&node, &setup->node, why, sizeof why);
    if (rc == 0)
        rc = np_node_run(node, why, sizeof why);
    if (rc != 0)
        fprintf(stderr, "native-pool: %s\n", *why != '\0' ? why : np_strerror(rc));
    np_node_destroy(&node);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int np_run(const np_config *config, const char *cookie, void (*ready)(const char *name)) {
    setup setup = {.ready = ready};
    int status = EXIT_USAGE;

    if (set_cookies(&setup, config) == 0 && set_pools(&setup, config) == 0) {
        set_scopes(&setup, config);
        set_peers(&setup, config, cookie);
        setup.node.discover = config->discover;
        status = run_node(&setup);
    }
    for (size_t i = 0; setup.starts != NULL && i < config->pools_count; i++)
        free(setup.starts[i]);
    explicit_bzero(setup.cookie_texts, config->cookies_count * sizeof *setup.cookie_texts);
    free(setup.cookie_texts);
    free(setup.cookies);
    free(setup.ports);
    free(setup.starts);
    free(setup.pools);
    return status;
}
