/*
 * session.h - one established distribution connection: packets, fragments, ticks and the send queue. A machine
 * without IO.
 *
 * In: bytes; out: control messages to the sink. In: signals to send; out: bytes. The owner (node/peer.c) moves bytes
 * between it and a socket and calls np_session_tick when np_session_deadline has come.
 *
 * Receiving. Whole packets are read where they lie; only an incomplete one is copied. Every control tuple and payload
 * passes the validator once. Anything the protocol does not allow ends the session: feed returns an error,
 * np_session_reason says why.
 *
 * Sending. Small messages are appended to the output at once. Messages above NP_FRAGMENT_BYTES are cut into fragments
 * (if the peer takes them), several at a time in turn, fed to the output only while that is short, so that small
 * messages of other senders pass them. Signals of one sender never overtake each other.
 *
 * Bounds. What is queued in total is bounded (see the limits); a packet, a fragmented message, the open fragmented
 * messages likewise.
 */
#ifndef NP_DIST_SESSION_H
#define NP_DIST_SESSION_H

#include "dist/control.h"
#include "dist/flags.h"

typedef struct np_session np_session;

typedef struct np_session_sink {
    void *arg;
    /*
     * One control message; everything in it is valid during the call only. May call np_session_send, not feed or
     * destroy. If it returns an error the session ends with it.
     */
    int (*control)(void *arg, const np_control *control);
} np_session_sink;

typedef struct np_session_limits {
    size_t message_max;    /* NP_MESSAGE_MAX */
    size_t out_hard_bytes; /* NP_OUT_HARD_BYTES */
    uint64_t ticktime_ms;  /* T: tick after T/4 of sending nothing, dead after 1.25 T of hearing nothing */
} np_session_limits;

/* flags: as negotiated. now_ms: any monotonic clock, the same in every call. NULL when out of memory. */
np_session *np_session_new(const np_session_sink *sink, uint64_t flags, const np_session_limits *limits,
                           uint64_t now_ms);
void np_session_destroy(np_session **session);

/*
 * Takes all bytes. 0, or the error that ended the session (NP_EPROTO, NP_EBADTERM, NP_ELIMIT, NP_ENOMEM, or the
 * sink's).
 */
int np_session_feed(np_session *session, const uint8_t *data, size_t len, uint64_t now_ms);

/*
 * Why the session ended, one line for the log, with the first bytes of the offending packet where that helps. ""
 * while it lives.
 */
const char *np_session_reason(const np_session *session);

typedef enum np_send_class {
    NP_SEND_NORMAL, /* may fail with NP_EOVERLOAD */
    NP_SEND_URGENT, /* exits, downs, link and spawn replies: may use the reserve (NP_OUT_RESERVE_BYTES) */
} np_send_class;

/*
 * Queues one signal. control->payload is the payload (copied); for kinds without one it must be an empty cursor. The
 * sender, whose signals stay in order, is control->from: give it for a DOWN by name too (the name is what is sent).
 * 0; NP_EOVERLOAD: the queue is full, nothing was queued (for NP_SEND_URGENT: the reserve too is gone; the owner
 * closes the connection); NP_ENOTSUP as np_control_encode; NP_EINVAL: the struct lacks what its kind needs;
 * NP_ELIMIT: larger than the protocol allows or than the queue may ever be; NP_ECLOSED: the session has ended;
 * NP_ENOMEM.
 */
int np_session_send(np_session *session, const np_control *control, np_send_class send_class);

/*
 * The same for a payload that lies in `owner`: if it is large its memory is taken instead of copied, and owner is empty
 * then. NULL: np_session_send.
 */
int np_session_send_owned(np_session *session, const np_control *control, np_send_class send_class, np_buf *owner);

/*
 * Bytes to write now: fills up to max spans and returns how many. They stay valid and in place until np_session_sent
 * or destroy - also while more is sent. np_session_sent says how many bytes of them have been written (may be fewer).
 */
size_t np_session_output(np_session *session, np_bytes *spans, size_t max);
void np_session_sent(np_session *session, size_t bytes, uint64_t now_ms);

/* Everything queued: output plus unfinished fragmented messages. */
size_t np_session_queued(const np_session *session);

/* When np_session_tick wants to be called at the latest. */
uint64_t np_session_deadline(const np_session *session);

/* Queues a tick if one is due. NP_ETIMEOUT: the peer has been silent for too long; the session has ended. */
int np_session_tick(np_session *session, uint64_t now_ms);

/*
 * Tells that reading was paused by us (back-pressure): the peer's silence does not count from here until the next
 * feed.
 */
void np_session_reading(np_session *session, bool paused, uint64_t now_ms);

/*
 * How many bytes have to come from the peer before it is worth waking up for them; 1 as a rule.
 *
 * OTP writes each signal by itself. A gen call is three of them: MONITOR_P, the request, and when the reply has come,
 * DEMONITOR_P, which asks nothing of us. Waking up for each costs more than all the work of the call. So while answered
 * calls owe their DEMONITOR_Ps, as many bytes as those have, and one more MONITOR_P, may wait for what follows: they
 * come as soon as the peer's processes have run, and a request behind them is enough to wake us. With one caller that
 * makes one wake-up a call; with many, the more callers the peer has still to run, the more of their next calls come at
 * once.
 *
 * Something else may be waiting among those bytes, so the owner calls np_session_impatient every millisecond or two
 * while the answer here is above 1, and reads whatever has come: the answer is 1 until the next feed. What did not come
 * in that time may never come (an alias may outlive many answers), so each such call forgets half of what is owed.
 */
size_t np_session_patience(const np_session *session);
void np_session_impatient(np_session *session);

typedef struct np_session_stats {
    uint64_t packets_in, bytes_in, packets_out, bytes_out, ticks_in, ticks_out, fragments_in, fragments_out;
} np_session_stats;
const np_session_stats *np_session_get_stats(const np_session *session);

#endif
