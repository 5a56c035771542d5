/*
 * links.c - links with the unlink-id protocol (protocols.md section 4; erl_proc_sig_queue.c and the reference
 * manual's "Communication in Erlang").
 *
 * Main thread. One record per pair. It is active, or inactive: unlinked by us, and kept until the other node has
 * acknowledged, so that an EXIT on its way to us at that time is known to be of the old link. Links between two local
 * processes need no such state.
 */
#include "proc/internal.h"

#include "base/assert.h"

static uint64_t unlink_id(const np_rel *link) {
    return ((uint64_t)link->u.unlink_id.high << 32) | link->u.unlink_id.low;
}

static void set_unlink_id(np_rel *link, uint64_t id) {
    link->u.unlink_id.high = (uint32_t)(id >> 32);
    link->u.unlink_id.low = (uint32_t)id;
}

/*
 * A new active link, entered and in the lists of those ends that live (or are of another node). NP_ENOMEM, NP_ELIMIT.
 */
static int new_link(np_procs *procs, const np_pid *a, const np_pid *b, np_rel **made) {
    np_rel *rel = np_rel_new(procs, NP_REL_LINK);
    if (rel == NULL)
        return NP_ENOMEM;
    np_rel_link_order(procs, a, b, rel->pids);
    int rc = np_rel_enter(procs, rel);
    if (rc < 0)
        return rc;
    for (unsigned end = 0; end < 2; end++) {
        const np_pid *pid = &rel->pids[end];
        if (pid->node == procs->node && np_slot_find(procs, pid) == NULL)
            continue;
        rc = np_rel_attach(procs, rel, end);
        if (rc < 0) {
            np_rel_free(procs, rel);
            return rc;
        }
    }
    *made = rel;
    return 0;
}

static unsigned end_of(const np_rel *link, const np_pid *pid) { return np_pid_eq(&link->pids[0], pid) ? 0 : 1; }

/* ---- of local processes ---- */

int np_procs_link(np_procs *procs, const np_pid *self, const np_pid *pid) {
    if (np_slot_find(procs, self) == NULL)
        return NP_ENOPROC;
    if (np_pid_none(pid))
        return NP_EINVAL;
    if (np_pid_eq(self, pid))
        return 0;
    np_rel *rel = np_rel_link_of(procs, self, pid);
    if (rel != NULL && !rel->inactive)
        return 0;
    if (rel != NULL) {
        rel->inactive = false; /* the acknowledgement still to come will find another id */
        set_unlink_id(rel, 0);
    } else {
        int rc = new_link(procs, self, pid, &rel);
        if (rc < 0)
            return rc;
    }
    np_reason *gone = NULL;
    if (pid->node != procs->node) {
        np_pid from = *self, to = *pid;
        int rc = np_rel_emit(procs, NP_SIGNAL_LINK, &from, &to, (np_in){0});
        gone = rc < 0 ? np_reason_of_error(procs, rc) : NULL;
        /* The io may have taken the node down meanwhile, and the link with it: look again. */
        if (np_rel_link_of(procs, &from, &to) != rel || rel->pending)
            return 0;
    } else if (np_slot_find(procs, pid) == NULL) {
        gone = procs->noproc;
    }
    if (gone != NULL)
        np_rel_pend(procs, rel, end_of(rel, pid), gone);
    np_queue_wake(procs);
    return 0;
}

int np_procs_unlink(np_procs *procs, const np_pid *self, const np_pid *pid) {
    if (np_slot_find(procs, self) == NULL)
        return NP_ENOPROC;
    np_rel *rel = np_rel_link_of(procs, self, pid);
    if (rel == NULL || rel->inactive)
        return 0;
    if (pid->node == procs->node || rel->pending) {
        np_rel_free(procs, rel);
        return 0;
    }
    uint64_t id = ++procs->unlink_last;
    np_pid from = *self, to = *pid;
    rel->inactive = true;
    set_unlink_id(rel, id);
    if (np_rel_emit_ack(procs, NP_SIGNAL_UNLINK_ID, &from, &to, id) == 0)
        return 0;
    rel = np_rel_link_of(procs, &from, &to);
    if (rel != NULL && rel->inactive && unlink_id(rel) == id)
        np_rel_free(procs, rel); /* nobody there to acknowledge */
    return 0;
}

/* ---- ends ---- */

void np_link_ended(np_procs *procs, np_rel *rel, unsigned end, np_reason *reason) {
    np_pid from = rel->pids[end];
    np_pid to = rel->pids[1 - end];
    if (!rel->inactive && np_slot_find(procs, &to) != NULL) {
        np_rel_pend(procs, rel, end, reason);
        return;
    }
    bool tell = to.node != procs->node && !rel->inactive && !rel->pending;
    np_rel_free(procs, rel);
    if (tell)
        (void)np_rel_emit(procs, NP_SIGNAL_EXIT, &from, &to, np_reason_in(reason));
}

/* ---- from other nodes ---- */

static int linked(np_procs *procs, const np_signal *signal) {
    np_reason *refused = NULL;
    np_rel *rel = np_rel_link_of(procs, &signal->to, &signal->from);
    if (rel != NULL)
        return 0;
    if (np_slot_find(procs, &signal->to) == NULL)
        refused = procs->noproc;
    else if (new_link(procs, &signal->to, &signal->from, &rel) < 0)
        refused = procs->system_limit;
    if (refused != NULL)
        (void)np_rel_emit(procs, NP_SIGNAL_EXIT, &signal->to, &signal->from, np_reason_in(refused));
    return 0;
}

static int unlinked(np_procs *procs, const np_signal *signal) {
    np_rel *rel = np_rel_link_of(procs, &signal->to, &signal->from);
    if (signal->kind == NP_SIGNAL_UNLINK_ID && signal->id == 0)
        return NP_EPROTO;
    if (rel != NULL && !rel->inactive && !rel->pending)
        np_rel_free(procs, rel);
    if (signal->kind == NP_SIGNAL_UNLINK_ID) /* always, for dead pids too */
        (void)np_rel_emit_ack(procs, NP_SIGNAL_UNLINK_ID_ACK, &signal->to, &signal->from, signal->id);
    return 0;
}

static int broken(np_procs *procs, const np_signal *signal) {
    np_rel *rel = np_rel_link_of(procs, &signal->to, &signal->from);
    if (rel == NULL || rel->inactive || rel->pending)
        return 0;
    np_rel_free(procs, rel);
    np_queue_exit(procs, &signal->from, &signal->to, signal->reason, true);
    return 0;
}

int np_links_signal(np_procs *procs, const np_signal *signal) {
    switch (signal->kind) {
    case NP_SIGNAL_LINK: return linked(procs, signal);
    case NP_SIGNAL_UNLINK:
    case NP_SIGNAL_UNLINK_ID: return unlinked(procs, signal);
    case NP_SIGNAL_EXIT: return broken(procs, signal);
    default: break;
    }
    NP_ASSERT(signal->kind == NP_SIGNAL_UNLINK_ID_ACK);
    np_rel *rel = np_rel_link_of(procs, &signal->to, &signal->from);
    if (rel != NULL && rel->inactive && unlink_id(rel) == signal->id)
        np_rel_free(procs, rel);
    return 0;
}
