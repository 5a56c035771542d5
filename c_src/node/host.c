/*
 * host.c - what workers of inline segments ask for, done at once on the node's own thread.
 *
 * Called from inside worker callbacks: nothing here may enter another callback, and nothing does (messages to local
 * processes wait in node->letters, the procs machine hands its own messages to the same queue).
 */
#include "node/internal.h"

#include <string.h>

static int host_send(void *arg, const np_pid *self, const np_dest *dest, np_in payload) {
    return np_route_send(arg, self, dest, payload, NP_SEND_NORMAL);
}

static int host_reply(void *arg, const np_pid *self, const np_from *from, np_in payload) {
    return np_route_reply(arg, self, from, payload);
}

/* The outcome of a worker's call goes to the worker itself; arg is unused, for the worker may have been replaced by its
 * pid's death. */
static void answered(np_node *node, const np_pid *self, void *arg, uint64_t tag, int status, np_in value) {
    (void)arg;
    void *target;
    const np_proc_class *proc_class = np_procs_find(node->procs, self, &target);
    if (proc_class == &np_pool_worker_class()->proc && target != NULL)
        np_runtime_reply(target, tag, status, value);
}

static int host_call(void *arg, const np_pid *self, const np_dest *dest, np_in request, uint32_t timeout_ms,
                     uint64_t tag) {
    return np_client_call(arg, self, "$gen_call", dest, request, timeout_ms, answered, NULL, tag);
}

static int host_erpc(void *arg, const np_pid *self, np_node_id to, const char *module, const char *function, np_in args,
                     uint32_t timeout_ms, uint64_t tag) {
    return np_client_erpc(arg, self, to, module, function, args, timeout_ms, answered, NULL, tag);
}

static int host_monitor(void *arg, const np_pid *self, const np_pid *pid, np_ref *ref) {
    return np_procs_monitor(((np_node *)arg)->procs, self, pid, ref);
}

static int host_demonitor(void *arg, const np_pid *self, const np_ref *ref) {
    return np_procs_demonitor(((np_node *)arg)->procs, self, ref);
}

static int host_link(void *arg, const np_pid *self, const np_pid *pid) {
    return np_procs_link(((np_node *)arg)->procs, self, pid);
}

static int host_unlink(void *arg, const np_pid *self, const np_pid *pid) {
    return np_procs_unlink(((np_node *)arg)->procs, self, pid);
}

static int host_exit(void *arg, const np_pid *self, const np_pid *pid, np_in reason) {
    np_procs_exit2(((np_node *)arg)->procs, self, pid, reason);
    return 0;
}

/* Registering and joining: of the worker itself. */
static int host_scope(void *arg, const np_pid *self, const np_scope_request *request) {
    np_node *node = arg;
    size_t len = strlen(request->scope);
    bool groups = request->op >= NP_SCOPE_JOIN;
    np_syn_scope *scope =
        groups ? np_scopes_groups(node, request->scope, len) : np_scopes_registry(node, request->scope, len);
    if (scope == NULL)
        return NP_ENOENT;
    np_scopes_clock(node);
    switch (request->op) {
    case NP_SCOPE_REGISTER: return np_syn_register(scope, request->first, self, request->second);
    case NP_SCOPE_UNREGISTER: return np_syn_unregister(scope, request->first, self);
    case NP_SCOPE_LOOKUP: return np_syn_lookup(scope, request->first, request->pid, request->meta);
    case NP_SCOPE_JOIN: return np_syn_join(scope, request->first, self, request->second);
    case NP_SCOPE_LEAVE: return np_syn_leave(scope, request->first, self);
    case NP_SCOPE_MEMBERS: return (int)np_syn_members(scope, request->first, false, request->visit, request->visit_arg);
    case NP_SCOPE_PUBLISH: return (int)np_syn_publish(scope, request->first, false, request->second);
    }
    return NP_EINVAL;
}

static int host_trap_exit(void *arg, const np_pid *self, bool trap) {
    return np_procs_set_trap_exit(((np_node *)arg)->procs, self, trap);
}

static uint64_t host_now(void *arg) { return np_node_now(arg); }

void np_host_init(np_runtime_host *host, np_node *node) {
    *host = (np_runtime_host){
        .arg = node,
        .send = host_send,
        .reply = host_reply,
        .call = host_call,
        .erpc = host_erpc,
        .monitor = host_monitor,
        .demonitor = host_demonitor,
        .link = host_link,
        .unlink = host_unlink,
        .exit = host_exit,
        .scope = host_scope,
        .trap_exit = host_trap_exit,
        .now_ms = host_now,
        .timers = np_loop_timers(node->loop),
    };
}
