/*
 * gen.h - the messages of OTP's gen module (lib/stdlib/src/gen.erl): calls, casts, system messages, and everything
 * else.
 */
#ifndef NP_OTP_GEN_H
#define NP_OTP_GEN_H

#include <native_pool/term.h>

/* Who waits for a reply. tag is borrowed from the message; np_from is valid as long as that is. */
typedef struct np_from {
    np_pid pid;
    bool has_alias; /* reply to `alias` instead of pid, so that a late one vanishes */
    np_ref alias;
    np_in tag; /* as it came, to be echoed byte for byte */
} np_from;

typedef enum np_gen_kind {
    NP_GEN_CALL,   /* {'$gen_call', From, Request} */
    NP_GEN_CAST,   /* {'$gen_cast', Message} */
    NP_GEN_SYSTEM, /* {system, From, Request} */
    NP_GEN_INFO,   /* anything else: body is the whole message */
} np_gen_kind;

typedef struct np_gen {
    np_gen_kind kind;
    np_from from; /* CALL and SYSTEM */
    np_in body;   /* request or message */
} np_gen;

/* message is exactly one term. Never fails: what is no well-formed gen message is INFO. */
void np_gen_parse(np_in message, np_gen *gen);

/* Reads a From term {Pid, Tag}. NP_ETYPE. */
int np_gen_from(np_in *in, np_from *from);

/* Begins {Tag, Reply}: the caller appends exactly one term. */
void np_gen_reply_begin(np_out *out, const np_from *from);

/* Whole payloads of requests of ours. `ref` is alias and monitor: the tag is [alias|ref]. */
void np_gen_call_begin(np_out *out, const np_pid *self, const np_ref *ref); /* then exactly one term: the request */
void np_gen_cast_begin(np_out *out);                                        /* then exactly one term */

/* message (exactly one term) as our call's answer {[alias|Ref], Reply}: the ref and a cursor over Reply. NP_ETYPE if
 * the message is none. */
int np_gen_read_reply(np_in message, np_ref *ref, np_in *reply);

#endif
