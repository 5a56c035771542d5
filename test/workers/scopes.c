/*
 * scopes.c - a worker of the tests: does with syn scopes what it is told, and keeps what it is sent.
 *
 *     call {register, Scope, Name, Meta} -> ok | {error, Why}      call {unregister, Scope, Name} -> ok | {error, Why}
 *     call {lookup, Scope, Name} -> {Pid, Meta} | undefined | {error, Why}
 *     call {join, Scope, Group, Meta} -> ok | {error, Why}         call {leave, Scope, Group} -> ok | {error, Why}
 *     call {members, Scope, Group} -> [{Pid, Meta}] | {error, Why} call {publish, Scope, Group, Message} -> Count
 *     call {lookups, Scope, Name, N} -> the nanoseconds that N lookups took
 *     call {start, Server, From, To} -> ok | {error, Why}          has a pool's server here start workers with these ids
 *     call trap -> ok, and exits are trapped                       call {stop, Reason} -> ok, and it ends
 *     call infos -> what it has been sent since the last infos, first to last
 *     call increment -> how many of these there were
 *
 * {syn_multi_call, Message, {Pid, Ref}, Meta} is answered {got, Message, Meta}, and kept like any other message.
 */
#include <native_pool/worker.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { INFOS_MAX = 10000, INFO_BYTES_MAX = 1 << 20 };

typedef struct info {
    struct info *next;
    size_t len;
    uint8_t term[];
} info;

typedef struct worker {
    info *first;
    info **last;
    uint32_t infos;
    int64_t count;
} worker;

static int init(np_ctx *ctx, np_in *args, void **state) {
    (void)ctx;
    (void)args;
    worker *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NP_ENOMEM;
    self->last = &self->first;
    *state = self;
    return 0;
}

static void drop_infos(worker *self) {
    while (self->first != NULL) {
        info *gone = self->first;
        self->first = gone->next;
        free(gone);
    }
    self->last = &self->first;
    self->infos = 0;
}

/* ---- answers ---- */

static int answer(np_out *reply, int error) {
    if (error >= 0) {
        np_out_atom(reply, "ok");
        return NP_REPLY;
    }
    np_out_tuple(reply, 2);
    np_out_atom(reply, "error");
    np_out_text(reply, np_strerror(error));
    return NP_REPLY;
}

static int answer_lookup(np_ctx *ctx, const char *scope, const np_out *name, np_out *reply) {
    np_pid pid;
    np_in meta;
    int error = np_lookup(ctx, scope, name, &pid, &meta);
    if (error == NP_ENOENT) {
        np_out_atom(reply, "undefined");
        return NP_REPLY;
    }
    if (error < 0)
        return answer(reply, error);
    np_out_tuple(reply, 2);
    np_out_pid(reply, &pid);
    np_out_term(reply, &meta);
    return NP_REPLY;
}

static int answer_lookups(np_ctx *ctx, const char *scope, const np_out *name, int64_t n, np_out *reply) {
    struct timespec begin, end;
    np_pid pid;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int64_t i = 0; i < n; i++)
        np_lookup(ctx, scope, name, &pid, NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    np_out_int(reply, (int64_t)(end.tv_sec - begin.tv_sec) * 1000000000 + (end.tv_nsec - begin.tv_nsec));
    return NP_REPLY;
}

static void out_member(void *arg, const np_pid *pid, np_in meta) {
    np_out_tuple(arg, 2);
    np_out_pid(arg, pid);
    np_out_term(arg, &meta);
}

static int answer_members(np_ctx *ctx, const char *scope, const np_out *group, np_out *reply) {
    int count = np_members(ctx, scope, group, NULL, NULL);
    if (count < 0)
        return answer(reply, count);
    np_out_list(reply, (uint32_t)count);
    np_members(ctx, scope, group, out_member, reply);
    np_out_nil(reply);
    return NP_REPLY;
}

/* {start, Server, From, To}: gen_server calls whose answers nobody waits for. */
static int start_workers(np_ctx *ctx, np_in *request, np_out *reply) {
    char server[NP_ATOM_BYTES_MAX + 1];
    int64_t from, to;
    np_in in = *request;
    if (np_in_tuple_of(&in, 4) < 0 || np_in_match(&in, "start") < 0 || np_in_atom(&in, server, sizeof server) < 0 ||
        np_in_int64(&in, &from) < 0 || np_in_int64(&in, &to) < 0)
        return NP_UNHANDLED;
    int error = 0;
    for (int64_t id = from; error == 0 && id <= to; id++) {
        np_out *out = np_build(ctx);
        np_out_tuple(out, 3);
        np_out_atom(out, "$gen_call");
        np_out_tuple(out, 2);
        np_out_pid(out, np_self(ctx));
        np_out_atom(out, "started");
        np_out_tuple(out, 3);
        np_out_atom(out, "start_worker");
        np_out_int(out, id);
        np_out_nil(out);
        error = np_send_name(ctx, NULL, server, out);
    }
    return answer(reply, error);
}

/* {Op, Scope, Name, ...}: what is behind the scope goes into the builder as it is, but for the number of lookups. */
static int in_scope(np_ctx *ctx, np_in *request, np_out *reply) {
    char op[32], scope[NP_ATOM_BYTES_MAX + 1];
    uint32_t arity;
    np_in in = *request;
    if (np_in_tuple(&in, &arity) < 0 || arity < 3 || np_in_atom(&in, op, sizeof op) < 0 ||
        np_in_atom(&in, scope, sizeof scope) < 0)
        return NP_UNHANDLED;
    np_in name = in;
    np_out *terms = np_build(ctx);
    if (strcmp(op, "lookups") == 0) {
        int64_t n;
        if (np_in_term(&in, &name) < 0 || np_in_int64(&in, &n) < 0)
            return NP_UNHANDLED;
        np_out_term(terms, &name);
        return answer_lookups(ctx, scope, terms, n, reply);
    }
    np_out_term(terms, &name);
    if (strcmp(op, "register") == 0)
        return answer(reply, np_register(ctx, scope, terms));
    if (strcmp(op, "unregister") == 0)
        return answer(reply, np_unregister(ctx, scope, terms));
    if (strcmp(op, "lookup") == 0)
        return answer_lookup(ctx, scope, terms, reply);
    if (strcmp(op, "join") == 0)
        return answer(reply, np_join(ctx, scope, terms));
    if (strcmp(op, "leave") == 0)
        return answer(reply, np_leave(ctx, scope, terms));
    if (strcmp(op, "members") == 0)
        return answer_members(ctx, scope, terms, reply);
    if (strcmp(op, "publish") != 0)
        return NP_UNHANDLED;
    int count = np_publish(ctx, scope, terms);
    if (count < 0)
        return answer(reply, count);
    np_out_int(reply, count);
    return NP_REPLY;
}

static int answer_infos(worker *self, np_out *reply) {
    np_out_list(reply, self->infos);
    for (const info *at = self->first; at != NULL; at = at->next) {
        np_in term = {.base = at->term, .pos = 0, .end = at->len};
        np_out_term(reply, &term);
    }
    np_out_nil(reply);
    drop_infos(self);
    return NP_REPLY;
}

static int handle_call(np_ctx *ctx, void *state, const np_caller *caller, np_in *request, np_out *reply) {
    (void)caller;
    worker *self = state;
    np_in in = *request;
    if (np_in_match(&in, "infos") == 0)
        return answer_infos(self, reply);
    if (np_in_match(&in, "increment") == 0) {
        np_out_int(reply, ++self->count);
        return NP_REPLY;
    }
    if (np_in_match(&in, "trap") == 0)
        return answer(reply, np_trap_exit(ctx, true));
    if (np_in_tuple_of(&in, 2) == 0 && np_in_match(&in, "stop") == 0) {
        np_out_term(np_stop_reason(ctx), &in);
        np_out_atom(reply, "ok");
        return NP_STOP;
    }
    int result = start_workers(ctx, request, reply);
    return result == NP_UNHANDLED ? in_scope(ctx, request, reply) : result;
}

/* ---- messages ---- */

static int keep(worker *self, const np_in *message) {
    np_bytes bytes = np_in_bytes(message);
    if (self->infos == INFOS_MAX || bytes.len > INFO_BYTES_MAX)
        return 0;
    info *kept = malloc(sizeof *kept + bytes.len);
    if (kept == NULL)
        return NP_ENOMEM;
    kept->next = NULL;
    kept->len = bytes.len;
    memcpy(kept->term, bytes.data, bytes.len);
    *self->last = kept;
    self->last = &kept->next;
    self->infos++;
    return 0;
}

/* {syn_multi_call, Message, {Pid, Ref}, Meta} */
static void answer_multi_call(np_ctx *ctx, np_in in) {
    np_in message, ref, meta;
    np_pid caller;
    if (np_in_tuple_of(&in, 4) < 0 || np_in_match(&in, "syn_multi_call") < 0 || np_in_term(&in, &message) < 0 ||
        np_in_tuple_of(&in, 2) < 0 || np_in_pid(&in, &caller) < 0 || np_in_term(&in, &ref) < 0 ||
        np_in_term(&in, &meta) < 0)
        return;
    np_out *out = np_build(ctx);
    np_out_tuple(out, 3);
    np_out_atom(out, "syn_multi_call_reply");
    np_out_term(out, &ref);
    np_out_tuple(out, 3);
    np_out_atom(out, "got");
    np_out_term(out, &message);
    np_out_term(out, &meta);
    np_send(ctx, &caller, out);
}

static int handle_info(np_ctx *ctx, void *state, np_in *message) {
    np_in in = *message;
    if (np_in_tuple_of(&in, 2) == 0 && np_in_match(&in, "started") == 0)
        return NP_REPLY;
    answer_multi_call(ctx, *message);
    return keep(state, message);
}

static void destroy(void *state) {
    drop_infos(state);
    free(state);
}

static const np_worker_ops ops = {
    .abi = NP_WORKER_ABI,
    .size = sizeof ops,
    .name = "scopes",
    .init = init,
    .handle_call = handle_call,
    .handle_info = handle_info,
    .destroy = destroy,
};

NP_WORKER_PLUGIN(ops)
