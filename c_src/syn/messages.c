/*
 * messages.c - messages from other scope processes, taken apart. See internal.h; mirrors handle_info of
 * syn_gen_scope, syn_registry and syn_pg.
 *
 * syn's nodes send only what concerns their own processes, so a pid of any other node is a lie and is not believed.
 */
#include "syn/internal.h"
#include "term/canon.h"
#include "term/ids.h"

static void complain(np_syn_node *node, np_syn_wrong wrong, np_in what) {
    np_syn_complain(node->scope->syn, wrong, node->scope, node->id, what);
}

/* ---- fields ---- */

static int read_pid(np_syn_node *node, np_in *in, np_pid *pid) {
    np_in what = *in;
    int error = np_in_pid(in, pid);
    if (error == 0 && pid->node == node->id)
        return 0;
    complain(node, NP_SYN_WRONG_PID, what);
    return NP_EINVAL;
}

static int read_time(np_syn_node *node, np_in *in, uint64_t *time_ns) {
    np_in what = *in;
    int error = np_in_uint64(in, time_ns);
    if (error == 0 && *time_ns <= node->scope->syn->now_ns + NP_SYN_SKEW_NS && *time_ns <= INT64_MAX)
        return 0;
    complain(node, NP_SYN_WRONG_TIME, what);
    return NP_EINVAL;
}

static int read_name(np_syn_node *node, np_in *in, np_syn_key *key) {
    np_in name;
    int error = np_in_term(in, &name);
    if (error == 0)
        error = np_syn_key_read(node->scope->syn, name, key);
    if (error < 0)
        complain(node, NP_SYN_WRONG_TERM, (np_in){NULL, 0, 0});
    return error;
}

/* ---- sync_* and the elements of ack_sync ---- */

/* Name, Pid, Meta, Time */
static int read_news(np_syn_node *node, np_in *in, np_syn_news *news) {
    if (read_name(node, in, &news->key) < 0 || read_pid(node, in, &news->pid) < 0 || np_in_term(in, &news->meta) < 0 ||
        read_time(node, in, &news->time_ns) < 0)
        return NP_EINVAL;
    return 0;
}

static void merge_news(np_syn_node *node, const np_syn_news *news) {
    int error = np_syn_merge_set(node, news);
    if (error < 0)
        complain(node, error == NP_ENOMEM ? NP_SYN_WRONG_RESOURCES : NP_SYN_WRONG_TERM, (np_in){NULL, 0, 0});
}

void np_syn_merge_element(np_syn_node *node, np_in element) {
    np_syn_news news;
    np_in in = element;
    if (np_in_tuple_of(&in, 4) < 0)
        complain(node, NP_SYN_WRONG_ENTRY, element);
    else if (read_news(node, &in, &news) == 0)
        merge_news(node, &news);
}

typedef enum sync_kind { SYNC_SET, SYNC_REMOVE, SYNC_NONE } sync_kind;

/* {'3.0', Tag, ...}: the kind; the cursor goes behind the tag. */
static sync_kind read_sync(const np_syn_scope *scope, np_in *in) {
    bool registry = scope->kind == NP_SYN_REGISTRY;
    uint32_t arity;
    if (np_in_tuple(in, &arity) < 0 || np_in_match(in, "3.0") < 0)
        return SYNC_NONE;
    if (arity == 7 && np_in_match(in, registry ? "sync_register" : "sync_join") == 0)
        return SYNC_SET;
    if (arity == 6 && np_in_match(in, registry ? "sync_unregister" : "sync_leave") == 0)
        return SYNC_REMOVE;
    return SYNC_NONE;
}

/* Behind an ack_sync: what is older than that is in it; and what was heard before must not meet our own names again,
 * only what the ack_sync may have undone. */
static bool worth_replaying(np_syn_node *node, const np_syn_news *news, bool again) {
    const np_syn_entry *entry = np_syn_entry_find(node->scope, &news->key, &news->pid);
    return entry == NULL || (entry->origin == node->origin ? entry->time_ns <= news->time_ns : !again);
}

typedef enum turn { FIRST, REPLAY, REPLAY_AGAIN } turn;

static void apply(np_syn_node *node, np_in message, turn turn) {
    np_syn_news news;
    switch (read_sync(node->scope, &message)) {
    case SYNC_SET:
        if (read_news(node, &message, &news) == 0 &&
            (turn == FIRST || worth_replaying(node, &news, turn == REPLAY_AGAIN)))
            merge_news(node, &news);
        return;
    case SYNC_REMOVE:
        if (read_name(node, &message, &news.key) == 0 && read_pid(node, &message, &news.pid) == 0)
            np_syn_merge_remove(node, &news.key, &news.pid);
        return;
    case SYNC_NONE: return;
    }
}

void np_syn_sync(np_syn_node *node, np_in message) {
    if (node->merge.running) {
        np_syn_journal(node, message, false);
        return;
    }
    if (node->awaiting)
        np_syn_journal(node, message, node->known);
    if (node->known)
        apply(node, message, FIRST);
}

/* ---- discover and ack_sync ---- */

/* The scope process of that node is this one. True if it is new to us, or in place of another one of whose end we have
 * not heard. What waits for the answer to our own discover stays: that is still to come. */
static bool meet(np_syn_node *node, const np_pid *process) {
    if (node->known && np_pid_eq(&node->process, process))
        return false;
    if (node->known)
        np_syn_node_forget(node);
    np_syn_node_learn(node, process);
    return true;
}

/* In place of one of whose end we have not heard: what that had told us was forgotten with it, and this one may not
 * be the scope's process at all. Ask by name, unless the answer to that is what we have. */
static bool is_another(const np_syn_node *node, const np_pid *process) {
    return node->known && !node->awaiting && !np_pid_eq(&node->process, process);
}

static void discovered(np_syn_node *node, np_in *in) {
    np_pid process;
    if (read_pid(node, in, &process) < 0)
        return;
    bool another = is_another(node, &process);
    meet(node, &process);
    np_syn_ack(node);
    if (another)
        np_syn_node_discover(node);
}

static void synced(np_syn_node *node, np_in *in, np_buf *owner, np_in message) {
    np_pid process;
    if (read_pid(node, in, &process) < 0)
        return;
    if (np_in_type(in) != NP_TYPE_LIST) {
        complain(node, NP_SYN_WRONG_MESSAGE, message);
        return;
    }
    bool another = is_another(node, &process);
    if (meet(node, &process))
        np_syn_ack(node);
    if (node->merge.running) {
        np_syn_journal(node, message, false); /* another one, behind the one being merged */
        return;
    }
    bool answer = node->awaiting;
    node->awaiting = false;
    if (node->lossy)
        np_syn_node_start_over(node);
    else
        np_syn_merge_start(node, *in, owner, answer);
    if (another && !node->awaiting)
        np_syn_node_discover(node);
}

/* ---- all of them ---- */

static void take(np_syn_node *node, np_in message, np_buf *owner) {
    np_in in = message;
    uint32_t arity;
    if (read_sync(node->scope, &in) != SYNC_NONE) {
        np_syn_sync(node, message);
        return;
    }
    in = message;
    if (np_in_tuple(&in, &arity) == 0 && np_in_match(&in, "3.0") == 0) {
        if (arity == 3 && np_in_match(&in, "discover") == 0) {
            discovered(node, &in);
            return;
        }
        if (arity == 4 && np_in_match(&in, "ack_sync") == 0) {
            synced(node, &in, owner, message);
            return;
        }
    }
    complain(node, NP_SYN_WRONG_MESSAGE, message);
}

bool np_syn_replay(np_syn_node *node, np_in message, bool applied) {
    np_in in = message;
    if (read_sync(node->scope, &in) == SYNC_NONE)
        return false;
    apply(node, message, applied ? REPLAY_AGAIN : REPLAY);
    return true;
}

void np_syn_info(np_syn_scope *scope, np_node_id from, np_in message, np_buf *owner) {
    np_syn_node *node = np_syn_node_find(scope, from);
    np_syn_enter(scope->syn);
    if (node != NULL)
        take(node, message, owner);
    else
        np_syn_complain(scope->syn, NP_SYN_WRONG_MESSAGE, scope, from, message);
    np_syn_exit(scope->syn);
}
