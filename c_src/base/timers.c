/* timers.c - see timers.h: a binary heap ordered by (due, late). */
#include "base/timers.h"

#include "base/assert.h"

#include <stdlib.h>

enum { CAP_MIN = 16 };
#define TIMERS_MAX (UINT32_C(1) << 30)

static bool before(const np_timer *a, const np_timer *b) {
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->late < b->late;
}

static void put(np_timers *timers, uint32_t at, np_timer *timer) {
    timers->heap[at] = timer;
    timer->place = at + 1;
}

/* Moves the timer, which belongs at `at` or above, to its place. */
static void sift_up(np_timers *timers, uint32_t at, np_timer *timer) {
    while (at > 0 && before(timer, timers->heap[(at - 1) / 2])) {
        put(timers, at, timers->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(timers, at, timer);
}

static void sift_down(np_timers *timers, uint32_t at, np_timer *timer) {
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= timers->len)
            break;
        if (child + 1 < timers->len && before(timers->heap[child + 1], timers->heap[child]))
            child++;
        if (!before(timers->heap[child], timer))
            break;
        put(timers, at, timers->heap[child]);
        at = child;
    }
    put(timers, at, timer);
}

static void settle(np_timers *timers, uint32_t at, np_timer *timer) {
    if (at > 0 && before(timer, timers->heap[(at - 1) / 2]))
        sift_up(timers, at, timer);
    else
        sift_down(timers, at, timer);
}

void np_timers_init(np_timers *timers) { *timers = (np_timers){0}; }

void np_timers_fini(np_timers *timers) {
    for (uint32_t i = 0; i < timers->len; i++)
        timers->heap[i]->place = 0;
    free(timers->heap);
    np_timers_init(timers);
}

static int make_room(np_timers *timers) {
    if (timers->len < timers->cap)
        return 0;
    if (timers->len >= TIMERS_MAX)
        return NP_ENOMEM;
    uint32_t cap = timers->cap == 0 ? CAP_MIN : timers->cap * 2;
    np_timer **heap = realloc(timers->heap, cap * sizeof(*heap));
    if (heap == NULL)
        return NP_ENOMEM;
    timers->heap = heap;
    timers->cap = cap;
    return 0;
}

int np_timers_start(np_timers *timers, np_timer *timer, uint64_t due_ms, np_timer_fn fire, void *arg) {
    if (timer->place == 0) {
        int error = make_room(timers);
        if (error < 0)
            return error;
        timer->place = ++timers->len;
    }
    NP_ASSERT(timer->place <= timers->len);
    bool late = timers->running && due_ms <= timers->run_now_ms;
    timer->due_ms = late ? timers->run_now_ms : due_ms;
    timer->late = late ? timers->run : 0;
    timer->fire = fire;
    timer->arg = arg;
    settle(timers, timer->place - 1, timer);
    return 0;
}

void np_timers_stop(np_timers *timers, np_timer *timer) {
    if (timer->place == 0)
        return;
    uint32_t at = timer->place - 1;
    NP_ASSERT(at < timers->len && timers->heap[at] == timer);
    timer->place = 0;
    np_timer *last = timers->heap[--timers->len];
    if (last != timer)
        settle(timers, at, last);
}

uint64_t np_timers_next(const np_timers *timers) { return timers->len == 0 ? UINT64_MAX : timers->heap[0]->due_ms; }

uint32_t np_timers_run(np_timers *timers, uint64_t now_ms, uint32_t most) {
    NP_ASSERT(!timers->running);
    if (timers->len == 0 || timers->heap[0]->due_ms > now_ms)
        return 0;
    if (++timers->run == 0)
        timers->run = 1;
    timers->running = true;
    timers->run_now_ms = now_ms;
    uint32_t fired = 0;
    while (fired < most && timers->len > 0) {
        np_timer *timer = timers->heap[0];
        if (timer->due_ms > now_ms || timer->late == timers->run)
            break;
        np_timers_stop(timers, timer);
        fired++;
        timer->fire(timer, timer->arg);
    }
    timers->running = false;
    return fired;
}
