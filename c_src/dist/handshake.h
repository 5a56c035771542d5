/*
 * handshake.h - the distribution handshake (lib/kernel/src/dist_util.erl) in both roles, from the first byte to the
 * one after which 4-byte framing begins.
 *
 * A machine without IO: the owner feeds bytes, sends what np_handshake_output holds, and asks np_handshake_state what
 * has come of it. Where the outcome depends on the rest of the node (cookies, other connections to the same peer),
 * the machine asks through np_handshake_env. Time-outs are the owner's (NP_HANDSHAKE_MS, re-armed whenever
 * np_handshake_step changes, as net_kernel does).
 */
#ifndef NP_DIST_HANDSHAKE_H
#define NP_DIST_HANDSHAKE_H

#include "base/buf.h"
#include "base/limits.h"

typedef enum np_handshake_state {
    NP_HANDSHAKE_BUSY,   /* feed me */
    NP_HANDSHAKE_DONE,   /* connected: peer name, flags, creation are valid; leftover bytes belong to the session */
    NP_HANDSHAKE_FAILED, /* np_handshake_error and np_handshake_reason say why; send the output, then close */
} np_handshake_state;

/* An acceptor's question: what to answer a peer of this name. */
typedef enum np_handshake_verdict {
    NP_VERDICT_OK,              /* nobody else: `ok` */
    NP_VERDICT_OK_SIMULTANEOUS, /* we are dialling it too and its dial wins: the owner has dropped ours */
    NP_VERDICT_NOK,             /* we are dialling it too and our dial wins */
    NP_VERDICT_ALIVE,           /* we believe to be connected: ask whether it is still true */
    NP_VERDICT_NOT_ALLOWED,
} np_handshake_verdict;

typedef struct np_handshake_env {
    void *arg;
    /* The cookie for a peer; the text is copied. NULL: none, the handshake fails with NP_EAUTH. */
    const char *(*cookie)(void *arg, const char *peer);
    /* Acceptor only, asked once, after name and flags have been checked. */
    np_handshake_verdict (*verdict)(void *arg, const char *peer);
    /*
     * Initiator only, the peer answered `alive`: do we want the new connection (true: the old one dies) or keep the
     * old one (false)?
     */
    bool (*replace)(void *arg, const char *peer);
    /* A fresh unpredictable challenge. */
    uint32_t (*challenge)(void *arg);
} np_handshake_env;

typedef struct np_handshake np_handshake;

/*
 * `self` is our full name, `peer` the full name we dial (NULL: acceptor). flags and creation are ours. `now` plays no
 * role. The strings are copied. NULL when out of memory. length_bytes is 2 for TCP, 4 for TLS.
 */
np_handshake *np_handshake_new(const np_handshake_env *env, const char *self, const char *peer, uint64_t flags,
                               uint32_t creation, int length_bytes);
void np_handshake_destroy(np_handshake **handshake);

/* Takes bytes from the peer and returns how many it took; the rest (only once DONE) is the session's. Calls env. */
size_t np_handshake_feed(np_handshake *handshake, const uint8_t *data, size_t len);

/*
 * The connection ended (NP_ECLOSED: the peer closed it), nothing came in time (NP_ETIMEOUT) or another error
 * happened: FAILED, with a reason that tells what was awaited. A peer that closes in place of its acknowledgement did
 * not like our cookie: NP_EAUTH. Does nothing unless BUSY.
 */
void np_handshake_abort(np_handshake *handshake, int error);

/*
 * Bytes to send; the owner consumes them. The initiator has some from the start; what an acceptor still has when it is
 * DONE (its acknowledgement) goes out before the session's first byte.
 */
np_buf *np_handshake_output(np_handshake *handshake);

np_handshake_state np_handshake_get_state(const np_handshake *handshake);

/* Grows with every message taken, so that the owner can re-arm its time-out. */
uint32_t np_handshake_step(const np_handshake *handshake);

/*
 * FAILED: NP_EAUTH (cookie), NP_EPROTO, NP_EBUSY (nok: the peer's own dial wins, keep listening), NP_ENOTSUP (flags),
 * NP_EEXIST (kept the old connection), NP_EINVAL (not_allowed by the peer, bad name), NP_ENOMEM, and what
 * np_handshake_abort was given. The reason is one line for the log that says what was wrong and what to do.
 */
int np_handshake_error(const np_handshake *handshake);
const char *np_handshake_reason(const np_handshake *handshake);

/* The peer's full name: known from the first message (acceptor) or from the start; "" before. */
const char *np_handshake_peer(const np_handshake *handshake);

/*
 * DONE: the peer's flags ANDed with ours (digest expanded), the peer's raw flags (PUBLISHED tells hidden), and its
 * creation.
 */
uint64_t np_handshake_flags(const np_handshake *handshake);
uint64_t np_handshake_peer_flags(const np_handshake *handshake);
uint32_t np_handshake_creation(const np_handshake *handshake);

/*
 * True if the status was ok_simultaneous or `alive` answered true: the owner drops any other connection to this peer
 * once DONE.
 */
bool np_handshake_replaces(const np_handshake *handshake);

/* MD5(cookie ++ challenge as decimal). Exposed for tests. */
void np_handshake_digest(const char *cookie, uint32_t challenge, uint8_t digest[16]);

#endif
