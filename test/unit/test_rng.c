/* The random generators: the published sequence, the bounds, and that the kernel's differ. */
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* xoshiro256** with the state 1,2,3,4: the first numbers of its reference implementation. */
static void reference(void **state) {
    (void)state;
    np_rng rng = {{1, 2, 3, 4}};
    static const uint64_t expected[] = {11520, 0, 1509978240, UINT64_C(1215971899390074240)};
    for (size_t i = 0; i < 4; i++)
        assert_true(np_rng_next(&rng) == expected[i]);
}

static void repeatable(void **state) {
    (void)state;
    np_rng a;
    np_rng b;
    np_rng c;
    np_rng_seed(&a, 42);
    np_rng_seed(&b, 42);
    np_rng_seed(&c, 43);
    assert_true(np_rng_next(&a) == np_rng_next(&b));
    assert_true(np_rng_next(&a) != np_rng_next(&c));
}

static void below(void **state) {
    (void)state;
    np_rng rng;
    np_rng_seed(&rng, 1);
    unsigned counts[7] = {0};
    for (int i = 0; i < 70000; i++)
        counts[np_rng_below(&rng, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 9500, 10500);
    for (int i = 0; i < 100; i++)
        assert_true(np_rng_below(&rng, 1) == 0);
    assert_true(np_rng_below(&rng, UINT64_MAX) < UINT64_MAX);
}

static void kernel(void **state) {
    (void)state;
    uint8_t a[64] = {0};
    uint8_t b[64] = {0};
    np_random_bytes(a, sizeof(a));
    np_random_bytes(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    np_random_bytes(a, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(reference), cmocka_unit_test(repeatable),
                                       cmocka_unit_test(below), cmocka_unit_test(kernel)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
