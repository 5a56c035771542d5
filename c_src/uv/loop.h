/*
 * loop.h - the node's event loop: libuv's, with the clock, the timers, the signals and a hook that runs once a turn.
 *
 * One per OS process in practice, but no global: everything is in np_loop. Main thread only.
 */
#ifndef NP_UV_LOOP_H
#define NP_UV_LOOP_H

#include "base/timers.h"

typedef struct np_loop np_loop;

/* NP_ENOMEM, NP_EIO. */
int np_loop_new(np_loop **loop);

/* Closes every handle, runs the loop until they are closed, frees. No stream may be in use any more. */
void np_loop_destroy(np_loop **loop);

/* Runs until np_loop_stop. */
void np_loop_run(np_loop *loop);
void np_loop_stop(np_loop *loop);

/* Monotonic milliseconds, as of the start of this turn's callbacks. */
uint64_t np_loop_now(const np_loop *loop);

/* Timers of the loop: start, move and stop them with np_timers_*; the loop sees to waking up. */
np_timers *np_loop_timers(np_loop *loop);

/*
 * Called once a turn after input, timers and other callbacks have been served, right before the loop sleeps: the place to write out what the turn has
 * produced. Returns true if there is more to do at once: then the loop polls without sleeping and calls again.
 */
void np_loop_on_turn(np_loop *loop, bool (*turn)(void *arg), void *arg);

/* Calls fn for each delivery of the signal. NP_EIO. */
int np_loop_on_signal(np_loop *loop, int signum, void (*fn)(void *arg, int signum), void *arg);

/* The longest time (µs) one turn's callbacks have taken since the last call of this; for health and tests. */
uint64_t np_loop_worst_turn_us(np_loop *loop);

#endif
