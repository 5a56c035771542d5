/*
 * procs.c - the table of processes: pids, life and end, exit flags, group leaders; and the entrance for signals.
 *
 * Main thread. A pid is a slot of the table: num is its index + 1, serial counts the processes that have had it. A
 * slot whose serial is used up is not used again, so that no pid comes twice within a creation. Free slots are reused
 * oldest first. np_procs_find is the hottest function of the node: two array accesses and four comparisons.
 */
#include "proc/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/* ---- the machine ---- */

np_procs *np_procs_new(const np_procs_io *io, np_node_id node, uint32_t creation) {
    NP_ASSERT(node != 0 && io->signal != NULL);
    np_procs *procs = calloc(1, sizeof(*procs));
    if (procs == NULL)
        return NULL;
    procs->io = *io;
    procs->node = node;
    procs->creation = creation;
    np_rels_init(procs);
    np_regnames_init(procs);
    np_buf_init(&procs->scratch);
    procs->noproc = np_reason_atom("noproc");
    procs->noconnection = np_reason_atom("noconnection");
    procs->killed = np_reason_atom("killed");
    procs->system_limit = np_reason_atom("system_limit");
    if (procs->noproc == NULL || procs->noconnection == NULL || procs->killed == NULL || procs->system_limit == NULL)
        np_procs_destroy(&procs);
    return procs;
}

void np_procs_destroy(np_procs **owner) {
    np_procs *procs = *owner;
    if (procs == NULL)
        return;
    NP_ASSERT(!procs->running);
    *owner = NULL;
    np_regnames_fini(procs);
    np_rels_fini(procs);
    for (uint32_t i = 0; i < procs->slots; i++)
        free(*np_slot_extra(procs, i));
    for (uint32_t i = 0; i < procs->slots; i += NP_SLOTS_CHUNK)
        free(procs->chunks[i >> NP_SLOTS_SHIFT]);
    free(procs->chunks);
    np_buf_fini(&procs->scratch);
    np_reason_unref(procs->noproc);
    np_reason_unref(procs->noconnection);
    np_reason_unref(procs->killed);
    np_reason_unref(procs->system_limit);
    free(procs);
}

/* ---- slots ---- */

/* A slot never used before; its index + 1, 0 when there is no memory. */
static uint32_t new_slot(np_procs *procs) {
    uint32_t chunk = procs->slots >> NP_SLOTS_SHIFT;
    if ((procs->slots & (NP_SLOTS_CHUNK - 1)) == 0) {
        if (chunk == procs->chunks_cap) {
            uint32_t cap = chunk == 0 ? 16 : chunk * 2;
            np_slots_chunk **chunks = realloc(procs->chunks, cap * sizeof(*chunks));
            if (chunks == NULL)
                return 0;
            procs->chunks = chunks;
            procs->chunks_cap = cap;
        }
        procs->chunks[chunk] = aligned_alloc(NP_SLOTS_ALIGN, sizeof(np_slots_chunk));
        if (procs->chunks[chunk] == NULL)
            return 0;
        memset(procs->chunks[chunk], 0, sizeof(np_slots_chunk));
    }
    return ++procs->slots;
}

static uint32_t take_slot(np_procs *procs) {
    uint32_t place = procs->free_first;
    if (place == 0)
        return procs->slots >= NP_PROCS_MAX ? 0 : new_slot(procs);
    procs->free_first = np_slot_at(procs, place - 1)->next;
    if (procs->free_first == 0)
        procs->free_last = 0;
    return place;
}

static void give_slot(np_procs *procs, np_slot *slot, uint32_t place) {
    slot->next = 0;
    if (slot->serial == UINT32_MAX)
        return; /* used up */
    slot->serial++;
    if (procs->free_last != 0)
        np_slot_at(procs, procs->free_last - 1)->next = place;
    else
        procs->free_first = place;
    procs->free_last = place;
}

np_proc_extra *np_slot_need_extra(np_procs *procs, uint32_t index) {
    np_proc_extra **extra = np_slot_extra(procs, index);
    if (*extra == NULL)
        *extra = calloc(1, sizeof(**extra));
    return *extra;
}

/* ---- life ---- */

int np_procs_spawn(np_procs *procs, const np_proc_class *proc_class, void *target, np_pid *pid) {
    NP_ASSERT(proc_class != NULL);
    if (procs->count >= NP_PROCS_MAX)
        return NP_ELIMIT;
    uint32_t place = take_slot(procs);
    if (place == 0)
        return procs->slots >= NP_PROCS_MAX ? NP_ELIMIT : NP_ENOMEM;
    np_slot *slot = np_slot_at(procs, place - 1);
    slot->proc_class = proc_class;
    slot->target = target;
    slot->next = 0;
    procs->count++;
    *pid = (np_pid){procs->node, place, slot->serial, procs->creation};
    return 0;
}

/*
 * Splits the relations of a process in two lists, links first, as OTP tells them. The heads are the caller's: what
 * the io does meanwhile (a node that goes down) takes records out of these lists as out of any.
 */
static void split_relations(np_procs *procs, np_slot *slot, np_rel_link *links, np_rel_link *others) {
    while (slot->relations != 0) {
        np_rel *rel = np_rel_of(slot->relations);
        unsigned end = np_rel_end_of(slot->relations);
        np_rel_detach(procs, rel, end);
        np_rel_push(rel->kind == NP_REL_LINK ? links : others, rel, end);
    }
}

void np_slot_end(np_procs *procs, np_slot *slot, const np_pid *pid, np_in reason) {
    np_rel_link links = 0, others = 0;
    np_proc_extra **extra = np_slot_extra(procs, pid->num - 1);
    np_regnames_release(procs, pid->num - 1);
    free(*extra);
    *extra = NULL;
    slot->proc_class = NULL;
    slot->target = NULL;
    split_relations(procs, slot, &links, &others);
    procs->count--;
    give_slot(procs, slot, pid->num);
    if (procs->io.ended != NULL)
        procs->io.ended(procs->io.arg, pid, reason);

    np_reason *copy = NULL;
    if ((links | others) != 0) {
        copy = np_reason_new(reason);
        if (copy == NULL)
            copy = np_reason_ref(procs->killed); /* no memory: they learn that it died, if not of what */
    }
    while (links != 0)
        np_link_ended(procs, np_rel_of(links), np_rel_end_of(links), copy);
    while (others != 0) {
        np_rel *rel = np_rel_of(others);
        if (rel->kind == NP_REL_ALIAS)
            np_rel_free(procs, rel);
        else
            np_monitor_ended(procs, rel, np_rel_end_of(others), copy);
    }
    np_reason_unref(copy);
}

int np_procs_set_target(np_procs *procs, const np_pid *pid, void *target) {
    np_slot *slot = np_slot_find(procs, pid);
    if (slot == NULL)
        return NP_ENOPROC;
    slot->target = target;
    return 0;
}

void np_procs_exit(np_procs *procs, const np_pid *pid, np_in reason) {
    np_slot *slot = np_slot_find(procs, pid);
    if (slot != NULL) {
        np_pid self = *pid;
        np_slot_end(procs, slot, &self, reason);
    }
    np_queue_drain(procs);
}

const np_proc_class *np_procs_find(const np_procs *procs, const np_pid *pid, void **target) {
    const np_slot *slot = np_slot_find(procs, pid);
    if (slot == NULL)
        return NULL;
    *target = slot->target;
    return slot->proc_class;
}

bool np_procs_alive(const np_procs *procs, const np_pid *pid) { return np_slot_find(procs, pid) != NULL; }

bool np_procs_local(const np_procs *procs, const np_pid *pid) {
    return pid->node == procs->node && pid->creation == procs->creation;
}

int np_procs_set_trap_exit(np_procs *procs, const np_pid *pid, bool trap) {
    np_slot *slot = np_slot_find(procs, pid);
    if (slot == NULL)
        return NP_ENOPROC;
    slot->next = trap ? slot->next | NP_SLOT_TRAP_EXIT : slot->next & ~(uint32_t)NP_SLOT_TRAP_EXIT;
    return 0;
}

int np_procs_set_leader(np_procs *procs, const np_pid *pid, const np_pid *leader) {
    if (np_slot_find(procs, pid) == NULL)
        return NP_ENOPROC;
    np_proc_extra *extra = np_slot_need_extra(procs, pid->num - 1);
    if (extra == NULL)
        return NP_ENOMEM;
    extra->leader = *leader;
    return 0;
}

int np_procs_get_leader(const np_procs *procs, const np_pid *pid, np_pid *leader) {
    if (np_slot_find(procs, pid) == NULL)
        return NP_ENOPROC;
    const np_proc_extra *extra = *np_slot_extra(procs, pid->num - 1);
    *leader = extra != NULL && !np_pid_none(&extra->leader) ? extra->leader : *pid;
    return 0;
}

uint32_t np_procs_count(const np_procs *procs) { return procs->count; }

bool np_procs_next(const np_procs *procs, uint32_t *at, np_pid *pid) {
    while (*at < procs->slots) {
        uint32_t index = (*at)++;
        const np_slot *slot = np_slot_at(procs, index);
        if (slot->proc_class != NULL) {
            *pid = (np_pid){procs->node, index + 1, slot->serial, procs->creation};
            return true;
        }
    }
    return false;
}

/* ---- signals ---- */

void np_procs_exit2(np_procs *procs, const np_pid *from, const np_pid *to, np_in reason) {
    if (to->node != procs->node) {
        if (!np_pid_none(to))
            (void)np_rel_emit(procs, NP_SIGNAL_EXIT2, from, to, reason);
        return;
    }
    np_signal signal = {.kind = NP_SIGNAL_EXIT2, .from = *from, .to = *to, .reason = reason};
    if (!procs->running)
        np_queue_drain(procs);
    if (procs->running || procs->pending != 0) {
        (void)np_queue_signal(procs, &signal);
        return;
    }
    procs->running = true;
    np_queue_exit(procs, &signal.from, &signal.to, reason, false);
    procs->running = false;
    np_queue_drain(procs);
}

static bool addressed(const np_procs *procs, const np_signal *signal) {
    bool by_name = signal->name.len != 0;
    switch (signal->kind) {
    case NP_SIGNAL_MONITOR:
    case NP_SIGNAL_DEMONITOR:
        /* no pid and no name: the name is the atom '' */
        return signal->from.node != 0 && signal->from.node != procs->node &&
               (by_name || np_pid_none(&signal->to) || signal->to.node == procs->node);
    case NP_SIGNAL_DOWN:
        return (by_name || (signal->from.node != 0 && signal->from.node != procs->node)) &&
               signal->to.node == procs->node;
    default: return signal->from.node != 0 && signal->from.node != procs->node && signal->to.node == procs->node;
    }
}

static int take_signal(np_procs *procs, const np_signal *signal) {
    switch (signal->kind) {
    case NP_SIGNAL_MONITOR:
    case NP_SIGNAL_DEMONITOR:
    case NP_SIGNAL_DOWN: return np_monitors_signal(procs, signal);
    case NP_SIGNAL_EXIT2: np_queue_exit(procs, &signal->from, &signal->to, signal->reason, false); return 0;
    default: return np_links_signal(procs, signal);
    }
}

int np_procs_signal(np_procs *procs, const np_signal *signal) {
    if (!addressed(procs, signal))
        return NP_EPROTO;
    np_queue_drain(procs); /* what happened before has to be seen before */
    bool calls_class =
        signal->kind == NP_SIGNAL_EXIT || signal->kind == NP_SIGNAL_EXIT2 || signal->kind == NP_SIGNAL_DOWN;
    if (calls_class && (procs->running || procs->pending != 0))
        return np_queue_signal(procs, signal);
    if (procs->running)
        return take_signal(procs, signal);
    procs->running = true;
    int rc = take_signal(procs, signal);
    procs->running = false;
    np_queue_drain(procs);
    return rc;
}

void np_procs_node_down(np_procs *procs, np_node_id node) {
    np_queue_drain(procs);
    np_rel_link *list = np_rel_node_list(procs, node);
    while (list != NULL && *list != 0) {
        np_rel *rel = np_rel_of(*list);
        unsigned end = np_rel_end_of(*list);
        if (rel->kind == NP_REL_LINK)
            np_link_ended(procs, rel, end, procs->noconnection);
        else
            np_monitor_ended(procs, rel, end, procs->noconnection);
    }
    np_queue_drain(procs);
}

/* ---- looking in ---- */

/* Steps through the relations of a process. */
static np_rel *next_relation(np_rel_link *at, unsigned *end) {
    if (*at == 0)
        return NULL;
    np_rel *rel = np_rel_of(*at);
    *end = np_rel_end_of(*at);
    *at = rel->ends[*end].next;
    return rel;
}

int np_procs_info(const np_procs *procs, const np_pid *pid, np_proc_info *info) {
    const np_slot *slot = np_slot_find(procs, pid);
    if (slot == NULL)
        return NP_ENOPROC;
    *info = (np_proc_info){.trap_exit = (slot->next & NP_SLOT_TRAP_EXIT) != 0};
    np_rel_link at = slot->relations;
    unsigned end;
    for (const np_rel *rel; (rel = next_relation(&at, &end)) != NULL;) {
        info->links += rel->kind == NP_REL_LINK && !rel->inactive;
        info->monitors += rel->kind == NP_REL_MONITOR && end == 0;
        info->monitored_by += rel->kind == NP_REL_MONITOR && end == 1;
    }
    return np_procs_get_leader(procs, pid, &info->leader);
}

void np_procs_links_term(const np_procs *procs, const np_pid *pid, np_out *out) {
    const np_slot *slot = np_slot_find(procs, pid);
    np_proc_info info = {0};
    unsigned end;
    (void)np_procs_info(procs, pid, &info);
    np_out_list(out, info.links);
    np_rel_link at = slot == NULL ? 0 : slot->relations;
    for (const np_rel *rel; (rel = next_relation(&at, &end)) != NULL;)
        if (rel->kind == NP_REL_LINK && !rel->inactive)
            np_out_pid(out, &rel->pids[1 - end]);
    np_out_nil(out);
}

void np_procs_watchers_term(const np_procs *procs, const np_pid *pid, np_out *out) {
    const np_slot *slot = np_slot_find(procs, pid);
    np_proc_info info = {0};
    unsigned end;
    (void)np_procs_info(procs, pid, &info);
    np_out_list(out, info.monitored_by);
    np_rel_link at = slot == NULL ? 0 : slot->relations;
    for (const np_rel *rel; (rel = next_relation(&at, &end)) != NULL;)
        if (rel->kind == NP_REL_MONITOR && end == 1)
            np_out_pid(out, &rel->pids[0]);
    np_out_nil(out);
}

void np_procs_get_totals(const np_procs *procs, np_procs_totals *totals) {
    uint64_t chunks = (procs->slots + NP_SLOTS_CHUNK - 1) >> NP_SLOTS_SHIFT;
    *totals = (np_procs_totals){.processes = procs->count,
                                .names = np_map_count(&procs->names),
                                .monitors = np_map_count(&procs->monitors),
                                .links = np_map_count(&procs->links),
                                .aliases = np_map_count(&procs->aliases),
                                .bytes = chunks * sizeof(np_slots_chunk) + procs->rels_chunks * sizeof(np_rels_chunk)};
}
