/*
 * cmp.c - Erlang's order of terms, np_term_cmp of canon.h. Any thread.
 *
 * Mirrors erts_cmp_compound of OTP's utils.c. Recursion is as deep as the validator lets terms be nested.
 */
#include "base/assert.h"
#include "term/canon.h"
#include "term/number.h"
#include "term/wire.h"

#include <stdlib.h>

/* How to compare: keys of maps compare exactly (all integers before all floats), everything else by value; then the
 * first place where an integer stood against a float of the same value decides between terms that are otherwise
 * equal. */
typedef struct mode {
    bool exact;
    int tie;
} mode;

static int compare(const uint8_t **a, const uint8_t **b, mode *m);

static int order_u64(uint64_t a, uint64_t b) { return a < b ? -1 : a > b; }

static int order_i64(int64_t a, int64_t b) { return a < b ? -1 : a > b; }

/* Not inline: its scratch space would be in every frame of the recursion. */
__attribute__((noinline)) static int atom_cmp(const uint8_t *a, const uint8_t *b) {
    uint8_t scratch_a[NP_WIRE_LATIN1_MAX];
    uint8_t scratch_b[NP_WIRE_LATIN1_MAX];
    np_str x = np_wire_atom(a, scratch_a);
    np_str y = np_wire_atom(b, scratch_b);
    int order = memcmp(x.data, y.data, x.len < y.len ? x.len : y.len);
    return order != 0 ? order : order_u64(x.len, y.len);
}

enum rank { NUMBER, ATOM, REF, FUN, EXPORT, PORT, PID, TUPLE, MAP, NIL, LIST, BITS };

static enum rank rank_of(const uint8_t *p) {
    switch (*p) {
    case TAG_SMALL_INTEGER:
    case TAG_INTEGER:
    case TAG_SMALL_BIG:
    case TAG_LARGE_BIG:
    case TAG_NEW_FLOAT:
    case TAG_FLOAT: return NUMBER;
    case TAG_REFERENCE:
    case TAG_NEW_REFERENCE:
    case TAG_NEWER_REFERENCE: return REF;
    case TAG_NEW_FUN: return FUN;
    case TAG_EXPORT: return EXPORT;
    case TAG_PORT:
    case TAG_NEW_PORT:
    case TAG_V4_PORT: return PORT;
    case TAG_PID:
    case TAG_NEW_PID: return PID;
    case TAG_SMALL_TUPLE:
    case TAG_LARGE_TUPLE: return TUPLE;
    case TAG_MAP: return MAP;
    case TAG_NIL:
    case TAG_STRING:
    case TAG_LIST: return np_wire_is_nil(p) ? NIL : LIST;
    case TAG_BINARY:
    case TAG_BIT_BINARY: return BITS;
    default: return ATOM;
    }
}

static bool is_float(const uint8_t *p) { return *p == TAG_NEW_FLOAT || *p == TAG_FLOAT; }

/* An integer against a float. */
static int mixed_cmp(const np_integer *integer, double value, mode *m) {
    if (m->exact)
        return -1;
    int order = np_integer_cmp_double(integer, value);
    if (order == 0 && m->tie == 0)
        m->tie = -1;
    return order;
}

static int number_cmp(const uint8_t **a, const uint8_t **b, mode *m) {
    np_integer x;
    np_integer y;
    double x_float = 0;
    double y_float = 0;
    bool a_float = is_float(*a);
    bool b_float = is_float(*b);
    if (a_float)
        x_float = np_wire_float(*a);
    if (b_float)
        y_float = np_wire_float(*b);
    *a = a_float ? np_wire_skip(*a) : np_integer_read(*a, &x);
    *b = b_float ? np_wire_skip(*b) : np_integer_read(*b, &y);
    if (a_float && b_float)
        return x_float < y_float ? -1 : x_float > y_float;
    if (!a_float && !b_float)
        return np_integer_cmp(&x, &y);
    if (b_float)
        return mixed_cmp(&x, y_float, m);
    mode swapped = {.exact = m->exact, .tie = -m->tie};
    int order = -mixed_cmp(&y, x_float, &swapped);
    m->tie = -swapped.tie;
    return order;
}

static int node_cmp(const np_wire_id *a, const np_wire_id *b) {
    int order = atom_cmp(a->node, b->node);
    return order != 0 ? order : order_u64(a->creation, b->creation);
}

static int pid_cmp(const uint8_t **a, const uint8_t **b) {
    np_wire_id x;
    np_wire_id y;
    *a = np_wire_pid(*a, &x);
    *b = np_wire_pid(*b, &y);
    int order = order_u64(x.serial, y.serial);
    if (order == 0)
        order = order_u64(x.num, y.num);
    return order != 0 ? order : node_cmp(&x, &y);
}

static int port_cmp(const uint8_t **a, const uint8_t **b) {
    np_wire_id x;
    np_wire_id y;
    *a = np_wire_port(*a, &x);
    *b = np_wire_port(*b, &y);
    int order = node_cmp(&x, &y);
    return order != 0 ? order : order_u64(x.num, y.num);
}

static int ref_cmp(const uint8_t **a, const uint8_t **b) {
    np_wire_id x;
    np_wire_id y;
    *a = np_wire_ref(*a, &x);
    *b = np_wire_ref(*b, &y);
    int order = node_cmp(&x, &y);
    for (uint32_t i = NP_REF_WORDS_MAX; i > 0 && order == 0; i--)
        order = order_u64(x.id[i - 1], y.id[i - 1]);
    return order;
}

/* n terms in a row. */
static int many_cmp(const uint8_t **a, const uint8_t **b, size_t n, mode *m) {
    int order = 0;
    for (; n > 0 && order == 0; n--)
        order = compare(a, b, m);
    return order;
}

static int fun_cmp(const uint8_t **a, const uint8_t **b, mode *m) {
    np_wire_fun x;
    np_wire_fun y;
    np_wire_fun_read(*a, &x);
    np_wire_fun_read(*b, &y);
    int order = atom_cmp(x.module, y.module);
    if (order == 0)
        order = order_i64(x.old_index, y.old_index);
    if (order == 0)
        order = order_i64(x.old_uniq, y.old_uniq);
    if (order == 0)
        order = order_u64(x.num_free, y.num_free);
    *a = x.free;
    *b = y.free;
    if (order == 0)
        order = many_cmp(a, b, x.num_free, m);
    /* OTP looks at no more; these make funs with different canonical forms differ here too. */
    if (order == 0)
        order = memcmp(x.uniq, y.uniq, 16);
    if (order == 0)
        order = order_u64(x.index, y.index);
    if (order == 0)
        order = order_u64(x.arity, y.arity);
    return order != 0 ? order : pid_cmp(&x.pid, &y.pid);
}

static int export_cmp(const uint8_t **a, const uint8_t **b) {
    const uint8_t *x = *a + 1;
    const uint8_t *y = *b + 1;
    int order = 0;
    for (int i = 0; i < 2 && order == 0; i++) { /* module, function */
        order = atom_cmp(x, y);
        x += np_wire_atom_size(x);
        y += np_wire_atom_size(y);
    }
    if (order == 0)
        order = order_u64(x[1], y[1]);
    *a = x + 2;
    *b = y + 2;
    return order;
}

static int tuple_cmp(const uint8_t **a, const uint8_t **b, mode *m) {
    size_t a_arity;
    size_t b_arity;
    *a += np_wire_head(*a, &a_arity);
    *b += np_wire_head(*b, &b_arity);
    return a_arity != b_arity ? order_u64(a_arity, b_arity) : many_cmp(a, b, a_arity, m);
}

static int list_cmp(const uint8_t **a, const uint8_t **b, mode *m) {
    np_wire_list x;
    np_wire_list y;
    np_wire_list_open(&x, *a);
    np_wire_list_open(&y, *b);
    for (;;) {
        const uint8_t *p = np_wire_list_element(&x);
        const uint8_t *q = np_wire_list_element(&y);
        if (p == NULL || q == NULL) {
            /* The rest of the longer one is a list; [] and all else that can be a tail have their ranks. */
            if (p != NULL || q != NULL)
                return p != NULL ? (int)LIST - (int)rank_of(y.tail) : (int)rank_of(x.tail) - (int)LIST;
            *a = x.end;
            *b = y.end;
            return compare(&x.tail, &y.tail, m);
        }
        int order = compare(&p, &q, m);
        if (order != 0)
            return order;
        np_wire_list_behind(&x, p);
        np_wire_list_behind(&y, q);
    }
}

static int bits_cmp(const uint8_t **a, const uint8_t **b) {
    np_wire_bits x;
    np_wire_bits y;
    *a = np_wire_bits_read(*a, &x);
    *b = np_wire_bits_read(*b, &y);
    uint64_t x_bits = x.len == 0 ? 0 : (uint64_t)8 * (x.len - 1) + x.last_bits;
    uint64_t y_bits = y.len == 0 ? 0 : (uint64_t)8 * (y.len - 1) + y.last_bits;
    uint64_t common = x_bits < y_bits ? x_bits : y_bits;
    int order = memcmp(x.data, y.data, common / 8);
    if (order == 0 && common % 8 != 0) {
        unsigned shift = 8 - (unsigned)(common % 8);
        order = order_u64(x.data[common / 8] >> shift, y.data[common / 8] >> shift);
    }
    return order != 0 ? order : order_u64(x_bits, y_bits);
}

typedef struct pair {
    const uint8_t *key;
    const uint8_t *value;
} pair;

static int key_cmp(const void *x, const void *y) {
    const uint8_t *a = ((const pair *)x)->key;
    const uint8_t *b = ((const pair *)y)->key;
    mode m = {.exact = true};
    return compare(&a, &b, &m);
}

/* The pairs of the map at *p, sorted by key; steps over it. */
static void sorted_pairs(const uint8_t **p, pair *pairs, size_t count) {
    const uint8_t *at = *p + 5;
    for (size_t i = 0; i < count; i++) {
        pairs[i].key = at;
        pairs[i].value = np_wire_skip(at);
        at = np_wire_skip(pairs[i].value);
    }
    qsort(pairs, count, sizeof(*pairs), key_cmp);
    *p = at;
}

/* By size, then by the keys in order, then by the values in the keys' order. */
static int map_cmp(const uint8_t **a, const uint8_t **b, mode *m) {
    size_t count = np_get_u32(*a + 1);
    if (count != np_get_u32(*b + 1))
        return order_u64(count, np_get_u32(*b + 1));
    if (count == 0) {
        *a += 5;
        *b += 5;
        return 0;
    }
    /* The order of terms has no way to report an error. A pair is 2 bytes of input at least: this is at most 32
     * times what the peer sent. */
    pair *pairs = malloc(2 * count * sizeof(*pairs));
    NP_ASSERT(pairs != NULL);
    pair *x = pairs;
    pair *y = pairs + count;
    sorted_pairs(a, x, count);
    sorted_pairs(b, y, count);
    int order = 0;
    for (size_t i = 0; i < count && order == 0; i++)
        order = key_cmp(&x[i], &y[i]);
    for (size_t i = 0; i < count && order == 0; i++)
        order = compare(&x[i].value, &y[i].value, m);
    free(pairs);
    return order;
}

/* Compares the terms at *a and *b; if they compare equal, steps over both. */
static int compare(const uint8_t **a, const uint8_t **b, mode *m) {
    enum rank rank = rank_of(*a);
    enum rank other = rank_of(*b);
    if (rank != other)
        return rank < other ? -1 : 1;
    switch (rank) {
    case NUMBER: return number_cmp(a, b, m);
    case ATOM: {
        int order = atom_cmp(*a, *b);
        *a += np_wire_atom_size(*a);
        *b += np_wire_atom_size(*b);
        return order;
    }
    case REF: return ref_cmp(a, b);
    case FUN: return fun_cmp(a, b, m);
    case EXPORT: return export_cmp(a, b);
    case PORT: return port_cmp(a, b);
    case PID: return pid_cmp(a, b);
    case TUPLE: return tuple_cmp(a, b, m);
    case MAP: return map_cmp(a, b, m);
    case NIL:
        *a = np_wire_skip(*a);
        *b = np_wire_skip(*b);
        return 0;
    case LIST: return list_cmp(a, b, m);
    case BITS: return bits_cmp(a, b);
    }
    return 0;
}

int np_term_cmp(const np_in *a, const np_in *b) {
    if (np_in_at_end(a) || np_in_at_end(b))
        return (int)np_in_at_end(b) - (int)np_in_at_end(a);
    const uint8_t *x = a->base + a->pos;
    const uint8_t *y = b->base + b->pos;
    mode m = {.exact = false};
    int order = compare(&x, &y, &m);
    return order != 0 ? order : m.tie;
}
