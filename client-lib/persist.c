/* SPDX-License-Identifier: MIT */

/* Making stores durable, with libpmem2.
 *
 * What has to be done about a store depends on how the memory is mapped. With MAP_SYNC the file system has
 * written down where the bytes are before the first store is made, and flushing the processor's caches is all;
 * without it, also on a file system with DAX, only the kernel can make them durable, page by page. So libpmem2's
 * opinion, which it has from a mapping of its own that it makes for a moment, counts only where ours has
 * MAP_SYNC; or where the user forces it. (It can also be told about an existing mapping, but then it believes
 * what it is told.)
 *
 * It is not asked about DAX devices: version 1.12 takes each for an NVDIMM's whose attributes it may read, and
 * crashes if that is wrong. Stores to them are flushed line by line, unless the NVDIMM's region says that caches
 * survive; the functions for that are libpmem2's.
 *
 * Where pages are the granularity (memory that is not persistent, or a file system without DAX) we call
 * msync() ourselves: libpmem2 does the same, but aborts the program if that fails.
 *
 * libpmem2 keeps a book of mappings behind a lock of its own, so what touches the book is done under ours,
 * for the sake of fork(). */

#include "allocation.h"
#include "error.h"
#include "lock.h"
#include "medium.h"
#include "util.h"

#include <fcntl.h>
#include <libpmem2.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define CACHE_LINE 64
#define SYSFS "/sys"

struct Persistence {
        enum pmem2_granularity granularity;
        /* Not called if that is pages. */
        pmem2_persist_fn persist;
        pmem2_flush_fn flush;
        pmem2_drain_fn drain;
        bool is_device; /* nothing that could be asked of files, such as msync(), works */
};

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

        r = pmem2_config_set_length(config, allocation->page_size);
        if (r < 0)
                return r;

        return pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE);
}

/* libpmem2's own mapping of the first page. With the library locked, as for pmem2_map_delete(). */
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

/* libpmem2 has its functions for a granularity from a mapping of that granularity, whatever it is of: a page
 * of our own, which stays, since version 1.12 leaks memory when it is to forget it. With the library locked. */
static int persistence_map_anonymous(enum pmem2_granularity granularity, struct pmem2_map **ret) {
        static struct pmem2_map *maps[2]; /* by bytes, by cache lines */
        struct pmem2_map **map = &maps[granularity == PMEM2_GRANULARITY_CACHE_LINE];
        size_t page = (size_t) sysconf(_SC_PAGESIZE);
        struct pmem2_source *source;
        void *address;
        int r;

        if (!*map) {
                address = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                if (address == MAP_FAILED)
                        return -errno;

                r = pmem2_source_from_anon(&source, page);
                if (r >= 0) {
                        r = pmem2_map_from_existing(map, source, address, page, granularity);
                        (void) pmem2_source_delete(&source);
                }
                if (r < 0) {
                        (void) munmap(address, page);
                        return r;
                }
        }

        *ret = *map;
        return 0;
}

static void persistence_take(Persistence *persistence, struct pmem2_map *map) {
        persistence->granularity = pmem2_map_get_store_granularity(map);
        persistence->persist = pmem2_get_persist_fn(map);
        persistence->flush = pmem2_get_flush_fn(map);
        persistence->drain = pmem2_get_drain_fn(map);
}

static int persistence_take_device(Persistence *persistence, dev_t device) {
        enum pmem2_granularity granularity = PMEM2_GRANULARITY_CACHE_LINE;
        struct pmem2_map *map = NULL;
        int region, r;

        if (medium_open_region(SYSFS, device, &region) >= 0) {
                if (medium_has_durable_caches(region))
                        granularity = PMEM2_GRANULARITY_BYTE;
                fd_close(region);
        }

        r = persistence_map_anonymous(granularity, &map);
        if (r < 0)
                return error_set(r == -ENOMEM ? r : -EIO, "libpmem2 cannot flush caches: %s", pmem2_errormsg());

        persistence_take(persistence, map);
        persistence->is_device = true;
        return 0;
}

static void persistence_take_file(Persistence *persistence, const daxbroker_allocation *allocation) {
        struct pmem2_map *map;

        /* What libpmem2 cannot map is nothing that it knows how to flush. */
        persistence->granularity = PMEM2_GRANULARITY_PAGE;
        if (atomic_load(&allocation->lacks_map_sync) && !secure_getenv("PMEM2_FORCE_GRANULARITY"))
                return;

        if (persistence_map(allocation, &map) >= 0) {
                persistence_take(persistence, map);
                (void) pmem2_map_delete(&map);
        }
}

/* With the library locked. */
static int persistence_new(const daxbroker_allocation *allocation, Persistence **ret) {
        Persistence *persistence;
        struct stat status;
        int r;

        if (fstat(allocation->memory_fd, &status) < 0)
                return error_set_errno(-errno, "cannot look at the memory's descriptor");

        persistence = calloc(1, sizeof(*persistence));
        if (!persistence)
                return error_set(-ENOMEM, "out of memory");

        if (S_ISCHR(status.st_mode)) {
                r = persistence_take_device(persistence, status.st_rdev);
                if (r < 0) {
                        free(persistence);
                        return r;
                }
        } else
                persistence_take_file(persistence, allocation);

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

static int persist_device_deeply(const daxbroker_allocation *allocation) {
        _cleanup_(fd_close_p) int region = -EBADF;
        struct stat status;
        int r;

        if (fstat(allocation->memory_fd, &status) < 0)
                return error_set_errno(-errno, "cannot look at the memory's descriptor");

        r = medium_open_region(SYSFS, status.st_rdev, &region);
        if (r < 0)
                return 0;

        r = medium_flush(region);
        if (r < 0)
                return error_set_errno(r, "the stores are durable, but the NVDIMM's buffers cannot be flushed");

        return 0;
}

_public_ int daxbroker_deep_flush(daxbroker_allocation *allocation, const void *address, size_t length) {
        Persistence *persistence;
        int r;

        r = persistence_get_for_range(allocation, address, length, &persistence);
        if (r < 0)
                return r;

        if (persistence->granularity != PMEM2_GRANULARITY_PAGE)
                persistence->persist(address, length);

        /* To write back is also what makes a file system flush the device that it is on. */
        return persistence->is_device ? persist_device_deeply(allocation) : persist_pages(address, length);
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
