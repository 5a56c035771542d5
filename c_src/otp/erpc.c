/*
 * erpc.c - reads spawn requests and builds what erpc expects to find in the DOWN of the spawned process, and the same
 * from the other side (protocols.md section 7; lib/kernel/src/erpc.erl).
 *
 * Main thread.
 */
#include "otp/erpc.h"

#include "term/ids.h"

#include <string.h>

static bool str_is(np_str str, const char *text) {
    return str.len == strlen(text) && memcmp(str.data, text, str.len) == 0;
}

static void copy_name(char *to, np_str name) {
    memcpy(to, name.data, name.len);
    to[name.len] = '\0';
}

/* The number of elements of a proper list; -1: something else. */
static int64_t list_len(np_in term) {
    np_list list;
    np_in element;
    int64_t len = 0;
    if (np_in_list(&term, &list) < 0)
        return -1;
    while (np_list_next(&list, &element))
        len++;
    return np_list_proper(&list) ? len : -1;
}

/* Options that tune a process of the BEAM (spawn_opt/5). They are taken and mean nothing here. */
static bool is_tuning(np_in option) {
    static const char *const known[] = {"priority",      "fullsweep_after",    "min_heap_size", "min_bin_vheap_size",
                                        "max_heap_size", "message_queue_data", "async_dist"};
    if (np_in_tuple_of(&option, 2) < 0)
        return false;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (np_in_match(&option, known[i]) == 0)
            return true;
    return false;
}

static bool read_options(np_spawn *spawn, np_in options) {
    np_list list;
    np_in option;
    if (np_in_list(&options, &list) < 0)
        return false;
    while (np_list_next(&list, &option)) {
        np_in at = option;
        if (np_in_match(&at, "link") == 0)
            spawn->link = true;
        else if (np_in_match(&at, "monitor") == 0)
            spawn->monitor = true;
        else if (np_in_tuple_of(&at, 2) == 0 && np_in_match(&at, "monitor") == 0)
            spawn->monitor = true; /* its options (alias) are the requester's affair */
        else if (!is_tuning(option))
            return false;
    }
    return np_list_proper(&list);
}

/* [.., M, F, Args]: the end of the arguments of erpc:execute_call/4 and execute_cast/3. */
static bool read_mfa(np_spawn *spawn, np_list *list) {
    np_in element;
    if (!np_list_next(list, &element) || np_in_atom(&element, spawn->module, sizeof(spawn->module)) < 0)
        return false;
    if (!np_list_next(list, &element) || np_in_atom(&element, spawn->function, sizeof(spawn->function)) < 0)
        return false;
    if (!np_list_next(list, &spawn->args))
        return false;
    int64_t arity = list_len(spawn->args);
    spawn->arity = (uint32_t)arity;
    return arity >= 0;
}

static int read_execute(np_spawn *spawn, np_in args, bool call) {
    np_list list;
    if (np_in_list(&args, &list) < 0)
        return NP_SPAWN_BAD;
    if (call && !np_list_next(&list, &spawn->result))
        return NP_SPAWN_BAD;
    if (!read_mfa(spawn, &list))
        return NP_SPAWN_BAD;
    return call ? NP_SPAWN_EXECUTE_CALL : NP_SPAWN_EXECUTE_CAST;
}

static bool first_is_fun(np_in args) {
    np_list list;
    np_in first;
    return np_in_list(&args, &list) == 0 && np_list_next(&list, &first) && np_in_type(&first) == NP_TYPE_FUN;
}

void np_spawn_parse(np_spawn *spawn, np_str module, np_str function, uint32_t arity, np_in options, np_in args) {
    spawn->link = false;
    spawn->monitor = false;
    spawn->kind = NP_SPAWN_BAD;
    spawn->result = (np_in){0};
    spawn->module[0] = '\0';
    spawn->function[0] = '\0';
    spawn->args = args;
    spawn->arity = arity;
    if (module.len > NP_ATOM_BYTES_MAX || function.len > NP_ATOM_BYTES_MAX)
        return;
    copy_name(spawn->module, module);
    copy_name(spawn->function, function);
    if (!read_options(spawn, options) || list_len(args) != (int64_t)arity)
        return;
    if (str_is(module, "erpc") && str_is(function, "execute_call") && arity == 4)
        spawn->kind = read_execute(spawn, args, true);
    else if (str_is(module, "erpc") && str_is(function, "execute_cast") && arity == 3)
        spawn->kind = read_execute(spawn, args, false);
    else if (str_is(module, "erlang") && str_is(function, "apply") && arity == 2 && first_is_fun(args))
        spawn->kind = NP_SPAWN_FUN;
    else
        spawn->kind = NP_SPAWN_PLAIN;
    if (spawn->kind == NP_SPAWN_BAD) {
        spawn->result = (np_in){0};
        spawn->args = args;
    }
}

/* ---- answers ---- */

static void result_begin(np_out *out, const np_in *result, uint32_t arity, const char *kind) {
    np_out_tuple(out, arity);
    np_out_term(out, result);
    np_out_atom(out, kind);
}

void np_erpc_return_begin(np_out *out, const np_in *result) { result_begin(out, result, 3, "return"); }

void np_erpc_throw_begin(np_out *out, const np_in *result) { result_begin(out, result, 3, "throw"); }

void np_erpc_exit_begin(np_out *out, const np_in *result) { result_begin(out, result, 3, "exit"); }

void np_erpc_undef(np_out *out, const np_in *result, const np_spawn *spawn) {
    np_erpc_error(out, result, "undef", spawn);
}

void np_erpc_stack(np_out *out, const np_spawn *spawn) {
    np_out_list(out, 1);
    np_out_tuple(out, 4);
    np_out_atom(out, spawn->module);
    np_out_atom(out, spawn->function);
    np_out_term(out, &spawn->args);
    np_out_nil(out);
    np_out_nil(out);
}

void np_erpc_error(np_out *out, const np_in *result, const char *reason, const np_spawn *spawn) {
    result_begin(out, result, 4, "error");
    np_out_atom(out, reason);
    np_erpc_stack(out, spawn);
}

/* ---- as client ---- */

void np_erpc_call_begin(np_out *out, const np_ref *res, const char *module, const char *function) {
    np_out_list(out, 4);
    np_out_ref(out, res);
    np_out_atom(out, module);
    np_out_atom(out, function);
}

/* erpc:result/4 of OTP: what is not of this shape is the reason of a process that ended otherwise. */
np_erpc_result np_erpc_read_result(np_in reason, const np_ref *res, np_in *value) {
    np_in at = reason;
    uint32_t arity;
    np_ref ref;
    np_erpc_result kind = NP_ERPC_SIGNAL;
    *value = reason;
    if (np_in_tuple(&at, &arity) < 0 || (arity != 3 && arity != 4) || np_in_ref(&at, &ref) < 0 || !np_ref_eq(&ref, res))
        return NP_ERPC_SIGNAL;
    if (np_in_match(&at, "error") == 0)
        kind = NP_ERPC_ERROR;
    else if (arity == 4)
        return NP_ERPC_SIGNAL;
    else if (np_in_match(&at, "return") == 0)
        kind = NP_ERPC_RETURN;
    else if (np_in_match(&at, "throw") == 0)
        kind = NP_ERPC_THROW;
    else if (np_in_match(&at, "exit") == 0)
        kind = NP_ERPC_EXIT;
    else
        return NP_ERPC_SIGNAL;
    (void)np_in_term(&at, value); /* an error's stack trace stays behind */
    return kind;
}
