/*
 * supreq.h - the requests Supervisor and DynamicSupervisor send (lib/stdlib/src/supervisor.erl, Elixir's
 * dynamic_supervisor.ex), read into one struct, and the shapes of the answers.
 */
#ifndef NP_OTP_SUPREQ_H
#define NP_OTP_SUPREQ_H

#include <native_pool/term.h>

typedef enum np_supreq_kind {
    NP_SUPREQ_WHICH_CHILDREN,
    NP_SUPREQ_COUNT_CHILDREN,
    NP_SUPREQ_START_CHILD,         /* Supervisor: spec.* from a map or tuple */
    NP_SUPREQ_START_CHILD_DYNAMIC, /* DynamicSupervisor: {{M,F,A},Restart,Shutdown,Type,Mods} */
    NP_SUPREQ_START_CHILD_ARGS,    /* simple_one_for_one: a list of extra arguments; spec.args */
    NP_SUPREQ_TERMINATE_PID,
    NP_SUPREQ_TERMINATE_ID,
    NP_SUPREQ_RESTART_ID,
    NP_SUPREQ_DELETE_ID,
    NP_SUPREQ_GET_CHILDSPEC, /* id: any term (a pid for dynamic ones) */
    NP_SUPREQ_START_TASK,    /* Task.Supervisor: wants Erlang code run */
    NP_SUPREQ_UNKNOWN,
} np_supreq_kind;

typedef struct np_supreq {
    np_supreq_kind kind;
    np_pid pid;
    np_in id;
    struct {
        np_in id;               /* empty for dynamic */
        np_in module, function; /* atoms */
        np_in args;             /* a list */
        np_in restart;          /* empty: default (permanent) */
        np_in shutdown;
        np_in type;
        np_in modules;
    } spec;
} np_supreq;

/* Reads shapes only: that spec.restart, shutdown, type and modules are sensible terms is for the supervision tree to
 * check. A malformed start_child: kind is START_CHILD* and the result NP_EBADTERM: answer {error, {invalid_child_spec,
 * Request}}. */
int np_supreq_parse(np_in request, np_supreq *req);

/* One element of which_children: {Id, Pid, Type, Modules}. id NULL: the atom undefined. pid NULL: undefined. modules
 * NULL: the atom dynamic. */
void np_supreq_child(np_out *out, const char *id, const np_pid *pid, bool supervisor, const char *module);

/* The count_children answer. */
void np_supreq_counts(np_out *out, uint64_t specs, uint64_t active, uint64_t supervisors, uint64_t workers);

#endif
