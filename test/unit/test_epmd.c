/* epmd's requests byte for byte, its answers whole, cut short and wrong, and the check of node names. */
#include "dist/epmd.h"

#include <native_pool/term.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_bytes(np_buf *buf, const void *expected, size_t len) {
    assert_int_equal(np_buf_len(buf), len);
    assert_memory_equal(np_buf_head(buf), expected, len);
    np_buf_fini(buf);
}

static void requests(void **state) {
    (void)state;
    np_buf out = NP_BUF_INIT;
    assert_int_equal(np_epmd_alive2(&out, "native", 0x1234, true), 0);
    assert_bytes(&out, "\0\23x\x12\x34\x48\0\0\6\0\6\0\6native\0\0", 21);
    assert_int_equal(np_epmd_alive2(&out, "n", 9, false), 0);
    assert_bytes(&out, "\0\16x\0\11M\0\0\6\0\6\0\1n\0\0", 16);
    assert_int_equal(np_epmd_port_please2(&out, "abc"), 0);
    assert_bytes(&out, "\0\4zabc", 6);
    assert_int_equal(np_epmd_names(&out), 0);
    assert_bytes(&out, "\0\1n", 3);
}

static void request_names_are_bounded(void **state) {
    (void)state;
    np_buf out = NP_BUF_INIT;
    char name[257];
    memset(name, 'a', sizeof name);
    name[255] = '\0';
    assert_int_equal(np_epmd_port_please2(&out, name), 0);
    assert_int_equal(np_buf_len(&out), 2 + 1 + 255);
    np_buf_clear(&out, 0);
    name[255] = 'a';
    name[256] = '\0';
    assert_int_equal(np_epmd_port_please2(&out, name), NP_EINVAL);
    assert_int_equal(np_epmd_alive2(&out, name, 1, true), NP_EINVAL);
    assert_int_equal(np_epmd_alive2(&out, "", 1, true), NP_EINVAL);
    assert_int_equal(np_buf_len(&out), 0);
    np_buf_fini(&out);
}

/* Reads from an allocation of exactly len bytes, so that the sanitizer sees a read beyond. */
static int read_alive2(const char *bytes, size_t len, uint32_t *creation) {
    uint8_t *copy = malloc(len + 1);
    memcpy(copy + 1, bytes, len);
    int rc = np_epmd_read_alive2(copy + 1, len, creation);
    free(copy);
    return rc;
}

static int read_port2(const char *bytes, size_t len, np_epmd_entry *entry) {
    uint8_t *copy = malloc(len + 1);
    memcpy(copy + 1, bytes, len);
    int rc = np_epmd_read_port2(copy + 1, len, entry);
    free(copy);
    return rc;
}

static void alive2_answers(void **state) {
    (void)state;
    uint32_t creation = 0;
    static const char wide[] = "v\0\x6b\x02\x9d\x24rest", narrow[] = "y\0\1\2";
    for (size_t len = 0; len < 6; len++)
        assert_int_equal(read_alive2(wide, len, &creation), NP_EAGAIN);
    assert_int_equal(read_alive2(wide, sizeof wide, &creation), 6);
    assert_int_equal(creation, 0x6b029d24);
    for (size_t len = 0; len < 4; len++)
        assert_int_equal(read_alive2(narrow, len, &creation), NP_EAGAIN);
    assert_int_equal(read_alive2(narrow, 4, &creation), 4);
    assert_int_equal(creation, 0x102);
    assert_int_equal(read_alive2("v\1\0\0\0\x63", 6, &creation), NP_EEXIST); /* as recorded: the name is taken */
    assert_int_equal(read_alive2("y\1\0\0", 4, &creation), NP_EEXIST);
    assert_int_equal(read_alive2("w", 1, &creation), NP_EPROTO);
    assert_int_equal(read_alive2("HTTP/1.1", 8, &creation), NP_EPROTO);
}

static void port2_answers(void **state) {
    (void)state;
    np_epmd_entry entry;
    static const char found[] = "w\0\xab\xcd\x4d\0\0\6\0\5\0\3abc\0\2xy";
    size_t whole = sizeof found - 1;
    for (size_t len = 0; len < whole; len++)
        assert_int_equal(read_port2(found, len, &entry), NP_EAGAIN);
    assert_int_equal(read_port2(found, whole, &entry), whole);
    assert_int_equal(entry.port, 0xabcd);
    assert_int_equal(entry.type, 77);
    assert_int_equal(entry.version_high, 6);
    assert_int_equal(entry.version_low, 5);
    assert_int_equal(read_port2("w\1", 2, &entry), NP_ENOENT);
    assert_int_equal(read_port2("v\0", 2, &entry), NP_EPROTO);
    assert_int_equal(read_port2("w\0\0\0\x4d\0\0\6\0\5\0\3abc\0\0", 17, &entry), NP_EPROTO); /* port 0 */
    assert_int_equal(read_port2("w\0\1\1\x4d\0\0\6\0\5\0\0\0\0", 14, &entry), NP_EPROTO);    /* no name */
    assert_int_equal(read_port2("w\0\1\1\x4d\0\0\6\0\5\xff\xff", 12, &entry), NP_EPROTO);    /* no name is that long */
}

static void names(void **state) {
    (void)state;
    np_str alive, host;
    static const char *const good[] = {"a@h", "native@127.0.0.1", "A-b_9@host.example.org", "x@::1", "x@h\xc3\xbc"};
    static const char *const bad[] = {
        "",      "a",      "a@",     "@h",     "a@b@c",          "a b@h",      "a.b@h", "\xc3\xa4@h", "a@h h",
        "a@h\n", "a@\x7f", "a@\xff", "a@\xc3", "a@\xed\xa0\x80", "a@\xc0\x80", "'a'@h", "a\n@h",      "a@@",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(np_epmd_split_name(good[i], strlen(good[i]), &alive, &host, NULL), 0);
        assert_ptr_equal(alive.data, good[i]);
        assert_int_equal(alive.data[alive.len], '@');
        assert_ptr_equal(host.data, alive.data + alive.len + 1);
        assert_int_equal(alive.len + 1 + host.len, strlen(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *why = NULL;
        assert_int_equal(np_epmd_split_name(bad[i], strlen(bad[i]), &alive, &host, &why), NP_EINVAL);
        assert_non_null(why);
        assert_int_equal(np_epmd_split_name(bad[i], strlen(bad[i]), &alive, &host, NULL), NP_EINVAL);
    }
    assert_int_equal(np_epmd_split_name("a@h\0", 4, &alive, &host, NULL), NP_EINVAL);
}

static void names_are_bounded(void **state) {
    (void)state;
    np_str alive, host;
    char name[2 + 4 * 256];
    memset(name, 'h', sizeof name);
    name[1] = '@';
    assert_int_equal(np_epmd_split_name(name, 255, &alive, &host, NULL), 0);
    assert_int_equal(np_epmd_split_name(name, 256, &alive, &host, NULL), NP_EINVAL);
    /* 255 characters, not bytes */
    for (size_t i = 2; i < sizeof name; i++)
        name[i] = "\xf0\x9f\x98\x80"[(i - 2) % 4];
    assert_int_equal(np_epmd_split_name(name, 2 + 4 * 253, &alive, &host, NULL), 0);
    assert_int_equal(np_epmd_split_name(name, 2 + 4 * 254, &alive, &host, NULL), NP_EINVAL);
    memset(name, 'a', 300);
    name[256] = '@';
    assert_int_equal(np_epmd_split_name(name, 258, &alive, &host, NULL), NP_EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),       cmocka_unit_test(request_names_are_bounded),
        cmocka_unit_test(alive2_answers), cmocka_unit_test(port2_answers),
        cmocka_unit_test(names),          cmocka_unit_test(names_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
