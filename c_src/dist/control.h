/*
 * control.h - the control messages of the distribution protocol: one struct for all of them, decoded and encoded here
 * and nowhere else.
 *
 * Source of the shapes: erts/emulator/beam/dist.c and "Distribution Protocol" in the ERTS user's guide. A machine
 * without IO.
 */
#ifndef NP_DIST_CONTROL_H
#define NP_DIST_CONTROL_H

#include "base/buf.h"

#include <native_pool/term.h>

typedef enum np_op {
    NP_OP_LINK = 1,
    NP_OP_SEND = 2,
    NP_OP_EXIT = 3,
    NP_OP_UNLINK = 4,
    NP_OP_REG_SEND = 6,
    NP_OP_GROUP_LEADER = 7,
    NP_OP_EXIT2 = 8,
    NP_OP_SEND_TT = 12,
    NP_OP_EXIT_TT = 13,
    NP_OP_REG_SEND_TT = 16,
    NP_OP_EXIT2_TT = 18,
    NP_OP_MONITOR_P = 19,
    NP_OP_DEMONITOR_P = 20,
    NP_OP_MONITOR_P_EXIT = 21,
    NP_OP_SEND_SENDER = 22,
    NP_OP_SEND_SENDER_TT = 23,
    NP_OP_PAYLOAD_EXIT = 24,
    NP_OP_PAYLOAD_EXIT_TT = 25,
    NP_OP_PAYLOAD_EXIT2 = 26,
    NP_OP_PAYLOAD_EXIT2_TT = 27,
    NP_OP_PAYLOAD_MONITOR_P_EXIT = 28,
    NP_OP_SPAWN_REQUEST = 29,
    NP_OP_SPAWN_REQUEST_TT = 30,
    NP_OP_SPAWN_REPLY = 31,
    NP_OP_SPAWN_REPLY_TT = 32,
    NP_OP_ALIAS_SEND = 33,
    NP_OP_ALIAS_SEND_TT = 34,
    NP_OP_UNLINK_ID = 35,
    NP_OP_UNLINK_ID_ACK = 36,
    NP_OP_ALTACT_SIG = 37,
} np_op;

/*
 * What a message is about, whatever opcode carried it: the old, the payload and the trace-token variants are one
 * kind.
 */
typedef enum np_ctl_kind {
    NP_CTL_SEND,          /* from (may be none: op 2), to; payload */
    NP_CTL_REG_SEND,      /* from, name; payload */
    NP_CTL_ALIAS_SEND,    /* from, ref; payload */
    NP_CTL_LINK,          /* from, to */
    NP_CTL_UNLINK,        /* from, to: peers before OTP 26 without the unlink-id protocol */
    NP_CTL_UNLINK_ID,     /* id, from, to */
    NP_CTL_UNLINK_ID_ACK, /* id, from, to */
    NP_CTL_EXIT,          /* from, to; payload: reason. The link broke */
    NP_CTL_EXIT2,         /* from, to; payload: reason. exit/2 */
    NP_CTL_MONITOR,       /* from, to or name, ref */
    NP_CTL_DEMONITOR,     /* from, to or name, ref */
    NP_CTL_DOWN,          /* from or name (the watched), to (the watcher), ref; payload: reason */
    NP_CTL_GROUP_LEADER,  /* from (the leader), to */
    NP_CTL_SPAWN_REQUEST, /* ref (request id), from, leader, spawn.*; payload: argument list */
    NP_CTL_SPAWN_REPLY,   /* ref (request id), to, flags, from (the new process) or name (the error); */
} np_ctl_kind;

enum { NP_SPAWN_LINK = 1, NP_SPAWN_MONITOR = 2 }; /* flags of SPAWN_REPLY */

typedef struct np_control {
    np_ctl_kind kind;
    np_pid from;
    np_pid to;
    np_ref ref;
    np_str name; /* registered name; len 0: none, the pid counts (but with an address and no pid it is the atom '') */
    uint64_t id; /* unlink id */
    uint32_t flags;
    np_pid leader; /* SPAWN_REQUEST: group leader */
    struct {
        np_str module;
        np_str function;
        uint32_t arity;
        np_in options; /* a list, unread */
    } spawn;
    bool owed;     /* outgoing ALIAS_SEND: the alias is a monitor, too, whose DEMONITOR_P will follow; see session.h */
    bool priority; /* ALTACT_SIG's priority bit; informational. Its EXIT2 may have ref (alias) or name in place of to */
    np_in payload; /* the message, the reason or the arguments; empty cursor when the kind has none */
} np_control;

/*
 * Decodes a control tuple (validated) and its payload (validated; empty cursor if there was none). Strings and
 * cursors of *control borrow from both; legacy atoms are converted into *names (cleared by this call, owned by the
 * caller, which keeps it as long as *control). NP_EPROTO: no control tuple of the protocol, a payload missing or too
 * many. *why (may be NULL) then says what, as a fixed text.
 */
int np_control_decode(np_control *control, np_in tuple, np_in payload, np_buf *names, const char **why);

/*
 * Appends the encoded control tuple (no 131) to out, in the form the negotiated flags (dist/flags.h) ask for: without
 * EXIT_PAYLOAD an exit is op 3 with its reason in the tuple, without SEND_SENDER a send is op 2, without UNLINK_ID an
 * unlink is op 4. *has_payload tells whether the payload goes behind it as a second term (false: the kind has none,
 * or the tuple holds the reason already). NP_ENOTSUP: the negotiated flags have no form for it (e.g. a spawn request
 * to a peer without SPAWN). NP_EINVAL: a field that the kind needs is not there. NP_ENOMEM.
 */
int np_control_encode(const np_control *control, uint64_t flags, np_buf *out, bool *has_payload);

/* "MONITOR_P <from> -> name" for logs; returns buf. */
const char *np_control_text(const np_control *control, char *buf, size_t size);

#endif
