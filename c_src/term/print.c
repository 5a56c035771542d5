/*
 * print.c - terms as Erlang text. See print.h. Any thread.
 *
 * Printing stops when the text is long enough, so that a log line about a huge term costs no more than the line.
 * Recursion is as deep as the validator lets terms be nested.
 */
#include "term/print.h"

#include "base/utf8.h"
#include "term/number.h"
#include "term/wire.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BIG_DECIMAL_BYTES =
        1024, /* larger integers are printed to base 16: to base 10 takes time that grows with the square */
    FLOAT_DIGITS = 17,
};

typedef struct printer {
    np_buf *out;
    size_t stop; /* length of out at which it is enough */
    int error;
} printer;

static bool done(const printer *pr) { return pr->error < 0 || np_buf_len(pr->out) >= pr->stop; }

static void put(printer *pr, const void *text, size_t len) {
    if (!done(pr))
        pr->error = np_buf_append(pr->out, text, len);
}

static void put_text(printer *pr, const char *text) { put(pr, text, strlen(text)); }

static void put_char(printer *pr, char c) { put(pr, &c, 1); }

static void put_number(printer *pr, uint64_t value) {
    char text[24];
    put(pr, text, (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)value));
}

static const uint8_t *print(printer *pr, const uint8_t *p);

/* ---- atoms ---- */

static bool is_lower(uint32_t c) { return (c >= 'a' && c <= 'z') || (c >= 0xDF && c <= 0xFF && c != 0xF7); }

static bool is_name_char(uint32_t c) {
    return is_lower(c) || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '@' ||
           (c >= 0xC0 && c <= 0xDE && c != 0xD7);
}

static bool is_reserved(np_str text) {
    static const char *const words[] = {"after", "and",  "andalso", "band",   "begin",   "bnot", "bor", "bsl",  "bsr",
                                        "bxor",  "case", "catch",   "cond",   "div",     "end",  "fun", "if",   "let",
                                        "not",   "of",   "or",      "orelse", "receive", "rem",  "try", "when", "xor"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i]) == text.len && memcmp(words[i], text.data, text.len) == 0)
            return true;
    }
    return false;
}

static bool needs_quotes(np_str text) {
    const uint8_t *at = (const uint8_t *)text.data;
    size_t left = text.len;
    bool first = true;
    while (left > 0) {
        uint32_t c = 0;
        uint32_t n = np_utf8_next(at, left, &c);
        if (n == 0 || !(first ? is_lower(c) : is_name_char(c)))
            return true;
        first = false;
        at += n;
        left -= n;
    }
    return first || is_reserved(text);
}

/* As string_char of OTP's io_lib. */
static void put_quoted_char(printer *pr, uint32_t c, const uint8_t *bytes, uint32_t n) {
    static const char letters[] = "\bb\tt\nn\vv\ff\rr\033e\177d''\\\\";
    for (size_t i = 0; i + 1 < sizeof(letters); i += 2) {
        if (c == (uint8_t)letters[i]) {
            char text[2] = {'\\', letters[i + 1]};
            put(pr, text, 2);
            return;
        }
    }
    if (c < ' ' || (c > '~' && c < 0xA0)) {
        char text[8];
        put(pr, text, (size_t)snprintf(text, sizeof(text), "\\%03o", c & 0777u));
    } else {
        put(pr, bytes, n);
    }
}

static const uint8_t *print_atom(printer *pr, const uint8_t *p) {
    uint8_t scratch[NP_WIRE_LATIN1_MAX];
    np_str text = np_wire_atom(p, scratch);
    if (!needs_quotes(text)) {
        put(pr, text.data, text.len);
    } else {
        const uint8_t *at = (const uint8_t *)text.data;
        put_char(pr, '\'');
        for (size_t left = text.len; left > 0;) {
            uint32_t c = 0;
            uint32_t n = np_utf8_next(at, left, &c);
            if (n == 0)
                break;
            put_quoted_char(pr, c, at, n);
            at += n;
            left -= n;
        }
        put_char(pr, '\'');
    }
    return p + np_wire_atom_size(p);
}

/* ---- numbers ---- */

/* A magnitude to base 10, nine digits at a time. The scratch array holds it as 32-bit words, least significant
 * first. */
static void print_decimal(printer *pr, const np_integer *integer) {
    enum { WORDS = BIG_DECIMAL_BYTES / 4, DIGITS = BIG_DECIMAL_BYTES * 5 / 2 };
    uint32_t words[WORDS + 1] = {0};
    char digits[DIGITS + 9];
    size_t at = sizeof(digits);
    size_t len = (integer->len + 3) / 4;
    for (size_t i = 0; i < integer->len; i++)
        words[i / 4] |= (uint32_t)integer->bytes[i] << (8 * (i % 4));
    while (len > 0) {
        uint64_t rest = 0;
        for (size_t i = len; i > 0; i--) {
            rest = rest << 32 | words[i - 1];
            words[i - 1] = (uint32_t)(rest / 1000000000);
            rest %= 1000000000;
        }
        while (len > 0 && words[len - 1] == 0)
            len--;
        for (int i = 0; i < 9 && (len > 0 || rest > 0); i++, rest /= 10)
            digits[--at] = (char)('0' + rest % 10);
    }
    put(pr, digits + at, sizeof(digits) - at);
}

static void print_hex(printer *pr, const np_integer *integer) {
    char text[4];
    put_text(pr, "16#");
    for (size_t i = integer->len; i > 0 && !done(pr); i--) {
        const char *format = i == integer->len ? "%X" : "%02X"; /* no zeros in front */
        put(pr, text, (size_t)snprintf(text, sizeof(text), format, integer->bytes[i - 1]));
    }
}

static const uint8_t *print_integer(printer *pr, const uint8_t *p) {
    np_integer integer;
    const uint8_t *end = np_integer_read(p, &integer);
    if (integer.negative)
        put_char(pr, '-');
    if (integer.len == 0)
        put_char(pr, '0');
    else if (integer.len <= BIG_DECIMAL_BYTES)
        print_decimal(pr, &integer);
    else
        print_hex(pr, &integer);
    return end;
}

/* The shortest digits that read back as the same value, 0.DIGITS * 10^*place. */
static size_t shortest_digits(double value, char *digits, int *place) {
    char text[FLOAT_DIGITS + 16];
    for (int precision = 0; precision < FLOAT_DIGITS; precision++) {
        (void)snprintf(text, sizeof(text), "%.*e", precision, value);
        if (strtod(text, NULL) == value)
            break;
        /* Above a power of two doubles lie wider apart than below: the next digit up may do where the nearest,
         * below, does not. */
        char *last = strchr(text, 'e') - 1;
        if (*last == '9')
            continue;
        ++*last;
        if (strtod(text, NULL) == value)
            break;
    }
    size_t len = 0;
    char *at = text;
    for (; *at != 'e'; at++) {
        if (*at != '.')
            digits[len++] = *at;
    }
    *place = (int)strtol(at + 1, NULL, 10) + 1;
    while (len > 1 && digits[len - 1] == '0')
        len--;
    return len;
}

static void put_zeros(printer *pr, int n) {
    for (; n > 0; n--)
        put_char(pr, '0');
}

static void put_exponential(printer *pr, const char *digits, size_t len, int exponent) {
    char text[16];
    put(pr, digits, 1);
    put_char(pr, '.');
    put(pr, len == 1 ? "0" : digits + 1, len == 1 ? 1 : len - 1);
    put(pr, text, (size_t)snprintf(text, sizeof(text), "e%d", exponent));
}

/* The choice between plain and exponential form mirrors insert_decimal of OTP's io_lib_format: the shorter one, and
 * from 2^53 on the latter. */
static const uint8_t *print_float(printer *pr, const uint8_t *p) {
    double value = np_wire_float(p);
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    if (bits >> 63 != 0) {
        put_char(pr, '-');
        value = -value;
    }
    char digits[FLOAT_DIGITS + 1];
    int place = 1;
    size_t digits_len = 1;
    digits[0] = '0';
    if (value != 0)
        digits_len = shortest_digits(value, digits, &place);
    int len = (int)digits_len;
    char exponent[16];
    int exponent_cost = snprintf(exponent, sizeof(exponent), "%d", place - 1) + 1 + (len == 1 ? 2 : 1);
    if (place > 0 && place < len) {
        put(pr, digits, (size_t)place);
        put_char(pr, '.');
        put(pr, digits + place, (size_t)(len - place));
    } else if (place <= 0 && (place == 0 || 2 - place <= exponent_cost)) {
        put_text(pr, "0.");
        put_zeros(pr, -place);
        put(pr, digits, (size_t)len);
    } else if (place > 0 && place - len + 2 <= exponent_cost && value < 0x1p53) {
        put(pr, digits, (size_t)len);
        put_zeros(pr, place - len);
        put_text(pr, ".0");
    } else {
        put_exponential(pr, digits, (size_t)len, place - 1);
    }
    return np_wire_skip(p);
}

/* ---- identifiers and funs ---- */

static const uint8_t *print_pid(printer *pr, const uint8_t *p) {
    np_wire_id id;
    const uint8_t *end = np_wire_pid(p, &id);
    put_text(pr, "#Pid<");
    print_atom(pr, id.node);
    put_char(pr, ',');
    put_number(pr, id.num);
    put_char(pr, ',');
    put_number(pr, id.serial);
    put_char(pr, ',');
    put_number(pr, id.creation);
    put_char(pr, '>');
    return end;
}

static const uint8_t *print_port(printer *pr, const uint8_t *p) {
    np_wire_id id;
    const uint8_t *end = np_wire_port(p, &id);
    put_text(pr, "#Port<");
    print_atom(pr, id.node);
    put_char(pr, ',');
    put_number(pr, id.num);
    put_char(pr, ',');
    put_number(pr, id.creation);
    put_char(pr, '>');
    return end;
}

static const uint8_t *print_ref(printer *pr, const uint8_t *p) {
    np_wire_id id;
    const uint8_t *end = np_wire_ref(p, &id);
    put_text(pr, "#Ref<");
    print_atom(pr, id.node);
    put_char(pr, ',');
    put_number(pr, id.creation);
    put_text(pr, ",[");
    for (uint32_t i = 0; i < id.len; i++) {
        if (i > 0)
            put_char(pr, ',');
        put_number(pr, id.id[i]);
    }
    put_text(pr, "]>");
    return end;
}

static const uint8_t *print_export(printer *pr, const uint8_t *p) {
    put_text(pr, "fun ");
    p = print_atom(pr, p + 1);
    put_char(pr, ':');
    p = print_atom(pr, p);
    put_char(pr, '/');
    return print_integer(pr, p);
}

static const uint8_t *print_fun(printer *pr, const uint8_t *p) {
    np_wire_fun fun;
    np_wire_fun_read(p, &fun);
    put_text(pr, "#Fun<");
    print_atom(pr, fun.module);
    put_char(pr, ',');
    put_number(pr, fun.arity);
    put_char(pr, ',');
    for (int i = 0; i < 16; i++) {
        char hex[4];
        put(pr, hex, (size_t)snprintf(hex, sizeof(hex), "%02x", fun.uniq[i]));
    }
    put_char(pr, ',');
    put_number(pr, fun.index);
    char old[64];
    put(pr, old, (size_t)snprintf(old, sizeof(old), ",%lld,%lld,", (long long)fun.old_index, (long long)fun.old_uniq));
    print_pid(pr, fun.pid);
    put_text(pr, ",[");
    const uint8_t *at = fun.free;
    for (uint32_t i = 0; i < fun.num_free && !done(pr); i++) {
        if (i > 0)
            put_char(pr, ',');
        at = print(pr, at);
    }
    put_text(pr, "]>");
    return np_wire_skip(p);
}

/* ---- containers ---- */

/* These return early when the text is long enough; what they return then is of no more use, and nobody uses it. */

static const uint8_t *print_tuple(printer *pr, const uint8_t *p) {
    size_t arity;
    p += np_wire_head(p, &arity);
    put_char(pr, '{');
    for (size_t i = 0; i < arity && !done(pr); i++) {
        if (i > 0)
            put_char(pr, ',');
        p = print(pr, p);
    }
    put_char(pr, '}');
    return p;
}

static const uint8_t *print_list(printer *pr, const uint8_t *p) {
    np_wire_list list;
    np_wire_list_open(&list, p);
    put_char(pr, '[');
    for (bool first = true;; first = false) {
        if (done(pr)) /* before the list is asked again: it does not know where the element ended */
            return p;
        const uint8_t *element = np_wire_list_element(&list);
        if (element == NULL)
            break;
        if (!first)
            put_char(pr, ',');
        np_wire_list_behind(&list, print(pr, element));
    }
    if (!np_wire_is_nil(list.tail)) {
        put_char(pr, '|');
        print(pr, list.tail);
    }
    put_char(pr, ']');
    return list.end;
}

static const uint8_t *print_map(printer *pr, const uint8_t *p) {
    uint32_t pairs = np_get_u32(p + 1);
    p += 5;
    put_text(pr, "#{");
    for (uint32_t i = 0; i < pairs && !done(pr); i++) {
        if (i > 0)
            put_char(pr, ',');
        p = print(pr, p);
        if (done(pr))
            break;
        put_text(pr, " => ");
        p = print(pr, p);
    }
    put_char(pr, '}');
    return p;
}

static const uint8_t *print_bits(printer *pr, const uint8_t *p) {
    np_wire_bits bits;
    const uint8_t *end = np_wire_bits_read(p, &bits);
    put_text(pr, "<<");
    for (size_t i = 0; i < bits.len && !done(pr); i++) {
        bool part = i + 1 == bits.len && bits.last_bits < 8;
        if (i > 0)
            put_char(pr, ',');
        put_number(pr, part ? bits.data[i] >> (8 - bits.last_bits) : bits.data[i]);
        if (part) {
            put_char(pr, ':');
            put_number(pr, bits.last_bits);
        }
    }
    put_text(pr, ">>");
    return end;
}

/* Prints the term at p and returns what is behind it, unless it is done() before: then p is of no more use. */
static const uint8_t *print(printer *pr, const uint8_t *p) {
    switch (*p) {
    case TAG_SMALL_INTEGER:
    case TAG_INTEGER:
    case TAG_SMALL_BIG:
    case TAG_LARGE_BIG: return print_integer(pr, p);
    case TAG_NEW_FLOAT:
    case TAG_FLOAT: return print_float(pr, p);
    case TAG_BINARY:
    case TAG_BIT_BINARY: return print_bits(pr, p);
    case TAG_PID:
    case TAG_NEW_PID: return print_pid(pr, p);
    case TAG_PORT:
    case TAG_NEW_PORT:
    case TAG_V4_PORT: return print_port(pr, p);
    case TAG_REFERENCE:
    case TAG_NEW_REFERENCE:
    case TAG_NEWER_REFERENCE: return print_ref(pr, p);
    case TAG_EXPORT: return print_export(pr, p);
    case TAG_NEW_FUN: return print_fun(pr, p);
    case TAG_SMALL_TUPLE:
    case TAG_LARGE_TUPLE: return print_tuple(pr, p);
    case TAG_NIL:
    case TAG_STRING:
    case TAG_LIST: return print_list(pr, p);
    case TAG_MAP: return print_map(pr, p);
    default: return print_atom(pr, p);
    }
}

/* Cuts the content to at most len bytes, not inside a character. */
static void cut(np_buf *out, size_t len) {
    const uint8_t *text = np_buf_head(out);
    while (len > 0 && (text[len] & 0xC0) == 0x80)
        len--;
    np_buf_truncate(out, len);
}

int np_term_print(const np_in *in, np_buf *out, size_t most) {
    if (np_in_at_end(in))
        return 0;
    size_t start = np_buf_len(out);
    /* One byte more than allowed tells whether something was left out. */
    printer pr = {.out = out, .stop = most > SIZE_MAX - start - 1 ? SIZE_MAX : start + most + 1};
    print(&pr, in->base + in->pos);
    if (pr.error == 0 && np_buf_len(out) - start > most) {
        cut(out, start + most);
        pr.error = np_buf_append(out, "...", 3);
    }
    if (pr.error < 0)
        np_buf_truncate(out, start);
    return pr.error;
}

const char *np_term_text(const np_in *in, char *buf, size_t size) {
    enum { DOTS = 3 };
    if (size == 0)
        return buf;
    np_buf out = NP_BUF_INIT;
    size_t most = size > DOTS + 1 ? size - DOTS - 1 : 0;
    const char *text = "?";
    size_t len = 1;
    if (np_term_print(in, &out, most) == 0 && np_buf_len(&out) < size) {
        text = (const char *)np_buf_head(&out);
        len = np_buf_len(&out);
    }
    if (len > size - 1)
        len = size - 1;
    if (len > 0)
        memcpy(buf, text, len);
    buf[len] = '\0';
    np_buf_fini(&out);
    return buf;
}
