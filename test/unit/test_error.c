/* Every error code has its text and its name. */
#include <native_pool/types.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ctype.h>

static void texts(void **state) {
    (void)state;
#define CHECK(name, value, text) assert_string_equal(np_strerror(value), text);
    NP_ERRORS(CHECK)
#undef CHECK
    assert_string_equal(np_strerror(0), "success");
    assert_string_equal(np_strerror(1), "unknown error");
    assert_string_equal(np_strerror(-1000), "unknown error");
}

/* The constant's name without NP_E, in lower case. */
static void names(void **state) {
    (void)state;
    static const struct {
        int value;
        const char *constant;
    } all[] = {
#define ITEM(name, value, text) {value, #name},
        NP_ERRORS(ITEM)
#undef ITEM
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char expected[32] = "";
        for (size_t j = 0; all[i].constant[j + 1] != '\0'; j++)
            expected[j] = (char)tolower((unsigned char)all[i].constant[j + 1]);
        assert_string_equal(np_error_name(all[i].value), expected);
    }
    assert_string_equal(np_error_name(0), "ok");
    assert_string_equal(np_error_name(-1000), "unknown");
    assert_string_equal(np_error_name(5), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts), cmocka_unit_test(names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
