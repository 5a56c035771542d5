/* sim.c - the network, the scheduler, processes, and members that die and come back. See sim.h. */
#include "sim.h"

#include "base/assert.h"
#include "term/ids.h"
#include "term/names.h"
#include "term/out.h"
#include "term/print.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- small things ---- */

void sim_log(sim *s, const char *format, ...) {
    va_list args;
    if (!s->verbose)
        return;
    printf("%10llu ", (unsigned long long)s->now_us);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void sim_fail(sim *s, const char *format, ...) {
    va_list args;
    s->failed = true;
    printf("seed %llu: ", (unsigned long long)s->seed);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

uint32_t sim_below(sim *s, uint32_t bound) { return (uint32_t)np_rng_below(&s->rng, bound); }
bool sim_chance(sim *s, uint32_t percent) { return sim_below(s, 100) < percent; }
uint64_t sim_now_ns(const sim *s) { return s->now_us * 1000; }

int sim_index(const sim *s, np_node_id id) {
    for (int i = 0; i < s->count; i++) {
        if (s->members[i].id == id)
            return i;
    }
    return -1;
}

const char *sim_pid(const np_pid *pid) {
    static char text[4][64];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(text[turn], sizeof(text[turn]), "<%s.%u.%u>", np_name_text(pid->node), pid->num, pid->creation);
    return text[turn];
}

void sim_pass(sim *s, uint64_t us) {
    s->now_us += us;
    for (int i = 0; i < s->count; i++) {
        if (s->members[i].native != NULL)
            native_catch_up(s->members[i].native);
    }
}

/* ---- signals ---- */

signal *sim_signal(signal_kind kind, int scope, const np_in *bytes) {
    signal *signal = calloc(1, sizeof(*signal));
    NP_ASSERT(signal != NULL);
    signal->kind = kind;
    signal->scope = scope;
    if (bytes != NULL && !np_in_at_end(bytes))
        NP_ASSERT(np_buf_append(&signal->bytes, bytes->base + bytes->pos, bytes->end - bytes->pos) == 0);
    return signal;
}

void sim_signal_free(signal *signal) {
    np_buf_fini(&signal->bytes);
    free(signal);
}

void queue_push(queue *queue, signal *signal) {
    signal->next = NULL;
    if (queue->first == NULL)
        queue->first = signal;
    else
        queue->last->next = signal;
    queue->last = signal;
    queue->len++;
}

signal *queue_pop(queue *queue) {
    signal *signal = queue->first;
    if (signal != NULL) {
        queue->first = signal->next;
        queue->len--;
    }
    return signal;
}

void queue_clear(queue *queue) {
    for (signal *signal; (signal = queue_pop(queue)) != NULL;)
        sim_signal_free(signal);
}

void sim_send(sim *s, int from, int to, signal *signal) {
    signal->from = from;
    signal->epoch = s->epoch[from][to];
    if (!s->connected[from][to])
        sim_signal_free(signal);
    else
        queue_push(&s->wire[from][to], signal);
}

static void send_down(sim *s, int from, const watcher *w, int scope, const np_pid *pid, bool noproc) {
    signal *down = sim_signal(SIGNAL_DOWN, scope, NULL);
    down->ref = w->ref;
    down->by_name = w->by_name;
    down->pid = *pid;
    down->noproc = noproc;
    sim_send(s, from, w->member, down);
}

static void arrived_monitor(sim *s, int from, int to, const signal *signal) {
    member *m = &s->members[to];
    int scope = signal->scope;
    watcher w = {from, signal->ref, signal->kind == SIGNAL_MONITOR_NAME};
    bool there = m->scope_alive[scope] && (w.by_name || np_pid_eq(&m->scope_pid[scope], &signal->pid));
    if (!there) {
        send_down(s, to, &w, scope, &signal->pid, true);
        return;
    }
    watchers *all = &m->watchers[scope];
    NP_ASSERT(all->count < 64);
    all->list[all->count++] = w;
}

static void arrived_reply(sim *s, int to, const signal *signal) {
    member *m = &s->members[to];
    np_in reply = {np_buf_head(&signal->bytes), 0, np_buf_len(&signal->bytes)};
    const caller *c = &signal->caller;
    if (m->native != NULL)
        native_answered(m->native, signal->scope, c, reply);
    else
        model_insert(m->model[signal->scope], c->request, c->key, &c->pid, reply);
}

static void log_signal(sim *s, int from, int to, const signal *signal) {
    static const char *const kinds[] = {"message", "call", "reply", "monitor name", "monitor pid", "down"};
    char text[600] = "";
    if (!s->verbose)
        return;
    np_in in = {np_buf_head(&signal->bytes), 0, np_buf_len(&signal->bytes)};
    if (!np_in_at_end(&in))
        np_term_text(&in, text, sizeof(text));
    sim_log(s, "%d -> %d/%d %s %s%s", from, to, signal->scope, kinds[signal->kind], text,
            s->members[to].scope_alive[signal->scope] ? "" : " (nobody there)");
}

static void hear(sim *s, int from, int to, np_in in) {
    np_in key;
    int number = np_in_term(&in, &key) == 0 ? sim_key_of(key) : -1;
    if (number >= 0 && number < SIM_NAMES)
        s->heard[to][number] |= 1u << from;
}

/* Who claims which name, as told to whom: see check.c. */
static void note_claims(sim *s, int from, int to, const signal *signal) {
    np_in in = {np_buf_head(&signal->bytes), 0, np_buf_len(&signal->bytes)};
    uint32_t arity;
    np_list list;
    np_in element;
    if (signal->kind != SIGNAL_MESSAGE || signal->scope != NP_SYN_REGISTRY)
        return;
    NP_ASSERT(np_in_tuple(&in, &arity) == 0 && np_in_match(&in, "3.0") == 0);
    if (np_in_match(&in, "sync_register") == 0) {
        hear(s, from, to, in);
    } else if (np_in_match(&in, "ack_sync") == 0 && np_in_term(&in, NULL) == 0 && np_in_list(&in, &list) == 0) {
        while (np_list_next(&list, &element)) {
            if (np_in_tuple(&element, &arity) == 0)
                hear(s, from, to, element);
        }
    }
}

bool sim_deliver(sim *s, int from, int to) {
    signal *signal = queue_pop(&s->wire[from][to]);
    member *m = &s->members[to];
    if (signal == NULL)
        return false;
    log_signal(s, from, to, signal);
    note_claims(s, from, to, signal);
    switch (signal->kind) {
    case SIGNAL_MONITOR_NAME:
    case SIGNAL_MONITOR_PID: arrived_monitor(s, from, to, signal); break;
    case SIGNAL_REPLY: arrived_reply(s, to, signal); break;
    case SIGNAL_MESSAGE:
    case SIGNAL_CALL:
    case SIGNAL_DOWN:
        if (!m->scope_alive[signal->scope])
            break;
        if (m->native != NULL) {
            native_take(m->native, signal, from);
            break;
        }
        model_take(m->model[signal->scope], signal);
        return true; /* in its mailbox */
    }
    sim_signal_free(signal);
    return true;
}

/* ---- connections ---- */

void sim_connect(sim *s, int a, int b) {
    int ends[2][2] = {{a, b}, {b, a}};
    if (a == b || s->connected[a][b] || !s->members[a].up || !s->members[b].up)
        return;
    sim_log(s, "connect %d %d", a, b);
    s->connected[a][b] = s->connected[b][a] = true;
    s->epoch[a][b]++;
    s->epoch[b][a]++;
    bool hidden = (s->members[a].native != NULL || s->members[b].native != NULL) && !s->natives_visible;
    for (int i = 0; i < 2; i++) {
        member *m = &s->members[ends[i][0]];
        int other = ends[i][1];
        if (m->native != NULL)
            np_syn_peer_up(native_syn(m->native), s->members[other].id);
        for (int k = 0; k < SIM_KINDS && m->native == NULL && !hidden; k++)
            model_nodeup(m->model[k], other);
    }
}

static void forget_watchers(member *m, int of) {
    for (int k = 0; k < SIM_KINDS; k++) {
        watchers *all = &m->watchers[k];
        int kept = 0;
        for (int i = 0; i < all->count; i++) {
            if (all->list[i].member != of)
                all->list[kept++] = all->list[i];
        }
        all->count = kept;
    }
}

void sim_cut(sim *s, int a, int b) {
    int ends[2][2] = {{a, b}, {b, a}};
    if (a == b || !s->connected[a][b])
        return;
    sim_log(s, "cut %d %d", a, b);
    s->shaken[a][b] = s->shaken[b][a] = true;
    s->late[a][b] = s->late[b][a] = false;
    s->connected[a][b] = s->connected[b][a] = false;
    for (int i = 0; i < 2; i++) {
        member *m = &s->members[ends[i][0]];
        int other = ends[i][1];
        queue_clear(&s->wire[ends[i][0]][other]);
        forget_watchers(m, other);
        if (m->native != NULL)
            np_syn_peer_down(native_syn(m->native), s->members[other].id);
        for (int k = 0; k < SIM_KINDS && m->native == NULL; k++)
            model_nodedown(m->model[k], other);
    }
}

/* ---- members ---- */

static np_pid new_pid(member *m) { return (np_pid){m->id, ++m->next_pid, 0, m->creation}; }

void sim_start(sim *s, int at) {
    member *m = &s->members[at];
    if (m->up)
        return;
    sim_log(s, "start %d", at);
    m->up = true;
    m->creation++;
    m->process_count = 0;
    for (int k = 0; k < SIM_KINDS; k++) {
        m->scope_pid[k] = new_pid(m);
        m->scope_alive[k] = true;
    }
    if (m->kind == MEMBER_NATIVE) {
        m->native = native_new(s, at);
        return;
    }
    for (int k = 0; k < SIM_KINDS; k++) {
        m->model[k] = model_new(s, at, k);
        model_begin(m->model[k], &m->scope_pid[k]);
    }
}

void sim_stop(sim *s, int at) {
    member *m = &s->members[at];
    if (!m->up)
        return;
    sim_log(s, "stop %d", at);
    for (int i = 0; i < s->count; i++)
        sim_cut(s, at, i);
    m->up = false;
    for (int i = 0; i < m->process_count; i++)
        m->processes[i].alive = false;
    for (int k = 0; k < SIM_KINDS; k++) {
        m->scope_alive[k] = false;
        if (m->model[k] != NULL)
            model_free(m->model[k]);
        m->model[k] = NULL;
    }
    if (m->native != NULL)
        native_free(m->native);
    m->native = NULL;
}

void sim_kill_scope(sim *s, int at, int k) {
    member *m = &s->members[at];
    if (!m->up || !m->scope_alive[k])
        return;
    sim_log(s, "kill scope %d/%d %s", at, k, sim_pid(&m->scope_pid[k]));
    for (int i = 0; i < s->count; i++)
        s->shaken[at][i] = s->shaken[i][at] = true;
    if (m->model[k] != NULL)
        model_die(m->model[k]); /* what it still sends comes before the DOWN */
    for (int i = 0; i < m->watchers[k].count; i++)
        send_down(s, at, &m->watchers[k].list[i], k, &m->scope_pid[k], false);
    m->watchers[k].count = 0;
    m->scope_alive[k] = false;
    if (m->native != NULL)
        sim_restart_scope(s, at, k);
}

void sim_restart_scope(sim *s, int at, int k) {
    member *m = &s->members[at];
    if (!m->up || m->scope_alive[k])
        return;
    m->scope_pid[k] = new_pid(m);
    m->scope_alive[k] = true;
    sim_log(s, "scope %d/%d is %s", at, k, sim_pid(&m->scope_pid[k]));
    if (m->native != NULL)
        native_restart(m->native, k, &m->scope_pid[k]);
    else
        model_begin(m->model[k], &m->scope_pid[k]);
}

/* ---- processes ---- */

process *sim_spawn(sim *s, int at) {
    member *m = &s->members[at];
    if (!m->up || m->process_count == SIM_PROCESSES)
        return NULL;
    process *p = &m->processes[m->process_count++];
    *p = (process){.pid = new_pid(m), .alive = true};
    return p;
}

process *sim_find(sim *s, const np_pid *pid) {
    int at = sim_index(s, pid->node);
    member *m = at < 0 ? NULL : &s->members[at];
    for (int i = 0; m != NULL && i < m->process_count; i++) {
        if (np_pid_eq(&m->processes[i].pid, pid))
            return &m->processes[i];
    }
    return NULL;
}

bool sim_alive(sim *s, const np_pid *pid) {
    const process *p = sim_find(s, pid);
    return p != NULL && p->alive;
}

void sim_exit(sim *s, const np_pid *pid, const char *reason) {
    process *p = sim_find(s, pid);
    member *m = &s->members[sim_index(s, pid->node)];
    if (p == NULL || !p->alive)
        return;
    sim_log(s, "exit %s %s", sim_pid(pid), reason);
    p->alive = false;
    p->names = p->groups = 0;
    if (m->native != NULL) {
        np_buf buf = NP_BUF_INIT;
        np_out out;
        np_out_init(&out, &buf, 1000);
        np_out_atom(&out, reason);
        np_syn_exited(native_syn(m->native), pid, np_out_view(&out));
        np_buf_fini(&buf);
        return;
    }
    for (int k = 0; k < SIM_KINDS; k++)
        model_exited(m->model[k], pid);
}

/* ---- the scheduler ---- */

void sim_init(sim *s, uint64_t seed, const member_kind *kinds, int count) {
    memset(s, 0, sizeof(*s));
    s->seed = seed;
    s->count = count;
    s->now_us = 1000000;
    np_rng_seed(&s->rng, seed);
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "n%d@sim", i);
        s->members[i].kind = kinds[i];
        s->members[i].id = np_name_id(name);
        for (int j = 0; j < count; j++)
            s->slow[i][j] = sim_chance(s, 20) ? 1 + sim_below(s, 10) : 20;
    }
}

void sim_fini(sim *s) {
    for (int i = 0; i < s->count; i++)
        sim_stop(s, i);
}

/* The weight of each thing that can happen next; picks one. */
bool sim_step(sim *s) {
    uint32_t total = 0, pick = 0;
    for (int round = 0; round < 2; round++) {
        if (round == 1) {
            if (total == 0)
                return false;
            pick = sim_below(s, total);
            sim_pass(s, 1 + sim_below(s, 500));
            s->steps++;
        }
#define CHOICE(weight, action)                                                                                         \
    do {                                                                                                               \
        uint32_t w = (weight);                                                                                         \
        if (round == 0) {                                                                                              \
            total += w;                                                                                                \
        } else if (pick < w) {                                                                                         \
            action;                                                                                                    \
            return true;                                                                                               \
        } else {                                                                                                       \
            pick -= w;                                                                                                 \
        }                                                                                                              \
    } while (0)
        for (int i = 0; i < s->count; i++) {
            member *m = &s->members[i];
            for (int j = 0; j < s->count; j++)
                CHOICE(s->wire[i][j].len > 0 ? s->slow[i][j] : 0, sim_deliver(s, i, j));
            for (int k = 0; k < SIM_KINDS; k++) {
                if (m->model[k] != NULL)
                    CHOICE(model_busy(m->model[k]) * 10, model_step(m->model[k], pick / 10));
                CHOICE(m->up && !m->scope_alive[k] ? 2 : 0, sim_restart_scope(s, i, k));
            }
            if (m->native != NULL)
                CHOICE(native_busy(m->native) ? 20 : 0, native_step(m->native));
        }
#undef CHOICE
    }
    return true;
}

/* The earliest time at which a native member wants to do something, or UINT64_MAX. */
static uint64_t next_deadline_us(const sim *s) {
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < s->count; i++) {
        if (s->members[i].native != NULL) {
            uint64_t ms = np_syn_next(native_syn(s->members[i].native));
            if (ms != UINT64_MAX && ms * 1000 < next)
                next = ms * 1000;
        }
    }
    return next;
}

/* Steps until nothing is left to do. */
static bool run_dry(sim *s) {
    enum { STEPS_MAX = 100000 };
    for (int steps = 0; steps < STEPS_MAX; steps++) {
        if (sim_step(s))
            continue;
        uint64_t due = next_deadline_us(s);
        if (due == UINT64_MAX)
            return true;
        sim_pass(s, due > s->now_us ? due - s->now_us : 0);
    }
    return false;
}

static bool beam(const sim *s, int m) { return s->members[m].kind != MEMBER_NATIVE; }

/* What a scope process that died at a bad moment, or a connection that was cut at one, leaves between two BEAM members
 * (see check.c) is over with the next connection. */
static void mend(sim *s) {
    for (int i = 0; i < s->count; i++) {
        for (int j = 0; j < i; j++) {
            if (s->shaken[i][j] && beam(s, i) && beam(s, j)) {
                sim_cut(s, i, j);
                sim_connect(s, i, j);
            }
        }
    }
    memset(s->shaken, 0, sizeof(s->shaken));
}

bool sim_settle(sim *s) {
    int beams = 0;
    for (int i = 0; i < s->count; i++) {
        beams += beam(s, i);
        sim_start(s, i);
    }
    for (int i = 0; i < s->count; i++) {
        for (int j = 0; j < i; j++)
            sim_connect(s, i, j);
    }
    bool quiet = run_dry(s);
    if (quiet) {
        mend(s);
        quiet = run_dry(s);
    }
    if (!quiet && beams < 2)
        sim_fail(s, "does not come to rest");
    s->storms += !quiet;
    return quiet;
}

/* ---- terms ---- */

np_in sim_key(int scope, int key) {
    static uint8_t keys[SIM_KINDS][8][7];
    uint8_t *term = keys[scope][key];
    memcpy(term, scope == NP_SYN_REGISTRY ? "\x68\x02\x77\x01w\x61" : "\x68\x02\x77\x01g\x61", 6); /* {w, Key} */
    term[6] = (uint8_t)key;
    return (np_in){term, 0, 7};
}

int sim_key_of(np_in term) {
    int64_t key;
    if (np_in_tuple_of(&term, 2) < 0 || np_in_term(&term, NULL) < 0 || np_in_int64(&term, &key) < 0)
        return -1;
    return (int)key;
}

np_in sim_meta(int meta) {
    static uint8_t bytes[256][2];
    bytes[meta][0] = 97;
    bytes[meta][1] = (uint8_t)meta;
    return (np_in){bytes[meta], 0, 2};
}

int sim_meta_of(np_in term) {
    int64_t meta;
    return np_in_int64(&term, &meta) < 0 ? -1 : (int)meta;
}

/* ---- what members do ---- */

void member_set(sim *s, int at, int scope, int key, process *p, int meta) {
    member *m = &s->members[at];
    sim_log(s, "%d/%d set %d %s %d", at, scope, key, sim_pid(&p->pid), meta);
    if (m->native == NULL) {
        model_set(m->model[scope], key, &p->pid, meta);
        return;
    }
    np_syn_scope *in = native_scope(m->native, scope);
    int error = scope == NP_SYN_REGISTRY ? np_syn_register(in, sim_key(scope, key), &p->pid, sim_meta(meta))
                                         : np_syn_join(in, sim_key(scope, key), &p->pid, sim_meta(meta));
    if (error == 0)
        *(scope == NP_SYN_REGISTRY ? &p->names : &p->groups) |= 1u << key;
}

void member_unset(sim *s, int at, int scope, int key, process *p) {
    member *m = &s->members[at];
    sim_log(s, "%d/%d unset %d %s", at, scope, key, sim_pid(&p->pid));
    if (m->native == NULL) {
        model_unset(m->model[scope], key, &p->pid);
        return;
    }
    np_syn_scope *in = native_scope(m->native, scope);
    int error = scope == NP_SYN_REGISTRY ? np_syn_unregister(in, sim_key(scope, key), &p->pid)
                                         : np_syn_leave(in, sim_key(scope, key), &p->pid);
    if (error == 0)
        *(scope == NP_SYN_REGISTRY ? &p->names : &p->groups) &= ~(1u << key);
}
