/*
 * procs.h - the processes of this node as Erlang sees them: pids, registered names, monitors, links, aliases, exit
 * signals.
 *
 * A machine without IO. It knows no messages but the two it makes itself ({'EXIT',..} and {'DOWN',..}); what a process
 * is and does is its class's affair. Signals to other nodes leave through np_procs_io.signal, signals from them enter
 * through np_procs_signal. Semantics: "Processes" and "Communication in Erlang" of the reference manual, and shared
 * facts of erts (erl_proc_sig_queue.c).
 *
 * Signals between local processes take the same way as remote ones, through an inner queue, so that a chain of exits
 * needs no stack and no class function is entered while another of the same call is running.
 */
#ifndef NP_PROC_PROCS_H
#define NP_PROC_PROCS_H

#include <native_pool/term.h>

typedef struct np_procs np_procs;

/* What all processes of one kind have in common. */
typedef struct np_proc_class {
    const char *name; /* "worker", "supervisor", ..; for process_info and logs */

    /* A message made by this layer: {'EXIT', From, Reason} to a process that traps exits, {'DOWN', Ref, process,
     * PidOrName, Reason}. */
    void (*message)(void *target, const np_pid *self, np_in message);

    /*
     * An exit signal has ended the process. It is gone already: the pid is dead, names are free, links and monitors
     * have been told. The owner of target frees it. (np_procs_exit does not call this: whoever calls that knows.)
     */
    void (*killed)(void *target, const np_pid *self, np_in reason);
} np_proc_class;

typedef enum np_signal_kind {
    NP_SIGNAL_MONITOR,       /* from watches to (or name on this/that node), ref */
    NP_SIGNAL_DEMONITOR,     /* same fields */
    NP_SIGNAL_DOWN,          /* from (or name: what the watcher asked for) has ended; to: watcher; ref; reason */
    NP_SIGNAL_LINK,          /* from, to */
    NP_SIGNAL_UNLINK,        /* from, to: without the unlink-id protocol */
    NP_SIGNAL_UNLINK_ID,     /* from, to, id */
    NP_SIGNAL_UNLINK_ID_ACK, /* from, to, id */
    NP_SIGNAL_EXIT,          /* from, to, reason: the link broke */
    NP_SIGNAL_EXIT2,         /* from, to, reason: exit/2 */
} np_signal_kind;

typedef struct np_signal {
    np_signal_kind kind;
    np_pid from;
    np_pid to;
    np_str name;     /* len 0: none */
    np_node_id node; /* out: the node it goes to (that of `to`, or of the name) */
    np_ref ref;
    uint64_t id;
    np_in reason;
} np_signal;

typedef struct np_procs_io {
    void *arg;
    /*
     * A signal for a process of another node; borrowed. 0; NP_ENOCONN: that node is not connected (the machine then
     * acts as if it had just gone: DOWN or EXIT with noconnection where a monitor or link was being made, else
     * nothing); NP_ENOPROC: the pid is of another incarnation of that node than the one connected (the same with
     * noproc; OTP closes the connection on an EXIT or UNLINK_ID to such a pid, so nothing may be sent).
     */
    int (*signal)(void *arg, const np_signal *signal);
    /*
     * np_procs_monitor* or np_procs_link has left something for np_procs_run, which is to be called soon, but not from
     * within. Called once until that has been done. NULL: the caller looks at np_procs_pending itself.
     */
    void (*wake)(void *arg);
    /* A process of ours has ended, for whatever reason: the last that is heard of it. Must not call the machine. NULL:
     * not wanted. */
    void (*ended)(void *arg, const np_pid *pid, np_in reason);
} np_procs_io;

/* node and creation are those of all pids and refs made here. NULL when out of memory. */
np_procs *np_procs_new(const np_procs_io *io, np_node_id node, uint32_t creation);
void np_procs_destroy(np_procs **procs); /* tells nobody */

/*
 * Handles what is waiting in the inner queue. Every function below that can end a process or takes a signal does so
 * itself before it returns; only np_procs_monitor* and np_procs_link do not, because their caller must get the
 * reference before the DOWN. After those, called from outside of class functions, it is up to the caller (once a loop
 * turn is enough; np_procs_io.wake says when). Does nothing within a class function.
 */
void np_procs_run(np_procs *procs);
bool np_procs_pending(const np_procs *procs); /* there is something to run */

/* ---- life ---- */

/* A new process. NP_ELIMIT, NP_ENOMEM. Pids are never used twice. */
int np_procs_spawn(np_procs *procs, const np_proc_class *proc_class, void *target, np_pid *pid);

/* Gives a process its target, when that could only be made after the pid was known (spawned with NULL till then).
 * NP_ENOPROC. */
int np_procs_set_target(np_procs *procs, const np_pid *pid, void *target);

/* A process ends by itself with this reason (borrowed): names are freed, links and monitors told. Of a dead pid:
 * nothing. */
void np_procs_exit(np_procs *procs, const np_pid *pid, np_in reason);

/* The target and class of a local live process; NULL class: not ours, another creation, or dead. O(1). */
const np_proc_class *np_procs_find(const np_procs *procs, const np_pid *pid, void **target);
bool np_procs_alive(const np_procs *procs, const np_pid *pid);
bool np_procs_local(const np_procs *procs, const np_pid *pid); /* of this node and creation, dead or alive */

int np_procs_set_trap_exit(np_procs *procs, const np_pid *pid, bool trap); /* NP_ENOPROC */
int np_procs_set_leader(np_procs *procs, const np_pid *pid,
                        const np_pid *leader); /* group leader; NP_ENOPROC, NP_ENOMEM */
int np_procs_get_leader(const np_procs *procs, const np_pid *pid,
                        np_pid *leader); /* none was set: the process itself. NP_ENOPROC */

uint32_t np_procs_count(const np_procs *procs);
/* Live processes in order of their slots: start with *at = 0; false at the end. Processes may come and go meanwhile. */
bool np_procs_next(const np_procs *procs, uint32_t *at, np_pid *pid);

/* ---- names ---- */

/* Registers a name. NP_EEXIST, NP_ENOPROC, NP_ELIMIT, NP_EINVAL (empty, `undefined`, longer than an atom). A process
 * may have several. */
int np_procs_register(np_procs *procs, const np_pid *pid, const char *name, size_t len);
int np_procs_unregister(np_procs *procs, const char *name, size_t len);                 /* NP_ENOENT */
int np_procs_whereis(const np_procs *procs, const char *name, size_t len, np_pid *pid); /* NP_ENOENT */
/* The first name a process registered; len 0: none. Valid until it is unregistered. */
np_str np_procs_name_of(const np_procs *procs, const np_pid *pid);
bool np_procs_next_name(const np_procs *procs, uint32_t *at, np_str *name, np_pid *pid);

/* ---- references and aliases ---- */

/* A reference no one else has: three words, unique within the creation. */
np_ref np_procs_make_ref(np_procs *procs);

/*
 * Makes ref (one of np_procs_make_ref) an alias of the process: messages to it arrive, until np_procs_unalias, its end
 * or (once) the first message or the end of the monitor with the same ref, be it a DOWN or np_procs_demonitor.
 * NP_ENOPROC, NP_EEXIST, NP_EINVAL, NP_ELIMIT, NP_ENOMEM.
 */
int np_procs_alias(np_procs *procs, const np_pid *pid, const np_ref *ref, bool once);
void np_procs_unalias(np_procs *procs, const np_ref *ref);
/* A message came for an alias: whose it is. NP_ENOENT: none (drop it). Takes a once-alias away, and with it the monitor
 * of the same ref. */
int np_procs_alias_take(np_procs *procs, const np_ref *ref, np_pid *pid);

/* ---- monitors and links of local processes ---- */

/* self watches a pid anywhere. The DOWN may arrive before this returns only through the inner queue, i.e. never inside
 * this call. NP_ENOPROC (self), NP_ELIMIT, NP_ENOMEM. */
int np_procs_monitor(np_procs *procs, const np_pid *self, const np_pid *pid, np_ref *ref);
int np_procs_monitor_name(np_procs *procs, const np_pid *self, np_node_id node, const char *name, size_t len,
                          np_ref *ref);
/* As above with a ref the caller made (to be alias and monitor in one, as gen:call does). */
int np_procs_monitor_with(np_procs *procs, const np_pid *self, const np_pid *pid, const np_ref *ref);
int np_procs_monitor_name_with(np_procs *procs, const np_pid *self, np_node_id node, const char *name, size_t len,
                               const np_ref *ref);
/* Stops watching; no DOWN comes after this. NP_ENOENT. */
int np_procs_demonitor(np_procs *procs, const np_pid *self, const np_ref *ref);

/* True while this watcher, local or not, watches a process of ours (or, if local, any) under this ref. */
bool np_procs_monitored(const np_procs *procs, const np_pid *watcher, const np_ref *ref);

/*
 * Links, as link/1: to a dead process or an unconnected node the EXIT comes afterwards. NP_ENOPROC (self), NP_EINVAL
 * (no pid), NP_ELIMIT, NP_ENOMEM. Unlinking what is not linked is no error; no EXIT comes after it. Against a peer
 * without DFLAG_UNLINK_ID the io turns NP_SIGNAL_UNLINK_ID into an UNLINK and hands NP_SIGNAL_UNLINK_ID_ACK in itself.
 */

int np_procs_link(np_procs *procs, const np_pid *self, const np_pid *pid);
int np_procs_unlink(np_procs *procs, const np_pid *self, const np_pid *pid);

/* exit(Pid, Reason) on behalf of from (which may be any pid, e.g. of a scope process or a remote one). */
void np_procs_exit2(np_procs *procs, const np_pid *from, const np_pid *to, np_in reason);

/* ---- the other nodes ---- */

/*
 * A signal from another node. 0; NP_EPROTO: something only a broken peer sends (the caller closes the connection). That
 * `from` is of the node the connection is with is the caller's to check; a DOWN by name has no `from`, the caller puts
 * the peer into `node`. A monitor or link that cannot be kept (NP_MONITORS_MAX, memory) is answered with DOWN or EXIT
 * of reason system_limit.
 */
int np_procs_signal(np_procs *procs, const np_signal *signal);

/* The connection to that node is gone: noconnection for every link and monitor with it. */
void np_procs_node_down(np_procs *procs, np_node_id node);

/* ---- looking in ---- */

typedef struct np_proc_info {
    uint32_t links, monitors, monitored_by; /* counts */
    bool trap_exit;
    np_pid leader;
} np_proc_info;
/* Numbers of all processes together. */
typedef struct np_procs_totals {
    uint32_t processes, names, monitors, links, aliases;
    uint64_t bytes; /* of the slots and the relation records, used or kept for reuse; hash tables not counted */
} np_procs_totals;
void np_procs_get_totals(const np_procs *procs, np_procs_totals *totals);

int np_procs_info(const np_procs *procs, const np_pid *pid, np_proc_info *info); /* NP_ENOPROC */
/* Builds the list of linked pids / of watchers of a process. */
void np_procs_links_term(const np_procs *procs, const np_pid *pid, np_out *out);
void np_procs_watchers_term(const np_procs *procs, const np_pid *pid, np_out *out);

#endif
