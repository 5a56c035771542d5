/*
 * discover.c - finding the rest of the cluster: a hidden node is told of nobody, so it asks (shared facts: a hidden
 * node appears in no nodes()).
 *
 * Main thread. Every connected peer is asked now and then which nodes it sees. Visible ones are BEAM nodes of the
 * cluster: we connect to them. Hidden ones may be anything (remote shells, tools): the peer is asked to call their
 * `native_pool` process, and only those that answer as a native node does are connected to.
 */
#include "node/internal.h"

#include "base/limits.h"
#include "term/names.h"

#include <stdlib.h>
#include <string.h>

#define WHERE "node/discover"

enum { ASK_TIMEOUT_MS = 4000, ASK_AGAIN_MS = 60000, ASKED_MAX = 4096 };

/* A hidden node somebody sees, and when to ask again what it is. */
typedef struct asked {
    np_node_id id;
    uint64_t until_ms;
} asked;

static bool asked_eq(const void *item, const void *key) {
    return ((const asked *)item)->id == *(const np_node_id *)key;
}

static bool expired(void *item, void *arg) {
    asked *entry = item;
    if (arg != NULL && entry->until_ms > *(const uint64_t *)arg)
        return false;
    free(entry);
    return true;
}

static bool worth_dialling(np_node *node, np_node_id id) {
    return id != 0 && id != node->id && !np_peers_up(node->peers, id);
}

/* ---- is that hidden node one of us? ---- */

static void told_what(np_node *node, const np_pid *self, void *arg, uint64_t tag, int status, np_in value) {
    (void)self;
    (void)arg;
    if (status != 0 || node->stopping || np_in_tuple_of(&value, 3) < 0 || np_in_match(&value, "native_pool") < 0)
        return;
    np_node_id id = (np_node_id)tag;
    if (!worth_dialling(node, id))
        return;
    NP_LOG(NP_LOG_INFO, WHERE, "found a native node", "node=%s", np_name_text(id));
    np_peers_dial(node->peers, id);
}

static void ask_what(np_node *node, np_node_id through, np_node_id id) {
    np_discovery *discovery = &node->discovery;
    uint64_t now = np_node_now(node);
    if (np_map_get(&discovery->asked, np_hash_u64(id), &id) != NULL)
        return;
    if (np_map_count(&discovery->asked) >= ASKED_MAX)
        return;
    asked *entry = malloc(sizeof *entry);
    if (entry == NULL)
        return;
    *entry = (asked){.id = id, .until_ms = now + ASK_AGAIN_MS};
    if (np_map_add(&discovery->asked, np_hash_u64(id), entry) < 0) {
        free(entry);
        return;
    }
    np_buf buf = NP_BUF_INIT;
    np_out out;
    np_out_init(&out, &buf, 8192);
    np_out_list(&out, 3); /* gen_server:call({native_pool, Id}, info, 1000) */
    np_out_tuple(&out, 2);
    np_out_atom(&out, "native_pool");
    np_out_atom(&out, np_name_text(id));
    np_out_atom(&out, "info");
    np_out_int(&out, 1000);
    np_out_nil(&out);
    if (np_out_error(&out) == 0)
        np_client_erpc(node, &node->info.pid, through, "gen_server", "call", np_out_view(&out), ASK_TIMEOUT_MS,
                       told_what, NULL, id);
    np_buf_fini(&buf);
}

/* ---- which nodes do you see? ---- */

enum { VISIBLE, HIDDEN };

static void told_nodes(np_node *node, const np_pid *self, void *arg, uint64_t tag, int status, np_in value) {
    (void)self;
    (void)arg;
    np_node_id through = (np_node_id)(tag >> 1);
    bool hidden = (tag & 1) == HIDDEN;
    np_list list;
    np_in element;
    if (status != 0 || node->stopping || np_in_list(&value, &list) < 0)
        return;
    while (np_list_next(&list, &element)) {
        char name[NP_ATOM_BYTES_MAX + 1];
        np_node_id id;
        int len = np_in_atom(&element, name, sizeof name);
        if (len <= 0 || np_name_intern(name, (size_t)len, &id) < 0 || !worth_dialling(node, id))
            continue;
        if (hidden) {
            ask_what(node, through, id);
        } else if (np_peers_dial(node->peers, id) == 0) {
            NP_LOG(NP_LOG_INFO, WHERE, "found a node", "node=%s through=%s", name, np_name_text(through));
        }
    }
}

static void ask_nodes(np_node *node, np_node_id peer) {
    static const char *const KINDS[] = {[VISIBLE] = "visible", [HIDDEN] = "hidden"};
    if (!(np_peers_flags(node->peers, peer) & NP_DFLAG_SPAWN))
        return;
    for (int kind = VISIBLE; kind <= HIDDEN; kind++) {
        np_buf buf = NP_BUF_INIT;
        np_out out;
        np_out_init(&out, &buf, 256);
        np_out_list(&out, 1);
        np_out_atom(&out, KINDS[kind]);
        np_out_nil(&out);
        if (np_out_error(&out) == 0)
            np_client_erpc(node, &node->info.pid, peer, "erlang", "nodes", np_out_view(&out), ASK_TIMEOUT_MS,
                           told_nodes, NULL, ((uint64_t)peer << 1) | (uint64_t)kind);
        np_buf_fini(&buf);
    }
}

static void again(np_timer *timer, void *arg) {
    np_node *node = arg;
    uint64_t now = np_node_now(node);
    np_map_remove_if(&node->discovery.asked, expired, &now);
    uint32_t at = 0;
    np_node_id peer;
    while ((peer = np_peers_next(node->peers, &at)) != 0)
        ask_nodes(node, peer);
    np_timers_start(np_loop_timers(node->loop), timer,
                    now + NP_DISCOVER_MS + np_rng_below(&node->rng, NP_DISCOVER_MS / 4), again, node);
}

void np_discover_start(np_node *node) {
    np_map_init(&node->discovery.asked, asked_eq);
    if (!node->settings.discover)
        return;
    np_timers_start(np_loop_timers(node->loop), &node->discovery.timer, np_node_now(node) + NP_DISCOVER_MS, again,
                    node);
}

void np_discover_stop(np_node *node) {
    np_timers_stop(np_loop_timers(node->loop), &node->discovery.timer);
    np_map_remove_if(&node->discovery.asked, expired, NULL);
    np_map_fini(&node->discovery.asked);
}

void np_discover_up(np_node *node, np_node_id peer) {
    if (node->settings.discover && !node->stopping && node->info.pid.node != 0)
        ask_nodes(node, peer);
}
