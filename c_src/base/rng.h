/*
 * rng.h - random numbers: a seeded generator for jitter and simulations (never for secrets), and the kernel's for
 * challenges.
 */
#ifndef NP_BASE_RNG_H
#define NP_BASE_RNG_H

#include <native_pool/types.h>

typedef struct np_rng {
    uint64_t s[4]; /* xoshiro256** */
} np_rng;

void np_rng_seed(np_rng *rng, uint64_t seed);
uint64_t np_rng_next(np_rng *rng);
uint64_t np_rng_below(np_rng *rng, uint64_t bound); /* uniform in 0 .. bound-1; bound > 0 */

/* Fills with bytes from the kernel's random source; aborts if there is none. */
void np_random_bytes(void *to, size_t n);

#endif
