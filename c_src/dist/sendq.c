/*
 * sendq.c - see sendq.h. The fast path is push with no transfer under way: encode behind what is there, no allocation.
 */
#include "dist/sendq.h"

#include "base/assert.h"
#include "base/limits.h"
#include "dist/flags.h"
#include "dist/packet.h"
#include "term/ids.h"

#include <stdlib.h>
#include <string.h>

enum {
    KEEP_BYTES = 1 << 20, /* a buffer that has run empty gives back what it has beyond this */
    PACKET_MAX = INT32_MAX,
};

/* A message that waits: large ones go out in fragments, small ones in one packet. */
typedef struct transfer {
    struct transfer *next;
    size_t control_len;
    size_t payload_len;
    size_t sent;       /* of the payload */
    uint64_t sequence; /* 0: no fragment of it has been queued yet */
    uint64_t id;       /* of the next fragment */
    const uint8_t *payload;
    uint8_t *owned; /* the allocation the payload lies in; NULL: in data */
    uint8_t data[]; /* control tuple, payload unless owned */
} transfer;

/* A process with at least one message that waits. */
typedef struct np_sendq_sender {
    np_pid pid;
    struct np_sendq_sender *next; /* in the ring */
    transfer *first, *last;
} sender;

static bool has_pid(const void *item, const void *key) { return np_pid_eq(&((const sender *)item)->pid, key); }

void np_sendq_init(np_sendq *queue, uint64_t flags) {
    memset(queue, 0, sizeof *queue);
    np_buf_init(&queue->writing);
    np_buf_init(&queue->filling);
    np_buf_init(&queue->scratch);
    np_map_init(&queue->senders, has_pid);
    queue->flags = flags;
}

static void free_transfer(transfer *t) {
    free(t->owned);
    free(t);
}

static void drop_sender(sender *s) {
    for (transfer *t = s->first, *next; t != NULL; t = next) {
        next = t->next;
        free_transfer(t);
    }
    free(s);
}

void np_sendq_fini(np_sendq *queue) {
    sender *s;
    for (uint32_t at = 0; (s = np_map_next(&queue->senders, &at)) != NULL;)
        drop_sender(s);
    np_map_fini(&queue->senders);
    np_buf_fini(&queue->writing);
    np_buf_fini(&queue->filling);
    np_buf_fini(&queue->scratch);
}

/* ---- small messages ---- */

static bool header_mode(const np_sendq *queue) {
    return (queue->flags & (NP_DFLAG_FRAGMENTS | NP_DFLAG_DIST_HDR_ATOM_CACHE)) != 0;
}

static size_t payload_len(const np_control *control) { return control->payload.end - control->payload.pos; }

/* What stands between the length and the control tuple of an unfragmented packet. */
static int append_head(np_sendq *queue) {
    uint8_t *p;
    int rc = np_buf_reserve(&queue->filling, NP_PACKET_LEN_BYTES + 3, &p);
    if (rc < 0)
        return rc;
    if (header_mode(queue)) {
        p[NP_PACKET_LEN_BYTES] = NP_PACKET_VERSION;
        p[NP_PACKET_LEN_BYTES + 1] = NP_PACKET_DIST_HEADER;
        p[NP_PACKET_LEN_BYTES + 2] = 0;
        np_buf_commit(&queue->filling, NP_PACKET_LEN_BYTES + 3);
    } else {
        p[NP_PACKET_LEN_BYTES] = NP_PACKET_PASS_THROUGH;
        p[NP_PACKET_LEN_BYTES + 1] = NP_PACKET_VERSION;
        np_buf_commit(&queue->filling, NP_PACKET_LEN_BYTES + 2);
    }
    return 0;
}

static int append_payload(np_sendq *queue, const uint8_t *payload, size_t len) {
    int rc = header_mode(queue) ? 0 : np_buf_append_u8(&queue->filling, NP_PACKET_VERSION);
    return rc < 0 ? rc : np_buf_append(&queue->filling, payload, len);
}

/* Writes the length of the packet that begins at `mark`. */
static void close_packet(np_sendq *queue, size_t mark) {
    size_t len = np_buf_len(&queue->filling) - mark - NP_PACKET_LEN_BYTES;
    np_put_u32(queue->filling.data + queue->filling.off + mark, (uint32_t)len);
    queue->packets++;
}

static int push_packet(np_sendq *queue, const np_control *control, size_t bound) {
    size_t mark = np_buf_len(&queue->filling);
    bool has_payload = false;
    int rc = append_head(queue);
    if (rc == 0)
        rc = np_control_encode(control, queue->flags, &queue->filling, &has_payload);
    if (rc == 0 && has_payload)
        rc = append_payload(queue, control->payload.base + control->payload.pos, payload_len(control));
    if (rc == 0 && np_buf_len(&queue->filling) - mark > PACKET_MAX)
        rc = NP_ELIMIT;
    if (rc == 0 && np_sendq_len(queue) > bound)
        rc = NP_EOVERLOAD;
    if (rc < 0) {
        np_buf_truncate(&queue->filling, mark);
        return rc;
    }
    close_packet(queue, mark);
    return 0;
}

/* ---- transfers ---- */

static sender *find_sender(const np_sendq *queue, const np_pid *pid) {
    return np_map_count(&queue->senders) == 0 ? NULL : np_map_get(&queue->senders, np_pid_hash(pid), pid);
}

/* A new sender has its first turn after all others. */
static sender *add_sender(np_sendq *queue, const np_pid *pid) {
    sender *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->pid = *pid;
    if (np_map_add(&queue->senders, np_pid_hash(pid), s) < 0) {
        free(s);
        return NULL;
    }
    if (queue->turn == NULL) {
        s->next = s;
    } else {
        s->next = queue->turn->next;
        queue->turn->next = s;
    }
    queue->turn = s;
    return s;
}

/* Takes the one whose turn it is out of the ring. */
static void remove_turn(np_sendq *queue) {
    sender *s = queue->turn->next;
    if (s == queue->turn)
        queue->turn = NULL;
    else
        queue->turn->next = s->next;
    np_map_remove(&queue->senders, np_pid_hash(&s->pid), &s->pid);
    drop_sender(s);
}

static size_t transfer_size(const transfer *t) { return sizeof *t + t->control_len + t->payload_len; }

/* Leaves the owner alone: the payload is its until the transfer stands in the queue. */
static transfer *make_transfer(np_sendq *queue, const np_control *control, size_t payload, bool owned) {
    size_t control_len = np_buf_len(&queue->scratch);
    transfer *t = malloc(sizeof *t + control_len + (owned ? 0 : payload));
    if (t == NULL)
        return NULL;
    *t = (transfer){.control_len = control_len, .payload_len = payload};
    memcpy(t->data, np_buf_head(&queue->scratch), control_len);
    t->payload = owned ? control->payload.base + control->payload.pos : t->data + control_len;
    if (payload > 0 && !owned)
        memcpy(t->data + control_len, control->payload.base + control->payload.pos, payload);
    return t;
}

/* Queues behind the sender's other messages, or begins a transfer. */
static int push_transfer(np_sendq *queue, sender *s, const np_control *control, size_t bound, np_buf *owner) {
    bool has_payload;
    np_buf_clear(&queue->scratch, KEEP_BYTES);
    int rc = np_control_encode(control, queue->flags, &queue->scratch, &has_payload);
    if (rc < 0)
        return rc;
    size_t payload = has_payload ? payload_len(control) : 0;
    if (s == NULL && payload <= NP_FRAGMENT_BYTES)
        return push_packet(queue, control, bound);
    if (np_buf_len(&queue->scratch) > PACKET_MAX)
        return NP_ELIMIT;
    if (np_sendq_len(queue) + sizeof(transfer) + np_buf_len(&queue->scratch) + payload > bound)
        return NP_EOVERLOAD;
    transfer *t = make_transfer(queue, control, payload, owner != NULL);
    if (t == NULL)
        return NP_ENOMEM;
    if (s == NULL)
        s = add_sender(queue, &control->from);
    if (s == NULL) {
        free(t);
        return NP_ENOMEM;
    }
    if (s->last == NULL)
        s->first = t;
    else
        s->last->next = t;
    s->last = t;
    queue->transfer_bytes += transfer_size(t);
    if (owner != NULL) {
        t->owned = owner->data;
        np_buf_init(owner);
    }
    return 0;
}

int np_sendq_push(np_sendq *queue, const np_control *control, size_t bound, np_buf *owner) {
    size_t len = payload_len(control);
    /*
     * Before anything is copied. A signal that would not even fit into an empty queue is not overload: it can never
     * be sent.
     */
    if (len > PACKET_MAX || len > bound)
        return NP_ELIMIT;
    if (np_sendq_len(queue) + len > bound)
        return NP_EOVERLOAD;
    sender *s = find_sender(queue, &control->from);
    bool large = (queue->flags & NP_DFLAG_FRAGMENTS) && len > NP_FRAGMENT_BYTES;
    return s != NULL || large ? push_transfer(queue, s, control, bound, owner) : push_packet(queue, control, bound);
}

/* One packet for a message that is not large. The room has been reserved. */
static void pump_whole(np_sendq *queue, transfer *t) {
    size_t mark = np_buf_len(&queue->filling);
    int rc = append_head(queue);
    if (rc == 0)
        rc = np_buf_append(&queue->filling, t->data, t->control_len);
    if (rc == 0 && t->payload_len > 0)
        rc = append_payload(queue, t->payload, t->payload_len);
    NP_ASSERT(rc == 0);
    close_packet(queue, mark);
    t->sent = t->payload_len;
}

static void pump_fragment(np_sendq *queue, transfer *t, uint8_t *p) {
    bool first = t->sequence == 0;
    size_t slice = t->payload_len - t->sent < NP_FRAGMENT_BYTES ? t->payload_len - t->sent : NP_FRAGMENT_BYTES;
    size_t len = (NP_PACKET_LEN_BYTES + NP_PACKET_FRAGMENT_HEAD) + slice;
    if (first) {
        t->sequence = ++queue->sequence;
        t->id = (t->payload_len + NP_FRAGMENT_BYTES - 1) / NP_FRAGMENT_BYTES;
        len += 1 + t->control_len;
    }
    np_put_u32(p, (uint32_t)(len - NP_PACKET_LEN_BYTES));
    p[NP_PACKET_LEN_BYTES] = NP_PACKET_VERSION;
    p[NP_PACKET_LEN_BYTES + 1] = first ? NP_PACKET_FRAG_HEADER : NP_PACKET_FRAG_CONT;
    np_put_u64(p + NP_PACKET_LEN_BYTES + 2, t->sequence);
    np_put_u64(p + NP_PACKET_LEN_BYTES + 10, t->id);
    p += (NP_PACKET_LEN_BYTES + NP_PACKET_FRAGMENT_HEAD);
    if (first) {
        *p++ = 0;
        memcpy(p, t->data, t->control_len);
        p += t->control_len;
    }
    memcpy(p, t->payload + t->sent, slice);
    np_buf_commit(&queue->filling, len);
    t->sent += slice;
    t->id--;
    queue->packets++;
    queue->fragments++;
    NP_ASSERT((t->id == 0) == (t->sent == t->payload_len));
}

/* One packet of the sender whose turn it is; then it is the next one's turn. */
static int pump_turn(np_sendq *queue) {
    sender *s = queue->turn->next;
    transfer *t = s->first;
    bool whole = t->payload_len <= NP_FRAGMENT_BYTES || !(queue->flags & NP_DFLAG_FRAGMENTS);
    size_t slice = whole ? t->payload_len : NP_FRAGMENT_BYTES;
    uint8_t *p;
    int rc = np_buf_reserve(&queue->filling,
                            (NP_PACKET_LEN_BYTES + NP_PACKET_FRAGMENT_HEAD) + 1 + t->control_len + slice, &p);
    if (rc < 0)
        return rc;
    if (whole)
        pump_whole(queue, t);
    else
        pump_fragment(queue, t, p);
    if (t->sent < t->payload_len) {
        queue->turn = s;
        return 0;
    }
    queue->transfer_bytes -= transfer_size(t);
    s->first = t->next;
    free_transfer(t);
    if (s->first == NULL) {
        s->last = NULL;
        remove_turn(queue);
    } else {
        queue->turn = s;
    }
    return 0;
}

/*
 * Feeds transfers to the output while it is short. Out of memory: what is there goes out first, and the rest is tried
 * again after it.
 */
static void pump(np_sendq *queue) {
    while (queue->turn != NULL && np_buf_len(&queue->writing) + np_buf_len(&queue->filling) < NP_OUT_PUMP_BYTES)
        if (pump_turn(queue) < 0)
            return;
}

/* ---- output ---- */

int np_sendq_tick(np_sendq *queue) { return np_buf_append_u32(&queue->filling, 0); }

np_bytes np_sendq_output(np_sendq *queue) {
    if (queue->turn != NULL)
        pump(queue);
    if (np_buf_len(&queue->writing) == 0) {
        np_buf swap = queue->writing;
        queue->writing = queue->filling;
        queue->filling = swap;
    }
    return (np_bytes){np_buf_head(&queue->writing), np_buf_len(&queue->writing)};
}

void np_sendq_sent(np_sendq *queue, size_t bytes) {
    NP_ASSERT(bytes <= np_buf_len(&queue->writing));
    if (bytes == np_buf_len(&queue->writing))
        np_buf_clear(&queue->writing, KEEP_BYTES);
    else
        queue->writing.off += bytes; /* not np_buf_consume: nothing has to move */
}
