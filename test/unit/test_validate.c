/* The validator: all that real peers sent is taken, cut short at any length it is refused, and so is every lie about
 * a length. */
#include "base/buf.h"
#include "base/limits.h"
#include "golden.h"
#include "term/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* In an allocation of its exact length, for the sanitizers. */
static int64_t validate(const void *bytes, size_t len) {
    uint8_t *copy = malloc(len > 0 ? len : 1);
    if (len > 0)
        memcpy(copy, bytes, len);
    int64_t result = np_term_validate(copy, len);
    free(copy);
    return result;
}

#define VALIDATE(bytes) validate(bytes, sizeof(bytes) - 1)
#define REFUSED(bytes)  assert_int_equal(VALIDATE(bytes), NP_EBADTERM)
#define TAKEN(bytes)    assert_int_equal(VALIDATE(bytes), sizeof(bytes) - 1)

static void golden_terms(void **state) {
    (void)state;
    golden *g = golden_open("terms.golden");
    for (const golden_record *r; (r = golden_next(g)) != NULL;) {
        const golden_line *line = &r->lines[1];
        np_in in;
        assert_int_equal(np_term_open(&in, line->bytes, line->len), 0);
        assert_int_equal(in.pos, 0);
        assert_int_equal(in.end, line->len);
        size_t step = line->len > 5000 ? 997 : 1;
        for (size_t len = 0; len < line->len; len += step)
            assert_int_equal(validate(line->bytes, len), NP_EBADTERM);
        uint8_t *longer = malloc(line->len + 1);
        memcpy(longer, line->bytes, line->len);
        longer[line->len] = 106;
        assert_int_equal(np_term_validate(longer, line->len + 1), line->len);
        assert_int_equal(np_term_open(&in, longer, line->len + 1), NP_EBADTERM);
        free(longer);
    }
    golden_close(&g);
}

static void atoms(void **state) {
    (void)state;
    TAKEN("w\0");
    TAKEN("w\4ab\xC3\xA9");
    REFUSED("w\4abc\xC3");
    REFUSED("w\2\xC0\x80");
    REFUSED("w\3\xED\xA0\x80");
    TAKEN("v\0\1a");
    TAKEN("d\0\1\xFF");
    TAKEN("s\1\xFF");
    uint8_t bytes[3 + 1100] = {118, 0, 0};
    memset(bytes + 3, 'a', 1100);
    np_put_u16(bytes + 1, 255);
    assert_int_equal(validate(bytes, 258), 258);
    np_put_u16(bytes + 1, 256);
    assert_int_equal(validate(bytes, 259), NP_EBADTERM);
    bytes[0] = 100;
    assert_int_equal(validate(bytes, 259), NP_EBADTERM);
    for (int i = 0; i < 256; i++)
        memcpy(bytes + 3 + 4 * i, "\xF0\x9F\x98\x80", 4);
    bytes[0] = 118;
    np_put_u16(bytes + 1, 1020);
    assert_int_equal(validate(bytes, 1023), 1023);
    np_put_u16(bytes + 1, 1024);
    assert_int_equal(validate(bytes, 1027), NP_EBADTERM);
}

static void floats(void **state) {
    (void)state;
    TAKEN("F\x7F\xEF\xFF\xFF\xFF\xFF\xFF\xFF");
    REFUSED("F\x7F\xF0\0\0\0\0\0\0");
    REFUSED("F\xFF\xF0\0\0\0\0\0\0");
    REFUSED("F\x7F\xF8\0\0\0\0\0\1");
    TAKEN("c1.50000000000000000000e+00\0\0\0\0\0");
    TAKEN("c-1.5\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    REFUSED("c1.50000000000000000000e+000000000");   /* no zero byte */
    REFUSED("c1.50000000000000000000e+999\0\0\0\0"); /* infinite */
    REFUSED("cnan\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    REFUSED("c1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    REFUSED("c1.\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    REFUSED("c1.5e\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    REFUSED("c 1.5\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    REFUSED("c0x1.8\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
}

static void identifiers(void **state) {
    (void)state;
    TAKEN("Xw\3a@h\0\0\0\1\0\0\0\2\0\0\0\3");
    TAKEN("Xd\0\3a@h\0\0\0\1\0\0\0\2\0\0\0\3");
    REFUSED("Xa\3a@h\0\0\0\1\0\0\0\2\0\0\0\3"); /* node is no atom */
    REFUSED("Xw\0\0\0\0\1\0\0\0\2\0\0\0\3");    /* nor empty */
    TAKEN("gw\3a@h\0\0\0\1\0\0\0\2\3");
    TAKEN("xw\3a@h\0\0\0\0\0\0\0\1\0\0\0\2");
    TAKEN("Yw\3a@h\0\0\0\1\0\0\0\2");
    TAKEN("fw\3a@h\0\0\0\1\2");
    TAKEN("ew\3a@h\0\0\0\1\2");
    TAKEN("Z\0\1w\3a@h\0\0\0\1\0\0\0\2");
    TAKEN("r\0\2w\3a@h\1\0\0\0\2\0\0\0\2");
    TAKEN("Z\0\5w\3a@h\0\0\0\1\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5");
    REFUSED("Z\0\0w\3a@h\0\0\0\1");
    REFUSED("Z\0\6w\3a@h\0\0\0\1\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5\0\0\0\6");
    REFUSED("r\0\6w\3a@h\1\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5\0\0\0\6");
}

static void bit_strings(void **state) {
    (void)state;
    TAKEN("M\0\0\0\1\1\x80");
    TAKEN("M\0\0\0\1\x8\x80");
    TAKEN("M\0\0\0\0\0");
    REFUSED("M\0\0\0\1\0\x80");
    REFUSED("M\0\0\0\0\1");
    REFUSED("M\0\0\0\1\x9\x80");
}

static void lies_about_counts(void **state) {
    (void)state;
    REFUSED("i\xFF\xFF\xFF\xFFj");
    REFUSED("l\xFF\xFF\xFF\xFFjj");
    REFUSED("t\xFF\xFF\xFF\xFFjj");
    REFUSED("t\x80\0\0\0jj");
    REFUSED("m\xFF\xFF\xFF\xFFx");
    REFUSED("o\xFF\xFF\xFF\xFF\0x");
    REFUSED("M\xFF\xFF\xFF\xFF\x8x");
    REFUSED("k\0\2x");
    REFUSED("n\2\0x");
    REFUSED("h\2j");
    REFUSED("l\0\0\0\0j"); /* an empty list is nil */
    REFUSED("l\0\0\0\1j");
    TAKEN("l\0\0\0\1jj");
    TAKEN("k\0\0");
    TAKEN("i\0\0\0\0");
    TAKEN("t\0\0\0\0");
}

static void refused_tags(void **state) {
    (void)state;
    static const uint8_t known[] = {70,  77,  88,  89,  90,  97,  98,  99,  100, 101, 102, 103, 104, 105,
                                    106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 118, 119, 120};
    for (int tag = 0; tag < 256; tag++) {
        uint8_t bytes[64] = {(uint8_t)tag};
        int64_t result = np_term_validate(bytes, sizeof(bytes));
        if (memchr(known, tag, sizeof(known)) == NULL)
            assert_int_equal(result, NP_EBADTERM);
    }
}

/* A fun's size must be the size of what it holds. */
static void funs(void **state) {
    (void)state;
    uint8_t fun[] = "p\0\0\0\x37\0"
                    "0123456789abcdef"
                    "\0\0\0\0\0\0\0\1w\1ma\0a\0Xw\3a@h\0\0\0\1\0\0\0\0\0\0\0\5j";
    size_t len = sizeof(fun) - 1;
    fun[4] = (uint8_t)(len - 1);
    assert_int_equal(validate(fun, len), len);
    for (int wrong = -60; wrong <= 60; wrong++) {
        uint8_t copy[sizeof(fun)];
        memcpy(copy, fun, sizeof(fun));
        np_put_u32(copy + 1, (uint32_t)((int)len - 1 + wrong));
        if (wrong != 0)
            assert_int_equal(validate(copy, len), NP_EBADTERM);
    }
    fun[29] = 2; /* more free variables than there are */
    assert_int_equal(validate(fun, len), NP_EBADTERM);
    fun[29] = 0;
    assert_int_equal(validate(fun, len), NP_EBADTERM);
}

static void exports(void **state) {
    (void)state;
    TAKEN("qw\1mw\1fa\2");
    REFUSED("qw\1mw\1fb\0\0\0\2");
    REFUSED("qa\1w\1fa\2");
    REFUSED("qw\1ma\1a\2");
}

static void depth(void **state) {
    (void)state;
    static uint8_t bytes[4 * NP_TERM_DEPTH_MAX];
    for (size_t n = 0; n < sizeof(bytes); n += 2)
        memcpy(bytes + n, "h\1", 2);
    bytes[2 * NP_TERM_DEPTH_MAX] = 106;
    assert_int_equal(validate(bytes, 2 * NP_TERM_DEPTH_MAX + 1), 2 * NP_TERM_DEPTH_MAX + 1);
    assert_int_equal(validate(bytes, 2 * NP_TERM_DEPTH_MAX), NP_EBADTERM);
    memcpy(bytes + 2 * NP_TERM_DEPTH_MAX, "h\1j", 3);
    assert_int_equal(validate(bytes, 2 * NP_TERM_DEPTH_MAX + 3), NP_ELIMIT);
    /* A hundred thousand containers beside each other are no depth. */
    uint8_t *wide = malloc(6 + 300000);
    memcpy(wide, "l\0\1\x86\xA0", 5);
    for (int i = 0; i < 100000; i++)
        memcpy(wide + 5 + 3 * i, "h\1j", 3);
    wide[5 + 300000] = 106;
    assert_int_equal(np_term_validate(wide, 6 + 300000), 6 + 300000);
    free(wide);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_terms), cmocka_unit_test(atoms),       cmocka_unit_test(floats),
        cmocka_unit_test(identifiers),  cmocka_unit_test(bit_strings), cmocka_unit_test(lies_about_counts),
        cmocka_unit_test(refused_tags), cmocka_unit_test(funs),        cmocka_unit_test(exports),
        cmocka_unit_test(depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
