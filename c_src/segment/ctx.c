/*
 * ctx.c - what a worker may ask for from inside a callback: the functions of <native_pool/worker.h>.
 *
 * Runs on the segment's thread, inside callbacks. Everything that leaves the worker is checked to be one whole term
 * first.
 */
#include "segment/internal.h"

#include "base/limits.h"
#include "base/log.h"
#include "term/names.h"
#include "term/print.h"
#include "term/validate.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP = 64 << 10, LOG_TEXT_MAX = 1024, REF_TEXT_MAX = 512 };

/* ---- who am I ---- */

const np_pid *np_self(const np_ctx *ctx) { return &ctx->pid; }
np_in np_self_ref(const np_ctx *ctx) { return np_worker_ref(ctx); }

np_in np_self_id(const np_ctx *ctx) { return (np_in){.base = ctx->ref, .pos = ctx->id_at, .end = ctx->ref_len}; }

uint64_t np_now_ms(const np_ctx *ctx) { return ctx->runtime->host.now_ms(ctx->runtime->host.arg); }

void np_log(np_ctx *ctx, np_log_level level, const char *text, ...) {
    if (level > np_log_get_level())
        return;
    char line[LOG_TEXT_MAX];
    va_list args;
    va_start(args, text);
    vsnprintf(line, sizeof line, text, args);
    va_end(args);
    char ref[REF_TEXT_MAX];
    np_in ref_term = np_worker_ref(ctx);
    NP_LOG(level, "worker", line, "pool=%s ref=%s", ctx->runtime->config.pool,
           np_term_text(&ref_term, ref, sizeof ref));
}

/* ---- replies ---- */

const np_pid *np_caller_pid(const np_caller *caller) { return &caller->from->pid; }

np_deferred np_defer(np_ctx *ctx, const np_caller *caller) {
    np_runtime *runtime = ctx->runtime;
    if (ctx->owed_count >= NP_DEFERRED_MAX)
        return 0;
    np_bytes tag = np_in_bytes(&caller->from->tag);
    np_owed *owed = malloc(sizeof *owed + tag.len);
    if (owed == NULL)
        return 0;
    owed->id = runtime->next_owed++;
    owed->worker = ctx;
    owed->pid = caller->from->pid;
    owed->alias = caller->from->alias;
    owed->has_alias = caller->from->has_alias;
    owed->tag_len = (uint32_t)tag.len;
    memcpy(owed->tag, tag.data, tag.len);
    if (np_map_add(&runtime->owed, np_hash_u64(owed->id), owed) < 0) {
        free(owed);
        return 0;
    }
    owed->prev = NULL;
    owed->next = ctx->owed;
    if (ctx->owed != NULL)
        ctx->owed->prev = owed;
    ctx->owed = owed;
    ctx->owed_count++;
    return owed->id;
}

void np_owed_free(np_owed *owed) {
    np_worker *worker = owed->worker;
    np_map_remove(&worker->runtime->owed, np_hash_u64(owed->id), &owed->id);
    if (owed->prev != NULL)
        owed->prev->next = owed->next;
    if (owed->next != NULL)
        owed->next->prev = owed->prev;
    if (worker->owed == owed)
        worker->owed = owed->next;
    worker->owed_count--;
    free(owed);
}

int np_reply(np_ctx *ctx, np_deferred deferred, const np_out *term) {
    np_runtime *runtime = ctx->runtime;
    np_owed *owed = np_map_get(&runtime->owed, np_hash_u64(deferred), &deferred);
    if (owed == NULL || owed->worker != ctx)
        return NP_ENOENT;
    if (ctx->killed)
        return NP_ENOPROC;
    np_in reply;
    int error = np_built_term(term, &reply);
    if (error == 0) {
        np_from from = {.pid = owed->pid, .has_alias = owed->has_alias, .alias = owed->alias};
        from.tag = (np_in){.base = owed->tag, .pos = 0, .end = owed->tag_len};
        np_buf_clear(&runtime->wrap_buf, KEEP);
        np_out wrap;
        np_out_init(&wrap, &runtime->wrap_buf, runtime->config.message_max);
        np_gen_reply_begin(&wrap, &from);
        np_out_term(&wrap, &reply);
        error = np_out_error(&wrap);
        if (error == 0) {
            runtime->stats.replies++;
            np_sys_count_out(ctx->sys);
            error = runtime->host.reply(runtime->host.arg, &ctx->pid, &from, np_out_view(&wrap));
        }
    }
    np_owed_free(owed);
    return error;
}

/* ---- terms ---- */

np_out *np_build(np_ctx *ctx) {
    np_runtime *runtime = ctx->runtime;
    np_buf_clear(&runtime->build_buf, KEEP);
    np_out_init(&runtime->build, &runtime->build_buf, runtime->config.message_max);
    return &runtime->build;
}

np_out *np_stop_reason(np_ctx *ctx) {
    np_out_reset(&ctx->runtime->stop);
    return &ctx->runtime->stop;
}

/* ---- messages ---- */

/* Nothing comes from a process that is dead, though its callback still runs: its DOWN has been sent. */
static int outgoing(const np_ctx *ctx, const np_out *out, np_in *term) {
    return ctx->killed ? NP_ENOPROC : np_built_term(out, term);
}

static int send_to(np_ctx *ctx, const np_dest *dest, const np_out *message, bool cast) {
    np_runtime *runtime = ctx->runtime;
    np_in term;
    int error = outgoing(ctx, message, &term);
    if (error < 0)
        return error;
    if (cast) {
        np_buf_clear(&runtime->wrap_buf, KEEP);
        np_out wrap;
        np_out_init(&wrap, &runtime->wrap_buf, runtime->config.message_max);
        np_gen_cast_begin(&wrap);
        np_out_term(&wrap, &term);
        error = np_built_term(&wrap, &term);
        if (error < 0)
            return error;
    }
    np_sys_count_out(ctx->sys);
    return runtime->host.send(runtime->host.arg, &ctx->pid, dest, term);
}

/* The node a name is meant on; NP_EINVAL for what cannot be a node's name. */
static int node_id(const char *node, np_node_id *id) {
    *id = 0;
    if (node == NULL || node[0] == '\0')
        return 0;
    return np_name_intern(node, strlen(node), id);
}

int np_send(np_ctx *ctx, const np_pid *to, const np_out *message) {
    return send_to(ctx, &(np_dest){.pid = to}, message, false);
}

int np_cast(np_ctx *ctx, const np_pid *to, const np_out *message) {
    return send_to(ctx, &(np_dest){.pid = to}, message, true);
}

static int send_name(np_ctx *ctx, const char *node, const char *name, const np_out *message, bool cast) {
    np_dest dest = {.name = name};
    int error = node_id(node, &dest.node);
    return error < 0 ? error : send_to(ctx, &dest, message, cast);
}

int np_send_name(np_ctx *ctx, const char *node, const char *name, const np_out *message) {
    return send_name(ctx, node, name, message, false);
}

int np_cast_name(np_ctx *ctx, const char *node, const char *name, const np_out *message) {
    return send_name(ctx, node, name, message, true);
}

static int call_to(np_ctx *ctx, const np_dest *dest, const np_out *request, uint32_t timeout_ms, uint64_t tag) {
    np_runtime *runtime = ctx->runtime;
    np_in term;
    int error = outgoing(ctx, request, &term);
    if (error < 0)
        return error;
    np_sys_count_out(ctx->sys);
    return runtime->host.call(runtime->host.arg, &ctx->pid, dest, term, timeout_ms, tag);
}

int np_call(np_ctx *ctx, const np_pid *to, const np_out *request, uint32_t timeout_ms, uint64_t tag) {
    return call_to(ctx, &(np_dest){.pid = to}, request, timeout_ms, tag);
}

int np_call_name(np_ctx *ctx, const char *node, const char *name, const np_out *request, uint32_t timeout_ms,
                 uint64_t tag) {
    np_dest dest = {.name = name};
    int error = node_id(node, &dest.node);
    return error < 0 ? error : call_to(ctx, &dest, request, timeout_ms, tag);
}

int np_erpc(np_ctx *ctx, const char *node, const char *module, const char *function, const np_out *args,
            uint32_t timeout_ms, uint64_t tag) {
    np_runtime *runtime = ctx->runtime;
    np_in term;
    int error = outgoing(ctx, args, &term);
    if (error < 0)
        return error;
    np_node_id id;
    error = node_id(node, &id);
    if (error < 0)
        return error;
    return runtime->host.erpc(runtime->host.arg, &ctx->pid, id, module, function, term, timeout_ms, tag);
}

/* ---- monitors, links, exits ---- */

int np_monitor(np_ctx *ctx, const np_pid *pid, np_ref *ref) {
    return ctx->runtime->host.monitor(ctx->runtime->host.arg, &ctx->pid, pid, ref);
}
int np_demonitor(np_ctx *ctx, const np_ref *ref) {
    return ctx->runtime->host.demonitor(ctx->runtime->host.arg, &ctx->pid, ref);
}
int np_link(np_ctx *ctx, const np_pid *pid) { return ctx->runtime->host.link(ctx->runtime->host.arg, &ctx->pid, pid); }
int np_unlink(np_ctx *ctx, const np_pid *pid) {
    return ctx->runtime->host.unlink(ctx->runtime->host.arg, &ctx->pid, pid);
}
int np_trap_exit(np_ctx *ctx, bool trap) {
    return ctx->runtime->host.trap_exit(ctx->runtime->host.arg, &ctx->pid, trap);
}

int np_exit(np_ctx *ctx, const np_pid *pid, const np_out *reason) {
    np_in term;
    int error = outgoing(ctx, reason, &term);
    return error < 0 ? error : ctx->runtime->host.exit(ctx->runtime->host.arg, &ctx->pid, pid, term);
}

/* ---- syn scopes ---- */

/* Splits what was built into exactly `count` terms. */
static int built_terms(const np_out *out, size_t count, np_in *first, np_in *second) {
    int error = np_out_error(out);
    if (error < 0)
        return error;
    np_in view = np_out_view(out);
    np_in *terms[] = {first, second};
    for (size_t i = 0; i < count; i++) {
        np_bytes left = np_in_bytes(&view);
        int64_t len = np_term_validate(left.data, left.len);
        if (len < 0)
            return (int)len;
        *terms[i] = (np_in){.base = left.data, .pos = 0, .end = (size_t)len};
        view.pos += (size_t)len;
    }
    return np_in_at_end(&view) ? 0 : NP_EBADTERM;
}

static int scope_ask(np_ctx *ctx, np_scope_request *request, const np_out *terms, size_t count) {
    if (ctx->killed)
        return NP_ENOPROC;
    int error = built_terms(terms, count, &request->first, &request->second);
    return error < 0 ? error : ctx->runtime->host.scope(ctx->runtime->host.arg, &ctx->pid, request);
}

int np_register(np_ctx *ctx, const char *scope, const np_out *terms) {
    return scope_ask(ctx, &(np_scope_request){.op = NP_SCOPE_REGISTER, .scope = scope}, terms, 2);
}
int np_unregister(np_ctx *ctx, const char *scope, const np_out *terms) {
    return scope_ask(ctx, &(np_scope_request){.op = NP_SCOPE_UNREGISTER, .scope = scope}, terms, 1);
}
int np_lookup(np_ctx *ctx, const char *scope, const np_out *terms, np_pid *pid, np_in *meta) {
    np_scope_request request = {.op = NP_SCOPE_LOOKUP, .scope = scope, .pid = pid, .meta = meta};
    return scope_ask(ctx, &request, terms, 1);
}
int np_join(np_ctx *ctx, const char *scope, const np_out *terms) {
    return scope_ask(ctx, &(np_scope_request){.op = NP_SCOPE_JOIN, .scope = scope}, terms, 2);
}
int np_leave(np_ctx *ctx, const char *scope, const np_out *terms) {
    return scope_ask(ctx, &(np_scope_request){.op = NP_SCOPE_LEAVE, .scope = scope}, terms, 1);
}
int np_members(np_ctx *ctx, const char *scope, const np_out *terms, np_member_fn visit, void *arg) {
    np_scope_request request = {.op = NP_SCOPE_MEMBERS, .scope = scope, .visit = visit, .visit_arg = arg};
    return scope_ask(ctx, &request, terms, 1);
}
int np_publish(np_ctx *ctx, const char *scope, const np_out *terms) {
    return scope_ask(ctx, &(np_scope_request){.op = NP_SCOPE_PUBLISH, .scope = scope}, terms, 2);
}

/* ---- timers ---- */

static uint64_t timer_hash(const np_worker *worker, uint64_t tag) { return np_hash_mix((uintptr_t)worker, tag); }

void np_worker_timer_free(np_worker_timer *timer) {
    np_worker *worker = timer->worker;
    np_timers_stop(worker->runtime->host.timers, &timer->timer);
    np_map_remove(&worker->runtime->timers, timer_hash(worker, timer->tag), timer);
    if (timer->prev != NULL)
        timer->prev->next = timer->next;
    if (timer->next != NULL)
        timer->next->prev = timer->prev;
    if (worker->timers == timer)
        worker->timers = timer->next;
    worker->timer_count--;
    free(timer);
}

static void timer_fired(np_timer *base, void *arg) {
    (void)base;
    np_worker_timer *timer = arg;
    np_worker *worker = timer->worker;
    uint64_t tag = timer->tag;
    np_worker_timer_free(timer);
    np_worker_timer_due(worker, tag);
}

int np_timer_start(np_ctx *ctx, uint64_t ms, uint64_t tag) {
    np_runtime *runtime = ctx->runtime;
    np_worker_timer key = {.worker = ctx, .tag = tag};
    np_worker_timer *timer = np_map_get(&runtime->timers, timer_hash(ctx, tag), &key);
    uint64_t now = np_now_ms(ctx);
    uint64_t due = ms > UINT64_MAX / 2 - now ? UINT64_MAX / 2 : now + ms;
    if (timer != NULL)
        return np_timers_start(runtime->host.timers, &timer->timer, due, timer_fired, timer);
    if (ctx->timer_count >= NP_WORKER_TIMERS_MAX)
        return NP_ELIMIT;
    timer = calloc(1, sizeof *timer);
    if (timer == NULL)
        return NP_ENOMEM;
    timer->tag = tag;
    timer->worker = ctx;
    if (np_map_add(&runtime->timers, timer_hash(ctx, tag), timer) < 0) {
        free(timer);
        return NP_ENOMEM;
    }
    timer->next = ctx->timers;
    if (ctx->timers != NULL)
        ctx->timers->prev = timer;
    ctx->timers = timer;
    ctx->timer_count++;
    int error = np_timers_start(runtime->host.timers, &timer->timer, due, timer_fired, timer);
    if (error < 0)
        np_worker_timer_free(timer);
    return error;
}

bool np_timer_stop(np_ctx *ctx, uint64_t tag) {
    np_worker_timer key = {.worker = ctx, .tag = tag};
    np_worker_timer *timer = np_map_get(&ctx->runtime->timers, timer_hash(ctx, tag), &key);
    if (timer == NULL)
        return false;
    np_worker_timer_free(timer);
    return true;
}
