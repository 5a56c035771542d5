/*
 * session.c - one established connection: framing and ticks; fragments.c reassembles, sendq.c queues what goes out,
 * control.c knows the messages.
 *
 * No IO: bytes and `now` in, control messages, bytes and the next deadline out. Main thread; owned and driven by
 * node/peer.c. Framing mirrors erts/emulator/beam/dist.c (erts_net_message, erts_decode_dist_ext); ticks mirror
 * dist_util's con_loop.
 */
#include "dist/session.h"

#include "base/assert.h"
#include "base/limits.h"
#include "dist/fragments.h"
#include "dist/packet.h"
#include "dist/sendq.h"
#include "term/validate.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REASON_MAX = 512,
    PATIENCE_MAX = 1024,     /* a MONITOR_P of more bytes counts as so many */
    PATIENCE_OWED = 64,      /* no more than so many are waited for at a time */
    REASON_BYTES = 32,       /* of the offending packet, in hex */
    IN_KEEP_BYTES = 1 << 20, /* the buffer for an incomplete packet gives back what it has beyond this */
};

struct np_session {
    np_session_sink sink;
    np_session_limits limits;
    uint64_t flags;
    bool header_mode;
    bool paused;
    int error;
    uint64_t heard_ms; /* last bytes from the peer, or when their absence began to count */
    uint64_t wrote_ms; /* last bytes to the peer, or when it was last looked whether a tick is due */
    np_buf in;         /* an incomplete packet, with its length */
    np_buf names;      /* converted legacy atoms of the control message at hand */
    np_fragments fragments;
    np_sendq out;
    bool impatient;        /* nothing may wait until the next bytes have come */
    uint32_t owed;         /* DEMONITOR_Ps that are to come, since their calls have been answered */
    uint32_t monitor_size; /* of the last MONITOR_P with its length; its DEMONITOR_P has the same */
    np_session_stats stats;
    char reason[REASON_MAX];
};

/* ---- ends ---- */

/* "packet of 7 bytes is no distribution message: control tuple has an unknown opcode (83 44 00 68 01 61 63)" */
static int end(np_session *s, int error, const char *what, const char *why, const uint8_t *packet, size_t len) {
    const char *verdict = error == NP_EPROTO || error == NP_EBADTERM ? "is no distribution message" : "cannot be taken";
    size_t shown = len < REASON_BYTES ? len : REASON_BYTES, size = sizeof s->reason;
    size_t at = (size_t)snprintf(s->reason, size, "%s of %zu bytes %s: %s (", what, len, verdict, why);
    NP_ASSERT(at + 3 * REASON_BYTES + 8 < size); /* all of these texts are ours */
    for (size_t i = 0; i < shown; i++)
        at += (size_t)snprintf(s->reason + at, size - at, i > 0 ? " %02x" : "%02x", packet[i]);
    snprintf(s->reason + at, size - at, shown < len ? " ...)" : ")");
    s->error = error;
    return error;
}

static int end_packet(np_session *s, int error, const uint8_t *packet, size_t len, const char *why) {
    return end(s, error, "packet", why, packet, len);
}

/* ---- receiving ---- */

static int deliver(np_session *s, np_in tuple, np_in payload, const uint8_t *packet, size_t len, const char *what) {
    np_control control;
    const char *why = "";
    int rc = np_control_decode(&control, tuple, payload, &s->names, &why);
    if (rc < 0)
        return end(s, rc, what, why, packet, len);
    if (control.kind == NP_CTL_MONITOR) {
        s->monitor_size = (uint32_t)(len < PATIENCE_MAX ? len + 4 : PATIENCE_MAX);
    } else if (control.kind == NP_CTL_DEMONITOR && s->owed > 0) {
        s->owed--;
    }
    rc = s->sink.control(s->sink.arg, &control);
    if (rc < 0) {
        char text[REASON_MAX / 2];
        s->error = rc;
        snprintf(s->reason, sizeof s->reason, "the node gave up on %s: %s",
                 np_control_text(&control, text, sizeof text), np_strerror(rc));
    }
    return rc;
}

/* Where the control tuple at data ends; an error has ended the session. */
static int64_t control_end(np_session *s, const uint8_t *data, size_t len, const uint8_t *packet, size_t packet_len) {
    int64_t n = np_term_validate(data, len);
    if (n >= 0)
        return n;
    return end_packet(s, (int)n, packet, packet_len,
                      n == NP_ELIMIT ? "control tuple is nested too deep" : "control tuple is malformed or cut short");
}

/* Opens the payload that fills data, if there is any. */
static int open_payload(np_session *s, np_in *payload, const uint8_t *data, size_t len, const uint8_t *packet,
                        size_t packet_len, const char *what) {
    *payload = (np_in){data, 0, 0};
    if (len == 0)
        return 0;
    int rc = np_term_open(payload, data, len);
    if (rc == 0)
        return 0;
    const char *why = rc == NP_ELIMIT ? "payload is nested too deep" : "payload is malformed, cut short or too long";
    return end(s, rc, what, why, packet, packet_len);
}

/* A control tuple and maybe a payload, without fragments. */
static int take_whole(np_session *s, const uint8_t *packet, size_t len, size_t head) {
    np_in payload;
    int64_t n = control_end(s, packet + head, len - head, packet, len);
    if (n < 0)
        return (int)n;
    const uint8_t *data = packet + head + n;
    size_t left = len - head - (size_t)n;
    if (!s->header_mode && left > 0) {
        if (data[0] != NP_PACKET_VERSION)
            return end_packet(s, NP_EPROTO, packet, len, "payload does not begin with 131");
        data++;
        left--;
        if (left == 0)
            return end_packet(s, NP_EPROTO, packet, len, "payload is cut short");
    }
    int rc = open_payload(s, &payload, data, left, packet, len, "packet");
    if (rc < 0)
        return rc;
    return deliver(s, (np_in){packet + head, 0, (size_t)n}, payload, packet, len, "packet");
}

static int take_first_fragment(np_session *s, const uint8_t *packet, size_t len) {
    size_t head = NP_PACKET_FRAGMENT_HEAD + 1;
    const char *why;
    if (len < head)
        return end_packet(s, NP_EPROTO, packet, len, "fragment header is cut short");
    uint64_t sequence = np_get_u64(packet + 2), id = np_get_u64(packet + 10);
    if (packet[NP_PACKET_FRAGMENT_HEAD] != 0)
        return end_packet(s, NP_EPROTO, packet, len, "atom cache references, which were not negotiated");
    if (id == 0)
        return end_packet(s, NP_EPROTO, packet, len, "fragment id 0");
    if (id == 1)
        return take_whole(s, packet, len, head);
    int64_t control_len = control_end(s, packet + head, len - head, packet, len);
    if (control_len < 0)
        return (int)control_len;
    int rc = np_fragments_first(&s->fragments, sequence, id, packet + head, len - head, (size_t)control_len, &why);
    return rc < 0 ? end_packet(s, rc, packet, len, why) : 0;
}

static int take_next_fragment(np_session *s, const uint8_t *packet, size_t len) {
    np_fragmented *message = NULL;
    const char *why;
    np_in payload;
    if (len < NP_PACKET_FRAGMENT_HEAD)
        return end_packet(s, NP_EPROTO, packet, len, "fragment header is cut short");
    int rc = np_fragments_next(&s->fragments, np_get_u64(packet + 2), np_get_u64(packet + 10),
                               packet + NP_PACKET_FRAGMENT_HEAD, len - NP_PACKET_FRAGMENT_HEAD, &message, &why);
    if (rc < 0)
        return end_packet(s, rc, packet, len, why);
    if (rc == 0)
        return 0;
    const uint8_t *data = np_buf_head(&message->data);
    size_t data_len = np_buf_len(&message->data), control_len = message->control_len;
    rc = open_payload(s, &payload, data + control_len, data_len - control_len, data, data_len, "fragmented message");
    if (rc == 0)
        rc = deliver(s, (np_in){data, 0, control_len}, payload, data, data_len, "fragmented message");
    np_fragmented_destroy(&message);
    return rc;
}

static int take_with_header(np_session *s, const uint8_t *packet, size_t len) {
    if (len < 2 || packet[0] != NP_PACKET_VERSION)
        return end_packet(s, NP_EPROTO, packet, len, "it does not begin with a distribution header");
    switch (packet[1]) {
    case NP_PACKET_DIST_HEADER:
        if (len < 3)
            return end_packet(s, NP_EPROTO, packet, len, "distribution header is cut short");
        if (packet[2] != 0)
            return end_packet(s, NP_EPROTO, packet, len, "atom cache references, which were not negotiated");
        return take_whole(s, packet, len, 3);
    case NP_PACKET_FRAG_HEADER: s->stats.fragments_in++; return take_first_fragment(s, packet, len);
    case NP_PACKET_FRAG_CONT: s->stats.fragments_in++; return take_next_fragment(s, packet, len);
    default: return end_packet(s, NP_EPROTO, packet, len, "it does not begin with a distribution header");
    }
}

static int take_packet(np_session *s, const uint8_t *packet, size_t len) {
    if (len == 0) {
        s->stats.ticks_in++;
        return 0;
    }
    s->stats.packets_in++;
    if (s->header_mode)
        return take_with_header(s, packet, len);
    if (len < 2 || packet[0] != NP_PACKET_PASS_THROUGH || packet[1] != NP_PACKET_VERSION)
        return end_packet(s, NP_EPROTO, packet, len, "it does not begin with 112, 131");
    return take_whole(s, packet, len, 2);
}

static int check_len(np_session *s, size_t len) {
    if (len <= s->limits.message_max)
        return 0;
    snprintf(s->reason, sizeof s->reason, "packet of %zu bytes is larger than the limit of %zu", len,
             s->limits.message_max);
    return s->error = NP_ELIMIT;
}

static int keep(np_session *s, const uint8_t *data, size_t len) {
    if (len == 0 || np_buf_append(&s->in, data, len) == 0)
        return 0;
    snprintf(s->reason, sizeof s->reason, "out of memory for a packet of more than %zu bytes", np_buf_len(&s->in));
    return s->error = NP_ENOMEM;
}

/* Takes what the packet begun in s->in still lacks. Returns the bytes taken or an error. */
static int64_t complete(np_session *s, const uint8_t *data, size_t len) {
    size_t taken = 0, want = NP_PACKET_LEN_BYTES;
    for (int part = 0; part < 2; part++) {
        size_t have = np_buf_len(&s->in);
        if (have < want) {
            size_t n = want - have < len - taken ? want - have : len - taken;
            int rc = keep(s, data + taken, n);
            if (rc < 0)
                return rc;
            taken += n;
            if (have + n < want)
                return (int64_t)taken;
        }
        if (part == 0) {
            size_t packet = np_get_u32(np_buf_head(&s->in));
            int rc = check_len(s, packet);
            if (rc < 0)
                return rc;
            want = NP_PACKET_LEN_BYTES + packet;
        }
    }
    int rc = take_packet(s, np_buf_head(&s->in) + NP_PACKET_LEN_BYTES, want - NP_PACKET_LEN_BYTES);
    np_buf_clear(&s->in, IN_KEEP_BYTES);
    return rc < 0 ? rc : (int64_t)taken;
}

int np_session_feed(np_session *session, const uint8_t *data, size_t len, uint64_t now_ms) {
    np_session *s = session;
    if (s->error != 0)
        return s->error;
    if (len == 0)
        return 0;
    s->impatient = false;
    s->heard_ms = now_ms;
    s->stats.bytes_in += len;
    if (np_buf_len(&s->in) > 0) {
        int64_t n = complete(s, data, len);
        if (n < 0)
            return (int)n;
        data += n;
        len -= (size_t)n;
    }
    while (len >= NP_PACKET_LEN_BYTES) {
        size_t packet = np_get_u32(data);
        int rc = check_len(s, packet);
        if (rc < 0)
            return rc;
        if (len - NP_PACKET_LEN_BYTES < packet)
            break;
        rc = take_packet(s, data + NP_PACKET_LEN_BYTES, packet);
        if (rc < 0)
            return rc;
        data += NP_PACKET_LEN_BYTES + packet;
        len -= NP_PACKET_LEN_BYTES + packet;
    }
    return keep(s, data, len);
}

/* ---- sending ---- */

int np_session_send_owned(np_session *session, const np_control *control, np_send_class send_class, np_buf *owner) {
    if (session->error != 0)
        return NP_ECLOSED;
    size_t bound = session->limits.out_hard_bytes + (send_class == NP_SEND_URGENT ? NP_OUT_RESERVE_BYTES : 0);
    int error = np_sendq_push(&session->out, control, bound, owner);
    if (error == 0 && control->kind == NP_CTL_ALIAS_SEND && control->owed)
        session->owed++;
    return error;
}

int np_session_send(np_session *session, const np_control *control, np_send_class send_class) {
    return np_session_send_owned(session, control, send_class, NULL);
}

size_t np_session_patience(const np_session *session) {
    if (session->owed == 0 || session->impatient || session->monitor_size == 0 || np_buf_len(&session->in) > 0)
        return 1;
    uint32_t owed = session->owed < PATIENCE_OWED ? session->owed : PATIENCE_OWED;
    return (owed + 1) * (size_t)session->monitor_size + 1;
}

/* Half of what was waited for in vain is given up: an alias that outlives its answers has no DEMONITOR_P for each. */
void np_session_impatient(np_session *session) {
    session->impatient = true;
    session->owed /= 2;
}

size_t np_session_output(np_session *session, np_bytes *spans, size_t max) {
    if (max == 0)
        return 0;
    spans[0] = np_sendq_output(&session->out);
    return spans[0].len > 0 ? 1 : 0;
}

void np_session_sent(np_session *session, size_t bytes, uint64_t now_ms) {
    if (bytes == 0)
        return;
    np_sendq_sent(&session->out, bytes);
    session->stats.bytes_out += bytes;
    session->wrote_ms = now_ms;
}

size_t np_session_queued(const np_session *session) { return np_sendq_len(&session->out); }

/* ---- ticks ---- */

static uint64_t tick_ms(const np_session *s) { return s->limits.ticktime_ms / 4; }
static uint64_t silence_ms(const np_session *s) { return s->limits.ticktime_ms + tick_ms(s); }

uint64_t np_session_deadline(const np_session *session) {
    if (session->error != 0)
        return UINT64_MAX;
    uint64_t tick = session->wrote_ms + tick_ms(session), silence = session->heard_ms + silence_ms(session);
    return session->paused || tick < silence ? tick : silence;
}

int np_session_tick(np_session *session, uint64_t now_ms) {
    np_session *s = session;
    if (s->error != 0)
        return s->error;
    if (!s->paused && now_ms >= s->heard_ms + silence_ms(s)) {
        snprintf(s->reason, sizeof s->reason, "nothing heard for %llu ms (net_ticktime is %llu ms)",
                 (unsigned long long)(now_ms - s->heard_ms), (unsigned long long)s->limits.ticktime_ms);
        return s->error = NP_ETIMEOUT;
    }
    if (now_ms < s->wrote_ms + tick_ms(s))
        return 0;
    /* What is queued says as much as a tick, as soon as it gets through. */
    if (np_sendq_len(&s->out) == 0) {
        if (np_sendq_tick(&s->out) < 0)
            return 0; /* out of memory: next time */
        s->stats.ticks_out++;
    }
    s->wrote_ms = now_ms;
    return 0;
}

void np_session_reading(np_session *session, bool paused, uint64_t now_ms) {
    session->paused = paused;
    session->heard_ms = now_ms;
}

/* ---- life ---- */

np_session *np_session_new(const np_session_sink *sink, uint64_t flags, const np_session_limits *limits,
                           uint64_t now_ms) {
    NP_ASSERT(limits->message_max > 0 && limits->out_hard_bytes > 0 && limits->ticktime_ms >= 4);
    np_session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->sink = *sink;
    s->limits = *limits;
    s->flags = flags;
    s->header_mode = (flags & (NP_DFLAG_FRAGMENTS | NP_DFLAG_DIST_HDR_ATOM_CACHE)) != 0;
    s->heard_ms = s->wrote_ms = now_ms;
    np_buf_init(&s->in);
    np_buf_init(&s->names);
    np_fragments_init(&s->fragments, limits->message_max);
    np_sendq_init(&s->out, flags);
    return s;
}

void np_session_destroy(np_session **session) {
    np_session *s = *session;
    if (s == NULL)
        return;
    np_buf_fini(&s->in);
    np_buf_fini(&s->names);
    np_fragments_fini(&s->fragments);
    np_sendq_fini(&s->out);
    free(s);
    *session = NULL;
}

const char *np_session_reason(const np_session *session) { return session->reason; }

const np_session_stats *np_session_get_stats(const np_session *session) {
    np_session *s = (np_session *)session; /* the queue counts for itself */
    s->stats.packets_out = s->out.packets;
    s->stats.fragments_out = s->out.fragments;
    return &s->stats;
}
