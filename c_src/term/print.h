/*
 * print.h - a term as Erlang text, for logs and tools; the notation of ~tw with the additions of test/golden's
 * README (#Pid<...>, #Ref<...>).
 */
#ifndef NP_TERM_PRINT_H
#define NP_TERM_PRINT_H

#include "base/buf.h"

#include <native_pool/term.h>

/* Appends the next term as text, at most about `most` bytes (then "..."). The cursor does not move. Never fails on a
 * validated term but for NP_ENOMEM. */
int np_term_print(const np_in *in, np_buf *out, size_t most);

/* Same into a terminated string; returns buf. For log lines. */
const char *np_term_text(const np_in *in, char *buf, size_t size);

#endif
