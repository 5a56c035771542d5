/*
 * index.c - see index.h. Linear hashing (Litwin 1980): bucket `buckets - 2^level` is the next to be split; an item is
 * in bucket hash mod 2^(level+1), or, if that does not exist yet, hash mod 2^level.
 */
#include "syn/index.h"

#include "base/assert.h"

#include <stdlib.h>

enum {
    CHUNK = NP_SYN_INDEX_CHUNK,
    CHUNK_SHIFT = 6,
    GROW = 2,   /* buckets for each item */
    SHRINK = 8, /* at most; so as many may go with each that goes */
};

void np_syn_index_init(np_syn_index *index, uint32_t (*hash)(const np_syn_link *link)) {
    *index = (np_syn_index){.hash = hash};
}

static uint32_t chunks_of(const np_syn_index *index) { return (index->buckets + CHUNK - 1) >> CHUNK_SHIFT; }

void np_syn_index_fini(np_syn_index *index) {
    for (uint32_t i = 0; i < chunks_of(index); i++)
        free(index->chunks[i]);
    free(index->chunks);
    np_syn_index_init(index, index->hash);
}

static np_syn_link **bucket_at(const np_syn_index *index, uint32_t i) {
    return &index->chunks[i >> CHUNK_SHIFT][i & (CHUNK - 1)];
}

/* The largest power of two that is not above n > 0. */
static uint32_t power(uint32_t n) { return UINT32_C(1) << (31 - __builtin_clz(n)); }

static uint32_t bucket_of(const np_syn_index *index, uint32_t hash) {
    uint32_t level = power(index->buckets);
    uint32_t i = hash & (2 * level - 1);
    return i < index->buckets ? i : hash & (level - 1);
}

np_syn_link *np_syn_index_first(const np_syn_index *index, uint32_t hash) {
    return index->buckets == 0 ? NULL : *bucket_at(index, bucket_of(index, hash));
}

static void push(np_syn_link **bucket, np_syn_link *link) {
    link->next = *bucket;
    link->back = bucket;
    if (link->next != NULL)
        link->next->back = &link->next;
    *bucket = link;
}

static void unlink_item(np_syn_link *link) {
    *link->back = link->next;
    if (link->next != NULL)
        link->next->back = link->back;
}

/* Room for one more bucket. */
static int reserve(np_syn_index *index) {
    uint32_t chunk = index->buckets >> CHUNK_SHIFT;
    if ((index->buckets & (CHUNK - 1)) != 0)
        return 0;
    if (chunk == index->chunks_cap) {
        uint32_t cap = chunk == 0 ? 1 : chunk * 2;
        np_syn_link ***chunks = realloc(index->chunks, cap * sizeof(*chunks));
        if (chunks == NULL)
            return NP_ENOMEM;
        index->chunks = chunks;
        index->chunks_cap = cap;
    }
    index->chunks[chunk] = calloc(CHUNK, sizeof(**index->chunks));
    return index->chunks[chunk] == NULL ? NP_ENOMEM : 0;
}

/* The items of a chain that belong into the bucket go to its end, in their order: those of one hash stay in theirs. */
static void move(np_syn_index *index, np_syn_link *link, uint32_t bucket) {
    np_syn_link **end = bucket_at(index, bucket);
    while (*end != NULL)
        end = &(*end)->next;
    for (np_syn_link *next; link != NULL; link = next) {
        next = link->next;
        if (bucket_of(index, index->hash(link)) != bucket)
            continue;
        unlink_item(link);
        push(end, link);
        end = &link->next;
    }
}

/* One bucket more: takes its items from the one they were in till now. */
static void split(np_syn_index *index) {
    if (index->buckets == UINT32_C(1) << 31 || reserve(index) < 0)
        return; /* longer chains, then */
    uint32_t from = index->buckets - power(index->buckets);
    uint32_t to = index->buckets++;
    move(index, *bucket_at(index, from), to);
}

/* One bucket less: its items go back to the one they were split off from. */
static void join(np_syn_index *index) {
    uint32_t from = --index->buckets;
    np_syn_link **bucket = bucket_at(index, from);
    move(index, *bucket, from - power(from));
    NP_ASSERT(*bucket == NULL);
    if ((from & (CHUNK - 1)) == 0)
        free(index->chunks[from >> CHUNK_SHIFT]);
}

int np_syn_index_add(np_syn_index *index, np_syn_link *link) {
    if (index->buckets == 0) {
        if (reserve(index) < 0)
            return NP_ENOMEM;
        index->buckets = 1;
    }
    index->count++;
    for (int i = 0; i < GROW && index->buckets < index->count * (uint64_t)GROW; i++)
        split(index);
    push(bucket_at(index, bucket_of(index, index->hash(link))), link);
    return 0;
}

void np_syn_index_remove(np_syn_index *index, np_syn_link *link) {
    NP_ASSERT(link->back != NULL && index->count > 0);
    unlink_item(link);
    link->back = NULL;
    index->count--;
    for (int i = 0; i < SHRINK && index->buckets > CHUNK && index->count < index->buckets / SHRINK; i++)
        join(index);
}

np_syn_link *np_syn_index_next(const np_syn_index *index, uint32_t *bucket, const np_syn_link *link) {
    if (link != NULL && link->next != NULL)
        return link->next;
    while (*bucket < index->buckets) {
        np_syn_link *first = *bucket_at(index, (*bucket)++);
        if (first != NULL)
            return first;
    }
    return NULL;
}

size_t np_syn_index_memory(const np_syn_index *index) {
    return index->chunks_cap * sizeof(*index->chunks) + (size_t)chunks_of(index) * CHUNK * sizeof(**index->chunks);
}
