/* wire.c - see wire.h. Any thread. */
#include "term/wire.h"

#include "base/assert.h"
#include "base/utf8.h"

#include <ei.h>

np_str np_wire_atom(const uint8_t *p, uint8_t *scratch) {
    bool small = *p == TAG_SMALL_ATOM_UTF8 || *p == TAG_SMALL_ATOM;
    const uint8_t *text = p + (small ? 2 : 3);
    size_t len = small ? p[1] : np_get_u16(p + 1);
    if (*p == TAG_ATOM || *p == TAG_SMALL_ATOM) {
        size_t converted = 0;
        for (size_t i = 0; i < len; i++)
            converted += np_utf8_put(scratch + converted, text[i]);
        text = scratch;
        len = converted;
    }
    return (np_str){(const char *)text, len};
}

const uint8_t *np_wire_pid(const uint8_t *p, np_wire_id *id) {
    id->node = p + 1;
    const uint8_t *at = p + 1 + np_wire_atom_size(p + 1);
    id->num = np_get_u32(at);
    id->serial = np_get_u32(at + 4);
    id->creation = *p == TAG_NEW_PID ? np_get_u32(at + 8) : at[8];
    return at + (*p == TAG_NEW_PID ? 12 : 9);
}

const uint8_t *np_wire_port(const uint8_t *p, np_wire_id *id) {
    id->node = p + 1;
    const uint8_t *at = p + 1 + np_wire_atom_size(p + 1);
    size_t num_len = *p == TAG_V4_PORT ? 8 : 4;
    id->num = *p == TAG_V4_PORT ? np_get_u64(at) : np_get_u32(at);
    at += num_len;
    id->creation = *p == TAG_PORT ? at[0] : np_get_u32(at);
    return at + (*p == TAG_PORT ? 1 : 4);
}

const uint8_t *np_wire_ref(const uint8_t *p, np_wire_id *id) {
    memset(id->id, 0, sizeof(id->id));
    if (*p == TAG_REFERENCE) {
        id->node = p + 1;
        const uint8_t *at = p + 1 + np_wire_atom_size(p + 1);
        id->len = 1;
        id->id[0] = np_get_u32(at);
        id->creation = at[4];
        return at + 5;
    }
    id->len = np_get_u16(p + 1);
    id->node = p + 3;
    const uint8_t *at = p + 3 + np_wire_atom_size(p + 3);
    id->creation = *p == TAG_NEWER_REFERENCE ? np_get_u32(at) : at[0];
    at += *p == TAG_NEWER_REFERENCE ? 4 : 1;
    for (uint32_t i = 0; i < id->len; i++, at += 4)
        id->id[i] = np_get_u32(at);
    return at;
}

uint32_t np_wire_ref_words(const np_wire_id *id) {
    uint32_t len = id->len;
    while (len > 0 && id->id[len - 1] == 0)
        len--;
    return len;
}

const uint8_t *np_wire_bits_read(const uint8_t *p, np_wire_bits *bits) {
    bits->len = np_get_u32(p + 1);
    bits->last_bits = *p == TAG_BINARY || bits->len == 0 ? 8 : p[5];
    bits->data = p + (*p == TAG_BINARY ? 5 : 6);
    return bits->data + bits->len;
}

void np_wire_fun_read(const uint8_t *p, np_wire_fun *fun) {
    fun->arity = p[5];
    fun->uniq = p + 6;
    fun->index = np_get_u32(p + 22);
    fun->num_free = np_get_u32(p + 26);
    fun->module = p + NP_WIRE_FUN_HEAD;
    const uint8_t *at = fun->module + np_wire_atom_size(fun->module);
    fun->old_index = np_wire_int(at);
    at = np_wire_skip(at);
    fun->old_uniq = np_wire_int(at);
    fun->pid = np_wire_skip(at);
    fun->free = np_wire_skip(fun->pid);
}

double np_wire_float(const uint8_t *p) {
    double value = 0;
    int index = 0;
    int failed = ei_decode_double((const char *)p, &index, &value);
    NP_ASSERT(failed == 0); /* validated */
    return value;
}

void np_wire_list_open(np_wire_list *list, const uint8_t *p) { *list = (np_wire_list){.p = p}; }

const uint8_t *np_wire_list_element(np_wire_list *list) {
    static const uint8_t nil = TAG_NIL;
    while (list->left == 0) {
        if (list->tail != NULL)
            return NULL;
        if (list->bytes) { /* a byte list has no tail of its own */
            list->tail = &nil;
            list->end = list->p;
            return NULL;
        }
        if (*list->p == TAG_LIST) {
            list->left = np_get_u32(list->p + 1);
            list->p += 5;
        } else if (*list->p == TAG_STRING) {
            list->left = np_get_u16(list->p + 1);
            list->p += 3;
            list->bytes = true;
        } else {
            list->tail = list->p;
            list->end = np_wire_skip(list->p);
            return NULL;
        }
    }
    list->left--;
    if (!list->bytes)
        return list->p;
    list->small[0] = TAG_SMALL_INTEGER;
    list->small[1] = *list->p++;
    return list->small;
}
