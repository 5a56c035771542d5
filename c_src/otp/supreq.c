/*
 * supreq.c - reads the requests of supervisors and builds their answers (protocols.md section 6;
 * lib/stdlib/src/supervisor.erl, Elixir's dynamic_supervisor.ex).
 *
 * Main thread. Only the shape is checked here, as far as reading needs it; whether restart, shutdown, type and
 * modules make sense is for the supervision tree to say.
 */
#include "otp/supreq.h"

static bool is_type(np_in term, np_type type) { return np_in_type(&term) == type; }

static bool proper_list(np_in term) {
    np_list list;
    np_in element;
    if (np_in_list(&term, &list) < 0)
        return false;
    while (np_list_next(&list, &element)) {
    }
    return np_list_proper(&list);
}

/* {Module, Function, Args}. */
static bool read_start(np_in start, np_supreq *req) {
    return np_in_tuple_of(&start, 3) == 0 && np_in_term(&start, &req->spec.module) == 0 &&
           np_in_term(&start, &req->spec.function) == 0 && np_in_term(&start, &req->spec.args) == 0 &&
           is_type(req->spec.module, NP_TYPE_ATOM) && is_type(req->spec.function, NP_TYPE_ATOM) &&
           proper_list(req->spec.args);
}

/* Restart, Shutdown, Type, Modules: the end of either tuple form. */
static bool read_rest(np_in *at, np_supreq *req) {
    return np_in_term(at, &req->spec.restart) == 0 && np_in_term(at, &req->spec.shutdown) == 0 &&
           np_in_term(at, &req->spec.type) == 0 && np_in_term(at, &req->spec.modules) == 0;
}

static bool read_map(np_in spec, np_supreq *req) {
    np_in start;
    if (np_in_map_get(&spec, "id", &req->spec.id) < 0 || np_in_map_get(&spec, "start", &start) < 0)
        return false;
    (void)np_in_map_get(&spec, "restart", &req->spec.restart);
    (void)np_in_map_get(&spec, "shutdown", &req->spec.shutdown);
    (void)np_in_map_get(&spec, "type", &req->spec.type);
    (void)np_in_map_get(&spec, "modules", &req->spec.modules);
    return read_start(start, req);
}

static int start_child(np_in spec, np_supreq *req) {
    np_in at = spec, start;
    uint32_t arity = 0;
    bool good = false;
    req->kind = NP_SUPREQ_START_CHILD;
    if (is_type(spec, NP_TYPE_LIST)) {
        req->kind = NP_SUPREQ_START_CHILD_ARGS;
        req->spec.args = spec;
        good = proper_list(spec);
    } else if (is_type(spec, NP_TYPE_MAP)) {
        good = read_map(spec, req);
    } else if (np_in_tuple(&at, &arity) == 0 && arity == 5) {
        req->kind = NP_SUPREQ_START_CHILD_DYNAMIC;
        good = np_in_term(&at, &start) == 0 && read_start(start, req) && read_rest(&at, req);
    } else if (arity == 6) {
        good = np_in_term(&at, &req->spec.id) == 0 && np_in_term(&at, &start) == 0 && read_start(start, req) &&
               read_rest(&at, req);
    }
    if (!good)
        req->spec = (__typeof__(req->spec)){0};
    return good ? 0 : NP_EBADTERM;
}

static void with_id(np_supreq *req, np_supreq_kind kind, np_in id) {
    req->kind = kind;
    req->id = id;
}

int np_supreq_parse(np_in request, np_supreq *req) {
    *req = (np_supreq){.kind = NP_SUPREQ_UNKNOWN};
    np_in at = request;
    uint32_t arity;
    if (np_in_match(&at, "which_children") == 0) {
        req->kind = NP_SUPREQ_WHICH_CHILDREN;
    } else if (np_in_match(&at, "count_children") == 0) {
        req->kind = NP_SUPREQ_COUNT_CHILDREN;
    } else if (np_in_tuple(&at, &arity) < 0) {
        return 0;
    } else if (arity >= 2 && np_in_match(&at, "start_task") == 0) {
        req->kind = NP_SUPREQ_START_TASK;
    } else if (arity != 2) {
        return 0;
    } else if (np_in_match(&at, "start_child") == 0) {
        return start_child(at, req);
    } else if (np_in_match(&at, "terminate_child") == 0) {
        with_id(req, NP_SUPREQ_TERMINATE_ID, at);
        if (np_in_pid(&at, &req->pid) == 0)
            req->kind = NP_SUPREQ_TERMINATE_PID;
    } else if (np_in_match(&at, "restart_child") == 0) {
        with_id(req, NP_SUPREQ_RESTART_ID, at);
    } else if (np_in_match(&at, "delete_child") == 0) {
        with_id(req, NP_SUPREQ_DELETE_ID, at);
    } else if (np_in_match(&at, "get_childspec") == 0) {
        with_id(req, NP_SUPREQ_GET_CHILDSPEC, at);
    }
    return 0;
}

void np_supreq_child(np_out *out, const char *id, const np_pid *pid, bool supervisor, const char *module) {
    np_out_tuple(out, 4);
    np_out_atom(out, id != NULL ? id : "undefined");
    if (pid != NULL)
        np_out_pid(out, pid);
    else
        np_out_atom(out, "undefined");
    np_out_atom(out, supervisor ? "supervisor" : "worker");
    if (module == NULL) {
        np_out_atom(out, "dynamic");
        return;
    }
    np_out_list(out, 1);
    np_out_atom(out, module);
    np_out_nil(out);
}

static void out_count(np_out *out, const char *name, uint64_t value) {
    np_out_tuple(out, 2);
    np_out_atom(out, name);
    np_out_uint(out, value);
}

void np_supreq_counts(np_out *out, uint64_t specs, uint64_t active, uint64_t supervisors, uint64_t workers) {
    np_out_list(out, 4);
    out_count(out, "specs", specs);
    out_count(out, "active", active);
    out_count(out, "supervisors", supervisors);
    out_count(out, "workers", workers);
    np_out_nil(out);
}
