/*
 * stream.h - TCP connections and listeners.
 *
 * A stream is freed by the loop some time after np_stream_close; its owner forgets it at that moment and gets no
 * callback afterwards. All callbacks come from the loop, never from inside a call of this interface (but
 * np_stream_write may finish its work at once, which its result tells).
 */
#ifndef NP_UV_STREAM_H
#define NP_UV_STREAM_H

#include "uv/loop.h"

enum {
    NP_STREAM_SPANS_MAX = 64,          /* of one np_stream_write */
    NP_STREAM_READ_BYTES = 256 * 1024, /* at most this much per data callback */
    /* From one stream in one turn, so that a bulk transfer neither starves others nor piles up answers. */
    NP_STREAM_TURN_BYTES = 1024 * 1024,
};

typedef struct np_stream np_stream;
typedef struct np_listener np_listener;

typedef struct np_stream_events {
    /* Dialled streams: ready. */
    void (*connected)(void *arg);
    /* The bytes are valid during the call; the callback may close the stream. */
    void (*data)(void *arg, const uint8_t *data, size_t len);
    /* More of what np_stream_write could not write at once has been written. */
    void (*written)(void *arg, size_t bytes);
    /*
     * By the peer (NP_ECLOSED) or a failure; also of a connect (NP_ENOENT: no such host, NP_ENOCONN: refused). The
     * stream is gone; not called after np_stream_close.
     */
    void (*closed)(void *arg, int error, const char *why);
} np_stream_events;

/* In all functions that take events: copied. Functions left out (NULL) are not called. */

/*
 * Dials host:port (a name or an address, IPv4 or IPv6), trying every address the name has. NP_ENOMEM, NP_EIO: no
 * callback will come.
 */
int np_stream_connect(np_stream **stream, np_loop *loop, const char *host, uint16_t port,
                      const np_stream_events *events, void *arg);

/* Is this text an IPv4 or IPv6 address, not a name? */
bool np_address_is_numeric(const char *text);

/* Takes over the callbacks of an accepted stream. */
void np_stream_adopt(np_stream *stream, const np_stream_events *events, void *arg);

/*
 * Writes the spans: as much as the socket takes at once, and the rest later. Returns the bytes written at once; if
 * that is not all, the spans must stay in place until `written` has reported the rest, and no further np_stream_write
 * is allowed until then (np_stream_busy). Negative: the stream failed; `closed` will tell.
 */
int64_t np_stream_write(np_stream *stream, const np_bytes *spans, size_t count);
bool np_stream_busy(const np_stream *stream);

/* Back-pressure: stop or go on reading. */
void np_stream_read_pause(np_stream *stream, bool pause);

/* From now on `data` comes only when at least this many bytes are there (SO_RCVLOWAT; 1: any), or the end. What is
 * there already and is enough comes at once. */
void np_stream_read_watermark(np_stream *stream, uint32_t bytes);

/*
 * No more is written: the other side reads what there is and then the end, whatever it still sends meanwhile. (A socket
 * closed with unread bytes in it resets the connection, and the other side may lose what it had not read.)
 */
void np_stream_write_end(np_stream *stream);

/* Closes now (what is in flight is lost) and nulls the pointer. */
void np_stream_close(np_stream **stream);

/* "127.0.0.1:1234" of the other side, or of what was dialled; valid as long as the stream. */
const char *np_stream_peer(const np_stream *stream);
/* The address without the port. */
const char *np_stream_peer_address(const np_stream *stream);

/*
 * Listens on an address ("0.0.0.0", "::", "127.0.0.1", a host name; NULL: all, IPv6 and IPv4) and port (0: any;
 * *bound says which). `accepted` gets each new stream and adopts or closes it. NP_EIO, NP_EEXIST (address in use),
 * NP_EINVAL (no such address).
 */
int np_listener_new(np_listener **listener, np_loop *loop, const char *address, uint16_t port, uint16_t *bound,
                    void (*accepted)(void *arg, np_stream *stream), void *arg);
void np_listener_close(np_listener **listener);

#endif
