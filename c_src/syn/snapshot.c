/*
 * snapshot.c - ack_sync, the list of all names of a node: built and merged in slices, so that a million names hold up
 * nobody. See internal.h.
 *
 * Going out. The list is written over several turns from entries that change meanwhile, so it shows each entry as it
 * was at some moment between the start and the end. All changes in that time are held back for that peer and sent
 * behind the list. They are all changes in their order, and each says what is, not what became of what was; so where
 * the list is ahead of one of them the peer steps back and comes to the same end. A name that comes in the meantime is
 * put in front of the cursor and thus told only by its change; one that goes takes the cursor a step on.
 *
 * Coming in. The list is kept and merged over several turns, entry by entry, as if they were so many sync_registers.
 * What else that peer sends waits in the journal and is replayed behind it. What others send, or happens here, does
 * not wait: it meets each name either before or after its entry, as it might have anyway.
 *
 * syn 3.3.0 sends ack_sync and sync_* from two processes, so a sync_* may arrive before the ack_sync that it follows
 * and would be undone by it. Therefore the journal begins with our discover; what could be applied at once is, and is
 * done again behind the ack_sync. But what comes before the first ack_sync of a connection may also be left over from
 * the one before, sent by a helper process that did not know of its end. So if there was anything, the list is asked
 * for once more: by then that node knows us, what it sends is all in order, and what the second list does not name is
 * gone. That is done, too, when more came than the journal holds, and when there comes a list that we did not ask for:
 * of it and the one before either may be such a left-over.
 */
#include "base/assert.h"
#include "syn/internal.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    TAG_LIST = 108,
    TAG_NIL = 106,
};

/* ---- going out ---- */

/* May we list all our names for this peer now? */
static bool may_ack(np_syn_node *node) {
    uint64_t now_ms = node->scope->syn->now_ms;
    uint64_t more = (now_ms - node->acks_ms) / NP_SYN_ACK_MS;
    if (node->acks + more >= NP_SYN_ACKS_BURST) {
        node->acks = NP_SYN_ACKS_BURST;
        node->acks_ms = now_ms;
    } else {
        node->acks += (uint32_t)more;
        node->acks_ms += more * NP_SYN_ACK_MS;
    }
    if (node->acks == 0)
        return false;
    node->acks--;
    return true;
}

void np_syn_ack(np_syn_node *node) {
    np_syn_out *out = &node->out;
    if (out->building || out->ready || node->given_up)
        return; /* the one under way will say it all */
    /* What is held is older than the list, and may not be all there was between: it goes first. */
    node->ack_wanted = np_buf_len(&node->held) > 0 || !may_ack(node);
    if (node->ack_wanted) {
        np_syn_node_schedule(node);
        return;
    }
    uint32_t slice = node->scope->syn->bounds.slice;
    np_buf_clear(&out->message, 0);
    int error = np_syn_encode_ack_head(node->scope, &out->message);
    out->count_at = np_buf_len(&out->message) + 1;
    if (error == 0 && (np_buf_append_u8(&out->message, TAG_LIST) < 0 || np_buf_append_u32(&out->message, 0) < 0))
        error = NP_ENOMEM;
    out->building = true;
    out->count = 0;
    out->cursor = node->scope->home->first;
    if (error < 0) {
        np_syn_out_drop(node);
        np_syn_node_send(node, (np_in){NULL, 0, 0});
        return;
    }
    np_syn_out_work(node, &slice);
    if (np_syn_node_holds(node))
        np_syn_node_wake(node);
}

/* The list is complete. False: no memory. */
static bool finish(np_syn_out *out) {
    if (np_buf_append_u8(&out->message, TAG_NIL) < 0)
        return false;
    uint8_t *count = out->message.data + out->message.off + out->count_at;
    np_put_u32(count, out->count);
    if (out->count == 0) {
        count[-1] = TAG_NIL;
        np_buf_truncate(&out->message, out->count_at);
    }
    return true;
}

void np_syn_out_work(np_syn_node *node, uint32_t *slice) {
    np_syn_out *out = &node->out;
    for (; out->cursor != NULL && *slice > 0; out->cursor = out->cursor->next, --*slice) {
        if (np_syn_encode_ack_entry(out->cursor, &out->message) < 0) {
            np_syn_out_drop(node);
            np_syn_node_send(node, (np_in){NULL, 0, 0}); /* gives up */
            return;
        }
        out->count++;
    }
    if (out->cursor != NULL)
        return;
    out->building = false;
    if (!finish(out)) {
        np_syn_out_drop(node);
        np_syn_node_send(node, (np_in){NULL, 0, 0});
        return;
    }
    out->ready = true;
    if (node->scope->syn->now_ms >= node->patience_ms)
        (void)np_syn_out_push(node); /* overloaded: stays ready */
}

int np_syn_out_push(np_syn_node *node) {
    const np_syn_io *io = &node->scope->syn->io;
    np_buf *message = &node->out.message;
    NP_ASSERT(node->out.ready);
    np_in term = {np_buf_head(message), 0, np_buf_len(message)};
    int error = io->snapshot != NULL ? io->snapshot(io->arg, node->scope, node->id, message)
                                     : io->send(io->arg, node->scope, node->id, term);
    if (error == NP_EOVERLOAD)
        return error;
    np_syn_out_drop(node);
    return 0;
}

void np_syn_out_drop(np_syn_node *node) {
    np_buf_fini(&node->out.message);
    node->out = (np_syn_out){.message = NP_BUF_INIT};
}

/* ---- the journal ---- */

typedef struct record {
    uint32_t len;
    bool applied;
} record;

void np_syn_journal(np_syn_node *node, np_in message, bool applied) {
    np_bytes bytes = np_in_bytes(&message);
    record head;
    uint8_t *to;
    if (node->lossy)
        return;
    memset(&head, 0, sizeof(head));
    head.len = (uint32_t)bytes.len;
    head.applied = applied;
    if (np_buf_len(&node->journal) + bytes.len > node->scope->syn->bounds.early_bytes ||
        np_buf_reserve(&node->journal, sizeof(head) + bytes.len, &to) < 0) {
        np_syn_complain(node->scope->syn, NP_SYN_WRONG_FLOOD, node->scope, node->id, (np_in){NULL, 0, 0});
        node->lossy = true;
        return;
    }
    memcpy(to, &head, sizeof(head));
    memcpy(to + sizeof(head), bytes.data, bytes.len);
    np_buf_commit(&node->journal, sizeof(head) + bytes.len);
}

/* ---- coming in ---- */

/* The list names all there is: entries that it names move on into a new origin; those that are left go. */
static void set_apart(np_syn_node *node) {
    np_syn_origin *fresh = np_syn_origin_new(node->scope, node->id);
    if (fresh == NULL)
        return;
    node->old = node->origin;
    node->origin = fresh;
}

/* From now on elements of the list are merged. It lies in owner, whose content is taken, or in borrowed memory. */
static void begin(np_syn_node *node, np_in list, np_buf *owner) {
    np_syn_merge *merge = &node->merge;
    np_buf_fini(&merge->message);
    *merge = (np_syn_merge){.running = true, .message = NP_BUF_INIT};
    merge->list = (np_list){.rest = list}; /* np_in_list would look for its end, for milliseconds */
    if (owner != NULL) {
        merge->message = *owner;
        np_buf_init(owner);
    }
}

/* Keeps what is left of a list that lies in somebody else's memory. */
static int keep(np_syn_merge *merge) {
    np_in *rest = &merge->list.rest;
    np_bytes bytes = np_in_bytes(rest);
    int error = np_buf_append(&merge->message, bytes.data, bytes.len);
    if (error < 0)
        return error;
    *rest = (np_in){np_buf_head(&merge->message), 0, bytes.len};
    return 0;
}

void np_syn_merge_start(np_syn_node *node, np_in list, np_buf *owner, bool answer) {
    const np_syn_bounds *bounds = &node->scope->syn->bounds;
    bool small = np_in_bytes(&list).len <= bounds->copy_free_bytes;
    uint32_t slice = small ? UINT32_MAX : bounds->slice;
    begin(node, list, small ? NULL : owner);
    node->merge.doubt = node->settled ? !answer : np_buf_len(&node->journal) > 0;
    node->settled = true;
    if (answer && node->full)
        set_apart(node);
    np_syn_merge_work(node, &slice);
    if (!node->merge.running)
        return;
    if (np_buf_len(&node->merge.message) == 0 && !node->merge.replaying && keep(&node->merge) < 0) {
        np_syn_complain(node->scope->syn, NP_SYN_WRONG_RESOURCES, node->scope, node->id, (np_in){NULL, 0, 0});
        node->merge.list.left = 0;
        node->lossy = true;
    }
    np_syn_node_wake(node);
}

/* The list of an ack_sync {_, _, _, List} that was checked when it came. */
static np_in list_of(np_in ack) {
    uint32_t arity;
    int error = np_in_tuple(&ack, &arity);
    for (int i = 0; i < 3 && error == 0; i++)
        error = np_in_term(&ack, NULL);
    NP_ASSERT(error == 0);
    return ack;
}

/* An ack_sync at the front of the journal: the one to merge now. */
static void begin_from_journal(np_syn_node *node, const record *head, const uint8_t *p) {
    np_buf own = NP_BUF_INIT;
    if (np_buf_append(&own, p, head->len) < 0)
        node->lossy = true;
    np_buf_consume(&node->journal, sizeof(*head) + head->len);
    if (node->lossy)
        return;
    begin(node, list_of((np_in){np_buf_head(&own), 0, np_buf_len(&own)}), &own);
    node->merge.doubt = true; /* we asked for one */
}

static void replay(np_syn_node *node, uint32_t *slice) {
    while (*slice > 0 && np_buf_len(&node->journal) > 0) {
        record head;
        const uint8_t *p = np_buf_head(&node->journal);
        memcpy(&head, p, sizeof(head));
        --*slice;
        if (!np_syn_replay(node, (np_in){p + sizeof(head), 0, head.len}, head.applied)) {
            begin_from_journal(node, &head, p + sizeof(head));
            return;
        }
        np_buf_consume(&node->journal, sizeof(head) + head.len);
    }
    if (np_buf_len(&node->journal) > 0)
        return;
    np_buf_fini(&node->journal);
    node->merge.running = node->merge.replaying = false;
    if (node->merge.doubt)
        np_syn_node_start_over(node);
}

/* Gives back the pages of what has been merged: to free 120 MB at once at the end takes long, too. */
static void release(np_syn_merge *merge) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)merge->message.data + merge->released + page - 1) & ~(page - 1);
    uintptr_t to = (uintptr_t)(merge->list.rest.base + merge->list.rest.pos) & ~(page - 1);
    if (merge->message.data == NULL || to <= from)
        return;
    (void)madvise((void *)from, to - from, MADV_DONTNEED);
    merge->released = to - (uintptr_t)merge->message.data;
}

static void merge_elements(np_syn_node *node, uint32_t *slice) {
    np_syn_merge *merge = &node->merge;
    np_in element;
    for (; *slice > 0; --*slice) {
        if (!np_list_next(&merge->list, &element)) {
            merge->replaying = true;
            np_buf_fini(&merge->message);
            if (node->old != NULL)
                np_syn_origin_bury(node->old);
            node->old = NULL;
            return;
        }
        np_syn_merge_element(node, element);
    }
    release(merge);
}

void np_syn_merge_work(np_syn_node *node, uint32_t *slice) {
    while (node->merge.running && *slice > 0) {
        if (!node->merge.replaying)
            merge_elements(node, slice);
        else if (node->lossy)
            np_syn_node_start_over(node);
        else
            replay(node, slice);
    }
}

void np_syn_merge_drop(np_syn_node *node) {
    np_buf_fini(&node->merge.message);
    node->merge = (np_syn_merge){.message = NP_BUF_INIT};
}
