/*
 * validate.h - the border control for external terms: every term from a peer, a segment or a store is walked here
 * once before anything reads it.
 *
 * Checks lengths against the buffer, nesting against NP_TERM_DEPTH_MAX, tags, atom lengths and UTF-8, and that
 * counts cannot lie (a claimed arity needs at least that many bytes). Linear, no recursion, no allocation. Knows
 * every tag OTP 24 to 28 sends to a node without atom cache, and the old ones: 70, 77, 88 to 120 but 117. Refused:
 * all other tags (so the atom cache's 82, compressed 80, local 121, funs before OTP R13), NaN and infinity, an empty
 * list in the form of a list with elements (108), identifiers of a node without a name. A fun's size must be true.
 * Keys of maps may be there twice.
 */
#ifndef NP_TERM_VALIDATE_H
#define NP_TERM_VALIDATE_H

#include <native_pool/term.h>

/* The length of the one term at data, or NP_EBADTERM (malformed or cut short) or NP_ELIMIT (nested too deep). No
 * leading 131 expected. */
int64_t np_term_validate(const uint8_t *data, size_t len);

/* Validates exactly one term that fills data and sets the cursor on it. NP_EBADTERM also for trailing bytes. */
int np_term_open(np_in *in, const uint8_t *data, size_t len);

#endif
