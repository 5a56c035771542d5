/*
 * Messages of OTP's gen module: every payload that real peers sent (test/golden/control.golden) is told apart and
 * answered as recorded, and what is malformed is taken for an ordinary message.
 */
#include "otp/gen.h"
#include "term/ids.h"
#include "term/names.h"
#include "terms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool starts(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* By the text of the file, which another program has written. */
static np_gen_kind kind_of_text(const char *text) {
    if (starts(text, "{'$gen_call',{#Pid<"))
        return NP_GEN_CALL;
    if (starts(text, "{'$gen_cast',"))
        return NP_GEN_CAST;
    if (starts(text, "{system,{#Pid<"))
        return NP_GEN_SYSTEM;
    return NP_GEN_INFO;
}

/* Is this packet native's answer to that request? Then it must come out of the builder byte for byte. */
static bool check_answer(const np_gen *request, np_in control, np_in payload, terms_built *b) {
    int op = terms_op(&control);
    np_in tag, reply = payload;
    np_ref alias;
    if ((op != 33 && op != 22 && op != 2) || np_in_tuple_of(&reply, 2) < 0 || np_in_term(&reply, &tag) < 0)
        return false;
    np_bytes a = np_in_bytes(&tag), c = np_in_bytes(&request->from.tag);
    if (a.len != c.len || memcmp(a.data, c.data, a.len) != 0)
        return false;
    assert_int_equal(request->from.has_alias, op == 33);
    if (op == 33) {
        (void)np_in_term(&control, NULL);
        assert_int_equal(np_in_ref(&control, &alias), 0);
        assert_true(np_ref_eq(&alias, &request->from.alias));
    } else {
        np_pid to;
        (void)np_in_term(&control, NULL);
        assert_int_equal(np_in_pid(&control, &to), 0);
        assert_true(np_pid_eq(&to, &request->from.pid));
    }
    np_gen_reply_begin(&b->out, &request->from);
    np_out_term(&b->out, &reply);
    terms_expect_bytes(b, payload);
    return true;
}

static void all_that_peers_sent(void **state) {
    (void)state;
    golden *g = golden_open("control.golden");
    int kinds[4] = {0}, answers = 0, by_pid = 0;
    terms_built b;
    terms_begin(&b);
    for (const golden_record *r; (r = golden_next(g)) != NULL;) {
        np_gen last = {.kind = NP_GEN_INFO};
        for (size_t i = 0; i < r->count; i++) {
            np_in control, payload;
            if (!terms_packet(&r->lines[i], &control, &payload) || np_in_at_end(&payload))
                continue;
            np_gen gen;
            np_gen_parse(payload, &gen);
            assert_int_equal(gen.kind, kind_of_text(r->lines[i - 1].text));
            kinds[gen.kind]++;
            if (gen.kind == NP_GEN_INFO)
                assert_memory_equal(&gen.body, &payload, sizeof payload);
            if (gen.kind == NP_GEN_CALL || gen.kind == NP_GEN_SYSTEM) {
                last = gen;
            } else if (last.kind != NP_GEN_INFO && r->lines[i].kind == GOLDEN_OUT &&
                       check_answer(&last, control, payload, &b)) {
                answers++;
                by_pid += !last.from.has_alias;
            }
        }
    }
    golden_close(&g);
    terms_end(&b);
    assert_true(kinds[NP_GEN_CALL] >= 40);
    assert_true(kinds[NP_GEN_SYSTEM] >= 15);
    assert_true(kinds[NP_GEN_CAST] >= 5);
    assert_true(kinds[NP_GEN_INFO] >= 40);
    assert_true(answers >= 50);
    assert_true(by_pid >= 4); /* multi_call, plain reference, atom */
}

static void our_calls(void **state) {
    (void)state;
    golden *g = golden_open("control.golden");
    terms_built b;
    terms_begin(&b);
    int requests = 0, replies = 0;
    for (const golden_record *r; (r = golden_next(g)) != NULL;) {
        if (!starts(r->title, "native is the caller") || strstr(r->title, "plain reference") != NULL)
            continue;
        np_ref ref = {0};
        for (size_t i = 0; i < r->count; i++) {
            np_in control, payload;
            if (!terms_packet(&r->lines[i], &control, &payload) || np_in_at_end(&payload))
                continue;
            if (r->lines[i].kind == GOLDEN_OUT) {
                np_gen gen;
                np_gen_parse(payload, &gen);
                assert_int_equal(gen.kind, NP_GEN_CALL);
                assert_true(gen.from.has_alias);
                ref = gen.from.alias;
                np_gen_call_begin(&b.out, &gen.from.pid, &ref);
                np_out_term(&b.out, &gen.body);
                terms_expect_bytes(&b, payload);
                requests++;
            } else {
                np_ref got;
                np_in reply;
                assert_int_equal(np_gen_read_reply(payload, &got, &reply), 0);
                assert_true(np_ref_eq(&got, &ref));
                assert_string_equal(terms_text(reply), strstr(r->title, "which_children") ? "[]" : "yes");
                replies++;
            }
        }
    }
    golden_close(&g);
    terms_end(&b);
    assert_int_equal(requests, 2);
    assert_int_equal(replies, 2);
}

/* ---- by hand ---- */

static np_pid a_pid(void) { return (np_pid){np_name_id("a@h"), 1, 2, 3}; }

static np_ref a_ref(uint32_t n) {
    return (np_ref){.node = np_name_id("a@h"), .creation = 3, .len = 3, .id = {n, 0, 0}};
}

/* Appends [alias|Ref]. */
static void alias_tag(np_out *out, const char *alias, uint32_t n) {
    np_ref ref = a_ref(n);
    np_out_list(out, 1);
    np_out_atom(out, alias);
    np_out_ref(out, &ref);
}

enum tag_form {
    PLAIN,
    ALIAS,
    NESTED,
    NESTED_LIST,
    REF_NODE,
    NOT_ALIAS,
    ALIAS_PROPER,
    ALIAS_LONG,
    ALIAS_ATOM,
    BYTES,
    NIL
};

static void out_tag(np_out *out, enum tag_form form) {
    np_ref ref = a_ref(7);
    switch (form) {
    case PLAIN: np_out_ref(out, &ref); break;
    case ALIAS: alias_tag(out, "alias", 7); break;
    case NESTED:
        np_out_list(out, 1);
        alias_tag(out, "alias", 7);
        np_out_int(out, 5);
        break;
    case NESTED_LIST:
        np_out_list(out, 2);
        alias_tag(out, "alias", 7);
        np_out_atom(out, "x");
        np_out_nil(out);
        break;
    case REF_NODE:
        np_out_tuple(out, 2);
        np_out_ref(out, &ref);
        np_out_atom(out, "a@h");
        break;
    case NOT_ALIAS: alias_tag(out, "alia", 7); break;
    case ALIAS_PROPER:
        np_out_list(out, 2);
        np_out_atom(out, "alias");
        np_out_ref(out, &ref);
        np_out_nil(out);
        break;
    case ALIAS_LONG:
        np_out_list(out, 2);
        np_out_atom(out, "alias");
        np_out_atom(out, "alias");
        np_out_ref(out, &ref);
        break;
    case ALIAS_ATOM:
        np_out_list(out, 1);
        np_out_atom(out, "alias");
        np_out_atom(out, "noref");
        break;
    case BYTES: np_out_chars(out, "alias"); break;
    case NIL: np_out_nil(out); break;
    }
}

static void tags(void **state) {
    static const struct {
        enum tag_form form;
        bool alias;
    } rows[] = {{PLAIN, false},      {ALIAS, true},      {NESTED, true},        {NESTED_LIST, true},
                {REF_NODE, false},   {NOT_ALIAS, false}, {ALIAS_PROPER, false}, {ALIAS_LONG, false},
                {ALIAS_ATOM, false}, {BYTES, false},     {NIL, false}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        terms_built b, reply, tag;
        np_pid pid = a_pid();
        np_ref ref = a_ref(7);
        terms_begin(&b);
        terms_begin(&reply);
        terms_begin(&tag);
        np_out_tuple(&b.out, 2);
        np_out_pid(&b.out, &pid);
        out_tag(&b.out, rows[i].form);
        np_out_atom(&b.out, "behind");
        np_in in = np_out_view(&b.out);
        np_from from;
        assert_int_equal(np_gen_from(&in, &from), 0);
        assert_int_equal(np_in_match(&in, "behind"), 0);
        assert_true(np_pid_eq(&from.pid, &pid));
        assert_int_equal(from.has_alias, rows[i].alias);
        if (from.has_alias)
            assert_true(np_ref_eq(&from.alias, &ref));
        np_gen_reply_begin(&reply.out, &from);
        np_out_atom(&reply.out, "r");
        np_out_tuple(&tag.out, 2);
        out_tag(&tag.out, rows[i].form);
        np_out_atom(&tag.out, "r");
        terms_expect_bytes(&reply, np_out_view(&tag.out));
        terms_end(&b);
        terms_end(&reply);
        terms_end(&tag);
    }
}

static void malformed_ones_are_messages(void **state) {
    (void)state;
    terms_built b;
    np_pid pid = a_pid();
    terms_begin(&b);
    for (int form = 0; form < 9; form++) {
        np_out_reset(&b.out);
        switch (form) {
        case 0: /* no pid */
            np_out_tuple(&b.out, 3);
            np_out_atom(&b.out, "$gen_call");
            np_out_tuple(&b.out, 2);
            np_out_atom(&b.out, "nopid");
            np_out_int(&b.out, 1);
            np_out_int(&b.out, 1);
            break;
        case 1: /* From of another arity */
            np_out_tuple(&b.out, 3);
            np_out_atom(&b.out, "system");
            np_out_tuple(&b.out, 1);
            np_out_pid(&b.out, &pid);
            np_out_int(&b.out, 1);
            break;
        case 2:
            np_out_tuple(&b.out, 2);
            np_out_atom(&b.out, "$gen_call");
            np_out_int(&b.out, 1);
            break;
        case 3:
            np_out_tuple(&b.out, 3);
            np_out_atom(&b.out, "$gen_cast");
            np_out_int(&b.out, 1);
            np_out_int(&b.out, 1);
            break;
        case 4: np_out_atom(&b.out, "$gen_call"); break;
        case 5: np_out_tuple(&b.out, 0); break;
        case 6: np_out_chars(&b.out, "abc"); break;
        case 7:
            np_out_tuple(&b.out, 3);
            np_out_int(&b.out, 1);
            np_out_int(&b.out, 2);
            np_out_int(&b.out, 3);
            break;
        case 8:
            np_out_tuple(&b.out, 4);
            for (int i = 0; i < 4; i++)
                np_out_atom(&b.out, "$gen_call");
            break;
        }
        np_in whole = np_out_view(&b.out), in = whole, reply;
        np_gen gen;
        np_ref ref;
        np_from from;
        np_gen_parse(whole, &gen);
        assert_int_equal(gen.kind, NP_GEN_INFO);
        assert_memory_equal(&gen.body, &whole, sizeof whole);
        assert_int_equal(np_gen_from(&in, &from), NP_ETYPE);
        assert_memory_equal(&in, &whole, sizeof whole);
        assert_int_equal(np_gen_read_reply(whole, &ref, &reply), NP_ETYPE);
    }
    terms_end(&b);
}

static void casts(void **state) {
    (void)state;
    terms_built b;
    np_gen gen;
    terms_begin(&b);
    np_gen_cast_begin(&b.out);
    np_out_chars(&b.out, "ab");
    np_gen_parse(np_out_view(&b.out), &gen);
    assert_int_equal(gen.kind, NP_GEN_CAST);
    assert_string_equal(terms_text(gen.body), "[97,98]");
    terms_expect(&b, "{'$gen_cast',[97,98]}");
    terms_end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_peers_sent),         cmocka_unit_test(our_calls), cmocka_unit_test(tags),
        cmocka_unit_test(malformed_ones_are_messages), cmocka_unit_test(casts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
