/*
 * paths.h - file names as users write them: ~, relative ones, and the search for a worker's plugin.
 *
 * Main thread, at start. What is returned is for the caller to free(); allocation failures end the program.
 */
#ifndef NP_CNODE_PATHS_H
#define NP_CNODE_PATHS_H

/* Expands a leading ~/ to $HOME, and makes a relative path absolute, from base (NULL: the working directory). */
char *np_path_absolute(const char *base, const char *path);

/* The directory of an absolute file name; NULL: the working directory. */
char *np_path_dir(const char *file);

/* The directory of the running program. */
char *np_path_program_dir(void);

/*
 * The plugin of a worker, absolute. A text with a slash or the ending .so is a file, relative to config_dir; a plain
 * name is looked up as NAME.so in config_dir, PROGRAM_DIR/workers and each directory of the environment's
 * NATIVE_POOL_WORKERS (separated by colons). NULL: not found, and *looked_at lists where (for the caller to free).
 */
char *np_path_find_worker(const char *config_dir, const char *program_dir, const char *worker, char **looked_at);

#endif
