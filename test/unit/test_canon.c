/* The canonical form: which it is, and what has none. (Equal terms have equal forms: test_order.c.) */
#include "base/limits.h"
#include "golden.h"
#include "term/canon.h"
#include "term/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static np_in open_bytes(const void *bytes, size_t len) {
    np_in in;
    assert_int_equal(np_term_open(&in, bytes, len), 0);
    return in;
}

#define OPEN(bytes) open_bytes(bytes, sizeof(bytes) - 1)

static void check(np_in in, const char *expected, size_t len) {
    np_buf form = NP_BUF_INIT;
    assert_int_equal(np_buf_append(&form, "xyz", 3), 0); /* appends */
    assert_int_equal(np_term_canon(&in, &form), 0);
    assert_true(np_in_at_end(&in));
    assert_int_equal(np_buf_len(&form), 3 + len);
    assert_memory_equal(np_buf_head(&form) + 3, expected, len);
    np_buf_fini(&form);
}

#define CHECK(bytes, expected) check(OPEN(bytes), expected, sizeof(expected) - 1)

static void forms(void **state) {
    (void)state;
    CHECK("d\0\1a", "w\1a");
    CHECK("v\0\1a", "w\1a");
    CHECK("s\1\xE9", "w\2\xC3\xA9");
    CHECK("b\0\0\0\5", "a\5");
    CHECK("n\2\0\5\0", "a\5");
    CHECK("n\1\1\5", "b\xFF\xFF\xFF\xFB");
    CHECK("n\4\1\0\0\0\x80", "b\x80\0\0\0");
    CHECK("n\4\0\0\0\0\x80", "n\4\0\0\0\0\x80");
    CHECK("n\5\7\1\2\3\4\5", "n\5\1\1\2\3\4\5"); /* any sign byte but 0 is a minus */
    CHECK("o\0\0\0\5\0\1\2\3\4\5", "n\5\0\1\2\3\4\5");
    CHECK("k\0\2\1\2", "l\0\0\0\2a\1a\2j");
    CHECK("k\0\0", "j");
    CHECK("l\0\0\0\1a\1k\0\1\2", "l\0\0\0\2a\1a\2j");
    CHECK("l\0\0\0\1a\1l\0\0\0\1a\2d\0\1t", "l\0\0\0\2a\1a\2w\1t");
    CHECK("i\0\0\0\1a\1", "h\1a\1");
    CHECK("F\x80\0\0\0\0\0\0\0", "F\0\0\0\0\0\0\0\0");
    CHECK("c1.50000000000000000000e+00\0\0\0\0\0", "F\x3F\xF8\0\0\0\0\0\0");
    CHECK("M\0\0\0\2\x8xy", "m\0\0\0\2xy");
    CHECK("M\0\0\0\1\3\xFF", "M\0\0\0\1\3\xE0");
    CHECK("gd\0\3a@h\0\0\0\1\0\0\0\2\3", "Xw\3a@h\0\0\0\1\0\0\0\2\0\0\0\3");
    CHECK("fd\0\3a@h\0\0\0\1\3", "xw\3a@h\0\0\0\0\0\0\0\1\0\0\0\3");
    CHECK("Yw\3a@h\0\0\0\1\0\0\0\3", "xw\3a@h\0\0\0\0\0\0\0\1\0\0\0\3");
    CHECK("ed\0\3a@h\0\0\0\1\3", "Z\0\3w\3a@h\0\0\0\3\0\0\0\1\0\0\0\0\0\0\0\0");
    CHECK("Z\0\4w\3a@h\0\0\0\3\0\0\0\1\0\0\0\0\0\0\0\7\0\0\0\0", "Z\0\3w\3a@h\0\0\0\3\0\0\0\1\0\0\0\0\0\0\0\7");
    CHECK("qd\0\1ms\1fa\2", "qw\1mw\1fa\2");
    CHECK("t\0\0\0\3w\1bj"
          "k\0\1\7jd\0\1aj",
          "t\0\0\0\3l\0\0\0\1a\7jjw\1ajw\1bj");
    CHECK("t\0\0\0\2w\1bt\0\0\0\2a\2ja\1jw\1aj", "t\0\0\0\2w\1ajw\1bt\0\0\0\2a\1ja\2j");
}

static void refuses_double_keys(void **state) {
    (void)state;
    np_buf form = NP_BUF_INIT;
    assert_int_equal(np_buf_append(&form, "xyz", 3), 0);
    np_in in = OPEN("h\2jt\0\0\0\2w\1aa\1d\0\1aa\2");
    assert_int_equal(np_term_canon(&in, &form), NP_EBADTERM);
    assert_int_equal(in.pos, 0);
    assert_int_equal(np_buf_len(&form), 3);
    assert_true(np_term_equal(&in, &in));
    np_buf_fini(&form);
}

/* Of several terms in a row only the next one is taken. */
static void next_only(void **state) {
    (void)state;
    static const uint8_t bytes[] = "b\0\0\0\1b\0\0\0\2";
    np_in in = {bytes, 0, 10};
    np_buf form = NP_BUF_INIT;
    assert_int_equal(np_term_canon(&in, &form), 0);
    assert_int_equal(in.pos, 5);
    assert_int_equal(np_term_canon(&in, &form), 0);
    assert_true(np_in_at_end(&in));
    assert_int_equal(np_term_canon(&in, &form), NP_ETYPE);
    assert_memory_equal(np_buf_head(&form), "a\1a\2", 4);
    np_buf_fini(&form);
}

/* What OTP sends: the form is valid, its own form, and equal to the term. */
static void golden_terms(void **state) {
    (void)state;
    golden *g = golden_open("terms.golden");
    for (const golden_record *r; (r = golden_next(g)) != NULL;) {
        np_in in = open_bytes(r->lines[1].bytes, r->lines[1].len);
        np_in at = in;
        np_buf form = NP_BUF_INIT;
        assert_int_equal(np_term_canon(&at, &form), 0);
        np_in canon = open_bytes(np_buf_head(&form), np_buf_len(&form));
        assert_true(np_term_equal(&in, &canon));
        assert_int_equal(np_term_cmp(&in, &canon), 0);
        assert_true(np_term_hash(&in) == np_term_hash(&canon));
        np_buf again = NP_BUF_INIT;
        at = canon;
        assert_int_equal(np_term_canon(&at, &again), 0);
        assert_int_equal(np_buf_len(&again), np_buf_len(&form));
        assert_memory_equal(np_buf_head(&again), np_buf_head(&form), np_buf_len(&form));
        np_buf_fini(&again);
        np_buf_fini(&form);
    }
    golden_close(&g);
}

/*
 * As deep as the validator lets through, by maps that are keys of maps (the worst there is for the stack). Each has
 * a second key, so that there is something to sort.
 */
static void deepest(void **state) {
    (void)state;
    enum { DEPTH = NP_TERM_DEPTH_MAX, HEAD = 5, REST = 2 + 3 + 1 };
    static uint8_t bytes[2][(HEAD + REST) * DEPTH + 1];
    for (int i = 0; i < 2; i++) {
        for (int d = 0; d < DEPTH; d++)
            memcpy(bytes[i] + HEAD * d, "t\0\0\0\2", HEAD);
        bytes[i][HEAD * DEPTH] = 106;
        for (int d = 0; d < DEPTH; d++) /* the first value and the second pair, inside out; only the outermost differ */
            memcpy(bytes[i] + HEAD * DEPTH + 1 + REST * d, d == DEPTH - 1 && i == 1 ? "a\2w\1aj" : "a\1w\1aj", REST);
    }
    np_in a = open_bytes(bytes[0], sizeof(bytes[0]));
    np_in b = open_bytes(bytes[1], sizeof(bytes[1]));
    assert_true(np_term_cmp(&a, &b) < 0);
    assert_true(np_term_cmp(&b, &a) > 0);
    assert_true(np_term_cmp(&a, &a) == 0);
    assert_false(np_term_equal(&a, &b));
    assert_true(np_term_hash(&a) != np_term_hash(&b));
    np_buf form = NP_BUF_INIT;
    np_in at = a;
    assert_int_equal(np_term_canon(&at, &form), 0);
    assert_int_equal(np_buf_len(&form), sizeof(bytes[0]));
    np_in canon = open_bytes(np_buf_head(&form), np_buf_len(&form));
    assert_true(np_term_equal(&a, &canon));
    np_buf_fini(&form);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),     cmocka_unit_test(refuses_double_keys),
        cmocka_unit_test(next_only), cmocka_unit_test(golden_terms),
        cmocka_unit_test(deepest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
