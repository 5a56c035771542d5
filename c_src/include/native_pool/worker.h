/*
 * worker.h - write a worker.
 *
 * A worker type is one table of functions. native_pool calls them one at a time for each worker, as OTP calls a
 * gen_server's callbacks; what a worker keeps between calls is whatever its init put into *state. A complete worker
 * that counts:
 *
 *     #include <native_pool/worker.h>
 *     #include <stdlib.h>
 *
 *     static int init(np_ctx *ctx, np_in *args, void **state) {
 *         *state = calloc(1, sizeof(int64_t));
 *         return *state ? 0 : NP_ENOMEM;
 *     }
 *
 *     static int handle_call(np_ctx *ctx, void *state, const np_caller *caller, np_in *request, np_out *reply) {
 *         if (np_in_match(request, "increment") != 0) return NP_UNHANDLED;
 *         np_out_int(reply, ++*(int64_t *)state);
 *         return NP_REPLY;
 *     }
 *
 *     static void destroy(void *state) { free(state); }
 *
 *     static const np_worker_ops ops = {
 *         .abi = NP_WORKER_ABI, .size = sizeof ops, .name = "my_counter",
 *         .init = init, .handle_call = handle_call, .destroy = destroy,
 *     };
 *     NP_WORKER_PLUGIN(ops)
 *
 * built with `cc -shared -fPIC -I c_src/include -o my_counter.so my_counter.c` and named in the config.
 *
 * Rules of a callback: it does not block; it runs on the thread that owns the worker and uses ctx on no other; what it
 * is given (cursors, strings, the builder) is valid until it returns; it copies what it keeps.
 *
 * Callbacks of one worker, and of several of a node, never run inside each other: what a worker sends to itself or to
 * its neighbours waits until it has returned. The one exception is destroy, which runs at once when a callback of
 * another worker (by np_exit or a link) ends this one. A worker that is ended while its own callback runs is dead from
 * then on: sending, calling, replying, monitoring and linking give NP_ENOPROC, and the callback's result is ignored.
 *
 * Source of the conduct: OTP's gen_server; AdvancedPool's Worker.Behaviour for names and defaults.
 */
#ifndef NATIVE_POOL_WORKER_H
#define NATIVE_POOL_WORKER_H

#include <native_pool/term.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows when an existing field changes its meaning; new callbacks at the table's end only grow its size. */
#define NP_WORKER_ABI 1

/* The handle of one worker: who it is, and what it can do. Lives as long as the worker. */
typedef struct np_ctx np_ctx;

/* Who waits for the reply to the call at hand. Valid during that callback; np_defer keeps it longer. */
typedef struct np_caller np_caller;

/* What a callback may answer; or a negative NP_E* code: the worker crashes with the exit reason {Error, Callback}, e.g.
 * {nomem, handle_call}. */
enum {
    NP_REPLY = 0,     /* handle_call: what is in `reply` (exactly one term) goes to the caller */
    NP_NOREPLY = 1,   /* handle_call: the reply comes later (np_defer) or never */
    NP_UNHANDLED = 2, /* not known here: the default. Calls are answered {unhandled, Request}; casts and messages are
                         dropped with a debug log line */
    NP_STOP = 3,      /* the worker ends, with the reason built by np_stop_reason, else (or if that is not exactly one
                         term) `normal`. handle_call: a term in `reply` is sent first. Not for init */
};

typedef struct np_worker_ops {
    uint32_t abi;     /* NP_WORKER_ABI */
    uint32_t size;    /* sizeof(np_worker_ops) */
    const char *name; /* of the worker type; [a-z][a-z0-9_]* */

    /*
     * A worker begins. args holds one term: what the starter gave, [] if nothing. 0, or a negative code: it does not
     * start and the starter gets {error, {Error, init}}; nothing else is called then, not even destroy.
     */
    int (*init)(np_ctx *ctx, np_in *args, void **state);

    /* GenServer.call. NULL: everything is unhandled. */
    int (*handle_call)(np_ctx *ctx, void *state, const np_caller *caller, np_in *request, np_out *reply);

    /* GenServer.cast: NP_REPLY (0) for done, NP_UNHANDLED, NP_STOP. */
    int (*handle_cast)(np_ctx *ctx, void *state, np_in *message);

    /* Any other message, as OTP shows it: {'DOWN', Ref, process, Pid, Reason}, {'EXIT', From, Reason} when trapping
     * exits, plain sends. Results as handle_cast. */
    int (*handle_info)(np_ctx *ctx, void *state, np_in *message);

    /* A timer of np_timer_start has come. Results as handle_cast. */
    int (*handle_timer)(np_ctx *ctx, void *state, uint64_t tag);

    /*
     * The answer to an np_call/np_erpc of this worker. status 0: value is the reply. NP_ETIMEOUT: value empty.
     * NP_ENOPROC (noproc), NP_ENOCONN (noconnection) and NP_ECLOSED (the callee ended while we waited, or erpc failed):
     * value is the exit reason. NP_EOVERLOAD: it came while the worker was suspended and its mailbox full; value empty.
     * Results as handle_cast.
     */
    int (*handle_reply)(np_ctx *ctx, void *state, uint64_t tag, int status, np_in *value);

    /* The worker ends in an orderly way or by its own error, as OTP's terminate: not when it is killed by an exit
     * signal it does not trap. */
    void (*terminate)(np_ctx *ctx, void *state, np_in *reason);

    /* Frees state. Called once for every successful init, last, however the worker ended. */
    void (*destroy)(void *state);

    /* What there is to see of it, as one term: the answer to :sys.get_state (what = the atom state). NULL: the atom
     * undefined. 0 or NP_UNHANDLED. */
    int (*fetch)(np_ctx *ctx, void *state, np_in *what, np_out *out);
} np_worker_ops;

/* Exports the table from a plugin. */
#define NP_WORKER_PLUGIN(ops)                                                                                          \
    NP_WORKER_EXTERN const np_worker_ops *np_worker_plugin(void);                                                      \
    NP_WORKER_EXTERN const np_worker_ops *np_worker_plugin(void) { return &(ops); }
#ifdef __cplusplus
#define NP_WORKER_EXTERN extern "C" __attribute__((visibility("default")))
#else
#define NP_WORKER_EXTERN __attribute__((visibility("default")))
#endif

/* ---- who am I ---- */

const np_pid *np_self(const np_ctx *ctx);

/* A cursor over the worker's ref {ref, Module, Id}. */
np_in np_self_ref(const np_ctx *ctx);

/* A cursor over its Id alone. */
np_in np_self_id(const np_ctx *ctx);

/* Monotonic milliseconds. */
uint64_t np_now_ms(const np_ctx *ctx);

/* One line in the node's log, with the worker's pool and ref. text is a printf format. */
void np_log(np_ctx *ctx, np_log_level level, const char *text, ...) __attribute__((format(printf, 3, 4)));

/* ---- replies ---- */

/* A reply that comes later. 0 is never one. */
typedef uint64_t np_deferred;

/* Keeps the caller for later; the callback returns NP_NOREPLY. 0 when the worker owes too many replies already
 * (limits.h; answer at once then) or memory is out. */
np_deferred np_defer(np_ctx *ctx, const np_caller *caller);

/* Answers it with one term. The deferred is used up, also on error. NP_ENOENT: no such, or used. */
int np_reply(np_ctx *ctx, np_deferred deferred, const np_out *term);

/* The caller's pid. */
const np_pid *np_caller_pid(const np_caller *caller);

/* ---- terms for sending ---- */

/* An empty builder for a term to send. Valid until the next np_build of this worker or the end of the callback. */
np_out *np_build(np_ctx *ctx);

/* An empty builder for the exit reason; then return NP_STOP. Of no effect in init and terminate. */
np_out *np_stop_reason(np_ctx *ctx);

/* ---- messages and calls to other processes, anywhere in the cluster ---- */

/* Pid ! Term. A dead pid is no error, as in Erlang. NP_ENOCONN: its node is not connected; NP_EOVERLOAD: too much is
 * waiting to go there; nothing was sent then. */
int np_send(np_ctx *ctx, const np_pid *to, const np_out *message);
/* {Name, Node} ! Term; node NULL or "": this node. */
int np_send_name(np_ctx *ctx, const char *node, const char *name, const np_out *message);
int np_cast(np_ctx *ctx, const np_pid *to, const np_out *message);
int np_cast_name(np_ctx *ctx, const char *node, const char *name, const np_out *message);

/* GenServer.call without waiting: the answer comes to handle_reply with this tag, exactly once, unless the worker ends
 * before; a node that is not connected is an answer, too. An error: no answer will come. NP_EOVERLOAD: too much waits
 * to go there, or too many calls of this node are unanswered. timeout_ms 0: none. */
int np_call(np_ctx *ctx, const np_pid *to, const np_out *request, uint32_t timeout_ms, uint64_t tag);
int np_call_name(np_ctx *ctx, const char *node, const char *name, const np_out *request, uint32_t timeout_ms,
                 uint64_t tag);
/* erpc:call(Node, M, F, Args); args is one term, a proper list. Not of this node: NP_EINVAL. Not connected: NP_ENOCONN,
 * no answer comes. What fails over there has the status NP_ECLOSED; value is then what erpc has instead of a result,
 * {Ref, error | exit | throw, ..}. */
int np_erpc(np_ctx *ctx, const char *node, const char *module, const char *function, const np_out *args,
            uint32_t timeout_ms, uint64_t tag);

/* ---- monitors, links, exits: as in Erlang ---- */

int np_monitor(np_ctx *ctx, const np_pid *pid, np_ref *ref);
int np_demonitor(np_ctx *ctx, const np_ref *ref);
int np_link(np_ctx *ctx, const np_pid *pid);
int np_unlink(np_ctx *ctx, const np_pid *pid);
int np_exit(np_ctx *ctx, const np_pid *pid, const np_out *reason);
int np_trap_exit(np_ctx *ctx, bool trap);

/* ---- names and groups of the cluster: syn scopes ---- */

/*
 * The node is a member of the scopes of its config and of POOL.Registry for each of its pools; all members of a scope,
 * BEAM nodes with syn among them, see the same. Terms are built one after the other in one np_build:
 *
 *     np_out *terms = np_build(ctx);
 *     np_out_text(terms, "alice");                    the name
 *     np_out_nil(terms);                              its metadata
 *     int error = np_register(ctx, "users", terms);
 *
 * Everything a worker has registered or joined goes when it ends. Errors of all: NP_ENOENT (the node is not in that
 * scope, or no such name, or not ours), NP_EBADTERM (not exactly the terms asked for), NP_ELIMIT, NP_ENOMEM.
 */

/* name, metadata: registers this worker, or changes the metadata. NP_EEXIST: the name is another process'. */
int np_register(np_ctx *ctx, const char *scope, const np_out *terms);
/* name */
int np_unregister(np_ctx *ctx, const char *scope, const np_out *terms);
/* name: whose it is, on whatever node. meta (may be NULL) is valid until the callback's next call of these functions.
 */
int np_lookup(np_ctx *ctx, const char *scope, const np_out *terms, np_pid *pid, np_in *meta);
/* group, metadata */
int np_join(np_ctx *ctx, const char *scope, const np_out *terms);
/* group */
int np_leave(np_ctx *ctx, const char *scope, const np_out *terms);
/* group: calls visit for each member anywhere and returns their number. visit (may be NULL) must not call these
 * functions. */
typedef void (*np_member_fn)(void *arg, const np_pid *pid, np_in meta);
int np_members(np_ctx *ctx, const char *scope, const np_out *terms, np_member_fn visit, void *arg);
/* group, message: sends the message to each member and returns their number. */
int np_publish(np_ctx *ctx, const char *scope, const np_out *terms);

/* ---- timers ---- */

/* Calls handle_timer(tag) once after ms milliseconds. Starting one with a tag that is running moves it. NP_ELIMIT
 * (limits.h), NP_ENOMEM. */
int np_timer_start(np_ctx *ctx, uint64_t ms, uint64_t tag);
/* True if it was running. */
bool np_timer_stop(np_ctx *ctx, uint64_t tag);

#ifdef __cplusplus
}
#endif
#endif
