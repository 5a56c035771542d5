/*
 * native.c - the registry and the groups as native code uses them. See syn.h.
 */
#include "base/assert.h"
#include "syn/internal.h"

/* ---- names and groups alike ---- */

static int set(np_syn_scope *scope, np_in name, const np_pid *pid, np_in term) {
    np_syn *syn = scope->syn;
    np_syn_setting setting;
    np_syn_key key;
    np_syn_meta *meta;
    int error = np_syn_key_read(syn, name, &key);
    if (error == 0)
        error = np_syn_meta_get(syn, term, &meta);
    if (error < 0)
        return error;
    np_syn_enter(syn);
    error = np_syn_own_set(scope, &key, pid, meta, 0, &setting);
    np_syn_meta_unref(syn, setting.previous);
    np_syn_exit(syn);
    return error;
}

static int unset(np_syn_scope *scope, np_in name, const np_pid *pid) {
    np_syn *syn = scope->syn;
    np_syn_key key;
    int error = np_syn_key_read(syn, name, &key);
    np_syn_entry *entry = error < 0 ? NULL : np_syn_entry_find(scope, &key, pid);
    if (entry == NULL || entry->origin != scope->home || !np_syn_entry_is(entry, pid))
        return NP_ENOENT;
    np_syn_enter(syn);
    np_syn_own_remove(entry, "normal", (np_in){NULL, 0, 0}, 0);
    np_syn_exit(syn);
    return 0;
}

/* ---- the registry ---- */

int np_syn_register(np_syn_scope *scope, np_in name, const np_pid *pid, np_in meta) {
    NP_ASSERT(scope->kind == NP_SYN_REGISTRY);
    return set(scope, name, pid, meta);
}

int np_syn_unregister(np_syn_scope *scope, np_in name, const np_pid *pid) {
    NP_ASSERT(scope->kind == NP_SYN_REGISTRY);
    return unset(scope, name, pid);
}

int np_syn_lookup(np_syn_scope *scope, np_in name, np_pid *pid, np_in *meta) {
    NP_ASSERT(scope->kind == NP_SYN_REGISTRY);
    np_syn_key key;
    np_syn_entry *entry = NULL;
    if (np_syn_key_read(scope->syn, name, &key) == 0)
        entry = np_syn_entry_find(scope, &key, NULL);
    if (entry == NULL)
        return NP_ENOENT;
    *pid = np_syn_entry_pid(entry);
    if (meta != NULL)
        *meta = np_syn_meta_in(entry->meta);
    return 0;
}

/* ---- groups ---- */

int np_syn_join(np_syn_scope *scope, np_in group, const np_pid *pid, np_in meta) {
    NP_ASSERT(scope->kind == NP_SYN_PG);
    return set(scope, group, pid, meta);
}

int np_syn_leave(np_syn_scope *scope, np_in group, const np_pid *pid) {
    NP_ASSERT(scope->kind == NP_SYN_PG);
    return unset(scope, group, pid);
}

uint32_t np_syn_members(np_syn_scope *scope, np_in name, bool local_only, np_syn_visit visit, void *arg) {
    NP_ASSERT(scope->kind == NP_SYN_PG);
    uint32_t count = 0;
    np_syn_key key;
    np_syn_group *group = np_syn_key_read(scope->syn, name, &key) < 0 ? NULL : np_syn_group_find(scope, &key);
    for (np_syn_member *member = group == NULL ? NULL : group->first; member != NULL; member = member->next) {
        np_syn_entry *entry = &member->entry;
        if (entry->origin->gone || (local_only && entry->origin != scope->home))
            continue;
        np_pid pid = np_syn_entry_pid(entry);
        if (visit != NULL)
            visit(arg, &pid, np_syn_meta_in(entry->meta));
        count++;
    }
    return count;
}

typedef struct publishing {
    np_syn *syn;
    np_in message;
} publishing;

static void publish_one(void *arg, const np_pid *pid, np_in meta) {
    publishing *p = arg;
    (void)meta;
    p->syn->io.message(p->syn->io.arg, pid, p->message);
}

uint32_t np_syn_publish(np_syn_scope *scope, np_in group, bool local_only, np_in message) {
    publishing p = {scope->syn, message};
    np_syn_enter(scope->syn);
    uint32_t count = np_syn_members(scope, group, local_only, publish_one, &p);
    np_syn_exit(scope->syn);
    return count;
}

/* ---- looking in ---- */

bool np_syn_each_entry(const np_syn_scope *scope, np_syn_visit_entry visit, void *arg) {
    const np_syn_link *link = NULL;
    uint32_t bucket = 0;
    while ((link = np_syn_index_next(&scope->keys, &bucket, link)) != NULL) {
        const np_syn_entry *entry = NP_CONTAINER_OF(link, np_syn_entry, by_key);
        np_pid pid = np_syn_entry_pid(entry);
        if (!entry->origin->gone &&
            !visit(arg, np_syn_entry_name(entry), &pid, np_syn_meta_in(entry->meta), entry->time_ns))
            return false;
    }
    return true;
}
