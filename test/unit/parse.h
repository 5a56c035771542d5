/*
 * parse.h - terms from their text, for the tests: atoms, integers up to 64 bits, binaries, tuples, lists, maps and
 * pids, in the notation of test/golden/README.md.
 */
#ifndef NP_TEST_PARSE_H
#define NP_TEST_PARSE_H

#include "base/buf.h"

#include <native_pool/term.h>

/* Appends the term. Text that is none of these ends the test program with a message. */
void parse_to(np_buf *out, const char *text);

/* The term, in one of a few static buffers that are used in turn. */
np_in parse(const char *text);

/* The same with printf's formats in it. */
np_in parsef(const char *format, ...) __attribute__((format(printf, 1, 2)));

np_pid parse_pid(const char *text);

#endif
