/*
 * config_file.h - one YAML file on its way in: where each key stands, what is wrong with it, and the check against a
 * schema.
 *
 * libcyaml fills structs but takes much for granted (any word is a boolean, 1.5 is a whole number) and reports
 * the first error only, at the line before it. So the file is first composed with libyaml, whose nodes know their line,
 * and walked along the very cyaml schema that loads it. What passes is loaded by cyaml without surprise. Used by
 * config.c only, at start, on the main thread.
 */
#ifndef NP_CNODE_CONFIG_FILE_H
#define NP_CNODE_CONFIG_FILE_H

#include <cyaml/cyaml.h>
#include <native_pool/types.h>

typedef struct np_config_file np_config_file;

/*
 * Reads and composes a file; name is how errors call it. NULL: an empty one, whose errors stand under the name
 * "command line". Never fails: what is wrong is an error of the file.
 */
np_config_file *np_config_file_open(const char *name);
void np_config_file_close(np_config_file **file);

/* The text, for cyaml; length 0 when there is none. */
np_bytes np_config_file_text(const np_config_file *file);

/* Checks every key and value against the schema. */
void np_config_file_check(np_config_file *file, const cyaml_schema_value_t *schema);

/*
 * Adds an error about the key at a path ("pools[0].isolation", or "" for the whole). The line is that of the key, or of
 * the nearest thing around it that is in the file.
 */
void np_config_file_error(np_config_file *file, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Was the scalar at this path written without quotes? */
bool np_config_file_is_plain(const np_config_file *file, const char *path);

size_t np_config_file_error_count(const np_config_file *file);

/* All errors, one line each, ordered by line; for the caller to free(). */
char *np_config_file_errors(const np_config_file *file);

#endif
