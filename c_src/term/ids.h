/*
 * ids.h - equality, hash and Erlang's order of pids and references.
 */
#ifndef NP_TERM_IDS_H
#define NP_TERM_IDS_H

#include "base/map.h"

#include <native_pool/types.h>

static inline bool np_pid_eq(const np_pid *a, const np_pid *b) {
    return a->num == b->num && a->serial == b->serial && a->node == b->node && a->creation == b->creation;
}
static inline bool np_pid_none(const np_pid *pid) { return pid->node == 0; }
static inline uint64_t np_pid_hash(const np_pid *p) {
    return np_hash_mix(((uint64_t)p->num << 32) | p->serial, ((uint64_t)p->node << 32) | p->creation);
}

/* Erlang's order: serial, num, node name, creation. */
int np_pid_cmp(const np_pid *a, const np_pid *b);

bool np_ref_eq(const np_ref *a, const np_ref *b);
static inline bool np_ref_none(const np_ref *ref) { return ref->node == 0; }
uint64_t np_ref_hash(const np_ref *ref);

/* "<node.num.serial.creation>" / "#Ref<...>" into a buffer of at least NP_ID_TEXT_MAX bytes; returns buf. For logs. */
enum { NP_ID_TEXT_MAX = 1100 };
const char *np_pid_text(const np_pid *pid, char *buf);
const char *np_ref_text(const np_ref *ref, char *buf);

#endif
