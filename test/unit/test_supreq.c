/*
 * Supervisor requests: what Supervisor, DynamicSupervisor and supervisor of real peers sent
 * (test/golden/control.golden), the answers they took, and malformed ones.
 */
#include "otp/gen.h"
#include "otp/supreq.h"
#include "term/names.h"
#include "terms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Everything in a request as one text. */
static const char *summary(const np_supreq *req) {
    static char text[4096];
    static const char *const kinds[] = {"which",      "count",         "start",     "start_dynamic",
                                        "start_args", "terminate_pid", "terminate", "restart",
                                        "delete",     "childspec",     "task",      "unknown"};
    const np_in *fields[] = {&req->id,          &req->spec.id,      &req->spec.module,   &req->spec.function,
                             &req->spec.args,   &req->spec.restart, &req->spec.shutdown, &req->spec.type,
                             &req->spec.modules};
    size_t len = (size_t)snprintf(text, sizeof text, "%s", kinds[req->kind]);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "|%s", terms_text(*fields[i]));
    return text;
}

static const struct {
    const char *title, *summary;
} rows[] = {
    {"DynamicSupervisor:start_child(To,#{id => w,start => {m,f,[1]}})",
     "start_dynamic|||m|f|[1]|permanent|5000|worker|[m]"},
    {"DynamicSupervisor:start_child(To,#{id => w,start => {m,start_link,[{a,<<",
     "start_dynamic|||m|start_link|[{a,<<98>>}]|transient|1000|supervisor|[x]"},
    {"DynamicSupervisor:start_child(To,#{id => x", "start_dynamic|||m|f|[]|permanent|5000|worker|[m]"},
    {"DynamicSupervisor:terminate_child", "terminate_pid|#Pid<'native@127.0.0.1',101,0,1234567890>||||||||"},
    {"DynamicSupervisor:which_children", "which|||||||||"},
    {"DynamicSupervisor:count_children", "count|||||||||"},
    {"Supervisor:start_child", "start||w|m|f|[1]||||"},
    {"Supervisor:terminate_child", "terminate|w||||||||"},
    {"Supervisor:restart_child", "restart|w||||||||"},
    {"Supervisor:delete_child", "delete|w||||||||"},
    {"Supervisor:which_children", "which|||||||||"},
    {"Supervisor:count_children", "count|||||||||"},
    {"supervisor:start_child(To,#{", "start||w|m|f|[1]|permanent|||"},
    {"supervisor:start_child(To,{w", "start||w|m|f|[]|permanent|5000|worker|[m]"},
    {"supervisor:start_child(To,[extra])", "start_args|||||[extra]||||"},
    {"supervisor:get_childspec", "childspec|w||||||||"},
    {"supervisor:which_children", "which|||||||||"},
    {"supervisor:count_children", "count|||||||||"},
    {"Task.Supervisor.async_nolink", "task|||||||||"},
};

/* What native answers in the record: must be what our builders make. */
static void check_answer(const np_supreq *req, const np_gen *gen, const char *title, np_in payload, terms_built *b) {
    np_pid child = {np_name_id("native@127.0.0.1"), 128, 0, 1234567890};
    if (req->kind != NP_SUPREQ_WHICH_CHILDREN && req->kind != NP_SUPREQ_COUNT_CHILDREN)
        return;
    np_gen_reply_begin(&b->out, &gen->from);
    if (req->kind == NP_SUPREQ_WHICH_CHILDREN) {
        np_out_list(&b->out, 1);
        np_supreq_child(&b->out, title[0] == 'D' ? NULL : "w", &child, false, "m");
        np_out_nil(&b->out);
    } else {
        np_supreq_counts(&b->out, 1, 1, 0, 1);
    }
    terms_expect_bytes(b, payload);
}

static void as_real_callers_asked(void **state) {
    (void)state;
    golden *g = golden_open("control.golden");
    terms_built b;
    terms_begin(&b);
    int answers = 0;
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        const golden_record *r = golden_find(g, rows[row].title);
        np_gen gen = {.kind = NP_GEN_INFO};
        np_supreq req;
        for (size_t i = 0; i < r->count; i++) {
            np_in control, payload;
            if (!terms_packet(&r->lines[i], &control, &payload) || np_in_at_end(&payload))
                continue;
            if (r->lines[i].kind == GOLDEN_IN) {
                np_gen_parse(payload, &gen);
                assert_int_equal(gen.kind, NP_GEN_CALL);
                assert_int_equal(np_supreq_parse(gen.body, &req), 0);
                assert_string_equal(summary(&req), rows[row].summary);
            } else if (terms_op(&control) == 33) {
                check_answer(&req, &gen, r->title, payload, &b);
                answers++;
            }
        }
    }
    golden_close(&g);
    terms_end(&b);
    assert_int_equal(answers, sizeof rows / sizeof rows[0]);
}

/* Builds {m,f,Args}, with something wrong in it. */
static void out_start(np_out *out, int wrong) {
    np_out_tuple(out, wrong == 1 ? 2 : 3);
    if (wrong == 2)
        np_out_int(out, 1);
    else
        np_out_atom(out, "m");
    if (wrong == 3)
        np_out_text(out, "f");
    else
        np_out_atom(out, "f");
    if (wrong == 1)
        return;
    if (wrong == 4) {
        np_out_atom(out, "noargs");
    } else if (wrong == 5) {
        np_out_list(out, 1);
        np_out_int(out, 1);
        np_out_int(out, 2);
    } else {
        np_out_chars(out, "\1\2");
    }
}

static void malformed_specs(void **state) {
    (void)state;
    terms_built b;
    terms_begin(&b);
    for (int form = 0; form < 3; form++) {
        for (int wrong = 0; wrong <= 5; wrong++) {
            np_out *out = &b.out;
            np_out_reset(out);
            np_out_tuple(out, 2);
            np_out_atom(out, "start_child");
            if (form == 0) {
                np_out_map(out, 2);
                np_out_atom(out, "id");
                np_out_int(out, 1);
                np_out_atom(out, "start");
                out_start(out, wrong);
            } else {
                np_out_tuple(out, form == 1 ? 6 : 5);
                if (form == 1)
                    np_out_int(out, 1);
                out_start(out, wrong);
                for (int i = 0; i < 4; i++)
                    np_out_atom(out, "x");
            }
            np_supreq req;
            assert_int_equal(np_supreq_parse(np_out_view(out), &req), wrong == 0 ? 0 : NP_EBADTERM);
            assert_int_equal(req.kind, form == 2 ? NP_SUPREQ_START_CHILD_DYNAMIC : NP_SUPREQ_START_CHILD);
            assert_string_equal(summary(&req), wrong > 0   ? form == 2 ? "start_dynamic|||||||||" : "start|||||||||"
                                               : form == 0 ? "start||1|m|f|[1,2]||||"
                                               : form == 1 ? "start||1|m|f|[1,2]|x|x|x|x"
                                                           : "start_dynamic|||m|f|[1,2]|x|x|x|x");
        }
    }
    terms_end(&b);
}

static void other_malformed_ones(void **state) {
    (void)state;
    terms_built b;
    terms_begin(&b);
    np_out *out = &b.out;
    for (int form = 0; form < 9; form++) {
        np_out_reset(out);
        bool start = form < 5;
        if (start) {
            np_out_tuple(out, 2);
            np_out_atom(out, "start_child");
        }
        switch (form) {
        case 0: np_out_atom(out, "spec"); break;
        case 1: np_out_map(out, 0); break;
        case 2: /* no start */
            np_out_map(out, 1);
            np_out_atom(out, "id");
            np_out_int(out, 1);
            break;
        case 3:
            np_out_tuple(out, 4);
            for (int i = 0; i < 4; i++)
                np_out_int(out, i);
            break;
        case 4: /* improper extra arguments */
            np_out_list(out, 1);
            np_out_int(out, 1);
            np_out_int(out, 2);
            break;
        case 5: np_out_atom(out, "whatever"); break;
        case 6:
            np_out_tuple(out, 3);
            for (int i = 0; i < 3; i++)
                np_out_atom(out, "start_child");
            break;
        case 7:
            np_out_tuple(out, 2);
            np_out_atom(out, "nonsense");
            np_out_nil(out);
            break;
        case 8: np_out_tuple(out, 0); break;
        }
        np_supreq req;
        assert_int_equal(np_supreq_parse(np_out_view(out), &req), start ? NP_EBADTERM : 0);
        assert_int_equal(req.kind, form == 4 ? NP_SUPREQ_START_CHILD_ARGS
                                   : start   ? NP_SUPREQ_START_CHILD
                                             : NP_SUPREQ_UNKNOWN);
    }
    terms_end(&b);
}

static void children(void **state) {
    (void)state;
    np_pid pid = {np_name_id("n@h"), 5, 0, 3};
    terms_built b;
    terms_begin(&b);
    np_supreq_child(&b.out, NULL, &pid, true, NULL);
    terms_expect(&b, "{undefined,#Pid<n@h,5,0,3>,supervisor,dynamic}");
    np_supreq_child(&b.out, "Elixir.P.Server", NULL, false, "Elixir.P");
    terms_expect(&b, "{'Elixir.P.Server',undefined,worker,['Elixir.P']}");
    np_supreq_counts(&b.out, 3, 2, 1, 4000000000u);
    terms_expect(&b, "[{specs,3},{active,2},{supervisors,1},{workers,4000000000}]");
    terms_end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_real_callers_asked),
        cmocka_unit_test(malformed_specs),
        cmocka_unit_test(other_malformed_ones),
        cmocka_unit_test(children),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
