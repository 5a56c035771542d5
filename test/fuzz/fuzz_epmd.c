/*
 * epmd's answers from any bytes: what is read lies within them, more bytes never change an answer already given, and
 * a node name that is taken is made of the pieces it was split into.
 */
#include "base/assert.h"
#include "dist/epmd.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef int (*reader)(const uint8_t *data, size_t len);

static int read_alive2(const uint8_t *data, size_t len) {
    uint32_t creation;
    return np_epmd_read_alive2(data, len, &creation);
}

static int read_port2(const uint8_t *data, size_t len) {
    np_epmd_entry entry = {0};
    int rc = np_epmd_read_port2(data, len, &entry);
    NP_ASSERT(rc < 0 || entry.port != 0);
    return rc;
}

/* As it comes from a socket: byte by byte, each time all there is so far, in an allocation of exactly that size. */
static void grow(reader read, const uint8_t *data, size_t size) {
    int answer = NP_EAGAIN;
    for (size_t len = 0; len <= size && len < 64; len++) {
        uint8_t *copy = malloc(len > 0 ? len : 1);
        NP_ASSERT(copy != NULL);
        if (len > 0)
            memcpy(copy, data, len);
        int rc = read(copy, len);
        free(copy);
        NP_ASSERT(rc <= (int)len && rc != 0);
        NP_ASSERT(answer == NP_EAGAIN || rc == answer);
        answer = rc;
    }
    int rc = read(data, size);
    NP_ASSERT(rc <= (int)size && (answer == NP_EAGAIN || rc == answer));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    np_str alive, host;
    const char *why = NULL;
    grow(read_alive2, data, size);
    grow(read_port2, data, size);
    int rc = np_epmd_split_name((const char *)data, size, &alive, &host, &why);
    NP_ASSERT((rc == 0) == (why == NULL));
    if (rc == 0) {
        NP_ASSERT(alive.data == (const char *)data && alive.len > 0 && host.len > 0);
        NP_ASSERT(alive.data[alive.len] == '@' && host.data == alive.data + alive.len + 1);
        NP_ASSERT(alive.len + 1 + host.len == size);
    }
    return 0;
}
