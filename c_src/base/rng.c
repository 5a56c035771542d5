/* rng.c - see rng.h. xoshiro256** by Blackman and Vigna, seeded through splitmix64 as they advise. */
#include "base/rng.h"

#include "base/assert.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

void np_rng_seed(np_rng *rng, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += UINT64_C(0x9E3779B97F4A7C15));
        z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
        rng->s[i] = z ^ (z >> 31);
    }
}

uint64_t np_rng_next(np_rng *rng) {
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t np_rng_below(np_rng *rng, uint64_t bound) {
    NP_ASSERT(bound > 0);
    uint64_t uneven = -bound % bound; /* 2^64 mod bound: that many values would make small results likelier */
    uint64_t value;
    do
        value = np_rng_next(rng);
    while (value < uneven);
    return value % bound;
}

void np_random_bytes(void *to, size_t n) {
    uint8_t *at = to;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort(); /* not NP_ASSERT: this runs before main, for the seeds of map.c */
        at += got;
        n -= (size_t)got;
    }
}
