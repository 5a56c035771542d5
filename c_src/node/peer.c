/*
 * peer.c - one connection: moves bytes between a stream and the handshake, then the session, and keeps their times.
 * Main thread; used by peers.c only.
 */
#include "node/peer.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    FLUSH_BYTES = 1 << 20, /* written for one peer in one turn before the others have theirs */
    PAUSE_MS = 1000,       /* at a time: two nodes that stop reading each other for good would wait for ever */
    READ_MS = 100,         /* ... and at least this long in between */
    STALLED_MS = 1000,     /* a timer this late: it was we who stood still (SIGSTOP, a suspended machine) */
    LULL_MS = 2,           /* how long bytes may wait for more of them, see np_session_patience */
};

static uint64_t now_of(const np_peer *peer) { return np_loop_now(peer->settings->loop); }
static np_timers *timers_of(const np_peer *peer) { return np_loop_timers(peer->settings->loop); }
static const np_peer_owner *owner_of(const np_peer *peer) { return &peer->settings->owner; }

/* ---- ends ---- */

void np_peer_close(np_peer *peer) {
    if (peer->state == NP_PEER_CLOSED)
        return;
    peer->state = NP_PEER_CLOSED;
    np_timers_stop(timers_of(peer), &peer->timer);
    np_timers_stop(timers_of(peer), &peer->unpause);
    np_timers_stop(timers_of(peer), &peer->lull);
    np_task_cancel(&peer->again);
    np_stream_close(&peer->stream);
}

void np_peer_destroy(np_peer **from) {
    np_peer *peer = *from;
    if (peer == NULL)
        return;
    *from = NULL;
    np_peer_close(peer);
    np_handshake_destroy(&peer->handshake);
    np_session_destroy(&peer->session);
    free(peer);
}

/* The reason may be in the handshake or the session, which live on until destroy. */
static void fail(np_peer *peer, int error, const char *reason) {
    if (peer->state == NP_PEER_CLOSED)
        return;
    np_peer_close(peer);
    owner_of(peer)->closed(owner_of(peer)->arg, peer, error, reason);
}

/* ---- reading less: back-pressure ---- */

static void unpause(np_peer *peer) {
    if (!peer->paused)
        return;
    peer->paused = false;
    peer->read_since_ms = UINT64_MAX;
    np_timers_stop(timers_of(peer), &peer->unpause);
    np_session_reading(peer->session, false, now_of(peer));
    np_stream_read_pause(peer->stream, false);
}

static void on_unpause(np_timer *timer, void *arg) {
    (void)timer;
    unpause(arg);
}

/* A peer that has us queue much gets to say less for a while. */
static void press(np_peer *peer) {
    size_t queued = np_session_queued(peer->session);
    size_t soft = peer->settings->out_soft_bytes;
    uint64_t now = now_of(peer);
    if (peer->paused) {
        if (queued < soft / 2)
            unpause(peer);
        return;
    }
    if (queued <= soft || peer->read_since_ms == UINT64_MAX || now - peer->read_since_ms < READ_MS)
        return;
    if (np_timers_start(timers_of(peer), &peer->unpause, now + PAUSE_MS, on_unpause, peer) < 0)
        return;
    peer->paused = true;
    np_session_reading(peer->session, true, now);
    np_stream_read_pause(peer->stream, true);
}

/* ---- reading later: patience ---- */

static void on_lull(np_timer *timer, void *arg) {
    np_peer *peer = arg;
    (void)timer;
    np_session_impatient(peer->session);
    peer->watermark = 1;
    np_stream_read_watermark(peer->stream, 1);
}

static void set_watermark(np_peer *peer) {
    uint32_t bytes = (uint32_t)np_session_patience(peer->session);
    if (bytes == peer->watermark)
        return;
    if (bytes > 1 && !np_timer_running(&peer->lull) &&
        np_timers_start(timers_of(peer), &peer->lull, now_of(peer) + LULL_MS, on_lull, peer) < 0)
        return;
    peer->watermark = bytes;
    np_stream_read_watermark(peer->stream, bytes);
}

/* ---- writing ---- */

static void make_dirty(np_peer *peer) { owner_of(peer)->dirty(owner_of(peer)->arg, peer); }

static void on_again(void *arg) { make_dirty(arg); }

/* Keeps the spans to a sum of FLUSH_BYTES. */
static size_t cut_spans(np_bytes *spans, size_t count) {
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        if (spans[i].len >= FLUSH_BYTES - total) {
            spans[i].len = FLUSH_BYTES - total;
            return i + 1;
        }
        total += spans[i].len;
    }
    return count;
}

void np_peer_flush(np_peer *peer) {
    if (peer->state != NP_PEER_UP || peer->ending)
        return;
    size_t written = 0;
    while (!np_stream_busy(peer->stream)) {
        np_bytes spans[NP_STREAM_SPANS_MAX];
        size_t count = np_session_output(peer->session, spans, NP_STREAM_SPANS_MAX);
        if (count == 0)
            break;
        if (written >= FLUSH_BYTES) {
            np_loop_defer(peer->settings->loop, &peer->again, on_again, peer);
            break;
        }
        int64_t n = np_stream_write(peer->stream, spans, cut_spans(spans, count));
        if (n < 0)
            return; /* the stream's `closed` follows */
        np_session_sent(peer->session, (size_t)n, now_of(peer));
        written += (size_t)n;
    }
    press(peer);
    set_watermark(peer);
}

void np_peer_end(np_peer *peer) {
    if (peer->state != NP_PEER_UP || peer->ending)
        return;
    unpause(peer);
    peer->ending = true;
    np_stream_read_watermark(peer->stream, 1);
    np_stream_write_end(peer->stream);
}

bool np_peer_drained(const np_peer *peer) {
    return peer->state != NP_PEER_UP || peer->ending ||
           (np_session_queued(peer->session) == 0 && !np_stream_busy(peer->stream));
}

static void on_written(void *arg, size_t bytes) {
    np_peer *peer = arg;
    if (peer->state != NP_PEER_UP)
        return;
    np_session_sent(peer->session, bytes, now_of(peer));
    make_dirty(peer);
}

/* ---- the session ---- */

static void on_deadline(np_timer *timer, void *arg);

/*
 * The session's deadline only ever moves back as traffic goes on: the timer is not touched by traffic, it looks again
 * when it fires.
 */
static void await_deadline(np_peer *peer) {
    uint64_t now = now_of(peer);
    uint64_t due = np_session_deadline(peer->session);
    if (due <= now)
        due = now + 1;
    if (np_timers_start(timers_of(peer), &peer->timer, due, on_deadline, peer) < 0)
        fail(peer, NP_ENOMEM, "out of memory");
}

static void on_deadline(np_timer *timer, void *arg) {
    np_peer *peer = arg;
    if (now_of(peer) - timer->due_ms >= STALLED_MS)
        np_session_reading(peer->session, peer->paused, now_of(peer));
    if (np_session_deadline(peer->session) <= now_of(peer)) {
        int error = np_session_tick(peer->session, now_of(peer));
        if (error < 0) {
            fail(peer, error, np_session_reason(peer->session));
            return;
        }
        if (np_session_queued(peer->session) > 0)
            make_dirty(peer);
    }
    await_deadline(peer);
}

static int on_control(void *arg, const np_control *control) {
    np_peer *peer = arg;
    if (peer->doom != NULL)
        return NP_ECLOSED;
    return owner_of(peer)->control(owner_of(peer)->arg, peer, control);
}

static void feed(np_peer *peer, const uint8_t *data, size_t len) {
    if (peer->read_since_ms == UINT64_MAX)
        peer->read_since_ms = now_of(peer);
    int error = np_session_feed(peer->session, data, len, now_of(peer));
    if (error < 0)
        fail(peer, error, peer->doom != NULL ? peer->doom : np_session_reason(peer->session));
    else if (peer->state == NP_PEER_UP)
        set_watermark(peer);
}

/* ---- the handshake ---- */

static const char *ask_cookie(void *arg, const char *name) {
    np_peer *peer = arg;
    return owner_of(peer)->cookie(owner_of(peer)->arg, name);
}

static np_handshake_verdict ask_verdict(void *arg, const char *name) {
    np_peer *peer = arg;
    return owner_of(peer)->verdict(owner_of(peer)->arg, peer, name);
}

static bool ask_replace(void *arg, const char *name) {
    np_peer *peer = arg;
    return owner_of(peer)->replace(owner_of(peer)->arg, peer, name);
}

static uint32_t new_challenge(void *arg) {
    uint32_t challenge;
    (void)arg;
    np_random_bytes(&challenge, sizeof(challenge));
    return challenge;
}

static void on_handshake_timeout(np_timer *timer, void *arg) {
    np_peer *peer = arg;
    (void)timer;
    fail(peer, NP_ETIMEOUT,
         peer->state == NP_PEER_CONNECTING ? "no connection within 7 s"
                                           : "it said nothing for 7 s during the handshake");
}
_Static_assert(NP_HANDSHAKE_MS == 7000, "the texts above say so");

static int await_step(np_peer *peer) {
    return np_timers_start(timers_of(peer), &peer->timer, now_of(peer) + NP_HANDSHAKE_MS, on_handshake_timeout, peer);
}

/*
 * Writes what the handshake wants to say. Some hundred bytes in all: a socket that does not take them is not read by
 * anybody.
 */
static bool write_handshake(np_peer *peer) {
    np_buf *out = np_handshake_output(peer->handshake);
    np_bytes span = {np_buf_head(out), np_buf_len(out)};
    if (span.len == 0)
        return true;
    if (np_stream_busy(peer->stream) || np_stream_write(peer->stream, &span, 1) != (int64_t)span.len)
        return false;
    np_buf_consume(out, span.len);
    return true;
}

/* From the handshake to the session. */
static void establish(np_peer *peer) {
    const np_session_sink sink = {.arg = peer, .control = on_control};
    peer->flags = np_handshake_flags(peer->handshake);
    peer->peer_flags = np_handshake_peer_flags(peer->handshake);
    peer->creation = np_handshake_creation(peer->handshake);
    peer->session = np_session_new(&sink, peer->flags, &peer->settings->limits, now_of(peer));
    if (peer->session == NULL) {
        fail(peer, NP_ENOMEM, "out of memory");
        return;
    }
    peer->state = NP_PEER_UP;
    peer->watermark = 1;
    int error = owner_of(peer)->up(owner_of(peer)->arg, peer);
    if (error < 0)
        fail(peer, error, np_strerror(error));
    else if (peer->state == NP_PEER_UP)
        await_deadline(peer);
}

/* Returns the bytes that went to the handshake. */
static size_t shake(np_peer *peer, const uint8_t *data, size_t len) {
    size_t used = np_handshake_feed(peer->handshake, data, len);
    bool written = write_handshake(peer);
    if (np_handshake_get_state(peer->handshake) == NP_HANDSHAKE_FAILED) {
        fail(peer, np_handshake_error(peer->handshake), np_handshake_reason(peer->handshake));
    } else if (!written) {
        fail(peer, NP_EIO, "it does not read during the handshake");
    } else if (np_handshake_get_state(peer->handshake) == NP_HANDSHAKE_DONE) {
        establish(peer);
    } else if (np_handshake_step(peer->handshake) != peer->step) {
        peer->step = np_handshake_step(peer->handshake);
        if (await_step(peer) < 0)
            fail(peer, NP_ENOMEM, "out of memory");
    }
    return used;
}

/* ---- the stream ---- */

static void on_connected(void *arg) {
    np_peer *peer = arg;
    peer->state = NP_PEER_HANDSHAKE;
    snprintf(peer->address, sizeof(peer->address), "%s", np_stream_peer(peer->stream));
    if (await_step(peer) < 0 || !write_handshake(peer))
        fail(peer, NP_EIO, "it does not read during the handshake");
}

static void on_data(void *arg, const uint8_t *data, size_t len) {
    np_peer *peer = arg;
    peer->heard = true;
    if (peer->state == NP_PEER_HANDSHAKE) {
        size_t used = shake(peer, data, len);
        data += used;
        len -= used;
    }
    if (peer->state == NP_PEER_UP && len > 0 && !peer->ending)
        feed(peer, data, len);
}

static void on_closed(void *arg, int error, const char *why) {
    np_peer *peer = arg;
    peer->stream = NULL;
    if (peer->state == NP_PEER_HANDSHAKE && peer->dialled && error == NP_ECLOSED && peer->step >= 2)
        fail(peer, NP_EAUTH,
             "it hung up on our answer to its challenge: its cookie differs from ours, check cookie_file");
    else
        fail(peer, error, peer->doom != NULL ? peer->doom : why);
}

static const np_stream_events stream_events = {
    .connected = on_connected, .data = on_data, .written = on_written, .closed = on_closed};

/* ---- interface ---- */

/* The stream is not there yet. */
static np_peer *peer_new(const np_peer_settings *settings, const char *name) {
    const np_handshake_env env = {
        .cookie = ask_cookie, .verdict = ask_verdict, .replace = ask_replace, .challenge = new_challenge};
    np_peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL)
        return NULL;
    np_handshake_env own = env;
    own.arg = peer;
    peer->settings = settings;
    peer->dialled = name != NULL;
    peer->state = name != NULL ? NP_PEER_CONNECTING : NP_PEER_HANDSHAKE;
    peer->handshake = np_handshake_new(&own, settings->self, name, settings->flags, settings->creation, 2);
    if (peer->handshake == NULL || await_step(peer) < 0)
        np_peer_destroy(&peer);
    return peer;
}

int np_peer_dial(np_peer **to, const np_peer_settings *settings, const char *name, const char *host, uint16_t port) {
    np_peer *peer = peer_new(settings, name);
    if (peer == NULL)
        return NP_ENOMEM;
    int error = np_stream_connect(&peer->stream, settings->loop, host, port, &stream_events, peer);
    if (error < 0) {
        np_peer_destroy(&peer);
        return error;
    }
    snprintf(peer->address, sizeof(peer->address), "%s", np_stream_peer(peer->stream));
    *to = peer;
    return 0;
}

int np_peer_accept(np_peer **to, const np_peer_settings *settings, np_stream *stream) {
    np_peer *peer = peer_new(settings, NULL);
    if (peer == NULL) {
        np_stream_close(&stream);
        return NP_ENOMEM;
    }
    peer->stream = stream;
    snprintf(peer->address, sizeof(peer->address), "%s", np_stream_peer(stream));
    np_stream_adopt(stream, &stream_events, peer);
    *to = peer;
    return 0;
}

const char *np_peer_name(const np_peer *peer) { return np_handshake_peer(peer->handshake); }
