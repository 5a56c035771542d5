/*
 * resident.c - processes that are part of the node itself: how they start, end, and answer what any OTP process
 * answers.
 *
 * Main thread. A resident is a gen_server written in C: system messages, the mailbox while suspended and group-leader
 * requests are handled here, the rest by its class. Messages reach it through np_actor_class.deliver only, never from
 * inside one of its own functions.
 */
#include "node/internal.h"

#include "base/limits.h"
#include "term/print.h"
#include "term/validate.h"

#include <string.h>
#include <time.h>

#define WHERE "node/resident"

enum { BUF_KEEP = 64 << 10, TEXT_MAX = 512 };

int np_resident_start(np_resident *resident, np_node *node, const np_resident_class *type, const char *name,
                      const np_pid *parent) {
    np_pid pid;
    int error = np_procs_spawn(node->procs, &type->actor.proc, resident, &pid);
    if (error < 0)
        return error;
    memset(resident, 0, offsetof(np_resident, name));
    resident->type = type;
    resident->node = node;
    resident->name = name;
    resident->pid = pid;
    if (parent != NULL)
        resident->parent = *parent;
    if (name != NULL)
        error = np_procs_register(node->procs, &pid, name, strlen(name));
    if (error == 0)
        error = np_procs_set_trap_exit(node->procs, &pid, true);
    if (error < 0) {
        uint8_t room[NP_ATOM_TERM_MAX];
        np_procs_exit(node->procs, &pid, np_term_atom("killed", room));
        memset(&resident->pid, 0, sizeof resident->pid);
    }
    return error;
}

void np_resident_stop(np_resident *resident, np_in reason) {
    if (resident->pid.node == 0)
        return;
    np_pid pid = resident->pid;
    memset(&resident->pid, 0, sizeof resident->pid);
    np_sys_destroy(&resident->sys);
    np_procs_exit(resident->node->procs, &pid, reason);
}

void np_resident_killed(void *target, const np_pid *self, np_in reason) {
    np_resident *resident = target;
    char text[TEXT_MAX];
    NP_LOG(NP_LOG_WARNING, WHERE, "process of the node was killed", "process=%s num=%u reason=%s",
           resident->name != NULL ? resident->name : resident->type->actor.proc.name, (unsigned)self->num,
           np_term_text(&reason, text, sizeof text));
    memset(&resident->pid, 0, sizeof resident->pid);
    np_sys_destroy(&resident->sys);
    resident->type->ended(resident, reason);
}

void np_resident_message(void *target, const np_pid *self, np_in message) {
    np_resident *resident = target;
    np_route_made(resident->node, self, message);
}

/* ---- messages ---- */

static void begin_reply(np_resident *self, np_out *out, const np_from *from) {
    np_buf_clear(&self->node->reply_buf, BUF_KEEP);
    np_out_init(out, &self->node->reply_buf, self->node->settings.peers.message_max);
    np_gen_reply_begin(out, from);
}

/* What was built: one whole term. */
static int built(const np_out *out, np_in *payload) {
    int error = np_out_error(out);
    if (error < 0)
        return error;
    np_in view = np_out_view(out);
    np_bytes bytes = np_in_bytes(&view);
    return np_term_open(payload, bytes.data, bytes.len);
}

/* A reply that cannot be sent, since it is larger than a message may be, is {error, Error}. */
static void send_reply(np_resident *self, const np_from *from, np_out *out) {
    np_in payload;
    if (self->pid.node == 0)
        return; /* killed meanwhile, by a worker that it has started or stopped */
    int error = built(out, &payload);
    if (error < 0) {
        NP_LOG(NP_LOG_ERROR, WHERE, "a reply could not be built", "process=%s error=\"%s\"",
               self->type->actor.proc.name, np_strerror(error));
        begin_reply(self, out, from);
        np_out_tuple(out, 2);
        np_out_atom(out, "error");
        np_out_atom(out, np_error_name(error));
        if (built(out, &payload) < 0)
            return;
    }
    np_sys_count_out(self->sys);
    np_route_reply(self->node, &self->pid, from, payload);
}

static void call(np_resident *self, const np_gen *gen) {
    np_out out;
    begin_reply(self, &out, &gen->from);
    int result = self->type->call != NULL ? self->type->call(self, &gen->from, gen->body, &out) : NP_UNHANDLED;
    if (result == NP_UNHANDLED) {
        begin_reply(self, &out, &gen->from);
        np_out_tuple(&out, 2);
        np_out_atom(&out, "unhandled");
        np_out_term(&out, &gen->body);
        result = NP_REPLY;
    }
    if (result == NP_REPLY)
        send_reply(self, &gen->from, &out);
}

/*
 * {io_request, From, ReplyAs, Request}: whoever runs code for us on another node has us as its group leader. Output
 * goes to the log, so that the writer is not left waiting; input there is none (lib/kernel/src/group.erl).
 */
static bool io_request(np_resident *self, np_in message) {
    np_pid from;
    np_in as;
    if (np_in_tuple_of(&message, 4) < 0 || np_in_match(&message, "io_request") < 0 || np_in_pid(&message, &from) < 0 ||
        np_in_term(&message, &as) < 0)
        return false;
    bool put = false;
    uint32_t arity;
    np_in request = message;
    if (np_in_tuple(&request, &arity) == 0 && np_in_match(&request, "put_chars") == 0) {
        char text[TEXT_MAX];
        np_in chars = message;
        NP_LOG(NP_LOG_INFO, WHERE, "output of code run for us elsewhere", "request=%s",
               np_term_text(&chars, text, sizeof text));
        put = true;
    }
    np_buf_clear(&self->node->reply_buf, BUF_KEEP);
    np_out out;
    np_out_init(&out, &self->node->reply_buf, self->node->settings.peers.message_max);
    np_out_tuple(&out, 3);
    np_out_atom(&out, "io_reply");
    np_out_term(&out, &as);
    if (put) {
        np_out_atom(&out, "ok");
    } else {
        np_out_tuple(&out, 2);
        np_out_atom(&out, "error");
        np_out_atom(&out, "enotsup");
    }
    if (np_out_error(&out) == 0)
        np_route_send(self->node, &self->pid, &(np_dest){.pid = &from}, np_out_view(&out), NP_SEND_NORMAL);
    return true;
}

static void dispatch(np_resident *self, const np_gen *gen) {
    switch (gen->kind) {
    case NP_GEN_CALL: call(self, gen); break;
    case NP_GEN_CAST:
        if (self->type->cast != NULL)
            self->type->cast(self, gen->body);
        break;
    default:
        if (!io_request(self, gen->body) && self->type->info != NULL)
            self->type->info(self, gen->body);
        break;
    }
}

static void state(void *target, np_out *out) {
    np_resident *self = target;
    if (self->type->state != NULL) {
        self->type->state(self, out);
    } else {
        np_out_atom(out, "undefined");
    }
}

static void resume(np_resident *self) {
    np_buf kept = NP_BUF_INIT;
    while (self->pid.node != 0 && np_sys_take(&self->sys, &kept)) {
        np_gen gen;
        np_gen_parse((np_in){.base = np_buf_head(&kept), .pos = 0, .end = np_buf_len(&kept)}, &gen);
        dispatch(self, &gen);
    }
    np_buf_fini(&kept);
}

static void system_message(np_resident *self, const np_gen *gen) {
    np_sys_host host = {
        .self = self,
        .pid = self->pid,
        .parent = self->parent,
        .module = self->type->module,
        .name = self->name,
        .state = state,
    };
    np_buf_clear(&self->node->reply_buf, BUF_KEEP);
    np_out out;
    np_out_init(&out, &self->node->reply_buf, self->node->settings.peers.message_max);
    np_in reason;
    np_sys_action action = np_sys_handle(&self->sys, &host, gen, (int64_t)time(NULL), &out, &reason);
    send_reply(self, &gen->from, &out);
    if (action == NP_SYS_TERMINATE) {
        np_pid pid = self->pid;
        np_procs_exit(self->node->procs, &pid, reason);
        np_resident_killed(self, &pid, reason);
    } else if (action == NP_SYS_RESUMED) {
        resume(self);
    }
}

void np_resident_deliver(void *target, np_in message) {
    np_resident *self = target;
    np_gen gen;
    np_gen_parse(message, &gen);
    if (!np_sys_none(self->sys)) {
        np_sys_count_in(self->sys);
        if (gen.kind != NP_GEN_SYSTEM && np_sys_suspended(self->sys)) {
            if (np_sys_keep(self->sys, message) == 0)
                return;
            if (gen.kind == NP_GEN_CALL) {
                np_out out;
                begin_reply(self, &out, &gen.from);
                np_out_tuple(&out, 2);
                np_out_atom(&out, "error");
                np_out_atom(&out, "overloaded");
                send_reply(self, &gen.from, &out);
            } else if (np_log_allowed(&self->node->drop_limit, np_node_now(self->node), WHERE)) {
                NP_LOG(NP_LOG_WARNING, WHERE, "mailbox of a suspended process is full, message dropped", "process=%s",
                       self->type->actor.proc.name);
            }
            return;
        }
    }
    if (gen.kind == NP_GEN_SYSTEM) {
        system_message(self, &gen);
    } else {
        dispatch(self, &gen);
    }
}
