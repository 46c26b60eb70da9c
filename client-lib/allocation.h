/* SPDX-License-Identifier: MIT */
#pragma once

#include "call.h"
#include "daxbroker.h"

#include <stdatomic.h>
#include <stdbool.h>

/* A hold on a piece of memory; see allocation.c. */

/* What persist.c knows about it; plain memory. */
typedef struct Persistence Persistence;

struct daxbroker_allocation {
        int memory_fd, lease_fd;
        uint64_t offset, length;
        size_t mapped_length; /* in whole pages */
        uint64_t page_size;   /* of the smallest pages that can map it */
        uint64_t alignment;   /* of the address; 0 where nobody said which was asked for */
        char *object;

        /* Made by whichever thread needs them first, and never changed after that. */
        _Atomic(void *) address;
        _Atomic(Persistence *) persistence;

        /* A mapping was made without MAP_SYNC; set before that is the address. */
        atomic_bool lacks_map_sync;
};

/* What Open is called with. */
typedef struct OpenArguments {
        char *name;
        uint64_t flags;
} OpenArguments;

/* Takes over the descriptors, on success only. object may be NULL, it is copied. */
int allocation_new_consume_fds(int memory_fd, int lease_fd, uint64_t offset, uint64_t length,
                               uint64_t alignment, const char *object, daxbroker_allocation **ret);

/* The calls that yield an allocation; to be used as long as the arguments live. result is a
 * daxbroker_allocation **. */
int allocation_call_allocate(const daxbroker_request *request, Call *ret);
int allocation_call_open(const OpenArguments *arguments, Call *ret);

/* See map.c. */
void allocation_unmap(daxbroker_allocation *allocation);
