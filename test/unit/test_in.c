/* The reading functions: values, ranges, and that a failure leaves the cursor where it was. */
#include "term/names.h"
#include "term/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static np_in open_bytes(const char *bytes, size_t len) {
    np_in in;
    assert_int_equal(np_term_open(&in, (const uint8_t *)bytes, len), 0);
    return in;
}

#define OPEN(bytes) open_bytes(bytes, sizeof(bytes) - 1)

static void at_end(void **state) {
    (void)state;
    np_in in = OPEN("a\1");
    uint64_t n = 0;
    assert_int_equal(np_in_uint64(&in, &n), 0);
    assert_true(np_in_at_end(&in));
    np_in end = in;
    uint32_t count;
    int64_t i;
    double d;
    bool b;
    np_bytes bytes;
    np_pid pid;
    np_ref ref;
    np_list list;
    char text[8];
    assert_int_equal(np_in_type(&in), NP_TYPE_END);
    assert_int_equal(np_in_match(&in, "a"), NP_ETYPE);
    assert_int_equal(np_in_atom(&in, text, sizeof(text)), NP_ETYPE);
    assert_int_equal(np_in_bool(&in, &b), NP_ETYPE);
    assert_int_equal(np_in_int64(&in, &i), NP_ETYPE);
    assert_int_equal(np_in_uint64(&in, &n), NP_ETYPE);
    assert_int_equal(np_in_double(&in, &d), NP_ETYPE);
    assert_int_equal(np_in_binary(&in, &bytes), NP_ETYPE);
    assert_int_equal(np_in_tuple(&in, &count), NP_ETYPE);
    assert_int_equal(np_in_tuple_of(&in, 0), NP_ETYPE);
    assert_int_equal(np_in_map(&in, &count), NP_ETYPE);
    assert_int_equal(np_in_pid(&in, &pid), NP_ETYPE);
    assert_int_equal(np_in_ref(&in, &ref), NP_ETYPE);
    assert_int_equal(np_in_term(&in, NULL), NP_ETYPE);
    assert_int_equal(np_in_list(&in, &list), NP_ETYPE);
    assert_int_equal(np_in_text(&in, text, sizeof(text)), NP_ETYPE);
    assert_int_equal(np_in_map_get(&in, "a", &in), NP_ETYPE);
    assert_memory_equal(&in, &end, sizeof(in));
}

/* The way of term.h's example. */
static void alternatives(void **state) {
    (void)state;
    np_in in = OPEN("h\2w\3addb\0\0\1\0");
    int64_t n = 0;
    assert_int_equal(np_in_match(&in, "increment"), NP_ETYPE);
    assert_int_equal(np_in_tuple_of(&in, 3), NP_ETYPE);
    assert_int_equal(in.pos, 0);
    assert_int_equal(np_in_tuple_of(&in, 2), 0);
    assert_int_equal(np_in_match(&in, "ad"), NP_ETYPE);
    assert_int_equal(np_in_match(&in, "addd"), NP_ETYPE);
    assert_int_equal(np_in_match(&in, "add"), 0);
    assert_int_equal(np_in_int64(&in, &n), 0);
    assert_int_equal(n, 256);
    assert_true(np_in_at_end(&in));
}

static void atoms(void **state) {
    (void)state;
    char text[16];
    np_in in = OPEN("s\4caf\xE9");
    assert_int_equal(np_in_match(&in, "caf"), NP_ETYPE);
    assert_int_equal(np_in_atom(&in, text, 5), NP_ELIMIT);
    assert_int_equal(in.pos, 0);
    assert_int_equal(np_in_atom(&in, text, 6), 5);
    assert_string_equal(text, "caf\xC3\xA9");
    in.pos = 0;
    assert_int_equal(np_in_match(&in, "caf\xC3\xA9"), 0);
    in = OPEN("d\0\2ok");
    assert_int_equal(np_in_match(&in, "ok"), 0);
    in = OPEN("v\0\2ok");
    assert_int_equal(np_in_match(&in, "ok"), 0);
    in = OPEN("w\0");
    assert_int_equal(np_in_atom(&in, text, 1), 0);
    assert_string_equal(text, "");
    bool value = false;
    in = OPEN("w\4true");
    assert_int_equal(np_in_bool(&in, &value), 0);
    assert_true(value);
    in = OPEN("d\0\5false");
    assert_int_equal(np_in_bool(&in, &value), 0);
    assert_false(value);
    in = OPEN("w\3yes");
    assert_int_equal(np_in_bool(&in, &value), NP_ETYPE);
}

static void integers(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        int signed_error;
        int64_t value;
        int unsigned_error;
        uint64_t natural;
    } cases[] = {
#define CASE(bytes, e, v, ue, u) {bytes, sizeof(bytes) - 1, e, v, ue, u}
        CASE("a\xFF", 0, 255, 0, 255),
        CASE("b\xFF\xFF\xFF\xFF", 0, -1, NP_ERANGE, 0),
        CASE("b\x7F\xFF\xFF\xFF", 0, INT32_MAX, 0, INT32_MAX),
        CASE("b\x80\0\0\0", 0, INT32_MIN, NP_ERANGE, 0),
        CASE("n\x8\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", 0, INT64_MAX, 0, INT64_MAX),
        CASE("n\x8\0\0\0\0\0\0\0\0\x80", NP_ERANGE, 0, 0, UINT64_C(1) << 63),
        CASE("n\x8\1\0\0\0\0\0\0\0\x80", 0, INT64_MIN, NP_ERANGE, 0),
        CASE("n\x8\1\1\0\0\0\0\0\0\x80", NP_ERANGE, 0, NP_ERANGE, 0),
        CASE("n\x8\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", NP_ERANGE, 0, 0, UINT64_MAX),
        CASE("n\x9\0\0\0\0\0\0\0\0\0\1", NP_ERANGE, 0, NP_ERANGE, 0),
        CASE("n\xA\0\7\0\0\0\0\0\0\0\0\0", 0, 7, 0, 7),
        CASE("o\0\0\0\2\1\7\0", 0, -7, NP_ERANGE, 0),
        CASE("n\0\1", 0, 0, 0, 0),
        CASE("n\1\1\0", 0, 0, 0, 0),
        CASE("F\0\0\0\0\0\0\0\0", NP_ETYPE, 0, NP_ETYPE, 0),
#undef CASE
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        np_in in = open_bytes(cases[i].bytes, cases[i].len);
        assert_int_equal(np_in_type(&in), cases[i].signed_error == NP_ETYPE ? NP_TYPE_FLOAT : NP_TYPE_INT);
        int64_t value = 0;
        uint64_t natural = 0;
        assert_int_equal(np_in_int64(&in, &value), cases[i].signed_error);
        assert_true(value == cases[i].value);
        assert_int_equal(in.pos, cases[i].signed_error == 0 ? cases[i].len : 0);
        in.pos = 0;
        assert_int_equal(np_in_uint64(&in, &natural), cases[i].unsigned_error);
        assert_true(natural == cases[i].natural);
        assert_int_equal(in.pos, cases[i].unsigned_error == 0 ? cases[i].len : 0);
    }
}

static double as_double(np_in in) {
    double value = -1;
    assert_int_equal(np_in_double(&in, &value), 0);
    assert_true(np_in_at_end(&in));
    return value;
}

static void doubles(void **state) {
    (void)state;
    assert_true(as_double(OPEN("F\x3F\xF8\0\0\0\0\0\0")) == 1.5);
    assert_true(as_double(OPEN("c-1.50000000000000000000e+00\0\0\0\0")) == -1.5);
    assert_true(as_double(OPEN("b\xFF\xFF\xFF\xFE")) == -2);
    assert_true(as_double(OPEN("n\x9\1\0\0\0\0\0\0\0\0\1")) == -0x1p64);
    /* 2^64 + 2^11 lies between two doubles: to the even one; one more goes up. */
    assert_true(as_double(OPEN("n\x9\0\0\x8\0\0\0\0\0\0\1")) == 0x1p64);
    assert_true(as_double(OPEN("n\x9\0\1\x8\0\0\0\0\0\0\1")) == 0x1p64 + 0x1p12);
    uint8_t big[3 + 129] = {110, 129, 0};
    big[3 + 127] = 0x80;
    np_in in;
    assert_int_equal(np_term_open(&in, big, sizeof(big)), 0);
    assert_true(as_double(in) == 0x1p1023);
    big[3 + 128] = 1;
    double value;
    assert_int_equal(np_in_double(&in, &value), NP_ERANGE);
    big[3 + 128] = 0;
    memset(big + 3, 0xFF, 128); /* rounds up to infinity */
    assert_int_equal(np_in_double(&in, &value), NP_ERANGE);
    assert_int_equal(in.pos, 0);
    in = OPEN("w\1a");
    assert_int_equal(np_in_double(&in, &value), NP_ETYPE);
}

static void binaries(void **state) {
    (void)state;
    np_bytes bytes;
    np_in in = OPEN("m\0\0\0\3abc");
    assert_int_equal(np_in_binary(&in, &bytes), 0);
    assert_int_equal(bytes.len, 3);
    assert_memory_equal(bytes.data, "abc", 3);
    in = OPEN("M\0\0\0\2\x8xy");
    assert_int_equal(np_in_binary(&in, &bytes), 0);
    assert_memory_equal(bytes.data, "xy", 2);
    in = OPEN("M\0\0\0\2\7xy");
    assert_int_equal(np_in_type(&in), NP_TYPE_BITSTRING);
    assert_int_equal(np_in_binary(&in, &bytes), NP_ETYPE);
    assert_int_equal(in.pos, 0);
}

static void identifiers(void **state) {
    (void)state;
    np_pid pid;
    np_in in = OPEN("Xw\3a@h\0\0\0\1\0\0\0\2\xFF\0\0\3");
    assert_int_equal(np_in_pid(&in, &pid), 0);
    assert_true(np_in_at_end(&in));
    assert_string_equal(np_name_text(pid.node), "a@h");
    assert_int_equal(pid.num, 1);
    assert_int_equal(pid.serial, 2);
    assert_int_equal(pid.creation, 0xFF000003);
    np_pid old;
    in = OPEN("gd\0\3a@h\0\0\0\1\0\0\0\2\3");
    assert_int_equal(np_in_pid(&in, &old), 0);
    assert_int_equal(old.node, pid.node);
    assert_int_equal(old.creation, 3);
    np_ref ref;
    memset(&ref, 0xEE, sizeof(ref));
    in = OPEN("Z\0\3w\3a@h\0\0\0\5\0\0\0\1\0\0\0\2\0\0\0\3");
    assert_int_equal(np_in_pid(&in, &pid), NP_ETYPE);
    assert_int_equal(np_in_ref(&in, &ref), 0);
    assert_true(np_in_at_end(&in));
    const np_ref expected = {pid.node, 5, 3, {1, 2, 3, 0, 0}};
    assert_memory_equal(&ref, &expected, sizeof(ref));
    in = OPEN("r\0\2w\3a@h\5\0\0\0\1\0\0\0\2");
    assert_int_equal(np_in_ref(&in, &ref), 0);
    assert_int_equal(ref.len, 2);
    assert_int_equal(ref.creation, 5);
    in = OPEN("ew\3a@h\0\0\0\x9\5");
    assert_int_equal(np_in_ref(&in, &ref), 0);
    assert_int_equal(ref.len, 1);
    assert_int_equal(ref.id[0], 9);
    in = OPEN("gs\3\xE9@h\0\0\0\1\0\0\0\2\3");
    assert_int_equal(np_in_pid(&in, &pid), 0);
    assert_string_equal(np_name_text(pid.node), "\xC3\xA9@h");
}

static void terms(void **state) {
    (void)state;
    np_in in = OPEN("h\3h\1jt\0\0\0\1w\1aa\1l\0\0\0\1jw\1t");
    uint32_t arity = 0;
    np_in term;
    assert_int_equal(np_in_tuple(&in, &arity), 0);
    assert_int_equal(arity, 3);
    assert_int_equal(np_in_term(&in, &term), 0);
    assert_int_equal(np_in_bytes(&term).len, 3);
    assert_int_equal(np_in_type(&term), NP_TYPE_TUPLE);
    assert_int_equal(np_in_term(&in, &term), 0);
    assert_int_equal(np_in_type(&term), NP_TYPE_MAP);
    assert_int_equal(np_in_bytes(&term).len, 10);
    assert_int_equal(np_in_term(&in, NULL), 0);
    assert_true(np_in_at_end(&in));
    in = OPEN("i\0\0\0\1j");
    assert_int_equal(np_in_tuple_of(&in, 1), 0);
    assert_int_equal(in.pos, 5);
}

/* All these are [1,2,3], but for the tail. */
static void lists(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        bool proper;
    } cases[] = {
#define CASE(bytes, proper) {bytes, sizeof(bytes) - 1, proper}
        CASE("k\0\3\1\2\3", true),
        CASE("l\0\0\0\3a\1a\2a\3j", true),
        CASE("l\0\0\0\3a\1a\2a\3k\0\0", true),
        CASE("l\0\0\0\1a\1k\0\2\2\3", true),
        CASE("l\0\0\0\1a\1l\0\0\0\2a\2a\3j", true),
        CASE("l\0\0\0\3a\1a\2a\3w\1t", false),
        CASE("l\0\0\0\1a\1l\0\0\0\2a\2a\3w\1t", false),
#undef CASE
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        np_in in = open_bytes(cases[i].bytes, cases[i].len);
        np_list list;
        np_in element;
        int64_t expected = 1;
        assert_int_equal(np_in_type(&in), NP_TYPE_LIST);
        assert_int_equal(np_in_list(&in, &list), 0);
        assert_true(np_in_at_end(&in));
        for (; np_list_next(&list, &element); expected++) {
            int64_t value = 0;
            assert_int_equal(np_in_int64(&element, &value), 0);
            assert_true(np_in_at_end(&element));
            assert_int_equal(value, expected);
        }
        assert_int_equal(expected, 4);
        assert_false(np_list_next(&list, &element));
        np_in tail;
        assert_int_equal(np_list_tail(&list, &tail), cases[i].proper);
        assert_int_equal(np_list_proper(&list), cases[i].proper);
        assert_int_equal(np_in_type(&tail), cases[i].proper ? NP_TYPE_LIST : NP_TYPE_ATOM);
        if (!cases[i].proper)
            assert_int_equal(np_in_match(&tail, "t"), 0);
    }
    np_in in = OPEN("j");
    np_list list;
    np_in element;
    assert_int_equal(np_in_list(&in, &list), 0);
    assert_false(np_list_next(&list, &element));
    assert_true(np_list_proper(&list));
    in = OPEN("m\0\0\0\0");
    assert_int_equal(np_in_list(&in, &list), NP_ETYPE);
}

static void texts(void **state) {
    (void)state;
    char buf[4];
    np_in in = OPEN("m\0\0\0\3abc");
    assert_int_equal(np_in_text(&in, buf, 2), NP_ELIMIT);
    assert_int_equal(in.pos, 0);
    assert_int_equal(np_in_text(&in, buf, 3), 3);
    assert_memory_equal(buf, "abc", 3);
    in = OPEN("k\0\3xyz");
    assert_int_equal(np_in_text(&in, buf, 2), NP_ELIMIT);
    assert_int_equal(np_in_text(&in, buf, 4), 3);
    assert_memory_equal(buf, "xyz", 3);
    assert_true(np_in_at_end(&in));
    in = OPEN("l\0\0\0\2aab\0\0\0cj");
    assert_int_equal(np_in_text(&in, buf, 4), 2);
    assert_memory_equal(buf, "ac", 2);
    in = OPEN("j");
    assert_int_equal(np_in_text(&in, buf, 4), 0);
    in = OPEN("l\0\0\0\1b\0\0\1\0j");
    assert_int_equal(np_in_text(&in, buf, 4), NP_ETYPE);
    in = OPEN("l\0\0\0\1aaaa");
    assert_int_equal(np_in_text(&in, buf, 4), NP_ETYPE);
    assert_int_equal(in.pos, 0);
}

static void maps(void **state) {
    (void)state;
    np_in in = OPEN("t\0\0\0\3a\1w\1bd\0\1bh\1jw\1cw\1b");
    np_in value;
    assert_int_equal(np_in_map_get(&in, "b", &value), 0);
    assert_int_equal(np_in_bytes(&value).len, 3);
    assert_int_equal(np_in_map_get(&in, "c", &value), 0);
    assert_int_equal(np_in_match(&value, "b"), 0);
    assert_int_equal(np_in_map_get(&in, "d", &value), NP_ENOENT);
    assert_int_equal(in.pos, 0);
    uint32_t pairs = 0;
    assert_int_equal(np_in_map(&in, &pairs), 0);
    assert_int_equal(pairs, 3);
    assert_int_equal(np_in_map_get(&in, "b", &value), NP_ETYPE);
}

static void types(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        np_type type;
    } cases[] = {
#define CASE(bytes, type) {bytes, sizeof(bytes) - 1, type}
        CASE("o\0\0\0\0\0", NP_TYPE_INT),  CASE("s\1a", NP_TYPE_ATOM),           CASE("fw\1a\0\0\0\1\2", NP_TYPE_PORT),
        CASE("qw\1aw\1ba\0", NP_TYPE_FUN), CASE("h\0", NP_TYPE_TUPLE),           CASE("t\0\0\0\0", NP_TYPE_MAP),
        CASE("k\0\0", NP_TYPE_LIST),       CASE("m\0\0\0\0", NP_TYPE_BITSTRING),
#undef CASE
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        np_in in = open_bytes(cases[i].bytes, cases[i].len);
        assert_int_equal(np_in_type(&in), cases[i].type);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_end),      cmocka_unit_test(alternatives), cmocka_unit_test(atoms),
        cmocka_unit_test(integers),    cmocka_unit_test(doubles),      cmocka_unit_test(binaries),
        cmocka_unit_test(identifiers), cmocka_unit_test(terms),        cmocka_unit_test(lists),
        cmocka_unit_test(texts),       cmocka_unit_test(maps),         cmocka_unit_test(types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
