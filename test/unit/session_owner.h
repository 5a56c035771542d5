/*
 * session_owner.h - a session in memory for the tests of dist: keeps what was delivered, makes messages that can be
 * recognised, and writes from one session to another.
 */
#ifndef NP_TEST_SESSION_OWNER_H
#define NP_TEST_SESSION_OWNER_H

#include "base/buf.h"
#include "dist/flags.h"
#include "dist/session.h"

extern const np_session_limits owner_limits;

typedef struct owner {
    np_session *s;
    np_buf got; /* per message: u32 length of the tuple, tuple, u32 length of the payload, payload */
    uint32_t count;
    uint64_t encode; /* flags the delivered control is encoded with */
    int answer;      /* what the sink returns */
} owner;

void owner_open_with(owner *o, uint64_t flags, const np_session_limits *limits);

void owner_open(owner *o);

void owner_close(owner *o);

/* The next piece of what was delivered: a tuple or (then) a payload. */
np_bytes owner_take(owner *o);

/* Feeds from an allocation of exactly that size. */
int owner_feed(owner *o, const void *data, size_t len);

/* Feeds one packet, with its length in front. */
int owner_feed_packet(owner *o, const void *packet, size_t len);

np_pid our_pid(uint32_t num);

np_pid their_pid(uint32_t num);

/* A send from our_pid(from) to their_pid(1) with a payload {Seq, Binary of len bytes} in *buf. */
np_control make_send(np_buf *buf, uint32_t from, uint32_t seq, size_t len);

int owner_send_class(owner *o, uint32_t from, uint32_t seq, size_t len, np_send_class class);

int owner_send(owner *o, uint32_t from, uint32_t seq, size_t len);

/* Takes such a delivered message apart again and checks its filling. */
void owner_take_send(owner *o, uint32_t *from, uint32_t *seq, size_t *len);

void owner_expect_send(owner *o, uint32_t from, uint32_t seq, size_t len);

/* Writes at most `most` bytes of what one session has to say to another (or nowhere); returns how many. */
size_t owner_carry(owner *from, owner *to, size_t most);

void owner_carry_all(owner *from, owner *to);

#endif
