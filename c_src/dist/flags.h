/*
 * flags.h - the capability flags of the distribution handshake (erts/emulator/beam/dist.h).
 */
#ifndef NP_DIST_FLAGS_H
#define NP_DIST_FLAGS_H

#include <stdint.h>

#define NP_DFLAG_PUBLISHED           UINT64_C(0x1)
#define NP_DFLAG_ATOM_CACHE          UINT64_C(0x2)
#define NP_DFLAG_EXTENDED_REFERENCES UINT64_C(0x4)
#define NP_DFLAG_DIST_MONITOR        UINT64_C(0x8)
#define NP_DFLAG_FUN_TAGS            UINT64_C(0x10)
#define NP_DFLAG_DIST_MONITOR_NAME   UINT64_C(0x20)
#define NP_DFLAG_HIDDEN_ATOM_CACHE   UINT64_C(0x40)
#define NP_DFLAG_NEW_FUN_TAGS        UINT64_C(0x80)
#define NP_DFLAG_EXTENDED_PIDS_PORTS UINT64_C(0x100)
#define NP_DFLAG_EXPORT_PTR_TAG      UINT64_C(0x200)
#define NP_DFLAG_BIT_BINARIES        UINT64_C(0x400)
#define NP_DFLAG_NEW_FLOATS          UINT64_C(0x800)
#define NP_DFLAG_UNICODE_IO          UINT64_C(0x1000)
#define NP_DFLAG_DIST_HDR_ATOM_CACHE UINT64_C(0x2000)
#define NP_DFLAG_SMALL_ATOM_TAGS     UINT64_C(0x4000)
#define NP_DFLAG_UTF8_ATOMS          UINT64_C(0x10000)
#define NP_DFLAG_MAP_TAG             UINT64_C(0x20000)
#define NP_DFLAG_BIG_CREATION        UINT64_C(0x40000)
#define NP_DFLAG_SEND_SENDER         UINT64_C(0x80000)
#define NP_DFLAG_BIG_SEQTRACE_LABELS UINT64_C(0x100000)
#define NP_DFLAG_EXIT_PAYLOAD        UINT64_C(0x400000)
#define NP_DFLAG_FRAGMENTS           UINT64_C(0x800000)
#define NP_DFLAG_HANDSHAKE_23        UINT64_C(0x1000000)
#define NP_DFLAG_UNLINK_ID           UINT64_C(0x2000000)
#define NP_DFLAG_MANDATORY_25_DIGEST UINT64_C(0x4000000)
#define NP_DFLAG_SPAWN               (UINT64_C(1) << 32)
#define NP_DFLAG_NAME_ME             (UINT64_C(2) << 32)
#define NP_DFLAG_V4_NC               (UINT64_C(4) << 32)
#define NP_DFLAG_ALIAS               (UINT64_C(8) << 32)

/* What OTP 25 and later demand of a peer, and what the digest bit stands for. */
#define NP_DFLAGS_MANDATORY                                                                                            \
    (NP_DFLAG_EXTENDED_REFERENCES | NP_DFLAG_FUN_TAGS | NP_DFLAG_NEW_FUN_TAGS | NP_DFLAG_EXTENDED_PIDS_PORTS |         \
     NP_DFLAG_EXPORT_PTR_TAG | NP_DFLAG_BIT_BINARIES | NP_DFLAG_NEW_FLOATS | NP_DFLAG_UTF8_ATOMS | NP_DFLAG_MAP_TAG |  \
     NP_DFLAG_BIG_CREATION | NP_DFLAG_HANDSHAKE_23)

/* What a hidden native node announces: OTP 25's own flags without PUBLISHED and the atom cache. */
#define NP_DFLAGS_OURS UINT64_C(0xD07DF5FBC)

#endif
