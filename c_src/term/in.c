/*
 * in.c - the reading half of <native_pool/term.h>. Called several times for every message, so it reads the bytes
 * directly. Any thread, but np_in_pid and np_in_ref, which look names up: main thread.
 *
 * Every function looks whether a term is left before it reads the tag; behind the tag the term is whole, because it
 * was validated.
 */
#include "term/names.h"
#include "term/number.h"
#include "term/wire.h"

#include <limits.h>

/* The term at the cursor; NULL when none is left. */
static inline const uint8_t *next(const np_in *in) { return in->pos < in->end ? in->base + in->pos : NULL; }

static inline void advance(np_in *in, const uint8_t *behind) { in->pos = (size_t)(behind - in->base); }

np_type np_in_type(const np_in *in) {
    const uint8_t *p = next(in);
    if (p == NULL)
        return NP_TYPE_END;
    switch (*p) {
    case TAG_SMALL_INTEGER:
    case TAG_INTEGER:
    case TAG_SMALL_BIG:
    case TAG_LARGE_BIG: return NP_TYPE_INT;
    case TAG_NEW_FLOAT:
    case TAG_FLOAT: return NP_TYPE_FLOAT;
    case TAG_REFERENCE:
    case TAG_NEW_REFERENCE:
    case TAG_NEWER_REFERENCE: return NP_TYPE_REF;
    case TAG_NEW_FUN:
    case TAG_EXPORT: return NP_TYPE_FUN;
    case TAG_PORT:
    case TAG_NEW_PORT:
    case TAG_V4_PORT: return NP_TYPE_PORT;
    case TAG_PID:
    case TAG_NEW_PID: return NP_TYPE_PID;
    case TAG_SMALL_TUPLE:
    case TAG_LARGE_TUPLE: return NP_TYPE_TUPLE;
    case TAG_MAP: return NP_TYPE_MAP;
    case TAG_NIL:
    case TAG_STRING:
    case TAG_LIST: return NP_TYPE_LIST;
    case TAG_BINARY:
    case TAG_BIT_BINARY: return NP_TYPE_BITSTRING;
    default: return NP_TYPE_ATOM;
    }
}

int np_in_match(np_in *in, const char *name) {
    const uint8_t *p = next(in);
    if (p == NULL)
        return NP_ETYPE;
    size_t len = strlen(name);
    if (*p == TAG_SMALL_ATOM_UTF8) {
        if (p[1] != len || memcmp(p + 2, name, len) != 0)
            return NP_ETYPE;
        in->pos += 2 + len;
        return 0;
    }
    if (!np_wire_is_atom(*p))
        return NP_ETYPE;
    uint8_t scratch[NP_WIRE_LATIN1_MAX];
    np_str text = np_wire_atom(p, scratch);
    if (text.len != len || memcmp(text.data, name, len) != 0)
        return NP_ETYPE;
    in->pos += np_wire_atom_size(p);
    return 0;
}

int np_in_atom(np_in *in, char *buf, size_t size) {
    const uint8_t *p = next(in);
    if (p == NULL || !np_wire_is_atom(*p))
        return NP_ETYPE;
    uint8_t scratch[NP_WIRE_LATIN1_MAX];
    np_str text = np_wire_atom(p, scratch);
    if (text.len >= size)
        return NP_ELIMIT;
    memcpy(buf, text.data, text.len);
    buf[text.len] = '\0';
    in->pos += np_wire_atom_size(p);
    return (int)text.len;
}

int np_in_bool(np_in *in, bool *value) {
    if (np_in_match(in, "true") == 0)
        *value = true;
    else if (np_in_match(in, "false") == 0)
        *value = false;
    else
        return NP_ETYPE;
    return 0;
}

/* The big integer at p: behind it, with sign and magnitude. */
static const uint8_t *read_big(const uint8_t *p, bool *negative, uint64_t *magnitude) {
    if (*p != TAG_SMALL_BIG && *p != TAG_LARGE_BIG)
        return NULL;
    np_integer integer;
    const uint8_t *behind = np_integer_read(p, &integer);
    if (np_integer_magnitude(&integer, magnitude) < 0)
        return NULL;
    *negative = integer.negative;
    return behind;
}

int np_in_int64(np_in *in, int64_t *value) {
    const uint8_t *p = next(in);
    if (p == NULL)
        return NP_ETYPE;
    if (*p == TAG_SMALL_INTEGER || *p == TAG_INTEGER) {
        *value = np_wire_int(p);
        in->pos += *p == TAG_SMALL_INTEGER ? 2 : 5;
        return 0;
    }
    bool negative;
    uint64_t magnitude;
    const uint8_t *behind = read_big(p, &negative, &magnitude);
    if (behind == NULL)
        return np_in_type(in) == NP_TYPE_INT ? NP_ERANGE : NP_ETYPE;
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return NP_ERANGE;
    *value = negative ? -(int64_t)(magnitude - 1) - 1 : (int64_t)magnitude; /* a negative one is not 0 */
    advance(in, behind);
    return 0;
}

int np_in_uint64(np_in *in, uint64_t *value) {
    const uint8_t *p = next(in);
    if (p == NULL)
        return NP_ETYPE;
    if (*p == TAG_SMALL_INTEGER) {
        *value = p[1];
        in->pos += 2;
        return 0;
    }
    if (*p == TAG_INTEGER) {
        int64_t small = np_wire_int(p);
        if (small < 0)
            return NP_ERANGE;
        *value = (uint64_t)small;
        in->pos += 5;
        return 0;
    }
    bool negative;
    uint64_t magnitude;
    const uint8_t *behind = read_big(p, &negative, &magnitude);
    if (behind == NULL)
        return np_in_type(in) == NP_TYPE_INT ? NP_ERANGE : NP_ETYPE;
    if (negative)
        return NP_ERANGE;
    *value = magnitude;
    advance(in, behind);
    return 0;
}

int np_in_double(np_in *in, double *value) {
    const uint8_t *p = next(in);
    np_type type = np_in_type(in);
    if (type == NP_TYPE_FLOAT) {
        *value = np_wire_float(p);
        in->pos += *p == TAG_NEW_FLOAT ? 9 : 1 + NP_WIRE_FLOAT_TEXT;
        return 0;
    }
    if (type != NP_TYPE_INT)
        return NP_ETYPE;
    np_integer integer;
    const uint8_t *behind = np_integer_read(p, &integer);
    int error = np_integer_double(&integer, value);
    if (error < 0)
        return error;
    advance(in, behind);
    return 0;
}

int np_in_binary(np_in *in, np_bytes *bytes) {
    const uint8_t *p = next(in);
    if (p == NULL || (*p != TAG_BINARY && *p != TAG_BIT_BINARY))
        return NP_ETYPE;
    np_wire_bits bits;
    const uint8_t *behind = np_wire_bits_read(p, &bits);
    if (bits.last_bits != 8)
        return NP_ETYPE;
    *bytes = (np_bytes){bits.data, bits.len};
    advance(in, behind);
    return 0;
}

int np_in_tuple(np_in *in, uint32_t *arity) {
    const uint8_t *p = next(in);
    if (p == NULL)
        return NP_ETYPE;
    if (*p == TAG_SMALL_TUPLE) {
        *arity = p[1];
        in->pos += 2;
        return 0;
    }
    if (*p != TAG_LARGE_TUPLE)
        return NP_ETYPE;
    *arity = np_get_u32(p + 1);
    in->pos += 5;
    return 0;
}

int np_in_tuple_of(np_in *in, uint32_t arity) {
    const uint8_t *p = next(in);
    if (p == NULL)
        return NP_ETYPE;
    if (*p == TAG_SMALL_TUPLE && p[1] == arity) {
        in->pos += 2;
        return 0;
    }
    if (*p != TAG_LARGE_TUPLE || np_get_u32(p + 1) != arity)
        return NP_ETYPE;
    in->pos += 5;
    return 0;
}

int np_in_map(np_in *in, uint32_t *pairs) {
    const uint8_t *p = next(in);
    if (p == NULL || *p != TAG_MAP)
        return NP_ETYPE;
    *pairs = np_get_u32(p + 1);
    in->pos += 5;
    return 0;
}

/* The number of a node's name. */
static inline int intern_node(const uint8_t *atom, np_node_id *id) {
    if (*atom == TAG_SMALL_ATOM_UTF8)
        return np_name_intern((const char *)atom + 2, atom[1], id);
    uint8_t scratch[NP_WIRE_LATIN1_MAX];
    np_str text = np_wire_atom(atom, scratch);
    return np_name_intern(text.data, text.len, id);
}

int np_in_pid(np_in *in, np_pid *pid) {
    const uint8_t *p = next(in);
    if (p == NULL || (*p != TAG_NEW_PID && *p != TAG_PID))
        return NP_ETYPE;
    np_wire_id id;
    const uint8_t *behind = np_wire_pid(p, &id);
    np_node_id node;
    int error = intern_node(id.node, &node);
    if (error < 0)
        return error;
    *pid = (np_pid){.node = node, .num = (uint32_t)id.num, .serial = id.serial, .creation = id.creation};
    advance(in, behind);
    return 0;
}

int np_in_ref(np_in *in, np_ref *ref) {
    const uint8_t *p = next(in);
    if (p == NULL || (*p != TAG_NEWER_REFERENCE && *p != TAG_NEW_REFERENCE && *p != TAG_REFERENCE))
        return NP_ETYPE;
    np_wire_id id;
    const uint8_t *behind = np_wire_ref(p, &id);
    np_node_id node;
    int error = intern_node(id.node, &node);
    if (error < 0)
        return error;
    ref->node = node;
    ref->creation = id.creation;
    ref->len = id.len;
    memcpy(ref->id, id.id, sizeof(ref->id));
    advance(in, behind);
    return 0;
}

int np_in_term(np_in *in, np_in *term) {
    const uint8_t *p = next(in);
    if (p == NULL)
        return NP_ETYPE;
    size_t start = in->pos;
    advance(in, np_wire_skip(p));
    if (term != NULL)
        *term = (np_in){in->base, start, in->pos};
    return 0;
}

int np_in_list(np_in *in, np_list *list) {
    if (np_in_type(in) != NP_TYPE_LIST)
        return NP_ETYPE;
    list->left = 0;
    list->bytes = false;
    return np_in_term(in, &list->rest);
}

bool np_list_next(np_list *list, np_in *element) {
    np_in *rest = &list->rest;
    while (list->left == 0) {
        const uint8_t *p = next(rest);
        if (p == NULL || (*p != TAG_LIST && *p != TAG_STRING))
            return false;
        list->bytes = *p == TAG_STRING;
        list->left = list->bytes ? np_get_u16(p + 1) : np_get_u32(p + 1);
        rest->pos += list->bytes ? 3 : 5;
    }
    list->left--;
    if (!list->bytes)
        return np_in_term(rest, element) == 0;
    list->small[0] = TAG_SMALL_INTEGER;
    list->small[1] = rest->base[rest->pos++];
    *element = (np_in){list->small, 0, sizeof(list->small)};
    return true;
}

bool np_list_tail(const np_list *list, np_in *tail) {
    static const uint8_t nil = TAG_NIL;
    bool proper = list->left == 0 && (np_in_at_end(&list->rest) || np_wire_is_nil(next(&list->rest)));
    if (tail != NULL)
        *tail = proper ? (np_in){&nil, 0, 1} : list->rest;
    return proper;
}

int np_in_text(np_in *in, char *buf, size_t size) {
    np_bytes bytes;
    np_in at = *in;
    if (np_in_binary(&at, &bytes) == 0) {
        if (bytes.len > size || bytes.len > INT_MAX)
            return NP_ELIMIT;
        if (bytes.len > 0)
            memcpy(buf, bytes.data, bytes.len);
        *in = at;
        return (int)bytes.len;
    }
    np_list list;
    np_in element;
    size_t len = 0;
    if (np_in_list(&at, &list) < 0)
        return NP_ETYPE;
    while (np_list_next(&list, &element)) {
        uint64_t byte;
        if (np_in_uint64(&element, &byte) < 0 || byte > UINT8_MAX)
            return NP_ETYPE;
        if (len == size || len == INT_MAX)
            return NP_ELIMIT;
        buf[len++] = (char)byte;
    }
    if (!np_list_proper(&list))
        return NP_ETYPE;
    *in = at;
    return (int)len;
}

int np_in_map_get(const np_in *in, const char *key, np_in *value) {
    np_in at = *in;
    uint32_t pairs;
    if (np_in_map(&at, &pairs) < 0)
        return NP_ETYPE;
    for (uint32_t i = 0; i < pairs; i++) {
        bool found = np_in_match(&at, key) == 0;
        if (!found)
            (void)np_in_term(&at, NULL);
        np_in candidate;
        (void)np_in_term(&at, &candidate);
        if (found) {
            *value = candidate;
            return 0;
        }
    }
    return NP_ENOENT;
}
