/*
 * peerworld.h - up to three nodes' np_peers in one loop, and raw connections to them, for tests.
 */
#ifndef NP_TEST_PEERWORLD_H
#define NP_TEST_PEERWORLD_H

#include "dist/handshake.h"
#include "netloop.h"
#include "node/peers.h"
#include "term/names.h"

#include <sys/types.h>

enum { NODES_MAX = 3 };

/* The names tests use, in their order: "a@..", "m@..", "z@..". */
extern const char *const known_names[3];

/* ---- a node: np_peers and what it has been told ---- */

typedef struct test_node {
    const char *name;
    np_peers *peers;
    int ups, downs, balance_errors;
    bool up_now[8]; /* by index of the peer's name */
    bool last_hidden;
    char last_reason[256];
    np_node_id last_peer;
    size_t messages;
    size_t bytes;
    bool echo;
    struct test_world *world;
} test_node;

typedef struct test_world {
    netloop net;
    test_node nodes[NODES_MAX];
    size_t count;
} test_world;

/* At the end every node's ups and downs must have alternated. */
void world_init(test_world *w);
void world_fini(test_world *w);

np_peers_config base_config(const char *name);
test_node *world_add(test_world *w, const np_peers_config *config);
/* A world of two; the second has the first as its seed. */
void start_pair(test_world *w, np_peers_config *first, np_peers_config *second);

/* The events of a test_node. */
void world_up(void *arg, np_node_id peer, bool hidden);
void world_down(void *arg, np_node_id peer, const char *reason);
int world_control(void *arg, np_node_id peer, const np_control *control);

/* Sends any term (not only binaries) to the name `sink` of the peer. */
int send_term(test_node *n, np_node_id peer, const uint8_t *term, size_t len, np_send_class send_class);

/* Conditions for netloop_until. */
bool linked(const test_node *n, const test_node *other);
bool first_two_linked(void *world);
bool first_two_apart(void *world);
bool up_once(void *node);
bool up_twice(void *node);
bool down_once(void *node);

/* A free port, so that nodes can know each other's before they start. */
uint16_t free_port(void);

/* Reads from a raw socket while the loop runs; -1: nothing came. */
ssize_t raw_read(test_world *w, int fd, void *to, size_t len, uint32_t timeout_ms);
/* Exactly one handshake message, without its length. */
void raw_message(test_world *w, int fd, uint8_t *to, size_t size);
/* The first message of a handshake, with its length. */
size_t name_message(uint8_t *to, const char *name, uint64_t flags);
/* A node that claims to be `name` and knows that cookie: its handshake by hand, but for reading the last message. */
int raw_connect(test_world *w, test_node *n, const char *name, const char *cookie);

#endif
