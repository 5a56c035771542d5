/*
 * erpc.h - spawn requests from other nodes and what erpc, rpc and Node.spawn make of them (lib/kernel/src/erpc.erl,
 * rpc.erl); and the same as a client.
 */
#ifndef NP_OTP_ERPC_H
#define NP_OTP_ERPC_H

#include <native_pool/term.h>

/* A SPAWN_REQUEST, understood. */
typedef struct np_spawn {
    bool link;
    bool monitor;
    enum {
        NP_SPAWN_EXECUTE_CALL, /* {erpc, execute_call, 4}: [Res, M, F, Args]; the answer is a DOWN payload */
        NP_SPAWN_EXECUTE_CAST, /* {erpc, execute_cast, 3}: [M, F, Args]; nobody waits */
        NP_SPAWN_PLAIN,        /* spawn of an MFA */
        NP_SPAWN_FUN,          /* {erlang, apply, 2} with a fun: cannot be run here */
        NP_SPAWN_BAD, /* options or arguments that are none: answer badopt. Options that tune a BEAM process are no
                         reason */
    } kind;
    np_in result; /* EXECUTE_CALL: the Res term, echoed in the answer */
    char module[NP_ATOM_BYTES_MAX + 1];
    char function[NP_ATOM_BYTES_MAX + 1];
    np_in args; /* a proper list */
    uint32_t arity;
} np_spawn;

/* module/function/arity as in the control message, options and args its terms. Never fails: BAD. */
void np_spawn_parse(np_spawn *spawn, np_str module, np_str function, uint32_t arity, np_in options, np_in args);

/* DOWN payloads for erpc. The first begins {Res, return, V}: the caller appends V. */
void np_erpc_return_begin(np_out *out, const np_in *result);
void np_erpc_throw_begin(np_out *out, const np_in *result);
void np_erpc_exit_begin(np_out *out, const np_in *result);
/* {Res, error, undef, [{M,F,Args,[]}]} and {Res, error, Atom, [{M,F,Args,[]}]}. */
void np_erpc_undef(np_out *out, const np_in *result, const np_spawn *spawn);
void np_erpc_error(np_out *out, const np_in *result, const char *reason, const np_spawn *spawn);
/* [{M,F,Args,[]}]: the stack trace of an error in the call itself. */
void np_erpc_stack(np_out *out, const np_spawn *spawn);

/* As client: the argument list [Res, M, F, Args] of {erpc, execute_call, 4}; res is any ref of ours. The caller appends
 * the proper list Args... */
void np_erpc_call_begin(np_out *out, const np_ref *res, const char *module,
                        const char *function); /* then one term (the Args list), then np_out_nil */

/* ... and what came back: the payload of the DOWN. */
typedef enum np_erpc_result {
    NP_ERPC_RETURN,
    NP_ERPC_THROW,
    NP_ERPC_EXIT,
    NP_ERPC_ERROR,
    NP_ERPC_SIGNAL
} np_erpc_result;
/* value: V, the thrown term, the reason (of an error without its stack), or for SIGNAL the whole reason. */
np_erpc_result np_erpc_read_result(np_in reason, const np_ref *res, np_in *value);

#endif
