/*
 * test_epmd_client.c - registration and look-ups against an epmd of our own, in the same loop, and against others that are
 * none.
 */
#include "base/buf.h"
#include "base/limits.h"
#include "base/log.h"
#include "node/epmd_client.h"
#include "peerworld.h"
#include "uv/stream.h"

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

/* ---- an epmd that is none, or not there ---- */

typedef struct answer {
    int calls;
    int error;
    char address[64];
    uint16_t port;
} answer;

static void on_answer(void *arg, int error, const char *why, const char *address, uint16_t port) {
    answer *a = arg;
    assert_true(error == 0 || why[0] != '\0');
    a->calls++;
    a->error = error;
    a->port = port;
    snprintf(a->address, sizeof(a->address), "%s", address);
}

static bool answered(void *arg) { return ((answer *)arg)->calls > 0; }

/* Answers whatever comes first with the same bytes, and closes. */
typedef struct echo_epmd {
    np_listener *listener;
    np_stream *stream;
    uint16_t port;
    np_bytes says;
} echo_epmd;

static void echo_data(void *arg, const uint8_t *data, size_t len) {
    echo_epmd *e = arg;
    (void)data;
    (void)len;
    np_stream_write(e->stream, &e->says, 1);
    np_stream_close(&e->stream);
}

static void echo_closed(void *arg, int error, const char *why) {
    (void)error;
    (void)why;
    ((echo_epmd *)arg)->stream = NULL;
}

static void echo_accepted(void *arg, np_stream *stream) {
    static const np_stream_events events = {.data = echo_data, .closed = echo_closed};
    echo_epmd *e = arg;
    np_stream_close(&e->stream);
    e->stream = stream;
    np_stream_adopt(stream, &events, e);
}

static void test_lookups_end_whatever_epmd_says(void **state) {
    static const uint8_t good[] = {119, 0, 0x12, 0x34, 77, 0, 0, 6, 0, 5, 0, 1, 'x', 0, 0};
    static const uint8_t cut[] = {119, 0, 0x12, 0x34, 77};
    static const uint8_t unknown[] = {119, 1};
    static const uint8_t rubbish[] = {'H', 'T', 'T', 'P', '/', '1', '.', '1'};
    static uint8_t endless[5000] = {119, 0, 0x12, 0x34, 77, 0, 0, 6, 0, 5, 0xFF, 0xFF};
    const struct {
        np_bytes says;
        int error;
    } cases[] = {
        {{good, sizeof(good)}, 0},
        {{cut, sizeof(cut)}, NP_ECLOSED},
        {{unknown, sizeof(unknown)}, NP_ENOENT},
        {{rubbish, sizeof(rubbish)}, NP_EPROTO},
        {{endless, sizeof(endless)}, NP_EPROTO},
    };
    netloop net;
    (void)state;
    netloop_init(&net);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        echo_epmd epmd = {.says = cases[i].says};
        answer a = {0};
        np_epmd_lookup *lookup = NULL;
        assert_int_equal(np_listener_new(&epmd.listener, net.loop, "127.0.0.1", 0, &epmd.port, echo_accepted, &epmd),
                         0);
        assert_int_equal(np_epmd_lookup_new(&lookup, net.loop, "127.0.0.1", epmd.port, "x", on_answer, &a), 0);
        assert_true(netloop_until(&net, answered, &a, 2000));
        netloop_for(&net, 5);
        assert_int_equal(a.calls, 1);
        assert_int_equal(a.error, cases[i].error);
        if (a.error == 0) {
            assert_int_equal(a.port, 0x1234);
            assert_string_equal(a.address, "127.0.0.1");
        }
        np_stream_close(&epmd.stream);
        np_listener_close(&epmd.listener);
    }
    netloop_fini(&net);
}

static void test_lookup_of_a_silent_epmd_times_out_and_can_be_cancelled(void **state) {
    netloop net;
    answer a = {0}, none = {0};
    np_epmd_lookup *lookup = NULL, *cancelled = NULL;
    uint16_t port;
    (void)state;
    netloop_init(&net);
    int fd = netloop_listen(0, &port); /* connects, but nobody accepts */
    assert_int_equal(np_epmd_lookup_new(&lookup, net.loop, "127.0.0.1", port, "x", on_answer, &a), 0);
    assert_int_equal(np_epmd_lookup_new(&cancelled, net.loop, "127.0.0.1", port, "x", on_answer, &none), 0);
    netloop_for(&net, 10);
    np_epmd_lookup_cancel(&cancelled);
    assert_null(cancelled);
    assert_true(netloop_until(&net, answered, &a, NP_HANDSHAKE_MS + 1000));
    assert_int_equal(a.error, NP_ETIMEOUT);
    assert_int_equal(none.calls, 0);
    close(fd);
    netloop_fini(&net);
}

/* Without epmd (and none to be started) the client waits for one; a registration that gets rubbish is retried too. */
static void test_registration_waits_for_epmd(void **state) {
    static const uint8_t rubbish[] = {'H', 'T', 'T', 'P'};
    netloop net;
    np_epmd_client *client = NULL;
    fake_epmd epmd;
    uint16_t port = free_port();
    (void)state;
    netloop_init(&net);
    np_log_set_level(NP_LOG_CRITICAL);
    char *path = strdup(getenv("PATH"));
    setenv("PATH", "/nonexistent", 1);
    assert_int_equal(np_epmd_client_new(&client, net.loop, port, "x", 4000, true), 0);
    netloop_for(&net, 300);
    assert_false(np_epmd_client_registered(client));
    echo_epmd wrong = {.says = {rubbish, sizeof(rubbish)}};
    assert_int_equal(np_listener_new(&wrong.listener, net.loop, "127.0.0.1", port, NULL, echo_accepted, &wrong), 0);
    netloop_for(&net, 1200);
    assert_false(np_epmd_client_registered(client));
    assert_null(np_epmd_client_failed(client));
    np_stream_close(&wrong.stream);
    np_listener_close(&wrong.listener);
    fake_start(&epmd, net.loop, port);
    assert_true(netloop_until(&net, registered_once_more, &epmd, 3000));
    netloop_for(&net, 20);
    assert_true(np_epmd_client_registered(client));
    assert_string_equal(epmd.clients[0].name, "x");
    assert_int_equal(epmd.clients[0].port, 4000);
    setenv("PATH", path, 1);
    free(path);
    np_epmd_client_destroy(&client);
    fake_stop(&epmd);
    netloop_fini(&net);
}

static void test_port_of_epmd(void **state) {
    (void)state;
    setenv("ERL_EPMD_PORT", "5555", 1);
    assert_int_equal(np_epmd_port(0), 5555);
    assert_int_equal(np_epmd_port(77), 77);
    setenv("ERL_EPMD_PORT", "nonsense", 1);
    assert_int_equal(np_epmd_port(0), 4369);
    unsetenv("ERL_EPMD_PORT");
    assert_int_equal(np_epmd_port(0), 4369);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nodes_find_each_other_through_epmd_and_survive_its_restart),
        cmocka_unit_test(test_name_taken_in_epmd_is_reported),
        cmocka_unit_test(test_lookups_end_whatever_epmd_says),
        cmocka_unit_test(test_lookup_of_a_silent_epmd_times_out_and_can_be_cancelled),
        cmocka_unit_test(test_registration_waits_for_epmd),
        cmocka_unit_test(test_port_of_epmd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
