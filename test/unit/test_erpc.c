/*
 * Spawn requests and erpc: every SPAWN_REQUEST that real peers sent (test/golden/control.golden), the results they
 * took and gave, and malformed ones.
 */
#include "dist/control.h"
#include "otp/erpc.h"
#include "term/names.h"
#include "terms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *summary(const np_spawn *spawn) {
    static char text[4096];
    static const char *const kinds[] = {"call", "cast", "plain", "fun", "bad"};
    snprintf(text, sizeof text, "%s%s%s %s:%s/%u %s", kinds[spawn->kind], spawn->link ? " link" : "",
             spawn->monitor ? " monitor" : "", spawn->module, spawn->function, (unsigned)spawn->arity,
             terms_text(spawn->args));
    return text;
}

static const struct {
    const char *title, *summary;
} rows[] = {
    {"erpc:call that returns {ok,1}", "call monitor native_pool:stats/0 []"},
    {"erpc:call with arguments [1]", "call monitor native_pool:echo/1 [1]"},
    {"erpc:call that throws", "call monitor native_pool:t/0 []"},
    {"erpc:call of an unknown function", "call monitor native_pool:nope/0 []"},
    {"erpc:cast", "cast m:f/1 [x]"},
    {"rpc:call of an unknown function", "call monitor no:f/1 [a]"},
    {"rpc:cast", "cast m:f/0 []"},
    {"spawn/4 accepted", "plain m:f/1 [1]"},
    {"Node.spawn of Elixir", "plain m:f/1 [<<98>>]"},
    {"Node.spawn_monitor of Elixir", "plain monitor m:f/0 []"},
    {"spawn_link, then", "plain link m:f/0 []"},
    {"spawn_opt with link and monitor", "plain link monitor m:f/1 [1]"},
    {"spawn_request with link, monitor with alias", "plain link monitor m:f/2 [1,2]"},
    {"spawn_request with other options", "plain m:f/0 []"},
    {"native is the client: SPAWN_REQUEST of erpc", "call monitor erlang:node/0 []"},
    {"native is the client: erpc of erlang:nodes", "call monitor erlang:nodes/1 [[visible,this]]"},
    {"native is the client: SPAWN_REQUEST with link and monitor", "plain link monitor erlang:node/0 []"},
    {"native is the client: SPAWN_REQUEST with a bad option", "bad erlang:node/0 []"},
};

/* The first packet of the record is a SPAWN_REQUEST. */
static void open_request(const golden_record *r, np_control *control, np_buf *names, np_spawn *spawn) {
    np_in tuple, payload;
    size_t i = 0;
    while (!terms_packet(&r->lines[i], &tuple, &payload))
        i++;
    assert_int_equal(np_control_decode(control, tuple, payload, names, NULL), 0);
    assert_int_equal(control->kind, NP_CTL_SPAWN_REQUEST);
    np_spawn_parse(spawn, control->spawn.module, control->spawn.function, control->spawn.arity, control->spawn.options,
                   control->payload);
}

static void as_real_callers_asked(void **state) {
    (void)state;
    golden *g = golden_open("control.golden");
    np_buf names = NP_BUF_INIT;
    static np_spawn spawn;
    np_control control;
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        open_request(golden_find(g, rows[row].title), &control, &names, &spawn);
        assert_string_equal(summary(&spawn), rows[row].summary);
    }
    golden_close(&g);
    g = golden_open("control.golden");
    open_request(golden_find(g, "spawn/2 of a fun"), &control, &names, &spawn);
    assert_int_equal(spawn.kind, NP_SPAWN_FUN);
    golden_close(&g);
    g = golden_open("control.golden");
    open_request(golden_find(g, "erpc:call of a fun"), &control, &names, &spawn);
    assert_int_equal(spawn.kind, NP_SPAWN_EXECUTE_CALL);
    assert_string_equal(spawn.module, "erlang");
    assert_string_equal(spawn.function, "apply");
    assert_int_equal(spawn.arity, 2);
    golden_close(&g);
    np_buf_fini(&names);
}

/* Builds what native answered, and reads it as a client would. */
static void check_result(const char *title, const np_spawn *spawn, np_in payload, terms_built *b) {
    np_in result = spawn->result, value;
    np_ref res;
    assert_int_equal(np_in_ref(&result, &res), 0);
    np_erpc_result kind = np_erpc_read_result(payload, &res, &value);
    if (strstr(title, "throws") != NULL) {
        assert_int_equal(kind, NP_ERPC_THROW);
        np_erpc_throw_begin(&b->out, &spawn->result);
        np_out_atom(&b->out, "ball");
    } else if (strstr(title, "exits") != NULL) {
        assert_int_equal(kind, NP_ERPC_EXIT);
        np_erpc_exit_begin(&b->out, &spawn->result);
        np_out_atom(&b->out, "bye");
    } else if (strstr(title, "unknown") != NULL) {
        assert_int_equal(kind, NP_ERPC_ERROR);
        assert_string_equal(terms_text(value), "undef");
        np_erpc_undef(&b->out, &spawn->result, spawn);
    } else if (strstr(title, "gives erpc error") != NULL) {
        assert_int_equal(kind, NP_ERPC_ERROR);
        assert_string_equal(terms_text(value), "{erpc,notsup}");
        return;
    } else if (strstr(title, "dies") != NULL) {
        assert_int_equal(kind, NP_ERPC_SIGNAL);
        assert_string_equal(terms_text(value), "killed");
        return;
    } else if (strstr(title, "of a fun") != NULL) {
        assert_int_equal(kind, NP_ERPC_ERROR);
        assert_string_equal(terms_text(value), "notsup");
        return;
    } else {
        assert_int_equal(kind, NP_ERPC_RETURN);
        np_erpc_return_begin(&b->out, &spawn->result);
        np_out_term(&b->out, &value);
    }
    terms_expect_bytes(b, payload);
}

static void results(void **state) {
    (void)state;
    golden *g = golden_open("control.golden");
    terms_built b;
    np_buf names = NP_BUF_INIT;
    int answers = 0;
    terms_begin(&b);
    for (const golden_record *r; (r = golden_next(g)) != NULL;) {
        static np_spawn spawn;
        spawn.kind = NP_SPAWN_BAD;
        for (size_t i = 0; i < r->count; i++) {
            np_in tuple, payload;
            np_control control;
            if (!terms_packet(&r->lines[i], &tuple, &payload))
                continue;
            if (np_control_decode(&control, tuple, payload, &names, NULL) < 0)
                continue;
            if (control.kind == NP_CTL_SPAWN_REQUEST) {
                np_spawn_parse(&spawn, control.spawn.module, control.spawn.function, control.spawn.arity,
                               control.spawn.options, control.payload);
            } else if (control.kind == NP_CTL_DOWN && spawn.kind == NP_SPAWN_EXECUTE_CALL) {
                check_result(r->title, &spawn, control.payload, &b);
                answers++;
            }
        }
    }
    golden_close(&g);
    terms_end(&b);
    np_buf_fini(&names);
    assert_true(answers >= 12);
}

static void our_requests(void **state) {
    (void)state;
    golden *g = golden_open("control.golden");
    terms_built b;
    np_buf names = NP_BUF_INIT;
    terms_begin(&b);
    for (int i = 0; i < 3; i++) {
        static np_spawn spawn;
        np_control control;
        np_ref res;
        const golden_record *r =
            golden_find(g, i == 0 ? "native is the client: SPAWN_REQUEST of" : "native is the client: erpc of");
        open_request(r, &control, &names, &spawn);
        np_in result = spawn.result;
        assert_int_equal(np_in_ref(&result, &res), 0);
        np_erpc_call_begin(&b.out, &res, spawn.module, spawn.function);
        np_out_term(&b.out, &spawn.args);
        np_out_nil(&b.out);
        if (i == 1) /* [1]: the capture wrote a byte list in its short form */
            terms_expect(&b, terms_text(control.payload));
        else
            terms_expect_bytes(&b, control.payload);
    }
    golden_close(&g);
    terms_end(&b);
    np_buf_fini(&names);
}

/* ---- by hand ---- */

static np_str str(const char *text) { return (np_str){text, strlen(text)}; }

/* Options and arguments built by hand; returns the kind. */
static int parse(const char *m, const char *f, uint32_t arity, terms_built *options, terms_built *args,
                 np_spawn *spawn) {
    np_spawn_parse(spawn, str(m), str(f), arity, np_out_view(&options->out), np_out_view(&args->out));
    np_out_reset(&args->out);
    return spawn->kind;
}

static void malformed_arguments(void **state) {
    (void)state;
    static np_spawn spawn;
    terms_built options, args;
    terms_begin(&options);
    terms_begin(&args);
    np_out_nil(&options.out);
    np_out_chars(&args.out, "\1\2"); /* arity and arguments differ */
    assert_int_equal(parse("m", "f", 3, &options, &args, &spawn), NP_SPAWN_BAD);
    np_out_chars(&args.out, "\1\2");
    assert_int_equal(parse("m", "f", 2, &options, &args, &spawn), NP_SPAWN_PLAIN);
    np_out_atom(&args.out, "nolist");
    assert_int_equal(parse("m", "f", 0, &options, &args, &spawn), NP_SPAWN_BAD);
    np_out_list(&args.out, 1);
    np_out_int(&args.out, 1);
    np_out_int(&args.out, 2);
    assert_int_equal(parse("m", "f", 1, &options, &args, &spawn), NP_SPAWN_BAD);
    np_out_chars(&args.out, "\1\2\3\4"); /* of execute_call: no module */
    assert_int_equal(parse("erpc", "execute_call", 4, &options, &args, &spawn), NP_SPAWN_BAD);
    assert_true(np_in_at_end(&spawn.result));
    np_out_chars(&args.out, "\1\2\3");
    assert_int_equal(parse("erpc", "execute_cast", 3, &options, &args, &spawn), NP_SPAWN_BAD);
    np_out_list(&args.out, 3);
    np_out_atom(&args.out, "m");
    np_out_atom(&args.out, "f");
    np_out_atom(&args.out, "noargs");
    np_out_nil(&args.out);
    assert_int_equal(parse("erpc", "execute_cast", 3, &options, &args, &spawn), NP_SPAWN_BAD);
    np_out_list(&args.out, 2);
    np_out_atom(&args.out, "nofun");
    np_out_nil(&args.out);
    np_out_nil(&args.out);
    assert_int_equal(parse("erlang", "apply", 2, &options, &args, &spawn), NP_SPAWN_PLAIN);
    static char long_name[NP_ATOM_BYTES_MAX + 2];
    memset(long_name, 'm', NP_ATOM_BYTES_MAX + 1);
    np_out_nil(&args.out);
    assert_int_equal(parse(long_name, "f", 0, &options, &args, &spawn), NP_SPAWN_BAD);
    np_out_nil(&args.out);
    assert_int_equal(parse(long_name + 1, "f", 0, &options, &args, &spawn), NP_SPAWN_PLAIN);
    terms_end(&options);
    terms_end(&args);
}

static void options(void **state) {
    (void)state;
    static np_spawn spawn;
    terms_built o, args;
    terms_begin(&o);
    terms_begin(&args);
    np_out_list(&o.out, 2); /* [{monitor,[{alias,demonitor}]},{max_heap_size,#{}}] */
    np_out_tuple(&o.out, 2);
    np_out_atom(&o.out, "monitor");
    np_out_list(&o.out, 1);
    np_out_tuple(&o.out, 2);
    np_out_atom(&o.out, "alias");
    np_out_atom(&o.out, "demonitor");
    np_out_nil(&o.out);
    np_out_tuple(&o.out, 2);
    np_out_atom(&o.out, "max_heap_size");
    np_out_map(&o.out, 0);
    np_out_nil(&o.out);
    np_out_nil(&args.out);
    assert_int_equal(parse("m", "f", 0, &o, &args, &spawn), NP_SPAWN_PLAIN);
    assert_true(spawn.monitor);
    assert_false(spawn.link);
    for (int form = 0; form < 4; form++) {
        np_out_reset(&o.out);
        if (form == 0) {
            np_out_atom(&o.out, "link");
        } else {
            np_out_list(&o.out, 1);
            if (form == 1)
                np_out_int(&o.out, 5);
            else if (form == 2)
                np_out_atom(&o.out, "links");
            else
                np_out_atom(&o.out, "link");
            if (form == 3)
                np_out_atom(&o.out, "improper");
            else
                np_out_nil(&o.out);
        }
        np_out_nil(&args.out);
        assert_int_equal(parse("m", "f", 0, &o, &args, &spawn), NP_SPAWN_BAD);
    }
    terms_end(&o);
    terms_end(&args);
}

static void results_of_others(void **state) {
    (void)state;
    np_ref ours = {.node = np_name_id("n@h"), .creation = 1, .len = 3, .id = {1, 2, 3}}, other = ours;
    other.id[0] = 9;
    static const struct {
        uint32_t arity;
        bool ours;
        const char *kind;
        np_erpc_result result;
    } cases[] = {
        {3, true, "return", NP_ERPC_RETURN}, {3, false, "return", NP_ERPC_SIGNAL}, {4, true, "return", NP_ERPC_SIGNAL},
        {3, true, "error", NP_ERPC_ERROR},   {4, true, "error", NP_ERPC_ERROR},    {3, true, "else", NP_ERPC_SIGNAL},
        {5, true, "error", NP_ERPC_SIGNAL},  {3, true, "throw", NP_ERPC_THROW},    {3, true, "exit", NP_ERPC_EXIT},
    };
    terms_built b;
    terms_begin(&b);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        np_out_reset(&b.out);
        np_out_tuple(&b.out, cases[i].arity);
        np_out_ref(&b.out, cases[i].ours ? &ours : &other);
        np_out_atom(&b.out, cases[i].kind);
        for (uint32_t k = 2; k < cases[i].arity; k++)
            np_out_int(&b.out, k);
        np_in in = np_out_view(&b.out), value;
        assert_int_equal(np_erpc_read_result(in, &ours, &value), cases[i].result);
        if (cases[i].result == NP_ERPC_SIGNAL)
            assert_memory_equal(&value, &in, sizeof in);
        else
            assert_string_equal(terms_text(value), "2");
    }
    terms_end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_real_callers_asked), cmocka_unit_test(results), cmocka_unit_test(our_requests),
        cmocka_unit_test(malformed_arguments),   cmocka_unit_test(options), cmocka_unit_test(results_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
