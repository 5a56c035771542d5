/*
 * echo.c - an example worker: any call answers itself; casts are counted.
 *
 *     call sunk  -> the number of casts since the last sunk
 *     call Other -> Other
 */
#include <native_pool/worker.h>

#include <stdlib.h>

static int init(np_ctx *ctx, np_in *args, void **state) {
    (void)ctx;
    (void)args;
    *state = calloc(1, sizeof(uint64_t));
    return *state != NULL ? 0 : NP_ENOMEM;
}

static int handle_call(np_ctx *ctx, void *state, const np_caller *caller, np_in *request, np_out *reply) {
    (void)ctx;
    (void)caller;
    uint64_t *casts = state;
    if (np_in_match(request, "sunk") == 0) {
        np_out_uint(reply, *casts);
        *casts = 0;
    } else {
        np_out_term(reply, request);
    }
    return NP_REPLY;
}

static int handle_cast(np_ctx *ctx, void *state, np_in *message) {
    (void)ctx;
    (void)message;
    ++*(uint64_t *)state;
    return NP_REPLY;
}

static int fetch(np_ctx *ctx, void *state, np_in *what, np_out *out) {
    (void)ctx;
    (void)what;
    np_out_uint(out, *(uint64_t *)state);
    return NP_REPLY;
}

static void destroy(void *state) { free(state); }

static const np_worker_ops ops = {
    .abi = NP_WORKER_ABI,
    .size = sizeof ops,
    .name = "echo",
    .init = init,
    .handle_call = handle_call,
    .handle_cast = handle_cast,
    .fetch = fetch,
    .destroy = destroy,
};

NP_WORKER_PLUGIN(ops)
