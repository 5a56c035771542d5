/*
 * node.c - the life of a node: built, started, serving, draining, gone.
 *
 * Main thread. Start order: processes of the kernel, pools, then the network, so that who finds us finds everything.
 * Stop order is the reverse, with time for what is queued to be written.
 */
#include "node/internal.h"

#include "base/assert.h"
#include "base/limits.h"
#include "term/names.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WHERE "node/node"

enum {
    WATCH_MS = 20,
    DRAIN_MS = 5000,
    END_MS = 1000, /* for the peers to close their end: OTP does so at once */
};

uint64_t np_node_now(const np_node *node) { return np_loop_now(node->loop); }

np_in np_term_atom(const char *name, uint8_t *room) {
    size_t len = strlen(name);
    NP_ASSERT(len < 256);
    room[0] = 119;
    room[1] = (uint8_t)len;
    memcpy(room + 2, name, len);
    return (np_in){.base = room, .pos = 0, .end = len + 2};
}

/* Whoever ends loses the names and groups it has anywhere in the cluster. */
static void process_ended(void *arg, const np_pid *pid, np_in reason) {
    np_node *node = arg;
    np_syn_exited(node->syn, pid, reason);
}

/* ---- building ---- */

static void fill_defaults(np_node *node, const np_node_config *config) {
    np_node_config *settings = &node->settings;
    *settings = *config;
    np_peers_config *peers = &settings->peers;
    if (peers->ticktime_ms == 0)
        peers->ticktime_ms = NP_TICKTIME_S * 1000;
    if (peers->message_max == 0)
        peers->message_max = NP_MESSAGE_MAX;
    if (peers->out_soft_bytes == 0)
        peers->out_soft_bytes = NP_OUT_SOFT_BYTES;
    if (peers->out_hard_bytes == 0)
        peers->out_hard_bytes = NP_OUT_HARD_BYTES;
    if (settings->drain_ms == 0)
        settings->drain_ms = DRAIN_MS;
    while (peers->creation < 4)
        np_random_bytes(&peers->creation, sizeof peers->creation); /* 0..3 are OTP's old ones */
    node->creation = peers->creation;
}

int np_node_new(np_node **out, const np_node_config *config, char *why, size_t size) {
    np_node *node = calloc(1, sizeof *node);
    if (node == NULL)
        return NP_ENOMEM;
    *out = node;
    uint64_t seed;
    np_random_bytes(&seed, sizeof seed);
    np_rng_seed(&node->rng, seed);
    node->letters_end = &node->letters;
    fill_defaults(node, config);
    snprintf(why, size, "out of memory");
    int error = np_name_intern(config->peers.name, strlen(config->peers.name), &node->id);
    if (error == 0)
        error = np_loop_new(&node->loop);
    if (error == 0) {
        node->speaker = node->id;
        np_peers_events events = {.arg = node, .up = np_route_up, .down = np_route_down, .control = np_route_control};
        error = np_peers_new(&node->peers, node->loop, &node->settings.peers, &events, why, size);
    }
    if (error == 0) {
        np_procs_io io = {.arg = node, .signal = np_route_signal, .ended = process_ended};
        node->procs = np_procs_new(&io, node->id, node->creation);
        if (node->procs == NULL)
            error = NP_ENOMEM;
    }
    if (error == 0)
        error = np_scopes_init(node);
    if (error == 0 && config->pools_len > 0) {
        node->pools = calloc(config->pools_len, sizeof *node->pools);
        if (node->pools == NULL)
            error = NP_ENOMEM;
    }
    np_client_init(node);
    for (size_t i = 0; error == 0 && i < config->pools_len; i++) {
        error = np_pool_new(&node->pools[i], node, &config->pools[i]);
        if (error == 0)
            node->pools_len++;
        if (error == NP_EINVAL)
            snprintf(why, size, "pool %s: its name is too long for the names derived from it", config->pools[i].name);
    }
    if (error < 0)
        np_node_destroy(out);
    return error;
}

void np_node_destroy(np_node **out) {
    np_node *node = *out;
    if (node == NULL)
        return;
    for (size_t i = 0; i < node->pools_len; i++)
        np_pool_destroy(&node->pools[i]);
    free(node->pools);
    np_client_fini(node);
    if (node->loop != NULL)
        np_scopes_fini(node);
    while (node->letters != NULL) {
        np_letter *letter = node->letters;
        node->letters = letter->next;
        free(letter);
    }
    if (node->peers != NULL)
        np_peers_destroy(&node->peers);
    if (node->procs != NULL)
        np_procs_destroy(&node->procs);
    np_sys_destroy(&node->net_kernel.sys);
    np_sys_destroy(&node->rex.sys);
    np_sys_destroy(&node->info.sys);
    if (node->loop != NULL)
        np_loop_destroy(&node->loop);
    np_buf_fini(&node->unlinks);
    np_buf_fini(&node->reply_buf);
    np_buf_fini(&node->payload_buf);
    free(node);
    *out = NULL;
}

/* ---- serving ---- */

/* The end of every turn: local messages, trees to mend, then everything out. */
static bool turn(void *arg) {
    np_node *node = arg;
    np_route_unlinked(node);
    if (node->scopes_broken) {
        node->scopes_broken = false;
        if (!node->stopping)
            np_scopes_mend(node);
    }
    np_procs_run(node->procs); /* DOWN and EXIT of what was monitored or linked in vain */
    bool more = node->letters != NULL && np_route_run(node, NP_LETTERS_TURN);
    if (node->pools_broken) {
        node->pools_broken = false;
        for (size_t i = 0; i < node->pools_len && !node->stopping; i++)
            np_pool_mend(node->pools[i]);
        more = more || node->letters != NULL || node->pools_broken;
    }
    more = np_scopes_run(node) || more;
    np_peers_flush(node->peers);
    return more || np_procs_pending(node->procs);
}

static void finish(np_node *node, int result) {
    node->result = result;
    np_timers_stop(np_loop_timers(node->loop), &node->watch);
    np_loop_stop(node->loop);
}

/* ---- start ---- */

static void watch_start(np_timer *timer, void *arg) {
    np_node *node = arg;
    const char *failed = np_peers_failed(node->peers);
    if (failed != NULL) {
        snprintf(node->why, node->why_size, "%s", failed);
        finish(node, NP_EEXIST);
        return;
    }
    if (np_peers_ready(node->peers)) {
        node->ready = true;
        if (node->settings.ready != NULL)
            node->settings.ready(node->settings.arg, node->settings.peers.name, np_peers_port(node->peers));
        return;
    }
    np_timers_start(np_loop_timers(node->loop), timer, np_node_now(node) + WATCH_MS, watch_start, node);
}

static int start(np_node *node) {
    node->started_ms = np_node_now(node);
    int error = np_kernel_start(node);
    if (error < 0) {
        snprintf(node->why, node->why_size, "the node's own processes cannot start: %s", np_strerror(error));
        return error;
    }
    error = np_scopes_start(node, node->why, node->why_size);
    if (error < 0)
        return error;
    for (size_t i = 0; i < node->pools_len; i++) {
        error = np_pool_start(node->pools[i], node->why, node->why_size);
        if (error < 0)
            return error;
    }
    np_discover_start(node);
    error = np_peers_start(node->peers, node->why, node->why_size);
    if (error < 0)
        return error;
    return np_timers_start(np_loop_timers(node->loop), &node->watch, np_node_now(node) + 1, watch_start, node);
}

/* ---- stop ---- */

static void watch_drain(np_timer *timer, void *arg) {
    np_node *node = arg;
    uint64_t now = np_node_now(node);
    if (np_peers_drained(node->peers)) {
        if (node->end_by_ms == 0)
            node->end_by_ms = now + END_MS;
        if (np_peers_end(node->peers) || now >= node->end_by_ms) {
            finish(node, 0);
            return;
        }
    } else if (now >= node->drain_by_ms) {
        NP_LOG(NP_LOG_WARNING, WHERE, "stopped before everything queued was written", "waited_ms=%u",
               (unsigned)node->settings.drain_ms);
        finish(node, 0);
        return;
    }
    np_timers_start(np_loop_timers(node->loop), timer, now + WATCH_MS, watch_drain, node);
}

void np_node_stop(np_node *node) {
    if (node->stopping)
        return;
    node->stopping = true;
    NP_LOG(NP_LOG_NOTICE, WHERE, "stopping", "node=%s", node->settings.peers.name);
    uint8_t room[NP_ATOM_TERM_MAX];
    np_in shutdown = np_term_atom("shutdown", room);
    np_route_run(node, node->letters_count); /* what was sent before the stop is served before it */
    np_peers_drain(node->peers);
    np_discover_stop(node);
    for (size_t i = 0; i < node->pools_len; i++)
        np_pool_stop(node->pools[i], shutdown);
    np_scopes_stop(node, shutdown);
    np_kernel_stop(node, shutdown);
    node->drain_by_ms = np_node_now(node) + node->settings.drain_ms;
    np_timers_start(np_loop_timers(node->loop), &node->watch, np_node_now(node) + 1, watch_drain, node);
}

static void on_signal(void *arg, int signum) {
    np_node *node = arg;
    if (node->stopping) {
        NP_LOG(NP_LOG_WARNING, WHERE, "second signal, stopping at once", "signal=%d", signum);
        _exit(1);
    }
    np_node_stop(node);
}

int np_node_run(np_node *node, char *why, size_t size) {
    node->why = why;
    node->why_size = size;
    signal(SIGPIPE, SIG_IGN);
    np_loop_on_turn(node->loop, turn, node);
    int error = np_loop_on_signal(node->loop, SIGTERM, on_signal, node);
    if (error == 0)
        error = np_loop_on_signal(node->loop, SIGINT, on_signal, node);
    if (error == 0)
        error = start(node);
    if (error < 0)
        return error;
    np_loop_run(node->loop);
    return node->result;
}
