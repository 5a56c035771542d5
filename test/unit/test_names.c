/* Node names as numbers. */
#include "base/limits.h"
#include "term/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void intern(void **state) {
    (void)state;
    np_node_id a = 0;
    np_node_id b = 0;
    assert_int_equal(np_name_intern("a@127.0.0.1", 11, &a), 0);
    assert_int_equal(np_name_intern("a@127.0.0.12", 12, &b), 0);
    assert_true(a != 0 && b != 0 && a != b);
    np_node_id again = 0;
    assert_int_equal(np_name_intern("a@127.0.0.12", 11, &again), 0); /* not terminated */
    assert_int_equal(again, a);
    assert_int_equal(np_name_id("a@127.0.0.1"), a);
    assert_string_equal(np_name_text(a), "a@127.0.0.1");
    assert_int_equal(np_name_str(b).len, 12);
    np_bytes atom = np_name_atom(a);
    assert_int_equal(atom.len, 13);
    assert_memory_equal(atom.data,
                        "w\x0B"
                        "a@127.0.0.1",
                        13);
    assert_string_equal(np_name_text(0), "");
    assert_int_equal(np_name_str(0).len, 0);
}

static void refused(void **state) {
    (void)state;
    np_node_id id = 77;
    char text[2000];
    memset(text, 'x', sizeof(text));
    assert_int_equal(np_name_intern("", 0, &id), NP_EINVAL);
    assert_int_equal(np_name_intern(text, 1021, &id), NP_EINVAL);
    assert_int_equal(np_name_intern(text, 256, &id), NP_EINVAL);
    assert_int_equal(np_name_intern("a\xFF", 2, &id), NP_EINVAL);
    assert_int_equal(id, 77);
    assert_int_equal(np_name_intern(text, 255, &id), 0);
    for (int i = 0; i < 255; i++)
        memcpy(text + 4 * i, "\xF0\x9F\x98\x80", 4);
    assert_int_equal(np_name_intern(text, 1020, &id), 0);
    assert_int_equal(np_name_atom(id).len, 1023);
    assert_memory_equal(np_name_atom(id).data, "v\x03\xFC\xF0", 4);
    assert_memory_equal(np_name_text(id), text, 1020);
}

static void order(void **state) {
    (void)state;
    np_node_id a = np_name_id("a@h");
    np_node_id aa = np_name_id("aa@h");
    np_node_id long_a = np_name_id("a@host");
    assert_int_equal(np_name_cmp(a, a), 0);
    assert_true(np_name_cmp(a, aa) < 0 && np_name_cmp(aa, a) > 0);
    assert_true(np_name_cmp(a, long_a) < 0 && np_name_cmp(long_a, a) > 0);
    assert_true(np_name_cmp(a, np_name_id("\xC3\xA9@h")) < 0);
}

/* Last: it fills the table. */
static void limit(void **state) {
    (void)state;
    char text[32];
    np_node_id id = 0;
    int error = 0;
    int added = 0;
    for (; error == 0; added++)
        error = np_name_intern(text, (size_t)sprintf(text, "n%d@h", added), &id);
    assert_int_equal(error, NP_ELIMIT);
    assert_in_range(added, NP_NODE_NAMES_MAX - 20, NP_NODE_NAMES_MAX);
    for (int i = 0; i < added - 1; i++) {
        assert_int_equal(np_name_intern(text, (size_t)sprintf(text, "n%d@h", i), &id), 0);
        assert_string_equal(np_name_text(id), text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(intern), cmocka_unit_test(refused), cmocka_unit_test(order),
                                       cmocka_unit_test(limit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
