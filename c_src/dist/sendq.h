/*
 * sendq.h - what is queued for one connection: the bytes being written, the bytes gathered behind them, and large
 * messages on their way out in fragments. A machine without IO; used by session.c only.
 *
 * A small message is appended to `filling` at once. A message above NP_FRAGMENT_BYTES becomes a transfer; its
 * fragments go to `filling` in turn with those of other transfers and only while little is waiting there. As long as
 * a sender has a transfer, all it sends later queues up behind it: signals of one process never overtake each other.
 */
#ifndef NP_DIST_SENDQ_H
#define NP_DIST_SENDQ_H

#include "base/buf.h"
#include "base/map.h"
#include "dist/control.h"

struct np_sendq_sender;

typedef struct np_sendq {
    np_buf writing;               /* handed out to be written: not touched until np_sendq_sent */
    np_buf filling;               /* becomes `writing` when that is through */
    np_map senders;               /* processes with a transfer, by pid */
    struct np_sendq_sender *turn; /* the one before the next in turn: a ring, NULL when there are no transfers */
    size_t transfer_bytes;        /* memory of what is in the transfers and behind them */
    uint64_t sequence;            /* last sequence id used; 0 is never used: it crashes OTP 25 */
    uint64_t flags;               /* negotiated */
    uint64_t packets, fragments;  /* completed and cut so far */
    np_buf scratch;               /* control tuple of a transfer */
} np_sendq;

void np_sendq_init(np_sendq *queue, uint64_t flags);
void np_sendq_fini(np_sendq *queue);

/* Queues one signal unless more than `bound` bytes were queued then. As np_session_send_owned; owner may be NULL. */
int np_sendq_push(np_sendq *queue, const np_control *control, size_t bound, np_buf *owner);

/* Queues an empty packet. */
int np_sendq_tick(np_sendq *queue);

/* The bytes to write now; they stay in place until np_sendq_sent. */
np_bytes np_sendq_output(np_sendq *queue);
void np_sendq_sent(np_sendq *queue, size_t bytes);

static inline size_t np_sendq_len(const np_sendq *queue) {
    return np_buf_len(&queue->writing) + np_buf_len(&queue->filling) + queue->transfer_bytes;
}

#endif
