/*
 * What a scope does under load and from peers that are slow, mad or malicious: long lists in slices, messages that
 * wait, floods, rubbish; and what a name costs.
 */
#include "parse.h"
#include "syn_world.h"

#include "base/limits.h"
#include "base/log.h"
#include "syn/internal.h"
#include "term/out.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define P1  "#Pid<native@h,11,0,1>"
#define P2  "#Pid<native@h,12,0,1>"
#define A1  "#Pid<a@h,11,0,1>"
#define REG "#Pid<native@h,1,0,1>"

static int quiet_setup(void **state) {
    np_log_set_level(NP_LOG_CRITICAL);
    return syn_world_setup(state);
}

static int reg(world *w, const char *name, const char *meta) {
    np_pid p = parse_pid(P1);
    return np_syn_register(w->reg, parse(name), &p, parse(meta));
}

static void unreg(world *w, const char *name) {
    np_pid p = parse_pid(P1);
    assert_int_equal(np_syn_unregister(w->reg, parse(name), &p), 0);
}

/* ---- long lists ---- */

static void a_list_is_built_in_slices(void **state) {
    world *w = *state;
    w->syn->bounds.slice = 2;
    for (int i = 0; i < 5; i++)
        assert_int_equal(np_syn_register(w->reg, parsef("%d", i), &(np_pid){w->self, 11, 0, 1}, parse("m")), 0);
    np_syn_peer_up(w->syn, w->a);
    syn_world_expect(w, NULL);
    syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,1,0,1>,[]}");
    syn_world_expect(w, ""); /* 4 and 3 are in the list */
    assert_int_equal(np_syn_next(w->syn), 0);
    unreg(w, "2");          /* the next one */
    unreg(w, "4");          /* in the list already */
    reg(w, "3", "changed"); /* likewise */
    reg(w, "0", "changed"); /* not yet */
    reg(w, "new", "m");
    syn_world_call(w->reg, w->a, "{'3.0',unregister_on_node,a@h,1," P1 "}"); /* by the peer itself */
    syn_world_expect(w, "reply from {ok,syn_registry_by_pid_users}\n");
    while (np_syn_run(w->syn))
        ;
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',ack_sync," REG ",[{4," P1 ",m,T},{3," P1 ",m,T},{0," P1
                        ",changed,T}]}\n"
                        "send syn_registry_users a@h {'3.0',sync_unregister,2," P1 ",m,normal}\n"
                        "send syn_registry_users a@h {'3.0',sync_unregister,4," P1 ",m,normal}\n"
                        "send syn_registry_users a@h {'3.0',sync_register,3," P1 ",changed,T,normal}\n"
                        "send syn_registry_users a@h {'3.0',sync_register,0," P1 ",changed,T,normal}\n"
                        "send syn_registry_users a@h {'3.0',sync_register,new," P1 ",m,T,normal}\n"
                        "send syn_registry_users a@h {'3.0',sync_unregister,1," P1 ",m,normal}\n");
    assert_int_equal(np_syn_next(w->syn), UINT64_MAX);
    reg(w, "later", "m");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',sync_register,later," P1 ",m,T,normal}\n");
}

static void a_list_is_merged_in_slices(void **state) {
    world *w = *state;
    w->syn->bounds.slice = 2;
    w->syn->bounds.copy_free_bytes = 0;
    np_syn_peer_up(w->syn, w->a);
    syn_world_info(w->reg, w->a,
                   "{'3.0',ack_sync,#Pid<a@h,1,0,1>,[{0," A1 ",m,5},{1," A1 ",m,5},{2," A1 ",m,5},{3," A1 ",m,5},{4," A1
                   ",m,5}]}");
    assert_string_equal(syn_world_name(w->reg, "1"), A1 " m");
    assert_string_equal(syn_world_name(w->reg, "2"), "none");
    syn_world_expect(w, NULL);
    /* What that node says meanwhile waits; what happens here does not. */
    syn_world_info(w->reg, w->a, "{'3.0',sync_unregister,3," A1 ",m,normal}");
    syn_world_info(w->reg, w->a, "{'3.0',sync_register,5," A1 ",m,6,normal}");
    assert_string_equal(syn_world_name(w->reg, "5"), "none");
    assert_int_equal(reg(w, "4", "mine"), 0);
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',sync_register,4," P1 ",mine,T,normal}\n");
    syn_world_run(w);
    assert_string_equal(syn_world_name(w->reg, "2"), A1 " m");
    assert_string_equal(syn_world_name(w->reg, "3"), "none");
    assert_string_equal(syn_world_name(w->reg, "4"), P1 " mine");
    assert_string_equal(syn_world_name(w->reg, "5"), A1 " m");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',sync_register,4," P1 ",mine,T,syn_conflict_resolution}\n");
}

static void a_list_can_be_taken_over(void **state) {
    world *w = *state;
    np_buf buf = NP_BUF_INIT;
    w->syn->bounds.slice = 1;
    w->syn->bounds.copy_free_bytes = 0;
    np_syn_peer_up(w->syn, w->a);
    parse_to(&buf, "{'3.0',ack_sync,#Pid<a@h,1,0,1>,[{0," A1 ",m,5},{1," A1 ",m,5}]}");
    np_syn_info(w->reg, w->a, (np_in){np_buf_head(&buf), 0, np_buf_len(&buf)}, &buf);
    assert_int_equal(np_buf_len(&buf), 0);
    np_buf_fini(&buf);
    syn_world_run(w);
    assert_string_equal(syn_world_name(w->reg, "1"), A1 " m");
}

static void a_peer_that_goes_takes_a_half_merged_list_along(void **state) {
    world *w = *state;
    np_syn_stats stats;
    w->syn->bounds.slice = 1;
    w->syn->bounds.copy_free_bytes = 0;
    for (int i = 0; i < 2; i++) {
        np_syn_peer_up(w->syn, w->a);
        syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,1,0,1>,[{0," A1 ",m,5},{1," A1 ",m,5},{2," A1 ",m,5}]}");
        np_syn_run(w->syn);
        assert_string_equal(syn_world_name(w->reg, "1"), A1 " m");
        np_syn_peer_down(w->syn, w->a);
        assert_string_equal(syn_world_name(w->reg, "1"), "none"); /* nobody sees what is still to be removed */
        np_syn_get_stats(w->reg, &stats);
        assert_int_equal(stats.entries, 0);
    }
    assert_int_equal(reg(w, "1", "mine"), 0);
    syn_world_run(w);
    np_syn_get_stats(w->reg, &stats);
    assert_int_equal(stats.entries, 1);
    assert_string_equal(syn_world_name(w->reg, "1"), P1 " mine");
}

static void what_the_journal_cannot_hold_is_asked_for_again(void **state) {
    world *w = *state;
    w->syn->bounds.early_bytes = 200;
    np_syn_peer_up(w->syn, w->a);
    syn_world_expect(w, NULL);
    for (int i = 0; i < 5; i++)
        syn_world_info(w->reg, w->a, "{'3.0',sync_register,%d," A1 ",m,20,normal}", i);
    syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,1,0,1>,[{old," A1 ",m,9}]}");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',ack_sync," REG ",[]}\n"
                        "send syn_registry_users a@h {'3.0',discover," REG "}\n");
    assert_string_equal(syn_world_name(w->reg, "old"), "none");
    syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,1,0,1>,[{4," A1 ",m,20}]}");
    assert_string_equal(syn_world_name(w->reg, "4"), A1 " m");
    syn_world_run(w);
    syn_world_expect(w,
                     "send syn_registry_users a@h {'3.0',ack_sync," REG ",[]}\n"); /* in case it took us by surprise */
}

/* ---- floods ---- */

static void discovers_are_answered_in_moderation(void **state) {
    world *w = *state;
    int answers = 0;
    syn_world_join(w, w->a, "[]", "[]");
    for (int ms = 0; ms < 10000; ms++) {
        for (int i = 0; i < 10; i++)
            syn_world_info(w->reg, w->a, "{'3.0',discover,#Pid<a@h,1,0,1>}");
        syn_world_time(w, 1);
        syn_world_run(w);
        answers += np_buf_len(&w->said) > 0;
        syn_world_expect(w, NULL);
    }
    assert_in_range(answers, 10, 14);
    syn_world_time(w, 2000);
    syn_world_run(w);
    syn_world_expect(w, NULL);
    syn_world_info(w->reg, w->a, "{'3.0',discover,#Pid<a@h,1,0,1>}");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',ack_sync," REG ",[]}\n");
}

static void a_slow_peer_gets_everything_in_order(void **state) {
    world *w = *state;
    syn_world_join(w, w->a, "[]", "[]");
    syn_world_join(w, w->b, "[]", "[]");
    w->deaf = w->a;
    assert_int_equal(reg(w, "x", "1"), 0);
    assert_int_equal(reg(w, "x", "2"), 0);
    syn_world_expect(w, "send syn_registry_users b@h {'3.0',sync_register,x," P1 ",1,T,normal}\n"
                        "send syn_registry_users b@h {'3.0',sync_register,x," P1 ",2,T,normal}\n");
    assert_int_equal(np_syn_next(w->syn), w->now_ms + NP_SYN_OVERLOAD_MS);
    w->deaf = 0;
    assert_int_equal(reg(w, "x", "3"), 0); /* behind the others */
    syn_world_expect(w, "send syn_registry_users b@h {'3.0',sync_register,x," P1 ",3,T,normal}\n");
    syn_world_time(w, NP_SYN_OVERLOAD_MS);
    syn_world_run(w);
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',sync_register,x," P1 ",1,T,normal}\n"
                        "send syn_registry_users a@h {'3.0',sync_register,x," P1 ",2,T,normal}\n"
                        "send syn_registry_users a@h {'3.0',sync_register,x," P1 ",3,T,normal}\n");
}

static void a_list_waits_for_a_slow_peer(void **state) {
    world *w = *state;
    assert_int_equal(reg(w, "x", "1"), 0);
    np_syn_peer_up(w->syn, w->a);
    syn_world_expect(w, NULL);
    w->deaf = w->a;
    syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,1,0,1>,[]}");
    assert_int_equal(reg(w, "x", "2"), 0);
    syn_world_run(w);
    syn_world_time(w, NP_SYN_OVERLOAD_MS);
    syn_world_run(w);
    syn_world_expect(w, "");
    w->deaf = 0;
    syn_world_time(w, NP_SYN_OVERLOAD_MS);
    syn_world_run(w);
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',ack_sync," REG ",[{x," P1 ",1,T}]}\n"
                        "send syn_registry_users a@h {'3.0',sync_register,x," P1 ",2,T,normal}\n");
}

static void a_peer_that_takes_nothing_is_given_up(void **state) {
    world *w = *state;
    w->syn->bounds.held_bytes = 1000;
    syn_world_join(w, w->a, "[]", "[]");
    w->deaf = w->a;
    for (int i = 0; i < 50; i++)
        assert_int_equal(np_syn_register(w->reg, parsef("%d", i), &(np_pid){w->self, 11, 0, 1}, parse("m")), 0);
    syn_world_expect(w, "disconnect a@h\n");
    w->deaf = 0;
    assert_int_equal(reg(w, "x", "m"), 0);
    syn_world_expect(w, "");
    np_syn_peer_down(w->syn, w->a);
    syn_world_join(w, w->a, "[]", "[]");
    assert_int_equal(reg(w, "y", "m"), 0);
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',sync_register,y," P1 ",m,T,normal}\n");
}

/* ---- rubbish ---- */

static void rubbish_changes_nothing(void **state) {
    world *w = *state;
    static const char *const messages[] = {
        "hello",
        "{'3.0'}",
        "{'3.0',hello}",
        "{'3.0',discover}",
        "{'3.0',discover,no_pid}",
        "{'3.0',discover,#Pid<b@h,1,0,1>}",
        "{'3.0',discover,#Pid<native@h,1,0,1>}",
        "{'3.0',discover,#Pid<a@h,1,0,1>,more}",
        "{'4.0',discover,#Pid<a@h,1,0,1>}",
        "{'3.0',ack_sync,#Pid<a@h,1,0,1>}",
        "{'3.0',ack_sync,#Pid<a@h,1,0,1>,no_list}",
        "{'3.0',ack_sync,#Pid<b@h,1,0,1>,[]}",
        "{'3.0',sync_register,x," A1 ",m,99}",
        "{'3.0',sync_register,x," A1 ",m,99,normal,more}",
        "{'3.0',sync_register,x,no_pid,m,99,normal}",
        "{'3.0',sync_register,x,#Pid<b@h,11,0,1>,m,99,normal}",
        "{'3.0',sync_register,x," P1 ",m,99,normal}",
        "{'3.0',sync_register,x," A1 ",m,-1,normal}",
        "{'3.0',sync_register,x," A1 ",m,soon,normal}",
        "{'3.0',sync_register,x," A1 ",m,18446744073709551615,normal}",
        "{'3.0',sync_register,x," A1 ",m,90000000000000,normal}", /* a day and an hour after 1970; it is a second now */
        "{'3.0',sync_unregister,known," A1 "}",
        "{'3.0',sync_unregister,known,#Pid<b@h,11,0,1>,m,normal}",
        "{'3.0',sync_unregister,known,no_pid,m,normal}",
        "{'3.0',sync_join,g," A1 ",m,99,normal}", /* to a registry */
        "{'3.0',sync_register,x," A1 ",m,99,v,w,y}",
        "[]",
        "{}",
        "1",
        "#{a => 1}",
    };
    syn_world_join(w, w->a, "[{known," A1 ",m,5}]", "[]");
    syn_world_join(w, w->b, "[]", "[]");
    for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++)
        syn_world_info(w->reg, w->a, "%s", messages[i]);
    syn_world_run(w);
    syn_world_expect(w, "");
    np_syn_stats stats;
    np_syn_get_stats(w->reg, &stats);
    assert_int_equal(stats.entries, 1);
    assert_int_equal(stats.peers, 2);
    assert_string_equal(syn_world_name(w->reg, "known"), A1 " m");
}

static void rubbish_in_a_list_is_left_out(void **state) {
    world *w = *state;
    static const uint8_t string[] = "\x68\x04\x77\x03"
                                    "3.0\x77\x08"
                                    "ack_sync\x58\x77\x03"
                                    "a@h\0\0\0\1\0\0\0\0\0\0\0\1\x6b\0\3abc";
    syn_world_join(w, w->a,
                   "[{good," A1 ",m,5},bad,{x," A1 ",m},{x,#Pid<b@h,1,0,1>,m,5},{x," A1 ",m,soon},{better," A1 ",m,6}]",
                   "[]");
    assert_string_equal(syn_world_name(w->reg, "good"), A1 " m");
    assert_string_equal(syn_world_name(w->reg, "better"), A1 " m");
    assert_string_equal(syn_world_name(w->reg, "x"), "none");
    np_syn_info(w->reg, w->a, (np_in){string, 0, sizeof(string) - 1}, NULL); /* a list of numbers in its short form */
    assert_string_equal(syn_world_name(w->reg, "good"), A1 " m");
}

static void terms_without_canonical_form_are_left_out(void **state) {
    world *w = *state;
    np_buf buf = NP_BUF_INIT;
    np_out out;
    static const uint8_t twice[] = {116, 0, 0, 0, 2, 97, 1, 97, 1, 97, 1, 97, 2};
    np_in bad = {twice, 0, sizeof(twice)}, good = parse("x");
    np_pid a1 = parse_pid(A1);
    syn_world_join(w, w->a, "[]", "[]");
    for (int i = 0; i < 2; i++) {
        np_buf_clear(&buf, 0);
        np_out_init(&out, &buf, 1000);
        np_out_tuple(&out, 7);
        np_out_atom(&out, "3.0");
        np_out_atom(&out, "sync_register");
        np_out_term(&out, i == 0 ? &bad : &good);
        np_out_pid(&out, &a1);
        np_out_term(&out, i == 0 ? &good : &bad);
        np_out_int(&out, 5);
        np_out_atom(&out, "normal");
        np_syn_info(w->reg, w->a, np_out_view(&out), NULL);
    }
    np_buf_fini(&buf);
    np_syn_stats stats;
    np_syn_get_stats(w->reg, &stats);
    assert_int_equal(stats.entries, 0);
}

/* ---- many ---- */

static np_in worker_name(int64_t id) {
    static np_buf buf;
    np_out out;
    np_buf_clear(&buf, 1000);
    np_out_init(&out, &buf, 1000);
    np_out_tuple(&out, 2);
    np_out_atom(&out, "worker");
    np_out_tuple(&out, 3);
    np_out_atom(&out, "ref");
    np_out_atom(&out, "Elixir.MyPool.Worker");
    np_out_int(&out, id);
    return np_out_view(&out);
}

static void a_name_costs_no_more_than_250_bytes(void **state) {
    world *w = *state;
    enum { COUNT = 100000 };
    np_in meta = parse("[{node,'native@127.0.0.1'}]");
    size_t before = np_syn_memory(w->syn);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(
            np_syn_register(w->reg, worker_name(100000 + i), &(np_pid){w->self, 20 + (uint32_t)i, 0, 1}, meta), 0);
    size_t each = (np_syn_memory(w->syn) - before) / COUNT;
    assert_in_range(each, 100, 200); /* and the allocator's own, 8 to 16 bytes */
    np_pid pid;
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(np_syn_lookup(w->reg, worker_name(100000 + i), &pid, NULL), 0);
        assert_int_equal(pid.num, 20 + i);
    }
    for (int i = 0; i < COUNT; i++)
        np_syn_exited(w->syn, &(np_pid){w->self, 20 + (uint32_t)i, 0, 1}, parse("normal"));
    assert_int_equal(np_syn_lookup(w->reg, worker_name(100000), &pid, NULL), NP_ENOENT);
    assert_true(np_syn_memory(w->syn) - before < 100000); /* directories of the indexes */
}

static void one_process_may_have_many_names(void **state) {
    world *w = *state;
    enum { COUNT = 50000 };
    np_pid p1 = parse_pid(P1);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(np_syn_register(w->reg, worker_name(i), &p1, parsef("{m,%d}", i % 7)), 0);
    for (int i = 0; i < COUNT / 2; i++)
        assert_int_equal(np_syn_unregister(w->reg, worker_name(i), &p1), 0);
    np_syn_exited(w->syn, &p1, parse("normal"));
    np_syn_stats stats;
    np_syn_get_stats(w->reg, &stats);
    assert_int_equal(stats.entries, 0);
}

int main(void) {
#define T(test) cmocka_unit_test_setup_teardown(test, quiet_setup, syn_world_teardown)
    const struct CMUnitTest tests[] = {
        T(a_list_is_built_in_slices),
        T(a_list_is_merged_in_slices),
        T(a_list_can_be_taken_over),
        T(a_peer_that_goes_takes_a_half_merged_list_along),
        T(what_the_journal_cannot_hold_is_asked_for_again),
        T(discovers_are_answered_in_moderation),
        T(a_slow_peer_gets_everything_in_order),
        T(a_list_waits_for_a_slow_peer),
        T(a_peer_that_takes_nothing_is_given_up),
        T(rubbish_changes_nothing),
        T(rubbish_in_a_list_is_left_out),
        T(terms_without_canonical_form_are_left_out),
        T(a_name_costs_no_more_than_250_bytes),
        T(one_process_may_have_many_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
