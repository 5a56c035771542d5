/*
 * spawn.h - starting another program and forgetting it.
 */
#ifndef NP_UV_SPAWN_H
#define NP_UV_SPAWN_H

#include "uv/loop.h"

/*
 * Runs a program (found in PATH) with its arguments (argv[0] is the program; NULL-terminated), in a session of its
 * own, with no input and output. It is reaped by the loop and outlives it. NP_ENOENT: no such program. NP_ENOMEM,
 * NP_EIO.
 */
int np_spawn_detached(np_loop *loop, const char *const *argv);

#endif
