/*
 * A session against any bytes. Byte 0 chooses the framing and how the rest is read: as the stream itself, or as
 * packets with two bytes of length that are framed here (so that a mutation need not get lengths right). Byte 1 is
 * the size of the pieces.
 *
 * What is delivered must not depend on the pieces. Whatever is delivered is sent on, and what comes out of that must
 * be taken by a third session and be the same again.
 */
#include "base/assert.h"
#include "dist/flags.h"
#include "dist/session.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PASS_THROUGH = 1, PACKETS = 2 };

static const np_session_limits limits = {1 << 16, 1 << 22, 60000};

typedef struct owner {
    np_session *session;
    np_session *forward; /* NULL: none */
    np_buf log;          /* what was delivered, encoded again */
} owner;

static int take(void *arg, const np_control *control) {
    owner *o = arg;
    bool has_payload;
    char text[64];
    (void)np_control_text(control, text, sizeof text);
    NP_ASSERT(strlen(text) < sizeof text);
    int rc = np_control_encode(control, NP_DFLAGS_OURS, &o->log, &has_payload);
    /* Only OTP 28's exit signals to a name or an alias have no form of ours. */
    NP_ASSERT(rc == 0 || (rc == NP_EINVAL && control->kind == NP_CTL_EXIT2));
    if (rc == 0 && has_payload) {
        np_bytes payload = np_in_bytes(&control->payload);
        NP_ASSERT(payload.len > 0 && np_buf_append(&o->log, payload.data, payload.len) == 0);
    }
    if (o->forward != NULL)
        NP_ASSERT(np_session_send(o->forward, control, NP_SEND_NORMAL) == rc);
    return 0;
}

static void open_owner(owner *o, uint64_t flags, np_session *forward) {
    np_session_sink sink = {o, take};
    *o = (owner){.forward = forward};
    o->session = np_session_new(&sink, flags, &limits, 0);
    NP_ASSERT(o->session != NULL);
}

static void close_owner(owner *o) {
    np_session_destroy(&o->session);
    np_buf_fini(&o->log);
}

static int feed(np_session *session, const uint8_t *data, size_t size, size_t piece) {
    int rc = 0;
    for (size_t at = 0, len; at < size && rc == 0; at += len) {
        len = size - at < piece ? size - at : piece;
        uint8_t *copy = malloc(len);
        NP_ASSERT(copy != NULL);
        memcpy(copy, data + at, len);
        rc = np_session_feed(session, copy, len, 0);
        free(copy);
    }
    NP_ASSERT((rc != 0) == (np_session_reason(session)[0] != '\0'));
    return rc;
}

/* [length:16, packet]... as a stream; the last one may be cut. */
static void frame(np_buf *stream, const uint8_t *data, size_t size) {
    while (size >= 2) {
        size_t len = np_get_u16(data);
        if (len > size - 2)
            len = size - 2;
        NP_ASSERT(np_buf_append_u32(stream, (uint32_t)len) == 0 && np_buf_append(stream, data + 2, len) == 0);
        data += 2 + len;
        size -= 2 + len;
    }
}

static void same(const np_buf *a, const np_buf *b) {
    NP_ASSERT(np_buf_len(a) == np_buf_len(b));
    NP_ASSERT(np_buf_len(a) == 0 || memcmp(np_buf_head(a), np_buf_head(b), np_buf_len(a)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    uint64_t flags = data[0] & PASS_THROUGH ? NP_DFLAGS_OURS & ~NP_DFLAG_FRAGMENTS : NP_DFLAGS_OURS;
    size_t piece = 1 + data[1];
    np_buf stream = NP_BUF_INIT;
    if (data[0] & PACKETS)
        frame(&stream, data + 2, size - 2);
    else
        NP_ASSERT(np_buf_append(&stream, data + 2, size - 2) == 0);

    owner whole, pieces, third;
    open_owner(&third, flags, NULL);
    open_owner(&pieces, flags, NULL);
    open_owner(&whole, flags, third.session);
    int rc = feed(whole.session, np_buf_head(&stream), np_buf_len(&stream), SIZE_MAX);
    NP_ASSERT(feed(pieces.session, np_buf_head(&stream), np_buf_len(&stream), piece) == rc);
    NP_ASSERT(strcmp(np_session_reason(whole.session), np_session_reason(pieces.session)) == 0);
    same(&whole.log, &pieces.log);

    /* third forwards into its own other end. */
    owner last;
    np_bytes span;
    open_owner(&last, flags, NULL);
    while (np_session_output(third.session, &span, 1) > 0) {
        size_t n = span.len < piece ? span.len : piece;
        NP_ASSERT(feed(last.session, span.data, n, SIZE_MAX) == 0);
        np_session_sent(third.session, n, 0);
    }
    NP_ASSERT(np_session_queued(third.session) == 0);
    same(&whole.log, &last.log);
    close_owner(&last);
    close_owner(&whole);
    close_owner(&pieces);
    close_owner(&third);
    np_buf_fini(&stream);
    return 0;
}
