/* paths.c - see paths.h. Main thread, at start. */
#include "cnode/paths.h"

#include "base/assert.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *join(const char *dir, const char *rest) {
    char *result = NULL;
    size_t len = strlen(dir);

    NP_ASSERT(asprintf(&result, "%s%s%s", dir, len > 0 && dir[len - 1] == '/' ? "" : "/", rest) >= 0);
    return result;
}

static char *working_dir(void) {
    char *dir = getcwd(NULL, 0);

    /* a directory that is gone: paths from it will fail where they are opened */
    return dir != NULL ? dir : strdup(".");
}

char *np_path_absolute(const char *base, const char *path) {
    const char *home = getenv("HOME");
    char *dir;
    char *result;

    if (path[0] == '~' && (path[1] == '/' || path[1] == '\0') && home != NULL && *home == '/')
        return path[1] == '\0' ? strdup(home) : join(home, path + 2);
    if (path[0] == '/')
        return strdup(path);
    while (strncmp(path, "./", 2) == 0)
        path += 2 + strspn(path + 2, "/");
    dir = base != NULL ? strdup(base) : working_dir();
    NP_ASSERT(dir != NULL);
    result = join(dir, path);
    free(dir);
    return result;
}

char *np_path_dir(const char *file) {
    char *dir = file != NULL ? strdup(file) : working_dir();

    NP_ASSERT(dir != NULL);
    if (file != NULL) {
        char *slash = strrchr(dir, '/');

        NP_ASSERT(slash != NULL);
        slash[slash == dir] = '\0'; /* "/" stays */
    }
    return dir;
}

char *np_path_program_dir(void) {
    char buffer[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", buffer, sizeof buffer - 1);

    if (len <= 0)
        return working_dir();
    buffer[len] = '\0';
    return np_path_dir(buffer);
}

static bool is_file(const char *path) {
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Takes dir/name if that is a file; else notes where it looked. */
static char *try_file(const char *dir, const char *name, FILE *looked_at) {
    char *path = np_path_absolute(dir, name);

    if (is_file(path))
        return path;
    fprintf(looked_at, "%s%s", ftell(looked_at) > 0 ? ", " : "", path);
    free(path);
    return NULL;
}

static char *try_path_list(const char *list, const char *name, FILE *looked_at) {
    char *dirs = strdup(list);
    char *found = NULL;
    char *rest = NULL;

    NP_ASSERT(dirs != NULL);
    for (char *dir = strtok_r(dirs, ":", &rest); dir != NULL && found == NULL; dir = strtok_r(NULL, ":", &rest)) {
        char *absolute = np_path_absolute(NULL, dir);

        found = try_file(absolute, name, looked_at);
        free(absolute);
    }
    free(dirs);
    return found;
}

char *np_path_find_worker(const char *config_dir, const char *program_dir, const char *worker, char **looked_at) {
    size_t len = strlen(worker);
    const char *list = getenv("NATIVE_POOL_WORKERS");
    char *found = NULL;
    char *name = NULL;
    size_t looked_len;
    FILE *stream = open_memstream(looked_at, &looked_len);

    NP_ASSERT(stream != NULL);
    if (strchr(worker, '/') != NULL || (len > 3 && strcmp(worker + len - 3, ".so") == 0)) {
        found = try_file(config_dir, worker, stream);
        goto out;
    }
    NP_ASSERT(asprintf(&name, "%s.so", worker) >= 0);
    found = try_file(config_dir, name, stream);
    if (found == NULL && program_dir != NULL) {
        char *workers = join(program_dir, "workers");

        found = try_file(workers, name, stream);
        free(workers);
    }
    if (found == NULL && list != NULL)
        found = try_path_list(list, name, stream);
out:
    fclose(stream);
    free(name);
    return found;
}
