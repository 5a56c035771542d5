/*
 * control.c - control tuples <-> np_control. No IO, no state; main thread (pids' node names are interned).
 *
 * Decoding trusts the bytes to be valid terms (the session has validated them) but nothing about their shape. The
 * shapes are those of erts_net_message and the dsig_send_* functions of erts/emulator/beam/dist.c. Called by
 * session.c for every message, so the common ones are short.
 */
#include "dist/control.h"

#include "base/assert.h"
#include "dist/flags.h"
#include "term/ids.h"
#include "term/names.h"

#include <stdio.h>
#include <string.h>

enum {
    TAG_SMALL_INTEGER = 97,
    TAG_INTEGER = 98,
    TAG_NEW_PID = 88,
    TAG_NEWER_REFERENCE = 90,
    TAG_ATOM = 100,
    TAG_SMALL_TUPLE = 104,
    TAG_SMALL_BIG = 110,
    TAG_SMALL_ATOM = 115,
    TAG_ATOM_UTF8 = 118,
    TAG_SMALL_ATOM_UTF8 = 119,

    LATIN1_ATOM_BYTES_MAX = 2 * NP_ATOM_CHARS_MAX, /* a Latin-1 character is at most two bytes of UTF-8 */
    ATOMS_MAX = 2,                                 /* in one tuple: a spawn request's module and function */

    /* ALTACT_SIG: what its flags say (OTP 28) */
    ALTACT_PRIO = 1,
    ALTACT_TOKEN = 2,
    ALTACT_ALIAS = 4,
    ALTACT_NAME = 8,
    ALTACT_EXIT = 16,
};

/* ---- decoding ---- */

/* Appends Latin-1 text as UTF-8. The room has been reserved, so that earlier atoms in *names do not move. */
static np_str convert_latin1(const uint8_t *text, size_t len, np_buf *names) {
    size_t start = names->len;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < 0x80) {
            names->data[names->len++] = text[i];
        } else {
            names->data[names->len++] = (uint8_t)(0xC0 | (text[i] >> 6));
            names->data[names->len++] = (uint8_t)(0x80 | (text[i] & 0x3F));
        }
    }
    return (np_str){(const char *)names->data + start, names->len - start};
}

static int read_atom(np_in *in, np_buf *names, np_str *atom) {
    const uint8_t *p = in->base + in->pos;
    size_t left = in->end - in->pos, header, len;
    if (left < 2)
        return NP_ETYPE;
    switch (p[0]) {
    case TAG_SMALL_ATOM_UTF8:
    case TAG_SMALL_ATOM: header = 2, len = p[1]; break;
    case TAG_ATOM_UTF8:
    case TAG_ATOM:
        if (left < 3)
            return NP_ETYPE;
        header = 3, len = np_get_u16(p + 1);
        break;
    default: return NP_ETYPE;
    }
    if (left - header < len)
        return NP_ETYPE;
    const uint8_t *text = p + header;
    *atom = (np_str){(const char *)text, len};
    if (p[0] == TAG_SMALL_ATOM || p[0] == TAG_ATOM) {
        size_t ascii = 0;
        while (ascii < len && text[ascii] < 0x80)
            ascii++;
        if (ascii < len) {
            if (len > NP_ATOM_CHARS_MAX)
                return NP_ETYPE;
            int rc = np_buf_len(names) == 0 ? np_buf_reserve(names, ATOMS_MAX * LATIN1_ATOM_BYTES_MAX, NULL) : 0;
            if (rc < 0)
                return rc;
            *atom = convert_latin1(text, len, names);
        }
    }
    in->pos += header + len;
    return 0;
}

static int skip(np_in *in) { return np_in_term(in, NULL); }

static int read_pid_or_name(np_in *in, np_buf *names, np_pid *pid, np_str *name) {
    int rc = np_in_pid(in, pid);
    if (rc != NP_ETYPE)
        return rc;
    return read_atom(in, names, name);
}

static int read_flags(np_in *in, uint32_t *flags) {
    uint64_t value;
    int rc = np_in_uint64(in, &value);
    if (rc < 0)
        return rc;
    if (value > UINT32_MAX)
        return NP_ERANGE;
    *flags = (uint32_t)value;
    return 0;
}

/*
 * The opcode's row: how many elements the tuple has (the opcode included), what the message is about, whether a
 * payload follows.
 */
typedef struct shape {
    uint8_t arity;
    uint8_t kind;
    bool token;
    bool payload;
} shape;

#define ROW(op, arity, kind, token, payload) [op] = {arity, kind, token, payload}
static const shape shapes[] = {
    ROW(NP_OP_LINK, 3, NP_CTL_LINK, false, false),
    ROW(NP_OP_SEND, 3, NP_CTL_SEND, false, true),
    ROW(NP_OP_EXIT, 4, NP_CTL_EXIT, false, false),
    ROW(NP_OP_UNLINK, 3, NP_CTL_UNLINK, false, false),
    ROW(NP_OP_REG_SEND, 4, NP_CTL_REG_SEND, false, true),
    ROW(NP_OP_GROUP_LEADER, 3, NP_CTL_GROUP_LEADER, false, false),
    ROW(NP_OP_EXIT2, 4, NP_CTL_EXIT2, false, false),
    ROW(NP_OP_SEND_TT, 4, NP_CTL_SEND, true, true),
    ROW(NP_OP_EXIT_TT, 5, NP_CTL_EXIT, true, false),
    ROW(NP_OP_REG_SEND_TT, 5, NP_CTL_REG_SEND, true, true),
    ROW(NP_OP_EXIT2_TT, 5, NP_CTL_EXIT2, true, false),
    ROW(NP_OP_MONITOR_P, 4, NP_CTL_MONITOR, false, false),
    ROW(NP_OP_DEMONITOR_P, 4, NP_CTL_DEMONITOR, false, false),
    ROW(NP_OP_MONITOR_P_EXIT, 5, NP_CTL_DOWN, false, false),
    ROW(NP_OP_SEND_SENDER, 3, NP_CTL_SEND, false, true),
    ROW(NP_OP_SEND_SENDER_TT, 4, NP_CTL_SEND, true, true),
    ROW(NP_OP_PAYLOAD_EXIT, 3, NP_CTL_EXIT, false, true),
    ROW(NP_OP_PAYLOAD_EXIT_TT, 4, NP_CTL_EXIT, true, true),
    ROW(NP_OP_PAYLOAD_EXIT2, 3, NP_CTL_EXIT2, false, true),
    ROW(NP_OP_PAYLOAD_EXIT2_TT, 4, NP_CTL_EXIT2, true, true),
    ROW(NP_OP_PAYLOAD_MONITOR_P_EXIT, 4, NP_CTL_DOWN, false, true),
    ROW(NP_OP_SPAWN_REQUEST, 6, NP_CTL_SPAWN_REQUEST, false, true),
    ROW(NP_OP_SPAWN_REQUEST_TT, 7, NP_CTL_SPAWN_REQUEST, true, true),
    ROW(NP_OP_SPAWN_REPLY, 5, NP_CTL_SPAWN_REPLY, false, false),
    ROW(NP_OP_SPAWN_REPLY_TT, 6, NP_CTL_SPAWN_REPLY, true, false),
    ROW(NP_OP_ALIAS_SEND, 3, NP_CTL_ALIAS_SEND, false, true),
    ROW(NP_OP_ALIAS_SEND_TT, 4, NP_CTL_ALIAS_SEND, true, true),
    ROW(NP_OP_UNLINK_ID, 4, NP_CTL_UNLINK_ID, false, false),
    ROW(NP_OP_UNLINK_ID_ACK, 4, NP_CTL_UNLINK_ID_ACK, false, false),
    /* arity 0: the flags decide, see decode_altact */
    ROW(NP_OP_ALTACT_SIG, 0, NP_CTL_SEND, false, true),
};
#undef ROW

static int decode_pair(np_control *c, np_in *in) {
    int rc = np_in_pid(in, &c->from);
    return rc < 0 ? rc : np_in_pid(in, &c->to);
}

/* EXIT, EXIT2 and MONITOR_P_EXIT without EXIT_PAYLOAD: the reason is the last element. */
static int decode_reason(np_control *c, np_in *in, const shape *shape) {
    int rc = shape->token ? skip(in) : 0;
    return rc < 0 || shape->payload ? rc : np_in_term(in, &c->payload);
}

static int decode_watch(np_control *c, np_in *in, np_buf *names) {
    int rc = np_in_pid(in, &c->from);
    if (rc < 0)
        return rc;
    rc = read_pid_or_name(in, names, &c->to, &c->name);
    return rc < 0 ? rc : np_in_ref(in, &c->ref);
}

static int decode_down(np_control *c, np_in *in, np_buf *names) {
    int rc = read_pid_or_name(in, names, &c->from, &c->name);
    if (rc < 0)
        return rc;
    rc = np_in_pid(in, &c->to);
    return rc < 0 ? rc : np_in_ref(in, &c->ref);
}

static int decode_unlink_id(np_control *c, np_in *in) {
    int rc = np_in_uint64(in, &c->id);
    if (rc < 0)
        return rc;
    return c->id == 0 ? NP_ERANGE : decode_pair(c, in);
}

static int decode_spawn_request(np_control *c, np_in *in, np_buf *names) {
    int rc = np_in_ref(in, &c->ref);
    if (rc < 0)
        return rc;
    rc = np_in_pid(in, &c->from);
    if (rc < 0)
        return rc;
    rc = np_in_pid(in, &c->leader);
    if (rc < 0)
        return rc;
    rc = np_in_tuple_of(in, 3);
    if (rc < 0)
        return rc;
    rc = read_atom(in, names, &c->spawn.module);
    if (rc < 0)
        return rc;
    rc = read_atom(in, names, &c->spawn.function);
    if (rc < 0)
        return rc;
    rc = read_flags(in, &c->spawn.arity);
    if (rc < 0)
        return rc;
    rc = np_in_type(in) == NP_TYPE_LIST ? np_in_term(in, &c->spawn.options) : NP_ETYPE;
    return rc;
}

static int decode_spawn_reply(np_control *c, np_in *in, np_buf *names) {
    int rc = np_in_ref(in, &c->ref);
    if (rc < 0)
        return rc;
    rc = np_in_pid(in, &c->to);
    if (rc < 0)
        return rc;
    rc = read_flags(in, &c->flags);
    return rc < 0 ? rc : read_pid_or_name(in, names, &c->from, &c->name);
}

/* OTP 28's {37,Flags,From,To[,Token]}: a send, a send to a name, to an alias, or exit/2, with priority. */
static int decode_altact(np_control *c, np_in *in, np_buf *names, uint32_t arity) {
    uint32_t flags;
    int rc = read_flags(in, &flags);
    if (rc < 0)
        return rc;
    if (arity != (flags & ALTACT_TOKEN ? 5u : 4u))
        return NP_EPROTO;
    if ((flags & ALTACT_ALIAS) && (flags & ALTACT_NAME))
        return NP_EPROTO;
    rc = np_in_pid(in, &c->from);
    if (rc < 0)
        return rc;
    c->priority = (flags & ALTACT_PRIO) != 0;
    if (flags & ALTACT_ALIAS) {
        c->kind = NP_CTL_ALIAS_SEND;
        rc = np_in_ref(in, &c->ref);
    } else if (flags & ALTACT_NAME) {
        c->kind = NP_CTL_REG_SEND;
        rc = read_atom(in, names, &c->name);
    } else {
        c->kind = NP_CTL_SEND;
        rc = np_in_pid(in, &c->to);
    }
    if (rc < 0)
        return rc;
    if (flags & ALTACT_EXIT)
        c->kind = NP_CTL_EXIT2;
    return flags & ALTACT_TOKEN ? skip(in) : 0;
}

/* The elements behind the opcode. */
static int decode_elements(np_control *c, np_in *in, np_buf *names, uint32_t op, uint32_t arity) {
    const shape *shape = &shapes[op];
    int rc;
    if (op == NP_OP_ALTACT_SIG)
        return decode_altact(c, in, names, arity);
    switch (c->kind) {
    case NP_CTL_SEND:
        rc = op == NP_OP_SEND || op == NP_OP_SEND_TT ? skip(in) : np_in_pid(in, &c->from);
        return rc < 0 ? rc : np_in_pid(in, &c->to);
    case NP_CTL_REG_SEND:
        rc = np_in_pid(in, &c->from);
        if (rc < 0)
            return rc;
        rc = skip(in); /* once the cookie */
        return rc < 0 ? rc : read_atom(in, names, &c->name);
    case NP_CTL_ALIAS_SEND: rc = np_in_pid(in, &c->from); return rc < 0 ? rc : np_in_ref(in, &c->ref);
    case NP_CTL_LINK:
    case NP_CTL_UNLINK:
    case NP_CTL_GROUP_LEADER: return decode_pair(c, in);
    case NP_CTL_UNLINK_ID:
    case NP_CTL_UNLINK_ID_ACK: return decode_unlink_id(c, in);
    case NP_CTL_EXIT:
    case NP_CTL_EXIT2: rc = decode_pair(c, in); return rc < 0 ? rc : decode_reason(c, in, shape);
    case NP_CTL_MONITOR:
    case NP_CTL_DEMONITOR: return decode_watch(c, in, names);
    case NP_CTL_DOWN: rc = decode_down(c, in, names); return rc < 0 ? rc : decode_reason(c, in, shape);
    case NP_CTL_SPAWN_REQUEST: return decode_spawn_request(c, in, names);
    case NP_CTL_SPAWN_REPLY: return decode_spawn_reply(c, in, names);
    }
    return NP_EPROTO;
}

static int refuse(const char **why, const char *text) {
    if (why != NULL)
        *why = text;
    return NP_EPROTO;
}

/* Unlike a memset this leaves the large and rarely used parts alone. */
static void reset(np_control *c, np_ctl_kind kind, np_in payload) {
    c->kind = kind;
    c->from = c->to = c->leader = (np_pid){0, 0, 0, 0};
    c->ref.node = c->ref.len = 0;
    c->name = (np_str){NULL, 0};
    c->id = 0;
    c->flags = 0;
    c->priority = false;
    c->payload = payload;
}

/* {Opcode, ...}: nearly always a small tuple that begins with a small integer. */
static int read_head(np_in *in, uint32_t *arity, uint64_t *op) {
    const uint8_t *p = in->base + in->pos;
    if (in->end - in->pos >= 4 && p[0] == TAG_SMALL_TUPLE && p[2] == TAG_SMALL_INTEGER) {
        *arity = p[1];
        *op = p[3];
        in->pos += 4;
        return 0;
    }
    int rc = np_in_tuple(in, arity);
    if (rc < 0)
        return rc;
    return *arity == 0 ? NP_ETYPE : np_in_uint64(in, op);
}

int np_control_decode(np_control *control, np_in tuple, np_in payload, np_buf *names, const char **why) {
    uint32_t arity;
    uint64_t op;
    if (np_buf_len(names) > 0)
        np_buf_clear(names, SIZE_MAX);
    if (read_head(&tuple, &arity, &op) < 0)
        return refuse(why, "control message is no tuple that begins with an opcode");
    if (op >= NP_ARRAY_LEN(shapes) || (shapes[op].arity == 0 && op != NP_OP_ALTACT_SIG))
        return refuse(why, "control tuple has an unknown opcode");
    const shape *shape = &shapes[op];
    if (op != NP_OP_ALTACT_SIG && arity != shape->arity)
        return refuse(why, "control tuple has the wrong number of elements");
    if (np_in_at_end(&payload) && shape->payload)
        return refuse(why, "control message lacks its payload");
    if (!np_in_at_end(&payload) && !shape->payload)
        return refuse(why, "control message has a payload that does not belong to it");

    reset(control, shape->kind, payload);
    int rc = decode_elements(control, &tuple, names, (uint32_t)op, arity);
    if (rc == NP_ENOMEM || rc == NP_ELIMIT) {
        if (why != NULL)
            *why = rc == NP_ENOMEM ? "out of memory" : "too many different node names";
        return rc;
    }
    if (rc < 0)
        return refuse(why, "control tuple has an element of the wrong type or range");
    return 0; /* at most a trace token is left, which means nothing here */
}

/* ---- encoding ---- */

enum {
    PID_MAX = 1 + 3 + NP_ATOM_BYTES_MAX + 12,
    REF_MAX = 1 + 2 + 3 + NP_ATOM_BYTES_MAX + 4 + 4 * NP_REF_WORDS_MAX,
    ATOM_MAX = 3 + NP_ATOM_BYTES_MAX,
    INT_MAX_BYTES = 11,
    /* The largest is the spawn request: {29,Ref,Pid,Pid,{Atom,Atom,Int},Options}; options and reasons come on top. */
    TUPLE_MAX = 4 + REF_MAX + 3 * PID_MAX + 2 * ATOM_MAX + 2 * INT_MAX_BYTES,
};

static uint8_t *put_bytes(uint8_t *p, const void *data, size_t len) {
    if (len > 0)
        memcpy(p, data, len); /* an empty string may have no address */
    return p + len;
}

static uint8_t *put_head(uint8_t *p, uint8_t arity, np_op op) {
    p[0] = TAG_SMALL_TUPLE;
    p[1] = arity;
    p[2] = TAG_SMALL_INTEGER;
    p[3] = (uint8_t)op;
    return p + 4;
}

static uint8_t *put_atom(uint8_t *p, np_str atom) {
    if (atom.len < 256) {
        p[0] = TAG_SMALL_ATOM_UTF8;
        p[1] = (uint8_t)atom.len;
        return put_bytes(p + 2, atom.data, atom.len);
    }
    p[0] = TAG_ATOM_UTF8;
    np_put_u16(p + 1, (uint16_t)atom.len);
    return put_bytes(p + 3, atom.data, atom.len);
}

static uint8_t *put_node(uint8_t *p, np_node_id node) {
    np_bytes atom = np_name_atom(node);
    return put_bytes(p, atom.data, atom.len);
}

static uint8_t *put_pid(uint8_t *p, const np_pid *pid) {
    *p = TAG_NEW_PID;
    p = put_node(p + 1, pid->node);
    np_put_u32(p, pid->num);
    np_put_u32(p + 4, pid->serial);
    np_put_u32(p + 8, pid->creation);
    return p + 12;
}

static uint8_t *put_ref(uint8_t *p, const np_ref *ref) {
    *p = TAG_NEWER_REFERENCE;
    np_put_u16(p + 1, (uint16_t)ref->len);
    p = put_node(p + 3, ref->node);
    np_put_u32(p, ref->creation);
    p += 4;
    for (uint32_t i = 0; i < ref->len; i++, p += 4)
        np_put_u32(p, ref->id[i]);
    return p;
}

static uint8_t *put_uint(uint8_t *p, uint64_t value) {
    if (value < 256) {
        p[0] = TAG_SMALL_INTEGER;
        p[1] = (uint8_t)value;
        return p + 2;
    }
    if (value <= INT32_MAX) {
        p[0] = TAG_INTEGER;
        np_put_u32(p + 1, (uint32_t)value);
        return p + 5;
    }
    uint8_t n = 0;
    p[0] = TAG_SMALL_BIG;
    p[2] = 0; /* sign */
    for (; value > 0; value >>= 8)
        p[3 + n++] = (uint8_t)value;
    p[1] = n;
    return p + 3 + n;
}

static uint8_t *put_pid_or_name(uint8_t *p, const np_pid *pid, np_str name) {
    return name.len > 0 || np_pid_none(pid) ? put_atom(p, name) : put_pid(p, pid);
}

static const np_str no_atom = {"", 0}; /* where the cookie once stood */

static bool atom_ok(np_str atom) {
    if (atom.len <= NP_ATOM_CHARS_MAX)
        return true;
    size_t chars = 0;
    for (size_t i = 0; i < atom.len; i++)
        chars += ((uint8_t)atom.data[i] & 0xC0) != 0x80;
    return chars <= NP_ATOM_CHARS_MAX && atom.len <= NP_ATOM_BYTES_MAX;
}

static bool ref_ok(const np_ref *ref) { return ref->len >= 1 && ref->len <= NP_REF_WORDS_MAX && !np_ref_none(ref); }

/* A pid or a registered name; the name '' counts as given if it has an address. */
static bool endpoint_ok(const np_pid *pid, np_str name) {
    return name.len > 0 ? atom_ok(name) : !np_pid_none(pid) || name.data != NULL;
}

/* Does the struct hold what its kind needs? A signal without it would make the peer close the connection. */
static bool complete(const np_control *c) {
    bool from = !np_pid_none(&c->from), to = !np_pid_none(&c->to);
    switch (c->kind) {
    case NP_CTL_SEND: return to;
    case NP_CTL_REG_SEND: return from && c->name.data != NULL && atom_ok(c->name);
    case NP_CTL_ALIAS_SEND: return from && ref_ok(&c->ref);
    case NP_CTL_LINK:
    case NP_CTL_UNLINK:
    case NP_CTL_EXIT:
    case NP_CTL_EXIT2:
    case NP_CTL_GROUP_LEADER: return from && to;
    case NP_CTL_UNLINK_ID:
    case NP_CTL_UNLINK_ID_ACK: return from && to && c->id != 0;
    case NP_CTL_MONITOR:
    case NP_CTL_DEMONITOR: return from && endpoint_ok(&c->to, c->name) && ref_ok(&c->ref);
    case NP_CTL_DOWN: return to && endpoint_ok(&c->from, c->name) && ref_ok(&c->ref);
    case NP_CTL_SPAWN_REQUEST:
        return from && !np_pid_none(&c->leader) && ref_ok(&c->ref) && atom_ok(c->spawn.module) &&
               atom_ok(c->spawn.function);
    case NP_CTL_SPAWN_REPLY: return to && endpoint_ok(&c->from, c->name) && ref_ok(&c->ref);
    }
    return false;
}

/* Is there a form of it that the peer understands? */
static bool supported(const np_control *c, uint64_t flags) {
    uint64_t both = NP_DFLAG_DIST_MONITOR | NP_DFLAG_DIST_MONITOR_NAME;
    switch (c->kind) {
    case NP_CTL_MONITOR:
    case NP_CTL_DEMONITOR: return (flags & both) == both;
    case NP_CTL_SPAWN_REQUEST:
    case NP_CTL_SPAWN_REPLY: return (flags & NP_DFLAG_SPAWN) != 0;
    case NP_CTL_UNLINK_ID_ACK: return (flags & NP_DFLAG_UNLINK_ID) != 0;
    /* An alias send answers an alias of the peer's, which therefore knows them whatever was negotiated. */
    default: return true;
    }
}

/* EXIT, EXIT2 and DOWN: `payload_op` and the reason behind the tuple, or the old op and the reason in it. */
static uint8_t *put_exit(uint8_t *p, const np_control *c, uint64_t flags, np_op payload_op, np_op old_op,
                         uint8_t arity) {
    bool old = (flags & NP_DFLAG_EXIT_PAYLOAD) == 0;
    p = put_head(p, (uint8_t)(arity + old), old ? old_op : payload_op);
    if (c->kind == NP_CTL_DOWN) {
        p = put_pid_or_name(p, &c->from, c->name);
        p = put_ref(put_pid(p, &c->to), &c->ref);
    } else {
        p = put_pid(put_pid(p, &c->from), &c->to);
    }
    return old ? put_bytes(p, c->payload.base + c->payload.pos, c->payload.end - c->payload.pos) : p;
}

static uint8_t *put_pair(uint8_t *p, const np_control *c, np_op op) {
    return put_pid(put_pid(put_head(p, 3, op), &c->from), &c->to);
}

static uint8_t *put_watch(uint8_t *p, const np_control *c, np_op op) {
    p = put_pid(put_head(p, 4, op), &c->from);
    return put_ref(put_pid_or_name(p, &c->to, c->name), &c->ref);
}

static uint8_t *put_spawn_request(uint8_t *p, const np_control *c) {
    p = put_ref(put_head(p, 6, NP_OP_SPAWN_REQUEST), &c->ref);
    p = put_pid(put_pid(p, &c->from), &c->leader);
    p[0] = TAG_SMALL_TUPLE;
    p[1] = 3;
    p = put_atom(put_atom(p + 2, c->spawn.module), c->spawn.function);
    p = put_uint(p, c->spawn.arity);
    np_bytes options = np_in_bytes(&c->spawn.options);
    return put_bytes(p, options.data, options.len);
}

static uint8_t *put_tuple(uint8_t *p, const np_control *c, uint64_t flags) {
    switch (c->kind) {
    case NP_CTL_SEND:
        if ((flags & NP_DFLAG_SEND_SENDER) && !np_pid_none(&c->from))
            return put_pair(p, c, NP_OP_SEND_SENDER);
        return put_pid(put_atom(put_head(p, 3, NP_OP_SEND), no_atom), &c->to);
    case NP_CTL_REG_SEND:
        p = put_pid(put_head(p, 4, NP_OP_REG_SEND), &c->from);
        return put_atom(put_atom(p, no_atom), c->name);
    case NP_CTL_ALIAS_SEND: return put_ref(put_pid(put_head(p, 3, NP_OP_ALIAS_SEND), &c->from), &c->ref);
    case NP_CTL_LINK: return put_pair(p, c, NP_OP_LINK);
    case NP_CTL_UNLINK: return put_pair(p, c, NP_OP_UNLINK);
    case NP_CTL_GROUP_LEADER: return put_pair(p, c, NP_OP_GROUP_LEADER);
    case NP_CTL_UNLINK_ID:
        if (!(flags & NP_DFLAG_UNLINK_ID))
            return put_pair(p, c, NP_OP_UNLINK);
        return put_pid(put_pid(put_uint(put_head(p, 4, NP_OP_UNLINK_ID), c->id), &c->from), &c->to);
    case NP_CTL_UNLINK_ID_ACK:
        return put_pid(put_pid(put_uint(put_head(p, 4, NP_OP_UNLINK_ID_ACK), c->id), &c->from), &c->to);
    case NP_CTL_EXIT: return put_exit(p, c, flags, NP_OP_PAYLOAD_EXIT, NP_OP_EXIT, 3);
    case NP_CTL_EXIT2: return put_exit(p, c, flags, NP_OP_PAYLOAD_EXIT2, NP_OP_EXIT2, 3);
    case NP_CTL_DOWN: return put_exit(p, c, flags, NP_OP_PAYLOAD_MONITOR_P_EXIT, NP_OP_MONITOR_P_EXIT, 4);
    case NP_CTL_MONITOR: return put_watch(p, c, NP_OP_MONITOR_P);
    case NP_CTL_DEMONITOR: return put_watch(p, c, NP_OP_DEMONITOR_P);
    case NP_CTL_SPAWN_REQUEST: return put_spawn_request(p, c);
    case NP_CTL_SPAWN_REPLY:
        p = put_pid(put_ref(put_head(p, 5, NP_OP_SPAWN_REPLY), &c->ref), &c->to);
        return put_pid_or_name(put_uint(p, c->flags), &c->from, c->name);
    }
    NP_ASSERT(!"unknown control kind");
    return p;
}

static bool takes_payload(np_ctl_kind kind) {
    switch (kind) {
    case NP_CTL_SEND:
    case NP_CTL_REG_SEND:
    case NP_CTL_ALIAS_SEND:
    case NP_CTL_EXIT:
    case NP_CTL_EXIT2:
    case NP_CTL_DOWN:
    case NP_CTL_SPAWN_REQUEST: return true;
    default: return false;
    }
}

int np_control_encode(const np_control *control, uint64_t flags, np_buf *out, bool *has_payload) {
    bool reason = control->kind == NP_CTL_EXIT || control->kind == NP_CTL_EXIT2 || control->kind == NP_CTL_DOWN;
    bool payload = takes_payload(control->kind);
    size_t room = TUPLE_MAX;
    uint8_t *p;

    if (!complete(control) || (payload && np_in_at_end(&control->payload)))
        return NP_EINVAL;
    if (!supported(control, flags))
        return NP_ENOTSUP;
    if (control->kind == NP_CTL_SPAWN_REQUEST) {
        if (np_in_at_end(&control->spawn.options))
            return NP_EINVAL;
        room += control->spawn.options.end - control->spawn.options.pos;
    }
    if (reason && !(flags & NP_DFLAG_EXIT_PAYLOAD)) {
        room += control->payload.end - control->payload.pos;
        payload = false;
    }
    int rc = np_buf_reserve(out, room, &p);
    if (rc < 0)
        return rc;
    np_buf_commit(out, (size_t)(put_tuple(p, control, flags) - p));
    *has_payload = payload;
    return 0;
}

/* ---- text ---- */

const char *np_control_text(const np_control *control, char *buf, size_t size) {
    static const char *const kinds[] = {
        [NP_CTL_SEND] = "SEND",
        [NP_CTL_REG_SEND] = "REG_SEND",
        [NP_CTL_ALIAS_SEND] = "ALIAS_SEND",
        [NP_CTL_LINK] = "LINK",
        [NP_CTL_UNLINK] = "UNLINK",
        [NP_CTL_UNLINK_ID] = "UNLINK_ID",
        [NP_CTL_UNLINK_ID_ACK] = "UNLINK_ID_ACK",
        [NP_CTL_EXIT] = "EXIT",
        [NP_CTL_EXIT2] = "EXIT2",
        [NP_CTL_MONITOR] = "MONITOR_P",
        [NP_CTL_DEMONITOR] = "DEMONITOR_P",
        [NP_CTL_DOWN] = "MONITOR_P_EXIT",
        [NP_CTL_GROUP_LEADER] = "GROUP_LEADER",
        [NP_CTL_SPAWN_REQUEST] = "SPAWN_REQUEST",
        [NP_CTL_SPAWN_REPLY] = "SPAWN_REPLY",
    };
    char from[NP_ID_TEXT_MAX] = "-", to[NP_ID_TEXT_MAX] = "-";
    const np_control *c = control;

    if (!np_pid_none(&c->from))
        np_pid_text(&c->from, from);
    if (c->kind == NP_CTL_SPAWN_REQUEST)
        snprintf(to, sizeof to, "%.*s:%.*s/%u", (int)c->spawn.module.len, c->spawn.module.data,
                 (int)c->spawn.function.len, c->spawn.function.data, c->spawn.arity);
    else if (c->kind == NP_CTL_ALIAS_SEND)
        np_ref_text(&c->ref, to);
    else if (!np_pid_none(&c->to))
        np_pid_text(&c->to, to);
    else if (c->name.len > 0)
        snprintf(to, sizeof to, "%.*s", (int)c->name.len, c->name.data);

    bool named_from = c->kind == NP_CTL_DOWN || c->kind == NP_CTL_SPAWN_REPLY;
    if (named_from && c->name.len > 0)
        snprintf(from, sizeof from, "%.*s", (int)c->name.len, c->name.data);
    snprintf(buf, size, "%s %s -> %s", kinds[c->kind], from, to);
    return buf;
}
