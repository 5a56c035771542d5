/*
 * canon.c - the canonical form of terms, and the equality and hash that follow from it. See canon.h. Any thread.
 *
 * Most terms that serve as keys arrive in canonical form already; that is found out first, without building
 * anything. Recursion is as deep as the validator lets terms be nested.
 */
#include "term/canon.h"

#include "base/assert.h"
#include "base/map.h"
#include "term/number.h"
#include "term/wire.h"

#include <stdlib.h>

enum {
    REF_WORDS_MIN = 3
}; /* what OTP's own references have: shorter ones are filled up, so that it knows its own again */

/* ---- is it canonical already? ---- */

static bool canonical_atom(const uint8_t *p) {
    return *p == TAG_SMALL_ATOM_UTF8 || (*p == TAG_ATOM_UTF8 && np_get_u16(p + 1) > UINT8_MAX);
}

static bool fits_integer(const np_integer *integer, int64_t *value) {
    uint64_t magnitude;
    if (np_integer_magnitude(integer, &magnitude) < 0 || magnitude > UINT64_C(0x80000000))
        return false;
    *value = integer->negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return *value <= INT32_MAX;
}

static bool canonical_big(const uint8_t *p) {
    np_integer integer;
    int64_t value;
    const uint8_t *end = np_integer_read(p, &integer);
    bool trimmed = integer.bytes + integer.len == end;
    bool sign_plain = p[*p == TAG_SMALL_BIG ? 2 : 5] <= 1;
    return trimmed && sign_plain && !fits_integer(&integer, &value) && (*p == TAG_SMALL_BIG || integer.len > UINT8_MAX);
}

static bool canonical_ref(const uint8_t *p) {
    np_wire_id id;
    np_wire_ref(p, &id);
    return canonical_atom(id.node) && (id.len == REF_WORDS_MIN || (id.len > REF_WORDS_MIN && id.id[id.len - 1] != 0));
}

static bool canonical_leaf(const uint8_t *p) {
    switch (*p) {
    case TAG_SMALL_INTEGER:
    case TAG_NIL:
    case TAG_BINARY:
    case TAG_SMALL_ATOM_UTF8: return true;
    case TAG_ATOM_UTF8: return canonical_atom(p);
    case TAG_INTEGER: return np_wire_int(p) < 0 || np_wire_int(p) > UINT8_MAX;
    case TAG_SMALL_BIG:
    case TAG_LARGE_BIG: return canonical_big(p);
    case TAG_NEW_FLOAT: return np_get_u64(p + 1) != UINT64_C(0x8000000000000000); /* not -0.0 */
    case TAG_NEW_PID:
    case TAG_V4_PORT: return canonical_atom(p + 1);
    case TAG_NEWER_REFERENCE: return canonical_ref(p);
    default: return false; /* old forms; funs and bit strings, too rare to look at */
    }
}

/* Orders encoded keys: bytes, then length. */
static int bytes_cmp(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len) {
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

static const uint8_t *canonical(const uint8_t *p);

/* n canonical terms in a row: what is behind them; else NULL. */
static const uint8_t *canonical_many(const uint8_t *p, size_t n) {
    while (n > 0 && p != NULL) {
        p = canonical(p);
        n--;
    }
    return p;
}

static const uint8_t *canonical_map(const uint8_t *p) {
    size_t pairs = np_get_u32(p + 1);
    const uint8_t *last = NULL;
    size_t last_len = 0;
    p += 5;
    for (; pairs > 0; pairs--) {
        const uint8_t *key = p;
        p = canonical(key);
        if (p == NULL)
            return NULL;
        size_t len = (size_t)(p - key);
        if (last != NULL && bytes_cmp(last, last_len, key, len) >= 0)
            return NULL;
        last = key;
        last_len = len;
        p = canonical(p);
        if (p == NULL)
            return NULL;
    }
    return p;
}

/* What is behind the term at p if that is in canonical form, else NULL. May say NULL for rare terms that are. */
static const uint8_t *canonical(const uint8_t *p) {
    size_t children;
    switch (*p) {
    case TAG_SMALL_TUPLE: return canonical_many(p + 2, p[1]);
    case TAG_LARGE_TUPLE: return np_get_u32(p + 1) > UINT8_MAX ? canonical_many(p + 5, np_get_u32(p + 1)) : NULL;
    case TAG_LIST:
        p = canonical_many(p + 5, np_get_u32(p + 1));
        return p == NULL || *p == TAG_LIST ? NULL : canonical(p);
    case TAG_MAP: return canonical_map(p);
    default: return canonical_leaf(p) ? p + np_wire_head(p, &children) : NULL;
    }
}

/* ---- building it ---- */

static int build(const uint8_t **p, np_buf *out);

/* Not inline: its scratch space would be in every frame of the recursion. */
__attribute__((noinline)) static int put_atom(const uint8_t *p, np_buf *out) {
    uint8_t scratch[NP_WIRE_LATIN1_MAX];
    np_str text = np_wire_atom(p, scratch);
    int error = text.len <= UINT8_MAX ? np_buf_append_u16(out, (uint16_t)(TAG_SMALL_ATOM_UTF8 << 8 | text.len))
                                      : np_buf_append_u8(out, TAG_ATOM_UTF8);
    if (error == 0 && text.len > UINT8_MAX)
        error = np_buf_append_u16(out, (uint16_t)text.len);
    return error < 0 ? error : np_buf_append(out, text.data, text.len);
}

static int put_head32(np_buf *out, uint8_t tag, uint32_t value) {
    uint8_t bytes[5] = {tag};
    np_put_u32(bytes + 1, value);
    return np_buf_append(out, bytes, sizeof(bytes));
}

static int put_integer(const uint8_t **p, np_buf *out) {
    np_integer integer;
    int64_t value;
    *p = np_integer_read(*p, &integer);
    if (fits_integer(&integer, &value)) {
        if (value < 0 || value > UINT8_MAX)
            return put_head32(out, TAG_INTEGER, (uint32_t)value);
        return np_buf_append_u16(out, (uint16_t)(TAG_SMALL_INTEGER << 8 | value));
    }
    int error = integer.len <= UINT8_MAX ? np_buf_append_u16(out, (uint16_t)(TAG_SMALL_BIG << 8 | integer.len))
                                         : put_head32(out, TAG_LARGE_BIG, (uint32_t)integer.len);
    if (error == 0)
        error = np_buf_append_u8(out, integer.negative);
    return error < 0 ? error : np_buf_append(out, integer.bytes, integer.len);
}

static int put_float(const uint8_t **p, np_buf *out) {
    double value = np_wire_float(*p);
    if (value == 0)
        value = 0; /* not -0.0 */
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    *p = np_wire_skip(*p);
    int error = np_buf_append_u8(out, TAG_NEW_FLOAT);
    return error < 0 ? error : np_buf_append_u64(out, bits);
}

static int put_bits(const uint8_t **p, np_buf *out) {
    np_wire_bits bits;
    *p = np_wire_bits_read(*p, &bits);
    bool whole = bits.last_bits == 8;
    int error = put_head32(out, whole ? TAG_BINARY : TAG_BIT_BINARY, (uint32_t)bits.len);
    if (error == 0 && !whole)
        error = np_buf_append_u8(out, (uint8_t)bits.last_bits);
    if (error == 0)
        error = np_buf_append(out, bits.data, bits.len);
    if (error == 0 && !whole) /* the bits that do not count */
        out->data[out->len - 1] &= (uint8_t)(0xFF00u >> bits.last_bits);
    return error;
}

static int put_pid(const uint8_t **p, np_buf *out) {
    np_wire_id id;
    *p = np_wire_pid(*p, &id);
    uint8_t words[12];
    np_put_u32(words, (uint32_t)id.num);
    np_put_u32(words + 4, id.serial);
    np_put_u32(words + 8, id.creation);
    int error = np_buf_append_u8(out, TAG_NEW_PID);
    if (error == 0)
        error = put_atom(id.node, out);
    return error < 0 ? error : np_buf_append(out, words, sizeof(words));
}

static int put_port(const uint8_t **p, np_buf *out) {
    np_wire_id id;
    *p = np_wire_port(*p, &id);
    uint8_t words[12];
    np_put_u64(words, id.num);
    np_put_u32(words + 8, id.creation);
    int error = np_buf_append_u8(out, TAG_V4_PORT);
    if (error == 0)
        error = put_atom(id.node, out);
    return error < 0 ? error : np_buf_append(out, words, sizeof(words));
}

static int put_ref(const uint8_t **p, np_buf *out) {
    np_wire_id id;
    *p = np_wire_ref(*p, &id);
    uint32_t len = np_wire_ref_words(&id);
    if (len < REF_WORDS_MIN)
        len = REF_WORDS_MIN;
    int error = np_buf_append_u8(out, TAG_NEWER_REFERENCE);
    if (error == 0)
        error = np_buf_append_u16(out, (uint16_t)len);
    if (error == 0)
        error = put_atom(id.node, out);
    if (error == 0)
        error = np_buf_append_u32(out, id.creation);
    for (uint32_t i = 0; i < len && error == 0; i++)
        error = np_buf_append_u32(out, id.id[i]);
    return error;
}

static int put_export(const uint8_t **p, np_buf *out) {
    const uint8_t *module = *p + 1;
    const uint8_t *function = module + np_wire_atom_size(module);
    const uint8_t *arity = function + np_wire_atom_size(function);
    *p = arity + 2;
    int error = np_buf_append_u8(out, TAG_EXPORT);
    if (error == 0)
        error = put_atom(module, out);
    if (error == 0)
        error = put_atom(function, out);
    return error < 0 ? error : np_buf_append(out, arity, 2);
}

static int put_fun(const uint8_t **p, np_buf *out) {
    np_wire_fun fun;
    np_wire_fun_read(*p, &fun);
    size_t start = np_buf_len(out);
    int error = np_buf_append(out, *p, NP_WIRE_FUN_HEAD);
    if (error == 0)
        error = put_atom(fun.module, out);
    const uint8_t *at = fun.module + np_wire_atom_size(fun.module);
    for (uint64_t i = 0; i < 3 + (uint64_t)fun.num_free && error == 0; i++) /* old index, old uniq, pid, variables */
        error = build(&at, out);
    if (error < 0)
        return error;
    size_t size = np_buf_len(out) - start - 1;
    if (size > UINT32_MAX)
        return NP_ENOMEM;
    np_put_u32(out->data + out->off + start + 1, (uint32_t)size);
    *p = at;
    return 0;
}

static int put_tuple(const uint8_t **p, np_buf *out) {
    size_t arity;
    *p += np_wire_head(*p, &arity);
    int error = arity <= UINT8_MAX ? np_buf_append_u16(out, (uint16_t)(TAG_SMALL_TUPLE << 8 | arity))
                                   : put_head32(out, TAG_LARGE_TUPLE, (uint32_t)arity);
    for (size_t i = 0; i < arity && error == 0; i++)
        error = build(p, out);
    return error;
}

/* All forms of a list become one head, the elements, the tail. */
static int put_list(const uint8_t **p, np_buf *out) {
    np_wire_list list;
    np_wire_list_open(&list, *p);
    size_t start = np_buf_len(out);
    uint64_t count = 0;
    int error = 0;
    for (const uint8_t *element; error == 0 && (element = np_wire_list_element(&list)) != NULL; count++) {
        if (count == 0)
            error = put_head32(out, TAG_LIST, 0);
        if (error == 0)
            error = build(&element, out);
        np_wire_list_behind(&list, element);
    }
    if (error < 0)
        return error;
    if (count > UINT32_MAX)
        return NP_ENOMEM;
    if (count > 0)
        np_put_u32(out->data + out->off + start + 1, (uint32_t)count);
    *p = list.end;
    return *list.tail == TAG_NIL ? np_buf_append_u8(out, TAG_NIL) : build(&list.tail, out);
}

/* Where a pair stands in the output. */
typedef struct pair {
    size_t at;
    size_t key_len;
    size_t len;
} pair;

static int pair_cmp(const void *x, const void *y, void *base) {
    const pair *a = x;
    const pair *b = y;
    const uint8_t *bytes = base;
    return bytes_cmp(bytes + a->at, a->key_len, bytes + b->at, b->key_len);
}

/* Sorts the pairs, which stand one after the other from `start` on. */
static int sort_pairs(np_buf *out, size_t start, pair *pairs, size_t count) {
    uint8_t *base = out->data + out->off + start;
    size_t len = np_buf_len(out) - start;
    bool sorted = true;
    for (size_t i = 1; i < count && sorted; i++)
        sorted = pair_cmp(&pairs[i - 1], &pairs[i], base) < 0;
    if (sorted)
        return 0;
    qsort_r(pairs, count, sizeof(*pairs), pair_cmp, base);
    for (size_t i = 1; i < count; i++) {
        if (pair_cmp(&pairs[i - 1], &pairs[i], base) == 0)
            return NP_EBADTERM;
    }
    uint8_t *copy = malloc(len);
    if (copy == NULL)
        return NP_ENOMEM;
    memcpy(copy, base, len);
    for (size_t i = 0; i < count; i++) {
        memcpy(base, copy + pairs[i].at, pairs[i].len);
        base += pairs[i].len;
    }
    free(copy);
    return 0;
}

static int put_map(const uint8_t **p, np_buf *out) {
    uint32_t count = np_get_u32(*p + 1);
    int error = put_head32(out, TAG_MAP, count);
    *p += 5;
    if (error < 0 || count == 0)
        return error;
    pair *pairs = malloc(count * sizeof(*pairs));
    if (pairs == NULL)
        return NP_ENOMEM;
    size_t start = np_buf_len(out);
    for (uint32_t i = 0; i < count && error == 0; i++) {
        pairs[i].at = np_buf_len(out) - start;
        error = build(p, out);
        pairs[i].key_len = np_buf_len(out) - start - pairs[i].at;
        if (error == 0)
            error = build(p, out);
        pairs[i].len = np_buf_len(out) - start - pairs[i].at;
    }
    if (error == 0)
        error = sort_pairs(out, start, pairs, count);
    free(pairs);
    return error;
}

/* Appends the canonical form of the term at *p and steps over it. */
static int build(const uint8_t **p, np_buf *out) {
    switch (**p) {
    case TAG_SMALL_INTEGER:
    case TAG_INTEGER:
    case TAG_SMALL_BIG:
    case TAG_LARGE_BIG: return put_integer(p, out);
    case TAG_NEW_FLOAT:
    case TAG_FLOAT: return put_float(p, out);
    case TAG_BINARY:
    case TAG_BIT_BINARY: return put_bits(p, out);
    case TAG_PID:
    case TAG_NEW_PID: return put_pid(p, out);
    case TAG_PORT:
    case TAG_NEW_PORT:
    case TAG_V4_PORT: return put_port(p, out);
    case TAG_REFERENCE:
    case TAG_NEW_REFERENCE:
    case TAG_NEWER_REFERENCE: return put_ref(p, out);
    case TAG_EXPORT: return put_export(p, out);
    case TAG_NEW_FUN: return put_fun(p, out);
    case TAG_SMALL_TUPLE:
    case TAG_LARGE_TUPLE: return put_tuple(p, out);
    case TAG_NIL:
    case TAG_STRING:
    case TAG_LIST: return put_list(p, out);
    case TAG_MAP: return put_map(p, out);
    default: {
        int error = put_atom(*p, out);
        *p += np_wire_atom_size(*p);
        return error;
    }
    }
}

int np_term_canon(np_in *in, np_buf *out) {
    if (np_in_at_end(in))
        return NP_ETYPE;
    const uint8_t *p = in->base + in->pos;
    const uint8_t *end = canonical(p);
    size_t start = np_buf_len(out);
    int error;
    if (end != NULL) {
        error = np_buf_append(out, p, (size_t)(end - p));
    } else {
        end = p;
        error = build(&end, out);
    }
    if (error < 0) {
        np_buf_truncate(out, start);
        return error;
    }
    in->pos = (size_t)(end - in->base);
    return 0;
}

/* ---- equality and hash ---- */

bool np_term_equal(const np_in *a, const np_in *b) {
    if (np_in_at_end(a) || np_in_at_end(b))
        return np_in_at_end(a) && np_in_at_end(b);
    const uint8_t *x = a->base + a->pos;
    const uint8_t *y = b->base + b->pos;
    size_t x_len = (size_t)(np_wire_skip(x) - x);
    size_t y_len = (size_t)(np_wire_skip(y) - y);
    if (bytes_cmp(x, x_len, y, y_len) == 0)
        return true;
    if (canonical(x) != NULL && canonical(y) != NULL)
        return false;
    np_buf forms = NP_BUF_INIT;
    np_in at = *a;
    int error = np_term_canon(&at, &forms);
    size_t a_len = np_buf_len(&forms);
    at = *b;
    if (error == 0)
        error = np_term_canon(&at, &forms);
    bool equal = error == 0 &&
                 bytes_cmp(np_buf_head(&forms), a_len, np_buf_head(&forms) + a_len, np_buf_len(&forms) - a_len) == 0;
    np_buf_fini(&forms);
    return equal;
}

uint64_t np_term_hash(const np_in *in) {
    if (np_in_at_end(in))
        return np_hash_bytes(NULL, 0);
    const uint8_t *p = in->base + in->pos;
    const uint8_t *end = canonical(p);
    if (end != NULL)
        return np_hash_bytes(p, (size_t)(end - p));
    np_buf form = NP_BUF_INIT;
    np_in at = *in;
    /* Without memory, or with a key twice, there is no canonical form: then nothing else equals the term but the
     * same bytes. */
    uint64_t hash = np_term_canon(&at, &form) == 0 ? np_hash_bytes(np_buf_head(&form), np_buf_len(&form))
                                                   : np_hash_bytes(p, (size_t)(np_wire_skip(p) - p));
    np_buf_fini(&form);
    return hash;
}
