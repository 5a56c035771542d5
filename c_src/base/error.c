/* error.c - the texts and names of the error codes of <native_pool/types.h>. Any thread. */
#include <native_pool/types.h>

const char *np_strerror(int error) {
    switch (error) {
    case NP_OK: return "success";
#define TEXT(name, value, text)                                                                                        \
    case NP_##name: return text;
        NP_ERRORS(TEXT)
#undef TEXT
    default: return "unknown error";
    }
}

const char *np_error_name(int error) {
    static const char *const names[] = {
        [0] = "ok",
        [-NP_ENOMEM] = "nomem",
        [-NP_EINVAL] = "inval",
        [-NP_EBADTERM] = "badterm",
        [-NP_ETYPE] = "type",
        [-NP_ERANGE] = "range",
        [-NP_ELIMIT] = "limit",
        [-NP_EPROTO] = "proto",
        [-NP_EAUTH] = "auth",
        [-NP_EEXIST] = "exist",
        [-NP_ENOENT] = "noent",
        [-NP_ENOPROC] = "noproc",
        [-NP_ENOCONN] = "noconn",
        [-NP_EOVERLOAD] = "overload",
        [-NP_ETIMEOUT] = "timeout",
        [-NP_ECLOSED] = "closed",
        [-NP_EIO] = "io",
        [-NP_ENOTSUP] = "notsup",
        [-NP_EAGAIN] = "again",
        [-NP_EBUSY] = "busy",
    };
#define COUNT(name, value, text) +1
    _Static_assert(sizeof(names) / sizeof(names[0]) == 1 NP_ERRORS(COUNT), "every error has a name");
#undef COUNT
    if (error > 0 || error <= -(int)(sizeof(names) / sizeof(names[0])) || names[-error] == NULL)
        return "unknown";
    return names[-error];
}
