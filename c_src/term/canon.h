/*
 * canon.h - one encoding per value, so that terms can be keys: equal (=:=) terms have equal canonical bytes and the
 * other way round.
 *
 * Canonical form: atoms 119/118, integers 97/98/minimal 110/111, byte lists as 108, lists and tuples in their
 * shortest header, maps sorted by their keys' canonical bytes, pids/ports/refs 88/120/90, floats 70 with -0.0 as 0.0
 * (=:= up to OTP 26), whole-byte bit strings 109. References have three words, or as many more as are not zero at the
 * end (missing words are zero for OTP). Funs keep the pid that made them: made by two processes they differ here,
 * though =:= in OTP. Input must have been validated.
 */
#ifndef NP_TERM_CANON_H
#define NP_TERM_CANON_H

#include "base/buf.h"

#include <native_pool/term.h>

/* Appends the canonical form of the next term of the cursor (which moves behind it). NP_ENOMEM, NP_EBADTERM
 * (duplicate map keys). */
int np_term_canon(np_in *in, np_buf *out);

/* True if the two next terms are equal (=:=). Terms without a canonical form equal only the same bytes. */
bool np_term_equal(const np_in *a, const np_in *b);

/*
 * Erlang's term order: number < atom < reference < fun < port < pid < tuple < map < nil < list < bit string. <0, 0, >0.
 * Exact: of terms that are == the one with an integer at the first place where they differ comes before the one with
 * a float there, so that 0 means np_term_equal. Allocates for maps, and aborts when there is no memory. Costs up to the
 * square of the size when maps are keys of maps: for terms of any origin that are only to be told apart take
 * np_term_equal, which costs no more than the canonical forms.
 */
int np_term_cmp(const np_in *a, const np_in *b);

/* Hash of the canonical form. */
uint64_t np_term_hash(const np_in *in);

#endif
