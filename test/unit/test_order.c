/* Order, equality, hash and canonical form of terms against OTP's own: all pairs of order.terms, which OTP has
 * sorted. */
#include "base/buf.h"
#include "term/canon.h"
#include "term/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ITEMS_MAX = 1000 };

typedef struct item {
    int rank;  /* class of == */
    int exact; /* class of =:= within it */
    uint8_t *bytes;
    np_in in;
    np_buf canon;
} item;

static item items[ITEMS_MAX];
static size_t count;

static void add(const char *line) {
    item *it = &items[count++];
    int hex_at = 0;
    assert_true(count < ITEMS_MAX);
    assert_int_equal(sscanf(line, "%d %d %n", &it->rank, &it->exact, &hex_at), 2);
    const char *hex = line + hex_at;
    size_t len = strcspn(hex, "\n") / 2;
    it->bytes = malloc(len);
    for (size_t i = 0; i < len; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        it->bytes[i] = (uint8_t)byte;
    }
    assert_int_equal(np_term_open(&it->in, it->bytes, len), 0);
    np_in at = it->in;
    assert_int_equal(np_term_canon(&at, &it->canon), 0);
    assert_true(np_in_at_end(&at));
}

static int setup(void **state) {
    (void)state;
    FILE *file = fopen(NP_TEST_DATA "/unit/order.terms", "r");
    assert_non_null(file);
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, file) > 0) {
        if (line[0] != '#')
            add(line);
    }
    free(line);
    return fclose(file);
}

static int teardown(void **state) {
    (void)state;
    for (size_t i = 0; i < count; i++) {
        free(items[i].bytes);
        np_buf_fini(&items[i].canon);
    }
    return 0;
}

static bool same_canon(const item *a, const item *b) {
    size_t len = np_buf_len(&a->canon);
    return len == np_buf_len(&b->canon) && memcmp(np_buf_head(&a->canon), np_buf_head(&b->canon), len) == 0;
}

static void check_pair(const item *a, const item *b) {
    bool equal = a->rank == b->rank && a->exact == b->exact;
    int order = np_term_cmp(&a->in, &b->in);
    bool right = a->rank != b->rank ? (order < 0) == (a->rank < b->rank) && order != 0 : (order == 0) == equal;
    right = right && np_term_equal(&a->in, &b->in) == equal && same_canon(a, b) == equal &&
            (np_term_hash(&a->in) == np_term_hash(&b->in)) == equal;
    if (!right)
        fail_msg("terms %d.%d and %d.%d: order %d, equal %d, canon %d", a->rank, a->exact, b->rank, b->exact, order,
                 np_term_equal(&a->in, &b->in), same_canon(a, b));
}

static void all_pairs(void **state) {
    (void)state;
    assert_true(count > 200);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++)
            check_pair(&items[i], &items[j]);
    }
}

/* Between terms that compare ==, the order is one too: sorting a shuffled copy gives one result. */
static int cmp_items(const void *x, const void *y) {
    return np_term_cmp(&((const item *)x)->in, &((const item *)y)->in);
}

static void total(void **state) {
    (void)state;
    static item up[ITEMS_MAX];
    static item down[ITEMS_MAX];
    for (size_t i = 0; i < count; i++) {
        up[i] = items[i];
        down[i] = items[count - 1 - i];
    }
    qsort(up, count, sizeof(*up), cmp_items);
    qsort(down, count, sizeof(*down), cmp_items);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(up[i].rank, down[i].rank);
        assert_int_equal(up[i].exact, down[i].exact);
        for (size_t j = i; j < count; j++)
            assert_true(np_term_cmp(&up[i].in, &up[j].in) <= 0);
    }
}

static np_in open_bytes(const char *bytes, size_t len) {
    np_in in;
    assert_int_equal(np_term_open(&in, (const uint8_t *)bytes, len), 0);
    return in;
}

#define OPEN(bytes) open_bytes(bytes, sizeof(bytes) - 1)

static void integers_before_floats(void **state) {
    (void)state;
    np_in one = OPEN("\x61\1");
    np_in one_float = OPEN("\x46\x3F\xF0\0\0\0\0\0\0");
    assert_true(np_term_cmp(&one, &one_float) < 0);
    assert_true(np_term_cmp(&one_float, &one) > 0);
    /* The first such place decides only if nothing else does: {1.0,a} < {1,b}. */
    np_in float_a = OPEN("\x68\2\x46\x3F\xF0\0\0\0\0\0\0w\1a");
    np_in int_b = OPEN("\x68\2\x61\1w\1b");
    np_in int_a = OPEN("\x68\2\x61\1w\1a");
    assert_true(np_term_cmp(&float_a, &int_b) < 0);
    assert_true(np_term_cmp(&int_a, &float_a) < 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_pairs),
        cmocka_unit_test(total),
        cmocka_unit_test(integers_before_floats),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
