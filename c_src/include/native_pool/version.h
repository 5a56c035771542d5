/* Version of native_pool: of the library that is linked and of the program. The number stands in CMakeLists.txt. */
#ifndef NATIVE_POOL_VERSION_H
#define NATIVE_POOL_VERSION_H

#ifdef __cplusplus
extern "C" {
#endif

/* "MAJOR.MINOR.PATCH"; static, any thread. */
const char *np_version(void);

#ifdef __cplusplus
}
#endif

#endif
