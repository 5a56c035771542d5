/*
 * own.c - names and memberships of this node's processes: made, changed, removed, and told to the others. See
 * internal.h; mirrors do_register_on_node, do_join_on_node and the handling of 'DOWN' in syn_registry and syn_pg.
 */
#include "syn/internal.h"

#include "base/assert.h"

static int add(np_syn_scope *scope, const np_syn_key *key, const np_pid *pid, np_syn_meta *meta,
               np_syn_setting *setting) {
    bool first = scope->syn->io.track != NULL && np_syn_entry_of_pid(scope, pid) == NULL;
    int error = np_syn_entry_add(scope->home, key, pid, meta, np_syn_stamp(scope->syn));
    if (error < 0)
        return error;
    setting->set = NP_SYN_SET_NEW;
    setting->entry = scope->home->first;
    if (first)
        scope->syn->io.track(scope->syn->io.arg, scope, pid);
    return 0;
}

int np_syn_own_set(np_syn_scope *scope, const np_syn_key *key, const np_pid *pid, np_syn_meta *meta, np_node_id exclude,
                   np_syn_setting *setting) {
    np_syn *syn = scope->syn;
    *setting = (np_syn_setting){.set = NP_SYN_SET_SAME};
    int error = 0;
    if (pid->node != syn->self || !syn->io.alive(syn->io.arg, pid))
        error = NP_ENOPROC;
    np_syn_entry *entry = error < 0 ? NULL : np_syn_entry_find(scope, key, pid);
    if (entry != NULL && !np_syn_entry_is(entry, pid))
        error = NP_EEXIST;
    if (error < 0 || (entry != NULL && entry->meta == meta)) {
        setting->entry = entry;
        np_syn_meta_unref(syn, meta);
        return error;
    }
    if (entry == NULL) {
        error = add(scope, key, pid, meta, setting);
        if (error < 0)
            return error;
    } else {
        *setting = (np_syn_setting){NP_SYN_SET_CHANGED, np_syn_meta_ref(entry->meta), entry};
        np_syn_entry_set(entry, meta, np_syn_stamp(syn));
    }
    if (scope->known > 0)
        np_syn_broadcast(scope, np_syn_encode_set(setting->entry, "normal"), exclude);
    return 0;
}

void np_syn_own_remove(np_syn_entry *entry, const char *reason, np_in reason_term, np_node_id exclude) {
    np_syn_scope *scope = entry->origin->scope;
    np_syn *syn = scope->syn;
    np_pid pid = np_syn_entry_pid(entry);
    NP_ASSERT(entry->origin == scope->home);
    if (scope->first_node != NULL) {
        np_in name = np_syn_entry_name(entry);
        np_in meta = np_syn_meta_in(entry->meta);
        np_syn_broadcast_removal(scope, np_syn_encode_remove(scope, name, &pid, meta, reason, reason_term), exclude);
    }
    np_syn_entry_remove(entry);
    if (syn->io.untrack != NULL && np_syn_entry_of_pid(scope, &pid) == NULL)
        syn->io.untrack(syn->io.arg, scope, &pid);
}
