/* SPDX-License-Identifier: MIT */

/* A request: what is wanted.
 *
 * It says nothing about what is possible; the service judges, and its words are better than ours could be.
 * Only what was set is sent, so a program that uses none of the newer options works with an older
 * service. The exception is the group of what has a name: it is always sent, because it cannot be given
 * later, when somebody changes the mode. */

#include "request.h"

#include "error.h"
#include "util.h"

#include <stdlib.h>
#include <string.h>

_public_ int daxbroker_request_new(uint64_t size, uint64_t alignment, daxbroker_request **ret) {
        daxbroker_request *request;

        request = calloc(1, sizeof(*request));
        if (!request)
                return error_set(-ENOMEM, "out of memory");

        request->size = size;
        request->alignment = alignment;

        *ret = request;
        return 0;
}

_public_ daxbroker_request *daxbroker_request_free(daxbroker_request *request) {
        if (!request)
                return NULL;

        free(request->region);
        free(request->name);
        free(request->prefer);
        free(request->grant);
        free(request);
        return NULL;
}

static int request_replace(char **field, const char *value) {
        char *copy = NULL;

        if (value) {
                copy = strdup(value);
                if (!copy)
                        return error_set(-ENOMEM, "out of memory");
        }

        free(*field);
        *field = copy;
        return 0;
}

_public_ int daxbroker_request_set_region(daxbroker_request *request, const char *region) {
        return request_replace(&request->region, region);
}

_public_ int daxbroker_request_set_name(daxbroker_request *request, const char *name) {
        return request_replace(&request->name, name);
}

_public_ int daxbroker_request_set_mode(daxbroker_request *request, mode_t mode) {
        request->mode = mode;
        request->has_mode = true;
        return 0;
}

_public_ int daxbroker_request_set_group(daxbroker_request *request, gid_t group) {
        request->group = group;
        request->has_group = true;
        return 0;
}

_public_ int daxbroker_request_set_numa_node(daxbroker_request *request, unsigned node) {
        request->numa_node = node;
        request->has_numa_node = true;
        return 0;
}

_public_ int daxbroker_request_set_page_size(daxbroker_request *request, uint64_t page_size) {
        request->page_size = page_size;
        return 0;
}

_public_ int daxbroker_request_set_prefault(daxbroker_request *request, int prefault) {
        request->prefault = prefault;
        return 0;
}

_public_ int daxbroker_request_set_persistent(daxbroker_request *request, int persistent) {
        request->persistent = persistent;
        return 0;
}

_public_ int daxbroker_request_set_reserve(daxbroker_request *request, int reserve) {
        request->reserve = reserve;
        return 0;
}

_public_ int daxbroker_request_set_prefer(daxbroker_request *request, const char *what) {
        return request_replace(&request->prefer, what);
}

_public_ int daxbroker_request_set_contiguous(daxbroker_request *request, int contiguous) {
        request->contiguous = contiguous;
        return 0;
}

_public_ int daxbroker_request_set_interactive(daxbroker_request *request, int interactive) {
        request->interactive = interactive;
        return 0;
}

int request_copy(const daxbroker_request *request, daxbroker_request **ret) {
        daxbroker_request *copy;
        int r;

        copy = malloc(sizeof(*copy));
        if (!copy)
                return error_set(-ENOMEM, "out of memory");

        *copy = *request;
        copy->region = copy->name = copy->prefer = copy->grant = NULL;

        r = request_replace(&copy->region, request->region);
        if (r >= 0)
                r = request_replace(&copy->name, request->name);
        if (r >= 0)
                r = request_replace(&copy->prefer, request->prefer);
        if (r >= 0)
                r = request_replace(&copy->grant, request->grant);
        if (r < 0) {
                daxbroker_request_free(copy);
                return r;
        }

        *ret = copy;
        return 0;
}

static int request_append_options(sd_bus_message *message, const daxbroker_request *request) {
        int r = 0;

        if (request->region)
                r = sd_bus_message_append(message, "{sv}", "region", "s", request->region);
        if (r >= 0 && request->name)
                r = sd_bus_message_append(message, "{sv}", "name", "s", request->name);
        if (r >= 0 && request->has_mode)
                r = sd_bus_message_append(message, "{sv}", "mode", "u", (uint32_t) request->mode);
        if (r >= 0 && request->has_group)
                r = sd_bus_message_append(message, "{sv}", "group", "u", (uint32_t) request->group);
        else if (r >= 0 && request->name)
                r = sd_bus_message_append(message, "{sv}", "group", "u", (uint32_t) getegid());
        if (r >= 0 && request->has_numa_node)
                r = sd_bus_message_append(message, "{sv}", "numa-node", "u", (uint32_t) request->numa_node);
        if (r >= 0 && request->page_size > 0)
                r = sd_bus_message_append(message, "{sv}", "page-size", "t", request->page_size);
        if (r >= 0 && request->prefer)
                r = sd_bus_message_append(message, "{sv}", "prefer", "s", request->prefer);
        if (r >= 0 && request->contiguous)
                r = sd_bus_message_append(message, "{sv}", "contiguous", "b", 1);
        if (r >= 0 && request->prefault)
                r = sd_bus_message_append(message, "{sv}", "prefault", "b", 1);
        if (r >= 0 && request->persistent)
                r = sd_bus_message_append(message, "{sv}", "persistent", "b", 1);
        if (r >= 0 && request->reserve)
                r = sd_bus_message_append(message, "{sv}", "reserve", "b", 1);
        if (r >= 0 && request->grant)
                r = sd_bus_message_append(message, "{sv}", "grant", "o", request->grant);

        return r;
}

int request_append(sd_bus_message *message, const void *arguments) {
        const daxbroker_request *request = arguments;
        int r;

        r = sd_bus_message_append(message, "tt", request->size, request->alignment);
        if (r < 0)
                return r;

        r = sd_bus_message_open_container(message, 'a', "{sv}");
        if (r < 0)
                return r;

        r = request_append_options(message, request);
        if (r < 0)
                return r;

        return sd_bus_message_close_container(message);
}

int request_append_reserve(sd_bus_message *message, const void *arguments) {
        const daxbroker_request *request = arguments;
        int r;

        r = sd_bus_message_append(message, "t", request->size);
        if (r < 0)
                return r;

        r = sd_bus_message_open_container(message, 'a', "{sv}");
        if (r < 0)
                return r;

        r = sd_bus_message_append(message, "{sv}", "alignment", "t", request->alignment);
        if (r < 0)
                return r;

        r = request_append_options(message, request);
        if (r < 0)
                return r;

        return sd_bus_message_close_container(message);
}
