/* Pids and references: equality, hash, order, text. */
#include "term/ids.h"
#include "term/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void pids(void **state) {
    (void)state;
    np_node_id a = np_name_id("a@h");
    np_node_id b = np_name_id("b@h");
    /* In Erlang's order: serial, num, node, creation. */
    const np_pid sorted[] = {{a, 1, 0, 5}, {a, 1, 0, 6},          {b, 1, 0, 5},
                             {a, 2, 0, 5}, {a, 0x80000000, 0, 5}, {b, 0, 1, 4}};
    enum { COUNT = sizeof(sorted) / sizeof(sorted[0]) };
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < COUNT; j++) {
            int order = np_pid_cmp(&sorted[i], &sorted[j]);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
            assert_int_equal(np_pid_eq(&sorted[i], &sorted[j]), i == j);
            assert_int_equal(np_pid_hash(&sorted[i]) == np_pid_hash(&sorted[j]), i == j);
        }
    }
    np_pid none = {0};
    assert_true(np_pid_none(&none));
    assert_false(np_pid_none(&sorted[0]));
}

static void refs(void **state) {
    (void)state;
    np_node_id a = np_name_id("a@h");
    np_ref ref = {a, 5, 3, {1, 2, 3, 0, 0}};
    np_ref same = ref;
    assert_true(np_ref_eq(&ref, &same));
    same.len = 5; /* further words are zero: the same for OTP */
    assert_true(np_ref_eq(&ref, &same));
    assert_true(np_ref_hash(&ref) == np_ref_hash(&same));
    for (int i = 0; i < NP_REF_WORDS_MAX; i++) {
        np_ref other = ref;
        other.id[i]++;
        assert_false(np_ref_eq(&ref, &other));
        assert_true(np_ref_hash(&ref) != np_ref_hash(&other));
    }
    np_ref other = ref;
    other.creation = 6;
    assert_false(np_ref_eq(&ref, &other));
    other = ref;
    other.node = np_name_id("b@h");
    assert_false(np_ref_eq(&ref, &other));
    np_ref none = {0};
    assert_true(np_ref_none(&none));
}

static void text(void **state) {
    (void)state;
    char buf[NP_ID_TEXT_MAX];
    np_pid pid = {np_name_id("a@h"), 1, 2, 3};
    assert_string_equal(np_pid_text(&pid, buf), "<a@h.1.2.3>");
    np_ref ref = {np_name_id("a@h"), 5, 3, {1, 2, 3, 0, 0}};
    assert_string_equal(np_ref_text(&ref, buf), "#Ref<a@h.5.1.2.3>");
    /* The longest there can be. */
    char name[1021] = "";
    for (int i = 0; i < 255; i++)
        strcat(name, "\xF0\x9F\x98\x80");
    np_ref longest = {np_name_id(name), UINT32_MAX, 5, {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}};
    assert_int_equal(strlen(np_ref_text(&longest, buf)), 5 + 1020 + 6 * 11 + 1);
    assert_int_equal(buf[strlen(buf) - 1], '>');
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(pids), cmocka_unit_test(refs), cmocka_unit_test(text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
