/*
 * How long a session lets bytes wait (np_session_patience): while a DEMONITOR_P is owed, for it and one more MONITOR_P;
 * else not at all.
 */
#include "session_owner.h"

#include "term/ids.h"
#include "term/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static np_control monitor(np_ctl_kind kind) {
    np_control control;
    memset(&control, 0, sizeof control);
    control.kind = kind;
    control.from = our_pid(1);
    control.to = their_pid(1);
    control.ref = (np_ref){.node = control.from.node, .creation = 7, .len = 3, .id = {1, 2, 3}};
    return control;
}

static np_control answer(np_buf *payload) {
    static const uint8_t ok[] = {119, 2, 'o', 'k'};
    np_control control = monitor(NP_CTL_ALIAS_SEND);
    np_buf_clear(payload, 64);
    np_buf_append(payload, ok, sizeof ok);
    control.owed = true;
    control.payload = (np_in){.base = np_buf_head(payload), .pos = 0, .end = np_buf_len(payload)};
    return control;
}

/* Sends from one session to the other; returns the bytes it took. */
static size_t pass(owner *from, owner *to, np_ctl_kind kind) {
    np_control control = monitor(kind);
    assert_int_equal(np_session_send(from->s, &control, NP_SEND_URGENT), 0);
    return owner_carry(from, to, SIZE_MAX);
}

static void an_answered_call_is_worth_waiting(void **state) {
    (void)state;
    owner caller, node;
    np_buf payload = NP_BUF_INIT;
    owner_open(&caller);
    owner_open(&node);
    assert_int_equal(np_session_patience(node.s), 1);

    size_t size = pass(&caller, &node, NP_CTL_MONITOR);
    assert_int_equal(np_session_patience(node.s), 1); /* not before the answer */
    np_control reply = answer(&payload);
    assert_int_equal(np_session_send(node.s, &reply, NP_SEND_NORMAL), 0);
    assert_int_equal(np_session_patience(node.s), 2 * size + 1);

    assert_int_equal(pass(&caller, &node, NP_CTL_DEMONITOR), size); /* what the sum relies on */
    assert_int_equal(np_session_patience(node.s), 1);
    np_buf_fini(&payload);
    owner_close(&caller);
    owner_close(&node);
}

static void patience_ends(void **state) {
    (void)state;
    owner caller, node;
    np_buf payload = NP_BUF_INIT;
    owner_open(&caller);
    owner_open(&node);
    np_control reply = answer(&payload);
    assert_int_equal(np_session_send(node.s, &reply, NP_SEND_NORMAL), 0);
    assert_int_equal(np_session_patience(node.s), 1); /* a peer that monitors nothing owes nothing */
    assert_int_equal(np_session_send(node.s, &reply, NP_SEND_NORMAL), 0);
    assert_int_equal(np_session_send(node.s, &reply, NP_SEND_NORMAL), 0);
    pass(&caller, &node, NP_CTL_MONITOR);
    assert_true(np_session_patience(node.s) > 1);
    np_session_impatient(node.s);
    assert_int_equal(np_session_patience(node.s), 1);
    pass(&caller, &node, NP_CTL_MONITOR); /* something came: it goes on, but two of three are given up */
    assert_true(np_session_patience(node.s) > 1);
    pass(&caller, &node, NP_CTL_DEMONITOR);
    assert_int_equal(np_session_patience(node.s), 1);
    assert_int_equal(np_session_send(node.s, &reply, NP_SEND_NORMAL), 0);
    np_session_impatient(node.s);
    pass(&caller, &node, NP_CTL_MONITOR); /* nothing is waited for any more ... */
    assert_int_equal(np_session_patience(node.s), 1);
    pass(&caller, &node, NP_CTL_DEMONITOR); /* ... and what comes late does no harm */
    assert_int_equal(np_session_patience(node.s), 1);
    reply.owed = false; /* an alias that is no monitor */
    assert_int_equal(np_session_send(node.s, &reply, NP_SEND_NORMAL), 0);
    assert_int_equal(np_session_patience(node.s), 1);
    reply.owed = true;

    /* half a packet is there: the rest of it must not wait, however short it is */
    assert_int_equal(np_session_send(node.s, &reply, NP_SEND_NORMAL), 0);
    assert_true(np_session_patience(node.s) > 1);
    static const uint8_t half[] = {0, 0, 0, 90, 131};
    assert_int_equal(np_session_feed(node.s, half, sizeof half, 0), 0);
    assert_int_equal(np_session_patience(node.s), 1);
    np_buf_fini(&payload);
    owner_close(&caller);
    owner_close(&node);
}

static void more_callers_more_patience(void **state) {
    (void)state;
    owner caller, node;
    np_buf payload = NP_BUF_INIT;
    owner_open(&caller);
    owner_open(&node);
    size_t size = pass(&caller, &node, NP_CTL_MONITOR);
    np_control reply = answer(&payload);
    for (size_t i = 1; i <= 100; i++) {
        assert_int_equal(np_session_send(node.s, &reply, NP_SEND_NORMAL), 0);
        assert_int_equal(np_session_patience(node.s), ((i < 64 ? i : 64) + 1) * size + 1);
    }
    np_buf_fini(&payload);
    owner_close(&caller);
    owner_close(&node);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answered_call_is_worth_waiting),
        cmocka_unit_test(patience_ends),
        cmocka_unit_test(more_callers_more_patience),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
