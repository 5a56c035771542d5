/*
 * internal.h - what runtime.c (life of a worker, dispatch of messages) and ctx.c (what a worker may ask for) share.
 * Nobody else includes it.
 */
#ifndef NP_SEGMENT_INTERNAL_H
#define NP_SEGMENT_INTERNAL_H

#include "base/log.h"
#include "base/map.h"
#include "otp/sys.h"
#include "segment/runtime.h"
#include "term/out.h"

struct np_caller {
    const np_from *from;
};

/* A reply a worker owes. */
typedef struct np_owed {
    uint64_t id;
    np_worker *worker;
    struct np_owed *next, *prev; /* of the same worker */
    np_pid pid;
    np_ref alias;
    bool has_alias;
    uint32_t tag_len;
    uint8_t tag[];
} np_owed;

typedef struct np_worker_timer {
    np_timer timer;
    uint64_t tag;
    np_worker *worker;
    struct np_worker_timer *next, *prev; /* of the same worker */
} np_worker_timer;

struct np_ctx {
    np_runtime *runtime;
    void *state;
    void *owner;
    np_sys_state *sys; /* NULL unless suspended or counted */
    uint8_t *ref;      /* encoded {ref, Module, Id} */
    np_owed *owed;
    np_worker_timer *timers;
    np_pid pid;
    uint32_t ref_len;
    uint32_t id_at; /* where Id begins in ref */
    uint32_t owed_count;
    uint32_t timer_count;
    bool running; /* a callback is on the stack */
    bool killed;  /* ... and when it returns the worker is freed without further ado */
};

struct np_runtime {
    np_runtime_host host;
    np_runtime_config config;
    np_map owed;   /* np_owed by id */
    np_map timers; /* np_worker_timer by worker and tag */
    uint64_t next_owed;
    uint32_t count;
    np_buf reply_buf; /* {Tag, Reply} being built */
    np_buf build_buf; /* np_build */
    np_buf stop_buf;  /* np_stop_reason */
    np_buf wrap_buf;  /* a built term in its envelope */
    np_buf take_buf;  /* a message kept while suspended */
    np_out build;
    np_out stop;
    np_runtime_stats stats;
    np_log_limit drop_limit;
};

/* Exactly one well-formed term was built: a cursor over it. NP_EBADTERM, or the builder's error. */
int np_built_term(const np_out *out, np_in *term);

void np_owed_free(np_owed *owed);
void np_worker_timer_free(np_worker_timer *timer);

/* A timer has come (and is freed already): handle_timer, or its place in the mailbox of a suspended worker. */
void np_worker_timer_due(np_worker *worker, uint64_t tag);

#endif
