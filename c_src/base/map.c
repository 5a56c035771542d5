/* map.c - see map.h. */
#include "base/map.h"

#include "base/assert.h"
#include "base/rng.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { SLOTS_MIN = 8 };
#define ITEMS_MAX (UINT32_C(1) << 30)

typedef struct np_map_slot {
    void *item; /* NULL: empty */
    uint32_t hash;
} np_map_slot;

/* Random per OS process; set before main runs, so that hashing needs no check. */
static uint64_t seed_bytes;
static uint64_t seed_a;
static uint64_t seed_b;

__attribute__((constructor)) static void seed(void) {
    uint64_t random[3];
    np_random_bytes(random, sizeof(random));
    seed_bytes = random[0];
    seed_a = random[1];
    seed_b = random[2] | 1;
}

uint64_t np_hash_bytes(const void *data, size_t len) { return XXH3_64bits_withSeed(data, len, seed_bytes); }

uint64_t np_hash_u64(uint64_t value) {
    __extension__ typedef unsigned __int128 u128;
    u128 product = (u128)(value ^ seed_a) * (seed_b ^ UINT64_C(0xA0761D6478BD642E));
    uint64_t folded = (uint64_t)(product >> 64) ^ (uint64_t)product;
    product = (u128)(folded ^ UINT64_C(0xE7037ED1A0B428DB)) * seed_b;
    return (uint64_t)(product >> 64) ^ (uint64_t)product;
}

static uint32_t fold(uint64_t hash) { return (uint32_t)(hash ^ (hash >> 32)); }

static size_t slots_of(const np_map *map) { return map->slots == NULL ? 0 : (size_t)map->mask + 1; }

void np_map_init(np_map *map, np_map_eq eq) { *map = (np_map){.eq = eq}; }

void np_map_fini(np_map *map) {
    free(map->slots);
    np_map_init(map, map->eq);
}

static void place(np_map_slot *slots, uint32_t mask, np_map_slot slot) {
    uint32_t i = slot.hash & mask;
    while (slots[i].item != NULL)
        i = (i + 1) & mask;
    slots[i] = slot;
}

static int resize(np_map *map, size_t count) {
    np_map_slot *slots = calloc(count, sizeof(*slots));
    if (slots == NULL)
        return NP_ENOMEM;
    uint32_t mask = (uint32_t)(count - 1);
    for (size_t i = 0; i < slots_of(map); i++) {
        if (map->slots[i].item != NULL)
            place(slots, mask, map->slots[i]);
    }
    free(map->slots);
    map->slots = slots;
    map->mask = mask;
    return 0;
}

/* The slot that holds the key, or SIZE_MAX. */
static size_t find(const np_map *map, uint32_t hash, const void *key) {
    if (map->count == 0)
        return SIZE_MAX;
    for (uint32_t i = hash & map->mask; map->slots[i].item != NULL; i = (i + 1) & map->mask) {
        if (map->slots[i].hash == hash && map->eq(map->slots[i].item, key))
            return i;
    }
    return SIZE_MAX;
}

void *np_map_get(const np_map *map, uint64_t hash, const void *key) {
    size_t at = find(map, fold(hash), key);
    return at == SIZE_MAX ? NULL : map->slots[at].item;
}

int np_map_add(np_map *map, uint64_t hash, void *item) {
    NP_ASSERT(item != NULL);
    if (map->count >= ITEMS_MAX)
        return NP_ELIMIT;
    size_t slots = slots_of(map);
    if ((uint64_t)map->count + 1 > slots / 4 * 3) {
        int error = resize(map, slots == 0 ? SLOTS_MIN : slots * 2);
        if (error < 0)
            return error;
    }
    place(map->slots, map->mask, (np_map_slot){.item = item, .hash = fold(hash)});
    map->count++;
    return 0;
}

/* Gives memory back when the table is far too large. Failing to is no error. */
static void shrink(np_map *map) {
    size_t slots = slots_of(map);
    if (slots > SLOTS_MIN && map->count < slots / 8)
        (void)resize(map, slots / 4 < SLOTS_MIN ? SLOTS_MIN : slots / 4);
}

void *np_map_remove(np_map *map, uint64_t hash, const void *key) {
    size_t found = find(map, fold(hash), key);
    if (found == SIZE_MAX)
        return NULL;
    np_map_slot *slots = map->slots;
    void *item = slots[found].item;
    /* Backward shift: an item further on moves into the hole unless its home lies behind the hole. */
    uint32_t hole = (uint32_t)found;
    for (uint32_t i = (hole + 1) & map->mask; slots[i].item != NULL; i = (i + 1) & map->mask) {
        uint32_t from_home = (i - slots[i].hash) & map->mask;
        if (from_home >= ((i - hole) & map->mask)) {
            slots[hole] = slots[i];
            hole = i;
        }
    }
    slots[hole].item = NULL;
    map->count--;
    shrink(map);
    return item;
}

void *np_map_next(const np_map *map, uint32_t *at) {
    size_t slots = slots_of(map);
    for (size_t i = *at; i < slots; i++) {
        if (map->slots[i].item != NULL) {
            *at = (uint32_t)(i + 1);
            return map->slots[i].item;
        }
    }
    *at = (uint32_t)slots;
    return NULL;
}

/* Closes the holes that were left between the items. Starts behind a slot that was empty before, so that no item's
 * way from its home crosses the start. */
static void close_holes(np_map *map, uint32_t start) {
    uint32_t i = start;
    for (size_t n = slots_of(map); n > 0; n--, i = (i + 1) & map->mask) {
        np_map_slot slot = map->slots[i];
        if (slot.item == NULL)
            continue;
        map->slots[i].item = NULL;
        place(map->slots, map->mask, slot);
    }
}

void np_map_remove_if(np_map *map, bool (*predicate)(void *item, void *arg), void *arg) {
    if (map->count == 0)
        return;
    uint32_t start = 0;
    while (map->slots[start].item != NULL) /* a table is never full */
        start++;
    uint32_t count = map->count;
    for (size_t i = 0; i < slots_of(map); i++) {
        if (map->slots[i].item != NULL && predicate(map->slots[i].item, arg)) {
            map->slots[i].item = NULL;
            map->count--;
        }
    }
    if (map->count == count)
        return;
    close_holes(map, start);
    shrink(map);
}
