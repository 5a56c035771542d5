/* workers.c - see workers.h. */
#include "cnode/workers.h"

#include "segment/runtime.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* Where there is no table of linked-in types (the unit tests), there are none. */
__attribute__((weak)) const np_linked_worker np_linked_workers[] = {{NULL, NULL}};

static const np_linked_worker *find_linked_in(const char *name) {
    for (const np_linked_worker *worker = np_linked_workers; worker->name != NULL; worker++)
        if (strcmp(worker->name, name) == 0)
            return worker;
    return NULL;
}

bool np_worker_is_linked_in(const char *name) { return find_linked_in(name) != NULL; }

/* The plugin's np_worker_plugin; POSIX lets dlsym's result be a function, C does not without this detour. */
static int plugin_function(const char *file, const np_worker_ops *(**function)(void), char *why, size_t size) {
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    void *symbol;

    if (handle == NULL) {
        snprintf(why, size, "cannot load the plugin: %s", dlerror());
        return NP_EINVAL;
    }
    symbol = dlsym(handle, "np_worker_plugin");
    if (symbol == NULL) {
        snprintf(why, size, "%s is no worker: it does not export np_worker_plugin (NP_WORKER_PLUGIN is missing)", file);
        dlclose(handle);
        return NP_EINVAL;
    }
    memcpy(function, &symbol, sizeof symbol);
    return 0;
}

int np_worker_load(const char *name, const char *file, const np_worker_ops **ops, char *why, size_t size) {
    const np_worker_ops *(*function)(void) = NULL;
    char wrong[256];

    if (file == NULL) {
        const np_linked_worker *linked = find_linked_in(name);

        if (linked == NULL) {
            snprintf(why, size, "no worker type '%s' is linked in", name);
            return NP_EINVAL;
        }
        function = linked->plugin;
    } else if (plugin_function(file, &function, why, size) != 0) {
        return NP_EINVAL;
    }
    *ops = function();
    if (*ops == NULL) {
        snprintf(why, size, "%s: np_worker_plugin gave no table", file != NULL ? file : name);
        return NP_EINVAL;
    }
    if (np_runtime_check_ops(*ops, wrong, sizeof wrong) != 0) {
        snprintf(why, size, "%s: %s", file != NULL ? file : name, wrong);
        return NP_EINVAL;
    }
    return 0;
}

int np_worker_check_plugin(const char *file, char *why, size_t size) {
    const np_worker_ops *ops;

    return np_worker_load(NULL, file, &ops, why, size);
}
