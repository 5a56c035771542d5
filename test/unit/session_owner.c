/* session_owner.c - see session_owner.h. */
#include "session_owner.h"

#include "base/limits.h"
#include "term/names.h"
#include "term/out.h"
#include "term/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const np_session_limits owner_limits = {NP_MESSAGE_MAX, NP_OUT_HARD_BYTES, 60000};

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

void owner_open_with(owner *o, uint64_t flags, const np_session_limits *limits) {
    *o = (owner){.encode = NP_DFLAGS_OURS};
    np_session_sink sink = {o, collect};
    o->s = np_session_new(&sink, flags, limits, 0);
    assert_non_null(o->s);
}

void owner_open(owner *o) { owner_open_with(o, NP_DFLAGS_OURS, &owner_limits); }

void owner_close(owner *o) {
    np_session_destroy(&o->s);
    assert_null(o->s);
    np_buf_fini(&o->got);
}

/* The next piece of what was delivered: a tuple or a payload. */
np_bytes owner_take(owner *o) {
    assert_true(np_buf_len(&o->got) >= 4);
    uint32_t len = np_get_u32(np_buf_head(&o->got));
    np_bytes piece = {np_buf_head(&o->got) + 4, len};
    assert_true(np_buf_len(&o->got) >= 4 + len);
    o->got.off += 4 + len;
    return piece;
}

/* Feeds from an allocation of its own, so that the sanitizer sees a read beyond. */
int owner_feed(owner *o, const void *data, size_t len) {
    uint8_t *copy = malloc(len + 1);
    memcpy(copy + 1, data, len);
    int rc = np_session_feed(o->s, copy + 1, len, 0);
    free(copy);
    return rc;
}

int owner_feed_packet(owner *o, const void *packet, size_t len) {
    np_buf framed = NP_BUF_INIT;
    np_buf_append_u32(&framed, (uint32_t)len);
    np_buf_append(&framed, packet, len);
    int rc = owner_feed(o, np_buf_head(&framed), np_buf_len(&framed));
    np_buf_fini(&framed);
    return rc;
}

/* ---- messages ---- */

np_pid our_pid(uint32_t num) { return (np_pid){np_name_id("us@h"), num, 0, 7}; }
np_pid their_pid(uint32_t num) { return (np_pid){np_name_id("them@h"), num, 1, 9}; }

/* A send from our_pid(from) to their_pid(1) with a payload {Seq, Binary of len bytes} in *buf. */
np_control make_send(np_buf *buf, uint32_t from, uint32_t seq, size_t len) {
    np_out out;
    np_control c;
    memset(&c, 0, sizeof c);
    c.kind = NP_CTL_SEND;
    c.from = our_pid(from);
    c.to = their_pid(1);
    np_buf_clear(buf, SIZE_MAX);
    np_out_init(&out, buf, SIZE_MAX);
    np_out_tuple(&out, 2);
    np_out_int(&out, seq);
    memset(np_out_binary_reserve(&out, len), (int)(seq & 0xFF), len);
    c.payload = np_out_view(&out);
    return c;
}

int owner_send_class(owner *o, uint32_t from, uint32_t seq, size_t len, np_send_class class) {
    np_buf buf = NP_BUF_INIT;
    np_control c = make_send(&buf, from, seq, len);
    int rc = np_session_send(o->s, &c, class);
    np_buf_fini(&buf);
    return rc;
}

int owner_send(owner *o, uint32_t from, uint32_t seq, size_t len) {
    return owner_send_class(o, from, seq, len, NP_SEND_NORMAL);
}

/* Takes a delivered message apart again; checks its filling. */
void owner_take_send(owner *o, uint32_t *from, uint32_t *seq, size_t *len) {
    np_bytes tuple = owner_take(o), payload = owner_take(o), binary;
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

void owner_expect_send(owner *o, uint32_t from, uint32_t seq, size_t len) {
    uint32_t got_from, got_seq;
    size_t got_len;
    owner_take_send(o, &got_from, &got_seq, &got_len);
    assert_int_equal(got_from, from);
    assert_int_equal(got_seq, seq);
    assert_int_equal(got_len, len);
}

/* Writes at most `most` bytes of what one session has to say to another; returns how many. */
size_t owner_carry(owner *from, owner *to, size_t most) {
    np_bytes span;
    if (np_session_output(from->s, &span, 1) == 0)
        return 0;
    size_t n = span.len < most ? span.len : most;
    if (to != NULL)
        assert_int_equal(owner_feed(to, span.data, n), 0);
    np_session_sent(from->s, n, 0);
    return n;
}

void owner_carry_all(owner *from, owner *to) {
    while (owner_carry(from, to, SIZE_MAX) > 0)
        ;
    assert_int_equal(np_session_queued(from->s), 0);
}
