/*
 * fragments.h - puts the fragmented messages of one connection together again. A machine without IO; used by
 * session.c only.
 *
 * Memory follows the bytes that have come, never a count or length the peer claims. What is bounded: the messages
 * open at a time (NP_FRAGMENTS_OPEN_MAX), their bytes together (NP_FRAGMENTS_BYTES_MAX) and one message
 * (message_max).
 */
#ifndef NP_DIST_FRAGMENTS_H
#define NP_DIST_FRAGMENTS_H

#include "base/buf.h"
#include "base/map.h"

typedef struct np_fragments {
    np_map open; /* by sequence id */
    size_t bytes;
    size_t message_max;
} np_fragments;

/* A message whose fragments have come, in part or all. */
typedef struct np_fragmented {
    uint64_t sequence;
    uint64_t awaited;   /* the next fragment's id; they count down to 1 */
    size_t control_len; /* of the control tuple at the front of data */
    np_buf data;
} np_fragmented;

void np_fragments_init(np_fragments *fragments, size_t message_max);
void np_fragments_fini(np_fragments *fragments);

/*
 * A first fragment with more to follow (id > 1): data is the control tuple (control_len bytes, validated) and the
 * payload's first part. NP_EPROTO: the sequence id is in use. NP_ELIMIT, NP_ENOMEM. *why (on errors) is a fixed text.
 */
int np_fragments_first(np_fragments *fragments, uint64_t sequence, uint64_t id, const uint8_t *data, size_t len,
                       size_t control_len, const char **why);

/*
 * A further one. 0: more are awaited. 1: the message is whole; the caller takes *message over and frees it with
 * np_fragmented_destroy. NP_EPROTO: no such message open, or not the id that is its turn. NP_ELIMIT, NP_ENOMEM.
 */
int np_fragments_next(np_fragments *fragments, uint64_t sequence, uint64_t id, const uint8_t *data, size_t len,
                      np_fragmented **message, const char **why);

void np_fragmented_destroy(np_fragmented **message);

#endif
