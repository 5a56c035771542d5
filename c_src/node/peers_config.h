/*
 * peers_config.h - the config of peers.c: checked, copied, freed. Nobody else includes this.
 */
#ifndef NP_NODE_PEERS_CONFIG_H
#define NP_NODE_PEERS_CONFIG_H

#include "node/peers.h"

/* NP_EINVAL with a text. */
int np_peers_config_check(const np_peers_config *config, char *why, size_t size);

/* A copy that owns its texts and tables. NP_ENOMEM: what there is of it is to be freed. */
int np_peers_config_copy(np_peers_config *own, const np_peers_config *config);
/* Frees what a copy owns; of an all-zero one: nothing. */
void np_peers_config_free(np_peers_config *own);

#endif
