/* names.c - see names.h. */
#include "term/names.h"

#include "base/assert.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/utf8.h"
#include "term/wire.h"

#include <stdlib.h>

typedef struct name {
    np_node_id id;
    uint16_t text_len;
    uint16_t head_len;
    uint8_t atom[]; /* the name as an external atom, and a terminator */
} name;

enum { RECENT = 64 };

static name *by_id[NP_NODE_NAMES_MAX];
static uint32_t count; /* ids 1 .. count are in use */
static np_map by_text;
static name
    *recent[RECENT]; /* the last one seen of each hash: messages name the same one or two nodes again and again */

static const char *text_of(const name *n) { return (const char *)n->atom + n->head_len; }

static bool same_text(const void *item, const void *key) {
    const name *n = item;
    const np_str *text = key;
    return n->text_len == text->len && memcmp(text_of(n), text->data, text->len) == 0;
}

static uint32_t recent_slot(const char *text, size_t len) {
    uint64_t front = 0;
    uint64_t back = 0;
    size_t n = len < 8 ? len : 8;
    memcpy(&front, text, n);
    memcpy(&back, text + len - n, n);
    return (uint32_t)(((front ^ (back << 1) ^ len) * UINT64_C(0x9E3779B97F4A7C15)) >> 58);
}

static int add(np_str text, uint64_t hash, name **added) {
    if (count + 1 >= NP_NODE_NAMES_MAX)
        return NP_ELIMIT;
    uint16_t head_len = text.len <= UINT8_MAX ? 2 : 3;
    name *n = malloc(sizeof(*n) + head_len + text.len + 1);
    if (n == NULL)
        return NP_ENOMEM;
    n->id = count + 1;
    n->text_len = (uint16_t)text.len;
    n->head_len = head_len;
    n->atom[0] = head_len == 2 ? TAG_SMALL_ATOM_UTF8 : TAG_ATOM_UTF8;
    if (head_len == 2)
        n->atom[1] = (uint8_t)text.len;
    else
        np_put_u16(n->atom + 1, (uint16_t)text.len);
    memcpy(n->atom + head_len, text.data, text.len);
    n->atom[head_len + text.len] = '\0';
    if (by_text.eq == NULL)
        np_map_init(&by_text, same_text);
    int error = np_map_add(&by_text, hash, n);
    if (error < 0) {
        free(n);
        return error;
    }
    by_id[++count] = n;
    *added = n;
    return 0;
}

int np_name_intern(const char *text, size_t len, np_node_id *id) {
    if (len == 0 || len > NP_ATOM_BYTES_MAX)
        return NP_EINVAL;
    np_str key = {text, len};
    name **slot = &recent[recent_slot(text, len)];
    if (*slot == NULL || !same_text(*slot, &key)) {
        uint64_t hash = np_hash_bytes(text, len);
        name *n = np_map_get(&by_text, hash, &key);
        if (n == NULL) {
            int64_t chars = np_utf8_count((const uint8_t *)text, len);
            if (chars < 0 || chars > NP_ATOM_CHARS_MAX)
                return NP_EINVAL;
            int error = add(key, hash, &n);
            if (error < 0)
                return error;
        }
        *slot = n;
    }
    *id = (*slot)->id;
    return 0;
}

np_node_id np_name_id(const char *text) {
    np_node_id id = 0;
    int error = np_name_intern(text, strlen(text), &id);
    NP_ASSERT(error == 0);
    return id;
}

const char *np_name_text(np_node_id id) { return np_name_str(id).data; }

np_str np_name_str(np_node_id id) {
    NP_ASSERT(id <= count);
    return id == 0 ? (np_str){"", 0} : (np_str){text_of(by_id[id]), by_id[id]->text_len};
}

np_bytes np_name_atom(np_node_id id) {
    NP_ASSERT(id != 0 && id <= count);
    return (np_bytes){by_id[id]->atom, (size_t)by_id[id]->head_len + by_id[id]->text_len};
}

int np_name_cmp(np_node_id a, np_node_id b) {
    if (a == b)
        return 0;
    np_str x = np_name_str(a);
    np_str y = np_name_str(b);
    int order = memcmp(x.data, y.data, x.len < y.len ? x.len : y.len);
    return order != 0 ? order : x.len < y.len ? -1 : 1;
}
