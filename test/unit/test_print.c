/* Terms as text: every captured term and control message prints as its capture says, and a long text is cut where it
 * should be. */
#include "base/buf.h"
#include "golden.h"
#include "term/print.h"
#include "term/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The printed form of the next term, in an allocation. */
static char *printed(const np_in *in) {
    np_buf out = NP_BUF_INIT;
    assert_int_equal(np_term_print(in, &out, SIZE_MAX), 0);
    assert_int_equal(np_buf_append_u8(&out, 0), 0);
    char *text = strdup((const char *)np_buf_head(&out));
    np_buf_fini(&out);
    return text;
}

static void check(const np_in *in, const char *expected) {
    char *text = printed(in);
    if (!golden_text_matches(expected, text))
        assert_string_equal(text, expected);
    free(text);
}

static void golden_terms(void **state) {
    (void)state;
    golden *g = golden_open("terms.golden");
    unsigned count = 0;
    for (const golden_record *r; (r = golden_next(g)) != NULL; count++) {
        assert_int_equal(r->count, 2);
        np_in in;
        assert_int_equal(np_term_open(&in, r->lines[1].bytes, r->lines[1].len), 0);
        check(&in, r->lines[0].text);
    }
    assert_true(count > 100);
    golden_close(&g);
}

/* Packets with the short header 131,68,0: the control tuple and the payload are what the = lines above say. */
static void golden_control(void **state) {
    (void)state;
    golden *g = golden_open("control.golden");
    unsigned count = 0;
    for (const golden_record *r; (r = golden_next(g)) != NULL;) {
        for (size_t i = 0, first = 0; i < r->count; i++) {
            const golden_line *line = &r->lines[i];
            if (line->kind == GOLDEN_TEXT)
                continue;
            if (line->len > 3 && memcmp(line->bytes, "\x83\x44\x00", 3) == 0 && first < i) {
                const uint8_t *at = line->bytes + 3;
                const uint8_t *end = line->bytes + line->len;
                for (; first < i; first++, count++) {
                    int64_t len = np_term_validate(at, (size_t)(end - at));
                    assert_true(len > 0);
                    np_in in = {at, 0, (size_t)len};
                    check(&in, r->lines[first].text);
                    at += len;
                }
                assert_ptr_equal(at, end);
            }
            first = i + 1;
        }
    }
    assert_true(count > 500);
    golden_close(&g);
}

static void check_bytes(const void *bytes, size_t len, const char *expected) {
    np_in in;
    assert_int_equal(np_term_open(&in, bytes, len), 0);
    check(&in, expected);
}

#define CHECK(bytes, expected) check_bytes(bytes, sizeof(bytes) - 1, expected)

static void old_forms(void **state) {
    (void)state;
    CHECK("\x64\0\2ok", "ok");
    CHECK("\x73\4caf\xE9", "café");
    CHECK("\x73\1\xD7", "'×'");
    CHECK("\x63"
          "1.50000000000000000000e+00\0\0\0\0\0",
          "1.5");
    CHECK("\x67\x64\0\3a@h\0\0\0\7\0\0\0\1\2", "#Pid<a@h,7,1,2>");
    CHECK("\x66\x64\0\3a@h\0\0\0\7\2", "#Port<a@h,7,2>");
    CHECK("\x59\x64\0\3a@h\0\0\0\7\0\0\0\2", "#Port<a@h,7,2>");
    CHECK("\x65\x64\0\3a@h\0\0\0\7\2", "#Ref<a@h,2,[7]>");
    CHECK("\x72\0\2\x64\0\3a@h\2\0\0\0\7\0\0\0\x8", "#Ref<a@h,2,[7,8]>");
    CHECK("\x6E\1\1\0", "0");
    CHECK("\x62\0\0\0\5", "5");
    CHECK("\x69\0\0\0\1j", "{[]}");
    CHECK("\x6B\0\0", "[]");
    CHECK("\x6C\0\0\0\1\x61\1\x6B\0\2\2\3", "[1,2,3]");
    CHECK("\x6C\0\0\0\1\x61\1\x6C\0\0\0\1\x61\2\x61\3", "[1,2|3]");
    CHECK("\x4D\0\0\0\2\x8\1\2", "<<1,2>>");
}

static void quoting(void **state) {
    (void)state;
    CHECK("w\2of", "'of'");
    CHECK("w\5maybe", "maybe");
    CHECK("w\3aB@", "aB@");
    CHECK("w\2A1", "'A1'");
    CHECK("w\2_x", "'_x'");
    CHECK("w\7\n\\'\x7F\x1B\x01\"", "'\\n\\\\\\'\\d\\e\\001\"'");
    CHECK("w\2\xC2\x85", "'\\205'");
}

static void floats(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.001, "0.001"},
        {0.0001, "0.0001"},
        {0.00012, "1.2e-4"},
        {123456.0, "123456.0"},
        {1e5, "1.0e5"},
        {12e5, "1.2e6"},
        {0.05, "0.05"},
        {0.0125, "0.0125"},
        {100.0, "100.0"},
        {1000.0, "1.0e3"},
        {1234567890123456.0, "1234567890123456.0"},
        {9007199254740991.0, "9007199254740991.0"},
        {0.1 + 0.2, "0.30000000000000004"},
        {-2.5e-7, "-2.5e-7"},
        {0x1p-1017, "7.120236347223045e-307"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t bytes[9] = {70};
        uint64_t bits;
        memcpy(&bits, &cases[i].value, 8);
        np_put_u64(bytes + 1, bits);
        check_bytes(bytes, sizeof(bytes), cases[i].text);
    }
}

static void huge_integers(void **state) {
    (void)state;
    uint8_t bytes[6 + 2000] = {111, 0, 0, 0x07, 0xD0, 1};
    memset(bytes + 6, 0xAB, 2000);
    bytes[sizeof(bytes) - 1] = 0x0C;
    np_in in;
    assert_int_equal(np_term_open(&in, bytes, sizeof(bytes)), 0);
    char *text = printed(&in);
    assert_int_equal(strlen(text), 4 + 1 + 2 * 1999);
    assert_memory_equal(text, "-16#CABAB", 9);
    free(text);
}

static void cutting(void **state) {
    (void)state;
    char text[64];
    np_in in;
    const char list[] = "\x6C\0\0\0\3\x77\3abc\x77\3def\x77\2\xC3\xA9\x6A";
    assert_int_equal(np_term_open(&in, (const uint8_t *)list, sizeof(list) - 1), 0);
    assert_string_equal(np_term_text(&in, text, sizeof(text)), "[abc,def,é]");
    /* The é counts two bytes: 12 in all. */
    const struct {
        size_t most;
        const char *text;
    } cases[] = {{12, "[abc,def,é]"}, {11, "[abc,def,é..."}, {10, "[abc,def,..."},
                 {9, "[abc,def,..."}, {4, "[abc..."},        {1, "[..."},
                 {0, "..."}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        np_buf out = NP_BUF_INIT;
        assert_int_equal(np_buf_append(&out, "x=", 2), 0);
        assert_int_equal(np_term_print(&in, &out, cases[i].most), 0);
        assert_int_equal(np_buf_append_u8(&out, 0), 0);
        assert_string_equal((const char *)np_buf_head(&out) + 2, cases[i].text);
        np_buf_fini(&out);
    }
    assert_string_equal(np_term_text(&in, text, 8), "[abc...");
    assert_string_equal(np_term_text(&in, text, 1), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_terms), cmocka_unit_test(golden_control), cmocka_unit_test(old_forms),
        cmocka_unit_test(quoting),      cmocka_unit_test(floats),         cmocka_unit_test(huge_integers),
        cmocka_unit_test(cutting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
