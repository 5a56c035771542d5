/*
 * syn.h - a node's membership in syn scopes (syn 3.3.0 to 3.4.1): registry, process groups, discovery, conflicts.
 *
 * A machine without IO, main thread. One np_syn per node; in it one np_syn_scope per scope process, that is two for
 * each syn scope S: the registry, registered as syn_registry_S, and the groups, syn_pg_S. Messages that arrive for such
 * a process, what became of watched processes and connections, and the time go in; what it has to send goes out through
 * np_syn_io. Mirrors syn_gen_scope, syn_registry and syn_pg, plus what a hidden node owes: it discovers every peer
 * itself, since syn on the other side looks at visible nodes only.
 *
 *     np_syn_clock(syn, now_ms, now_ns);              at the start of each turn of the loop
 *     np_syn_info / _call / _down / _exited / ..      as things happen
 *     while (np_syn_run(syn)) look at the sockets;    work that is done in slices
 *     sleep until np_syn_next(syn)
 *
 * Names, groups and metadata are any terms; they are kept in canonical form and are equal as =:= says. Terms given must
 * have been validated (term/validate.h). Terms handed out are valid until the next call that takes a non-const np_syn
 * or np_syn_scope.
 *
 * Nothing a peer sends is fatal: what is malformed changes nothing and is logged, once per kind and NP_SYN_LOG_MS.
 */
#ifndef NP_SYN_SYN_H
#define NP_SYN_SYN_H

#include "base/buf.h"

#include <native_pool/term.h>

typedef struct np_syn np_syn;
typedef struct np_syn_scope np_syn_scope;

typedef enum np_syn_kind { NP_SYN_REGISTRY, NP_SYN_PG } np_syn_kind;

/*
 * What the machine asks of its owner. None of these may call the machine, but for np_syn_exited (which waits until the
 * machine is done with what it is doing). Terms are borrowed for the call.
 */
typedef struct np_syn_io {
    void *arg;

    /*
     * Sends a message from the scope's process to the process of the same name at node. Messages to one node must stay
     * in order, those of np_syn_io.snapshot included. 0; NP_EOVERLOAD: the machine keeps it and tries again later;
     * NP_ENOCONN and others: dropped, np_syn_peer_down is expected.
     */
    int (*send)(void *arg, np_syn_scope *scope, np_node_id node, np_in message);

    /*
     * The same for an ack_sync, which may be very large (about 120 bytes a name): the content may be taken out of the
     * buffer (leaving an empty one) to save a copy. NULL: goes through send.
     */
    int (*snapshot)(void *arg, np_syn_scope *scope, np_node_id node, np_buf *message);

    /*
     * The scope's process monitors the process of the same name at node, by name. Its end (also noproc, noconnection)
     * comes back through np_syn_down, never from within this call. 0 or an error (then it is tried again later). Ends
     * with the connection, or with the scope's process.
     */
    int (*watch)(void *arg, np_syn_scope *scope, np_node_id node, np_ref *ref);

    /* Is this process of ours alive? */
    bool (*alive)(void *arg, const np_pid *pid);

    /*
     * This process of ours has its first name or group in this scope, or its last one no longer: tell np_syn_exited
     * when it ends. May be NULL if np_syn_exited is called for every process that ends, which is cheaper.
     */
    void (*track)(void *arg, np_syn_scope *scope, const np_pid *pid);
    void (*untrack)(void *arg, np_syn_scope *scope, const np_pid *pid);

    /* exit(Pid, Reason) from the scope's process to a process of ours: it lost a conflict. Reason is
     * {syn_resolve_kill, Name, Meta}. */
    void (*kill)(void *arg, np_syn_scope *scope, const np_pid *pid, np_in reason);

    /* Answers a call; from is what np_syn_call was given, or a copy of it. */
    void (*reply)(void *arg, np_syn_scope *scope, np_in from, np_in reply);

    /* A plain message to any process, local or not (publish). */
    void (*message)(void *arg, const np_pid *to, np_in message);

    /*
     * Has node evaluate erlang:apply(Fun, Args) (Args is a list), as erpc:call does; the outcome comes back through
     * np_syn_evaluated with the same id, never from within this call. Any error: cannot be done. NULL: never.
     */
    int (*evaluate)(void *arg, np_syn_scope *scope, uint64_t id, np_node_id node, np_in fun, np_in args);

    /* This peer cannot be kept in sync any more (it takes no messages, or sends more than can be kept): close the
     * connection. np_syn_peer_down is expected later. May be NULL. */
    void (*disconnect)(void *arg, np_node_id node, const char *why);
} np_syn_io;

/* self is this node. NULL when out of memory. */
np_syn *np_syn_new(const np_syn_io *io, np_node_id self);
void np_syn_destroy(np_syn **syn); /* all scopes too; tells nobody */

/* now_ms is any clock that does not go back; now_ns is the time of day in nanoseconds as erlang:system_time(), which
 * may: times given to names always increase. Before any other call, then at least once a turn of the loop. */
void np_syn_clock(np_syn *syn, uint64_t now_ms, uint64_t now_ns);

/* ---- scopes ---- */

/*
 * Joins: `self` is the process that is, or is going to be, registered under np_syn_scope_process(); owner is for the
 * caller's use. Watches and discovers all peers. NP_EEXIST, NP_EINVAL (empty, or longer than the names of syn's
 * processes and tables allow), NP_ELIMIT, NP_ENOMEM.
 */
int np_syn_open(np_syn *syn, np_syn_kind kind, const char *name, size_t len, const np_pid *self, void *owner,
                np_syn_scope **scope);

/* Leaves. All names or groups in it are forgotten. The peers learn of it by the end of the scope's process. */
void np_syn_close(np_syn_scope **scope);

/* The scope's process has ended and `self` is the new one: as when syn's is restarted, local names stay, peers are
 * forgotten and discovered again. The peers must have seen the DOWN of the old one before. */
void np_syn_restart(np_syn_scope *scope, const np_pid *self);

np_syn_scope *np_syn_find(const np_syn *syn, np_syn_kind kind, const char *name, size_t len); /* or NULL */
np_syn_scope *np_syn_next_scope(const np_syn *syn, uint32_t *at); /* iteration from *at = 0; NULL at the end */

np_syn_kind np_syn_scope_kind(const np_syn_scope *scope);
np_str np_syn_scope_name(const np_syn_scope *scope);         /* S */
const char *np_syn_scope_process(const np_syn_scope *scope); /* "syn_registry_S" or "syn_pg_S" */
const np_pid *np_syn_scope_pid(const np_syn_scope *scope);
np_syn *np_syn_of(const np_syn_scope *scope);
void *np_syn_scope_owner(const np_syn_scope *scope);

/* ---- peers ---- */

/* A connection is up, or gone. All scopes then watch and discover that node, or forget its entries. Monitors with it
 * need not be reported by np_syn_down afterwards; it does no harm. */
void np_syn_peer_up(np_syn *syn, np_node_id node);
void np_syn_peer_down(np_syn *syn, np_node_id node);

/* The monitor with this ref has fired. */
void np_syn_down(np_syn_scope *scope, np_node_id node, const np_ref *ref, np_in reason);

/* The nodes a scope is in sync with, or about to be: syn's subcluster_nodes. From *at = 0; 0 at the end. */
np_node_id np_syn_next_node(const np_syn_scope *scope, uint32_t *at);

/* ---- messages to a scope's process ---- */

/*
 * A message that is no gen_server call or cast, from a process of node `from`. `owner` may be NULL, or the buffer in
 * which the message lies and which may be taken (leaving an empty one); without it a large ack_sync is copied.
 */
void np_syn_info(np_syn_scope *scope, np_node_id from, np_in message, np_buf *owner);

/* A gen_server call from a process of node `node`. `from` is handed back with the reply and not looked at: it must be
 * a term (the call's {Pid, Tag}). Always answered, a call that syn does not know with `undefined`. */
void np_syn_call(np_syn_scope *scope, np_node_id node, np_in from, np_in request);

/* ---- processes of this node ---- */

/* A process of this node has ended: its names and groups go, everywhere, with this reason. Of one without any: nothing
 * (so it may be called for all). */
void np_syn_exited(np_syn *syn, const np_pid *pid, np_in reason);

/* ---- funs evaluated elsewhere ---- */

typedef enum np_syn_outcome {
    NP_SYN_RETURNED, /* value: what the fun returned */
    NP_SYN_RAISED,   /* value: {Class, Reason, Stacktrace} */
    NP_SYN_FAILED,   /* value: a reason; it could not be evaluated */
} np_syn_outcome;

/* Unknown ids do nothing. */
void np_syn_evaluated(np_syn *syn, uint64_t id, np_syn_outcome outcome, np_in value);

/* ---- time and work ---- */

/* Does what is due and a slice of what is under way (snapshots being built or merged: about NP_SYN_SLICE names). True
 * if there is more to do at once: call it again after the sockets have had a turn. */
bool np_syn_run(np_syn *syn);

/* When np_syn_run has something to do: 0 at once, UINT64_MAX never (in the clock of now_ms). */
uint64_t np_syn_next(const np_syn *syn);

/* ---- the registry, for native code ---- */

/*
 * Registers a process of this node, or changes its metadata (0 also when nothing changed). NP_EEXIST: taken.
 * NP_ENOPROC: not alive, or not of this node. NP_ELIMIT: the name, the metadata or the scope is too large.
 * NP_EBADTERM: no canonical form (a map with a key twice). NP_ENOMEM. Asserts a registry.
 */
int np_syn_register(np_syn_scope *scope, np_in name, const np_pid *pid, np_in meta);

/* NP_ENOENT: unknown, or not of this process. pid must be of this node; for names of other nodes see np_syn_ask. */
int np_syn_unregister(np_syn_scope *scope, np_in name, const np_pid *pid);

/* Whose name it is, on any node. meta may be NULL. NP_ENOENT. */
int np_syn_lookup(np_syn_scope *scope, np_in name, np_pid *pid, np_in *meta);

/* ---- groups, for native code ---- */

int np_syn_join(np_syn_scope *scope, np_in group, const np_pid *pid, np_in meta); /* as np_syn_register */
int np_syn_leave(np_syn_scope *scope, np_in group, const np_pid *pid);            /* as np_syn_unregister */

/* Calls visit (may be NULL) for each member; nothing may be changed from within. Returns their number. */
typedef void (*np_syn_visit)(void *arg, const np_pid *pid, np_in meta);
uint32_t np_syn_members(np_syn_scope *scope, np_in group, bool local_only, np_syn_visit visit, void *arg);

/* Sends to all members. Returns their number. */
uint32_t np_syn_publish(np_syn_scope *scope, np_in group, bool local_only, np_in message);

/* ---- as requester: processes of other nodes ---- */

typedef enum np_syn_request {
    NP_SYN_ASK_SET,   /* register or join: name or group, pid, metadata */
    NP_SYN_ASK_UNSET, /* unregister or leave: name or group, pid */
} np_syn_request;

/* Builds the request that is to be sent as a gen_server call to np_syn_scope_process() at pid's node. */
void np_syn_ask(const np_syn_scope *scope, np_syn_request kind, np_in name, const np_pid *pid, np_in meta,
                np_out *request);

/* Its answer: applies it (syn excludes the requester from its broadcast). 0; NP_EEXIST (taken), NP_ENOPROC (not
 * alive), NP_ENOENT (unknown, or the name is not of this pid there), NP_EPROTO (anything else). */
int np_syn_answered(np_syn_scope *scope, np_syn_request kind, np_in name, const np_pid *pid, np_in answer);

/* ---- looking in ---- */

typedef struct np_syn_stats {
    uint32_t entries; /* names, or memberships */
    uint32_t groups;
    uint32_t local; /* entries of this node's processes */
    uint32_t peers; /* known ones */
} np_syn_stats;
void np_syn_get_stats(const np_syn_scope *scope, np_syn_stats *stats);

/* Bytes of memory held, all scopes together. Counted as they are asked for, without the allocator's own. */
size_t np_syn_memory(const np_syn *syn);

/* Visits all entries, in no order, until visit returns false (then false); nothing may be changed meanwhile. */
typedef bool (*np_syn_visit_entry)(void *arg, np_in name, const np_pid *pid, np_in meta, uint64_t time_ns);
bool np_syn_each_entry(const np_syn_scope *scope, np_syn_visit_entry visit, void *arg);

#endif
