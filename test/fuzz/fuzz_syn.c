/*
 * The scope processes of a node against any messages. The input is a series of records: a byte that says what happens,
 * two bytes of length, and that many bytes, mostly a term. What is no term is left out, as the border would.
 *
 * Whatever comes: every call is answered once, entries belong to nodes that are connected, what is sent is a valid
 * term, and in the end nothing is left to do.
 */
#include "base/assert.h"
#include "base/log.h"
#include "syn/internal.h"
#include "term/names.h"
#include "term/validate.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct node {
    np_syn *syn;
    np_syn_scope *scope[2];
    np_node_id self, peer[2];
    bool up[2];
    np_ref ref[2][2];
    uint32_t refs, calls, replies, waiting;
    uint32_t dropped; /* calls whose callers saw the end of the process */
    uint64_t evaluate[16];
    uint64_t now_ms;
    bool deaf;
} node;

static void check(np_in in) {
    np_bytes bytes = np_in_bytes(&in);
    np_in opened;
    NP_ASSERT(np_term_open(&opened, bytes.data, bytes.len) == 0);
}

static int on_send(void *arg, np_syn_scope *scope, np_node_id to, np_in message) {
    node *n = arg;
    (void)scope;
    check(message);
    NP_ASSERT(to == n->peer[0] || to == n->peer[1]);
    return n->deaf ? NP_EOVERLOAD : 0;
}

static int on_watch(void *arg, np_syn_scope *scope, np_node_id to, np_ref *ref) {
    node *n = arg;
    *ref = (np_ref){n->self, 1, 3, {++n->refs}};
    n->ref[to == n->peer[1]][np_syn_scope_kind(scope)] = *ref;
    return 0;
}

static bool on_alive(void *arg, const np_pid *pid) {
    (void)arg;
    return pid->num % 2 == 1;
}

static void on_kill(void *arg, np_syn_scope *scope, const np_pid *pid, np_in reason) {
    node *n = arg;
    (void)scope;
    check(reason);
    np_syn_exited(n->syn, pid, reason);
}

static void on_reply(void *arg, np_syn_scope *scope, np_in from, np_in reply) {
    (void)scope;
    check(from);
    check(reply);
    ((node *)arg)->replies++;
}

static void on_message(void *arg, const np_pid *to, np_in message) {
    (void)arg;
    (void)to;
    check(message);
}

static int on_evaluate(void *arg, np_syn_scope *scope, uint64_t id, np_node_id at, np_in fun, np_in args) {
    node *n = arg;
    (void)scope;
    (void)at;
    check(fun);
    check(args);
    n->evaluate[n->waiting++ % 16] = id;
    return 0;
}

static void on_disconnect(void *arg, np_node_id at, const char *why) {
    (void)arg;
    (void)at;
    (void)why;
}

static void open_node(node *n) {
    memset(n, 0, sizeof(*n));
    np_log_set_level(NP_LOG_CRITICAL);
    n->self = np_name_id("native@h");
    n->peer[0] = np_name_id("a@h");
    n->peer[1] = np_name_id("b@h");
    np_syn_io io = {
        .arg = n,
        .send = on_send,
        .watch = on_watch,
        .alive = on_alive,
        .kill = on_kill,
        .reply = on_reply,
        .message = on_message,
        .evaluate = on_evaluate,
        .disconnect = on_disconnect,
    };
    n->syn = np_syn_new(&io, n->self);
    NP_ASSERT(n->syn != NULL);
    n->syn->bounds = (np_syn_bounds){2, 0, 2000, 2000};
    n->now_ms = 1000;
    np_syn_clock(n->syn, n->now_ms, n->now_ms * 1000000);
    for (uint32_t k = 0; k < 2; k++) {
        np_pid self = {n->self, k + 1, 0, 1};
        NP_ASSERT(np_syn_open(n->syn, (np_syn_kind)k, "s", 1, &self, NULL, &n->scope[k]) == 0);
    }
    for (int i = 0; i < 2; i++) {
        n->up[i] = true;
        np_syn_peer_up(n->syn, n->peer[i]);
    }
}

static bool see(void *arg, np_in name, const np_pid *pid, np_in meta, uint64_t time_ns) {
    const node *n = arg;
    (void)time_ns;
    check(name);
    check(meta);
    NP_ASSERT(pid->node == n->self || (pid->node == n->peer[0] && n->up[0]) || (pid->node == n->peer[1] && n->up[1]));
    return true;
}

static void with_name_and_pid(node *n, int k, np_in in, bool set) {
    np_in name, meta;
    np_pid pid;
    if (np_in_tuple_of(&in, 3) < 0 || np_in_term(&in, &name) < 0 || np_in_pid(&in, &pid) < 0 ||
        np_in_term(&in, &meta) < 0)
        return;
    if (k == NP_SYN_REGISTRY && set)
        np_syn_register(n->scope[k], name, &pid, meta);
    else if (k == NP_SYN_REGISTRY)
        np_syn_unregister(n->scope[k], name, &pid);
    else if (set)
        np_syn_join(n->scope[k], name, &pid, meta);
    else
        np_syn_leave(n->scope[k], name, &pid);
    if (pid.node == n->self && !set && k == NP_SYN_PG)
        np_syn_exited(n->syn, &pid, meta);
}

static void answer(node *n, int k, np_in in) {
    np_in name, reply;
    np_pid pid;
    if (np_in_tuple_of(&in, 3) < 0 || np_in_term(&in, &name) < 0 || np_in_pid(&in, &pid) < 0 ||
        np_in_term(&in, &reply) < 0)
        return;
    np_syn_answered(n->scope[k], NP_SYN_ASK_SET, name, &pid, reply);
    np_syn_answered(n->scope[k], NP_SYN_ASK_UNSET, name, &pid, reply);
}

static void peer_changes(node *n, int i) {
    n->up[i] = !n->up[i];
    if (n->up[i])
        np_syn_peer_up(n->syn, n->peer[i]);
    else
        np_syn_peer_down(n->syn, n->peer[i]);
}

/* bits 0..3: what; bit 4: registry or groups; bit 5: which peer */
static void step(node *n, uint8_t what, np_in term) {
    static const uint8_t from[] = {119, 1, 'f'};
    int k = (what >> 4) & 1, i = (what >> 5) & 1;
    bool has_term = !np_in_at_end(&term);
    switch (what & 15) {
    case 8: peer_changes(n, i); return;
    case 9:
        n->now_ms += 300;
        np_syn_clock(n->syn, n->now_ms, n->now_ms * 1000000);
        return;
    case 10: np_syn_run(n->syn); return;
    case 11: n->deaf = !n->deaf; return;
    case 12:
        n->dropped += n->syn->updates_count;
        np_syn_restart(n->scope[k], &(np_pid){n->self, 100 + n->refs, 0, 1});
        n->dropped -= n->syn->updates_count;
        return;
    default: break;
    }
    if (!has_term)
        return;
    switch (what & 15) {
    case 0: np_syn_call(n->scope[k], n->peer[i], (np_in){from, 0, 3}, term), n->calls++; return;
    case 1: with_name_and_pid(n, k, term, true); return;
    case 2: with_name_and_pid(n, k, term, false); return;
    case 3: answer(n, k, term); return;
    case 4:
        np_syn_evaluated(n->syn, n->evaluate[(n->waiting + 15) % 16], (np_syn_outcome)(what >> 6 & 1), term);
        return;
    case 5: np_syn_down(n->scope[k], n->peer[i], &n->ref[i][k], term); return;
    case 6: (void)np_syn_publish(n->scope[NP_SYN_PG], term, false, term); return;
    default: np_syn_info(n->scope[k], n->peer[i], term, NULL); return;
    }
}

static void close_node(node *n) {
    n->deaf = false;
    for (int i = 0; i < 1000 && (np_syn_run(n->syn) || np_syn_next(n->syn) < n->now_ms + 10000); i++) {
        n->now_ms += 100;
        np_syn_clock(n->syn, n->now_ms, n->now_ms * 1000000);
    }
    NP_ASSERT(n->calls == n->replies + n->dropped + n->syn->updates_count); /* funs that nobody evaluated */
    for (int k = 0; k < 2; k++)
        np_syn_each_entry(n->scope[k], see, n);
    np_syn_destroy(&n->syn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    node n;
    open_node(&n);
    for (size_t at = 0; at < size;) {
        uint8_t what = data[at++];
        size_t len = at + 2 <= size ? np_get_u16(data + at) : 0;
        at += 2;
        np_in term = {data, 0, 0};
        uint8_t *copy = NULL;
        if ((what & 15) < 8 || (what & 15) > 12) {
            len = at >= size ? 0 : len < size - at ? len : size - at;
            copy = malloc(len + 1); /* exactly that many, so that a read beyond shows */
            memcpy(copy, at >= size ? data : data + at, len);
            at += len;
            if (np_term_open(&term, copy, len) < 0)
                term = (np_in){data, 0, 0};
        } else {
            at -= 2;
        }
        step(&n, what, term);
        free(copy);
    }
    close_node(&n);
    return 0;
}
