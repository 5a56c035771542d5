/*
 * nodes.c - the peers of a scope: watched, discovered, sent to in order, and forgotten. See internal.h.
 *
 * syn looks for visible nodes only, so everything starts here: as soon as a peer is connected its scope process is
 * monitored by name and sent a discover. If it is not there, or ends, that is done again after a while. What follows,
 * discover and ack_sync, is syn_gen_scope's.
 */
#include "base/assert.h"
#include "syn/internal.h"
#include "term/ids.h"
#include "term/names.h"

#include <stdlib.h>
#include <string.h>

/* ---- the table ---- */

static bool has_id(const void *item, const void *key) {
    return ((const np_syn_node *)item)->id == *(const np_node_id *)key;
}

void np_syn_nodes_init(np_syn_scope *scope) { np_map_init(&scope->nodes, has_id); }

np_syn_node *np_syn_node_find(const np_syn_scope *scope, np_node_id id) {
    return np_map_get(&scope->nodes, np_hash_u64(id), &id);
}

/* ---- waking up ---- */

static void on_timer(np_timer *timer, void *arg) {
    (void)timer;
    np_syn_node_wake(arg);
}

void np_syn_node_wake(np_syn_node *node) {
    np_syn *syn = node->scope->syn;
    if (node->waiting)
        return;
    node->waiting = true;
    node->work_next = NULL;
    if (syn->work == NULL)
        syn->work = node;
    else
        syn->work_last->work_next = node;
    syn->work_last = node;
}

np_syn_node *np_syn_next_work(np_syn *syn) {
    np_syn_node *node = syn->work;
    syn->work = node->work_next;
    if (syn->work == NULL)
        syn->work_last = NULL;
    node->waiting = false;
    return node;
}

static void stop_waiting(np_syn_node *node) {
    np_syn *syn = node->scope->syn;
    np_syn_node *before = NULL;
    if (!node->waiting)
        return;
    for (np_syn_node *at = syn->work; at != node; at = at->work_next)
        before = at;
    if (before == NULL)
        syn->work = node->work_next;
    else
        before->work_next = node->work_next;
    if (syn->work_last == node)
        syn->work_last = before;
    node->waiting = false;
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

void np_syn_node_schedule(np_syn_node *node) {
    np_syn *syn = node->scope->syn;
    uint64_t due = UINT64_MAX;
    if (!node->watched)
        due = earlier(due, node->look_ms);
    if (node->ack_wanted)
        due = earlier(due, node->acks_ms + NP_SYN_ACK_MS);
    if (node->again_ms != 0)
        due = earlier(due, node->again_ms);
    if (node->out.ready || (np_buf_len(&node->held) > 0 && !node->out.building))
        due = earlier(due, node->patience_ms);
    if (due == UINT64_MAX || node->given_up)
        np_timers_stop(&syn->timers, &node->timer);
    else if (np_timers_start(&syn->timers, &node->timer, due, on_timer, node) < 0)
        np_syn_node_wake(node); /* no memory for a timer: looked at each turn */
}

/* ---- watching ---- */

static void try_again(np_syn_node *node) {
    node->look_ms = node->scope->syn->now_ms + node->retry_ms;
    node->retry_ms = earlier(node->retry_ms * 2, NP_SYN_RETRY_MS);
    np_syn_node_schedule(node);
}

void np_syn_node_discover(np_syn_node *node) {
    node->awaiting = true;
    node->full = node->known; /* what it tells us from now on is kept in the journal, too: nothing will be missed */
    np_syn_node_send(node, np_syn_encode_discover(node->scope));
}

/* The discover goes right behind the monitor: if there is no process, noproc comes back and nothing was lost. */
static void look(np_syn_node *node) {
    np_syn *syn = node->scope->syn;
    if (syn->io.watch(syn->io.arg, node->scope, node->id, &node->watch) < 0) {
        try_again(node);
        return;
    }
    node->watched = true;
    np_syn_node_discover(node);
}

int np_syn_node_up(np_syn_scope *scope, np_node_id id) {
    np_syn_node *node = calloc(1, sizeof(*node));
    if (node == NULL)
        return NP_ENOMEM;
    *node = (np_syn_node){
        .id = id,
        .scope = scope,
        .retry_ms = NP_SYN_RETRY_MS,
        .acks = NP_SYN_ACKS_BURST,
        .acks_ms = scope->syn->now_ms,
    };
    node->origin = np_syn_origin_new(scope, id);
    if (node->origin == NULL || np_map_add(&scope->nodes, np_hash_u64(id), node) < 0) {
        free(node->origin);
        free(node);
        np_syn_complain(scope->syn, NP_SYN_WRONG_RESOURCES, scope, id, (np_in){NULL, 0, 0});
        return NP_ENOMEM;
    }
    node->prev = scope->last_node;
    if (node->prev != NULL)
        node->prev->next = node;
    else
        scope->first_node = node;
    scope->last_node = node;
    look(node);
    return 0;
}

void np_syn_node_learn(np_syn_node *node, const np_pid *process) {
    NP_ASSERT(!node->known);
    node->known = node->met = true;
    node->process = *process;
    node->scope->known++;
    NP_LOG(NP_LOG_INFO, "syn", "in sync", "process=%s peer=%s", node->scope->process, np_name_text(node->id));
}

/* ---- forgetting ---- */

static void drop_entries(np_syn_node *node) {
    if (node->old != NULL)
        np_syn_origin_bury(node->old);
    node->old = NULL;
    if (node->origin->count == 0)
        return;
    np_syn_origin *fresh = np_syn_origin_new(node->scope, node->id);
    if (fresh != NULL) {
        np_syn_origin_bury(node->origin);
        node->origin = fresh;
    }
    while (node->origin->first != NULL) /* no memory: all at once */
        np_syn_entry_remove(node->origin->first);
}

void np_syn_node_forget(np_syn_node *node) {
    if (node->known) {
        node->known = false;
        node->scope->known--;
        NP_LOG(NP_LOG_INFO, "syn", "out of sync", "process=%s peer=%s", node->scope->process, np_name_text(node->id));
    }
    drop_entries(node);
    np_syn_merge_drop(node);
    np_buf_fini(&node->journal);
    node->lossy = node->full = node->settled = false;
    np_syn_out_drop(node); /* but what is held goes on its way: the successor may have heard what came before that */
    node->ack_wanted = false;
    np_syn_node_schedule(node);
}

void np_syn_node_start_over(np_syn_node *node) {
    NP_ASSERT(node->old == NULL);
    np_syn_merge_drop(node);
    np_buf_fini(&node->journal);
    if (node->lossy) {
        /* What we did not hear may have been meant to end a name of ours, of which that node keeps nothing any more. */
        node->lossy = false;
        node->ack_wanted = true;
        np_syn_node_wake(node);
    }
    np_syn_node_discover(node);
}

void np_syn_node_down(np_syn_node *node) {
    np_syn_scope *scope = node->scope;
    np_syn_node_forget(node);
    np_buf_fini(&node->held);
    np_timers_stop(&scope->syn->timers, &node->timer);
    stop_waiting(node);
    np_map_remove(&scope->nodes, np_hash_u64(node->id), &node->id);
    if (node->prev != NULL)
        node->prev->next = node->next;
    else
        scope->first_node = node->next;
    if (node->next != NULL)
        node->next->prev = node->prev;
    else
        scope->last_node = node->prev;
    free(node->origin);
    free(node);
}

/*
 * A peer may have had our old process in a discover just now and monitor it: the noproc comes behind the ack_sync of
 * the new one, and syn then forgets us though we know it. An ack_sync later, unasked, is what brings us back: syn
 * learns of a node by that, too. And what it did meanwhile we have not heard: its list is asked for again.
 */
void np_syn_nodes_restart(np_syn_scope *scope) {
    for (np_syn_node *node = scope->first_node; node != NULL; node = node->next) {
        np_syn_node_forget(node);
        node->awaiting = false;
        node->retry_ms = NP_SYN_RETRY_MS;
        look(node);
        node->again_ms = scope->syn->now_ms + NP_SYN_ACK_MS;
        np_syn_node_schedule(node);
    }
}

void np_syn_down(np_syn_scope *scope, np_node_id id, const np_ref *ref, np_in reason) {
    np_syn_node *node = np_syn_node_find(scope, id);
    if (node == NULL || !node->watched || !np_ref_eq(&node->watch, ref))
        return;
    np_syn_enter(scope->syn);
    node->watched = false;
    node->awaiting = false;
    if (np_in_match(&reason, "noproc") < 0)
        node->retry_ms = NP_SYN_RETRY_MIN_MS; /* it was there: its supervisor has it back in no time */
    np_syn_node_forget(node);
    try_again(node);
    np_syn_exit(scope->syn);
}

np_node_id np_syn_next_node(const np_syn_scope *scope, uint32_t *at) {
    for (np_syn_node *node; (node = np_map_next(&scope->nodes, at)) != NULL;) {
        if (node->known)
            return node->id;
    }
    return 0;
}

/* ---- sending ---- */

static void give_up(np_syn_node *node, const char *why) {
    np_syn *syn = node->scope->syn;
    np_syn_out_drop(node);
    np_buf_fini(&node->held);
    node->given_up = true;
    NP_LOG(NP_LOG_ERROR, "syn", "cannot be kept in sync", "process=%s peer=%s reason=\"%s\"", node->scope->process,
           np_name_text(node->id), why);
    if (syn->io.disconnect != NULL)
        syn->io.disconnect(syn->io.arg, node->id, why);
}

static void hold(np_syn_node *node, np_in message) {
    np_bytes bytes = np_in_bytes(&message);
    uint32_t len = (uint32_t)bytes.len;
    uint8_t *to;
    if (np_buf_len(&node->held) + bytes.len > node->scope->syn->bounds.held_bytes) {
        give_up(node, "takes no more messages");
    } else if (np_buf_reserve(&node->held, sizeof(len) + len, &to) < 0) {
        give_up(node, "out of memory");
    } else {
        memcpy(to, &len, sizeof(len));
        memcpy(to + sizeof(len), bytes.data, len);
        np_buf_commit(&node->held, sizeof(len) + len);
    }
}

static void lose_patience(np_syn_node *node) {
    node->patience_ms = node->scope->syn->now_ms + NP_SYN_OVERLOAD_MS;
    np_syn_node_schedule(node);
}

void np_syn_node_send(np_syn_node *node, np_in message) {
    np_syn *syn = node->scope->syn;
    if (node->given_up)
        return;
    if (np_in_at_end(&message)) {
        give_up(node, "out of memory");
    } else if (np_syn_node_holds(node)) {
        hold(node, message);
    } else if (syn->io.send(syn->io.arg, node->scope, node->id, message) == NP_EOVERLOAD) {
        hold(node, message);
        lose_patience(node);
    }
}

/* The requester does itself what the message says, unless older news are still on their way to it: then it needs this
 * one behind them. */
static bool wants(const np_syn_node *node, np_node_id exclude) {
    return node->id != exclude || np_syn_node_holds(node);
}

void np_syn_broadcast(np_syn_scope *scope, np_in message, np_node_id exclude) {
    for (np_syn_node *node = scope->first_node; node != NULL; node = node->next) {
        if (node->known && wants(node, exclude))
            np_syn_node_send(node, message);
    }
}

/* Also to those whose process has just ended: its successor may have got a list of ours that was meant for it, and
 * would keep what is in it. syn takes a removal from anybody. */
void np_syn_broadcast_removal(np_syn_scope *scope, np_in message, np_node_id exclude) {
    for (np_syn_node *node = scope->first_node; node != NULL; node = node->next) {
        if (node->met && wants(node, exclude))
            np_syn_node_send(node, message);
    }
}

/* Sends what has waited, in order. */
static void flush(np_syn_node *node, uint32_t *slice) {
    np_syn *syn = node->scope->syn;
    if (syn->now_ms < node->patience_ms)
        return;
    if (node->out.ready && np_syn_out_push(node) == NP_EOVERLOAD) {
        lose_patience(node);
        return;
    }
    while (*slice > 0 && np_buf_len(&node->held) > 0) {
        uint32_t len;
        const uint8_t *p = np_buf_head(&node->held);
        memcpy(&len, p, sizeof(len));
        if (syn->io.send(syn->io.arg, node->scope, node->id, (np_in){p + sizeof(len), 0, len}) == NP_EOVERLOAD) {
            lose_patience(node);
            return;
        }
        np_buf_consume(&node->held, sizeof(len) + len);
        --*slice;
    }
    if (np_buf_len(&node->held) == 0)
        np_buf_fini(&node->held);
}

bool np_syn_node_work(np_syn_node *node, uint32_t *slice) {
    uint64_t now_ms = node->scope->syn->now_ms;
    if (node->given_up)
        return false;
    if (!node->watched && now_ms >= node->look_ms)
        look(node);
    if (node->again_ms != 0 && now_ms >= node->again_ms) {
        node->again_ms = 0;
        node->ack_wanted = node->known;
        if (node->known)
            np_syn_node_discover(node);
    }
    if (node->out.building)
        np_syn_out_work(node, slice);
    if (!node->out.building && np_syn_node_holds(node))
        flush(node, slice);
    if (node->ack_wanted)
        np_syn_ack(node);
    if (node->merge.running)
        np_syn_merge_work(node, slice);
    np_syn_node_schedule(node);
    bool more = node->out.building || node->merge.running;
    return more || (np_syn_node_holds(node) && now_ms >= node->patience_ms && !node->given_up);
}
