/*
 * peers.c - the table of other nodes: who is connected, who is dialled and when, what an inbound connection may do.
 * Main thread.
 *
 * One `target` per node that is connected, being dialled or to be dialled again. A connection (peer.c) belongs to a
 * target once it is dialled or has authenticated; inbound ones before that are in `inbound`. Connections that have
 * ended, or are to end, wait in `swept` for a moment when nobody is inside them.
 */
#include "node/peers.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/rng.h"
#include "dist/epmd.h"
#include "node/epmd_client.h"
#include "node/peer.h"
#include "node/peers_config.h"
#include "term/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHERE "node/peers"

enum {
    WARN_MS = 60000,    /* how often an unreachable seed is worth a line */
    GIVE_UP_MS = 60000, /* a discovered node that does not come (back) is forgotten */
    UNNAMED_MS = 10,    /* between looks whether epmd has taken our name */
    REFUSED_MS = 5000,  /* until the next dial of a node that does not want us: more often would flood its log */
};

typedef struct target {
    np_peers *peers;
    np_node_id id;
    const char *name;
    char *host; /* of the name */
    char *alive;
    bool seed;
    bool wanted;      /* seed or discovered: dialled, and dialled again */
    bool held;        /* in use up the stack: not to be freed */
    int warned_error; /* of the last warning; 0: none since it was last up */
    uint64_t warned_ms;
    uint64_t give_up_ms; /* not for seeds */
    uint32_t failures;   /* dials since it was last up */
    np_peer *up;
    np_peer *dial;
    np_epmd_lookup *lookup;
    np_timer retry;
} target;

struct np_peers {
    np_loop *loop;
    np_peers_events events;
    np_peers_config config; /* strings and tables are ours */
    np_peer_settings settings;
    np_listener *listener;
    np_epmd_client *epmd;
    uint16_t port;
    uint16_t epmd_port;
    bool started;
    bool draining;
    np_map targets; /* by name */
    target **by_id; /* the same, by node id, for the many sends */
    size_t by_id_len;
    np_peer *inbound; /* not authenticated yet */
    uint32_t inbound_count;
    np_peer *dirty;
    np_peer *swept;
    np_task sweep;
    np_rng rng;
    np_log_limit refused_limit;
    np_peers_stats past; /* traffic: of connections that are gone */
};

static uint64_t now_of(const np_peers *peers) { return np_loop_now(peers->loop); }

/* ---- the table ---- */

static bool target_eq(const void *item, const void *key) { return strcmp(((const target *)item)->name, key) == 0; }

static uint64_t name_hash(const char *name) { return np_hash_bytes(name, strlen(name)); }

/* By name: names of peers that have not authenticated are not interned. */
static target *find_name(const np_peers *peers, const char *name) {
    return np_map_get(&peers->targets, name_hash(name), name);
}

static target *find(const np_peers *peers, np_node_id id) { return id < peers->by_id_len ? peers->by_id[id] : NULL; }

static int index_target(np_peers *peers, target *t) {
    if (t->id >= peers->by_id_len) {
        size_t len = peers->by_id_len * 2 > t->id ? peers->by_id_len * 2 : (size_t)t->id + 16;
        target **grown = realloc(peers->by_id, len * sizeof(target *));
        if (grown == NULL)
            return NP_ENOMEM;
        memset(grown + peers->by_id_len, 0, (len - peers->by_id_len) * sizeof(target *));
        peers->by_id = grown;
        peers->by_id_len = len;
    }
    int error = np_map_add(&peers->targets, name_hash(t->name), t);
    if (error == 0)
        peers->by_id[t->id] = t;
    return error;
}

static void target_free(target *t) {
    free(t->host);
    free(t->alive);
    free(t);
}

/* Finds or makes. NP_EINVAL (no node name), NP_ELIMIT, NP_ENOMEM. */
static int target_of(np_peers *peers, const char *name, target **found) {
    np_str alive, host;
    *found = find_name(peers, name);
    if (*found != NULL)
        return 0;
    int error = np_epmd_split_name(name, strlen(name), &alive, &host, NULL);
    if (error < 0)
        return error;
    if (np_map_count(&peers->targets) >= NP_PEERS_MAX)
        return NP_ELIMIT;
    target *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return NP_ENOMEM;
    t->peers = peers;
    t->host = strndup(host.data, host.len);
    t->alive = strndup(alive.data, alive.len);
    error = t->host != NULL && t->alive != NULL ? np_name_intern(name, strlen(name), &t->id) : NP_ENOMEM;
    if (error == 0) {
        t->name = np_name_text(t->id);
        error = index_target(peers, t);
    }
    if (error < 0) {
        target_free(t);
        return error;
    }
    *found = t;
    return 0;
}

/* Forgets a target nobody wants and nothing is going on with. */
static void release(np_peers *peers, target *t) {
    if (t->held || t->wanted || t->up != NULL || t->dial != NULL || t->lookup != NULL)
        return;
    np_timers_stop(np_loop_timers(peers->loop), &t->retry);
    np_map_remove(&peers->targets, name_hash(t->name), t->name);
    peers->by_id[t->id] = NULL;
    target_free(t);
}

/* ---- connections that have ended ---- */

static void add_stats(np_session_stats *sum, const np_session_stats *more) {
    sum->packets_in += more->packets_in;
    sum->bytes_in += more->bytes_in;
    sum->packets_out += more->packets_out;
    sum->bytes_out += more->bytes_out;
    sum->ticks_in += more->ticks_in;
    sum->ticks_out += more->ticks_out;
    sum->fragments_in += more->fragments_in;
    sum->fragments_out += more->fragments_out;
}

static void unlink_inbound(np_peers *peers, np_peer *peer) {
    if (peer->prev != NULL)
        peer->prev->next = peer->next;
    else
        peers->inbound = peer->next;
    if (peer->next != NULL)
        peer->next->prev = peer->prev;
    peer->next = peer->prev = NULL;
    peers->inbound_count--;
}

static void unlink_dirty(np_peers *peers, np_peer *peer) {
    if (!peer->is_dirty)
        return;
    np_peer **at = &peers->dirty;
    while (*at != peer)
        at = &(*at)->next_dirty;
    *at = peer->next_dirty;
    peer->is_dirty = false;
}

static void on_sweep(void *arg);

static void sweep_later(np_peers *peers, np_peer *peer) {
    if (peer->is_swept)
        return;
    peer->is_swept = true;
    peer->next_swept = peers->swept;
    peers->swept = peer;
    np_loop_defer(peers->loop, &peers->sweep, on_sweep, peers);
}

/* Closes and puts into the graveyard. */
static void bury(np_peers *peers, np_peer *peer) {
    np_peer_close(peer);
    peer->target = NULL;
    unlink_dirty(peers, peer);
    sweep_later(peers, peer);
}

static void redial_in(target *t, uint64_t delay_ms);

/* An established connection is over: down. */
static void lose(np_peers *peers, target *t, np_log_level level, const char *reason) {
    np_peer *peer = t->up;
    t->up = NULL;
    peers->past.closes++;
    add_stats(&peers->past.traffic, np_session_get_stats(peer->session));
    NP_LOG(level, WHERE, "disconnected", "peer=%s address=%s reason=\"%s\"", t->name, peer->address, reason);
    bury(peers, peer);
    t->held = true;
    peers->events.down(peers->events.arg, t->id, reason);
    t->held = false;
}

/* After a loss that nothing has replaced yet. */
static void after_loss(np_peers *peers, target *t) {
    if (t->wanted && t->up == NULL && t->dial == NULL && t->lookup == NULL && !np_timer_running(&t->retry)) {
        t->give_up_ms = now_of(peers) + GIVE_UP_MS;
        redial_in(t, NP_RECONNECT_MIN_MS / 2 + np_rng_below(&peers->rng, NP_RECONNECT_MIN_MS / 2 + 1));
    }
    release(peers, t);
}

/* Nobody is inside a connection now: free the ended ones, end those that are to end. */
static void on_sweep(void *arg) {
    np_peers *peers = arg;
    np_peer *peer = peers->swept;
    peers->swept = NULL;
    while (peer != NULL) {
        np_peer *next = peer->next_swept;
        peer->is_swept = false;
        if (peer->state == NP_PEER_CLOSED) {
            np_peer_destroy(&peer);
        } else {
            target *t = peer->target;
            NP_ASSERT(peer->doom != NULL && t != NULL && t->up == peer);
            if (peer->doom_flush)
                np_peer_flush(peer);
            lose(peers, t, peer->doom_flush ? NP_LOG_NOTICE : NP_LOG_WARNING, peer->doom);
            after_loss(peers, t);
        }
        peer = next;
    }
}

/* ---- dialling ---- */

static void dial(target *t);

static void on_retry(np_timer *timer, void *arg) {
    (void)timer;
    dial(arg);
}

static void redial_in(target *t, uint64_t delay_ms) {
    np_timers_start(np_loop_timers(t->peers->loop), &t->retry, now_of(t->peers) + delay_ms, on_retry, t);
}

/* It is there, but a dial will go the same way until somebody changes something. */
static bool does_not_want_us(int error) {
    return error == NP_EAUTH || error == NP_EINVAL || error == NP_ENOTSUP || error == NP_EPROTO;
}

/*
 * Doubled with every failure up to the maximum, with half of it random, so that two nodes do not keep dialling each
 * other in step.
 */
static uint64_t backoff_ms(np_peers *peers, const target *t, int error) {
    uint64_t delay = NP_RECONNECT_MAX_MS;
    if (does_not_want_us(error))
        delay = REFUSED_MS;
    else if (t->failures < 16 && ((uint64_t)NP_RECONNECT_MIN_MS << t->failures) < delay)
        delay = (uint64_t)NP_RECONNECT_MIN_MS << t->failures;
    return delay / 2 + np_rng_below(&peers->rng, delay / 2 + 1);
}

static void dial_failed(target *t, int error, const char *why) {
    np_peers *peers = t->peers;
    uint64_t now = now_of(peers);
    if (t->up != NULL)
        return;
    if (!t->seed && now >= t->give_up_ms) {
        NP_LOG(NP_LOG_NOTICE, WHERE, "gave up connecting", "peer=%s reason=\"%s\"", t->name, why);
        t->wanted = false;
        release(peers, t);
        return;
    }
    bool crossed = error == NP_EBUSY || error == NP_EEXIST; /* it is dialling us, or thinks it is connected */
    bool news = t->warned_error == 0 || (does_not_want_us(error) && t->warned_error != error);
    if (t->seed && !crossed && (news || now - t->warned_ms >= WARN_MS)) {
        t->warned_error = error;
        t->warned_ms = now;
        NP_LOG(NP_LOG_WARNING, WHERE, "cannot connect, retrying", "peer=%s reason=\"%s\"", t->name, why);
    } else {
        NP_LOG(NP_LOG_DEBUG, WHERE, "cannot connect, retrying", "peer=%s reason=\"%s\"", t->name, why);
    }
    redial_in(t, backoff_ms(peers, t, error));
    if (t->failures < UINT32_MAX)
        t->failures++;
}

static void abort_dial(np_peers *peers, target *t) {
    np_epmd_lookup_cancel(&t->lookup);
    np_timers_stop(np_loop_timers(peers->loop), &t->retry);
    if (t->dial == NULL)
        return;
    np_peer *peer = t->dial;
    t->dial = NULL;
    bury(peers, peer);
}

/*
 * Is a connection of this node's own waiting here, with its name said? Then it is not dialled: its dial is further
 * than ours.
 */
static bool is_coming(const np_peers *peers, const char *name) {
    for (const np_peer *peer = peers->inbound; peer != NULL; peer = peer->next)
        if (strcmp(np_peer_name(peer), name) == 0)
            return true;
    return false;
}

static void connect_to(target *t, const char *address, uint16_t port) {
    int error = np_peer_dial(&t->dial, &t->peers->settings, t->name, address, port);
    if (error < 0)
        dial_failed(t, error, "no socket for it");
    else
        t->dial->target = t;
}

static void on_looked_up(void *arg, int error, const char *why, const char *address, uint16_t port) {
    target *t = arg;
    t->lookup = NULL;
    if (error < 0)
        dial_failed(t, error, why);
    else
        connect_to(t, address, port);
}

/* The port of a node that is not asked of epmd; 0: ask. */
static uint16_t fixed_port(const np_peers *peers, const char *name) {
    for (size_t i = 0; i < peers->config.ports_len; i++)
        if (strcmp(peers->config.ports[i].node, name) == 0)
            return peers->config.ports[i].port;
    if (peers->config.epmd)
        return 0;
    return peers->config.peer_port != 0 ? peers->config.peer_port : peers->port;
}

static void dial(target *t) {
    np_peers *peers = t->peers;
    if (peers->draining || !t->wanted || t->up != NULL || t->dial != NULL || t->lookup != NULL)
        return;
    np_timers_stop(np_loop_timers(peers->loop), &t->retry);
    /* Until epmd has given us our name it may be somebody else's, whose connections this dial would replace. */
    if (peers->epmd != NULL && !np_epmd_client_registered(peers->epmd)) {
        redial_in(t, UNNAMED_MS);
        return;
    }
    if (is_coming(peers, t->name)) {
        redial_in(t, NP_RECONNECT_MAX_MS);
        return;
    }
    uint16_t port = fixed_port(peers, t->name);
    if (port != 0) {
        connect_to(t, t->host, port);
        return;
    }
    int error = np_epmd_lookup_new(&t->lookup, peers->loop, t->host, peers->epmd_port, t->alive, on_looked_up, t);
    if (error < 0)
        dial_failed(t, error, "no socket to ask epmd");
}

/* ---- what connections ask and tell ---- */

static const char *on_cookie(void *arg, const char *name) {
    const np_peers *peers = arg;
    for (size_t i = 0; i < peers->config.cookies_len; i++)
        if (strcmp(peers->config.cookies[i].node, name) == 0)
            return peers->config.cookies[i].cookie;
    return peers->config.cookie;
}

/*
 * net_kernel's accept_pending, but for one thing: a dial of ours that has not said its name yet is unknown to the
 * peer, so it just gives way. Of two dials that both are known, the one of the node with the greater name is kept.
 */
static np_handshake_verdict on_verdict(void *arg, np_peer *peer, const char *name) {
    np_peers *peers = arg;
    (void)peer;
    target *t = find_name(peers, name);
    if (peers->draining)
        return NP_VERDICT_NOT_ALLOWED;
    if (t == NULL)
        return NP_VERDICT_OK;
    if (t->up != NULL)
        return NP_VERDICT_ALIVE;
    if (t->dial == NULL && t->lookup == NULL)
        return NP_VERDICT_OK;
    bool known = t->dial != NULL && t->dial->state == NP_PEER_HANDSHAKE;
    if (known && strcmp(peers->config.name, name) > 0)
        return NP_VERDICT_NOK;
    abort_dial(peers, t);
    redial_in(t, NP_HANDSHAKE_MS); /* should this one come to nothing */
    return known ? NP_VERDICT_OK_SIMULTANEOUS : NP_VERDICT_OK;
}

static bool on_replace(void *arg, np_peer *peer, const char *name) {
    (void)arg;
    (void)name;
    const target *t = peer->target;
    return t->up == NULL;
}

static int on_up(void *arg, np_peer *peer) {
    np_peers *peers = arg;
    target *t = peer->target;
    if (peer->dialled) {
        t->dial = NULL;
    } else {
        int error = target_of(peers, np_peer_name(peer), &t);
        if (error < 0)
            return error;
        unlink_inbound(peers, peer);
        peer->target = t;
    }
    abort_dial(peers, t);
    if (t->up != NULL)
        lose(peers, t, NP_LOG_NOTICE, "replaced by a new connection");
    t->up = peer;
    t->failures = 0;
    t->warned_error = 0;
    np_timers_stop(np_loop_timers(peers->loop), &t->retry);
    peers->past.connects++;
    NP_LOG(NP_LOG_NOTICE, WHERE, "connected", "peer=%s address=%s dialled=%s flags=0x%llx", t->name, peer->address,
           peer->dialled ? "yes" : "no", (unsigned long long)peer->flags);
    peers->events.up(peers->events.arg, t->id, peers->config.hidden || (peer->peer_flags & NP_DFLAG_PUBLISHED) == 0);
    return 0;
}

static int on_control(void *arg, np_peer *peer, const np_control *control) {
    np_peers *peers = arg;
    const target *t = peer->target;
    return peers->events.control(peers->events.arg, t->id, control);
}

static void on_dirty(void *arg, np_peer *peer) {
    np_peers *peers = arg;
    if (peer->is_dirty || peer->state != NP_PEER_UP)
        return;
    peer->is_dirty = true;
    peer->next_dirty = peers->dirty;
    peers->dirty = peer;
}

/* An inbound connection that came to nothing. Crossing dials and port probes are no cause for alarm. */
static void refused(np_peers *peers, const np_peer *peer, int error, const char *reason) {
    const char *name = np_peer_name(peer);
    bool crossed = error == NP_EBUSY || error == NP_EEXIST;
    if (error == NP_ECLOSED && name[0] != '\0') {
        const target *t = find_name(peers, name);
        crossed = t != NULL && (t->up != NULL || t->dial != NULL || t->lookup != NULL);
    }
    if (!crossed)
        peers->past.refused++;
    if (crossed || (error == NP_ECLOSED && !peer->heard))
        NP_LOG(NP_LOG_INFO, WHERE, "handshake given up", "address=%s peer=%s reason=\"%s\"", peer->address, name,
               reason);
    else if (np_log_allowed(&peers->refused_limit, now_of(peers), WHERE))
        NP_LOG(NP_LOG_WARNING, WHERE, "handshake refused", "address=%s peer=%s reason=\"%s\"", peer->address, name,
               reason);
}

/* A dial of ours may have given way to the one that has come to nothing. */
static void dial_instead(np_peers *peers, const char *name) {
    target *t = find_name(peers, name);
    if (t != NULL && t->up == NULL && np_timer_running(&t->retry))
        redial_in(t, backoff_ms(peers, t, 0));
}

static void on_closed(void *arg, np_peer *peer, int error, const char *reason) {
    np_peers *peers = arg;
    target *t = peer->target;
    if (t != NULL && t->up == peer) {
        lose(peers, t, error == NP_ECLOSED ? NP_LOG_NOTICE : NP_LOG_WARNING, reason);
        after_loss(peers, t);
    } else if (t != NULL) {
        NP_ASSERT(t->dial == peer);
        t->dial = NULL;
        if (peer->step > 0 && error != NP_EBUSY && error != NP_EEXIST)
            peers->past.refused++;
        bury(peers, peer);
        dial_failed(t, error, reason);
    } else {
        unlink_inbound(peers, peer);
        refused(peers, peer, error, reason);
        bury(peers, peer);
        dial_instead(peers, np_peer_name(peer));
    }
}

static void on_accepted(void *arg, np_stream *stream) {
    np_peers *peers = arg;
    np_peer *peer;
    if (peers->inbound_count >= NP_HANDSHAKES_MAX) {
        peers->past.refused++;
        if (np_log_allowed(&peers->refused_limit, now_of(peers), WHERE))
            NP_LOG(NP_LOG_WARNING, WHERE, "connection refused",
                   "address=%s reason=\"%d handshakes are going on already\"", np_stream_peer(stream),
                   NP_HANDSHAKES_MAX);
        np_stream_close(&stream);
        return;
    }
    if (np_peer_accept(&peer, &peers->settings, stream) < 0)
        return;
    peer->next = peers->inbound;
    if (peer->next != NULL)
        peer->next->prev = peer;
    peers->inbound = peer;
    peers->inbound_count++;
}

/* ---- config ---- */

static size_t or_default(size_t value, size_t otherwise) { return value != 0 ? value : otherwise; }

static void apply_config(np_peers *peers, const np_peers_config *config) {
    peers->epmd_port = np_epmd_port(config->epmd_port);
    peers->settings = (np_peer_settings){
        .loop = peers->loop,
        .owner = {.arg = peers,
                  .cookie = on_cookie,
                  .verdict = on_verdict,
                  .replace = on_replace,
                  .up = on_up,
                  .control = on_control,
                  .dirty = on_dirty,
                  .closed = on_closed},
        .self = peers->config.name,
        .flags = config->hidden ? NP_DFLAGS_OURS : NP_DFLAGS_OURS | NP_DFLAG_PUBLISHED,
        .creation = config->creation,
        .limits = {.message_max = or_default(config->message_max, NP_MESSAGE_MAX),
                   .out_hard_bytes = or_default(config->out_hard_bytes, NP_OUT_HARD_BYTES),
                   .ticktime_ms = or_default(config->ticktime_ms, NP_TICKTIME_S * 1000)},
        .out_soft_bytes = or_default(config->out_soft_bytes, NP_OUT_SOFT_BYTES),
    };
}

/* ---- interface ---- */

int np_peers_new(np_peers **to, np_loop *loop, const np_peers_config *config, const np_peers_events *events, char *why,
                 size_t size) {
    int error = np_peers_config_check(config, why, size);
    if (error < 0)
        return error;
    np_peers *peers = calloc(1, sizeof(*peers));
    if (peers == NULL) {
        snprintf(why, size, "out of memory");
        return NP_ENOMEM;
    }
    uint64_t seed;
    np_random_bytes(&seed, sizeof(seed));
    np_rng_seed(&peers->rng, seed);
    np_map_init(&peers->targets, target_eq);
    peers->loop = loop;
    peers->events = *events;
    error = np_peers_config_copy(&peers->config, config);
    if (error < 0) {
        np_peers_destroy(&peers);
        snprintf(why, size, "out of memory");
        return error;
    }
    apply_config(peers, config);
    *to = peers;
    return 0;
}

/* No new connections and no dials; the established ones stay. */
static void stop_connecting(np_peers *peers) {
    peers->draining = true;
    np_listener_close(&peers->listener);
    np_epmd_client_destroy(&peers->epmd);
    while (peers->inbound != NULL) {
        np_peer *peer = peers->inbound;
        unlink_inbound(peers, peer);
        bury(peers, peer);
    }
    for (size_t i = 0; i < peers->by_id_len; i++) {
        target *t = peers->by_id[i];
        if (t == NULL)
            continue;
        t->wanted = false;
        abort_dial(peers, t);
        release(peers, t);
    }
}

void np_peers_destroy(np_peers **from) {
    np_peers *peers = *from;
    if (peers == NULL)
        return;
    *from = NULL;
    stop_connecting(peers);
    for (size_t i = 0; i < peers->by_id_len; i++) {
        target *t = peers->by_id[i];
        if (t == NULL)
            continue;
        np_peer *peer = t->up;
        t->up = NULL;
        bury(peers, peer);
        release(peers, t);
    }
    np_task_cancel(&peers->sweep);
    while (peers->swept != NULL) {
        np_peer *peer = peers->swept;
        peers->swept = peer->next_swept;
        np_peer_destroy(&peer);
    }
    np_map_fini(&peers->targets);
    free(peers->by_id);
    np_peers_config_free(&peers->config);
    free(peers);
}

/* Where to listen: as configured; else the address the name gives as its host, if it is one; else everywhere. */
static int listen_for_peers(np_peers *peers, char *why, size_t size) {
    np_str alive, host;
    char address[256];
    const char *where = peers->config.listen_address;
    np_epmd_split_name(peers->config.name, strlen(peers->config.name), &alive, &host, NULL);
    snprintf(address, sizeof(address), "%.*s", (int)host.len, host.data);
    if (where == NULL && np_address_is_numeric(address))
        where = address;
    int error =
        np_listener_new(&peers->listener, peers->loop, where, peers->config.port, &peers->port, on_accepted, peers);
    if (error < 0)
        snprintf(why, size, "cannot listen on %s port %u: %s", where != NULL ? where : "any address",
                 (unsigned)peers->config.port, error == NP_EEXIST ? "the port is in use" : np_strerror(error));
    return error;
}

int np_peers_start(np_peers *peers, char *why, size_t size) {
    np_str alive, host;
    int error = listen_for_peers(peers, why, size);
    if (error < 0)
        return error;
    np_epmd_split_name(peers->config.name, strlen(peers->config.name), &alive, &host, NULL);
    if (peers->config.epmd) {
        char text[NP_ATOM_BYTES_MAX + 1];
        snprintf(text, sizeof(text), "%.*s", (int)alive.len, alive.data);
        error =
            np_epmd_client_new(&peers->epmd, peers->loop, peers->epmd_port, text, peers->port, peers->config.hidden);
    }
    for (size_t i = 0; error == 0 && i < peers->config.seeds_len; i++) {
        target *t;
        if (strcmp(peers->config.seeds[i], peers->config.name) == 0)
            continue;
        error = target_of(peers, peers->config.seeds[i], &t);
        if (error < 0)
            break;
        t->seed = t->wanted = true;
        redial_in(t, 0);
    }
    if (error < 0)
        snprintf(why, size, "cannot start: %s", np_strerror(error));
    peers->started = error == 0;
    return error;
}

bool np_peers_ready(const np_peers *peers) {
    return peers->started && (peers->epmd == NULL || np_epmd_client_registered(peers->epmd));
}

const char *np_peers_failed(const np_peers *peers) {
    return peers->epmd != NULL ? np_epmd_client_failed(peers->epmd) : NULL;
}

uint16_t np_peers_port(const np_peers *peers) { return peers->port; }

/* The established connection that still counts; NULL if there is none. */
static np_peer *live(const np_peers *peers, np_node_id id) {
    const target *t = find(peers, id);
    return t != NULL && t->up != NULL && t->up->doom == NULL && !t->up->ending ? t->up : NULL;
}

static void doom(np_peers *peers, np_peer *peer, const char *reason, bool flush) {
    if (peer->doom != NULL)
        return;
    peer->doom = reason;
    peer->doom_flush = flush;
    sweep_later(peers, peer);
}

int np_peers_send(np_peers *peers, np_node_id id, const np_control *control, np_send_class send_class) {
    return np_peers_send_owned(peers, id, control, send_class, NULL);
}

int np_peers_send_owned(np_peers *peers, np_node_id id, const np_control *control, np_send_class send_class,
                        np_buf *owner) {
    np_peer *peer = live(peers, id);
    if (peer == NULL)
        return NP_ENOCONN;
    int error = np_session_send_owned(peer->session, control, send_class, owner);
    if (error == 0)
        on_dirty(peers, peer);
    else if (error == NP_EOVERLOAD && send_class == NP_SEND_URGENT)
        doom(peers, peer, "it does not read: its queue here is full", false);
    return error;
}

void np_peers_flush(np_peers *peers) {
    np_peer *peer = peers->dirty;
    peers->dirty = NULL;
    while (peer != NULL) {
        np_peer *next = peer->next_dirty;
        peer->is_dirty = false;
        np_peer_flush(peer);
        peer = next;
    }
}

bool np_peers_up(const np_peers *peers, np_node_id id) {
    const target *t = find(peers, id);
    return t != NULL && t->up != NULL;
}

uint64_t np_peers_flags(const np_peers *peers, np_node_id id) {
    const target *t = find(peers, id);
    return t != NULL && t->up != NULL ? t->up->flags : 0;
}

uint32_t np_peers_creation(const np_peers *peers, np_node_id id) {
    const target *t = find(peers, id);
    return t != NULL && t->up != NULL ? t->up->creation : 0;
}

bool np_peers_visible(const np_peers *peers, np_node_id id) {
    const target *t = find(peers, id);
    return t != NULL && t->up != NULL && (t->up->peer_flags & NP_DFLAG_PUBLISHED) != 0;
}

int np_peers_dial(np_peers *peers, np_node_id id) {
    target *t;
    const char *name = np_name_text(id);
    if (peers->draining)
        return NP_ECLOSED;
    if (strcmp(name, peers->config.name) == 0)
        return 0;
    int error = target_of(peers, name, &t);
    if (error < 0 || t->wanted)
        return error;
    t->wanted = true;
    t->give_up_ms = now_of(peers) + GIVE_UP_MS;
    if (t->up == NULL && t->dial == NULL && t->lookup == NULL)
        redial_in(t, 0);
    return 0;
}

void np_peers_disconnect(np_peers *peers, np_node_id id, const char *reason) {
    np_peer *peer = live(peers, id);
    if (peer == NULL)
        return;
    snprintf(peer->reason, sizeof(peer->reason), "%s", reason);
    doom(peers, peer, peer->reason, true);
}

void np_peers_drain(np_peers *peers) { stop_connecting(peers); }

bool np_peers_drained(const np_peers *peers) {
    for (size_t i = 0; i < peers->by_id_len; i++)
        if (peers->by_id[i] != NULL && peers->by_id[i]->up != NULL && !np_peer_drained(peers->by_id[i]->up))
            return false;
    return true;
}

bool np_peers_end(np_peers *peers) {
    bool gone = true;
    for (size_t i = 0; i < peers->by_id_len; i++) {
        if (peers->by_id[i] == NULL || peers->by_id[i]->up == NULL)
            continue;
        np_peer_end(peers->by_id[i]->up);
        gone = false;
    }
    return gone;
}

np_node_id np_peers_next(const np_peers *peers, uint32_t *at) {
    while (*at < peers->by_id_len) {
        const target *t = peers->by_id[(*at)++];
        if (t != NULL && t->up != NULL)
            return t->id;
    }
    return 0;
}

void np_peers_get_stats(const np_peers *peers, np_peers_stats *stats) {
    *stats = peers->past;
    stats->queued_bytes = 0;
    for (size_t i = 0; i < peers->by_id_len; i++) {
        const target *t = peers->by_id[i];
        if (t == NULL || t->up == NULL)
            continue;
        add_stats(&stats->traffic, np_session_get_stats(t->up->session));
        stats->queued_bytes += np_session_queued(t->up->session);
    }
}
