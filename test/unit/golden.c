/* golden.c - see golden.h. */
#include "golden.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct golden {
    char path[1024];
    FILE *file;
    unsigned line_number;
    char *line; /* the line read ahead, without its end */
    size_t line_cap;
    bool have_line;
    golden_record record;
    size_t cap;
    char *title;
};

static void fail(const golden *g, const char *what) {
    fprintf(stderr, "%s:%u: %s\n", g->path, g->line_number, what);
    exit(2);
}

golden *golden_open(const char *name) {
    golden *g = calloc(1, sizeof(*g));
    if (g == NULL)
        abort();
    (void)snprintf(g->path, sizeof(g->path), "%s/golden/%s", NP_TEST_DATA, name);
    g->file = fopen(g->path, "rb");
    if (g->file == NULL)
        fail(g, "cannot open");
    return g;
}

/* Looks at the next line; false at the end of the file. */
static bool peek(golden *g) {
    if (g->have_line)
        return true;
    ssize_t len = getline(&g->line, &g->line_cap, g->file);
    if (len < 0)
        return false;
    g->line_number++;
    if (len > 0 && g->line[len - 1] == '\n')
        g->line[len - 1] = '\0';
    g->have_line = true;
    return true;
}

static void clear(golden *g) {
    for (size_t i = 0; i < g->record.count; i++) {
        free((char *)g->record.lines[i].text);
        free(g->record.lines[i].bytes);
    }
    g->record.count = 0;
    free(g->title);
    g->title = NULL;
}

static int hex_digit(char c) {
    const char *digits = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

static void read_hex(golden *g, golden_line *line, const char *hex) {
    size_t len = strlen(hex);
    line->len = len / 2;
    line->bytes = malloc(line->len > 0 ? line->len : 1);
    if (line->bytes == NULL)
        abort();
    for (size_t i = 0; i < line->len; i++) {
        int high = hex_digit(hex[2 * i]);
        int low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            fail(g, "not a hex digit");
        line->bytes[i] = (uint8_t)(high << 4 | low);
    }
    if (len % 2 != 0)
        fail(g, "half a byte");
}

static void add_line(golden *g) {
    if (g->record.count == g->cap) {
        g->cap = g->cap == 0 ? 16 : 2 * g->cap;
        g->record.lines = realloc(g->record.lines, g->cap * sizeof(*g->record.lines));
        if (g->record.lines == NULL)
            abort();
    }
    golden_line *line = &g->record.lines[g->record.count++];
    *line = (golden_line){.kind = (enum golden_kind)g->line[0]};
    const char *rest = g->line + 1;
    if (*rest == ' ')
        rest++;
    if (line->kind == GOLDEN_TEXT)
        line->text = strdup(rest);
    else if (line->kind == GOLDEN_IN || line->kind == GOLDEN_OUT)
        read_hex(g, line, rest);
    else
        fail(g, "a line must begin with #, =, < or >");
}

const golden_record *golden_next(golden *g) {
    clear(g);
    while (peek(g) && (g->line[0] == '\0' || strncmp(g->line, "#!", 2) == 0))
        g->have_line = false;
    if (!peek(g))
        return NULL;
    if (strncmp(g->line, "# ", 2) != 0)
        fail(g, "a record must begin with \"# \"");
    g->title = strdup(g->line + 2);
    g->record.title = g->title;
    g->have_line = false;
    while (peek(g) && g->line[0] != '\0') {
        add_line(g);
        g->have_line = false;
    }
    return &g->record;
}

const golden_record *golden_find(golden *g, const char *title) {
    const golden_record *record;
    while ((record = golden_next(g)) != NULL) {
        if (strncmp(record->title, title, strlen(title)) == 0)
            return record;
    }
    fail(g, title);
    return NULL;
}

void golden_close(golden **g) {
    clear(*g);
    free((*g)->record.lines);
    free((*g)->line);
    (void)fclose((*g)->file);
    free(*g);
    *g = NULL;
}

/* *actual stands at a binary "<<1,2,..>>": steps over it if it has this size and MD5. */
static bool match_binary(unsigned long size, const char *md5, const char **actual) {
    if (strncmp(*actual, "<<", 2) != 0)
        return false;
    const char *at = *actual + 2;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_DigestInit_ex(context, EVP_md5(), NULL);
    unsigned long count = 0;
    while (strncmp(at, ">>", 2) != 0 && *at != '\0') {
        char *end;
        unsigned char byte = (unsigned char)strtoul(at, &end, 10);
        EVP_DigestUpdate(context, &byte, 1);
        count++;
        at = *end == ',' ? end + 1 : end;
        if (end == at)
            at += strcspn(at, ">");
    }
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int digest_len;
    EVP_DigestFinal_ex(context, digest, &digest_len);
    EVP_MD_CTX_free(context);
    char hex[33];
    for (int i = 0; i < 16; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    *actual = *at == '\0' ? at : at + 2;
    return count == size && strncmp(hex, md5, 32) == 0;
}

/* *actual stands at a list: steps over it if it is `count` times the text. */
static bool match_repetition(unsigned long count, const char *text, size_t len, const char **actual) {
    const char *at = *actual;
    for (unsigned long i = 0; i < count; i++) {
        if (*at++ != (i == 0 ? '[' : ',') || strncmp(at, text, len) != 0)
            return false;
        at += len;
    }
    if (*at++ != ']')
        return false;
    *actual = at;
    return true;
}

bool golden_text_matches(const char *expected, const char *actual) {
    while (*expected != '\0') {
        char *end;
        bool matched;
        if (strncmp(expected, "#Bin<", 5) == 0) {
            unsigned long size = strtoul(expected + 5, &end, 10);
            matched = *end == ',' && match_binary(size, end + 1, &actual);
        } else if (strncmp(expected, "#Rep<", 5) == 0) {
            unsigned long count = strtoul(expected + 5, &end, 10);
            matched = *end == ',' && match_repetition(count, end + 1, strcspn(end + 1, ">"), &actual);
        } else {
            if (*expected++ != *actual++)
                return false;
            continue;
        }
        if (!matched)
            return false;
        expected = end + strcspn(end, ">") + 1;
    }
    return *actual == '\0';
}
