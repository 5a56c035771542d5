/*
 * config_file.c - see config_file.h. Main thread, at start; allocation failures end the program (nothing is running
 * yet).
 */
#include "cnode/config_file.h"

#include "base/assert.h"
#include "cnode/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum {
    ERRORS_MAX = 50, /* of one file; nobody reads more */
    DEPTH_MAX = 16,  /* the schema is 4 deep */
    PATH_MAX_BYTES = 512,
    SHOWN_MAX = 60, /* bytes of a wrong value that are shown */
};

typedef struct file_error {
    size_t line; /* from 1; 0: none */
    size_t order;
    char *text;
} file_error;

struct np_config_file {
    char *name;
    uint8_t *text;
    size_t text_len;
    yaml_document_t document;
    bool composed;
    uint8_t *seen; /* by node number: an alias leads to a node a second time */
    size_t nodes;
    file_error errors[ERRORS_MAX];
    size_t errors_count;
    size_t errors_left_out;
};

static void add_error(np_config_file *file, size_t line, const char *path, const char *format, va_list args) {
    file_error *error = &file->errors[file->errors_count];
    char *what = NULL;

    if (file->errors_count == ERRORS_MAX) {
        file->errors_left_out++;
        return;
    }
    NP_ASSERT(vasprintf(&what, format, args) >= 0);
    if (line > 0)
        NP_ASSERT(asprintf(&error->text, "%s:%zu: %s%s%s", file->name, line, path, *path ? ": " : "", what) >= 0);
    else
        NP_ASSERT(asprintf(&error->text, "%s: %s%s%s", file->name, path, *path ? ": " : "", what) >= 0);
    error->line = line;
    error->order = file->errors_count++;
    free(what);
}

static void error_at(np_config_file *file, size_t line, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void error_at(np_config_file *file, size_t line, const char *path, const char *format, ...) {
    va_list args;

    va_start(args, format);
    add_error(file, line, path, format, args);
    va_end(args);
}

/* ---- reading ---- */

static void read_text(np_config_file *file) {
    FILE *stream = fopen(file->name, "rb");
    size_t cap = 65536;

    if (stream == NULL) {
        error_at(file, 0, "", "cannot open: %s", strerror(errno));
        return;
    }
    file->text = malloc(cap);
    NP_ASSERT(file->text != NULL);
    errno = 0;
    for (;;) {
        size_t n = fread(file->text + file->text_len, 1, cap - file->text_len, stream);

        file->text_len += n;
        if (n == 0 || file->text_len > NP_CONFIG_FILE_BYTES_MAX)
            break;
        if (file->text_len == cap) {
            cap *= 2;
            file->text = realloc(file->text, cap);
            NP_ASSERT(file->text != NULL);
        }
    }
    if (ferror(stream))
        error_at(file, 0, "", "cannot read: %s", strerror(errno));
    else if (file->text_len > NP_CONFIG_FILE_BYTES_MAX)
        error_at(file, 0, "", "larger than %d MB", NP_CONFIG_FILE_BYTES_MAX >> 20);
    fclose(stream);
}

static void compose(np_config_file *file) {
    yaml_parser_t parser;

    NP_ASSERT(yaml_parser_initialize(&parser));
    yaml_parser_set_input_string(&parser, file->text, file->text_len);
    if (!yaml_parser_load(&parser, &file->document)) {
        size_t line = parser.problem_mark.line > 0 ? parser.problem_mark.line : parser.context_mark.line;

        error_at(file, line + 1, "", "not YAML: %s%s%s", parser.problem ? parser.problem : "cannot be read",
                 parser.context ? " " : "", parser.context ? parser.context : "");
    } else {
        file->composed = true;
        file->nodes = (size_t)(file->document.nodes.top - file->document.nodes.start);
        file->seen = calloc(file->nodes + 1, 1);
        NP_ASSERT(file->seen != NULL);
    }
    yaml_parser_delete(&parser);
}

np_config_file *np_config_file_open(const char *name) {
    np_config_file *file = calloc(1, sizeof *file);

    NP_ASSERT(file != NULL);
    file->name = strdup(name != NULL ? name : "command line");
    NP_ASSERT(file->name != NULL);
    if (name == NULL)
        return file;
    read_text(file);
    if (file->errors_count == 0)
        compose(file);
    return file;
}

void np_config_file_close(np_config_file **file_p) {
    np_config_file *file = *file_p;

    if (file == NULL)
        return;
    if (file->composed)
        yaml_document_delete(&file->document);
    for (size_t i = 0; i < file->errors_count; i++)
        free(file->errors[i].text);
    free(file->seen);
    free(file->text);
    free(file->name);
    free(file);
    *file_p = NULL;
}

np_bytes np_config_file_text(const np_config_file *file) { return (np_bytes){file->text, file->text_len}; }

/* ---- paths ---- */

static const char *scalar(const yaml_node_t *node) {
    return (const char *)node->data.scalar.value; /* libyaml terminates it */
}

/* The first pair with this key; NULL. */
static yaml_node_pair_t *find_pair(yaml_document_t *document, const yaml_node_t *mapping, const char *key, size_t len) {
    for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start; pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *node = yaml_document_get_node(document, pair->key);

        if (node->type == YAML_SCALAR_NODE && node->data.scalar.length == len && memcmp(scalar(node), key, len) == 0)
            return pair;
    }
    return NULL;
}

static size_t line_of(yaml_document_t *document, int node_id) {
    return yaml_document_get_node(document, node_id)->start_mark.line + 1;
}

/* Follows a path as far as the file goes along it; *line is that of the last step found. NULL if not all of it is
 * there. */
static yaml_node_t *follow(const np_config_file *file, const char *path, size_t *line) {
    yaml_document_t *document = (yaml_document_t *)&file->document; /* libyaml's getters do not change it */
    yaml_node_t *node = file->composed ? yaml_document_get_root_node(document) : NULL;

    *line = node != NULL ? node->start_mark.line + 1 : 0;
    while (node != NULL && *path != '\0') {
        if (*path == '[') {
            char *end;
            long index = strtol(path + 1, &end, 10);

            if (node->type != YAML_SEQUENCE_NODE ||
                index >= node->data.sequence.items.top - node->data.sequence.items.start)
                return NULL;
            *line = line_of(document, node->data.sequence.items.start[index]);
            node = yaml_document_get_node(document, node->data.sequence.items.start[index]);
            path = end + 1;
        } else {
            const yaml_node_pair_t *pair;
            size_t len;

            path += *path == '.';
            len = strcspn(path, ".[");
            pair = node->type == YAML_MAPPING_NODE ? find_pair(document, node, path, len) : NULL;
            if (pair == NULL)
                return NULL;
            *line = line_of(document, pair->key);
            node = yaml_document_get_node(document, pair->value);
            path += len;
        }
    }
    return node;
}

void np_config_file_error(np_config_file *file, const char *path, const char *format, ...) {
    va_list args;
    size_t line;

    follow(file, path, &line);
    va_start(args, format);
    add_error(file, line, path, format, args);
    va_end(args);
}

bool np_config_file_is_plain(const np_config_file *file, const char *path) {
    size_t line;
    const yaml_node_t *node = follow(file, path, &line);

    return node != NULL && node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* ---- the check against the schema ---- */

static void check_value(np_config_file *file, const cyaml_schema_value_t *schema, int node_id, size_t line,
                        const char *path, int depth);

static const char *kind_name(const yaml_node_t *node) {
    switch (node->type) {
    case YAML_MAPPING_NODE: return "a mapping";
    case YAML_SEQUENCE_NODE: return "a list";
    default: return "a single value";
    }
}

/* Appends to a text of limited size; what does not fit is left out. */
static void append(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void append(char *text, size_t size, const char *format, ...) {
    size_t used = strlen(text);
    va_list args;

    va_start(args, format);
    vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

static void list_keys(const cyaml_schema_value_t *schema, char *text, size_t size) {
    *text = '\0';
    for (const cyaml_schema_field_t *field = schema->mapping.fields; field->key != NULL; field++)
        append(text, size, "%s%s", *text ? ", " : "", field->key);
}

static const cyaml_schema_field_t *find_field(const cyaml_schema_value_t *schema, const char *key) {
    for (const cyaml_schema_field_t *field = schema->mapping.fields; field->key != NULL; field++)
        if (strcmp(field->key, key) == 0)
            return field;
    return NULL;
}

static bool is_whole_number(const char *text) {
    text += *text == '-';
    if (!isdigit((unsigned char)*text) || (text[0] == '0' && text[1] != '\0'))
        return false; /* a leading zero would be octal to cyaml */
    return text[strspn(text, "0123456789")] == '\0';
}

/* Whole numbers of the schema are held in 32 bits or 64; the true bounds of each key are checked by config.c. */
static void check_number(np_config_file *file, const cyaml_schema_value_t *schema, const char *text, size_t line,
                         const char *path) {
    long long value;

    errno = 0;
    value = is_whole_number(text) ? strtoll(text, NULL, 10) : 0;
    if (!is_whole_number(text))
        error_at(file, line, path, "'%.*s' is not allowed; use a whole number", SHOWN_MAX, text);
    else if (value < 0 && schema->type == CYAML_UINT)
        error_at(file, line, path, "%.*s is not allowed; use a whole number that is not negative", SHOWN_MAX, text);
    else if (errno == ERANGE || (schema->data_size == 4 && value > UINT32_MAX))
        error_at(file, line, path, "%.*s is too large", SHOWN_MAX, text);
}

static bool is_bool(const char *text) {
    /* cyaml takes every other word for true */
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off"};

    for (size_t i = 0; i < NP_ARRAY_LEN(words); i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

static void check_enum(np_config_file *file, const cyaml_schema_value_t *schema, const char *text, size_t line,
                       const char *path) {
    char allowed[512] = "";

    for (uint32_t i = 0; i < schema->enumeration.count; i++) {
        if (strcmp(schema->enumeration.strings[i].str, text) == 0)
            return;
        if (schema->enumeration.strings[i].val < NP_CONFIG_NOT_OFFERED)
            append(allowed, sizeof allowed, "%s%s", i > 0 ? ", " : "", schema->enumeration.strings[i].str);
    }
    error_at(file, line, path, "'%.*s' is not allowed; use one of: %s", SHOWN_MAX, text, allowed);
}

static void check_string(np_config_file *file, const cyaml_schema_value_t *schema, const yaml_node_t *node, size_t line,
                         const char *path) {
    size_t len = node->data.scalar.length;

    if (strlen(scalar(node)) != len)
        error_at(file, line, path, "a text must not hold a NUL byte");
    else if (len < schema->string.min)
        error_at(file, line, path, "must not be empty");
    else if (len > schema->string.max)
        error_at(file, line, path, "has %zu bytes; at most %u are allowed", len, schema->string.max);
}

static void check_scalar(np_config_file *file, const cyaml_schema_value_t *schema, const yaml_node_t *node, size_t line,
                         const char *path) {
    const char *text = scalar(node);

    switch (schema->type) {
    case CYAML_INT:
    case CYAML_UINT: check_number(file, schema, text, line, path); break;
    case CYAML_BOOL:
        if (!is_bool(text))
            error_at(file, line, path, "'%.*s' is not allowed; use true or false", SHOWN_MAX, text);
        break;
    case CYAML_ENUM: check_enum(file, schema, text, line, path); break;
    default: check_string(file, schema, node, line, path); break;
    }
}

static void check_sequence(np_config_file *file, const cyaml_schema_value_t *schema, const yaml_node_t *node,
                           size_t line, const char *path, int depth) {
    yaml_node_item_t *items = node->data.sequence.items.start;
    size_t count = (size_t)(node->data.sequence.items.top - items);

    if (count > schema->sequence.max)
        error_at(file, line, path, "has %zu entries; at most %u are allowed", count, schema->sequence.max);
    for (size_t i = 0; i < count && i < schema->sequence.max; i++) {
        char child[PATH_MAX_BYTES];

        snprintf(child, sizeof child, "%s[%zu]", path, i);
        check_value(file, schema->sequence.entry, items[i], line_of(&file->document, items[i]), child, depth + 1);
    }
}

static void check_missing(np_config_file *file, const cyaml_schema_value_t *schema, const yaml_node_t *node,
                          size_t line, const char *path) {
    for (const cyaml_schema_field_t *field = schema->mapping.fields; field->key != NULL; field++) {
        if ((field->value.flags & CYAML_FLAG_OPTIONAL) == 0 &&
            find_pair(&file->document, node, field->key, strlen(field->key)) == NULL)
            error_at(file, line, path, "the key '%s' is missing", field->key);
    }
}

/* One pair of a mapping: the key must be of the schema and new, its value is checked in turn. */
static void check_pair(np_config_file *file, const cyaml_schema_value_t *schema, const yaml_node_t *mapping,
                       const yaml_node_pair_t *pair, const char *path, int depth) {
    const yaml_node_t *key_node = yaml_document_get_node(&file->document, pair->key);
    size_t line = line_of(&file->document, pair->key);
    const cyaml_schema_field_t *field;
    const yaml_node_pair_t *first;
    char child[PATH_MAX_BYTES];
    char allowed[1024];

    if (key_node->type != YAML_SCALAR_NODE) {
        error_at(file, line, path, "a key must be a single word");
        return;
    }
    snprintf(child, sizeof child, "%s%s%.*s", path, *path ? "." : "", SHOWN_MAX, scalar(key_node));
    field = find_field(schema, scalar(key_node));
    if (field == NULL) {
        list_keys(schema, allowed, sizeof allowed);
        error_at(file, line, child, "unknown key; use one of: %s", allowed);
        return;
    }
    first = find_pair(&file->document, mapping, field->key, strlen(field->key));
    if (first != pair)
        error_at(file, line, child, "given twice, first in line %zu", line_of(&file->document, first->key));
    else
        check_value(file, &field->value, pair->value, line, child, depth + 1);
}

static void check_mapping(np_config_file *file, const cyaml_schema_value_t *schema, const yaml_node_t *node,
                          size_t line, const char *path, int depth) {
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++)
        check_pair(file, schema, node, pair, path, depth);
    check_missing(file, schema, node, line, path);
}

static bool is_null(const yaml_node_t *node) {
    const char *text = scalar(node);

    return node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (*text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static void check_value(np_config_file *file, const cyaml_schema_value_t *schema, int node_id, size_t line,
                        const char *path, int depth) {
    const yaml_node_t *node = yaml_document_get_node(&file->document, node_id);
    yaml_node_type_t wanted = schema->type == CYAML_MAPPING    ? YAML_MAPPING_NODE
                              : schema->type == CYAML_SEQUENCE ? YAML_SEQUENCE_NODE
                                                               : YAML_SCALAR_NODE;

    NP_ASSERT(depth < DEPTH_MAX); /* no deeper than the schema */
    if (file->seen[node_id]++) {
        error_at(file, line, path, "anchors and aliases (&name, *name) are not supported; write the value out");
        return;
    }
    if (node->type == YAML_SCALAR_NODE && is_null(node)) {
        if ((schema->flags & CYAML_FLAG_POINTER_NULL) != CYAML_FLAG_POINTER_NULL)
            error_at(file, line, path, "must not be empty");
        return;
    }
    if (node->type != wanted) {
        const char *expected = wanted == YAML_MAPPING_NODE    ? "a mapping (lines of `key: value`)"
                               : wanted == YAML_SEQUENCE_NODE ? "a list ([a, b], or lines of `- a`)"
                                                              : "a single value";

        error_at(file, line, path, "is %s; use %s", kind_name(node), expected);
    } else if (wanted == YAML_MAPPING_NODE) {
        check_mapping(file, schema, node, line, path, depth);
    } else if (wanted == YAML_SEQUENCE_NODE) {
        check_sequence(file, schema, node, line, path, depth);
    } else {
        check_scalar(file, schema, node, line, path);
    }
}

void np_config_file_check(np_config_file *file, const cyaml_schema_value_t *schema) {
    const yaml_node_t *root = file->composed ? yaml_document_get_root_node(&file->document) : NULL;

    if (root != NULL)
        check_value(file, schema, 1, root->start_mark.line + 1, "", 0);
}

/* ---- errors ---- */

size_t np_config_file_error_count(const np_config_file *file) { return file->errors_count; }

static int by_line(const void *a, const void *b) {
    const file_error *x = a;
    const file_error *y = b;

    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

char *np_config_file_errors(const np_config_file *file) {
    file_error sorted[ERRORS_MAX];
    char *text = NULL;
    size_t len;
    FILE *stream = open_memstream(&text, &len);

    NP_ASSERT(stream != NULL);
    memcpy(sorted, file->errors, sizeof sorted);
    qsort(sorted, file->errors_count, sizeof *sorted, by_line);
    for (size_t i = 0; i < file->errors_count; i++)
        fprintf(stream, "%s\n", sorted[i].text);
    if (file->errors_left_out > 0)
        fprintf(stream, "%s: %zu more errors\n", file->name, file->errors_left_out);
    fclose(stream);
    return text;
}
