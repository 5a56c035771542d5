/*
 * wire.h - the External Term Format inside term/: its tags, and steps over terms that have been validated.
 *
 * Everything here trusts its input (validate.h came first) and works on plain pointers. It does not go through ei:
 * ei copies a kilobyte of node name for every pid, cannot read byte lists as lists, and writes integers above 27
 * bits in a longer form than OTP does.
 */
#ifndef NP_TERM_WIRE_H
#define NP_TERM_WIRE_H

#include "base/buf.h"

#include <native_pool/term.h>

#include <string.h>

enum {
    TAG_NEW_FLOAT = 70,
    TAG_BIT_BINARY = 77,
    TAG_NEW_PID = 88,
    TAG_NEW_PORT = 89,
    TAG_NEWER_REFERENCE = 90,
    TAG_SMALL_INTEGER = 97,
    TAG_INTEGER = 98,
    TAG_FLOAT = 99,
    TAG_ATOM = 100,
    TAG_REFERENCE = 101,
    TAG_PORT = 102,
    TAG_PID = 103,
    TAG_SMALL_TUPLE = 104,
    TAG_LARGE_TUPLE = 105,
    TAG_NIL = 106,
    TAG_STRING = 107,
    TAG_LIST = 108,
    TAG_BINARY = 109,
    TAG_SMALL_BIG = 110,
    TAG_LARGE_BIG = 111,
    TAG_NEW_FUN = 112,
    TAG_EXPORT = 113,
    TAG_NEW_REFERENCE = 114,
    TAG_SMALL_ATOM = 115,
    TAG_MAP = 116,
    TAG_ATOM_UTF8 = 118,
    TAG_SMALL_ATOM_UTF8 = 119,
    TAG_V4_PORT = 120,
};

enum {
    NP_WIRE_FLOAT_TEXT = 31, /* bytes behind tag 99 */
    NP_WIRE_FUN_HEAD = 30,   /* tag, size, arity, uniq, index and number of free variables of a fun */
};

static inline bool np_wire_is_atom(uint8_t tag) {
    return tag == TAG_SMALL_ATOM_UTF8 || tag == TAG_ATOM_UTF8 || tag == TAG_ATOM || tag == TAG_SMALL_ATOM;
}

/* All bytes of the atom at p. */
static inline size_t np_wire_atom_size(const uint8_t *p) {
    return *p == TAG_SMALL_ATOM_UTF8 || *p == TAG_SMALL_ATOM ? (size_t)2 + p[1] : (size_t)3 + np_get_u16(p + 1);
}

/*
 * The bytes of the term at p up to its first child, and the number of children that follow (0: it was the whole
 * term). What is inside a fun, an export or an identifier counts as bytes.
 */
static inline size_t np_wire_head(const uint8_t *p, size_t *children) {
    *children = 0;
    switch (*p) {
    case TAG_SMALL_INTEGER: return 2;
    case TAG_SMALL_ATOM:
    case TAG_SMALL_ATOM_UTF8: return (size_t)2 + p[1];
    case TAG_SMALL_TUPLE: *children = p[1]; return 2;
    case TAG_BINARY: return (size_t)5 + np_get_u32(p + 1);
    case TAG_NIL: return 1;
    case TAG_LIST: *children = (size_t)np_get_u32(p + 1) + 1; return 5;
    case TAG_INTEGER: return 5;
    case TAG_NEW_PID: return 13 + np_wire_atom_size(p + 1);
    case TAG_NEWER_REFERENCE: return 7 + (size_t)4 * np_get_u16(p + 1) + np_wire_atom_size(p + 3);
    case TAG_MAP: *children = (size_t)2 * np_get_u32(p + 1); return 5;
    case TAG_STRING:
    case TAG_ATOM:
    case TAG_ATOM_UTF8: return (size_t)3 + np_get_u16(p + 1);
    case TAG_NEW_FLOAT: return 9;
    case TAG_SMALL_BIG: return (size_t)3 + p[1];
    case TAG_LARGE_BIG: return (size_t)6 + np_get_u32(p + 1);
    case TAG_LARGE_TUPLE: *children = np_get_u32(p + 1); return 5;
    case TAG_BIT_BINARY: return (size_t)6 + np_get_u32(p + 1);
    case TAG_FLOAT: return 1 + NP_WIRE_FLOAT_TEXT;
    case TAG_PID: return 10 + np_wire_atom_size(p + 1);
    case TAG_PORT:
    case TAG_REFERENCE: return 6 + np_wire_atom_size(p + 1);
    case TAG_NEW_PORT: return 9 + np_wire_atom_size(p + 1);
    case TAG_V4_PORT: return 13 + np_wire_atom_size(p + 1);
    case TAG_NEW_REFERENCE: return 4 + (size_t)4 * np_get_u16(p + 1) + np_wire_atom_size(p + 3);
    case TAG_NEW_FUN: return 1 + (size_t)np_get_u32(p + 1);
    case TAG_EXPORT: {
        size_t module = np_wire_atom_size(p + 1);
        return 3 + module + np_wire_atom_size(p + 1 + module);
    }
    default: __builtin_unreachable(); /* validate.c lets no other tag in */
    }
}

/* Behind the whole term at p. */
static inline const uint8_t *np_wire_skip(const uint8_t *p) {
    size_t left = 1;
    do {
        size_t children;
        p += np_wire_head(p, &children);
        left += children - 1;
    } while (left > 0);
    return p;
}

/* The text of the atom at p, as UTF-8: borrowed from p, or converted into scratch (NP_WIRE_LATIN1_MAX bytes) for an
 * old Latin-1 atom. */
enum { NP_WIRE_LATIN1_MAX = 2 * NP_ATOM_CHARS_MAX };
np_str np_wire_atom(const uint8_t *p, uint8_t *scratch);

/* Pids, ports and references in all their forms. */
typedef struct np_wire_id {
    const uint8_t *node; /* the node's atom */
    uint64_t num;        /* of a pid (the word num) or a port */
    uint32_t serial;     /* of a pid */
    uint32_t creation;
    uint32_t len;                  /* of a reference: words */
    uint32_t id[NP_REF_WORDS_MAX]; /* of a reference; unused ones are zero */
} np_wire_id;

/* Reads the identifier at p; returns what is behind it. */
const uint8_t *np_wire_pid(const uint8_t *p, np_wire_id *id);
const uint8_t *np_wire_port(const uint8_t *p, np_wire_id *id);
const uint8_t *np_wire_ref(const uint8_t *p, np_wire_id *id);

/* The number of words that carry the reference's value: zero words at the end do not count (OTP takes missing words
 * for zero). */
uint32_t np_wire_ref_words(const np_wire_id *id);

/* A binary or bit string: bytes, of whose last one only last_bits (1..8, the highest) count; 0 bytes when empty. */
typedef struct np_wire_bits {
    const uint8_t *data;
    size_t len;
    uint32_t last_bits;
} np_wire_bits;
const uint8_t *np_wire_bits_read(const uint8_t *p, np_wire_bits *bits);

/* A fun (112): its fields, then num_free terms at free. */
typedef struct np_wire_fun {
    uint8_t arity;
    const uint8_t *uniq; /* 16 bytes */
    uint32_t index;
    uint32_t num_free;
    const uint8_t *module;
    int64_t old_index;
    int64_t old_uniq;
    const uint8_t *pid;
    const uint8_t *free;
} np_wire_fun;
void np_wire_fun_read(const uint8_t *p, np_wire_fun *fun);

/* The value of an integer of tag 97 or 98. */
static inline int64_t np_wire_int(const uint8_t *p) {
    return *p == TAG_SMALL_INTEGER ? (int64_t)p[1] : (int64_t)(int32_t)np_get_u32(p + 1);
}

/* The value of a float in either form. */
double np_wire_float(const uint8_t *p);

/*
 * The elements of a list in any form, one after the other. A tail that is a list itself continues the list, as it
 * does in Erlang.
 *
 *     np_wire_list_open(&list, p);
 *     while ((element = np_wire_list_element(&list)) != NULL)
 *         np_wire_list_behind(&list, np_wire_skip(element));
 */
typedef struct np_wire_list {
    const uint8_t *p;    /* the next element, or its byte */
    size_t left;         /* elements up to the tail */
    bool bytes;          /* in a byte list */
    uint8_t small[2];    /* the current element, of a byte list */
    const uint8_t *tail; /* once it has ended */
    const uint8_t *end;  /* behind the list, once it has ended */
} np_wire_list;

void np_wire_list_open(np_wire_list *list, const uint8_t *p);

/* The element, NULL at the end. The caller must tell the list where the element ended (np_wire_list_behind) before
 * it asks for the next. */
const uint8_t *np_wire_list_element(np_wire_list *list);
static inline void np_wire_list_behind(np_wire_list *list, const uint8_t *end) {
    if (!list->bytes)
        list->p = end;
}

/* True if the term at p is [] (107 with no bytes is, too). */
static inline bool np_wire_is_nil(const uint8_t *p) {
    return *p == TAG_NIL || (*p == TAG_STRING && np_get_u16(p + 1) == 0);
}

#endif
