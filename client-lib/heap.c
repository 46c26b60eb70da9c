/* SPDX-License-Identifier: MIT */

/* The two-line way: memory by address.
 *
 * It is a table from address to allocation on top of the full interface. Freeing asks nobody: the mapping
 * goes, the lease goes, and the service sees that. A forked child that frees or exits ends nothing that
 * its parent still has. */

#include "allocation.h"
#include "error.h"
#include "lock.h"
#include "util.h"

#include <stdlib.h>

/* Running out of memory is an error to return, not a reason to exit. */
#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION HASH_FNV /* the usual one falls through switch labels, which compilers warn of */
#include <uthash.h>

typedef struct Entry {
        void *address;
        daxbroker_allocation *allocation;
        UT_hash_handle hh;
} Entry;

/* Guarded by the library's lock. */
static Entry *entries;

static int heap_add(void *address, daxbroker_allocation *allocation) {
        Entry *entry;
        bool added;

        entry = calloc(1, sizeof(*entry));
        if (!entry)
                return -ENOMEM;

        entry->address = address;
        entry->allocation = allocation;

        library_lock();
        HASH_ADD_PTR(entries, address, entry);
        added = entry->hh.tbl;
        library_unlock();

        if (!added) {
                free(entry);
                return -ENOMEM;
        }

        return 0;
}

static daxbroker_allocation *heap_take(void *address) {
        daxbroker_allocation *allocation = NULL;
        Entry *entry;

        library_lock();
        HASH_FIND_PTR(entries, &address, entry);
        if (entry) {
                HASH_DEL(entries, entry);
                allocation = entry->allocation;
        }
        library_unlock();

        free(entry);
        return allocation;
}

static int heap_allocate(size_t size, size_t align, daxbroker_allocation **ret) {
        daxbroker_request *request;
        const char *region;
        int r;

        r = daxbroker_request_new(size, align, &request);
        if (r < 0)
                return r;

        region = secure_getenv("DAXBROKER_REGION");
        if (region && region[0] != '\0')
                r = daxbroker_request_set_region(request, region);
        if (r >= 0)
                r = daxbroker_allocate(NULL, request, ret);

        daxbroker_request_free(request);
        return r;
}

_public_ void *daxbroker_alloc(size_t size, size_t align) {
        daxbroker_allocation *allocation;
        void *address;
        int r;

        r = heap_allocate(size, align, &allocation);
        if (r < 0) {
                errno = -r;
                return NULL;
        }

        r = daxbroker_allocation_map(allocation, &address);
        if (r >= 0) {
                r = heap_add(address, allocation);
                if (r < 0)
                        (void) error_set(r, "out of memory");
        }
        if (r < 0) {
                daxbroker_allocation_close(allocation);
                errno = -r;
                return NULL;
        }

        return address;
}

_public_ void daxbroker_free(void *memory) {
        if (memory)
                daxbroker_allocation_close(heap_take(memory));
}
