/*
 * epmd_client.h - our side of epmd, the port mapper: staying registered with the one on this host, and asking those
 * of other hosts for a node's port.
 */
#ifndef NP_NODE_EPMD_CLIENT_H
#define NP_NODE_EPMD_CLIENT_H

#include "uv/loop.h"

/* ---- registration ---- */

typedef struct np_epmd_client np_epmd_client;

/* Where epmd is: `configured`, else ERL_EPMD_PORT, else 4369. */
uint16_t np_epmd_port(uint16_t configured);

/*
 * Begins to register `alive` at `port` with the epmd on this host, and keeps it registered until destroy: when epmd
 * dies, every NP_EPMD_RETRY_MS. If none answers at first, one is started (`epmd -daemon`, if found in PATH), as erl
 * does. NP_ENOMEM.
 */
int np_epmd_client_new(np_epmd_client **client, np_loop *loop, uint16_t epmd_port, const char *alive, uint16_t port,
                       bool hidden);
/* epmd forgets us. */
void np_epmd_client_destroy(np_epmd_client **client);

/* True once registered, also while epmd is away later. */
bool np_epmd_client_registered(const np_epmd_client *client);
/* Why epmd would not take the name at the first registration; NULL: no such thing. */
const char *np_epmd_client_failed(const np_epmd_client *client);

/* ---- look-up ---- */

typedef struct np_epmd_lookup np_epmd_lookup;

/* error 0: the node listens at address:port. Called once, from the loop; the look-up is gone then. */
typedef void (*np_epmd_lookup_fn)(void *arg, int error, const char *why, const char *address, uint16_t port);

/* Asks the epmd of a host for the port of `alive`. NP_ENOMEM, NP_EIO: no callback will come. */
int np_epmd_lookup_new(np_epmd_lookup **lookup, np_loop *loop, const char *host, uint16_t epmd_port, const char *alive,
                       np_epmd_lookup_fn done, void *arg);
/* No callback any more. */
void np_epmd_lookup_cancel(np_epmd_lookup **lookup);

#endif
