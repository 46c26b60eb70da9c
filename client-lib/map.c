/* SPDX-License-Identifier: MIT */

/* The mapping of an allocation.
 *
 * The kernel aligns to pages only. So where more is asked for, address space is reserved with room to
 * spare, the memory mapped into it at the aligned place, and the rest given back. Nobody else can get in
 * between, since the place is never free.
 *
 * Two threads may map the same allocation at the same time: both do, one wins, the other takes its mapping
 * back. */

#include "map.h"

#include "allocation.h"
#include "error.h"
#include "names.h"
#include "util.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define HUGE_PAGE (UINT64_C(2) << 20)

typedef struct Mapping {
        int fd, protection;
        off_t offset;
        size_t length;    /* in whole pages */
        size_t alignment; /* of the address */
} Mapping;

int map_layout(uint64_t length, uint64_t page, uint64_t alignment, size_t *ret_length, size_t *ret_reserve) {
        uint64_t rounded, reserve;

        if (__builtin_add_overflow(length, page - 1, &rounded))
                return -EOVERFLOW;
        rounded &= ~(page - 1);

        if (__builtin_add_overflow(rounded, alignment, &reserve) || reserve > SIZE_MAX)
                return -EOVERFLOW;

        *ret_length = (size_t) rounded;
        *ret_reserve = (size_t) reserve;
        return 0;
}

uint64_t map_page_size(int fd) {
        uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE);
        struct stat status;
        struct statfs fs;

        if (fstat(fd, &status) < 0)
                return page;

        if (S_ISCHR(status.st_mode))
                return HUGE_PAGE; /* what a DAX device is made with, if it is not told otherwise */

        if (fstatfs(fd, &fs) == 0 && (uint64_t) fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize > 0)
                return (uint64_t) fs.f_bsize;

        return page;
}

/* MAP_SYNC where the file can: then flushing the processor's caches makes stores durable without asking
 * the kernel. The kernel rejects it early where it means nothing, before anything at the address is
 * touched. */
static void *map_at(const Mapping *mapping, void *address, int flags, bool *ret_synchronous) {
        bool synchronous = true;
        void *p;

        p = mmap(address, mapping->length, mapping->protection, MAP_SHARED_VALIDATE | MAP_SYNC | flags,
                 mapping->fd, mapping->offset);
        if (p == MAP_FAILED && (errno == EOPNOTSUPP || errno == EINVAL)) {
                p = mmap(address, mapping->length, mapping->protection, MAP_SHARED | flags,
                         mapping->fd, mapping->offset);
                synchronous = false;
        }

        if (p != MAP_FAILED)
                *ret_synchronous = synchronous;
        return p;
}

static int map_aligned(const Mapping *mapping, size_t reserve, void **ret, bool *ret_synchronous) {
        uintptr_t base, aligned, end;
        void *reserved, *p;
        int r;

        reserved = mmap(NULL, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (reserved == MAP_FAILED)
                return -errno;

        base = (uintptr_t) reserved;
        aligned = (base + mapping->alignment - 1) & ~((uintptr_t) mapping->alignment - 1);
        end = base + reserve;

        p = map_at(mapping, (void *) aligned, MAP_FIXED, ret_synchronous);
        if (p == MAP_FAILED) {
                r = -errno;
                (void) munmap(reserved, reserve);
                return r;
        }

        if (aligned > base)
                (void) munmap(reserved, aligned - base);
        if (end > aligned + mapping->length)
                (void) munmap((void *) (aligned + mapping->length), end - aligned - mapping->length);

        *ret = p;
        return 0;
}

static int map_make(const Mapping *mapping, size_t reserve, void **ret, bool *ret_synchronous) {
        void *p;

        /* First as the kernel likes it. It is often aligned well enough, and if the memory cannot be
         * mapped at all, this finds out while no address is at stake: a failing MAP_FIXED may leave a hole
         * where the reservation was. */
        p = map_at(mapping, NULL, 0, ret_synchronous);
        if (p == MAP_FAILED)
                return -errno;

        if ((uintptr_t) p % mapping->alignment == 0) {
                *ret = p;
                return 0;
        }

        (void) munmap(p, mapping->length);
        return map_aligned(mapping, reserve, ret, ret_synchronous);
}

static int map_describe(const daxbroker_allocation *allocation, uint64_t wanted, Mapping *ret,
                        size_t *ret_reserve) {
        uint64_t alignment = allocation->alignment;
        size_t length, reserve;
        int flags, r;

        flags = fcntl(allocation->memory_fd, F_GETFL);
        if (flags < 0)
                return -errno;

        /* The largest that anybody can have asked for satisfies whatever was asked for. */
        if (alignment == 0)
                alignment = DAXBROKER_ALIGNMENT_MAX;
        if (alignment < allocation->page_size)
                alignment = allocation->page_size;
        if (alignment & (alignment - 1))
                return -EINVAL;

        r = map_layout(wanted, allocation->page_size, alignment, &length, &reserve);
        if (r < 0)
                return r;

        *ret = (Mapping) {
                .fd = allocation->memory_fd,
                .protection = (flags & O_ACCMODE) == O_RDONLY ? PROT_READ : PROT_READ | PROT_WRITE,
                .offset = (off_t) allocation->offset,
                .length = length,
                .alignment = (size_t) alignment,
        };
        *ret_reserve = reserve;
        return 0;
}

/* A wish, which not every kernel or kind of memory can fulfil. */
static void map_advise(const Mapping *mapping, void *address) {
        if (mapping->alignment >= HUGE_PAGE && mapping->length >= HUGE_PAGE)
                (void) madvise(address, mapping->length, MADV_HUGEPAGE);
}

_public_ int daxbroker_allocation_map(daxbroker_allocation *allocation, void **ret) {
        void *address = atomic_load(&allocation->address), *expected = NULL;
        Mapping mapping = { .fd = -EBADF };
        bool synchronous = false;
        size_t reserve = 0;
        int r;

        if (address) {
                *ret = address;
                return 0;
        }

        r = map_describe(allocation, allocation->length, &mapping, &reserve);
        if (r >= 0)
                r = map_make(&mapping, reserve, &address, &synchronous);
        if (r < 0)
                return error_set_errno(r, "cannot map the memory");
        map_advise(&mapping, address);

        /* Also if another thread's wins: it is the same file, and to flush too much does no harm. */
        if (!synchronous)
                atomic_store(&allocation->lacks_map_sync, true);

        if (!atomic_compare_exchange_strong(&allocation->address, &expected, address)) {
                (void) munmap(address, mapping.length);
                address = expected;
        }

        *ret = address;
        return 0;
}

/* How many bytes there are behind the descriptor. */
static int map_measure(const daxbroker_allocation *allocation, uint64_t *ret) {
        struct stat status;

        if (fstat(allocation->memory_fd, &status) < 0)
                return error_set_errno(-errno, "cannot look at the memory's descriptor");
        if (!S_ISREG(status.st_mode))
                return error_set(-EOPNOTSUPP, "the memory is a device, whose length does not change");

        *ret = (uint64_t) status.st_size > allocation->offset ? (uint64_t) status.st_size - allocation->offset : 0;
        return 0;
}

/* Where it is if it can, else elsewhere. A mapping that cannot be made anew stays. */
static int map_again(const Mapping *mapping, size_t reserve, void *old, size_t old_length, void **ret,
                     bool *ret_synchronous) {
        int r;

        if (old && mremap(old, old_length, mapping->length, 0) != MAP_FAILED) {
                *ret = old;
                return 0;
        }

        r = map_make(mapping, reserve, ret, ret_synchronous);
        if (r >= 0 && old)
                (void) munmap(old, old_length);
        return r;
}

_public_ int daxbroker_allocation_remap(daxbroker_allocation *allocation, uint64_t length, void **ret) {
        void *old = atomic_load(&allocation->address), *address;
        Mapping mapping = { .fd = -EBADF };
        bool synchronous = true;
        size_t reserve = 0;
        uint64_t there = 0;
        int r;

        r = map_measure(allocation, &there);
        if (r < 0)
                return r;
        if (length == 0)
                length = there;
        if (length == 0 || length > there)
                return error_set(-ERANGE, "the memory has %" PRIu64 " bytes now", there);

        r = map_describe(allocation, length, &mapping, &reserve);
        if (r >= 0)
                r = map_again(&mapping, reserve, old, allocation->mapped_length, &address, &synchronous);
        if (r < 0)
                return error_set_errno(r, "cannot map the memory");
        map_advise(&mapping, address);

        /* What is known about flushing it is about the old mapping. */
        free(atomic_exchange(&allocation->persistence, NULL));
        if (!synchronous)
                atomic_store(&allocation->lacks_map_sync, true);
        atomic_store(&allocation->address, address);
        allocation->length = length;
        allocation->mapped_length = mapping.length;
        *ret = address;
        return 0;
}

void allocation_unmap(daxbroker_allocation *allocation) {
        void *address = atomic_exchange(&allocation->address, NULL);

        if (address)
                (void) munmap(address, allocation->mapped_length);
}
