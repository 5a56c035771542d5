/*
 * buf.h - a growable byte buffer that can also be consumed from the front.
 *
 * Owned by whoever has the struct; any thread, one at a time. Growth doubles, so appending is amortised O(1);
 * consuming moves an offset and compacts only when that is cheap.
 */
#ifndef NP_BASE_BUF_H
#define NP_BASE_BUF_H

#include <native_pool/types.h>

typedef struct np_buf {
    uint8_t *data; /* allocation; content is data[off .. len) */
    size_t off;
    size_t len;
    size_t cap;
} np_buf;

#define NP_BUF_INIT                                                                                                    \
    { NULL, 0, 0, 0 }

void np_buf_init(np_buf *buf);
void np_buf_fini(np_buf *buf); /* frees; the buffer is empty and usable afterwards */

static inline const uint8_t *np_buf_head(const np_buf *buf) {
    return buf->off == 0 ? buf->data : buf->data + buf->off; /* NULL + 0 is undefined */
}
static inline size_t np_buf_len(const np_buf *buf) { return buf->len - buf->off; }

/* Makes room for n more bytes behind the content; *to (may be NULL) points at it. NP_ENOMEM. */
int np_buf_reserve(np_buf *buf, size_t n, uint8_t **to);

/* Declares n bytes of reserved room written. */
void np_buf_commit(np_buf *buf, size_t n);

int np_buf_append(np_buf *buf, const void *data, size_t n);
int np_buf_append_u8(np_buf *buf, uint8_t value);
int np_buf_append_u16(np_buf *buf, uint16_t value); /* big-endian, as are the next two */
int np_buf_append_u32(np_buf *buf, uint32_t value);
int np_buf_append_u64(np_buf *buf, uint64_t value);
int np_buf_printf(np_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drops n bytes from the front (n <= length). */
void np_buf_consume(np_buf *buf, size_t n);

/* Cuts the content to n bytes (n <= length). */
void np_buf_truncate(np_buf *buf, size_t n);

/* Empties it; keeps at most keep bytes of the allocation. */
void np_buf_clear(np_buf *buf, size_t keep);

static inline uint16_t np_get_u16(const uint8_t *p) { return (uint16_t)((p[0] << 8) | p[1]); }
static inline uint32_t np_get_u32(const uint8_t *p) {
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}
static inline uint64_t np_get_u64(const uint8_t *p) { return ((uint64_t)np_get_u32(p) << 32) | np_get_u32(p + 4); }
static inline void np_put_u16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void np_put_u32(uint8_t *p, uint32_t v) {
    np_put_u16(p, (uint16_t)(v >> 16));
    np_put_u16(p + 2, (uint16_t)v);
}
static inline void np_put_u64(uint8_t *p, uint64_t v) {
    np_put_u32(p, (uint32_t)(v >> 32));
    np_put_u32(p + 4, (uint32_t)v);
}

#endif
