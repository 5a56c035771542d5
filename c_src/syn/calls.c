/*
 * calls.c - gen_server calls: what syn on the caller's node asks of the node of the process; those whose metadata is a
 * fun; and the same calls in the other direction. See internal.h; mirrors handle_call of syn_registry and syn_pg, and
 * register_or_update, unregister, join_or_update, leave.
 *
 * The caller inserts or deletes in its own tables what the reply says, so that names its tables, and the broadcast
 * leaves it out.
 */
#include "base/assert.h"
#include "syn/internal.h"
#include "term/ids.h"
#include "term/names.h"
#include "term/out.h"

#include <stdlib.h>
#include <string.h>

/* ---- replies ---- */

typedef struct call {
    np_syn_scope *scope;
    np_in from;
} call;

static np_out reply_begin(const call *call) {
    np_out out;
    np_buf *buf = &call->scope->syn->aux_scratch;
    np_buf_clear(buf, NP_SYN_META_BYTES_MAX);
    np_out_init(&out, buf, NP_MESSAGE_MAX);
    return out;
}

static void reply_end(const call *call, np_out *out) {
    np_syn *syn = call->scope->syn;
    if (np_out_error(out) < 0) {
        np_syn_complain(syn, NP_SYN_WRONG_RESOURCES, call->scope, 0, (np_in){NULL, 0, 0});
        return; /* the caller times out */
    }
    syn->io.reply(syn->io.arg, call->scope, call->from, np_out_view(out));
}

static void reply_atom(const call *call, const char *atom) {
    np_out out = reply_begin(call);
    np_out_atom(&out, atom);
    reply_end(call, &out);
}

static void reply_error(const call *call, const char *reason) {
    np_out out = reply_begin(call);
    np_out_tuple(&out, 2);
    np_out_atom(&out, "error");
    np_out_atom(&out, reason);
    reply_end(call, &out);
}

static void reply_noop(const call *call, np_in meta) {
    np_out out = reply_begin(call);
    np_out_tuple(&out, 2);
    np_out_atom(&out, "noop");
    np_out_term(&out, &meta);
    reply_end(call, &out);
}

static const char *const methods[][2] = {
    [NP_SYN_REGISTRY] =
        {[NP_SYN_SET_NEW] = "on_process_registered", [NP_SYN_SET_CHANGED] = "on_registry_process_updated"},
    [NP_SYN_PG] = {[NP_SYN_SET_NEW] = "on_process_joined", [NP_SYN_SET_CHANGED] = "on_group_process_updated"},
};

/* {ok, {Method, PreviousMeta, Meta, Time, TableByName, TableByPid}} */
static void reply_set(const call *call, const np_syn_setting *setting) {
    np_syn_scope *scope = call->scope;
    np_in meta = np_syn_meta_in(setting->entry->meta);
    np_out out = reply_begin(call);
    np_out_tuple(&out, 2);
    np_out_atom(&out, "ok");
    np_out_tuple(&out, 6);
    np_out_atom(&out, methods[scope->kind][setting->set]);
    if (setting->previous != NULL) {
        np_in previous = np_syn_meta_in(setting->previous);
        np_out_term(&out, &previous);
    } else {
        np_out_atom(&out, "undefined");
    }
    np_out_term(&out, &meta);
    np_out_uint(&out, setting->entry->time_ns);
    np_out_atom(&out, scope->table_by_name);
    np_out_atom(&out, scope->table_by_pid);
    reply_end(call, &out);
}

static const char *reason_of(int error) {
    switch (error) {
    case NP_EEXIST: return "taken";
    case NP_ENOPROC: return "not_alive";
    case NP_EBADTERM: return "badarg";
    default: return "system_limit";
    }
}

/* Sets it and says so. Takes the reference of meta. */
static void set_and_reply(const call *call, const np_syn_key *key, const np_pid *pid, np_syn_meta *meta,
                          np_node_id requester) {
    np_syn_setting setting;
    int error = np_syn_own_set(call->scope, key, pid, meta, requester, &setting);
    if (error < 0)
        reply_error(call, reason_of(error));
    else if (setting.set == NP_SYN_SET_SAME)
        reply_noop(call, np_syn_meta_in(setting.entry->meta));
    else
        reply_set(call, &setting);
    np_syn_meta_unref(call->scope->syn, setting.previous);
}

/* ---- funs ---- */

static void update_free(np_syn *syn, np_syn_update *update) {
    np_syn_meta_unref(syn, update->meta);
    np_buf_fini(&update->from);
    np_buf_fini(&update->name);
    np_buf_fini(&update->fun);
    free(update);
    syn->updates_count--;
}

static np_in whole(const np_buf *buf) { return (np_in){np_buf_head(buf), 0, np_buf_len(buf)}; }

static int copy(np_buf *to, np_in term) {
    np_bytes bytes = np_in_bytes(&term);
    return np_buf_append(to, bytes.data, bytes.len);
}

/* Fun(Pid, Meta) for a name, Fun(Meta) for a membership. */
static int ask_for(np_syn_update *update) {
    np_syn_scope *scope = update->scope;
    np_syn *syn = scope->syn;
    np_in meta = np_syn_meta_in(update->meta);
    np_out out;
    if (syn->io.evaluate == NULL)
        return NP_ENOTSUP;
    np_buf_clear(&syn->aux_scratch, NP_SYN_META_BYTES_MAX);
    np_out_init(&out, &syn->aux_scratch, NP_MESSAGE_MAX);
    np_out_list(&out, scope->kind == NP_SYN_REGISTRY ? 2 : 1);
    if (scope->kind == NP_SYN_REGISTRY)
        np_out_pid(&out, &update->pid);
    np_out_term(&out, &meta);
    np_out_nil(&out);
    if (np_out_error(&out) < 0)
        return np_out_error(&out);
    update->tries++;
    return syn->io.evaluate(syn->io.arg, scope, update->id, update->requester, whole(&update->fun), np_out_view(&out));
}

/* Of the same entry: one after the other, in the order they came, as they would be in syn's scope process. One that
 * waits for its turn has not been tried yet. */
static bool same_entry(const np_syn_update *a, const np_syn_update *b) {
    return a->scope == b->scope && np_pid_eq(&a->pid, &b->pid) && np_buf_len(&a->name) == np_buf_len(&b->name) &&
           memcmp(np_buf_head(&a->name), np_buf_head(&b->name), np_buf_len(&a->name)) == 0;
}

/* Puts it last. True if another one of the same entry is under way. */
static bool update_append(np_syn *syn, np_syn_update *update) {
    bool busy = false;
    np_syn_update **end = &syn->updates;
    for (; *end != NULL; end = &(*end)->next)
        busy = busy || same_entry(*end, update);
    *end = update;
    return busy;
}

static void update_remove(np_syn *syn, const np_syn_update *update) {
    np_syn_update **at = &syn->updates;
    while (*at != update)
        at = &(*at)->next;
    *at = update->next;
}

static const char *evaluate_error(int error) {
    return error == NP_ENOMEM || error == NP_ELIMIT ? "system_limit" : "not_supported";
}

static void update_begin(const call *call, const np_syn_entry *entry, const np_syn_key *key, np_in fun,
                         np_node_id requester) {
    np_syn *syn = call->scope->syn;
    if (syn->updates_count >= NP_SYN_UPDATES_MAX) {
        reply_error(call, "overloaded");
        return;
    }
    np_syn_update *update = calloc(1, sizeof(*update));
    if (update == NULL) {
        reply_error(call, "system_limit");
        return;
    }
    syn->updates_count++;
    *update = (np_syn_update){
        .id = ++syn->update_id,
        .scope = call->scope,
        .meta = np_syn_meta_ref(entry->meta),
        .pid = np_syn_entry_pid(entry),
        .requester = requester,
    };
    int error = np_buf_append(&update->name, key->bytes.data, key->bytes.len);
    if (error == 0)
        error = copy(&update->fun, fun);
    if (error == 0)
        error = copy(&update->from, call->from);
    if (error < 0) {
        reply_error(call, evaluate_error(error));
        update_free(syn, update);
        return;
    }
    if (!update_append(syn, update) && (error = ask_for(update)) < 0) {
        update_remove(syn, update);
        reply_error(call, evaluate_error(error));
        update_free(syn, update);
    }
}

/* {raise, Class, Reason, Stacktrace}, or {error, {not_evaluated, Reason}}. */
static void reply_failed(const call *call, np_syn_outcome outcome, np_in value) {
    np_in raised = value;
    bool raise = outcome == NP_SYN_RAISED && np_in_tuple_of(&raised, 3) == 0;
    np_out out = reply_begin(call);
    if (raise) {
        np_out_tuple(&out, 4);
        np_out_atom(&out, "raise");
        np_out_term(&out, &raised);
    } else {
        np_out_tuple(&out, 2);
        np_out_atom(&out, "error");
        np_out_tuple(&out, 2);
        np_out_atom(&out, "not_evaluated");
        np_out_term(&out, &value);
    }
    reply_end(call, &out);
}

/* The entry it is about; NULL: it is not there any more, and the caller has been told. */
static np_syn_entry *update_entry(np_syn_update *update, const call *call, np_syn_key *key) {
    int error = np_syn_key_read(update->scope->syn, whole(&update->name), key);
    NP_ASSERT(error == 0 || error == NP_ENOMEM);
    np_syn_entry *entry = error < 0 ? NULL : np_syn_entry_find(update->scope, key, &update->pid);
    if (entry == NULL) {
        reply_error(call, "undefined");
    } else if (!np_syn_entry_is(entry, &update->pid)) {
        reply_error(call, "taken");
        entry = NULL;
    }
    return entry;
}

static void update_meta(np_syn_update *update, const np_syn_entry *entry) {
    np_syn_meta_unref(update->scope->syn, update->meta);
    update->meta = np_syn_meta_ref(entry->meta);
}

/* The fun has returned. False: the metadata was changed meanwhile, it has to be asked again. */
static bool update_apply(np_syn_update *update, const call *call, np_in value) {
    np_syn_key key;
    np_syn_meta *meta;
    np_syn_entry *entry = update_entry(update, call, &key);
    if (entry == NULL)
        return true;
    if (entry->meta != update->meta) {
        update_meta(update, entry);
        return false;
    }
    int error = np_syn_meta_get(update->scope->syn, value, &meta);
    if (error < 0)
        reply_error(call, reason_of(error));
    else
        set_and_reply(call, &key, &update->pid, meta, update->requester);
    return true;
}

/* Takes it away; the next one of the same entry has its turn. */
static void update_end(np_syn *syn, np_syn_update *done) {
    update_remove(syn, done);
    np_syn_update *next = syn->updates;
    while (next != NULL) {
        np_syn_update *update = next;
        np_syn_key key;
        next = update->next;
        if (!same_entry(update, done))
            continue;
        call call = {update->scope, whole(&update->from)};
        np_syn_entry *entry = update_entry(update, &call, &key);
        int error = 0;
        if (entry != NULL) {
            update_meta(update, entry);
            error = ask_for(update);
            if (error == 0)
                break;
            reply_error(&call, evaluate_error(error));
        }
        update_remove(syn, update);
        update_free(syn, update);
    }
    update_free(syn, done);
}

void np_syn_evaluated(np_syn *syn, uint64_t id, np_syn_outcome outcome, np_in value) {
    np_syn_update *update = syn->updates;
    while (update != NULL && update->id != id)
        update = update->next;
    if (update == NULL)
        return;
    call call = {update->scope, whole(&update->from)};
    np_syn_enter(syn);
    if (outcome != NP_SYN_RETURNED) {
        reply_failed(&call, outcome, value);
    } else if (!update_apply(update, &call, value)) {
        if (update->tries < NP_SYN_UPDATE_TRIES && ask_for(update) == 0) {
            np_syn_exit(syn);
            return;
        }
        reply_error(&call, "conflict");
    }
    update_end(syn, update);
    np_syn_exit(syn);
}

void np_syn_updates_drop(np_syn *syn, const np_syn_scope *scope) {
    for (np_syn_update **at = &syn->updates; *at != NULL;) {
        np_syn_update *update = *at;
        if (scope != NULL && update->scope != scope) {
            at = &update->next;
            continue;
        }
        *at = update->next;
        update_free(syn, update);
    }
}

/* ---- requests ---- */

typedef struct request {
    np_node_id requester; /* 0: none, or not the caller's node */
    np_in name;
    np_pid pid;
    np_in meta;
} request;

static int read_requester(np_in *in, np_node_id node, np_node_id *requester) {
    char name[NP_ATOM_BYTES_MAX + 1];
    int len = np_in_atom(in, name, sizeof(name));
    if (len < 0)
        return len;
    np_str caller = np_name_str(node);
    *requester = caller.len == (size_t)len && memcmp(caller.data, name, caller.len) == 0 ? node : 0;
    return 0;
}

/* Requester, NameOrGroup, Pid [, MetaOrFun] */
static int read_request(np_in *in, np_node_id node, bool with_meta, request *r) {
    int error = read_requester(in, node, &r->requester);
    if (error == 0)
        error = np_in_term(in, &r->name);
    if (error == 0)
        error = np_in_pid(in, &r->pid);
    if (error == 0 && with_meta)
        error = np_in_term(in, &r->meta);
    return error;
}

static void set_with_fun(const call *call, const np_syn_key *key, const request *r, np_node_id node) {
    np_syn *syn = call->scope->syn;
    if (r->pid.node != syn->self || !syn->io.alive(syn->io.arg, &r->pid)) {
        reply_error(call, "not_alive");
        return;
    }
    np_syn_entry *entry = np_syn_entry_find(call->scope, key, &r->pid);
    if (entry == NULL)
        reply_error(call, "undefined");
    else if (!np_syn_entry_is(entry, &r->pid))
        reply_error(call, "taken");
    else if (node == syn->self)
        reply_error(call, "not_supported"); /* nobody there to evaluate it */
    else
        update_begin(call, entry, key, r->meta, node);
}

/* register_or_update_on_node, join_or_update_on_node */
static void called_set(const call *call, np_in *in, np_node_id node) {
    np_syn *syn = call->scope->syn;
    np_syn_meta *meta;
    np_syn_key key;
    request r;
    int error = read_request(in, node, true, &r);
    if (error < 0) {
        reply_error(call, "badarg");
        return;
    }
    error = np_syn_key_read(syn, r.name, &key);
    if (error == 0 && np_in_type(&r.meta) == NP_TYPE_FUN) {
        set_with_fun(call, &key, &r, node);
        return;
    }
    if (error == 0)
        error = np_syn_meta_get(syn, r.meta, &meta);
    if (error < 0)
        reply_error(call, reason_of(error));
    else
        set_and_reply(call, &key, &r.pid, meta, r.requester);
}

/* unregister_on_node, leave_on_node */
static void called_unset(const call *call, np_in *in, np_node_id node) {
    np_syn_scope *scope = call->scope;
    bool registry = scope->kind == NP_SYN_REGISTRY;
    np_syn_key key;
    request r;
    if (read_request(in, node, false, &r) < 0) {
        reply_error(call, "badarg");
        return;
    }
    int error = np_syn_key_read(scope->syn, r.name, &key);
    np_syn_entry *entry = error < 0 ? NULL : np_syn_entry_find(scope, &key, &r.pid);
    if (entry == NULL || (!registry && entry->origin != scope->home)) {
        reply_error(call, registry ? "undefined" : "not_in_group");
        return;
    }
    if (entry->origin != scope->home || !np_syn_entry_is(entry, &r.pid)) {
        reply_error(call, "race_condition");
        return;
    }
    np_out out = reply_begin(call);
    np_out_tuple(&out, 2);
    np_out_atom(&out, "ok");
    if (!registry) {
        np_in meta = np_syn_meta_in(entry->meta);
        np_out_tuple(&out, 2);
        np_out_term(&out, &meta);
    }
    np_out_atom(&out, scope->table_by_pid);
    np_syn_own_remove(entry, "normal", (np_in){NULL, 0, 0}, r.requester);
    reply_end(call, &out);
}

static void called_nodes(const call *call) {
    uint32_t at = 0;
    np_out out = reply_begin(call);
    np_out_list(&out, call->scope->known);
    for (np_node_id node; (node = np_syn_next_node(call->scope, &at)) != 0;) {
        np_str name = np_name_str(node);
        np_out_atom_n(&out, name.data, name.len);
    }
    np_out_nil(&out);
    reply_end(call, &out);
}

void np_syn_call(np_syn_scope *scope, np_node_id node, np_in from, np_in req) {
    bool registry = scope->kind == NP_SYN_REGISTRY;
    call call = {scope, from};
    np_in in = req;
    uint32_t arity;
    np_syn_enter(scope->syn);
    if (np_in_tuple(&in, &arity) < 0 || np_in_match(&in, "3.0") < 0)
        arity = 0;
    if (arity == 6 && np_in_match(&in, registry ? "register_or_update_on_node" : "join_or_update_on_node") == 0) {
        called_set(&call, &in, node);
    } else if (arity == 5 && np_in_match(&in, registry ? "unregister_on_node" : "leave_on_node") == 0) {
        called_unset(&call, &in, node);
    } else if (arity == 2 && np_in_match(&in, "subcluster_nodes") == 0) {
        called_nodes(&call);
    } else {
        np_syn_complain(scope->syn, NP_SYN_WRONG_CALL, scope, node, req);
        reply_atom(&call, "undefined");
    }
    np_syn_exit(scope->syn);
}

/* ---- calls of ours ---- */

void np_syn_ask(const np_syn_scope *scope, np_syn_request kind, np_in name, const np_pid *pid, np_in meta,
                np_out *out) {
    static const char *const tags[][2] = {
        [NP_SYN_REGISTRY] = {"register_or_update_on_node", "unregister_on_node"},
        [NP_SYN_PG] = {"join_or_update_on_node", "leave_on_node"},
    };
    np_str self = np_name_str(scope->syn->self);
    np_out_tuple(out, kind == NP_SYN_ASK_SET ? 6 : 5);
    np_out_atom(out, "3.0");
    np_out_atom(out, tags[scope->kind][kind]);
    np_out_atom_n(out, self.data, self.len);
    np_out_term(out, &name);
    np_out_pid(out, pid);
    if (kind == NP_SYN_ASK_SET)
        np_out_term(out, &meta);
}

/* Applied as if that node had told us, which it leaves to us. */
static int told(np_syn_scope *scope, const np_pid *pid, np_out *out) {
    np_syn_node *node = np_syn_node_find(scope, pid->node);
    if (np_out_error(out) < 0)
        return np_out_error(out);
    if (node != NULL)
        np_syn_sync(node, np_out_view(out));
    return 0;
}

/* {Method, PreviousMeta, Meta, Time, _, _} */
static int answered_set(np_syn_scope *scope, np_in name, const np_pid *pid, np_in *in, np_buf *buf) {
    np_in meta, time;
    if (np_in_tuple_of(in, 6) < 0 || np_in_term(in, NULL) < 0 || np_in_term(in, NULL) < 0 ||
        np_in_term(in, &meta) < 0 || np_in_term(in, &time) < 0)
        return NP_EPROTO;
    np_out out;
    np_out_init(&out, buf, NP_MESSAGE_MAX);
    np_out_tuple(&out, 7);
    np_out_atom(&out, "3.0");
    np_out_atom(&out, scope->kind == NP_SYN_REGISTRY ? "sync_register" : "sync_join");
    np_out_term(&out, &name);
    np_out_pid(&out, pid);
    np_out_term(&out, &meta);
    np_out_term(&out, &time);
    np_out_atom(&out, "normal");
    return told(scope, pid, &out);
}

static int answered_unset(np_syn_scope *scope, np_in name, const np_pid *pid, np_buf *buf) {
    np_out out;
    np_out_init(&out, buf, NP_MESSAGE_MAX);
    np_out_tuple(&out, 6);
    np_out_atom(&out, "3.0");
    np_out_atom(&out, scope->kind == NP_SYN_REGISTRY ? "sync_unregister" : "sync_leave");
    np_out_term(&out, &name);
    np_out_pid(&out, pid);
    np_out_atom(&out, "undefined");
    np_out_atom(&out, "normal");
    return told(scope, pid, &out);
}

static int error_of(np_in *reason) {
    if (np_in_match(reason, "taken") == 0)
        return NP_EEXIST;
    if (np_in_match(reason, "not_alive") == 0)
        return NP_ENOPROC;
    if (np_in_match(reason, "undefined") == 0 || np_in_match(reason, "race_condition") == 0 ||
        np_in_match(reason, "not_in_group") == 0)
        return NP_ENOENT;
    return NP_EPROTO;
}

int np_syn_answered(np_syn_scope *scope, np_syn_request kind, np_in name, const np_pid *pid, np_in answer) {
    np_in in = answer;
    int error = NP_EPROTO;
    np_buf buf = NP_BUF_INIT; /* the scratch buffers are for what follows from it */
    np_syn_enter(scope->syn);
    if (np_in_tuple_of(&in, 2) == 0) {
        if (np_in_match(&in, "ok") == 0)
            error = kind == NP_SYN_ASK_SET ? answered_set(scope, name, pid, &in, &buf)
                                           : answered_unset(scope, name, pid, &buf);
        else if (np_in_match(&in, "error") == 0)
            error = error_of(&in);
        else if (kind == NP_SYN_ASK_SET && np_in_match(&in, "noop") == 0)
            error = 0;
    }
    np_syn_exit(scope->syn);
    np_buf_fini(&buf);
    return error;
}
