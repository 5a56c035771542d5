/*
 * syn_world.h - a node in syn scopes without a network, for the tests: all it says is kept as text, in order.
 *
 * What it says, one line each:
 *   send PROCESS NODE TERM       watch PROCESS NODE           reply FROM TERM
 *   kill PID REASON              message PID TERM             evaluate NODE FUN ARGS
 *   track PID, untrack PID       disconnect NODE
 */
#ifndef NP_TEST_SYN_WORLD_H
#define NP_TEST_SYN_WORLD_H

#include "base/buf.h"
#include "syn/syn.h"

typedef struct world {
    np_syn *syn;
    np_node_id self, a, b;
    np_syn_scope *reg, *pg; /* of scope users */
    uint64_t now_ms, now_ns;
    np_buf said; /* lines */
    uint32_t refs;
    np_ref ref[16];     /* the last monitors */
    np_node_id dead_at; /* watch fails with this node */
    np_pid dead[8];     /* processes of ours that are not alive */
    uint32_t dead_count;
    np_node_id deaf;   /* takes no messages (NP_EOVERLOAD) */
    bool tracks;       /* log track and untrack */
    bool no_evaluate;  /* evaluate fails */
    uint64_t evaluate; /* id of the last */
    np_pid exits_too;  /* a kill ends in np_syn_exited from within */
} world;

/* native@h with a registry and groups of the scope `users`; peers a@h and b@h are not connected. */
int syn_world_setup(void **state);
int syn_world_teardown(void **state);
world *syn_world_new(const char *self);
void syn_world_free(world *w);
void syn_world_time(world *w, uint64_t ms); /* later by that much */

np_in syn_world_info(np_syn_scope *scope, np_node_id from, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void syn_world_call(np_syn_scope *scope, np_node_id from, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What was said since the last time must be these lines (each ends with \n; times of more than 15 digits show as T;
 * NULL: anything). */
#define syn_world_expect(w, text) syn_world_expect_at(w, text, __FILE__, __LINE__)
void syn_world_expect_at(world *w, const char *text, const char *file, int line);

/* "PID META TIME" of a name or "none"; "PID:META ..." sorted, of a group. In a static buffer. */
const char *syn_world_name(np_syn_scope *scope, const char *name);
const char *syn_world_group(np_syn_scope *scope, const char *group);

/* Until all is done. */
void syn_world_run(world *w);

/* The peer comes up and exchanges discover and ack_sync with both scopes; list: its names. Says nothing. */
void syn_world_join(world *w, np_node_id node, const char *names, const char *members);

#endif
