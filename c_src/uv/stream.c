/*
 * stream.c - TCP connections and listeners on libuv. Main thread, from the loop's callbacks.
 *
 * A stream and its socket are two objects, because a connect that fails needs another socket for the next address. Each
 * socket, a name look-up in flight and the owner hold one reference to the stream; the last one to go frees it.
 */
#include "uv/stream.h"

#include "base/assert.h"
#include "uv/loop_uv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    KEEPALIVE_S = 60,
    BACKLOG = 1024,
    HOST_MAX = 255,
};

typedef struct sock {
    uv_tcp_t tcp;
    uv_connect_t connect;
    np_stream *stream;
    bool dead; /* being closed; callbacks still to come mean nothing */
} sock;

struct np_stream {
    np_loop *loop;
    np_stream_events events;
    void *arg;
    sock *sock; /* NULL: none yet, or closed */
    uint32_t refs;
    bool shut; /* no callbacks any more */
    bool connected;
    bool paused;
    int failure; /* of a write, to be told by `failed` */
    np_task failed;
    np_task resume; /* goes on reading after a turn's worth of bytes */
    uint64_t turn;
    size_t turn_bytes;
    uv_write_t write;
    size_t write_bytes; /* of the write in flight; 0: none */
    uv_getaddrinfo_t resolve;
    struct addrinfo *addresses; /* what the name has; tried from `at` on */
    struct addrinfo *at;
    char address[HOST_MAX + 1];
    char peer[HOST_MAX + 16];
};

struct np_listener {
    uv_tcp_t tcp;
    np_loop *loop;
    void (*accepted)(void *arg, np_stream *stream);
    void *arg;
};

/* ---- life ---- */

static np_stream *stream_new(np_loop *loop) {
    np_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        return NULL;
    stream->loop = loop;
    stream->refs = 1;
    return stream;
}

static void unref(np_stream *stream) {
    NP_ASSERT(stream->refs > 0);
    if (--stream->refs == 0)
        free(stream);
}

static int open_sock(np_stream *stream) {
    sock *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return UV_ENOMEM;
    int status = uv_tcp_init(&stream->loop->uv, &s->tcp);
    if (status < 0) {
        free(s);
        return status;
    }
    s->tcp.data = s;
    s->connect.data = s;
    s->stream = stream;
    stream->sock = s;
    stream->refs++;
    return 0;
}

static void on_sock_closed(uv_handle_t *handle) {
    sock *s = handle->data;
    unref(s->stream);
    free(s);
}

static void close_sock(np_stream *stream) {
    sock *s = stream->sock;
    if (s == NULL)
        return;
    stream->sock = NULL;
    s->dead = true;
    uv_close((uv_handle_t *)&s->tcp, on_sock_closed);
}

static void free_addresses(np_stream *stream) {
    if (stream->addresses != NULL)
        uv_freeaddrinfo(stream->addresses);
    stream->addresses = stream->at = NULL;
}

/* The end of all callbacks; the owner's reference remains. */
static void shut(np_stream *stream) {
    stream->shut = true;
    stream->connected = false;
    memset(&stream->events, 0, sizeof(stream->events));
    np_task_cancel(&stream->failed);
    np_task_cancel(&stream->resume);
    if (stream->resolve.data != NULL)
        uv_cancel((uv_req_t *)&stream->resolve);
    free_addresses(stream);
    close_sock(stream);
}

/* Ends the stream and tells its owner, whose reference this takes. */
static void finish(np_stream *stream, int status) {
    void (*closed)(void *, int, const char *) = stream->events.closed;
    void *arg = stream->arg;
    shut(stream);
    const char *why = status == UV_EOF ? "closed by the other side" : uv_strerror(status);
    if (closed != NULL)
        closed(arg, np_uv_error(status), why);
    unref(stream);
}

/* ---- names ---- */

/* An IPv4 address that came in on an IPv6 socket is shown as what it is. */
static const char *unmapped(const char *address) {
    return strncmp(address, "::ffff:", 7) == 0 && strchr(address, '.') != NULL ? address + 7 : address;
}

static void name_peer(np_stream *stream, const char *address, uint16_t port) {
    snprintf(stream->address, sizeof(stream->address), "%s", address);
    const char *format = strchr(stream->address, ':') != NULL ? "[%s]:%u" : "%s:%u";
    snprintf(stream->peer, sizeof(stream->peer), format, stream->address, (unsigned)port);
}

static uint16_t port_of(const struct sockaddr_storage *address) {
    return ntohs(address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)(const void *)address)->sin6_port
                                                : ((const struct sockaddr_in *)(const void *)address)->sin_port);
}

static void name_connected(np_stream *stream) {
    struct sockaddr_storage address;
    int len = sizeof(address);
    char text[INET6_ADDRSTRLEN] = "?";
    if (uv_tcp_getpeername(&stream->sock->tcp, (struct sockaddr *)&address, &len) < 0)
        return;
    uv_ip_name((const struct sockaddr *)&address, text, sizeof(text));
    name_peer(stream, unmapped(text), port_of(&address));
}

const char *np_stream_peer(const np_stream *stream) { return stream->peer; }

const char *np_stream_peer_address(const np_stream *stream) { return stream->address; }

/* ---- reading ---- */

static void start_reading(np_stream *stream);

static void on_resume(void *arg) {
    np_stream *stream = arg;
    start_reading(stream);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
    sock *s = handle->data;
    (void)suggested;
    buf->base = s->stream->loop->read_buffer;
    buf->len = NP_STREAM_READ_BYTES;
}

static void on_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *buf) {
    sock *s = handle->data;
    np_stream *stream = s->stream;
    if (s->dead || n == 0)
        return;
    np_loop_busy(stream->loop);
    if (n < 0) {
        finish(stream, (int)n);
        return;
    }
    if (stream->turn != stream->loop->turns) {
        stream->turn = stream->loop->turns;
        stream->turn_bytes = 0;
    }
    stream->turn_bytes += (size_t)n;
    if (stream->turn_bytes >= NP_STREAM_TURN_BYTES) {
        uv_read_stop(handle);
        np_loop_defer(stream->loop, &stream->resume, on_resume, stream);
    }
    if (stream->events.data != NULL)
        stream->events.data(stream->arg, (const uint8_t *)buf->base, (size_t)n);
}

static void start_reading(np_stream *stream) {
    if (stream->sock == NULL || stream->paused || !stream->connected)
        return;
    uv_read_start((uv_stream_t *)&stream->sock->tcp, on_alloc, on_read);
}

void np_stream_read_watermark(np_stream *stream, uint32_t bytes) {
    int fd;
    int value = (int)bytes;
    if (stream->sock == NULL || uv_fileno((uv_handle_t *)&stream->sock->tcp, &fd) != 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value,
               sizeof(value)); /* only a matter of speed: a failure changes nothing */
}

void np_stream_write_end(np_stream *stream) {
    int fd;
    if (stream->sock != NULL && uv_fileno((uv_handle_t *)&stream->sock->tcp, &fd) == 0)
        shutdown(fd, SHUT_WR); /* of a connection that is gone already: nothing */
}

void np_stream_read_pause(np_stream *stream, bool pause) {
    if (stream->paused == pause)
        return;
    stream->paused = pause;
    if (!pause) {
        start_reading(stream);
        return;
    }
    np_task_cancel(&stream->resume);
    if (stream->sock != NULL && stream->connected)
        uv_read_stop((uv_stream_t *)&stream->sock->tcp);
}

/* ---- connecting ---- */

static int try_addresses(np_stream *stream, int last);

static void on_connect(uv_connect_t *req, int status) {
    sock *s = req->data;
    if (s->dead)
        return;
    np_stream *stream = s->stream;
    np_loop_busy(stream->loop);
    if (status < 0) {
        close_sock(stream);
        status = try_addresses(stream, status);
        if (status < 0)
            finish(stream, status);
        return;
    }
    free_addresses(stream);
    stream->connected = true;
    name_connected(stream);
    start_reading(stream);
    if (stream->events.connected != NULL)
        stream->events.connected(stream->arg);
}

static int connect_to(np_stream *stream, const struct sockaddr *address) {
    int status = open_sock(stream);
    if (status < 0)
        return status;
    uv_tcp_nodelay(&stream->sock->tcp, 1);
    uv_tcp_keepalive(&stream->sock->tcp, 1, KEEPALIVE_S);
    status = uv_tcp_connect(&stream->sock->connect, &stream->sock->tcp, address, on_connect);
    if (status < 0)
        close_sock(stream);
    return status;
}

/* Begins a connect to the next address that allows it; the last error if none does. */
static int try_addresses(np_stream *stream, int last) {
    while (stream->at != NULL) {
        const struct sockaddr *address = stream->at->ai_addr;
        stream->at = stream->at->ai_next;
        last = connect_to(stream, address);
        if (last == 0)
            break;
    }
    return last;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *addresses) {
    np_stream *stream = req->data;
    stream->resolve.data = NULL;
    if (stream->shut) {
        if (addresses != NULL)
            uv_freeaddrinfo(addresses);
        unref(stream);
        return;
    }
    np_loop_busy(stream->loop);
    stream->addresses = stream->at = addresses;
    if (status == 0)
        status = try_addresses(stream, UV_EAI_NONAME);
    if (status < 0)
        finish(stream, status);
    unref(stream);
}

/* An address written as one; false if the text is a name. */
static bool parse_address(const char *text, uint16_t port, struct sockaddr_storage *address) {
    return uv_ip4_addr(text, port, (struct sockaddr_in *)(void *)address) == 0 ||
           uv_ip6_addr(text, port, (struct sockaddr_in6 *)(void *)address) == 0;
}

bool np_address_is_numeric(const char *text) {
    struct sockaddr_storage address;
    return parse_address(text, 0, &address);
}

int np_stream_connect(np_stream **to, np_loop *loop, const char *host, uint16_t port, const np_stream_events *events,
                      void *arg) {
    if (strlen(host) > HOST_MAX)
        return NP_EIO;
    np_stream *stream = stream_new(loop);
    if (stream == NULL)
        return NP_ENOMEM;
    stream->events = *events;
    stream->arg = arg;
    name_peer(stream, host, port);
    struct sockaddr_storage address;
    int status;
    if (parse_address(host, port, &address)) {
        status = connect_to(stream, (const struct sockaddr *)&address);
    } else {
        char service[8];
        snprintf(service, sizeof(service), "%u", (unsigned)port);
        struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
        status = uv_getaddrinfo(&loop->uv, &stream->resolve, on_resolved, host, service, &hints);
        if (status == 0) {
            stream->resolve.data = stream;
            stream->refs++;
        }
    }
    if (status < 0) {
        shut(stream);
        unref(stream);
        return status == UV_ENOMEM ? NP_ENOMEM : NP_EIO;
    }
    *to = stream;
    return 0;
}

/* ---- writing ---- */

static void on_failed(void *arg) {
    np_stream *stream = arg;
    finish(stream, stream->failure);
}

static int64_t fail_later(np_stream *stream, int status) {
    stream->failure = status;
    np_loop_defer(stream->loop, &stream->failed, on_failed, stream);
    return np_uv_error(status);
}

static void on_written(uv_write_t *req, int status) {
    sock *s = req->data;
    if (s->dead)
        return;
    np_stream *stream = s->stream;
    np_loop_busy(stream->loop);
    size_t bytes = stream->write_bytes;
    stream->write_bytes = 0;
    if (status < 0)
        finish(stream, status);
    else if (stream->events.written != NULL)
        stream->events.written(stream->arg, bytes);
}

int64_t np_stream_write(np_stream *stream, const np_bytes *spans, size_t count) {
    NP_ASSERT(stream->write_bytes == 0 && count <= NP_STREAM_SPANS_MAX);
    if (stream->failure != 0 || !stream->connected)
        return NP_ECLOSED;
    uv_buf_t bufs[NP_STREAM_SPANS_MAX];
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        bufs[i].base = (char *)(uintptr_t)spans[i].data;
        bufs[i].len = spans[i].len;
        total += spans[i].len;
    }
    if (total == 0)
        return 0;
    uv_stream_t *handle = (uv_stream_t *)&stream->sock->tcp;
    int wrote = uv_try_write(handle, bufs, (unsigned)count);
    if (wrote == UV_EAGAIN)
        wrote = 0;
    if (wrote < 0)
        return fail_later(stream, wrote);
    size_t skip = (size_t)wrote;
    if (skip == total)
        return wrote;
    size_t first = 0;
    while (skip >= bufs[first].len)
        skip -= bufs[first++].len;
    bufs[first].base += skip;
    bufs[first].len -= skip;
    stream->write.data = stream->sock;
    int status = uv_write(&stream->write, handle, bufs + first, (unsigned)(count - first), on_written);
    if (status < 0)
        return fail_later(stream, status);
    stream->write_bytes = total - (size_t)wrote;
    return wrote;
}

bool np_stream_busy(const np_stream *stream) { return stream->write_bytes != 0; }

/* ---- closing ---- */

void np_stream_close(np_stream **from) {
    np_stream *stream = *from;
    if (stream == NULL)
        return;
    *from = NULL;
    shut(stream);
    unref(stream);
}

/* ---- listening ---- */

void np_stream_adopt(np_stream *stream, const np_stream_events *events, void *arg) {
    stream->events = *events;
    stream->arg = arg;
    start_reading(stream);
}

static void on_connection(uv_stream_t *server, int status) {
    np_listener *listener = server->data;
    np_loop_busy(listener->loop);
    if (status < 0)
        return; /* out of descriptors: libuv has turned that caller away, the next may fare better */
    np_stream *stream = stream_new(listener->loop);
    if (stream == NULL)
        return;
    if (open_sock(stream) == 0 && uv_accept(server, (uv_stream_t *)&stream->sock->tcp) == 0) {
        uv_tcp_nodelay(&stream->sock->tcp, 1);
        uv_tcp_keepalive(&stream->sock->tcp, 1, KEEPALIVE_S);
        stream->connected = true;
        name_connected(stream);
        listener->accepted(listener->arg, stream);
    } else {
        np_stream_close(&stream);
    }
}

static void on_listener_closed(uv_handle_t *handle) { free(handle->data); }

static int bind_and_listen(np_listener *listener, const char *address, uint16_t port) {
    struct sockaddr_storage to;
    memset(&to, 0, sizeof(to));
    if (!parse_address(address, port, &to)) {
        uv_getaddrinfo_t req;
        struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
        int status = uv_getaddrinfo(&listener->loop->uv, &req, NULL, address, NULL, &hints);
        if (status < 0)
            return UV_EADDRNOTAVAIL;
        memcpy(&to, req.addrinfo->ai_addr, req.addrinfo->ai_addrlen);
        uv_freeaddrinfo(req.addrinfo);
        if (to.ss_family == AF_INET6)
            ((struct sockaddr_in6 *)(void *)&to)->sin6_port = htons(port);
        else
            ((struct sockaddr_in *)(void *)&to)->sin_port = htons(port);
    }
    int status = uv_tcp_bind(&listener->tcp, (const struct sockaddr *)&to, 0);
    return status < 0 ? status : uv_listen((uv_stream_t *)&listener->tcp, BACKLOG, on_connection);
}

static int listen_on(np_listener **to, np_loop *loop, const char *address, uint16_t port, uint16_t *bound,
                     void (*accepted)(void *arg, np_stream *stream), void *arg) {
    np_listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL)
        return UV_ENOMEM;
    int status = uv_tcp_init(&loop->uv, &listener->tcp);
    if (status < 0) {
        free(listener);
        return status;
    }
    listener->tcp.data = listener;
    listener->loop = loop;
    listener->accepted = accepted;
    listener->arg = arg;
    status = bind_and_listen(listener, address, port);
    struct sockaddr_storage name;
    int len = sizeof(name);
    if (status == 0)
        status = uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&name, &len);
    if (status < 0) {
        uv_close((uv_handle_t *)&listener->tcp, on_listener_closed);
        return status;
    }
    if (bound != NULL)
        *bound = port_of(&name);
    *to = listener;
    return 0;
}

int np_listener_new(np_listener **listener, np_loop *loop, const char *address, uint16_t port, uint16_t *bound,
                    void (*accepted)(void *arg, np_stream *stream), void *arg) {
    int status = listen_on(listener, loop, address != NULL ? address : "::", port, bound, accepted, arg);
    if (status < 0 && status != UV_EADDRINUSE && address == NULL) /* a kernel without IPv6 */
        status = listen_on(listener, loop, "0.0.0.0", port, bound, accepted, arg);
    return np_uv_error(status);
}

void np_listener_close(np_listener **from) {
    np_listener *listener = *from;
    if (listener == NULL)
        return;
    *from = NULL;
    uv_close((uv_handle_t *)&listener->tcp, on_listener_closed);
}
