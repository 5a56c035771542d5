/*
 * loop_uv.h - the inside of np_loop, for the files of uv/ only: nothing else of the project sees uv.h.
 */
#ifndef NP_UV_LOOP_UV_H
#define NP_UV_LOOP_UV_H

#include "uv/loop.h"

#include <uv.h>

struct np_loop {
    uv_loop_t uv;
    uv_prepare_t prepare; /* the turn: after all callbacks, right before polling */
    uv_idle_t idle;       /* active while there is more to do: polling then does not sleep */
    uv_timer_t timer;     /* wakes the loop for the earliest of `timers` */
    uint64_t armed_ms;    /* what `timer` is set to; UINT64_MAX: not running */
    np_timers timers;
    np_task tasks; /* ring; the head itself is no task */
    bool (*turn)(void *arg);
    void *turn_arg;
    uint64_t turns;         /* counts turns, so that streams can bound what they read in one */
    uint64_t busy_since_ns; /* when this turn's first callback ran; 0: none yet */
    uint64_t worst_turn_ns;
    uint32_t yield_skip;    /* so many sleeps go by without giving way first */
    uint32_t yield_backoff; /* what yield_skip was last set to because others kept the CPU */
    uint32_t yield_good;    /* times in a row that nobody kept it long */
    struct signal_watch *signals;
    char *read_buffer; /* NP_STREAM_READ_BYTES, shared by all streams: data is used up within the callback */
};

/* To be called first in every callback from libuv: the turn's time is measured from the first of them. */
static inline void np_loop_busy(np_loop *loop) {
    if (loop->busy_since_ns == 0)
        loop->busy_since_ns = uv_hrtime();
}

/* libuv's error code as ours. */
int np_uv_error(int status);

#endif
