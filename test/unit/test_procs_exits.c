/*
 * The process table: links, exit signals, nodes that go, and class functions that call back into the table.
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

/* ---- links ---- */

static void links_here(void **state) {
    world *w = *state;
    world_traps(w, 'A');
    world_links(w, 'A', 'B');
    world_links(w, 'B', 'A');
    world_links(w, 'C', 'B');
    world_links(w, 'D', 'D');
    assert_int_equal(world_info(w, 'B').links, 2);
    assert_int_equal(world_info(w, 'D').links, 0);
    world_exits(w, 'B', "boom");
    world_expect(w, "A: EXIT B boom; C killed boom");
    assert_int_equal(world_info(w, 'A').links, 0);
    world_links(w, 'A', 'D');
    world_unlinks(w, 'D', 'A');
    world_unlinks(w, 'D', 'A');
    world_exits(w, 'D', "boom");
    world_expect(w, "");
    world_links(w, 'A', 'B'); /* dead */
    assert_int_equal(w->woken, 1);
    world_expect(w, "");
    np_procs_run(w->procs);
    world_expect(w, "A: EXIT B noproc");
    world_links(w, 'A', 'B');
    world_unlinks(w, 'A', 'B');
    np_procs_run(w->procs);
    world_expect(w, ""); /* no EXIT after unlink */
}

static void linking_the_dead_kills(void **state) {
    world *w = *state;
    world_exits(w, 'B', "normal");
    world_links(w, 'A', 'B');
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
    assert_int_equal(world_info(w, 'A').links, 3);
    world_expect(w, "");
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID, 'X', 'A', NULL, NULL, 5, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID, 'X', 'A', NULL, NULL, 6, NULL), 0);
    world_expect(w, "> UNLINK_ID_ACK A X 5; > UNLINK_ID_ACK A X 6");
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK, 'Z', 'A', NULL, NULL, 0, NULL), 0);
    world_expect(w, "");
    world_exits(w, 'A', "normal");
    world_expect(w, "> EXIT A Y normal");
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'X', 'A', NULL, NULL, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID, 'X', 'A', NULL, NULL, 7, NULL), 0);
    world_expect(w, "> EXIT A X noproc; > UNLINK_ID_ACK A X 7");
}

static void links_to_elsewhere(void **state) {
    world *w = *state;
    world_links(w, 'A', 'X');
    world_links(w, 'A', 'X');
    world_expect(w, "> LINK A X");
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'X', 'A', NULL, NULL, 0, NULL), 0);
    world_unlinks(w, 'A', 'X');
    world_unlinks(w, 'A', 'X');
    world_expect(w, "> UNLINK_ID A X 1");
    assert_int_equal(world_info(w, 'A').links, 0);
    /* inactive: neither an EXIT nor a LINK counts until the other side has acknowledged */
    assert_int_equal(world_signal(w, NP_SIGNAL_EXIT, 'X', 'A', NULL, NULL, 0, "boom"), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'X', 'A', NULL, NULL, 0, NULL), 0);
    assert_int_equal(world_info(w, 'A').links, 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID_ACK, 'X', 'A', NULL, NULL, 2, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'X', 'A', NULL, NULL, 0, NULL), 0);
    assert_int_equal(world_info(w, 'A').links, 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID_ACK, 'X', 'A', NULL, NULL, 1, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'X', 'A', NULL, NULL, 0, NULL), 0);
    assert_int_equal(world_info(w, 'A').links, 1);
    world_expect(w, "");
    assert_int_equal(world_signal(w, NP_SIGNAL_EXIT, 'X', 'A', NULL, NULL, 0, "boom"), 0);
    world_expect(w, "A killed boom");
}

static void linking_again_before_the_acknowledgement(void **state) {
    world *w = *state;
    world_links(w, 'A', 'X');
    world_unlinks(w, 'A', 'X');
    world_links(w, 'A', 'X');
    assert_int_equal(world_info(w, 'A').links, 1);
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID_ACK, 'X', 'A', NULL, NULL, 1, NULL), 0);
    assert_int_equal(world_info(w, 'A').links, 1);
    world_unlinks(w, 'A', 'X');
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID_ACK, 'X', 'A', NULL, NULL, 1, NULL), 0);
    world_exits(w, 'A', "boom"); /* an inactive link tells nobody */
    world_expect(w, "> LINK A X; > UNLINK_ID A X 1; > LINK A X; > UNLINK_ID A X 2");
}

static void exits_without_a_link_are_ignored(void **state) {
    world *w = *state;
    world_traps(w, 'A');
    assert_int_equal(world_signal(w, NP_SIGNAL_EXIT, 'X', 'A', NULL, NULL, 0, "boom"), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_EXIT, 'X', 'B', NULL, NULL, 0, "boom"), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_UNLINK_ID_ACK, 'X', 'B', NULL, NULL, 1, NULL), 0);
    world_expect(w, "");
    assert_true(world_alive(w, 'B'));
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
            world_traps(&w, 'B');
        if (!rows[i].exit2)
            assert_int_equal(world_signal(&w, NP_SIGNAL_LINK, 'X', 'B', NULL, NULL, 0, NULL), 0);
        assert_int_equal(
            world_signal(&w, rows[i].exit2 ? NP_SIGNAL_EXIT2 : NP_SIGNAL_EXIT, 'X', 'B', NULL, NULL, 0, rows[i].reason),
            0);
        world_expect(&w, rows[i].log);
        assert_int_equal(world_alive(&w, 'B'), strstr(rows[i].log, "killed ") == NULL);
        procs_world_fini(&w);
    }
}

static void exit2_of_local_processes(void **state) {
    world *w = *state;
    world_exit2(w, 'A', 'X', "boom");
    world_expect(w, "> EXIT2 A X boom");
    world_exit2(w, 'A', 'A', "normal"); /* exit(self(), normal) does end it */
    world_expect(w, "A killed normal");
    world_exit2(w, 'A', 'A', "boom");
    world_exit2(w, 'B', 'C', "normal");
    world_expect(w, "");
    world_links(w, 'C', 'D');
    world_traps(w, 'D');
    (void)world_monitors(w, 'B', 'C');
    world_exit2(w, 'B', 'C', "kill");
    world_expect(w, "C killed killed; D: EXIT C killed; B: DOWN 1 C killed");
}

static void all_who_care_are_told(void **state) {
    world *w = *state;
    np_ref ref = world_remote_ref(w->r1, 9);
    world_traps(w, 'B');
    world_reg(w, 'A', "srv");
    world_links(w, 'A', 'X');
    world_links(w, 'A', 'B');
    (void)world_monitors(w, 'C', 'A');
    (void)world_monitors(w, 'A', 'U');
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'Y', 0, "srv", &ref, 0, NULL), 0);
    np_ref alias = np_procs_make_ref(w->procs);
    np_pid a = world_pid(w, 'A'), pid;
    assert_int_equal(np_procs_alias(w->procs, &a, &alias, false), 0);
    np_buf_clear(&w->log, 0);
    world_exits(w, 'A', "boom");
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
    world_traps(w, 'B');
    world_links(w, 'B', 'X');
    world_links(w, 'C', 'Y');
    world_links(w, 'D', 'U');
    world_links(w, 'A', 'Y');
    world_unlinks(w, 'A', 'Y'); /* inactive: dropped */
    (void)world_monitors(w, 'A', 'X');
    assert_int_equal(np_procs_monitor_name(w->procs, &a, w->r1, "srv", 3, &named), 0);
    (void)world_monitors(w, 'A', 'U');
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &ref, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'U', 'A', NULL, &ref2, 0, NULL), 0);
    np_buf_clear(&w->log, 0);
    np_procs_node_down(w->procs, w->r1);
    world_expect(w, "A: DOWN 2 {srv,r1@h} noconnection; A: DOWN 1 X noconnection; C killed noconnection; "
                    "B: EXIT X noconnection");
    assert_int_equal(world_info(w, 'A').monitored_by, 1);
    np_procs_node_down(w->procs, w->r1);
    np_procs_node_down(w->procs, np_name_id("never@seen"));
    world_exits(w, 'A', "boom");
    world_expect(w, "> DEMONITOR A U 3; > DOWN A U 9 boom");
}

static void nodes_that_are_not_there(void **state) {
    world *w = *state;
    w->down1 = true;
    world_traps(w, 'A');
    np_ref ref = world_monitors(w, 'A', 'X');
    world_links(w, 'A', 'X');
    world_links(w, 'B', 'Y');
    np_buf_clear(&w->log, 0);
    assert_int_equal(w->woken, 1);
    np_procs_run(w->procs);
    world_expect(w, "A: DOWN 1 X noconnection; A: EXIT X noconnection; B killed noconnection");
    world_links(w, 'A', 'X');
    world_unlinks(w, 'A', 'X');
    ref = world_monitors(w, 'A', 'X');
    np_pid a = world_pid(w, 'A');
    assert_int_equal(np_procs_demonitor(w->procs, &a, &ref), 0);
    np_procs_run(w->procs);
    world_expect(w, "> LINK A X; > MONITOR A X 2");
    /* a pid of another incarnation */
    w->down1 = false;
    w->io_error = NP_ENOPROC;
    ref = world_monitors(w, 'A', 'X');
    world_links(w, 'A', 'X');
    np_buf_clear(&w->log, 0);
    np_procs_run(w->procs);
    world_expect(w, "A: DOWN 3 X noproc; A: EXIT X noproc");
    /* the node goes between LINK and UNLINK_ID */
    w->io_error = 0;
    world_links(w, 'A', 'Z');
    w->down1 = true;
    world_unlinks(w, 'A', 'Z');
    assert_int_equal(world_info(w, 'A').links, 0);
}

static void takes_node_down(world *w, const np_signal *signal) {
    w->on_signal = NULL;
    np_procs_node_down(w->procs, signal->node);
}

static void the_node_goes_within_the_io(void **state) {
    world *w = *state;
    world_traps(w, 'A');
    w->down1 = true;
    w->on_signal = takes_node_down;
    (void)world_monitors(w, 'A', 'X');
    np_procs_run(w->procs);
    w->on_signal = takes_node_down;
    world_links(w, 'A', 'X');
    np_procs_run(w->procs);
    world_expect(w, "> MONITOR A X 1; A: DOWN 1 X noconnection; > LINK A X; A: EXIT X noconnection");
    w->down1 = false;
    for (char name = 'X'; name <= 'Z'; name++) {
        np_ref ref = world_remote_ref(w->r1, (uint32_t)name);
        assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, name, 'B', NULL, &ref, 0, NULL), 0);
        assert_int_equal(world_signal(w, NP_SIGNAL_LINK, name, 'B', NULL, NULL, 0, NULL), 0);
    }
    w->on_signal = takes_node_down;
    world_exits(w, 'B', "boom");
    world_expect(w, "> EXIT B X boom");
}

/* ---- class functions that call back ---- */

static void demonitors_and_unlinks(world *w, world_proc *self) {
    np_ref second = np_procs_make_ref(w->procs);
    second.id[0] = 2;
    self->on_message = NULL;
    assert_int_equal(np_procs_demonitor(w->procs, &self->pid, &second), 0);
    world_unlinks(w, self->name, 'C');
    world_exit2(w, self->name, 'D', "kill");
    assert_true(world_alive(w, 'D')); /* not within this call */
}

static void what_is_under_way_can_be_stopped(void **state) {
    world *w = *state;
    world_traps(w, 'A');
    world_traps(w, 'D');
    world_links(w, 'A', 'X');
    world_links(w, 'A', 'C');
    (void)world_monitors(w, 'A', 'B');
    np_ref two = world_monitors(w, 'A', 'C');
    assert_int_equal(two.id[0], 2);
    world_links(w, 'B', 'C');
    w->proc[0].on_message = demonitors_and_unlinks;
    np_buf_clear(&w->log, 0);
    /* B's DOWN reaches A when EXIT and DOWN of C are in the queue behind it already; A does not want them any more */
    world_exits(w, 'B', "boom");
    world_expect(w, "C killed boom; A: DOWN 1 B boom; D killed killed");
}

static void kills_itself(world *w, world_proc *self) { np_procs_exit(w->procs, &self->pid, world_atom("own")); }

static void ends_within_a_message(void **state) {
    world *w = *state;
    world_traps(w, 'A');
    world_links(w, 'A', 'B');
    world_links(w, 'A', 'C');
    (void)world_monitors(w, 'A', 'B');
    (void)world_monitors(w, 'D', 'A');
    w->proc[0].on_message = kills_itself;
    world_exits(w, 'B', "boom");
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
    world_traps(w, 'A');
    w->proc[0].on_message = feeds_signals;
    assert_int_equal(world_signal(w, NP_SIGNAL_EXIT2, 'X', 'A', NULL, NULL, 0, "go"), 0);
    world_expect(w, "B killed boom; C killed bang");
}

/* ---- limits ---- */

/* The table is made to believe that it holds NP_MONITORS_MAX relations. */
static void what_cannot_be_kept_is_refused(void **state) {
    world *w = *state;
    np_ref ref = world_remote_ref(w->r1, 1), own;
    np_pid a = world_pid(w, 'A'), x = world_pid(w, 'X'), b = world_pid(w, 'B');
    world_links(w, 'A', 'B'); /* so that there is a table */
    w->procs->links.count += NP_MONITORS_MAX;
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &ref, 0, NULL), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_LINK, 'X', 'A', NULL, NULL, 0, NULL), 0);
    world_expect(w, "> DOWN A X 1 system_limit; > EXIT A X system_limit");
    assert_int_equal(np_procs_monitor(w->procs, &a, &b, &own), NP_ELIMIT);
    assert_int_equal(np_procs_monitor_name(w->procs, &a, w->r1, "srv", 3, &own), NP_ELIMIT);
    assert_int_equal(np_procs_link(w->procs, &a, &x), NP_ELIMIT);
    w->procs->links.count -= NP_MONITORS_MAX;
    assert_int_equal(np_procs_link(w->procs, &a, &x), 0);
    assert_int_equal(world_signal(w, NP_SIGNAL_MONITOR, 'X', 'A', NULL, &ref, 0, NULL), 0);
    world_expect(w, "> LINK A X");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(links_here),
        TEST(linking_the_dead_kills),
        TEST(links_from_elsewhere),
        TEST(links_to_elsewhere),
        TEST(linking_again_before_the_acknowledgement),
        TEST(exits_without_a_link_are_ignored),
        cmocka_unit_test(exit_signals),
        TEST(exit2_of_local_processes),
        TEST(all_who_care_are_told),
        TEST(nodes_that_go),
        TEST(nodes_that_are_not_there),
        TEST(the_node_goes_within_the_io),
        TEST(what_is_under_way_can_be_stopped),
        TEST(ends_within_a_message),
        TEST(signals_within_a_message),
        TEST(what_cannot_be_kept_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
