/*
 * runtime.h - the worker runtime: runs worker callbacks, keeps what a worker has (state, timers, deferred replies), and
 * speaks OTP for it.
 *
 * One runtime per segment. It knows nothing of connections, pid tables or other nodes: what a worker wants from the
 * world goes through np_runtime_host, which the node implements for inline segments. All on one thread;
 * np_runtime_deliver is never called while a callback runs (the host queues what callbacks send to local processes).
 */
#ifndef NP_SEGMENT_RUNTIME_H
#define NP_SEGMENT_RUNTIME_H

#include "base/buf.h"
#include "base/timers.h"
#include "otp/gen.h"

#include <native_pool/worker.h>

typedef struct np_runtime np_runtime;
typedef struct np_ctx np_worker; /* a worker and the handle its callbacks get are one thing */

/* Where a message goes. Exactly one of pid, alias, name is set. */
typedef struct np_dest {
    const np_pid *pid;
    const np_ref *alias;
    const np_pid *pid_of_alias; /* with alias: whose it is, if known */
    np_node_id node;            /* with name; 0: this node */
    const char *name;
} np_dest;

/* What a worker may ask of a syn scope. */
typedef enum np_scope_op {
    NP_SCOPE_REGISTER,   /* first: name, second: metadata */
    NP_SCOPE_UNREGISTER, /* first: name */
    NP_SCOPE_LOOKUP,     /* first: name; *pid, *meta */
    NP_SCOPE_JOIN,       /* first: group, second: metadata */
    NP_SCOPE_LEAVE,      /* first: group */
    NP_SCOPE_MEMBERS,    /* first: group; visit */
    NP_SCOPE_PUBLISH,    /* first: group, second: message */
} np_scope_op;

typedef struct np_scope_request {
    np_scope_op op;
    const char *scope;
    np_in first, second;
    np_pid *pid;
    np_in *meta; /* may be NULL */
    np_member_fn visit;
    void *visit_arg;
} np_scope_request;

typedef struct np_runtime_host {
    void *arg;
    /* A message (payload: one whole term). */
    int (*send)(void *arg, const np_pid *self, const np_dest *dest, np_in payload);
    /* {Tag, Reply} for a caller. If the queue towards it is full the host sends {Tag, {error, overloaded}} in its
     * place. */
    int (*reply)(void *arg, const np_pid *self, const np_from *from, np_in payload);
    /* A gen call or erpc; the outcome comes back by np_runtime_reply(worker, tag, ..). */
    int (*call)(void *arg, const np_pid *self, const np_dest *dest, np_in request, uint32_t timeout_ms, uint64_t tag);
    int (*erpc)(void *arg, const np_pid *self, np_node_id node, const char *module, const char *function, np_in args,
                uint32_t timeout_ms, uint64_t tag);
    int (*monitor)(void *arg, const np_pid *self, const np_pid *pid, np_ref *ref);
    int (*demonitor)(void *arg, const np_pid *self, const np_ref *ref);
    int (*link)(void *arg, const np_pid *self, const np_pid *pid);
    int (*unlink)(void *arg, const np_pid *self, const np_pid *pid);
    int (*exit)(void *arg, const np_pid *self, const np_pid *pid, np_in reason);
    int (*scope)(void *arg, const np_pid *self, const np_scope_request *request);
    int (*trap_exit)(void *arg, const np_pid *self, bool trap);
    /* The worker exists and its init is about to run: from here on its pid may get messages, which wait. */
    void (*starting)(void *arg, np_worker *worker);
    /* The worker has ended by itself, terminate has run. It is freed when this returns. */
    void (*ended)(void *arg, np_worker *worker, np_in reason);
    uint64_t (*now_ms)(void *arg);
    np_timers *timers;
} np_runtime_host;

typedef struct np_runtime_config {
    const np_worker_ops *ops;
    const char *pool;   /* for logs; borrowed for the runtime's life */
    np_pid parent;      /* the segment's pid, for sys:get_status */
    size_t message_max; /* largest term a worker may build */
} np_runtime_config;

/* Checks the table as well: NP_EINVAL with a text (wrong ABI, missing name or init). */
int np_runtime_check_ops(const np_worker_ops *ops, char *why, size_t size);

/* NULL when out of memory. */
np_runtime *np_runtime_new(const np_runtime_host *host, const np_runtime_config *config);
/* All workers must be gone. */
void np_runtime_destroy(np_runtime **runtime);

/*
 * Starts a worker with this pid: runs init. ref: the term {ref, Module, Id} (copied); args: one term. owner is the
 * host's, see np_worker_owner. On error (NP_ENOMEM, or what init returned) there is no worker.
 */
int np_runtime_start(np_runtime *runtime, const np_pid *pid, np_in ref, np_in args, void *owner, np_worker **worker);

/* A message for it: runs the callbacks it asks for. The worker may be gone afterwards (`ended` was called). */
void np_runtime_deliver(np_worker *worker, np_in message);

/* The outcome of one of its calls. */
void np_runtime_reply(np_worker *worker, uint64_t tag, int status, np_in value);

/* Stops it: orderly runs terminate(reason) and calls `ended`; else it is freed at once without (an exit signal killed
 * it: the host knows). If it is in a callback just now, right after that. */
void np_runtime_stop(np_worker *worker, np_in reason, bool orderly);

/* The worker's pid, its ref term, its owner. */
const np_pid *np_worker_pid(const np_worker *worker);
np_in np_worker_ref(const np_worker *worker);
void *np_worker_owner(const np_worker *worker);

uint32_t np_runtime_count(const np_runtime *runtime);

typedef struct np_runtime_stats {
    uint64_t calls, casts, infos, crashes, replies, unhandled;
} np_runtime_stats;
const np_runtime_stats *np_runtime_get_stats(const np_runtime *runtime);

#endif
