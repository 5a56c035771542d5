/*
 * The process table against a naive model of it, with random operations: local processes A..H, two other nodes with
 * three processes each. What the table tells the outside after each operation must be what the model says, in any
 * order; and at the end nothing may be left.
 *
 * NP_SEED=n replays one run, NP_ROUNDS=n makes more of them.
 */
#include "procs_world.h"

#include "base/assert.h"
#include "base/rng.h"
#include "proc/internal.h"
#include "term/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LOCALS = 8, STEPS = 400, MAX = 512, LINES = 256, LINE = 64 };

static const char *const REASONS[] = {"normal", "kill", "boom", "killed"};
static const char *const NAMES[] = {"one", "two", "three"};

typedef struct m_link {
    char a, b; /* a local; b local or remote */
    bool active;
    uint64_t id;
} m_link;

typedef struct m_monitor {
    char watcher, target; /* target '-': a name of another node */
    char name[16];        /* as asked, "" by pid */
    bool r1;              /* of the name's node */
    uint32_t ref;
} m_monitor;

typedef struct m_alias {
    char owner;
    uint32_t ref;
    bool once;
} m_alias;

typedef struct m_exit {
    char from, to;
    char reason[16];
} m_exit;

typedef struct model {
    bool alive[LOCALS], trap[LOCALS];
    char names[3]; /* who has NAMES[i], 0 */
    m_link links[MAX];
    int links_len;
    m_monitor monitors[MAX];
    int monitors_len;
    m_alias aliases[MAX];
    int aliases_len;
    m_exit queue[MAX]; /* exits of links on their way */
    int queue_len;
    char lines[LINES][LINE]; /* what has to come out */
    int lines_len;
    uint64_t unlink_last;
    uint32_t refs, remote_refs;
    bool down[2];
} model;

static bool local(char p) { return p < 'U'; }
static int node_of(char p) { return p >= 'X' ? 0 : 1; }
static bool alive(const model *m, char p) { return !local(p) || m->alive[p - 'A']; }

__attribute__((format(printf, 2, 3))) static void say(model *m, const char *format, ...) {
    va_list args;
    assert_true(m->lines_len < LINES);
    va_start(args, format);
    vsnprintf(m->lines[m->lines_len++], LINE, format, args);
    va_end(args);
}

/* ---- the rules ---- */

static void forget_alias(model *m, char owner, uint32_t ref) {
    for (int i = 0; i < m->aliases_len; i++)
        if (m->aliases[i].owner == owner && m->aliases[i].ref == ref && m->aliases[i].once)
            m->aliases[i--] = m->aliases[--m->aliases_len];
}

/* The target of a monitor has ended. */
static void down(model *m, const m_monitor *mon, const char *reason) {
    if (!local(mon->watcher)) {
        if (mon->name[0] != 0)
            say(m, "> DOWN %s %c %u %s", mon->name, mon->watcher, mon->ref, reason);
        else
            say(m, "> DOWN %c %c %u %s", mon->target, mon->watcher, mon->ref, reason);
        return;
    }
    forget_alias(m, mon->watcher, mon->ref);
    if (mon->name[0] != 0)
        say(m, "%c: DOWN %u {%s,%s} %s", mon->watcher, mon->ref, mon->name,
            local(mon->target) ? "n@h"
            : mon->r1          ? "r1@h"
                               : "r2@h",
            reason);
    else
        say(m, "%c: DOWN %u %c %s", mon->watcher, mon->ref, mon->target, reason);
}

static void push_exit(model *m, char from, char to, const char *reason) {
    assert_true(m->queue_len < MAX);
    m_exit *e = &m->queue[m->queue_len++];
    e->from = from;
    e->to = to;
    snprintf(e->reason, sizeof e->reason, "%s", reason);
}

static void demonitored(model *m, const m_monitor *mon) {
    if (local(mon->target))
        return;
    if (mon->target == '_')
        say(m, "> DEMONITOR %c %s@%s %u", mon->watcher, mon->name, mon->r1 ? "r1" : "r2", mon->ref);
    else
        say(m, "> DEMONITOR %c %c %u", mon->watcher, mon->target, mon->ref);
}

static void dies(model *m, char p, const char *reason_in) {
    char reason[16];
    snprintf(reason, sizeof reason, "%s", reason_in);
    m->alive[p - 'A'] = false;
    m->trap[p - 'A'] = false;
    for (int i = 0; i < 3; i++)
        if (m->names[i] == p)
            m->names[i] = 0;
    for (int i = 0; i < m->links_len; i++) {
        m_link l = m->links[i];
        if (l.a != p && l.b != p)
            continue;
        m->links[i--] = m->links[--m->links_len];
        char other = l.a == p ? l.b : l.a;
        if (!l.active)
            continue;
        if (local(other))
            push_exit(m, p, other, reason);
        else
            say(m, "> EXIT %c %c %s", p, other, reason);
    }
    for (int i = 0; i < m->monitors_len; i++) {
        m_monitor mon = m->monitors[i];
        if (mon.watcher != p && mon.target != p)
            continue;
        m->monitors[i--] = m->monitors[--m->monitors_len];
        if (mon.watcher == p)
            demonitored(m, &mon);
        else
            down(m, &mon, reason);
    }
    for (int i = 0; i < m->aliases_len; i++)
        if (m->aliases[i].owner == p)
            m->aliases[i--] = m->aliases[--m->aliases_len];
}

static void exit_signal(model *m, char from, char to, const char *reason, bool link) {
    if (!alive(m, to))
        return;
    if (!link && strcmp(reason, "kill") == 0) {
        say(m, "%c killed killed", to);
        dies(m, to, "killed");
    } else if (m->trap[to - 'A']) {
        say(m, "%c: EXIT %c %s", to, from, reason);
    } else if (strcmp(reason, "normal") != 0 || (!link && from == to)) {
        say(m, "%c killed %s", to, reason);
        dies(m, to, reason);
    }
}

static void drain(model *m) {
    for (int i = 0; i < m->queue_len; i++) {
        m_exit e = m->queue[i];
        exit_signal(m, e.from, e.to, e.reason, true);
    }
    m->queue_len = 0;
}

static m_link *find_link(model *m, char a, char b) {
    for (int i = 0; i < m->links_len; i++) {
        m_link *l = &m->links[i];
        if ((l->a == a && l->b == b) || (l->a == b && l->b == a))
            return l;
    }
    return NULL;
}

static void drop_link(model *m, m_link *l) { *l = m->links[--m->links_len]; }

static void add_link(model *m, char a, char b) {
    assert_true(m->links_len < MAX);
    m->links[m->links_len++] = (m_link){a, b, true, 0};
}

/* ---- operations, on both ---- */

typedef struct game {
    world w;
    model m;
    np_rng rng;
} game;

static char any_local(game *g) { return (char)('A' + np_rng_below(&g->rng, LOCALS)); }
static char any_remote(game *g) { return (char)('U' + np_rng_below(&g->rng, 6)); }
static char any(game *g) { return np_rng_below(&g->rng, 2) ? any_local(g) : any_remote(g); }
static const char *any_reason(game *g) { return REASONS[np_rng_below(&g->rng, 4)]; }
static np_node_id id_of(game *g, char p) { return node_of(p) == 0 ? g->w.r1 : g->w.r2; }

static np_ref own_ref(game *g, uint32_t n) {
    np_ref ref = np_procs_make_ref(g->w.procs);
    g->w.procs->ref_last--;
    ref.id[0] = n;
    return ref;
}

static void op_spawn(game *g) {
    char p = any_local(g);
    if (g->m.alive[p - 'A'])
        return;
    world_proc *proc = &g->w.proc[p - 'A'];
    np_pid old = proc->pid;
    assert_int_equal(np_procs_spawn(g->w.procs, &world_class, proc, &proc->pid), 0);
    assert_false(np_pid_eq(&old, &proc->pid));
    assert_false(np_procs_alive(g->w.procs, &old));
    g->m.alive[p - 'A'] = true;
}

static void op_exit(game *g) {
    char p = any_local(g);
    const char *reason = any_reason(g);
    np_pid pid = world_pid(&g->w, p);
    if (g->m.alive[p - 'A'])
        dies(&g->m, p, reason);
    np_procs_exit(g->w.procs, &pid, world_atom(reason));
}

static void op_exit2(game *g) {
    char from = any(g), to = any(g);
    const char *reason = any_reason(g);
    np_pid f = world_pid(&g->w, from), t = world_pid(&g->w, to);
    if (!local(from)) {
        if (!local(to))
            return;
        exit_signal(&g->m, from, to, reason, false);
        assert_int_equal(world_signal(&g->w, NP_SIGNAL_EXIT2, from, to, NULL, NULL, 0, reason), 0);
        return;
    }
    if (local(to))
        exit_signal(&g->m, from, to, reason, false);
    else
        say(&g->m, "> EXIT2 %c %c %s", from, to, reason);
    np_procs_exit2(g->w.procs, &f, &t, world_atom(reason));
}

static void op_trap(game *g) {
    char p = any_local(g);
    bool on = np_rng_below(&g->rng, 2);
    np_pid pid = world_pid(&g->w, p);
    assert_int_equal(np_procs_set_trap_exit(g->w.procs, &pid, on), g->m.alive[p - 'A'] ? 0 : NP_ENOPROC);
    if (g->m.alive[p - 'A'])
        g->m.trap[p - 'A'] = on;
}

static void op_link(game *g) {
    char a = any_local(g), b = any(g);
    model *m = &g->m;
    np_pid self = world_pid(&g->w, a), pid = world_pid(&g->w, b);
    m_link *l = find_link(m, a, b);
    int rc = 0;
    if (!alive(m, a)) {
        rc = NP_ENOPROC;
    } else if (a != b && (l == NULL || !l->active)) {
        if (l != NULL)
            drop_link(m, l);
        if (!local(b))
            say(m, "> LINK %c %c", a, b);
        if (!local(b) && m->down[node_of(b)])
            push_exit(m, b, a, "noconnection");
        else if (!alive(m, b))
            push_exit(m, b, a, "noproc");
        else
            add_link(m, a, b);
    }
    assert_int_equal(np_procs_link(g->w.procs, &self, &pid), rc);
}

static void op_unlink(game *g) {
    char a = any_local(g), b = any(g);
    model *m = &g->m;
    if (m->links_len > 0 && np_rng_below(&g->rng, 2)) {
        m_link *some = &m->links[np_rng_below(&g->rng, (uint64_t)m->links_len)];
        a = some->a;
        b = some->b;
    }
    np_pid self = world_pid(&g->w, a), pid = world_pid(&g->w, b);
    m_link *l = find_link(m, a, b);
    if (alive(m, a) && l != NULL && l->active) {
        if (local(b)) {
            drop_link(m, l);
        } else {
            l->active = false;
            l->id = ++m->unlink_last;
            say(m, "> UNLINK_ID %c %c %u", a, b, (unsigned)l->id);
            if (m->down[node_of(b)])
                drop_link(m, l);
        }
    }
    assert_int_equal(np_procs_unlink(g->w.procs, &self, &pid), alive(m, a) ? 0 : NP_ENOPROC);
}

static void remember(game *g, char watcher, char target, const char *name, bool r1, uint32_t ref) {
    model *m = &g->m;
    assert_true(m->monitors_len < MAX);
    m_monitor *mon = &m->monitors[m->monitors_len++];
    *mon = (m_monitor){.watcher = watcher, .target = target, .r1 = r1, .ref = ref};
    snprintf(mon->name, sizeof mon->name, "%s", name);
}

static void op_monitor(game *g) {
    char a = any_local(g), b = any(g);
    model *m = &g->m;
    np_pid self = world_pid(&g->w, a), pid = world_pid(&g->w, b);
    np_ref ref;
    int rc = np_procs_monitor(g->w.procs, &self, &pid, &ref);
    m->refs++;
    assert_int_equal(ref.id[0], m->refs);
    assert_int_equal(rc, alive(m, a) ? 0 : NP_ENOPROC);
    if (rc < 0)
        return;
    remember(g, a, b, "", false, m->refs);
    m_monitor *mon = &m->monitors[m->monitors_len - 1];
    const char *gone = NULL;
    if (!local(b)) {
        say(m, "> MONITOR %c %c %u", a, b, m->refs);
        gone = m->down[node_of(b)] ? "noconnection" : NULL;
    } else if (!alive(m, b)) {
        gone = "noproc";
    }
    if (gone != NULL) {
        m->monitors_len--;
        down(m, mon, gone);
    }
}

static void op_monitor_name(game *g) {
    char a = any_local(g);
    model *m = &g->m;
    uint64_t where = np_rng_below(&g->rng, 3), which = np_rng_below(&g->rng, 3);
    np_node_id node = where == 0 ? g->w.self : where == 1 ? g->w.r1 : g->w.r2;
    np_pid self = world_pid(&g->w, a);
    np_ref ref;
    int rc = np_procs_monitor_name(g->w.procs, &self, node, NAMES[which], strlen(NAMES[which]), &ref);
    m->refs++;
    assert_int_equal(rc, alive(m, a) ? 0 : NP_ENOPROC);
    if (rc < 0)
        return;
    char target = where > 0 ? '_' : m->names[which] != 0 ? m->names[which] : 'A';
    remember(g, a, target, NAMES[which], where == 1, m->refs);
    m_monitor *mon = &m->monitors[m->monitors_len - 1];
    const char *gone = NULL;
    if (where > 0) {
        say(m, "> MONITOR %c %s@%s %u", a, NAMES[which], where == 1 ? "r1" : "r2", m->refs);
        gone = m->down[where - 1] ? "noconnection" : NULL;
    } else if (m->names[which] == 0) {
        gone = "noproc";
    }
    if (gone != NULL) {
        m->monitors_len--;
        down(m, mon, gone);
    }
}

static void op_demonitor(game *g) {
    model *m = &g->m;
    if (m->monitors_len == 0)
        return;
    int i = (int)np_rng_below(&g->rng, (uint64_t)m->monitors_len);
    m_monitor mon = m->monitors[i];
    np_pid watcher = world_pid(&g->w, mon.watcher);
    m->monitors[i] = m->monitors[--m->monitors_len];
    if (!local(mon.watcher)) {
        np_ref ref = world_remote_ref(watcher.node, mon.ref);
        assert_int_equal(world_signal(&g->w, NP_SIGNAL_DEMONITOR, mon.watcher, mon.name[0] ? 0 : mon.target,
                                      mon.name[0] ? mon.name : NULL, &ref, 0, NULL),
                         0);
        return;
    }
    np_ref ref = own_ref(g, mon.ref);
    demonitored(m, &mon);
    forget_alias(m, mon.watcher, mon.ref);
    assert_int_equal(np_procs_demonitor(g->w.procs, &watcher, &ref), 0);
    assert_int_equal(np_procs_demonitor(g->w.procs, &watcher, &ref), NP_ENOENT);
}

static void op_watched(game *g) {
    model *m = &g->m;
    char x = any_remote(g), a = any_local(g);
    uint64_t which = np_rng_below(&g->rng, 6);
    const char *name = which < 3 ? NAMES[which] : NULL;
    char target = name == NULL ? a : m->names[which];
    np_ref ref = world_remote_ref(id_of(g, x), ++m->remote_refs);
    if (target == 0 || !alive(m, target)) {
        if (name != NULL)
            say(m, "> DOWN %s %c %u noproc", name, x, m->remote_refs);
        else
            say(m, "> DOWN %c %c %u noproc", target, x, m->remote_refs);
    } else {
        remember(g, x, target, name == NULL ? "" : name, false, m->remote_refs);
    }
    assert_int_equal(world_signal(&g->w, NP_SIGNAL_MONITOR, x, name == NULL ? a : 0, name, &ref, 0, NULL), 0);
}

/* A DOWN for one of our monitors elsewhere, or for one that nobody has. */
static void op_down(game *g) {
    model *m = &g->m;
    const char *reason = any_reason(g);
    for (int i = 0; i < m->monitors_len; i++) {
        m_monitor mon = m->monitors[i];
        if (!local(mon.watcher) || local(mon.target) || np_rng_below(&g->rng, 2))
            continue;
        np_ref ref = own_ref(g, mon.ref);
        m->monitors[i] = m->monitors[--m->monitors_len];
        down(m, &mon, reason);
        assert_int_equal(world_signal(&g->w, NP_SIGNAL_DOWN, mon.target == '_' ? 0 : mon.target, mon.watcher,
                                      mon.name[0] ? mon.name : NULL, &ref, 0, reason),
                         0);
        return;
    }
    np_ref ref = own_ref(g, 777777);
    assert_int_equal(world_signal(&g->w, NP_SIGNAL_DOWN, any_remote(g), any_local(g), NULL, &ref, 0, reason), 0);
}

static void op_link_signal(game *g) {
    model *m = &g->m;
    char x = any_remote(g), a = any_local(g);
    m_link *some = m->links_len > 0 ? &m->links[np_rng_below(&g->rng, (uint64_t)m->links_len)] : NULL;
    if (some != NULL && !local(some->b) && np_rng_below(&g->rng, 2)) { /* mostly there is no link between any two */
        a = some->a;
        x = some->b;
    }
    m_link *l = find_link(m, a, x);
    uint64_t id = 0;
    const char *reason = NULL;
    np_signal_kind kinds[] = {NP_SIGNAL_LINK, NP_SIGNAL_LINK,          NP_SIGNAL_UNLINK,
                              NP_SIGNAL_EXIT, NP_SIGNAL_UNLINK_ID_ACK, NP_SIGNAL_UNLINK_ID};
    np_signal_kind kind = kinds[np_rng_below(&g->rng, 6)];
    switch (kind) {
    case NP_SIGNAL_LINK:
        if (l == NULL && alive(m, a))
            add_link(m, a, x);
        else if (l == NULL)
            say(m, "> EXIT %c %c noproc", a, x);
        break;
    case NP_SIGNAL_UNLINK_ID:
        id = 1 + np_rng_below(&g->rng, 9);
        say(m, "> UNLINK_ID_ACK %c %c %u", a, x, (unsigned)id); /* fall through */
    case NP_SIGNAL_UNLINK:
        if (l != NULL && l->active)
            drop_link(m, l);
        break;
    case NP_SIGNAL_UNLINK_ID_ACK:
        id = l != NULL && np_rng_below(&g->rng, 4) ? l->id : 99999;
        id = id == 0 ? 99999 : id;
        if (l != NULL && !l->active && l->id == id)
            drop_link(m, l);
        break;
    default:
        reason = any_reason(g);
        if (l != NULL && l->active) {
            drop_link(m, l);
            exit_signal(m, x, a, reason, true);
        }
    }
    assert_int_equal(world_signal(&g->w, kind, x, a, NULL, NULL, id, reason), 0);
}

static void op_name(game *g) {
    model *m = &g->m;
    char a = any_local(g);
    uint64_t which = np_rng_below(&g->rng, 3);
    const char *name = NAMES[which];
    np_pid pid = world_pid(&g->w, a), found;
    if (np_rng_below(&g->rng, 3) == 0) {
        assert_int_equal(np_procs_unregister(g->w.procs, name, strlen(name)), m->names[which] ? 0 : NP_ENOENT);
        m->names[which] = 0;
    } else {
        int rc = !alive(m, a) ? NP_ENOPROC : m->names[which] ? NP_EEXIST : 0;
        assert_int_equal(np_procs_register(g->w.procs, &pid, name, strlen(name)), rc);
        if (rc == 0)
            m->names[which] = a;
    }
    for (int i = 0; i < 3; i++) {
        int rc = np_procs_whereis(g->w.procs, NAMES[i], strlen(NAMES[i]), &found);
        assert_int_equal(rc, m->names[i] ? 0 : NP_ENOENT);
        pid = rc == 0 ? world_pid(&g->w, m->names[i]) : found;
        assert_true(np_pid_eq(&pid, &found));
    }
}

static void op_alias(game *g) {
    model *m = &g->m;
    if (np_rng_below(&g->rng, 2) == 0 && m->monitors_len > 0) {
        m_monitor *mon = &m->monitors[np_rng_below(&g->rng, (uint64_t)m->monitors_len)];
        bool once = np_rng_below(&g->rng, 2);
        for (int i = 0; i < m->aliases_len; i++)
            if (m->aliases[i].ref == mon->ref)
                return;
        if (!local(mon->watcher) || m->aliases_len == MAX)
            return;
        np_pid pid = world_pid(&g->w, mon->watcher);
        np_ref ref = own_ref(g, mon->ref);
        assert_int_equal(np_procs_alias(g->w.procs, &pid, &ref, once), 0);
        m->aliases[m->aliases_len++] = (m_alias){mon->watcher, mon->ref, once};
    } else if (m->aliases_len > 0) {
        int i = (int)np_rng_below(&g->rng, (uint64_t)m->aliases_len);
        m_alias alias = m->aliases[i];
        np_ref ref = own_ref(g, alias.ref);
        np_pid pid = {0}, expected = world_pid(&g->w, alias.owner);
        if (alias.once) {
            m->aliases[i] = m->aliases[--m->aliases_len];
            for (i = 0; i < m->monitors_len; i++) {
                m_monitor mon = m->monitors[i];
                if (mon.watcher != alias.owner || mon.ref != alias.ref)
                    continue;
                m->monitors[i--] = m->monitors[--m->monitors_len];
                demonitored(m, &mon);
            }
        }
        assert_int_equal(np_procs_alias_take(g->w.procs, &ref, &pid), 0);
        assert_true(np_pid_eq(&pid, &expected));
    }
}

static void op_node(game *g) {
    model *m = &g->m;
    int node = (int)np_rng_below(&g->rng, 2);
    m->down[node] = !m->down[node];
    g->w.down1 = m->down[0];
    g->w.down2 = m->down[1];
    if (!m->down[node])
        return;
    for (int i = 0; i < m->links_len; i++) {
        m_link l = m->links[i];
        if (local(l.b) || node_of(l.b) != node)
            continue;
        m->links[i--] = m->links[--m->links_len];
        if (l.active)
            push_exit(m, l.b, l.a, "noconnection");
    }
    for (int i = 0; i < m->monitors_len; i++) {
        m_monitor mon = m->monitors[i];
        bool watcher = !local(mon.watcher) && node_of(mon.watcher) == node;
        bool target = mon.target == '_' ? mon.r1 == (node == 0) : !local(mon.target) && node_of(mon.target) == node;
        if (!watcher && !target)
            continue;
        m->monitors[i--] = m->monitors[--m->monitors_len];
        if (target)
            down(m, &mon, "noconnection");
    }
    np_procs_node_down(g->w.procs, node == 0 ? g->w.r1 : g->w.r2);
}

static void (*const OPS[])(game *) = {
    op_spawn,       op_spawn,       op_spawn,   op_exit,         op_exit2,     op_trap,    op_link,    op_link,
    op_link,        op_unlink,      op_monitor, op_monitor_name, op_demonitor, op_watched, op_watched, op_down,
    op_link_signal, op_link_signal, op_name,    op_name,         op_alias,     op_alias,   op_node,
};

/* ---- comparing ---- */

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

/*
 * What a process is told in the step in which it dies depends on the order of the signals, which the model does not
 * know: left out.
 */
static int without_the_dying(const game *g, char lines[LINES][LINE], int len) {
    int kept = 0;
    for (int i = 0; i < len; i++)
        if (lines[i][1] != ':' || g->m.alive[lines[i][0] - 'A'])
            memmove(lines[kept++], lines[i], LINE);
    return kept;
}

static void compare(game *g, uint64_t seed, int step) {
    static char lines[LINES][LINE];
    int len = 0;
    char *log = strdup(world_log(&g->w)), *rest = log;
    for (char *line; rest != NULL && *rest != 0;) {
        line = rest;
        rest = strstr(rest, "; ");
        if (rest != NULL) {
            *rest = 0;
            rest += 2;
        }
        assert_true(len < LINES);
        snprintf(lines[len++], LINE, "%s", line);
    }
    free(log);
    np_buf_clear(&g->w.log, SIZE_MAX);
    len = without_the_dying(g, lines, len);
    g->m.lines_len = without_the_dying(g, g->m.lines, g->m.lines_len);
    qsort(lines, (size_t)len, LINE, by_text);
    qsort(g->m.lines, (size_t)g->m.lines_len, LINE, by_text);
    bool same = len == g->m.lines_len;
    for (int i = 0; same && i < len; i++)
        same = strcmp(lines[i], g->m.lines[i]) == 0;
    if (!same) {
        print_error("seed %llu step %d\n", (unsigned long long)seed, step);
        for (int i = 0; i < g->m.lines_len; i++)
            print_error("  model: %s\n", g->m.lines[i]);
        for (int i = 0; i < len; i++)
            print_error("  table: %s\n", lines[i]);
        fail();
    }
    g->m.lines_len = 0;

    np_procs_totals totals;
    np_procs_get_totals(g->w.procs, &totals);
    int live = 0;
    for (int i = 0; i < LOCALS; i++)
        live += g->m.alive[i];
    assert_int_equal(totals.processes, live);
    assert_int_equal(totals.links, g->m.links_len);
    assert_int_equal(totals.monitors, g->m.monitors_len);
    assert_int_equal(totals.aliases, g->m.aliases_len);
}

static void play(uint64_t seed) {
    game *g = calloc(1, sizeof *g);
    assert_non_null(g);
    procs_world_init(&g->w);
    np_rng_seed(&g->rng, seed);
    for (int i = 0; i < LOCALS; i++) {
        world_spawn(&g->w);
        g->m.alive[i] = true;
    }
    for (int step = 0; step < STEPS; step++) {
        OPS[np_rng_below(&g->rng, NP_ARRAY_LEN(OPS))](g);
        np_procs_run(g->w.procs);
        drain(&g->m);
        compare(g, seed, step);
    }
    g->w.down1 = g->w.down2 = false;
    procs_world_fini(&g->w);
    free(g);
}

static void table_agrees_with_model(void **state) {
    (void)state;
    const char *seed = getenv("NP_SEED"), *rounds = getenv("NP_ROUNDS");
    if (seed != NULL) {
        play(strtoull(seed, NULL, 10));
        return;
    }
    uint64_t count = rounds != NULL ? strtoull(rounds, NULL, 10) : 200;
    for (uint64_t i = 1; i <= count; i++)
        play(i);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(table_agrees_with_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
