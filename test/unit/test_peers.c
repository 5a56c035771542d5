/*
 * test_peers.c - nodes that connect to each other: several np_peers in one loop, raw sockets that misbehave, and an
 * epmd of our own.
 */
#include "node/peers.h"

#include "base/limits.h"
#include "base/log.h"
#include "dist/handshake.h"
#include "netloop.h"
#include "term/names.h"
#include "term/out.h"
#include "uv/stream.h"

#include <fcntl.h>
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

enum { NODES_MAX = 3 };

/* ---- a node: np_peers and what it has been told ---- */

typedef struct test_node {
    const char *name;
    np_peers *peers;
    int ups, downs, balance_errors;
    bool up_now[8]; /* by index of the peer's name */
    bool last_hidden;
    char last_reason[256];
    np_node_id last_peer;
    size_t messages;
    size_t bytes;
    bool echo;
    struct test_world *world;
} test_node;

typedef struct test_world {
    netloop net;
    test_node nodes[NODES_MAX];
    size_t count;
} test_world;

static const char *const known_names[] = {"a@127.0.0.1", "m@127.0.0.1", "z@127.0.0.1"};

static int index_of(np_node_id id) {
    for (int i = 0; i < 3; i++)
        if (strcmp(np_name_text(id), known_names[i]) == 0)
            return i;
    return 7;
}

/* `up` and `down` alternate for each peer. */
static void on_up(void *arg, np_node_id peer, bool hidden) {
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

static void on_down(void *arg, np_node_id peer, const char *reason) {
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

static int send_binary(test_node *n, np_node_id peer, const uint8_t *term, size_t len, np_send_class send_class) {
    np_control control = {.kind = NP_CTL_REG_SEND, .from = some_pid(np_name_id(n->name)), .name = {"sink", 4}};
    control.payload.base = term;
    control.payload.end = len;
    return np_peers_send(n->peers, peer, &control, send_class);
}

static int on_control(void *arg, np_node_id peer, const np_control *control) {
    test_node *n = arg;
    if (!n->up_now[index_of(peer)])
        n->balance_errors++; /* up comes before the first message */
    n->messages++;
    n->bytes += control->payload.end - control->payload.pos;
    if (n->echo)
        send_binary(n, peer, control->payload.base + control->payload.pos, control->payload.end - control->payload.pos,
                    NP_SEND_NORMAL);
    return 0;
}

static void flush_all(void *arg) {
    test_world *w = arg;
    for (size_t i = 0; i < w->count; i++)
        if (w->nodes[i].peers != NULL)
            np_peers_flush(w->nodes[i].peers);
}

static void world_init(test_world *w) {
    memset(w, 0, sizeof(*w));
    netloop_init(&w->net);
    w->net.turn = flush_all;
    w->net.arg = w;
    np_log_set_level(NP_LOG_CRITICAL);
}

static void world_fini(test_world *w) {
    for (size_t i = 0; i < w->count; i++) {
        assert_int_equal(w->nodes[i].balance_errors, 0);
        np_peers_destroy(&w->nodes[i].peers);
    }
    netloop_fini(&w->net);
}

static np_peers_config base_config(const char *name) {
    const np_peers_config config = {
        .name = name, .creation = 4711, .cookie = "secret", .hidden = true, .ticktime_ms = 60000};
    return config;
}

static test_node *world_add(test_world *w, const np_peers_config *config) {
    test_node *n = &w->nodes[w->count++];
    char why[256] = "";
    n->name = config->name;
    n->world = w;
    const np_peers_events events = {.arg = n, .up = on_up, .down = on_down, .control = on_control};
    assert_int_equal(np_peers_new(&n->peers, w->net.loop, config, &events, why, sizeof(why)), 0);
    assert_int_equal(np_peers_start(n->peers, why, sizeof(why)), 0);
    return n;
}

/* A free port, so that nodes can know each other's before they start. */
static uint16_t free_port(void) {
    uint16_t port;
    close(netloop_listen(0, &port));
    return port;
}

static bool linked(const test_node *n, const test_node *other) {
    return np_peers_up(n->peers, np_name_id(other->name)) && np_peers_up(other->peers, np_name_id(n->name));
}

static bool first_two_linked(void *arg) {
    test_world *w = arg;
    return linked(&w->nodes[0], &w->nodes[1]);
}

static bool first_two_apart(void *arg) {
    test_world *w = arg;
    return !np_peers_up(w->nodes[0].peers, np_name_id(w->nodes[1].name)) &&
           !np_peers_up(w->nodes[1].peers, np_name_id(w->nodes[0].name));
}

/* Node 1 has node 0 as its seed. */
static void start_pair(test_world *w, np_peers_config *first, np_peers_config *second) {
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

/* ---- connecting ---- */

static void test_two_nodes_connect_and_talk(void **state) {
    test_world w;
    np_peers_config first = base_config("a@127.0.0.1"), second = base_config("z@127.0.0.1");
    (void)state;
    second.hidden = false;
    start_pair(&w, &first, &second);
    test_node *a = &w.nodes[0], *z = &w.nodes[1];
    assert_true(np_peers_ready(a->peers));
    assert_true(netloop_until(&w.net, first_two_linked, &w, 2000));
    np_node_id a_id = np_name_id(a->name), z_id = np_name_id(z->name);
    assert_true(a->last_hidden);
    assert_true(z->last_hidden); /* z is visible, a is not */
    assert_true(np_peers_visible(a->peers, z_id));
    assert_false(np_peers_visible(z->peers, a_id));
    assert_true((np_peers_flags(a->peers, z_id) & NP_DFLAG_FRAGMENTS) != 0);
    assert_true((np_peers_flags(a->peers, z_id) & NP_DFLAG_PUBLISHED) == 0);
    uint32_t at = 0;
    assert_int_equal(np_peers_next(a->peers, &at), z_id);
    assert_int_equal(np_peers_next(a->peers, &at), 0);

    const uint8_t term[] = {97, 42};
    a->echo = true;
    assert_int_equal(send_binary(z, a_id, term, sizeof(term), NP_SEND_NORMAL), 0);
    netloop_for(&w.net, 50);
    assert_int_equal(a->messages, 1);
    assert_int_equal(z->messages, 1);
    assert_int_equal(send_binary(z, np_name_id("nobody@127.0.0.1"), term, sizeof(term), NP_SEND_NORMAL), NP_ENOCONN);

    np_peers_stats stats;
    np_peers_get_stats(a->peers, &stats);
    assert_int_equal(stats.connects, 1);
    assert_int_equal(stats.refused, 0);
    assert_int_equal(stats.traffic.packets_in, 1);
    assert_int_equal(stats.traffic.packets_out, 1);
    assert_int_equal(stats.queued_bytes, 0);
    assert_true(np_peers_drained(a->peers));
    world_fini(&w);
}

/* Both dial at the same moment, a hundred times: one connection comes of it, whoever has the greater name. */
static void test_simultaneous_dials_end_in_one_connection(void **state) {
    (void)state;
    for (int round = 0; round < 100; round++) {
        test_world w;
        const uint16_t port[2] = {free_port(), free_port()};
        /* Which of the two is served first by the loop changes with the order of creation. */
        const char *name[2] = {known_names[round % 2 ? 0 : 2], known_names[round % 2 ? 2 : 0]};
        world_init(&w);
        for (int i = 0; i < 2; i++) {
            np_peers_config config = base_config(name[i]);
            const np_peer_port ports[] = {{name[1 - i], port[1 - i]}};
            config.port = port[i];
            config.ports = ports;
            config.ports_len = 1;
            config.seeds = &name[1 - i];
            config.seeds_len = 1;
            world_add(&w, &config);
        }
        assert_true(netloop_until(&w.net, first_two_linked, &w, 3000));
        netloop_for(&w.net, 5);
        assert_true(first_two_linked(&w));
        np_peers_stats stats[2];
        for (int i = 0; i < 2; i++) {
            assert_int_equal(w.nodes[i].ups, 1);
            assert_int_equal(w.nodes[i].downs, 0);
            np_peers_get_stats(w.nodes[i].peers, &stats[i]);
            assert_int_equal(stats[i].connects, 1);
            assert_int_equal(stats[i].refused, 0);
        }
        world_fini(&w);
    }
}

/* The names interleaved at other stages: one side dials a little after the other. */
static void test_dials_shortly_after_one_another(void **state) {
    (void)state;
    for (int round = 0; round < 60; round++) {
        test_world w;
        const uint16_t port[2] = {free_port(), free_port()};
        const char *name[2] = {known_names[round % 2 ? 0 : 2], known_names[round % 2 ? 2 : 0]};
        world_init(&w);
        for (int i = 0; i < 2; i++) {
            np_peers_config config = base_config(name[i]);
            const np_peer_port ports[] = {{name[1 - i], port[1 - i]}};
            config.port = port[i];
            config.ports = ports;
            config.ports_len = 1;
            world_add(&w, &config);
        }
        assert_int_equal(np_peers_dial(w.nodes[0].peers, np_name_id(name[1])), 0);
        if (round / 2 % 3 > 0)
            netloop_for(&w.net, (uint32_t)(round / 2 % 3 - 1));
        assert_int_equal(np_peers_dial(w.nodes[1].peers, np_name_id(name[0])), 0);
        assert_true(netloop_until(&w.net, first_two_linked, &w, 3000));
        netloop_for(&w.net, 2);
        assert_true(first_two_linked(&w));
        assert_int_equal(w.nodes[0].ups - w.nodes[0].downs, 1);
        world_fini(&w);
    }
}

static bool three_linked(void *arg) {
    test_world *w = arg;
    return linked(&w->nodes[0], &w->nodes[1]) && linked(&w->nodes[0], &w->nodes[2]) &&
           linked(&w->nodes[1], &w->nodes[2]);
}

static void test_three_nodes_form_a_mesh(void **state) {
    test_world w;
    uint16_t port[3];
    np_peer_port ports[3];
    (void)state;
    for (int i = 0; i < 3; i++) {
        port[i] = free_port();
        ports[i] = (np_peer_port){known_names[i], port[i]};
    }
    world_init(&w);
    for (int i = 0; i < 3; i++) {
        np_peers_config config = base_config(known_names[i]);
        config.port = port[i];
        config.ports = ports;
        config.ports_len = 3;
        config.seeds = known_names; /* itself among them */
        config.seeds_len = 3;
        world_add(&w, &config);
    }
    assert_true(netloop_until(&w.net, three_linked, &w, 3000));
    world_fini(&w);
}

/* ---- cookies ---- */

static bool refused_one(void *arg) {
    np_peers_stats stats;
    np_peers_get_stats(((test_node *)arg)->peers, &stats);
    return stats.refused >= 1;
}

static void test_wrong_cookie_is_refused(void **state) {
    test_world w;
    np_peers_config first = base_config("a@127.0.0.1"), second = base_config("z@127.0.0.1");
    (void)state;
    second.cookie = "guess";
    start_pair(&w, &first, &second);
    assert_true(netloop_until(&w.net, refused_one, &w.nodes[0], 2000));
    assert_true(netloop_until(&w.net, refused_one, &w.nodes[1], 2000));
    assert_int_equal(w.nodes[0].ups + w.nodes[1].ups, 0);
    world_fini(&w);
}

static void test_cookies_per_peer(void **state) {
    test_world w;
    np_peers_config first = base_config("a@127.0.0.1"), second = base_config("z@127.0.0.1");
    const np_cookie cookies[] = {{"other@127.0.0.1", "x"}, {"z@127.0.0.1", "zulu"}};
    (void)state;
    first.cookies = cookies;
    first.cookies_len = 2;
    second.cookie = "zulu";
    start_pair(&w, &first, &second);
    assert_true(netloop_until(&w.net, first_two_linked, &w, 2000));
    world_fini(&w);
}

/* ---- ends ---- */

static void test_disconnect_and_redial(void **state) {
    test_world w;
    np_peers_config first = base_config("a@127.0.0.1"), second = base_config("z@127.0.0.1");
    (void)state;
    start_pair(&w, &first, &second);
    test_node *a = &w.nodes[0], *z = &w.nodes[1];
    assert_true(netloop_until(&w.net, first_two_linked, &w, 2000));
    np_peers_disconnect(a->peers, np_name_id(z->name), "because");
    assert_int_equal(a->downs, 0); /* from the loop, not from inside the call */
    assert_int_equal(send_binary(a, np_name_id(z->name), (const uint8_t *)"\x61\x01", 2, NP_SEND_NORMAL), NP_ENOCONN);
    assert_true(netloop_until(&w.net, first_two_apart, &w, 2000));
    assert_int_equal(a->downs, 1);
    assert_int_equal(z->downs, 1);
    assert_string_equal(a->last_reason, "because");
    assert_true(netloop_until(&w.net, first_two_linked, &w, 2000)); /* z has a as its seed */
    assert_int_equal(a->ups, 2);
    world_fini(&w);
}

static void test_seed_that_restarts_is_found_again(void **state) {
    test_world w;
    np_peers_config first = base_config("a@127.0.0.1"), second = base_config("z@127.0.0.1");
    (void)state;
    start_pair(&w, &first, &second);
    test_node *a = &w.nodes[0], *z = &w.nodes[1];
    assert_true(netloop_until(&w.net, first_two_linked, &w, 2000));
    uint16_t port = np_peers_port(a->peers);
    np_peers_destroy(&a->peers);
    memset(a->up_now, 0, sizeof(a->up_now));
    netloop_for(&w.net, 1500); /* long enough for the back-off to reach its maximum */
    assert_int_equal(z->downs, 1);
    assert_false(np_peers_up(z->peers, np_name_id(a->name)));
    first.port = port;
    w.count = 0;
    world_add(&w, &first);
    w.count = 2;
    assert_true(netloop_until(&w.net, first_two_linked, &w, 2000));
    assert_int_equal(z->ups, 2);
    world_fini(&w);
}

static void test_drain_keeps_connections_and_takes_no_new_ones(void **state) {
    test_world w;
    np_peers_config first = base_config("a@127.0.0.1"), second = base_config("z@127.0.0.1");
    (void)state;
    start_pair(&w, &first, &second);
    test_node *a = &w.nodes[0], *z = &w.nodes[1];
    assert_true(netloop_until(&w.net, first_two_linked, &w, 2000));
    np_peers_drain(a->peers);
    const uint8_t term[] = {97, 1};
    assert_int_equal(send_binary(z, np_name_id(a->name), term, 2, NP_SEND_NORMAL), 0);
    netloop_for(&w.net, 30);
    assert_int_equal(a->messages, 1);
    assert_true(np_peers_drained(a->peers));
    np_peers_disconnect(z->peers, np_name_id(a->name), "test");
    netloop_for(&w.net, 300);
    assert_int_equal(a->downs, 1);
    assert_int_equal(a->ups, 1);
    assert_int_equal(np_peers_dial(a->peers, np_name_id(z->name)), NP_ECLOSED);
    world_fini(&w);
}

static void drain_on_down(void *arg, np_node_id peer, const char *reason) {
    test_node *n = arg;
    on_down(arg, peer, reason);
    np_peers_drain(n->peers);
}

/* The node may stop everything from inside an event. */
static void test_drain_from_inside_down(void **state) {
    test_world w;
    np_peers_config first = base_config("a@127.0.0.1"), second = base_config("z@127.0.0.1");
    char why[64];
    (void)state;
    world_init(&w);
    test_node *a = &w.nodes[w.count++], *z = &w.nodes[w.count++];
    a->name = first.name;
    z->name = second.name;
    const np_peers_events of_a = {.arg = a, .up = on_up, .down = drain_on_down, .control = on_control};
    const np_peers_events of_z = {.arg = z, .up = on_up, .down = on_down, .control = on_control};
    assert_int_equal(np_peers_new(&a->peers, w.net.loop, &first, &of_a, why, sizeof(why)), 0);
    assert_int_equal(np_peers_start(a->peers, why, sizeof(why)), 0);
    second.peer_port = np_peers_port(a->peers);
    assert_int_equal(np_peers_new(&z->peers, w.net.loop, &second, &of_z, why, sizeof(why)), 0);
    assert_int_equal(np_peers_start(z->peers, why, sizeof(why)), 0);
    assert_int_equal(np_peers_dial(z->peers, np_name_id(a->name)), 0);
    assert_true(netloop_until(&w.net, first_two_linked, &w, 2000));
    np_peers_disconnect(z->peers, np_name_id(a->name), "test");
    netloop_for(&w.net, 300);
    assert_int_equal(a->downs, 1);
    world_fini(&w);
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
static ssize_t raw_read(test_world *w, int fd, void *to, size_t len, uint32_t timeout_ms) {
    raw r = {fd};
    for (uint32_t waited = 0; waited < timeout_ms; waited += 5)
        if (netloop_until(&w->net, readable, &r, 5))
            return read(fd, to, len);
    return readable(&r) ? read(fd, to, len) : -1;
}

static size_t name_message(uint8_t *to, const char *name, uint64_t flags) {
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
static void raw_message(test_world *w, int fd, uint8_t *to, size_t size) {
    uint8_t head[2];
    assert_int_equal(raw_read(w, fd, head, 2, 1000), 2);
    size_t len = np_get_u16(head);
    assert_true(len <= size);
    assert_int_equal(raw_read(w, fd, to, len, 1000), len);
}

/* A node that claims to be `name` and knows the cookie: both steps of its handshake, by hand. */
static int raw_connect(test_world *w, test_node *n, const char *name, const char *cookie) {
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

static bool up_once(void *arg) { return ((test_node *)arg)->ups == 1; }
static bool up_twice(void *arg) { return ((test_node *)arg)->ups == 2; }
static bool down_once(void *arg) { return ((test_node *)arg)->downs == 1; }

/*
 * A node that has restarted without our noticing: asked whether it still wants it, it says yes, and the old one is
 * replaced.
 */
static void test_duplicate_connection_replaces_the_old_one(void **state) {
    test_world w;
    const np_peers_config config = base_config("m@127.0.0.1");
    (void)state;
    world_init(&w);
    test_node *n = world_add(&w, &config);
    int first = raw_connect(&w, n, "a@127.0.0.1", "secret");
    assert_true(netloop_until(&w.net, up_once, n, 1000));
    uint8_t in[64];
    assert_int_equal(raw_read(&w, first, in, sizeof(in), 1000), 19); /* 'a' and the digest */
    int second = raw_connect(&w, n, "a@127.0.0.1", "secret");
    assert_true(netloop_until(&w.net, up_twice, n, 1000));
    assert_int_equal(n->downs, 1);
    assert_non_null(strstr(n->last_reason, "replaced"));
    assert_int_equal(raw_read(&w, first, in, sizeof(in), 1000), 0); /* closed */
    close(first);
    close(second);
    netloop_for(&w.net, 50);
    assert_int_equal(n->downs, 2);
    world_fini(&w);
}

/* Somebody else who says that name but not the cookie changes nothing for the old connection. */
static void test_unauthenticated_duplicate_changes_nothing(void **state) {
    test_world w;
    const np_peers_config config = base_config("m@127.0.0.1");
    (void)state;
    world_init(&w);
    test_node *n = world_add(&w, &config);
    int first = raw_connect(&w, n, "a@127.0.0.1", "secret");
    assert_true(netloop_until(&w.net, up_once, n, 1000));
    int second = raw_connect(&w, n, "a@127.0.0.1", "wrong");
    netloop_for(&w.net, 50);
    assert_int_equal(n->ups, 1);
    assert_int_equal(n->downs, 0);
    close(first);
    close(second);
    world_fini(&w);
}

/* The end of the handshake and the first messages in one segment. */
static void test_bytes_behind_the_handshake_are_the_sessions(void **state) {
    test_world w;
    const np_peers_config config = base_config("m@127.0.0.1");
    (void)state;
    world_init(&w);
    test_node *n = world_add(&w, &config);
    uint8_t out[128], in[256];
    int fd = netloop_dial(np_peers_port(n->peers));
    size_t len = name_message(out, "a@127.0.0.1", NP_DFLAGS_OURS);
    assert_int_equal(write(fd, out, len), len);
    raw_message(&w, fd, in, sizeof(in)); /* the status */
    raw_message(&w, fd, in, sizeof(in));
    np_put_u16(out, 21);
    out[2] = 'r';
    np_put_u32(out + 3, 12345);
    np_handshake_digest("secret", np_get_u32(in + 9), out + 7);
    /* A tick, and {6, Pid, '', sink} with the message 7. */
    static const uint8_t packet[] = {
        0,   0,   0,   0,                                                     /* tick */
        0,   0,   0,   46,                                                    /* length */
        131, 68,  0,   104, 4,   97,  6,                                      /* header, {6, */
        88,  119, 11,  'a', '@', '1', '2', '7', '.', '0', '.', '0', '.', '1', /* pid */
        0,   0,   0,   1,   0,   0,   0,   0,   0,   0,   0,   99,            /* num, serial, creation */
        119, 0,   119, 4,   's', 'i', 'n', 'k',                               /* '', sink} */
        97,  7};
    memcpy(out + 23, packet, sizeof(packet));
    np_put_u32(out + 23 + 4, sizeof(packet) - 8);
    assert_int_equal(write(fd, out, 23 + sizeof(packet)), 23 + sizeof(packet));
    netloop_for(&w.net, 50);
    assert_int_equal(n->ups, 1);
    assert_int_equal(n->messages, 1);
    assert_int_equal(n->bytes, 2);
    close(fd);
    assert_true(netloop_until(&w.net, down_once, n, 1000));
    world_fini(&w);
}

static void test_silent_and_broken_connections_are_closed(void **state) {
    test_world w;
    const np_peers_config config = base_config("m@127.0.0.1");
    uint8_t in[64];
    (void)state;
    world_init(&w);
    test_node *n = world_add(&w, &config);
    int silent = netloop_dial(np_peers_port(n->peers));
    int stalled = netloop_dial(np_peers_port(n->peers));
    uint8_t out[64];
    size_t len = name_message(out, "a@127.0.0.1", NP_DFLAGS_OURS);
    assert_int_equal(write(stalled, out, len - 3), len - 3);
    int old = netloop_dial(np_peers_port(n->peers));
    len = name_message(out, "a@127.0.0.1", 0x1);
    assert_int_equal(write(old, out, len), len);
    assert_true(raw_read(&w, old, in, sizeof(in), 1000) > 0);
    assert_memory_equal(in, "\0\14snot_allowed", 14);
    assert_int_equal(raw_read(&w, old, in, sizeof(in), 1000), 0);
    assert_int_equal(raw_read(&w, silent, in, sizeof(in), 500), -1);
    netloop_for(&w.net, NP_HANDSHAKE_MS);
    assert_int_equal(raw_read(&w, silent, in, sizeof(in), 100), 0);
    assert_int_equal(raw_read(&w, stalled, in, sizeof(in), 100), 0);
    np_peers_stats stats;
    np_peers_get_stats(n->peers, &stats);
    assert_int_equal(stats.refused, 3);
    assert_int_equal(n->ups, 0);
    close(silent);
    close(stalled);
    close(old);
    world_fini(&w);
}

/* A thousand connections that say rubbish: memory flat (the sanitizer sees leaks), nothing else happens. */
static void test_a_thousand_rubbish_connections(void **state) {
    test_world w;
    const np_peers_config config = base_config("m@127.0.0.1");
    (void)state;
    world_init(&w);
    test_node *n = world_add(&w, &config);
    uint32_t seed = 1;
    for (int i = 0; i < 1000; i++) {
        uint8_t bytes[200];
        int fd = netloop_dial(np_peers_port(n->peers));
        for (size_t j = 0; j < sizeof(bytes); j++) {
            seed = seed * 1664525 + 1013904223;
            bytes[j] = (uint8_t)(seed >> 24);
        }
        if (i % 3 == 0)
            name_message(bytes, "a@127.0.0.1", NP_DFLAGS_OURS);
        if (i % 3 == 1)
            np_put_u16(bytes, (uint16_t)(i % 190));
        assert_true(write(fd, bytes, 1 + (size_t)i % sizeof(bytes)) > 0);
        close(fd);
        if (i % 50 == 49)
            netloop_for(&w.net, 2);
    }
    netloop_for(&w.net, 100);
    assert_int_equal(n->ups, 0);
    int fd = raw_connect(&w, n, "a@127.0.0.1", "secret");
    assert_true(netloop_until(&w.net, up_once, n, 1000));
    close(fd);
    world_fini(&w);
}

static void test_too_many_handshakes_at_once(void **state) {
    test_world w;
    const np_peers_config config = base_config("m@127.0.0.1");
    int fds[NP_HANDSHAKES_MAX + 10];
    uint8_t in[8];
    (void)state;
    world_init(&w);
    test_node *n = world_add(&w, &config);
    for (size_t i = 0; i < NP_HANDSHAKES_MAX + 10; i++) {
        fds[i] = netloop_dial(np_peers_port(n->peers));
        if (i % 32 == 31)
            netloop_for(&w.net, 2);
    }
    netloop_for(&w.net, 20);
    assert_int_equal(raw_read(&w, fds[NP_HANDSHAKES_MAX + 9], in, 8, 500), 0);
    assert_int_equal(raw_read(&w, fds[0], in, 8, 20), -1);
    for (size_t i = 0; i < NP_HANDSHAKES_MAX + 10; i++)
        close(fds[i]);
    netloop_for(&w.net, 50);
    int fd = raw_connect(&w, n, "a@127.0.0.1", "secret");
    assert_true(netloop_until(&w.net, up_once, n, 1000));
    close(fd);
    world_fini(&w);
}

/* ---- a peer that does not read ---- */

static void test_peer_that_does_not_read(void **state) {
    test_world w;
    np_peers_config config = base_config("m@127.0.0.1");
    enum { TERM = 10005, SOFT = 1 << 20, HARD = 4 << 20 };
    (void)state;
    config.out_soft_bytes = SOFT;
    config.out_hard_bytes = HARD;
    world_init(&w);
    test_node *n = world_add(&w, &config);
    int fd = raw_connect(&w, n, "a@127.0.0.1", "secret");
    assert_true(netloop_until(&w.net, up_once, n, 1000));
    np_node_id peer = np_name_id("a@127.0.0.1");
    uint8_t *term = calloc(1, TERM);
    assert_non_null(term);
    term[0] = 109; /* a binary */
    np_put_u32(term + 1, TERM - 5);
    long before = netloop_rss_kib();
    int result = 0;
    size_t sent = 0;
    for (int i = 0; i < 20000 && result == 0; i++) {
        result = send_binary(n, peer, term, TERM, NP_SEND_NORMAL);
        if (result == 0)
            sent++;
        if (i % 100 == 99)
            netloop_for(&w.net, 1);
    }
    assert_int_equal(result, NP_EOVERLOAD);
    assert_true(sent * TERM >= HARD);
    np_peers_stats stats;
    np_peers_get_stats(n->peers, &stats);
    assert_in_range(stats.queued_bytes, HARD - 2 * TERM, HARD + 2 * TERM);
    assert_true(netloop_rss_kib() - before < 64 << 10);
    assert_int_equal(n->downs, 0);
    /* What must not fail has a reserve; past that the connection is closed, from the loop. */
    result = 0;
    for (int i = 0; i < 20000 && result == 0; i++)
        result = send_binary(n, peer, term, TERM, NP_SEND_URGENT);
    assert_int_equal(result, NP_EOVERLOAD);
    assert_int_equal(n->downs, 0);
    assert_true(netloop_until(&w.net, down_once, n, 1000));
    np_peers_get_stats(n->peers, &stats);
    assert_int_equal(stats.queued_bytes, 0);
    free(term);
    close(fd);
    world_fini(&w);
}

/* Two nodes that flood each other with what is echoed: both stop reading at times, neither for ever. */
static bool all_echoed(void *arg) {
    test_world *w = arg;
    return w->nodes[1].messages >= 300;
}

static void test_flood_between_nodes_that_pause_each_other(void **state) {
    test_world w;
    np_peers_config first = base_config("a@127.0.0.1"), second = base_config("z@127.0.0.1");
    enum { TERM = 200005 };
    (void)state;
    first.out_soft_bytes = second.out_soft_bytes = 512 << 10;
    start_pair(&w, &first, &second);
    test_node *a = &w.nodes[0], *z = &w.nodes[1];
    assert_true(netloop_until(&w.net, first_two_linked, &w, 2000));
    uint8_t *term = calloc(1, TERM);
    assert_non_null(term);
    term[0] = 109;
    np_put_u32(term + 1, TERM - 5);
    a->echo = true;
    for (int i = 0; i < 300; i++)
        assert_int_equal(send_binary(z, np_name_id(a->name), term, TERM, NP_SEND_NORMAL), 0);
    assert_true(netloop_until(&w.net, all_echoed, &w, 30000));
    assert_int_equal(a->messages, 300);
    assert_int_equal(z->bytes, 300 * (size_t)TERM);
    assert_true(first_two_linked(&w));
    free(term);
    world_fini(&w);
}

/* ---- ticks ---- */

static void test_idle_connection_is_kept_by_ticks_and_dead_one_is_dropped(void **state) {
    test_world w;
    np_peers_config first = base_config("a@127.0.0.1"), second = base_config("z@127.0.0.1");
    (void)state;
    first.ticktime_ms = second.ticktime_ms = 400;
    start_pair(&w, &first, &second);
    assert_true(netloop_until(&w.net, first_two_linked, &w, 2000));
    netloop_for(&w.net, 1500);
    assert_int_equal(w.nodes[0].downs + w.nodes[1].downs, 0);
    np_peers_stats stats;
    np_peers_get_stats(w.nodes[0].peers, &stats);
    assert_in_range(stats.traffic.ticks_out, 10, 20);
    int fd = raw_connect(&w, &w.nodes[0], "m@127.0.0.1", "secret");
    assert_true(netloop_until(&w.net, up_twice, &w.nodes[0], 1000));
    netloop_for(&w.net, 1000);
    assert_int_equal(w.nodes[0].downs, 1);
    assert_int_equal(w.nodes[1].downs, 0);
    close(fd);
    world_fini(&w);
}

/* ---- epmd ---- */

/* An epmd of our own, in the same loop. */
typedef struct fake_client {
    np_stream *stream;
    struct fake_epmd *epmd;
    char name[64];
    uint16_t port;
    bool registered;
} fake_client;

typedef struct fake_epmd {
    np_listener *listener;
    np_loop *loop;
    uint16_t port;
    fake_client clients[64];
    size_t count;
    int registrations;
    bool deaf; /* accepts, never answers */
} fake_epmd;

static void fake_register(fake_epmd *epmd, fake_client *c, const uint8_t *data) {
    uint8_t answer[6] = {118, 0, 0, 0, 0, 77};
    uint16_t len = np_get_u16(data + 9 + 2);
    snprintf(c->name, sizeof(c->name), "%.*s", (int)len, (const char *)data + 13);
    for (size_t i = 0; i < epmd->count; i++)
        if (epmd->clients[i].registered && strcmp(epmd->clients[i].name, c->name) == 0)
            answer[1] = 1;
    c->port = np_get_u16(data + 3);
    c->registered = answer[1] == 0;
    epmd->registrations += c->registered;
    const np_bytes span = {answer, 6};
    np_stream_write(c->stream, &span, 1);
}

static void fake_look_up(fake_epmd *epmd, fake_client *c, const uint8_t *data, size_t len) {
    uint8_t answer[128] = {119, 1};
    size_t answer_len = 2;
    for (size_t i = 0; i < epmd->count; i++) {
        const fake_client *other = &epmd->clients[i];
        if (!other->registered || strlen(other->name) != len - 3 || memcmp(other->name, data + 3, len - 3) != 0)
            continue;
        answer[1] = 0;
        np_put_u16(answer + 2, other->port);
        answer[4] = 72;
        np_put_u16(answer + 6, 6);
        np_put_u16(answer + 8, 5);
        np_put_u16(answer + 10, (uint16_t)(len - 3));
        memcpy(answer + 12, data + 3, len - 3);
        answer_len = 12 + (len - 3) + 2;
    }
    const np_bytes span = {answer, answer_len};
    np_stream_write(c->stream, &span, 1);
    np_stream_close(&c->stream);
}

static void fake_data(void *arg, const uint8_t *data, size_t len) {
    fake_client *c = arg;
    if (c->epmd->deaf)
        return;
    if (data[2] == 120)
        fake_register(c->epmd, c, data);
    else if (data[2] == 122)
        fake_look_up(c->epmd, c, data, len);
}

static void fake_closed(void *arg, int error, const char *why) {
    fake_client *c = arg;
    (void)error;
    (void)why;
    c->stream = NULL;
    c->registered = false;
}

static void fake_accepted(void *arg, np_stream *stream) {
    static const np_stream_events events = {.data = fake_data, .closed = fake_closed};
    fake_epmd *epmd = arg;
    assert_true(epmd->count < 64);
    fake_client *c = &epmd->clients[epmd->count++];
    memset(c, 0, sizeof(*c));
    c->stream = stream;
    c->epmd = epmd;
    np_stream_adopt(stream, &events, c);
}

static void fake_start(fake_epmd *epmd, np_loop *loop, uint16_t port) {
    memset(epmd, 0, sizeof(*epmd));
    epmd->loop = loop;
    assert_int_equal(np_listener_new(&epmd->listener, loop, "127.0.0.1", port, &epmd->port, fake_accepted, epmd), 0);
}

static void fake_stop(fake_epmd *epmd) {
    np_listener_close(&epmd->listener);
    for (size_t i = 0; i < epmd->count; i++)
        np_stream_close(&epmd->clients[i].stream);
}

static bool both_ready(void *arg) {
    test_world *w = arg;
    return np_peers_ready(w->nodes[0].peers) && np_peers_ready(w->nodes[1].peers);
}

static bool registered_twice(void *arg) { return ((fake_epmd *)arg)->registrations == 2; }
static bool registered_once_more(void *arg) { return ((fake_epmd *)arg)->registrations >= 1; }
static bool has_failed(void *arg) { return np_peers_failed(((test_node *)arg)->peers) != NULL; }

static void test_nodes_find_each_other_through_epmd_and_survive_its_restart(void **state) {
    test_world w;
    fake_epmd epmd;
    const char *const seed = "z@127.0.0.1";
    (void)state;
    world_init(&w);
    fake_start(&epmd, w.net.loop, 0);
    np_peers_config first = base_config("a@127.0.0.1"), second = base_config("z@127.0.0.1");
    first.epmd = second.epmd = true;
    first.epmd_port = second.epmd_port = epmd.port;
    first.seeds = &seed;
    first.seeds_len = 1;
    world_add(&w, &first);
    assert_false(np_peers_ready(w.nodes[0].peers));
    netloop_for(&w.net, 300); /* z is not known yet */
    world_add(&w, &second);
    assert_true(netloop_until(&w.net, both_ready, &w, 2000));
    assert_true(netloop_until(&w.net, first_two_linked, &w, 2000));
    assert_int_equal(epmd.registrations, 2);

    uint16_t port = epmd.port;
    fake_stop(&epmd);
    netloop_for(&w.net, 200);
    assert_true(first_two_linked(&w)); /* nobody needs epmd to stay connected */
    assert_true(both_ready(&w));
    fake_start(&epmd, w.net.loop, port);
    assert_true(netloop_until(&w.net, registered_twice, &epmd, 3000));
    np_peers_drain(w.nodes[0].peers);
    netloop_for(&w.net, 20);
    assert_int_equal(epmd.clients[0].registered + epmd.clients[1].registered, 1);
    for (size_t i = 0; i < 2; i++)
        np_peers_destroy(&w.nodes[i].peers);
    fake_stop(&epmd);
    world_fini(&w);
}

static void test_name_taken_in_epmd_is_reported(void **state) {
    test_world w;
    fake_epmd epmd;
    (void)state;
    world_init(&w);
    fake_start(&epmd, w.net.loop, 0);
    np_peers_config config = base_config("a@127.0.0.1");
    config.epmd = true;
    config.epmd_port = epmd.port;
    test_node *first = world_add(&w, &config);
    assert_true(netloop_until(&w.net, registered_once_more, &epmd, 2000));
    test_node *second = world_add(&w, &config);
    assert_true(netloop_until(&w.net, has_failed, second, 4000));
    assert_false(np_peers_ready(second->peers));
    assert_non_null(strstr(np_peers_failed(second->peers), "another node"));
    /* It goes on trying, for a program that prefers to wait. */
    np_peers_destroy(&first->peers);
    netloop_for(&w.net, 1300);
    assert_true(np_peers_ready(second->peers));
    assert_null(np_peers_failed(second->peers));
    for (size_t i = 0; i < 2; i++)
        np_peers_destroy(&w.nodes[i].peers);
    fake_stop(&epmd);
    world_fini(&w);
}

/* ---- config ---- */

static void test_bad_configs_are_refused_with_a_text(void **state) {
    test_world w;
    np_peers *peers = NULL;
    const np_peers_events events = {0};
    char why[256];
    const char *const bad_seed = "no-at-sign";
    (void)state;
    world_init(&w);
    np_peers_config config = base_config("nonsense");
    assert_int_equal(np_peers_new(&peers, w.net.loop, &config, &events, why, sizeof(why)), NP_EINVAL);
    assert_non_null(strstr(why, "nonsense"));
    config = base_config("a@127.0.0.1");
    config.cookie = NULL;
    assert_int_equal(np_peers_new(&peers, w.net.loop, &config, &events, why, sizeof(why)), NP_EINVAL);
    assert_non_null(strstr(why, "cookie"));
    config = base_config("a@127.0.0.1");
    config.seeds = &bad_seed;
    config.seeds_len = 1;
    assert_int_equal(np_peers_new(&peers, w.net.loop, &config, &events, why, sizeof(why)), NP_EINVAL);
    assert_non_null(strstr(why, "no-at-sign"));
    uint16_t port;
    int taken = netloop_listen(0, &port);
    config = base_config("a@127.0.0.1");
    config.port = port;
    assert_int_equal(np_peers_new(&peers, w.net.loop, &config, &events, why, sizeof(why)), 0);
    assert_int_equal(np_peers_start(peers, why, sizeof(why)), NP_EEXIST);
    assert_non_null(strstr(why, "in use"));
    close(taken);
    np_peers_destroy(&peers);
    world_fini(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_nodes_connect_and_talk),
        cmocka_unit_test(test_simultaneous_dials_end_in_one_connection),
        cmocka_unit_test(test_dials_shortly_after_one_another),
        cmocka_unit_test(test_three_nodes_form_a_mesh),
        cmocka_unit_test(test_wrong_cookie_is_refused),
        cmocka_unit_test(test_cookies_per_peer),
        cmocka_unit_test(test_disconnect_and_redial),
        cmocka_unit_test(test_seed_that_restarts_is_found_again),
        cmocka_unit_test(test_drain_keeps_connections_and_takes_no_new_ones),
        cmocka_unit_test(test_drain_from_inside_down),
        cmocka_unit_test(test_duplicate_connection_replaces_the_old_one),
        cmocka_unit_test(test_unauthenticated_duplicate_changes_nothing),
        cmocka_unit_test(test_bytes_behind_the_handshake_are_the_sessions),
        cmocka_unit_test(test_silent_and_broken_connections_are_closed),
        cmocka_unit_test(test_a_thousand_rubbish_connections),
        cmocka_unit_test(test_too_many_handshakes_at_once),
        cmocka_unit_test(test_peer_that_does_not_read),
        cmocka_unit_test(test_flood_between_nodes_that_pause_each_other),
        cmocka_unit_test(test_idle_connection_is_kept_by_ticks_and_dead_one_is_dropped),
        cmocka_unit_test(test_nodes_find_each_other_through_epmd_and_survive_its_restart),
        cmocka_unit_test(test_name_taken_in_epmd_is_reported),
        cmocka_unit_test(test_bad_configs_are_refused_with_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
