/*
 * limits.h - every bound of native_pool, each with its reason. What a user may want otherwise is also in the config,
 * with the value here as default.
 */
#ifndef NP_BASE_LIMITS_H
#define NP_BASE_LIMITS_H

/* ---- terms ---- */
#define NP_TERM_DEPTH_MAX                                                                                              \
    1024 /* nesting of a term that enters; more than any sane message has, and the printer's and comparer's stacks     \
            stay small */
#define NP_NODE_NAMES_MAX                                                                                              \
    65536 /* distinct node names ever seen; pids hold a number instead of a name, and a hostile peer must not grow the \
             table without end */

/* ---- distribution ---- */
#define NP_HANDSHAKE_MS 7000 /* net_kernel's net_setuptime: a step of the handshake that takes longer ends it */
#define NP_HANDSHAKE_LEN_MAX                                                                                           \
    2048 /* a handshake message: a 255-character UTF-8 name is 1020 bytes, the rest is some 30 */
#define NP_HANDSHAKES_MAX      256          /* connections that have not authenticated yet; more are closed at once */
#define NP_PEERS_MAX           4096         /* peers connected or being dialled */
#define NP_MESSAGE_MAX         (256u << 20) /* one message with its control tuple; a larger one closes the connection */
#define NP_FRAGMENT_BYTES      65536        /* the slice OTP itself sends */
#define NP_FRAGMENTS_OPEN_MAX  1024         /* messages a peer may have unfinished at a time */
#define NP_FRAGMENTS_BYTES_MAX (512u << 20) /* ... and their bytes */
/* fragments are added to the socket's queue only while it holds less: small messages wait behind no more than this */
#define NP_OUT_PUMP_BYTES (256u << 10)
#define NP_OUT_SOFT_BYTES (64u << 20)  /* queued for one peer: above it we stop reading from that peer for a while */
#define NP_OUT_HARD_BYTES (256u << 20) /* above it a send fails with NP_EOVERLOAD */
/* on top, for the signals that must not fail (exits, downs, replies that say overloaded); above that the connection is
 * closed */
#define NP_OUT_RESERVE_BYTES (16u << 20)
#define NP_TICKTIME_S        60   /* net_ticktime of OTP */
#define NP_RECONNECT_MIN_MS  100  /* first retry of a seed, doubled with jitter ... */
#define NP_RECONNECT_MAX_MS  1000 /* ... up to this, so that a seed that comes back is found within 2 s */
#define NP_EPMD_RETRY_MS     1000 /* re-registration after epmd died; OTP's own is 2 s */
#define NP_DISCOVER_MS       5000 /* how often a peer is asked for the nodes it knows */

/* ---- processes ---- */
#define NP_PROCS_MAX    (1u << 27) /* OTP's own highest process limit */
#define NP_NAMES_MAX    (1u << 20) /* registered names of one node */
#define NP_MONITORS_MAX (1u << 24) /* monitors and links held, all processes together */
#define NP_ALIASES_MAX  (1u << 22) /* active aliases: calls of ours in flight */

#define NP_LETTERS_MAX       1000000 /* messages between processes of this node that wait for the end of the turn */
#define NP_LETTERS_BYTES_MAX (256u << 20) /* ... and their bytes */
#define NP_LETTERS_TURN      1000         /* ... delivered before the sockets are looked at again */

/* ---- workers ---- */
#define NP_MAILBOX_MAX       100000      /* messages waiting in one suspended process */
#define NP_MAILBOX_BYTES_MAX (64u << 20) /* ... and their bytes */
#define NP_DEFERRED_MAX      10000       /* replies one worker may owe */
#define NP_WORKER_TIMERS_MAX 10000       /* timers of one worker */
#define NP_CALLS_OUT_MAX     100000      /* calls in flight from this node to others */
#define NP_POOLS_MAX         1024
#define NP_SEGMENTS_MAX      4096 /* of one pool */

/* ---- syn ---- */
#define NP_SYN_SCOPES_MAX     1024         /* scope processes: two a scope; AdvancedPool has some six scopes a pool */
#define NP_SYN_ENTRIES_MAX    (1u << 26)   /* names, or memberships, of one scope process, of all nodes together */
#define NP_SYN_NAME_BYTES_MAX (64u << 10)  /* a name or group; worker refs have some 50 */
#define NP_SYN_META_BYTES_MAX (1u << 20)   /* metadata of one name: it is sent to every node, and kept there */
#define NP_SYN_SLICE          1000         /* names put into or taken from an ack_sync at a time: about a millisecond */
#define NP_SYN_RETRY_MIN_MS   20           /* a scope process that died is looked for again after this, doubled ... */
#define NP_SYN_RETRY_MS       1000         /* ... up to this; a node without the scope is asked as often */
#define NP_SYN_ACKS_BURST     4            /* discovers of one peer that are answered at once ... */
#define NP_SYN_ACK_MS         1000         /* ... and then one in this time: an answer is a list of all our names */
#define NP_SYN_EARLY_BYTES    (64u << 20)  /* kept of what a peer sends before its ack_sync; above it start over */
#define NP_SYN_HELD_BYTES     (128u << 20) /* kept for a peer that takes no more, or whose ack_sync is being built */
#define NP_SYN_OVERLOAD_MS    50           /* how long a peer that takes no more is left alone */
#define NP_SYN_SKEW_NS        UINT64_C(86400000000000) /* a day: further in the future is no clock that is only off */
#define NP_SYN_LOG_MS         10000                    /* a kind of malformed message is logged once in this time */
#define NP_SYN_CALM_NS        UINT64_C(1000000000) /* a name that won a conflict does not say so again for as long */
#define NP_SYN_UPDATES_MAX    1000                 /* fun updates that wait for a peer to evaluate the fun */
#define NP_SYN_UPDATE_TRIES   5                    /* evaluations of one fun while somebody else changes the metadata */

#endif
