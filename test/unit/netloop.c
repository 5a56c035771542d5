/*
 * netloop.c - see netloop.h.
 */
#include "netloop.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static bool on_turn(void *arg) {
    netloop *net = arg;
    if (net->turn != NULL)
        net->turn(net->arg);
    if (net->done != NULL && net->done(net->done_arg)) {
        net->came_true = true;
        np_loop_stop(net->loop);
    }
    return false;
}

static void on_timeout(np_timer *timer, void *arg) {
    netloop *net = arg;
    (void)timer;
    np_loop_stop(net->loop);
}

void netloop_init(netloop *net) {
    memset(net, 0, sizeof(*net));
    assert_int_equal(np_loop_new(&net->loop), 0);
    np_loop_on_turn(net->loop, on_turn, net);
}

void netloop_fini(netloop *net) { np_loop_destroy(&net->loop); }

bool netloop_until(netloop *net, bool (*done)(void *arg), void *arg, uint32_t timeout_ms) {
    net->done = done;
    net->done_arg = arg;
    net->came_true = false;
    np_timers *timers = np_loop_timers(net->loop);
    assert_int_equal(np_timers_start(timers, &net->timer, np_loop_now(net->loop) + timeout_ms, on_timeout, net), 0);
    np_loop_run(net->loop);
    np_timers_stop(timers, &net->timer);
    net->done = NULL;
    return net->came_true;
}

static bool never(void *arg) {
    (void)arg;
    return false;
}

void netloop_for(netloop *net, uint32_t ms) { netloop_until(net, never, NULL, ms); }

static struct sockaddr_in loopback(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int netloop_dial(uint16_t port) {
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

int netloop_listen(uint16_t port, uint16_t *bound) {
    struct sockaddr_in address = loopback(port);
    socklen_t len = sizeof(address);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *bound = ntohs(address.sin_port);
    return fd;
}

long netloop_rss_kib(void) {
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &pages, &resident), 2);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}
