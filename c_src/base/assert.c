/* assert.c - the end of the program after a failed assertion: one log line, then abort. Any thread. */
#include "base/assert.h"
#include "base/log.h"

#include <stdlib.h>

_Noreturn void np_assert_failed(const char *expression, const char *file, int line, const char *function) {
    np_log_write(NP_LOG_EMERGENCY, "base/assert", "assertion failed", "expression=\"%s\" at=%s:%d function=%s",
                 expression, file, line, function);
    abort();
}
