/*
 * The worker runtime with a host made of memory: what each callback's result does, what leaves a worker, and that
 * nothing leaks (run it under ASan).
 */
#include "base/limits.h"
#include "base/log.h"
#include "base/timers.h"
#include "segment/runtime.h"
#include "term/names.h"
#include "term/out.h"
#include "term/print.h"
#include "terms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- a host that writes down what it is asked for ---- */

typedef struct world {
    np_timers timers;
    uint64_t now;
    np_runtime *runtime;
    np_worker *worker;
    char log[4096];    /* "reply {a,b}" and so on, a line each */
    bool kill_on_send; /* an exit signal arrives while the worker sends */
} world;

static world w;

static void note(const char *what, np_in term) {
    char text[512];
    size_t at = strlen(w.log);
    snprintf(w.log + at, sizeof w.log - at, "%s %s\n", what, np_term_text(&term, text, sizeof text));
}

static void expect_log(const char *expected) {
    assert_string_equal(w.log, expected);
    w.log[0] = '\0';
}

static int host_send(void *arg, const np_pid *self, const np_dest *dest, np_in payload) {
    (void)arg, (void)self;
    note(dest->name != NULL ? dest->name : "send", payload);
    if (w.kill_on_send) {
        np_runtime_stop(w.worker, payload, false);
        w.worker = NULL;
    }
    return 0;
}

static int host_reply(void *arg, const np_pid *self, const np_from *from, np_in payload) {
    (void)arg, (void)self;
    note(from->has_alias ? "reply_alias" : "reply", payload);
    return 0;
}

static int host_call(void *arg, const np_pid *self, const np_dest *dest, np_in request, uint32_t ms, uint64_t tag) {
    (void)arg, (void)self, (void)dest;
    char what[64];
    snprintf(what, sizeof what, "call %u %u", (unsigned)ms, (unsigned)tag);
    note(what, request);
    return 0;
}

static int host_trap(void *arg, const np_pid *self, bool trap) {
    (void)arg, (void)self, (void)trap;
    return 0;
}

static void host_starting(void *arg, np_worker *worker) {
    (void)arg;
    assert_int_equal(np_worker_pid(worker)->num, 9);
}

static void host_ended(void *arg, np_worker *worker, np_in reason) {
    (void)arg;
    assert_ptr_equal(worker, w.worker);
    w.worker = NULL;
    note("ended", reason);
}

static uint64_t host_now(void *arg) {
    (void)arg;
    return w.now;
}

/* ---- the worker: does what the request says ---- */

static int states; /* inits minus destroys */
static np_deferred owed;

static int init(np_ctx *ctx, np_in *args, void **state) {
    if (np_in_match(args, "fail") == 0)
        return NP_EOVERLOAD;
    np_in id = np_self_id(ctx);
    assert_int_equal(np_in_type(&id), NP_TYPE_INT);
    np_out_atom(np_stop_reason(ctx), "unused");
    *state = malloc(1);
    states++;
    return 0;
}

static int handle_call(np_ctx *ctx, void *state, const np_caller *caller, np_in *request, np_out *reply) {
    (void)state;
    np_in in = *request;
    if (np_in_match(&in, "pair") == 0) {
        np_out_tuple(reply, 2);
        np_out_int(reply, 1);
        np_out_int(reply, 2);
        return NP_REPLY;
    }
    if (np_in_match(&in, "nothing") == 0)
        return NP_REPLY; /* wrong: a reply without a term */
    if (np_in_match(&in, "half") == 0) {
        np_out_tuple(reply, 2);
        np_out_int(reply, 1);
        return NP_REPLY; /* wrong: half a term */
    }
    if (np_in_match(&in, "two") == 0) {
        np_out_nil(reply);
        np_out_nil(reply);
        return NP_REPLY; /* wrong: two terms */
    }
    if (np_in_match(&in, "crash") == 0)
        return NP_ELIMIT;
    if (np_in_match(&in, "stop") == 0) {
        np_out_atom(reply, "bye");
        np_out *reason = np_stop_reason(ctx);
        np_out_tuple(reason, 2);
        np_out_atom(reason, "shutdown");
        np_out_int(reason, 7);
        return NP_STOP;
    }
    if (np_in_match(&in, "stop_silent") == 0)
        return NP_STOP;
    if (np_in_match(&in, "later") == 0) {
        owed = np_defer(ctx, caller);
        assert_true(owed != 0);
        return NP_NOREPLY;
    }
    return NP_UNHANDLED;
}

static int handle_cast(np_ctx *ctx, void *state, np_in *message) {
    (void)state;
    np_out *out = np_build(ctx);
    if (np_in_match(message, "answer") == 0) {
        np_out_atom(out, "late");
        assert_int_equal(np_reply(ctx, owed, out), 0);
        assert_int_equal(np_reply(ctx, owed, out), NP_ENOENT); /* only once */
        return NP_REPLY;
    }
    if (np_in_match(message, "send") == 0) {
        np_out_int(out, 5);
        assert_int_equal(np_send_name(ctx, "x@h", "to_x", out), 0);
        if (w.kill_on_send) { /* the dead say nothing, though their callback goes on */
            assert_int_equal(np_send_name(ctx, "x@h", "to_x", out), NP_ENOPROC);
            assert_int_equal(np_call(ctx, np_self(ctx), out, 250, 77), NP_ENOPROC);
        }
        return NP_REPLY;
    }
    if (np_in_match(message, "cast") == 0) {
        np_out_int(out, 5);
        assert_int_equal(np_cast_name(ctx, NULL, "to_y", out), 0);
        return NP_REPLY;
    }
    if (np_in_match(message, "send_nothing") == 0) {
        assert_int_equal(np_send(ctx, np_self(ctx), out), NP_EBADTERM);
        return NP_REPLY;
    }
    if (np_in_match(message, "call") == 0) {
        np_out_atom(out, "question");
        assert_int_equal(np_call(ctx, np_self(ctx), out, 250, 77), 0);
        return NP_REPLY;
    }
    if (np_in_match(message, "timers") == 0) {
        assert_int_equal(np_timer_start(ctx, 10, 1), 0);
        assert_int_equal(np_timer_start(ctx, 20, 2), 0);
        assert_int_equal(np_timer_start(ctx, 30, 1), 0); /* moves the first */
        assert_int_equal(np_timer_start(ctx, 15, 3), 0);
        assert_true(np_timer_stop(ctx, 3));
        assert_false(np_timer_stop(ctx, 3));
        return NP_REPLY;
    }
    return NP_UNHANDLED;
}

static int handle_info(np_ctx *ctx, void *state, np_in *message) {
    (void)ctx, (void)state;
    note("info", *message);
    return NP_REPLY;
}

static int handle_timer(np_ctx *ctx, void *state, uint64_t tag) {
    (void)ctx, (void)state;
    char what[32];
    uint8_t nil = 106;
    snprintf(what, sizeof what, "timer %u", (unsigned)tag);
    note(what, (np_in){&nil, 0, 1});
    return NP_REPLY;
}

static int handle_reply(np_ctx *ctx, void *state, uint64_t tag, int status, np_in *value) {
    (void)ctx, (void)state;
    char what[64];
    snprintf(what, sizeof what, "answer %u %d", (unsigned)tag, status);
    note(what, *value);
    return NP_REPLY;
}

enum { OTHER_REASON = 900 };

/* A reason of its own, larger than what the real one lies in: `ended` must not see it. */
static void terminate(np_ctx *ctx, void *state, np_in *reason) {
    (void)state;
    uint8_t *bytes = np_out_binary_reserve(np_stop_reason(ctx), OTHER_REASON);
    assert_non_null(bytes);
    memset(bytes, 1, OTHER_REASON);
    note("terminate", *reason);
}

static int fetch(np_ctx *ctx, void *state, np_in *what, np_out *out) {
    (void)ctx, (void)state;
    assert_int_equal(np_in_match(what, "state"), 0);
    np_out_atom(out, "my_state");
    return NP_REPLY;
}

static void destroy(void *state) {
    states--;
    free(state);
}

static const np_worker_ops ops = {
    .abi = NP_WORKER_ABI,
    .size = sizeof ops,
    .name = "test",
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

/* ---- messages ---- */

static np_pid self_pid;

/* {ref, m, 1} and arguments */
static int start(const char *args) {
    np_buf buf = NP_BUF_INIT;
    np_out out;
    np_out_init(&out, &buf, 1000);
    np_out_tuple(&out, 3);
    np_out_atom(&out, "ref");
    np_out_atom(&out, "m");
    np_out_int(&out, 1);
    size_t ref_len = np_out_len(&out);
    np_out_atom(&out, args);
    np_in all = np_out_view(&out);
    np_in ref = {all.base, all.pos, all.pos + ref_len};
    np_in args_in = {all.base, all.pos + ref_len, all.end};
    int error = np_runtime_start(w.runtime, &self_pid, ref, args_in, &w, &w.worker);
    np_buf_fini(&buf);
    return error;
}

enum kind { CALL, CAST, SYSTEM, INFO };

static void deliver(enum kind kind, const char *word) {
    np_buf buf = NP_BUF_INIT;
    np_out out;
    np_out_init(&out, &buf, 1000);
    if (kind == CALL || kind == SYSTEM) {
        np_out_tuple(&out, 3);
        np_out_atom(&out, kind == CALL ? "$gen_call" : "system");
        np_out_tuple(&out, 2);
        np_out_pid(&out, &self_pid);
        np_out_atom(&out, "tag");
    } else if (kind == CAST) {
        np_out_tuple(&out, 2);
        np_out_atom(&out, "$gen_cast");
    }
    np_out_atom(&out, word);
    np_runtime_deliver(w.worker, np_out_view(&out));
    np_buf_fini(&buf);
}

static int setup(void **state) {
    (void)state;
    memset(&w, 0, sizeof w);
    np_timers_init(&w.timers);
    np_log_set_level(NP_LOG_EMERGENCY);
    self_pid = (np_pid){np_name_id("n@h"), 9, 0, 4};
    np_runtime_host host = {
        .arg = &w,
        .send = host_send,
        .reply = host_reply,
        .call = host_call,
        .trap_exit = host_trap,
        .starting = host_starting,
        .ended = host_ended,
        .now_ms = host_now,
        .timers = &w.timers,
    };
    np_runtime_config config = {.ops = &ops, .pool = "P", .parent = self_pid, .message_max = 1000};
    w.runtime = np_runtime_new(&host, &config);
    assert_non_null(w.runtime);
    assert_int_equal(start("ok"), 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    uint8_t nil = 106;
    if (w.worker != NULL)
        np_runtime_stop(w.worker, (np_in){&nil, 0, 1}, false);
    assert_int_equal(np_runtime_count(w.runtime), 0);
    np_runtime_destroy(&w.runtime);
    np_timers_fini(&w.timers);
    assert_int_equal(states, 0); /* destroy, once for each init */
    return 0;
}

/* ---- tests ---- */

static void replies(void **state) {
    (void)state;
    deliver(CALL, "pair");
    expect_log("reply {tag,{1,2}}\n");
    deliver(CALL, "what");
    expect_log("reply {tag,{unhandled,what}}\n");
    deliver(INFO, "hello");
    expect_log("info hello\n");
    assert_int_equal(np_runtime_get_stats(w.runtime)->calls, 2);
    assert_int_equal(np_runtime_get_stats(w.runtime)->unhandled, 1);
}

/* A reply that is not one term would break the caller's connection: the worker crashes instead, nothing is sent. */
static void wrong_replies(void **state) {
    (void)state;
    static const char *const wrong[] = {"nothing", "half", "two"};
    for (size_t i = 0; i < 3; i++) {
        if (w.worker == NULL)
            assert_int_equal(start("ok"), 0);
        deliver(CALL, wrong[i]);
        assert_null(w.worker);
        expect_log("terminate {badterm,handle_call}\nended {badterm,handle_call}\n");
    }
}

static void errors_crash(void **state) {
    (void)state;
    deliver(CALL, "crash");
    expect_log("terminate {limit,handle_call}\nended {limit,handle_call}\n");
    assert_int_equal(np_runtime_get_stats(w.runtime)->crashes, 1);
}

static void stops(void **state) {
    (void)state;
    deliver(CALL, "stop");
    expect_log("reply {tag,bye}\nterminate {shutdown,7}\nended {shutdown,7}\n");
    assert_int_equal(start("ok"), 0);
    deliver(CALL, "stop_silent");
    expect_log("terminate normal\nended normal\n");
}

static void a_failed_init_leaves_nothing(void **state) {
    (void)state;
    np_worker *first = w.worker;
    assert_int_equal(start("fail"), NP_EOVERLOAD);
    w.worker = first;
    assert_int_equal(np_runtime_count(w.runtime), 1);
}

static void deferred(void **state) {
    (void)state;
    deliver(CALL, "later");
    expect_log("");
    deliver(CAST, "answer");
    expect_log("reply {tag,late}\n");
    deliver(CALL, "later"); /* still owed when it ends: forgotten */
}

static void sends(void **state) {
    (void)state;
    deliver(CAST, "send");
    expect_log("to_x 5\n");
    deliver(CAST, "cast");
    expect_log("to_y {'$gen_cast',5}\n");
    deliver(CAST, "send_nothing");
    expect_log("");
}

static void calls_out(void **state) {
    (void)state;
    deliver(CAST, "call");
    expect_log("call 250 77 question\n");
    uint8_t nil = 106;
    np_runtime_reply(w.worker, 77, 0, (np_in){&nil, 0, 1});
    expect_log("answer 77 0 []\n");
}

static void timers(void **state) {
    (void)state;
    deliver(CAST, "timers");
    np_timers_run(&w.timers, 19, 100);
    expect_log("");
    np_timers_run(&w.timers, 40, 100);
    expect_log("timer 2 []\ntimer 1 []\n");
    deliver(CAST, "timers"); /* running when it ends: stopped */
}

static void suspended(void **state) {
    (void)state;
    deliver(CAST, "timers");
    deliver(SYSTEM, "suspend");
    expect_log("reply {tag,ok}\n");
    deliver(CALL, "pair");
    deliver(INFO, "hello");
    np_timers_run(&w.timers, 25, 100);
    uint8_t nil = 106;
    np_runtime_reply(w.worker, 5, NP_ETIMEOUT, (np_in){&nil, 0, 0});
    expect_log("");
    deliver(SYSTEM, "get_state");
    expect_log("reply {tag,my_state}\n");
    deliver(SYSTEM, "resume");
    char expected[256];
    snprintf(expected, sizeof expected, "reply {tag,ok}\nreply {tag,{1,2}}\ninfo hello\ntimer 2 []\nanswer 5 %d \n",
             NP_ETIMEOUT);
    expect_log(expected);
}

/* Messages are refused then; timers and answers, which come only once, are not. */
static void suspended_and_full(void **state) {
    (void)state;
    deliver(CAST, "timers");
    deliver(SYSTEM, "suspend");
    for (int i = 0; i < NP_MAILBOX_MAX; i++)
        deliver(CAST, "unknown");
    w.log[0] = '\0';
    deliver(CALL, "pair");
    expect_log("reply {tag,{error,overloaded}}\n");
    np_timers_run(&w.timers, 25, 100);
    uint8_t nil = 106;
    np_runtime_reply(w.worker, 5, 0, (np_in){&nil, 0, 1});
    deliver(SYSTEM, "resume");
    char expected[256];
    snprintf(expected, sizeof expected, "reply {tag,ok}\ntimer 2 []\nanswer 5 %d \n", NP_EOVERLOAD);
    expect_log(expected);
}

static void a_message_kept_may_end_it(void **state) {
    (void)state;
    deliver(SYSTEM, "suspend");
    deliver(CALL, "stop");
    deliver(CALL, "pair");
    w.log[0] = '\0';
    deliver(SYSTEM, "resume");
    expect_log("reply {tag,ok}\nreply {tag,bye}\nterminate {shutdown,7}\nended {shutdown,7}\n");
}

/* The exit signal takes effect when the callback has returned; terminate does not run. */
static void killed_while_running(void **state) {
    (void)state;
    w.kill_on_send = true;
    deliver(CAST, "send");
    expect_log("to_x 5\n");
    assert_int_equal(np_runtime_count(w.runtime), 0);
}

static void bad_tables(void **state) {
    (void)state;
    char why[200];
    np_worker_ops bad = ops;
    assert_int_equal(np_runtime_check_ops(&ops, why, sizeof why), 0);
    bad.abi = 99;
    assert_int_equal(np_runtime_check_ops(&bad, why, sizeof why), NP_EINVAL);
    assert_non_null(strstr(why, "ABI 99"));
    bad = ops;
    bad.size = 8;
    assert_int_equal(np_runtime_check_ops(&bad, why, sizeof why), NP_EINVAL);
    bad = ops;
    bad.init = NULL;
    assert_int_equal(np_runtime_check_ops(&bad, why, sizeof why), NP_EINVAL);
    assert_non_null(strstr(why, "init"));
    assert_int_equal(np_runtime_check_ops(NULL, why, sizeof why), NP_EINVAL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(replies),
        TEST(wrong_replies),
        TEST(errors_crash),
        TEST(stops),
        TEST(deferred),
        TEST(a_failed_init_leaves_nothing),
        TEST(sends),
        TEST(calls_out),
        TEST(timers),
        TEST(suspended),
        TEST(suspended_and_full),
        TEST(bad_tables),
        TEST(a_message_kept_may_end_it),
        TEST(killed_while_running),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
