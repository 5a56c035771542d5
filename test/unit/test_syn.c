/*
 * The registry and the groups of a node in syn scopes: discovery, registration, merging, conflicts, the end of
 * processes and peers. Calls are in test_syn_calls.c, large lists, floods and rubbish in test_syn_bounds.c.
 */
#include "parse.h"
#include "syn_world.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define P1  "#Pid<native@h,11,0,1>"
#define P2  "#Pid<native@h,12,0,1>"
#define A1  "#Pid<a@h,11,0,1>"
#define A2  "#Pid<a@h,12,0,1>"
#define B1  "#Pid<b@h,11,0,1>"
#define REG "#Pid<native@h,1,0,1>"
#define PG  "#Pid<native@h,2,0,1>"

static int reg(world *w, const char *name, const char *pid, const char *meta) {
    np_pid p = parse_pid(pid);
    return np_syn_register(w->reg, parse(name), &p, parse(meta));
}

static int unreg(world *w, const char *name, const char *pid) {
    np_pid p = parse_pid(pid);
    return np_syn_unregister(w->reg, parse(name), &p);
}

static void exited(world *w, const char *pid, const char *reason) {
    np_pid p = parse_pid(pid);
    np_syn_exited(w->syn, &p, parse(reason));
}

/* ---- discovery ---- */

static void a_peer_is_watched_and_discovered(void **state) {
    world *w = *state;
    np_syn_peer_up(w->syn, w->a);
    syn_world_expect(w, "watch syn_registry_users a@h\n"
                        "send syn_registry_users a@h {'3.0',discover," REG "}\n"
                        "watch syn_pg_users a@h\n"
                        "send syn_pg_users a@h {'3.0',discover," PG "}\n");
    assert_int_equal(np_syn_next(w->syn), UINT64_MAX);
}

static void a_missing_process_is_looked_for_each_second(void **state) {
    world *w = *state;
    np_syn_peer_up(w->syn, w->a);
    syn_world_expect(w, NULL);
    for (int i = 0; i < 3; i++) {
        np_syn_down(w->reg, w->a, &w->ref[i == 0 ? 1 : w->refs], parse("noproc"));
        assert_int_equal(np_syn_next(w->syn), w->now_ms + NP_SYN_RETRY_MS);
        syn_world_time(w, NP_SYN_RETRY_MS - 1);
        syn_world_run(w);
        syn_world_expect(w, "");
        syn_world_time(w, 1);
        syn_world_run(w);
        syn_world_expect(w, "watch syn_registry_users a@h\nsend syn_registry_users a@h {'3.0',discover," REG "}\n");
    }
}

static void one_that_died_is_found_again_at_once(void **state) {
    world *w = *state;
    syn_world_join(w, w->a, "[{x," A1 ",m,5}]", "[]");
    assert_string_equal(syn_world_name(w->reg, "x"), A1 " m");
    np_syn_down(w->reg, w->a, &w->ref[1], parse("killed"));
    assert_string_equal(syn_world_name(w->reg, "x"), "none");
    assert_int_equal(np_syn_next(w->syn), w->now_ms + NP_SYN_RETRY_MIN_MS);
    syn_world_time(w, NP_SYN_RETRY_MIN_MS);
    syn_world_run(w);
    syn_world_expect(w, "watch syn_registry_users a@h\nsend syn_registry_users a@h {'3.0',discover," REG "}\n");
    np_syn_down(w->reg, w->a, &w->ref[w->refs], parse("noproc"));
    assert_int_equal(np_syn_next(w->syn), w->now_ms + 2 * NP_SYN_RETRY_MIN_MS);
    syn_world_time(w, 2 * NP_SYN_RETRY_MIN_MS);
    syn_world_run(w);
    syn_world_expect(w, NULL);
    /* A new process, which does not know us: full lists both ways. */
    assert_int_equal(reg(w, "mine", P1, "m"), 0);
    syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,77,0,1>,[{x," A1 ",m2,6}]}");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',ack_sync," REG ",[{mine," P1 ",m,T}]}\n");
    assert_string_equal(syn_world_name(w->reg, "x"), A1 " m2");
}

static void a_down_of_an_older_monitor_is_nothing(void **state) {
    world *w = *state;
    syn_world_join(w, w->a, "[{x," A1 ",m,5}]", "[]");
    np_ref old = w->ref[1];
    np_syn_peer_down(w->syn, w->a);
    assert_string_equal(syn_world_name(w->reg, "x"), "none");
    np_syn_down(w->reg, w->a, &old, parse("noconnection"));
    syn_world_join(w, w->a, "[{x," A1 ",m,5}]", "[]");
    np_syn_down(w->reg, w->a, &old, parse("noconnection"));
    assert_string_equal(syn_world_name(w->reg, "x"), A1 " m");
}

static void names_are_exchanged(void **state) {
    world *w = *state;
    np_syn_stats stats;
    assert_int_equal(reg(w, "{w,1}", P1, "#{k => [1,2]}"), 0);
    np_syn_peer_up(w->syn, w->a);
    syn_world_expect(w, NULL);
    syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,1,0,1>,[{<<97>>," A1 ",[{a,1}],7},{b," A2 ",undefined,8}]}");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',ack_sync," REG ",[{{w,1}," P1 ",#{k => [1,2]},T}]}\n");
    assert_string_equal(syn_world_name(w->reg, "<<97>>"), A1 " [{a,1}]");
    assert_string_equal(syn_world_name(w->reg, "b"), A2 " undefined");
    np_syn_get_stats(w->reg, &stats);
    assert_int_equal(stats.entries, 3);
    assert_int_equal(stats.local, 1);
    assert_int_equal(stats.peers, 1);
    uint32_t at = 0;
    assert_int_equal(np_syn_next_node(w->reg, &at), w->a);
    assert_int_equal(np_syn_next_node(w->reg, &at), 0);
    /* A discover, as of a node that sees us, is answered; so is one of a node known already. */
    syn_world_info(w->reg, w->a, "{'3.0',discover,#Pid<a@h,1,0,1>}");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',ack_sync," REG ",[{{w,1}," P1 ",#{k => [1,2]},T}]}\n");
    syn_world_info(w->pg, w->a, "{'3.0',discover,#Pid<a@h,2,0,1>}");
    syn_world_expect(w, "send syn_pg_users a@h {'3.0',ack_sync," PG ",[]}\n");
    syn_world_info(w->pg, w->a, "{'3.0',ack_sync,#Pid<a@h,2,0,1>,[{g," A1 ",m,5}]}");
    syn_world_expect(w, "");
    assert_string_equal(syn_world_group(w->pg, "g"), A1 ":m");
}

static void another_process_of_a_known_node_replaces_the_first(void **state) {
    world *w = *state;
    syn_world_join(w, w->a, "[{x," A1 ",m,5}]", "[]");
    syn_world_info(w->reg, w->a, "{'3.0',discover,#Pid<a@h,9,0,1>}");
    assert_string_equal(syn_world_name(w->reg, "x"), "none");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',ack_sync," REG ",[]}\n"
                        "send syn_registry_users a@h {'3.0',discover," REG "}\n");
    syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,9,0,1>,[{x," A2 ",m,4}]}");
    syn_world_expect(w, "");
    assert_string_equal(syn_world_name(w->reg, "x"), A2 " m");
    /* One that only says it were: asked for by name, the true one answers, and what it has is back. */
    syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,8,0,1>,[]}");
    assert_string_equal(syn_world_name(w->reg, "x"), "none");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',ack_sync," REG ",[]}\n"
                        "send syn_registry_users a@h {'3.0',discover," REG "}\n");
    syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,9,0,1>,[{x," A2 ",m,4}]}");
    assert_string_equal(syn_world_name(w->reg, "x"), A2 " m");
}

/* ---- own names ---- */

static void registrations_are_told(void **state) {
    world *w = *state;
    syn_world_join(w, w->a, "[]", "[]");
    syn_world_join(w, w->b, "[]", "[]");
    assert_int_equal(reg(w, "n", P1, "m1"), 0);
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',sync_register,n," P1 ",m1,T,normal}\n"
                        "send syn_registry_users b@h {'3.0',sync_register,n," P1 ",m1,T,normal}\n");
    assert_int_equal(reg(w, "n", P1, "m1"), 0);
    syn_world_expect(w, "");
    np_syn_peer_down(w->syn, w->b);
    assert_int_equal(reg(w, "n", P1, "[1,2]"), 0);
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',sync_register,n," P1 ",[1,2],T,normal}\n");
    assert_string_equal(syn_world_name(w->reg, "n"), P1 " [1,2]");
    assert_int_equal(reg(w, "n", P2, "m"), NP_EEXIST);
    assert_int_equal(reg(w, "n2", "#Pid<native@h,9,9,9>", "m"), NP_ENOPROC);
    assert_int_equal(reg(w, "n2", A1, "m"), NP_ENOPROC);
    assert_int_equal(unreg(w, "n", P2), NP_ENOENT);
    assert_int_equal(unreg(w, "x", P1), NP_ENOENT);
    syn_world_expect(w, "");
    assert_int_equal(unreg(w, "n", P1), 0);
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',sync_unregister,n," P1 ",[1,2],normal}\n");
    assert_string_equal(syn_world_name(w->reg, "n"), "none");
}

static void times_always_increase(void **state) {
    world *w = *state;
    syn_world_join(w, w->a, "[]", "[]");
    uint64_t last = 0;
    for (int i = 0; i < 5; i++) {
        np_syn_clock(w->syn, w->now_ms, w->now_ns - (uint64_t)i * 1000); /* set back */
        assert_int_equal(reg(w, "n", P1, i % 2 == 0 ? "a" : "b"), 0);
        const char *text = strstr((const char *)np_buf_head(&w->said), i % 2 == 0 ? ",a," : ",b,");
        assert_non_null(text);
        uint64_t time = strtoull(text + 3, NULL, 10);
        assert_true(time > last);
        last = time;
        syn_world_expect(w, NULL);
    }
}

static void keys_are_equal_as_terms_are(void **state) {
    world *w = *state;
    np_pid pid = parse_pid(P1), found;
    static const uint8_t string[] = {107, 0, 2, 1, 2};
    static const uint8_t latin[] = {100, 0, 1, 'x'};
    np_in as_string = {string, 0, sizeof(string)}, as_latin = {latin, 0, sizeof(latin)};
    assert_int_equal(np_syn_register(w->reg, as_string, &pid, as_latin), 0);
    assert_int_equal(np_syn_register(w->reg, as_latin, &pid, as_string), 0);
    assert_string_equal(syn_world_name(w->reg, "[1,2]"), P1 " x");
    assert_string_equal(syn_world_name(w->reg, "x"), P1 " [1,2]");
    static const uint8_t float_one[] = {70, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0};
    np_in one = {float_one, 0, sizeof(float_one)};
    assert_int_equal(np_syn_lookup(w->reg, one, &found, NULL), NP_ENOENT);
    assert_int_equal(reg(w, "1", P1, "m"), 0);
    assert_int_equal(np_syn_lookup(w->reg, one, &found, NULL), NP_ENOENT);
    assert_int_equal(np_syn_register(w->reg, one, &pid, as_latin), 0);
    assert_string_equal(syn_world_name(w->reg, "1"), P1 " m");
    static const uint8_t twice[] = {116, 0, 0, 0, 2, 97, 1, 97, 1, 97, 1, 97, 2};
    np_in bad = {twice, 0, sizeof(twice)};
    assert_int_equal(np_syn_register(w->reg, bad, &pid, as_latin), NP_EBADTERM);
    assert_int_equal(np_syn_register(w->reg, as_latin, &pid, bad), NP_EBADTERM);
    assert_string_equal(syn_world_name(w->reg, "x"), P1 " [1,2]");
}

static void the_end_of_a_process_takes_all_its_names(void **state) {
    world *w = *state;
    np_pid p1 = parse_pid(P1), p2 = parse_pid(P2);
    syn_world_join(w, w->a, "[]", "[]");
    w->tracks = true;
    assert_int_equal(reg(w, "n1", P1, "m1"), 0);
    assert_int_equal(reg(w, "n2", P1, "m2"), 0);
    assert_int_equal(reg(w, "n3", P2, "m3"), 0);
    assert_int_equal(np_syn_join(w->pg, parse("g"), &p1, parse("gm")), 0);
    assert_int_equal(np_syn_join(w->pg, parse("g"), &p2, parse("gm")), 0);
    syn_world_expect(w, "track " P1 "\n"
                        "send syn_registry_users a@h {'3.0',sync_register,n1," P1 ",m1,T,normal}\n"
                        "send syn_registry_users a@h {'3.0',sync_register,n2," P1 ",m2,T,normal}\n"
                        "track " P2 "\n"
                        "send syn_registry_users a@h {'3.0',sync_register,n3," P2 ",m3,T,normal}\n"
                        "track " P1 "\n"
                        "send syn_pg_users a@h {'3.0',sync_join,g," P1 ",gm,T,normal}\n"
                        "track " P2 "\n"
                        "send syn_pg_users a@h {'3.0',sync_join,g," P2 ",gm,T,normal}\n");
    w->tracks = false;
    exited(w, P1, "{shutdown,x}");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',sync_unregister,n2," P1 ",m2,{shutdown,x}}\n"
                        "send syn_registry_users a@h {'3.0',sync_unregister,n1," P1 ",m1,{shutdown,x}}\n"
                        "send syn_pg_users a@h {'3.0',sync_leave,g," P1 ",gm,{shutdown,x}}\n");
    assert_string_equal(syn_world_name(w->reg, "n1"), "none");
    assert_string_equal(syn_world_name(w->reg, "n3"), P2 " m3");
    assert_string_equal(syn_world_group(w->pg, "g"), P2 ":gm");
    w->tracks = true;
    assert_int_equal(np_syn_leave(w->pg, parse("g"), &p1), NP_ENOENT);
    assert_int_equal(np_syn_leave(w->pg, parse("g"), &p2), 0);
    syn_world_expect(w, "send syn_pg_users a@h {'3.0',sync_leave,g," P2 ",gm,normal}\nuntrack " P2 "\n");
    exited(w, P1, "again");
    syn_world_expect(w, "");
}

static void groups_have_members_of_all_nodes(void **state) {
    world *w = *state;
    np_pid p1 = parse_pid(P1);
    np_syn_stats stats;
    syn_world_join(w, w->a, "[]", "[{g," A1 ",m1,5},{g," A2 ",m2,5},{h," A1 ",m3,5}]");
    syn_world_join(w, w->b, "[]", "[{g," B1 ",m4,5}]");
    assert_int_equal(np_syn_join(w->pg, parse("g"), &p1, parse("mine")), 0);
    syn_world_expect(w, NULL);
    assert_string_equal(syn_world_group(w->pg, "g"), A1 ":m1 " A2 ":m2 " B1 ":m4 " P1 ":mine");
    assert_int_equal(np_syn_members(w->pg, parse("g"), true, NULL, NULL), 1);
    assert_int_equal(np_syn_members(w->pg, parse("none"), false, NULL, NULL), 0);
    assert_int_equal(np_syn_publish(w->pg, parse("h"), false, parse("{hi,1}")), 1);
    syn_world_expect(w, "message " A1 " {hi,1}\n");
    assert_int_equal(np_syn_publish(w->pg, parse("g"), true, parse("hi")), 1);
    syn_world_expect(w, "message " P1 " hi\n");
    np_syn_get_stats(w->pg, &stats);
    assert_int_equal(stats.groups, 2);
    /* Older or as old: ignored; newer: taken; gone: gone. */
    syn_world_info(w->pg, w->a, "{'3.0',sync_join,g," A1 ",old,5,normal}");
    syn_world_info(w->pg, w->a, "{'3.0',sync_join,g," A2 ",new,6,normal}");
    syn_world_info(w->pg, w->b, "{'3.0',sync_leave,g," B1 ",m4,crash}");
    syn_world_info(w->pg, w->b, "{'3.0',sync_leave,g," B1 ",m4,crash}");
    assert_string_equal(syn_world_group(w->pg, "g"), A1 ":m1 " A2 ":new " P1 ":mine");
    np_syn_peer_down(w->syn, w->a);
    assert_string_equal(syn_world_group(w->pg, "g"), P1 ":mine");
    assert_string_equal(syn_world_group(w->pg, "h"), "");
    syn_world_run(w);
    np_syn_get_stats(w->pg, &stats);
    assert_int_equal(stats.groups, 1);
    assert_int_equal(stats.entries, 1);
}

/* ---- merging ---- */

static void names_of_others_follow_their_times(void **state) {
    world *w = *state;
    syn_world_join(w, w->a, "[{x," A1 ",m,100}]", "[]");
    syn_world_join(w, w->b, "[]", "[]");
    syn_world_info(w->reg, w->b, "{'3.0',sync_register,x," B1 ",m,99,normal}");
    assert_string_equal(syn_world_name(w->reg, "x"), A1 " m");
    syn_world_info(w->reg, w->b, "{'3.0',sync_register,x," B1 ",m,100,normal}");
    assert_string_equal(syn_world_name(w->reg, "x"), A1 " m");
    syn_world_info(w->reg, w->a,
                   "{'3.0',sync_register,x," A1 ",m2,50,normal}"); /* its own node: later, whatever it says */
    assert_string_equal(syn_world_name(w->reg, "x"), A1 " m2");
    syn_world_info(w->reg, w->b, "{'3.0',sync_register,x," B1 ",m,60,normal}");
    assert_string_equal(syn_world_name(w->reg, "x"), B1 " m");
    syn_world_info(w->reg, w->a, "{'3.0',sync_unregister,x," A1 ",m2,syn_conflict_resolution}"); /* not A1's any more */
    assert_string_equal(syn_world_name(w->reg, "x"), B1 " m");
    np_syn_peer_down(w->syn, w->a);
    assert_string_equal(syn_world_name(w->reg, "x"), B1 " m");
    syn_world_info(w->reg, w->b, "{'3.0',sync_unregister,x," B1 ",m,normal}");
    assert_string_equal(syn_world_name(w->reg, "x"), "none");
    syn_world_expect(w, "");
}

static void a_node_that_is_not_in_the_scope_is_not_heard(void **state) {
    world *w = *state;
    np_syn_peer_up(w->syn, w->a);
    syn_world_expect(w, NULL);
    np_syn_down(w->reg, w->a, &w->ref[1], parse("noproc"));
    syn_world_info(w->reg, w->a, "{'3.0',sync_register,x," A1 ",m,5,normal}");
    assert_string_equal(syn_world_name(w->reg, "x"), "none");
    syn_world_info(w->reg, w->b, "{'3.0',sync_register,x," B1 ",m,5,normal}");
    assert_string_equal(syn_world_name(w->reg, "x"), "none");
}

/* 3.3.0 sends ack_sync and sync_* from two processes. */
static void what_comes_before_the_ack_sync_waits_for_it(void **state) {
    world *w = *state;
    np_syn_peer_up(w->syn, w->a);
    syn_world_expect(w, NULL);
    syn_world_info(w->reg, w->a, "{'3.0',sync_register,new," A1 ",m,20,normal}");
    syn_world_info(w->reg, w->a, "{'3.0',sync_unregister,old," A1 ",m,normal}");
    syn_world_info(w->reg, w->a, "{'3.0',sync_register,changed," A1 ",m2,21,normal}");
    assert_string_equal(syn_world_name(w->reg, "new"), "none");
    syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,1,0,1>,[{old," A1 ",m,9},{changed," A1 ",m1,10}]}");
    assert_string_equal(syn_world_name(w->reg, "new"), A1 " m");
    assert_string_equal(syn_world_name(w->reg, "old"), "none");
    assert_string_equal(syn_world_name(w->reg, "changed"), A1 " m2");
    syn_world_info(w->reg, w->a, "{'3.0',sync_unregister,new," A1 ",m,normal}");
    assert_string_equal(syn_world_name(w->reg, "new"), "none");
}

/* The same when that node's discover came first: then it is known, and heard at once. */
static void what_was_heard_before_the_ack_sync_is_not_undone_by_it(void **state) {
    world *w = *state;
    np_syn_peer_up(w->syn, w->a);
    syn_world_info(w->reg, w->a, "{'3.0',discover,#Pid<a@h,1,0,1>}");
    syn_world_expect(w, NULL);
    syn_world_info(w->reg, w->a, "{'3.0',sync_register,new," A1 ",m,20,normal}");
    assert_string_equal(syn_world_name(w->reg, "new"), A1 " m");
    syn_world_info(w->reg, w->a, "{'3.0',sync_unregister,old," A1 ",m,normal}");
    syn_world_info(w->reg, w->a, "{'3.0',sync_register,mine," A1 ",m,30,normal}");
    syn_world_info(w->reg, w->a, "{'3.0',sync_unregister,mine," A1 ",m,normal}");
    assert_int_equal(reg(w, "mine", P1, "m"), 0);
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',sync_register,mine," P1 ",m,T,normal}\n");
    syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,1,0,1>,[{old," A1 ",m,9}]}");
    assert_string_equal(syn_world_name(w->reg, "new"), A1 " m");
    assert_string_equal(syn_world_name(w->reg, "old"), "none");
    assert_string_equal(syn_world_name(w->reg, "mine"), P1 " m");
    /* It may have been a left-over of an earlier connection: asked for again, and then the list is all there is. */
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',discover," REG "}\n");
    syn_world_info(w->reg, w->a, "{'3.0',sync_register,newer," A1 ",m,40,normal}");
    syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,1,0,1>,[{other," A1 ",m,9}]}");
    syn_world_run(w);
    assert_string_equal(syn_world_name(w->reg, "new"), "none");
    assert_string_equal(syn_world_name(w->reg, "other"), A1 " m");
    assert_string_equal(syn_world_name(w->reg, "newer"), A1 " m");
    syn_world_expect(w, "");
}

static void a_list_that_nobody_asked_for_is_doubted(void **state) {
    world *w = *state;
    syn_world_join(w, w->a, "[{x," A1 ",m,5},{y," A1 ",m,5}]", "[]");
    syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,1,0,1>,[{x," A1 ",m,6},{z," A1 ",m,5}]}");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',discover," REG "}\n");
    assert_string_equal(syn_world_name(w->reg, "y"), A1 " m");
    syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,1,0,1>,[{x," A1 ",m,6}]}");
    syn_world_run(w);
    syn_world_expect(w, "");
    assert_string_equal(syn_world_name(w->reg, "x"), A1 " m");
    assert_string_equal(syn_world_name(w->reg, "y"), "none");
    assert_string_equal(syn_world_name(w->reg, "z"), "none");
}

/* ---- conflicts ---- */

static void the_later_registration_wins(void **state) {
    world *w = *state;
    syn_world_join(w, w->a, "[]", "[]");
    syn_world_join(w, w->b, "[]", "[]");
    assert_int_equal(reg(w, "lost", P1, "mine"), 0);
    assert_int_equal(reg(w, "also", P1, "mine"), 0);
    assert_int_equal(reg(w, "won", P2, "mine"), 0);
    syn_world_expect(w, NULL);
    w->exits_too = parse_pid(P1); /* at once, from within the machine */
    syn_world_info(w->reg, w->a, "{'3.0',sync_register,lost," A1 ",theirs,%llu,normal}",
                   (unsigned long long)w->now_ns + 1000);
    syn_world_expect(
        w, "send syn_registry_users a@h {'3.0',sync_unregister,lost," P1 ",mine,syn_conflict_resolution}\n"
           "send syn_registry_users b@h {'3.0',sync_unregister,lost," P1 ",mine,syn_conflict_resolution}\n"
           "kill " P1 " {syn_resolve_kill,lost,mine}\n"
           "send syn_registry_users a@h {'3.0',sync_unregister,also," P1 ",mine,{syn_resolve_kill,lost,mine}}\n"
           "send syn_registry_users b@h {'3.0',sync_unregister,also," P1 ",mine,{syn_resolve_kill,lost,mine}}\n");
    assert_string_equal(syn_world_name(w->reg, "lost"), A1 " theirs");
    assert_string_equal(syn_world_name(w->reg, "also"), "none");
    syn_world_info(w->reg, w->a, "{'3.0',sync_register,won," A1 ",theirs,1000,normal}");
    syn_world_expect(w,
                     "send syn_registry_users a@h {'3.0',sync_register,won," P2 ",mine,T,syn_conflict_resolution}\n"
                     "send syn_registry_users b@h {'3.0',sync_register,won," P2 ",mine,T,syn_conflict_resolution}\n");
    assert_string_equal(syn_world_name(w->reg, "won"), P2 " mine");
}

static void who_won_does_not_say_so_all_the_time(void **state) {
    world *w = *state;
    syn_world_join(w, w->a, "[]", "[]");
    assert_int_equal(reg(w, "x", P1, "m"), 0);
    syn_world_expect(w, NULL);
    syn_world_time(w, 10);
    const char *said = "send syn_registry_users a@h {'3.0',sync_register,x," P1 ",m,T,syn_conflict_resolution}\n";
    syn_world_info(w->reg, w->a, "{'3.0',sync_register,x," A1 ",m,7,normal}");
    syn_world_expect(w, said);
    syn_world_info(w->reg, w->a, "{'3.0',sync_register,x," A1 ",m,8,syn_conflict_resolution}");
    syn_world_expect(w, "");
    syn_world_time(w, 1001);
    syn_world_info(w->reg, w->a, "{'3.0',sync_register,x," A1 ",m,9,syn_conflict_resolution}");
    syn_world_expect(w, said);
    assert_string_equal(syn_world_name(w->reg, "x"), P1 " m");
}

static void on_equal_times_the_higher_pid_wins(void **state) {
    world *w = *state;
    syn_world_join(w, w->a, "[]", "[]");
    np_syn_clock(w->syn, w->now_ms, w->now_ns);
    assert_int_equal(reg(w, "x", P1, "m"), 0); /* at w->now_ns */
    assert_int_equal(reg(w, "y", P1, "m"), 0); /* and one more */
    syn_world_expect(w, NULL);
    syn_world_info(w->reg, w->a, "{'3.0',sync_register,x,#Pid<a@h,10,0,1>,m,%llu,normal}",
                   (unsigned long long)w->now_ns);
    assert_string_equal(syn_world_name(w->reg, "x"), P1 " m");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',sync_register,x," P1 ",m,T,syn_conflict_resolution}\n");
    syn_world_info(w->reg, w->a, "{'3.0',sync_register,y,#Pid<a@h,1,1,1>,m,%llu,normal}",
                   (unsigned long long)w->now_ns + 1); /* the serial comes first */
    assert_string_equal(syn_world_name(w->reg, "y"), "#Pid<a@h,1,1,1> m");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',sync_unregister,y," P1 ",m,syn_conflict_resolution}\n"
                        "kill " P1 " {syn_resolve_kill,y,m}\n");
}

static void conflicts_of_a_healed_split_are_resolved(void **state) {
    world *w = *state;
    assert_int_equal(reg(w, "{w,1}", P1, "[{node,native@h}]"), 0);
    assert_int_equal(reg(w, "{w,2}", P2, "[{node,native@h}]"), 0);
    np_syn_peer_up(w->syn, w->a);
    syn_world_expect(w, NULL);
    syn_world_info(w->reg, w->a,
                   "{'3.0',ack_sync,#Pid<a@h,1,0,1>,[{{w,1}," A1 ",[{node,a@h}],5},{{w,2}," A2
                   ",[{node,a@h}],2000000000}]}");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',ack_sync," REG ",[{{w,2}," P2
                        ",[{node,native@h}],T},{{w,1}," P1 ",[{node,native@h}],T}]}\n"
                        "send syn_registry_users a@h {'3.0',sync_register,{w,1}," P1
                        ",[{node,native@h}],T,syn_conflict_resolution}\n"
                        "send syn_registry_users a@h {'3.0',sync_unregister,{w,2}," P2
                        ",[{node,native@h}],syn_conflict_resolution}\n"
                        "kill " P2 " {syn_resolve_kill,{w,2},[{node,native@h}]}\n");
    assert_string_equal(syn_world_name(w->reg, "{w,1}"), P1 " [{node,native@h}]");
    assert_string_equal(syn_world_name(w->reg, "{w,2}"), A2 " [{node,a@h}]");
}

/* ---- scopes ---- */

static void a_restarted_process_keeps_what_is_ours(void **state) {
    world *w = *state;
    syn_world_join(w, w->a, "[{x," A1 ",m,5}]", "[]");
    assert_int_equal(reg(w, "n", P1, "m"), 0);
    syn_world_expect(w, NULL);
    np_pid fresh = {w->self, 50, 0, 1};
    np_syn_restart(w->reg, &fresh);
    syn_world_expect(w, "watch syn_registry_users a@h\n"
                        "send syn_registry_users a@h {'3.0',discover,#Pid<native@h,50,0,1>}\n");
    assert_string_equal(syn_world_name(w->reg, "x"), "none");
    assert_string_equal(syn_world_name(w->reg, "n"), P1 " m");
    syn_world_info(w->reg, w->a, "{'3.0',ack_sync,#Pid<a@h,1,0,1>,[{x," A1 ",m,5}]}");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',ack_sync,#Pid<native@h,50,0,1>,[{n," P1 ",m,T}]}\n");
    assert_string_equal(syn_world_name(w->reg, "x"), A1 " m");
}

static void scopes_come_and_go(void **state) {
    world *w = *state;
    np_pid self = {w->self, 60, 0, 1};
    np_syn_scope *scope;
    char longest[400];
    uint32_t at = 0;
    syn_world_join(w, w->a, "[]", "[]");
    assert_int_equal(np_syn_open(w->syn, NP_SYN_PG, "users", 5, &self, w, &scope), NP_EEXIST);
    assert_int_equal(np_syn_open(w->syn, NP_SYN_PG, "", 0, &self, w, &scope), NP_EINVAL);
    memset(longest, 'x', sizeof(longest));
    assert_int_equal(np_syn_open(w->syn, NP_SYN_REGISTRY, longest, 235, &self, w, &scope), NP_EINVAL);
    assert_int_equal(np_syn_open(w->syn, NP_SYN_REGISTRY, longest, 234, &self, w, &scope), 0);
    np_syn_close(&scope);
    syn_world_expect(w, NULL);
    assert_int_equal(np_syn_open(w->syn, NP_SYN_PG, "Elixir.My.Pool", 14, &self, w, &scope), 0);
    assert_string_equal(np_syn_scope_process(scope), "syn_pg_Elixir.My.Pool");
    assert_int_equal(np_syn_scope_name(scope).len, 14);
    assert_int_equal(np_syn_scope_kind(scope), NP_SYN_PG);
    assert_ptr_equal(np_syn_scope_owner(scope), w);
    assert_ptr_equal(np_syn_of(scope), w->syn);
    assert_int_equal(np_syn_scope_pid(scope)->num, 60);
    assert_ptr_equal(np_syn_find(w->syn, NP_SYN_PG, "Elixir.My.Pool", 14), scope);
    assert_null(np_syn_find(w->syn, NP_SYN_REGISTRY, "Elixir.My.Pool", 14));
    syn_world_expect(w, "watch syn_pg_Elixir.My.Pool a@h\n"
                        "send syn_pg_Elixir.My.Pool a@h {'3.0',discover,#Pid<native@h,60,0,1>}\n");
    assert_ptr_equal(np_syn_next_scope(w->syn, &at), w->reg);
    assert_ptr_equal(np_syn_next_scope(w->syn, &at), w->pg);
    assert_ptr_equal(np_syn_next_scope(w->syn, &at), scope);
    assert_null(np_syn_next_scope(w->syn, &at));
    np_pid p1 = parse_pid(P1);
    assert_int_equal(np_syn_join(scope, parse("g"), &p1, parse("m")), 0);
    np_syn_close(&scope);
    assert_null(scope);
    assert_null(np_syn_find(w->syn, NP_SYN_PG, "Elixir.My.Pool", 14));
}

static bool count_entry(void *arg, np_in name, const np_pid *pid, np_in meta, uint64_t time_ns) {
    uint64_t *sum = arg;
    assert_false(np_in_at_end(&name) || np_in_at_end(&meta) || pid->node == 0);
    *sum += time_ns;
    return true;
}

static void all_entries_can_be_seen(void **state) {
    world *w = *state;
    uint64_t sum = 0;
    syn_world_join(w, w->a, "[{x," A1 ",m,5},{y," A1 ",m,70},{z," A1 ",m,900}]", "[]");
    assert_true(np_syn_each_entry(w->reg, count_entry, &sum));
    assert_int_equal(sum, 975);
}

int main(void) {
#define T(test) cmocka_unit_test_setup_teardown(test, syn_world_setup, syn_world_teardown)
    const struct CMUnitTest tests[] = {
        T(a_peer_is_watched_and_discovered),
        T(a_missing_process_is_looked_for_each_second),
        T(one_that_died_is_found_again_at_once),
        T(a_down_of_an_older_monitor_is_nothing),
        T(names_are_exchanged),
        T(another_process_of_a_known_node_replaces_the_first),
        T(registrations_are_told),
        T(times_always_increase),
        T(keys_are_equal_as_terms_are),
        T(the_end_of_a_process_takes_all_its_names),
        T(groups_have_members_of_all_nodes),
        T(names_of_others_follow_their_times),
        T(a_node_that_is_not_in_the_scope_is_not_heard),
        T(what_comes_before_the_ack_sync_waits_for_it),
        T(what_was_heard_before_the_ack_sync_is_not_undone_by_it),
        T(a_list_that_nobody_asked_for_is_doubted),
        T(the_later_registration_wins),
        T(who_won_does_not_say_so_all_the_time),
        T(on_equal_times_the_higher_pid_wins),
        T(conflicts_of_a_healed_split_are_resolved),
        T(a_restarted_process_keeps_what_is_ours),
        T(scopes_come_and_go),
        T(all_entries_can_be_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
