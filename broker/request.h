/* SPDX-License-Identifier: MIT */
#pragma once

/* What a caller asks for, as it was said; and the one place that judges it, before anything else is done with it. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "failure.h"

/* Which region to take where the request names none. */
typedef enum Preference {
        PREFER_NOTHING, /* the default region */
        PREFER_BANDWIDTH,
        PREFER_LATENCY,
        PREFER_CAPACITY,
} Preference;

typedef struct Request {
        uint64_t size, alignment;
        uint64_t page_size;
        const char *region, *name; /* NULL if not said; borrowed from whatever the request was read from */
        const char *grant;         /* the same: the object of one that it is to be taken from */
        uint32_t mode, group, numa_node;
        bool mode_set, group_set, numa_node_set, page_size_set;
        Preference prefer;
        bool persistent, prefault, contiguous, reserve;
} Request;

#define REQUEST_MODE_DEFAULT 0600

/* Checks everything that can be checked without knowing the region: the size is not 0, the alignment a power of two up to
 * 1 GiB, the name well-formed, the mode sensible, the group one of the caller's. Mode and group are meant for named
 * allocations only, and a preference for requests that name no region. */
int request_validate(const Request *request, const gid_t *groups, size_t n_groups, Failure *failure);

/* Checks the mode alone; group is DAXBROKER_NO_GROUP if there is none. */
int mode_validate(uint32_t mode, uint32_t group, Failure *failure);

int name_validate(const char *name, Failure *failure);
