/*
 * client.c - calls of this node's processes to others: gen calls and erpc, without waiting, each with a time-out.
 *
 * Main thread. A gen call is made as OTP's gen:call makes it: one reference is monitor and alias, so that a late answer
 * vanishes. What comes back is recognised by that reference, before the process itself would see it. Bounded by
 * NP_CALLS_OUT_MAX.
 */
#include "node/internal.h"

#include "base/assert.h"
#include "base/limits.h"
#include "term/ids.h"
#include "term/names.h"
#include "term/validate.h"

#include <stdlib.h>
#include <string.h>

enum { BUF_KEEP = 64 << 10 };

typedef struct np_pending {
    np_ref ref;
    np_pid self;
    struct np_pending *next, *prev; /* of the same process */
    np_node_id to;                  /* erpc: the node asked */
    np_node *node;
    np_client_fn fn;
    void *arg;
    uint64_t tag;
    np_timer timer;
    bool is_erpc;
} np_pending;

static bool pending_eq(const void *item, const void *key) { return np_ref_eq(&((const np_pending *)item)->ref, key); }

static bool is_of(const void *item, const void *pid) { return np_pid_eq(&((const np_pending *)item)->self, pid); }

void np_client_init(np_node *node) {
    np_map_init(&node->calls.by_ref, pending_eq);
    np_map_init(&node->calls.by_process, is_of);
}

static np_pending *find(np_node *node, const np_ref *ref) {
    return np_map_get(&node->calls.by_ref, np_ref_hash(ref), ref);
}

/* ---- the calls of a process: a list, whose first is in by_process ---- */

static int add_to_process(np_node *node, np_pending *call) {
    uint64_t hash = np_pid_hash(&call->self);
    np_pending *first = np_map_get(&node->calls.by_process, hash, &call->self);
    if (first == NULL)
        return np_map_add(&node->calls.by_process, hash, call);
    call->prev = first;
    call->next = first->next;
    if (call->next != NULL)
        call->next->prev = call;
    first->next = call;
    return 0;
}

static void remove_from_process(np_node *node, np_pending *call) {
    if (call->next != NULL)
        call->next->prev = call->prev;
    if (call->prev != NULL) {
        call->prev->next = call->next;
        return;
    }
    uint64_t hash = np_pid_hash(&call->self);
    np_map_remove(&node->calls.by_process, hash, &call->self);
    if (call->next == NULL)
        return;
    int error = np_map_add(&node->calls.by_process, hash, call->next);
    NP_ASSERT(error == 0); /* there is room: one has just gone */
}

/* ---- the end of a call ---- */

static void take_out(np_node *node, np_pending *call) {
    np_map_remove(&node->calls.by_ref, np_ref_hash(&call->ref), &call->ref);
    remove_from_process(node, call);
    node->calls.count--;
    np_timers_stop(np_loop_timers(node->loop), &call->timer);
}

/* Takes the call out and tells its owner. value is empty for a time-out. */
static void complete(np_node *node, np_pending *call, int status, np_in value) {
    take_out(node, call);
    if (!call->is_erpc) {
        np_procs_unalias(node->procs, &call->ref);
        np_procs_demonitor(node->procs, &call->self, &call->ref);
    }
    call->fn(node, &call->self, call->arg, call->tag, status, value);
    free(call);
}

static void pending_drop(np_node *node, np_pending *call) {
    take_out(node, call);
    free(call);
}

void np_client_forget(np_node *node, const np_pid *self) {
    np_pending *call;
    if (node->calls.count == 0)
        return;
    while ((call = np_map_get(&node->calls.by_process, np_pid_hash(self), self)) != NULL)
        pending_drop(node, call);
}

void np_client_fini(np_node *node) {
    np_in nothing = {0};
    uint32_t at = 0;
    np_pending *call;
    while ((call = np_map_next(&node->calls.by_ref, &at)) != NULL) {
        complete(node, call, NP_ECLOSED, nothing);
        at = 0; /* what it has told may have ended or begun others; there are few by now */
    }
    np_map_fini(&node->calls.by_ref);
    np_map_fini(&node->calls.by_process);
}

static void timed_out(np_timer *timer, void *arg) {
    (void)timer;
    np_pending *call = arg;
    np_node *node = call->node;
    np_in nothing = {0};
    complete(node, call, NP_ETIMEOUT, nothing);
}

static int pending_new(np_node *node, const np_pid *self, uint32_t timeout_ms, np_client_fn fn, void *arg, uint64_t tag,
                       np_pending **out) {
    if (node->calls.count >= NP_CALLS_OUT_MAX)
        return NP_EOVERLOAD;
    np_pending *call = calloc(1, sizeof *call);
    if (call == NULL)
        return NP_ENOMEM;
    call->ref = np_procs_make_ref(node->procs);
    call->self = *self;
    call->node = node;
    call->fn = fn;
    call->arg = arg;
    call->tag = tag;
    int error = np_map_add(&node->calls.by_ref, np_ref_hash(&call->ref), call);
    if (error == 0) {
        error = add_to_process(node, call);
        if (error < 0)
            np_map_remove(&node->calls.by_ref, np_ref_hash(&call->ref), &call->ref);
    }
    if (error < 0) {
        free(call);
        return error;
    }
    node->calls.count++;
    if (timeout_ms > 0) {
        uint64_t due = np_node_now(node) + timeout_ms;
        error = np_timers_start(np_loop_timers(node->loop), &call->timer, due, timed_out, call);
        if (error < 0) {
            pending_drop(node, call);
            return error;
        }
    }
    *out = call;
    return 0;
}

/* ---- gen calls ---- */

int np_client_call(np_node *node, const np_pid *self, const char *label, const np_dest *dest, np_in request,
                   uint32_t timeout_ms, np_client_fn fn, void *arg, uint64_t tag) {
    np_pending *call;
    int error = pending_new(node, self, timeout_ms, fn, arg, tag, &call);
    if (error < 0)
        return error;
    np_ref ref = call->ref;
    np_procs *procs = node->procs;
    error = np_procs_alias(procs, self, &ref, true);
    if (error == 0) {
        np_node_id to = dest->node != 0 ? dest->node : node->id;
        error = dest->pid != NULL ? np_procs_monitor_with(procs, self, dest->pid, &ref)
                                  : np_procs_monitor_name_with(procs, self, to, dest->name, strlen(dest->name), &ref);
    }
    if (error < 0) {
        np_procs_unalias(procs, &ref);
        pending_drop(node, call);
        return error;
    }
    np_buf_clear(&node->payload_buf, BUF_KEEP);
    np_out out;
    np_out_init(&out, &node->payload_buf, node->settings.peers.message_max);
    np_out_tuple(&out, 3);
    np_out_atom(&out, label);
    np_out_tuple(&out, 2);
    np_out_pid(&out, self);
    np_out_list(&out, 1);
    np_out_atom(&out, "alias");
    np_out_ref(&out, &ref);
    np_out_term(&out, &request);
    error = np_out_error(&out);
    if (error == 0)
        error = np_route_send(node, self, dest, np_out_view(&out), NP_SEND_NORMAL);
    if (error == NP_ENOCONN)
        return 0; /* the monitor's DOWN noconnection is on its way and answers the call */
    if (error < 0) {
        np_procs_unalias(procs, &ref);
        np_procs_demonitor(procs, self, &ref);
        pending_drop(node, call);
    }
    return error;
}

/* {'DOWN', Ref, process, _, Reason} */
static bool read_down(np_in message, np_ref *ref, np_in *reason) {
    return np_in_tuple_of(&message, 5) == 0 && np_in_match(&message, "DOWN") == 0 && np_in_ref(&message, ref) == 0 &&
           np_in_term(&message, NULL) == 0 && np_in_term(&message, NULL) == 0 && np_in_term(&message, reason) == 0;
}

static int status_of_reason(np_in reason) {
    if (np_in_match(&reason, "noproc") == 0)
        return NP_ENOPROC;
    if (np_in_match(&reason, "noconnection") == 0)
        return NP_ENOCONN;
    return NP_ECLOSED;
}

bool np_client_message(np_node *node, const np_pid *to, np_in message) {
    np_ref ref;
    np_in value;
    int status = 0;
    if (np_gen_read_reply(message, &ref, &value) < 0) {
        if (!read_down(message, &ref, &value))
            return false;
        status = status_of_reason(value);
    }
    np_pending *call = find(node, &ref);
    if (call == NULL || !np_pid_eq(&call->self, to))
        return false;
    complete(node, call, status, value);
    return true;
}

/* ---- erpc ---- */

int np_client_erpc(np_node *node, const np_pid *self, np_node_id to, const char *module, const char *function,
                   np_in args, uint32_t timeout_ms, np_client_fn fn, void *arg, uint64_t tag) {
    if (to == 0 || to == node->id)
        return NP_EINVAL;
    np_pending *call;
    int error = pending_new(node, self, timeout_ms, fn, arg, tag, &call);
    if (error < 0)
        return error;
    call->is_erpc = true;
    call->to = to;
    np_buf_clear(&node->payload_buf, BUF_KEEP);
    np_out out;
    np_out_init(&out, &node->payload_buf, node->settings.peers.message_max);
    np_erpc_call_begin(&out, &call->ref, module, function);
    np_out_term(&out, &args);
    np_out_nil(&out);
    size_t payload_len = np_out_len(&out);
    np_out_list(&out, 1);
    np_out_atom(&out, "monitor");
    np_out_nil(&out);
    error = np_out_error(&out);
    if (error == 0) {
        np_in view = np_out_view(&out);
        np_control control;
        control.kind = NP_CTL_SPAWN_REQUEST;
        control.ref = call->ref;
        control.from = *self;
        control.leader = node->info.pid;
        control.name = (np_str){NULL, 0};
        control.spawn.module = (np_str){"erpc", 4};
        control.spawn.function = (np_str){"execute_call", 12};
        control.spawn.arity = 4;
        control.payload = (np_in){.base = view.base, .pos = view.pos, .end = view.pos + payload_len};
        control.spawn.options = (np_in){.base = view.base, .pos = view.pos + payload_len, .end = view.end};
        node->messages_out++;
        error = np_peers_send(node->peers, to, &control, NP_SEND_NORMAL);
    }
    if (error < 0)
        pending_drop(node, call);
    return error;
}

bool np_client_control(np_node *node, const np_control *control) {
    np_pending *call = find(node, &control->ref);
    if (call == NULL || !call->is_erpc)
        return false;
    if (control->kind == NP_CTL_SPAWN_REPLY) {
        if (control->name.len == 0)
            return true; /* it runs; the result comes as DOWN */
        uint8_t room[NP_ATOM_TERM_MAX];
        char name[NP_ATOM_BYTES_MAX + 1];
        size_t len = control->name.len < sizeof name - 1 ? control->name.len : sizeof name - 1;
        memcpy(name, control->name.data, len);
        name[len] = '\0';
        complete(node, call, NP_ECLOSED, np_term_atom(name, room));
        return true;
    }
    np_in value;
    np_erpc_result result = np_erpc_read_result(control->payload, &call->ref, &value);
    complete(node, call, result == NP_ERPC_RETURN ? 0 : NP_ECLOSED,
             result == NP_ERPC_RETURN ? value : control->payload);
    return true;
}

void np_client_node_down(np_node *node, np_node_id peer) {
    uint8_t room[NP_ATOM_TERM_MAX];
    np_in reason = np_term_atom("noconnection", room);
    np_buf refs = NP_BUF_INIT; /* which, before any: completing one may make and end others */
    uint32_t at = 0;
    np_pending *call;
    int error = 0;
    while (error == 0 && (call = np_map_next(&node->calls.by_ref, &at)) != NULL) {
        if (call->is_erpc && call->to == peer)
            error = np_buf_append(&refs, &call->ref, sizeof call->ref);
    }
    for (size_t i = 0; i < np_buf_len(&refs); i += sizeof(np_ref)) {
        np_ref ref;
        memcpy(&ref, np_buf_head(&refs) + i, sizeof ref);
        call = find(node, &ref);
        if (call != NULL)
            complete(node, call, NP_ENOCONN, reason);
    }
    np_buf_fini(&refs);
    if (error < 0)
        NP_LOG(NP_LOG_CRITICAL, "node/client", "out of memory, calls remain unanswered", "peer=%s", np_name_text(peer));
}
