/* number.c - see number.h. Any thread. */
#include "term/number.h"

#include "term/wire.h"

#include <math.h>

const uint8_t *np_integer_read(const uint8_t *p, np_integer *integer) {
    const uint8_t *end;
    if (*p == TAG_SMALL_INTEGER || *p == TAG_INTEGER) {
        int64_t value = np_wire_int(p);
        uint64_t magnitude = value < 0 ? (uint64_t)-value : (uint64_t)value;
        integer->negative = value < 0;
        for (int i = 0; i < 4; i++)
            integer->small[i] = (uint8_t)(magnitude >> (8 * i));
        integer->bytes = integer->small;
        integer->len = sizeof(integer->small);
        end = p + (*p == TAG_SMALL_INTEGER ? 2 : 5);
    } else {
        size_t head = *p == TAG_SMALL_BIG ? 3 : 6;
        integer->len = *p == TAG_SMALL_BIG ? p[1] : np_get_u32(p + 1);
        integer->negative = p[head - 1] != 0;
        integer->bytes = p + head;
        end = integer->bytes + integer->len;
    }
    while (integer->len > 0 && integer->bytes[integer->len - 1] == 0)
        integer->len--;
    if (integer->len == 0)
        integer->negative = false;
    return end;
}

static int magnitude_cmp(const np_integer *a, const np_integer *b) {
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    for (size_t i = a->len; i > 0; i--) {
        if (a->bytes[i - 1] != b->bytes[i - 1])
            return a->bytes[i - 1] < b->bytes[i - 1] ? -1 : 1;
    }
    return 0;
}

int np_integer_cmp(const np_integer *a, const np_integer *b) {
    if (a->negative != b->negative)
        return a->negative ? -1 : 1;
    int order = magnitude_cmp(a, b);
    return a->negative ? -order : order;
}

int np_integer_magnitude(const np_integer *integer, uint64_t *magnitude) {
    if (integer->len > sizeof(*magnitude))
        return NP_ERANGE;
    *magnitude = 0;
    for (size_t i = integer->len; i > 0; i--)
        *magnitude = *magnitude << 8 | integer->bytes[i - 1];
    return 0;
}

/* The highest 64 bits of a magnitude of more than 64 bits, the number of bits in all, and whether any of the lower
 * bits is set. */
static uint64_t top_bits(const np_integer *integer, size_t *bits, bool *more) {
    size_t top = integer->len - 1;
    unsigned high = (unsigned)__builtin_clz(integer->bytes[top]) - 24; /* zero bits at the top of the top byte */
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++)
        value = value << 8 | integer->bytes[top - i];
    uint8_t next = integer->bytes[top - 8];
    value = high == 0 ? value : value << high | next >> (8 - high);
    *bits = 8 * integer->len - high;
    *more = (uint8_t)(next << high) != 0;
    for (size_t i = top - 8; i > 0 && !*more; i--)
        *more = integer->bytes[i - 1] != 0;
    return value;
}

/* Compares a magnitude with a double >= 0. */
static int magnitude_cmp_double(const np_integer *a, double b) {
    uint64_t magnitude;
    if (np_integer_magnitude(a, &magnitude) == 0) {
        if (b >= 0x1p64)
            return -1;
        uint64_t whole = (uint64_t)b;
        if (magnitude != whole)
            return magnitude < whole ? -1 : 1;
        return b > (double)whole ? -1 : 0; /* a fraction means b < 2^53: the conversion back is exact */
    }
    if (b < 0x1p64)
        return 1;
    int exponent;
    uint64_t fraction = (uint64_t)ldexp(frexp(b, &exponent), 64); /* 53 bits, the highest of 64 set */
    size_t bits;
    bool more;
    uint64_t top = top_bits(a, &bits, &more);
    if (bits != (size_t)exponent)
        return bits < (size_t)exponent ? -1 : 1;
    if (top != fraction)
        return top < fraction ? -1 : 1;
    return more ? 1 : 0;
}

int np_integer_cmp_double(const np_integer *a, double b) {
    bool b_negative = b < 0;
    if (a->negative != b_negative)
        return a->negative ? -1 : 1;
    int order = magnitude_cmp_double(a, fabs(b));
    return a->negative ? -order : order;
}

int np_integer_double(const np_integer *integer, double *value) {
    uint64_t magnitude;
    double result;
    if (np_integer_magnitude(integer, &magnitude) == 0) {
        result = (double)magnitude;
    } else {
        size_t bits;
        bool more;
        uint64_t top = top_bits(integer, &bits, &more);
        if (bits > 1024)
            return NP_ERANGE;
        /* The lowest of 64 bits is far below the rounding position: it may stand for all that was cut off. */
        result = ldexp((double)(top | (more ? 1 : 0)), (int)bits - 64);
        if (!isfinite(result))
            return NP_ERANGE;
    }
    *value = integer->negative ? -result : result;
    return 0;
}
