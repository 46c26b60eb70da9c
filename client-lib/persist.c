/* SPDX-License-Identifier: MIT */

/* Making stores durable, with libpmem2.
 *
 * libpmem2 knows what the processor and the platform need. We map by ourselves, so it is asked on a
 * mapping of its own, which it makes for a moment; what it tells, the granularity and the functions for
 * it, holds for every mapping of the same memory. (It can also be told about an existing mapping, but
 * version 1.12 leaks memory when it is to forget it.)
 *
 * It is not asked about DAX devices: version 1.12 takes each for an NVDIMM's whose attributes it may read, and
 * crashes if that is wrong. Stores to them are flushed line by line, with libpmem2's functions for that.
 *
 * Where pages are the granularity (memory that is not persistent, or a file system without DAX) we call
 * msync() ourselves: libpmem2 does the same, but aborts the program if that fails.
 *
 * libpmem2 keeps a book of mappings behind a lock of its own, so what touches the book is done under ours,
 * for the sake of fork(). */

#include "allocation.h"
#include "error.h"
#include "lock.h"
#include "util.h"

#include <fcntl.h>
#include <libpmem2.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define CACHE_LINE 64

struct Persistence {
        enum pmem2_granularity granularity;
        /* Not called if that is pages. */
        pmem2_persist_fn persist;
        pmem2_flush_fn flush;
        pmem2_drain_fn drain;
        bool by_lines; /* libpmem2 was not asked */
};

/* libpmem2's errors are negative errnos or numbers of its own, far below those. */
static int persistence_error(int r) {
        return error_set(r > PMEM2_E_UNKNOWN ? r : -EIO, "libpmem2 cannot handle this memory: %s",
                         pmem2_errormsg());
}

static int persistence_configure(const daxbroker_allocation *allocation, struct pmem2_config *config) {
        int flags, r;

        flags = fcntl(allocation->memory_fd, F_GETFL);
        if (flags < 0)
                return -errno;

        if ((flags & O_ACCMODE) == O_RDONLY) {
                r = pmem2_config_set_protection(config, PMEM2_PROT_READ);
                if (r < 0)
                        return r;
        }

        r = pmem2_config_set_offset(config, allocation->offset);
        if (r < 0)
                return r;

        r = pmem2_config_set_length(config, allocation->mapped_length);
        if (r < 0)
                return r;

        return pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE);
}

/* libpmem2's own mapping of the same memory. With the library locked, as for pmem2_map_delete(). */
static int persistence_map(const daxbroker_allocation *allocation, struct pmem2_map **ret) {
        struct pmem2_config *config = NULL;
        struct pmem2_source *source = NULL;
        int r;

        r = pmem2_config_new(&config);
        if (r < 0)
                return r;

        r = persistence_configure(allocation, config);
        if (r >= 0)
                r = pmem2_source_from_fd(&source, allocation->memory_fd);
        if (r >= 0) {
                r = pmem2_map_new(ret, config, source);
                (void) pmem2_source_delete(&source);
        }

        (void) pmem2_config_delete(&config);
        return r;
}

static bool persistence_is_device(const daxbroker_allocation *allocation) {
        struct stat status;

        return fstat(allocation->memory_fd, &status) == 0 && S_ISCHR(status.st_mode);
}

/* libpmem2 has its functions for a granularity from a mapping of that granularity, whatever it is of: a page
 * of our own, which stays. With the library locked. */
static int persistence_map_lines(struct pmem2_map **ret) {
        static struct pmem2_map *map;
        size_t page = (size_t) sysconf(_SC_PAGESIZE);
        struct pmem2_source *source;
        void *address;
        int r;

        if (!map) {
                address = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                if (address == MAP_FAILED)
                        return -errno;

                r = pmem2_source_from_anon(&source, page);
                if (r >= 0) {
                        r = pmem2_map_from_existing(&map, source, address, page, PMEM2_GRANULARITY_CACHE_LINE);
                        (void) pmem2_source_delete(&source);
                }
                if (r < 0) {
                        (void) munmap(address, page);
                        return r;
                }
        }

        *ret = map;
        return 0;
}

static void persistence_take(Persistence *persistence, struct pmem2_map *map) {
        persistence->granularity = pmem2_map_get_store_granularity(map);
        persistence->persist = pmem2_get_persist_fn(map);
        persistence->flush = pmem2_get_flush_fn(map);
        persistence->drain = pmem2_get_drain_fn(map);
}

/* With the library locked. */
static int persistence_new(const daxbroker_allocation *allocation, Persistence **ret) {
        Persistence *persistence;
        struct pmem2_map *map;
        int r;

        persistence = calloc(1, sizeof(*persistence));
        if (!persistence)
                return error_set(-ENOMEM, "out of memory");

        /* What libpmem2 cannot map is nothing that it knows how to flush. msync() is right for
         * everything but devices, on which it fails. */
        persistence->granularity = PMEM2_GRANULARITY_PAGE;

        if (persistence_is_device(allocation)) {
                r = persistence_map_lines(&map);
                if (r < 0) {
                        free(persistence);
                        return persistence_error(r);
                }
                persistence_take(persistence, map);
                persistence->by_lines = true;
        } else {
                r = persistence_map(allocation, &map);
                if (r >= 0) {
                        persistence_take(persistence, map);
                        (void) pmem2_map_delete(&map);
                }
        }

        *ret = persistence;
        return 0;
}

static int persistence_get(daxbroker_allocation *allocation, Persistence **ret) {
        Persistence *persistence;
        int r = 0;

        if (!atomic_load(&allocation->address))
                return error_set(-ENODATA, "the memory is not mapped");

        persistence = atomic_load(&allocation->persistence);
        if (!persistence) {
                library_lock();
                persistence = atomic_load(&allocation->persistence);
                if (!persistence) {
                        r = persistence_new(allocation, &persistence);
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

        persistence->persist(address, length);
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

        persistence->flush(address, length);
        return 0;
}

_public_ int daxbroker_drain(daxbroker_allocation *allocation) {
        Persistence *persistence;
        int r;

        r = persistence_get(allocation, &persistence);
        if (r < 0)
                return r;

        if (persistence->granularity != PMEM2_GRANULARITY_PAGE)
                persistence->drain();
        return 0;
}

_public_ int daxbroker_deep_flush(daxbroker_allocation *allocation, const void *address, size_t length) {
        Persistence *persistence;
        struct pmem2_map *map;
        size_t offset;
        int r;

        r = persistence_get_for_range(allocation, address, length, &persistence);
        if (r < 0)
                return r;

        if (persistence->granularity == PMEM2_GRANULARITY_PAGE)
                return persist_pages(address, length);

        persistence->persist(address, length);
        if (persistence->by_lines)
                return 0;

        /* What lies beyond the processor is flushed by the place in the memory, so another mapping of it
         * is as good. */
        offset = (uintptr_t) address - (uintptr_t) atomic_load(&allocation->address);
        library_lock();
        r = persistence_map(allocation, &map);
        library_unlock();
        if (r < 0)
                return persistence_error(r);

        r = pmem2_deep_flush(map, (char *) pmem2_map_get_address(map) + offset, length);
        if (r < 0)
                r = persistence_error(r);

        library_lock();
        (void) pmem2_map_delete(&map);
        library_unlock();
        return r;
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
