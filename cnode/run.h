/* run.h - from a checked config to a running node: the only place where program and node layer meet. Main thread. */
#ifndef NP_CNODE_RUN_H
#define NP_CNODE_RUN_H

#include "cnode/config.h"

/*
 * Runs the node until a signal ends it. ready is called once, with the node's name, when it serves. Returns the exit
 * status of the program: 0 after a drain, 1 if the node could not start or failed, 2 if a cookie of a peer or a worker
 * cannot be loaded; stderr says why.
 */
int np_run(const np_config *config, const char *cookie, void (*ready)(const char *name));

#endif
