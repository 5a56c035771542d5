/*
 * Sessions without sockets: recorded packets (test/golden/control.golden), fragments, framing both ways, order,
 * bounds, ticks in simulated time, packets that end a session, and two sessions wired together under seeded random
 * traffic.
 */
#include "base/limits.h"
#include "base/rng.h"
#include "dist/flags.h"
#include "dist/session.h"
#include "golden.h"
#include "term/ids.h"
#include "term/names.h"
#include "term/out.h"
#include "term/print.h"
#include "term/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const np_session_limits usual = {NP_MESSAGE_MAX, NP_OUT_HARD_BYTES, 60000};
static const uint64_t pass_through = NP_DFLAGS_OURS & ~NP_DFLAG_FRAGMENTS;

/* ---- an owner of a session: keeps what was delivered as [length:32, control tuple or payload] ---- */

typedef struct owner {
    np_session *s;
    np_buf got; /* per message: u32 length of the tuple, tuple, u32 length of the payload, payload */
    uint32_t count;
    uint64_t encode; /* flags the delivered control is encoded with */
    int answer;      /* what the sink returns */
} owner;

static int collect(void *arg, const np_control *control) {
    owner *o = arg;
    np_buf tuple = NP_BUF_INIT;
    bool has_payload = false;
    o->count++;
    assert_int_equal(np_control_encode(control, o->encode, &tuple, &has_payload), 0);
    np_bytes payload = {NULL, 0};
    if (has_payload)
        payload = np_in_bytes(&control->payload);
    np_buf_append_u32(&o->got, (uint32_t)np_buf_len(&tuple));
    np_buf_append(&o->got, np_buf_head(&tuple), np_buf_len(&tuple));
    np_buf_append_u32(&o->got, (uint32_t)payload.len);
    np_buf_append(&o->got, payload.data, payload.len);
    np_buf_fini(&tuple);
    return o->answer;
}

static void open_with(owner *o, uint64_t flags, const np_session_limits *limits) {
    *o = (owner){.encode = NP_DFLAGS_OURS};
    np_session_sink sink = {o, collect};
    o->s = np_session_new(&sink, flags, limits, 0);
    assert_non_null(o->s);
}

static void open_session(owner *o) { open_with(o, NP_DFLAGS_OURS, &usual); }

static void close_session(owner *o) {
    np_session_destroy(&o->s);
    assert_null(o->s);
    np_buf_fini(&o->got);
}

/* The next piece of what was delivered: a tuple or a payload. */
static np_bytes take(owner *o) {
    assert_true(np_buf_len(&o->got) >= 4);
    uint32_t len = np_get_u32(np_buf_head(&o->got));
    np_bytes piece = {np_buf_head(&o->got) + 4, len};
    assert_true(np_buf_len(&o->got) >= 4 + len);
    o->got.off += 4 + len;
    return piece;
}

/* Feeds from an allocation of its own, so that the sanitizer sees a read beyond. */
static int feed(owner *o, const void *data, size_t len) {
    uint8_t *copy = malloc(len + 1);
    memcpy(copy + 1, data, len);
    int rc = np_session_feed(o->s, copy + 1, len, 0);
    free(copy);
    return rc;
}

static int feed_packet(owner *o, const void *packet, size_t len) {
    np_buf framed = NP_BUF_INIT;
    np_buf_append_u32(&framed, (uint32_t)len);
    np_buf_append(&framed, packet, len);
    int rc = feed(o, np_buf_head(&framed), np_buf_len(&framed));
    np_buf_fini(&framed);
    return rc;
}

/* ---- messages ---- */

static np_pid us(uint32_t num) { return (np_pid){np_name_id("us@h"), num, 0, 7}; }
static np_pid them(uint32_t num) { return (np_pid){np_name_id("them@h"), num, 1, 9}; }

/* A send from us(from) to them(1) with a payload {Seq, Binary of len bytes} in *buf. */
static np_control make_send(np_buf *buf, uint32_t from, uint32_t seq, size_t len) {
    np_out out;
    np_control c;
    memset(&c, 0, sizeof c);
    c.kind = NP_CTL_SEND;
    c.from = us(from);
    c.to = them(1);
    np_buf_clear(buf, SIZE_MAX);
    np_out_init(&out, buf, SIZE_MAX);
    np_out_tuple(&out, 2);
    np_out_int(&out, seq);
    memset(np_out_binary_reserve(&out, len), (int)(seq & 0xFF), len);
    c.payload = np_out_view(&out);
    return c;
}

static int send_class(owner *o, uint32_t from, uint32_t seq, size_t len, np_send_class class) {
    np_buf buf = NP_BUF_INIT;
    np_control c = make_send(&buf, from, seq, len);
    int rc = np_session_send(o->s, &c, class);
    np_buf_fini(&buf);
    return rc;
}

static int send(owner *o, uint32_t from, uint32_t seq, size_t len) {
    return send_class(o, from, seq, len, NP_SEND_NORMAL);
}

/* Takes a delivered message apart again; checks its filling. */
static void take_send(owner *o, uint32_t *from, uint32_t *seq, size_t *len) {
    np_bytes tuple = take(o), payload = take(o), binary;
    np_in in;
    np_control c;
    np_buf names = NP_BUF_INIT;
    int64_t n;
    assert_int_equal(np_term_open(&in, payload.data, payload.len), 0);
    np_in t = {tuple.data, 0, tuple.len};
    assert_int_equal(np_control_decode(&c, t, in, &names, NULL), 0);
    assert_int_equal(c.kind, NP_CTL_SEND);
    *from = c.from.num;
    assert_int_equal(np_in_tuple_of(&in, 2), 0);
    assert_int_equal(np_in_int64(&in, &n), 0);
    *seq = (uint32_t)n;
    assert_int_equal(np_in_binary(&in, &binary), 0);
    *len = binary.len;
    for (size_t i = 0; i < binary.len; i += 1 + binary.len / 64)
        assert_int_equal(binary.data[i], *seq & 0xFF);
    np_buf_fini(&names);
}

static void expect_send(owner *o, uint32_t from, uint32_t seq, size_t len) {
    uint32_t got_from, got_seq;
    size_t got_len;
    take_send(o, &got_from, &got_seq, &got_len);
    assert_int_equal(got_from, from);
    assert_int_equal(got_seq, seq);
    assert_int_equal(got_len, len);
}

/* Writes at most `most` bytes of what one session has to say to another; returns how many. */
static size_t carry(owner *from, owner *to, size_t most) {
    np_bytes span;
    if (np_session_output(from->s, &span, 1) == 0)
        return 0;
    size_t n = span.len < most ? span.len : most;
    if (to != NULL)
        assert_int_equal(feed(to, span.data, n), 0);
    np_session_sent(from->s, n, 0);
    return n;
}

static void carry_all(owner *from, owner *to) {
    while (carry(from, to, SIZE_MAX) > 0)
        ;
    assert_int_equal(np_session_queued(from->s), 0);
}

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
    open_session(&o);
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
                assert_int_equal(feed(&o, np_buf_head(&framed) + at, n), 0);
            }
            np_buf_fini(&framed);
            assert_int_equal(o.count, before + (texts > 0));
            if (texts > 0) {
                np_bytes tuple = take(&o), payload = take(&o);
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
    close_session(&o);
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
                open_session(&o);
                assert_true(feed_packet(&o, line->bytes, len) < 0);
                assert_int_equal(o.count, 0);
                close_session(&o);
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
    open_with(&o, flags, &usual);
    assert_string_equal(np_session_reason(o.s), "");
    assert_int_equal(feed_packet(&o, bad->bytes, bad->len), bad->error);
    assert_int_equal(o.count, 0);
    if (strstr(np_session_reason(o.s), bad->reason) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", bad->reason, np_session_reason(o.s));
    /* It stays ended. */
    assert_int_equal(feed(&o, "\0\0\0\0", 4), bad->error);
    assert_int_equal(send(&o, 1, 1, 1), NP_ECLOSED);
    assert_true(np_session_deadline(o.s) == UINT64_MAX);
    assert_int_equal(np_session_tick(o.s, 1000000), bad->error);
    assert_int_equal(np_session_queued(o.s), 0);
    close_session(&o);
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
    open_session(&o);
    assert_int_equal(feed_packet(&o, np_buf_head(&packet), np_buf_len(&packet)), NP_ELIMIT);
    assert_non_null(strstr(np_session_reason(o.s), "payload is nested too deep"));
    close_session(&o);
    np_buf_fini(&packet);
}

static void too_large(void **state) {
    (void)state;
    np_session_limits limits = {1000, 100000, 60000};
    for (size_t chunk = 1; chunk <= 4; chunk += 3) {
        owner o;
        open_with(&o, NP_DFLAGS_OURS, &limits);
        int rc = 0;
        for (size_t i = 0; i < 4; i += chunk)
            rc = feed(&o, &"\0\0\3\xe9"[i], chunk); /* 1001: refused before the first byte of it */
        assert_int_equal(rc, NP_ELIMIT);
        assert_string_equal(np_session_reason(o.s), "packet of 1001 bytes is larger than the limit of 1000");
        close_session(&o);
    }
}

static void sink_refuses(void **state) {
    (void)state;
    owner a, b;
    open_session(&a);
    open_session(&b);
    send(&a, 1, 1, 1);
    send(&a, 1, 2, 1);
    b.answer = NP_ELIMIT;
    np_bytes span;
    assert_int_equal(np_session_output(a.s, &span, 1), 1);
    assert_int_equal(feed(&b, span.data, span.len), NP_ELIMIT);
    assert_int_equal(b.count, 1); /* the second one did not come any more */
    assert_non_null(strstr(np_session_reason(b.s), "the node gave up on SEND <"));
    assert_non_null(strstr(np_session_reason(b.s), "over a limit"));
    close_session(&a);
    close_session(&b);
}

/* ---- fragments in ---- */

static const char control_22[] = "h\3a\x16" PID PID;

static void put_fragment(np_buf *buf, int tag, uint64_t sequence, uint64_t id, const char *control, const void *part,
                         size_t len) {
    np_buf_clear(buf, SIZE_MAX);
    np_buf_append_u8(buf, 131);
    np_buf_append_u8(buf, (uint8_t)tag);
    np_buf_append_u64(buf, sequence);
    np_buf_append_u64(buf, id);
    if (tag == 69)
        np_buf_append_u8(buf, 0);
    if (control != NULL)
        np_buf_append(buf, control, sizeof control_22 - 1);
    np_buf_append(buf, part, len);
}

static int feed_fragment(owner *o, int tag, uint64_t sequence, uint64_t id, const char *part) {
    np_buf buf = NP_BUF_INIT;
    put_fragment(&buf, tag, sequence, id, tag == 69 ? control_22 : NULL, part, strlen(part));
    int rc = feed_packet(o, np_buf_head(&buf), np_buf_len(&buf));
    np_buf_fini(&buf);
    return rc;
}

static void assert_payload(owner *o, const char *expected) {
    np_bytes tuple = take(o), payload = take(o);
    assert_true(tuple.len > 0);
    assert_int_equal(payload.len, strlen(expected));
    assert_memory_equal(payload.data, expected, payload.len);
}

static void fragments_interleave(void **state) {
    (void)state;
    owner o;
    open_session(&o);
    assert_int_equal(feed_fragment(&o, 69, 7, 3, "w\5h"), 0);
    assert_int_equal(feed_fragment(&o, 69, 0, 2, "w\3a"), 0); /* sequence id 0 is as good as any when it is theirs */
    assert_int_equal(feed(&o, "\0\0\0\0", 4), 0);
    assert_int_equal(feed_fragment(&o, 70, 7, 2, "ell"), 0);
    assert_int_equal(feed_fragment(&o, 69, 9, 1, "w\1x"), 0); /* the only one: whole at once */
    assert_int_equal(o.count, 1);
    assert_payload(&o, "w\1x");
    assert_int_equal(feed_fragment(&o, 70, 0, 1, "bc"), 0);
    assert_payload(&o, "w\3abc");
    assert_int_equal(feed_fragment(&o, 69, 0, 2, ""), 0); /* the id is free again; an empty part is one too */
    assert_int_equal(feed_fragment(&o, 70, 7, 1, "o"), 0);
    assert_payload(&o, "w\5hello");
    assert_int_equal(feed_fragment(&o, 70, 0, 1, "w\1y"), 0);
    assert_payload(&o, "w\1y");
    assert_int_equal(o.count, 4);
    assert_int_equal(np_session_get_stats(o.s)->fragments_in, 8);
    assert_int_equal(np_session_get_stats(o.s)->ticks_in, 1);
    close_session(&o);
}

static void fragment_rules(void **state) {
    (void)state;
    static const struct {
        int tag;
        uint64_t sequence, id;
        const char *part;
        int error;
        const char *reason;
    } seconds[] = {
        {69, 7, 2, "w", NP_EPROTO, "under way"},
        {70, 7, 4, "", NP_EPROTO, "out of order"},
        {70, 7, 2, "", NP_EPROTO, "out of order"},
        {70, 7, 1, "", NP_EPROTO, "out of order"},
        {70, 7, 0, "", NP_EPROTO, "out of order"},
        {70, 8, 3, "", NP_EPROTO, "not begun"},
        {70, 7, 3, "", 0, ""},
    };
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        owner o;
        open_session(&o);
        assert_int_equal(feed_fragment(&o, 69, 7, 4, "w"), 0);
        assert_int_equal(feed_fragment(&o, seconds[i].tag, seconds[i].sequence, seconds[i].id, seconds[i].part),
                         seconds[i].error);
        assert_non_null(strstr(np_session_reason(o.s), seconds[i].reason));
        assert_int_equal(o.count, 0);
        close_session(&o); /* frees what is unfinished */
    }
    owner o;
    open_session(&o);
    assert_int_equal(feed_fragment(&o, 69, 7, UINT64_MAX, "w"), 0); /* a claim costs no memory */
    assert_int_equal(feed_fragment(&o, 69, 8, 2, "w"), 0);
    assert_int_equal(feed_fragment(&o, 70, 8, 1, "\2x"), NP_EBADTERM);
    assert_non_null(strstr(np_session_reason(o.s), "fragmented message of"));
    close_session(&o);
    /* The control tuple has to be in the first. */
    np_buf buf = NP_BUF_INIT;
    put_fragment(&buf, 69, 1, 2, NULL, control_22, sizeof control_22 - 2);
    open_session(&o);
    assert_int_equal(feed_packet(&o, np_buf_head(&buf), np_buf_len(&buf)), NP_EBADTERM);
    close_session(&o);
    np_buf_fini(&buf);
}

static void fragment_bounds(void **state) {
    (void)state;
    owner o;
    open_session(&o);
    for (uint64_t i = 0; i < NP_FRAGMENTS_OPEN_MAX; i++)
        assert_int_equal(feed_fragment(&o, 69, i, 2, "w"), 0);
    assert_int_equal(feed_fragment(&o, 69, 9999, 2, "w"), NP_ELIMIT);
    assert_non_null(strstr(np_session_reason(o.s), "too many unfinished"));
    close_session(&o);

    np_session_limits limits = {200, 100000, 60000};
    open_with(&o, NP_DFLAGS_OURS, &limits);
    assert_int_equal(feed_fragment(&o, 69, 1, 100, "m"), 0);
    int rc = 0;
    for (uint64_t id = 99; id > 1 && rc == 0; id--) {
        rc = feed_fragment(&o, 70, 1, id, "0123456789");
        assert_true((rc == 0) == (id > 99 - (200 - (sizeof control_22 - 1) - 1) / 10));
    }
    assert_int_equal(rc, NP_ELIMIT);
    assert_non_null(strstr(np_session_reason(o.s), "larger than the limit"));
    close_session(&o);
}

/* ---- sending ---- */

static void framing(void **state) {
    (void)state;
    static const uint8_t with_header[] = "\0\0\0\x31\x83\x44\0h\3a\x16", without[] = "\0\0\0\x32p\x83h\3a\x16";
    static const uint64_t modes[] = {NP_DFLAGS_OURS, NP_DFLAGS_OURS & ~NP_DFLAG_FRAGMENTS};
    for (int mode = 0; mode < 2; mode++) {
        owner a, b;
        np_bytes span;
        open_with(&a, modes[mode], &usual);
        open_with(&b, modes[mode], &usual);
        assert_int_equal(np_session_output(a.s, &span, 1), 0);
        assert_int_equal(send(&a, 5, 3, 0), 0);
        assert_int_equal(np_session_output(a.s, &span, 1), 1);
        size_t head = mode == 0 ? sizeof with_header - 1 : sizeof without - 1;
        assert_int_equal(span.len - 4, np_get_u32(span.data));
        assert_memory_equal(span.data + 4, (mode == 0 ? with_header : without) + 4, head - 4);
        assert_int_equal(np_session_queued(a.s), span.len);
        carry_all(&a, &b);
        expect_send(&b, 5, 3, 0);
        /* Large ones: in fragments or, without the flag, in one packet. */
        assert_int_equal(send(&a, 5, 4, 1000000), 0);
        assert_true(np_session_queued(a.s) > 1000000);
        carry_all(&a, &b);
        expect_send(&b, 5, 4, 1000000);
        assert_int_equal(np_session_get_stats(b.s)->fragments_in, mode == 0 ? 16 : 0);
        assert_int_equal(np_session_get_stats(a.s)->fragments_out, mode == 0 ? 16 : 0);
        assert_int_equal(np_session_get_stats(a.s)->packets_out, np_session_get_stats(b.s)->packets_in);
        assert_int_equal(np_session_get_stats(a.s)->bytes_out, np_session_get_stats(b.s)->bytes_in);
        close_session(&a);
        close_session(&b);
    }
}

static void sizes(void **state) {
    (void)state;
    owner a, b;
    open_session(&a);
    open_session(&b);
    /* Around the slice and its multiples; the payload is the binary and 9 bytes. */
    for (size_t k = 1; k <= 3; k++) {
        for (int d = -12; d <= 3; d++) {
            size_t len = (size_t)((int)(k * NP_FRAGMENT_BYTES) + d);
            uint64_t before = np_session_get_stats(a.s)->fragments_out;
            assert_int_equal(send(&a, 1, 1, len), 0);
            carry_all(&a, &b);
            expect_send(&b, 1, 1, len);
            size_t payload = len + 9, slices = (payload + NP_FRAGMENT_BYTES - 1) / NP_FRAGMENT_BYTES;
            assert_int_equal(np_session_get_stats(a.s)->fragments_out - before, slices == 1 ? 0 : slices);
        }
    }
    assert_int_equal(b.count, 48);
    close_session(&a);
    close_session(&b);
}

/* Small messages pass a large one of another sender and wait behind one of their own; two large ones take turns. */
static void order(void **state) {
    (void)state;
    owner a, b;
    open_session(&a);
    open_session(&b);
    send(&a, 1, 1, 10 << 20);
    carry(&a, &b, SIZE_MAX); /* its first fragments are on their way */
    send(&a, 1, 2, 10);
    send(&a, 2, 1, 10);
    send(&a, 3, 1, 10 << 20);
    send(&a, 1, 3, 100000);
    send(&a, 2, 2, 10);
    send(&a, 3, 2, 10);
    size_t waited = 0;
    while (b.count < 2)
        waited += carry(&a, &b, SIZE_MAX);
    assert_true(waited <= 2 * (NP_OUT_PUMP_BYTES + NP_FRAGMENT_BYTES + 1000));
    expect_send(&b, 2, 1, 10);
    expect_send(&b, 2, 2, 10);
    carry_all(&a, &b);
    expect_send(&b, 1, 1, 10 << 20);
    expect_send(&b, 1, 2, 10);
    expect_send(&b, 1, 3, 100000); /* long before the other large one is through */
    expect_send(&b, 3, 1, 10 << 20);
    expect_send(&b, 3, 2, 10);
    assert_int_equal(b.count, 7);
    close_session(&a);
    close_session(&b);
}

static void takes_turns(void **state) {
    (void)state;
    owner a;
    np_bytes span;
    uint64_t seen[8] = {0}, last = 0;
    int changes = 0;
    open_session(&a);
    for (uint32_t sender = 1; sender <= 3; sender++)
        send(&a, sender, 1, 1 << 20);
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
    close_session(&a);
}

/* All kinds of signals of one process stay in order, whatever they are about; by-name DOWNs too. */
static void all_kinds_wait(void **state) {
    (void)state;
    owner a, b;
    open_session(&a);
    open_session(&b);
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
    carry_all(&a, &b);
    static const uint8_t ops[] = {22, 1, 24, 28};
    for (size_t i = 0; i < sizeof ops; i++) {
        assert_int_equal(take(&b).data[3], ops[i]);
        take(&b);
    }
    assert_int_equal(b.count, 4);
    np_buf_fini(&buf);
    np_buf_fini(&reason);
    close_session(&a);
    close_session(&b);
}

/* What was handed out stays where it is and as it is while more is sent, and may be written in pieces. */
static void output_stays(void **state) {
    (void)state;
    owner a, b;
    np_bytes span, again;
    open_session(&a);
    open_session(&b);
    uint32_t seq = 0;
    for (; seq < 10; seq++)
        send(&a, 1, seq, 100);
    assert_int_equal(np_session_output(a.s, &span, 1), 1);
    uint8_t *copy = malloc(span.len);
    memcpy(copy, span.data, span.len);
    for (; seq < 5000; seq++)
        send(&a, 1, seq, 100);
    send(&a, 2, 0, 1 << 20);
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
    assert_int_equal(feed(&b, copy, 7), 0);
    free(copy);
    carry_all(&a, &b);
    assert_int_equal(b.count, 5001);
    for (seq = 0; seq < 5000; seq++)
        expect_send(&b, 1, seq, 100);
    assert_int_equal(np_session_output(a.s, &again, 0), 0);
    close_session(&a);
    close_session(&b);
}

/* ---- bounds ---- */

static void overload(void **state) {
    (void)state;
    np_session_limits limits = {NP_MESSAGE_MAX, 1 << 20, 60000};
    owner a, b;
    uint32_t sent = 0, urgent = 0;
    int rc;
    open_with(&a, NP_DFLAGS_OURS, &limits);
    open_session(&b);
    assert_int_equal(send(&a, 9, 0, (1 << 20) + 1), NP_ELIMIT); /* never, not just now */
    assert_int_equal(np_session_queued(a.s), 0);
    while ((rc = send(&a, 1, sent, 1000)) == 0)
        sent++;
    assert_int_equal(rc, NP_EOVERLOAD);
    assert_in_range(np_session_queued(a.s), (1 << 20) - 1100, 1 << 20);
    assert_int_equal(send(&a, 2, 0, 70000), NP_EOVERLOAD);
    size_t queued = np_session_queued(a.s);
    assert_int_equal(send(&a, 1, sent, 1000), NP_EOVERLOAD);
    assert_int_equal(np_session_queued(a.s), queued);
    while ((rc = send_class(&a, 1, sent + urgent, 100000, NP_SEND_URGENT)) == 0)
        urgent++;
    assert_int_equal(rc, NP_EOVERLOAD);
    assert_in_range(np_session_queued(a.s), (1 << 20) + NP_OUT_RESERVE_BYTES - 101000,
                    (1 << 20) + NP_OUT_RESERVE_BYTES);
    carry_all(&a, &b);
    assert_int_equal(b.count, sent + urgent); /* all that was taken, and nothing that was refused */
    for (uint32_t seq = 0; seq < sent; seq++)
        expect_send(&b, 1, seq, 1000);
    for (uint32_t i = 0; i < urgent; i++)
        expect_send(&b, 1, sent + i, 100000);
    assert_int_equal(send(&a, 1, 7, 1000), 0);
    carry_all(&a, &b);
    expect_send(&b, 1, 7, 1000);
    close_session(&a);
    close_session(&b);
}

static void refused_sends(void **state) {
    (void)state;
    owner a;
    np_control c;
    open_with(&a, NP_DFLAGS_OURS & ~NP_DFLAG_SPAWN, &usual);
    memset(&c, 0, sizeof c);
    c.kind = NP_CTL_SPAWN_REPLY;
    c.from = us(1);
    c.to = them(1);
    c.ref = (np_ref){np_name_id("them@h"), 9, 1, {1}};
    assert_int_equal(np_session_send(a.s, &c, NP_SEND_URGENT), NP_ENOTSUP);
    c.kind = NP_CTL_LINK;
    c.to = (np_pid){0};
    assert_int_equal(np_session_send(a.s, &c, NP_SEND_URGENT), NP_EINVAL);
    assert_int_equal(np_session_queued(a.s), 0);
    assert_int_equal(np_session_get_stats(a.s)->packets_out, 0);
    close_session(&a);
}

/* ---- ticks ---- */

static void ticks_when_idle(void **state) {
    (void)state;
    owner a;
    np_bytes span;
    np_session_limits limits = {NP_MESSAGE_MAX, NP_OUT_HARD_BYTES, 8000};
    open_with(&a, NP_DFLAGS_OURS, &limits);
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
    send(&a, 1, 1, 1);
    assert_int_equal(np_session_output(a.s, &span, 1), 1);
    np_session_sent(a.s, span.len, 4000);
    assert_int_equal(np_session_tick(a.s, 4100), 0);
    assert_int_equal(np_session_queued(a.s), 0);
    assert_int_equal(np_session_deadline(a.s), 6000);
    send(&a, 1, 2, 1);
    size_t queued = np_session_queued(a.s);
    assert_int_equal(np_session_tick(a.s, 6000), 0);
    assert_int_equal(np_session_queued(a.s), queued);
    assert_int_equal(np_session_deadline(a.s), 8000);
    assert_int_equal(np_session_get_stats(a.s)->ticks_out, 1);
    close_session(&a);
}

static void silence(void **state) {
    (void)state;
    owner a;
    np_session_limits limits = {NP_MESSAGE_MAX, NP_OUT_HARD_BYTES, 8000};
    open_with(&a, NP_DFLAGS_OURS, &limits);
    for (uint64_t now = 2000; now < 10000; now += 2000) {
        assert_int_equal(np_session_tick(a.s, now), 0);
        carry(&a, NULL, SIZE_MAX);
    }
    /* A single byte of a packet shows that the peer lives. */
    assert_int_equal(np_session_feed(a.s, (const uint8_t *)"\0", 1, 9000), 0);
    assert_int_equal(np_session_tick(a.s, 10000), 0);
    assert_int_equal(np_session_tick(a.s, 18999), 0);
    assert_int_equal(np_session_deadline(a.s), 19000);
    assert_int_equal(np_session_tick(a.s, 19000), NP_ETIMEOUT);
    assert_string_equal(np_session_reason(a.s), "nothing heard for 10000 ms (net_ticktime is 8000 ms)");
    assert_int_equal(np_session_feed(a.s, (const uint8_t *)"\0", 1, 19001), NP_ETIMEOUT);
    close_session(&a);
}

static void paused_reading(void **state) {
    (void)state;
    owner a;
    np_session_limits limits = {NP_MESSAGE_MAX, NP_OUT_HARD_BYTES, 8000};
    open_with(&a, NP_DFLAGS_OURS, &limits);
    np_session_reading(a.s, true, 5000);
    assert_int_equal(np_session_tick(a.s, 100000), 0);
    assert_int_equal(np_session_get_stats(a.s)->ticks_out, 1); /* we still have to tick */
    assert_int_equal(np_session_deadline(a.s), 102000);
    np_session_reading(a.s, false, 100000);
    assert_int_equal(np_session_tick(a.s, 109999), 0);
    assert_int_equal(np_session_tick(a.s, 110000), NP_ETIMEOUT);
    close_session(&a);
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
        take_send(o, &from, &seq, &len);
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
    open_with(&t.end[0], flags, &usual);
    open_with(&t.end[1], flags, &usual);
    for (int step = 0; step < 400; step++) {
        int side = (int)np_rng_below(&t.rng, 2);
        if (np_rng_below(&t.rng, 3) == 0) {
            for (uint64_t burst = np_rng_below(&t.rng, 8); burst > 0; burst--) {
                uint32_t sender = (uint32_t)np_rng_below(&t.rng, SENDERS);
                assert_int_equal(send(&t.end[side], sender, t.sent[side][sender]++, random_size(&t.rng)), 0);
            }
        } else {
            static const uint64_t bounds[] = {10, 2000, 70000, 1 << 20};
            carry(&t.end[side], &t.end[!side], 1 + np_rng_below(&t.rng, bounds[np_rng_below(&t.rng, 4)]));
            check_delivered(&t, !side);
        }
        if (np_rng_below(&t.rng, 50) == 0)
            assert_int_equal(np_session_tick(t.end[side].s, np_rng_below(&t.rng, 2) * 20000), 0);
    }
    for (int side = 0; side < 2; side++) {
        carry_all(&t.end[side], &t.end[!side]);
        check_delivered(&t, !side);
        for (int sender = 0; sender < SENDERS; sender++)
            assert_int_equal(t.got[!side][sender], t.sent[side][sender]);
    }
    close_session(&t.end[0]);
    close_session(&t.end[1]);
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
        cmocka_unit_test(recorded),
        cmocka_unit_test(cut_short),
        cmocka_unit_test(bad_packets),
        cmocka_unit_test(deep_terms),
        cmocka_unit_test(too_large),
        cmocka_unit_test(sink_refuses),
        cmocka_unit_test(fragments_interleave),
        cmocka_unit_test(fragment_rules),
        cmocka_unit_test(fragment_bounds),
        cmocka_unit_test(framing),
        cmocka_unit_test(sizes),
        cmocka_unit_test(order),
        cmocka_unit_test(takes_turns),
        cmocka_unit_test(all_kinds_wait),
        cmocka_unit_test(output_stays),
        cmocka_unit_test(overload),
        cmocka_unit_test(refused_sends),
        cmocka_unit_test(ticks_when_idle),
        cmocka_unit_test(silence),
        cmocka_unit_test(paused_reading),
        cmocka_unit_test(random_traffic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
