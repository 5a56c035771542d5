/* Reassembly: fragments of several messages in any interleaving, each rule broken, each bound reached. */
#include "base/limits.h"
#include "session_owner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PID "X\x77\3a@h\0\0\0\1\0\0\0\0\0\0\0\1"

/* ---- fragments in ---- */

static const char control_22[] = "h\3a\x16" PID PID;

static void put_fragment(np_buf *buf, int tag, uint64_t sequence, uint64_t id, const char *control, const void *part,
                         size_t len) {
    np_buf_clear(buf, SIZE_MAX);
    np_buf_append_u8(buf, 131);
    np_buf_append_u8(buf, (uint8_t)tag);
    np_buf_append_u64(buf, sequence);
    np_buf_append_u64(buf, id);
    if (tag == 69)
        np_buf_append_u8(buf, 0);
    if (control != NULL)
        np_buf_append(buf, control, sizeof control_22 - 1);
    np_buf_append(buf, part, len);
}

static int feed_fragment(owner *o, int tag, uint64_t sequence, uint64_t id, const char *part) {
    np_buf buf = NP_BUF_INIT;
    put_fragment(&buf, tag, sequence, id, tag == 69 ? control_22 : NULL, part, strlen(part));
    int rc = owner_feed_packet(o, np_buf_head(&buf), np_buf_len(&buf));
    np_buf_fini(&buf);
    return rc;
}

static void assert_payload(owner *o, const char *expected) {
    np_bytes tuple = owner_take(o), payload = owner_take(o);
    assert_true(tuple.len > 0);
    assert_int_equal(payload.len, strlen(expected));
    assert_memory_equal(payload.data, expected, payload.len);
}

static void fragments_interleave(void **state) {
    (void)state;
    owner o;
    owner_open(&o);
    assert_int_equal(feed_fragment(&o, 69, 7, 3, "w\5h"), 0);
    assert_int_equal(feed_fragment(&o, 69, 0, 2, "w\3a"), 0); /* sequence id 0 is as good as any when it is theirs */
    assert_int_equal(owner_feed(&o, "\0\0\0\0", 4), 0);
    assert_int_equal(feed_fragment(&o, 70, 7, 2, "ell"), 0);
    assert_int_equal(feed_fragment(&o, 69, 9, 1, "w\1x"), 0); /* the only one: whole at once */
    assert_int_equal(o.count, 1);
    assert_payload(&o, "w\1x");
    assert_int_equal(feed_fragment(&o, 70, 0, 1, "bc"), 0);
    assert_payload(&o, "w\3abc");
    assert_int_equal(feed_fragment(&o, 69, 0, 2, ""), 0); /* the id is free again; an empty part is one too */
    assert_int_equal(feed_fragment(&o, 70, 7, 1, "o"), 0);
    assert_payload(&o, "w\5hello");
    assert_int_equal(feed_fragment(&o, 70, 0, 1, "w\1y"), 0);
    assert_payload(&o, "w\1y");
    assert_int_equal(o.count, 4);
    assert_int_equal(np_session_get_stats(o.s)->fragments_in, 8);
    assert_int_equal(np_session_get_stats(o.s)->ticks_in, 1);
    owner_close(&o);
}

static void fragment_rules(void **state) {
    (void)state;
    static const struct {
        int tag;
        uint64_t sequence, id;
        const char *part;
        int error;
        const char *reason;
    } seconds[] = {
        {69, 7, 2, "w", NP_EPROTO, "under way"},
        {70, 7, 4, "", NP_EPROTO, "out of order"},
        {70, 7, 2, "", NP_EPROTO, "out of order"},
        {70, 7, 1, "", NP_EPROTO, "out of order"},
        {70, 7, 0, "", NP_EPROTO, "out of order"},
        {70, 8, 3, "", NP_EPROTO, "not begun"},
        {70, 7, 3, "", 0, ""},
    };
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        owner o;
        owner_open(&o);
        assert_int_equal(feed_fragment(&o, 69, 7, 4, "w"), 0);
        assert_int_equal(feed_fragment(&o, seconds[i].tag, seconds[i].sequence, seconds[i].id, seconds[i].part),
                         seconds[i].error);
        assert_non_null(strstr(np_session_reason(o.s), seconds[i].reason));
        assert_int_equal(o.count, 0);
        owner_close(&o); /* frees what is unfinished */
    }
    owner o;
    owner_open(&o);
    assert_int_equal(feed_fragment(&o, 69, 7, UINT64_MAX, "w"), 0); /* a claim costs no memory */
    assert_int_equal(feed_fragment(&o, 69, 8, 2, "w"), 0);
    assert_int_equal(feed_fragment(&o, 70, 8, 1, "\2x"), NP_EBADTERM);
    assert_non_null(strstr(np_session_reason(o.s), "fragmented message of"));
    owner_close(&o);
    /* The control tuple has to be in the first. */
    np_buf buf = NP_BUF_INIT;
    put_fragment(&buf, 69, 1, 2, NULL, control_22, sizeof control_22 - 2);
    owner_open(&o);
    assert_int_equal(owner_feed_packet(&o, np_buf_head(&buf), np_buf_len(&buf)), NP_EBADTERM);
    owner_close(&o);
    np_buf_fini(&buf);
}

static void fragment_bounds(void **state) {
    (void)state;
    owner o;
    owner_open(&o);
    for (uint64_t i = 0; i < NP_FRAGMENTS_OPEN_MAX; i++)
        assert_int_equal(feed_fragment(&o, 69, i, 2, "w"), 0);
    assert_int_equal(feed_fragment(&o, 69, 9999, 2, "w"), NP_ELIMIT);
    assert_non_null(strstr(np_session_reason(o.s), "too many unfinished"));
    owner_close(&o);

    np_session_limits limits = {200, 100000, 60000};
    owner_open_with(&o, NP_DFLAGS_OURS, &limits);
    assert_int_equal(feed_fragment(&o, 69, 1, 100, "m"), 0);
    int rc = 0;
    for (uint64_t id = 99; id > 1 && rc == 0; id--) {
        rc = feed_fragment(&o, 70, 1, id, "0123456789");
        assert_true((rc == 0) == (id > 99 - (200 - (sizeof control_22 - 1) - 1) / 10));
    }
    assert_int_equal(rc, NP_ELIMIT);
    assert_non_null(strstr(np_session_reason(o.s), "larger than the limit"));
    owner_close(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fragments_interleave),
        cmocka_unit_test(fragment_rules),
        cmocka_unit_test(fragment_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
