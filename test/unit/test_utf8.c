/* UTF-8: every character goes there and back; what is not UTF-8 is refused. */
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void round_trip(void **state) {
    (void)state;
    for (uint32_t point = 0; point <= 0x10FFFF; point++) {
        if (point == 0xD800)
            point = 0xE000;
        uint8_t bytes[4];
        uint32_t len = np_utf8_put(bytes, point);
        uint32_t back;
        assert_int_equal(np_utf8_next(bytes, len, &back), len);
        assert_int_equal(back, point);
        assert_int_equal(np_utf8_count(bytes, len), 1);
        if (len > 1)
            assert_int_equal(np_utf8_count(bytes, len - 1), -1);
    }
}

static void refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "\x80",         "\xC0\x80",         "\xC1\xBF",         "\xE0\x9F\xBF",     "\xED\xA0\x80",
        "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF",
        "\xC3(",        "\xE2\x82("};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[32] = "some ascii before it ";
        strcat(text, bad[i]);
        assert_int_equal(np_utf8_count((const uint8_t *)text, strlen(text)), -1);
    }
}

static void count(void **state) {
    (void)state;
    const char *text = "abcdefgh\xC3\xA9ijklmnopqrstu\xE6\x97\xA5\xF0\x9F\x98\x80";
    assert_int_equal(np_utf8_count((const uint8_t *)text, strlen(text)), 8 + 1 + 13 + 2);
    assert_int_equal(np_utf8_count((const uint8_t *)text, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(refused),
                                       cmocka_unit_test(count)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
