/*
 * syn.c - a node's membership in syn scopes: the machine, its scopes, the clock, the work that waits, and what native
 * code asks of it. See syn.h, and internal.h for the other files.
 */
#include "base/assert.h"
#include "base/log.h"
#include "syn/internal.h"
#include "term/names.h"
#include "term/print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the machine ---- */

np_syn *np_syn_new(const np_syn_io *io, np_node_id self) {
    NP_ASSERT(self != 0 && io->send != NULL && io->watch != NULL && io->alive != NULL && io->kill != NULL &&
              io->reply != NULL && io->message != NULL);
    np_syn *syn = calloc(1, sizeof(*syn));
    if (syn == NULL)
        return NULL;
    syn->io = *io;
    syn->self = self;
    syn->bounds = (np_syn_bounds){NP_SYN_SLICE, 1 << 16, NP_SYN_EARLY_BYTES, NP_SYN_HELD_BYTES};
    syn->conflicts.burst = 3;
    np_syn_metas_init(syn);
    np_timers_init(&syn->timers);
    return syn;
}

void np_syn_destroy(np_syn **owner) {
    np_syn *syn = *owner;
    if (syn == NULL)
        return;
    NP_ASSERT(syn->inside == 0);
    *owner = NULL;
    for (uint32_t i = 0; i < syn->scopes_len; i++)
        np_syn_close(&syn->scopes[i]);
    NP_ASSERT(syn->metas.count == 0 && syn->updates == NULL);
    free(syn->scopes);
    np_syn_index_fini(&syn->metas);
    np_timers_fini(&syn->timers);
    np_buf *bufs[] = {&syn->peers,        &syn->exits,       &syn->name_scratch,
                      &syn->meta_scratch, &syn->out_scratch, &syn->aux_scratch};
    for (size_t i = 0; i < NP_ARRAY_LEN(bufs); i++)
        np_buf_fini(bufs[i]);
    free(syn);
}

void np_syn_clock(np_syn *syn, uint64_t now_ms, uint64_t now_ns) {
    syn->now_ms = now_ms > syn->now_ms ? now_ms : syn->now_ms;
    syn->now_ns = now_ns;
}

uint64_t np_syn_stamp(np_syn *syn) {
    syn->stamp_ns = syn->now_ns > syn->stamp_ns ? syn->now_ns : syn->stamp_ns + 1;
    return syn->stamp_ns;
}

static const char *const wrong_texts[NP_SYN_WRONG_KINDS] = {
    [NP_SYN_WRONG_MESSAGE] = "unknown message",     [NP_SYN_WRONG_CALL] = "unknown call",
    [NP_SYN_WRONG_PID] = "process of another node", [NP_SYN_WRONG_TIME] = "bad time",
    [NP_SYN_WRONG_TERM] = "bad name or metadata",   [NP_SYN_WRONG_ENTRY] = "bad entry in an ack_sync",
    [NP_SYN_WRONG_FLOOD] = "more than can be kept", [NP_SYN_WRONG_RESOURCES] = "out of memory or over a limit",
};

void np_syn_complain(np_syn *syn, np_syn_wrong wrong, const np_syn_scope *scope, np_node_id node, np_in what) {
    char text[200];
    uint64_t *at = &syn->complained_ms[wrong];
    syn->complaints[wrong]++;
    if (*at != 0 && syn->now_ms < *at - 1 + NP_SYN_LOG_MS)
        return;
    *at = syn->now_ms + 1;
    NP_LOG(NP_LOG_WARNING, "syn", wrong_texts[wrong], "process=%s peer=%s count=%u term=\"%s\"", scope->process,
           np_name_text(node), syn->complaints[wrong],
           np_in_at_end(&what) ? "" : np_term_text(&what, text, sizeof(text)));
    syn->complaints[wrong] = 0;
}

/* ---- going in and out ---- */

static void exit_now(np_syn *syn, const np_pid *pid, np_in reason) {
    for (uint32_t i = 0; i < syn->scopes_len; i++) {
        np_syn_scope *scope = syn->scopes[i];
        if (scope == NULL || scope->home->count == 0)
            continue;
        for (np_syn_entry *entry; (entry = np_syn_entry_of_pid(scope, pid)) != NULL;)
            np_syn_own_remove(entry, NULL, reason, 0);
    }
}

void np_syn_enter(np_syn *syn) { syn->inside++; }

/* Processes that ended meanwhile: what killed them is done with. */
void np_syn_exit(np_syn *syn) {
    NP_ASSERT(syn->inside > 0);
    while (syn->inside == 1 && np_buf_len(&syn->exits) > 0) {
        np_buf batch = syn->exits;
        np_buf_init(&syn->exits);
        const uint8_t *p = np_buf_head(&batch), *end = p + np_buf_len(&batch);
        while (p < end) {
            np_syn_ended ended;
            memcpy(&ended, p, sizeof(ended));
            p += sizeof(ended);
            exit_now(syn, &ended.pid, (np_in){p, 0, ended.reason_len});
            p += ended.reason_len;
        }
        np_buf_fini(&batch);
    }
    syn->inside--;
}

void np_syn_exited(np_syn *syn, const np_pid *pid, np_in reason) {
    NP_ASSERT(pid->node == syn->self && !np_in_at_end(&reason));
    if (syn->inside == 0) {
        np_syn_enter(syn);
        exit_now(syn, pid, reason);
        np_syn_exit(syn);
        return;
    }
    np_bytes bytes = np_in_bytes(&reason);
    np_syn_ended ended = {*pid, bytes.len};
    uint8_t *to;
    if (np_buf_reserve(&syn->exits, sizeof(ended) + bytes.len, &to) < 0) {
        exit_now(syn, pid, reason); /* then now: at worst a conflict of its names is told twice */
        return;
    }
    memcpy(to, &ended, sizeof(ended));
    memcpy(to + sizeof(ended), bytes.data, bytes.len);
    np_buf_commit(&syn->exits, sizeof(ended) + bytes.len);
}

/* ---- scopes ---- */

enum { ATOM_CHARS_MAX = NP_ATOM_CHARS_MAX };

static const char *const prefixes[] = {[NP_SYN_REGISTRY] = "syn_registry", [NP_SYN_PG] = "syn_pg"};

static size_t chars_of(const char *text, size_t len) {
    size_t chars = 0;
    for (size_t i = 0; i < len; i++)
        chars += ((unsigned char)text[i] & 0xC0) != 0x80;
    return chars;
}

static char *join3(const char *a, const char *b, const char *c, size_t c_len) {
    char *text;
    return asprintf(&text, "%s%s%.*s", a, b, (int)c_len, c) < 0 ? NULL : text;
}

static int name_scope(np_syn_scope *scope, const char *name, size_t len) {
    const char *prefix = prefixes[scope->kind];
    if (len == 0 || memchr(name, 0, len) != NULL || chars_of(name, len) + strlen(prefix) + 9 > ATOM_CHARS_MAX)
        return NP_EINVAL;
    scope->name_len = len;
    scope->name = join3("", "", name, len);
    scope->process = join3(prefix, "_", name, len);
    scope->table_by_name = join3(prefix, "_by_name_", name, len);
    scope->table_by_pid = join3(prefix, "_by_pid_", name, len);
    bool all =
        scope->name != NULL && scope->process != NULL && scope->table_by_name != NULL && scope->table_by_pid != NULL;
    return all ? 0 : NP_ENOMEM;
}

static void scope_free(np_syn_scope *scope) {
    np_syn_entries_fini(scope);
    np_map_fini(&scope->nodes);
    free(scope->home);
    free(scope->name);
    free(scope->process);
    free(scope->table_by_name);
    free(scope->table_by_pid);
    free(scope);
}

/* A free place in np_syn.scopes. */
static int place_for(np_syn *syn, uint32_t *place) {
    for (*place = 0; *place < syn->scopes_len; ++*place) {
        if (syn->scopes[*place] == NULL)
            return 0;
    }
    if (syn->scopes_len == NP_SYN_SCOPES_MAX)
        return NP_ELIMIT;
    np_syn_scope **scopes = realloc(syn->scopes, (syn->scopes_len + 1) * sizeof(np_syn_scope *));
    if (scopes == NULL)
        return NP_ENOMEM;
    syn->scopes = scopes;
    syn->scopes[syn->scopes_len++] = NULL;
    return 0;
}

int np_syn_open(np_syn *syn, np_syn_kind kind, const char *name, size_t len, const np_pid *self, void *owner,
                np_syn_scope **opened) {
    uint32_t place;
    if (np_syn_find(syn, kind, name, len) != NULL)
        return NP_EEXIST;
    int error = place_for(syn, &place);
    if (error < 0)
        return error;
    np_syn_scope *scope = calloc(1, sizeof(*scope));
    if (scope == NULL)
        return NP_ENOMEM;
    scope->syn = syn;
    scope->kind = kind;
    scope->self = *self;
    scope->owner = owner;
    scope->number = place;
    np_syn_entries_init(scope);
    np_syn_nodes_init(scope);
    scope->home = np_syn_origin_new(scope, syn->self);
    error = scope->home == NULL ? NP_ENOMEM : name_scope(scope, name, len);
    if (error < 0) {
        scope_free(scope);
        return error;
    }
    syn->scopes[place] = scope;
    *opened = scope;
    np_syn_enter(syn);
    const np_node_id *peers = (const np_node_id *)(const void *)np_buf_head(&syn->peers);
    for (size_t i = 0; i < np_buf_len(&syn->peers) / sizeof(*peers); i++)
        np_syn_node_up(scope, peers[i]);
    np_syn_exit(syn);
    return 0;
}

void np_syn_close(np_syn_scope **owner) {
    np_syn_scope *scope = *owner;
    if (scope == NULL)
        return;
    uint32_t all = UINT32_MAX;
    *owner = NULL;
    np_syn_updates_drop(scope->syn, scope);
    while (scope->first_node != NULL)
        np_syn_node_down(scope->first_node);
    np_syn_bury(scope, &all);
    while (scope->home->first != NULL)
        np_syn_entry_remove(scope->home->first);
    scope->syn->scopes[scope->number] = NULL;
    scope_free(scope);
}

void np_syn_restart(np_syn_scope *scope, const np_pid *self) {
    np_syn_enter(scope->syn);
    scope->self = *self;
    np_syn_updates_drop(scope->syn, scope);
    np_syn_nodes_restart(scope);
    np_syn_exit(scope->syn);
}

np_syn_scope *np_syn_find(const np_syn *syn, np_syn_kind kind, const char *name, size_t len) {
    for (uint32_t i = 0; i < syn->scopes_len; i++) {
        np_syn_scope *scope = syn->scopes[i];
        if (scope != NULL && scope->kind == kind && scope->name_len == len && memcmp(scope->name, name, len) == 0)
            return scope;
    }
    return NULL;
}

np_syn_scope *np_syn_next_scope(const np_syn *syn, uint32_t *at) {
    while (*at < syn->scopes_len) {
        np_syn_scope *scope = syn->scopes[(*at)++];
        if (scope != NULL)
            return scope;
    }
    return NULL;
}

np_syn_kind np_syn_scope_kind(const np_syn_scope *scope) { return scope->kind; }
np_str np_syn_scope_name(const np_syn_scope *scope) { return (np_str){scope->name, scope->name_len}; }
const char *np_syn_scope_process(const np_syn_scope *scope) { return scope->process; }
const np_pid *np_syn_scope_pid(const np_syn_scope *scope) { return &scope->self; }
np_syn *np_syn_of(const np_syn_scope *scope) { return scope->syn; }
void *np_syn_scope_owner(const np_syn_scope *scope) { return scope->owner; }

/* ---- peers ---- */

static np_node_id *find_peer(np_syn *syn, np_node_id node) {
    np_node_id *peers = (np_node_id *)(void *)(uintptr_t)np_buf_head(&syn->peers);
    for (size_t i = 0; i < np_buf_len(&syn->peers) / sizeof(*peers); i++) {
        if (peers[i] == node)
            return &peers[i];
    }
    return NULL;
}

void np_syn_peer_up(np_syn *syn, np_node_id node) {
    NP_ASSERT(node != 0 && node != syn->self);
    if (find_peer(syn, node) != NULL)
        np_syn_peer_down(syn, node);
    if (np_buf_append(&syn->peers, &node, sizeof(node)) < 0) {
        NP_LOG(NP_LOG_ERROR, "syn", "out of memory", "peer=%s", np_name_text(node));
        return;
    }
    np_syn_enter(syn);
    for (uint32_t i = 0; i < syn->scopes_len; i++) {
        if (syn->scopes[i] != NULL)
            np_syn_node_up(syn->scopes[i], node);
    }
    np_syn_exit(syn);
}

void np_syn_peer_down(np_syn *syn, np_node_id node) {
    np_node_id *peer = find_peer(syn, node);
    if (peer == NULL)
        return;
    size_t last = np_buf_len(&syn->peers) - sizeof(*peer);
    memcpy(peer, np_buf_head(&syn->peers) + last, sizeof(*peer));
    np_buf_truncate(&syn->peers, last);
    np_syn_enter(syn);
    for (uint32_t i = 0; i < syn->scopes_len; i++) {
        np_syn_node *in = syn->scopes[i] == NULL ? NULL : np_syn_node_find(syn->scopes[i], node);
        if (in != NULL)
            np_syn_node_down(in);
    }
    np_syn_exit(syn);
}

/* ---- time and work ---- */

bool np_syn_run(np_syn *syn) {
    uint32_t slice = syn->bounds.slice;
    bool graves = false;
    np_syn_enter(syn);
    np_timers_run(&syn->timers, syn->now_ms, UINT32_MAX);
    for (uint32_t i = 0; i < syn->scopes_len; i++) {
        if (syn->scopes[i] != NULL && syn->scopes[i]->graves != NULL)
            graves = np_syn_bury(syn->scopes[i], &slice) || graves;
    }
    np_syn_node *last = syn->work_last;
    for (np_syn_node *node = NULL; slice > 0 && syn->work != NULL && node != last;) {
        node = np_syn_next_work(syn);
        if (np_syn_node_work(node, &slice))
            np_syn_node_wake(node);
    }
    np_syn_exit(syn);
    return graves || syn->work != NULL;
}

uint64_t np_syn_next(const np_syn *syn) {
    for (uint32_t i = 0; i < syn->scopes_len; i++) {
        if (syn->scopes[i] != NULL && syn->scopes[i]->graves != NULL)
            return 0;
    }
    return syn->work != NULL ? 0 : np_timers_next(&syn->timers);
}

/* ---- looking in ---- */

void np_syn_get_stats(const np_syn_scope *scope, np_syn_stats *stats) {
    *stats = (np_syn_stats){
        .entries = scope->keys.count - scope->buried,
        .groups = scope->groups.count,
        .local = scope->home->count,
        .peers = scope->known,
    };
}

size_t np_syn_memory(const np_syn *syn) {
    size_t bytes = sizeof(*syn) + syn->bytes + np_syn_index_memory(&syn->metas);
    for (uint32_t i = 0; i < syn->scopes_len; i++) {
        const np_syn_scope *scope = syn->scopes[i];
        if (scope != NULL)
            bytes += sizeof(*scope) + np_syn_index_memory(&scope->keys) + np_syn_index_memory(&scope->pids) +
                     np_syn_index_memory(&scope->groups);
    }
    return bytes;
}
