/*
 * netloop.h - a real event loop for unit tests, run until something has come true or a time is over.
 */
#ifndef NP_TEST_NETLOOP_H
#define NP_TEST_NETLOOP_H

#include "uv/loop.h"

typedef struct netloop {
    np_loop *loop;
    void (*turn)(void *arg); /* run in every turn's hook; may be NULL */
    void *arg;
    bool (*done)(void *arg);
    void *done_arg;
    bool came_true;
    np_timer timer;
} netloop;

void netloop_init(netloop *net);
void netloop_fini(netloop *net);

/* True if done(arg) came true within timeout_ms; it is asked at the end of every turn. */
bool netloop_until(netloop *net, bool (*done)(void *arg), void *arg, uint32_t timeout_ms);
void netloop_for(netloop *net, uint32_t ms);

/* A blocking TCP socket connected to 127.0.0.1:port, for peers that misbehave; asserts success. */
int netloop_dial(uint16_t port);
/* A blocking listening socket on 127.0.0.1 (port 0: any), and its port. */
int netloop_listen(uint16_t port, uint16_t *bound);

/* Resident memory of this process, KiB. */
long netloop_rss_kib(void);

#endif
