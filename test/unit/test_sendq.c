/* What a session sends: framing, sizes around the slice, order and turns, output that stays in place, bounds. */
#include "base/limits.h"
#include "session_owner.h"
#include "term/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- sending ---- */

static void framing(void **state) {
    (void)state;
    static const uint8_t with_header[] = "\0\0\0\x31\x83\x44\0h\3a\x16", without[] = "\0\0\0\x32p\x83h\3a\x16";
    static const uint64_t modes[] = {NP_DFLAGS_OURS, NP_DFLAGS_OURS & ~NP_DFLAG_FRAGMENTS};
    for (int mode = 0; mode < 2; mode++) {
        owner a, b;
        np_bytes span;
        owner_open_with(&a, modes[mode], &owner_limits);
        owner_open_with(&b, modes[mode], &owner_limits);
        assert_int_equal(np_session_output(a.s, &span, 1), 0);
        assert_int_equal(owner_send(&a, 5, 3, 0), 0);
        assert_int_equal(np_session_output(a.s, &span, 1), 1);
        size_t head = mode == 0 ? sizeof with_header - 1 : sizeof without - 1;
        assert_int_equal(span.len - 4, np_get_u32(span.data));
        assert_memory_equal(span.data + 4, (mode == 0 ? with_header : without) + 4, head - 4);
        assert_int_equal(np_session_queued(a.s), span.len);
        owner_carry_all(&a, &b);
        owner_expect_send(&b, 5, 3, 0);
        /* Large ones: in fragments or, without the flag, in one packet. */
        assert_int_equal(owner_send(&a, 5, 4, 1000000), 0);
        assert_true(np_session_queued(a.s) > 1000000);
        owner_carry_all(&a, &b);
        owner_expect_send(&b, 5, 4, 1000000);
        assert_int_equal(np_session_get_stats(b.s)->fragments_in, mode == 0 ? 16 : 0);
        assert_int_equal(np_session_get_stats(a.s)->fragments_out, mode == 0 ? 16 : 0);
        assert_int_equal(np_session_get_stats(a.s)->packets_out, np_session_get_stats(b.s)->packets_in);
        assert_int_equal(np_session_get_stats(a.s)->bytes_out, np_session_get_stats(b.s)->bytes_in);
        owner_close(&a);
        owner_close(&b);
    }
}

/* A large payload's memory is taken; a small one is copied and its owner left alone. */
static void owned(void **state) {
    (void)state;
    owner a, b;
    owner_open(&a);
    owner_open(&b);
    static const size_t lens[] = {100, 3 * NP_FRAGMENT_BYTES};
    for (size_t i = 0; i < 2; i++) {
        np_buf payload = NP_BUF_INIT;
        np_control control = make_send(&payload, 5, (uint32_t)i, lens[i]);
        assert_int_equal(np_session_send_owned(a.s, &control, NP_SEND_NORMAL, &payload), 0);
        assert_int_equal(np_buf_len(&payload) == 0, lens[i] > NP_FRAGMENT_BYTES);
        np_buf_fini(&payload);
        owner_carry_all(&a, &b);
        owner_expect_send(&b, 5, (uint32_t)i, lens[i]);
    }
    /* refused: still the caller's */
    np_buf payload = NP_BUF_INIT;
    np_control control = make_send(&payload, 5, 9, NP_OUT_HARD_BYTES);
    assert_int_equal(np_session_send_owned(a.s, &control, NP_SEND_NORMAL, &payload), NP_ELIMIT);
    assert_true(np_buf_len(&payload) > NP_OUT_HARD_BYTES);
    np_buf_fini(&payload);
    control = make_send(&payload, 5, 10, 3 * NP_FRAGMENT_BYTES); /* taken and never sent: owner_close frees it */
    assert_int_equal(np_session_send_owned(a.s, &control, NP_SEND_NORMAL, &payload), 0);
    assert_int_equal(np_buf_len(&payload), 0);
    owner_close(&a); /* frees what it took, also unsent */
    owner_close(&b);
}

static void sizes(void **state) {
    (void)state;
    owner a, b;
    owner_open(&a);
    owner_open(&b);
    /* Around the slice and its multiples; the payload is the binary and 9 bytes. */
    for (size_t k = 1; k <= 3; k++) {
        for (int d = -12; d <= 3; d++) {
            size_t len = (size_t)((int)(k * NP_FRAGMENT_BYTES) + d);
            uint64_t before = np_session_get_stats(a.s)->fragments_out;
            assert_int_equal(owner_send(&a, 1, 1, len), 0);
            owner_carry_all(&a, &b);
            owner_expect_send(&b, 1, 1, len);
            size_t payload = len + 9, slices = (payload + NP_FRAGMENT_BYTES - 1) / NP_FRAGMENT_BYTES;
            assert_int_equal(np_session_get_stats(a.s)->fragments_out - before, slices == 1 ? 0 : slices);
        }
    }
    assert_int_equal(b.count, 48);
    owner_close(&a);
    owner_close(&b);
}

/* Small messages pass a large one of another sender and wait behind one of their own; two large ones take turns. */
static void order(void **state) {
    (void)state;
    owner a, b;
    owner_open(&a);
    owner_open(&b);
    owner_send(&a, 1, 1, 10 << 20);
    owner_carry(&a, &b, SIZE_MAX); /* its first fragments are on their way */
    owner_send(&a, 1, 2, 10);
    owner_send(&a, 2, 1, 10);
    owner_send(&a, 3, 1, 10 << 20);
    owner_send(&a, 1, 3, 100000);
    owner_send(&a, 2, 2, 10);
    owner_send(&a, 3, 2, 10);
    size_t waited = 0;
    while (b.count < 2)
        waited += owner_carry(&a, &b, SIZE_MAX);
    assert_true(waited <= 2 * (NP_OUT_PUMP_BYTES + NP_FRAGMENT_BYTES + 1000));
    owner_expect_send(&b, 2, 1, 10);
    owner_expect_send(&b, 2, 2, 10);
    owner_carry_all(&a, &b);
    owner_expect_send(&b, 1, 1, 10 << 20);
    owner_expect_send(&b, 1, 2, 10);
    owner_expect_send(&b, 1, 3, 100000); /* long before the other large one is through */
    owner_expect_send(&b, 3, 1, 10 << 20);
    owner_expect_send(&b, 3, 2, 10);
    assert_int_equal(b.count, 7);
    owner_close(&a);
    owner_close(&b);
}

static void takes_turns(void **state) {
    (void)state;
    owner a;
    np_bytes span;
    uint64_t seen[8] = {0}, last = 0;
    int changes = 0;
    owner_open(&a);
    for (uint32_t sender = 1; sender <= 3; sender++)
        owner_send(&a, sender, 1, 1 << 20);
    np_buf all = NP_BUF_INIT;
    while (np_session_output(a.s, &span, 1) > 0) {
        np_buf_append(&all, span.data, span.len);
        np_session_sent(a.s, span.len, 0);
    }
    for (const uint8_t *p = np_buf_head(&all), *e = p + np_buf_len(&all); p < e; p += 4 + np_get_u32(p)) {
        uint64_t sequence = np_get_u64(p + 6), id = np_get_u64(p + 14);
        assert_true(sequence >= 1 && sequence <= 3);
        assert_int_equal(p[5], seen[sequence] == 0 ? 69 : 70);
        assert_true(seen[sequence] == 0 || id == seen[sequence] - 1);
        assert_true(seen[sequence] != 0 || id == 17);
        seen[sequence] = id;
        changes += sequence != last;
        last = sequence;
    }
    assert_true(seen[1] == 1 && seen[2] == 1 && seen[3] == 1);
    assert_true(changes >= 3 * 17 - 2);
    np_buf_fini(&all);
    owner_close(&a);
}

/* All kinds of signals of one process stay in order, whatever they are about; by-name DOWNs too. */
static void all_kinds_wait(void **state) {
    (void)state;
    owner a, b;
    owner_open(&a);
    owner_open(&b);
    np_buf buf = NP_BUF_INIT;
    np_control c = make_send(&buf, 1, 1, 300000), down, exit_signal, link;
    assert_int_equal(np_session_send(a.s, &c, NP_SEND_NORMAL), 0);
    np_buf reason = NP_BUF_INIT;
    down = exit_signal = link = make_send(&reason, 1, 2, 1);
    down.kind = NP_CTL_DOWN;
    down.ref = (np_ref){np_name_id("them@h"), 9, 1, {1}};
    down.name = (np_str){"srv", 3};
    exit_signal.kind = NP_CTL_EXIT;
    link.kind = NP_CTL_LINK;
    link.payload = (np_in){np_buf_head(&reason), 0, 0};
    assert_int_equal(np_session_send(a.s, &link, NP_SEND_NORMAL), 0);
    assert_int_equal(np_session_send(a.s, &exit_signal, NP_SEND_URGENT), 0);
    assert_int_equal(np_session_send(a.s, &down, NP_SEND_URGENT), 0);
    owner_carry_all(&a, &b);
    static const uint8_t ops[] = {22, 1, 24, 28};
    for (size_t i = 0; i < sizeof ops; i++) {
        assert_int_equal(owner_take(&b).data[3], ops[i]);
        owner_take(&b);
    }
    assert_int_equal(b.count, 4);
    np_buf_fini(&buf);
    np_buf_fini(&reason);
    owner_close(&a);
    owner_close(&b);
}

/* What was handed out stays where it is and as it is while more is sent, and may be written in pieces. */
static void output_stays(void **state) {
    (void)state;
    owner a, b;
    np_bytes span, again;
    owner_open(&a);
    owner_open(&b);
    uint32_t seq = 0;
    for (; seq < 10; seq++)
        owner_send(&a, 1, seq, 100);
    assert_int_equal(np_session_output(a.s, &span, 1), 1);
    uint8_t *copy = malloc(span.len);
    memcpy(copy, span.data, span.len);
    for (; seq < 5000; seq++)
        owner_send(&a, 1, seq, 100);
    owner_send(&a, 2, 0, 1 << 20);
    assert_int_equal(np_session_output(a.s, &again, 1), 1);
    assert_ptr_equal(again.data, span.data);
    assert_int_equal(again.len, span.len);
    assert_memory_equal(span.data, copy, span.len);
    size_t queued = np_session_queued(a.s);
    np_session_sent(a.s, 7, 0);
    assert_int_equal(np_session_queued(a.s), queued - 7);
    assert_int_equal(np_session_output(a.s, &again, 1), 1);
    assert_int_equal(again.len, span.len - 7);
    assert_memory_equal(again.data, copy + 7, again.len);
    assert_int_equal(owner_feed(&b, copy, 7), 0);
    free(copy);
    owner_carry_all(&a, &b);
    assert_int_equal(b.count, 5001);
    for (seq = 0; seq < 5000; seq++)
        owner_expect_send(&b, 1, seq, 100);
    assert_int_equal(np_session_output(a.s, &again, 0), 0);
    owner_close(&a);
    owner_close(&b);
}

/* ---- bounds ---- */

static void overload(void **state) {
    (void)state;
    np_session_limits limits = {NP_MESSAGE_MAX, 1 << 20, 60000};
    owner a, b;
    uint32_t sent = 0, urgent = 0;
    int rc;
    owner_open_with(&a, NP_DFLAGS_OURS, &limits);
    owner_open(&b);
    assert_int_equal(owner_send(&a, 9, 0, (1 << 20) + 1), NP_ELIMIT); /* never, not just now */
    assert_int_equal(np_session_queued(a.s), 0);
    while ((rc = owner_send(&a, 1, sent, 1000)) == 0)
        sent++;
    assert_int_equal(rc, NP_EOVERLOAD);
    assert_in_range(np_session_queued(a.s), (1 << 20) - 1100, 1 << 20);
    assert_int_equal(owner_send(&a, 2, 0, 70000), NP_EOVERLOAD);
    size_t queued = np_session_queued(a.s);
    assert_int_equal(owner_send(&a, 1, sent, 1000), NP_EOVERLOAD);
    assert_int_equal(np_session_queued(a.s), queued);
    while ((rc = owner_send_class(&a, 1, sent + urgent, 100000, NP_SEND_URGENT)) == 0)
        urgent++;
    assert_int_equal(rc, NP_EOVERLOAD);
    assert_in_range(np_session_queued(a.s), (1 << 20) + NP_OUT_RESERVE_BYTES - 101000,
                    (1 << 20) + NP_OUT_RESERVE_BYTES);
    owner_carry_all(&a, &b);
    assert_int_equal(b.count, sent + urgent); /* all that was taken, and nothing that was refused */
    for (uint32_t seq = 0; seq < sent; seq++)
        owner_expect_send(&b, 1, seq, 1000);
    for (uint32_t i = 0; i < urgent; i++)
        owner_expect_send(&b, 1, sent + i, 100000);
    assert_int_equal(owner_send(&a, 1, 7, 1000), 0);
    owner_carry_all(&a, &b);
    owner_expect_send(&b, 1, 7, 1000);
    owner_close(&a);
    owner_close(&b);
}

static void refused_sends(void **state) {
    (void)state;
    owner a;
    np_control c;
    owner_open_with(&a, NP_DFLAGS_OURS & ~NP_DFLAG_SPAWN, &owner_limits);
    memset(&c, 0, sizeof c);
    c.kind = NP_CTL_SPAWN_REPLY;
    c.from = our_pid(1);
    c.to = their_pid(1);
    c.ref = (np_ref){np_name_id("them@h"), 9, 1, {1}};
    assert_int_equal(np_session_send(a.s, &c, NP_SEND_URGENT), NP_ENOTSUP);
    c.kind = NP_CTL_LINK;
    c.to = (np_pid){0};
    assert_int_equal(np_session_send(a.s, &c, NP_SEND_URGENT), NP_EINVAL);
    assert_int_equal(np_session_queued(a.s), 0);
    assert_int_equal(np_session_get_stats(a.s)->packets_out, 0);
    owner_close(&a);
}

/* An exit without EXIT_PAYLOAD holds its reason in the tuple, which cannot be cut: one packet, however large. */
static void old_exit_is_whole(void **state) {
    (void)state;
    owner a, b;
    owner_open_with(&a, NP_DFLAGS_OURS & ~NP_DFLAG_EXIT_PAYLOAD, &owner_limits);
    owner_open(&b);
    np_buf buf = NP_BUF_INIT;
    np_control c = make_send(&buf, 1, 1, 200000);
    c.kind = NP_CTL_EXIT;
    assert_int_equal(np_session_send(a.s, &c, NP_SEND_URGENT), 0);
    assert_int_equal(owner_send(&a, 1, 2, 200000), 0);
    assert_int_equal(np_session_send(a.s, &c, NP_SEND_URGENT), 0); /* and one that waits behind fragments */
    owner_carry_all(&a, &b);
    assert_int_equal(b.count, 3);
    assert_int_equal(np_session_get_stats(a.s)->packets_out, 2 + np_session_get_stats(a.s)->fragments_out);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(owner_take(&b).data[3], i == 1 ? 22 : 24);
        np_bytes payload = owner_take(&b);
        assert_int_equal(payload.len, np_buf_len(&buf));
    }
    np_buf_fini(&buf);
    owner_close(&a);
    owner_close(&b);
}

/* The bound counts whole packets, to the byte. */
static void bound_to_the_byte(void **state) {
    (void)state;
    owner a;
    owner_open(&a);
    assert_int_equal(owner_send(&a, 1, 1, 100), 0);
    size_t size = np_session_queued(a.s);
    owner_close(&a);
    for (size_t room = size - 1; room <= size; room++) {
        np_session_limits limits = {NP_MESSAGE_MAX, 3 * size + room, 60000};
        owner_open_with(&a, NP_DFLAGS_OURS, &limits);
        for (int i = 0; i < 3; i++)
            assert_int_equal(owner_send(&a, 1, 1, 100), 0);
        assert_int_equal(owner_send(&a, 1, 1, 100), room == size ? 0 : NP_EOVERLOAD);
        assert_int_equal(np_session_queued(a.s), room == size ? 4 * size : 3 * size);
        owner_close(&a);
    }
}

/* What waits, is half cut or half written when the connection goes is freed with it (the leak checker looks). */
static void closed_midway(void **state) {
    (void)state;
    owner a, b;
    owner_open(&a);
    owner_open(&b);
    for (uint32_t sender = 1; sender <= 3; sender++) {
        owner_send(&a, sender, 1, 1 << 20);
        owner_send(&a, sender, 2, 10);
        owner_send(&a, sender, 3, 1 << 20);
    }
    owner_carry(&a, &b, 300000);
    owner_carry(&a, &b, 100000);
    assert_int_equal(b.count, 0);
    assert_true(np_session_queued(a.s) > 5 << 20);
    owner_close(&a);
    owner_close(&b); /* with unfinished messages too */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(framing),
        cmocka_unit_test(owned),
        cmocka_unit_test(sizes),
        cmocka_unit_test(order),
        cmocka_unit_test(takes_turns),
        cmocka_unit_test(all_kinds_wait),
        cmocka_unit_test(output_stays),
        cmocka_unit_test(overload),
        cmocka_unit_test(refused_sends),
        cmocka_unit_test(old_exit_is_whole),
        cmocka_unit_test(bound_to_the_byte),
        cmocka_unit_test(closed_midway),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
