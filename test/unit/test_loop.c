/*
 * test_loop.c - the event loop: timers, tasks, the turn hook, signals.
 */
#include "netloop.h"
#include "uv/loop_uv.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- timers ---- */

static void on_count(np_timer *timer, void *arg) {
    (void)timer;
    ++*(int *)arg;
}

static bool counted_three(void *arg) { return *(int *)arg == 3; }

static void test_timers_fire_when_due(void **state) {
    netloop net;
    np_timer timers[3] = {0};
    int count = 0;
    (void)state;
    netloop_init(&net);
    uint64_t start = np_loop_now(net.loop);
    /* The later one first: the loop has to move its own timer forward. */
    for (int i = 0; i < 3; i++)
        np_timers_start(np_loop_timers(net.loop), &timers[i], start + 60 - 20 * (uint64_t)i, on_count, &count);
    assert_true(netloop_until(&net, counted_three, &count, 2000));
    assert_in_range(np_loop_now(net.loop) - start, 60, 1000);
    netloop_fini(&net);
}

static void test_stopped_timer_does_not_fire(void **state) {
    netloop net;
    np_timer timer = {0};
    int count = 0;
    (void)state;
    netloop_init(&net);
    np_timers_start(np_loop_timers(net.loop), &timer, np_loop_now(net.loop) + 10, on_count, &count);
    np_timers_stop(np_loop_timers(net.loop), &timer);
    netloop_for(&net, 40);
    assert_int_equal(count, 0);
    netloop_fini(&net);
}

/* ---- tasks ---- */

typedef struct chain {
    np_loop *loop;
    np_task task;
    np_task other;
    int runs;
    int turns;
    int turn_of_run[4];
} chain;

static void run_again(void *arg) {
    chain *c = arg;
    c->turn_of_run[c->runs++] = c->turns;
    if (c->runs < 3)
        np_loop_defer(c->loop, &c->task, run_again, c);
}

static void count_turn(void *arg) { ((chain *)arg)->turns++; }

static bool three_runs(void *arg) { return ((chain *)arg)->runs == 3; }

static void test_task_runs_once_a_turn_without_sleeping(void **state) {
    netloop net;
    (void)state;
    netloop_init(&net);
    chain c = {.loop = net.loop};
    net.turn = count_turn;
    net.arg = &c;
    np_loop_defer(c.loop, &c.task, run_again, &c);
    np_loop_defer(c.loop, &c.task, run_again, &c); /* waiting already */
    uint64_t start = np_loop_now(net.loop);
    assert_true(netloop_until(&net, three_runs, &c, 2000));
    for (int i = 0; i < 3; i++)
        assert_int_equal(c.turn_of_run[i], i);
    assert_in_range(np_loop_now(net.loop) - start, 0, 500);
    netloop_fini(&net);
}

static void cancel_other(void *arg) {
    chain *c = arg;
    np_task_cancel(&c->other);
}

static void test_cancelled_task_does_not_run(void **state) {
    netloop net;
    (void)state;
    netloop_init(&net);
    chain c = {.loop = net.loop};
    np_loop_defer(c.loop, &c.task, cancel_other, &c); /* cancels one of the same batch */
    np_loop_defer(c.loop, &c.other, run_again, &c);
    netloop_for(&net, 20);
    assert_int_equal(c.runs, 0);
    np_task_cancel(&c.other);
    netloop_fini(&net);
}

/* ---- the turn hook ---- */

typedef struct hook {
    np_loop *loop;
    int calls;
    int busy_calls;
} hook;

static bool busy_turn(void *arg) {
    hook *h = arg;
    h->calls++;
    if (h->calls == h->busy_calls)
        np_loop_stop(h->loop);
    return true;
}

static void test_turn_that_has_more_to_do_is_called_again_at_once(void **state) {
    np_loop *loop;
    (void)state;
    assert_int_equal(np_loop_new(&loop), 0);
    hook h = {.loop = loop, .busy_calls = 1000};
    np_loop_on_turn(loop, busy_turn, &h);
    uint64_t start = np_loop_now(loop);
    np_loop_run(loop);
    assert_int_equal(h.calls, 1000);
    assert_in_range(np_loop_now(loop) - start, 0, 2000);
    np_loop_destroy(&loop);
}

static bool idle_turn(void *arg) {
    ((hook *)arg)->calls++;
    return false;
}

static void on_stop(np_timer *timer, void *arg) {
    (void)timer;
    np_loop_stop(arg);
}

static void test_idle_loop_sleeps(void **state) {
    np_loop *loop;
    np_timer timer = {0};
    (void)state;
    assert_int_equal(np_loop_new(&loop), 0);
    hook h = {.loop = loop};
    np_loop_on_turn(loop, idle_turn, &h);
    np_timers_start(np_loop_timers(loop), &timer, np_loop_now(loop) + 100, on_stop, loop);
    np_loop_run(loop);
    assert_in_range(h.calls, 1, 5);
    np_loop_destroy(&loop);
}

static void on_slow(np_timer *timer, void *arg) {
    (void)timer;
    (void)arg;
    usleep(30000);
}

static void test_worst_turn_is_measured_and_forgotten(void **state) {
    netloop net;
    np_timer timer = {0};
    (void)state;
    netloop_init(&net);
    np_timers_start(np_loop_timers(net.loop), &timer, np_loop_now(net.loop) + 1, on_slow, NULL);
    netloop_for(&net, 60);
    assert_in_range(np_loop_worst_turn_us(net.loop), 30000, 1000000);
    netloop_for(&net, 20);
    assert_in_range(np_loop_worst_turn_us(net.loop), 0, 29000);
    netloop_fini(&net);
}

/* ---- signals ---- */

static void on_signal(void *arg, int signum) { *(int *)arg = signum; }

static bool got_signal(void *arg) { return *(int *)arg == SIGUSR1; }

static void on_raise(np_timer *timer, void *arg) {
    (void)timer;
    (void)arg;
    raise(SIGUSR1);
}

static void test_signals_arrive(void **state) {
    netloop net;
    np_timer timer = {0};
    int signum = 0;
    (void)state;
    netloop_init(&net);
    assert_int_equal(np_loop_on_signal(net.loop, SIGUSR1, on_signal, &signum), 0);
    np_timers_start(np_loop_timers(net.loop), &timer, np_loop_now(net.loop) + 5, on_raise, NULL);
    assert_true(netloop_until(&net, got_signal, &signum, 2000));
    netloop_fini(&net);
}

/* ---- the end ---- */

static void sleep_long(uv_work_t *work) {
    (void)work;
    usleep(1500000);
}

static void after_sleep(uv_work_t *work, int status) {
    (void)work;
    (void)status;
    fail();
}

/* A slow name look-up, here any work in libuv's threads, does not hold up the end of the program. */
static void test_destroy_does_not_wait_for_a_slow_lookup(void **state) {
    static uv_work_t work;
    np_loop *loop;
    (void)state;
    assert_int_equal(np_loop_new(&loop), 0);
    assert_int_equal(uv_queue_work(&loop->uv, &work, sleep_long, after_sleep), 0);
    usleep(10000);
    uint64_t start = uv_hrtime();
    np_loop_destroy(&loop);
    assert_null(loop);
    assert_in_range((uv_hrtime() - start) / 1000000, 0, 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_fire_when_due),
        cmocka_unit_test(test_stopped_timer_does_not_fire),
        cmocka_unit_test(test_task_runs_once_a_turn_without_sleeping),
        cmocka_unit_test(test_cancelled_task_does_not_run),
        cmocka_unit_test(test_turn_that_has_more_to_do_is_called_again_at_once),
        cmocka_unit_test(test_idle_loop_sleeps),
        cmocka_unit_test(test_worst_turn_is_measured_and_forgotten),
        cmocka_unit_test(test_signals_arrive),
        cmocka_unit_test(test_destroy_does_not_wait_for_a_slow_lookup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
