/* procs_world.c - see procs_world.h. */
#include "procs_world.h"

#include "proc/internal.h"
#include "term/names.h"
#include "term/out.h"
#include "term/print.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const SIGNALS[] = {"MONITOR",   "DEMONITOR",     "DOWN", "LINK", "UNLINK",
                                      "UNLINK_ID", "UNLINK_ID_ACK", "EXIT", "EXIT2"};

/* ---- names of things ---- */

np_pid world_pid(const world *w, char name) {
    if (name >= 'U')
        return (np_pid){name >= 'X' ? w->r1 : w->r2, (uint32_t)name, 0, WORLD_REMOTE_CREATION};
    return w->proc[name - 'A'].pid;
}

static char letter(const world *w, const np_pid *pid) {
    if (pid->node == w->r1 || pid->node == w->r2)
        return pid->num == 0 ? '-' : (char)pid->num;
    for (uint32_t i = 0; i < w->proc_count; i++)
        if (np_pid_eq(&w->proc[i].pid, pid))
            return w->proc[i].name;
    return '?';
}

np_in world_atom(const char *name) {
    static uint8_t terms[8][64];
    static int next;
    uint8_t *to = terms[next++ % 8];
    to[0] = 119;
    to[1] = (uint8_t)strlen(name);
    memcpy(to + 2, name, to[1]);
    return (np_in){to, 0, 2 + (size_t)to[1]};
}

np_ref world_remote_ref(np_node_id node, uint32_t n) {
    return (np_ref){.node = node, .creation = WORLD_REMOTE_CREATION, .len = 3, .id = {n, 1, 2}};
}

static const char *term_text(np_in term) {
    static char text[256];
    return np_term_text(&term, text, sizeof text);
}

/* ---- the recorder ---- */

static void begin_line(world *w) {
    if (np_buf_len(&w->log) > 0)
        np_buf_append(&w->log, "; ", 2);
}

static int on_signal(void *arg, const np_signal *s) {
    world *w = arg;
    assert_int_not_equal(s->node, w->self);
    assert_int_equal(s->node, s->to.node);
    begin_line(w);
    np_buf_printf(&w->log, "> %s ", SIGNALS[s->kind]);
    bool named_from = s->kind == NP_SIGNAL_DOWN && s->name.len > 0;
    if (named_from)
        np_buf_printf(&w->log, "%.*s ", (int)s->name.len, s->name.data);
    else
        np_buf_printf(&w->log, "%c ", letter(w, &s->from));
    if (s->name.len > 0 && !named_from)
        np_buf_printf(&w->log, "%.*s@%s", (int)s->name.len, s->name.data, s->node == w->r1 ? "r1" : "r2");
    else
        np_buf_printf(&w->log, "%c", letter(w, &s->to));
    if (s->kind <= NP_SIGNAL_DOWN)
        np_buf_printf(&w->log, " %u", s->ref.id[0]);
    if (s->id != 0)
        np_buf_printf(&w->log, " %u", (unsigned)s->id);
    if (!np_in_at_end(&s->reason))
        np_buf_printf(&w->log, " %s", term_text(s->reason));
    if (w->on_signal != NULL)
        w->on_signal(w, s);
    if (w->io_error != 0)
        return w->io_error;
    return (s->node == w->r1 ? w->down1 : w->down2) ? NP_ENOCONN : 0;
}

static void on_wake(void *arg) { ((world *)arg)->woken++; }

static void on_message(void *target, const np_pid *self, np_in message) {
    world_proc *proc = target;
    world *w = proc->w;
    np_pid pid;
    np_ref ref;
    assert_true(np_pid_eq(self, &proc->pid));
    assert_true(np_procs_alive(w->procs, self));
    begin_line(w);
    uint32_t arity;
    assert_int_equal(np_in_tuple(&message, &arity), 0);
    if (arity == 3) {
        assert_int_equal(np_in_match(&message, "EXIT"), 0);
        assert_int_equal(np_in_pid(&message, &pid), 0);
        np_buf_printf(&w->log, "%c: EXIT %c ", proc->name, letter(w, &pid));
    } else {
        char name[64], node[64];
        assert_int_equal(arity, 5);
        assert_int_equal(np_in_match(&message, "DOWN"), 0);
        assert_int_equal(np_in_ref(&message, &ref), 0);
        assert_int_equal(np_in_match(&message, "process"), 0);
        np_buf_printf(&w->log, "%c: DOWN %u ", proc->name, ref.id[0]);
        if (np_in_pid(&message, &pid) == 0) {
            np_buf_printf(&w->log, "%c ", letter(w, &pid));
        } else {
            assert_int_equal(np_in_tuple_of(&message, 2), 0);
            assert_true(np_in_atom(&message, name, sizeof name) > 0);
            assert_true(np_in_atom(&message, node, sizeof node) > 0);
            np_buf_printf(&w->log, "{%s,%s} ", name, node);
        }
    }
    np_in reason;
    assert_int_equal(np_in_term(&message, &reason), 0);
    assert_true(np_in_at_end(&message));
    np_buf_printf(&w->log, "%s", term_text(reason));
    if (proc->on_message != NULL)
        proc->on_message(w, proc);
}

static void on_killed(void *target, const np_pid *self, np_in reason) {
    world_proc *proc = target;
    assert_true(np_pid_eq(self, &proc->pid));
    assert_false(np_procs_alive(proc->w->procs, self));
    begin_line(proc->w);
    np_buf_printf(&proc->w->log, "%c killed %s", proc->name, term_text(reason));
}

const np_proc_class world_class = {"test", on_message, on_killed};

/* ---- the world ---- */

void procs_world_init(world *w) {
    memset(w, 0, sizeof *w);
    w->self = np_name_id("n@h");
    w->r1 = np_name_id("r1@h");
    w->r2 = np_name_id("r2@h");
    np_procs_io io = {.arg = w, .signal = on_signal, .wake = on_wake};
    w->procs = np_procs_new(&io, w->self, WORLD_CREATION);
    assert_non_null(w->procs);
    np_buf_init(&w->log);
}

void procs_world_fini(world *w) {
    np_procs_totals totals;
    w->on_signal = NULL;
    for (uint32_t i = 0; i < w->proc_count; i++) {
        w->proc[i].on_message = NULL;
        np_procs_exit(w->procs, &w->proc[i].pid, world_atom("bye"));
    }
    np_procs_node_down(w->procs, w->r1);
    np_procs_node_down(w->procs, w->r2);
    np_procs_get_totals(w->procs, &totals);
    assert_int_equal(totals.processes, 0);
    assert_int_equal(totals.names, 0);
    assert_int_equal(totals.monitors, 0);
    assert_int_equal(totals.links, 0);
    assert_int_equal(totals.aliases, 0);
    assert_false(np_procs_pending(w->procs));
    np_procs_destroy(&w->procs);
    assert_null(w->procs);
    np_buf_fini(&w->log);
}

world_proc *world_spawn(world *w) {
    assert_true(w->proc_count < 20); /* up to 'T' */
    world_proc *proc = &w->proc[w->proc_count];
    proc->w = w;
    proc->name = (char)('A' + w->proc_count);
    assert_int_equal(np_procs_spawn(w->procs, &world_class, proc, &proc->pid), 0);
    w->proc_count++;
    return proc;
}

int world_signal(world *w, np_signal_kind kind, char from, char to, const char *name, const np_ref *ref, uint64_t id,
                 const char *reason) {
    np_signal signal = {.kind = kind, .id = id};
    if (from != 0) {
        signal.from = world_pid(w, from);
        signal.node = signal.from.node;
    }
    if (to != 0)
        signal.to = world_pid(w, to);
    if (name != NULL)
        signal.name = (np_str){name, strlen(name)};
    if (ref != NULL)
        signal.ref = *ref;
    if (reason != NULL)
        signal.reason = world_atom(reason);
    return np_procs_signal(w->procs, &signal);
}

const char *world_log(world *w) {
    np_buf_append_u8(&w->log, 0);
    np_buf_truncate(&w->log, np_buf_len(&w->log) - 1);
    return (const char *)np_buf_head(&w->log);
}

void world_expect_at(world *w, const char *text, const char *file, int line) {
    const char *log = world_log(w);
    if (strcmp(log, text) != 0) {
        print_error("expected: %s\n  actual: %s\n", text, log);
        _fail(file, line);
    }
    np_buf_clear(&w->log, SIZE_MAX);
}

/* ---- shorthand ---- */

void world_exits(world *w, char name, const char *reason) {
    np_pid pid = world_pid(w, name);
    np_procs_exit(w->procs, &pid, world_atom(reason));
}

void world_exit2(world *w, char from, char to, const char *reason) {
    np_pid f = world_pid(w, from), t = world_pid(w, to);
    np_procs_exit2(w->procs, &f, &t, world_atom(reason));
}

void world_traps(world *w, char name) {
    np_pid pid = world_pid(w, name);
    assert_int_equal(np_procs_set_trap_exit(w->procs, &pid, true), 0);
}

void world_links(world *w, char a, char b) {
    np_pid self = world_pid(w, a), pid = world_pid(w, b);
    assert_int_equal(np_procs_link(w->procs, &self, &pid), 0);
}

void world_unlinks(world *w, char a, char b) {
    np_pid self = world_pid(w, a), pid = world_pid(w, b);
    assert_int_equal(np_procs_unlink(w->procs, &self, &pid), 0);
}

np_ref world_monitors(world *w, char a, char b) {
    np_pid self = world_pid(w, a), pid = world_pid(w, b);
    np_ref ref;
    assert_int_equal(np_procs_monitor(w->procs, &self, &pid, &ref), 0);
    return ref;
}

bool world_alive(world *w, char name) {
    np_pid pid = world_pid(w, name);
    return np_procs_alive(w->procs, &pid);
}

void world_reg(world *w, char name, const char *as) {
    np_pid pid = world_pid(w, name);
    assert_int_equal(np_procs_register(w->procs, &pid, as, strlen(as)), 0);
}

np_proc_info world_info(world *w, char name) {
    np_pid pid = world_pid(w, name);
    np_proc_info i;
    assert_int_equal(np_procs_info(w->procs, &pid, &i), 0);
    return i;
}

/* ---- a fixture ---- */

int world_setup(void **state) {
    world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    procs_world_init(w);
    for (int i = 0; i < 4; i++)
        world_spawn(w); /* A B C D */
    *state = w;
    return 0;
}

int world_teardown(void **state) {
    world *w = *state;
    procs_world_fini(w);
    free(w);
    return 0;
}
