/*
 * Any bytes are refused by the validator or can be read, printed, compared, hashed and brought into canonical form -
 * and the canonical form is valid, is its own canonical form, equals the term and has its hash.
 */
#include "base/assert.h"
#include "base/buf.h"
#include "base/map.h"
#include "term/canon.h"
#include "term/names.h"
#include "term/out.h"
#include "term/print.h"
#include "term/validate.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every reading function on the next term: exactly those of its type may succeed, and those that do must step over
 * the right number of bytes. */
static void read_all_ways(const np_in *in) {
    np_in at = *in;
    np_in term;
    NP_ASSERT(np_in_term(&at, &term) == 0);
    size_t end = at.pos;
    np_type type = np_in_type(in);
    NP_ASSERT(type != NP_TYPE_END);

    char text[NP_ATOM_BYTES_MAX + 1];
    int len = np_in_atom((at = *in, &at), text, sizeof(text));
    NP_ASSERT((len >= 0) == (type == NP_TYPE_ATOM) && at.pos == (len >= 0 ? end : in->pos));
    if (len >= 0 && strlen(text) == (size_t)len)
        NP_ASSERT(np_in_match((at = *in, &at), text) == 0 && at.pos == end);

    bool flag;
    bool is_bool = (len == 4 && memcmp(text, "true", 4) == 0) || (len == 5 && memcmp(text, "false", 5) == 0);
    int error = np_in_bool((at = *in, &at), &flag);
    NP_ASSERT((error == 0) == is_bool && at.pos == (error == 0 ? end : in->pos));

    int64_t number;
    error = np_in_int64((at = *in, &at), &number);
    NP_ASSERT((type == NP_TYPE_INT ? error == 0 || error == NP_ERANGE : error == NP_ETYPE));
    NP_ASSERT(at.pos == (error == 0 ? end : in->pos));
    uint64_t natural;
    int natural_error = np_in_uint64((at = *in, &at), &natural);
    NP_ASSERT((type == NP_TYPE_INT ? natural_error == 0 || natural_error == NP_ERANGE : natural_error == NP_ETYPE));
    NP_ASSERT(at.pos == (natural_error == 0 ? end : in->pos));
    NP_ASSERT(error < 0 || natural_error < 0 || (uint64_t)number == natural);

    double real;
    error = np_in_double((at = *in, &at), &real);
    NP_ASSERT(type == NP_TYPE_FLOAT ? error == 0
              : type == NP_TYPE_INT ? error == 0 || error == NP_ERANGE
                                    : error == NP_ETYPE);
    NP_ASSERT(at.pos == (error == 0 ? end : in->pos));

    np_bytes bytes;
    error = np_in_binary((at = *in, &at), &bytes);
    NP_ASSERT((error == 0 ? type == NP_TYPE_BITSTRING && at.pos == end : at.pos == in->pos));
    if (error == 0)
        (void)np_hash_bytes(bytes.data, bytes.len); /* reads them all */

    np_pid pid;
    error = np_in_pid((at = *in, &at), &pid);
    NP_ASSERT((error != NP_ETYPE) == (type == NP_TYPE_PID) && at.pos == (error == 0 ? end : in->pos));
    np_ref ref;
    error = np_in_ref((at = *in, &at), &ref);
    NP_ASSERT((error != NP_ETYPE) == (type == NP_TYPE_REF) && at.pos == (error == 0 ? end : in->pos));

    char small[8];
    len = np_in_text((at = *in, &at), small, sizeof(small));
    NP_ASSERT(len >= 0 ? len <= 8 && at.pos == end : at.pos == in->pos);
}

static void walk(np_in *in);

static void walk_list(np_in *in) {
    np_list list;
    np_in element;
    NP_ASSERT(np_in_list(in, &list) == 0);
    while (np_list_next(&list, &element)) {
        walk(&element);
        NP_ASSERT(np_in_at_end(&element));
    }
    np_in tail;
    bool proper = np_list_tail(&list, &tail);
    NP_ASSERT(proper == (np_in_type(&tail) == NP_TYPE_LIST));
    if (!proper)
        walk(&tail);
}

/* Steps over the next term, with a look at everything in it. */
static void walk(np_in *in) {
    uint32_t count;
    np_in value;
    read_all_ways(in);
    switch (np_in_type(in)) {
    case NP_TYPE_TUPLE:
        NP_ASSERT(np_in_tuple(in, &count) == 0);
        while (count-- > 0)
            walk(in);
        break;
    case NP_TYPE_MAP:
        (void)np_in_map_get(in, "a", &value);
        NP_ASSERT(np_in_map(in, &count) == 0);
        for (uint64_t left = (uint64_t)2 * count; left > 0; left--)
            walk(in);
        break;
    case NP_TYPE_LIST: walk_list(in); break;
    default: NP_ASSERT(np_in_term(in, NULL) == 0);
    }
}

/* The identifier that begins the term, if there is one, written again: the canonical form at once. */
static void write_again(const np_in *in, const np_in *form) {
    np_buf buf = NP_BUF_INIT;
    np_out out;
    np_out_init(&out, &buf, SIZE_MAX);
    np_in at = *in;
    int64_t number;
    uint64_t natural;
    double real;
    np_pid pid;
    np_bytes bytes;
    char text[NP_ATOM_BYTES_MAX + 1];
    int len;
    if (np_in_int64(&at, &number) == 0)
        np_out_int(&out, number);
    else if (np_in_uint64(&at, &natural) == 0)
        np_out_uint(&out, natural);
    else if (np_in_type(&at) == NP_TYPE_FLOAT && np_in_double(&at, &real) == 0)
        np_out_double(&out, real + 0.0); /* -0.0 becomes 0.0 */
    else if (np_in_pid(&at, &pid) == 0)
        np_out_pid(&out, &pid);
    else if (np_in_binary(&at, &bytes) == 0)
        np_out_binary(&out, bytes.data, bytes.len);
    else if ((len = np_in_atom(&at, text, sizeof(text))) >= 0)
        np_out_atom_n(&out, text, (size_t)len);
    NP_ASSERT(np_out_error(&out) == 0);
    if (np_out_len(&out) > 0) {
        np_bytes expected = np_in_bytes(form);
        NP_ASSERT(np_out_len(&out) == expected.len && memcmp(np_buf_head(&buf), expected.data, expected.len) == 0);
    }
    np_buf_fini(&buf);
}

static void check_canon(const np_in *in) {
    np_buf form = NP_BUF_INIT;
    np_buf again = NP_BUF_INIT;
    np_in at = *in;
    int error = np_term_canon(&at, &form);
    NP_ASSERT(error == 0 || (error == NP_EBADTERM && at.pos == in->pos && np_buf_len(&form) == 0));
    if (error == 0) {
        NP_ASSERT(at.pos == in->end);
        np_in canon;
        NP_ASSERT(np_term_open(&canon, np_buf_head(&form), np_buf_len(&form)) == 0);
        NP_ASSERT(np_term_equal(in, &canon) && np_term_equal(&canon, in));
        NP_ASSERT(np_term_cmp(in, &canon) == 0 && np_term_cmp(&canon, in) == 0);
        NP_ASSERT(np_term_hash(in) == np_term_hash(&canon));
        np_in second = canon;
        NP_ASSERT(np_term_canon(&second, &again) == 0);
        NP_ASSERT(np_buf_len(&again) == np_buf_len(&form));
        NP_ASSERT(memcmp(np_buf_head(&again), np_buf_head(&form), np_buf_len(&form)) == 0);
        write_again(in, &canon);
    }
    np_buf_fini(&form);
    np_buf_fini(&again);
}

static void check_text(const np_in *in, size_t most) {
    np_buf text = NP_BUF_INIT;
    NP_ASSERT(np_term_print(in, &text, most) == 0);
    NP_ASSERT(np_buf_len(&text) > 0 && (most > SIZE_MAX - 3 || np_buf_len(&text) <= most + 3));
    np_buf_fini(&text);
}

/* Two terms side by side: the order is antisymmetric, and equal is what compares equal and hashes alike. */
static void check_pair(const np_in *a, const np_in *b) {
    int order = np_term_cmp(a, b);
    int reverse = np_term_cmp(b, a);
    NP_ASSERT((order < 0) == (reverse > 0) && (order == 0) == (reverse == 0));
    bool equal = np_term_equal(a, b);
    NP_ASSERT(equal == np_term_equal(b, a));
    NP_ASSERT(!equal || np_term_hash(a) == np_term_hash(b));
    np_buf form = NP_BUF_INIT;
    np_in at = *a;
    bool has_form = np_term_canon(&at, &form) == 0 && (at = *b, np_term_canon(&at, &form)) == 0;
    if (has_form)
        NP_ASSERT(equal == (order == 0));
    np_buf_fini(&form);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int64_t len = np_term_validate(data, size);
    NP_ASSERT(len == NP_EBADTERM || len == NP_ELIMIT || (len > 0 && (size_t)len <= size));
    np_in in;
    if (len < 0)
        return 0;
    NP_ASSERT(np_term_open(&in, data, (size_t)len) == 0);
    np_in at = in;
    walk(&at);
    NP_ASSERT(np_in_at_end(&at));
    NP_ASSERT(np_term_cmp(&in, &in) == 0 && np_term_equal(&in, &in));
    check_canon(&in);
    check_text(&in, SIZE_MAX);
    check_text(&in, size % 64);
    char line[32];
    NP_ASSERT(strlen(np_term_text(&in, line, sizeof(line))) < sizeof(line));
    np_in second;
    int64_t second_len = np_term_validate(data + len, size - (size_t)len);
    if (second_len > 0 && np_term_open(&second, data + len, (size_t)second_len) == 0)
        check_pair(&in, &second);
    return 0;
}
