/*
 * kernel.c - the processes every Erlang node has and others talk to: net_kernel (ping), rex (rpc's server), and
 * `native_pool`, which says what we are.
 *
 * Main thread. Killed from outside they come back at once, as under OTP's kernel supervisor.
 */
#include "node/internal.h"

#include "base/assert.h"

#include <string.h>

#define WHERE "node/kernel"

/* ---- net_kernel (lib/kernel/src/net_kernel.erl) ---- */

static int net_kernel_call(np_resident *self, const np_from *from, np_in request, np_out *out) {
    (void)self;
    (void)from;
    np_in in = request;
    if (np_in_tuple_of(&in, 2) == 0 && np_in_match(&in, "is_auth") == 0) {
        np_out_atom(out, "yes"); /* the handshake has seen to that */
        return NP_REPLY;
    }
    return NP_UNHANDLED;
}

/* ---- rex (lib/kernel/src/rpc.erl) ---- */

/* Reads {Label, M, F, Args, GroupLeader} for a label of rpc's. */
static bool read_rex(np_in in, const char *label, np_spawn *spawn) {
    char module[NP_ATOM_BYTES_MAX + 1];
    char function[NP_ATOM_BYTES_MAX + 1];
    np_in args;
    if (np_in_tuple_of(&in, 5) < 0 || np_in_match(&in, label) < 0)
        return false;
    int module_len = np_in_atom(&in, module, sizeof module);
    int function_len = module_len < 0 ? -1 : np_in_atom(&in, function, sizeof function);
    if (function_len < 0 || np_in_term(&in, &args) < 0)
        return false;
    np_list list;
    np_in element;
    np_in walk = args;
    uint32_t arity = 0;
    if (np_in_list(&walk, &list) < 0)
        return false;
    while (np_list_next(&list, &element))
        arity++;
    static const uint8_t nil = 106;
    np_spawn_parse(spawn, (np_str){module, (size_t)module_len}, (np_str){function, (size_t)function_len}, arity,
                   (np_in){.base = &nil, .pos = 0, .end = 1}, args);
    return spawn->kind == NP_SPAWN_PLAIN;
}

/* The value of M:F(Args), or what rpc:call gives when it raises. */
static void run_rex(np_node *node, const np_spawn *spawn, np_out *out) {
    np_out undo = *out;
    size_t len = np_buf_len(out->buf);
    int error = np_functions_run(node, NULL, spawn, out);
    if (error == 0)
        return;
    np_buf_truncate(out->buf, len);
    *out = undo;
    np_out_tuple(out, 2);
    np_out_atom(out, "badrpc");
    np_out_tuple(out, 2);
    np_out_atom(out, "EXIT");
    np_out_tuple(out, 2);
    np_out_atom(out, error == NP_ENOENT ? "undef" : "badarg");
    np_erpc_stack(out, spawn);
}

static int rex_call(np_resident *self, const np_from *from, np_in request, np_out *out) {
    (void)from;
    np_spawn spawn;
    if (!read_rex(request, "block_call", &spawn) && !read_rex(request, "call", &spawn))
        return NP_UNHANDLED;
    run_rex(self->node, &spawn, out);
    return NP_REPLY;
}

static void rex_cast(np_resident *self, np_in message) {
    np_spawn spawn;
    if (!read_rex(message, "cast", &spawn))
        return;
    np_buf buf = NP_BUF_INIT;
    np_out out;
    np_out_init(&out, &buf, self->node->settings.peers.message_max);
    np_functions_run(self->node, NULL, &spawn, &out);
    np_buf_fini(&buf);
}

static void rex_info(np_resident *self, np_in message) {
    np_node *node = self->node;
    np_pid from;
    np_in in = message;
    np_spawn spawn;
    bool features = false;
    if (np_in_tuple_of(&in, 2) < 0 || np_in_pid(&in, &from) < 0)
        return;
    features = np_in_match(&in, "features_request") == 0;
    if (!features && !read_rex(in, "call", &spawn))
        return;
    np_buf buf = NP_BUF_INIT;
    np_out out;
    np_out_init(&out, &buf, node->settings.peers.message_max);
    if (features) {
        np_out_tuple(&out, 3);
        np_out_atom(&out, "features_reply");
        np_out_atom(&out, node->settings.peers.name);
        np_out_list(&out, 1);
        np_out_atom(&out, "erpc");
        np_out_nil(&out);
    } else {
        np_out_tuple(&out, 2);
        np_out_atom(&out, "rex");
        run_rex(node, &spawn, &out);
    }
    if (np_out_error(&out) == 0)
        np_route_send(node, &self->pid, &(np_dest){.pid = &from}, np_out_view(&out), NP_SEND_NORMAL);
    np_buf_fini(&buf);
}

/* ---- native_pool ---- */

/* `info` -> {native_pool, Version, Node}: by this a native node is told from other hidden nodes. */
static int info_call(np_resident *self, const np_from *from, np_in request, np_out *out) {
    (void)from;
    np_in in = request;
    if (np_in_match(&in, "info") == 0) {
        np_out_tuple(out, 3);
        np_out_atom(out, "native_pool");
        np_out_text(out, NP_VERSION);
        np_out_atom(out, self->node->settings.peers.name);
        return NP_REPLY;
    }
    if (np_in_match(&in, "stats") == 0) {
        np_functions_stats(self->node, out);
        return NP_REPLY;
    }
    return NP_UNHANDLED;
}

static void info_state(np_resident *self, np_out *out) { np_functions_stats(self->node, out); }

/* ---- life ---- */

static void come_back(np_resident *self, np_in reason) {
    (void)reason;
    int error = np_resident_start(self, self->node, self->type, self->name, NULL);
    if (error < 0)
        NP_LOG(NP_LOG_CRITICAL, WHERE, "could not be started again", "process=%s error=\"%s\"", self->name,
               np_strerror(error));
}

static const np_resident_class net_kernel_class = {
    .actor = NP_RESIDENT_ACTOR("net_kernel"),
    .module = "gen_server",
    .call = net_kernel_call,
    .ended = come_back,
};

static const np_resident_class rex_class = {
    .actor = NP_RESIDENT_ACTOR("rex"),
    .module = "gen_server",
    .call = rex_call,
    .cast = rex_cast,
    .info = rex_info,
    .ended = come_back,
};

static const np_resident_class info_class = {
    .actor = NP_RESIDENT_ACTOR("native_pool"),
    .module = "gen_server",
    .call = info_call,
    .state = info_state,
    .ended = come_back,
};

int np_kernel_start(np_node *node) {
    int error = np_resident_start(&node->net_kernel, node, &net_kernel_class, "net_kernel", NULL);
    if (error == 0)
        error = np_resident_start(&node->rex, node, &rex_class, "rex", NULL);
    if (error == 0)
        error = np_resident_start(&node->info, node, &info_class, "native_pool", NULL);
    return error;
}

void np_kernel_stop(np_node *node, np_in reason) {
    np_resident_stop(&node->rex, reason);
    np_resident_stop(&node->info, reason);
    np_resident_stop(&node->net_kernel, reason);
}
