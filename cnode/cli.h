/* cli.h - the command line of native-pool. Main thread, at start. */
#ifndef NP_CNODE_CLI_H
#define NP_CNODE_CLI_H

#include <native_pool/types.h>
#include <stdio.h>

enum { NP_CLI_CONNECT_MAX = 256 };

typedef enum np_cli_action {
    NP_CLI_RUN,
    NP_CLI_CHECK_CONFIG,
    NP_CLI_PRINT_CONFIG,
    NP_CLI_VERSION,
    NP_CLI_HELP
} np_cli_action;

/* All texts point into argv. */
typedef struct np_cli {
    np_cli_action action;
    const char *config_file;                 /* --config; NULL */
    const char *name;                        /* --name; NULL */
    const char *cookie_file;                 /* --cookie-file; NULL */
    const char *connect[NP_CLI_CONNECT_MAX]; /* --connect, once or more often */
    size_t connect_count;
    bool supervised; /* --supervised */
} np_cli;

/* Parses; NP_EINVAL: *error holds one line that says what is wrong (for the caller to free). */
int np_cli_parse(int argc, char **argv, np_cli *cli, char **error);

void np_cli_print_help(FILE *to);

#endif
