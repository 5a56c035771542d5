/*
 * utf8.h - UTF-8 as atoms and log lines need it. Any thread.
 */
#ifndef NP_BASE_UTF8_H
#define NP_BASE_UTF8_H

#include <native_pool/types.h>

/*
 * The character at the front of text[0 .. len), len > 0: returns its number of bytes (1..4) and sets *point, or
 * returns 0 if the bytes there are no UTF-8 (overlong forms, surrogates and values above 0x10FFFF are none).
 */
uint32_t np_utf8_next(const uint8_t *text, size_t len, uint32_t *point);

/* The number of characters, or -1 if the bytes are not UTF-8. */
int64_t np_utf8_count(const uint8_t *text, size_t len);

/* Writes a character as UTF-8 into to (room for 4); returns its length. */
uint32_t np_utf8_put(uint8_t *to, uint32_t point);

#endif
