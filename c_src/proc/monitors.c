/*
 * monitors.c - monitors by pid and by name, in both directions (protocols.md section 4;
 * erts/emulator/beam/erl_monitor_link.c and dist.c).
 *
 * Main thread. A monitor by name binds to the process that holds the name at that moment; its DOWN shows the name as
 * it was asked for. What cannot be kept (over NP_MONITORS_MAX, out of memory) is told to a watcher elsewhere as a
 * DOWN with reason system_limit at once: the wire has no way to refuse a monitor, and a watcher left without one
 * would wait for ever.
 */
#include "proc/internal.h"

#include <string.h>

#include "base/assert.h"

static np_rel *new_monitor(np_procs *procs, const np_pid *watcher, const np_pid *target, const np_ref *ref) {
    np_rel *rel = np_rel_new(procs, NP_REL_MONITOR);
    if (rel == NULL)
        return NULL;
    rel->pids[0] = *watcher;
    rel->pids[1] = *target;
    rel->ref_len = (uint8_t)ref->len;
    memcpy(rel->u.words, ref->id, ref->len * sizeof(ref->id[0]));
    return rel;
}

static bool well_formed(const np_ref *ref, const np_pid *watcher) {
    return ref->len >= 1 && ref->len <= NP_REF_WORDS_MAX && ref->node == watcher->node &&
           ref->creation == watcher->creation;
}

/* ---- of local processes ---- */

/*
 * target: a pid, or only a node when name is not NULL and of another node; none: name is not registered here. Takes
 * over name.
 */
static int watch(np_procs *procs, const np_pid *self, const np_pid *target, np_text *name, const np_ref *ref) {
    np_rel *rel = NULL;
    int rc = NP_ENOPROC;
    if (np_slot_find(procs, self) == NULL)
        goto fail;
    rc = NP_EINVAL;
    if (np_pid_none(target) || !well_formed(ref, self))
        goto fail;
    rc = NP_ENOMEM;
    rel = new_monitor(procs, self, target, ref);
    if (rel == NULL)
        goto fail;
    rel->name = name;
    rc = np_rel_enter(procs, rel); /* an error frees rel and name */
    if (rc < 0)
        return rc;
    rc = np_rel_attach(procs, rel, 0);
    NP_ASSERT(rc == 0);

    np_reason *gone = NULL;
    if (target->node != procs->node) {
        rc = np_rel_attach(procs, rel, 1);
        if (rc < 0) {
            np_rel_free(procs, rel);
            return rc;
        }
        np_signal signal = {.kind = NP_SIGNAL_MONITOR, .from = *self, .to = *target, .node = target->node, .ref = *ref};
        if (name != NULL)
            signal.name = (np_str){name->data, name->len};
        rc = procs->io.signal(procs->io.arg, &signal);
        if (rc < 0)
            gone = np_reason_of_error(procs, rc);
    } else if (np_slot_find(procs, target) != NULL) {
        rc = np_rel_attach(procs, rel, 1);
        NP_ASSERT(rc == 0);
    } else {
        gone = procs->noproc;
    }
    /* The io may have taken the node down meanwhile, and the record with it: look again. */
    if (gone != NULL && np_rel_monitor(procs, self, ref) == rel && !rel->pending)
        np_rel_pend(procs, rel, 1, gone);
    np_queue_wake(procs);
    return 0;

fail:
    np_text_unref(name);
    return rc;
}

int np_procs_monitor_with(np_procs *procs, const np_pid *self, const np_pid *pid, const np_ref *ref) {
    return watch(procs, self, pid, NULL, ref);
}

int np_procs_monitor_name_with(np_procs *procs, const np_pid *self, np_node_id node, const char *name, size_t len,
                               const np_ref *ref) {
    np_pid target = {.node = node};
    np_text *text = NULL;
    if (len == 0 || len > NP_ATOM_BYTES_MAX)
        return NP_EINVAL;
    if (node == procs->node) {
        struct np_regname *entry = np_regname_find(procs, (np_str){name, len});
        if (entry != NULL) {
            np_regname_pid(procs, entry, &target);
            text = np_regname_text(entry);
        }
    }
    if (text == NULL)
        text = np_text_new((np_str){name, len});
    return text == NULL ? NP_ENOMEM : watch(procs, self, &target, text, ref);
}

int np_procs_monitor(np_procs *procs, const np_pid *self, const np_pid *pid, np_ref *ref) {
    *ref = np_procs_make_ref(procs);
    return np_procs_monitor_with(procs, self, pid, ref);
}

int np_procs_monitor_name(np_procs *procs, const np_pid *self, np_node_id node, const char *name, size_t len,
                          np_ref *ref) {
    *ref = np_procs_make_ref(procs);
    return np_procs_monitor_name_with(procs, self, node, name, len, ref);
}

/* Takes a monitor away, then tells the node of the other end. In this order: the io may come back in. */
static void free_and_emit(np_procs *procs, np_rel *rel, np_signal_kind kind, np_in reason) {
    unsigned from = kind == NP_SIGNAL_DOWN ? 1 : 0;
    np_signal signal = {.kind = kind,
                        .from = rel->pids[from],
                        .to = rel->pids[1 - from],
                        .node = rel->pids[1 - from].node,
                        .ref = np_rel_ref(rel),
                        .reason = reason};
    np_text *name = rel->name;
    if (name != NULL) {
        rel->name = NULL;
        signal.name = (np_str){name->data, name->len};
    }
    np_rel_free(procs, rel);
    (void)procs->io.signal(procs->io.arg, &signal); /* not connected: nobody left to tell */
    np_text_unref(name);
}

/* A local watcher is no longer interested, or no more. */
static void forget(np_procs *procs, np_rel *rel) {
    if (rel->pids[1].node != procs->node && !rel->pending) /* what is pending has no target any more */
        free_and_emit(procs, rel, NP_SIGNAL_DEMONITOR, (np_in){0});
    else
        np_rel_free(procs, rel);
}

int np_procs_demonitor(np_procs *procs, const np_pid *self, const np_ref *ref) {
    np_rel *rel = np_rel_monitor(procs, self, ref);
    if (rel == NULL || self->node != procs->node)
        return NP_ENOENT;
    np_pid owner = *self;
    np_ref copy = *ref;
    forget(procs, rel);
    np_alias_forget(procs, &owner, &copy);
    return 0;
}

bool np_procs_monitored(const np_procs *procs, const np_pid *watcher, const np_ref *ref) {
    return np_rel_monitor(procs, watcher, ref) != NULL;
}

/* ---- ends ---- */

void np_monitor_ended(np_procs *procs, np_rel *rel, unsigned end, np_reason *reason) {
    if (end == 0) {
        if (rel->pids[0].node == procs->node)
            forget(procs, rel);
        else
            np_rel_free(procs, rel); /* the watcher's node is gone */
        return;
    }
    if (np_slot_find(procs, &rel->pids[0]) != NULL) {
        np_rel_pend(procs, rel, 1, reason);
        return;
    }
    if (rel->pids[0].node == procs->node) { /* it watched itself */
        np_rel_free(procs, rel);
        return;
    }
    free_and_emit(procs, rel, NP_SIGNAL_DOWN, np_reason_in(reason));
}

/* ---- from other nodes ---- */

static int refuse(np_procs *procs, const np_signal *signal, const np_reason *reason) {
    np_signal down = {.kind = NP_SIGNAL_DOWN,
                      .from = signal->to,
                      .to = signal->from,
                      .name = signal->name,
                      .node = signal->from.node,
                      .ref = signal->ref,
                      .reason = np_reason_in(reason)};
    (void)procs->io.signal(procs->io.arg, &down);
    return 0;
}

static int watched(np_procs *procs, const np_signal *signal) {
    np_pid target = signal->to;
    struct np_regname *name = NULL;
    if (!well_formed(&signal->ref, &signal->from))
        return NP_EPROTO;
    if (signal->name.len != 0) {
        name = np_regname_find(procs, signal->name);
        if (name == NULL)
            return refuse(procs, signal, procs->noproc);
        np_regname_pid(procs, name, &target);
    }
    if (np_slot_find(procs, &target) == NULL)
        return refuse(procs, signal, procs->noproc);

    np_rel *rel = new_monitor(procs, &signal->from, &target, &signal->ref);
    if (rel == NULL)
        return refuse(procs, signal, procs->system_limit);
    if (name != NULL)
        rel->name = np_regname_text(name);
    int rc = np_rel_enter(procs, rel);
    if (rc == NP_EEXIST)
        return NP_EPROTO;
    if (rc < 0)
        return refuse(procs, signal, procs->system_limit);
    if (np_rel_attach(procs, rel, 0) < 0) {
        np_rel_free(procs, rel);
        return refuse(procs, signal, procs->system_limit);
    }
    rc = np_rel_attach(procs, rel, 1);
    NP_ASSERT(rc == 0);
    return 0;
}

/* A DOWN counts only from the node that was asked: others cannot know the reference but by guessing. */
static int down(np_procs *procs, const np_signal *signal) {
    np_rel *rel = np_rel_monitor(procs, &signal->to, &signal->ref);
    np_node_id node = signal->from.node != 0 ? signal->from.node : signal->node;
    if (rel == NULL || rel->pending || rel->pids[0].node != procs->node)
        return 0;
    if (rel->pids[1].node == procs->node || (node != 0 && node != procs->node && node != rel->pids[1].node))
        return 0;
    np_queue_down(procs, rel, signal->reason);
    return 0;
}

int np_monitors_signal(np_procs *procs, const np_signal *signal) {
    if (signal->kind == NP_SIGNAL_MONITOR)
        return watched(procs, signal);
    if (signal->kind == NP_SIGNAL_DOWN)
        return down(procs, signal);
    NP_ASSERT(signal->kind == NP_SIGNAL_DEMONITOR);
    (void)np_rel_drop_monitor(procs, &signal->from, &signal->ref);
    return 0;
}
