/*
 * native.c - a native node as a member: one np_syn with a registry and groups. See sim.h.
 */
#include "sim.h"

#include "base/assert.h"
#include "syn/internal.h"
#include "term/ids.h"
#include "term/out.h"

#include <stdlib.h>
#include <string.h>

struct native {
    sim *s;
    int m;
    np_syn *syn;
    np_syn_scope *scope[SIM_KINDS];
    caller callers[256]; /* whom to reply to: their number is the `from` */
    uint32_t caller;
};

/* ---- what it asks for ---- */

static int send_message(native *native, np_syn_scope *scope, np_node_id node, np_in message) {
    sim *s = native->s;
    int to = sim_index(s, node);
    if (!s->script && sim_chance(s, 4))
        return NP_EOVERLOAD;
    if (!s->connected[native->m][to])
        return NP_ENOCONN;
    sim_send(s, native->m, to, sim_signal(SIGNAL_MESSAGE, np_syn_scope_kind(scope), &message));
    return 0;
}

static int on_send(void *arg, np_syn_scope *scope, np_node_id node, np_in message) {
    return send_message(arg, scope, node, message);
}

static int on_snapshot(void *arg, np_syn_scope *scope, np_node_id node, np_buf *message) {
    int error = send_message(arg, scope, node, (np_in){np_buf_head(message), 0, np_buf_len(message)});
    if (error == 0)
        np_buf_fini(message);
    return error;
}

static int on_watch(void *arg, np_syn_scope *scope, np_node_id node, np_ref *ref) {
    native *native = arg;
    int to = sim_index(native->s, node);
    if (!native->s->connected[native->m][to])
        return NP_ENOCONN;
    signal *signal = sim_signal(SIGNAL_MONITOR_NAME, np_syn_scope_kind(scope), NULL);
    signal->ref = ++native->s->refs;
    *ref = (np_ref){native->s->members[native->m].id, 1, 3, {signal->ref}};
    sim_send(native->s, native->m, to, signal);
    return 0;
}

static bool on_alive(void *arg, const np_pid *pid) { return sim_alive(((native *)arg)->s, pid); }

static void on_kill(void *arg, np_syn_scope *scope, const np_pid *pid, np_in reason) {
    native *native = arg;
    (void)scope;
    NP_ASSERT(np_in_tuple_of(&reason, 3) == 0 && np_in_match(&reason, "syn_resolve_kill") == 0);
    native->s->kills++;
    sim_exit(native->s, pid, "syn_resolve_kill");
}

static void on_reply(void *arg, np_syn_scope *scope, np_in from, np_in reply) {
    native *native = arg;
    int64_t number;
    NP_ASSERT(np_in_int64(&from, &number) == 0);
    signal *signal = sim_signal(SIGNAL_REPLY, np_syn_scope_kind(scope), &reply);
    signal->caller = native->callers[number];
    sim_send(native->s, native->m, signal->caller.member, signal);
}

static void on_message(void *arg, const np_pid *to, np_in message) {
    (void)arg;
    (void)to;
    (void)message;
}

static void on_disconnect(void *arg, np_node_id node, const char *why) {
    native *native = arg;
    sim_fail(native->s, "native %d gives up %d: %s", native->m, sim_index(native->s, node), why);
}

/* ---- life ---- */

native *native_new(sim *s, int m) {
    native *native = calloc(1, sizeof(*native));
    NP_ASSERT(native != NULL);
    native->s = s;
    native->m = m;
    np_syn_io io = {
        .arg = native,
        .send = on_send,
        .snapshot = on_snapshot,
        .watch = on_watch,
        .alive = on_alive,
        .kill = on_kill,
        .reply = on_reply,
        .message = on_message,
        .disconnect = on_disconnect,
    };
    native->syn = np_syn_new(&io, s->members[m].id);
    NP_ASSERT(native->syn != NULL);
    if (!s->script && sim_chance(s, 60)) { /* lists in slices of one to three names */
        native->syn->bounds.slice = 1 + sim_below(s, 3);
        native->syn->bounds.copy_free_bytes = 0;
        if (sim_chance(s, 30))
            native->syn->bounds.early_bytes = 100;
    }
    native_catch_up(native);
    for (int k = 0; k < SIM_KINDS; k++) {
        int error =
            np_syn_open(native->syn, (np_syn_kind)k, "s", 1, &s->members[m].scope_pid[k], native, &native->scope[k]);
        NP_ASSERT(error == 0);
    }
    return native;
}

void native_free(native *native) {
    np_syn_destroy(&native->syn);
    free(native);
}

np_syn_scope *native_scope(native *native, int scope) { return native->scope[scope]; }
np_syn *native_syn(native *native) { return native->syn; }

void native_catch_up(native *native) { np_syn_clock(native->syn, native->s->now_us / 1000, sim_now_ns(native->s)); }

void native_restart(native *native, int scope, const np_pid *self) { np_syn_restart(native->scope[scope], self); }

bool native_busy(native *native) { return np_syn_next(native->syn) * 1000 <= native->s->now_us; }

void native_step(native *native) { np_syn_run(native->syn); }

/* ---- signals ---- */

/* What the process has now, for the checks. */
static void note(native *native, int scope, const caller *c) {
    process *p = sim_find(native->s, &c->pid);
    entry entries[SIM_TABLE];
    int count = native_table(native, scope, entries, SIM_TABLE);
    bool has = false;
    for (int i = 0; i < count; i++)
        has = has || (entries[i].key == c->key && np_pid_eq(&entries[i].pid, &c->pid));
    uint32_t *bits = scope == NP_SYN_REGISTRY ? &p->names : &p->groups;
    *bits = has ? *bits | 1u << c->key : *bits & ~(1u << c->key);
}

static void take_call(native *native, const signal *signal, int from) {
    static uint8_t number[2] = {97};
    uint32_t place = native->caller++ % 256;
    np_in request = {np_buf_head(&signal->bytes), 0, np_buf_len(&signal->bytes)};
    native->callers[place] = signal->caller;
    number[1] = (uint8_t)place;
    np_syn_call(native->scope[signal->scope], native->s->members[from].id, (np_in){number, 0, 2}, request);
    if (sim_alive(native->s, &signal->caller.pid))
        note(native, signal->scope, &signal->caller);
}

void native_take(native *native, signal *signal, int from) {
    static const uint8_t noproc[] = "\x77\x06noproc", killed[] = "\x77\x06killed";
    np_syn_scope *scope = native->scope[signal->scope];
    np_node_id node = native->s->members[from].id;
    np_ref ref = {native->s->members[native->m].id, 1, 3, {signal->ref}};
    np_in message = {np_buf_head(&signal->bytes), 0, np_buf_len(&signal->bytes)};
    switch (signal->kind) {
    case SIGNAL_MESSAGE: np_syn_info(scope, node, message, sim_chance(native->s, 50) ? &signal->bytes : NULL); return;
    case SIGNAL_CALL: take_call(native, signal, from); return;
    case SIGNAL_DOWN: np_syn_down(scope, node, &ref, (np_in){signal->noproc ? noproc : killed, 0, 8}); return;
    default: NP_ASSERT(false);
    }
}

void native_remote(native *native, int k, const caller *c) {
    np_buf buf = NP_BUF_INIT;
    np_out out;
    np_out_init(&out, &buf, 10000);
    np_syn_ask(native->scope[k], c->request, sim_key(k, c->key), &c->pid, sim_meta(c->meta), &out);
    NP_ASSERT(np_out_error(&out) == 0);
    np_in request = np_out_view(&out);
    signal *signal = sim_signal(SIGNAL_CALL, k, &request);
    signal->caller = *c;
    sim_send(native->s, native->m, sim_index(native->s, c->pid.node), signal);
    np_buf_fini(&buf);
}

void native_answered(native *native, int k, const caller *c, np_in reply) {
    uint32_t *touched = k == NP_SYN_REGISTRY ? native->s->remote_names : native->s->remote_groups;
    int error = np_syn_answered(native->scope[k], c->request, sim_key(k, c->key), &c->pid, reply);
    NP_ASSERT(error != NP_EPROTO);
    touched[native->m] |= 1u << c->key;
}

/* ---- looking in ---- */

typedef struct table {
    entry *entries;
    int count, max;
} table;

static bool add_entry(void *arg, np_in name, const np_pid *pid, np_in meta, uint64_t time_ns) {
    table *t = arg;
    NP_ASSERT(t->count < t->max);
    t->entries[t->count++] = (entry){sim_key_of(name), sim_meta_of(meta), *pid, time_ns};
    return true;
}

int native_table(native *native, int scope, entry *entries, int max) {
    table t = {entries, 0, max};
    np_syn_each_entry(native->scope[scope], add_entry, &t);
    np_syn_stats stats;
    np_syn_get_stats(native->scope[scope], &stats);
    NP_ASSERT(stats.entries == (uint32_t)t.count);
    return t.count;
}
