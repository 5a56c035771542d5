/* cli.c - see cli.h. */
#include "cnode/cli.h"

#include "base/assert.h"

#include <getopt.h>
#include <string.h>

enum { OPT_CONFIG = 256, OPT_NAME, OPT_COOKIE_FILE, OPT_CONNECT, OPT_SUPERVISED, OPT_CHECK, OPT_PRINT };

static const struct option options[] = {
    {"config", required_argument, NULL, OPT_CONFIG},
    {"name", required_argument, NULL, OPT_NAME},
    {"cookie-file", required_argument, NULL, OPT_COOKIE_FILE},
    {"connect", required_argument, NULL, OPT_CONNECT},
    {"supervised", no_argument, NULL, OPT_SUPERVISED},
    {"check-config", no_argument, NULL, OPT_CHECK},
    {"print-config", no_argument, NULL, OPT_PRINT},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static const char help[] =
    "Usage: native-pool [OPTION]...\n"
    "Runs a native node: joins a cluster of Erlang and Elixir nodes and serves pools of workers written in C.\n"
    "\n"
    "  --config FILE       the YAML config; without it --name is needed and there are no pools\n"
    "  --name NAME@HOST    the node's name; wins over node.name of the config\n"
    "  --cookie-file FILE  where the cluster's cookie is; wins over node.cookie_file of the config\n"
    "  --connect NODE      connect to NODE and stay connected; may be given often, adds to node.connect\n"
    "  --supervised        for a parent that holds our stdin and stdout, such as an Erlang port: log to stdout\n"
    "                      and drain at the line `stop` on stdin or at its end\n"
    "  --check-config      check the config, print `ok` and exit\n"
    "  --print-config      print the config with all defaults as YAML and exit\n"
    "  --version           print the version and exit\n"
    "  --help              print this and exit\n"
    "\n"
    "The cookie is the first of: --cookie-file, the environment variable NATIVE_POOL_COOKIE, node.cookie_file\n"
    "of the config, ~/.erlang.cookie. It is never taken from the command line, which others can see.\n"
    "\n"
    "Environment: NATIVE_POOL_COOKIE, NATIVE_POOL_WORKERS (directories of worker plugins, separated by colons;\n"
    "searched after the config's directory and the program's workers/), ERL_EPMD_PORT.\n"
    "\n"
    "Prints `native_pool: ready NAME@HOST` on stdout once it serves, and logs to stderr. SIGTERM or SIGINT drains\n"
    "and exits; a second one exits at once. Exit status: 0 after a drain, 1 when the node could not start or failed,\n"
    "2 for errors in the command line, the config or the cookie.\n";

void np_cli_print_help(FILE *to) { fputs(help, to); }

static int take(np_cli *cli, int option, char **error) {
    const char **once = NULL;
    const char *name = NULL;

    switch (option) {
    case OPT_CONFIG: once = &cli->config_file, name = "--config"; break;
    case OPT_NAME: once = &cli->name, name = "--name"; break;
    case OPT_COOKIE_FILE: once = &cli->cookie_file, name = "--cookie-file"; break;
    case OPT_SUPERVISED: cli->supervised = true; return 0;
    case OPT_CHECK: cli->action = NP_CLI_CHECK_CONFIG; return 0;
    case OPT_PRINT: cli->action = NP_CLI_PRINT_CONFIG; return 0;
    case 'V': cli->action = NP_CLI_VERSION; return 0;
    case 'h': cli->action = NP_CLI_HELP; return 0;
    default: /* OPT_CONNECT */
        if (cli->connect_count == NP_CLI_CONNECT_MAX) {
            NP_ASSERT(asprintf(error, "--connect: at most %d are allowed; use node.connect of the config",
                               NP_CLI_CONNECT_MAX) >= 0);
            return NP_EINVAL;
        }
        cli->connect[cli->connect_count++] = optarg;
        return 0;
    }
    if (*once != NULL) {
        NP_ASSERT(asprintf(error, "%s: given twice", name) >= 0);
        return NP_EINVAL;
    }
    *once = optarg;
    return 0;
}

int np_cli_parse(int argc, char **argv, np_cli *cli, char **error) {
    memset(cli, 0, sizeof *cli);
    *error = NULL;
    optind = 0; /* of glibc: start anew, so that tests can parse often */
    opterr = 0;
    for (;;) {
        int index = optind > 0 ? optind : 1;
        int option = getopt_long(argc, argv, ":hV", options, NULL);

        if (option == -1)
            break;
        if (option == ':')
            NP_ASSERT(asprintf(error, "%s: needs a value", argv[index]) >= 0);
        else if (option == '?')
            NP_ASSERT(asprintf(error, "%s: unknown option, or one that takes no value", argv[index]) >= 0);
        else
            take(cli, option, error);
        if (*error != NULL)
            return NP_EINVAL;
    }
    if (optind < argc) {
        NP_ASSERT(asprintf(error, "%s: unexpected argument", argv[optind]) >= 0);
        return NP_EINVAL;
    }
    if (cli->action <= NP_CLI_PRINT_CONFIG && cli->config_file == NULL && cli->name == NULL) {
        NP_ASSERT(asprintf(error, "give --config FILE, or --name NAME@HOST") >= 0);
        return NP_EINVAL;
    }
    return 0;
}
