/*
 * index.h - a hash index of items that carry their own links; linear hashing, so that no insertion among a million
 * has to wait for all of them to be moved.
 *
 * An item with several links can be in several indexes. Equal hashes are allowed, many items of one hash too: adding
 * and removing do not look at the others. The owner compares while it walks a chain:
 *
 *     for (np_syn_link *link = np_syn_index_first(index, hash); link != NULL; link = link->next) ...
 *
 * (A chain also holds items of other hashes.) Main thread, inside syn/ only.
 */
#ifndef NP_SYN_INDEX_H
#define NP_SYN_INDEX_H

#include <native_pool/types.h>

typedef struct np_syn_link {
    struct np_syn_link *next;
    struct np_syn_link **back; /* what points here; NULL: in no index */
} np_syn_link;

typedef struct np_syn_index {
    np_syn_link ***chunks; /* of NP_SYN_INDEX_CHUNK buckets each */
    uint32_t chunks_cap;
    uint32_t buckets; /* in use; 0 while nothing was ever added */
    uint32_t count;
    uint32_t (*hash)(const np_syn_link *link);
} np_syn_index;

enum { NP_SYN_INDEX_CHUNK = 64 };

void np_syn_index_init(np_syn_index *index, uint32_t (*hash)(const np_syn_link *link));
void np_syn_index_fini(np_syn_index *index); /* frees the buckets, not the items */

np_syn_link *np_syn_index_first(const np_syn_index *index, uint32_t hash);

/* At the front of its chain, so that among equal hashes the last one added comes first. NP_ENOMEM only for the first
 * item of all. */
int np_syn_index_add(np_syn_index *index, np_syn_link *link);
void np_syn_index_remove(np_syn_index *index, np_syn_link *link);

/* Iteration over all: *bucket = 0 and NULL to start. Nothing may be added or removed meanwhile. */
np_syn_link *np_syn_index_next(const np_syn_index *index, uint32_t *bucket, const np_syn_link *link);

size_t np_syn_index_memory(const np_syn_index *index);

#endif
