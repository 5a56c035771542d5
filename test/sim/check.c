/*
 * check.c - what must hold when all members are up and connected and nothing is left to do. See sim.h.
 *
 *   1. A name belongs to one process in the whole cluster: the nodes' tables of their own processes are disjoint.
 *   2. A live process has exactly what it registered and did not unregister: who lost a conflict is dead, nobody lost
 *      silently. No table of a node has a dead process of its own.
 *   3. Every view is the union of those tables: the same pid, metadata and time everywhere, nothing missing, nothing
 *      more, so no dead process either.
 *
 * Native members must satisfy this whoever they are with. What syn itself does not guarantee is tolerated, counted and
 * nothing else:
 *
 *   - 3.3.0 does not tell others of its loser in a conflict: a dead process of a 3.3.0 member may stay in any view.
 *   - 3.3.0's ack_sync and sync_* may pass each other, which a BEAM member does not expect: its view of a 3.3.0 member
 *     may be wrong. (A native member's may not: it keeps a journal.)
 *   - Who registers a process of another node inserts the answer in its own tables, past what its scope process has
 *     still to read, and the owner leaves it out of the broadcast: a view may be wrong in names that were touched so
 *     from the viewing node, by old news that arrive after the answer. (It may
 *     even overwrite a name of its own, which nobody hears of.)
 *   - A view keeps one claim for a name. Of two owners that do not know of each other yet (a split that not all see, or
 *     one that just healed) it takes the later; when that one unregisters before the other has heard of it and given
 *     up, the other has the name and the view has nothing. Native members do as syn does. So a name that two others
 *     claimed since all was quiet last may be missing.
 *   - A scope process that dies right after its discover went to another new one is monitored too late: the noproc
 *     comes behind the ack_sync of its successor, which is forgotten then. And a helper process may still send what it
 *     was given before a connection was cut, a whole ack_sync even, over the next one. Native members see to both; of
 *     two BEAM members one may miss what the other has, or keep what it had. So those are connected anew, once all is
 *     quiet, where a scope process was killed or the connection was cut.
 *   - A mailbox may hold messages of a connection that was cut, an ack_sync even, and a BEAM member takes them after
 *     the next one is up: its view of that member may be wrong until the connection after that.
 *   - Three owners of a name can beat each other for ever: who wins takes a new time and says so, which wins against
 *     what the others said before they heard of it. (Native members say so once a second.) If two BEAM members are
 *     among them such a storm is counted and that seed's history ends.
 */
#include "sim.h"

#include "term/ids.h"

#include <string.h>

typedef struct view {
    entry entries[SIM_TABLE];
    int count;
} view;

static view views[SIM_MEMBERS][SIM_KINDS];

static const entry *find(const view *v, int key, const np_pid *pid) {
    for (int i = 0; i < v->count; i++) {
        if (v->entries[i].key == key && np_pid_eq(&v->entries[i].pid, pid))
            return &v->entries[i];
    }
    return NULL;
}

static void look(sim *s) {
    for (int m = 0; m < s->count; m++) {
        for (int k = 0; k < SIM_KINDS; k++) {
            view *v = &views[m][k];
            member *in = &s->members[m];
            v->count = in->native != NULL ? native_table(in->native, k, v->entries, SIM_TABLE)
                                          : model_table(in->model[k], v->entries, SIM_TABLE);
        }
    }
}

/* 1 and 2 */
static void check_own(sim *s, int m, int k) {
    const view *v = &views[m][k];
    const member *in = &s->members[m];
    uint32_t touched = k == NP_SYN_REGISTRY ? s->remote_names[m] : s->remote_groups[m];
    for (int i = 0; i < in->process_count; i++) {
        const process *p = &in->processes[i];
        uint32_t has = 0, should = k == NP_SYN_REGISTRY ? p->names : p->groups;
        for (int e = 0; e < v->count; e++) {
            if (np_pid_eq(&v->entries[e].pid, &p->pid))
                has |= 1u << v->entries[e].key;
        }
        has &= ~touched;
        should &= ~touched;
        if (has != (p->alive ? should : 0))
            sim_fail(s, "%d/%d: %s (%s) has %x of %x", m, k, sim_pid(&p->pid), p->alive ? "alive" : "dead", has,
                     should);
    }
    for (int e = 0; e < v->count && k == NP_SYN_REGISTRY; e++) {
        const entry *mine = &v->entries[e];
        for (int other = 0; other < m && mine->pid.node == in->id; other++) {
            const view *theirs = &views[other][k];
            for (int i = 0; i < theirs->count; i++) {
                const entry *their = &theirs->entries[i];
                if (their->key == mine->key && their->pid.node == s->members[other].id)
                    sim_fail(s, "name %d is both %s and %s", mine->key, sim_pid(&mine->pid), sim_pid(&their->pid));
            }
        }
    }
}

static bool tolerable(sim *s, int m, int k, int key, const np_pid *pid, bool missing) {
    const member *viewer = &s->members[m];
    int owner = sim_index(s, pid->node);
    uint32_t touched = k == NP_SYN_REGISTRY ? s->remote_names[m] : s->remote_groups[m];
    uint32_t at_owner = k == NP_SYN_REGISTRY ? s->remote_names[owner] : s->remote_groups[owner];
    bool of_330 = s->members[owner].kind == MEMBER_330;
    if (((touched | at_owner) & (1u << key)) != 0)
        return true;
    if (s->late[m][owner])
        return true;
    if (missing && k == NP_SYN_REGISTRY && __builtin_popcount(s->heard[m][key]) > 1)
        return true;
    return of_330 && (viewer->kind != MEMBER_NATIVE || !sim_alive(s, pid));
}

static void differ(sim *s, int m, int k, const entry *e, const char *what) {
    if (tolerable(s, m, k, e->key, &e->pid, strcmp(what, "is missing") == 0)) {
        s->tolerated++;
        return;
    }
    sim_fail(s, "view %d/%d of key %d: %s %s (meta %d, time %llu)", m, k, e->key, sim_pid(&e->pid), what, e->meta,
             (unsigned long long)e->time_ns);
}

/* 3, for two members: everything that owner has of its own, and nothing else of it, is in the view of m. */
static void check_view(sim *s, int m, int owner, int k) {
    const view *v = &views[m][k], *own = &views[owner][k];
    np_node_id node = s->members[owner].id;
    for (int i = 0; i < own->count; i++) {
        const entry *e = &own->entries[i];
        if (e->pid.node != node)
            continue;
        const entry *seen = find(v, e->key, &e->pid);
        if (seen == NULL)
            differ(s, m, k, e, "is missing");
        else if (seen->meta != e->meta || seen->time_ns != e->time_ns)
            differ(s, m, k, seen, "is old");
    }
    for (int i = 0; i < v->count; i++) {
        const entry *e = &v->entries[i];
        if (e->pid.node == node && find(own, e->key, &e->pid) == NULL)
            differ(s, m, k, e, sim_alive(s, &e->pid) ? "does not have it" : "is dead");
    }
}

void sim_check(sim *s) {
    look(s);
    for (int k = 0; k < SIM_KINDS; k++) {
        for (int m = 0; m < s->count; m++) {
            check_own(s, m, k);
            for (int owner = 0; owner < s->count; owner++) {
                if (owner != m)
                    check_view(s, m, owner, k);
            }
        }
    }
}
