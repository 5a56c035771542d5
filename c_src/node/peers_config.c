/*
 * peers_config.c - checking, copying and freeing the config of peers.c.
 */
#include "node/peers_config.h"

#include "dist/epmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int copy_text(const char *from, const char **to) {
    if (from == NULL)
        return 0;
    *to = strdup(from);
    return *to != NULL ? 0 : NP_ENOMEM;
}

int np_peers_config_copy(np_peers_config *own, const np_peers_config *config) {
    *own = *config;
    own->name = own->cookie = own->listen_address = NULL;
    int error = copy_text(config->name, &own->name);
    if (error == 0)
        error = copy_text(config->cookie, &own->cookie);
    if (error == 0)
        error = copy_text(config->listen_address, &own->listen_address);
    np_cookie *cookies = calloc(config->cookies_len + 1, sizeof(np_cookie));
    np_peer_port *ports = calloc(config->ports_len + 1, sizeof(np_peer_port));
    const char **seeds = calloc(config->seeds_len + 1, sizeof(char *));
    own->cookies = cookies;
    own->ports = ports;
    own->seeds = seeds;
    if (cookies == NULL || ports == NULL || seeds == NULL)
        return NP_ENOMEM;
    for (size_t i = 0; error == 0 && i < config->cookies_len; i++) {
        error = copy_text(config->cookies[i].node, &cookies[i].node);
        if (error == 0)
            error = copy_text(config->cookies[i].cookie, &cookies[i].cookie);
    }
    for (size_t i = 0; error == 0 && i < config->ports_len; i++) {
        ports[i].port = config->ports[i].port;
        error = copy_text(config->ports[i].node, &ports[i].node);
    }
    for (size_t i = 0; error == 0 && i < config->seeds_len; i++)
        error = copy_text(config->seeds[i], &seeds[i]);
    return error;
}

static void drop_text(const char *text) { free((char *)(uintptr_t)text); }

void np_peers_config_free(np_peers_config *own) {
    drop_text(own->name);
    drop_text(own->cookie);
    drop_text(own->listen_address);
    for (size_t i = 0; own->cookies != NULL && i < own->cookies_len; i++) {
        drop_text(own->cookies[i].node);
        drop_text(own->cookies[i].cookie);
    }
    for (size_t i = 0; own->ports != NULL && i < own->ports_len; i++)
        drop_text(own->ports[i].node);
    for (size_t i = 0; own->seeds != NULL && i < own->seeds_len; i++)
        drop_text(own->seeds[i]);
    free((void *)(uintptr_t)own->cookies);
    free((void *)(uintptr_t)own->ports);
    free((void *)(uintptr_t)own->seeds);
}

int np_peers_config_check(const np_peers_config *config, char *why, size_t size) {
    np_str alive, host;
    const char *text = "";
    if (config->name == NULL || np_epmd_split_name(config->name, strlen(config->name), &alive, &host, &text) < 0) {
        snprintf(why, size, "bad node name \"%s\": %s", config->name != NULL ? config->name : "", text);
        return NP_EINVAL;
    }
    if (config->cookie == NULL || config->cookie[0] == '\0') {
        snprintf(why, size, "no cookie");
        return NP_EINVAL;
    }
    for (size_t i = 0; i < config->seeds_len; i++) {
        const char *seed = config->seeds[i];
        if (np_epmd_split_name(seed, strlen(seed), &alive, &host, &text) < 0) {
            snprintf(why, size, "bad node name \"%s\" to connect to: %s", seed, text);
            return NP_EINVAL;
        }
    }
    for (size_t i = 0; i < config->ports_len; i++)
        if (config->ports[i].port == 0) {
            snprintf(why, size, "no port for node %s", config->ports[i].node);
            return NP_EINVAL;
        }
    return 0;
}
