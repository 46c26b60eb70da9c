/* SPDX-License-Identifier: MIT */

/* Making stores durable, with libpmem2.
 *
 * libpmem2 knows what the processor and the platform need; we have the mapping already, so it is only told about it. It
 * wants to hear the granularity of a mapping it did not make itself, which we learn by having it make one of its own for
 * a moment.
 *
 * Where pages are the granularity (memory that is not persistent, or a file system without DAX) we call msync() ourselves: libpmem2
 * does the same, but aborts the program if that fails.
 *
 * libpmem2 keeps a book of mappings behind a lock of its own, so what touches the book is done under ours, for the
 * sake of fork(). */

#include "allocation.h"
#include "error.h"
#include "lock.h"
#include "util.h"

#include <fcntl.h>
#include <libpmem2.h>
#include <stdlib.h>
#include <sys/mman.h>

#define CACHE_LINE 64

struct Persistence {
        struct pmem2_map *map;
        enum pmem2_granularity granularity;
};

/* libpmem2's errors are negative errnos or numbers of its own, far below those. */
static int persistence_error(int r) {
        return error_set(r > PMEM2_E_UNKNOWN ? r : -EIO, "libpmem2 cannot handle this memory: %s", pmem2_errormsg());
}

/* What libpmem2 thinks that this memory needs; pages if it cannot make up its mind. */
static enum pmem2_granularity persistence_probe(const daxbroker_allocation *allocation, struct pmem2_source *source) {
        enum pmem2_granularity granularity = PMEM2_GRANULARITY_PAGE;
        struct pmem2_config *config = NULL;
        struct pmem2_map *map = NULL;
        int flags, r;

        if (pmem2_config_new(&config) < 0)
                return granularity;

        flags = fcntl(allocation->memory_fd, F_GETFL);
        r = pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE);
        if (r >= 0 && flags >= 0 && (flags & O_ACCMODE) == O_RDONLY)
                r = pmem2_config_set_protection(config, PMEM2_PROT_READ);
        if (r >= 0)
                r = pmem2_config_set_offset(config, allocation->offset);
        if (r >= 0)
                r = pmem2_config_set_length(config, allocation->mapped_length);
        if (r >= 0)
                r = pmem2_map_new(&map, config, source);
        if (r >= 0) {
                granularity = pmem2_map_get_store_granularity(map);
                (void) pmem2_map_delete(&map);
        }

        (void) pmem2_config_delete(&config);
        return granularity;
}

static int persistence_new(const daxbroker_allocation *allocation, void *address, Persistence **ret) {
        struct pmem2_source *source = NULL;
        Persistence *persistence;
        int r;

        persistence = calloc(1, sizeof(*persistence));
        if (!persistence)
                return error_set(-ENOMEM, "out of memory");

        r = pmem2_source_from_fd(&source, allocation->memory_fd);
        if (r >= 0) {
                persistence->granularity = persistence_probe(allocation, source);
                r = pmem2_map_from_existing(&persistence->map, source, address, allocation->mapped_length,
                                            persistence->granularity);
                (void) pmem2_source_delete(&source);
        }
        if (r < 0) {
                free(persistence);
                return persistence_error(r);
        }

        *ret = persistence;
        return 0;
}

static int persistence_get(daxbroker_allocation *allocation, Persistence **ret) {
        void *address = atomic_load(&allocation->address);
        Persistence *persistence;
        int r = 0;

        if (!address)
                return error_set(-ENODATA, "the memory is not mapped");

        persistence = atomic_load(&allocation->persistence);
        if (!persistence) {
                library_lock();
                persistence = atomic_load(&allocation->persistence);
                if (!persistence) {
                        r = persistence_new(allocation, address, &persistence);
                        if (r >= 0)
                                atomic_store(&allocation->persistence, persistence);
                }
                library_unlock();
        }
        if (r < 0)
                return r;

        *ret = persistence;
        return 0;
}

void allocation_end_persistence(daxbroker_allocation *allocation) {
        Persistence *persistence = atomic_exchange(&allocation->persistence, NULL);

        if (!persistence)
                return;

        library_lock();
        (void) pmem2_map_delete(&persistence->map);
        library_unlock();
        free(persistence);
}

/* The same, for a range, which must lie within the mapping. */
static int persistence_get_for_range(daxbroker_allocation *allocation, const void *address, size_t length,
                                     Persistence **ret) {
        uintptr_t base = (uintptr_t) atomic_load(&allocation->address), first = (uintptr_t) address;

        if (base == 0)
                return error_set(-EINVAL, "the memory is not mapped");

        if (first < base || first - base > allocation->mapped_length ||
            length > allocation->mapped_length - (first - base))
                return error_set(-EINVAL, "the range does not lie within the mapping");

        return persistence_get(allocation, ret);
}

static int persist_pages(const void *address, size_t length) {
        uintptr_t page = (uintptr_t) sysconf(_SC_PAGESIZE), first = (uintptr_t) address & ~(page - 1);

        if (msync((void *) first, (uintptr_t) address + length - first, MS_SYNC) < 0)
                return error_set_errno(-errno, "cannot make the pages durable");

        return 0;
}

_public_ int daxbroker_persist(daxbroker_allocation *allocation, const void *address, size_t length) {
        Persistence *persistence;
        int r;

        r = persistence_get_for_range(allocation, address, length, &persistence);
        if (r < 0)
                return r;

        if (persistence->granularity == PMEM2_GRANULARITY_PAGE)
                return persist_pages(address, length);

        pmem2_get_persist_fn(persistence->map)(address, length);
        return 0;
}

_public_ int daxbroker_flush(daxbroker_allocation *allocation, const void *address, size_t length) {
        Persistence *persistence;
        int r;

        r = persistence_get_for_range(allocation, address, length, &persistence);
        if (r < 0)
                return r;

        /* There is no starting an msync() and waiting for it later. */
        if (persistence->granularity == PMEM2_GRANULARITY_PAGE)
                return persist_pages(address, length);

        pmem2_get_flush_fn(persistence->map)(address, length);
        return 0;
}

_public_ int daxbroker_drain(daxbroker_allocation *allocation) {
        Persistence *persistence;
        int r;

        r = persistence_get(allocation, &persistence);
        if (r < 0)
                return r;

        pmem2_get_drain_fn(persistence->map)();
        return 0;
}

_public_ int daxbroker_deep_flush(daxbroker_allocation *allocation, const void *address, size_t length) {
        Persistence *persistence;
        int r;

        r = persistence_get_for_range(allocation, address, length, &persistence);
        if (r < 0)
                return r;

        if (persistence->granularity == PMEM2_GRANULARITY_PAGE)
                return persist_pages(address, length);

        /* libpmem2 takes a plain pointer, and does not write through it. */
        r = pmem2_deep_flush(persistence->map, (void *) (uintptr_t) address, length);
        if (r < 0)
                return persistence_error(r);

        return 0;
}

_public_ int daxbroker_get_store_granularity(daxbroker_allocation *allocation, uint64_t *ret) {
        Persistence *persistence;
        int r;

        r = persistence_get(allocation, &persistence);
        if (r < 0)
                return r;

        switch (persistence->granularity) {
        case PMEM2_GRANULARITY_BYTE:
                *ret = 1;
                return 0;
        case PMEM2_GRANULARITY_CACHE_LINE: {
                long line = sysconf(_SC_LEVEL1_DCACHE_LINESIZE);

                *ret = line > 0 ? (uint64_t) line : CACHE_LINE;
                return 0;
        }
        case PMEM2_GRANULARITY_PAGE:
                break;
        }

        *ret = (uint64_t) sysconf(_SC_PAGESIZE);
        return 0;
}
