/*
 * epmd.h - the requests and answers of epmd (erts/epmd), as bytes. A machine without IO; node/epmd_client drives it.
 */
#ifndef NP_DIST_EPMD_H
#define NP_DIST_EPMD_H

#include "base/buf.h"

/* ALIVE2_REQ for a node whose name's part before the @ is `alive`. Appends, with the 2-byte length. */
int np_epmd_alive2(np_buf *out, const char *alive, uint16_t port, bool hidden);

/* PORT_PLEASE2_REQ. */
int np_epmd_port_please2(np_buf *out, const char *alive);

/* NAMES_REQ. */
int np_epmd_names(np_buf *out);

/*
 * The answer to ALIVE2_REQ in data[0..len). Returns the bytes it took, NP_EAGAIN if more are needed, NP_EEXIST (name
 * taken or refused), NP_EPROTO. *creation is as epmd says (16 or 32 bits).
 */
int np_epmd_read_alive2(const uint8_t *data, size_t len, uint32_t *creation);

typedef struct np_epmd_entry {
    uint16_t port;
    uint8_t type; /* 77 normal, 72 hidden */
    uint16_t version_high;
    uint16_t version_low;
} np_epmd_entry;

/* The answer to PORT_PLEASE2_REQ. Bytes taken, NP_EAGAIN, NP_ENOENT (no such node), NP_EPROTO. */
int np_epmd_read_port2(const uint8_t *data, size_t len, np_epmd_entry *entry);

/*
 * Splits and checks a full node name alive@host. Alive: [A-Za-z0-9_-]+; host: not empty, UTF-8, no '@', no control
 * characters or blanks. NP_EINVAL with *why (may be NULL) a fixed text. The pieces are borrowed.
 */
int np_epmd_split_name(const char *name, size_t len, np_str *alive, np_str *host, const char **why);

#endif
