/*
 * term.h - reading and building Erlang terms.
 *
 * Reading: an np_in is a cursor over external terms that have been validated already (a worker only ever sees such). A
 * reading function that succeeds moves the cursor behind what it read; one that fails leaves the cursor where it was,
 * so that alternatives are tried one after another:
 *
 *     int64_t n;
 *     if (np_in_match(in, "increment") == 0) ...
 *     else if (np_in_tuple_of(in, 2) == 0 && np_in_match(in, "add") == 0 && np_in_int64(in, &n) == 0) ...
 *
 * (np_in is a plain struct: copy it to remember a place.)
 *
 * Building: an np_out appends to a buffer. The first error sticks and makes all later calls do nothing, so that it is
 * enough to look at np_out_error() once at the end - which native_pool does itself for every callback's output.
 *
 * What is read points into the message and is valid until the callback returns.
 */
#ifndef NATIVE_POOL_TERM_H
#define NATIVE_POOL_TERM_H

#include <native_pool/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    NP_ATOM_CHARS_MAX = 255,                   /* of OTP: an atom has at most 255 characters ... */
    NP_ATOM_BYTES_MAX = 4 * NP_ATOM_CHARS_MAX, /* ... of at most four UTF-8 bytes */
};

typedef enum np_type {
    NP_TYPE_END, /* no term left */
    NP_TYPE_INT, /* any integer, big ones too */
    NP_TYPE_FLOAT,
    NP_TYPE_ATOM,
    NP_TYPE_REF,
    NP_TYPE_FUN,
    NP_TYPE_PORT,
    NP_TYPE_PID,
    NP_TYPE_TUPLE,
    NP_TYPE_MAP,
    NP_TYPE_LIST,      /* [] too, and byte lists in their short form */
    NP_TYPE_BITSTRING, /* binaries too */
} np_type;

/* A cursor over the terms in base[pos .. end). Plain data: copying it is allowed and cheap. */
typedef struct np_in {
    const uint8_t *base;
    size_t pos;
    size_t end;
} np_in;

/* The kind of the next term; NP_TYPE_END when none is left. */
np_type np_in_type(const np_in *in);

/* True if no term is left. */
static inline bool np_in_at_end(const np_in *in) { return in->pos >= in->end; }

/* The next term is the atom `name` (UTF-8): step over it. NP_ETYPE otherwise. */
int np_in_match(np_in *in, const char *name);

/* An atom's text, copied as UTF-8 and terminated into buf, which has room for size bytes (NP_ATOM_BYTES_MAX + 1 always
 * do; NP_ELIMIT if too small). Returns the length in bytes. */
int np_in_atom(np_in *in, char *buf, size_t size);

int np_in_bool(np_in *in, bool *value);

/* An integer that fits; NP_ERANGE if it is an integer but does not. */
int np_in_int64(np_in *in, int64_t *value);
int np_in_uint64(np_in *in, uint64_t *value);

/* A float, or an integer converted to one. */
int np_in_double(np_in *in, double *value);

/* A binary (whole bytes). The bytes are borrowed. */
int np_in_binary(np_in *in, np_bytes *bytes);

/* A tuple's header; its elements follow in the cursor. */
int np_in_tuple(np_in *in, uint32_t *arity);

/* A tuple's header if it has exactly this arity; NP_ETYPE otherwise. */
int np_in_tuple_of(np_in *in, uint32_t arity);

/* A map's header; its keys and values follow alternately. */
int np_in_map(np_in *in, uint32_t *pairs);

int np_in_pid(np_in *in, np_pid *pid);
int np_in_ref(np_in *in, np_ref *ref);

/* Any one term: step over it; *term (may be NULL) becomes a cursor over just that term. */
int np_in_term(np_in *in, np_in *term);

/* The bytes of what is left in the cursor, in External Term Format without the leading 131. */
static inline np_bytes np_in_bytes(const np_in *in) {
    np_bytes bytes = {in->base + in->pos, in->end - in->pos};
    return bytes;
}

/*
 * A list, its elements one by one. Byte lists, which the wire carries in a short form, look the same as any other:
 *
 *     np_list list;
 *     np_in element;
 *     if (np_in_list(in, &list) < 0) ...
 *     while (np_list_next(&list, &element)) ...
 *     if (!np_list_proper(&list)) ...
 *
 * The cursor stands behind the whole list as soon as np_in_list has succeeded.
 */
typedef struct np_list {
    np_in rest;
    uint32_t left;
    bool bytes;
    uint8_t small[2]; /* the current element of a byte list */
} np_list;

int np_in_list(np_in *in, np_list *list);

/* The next element, valid until the next call; false when there is none. */
bool np_list_next(np_list *list, np_in *element);

/* After the last element: true if the list ends in []. *tail (may be NULL) is what it ends in. */
bool np_list_tail(const np_list *list, np_in *tail);
static inline bool np_list_proper(const np_list *list) { return np_list_tail(list, NULL); }

/* A list of bytes 0..255 or a binary, as bytes copied into buf. Returns the length; NP_ELIMIT if it does not fit. */
int np_in_text(np_in *in, char *buf, size_t size);

/* The value under an atom key of the map at the cursor; the cursor does not move. NP_ENOENT, NP_ETYPE. */
int np_in_map_get(const np_in *in, const char *key, np_in *value);

/* ---- building ---- */

typedef struct np_out np_out;

/* The first error of this builder, or 0. NP_ELIMIT: the term has become larger than the node lets through. */
int np_out_error(const np_out *out);

/* Bytes written so far. */
size_t np_out_len(const np_out *out);

void np_out_atom(np_out *out, const char *name);
void np_out_atom_n(np_out *out, const char *name, size_t len);
void np_out_bool(np_out *out, bool value);
void np_out_int(np_out *out, int64_t value);
void np_out_uint(np_out *out, uint64_t value);
void np_out_double(np_out *out, double value); /* NP_EINVAL for a NaN or infinity: Erlang has none */
void np_out_binary(np_out *out, const void *data, size_t len);
void np_out_text(np_out *out, const char *text);  /* a binary with the text's bytes */
void np_out_chars(np_out *out, const char *text); /* a list of the text's bytes ("charlist"); [] if empty */
void np_out_tuple(np_out *out, uint32_t arity);   /* exactly arity terms must follow */
void np_out_list(
    np_out *out,
    uint32_t len); /* len terms and then a tail must follow: np_out_nil for a proper list. len 0: just the tail */
void np_out_nil(np_out *out);                 /* [] */
void np_out_map(np_out *out, uint32_t pairs); /* pairs times key and value must follow; keys must differ */
void np_out_pid(np_out *out, const np_pid *pid);
void np_out_ref(np_out *out, const np_ref *ref);
void np_out_term(np_out *out, const np_in *term); /* a copy of what is left in the cursor */

/*
 * Room for len bytes of a binary, to be filled by the caller at once (before the next call on this builder).
 * NULL after an error. Saves a copy of large replies.
 */
uint8_t *np_out_binary_reserve(np_out *out, size_t len);

#ifdef __cplusplus
}
#endif
#endif
