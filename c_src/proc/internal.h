/*
 * internal.h - what the files of proc/ share: the slot table, the relation records and the inner queue.
 *
 * A relation (np_rel) is one monitor, link or alias. It has two ends; an end is a member of one list: that of the
 * local process the end belongs to, or that of the remote node, or (when the process of that end is gone and the
 * other end has yet to be told) the inner queue. So a process's end and a node's loss cost no more than their own
 * relations, and telling a local process of them needs no memory.
 *
 * Lists are of tagged pointers: the address of the record plus the number of the end (0 or 1) that is the member.
 */
#ifndef NP_PROC_INTERNAL_H
#define NP_PROC_INTERNAL_H

#include "base/buf.h"
#include "base/limits.h"
#include "base/map.h"
#include "proc/procs.h"
#include "term/ids.h"

/* A registered name's text, shared by the name and the monitors that were asked for by it. */
typedef struct np_text {
    uint32_t refs;
    uint32_t len;
    char data[];
} np_text;

/* An exit reason, shared by all who have yet to be told. */
typedef struct np_reason {
    uint32_t refs;
    uint32_t len;
    uint8_t data[];
} np_reason;

typedef uintptr_t np_rel_link; /* 0: none */

typedef enum np_rel_kind {
    NP_REL_FREE,
    NP_REL_MONITOR, /* pids: watcher, target (by name on another node: only its node) */
    NP_REL_LINK,    /* pids: of two local processes the smaller num first; else local, remote */
    NP_REL_ALIAS,   /* pids: owner, none */
    NP_REL_SIGNAL,  /* only in the inner queue: a signal that came while another was being handled. pids: from, to */
} np_rel_kind;

typedef struct np_rel_end {
    np_rel_link next;
    np_rel_link *back; /* what points at us; NULL: in no list */
} np_rel_end;

typedef struct np_rel {
    np_rel_end ends[2];
    np_pid pids[2];
    np_text *name;     /* monitors by name */
    np_reason *reason; /* while in the inner queue */
    union {
        /* Monitors, aliases: the reference. Its node and creation are those of pids[0] (signals: of pids[1]). */
        uint32_t words[NP_REF_WORDS_MAX];
        struct {
            uint32_t high, low;
        } unlink_id; /* links: of the UNLINK_ID we wait for */
    } u;
    uint8_t kind;      /* np_rel_kind */
    uint8_t ref_len;   /* words of the reference */
    uint8_t signal;    /* np_signal_kind of an NP_REL_SIGNAL */
    bool inactive : 1; /* links: unlinked here, not acknowledged yet */
    bool once : 1;     /* aliases */
    bool pending : 1;  /* one end is in the inner queue */
} np_rel;

/* What few processes have. */
typedef struct np_proc_extra {
    np_pid leader; /* none: not set */
    struct np_regname *first_name, *last_name;
} np_proc_extra;

/* Half a cache line: finding a process touches no more. What is seldom asked for is in np_slots_chunk.extra. */
typedef struct np_slot {
    void *target;
    const np_proc_class *proc_class; /* NULL: free */
    np_rel_link relations;
    uint32_t serial; /* of the process, or of the next one */
    uint32_t next;   /* free: the next free slot's index + 1. live: NP_SLOT_* flags */
} np_slot;

enum { NP_SLOT_TRAP_EXIT = 1 };

enum {
    NP_SLOTS_SHIFT = 12, /* slots come in chunks of 4096 that never move */
    NP_SLOTS_ALIGN = 64,
    NP_SLOTS_CHUNK = 1 << NP_SLOTS_SHIFT,
    NP_RELS_CHUNK = 512,
    NP_NODES_SHIFT = 8,
    NP_NODES_CHUNK = 1 << NP_NODES_SHIFT,
    NP_NODES_CHUNKS = (NP_NODE_NAMES_MAX >> NP_NODES_SHIFT) + 1,
    /*
     * Signals handled in one go. The rest waits for the next call, so that two processes which keep killing their
     * successors cannot stop the node.
     */
    NP_DRAIN_MAX = 1 << 20,
    NP_SCRATCH_KEEP = 64 << 10,
};

typedef struct np_slots_chunk {
    np_slot slots[NP_SLOTS_CHUNK];
    np_proc_extra *extra[NP_SLOTS_CHUNK]; /* NULL: nothing special */
} np_slots_chunk;

typedef struct np_rels_chunk {
    struct np_rels_chunk *next;
    np_rel rels[NP_RELS_CHUNK];
} np_rels_chunk;

struct np_procs {
    np_node_id node;
    uint32_t creation;
    np_slots_chunk **chunks;
    uint32_t slots; /* made so far, live or free */
    uint32_t chunks_cap;
    uint32_t count;                 /* live */
    uint32_t free_first, free_last; /* index + 1; 0: none. First in, first out */
    np_procs_io io;

    np_map names;

    np_map monitors; /* by watcher and ref */
    np_map links;    /* by both pids */
    np_map aliases;  /* by ref */
    np_rel *pool;    /* free records, through ends[0].next */
    np_rels_chunk *rels;
    uint64_t rels_chunks;
    np_rel_link *nodes[NP_NODES_CHUNKS]; /* relations with each other node */

    np_rel_link pending; /* the inner queue */
    np_rel_link *pending_tail;
    bool woken;   /* np_procs_io.wake has been called */
    bool running; /* a signal is being handled: class functions may be below us on the stack */
    np_buf scratch;

    uint64_t ref_last;
    uint64_t unlink_last;
    np_reason *noproc, *noconnection, *killed, *system_limit;
};

/* ---- procs.c ---- */

static inline np_slot *np_slot_at(const np_procs *procs, uint32_t index) {
    return &procs->chunks[index >> NP_SLOTS_SHIFT]->slots[index & (NP_SLOTS_CHUNK - 1)];
}

static inline np_proc_extra **np_slot_extra(const np_procs *procs, uint32_t index) {
    return &procs->chunks[index >> NP_SLOTS_SHIFT]->extra[index & (NP_SLOTS_CHUNK - 1)];
}

/* The slot of a live local process, or NULL. */
static inline np_slot *np_slot_find(const np_procs *procs, const np_pid *pid) {
    uint32_t index = pid->num - 1;
    if (pid->node != procs->node || pid->creation != procs->creation || index >= procs->slots)
        return NULL;
    np_slot *slot = np_slot_at(procs, index);
    return slot->serial == pid->serial && slot->proc_class != NULL ? slot : NULL;
}

/* The process's extra part, made if need be; NULL when out of memory. */
np_proc_extra *np_slot_need_extra(np_procs *procs, uint32_t index);

/* Ends a process: frees its slot and names, tells its relations. Its class's killed is the caller's affair. */
void np_slot_end(np_procs *procs, np_slot *slot, const np_pid *pid, np_in reason);

/* ---- names.c ---- */

struct np_regname *np_regname_find(const np_procs *procs, np_str name);
bool np_regname_pid(const np_procs *procs, const struct np_regname *name, np_pid *pid);
np_text *np_regname_text(struct np_regname *name); /* one more reference to its text */
void np_regnames_init(np_procs *procs);
void np_regnames_release(np_procs *procs, uint32_t index); /* all names of a process */
void np_regnames_fini(np_procs *procs);
np_text *np_text_new(np_str text); /* NULL when out of memory */
void np_text_unref(np_text *text);

/* ---- relations.c ---- */

static inline np_rel *np_rel_of(np_rel_link link) { return (np_rel *)(link & ~(np_rel_link)1); }
static inline unsigned np_rel_end_of(np_rel_link link) { return (unsigned)(link & 1); }

void np_rels_init(np_procs *procs);
void np_rels_fini(np_procs *procs);

/* A fresh record in no list and no table; NULL when out of memory. */
np_rel *np_rel_new(np_procs *procs, np_rel_kind kind);

/* Takes it out of everything and gives it back. */
void np_rel_free(np_procs *procs, np_rel *rel);

/* Puts an end into the list of its process or node. NP_ENOMEM. */
int np_rel_attach(np_procs *procs, np_rel *rel, unsigned end);
void np_rel_detach(np_procs *procs, np_rel *rel, unsigned end);

/* Puts an end at the front of a list. */
void np_rel_push(np_rel_link *list, np_rel *rel, unsigned end);

/* The list of relations with a node; NULL: there never was one. */
np_rel_link *np_rel_node_list(np_procs *procs, np_node_id node);

/* Puts an end, whose process is gone, into the inner queue, for the other end to be told. */
void np_rel_pend(np_procs *procs, np_rel *rel, unsigned end, np_reason *reason);

/* Enters a new record into its table; an error frees it. NP_EEXIST, NP_ENOMEM, NP_ELIMIT. */
int np_rel_enter(np_procs *procs, np_rel *rel);

np_rel *np_rel_monitor(const np_procs *procs, const np_pid *watcher, const np_ref *ref);
/* Finds and frees in one. */
bool np_rel_drop_monitor(np_procs *procs, const np_pid *watcher, const np_ref *ref);
np_rel *np_rel_link_of(const np_procs *procs, const np_pid *a, const np_pid *b);
np_rel *np_rel_alias(const np_procs *procs, const np_ref *ref);

/* The pids of a link in the order in which they are stored. */
void np_rel_link_order(const np_procs *procs, const np_pid *a, const np_pid *b, np_pid pids[2]);

np_ref np_rel_ref(const np_rel *rel);

/* A signal to another node, with what every kind has; NP_ENOCONN, NP_ENOPROC. */
int np_rel_emit(np_procs *procs, np_signal_kind kind, const np_pid *from, const np_pid *to, np_in reason);
int np_rel_emit_ack(np_procs *procs, np_signal_kind kind, const np_pid *from, const np_pid *to, uint64_t id);

/* ---- queue.c ---- */

np_reason *np_reason_new(np_in reason); /* NULL when out of memory */
np_reason *np_reason_atom(const char *name);
void np_reason_unref(np_reason *reason);
static inline np_reason *np_reason_ref(np_reason *reason) {
    reason->refs++;
    return reason;
}
static inline np_in np_reason_in(const np_reason *reason) {
    np_in in = {reason->data, 0, reason->len};
    return in;
}

/* What to tell when the io would not take a signal. */
np_reason *np_reason_of_error(const np_procs *procs, int error);

/* Handles what is in the inner queue, unless that is being done further up the stack already. */
void np_queue_drain(np_procs *procs);

/* Asks for np_procs_run if something is waiting that nobody will come to by himself. */
void np_queue_wake(np_procs *procs);

/* Keeps an EXIT, EXIT2 or DOWN for later. */
int np_queue_signal(np_procs *procs, const np_signal *signal);

/* An exit signal arrives at a local process. */
void np_queue_exit(np_procs *procs, const np_pid *from, const np_pid *to, np_in reason, bool broken_link);

/* Ends a monitor and tells its local watcher. */
void np_queue_down(np_procs *procs, np_rel *monitor, np_in reason);

/* ---- monitors.c, links.c, aliases.c ---- */

int np_monitors_signal(np_procs *procs, const np_signal *signal);
int np_links_signal(np_procs *procs, const np_signal *signal);

/*
 * The process at that end of a relation has ended (its slot is free already), or its node is gone. Each takes the end
 * out of its list.
 */
void np_monitor_ended(np_procs *procs, np_rel *rel, unsigned end, np_reason *reason);
void np_link_ended(np_procs *procs, np_rel *rel, unsigned end, np_reason *reason);

/* A monitor or its watcher's interest has ended: the once-alias of the same reference goes too. */
void np_alias_forget(np_procs *procs, const np_pid *owner, const np_ref *ref);

#endif
