/*
 * out.c - the building half of <native_pool/term.h>. One thread per builder; np_out_pid and np_out_ref look names
 * up: main thread.
 *
 * Every function asks room() for the exact number of bytes and writes them there; room() is the one place for the
 * limit, for memory and for the error that sticks.
 */
#include "term/out.h"

#include "base/assert.h"
#include "base/utf8.h"
#include "term/names.h"
#include "term/wire.h"

#include <ei.h>
#include <math.h>

static void fail(np_out *out, int error) {
    if (out->error == 0)
        out->error = error;
}

/* Room for n bytes, which count as written; NULL after an error. */
static inline uint8_t *room(np_out *out, size_t n) {
    if (out->error != 0)
        return NULL;
    size_t used = np_buf_len(out->buf) - out->start;
    if (n > out->limit - used) {
        out->error = NP_ELIMIT;
        return NULL;
    }
    np_buf *buf = out->buf;
    if (n > buf->cap - buf->len) {
        int error = np_buf_reserve(buf, n, NULL);
        if (error < 0) {
            out->error = error;
            return NULL;
        }
    }
    uint8_t *to = buf->data + buf->len;
    buf->len += n;
    return to;
}

/* A tag and four bytes. */
static void put_head32(np_out *out, uint8_t tag, uint32_t value) {
    uint8_t *to = room(out, 5);
    if (to == NULL)
        return;
    to[0] = tag;
    np_put_u32(to + 1, value);
}

void np_out_init(np_out *out, np_buf *buf, size_t limit) {
    *out = (np_out){.buf = buf, .start = np_buf_len(buf), .limit = limit};
}

void np_out_reset(np_out *out) {
    np_buf_truncate(out->buf, out->start);
    out->error = 0;
}

np_in np_out_view(const np_out *out) {
    NP_ASSERT(out->error == 0);
    size_t len = np_out_len(out);
    return (np_in){len == 0 ? NULL : np_buf_head(out->buf) + out->start, 0, len};
}

int np_out_error(const np_out *out) { return out->error; }

size_t np_out_len(const np_out *out) { return np_buf_len(out->buf) - out->start; }

void np_out_raw(np_out *out, const void *data, size_t len) {
    if (len == 0)
        return;
    uint8_t *to = room(out, len);
    if (to != NULL)
        memcpy(to, data, len);
}

void np_out_atom(np_out *out, const char *name) { np_out_atom_n(out, name, strlen(name)); }

void np_out_atom_n(np_out *out, const char *name, size_t len) {
    int64_t chars = len <= NP_ATOM_BYTES_MAX ? np_utf8_count((const uint8_t *)name, len) : -1;
    if (chars < 0 || chars > NP_ATOM_CHARS_MAX) {
        fail(out, NP_EINVAL);
        return;
    }
    size_t head = len <= UINT8_MAX ? 2 : 3;
    uint8_t *to = room(out, head + len);
    if (to == NULL)
        return;
    if (head == 2) {
        to[0] = TAG_SMALL_ATOM_UTF8;
        to[1] = (uint8_t)len;
    } else {
        to[0] = TAG_ATOM_UTF8;
        np_put_u16(to + 1, (uint16_t)len);
    }
    if (len > 0)
        memcpy(to + head, name, len);
}

void np_out_bool(np_out *out, bool value) { np_out_atom(out, value ? "true" : "false"); }

/* An integer beyond 32 bits, in as few bytes as it needs. */
static void put_big(np_out *out, bool negative, uint64_t magnitude) {
    size_t len = (64 - (size_t)__builtin_clzll(magnitude) + 7) / 8;
    uint8_t *to = room(out, 3 + len);
    if (to == NULL)
        return;
    to[0] = TAG_SMALL_BIG;
    to[1] = (uint8_t)len;
    to[2] = negative;
    for (size_t i = 0; i < len; i++)
        to[3 + i] = (uint8_t)(magnitude >> (8 * i));
}

void np_out_int(np_out *out, int64_t value) {
    if (value >= INT32_MIN && value < 0)
        put_head32(out, TAG_INTEGER, (uint32_t)value);
    else if (value < 0)
        put_big(out, true, -(uint64_t)value);
    else
        np_out_uint(out, (uint64_t)value);
}

void np_out_uint(np_out *out, uint64_t value) {
    if (value > INT32_MAX) {
        put_big(out, false, value);
    } else if (value > UINT8_MAX) {
        put_head32(out, TAG_INTEGER, (uint32_t)value);
    } else {
        uint8_t *to = room(out, 2);
        if (to == NULL)
            return;
        to[0] = TAG_SMALL_INTEGER;
        to[1] = (uint8_t)value;
    }
}

void np_out_double(np_out *out, double value) {
    int index = 0;
    char bytes[9];
    if (!isfinite(value) || ei_encode_double(bytes, &index, value) < 0) {
        fail(out, NP_EINVAL);
        return;
    }
    np_out_raw(out, bytes, (size_t)index);
}

uint8_t *np_out_binary_reserve(np_out *out, size_t len) {
    if (len > UINT32_MAX) {
        fail(out, NP_ELIMIT);
        return NULL;
    }
    uint8_t *to = room(out, 5 + len);
    if (to == NULL)
        return NULL;
    to[0] = TAG_BINARY;
    np_put_u32(to + 1, (uint32_t)len);
    return to + 5;
}

void np_out_binary(np_out *out, const void *data, size_t len) {
    uint8_t *to = np_out_binary_reserve(out, len);
    if (to != NULL && len > 0)
        memcpy(to, data, len);
}

void np_out_text(np_out *out, const char *text) { np_out_binary(out, text, strlen(text)); }

void np_out_chars(np_out *out, const char *text) {
    size_t len = strlen(text);
    if (len == 0) {
        np_out_nil(out);
    } else if (len <= UINT16_MAX) {
        uint8_t *to = room(out, 3 + len);
        if (to == NULL)
            return;
        to[0] = TAG_STRING;
        np_put_u16(to + 1, (uint16_t)len);
        memcpy(to + 3, text, len);
    } else {
        if (len > UINT32_MAX)
            fail(out, NP_ELIMIT);
        np_out_list(out, (uint32_t)len);
        for (size_t i = 0; i < len && out->error == 0; i++)
            np_out_uint(out, (uint8_t)text[i]);
        np_out_nil(out);
    }
}

void np_out_tuple(np_out *out, uint32_t arity) {
    if (arity > UINT8_MAX) {
        put_head32(out, TAG_LARGE_TUPLE, arity);
        return;
    }
    uint8_t *to = room(out, 2);
    if (to == NULL)
        return;
    to[0] = TAG_SMALL_TUPLE;
    to[1] = (uint8_t)arity;
}

void np_out_list(np_out *out, uint32_t len) {
    if (len > 0)
        put_head32(out, TAG_LIST, len);
}

void np_out_nil(np_out *out) {
    uint8_t *to = room(out, 1);
    if (to != NULL)
        to[0] = TAG_NIL;
}

void np_out_map(np_out *out, uint32_t pairs) { put_head32(out, TAG_MAP, pairs); }

void np_out_pid(np_out *out, const np_pid *pid) {
    if (pid->node == 0) {
        fail(out, NP_EINVAL);
        return;
    }
    np_bytes node = np_name_atom(pid->node);
    uint8_t *to = room(out, 13 + node.len);
    if (to == NULL)
        return;
    *to++ = TAG_NEW_PID;
    memcpy(to, node.data, node.len);
    to += node.len;
    np_put_u32(to, pid->num);
    np_put_u32(to + 4, pid->serial);
    np_put_u32(to + 8, pid->creation);
}

void np_out_ref(np_out *out, const np_ref *ref) {
    if (ref->node == 0 || ref->len < 1 || ref->len > NP_REF_WORDS_MAX) {
        fail(out, NP_EINVAL);
        return;
    }
    np_bytes node = np_name_atom(ref->node);
    uint8_t *to = room(out, 7 + node.len + (size_t)4 * ref->len);
    if (to == NULL)
        return;
    to[0] = TAG_NEWER_REFERENCE;
    np_put_u16(to + 1, (uint16_t)ref->len);
    memcpy(to + 3, node.data, node.len);
    to += 3 + node.len;
    np_put_u32(to, ref->creation);
    for (uint32_t i = 0; i < ref->len; i++)
        np_put_u32(to + 4 + 4 * (size_t)i, ref->id[i]);
}

void np_out_term(np_out *out, const np_in *term) {
    if (term->pos < term->end)
        np_out_raw(out, term->base + term->pos, term->end - term->pos);
}
