/* The hash table against an array of flags, with good and with bad hashes. */
#include "base/map.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KEYS = 2000 };

typedef struct thing {
    uint32_t key;
    unsigned seen;
} thing;

static thing things[KEYS];
static bool present[KEYS];
static uint64_t hash_mask; /* fewer bits: more collisions */

static bool same(const void *item, const void *key) { return ((const thing *)item)->key == *(const uint32_t *)key; }

static uint64_t hash_of(uint32_t key) { return np_hash_u64(key) & hash_mask; }

static void check_iteration(const np_map *map) {
    uint32_t at = 0;
    uint32_t count = 0;
    for (thing *t; (t = np_map_next(map, &at)) != NULL; count++) {
        assert_true(present[t->key]);
        t->seen++;
    }
    assert_int_equal(count, np_map_count(map));
    for (uint32_t key = 0; key < KEYS; key++) {
        assert_int_equal(things[key].seen, present[key]);
        things[key].seen = 0;
    }
}

static bool every_third(void *item, void *arg) {
    thing *t = item;
    t->seen++;
    if (t->key % 3 != *(uint32_t *)arg)
        return false;
    present[t->key] = false;
    return true;
}

static void check_remove_if(np_map *map, uint32_t rest) {
    bool before[KEYS];
    memcpy(before, present, sizeof(before));
    np_map_remove_if(map, every_third, &rest);
    for (uint32_t key = 0; key < KEYS; key++) {
        assert_int_equal(things[key].seen, before[key]);
        things[key].seen = 0;
        assert_ptr_equal(np_map_get(map, hash_of(key), &key), present[key] ? &things[key] : NULL);
    }
}

static void run_model(uint64_t mask, uint32_t steps) {
    np_rng rng;
    np_rng_seed(&rng, mask);
    hash_mask = mask;
    np_map map;
    np_map_init(&map, same);
    memset(present, 0, sizeof(present));
    for (uint32_t key = 0; key < KEYS; key++)
        things[key] = (thing){.key = key};
    uint32_t range = KEYS;
    for (uint32_t step = 0; step < steps; step++) {
        if (step % 1000 == 0) /* the table grows and shrinks */
            range = 1 + (uint32_t)np_rng_below(&rng, KEYS);
        uint32_t key = (uint32_t)np_rng_below(&rng, step % 3000 < 1500 ? KEYS : range);
        bool remove = np_rng_below(&rng, 100) < (step % 4000 < 2000 ? 30 : 70);
        void *expected = present[key] ? &things[key] : NULL;
        assert_ptr_equal(np_map_get(&map, hash_of(key), &key), expected);
        if (remove) {
            assert_ptr_equal(np_map_remove(&map, hash_of(key), &key), expected);
            present[key] = false;
        } else if (expected == NULL) {
            assert_int_equal(np_map_add(&map, hash_of(key), &things[key]), 0);
            present[key] = true;
        }
        if (step % 500 == 0)
            check_iteration(&map);
        if (step % 1700 == 0)
            check_remove_if(&map, step % 3);
    }
    check_iteration(&map);
    np_map_fini(&map);
    assert_int_equal(np_map_count(&map), 0);
}

static void good_hash(void **state) {
    (void)state;
    run_model(UINT64_MAX, 100000);
}

static void colliding_hash(void **state) {
    (void)state;
    run_model(0x3F, 20000);
}

static void constant_hash(void **state) {
    (void)state;
    run_model(0, 5000);
}

/* Homes at the end of the table: clusters that wrap round. */
static void wrapping_hash(void **state) {
    (void)state;
    np_map map;
    np_map_init(&map, same);
    for (uint32_t key = 0; key < KEYS; key++)
        things[key] = (thing){.key = key};
    for (uint32_t key = 0; key < 100; key++)
        assert_int_equal(np_map_add(&map, UINT32_MAX - key % 5, &things[key]), 0);
    for (uint32_t key = 0; key < 100; key += 2)
        assert_ptr_equal(np_map_remove(&map, UINT32_MAX - key % 5, &key), &things[key]);
    for (uint32_t key = 0; key < 100; key++)
        assert_ptr_equal(np_map_get(&map, UINT32_MAX - key % 5, &key), key % 2 == 0 ? NULL : &things[key]);
    memset(present, 1, sizeof(present));
    uint32_t rest = 0;
    np_map_remove_if(&map, every_third, &rest);
    for (uint32_t key = 1; key < 100; key += 2) {
        assert_int_equal(things[key].seen, 1);
        assert_ptr_equal(np_map_get(&map, UINT32_MAX - key % 5, &key), key % 3 == 0 ? NULL : &things[key]);
    }
    np_map_fini(&map);
}

static void shrinks(void **state) {
    (void)state;
    np_map map;
    np_map_init(&map, same);
    assert_null(np_map_get(&map, 1, &(uint32_t){1}));
    assert_null(np_map_remove(&map, 1, &(uint32_t){1}));
    hash_mask = UINT64_MAX;
    for (uint32_t key = 0; key < KEYS; key++) {
        things[key] = (thing){.key = key};
        assert_int_equal(np_map_add(&map, hash_of(key), &things[key]), 0);
    }
    assert_true(map.mask >= KEYS);
    for (uint32_t key = 10; key < KEYS; key++)
        assert_non_null(np_map_remove(&map, hash_of(key), &key));
    assert_true(map.mask < 256);
    np_map_fini(&map);
}

static void hashes(void **state) {
    (void)state;
    assert_true(np_hash_bytes("abc", 3) == np_hash_bytes("abc", 3));
    assert_true(np_hash_bytes("abc", 3) != np_hash_bytes("abd", 3));
    /* Every bit of the value moves about half of the hash's bits. */
    for (int bit = 0; bit < 64; bit++) {
        int moved = 0;
        for (uint64_t value = 1; value <= 64; value++)
            moved += __builtin_popcountll(np_hash_u64(value * 77) ^ np_hash_u64(value * 77 ^ (UINT64_C(1) << bit)));
        assert_in_range(moved, 64 * 24, 64 * 40);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_hash),     cmocka_unit_test(colliding_hash), cmocka_unit_test(constant_hash),
        cmocka_unit_test(wrapping_hash), cmocka_unit_test(shrinks),        cmocka_unit_test(hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
