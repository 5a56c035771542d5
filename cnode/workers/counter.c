/*
 * counter.c - an example worker: a number.
 *
 *     call increment -> the new count     cast increment
 *     call {add, N}  -> the new count     cast {add, N}
 *     call get       -> the count
 *
 * Counts are 64-bit and wrap. Started with init arguments [N] it begins at N.
 */
#include <native_pool/worker.h>

#include <stdlib.h>

typedef struct counter {
    uint64_t count; /* unsigned, so that overflow wraps instead of being undefined */
} counter;

static int init(np_ctx *ctx, np_in *args, void **state) {
    (void)ctx;
    counter *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NP_ENOMEM;
    np_list list;
    np_in first;
    int64_t start;
    if (np_in_list(args, &list) == 0 && np_list_next(&list, &first) && np_in_int64(&first, &start) == 0)
        self->count = (uint64_t)start;
    *state = self;
    return 0;
}

/* increment and {add, N}, common to calls and casts. */
static bool change(counter *self, np_in *message) {
    int64_t n = 1;
    if (np_in_match(message, "increment") < 0 &&
        (np_in_tuple_of(message, 2) < 0 || np_in_match(message, "add") < 0 || np_in_int64(message, &n) < 0))
        return false;
    self->count += (uint64_t)n;
    return true;
}

static int handle_call(np_ctx *ctx, void *state, const np_caller *caller, np_in *request, np_out *reply) {
    (void)ctx;
    (void)caller;
    counter *self = state;
    if (np_in_match(request, "get") < 0 && !change(self, request))
        return NP_UNHANDLED;
    np_out_int(reply, (int64_t)self->count);
    return NP_REPLY;
}

static int handle_cast(np_ctx *ctx, void *state, np_in *message) {
    (void)ctx;
    return change(state, message) ? NP_REPLY : NP_UNHANDLED;
}

static int fetch(np_ctx *ctx, void *state, np_in *what, np_out *out) {
    (void)ctx;
    (void)what;
    np_out_int(out, (int64_t)((counter *)state)->count);
    return NP_REPLY;
}

static void destroy(void *state) { free(state); }

static const np_worker_ops ops = {
    .abi = NP_WORKER_ABI,
    .size = sizeof ops,
    .name = "counter",
    .init = init,
    .handle_call = handle_call,
    .handle_cast = handle_cast,
    .fetch = fetch,
    .destroy = destroy,
};

NP_WORKER_PLUGIN(ops)
