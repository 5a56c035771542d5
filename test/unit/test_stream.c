/*
 * test_stream.c - TCP streams and listeners over real sockets on the loopback.
 */
#include "uv/stream.h"

#include "netloop.h"

#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* One end of a connection, remembering what has happened to it. */
typedef struct end {
    np_stream *stream;
    int connected;
    size_t received;
    uint8_t sum; /* of all bytes received */
    size_t written_later;
    int closed;
    int error;
    char why[128];
    bool close_on_data;
} end;

static void on_connected(void *arg) { ((end *)arg)->connected++; }

static void on_data(void *arg, const uint8_t *data, size_t len) {
    end *e = arg;
    e->received += len;
    for (size_t i = 0; i < len; i++)
        e->sum = (uint8_t)(e->sum + data[i]);
    if (e->close_on_data)
        np_stream_close(&e->stream);
}

static void on_written(void *arg, size_t bytes) { ((end *)arg)->written_later += bytes; }

static void on_closed(void *arg, int error, const char *why) {
    end *e = arg;
    e->stream = NULL;
    e->closed++;
    e->error = error;
    strncpy(e->why, why, sizeof(e->why) - 1);
}

static const np_stream_events events = {
    .connected = on_connected, .data = on_data, .written = on_written, .closed = on_closed};

typedef struct pair {
    netloop net;
    np_listener *listener;
    uint16_t port;
    end client;
    end server;
    int accepted;
} pair;

static void on_accepted(void *arg, np_stream *stream) {
    pair *p = arg;
    p->accepted++;
    if (p->server.stream != NULL) {
        np_stream_close(&stream);
        return;
    }
    p->server.stream = stream;
    np_stream_adopt(stream, &events, &p->server);
}

static void pair_listen(pair *p, const char *address) {
    memset(p, 0, sizeof(*p));
    netloop_init(&p->net);
    assert_int_equal(np_listener_new(&p->listener, p->net.loop, address, 0, &p->port, on_accepted, p), 0);
    assert_int_not_equal(p->port, 0);
}

static bool both_there(void *arg) {
    pair *p = arg;
    return p->client.connected == 1 && p->server.stream != NULL;
}

static void pair_connect(pair *p, const char *host) {
    assert_int_equal(np_stream_connect(&p->client.stream, p->net.loop, host, p->port, &events, &p->client), 0);
    assert_true(netloop_until(&p->net, both_there, p, 3000));
}

static void pair_fini(pair *p) {
    np_stream_close(&p->client.stream);
    np_stream_close(&p->server.stream);
    np_listener_close(&p->listener);
    netloop_fini(&p->net);
}

static bool server_got_5(void *arg) { return ((pair *)arg)->server.received == 5; }
static bool client_closed(void *arg) { return ((pair *)arg)->client.closed > 0; }
static bool server_closed(void *arg) { return ((pair *)arg)->server.closed > 0; }

static void test_bytes_go_both_ways(void **state) {
    pair p;
    (void)state;
    pair_listen(&p, "127.0.0.1");
    pair_connect(&p, "127.0.0.1");
    const np_bytes spans[] = {{(const uint8_t *)"he", 2}, {(const uint8_t *)"llo", 3}};
    assert_int_equal(np_stream_write(p.client.stream, spans, 2), 5);
    assert_false(np_stream_busy(p.client.stream));
    assert_true(netloop_until(&p.net, server_got_5, &p, 1000));
    assert_int_equal(p.server.sum, (uint8_t)('h' + 'e' + 'l' + 'l' + 'o'));
    assert_string_equal(np_stream_peer_address(p.server.stream), "127.0.0.1");
    assert_string_equal(np_stream_peer_address(p.client.stream), "127.0.0.1");
    np_stream_close(&p.server.stream);
    assert_null(p.server.stream);
    assert_true(netloop_until(&p.net, client_closed, &p, 1000));
    assert_int_equal(p.client.error, NP_ECLOSED);
    assert_int_equal(p.server.closed, 0); /* its owner closed it */
    pair_fini(&p);
}

/* A bare system may have no /etc/hosts, and so no localhost, and no IPv6. */
static bool is_there(const char *host) {
    struct addrinfo *addresses = NULL;
    bool resolves = getaddrinfo(host, NULL, NULL, &addresses) == 0;
    if (resolves)
        freeaddrinfo(addresses);
    return resolves && (strcmp(host, "::1") != 0 || access("/proc/net/if_inet6", F_OK) == 0);
}

static void test_listener_on_all_addresses_takes_both_families(void **state) {
    static const char *const hosts[] = {"127.0.0.1", "localhost", "::1"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        pair p;
        if (!is_there(hosts[i]))
            continue;
        pair_listen(&p, NULL);
        pair_connect(&p, hosts[i]);
        if (i == 0)
            assert_string_equal(np_stream_peer_address(p.server.stream), "127.0.0.1");
        pair_fini(&p);
    }
}

/* Only 127.0.0.1 listens; localhost may have ::1 as its first address. */
static void test_every_address_of_a_name_is_tried(void **state) {
    pair p;
    (void)state;
    if (!is_there("localhost"))
        skip();
    pair_listen(&p, "127.0.0.1");
    pair_connect(&p, "localhost");
    assert_int_equal(p.client.closed, 0);
    pair_fini(&p);
}

static void test_failed_connects_say_why(void **state) {
    pair p;
    uint16_t port;
    (void)state;
    pair_listen(&p, "127.0.0.1");
    close(netloop_listen(0, &port)); /* a port nobody listens on */
    assert_int_equal(np_stream_connect(&p.client.stream, p.net.loop, "127.0.0.1", port, &events, &p.client), 0);
    assert_true(netloop_until(&p.net, client_closed, &p, 1000));
    assert_int_equal(p.client.error, NP_ENOCONN);
    assert_int_equal(p.client.connected, 0);

    memset(&p.client, 0, sizeof(p.client));
    assert_int_equal(np_stream_connect(&p.client.stream, p.net.loop, "no-such-host.invalid", 1, &events, &p.client), 0);
    assert_true(netloop_until(&p.net, client_closed, &p, 40000));
    assert_int_equal(p.client.error, NP_ENOENT);
    pair_fini(&p);
}

static void test_bad_addresses_and_used_ports_are_refused(void **state) {
    pair p;
    np_listener *other = NULL;
    (void)state;
    pair_listen(&p, "127.0.0.1");
    assert_int_equal(np_listener_new(&other, p.net.loop, "127.0.0.1", p.port, NULL, on_accepted, &p), NP_EEXIST);
    assert_int_equal(np_listener_new(&other, p.net.loop, "192.0.2.1", 0, NULL, on_accepted, &p), NP_EINVAL);
    assert_null(other);
    pair_fini(&p);
}

/* ---- more than the socket takes ---- */

enum { BULK = 24 << 20 };

static bool bulk_arrived(void *arg) { return ((pair *)arg)->server.received >= BULK; }

static void test_bulk_is_written_in_part_and_then_the_rest(void **state) {
    pair p;
    (void)state;
    pair_listen(&p, "127.0.0.1");
    pair_connect(&p, "127.0.0.1");
    uint8_t *bytes = malloc(BULK);
    assert_non_null(bytes);
    uint8_t sum = 0;
    for (size_t i = 0; i < BULK; i++) {
        bytes[i] = (uint8_t)(i * 7 + (i >> 10));
        sum = (uint8_t)(sum + bytes[i]);
    }
    const np_bytes spans[] = {{bytes, 100}, {bytes + 100, BULK - 100}};
    int64_t at_once = np_stream_write(p.client.stream, spans, 2);
    assert_in_range(at_once, 1, BULK - 1);
    assert_true(np_stream_busy(p.client.stream));
    assert_true(netloop_until(&p.net, bulk_arrived, &p, 20000));
    netloop_for(&p.net, 20);
    assert_int_equal(p.client.written_later, BULK - at_once);
    assert_false(np_stream_busy(p.client.stream));
    assert_int_equal(p.server.received, BULK);
    assert_int_equal(p.server.sum, sum);
    free(bytes);
    pair_fini(&p);
}

static void test_paused_stream_is_not_read(void **state) {
    pair p;
    (void)state;
    pair_listen(&p, "127.0.0.1");
    pair_connect(&p, "127.0.0.1");
    np_stream_read_pause(p.server.stream, true);
    const np_bytes span = {(const uint8_t *)"hello", 5};
    assert_int_equal(np_stream_write(p.client.stream, &span, 1), 5);
    netloop_for(&p.net, 30);
    assert_int_equal(p.server.received, 0);
    np_stream_read_pause(p.server.stream, false);
    assert_true(netloop_until(&p.net, server_got_5, &p, 1000));
    pair_fini(&p);
}

static bool server_got_10(void *arg) { return ((pair *)arg)->server.received == 10; }

static void test_watermark_waits_for_enough_or_the_end(void **state) {
    pair p;
    (void)state;
    pair_listen(&p, "127.0.0.1");
    pair_connect(&p, "127.0.0.1");
    const np_bytes span = {(const uint8_t *)"hello", 5};
    np_stream_read_watermark(p.server.stream, 10);
    assert_int_equal(np_stream_write(p.client.stream, &span, 1), 5);
    netloop_for(&p.net, 30);
    assert_int_equal(p.server.received, 0);
    assert_int_equal(np_stream_write(p.client.stream, &span, 1), 5);
    assert_true(netloop_until(&p.net, server_got_10, &p, 1000));
    /* Lowered again, what is there comes at once; at the end of the stream, whatever there is. */
    assert_int_equal(np_stream_write(p.client.stream, &span, 1), 5);
    netloop_for(&p.net, 30);
    assert_int_equal(p.server.received, 10);
    np_stream_read_watermark(p.server.stream, 1);
    netloop_for(&p.net, 30);
    assert_int_equal(p.server.received, 15);
    np_stream_read_watermark(p.server.stream, 10);
    assert_int_equal(np_stream_write(p.client.stream, &span, 1), 5);
    np_stream_close(&p.client.stream);
    assert_true(netloop_until(&p.net, server_closed, &p, 1000));
    assert_int_equal(p.server.received, 20);
    pair_fini(&p);
}

/* What one turn reads from one stream is bounded, however much there is. */
typedef struct bounded {
    pair p;
    size_t seen;
    size_t most;
} bounded;

static void note_turn(void *arg) {
    bounded *b = arg;
    size_t got = b->p.server.received - b->seen;
    if (got > b->most)
        b->most = got;
    b->seen = b->p.server.received;
}

static void test_one_turn_reads_a_bounded_amount(void **state) {
    bounded b = {0};
    (void)state;
    pair_listen(&b.p, "127.0.0.1");
    pair_connect(&b.p, "127.0.0.1");
    b.p.net.turn = note_turn;
    b.p.net.arg = &b;
    uint8_t *bytes = calloc(1, BULK);
    assert_non_null(bytes);
    np_stream_read_pause(b.p.server.stream, true);
    const np_bytes span = {bytes, BULK};
    assert_true(np_stream_write(b.p.client.stream, &span, 1) > 0);
    netloop_for(&b.p.net, 50);
    np_stream_read_pause(b.p.server.stream, false);
    assert_true(netloop_until(&b.p.net, bulk_arrived, &b.p, 20000));
    assert_in_range(b.most, 1, NP_STREAM_TURN_BYTES + NP_STREAM_READ_BYTES);
    free(bytes);
    pair_fini(&b.p);
}

/* ---- closing ---- */

static bool client_gone(void *arg) { return ((pair *)arg)->client.closed > 0; }

static void test_closing_inside_the_data_callback(void **state) {
    pair p;
    (void)state;
    pair_listen(&p, "127.0.0.1");
    pair_connect(&p, "127.0.0.1");
    p.server.close_on_data = true;
    const np_bytes span = {(const uint8_t *)"hello", 5};
    assert_int_equal(np_stream_write(p.client.stream, &span, 1), 5);
    assert_true(netloop_until(&p.net, client_gone, &p, 1000));
    assert_int_equal(p.server.received, 5);
    assert_null(p.server.stream);
    assert_int_equal(p.server.closed, 0);
    pair_fini(&p);
}

static void test_closing_while_connecting_resolving_and_writing(void **state) {
    pair p;
    np_stream *stream;
    (void)state;
    pair_listen(&p, "127.0.0.1");
    pair_connect(&p, "127.0.0.1");
    end other = {0};
    assert_int_equal(np_stream_connect(&stream, p.net.loop, "127.0.0.1", p.port, &events, &other), 0);
    np_stream_close(&stream);
    assert_int_equal(np_stream_connect(&stream, p.net.loop, "localhost", p.port, &events, &other), 0);
    np_stream_close(&stream);
    uint8_t *bytes = calloc(1, BULK);
    assert_non_null(bytes);
    const np_bytes span = {bytes, BULK};
    assert_true(np_stream_write(p.client.stream, &span, 1) > 0);
    assert_true(np_stream_busy(p.client.stream));
    np_stream_close(&p.client.stream);
    free(bytes); /* the spans need not stay once the stream is closed */
    assert_true(netloop_until(&p.net, server_closed, &p, 5000));
    assert_int_equal(other.connected + other.closed, 0);
    assert_int_equal(p.client.closed, 0);
    pair_fini(&p);
}

/* A reset connection: writing fails, and the owner is told once and not from inside the write. */
static void test_write_to_a_reset_connection_reports_closed_once(void **state) {
    pair p;
    (void)state;
    pair_listen(&p, "127.0.0.1");
    int fd = netloop_dial(p.port);
    p.client.connected = 1;
    assert_true(netloop_until(&p.net, both_there, &p, 1000));
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    np_stream_read_pause(p.server.stream, true);
    close(fd);
    const np_bytes span = {(const uint8_t *)"hello", 5};
    int64_t result = 0;
    for (int i = 0; i < 20 && result >= 0; i++) {
        result = np_stream_write(p.server.stream, &span, 1);
        usleep(1000);
    }
    assert_true(result < 0);
    assert_int_equal(p.server.closed, 0);
    assert_true(netloop_until(&p.net, server_closed, &p, 1000));
    assert_int_equal(p.server.closed, 1);
    pair_fini(&p);
}

static void test_addresses_are_told_from_names(void **state) {
    (void)state;
    assert_true(np_address_is_numeric("127.0.0.1"));
    assert_true(np_address_is_numeric("::1"));
    assert_false(np_address_is_numeric("localhost"));
    assert_false(np_address_is_numeric("1.2.3.4.example.org"));
    assert_false(np_address_is_numeric(""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_go_both_ways),
        cmocka_unit_test(test_listener_on_all_addresses_takes_both_families),
        cmocka_unit_test(test_every_address_of_a_name_is_tried),
        cmocka_unit_test(test_failed_connects_say_why),
        cmocka_unit_test(test_bad_addresses_and_used_ports_are_refused),
        cmocka_unit_test(test_bulk_is_written_in_part_and_then_the_rest),
        cmocka_unit_test(test_paused_stream_is_not_read),
        cmocka_unit_test(test_watermark_waits_for_enough_or_the_end),
        cmocka_unit_test(test_one_turn_reads_a_bounded_amount),
        cmocka_unit_test(test_closing_inside_the_data_callback),
        cmocka_unit_test(test_closing_while_connecting_resolving_and_writing),
        cmocka_unit_test(test_write_to_a_reset_connection_reports_closed_once),
        cmocka_unit_test(test_addresses_are_told_from_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
