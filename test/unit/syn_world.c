/* syn_world.c - see syn_world.h. */
#include "syn_world.h"

#include "base/assert.h"
#include "parse.h"
#include "term/ids.h"
#include "term/names.h"
#include "term/print.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- what it says ---- */

static char *text_of(np_in in) {
    np_buf buf = NP_BUF_INIT;
    NP_ASSERT(np_term_print(&in, &buf, 1 << 20) == 0 && np_buf_append_u8(&buf, 0) == 0);
    char *text = strdup((const char *)np_buf_head(&buf));
    np_buf_fini(&buf);
    return text;
}

static char *text_of_pid(const np_pid *pid) {
    np_buf buf = NP_BUF_INIT;
    np_buf_printf(&buf, "#Pid<%s,%u,%u,%u>", np_name_text(pid->node), pid->num, pid->serial, pid->creation);
    np_buf_append_u8(&buf, 0);
    char *text = strdup((const char *)np_buf_head(&buf));
    np_buf_fini(&buf);
    return text;
}

static int say_send(void *arg, np_syn_scope *scope, np_node_id node, np_in message) {
    world *w = arg;
    if (node == w->deaf)
        return NP_EOVERLOAD;
    char *text = text_of(message);
    np_buf_printf(&w->said, "send %s %s %s\n", np_syn_scope_process(scope), np_name_text(node), text);
    free(text);
    return 0;
}

static int say_watch(void *arg, np_syn_scope *scope, np_node_id node, np_ref *ref) {
    world *w = arg;
    if (node == w->dead_at)
        return NP_ENOCONN;
    *ref = (np_ref){.node = w->self, .creation = 1, .len = 3, .id = {++w->refs}};
    w->ref[w->refs % 16] = *ref;
    np_buf_printf(&w->said, "watch %s %s\n", np_syn_scope_process(scope), np_name_text(node));
    return 0;
}

static bool is_alive(void *arg, const np_pid *pid) {
    world *w = arg;
    for (uint32_t i = 0; i < w->dead_count; i++) {
        if (np_pid_eq(&w->dead[i], pid))
            return false;
    }
    return pid->creation == 1 || pid->creation == 1234567890;
}

static void say_pid(world *w, const char *verb, const np_pid *pid, const char *rest) {
    char *text = text_of_pid(pid);
    np_buf_printf(&w->said, "%s %s%s%s\n", verb, text, *rest == 0 ? "" : " ", rest);
    free(text);
}

static void say_track(void *arg, np_syn_scope *scope, const np_pid *pid) {
    (void)scope;
    if (((world *)arg)->tracks)
        say_pid(arg, "track", pid, "");
}

static void say_untrack(void *arg, np_syn_scope *scope, const np_pid *pid) {
    (void)scope;
    if (((world *)arg)->tracks)
        say_pid(arg, "untrack", pid, "");
}

static void say_kill(void *arg, np_syn_scope *scope, const np_pid *pid, np_in reason) {
    world *w = arg;
    (void)scope;
    char *text = text_of(reason);
    say_pid(w, "kill", pid, text);
    free(text);
    if (np_pid_eq(&w->exits_too, pid))
        np_syn_exited(w->syn, pid, reason);
}

static void say_reply(void *arg, np_syn_scope *scope, np_in from, np_in reply) {
    world *w = arg;
    (void)scope;
    char *to = text_of(from), *text = text_of(reply);
    np_buf_printf(&w->said, "reply %s %s\n", to, text);
    free(to);
    free(text);
}

static void say_message(void *arg, const np_pid *to, np_in message) {
    char *text = text_of(message);
    say_pid(arg, "message", to, text);
    free(text);
}

static int say_evaluate(void *arg, np_syn_scope *scope, uint64_t id, np_node_id node, np_in fun, np_in args) {
    world *w = arg;
    (void)scope;
    if (w->no_evaluate)
        return NP_ENOTSUP;
    w->evaluate = id;
    char *f = text_of(fun), *a = text_of(args);
    np_buf_printf(&w->said, "evaluate %s %s %s\n", np_name_text(node), f, a);
    free(f);
    free(a);
    return 0;
}

static void say_disconnect(void *arg, np_node_id node, const char *why) {
    world *w = arg;
    (void)why;
    np_buf_printf(&w->said, "disconnect %s\n", np_name_text(node));
}

/* ---- life ---- */

world *syn_world_new(const char *self) {
    world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    w->self = np_name_id(self);
    w->a = np_name_id("a@h");
    w->b = np_name_id("b@h");
    np_syn_io io = {
        .arg = w,
        .send = say_send,
        .watch = say_watch,
        .alive = is_alive,
        .track = say_track,
        .untrack = say_untrack,
        .kill = say_kill,
        .reply = say_reply,
        .message = say_message,
        .evaluate = say_evaluate,
        .disconnect = say_disconnect,
    };
    w->syn = np_syn_new(&io, w->self);
    assert_non_null(w->syn);
    w->now_ms = 1000;
    w->now_ns = 1000000000;
    np_syn_clock(w->syn, w->now_ms, w->now_ns);
    return w;
}

int syn_world_setup(void **state) {
    world *w = syn_world_new("native@h");
    np_pid reg = {w->self, 1, 0, 1}, pg = {w->self, 2, 0, 1};
    assert_int_equal(np_syn_open(w->syn, NP_SYN_REGISTRY, "users", 5, &reg, w, &w->reg), 0);
    assert_int_equal(np_syn_open(w->syn, NP_SYN_PG, "users", 5, &pg, w, &w->pg), 0);
    *state = w;
    return 0;
}

void syn_world_free(world *w) {
    np_syn_destroy(&w->syn);
    assert_null(w->syn);
    np_buf_fini(&w->said);
    free(w);
}

int syn_world_teardown(void **state) {
    syn_world_free(*state);
    return 0;
}

void syn_world_time(world *w, uint64_t ms) {
    w->now_ms += ms;
    w->now_ns += ms * 1000000;
    np_syn_clock(w->syn, w->now_ms, w->now_ns);
}

/* ---- in ---- */

static np_buf *format_term(const char *format, va_list args) {
    static np_buf buf;
    char *text;
    assert_true(vasprintf(&text, format, args) >= 0);
    np_buf_fini(&buf);
    parse_to(&buf, text);
    free(text);
    return &buf;
}

np_in syn_world_info(np_syn_scope *scope, np_node_id from, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const np_buf *buf = format_term(format, args);
    va_end(args);
    np_in in = {np_buf_head(buf), 0, np_buf_len(buf)};
    np_syn_info(scope, from, in, NULL);
    return in;
}

void syn_world_call(np_syn_scope *scope, np_node_id from, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const np_buf *buf = format_term(format, args);
    va_end(args);
    np_syn_call(scope, from, parse("from"), (np_in){np_buf_head(buf), 0, np_buf_len(buf)});
}

void syn_world_run(world *w) {
    while (np_syn_run(w->syn))
        ;
}

void syn_world_join(world *w, np_node_id node, const char *names, const char *members) {
    np_syn_peer_up(w->syn, node);
    syn_world_info(w->reg, node, "{'3.0',ack_sync,#Pid<%s,1,0,1>,%s}", np_name_text(node), names);
    syn_world_info(w->pg, node, "{'3.0',ack_sync,#Pid<%s,2,0,1>,%s}", np_name_text(node), members);
    syn_world_run(w);
    syn_world_expect(w, NULL);
}

/* ---- out ---- */

/* Times as T, so that lines can be compared. */
static char *without_times(const char *text) {
    char *out = malloc(strlen(text) + 1), *to = out;
    while (*text != 0) {
        size_t digits = strspn(text, "0123456789");
        if (digits > 9 && strncmp(text, "1234567890", 10) != 0 && text[digits] != '>') {
            *to++ = 'T';
            text += digits;
        } else if (digits > 0) {
            memcpy(to, text, digits);
            to += digits;
            text += digits;
        } else {
            *to++ = *text++;
        }
    }
    *to = 0;
    return out;
}

void syn_world_expect_at(world *w, const char *expected, const char *file, int line) {
    assert_int_equal(np_buf_append_u8(&w->said, 0), 0);
    char *said = without_times((const char *)np_buf_head(&w->said));
    np_buf_clear(&w->said, 1 << 20);
    if (expected != NULL && strcmp(said, expected) != 0) {
        fprintf(stderr, "said:\n%sexpected:\n%s", said, expected);
        free(said);
        _fail(file, line);
        return;
    }
    free(said);
}

const char *syn_world_name(np_syn_scope *scope, const char *name) {
    static char buf[1000];
    np_pid pid;
    np_in meta;
    if (np_syn_lookup(scope, parse(name), &pid, &meta) < 0)
        return "none";
    char *p = text_of_pid(&pid), *m = text_of(meta);
    snprintf(buf, sizeof(buf), "%s %s", p, m);
    free(p);
    free(m);
    return buf;
}

typedef struct members {
    char *text[64];
    int count;
} members;

static void add_member(void *arg, const np_pid *pid, np_in meta) {
    members *m = arg;
    char *p = text_of_pid(pid), *t = text_of(meta);
    assert_true(m->count < 64 && asprintf(&m->text[m->count++], "%s:%s", p, t) > 0);
    free(p);
    free(t);
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

const char *syn_world_group(np_syn_scope *scope, const char *group) {
    static char buf[4000];
    members m = {.count = 0};
    size_t at = 0;
    uint32_t count = np_syn_members(scope, parse(group), false, add_member, &m);
    assert_int_equal(count, m.count);
    qsort(m.text, (size_t)m.count, sizeof(char *), by_text);
    buf[0] = 0;
    for (int i = 0; i < m.count; i++) {
        at += (size_t)snprintf(buf + at, sizeof(buf) - at, "%s%s", i == 0 ? "" : " ", m.text[i]);
        free(m.text[i]);
    }
    return buf;
}
