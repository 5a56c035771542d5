/* The byte buffer, alone and against a naive model. */
#include "base/buf.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void append_and_consume(void **state) {
    (void)state;
    np_buf buf = NP_BUF_INIT;
    assert_null(np_buf_head(&buf));
    assert_int_equal(np_buf_append(&buf, NULL, 0), 0);
    assert_int_equal(np_buf_append_u8(&buf, 1), 0);
    assert_int_equal(np_buf_append_u16(&buf, 0x0203), 0);
    assert_int_equal(np_buf_append_u32(&buf, 0x04050607), 0);
    assert_int_equal(np_buf_append_u64(&buf, UINT64_C(0x08090A0B0C0D0E0F)), 0);
    assert_int_equal(np_buf_len(&buf), 15);
    for (int i = 0; i < 15; i++)
        assert_int_equal(np_buf_head(&buf)[i], i + 1);
    np_buf_consume(&buf, 3);
    assert_int_equal(np_get_u32(np_buf_head(&buf)), 0x04050607);
    assert_true(np_get_u64(np_buf_head(&buf) + 4) == UINT64_C(0x08090A0B0C0D0E0F));
    np_buf_truncate(&buf, 4);
    assert_int_equal(np_buf_len(&buf), 4);
    np_buf_consume(&buf, 4);
    assert_int_equal(np_buf_len(&buf), 0);
    assert_int_equal(buf.off, 0);
    np_buf_fini(&buf);
    assert_int_equal(np_buf_append(&buf, "x", 1), 0); /* usable afterwards */
    np_buf_fini(&buf);
}

static void print(void **state) {
    (void)state;
    np_buf buf = NP_BUF_INIT;
    char expected[5000] = "";
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(np_buf_printf(&buf, "%d,", i), 0);
        (void)sprintf(expected + strlen(expected), "%d,", i);
    }
    assert_int_equal(np_buf_printf(&buf, "%s", ""), 0);
    assert_int_equal(np_buf_len(&buf), strlen(expected));
    assert_memory_equal(np_buf_head(&buf), expected, strlen(expected));
    np_buf_fini(&buf);
}

static void clear(void **state) {
    (void)state;
    np_buf buf = NP_BUF_INIT;
    uint8_t *to;
    assert_int_equal(np_buf_reserve(&buf, 100000, &to), 0);
    memset(to, 7, 100000);
    np_buf_commit(&buf, 100000);
    np_buf_clear(&buf, 200000);
    assert_true(buf.cap >= 100000 && np_buf_len(&buf) == 0);
    np_buf_clear(&buf, 1000);
    assert_int_equal(buf.cap, 1000);
    np_buf_clear(&buf, 0);
    assert_null(buf.data);
    np_buf_fini(&buf);
}

static void too_large(void **state) {
    (void)state;
    np_buf buf = NP_BUF_INIT;
    assert_int_equal(np_buf_append(&buf, "abc", 3), 0);
    assert_int_equal(np_buf_reserve(&buf, SIZE_MAX, NULL), NP_ENOMEM);
    assert_int_equal(np_buf_reserve(&buf, SIZE_MAX / 2, NULL), NP_ENOMEM);
    assert_memory_equal(np_buf_head(&buf), "abc", 3);
    np_buf_fini(&buf);
}

/* A stream of bytes goes in at one end and out at the other; the buffer holds what is between, and does not grow
 * with what has passed. */
static void stream(void **state) {
    (void)state;
    np_rng rng;
    np_rng_seed(&rng, 1);
    np_buf buf = NP_BUF_INIT;
    uint64_t in = 0;
    uint64_t out = 0;
    for (int step = 0; step < 20000; step++) {
        uint64_t n = np_rng_below(&rng, 400);
        if (in - out < 5000) {
            uint8_t *to;
            assert_int_equal(np_buf_reserve(&buf, n, &to), 0);
            for (uint64_t i = 0; i < n; i++)
                to[i] = (uint8_t)((in + i) * 37 >> 3);
            np_buf_commit(&buf, n);
            in += n;
        }
        n = np_rng_below(&rng, in - out + 1);
        for (uint64_t i = 0; i < n; i++)
            assert_int_equal(np_buf_head(&buf)[i], (uint8_t)((out + i) * 37 >> 3));
        np_buf_consume(&buf, n);
        out += n;
        assert_int_equal(np_buf_len(&buf), in - out);
    }
    assert_true(buf.cap <= 32768);
    np_buf_fini(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append_and_consume), cmocka_unit_test(print),  cmocka_unit_test(clear),
        cmocka_unit_test(too_large),          cmocka_unit_test(stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
