/*
 * peers.h - the connections to other nodes: epmd, listening, dialling, handshakes, duplicates, ticks, back-pressure,
 * reconnecting.
 *
 * To the rest of the node a peer is its name: it is up or not, one can send to it, and its control messages arrive in
 * np_peers_events. Files: peers.c (the table, who dials whom and when), peer.c (one connection: stream, handshake,
 * session), epmd_client.c (registration and look-ups).
 */
#ifndef NP_NODE_PEERS_H
#define NP_NODE_PEERS_H

#include "dist/session.h"
#include "uv/loop.h"

typedef struct np_peers np_peers;

typedef struct np_peers_events {
    void *arg;
    /* A connection is up. hidden: the peer or we are (always, when we are). Always before its first control message. */
    void (*up)(void *arg, np_node_id peer, bool hidden);
    /* It is gone; never twice without an up between. A replaced connection gives down, then up. */
    void (*down)(void *arg, np_node_id peer, const char *reason);
    /* As np_session_sink.control. A negative result closes the connection. */
    int (*control)(void *arg, np_node_id peer, const np_control *control);
} np_peers_events;

typedef struct np_cookie {
    const char *node; /* full name */
    const char *cookie;
} np_cookie;

typedef struct np_peer_port {
    const char *node;
    uint16_t port;
} np_peer_port;

/* Everything is copied by np_peers_new. */
typedef struct np_peers_config {
    const char *name; /* full node name */
    uint32_t creation;
    const char *cookie;
    const np_cookie *cookies; /* per peer; others get `cookie` */
    size_t cookies_len;
    bool hidden;
    const char *listen_address; /* NULL: what the host part of the name resolves to if that is an address, else all */
    uint16_t port;              /* 0: any */
    bool epmd;                  /* register and look up with epmd */
    uint16_t epmd_port;         /* 0: ERL_EPMD_PORT or 4369 */
    const np_peer_port *ports;  /* peers dialled at a fixed port, without epmd */
    size_t ports_len;
    uint16_t peer_port; /* with epmd off: of all peers not in ports; 0: same as `port` (as -erl_epmd_port has it) */
    const char *const *seeds; /* dialled, and redialled for ever */
    size_t seeds_len;
    uint64_t ticktime_ms;
    size_t message_max;
    size_t out_soft_bytes;
    size_t out_hard_bytes;
} np_peers_config;

/* NP_EINVAL with a text in why (size bytes): a bad name, no cookie, .. */
int np_peers_new(np_peers **peers, np_loop *loop, const np_peers_config *config, const np_peers_events *events,
                 char *why, size_t size);
void np_peers_destroy(np_peers **peers);

/* Listens and begins to register and to dial. NP_EEXIST (port taken), NP_EINVAL, NP_EIO, with a text. */
int np_peers_start(np_peers *peers, char *why, size_t size);

/*
 * True once the node can be found: registered with epmd, or epmd off. If epmd refuses the name (taken)
 * np_peers_failed says so: fatal at the first start, retried with a warning later. If no epmd answers, it is retried
 * for ever (a warning each minute).
 */
bool np_peers_ready(const np_peers *peers);
const char *np_peers_failed(const np_peers *peers); /* NULL: no */

/* The port listened on. */
uint16_t np_peers_port(const np_peers *peers);

/*
 * Sends one signal. NP_ENOCONN if the peer is not up; else as np_session_send, whose NP_EOVERLOAD for NP_SEND_URGENT
 * closes the connection here (soon). Written at the turn's end.
 */
int np_peers_send(np_peers *peers, np_node_id peer, const np_control *control, np_send_class send_class);
/* The same with a large payload's memory, see np_session_send_owned. */
int np_peers_send_owned(np_peers *peers, np_node_id peer, const np_control *control, np_send_class send_class,
                        np_buf *owner);

/* Writes out all that the turn has queued. Called by the node's turn hook. */
void np_peers_flush(np_peers *peers);

bool np_peers_up(const np_peers *peers, np_node_id peer);

/* The negotiated flags with a connected peer; 0 if not. */
uint64_t np_peers_flags(const np_peers *peers, np_node_id peer);
/* The creation the connected peer announced: pids of it with another are of an earlier life; 0 if it is not up. */
uint32_t np_peers_creation(const np_peers *peers, np_node_id peer);
bool np_peers_visible(const np_peers *peers, np_node_id peer); /* the peer announced PUBLISHED */

/*
 * Dials a node that is not a seed (discovered): kept up and redialled like a seed, but given up after a minute
 * without success. Already up or being dialled: it is just kept up from now on. NP_ELIMIT, NP_EINVAL (no node name),
 * NP_ECLOSED (draining).
 */
int np_peers_dial(np_peers *peers, np_node_id peer);

/* Closes the connection; `down` comes from the loop's next turn. */
void np_peers_disconnect(np_peers *peers, np_node_id peer, const char *reason);

/* No new connections, no dialling, epmd forgets us; existing connections go on. For an orderly stop. */
void np_peers_drain(np_peers *peers);
/* Nothing is queued for any peer any more. */
bool np_peers_drained(const np_peers *peers);

/* After that: the peers are told the end of each connection, having been told all else. True once all are gone. */
bool np_peers_end(np_peers *peers);

/* Connected peers: start with *at = 0; 0 at the end. */
np_node_id np_peers_next(const np_peers *peers, uint32_t *at);

/* Sums over all connections, living and past. */
typedef struct np_peers_stats {
    uint64_t connects, closes, refused; /* refused: handshakes that failed */
    np_session_stats traffic;
    uint64_t queued_bytes;
} np_peers_stats;
void np_peers_get_stats(const np_peers *peers, np_peers_stats *stats);

#endif
