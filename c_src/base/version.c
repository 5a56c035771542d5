/* The version as a string; CMake defines NP_VERSION from its project() line. Any thread. */
#include <native_pool/version.h>

const char *np_version(void)
{
    return NP_VERSION;
}
