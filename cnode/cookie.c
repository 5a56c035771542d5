/* cookie.c - see cookie.h. */
#include "cnode/cookie.h"

#include "base/assert.h"
#include "base/log.h"
#include "cnode/paths.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int fail(char **error, const char *where, const char *what) {
    NP_ASSERT(asprintf(error, "%s: %s", where, what) >= 0);
    return NP_EINVAL;
}

/* Same rules for files and the environment: one line, no blanks or control characters (as OTP's auth). */
static int take(char *text, const char *where, np_cookie_text *cookie, char **error) {
    text[strcspn(text, "\r\n")] = '\0';
    if (*text == '\0')
        return fail(error, where, "the cookie is empty");
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++)
        if (*p <= ' ' || *p == 0x7f)
            return fail(error, where, "the cookie has a blank or a control character");
    if (strlen(text) > NP_COOKIE_MAX)
        return fail(error, where, "the cookie is longer than 255 bytes");
    strcpy(cookie->text, text);
    return 0;
}

int np_cookie_read(const char *file, np_cookie_text *cookie, char **error) {
    char text[4096];
    FILE *stream = fopen(file, "rb");
    struct stat st;
    size_t len;
    int rc;

    if (stream == NULL) {
        NP_ASSERT(asprintf(error, "%s: cannot open the cookie file: %s", file, strerror(errno)) >= 0);
        return NP_EINVAL;
    }
    errno = 0;
    len = fread(text, 1, sizeof text - 1, stream);
    text[len] = '\0';
    if (ferror(stream)) {
        NP_ASSERT(asprintf(error, "%s: cannot read the cookie file: %s", file, strerror(errno)) >= 0);
        rc = NP_EINVAL;
    } else if (memchr(text, '\0', len) != NULL) {
        rc = fail(error, file, "the cookie has a blank or a control character");
    } else {
        rc = take(text, file, cookie, error);
    }
    /* OTP refuses such a file; secrets mounted by container systems are often readable, so we only say it */
    if (rc == 0 && fstat(fileno(stream), &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        NP_LOG(NP_LOG_WARNING, "cnode/cookie", "cookie file is accessible to others", "file=\"%s\" mode=%03o", file,
               (unsigned)st.st_mode & 0777);
    fclose(stream);
    explicit_bzero(text, sizeof text);
    return rc;
}

/* Takes the variable out of the environment, also of /proc/PID/environ. NULL: not there. */
static char *take_variable(const char *name) {
    char *value = getenv(name);
    char *copy;

    if (value == NULL)
        return NULL;
    copy = strdup(value);
    NP_ASSERT(copy != NULL);
    explicit_bzero(value, strlen(value));
    unsetenv(name);
    return copy;
}

int np_cookie_find(const char *given, const char *configured, np_cookie_text *cookie, char **error) {
    char *variable = take_variable("NATIVE_POOL_COOKIE");
    int rc;

    *error = NULL;
    if (given != NULL) {
        rc = np_cookie_read(given, cookie, error);
    } else if (variable != NULL) {
        rc = take(variable, "environment NATIVE_POOL_COOKIE", cookie, error);
    } else if (configured != NULL) {
        rc = np_cookie_read(configured, cookie, error);
    } else {
        char *home_file = np_path_absolute(NULL, "~/.erlang.cookie");

        rc = np_cookie_read(home_file, cookie, error);
        free(home_file);
    }
    if (variable != NULL)
        explicit_bzero(variable, strlen(variable));
    free(variable);
    return rc;
}
