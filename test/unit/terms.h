/*
 * terms.h - small helpers of the tests that build terms, compare them as text, and take golden packets apart.
 */
#ifndef NP_TEST_TERMS_H
#define NP_TEST_TERMS_H

#include "golden.h"
#include "term/out.h"

/* A builder over a buffer of its own. */
typedef struct terms_built {
    np_buf buf;
    np_out out;
} terms_built;

void terms_begin(terms_built *b);
void terms_end(terms_built *b);

/* What was built must be exactly one valid term that prints like this. Starts over. */
#define terms_expect(b, text) terms_expect_at(b, text, __FILE__, __LINE__)
void terms_expect_at(terms_built *b, const char *text, const char *file, int line);

/* What was built must be these bytes. Starts over. */
#define terms_expect_bytes(b, in) terms_expect_bytes_at(b, in, __FILE__, __LINE__)
void terms_expect_bytes_at(terms_built *b, np_in in, const char *file, int line);

/* The next term of a cursor as text (in a static buffer); "" at the end. */
const char *terms_text(np_in in);

/*
 * The two terms of a whole golden packet; false: a tick, a fragment, or no packet at all. payload is empty if there
 * is none.
 */
bool terms_packet(const golden_line *line, np_in *control, np_in *payload);

/* The opcode of a control tuple; the cursor moves behind it. */
int terms_op(np_in *control);

#endif
