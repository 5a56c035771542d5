/*
 * gen.c - reads and builds the messages of OTP's gen module (protocols.md section 6; lib/stdlib/src/gen.erl).
 *
 * Main thread. np_gen_parse runs once for every message of every process: no allocation, no copy.
 */
#include "otp/gen.h"

/* The list ends in the reference of an alias, and its one element was the atom. */
static bool ends_in_ref(const np_list *list, np_ref *alias) {
    np_in tail;
    return list->left == 0 && !np_list_tail(list, &tail) && np_in_ref(&tail, alias) == 0;
}

/* gen:reply/2: {To, [alias|Alias]} and {To, [[alias|Alias] | _]} are answered to the alias, anything else to To. */
static bool list_alias(np_list *list, np_ref *alias) {
    np_list inner;
    np_in head, first;
    if (!np_list_next(list, &head))
        return false;
    if (np_in_match(&head, "alias") == 0)
        return ends_in_ref(list, alias);
    return np_in_list(&head, &inner) == 0 && np_list_next(&inner, &first) && np_in_match(&first, "alias") == 0 &&
           ends_in_ref(&inner, alias);
}

int np_gen_from(np_in *in, np_from *from) {
    np_in at = *in;
    np_list list;
    if (np_in_tuple_of(&at, 2) < 0 || np_in_pid(&at, &from->pid) < 0)
        return NP_ETYPE;
    size_t start = at.pos;
    if (np_in_list(&at, &list) == 0) {
        from->tag = (np_in){at.base, start, at.pos};
        from->has_alias = list_alias(&list, &from->alias);
    } else {
        from->has_alias = false;
        if (np_in_term(&at, &from->tag) < 0)
            return NP_ETYPE;
    }
    *in = at;
    return 0;
}

void np_gen_parse(np_in message, np_gen *gen) {
    np_in at = message;
    uint32_t arity;
    gen->kind = NP_GEN_INFO;
    gen->body = message;
    if (np_in_tuple(&at, &arity) < 0)
        return;
    if (arity == 3) {
        np_gen_kind kind;
        if (np_in_match(&at, "$gen_call") == 0)
            kind = NP_GEN_CALL;
        else if (np_in_match(&at, "system") == 0)
            kind = NP_GEN_SYSTEM;
        else
            return;
        if (np_gen_from(&at, &gen->from) < 0)
            return;
        gen->kind = kind;
        gen->body = at; /* the rest of the message: a large request is not walked over to find its end */
    } else if (arity == 2 && np_in_match(&at, "$gen_cast") == 0) {
        gen->kind = NP_GEN_CAST;
        gen->body = at;
    }
}

void np_gen_reply_begin(np_out *out, const np_from *from) {
    np_out_tuple(out, 2);
    np_out_term(out, &from->tag);
}

void np_gen_call_begin(np_out *out, const np_pid *self, const np_ref *ref) {
    np_out_tuple(out, 3);
    np_out_atom(out, "$gen_call");
    np_out_tuple(out, 2);
    np_out_pid(out, self);
    np_out_list(out, 1);
    np_out_atom(out, "alias");
    np_out_ref(out, ref);
}

void np_gen_cast_begin(np_out *out) {
    np_out_tuple(out, 2);
    np_out_atom(out, "$gen_cast");
}

int np_gen_read_reply(np_in message, np_ref *ref, np_in *reply) {
    np_list list;
    if (np_in_tuple_of(&message, 2) < 0 || np_in_list(&message, &list) < 0 || !list_alias(&list, ref))
        return NP_ETYPE;
    *reply = message;
    return 0;
}
