/*
 * main.c - the program native-pool: command line, config, cookie; then the node runs until it is told to stop.
 *
 * Everything here is on the main thread, but watch_stdin. Exit status: 0 after a drain, 1 when the node could not start
 * or failed, 2 for errors in the command line, the config or the cookie.
 */
#include "base/assert.h"
#include "base/log.h"
#include "cnode/cli.h"
#include "cnode/config.h"
#include "cnode/cookie.h"
#include "cnode/paths.h"
#include "cnode/run.h"
#include "cnode/workers.h"

#include <native_pool/version.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

/*
 * Waits for the end of stdin - the parent has closed it or died - or for the line "stop", and asks this process to
 * drain. All else that is written there is dropped.
 */
static void *watch_stdin(void *arg) {
    char line[64];

    (void)arg;
    while (fgets(line, sizeof line, stdin) != NULL && strcmp(line, "stop\n") != 0)
        ;
    kill(getpid(), SIGTERM);
    return NULL;
}

/*
 * Under a parent that holds stdin and stdout: all output, the log too, goes to stdout, and the end of stdin is a
 * SIGTERM. A thread, since it must work even while the loop is busy; it takes no signals, shares no data, and lives as
 * long as the process.
 */
static int become_supervised(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all;
    sigset_t old;
    int rc;

    if (dup2(STDOUT_FILENO, STDERR_FILENO) < 0 || pthread_attr_init(&attributes) != 0)
        return NP_EIO;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&thread, &attributes, watch_stdin, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    return rc == 0 ? 0 : NP_EIO;
}

static void announce(const char *name) {
    printf("native_pool: ready %s\n", name);
    fflush(stdout);
}

static int run(const np_config *config) {
    np_cookie_text cookie;
    char *error = NULL;
    int rc;

    np_log_set_level(config->log_level);
    if (np_cookie_find(config->cookie_file_given ? config->cookie_file : NULL, config->cookie_file, &cookie, &error) !=
        0) {
        fprintf(stderr, "native-pool: %s\n", error);
        fprintf(stderr, "native-pool: the cookie is taken from --cookie-file, the environment variable "
                        "NATIVE_POOL_COOKIE, node.cookie_file of the config, or ~/.erlang.cookie\n");
        free(error);
        return EXIT_USAGE;
    }
    rc = np_run(config, cookie.text, announce);
    explicit_bzero(&cookie, sizeof cookie);
    return rc;
}

static int with_config(const np_cli *cli) {
    char *program_dir = np_path_program_dir();
    const np_config_env env = {.name = cli->name,
                               .cookie_file = cli->cookie_file,
                               .connect = cli->connect,
                               .connect_count = cli->connect_count,
                               .program_dir = program_dir,
                               .linked_in = np_worker_is_linked_in,
                               .check_plugin = np_worker_check_plugin};
    np_config *config;
    char *errors;
    int status = EXIT_SUCCESS;

    if (np_config_load(cli->config_file, &env, &config, &errors) != 0) {
        fputs(errors, stderr);
        free(errors);
        free(program_dir);
        return EXIT_USAGE;
    }
    if (cli->action == NP_CLI_CHECK_CONFIG)
        puts("ok");
    else if (cli->action == NP_CLI_PRINT_CONFIG)
        np_config_print(config, stdout);
    else
        status = run(config);
    np_config_destroy(&config);
    free(program_dir);
    return status;
}

int main(int argc, char **argv) {
    np_cli cli;
    char *error;

    signal(SIGPIPE, SIG_IGN); /* a reader of our output that is gone must not end the node */
    if (np_cli_parse(argc, argv, &cli, &error) != 0) {
        fprintf(stderr, "native-pool: %s\nTry 'native-pool --help'.\n", error);
        free(error);
        return EXIT_USAGE;
    }
    if (cli.supervised && become_supervised() != 0) {
        fputs("native-pool: cannot watch stdin\n", stderr);
        return EXIT_FAILURE;
    }
    switch (cli.action) {
    case NP_CLI_HELP: np_cli_print_help(stdout); return EXIT_SUCCESS;
    case NP_CLI_VERSION: printf("native-pool %s\n", np_version()); return EXIT_SUCCESS;
    default: return with_config(&cli);
    }
}
