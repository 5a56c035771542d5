/*
 * timers.h - a heap of deadlines, embedded in their owners. One thread; time is whatever the caller says it is.
 *
 *     typedef struct { np_timer timer; ... } thing;
 *     np_timers_start(&timers, &thing->timer, now + 5000, on_timeout, thing);
 *
 * Starting a running timer moves it. Start, stop and fire are O(log n). A fired timer is stopped before its function
 * runs, so that the function may start it again or free its owner.
 */
#ifndef NP_BASE_TIMERS_H
#define NP_BASE_TIMERS_H

#include <native_pool/types.h>

typedef struct np_timer np_timer;
typedef void (*np_timer_fn)(np_timer *timer, void *arg);

struct np_timer {
    uint64_t due_ms;
    uint32_t place; /* index in the heap plus 1; 0 when stopped. An all-zero timer is a stopped one. */
    uint32_t late;  /* 0, or the number of the run that must not fire it: it was started there, already due */
    np_timer_fn fire;
    void *arg;
};

typedef struct np_timers {
    np_timer **heap;
    uint32_t len;
    uint32_t cap;
    uint32_t run;        /* number of np_timers_run's current or last call */
    bool running;        /* inside it */
    uint64_t run_now_ms; /* its now_ms */
} np_timers;

void np_timers_init(np_timers *timers);
void np_timers_fini(np_timers *timers);

/* NP_ENOMEM leaves the timer as it was. A due time before that of the run it is started in counts as the run's. */
int np_timers_start(np_timers *timers, np_timer *timer, uint64_t due_ms, np_timer_fn fire, void *arg);
void np_timers_stop(np_timers *timers, np_timer *timer); /* of a stopped one: nothing */
static inline bool np_timer_running(const np_timer *timer) { return timer->place != 0; }

/* When the next one is due; UINT64_MAX when none runs. */
uint64_t np_timers_next(const np_timers *timers);

/* Fires what is due at now_ms, earliest first, at most `most` of them. Returns how many fired. Timers started by the
 * functions with a due time <= now_ms wait for the next call. Not to be called by a timer's function. */
uint32_t np_timers_run(np_timers *timers, uint64_t now_ms, uint32_t most);

#endif
