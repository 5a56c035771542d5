/* run.c - see run.h. */
#include "cnode/run.h"

#include "base/log.h"

int np_run(const np_config *config, const char *cookie, void (*ready)(const char *name)) {
    (void)cookie;
    (void)ready;
    NP_LOG(NP_LOG_ERROR, "cnode/run", "this build has no node layer", "node=%s", config->name);
    return 1;
}

bool np_run_linked_in(const char *name) {
    (void)name;
    return false;
}
