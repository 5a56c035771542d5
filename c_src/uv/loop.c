/*
 * loop.c - the event loop on libuv. Main thread only.
 *
 * One turn of libuv's loop is: timers, callbacks put off, idle, prepare, poll (which sleeps, then runs the callbacks of
 * sockets and signals), closed handles. Our turn hook is the prepare step: everything that any callback has produced is
 * seen by one call of it before the loop sleeps again.
 */
#include "uv/loop_uv.h"

#include "base/assert.h"
#include "uv/stream.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>

enum {
    TIMERS_PER_TURN = 1024, /* so that a crowd of timers does not keep sockets waiting */
    WIND_DOWN_MS = 200,     /* for name look-ups to end */
    YIELD_LONG_NS = 500000, /* others kept the CPU: no answer is that slow in the making */
    YIELD_SKIP_MIN = 256,   /* sleeps without giving way after that, doubled each time it happens again ... */
    YIELD_SKIP_MAX = 65536, /* ... up to this: one call in so many is late */
    YIELD_GOOD = 4096,      /* short ones in a row after which that is forgotten */
};

typedef struct signal_watch {
    uv_signal_t handle;
    np_loop *loop;
    void (*fn)(void *arg, int signum);
    void *arg;
    struct signal_watch *next;
} signal_watch;

int np_uv_error(int status) {
    switch (status) {
    case 0: return 0;
    case UV_ENOMEM: return NP_ENOMEM;
    case UV_EOF:
    case UV_EPIPE:
    case UV_ECANCELED:
    case UV_ECONNABORTED:
    case UV_ECONNRESET: return NP_ECLOSED;
    case UV_ETIMEDOUT: return NP_ETIMEOUT;
    case UV_ECONNREFUSED: return NP_ENOCONN;
    case UV_EADDRINUSE: return NP_EEXIST;
    case UV_EADDRNOTAVAIL:
    case UV_EINVAL: return NP_EINVAL;
    case UV_EAI_ADDRFAMILY:
    case UV_EAI_AGAIN:
    case UV_EAI_FAIL:
    case UV_EAI_NODATA:
    case UV_EAI_NONAME:
    case UV_ENOENT: return NP_ENOENT;
    default: return NP_EIO;
    }
}

/* ---- tasks ---- */

void np_loop_defer(np_loop *loop, np_task *task, void (*fn)(void *arg), void *arg) {
    if (task->next != NULL)
        return;
    task->fn = fn;
    task->arg = arg;
    task->next = &loop->tasks;
    task->prev = loop->tasks.prev;
    task->prev->next = task;
    loop->tasks.prev = task;
}

void np_task_cancel(np_task *task) {
    if (task->next == NULL)
        return;
    task->prev->next = task->next;
    task->next->prev = task->prev;
    task->next = task->prev = NULL;
}

/* Runs the tasks that wait now; what they defer waits for the next turn. */
static void run_tasks(np_loop *loop) {
    np_task *head = &loop->tasks;
    if (head->next == head)
        return;
    np_task batch = *head;
    batch.next->prev = batch.prev->next = &batch;
    head->next = head->prev = head;
    while (batch.next != &batch) {
        np_task *task = batch.next;
        np_task_cancel(task);
        task->fn(task->arg);
    }
}

/* ---- the turn ---- */

static void on_timer(uv_timer_t *timer) {
    np_loop *loop = timer->data;
    np_loop_busy(loop);
    loop->armed_ms = UINT64_MAX; /* the timers themselves run in the prepare step */
}

/*
 * Stopping and moving timers leaves libuv's alone: it may wake the loop once too early, which costs less than re-arming
 * it every turn.
 */
static void arm(np_loop *loop, uint64_t now) {
    uint64_t due = np_timers_next(&loop->timers);
    if (due >= loop->armed_ms)
        return;
    uv_timer_start(&loop->timer, on_timer, due > now ? due - now : 0, 0);
    loop->armed_ms = due;
}

/*
 * Lets others run before we go to sleep. Where a peer shares our CPU it then works while we are still runnable: its writes
 * need not wake us one by one, and what it has written is there when we poll (measured: 14 instead of 21 us of CPU a call).
 * With a CPU of our own it returns at once. Somebody who takes the CPU for long is no peer that answers us: sleeping is
 * better then, since a sleeper is woken in front of such, and the tries become rare.
 */
static void give_way(np_loop *loop) {
    if (loop->yield_skip > 0) {
        loop->yield_skip--;
        return;
    }
    uint64_t before = uv_hrtime();
    sched_yield();
    uint64_t took = uv_hrtime() - before;
    if (took > YIELD_LONG_NS) {
        loop->yield_backoff = loop->yield_backoff == 0               ? YIELD_SKIP_MIN
                              : loop->yield_backoff < YIELD_SKIP_MAX ? 2 * loop->yield_backoff
                                                                     : YIELD_SKIP_MAX;
        loop->yield_skip = loop->yield_backoff;
        loop->yield_good = 0;
    } else if (++loop->yield_good == YIELD_GOOD) {
        loop->yield_backoff = 0;
    }
}

static void on_idle(uv_idle_t *idle) { (void)idle; }

static void on_prepare(uv_prepare_t *prepare) {
    np_loop *loop = prepare->data;
    np_loop_busy(loop);
    loop->turns++;
    run_tasks(loop);
    uint64_t now = uv_now(&loop->uv);
    if (np_timers_next(&loop->timers) <= now)
        np_timers_run(&loop->timers, now, TIMERS_PER_TURN);
    bool more = loop->turn != NULL && loop->turn(loop->turn_arg);
    if (loop->tasks.next != &loop->tasks || np_timers_next(&loop->timers) <= now)
        more = true;
    if (more)
        uv_idle_start(&loop->idle, on_idle);
    else
        uv_idle_stop(&loop->idle);
    arm(loop, now);
    uint64_t took = uv_hrtime() - loop->busy_since_ns;
    if (took > loop->worst_turn_ns)
        loop->worst_turn_ns = took;
    loop->busy_since_ns = 0;
    if (!more)
        give_way(loop);
}

/* ---- interface ---- */

int np_loop_new(np_loop **to) {
    np_loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        return NP_ENOMEM;
    loop->read_buffer = malloc(NP_STREAM_READ_BYTES);
    int status = loop->read_buffer != NULL ? uv_loop_init(&loop->uv) : UV_ENOMEM;
    if (status < 0) {
        free(loop->read_buffer);
        free(loop);
        return np_uv_error(status);
    }
    signal(SIGPIPE, SIG_IGN);
    np_timers_init(&loop->timers);
    loop->tasks.next = loop->tasks.prev = &loop->tasks;
    loop->armed_ms = UINT64_MAX;
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_idle_init(&loop->uv, &loop->idle);
    uv_timer_init(&loop->uv, &loop->timer);
    loop->prepare.data = loop->idle.data = loop->timer.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    *to = loop;
    return 0;
}

static void free_handle(uv_handle_t *handle) { free(handle); }

/* Programs started by np_spawn_detached that still run: they go on without us. */
static void forget_process(uv_handle_t *handle, void *arg) {
    (void)arg;
    if (handle->type == UV_PROCESS && !uv_is_closing(handle))
        uv_close(handle, free_handle);
}

/*
 * Runs until the handles are closed. A name look-up cannot be stopped once a thread of libuv's is at it, and may take the
 * resolver's time-outs: false if one does not end soon, so that the end of the program does not wait for it.
 */
static bool wind_down(np_loop *loop) {
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    for (int i = 0; i < WIND_DOWN_MS && uv_run(&loop->uv, UV_RUN_NOWAIT) != 0; i++)
        uv_sleep(1);
    if (uv_loop_close(&loop->uv) == 0)
        return true;
    NP_ASSERT(loop->uv.active_handles == 0); /* a stream that its owner has not closed */
    return false;
}

void np_loop_destroy(np_loop **from) {
    np_loop *loop = *from;
    if (loop == NULL)
        return;
    *from = NULL;
    run_tasks(loop);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_close((uv_handle_t *)&loop->timer, NULL);
    for (signal_watch *watch = loop->signals; watch != NULL; watch = watch->next)
        uv_close((uv_handle_t *)&watch->handle, NULL);
    uv_walk(&loop->uv, forget_process, NULL);
    if (!wind_down(loop))
        return; /* the look-up that still runs writes into the loop: it is left to it */
    while (loop->signals != NULL) {
        signal_watch *watch = loop->signals;
        loop->signals = watch->next;
        free(watch);
    }
    np_timers_fini(&loop->timers);
    free(loop->read_buffer);
    free(loop);
}

void np_loop_run(np_loop *loop) {
    uv_update_time(&loop->uv);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void np_loop_stop(np_loop *loop) { uv_stop(&loop->uv); }

uint64_t np_loop_now(const np_loop *loop) { return uv_now(&loop->uv); }

np_timers *np_loop_timers(np_loop *loop) { return &loop->timers; }

void np_loop_on_turn(np_loop *loop, bool (*turn)(void *arg), void *arg) {
    loop->turn = turn;
    loop->turn_arg = arg;
}

static void on_signal(uv_signal_t *handle, int signum) {
    signal_watch *watch = handle->data;
    np_loop_busy(watch->loop);
    watch->fn(watch->arg, signum);
}

int np_loop_on_signal(np_loop *loop, int signum, void (*fn)(void *arg, int signum), void *arg) {
    signal_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return NP_ENOMEM;
    int status = uv_signal_init(&loop->uv, &watch->handle);
    if (status < 0) {
        free(watch);
        return NP_EIO;
    }
    watch->handle.data = watch;
    watch->loop = loop;
    watch->fn = fn;
    watch->arg = arg;
    watch->next = loop->signals; /* from here on the loop frees it, also if the start fails */
    loop->signals = watch;
    return uv_signal_start(&watch->handle, on_signal, signum) < 0 ? NP_EIO : 0;
}

uint64_t np_loop_worst_turn_us(np_loop *loop) {
    uint64_t worst = loop->worst_turn_ns / 1000;
    loop->worst_turn_ns = 0;
    return worst;
}
