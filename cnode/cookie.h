/* cookie.h - where the cluster's cookie comes from. Main thread, at start. */
#ifndef NP_CNODE_COOKIE_H
#define NP_CNODE_COOKIE_H

#include <native_pool/types.h>

enum { NP_COOKIE_MAX = 255 }; /* a cookie is an atom to Erlang */

typedef struct np_cookie_text {
    char text[NP_COOKIE_MAX * 4 + 1];
} np_cookie_text;

/*
 * The cookie in a file: its first line. Warns in the log if others can read the file. NP_EINVAL: *error says why not,
 * in one line (for the caller to free).
 */
int np_cookie_read(const char *file, np_cookie_text *cookie, char **error);

/*
 * The cookie of the node, from the first there is: the file given on the command line, the environment's
 * NATIVE_POOL_COOKIE, the file of the config, ~/.erlang.cookie. The files may be NULL. The variable is wiped and removed
 * from the environment, whatever is used. Errors as np_cookie_read.
 */
int np_cookie_find(const char *given, const char *configured, np_cookie_text *cookie, char **error);

#endif
