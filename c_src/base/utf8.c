/* utf8.c - see utf8.h. */
#include "base/utf8.h"

#include <string.h>

uint32_t np_utf8_next(const uint8_t *text, size_t len, uint32_t *point) {
    uint8_t first = text[0];
    if (first < 0x80) {
        *point = first;
        return 1;
    }
    uint32_t n = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    uint32_t value = first & (0x7Fu >> n);
    for (uint32_t i = 1; i < n; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
        value = value << 6 | (text[i] & 0x3F);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (value < least[n] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return 0;
    *point = value;
    return n;
}

/* Names are ASCII nearly always; short ones are looked at in two overlapping words. */
static bool is_ascii(const uint8_t *text, size_t len) {
    uint64_t all = 0;
    if (len >= sizeof(uint64_t)) {
        uint64_t word;
        for (size_t i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
            memcpy(&word, text + i, sizeof(word));
            all |= word;
        }
        memcpy(&word, text + len - sizeof(word), sizeof(word));
        all |= word;
    } else if (len >= sizeof(uint32_t)) {
        uint32_t front;
        uint32_t back;
        memcpy(&front, text, sizeof(front));
        memcpy(&back, text + len - sizeof(back), sizeof(back));
        all = front | back;
    } else {
        for (size_t i = 0; i < len; i++)
            all |= text[i];
    }
    return (all & UINT64_C(0x8080808080808080)) == 0;
}

int64_t np_utf8_count(const uint8_t *text, size_t len) {
    if (is_ascii(text, len))
        return (int64_t)len;
    int64_t count = 0;
    for (size_t i = 0; i < len; count++) {
        uint32_t point;
        uint32_t n = np_utf8_next(text + i, len - i, &point);
        if (n == 0)
            return -1;
        i += n;
    }
    return count;
}

uint32_t np_utf8_put(uint8_t *to, uint32_t point) {
    if (point < 0x80) {
        to[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        to[0] = (uint8_t)(0xC0 | point >> 6);
        to[1] = (uint8_t)(0x80 | (point & 0x3F));
        return 2;
    }
    if (point < 0x10000) {
        to[0] = (uint8_t)(0xE0 | point >> 12);
        to[1] = (uint8_t)(0x80 | (point >> 6 & 0x3F));
        to[2] = (uint8_t)(0x80 | (point & 0x3F));
        return 3;
    }
    to[0] = (uint8_t)(0xF0 | point >> 18);
    to[1] = (uint8_t)(0x80 | (point >> 12 & 0x3F));
    to[2] = (uint8_t)(0x80 | (point >> 6 & 0x3F));
    to[3] = (uint8_t)(0x80 | (point & 0x3F));
    return 4;
}
