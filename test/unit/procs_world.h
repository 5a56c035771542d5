/*
 * procs_world.h - a process table with a recorder around it, for the tests of proc/: local processes A, B, .., other
 * nodes r1@h and r2@h with processes X, Y, Z (r1) and U, V, W (r2), and a log of everything that leaves the table.
 *
 * The log is a text: what goes to other nodes as "> LINK A X", messages of the table to local processes as "A: EXIT X
 * boom" and "A: DOWN 1 X boom" (1: the number of the reference), ends by signal as "A killed boom"; joined by "; ".
 */
#ifndef NP_TEST_PROCS_WORLD_H
#define NP_TEST_PROCS_WORLD_H

#include "base/buf.h"
#include "proc/procs.h"

enum { WORLD_PROCS = 26, WORLD_CREATION = 7, WORLD_REMOTE_CREATION = 9 };

typedef struct world world;

typedef struct world_proc {
    world *w;
    np_pid pid;
    char name;                                             /* 'A'.. */
    void (*on_message)(world *w, struct world_proc *self); /* runs inside the class function */
} world_proc;

struct world {
    np_procs *procs;
    np_node_id self, r1, r2;
    bool down1, down2;                                    /* the io says NP_ENOCONN */
    int io_error;                                         /* .. or this, if not 0 */
    void (*on_signal)(world *w, const np_signal *signal); /* runs inside the io */
    int woken;
    uint64_t ref_base; /* references are numbered from here */
    np_buf log;
    world_proc proc[WORLD_PROCS];
    uint32_t proc_count;
};

extern const np_proc_class world_class;

void procs_world_init(world *w);
void procs_world_fini(world *w); /* checks that nothing is left behind when all processes and nodes have gone */

world_proc *world_spawn(world *w);           /* the next letter */
np_pid world_pid(const world *w, char name); /* local or remote */

/* A term in a static buffer (the last eight are valid). */
np_in world_atom(const char *name);

np_ref world_remote_ref(np_node_id node, uint32_t n);

/* A signal from another node; reason: an atom or NULL. Returns what np_procs_signal does. */
int world_signal(world *w, np_signal_kind kind, char from, char to, const char *name, const np_ref *ref, uint64_t id,
                 const char *reason);

/* The log so far must be this; empties it. */
#define world_expect(w, text) world_expect_at(w, text, __FILE__, __LINE__)
void world_expect_at(world *w, const char *text, const char *file, int line);

/* The log as a terminated text. */
const char *world_log(world *w);

/* The functions of procs.h by the letters of their processes; they assert success. */
void world_exits(world *w, char name, const char *reason);
void world_exit2(world *w, char from, char to, const char *reason);
void world_traps(world *w, char name);
void world_links(world *w, char a, char b);
void world_unlinks(world *w, char a, char b);
np_ref world_monitors(world *w, char a, char b);
bool world_alive(world *w, char name);
void world_reg(world *w, char name, const char *as);
np_proc_info world_info(world *w, char name);

/* For cmocka: a world with A, B, C and D. */
int world_setup(void **state);
int world_teardown(void **state);

#endif
