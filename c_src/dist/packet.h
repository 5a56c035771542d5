/*
 * packet.h - the bytes packets begin with after the handshake, for those who read (session.c) and write (sendq.c) them.
 */
#ifndef NP_DIST_PACKET_H
#define NP_DIST_PACKET_H

enum {
    NP_PACKET_VERSION = 131,
    NP_PACKET_DIST_HEADER = 68,
    NP_PACKET_FRAG_HEADER = 69,
    NP_PACKET_FRAG_CONT = 70,
    NP_PACKET_PASS_THROUGH = 112,

    NP_PACKET_LEN_BYTES = 4, /* in front of each */
    NP_PACKET_FRAGMENT_HEAD =
        2 + 8 +
        8, /* tags, sequence id, fragment id; and a byte more in the first: the number of atom cache references */
};

#endif
