/*
 * nasty.c - a worker for tests that does what it is told, in whichever callback it is told to: everything a worker may
 * do, at the worst moments.
 *
 *     started with [Ops]; call {do, Ops} -> ok; cast or message {do, Ops}
 *
 * Ops is a list, done in order. In place of a pid stands the atom self for the worker's own:
 *
 *     {send, Pid, Term}    {send_many, Pid, N} (its messages are 0..N-1)    {cast, Pid, Term}
 *     {exit, Pid, Reason}  {trap, Bool}  {link, Pid}  {unlink, Pid}  {monitor, Pid}
 *     {call, Pid, Request, Ms, Tag}  {call_name, Name, Request, Ms, Tag}  {erpc, Node, M, F, Args, Ms, Tag}
 *     {timer, Ms, Tag}  {cancel, Tag}
 *     {on, terminate | fetch | timer | reply | info, Ops}: what to do there from now on
 *     {report, Pid}        timers, answers and other messages are sent there: {timer, Tag}, {info, Message},
 *                          {reply, Tag, Status, Value}; ops that fail, too: {failed, Error, Op}
 *     defer                the reply to this call comes later; answer: all of them with done
 *     {reason, Term}       np_stop_reason;  {stop, Term} stops with it;  {fail, Code}: the callback returns that
 *     {tell, Pid}          {told, self} there
 *     {reply, Term}        the reply of this call in place of ok
 */
#include <native_pool/worker.h>

#include <stdlib.h>
#include <string.h>

enum { ON_TERMINATE, ON_FETCH, ON_TIMER, ON_REPLY, ON_INFO, ON_COUNT, DEFERRED_MAX = 20000 };
static const char *const ON_NAMES[ON_COUNT] = {"terminate", "fetch", "timer", "reply", "info"};

typedef struct script {
    uint8_t *data;
    size_t len;
} script;

typedef struct nasty {
    script on[ON_COUNT];
    np_pid report;
    np_deferred *owed;
    uint32_t owed_count;
} nasty;

/* What is being done: where, and what comes of it. */
typedef struct doing {
    np_ctx *ctx;
    nasty *self;
    const np_caller *caller;
    np_out *reply;
    bool replied;
    int result;
} doing;

static int pid_of(doing *d, np_in *in, np_pid *pid) {
    if (np_in_match(in, "self") < 0)
        return np_in_pid(in, pid);
    *pid = *np_self(d->ctx);
    return 0;
}

static np_out *copy(np_ctx *ctx, const np_in *term) {
    np_out *out = np_build(ctx);
    np_out_term(out, term);
    return out;
}

static int keep(script *to, np_in ops) {
    np_bytes bytes = np_in_bytes(&ops);
    uint8_t *data = malloc(bytes.len);
    if (data == NULL)
        return NP_ENOMEM;
    memcpy(data, bytes.data, bytes.len);
    free(to->data);
    *to = (script){data, bytes.len};
    return 0;
}

static int defer(doing *d) {
    nasty *self = d->self;
    if (d->caller == NULL || self->owed_count >= DEFERRED_MAX)
        return NP_EINVAL;
    if (self->owed == NULL)
        self->owed = calloc(DEFERRED_MAX, sizeof *self->owed);
    np_deferred later = self->owed == NULL ? 0 : np_defer(d->ctx, d->caller);
    if (later == 0)
        return NP_ELIMIT;
    self->owed[self->owed_count++] = later;
    d->result = NP_NOREPLY;
    return 0;
}

static void answer(doing *d) {
    for (uint32_t i = 0; i < d->self->owed_count; i++) {
        np_out *out = np_build(d->ctx);
        np_out_atom(out, "done");
        np_reply(d->ctx, d->self->owed[i], out);
    }
    d->self->owed_count = 0;
}

static int send_many(doing *d, const np_pid *pid, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        np_out *out = np_build(d->ctx);
        np_out_uint(out, i);
        int error = np_send(d->ctx, pid, out);
        if (error < 0)
            return error;
    }
    return 0;
}

static int stop(doing *d, const np_in *reason, int result) {
    np_out_term(np_stop_reason(d->ctx), reason);
    if (result != 0)
        d->result = result;
    return 0;
}

/* The ops that begin with a pid. */
static int do_with_pid(doing *d, const char *op, const np_pid *pid, np_in in) {
    np_ctx *ctx = d->ctx;
    np_ref ref;
    uint64_t ms = 0;
    uint64_t tag = 0;
    np_in term;
    if (strcmp(op, "link") == 0)
        return np_link(ctx, pid);
    if (strcmp(op, "unlink") == 0)
        return np_unlink(ctx, pid);
    if (strcmp(op, "monitor") == 0)
        return np_monitor(ctx, pid, &ref);
    if (strcmp(op, "report") == 0) {
        d->self->report = *pid;
        return 0;
    }
    if (strcmp(op, "tell") == 0) {
        np_out *out = np_build(ctx);
        np_out_tuple(out, 2);
        np_out_atom(out, "told");
        np_out_pid(out, np_self(ctx));
        return np_send(ctx, pid, out);
    }
    if (strcmp(op, "send_many") == 0)
        return np_in_uint64(&in, &ms) < 0 ? NP_EINVAL : send_many(d, pid, ms);
    if (np_in_term(&in, &term) < 0)
        return NP_EINVAL;
    if (strcmp(op, "send") == 0)
        return np_send(ctx, pid, copy(ctx, &term));
    if (strcmp(op, "cast") == 0)
        return np_cast(ctx, pid, copy(ctx, &term));
    if (strcmp(op, "exit") == 0)
        return np_exit(ctx, pid, copy(ctx, &term));
    if (strcmp(op, "call") == 0 && np_in_uint64(&in, &ms) == 0 && np_in_uint64(&in, &tag) == 0)
        return np_call(ctx, pid, copy(ctx, &term), (uint32_t)ms, tag);
    return NP_EINVAL;
}

static int do_call_name(doing *d, np_in in) {
    char name[NP_ATOM_BYTES_MAX + 1];
    np_in request;
    uint64_t ms;
    uint64_t tag;
    if (np_in_atom(&in, name, sizeof name) < 0 || np_in_term(&in, &request) < 0 || np_in_uint64(&in, &ms) < 0 ||
        np_in_uint64(&in, &tag) < 0)
        return NP_EINVAL;
    return np_call_name(d->ctx, NULL, name, copy(d->ctx, &request), (uint32_t)ms, tag);
}

static int do_erpc(doing *d, np_in in) {
    char node[NP_ATOM_BYTES_MAX + 1];
    char module[NP_ATOM_BYTES_MAX + 1];
    char function[NP_ATOM_BYTES_MAX + 1];
    np_in args;
    uint64_t ms;
    uint64_t tag;
    if (np_in_atom(&in, node, sizeof node) < 0 || np_in_atom(&in, module, sizeof module) < 0 ||
        np_in_atom(&in, function, sizeof function) < 0 || np_in_term(&in, &args) < 0 || np_in_uint64(&in, &ms) < 0 ||
        np_in_uint64(&in, &tag) < 0)
        return NP_EINVAL;
    return np_erpc(d->ctx, node, module, function, copy(d->ctx, &args), (uint32_t)ms, tag);
}

static int do_on(nasty *self, np_in in) {
    for (int i = 0; i < ON_COUNT; i++) {
        if (np_in_match(&in, ON_NAMES[i]) == 0)
            return keep(&self->on[i], in);
    }
    return NP_EINVAL;
}

static int do_op(doing *d, np_in in) {
    np_ctx *ctx = d->ctx;
    char op[NP_ATOM_BYTES_MAX + 1];
    uint32_t arity;
    uint64_t ms;
    uint64_t tag;
    int64_t code;
    bool yes;
    np_pid pid;
    if (np_in_match(&in, "defer") == 0)
        return defer(d);
    if (np_in_match(&in, "answer") == 0) {
        answer(d);
        return 0;
    }
    if (np_in_tuple(&in, &arity) < 0 || np_in_atom(&in, op, sizeof op) < 0)
        return NP_EINVAL;
    if (strcmp(op, "on") == 0)
        return do_on(d->self, in);
    if (strcmp(op, "trap") == 0)
        return np_in_bool(&in, &yes) < 0 ? NP_EINVAL : np_trap_exit(ctx, yes);
    if (strcmp(op, "timer") == 0 && np_in_uint64(&in, &ms) == 0 && np_in_uint64(&in, &tag) == 0)
        return np_timer_start(ctx, ms, tag);
    if (strcmp(op, "cancel") == 0 && np_in_uint64(&in, &tag) == 0)
        return np_timer_stop(ctx, tag) ? 0 : NP_ENOENT;
    if (strcmp(op, "stop") == 0)
        return stop(d, &in, NP_STOP);
    if (strcmp(op, "reason") == 0)
        return stop(d, &in, 0);
    if (strcmp(op, "fail") == 0 && np_in_int64(&in, &code) == 0) {
        d->result = (int)code;
        return 0;
    }
    if (strcmp(op, "reply") == 0 && d->reply != NULL) {
        np_out_term(d->reply, &in);
        d->replied = true;
        return 0;
    }
    if (strcmp(op, "call_name") == 0)
        return do_call_name(d, in);
    if (strcmp(op, "erpc") == 0)
        return do_erpc(d, in);
    return pid_of(d, &in, &pid) < 0 ? NP_EINVAL : do_with_pid(d, op, &pid, in);
}

/* Does them all; what one returns is told to the reporter if it is an error. */
static int do_all(doing *d, np_in ops) {
    np_list list;
    np_in op;
    if (np_in_list(&ops, &list) < 0)
        return NP_EINVAL;
    while (np_list_next(&list, &op)) {
        int error = do_op(d, op);
        if (error == 0 || d->self->report.node == 0)
            continue;
        np_out *out = np_build(d->ctx);
        np_out_tuple(out, 3);
        np_out_atom(out, "failed");
        np_out_atom(out, np_error_name(error));
        np_out_term(out, &op);
        np_send(d->ctx, &d->self->report, out);
    }
    return d->result;
}

static int do_on_event(np_ctx *ctx, nasty *self, int which) {
    doing d = {.ctx = ctx, .self = self};
    if (self->on[which].data == NULL)
        return NP_REPLY;
    script kept = self->on[which]; /* it may replace itself */
    self->on[which] = (script){0};
    int result = do_all(&d, (np_in){.base = kept.data, .pos = 0, .end = kept.len});
    if (self->on[which].data == NULL) {
        self->on[which] = kept;
    } else {
        free(kept.data);
    }
    return result;
}

static void destroy(void *state) {
    nasty *self = state;
    for (int i = 0; i < ON_COUNT; i++)
        free(self->on[i].data);
    free(self->owed);
    free(self);
}

static int init(np_ctx *ctx, np_in *args, void **state) {
    nasty *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NP_ENOMEM;
    doing d = {.ctx = ctx, .self = self};
    np_list list;
    np_in ops;
    if (np_in_list(args, &list) == 0 && np_list_next(&list, &ops))
        do_all(&d, ops);
    if (d.result < 0) {
        destroy(self);
        return d.result;
    }
    *state = self;
    return 0;
}

static bool read_do(np_in *in) { return np_in_tuple_of(in, 2) == 0 && np_in_match(in, "do") == 0; }

static int handle_call(np_ctx *ctx, void *state, const np_caller *caller, np_in *request, np_out *reply) {
    doing d = {.ctx = ctx, .self = state, .caller = caller, .reply = reply};
    if (!read_do(request))
        return NP_UNHANDLED;
    int result = do_all(&d, *request);
    if (result == NP_REPLY && !d.replied)
        np_out_atom(reply, "ok");
    return result;
}

static int handle_cast(np_ctx *ctx, void *state, np_in *message) {
    doing d = {.ctx = ctx, .self = state};
    return read_do(message) ? do_all(&d, *message) : NP_UNHANDLED;
}

static np_out *begin_report(np_ctx *ctx, const char *what, uint32_t arity) {
    np_out *out = np_build(ctx);
    np_out_tuple(out, arity);
    np_out_atom(out, what);
    return out;
}

static void send_report(np_ctx *ctx, const nasty *self, const np_out *out) {
    if (self->report.node != 0)
        np_send(ctx, &self->report, out);
}

static int handle_info(np_ctx *ctx, void *state, np_in *message) {
    nasty *self = state;
    doing d = {.ctx = ctx, .self = self};
    np_in in = *message;
    if (read_do(&in))
        return do_all(&d, in);
    np_out *out = begin_report(ctx, "info", 2);
    np_out_term(out, message);
    send_report(ctx, self, out);
    return do_on_event(ctx, self, ON_INFO);
}

static int handle_timer(np_ctx *ctx, void *state, uint64_t tag) {
    np_out *out = begin_report(ctx, "timer", 2);
    np_out_uint(out, tag);
    send_report(ctx, state, out);
    return do_on_event(ctx, state, ON_TIMER);
}

static int handle_reply(np_ctx *ctx, void *state, uint64_t tag, int status, np_in *value) {
    np_out *out = begin_report(ctx, "reply", 4);
    np_out_uint(out, tag);
    np_out_atom(out, status == 0 ? "ok" : np_error_name(status));
    if (np_in_at_end(value)) {
        np_out_nil(out);
    } else {
        np_out_term(out, value);
    }
    send_report(ctx, state, out);
    return do_on_event(ctx, state, ON_REPLY);
}

static void terminate(np_ctx *ctx, void *state, np_in *reason) {
    (void)reason;
    do_on_event(ctx, state, ON_TERMINATE);
}

static int fetch(np_ctx *ctx, void *state, np_in *what, np_out *out) {
    (void)what;
    do_on_event(ctx, state, ON_FETCH);
    np_out_uint(out, ((nasty *)state)->owed_count);
    return NP_REPLY;
}

static const np_worker_ops ops = {
    .abi = NP_WORKER_ABI,
    .size = sizeof ops,
    .name = "nasty",
    .init = init,
    .handle_call = handle_call,
    .handle_cast = handle_cast,
    .handle_info = handle_info,
    .handle_timer = handle_timer,
    .handle_reply = handle_reply,
    .terminate = terminate,
    .destroy = destroy,
    .fetch = fetch,
};

NP_WORKER_PLUGIN(ops)
