/*
 * map.h - a hash table of pointers, open addressing with linear probing and backward-shift deletion (no tombstones).
 *
 * The items carry their own keys; the table stores the item pointer and 32 bits of its hash. The caller hashes
 * (np_hash_* below, or any good 64-bit hash). One thread. Nothing may be added or removed while iterating, except by
 * np_map_remove_if.
 */
#ifndef NP_BASE_MAP_H
#define NP_BASE_MAP_H

#include <native_pool/types.h>

typedef bool (*np_map_eq)(const void *item, const void *key);

typedef struct np_map {
    struct np_map_slot *slots; /* NULL while empty */
    uint32_t mask;
    uint32_t count;
    np_map_eq eq;
} np_map;

void np_map_init(np_map *map, np_map_eq eq);
void np_map_fini(np_map *map); /* frees the table, not the items */

static inline uint32_t np_map_count(const np_map *map) { return map->count; }

/* The item with this key, or NULL. */
void *np_map_get(const np_map *map, uint64_t hash, const void *key);

/* Adds an item whose key is not in the table (the caller has looked). NP_ENOMEM, NP_ELIMIT (2^30 items). */
int np_map_add(np_map *map, uint64_t hash, void *item);

/* Takes the item out and returns it; NULL if there was none. Shrinks the table when it has become far too large. */
void *np_map_remove(np_map *map, uint64_t hash, const void *key);

/* Iteration: start with *at = 0; NULL at the end. */
void *np_map_next(const np_map *map, uint32_t *at);

/* Removes every item for which the predicate says so (it may free the item). Calls it exactly once per item. */
void np_map_remove_if(np_map *map, bool (*predicate)(void *item, void *arg), void *arg);

/* Fast hash of bytes (xxh3) and of small integers, seeded per process so that peers cannot choose colliding keys. */
uint64_t np_hash_bytes(const void *data, size_t len);
uint64_t np_hash_u64(uint64_t value);
static inline uint64_t np_hash_mix(uint64_t a, uint64_t b) {
    return np_hash_u64(a ^ (b * UINT64_C(0x9E3779B97F4A7C15)));
}

#endif
