/*
 * test_peer.c - connections that misbehave: raw sockets that are silent, stall, talk rubbish, come twice or do not
 * read.
 */
#include "base/limits.h"
#include "dist/handshake.h"
#include "peerworld.h"

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
        result = send_term(n, peer, term, TERM, NP_SEND_NORMAL);
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
        result = send_term(n, peer, term, TERM, NP_SEND_URGENT);
    assert_int_equal(result, NP_EOVERLOAD);
    assert_int_equal(n->downs, 0);
    assert_true(netloop_until(&w.net, down_once, n, 1000));
    np_peers_get_stats(n->peers, &stats);
    assert_int_equal(stats.queued_bytes, 0);
    free(term);
    close(fd);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_duplicate_connection_replaces_the_old_one),
        cmocka_unit_test(test_unauthenticated_duplicate_changes_nothing),
        cmocka_unit_test(test_bytes_behind_the_handshake_are_the_sessions),
        cmocka_unit_test(test_silent_and_broken_connections_are_closed),
        cmocka_unit_test(test_a_thousand_rubbish_connections),
        cmocka_unit_test(test_too_many_handshakes_at_once),
        cmocka_unit_test(test_peer_that_does_not_read),
        cmocka_unit_test(test_idle_connection_is_kept_by_ticks_and_dead_one_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
