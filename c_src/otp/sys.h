/*
 * sys.h - system messages (lib/stdlib/src/sys.erl): what :sys.get_state, suspend, statistics, gen:stop and friends
 * send, and the answers OTP gives.
 *
 * State is kept only for processes that need it: np_sys_state is allocated on the first suspend or statistics and freed
 * when it is back to normal, so an ordinary process pays one pointer.
 */
#ifndef NP_OTP_SYS_H
#define NP_OTP_SYS_H

#include "base/buf.h"
#include "otp/gen.h"

typedef struct np_sys_state np_sys_state;

/* What sys wants to know of a process. */
typedef struct np_sys_host {
    void *self;
    np_pid pid;
    np_pid parent;      /* none (all zero): pid itself is shown */
    const char *module; /* as in {module, Mod} and the header: a behaviour's name, e.g. "gen_server" */
    const char *name;   /* registered name or NULL */
    void (*state)(void *self, np_out *out); /* exactly one term: what get_state answers */
} np_sys_host;

typedef enum np_sys_action {
    NP_SYS_NONE,
    NP_SYS_TERMINATE, /* end with *reason, after the reply has been sent */
    NP_SYS_RESUMED,   /* take the waiting messages out with np_sys_take */
} np_sys_action;

/*
 * Handles one system request (gen->kind is SYSTEM) and builds the reply message {Tag, Reply} into out, to be sent to
 * gen->from. *reason (TERMINATE) borrows from the request. wall_s: unix time for the statistics.
 */
np_sys_action np_sys_handle(np_sys_state **sys, const np_sys_host *host, const np_gen *gen, int64_t wall_s, np_out *out,
                            np_in *reason);

static inline bool np_sys_none(const np_sys_state *sys) { return sys == NULL; }
bool np_sys_suspended(const np_sys_state *sys); /* of NULL: false */

/* A suspended process keeps its other messages here, in order. NP_EOVERLOAD past NP_MAILBOX_MAX / NP_MAILBOX_BYTES_MAX.
 */
int np_sys_keep(np_sys_state *sys, np_in message);
/* The same past the bounds, for small messages whose number is bounded elsewhere. NP_ENOMEM. */
int np_sys_keep_urgent(np_sys_state *sys, np_in message);

/* After RESUMED: moves the kept messages, oldest first, one a call into *buf (cleared first). False when none is left
 * (the state may be freed by then: *sys NULL). */
bool np_sys_take(np_sys_state **sys, np_buf *buf);

/* Counting for sys:statistics; cheap no-ops on NULL. */
void np_sys_count_in(np_sys_state *sys);
void np_sys_count_out(np_sys_state *sys);

void np_sys_destroy(np_sys_state **sys);

#endif
