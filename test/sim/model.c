/*
 * model.c - one scope process of syn on a BEAM node, with its helper process, its tables and its mailbox. See sim.h.
 *
 * Written from the rules (protocol sheet, section 9), not from the machine under test, and as simply as can be: tables
 * are arrays, a message is handled in one go. What differs between versions:
 *
 *                                     3.3.0                3.4.1           main branch
 *   ack_sync and discover sent by     the scope process    the helper      the helper
 *   equal times in a conflict         keeps its own        higher pid      higher pid
 *   loser of a conflict               not told             sync_unregister sync_unregister
 *   ack_sync                          adds                 adds            is all there is
 *
 * Signals of one process stay in order, those of two need not: a 3.3.0 scope process's ack_sync may be large, in
 * fragments, and be overtaken by what the helper broadcasts (outbox).
 */
#include "sim.h"

#include "base/assert.h"
#include "term/ids.h"
#include "term/names.h"
#include "term/out.h"

#include <stdlib.h>
#include <string.h>

typedef enum mail_kind { MAIL_SIGNAL, MAIL_NODEUP, MAIL_DOWN, MAIL_EXIT, MAIL_SET, MAIL_UNSET } mail_kind;

typedef struct mail {
    struct mail *next;
    mail_kind kind;
    signal *signal;
    int member, key, meta;
    np_pid pid;
} mail;

/* A message for the helper, or for the outbox. */
typedef struct outgoing {
    struct outgoing *next;
    uint32_t members; /* bits */
    signal *signal;
} outgoing;

struct model {
    sim *s;
    int m, scope;
    member_kind version;
    np_pid self;
    bool in_map[SIM_MEMBERS];
    np_pid map[SIM_MEMBERS];
    struct {
        uint32_t ref;
        int member;
        np_pid pid;
    } monitors[256];
    int monitor_count;
    entry table[SIM_TABLE];
    int len;
    mail *mailbox, **mailbox_end;
    outgoing *helper, **helper_end;
    outgoing *outbox, **outbox_end;
};

/* ---- queues ---- */

static mail *mail_new(model *model, mail_kind kind) {
    mail *mail = calloc(1, sizeof(*mail));
    NP_ASSERT(mail != NULL);
    mail->kind = kind;
    *model->mailbox_end = mail;
    model->mailbox_end = &mail->next;
    return mail;
}

static mail *mail_pop(model *model) {
    mail *mail = model->mailbox;
    if (mail != NULL && (model->mailbox = mail->next) == NULL)
        model->mailbox_end = &model->mailbox;
    return mail;
}

static void mail_free(mail *mail) {
    if (mail->signal != NULL)
        sim_signal_free(mail->signal);
    free(mail);
}

static void outgoing_push(outgoing ***end, uint32_t members, signal *signal) {
    outgoing *out = calloc(1, sizeof(*out));
    NP_ASSERT(out != NULL);
    *out = (outgoing){NULL, members, signal};
    **end = out;
    *end = &out->next;
}

static void outgoing_send(model *model, outgoing *out) {
    for (int i = 0; i < model->s->count; i++) {
        if ((out->members & (1u << i)) == 0)
            continue;
        np_in bytes = {np_buf_head(&out->signal->bytes), 0, np_buf_len(&out->signal->bytes)};
        signal *copy = sim_signal(out->signal->kind, model->scope, &bytes);
        copy->pid = out->signal->pid;
        copy->ref = out->signal->ref;
        copy->caller = out->signal->caller;
        sim_send(model->s, model->m, i, copy);
    }
}

/* The first one goes out, or is lost. */
static bool outgoing_pop(model *model, outgoing **first, outgoing ***end, bool send) {
    outgoing *out = *first;
    if (out == NULL)
        return false;
    if (send)
        outgoing_send(model, out);
    if ((*first = out->next) == NULL)
        *end = first;
    sim_signal_free(out->signal);
    free(out);
    return true;
}

/* ---- sending ---- */

/* From the scope process itself. */
static void send_directly(model *model, int to, signal *signal, bool large) {
    bool slow = large && model->version == MEMBER_330 && !model->s->script && sim_chance(model->s, 30);
    outgoing_push(&model->outbox_end, 1u << to, signal);
    if (!slow && model->outbox->next == NULL)
        outgoing_pop(model, &model->outbox, &model->outbox_end, true);
}

static void send_to_node(model *model, int to, np_in message, bool large) {
    signal *signal = sim_signal(SIGNAL_MESSAGE, model->scope, &message);
    if (model->version == MEMBER_330)
        send_directly(model, to, signal, large);
    else
        outgoing_push(&model->helper_end, 1u << to, signal);
}

static void broadcast(model *model, np_in message, int exclude) {
    uint32_t members = 0;
    for (int i = 0; i < model->s->count; i++) {
        if (model->in_map[i] && i != exclude)
            members |= 1u << i;
    }
    outgoing_push(&model->helper_end, members, sim_signal(SIGNAL_MESSAGE, model->scope, &message));
}

static np_out begin(np_buf *buf, uint32_t arity, const char *tag) {
    np_out out;
    np_buf_clear(buf, 1 << 16);
    np_out_init(&out, buf, 1 << 20);
    np_out_tuple(&out, arity);
    np_out_atom(&out, "3.0");
    np_out_atom(&out, tag);
    return out;
}

static np_buf scratch;

static void put_key(const model *model, np_out *out, int key) {
    np_in term = sim_key(model->scope, key);
    np_out_term(out, &term);
}

static void broadcast_set(model *model, const entry *e, const char *reason, int exclude) {
    np_out out = begin(&scratch, 7, model->scope == NP_SYN_REGISTRY ? "sync_register" : "sync_join");
    put_key(model, &out, e->key);
    np_out_pid(&out, &e->pid);
    np_out_int(&out, e->meta);
    np_out_uint(&out, e->time_ns);
    np_out_atom(&out, reason);
    broadcast(model, np_out_view(&out), exclude);
}

static void broadcast_unset(model *model, const entry *e, const char *reason, int exclude) {
    np_out out = begin(&scratch, 6, model->scope == NP_SYN_REGISTRY ? "sync_unregister" : "sync_leave");
    put_key(model, &out, e->key);
    np_out_pid(&out, &e->pid);
    np_out_int(&out, e->meta);
    np_out_atom(&out, reason);
    broadcast(model, np_out_view(&out), exclude);
}

static np_in discover(model *model) {
    np_out out = begin(&scratch, 3, "discover");
    np_out_pid(&out, &model->self);
    return np_out_view(&out);
}

static bool mine(const model *model, const np_pid *pid) { return pid->node == model->s->members[model->m].id; }

static void send_ack(model *model, int to) {
    uint32_t count = 0;
    for (int i = 0; i < model->len; i++)
        count += mine(model, &model->table[i].pid);
    np_out out = begin(&scratch, 4, "ack_sync");
    np_out_pid(&out, &model->self);
    np_out_list(&out, count);
    for (int i = 0; i < model->len; i++) {
        const entry *e = &model->table[i];
        if (!mine(model, &e->pid))
            continue;
        np_out_tuple(&out, 4);
        put_key(model, &out, e->key);
        np_out_pid(&out, &e->pid);
        np_out_int(&out, e->meta);
        np_out_uint(&out, e->time_ns);
    }
    np_out_nil(&out);
    send_to_node(model, to, np_out_view(&out), true);
}

/* ---- the tables ---- */

static entry *find(model *model, int key, const np_pid *pid) {
    for (int i = 0; i < model->len; i++) {
        entry *e = &model->table[i];
        if (e->key == key && (model->scope == NP_SYN_REGISTRY || np_pid_eq(&e->pid, pid)))
            return e;
    }
    return NULL;
}

static entry *put(model *model, int key, const np_pid *pid, int meta, uint64_t time_ns) {
    entry *e = find(model, key, pid);
    if (e == NULL) {
        NP_ASSERT(model->len < SIM_TABLE);
        e = &model->table[model->len++];
    }
    *e = (entry){key, meta, *pid, time_ns};
    return e;
}

static void drop(model *model, const entry *e) {
    size_t at = (size_t)(e - model->table);
    memmove(&model->table[at], &model->table[at + 1], ((size_t)model->len - at - 1) * sizeof(*e));
    model->len--;
}

static void drop_pair(model *model, int key, const np_pid *pid) {
    entry *e = find(model, key, pid);
    if (e != NULL && np_pid_eq(&e->pid, pid))
        drop(model, e);
}

static void purge(model *model, np_node_id node) {
    for (int i = model->len; i-- > 0;) {
        if (model->table[i].pid.node == node)
            drop(model, &model->table[i]);
    }
}

/* What the process should have, for the checks. */
static void note(model *model, const np_pid *pid, int key, bool has) {
    process *p = sim_find(model->s, pid);
    uint32_t *bits = model->scope == NP_SYN_REGISTRY ? &p->names : &p->groups;
    *bits = has ? *bits | 1u << key : *bits & ~(1u << key);
}

/* ---- merging ---- */

static void resolve(model *model, entry *table, const entry *news) {
    bool remote = news->time_ns > table->time_ns;
    if (news->time_ns == table->time_ns && model->version != MEMBER_330)
        remote = np_pid_cmp(&news->pid, &table->pid) > 0;
    if (!remote) {
        table->time_ns = sim_now_ns(model->s);
        broadcast_set(model, table, "syn_conflict_resolution", -1);
        return;
    }
    entry loser = *table;
    *table = *news;
    model->s->kills++;
    sim_exit(model->s, &loser.pid, "syn_resolve_kill");
    if (model->version != MEMBER_330)
        broadcast_unset(model, &loser, "syn_conflict_resolution", -1);
}

static void merge(model *model, const entry *news) {
    entry *e = find(model, news->key, &news->pid);
    if (e == NULL) {
        put(model, news->key, &news->pid, news->meta, news->time_ns);
    } else if (model->scope == NP_SYN_PG) {
        if (news->time_ns > e->time_ns)
            *e = *news;
    } else if (np_pid_eq(&e->pid, &news->pid)) {
        *e = *news;
    } else if (mine(model, &e->pid)) {
        resolve(model, e, news);
    } else if (news->time_ns > e->time_ns) {
        *e = *news;
    }
}

static entry read_news(np_in *in) {
    entry news = {0};
    np_in key, meta;
    NP_ASSERT(np_in_term(in, &key) == 0 && np_in_pid(in, &news.pid) == 0 && np_in_term(in, &meta) == 0 &&
              np_in_uint64(in, &news.time_ns) == 0);
    news.key = sim_key_of(key);
    news.meta = sim_meta_of(meta);
    return news;
}

/* Main branch: what the list does not have is gone. */
static void reconcile(model *model, np_node_id node, np_list list) {
    bool listed[SIM_TABLE] = {false};
    np_in element;
    while (np_list_next(&list, &element)) {
        uint32_t arity;
        NP_ASSERT(np_in_tuple(&element, &arity) == 0);
        entry news = read_news(&element);
        entry *e = find(model, news.key, &news.pid);
        if (e != NULL && np_pid_eq(&e->pid, &news.pid))
            listed[e - model->table] = true;
    }
    for (int i = model->len; i-- > 0;) {
        if (model->table[i].pid.node == node && !listed[i])
            drop(model, &model->table[i]);
    }
}

/* ---- messages ---- */

static void monitor(model *model, int member, const np_pid *pid) {
    NP_ASSERT(model->monitor_count < 256);
    if (!model->s->connected[model->m][member]) {
        mail *down = mail_new(model, MAIL_DOWN);
        down->pid = *pid;
        return;
    }
    uint32_t ref = ++model->s->refs;
    model->monitors[model->monitor_count].ref = ref;
    model->monitors[model->monitor_count].member = member;
    model->monitors[model->monitor_count++].pid = *pid;
    signal *signal = sim_signal(SIGNAL_MONITOR_PID, model->scope, NULL);
    signal->ref = ref;
    signal->pid = *pid;
    send_directly(model, member, signal, false);
}

static void learn(model *model, int member, const np_pid *pid) {
    monitor(model, member, pid);
    model->in_map[member] = true;
    model->map[member] = *pid;
}

static void take_discover(model *model, np_in *in) {
    np_pid pid;
    NP_ASSERT(np_in_pid(in, &pid) == 0);
    int member = sim_index(model->s, pid.node);
    send_ack(model, member);
    if (!model->in_map[member])
        learn(model, member, &pid);
}

static void take_ack(model *model, np_in *in) {
    np_pid pid;
    np_list list;
    np_in element;
    NP_ASSERT(np_in_pid(in, &pid) == 0 && np_in_list(in, &list) == 0);
    int member = sim_index(model->s, pid.node);
    if (model->version == MEMBER_HEAD)
        reconcile(model, pid.node, list);
    while (np_list_next(&list, &element)) {
        NP_ASSERT(np_in_tuple_of(&element, 4) == 0);
        entry news = read_news(&element);
        merge(model, &news);
    }
    if (model->in_map[member])
        return;
    monitor(model, member, &pid);
    send_ack(model, member);
    model->in_map[member] = true;
    model->map[member] = pid;
}

static void take_message(model *model, np_in in) {
    uint32_t arity;
    NP_ASSERT(np_in_tuple(&in, &arity) == 0 && np_in_match(&in, "3.0") == 0);
    bool registry = model->scope == NP_SYN_REGISTRY;
    if (np_in_match(&in, "discover") == 0) {
        take_discover(model, &in);
    } else if (np_in_match(&in, "ack_sync") == 0) {
        take_ack(model, &in);
    } else if (np_in_match(&in, registry ? "sync_register" : "sync_join") == 0) {
        entry news = read_news(&in);
        if (model->in_map[sim_index(model->s, news.pid.node)])
            merge(model, &news);
    } else if (np_in_match(&in, registry ? "sync_unregister" : "sync_leave") == 0) {
        np_in key;
        np_pid pid;
        NP_ASSERT(np_in_term(&in, &key) == 0 && np_in_pid(&in, &pid) == 0);
        drop_pair(model, sim_key_of(key), &pid);
    } else {
        NP_ASSERT(false);
    }
}

/* A scope process of a peer is gone. Another one in the map than the one that ended: syn has no clause for that. */
static void take_down(model *model, const np_pid *pid) {
    int member = sim_index(model->s, pid->node);
    if (!model->in_map[member])
        return;
    if (!np_pid_eq(&model->map[member], pid)) {
        sim_log(model->s, "%d/%d crashes: no case clause", model->m, model->scope);
        sim_kill_scope(model->s, model->m, model->scope);
        return;
    }
    purge(model, pid->node);
    model->in_map[member] = false;
}

static void take_exit(model *model, const np_pid *pid) {
    for (int i = model->len; i-- > 0;) {
        if (!np_pid_eq(&model->table[i].pid, pid))
            continue;
        entry e = model->table[i];
        drop(model, &model->table[i]);
        broadcast_unset(model, &e, "crash", -1);
    }
}

/* ---- calls ---- */

typedef struct answer {
    const char *error; /* or NULL: ok */
    bool noop;
    const entry *entry;
    int meta;
} answer;

static answer set(model *model, int key, const np_pid *pid, int meta, int requester) {
    entry *e = find(model, key, pid);
    if (!sim_alive(model->s, pid))
        return (answer){.error = "not_alive"};
    if (e != NULL && !np_pid_eq(&e->pid, pid))
        return (answer){.error = "taken"};
    note(model, pid, key, true);
    if (e != NULL && e->meta == meta)
        return (answer){.noop = true, .meta = meta};
    e = put(model, key, pid, meta, sim_now_ns(model->s));
    broadcast_set(model, e, "normal", requester);
    return (answer){.entry = e};
}

static answer unset(model *model, int key, const np_pid *pid, int requester) {
    entry *e = find(model, key, pid);
    if (e == NULL)
        return (answer){.error = model->scope == NP_SYN_REGISTRY ? "undefined" : "not_in_group"};
    if (!np_pid_eq(&e->pid, pid))
        return (answer){.error = "race_condition"};
    entry gone = *e;
    note(model, pid, key, false);
    drop(model, e);
    broadcast_unset(model, &gone, "normal", requester);
    return (answer){.meta = gone.meta};
}

static void put_ok(np_out *out, const model *model, const answer *a, np_syn_request request) {
    np_out_atom(out, "ok");
    if (request == NP_SYN_ASK_SET) {
        np_out_tuple(out, 6);
        np_out_atom(out, "on_process_registered");
        np_out_atom(out, "undefined");
        np_out_int(out, a->entry->meta);
        np_out_uint(out, a->entry->time_ns);
        np_out_atom(out, "tab");
        np_out_atom(out, "tab");
    } else if (model->scope == NP_SYN_PG) {
        np_out_tuple(out, 2);
        np_out_int(out, a->meta);
        np_out_atom(out, "tab");
    } else {
        np_out_atom(out, "tab");
    }
}

static void reply(model *model, const caller *c, const answer *a) {
    np_out out;
    np_buf_clear(&scratch, 1 << 16);
    np_out_init(&out, &scratch, 1 << 20);
    np_out_tuple(&out, 2);
    if (a->error != NULL) {
        np_out_atom(&out, "error");
        np_out_atom(&out, a->error);
    } else if (a->noop) {
        np_out_atom(&out, "noop");
        np_out_int(&out, a->meta);
    } else {
        put_ok(&out, model, a, c->request);
    }
    np_in term = np_out_view(&out);
    signal *signal = sim_signal(SIGNAL_REPLY, model->scope, &term);
    signal->caller = *c;
    send_directly(model, c->member, signal, false);
}

static void take_call(model *model, const signal *signal) {
    np_in in = {np_buf_head(&signal->bytes), 0, np_buf_len(&signal->bytes)}, key, meta = {NULL, 0, 0};
    np_pid pid;
    uint32_t arity;
    NP_ASSERT(np_in_tuple(&in, &arity) == 0 && np_in_match(&in, "3.0") == 0 && np_in_term(&in, NULL) == 0 &&
              np_in_term(&in, NULL) == 0 && np_in_term(&in, &key) == 0 && np_in_pid(&in, &pid) == 0);
    const caller *c = &signal->caller;
    answer a;
    if (c->request == NP_SYN_ASK_SET) {
        NP_ASSERT(arity == 6 && np_in_term(&in, &meta) == 0);
        a = set(model, sim_key_of(key), &pid, sim_meta_of(meta), c->member);
    } else {
        a = unset(model, sim_key_of(key), &pid, c->member);
    }
    reply(model, c, &a);
}

/* The process that called inserts in the tables of its own node, whatever the scope process there is doing. */
void model_insert(model *model, np_syn_request request, int key, const np_pid *pid, np_in answer) {
    uint32_t *touched = model->scope == NP_SYN_REGISTRY ? model->s->remote_names : model->s->remote_groups;
    np_in meta;
    uint64_t time_ns;
    if (np_in_tuple_of(&answer, 2) < 0 || np_in_match(&answer, "ok") < 0)
        return;
    touched[model->m] |= 1u << key;
    if (request == NP_SYN_ASK_UNSET) {
        drop_pair(model, key, pid);
        return;
    }
    NP_ASSERT(np_in_tuple_of(&answer, 6) == 0 && np_in_term(&answer, NULL) == 0 && np_in_term(&answer, NULL) == 0 &&
              np_in_term(&answer, &meta) == 0 && np_in_uint64(&answer, &time_ns) == 0);
    put(model, key, pid, sim_meta_of(meta), time_ns);
}

void model_remote(model *model, const caller *c) {
    bool registry = model->scope == NP_SYN_REGISTRY, set = c->request == NP_SYN_ASK_SET;
    const char *tag = registry ? (set ? "register_or_update_on_node" : "unregister_on_node")
                               : (set ? "join_or_update_on_node" : "leave_on_node");
    np_out out = begin(&scratch, set ? 6 : 5, tag);
    np_out_atom(&out, np_name_text(model->s->members[model->m].id));
    put_key(model, &out, c->key);
    np_out_pid(&out, &c->pid);
    if (set)
        np_out_int(&out, c->meta);
    np_in term = np_out_view(&out);
    signal *signal = sim_signal(SIGNAL_CALL, model->scope, &term);
    signal->caller = *c;
    sim_send(model->s, model->m, sim_index(model->s, c->pid.node), signal);
}

/* ---- the process ---- */

model *model_new(sim *s, int m, int scope) {
    model *model = calloc(1, sizeof(*model));
    NP_ASSERT(model != NULL);
    model->s = s;
    model->m = m;
    model->scope = scope;
    model->version = s->members[m].kind;
    model->mailbox_end = &model->mailbox;
    model->helper_end = &model->helper;
    model->outbox_end = &model->outbox;
    return model;
}

void model_die(model *model) {
    bool send = !model->s->script && sim_chance(model->s, 50);
    while (outgoing_pop(model, &model->outbox, &model->outbox_end, true))
        ;
    while (outgoing_pop(model, &model->helper, &model->helper_end, send))
        ;
    for (mail *mail; (mail = mail_pop(model)) != NULL;)
        mail_free(mail);
    memset(model->in_map, 0, sizeof(model->in_map));
    model->monitor_count = 0;
}

void model_free(model *model) {
    model_die(model);
    free(model);
}

void model_begin(model *model, const np_pid *self) {
    model->self = *self;
    for (int i = model->len; i-- > 0;) {
        if (!mine(model, &model->table[i].pid) || !sim_alive(model->s, &model->table[i].pid))
            drop(model, &model->table[i]);
    }
    for (int i = 0; i < model->s->count; i++) {
        bool hidden = model->s->members[i].kind == MEMBER_NATIVE && !model->s->natives_visible;
        np_in message = discover(model);
        if (model->s->connected[model->m][i] && !hidden)
            send_directly(model, i, sim_signal(SIGNAL_MESSAGE, model->scope, &message), false);
    }
}

void model_take(model *model, signal *signal) { mail_new(model, MAIL_SIGNAL)->signal = signal; }

void model_nodeup(model *model, int member) {
    if (model->s->members[model->m].scope_alive[model->scope])
        mail_new(model, MAIL_NODEUP)->member = member;
}

void model_nodedown(model *model, int member) {
    int kept = 0;
    for (int i = 0; i < model->monitor_count; i++) {
        if (model->monitors[i].member == member)
            mail_new(model, MAIL_DOWN)->pid = model->monitors[i].pid;
        else
            model->monitors[kept++] = model->monitors[i];
    }
    model->monitor_count = kept;
}

void model_exited(model *model, const np_pid *pid) {
    if (model->s->members[model->m].scope_alive[model->scope])
        mail_new(model, MAIL_EXIT)->pid = *pid;
}

void model_set(model *model, int key, const np_pid *pid, int meta) {
    if (!model->s->members[model->m].scope_alive[model->scope])
        return;
    mail *mail = mail_new(model, MAIL_SET);
    mail->key = key;
    mail->pid = *pid;
    mail->meta = meta;
}

void model_set_now(model *model, int key, const np_pid *pid, int meta) { set(model, key, pid, meta, -1); }

void model_unset(model *model, int key, const np_pid *pid) {
    if (!model->s->members[model->m].scope_alive[model->scope])
        return;
    mail *mail = mail_new(model, MAIL_UNSET);
    mail->key = key;
    mail->pid = *pid;
}

static void take_down_signal(model *model, uint32_t ref) {
    for (int i = 0; i < model->monitor_count; i++) {
        if (model->monitors[i].ref != ref)
            continue;
        np_pid pid = model->monitors[i].pid;
        model->monitors[i] = model->monitors[--model->monitor_count];
        take_down(model, &pid);
        return;
    }
}

static void take_signal(model *model, const signal *signal) {
    np_in in = {np_buf_head(&signal->bytes), 0, np_buf_len(&signal->bytes)};
    if (signal->epoch != model->s->epoch[model->m][signal->from])
        model->s->late[model->m][signal->from] = true;
    switch (signal->kind) {
    case SIGNAL_MESSAGE: take_message(model, in); return;
    case SIGNAL_CALL: take_call(model, signal); return;
    case SIGNAL_DOWN: take_down_signal(model, signal->ref); return;
    default: NP_ASSERT(false);
    }
}

bool model_mailbox(model *model) {
    mail *mail = mail_pop(model);
    if (mail == NULL)
        return false;
    switch (mail->kind) {
    case MAIL_SIGNAL: take_signal(model, mail->signal); break;
    case MAIL_NODEUP:
        if (model->s->connected[model->m][mail->member])
            send_to_node(model, mail->member, discover(model), false);
        break;
    case MAIL_DOWN: take_down(model, &mail->pid); break;
    case MAIL_EXIT: take_exit(model, &mail->pid); break;
    case MAIL_SET: set(model, mail->key, &mail->pid, mail->meta, -1); break;
    case MAIL_UNSET: unset(model, mail->key, &mail->pid, -1); break;
    }
    mail_free(mail);
    return true;
}

bool model_helper(model *model) { return outgoing_pop(model, &model->helper, &model->helper_end, true); }

uint32_t model_busy(const model *model) {
    return (model->mailbox != NULL) + (model->helper != NULL) + (model->outbox != NULL);
}

void model_step(model *model, uint32_t which) {
    if (model->mailbox != NULL && which-- == 0)
        model_mailbox(model);
    else if (model->helper != NULL && which-- == 0)
        model_helper(model);
    else
        outgoing_pop(model, &model->outbox, &model->outbox_end, true);
}

int model_table(const model *model, entry *entries, int max) {
    NP_ASSERT(model->len <= max);
    memcpy(entries, model->table, (size_t)model->len * sizeof(*entries));
    return model->len;
}
