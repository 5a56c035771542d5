/*
 * internal.h - what the files of syn/ share: the structures, and who does what. Main thread, inside syn/ only.
 *
 *   syn.c       the node's membership, its scopes, the clock, the work that waits
 *   native.c    what native code asks for
 *   entries.c   names and memberships and their indexes; metadata, each kept once
 *   encode.c    the messages of syn 3.x
 *   own.c       names of this node's processes: registered, changed, removed, told to all
 *   merge.c     what others say about theirs: the merge rules, conflicts
 *   nodes.c     peers: watching, discovering, sending in order, forgetting
 *   snapshot.c  ack_sync: built and merged in slices
 *   messages.c  messages from other nodes, taken apart
 *   calls.c     gen_server calls, those with a fun, and calls of ours
 */
#ifndef NP_SYN_INTERNAL_H
#define NP_SYN_INTERNAL_H

#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/timers.h"
#include "syn/index.h"
#include "syn/syn.h"

typedef struct np_syn_node np_syn_node;
typedef struct np_syn_entry np_syn_entry;
typedef struct np_syn_origin np_syn_origin;

/* Bytes of a canonical term, and their hash. */
typedef struct np_syn_key {
    np_bytes bytes;
    uint32_t hash;
} np_syn_key;

/* Metadata: equal ones are one. */
typedef struct np_syn_meta {
    np_syn_link link; /* in np_syn.metas */
    uint32_t hash;
    uint32_t refs;
    uint32_t len;
    uint8_t bytes[];
} np_syn_meta;

/* A name of a registry, or a process's membership in a group. There are a million of these: mind the size. What a
 * look-up touches is at the end, beside the name. */
struct np_syn_entry {
    np_syn_link by_pid;
    np_syn_entry *next, *prev; /* in the origin */
    np_syn_meta *meta;
    uint64_t time_ns : 63;
    uint64_t won : 1; /* the time is that of a conflict it won */
    np_syn_origin *origin;
    np_syn_link by_key;             /* name; or group and pid */
    uint32_t num, serial, creation; /* of the pid */
    uint32_t hash;                  /* of the key */
};

typedef struct np_syn_name {
    np_syn_entry entry;
    uint32_t len;
    uint8_t bytes[];
} np_syn_name;

typedef struct np_syn_group {
    np_syn_link link; /* in np_syn_scope.groups */
    struct np_syn_member *first;
    uint32_t hash;
    uint32_t len;
    uint8_t bytes[];
} np_syn_group;

typedef struct np_syn_member {
    np_syn_entry entry;
    np_syn_group *group;
    struct np_syn_member *next, *prev; /* in the group */
} np_syn_member;

/* An ack_sync of ours on its way to a peer. */
typedef struct np_syn_out {
    bool building;
    bool ready;           /* built, not taken yet */
    np_syn_entry *cursor; /* the next of our entries to put in; entries that come are put in front, and told later */
    np_buf message;
    size_t count_at; /* where the length of the list stands */
    uint32_t count;
} np_syn_out;

/* An ack_sync of a peer's being merged. */
typedef struct np_syn_merge {
    bool running;
    bool replaying; /* behind it: what is in the journal */
    bool doubt;     /* this list, or what came before it, may be a left-over of the connection before */
    np_buf message;
    size_t released; /* of it, to the system */
    np_list list;
} np_syn_merge;

/* The entries of one node: of a peer as long as we are in sync with it, or our own. */
struct np_syn_origin {
    np_node_id node;
    np_syn_scope *scope;
    np_syn_entry *first;
    uint32_t count;
    bool gone;           /* its entries count as removed, and are being */
    np_syn_origin *next; /* among those that are gone */
};

/* A peer in a scope. */
struct np_syn_node {
    np_syn_node *next, *prev; /* in the scope, in the order in which they were connected */
    np_node_id id;
    np_syn_scope *scope;
    np_syn_origin *origin;
    np_syn_origin *old; /* while a full list is merged: what it has not named yet */

    /* Watching. */
    bool watched;
    np_ref watch;
    uint64_t retry_ms; /* how long to wait if it is not there */
    uint64_t look_ms;  /* when to look for it again */

    /* Membership: in the nodes_map, as syn calls it. */
    bool known;
    bool met; /* known since the connection is up, though maybe not now */
    np_pid process;
    bool awaiting; /* an answer to our discover is to come */
    bool full;     /* which will be all there is: what it does not name is gone */
    bool settled;  /* one has come since the connection is up */

    /* What came before it could be merged: messages, each with its length and whether it was applied already. */
    np_buf journal;
    bool lossy; /* too much came */
    np_syn_merge merge;

    /* Towards it. */
    np_syn_out out;
    np_buf held;          /* messages that wait, each with its length */
    uint64_t patience_ms; /* it takes no more until then */
    bool given_up;
    uint32_t acks;     /* that may be sent at once */
    uint64_t acks_ms;  /* when one was added to these */
    bool ack_wanted;   /* a discover waits for that */
    uint64_t again_ms; /* when to send an ack_sync unasked; 0: not */

    np_timer timer; /* wakes it */
    np_syn_node *work_next;
    bool waiting; /* in np_syn.work */
};

struct np_syn_scope {
    np_syn *syn;
    np_syn_kind kind;
    np_pid self;
    void *owner;
    uint32_t number; /* in np_syn.scopes */
    np_syn_index keys;
    np_syn_index pids;
    np_syn_index groups;
    np_map nodes; /* np_syn_node of peers that are connected, by id */
    np_syn_node *first_node, *last_node;
    uint32_t known;
    np_syn_origin *home;   /* of this node */
    np_syn_origin *graves; /* those that are gone */
    uint32_t buried;       /* entries in these */
    size_t name_len;
    char *name;
    char *process;       /* the registered name */
    char *table_by_name; /* the requester's tables, in replies */
    char *table_by_pid;
};

/* What is wrong with a message; each is logged by itself. */
typedef enum np_syn_wrong {
    NP_SYN_WRONG_MESSAGE,   /* no message of syn's */
    NP_SYN_WRONG_CALL,      /* no call of syn's */
    NP_SYN_WRONG_PID,       /* a process of another node than the sender's */
    NP_SYN_WRONG_TIME,      /* no time, or one far in the future */
    NP_SYN_WRONG_TERM,      /* a term that is too large or has no canonical form */
    NP_SYN_WRONG_ENTRY,     /* in an ack_sync */
    NP_SYN_WRONG_FLOOD,     /* more than is kept */
    NP_SYN_WRONG_RESOURCES, /* ours: no memory, too many */
    NP_SYN_WRONG_KINDS,
} np_syn_wrong;

typedef struct np_syn_update {
    uint64_t id;
    np_syn_scope *scope;
    np_syn_meta *meta; /* what the fun was given */
    np_pid pid;
    np_node_id requester;
    uint32_t tries;
    np_buf from, name, fun;
    struct np_syn_update *next;
} np_syn_update;

/* A process that ended while the machine was busy; the reason's bytes follow. */
typedef struct np_syn_ended {
    np_pid pid;
    size_t reason_len;
} np_syn_ended;

/* Bounds of limits.h that tests make smaller. */
typedef struct np_syn_bounds {
    uint32_t slice;         /* NP_SYN_SLICE */
    size_t copy_free_bytes; /* an ack_sync up to this is merged where it lies, at once */
    size_t early_bytes;     /* NP_SYN_EARLY_BYTES */
    size_t held_bytes;      /* NP_SYN_HELD_BYTES */
} np_syn_bounds;

struct np_syn {
    np_syn_io io;
    np_node_id self;
    np_syn_bounds bounds;
    uint64_t now_ms, now_ns;
    uint64_t stamp_ns; /* last time given */
    np_syn_index metas;
    np_timers timers;
    np_syn_scope **scopes; /* NP_SYN_SCOPES_MAX places at most, some NULL */
    uint32_t scopes_len;
    uint32_t scopes_count;
    np_buf peers; /* np_node_id of those connected */
    np_syn_node *work, *work_last;
    uint32_t inside; /* calls into the machine; np_syn_exited waits for 0 */
    np_buf exits;    /* of np_syn_ended */
    np_syn_update *updates;
    uint32_t updates_count;
    uint64_t update_id;
    uint64_t complained_ms[NP_SYN_WRONG_KINDS]; /* + 1; 0: never */
    uint32_t complaints[NP_SYN_WRONG_KINDS];    /* since then */
    np_log_limit conflicts;
    size_t bytes;                      /* of entries, groups, metadata */
    np_buf name_scratch, meta_scratch; /* canonical forms */
    np_buf out_scratch, aux_scratch;   /* messages being built */
};

/* ---- syn.c ---- */

/* Around everything that may call np_syn_io. */
void np_syn_enter(np_syn *syn);
void np_syn_exit(np_syn *syn);
uint64_t np_syn_stamp(np_syn *syn); /* a time for an entry of ours, later than all before */
void np_syn_complain(np_syn *syn, np_syn_wrong wrong, const np_syn_scope *scope, np_node_id node, np_in what);

/* ---- entries.c ---- */

/* The canonical form and hash of the one term in the cursor, valid until the next. NP_ELIMIT, NP_EBADTERM,
 * NP_ENOMEM. */
int np_syn_key_read(np_syn *syn, np_in term, np_syn_key *key);

/* The metadata of the one term in the cursor, with a reference for the caller. Errors as above. */
int np_syn_meta_get(np_syn *syn, np_in term, np_syn_meta **meta);
np_syn_meta *np_syn_meta_ref(np_syn_meta *meta);
void np_syn_meta_unref(np_syn *syn, np_syn_meta *meta);
np_in np_syn_meta_in(const np_syn_meta *meta);

void np_syn_metas_init(np_syn *syn);
void np_syn_entries_init(np_syn_scope *scope);
void np_syn_entries_fini(np_syn_scope *scope);

/* The entry of a name (pid is not looked at), or of a process in a group; NULL. */
np_syn_entry *np_syn_entry_find(np_syn_scope *scope, const np_syn_key *key, const np_pid *pid);
np_syn_entry *np_syn_entry_of_pid(np_syn_scope *scope, const np_pid *pid); /* any one, or NULL */

/* A new entry, which there was none of; takes the caller's reference of meta in any case. NP_ELIMIT, NP_ENOMEM. */
int np_syn_entry_add(np_syn_origin *origin, const np_syn_key *key, const np_pid *pid, np_syn_meta *meta,
                     uint64_t time_ns);
/* The same name with another process; of a registry. */
void np_syn_entry_move(np_syn_entry *entry, np_syn_origin *origin, const np_pid *pid);
/* The same process, as an entry of another origin. */
void np_syn_entry_adopt(np_syn_entry *entry, np_syn_origin *origin);
/* Other metadata (takes the reference) and time. */
void np_syn_entry_set(np_syn_entry *entry, np_syn_meta *meta, uint64_t time_ns);
void np_syn_entry_remove(np_syn_entry *entry);

static inline np_pid np_syn_entry_pid(const np_syn_entry *entry) {
    return (np_pid){entry->origin->node, entry->num, entry->serial, entry->creation};
}
bool np_syn_entry_is(const np_syn_entry *entry, const np_pid *pid);
np_in np_syn_entry_name(const np_syn_entry *entry); /* name or group */
np_syn_group *np_syn_group_find(const np_syn_scope *scope, const np_syn_key *key);

np_syn_origin *np_syn_origin_new(np_syn_scope *scope, np_node_id node);
/* All its entries go, in time: nobody finds them any more. Frees it. */
void np_syn_origin_bury(np_syn_origin *origin);
bool np_syn_bury(np_syn_scope *scope, uint32_t *slice); /* goes on with that; true if there is more */

/* ---- encode.c: whole messages, valid until the next one ---- */

np_in np_syn_encode_discover(np_syn_scope *scope);
/* sync_register, sync_join; sync_unregister, sync_leave. reason as an atom, or as a term if that is NULL. */
np_in np_syn_encode_set(np_syn_entry *entry, const char *reason);
np_in np_syn_encode_remove(np_syn_scope *scope, np_in name, const np_pid *pid, np_in meta, const char *reason,
                           np_in reason_term);
/* An ack_sync up to the length of its list, and an element of that. */
int np_syn_encode_ack_head(np_syn_scope *scope, np_buf *message);
int np_syn_encode_ack_entry(const np_syn_entry *entry, np_buf *message);

/* ---- own.c ---- */

typedef enum np_syn_set {
    NP_SYN_SET_NEW,
    NP_SYN_SET_CHANGED,
    NP_SYN_SET_SAME, /* nothing was done */
} np_syn_set;

typedef struct np_syn_setting {
    np_syn_set set;
    np_syn_meta *previous; /* of NP_SYN_SET_CHANGED, with a reference for the caller; else NULL */
    np_syn_entry *entry;
} np_syn_setting;

/* A name, or membership, of a process of ours, told to all but `exclude` (0: to all). Takes the reference of meta.
 * NP_EEXIST, NP_ENOPROC, NP_ELIMIT, NP_ENOMEM. */
int np_syn_own_set(np_syn_scope *scope, const np_syn_key *key, const np_pid *pid, np_syn_meta *meta, np_node_id exclude,
                   np_syn_setting *setting);
/* Removes an entry of ours and tells all but `exclude`; the reason as for np_syn_encode_remove. */
void np_syn_own_remove(np_syn_entry *entry, const char *reason, np_in reason_term, np_node_id exclude);

/* ---- merge.c ---- */

typedef struct np_syn_news {
    np_syn_key key;
    np_pid pid;
    np_in meta;
    uint64_t time_ns;
} np_syn_news;

/* What a node says of a process of its own. NP_ELIMIT, NP_EBADTERM, NP_ENOMEM for the metadata. */
int np_syn_merge_set(np_syn_node *node, const np_syn_news *news);
void np_syn_merge_remove(np_syn_node *node, const np_syn_key *key, const np_pid *pid);

/* ---- nodes.c ---- */

void np_syn_nodes_init(np_syn_scope *scope);
np_syn_node *np_syn_node_find(const np_syn_scope *scope, np_node_id id); /* a connected peer, or NULL */
int np_syn_node_up(np_syn_scope *scope, np_node_id id);
void np_syn_node_down(np_syn_node *node);       /* disconnected; frees it */
void np_syn_nodes_restart(np_syn_scope *scope); /* our process is another one: all from the start */
/* Its process is gone: entries, membership, and what is under way. */
void np_syn_node_forget(np_syn_node *node);
void np_syn_node_learn(np_syn_node *node, const np_pid *process); /* it is a member now */
void np_syn_node_discover(np_syn_node *node);
void np_syn_node_start_over(np_syn_node *node);          /* something was lost: its entries are asked for again */
void np_syn_node_send(np_syn_node *node, np_in message); /* in order */
void np_syn_broadcast(np_syn_scope *scope, np_in message, np_node_id exclude);
void np_syn_broadcast_removal(np_syn_scope *scope, np_in message, np_node_id exclude);
void np_syn_node_wake(np_syn_node *node);     /* there is work */
np_syn_node *np_syn_next_work(np_syn *syn);   /* takes the first one that waits; there is one */
void np_syn_node_schedule(np_syn_node *node); /* sets the timer to what is due next */
/* Does up to *slice names of what waits; true if there is more. */
bool np_syn_node_work(np_syn_node *node, uint32_t *slice);
static inline bool np_syn_node_holds(const np_syn_node *node) {
    return node->out.building || node->out.ready || np_buf_len(&node->held) > 0;
}

/* ---- snapshot.c ---- */

void np_syn_ack(np_syn_node *node); /* sends our names, now or when it is its turn */
void np_syn_out_work(np_syn_node *node, uint32_t *slice);
int np_syn_out_push(np_syn_node *node); /* hands over what is ready. NP_EOVERLOAD: later */
void np_syn_out_drop(np_syn_node *node);
/* The list lies in owner, if there is one. answer: it is the one we asked for. */
void np_syn_merge_start(np_syn_node *node, np_in list, np_buf *owner, bool answer);
void np_syn_merge_work(np_syn_node *node, uint32_t *slice);
void np_syn_merge_drop(np_syn_node *node);
/* A message that must wait for an ack_sync, or was applied already and will be once more. */
void np_syn_journal(np_syn_node *node, np_in message, bool applied);

/* ---- messages.c ---- */

/* A sync_* message, which may have to wait. */
void np_syn_sync(np_syn_node *node, np_in message);
/* One from the journal; false if it is an ack_sync. */
bool np_syn_replay(np_syn_node *node, np_in message, bool applied);
/* An element of the list of an ack_sync. */
void np_syn_merge_element(np_syn_node *node, np_in element);

/* ---- calls.c ---- */

void np_syn_updates_drop(np_syn *syn, const np_syn_scope *scope); /* NULL: all */

#endif
