/*
 * runtime.c - the life of a worker and the dispatch of its messages.
 *
 * Runs on the thread that owns the segment. Callbacks are entered from here only, one at a time; a worker that is to
 * end while its callback runs ends when that has returned.
 */
#include "segment/internal.h"

#include "base/assert.h"
#include "base/log.h"
#include "term/print.h"
#include "term/validate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WHERE "segment/runtime"

enum { SCRATCH_KEEP = 64 << 10, TEXT_MAX = 512 };

static const uint8_t STATE_ATOM[] = {119, 5, 's', 't', 'a', 't', 'e'};
static const uint8_t NORMAL_ATOM[] = {119, 6, 'n', 'o', 'r', 'm', 'a', 'l'};

static np_in cursor(const uint8_t *data, size_t len) { return (np_in){.base = data, .pos = 0, .end = len}; }

/* ---- the runtime ---- */

int np_runtime_check_ops(const np_worker_ops *ops, char *why, size_t size) {
    if (ops == NULL) {
        snprintf(why, size, "the plugin returned no table");
    } else if (ops->abi != NP_WORKER_ABI) {
        snprintf(why, size, "it was built for worker ABI %u, this program has ABI %u: rebuild it", (unsigned)ops->abi,
                 (unsigned)NP_WORKER_ABI);
    } else if (ops->size < sizeof(np_worker_ops)) {
        snprintf(why, size,
                 "its table has %u bytes instead of at least %zu: rebuild it against this program's worker.h",
                 (unsigned)ops->size, sizeof(np_worker_ops));
    } else if (ops->name == NULL || ops->name[0] == '\0') {
        snprintf(why, size, "its table has no name");
    } else if (ops->init == NULL) {
        snprintf(why, size, "its table has no init");
    } else {
        return 0;
    }
    return NP_EINVAL;
}

static bool owed_eq(const void *item, const void *key) { return ((const np_owed *)item)->id == *(const uint64_t *)key; }

static bool timer_eq(const void *item, const void *key) {
    const np_worker_timer *a = item;
    const np_worker_timer *b = key;
    return a->worker == b->worker && a->tag == b->tag;
}

np_runtime *np_runtime_new(const np_runtime_host *host, const np_runtime_config *config) {
    np_runtime *runtime = calloc(1, sizeof *runtime);
    if (runtime == NULL)
        return NULL;
    runtime->host = *host;
    runtime->config = *config;
    runtime->next_owed = 1;
    np_map_init(&runtime->owed, owed_eq);
    np_map_init(&runtime->timers, timer_eq);
    np_out_init(&runtime->stop, &runtime->stop_buf, config->message_max);
    return runtime;
}

void np_runtime_destroy(np_runtime **runtime) {
    np_runtime *gone = *runtime;
    if (gone == NULL)
        return;
    NP_ASSERT(gone->count == 0);
    np_map_fini(&gone->owed);
    np_map_fini(&gone->timers);
    np_buf_fini(&gone->reply_buf);
    np_buf_fini(&gone->build_buf);
    np_buf_fini(&gone->stop_buf);
    np_buf_fini(&gone->wrap_buf);
    np_buf_fini(&gone->take_buf);
    free(gone);
    *runtime = NULL;
}

uint32_t np_runtime_count(const np_runtime *runtime) { return runtime->count; }
const np_runtime_stats *np_runtime_get_stats(const np_runtime *runtime) { return &runtime->stats; }
const np_pid *np_worker_pid(const np_worker *worker) { return &worker->pid; }
np_in np_worker_ref(const np_worker *worker) { return cursor(worker->ref, worker->ref_len); }
void *np_worker_owner(const np_worker *worker) { return worker->owner; }

/* ---- birth and death ---- */

static void worker_free(np_worker *worker) {
    np_runtime *runtime = worker->runtime;
    while (worker->owed != NULL)
        np_owed_free(worker->owed);
    while (worker->timers != NULL)
        np_worker_timer_free(worker->timers);
    np_sys_destroy(&worker->sys);
    if (runtime->config.ops->destroy != NULL)
        runtime->config.ops->destroy(worker->state);
    runtime->count--;
    free(worker->ref);
    free(worker);
}

/* The reason may live in stop_buf: np_stop_reason in terminate gets another one, which nobody reads. */
static void run_terminate(np_worker *worker, np_in reason) {
    np_runtime *runtime = worker->runtime;
    np_buf kept = runtime->stop_buf;
    np_buf_init(&runtime->stop_buf);
    np_out_init(&runtime->stop, &runtime->stop_buf, runtime->config.message_max);
    worker->running = true;
    runtime->config.ops->terminate(worker, worker->state, &reason);
    worker->running = false;
    np_buf_fini(&runtime->stop_buf);
    runtime->stop_buf = kept;
}

/* The worker's own end: terminate, tell the host, free. */
static void worker_end(np_worker *worker, np_in reason) {
    np_runtime *runtime = worker->runtime;
    if (runtime->config.ops->terminate != NULL)
        run_terminate(worker, reason);
    if (!worker->killed)
        runtime->host.ended(runtime->host.arg, worker, reason);
    worker_free(worker);
}

int np_runtime_start(np_runtime *runtime, const np_pid *pid, np_in ref, np_in args, void *owner, np_worker **out) {
    np_bytes ref_bytes = np_in_bytes(&ref);
    np_in id = ref;
    if (np_in_tuple_of(&id, 3) < 0 || np_in_match(&id, "ref") < 0 || np_in_term(&id, NULL) < 0)
        return NP_EINVAL;
    np_worker *worker = calloc(1, sizeof *worker);
    uint8_t *copy = malloc(ref_bytes.len);
    if (worker == NULL || copy == NULL) {
        free(worker);
        free(copy);
        return NP_ENOMEM;
    }
    memcpy(copy, ref_bytes.data, ref_bytes.len);
    worker->runtime = runtime;
    worker->owner = owner;
    worker->pid = *pid;
    worker->ref = copy;
    worker->ref_len = (uint32_t)ref_bytes.len;
    worker->id_at = (uint32_t)(id.pos - ref.pos);
    runtime->count++;
    worker->running = true;
    runtime->host.starting(runtime->host.arg, worker);
    int result = runtime->config.ops->init(worker, &args, &worker->state);
    worker->running = false;
    if (result < 0 || worker->killed) {
        while (worker->owed != NULL)
            np_owed_free(worker->owed);
        while (worker->timers != NULL)
            np_worker_timer_free(worker->timers);
        if (result >= 0 && runtime->config.ops->destroy != NULL)
            runtime->config.ops->destroy(worker->state);
        runtime->count--;
        free(worker->ref);
        free(worker);
        return result < 0 ? result : NP_ECLOSED;
    }
    *out = worker;
    return 0;
}

void np_runtime_stop(np_worker *worker, np_in reason, bool orderly) {
    if (worker->running) {
        worker->killed = true;
    } else if (orderly) {
        worker_end(worker, reason);
    } else {
        worker_free(worker);
    }
}

/* ---- results of callbacks ---- */

int np_built_term(const np_out *out, np_in *term) {
    int error = np_out_error(out);
    if (error < 0)
        return error;
    np_in view = np_out_view(out);
    np_bytes bytes = np_in_bytes(&view);
    return np_term_open(term, bytes.data, bytes.len);
}

static void crash(np_worker *worker, int error, const char *callback) {
    np_runtime *runtime = worker->runtime;
    char ref[TEXT_MAX];
    np_in ref_term = np_worker_ref(worker);
    NP_LOG(NP_LOG_ERROR, WHERE, "worker crashed", "pool=%s ref=%s callback=%s error=\"%s\"", runtime->config.pool,
           np_term_text(&ref_term, ref, sizeof ref), callback, np_strerror(error));
    runtime->stats.crashes++;
    np_buf_clear(&runtime->stop_buf, SCRATCH_KEEP);
    np_out_init(&runtime->stop, &runtime->stop_buf, runtime->config.message_max);
    np_out_tuple(&runtime->stop, 2);
    np_out_atom(&runtime->stop, np_error_name(error));
    np_out_atom(&runtime->stop, callback);
    np_in reason;
    if (np_built_term(&runtime->stop, &reason) < 0)
        reason = cursor(NORMAL_ATOM, sizeof NORMAL_ATOM);
    worker_end(worker, reason);
}

/* What a callback's result means for the worker; ends it if need be. False when the worker is gone. */
static bool settle(np_worker *worker, int result, const char *callback) {
    np_runtime *runtime = worker->runtime;
    if (worker->killed) {
        worker_free(worker);
        return false;
    }
    if (result == NP_STOP) {
        np_in reason;
        if (np_out_len(&runtime->stop) == 0 || np_built_term(&runtime->stop, &reason) < 0)
            reason = cursor(NORMAL_ATOM, sizeof NORMAL_ATOM);
        worker_end(worker, reason);
        return false;
    }
    if (result < 0) {
        crash(worker, result, callback);
        return false;
    }
    return true;
}

static void enter(np_worker *worker) {
    np_runtime *runtime = worker->runtime;
    NP_ASSERT(!worker->running);
    worker->running = true;
    np_buf_clear(&runtime->stop_buf, SCRATCH_KEEP);
    np_out_init(&runtime->stop, &runtime->stop_buf, runtime->config.message_max);
}

static void leave(np_worker *worker) { worker->running = false; }

static void unhandled(np_worker *worker, const char *kind, const np_in *message) {
    worker->runtime->stats.unhandled++;
    if (np_log_get_level() < NP_LOG_DEBUG)
        return;
    char text[TEXT_MAX];
    char ref[TEXT_MAX];
    np_in ref_term = np_worker_ref(worker);
    NP_LOG(NP_LOG_DEBUG, WHERE, "message not handled", "pool=%s ref=%s kind=%s message=%s",
           worker->runtime->config.pool, np_term_text(&ref_term, ref, sizeof ref), kind,
           np_term_text(message, text, sizeof text));
}

/* ---- calls ---- */

static void send_reply(np_worker *worker, const np_from *from, np_in payload) {
    np_runtime *runtime = worker->runtime;
    runtime->stats.replies++;
    np_sys_count_out(worker->sys);
    runtime->host.reply(runtime->host.arg, &worker->pid, from, payload);
}

static bool call(np_worker *worker, const np_gen *gen) {
    np_runtime *runtime = worker->runtime;
    const np_worker_ops *ops = runtime->config.ops;
    runtime->stats.calls++;
    np_buf_clear(&runtime->reply_buf, SCRATCH_KEEP);
    np_out out;
    np_out_init(&out, &runtime->reply_buf, runtime->config.message_max);
    np_gen_reply_begin(&out, &gen->from);
    size_t begin = np_out_len(&out);
    np_in request = gen->body;
    np_caller caller = {&gen->from};
    int result = NP_UNHANDLED;
    if (ops->handle_call != NULL) {
        enter(worker);
        result = ops->handle_call(worker, worker->state, &caller, &request, &out);
        leave(worker);
    }
    if (worker->killed)
        return settle(worker, result, "handle_call");
    if (result == NP_UNHANDLED) { /* the seed's default: {unhandled, Msg} */
        unhandled(worker, "call", &gen->body);
        np_out_reset(&out);
        np_gen_reply_begin(&out, &gen->from);
        np_out_tuple(&out, 2);
        np_out_atom(&out, "unhandled");
        np_out_term(&out, &gen->body);
        result = NP_REPLY;
    }
    bool replies = result == NP_REPLY || (result == NP_STOP && np_out_len(&out) > begin);
    if (replies) {
        np_in payload;
        np_in one;
        int error = np_out_error(&out);
        if (error == 0) {
            payload = np_out_view(&out);
            /* what the worker built must be exactly one term: anything else would break the caller's connection */
            error = np_term_open(&one, payload.base + payload.pos + begin, payload.end - payload.pos - begin);
        }
        if (error < 0) {
            crash(worker, error, "handle_call");
            return false;
        }
        send_reply(worker, &gen->from, payload);
    }
    return settle(worker, result, "handle_call");
}

static bool message(np_worker *worker, const np_gen *gen, bool cast) {
    np_runtime *runtime = worker->runtime;
    const np_worker_ops *ops = runtime->config.ops;
    int (*handle)(np_ctx *, void *, np_in *) = cast ? ops->handle_cast : ops->handle_info;
    const char *name = cast ? "handle_cast" : "handle_info";
    *(cast ? &runtime->stats.casts : &runtime->stats.infos) += 1;
    np_in body = gen->body;
    int result = NP_UNHANDLED;
    if (handle != NULL) {
        enter(worker);
        result = handle(worker, worker->state, &body);
        leave(worker);
    }
    if (result == NP_UNHANDLED)
        unhandled(worker, cast ? "cast" : "info", &gen->body);
    return settle(worker, result, name);
}

/* False when the worker is gone. */
static bool dispatch(np_worker *worker, const np_gen *gen) {
    return gen->kind == NP_GEN_CALL ? call(worker, gen) : message(worker, gen, gen->kind == NP_GEN_CAST);
}

/* ---- system messages ---- */

static void fetch_state(void *self, np_out *out) {
    np_worker *worker = self;
    const np_worker_ops *ops = worker->runtime->config.ops;
    size_t begin = np_out_len(out);
    int result = NP_UNHANDLED;
    if (ops->fetch != NULL) {
        np_in what = cursor(STATE_ATOM, sizeof STATE_ATOM);
        enter(worker);
        result = ops->fetch(worker, worker->state, &what, out);
        leave(worker);
    }
    if (result != NP_REPLY || np_out_len(out) == begin)
        np_out_atom(out, "undefined");
}

static void dropped(np_worker *worker) {
    np_runtime *runtime = worker->runtime;
    if (!np_log_allowed(&runtime->drop_limit, runtime->host.now_ms(runtime->host.arg), WHERE))
        return;
    char ref[TEXT_MAX];
    np_in ref_term = np_worker_ref(worker);
    NP_LOG(NP_LOG_WARNING, WHERE, "mailbox of a suspended worker is full, message dropped", "pool=%s ref=%s",
           runtime->config.pool, np_term_text(&ref_term, ref, sizeof ref));
}

/*
 * Timers and answers to calls of ours are messages in OTP, so a suspended worker must not see them either: they wait in
 * its mailbox in a form no term has (their first byte is no tag).
 */
enum { EVENT_REPLY = 0, EVENT_TIMER = 1, EVENT_HEAD = 1 + 8 + 4 };

static bool run_event(np_worker *worker, int kind, uint64_t tag, int status, np_in value) {
    const np_worker_ops *ops = worker->runtime->config.ops;
    int result = NP_REPLY;
    if (kind == EVENT_TIMER ? ops->handle_timer == NULL : ops->handle_reply == NULL)
        return true;
    enter(worker);
    if (kind == EVENT_TIMER) {
        result = ops->handle_timer(worker, worker->state, tag);
    } else {
        result = ops->handle_reply(worker, worker->state, tag, status, &value);
    }
    leave(worker);
    return settle(worker, result, kind == EVENT_TIMER ? "handle_timer" : "handle_reply");
}

static int keep_event(np_worker *worker, int kind, uint64_t tag, int status, np_in value) {
    np_buf kept = NP_BUF_INIT;
    np_bytes bytes = np_in_bytes(&value);
    int error = np_buf_append_u8(&kept, (uint8_t)kind);
    if (error == 0)
        error = np_buf_append_u64(&kept, tag);
    if (error == 0)
        error = np_buf_append_u32(&kept, (uint32_t)status);
    if (error == 0 && bytes.len > 0)
        error = np_buf_append(&kept, bytes.data, bytes.len);
    np_in event = cursor(np_buf_head(&kept), np_buf_len(&kept));
    if (error == 0)
        error = bytes.len > 0 ? np_sys_keep(worker->sys, event) : np_sys_keep_urgent(worker->sys, event);
    np_buf_fini(&kept);
    return error;
}

/* Timers and answers that come without a value are never refused: their number is bounded by what the worker has asked
 * for. An answer for whose value there is no room says so. */
static void event(np_worker *worker, int kind, uint64_t tag, int status, np_in value) {
    if (np_sys_none(worker->sys) || !np_sys_suspended(worker->sys)) {
        run_event(worker, kind, tag, status, value);
        return;
    }
    int error = keep_event(worker, kind, tag, status, value);
    if (error == NP_EOVERLOAD)
        error = keep_event(worker, kind, tag, NP_EOVERLOAD, cursor(NULL, 0));
    if (error < 0)
        dropped(worker);
}

static bool dispatch_kept(np_worker *worker, const uint8_t *data, size_t len) {
    if (data[0] <= EVENT_TIMER)
        return run_event(worker, data[0], np_get_u64(data + 1), (int)(int32_t)np_get_u32(data + 9),
                         cursor(data + EVENT_HEAD, len - EVENT_HEAD));
    np_gen gen;
    np_gen_parse(cursor(data, len), &gen);
    return dispatch(worker, &gen);
}

static void resume(np_worker *worker) {
    np_buf *buf = &worker->runtime->take_buf;
    while (np_sys_take(&worker->sys, buf)) {
        if (!dispatch_kept(worker, np_buf_head(buf), np_buf_len(buf)))
            return;
    }
}

static void system_message(np_worker *worker, const np_gen *gen) {
    np_runtime *runtime = worker->runtime;
    np_sys_host host = {
        .self = worker,
        .pid = worker->pid,
        .parent = runtime->config.parent,
        .module = "gen_server",
        .name = NULL,
        .state = fetch_state,
    };
    np_buf_clear(&runtime->reply_buf, SCRATCH_KEEP);
    np_out out;
    np_out_init(&out, &runtime->reply_buf, runtime->config.message_max);
    np_in reason;
    np_sys_action action = np_sys_handle(&worker->sys, &host, gen, (int64_t)time(NULL), &out, &reason);
    if (worker->killed) {
        worker_free(worker);
        return;
    }
    np_in payload;
    if (np_built_term(&out, &payload) == 0) {
        send_reply(worker, &gen->from, payload);
    } else {
        np_out_reset(&out); /* fetch built no term: say so rather than nothing */
        np_gen_reply_begin(&out, &gen->from);
        np_out_tuple(&out, 2);
        np_out_atom(&out, "error");
        np_out_atom(&out, "badterm");
        if (np_built_term(&out, &payload) == 0)
            send_reply(worker, &gen->from, payload);
    }
    if (action == NP_SYS_TERMINATE) {
        worker_end(worker, reason);
    } else if (action == NP_SYS_RESUMED) {
        resume(worker);
    }
}

/* A full mailbox: a caller is told, anything else is dropped with a line in the log. */
static void refuse(np_worker *worker, const np_gen *gen) {
    np_runtime *runtime = worker->runtime;
    if (gen->kind != NP_GEN_CALL) {
        dropped(worker);
        return;
    }
    np_buf_clear(&runtime->reply_buf, SCRATCH_KEEP);
    np_out out;
    np_out_init(&out, &runtime->reply_buf, runtime->config.message_max);
    np_gen_reply_begin(&out, &gen->from);
    np_out_tuple(&out, 2);
    np_out_atom(&out, "error");
    np_out_atom(&out, "overloaded");
    np_in payload;
    if (np_built_term(&out, &payload) == 0)
        send_reply(worker, &gen->from, payload);
}

void np_runtime_deliver(np_worker *worker, np_in in) {
    np_gen gen;
    np_gen_parse(in, &gen);
    if (!np_sys_none(worker->sys)) {
        np_sys_count_in(worker->sys);
        if (gen.kind != NP_GEN_SYSTEM && np_sys_suspended(worker->sys)) {
            if (np_sys_keep(worker->sys, in) < 0)
                refuse(worker, &gen);
            return;
        }
    }
    if (gen.kind == NP_GEN_SYSTEM) {
        system_message(worker, &gen);
    } else {
        dispatch(worker, &gen);
    }
}

void np_runtime_reply(np_worker *worker, uint64_t tag, int status, np_in value) {
    event(worker, EVENT_REPLY, tag, status, value);
}

void np_worker_timer_due(np_worker *worker, uint64_t tag) { event(worker, EVENT_TIMER, tag, 0, cursor(NULL, 0)); }
