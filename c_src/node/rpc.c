/*
 * rpc.c - spawn requests of other nodes: erpc:call, erpc:cast, rpc:call, Node.spawn.
 *
 * Main thread. Each request gets a process of its own for as long as it runs, with the monitor and the link the caller
 * asked for; its exit reason is the answer (lib/kernel/src/erpc.erl). The spawn reply goes out first: OTP closes the
 * connection on any other order.
 */
#include "node/internal.h"

#include "base/assert.h"
#include "base/limits.h"
#include "term/names.h"

#include <stdlib.h>
#include <string.h>

#define WHERE "node/rpc"

struct np_rpc {
    np_pid self;       /* the process that runs it */
    bool is_call;      /* erpc's: the answer is wrapped */
    np_in result;      /* Res of execute_call */
    bool kept;         /* on the heap, finished later */
    uint8_t storage[]; /* kept: bytes of result */
};

static void rpc_message(void *target, const np_pid *self, np_in message) {
    (void)target;
    (void)self;
    (void)message;
}

/* The caller went away or killed it: a kept call is freed when its answer comes and finds the pid dead. */
static void rpc_killed(void *target, const np_pid *self, np_in reason) {
    (void)target;
    (void)self;
    (void)reason;
}

static void rpc_deliver(void *target, np_in message) {
    (void)target;
    (void)message;
}

static const np_actor_class rpc_class = {
    .proc = {.name = "rpc", .message = rpc_message, .killed = rpc_killed},
    .deliver = rpc_deliver,
};

static void send_spawn_reply(np_node *node, np_node_id peer, const np_control *request, uint32_t flags,
                             const np_pid *pid, const char *error) {
    np_control reply;
    reply.kind = NP_CTL_SPAWN_REPLY;
    reply.ref = request->ref;
    reply.to = request->from;
    reply.flags = flags;
    reply.name = error != NULL ? (np_str){error, strlen(error)} : (np_str){NULL, 0};
    if (pid != NULL) {
        reply.from = *pid;
    } else {
        memset(&reply.from, 0, sizeof reply.from);
    }
    reply.payload = (np_in){0};
    node->messages_out++;
    np_peers_send(node->peers, peer, &reply, NP_SEND_URGENT);
}

/* The exit reason of the finished process. */
static void build_reason(np_out *out, const np_spawn *spawn, const np_rpc *rpc, int error, np_in value) {
    if (error == 0) {
        if (rpc->is_call) {
            np_erpc_return_begin(out, &rpc->result);
            np_out_term(out, &value);
        } else {
            np_out_atom(out, "normal");
        }
        return;
    }
    const char *reason = error == NP_ENOENT ? "undef" : error == NP_ELIMIT ? "system_limit" : "badarg";
    if (rpc->is_call) {
        if (error == NP_ENOENT) {
            np_erpc_undef(out, &rpc->result, spawn);
        } else {
            np_erpc_error(out, &rpc->result, reason, spawn);
        }
        return;
    }
    np_out_tuple(out, 2); /* what a process that dies of an error leaves: {Reason, Stacktrace} */
    np_out_atom(out, reason);
    np_erpc_stack(out, spawn);
}

static void run(np_node *node, np_rpc *rpc, const np_spawn *spawn) {
    np_buf value = NP_BUF_INIT;
    np_buf reason = NP_BUF_INIT;
    np_out value_out;
    np_out reason_out;
    np_out_init(&value_out, &value, node->settings.peers.message_max);
    int error = np_functions_run(node, rpc, spawn, &value_out);
    if (error == NP_NOREPLY) {
        np_buf_fini(&value);
        return;
    }
    if (error == 0)
        error = np_out_error(&value_out);
    np_in nothing = {0};
    np_out_init(&reason_out, &reason, node->settings.peers.message_max);
    build_reason(&reason_out, spawn, rpc, error, error == 0 ? np_out_view(&value_out) : nothing);
    uint8_t room[NP_ATOM_TERM_MAX];
    np_in term = np_out_error(&reason_out) == 0 ? np_out_view(&reason_out) : np_term_atom("system_limit", room);
    np_procs_exit(node->procs, &rpc->self, term);
    np_buf_fini(&value);
    np_buf_fini(&reason);
}

void np_rpc_spawn_request(np_node *node, np_node_id peer, const np_control *control) {
    if (control->from.node != peer)
        return; /* nobody to answer */
    np_spawn spawn;
    np_spawn_parse(&spawn, control->spawn.module, control->spawn.function, control->spawn.arity, control->spawn.options,
                   control->payload);
    if (spawn.kind == NP_SPAWN_BAD || spawn.kind == NP_SPAWN_FUN) {
        send_spawn_reply(node, peer, control, 0, NULL, spawn.kind == NP_SPAWN_BAD ? "badopt" : "notsup");
        return;
    }
    np_pid pid;
    int error = np_procs_spawn(node->procs, &rpc_class.proc, node, &pid);
    if (error < 0) {
        send_spawn_reply(node, peer, control, 0, NULL, "system_limit");
        return;
    }
    np_procs_set_leader(node->procs, &pid, &control->leader);
    send_spawn_reply(node, peer, control, (spawn.link ? NP_SPAWN_LINK : 0) | (spawn.monitor ? NP_SPAWN_MONITOR : 0),
                     &pid, NULL);
    np_signal signal = {.from = control->from, .to = pid, .node = peer, .ref = control->ref};
    if (spawn.link) {
        signal.kind = NP_SIGNAL_LINK;
        np_procs_signal(node->procs, &signal);
    }
    if (spawn.monitor) {
        signal.kind = NP_SIGNAL_MONITOR;
        np_procs_signal(node->procs, &signal);
    }
    np_rpc rpc = {.self = pid, .is_call = spawn.kind == NP_SPAWN_EXECUTE_CALL, .result = spawn.result};
    run(node, &rpc, &spawn);
}

/* ---- answers that come later ---- */

np_rpc *np_rpc_later(np_rpc *rpc) {
    np_bytes result = np_in_bytes(&rpc->result);
    size_t len = rpc->is_call ? result.len : 0;
    np_rpc *kept = malloc(sizeof *kept + len);
    if (kept == NULL)
        return NULL;
    kept->self = rpc->self;
    kept->is_call = rpc->is_call;
    kept->kept = true;
    if (len > 0)
        memcpy(kept->storage, result.data, len);
    kept->result = (np_in){.base = kept->storage, .pos = 0, .end = len};
    return kept;
}

void np_rpc_finish(np_node *node, np_rpc *rpc, int status, np_in value) {
    NP_ASSERT(rpc->kept);
    np_buf reason = NP_BUF_INIT;
    np_out out;
    np_out_init(&out, &reason, node->settings.peers.message_max);
    if (status == 0) {
        build_reason(&out, NULL, rpc, 0, value);
    } else if (rpc->is_call) {
        np_erpc_exit_begin(&out, &rpc->result);
        if (np_in_at_end(&value)) {
            np_out_atom(&out, status == NP_ETIMEOUT ? "timeout" : "noproc");
        } else {
            np_out_term(&out, &value);
        }
    } else {
        np_out_atom(&out, "normal");
    }
    uint8_t room[NP_ATOM_TERM_MAX];
    np_procs_exit(node->procs, &rpc->self,
                  np_out_error(&out) == 0 ? np_out_view(&out) : np_term_atom("system_limit", room));
    np_buf_fini(&reason);
    free(rpc);
}
