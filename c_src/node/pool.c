/*
 * pool.c - a pool's tree on this node: supervisor, server, worker supervisor, segments, workers.
 *
 * Main thread. Every part is an Erlang process: the pool P's supervisor is registered as P, its server as P.Server, its
 * worker supervisor as P.WorkerSupervisor; segments and workers have pids only. Segments are inline here: their workers
 * run on this thread. A worker that ends is not restarted (OTP's `temporary`); a supervisor that is killed from outside
 * takes what is below it along and comes back, with the workers the config starts.
 *
 * Workers are found by their ref in canonical form, so that every encoding of an id is the same id.
 */
#include "node/internal.h"

#include "base/assert.h"
#include "base/limits.h"
#include "otp/supreq.h"
#include "term/canon.h"
#include "term/print.h"
#include "term/validate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHERE "node/pool"

enum { NAME_MAX_BYTES = NP_ATOM_BYTES_MAX + 1, TEXT_MAX = 512 };

/* Three times in five seconds at once, as OTP's supervisors have it by default; then a second's pause. */
enum { MEND_BURST = 3, MEND_WINDOW_MS = 5000, MEND_PAUSE_MS = 1000 };

typedef struct np_segment {
    np_resident resident; /* first: resident functions cast back */
    np_pool *pool;
    np_runtime *runtime;
} np_segment;

/* A resident that only has to know its pool. */
typedef struct np_pool_part {
    np_resident resident;
    np_pool *pool;
} np_pool_part;

struct np_pool {
    np_node *node;
    const np_pool_config *config;
    char worker_module[NAME_MAX_BYTES];
    char server_name[NAME_MAX_BYTES];
    char supervisor_name[NAME_MAX_BYTES];
    np_pool_part supervisor;        /* P */
    np_pool_part server;            /* P.Server */
    np_pool_part worker_supervisor; /* P.WorkerSupervisor */
    np_segment *segments;
    uint32_t segments_len;
    np_map workers; /* np_worker by canonical ref */
    np_buf key;     /* the ref being looked up */
    np_buf name;    /* {worker, Ref}: what it is registered as in the pool's syn scope */
    np_buf meta;    /* [{node, Node}]: with which metadata */
    np_syn_scope *registry;
    bool running;
    bool broken;             /* a part of the tree has ended: np_pool_mend */
    np_timer mend_timer;     /* the pause after too many mendings in a row, or after one that failed */
    uint64_t mend_window_ms; /* when `mends` began to count */
    uint32_t mends;
    bool brutal; /* ... killed: those below it have no time for a terminate */
    uint64_t started, ended;
};

/* ---- workers by ref ---- */

static bool worker_eq(const void *item, const void *key) {
    np_in ref = np_worker_ref(item);
    np_bytes have = np_in_bytes(&ref);
    const np_bytes *want = key;
    return have.len == want->len && memcmp(have.data, want->data, want->len) == 0;
}

/* The canonical ref of an id, or of a ref {ref, Module, Id} of this pool, into pool->key. NP_EINVAL: a ref of another
 * worker module. */
static int make_key(np_pool *pool, np_in id, np_bytes *key) {
    np_in inner = id;
    if (np_in_tuple_of(&inner, 3) == 0 && np_in_match(&inner, "ref") == 0) {
        if (np_in_match(&inner, pool->worker_module) < 0)
            return NP_EINVAL;
        id = inner;
    }
    np_buf_clear(&pool->key, 4096);
    np_out out;
    np_out_init(&out, &pool->key, pool->node->settings.peers.message_max);
    np_out_tuple(&out, 3);
    np_out_atom(&out, "ref");
    np_out_atom(&out, pool->worker_module);
    int error = np_out_error(&out);
    if (error == 0)
        error = np_term_canon(&id, &pool->key);
    *key = (np_bytes){np_buf_head(&pool->key), np_buf_len(&pool->key)};
    return error;
}

/* {worker, Ref}; borrowed until the next call. */
static int registered_name(np_pool *pool, np_bytes ref, np_in *name) {
    np_buf_clear(&pool->name, 4096);
    np_out out;
    np_out_init(&out, &pool->name, pool->node->settings.peers.message_max);
    np_out_tuple(&out, 2);
    np_out_atom(&out, "worker");
    np_out_raw(&out, ref.data, ref.len);
    if (np_out_error(&out) == 0)
        *name = np_out_view(&out);
    return np_out_error(&out);
}

/* The worker becomes known in the cluster. */
static int register_worker(np_pool *pool, const np_worker *worker) {
    np_in ref = np_worker_ref(worker);
    np_in name;
    int error = registered_name(pool, np_in_bytes(&ref), &name);
    if (error < 0)
        return error;
    np_in meta = {.base = np_buf_head(&pool->meta), .pos = 0, .end = np_buf_len(&pool->meta)};
    np_scopes_clock(pool->node);
    return np_syn_register(pool->registry, name, np_worker_pid(worker), meta);
}

static np_worker *find(np_pool *pool, np_bytes key) {
    return np_map_get(&pool->workers, np_hash_bytes(key.data, key.len), &key);
}

static void forget(np_worker *worker) {
    np_segment *segment = np_worker_owner(worker);
    np_in ref = np_worker_ref(worker);
    np_bytes key = np_in_bytes(&ref);
    if (np_map_remove(&segment->pool->workers, np_hash_bytes(key.data, key.len), &key) != NULL)
        segment->pool->ended++;
    np_client_forget(segment->pool->node, np_worker_pid(worker));
}

/* ---- workers as processes ---- */

static void worker_message(void *target, const np_pid *self, np_in message) {
    np_segment *segment = np_worker_owner(target);
    np_route_made(segment->pool->node, self, message);
}

static void worker_killed(void *target, const np_pid *self, np_in reason) {
    (void)self;
    forget(target);
    np_runtime_stop(target, reason, false);
}

static void worker_deliver(void *target, np_in message) { np_runtime_deliver(target, message); }

static const np_actor_class worker_class = {
    .proc = {.name = "worker", .message = worker_message, .killed = worker_killed},
    .deliver = worker_deliver,
};

const np_actor_class *np_pool_worker_class(void) { return &worker_class; }

static void worker_starting(void *arg, np_worker *worker) {
    np_node *node = arg;
    np_procs_set_target(node->procs, np_worker_pid(worker), worker);
}

static void worker_ended(void *arg, np_worker *worker, np_in reason) {
    np_node *node = arg;
    forget(worker);
    np_procs_exit(node->procs, np_worker_pid(worker), reason);
}

/* ---- starting and stopping workers ---- */

static np_segment *least_loaded(np_pool *pool) {
    np_segment *best = NULL;
    for (uint32_t i = 0; i < pool->segments_len; i++) {
        np_segment *segment = &pool->segments[i];
        if (segment->resident.pid.node == 0)
            continue;
        if (best == NULL || np_runtime_count(segment->runtime) < np_runtime_count(best->runtime))
            best = segment;
    }
    return best;
}

/* What has come of a start. */
typedef struct np_start {
    int error;
    bool in_init; /* the error is init's, or came after it; else the pool's own, as refuse() has them */
    np_pid pid;
} np_start;

/* Why the pool does not start a worker with this key, or 0. NP_EEXIST: *pid is the one that runs. NP_EBUSY: the pool is
 * not running. */
static int refuse(np_pool *pool, np_bytes key, const np_segment *segment, np_pid *pid) {
    np_worker *worker = find(pool, key);
    if (worker != NULL) {
        *pid = *np_worker_pid(worker);
        return NP_EEXIST;
    }
    if (segment == NULL || !pool->running)
        return NP_EBUSY;
    np_in name;
    if (registered_name(pool, key, &name) == 0 && np_syn_lookup(pool->registry, name, pid, NULL) == 0)
        return NP_EEXIST; /* on another node */
    return 0;
}

/* The worker has begun: makes it known. An error ends it. */
static int enroll(np_pool *pool, np_worker *worker) {
    np_in ref = np_worker_ref(worker); /* pool->key may have been used by what init did */
    np_bytes key = np_in_bytes(&ref);
    int error = np_map_add(&pool->workers, np_hash_bytes(key.data, key.len), worker);
    if (error == 0) {
        error = register_worker(pool, worker);
        if (error < 0)
            forget(worker);
    }
    if (error < 0)
        np_runtime_stop(worker, ref, false);
    return error;
}

/* Starts the worker with this id, in this segment or (NULL) the emptiest. */
static np_start start_worker(np_pool *pool, np_in id, np_in args, np_segment *segment) {
    np_start start = {0};
    np_node *node = pool->node;
    np_bytes key;
    if (segment == NULL)
        segment = least_loaded(pool);
    start.error = make_key(pool, id, &key);
    if (start.error == 0)
        start.error = refuse(pool, key, segment, &start.pid);
    if (start.error == 0)
        start.error = np_procs_spawn(node->procs, &worker_class.proc, NULL, &start.pid);
    if (start.error < 0)
        return start;
    np_in ref = {.base = key.data, .pos = 0, .end = key.len};
    np_worker *worker;
    start.error = np_runtime_start(segment->runtime, &start.pid, ref, args, segment, &worker);
    if (start.error == 0)
        start.error = enroll(pool, worker);
    if (start.error < 0) {
        uint8_t room[NP_ATOM_TERM_MAX];
        start.in_init = true;
        np_client_forget(node, &start.pid);
        np_procs_exit(node->procs, &start.pid, np_term_atom(np_error_name(start.error), room));
        return start;
    }
    pool->started++;
    return start;
}

static void out_error(np_out *out, const char *reason) {
    np_out_tuple(out, 2);
    np_out_atom(out, "error");
    np_out_atom(out, reason);
}

static void out_started(np_out *out, const np_start *start, np_in id) {
    np_out_tuple(out, 2);
    if (start->error == 0) {
        np_out_atom(out, "ok");
        np_out_pid(out, &start->pid);
        return;
    }
    np_out_atom(out, "error");
    switch (start->in_init ? 0 : start->error) {
    case NP_EEXIST:
        np_out_tuple(out, 2);
        np_out_atom(out, "already_started");
        np_out_pid(out, &start->pid);
        break;
    case NP_EINVAL:
        np_out_tuple(out, 2);
        np_out_atom(out, "invalid_ref");
        np_out_term(out, &id);
        break;
    case NP_EBUSY: np_out_atom(out, "not_running"); break;
    case NP_ELIMIT: np_out_atom(out, "max_children"); break;
    default:
        np_out_tuple(out, 2);
        np_out_atom(out, np_error_name(start->error));
        np_out_atom(out, "init");
        break;
    }
}

void np_pool_start_worker(np_pool *pool, np_in id, np_in args, np_out *out) {
    np_start start = start_worker(pool, id, args, NULL);
    out_started(out, &start, id);
}

int np_pool_whereis(np_pool *pool, np_in id, np_pid *pid) {
    np_bytes key;
    int error = make_key(pool, id, &key);
    if (error < 0)
        return error;
    np_worker *worker = find(pool, key);
    if (worker == NULL)
        return NP_ENOENT;
    *pid = *np_worker_pid(worker);
    return 0;
}

/* ---- supervisors ---- */

static void malformed_spec(np_in request, np_out *out) {
    np_out_tuple(out, 2);
    np_out_atom(out, "error");
    np_out_tuple(out, 2);
    np_out_atom(out, "invalid_child_spec");
    np_out_term(out, &request);
}

/* {{M,F,[Ref, Args]}, ..}: the ref begins the child's start arguments, a second one, if a list, holds those of init. */
static void start_child(np_pool *pool, const np_supreq *req, np_in request, np_segment *segment, np_out *out) {
    static const uint8_t nil = 106;
    np_in init_args = {.base = &nil, .pos = 0, .end = 1};
    np_in args = req->spec.args;
    np_list list;
    np_in ref;
    np_in inner;
    if (np_in_list(&args, &list) < 0 || !np_list_next(&list, &ref))
        goto bad;
    inner = ref;
    if (np_in_tuple_of(&inner, 3) < 0 || np_in_match(&inner, "ref") < 0)
        goto bad;
    np_in second;
    if (np_list_next(&list, &second) && np_in_type(&second) == NP_TYPE_LIST)
        init_args = second;
    np_start start = start_worker(pool, ref, init_args, segment);
    out_started(out, &start, ref);
    return;
bad:
    malformed_spec(request, out);
}

static void terminate_worker(np_pool *pool, const np_pid *pid, np_segment *only, np_out *out) {
    void *target;
    const np_proc_class *proc_class = np_procs_find(pool->node->procs, pid, &target);
    np_segment *segment = proc_class == &worker_class.proc && target != NULL ? np_worker_owner(target) : NULL;
    if (segment == NULL || segment->pool != pool || (only != NULL && segment != only)) {
        out_error(out, "not_found");
        return;
    }
    uint8_t room[NP_ATOM_TERM_MAX];
    np_runtime_stop(target, np_term_atom("shutdown", room), true);
    np_out_atom(out, "ok");
}

static np_pool *pool_of(np_resident *self) { return ((np_pool_part *)self)->pool; }

/* The pool's supervisor P: its children are fixed. */
static int supervisor_call(np_resident *self, const np_from *from, np_in request, np_out *out) {
    (void)from;
    np_pool *pool = pool_of(self);
    np_supreq req;
    if (np_supreq_parse(request, &req) < 0) {
        malformed_spec(request, out);
        return NP_REPLY;
    }
    bool is_server = false;
    bool known = false;
    if (req.kind == NP_SUPREQ_TERMINATE_ID || req.kind == NP_SUPREQ_RESTART_ID || req.kind == NP_SUPREQ_DELETE_ID ||
        req.kind == NP_SUPREQ_GET_CHILDSPEC) {
        np_in id = req.id;
        is_server = np_in_match(&id, pool->server_name) == 0;
        known = is_server || np_in_match(&id, pool->supervisor_name) == 0;
    }
    switch (req.kind) {
    case NP_SUPREQ_WHICH_CHILDREN:
        np_out_list(out, 2);
        np_supreq_child(out, pool->worker_supervisor.resident.name, &pool->worker_supervisor.resident.pid, true,
                        "Elixir.DynamicSupervisor");
        np_supreq_child(out, pool->server.resident.name, &pool->server.resident.pid, false, pool->server_name);
        np_out_nil(out);
        return NP_REPLY;
    case NP_SUPREQ_COUNT_CHILDREN: np_supreq_counts(out, 2, 2, 1, 1); return NP_REPLY;
    case NP_SUPREQ_RESTART_ID:
    case NP_SUPREQ_DELETE_ID: out_error(out, known ? "running" : "not_found"); return NP_REPLY;
    case NP_SUPREQ_TERMINATE_ID: out_error(out, known ? "not_supported" : "not_found"); return NP_REPLY;
    case NP_SUPREQ_TERMINATE_PID: out_error(out, "not_found"); return NP_REPLY;
    case NP_SUPREQ_GET_CHILDSPEC:
        if (!known) {
            out_error(out, "not_found");
            return NP_REPLY;
        }
        np_out_tuple(out, 2);
        np_out_atom(out, "ok");
        np_out_map(out, 4);
        np_out_atom(out, "id");
        np_out_atom(out, is_server ? pool->server_name : pool->supervisor_name);
        np_out_atom(out, "restart");
        np_out_atom(out, "permanent");
        np_out_atom(out, "start");
        np_out_tuple(out, 3);
        np_out_atom(out, is_server ? pool->server_name : pool->supervisor_name);
        np_out_atom(out, "start_link");
        np_out_nil(out);
        np_out_atom(out, "type");
        np_out_atom(out, is_server ? "worker" : "supervisor");
        return NP_REPLY;
    case NP_SUPREQ_START_CHILD:
    case NP_SUPREQ_START_CHILD_DYNAMIC:
    case NP_SUPREQ_START_CHILD_ARGS: out_error(out, "not_supported"); return NP_REPLY;
    case NP_SUPREQ_START_TASK: out_error(out, "notsup"); return NP_REPLY;
    default: return NP_UNHANDLED;
    }
}

/* What a dynamic supervisor answers to everything but which_children and count_children. segment: only its own workers.
 */
static int dynamic_call(np_pool *pool, np_segment *segment, const np_supreq *req, np_in request, np_out *out) {
    switch (req->kind) {
    case NP_SUPREQ_START_CHILD:
    case NP_SUPREQ_START_CHILD_DYNAMIC: start_child(pool, req, request, segment, out); return NP_REPLY;
    case NP_SUPREQ_START_CHILD_ARGS: malformed_spec(request, out); return NP_REPLY;
    case NP_SUPREQ_TERMINATE_PID: terminate_worker(pool, &req->pid, segment, out); return NP_REPLY;
    case NP_SUPREQ_TERMINATE_ID:
    case NP_SUPREQ_RESTART_ID:
    case NP_SUPREQ_DELETE_ID:
    case NP_SUPREQ_GET_CHILDSPEC: out_error(out, "not_found"); return NP_REPLY;
    case NP_SUPREQ_START_TASK: out_error(out, "notsup"); return NP_REPLY;
    default: return NP_UNHANDLED;
    }
}

static int worker_supervisor_call(np_resident *self, const np_from *from, np_in request, np_out *out) {
    (void)from;
    np_pool *pool = pool_of(self);
    np_supreq req;
    if (np_supreq_parse(request, &req) < 0) {
        malformed_spec(request, out);
        return NP_REPLY;
    }
    if (req.kind == NP_SUPREQ_WHICH_CHILDREN) {
        np_out_list(out, pool->segments_len);
        for (uint32_t i = 0; i < pool->segments_len; i++)
            np_supreq_child(out, NULL, &pool->segments[i].resident.pid, true, "Elixir.DynamicSupervisor");
        np_out_nil(out);
        return NP_REPLY;
    }
    if (req.kind == NP_SUPREQ_COUNT_CHILDREN) {
        np_supreq_counts(out, pool->segments_len, pool->segments_len, pool->segments_len, 0);
        return NP_REPLY;
    }
    return dynamic_call(pool, NULL, &req, request, out);
}

static int segment_call(np_resident *self, const np_from *from, np_in request, np_out *out) {
    (void)from;
    np_segment *segment = (np_segment *)self;
    np_pool *pool = segment->pool;
    np_supreq req;
    if (np_supreq_parse(request, &req) < 0) {
        malformed_spec(request, out);
        return NP_REPLY;
    }
    uint32_t count = np_runtime_count(segment->runtime);
    if (req.kind == NP_SUPREQ_WHICH_CHILDREN) {
        np_out_list(out, count);
        uint32_t at = 0;
        np_worker *worker;
        while ((worker = np_map_next(&pool->workers, &at)) != NULL) {
            if (np_worker_owner(worker) == segment)
                np_supreq_child(out, NULL, np_worker_pid(worker), false, pool->worker_module);
        }
        np_out_nil(out);
        return NP_REPLY;
    }
    if (req.kind == NP_SUPREQ_COUNT_CHILDREN) {
        np_supreq_counts(out, count, count, 0, count);
        return NP_REPLY;
    }
    return dynamic_call(pool, segment, &req, request, out);
}

/* ---- the server ---- */

static int server_call(np_resident *self, const np_from *from, np_in request, np_out *out) {
    (void)from;
    np_pool *pool = pool_of(self);
    np_in in = request;
    if (np_in_tuple_of(&in, 2) == 0 && np_in_match(&in, "whereis") == 0) {
        np_pid pid;
        int error = np_pool_whereis(pool, in, &pid);
        np_out_tuple(out, 2);
        if (error == 0) {
            np_out_atom(out, "ok");
            np_out_pid(out, &pid);
        } else if (error == NP_EINVAL) {
            np_out_atom(out, "error");
            np_out_tuple(out, 2);
            np_out_atom(out, "invalid_ref");
            np_out_term(out, &in);
        } else {
            np_out_atom(out, "error");
            np_out_atom(out, "not_registered");
        }
        return NP_REPLY;
    }
    in = request;
    np_in id;
    if (np_in_tuple_of(&in, 3) == 0 && np_in_match(&in, "start_worker") == 0 && np_in_term(&in, &id) == 0) {
        np_pool_start_worker(pool, id, in, out);
        return NP_REPLY;
    }
    return NP_UNHANDLED;
}

static void server_state(np_resident *self, np_out *out) { np_pool_stats(pool_of(self), out); }

void np_pool_stats(np_pool *pool, np_out *out) {
    np_runtime_stats sum = {0};
    for (uint32_t i = 0; i < pool->segments_len; i++) {
        if (pool->segments[i].runtime == NULL)
            continue;
        const np_runtime_stats *one = np_runtime_get_stats(pool->segments[i].runtime);
        sum.calls += one->calls;
        sum.casts += one->casts;
        sum.infos += one->infos;
        sum.crashes += one->crashes;
        sum.replies += one->replies;
        sum.unhandled += one->unhandled;
    }
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {
        {"workers", np_map_count(&pool->workers)},
        {"segments", pool->segments_len},
        {"started", pool->started},
        {"ended", pool->ended},
        {"calls", sum.calls},
        {"casts", sum.casts},
        {"messages", sum.infos},
        {"replies", sum.replies},
        {"unhandled", sum.unhandled},
        {"crashes", sum.crashes},
    };
    np_out_map(out, (uint32_t)NP_ARRAY_LEN(rows) + 2);
    np_out_atom(out, "pool");
    np_out_atom(out, pool->config->name);
    np_out_atom(out, "worker");
    np_out_atom(out, pool->config->ops->name);
    for (size_t i = 0; i < NP_ARRAY_LEN(rows); i++) {
        np_out_atom(out, rows[i].key);
        np_out_uint(out, rows[i].value);
    }
}

/* ---- the tree ---- */

/* Something of the tree was killed or stopped from outside: the rest is done at the turn's end, since a callback may be
 * running. */
static void broken(np_pool *pool, np_in reason) {
    pool->broken = true;
    pool->brutal = pool->brutal || np_in_match(&reason, "killed") == 0;
    pool->node->pools_broken = true;
}

static void part_ended(np_resident *self, np_in reason) { broken(pool_of(self), reason); }
static void segment_ended(np_resident *self, np_in reason) { broken(((np_segment *)self)->pool, reason); }

static const np_resident_class supervisor_class = {
    .actor = NP_RESIDENT_ACTOR("pool_supervisor"),
    .module = "supervisor",
    .call = supervisor_call,
    .state = server_state,
    .ended = part_ended,
};

static const np_resident_class server_class = {
    .actor = NP_RESIDENT_ACTOR("pool_server"),
    .module = "gen_server",
    .call = server_call,
    .state = server_state,
    .ended = part_ended,
};

static const np_resident_class worker_supervisor_class = {
    .actor = NP_RESIDENT_ACTOR("worker_supervisor"),
    .module = "supervisor",
    .call = worker_supervisor_call,
    .state = server_state,
    .ended = part_ended,
};

static const np_resident_class segment_class = {
    .actor = NP_RESIDENT_ACTOR("segment"),
    .module = "supervisor",
    .call = segment_call,
    .ended = segment_ended,
};

static int start_segment(np_pool *pool, np_segment *segment) {
    np_node *node = pool->node;
    segment->pool = pool;
    int error =
        np_resident_start(&segment->resident, node, &segment_class, NULL, &pool->worker_supervisor.resident.pid);
    if (error < 0)
        return error;
    np_runtime_host host;
    np_host_init(&host, node);
    host.starting = worker_starting;
    host.ended = worker_ended;
    np_runtime_config config = {
        .ops = pool->config->ops,
        .pool = pool->config->name,
        .parent = segment->resident.pid,
        .message_max = node->settings.peers.message_max,
    };
    segment->runtime = np_runtime_new(&host, &config);
    return segment->runtime == NULL ? NP_ENOMEM : 0;
}

static void stop_worker(np_pool *pool, np_worker *worker, np_in reason, bool orderly) {
    if (orderly) {
        np_runtime_stop(worker, reason, true);
        return;
    }
    np_pid pid = *np_worker_pid(worker);
    forget(worker);
    np_runtime_stop(worker, reason, false);
    np_procs_exit(pool->node->procs, &pid, reason);
}

/*
 * Stops the workers of a segment (NULL: all). orderly: terminate runs; else as when their supervisor is killed. Each
 * that goes moves others in the table and may take others with it: the place where it was is looked at again, and a
 * pass over the table that has found some is followed by another.
 */
static void stop_workers(np_pool *pool, const np_segment *segment, np_in reason, bool orderly) {
    bool found = true;
    while (found) {
        uint32_t at = 0;
        np_worker *worker;
        found = false;
        while ((worker = np_map_next(&pool->workers, &at)) != NULL) {
            if (segment != NULL && np_worker_owner(worker) != segment)
                continue;
            found = true;
            at--;
            stop_worker(pool, worker, reason, orderly);
        }
    }
}

static void stop_segment(np_segment *segment, np_in reason, bool orderly) {
    if (segment->runtime != NULL) {
        if (np_runtime_count(segment->runtime) > 0)
            stop_workers(segment->pool, segment, reason, orderly);
        np_runtime_destroy(&segment->runtime);
    }
    np_resident_stop(&segment->resident, reason);
}

static void start_configured(np_pool *pool) {
    static const uint8_t nil = 106;
    np_in args = {.base = &nil, .pos = 0, .end = 1};
    np_buf buf = NP_BUF_INIT;
    for (size_t i = 0; i < pool->config->start_len; i++) {
        const np_start_id *id = &pool->config->start[i];
        np_buf_clear(&buf, 4096);
        np_out out;
        np_out_init(&out, &buf, 1 << 20);
        if (id->is_text) {
            np_out_text(&out, id->text);
        } else {
            np_out_int(&out, id->number);
        }
        if (np_out_error(&out) < 0)
            continue; /* the config's limits are far below the builder's */
        np_in term = np_out_view(&out);
        np_start start = start_worker(pool, term, args, NULL);
        if (start.error < 0 && (start.in_init || start.error != NP_EEXIST)) {
            char text[TEXT_MAX];
            NP_LOG(NP_LOG_ERROR, WHERE, "a worker of the config did not start", "pool=%s id=%s error=\"%s\"",
                   pool->config->name, np_term_text(&term, text, sizeof text), np_strerror(start.error));
        }
    }
    np_buf_fini(&buf);
}

static int start_worker_supervisor(np_pool *pool) {
    int error = np_resident_start(&pool->worker_supervisor.resident, pool->node, &worker_supervisor_class,
                                  pool->supervisor_name, &pool->supervisor.resident.pid);
    for (uint32_t i = 0; error == 0 && i < pool->segments_len; i++)
        error = start_segment(pool, &pool->segments[i]);
    return error;
}

int np_pool_new(np_pool **out, np_node *node, const np_pool_config *config) {
    np_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return NP_ENOMEM;
    pool->node = node;
    pool->config = config;
    pool->segments_len = config->segments == 0 ? 1 : config->segments;
    pool->segments = calloc(pool->segments_len, sizeof *pool->segments);
    np_map_init(&pool->workers, worker_eq);
    int lens[] = {
        snprintf(pool->server_name, NAME_MAX_BYTES, "%s.Server", config->name),
        snprintf(pool->supervisor_name, NAME_MAX_BYTES, "%s.WorkerSupervisor", config->name),
        config->worker_module != NULL ? snprintf(pool->worker_module, NAME_MAX_BYTES, "%s", config->worker_module)
                                      : snprintf(pool->worker_module, NAME_MAX_BYTES, "%s.Worker", config->name),
    };
    int error = pool->segments == NULL || pool->segments_len > NP_SEGMENTS_MAX ? NP_ENOMEM : 0;
    for (size_t i = 0; i < NP_ARRAY_LEN(lens); i++) {
        if (lens[i] > NP_ATOM_CHARS_MAX)
            error = NP_EINVAL;
    }
    *out = pool;
    if (error < 0)
        np_pool_destroy(out);
    return error;
}

static int build_meta(np_pool *pool) {
    np_out out;
    np_buf_clear(&pool->meta, 4096);
    np_out_init(&out, &pool->meta, 4096);
    np_out_list(&out, 1);
    np_out_tuple(&out, 2);
    np_out_atom(&out, "node");
    np_out_atom(&out, pool->node->settings.peers.name);
    np_out_nil(&out);
    return np_out_error(&out);
}

int np_pool_start(np_pool *pool, char *why, size_t size) {
    pool->supervisor.pool = pool->server.pool = pool->worker_supervisor.pool = pool;
    char scope[NAME_MAX_BYTES + 16];
    int len = snprintf(scope, sizeof scope, "%s.Registry", pool->config->name);
    pool->registry = np_scopes_registry(pool->node, scope, (size_t)len);
    NP_ASSERT(pool->registry != NULL); /* np_scopes_start comes first */
    int error = build_meta(pool);
    if (error == 0)
        error = np_resident_start(&pool->supervisor.resident, pool->node, &supervisor_class, pool->config->name, NULL);
    if (error == 0)
        error = start_worker_supervisor(pool);
    if (error == 0)
        error = np_resident_start(&pool->server.resident, pool->node, &server_class, pool->server_name,
                                  &pool->supervisor.resident.pid);
    if (error < 0) {
        snprintf(why, size, "pool %s cannot start: %s", pool->config->name,
                 error == NP_EEXIST ? "one of its names is registered already; pool names must differ"
                                    : np_strerror(error));
        return error;
    }
    pool->running = true;
    start_configured(pool);
    return 0;
}

static void stop_tree(np_pool *pool, np_in reason, bool orderly) {
    pool->running = false;
    stop_workers(pool, NULL, reason, orderly);
    for (uint32_t i = 0; i < pool->segments_len; i++)
        stop_segment(&pool->segments[i], reason, orderly);
    np_resident_stop(&pool->worker_supervisor.resident, reason);
    np_resident_stop(&pool->server.resident, reason);
    np_resident_stop(&pool->supervisor.resident, reason);
}

void np_pool_stop(np_pool *pool, np_in reason) { stop_tree(pool, reason, true); }

void np_pool_destroy(np_pool **pool) {
    np_pool *gone = *pool;
    if (gone == NULL)
        return;
    np_timers_stop(np_loop_timers(gone->node->loop), &gone->mend_timer);
    uint8_t room[NP_ATOM_TERM_MAX];
    if (gone->segments != NULL)
        stop_tree(gone, np_term_atom("shutdown", room), true);
    np_map_fini(&gone->workers);
    np_buf_fini(&gone->key);
    np_buf_fini(&gone->name);
    np_buf_fini(&gone->meta);
    free(gone->segments);
    free(gone);
    *pool = NULL;
}

/* One for one, but what has lost its supervisor goes with it. */
static int mend(np_pool *pool, np_in reason, bool orderly) {
    char why[TEXT_MAX];
    if (pool->supervisor.resident.pid.node == 0) {
        stop_tree(pool, reason, orderly);
        return np_pool_start(pool, why, sizeof why);
    }
    int error = 0;
    bool lost_workers = pool->worker_supervisor.resident.pid.node == 0;
    if (lost_workers) {
        for (uint32_t i = 0; i < pool->segments_len; i++)
            stop_segment(&pool->segments[i], reason, orderly);
        error = start_worker_supervisor(pool);
    }
    for (uint32_t i = 0; error == 0 && i < pool->segments_len; i++) {
        if (pool->segments[i].resident.pid.node != 0)
            continue;
        stop_segment(&pool->segments[i], reason, orderly);
        error = start_segment(pool, &pool->segments[i]);
        lost_workers = true;
    }
    if (error == 0 && pool->server.resident.pid.node == 0)
        error = np_resident_start(&pool->server.resident, pool->node, &server_class, pool->server_name,
                                  &pool->supervisor.resident.pid);
    if (error == 0 && lost_workers)
        start_configured(pool);
    return error;
}

static void mend_again(np_timer *timer, void *arg) {
    np_pool *pool = arg;
    (void)timer;
    pool->mends = 0;
    pool->mend_window_ms = np_node_now(pool->node);
    pool->node->pools_broken = true; /* this turn's end looks at it */
}

static void mend_later(np_pool *pool) {
    np_timers_start(np_loop_timers(pool->node->loop), &pool->mend_timer, np_node_now(pool->node) + MEND_PAUSE_MS,
                    mend_again, pool);
}

/* What keeps ending, as a worker that kills its own supervisor from init, must not keep the node busy with it. */
static bool mends_too_often(np_pool *pool) {
    uint64_t now = np_node_now(pool->node);
    if (now - pool->mend_window_ms > MEND_WINDOW_MS) {
        pool->mend_window_ms = now;
        pool->mends = 0;
    }
    return ++pool->mends > MEND_BURST;
}

void np_pool_mend(np_pool *pool) {
    if (!pool->running || !pool->broken || np_timer_running(&pool->mend_timer))
        return;
    if (mends_too_often(pool)) {
        NP_LOG(NP_LOG_ERROR, WHERE, "pool keeps breaking, it is brought back after a pause", "pool=%s pause_ms=%d",
               pool->config->name, MEND_PAUSE_MS);
        mend_later(pool);
        return;
    }
    uint8_t room[NP_ATOM_TERM_MAX];
    bool orderly = !pool->brutal;
    pool->broken = pool->brutal = false; /* what ends meanwhile is for the next turn */
    int error = mend(pool, np_term_atom(orderly ? "shutdown" : "killed", room), orderly);
    if (error < 0) {
        NP_LOG(NP_LOG_CRITICAL, WHERE, "pool could not be brought back, trying again", "pool=%s error=\"%s\"",
               pool->config->name, np_strerror(error));
        pool->broken = true;
        mend_later(pool);
    } else {
        NP_LOG(NP_LOG_NOTICE, WHERE, "pool brought back", "pool=%s workers=%u", pool->config->name,
               (unsigned)np_map_count(&pool->workers));
    }
}

np_pool *np_pool_find(np_node *node, const char *name, size_t len) {
    for (size_t i = 0; i < node->pools_len; i++) {
        const char *have = node->pools[i]->config->name;
        if (strlen(have) == len && memcmp(have, name, len) == 0)
            return node->pools[i];
    }
    return NULL;
}
