/*
 * types.h - the plain types every part of native_pool shares: error codes, strings, pids, references, log levels.
 *
 * Part of the public worker interface; C11 and C++17 compile it without a warning.
 */
#ifndef NATIVE_POOL_TYPES_H
#define NATIVE_POOL_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Error codes. Functions return 0 (or a documented non-negative value) or one of these, negative.
 * A function that returns an error has consumed nothing, and no callback will come from that call.
 */
#define NP_ERRORS(X)                                                                                                   \
    X(ENOMEM, -1, "out of memory")                                                                                     \
    X(EINVAL, -2, "invalid argument")                                                                                  \
    X(EBADTERM, -3, "malformed external term")                                                                         \
    X(ETYPE, -4, "term of another type")                                                                               \
    X(ERANGE, -5, "number out of range")                                                                               \
    X(ELIMIT, -6, "over a limit")                                                                                      \
    X(EPROTO, -7, "protocol violation")                                                                                \
    X(EAUTH, -8, "authentication failed")                                                                              \
    X(EEXIST, -9, "already there")                                                                                     \
    X(ENOENT, -10, "not found")                                                                                        \
    X(ENOPROC, -11, "no such process")                                                                                 \
    X(ENOCONN, -12, "not connected")                                                                                   \
    X(EOVERLOAD, -13, "overloaded")                                                                                    \
    X(ETIMEOUT, -14, "timed out")                                                                                      \
    X(ECLOSED, -15, "closed")                                                                                          \
    X(EIO, -16, "input/output error")                                                                                  \
    X(ENOTSUP, -17, "not supported")                                                                                   \
    X(EAGAIN, -18, "more input needed")                                                                                \
    X(EBUSY, -19, "busy")

typedef enum np_error {
    NP_OK = 0,
#define NP_ERROR_ENUM(name, value, text) NP_##name = value,
    NP_ERRORS(NP_ERROR_ENUM)
#undef NP_ERROR_ENUM
} np_error;

/* The text of an error code ("overloaded"); "unknown error" for anything else. Never NULL. */
const char *np_strerror(int error);

/* The code's name as an Erlang atom would spell it, without the leading e ("overload" for NP_EOVERLOAD). Never NULL. */
const char *np_error_name(int error);

/* A borrowed run of bytes; not terminated. */
typedef struct np_bytes {
    const uint8_t *data;
    size_t len;
} np_bytes;

/* A borrowed UTF-8 text; not terminated. */
typedef struct np_str {
    const char *data;
    size_t len;
} np_str;

/*
 * The name of an Erlang node, as a small number valid within this OS process: equal numbers are equal names.
 * 0 is no node.
 */
typedef uint32_t np_node_id;

/* An Erlang process identifier. Two pids are the same process iff all four fields are equal. All zero: no pid. */
typedef struct np_pid {
    np_node_id node;
    uint32_t num;
    uint32_t serial;
    uint32_t creation;
} np_pid;

enum { NP_REF_WORDS_MAX = 5 };

/* An Erlang reference (also: an alias). Unused words are zero. */
typedef struct np_ref {
    np_node_id node;
    uint32_t creation;
    uint32_t len; /* words in use, 1..5 */
    uint32_t id[NP_REF_WORDS_MAX];
} np_ref;

/* The eight levels of OTP's logger, most severe first. */
typedef enum np_log_level {
    NP_LOG_EMERGENCY,
    NP_LOG_ALERT,
    NP_LOG_CRITICAL,
    NP_LOG_ERROR,
    NP_LOG_WARNING,
    NP_LOG_NOTICE,
    NP_LOG_INFO,
    NP_LOG_DEBUG
} np_log_level;

#ifdef __cplusplus
}
#endif
#endif
