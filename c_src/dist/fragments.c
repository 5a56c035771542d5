/*
 * fragments.c - reassembly, by the rules of "Protocol for fragmented messages" in the ERTS user's guide and of
 * erts/emulator/beam/dist.c: the whole control tuple in the first fragment, ids that count down to 1, messages of
 * several senders in any interleaving.
 */
#include "dist/fragments.h"

#include "base/limits.h"

#include <stdlib.h>

static bool has_sequence(const void *item, const void *key) {
    return ((const np_fragmented *)item)->sequence == *(const uint64_t *)key;
}

void np_fragments_init(np_fragments *fragments, size_t message_max) {
    np_map_init(&fragments->open, has_sequence);
    fragments->bytes = 0;
    fragments->message_max = message_max;
}

void np_fragments_fini(np_fragments *fragments) {
    np_fragmented *message;
    for (uint32_t at = 0; (message = np_map_next(&fragments->open, &at)) != NULL;)
        np_fragmented_destroy(&message);
    np_map_fini(&fragments->open);
}

void np_fragmented_destroy(np_fragmented **message) {
    if (*message == NULL)
        return;
    np_buf_fini(&(*message)->data);
    free(*message);
    *message = NULL;
}

static int refuse(int error, const char *text, const char **why) {
    *why = text;
    return error;
}

static int append(np_fragments *fragments, np_fragmented *message, const uint8_t *data, size_t len, const char **why) {
    if (len > fragments->message_max - np_buf_len(&message->data))
        return refuse(NP_ELIMIT, "fragmented message is larger than the limit", why);
    if (len > NP_FRAGMENTS_BYTES_MAX - fragments->bytes)
        return refuse(NP_ELIMIT, "unfinished fragmented messages are larger than the limit together", why);
    if (len > 0 && np_buf_append(&message->data, data, len) < 0)
        return refuse(NP_ENOMEM, "out of memory", why);
    fragments->bytes += len;
    return 0;
}

int np_fragments_first(np_fragments *fragments, uint64_t sequence, uint64_t id, const uint8_t *data, size_t len,
                       size_t control_len, const char **why) {
    uint64_t hash = np_hash_u64(sequence);
    if (np_map_get(&fragments->open, hash, &sequence) != NULL)
        return refuse(NP_EPROTO, "first fragment of a sequence that is under way", why);
    if (np_map_count(&fragments->open) >= NP_FRAGMENTS_OPEN_MAX)
        return refuse(NP_ELIMIT, "too many unfinished fragmented messages", why);
    np_fragmented *message = calloc(1, sizeof *message);
    if (message == NULL)
        return refuse(NP_ENOMEM, "out of memory", why);
    message->sequence = sequence;
    message->awaited = id - 1;
    message->control_len = control_len;
    int rc = append(fragments, message, data, len, why);
    if (rc == 0 && np_map_add(&fragments->open, hash, message) < 0) {
        fragments->bytes -= len;
        rc = refuse(NP_ENOMEM, "out of memory", why);
    }
    if (rc < 0)
        np_fragmented_destroy(&message);
    return rc;
}

int np_fragments_next(np_fragments *fragments, uint64_t sequence, uint64_t id, const uint8_t *data, size_t len,
                      np_fragmented **message, const char **why) {
    uint64_t hash = np_hash_u64(sequence);
    np_fragmented *m = np_map_get(&fragments->open, hash, &sequence);
    if (m == NULL)
        return refuse(NP_EPROTO, "fragment of a sequence that was not begun", why);
    if (m->awaited != id)
        return refuse(NP_EPROTO, "fragment out of order", why);
    int rc = append(fragments, m, data, len, why);
    if (rc < 0)
        return rc;
    if (id > 1) {
        m->awaited--;
        return 0;
    }
    np_map_remove(&fragments->open, hash, &sequence);
    fragments->bytes -= np_buf_len(&m->data);
    *message = m;
    return 1;
}
