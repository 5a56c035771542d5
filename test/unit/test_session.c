/*
 * Sessions without sockets: recorded packets (test/golden/control.golden), packets that end a session, ticks in
 * simulated time, and two sessions wired together under seeded random traffic.
 */
#include "base/limits.h"
#include "base/rng.h"
#include "golden.h"
#include "session_owner.h"
#include "term/print.h"
#include "term/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint64_t pass_through = NP_DFLAGS_OURS & ~NP_DFLAG_FRAGMENTS;

/* ---- recorded packets ---- */

static void assert_text(np_bytes term, const char *expected) {
    np_buf text = NP_BUF_INIT;
    np_in in;
    assert_int_equal(np_term_open(&in, term.data, term.len), 0);
    assert_int_equal(np_term_print(&in, &text, SIZE_MAX), 0);
    np_buf_append_u8(&text, 0);
    if (!golden_text_matches(expected, (const char *)np_buf_head(&text)))
        fail_msg("expected %s\n     got %s", expected, (const char *)np_buf_head(&text));
    np_buf_fini(&text);
}

/* Old opcodes have the reason in the tuple; tokens are not given back (what they carry is tested with control.c). */
static uint64_t flags_of_text(const char *tuple, bool *token) {
    int op = atoi(tuple + 1);
    *token = op == 12 || op == 13 || op == 16 || op == 23 || op == 25 || op == 30 || op == 32 || op == 34;
    return op == 3 || op == 8 || op == 21 || op == 13 ? NP_DFLAGS_OURS & ~NP_DFLAG_EXIT_PAYLOAD : NP_DFLAGS_OURS;
}

/* Plays the packets of one direction in pieces of `chunk` bytes and compares what is delivered, message by message. */
static uint32_t play(const golden_record *r, enum golden_kind direction, size_t chunk) {
    owner o;
    size_t texts = 0;
    owner_open(&o);
    for (size_t i = 0; i < r->count; i++) {
        const golden_line *line = &r->lines[i];
        if (line->kind == GOLDEN_TEXT) {
            texts++;
            continue;
        }
        if (line->kind == direction) {
            np_buf framed = NP_BUF_INIT;
            bool token = false;
            uint32_t before = o.count;
            if (texts > 0)
                o.encode = flags_of_text((line - texts)->text, &token);
            np_buf_append_u32(&framed, (uint32_t)line->len);
            np_buf_append(&framed, line->bytes, line->len);
            for (size_t at = 0, n; at < np_buf_len(&framed); at += n) {
                n = np_buf_len(&framed) - at < chunk ? np_buf_len(&framed) - at : chunk;
                assert_int_equal(o.count, before);
                assert_int_equal(owner_feed(&o, np_buf_head(&framed) + at, n), 0);
            }
            np_buf_fini(&framed);
            assert_int_equal(o.count, before + (texts > 0));
            if (texts > 0) {
                np_bytes tuple = owner_take(&o), payload = owner_take(&o);
                if (!token)
                    assert_text(tuple, (line - texts)->text);
                assert_int_equal(payload.len > 0, texts == 2);
                if (texts == 2)
                    assert_text(payload, (line - 1)->text);
            }
        }
        texts = 0;
    }
    assert_int_equal(np_buf_len(&o.got), 0);
    uint32_t count = o.count;
    owner_close(&o);
    return count;
}

static void recorded(void **state) {
    (void)state;
    static const size_t chunks[] = {SIZE_MAX, 1, 7, 1460};
    golden *g = golden_open("control.golden");
    uint32_t in = 0, out = 0;
    for (const golden_record *r; (r = golden_next(g)) != NULL;) {
        for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
            uint32_t n = play(r, GOLDEN_IN, chunks[i]), m = play(r, GOLDEN_OUT, chunks[i]);
            if (i == 0)
                in += n, out += m;
        }
    }
    assert_true(in > 250 && out > 150);
    golden_close(&g);
}

/*
 * Every recorded packet cut short at every length, as a packet of its own: the session ends, and nothing beyond is
 * read.
 */
static void cut_short(void **state) {
    (void)state;
    golden *g = golden_open("control.golden");
    for (const golden_record *r; (r = golden_next(g)) != NULL;) {
        for (size_t i = 0; i < r->count; i++) {
            const golden_line *line = &r->lines[i];
            if (line->kind == GOLDEN_TEXT || line->len < 2 || line->len > 2000 || line->bytes[1] != 68)
                continue;
            for (size_t len = 1; len < line->len; len++) {
                owner o;
                owner_open(&o);
                assert_true(owner_feed_packet(&o, line->bytes, len) < 0);
                assert_int_equal(o.count, 0);
                owner_close(&o);
            }
        }
    }
    golden_close(&g);
}

/* ---- packets that end a session ---- */

typedef struct bad_packet {
    const char *bytes;
    size_t len;
    int error;
    const char *reason;
} bad_packet;
#define BAD(bytes, error, reason)                                                                                      \
    { bytes, sizeof bytes - 1, error, reason }
#define PID "X\x77\3a@h\0\0\0\1\0\0\0\0\0\0\0\1"

static void ends(uint64_t flags, const bad_packet *bad) {
    owner o;
    owner_open_with(&o, flags, &owner_limits);
    assert_string_equal(np_session_reason(o.s), "");
    assert_int_equal(owner_feed_packet(&o, bad->bytes, bad->len), bad->error);
    assert_int_equal(o.count, 0);
    if (strstr(np_session_reason(o.s), bad->reason) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", bad->reason, np_session_reason(o.s));
    /* It stays ended. */
    assert_int_equal(owner_feed(&o, "\0\0\0\0", 4), bad->error);
    assert_int_equal(owner_send(&o, 1, 1, 1), NP_ECLOSED);
    assert_true(np_session_deadline(o.s) == UINT64_MAX);
    assert_int_equal(np_session_tick(o.s, 1000000), bad->error);
    assert_int_equal(np_session_queued(o.s), 0);
    owner_close(&o);
}

static void bad_packets(void **state) {
    (void)state;
    static const bad_packet with_header[] = {
        BAD("\x83", NP_EPROTO,
            "packet of 1 bytes is no distribution message: it does not begin with a distribution "
            "header (83)"),
        BAD("p\x83h\3a\x16" PID PID "\x83j", NP_EPROTO, "does not begin with a distribution header (70 83 68 03"),
        BAD("\x83\x44", NP_EPROTO, "cut short (83 44)"),
        BAD("\x83\x44\1\0", NP_EPROTO, "atom cache"),
        BAD("\x83\x47\0", NP_EPROTO, "distribution header"),
        BAD("\x83\x44\0", NP_EBADTERM, "control tuple is malformed"),
        BAD("\x83\x44\0\x83h\2a\1", NP_EBADTERM, "control tuple is malformed"),
        BAD("\x83\x44\0h\xff", NP_EBADTERM, "control tuple is malformed"),
        BAD("\x83\x44\0h\1a\x63", NP_EPROTO,
            "packet of 7 bytes is no distribution message: control tuple has an unknown "
            "opcode (83 44 00 68 01 61 63)"),
        BAD("\x83\x44\0j", NP_EPROTO, "no tuple"),
        BAD("\x83\x44\0h\3a\x16" PID PID, NP_EPROTO, "lacks its payload"),
        BAD("\x83\x44\0h\3a\1" PID PID "j", NP_EPROTO, "payload that does not belong"),
        BAD("\x83\x44\0h\3a\x16" PID PID "k", NP_EBADTERM, "payload is malformed"),
        BAD("\x83\x44\0h\3a\x16" PID PID "jj", NP_EBADTERM, "too long"),
        BAD("\x83\x44\0h\3a\x16" PID PID "\x83j", NP_EBADTERM, "payload is malformed"),
        BAD("\x83\x45", NP_EPROTO, "fragment header is cut short"),
        BAD("\x83\x45\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2", NP_EPROTO, "fragment header is cut short"),
        BAD("\x83\x45\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0", NP_EBADTERM, "control tuple is malformed"),
        BAD("\x83\x45\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\1", NP_EPROTO, "atom cache"),
        BAD("\x83\x45\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0h\3a\x16" PID PID "j", NP_EPROTO, "fragment id 0"),
        BAD("\x83\x46\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", NP_EPROTO, "fragment header is cut short"),
        BAD("\x83\x46\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1j", NP_EPROTO, "not begun"),
    };
    static const bad_packet without[] = {
        BAD("p", NP_EPROTO, "112, 131"),
        BAD("p\x84h\3a\1" PID PID, NP_EPROTO, "112, 131"),
        BAD("\x83\x44\0h\3a\1" PID PID, NP_EPROTO, "112, 131"),
        BAD("p\x83", NP_EBADTERM, "malformed"),
        BAD("p\x83h\3a\x16" PID PID "j", NP_EPROTO, "131"),
        BAD("p\x83h\3a\x16" PID PID "\x83", NP_EPROTO, "cut short"),
        BAD("p\x83h\3a\x16" PID PID, NP_EPROTO, "lacks its payload"),
        BAD("p\x83h\3a\x16" PID PID "\x83jj", NP_EBADTERM, "too long"),
    };
    for (size_t i = 0; i < sizeof with_header / sizeof *with_header; i++)
        ends(NP_DFLAGS_OURS, &with_header[i]);
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        ends(pass_through, &without[i]);
}

static void deep_terms(void **state) {
    (void)state;
    owner o;
    np_buf packet = NP_BUF_INIT;
    np_buf_append(&packet, "\x83\x44\0h\3a\x16" PID PID, sizeof "\x83\x44\0h\3a\x16" PID PID - 1);
    for (int i = 0; i < 100000; i++)
        np_buf_append(&packet, "h\1", 2);
    np_buf_append_u8(&packet, 'j');
    owner_open(&o);
    assert_int_equal(owner_feed_packet(&o, np_buf_head(&packet), np_buf_len(&packet)), NP_ELIMIT);
    assert_non_null(strstr(np_session_reason(o.s), "payload is nested too deep"));
    owner_close(&o);
    np_buf_fini(&packet);
}

static void too_large(void **state) {
    (void)state;
    np_session_limits limits = {1000, 100000, 60000};
    for (size_t chunk = 1; chunk <= 4; chunk += 3) {
        owner o;
        owner_open_with(&o, NP_DFLAGS_OURS, &limits);
        int rc = 0;
        for (size_t i = 0; i < 4; i += chunk)
            rc = owner_feed(&o, &"\0\0\3\xe9"[i], chunk); /* 1001: refused before the first byte of it */
        assert_int_equal(rc, NP_ELIMIT);
        assert_string_equal(np_session_reason(o.s), "packet of 1001 bytes is larger than the limit of 1000");
        owner_close(&o);
    }
}

static void sink_refuses(void **state) {
    (void)state;
    owner a, b;
    owner_open(&a);
    owner_open(&b);
    owner_send(&a, 1, 1, 1);
    owner_send(&a, 1, 2, 1);
    b.answer = NP_ELIMIT;
    np_bytes span;
    assert_int_equal(np_session_output(a.s, &span, 1), 1);
    assert_int_equal(owner_feed(&b, span.data, span.len), NP_ELIMIT);
    assert_int_equal(b.count, 1); /* the second one did not come any more */
    assert_non_null(strstr(np_session_reason(b.s), "the node gave up on SEND <"));
    assert_non_null(strstr(np_session_reason(b.s), "over a limit"));
    owner_close(&a);
    owner_close(&b);
}

/* ---- ticks ---- */

static void ticks_when_idle(void **state) {
    (void)state;
    owner a;
    np_bytes span;
    np_session_limits limits = {NP_MESSAGE_MAX, NP_OUT_HARD_BYTES, 8000};
    owner_open_with(&a, NP_DFLAGS_OURS, &limits);
    assert_int_equal(np_session_deadline(a.s), 2000);
    assert_int_equal(np_session_tick(a.s, 1999), 0);
    assert_int_equal(np_session_output(a.s, &span, 1), 0);
    assert_int_equal(np_session_tick(a.s, 2000), 0);
    assert_int_equal(np_session_output(a.s, &span, 1), 1);
    assert_int_equal(span.len, 4);
    assert_memory_equal(span.data, "\0\0\0\0", 4);
    assert_int_equal(np_session_deadline(a.s), 4000);
    np_session_sent(a.s, 4, 2100);
    assert_int_equal(np_session_deadline(a.s), 4100);
    assert_int_equal(np_session_get_stats(a.s)->ticks_out, 1);
    /* What was written counts; so does what is queued, unsent as it is. */
    owner_send(&a, 1, 1, 1);
    assert_int_equal(np_session_output(a.s, &span, 1), 1);
    np_session_sent(a.s, span.len, 4000);
    assert_int_equal(np_session_tick(a.s, 4100), 0);
    assert_int_equal(np_session_queued(a.s), 0);
    assert_int_equal(np_session_deadline(a.s), 6000);
    owner_send(&a, 1, 2, 1);
    size_t queued = np_session_queued(a.s);
    assert_int_equal(np_session_tick(a.s, 6000), 0);
    assert_int_equal(np_session_queued(a.s), queued);
    assert_int_equal(np_session_deadline(a.s), 8000);
    assert_int_equal(np_session_get_stats(a.s)->ticks_out, 1);
    owner_close(&a);
}

static void silence(void **state) {
    (void)state;
    owner a;
    np_session_limits limits = {NP_MESSAGE_MAX, NP_OUT_HARD_BYTES, 8000};
    owner_open_with(&a, NP_DFLAGS_OURS, &limits);
    for (uint64_t now = 2000; now < 10000; now += 2000) {
        assert_int_equal(np_session_tick(a.s, now), 0);
        owner_carry(&a, NULL, SIZE_MAX);
    }
    /* A single byte of a packet shows that the peer lives. */
    assert_int_equal(np_session_feed(a.s, (const uint8_t *)"\0", 1, 9000), 0);
    assert_int_equal(np_session_tick(a.s, 10000), 0);
    assert_int_equal(np_session_tick(a.s, 18999), 0);
    assert_int_equal(np_session_deadline(a.s), 19000);
    assert_int_equal(np_session_tick(a.s, 19000), NP_ETIMEOUT);
    assert_string_equal(np_session_reason(a.s), "nothing heard for 10000 ms (net_ticktime is 8000 ms)");
    assert_int_equal(np_session_feed(a.s, (const uint8_t *)"\0", 1, 19001), NP_ETIMEOUT);
    owner_close(&a);
}

static void paused_reading(void **state) {
    (void)state;
    owner a;
    np_session_limits limits = {NP_MESSAGE_MAX, NP_OUT_HARD_BYTES, 8000};
    owner_open_with(&a, NP_DFLAGS_OURS, &limits);
    np_session_reading(a.s, true, 5000);
    assert_int_equal(np_session_tick(a.s, 100000), 0);
    assert_int_equal(np_session_get_stats(a.s)->ticks_out, 1); /* we still have to tick */
    assert_int_equal(np_session_deadline(a.s), 102000);
    np_session_reading(a.s, false, 100000);
    assert_int_equal(np_session_tick(a.s, 109999), 0);
    assert_int_equal(np_session_tick(a.s, 110000), NP_ETIMEOUT);
    owner_close(&a);
}

/* ---- two sessions under random traffic ---- */

enum { SENDERS = 6 };

typedef struct traffic {
    owner end[2];
    uint32_t sent[2][SENDERS], got[2][SENDERS];
    np_rng rng;
} traffic;

static size_t random_size(np_rng *rng) {
    switch (np_rng_below(rng, 12)) {
    case 0: return np_rng_below(rng, 300000);
    case 1: return NP_FRAGMENT_BYTES - 20 + np_rng_below(rng, 40);
    case 2: return np_rng_below(rng, 20000);
    default: return np_rng_below(rng, 200);
    }
}

static void check_delivered(traffic *t, int side) {
    owner *o = &t->end[side];
    while (np_buf_len(&o->got) > 0) {
        uint32_t from, seq;
        size_t len;
        owner_take_send(o, &from, &seq, &len);
        assert_true(from < SENDERS);
        assert_int_equal(seq, t->got[side][from]); /* in order, none twice, none left out */
        t->got[side][from]++;
    }
    np_buf_clear(&o->got, 0);
}

static void random_run(uint64_t seed, uint64_t flags) {
    traffic t;
    memset(&t, 0, sizeof t);
    np_rng_seed(&t.rng, seed);
    owner_open_with(&t.end[0], flags, &owner_limits);
    owner_open_with(&t.end[1], flags, &owner_limits);
    for (int step = 0; step < 400; step++) {
        int side = (int)np_rng_below(&t.rng, 2);
        if (np_rng_below(&t.rng, 3) == 0) {
            for (uint64_t burst = np_rng_below(&t.rng, 8); burst > 0; burst--) {
                uint32_t sender = (uint32_t)np_rng_below(&t.rng, SENDERS);
                assert_int_equal(owner_send(&t.end[side], sender, t.sent[side][sender]++, random_size(&t.rng)), 0);
            }
        } else {
            static const uint64_t bounds[] = {10, 2000, 70000, 1 << 20};
            owner_carry(&t.end[side], &t.end[!side], 1 + np_rng_below(&t.rng, bounds[np_rng_below(&t.rng, 4)]));
            check_delivered(&t, !side);
        }
        if (np_rng_below(&t.rng, 50) == 0)
            assert_int_equal(np_session_tick(t.end[side].s, np_rng_below(&t.rng, 2) * 20000), 0);
    }
    for (int side = 0; side < 2; side++) {
        owner_carry_all(&t.end[side], &t.end[!side]);
        check_delivered(&t, !side);
        for (int sender = 0; sender < SENDERS; sender++)
            assert_int_equal(t.got[!side][sender], t.sent[side][sender]);
    }
    owner_close(&t.end[0]);
    owner_close(&t.end[1]);
}

static void random_traffic(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        random_run(seed, NP_DFLAGS_OURS);
        random_run(seed, pass_through);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded),        cmocka_unit_test(cut_short), cmocka_unit_test(bad_packets),
        cmocka_unit_test(deep_terms),      cmocka_unit_test(too_large), cmocka_unit_test(sink_refuses),
        cmocka_unit_test(ticks_when_idle), cmocka_unit_test(silence),   cmocka_unit_test(paused_reading),
        cmocka_unit_test(random_traffic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
