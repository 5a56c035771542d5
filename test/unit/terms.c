/* terms.c - see terms.h. */
#include "terms.h"

#include "term/print.h"
#include "term/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

void terms_begin(terms_built *b) {
    np_buf_init(&b->buf);
    np_out_init(&b->out, &b->buf, 1 << 20);
}

void terms_end(terms_built *b) { np_buf_fini(&b->buf); }

const char *terms_text(np_in in) {
    static char text[65536];
    return np_in_at_end(&in) ? "" : np_term_text(&in, text, sizeof text);
}

void terms_expect_at(terms_built *b, const char *text, const char *file, int line) {
    np_in in;
    _assert_int_equal((unsigned long long)np_out_error(&b->out), 0, file, line);
    _assert_int_equal((unsigned long long)np_term_open(&in, np_buf_head(&b->buf), np_buf_len(&b->buf)), 0, file, line);
    _assert_string_equal(terms_text(in), text, file, line);
    np_out_reset(&b->out);
}

void terms_expect_bytes_at(terms_built *b, np_in in, const char *file, int line) {
    np_bytes bytes = np_in_bytes(&in);
    _assert_int_equal((unsigned long long)np_out_error(&b->out), 0, file, line);
    if (np_buf_len(&b->buf) != bytes.len || memcmp(np_buf_head(&b->buf), bytes.data, bytes.len) != 0) {
        print_error("expected: %s\n", terms_text(in));
        print_error("  actual: %s\n", terms_text(np_out_view(&b->out)));
        _fail(file, line);
    }
    np_out_reset(&b->out);
}

bool terms_packet(const golden_line *line, np_in *control, np_in *payload) {
    if (line->kind == GOLDEN_TEXT || line->len < 3 || line->bytes[1] != 68)
        return false;
    int64_t len = np_term_validate(line->bytes + 3, line->len - 3);
    assert_true(len > 0);
    size_t at = 3 + (size_t)len;
    assert_int_equal(np_term_open(control, line->bytes + 3, (size_t)len), 0);
    *payload = (np_in){line->bytes, at, at};
    if (at < line->len)
        assert_int_equal(np_term_open(payload, line->bytes + at, line->len - at), 0);
    return true;
}

int terms_op(np_in *control) {
    uint32_t arity;
    int64_t op;
    assert_int_equal(np_in_tuple(control, &arity), 0);
    assert_int_equal(np_in_int64(control, &op), 0);
    return (int)op;
}
