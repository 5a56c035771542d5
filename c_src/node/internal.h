/*
 * internal.h - what the files of node/ share: the node itself, its actors, and the calls between the files. Nobody else
 * includes it.
 */
#ifndef NP_NODE_INTERNAL_H
#define NP_NODE_INTERNAL_H

#include "base/log.h"
#include "base/map.h"
#include "base/rng.h"
#include "node/node.h"
#include "otp/erpc.h"
#include "otp/sys.h"
#include "proc/procs.h"
#include "segment/runtime.h"
#include "syn/syn.h"
#include "term/out.h"

/* ---- actors: whatever has a pid here ---- */

/* A proc class (first member: the procs machine hands it back) that can also take messages. */
typedef struct np_actor_class {
    np_proc_class proc;
    void (*deliver)(void *target, np_in message);
} np_actor_class;

/* ---- residents: processes written by us, each a small gen_server ---- */

typedef struct np_resident np_resident;

typedef struct np_resident_class {
    np_actor_class actor;
    const char *module; /* the behaviour it shows in sys:get_status: gen_server or supervisor */
    int (*call)(np_resident *self, const np_from *from, np_in request,
                np_out *reply);                     /* NP_REPLY, NP_NOREPLY, NP_UNHANDLED */
    void (*cast)(np_resident *self, np_in message); /* NULL: dropped */
    void (*info)(np_resident *self, np_in message); /* NULL: dropped */
    void (*state)(np_resident *self, np_out *out);  /* one term for sys:get_state; NULL: undefined */
    void (*ended)(np_resident *self, np_in reason); /* killed or stopped from outside; must not free it at once */
} np_resident_class;

struct np_resident {
    const np_resident_class *type;
    np_node *node;
    np_pid pid;    /* none: not running */
    np_pid parent; /* none: itself */
    np_sys_state *sys;
    const char *name; /* registered; NULL: none. Borrowed for its life */
};

/* Spawns and registers; traps exits, as OTP's own servers and supervisors that matter do. */
int np_resident_start(np_resident *resident, np_node *node, const np_resident_class *type, const char *name,
                      const np_pid *parent);
/* Ends it with this reason (monitors and links are told). Not running: nothing. `ended` is not called. */
void np_resident_stop(np_resident *resident, np_in reason);
/* Class functions every resident class has in its actor part. */
void np_resident_message(void *target, const np_pid *self, np_in message);
void np_resident_killed(void *target, const np_pid *self, np_in reason);
void np_resident_deliver(void *target, np_in message);
#define NP_RESIDENT_ACTOR(kind)                                                                                        \
    { {.name = (kind), .message = np_resident_message, .killed = np_resident_killed}, .deliver = np_resident_deliver }

/* ---- pools ---- */

typedef struct np_pool np_pool;

/* ---- syn scopes ---- */

typedef struct np_scope np_scope;

/* ---- the node ---- */

/* A message on its way between two processes of this node. */
typedef struct np_letter {
    struct np_letter *next;
    np_pid to;
    size_t len;
    uint8_t data[];
} np_letter;

typedef struct np_calls {
    np_map by_ref;     /* np_pending of client.c */
    np_map by_process; /* the first of each process */
    uint32_t count;
} np_calls;

typedef struct np_discovery {
    np_timer timer;
    np_map asked; /* hidden nodes already asked what they are */
} np_discovery;

struct np_node {
    const np_node_config *config;
    np_node_config settings; /* config with its defaults filled in; what everybody reads */
    np_node_id id;
    uint32_t creation;
    np_loop *loop;
    np_peers *peers;
    np_procs *procs;
    np_rng rng;

    np_letter *letters; /* oldest first */
    np_letter **letters_end;
    uint32_t letters_count;
    size_t letters_bytes;
    const np_pid *signalled; /* the process a signal of another node is for, while that is handled */
    np_letter *made;         /* ... and the message it has become */

    np_resident net_kernel;
    np_resident rex;
    np_resident info; /* `native_pool`: what we are, and the process in whose name the node itself makes calls */

    np_pool **pools;
    size_t pools_len;
    bool pools_broken; /* some pool has lost a part of its tree and mends it at the end of this turn */

    np_syn *syn;
    np_scope *scopes;
    np_timer syn_timer;
    bool scopes_broken; /* a scope process has to come back at the end of this turn */
    np_node_id speaker; /* the node whose message is being delivered; ours for local ones */

    np_calls calls;
    np_discovery discovery;

    np_buf unlinks;     /* np_signals sent as UNLINK to peers without unlink ids */
    np_buf reply_buf;   /* a resident's {Tag, Reply} */
    np_buf payload_buf; /* wrapped payloads on their way out */
    np_timer watch;     /* start-up and drain */
    uint64_t drain_by_ms;
    uint64_t end_by_ms; /* 0: not everything is written yet */
    uint64_t started_ms;
    bool ready;
    bool stopping;
    int result; /* of np_node_run */
    char *why;
    size_t why_size;

    uint64_t messages_in, messages_out, refused_out;
    np_log_limit drop_limit;
};

uint64_t np_node_now(const np_node *node);

/* A cursor over one of the terms that are always the same. */
np_in np_term_atom(const char *name, uint8_t *room); /* room: NP_ATOM_TERM_MAX bytes */
enum { NP_ATOM_TERM_MAX = 257 };

/* ---- route.c ---- */

int np_route_control(void *arg, np_node_id peer, const np_control *control);
void np_route_up(void *arg, np_node_id peer, bool hidden);
void np_route_down(void *arg, np_node_id peer, const char *reason);
int np_route_signal(void *arg, const np_signal *signal); /* np_procs_io */

/* A message from a process of ours to anyone. To a local process it waits for the end of the turn. */
int np_route_send(np_node *node, const np_pid *self, const np_dest *dest, np_in payload, np_send_class send_class);
/* {Tag, Reply} to whoever called; past the bounds of the peer's queue, {Tag, {error, overloaded}}. */
int np_route_reply(np_node *node, const np_pid *self, const np_from *from, np_in payload);
/* A message for a local process, at once. The process must not be in a callback. */
void np_route_deliver(np_node *node, const np_pid *to, np_in message);
/* Puts a message for a local process behind all that wait. urgent: signals, which are not refused. */
int np_route_post(np_node *node, const np_pid *to, np_in message, bool urgent);
/* The same for what the procs machine has made, {'EXIT',..} and {'DOWN',..}; np_proc_class.message calls it. */
void np_route_made(np_node *node, const np_pid *to, np_in message);
/* Acknowledges, in the name of peers that do not, the unlinks sent to them. Once a turn. */
void np_route_unlinked(np_node *node);
/* Delivers waiting local messages, at most `most`. True if some are left. */
bool np_route_run(np_node *node, uint32_t most);

/* ---- client.c: calls to others, asynchronously ---- */

/* The outcome of a call; status and value as np_worker_ops.handle_reply has them. */
typedef void (*np_client_fn)(np_node *node, const np_pid *self, void *arg, uint64_t tag, int status, np_in value);

/* label: "$gen_call" or "system". timeout_ms 0: none. fn is called exactly once unless an error is returned; never from
 * inside this call. */
int np_client_call(np_node *node, const np_pid *self, const char *label, const np_dest *dest, np_in request,
                   uint32_t timeout_ms, np_client_fn fn, void *arg, uint64_t tag);
int np_client_erpc(np_node *node, const np_pid *self, np_node_id to, const char *module, const char *function,
                   np_in args, uint32_t timeout_ms, np_client_fn fn, void *arg, uint64_t tag);
/* Is this message for `to` the answer to one of its calls? Then it has been dealt with. */
bool np_client_message(np_node *node, const np_pid *to, np_in message);
/* The same for what erpc sends: SPAWN_REPLY and the DOWN of a request. */
bool np_client_control(np_node *node, const np_control *control);
void np_client_node_down(np_node *node, np_node_id peer);
/* The process has ended and wants no outcomes any more. Without this fn is called even then. */
void np_client_forget(np_node *node, const np_pid *self);
void np_client_init(np_node *node);
void np_client_fini(np_node *node);

/* ---- rpc.c, functions.c ---- */

void np_rpc_spawn_request(np_node *node, np_node_id peer, const np_control *control);

/* One call from another node, being answered. Borrowed during the function; np_rpc_later keeps it. */
typedef struct np_rpc np_rpc;
/* Runs M:F(Args) if it is in the table and appends the value to out: 0; NP_NOREPLY: the answer comes by np_rpc_finish
 * (rpc not NULL only); NP_ENOENT: undef; NP_EINVAL: badarg. */
int np_functions_run(np_node *node, np_rpc *rpc, const np_spawn *spawn, np_out *out);
/* Keeps the call open past the function. NULL when out of memory. The result is freed by np_rpc_finish. */
np_rpc *np_rpc_later(np_rpc *rpc);
/* status 0: value is the result; else value is an exit reason. */
void np_rpc_finish(np_node *node, np_rpc *rpc, int status, np_in value);
/* The node's counters as one map: native_pool:stats(). */
void np_functions_stats(np_node *node, np_out *out);

/* ---- kernel.c ---- */

int np_kernel_start(np_node *node);
void np_kernel_stop(np_node *node, np_in reason);

/* ---- discover.c ---- */

void np_discover_start(np_node *node);
void np_discover_stop(np_node *node);
void np_discover_up(np_node *node, np_node_id peer);

/* ---- scopes.c ---- */

int np_scopes_init(np_node *node);
/* Joins the scopes of the config and of the pools. */
int np_scopes_start(np_node *node, char *why, size_t size);
void np_scopes_stop(np_node *node, np_in reason);
void np_scopes_fini(np_node *node);
/* Joins a scope: registry and groups. Again: nothing. NP_EINVAL, NP_ELIMIT, NP_ENOMEM. */
int np_scopes_open(np_node *node, const char *name);
/* NULL: not joined. */
np_syn_scope *np_scopes_registry(np_node *node, const char *name, size_t len);
np_syn_scope *np_scopes_groups(np_node *node, const char *name, size_t len);
/* Tells the machine what time it is: at the beginning of whatever may give it something to do. */
void np_scopes_clock(np_node *node);
/* A slice of the machine's work. True if there is more to do at once. */
bool np_scopes_run(np_node *node);
/* Brings back scope processes that were killed from outside. */
void np_scopes_mend(np_node *node);

/* ---- pool.c ---- */

int np_pool_new(np_pool **pool, np_node *node, const np_pool_config *config);
/* Starts the tree and the workers of `start`. */
int np_pool_start(np_pool *pool, char *why, size_t size);
/* Workers first, then segments, supervisors, server. */
void np_pool_stop(np_pool *pool, np_in reason);
void np_pool_destroy(np_pool **pool);
/* Brings back what was killed or stopped from outside. Called at the end of a turn when pools_broken. */
void np_pool_mend(np_pool *pool);
np_pool *np_pool_find(np_node *node, const char *name, size_t len);
/* The worker with this id (or full ref). NP_ENOENT. */
int np_pool_whereis(np_pool *pool, np_in id, np_pid *pid);
/* Builds {ok, Pid} or {error, Reason}, as {start_worker, Id, Args} answers. */
void np_pool_start_worker(np_pool *pool, np_in id, np_in args, np_out *out);
void np_pool_stats(np_pool *pool, np_out *out);
/* The proc class of workers. */
const np_actor_class *np_pool_worker_class(void);

/* ---- host.c ---- */

/* What inline workers ask for; arg is the node. `starting` and `ended` are pool.c's to fill in. */
void np_host_init(np_runtime_host *host, np_node *node);

#endif
