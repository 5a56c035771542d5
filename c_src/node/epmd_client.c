/*
 * epmd_client.c - registration with epmd and look-ups. Main thread; used by peers.c.
 *
 * epmd keeps a node registered for as long as the connection lives and nothing more is written on it; an end of that
 * connection means that epmd died (or that somebody wiped us out): register anew. The creation in its answers is
 * ignored: ours is in the handshake.
 */
#include "node/epmd_client.h"

#include "base/limits.h"
#include "base/log.h"
#include "dist/epmd.h"
#include "uv/spawn.h"
#include "uv/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHERE "node/epmd"

enum {
    EPMD_PORT = 4369,
    ANSWER_MS = NP_HANDSHAKE_MS, /* to connect and to answer */
    ANSWER_MAX = 2048,           /* a PORT2_RESP: 14 bytes, a name, some extra bytes */
    WARN_MS = 60000,
    SPAWNED_RETRY_MS = 50, /* after epmd has been started: it listens within some ms; doubled up to NP_EPMD_RETRY_MS */
    TAKEN_GRACE_MS = 1500, /* epmd may not have noticed yet that our predecessor is dead */
    TAKEN_RETRY_MS = 200,
};

uint16_t np_epmd_port(uint16_t configured) {
    const char *env = getenv("ERL_EPMD_PORT");
    if (configured != 0)
        return configured;
    long port = env != NULL ? strtol(env, NULL, 10) : 0;
    return port > 0 && port <= UINT16_MAX ? (uint16_t)port : EPMD_PORT;
}

/* Writes a request; all of it fits into a fresh socket's buffer. */
static int write_request(np_stream *stream, const np_buf *request) {
    np_bytes span = {np_buf_head(request), np_buf_len(request)};
    int64_t wrote = np_stream_write(stream, &span, 1);
    return wrote == (int64_t)span.len ? 0 : NP_EIO;
}

/* ---- registration ---- */

typedef enum state { STATE_WAITING, STATE_ASKING, STATE_REGISTERED } state;

struct np_epmd_client {
    np_loop *loop;
    state state;
    np_stream *stream;
    np_timer timer; /* WAITING: the next attempt; ASKING: the time-out */
    np_buf request;
    np_buf answer;
    uint16_t epmd_port;
    bool ipv6;    /* the attempt is for ::1; 127.0.0.1 has failed */
    bool started; /* epmd, by us */
    bool registered_once;
    uint32_t retry_ms;
    uint64_t taken_since_ms; /* 0: the name is not taken */
    uint64_t warned_ms;      /* 0: not yet */
    char *alive;
    char failed[512];
};

static void attempt(np_epmd_client *client);

static void on_timer(np_timer *timer, void *arg) {
    np_epmd_client *client = arg;
    (void)timer;
    np_stream_close(&client->stream);
    attempt(client);
}

static void retry_in(np_epmd_client *client, uint32_t delay_ms) {
    client->state = STATE_WAITING;
    client->ipv6 = false;
    np_stream_close(&client->stream);
    np_timers_start(np_loop_timers(client->loop), &client->timer, np_loop_now(client->loop) + delay_ms, on_timer,
                    client);
}

/* At once, then every minute. */
static bool warn_now(np_epmd_client *client) {
    uint64_t now = np_loop_now(client->loop);
    if (client->warned_ms != 0 && now - client->warned_ms < WARN_MS)
        return false;
    client->warned_ms = now;
    return true;
}

/* As erl does: the first node on a host brings epmd up. Once only; later somebody else decides about it. */
static bool start_epmd(np_epmd_client *client) {
    if (client->started || client->registered_once)
        return false;
    client->started = true;
    char port[8];
    snprintf(port, sizeof(port), "%u", (unsigned)client->epmd_port);
    const char *const argv[] = {"epmd", "-port", port, "-daemon", NULL};
    int error = np_spawn_detached(client->loop, argv);
    NP_LOG(NP_LOG_NOTICE, WHERE,
           error == 0 ? "no epmd answers, starting one" : "no epmd answers and none can be started",
           "port=%u result=\"%s\"", (unsigned)client->epmd_port, error == 0 ? "started" : np_strerror(error));
    client->retry_ms = SPAWNED_RETRY_MS;
    return error == 0;
}

/* No connection, or no good answer on it. */
static void attempt_failed(np_epmd_client *client, int error, const char *why) {
    np_stream_close(&client->stream);
    if (error == NP_ENOCONN && !client->ipv6) {
        client->ipv6 = true;
        attempt(client);
        return;
    }
    bool nobody = error == NP_ENOCONN || (client->ipv6 && error != NP_EPROTO && error != NP_ETIMEOUT);
    if (!nobody || !start_epmd(client)) {
        client->retry_ms = client->retry_ms < NP_EPMD_RETRY_MS / 2 ? client->retry_ms * 2 : NP_EPMD_RETRY_MS;
        if ((client->retry_ms == NP_EPMD_RETRY_MS) && warn_now(client))
            NP_LOG(NP_LOG_WARNING, WHERE, "cannot register with epmd, retrying", "port=%u reason=\"%s\"",
                   (unsigned)client->epmd_port, why);
    }
    retry_in(client, client->retry_ms);
}

static void name_taken(np_epmd_client *client) {
    uint64_t now = np_loop_now(client->loop);
    if (client->taken_since_ms == 0)
        client->taken_since_ms = now;
    if (now - client->taken_since_ms < TAKEN_GRACE_MS) {
        retry_in(client, TAKEN_RETRY_MS);
        return;
    }
    if (client->registered_once) {
        if (warn_now(client))
            NP_LOG(NP_LOG_WARNING, WHERE, "epmd has given our name to another node, retrying", "name=%s",
                   client->alive);
    } else if (client->failed[0] == '\0') {
        snprintf(client->failed, sizeof(client->failed),
                 "epmd at port %u refuses the name %.200s: another node on this host has it; choose another name or "
                 "stop that node",
                 (unsigned)client->epmd_port, client->alive);
    }
    retry_in(client, NP_EPMD_RETRY_MS);
}

static void registered(np_epmd_client *client) {
    client->state = STATE_REGISTERED;
    client->registered_once = true;
    client->ipv6 = false;
    client->retry_ms = NP_EPMD_RETRY_MS;
    client->taken_since_ms = client->warned_ms = 0;
    client->failed[0] = '\0';
    np_buf_clear(&client->answer, 0);
    np_timers_stop(np_loop_timers(client->loop), &client->timer);
    NP_LOG(NP_LOG_INFO, WHERE, "registered with epmd", "name=%s epmd=%s", client->alive,
           np_stream_peer(client->stream));
}

static void on_connected(void *arg) {
    np_epmd_client *client = arg;
    if (write_request(client->stream, &client->request) < 0)
        attempt_failed(client, NP_EIO, "epmd does not read");
}

static void on_data(void *arg, const uint8_t *data, size_t len) {
    np_epmd_client *client = arg;
    uint32_t creation;
    if (client->state == STATE_REGISTERED)
        return;
    if (np_buf_len(&client->answer) + len > ANSWER_MAX || np_buf_append(&client->answer, data, len) < 0) {
        attempt_failed(client, NP_EPROTO, "the answer is too long: is it epmd?");
        return;
    }
    int result = np_epmd_read_alive2(np_buf_head(&client->answer), np_buf_len(&client->answer), &creation);
    if (result == NP_EAGAIN)
        return;
    if (result >= 0)
        registered(client);
    else if (result == NP_EEXIST)
        name_taken(client);
    else
        attempt_failed(client, result, "the answer is none of epmd's");
}

static void on_closed(void *arg, int error, const char *why) {
    np_epmd_client *client = arg;
    client->stream = NULL;
    if (client->state != STATE_REGISTERED) {
        attempt_failed(client, error, why);
        return;
    }
    NP_LOG(NP_LOG_WARNING, WHERE, "lost epmd, registering anew", "reason=\"%s\"", why);
    client->warned_ms = np_loop_now(client->loop);
    retry_in(client, NP_EPMD_RETRY_MS);
}

static void on_answer_timeout(np_timer *timer, void *arg) {
    (void)timer;
    attempt_failed(arg, NP_ETIMEOUT, "no answer");
}

static void attempt(np_epmd_client *client) {
    static const np_stream_events events = {.connected = on_connected, .data = on_data, .closed = on_closed};
    client->state = STATE_ASKING;
    np_buf_clear(&client->answer, 0);
    np_timers_start(np_loop_timers(client->loop), &client->timer, np_loop_now(client->loop) + ANSWER_MS,
                    on_answer_timeout, client);
    int error = np_stream_connect(&client->stream, client->loop, client->ipv6 ? "::1" : "127.0.0.1", client->epmd_port,
                                  &events, client);
    if (error < 0)
        attempt_failed(client, client->ipv6 ? NP_ENOCONN : error, np_strerror(error));
}

int np_epmd_client_new(np_epmd_client **to, np_loop *loop, uint16_t epmd_port, const char *alive, uint16_t port,
                       bool hidden) {
    np_epmd_client *client = calloc(1, sizeof(*client));
    if (client == NULL)
        return NP_ENOMEM;
    client->loop = loop;
    client->epmd_port = epmd_port;
    client->retry_ms = NP_EPMD_RETRY_MS;
    np_buf_init(&client->request);
    np_buf_init(&client->answer);
    client->alive = strdup(alive);
    int error = client->alive != NULL ? np_epmd_alive2(&client->request, alive, port, hidden) : NP_ENOMEM;
    if (error < 0) {
        np_epmd_client_destroy(&client);
        return error;
    }
    attempt(client);
    *to = client;
    return 0;
}

void np_epmd_client_destroy(np_epmd_client **from) {
    np_epmd_client *client = *from;
    if (client == NULL)
        return;
    *from = NULL;
    np_timers_stop(np_loop_timers(client->loop), &client->timer);
    np_stream_close(&client->stream);
    np_buf_fini(&client->request);
    np_buf_fini(&client->answer);
    free(client->alive);
    free(client);
}

bool np_epmd_client_registered(const np_epmd_client *client) { return client->registered_once; }

const char *np_epmd_client_failed(const np_epmd_client *client) {
    return client->failed[0] != '\0' ? client->failed : NULL;
}

/* ---- look-up ---- */

struct np_epmd_lookup {
    np_loop *loop;
    np_stream *stream;
    np_timer timer;
    np_buf request;
    np_buf answer;
    np_epmd_lookup_fn done;
    void *arg;
};

void np_epmd_lookup_cancel(np_epmd_lookup **from) {
    np_epmd_lookup *lookup = *from;
    if (lookup == NULL)
        return;
    *from = NULL;
    np_timers_stop(np_loop_timers(lookup->loop), &lookup->timer);
    np_stream_close(&lookup->stream);
    np_buf_fini(&lookup->request);
    np_buf_fini(&lookup->answer);
    free(lookup);
}

static void finish(np_epmd_lookup *lookup, int error, const char *why, uint16_t port) {
    np_epmd_lookup_fn done = lookup->done;
    void *arg = lookup->arg;
    char address[256] = "";
    if (lookup->stream != NULL)
        snprintf(address, sizeof(address), "%s", np_stream_peer_address(lookup->stream));
    np_epmd_lookup_cancel(&lookup);
    done(arg, error, why, address, port);
}

static void on_lookup_connected(void *arg) {
    np_epmd_lookup *lookup = arg;
    if (write_request(lookup->stream, &lookup->request) < 0)
        finish(lookup, NP_EIO, "its epmd does not read", 0);
}

static void on_lookup_data(void *arg, const uint8_t *data, size_t len) {
    np_epmd_lookup *lookup = arg;
    np_epmd_entry entry;
    if (np_buf_len(&lookup->answer) + len > ANSWER_MAX || np_buf_append(&lookup->answer, data, len) < 0) {
        finish(lookup, NP_EPROTO, "its epmd's answer is too long: is it epmd?", 0);
        return;
    }
    int result = np_epmd_read_port2(np_buf_head(&lookup->answer), np_buf_len(&lookup->answer), &entry);
    if (result == NP_EAGAIN)
        return;
    if (result >= 0)
        finish(lookup, 0, "", entry.port);
    else if (result == NP_ENOENT)
        finish(lookup, result, "epmd on its host does not know it: is it running?", 0);
    else
        finish(lookup, result, "the answer of epmd on its host is none of epmd's", 0);
}

static void on_lookup_closed(void *arg, int error, const char *why) {
    np_epmd_lookup *lookup = arg;
    char text[256];
    lookup->stream = NULL;
    snprintf(text, sizeof(text), "epmd on its host: %s", why);
    finish(lookup, error, text, 0);
}

static void on_lookup_timeout(np_timer *timer, void *arg) {
    (void)timer;
    finish(arg, NP_ETIMEOUT, "epmd on its host does not answer", 0);
}

int np_epmd_lookup_new(np_epmd_lookup **to, np_loop *loop, const char *host, uint16_t epmd_port, const char *alive,
                       np_epmd_lookup_fn done, void *arg) {
    static const np_stream_events events = {
        .connected = on_lookup_connected, .data = on_lookup_data, .closed = on_lookup_closed};
    np_epmd_lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL)
        return NP_ENOMEM;
    lookup->loop = loop;
    lookup->done = done;
    lookup->arg = arg;
    np_buf_init(&lookup->request);
    np_buf_init(&lookup->answer);
    int error = np_epmd_port_please2(&lookup->request, alive);
    if (error == 0)
        error = np_timers_start(np_loop_timers(loop), &lookup->timer, np_loop_now(loop) + ANSWER_MS, on_lookup_timeout,
                                lookup);
    if (error == 0)
        error = np_stream_connect(&lookup->stream, loop, host, epmd_port, &events, lookup);
    if (error < 0) {
        np_epmd_lookup_cancel(&lookup);
        return error;
    }
    *to = lookup;
    return 0;
}
