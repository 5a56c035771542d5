/* config_print.c - the effective config as YAML (--print-config); see config.h. Main thread. */
#include "cnode/config.h"

#include "base/log.h"

#include <string.h>

/* Always quoted: no text can then be taken for something else. */
static void print_text(FILE *to, const char *text) {
    fputc('"', to);
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            fprintf(to, "\\%c", *p);
        else if (*p < 0x20 || *p == 0x7f)
            fprintf(to, "\\x%02x", *p);
        else
            fputc(*p, to);
    }
    fputc('"', to);
}

static void print_key_text(FILE *to, const char *key, const char *text) {
    fputs(key, to);
    print_text(to, text);
    fputc('\n', to);
}

static void print_values(FILE *to, const np_config_value *values, size_t count) {
    fputc('[', to);
    for (size_t i = 0; i < count; i++) {
        fputs(i > 0 ? ", " : "", to);
        if (values[i].is_text)
            print_text(to, values[i].text);
        else
            fprintf(to, "%lld", (long long)values[i].number);
    }
    fputs("]\n", to);
}

static const char *bool_text(bool value) { return value ? "true" : "false"; }

static void print_node(const np_config *config, FILE *to) {
    fputs("node:\n", to);
    print_key_text(to, "  name: ", config->name);
    if (config->cookie_file != NULL)
        print_key_text(to, "  cookie_file: ", config->cookie_file);
    if (config->cookies_count > 0)
        fputs("  cookies:\n", to);
    for (size_t i = 0; i < config->cookies_count; i++) {
        print_key_text(to, "    - node: ", config->cookies[i].node);
        print_key_text(to, "      cookie_file: ", config->cookies[i].cookie_file);
    }
    fputs("  connect: [", to);
    for (size_t i = 0; i < config->connect_count; i++) {
        fputs(i > 0 ? ", " : "", to);
        print_text(to, config->connect[i]);
    }
    fputs("]\n", to);
    fputs("  scopes: [", to);
    for (size_t i = 0; i < config->scopes_count; i++) {
        fputs(i > 0 ? ", " : "", to);
        print_text(to, config->scopes[i]);
    }
    fputs("]\n", to);
    fprintf(to, "  hidden: %s\n", bool_text(config->hidden));
    if (config->listen_address != NULL)
        print_key_text(to, "  listen_address: ", config->listen_address);
    fprintf(to, "  port: %u\n", config->port);
    fprintf(to, "  epmd: %s\n", bool_text(config->epmd));
    fprintf(to, "  epmd_port: %u\n", config->epmd_port);
    fprintf(to, "  tick_time_s: %u\n", config->tick_time_s);
    fprintf(to, "  max_message_mb: %u\n", config->max_message_mb);
    fprintf(to, "  out_queue_mb: %u\n", config->out_queue_mb);
    if (config->peer_ports_count > 0)
        fputs("  peer_ports:\n", to);
    for (size_t i = 0; i < config->peer_ports_count; i++) {
        print_key_text(to, "    - node: ", config->peer_ports[i].node);
        fprintf(to, "      port: %u\n", config->peer_ports[i].port);
    }
    fprintf(to, "  peer_port: %u\n", config->peer_port);
    fprintf(to, "  discover: %s\n", bool_text(config->discover));
    fprintf(to, "  log_level: %s\n", np_log_level_name(config->log_level));
}

static void print_pool(const np_config_pool *pool, FILE *to) {
    print_key_text(to, "  - name: ", pool->name);
    print_key_text(to, "    worker: ", pool->worker_file != NULL ? pool->worker_file : pool->worker);
    print_key_text(to, "    worker_module: ", pool->worker_module);
    fprintf(to, "    isolation: %s\n", pool->isolation == NP_CONFIG_INLINE ? "inline" : "process");
    fprintf(to, "    segments: %u\n", pool->segments);
    fputs("    start: ", to);
    print_values(to, pool->start, pool->start_count);
}

void np_config_print(const np_config *config, FILE *to) {
    print_node(config, to);
    fputs(config->pools_count > 0 ? "pools:\n" : "pools: []\n", to);
    for (size_t i = 0; i < config->pools_count; i++)
        print_pool(&config->pools[i], to);
}
