/*
 * handshake.c - the distribution handshake as lib/kernel/src/dist_util.erl does it, as two state machines (one per
 * role) without IO.
 *
 * One function per state takes one whole message; the table `states` says which message a state waits for. Everything
 * a peer does wrong ends in FAILED with a reason; nothing is asserted about it. Main thread; driven by node/peer.c.
 */
#include "dist/handshake.h"

#include "base/assert.h"
#include "dist/epmd.h"
#include "dist/flags.h"

#include <native_pool/term.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DIGEST_LEN = 16,
    REASON_MAX = 768,
    NAME_HEAD = 1 + 8 + 4 + 2,          /* 'N', flags, creation, length of the name */
    CHALLENGE_HEAD = 1 + 8 + 4 + 4 + 2, /* 'N', flags, challenge, creation, length of the name */
};

typedef enum step {
    STEP_STATUS,       /* initiator: sent the name, waits for 's' */
    STEP_CHALLENGE,    /* initiator: waits for the acceptor's name and challenge */
    STEP_ACK,          /* initiator: sent the answer and a challenge of its own, waits for 'a' */
    STEP_NAME,         /* acceptor: waits for the initiator's name */
    STEP_ALIVE_ANSWER, /* acceptor: said `alive`, waits for 's' true or false */
    STEP_REPLY,        /* acceptor: sent its challenge, waits for 'r' */
    STEP_OVER,
} step;

struct np_handshake {
    np_handshake_env env;
    np_handshake_state state;
    step step;
    uint32_t steps;
    int error;
    int length_bytes;
    uint64_t flags;
    uint32_t creation;
    uint64_t peer_flags;
    uint32_t peer_creation;
    uint32_t challenge; /* ours */
    bool replaces;
    char self[NP_ATOM_BYTES_MAX + 1];
    char peer[NP_ATOM_BYTES_MAX + 1];
    char reason[REASON_MAX];
    np_buf output;
    size_t in_len;
    uint8_t in[4 + NP_HANDSHAKE_LEN_MAX]; /* the message being received, with its length */
};

/* ---- ends ---- */

__attribute__((format(printf, 3, 4))) static void fail(np_handshake *h, int error, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(h->reason, sizeof h->reason, format, args);
    va_end(args);
    for (char *c = h->reason; *c != '\0'; c++) {
        if (*c == '"')
            *c = '\''; /* the log puts the whole in quotes, and the peer's own words are in it */
    }
    h->error = error;
    h->state = NP_HANDSHAKE_FAILED;
    h->step = STEP_OVER;
}

static const char *peer_name(const np_handshake *h) { return h->peer[0] != '\0' ? h->peer : "the peer"; }

/* A text of the peer's as it may stand in our log: printable ASCII, cut. */
static const char *printable(const uint8_t *text, size_t len, char *buf, size_t size) {
    size_t n = 0;
    for (size_t i = 0; i < len && n + 1 < size; i++)
        buf[n++] = text[i] >= ' ' && text[i] < 0x7F ? (char)text[i] : '?';
    buf[n] = '\0';
    return buf;
}

/* ---- sending ---- */

/* Begins a message of `len` bytes; NULL (and FAILED) when out of memory. */
static uint8_t *begin(np_handshake *h, size_t len) {
    uint8_t *p;
    if (np_buf_reserve(&h->output, (size_t)h->length_bytes + len, &p) < 0) {
        fail(h, NP_ENOMEM, "out of memory during the handshake with %s", peer_name(h));
        return NULL;
    }
    if (h->length_bytes == 2)
        np_put_u16(p, (uint16_t)len);
    else
        np_put_u32(p, (uint32_t)len);
    np_buf_commit(&h->output, (size_t)h->length_bytes + len);
    return p + h->length_bytes;
}

static void send_status(np_handshake *h, const char *status) {
    size_t len = strlen(status);
    uint8_t *p = begin(h, 1 + len);
    if (p == NULL)
        return;
    p[0] = 's';
    memcpy(p + 1, status, len);
}

static void send_name(np_handshake *h) {
    size_t len = strlen(h->self);
    uint8_t *p = begin(h, NAME_HEAD + len);
    if (p == NULL)
        return;
    p[0] = 'N';
    np_put_u64(p + 1, h->flags);
    np_put_u32(p + 9, h->creation);
    np_put_u16(p + 13, (uint16_t)len);
    memcpy(p + NAME_HEAD, h->self, len);
}

static void send_challenge(np_handshake *h) {
    size_t len = strlen(h->self);
    uint8_t *p = begin(h, CHALLENGE_HEAD + len);
    if (p == NULL)
        return;
    h->challenge = h->env.challenge(h->env.arg);
    p[0] = 'N';
    np_put_u64(p + 1, h->flags);
    np_put_u32(p + 9, h->challenge);
    np_put_u32(p + 13, h->creation);
    np_put_u16(p + 17, (uint16_t)len);
    memcpy(p + CHALLENGE_HEAD, h->self, len);
    h->step = STEP_REPLY;
}

/* ---- checks both roles share ---- */

void np_handshake_digest(const char *cookie, uint32_t challenge, uint8_t digest[16]) {
    char decimal[16];
    int len = snprintf(decimal, sizeof decimal, "%u", (unsigned)challenge);
    EVP_MD_CTX *md5 = EVP_MD_CTX_new();
    unsigned digest_len = 0;

    /*
     * No MD5 (a FIPS build of OpenSSL) or no memory: without a digest no peer can be trusted, and there is no other
     * way to go on.
     */
    NP_ASSERT(md5 != NULL && EVP_DigestInit_ex(md5, EVP_md5(), NULL) == 1 &&
              EVP_DigestUpdate(md5, cookie, strlen(cookie)) == 1 && EVP_DigestUpdate(md5, decimal, (size_t)len) == 1 &&
              EVP_DigestFinal_ex(md5, digest, &digest_len) == 1 && digest_len == DIGEST_LEN);
    EVP_MD_CTX_free(md5);
}

/* The digest the peer must have made of our challenge. */
static bool digest_ok(const char *cookie, uint32_t challenge, const uint8_t *digest) {
    uint8_t expected[DIGEST_LEN];
    np_handshake_digest(cookie, challenge, expected);
    return CRYPTO_memcmp(expected, digest, DIGEST_LEN) == 0;
}

static const char *cookie_for_peer(np_handshake *h) {
    const char *cookie = h->env.cookie(h->env.arg, h->peer);
    if (cookie == NULL)
        fail(h, NP_EAUTH, "no cookie for %s: set cookie_file", h->peer);
    return cookie;
}

static uint64_t expand(uint64_t flags) {
    return flags & NP_DFLAG_MANDATORY_25_DIGEST ? flags | NP_DFLAGS_MANDATORY : flags;
}

static bool flags_ok(np_handshake *h) {
    uint64_t missing = NP_DFLAGS_MANDATORY & ~expand(h->peer_flags);
    if (missing == 0)
        return true;
    fail(h, NP_ENOTSUP,
         "%s lacks capabilities that OTP 25 demands (flags 0x%llx, missing 0x%llx): it must be OTP 23 or later",
         peer_name(h), (unsigned long long)h->peer_flags, (unsigned long long)missing);
    return false;
}

/* dist_util of OTP 22 and earlier, and of OTP 23 and 24 when they do not know whom they dial (no epmd). */
static void fail_old(np_handshake *h) {
    fail(h, NP_ENOTSUP,
         "%s speaks the handshake of OTP 22 and earlier ('n'): it must be OTP 23 or later and find us through epmd",
         peer_name(h));
}

static void finish(np_handshake *h) {
    h->state = NP_HANDSHAKE_DONE;
    h->step = STEP_OVER;
}

/* ---- initiator ---- */

static bool status_is(const uint8_t *data, size_t len, const char *status) {
    return len == strlen(status) && memcmp(data, status, len) == 0;
}

static void take_alive(np_handshake *h) {
    if (h->env.replace != NULL && h->env.replace(h->env.arg, h->peer)) {
        h->replaces = true;
        send_status(h, "true");
        if (h->state == NP_HANDSHAKE_BUSY)
            h->step = STEP_CHALLENGE;
    } else {
        send_status(h, "false");
        if (h->state == NP_HANDSHAKE_BUSY)
            fail(h, NP_EEXIST, "%s is connected to us already: the old connection is kept", h->peer);
    }
}

static void take_status(np_handshake *h, const uint8_t *data, size_t len) {
    const uint8_t *status = data + 1;
    char text[64];
    len--;
    if (status_is(status, len, "ok")) {
        h->step = STEP_CHALLENGE;
    } else if (status_is(status, len, "ok_simultaneous")) {
        h->replaces = true;
        h->step = STEP_CHALLENGE;
    } else if (status_is(status, len, "alive")) {
        take_alive(h);
    } else if (status_is(status, len, "nok")) {
        fail(h, NP_EBUSY, "%s answered nok: it is dialling us itself, or does not take the name %s", h->peer, h->self);
    } else if (status_is(status, len, "not_allowed")) {
        fail(h, NP_EINVAL,
             "%s answered not_allowed: it has a list of allowed nodes (net_kernel:allow/1) without %s, or "
             "demands capabilities beyond 0x%llx",
             h->peer, h->self, (unsigned long long)h->flags);
    } else if (len >= 6 && memcmp(status, "named:", 6) == 0) {
        fail(h, NP_EPROTO, "%s wants to give us a name of its own, which we did not ask for", h->peer);
    } else {
        fail(h, NP_EPROTO, "%s answered with the unknown status '%s'", h->peer,
             printable(status, len, text, sizeof text));
    }
}

static void take_challenge(np_handshake *h, const uint8_t *data, size_t len) {
    uint8_t digest[DIGEST_LEN];
    char text[256];
    if (len < CHALLENGE_HEAD || len - CHALLENGE_HEAD < np_get_u16(data + 17)) {
        fail(h, NP_EPROTO, "%s sent a challenge that is cut short (%zu bytes)", h->peer, len);
        return;
    }
    size_t name_len = np_get_u16(data + 17);
    const uint8_t *name = data + CHALLENGE_HEAD;
    h->peer_flags = np_get_u64(data + 1);
    h->peer_creation = np_get_u32(data + 13);
    if (name_len != strlen(h->peer) || memcmp(name, h->peer, name_len) != 0) {
        fail(h, NP_EPROTO, "dialled %s, but %s answered: check its name and port, and epmd on its host", h->peer,
             printable(name, name_len, text, sizeof text));
        return;
    }
    if (!flags_ok(h))
        return;
    const char *cookie = cookie_for_peer(h);
    if (cookie == NULL)
        return;
    np_handshake_digest(cookie, np_get_u32(data + 9), digest);
    uint8_t *p = begin(h, 1 + 4 + DIGEST_LEN);
    if (p == NULL)
        return;
    h->challenge = h->env.challenge(h->env.arg);
    p[0] = 'r';
    np_put_u32(p + 1, h->challenge);
    memcpy(p + 5, digest, DIGEST_LEN);
    h->step = STEP_ACK;
}

static void take_ack(np_handshake *h, const uint8_t *data, size_t len) {
    if (len != 1 + DIGEST_LEN) {
        fail(h, NP_EPROTO, "%s sent a digest of %zu bytes in place of %d", h->peer, len - 1, DIGEST_LEN);
        return;
    }
    const char *cookie = cookie_for_peer(h);
    if (cookie == NULL)
        return;
    if (!digest_ok(cookie, h->challenge, data + 1))
        fail(h, NP_EAUTH, "cookie of %s differs from ours: check cookie_file", h->peer);
    else
        finish(h);
}

/* ---- acceptor ---- */

static void answer_verdict(np_handshake *h) {
    switch (h->env.verdict(h->env.arg, h->peer)) {
    case NP_VERDICT_OK_SIMULTANEOUS:
        h->replaces = true;
        send_status(h, "ok_simultaneous");
        break;
    case NP_VERDICT_OK: send_status(h, "ok"); break;
    case NP_VERDICT_ALIVE:
        send_status(h, "alive");
        if (h->state == NP_HANDSHAKE_BUSY)
            h->step = STEP_ALIVE_ANSWER;
        return;
    case NP_VERDICT_NOK:
        send_status(h, "nok");
        if (h->state == NP_HANDSHAKE_BUSY)
            fail(h, NP_EBUSY, "we are dialling %s ourselves, and our dial wins", h->peer);
        return;
    case NP_VERDICT_NOT_ALLOWED:
        send_status(h, "not_allowed");
        if (h->state == NP_HANDSHAKE_BUSY)
            fail(h, NP_EINVAL, "%s is not allowed to connect", h->peer);
        return;
    }
    if (h->state == NP_HANDSHAKE_BUSY)
        send_challenge(h);
}

/* What dist_util answers `nok`: a name that is none, and our own. */
static bool name_ok(np_handshake *h, const uint8_t *name, size_t len) {
    np_str alive, host;
    const char *why;
    char text[256];
    printable(name, len, text, sizeof text);
    if (np_epmd_split_name((const char *)name, len, &alive, &host, &why) < 0) {
        send_status(h, "nok");
        fail(h, NP_EINVAL, "a peer calls itself '%s': %s", text, why);
        return false;
    }
    memcpy(h->peer, name, len);
    h->peer[len] = '\0';
    if (strcmp(h->peer, h->self) == 0) {
        send_status(h, "nok");
        fail(h, NP_EINVAL, "a peer has our own name %s: two nodes have the same name, or we dialled ourselves", text);
        return false;
    }
    return true;
}

static void take_name(np_handshake *h, const uint8_t *data, size_t len) {
    /* Bytes behind the name are ignored, as OTP does: room for later versions. */
    if (len < NAME_HEAD || len - NAME_HEAD < np_get_u16(data + 13)) {
        fail(h, NP_EPROTO, "a peer sent a name message that is cut short (%zu bytes)", len);
        return;
    }
    h->peer_flags = np_get_u64(data + 1);
    h->peer_creation = np_get_u32(data + 9);
    if (h->peer_flags & NP_DFLAG_NAME_ME) {
        send_status(h, "not_allowed");
        fail(h, NP_ENOTSUP,
             "a peer asks for a node name (-name undefined), which we do not give: start it with a name");
        return;
    }
    if (!name_ok(h, data + NAME_HEAD, np_get_u16(data + 13)))
        return;
    if (!flags_ok(h)) {
        send_status(h, "not_allowed");
        return;
    }
    answer_verdict(h);
}

static void take_alive_answer(np_handshake *h, const uint8_t *data, size_t len) {
    char text[64];
    if (status_is(data + 1, len - 1, "true")) {
        h->replaces = true;
        send_challenge(h);
    } else if (status_is(data + 1, len - 1, "false")) {
        fail(h, NP_EEXIST, "%s keeps its old connection to us", h->peer);
    } else {
        fail(h, NP_EPROTO, "%s answered `alive` with '%s' in place of true or false", h->peer,
             printable(data + 1, len - 1, text, sizeof text));
    }
}

static void take_reply(np_handshake *h, const uint8_t *data, size_t len) {
    if (len != 1 + 4 + DIGEST_LEN) {
        fail(h, NP_EPROTO, "%s answered the challenge with %zu bytes in place of %d", h->peer, len, 1 + 4 + DIGEST_LEN);
        return;
    }
    const char *cookie = cookie_for_peer(h);
    if (cookie == NULL)
        return;
    if (!digest_ok(cookie, h->challenge, data + 5)) {
        fail(h, NP_EAUTH, "cookie of %s differs from ours: check cookie_file", h->peer);
        return;
    }
    uint8_t *p = begin(h, 1 + DIGEST_LEN);
    if (p == NULL)
        return;
    p[0] = 'a';
    np_handshake_digest(cookie, np_get_u32(data + 1), p + 1);
    finish(h);
}

/* ---- the table ---- */

static const struct {
    uint8_t tag; /* first byte of the message awaited */
    void (*take)(np_handshake *h, const uint8_t *data, size_t len);
    const char *awaits;
} states[] = {
    [STEP_STATUS] = {'s', take_status, "its status"},
    [STEP_CHALLENGE] = {'N', take_challenge, "its challenge"},
    [STEP_ACK] = {'a', take_ack, "its acknowledgement"},
    [STEP_NAME] = {'N', take_name, "its name"},
    [STEP_ALIVE_ANSWER] = {'s', take_alive_answer, "its answer to `alive`"},
    [STEP_REPLY] = {'r', take_reply, "its answer to our challenge"},
};

static void take_message(np_handshake *h, const uint8_t *data, size_t len) {
    h->steps++;
    if (len == 0) {
        fail(h, NP_EPROTO, "%s sent an empty message in place of %s", peer_name(h), states[h->step].awaits);
    } else if (data[0] == states[h->step].tag) {
        states[h->step].take(h, data, len);
    } else if (data[0] == 'n' && (h->step == STEP_NAME || h->step == STEP_CHALLENGE)) {
        fail_old(h);
    } else {
        fail(h, NP_EPROTO, "%s sent a message of type 0x%02x in place of %s: is it an Erlang node?", peer_name(h),
             data[0], states[h->step].awaits);
    }
}

/* ---- interface ---- */

np_handshake *np_handshake_new(const np_handshake_env *env, const char *self, const char *peer, uint64_t flags,
                               uint32_t creation, int length_bytes) {
    NP_ASSERT(length_bytes == 2 || length_bytes == 4);
    NP_ASSERT(strlen(self) <= NP_ATOM_BYTES_MAX && (peer == NULL || strlen(peer) <= NP_ATOM_BYTES_MAX));
    np_handshake *h = calloc(1, sizeof *h);
    if (h == NULL)
        return NULL;
    h->env = *env;
    h->flags = flags;
    h->creation = creation;
    h->length_bytes = length_bytes;
    h->state = NP_HANDSHAKE_BUSY;
    np_buf_init(&h->output);
    memcpy(h->self, self, strlen(self) + 1);
    if (peer == NULL) {
        h->step = STEP_NAME;
        return h;
    }
    memcpy(h->peer, peer, strlen(peer) + 1);
    h->step = STEP_STATUS;
    send_name(h);
    if (h->state == NP_HANDSHAKE_FAILED)
        np_handshake_destroy(&h);
    return h;
}

void np_handshake_destroy(np_handshake **handshake) {
    if (*handshake == NULL)
        return;
    np_buf_fini(&(*handshake)->output);
    free(*handshake);
    *handshake = NULL;
}

/* Moves bytes into the message buffer until it holds `want` of them; false if there are not enough yet. */
static bool gather(np_handshake *h, size_t want, const uint8_t *data, size_t len, size_t *taken) {
    size_t missing = want - h->in_len, left = len - *taken;
    size_t n = missing < left ? missing : left;
    if (n > 0)
        memcpy(h->in + h->in_len, data + *taken, n);
    h->in_len += n;
    *taken += n;
    return n == missing;
}

size_t np_handshake_feed(np_handshake *handshake, const uint8_t *data, size_t len) {
    np_handshake *h = handshake;
    size_t head = (size_t)h->length_bytes, taken = 0;

    while (h->state == NP_HANDSHAKE_BUSY && taken < len) {
        if (h->in_len < head && !gather(h, head, data, len, &taken))
            break;
        size_t message = head == 2 ? np_get_u16(h->in) : np_get_u32(h->in);
        if (message > NP_HANDSHAKE_LEN_MAX) {
            fail(h, NP_EPROTO,
                 "%s announces a handshake message of %zu bytes (at most %d): it is no Erlang node, or one with%s TLS",
                 peer_name(h), message, NP_HANDSHAKE_LEN_MAX, head == 2 ? "" : "out");
            break;
        }
        if (!gather(h, head + message, data, len, &taken))
            break;
        h->in_len = 0;
        take_message(h, h->in + head, message);
    }
    return taken;
}

void np_handshake_abort(np_handshake *handshake, int error) {
    np_handshake *h = handshake;
    if (h->state != NP_HANDSHAKE_BUSY)
        return;
    const char *awaits = states[h->step].awaits;
    if (error == NP_ECLOSED && h->step == STEP_ACK)
        fail(h, NP_EAUTH,
             "%s closed the connection after our answer to its challenge: its cookie for us differs from ours, check "
             "cookie_file",
             h->peer);
    else if (error == NP_ECLOSED)
        fail(h, error, "%s closed the connection when we waited for %s", peer_name(h), awaits);
    else if (error == NP_ETIMEOUT)
        fail(h, error, "%s did not send %s in time", peer_name(h), awaits);
    else
        fail(h, error, "connection to %s lost when we waited for %s: %s", peer_name(h), awaits, np_strerror(error));
}

np_buf *np_handshake_output(np_handshake *handshake) { return &handshake->output; }
np_handshake_state np_handshake_get_state(const np_handshake *handshake) { return handshake->state; }
uint32_t np_handshake_step(const np_handshake *handshake) { return handshake->steps; }
int np_handshake_error(const np_handshake *handshake) { return handshake->error; }
const char *np_handshake_reason(const np_handshake *handshake) { return handshake->reason; }
const char *np_handshake_peer(const np_handshake *handshake) { return handshake->peer; }
uint64_t np_handshake_flags(const np_handshake *handshake) {
    return expand(handshake->peer_flags) & expand(handshake->flags);
}
uint64_t np_handshake_peer_flags(const np_handshake *handshake) { return handshake->peer_flags; }
uint32_t np_handshake_creation(const np_handshake *handshake) { return handshake->peer_creation; }
bool np_handshake_replaces(const np_handshake *handshake) { return handshake->replaces; }
