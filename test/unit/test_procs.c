/*
 * The process table: pids, names, monitors, aliases, and many of all; each rule of the Erlang reference manual's
 * "Processes" and of the distribution protocol by itself. Links and exits are in test_procs_exits.c;
 * test_procs_model.c plays all against each other at random.
 */
#include "procs_world.h"

#include "base/assert.h"
#include "base/limits.h"
#include "proc/internal.h"
#include "term/names.h"
#include "term/out.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- pids ---- */

static void finds_only_what_lives(void **state) {
    world *w = *state;
    void *target;
    np_pid a = world_pid(w, 'A');
    assert_int_equal(a.num, 1);
    assert_int_equal(a.creation, WORLD_CREATION);
    assert_ptr_equal(np_procs_find(w->procs, &a, &target), &world_class);
    assert_ptr_equal(target, &w->proc[0]);
    np_pid wrong[] = {a, a, a, a, a, {0, 0, 0, 0}};
    wrong[0].creation = 0;
    wrong[1].serial++;
    wrong[2].node = w->r1;
    wrong[3].num = 5;
    wrong[4].num = 0;
    for (size_t i = 0; i < 6; i++)
        assert_null(np_procs_find(w->procs, &wrong[i], &target));
    assert_true(np_procs_local(w->procs, &wrong[1]));
    assert_false(np_procs_local(w->procs, &wrong[0]));
    assert_int_equal(np_procs_set_target(w->procs, &a, w), 0);
    assert_ptr_equal(np_procs_find(w->procs, &a, &target), &world_class);
    assert_ptr_equal(target, w);
    world_exits(w, 'A', "normal");
    assert_null(np_procs_find(w->procs, &a, &target));
    assert_int_equal(np_procs_set_target(w->procs, &a, w), NP_ENOPROC);
    assert_int_equal(np_procs_set_trap_exit(w->procs, &a, true), NP_ENOPROC);
    assert_int_equal(np_procs_count(w->procs), 3);
}

static void never_the_same_pid_twice(void **state) {
    world *w = *state;
    np_pid seen[64];
    world_exits(w, 'B', "normal");
    world_exits(w, 'D', "normal");
    for (int i = 0; i < 64; i++) {
        assert_int_equal(np_procs_spawn(w->procs, &world_class, NULL, &seen[i]), 0);
        for (int j = 0; j < i; j++)
            assert_false(np_pid_eq(&seen[i], &seen[j]));
        np_procs_exit(w->procs, &seen[i], world_atom("normal"));
    }
    assert_int_equal(seen[0].num, 2); /* oldest free first */
    assert_int_equal(seen[0].serial, 1);
    assert_int_equal(seen[1].num, 4);
    assert_int_equal(seen[2].num, 2);
    assert_int_equal(seen[2].serial, 2);
}

static void a_used_up_slot_is_retired(void **state) {
    world *w = *state;
    np_pid pid;
    world_exits(w, 'D', "normal");
    np_slot_at(w->procs, 3)->serial = UINT32_MAX;
    assert_int_equal(np_procs_spawn(w->procs, &world_class, NULL, &pid), 0);
    assert_int_equal(pid.num, 4);
    assert_int_equal(pid.serial, UINT32_MAX);
    np_procs_exit(w->procs, &pid, world_atom("normal"));
    assert_false(np_procs_alive(w->procs, &pid));
    assert_int_equal(np_procs_spawn(w->procs, &world_class, NULL, &pid), 0);
    assert_int_equal(pid.num, 5);
    np_procs_exit(w->procs, &pid, world_atom("normal"));
}

static void walks_over_live_ones(void **state) {
    world *w = *state;
    np_pid pid;
    uint32_t at = 0;
    char seen[8] = "";
    world_exits(w, 'C', "normal");
    while (np_procs_next(w->procs, &at, &pid))
        strncat(seen, &"0123456789"[pid.num], 1);
    assert_string_equal(seen, "124");
}

static void leaders(void **state) {
    world *w = *state;
    np_pid a = world_pid(w, 'A'), x = world_pid(w, 'X'), leader;
    assert_int_equal(np_procs_get_leader(w->procs, &a, &leader), 0);
    assert_true(np_pid_eq(&leader, &a));
    assert_int_equal(np_procs_set_leader(w->procs, &a, &x), 0);
    assert_int_equal(np_procs_get_leader(w->procs, &a, &leader), 0);
    assert_true(np_pid_eq(&leader, &x));
    world_exits(w, 'A', "normal");
    assert_int_equal(np_procs_get_leader(w->procs, &a, &leader), NP_ENOPROC);
    assert_int_equal(np_procs_set_leader(w->procs, &a, &x), NP_ENOPROC);
}

/* ---- names ---- */

static void names(void **state) {
    world *w = *state;
    np_pid a = world_pid(w, 'A'), b = world_pid(w, 'B'), dead = a, pid;
    char chars255[256 * 2], text[16];
    dead.serial++;
    for (int i = 0; i < 256; i++)
        memcpy(chars255 + 2 * i, "\xc3\xa9", 2);
    assert_int_equal(np_procs_register(w->procs, &a, "one", 3), 0);
    assert_int_equal(np_procs_register(w->procs, &a, "two", 3), 0);
    assert_int_equal(np_procs_register(w->procs, &b, "one", 3), NP_EEXIST);
    assert_int_equal(np_procs_register(w->procs, &dead, "three", 5), NP_ENOPROC);
    assert_int_equal(np_procs_register(w->procs, &a, "", 0), NP_EINVAL);
    assert_int_equal(np_procs_register(w->procs, &a, "undefined", 9), NP_EINVAL);
    assert_int_equal(np_procs_register(w->procs, &a, chars255, 512), NP_EINVAL);
    assert_int_equal(np_procs_register(w->procs, &b, chars255, 510), 0);
    assert_int_equal(np_procs_whereis(w->procs, "two", 3, &pid), 0);
    assert_true(np_pid_eq(&pid, &a));
    assert_int_equal(np_procs_whereis(w->procs, "tw", 2, &pid), NP_ENOENT);
    np_str name = np_procs_name_of(w->procs, &a);
    snprintf(text, sizeof text, "%.*s", (int)name.len, name.data);
    assert_string_equal(text, "one");
    assert_int_equal(np_procs_unregister(w->procs, "one", 3), 0);
    assert_int_equal(np_procs_unregister(w->procs, "one", 3), NP_ENOENT);
    name = np_procs_name_of(w->procs, &a);
    snprintf(text, sizeof text, "%.*s", (int)name.len, name.data);
    assert_string_equal(text, "two");
    assert_int_equal(np_procs_name_of(w->procs, &dead).len, 0);

    int count = 0;
    uint32_t at = 0;
    while (np_procs_next_name(w->procs, &at, &name, &pid))
        count++;
    assert_int_equal(count, 2);
    world_exits(w, 'A', "normal");
    assert_int_equal(np_procs_whereis(w->procs, "two", 3, &pid), NP_ENOENT);
    assert_int_equal(np_procs_register(w->procs, &b, "two", 3), 0);
}

/* ---- monitors ---- */

static void watched_from_elsewhere(void **state) {
    world *w = *state;
    np_ref ref = world_remote_ref(w->r1, 1), other = world_remote_ref(w->r1, 2);
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &ref, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &other, 0, NULL), 0);
    assert_int_equal(world_info(w, 'A').monitored_by, 2);
    assert_int_equal(world_signal(w, NP_SIGNAL_DEMONITOR, 'X', 'A', NULL, &other, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_DEMONITOR, 'X', 'A', NULL, &other, 0, NULL), 0);
    world_expect(w, "");
    world_exits(w, 'A', "normal");
    world_expect(w, "> DOWN A X 1 normal");
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &ref, 0, NULL), 0);
    world_expect(w, "> DOWN A X 1 noproc");
}

static void watched_by_name(void **state) {
    world *w = *state;
    np_ref ref = world_remote_ref(w->r1, 1), other = world_remote_ref(w->r1, 2);
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 0, "srv", &ref, 0, NULL), 0);
    world_expect(w, "> DOWN srv X 1 noproc");
    world_reg(w, 'A', "srv");
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 0, "srv", &ref, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'Y', 0, "srv", &other, 0, NULL), 0);
    /* bound to the process, shown with the name that was asked for */
    assert_int_equal(np_procs_unregister(w->procs, "srv", 3), 0);
    world_reg(w, 'B', "srv");
    world_exits(w, 'B', "normal");
    world_expect(w, "");
    assert_int_equal(world_signal(w, NP_SIGNAL_DEMONITOR, 'Y', 0, "srv", &other, 0, NULL), 0);
    world_exits(w, 'A', "boom");
    world_expect(w, "> DOWN srv X 1 boom");
}

static void peers_that_break_rules(void **state) {
    world *w = *state;
    np_ref ref = world_remote_ref(w->r1, 1), foreign = world_remote_ref(w->r2, 1), ours = ref;
    ours.node = w->self;
    np_signal_kind kinds[] = {NP_SIGNAL_MONITOR, NP_SIGNAL_LINK, NP_SIGNAL_EXIT, NP_SIGNAL_EXIT2, NP_SIGNAL_UNLINK_ID};
    for (size_t i = 0; i < NP_ARRAY_LEN(kinds); i++) {
        assert_int_equal(world_signal(w, kinds[i], 'B', 'A', NULL, &ref, 1, "x"), NP_EPROTO);
        assert_int_equal(world_signal(w, kinds[i], 'X', 'U', NULL, &ref, 1, "x"), NP_EPROTO);
        assert_int_equal(world_signal(w, kinds[i], 0, 'A', NULL, &ref, 1, "x"), NP_EPROTO);
    }
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &foreign, 0, NULL), NP_EPROTO);
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &ours, 0, NULL), NP_EPROTO);
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID, 'X', 'A', NULL, NULL, 0, NULL), NP_EPROTO);
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &ref, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &ref, 0, NULL), NP_EPROTO);
    world_expect(w, "");
    assert_true(world_alive(w, 'A'));
}

static void watching_locally(void **state) {
    world *w = *state;
    np_ref one = world_monitors(w, 'A', 'B'), two = world_monitors(w, 'A', 'B'), three = world_monitors(w, 'C', 'B');
    assert_int_equal(one.id[0], 1);
    assert_int_equal(world_info(w, 'A').monitors, 2);
    assert_int_equal(world_info(w, 'B').monitored_by, 3);
    np_pid a = world_pid(w, 'A'), b = world_pid(w, 'B'), c = world_pid(w, 'C');
    assert_int_equal(np_procs_demonitor(w->procs, &a, &two), 0);
    assert_int_equal(np_procs_demonitor(w->procs, &a, &two), NP_ENOENT);
    assert_int_equal(np_procs_demonitor(w->procs, &a, &three), NP_ENOENT); /* C's */
    assert_int_equal(np_procs_monitor_with(w->procs, &c, &b, &three), NP_EEXIST);
    world_exits(w, 'C', "normal");
    world_exits(w, 'B', "boom");
    world_expect(w, "A: DOWN 1 B boom");
    world_exits(w, 'B', "again");
    world_expect(w, "");
}

static void watching_the_dead(void **state) {
    world *w = *state;
    world_exits(w, 'B', "normal");
    np_pid a = world_pid(w, 'A'), old = world_pid(w, 'A'), nobody = {0};
    np_ref ref;
    old.creation = 3;
    (void)world_monitors(w, 'A', 'B');
    world_expect(w, ""); /* never within the call */
    assert_int_equal(w->woken, 1);
    assert_true(np_procs_pending(w->procs));
    assert_int_equal(np_procs_monitor(w->procs, &a, &old, &ref), 0);
    assert_int_equal(w->woken, 1);
    np_procs_run(w->procs);
    world_expect(w, "A: DOWN 1 B noproc; A: DOWN 2 ? noproc");
    np_ref gone = world_monitors(w, 'A', 'B');
    assert_int_equal(w->woken, 2);
    assert_int_equal(np_procs_demonitor(w->procs, &a, &gone), 0);
    np_procs_run(w->procs);
    world_expect(w, ""); /* no DOWN after demonitor */
    assert_int_equal(np_procs_monitor(w->procs, &a, &nobody, &ref), NP_EINVAL);
    np_pid b = world_pid(w, 'B');
    assert_int_equal(np_procs_monitor(w->procs, &b, &a, &ref), NP_ENOPROC);
}

static void watching_names_here(void **state) {
    world *w = *state;
    np_pid a = world_pid(w, 'A');
    np_ref ref;
    world_reg(w, 'B', "srv");
    assert_int_equal(np_procs_monitor_name(w->procs, &a, w->self, "srv", 3, &ref), 0);
    assert_int_equal(np_procs_monitor_name(w->procs, &a, w->self, "none", 4, &ref), 0);
    assert_int_equal(np_procs_monitor_name(w->procs, &a, w->self, "", 0, &ref), NP_EINVAL);
    np_procs_run(w->procs);
    world_expect(w, "A: DOWN 2 {none,n@h} noproc");
    world_exits(w, 'B', "boom");
    world_expect(w, "A: DOWN 1 {srv,n@h} boom");
}

static void watching_elsewhere(void **state) {
    world *w = *state;
    np_pid a = world_pid(w, 'A');
    np_ref one = world_monitors(w, 'A', 'X'), two = world_monitors(w, 'A', 'X'), named, three;
    assert_int_equal(np_procs_monitor_name(w->procs, &a, w->r1, "srv", 3, &named), 0);
    three = world_monitors(w, 'A', 'U');
    world_expect(w, "> MONITOR A X 1; > MONITOR A X 2; > MONITOR A srv@r1 3; > MONITOR A U 4");
    assert_int_equal(world_signal(w, NP_SIGNAL_DOWN, 'X', 'A', NULL, &one, 0, "boom"), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_DOWN, 'X', 'A', NULL, &one, 0, "boom"), 0);
    world_expect(w, "A: DOWN 1 X boom");
    assert_int_equal(world_signal(w, NP_SIGNAL_DOWN, 0, 'A', "srv", &named, 0, "done"), 0);
    world_expect(w, "A: DOWN 3 {srv,r1@h} done");
    /* not from who was asked */
    assert_int_equal(world_signal(w, NP_SIGNAL_DOWN, 'X', 'A', NULL, &three, 0, "forged"), 0);
    assert_int_equal(np_procs_demonitor(w->procs, &a, &two), 0);
    world_expect(w, "> DEMONITOR A X 2");
    assert_int_equal(world_signal(w, NP_SIGNAL_DOWN, 'X', 'A', NULL, &two, 0, "late"), 0);
    world_expect(w, "");
    assert_int_equal(np_procs_monitor_name(w->procs, &a, w->r2, "q", 1, &named), 0);
    world_exits(w, 'A', "normal");
    world_expect(w, "> MONITOR A q@r2 5; > DEMONITOR A U 4; > DEMONITOR A q@r2 5");
}

static void watching_oneself(void **state) {
    world *w = *state;
    (void)world_monitors(w, 'A', 'A');
    assert_int_equal(world_info(w, 'A').monitors, 1);
    assert_int_equal(world_info(w, 'A').monitored_by, 1);
    world_exits(w, 'A', "normal");
    world_expect(w, "");
}

/* ---- aliases ---- */

static void aliases(void **state) {
    world *w = *state;
    np_pid a = world_pid(w, 'A'), x = world_pid(w, 'X'), pid;
    np_ref many = np_procs_make_ref(w->procs), once = np_procs_make_ref(w->procs), foreign = world_remote_ref(w->r1, 1);
    assert_int_equal(np_procs_alias(w->procs, &a, &many, false), 0);
    assert_int_equal(np_procs_alias(w->procs, &a, &many, false), NP_EEXIST);
    assert_int_equal(np_procs_alias(w->procs, &x, &many, false), NP_ENOPROC);
    assert_int_equal(np_procs_alias(w->procs, &a, &foreign, false), NP_EINVAL);
    assert_int_equal(np_procs_alias(w->procs, &a, &once, true), 0);
    assert_int_equal(np_procs_monitor_with(w->procs, &a, &x, &once), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(np_procs_alias_take(w->procs, &many, &pid), 0);
        assert_true(np_pid_eq(&pid, &a));
    }
    np_procs_unalias(w->procs, &many);
    assert_int_equal(np_procs_alias_take(w->procs, &many, &pid), NP_ENOENT);
    world_expect(w, "> MONITOR A X 2");
    assert_int_equal(np_procs_alias_take(w->procs, &once, &pid), 0);
    world_expect(w, "> DEMONITOR A X 2");
    assert_int_equal(np_procs_alias_take(w->procs, &once, &pid), NP_ENOENT);
    assert_int_equal(np_procs_demonitor(w->procs, &a, &once), NP_ENOENT);
    assert_int_equal(np_procs_alias_take(w->procs, &foreign, &pid), NP_ENOENT);
}

static void aliases_go_with_their_monitor(void **state) {
    world *w = *state;
    np_pid a = world_pid(w, 'A'), x = world_pid(w, 'X'), pid;
    for (int i = 0; i < 4; i++) {
        bool once = i < 2;
        np_ref ref = np_procs_make_ref(w->procs);
        assert_int_equal(np_procs_monitor_with(w->procs, &a, &x, &ref), 0);
        assert_int_equal(np_procs_alias(w->procs, &a, &ref, once), 0);
        if (i % 2 == 0)
            assert_int_equal(world_signal(w, NP_SIGNAL_DOWN, 'X', 'A', NULL, &ref, 0, "boom"), 0);
        else
            assert_int_equal(np_procs_demonitor(w->procs, &a, &ref), 0);
        assert_int_equal(np_procs_alias_take(w->procs, &ref, &pid), once ? NP_ENOENT : 0);
    }
    np_buf_clear(&w->log, 0);
}

static void references_differ(void **state) {
    world *w = *state;
    np_ref last = np_procs_make_ref(w->procs);
    w->procs->ref_last = (UINT64_C(1) << 50) - 1;
    for (int i = 0; i < 3; i++) {
        np_ref ref = np_procs_make_ref(w->procs);
        assert_false(np_ref_eq(&ref, &last));
        assert_true(ref.id[0] < 1u << 18);
        last = ref;
    }
    assert_int_equal(last.id[2], 1);
}

/* ---- many ---- */

static int killed_count;
static void count_killed(void *target, const np_pid *self, np_in reason) {
    (void)target, (void)self;
    assert_int_equal(np_in_match(&reason, "boom"), 0);
    killed_count++;
}
static const np_proc_class counting = {"counting", NULL, count_killed};

static void a_long_chain_dies(void **state) {
    enum { N = 100000 };
    world *w = *state;
    np_pid *pids = calloc(N, sizeof *pids);
    assert_non_null(pids);
    for (int i = 0; i < N; i++) {
        assert_int_equal(np_procs_spawn(w->procs, &counting, NULL, &pids[i]), 0);
        if (i > 0)
            assert_int_equal(np_procs_link(w->procs, &pids[i], &pids[i - 1]), 0);
    }
    assert_int_equal(np_procs_count(w->procs), N + 4);
    killed_count = 0;
    np_procs_exit(w->procs, &pids[N / 2], world_atom("boom"));
    assert_int_equal(killed_count, N - 1);
    assert_int_equal(np_procs_count(w->procs), 4);
    free(pids);
}

static void tables_grow_and_are_reused(void **state) {
    enum { N = 20000 };
    world *w = *state;
    np_procs_totals before, after;
    np_pid a = world_pid(w, 'A');
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < N; i++) {
            np_ref ref = world_remote_ref(w->r1, i);
            assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &ref, 0, NULL), 0);
        }
        np_procs_get_totals(w->procs, round == 0 ? &before : &after);
        assert_int_equal(np_procs_info(w->procs, &a, &(np_proc_info){0}), 0);
        for (uint32_t i = 0; i < N; i++) {
            np_ref ref = world_remote_ref(w->r1, i);
            assert_int_equal(world_signal(w, NP_SIGNAL_DEMONITOR, 'X', 'A', NULL, &ref, 0, NULL), 0);
        }
    }
    assert_int_equal(before.monitors, N);
    assert_int_equal(before.bytes, after.bytes);
    world_expect(w, "");
}

static void lists_for_process_info(void **state) {
    world *w = *state;
    np_ref ref = world_remote_ref(w->r1, 1);
    np_buf buf = NP_BUF_INIT;
    np_out out;
    np_pid a = world_pid(w, 'A'), x = world_pid(w, 'X'), b = world_pid(w, 'B'), pid;
    world_links(w, 'A', 'X');
    world_links(w, 'A', 'C');
    world_unlinks(w, 'A', 'X');
    world_links(w, 'B', 'A');
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &ref, 0, NULL), 0);
    world_traps(w, 'A');
    assert_true(world_info(w, 'A').trap_exit);
    np_out_init(&out, &buf, 1000);
    np_procs_links_term(w->procs, &a, &out);
    np_procs_watchers_term(w->procs, &a, &out);
    np_procs_links_term(w->procs, &x, &out);
    np_in in = np_out_view(&out), element;
    np_list list;
    assert_int_equal(np_in_list(&in, &list), 0);
    assert_true(np_list_next(&list, &element));
    assert_int_equal(np_in_pid(&element, &pid), 0);
    assert_true(np_pid_eq(&pid, &b));
    assert_true(np_list_next(&list, &element));
    assert_false(np_list_next(&list, &element));
    assert_true(np_list_proper(&list));
    assert_int_equal(np_in_list(&in, &list), 0);
    assert_true(np_list_next(&list, &element));
    assert_int_equal(np_in_pid(&element, &pid), 0);
    assert_true(np_pid_eq(&pid, &x));
    assert_false(np_list_next(&list, &element));
    assert_int_equal(np_in_list(&in, &list), 0);
    assert_false(np_list_next(&list, &element));
    assert_true(np_in_at_end(&in));
    np_buf_fini(&buf);
}

static void destroyed_while_in_use(void **state) {
    (void)state;
    world w;
    np_ref ref;
    procs_world_init(&w);
    np_ref remote = world_remote_ref(w.r1, 1);
    for (int i = 0; i < 3; i++)
        world_spawn(&w);
    np_pid a = world_pid(&w, 'A'), x = world_pid(&w, 'X');
    world_reg(&w, 'A', "srv");
    world_links(&w, 'A', 'X');
    assert_int_equal(np_procs_set_leader(w.procs, &a, &x), 0);
    assert_int_equal(np_procs_monitor_name(w.procs, &a, w.r1, "srv", 3, &ref), 0);
    assert_int_equal(np_procs_monitor_name(w.procs, &a, w.self, "none", 4, &ref), 0); /* pending */
    assert_int_equal(world_signal(&w, NP_SIGNAL_MONITOR, 'X', 0, "srv", &remote, 0, NULL), 0);
    np_procs_destroy(&w.procs);
    np_buf_fini(&w.log);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(finds_only_what_lives),
        TEST(never_the_same_pid_twice),
        TEST(a_used_up_slot_is_retired),
        TEST(walks_over_live_ones),
        TEST(leaders),
        TEST(names),
        TEST(watched_from_elsewhere),
        TEST(watched_by_name),
        TEST(peers_that_break_rules),
        TEST(watching_locally),
        TEST(watching_the_dead),
        TEST(watching_names_here),
        TEST(watching_elsewhere),
        TEST(watching_oneself),
        TEST(aliases),
        TEST(aliases_go_with_their_monitor),
        TEST(references_differ),
        TEST(a_long_chain_dies),
        TEST(tables_grow_and_are_reused),
        TEST(lists_for_process_info),
        cmocka_unit_test(destroyed_while_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
