/* workers.h - where worker types come from: linked into the program, or loaded from a plugin. Main thread, at start. */
#ifndef NP_CNODE_WORKERS_H
#define NP_CNODE_WORKERS_H

#include <native_pool/worker.h>

typedef struct np_linked_worker {
    const char *name; /* NULL: the end of the table */
    const np_worker_ops *(*plugin)(void);
} np_linked_worker;

/* The table CMake writes; see linked_in.c.in. */
extern const np_linked_worker np_linked_workers[];

/* Is this the name of a linked-in worker type? */
bool np_worker_is_linked_in(const char *name);

/*
 * The table of a worker type: of the plugin in file (absolute), or if that is NULL of the linked-in type. A plugin
 * stays loaded for the life of the process. NP_EINVAL: why (size bytes) says what is wrong.
 */
int np_worker_load(const char *name, const char *file, const np_worker_ops **ops, char *why, size_t size);

/* Loads it and forgets it; results as above. */
int np_worker_check_plugin(const char *file, char *why, size_t size);

#endif
