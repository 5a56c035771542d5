/*
 * epmd.c - epmd's requests and answers as bytes (erts/epmd/src/epmd_srv.c, lib/kernel/src/erl_epmd.erl). Stateless;
 * any thread.
 *
 * node/epmd_client feeds the reading functions with all bytes received so far, until they say something other than
 * NP_EAGAIN.
 */
#include "dist/epmd.h"

#include "base/utf8.h"

#include <native_pool/term.h>

#include <string.h>

enum {
    ALIVE2_REQ = 120,
    ALIVE2_X_RESP = 118,
    ALIVE2_RESP = 121,
    PORT_PLEASE2_REQ = 122,
    PORT2_RESP = 119,
    NAMES_REQ = 110,

    TYPE_NORMAL = 77,
    TYPE_HIDDEN = 72,
    DIST_VERSION = 6, /* of the handshake, highest and lowest: OTP 23 and later */

    ALIVE_LEN_MAX = 255, /* epmd refuses longer ones */
    PORT2_FIXED = 12,    /* PORT2_RESP up to and with Nlen */
};

static int append_request(np_buf *out, const uint8_t *head, size_t head_len, const char *alive, size_t tail) {
    static const uint8_t zeros[2] = {0, 0};
    size_t name_len = alive == NULL ? 0 : strlen(alive);
    uint8_t *room;

    if (alive != NULL && (name_len == 0 || name_len > ALIVE_LEN_MAX))
        return NP_EINVAL;
    int rc = np_buf_reserve(out, 2 + head_len + name_len + tail, &room);
    if (rc < 0)
        return rc;
    np_put_u16(room, (uint16_t)(head_len + name_len + tail));
    memcpy(room + 2, head, head_len);
    if (name_len > 0)
        memcpy(room + 2 + head_len, alive, name_len);
    memcpy(room + 2 + head_len + name_len, zeros, tail);
    np_buf_commit(out, 2 + head_len + name_len + tail);
    return 0;
}

int np_epmd_alive2(np_buf *out, const char *alive, uint16_t port, bool hidden) {
    uint8_t head[11];
    head[0] = ALIVE2_REQ;
    np_put_u16(head + 1, port);
    head[3] = hidden ? TYPE_HIDDEN : TYPE_NORMAL;
    head[4] = 0; /* TCP over IPv4; epmd and OTP use no other value */
    np_put_u16(head + 5, DIST_VERSION);
    np_put_u16(head + 7, DIST_VERSION);
    size_t len = strlen(alive);
    np_put_u16(head + 9, (uint16_t)len);
    return append_request(out, head, sizeof head, alive, 2); /* tail: no extra field */
}

int np_epmd_port_please2(np_buf *out, const char *alive) {
    uint8_t head = PORT_PLEASE2_REQ;
    return append_request(out, &head, 1, alive, 0);
}

int np_epmd_names(np_buf *out) {
    uint8_t head = NAMES_REQ;
    return append_request(out, &head, 1, NULL, 0);
}

int np_epmd_read_alive2(const uint8_t *data, size_t len, uint32_t *creation) {
    if (len >= 1 && data[0] != ALIVE2_X_RESP && data[0] != ALIVE2_RESP)
        return NP_EPROTO;
    if (len < 2)
        return NP_EAGAIN;
    if (data[1] != 0)
        return NP_EEXIST;
    if (data[0] == ALIVE2_RESP) {
        if (len < 4)
            return NP_EAGAIN;
        *creation = np_get_u16(data + 2);
        return 4;
    }
    if (len < 6)
        return NP_EAGAIN;
    *creation = np_get_u32(data + 2);
    return 6;
}

int np_epmd_read_port2(const uint8_t *data, size_t len, np_epmd_entry *entry) {
    if (len >= 1 && data[0] != PORT2_RESP)
        return NP_EPROTO;
    if (len < 2)
        return NP_EAGAIN;
    if (data[1] != 0)
        return NP_ENOENT;
    if (len < PORT2_FIXED)
        return NP_EAGAIN;
    size_t name_len = np_get_u16(data + 10);
    if (name_len == 0 || name_len > NP_ATOM_BYTES_MAX)
        return NP_EPROTO;
    if (len < PORT2_FIXED + name_len + 2)
        return NP_EAGAIN;
    size_t extra = np_get_u16(data + PORT2_FIXED + name_len);
    if (len < PORT2_FIXED + name_len + 2 + extra)
        return NP_EAGAIN;
    if (np_get_u16(data + 2) == 0)
        return NP_EPROTO;
    entry->port = np_get_u16(data + 2);
    entry->type = data[4];
    entry->version_high = np_get_u16(data + 6);
    entry->version_low = np_get_u16(data + 8);
    return (int)(PORT2_FIXED + name_len + 2 + extra);
}

static bool alive_char(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static int refuse(const char **why, const char *text) {
    if (why != NULL)
        *why = text;
    return NP_EINVAL;
}

int np_epmd_split_name(const char *name, size_t len, np_str *alive, np_str *host, const char **why) {
    const uint8_t *bytes = (const uint8_t *)name;
    size_t at = 0, chars = 0;

    while (at < len && alive_char(name[at]))
        at++;
    if (at == len)
        return refuse(why, "a node name has the form name@host");
    if (name[at] != '@')
        return refuse(why, "the part of a node name before the @ has letters, digits, _ and - only");
    if (at == 0)
        return refuse(why, "nothing before the @ of the node name");
    if (at == len - 1)
        return refuse(why, "no host behind the @ of the node name");
    if (at > ALIVE_LEN_MAX)
        return refuse(why, "the part of a node name before the @ is longer than 255 characters");
    for (size_t i = at + 1, n; i < len; i += n, chars++) {
        uint32_t point;
        n = np_utf8_next(bytes + i, len - i, &point);
        if (n == 0)
            return refuse(why, "the host of the node name is not UTF-8");
        if (bytes[i] == '@')
            return refuse(why, "more than one @ in the node name");
        if (bytes[i] <= ' ' || bytes[i] == 0x7F)
            return refuse(why, "blank or control character in the host of the node name");
    }
    if (at + 1 + chars > NP_ATOM_CHARS_MAX)
        return refuse(why, "the node name is longer than 255 characters");
    *alive = (np_str){name, at};
    *host = (np_str){name + at + 1, len - at - 1};
    return 0;
}
