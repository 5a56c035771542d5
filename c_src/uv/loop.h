/*
 * loop.h - the node's event loop: libuv's, with the clock, the timers, the signals and a hook that runs once a turn.
 *
 * One per OS process in practice, but no global: everything is in np_loop. Main thread only.
 */
#ifndef NP_UV_LOOP_H
#define NP_UV_LOOP_H

#include "base/timers.h"

typedef struct np_loop np_loop;

/* NP_ENOMEM, NP_EIO. Also makes the process ignore SIGPIPE: a write to a closed connection is an error, not the end. */
int np_loop_new(np_loop **loop);

/*
 * Closes every handle, runs the loop until they are closed, frees. No stream may be in use any more. If a name look-up is
 * still going on after 200 ms, the loop's memory is left to it.
 */
void np_loop_destroy(np_loop **loop);

/* Runs until np_loop_stop. */
void np_loop_run(np_loop *loop);
void np_loop_stop(np_loop *loop);

/* Monotonic milliseconds, as of the start of this turn's callbacks. */
uint64_t np_loop_now(const np_loop *loop);

/* Timers of the loop: start, move and stop them with np_timers_*; the loop sees to waking up. */
np_timers *np_loop_timers(np_loop *loop);

/*
 * Called once a turn after input, timers and other callbacks have been served, right before the loop sleeps: the
 * place to write out what the turn has produced. Returns true if there is more to do at once: then the loop polls
 * without sleeping and calls again.
 */
void np_loop_on_turn(np_loop *loop, bool (*turn)(void *arg), void *arg);

/*
 * Something to do a little later: fn runs once, from the loop, before the turn hook of this turn (if called from a
 * callback) or of the next one, and the loop does not sleep until then. For what must not happen inside the caller's
 * callers: freeing, closing, telling of a failure. Never fails; the task is embedded in its owner and all zero at
 * first. Deferring a waiting task again changes nothing.
 */
typedef struct np_task {
    struct np_task *next; /* NULL when not waiting */
    struct np_task *prev;
    void (*fn)(void *arg);
    void *arg;
} np_task;
void np_loop_defer(np_loop *loop, np_task *task, void (*fn)(void *arg), void *arg);
void np_task_cancel(np_task *task); /* of one that does not wait: nothing */

/* Calls fn for each delivery of the signal. NP_EIO. */
int np_loop_on_signal(np_loop *loop, int signum, void (*fn)(void *arg, int signum), void *arg);

/* The longest time (µs) one turn's callbacks have taken since the last call of this; for health and tests. */
uint64_t np_loop_worst_turn_us(np_loop *loop);

#endif
