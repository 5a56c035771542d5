/*
 * assert.h - assertions that stay in production builds.
 *
 * NP_ASSERT is for programmer errors only: something this program itself must have made impossible. Input from
 * peers, workers, files and users is never asserted on.
 */
#ifndef NP_BASE_ASSERT_H
#define NP_BASE_ASSERT_H

_Noreturn void np_assert_failed(const char *expression, const char *file, int line, const char *function);

#define NP_ASSERT(expression)                                                                                          \
    (__builtin_expect(!!(expression), 1) ? (void)0 : np_assert_failed(#expression, __FILE__, __LINE__, __func__))

#define NP_ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* The struct that contains `member` at `pointer`. */
#define NP_CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
