/*
 * A main for fuzz targets where libFuzzer is not there: runs each file given, and each file of each directory given,
 * through LLVMFuzzerTestOneInput once. So the corpus is replayed in every normal test run, under any compiler.
 * Each input is handed over in an allocation of its exact size, for the sanitizers to see a read past its end.
 * Prints the count and exits 1 if a file cannot be read; a finding crashes or aborts, as with libFuzzer.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A target may have one; called before the first input. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static int run_file(const char *path, size_t size) {
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(size > 0 ? size : 1);
    int rc = -1;

    if (file == NULL || data == NULL || fread(data, 1, size, file) != size) {
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
        goto out;
    }
    /* libFuzzer also hands over an empty input as a pointer that must not be read. */
    LLVMFuzzerTestOneInput(size > 0 ? data : data + 1, size);
    rc = 0;
out:
    free(data);
    if (file != NULL)
        fclose(file);
    return rc;
}

static int run_path(const char *path, unsigned *count);

static int run_directory(const char *path, unsigned *count) {
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    int rc = n < 0 ? -1 : 0;

    if (n < 0)
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        char child[4096];
        int len = snprintf(child, sizeof child, "%s/%s", path, entries[i]->d_name);

        if (entries[i]->d_name[0] != '.' && (len >= (int)sizeof child || run_path(child, count) != 0))
            rc = -1;
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return rc;
}

static int run_path(const char *path, unsigned *count) {
    struct stat st;

    if (stat(path, &st) != 0) {
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
        return -1;
    }
    if (S_ISDIR(st.st_mode))
        return run_directory(path, count);
    ++*count;
    return run_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv) {
    unsigned count = 0;
    int rc = 0;

    if (LLVMFuzzerInitialize != NULL)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        if (run_path(argv[i], &count) != 0)
            rc = 1;
    printf("replay: %u inputs\n", count);
    return rc;
}
