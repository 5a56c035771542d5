/*
 * gen_server calls between scope processes: those of syn on other nodes for processes of this one, with metadata and
 * with funs, and this node's own for processes of others.
 */
#include "parse.h"
#include "syn_world.h"

#include "base/limits.h"
#include "term/out.h"
#include "term/print.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define P1 "#Pid<native@h,11,0,1>"
#define P2 "#Pid<native@h,12,0,1>"
#define A1 "#Pid<a@h,11,0,1>"

#define REGISTER(name, pid, meta) "{'3.0',register_or_update_on_node,a@h," name "," pid "," meta "}"
#define JOIN(group, pid, meta)    "{'3.0',join_or_update_on_node,a@h," group "," pid "," meta "}"
#define OK_SET(kind, method, previous, meta)                                                                           \
    "reply from {ok,{" method "," previous "," meta ",T,syn_" kind "_by_name_users,syn_" kind "_by_pid_users}}\n"

static void both_peers(world *w) {
    syn_world_join(w, w->a, "[]", "[]");
    syn_world_join(w, w->b, "[]", "[]");
}

/* ---- names ---- */

static void names_are_registered_for_others(void **state) {
    world *w = *state;
    both_peers(w);
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "m1"));
    syn_world_expect(w, "send syn_registry_users b@h {'3.0',sync_register,n," P1
                        ",m1,T,normal}\n" OK_SET("registry", "on_process_registered", "undefined", "m1"));
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "m1"));
    syn_world_expect(w, "reply from {noop,m1}\n");
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "#{v => 2}"));
    syn_world_expect(w, "send syn_registry_users b@h {'3.0',sync_register,n," P1
                        ",#{v => 2},T,normal}\n" OK_SET("registry", "on_registry_process_updated", "m1", "#{v => 2}"));
    syn_world_call(w->reg, w->a, REGISTER("n", P2, "m"));
    syn_world_expect(w, "reply from {error,taken}\n");
    assert_string_equal(syn_world_name(w->reg, "n"), P1 " #{v => 2}");
}

static void a_process_must_be_alive_and_ours(void **state) {
    world *w = *state;
    both_peers(w);
    w->dead[w->dead_count++] = parse_pid(P1);
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "m"));
    syn_world_call(w->reg, w->a, REGISTER("n", A1, "m"));
    syn_world_call(w->reg, w->a, REGISTER("n", "#Pid<native@h,11,0,77>", "m"));
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "#Fun"));
    syn_world_call(w->pg, w->a, JOIN("g", P1, "m"));
    syn_world_expect(w, "reply from {error,not_alive}\nreply from {error,not_alive}\nreply from {error,not_alive}\n"
                        "reply from {error,not_alive}\nreply from {error,not_alive}\n");
    assert_string_equal(syn_world_name(w->reg, "n"), "none");
}

static void names_of_others_are_taken(void **state) {
    world *w = *state;
    syn_world_join(w, w->a, "[{n," A1 ",m,5}]", "[]");
    syn_world_call(w->reg, w->b, "{'3.0',register_or_update_on_node,b@h,n," P1 ",m}");
    syn_world_expect(w, "reply from {error,taken}\n");
    syn_world_call(w->reg, w->b, "{'3.0',unregister_on_node,b@h,n," P1 "}");
    syn_world_expect(w, "reply from {error,race_condition}\n");
    syn_world_call(w->reg, w->b, "{'3.0',unregister_on_node,b@h,n," A1 "}");
    syn_world_expect(w, "reply from {error,race_condition}\n");
    assert_string_equal(syn_world_name(w->reg, "n"), A1 " m");
}

static void names_are_unregistered_for_others(void **state) {
    world *w = *state;
    both_peers(w);
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "m1"));
    syn_world_expect(w, NULL);
    syn_world_call(w->reg, w->a, "{'3.0',unregister_on_node,a@h,n," P2 "}");
    syn_world_expect(w, "reply from {error,race_condition}\n");
    syn_world_call(w->reg, w->a, "{'3.0',unregister_on_node,a@h,n," P1 "}");
    syn_world_expect(w, "send syn_registry_users b@h {'3.0',sync_unregister,n," P1 ",m1,normal}\n"
                        "reply from {ok,syn_registry_by_pid_users}\n");
    syn_world_call(w->reg, w->a, "{'3.0',unregister_on_node,a@h,n," P1 "}");
    syn_world_expect(w, "reply from {error,undefined}\n");
}

/* Only the node that calls inserts by itself; who else is named gets the broadcast. */
static void the_requester_is_who_calls(void **state) {
    world *w = *state;
    both_peers(w);
    syn_world_call(w->reg, w->a, "{'3.0',register_or_update_on_node,b@h,n," P1 ",m}");
    syn_world_expect(w, "send syn_registry_users a@h {'3.0',sync_register,n," P1 ",m,T,normal}\n"
                        "send syn_registry_users b@h {'3.0',sync_register,n," P1
                        ",m,T,normal}\n" OK_SET("registry", "on_process_registered", "undefined", "m"));
}

/* ---- groups ---- */

static void groups_are_joined_for_others(void **state) {
    world *w = *state;
    both_peers(w);
    syn_world_call(w->pg, w->a, JOIN("g", P1, "j1"));
    syn_world_expect(w, "send syn_pg_users b@h {'3.0',sync_join,g," P1
                        ",j1,T,normal}\n" OK_SET("pg", "on_process_joined", "undefined", "j1"));
    syn_world_call(w->pg, w->a, JOIN("g", P1, "j1"));
    syn_world_expect(w, "reply from {noop,j1}\n");
    syn_world_call(w->pg, w->a, JOIN("g", P1, "j2"));
    syn_world_expect(w, "send syn_pg_users b@h {'3.0',sync_join,g," P1
                        ",j2,T,normal}\n" OK_SET("pg", "on_group_process_updated", "j1", "j2"));
    syn_world_call(w->pg, w->a, "{'3.0',leave_on_node,a@h,g," P2 "}");
    syn_world_expect(w, "reply from {error,not_in_group}\n");
    syn_world_call(w->pg, w->a, "{'3.0',leave_on_node,a@h,g," P1 "}");
    syn_world_expect(w, "send syn_pg_users b@h {'3.0',sync_leave,g," P1 ",j2,normal}\n"
                        "reply from {ok,{j2,syn_pg_by_pid_users}}\n");
    syn_world_call(w->pg, w->a, "{'3.0',leave_on_node,a@h,g," P1 "}");
    syn_world_expect(w, "reply from {error,not_in_group}\n");
}

/* ---- others ---- */

static void the_nodes_of_a_scope_can_be_asked_for(void **state) {
    world *w = *state;
    syn_world_call(w->reg, w->a, "{'3.0',subcluster_nodes}");
    syn_world_expect(w, "reply from []\n");
    both_peers(w);
    syn_world_call(w->reg, w->a, "{'3.0',subcluster_nodes}");
    np_buf_append_u8(&w->said, 0);
    const char *said = (const char *)np_buf_head(&w->said);
    assert_true(strcmp(said, "reply from [a@h,b@h]\n") == 0 || strcmp(said, "reply from [b@h,a@h]\n") == 0);
}

static void unknown_calls_are_answered(void **state) {
    world *w = *state;
    static const char *const requests[] = {
        "hello",
        "{'3.0',hello}",
        "{'3.0',leave_on_node,a@h,g," P1 "}",              /* of groups */
        "{'3.0',register_or_update_on_node,a@h,n," P1 "}", /* one short */
        "{'4.0',unregister_on_node,a@h,n," P1 "}",
        "{}",
        "[]",
    };
    both_peers(w);
    for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
        syn_world_call(w->reg, w->a, "%s", requests[i]);
        syn_world_expect(w, "reply from undefined\n");
    }
    syn_world_call(w->reg, w->a, "{'3.0',unregister_on_node,a@h,n,no_pid}");
    syn_world_expect(w, "reply from {error,badarg}\n");
    syn_world_call(w->reg, w->a, "{'3.0',register_or_update_on_node,77,n," P1 ",m}");
    syn_world_expect(w, "reply from {error,badarg}\n");
}

static void what_is_too_large_is_refused(void **state) {
    world *w = *state;
    static char text[NP_SYN_NAME_BYTES_MAX * 4];
    both_peers(w);
    size_t at = (size_t)snprintf(text, sizeof(text), "{'3.0',register_or_update_on_node,a@h,{");
    for (int i = 0; i < 255; i++) /* nested lists of 255 atoms: above 64 KB */
        at += (size_t)snprintf(
            text + at, sizeof(text) - at, "%s{%s}", i == 0 ? "" : ",",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,"
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,"
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    snprintf(text + at, sizeof(text) - at, "}," P1 ",m}");
    syn_world_call(w->reg, w->a, "%s", text);
    syn_world_expect(w, "reply from {error,system_limit}\n");
}

/* ---- funs ---- */

static void a_fun_is_evaluated_by_the_caller(void **state) {
    world *w = *state;
    both_peers(w);
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "#Fun"));
    syn_world_expect(w, "reply from {error,undefined}\n");
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "m1"));
    syn_world_expect(w, NULL);
    syn_world_call(w->reg, w->a, REGISTER("n", P2, "#Fun"));
    syn_world_expect(w, "reply from {error,taken}\n");
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "#Fun"));
    syn_world_expect(w, "evaluate a@h fun m:f/1 [" P1 ",m1]\n");
    np_syn_evaluated(w->syn, w->evaluate, NP_SYN_RETURNED, parse("m2"));
    syn_world_expect(w, "send syn_registry_users b@h {'3.0',sync_register,n," P1
                        ",m2,T,normal}\n" OK_SET("registry", "on_registry_process_updated", "m1", "m2"));
    np_syn_evaluated(w->syn, w->evaluate, NP_SYN_RETURNED, parse("m3")); /* done with */
    syn_world_expect(w, "");
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "#Fun"));
    np_syn_evaluated(w->syn, w->evaluate, NP_SYN_RETURNED, parse("m2"));
    syn_world_expect(w, "evaluate a@h fun m:f/1 [" P1 ",m2]\nreply from {noop,m2}\n");
    syn_world_call(w->pg, w->a, JOIN("g", P1, "j1"));
    syn_world_expect(w, NULL);
    syn_world_call(w->pg, w->a, JOIN("g", P1, "#Fun"));
    np_syn_evaluated(w->syn, w->evaluate, NP_SYN_RETURNED, parse("j2"));
    syn_world_expect(w, "evaluate a@h fun m:f/1 [j1]\n"
                        "send syn_pg_users b@h {'3.0',sync_join,g," P1
                        ",j2,T,normal}\n" OK_SET("pg", "on_group_process_updated", "j1", "j2"));
}

static void what_becomes_of_a_fun_is_told(void **state) {
    world *w = *state;
    both_peers(w);
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "m1"));
    syn_world_expect(w, NULL);
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "#Fun"));
    np_syn_evaluated(w->syn, w->evaluate, NP_SYN_RAISED, parse("{error,badarith,[{m,f,1,[]}]}"));
    syn_world_expect(w, "evaluate a@h fun m:f/1 [" P1 ",m1]\nreply from {raise,error,badarith,[{m,f,1,[]}]}\n");
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "#Fun"));
    np_syn_evaluated(w->syn, w->evaluate, NP_SYN_FAILED, parse("noconnection"));
    syn_world_expect(w, "evaluate a@h fun m:f/1 [" P1 ",m1]\nreply from {error,{not_evaluated,noconnection}}\n");
    w->no_evaluate = true;
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "#Fun"));
    syn_world_expect(w, "reply from {error,not_supported}\n");
    assert_string_equal(syn_world_name(w->reg, "n"), P1 " m1");
}

static void a_fun_is_asked_again_if_the_metadata_changed(void **state) {
    world *w = *state;
    np_pid p1 = parse_pid(P1);
    both_peers(w);
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "0"));
    syn_world_expect(w, NULL);
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "#Fun"));
    syn_world_expect(w, NULL);
    for (int i = 1; i < NP_SYN_UPDATE_TRIES; i++) {
        char line[200];
        assert_int_equal(np_syn_register(w->reg, parse("n"), &p1, parsef("%d", i)), 0);
        syn_world_expect(w, NULL);
        np_syn_evaluated(w->syn, w->evaluate, NP_SYN_RETURNED, parse("old"));
        snprintf(line, sizeof(line), "evaluate a@h fun m:f/1 [" P1 ",%d]\n", i);
        syn_world_expect(w, line);
    }
    assert_int_equal(np_syn_register(w->reg, parse("n"), &p1, parse("last")), 0);
    syn_world_expect(w, NULL);
    np_syn_evaluated(w->syn, w->evaluate, NP_SYN_RETURNED, parse("old"));
    syn_world_expect(w, "reply from {error,conflict}\n");
    assert_string_equal(syn_world_name(w->reg, "n"), P1 " last");
}

static void a_fun_comes_too_late(void **state) {
    world *w = *state;
    np_pid p1 = parse_pid(P1), p2 = parse_pid(P2);
    both_peers(w);
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "m"));
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "#Fun"));
    np_syn_exited(w->syn, &p1, parse("crash"));
    syn_world_expect(w, NULL);
    np_syn_evaluated(w->syn, w->evaluate, NP_SYN_RETURNED, parse("m2"));
    syn_world_expect(w, "reply from {error,undefined}\n");
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "m"));
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "#Fun"));
    np_syn_exited(w->syn, &p1, parse("crash"));
    assert_int_equal(np_syn_register(w->reg, parse("n"), &p2, parse("m")), 0);
    syn_world_expect(w, NULL);
    np_syn_evaluated(w->syn, w->evaluate, NP_SYN_RETURNED, parse("m2"));
    syn_world_expect(w, "reply from {error,taken}\n");
}

static void funs_of_one_name_take_turns(void **state) {
    world *w = *state;
    both_peers(w);
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "0"));
    syn_world_expect(w, NULL);
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "#Fun"));
    uint64_t first = w->evaluate;
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "#Fun"));
    syn_world_expect(w, "evaluate a@h fun m:f/1 [" P1 ",0]\n");
    np_syn_evaluated(w->syn, first, NP_SYN_RETURNED, parse("1"));
    syn_world_expect(w, "send syn_registry_users b@h {'3.0',sync_register,n," P1 ",1,T,normal}\n" OK_SET(
                            "registry", "on_registry_process_updated", "0", "1") "evaluate a@h fun m:f/1 [" P1 ",1]\n");
    np_syn_evaluated(w->syn, w->evaluate, NP_SYN_RETURNED, parse("2"));
    syn_world_expect(w, NULL);
    assert_string_equal(syn_world_name(w->reg, "n"), P1 " 2");
}

static void only_so_many_funs_wait(void **state) {
    world *w = *state;
    np_pid p2 = {w->self, 60, 0, 1};
    both_peers(w);
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "0"));
    for (int i = 0; i < NP_SYN_UPDATES_MAX; i++)
        syn_world_call(w->reg, w->a, REGISTER("n", P1, "#Fun"));
    syn_world_expect(w, NULL);
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "#Fun"));
    syn_world_expect(w, "reply from {error,overloaded}\n");
    np_syn_restart(w->reg, &p2); /* their callers have seen the DOWN */
    syn_world_expect(w, NULL);
    syn_world_call(w->reg, w->a, REGISTER("n", P1, "#Fun"));
    syn_world_expect(w, "evaluate a@h fun m:f/1 [" P1 ",0]\n");
}

/* ---- calls of ours ---- */

static const char *asked(world *w, np_syn_scope *scope, np_syn_request request, const char *name, const char *meta) {
    static char text[500];
    np_buf buf = NP_BUF_INIT;
    np_out out;
    np_pid a1 = parse_pid(A1);
    (void)w;
    np_out_init(&out, &buf, 10000);
    np_syn_ask(scope, request, parse(name), &a1, parse(meta), &out);
    np_in in = np_out_view(&out);
    np_term_text(&in, text, sizeof(text));
    np_buf_fini(&buf);
    return text;
}

static int answered(np_syn_scope *scope, np_syn_request request, const char *name, const char *answer) {
    np_pid a1 = parse_pid(A1);
    return np_syn_answered(scope, request, parse(name), &a1, parse(answer));
}

static void this_node_asks_others(void **state) {
    world *w = *state;
    both_peers(w);
    assert_string_equal(asked(w, w->reg, NP_SYN_ASK_SET, "n", "m"),
                        "{'3.0',register_or_update_on_node,native@h,n," A1 ",m}");
    assert_string_equal(asked(w, w->reg, NP_SYN_ASK_UNSET, "n", "m"), "{'3.0',unregister_on_node,native@h,n," A1 "}");
    assert_string_equal(asked(w, w->pg, NP_SYN_ASK_SET, "g", "m"),
                        "{'3.0',join_or_update_on_node,native@h,g," A1 ",m}");
    assert_string_equal(asked(w, w->pg, NP_SYN_ASK_UNSET, "g", "m"), "{'3.0',leave_on_node,native@h,g," A1 "}");
    assert_int_equal(answered(w->reg, NP_SYN_ASK_SET, "n", "{ok,{on_process_registered,undefined,m,50,t1,t2}}"), 0);
    assert_string_equal(syn_world_name(w->reg, "n"), A1 " m");
    assert_int_equal(answered(w->reg, NP_SYN_ASK_SET, "n", "{noop,m}"), 0);
    assert_int_equal(answered(w->reg, NP_SYN_ASK_SET, "n", "{error,taken}"), NP_EEXIST);
    assert_int_equal(answered(w->reg, NP_SYN_ASK_SET, "n", "{error,not_alive}"), NP_ENOPROC);
    assert_int_equal(answered(w->reg, NP_SYN_ASK_UNSET, "n", "{error,undefined}"), NP_ENOENT);
    assert_int_equal(answered(w->reg, NP_SYN_ASK_UNSET, "n", "{error,race_condition}"), NP_ENOENT);
    assert_int_equal(answered(w->reg, NP_SYN_ASK_SET, "n", "undefined"), NP_EPROTO);
    assert_int_equal(answered(w->reg, NP_SYN_ASK_SET, "n", "{ok,what}"), NP_EPROTO);
    assert_string_equal(syn_world_name(w->reg, "n"), A1 " m");
    assert_int_equal(answered(w->reg, NP_SYN_ASK_UNSET, "n", "{ok,t}"), 0);
    assert_string_equal(syn_world_name(w->reg, "n"), "none");
    assert_int_equal(answered(w->pg, NP_SYN_ASK_SET, "g", "{ok,{on_process_joined,undefined,m,50,t1,t2}}"), 0);
    assert_string_equal(syn_world_group(w->pg, "g"), A1 ":m");
    assert_int_equal(answered(w->pg, NP_SYN_ASK_UNSET, "g", "{ok,{m,t}}"), 0);
    assert_string_equal(syn_world_group(w->pg, "g"), "");
    assert_int_equal(answered(w->pg, NP_SYN_ASK_UNSET, "g", "{error,not_in_group}"), NP_ENOENT);
    syn_world_expect(w, "");
    np_syn_peer_down(w->syn, w->a); /* an answer that comes too late */
    assert_int_equal(answered(w->reg, NP_SYN_ASK_SET, "n", "{ok,{on_process_registered,undefined,m,50,t1,t2}}"), 0);
    assert_string_equal(syn_world_name(w->reg, "n"), "none");
}

int main(void) {
#define T(test) cmocka_unit_test_setup_teardown(test, syn_world_setup, syn_world_teardown)
    const struct CMUnitTest tests[] = {
        T(names_are_registered_for_others),
        T(a_process_must_be_alive_and_ours),
        T(names_of_others_are_taken),
        T(names_are_unregistered_for_others),
        T(the_requester_is_who_calls),
        T(groups_are_joined_for_others),
        T(the_nodes_of_a_scope_can_be_asked_for),
        T(unknown_calls_are_answered),
        T(what_is_too_large_is_refused),
        T(a_fun_is_evaluated_by_the_caller),
        T(what_becomes_of_a_fun_is_told),
        T(a_fun_is_asked_again_if_the_metadata_changed),
        T(a_fun_comes_too_late),
        T(funs_of_one_name_take_turns),
        T(only_so_many_funs_wait),
        T(this_node_asks_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
