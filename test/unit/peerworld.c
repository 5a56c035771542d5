/*
 * peerworld.c - see peerworld.h.
 */
#include "peerworld.h"

#include "base/log.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

const char *const known_names[3] = {"a@127.0.0.1", "m@127.0.0.1", "z@127.0.0.1"};

static int index_of(np_node_id id) {
    for (int i = 0; i < 3; i++)
        if (strcmp(np_name_text(id), known_names[i]) == 0)
            return i;
    return 7;
}

/* `up` and `down` alternate for each peer. */
void world_up(void *arg, np_node_id peer, bool hidden) {
    test_node *n = arg;
    if (n->up_now[index_of(peer)])
        n->balance_errors++;
    if (!np_peers_up(n->peers, peer))
        n->balance_errors++;
    n->up_now[index_of(peer)] = true;
    n->ups++;
    n->last_peer = peer;
    n->last_hidden = hidden;
}

void world_down(void *arg, np_node_id peer, const char *reason) {
    test_node *n = arg;
    if (!n->up_now[index_of(peer)])
        n->balance_errors++;
    if (np_peers_up(n->peers, peer))
        n->balance_errors++;
    n->up_now[index_of(peer)] = false;
    n->downs++;
    snprintf(n->last_reason, sizeof(n->last_reason), "%s", reason);
}

static np_pid some_pid(np_node_id node) {
    const np_pid pid = {.node = node, .num = 7, .serial = 0, .creation = 4};
    return pid;
}

int send_term(test_node *n, np_node_id peer, const uint8_t *term, size_t len, np_send_class send_class) {
    np_control control = {.kind = NP_CTL_REG_SEND, .from = some_pid(np_name_id(n->name)), .name = {"sink", 4}};
    control.payload.base = term;
    control.payload.end = len;
    return np_peers_send(n->peers, peer, &control, send_class);
}

int world_control(void *arg, np_node_id peer, const np_control *control) {
    test_node *n = arg;
    if (!n->up_now[index_of(peer)])
        n->balance_errors++; /* up comes before the first message */
    n->messages++;
    n->bytes += control->payload.end - control->payload.pos;
    if (n->echo)
        send_term(n, peer, control->payload.base + control->payload.pos, control->payload.end - control->payload.pos,
                  NP_SEND_NORMAL);
    return 0;
}

static void flush_all(void *arg) {
    test_world *w = arg;
    for (size_t i = 0; i < w->count; i++)
        if (w->nodes[i].peers != NULL)
            np_peers_flush(w->nodes[i].peers);
}

void world_init(test_world *w) {
    memset(w, 0, sizeof(*w));
    netloop_init(&w->net);
    w->net.turn = flush_all;
    w->net.arg = w;
    np_log_set_level(NP_LOG_CRITICAL);
}

void world_fini(test_world *w) {
    for (size_t i = 0; i < w->count; i++) {
        assert_int_equal(w->nodes[i].balance_errors, 0);
        np_peers_destroy(&w->nodes[i].peers);
    }
    netloop_fini(&w->net);
}

np_peers_config base_config(const char *name) {
    const np_peers_config config = {
        .name = name, .creation = 4711, .cookie = "secret", .hidden = true, .ticktime_ms = 60000};
    return config;
}

test_node *world_add(test_world *w, const np_peers_config *config) {
    test_node *n = &w->nodes[w->count++];
    char why[256] = "";
    n->name = config->name;
    n->world = w;
    const np_peers_events events = {.arg = n, .up = world_up, .down = world_down, .control = world_control};
    assert_int_equal(np_peers_new(&n->peers, w->net.loop, config, &events, why, sizeof(why)), 0);
    assert_int_equal(np_peers_start(n->peers, why, sizeof(why)), 0);
    return n;
}

/* A free port, so that nodes can know each other's before they start. */
uint16_t free_port(void) {
    uint16_t port;
    close(netloop_listen(0, &port));
    return port;
}

bool linked(const test_node *n, const test_node *other) {
    return np_peers_up(n->peers, np_name_id(other->name)) && np_peers_up(other->peers, np_name_id(n->name));
}

bool first_two_linked(void *arg) {
    test_world *w = arg;
    return linked(&w->nodes[0], &w->nodes[1]);
}

bool first_two_apart(void *arg) {
    test_world *w = arg;
    return !np_peers_up(w->nodes[0].peers, np_name_id(w->nodes[1].name)) &&
           !np_peers_up(w->nodes[1].peers, np_name_id(w->nodes[0].name));
}

/* Node 1 has node 0 as its seed. */
void start_pair(test_world *w, np_peers_config *first, np_peers_config *second) {
    world_init(w);
    test_node *a = world_add(w, first);
    const np_peer_port ports[] = {{first->name, np_peers_port(a->peers)}};
    const char *const seeds[] = {first->name};
    second->ports = ports;
    second->ports_len = 1;
    second->seeds = seeds;
    second->seeds_len = 1;
    world_add(w, second);
    second->ports = NULL;
    second->seeds = NULL;
}

/* ---- raw sockets ---- */

/* Reads without blocking the loop: runs it until there is something or the end; -1: nothing came. */
typedef struct raw {
    int fd;
} raw;

static bool readable(void *arg) {
    struct pollfd p = {.fd = ((raw *)arg)->fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

/* The loop sleeps while only the raw socket has news: so a timer keeps asking. */
ssize_t raw_read(test_world *w, int fd, void *to, size_t len, uint32_t timeout_ms) {
    raw r = {fd};
    for (uint32_t waited = 0; waited < timeout_ms; waited += 5)
        if (netloop_until(&w->net, readable, &r, 5))
            return read(fd, to, len);
    return readable(&r) ? read(fd, to, len) : -1;
}

size_t name_message(uint8_t *to, const char *name, uint64_t flags) {
    size_t len = strlen(name);
    np_put_u16(to, (uint16_t)(15 + len));
    to[2] = 'N';
    np_put_u64(to + 3, flags);
    np_put_u32(to + 11, 99);
    np_put_u16(to + 15, (uint16_t)len);
    memcpy(to + 17, name, len);
    return 17 + len;
}

/* Exactly one handshake message, without its length. */
void raw_message(test_world *w, int fd, uint8_t *to, size_t size) {
    uint8_t head[2];
    assert_int_equal(raw_read(w, fd, head, 2, 1000), 2);
    size_t len = np_get_u16(head);
    assert_true(len <= size);
    assert_int_equal(raw_read(w, fd, to, len, 1000), len);
}

/* A node that claims to be `name` and knows the cookie: both steps of its handshake, by hand. */
int raw_connect(test_world *w, test_node *n, const char *name, const char *cookie) {
    uint8_t out[128], in[256];
    int fd = netloop_dial(np_peers_port(n->peers));
    size_t len = name_message(out, name, NP_DFLAGS_OURS);
    assert_int_equal(write(fd, out, len), len);
    raw_message(w, fd, in, sizeof(in));
    if (memcmp(in, "salive", 6) == 0) {
        static const uint8_t yes[] = {0, 5, 's', 't', 'r', 'u', 'e'};
        assert_int_equal(write(fd, yes, sizeof(yes)), sizeof(yes));
    } else {
        assert_memory_equal(in, "sok", 3);
    }
    raw_message(w, fd, in, sizeof(in));
    assert_int_equal(in[0], 'N');
    uint32_t challenge = np_get_u32(in + 9);
    np_put_u16(out, 21);
    out[2] = 'r';
    np_put_u32(out + 3, 12345);
    np_handshake_digest(cookie, challenge, out + 7);
    assert_int_equal(write(fd, out, 23), 23);
    return fd;
}

bool up_once(void *arg) { return ((test_node *)arg)->ups == 1; }
bool up_twice(void *arg) { return ((test_node *)arg)->ups == 2; }
bool down_once(void *arg) { return ((test_node *)arg)->downs == 1; }
