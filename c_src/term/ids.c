/* ids.c - see ids.h. */
#include "term/ids.h"

#include "term/names.h"

#include <stdio.h>
#include <string.h>

static int order_u32(uint32_t a, uint32_t b) { return a < b ? -1 : a > b; }

int np_pid_cmp(const np_pid *a, const np_pid *b) {
    int order = order_u32(a->serial, b->serial);
    if (order == 0)
        order = order_u32(a->num, b->num);
    if (order == 0)
        order = np_name_cmp(a->node, b->node);
    return order != 0 ? order : order_u32(a->creation, b->creation);
}

/* Unused words are zero, and OTP takes a missing word for zero: the number of words does not matter. */
bool np_ref_eq(const np_ref *a, const np_ref *b) {
    return a->node == b->node && a->creation == b->creation && memcmp(a->id, b->id, sizeof(a->id)) == 0;
}

uint64_t np_ref_hash(const np_ref *ref) {
    uint64_t hash = np_hash_mix(((uint64_t)ref->id[0] << 32) | ref->id[1], ((uint64_t)ref->node << 32) | ref->creation);
    return np_hash_mix(hash ^ (((uint64_t)ref->id[2] << 32) | ref->id[3]), ref->id[4]);
}

const char *np_pid_text(const np_pid *pid, char *buf) {
    (void)snprintf(buf, NP_ID_TEXT_MAX, "<%s.%u.%u.%u>", np_name_text(pid->node), pid->num, pid->serial, pid->creation);
    return buf;
}

const char *np_ref_text(const np_ref *ref, char *buf) {
    uint32_t words = ref->len <= NP_REF_WORDS_MAX ? ref->len : NP_REF_WORDS_MAX;
    size_t len = (size_t)snprintf(buf, NP_ID_TEXT_MAX, "#Ref<%s.%u", np_name_text(ref->node), ref->creation);
    for (uint32_t i = 0; i < words; i++)
        len += (size_t)snprintf(buf + len, NP_ID_TEXT_MAX - len, ".%u", ref->id[i]);
    (void)snprintf(buf + len, NP_ID_TEXT_MAX - len, ">");
    return buf;
}
