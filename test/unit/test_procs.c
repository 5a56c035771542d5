/*
 * The process table: pids, names, monitors, links, aliases and exit signals, each rule of the Erlang reference
 * manual's "Processes" and of the distribution protocol by itself. test_procs_model.c plays them against each other
 * at random.
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

static int setup(void **state) {
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    procs_world_init(w);
    for (int i = 0; i < 4; i++)
        world_spawn(w); /* A B C D */
    *state = w;
    return 0;
}

static int teardown(void **state) {
    world *w = *state;
    procs_world_fini(w);
    free(w);
    return 0;
}

static void exits(world *w, char name, const char *reason) {
    np_pid pid = world_pid(w, name);
    np_procs_exit(w->procs, &pid, world_atom(reason));
}

static void exit2(world *w, char from, char to, const char *reason) {
    np_pid f = world_pid(w, from), t = world_pid(w, to);
    np_procs_exit2(w->procs, &f, &t, world_atom(reason));
}

static void traps(world *w, char name) {
    np_pid pid = world_pid(w, name);
    assert_int_equal(np_procs_set_trap_exit(w->procs, &pid, true), 0);
}

static void links(world *w, char a, char b) {
    np_pid self = world_pid(w, a), pid = world_pid(w, b);
    assert_int_equal(np_procs_link(w->procs, &self, &pid), 0);
}

static void unlinks(world *w, char a, char b) {
    np_pid self = world_pid(w, a), pid = world_pid(w, b);
    assert_int_equal(np_procs_unlink(w->procs, &self, &pid), 0);
}

static np_ref monitors(world *w, char a, char b) {
    np_pid self = world_pid(w, a), pid = world_pid(w, b);
    np_ref ref;
    assert_int_equal(np_procs_monitor(w->procs, &self, &pid, &ref), 0);
    return ref;
}

static bool alive(world *w, char name) {
    np_pid pid = world_pid(w, name);
    return np_procs_alive(w->procs, &pid);
}

static void reg(world *w, char name, const char *as) {
    np_pid pid = world_pid(w, name);
    assert_int_equal(np_procs_register(w->procs, &pid, as, strlen(as)), 0);
}

static np_proc_info info(world *w, char name) {
    np_pid pid = world_pid(w, name);
    np_proc_info i;
    assert_int_equal(np_procs_info(w->procs, &pid, &i), 0);
    return i;
}

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
    exits(w, 'A', "normal");
    assert_null(np_procs_find(w->procs, &a, &target));
    assert_int_equal(np_procs_set_target(w->procs, &a, w), NP_ENOPROC);
    assert_int_equal(np_procs_set_trap_exit(w->procs, &a, true), NP_ENOPROC);
    assert_int_equal(np_procs_count(w->procs), 3);
}

static void never_the_same_pid_twice(void **state) {
    world *w = *state;
    np_pid seen[64];
    exits(w, 'B', "normal");
    exits(w, 'D', "normal");
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
    exits(w, 'D', "normal");
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
    exits(w, 'C', "normal");
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
    exits(w, 'A', "normal");
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
    exits(w, 'A', "normal");
    assert_int_equal(np_procs_whereis(w->procs, "two", 3, &pid), NP_ENOENT);
    assert_int_equal(np_procs_register(w->procs, &b, "two", 3), 0);
}

/* ---- monitors ---- */

static void watched_from_elsewhere(void **state) {
    world *w = *state;
    np_ref ref = world_remote_ref(w->r1, 1), other = world_remote_ref(w->r1, 2);
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &ref, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &other, 0, NULL), 0);
    assert_int_equal(info(w, 'A').monitored_by, 2);
    assert_int_equal(world_signal(w, NP_SIGNAL_DEMONITOR, 'X', 'A', NULL, &other, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_DEMONITOR, 'X', 'A', NULL, &other, 0, NULL), 0);
    world_expect(w, "");
    exits(w, 'A', "normal");
    world_expect(w, "> DOWN A X 1 normal");
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &ref, 0, NULL), 0);
    world_expect(w, "> DOWN A X 1 noproc");
}

static void watched_by_name(void **state) {
    world *w = *state;
    np_ref ref = world_remote_ref(w->r1, 1), other = world_remote_ref(w->r1, 2);
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 0, "srv", &ref, 0, NULL), 0);
    world_expect(w, "> DOWN srv X 1 noproc");
    reg(w, 'A', "srv");
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 0, "srv", &ref, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'Y', 0, "srv", &other, 0, NULL), 0);
    /* bound to the process, shown with the name that was asked for */
    assert_int_equal(np_procs_unregister(w->procs, "srv", 3), 0);
    reg(w, 'B', "srv");
    exits(w, 'B', "normal");
    world_expect(w, "");
    assert_int_equal(world_signal(w, NP_SIGNAL_DEMONITOR, 'Y', 0, "srv", &other, 0, NULL), 0);
    exits(w, 'A', "boom");
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
    assert_true(alive(w, 'A'));
}

static void watching_locally(void **state) {
    world *w = *state;
    np_ref one = monitors(w, 'A', 'B'), two = monitors(w, 'A', 'B'), three = monitors(w, 'C', 'B');
    assert_int_equal(one.id[0], 1);
    assert_int_equal(info(w, 'A').monitors, 2);
    assert_int_equal(info(w, 'B').monitored_by, 3);
    np_pid a = world_pid(w, 'A'), b = world_pid(w, 'B'), c = world_pid(w, 'C');
    assert_int_equal(np_procs_demonitor(w->procs, &a, &two), 0);
    assert_int_equal(np_procs_demonitor(w->procs, &a, &two), NP_ENOENT);
    assert_int_equal(np_procs_demonitor(w->procs, &a, &three), NP_ENOENT); /* C's */
    assert_int_equal(np_procs_monitor_with(w->procs, &c, &b, &three), NP_EEXIST);
    exits(w, 'C', "normal");
    exits(w, 'B', "boom");
    world_expect(w, "A: DOWN 1 B boom");
    exits(w, 'B', "again");
    world_expect(w, "");
}

static void watching_the_dead(void **state) {
    world *w = *state;
    exits(w, 'B', "normal");
    np_pid a = world_pid(w, 'A'), old = world_pid(w, 'A'), nobody = {0};
    np_ref ref;
    old.creation = 3;
    (void)monitors(w, 'A', 'B');
    world_expect(w, ""); /* never within the call */
    assert_int_equal(w->woken, 1);
    assert_true(np_procs_pending(w->procs));
    assert_int_equal(np_procs_monitor(w->procs, &a, &old, &ref), 0);
    assert_int_equal(w->woken, 1);
    np_procs_run(w->procs);
    world_expect(w, "A: DOWN 1 B noproc; A: DOWN 2 ? noproc");
    np_ref gone = monitors(w, 'A', 'B');
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
    reg(w, 'B', "srv");
    assert_int_equal(np_procs_monitor_name(w->procs, &a, w->self, "srv", 3, &ref), 0);
    assert_int_equal(np_procs_monitor_name(w->procs, &a, w->self, "none", 4, &ref), 0);
    assert_int_equal(np_procs_monitor_name(w->procs, &a, w->self, "", 0, &ref), NP_EINVAL);
    np_procs_run(w->procs);
    world_expect(w, "A: DOWN 2 {none,n@h} noproc");
    exits(w, 'B', "boom");
    world_expect(w, "A: DOWN 1 {srv,n@h} boom");
}

static void watching_elsewhere(void **state) {
    world *w = *state;
    np_pid a = world_pid(w, 'A');
    np_ref one = monitors(w, 'A', 'X'), two = monitors(w, 'A', 'X'), named, three;
    assert_int_equal(np_procs_monitor_name(w->procs, &a, w->r1, "srv", 3, &named), 0);
    three = monitors(w, 'A', 'U');
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
    exits(w, 'A', "normal");
    world_expect(w, "> MONITOR A q@r2 5; > DEMONITOR A U 4; > DEMONITOR A q@r2 5");
}

static void watching_oneself(void **state) {
    world *w = *state;
    (void)monitors(w, 'A', 'A');
    assert_int_equal(info(w, 'A').monitors, 1);
    assert_int_equal(info(w, 'A').monitored_by, 1);
    exits(w, 'A', "normal");
    world_expect(w, "");
}

/* ---- links ---- */

static void links_here(void **state) {
    world *w = *state;
    traps(w, 'A');
    links(w, 'A', 'B');
    links(w, 'B', 'A');
    links(w, 'C', 'B');
    links(w, 'D', 'D');
    assert_int_equal(info(w, 'B').links, 2);
    assert_int_equal(info(w, 'D').links, 0);
    exits(w, 'B', "boom");
    world_expect(w, "A: EXIT B boom; C killed boom");
    assert_int_equal(info(w, 'A').links, 0);
    links(w, 'A', 'D');
    unlinks(w, 'D', 'A');
    unlinks(w, 'D', 'A');
    exits(w, 'D', "boom");
    world_expect(w, "");
    links(w, 'A', 'B'); /* dead */
    assert_int_equal(w->woken, 1);
    world_expect(w, "");
    np_procs_run(w->procs);
    world_expect(w, "A: EXIT B noproc");
    links(w, 'A', 'B');
    unlinks(w, 'A', 'B');
    np_procs_run(w->procs);
    world_expect(w, ""); /* no EXIT after unlink */
}

static void linking_the_dead_kills(void **state) {
    world *w = *state;
    exits(w, 'B', "normal");
    links(w, 'A', 'B');
    np_procs_run(w->procs);
    world_expect(w, "A killed noproc");
    np_pid a = world_pid(w, 'A'), c = world_pid(w, 'C');
    assert_int_equal(np_procs_link(w->procs, &a, &c), NP_ENOPROC);
    assert_int_equal(np_procs_unlink(w->procs, &a, &c), NP_ENOPROC);
}

static void links_from_elsewhere(void **state) {
    world *w = *state;
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'X', 'A', NULL, NULL, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'X', 'A', NULL, NULL, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'Y', 'A', NULL, NULL, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'Z', 'A', NULL, NULL, 0, NULL), 0);
    assert_int_equal(info(w, 'A').links, 3);
    world_expect(w, "");
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID, 'X', 'A', NULL, NULL, 5, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID, 'X', 'A', NULL, NULL, 6, NULL), 0);
    world_expect(w, "> UNLINK_ID_ACK A X 5; > UNLINK_ID_ACK A X 6");
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK, 'Z', 'A', NULL, NULL, 0, NULL), 0);
    world_expect(w, "");
    exits(w, 'A', "normal");
    world_expect(w, "> EXIT A Y normal");
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'X', 'A', NULL, NULL, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID, 'X', 'A', NULL, NULL, 7, NULL), 0);
    world_expect(w, "> EXIT A X noproc; > UNLINK_ID_ACK A X 7");
}

static void links_to_elsewhere(void **state) {
    world *w = *state;
    links(w, 'A', 'X');
    links(w, 'A', 'X');
    world_expect(w, "> LINK A X");
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'X', 'A', NULL, NULL, 0, NULL), 0);
    unlinks(w, 'A', 'X');
    unlinks(w, 'A', 'X');
    world_expect(w, "> UNLINK_ID A X 1");
    assert_int_equal(info(w, 'A').links, 0);
    /* inactive: neither an EXIT nor a LINK counts until the other side has acknowledged */
    assert_int_equal(world_signal(w, NP_SIGNAL_EXIT, 'X', 'A', NULL, NULL, 0, "boom"), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'X', 'A', NULL, NULL, 0, NULL), 0);
    assert_int_equal(info(w, 'A').links, 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID_ACK, 'X', 'A', NULL, NULL, 2, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'X', 'A', NULL, NULL, 0, NULL), 0);
    assert_int_equal(info(w, 'A').links, 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID_ACK, 'X', 'A', NULL, NULL, 1, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'X', 'A', NULL, NULL, 0, NULL), 0);
    assert_int_equal(info(w, 'A').links, 1);
    world_expect(w, "");
    assert_int_equal(world_signal(w, NP_SIGNAL_EXIT, 'X', 'A', NULL, NULL, 0, "boom"), 0);
    world_expect(w, "A killed boom");
}

static void linking_again_before_the_acknowledgement(void **state) {
    world *w = *state;
    links(w, 'A', 'X');
    unlinks(w, 'A', 'X');
    links(w, 'A', 'X');
    assert_int_equal(info(w, 'A').links, 1);
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID_ACK, 'X', 'A', NULL, NULL, 1, NULL), 0);
    assert_int_equal(info(w, 'A').links, 1);
    unlinks(w, 'A', 'X');
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID_ACK, 'X', 'A', NULL, NULL, 1, NULL), 0);
    exits(w, 'A', "boom"); /* an inactive link tells nobody */
    world_expect(w, "> LINK A X; > UNLINK_ID A X 1; > LINK A X; > UNLINK_ID A X 2");
}

static void exits_without_a_link_are_ignored(void **state) {
    world *w = *state;
    traps(w, 'A');
    assert_int_equal(world_signal(w, NP_SIGNAL_EXIT, 'X', 'A', NULL, NULL, 0, "boom"), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_EXIT, 'X', 'B', NULL, NULL, 0, "boom"), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID_ACK, 'X', 'B', NULL, NULL, 1, NULL), 0);
    world_expect(w, "");
    assert_true(alive(w, 'B'));
}

/* ---- exit signals ---- */

static void exit_signals(void **state) {
    static const struct {
        bool exit2, trap;
        const char *reason, *log;
    } rows[] = {
        {false, false, "normal", ""},
        {false, false, "boom", "B killed boom"},
        {false, false, "kill", "B killed kill"}, /* a broken link is no exit(_, kill) */
        {false, false, "killed", "B killed killed"},
        {false, true, "normal", "B: EXIT X normal"},
        {false, true, "boom", "B: EXIT X boom"},
        {false, true, "kill", "B: EXIT X kill"},
        {true, false, "normal", ""},
        {true, false, "boom", "B killed boom"},
        {true, false, "kill", "B killed killed"},
        {true, true, "normal", "B: EXIT X normal"},
        {true, true, "boom", "B: EXIT X boom"},
        {true, true, "kill", "B killed killed"},
    };
    (void)state;
    for (size_t i = 0; i < NP_ARRAY_LEN(rows); i++) {
        world w;
        procs_world_init(&w);
        world_spawn(&w);
        world_spawn(&w);
        if (rows[i].trap)
            traps(&w, 'B');
        if (!rows[i].exit2)
            assert_int_equal(world_signal(&w, NP_SIGNAL_LINK, 'X', 'B', NULL, NULL, 0, NULL), 0);
        assert_int_equal(
            world_signal(&w, rows[i].exit2 ? NP_SIGNAL_EXIT2 : NP_SIGNAL_EXIT, 'X', 'B', NULL, NULL, 0, rows[i].reason),
            0);
        world_expect(&w, rows[i].log);
        assert_int_equal(alive(&w, 'B'), strstr(rows[i].log, "killed ") == NULL);
        procs_world_fini(&w);
    }
}

static void exit2_of_local_processes(void **state) {
    world *w = *state;
    exit2(w, 'A', 'X', "boom");
    world_expect(w, "> EXIT2 A X boom");
    exit2(w, 'A', 'A', "normal"); /* exit(self(), normal) does end it */
    world_expect(w, "A killed normal");
    exit2(w, 'A', 'A', "boom");
    exit2(w, 'B', 'C', "normal");
    world_expect(w, "");
    links(w, 'C', 'D');
    traps(w, 'D');
    (void)monitors(w, 'B', 'C');
    exit2(w, 'B', 'C', "kill");
    world_expect(w, "C killed killed; D: EXIT C killed; B: DOWN 1 C killed");
}

static void all_who_care_are_told(void **state) {
    world *w = *state;
    np_ref ref = world_remote_ref(w->r1, 9);
    traps(w, 'B');
    reg(w, 'A', "srv");
    links(w, 'A', 'X');
    links(w, 'A', 'B');
    (void)monitors(w, 'C', 'A');
    (void)monitors(w, 'A', 'U');
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'Y', 0, "srv", &ref, 0, NULL), 0);
    np_ref alias = np_procs_make_ref(w->procs);
    np_pid a = world_pid(w, 'A'), pid;
    assert_int_equal(np_procs_alias(w->procs, &a, &alias, false), 0);
    np_buf_clear(&w->log, 0);
    exits(w, 'A', "boom");
    /* links first; signals to other nodes at once, local ones through the queue */
    world_expect(w, "> EXIT A X boom; > DEMONITOR A U 2; > DOWN srv Y 9 boom; B: EXIT A boom; C: DOWN 1 A boom");
    assert_int_equal(np_procs_alias_take(w->procs, &alias, &pid), NP_ENOENT);
    assert_int_equal(np_procs_whereis(w->procs, "srv", 3, &pid), NP_ENOENT);
}

/* ---- other nodes ---- */

static void nodes_that_go(void **state) {
    world *w = *state;
    np_ref ref = world_remote_ref(w->r1, 9), ref2 = world_remote_ref(w->r2, 9);
    np_pid a = world_pid(w, 'A');
    np_ref named;
    traps(w, 'B');
    links(w, 'B', 'X');
    links(w, 'C', 'Y');
    links(w, 'D', 'U');
    links(w, 'A', 'Y');
    unlinks(w, 'A', 'Y'); /* inactive: dropped */
    (void)monitors(w, 'A', 'X');
    assert_int_equal(np_procs_monitor_name(w->procs, &a, w->r1, "srv", 3, &named), 0);
    (void)monitors(w, 'A', 'U');
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &ref, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'U', 'A', NULL, &ref2, 0, NULL), 0);
    np_buf_clear(&w->log, 0);
    np_procs_node_down(w->procs, w->r1);
    world_expect(w, "A: DOWN 2 {srv,r1@h} noconnection; A: DOWN 1 X noconnection; C killed noconnection; "
                    "B: EXIT X noconnection");
    assert_int_equal(info(w, 'A').monitored_by, 1);
    np_procs_node_down(w->procs, w->r1);
    np_procs_node_down(w->procs, np_name_id("never@seen"));
    exits(w, 'A', "boom");
    world_expect(w, "> DEMONITOR A U 3; > DOWN A U 9 boom");
}

static void nodes_that_are_not_there(void **state) {
    world *w = *state;
    w->down1 = true;
    traps(w, 'A');
    np_ref ref = monitors(w, 'A', 'X');
    links(w, 'A', 'X');
    links(w, 'B', 'Y');
    np_buf_clear(&w->log, 0);
    assert_int_equal(w->woken, 1);
    np_procs_run(w->procs);
    world_expect(w, "A: DOWN 1 X noconnection; A: EXIT X noconnection; B killed noconnection");
    links(w, 'A', 'X');
    unlinks(w, 'A', 'X');
    ref = monitors(w, 'A', 'X');
    np_pid a = world_pid(w, 'A');
    assert_int_equal(np_procs_demonitor(w->procs, &a, &ref), 0);
    np_procs_run(w->procs);
    world_expect(w, "> LINK A X; > MONITOR A X 2");
    /* a pid of another incarnation */
    w->down1 = false;
    w->io_error = NP_ENOPROC;
    ref = monitors(w, 'A', 'X');
    links(w, 'A', 'X');
    np_buf_clear(&w->log, 0);
    np_procs_run(w->procs);
    world_expect(w, "A: DOWN 3 X noproc; A: EXIT X noproc");
    /* the node goes between LINK and UNLINK_ID */
    w->io_error = 0;
    links(w, 'A', 'Z');
    w->down1 = true;
    unlinks(w, 'A', 'Z');
    assert_int_equal(info(w, 'A').links, 0);
}

static void takes_node_down(world *w, const np_signal *signal) {
    w->on_signal = NULL;
    np_procs_node_down(w->procs, signal->node);
}

static void the_node_goes_within_the_io(void **state) {
    world *w = *state;
    traps(w, 'A');
    w->down1 = true;
    w->on_signal = takes_node_down;
    (void)monitors(w, 'A', 'X');
    np_procs_run(w->procs);
    w->on_signal = takes_node_down;
    links(w, 'A', 'X');
    np_procs_run(w->procs);
    world_expect(w, "> MONITOR A X 1; A: DOWN 1 X noconnection; > LINK A X; A: EXIT X noconnection");
    w->down1 = false;
    for (char name = 'X'; name <= 'Z'; name++) {
        np_ref ref = world_remote_ref(w->r1, (uint32_t)name);
        assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, name, 'B', NULL, &ref, 0, NULL), 0);
        assert_int_equal(world_signal(w, NP_SIGNAL_LINK, name, 'B', NULL, NULL, 0, NULL), 0);
    }
    w->on_signal = takes_node_down;
    exits(w, 'B', "boom");
    world_expect(w, "> EXIT B X boom");
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

/* ---- class functions that call back ---- */

static void demonitors_and_unlinks(world *w, world_proc *self) {
    np_ref second = np_procs_make_ref(w->procs);
    second.id[0] = 2;
    self->on_message = NULL;
    assert_int_equal(np_procs_demonitor(w->procs, &self->pid, &second), 0);
    unlinks(w, self->name, 'C');
    exit2(w, self->name, 'D', "kill");
    assert_true(alive(w, 'D')); /* not within this call */
}

static void what_is_under_way_can_be_stopped(void **state) {
    world *w = *state;
    traps(w, 'A');
    traps(w, 'D');
    links(w, 'A', 'X');
    links(w, 'A', 'C');
    (void)monitors(w, 'A', 'B');
    np_ref two = monitors(w, 'A', 'C');
    assert_int_equal(two.id[0], 2);
    links(w, 'B', 'C');
    w->proc[0].on_message = demonitors_and_unlinks;
    np_buf_clear(&w->log, 0);
    /* B's DOWN reaches A when EXIT and DOWN of C are in the queue behind it already; A does not want them any more */
    exits(w, 'B', "boom");
    world_expect(w, "C killed boom; A: DOWN 1 B boom; D killed killed");
}

static void kills_itself(world *w, world_proc *self) { np_procs_exit(w->procs, &self->pid, world_atom("own")); }

static void ends_within_a_message(void **state) {
    world *w = *state;
    traps(w, 'A');
    links(w, 'A', 'B');
    links(w, 'A', 'C');
    (void)monitors(w, 'A', 'B');
    (void)monitors(w, 'D', 'A');
    w->proc[0].on_message = kills_itself;
    exits(w, 'B', "boom");
    world_expect(w, "A: EXIT B boom; C killed own; D: DOWN 2 A own");
}

/* A trapping process whose class function feeds signals in as if a loop-back io did. */
static void feeds_signals(world *w, world_proc *self) {
    self->on_message = NULL;
    assert_int_equal(world_signal(w, NP_SIGNAL_EXIT2, 'X', 'B', NULL, NULL, 0, "boom"), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'X', 'C', NULL, NULL, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_EXIT, 'X', 'C', NULL, NULL, 0, "bang"), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_EXIT, 'Y', 'D', NULL, NULL, 0, "nolink"), 0);
    world_expect(w, "A: EXIT X go");
}

static void signals_within_a_message(void **state) {
    world *w = *state;
    traps(w, 'A');
    w->proc[0].on_message = feeds_signals;
    assert_int_equal(world_signal(w, NP_SIGNAL_EXIT2, 'X', 'A', NULL, NULL, 0, "go"), 0);
    world_expect(w, "B killed boom; C killed bang");
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
    links(w, 'A', 'X');
    links(w, 'A', 'C');
    unlinks(w, 'A', 'X');
    links(w, 'B', 'A');
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &ref, 0, NULL), 0);
    traps(w, 'A');
    assert_true(info(w, 'A').trap_exit);
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
    reg(&w, 'A', "srv");
    links(&w, 'A', 'X');
    assert_int_equal(np_procs_set_leader(w.procs, &a, &x), 0);
    assert_int_equal(np_procs_monitor_name(w.procs, &a, w.r1, "srv", 3, &ref), 0);
    assert_int_equal(np_procs_monitor_name(w.procs, &a, w.self, "none", 4, &ref), 0); /* pending */
    assert_int_equal(world_signal(&w, NP_SIGNAL_MONITOR, 'X', 0, "srv", &remote, 0, NULL), 0);
    np_procs_destroy(&w.procs);
    np_buf_fini(&w.log);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
        TEST(links_here),
        TEST(linking_the_dead_kills),
        TEST(links_from_elsewhere),
        TEST(links_to_elsewhere),
        TEST(linking_again_before_the_acknowledgement),
        TEST(exits_without_a_link_are_ignored),
        TEST(exit_signals),
        TEST(exit2_of_local_processes),
        TEST(all_who_care_are_told),
        TEST(nodes_that_go),
        TEST(nodes_that_are_not_there),
        TEST(the_node_goes_within_the_io),
        TEST(aliases),
        TEST(aliases_go_with_their_monitor),
        TEST(references_differ),
        TEST(what_is_under_way_can_be_stopped),
        TEST(ends_within_a_message),
        TEST(signals_within_a_message),
        TEST(a_long_chain_dies),
        TEST(tables_grow_and_are_reused),
        TEST(lists_for_process_info),
        cmocka_unit_test(destroyed_while_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
