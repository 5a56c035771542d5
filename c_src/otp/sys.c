/*
 * sys.c - answers system messages as a gen_server does (protocols.md section 6; lib/stdlib/src/sys.erl,
 * handle_system_msg/6 and debug_cmd/2).
 *
 * Main thread, called by whoever runs a process. What sys can ask of Erlang processes only (funs, trace output, log
 * files) is accepted where accepting it has no visible effect anyway, and refused with {error, _} otherwise.
 */
#include "otp/sys.h"

#include "base/assert.h"
#include "base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct np_sys_state {
    bool suspended;
    bool statistics;
    int64_t start_s; /* when statistics began */
    uint64_t messages_in;
    uint64_t messages_out;
    np_buf kept; /* of each kept message: its length in four bytes, then itself */
    uint32_t kept_count;
};

static np_sys_state *need_state(np_sys_state **sys) {
    if (*sys == NULL)
        *sys = calloc(1, sizeof(**sys));
    return *sys;
}

/* Frees the state when nothing in it differs from that of an ordinary process. */
static void settle(np_sys_state **sys) {
    if (*sys != NULL && !(*sys)->suspended && !(*sys)->statistics && (*sys)->kept_count == 0)
        np_sys_destroy(sys);
}

void np_sys_destroy(np_sys_state **sys) {
    if (*sys == NULL)
        return;
    np_buf_fini(&(*sys)->kept);
    free(*sys);
    *sys = NULL;
}

bool np_sys_suspended(const np_sys_state *sys) { return sys != NULL && sys->suspended; }

/* ---- kept messages ---- */

int np_sys_keep(np_sys_state *sys, np_in message) {
    NP_ASSERT(sys != NULL);
    np_bytes bytes = np_in_bytes(&message);
    if (sys->kept_count >= NP_MAILBOX_MAX || bytes.len > NP_MAILBOX_BYTES_MAX ||
        np_buf_len(&sys->kept) + bytes.len > NP_MAILBOX_BYTES_MAX)
        return NP_EOVERLOAD;
    return np_sys_keep_urgent(sys, message);
}

int np_sys_keep_urgent(np_sys_state *sys, np_in message) {
    np_bytes bytes = np_in_bytes(&message);
    uint8_t *to;
    int rc = np_buf_reserve(&sys->kept, 4 + bytes.len, &to);
    if (rc < 0)
        return rc;
    (void)np_buf_append_u32(&sys->kept, (uint32_t)bytes.len);
    (void)np_buf_append(&sys->kept, bytes.data, bytes.len);
    sys->kept_count++;
    return 0;
}

bool np_sys_take(np_sys_state **sys, np_buf *buf) {
    np_sys_state *state = *sys;
    if (state == NULL || state->suspended)
        return false;
    if (state->kept_count == 0) {
        np_buf_fini(&state->kept);
        settle(sys);
        return false;
    }
    np_buf_clear(buf, SIZE_MAX);
    uint32_t len = np_get_u32(np_buf_head(&state->kept));
    if (np_buf_append(buf, np_buf_head(&state->kept) + 4, len) < 0)
        return false; /* it stays where it is, for the next time */
    np_buf_consume(&state->kept, 4 + (size_t)len);
    state->kept_count--;
    return true;
}

/* ---- statistics ---- */

void np_sys_count_in(np_sys_state *sys) {
    if (sys != NULL)
        sys->messages_in++;
}

void np_sys_count_out(np_sys_state *sys) {
    if (sys != NULL)
        sys->messages_out++;
}

/* {{Y,M,D},{h,m,s}}, local time, as erlang:localtime/0. */
static void out_datetime(np_out *out, int64_t wall_s) {
    time_t at = (time_t)wall_s;
    struct tm tm = {0};
    (void)localtime_r(&at, &tm);
    np_out_tuple(out, 2);
    np_out_tuple(out, 3);
    np_out_int(out, tm.tm_year + 1900);
    np_out_int(out, tm.tm_mon + 1);
    np_out_int(out, tm.tm_mday);
    np_out_tuple(out, 3);
    np_out_int(out, tm.tm_hour);
    np_out_int(out, tm.tm_min);
    np_out_int(out, tm.tm_sec);
}

static void out_count(np_out *out, const char *name, uint64_t value) {
    np_out_tuple(out, 2);
    np_out_atom(out, name);
    np_out_uint(out, value);
}

static void out_statistics(const np_sys_state *sys, int64_t wall_s, np_out *out) {
    np_out_tuple(out, 2);
    np_out_atom(out, "ok");
    if (sys == NULL || !sys->statistics) {
        np_out_atom(out, "no_statistics");
        return;
    }
    np_out_list(out, 5);
    np_out_tuple(out, 2);
    np_out_atom(out, "start_time");
    out_datetime(out, sys->start_s);
    np_out_tuple(out, 2);
    np_out_atom(out, "current_time");
    out_datetime(out, wall_s);
    out_count(out, "reductions", sys->messages_in); /* native code counts none: one for each message */
    out_count(out, "messages_in", sys->messages_in);
    out_count(out, "messages_out", sys->messages_out);
    np_out_nil(out);
}

static void out_error(np_out *out, const char *reason) {
    np_out_tuple(out, 2);
    np_out_atom(out, "error");
    np_out_atom(out, reason);
}

static void statistics_command(np_sys_state **sys, np_in what, int64_t wall_s, np_out *out) {
    if (np_in_match(&what, "get") == 0) {
        out_statistics(*sys, wall_s, out);
    } else if (np_in_match(&what, "true") == 0) {
        np_sys_state *state = need_state(sys);
        if (state == NULL) {
            out_error(out, "system_limit");
            return;
        }
        if (!state->statistics) {
            state->statistics = true;
            state->start_s = wall_s;
            state->messages_in = state->messages_out = 0;
        }
        np_out_atom(out, "ok");
    } else if (np_in_match(&what, "false") == 0) {
        if (*sys != NULL)
            (*sys)->statistics = false;
        settle(sys);
        np_out_atom(out, "ok");
    } else {
        np_out_atom(out, "unknown_debug");
    }
}

/* ---- debug ---- */

static bool is_atom(np_in term, const char *name) { return np_in_match(&term, name) == 0; }

/* {log, true | {true,N} | false | print | get}. Nothing is ever logged, so the log is empty. */
static void log_command(np_in what, np_out *out) {
    np_in at = what;
    int64_t n;
    if (is_atom(what, "get")) {
        np_out_tuple(out, 2);
        np_out_atom(out, "ok");
        np_out_nil(out);
    } else if (is_atom(what, "true") || is_atom(what, "false") || is_atom(what, "print") ||
               (np_in_tuple_of(&at, 2) == 0 && np_in_match(&at, "true") == 0 && np_in_int64(&at, &n) == 0 && n >= 1)) {
        np_out_atom(out, "ok");
    } else {
        np_out_atom(out, "unknown_debug");
    }
}

/* what: the What of {debug, What}. */
static void debug_command(np_sys_state **sys, np_in what, int64_t wall_s, np_out *out) {
    if (is_atom(what, "no_debug")) {
        if (*sys != NULL)
            (*sys)->statistics = false;
        settle(sys);
        np_out_atom(out, "ok");
        return;
    }
    if (np_in_tuple_of(&what, 2) < 0) {
        np_out_atom(out, "unknown_debug");
        return;
    }
    if (np_in_match(&what, "statistics") == 0)
        statistics_command(sys, what, wall_s, out);
    else if (np_in_match(&what, "log") == 0)
        log_command(what, out);
    else if (np_in_match(&what, "trace") == 0)
        np_out_atom(out, is_atom(what, "true") || is_atom(what, "false") ? "ok" : "unknown_debug");
    else if (np_in_match(&what, "install") == 0 || np_in_match(&what, "remove") == 0)
        np_out_atom(out, "ok");
    else if (np_in_match(&what, "log_to_file") < 0)
        np_out_atom(out, "unknown_debug");
    else if (is_atom(what, "false"))
        np_out_atom(out, "ok");
    else
        out_error(out, "open_file"); /* what OTP says of a file it cannot open */
}

/* ---- status ---- */

static void out_pair(np_out *out, const char *key) {
    np_out_tuple(out, 2);
    np_out_chars(out, key);
}

static void out_data(np_out *out, uint32_t pairs) {
    np_out_tuple(out, 2);
    np_out_atom(out, "data");
    np_out_list(out, pairs);
}

/* gen:format_status_header/2 and gen_server:format_status/2: what observer and sys:get_status show. */
static void out_misc(const np_sys_host *host, const char *status, const np_pid *parent, np_out *out) {
    char header[64 + NP_ATOM_BYTES_MAX];
    if (host->name != NULL)
        (void)snprintf(header, sizeof(header), "Status for generic server %s", host->name);
    else
        (void)snprintf(header, sizeof(header), "Status for generic server <0.%u.%u>", host->pid.num, host->pid.serial);
    np_out_list(out, 3);
    np_out_tuple(out, 2);
    np_out_atom(out, "header");
    np_out_chars(out, header);
    out_data(out, 3);
    out_pair(out, "Status");
    np_out_atom(out, status);
    out_pair(out, "Parent");
    np_out_pid(out, parent);
    out_pair(out, "Logged events");
    np_out_nil(out);
    np_out_nil(out);
    out_data(out, 1);
    out_pair(out, "State");
    host->state(host->self, out);
    np_out_nil(out);
    np_out_nil(out);
}

static void out_status(const np_sys_state *sys, const np_sys_host *host, np_out *out) {
    const char *status = np_sys_suspended(sys) ? "suspended" : "running";
    const np_pid *parent = host->parent.node == 0 ? &host->pid : &host->parent;
    np_out_tuple(out, 4);
    np_out_atom(out, "status");
    np_out_pid(out, &host->pid);
    np_out_tuple(out, 2);
    np_out_atom(out, "module");
    np_out_atom(out, host->module);
    np_out_list(out, 5);
    np_out_nil(out); /* the process dictionary */
    np_out_atom(out, status);
    np_out_pid(out, parent);
    np_out_nil(out); /* debug options */
    out_misc(host, status, parent, out);
    np_out_nil(out);
}

/* ---- requests ---- */

static void out_unknown(np_in request, np_out *out) {
    np_out_tuple(out, 2);
    np_out_atom(out, "error");
    np_out_tuple(out, 2);
    np_out_atom(out, "unknown_system_msg");
    np_out_term(out, &request);
}

static np_sys_action suspend(np_sys_state **sys, np_out *out) {
    np_sys_state *state = need_state(sys);
    if (state == NULL) {
        out_error(out, "system_limit");
        return NP_SYS_NONE;
    }
    state->suspended = true;
    np_out_atom(out, "ok");
    return NP_SYS_NONE;
}

static np_sys_action resume(np_sys_state **sys, np_out *out) {
    np_out_atom(out, "ok");
    if (!np_sys_suspended(*sys))
        return NP_SYS_NONE;
    (*sys)->suspended = false;
    settle(sys);
    return NP_SYS_RESUMED;
}

np_sys_action np_sys_handle(np_sys_state **sys, const np_sys_host *host, const np_gen *gen, int64_t wall_s, np_out *out,
                            np_in *reason) {
    NP_ASSERT(gen->kind == NP_GEN_SYSTEM);
    np_in at = gen->body;
    uint32_t arity = 0;
    np_gen_reply_begin(out, &gen->from);
    if (is_atom(at, "get_state"))
        host->state(host->self, out);
    else if (is_atom(at, "get_status"))
        out_status(*sys, host, out);
    else if (is_atom(at, "suspend"))
        return suspend(sys, out);
    else if (is_atom(at, "resume"))
        return resume(sys, out);
    else if (np_in_tuple(&at, &arity) < 0)
        out_unknown(gen->body, out);
    else if (arity == 2 && np_in_match(&at, "terminate") == 0) {
        *reason = at;
        np_out_atom(out, "ok");
        return NP_SYS_TERMINATE;
    } else if (arity == 2 && np_in_match(&at, "debug") == 0)
        debug_command(sys, at, wall_s, out);
    else if (arity == 2 && np_in_match(&at, "replace_state") == 0)
        out_error(out, "notsup"); /* a fun: needs a BEAM */
    else if (arity == 4 && np_in_match(&at, "change_code") == 0 && np_sys_suspended(*sys))
        np_out_atom(out, "ok");
    else
        out_unknown(gen->body, out);
    return NP_SYS_NONE;
}
