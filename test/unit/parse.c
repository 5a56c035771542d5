/* parse.c - see parse.h. */
#include "parse.h"

#include "term/names.h"
#include "term/out.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct parser {
    const char *text;
    const char *at;
    np_out *out;
} parser;

static void term(parser *p);

__attribute__((noreturn)) static void wrong(const parser *p, const char *what) {
    fprintf(stderr, "parse: %s in \"%s\" at \"%s\"\n", what, p->text, p->at);
    abort();
}

static bool take(parser *p, const char *text) {
    size_t len = strlen(text);
    if (strncmp(p->at, text, len) != 0)
        return false;
    p->at += len;
    return true;
}

static void need(parser *p, const char *text) {
    if (!take(p, text))
        wrong(p, text);
}

/* Elements up to the closing bracket; how many. */
static uint32_t elements(parser *p, const char *between, const char *close) {
    uint32_t count = 0;
    if (take(p, close))
        return 0;
    do {
        term(p);
        count++;
        if (between != NULL) {
            need(p, between);
            term(p);
        }
    } while (take(p, ","));
    need(p, close);
    return count;
}

/* How many there are has to be known first: parsed once for nothing. */
static uint32_t count(const parser *p, const char *between, const char *close) {
    parser ahead = *p;
    np_buf buf = NP_BUF_INIT;
    np_out out;
    np_out_init(&out, &buf, SIZE_MAX);
    ahead.out = &out;
    uint32_t n = elements(&ahead, between, close);
    np_buf_fini(&buf);
    return n;
}

static uint64_t number(parser *p) {
    char *end;
    if (!isdigit((unsigned char)*p->at))
        wrong(p, "no number");
    uint64_t value = strtoull(p->at, &end, 10);
    p->at = end;
    return value;
}

static size_t atom_text(parser *p, char *to, size_t size) {
    size_t len = 0;
    bool quoted = take(p, "'");
    while (quoted ? *p->at != '\'' : isalnum((unsigned char)*p->at) || *p->at == '_' || *p->at == '@') {
        if (*p->at == 0 || len + 1 >= size)
            wrong(p, "atom");
        to[len++] = *p->at++;
    }
    if (quoted)
        need(p, "'");
    to[len] = 0;
    return len;
}

static np_pid pid_fields(parser *p) {
    char node[300];
    np_pid pid;
    atom_text(p, node, sizeof(node));
    pid.node = np_name_id(node);
    need(p, ",");
    pid.num = (uint32_t)number(p);
    need(p, ",");
    pid.serial = (uint32_t)number(p);
    need(p, ",");
    pid.creation = (uint32_t)number(p);
    need(p, ">");
    return pid;
}

static void binary(parser *p) {
    uint8_t bytes[4096];
    size_t len = 0;
    while (!take(p, ">>")) {
        if (len == sizeof(bytes))
            wrong(p, "long binary");
        bytes[len++] = (uint8_t)number(p);
        take(p, ",");
    }
    np_out_binary(p->out, bytes, len);
}

static void list(parser *p) {
    uint32_t n = count(p, NULL, "]");
    np_out_list(p->out, n);
    elements(p, NULL, "]");
    np_out_nil(p->out);
}

static void term(parser *p) {
    char text[1024];
    if (take(p, "{")) {
        np_out_tuple(p->out, count(p, NULL, "}"));
        elements(p, NULL, "}");
    } else if (take(p, "[")) {
        list(p);
    } else if (take(p, "<<")) {
        binary(p);
    } else if (take(p, "#{")) {
        np_out_map(p->out, count(p, " => ", "}"));
        elements(p, " => ", "}");
    } else if (take(p, "#Pid<")) {
        np_pid pid = pid_fields(p);
        np_out_pid(p->out, &pid);
    } else if (take(p, "#Fun")) { /* a made-up one */
        static const uint8_t fun[] = {113, 119, 1, 'm', 119, 1, 'f', 97, 1};
        np_in in = {fun, 0, sizeof(fun)};
        np_out_term(p->out, &in);
    } else if (take(p, "-")) {
        np_out_int(p->out, -(int64_t)number(p));
    } else if (isdigit((unsigned char)*p->at)) {
        np_out_uint(p->out, number(p));
    } else {
        size_t len = atom_text(p, text, sizeof(text));
        np_out_atom_n(p->out, text, len);
    }
}

void parse_to(np_buf *buf, const char *text) {
    np_out out;
    np_out_init(&out, buf, SIZE_MAX);
    parser p = {text, text, &out};
    term(&p);
    if (*p.at != 0 || np_out_error(&out) < 0)
        wrong(&p, "rest");
}

np_in parse(const char *text) {
    static np_buf bufs[8];
    static unsigned turn;
    np_buf *buf = &bufs[turn++ % 8];
    np_buf_fini(buf); /* so that the sanitizers see a use that is too late */
    parse_to(buf, text);
    return (np_in){np_buf_head(buf), 0, np_buf_len(buf)};
}

np_in parsef(const char *format, ...) {
    char *text;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0)
        abort();
    np_in in = parse(text);
    free(text);
    return in;
}

np_pid parse_pid(const char *text) {
    parser p = {text, text, NULL};
    need(&p, "#Pid<");
    return pid_fields(&p);
}
