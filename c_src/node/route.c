/*
 * route.c - who gets which message: control messages of peers to processes, signals of processes to peers, messages
 * between local processes.
 *
 * Main thread. The path of a call: np_route_control (from node/peer.c) -> np_route_deliver -> np_actor_class.deliver (a
 * worker's is np_runtime_deliver) -> np_route_reply
 * -> np_peers_send. Messages between local processes wait in node->letters until the turn's end, so that no callback is
 * ever entered from inside another.
 */
#include "node/internal.h"

#include "base/assert.h"
#include "base/limits.h"
#include "term/ids.h"
#include "term/names.h"

#include <stdlib.h>
#include <string.h>

#define WHERE "node/route"

enum { BUF_KEEP = 64 << 10 };

/* ---- local delivery ---- */

void np_route_deliver(np_node *node, const np_pid *to, np_in message) {
    void *target;
    const np_proc_class *proc_class = np_procs_find(node->procs, to, &target);
    if (proc_class == NULL || target == NULL)
        return; /* dead: gone without a word, as in Erlang */
    node->messages_in++;
    if (node->calls.count > 0 && np_client_message(node, to, message))
        return;
    NP_CONTAINER_OF(proc_class, const np_actor_class, proc)->deliver(target, message);
}

static bool has_room(const np_node *node, size_t len) {
    return node->letters_count < NP_LETTERS_MAX && node->letters_bytes + len <= NP_LETTERS_BYTES_MAX;
}

static np_letter *letter_new(const np_pid *to, np_in message) {
    np_bytes bytes = np_in_bytes(&message);
    np_letter *letter = malloc(sizeof *letter + bytes.len);
    if (letter == NULL)
        return NULL;
    letter->next = NULL;
    letter->to = *to;
    letter->len = bytes.len;
    memcpy(letter->data, bytes.data, bytes.len);
    return letter;
}

static void deliver_letter(np_node *node, np_letter *letter) {
    np_route_deliver(node, &letter->to, (np_in){.base = letter->data, .pos = 0, .end = letter->len});
    free(letter);
}

int np_route_post(np_node *node, const np_pid *to, np_in message, bool urgent) {
    if (!urgent && !has_room(node, np_in_bytes(&message).len))
        return NP_EOVERLOAD;
    np_letter *letter = letter_new(to, message);
    if (letter == NULL)
        return NP_ENOMEM;
    *node->letters_end = letter;
    node->letters_end = &letter->next;
    node->letters_count++;
    node->letters_bytes += letter->len;
    return 0;
}

/*
 * Messages of other nodes do not wait among the letters, so neither may a signal of theirs that becomes a message: it
 * would be overtaken by what its sender has sent after it. What else comes of the signal is between local processes.
 */
void np_route_made(np_node *node, const np_pid *to, np_in message) {
    if (node->signalled == NULL || node->made != NULL || !np_pid_eq(node->signalled, to)) {
        np_route_post(node, to, message, true);
        return;
    }
    node->made = letter_new(to, message);
}

static int signal_in(np_node *node, const np_signal *signal) {
    np_procs_run(node->procs); /* what is left from before is not of this signal */
    node->signalled = &signal->to;
    int error = np_procs_signal(node->procs, signal);
    node->signalled = NULL;
    np_letter *made = node->made;
    node->made = NULL;
    if (made != NULL) {
        np_node_id speaker = node->speaker;
        node->speaker = node->id; /* the message is ours, of whatever node the signal was */
        deliver_letter(node, made);
        node->speaker = speaker;
    }
    return error;
}

bool np_route_run(np_node *node, uint32_t most) {
    while (node->letters != NULL && most-- > 0) {
        np_letter *letter = node->letters;
        node->letters = letter->next;
        if (node->letters == NULL)
            node->letters_end = &node->letters;
        node->letters_count--;
        node->letters_bytes -= letter->len;
        deliver_letter(node, letter);
    }
    return node->letters != NULL;
}

/* ---- out ---- */

static int send_control(np_node *node, np_node_id to, const np_control *control, np_send_class send_class) {
    node->messages_out++;
    int error = np_peers_send(node->peers, to, control, send_class);
    if (error == NP_EOVERLOAD)
        node->refused_out++;
    return error;
}

static int send_local(np_node *node, const np_dest *dest, np_in payload, bool urgent) {
    np_pid pid;
    if (!urgent && !has_room(node, np_in_bytes(&payload).len))
        return NP_EOVERLOAD; /* before the alias is used up: a smaller answer may follow */
    if (dest->pid != NULL) {
        pid = *dest->pid;
    } else if (dest->alias != NULL) {
        if (np_procs_alias_take(node->procs, dest->alias, &pid) < 0)
            return 0;
    } else if (np_procs_whereis(node->procs, dest->name, strlen(dest->name), &pid) < 0) {
        return 0; /* {Name, Node} ! Message to no one is no error */
    }
    return np_route_post(node, &pid, payload, urgent);
}

int np_route_send(np_node *node, const np_pid *self, const np_dest *dest, np_in payload, np_send_class send_class) {
    np_node_id to = dest->pid != NULL ? dest->pid->node : dest->alias != NULL ? dest->alias->node : dest->node;
    if (to == 0 || to == node->id)
        return send_local(node, dest, payload, send_class == NP_SEND_URGENT);
    np_control control;
    control.from = *self;
    control.payload = payload;
    control.owed = false;
    control.name = (np_str){NULL, 0};
    if (dest->pid != NULL) {
        control.kind = NP_CTL_SEND;
        control.to = *dest->pid;
    } else if (dest->alias != NULL) {
        control.kind = NP_CTL_ALIAS_SEND;
        control.ref = *dest->alias;
        control.owed = dest->pid_of_alias != NULL && np_procs_monitored(node->procs, dest->pid_of_alias, dest->alias);
    } else {
        control.kind = NP_CTL_REG_SEND;
        control.name = (np_str){dest->name, strlen(dest->name)};
    }
    return send_control(node, to, &control, send_class);
}

int np_route_reply(np_node *node, const np_pid *self, const np_from *from, np_in payload) {
    np_dest dest = {0};
    if (from->has_alias) {
        dest.alias = &from->alias;
        dest.pid_of_alias = &from->pid;
    } else {
        dest.pid = &from->pid;
    }
    int error = np_route_send(node, self, &dest, payload, NP_SEND_NORMAL);
    if (error != NP_EOVERLOAD && error != NP_ELIMIT)
        return error;
    np_buf small = NP_BUF_INIT;
    np_out out;
    np_out_init(&out, &small, node->settings.peers.message_max);
    np_gen_reply_begin(&out, from);
    np_out_tuple(&out, 2);
    np_out_atom(&out, "error");
    np_out_atom(&out, "overloaded");
    int told = np_out_error(&out);
    if (told == 0)
        told = np_route_send(node, self, &dest, np_out_view(&out), NP_SEND_URGENT);
    np_buf_fini(&small);
    if (np_log_allowed(&node->drop_limit, np_node_now(node), WHERE)) {
        NP_LOG(NP_LOG_WARNING, WHERE, "reply refused, too much is queued for its node",
               "peer=%s bytes=%zu told_caller=%s", np_name_text(from->has_alias ? from->alias.node : from->pid.node),
               np_in_bytes(&payload).len, told == 0 ? "yes" : "no");
    }
    return error;
}

static const np_ctl_kind CONTROL_OF_SIGNAL[] = {
    [NP_SIGNAL_MONITOR] = NP_CTL_MONITOR,
    [NP_SIGNAL_DEMONITOR] = NP_CTL_DEMONITOR,
    [NP_SIGNAL_DOWN] = NP_CTL_DOWN,
    [NP_SIGNAL_LINK] = NP_CTL_LINK,
    [NP_SIGNAL_UNLINK] = NP_CTL_UNLINK,
    [NP_SIGNAL_UNLINK_ID] = NP_CTL_UNLINK_ID,
    [NP_SIGNAL_UNLINK_ID_ACK] = NP_CTL_UNLINK_ID_ACK,
    [NP_SIGNAL_EXIT] = NP_CTL_EXIT,
    [NP_SIGNAL_EXIT2] = NP_CTL_EXIT2,
};

/* A pid of an earlier life of that node: OTP closes the connection on link signals to such. */
static bool outlived(np_node *node, np_node_id peer, const np_pid *pid) {
    uint32_t creation = np_peers_creation(node->peers, peer);
    return pid->node == peer && creation != 0 && pid->creation != creation;
}

int np_route_signal(void *arg, const np_signal *signal) {
    np_node *node = arg;
    bool watch = signal->kind == NP_SIGNAL_MONITOR || signal->kind == NP_SIGNAL_DEMONITOR;
    bool to_name = watch && signal->name.len > 0; /* then `to` is no pid but a node */
    if (!to_name && outlived(node, signal->node, &signal->to))
        return NP_ENOPROC;
    np_control control;
    control.owed = false;
    control.kind = CONTROL_OF_SIGNAL[signal->kind];
    control.from = signal->from;
    control.to = signal->to;
    control.ref = signal->ref;
    control.name = signal->name;
    control.id = signal->id;
    control.payload = signal->reason;
    if (signal->kind == NP_SIGNAL_UNLINK_ID && !(np_peers_flags(node->peers, signal->node) & NP_DFLAG_UNLINK_ID)) {
        /* a peer from before OTP 23: it takes the old signal and acknowledges nothing, so we do that for it */
        int error = np_buf_append(&node->unlinks, signal, sizeof *signal);
        if (error < 0)
            return error;
        control.kind = NP_CTL_UNLINK;
    }
    return send_control(node, signal->node, &control, NP_SEND_URGENT);
}

/* ---- in ---- */

static int signal_of_control(np_ctl_kind kind) {
    for (size_t i = 0; i < NP_ARRAY_LEN(CONTROL_OF_SIGNAL); i++) {
        if (CONTROL_OF_SIGNAL[i] == kind)
            return (int)i;
    }
    return -1;
}

void np_route_unlinked(np_node *node) {
    while (np_buf_len(&node->unlinks) > 0) {
        np_signal sent;
        memcpy(&sent, np_buf_head(&node->unlinks), sizeof sent);
        np_buf_consume(&node->unlinks, sizeof sent);
        np_signal ack = {
            .kind = NP_SIGNAL_UNLINK_ID_ACK, .from = sent.to, .to = sent.from, .node = sent.node, .id = sent.id};
        np_procs_signal(node->procs, &ack);
    }
}

static int to_procs(np_node *node, np_node_id peer, const np_control *control) {
    if (control->kind == NP_CTL_DOWN && node->calls.count > 0 && np_client_control(node, control))
        return 0;
    if (control->from.node != 0 && control->from.node != peer) {
        /* a signal in the name of a third node's process: no peer of good will sends it, and our answer would go astray
         */
        if (np_log_allowed(&node->drop_limit, np_node_now(node), WHERE)) {
            char text[256];
            NP_LOG(NP_LOG_WARNING, WHERE, "signal in the name of another node dropped", "peer=%s signal=\"%s\"",
                   np_name_text(peer), np_control_text(control, text, sizeof text));
        }
        return 0;
    }
    if (outlived(node, peer, &control->from))
        return 0; /* what it would be told could not reach it */
    np_signal signal;
    int kind = signal_of_control(control->kind);
    NP_ASSERT(kind >= 0);
    signal.kind = (np_signal_kind)kind;
    signal.from = control->from;
    signal.to = control->to;
    signal.name = control->name;
    signal.node = peer;
    signal.ref = control->ref;
    signal.id = control->id;
    signal.reason = control->payload;
    return signal_in(node, &signal);
}

static int control_in(np_node *node, np_node_id peer, const np_control *control) {
    np_pid pid;
    switch (control->kind) {
    case NP_CTL_SEND: np_route_deliver(node, &control->to, control->payload); return 0;
    case NP_CTL_REG_SEND:
        if (np_procs_whereis(node->procs, control->name.data, control->name.len, &pid) == 0)
            np_route_deliver(node, &pid, control->payload);
        return 0;
    case NP_CTL_ALIAS_SEND:
        if (np_procs_alias_take(node->procs, &control->ref, &pid) == 0)
            np_route_deliver(node, &pid, control->payload);
        return 0;
    case NP_CTL_GROUP_LEADER: np_procs_set_leader(node->procs, &control->to, &control->from); return 0;
    case NP_CTL_SPAWN_REQUEST: np_rpc_spawn_request(node, peer, control); return 0;
    case NP_CTL_SPAWN_REPLY: np_client_control(node, control); return 0;
    default: return to_procs(node, peer, control);
    }
}

int np_route_control(void *arg, np_node_id peer, const np_control *control) {
    np_node *node = arg;
    node->speaker = peer;
    int error = control_in(node, peer, control);
    node->speaker = node->id;
    return error;
}

void np_route_up(void *arg, np_node_id peer, bool hidden) {
    np_node *node = arg;
    (void)hidden;
    np_scopes_clock(node);
    np_syn_peer_up(node->syn, peer);
    np_discover_up(node, peer);
}

void np_route_down(void *arg, np_node_id peer, const char *reason) {
    np_node *node = arg;
    (void)reason; /* logged where it happened */
    np_procs_node_down(node->procs, peer);
    np_client_node_down(node, peer);
    np_scopes_clock(node);
    np_syn_peer_down(node->syn, peer);
}
