/*
 * entries.c - names and memberships: what is stored and how it is found. See internal.h.
 *
 * An entry hangs in four places: by its key, by its pid, among those of its node, and (in groups) among the members.
 * Adding and removing are O(1). Entries of a node that has gone stay until np_syn_bury comes by, but nobody finds them.
 */
#include "syn/internal.h"

#include "base/assert.h"
#include "term/canon.h"
#include "term/ids.h"

#include <stdlib.h>
#include <string.h>

#define TIME_MAX (UINT64_MAX >> 1) /* in the year 2262 */

/* ---- keys ---- */

static int canonical(np_in term, size_t len_max, np_buf *scratch) {
    if (np_in_bytes(&term).len > len_max)
        return NP_ELIMIT;
    np_buf_clear(scratch, len_max);
    int error = np_term_canon(&term, scratch);
    return error == 0 && np_buf_len(scratch) > len_max ? NP_ELIMIT : error;
}

static uint32_t hash32(const void *data, size_t len) {
    uint64_t hash = np_hash_bytes(data, len);
    return (uint32_t)(hash ^ (hash >> 32));
}

int np_syn_key_read(np_syn *syn, np_in term, np_syn_key *key) {
    int error = canonical(term, NP_SYN_NAME_BYTES_MAX, &syn->name_scratch);
    if (error < 0)
        return error;
    key->bytes = (np_bytes){np_buf_head(&syn->name_scratch), np_buf_len(&syn->name_scratch)};
    key->hash = hash32(key->bytes.data, key->bytes.len);
    return 0;
}

static bool same_bytes(np_bytes bytes, const uint8_t *data, uint32_t len) {
    return bytes.len == len && memcmp(bytes.data, data, len) == 0;
}

static uint32_t pid_hash(const np_pid *pid) {
    uint64_t hash = np_pid_hash(pid);
    return (uint32_t)(hash ^ (hash >> 32));
}

/* ---- metadata ---- */

static np_syn_meta *meta_of(const np_syn_link *link) { return NP_CONTAINER_OF(link, np_syn_meta, link); }
static uint32_t hash_of_meta(const np_syn_link *link) { return meta_of(link)->hash; }

void np_syn_metas_init(np_syn *syn) { np_syn_index_init(&syn->metas, hash_of_meta); }

/* Of a struct with bytes behind it, which begin before the struct's padding. */
static size_t size_with(size_t size, size_t offset, size_t len) { return size > offset + len ? size : offset + len; }

static size_t meta_size(size_t len) { return size_with(sizeof(np_syn_meta), offsetof(np_syn_meta, bytes), len); }

static np_syn_meta *meta_new(np_syn *syn, np_bytes bytes, uint32_t hash) {
    np_syn_meta *meta = malloc(meta_size(bytes.len));
    if (meta == NULL)
        return NULL;
    *meta = (np_syn_meta){.hash = hash, .refs = 1, .len = (uint32_t)bytes.len};
    memcpy(meta->bytes, bytes.data, bytes.len);
    if (np_syn_index_add(&syn->metas, &meta->link) < 0) {
        free(meta);
        return NULL;
    }
    syn->bytes += meta_size(meta->len);
    return meta;
}

int np_syn_meta_get(np_syn *syn, np_in term, np_syn_meta **found) {
    int error = canonical(term, NP_SYN_META_BYTES_MAX, &syn->meta_scratch);
    if (error < 0)
        return error;
    np_bytes bytes = {np_buf_head(&syn->meta_scratch), np_buf_len(&syn->meta_scratch)};
    uint32_t hash = hash32(bytes.data, bytes.len);
    for (np_syn_link *link = np_syn_index_first(&syn->metas, hash); link != NULL; link = link->next) {
        np_syn_meta *meta = meta_of(link);
        if (meta->hash == hash && same_bytes(bytes, meta->bytes, meta->len)) {
            *found = np_syn_meta_ref(meta);
            return 0;
        }
    }
    *found = meta_new(syn, bytes, hash);
    return *found == NULL ? NP_ENOMEM : 0;
}

np_syn_meta *np_syn_meta_ref(np_syn_meta *meta) {
    NP_ASSERT(meta->refs < UINT32_MAX);
    meta->refs++;
    return meta;
}

void np_syn_meta_unref(np_syn *syn, np_syn_meta *meta) {
    if (meta == NULL || --meta->refs > 0)
        return;
    np_syn_index_remove(&syn->metas, &meta->link);
    syn->bytes -= meta_size(meta->len);
    free(meta);
}

np_in np_syn_meta_in(const np_syn_meta *meta) { return (np_in){meta->bytes, 0, meta->len}; }

/* ---- groups ---- */

static np_syn_group *group_of(const np_syn_link *link) { return NP_CONTAINER_OF(link, np_syn_group, link); }
static uint32_t hash_of_group(const np_syn_link *link) { return group_of(link)->hash; }
static np_syn_member *member_of(np_syn_entry *entry) { return NP_CONTAINER_OF(entry, np_syn_member, entry); }

np_syn_group *np_syn_group_find(const np_syn_scope *scope, const np_syn_key *key) {
    for (np_syn_link *link = np_syn_index_first(&scope->groups, key->hash); link != NULL; link = link->next) {
        np_syn_group *group = group_of(link);
        if (group->hash == key->hash && same_bytes(key->bytes, group->bytes, group->len))
            return group;
    }
    return NULL;
}

static size_t group_size(size_t len) { return size_with(sizeof(np_syn_group), offsetof(np_syn_group, bytes), len); }

static np_syn_group *group_need(np_syn_scope *scope, const np_syn_key *key) {
    np_syn_group *group = np_syn_group_find(scope, key);
    if (group != NULL)
        return group;
    group = malloc(group_size(key->bytes.len));
    if (group == NULL)
        return NULL;
    *group = (np_syn_group){.hash = key->hash, .len = (uint32_t)key->bytes.len};
    memcpy(group->bytes, key->bytes.data, key->bytes.len);
    if (np_syn_index_add(&scope->groups, &group->link) < 0) {
        free(group);
        return NULL;
    }
    scope->syn->bytes += group_size(group->len);
    return group;
}

static void group_drop_if_empty(np_syn_scope *scope, np_syn_group *group) {
    if (group->first != NULL)
        return;
    np_syn_index_remove(&scope->groups, &group->link);
    scope->syn->bytes -= group_size(group->len);
    free(group);
}

/* ---- entries ---- */

static np_syn_entry *entry_by_key(const np_syn_link *link) { return NP_CONTAINER_OF(link, np_syn_entry, by_key); }
static np_syn_entry *entry_by_pid(const np_syn_link *link) { return NP_CONTAINER_OF(link, np_syn_entry, by_pid); }

static uint32_t hash_of_key(const np_syn_link *link) { return entry_by_key(link)->hash; }
static uint32_t hash_of_pid(const np_syn_link *link) {
    np_pid pid = np_syn_entry_pid(entry_by_pid(link));
    return pid_hash(&pid);
}

void np_syn_entries_init(np_syn_scope *scope) {
    np_syn_index_init(&scope->keys, hash_of_key);
    np_syn_index_init(&scope->pids, hash_of_pid);
    np_syn_index_init(&scope->groups, hash_of_group);
}

void np_syn_entries_fini(np_syn_scope *scope) {
    NP_ASSERT(scope->keys.count == 0 && scope->groups.count == 0);
    np_syn_index_fini(&scope->keys);
    np_syn_index_fini(&scope->pids);
    np_syn_index_fini(&scope->groups);
}

bool np_syn_entry_is(const np_syn_entry *entry, const np_pid *pid) {
    return entry->num == pid->num && entry->serial == pid->serial && entry->creation == pid->creation &&
           entry->origin->node == pid->node;
}

static size_t name_size(size_t len) { return size_with(sizeof(np_syn_name), offsetof(np_syn_name, bytes), len); }

static size_t entry_size(const np_syn_entry *entry) {
    if (entry->origin->scope->kind == NP_SYN_PG)
        return sizeof(np_syn_member);
    return name_size(((const np_syn_name *)(const void *)entry)->len);
}

np_in np_syn_entry_name(const np_syn_entry *entry) {
    if (entry->origin->scope->kind == NP_SYN_PG) {
        const np_syn_group *group = ((const np_syn_member *)(const void *)entry)->group;
        return (np_in){group->bytes, 0, group->len};
    }
    const np_syn_name *name = (const np_syn_name *)(const void *)entry;
    return (np_in){name->bytes, 0, name->len};
}

/* A membership is found by group and pid together: both may have many. */
static uint32_t key_hash(const np_syn_scope *scope, const np_syn_key *key, const np_pid *pid) {
    return scope->kind == NP_SYN_REGISTRY ? key->hash : (uint32_t)np_hash_mix(key->hash, pid_hash(pid));
}

/* What find has come upon, unless its node is gone: then it goes, too. */
static np_syn_entry *if_here(np_syn_entry *entry) {
    if (!entry->origin->gone)
        return entry;
    np_syn_entry_remove(entry);
    return NULL;
}

np_syn_entry *np_syn_entry_find(np_syn_scope *scope, const np_syn_key *key, const np_pid *pid) {
    uint32_t hash = key_hash(scope, key, pid);
    for (np_syn_link *link = np_syn_index_first(&scope->keys, hash); link != NULL; link = link->next) {
        np_syn_entry *entry = entry_by_key(link);
        if (entry->hash != hash || (scope->kind == NP_SYN_PG && !np_syn_entry_is(entry, pid)))
            continue;
        np_in name = np_syn_entry_name(entry);
        if (same_bytes(key->bytes, name.base, (uint32_t)name.end))
            return if_here(entry);
    }
    return NULL;
}

np_syn_entry *np_syn_entry_of_pid(np_syn_scope *scope, const np_pid *pid) {
    for (np_syn_link *link = np_syn_index_first(&scope->pids, pid_hash(pid)); link != NULL; link = link->next) {
        np_syn_entry *entry = entry_by_pid(link);
        if (np_syn_entry_is(entry, pid) && !entry->origin->gone)
            return entry;
    }
    return NULL;
}

static np_syn_entry *entry_new(np_syn_scope *scope, const np_syn_key *key) {
    if (scope->kind == NP_SYN_REGISTRY) {
        np_syn_name *name = malloc(name_size(key->bytes.len));
        if (name == NULL)
            return NULL;
        *name = (np_syn_name){.len = (uint32_t)key->bytes.len};
        memcpy(name->bytes, key->bytes.data, key->bytes.len);
        return &name->entry;
    }
    np_syn_group *group = group_need(scope, key);
    if (group == NULL)
        return NULL;
    np_syn_member *member = calloc(1, sizeof(*member));
    if (member == NULL) {
        group_drop_if_empty(scope, group);
        return NULL;
    }
    member->group = group;
    member->next = group->first;
    if (member->next != NULL)
        member->next->prev = member;
    group->first = member;
    return &member->entry;
}

static void attach(np_syn_entry *entry, np_syn_origin *origin, const np_pid *pid) {
    entry->origin = origin;
    entry->num = pid->num;
    entry->serial = pid->serial;
    entry->creation = pid->creation;
    entry->prev = NULL;
    entry->next = origin->first;
    if (entry->next != NULL)
        entry->next->prev = entry;
    origin->first = entry;
    origin->count++;
}

/* Snapshots that would come to this entry next go on behind it. */
static void step_cursors(np_syn_scope *scope, const np_syn_entry *entry) {
    for (np_syn_node *peer = scope->first_node; peer != NULL; peer = peer->next) {
        if (peer->out.cursor == entry)
            peer->out.cursor = entry->next;
    }
}

static void detach(np_syn_entry *entry) {
    np_syn_origin *origin = entry->origin;
    if (origin == origin->scope->home)
        step_cursors(origin->scope, entry);
    if (entry->prev != NULL)
        entry->prev->next = entry->next;
    else
        origin->first = entry->next;
    if (entry->next != NULL)
        entry->next->prev = entry->prev;
    origin->count--;
    if (origin->gone)
        origin->scope->buried--;
}

static void entry_free(np_syn_scope *scope, np_syn_entry *entry) {
    if (scope->kind == NP_SYN_PG) {
        np_syn_member *member = member_of(entry);
        if (member->prev != NULL)
            member->prev->next = member->next;
        else
            member->group->first = member->next;
        if (member->next != NULL)
            member->next->prev = member->prev;
        group_drop_if_empty(scope, member->group);
        free(member);
    } else {
        free(NP_CONTAINER_OF(entry, np_syn_name, entry));
    }
}

int np_syn_entry_add(np_syn_origin *origin, const np_syn_key *key, const np_pid *pid, np_syn_meta *meta,
                     uint64_t time_ns) {
    np_syn_scope *scope = origin->scope;
    np_syn_entry *entry = NULL;
    int error = scope->keys.count >= NP_SYN_ENTRIES_MAX ? NP_ELIMIT : NP_ENOMEM;
    if (error == NP_ENOMEM)
        entry = entry_new(scope, key);
    if (entry == NULL)
        goto fail;
    entry->hash = key_hash(scope, key, pid);
    entry->meta = meta;
    entry->time_ns = time_ns & TIME_MAX;
    attach(entry, origin, pid);
    if (np_syn_index_add(&scope->keys, &entry->by_key) < 0 || np_syn_index_add(&scope->pids, &entry->by_pid) < 0) {
        detach(entry);
        if (entry->by_key.back != NULL)
            np_syn_index_remove(&scope->keys, &entry->by_key);
        entry_free(scope, entry);
        goto fail;
    }
    scope->syn->bytes += entry_size(entry);
    return 0;
fail:
    np_syn_meta_unref(scope->syn, meta);
    return error;
}

void np_syn_entry_move(np_syn_entry *entry, np_syn_origin *origin, const np_pid *pid) {
    np_syn_scope *scope = origin->scope;
    NP_ASSERT(scope->kind == NP_SYN_REGISTRY && scope->pids.count > 0);
    np_syn_index_remove(&scope->pids, &entry->by_pid);
    detach(entry);
    attach(entry, origin, pid);
    int error = np_syn_index_add(&scope->pids, &entry->by_pid); /* there are buckets */
    NP_ASSERT(error == 0);
}

void np_syn_entry_adopt(np_syn_entry *entry, np_syn_origin *origin) {
    np_pid pid = np_syn_entry_pid(entry);
    NP_ASSERT(entry->origin->node == origin->node);
    detach(entry);
    attach(entry, origin, &pid);
}

void np_syn_entry_set(np_syn_entry *entry, np_syn_meta *meta, uint64_t time_ns) {
    np_syn_meta_unref(entry->origin->scope->syn, entry->meta);
    entry->meta = meta;
    entry->time_ns = time_ns & TIME_MAX;
    entry->won = false;
}

void np_syn_entry_remove(np_syn_entry *entry) {
    np_syn_scope *scope = entry->origin->scope;
    scope->syn->bytes -= entry_size(entry);
    np_syn_index_remove(&scope->keys, &entry->by_key);
    np_syn_index_remove(&scope->pids, &entry->by_pid);
    detach(entry);
    np_syn_meta_unref(scope->syn, entry->meta);
    entry_free(scope, entry);
}

/* ---- origins ---- */

np_syn_origin *np_syn_origin_new(np_syn_scope *scope, np_node_id node) {
    np_syn_origin *origin = calloc(1, sizeof(*origin));
    if (origin != NULL)
        *origin = (np_syn_origin){.node = node, .scope = scope};
    return origin;
}

void np_syn_origin_bury(np_syn_origin *origin) {
    np_syn_scope *scope = origin->scope;
    NP_ASSERT(!origin->gone);
    origin->gone = true;
    origin->next = scope->graves;
    scope->graves = origin;
    scope->buried += origin->count;
    uint32_t slice = scope->syn->bounds.slice;
    np_syn_bury(scope, &slice); /* mostly that is all */
}

bool np_syn_bury(np_syn_scope *scope, uint32_t *slice) {
    while (scope->graves != NULL) {
        np_syn_origin *origin = scope->graves;
        for (; origin->first != NULL; --*slice) {
            if (*slice == 0)
                return true;
            np_syn_entry_remove(origin->first);
        }
        scope->graves = origin->next;
        free(origin);
    }
    return false;
}
