/*
 * peer.h - one connection to another node: its stream, its handshake, then its session. Who is connected to whom, and
 * what follows from it, is peers.c's; nobody else includes this.
 */
#ifndef NP_NODE_PEER_H
#define NP_NODE_PEER_H

#include "dist/handshake.h"
#include "dist/session.h"
#include "uv/stream.h"

typedef struct np_peer np_peer;

/* The table of connections, as one connection sees it. */
typedef struct np_peer_owner {
    void *arg;
    /* As in np_handshake_env. */
    const char *(*cookie)(void *arg, const char *name);
    np_handshake_verdict (*verdict)(void *arg, np_peer *peer, const char *name);
    bool (*replace)(void *arg, np_peer *peer, const char *name);
    /* The handshake is done and the session is there. A negative result closes the connection (`closed` follows). */
    int (*up)(void *arg, np_peer *peer);
    int (*control)(void *arg, np_peer *peer, const np_control *control);
    /* There is something to write: np_peer_flush at the end of this turn, please. */
    void (*dirty)(void *arg, np_peer *peer);
    /*
     * It has ended by itself. Once, and not after np_peer_close. The owner destroys it, but later: we may be deep
     * inside it.
     */
    void (*closed)(void *arg, np_peer *peer, int error, const char *reason);
} np_peer_owner;

/* What all connections of a node have in common. */
typedef struct np_peer_settings {
    np_loop *loop;
    np_peer_owner owner;
    const char *self;
    uint64_t flags;
    uint32_t creation;
    np_session_limits limits;
    size_t out_soft_bytes;
} np_peer_settings;

typedef enum np_peer_state {
    NP_PEER_CONNECTING, /* dialled, no TCP connection yet */
    NP_PEER_HANDSHAKE,
    NP_PEER_UP,
    NP_PEER_CLOSED,
} np_peer_state;

struct np_peer {
    const np_peer_settings *settings;
    np_peer_state state;
    bool dialled;
    np_stream *stream;
    np_handshake *handshake;
    np_session *session;
    np_timer timer;   /* the handshake's step; then the session's deadline */
    np_timer unpause; /* the end of a pause in reading */
    np_timer lull;    /* the end of the stream's patience */
    uint32_t watermark;
    np_task again;    /* flushes on in the next turn */
    uint32_t step;
    bool heard; /* any byte from it */
    bool paused;
    bool ending; /* nothing more is written, and what comes is dropped */
    uint64_t read_since_ms; /* first bytes since the last pause; UINT64_MAX: none yet */
    uint64_t flags;         /* UP: negotiated */
    uint64_t peer_flags;    /* UP: as the peer announced them */
    uint32_t creation;      /* UP: the peer's */
    char address[304];

    /* The owner's. */
    void *target;         /* the node it belongs to; NULL: an inbound one that has not authenticated */
    np_peer *next, *prev; /* inbound ones that have not authenticated */
    np_peer *next_dirty;
    np_peer *next_swept;
    bool is_dirty;
    bool is_swept;
    const char *doom; /* to be closed, for this reason; NULL: no */
    bool doom_flush;  /* after what is queued has been offered to the socket */
    char reason[128]; /* room for a doom's text */
};

/* Dials the node `name` at host:port. NP_ENOMEM, NP_EIO: nothing happens. */
int np_peer_dial(np_peer **peer, const np_peer_settings *settings, const char *name, const char *host, uint16_t port);

/* Takes the stream over. NP_ENOMEM: it is closed. */
int np_peer_accept(np_peer **peer, const np_peer_settings *settings, np_stream *stream);

/* Closes without a callback. It stays readable until destroyed. Again: nothing. */
void np_peer_close(np_peer *peer);
/* Closes and frees; never from inside one of its callbacks. */
void np_peer_destroy(np_peer **peer);

/* The full name, once the peer has said it; "" before. */
const char *np_peer_name(const np_peer *peer);

/*
 * Writes out what the session has queued, as far as the socket takes it and fairness goes; the rest follows by
 * itself.
 */
void np_peer_flush(np_peer *peer);

/* UP: says no more, and waits for the peer's end of the connection; `closed` follows. Call it when drained. */
void np_peer_end(np_peer *peer);

/* Nothing is queued or being written. */
bool np_peer_drained(const np_peer *peer);

#endif
