/*
 * log.h - the log: one line an event on stderr, `time level where message key=value ...`.
 *
 *     NP_LOG(NP_LOG_WARNING, "dist/peer", "connection closed", "peer=%s reason=\"%s\"", name, why);
 *
 * time is UTC with milliseconds (2026-01-31T12:34:56.789Z), level one of OTP's eight names, where the part of the
 * program (no blanks), message a fixed text, the rest key=value pairs; values with blanks are quoted by the caller.
 * Control characters in the line are escaped, so that input from peers cannot forge lines; a line is at most
 * NP_LOG_LINE_MAX bytes (cut with "..."). Safe from any thread; never blocks for long: one write(2) a line.
 */
#ifndef NP_BASE_LOG_H
#define NP_BASE_LOG_H

#include <native_pool/types.h>

enum { NP_LOG_LINE_MAX = 4096 };

/* Lines less severe than this are dropped. Default NP_LOG_NOTICE. */
void np_log_set_level(np_log_level level);
np_log_level np_log_get_level(void);

/* The file descriptor written to; default 2. */
void np_log_set_fd(int fd);

/* "warning" -> NP_LOG_WARNING; NP_EINVAL. */
int np_log_level_parse(const char *name, np_log_level *level);
const char *np_log_level_name(np_log_level level);

void np_log_write(np_log_level level, const char *where, const char *message, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The pairs are not evaluated when the level is off. Use "" for no pairs: NP_LOG(level, where, message, "%s", ""). */
#define NP_LOG(level, where, message, ...)                                                                             \
    do {                                                                                                               \
        if ((level) <= np_log_get_level())                                                                             \
            np_log_write((level), (where), (message), __VA_ARGS__);                                                    \
    } while (0)

/*
 * Lines that a peer can cause at will go through a limiter: at most `burst` lines per second and kind, then silence,
 * then one line that says how many were left out.
 */
typedef struct np_log_limit {
    uint64_t window_ms; /* start of the current window */
    uint32_t seen;
    uint32_t burst; /* 0: 10 */
} np_log_limit;

/* True if a line may be written now; logs the summary of a past window itself. */
bool np_log_allowed(np_log_limit *limit, uint64_t now_ms, const char *where);

#endif
