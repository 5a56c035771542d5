/*
 * The handshake machines: against what OTP 25 did (test/golden/handshake.golden), against each other, cut and chunked
 * in every way, and against peers that do it wrong.
 */
#include "base/rng.h"
#include "dist/flags.h"
#include "dist/handshake.h"
#include "golden.h"

#include <native_pool/term.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- a node around the machine ---- */

typedef struct world {
    const char *cookie;
    np_handshake_verdict verdict;
    bool replace;
    uint32_t challenge;
    int cookies_asked, verdicts_asked, replaces_asked;
    char asked_for[64];
} world;

static const char *world_cookie(void *arg, const char *peer) {
    world *w = arg;
    w->cookies_asked++;
    snprintf(w->asked_for, sizeof w->asked_for, "%s", peer);
    return w->cookie;
}

static np_handshake_verdict world_verdict(void *arg, const char *peer) {
    world *w = arg;
    w->verdicts_asked++;
    snprintf(w->asked_for, sizeof w->asked_for, "%s", peer);
    return w->verdict;
}

static bool world_replace(void *arg, const char *peer) {
    world *w = arg;
    (void)peer;
    w->replaces_asked++;
    return w->replace;
}

static uint32_t world_challenge(void *arg) { return ((world *)arg)->challenge; }

static np_handshake *start(world *w, const char *self, const char *peer, uint64_t flags, int length_bytes) {
    np_handshake_env env = {w, world_cookie, world_verdict, world_replace, world_challenge};
    np_handshake *h = np_handshake_new(&env, self, peer, flags, 1234567890, length_bytes);
    assert_non_null(h);
    return h;
}

static const world plain = {.cookie = "golden", .challenge = 77};

/* Feeds from an allocation of its own, so that the sanitizer sees a read beyond. */
static size_t feed(np_handshake *h, const void *data, size_t len) {
    uint8_t *copy = malloc(len + 1);
    memcpy(copy + 1, data, len);
    size_t taken = np_handshake_feed(h, copy + 1, len);
    free(copy);
    return taken;
}

/* Feeds one message, with its length in front. */
static size_t feed_message(np_handshake *h, const void *data, size_t len) {
    np_buf framed = NP_BUF_INIT;
    np_buf_append_u16(&framed, (uint16_t)len);
    np_buf_append(&framed, data, len);
    size_t taken = feed(h, np_buf_head(&framed), np_buf_len(&framed));
    np_buf_fini(&framed);
    return taken;
}

static void assert_output(np_handshake *h, const void *message, size_t len) {
    np_buf *out = np_handshake_output(h);
    assert_true(np_buf_len(out) >= 2 + len);
    assert_int_equal(np_get_u16(np_buf_head(out)), len);
    assert_memory_equal(np_buf_head(out) + 2, message, len);
    np_buf_consume(out, 2 + len);
}

static void assert_failed(np_handshake *h, int error) {
    assert_int_equal(np_handshake_get_state(h), NP_HANDSHAKE_FAILED);
    assert_int_equal(np_handshake_error(h), error);
    assert_true(strlen(np_handshake_reason(h)) > 10);
    for (const char *p = np_handshake_reason(h); *p != '\0'; p++)
        assert_true(*p >= ' ' && *p < 0x7F);
}

static size_t make_name(uint8_t *to, uint64_t flags, uint32_t creation, const char *name) {
    to[0] = 'N';
    np_put_u64(to + 1, flags);
    np_put_u32(to + 9, creation);
    np_put_u16(to + 13, (uint16_t)strlen(name));
    memcpy(to + 15, name, strlen(name));
    return 15 + strlen(name);
}

static size_t make_challenge(uint8_t *to, uint64_t flags, uint32_t challenge, uint32_t creation, const char *name) {
    to[0] = 'N';
    np_put_u64(to + 1, flags);
    np_put_u32(to + 9, challenge);
    np_put_u32(to + 13, creation);
    np_put_u16(to + 17, (uint16_t)strlen(name));
    memcpy(to + 19, name, strlen(name));
    return 19 + strlen(name);
}

/* ---- what OTP 25 did ---- */

static void digest(void **state) {
    (void)state;
    uint8_t d[16];
    np_handshake_digest("golden", 4039455931u, d);
    assert_memory_equal(d, "\x89\x41\xaa\x8a\x5f\xa6\x93\x44\x77\x92\x8e\x03\xd2\x74\x2c\x18", 16);
    np_handshake_digest("", 0, d); /* MD5("0") */
    assert_memory_equal(d, "\xcf\xcd\x20\x84\x95\xd5\x65\xef\x66\xe7\xdf\xf9\xf9\x87\x64\xda", 16);
}

/* What a record implies: who native is there, what its surroundings were, and how it must end. */
typedef struct replay {
    world w;
    char self[64], peer[64];
    bool acceptor;
    uint64_t flags;
    np_handshake_state end;
    int error;
    bool replaces;
} replay;

static bool starts(const golden_line *line, const char *prefix) {
    return line->len >= strlen(prefix) && memcmp(line->bytes, prefix, strlen(prefix)) == 0;
}

static void copy_name(char *to, const golden_line *line, size_t head) {
    snprintf(to, 64, "%.*s", (int)(line->len - head), (const char *)line->bytes + head);
}

/* What native said in the record tells how the record's native was set up. */
static void read_native(replay *r, const golden_line *line) {
    if (line->bytes[0] == 'N') {
        r->flags = np_get_u64(line->bytes + 1);
        copy_name(r->self, line, r->acceptor ? 19 : 15);
        if (r->acceptor)
            r->w.challenge = np_get_u32(line->bytes + 9);
    } else if (line->bytes[0] == 'r') {
        r->w.challenge = np_get_u32(line->bytes + 1);
    } else if (starts(line, "strue")) {
        r->w.replace = r->replaces = true;
    } else if (starts(line, "sfalse")) {
        r->end = NP_HANDSHAKE_FAILED, r->error = NP_EEXIST;
    } else if (starts(line, "sok_simultaneous")) {
        r->w.verdict = NP_VERDICT_OK_SIMULTANEOUS, r->replaces = true;
    } else if (starts(line, "snok")) {
        r->w.verdict = NP_VERDICT_NOK, r->end = NP_HANDSHAKE_FAILED, r->error = NP_EBUSY;
    } else if (starts(line, "snot_allowed")) {
        r->w.verdict = NP_VERDICT_NOT_ALLOWED, r->end = NP_HANDSHAKE_FAILED, r->error = NP_EINVAL;
    } else if (starts(line, "salive")) {
        r->w.verdict = NP_VERDICT_ALIVE;
    } else if (line->bytes[0] == 'a') {
        r->end = NP_HANDSHAKE_DONE;
    }
}

static void read_peer(replay *r, const golden_line *line) {
    if (line->bytes[0] == 'N')
        copy_name(r->peer, line, r->acceptor ? 15 : 19);
    else if (line->bytes[0] == 'a')
        r->end = NP_HANDSHAKE_DONE;
    else if (starts(line, "sok_simultaneous") || starts(line, "strue"))
        r->replaces = true;
    else if (starts(line, "snok"))
        r->end = NP_HANDSHAKE_FAILED, r->error = NP_EBUSY;
    else if (starts(line, "snot_allowed"))
        r->end = NP_HANDSHAKE_FAILED, r->error = NP_EINVAL;
}

static void read_record(replay *r, const golden_record *record) {
    *r =
        (replay){.w = {.cookie = "golden"}, .self = "native@127.0.0.1", .peer = "a@127.0.0.1", .flags = NP_DFLAGS_OURS};
    r->acceptor = record->lines[0].kind == GOLDEN_IN;
    r->end = NP_HANDSHAKE_BUSY;
    for (size_t i = 0; i < record->count; i++) {
        if (record->lines[i].kind == GOLDEN_OUT)
            read_native(r, &record->lines[i]);
        else
            read_peer(r, &record->lines[i]);
    }
    if (strstr(record->title, "cookie \"wrong\"") != NULL)
        r->w.cookie = "wrong";
    if (strstr(record->title, "per-peer cookie") != NULL)
        r->w.cookie = "other";
    if (strstr(record->title, "native sees a wrong digest") != NULL)
        r->end = NP_HANDSHAKE_FAILED, r->error = NP_EAUTH;
}

/* Plays the record in pieces of `chunk` bytes (0: message by message) and compares every byte of the answers. */
static void play(const golden_record *record, size_t chunk) {
    replay r;
    read_record(&r, record);
    np_handshake *h = start(&r.w, r.self, r.acceptor ? NULL : r.peer, r.flags, 2);
    for (size_t i = 0; i < record->count; i++) {
        const golden_line *line = &record->lines[i];
        if (line->kind == GOLDEN_OUT) {
            assert_output(h, line->bytes, line->len);
            continue;
        }
        assert_int_equal(np_buf_len(np_handshake_output(h)), 0);
        assert_int_equal(np_handshake_get_state(h), NP_HANDSHAKE_BUSY);
        uint32_t step = np_handshake_step(h);
        if (chunk == 0) {
            assert_int_equal(feed_message(h, line->bytes, line->len), 2 + line->len);
        } else {
            uint8_t framed[256];
            np_put_u16(framed, (uint16_t)line->len);
            memcpy(framed + 2, line->bytes, line->len);
            for (size_t at = 0, n; at < 2 + line->len; at += n) {
                assert_int_equal(np_handshake_step(h), step);
                n = 2 + line->len - at < chunk ? 2 + line->len - at : chunk;
                assert_int_equal(feed(h, framed + at, n), n);
            }
        }
        assert_int_equal(np_handshake_step(h), step + 1);
    }
    /* One record stops before native's answer: the peer closes its dial. */
    if (record->count > 1)
        assert_int_equal(np_buf_len(np_handshake_output(h)), 0);
    assert_int_equal(np_handshake_get_state(h), r.end);
    if (r.end == NP_HANDSHAKE_FAILED)
        assert_failed(h, r.error);
    if (r.end == NP_HANDSHAKE_DONE) {
        assert_string_equal(np_handshake_peer(h), r.peer);
        assert_int_equal(np_handshake_replaces(h), r.replaces);
        assert_true(np_handshake_flags(h) == (NP_DFLAGS_OURS & UINT64_C(0xD07DF7FBD)));
        assert_true(np_handshake_peer_flags(h) == UINT64_C(0xD07DF7FBD));
        assert_true(np_handshake_creation(h) >= 4);
        assert_string_equal(r.w.asked_for, r.peer);
    }
    np_handshake_destroy(&h);
    assert_null(h);
}

static void golden_replay(void **state) {
    (void)state;
    golden *g = golden_open("handshake.golden");
    int records = 0, done = 0;
    for (const golden_record *record; (record = golden_next(g)) != NULL; records++) {
        replay r;
        read_record(&r, record);
        done += r.end == NP_HANDSHAKE_DONE;
        for (size_t chunk = 0; chunk < 40; chunk++)
            play(record, chunk);
    }
    assert_int_equal(records, 23);
    assert_int_equal(done, 8);
    golden_close(&g);
}

/* ---- two machines, wired ---- */

/* Moves what `from` has to say, at most `most` bytes; what the other does not take goes to `leftover`. */
static size_t carry(np_handshake *from, np_handshake *to, size_t most, np_buf *leftover) {
    np_buf *out = np_handshake_output(from);
    size_t n = np_buf_len(out) < most ? np_buf_len(out) : most;
    if (n == 0)
        return 0;
    size_t taken = feed(to, np_buf_head(out), n);
    if (leftover != NULL)
        np_buf_append(leftover, np_buf_head(out) + taken, n - taken);
    np_buf_consume(out, n);
    return n;
}

static void converse(np_handshake *a, np_handshake *b, size_t chunk) {
    while (carry(a, b, chunk, NULL) + carry(b, a, chunk, NULL) > 0)
        ;
}

static void meets_itself(void **state) {
    (void)state;
    static const int lengths[] = {2, 4};
    for (size_t i = 0; i < 2; i++) {
        for (size_t chunk = 1; chunk < 100; chunk++) {
            world wa = plain, wb = plain;
            wb.challenge = 4294967295u;
            np_handshake *a = start(&wa, "a@h", "b@h", NP_DFLAGS_OURS, lengths[i]);
            np_handshake *b = start(&wb, "b@h", NULL, NP_DFLAGS_OURS | NP_DFLAG_PUBLISHED, lengths[i]);
            assert_string_equal(np_handshake_peer(b), "");
            converse(a, b, chunk);
            assert_int_equal(np_handshake_get_state(a), NP_HANDSHAKE_DONE);
            assert_int_equal(np_handshake_get_state(b), NP_HANDSHAKE_DONE);
            assert_string_equal(np_handshake_peer(a), "b@h");
            assert_string_equal(np_handshake_peer(b), "a@h");
            assert_true(np_handshake_flags(a) == NP_DFLAGS_OURS && np_handshake_flags(b) == NP_DFLAGS_OURS);
            assert_true(np_handshake_peer_flags(a) & NP_DFLAG_PUBLISHED);
            assert_int_equal(np_handshake_creation(a), 1234567890);
            assert_false(np_handshake_replaces(a) || np_handshake_replaces(b));
            assert_int_equal(wb.verdicts_asked, 1);
            np_handshake_destroy(&a);
            np_handshake_destroy(&b);
        }
    }
}

static void alive(void **state) {
    (void)state;
    for (int replace = 0; replace < 2; replace++) {
        world wa = plain, wb = plain;
        wa.replace = replace;
        wb.verdict = NP_VERDICT_ALIVE;
        np_handshake *a = start(&wa, "a@h", "b@h", NP_DFLAGS_OURS, 2), *b = start(&wb, "b@h", NULL, NP_DFLAGS_OURS, 2);
        converse(a, b, 1000);
        assert_int_equal(wa.replaces_asked, 1);
        if (replace) {
            assert_int_equal(np_handshake_get_state(a), NP_HANDSHAKE_DONE);
            assert_int_equal(np_handshake_get_state(b), NP_HANDSHAKE_DONE);
            assert_true(np_handshake_replaces(a) && np_handshake_replaces(b));
        } else {
            assert_failed(a, NP_EEXIST);
            assert_failed(b, NP_EEXIST);
        }
        np_handshake_destroy(&a);
        np_handshake_destroy(&b);
    }
}

static void cookies_differ(void **state) {
    (void)state;
    world wa = plain, wb = plain;
    wa.cookie = "silver";
    np_handshake *a = start(&wa, "a@h", "b@h", NP_DFLAGS_OURS, 2), *b = start(&wb, "b@h", NULL, NP_DFLAGS_OURS, 2);
    converse(a, b, 1000);
    assert_failed(b, NP_EAUTH);
    assert_string_equal(np_handshake_reason(b), "cookie of a@h differs from ours: check cookie_file");
    /* The acceptor never proves that it knows the cookie; all the initiator sees is the close. */
    assert_int_equal(np_handshake_get_state(a), NP_HANDSHAKE_BUSY);
    np_handshake_abort(a, NP_ECLOSED);
    assert_failed(a, NP_EAUTH);
    assert_non_null(strstr(np_handshake_reason(a), "cookie"));
    np_handshake_destroy(&a);
    np_handshake_destroy(&b);
}

static void no_cookie(void **state) {
    (void)state;
    for (int which = 0; which < 2; which++) {
        world wa = plain, wb = plain;
        *(which == 0 ? &wa.cookie : &wb.cookie) = NULL;
        np_handshake *a = start(&wa, "a@h", "b@h", NP_DFLAGS_OURS, 2), *b = start(&wb, "b@h", NULL, NP_DFLAGS_OURS, 2);
        converse(a, b, 1000);
        assert_failed(which == 0 ? a : b, NP_EAUTH);
        assert_int_equal(np_handshake_get_state(which == 0 ? b : a), NP_HANDSHAKE_BUSY);
        np_handshake_destroy(&a);
        np_handshake_destroy(&b);
    }
}

/* The bytes behind the last message belong to the session, on both sides. */
static void leftovers(void **state) {
    (void)state;
    world wa = plain, wb = plain;
    np_handshake *a = start(&wa, "a@h", "b@h", NP_DFLAGS_OURS, 2), *b = start(&wb, "b@h", NULL, NP_DFLAGS_OURS, 2);
    np_buf rest_a = NP_BUF_INIT, rest_b = NP_BUF_INIT;
    carry(a, b, 1000, NULL);
    carry(b, a, 1000, NULL);
    np_buf_append(np_handshake_output(a), "\0\0\0\0early", 9);
    carry(a, b, 1000, &rest_b);
    np_buf_append(np_handshake_output(b), "\0\0\0\1x", 5);
    carry(b, a, 1000, &rest_a);
    assert_int_equal(np_handshake_get_state(a), NP_HANDSHAKE_DONE);
    assert_int_equal(np_handshake_get_state(b), NP_HANDSHAKE_DONE);
    assert_int_equal(np_buf_len(&rest_a), 5);
    assert_memory_equal(np_buf_head(&rest_a), "\0\0\0\1x", 5);
    assert_int_equal(np_buf_len(&rest_b), 9);
    assert_int_equal(feed(a, "more", 4), 0);
    np_buf_fini(&rest_a);
    np_buf_fini(&rest_b);
    np_handshake_destroy(&a);
    np_handshake_destroy(&b);
}

/* ---- simultaneous connects: both nodes dial at once, whatever order the bytes take ---- */

typedef struct sim_node {
    world w;
    const char *name, *other;
    np_handshake *dial; /* NULL: not dialling any more */
    np_handshake *accept;
    bool dial_closed; /* by us: the other end's acceptor sees it */
} sim_node;

static np_handshake_verdict sim_verdict(void *arg, const char *peer) {
    sim_node *n = arg;
    assert_string_equal(peer, n->other);
    if (n->dial == NULL || np_handshake_get_state(n->dial) == NP_HANDSHAKE_FAILED)
        return NP_VERDICT_OK;
    if (np_handshake_get_state(n->dial) == NP_HANDSHAKE_DONE)
        return NP_VERDICT_ALIVE;
    if (strcmp(n->name, n->other) > 0)
        return NP_VERDICT_NOK;
    n->dial_closed = true;
    return NP_VERDICT_OK_SIMULTANEOUS;
}

static const char *sim_cookie(void *arg, const char *peer) {
    (void)peer;
    return arg != NULL ? "golden" : NULL;
}

static bool sim_replace(void *arg, const char *peer) {
    (void)arg;
    (void)peer;
    return false;
}

static uint32_t sim_challenge(void *arg) { return (uint32_t)(uintptr_t)arg; }

static void sim_start(sim_node *n, const char *name, const char *other) {
    np_handshake_env env = {n, sim_cookie, sim_verdict, sim_replace, sim_challenge};
    *n = (sim_node){.name = name, .other = other};
    n->dial = np_handshake_new(&env, name, other, NP_DFLAGS_OURS, 5, 2);
    n->accept = np_handshake_new(&env, name, NULL, NP_DFLAGS_OURS, 5, 2);
}

static bool sim_ended(const np_handshake *h) {
    return np_handshake_get_state(h) == NP_HANDSHAKE_FAILED && np_buf_len(np_handshake_output((np_handshake *)h)) == 0;
}

/* One end that has failed and said all it had to say closes the connection. */
static void sim_close(np_handshake *a, np_handshake *b) {
    if (sim_ended(a) && np_buf_len(np_handshake_output(b)) == 0)
        np_handshake_abort(b, NP_ECLOSED);
    if (sim_ended(b) && np_buf_len(np_handshake_output(a)) == 0)
        np_handshake_abort(a, NP_ECLOSED);
}

static void simultaneous_once(uint64_t seed, const char *name_a, const char *name_b) {
    sim_node a, b;
    np_rng rng;
    np_rng_seed(&rng, seed);
    sim_start(&a, name_a, name_b);
    sim_start(&b, name_b, name_a);
    for (int idle = 0; idle < 40; idle++) {
        size_t n = 1 + np_rng_below(&rng, 60);
        size_t moved = 0;
        switch (np_rng_below(&rng, 4)) {
        case 0: moved = a.dial_closed ? 0 : carry(a.dial, b.accept, n, NULL); break;
        case 1: moved = carry(b.accept, a.dial, n, NULL); break;
        case 2: moved = b.dial_closed ? 0 : carry(b.dial, a.accept, n, NULL); break;
        default: moved = carry(a.accept, b.dial, n, NULL); break;
        }
        if (a.dial_closed)
            np_handshake_abort(a.dial, NP_ECLOSED), np_handshake_abort(b.accept, NP_ECLOSED);
        if (b.dial_closed)
            np_handshake_abort(b.dial, NP_ECLOSED), np_handshake_abort(a.accept, NP_ECLOSED);
        sim_close(a.dial, b.accept);
        sim_close(b.dial, a.accept);
        if (moved > 0)
            idle = 0;
    }
    bool first = np_handshake_get_state(a.dial) == NP_HANDSHAKE_DONE;
    bool second = np_handshake_get_state(b.dial) == NP_HANDSHAKE_DONE;
    /* Exactly one connection, and both ends agree on it. */
    assert_true(first != second);
    assert_int_equal(np_handshake_get_state(b.accept) == NP_HANDSHAKE_DONE, first);
    assert_int_equal(np_handshake_get_state(a.accept) == NP_HANDSHAKE_DONE, second);
    np_handshake_destroy(&a.dial);
    np_handshake_destroy(&a.accept);
    np_handshake_destroy(&b.dial);
    np_handshake_destroy(&b.accept);
}

static void simultaneous(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        simultaneous_once(seed, "a@h", "z@h");
        simultaneous_once(seed, "z@h", "a@h");
    }
}

/* ---- peers that do it wrong ---- */

static void accepts(uint64_t flags, const char *name, const char *status, int error) {
    world w = plain;
    uint8_t message[1200];
    np_handshake *h = start(&w, "b@h", NULL, NP_DFLAGS_OURS, 2);
    feed_message(h, message, make_name(message, flags, 9, name));
    assert_output(h, status, strlen(status));
    if (error == 0) {
        assert_int_equal(np_handshake_get_state(h), NP_HANDSHAKE_BUSY);
        assert_int_equal(np_buf_len(np_handshake_output(h)), 2 + 19 + 3);
    } else {
        assert_failed(h, error);
        assert_int_equal(np_buf_len(np_handshake_output(h)), 0);
        assert_int_equal(w.verdicts_asked, 0);
        assert_int_equal(w.cookies_asked, 0);
    }
    np_handshake_destroy(&h);
}

static void acceptor_checks(void **state) {
    (void)state;
    accepts(NP_DFLAGS_OURS, "a@h", "sok", 0);
    accepts(NP_DFLAG_MANDATORY_25_DIGEST, "a@h", "sok", 0);
    accepts(UINT64_C(0x407074F9C), "a@h", "sok", 0); /* libei */
    accepts(NP_DFLAGS_MANDATORY, "a@h", "sok", 0);
    accepts(0, "a@h", "snot_allowed", NP_ENOTSUP);
    for (uint64_t bit = 1; bit != 0; bit <<= 1)
        if (NP_DFLAGS_MANDATORY & bit)
            accepts(NP_DFLAGS_MANDATORY & ~bit, "a@h", "snot_allowed", NP_ENOTSUP);
    accepts(NP_DFLAGS_OURS | NP_DFLAG_NAME_ME, "h", "snot_allowed", NP_ENOTSUP);
    accepts(NP_DFLAGS_OURS, "b@h", "snok", NP_EINVAL); /* our own */
    static const char *const names[] = {"", "a", "a@", "@h", "a b@h", "a@b@h", "a.b@h", "a@\xff", "a@h\n"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        accepts(NP_DFLAGS_OURS, names[i], "snok", NP_EINVAL);
}

/* A peer's message that must end the handshake at this point without an answer. */
typedef struct wrong {
    const char *bytes;
    size_t len;
    int error;
} wrong;
#define WRONG(bytes, error)                                                                                            \
    { bytes, sizeof bytes - 1, error }

static void refuses(np_handshake *h, const wrong *wrong) {
    uint32_t step = np_handshake_step(h);
    feed_message(h, wrong->bytes, wrong->len);
    assert_failed(h, wrong->error);
    assert_int_equal(np_buf_len(np_handshake_output(h)), 0);
    assert_int_equal(np_handshake_step(h), step + 1);
    assert_int_equal(feed_message(h, "sok", 3), 0); /* deaf from then on */
    np_handshake_abort(h, NP_ECLOSED);
    assert_failed(h, wrong->error);
}

static np_handshake *dialling(world *w) {
    np_handshake *h = start(w, "a@h", "b@h", NP_DFLAGS_OURS, 2);
    np_buf_clear(np_handshake_output(h), 0);
    return h;
}

static np_handshake *dialling_accepted(world *w) {
    np_handshake *h = dialling(w);
    feed_message(h, "sok", 3);
    return h;
}

static np_handshake *dialling_challenged(world *w) {
    uint8_t message[64];
    np_handshake *h = dialling_accepted(w);
    feed_message(h, message, make_challenge(message, NP_DFLAGS_OURS, 1, 2, "b@h"));
    np_buf_clear(np_handshake_output(h), 0);
    return h;
}

static np_handshake *accepting(world *w) { return start(w, "b@h", NULL, NP_DFLAGS_OURS, 2); }

static np_handshake *accepting_named(world *w) {
    uint8_t message[64];
    np_handshake *h = accepting(w);
    feed_message(h, message, make_name(message, NP_DFLAGS_OURS, 1, "a@h"));
    np_buf_clear(np_handshake_output(h), 0);
    return h;
}

static np_handshake *accepting_alive(world *w) {
    w->verdict = NP_VERDICT_ALIVE;
    return accepting_named(w);
}

static void wrong_messages(void **state) {
    (void)state;
    static const wrong status[] = {
        WRONG("", NP_EPROTO),
        WRONG("s", NP_EPROTO),
        WRONG("sokay", NP_EPROTO),
        WRONG("s\r\n\0", NP_EPROTO),
        WRONG("snamed:\0\3x@h\0\0\0\1", NP_EPROTO),
        WRONG("N", NP_EPROTO),
        WRONG("xok", NP_EPROTO),
        WRONG("snok", NP_EBUSY),
        WRONG("snot_allowed", NP_EINVAL),
        WRONG("strue", NP_EPROTO),
    };
    static const wrong challenge[] = {
        WRONG("N", NP_EPROTO),
        WRONG("N\0\0\0\xd0\x7d\xf5\xfb\xc\0\0\0\1\0\0\0\1\0", NP_EPROTO),
        WRONG("N\0\0\0\xd0\x7d\xf5\xfb\xc\0\0\0\1\0\0\0\1\0\4b@h", NP_EPROTO),  /* name longer than the message */
        WRONG("N\0\0\0\x0d\x07\xdf\x5f\xbc\0\0\0\1\0\0\0\1\0\3c@h", NP_EPROTO), /* another name */
        WRONG("N\0\0\0\x0d\x07\xdf\x5f\xbc\0\0\0\1\0\0\0\1\0\2b@h", NP_EPROTO), /* a prefix of it */
        WRONG("N\0\0\0\x0d\x00\0\0\0\0\0\0\1\0\0\0\1\0\3b@h", NP_ENOTSUP),
        WRONG("n\0\5\0\0\0\0\0\0\0\0b@h", NP_ENOTSUP),
        WRONG("sok", NP_EPROTO),
    };
    static const wrong ack[] = {
        WRONG("a", NP_EPROTO),
        WRONG("a0123456789abcdef", NP_EAUTH),
        WRONG("a0123456789abcdefg", NP_EPROTO),
        WRONG("r0123456789abcdef0123", NP_EPROTO),
    };
    static const wrong name[] = {
        WRONG("N", NP_EPROTO),
        WRONG("N\0\0\0\x0d\x07\xdf\x5f\xbc\0\0\0\1\0", NP_EPROTO),
        WRONG("N\0\0\0\x0d\x07\xdf\x5f\xbc\0\0\0\1\0\4a@h", NP_EPROTO),
        WRONG("n\0\5\0\0\0\0a@h", NP_ENOTSUP),
        WRONG("", NP_EPROTO),
        WRONG("GET / HTTP/1.1", NP_EPROTO),
        WRONG("\x16\3\1", NP_EPROTO),
    };
    static const wrong alive_answer[] = {WRONG("smaybe", NP_EPROTO), WRONG("sfalse", NP_EEXIST), WRONG("s", NP_EPROTO),
                                         WRONG("r", NP_EPROTO)};
    static const wrong reply[] = {
        WRONG("r", NP_EPROTO),
        WRONG("r\0\0\0\1"
              "0123456789abcdef",
              NP_EAUTH),
        WRONG("r\0\0\0\1"
              "0123456789abcdefg",
              NP_EPROTO),
        WRONG("a0123456789abcdef", NP_EPROTO),
    };
    static const struct {
        np_handshake *(*reach)(world *w);
        const wrong *wrongs;
        size_t count;
    } steps[] = {
#define STEP(reach, wrongs) {reach, wrongs, sizeof wrongs / sizeof *wrongs}
        STEP(dialling, status), STEP(dialling_accepted, challenge),  STEP(dialling_challenged, ack),
        STEP(accepting, name),  STEP(accepting_alive, alive_answer), STEP(accepting_named, reply),
#undef STEP
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        for (size_t j = 0; j < steps[i].count; j++) {
            world w = plain;
            np_handshake *h = steps[i].reach(&w);
            assert_int_equal(np_handshake_get_state(h), NP_HANDSHAKE_BUSY);
            refuses(h, &steps[i].wrongs[j]);
            np_handshake_destroy(&h);
        }
    }
}

/* Every step, ended from outside. */
static void aborted(void **state) {
    (void)state;
    static np_handshake *(*const reach[])(world * w) = {dialling,  dialling_accepted, dialling_challenged,
                                                        accepting, accepting_alive,   accepting_named};
    static const int errors[] = {NP_ECLOSED, NP_ETIMEOUT, NP_EIO};
    for (size_t i = 0; i < sizeof reach / sizeof *reach; i++) {
        for (size_t j = 0; j < 3; j++) {
            world w = plain;
            np_handshake *h = reach[i](&w);
            np_handshake_abort(h, errors[j]);
            assert_failed(h, i == 2 && j == 0 ? NP_EAUTH : errors[j]);
            np_handshake_destroy(&h);
        }
    }
}

static void too_long(void **state) {
    (void)state;
    world w = plain;
    np_handshake *h = accepting(&w);
    assert_int_equal(feed(h, "\x08", 1), 1);
    assert_int_equal(np_handshake_get_state(h), NP_HANDSHAKE_BUSY);
    assert_int_equal(feed(h, "\x01", 1), 1); /* 2049: refused before the first byte of it */
    assert_failed(h, NP_EPROTO);
    np_handshake_destroy(&h);

    h = start(&w, "b@h", NULL, NP_DFLAGS_OURS, 4);
    feed(h, "\xff\xff\xff\xff", 4);
    assert_failed(h, NP_EPROTO);
    np_handshake_destroy(&h);

    /* The longest that is let in: a name of 255 characters and room for what later versions append. */
    uint8_t message[NP_HANDSHAKE_LEN_MAX] = {0};
    char name[256];
    memset(name, 'x', sizeof name);
    name[1] = '@';
    name[255] = '\0';
    make_name(message, NP_DFLAGS_OURS, 1, name);
    h = accepting(&w);
    assert_int_equal(feed_message(h, message, sizeof message), 2 + sizeof message);
    assert_output(h, "sok", 3);
    assert_string_equal(np_handshake_peer(h), name);
    np_handshake_destroy(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest),         cmocka_unit_test(golden_replay),  cmocka_unit_test(meets_itself),
        cmocka_unit_test(alive),          cmocka_unit_test(cookies_differ), cmocka_unit_test(no_cookie),
        cmocka_unit_test(leftovers),      cmocka_unit_test(simultaneous),   cmocka_unit_test(acceptor_checks),
        cmocka_unit_test(wrong_messages), cmocka_unit_test(aborted),        cmocka_unit_test(too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
