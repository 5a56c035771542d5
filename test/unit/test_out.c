/* The builder: the exact bytes of every kind of term, and errors that stick. */
#include "base/rng.h"
#include "term/names.h"
#include "term/out.h"
#include "term/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

static np_buf buf = NP_BUF_INIT;
static np_out out;

static int setup(void **state) {
    (void)state;
    np_buf_clear(&buf, 0);
    np_out_init(&out, &buf, SIZE_MAX);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    np_buf_fini(&buf);
    return 0;
}

static void check(const char *bytes, size_t len) {
    assert_int_equal(np_out_error(&out), 0);
    assert_int_equal(np_out_len(&out), len);
    assert_memory_equal(np_buf_head(&buf), bytes, len);
    np_out_reset(&out);
}

#define CHECK(call, bytes)                                                                                             \
    do {                                                                                                               \
        call;                                                                                                          \
        check(bytes, sizeof(bytes) - 1);                                                                               \
    } while (0)

static void simple(void **state) {
    (void)state;
    CHECK(np_out_atom(&out, "ok"), "w\2ok");
    CHECK(np_out_atom(&out, ""), "w\0");
    CHECK(np_out_atom_n(&out, "okay", 2), "w\2ok");
    CHECK(np_out_bool(&out, true), "w\4true");
    CHECK(np_out_bool(&out, false), "w\5false");
    CHECK(np_out_double(&out, 1.5), "F\x3F\xF8\0\0\0\0\0\0");
    CHECK(np_out_binary(&out, "abc", 3), "m\0\0\0\3abc");
    CHECK(np_out_binary(&out, NULL, 0), "m\0\0\0\0");
    CHECK(np_out_text(&out, "hi"), "m\0\0\0\2hi");
    CHECK(np_out_chars(&out, "hi"), "k\0\2hi");
    CHECK(np_out_chars(&out, ""), "j");
    CHECK(np_out_tuple(&out, 0), "h\0");
    CHECK(np_out_tuple(&out, 255), "h\xFF");
    CHECK(np_out_tuple(&out, 256), "i\0\0\1\0");
    CHECK(np_out_list(&out, 3), "l\0\0\0\3");
    CHECK(np_out_list(&out, 0), "");
    CHECK(np_out_nil(&out), "j");
    CHECK(np_out_map(&out, 1), "t\0\0\0\1");
}

static void integers(void **state) {
    (void)state;
    CHECK(np_out_int(&out, 0), "a\0");
    CHECK(np_out_int(&out, 255), "a\xFF");
    CHECK(np_out_int(&out, 256), "b\0\0\1\0");
    CHECK(np_out_int(&out, -1), "b\xFF\xFF\xFF\xFF");
    CHECK(np_out_int(&out, INT32_MAX), "b\x7F\xFF\xFF\xFF");
    CHECK(np_out_int(&out, INT32_MIN), "b\x80\0\0\0");
    CHECK(np_out_int(&out, (int64_t)INT32_MAX + 1), "n\4\0\0\0\0\x80");
    CHECK(np_out_int(&out, (int64_t)INT32_MIN - 1), "n\4\1\1\0\0\x80");
    CHECK(np_out_int(&out, INT64_C(1) << 32), "n\5\0\0\0\0\0\1");
    CHECK(np_out_int(&out, INT64_MAX), "n\x8\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F");
    CHECK(np_out_int(&out, INT64_MIN), "n\x8\1\0\0\0\0\0\0\0\x80");
    CHECK(np_out_uint(&out, UINT64_MAX), "n\x8\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF");
}

static void integers_come_back(void **state) {
    (void)state;
    np_rng rng;
    np_rng_seed(&rng, 3);
    for (int i = 0; i < 20000; i++) {
        int64_t value = (int64_t)(np_rng_next(&rng) >> np_rng_below(&rng, 64));
        value = i % 2 == 0 ? value : (int64_t)(0 - (uint64_t)value);
        np_out_int(&out, value);
        np_in in;
        int64_t back = 0;
        assert_int_equal(np_term_open(&in, np_buf_head(&buf), np_out_len(&out)), 0);
        assert_int_equal(np_in_int64(&in, &back), 0);
        assert_true(back == value);
        np_out_reset(&out);
    }
}

static void identifiers(void **state) {
    (void)state;
    np_node_id node = np_name_id("a@h");
    np_pid pid = {node, 1, 2, 0xFF000003};
    CHECK(np_out_pid(&out, &pid), "Xw\3a@h\0\0\0\1\0\0\0\2\xFF\0\0\3");
    np_ref ref = {node, 5, 3, {1, 2, 3, 0, 0}};
    CHECK(np_out_ref(&out, &ref), "Z\0\3w\3a@h\0\0\0\5\0\0\0\1\0\0\0\2\0\0\0\3");
}

static void long_atoms(void **state) {
    (void)state;
    char text[1025] = "";
    for (int i = 0; i < 256; i++)
        strcat(text, "\xF0\x9F\x98\x80");
    np_out_atom_n(&out, text, 1020);
    assert_int_equal(np_out_len(&out), 1023);
    assert_memory_equal(np_buf_head(&buf), "v\x03\xFC\xF0", 4);
    np_out_reset(&out);
    np_out_atom(&out, text);
    assert_int_equal(np_out_error(&out), NP_EINVAL);
    np_out_reset(&out);
    memset(text, 'a', 256);
    np_out_atom_n(&out, text, 256);
    assert_int_equal(np_out_error(&out), NP_EINVAL);
    np_out_reset(&out);
    np_out_atom(&out, "a\xFF");
    assert_int_equal(np_out_error(&out), NP_EINVAL);
}

static void long_chars(void **state) {
    (void)state;
    static char text[70001];
    memset(text, 'x', 70000);
    np_out_chars(&out, text);
    assert_int_equal(np_out_len(&out), 5 + 2 * 70000 + 1);
    np_in in = np_out_view(&out);
    assert_int_equal(np_term_validate(in.base, in.end), in.end);
}

static void copies(void **state) {
    (void)state;
    static const uint8_t bytes[] = "h\2w\1aj";
    np_in in = {bytes, 2, 5};
    CHECK(np_out_term(&out, &in), "w\1a");
    in.pos = 5;
    CHECK(np_out_term(&out, &in), "");
    CHECK(np_out_raw(&out, bytes, 6), "h\2w\1aj");
    uint8_t *to = np_out_binary_reserve(&out, 4);
    memcpy(to, "data", 4);
    check("m\0\0\0\4data", 9);
}

static void errors_stick(void **state) {
    (void)state;
    np_out_tuple(&out, 2);
    np_out_double(&out, NAN);
    assert_int_equal(np_out_error(&out), NP_EINVAL);
    np_out_int(&out, 1);
    np_out_raw(&out, "xxxx", 4);
    assert_null(np_out_binary_reserve(&out, 1));
    assert_int_equal(np_out_len(&out), 2);
    np_out_reset(&out);
    assert_int_equal(np_out_error(&out), 0);
    assert_int_equal(np_out_len(&out), 0);
    np_out_double(&out, INFINITY);
    assert_int_equal(np_out_error(&out), NP_EINVAL);
    np_out_reset(&out);
    np_pid nobody = {0};
    np_out_pid(&out, &nobody);
    assert_int_equal(np_out_error(&out), NP_EINVAL);
    np_out_reset(&out);
    np_ref none = {.node = np_name_id("a@h")};
    np_out_ref(&out, &none);
    assert_int_equal(np_out_error(&out), NP_EINVAL);
}

static void limit(void **state) {
    (void)state;
    np_buf_append(&buf, "before", 6);
    np_out_init(&out, &buf, 10);
    np_out_binary(&out, "12345", 5);
    assert_int_equal(np_out_error(&out), 0);
    assert_int_equal(np_out_len(&out), 10);
    np_out_nil(&out);
    assert_int_equal(np_out_error(&out), NP_ELIMIT);
    assert_int_equal(np_out_len(&out), 10);
    np_out_reset(&out);
    assert_int_equal(np_buf_len(&buf), 6);
    np_out_binary(&out, "123456", 6);
    assert_int_equal(np_out_error(&out), NP_ELIMIT);
    assert_int_equal(np_out_len(&out), 0);
    np_out_reset(&out);
    np_out_atom(&out, "a");
    np_in view = np_out_view(&out);
    assert_int_equal(np_in_match(&view, "a"), 0);
    assert_true(np_in_at_end(&view));
    assert_memory_equal(np_buf_head(&buf), "before", 6);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(simple),     TEST(integers), TEST(integers_come_back), TEST(identifiers), TEST(long_atoms),
        TEST(long_chars), TEST(copies),   TEST(errors_stick),       TEST(limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
