/* SPDX-License-Identifier: MIT */
#pragma once

#include "daxbroker.h"

#include <stdbool.h>
#include <systemd/sd-bus.h>

/* A request: what is wanted. Plain data, judged by the service. */

struct daxbroker_request {
        uint64_t size, alignment;
        char *region, *name, *grant;
        bool has_mode, has_group, has_numa_node;
        mode_t mode;
        gid_t group;
        unsigned numa_node;
        uint64_t page_size; /* 0: any */
        char *prefer; /* NULL: nothing */
        bool prefault, persistent, reserve, contiguous, interactive;
};

int request_copy(const daxbroker_request *request, daxbroker_request **ret);

/* For Call.append: size, alignment and options, from a const daxbroker_request. */
int request_append(sd_bus_message *message, const void *arguments);

/* The same for a grant, whose alignment is an option. */
int request_append_reserve(sd_bus_message *message, const void *arguments);
