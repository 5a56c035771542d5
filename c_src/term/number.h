/*
 * number.h - integers of any size and form, and their exact comparison with floats; inside term/ only. Input must
 * have been validated.
 */
#ifndef NP_TERM_NUMBER_H
#define NP_TERM_NUMBER_H

#include <native_pool/types.h>

/* An integer: sign and magnitude, the bytes least significant first without zeros at the end (0: no bytes). */
typedef struct np_integer {
    bool negative;
    const uint8_t *bytes; /* of the term, or small below: do not copy the struct */
    size_t len;
    uint8_t small[4];
} np_integer;

/* Reads an integer of tag 97, 98, 110 or 111; returns what is behind it. */
const uint8_t *np_integer_read(const uint8_t *p, np_integer *integer);

int np_integer_cmp(const np_integer *a, const np_integer *b);

/* Compares the values, however large: no rounding. */
int np_integer_cmp_double(const np_integer *a, double b);

/* The magnitude, if it has at most 64 bits; NP_ERANGE. */
int np_integer_magnitude(const np_integer *integer, uint64_t *magnitude);

/* The nearest double; NP_ERANGE if there is none. */
int np_integer_double(const np_integer *integer, double *value);

#endif
