/*
 * names.h - node names as small numbers (np_node_id), one table for the whole OS process.
 *
 * Pids and references are stored and compared a million times; their node's name is not. Entries are never removed,
 * and there are at most NP_NODE_NAMES_MAX. Main thread only.
 */
#ifndef NP_TERM_NAMES_H
#define NP_TERM_NAMES_H

#include <native_pool/types.h>

/* The number of a node name (UTF-8), new or known. NP_EINVAL (empty, over 255 characters, no UTF-8), NP_ELIMIT,
 * NP_ENOMEM. */
int np_name_intern(const char *name, size_t len, np_node_id *id);

/* Same for a terminated string that this program itself made up: asserts success. */
np_node_id np_name_id(const char *name);

/* The name of an id, terminated; "" for 0. Valid for ever. */
const char *np_name_text(np_node_id id);
np_str np_name_str(np_node_id id);

/* The name of an id other than 0 as an external term, an atom of tag 119 or 118. Valid for ever. */
np_bytes np_name_atom(np_node_id id);

/* Atom order of two names: <0, 0, >0. */
int np_name_cmp(np_node_id a, np_node_id b);

#endif
