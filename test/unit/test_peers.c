/*
 * test_peers.c - nodes that connect to each other: several np_peers in one loop.
 */
#include "base/rng.h"
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
    assert_int_equal(send_term(z, a_id, term, sizeof(term), NP_SEND_NORMAL), 0);
    netloop_for(&w.net, 50);
    assert_int_equal(a->messages, 1);
    assert_int_equal(z->messages, 1);
    assert_int_equal(send_term(z, np_name_id("nobody@127.0.0.1"), term, sizeof(term), NP_SEND_NORMAL), NP_ENOCONN);

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
    assert_int_equal(send_term(a, np_name_id(z->name), (const uint8_t *)"\x61\x01", 2, NP_SEND_NORMAL), NP_ENOCONN);
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
    assert_int_equal(send_term(z, np_name_id(a->name), term, 2, NP_SEND_NORMAL), 0);
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
    world_down(arg, peer, reason);
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
    const np_peers_events of_a = {.arg = a, .up = world_up, .down = drain_on_down, .control = world_control};
    const np_peers_events of_z = {.arg = z, .up = world_up, .down = world_down, .control = world_control};
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

/* Whoever has been stopped for longer than the tick time must not take its own silence for the peer's. */
static void test_own_standstill_is_not_the_peers_silence(void **state) {
    test_world w;
    np_peers_config first = base_config("a@127.0.0.1"), second = base_config("z@127.0.0.1");
    (void)state;
    first.ticktime_ms = second.ticktime_ms = 400;
    start_pair(&w, &first, &second);
    assert_true(netloop_until(&w.net, first_two_linked, &w, 2000));
    usleep(1700000);
    netloop_for(&w.net, 1000);
    assert_int_equal(w.nodes[0].downs + w.nodes[1].downs, 0);
    world_fini(&w);
}

/* ---- floods ---- */

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
        assert_int_equal(send_term(z, np_name_id(a->name), term, TERM, NP_SEND_NORMAL), 0);
    assert_true(netloop_until(&w.net, all_echoed, &w, 30000));
    assert_int_equal(a->messages, 300);
    assert_int_equal(z->bytes, 300 * (size_t)TERM);
    assert_true(first_two_linked(&w));
    free(term);
    world_fini(&w);
}

/* ---- at random ---- */

static void start_random(test_world *w, size_t i, const np_peer_port *ports) {
    np_peers_config config = base_config(known_names[i]);
    char why[256];
    test_node *n = &w->nodes[i];
    memset(n, 0, sizeof(*n));
    n->name = known_names[i];
    n->echo = i == 0;
    config.port = ports[i].port;
    config.ports = ports;
    config.ports_len = 3;
    config.seeds = known_names;
    config.seeds_len = 3;
    const np_peers_events events = {.arg = n, .up = world_up, .down = world_down, .control = world_control};
    assert_int_equal(np_peers_new(&n->peers, w->net.loop, &config, &events, why, sizeof(why)), 0);
    assert_int_equal(np_peers_start(n->peers, why, sizeof(why)), 0);
}

/* One thing that may happen to a node; its events must stay in order whatever follows. */
static void random_step(test_world *w, np_rng *rng, const np_peer_port *ports) {
    size_t i = np_rng_below(rng, 3);
    test_node *n = &w->nodes[i];
    np_node_id other = np_name_id(known_names[(i + 1 + np_rng_below(rng, 2)) % 3]);
    uint8_t term[300] = {109, 0, 0, 1, 39};
    switch (np_rng_below(rng, 8)) {
    case 0: np_peers_disconnect(n->peers, other, "at random"); break;
    case 1: assert_int_equal(np_peers_dial(n->peers, other), 0); break;
    case 2: /* dies, and comes back at once */
        assert_int_equal(n->balance_errors, 0);
        np_peers_destroy(&n->peers);
        start_random(w, i, ports);
        break;
    case 3: { /* somebody else calls */
        int fd = netloop_dial(ports[i].port);
        size_t len = name_message(term, known_names[np_rng_below(rng, 3)], NP_DFLAGS_OURS);
        assert_true(write(fd, term, len - np_rng_below(rng, 5)) > 0);
        if (np_rng_below(rng, 2) == 0)
            netloop_for(&w->net, 2);
        close(fd);
        break;
    }
    default: /* some say something */
        for (int k = 0; k < 50; k++)
            send_term(n, other, term, sizeof(term), k % 2 ? NP_SEND_NORMAL : NP_SEND_URGENT);
        break;
    }
    netloop_for(&w->net, (uint32_t)np_rng_below(rng, 12));
}

static void test_random_lives_end_in_a_mesh(void **state) {
    test_world w;
    np_peer_port ports[3];
    np_rng rng;
    (void)state;
    np_rng_seed(&rng, 42);
    world_init(&w);
    for (size_t i = 0; i < 3; i++)
        ports[i] = (np_peer_port){known_names[i], free_port()};
    for (size_t i = 0; i < 3; i++)
        start_random(&w, i, ports);
    w.count = 3;
    for (int step = 0; step < 400; step++)
        random_step(&w, &rng, ports);
    assert_true(netloop_until(&w.net, three_linked, &w, 10000));
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
        cmocka_unit_test(test_bad_configs_are_refused_with_a_text),
        cmocka_unit_test(test_own_standstill_is_not_the_peers_silence),
        cmocka_unit_test(test_flood_between_nodes_that_pause_each_other),
        cmocka_unit_test(test_random_lives_end_in_a_mesh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
