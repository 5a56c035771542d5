/*
 * names.c - registered names: a table from the name's text to the process that holds it.
 *
 * Main thread. The text is shared with monitors that were asked for by name, because their DOWN has to show the name
 * as asked even when it is registered no longer.
 */
#include "proc/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

typedef struct np_regname {
    np_text *text;
    uint32_t slot;                  /* index of the process */
    struct np_regname *next, *prev; /* the process's other names, in order of registration */
} np_regname;

static bool name_eq(const void *item, const void *key) {
    const np_text *text = ((const np_regname *)item)->text;
    const np_str *str = key;
    return text->len == str->len && memcmp(text->data, str->data, str->len) == 0;
}

np_text *np_text_new(np_str text) {
    np_text *copy = malloc(sizeof(*copy) + text.len);
    if (copy == NULL)
        return NULL;
    copy->refs = 1;
    copy->len = (uint32_t)text.len;
    memcpy(copy->data, text.data, text.len);
    return copy;
}

void np_text_unref(np_text *text) {
    if (text != NULL && --text->refs == 0)
        free(text);
}

np_regname *np_regname_find(const np_procs *procs, np_str name) {
    return np_map_get(&procs->names, np_hash_bytes(name.data, name.len), &name);
}

bool np_regname_pid(const np_procs *procs, const np_regname *name, np_pid *pid) {
    const np_slot *slot = np_slot_at(procs, name->slot);
    *pid = (np_pid){procs->node, name->slot + 1, slot->serial, procs->creation};
    return slot->proc_class != NULL;
}

np_text *np_regname_text(np_regname *name) {
    name->text->refs++;
    return name->text;
}

void np_regnames_init(np_procs *procs) { np_map_init(&procs->names, name_eq); }

/* What OTP's register/2 takes: an atom but `undefined`. */
static bool valid(const char *name, size_t len) {
    static const char undefined[] = "undefined";
    if (len == 0 || len > NP_ATOM_BYTES_MAX)
        return false;
    if (len == sizeof(undefined) - 1 && memcmp(name, undefined, len) == 0)
        return false;
    size_t chars = 0;
    for (size_t i = 0; i < len; i++)
        chars += ((unsigned char)name[i] & 0xC0) != 0x80;
    return chars <= NP_ATOM_CHARS_MAX;
}

int np_procs_register(np_procs *procs, const np_pid *pid, const char *name, size_t len) {
    np_str str = {name, len};
    if (!valid(name, len))
        return NP_EINVAL;
    if (np_slot_find(procs, pid) == NULL)
        return NP_ENOPROC;
    if (np_map_count(&procs->names) >= NP_NAMES_MAX)
        return NP_ELIMIT;
    if (np_regname_find(procs, str) != NULL)
        return NP_EEXIST;

    np_proc_extra *extra = np_slot_need_extra(procs, pid->num - 1);
    np_regname *entry = calloc(1, sizeof(*entry));
    np_text *text = np_text_new(str);
    int rc = NP_ENOMEM;
    if (extra == NULL || entry == NULL || text == NULL)
        goto fail;
    entry->text = text;
    entry->slot = pid->num - 1;
    rc = np_map_add(&procs->names, np_hash_bytes(name, len), entry);
    if (rc < 0)
        goto fail;
    entry->prev = extra->last_name;
    if (extra->last_name != NULL)
        extra->last_name->next = entry;
    else
        extra->first_name = entry;
    extra->last_name = entry;
    return 0;

fail:
    np_text_unref(text);
    free(entry);
    return rc;
}

/* Takes a name that is out of the table already from its process's list, and frees it. */
static void drop(np_proc_extra *extra, np_regname *name) {
    if (name->prev != NULL)
        name->prev->next = name->next;
    else
        extra->first_name = name->next;
    if (name->next != NULL)
        name->next->prev = name->prev;
    else
        extra->last_name = name->prev;
    np_text_unref(name->text);
    free(name);
}

int np_procs_unregister(np_procs *procs, const char *name, size_t len) {
    np_str str = {name, len};
    np_regname *entry = np_map_remove(&procs->names, np_hash_bytes(name, len), &str);
    if (entry == NULL)
        return NP_ENOENT;
    drop(*np_slot_extra(procs, entry->slot), entry);
    return 0;
}

int np_procs_whereis(const np_procs *procs, const char *name, size_t len, np_pid *pid) {
    const np_regname *entry = np_regname_find(procs, (np_str){name, len});
    if (entry == NULL)
        return NP_ENOENT;
    bool live = np_regname_pid(procs, entry, pid);
    NP_ASSERT(live); /* names go with their process */
    return 0;
}

np_str np_procs_name_of(const np_procs *procs, const np_pid *pid) {
    const np_proc_extra *extra = np_slot_find(procs, pid) != NULL ? *np_slot_extra(procs, pid->num - 1) : NULL;
    if (extra == NULL || extra->first_name == NULL)
        return (np_str){NULL, 0};
    const np_text *text = extra->first_name->text;
    return (np_str){text->data, text->len};
}

bool np_procs_next_name(const np_procs *procs, uint32_t *at, np_str *name, np_pid *pid) {
    const np_regname *entry = np_map_next(&procs->names, at);
    if (entry == NULL)
        return false;
    *name = (np_str){entry->text->data, entry->text->len};
    return np_regname_pid(procs, entry, pid);
}

void np_regnames_release(np_procs *procs, uint32_t index) {
    np_proc_extra *extra = *np_slot_extra(procs, index);
    while (extra != NULL && extra->first_name != NULL) {
        np_regname *name = extra->first_name;
        np_str str = {name->text->data, name->text->len};
        void *gone = np_map_remove(&procs->names, np_hash_bytes(str.data, str.len), &str);
        NP_ASSERT(gone == name);
        drop(extra, name);
    }
}

void np_regnames_fini(np_procs *procs) {
    for (uint32_t i = 0; i < procs->slots; i++)
        np_regnames_release(procs, i);
    np_map_fini(&procs->names);
}
