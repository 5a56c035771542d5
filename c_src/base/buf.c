/* buf.c - see buf.h. */
#include "base/buf.h"

#include "base/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAP_MIN = 128 };

void np_buf_init(np_buf *buf) { *buf = (np_buf)NP_BUF_INIT; }

void np_buf_fini(np_buf *buf) {
    free(buf->data);
    np_buf_init(buf);
}

/* Moves the content to the front of the allocation. */
static void compact(np_buf *buf) {
    if (buf->off == 0)
        return;
    NP_ASSERT(buf->data != NULL);
    memmove(buf->data, buf->data + buf->off, buf->len - buf->off);
    buf->len -= buf->off;
    buf->off = 0;
}

static int grow(np_buf *buf, size_t n) {
    size_t content = np_buf_len(buf);
    /* Compacting moves no more bytes than were consumed since the last time: amortised O(1). */
    if (buf->off >= content && buf->cap - content >= n) {
        compact(buf);
        return 0;
    }
    if (n > SIZE_MAX / 4 || content > SIZE_MAX / 4)
        return NP_ENOMEM;
    size_t cap = buf->cap < CAP_MIN ? CAP_MIN : buf->cap;
    while (cap < content + n)
        cap *= 2;
    compact(buf);
    uint8_t *data = realloc(buf->data, cap);
    if (data == NULL)
        return NP_ENOMEM;
    buf->data = data;
    buf->cap = cap;
    return 0;
}

int np_buf_reserve(np_buf *buf, size_t n, uint8_t **to) {
    if (buf->data == NULL || buf->cap - buf->len < n) {
        int error = grow(buf, n);
        if (error < 0)
            return error;
    }
    if (to != NULL)
        *to = buf->data + buf->len;
    return 0;
}

void np_buf_commit(np_buf *buf, size_t n) {
    NP_ASSERT(n <= buf->cap - buf->len);
    buf->len += n;
}

int np_buf_append(np_buf *buf, const void *data, size_t n) {
    if (n == 0)
        return 0;
    uint8_t *to;
    int error = np_buf_reserve(buf, n, &to);
    if (error < 0)
        return error;
    memcpy(to, data, n);
    buf->len += n;
    return 0;
}

int np_buf_append_u8(np_buf *buf, uint8_t value) { return np_buf_append(buf, &value, 1); }

int np_buf_append_u16(np_buf *buf, uint16_t value) {
    uint8_t bytes[2];
    np_put_u16(bytes, value);
    return np_buf_append(buf, bytes, sizeof(bytes));
}

int np_buf_append_u32(np_buf *buf, uint32_t value) {
    uint8_t bytes[4];
    np_put_u32(bytes, value);
    return np_buf_append(buf, bytes, sizeof(bytes));
}

int np_buf_append_u64(np_buf *buf, uint64_t value) {
    uint8_t bytes[8];
    np_put_u64(bytes, value);
    return np_buf_append(buf, bytes, sizeof(bytes));
}

int np_buf_printf(np_buf *buf, const char *format, ...) {
    uint8_t *to;
    int error = np_buf_reserve(buf, 1, &to);
    if (error < 0)
        return error;
    size_t room = buf->cap - buf->len;
    va_list args;
    va_start(args, format);
    int n = vsnprintf((char *)to, room, format, args);
    va_end(args);
    if (n < 0)
        return NP_EINVAL;
    if ((size_t)n >= room) { /* the terminator needs room too, though it is not content */
        error = np_buf_reserve(buf, (size_t)n + 1, &to);
        if (error < 0)
            return error;
        va_start(args, format);
        (void)vsnprintf((char *)to, (size_t)n + 1, format, args);
        va_end(args);
    }
    buf->len += (size_t)n;
    return 0;
}

void np_buf_consume(np_buf *buf, size_t n) {
    NP_ASSERT(n <= np_buf_len(buf));
    buf->off += n;
    if (buf->off == buf->len)
        buf->off = buf->len = 0;
}

void np_buf_truncate(np_buf *buf, size_t n) {
    NP_ASSERT(n <= np_buf_len(buf));
    buf->len = buf->off + n;
}

void np_buf_clear(np_buf *buf, size_t keep) {
    buf->off = buf->len = 0;
    if (buf->cap <= keep)
        return;
    if (keep == 0) {
        np_buf_fini(buf);
        return;
    }
    uint8_t *data = realloc(buf->data, keep);
    if (data != NULL) { /* if not, it just stays large */
        buf->data = data;
        buf->cap = keep;
    }
}
