/*
 * spawn.c - programs started and forgotten. Main thread.
 */
#include "uv/spawn.h"

#include "uv/loop_uv.h"

#include <stdlib.h>

static void on_closed(uv_handle_t *handle) { free(handle); }

static void on_exit_status(uv_process_t *process, int64_t status, int signum) {
    (void)status;
    (void)signum;
    uv_close((uv_handle_t *)process, on_closed);
}

int np_spawn_detached(np_loop *loop, const char *const *argv) {
    uv_process_t *process = calloc(1, sizeof(*process));
    if (process == NULL)
        return NP_ENOMEM;
    uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE}, {.flags = UV_IGNORE}, {.flags = UV_IGNORE}};
    uv_process_options_t options = {
        .exit_cb = on_exit_status,
        .file = argv[0],
        .args = (char **)(uintptr_t)argv,
        .flags = UV_PROCESS_DETACHED,
        .stdio_count = 3,
        .stdio = stdio,
    };
    int status = uv_spawn(&loop->uv, process, &options);
    if (status < 0) { /* libuv wants the handle closed all the same */
        uv_close((uv_handle_t *)process, on_closed);
        return np_uv_error(status);
    }
    uv_unref((uv_handle_t *)process);
    return 0;
}
