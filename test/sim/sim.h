/*
 * sim.h - a cluster of syn scope members in one process, under a scheduler that a seed decides: native machines
 * (c_src/syn) and an independent model of syn's rules (model.c), joined by a network that can do what real ones do.
 *
 *   sim.c     the network, the scheduler, processes, members that die and come back
 *   model.c   one syn scope process of syn 3.3.0, 3.4.1, or of its main branch
 *   native.c  one np_syn as a member
 *   check.c   what must hold when all is quiet
 *   run.c     random histories from seeds, scripted ones, the command line
 *
 * Time passes only between steps. A step is one thing: the next signal of some connection arrives, some process takes
 * the next message from its mailbox, a helper process sends what it was given, somebody registers something, a
 * connection is cut. Which one, the seed says; so any order that Erlang allows can come up, and a failure comes again
 * with its seed.
 *
 * All clocks are the same. Skew larger than the network's delay makes syn itself lose names (the later registration
 * has the earlier time: who hears of it before the unregistration in between ignores it), so it is left out.
 */
#ifndef NP_SIM_SIM_H
#define NP_SIM_SIM_H

#include "base/buf.h"
#include "base/rng.h"
#include "syn/syn.h"

enum {
    SIM_MEMBERS = 7,
    SIM_NAMES = 5,
    SIM_GROUPS = 3,
    SIM_PROCESSES = 400, /* of one member, ever */
    SIM_TABLE = 256,
    SIM_KINDS = 2, /* registry, groups */
};

typedef enum member_kind { MEMBER_NATIVE, MEMBER_330, MEMBER_341, MEMBER_HEAD, MEMBER_KINDS } member_kind;

typedef struct process {
    np_pid pid;
    bool alive;
    uint32_t names;  /* bits: registered by it and not unregistered */
    uint32_t groups; /* bits: joined */
} process;

typedef enum signal_kind {
    SIGNAL_MESSAGE,      /* to a scope process */
    SIGNAL_CALL,         /* to a scope process; caller */
    SIGNAL_REPLY,        /* to a caller */
    SIGNAL_MONITOR_NAME, /* ref, of a scope process by name */
    SIGNAL_MONITOR_PID,  /* ref, of this pid */
    SIGNAL_DOWN,         /* ref, pid (of the watched, if by pid), noproc */
} signal_kind;

/* A caller of syn's API for a process of another member: it waits for a reply. */
typedef struct caller {
    int member;
    np_syn_request request;
    int key, meta;
    np_pid pid;
} caller;

typedef struct signal {
    struct signal *next;
    signal_kind kind;
    int scope; /* NP_SYN_REGISTRY, NP_SYN_PG */
    np_buf bytes;
    uint32_t ref;
    np_pid pid;
    bool noproc;
    bool by_name;
    caller caller;
    int from;
    uint32_t epoch; /* of the connection it came over */
} signal;

typedef struct queue {
    signal *first, *last;
    uint32_t len;
} queue;

/* Who watches a scope process from outside. */
typedef struct watcher {
    int member;
    uint32_t ref;
    bool by_name;
} watcher;

typedef struct watchers {
    watcher list[64];
    int count;
} watchers;

typedef struct model model;
typedef struct native native;

typedef struct member {
    member_kind kind;
    bool up;
    np_node_id id;
    uint32_t creation;
    uint32_t next_pid;
    process processes[SIM_PROCESSES];
    int process_count;
    bool scope_alive[SIM_KINDS];
    np_pid scope_pid[SIM_KINDS];
    watchers watchers[SIM_KINDS];
    model *model[SIM_KINDS];
    native *native;
} member;

typedef struct sim {
    uint64_t seed;
    np_rng rng;
    uint64_t now_us;
    bool verbose;
    bool remote; /* callers register processes of other members */
    bool natives_visible;
    bool failed;
    bool script; /* the script decides what is overloaded, sliced, split in fragments: nothing */
    int count;
    member members[SIM_MEMBERS];
    bool connected[SIM_MEMBERS][SIM_MEMBERS];
    queue wire[SIM_MEMBERS][SIM_MEMBERS]; /* from, to */
    uint32_t slow[SIM_MEMBERS][SIM_MEMBERS];
    uint32_t refs;
    uint32_t remote_names[SIM_MEMBERS]; /* bits: names and groups that callers on this member put into its tables */
    uint32_t remote_groups[SIM_MEMBERS];
    uint32_t heard[SIM_MEMBERS][SIM_NAMES]; /* bits: members that told this one that the name is theirs */
    uint32_t epoch[SIM_MEMBERS][SIM_MEMBERS];
    bool late[SIM_MEMBERS][SIM_MEMBERS]; /* this one's scope took a message of that one's from the connection before */
    bool shaken[SIM_MEMBERS][SIM_MEMBERS]; /* a scope process of either was killed, or the connection was cut */
    uint64_t steps, kills, tolerated, storms;
} sim;

/* ---- sim.c ---- */

void sim_init(sim *s, uint64_t seed, const member_kind *kinds, int count);
void sim_fini(sim *s);
void sim_log(sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_fail(sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool sim_chance(sim *s, uint32_t percent);
uint32_t sim_below(sim *s, uint32_t bound);
uint64_t sim_now_ns(const sim *s);
int sim_index(const sim *s, np_node_id id); /* of a member, or -1 */
const char *sim_pid(const np_pid *pid);

/* Puts a signal on the wire; takes it. Dropped when not connected. */
void sim_send(sim *s, int from, int to, signal *signal);
signal *sim_signal(signal_kind kind, int scope, const np_in *bytes);
void sim_signal_free(signal *signal);
void queue_push(queue *queue, signal *signal);
signal *queue_pop(queue *queue);
void queue_clear(queue *queue);

void sim_connect(sim *s, int a, int b);
void sim_cut(sim *s, int a, int b);
void sim_stop(sim *s, int m);  /* the member dies */
void sim_start(sim *s, int m); /* and comes back, empty */
void sim_kill_scope(sim *s, int m, int scope);
void sim_restart_scope(sim *s, int m, int scope); /* of a model, by its supervisor */
process *sim_spawn(sim *s, int m);                /* NULL: too many */
process *sim_find(sim *s, const np_pid *pid);     /* or NULL */
bool sim_alive(sim *s, const np_pid *pid);
void sim_exit(sim *s, const np_pid *pid, const char *reason); /* a process ends */

bool sim_deliver(sim *s, int from, int to); /* the next signal on that wire; false: none */
bool sim_step(sim *s);                      /* any one thing; false: nothing can happen */
bool sim_settle(sim *s); /* all connected and up, then steps until nothing is left to do; false: see check.c */
void sim_pass(sim *s, uint64_t us);

/* ---- terms ---- */

np_in sim_key(int scope, int key); /* of a name or group; static */
int sim_key_of(np_in term);        /* -1: none */
np_in sim_meta(int meta);
int sim_meta_of(np_in term);

/* ---- what is done to members, whatever they are ---- */

void member_set(sim *s, int m, int scope, int key, process *process, int meta); /* register, update, join */
void member_unset(sim *s, int m, int scope, int key, process *process);

/* ---- the two kinds ---- */

typedef struct entry {
    int key, meta;
    np_pid pid;
    uint64_t time_ns;
} entry;

model *model_new(sim *s, int m, int scope);
void model_free(model *model);
void model_begin(model *model, const np_pid *self); /* init and after_init */
void model_die(model *model);                       /* the process and its helper; tables stay */
void model_take(model *model, signal *signal);      /* into the mailbox */
void model_nodeup(model *model, int member);
void model_nodedown(model *model, int member);
void model_exited(model *model, const np_pid *pid);
void model_set(model *model, int key, const np_pid *pid, int meta);
void model_unset(model *model, int key, const np_pid *pid);
void model_insert(model *model, np_syn_request request, int key, const np_pid *pid, np_in reply); /* by a caller */
uint32_t model_busy(const model *model); /* things it could do next */
void model_step(model *model, uint32_t which);
int model_table(const model *model, entry *entries, int max);
void model_set_now(model *model, int key, const np_pid *pid, int meta); /* not through the mailbox */
bool model_mailbox(model *model); /* takes the next message; false: none. These two are for scripts */
bool model_helper(model *model);
void model_remote(model *model, const caller *caller); /* a caller on this member, for a process of another one */

native *native_new(sim *s, int m);
void native_free(native *native);
np_syn_scope *native_scope(native *native, int scope);
np_syn *native_syn(native *native);
void native_take(native *native, signal *signal, int from);
void native_restart(native *native, int scope, const np_pid *self);
bool native_busy(native *native); /* has something to do now */
void native_step(native *native);
void native_catch_up(native *native); /* sets its clock */
void native_remote(native *native, int scope, const caller *caller);
void native_answered(native *native, int scope, const caller *caller, np_in reply);
int native_table(native *native, int scope, entry *entries, int max);

/* ---- check.c ---- */

void sim_check(sim *s);

#endif
