/*
 * encode.c - the messages of syn 3.x between scope processes (syn_gen_scope, syn_registry, syn_pg). See internal.h.
 *
 * A message that cannot be built, for want of memory, is an empty cursor; np_syn_node_send knows what that means.
 */
#include "syn/internal.h"

#include "base/assert.h"
#include "term/out.h"

static const char *const set_tags[] = {[NP_SYN_REGISTRY] = "sync_register", [NP_SYN_PG] = "sync_join"};
static const char *const remove_tags[] = {[NP_SYN_REGISTRY] = "sync_unregister", [NP_SYN_PG] = "sync_leave"};

static void begin(np_syn *syn, np_out *out, uint32_t arity, const char *tag) {
    np_buf_clear(&syn->out_scratch, NP_SYN_META_BYTES_MAX);
    np_out_init(out, &syn->out_scratch, NP_MESSAGE_MAX);
    np_out_tuple(out, arity);
    np_out_atom(out, "3.0");
    np_out_atom(out, tag);
}

static np_in finish(np_syn_scope *scope, const np_out *out) {
    static const uint8_t nothing;
    if (np_out_error(out) == 0)
        return np_out_view(out);
    np_syn_complain(scope->syn, NP_SYN_WRONG_RESOURCES, scope, 0, (np_in){&nothing, 0, 0});
    return (np_in){&nothing, 0, 0};
}

static void put_reason(np_out *out, const char *reason, np_in term) {
    if (reason != NULL)
        np_out_atom(out, reason);
    else
        np_out_term(out, &term);
}

np_in np_syn_encode_discover(np_syn_scope *scope) {
    np_out out;
    begin(scope->syn, &out, 3, "discover");
    np_out_pid(&out, &scope->self);
    return finish(scope, &out);
}

np_in np_syn_encode_set(np_syn_entry *entry, const char *reason) {
    np_syn_scope *scope = entry->origin->scope;
    np_in name = np_syn_entry_name(entry);
    np_in meta = np_syn_meta_in(entry->meta);
    np_pid pid = np_syn_entry_pid(entry);
    np_out out;
    begin(scope->syn, &out, 7, set_tags[scope->kind]);
    np_out_term(&out, &name);
    np_out_pid(&out, &pid);
    np_out_term(&out, &meta);
    np_out_uint(&out, entry->time_ns);
    np_out_atom(&out, reason);
    return finish(scope, &out);
}

np_in np_syn_encode_remove(np_syn_scope *scope, np_in name, const np_pid *pid, np_in meta, const char *reason,
                           np_in reason_term) {
    np_out out;
    begin(scope->syn, &out, 6, remove_tags[scope->kind]);
    np_out_term(&out, &name);
    np_out_pid(&out, pid);
    np_out_term(&out, &meta);
    put_reason(&out, reason, reason_term);
    return finish(scope, &out);
}

int np_syn_encode_ack_head(np_syn_scope *scope, np_buf *message) {
    np_out out;
    np_out_init(&out, message, NP_MESSAGE_MAX);
    np_out_tuple(&out, 4);
    np_out_atom(&out, "3.0");
    np_out_atom(&out, "ack_sync");
    np_out_pid(&out, &scope->self);
    return np_out_error(&out);
}

int np_syn_encode_ack_entry(const np_syn_entry *entry, np_buf *message) {
    np_in name = np_syn_entry_name(entry);
    np_in meta = np_syn_meta_in(entry->meta);
    np_pid pid = np_syn_entry_pid(entry);
    np_out out;
    np_out_init(&out, message, NP_MESSAGE_MAX);
    np_out_tuple(&out, 4);
    np_out_term(&out, &name);
    np_out_pid(&out, &pid);
    np_out_term(&out, &meta);
    np_out_uint(&out, entry->time_ns);
    return np_out_error(&out);
}
