/*
 * relations.c - the records behind monitors, links and aliases: their pool, their tables, their lists, and the
 * signals they cause to other nodes.
 *
 * Main thread. Knows nothing of what the kinds mean beyond their keys; monitors.c, links.c and aliases.c do. In
 * steady state a monitor and its demonitor (every GenServer.call of a BEAM makes such a pair) take a record from the
 * pool and give it back, without malloc.
 */
#include "proc/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

typedef struct ref_key {
    const np_pid *pid; /* monitors: the watcher */
    const uint32_t *words;
    uint32_t len;
} ref_key;

static bool alias_eq(const void *item, const void *key) {
    const np_rel *rel = item;
    const ref_key *k = key;
    return rel->ref_len == k->len && memcmp(rel->u.words, k->words, sizeof(rel->u.words)) == 0;
}

static bool monitor_eq(const void *item, const void *key) {
    const np_rel *rel = item;
    const ref_key *k = key;
    return np_pid_eq(&rel->pids[0], k->pid) && alias_eq(item, key);
}

static bool link_eq(const void *item, const void *key) {
    const np_rel *rel = item;
    const np_pid *pids = key;
    return np_pid_eq(&rel->pids[0], &pids[0]) && np_pid_eq(&rel->pids[1], &pids[1]);
}

/* Over all of the key: peers choose the words of their references and the numbers of their pids. */
static uint64_t alias_hash(const uint32_t *words) { return np_hash_bytes(words, NP_REF_WORDS_MAX * sizeof(words[0])); }

static uint64_t monitor_hash(const np_pid *watcher, const uint32_t *words) {
    uint32_t key[3 + NP_REF_WORDS_MAX] = {watcher->node, watcher->num, watcher->serial};
    memcpy(key + 3, words, NP_REF_WORDS_MAX * sizeof(words[0]));
    return np_hash_bytes(key, sizeof(key));
}

static uint64_t link_hash(const np_pid pids[2]) { return np_hash_bytes(pids, 2 * sizeof(pids[0])); }

void np_rels_init(np_procs *procs) {
    np_map_init(&procs->monitors, monitor_eq);
    np_map_init(&procs->links, link_eq);
    np_map_init(&procs->aliases, alias_eq);
    procs->pending_tail = &procs->pending;
}

void np_rels_fini(np_procs *procs) {
    np_map_fini(&procs->monitors);
    np_map_fini(&procs->links);
    np_map_fini(&procs->aliases);
    while (procs->rels != NULL) {
        np_rels_chunk *chunk = procs->rels;
        procs->rels = chunk->next;
        for (size_t i = 0; i < NP_RELS_CHUNK; i++) {
            np_text_unref(chunk->rels[i].name);
            np_reason_unref(chunk->rels[i].reason);
        }
        free(chunk);
    }
    for (size_t i = 0; i < NP_NODES_CHUNKS; i++)
        free(procs->nodes[i]);
}

/* ---- the pool ---- */

static bool fill_pool(np_procs *procs) {
    np_rels_chunk *chunk = calloc(1, sizeof(*chunk));
    if (chunk == NULL)
        return false;
    chunk->next = procs->rels;
    procs->rels = chunk;
    procs->rels_chunks++;
    for (size_t i = NP_RELS_CHUNK; i-- > 0;) {
        chunk->rels[i].ends[0].next = (np_rel_link)procs->pool;
        procs->pool = &chunk->rels[i];
    }
    return true;
}

np_rel *np_rel_new(np_procs *procs, np_rel_kind kind) {
    if (procs->pool == NULL && !fill_pool(procs))
        return NULL;
    np_rel *rel = procs->pool;
    NP_ASSERT(rel->kind == NP_REL_FREE);
    procs->pool = np_rel_of(rel->ends[0].next);
    memset(rel, 0, sizeof(*rel));
    rel->kind = (uint8_t)kind;
    return rel;
}

static void leave_table(np_procs *procs, const np_rel *rel) {
    ref_key key = {&rel->pids[0], rel->u.words, rel->ref_len};
    void *gone = NULL;
    switch ((np_rel_kind)rel->kind) {
    case NP_REL_MONITOR: gone = np_map_remove(&procs->monitors, monitor_hash(&rel->pids[0], rel->u.words), &key); break;
    case NP_REL_LINK: gone = np_map_remove(&procs->links, link_hash(rel->pids), rel->pids); break;
    case NP_REL_ALIAS: gone = np_map_remove(&procs->aliases, alias_hash(rel->u.words), &key); break;
    case NP_REL_SIGNAL: return;
    case NP_REL_FREE: break;
    }
    NP_ASSERT(gone == rel);
}

/* Gives a record back that is in no table (any more). */
static void give_back(np_procs *procs, np_rel *rel) {
    np_rel_detach(procs, rel, 0);
    np_rel_detach(procs, rel, 1);
    np_text_unref(rel->name);
    np_reason_unref(rel->reason);
    rel->name = NULL;
    rel->reason = NULL;
    rel->kind = NP_REL_FREE;
    rel->ends[0].next = (np_rel_link)procs->pool;
    procs->pool = rel;
}

void np_rel_free(np_procs *procs, np_rel *rel) {
    leave_table(procs, rel);
    give_back(procs, rel);
}

/* ---- lists ---- */

void np_rel_push(np_rel_link *list, np_rel *rel, unsigned end) {
    np_rel_end *e = &rel->ends[end];
    NP_ASSERT(e->back == NULL);
    e->next = *list;
    e->back = list;
    if (e->next != 0)
        np_rel_of(e->next)->ends[np_rel_end_of(e->next)].back = &e->next;
    *list = (np_rel_link)rel | end;
}

void np_rel_detach(np_procs *procs, np_rel *rel, unsigned end) {
    np_rel_end *e = &rel->ends[end];
    if (e->back == NULL)
        return;
    *e->back = e->next;
    if (e->next != 0)
        np_rel_of(e->next)->ends[np_rel_end_of(e->next)].back = e->back;
    else if (procs->pending_tail == &e->next)
        procs->pending_tail = e->back;
    e->next = 0;
    e->back = NULL;
}

void np_rel_pend(np_procs *procs, np_rel *rel, unsigned end, np_reason *reason) {
    np_rel_detach(procs, rel, end);
    NP_ASSERT(rel->reason == NULL);
    rel->reason = np_reason_ref(reason);
    rel->pending = true;
    rel->ends[end].back = procs->pending_tail;
    *procs->pending_tail = (np_rel_link)rel | end;
    procs->pending_tail = &rel->ends[end].next;
}

np_rel_link *np_rel_node_list(np_procs *procs, np_node_id node) {
    uint32_t chunk = node >> NP_NODES_SHIFT;
    if (chunk >= NP_NODES_CHUNKS || procs->nodes[chunk] == NULL)
        return NULL;
    return &procs->nodes[chunk][node & (NP_NODES_CHUNK - 1)];
}

int np_rel_attach(np_procs *procs, np_rel *rel, unsigned end) {
    const np_pid *pid = &rel->pids[end];
    np_slot *slot = np_slot_find(procs, pid);
    if (slot != NULL) {
        np_rel_push(&slot->relations, rel, end);
        return 0;
    }
    NP_ASSERT(pid->node != procs->node);
    uint32_t chunk = pid->node >> NP_NODES_SHIFT;
    if (chunk >= NP_NODES_CHUNKS)
        return NP_ELIMIT;
    if (procs->nodes[chunk] == NULL) {
        procs->nodes[chunk] = calloc(NP_NODES_CHUNK, sizeof(*procs->nodes[chunk]));
        if (procs->nodes[chunk] == NULL)
            return NP_ENOMEM;
    }
    np_rel_push(np_rel_node_list(procs, pid->node), rel, end);
    return 0;
}

/* ---- tables ---- */

static int add(np_map *map, uint64_t hash, np_rel *rel, const void *key, bool full) {
    if (full)
        return NP_ELIMIT;
    return np_map_get(map, hash, key) != NULL ? NP_EEXIST : np_map_add(map, hash, rel);
}

int np_rel_enter(np_procs *procs, np_rel *rel) {
    int rc = 0;
    ref_key key = {&rel->pids[0], rel->u.words, rel->ref_len};
    bool full = (uint64_t)np_map_count(&procs->monitors) + np_map_count(&procs->links) >= NP_MONITORS_MAX;
    switch ((np_rel_kind)rel->kind) {
    case NP_REL_MONITOR: rc = add(&procs->monitors, monitor_hash(&rel->pids[0], rel->u.words), rel, &key, full); break;
    case NP_REL_LINK: rc = add(&procs->links, link_hash(rel->pids), rel, rel->pids, full); break;
    case NP_REL_ALIAS:
        full = np_map_count(&procs->aliases) >= NP_ALIASES_MAX;
        rc = add(&procs->aliases, alias_hash(rel->u.words), rel, &key, full);
        break;
    case NP_REL_SIGNAL:
    case NP_REL_FREE: NP_ASSERT(!"a relation with a key");
    }
    if (rc < 0)
        give_back(procs, rel);
    return rc;
}

np_rel *np_rel_monitor(const np_procs *procs, const np_pid *watcher, const np_ref *ref) {
    ref_key key = {watcher, ref->id, ref->len};
    if (ref->node != watcher->node || ref->creation != watcher->creation)
        return NULL;
    return np_map_get(&procs->monitors, monitor_hash(watcher, ref->id), &key);
}

bool np_rel_drop_monitor(np_procs *procs, const np_pid *watcher, const np_ref *ref) {
    ref_key key = {watcher, ref->id, ref->len};
    if (ref->node != watcher->node || ref->creation != watcher->creation)
        return false;
    np_rel *rel = np_map_remove(&procs->monitors, monitor_hash(watcher, ref->id), &key);
    if (rel != NULL)
        give_back(procs, rel);
    return rel != NULL;
}

np_rel *np_rel_alias(const np_procs *procs, const np_ref *ref) {
    ref_key key = {NULL, ref->id, ref->len};
    if (ref->node != procs->node || ref->creation != procs->creation)
        return NULL;
    return np_map_get(&procs->aliases, alias_hash(ref->id), &key);
}

np_rel *np_rel_link_of(const np_procs *procs, const np_pid *a, const np_pid *b) {
    np_pid pids[2];
    np_rel_link_order(procs, a, b, pids);
    return np_map_get(&procs->links, link_hash(pids), pids);
}

/* Any order will do. */
static int id_cmp(const np_pid *a, const np_pid *b) {
    if (a->num != b->num)
        return a->num < b->num ? -1 : 1;
    if (a->serial != b->serial)
        return a->serial < b->serial ? -1 : 1;
    return (a->creation > b->creation) - (a->creation < b->creation);
}

void np_rel_link_order(const np_procs *procs, const np_pid *a, const np_pid *b, np_pid pids[2]) {
    bool swap = a->node != procs->node || (b->node == procs->node && id_cmp(b, a) < 0);
    pids[0] = swap ? *b : *a;
    pids[1] = swap ? *a : *b;
}

np_ref np_rel_ref(const np_rel *rel) {
    const np_pid *owner = &rel->pids[rel->kind == NP_REL_SIGNAL ? 1 : 0];
    np_ref ref = {.node = owner->node, .creation = owner->creation, .len = rel->ref_len};
    memcpy(ref.id, rel->u.words, sizeof(ref.id));
    return ref;
}

/* ---- signals to other nodes ---- */

int np_rel_emit(np_procs *procs, np_signal_kind kind, const np_pid *from, const np_pid *to, np_in reason) {
    np_signal signal = {.kind = kind, .from = *from, .to = *to, .node = to->node, .reason = reason};
    return procs->io.signal(procs->io.arg, &signal);
}

int np_rel_emit_ack(np_procs *procs, np_signal_kind kind, const np_pid *from, const np_pid *to, uint64_t id) {
    np_signal signal = {.kind = kind, .from = *from, .to = *to, .node = to->node, .id = id};
    return procs->io.signal(procs->io.arg, &signal);
}
