/* SPDX-License-Identifier: MIT */
#pragma once

/* Who is asked for memory, and what came of it. */

#include "bench.h"

/* "broker@bus", "granted@bus", "floor@bus", or "@direct": who, and whether by way of the bus or not. "granted" is the
 * broker, who has been asked for a budget before, from which everything comes then. */
typedef struct Target {
        const char *name;
        const char *destination, *root, *interface;
        bool is_broker, is_direct, is_granted;
        sd_bus *bus;
        sd_bus_message *budget; /* the reply with the grant, its object and its lease */
        const char *grant;
} Target;

/* A piece of memory. */
typedef struct Hold {
        sd_bus_message *reply; /* has the descriptors */
        const char *object;
        int memory_fd, lease_fd;
        uint64_t length;
        void *memory;
} Hold;

/* The one of that name, connected when first wanted. */
int target_get(const char *name, Target **ret);
/* A connection of its own. */
int target_connect(const Target *target, sd_bus **ret);
/* A number that the broker's region tells about itself. */
int target_get_region(const Target *target, const char *property, uint64_t *ret);
/* Before anything is measured. */
int target_warm_up(const Target *target);

/* Allocate, ready to be sent. */
int target_request(const Target *target, sd_bus *bus, uint64_t size, const char *name, sd_bus_message **ret);
int hold_take(Hold *hold, sd_bus_message *reply);
int hold_map(Hold *hold);
/* Allocates and maps. */
int hold_new(const Target *target, sd_bus *bus, uint64_t size, const char *name, Hold *ret);
/* Unmaps, has the broker take it back at once, closes. */
void hold_release(const Target *target, sd_bus *bus, Hold *hold);
