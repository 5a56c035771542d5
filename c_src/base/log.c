/* log.c - see log.h. The level and the descriptor are the only state; a line is built on the caller's stack. */
#include "base/log.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BURST_DEFAULT = 10, WINDOW_MS = 1000 };

static atomic_int current_level = NP_LOG_NOTICE;
static atomic_int current_fd = STDERR_FILENO;

static const char *const level_names[] = {
    [NP_LOG_EMERGENCY] = "emergency", [NP_LOG_ALERT] = "alert",     [NP_LOG_CRITICAL] = "critical",
    [NP_LOG_ERROR] = "error",         [NP_LOG_WARNING] = "warning", [NP_LOG_NOTICE] = "notice",
    [NP_LOG_INFO] = "info",           [NP_LOG_DEBUG] = "debug",
};

void np_log_set_level(np_log_level level) { atomic_store_explicit(&current_level, (int)level, memory_order_relaxed); }

np_log_level np_log_get_level(void) { return (np_log_level)atomic_load_explicit(&current_level, memory_order_relaxed); }

void np_log_set_fd(int fd) { atomic_store_explicit(&current_fd, fd, memory_order_relaxed); }

int np_log_level_parse(const char *name, np_log_level *level) {
    for (int i = NP_LOG_EMERGENCY; i <= NP_LOG_DEBUG; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (np_log_level)i;
            return 0;
        }
    }
    return NP_EINVAL;
}

const char *np_log_level_name(np_log_level level) {
    return (unsigned)level <= NP_LOG_DEBUG ? level_names[level] : "unknown";
}

/* The line being built: cut, not overrun, when it is full. */
typedef struct line {
    char text[NP_LOG_LINE_MAX];
    size_t len;
    bool cut;
} line;

static const char cut_mark[] = "...\n";

/* All of the piece or, if it does not fit any more, nothing from here on: escapes and characters are not split. */
static void add(line *l, const char *piece, size_t len) {
    if (l->cut || len > sizeof(l->text) - sizeof(cut_mark) - l->len) {
        l->cut = true;
        return;
    }
    memcpy(l->text + l->len, piece, len);
    l->len += len;
}

/* Text in which nothing can be taken for the end of a line or steer a terminal. */
static void add_escaped(line *l, const char *text, size_t len) {
    const uint8_t *at = (const uint8_t *)text;
    while (len > 0 && !l->cut) {
        uint32_t point;
        uint32_t n = np_utf8_next(at, len, &point);
        if (n > 0 && point >= 0x20 && (point < 0x7F || point > 0x9F)) {
            add(l, (const char *)at, n);
        } else if (n == 1 && point == '\n') {
            add(l, "\\n", 2);
        } else if (n == 1 && point == '\t') {
            add(l, "\\t", 2);
        } else if (n == 1 && point == '\r') {
            add(l, "\\r", 2);
        } else {
            char hex[5];
            n = 1;
            (void)snprintf(hex, sizeof(hex), "\\x%02X", *at);
            add(l, hex, 4);
        }
        at += n;
        len -= n;
    }
}

static void add_time(line *l) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    struct tm utc;
    (void)gmtime_r(&now.tv_sec, &utc);
    char text[64];
    size_t len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    len += (size_t)snprintf(text + len, sizeof(text) - len, ".%03dZ", (int)(now.tv_nsec / 1000000));
    add(l, text, len);
}

void np_log_write(np_log_level level, const char *where, const char *message, const char *format, ...) {
    int saved_errno = errno;
    char pairs[NP_LOG_LINE_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(pairs, sizeof(pairs), format, args);
    va_end(args);
    size_t pairs_len = n < 0 ? 0 : (size_t)n < sizeof(pairs) ? (size_t)n : sizeof(pairs) - 1;

    line l = {.len = 0};
    add_time(&l);
    add(&l, " ", 1);
    add_escaped(&l, np_log_level_name(level), strlen(np_log_level_name(level)));
    add(&l, " ", 1);
    add_escaped(&l, where, strlen(where));
    add(&l, " ", 1);
    add_escaped(&l, message, strlen(message));
    if (pairs_len > 0) {
        add(&l, " ", 1);
        add_escaped(&l, pairs, pairs_len);
    }
    const char *end = l.cut || (size_t)(n < 0 ? 0 : n) > pairs_len ? cut_mark : cut_mark + 3;
    memcpy(l.text + l.len, end, strlen(end));
    l.len += strlen(end);
    /* One write, so that lines of several threads do not mix; nobody to tell when it fails. */
    ssize_t written = write(atomic_load_explicit(&current_fd, memory_order_relaxed), l.text, l.len);
    (void)written;
    errno = saved_errno;
}

bool np_log_allowed(np_log_limit *limit, uint64_t now_ms, const char *where) {
    uint32_t burst = limit->burst == 0 ? BURST_DEFAULT : limit->burst;
    if (limit->seen == 0 || now_ms - limit->window_ms >= WINDOW_MS) {
        uint32_t left_out = limit->seen > burst ? limit->seen - burst : 0;
        limit->window_ms = now_ms;
        limit->seen = 0;
        if (left_out > 0)
            NP_LOG(NP_LOG_WARNING, where, "similar lines left out", "count=%u", left_out);
    }
    if (limit->seen < UINT32_MAX)
        limit->seen++;
    return limit->seen <= burst;
}
