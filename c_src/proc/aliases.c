/*
 * aliases.c - references, and references that are process aliases (EEP 53): a reply sent to one after it was given up
 * goes nowhere.
 *
 * Main thread. A once-alias is what gen:call asks for with {alias, reply_demonitor}: it goes with the first message,
 * and with the monitor of the same reference, whichever ends first.
 */
#include "proc/internal.h"

#include <string.h>

#include "base/assert.h"

/* The first word has 18 bits, as in references of OTP itself; all three together count up. */
np_ref np_procs_make_ref(np_procs *procs) {
    uint64_t n = ++procs->ref_last;
    np_ref ref = {.node = procs->node, .creation = procs->creation, .len = 3};
    ref.id[0] = (uint32_t)n & 0x3FFFF;
    ref.id[1] = (uint32_t)(n >> 18);
    ref.id[2] = (uint32_t)(n >> 50);
    return ref;
}

int np_procs_alias(np_procs *procs, const np_pid *pid, const np_ref *ref, bool once) {
    if (np_slot_find(procs, pid) == NULL)
        return NP_ENOPROC;
    if (ref->node != procs->node || ref->creation != procs->creation || ref->len < 1 || ref->len > NP_REF_WORDS_MAX)
        return NP_EINVAL;
    np_rel *rel = np_rel_new(procs, NP_REL_ALIAS);
    if (rel == NULL)
        return NP_ENOMEM;
    rel->pids[0] = *pid;
    rel->once = once;
    rel->ref_len = (uint8_t)ref->len;
    memcpy(rel->u.words, ref->id, ref->len * sizeof(ref->id[0]));
    int rc = np_rel_enter(procs, rel);
    if (rc < 0)
        return rc;
    rc = np_rel_attach(procs, rel, 0);
    NP_ASSERT(rc == 0);
    return 0;
}

void np_procs_unalias(np_procs *procs, const np_ref *ref) {
    np_rel *rel = np_rel_alias(procs, ref);
    if (rel != NULL)
        np_rel_free(procs, rel);
}

int np_procs_alias_take(np_procs *procs, const np_ref *ref, np_pid *pid) {
    np_rel *rel = np_rel_alias(procs, ref);
    if (rel == NULL)
        return NP_ENOENT;
    np_pid owner = rel->pids[0];
    if (rel->once) {
        np_ref copy = *ref;
        np_rel_free(procs, rel);
        (void)np_procs_demonitor(procs, &owner, &copy);
    }
    *pid = owner;
    return 0;
}

void np_alias_forget(np_procs *procs, const np_pid *owner, const np_ref *ref) {
    np_rel *rel = np_rel_alias(procs, ref);
    if (rel != NULL && rel->once && np_pid_eq(&rel->pids[0], owner))
        np_rel_free(procs, rel);
}
