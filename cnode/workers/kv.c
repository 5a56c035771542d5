/*
 * kv.c - an example worker: a map of binaries, with entries that expire (timers) and callers that wait for a key
 * (deferred replies).
 *
 *     call {put, K, V}        -> ok            K and V are binaries
 *     call {put, K, V, TtlMs} -> ok            gone again after TtlMs
 *     call {get, K}           -> {ok, V} | {error, not_found}
 *     call {delete, K}        -> ok | {error, not_found}
 *     call size               -> the number of keys
 *     call {await, K, Ms}     -> {ok, V} as soon as K is there | {error, timeout} after Ms
 *
 * put with a TtlMs and await answer {error, overloaded} while too many entries expire or too many callers wait already.
 */
#include <native_pool/worker.h>

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

typedef struct blob {
    uint8_t *data;
    size_t len;
} blob;

typedef struct entry {
    blob key, value;
    uint64_t timer; /* tag of its expiry; 0: none */
    UT_hash_handle by_key;
} entry;

typedef struct waiter {
    blob key;
    np_deferred reply;
    uint64_t timer;
    struct waiter *next;
} waiter;

typedef struct kv {
    entry *entries;
    waiter *waiters;
    uint64_t last_timer;
} kv;

static bool blob_copy(blob *to, np_bytes from) {
    to->data = malloc(from.len > 0 ? from.len : 1);
    to->len = from.len;
    if (to->data != NULL && from.len > 0)
        memcpy(to->data, from.data, from.len);
    return to->data != NULL;
}

static bool blob_is(const blob *a, const blob *b) { return a->len == b->len && memcmp(a->data, b->data, a->len) == 0; }

static entry *find(kv *self, np_bytes key) {
    entry *found;
    HASH_FIND(by_key, self->entries, key.data, key.len, found);
    return found;
}

static void entry_free(np_ctx *ctx, kv *self, entry *gone) {
    if (ctx != NULL && gone->timer != 0)
        np_timer_stop(ctx, gone->timer);
    HASH_DELETE(by_key, self->entries, gone);
    free(gone->key.data);
    free(gone->value.data);
    free(gone);
}

static void waiter_free(np_ctx *ctx, waiter **link) {
    waiter *gone = *link;
    *link = gone->next;
    if (ctx != NULL)
        np_timer_stop(ctx, gone->timer);
    free(gone->key.data);
    free(gone);
}

static void out_found(np_out *out, const blob *value) {
    np_out_tuple(out, 2);
    np_out_atom(out, "ok");
    np_out_binary(out, value->data, value->len);
}

static void out_error(np_out *out, const char *reason) {
    np_out_tuple(out, 2);
    np_out_atom(out, "error");
    np_out_atom(out, reason);
}

static void wake_waiters(np_ctx *ctx, kv *self, const entry *put) {
    waiter **link = &self->waiters;
    while (*link != NULL) {
        if (!blob_is(&(*link)->key, &put->key)) {
            link = &(*link)->next;
            continue;
        }
        np_out *out = np_build(ctx);
        out_found(out, &put->value);
        np_reply(ctx, (*link)->reply, out);
        waiter_free(ctx, link);
    }
}

/* NP_ELIMIT: no timer is left. */
static int put(np_ctx *ctx, kv *self, np_bytes key, np_bytes value, const uint64_t *ttl_ms) {
    entry *old = find(self, key);
    entry *fresh = calloc(1, sizeof *fresh);
    int error = NP_ENOMEM;
    if (fresh == NULL || !blob_copy(&fresh->key, key) || !blob_copy(&fresh->value, value))
        goto fail;
    if (ttl_ms != NULL) {
        fresh->timer = ++self->last_timer;
        error = np_timer_start(ctx, *ttl_ms, fresh->timer);
        if (error < 0)
            goto fail;
    }
    if (old != NULL)
        entry_free(ctx, self, old);
    HASH_ADD_KEYPTR(by_key, self->entries, fresh->key.data, fresh->key.len, fresh);
    wake_waiters(ctx, self, fresh);
    return 0;
fail:
    if (fresh != NULL) {
        free(fresh->key.data);
        free(fresh->value.data);
        free(fresh);
    }
    return error;
}

static int await(np_ctx *ctx, kv *self, const np_caller *caller, np_bytes key, uint64_t timeout_ms, np_out *reply) {
    waiter *wait = calloc(1, sizeof *wait);
    if (wait == NULL || !blob_copy(&wait->key, key))
        goto fail;
    wait->timer = ++self->last_timer;
    if (np_timer_start(ctx, timeout_ms, wait->timer) < 0)
        goto fail;
    wait->reply = np_defer(ctx, caller);
    if (wait->reply == 0) {
        np_timer_stop(ctx, wait->timer);
        goto fail;
    }
    wait->next = self->waiters;
    self->waiters = wait;
    return NP_NOREPLY;
fail:
    if (wait != NULL)
        free(wait->key.data);
    free(wait);
    out_error(reply, "overloaded");
    return NP_REPLY;
}

static int init(np_ctx *ctx, np_in *args, void **state) {
    (void)ctx;
    (void)args;
    *state = calloc(1, sizeof(kv));
    return *state != NULL ? 0 : NP_ENOMEM;
}

static int handle_call(np_ctx *ctx, void *state, const np_caller *caller, np_in *request, np_out *reply) {
    kv *self = state;
    np_bytes key;
    np_bytes value;
    uint64_t ms;
    uint32_t arity;
    if (np_in_match(request, "size") == 0) {
        np_out_uint(reply, HASH_CNT(by_key, self->entries));
        return NP_REPLY;
    }
    if (np_in_tuple(request, &arity) < 0)
        return NP_UNHANDLED;
    np_in in = *request;
    if (arity == 2 && np_in_match(&in, "get") == 0 && np_in_binary(&in, &key) == 0) {
        const entry *found = find(self, key);
        if (found != NULL) {
            out_found(reply, &found->value);
        } else {
            out_error(reply, "not_found");
        }
        return NP_REPLY;
    }
    if (arity == 2 && np_in_match(&in, "delete") == 0 && np_in_binary(&in, &key) == 0) {
        entry *found = find(self, key);
        if (found != NULL) {
            entry_free(ctx, self, found);
            np_out_atom(reply, "ok");
        } else {
            out_error(reply, "not_found");
        }
        return NP_REPLY;
    }
    if (arity == 3 && np_in_match(&in, "await") == 0 && np_in_binary(&in, &key) == 0 && np_in_uint64(&in, &ms) == 0) {
        const entry *found = find(self, key);
        if (found == NULL)
            return await(ctx, self, caller, key, ms, reply);
        out_found(reply, &found->value);
        return NP_REPLY;
    }
    if ((arity == 3 || arity == 4) && np_in_match(&in, "put") == 0 && np_in_binary(&in, &key) == 0 &&
        np_in_binary(&in, &value) == 0 && (arity == 3 || np_in_uint64(&in, &ms) == 0)) {
        int error = put(ctx, self, key, value, arity == 4 ? &ms : NULL);
        if (error == NP_ENOMEM)
            return error;
        if (error < 0) {
            out_error(reply, "overloaded");
        } else {
            np_out_atom(reply, "ok");
        }
        return NP_REPLY;
    }
    return NP_UNHANDLED;
}

static int handle_timer(np_ctx *ctx, void *state, uint64_t tag) {
    kv *self = state;
    for (waiter **link = &self->waiters; *link != NULL; link = &(*link)->next) {
        if ((*link)->timer != tag)
            continue;
        np_out *out = np_build(ctx);
        out_error(out, "timeout");
        np_reply(ctx, (*link)->reply, out);
        waiter_free(ctx, link);
        return NP_REPLY;
    }
    entry *each;
    entry *next;
    HASH_ITER(by_key, self->entries, each, next) {
        if (each->timer != tag)
            continue;
        each->timer = 0; /* it has just fired */
        entry_free(ctx, self, each);
        break;
    }
    return NP_REPLY;
}

static int fetch(np_ctx *ctx, void *state, np_in *what, np_out *out) {
    (void)ctx;
    (void)what;
    kv *self = state;
    entry *each;
    entry *next;
    np_out_map(out, HASH_CNT(by_key, self->entries));
    HASH_ITER(by_key, self->entries, each, next) {
        np_out_binary(out, each->key.data, each->key.len);
        np_out_binary(out, each->value.data, each->value.len);
    }
    return NP_REPLY;
}

static void destroy(void *state) {
    kv *self = state;
    entry *each;
    entry *next;
    HASH_ITER(by_key, self->entries, each, next) entry_free(NULL, self, each);
    while (self->waiters != NULL)
        waiter_free(NULL, &self->waiters);
    free(self);
}

static const np_worker_ops ops = {
    .abi = NP_WORKER_ABI,
    .size = sizeof ops,
    .name = "kv",
    .init = init,
    .handle_call = handle_call,
    .handle_timer = handle_timer,
    .fetch = fetch,
    .destroy = destroy,
};

NP_WORKER_PLUGIN(ops)
