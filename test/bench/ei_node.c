/*
 * ei_node.c - what one writes by hand today: a C node on libei's blocking calls that answers GenServer.call.
 *
 * The second yardstick of the benchmark beside a plain BEAM node. One thread, one connection at a time, no monitors, no
 * links: libei does not announce them. Its "workers" are pids that differ in their number only; each echoes calls,
 * counts casts, and answers `sunk` with the count since the last `sunk`. `{pids, From, N}` to the name `echo` gives N of them.
 *
 *   ei_node NAME@HOST COOKIE_FILE
 */
#include <arpa/inet.h>
#include <ei.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WORKERS_MAX = 100000, FIRST_NUMBER = 1000 };

typedef struct node {
    ei_cnode ec;
    int fd;
    ei_x_buff out;
    unsigned sunk[WORKERS_MAX]; /* by worker number: casts since the last `sunk` */
} node;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Listens on a free port and tells epmd. */
static int listen_and_publish(ei_cnode *ec) {
    int port = 0;
    int fd = ei_listen(ec, &port, 5);

    if (fd < 0) {
        fail("ei_listen");
    }
    if (ei_publish(ec, port) < 0) {
        fail("ei_publish");
    }
    return fd;
}

static erlang_pid worker_pid(const node *n, unsigned number) {
    erlang_pid pid = *ei_self((ei_cnode *)&n->ec);

    pid.num = FIRST_NUMBER + number;
    return pid;
}

static void reply_begin(node *n) {
    n->out.index = 0;
    ei_x_encode_version(&n->out);
    ei_x_encode_tuple_header(&n->out, 2);
}

/* {pids, From, N} */
static void send_pids(node *n, const char *buf, int at) {
    erlang_pid from;
    long count;

    if (ei_decode_pid(buf, &at, &from) != 0 || ei_decode_long(buf, &at, &count) != 0 || count > WORKERS_MAX) {
        return;
    }
    reply_begin(n);
    ei_x_encode_atom(&n->out, "pids");
    ei_x_encode_list_header(&n->out, count);
    for (long i = 0; i < count; i++) {
        erlang_pid pid = worker_pid(n, (unsigned)i);

        ei_x_encode_pid(&n->out, &pid);
    }
    ei_x_encode_empty_list(&n->out);
    ei_send(n->fd, &from, n->out.buff, n->out.index);
}

/* {'$gen_call', {From, Tag}, Request}: answers {Tag, Request}, or {Tag, Count} if the request is `sunk`. */
static void answer_call(node *n, const char *buf, int at, unsigned *sunk) {
    int arity, tag, tag_end, request;
    erlang_pid from;
    char atom[MAXATOMLEN_UTF8];

    if (ei_decode_tuple_header(buf, &at, &arity) != 0 || arity != 2 || ei_decode_pid(buf, &at, &from) != 0) {
        return;
    }
    tag = at;
    if (ei_skip_term(buf, &at) != 0) {
        return;
    }
    tag_end = request = at;
    reply_begin(n);
    ei_x_append_buf(&n->out, buf + tag, tag_end - tag);
    if (ei_decode_atom(buf, &at, atom) == 0 && strcmp(atom, "sunk") == 0) {
        ei_x_encode_ulong(&n->out, *sunk);
        *sunk = 0;
    } else {
        at = request;
        if (ei_skip_term(buf, &at) != 0) {
            return;
        }
        ei_x_append_buf(&n->out, buf + request, at - request);
    }
    ei_send(n->fd, &from, n->out.buff, n->out.index);
}

static void handle(node *n, const erlang_msg *msg, const char *buf) {
    int at = 0, version, arity;
    char atom[MAXATOMLEN_UTF8];
    unsigned number = msg->msgtype == ERL_SEND ? msg->to.num - FIRST_NUMBER : 0;

    if (number >= WORKERS_MAX || ei_decode_version(buf, &at, &version) != 0 ||
        ei_decode_tuple_header(buf, &at, &arity) != 0 || ei_decode_atom(buf, &at, atom) != 0) {
        return;
    }
    if (strcmp(atom, "$gen_call") == 0 && arity == 3) {
        answer_call(n, buf, at, &n->sunk[number]);
    } else if (strcmp(atom, "$gen_cast") == 0) {
        n->sunk[number]++;
    } else if (strcmp(atom, "pids") == 0 && arity == 3) {
        send_pids(n, buf, at);
    }
}

static void serve(node *n) {
    ei_x_buff in;
    erlang_msg msg;

    ei_x_new(&in);
    for (;;) {
        in.index = 0;
        switch (ei_xreceive_msg(n->fd, &msg, &in)) {
        case ERL_TICK: break;
        case ERL_MSG:
            if (msg.msgtype == ERL_SEND || msg.msgtype == ERL_REG_SEND) {
                handle(n, &msg, in.buff);
            }
            break;
        default: ei_x_free(&in); return;
        }
    }
}

static void read_cookie(const char *file, char *cookie, size_t size) {
    FILE *f = fopen(file, "r");

    if (f == NULL || fgets(cookie, (int)size, f) == NULL) {
        fail(file);
    }
    cookie[strcspn(cookie, "\n")] = '\0';
    fclose(f);
}

int main(int argc, char **argv) {
    static node n;
    char cookie[256], alive[256];
    struct in_addr address;
    char *host;

    if (argc != 3 || strlen(argv[1]) >= sizeof alive || (host = strchr(argv[1], '@')) == NULL) {
        fprintf(stderr, "usage: ei_node NAME@HOST COOKIE_FILE\n");
        return 2;
    }
    snprintf(alive, sizeof alive, "%.*s", (int)(host - argv[1]), argv[1]);
    read_cookie(argv[2], cookie, sizeof cookie);
    ei_init();
    inet_aton("127.0.0.1", &address);
    if (ei_connect_xinit(&n.ec, host + 1, alive, argv[1], &address, cookie, (unsigned)getpid()) < 0) {
        fail("ei_connect_xinit");
    }
    ei_x_new(&n.out);
    int listener = listen_and_publish(&n.ec);

    printf("ready\n");
    fflush(stdout);
    for (;;) {
        ErlConnect peer;

        n.fd = ei_accept(&n.ec, listener, &peer);
        if (n.fd >= 0) {
            serve(&n);
            close(n.fd);
        }
    }
}
