/*
 * out.h - the builder behind np_out: appends encoded terms to an np_buf. The inside of <native_pool/term.h>'s
 * writing half.
 */
#ifndef NP_TERM_OUT_H
#define NP_TERM_OUT_H

#include "base/buf.h"

#include <native_pool/term.h>

struct np_out {
    np_buf *buf;  /* borrowed; content before start is not ours */
    size_t start; /* np_buf_len at init */
    size_t limit; /* most bytes to add */
    int error;    /* first error, sticks */
};

/* Builds behind what is in buf now; adds at most limit bytes. */
void np_out_init(np_out *out, np_buf *buf, size_t limit);

/* Forgets what was built and the error; the buffer is cut back to where the builder began. */
void np_out_reset(np_out *out);

/* A cursor over what was built so far (one term or several). Valid until the buffer changes. Asserts no error. */
np_in np_out_view(const np_out *out);

/* Elements that are already encoded. */
void np_out_raw(np_out *out, const void *data, size_t len);

#endif
