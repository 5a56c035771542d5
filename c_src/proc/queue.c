/*
 * queue.c - the inner queue: what local processes have yet to be told, and the only place that calls into process
 * classes.
 *
 * Main thread. Every public function that can end a process drains the queue before it returns, unless it was called
 * from a class function, i.e. while the queue is being drained further up the stack. So the depth of the stack does
 * not depend on how many processes die of each other.
 */
#include "proc/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "term/names.h"
#include "term/out.h"

/* ---- reasons ---- */

np_reason *np_reason_new(np_in reason) {
    np_bytes bytes = np_in_bytes(&reason);
    np_reason *copy = bytes.len > UINT32_MAX ? NULL : malloc(sizeof(*copy) + bytes.len);
    if (copy == NULL)
        return NULL;
    copy->refs = 1;
    copy->len = (uint32_t)bytes.len;
    memcpy(copy->data, bytes.data, bytes.len);
    return copy;
}

np_reason *np_reason_atom(const char *name) {
    np_reason *reason = NULL;
    np_buf buf = NP_BUF_INIT;
    np_out out;
    np_out_init(&out, &buf, NP_ATOM_BYTES_MAX);
    np_out_atom(&out, name);
    if (np_out_error(&out) == 0)
        reason = np_reason_new(np_out_view(&out));
    np_buf_fini(&buf);
    return reason;
}

void np_reason_unref(np_reason *reason) {
    if (reason != NULL && --reason->refs == 0)
        free(reason);
}

np_reason *np_reason_of_error(const np_procs *procs, int error) {
    switch (error) {
    case NP_ENOPROC: return procs->noproc;
    case NP_ENOMEM:
    case NP_ELIMIT: return procs->system_limit;
    default: return procs->noconnection;
    }
}

/* ---- telling a process ---- */

static void tell(const np_slot *slot, np_procs *procs, const np_pid *to, np_out *out) {
    if (np_out_error(out) != 0) {
        NP_LOG(NP_LOG_CRITICAL, "proc/queue", "signal lost", "process=%u error=\"%s\"", to->num,
               np_strerror(np_out_error(out)));
    } else if (slot->proc_class->message != NULL) {
        np_pid self = *to;
        slot->proc_class->message(slot->target, &self, np_out_view(out));
    }
    np_buf_clear(&procs->scratch, NP_SCRATCH_KEEP);
}

static void kill_process(np_procs *procs, np_slot *slot, const np_pid *pid, np_in reason) {
    const np_proc_class *proc_class = slot->proc_class;
    void *target = slot->target;
    np_pid self = *pid;
    np_slot_end(procs, slot, &self, reason);
    if (proc_class->killed != NULL)
        proc_class->killed(target, &self, reason);
}

static bool is_atom(np_in term, const char *name) { return np_in_match(&term, name) == 0; }

/*
 * erts_proc_sig_handle_exit of OTP (erl_proc_sig_queue.c): `kill` is untrappable only as exit/2, `normal` kills only
 * oneself.
 */
void np_queue_exit(np_procs *procs, const np_pid *from, const np_pid *to, np_in reason, bool broken_link) {
    np_slot *slot = np_slot_find(procs, to);
    if (slot == NULL)
        return;
    if (!broken_link && is_atom(reason, "kill")) {
        kill_process(procs, slot, to, np_reason_in(procs->killed));
    } else if ((slot->next & NP_SLOT_TRAP_EXIT) != 0) {
        np_out out;
        np_out_init(&out, &procs->scratch, SIZE_MAX / 2);
        np_out_tuple(&out, 3);
        np_out_atom(&out, "EXIT");
        np_out_pid(&out, from);
        np_out_term(&out, &reason);
        tell(slot, procs, to, &out);
    } else if (!is_atom(reason, "normal") || (!broken_link && np_pid_eq(from, to))) {
        kill_process(procs, slot, to, reason);
    }
}

void np_queue_down(np_procs *procs, np_rel *monitor, np_in reason) {
    np_pid watcher = monitor->pids[0];
    const np_slot *slot = np_slot_find(procs, &watcher);
    NP_ASSERT(slot != NULL); /* its end would have taken the monitor away */
    np_ref ref = np_rel_ref(monitor);
    np_out out;
    np_out_init(&out, &procs->scratch, SIZE_MAX / 2);
    np_out_tuple(&out, 5);
    np_out_atom(&out, "DOWN");
    np_out_ref(&out, &ref);
    np_out_atom(&out, "process");
    if (monitor->name != NULL) {
        np_str node = np_name_str(monitor->pids[1].node);
        np_out_tuple(&out, 2);
        np_out_atom_n(&out, monitor->name->data, monitor->name->len);
        np_out_atom_n(&out, node.data, node.len);
    } else {
        np_out_pid(&out, &monitor->pids[1]);
    }
    np_out_term(&out, &reason);
    np_rel_free(procs, monitor);
    np_alias_forget(procs, &watcher, &ref);
    tell(slot, procs, &watcher, &out);
}

/* ---- the queue ---- */

int np_queue_signal(np_procs *procs, const np_signal *signal) {
    np_rel *rel = np_rel_new(procs, NP_REL_SIGNAL);
    np_reason *reason = np_reason_new(signal->reason);
    if (rel == NULL || reason == NULL) {
        if (rel != NULL)
            np_rel_free(procs, rel);
        np_reason_unref(reason);
        return NP_ENOMEM;
    }
    rel->signal = (uint8_t)signal->kind;
    rel->pids[0] = signal->from;
    rel->pids[1] = signal->to;
    rel->ref_len = (uint8_t)signal->ref.len;
    memcpy(rel->u.words, signal->ref.id, sizeof(rel->u.words));
    np_rel_pend(procs, rel, 0, reason);
    np_reason_unref(reason);
    return 0;
}

static void deliver_signal(np_procs *procs, np_rel *rel, np_in reason) {
    np_signal signal = {.kind = (np_signal_kind)rel->signal,
                        .from = rel->pids[0],
                        .to = rel->pids[1],
                        .ref = np_rel_ref(rel),
                        .reason = reason};
    np_rel_free(procs, rel);
    if (signal.kind == NP_SIGNAL_EXIT2)
        np_queue_exit(procs, &signal.from, &signal.to, reason, false);
    else if (signal.kind == NP_SIGNAL_EXIT)
        np_links_signal(procs, &signal);
    else
        np_monitors_signal(procs, &signal);
}

static void deliver(np_procs *procs, np_rel *rel, unsigned end) {
    np_reason *reason = rel->reason; /* ours from here on */
    rel->reason = NULL;
    np_rel_detach(procs, rel, end);
    rel->pending = false;
    if (rel->kind == NP_REL_MONITOR) {
        np_queue_down(procs, rel, np_reason_in(reason));
    } else if (rel->kind == NP_REL_LINK) {
        np_pid from = rel->pids[end];
        np_pid to = rel->pids[1 - end];
        np_rel_free(procs, rel);
        np_queue_exit(procs, &from, &to, np_reason_in(reason), true);
    } else {
        deliver_signal(procs, rel, np_reason_in(reason));
    }
    np_reason_unref(reason);
}

void np_queue_drain(np_procs *procs) {
    if (procs->running)
        return;
    procs->running = true;
    for (uint32_t n = 0; procs->pending != 0 && n < NP_DRAIN_MAX; n++)
        deliver(procs, np_rel_of(procs->pending), np_rel_end_of(procs->pending));
    procs->running = false;
    procs->woken = false;
    np_queue_wake(procs); /* more than NP_DRAIN_MAX */
}

void np_queue_wake(np_procs *procs) {
    if (procs->pending == 0 || procs->running || procs->woken || procs->io.wake == NULL)
        return;
    procs->woken = true;
    procs->io.wake(procs->io.arg);
}

void np_procs_run(np_procs *procs) { np_queue_drain(procs); }

bool np_procs_pending(const np_procs *procs) { return procs->pending != 0 && !procs->running; }
