/*
 * System messages: the requests sys sent (test/golden/control.golden) and the answers real callers took, and each row
 * of sys.erl's debug_cmd/2 and handle_system_msg/6.
 */
#include "base/limits.h"
#include "otp/sys.h"
#include "term/names.h"
#include "terms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* A process and a request to it. */
typedef struct fixture {
    np_sys_state *sys;
    np_sys_host host;
    terms_built request, answer;
    np_in reason;
} fixture;

static void state_term(void *self, np_out *out) {
    assert_ptr_equal(self, &state_term);
    np_out_tuple(out, 2);
    np_out_atom(out, "state");
    np_out_int(out, 1);
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->host = (np_sys_host){.self = (void *)&state_term,
                            .pid = {np_name_id("native@127.0.0.1"), 101, 0, 1234567890},
                            .module = "gen_server",
                            .name = "n",
                            .state = state_term};
    terms_begin(&f->request);
    terms_begin(&f->answer);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    np_sys_destroy(&f->sys);
    assert_null(f->sys);
    terms_end(&f->request);
    terms_end(&f->answer);
    free(f);
    return 0;
}

/* Begins {system, {Pid, tag}, .. : the request follows. */
static np_out *begin(fixture *f) {
    np_pid caller = {np_name_id("a@127.0.0.1"), 1, 0, 5};
    np_out *out = &f->request.out;
    np_out_reset(out);
    np_out_tuple(out, 3);
    np_out_atom(out, "system");
    np_out_tuple(out, 2);
    np_out_pid(out, &caller);
    np_out_atom(out, "tag");
    return out;
}

static np_sys_action ask(fixture *f, int64_t wall_s, const char *expected) {
    np_gen gen;
    np_gen_parse(np_out_view(&f->request.out), &gen);
    assert_int_equal(gen.kind, NP_GEN_SYSTEM);
    np_sys_action action = np_sys_handle(&f->sys, &f->host, &gen, wall_s, &f->answer.out, &f->reason);
    terms_expect(&f->answer, expected);
    return action;
}

static np_sys_action ask_atom(fixture *f, const char *request, const char *expected) {
    np_out_atom(begin(f), request);
    return ask(f, 0, expected);
}

/* {debug, {What, Arg}} */
static np_sys_action ask_debug(fixture *f, const char *what, const char *arg, int64_t wall_s, const char *expected) {
    np_out *out = begin(f);
    np_out_tuple(out, 2);
    np_out_atom(out, "debug");
    np_out_tuple(out, 2);
    np_out_atom(out, what);
    np_out_atom(out, arg);
    return ask(f, wall_s, expected);
}

/* ---- golden ---- */

static void as_real_callers_took_it(void **state) {
    fixture *f = *state;
    golden *g = golden_open("control.golden");
    int answers = 0;
    for (const golden_record *r; (r = golden_next(g)) != NULL;) {
        /* change_code and get_status were answered in another of the allowed ways in the capture */
        if (strncmp(r->title, "sys:", 4) != 0 || strncmp(r->title, "sys:change_code", 15) == 0 ||
            strncmp(r->title, "sys:get_status", 14) == 0)
            continue;
        np_gen gen = {.kind = NP_GEN_INFO};
        for (size_t i = 0; i < r->count; i++) {
            np_in control, payload;
            if (!terms_packet(&r->lines[i], &control, &payload) || np_in_at_end(&payload))
                continue;
            if (r->lines[i].kind == GOLDEN_IN) {
                np_gen_parse(payload, &gen);
                assert_int_equal(gen.kind, NP_GEN_SYSTEM);
                np_sys_destroy(&f->sys);
                np_sys_action action = np_sys_handle(&f->sys, &f->host, &gen, 0, &f->answer.out, &f->reason);
                assert_int_equal(action == NP_SYS_TERMINATE, strncmp(r->title, "sys:terminate", 13) == 0);
                if (action == NP_SYS_TERMINATE)
                    assert_string_equal(terms_text(f->reason), "normal");
            } else if (terms_op(&control) == 33) {
                terms_expect_bytes(&f->answer, payload);
                answers++;
            }
        }
    }
    golden_close(&g);
    assert_int_equal(answers, 13);
}

/* ---- each request ---- */

static void simple_requests(void **state) {
    fixture *f = *state;
    assert_int_equal(ask_atom(f, "get_state", "{tag,{state,1}}"), NP_SYS_NONE);
    assert_int_equal(ask_atom(f, "nonsense", "{tag,{error,{unknown_system_msg,nonsense}}}"), NP_SYS_NONE);
    np_out_tuple(begin(f), 0);
    assert_int_equal(ask(f, 0, "{tag,{error,{unknown_system_msg,{}}}}"), NP_SYS_NONE);
    np_out *out = begin(f);
    np_out_tuple(out, 2);
    np_out_atom(out, "replace_state");
    np_out_atom(out, "f");
    assert_int_equal(ask(f, 0, "{tag,{error,notsup}}"), NP_SYS_NONE);
    assert_true(np_sys_none(f->sys));
}

static void terminates(void **state) {
    fixture *f = *state;
    np_out *out = begin(f);
    np_out_tuple(out, 2);
    np_out_atom(out, "terminate");
    np_out_tuple(out, 2);
    np_out_atom(out, "shutdown");
    np_out_chars(out, "x");
    assert_int_equal(ask(f, 0, "{tag,ok}"), NP_SYS_TERMINATE);
    assert_string_equal(terms_text(f->reason), "{shutdown,[120]}");
}

static void status(void **state) {
    fixture *f = *state;
    f->host.parent = (np_pid){np_name_id("native@127.0.0.1"), 100, 0, 1234567890};
    ask_atom(
        f, "get_status",
        "{tag,{status,#Pid<'native@127.0.0.1',101,0,1234567890>,{module,gen_server},"
        "[[],running,#Pid<'native@127.0.0.1',100,0,1234567890>,[],"
        "[{header,[83,116,97,116,117,115,32,102,111,114,32,103,101,110,101,114,105,99,32,115,101,114,118,101,114,32,"
        "110]},"
        "{data,[{[83,116,97,116,117,115],running},"
        "{[80,97,114,101,110,116],#Pid<'native@127.0.0.1',100,0,1234567890>},"
        "{[76,111,103,103,101,100,32,101,118,101,110,116,115],[]}]},"
        "{data,[{[83,116,97,116,101],{state,1}}]}]]}}");
    f->host.name = NULL;
    f->host.parent = (np_pid){0};
    ask_atom(f, "suspend", "{tag,ok}");
    ask_atom(
        f, "get_status",
        "{tag,{status,#Pid<'native@127.0.0.1',101,0,1234567890>,{module,gen_server},"
        "[[],suspended,#Pid<'native@127.0.0.1',101,0,1234567890>,[],"
        "[{header,[83,116,97,116,117,115,32,102,111,114,32,103,101,110,101,114,105,99,32,115,101,114,118,101,114,32,"
        "60,48,46,49,48,49,46,48,62]},"
        "{data,[{[83,116,97,116,117,115],suspended},"
        "{[80,97,114,101,110,116],#Pid<'native@127.0.0.1',101,0,1234567890>},"
        "{[76,111,103,103,101,100,32,101,118,101,110,116,115],[]}]},"
        "{data,[{[83,116,97,116,101],{state,1}}]}]]}}");
}

static void change_code(void **state) {
    fixture *f = *state;
    for (int suspended = 0; suspended < 2; suspended++) {
        np_out *out = begin(f);
        np_out_tuple(out, 4);
        np_out_atom(out, "change_code");
        np_out_atom(out, "m");
        np_out_atom(out, "v");
        np_out_nil(out);
        assert_int_equal(ask(f, 0, suspended ? "{tag,ok}" : "{tag,{error,{unknown_system_msg,{change_code,m,v,[]}}}}"),
                         NP_SYS_NONE);
        ask_atom(f, "suspend", "{tag,ok}");
    }
}

static void debug_requests(void **state) {
    static const struct {
        const char *what, *arg, *answer;
    } rows[] = {
        {"trace", "true", "{tag,ok}"},
        {"trace", "false", "{tag,ok}"},
        {"trace", "x", "{tag,unknown_debug}"},
        {"log", "true", "{tag,ok}"},
        {"log", "false", "{tag,ok}"},
        {"log", "print", "{tag,ok}"},
        {"log", "get", "{tag,{ok,[]}}"},
        {"log", "x", "{tag,unknown_debug}"},
        {"log_to_file", "false", "{tag,ok}"},
        {"log_to_file", "f", "{tag,{error,open_file}}"},
        {"statistics", "get", "{tag,{ok,no_statistics}}"},
        {"statistics", "false", "{tag,ok}"},
        {"statistics", "x", "{tag,unknown_debug}"},
        {"install", "x", "{tag,ok}"},
        {"remove", "x", "{tag,ok}"},
        {"other", "x", "{tag,unknown_debug}"},
    };
    fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(ask_debug(f, rows[i].what, rows[i].arg, 0, rows[i].answer), NP_SYS_NONE);
    assert_true(np_sys_none(f->sys));

    static const char *const atoms[][2] = {{"no_debug", "{tag,ok}"}, {"x", "{tag,unknown_debug}"}};
    for (size_t i = 0; i < 2; i++) {
        np_out *out = begin(f);
        np_out_tuple(out, 2);
        np_out_atom(out, "debug");
        np_out_atom(out, atoms[i][0]);
        ask(f, 0, atoms[i][1]);
    }
    for (int n = 0; n < 2; n++) { /* {log,{true,N}} */
        np_out *out = begin(f);
        np_out_tuple(out, 2);
        np_out_atom(out, "debug");
        np_out_tuple(out, 2);
        np_out_atom(out, "log");
        np_out_tuple(out, 2);
        np_out_atom(out, "true");
        np_out_int(out, n);
        ask(f, 0, n ? "{tag,ok}" : "{tag,unknown_debug}");
    }
}

static void statistics(void **state) {
    fixture *f = *state;
    setenv("TZ", "UTC", 1);
    tzset();
    np_sys_count_in(f->sys); /* of none: nothing */
    ask_debug(f, "statistics", "true", 1700000000, "{tag,ok}");
    assert_false(np_sys_none(f->sys));
    for (int i = 0; i < 3; i++)
        np_sys_count_in(f->sys);
    np_sys_count_out(f->sys);
    ask_debug(f, "statistics", "true", 1700000050, "{tag,ok}"); /* on already: goes on counting */
    ask_debug(f, "statistics", "get", 1700000100,
              "{tag,{ok,[{start_time,{{2023,11,14},{22,13,20}}},{current_time,{{2023,11,14},{22,15,0}}},"
              "{reductions,3},{messages_in,3},{messages_out,1}]}}");
    ask_debug(f, "statistics", "false", 0, "{tag,ok}");
    assert_true(np_sys_none(f->sys));
    ask_debug(f, "statistics", "true", 1700000000, "{tag,ok}");
    np_out *out = begin(f);
    np_out_tuple(out, 2);
    np_out_atom(out, "debug");
    np_out_atom(out, "no_debug");
    ask(f, 0, "{tag,ok}");
    assert_true(np_sys_none(f->sys));
}

/* ---- suspended ---- */

static void suspends_and_resumes(void **state) {
    fixture *f = *state;
    terms_built message;
    np_buf taken = NP_BUF_INIT;
    terms_begin(&message);
    assert_false(np_sys_suspended(f->sys));
    assert_int_equal(ask_atom(f, "resume", "{tag,ok}"), NP_SYS_NONE);
    assert_int_equal(ask_atom(f, "suspend", "{tag,ok}"), NP_SYS_NONE);
    assert_int_equal(ask_atom(f, "suspend", "{tag,ok}"), NP_SYS_NONE);
    assert_true(np_sys_suspended(f->sys));
    for (int i = 0; i < 3; i++) {
        np_out_reset(&message.out);
        np_out_int(&message.out, i);
        assert_int_equal(np_sys_keep(f->sys, np_out_view(&message.out)), 0);
    }
    assert_false(np_sys_take(&f->sys, &taken)); /* still suspended */
    assert_int_equal(ask_atom(f, "resume", "{tag,ok}"), NP_SYS_RESUMED);
    assert_false(np_sys_suspended(f->sys));
    assert_true(np_sys_take(&f->sys, &taken));
    assert_int_equal(np_buf_head(&taken)[1], 0);
    /* suspended again while the kept ones come out: the rest stays, in order, before what comes now */
    ask_atom(f, "suspend", "{tag,ok}");
    assert_false(np_sys_take(&f->sys, &taken));
    np_out_reset(&message.out);
    np_out_int(&message.out, 3);
    assert_int_equal(np_sys_keep(f->sys, np_out_view(&message.out)), 0);
    assert_int_equal(ask_atom(f, "resume", "{tag,ok}"), NP_SYS_RESUMED);
    for (int i = 1; i < 4; i++) {
        assert_true(np_sys_take(&f->sys, &taken));
        assert_int_equal(np_buf_len(&taken), 2);
        assert_int_equal(np_buf_head(&taken)[1], i);
    }
    assert_false(np_sys_take(&f->sys, &taken));
    assert_true(np_sys_none(f->sys));
    assert_false(np_sys_take(&f->sys, &taken));
    np_buf_fini(&taken);
    terms_end(&message);
}

static void keeps_no_more_than_a_mailbox(void **state) {
    fixture *f = *state;
    uint8_t *big = calloc(1, NP_MAILBOX_BYTES_MAX / 4);
    assert_non_null(big);
    np_in small = {big, 0, 2}, large = {big, 0, NP_MAILBOX_BYTES_MAX / 4};
    ask_atom(f, "suspend", "{tag,ok}");
    for (int i = 0; i < 4; i++)
        assert_int_equal(np_sys_keep(f->sys, large), i < 3 ? 0 : NP_EOVERLOAD);
    np_sys_destroy(&f->sys);
    ask_atom(f, "suspend", "{tag,ok}");
    for (int i = 0; i < NP_MAILBOX_MAX; i++)
        assert_int_equal(np_sys_keep(f->sys, small), 0);
    assert_int_equal(np_sys_keep(f->sys, small), NP_EOVERLOAD);
    free(big);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(as_real_callers_took_it),
        TEST(simple_requests),
        TEST(terminates),
        TEST(status),
        TEST(change_code),
        TEST(debug_requests),
        TEST(statistics),
        TEST(suspends_and_resumes),
        TEST(keeps_no_more_than_a_mailbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
