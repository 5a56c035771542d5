/*
 * scopes.c - this node's membership in syn scopes: the scope processes, and what connects the syn machine to the rest
 * of the node.
 *
 * Main thread. For each scope S two residents, registered as syn_registry_S and syn_pg_S; what they are sent goes to
 * the machine (syn/syn.h), what the machine wants goes out from here. Every pool P brings the scope P.Registry, in
 * which its workers are registered as {worker, {ref, Module, Id}} with the metadata [{node, Node}], as AdvancedPool
 * does; others come from the config.
 */
#include "node/internal.h"

#include "base/assert.h"
#include "base/limits.h"
#include "term/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WHERE "node/scopes"

struct np_scope {
    np_resident resident; /* first: resident functions cast back */
    np_syn_scope *syn;
    struct np_scope *next;
};

static const np_pid *pid_of(np_syn_scope *scope) { return np_syn_scope_pid(scope); }

/* ---- what the machine asks for ---- */

static int io_send(void *arg, np_syn_scope *scope, np_node_id to, np_in message) {
    np_dest dest = {.node = to, .name = np_syn_scope_process(scope)};
    return np_route_send(arg, pid_of(scope), &dest, message, NP_SEND_NORMAL);
}

static int io_snapshot(void *arg, np_syn_scope *scope, np_node_id to, np_buf *message) {
    np_node *node = arg;
    const char *name = np_syn_scope_process(scope);
    np_control control = {.kind = NP_CTL_REG_SEND, .from = *pid_of(scope), .name = {name, strlen(name)}};
    control.payload = (np_in){.base = np_buf_head(message), .pos = 0, .end = np_buf_len(message)};
    node->messages_out++;
    return np_peers_send_owned(node->peers, to, &control, NP_SEND_NORMAL, message);
}

static int io_watch(void *arg, np_syn_scope *scope, np_node_id to, np_ref *ref) {
    const char *name = np_syn_scope_process(scope);
    return np_procs_monitor_name(((np_node *)arg)->procs, pid_of(scope), to, name, strlen(name), ref);
}

static bool io_alive(void *arg, const np_pid *pid) { return np_procs_alive(((np_node *)arg)->procs, pid); }

static void io_kill(void *arg, np_syn_scope *scope, const np_pid *pid, np_in reason) {
    np_procs_exit2(((np_node *)arg)->procs, pid_of(scope), pid, reason);
}

static void io_reply(void *arg, np_syn_scope *scope, np_in from_term, np_in reply) {
    np_node *node = arg;
    np_from from;
    if (np_gen_from(&from_term, &from) < 0)
        return;
    np_buf buf = NP_BUF_INIT;
    np_out out;
    np_out_init(&out, &buf, node->settings.peers.message_max);
    np_gen_reply_begin(&out, &from);
    np_out_term(&out, &reply);
    if (np_out_error(&out) == 0)
        np_route_reply(node, pid_of(scope), &from, np_out_view(&out));
    np_buf_fini(&buf);
}

static void io_message(void *arg, const np_pid *to, np_in message) {
    np_node *node = arg;
    np_route_send(node, &node->info.pid, &(np_dest){.pid = to}, message, NP_SEND_NORMAL);
}

/* An erpc that did not return: {Res, throw|exit, Reason}, {Res, error, Reason, Stack}, or the exit reason of what went
 * wrong on the way. */
static np_syn_outcome outcome_of(np_in failure, np_out *out) {
    uint32_t arity;
    np_in in = failure;
    np_in class_term;
    np_in reason;
    np_in stack = {0};
    if (np_in_tuple(&in, &arity) < 0 || arity < 3 || arity > 4 || np_in_term(&in, NULL) < 0 ||
        np_in_term(&in, &class_term) < 0 || np_in_term(&in, &reason) < 0)
        goto failed;
    np_in word = class_term;
    if (np_in_match(&word, "error") < 0 && np_in_match(&word, "exit") < 0 && np_in_match(&word, "throw") < 0)
        goto failed;
    if (arity == 4 && np_in_term(&in, &stack) < 0)
        goto failed;
    np_out_tuple(out, 3);
    np_out_term(out, &class_term);
    np_out_term(out, &reason);
    if (arity == 4) {
        np_out_term(out, &stack);
    } else {
        np_out_nil(out);
    }
    return NP_SYN_RAISED;
failed:
    np_out_term(out, &failure);
    return NP_SYN_FAILED;
}

static void evaluated(np_node *node, const np_pid *self, void *arg, uint64_t tag, int status, np_in value) {
    (void)self;
    (void)arg;
    np_scopes_clock(node);
    if (status == 0) {
        np_syn_evaluated(node->syn, tag, NP_SYN_RETURNED, value);
        return;
    }
    uint8_t room[NP_ATOM_TERM_MAX];
    if (np_in_at_end(&value))
        value = np_term_atom("timeout", room);
    np_buf buf = NP_BUF_INIT;
    np_out out;
    np_out_init(&out, &buf, node->settings.peers.message_max);
    np_syn_outcome outcome = outcome_of(value, &out);
    if (np_out_error(&out) == 0)
        np_syn_evaluated(node->syn, tag, outcome, np_out_view(&out));
    np_buf_fini(&buf);
}

enum { EVALUATE_MS = 4000 }; /* syn's caller gives us 5 s */

static int io_evaluate(void *arg, np_syn_scope *scope, uint64_t id, np_node_id to, np_in fun, np_in args) {
    np_node *node = arg;
    (void)scope;
    np_buf buf = NP_BUF_INIT;
    np_out out;
    np_out_init(&out, &buf, node->settings.peers.message_max);
    np_out_list(&out, 2);
    np_out_term(&out, &fun);
    np_out_term(&out, &args);
    np_out_nil(&out);
    int error = np_out_error(&out);
    if (error == 0)
        error = np_client_erpc(node, &node->info.pid, to, "erlang", "apply", np_out_view(&out), EVALUATE_MS, evaluated,
                               NULL, id);
    np_buf_fini(&buf);
    return error;
}

static void io_disconnect(void *arg, np_node_id peer, const char *why) {
    np_peers_disconnect(((np_node *)arg)->peers, peer, why);
}

/* ---- the scope processes ---- */

static int scope_call(np_resident *self, const np_from *from, np_in request, np_out *reply) {
    np_scope *scope = (np_scope *)self;
    (void)reply;
    np_buf buf = NP_BUF_INIT;
    np_out out;
    np_out_init(&out, &buf, self->node->settings.peers.message_max);
    np_out_tuple(&out, 2);
    np_out_pid(&out, &from->pid);
    np_out_term(&out, &from->tag);
    np_scopes_clock(self->node);
    if (np_out_error(&out) == 0)
        np_syn_call(scope->syn, from->pid.node, np_out_view(&out), request);
    np_buf_fini(&buf);
    return NP_NOREPLY; /* the machine answers, at once or later */
}

/* {'DOWN', Ref, process, {Name, Node}, Reason} */
static bool read_down(np_in message, np_ref *ref, np_node_id *at, np_in *reason) {
    char name[NP_ATOM_BYTES_MAX + 1];
    if (np_in_tuple_of(&message, 5) < 0 || np_in_match(&message, "DOWN") < 0 || np_in_ref(&message, ref) < 0 ||
        np_in_match(&message, "process") < 0 || np_in_tuple_of(&message, 2) < 0 || np_in_term(&message, NULL) < 0)
        return false;
    int len = np_in_atom(&message, name, sizeof name);
    return len > 0 && np_name_intern(name, (size_t)len, at) == 0 && np_in_term(&message, reason) == 0;
}

static void scope_info(np_resident *self, np_in message) {
    np_scope *scope = (np_scope *)self;
    np_ref ref;
    np_node_id at;
    np_in reason;
    np_scopes_clock(self->node);
    if (self->node->speaker == self->node->id && read_down(message, &ref, &at, &reason)) {
        np_syn_down(scope->syn, at, &ref, reason);
    } else {
        np_syn_info(scope->syn, self->node->speaker, message, NULL);
    }
}

static void scope_state(np_resident *self, np_out *out) {
    const np_syn_scope *scope = ((np_scope *)self)->syn;
    np_syn_stats stats;
    np_syn_get_stats(scope, &stats);
    np_str name = np_syn_scope_name(scope);
    const struct {
        const char *key;
        uint32_t value;
    } rows[] = {{"entries", stats.entries}, {"groups", stats.groups}, {"local", stats.local}, {"peers", stats.peers}};
    np_out_map(out, (uint32_t)NP_ARRAY_LEN(rows) + 1);
    np_out_atom(out, "scope");
    np_out_atom_n(out, name.data, name.len);
    for (size_t i = 0; i < NP_ARRAY_LEN(rows); i++) {
        np_out_atom(out, rows[i].key);
        np_out_uint(out, rows[i].value);
    }
}

/* Killed from outside: back at the turn's end, as under syn's supervisor, when all have had the DOWN of the old one. */
static void scope_ended(np_resident *self, np_in reason) {
    (void)reason;
    self->node->scopes_broken = true;
}

static const np_resident_class scope_class = {
    .actor = NP_RESIDENT_ACTOR("syn_scope"),
    .module = "gen_server",
    .call = scope_call,
    .info = scope_info,
    .state = scope_state,
    .ended = scope_ended,
};

void np_scopes_mend(np_node *node) {
    for (np_scope *scope = node->scopes; scope != NULL; scope = scope->next) {
        if (scope->resident.pid.node != 0)
            continue;
        int error = np_resident_start(&scope->resident, node, &scope_class, np_syn_scope_process(scope->syn), NULL);
        if (error == 0) {
            np_syn_restart(scope->syn, &scope->resident.pid);
        } else {
            NP_LOG(NP_LOG_CRITICAL, WHERE, "scope process could not be started again", "process=%s error=\"%s\"",
                   np_syn_scope_process(scope->syn), np_strerror(error));
        }
    }
}

/* ---- opening and closing ---- */

static int open_one(np_node *node, np_syn_kind kind, const char *name) {
    char process[NP_ATOM_BYTES_MAX + 1];
    if (np_syn_find(node->syn, kind, name, strlen(name)) != NULL)
        return 0;
    np_scope *scope = calloc(1, sizeof *scope);
    if (scope == NULL)
        return NP_ENOMEM;
    int len = snprintf(process, sizeof process, "%s_%s", kind == NP_SYN_REGISTRY ? "syn_registry" : "syn_pg", name);
    int error =
        len > NP_ATOM_CHARS_MAX ? NP_EINVAL : np_resident_start(&scope->resident, node, &scope_class, NULL, NULL);
    if (error == 0) {
        error = np_syn_open(node->syn, kind, name, strlen(name), &scope->resident.pid, scope, &scope->syn);
        uint8_t room[NP_ATOM_TERM_MAX];
        if (error < 0)
            np_resident_stop(&scope->resident, np_term_atom("normal", room));
    }
    if (error < 0) {
        free(scope);
        return error;
    }
    scope->resident.name = np_syn_scope_process(scope->syn);
    scope->next = node->scopes;
    node->scopes = scope;
    return np_procs_register(node->procs, &scope->resident.pid, process, (size_t)len);
}

int np_scopes_open(np_node *node, const char *name) {
    int error = open_one(node, NP_SYN_REGISTRY, name);
    return error < 0 ? error : open_one(node, NP_SYN_PG, name);
}

np_syn_scope *np_scopes_registry(np_node *node, const char *name, size_t len) {
    return np_syn_find(node->syn, NP_SYN_REGISTRY, name, len);
}

np_syn_scope *np_scopes_groups(np_node *node, const char *name, size_t len) {
    return np_syn_find(node->syn, NP_SYN_PG, name, len);
}

int np_scopes_init(np_node *node) {
    np_syn_io io = {
        .arg = node,
        .send = io_send,
        .snapshot = io_snapshot,
        .watch = io_watch,
        .alive = io_alive,
        .kill = io_kill,
        .reply = io_reply,
        .message = io_message,
        .evaluate = io_evaluate,
        .disconnect = io_disconnect,
    };
    node->syn = np_syn_new(&io, node->id);
    if (node->syn == NULL)
        return NP_ENOMEM;
    np_scopes_clock(node);
    return 0;
}

int np_scopes_start(np_node *node, char *why, size_t size) {
    const np_node_config *settings = &node->settings;
    int error = 0;
    const char *failed = "";
    char name[NP_ATOM_BYTES_MAX + 1];
    for (size_t i = 0; error == 0 && i < settings->scopes_len; i++)
        error = np_scopes_open(node, failed = settings->scopes[i]);
    for (size_t i = 0; error == 0 && i < settings->pools_len; i++) {
        snprintf(name, sizeof name, "%s.Registry", settings->pools[i].name);
        error = np_scopes_open(node, failed = name);
    }
    if (error < 0)
        snprintf(why, size, "syn scope %s cannot be opened: %s", failed, np_strerror(error));
    return error;
}

void np_scopes_stop(np_node *node, np_in reason) {
    for (np_scope *scope = node->scopes; scope != NULL; scope = scope->next)
        np_resident_stop(&scope->resident, reason);
}

void np_scopes_fini(np_node *node) {
    while (node->scopes != NULL) {
        np_scope *scope = node->scopes;
        node->scopes = scope->next;
        np_sys_destroy(&scope->resident.sys);
        free(scope);
    }
    np_timers_stop(np_loop_timers(node->loop), &node->syn_timer);
    if (node->syn != NULL)
        np_syn_destroy(&node->syn);
}

/* ---- time ---- */

void np_scopes_clock(np_node *node) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    np_syn_clock(node->syn, np_node_now(node), (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
}

/* The turn's end comes anyway when the loop has woken up. */
static void woken(np_timer *timer, void *arg) {
    (void)timer;
    (void)arg;
}

bool np_scopes_run(np_node *node) {
    np_scopes_clock(node);
    if (np_syn_next(node->syn) <= np_node_now(node) && np_syn_run(node->syn))
        return true;
    uint64_t next = np_syn_next(node->syn);
    if (next != UINT64_MAX && (!np_timer_running(&node->syn_timer) || next < node->syn_timer.due_ms))
        np_timers_start(np_loop_timers(node->loop), &node->syn_timer, next, woken, node);
    return false;
}
