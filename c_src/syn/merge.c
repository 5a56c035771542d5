/*
 * merge.c - what other nodes say of their processes, and who keeps a name that two nodes have. See internal.h; mirrors
 * handle_registry_sync, resolve_conflict (syn_registry) and handle_pg_sync (syn_pg).
 */
#include "syn/internal.h"
#include "term/ids.h"
#include "term/names.h"
#include "term/out.h"

/* {syn_resolve_kill, Name, Meta} */
static np_in kill_reason(np_syn *syn, np_in name, np_in meta) {
    np_out out;
    np_buf_clear(&syn->aux_scratch, NP_SYN_META_BYTES_MAX);
    np_out_init(&out, &syn->aux_scratch, NP_MESSAGE_MAX);
    np_out_tuple(&out, 3);
    np_out_atom(&out, "syn_resolve_kill");
    np_out_term(&out, &name);
    np_out_term(&out, &meta);
    if (np_out_error(&out) < 0) { /* no memory: the process must not keep the name, then without the details */
        np_out_reset(&out);
        np_out_atom(&out, "killed");
    }
    return np_out_view(&out);
}

/* The process of ours loses its name to that of the news. */
static void yield_name(np_syn_node *node, np_syn_entry *entry, const np_syn_news *news, np_syn_meta *meta) {
    np_syn_scope *scope = node->scope;
    np_syn *syn = scope->syn;
    np_pid loser = np_syn_entry_pid(entry);
    np_syn_meta *loser_meta = np_syn_meta_ref(entry->meta);
    np_syn_entry_move(entry, node->origin, &news->pid);
    np_syn_entry_set(entry, meta, news->time_ns);
    np_in name = np_syn_entry_name(entry);
    /* 3.3.0 does not send this; it does it no harm, and others forget what they may still have of the loser. */
    np_in none = {NULL, 0, 0};
    np_syn_broadcast_removal(
        scope, np_syn_encode_remove(scope, name, &loser, np_syn_meta_in(loser_meta), "syn_conflict_resolution", none),
        0);
    if (syn->io.untrack != NULL && np_syn_entry_of_pid(scope, &loser) == NULL)
        syn->io.untrack(syn->io.arg, scope, &loser);
    syn->io.kill(syn->io.arg, scope, &loser, kill_reason(syn, name, np_syn_meta_in(loser_meta)));
    np_syn_meta_unref(syn, loser_meta);
}

static void resolve(np_syn_node *node, np_syn_entry *entry, const np_syn_news *news, np_syn_meta *meta) {
    np_syn *syn = node->scope->syn;
    np_pid mine = np_syn_entry_pid(entry);
    /* On equal times 3.4.1 keeps the higher pid. 3.3.0 keeps its own and says so with a new time, which settles it. */
    bool lost =
        news->time_ns > entry->time_ns || (news->time_ns == entry->time_ns && np_pid_cmp(&news->pid, &mine) > 0);
    if (np_log_allowed(&syn->conflicts, syn->now_ms, "syn"))
        NP_LOG(NP_LOG_NOTICE, "syn", "conflict", "process=%s peer=%s keeps=%s", node->scope->process,
               np_name_text(node->id), lost ? "remote" : "local");
    if (lost) {
        yield_name(node, entry, news, meta);
        return;
    }
    np_syn_meta_unref(syn, meta);
    /* All have just been told the time of the last conflict it won, which is later than this. With three owners each
     * could go on for long beating what the others sent before they heard of it. */
    if (entry->won && news->time_ns < entry->time_ns && syn->now_ns < entry->time_ns + NP_SYN_CALM_NS)
        return;
    entry->time_ns = np_syn_stamp(syn);
    entry->won = true;
    np_syn_broadcast(node->scope, np_syn_encode_set(entry, "syn_conflict_resolution"), 0);
}

static void merge_name(np_syn_node *node, np_syn_entry *entry, const np_syn_news *news, np_syn_meta *meta) {
    if (np_syn_entry_is(entry, &news->pid)) {
        np_syn_entry_set(entry, meta, news->time_ns); /* from its own node: later, whatever the clock says */
    } else if (entry->origin == node->scope->home) {
        resolve(node, entry, news, meta);
    } else if (news->time_ns > entry->time_ns) {
        np_syn_entry_move(entry, node->origin, &news->pid);
        np_syn_entry_set(entry, meta, news->time_ns);
    } else {
        np_syn_meta_unref(node->scope->syn, meta);
    }
}

int np_syn_merge_set(np_syn_node *node, const np_syn_news *news) {
    np_syn_scope *scope = node->scope;
    np_syn_meta *meta;
    int error = np_syn_meta_get(scope->syn, news->meta, &meta);
    if (error < 0)
        return error;
    np_syn_entry *entry = np_syn_entry_find(scope, &news->key, &news->pid);
    if (entry == NULL)
        return np_syn_entry_add(node->origin, &news->key, &news->pid, meta, news->time_ns);
    if (entry->origin == node->old && np_syn_entry_is(entry, &news->pid))
        np_syn_entry_adopt(entry, node->origin);
    if (scope->kind == NP_SYN_REGISTRY)
        merge_name(node, entry, news, meta);
    else if (news->time_ns > entry->time_ns)
        np_syn_entry_set(entry, meta, news->time_ns);
    else
        np_syn_meta_unref(scope->syn, meta);
    return 0;
}

void np_syn_merge_remove(np_syn_node *node, const np_syn_key *key, const np_pid *pid) {
    np_syn_entry *entry = np_syn_entry_find(node->scope, key, pid);
    if (entry != NULL && np_syn_entry_is(entry, pid))
        np_syn_entry_remove(entry);
}
