/*
 * A handshake in either role against any bytes. Byte 0 chooses role, width of the lengths and the node's answers,
 * byte 1 the size of the pieces the rest comes in. The outcome must not depend on the pieces, and every end must be
 * one that the header allows.
 */
#include "base/assert.h"
#include "dist/flags.h"
#include "dist/handshake.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ACCEPTOR = 1, WIDE = 2, REPLACE = 4, VERDICT_SHIFT = 4 };

static const char *cookie(void *arg, const char *peer) {
    (void)arg;
    return strcmp(peer, "no@cookie") == 0 ? NULL : "golden";
}

static np_handshake_verdict verdict(void *arg, const char *peer) {
    (void)peer;
    return (np_handshake_verdict)((*(const uint8_t *)arg >> VERDICT_SHIFT) % 5);
}

static bool replace(void *arg, const char *peer) {
    (void)peer;
    return (*(const uint8_t *)arg & REPLACE) != 0;
}

/* The one of the first recorded handshake in each role, so that the corpus gets to the end. */
static uint32_t challenge(void *arg) { return *(const uint8_t *)arg & ACCEPTOR ? 0x13131313 : 0x11111111; }

static np_handshake *play(uint8_t choice, const uint8_t *data, size_t size, size_t piece, size_t *taken) {
    np_handshake_env env = {&choice, cookie, verdict, replace, challenge};
    np_handshake *h = np_handshake_new(&env, "native@127.0.0.1", choice & ACCEPTOR ? NULL : "a@127.0.0.1",
                                       NP_DFLAGS_OURS, 1234567890, choice & WIDE ? 4 : 2);
    NP_ASSERT(h != NULL);
    *taken = 0;
    while (*taken < size && np_handshake_get_state(h) == NP_HANDSHAKE_BUSY) {
        size_t len = size - *taken < piece ? size - *taken : piece;
        uint8_t *copy = malloc(len);
        NP_ASSERT(copy != NULL);
        memcpy(copy, data + *taken, len);
        size_t n = np_handshake_feed(h, copy, len);
        free(copy);
        NP_ASSERT(n <= len && (n == len || np_handshake_get_state(h) != NP_HANDSHAKE_BUSY));
        *taken += n;
    }
    return h;
}

static void check(const np_handshake *h) {
    const char *reason = np_handshake_reason(h);
    switch (np_handshake_get_state(h)) {
    case NP_HANDSHAKE_BUSY: NP_ASSERT(np_handshake_error(h) == 0 && reason[0] == '\0'); break;
    case NP_HANDSHAKE_FAILED: NP_ASSERT(np_handshake_error(h) < 0 && reason[0] != '\0'); break;
    case NP_HANDSHAKE_DONE:
        NP_ASSERT(np_handshake_error(h) == 0 && strchr(np_handshake_peer(h), '@') != NULL);
        NP_ASSERT((np_handshake_flags(h) & NP_DFLAGS_MANDATORY) == NP_DFLAGS_MANDATORY);
        break;
    }
    for (; *reason != '\0'; reason++)
        NP_ASSERT(*reason >= ' ' || (unsigned char)*reason >= 0x80);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t taken_whole, taken_pieces;
    if (size < 2)
        return 0;
    np_handshake *whole = play(data[0], data + 2, size - 2, SIZE_MAX, &taken_whole);
    np_handshake *pieces = play(data[0], data + 2, size - 2, 1 + data[1] % 32, &taken_pieces);
    check(whole);
    NP_ASSERT(np_handshake_get_state(whole) == np_handshake_get_state(pieces));
    NP_ASSERT(np_handshake_error(whole) == np_handshake_error(pieces) && taken_whole == taken_pieces);
    NP_ASSERT(np_handshake_step(whole) == np_handshake_step(pieces));
    NP_ASSERT(strcmp(np_handshake_reason(whole), np_handshake_reason(pieces)) == 0);
    NP_ASSERT(strcmp(np_handshake_peer(whole), np_handshake_peer(pieces)) == 0);
    np_buf *a = np_handshake_output(whole), *b = np_handshake_output(pieces);
    NP_ASSERT(np_buf_len(a) == np_buf_len(b));
    NP_ASSERT(np_buf_len(a) == 0 || memcmp(np_buf_head(a), np_buf_head(b), np_buf_len(a)) == 0);
    np_handshake_abort(whole, NP_ECLOSED);
    NP_ASSERT(np_handshake_get_state(whole) != NP_HANDSHAKE_BUSY);
    np_handshake_destroy(&whole);
    np_handshake_destroy(&pieces);
    return 0;
}
