/*
 * golden.h - reads test/golden/ *.golden, wire captures of real peers (the format: test/golden/README.md), for the
 * unit tests.
 *
 *     golden *g = golden_open("terms.golden");
 *     for (const golden_record *r; (r = golden_next(g)) != NULL;)
 *         for (size_t i = 0; i < r->count; i++)
 *             ... r->lines[i].kind, r->lines[i].bytes, r->lines[i].len
 *     golden_close(&g);
 *
 * A file that is missing or not in the format ends the test program with a message: it is no test result.
 */
#ifndef NP_TEST_GOLDEN_H
#define NP_TEST_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum golden_kind {
    GOLDEN_TEXT = '=', /* the text of a term of the next packet */
    GOLDEN_IN = '<',   /* a packet from the peer to native */
    GOLDEN_OUT = '>',  /* a packet from native to the peer */
};

typedef struct golden_line {
    enum golden_kind kind;
    const char *text; /* of GOLDEN_TEXT, terminated */
    uint8_t *bytes;   /* of the others: an allocation of exactly len bytes, so that the sanitizers see a read beyond */
    size_t len;
} golden_line;

typedef struct golden_record {
    const char *title; /* the "#" line without its "# " */
    golden_line *lines;
    size_t count;
} golden_record;

typedef struct golden golden;

golden *golden_open(const char *name);

/* The next record, valid until the next call; NULL at the end. */
const golden_record *golden_next(golden *g);

/* The next record whose title begins with this, from where the reader stands; the program ends if there is none. */
const golden_record *golden_find(golden *g, const char *title);

void golden_close(golden **g);

/*
 * True if a printed term is what the file says, where the file may abbreviate: #Bin<Size,md5> for the bytes of a
 * large binary and #Rep<N,X> for a list of N times X.
 */
bool golden_text_matches(const char *expected, const char *actual);

#endif
