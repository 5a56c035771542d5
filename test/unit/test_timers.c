/* The timer heap, alone and against a naive model under a seeded random run. */
#include "base/rng.h"
#include "base/timers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int fired;

static void count_fire(np_timer *timer, void *arg) {
    assert_false(np_timer_running(timer));
    *(int *)arg += 1;
}

static void one(void **state) {
    (void)state;
    np_timers timers;
    np_timer timer = {0};
    fired = 0;
    np_timers_init(&timers);
    assert_true(np_timers_next(&timers) == UINT64_MAX);
    assert_int_equal(np_timers_run(&timers, 1000, 10), 0);
    np_timers_stop(&timers, &timer);
    assert_int_equal(np_timers_start(&timers, &timer, 100, count_fire, &fired), 0);
    assert_true(np_timer_running(&timer));
    assert_true(np_timers_next(&timers) == 100);
    assert_int_equal(np_timers_run(&timers, 99, 10), 0);
    assert_int_equal(np_timers_start(&timers, &timer, 50, count_fire, &fired), 0); /* moves */
    assert_true(np_timers_next(&timers) == 50);
    assert_int_equal(np_timers_run(&timers, 50, 10), 1);
    assert_int_equal(np_timers_run(&timers, 1000, 10), 0);
    assert_int_equal(fired, 1);
    assert_int_equal(np_timers_start(&timers, &timer, 5, count_fire, &fired), 0);
    np_timers_stop(&timers, &timer);
    assert_int_equal(np_timers_run(&timers, 1000, 10), 0);
    np_timers_fini(&timers);
}

/* ---- timers that do things to each other while they fire ---- */

static np_timers shared;
static np_timer many[8];
static int order[32];
static int order_len;

static void note(np_timer *timer, void *arg) {
    (void)arg;
    order[order_len++] = (int)(timer - many);
}

static void restart_self(np_timer *timer, void *arg) {
    note(timer, arg);
    assert_int_equal(np_timers_start(&shared, timer, 1, restart_self, NULL), 0);
}

static void stop_two(np_timer *timer, void *arg) {
    note(timer, arg);
    np_timers_stop(&shared, &many[2]);
}

static void self_starting_waits(void **state) {
    (void)state;
    np_timers_init(&shared);
    memset(many, 0, sizeof(many));
    order_len = 0;
    assert_int_equal(np_timers_start(&shared, &many[0], 10, restart_self, NULL), 0);
    assert_int_equal(np_timers_start(&shared, &many[1], 20, note, NULL), 0);
    /* 0 starts itself again, due before 1; both fire once, and 0 again in the next call with the same time. */
    assert_int_equal(np_timers_run(&shared, 30, 100), 2);
    assert_int_equal(order[0], 0);
    assert_int_equal(order[1], 1);
    assert_true(np_timers_next(&shared) <= 30);
    assert_int_equal(np_timers_run(&shared, 30, 100), 1);
    assert_int_equal(np_timers_run(&shared, 31, 100), 1);
    np_timers_stop(&shared, &many[0]);
    assert_true(np_timers_next(&shared) == UINT64_MAX);
    np_timers_fini(&shared);
}

static void stopped_by_another(void **state) {
    (void)state;
    np_timers_init(&shared);
    memset(many, 0, sizeof(many));
    order_len = 0;
    assert_int_equal(np_timers_start(&shared, &many[1], 10, stop_two, NULL), 0);
    assert_int_equal(np_timers_start(&shared, &many[2], 11, note, NULL), 0);
    assert_int_equal(np_timers_start(&shared, &many[3], 12, note, NULL), 0);
    assert_int_equal(np_timers_run(&shared, 50, 100), 2);
    assert_int_equal(order[1], 3);
    np_timers_fini(&shared);
}

static void at_most(void **state) {
    (void)state;
    np_timers_init(&shared);
    memset(many, 0, sizeof(many));
    order_len = 0;
    for (int i = 0; i < 8; i++)
        assert_int_equal(np_timers_start(&shared, &many[i], (uint64_t)(100 - i), note, NULL), 0);
    assert_int_equal(np_timers_run(&shared, 200, 3), 3);
    assert_int_equal(np_timers_run(&shared, 200, 100), 5);
    for (int i = 0; i < 8; i++)
        assert_int_equal(order[i], 7 - i);
    np_timers_fini(&shared);
}

/* ---- the model ---- */

enum { TIMERS = 500 };

static struct {
    np_timer timer;
    bool running;
    uint64_t due;
} model[TIMERS];
static uint64_t now;
static uint64_t last_due;

static void model_fire(np_timer *timer, void *arg) {
    size_t i = (size_t)(uintptr_t)arg;
    assert_ptr_equal(timer, &model[i].timer);
    assert_true(model[i].running);
    assert_true(model[i].due <= now);
    assert_true(model[i].due >= last_due);
    last_due = model[i].due;
    model[i].running = false;
}

static void random_run(void **state) {
    (void)state;
    np_rng rng;
    np_rng_seed(&rng, 7);
    np_timers timers;
    np_timers_init(&timers);
    for (int step = 0; step < 50000; step++) {
        size_t i = np_rng_below(&rng, TIMERS);
        switch (np_rng_below(&rng, 4)) {
        case 0:
        case 1:
            model[i].due = now + np_rng_below(&rng, 1000);
            model[i].running = true;
            assert_int_equal(np_timers_start(&timers, &model[i].timer, model[i].due, model_fire, (void *)(uintptr_t)i),
                             0);
            break;
        case 2:
            np_timers_stop(&timers, &model[i].timer);
            model[i].running = false;
            break;
        default:
            now += np_rng_below(&rng, 20);
            last_due = 0;
            (void)np_timers_run(&timers, now, UINT32_MAX);
        }
        uint64_t next = UINT64_MAX;
        for (size_t j = 0; step % 50 == 0 && j < TIMERS; j++) {
            assert_int_equal(np_timer_running(&model[j].timer), model[j].running);
            if (model[j].running && model[j].due < next)
                next = model[j].due;
        }
        if (step % 50 == 0)
            assert_true(np_timers_next(&timers) == next);
    }
    np_timers_fini(&timers);
    assert_false(np_timer_running(&model[0].timer));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one),     cmocka_unit_test(self_starting_waits), cmocka_unit_test(stopped_by_another),
        cmocka_unit_test(at_most), cmocka_unit_test(random_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
