/* validate.c - see validate.h. Any thread. The only code in term/ that does not trust its input; ei is not used, for
 * it takes no length. */
#include "term/validate.h"

#include "base/limits.h"
#include "base/utf8.h"
#include "term/wire.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

/* A container whose children are being walked. */
typedef struct frame {
    size_t left;            /* children still to come */
    const uint8_t *fun_end; /* of a fun: where they must end; else NULL */
} frame;

typedef struct walk {
    const uint8_t *p;
    const uint8_t *end;
    frame now;
    uint32_t depth;
    frame outer[NP_TERM_DEPTH_MAX];
} walk;

static size_t room(const walk *w) { return (size_t)(w->end - w->p); }

/* The length of the atom at p, or 0 if there is none. */
static size_t atom(const uint8_t *p, const uint8_t *end) {
    size_t have = (size_t)(end - p);
    if (have < 2)
        return 0;
    size_t head = 2;
    size_t len = p[1];
    if (*p == TAG_ATOM_UTF8 || *p == TAG_ATOM) {
        if (have < 3)
            return 0;
        head = 3;
        len = np_get_u16(p + 1);
    } else if (*p != TAG_SMALL_ATOM_UTF8 && *p != TAG_SMALL_ATOM) {
        return 0;
    }
    if (len > have - head)
        return 0;
    if (*p == TAG_ATOM || *p == TAG_SMALL_ATOM)
        return len <= NP_ATOM_CHARS_MAX ? head + len : 0;
    if (len > NP_ATOM_BYTES_MAX)
        return 0;
    int64_t chars = np_utf8_count(p + head, len);
    return chars >= 0 && chars <= NP_ATOM_CHARS_MAX ? head + len : 0;
}

/* The atom of a node name: not empty. */
static size_t node_atom(const uint8_t *p, const uint8_t *end) {
    size_t len = atom(p, end);
    return len > (*p == TAG_ATOM || *p == TAG_ATOM_UTF8 ? 3U : 2U) ? len : 0;
}

/* Steps over n bytes. */
static int step(walk *w, uint64_t n) {
    if (n > room(w))
        return NP_EBADTERM;
    w->p += n;
    return 0;
}

static int step_atom(walk *w) {
    size_t len = atom(w->p, w->end);
    if (len == 0)
        return NP_EBADTERM;
    w->p += len;
    return 0;
}

/* An identifier: `before` bytes, the node's atom, `after` bytes. */
static int step_id(walk *w, size_t before, size_t after) {
    if (room(w) <= before)
        return NP_EBADTERM;
    size_t len = node_atom(w->p + before, w->end);
    return len == 0 ? NP_EBADTERM : step(w, (uint64_t)before + len + after);
}

static int step_ref(walk *w, size_t creation_len) {
    if (room(w) < 3)
        return NP_EBADTERM;
    uint32_t words = np_get_u16(w->p + 1);
    if (words < 1 || words > NP_REF_WORDS_MAX)
        return NP_EBADTERM;
    return step_id(w, 3, creation_len + (size_t)4 * words);
}

/* A length of len_size bytes at p[1], then `extra` bytes, then as many as the length says. */
static int step_sized(walk *w, size_t len_size, size_t extra) {
    if (room(w) < 1 + len_size)
        return NP_EBADTERM;
    uint64_t len = len_size == 1 ? w->p[1] : len_size == 2 ? np_get_u16(w->p + 1) : np_get_u32(w->p + 1);
    return step(w, 1 + len_size + extra + len);
}

static int step_new_float(walk *w) {
    if (room(w) < 9)
        return NP_EBADTERM;
    if ((np_get_u16(w->p + 1) & 0x7FF0) == 0x7FF0) /* NaN, infinity: Erlang has none */
        return NP_EBADTERM;
    w->p += 9;
    return 0;
}

/* The old text form: digits '.' digits, an exponent or none, a sign or none, and a zero byte. */
static int step_text_float(walk *w) {
    if (room(w) < 1 + NP_WIRE_FLOAT_TEXT)
        return NP_EBADTERM;
    char text[NP_WIRE_FLOAT_TEXT + 1];
    memcpy(text, w->p + 1, NP_WIRE_FLOAT_TEXT);
    text[NP_WIRE_FLOAT_TEXT] = '\0';
    size_t len = strlen(text);
    if (len == NP_WIRE_FLOAT_TEXT)
        return NP_EBADTERM;
    const char *at = text + (text[0] == '-' || text[0] == '+');
    size_t whole = strspn(at, "0123456789");
    at += whole;
    if (whole == 0 || *at++ != '.')
        return NP_EBADTERM;
    size_t fraction = strspn(at, "0123456789");
    at += fraction;
    if (fraction == 0)
        return NP_EBADTERM;
    if (*at == 'e' || *at == 'E') {
        at += 1 + (at[1] == '-' || at[1] == '+');
        if (!isdigit((unsigned char)*at))
            return NP_EBADTERM;
        at += strspn(at, "0123456789");
    }
    if (*at != '\0' || !isfinite(strtod(text, NULL)))
        return NP_EBADTERM;
    w->p += 1 + NP_WIRE_FLOAT_TEXT;
    return 0;
}

static int step_bits(walk *w) {
    if (room(w) < 6)
        return NP_EBADTERM;
    uint32_t len = np_get_u32(w->p + 1);
    uint8_t last_bits = w->p[5];
    if (last_bits > 8 || (last_bits == 0) != (len == 0)) /* as OTP's decoder */
        return NP_EBADTERM;
    return step(w, 6 + (uint64_t)len);
}

static int step_export(walk *w) {
    w->p++;
    if (step_atom(w) < 0 || step_atom(w) < 0 || room(w) < 2 || *w->p != TAG_SMALL_INTEGER)
        return NP_EBADTERM;
    w->p += 2;
    return 0;
}

/* Goes down into a container whose head ends at w->p. */
static int descend(walk *w, size_t children, const uint8_t *fun_end) {
    if (children > room(w)) /* a term has a byte at least */
        return NP_EBADTERM;
    if (w->depth == NP_TERM_DEPTH_MAX)
        return NP_ELIMIT;
    w->outer[w->depth++] = w->now;
    w->now = (frame){children, fun_end};
    return 0;
}

static int step_old_fun_int(walk *w) {
    if (room(w) < 2 || (*w->p != TAG_SMALL_INTEGER && *w->p != TAG_INTEGER))
        return NP_EBADTERM;
    return step(w, *w->p == TAG_SMALL_INTEGER ? 2 : 5);
}

static int step_pid(walk *w) {
    if (room(w) < 1 || (*w->p != TAG_NEW_PID && *w->p != TAG_PID))
        return NP_EBADTERM;
    return step_id(w, 1, *w->p == TAG_NEW_PID ? 12 : 9);
}

/* A fun; its free variables are children. */
static int step_fun(walk *w) {
    if (room(w) < NP_WIRE_FUN_HEAD)
        return NP_EBADTERM;
    uint64_t size = np_get_u32(w->p + 1); /* counts itself */
    uint32_t num_free = np_get_u32(w->p + 26);
    if (size > room(w) - 1 || 1 + size < NP_WIRE_FUN_HEAD)
        return NP_EBADTERM;
    const uint8_t *fun_end = w->p + 1 + size;
    w->p += NP_WIRE_FUN_HEAD;
    if (step_atom(w) < 0 || step_old_fun_int(w) < 0 || step_old_fun_int(w) < 0 || step_pid(w) < 0)
        return NP_EBADTERM;
    if (w->p > fun_end)
        return NP_EBADTERM;
    return descend(w, num_free, fun_end);
}

static int step_tuple(walk *w, size_t head) {
    if (room(w) < head)
        return NP_EBADTERM;
    size_t arity = head == 2 ? w->p[1] : np_get_u32(w->p + 1);
    w->p += head;
    return arity == 0 ? 0 : descend(w, arity, NULL);
}

static int step_list(walk *w) {
    if (room(w) < 5)
        return NP_EBADTERM;
    size_t len = np_get_u32(w->p + 1);
    w->p += 5;
    return len == 0 ? NP_EBADTERM : descend(w, len + 1, NULL); /* nobody sends an empty one: that is nil */
}

static int step_map(walk *w) {
    if (room(w) < 5)
        return NP_EBADTERM;
    size_t pairs = np_get_u32(w->p + 1);
    w->p += 5;
    return pairs == 0 ? 0 : descend(w, 2 * pairs, NULL);
}

/* Steps over the head of the term at w->p, which is inside the buffer, and all of it if it has no children. */
static int step_term(walk *w) {
    switch (*w->p) {
    case TAG_SMALL_INTEGER: return step(w, 2);
    case TAG_INTEGER: return step(w, 5);
    case TAG_SMALL_ATOM_UTF8:
    case TAG_ATOM_UTF8:
    case TAG_SMALL_ATOM:
    case TAG_ATOM: return step_atom(w);
    case TAG_SMALL_TUPLE: return step_tuple(w, 2);
    case TAG_LARGE_TUPLE: return step_tuple(w, 5);
    case TAG_NIL: return step(w, 1);
    case TAG_LIST: return step_list(w);
    case TAG_STRING: return step_sized(w, 2, 0);
    case TAG_BINARY: return step_sized(w, 4, 0);
    case TAG_BIT_BINARY: return step_bits(w);
    case TAG_MAP: return step_map(w);
    case TAG_NEW_PID:
    case TAG_PID: return step_pid(w);
    case TAG_NEWER_REFERENCE: return step_ref(w, 4);
    case TAG_NEW_REFERENCE: return step_ref(w, 1);
    case TAG_REFERENCE: return step_id(w, 1, 5);
    case TAG_V4_PORT: return step_id(w, 1, 12);
    case TAG_NEW_PORT: return step_id(w, 1, 8);
    case TAG_PORT: return step_id(w, 1, 5);
    case TAG_NEW_FLOAT: return step_new_float(w);
    case TAG_FLOAT: return step_text_float(w);
    case TAG_SMALL_BIG: return step_sized(w, 1, 1);
    case TAG_LARGE_BIG: return step_sized(w, 4, 1);
    case TAG_NEW_FUN: return step_fun(w);
    case TAG_EXPORT: return step_export(w);
    default: return NP_EBADTERM; /* atom cache (82), local (121), compressed (80), retired ones */
    }
}

int64_t np_term_validate(const uint8_t *data, size_t len) {
    walk w;
    w.p = data;
    w.end = data + len;
    w.now = (frame){1, NULL};
    w.depth = 0;
    for (;;) {
        while (w.now.left == 0) {
            if (w.now.fun_end != NULL && w.p != w.now.fun_end)
                return NP_EBADTERM;
            if (w.depth == 0)
                return w.p - data;
            w.now = w.outer[--w.depth];
        }
        if (w.p == w.end)
            return NP_EBADTERM;
        w.now.left--;
        int error = step_term(&w);
        if (error < 0)
            return error;
    }
}

int np_term_open(np_in *in, const uint8_t *data, size_t len) {
    int64_t used = np_term_validate(data, len);
    if (used < 0)
        return (int)used;
    if ((uint64_t)used != len)
        return NP_EBADTERM;
    *in = (np_in){data, 0, len};
    return 0;
}
