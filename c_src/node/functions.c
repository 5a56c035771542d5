/*
 * functions.c - what erpc, rpc and Node.spawn can call on this node: a table of module, function, arity and a C
 * function.
 *
 * Main thread. Shapes are those of the Erlang functions of the same name; what this node has no notion of is left out,
 * so that callers get a plain undef. Our own are in the module native_pool.
 */
#include "node/internal.h"

#include "base/assert.h"
#include "term/ids.h"
#include "term/names.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { ARITY_MAX = 4 };

typedef struct args {
    np_in at[ARITY_MAX];
    uint8_t small[ARITY_MAX][2]; /* elements of byte lists, kept past np_list_next */
} args;

typedef struct request {
    np_node *node;
    np_rpc *rpc; /* NULL: no answer can come later */
    args *args;
    np_out *out;
} request;

typedef int (*function)(const request *req);

static void pair(np_out *out, const char *key, uint64_t value) {
    np_out_tuple(out, 2);
    np_out_atom(out, key);
    np_out_uint(out, value);
}

/* The length of a list whose elements are all known keys. NP_EINVAL. */
static int count_keys(np_in in, const char *(*known)(np_in *element)) {
    np_list list;
    np_in element;
    int count = 0;
    if (np_in_list(&in, &list) < 0)
        return NP_EINVAL;
    while (np_list_next(&list, &element)) {
        if (known(&element) == NULL)
            return NP_EINVAL;
        count++;
    }
    return count;
}

/* ---- memory ---- */

static uint64_t resident_bytes(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*u %lu", &pages) != 1)
        pages = 0;
    fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The keys of erlang:memory/0. What is allocated counts as processes; the rest of what is resident as system. */
static const char *const MEMORY_KEYS[] = {"total",     "processes", "processes_used", "system", "atom",
                                          "atom_used", "binary",    "code",           "ets"};

static uint64_t memory_of(const char *key) {
    struct mallinfo2 heap = mallinfo2();
    uint64_t used = heap.uordblks + heap.hblkhd;
    uint64_t total = resident_bytes();
    if (total < used)
        total = used;
    if (strcmp(key, "total") == 0)
        return total;
    if (strcmp(key, "processes") == 0 || strcmp(key, "processes_used") == 0)
        return used;
    if (strcmp(key, "system") == 0)
        return total - used;
    return 0;
}

static int erlang_memory_0(const request *req) {
    np_out_list(req->out, NP_ARRAY_LEN(MEMORY_KEYS));
    for (size_t i = 0; i < NP_ARRAY_LEN(MEMORY_KEYS); i++)
        pair(req->out, MEMORY_KEYS[i], memory_of(MEMORY_KEYS[i]));
    np_out_nil(req->out);
    return 0;
}

static const char *memory_key(np_in *in) {
    for (size_t i = 0; i < NP_ARRAY_LEN(MEMORY_KEYS); i++) {
        if (np_in_match(in, MEMORY_KEYS[i]) == 0)
            return MEMORY_KEYS[i];
    }
    return NULL;
}

static int erlang_memory_1(const request *req) {
    np_in in = req->args->at[0];
    const char *key = memory_key(&in);
    if (key != NULL) {
        np_out_uint(req->out, memory_of(key));
        return 0;
    }
    np_list list;
    np_in element;
    int count = count_keys(in, memory_key);
    if (count < 0)
        return count;
    np_out_list(req->out, (uint32_t)count);
    np_in_list(&in, &list);
    while (np_list_next(&list, &element)) {
        key = memory_key(&element);
        pair(req->out, key, memory_of(key));
    }
    np_out_nil(req->out);
    return 0;
}

/* ---- nodes ---- */

static int erlang_node_0(const request *req) {
    np_out_atom(req->out, req->node->settings.peers.name);
    return 0;
}

static void nodes_term(np_node *node, np_out *out, bool visible, bool hidden, bool self) {
    uint32_t count = 0;
    for (int pass = 0; pass < 2; pass++) {
        uint32_t at = 0;
        np_node_id peer;
        if (pass == 1)
            np_out_list(out, count + (self ? 1 : 0));
        while ((peer = np_peers_next(node->peers, &at)) != 0) {
            bool seen = !node->settings.peers.hidden && np_peers_visible(node->peers, peer);
            if (!(seen ? visible : hidden))
                continue;
            if (pass == 0) {
                count++;
            } else {
                np_out_atom(out, np_name_text(peer));
            }
        }
    }
    if (self)
        np_out_atom(out, node->settings.peers.name);
    np_out_nil(out);
}

static int erlang_nodes_0(const request *req) {
    nodes_term(req->node, req->out, true, false, false);
    return 0;
}

static int node_kind(np_in *in, bool *visible, bool *hidden, bool *self) {
    if (np_in_match(in, "visible") == 0) {
        *visible = true;
    } else if (np_in_match(in, "hidden") == 0) {
        *hidden = true;
    } else if (np_in_match(in, "connected") == 0) {
        *visible = *hidden = true;
    } else if (np_in_match(in, "this") == 0) {
        *self = true;
    } else if (np_in_match(in, "known") == 0) {
        *visible = *hidden = *self = true;
    } else {
        return NP_EINVAL;
    }
    return 0;
}

static int erlang_nodes_1(const request *req) {
    bool visible = false;
    bool hidden = false;
    bool self = false;
    np_in in = req->args->at[0];
    np_list list;
    if (np_in_type(&in) == NP_TYPE_LIST && np_in_list(&in, &list) == 0) {
        np_in element;
        while (np_list_next(&list, &element)) {
            if (node_kind(&element, &visible, &hidden, &self) < 0)
                return NP_EINVAL;
        }
    } else if (node_kind(&in, &visible, &hidden, &self) < 0) {
        return NP_EINVAL;
    }
    nodes_term(req->node, req->out, visible, hidden, self);
    return 0;
}

/* ---- the system ---- */

static int erlang_system_info_1(const request *req) {
    np_in in = req->args->at[0];
    np_node *node = req->node;
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {
        {"process_count", np_procs_count(node->procs)},
        {"process_limit", 1u << 27},
        {"creation", node->creation},
        {"schedulers", 1},
        {"schedulers_online", 1},
        {"wordsize", sizeof(void *)},
        {"logical_processors", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN)},
    };
    for (size_t i = 0; i < NP_ARRAY_LEN(numbers); i++) {
        if (np_in_match(&in, numbers[i].key) < 0)
            continue;
        np_out_uint(req->out, numbers[i].value);
        return 0;
    }
    if (np_in_match(&in, "system_version") == 0) {
        np_out_chars(req->out, "native_pool " NP_VERSION "\n");
        return 0;
    }
    return NP_EINVAL;
}

static int erlang_statistics_1(const request *req) {
    np_in in = req->args->at[0];
    np_out *out = req->out;
    np_node *node = req->node;
    if (np_in_match(&in, "run_queue") == 0) {
        np_out_uint(out, node->letters_count);
    } else if (np_in_match(&in, "wall_clock") == 0) {
        np_out_tuple(out, 2);
        np_out_uint(out, np_node_now(node) - node->started_ms);
        np_out_uint(out, 0);
    } else if (np_in_match(&in, "runtime") == 0) {
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        np_out_tuple(out, 2);
        np_out_uint(out, (uint64_t)usage.ru_utime.tv_sec * 1000 + (uint64_t)usage.ru_utime.tv_usec / 1000 +
                             (uint64_t)usage.ru_stime.tv_sec * 1000 + (uint64_t)usage.ru_stime.tv_usec / 1000);
        np_out_uint(out, 0);
    } else if (np_in_match(&in, "io") == 0) {
        np_peers_stats stats;
        np_peers_get_stats(node->peers, &stats);
        np_out_tuple(out, 2);
        pair(out, "input", stats.traffic.bytes_in);
        pair(out, "output", stats.traffic.bytes_out);
    } else {
        return NP_EINVAL;
    }
    return 0;
}

/* ---- processes ---- */

static int erlang_processes_0(const request *req) {
    uint32_t at = 0;
    np_pid pid;
    np_out_list(req->out, np_procs_count(req->node->procs));
    while (np_procs_next(req->node->procs, &at, &pid))
        np_out_pid(req->out, &pid);
    np_out_nil(req->out);
    return 0;
}

static int erlang_is_process_alive_1(const request *req) {
    np_pid pid;
    np_in in = req->args->at[0];
    if (np_in_pid(&in, &pid) < 0 || pid.node != req->node->id)
        return NP_EINVAL;
    np_out_bool(req->out, np_procs_alive(req->node->procs, &pid));
    return 0;
}

static int erlang_whereis_1(const request *req) {
    char name[NP_ATOM_BYTES_MAX + 1];
    np_in in = req->args->at[0];
    int len = np_in_atom(&in, name, sizeof name);
    if (len < 0)
        return NP_EINVAL;
    np_pid pid;
    if (np_procs_whereis(req->node->procs, name, (size_t)len, &pid) == 0) {
        np_out_pid(req->out, &pid);
    } else {
        np_out_atom(req->out, "undefined");
    }
    return 0;
}

static int erlang_registered_0(const request *req) {
    uint32_t at = 0;
    uint32_t count = 0;
    np_str name;
    np_pid pid;
    while (np_procs_next_name(req->node->procs, &at, &name, &pid))
        count++;
    np_out_list(req->out, count);
    at = 0;
    while (np_procs_next_name(req->node->procs, &at, &name, &pid))
        np_out_atom_n(req->out, name.data, name.len);
    np_out_nil(req->out);
    return 0;
}

static const char *const INFO_KEYS[] = {"registered_name", "status",       "message_queue_len", "trap_exit",
                                        "links",           "monitored_by", "group_leader",      "initial_call"};

/* The value of one item; false if there is no such item. */
static bool info_item(const request *req, const np_pid *pid, const np_proc_info *info, const char *key) {
    np_procs *procs = req->node->procs;
    np_out *out = req->out;
    np_out_tuple(out, 2);
    np_out_atom(out, key);
    if (strcmp(key, "registered_name") == 0) {
        np_str name = np_procs_name_of(procs, pid);
        if (name.len == 0) {
            np_out_nil(out);
        } else {
            np_out_atom_n(out, name.data, name.len);
        }
    } else if (strcmp(key, "status") == 0) {
        np_out_atom(out, "waiting");
    } else if (strcmp(key, "message_queue_len") == 0) {
        np_out_uint(out, 0);
    } else if (strcmp(key, "trap_exit") == 0) {
        np_out_bool(out, info->trap_exit);
    } else if (strcmp(key, "links") == 0) {
        np_procs_links_term(procs, pid, out);
    } else if (strcmp(key, "monitored_by") == 0) {
        np_procs_watchers_term(procs, pid, out);
    } else if (strcmp(key, "group_leader") == 0) {
        np_out_pid(out, info->leader.node != 0 ? &info->leader : pid);
    } else {
        void *target;
        const np_proc_class *proc_class = np_procs_find(procs, pid, &target);
        np_out_tuple(out, 3);
        np_out_atom(out, "native_pool");
        np_out_atom(out, proc_class->name);
        np_out_uint(out, 1);
    }
    return true;
}

static const char *info_key(np_in *in) {
    for (size_t i = 0; i < NP_ARRAY_LEN(INFO_KEYS); i++) {
        if (np_in_match(in, INFO_KEYS[i]) == 0)
            return INFO_KEYS[i];
    }
    return NULL;
}

static int info_of(const request *req, np_pid *pid, np_proc_info *info, bool *dead) {
    np_in in = req->args->at[0];
    if (np_in_pid(&in, pid) < 0 || pid->node != req->node->id)
        return NP_EINVAL;
    *dead = np_procs_info(req->node->procs, pid, info) < 0;
    return 0;
}

static int erlang_process_info_1(const request *req) {
    np_pid pid;
    np_proc_info info;
    bool dead;
    if (info_of(req, &pid, &info, &dead) < 0)
        return NP_EINVAL;
    if (dead) {
        np_out_atom(req->out, "undefined");
        return 0;
    }
    bool named = np_procs_name_of(req->node->procs, &pid).len > 0;
    np_out_list(req->out, (uint32_t)NP_ARRAY_LEN(INFO_KEYS) - (named ? 0 : 1));
    for (size_t i = named ? 0 : 1; i < NP_ARRAY_LEN(INFO_KEYS); i++)
        info_item(req, &pid, &info, INFO_KEYS[i]);
    np_out_nil(req->out);
    return 0;
}

static int erlang_process_info_2(const request *req) {
    np_pid pid;
    np_proc_info info;
    bool dead;
    if (info_of(req, &pid, &info, &dead) < 0)
        return NP_EINVAL;
    if (dead) {
        np_out_atom(req->out, "undefined");
        return 0;
    }
    np_in in = req->args->at[1];
    const char *key = info_key(&in);
    if (key != NULL) {
        if (strcmp(key, "registered_name") == 0 && np_procs_name_of(req->node->procs, &pid).len == 0) {
            np_out_nil(req->out); /* OTP: [] instead of a pair */
        } else {
            info_item(req, &pid, &info, key);
        }
        return 0;
    }
    np_list list;
    np_in element;
    int count = count_keys(in, info_key);
    if (count < 0)
        return count;
    np_out_list(req->out, (uint32_t)count);
    np_in_list(&in, &list);
    while (np_list_next(&list, &element))
        info_item(req, &pid, &info, info_key(&element));
    np_out_nil(req->out);
    return 0;
}

static int proc_lib_translate_initial_call_1(const request *req) {
    np_out_tuple(req->out, 3);
    np_out_atom(req->out, "native_pool");
    np_out_atom(req->out, "process");
    np_out_uint(req->out, 1);
    return 0;
}

static int code_is_loaded_1(const request *req) {
    np_out_bool(req->out, false);
    return 0;
}

/* ---- sys, by way of a system message to the process ---- */

static void system_answer(np_node *node, const np_pid *self, void *arg, uint64_t tag, int status, np_in value) {
    (void)self;
    (void)tag;
    np_rpc_finish(node, arg, status, value);
}

static int system_request(const request *req, const char *what) {
    np_pid pid;
    char name[NP_ATOM_BYTES_MAX + 1];
    np_in in = req->args->at[0];
    np_dest dest = {0};
    if (np_in_pid(&in, &pid) == 0) {
        dest.pid = &pid;
    } else if (np_in_atom(&in, name, sizeof name) > 0) {
        dest.name = name;
    } else {
        return NP_EINVAL;
    }
    if (req->rpc == NULL)
        return NP_EINVAL; /* by rpc:block_call: nothing may come later there */
    np_rpc *later = np_rpc_later(req->rpc);
    if (later == NULL)
        return NP_ENOMEM;
    uint8_t room[NP_ATOM_TERM_MAX];
    int error = np_client_call(req->node, &req->node->info.pid, "system", &dest, np_term_atom(what, room), 5000,
                               system_answer, later, 0);
    if (error < 0) {
        free(later);
        return error;
    }
    return NP_NOREPLY;
}

static int sys_get_state(const request *req) { return system_request(req, "get_state"); }
static int sys_get_status(const request *req) { return system_request(req, "get_status"); }

/* ---- native_pool ---- */

void np_functions_stats(np_node *node, np_out *out) {
    np_peers_stats peers;
    np_peers_get_stats(node->peers, &peers);
    uint32_t connected = 0;
    uint32_t at = 0;
    while (np_peers_next(node->peers, &at) != 0)
        connected++;
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {
        {"uptime_ms", np_node_now(node) - node->started_ms},
        {"processes", np_procs_count(node->procs)},
        {"peers", connected},
        {"connects", peers.connects},
        {"disconnects", peers.closes},
        {"refused", peers.refused},
        {"bytes_in", peers.traffic.bytes_in},
        {"bytes_out", peers.traffic.bytes_out},
        {"packets_in", peers.traffic.packets_in},
        {"packets_out", peers.traffic.packets_out},
        {"queued_bytes", peers.queued_bytes},
        {"messages_in", node->messages_in},
        {"messages_out", node->messages_out},
        {"overloads", node->refused_out},
        {"calls_in_flight", node->calls.count},
        {"memory", resident_bytes()},
        {"worst_turn_us", np_loop_worst_turn_us(node->loop)},
    };
    np_out_map(out, (uint32_t)NP_ARRAY_LEN(rows) + 3);
    np_out_atom(out, "node");
    np_out_atom(out, node->settings.peers.name);
    np_out_atom(out, "version");
    np_out_text(out, NP_VERSION);
    for (size_t i = 0; i < NP_ARRAY_LEN(rows); i++) {
        np_out_atom(out, rows[i].key);
        np_out_uint(out, rows[i].value);
    }
    np_out_atom(out, "pools");
    np_out_list(out, (uint32_t)node->pools_len);
    for (size_t i = 0; i < node->pools_len; i++)
        np_pool_stats(node->pools[i], out);
    np_out_nil(out);
}

static int native_pool_stats_0(const request *req) {
    np_functions_stats(req->node, req->out);
    return 0;
}

static int native_pool_version_0(const request *req) {
    np_out_text(req->out, NP_VERSION);
    return 0;
}

static int native_pool_pools_0(const request *req) {
    np_out_list(req->out, (uint32_t)req->node->pools_len);
    for (size_t i = 0; i < req->node->pools_len; i++)
        np_out_atom(req->out, req->node->settings.pools[i].name);
    np_out_nil(req->out);
    return 0;
}

/* native_pool:whereis(Pool, Id) -> {ok, Pid} | {error, not_registered} */
static int native_pool_whereis_2(const request *req) {
    char name[NP_ATOM_BYTES_MAX + 1];
    np_in in = req->args->at[0];
    int len = np_in_atom(&in, name, sizeof name);
    if (len < 0)
        return NP_EINVAL;
    np_pool *pool = np_pool_find(req->node, name, (size_t)len);
    np_pid pid;
    np_out_tuple(req->out, 2);
    if (pool != NULL && np_pool_whereis(pool, req->args->at[1], &pid) == 0) {
        np_out_atom(req->out, "ok");
        np_out_pid(req->out, &pid);
    } else {
        np_out_atom(req->out, "error");
        np_out_atom(req->out, "not_registered");
    }
    return 0;
}

/* A scope the node is a member of, by the atom at the cursor. NULL: none such. */
static np_syn_scope *scope_of(const request *req, bool groups) {
    char name[NP_ATOM_BYTES_MAX + 1];
    np_in in = req->args->at[0];
    int len = np_in_atom(&in, name, sizeof name);
    if (len < 0)
        return NULL;
    return groups ? np_scopes_groups(req->node, name, (size_t)len) : np_scopes_registry(req->node, name, (size_t)len);
}

/* native_pool:lookup(Scope, Name) -> {Pid, Meta} | undefined, as syn:lookup/2 */
static int native_pool_lookup_2(const request *req) {
    np_syn_scope *scope = scope_of(req, false);
    np_pid pid;
    np_in meta;
    if (scope == NULL)
        return NP_EINVAL;
    if (np_syn_lookup(scope, req->args->at[1], &pid, &meta) < 0) {
        np_out_atom(req->out, "undefined");
        return 0;
    }
    np_out_tuple(req->out, 2);
    np_out_pid(req->out, &pid);
    np_out_term(req->out, &meta);
    return 0;
}

static void out_member(void *arg, const np_pid *pid, np_in meta) {
    np_out_tuple(arg, 2);
    np_out_pid(arg, pid);
    np_out_term(arg, &meta);
}

/* native_pool:members(Scope, Group) -> [{Pid, Meta}], as syn:members/2 */
static int native_pool_members_2(const request *req) {
    np_syn_scope *scope = scope_of(req, true);
    if (scope == NULL)
        return NP_EINVAL;
    np_out_list(req->out, np_syn_members(scope, req->args->at[1], false, NULL, NULL));
    np_syn_members(scope, req->args->at[1], false, out_member, req->out);
    np_out_nil(req->out);
    return 0;
}

/* ---- the table ---- */

static const struct {
    const char *module;
    const char *name;
    uint32_t arity;
    function run;
} TABLE[] = {
    {"erlang", "node", 0, erlang_node_0},
    {"erlang", "nodes", 0, erlang_nodes_0},
    {"erlang", "nodes", 1, erlang_nodes_1},
    {"erlang", "memory", 0, erlang_memory_0},
    {"erlang", "memory", 1, erlang_memory_1},
    {"erlang", "system_info", 1, erlang_system_info_1},
    {"erlang", "statistics", 1, erlang_statistics_1},
    {"erlang", "processes", 0, erlang_processes_0},
    {"erlang", "process_info", 1, erlang_process_info_1},
    {"erlang", "process_info", 2, erlang_process_info_2},
    {"erlang", "is_process_alive", 1, erlang_is_process_alive_1},
    {"erlang", "whereis", 1, erlang_whereis_1},
    {"erlang", "registered", 0, erlang_registered_0},
    {"sys", "get_state", 1, sys_get_state},
    {"sys", "get_state", 2, sys_get_state},
    {"sys", "get_status", 1, sys_get_status},
    {"sys", "get_status", 2, sys_get_status},
    {"proc_lib", "translate_initial_call", 1, proc_lib_translate_initial_call_1},
    {"code", "is_loaded", 1, code_is_loaded_1},
    {"native_pool", "stats", 0, native_pool_stats_0},
    {"native_pool", "version", 0, native_pool_version_0},
    {"native_pool", "pools", 0, native_pool_pools_0},
    {"native_pool", "whereis", 2, native_pool_whereis_2},
    {"native_pool", "lookup", 2, native_pool_lookup_2},
    {"native_pool", "members", 2, native_pool_members_2},
};

int np_functions_run(np_node *node, np_rpc *rpc, const np_spawn *spawn, np_out *out) {
    for (size_t i = 0; i < NP_ARRAY_LEN(TABLE); i++) {
        if (TABLE[i].arity != spawn->arity || strcmp(TABLE[i].name, spawn->function) != 0 ||
            strcmp(TABLE[i].module, spawn->module) != 0)
            continue;
        args args;
        np_in list_in = spawn->args;
        np_list list;
        np_in element;
        uint32_t count = 0;
        if (np_in_list(&list_in, &list) < 0)
            return NP_EINVAL;
        while (count < ARITY_MAX && np_list_next(&list, &element)) {
            if (list.bytes) { /* the element lives in the iterator: copy it out */
                memcpy(args.small[count], list.small, sizeof list.small);
                element = (np_in){.base = args.small[count], .pos = 0, .end = sizeof list.small};
            }
            args.at[count++] = element;
        }
        if (count != spawn->arity)
            return NP_EINVAL;
        return TABLE[i].run(&(request){.node = node, .rpc = rpc, .args = &args, .out = out});
    }
    return NP_ENOENT;
}
