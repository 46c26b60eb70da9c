/* SPDX-License-Identifier: MIT */

/* Ordinary memory, handed out as memfds. A region is a budget of DRAM, on one NUMA node or on all of them.
 *
 * Each allocation is an inode of its own, so no holder can reach another's bytes, and the kernel zeroes every page. It is
 * sealed against growing (a holder cannot take more than its share) and against further seals, but not against shrinking:
 * truncating it to nothing is how it is revoked. That gives SIGBUS in every mapping and frees the pages; growing it again
 * is impossible even for us, so a revoked memfd is finished. Pages that somebody still references are freed by the kernel
 * when the reference goes; nobody else gets them before. (hugetlbfs has a gap: there a writable mapping beyond the end
 * makes the file longer in spite of the seal, with pages fresh from the pool. SECURITY.md says what that means.)
 *
 * Alignments of 2 MiB and more, and page sizes that were demanded, get hugetlb pages where there are free ones. They are
 * allocated at once: a shortage is an error now and not a SIGBUS later. Without them it is plain shared memory, which the
 * kernel may back with huge pages as well.
 *
 * Each holder gets an open file of its own, made by opening our descriptor again, so that file positions, flags and locks
 * are not shared between users, and a lock ends with who has it. The inode's mode allows holders to open it again through
 * /proc/self/fd, for writing only until the first read-only holder exists: from then on that would be a way around being
 * read-only. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/memfd.h>
#include <numa.h>
#include <numaif.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "dax.h"
#include "huge-pages.h"
#include "log.h"
#include "provider.h"
#include "region.h"
#include "size.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define HUGE_PAGE (2 * MIB)

#define NODES_MAX 1024U /* of any kernel */
#define LONG_BITS (8U * sizeof(long))

/* What is made ahead of requests leaves the machine so much: a sixteenth. */
#define SPARE_PART 16

static uint64_t small_page(void) {
        return (uint64_t) sysconf(_SC_PAGESIZE);
}

static bool node_exists(int node) {
        return numa_available() >= 0 ? node >= 0 && node <= numa_max_node() && numa_node_size64(node, NULL) > 0
                                     : node == 0;
}

static int memfd_probe(Region *region, const RegionConfig *config, Failure *failure) {
        uint64_t whole, size;

        if (config->numa_node >= 0 && !node_exists(config->numa_node))
                return failure_set(failure, REFUSAL_RegionUnusable, "NumaNode=%d: there is no such node with memory",
                                   config->numa_node);

        whole = (uint64_t) sysconf(_SC_PHYS_PAGES) * small_page();
        if (config->numa_node >= 0 && numa_available() >= 0)
                whole = (uint64_t) numa_node_size64(config->numa_node, NULL);

        if (!config->size)
                return failure_set(failure, REFUSAL_RegionUnusable,
                                   "the configuration has no Size= for it, such as 16G or 25%%");
        if (size_parse_part(config->size, whole, &size) < 0 || size == SIZE_INFINITE)
                return failure_set(failure, REFUSAL_RegionUnusable, "Size=%s is no size that a region can have",
                                   config->size);
        size -= size % small_page();
        if (size == 0)
                return failure_set(failure, REFUSAL_RegionUnusable, "Size=%s is less than a page", config->size);
        if (size > whole)
                return failure_set(failure, REFUSAL_RegionUnusable, "Size=%s is more than the %s there are",
                                   config->size, SIZE_TEXT(whole));

        region->size = size;
        region->numa_node = config->numa_node;
        dax_read_performance(config->numa_node, &region->performance);
        region->granularity = small_page();
        region->n_alignments = 3;
        region->alignments[0] = small_page();
        region->alignments[1] = HUGE_PAGE;
        region->alignments[2] = GIB;
        return 0;
}

static int plan_node(const Region *region, const Request *request, Piece *piece, Failure *failure) {
        piece->numa_node = region->numa_node;
        if (!request->numa_node_set)
                return 0;

        if (request->numa_node > INT32_MAX || !node_exists((int) request->numa_node))
                return failure_set(failure, REFUSAL_BadOption, "option numa-node: there is no node %" PRIu32 " with memory",
                                   request->numa_node);
        if (region->numa_node >= 0 && (uint32_t) region->numa_node != request->numa_node)
                return failure_set(failure, REFUSAL_BadOption, "option numa-node: region '%s' lies on node %d",
                                   region->name, region->numa_node);

        piece->numa_node = (int) request->numa_node;
        return 0;
}

static int memfd_plan(const Region *region, const Request *request, Piece *piece, Failure *failure) {
        int r;

        *piece = (Piece){
                .alignment = request->alignment,
                .page_size = request->alignment >= HUGE_PAGE ? HUGE_PAGE : small_page(),
                .prefault = request->prefault,
                .fd = -EBADF,
                .fd_read_only = -EBADF,
        };

        if (request->persistent)
                return failure_set(failure, REFUSAL_BadOption,
                                   "option persistent: region '%s' is ordinary memory and forgets at power-off",
                                   region->name);

        if (request->page_size_set) {
                if (request->page_size != small_page() && !huge_pages_exist(request->page_size))
                        return failure_set(failure, REFUSAL_BadOption,
                                           "option page-size: this machine has no pages of %s; see /sys/kernel/mm/hugepages",
                                           SIZE_TEXT(request->page_size));
                piece->page_size = request->page_size;
                piece->page_size_demanded = true;
        }

        r = plan_node(region, request, piece, failure);
        if (r < 0)
                return r;

        return piece_round_up(piece, request->size, failure);
}

/* Pages that come when they are touched: nobody else has the inode yet, and there is nothing to wait for. */
static bool memfd_at_once(Piece *piece) {
        if (piece->page_size > small_page() && !piece->page_size_demanded && !piece->insists &&
            huge_pages_free(piece->page_size, piece->numa_node) < piece->length / piece->page_size)
                piece->page_size = small_page();

        return piece->page_size == small_page() && !piece->prefault && piece->numa_node < 0;
}

/* A new memfd, empty and not sealed against growing. Holders may open it again, and nobody may execute it: that is what
 * MFD_NOEXEC_SEAL makes of its mode, which is newer than the oldest kernel we run on. Without it the mode starts as 0777. */
static int memfd_make(const char *id, unsigned flags) {
        char name[64];
        int fd;

        (void) snprintf(name, sizeof(name), "daxbroker:%s", id);
        flags |= MFD_CLOEXEC | MFD_ALLOW_SEALING;

        fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
        if (fd >= 0 || errno != EINVAL)
                return fd < 0 ? -errno : fd;

        fd = memfd_create(name, flags);
        if (fd < 0)
                return -errno;
        if (fchmod(fd, 0666) < 0) {
                int r = -errno;

                safe_close(fd);
                return r;
        }
        return fd;
}

static int memfd_finish(int fd) {
        return fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL) < 0 ? -errno : 0;
}

/* As the kernel wants it, and not from the heap. */
typedef struct NodeMask {
        unsigned long words[NODES_MAX / LONG_BITS];
} NodeMask;

static NodeMask node_mask(int node) {
        NodeMask mask = { 0 };

        mask.words[(unsigned) node / LONG_BITS] = 1UL << (unsigned) node % LONG_BITS;
        return mask;
}

/* All at once; with stop, step by step. */
static int hugetlb_allocate(const Piece *piece, int fd, const atomic_bool *stop) {
        uint64_t step = stop ? piece->page_size : piece->length, offset = 0;

        while (offset < piece->length) {
                if (stop && atomic_load(stop))
                        return -ECANCELED;
                if (fallocate(fd, 0, (off_t) offset, (off_t) step) >= 0)
                        offset += step;
                else if (errno != EINTR)
                        return -errno;
        }
        return 0;
}

/* hugetlb pages, all of them present. The node is chosen by this thread's policy: a hugetlb inode keeps none. */
static int carve_hugetlb(const Piece *piece, const char *id, const atomic_bool *stop, int *ret_fd) {
        bool is_bound = piece->numa_node >= 0 && numa_available() >= 0;
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = memfd_make(id, MFD_HUGETLB | ((unsigned) __builtin_ctzll(piece->page_size) << MFD_HUGE_SHIFT));
        if (fd < 0)
                return fd;
        if (ftruncate(fd, (off_t) piece->length) < 0)
                return -errno;

        if (is_bound) {
                NodeMask mask = node_mask(piece->numa_node);

                if (set_mempolicy(MPOL_BIND, mask.words, NODES_MAX + 1) < 0)
                        return -errno;
        }

        r = hugetlb_allocate(piece, fd, stop);
        if (is_bound)
                (void) set_mempolicy(MPOL_DEFAULT, NULL, 0);
        if (r < 0)
                return r;

        r = memfd_finish(fd);
        if (r < 0)
                return r;

        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* With shared memory the policy stays with the inode, for whoever touches the pages later. */
static int shmem_prepare(const Piece *piece, int fd) {
        bool huge = piece->alignment >= HUGE_PAGE && piece->length >= HUGE_PAGE && !piece->page_size_demanded;
        void *memory;
        int r = 0;

        if (!piece->prefault && piece->numa_node < 0)
                return 0;

        memory = mmap(NULL, piece->length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED)
                return -errno;

        if (piece->numa_node >= 0 && numa_available() >= 0) {
                NodeMask mask = node_mask(piece->numa_node);

                r = mbind(memory, piece->length, MPOL_BIND, mask.words, NODES_MAX + 1, 0) < 0 ? -errno : 0;
        }
        if (r >= 0 && piece->prefault) {
                if (huge && huge_pages_for_shmem())
                        (void) madvise(memory, piece->length, MADV_HUGEPAGE);
                do
                        r = madvise(memory, piece->length, MADV_POPULATE_WRITE) < 0 ? -errno : 0;
                while (r == -EINTR);
        }

        (void) munmap(memory, piece->length);
        return r;
}

static int carve_shmem(const Piece *piece, const char *id, int *ret_fd) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = memfd_make(id, 0);
        if (fd < 0)
                return fd;
        if (ftruncate(fd, (off_t) piece->length) < 0)
                return -errno;

        r = shmem_prepare(piece, fd);
        if (r < 0)
                return r;

        r = memfd_finish(fd);
        if (r < 0)
                return r;

        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int memfd_carve(Piece *piece, const char *id, Failure *failure) {
        uint64_t available;
        int r;

        if (piece->page_size > small_page()) {
                uint64_t wanted = piece->length / piece->page_size;
                uint64_t there = huge_pages_free(piece->page_size, piece->numa_node);

                r = there >= wanted ? carve_hugetlb(piece, id, NULL, &piece->fd) : -ENOSPC;
                if (r >= 0)
                        return 0;
                if (r != -ENOSPC && r != -ENOMEM)
                        return failure_set_errno(failure, r, "cannot make a memfd with huge pages");
                if (piece->page_size_demanded)
                        return failure_set(failure, REFUSAL_NoHugePages,
                                           "%" PRIu64 " pages of %s are needed, %" PRIu64
                                           " are free; the admin can reserve more with the sysctl vm.nr_hugepages",
                                           wanted, SIZE_TEXT(piece->page_size), there);
                if (piece->insists)
                        return failure_set(failure, REFUSAL_NoSpace, "there are no %" PRIu64 " free pages of %s", wanted,
                                           SIZE_TEXT(piece->page_size));
        }

        /* The kernel would rather kill a process than fail this, so ask first. */
        available = piece->prefault ? memory_available(piece->numa_node) : UINT64_MAX;
        if (piece->length > available)
                return failure_set(failure, REFUSAL_NoSpace,
                                   "option prefault: the machine has %s of memory left for it, %s were asked for",
                                   SIZE_TEXT(available - available % MIB), SIZE_TEXT(piece->length));

        r = carve_shmem(piece, id, &piece->fd);
        if (r == -ENOMEM || r == -EFAULT || r == -EHWPOISON)
                return failure_set(failure, REFUSAL_NoSpace, "the kernel has not got %s of memory to give: %s",
                                   SIZE_TEXT(piece->length), strerror(-r));
        if (r < 0)
                return failure_set_errno(failure, r, "cannot make a memfd");

        piece->page_size = small_page();
        return 0;
}

/* At most a huge page, and one page of it if the kernel has that. What it takes a lock of the whole process for is short:
 * huge pages are put together without it, from a page that is there and many that are not. */
static int shmem_populate(int fd, void *window, uint64_t offset, uint64_t length, bool huge) {
        int r;

        if (huge && pwrite(fd, "", 1, (off_t) offset) < 0)
                return -errno;
        if (mmap(window, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t) offset) == MAP_FAILED)
                return -errno;

        if (huge && madvise(window, length, MADV_COLLAPSE) >= 0)
                return 0;
        do
                r = madvise(window, length, MADV_POPULATE_WRITE) < 0 ? -errno : 0;
        while (r == -EINTR);
        return r;
}

static int shmem_populate_all(const Piece *piece, int fd, const atomic_bool *stop) {
        bool huge = piece->alignment >= HUGE_PAGE && !piece->page_size_demanded;
        uint8_t *room, *window;
        int r = 0;

        room = mmap(NULL, 2 * HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (room == MAP_FAILED)
                return -errno;

        window = room + -(uintptr_t) room % HUGE_PAGE;
        for (uint64_t offset = 0; r >= 0 && offset < piece->length; offset += HUGE_PAGE) {
                uint64_t left = piece->length - offset, length = left < HUGE_PAGE ? left : HUGE_PAGE;

                r = atomic_load(stop) ? -ECANCELED
                                      : shmem_populate(fd, window, offset, length, huge && length == HUGE_PAGE);
        }
        (void) munmap(room, 2 * HUGE_PAGE);
        return r;
}

static int memfd_carve_ahead(Piece *piece, const char *id, const atomic_bool *stop, Failure *failure) {
        uint64_t spare = (uint64_t) sysconf(_SC_PHYS_PAGES) * small_page() / SPARE_PART;
        _cleanup_close_ int fd = -EBADF;
        uint64_t available;
        Piece empty = *piece;
        int r;

        if (piece->page_size > small_page()) {
                r = huge_pages_free(piece->page_size, piece->numa_node) >= piece->length / piece->page_size
                            ? carve_hugetlb(piece, id, stop, &piece->fd)
                            : -ENOSPC;
                if (r >= 0)
                        return 0;
                if (r == -ECANCELED || piece->page_size_demanded)
                        return failure_set_errno(failure, r, "there are not enough free huge pages");
        }

        available = memory_available(piece->numa_node);
        if (available < spare || available - spare < piece->length)
                return failure_set(failure, REFUSAL_NoSpace, "the machine has not enough memory left for that");

        empty.prefault = false;
        r = carve_shmem(&empty, id, &fd);
        if (r >= 0)
                r = shmem_populate_all(piece, fd, stop);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot make a memfd");

        piece->page_size = small_page();
        piece->fd = TAKE_FD(fd);
        return 0;
}

static int memfd_open(Piece *piece, bool read_only, int *ret_fd, Failure *failure) {
        char path[64];
        int fd;

        if (read_only && fchmod(piece->fd, 0644) < 0)
                return failure_set_errno(failure, -errno, "cannot make the memfd read-only for others");

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", piece->fd);
        fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        if (fd < 0)
                return failure_set_errno(failure, -errno, "cannot open the memfd for its holder");

        *ret_fd = fd;
        return 0;
}

static int memfd_revoke(Piece *piece, Failure *failure) {
        int r;

        if (piece->fd < 0)
                return 0;

        /* Waits for whatever a holder is having done to the inode just now. */
        do
                r = ftruncate(piece->fd, 0) < 0 ? -errno : 0;
        while (r == -EINTR);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot truncate the memfd");

        piece->fd = safe_close(piece->fd);
        return 0;
}

static int memfd_recover(Piece *piece, int stored_fds[static 2], Failure *failure) {
        int stored_fd = stored_fds[0];
        struct stat st;
        int seals;

        if (stored_fd < 0)
                return failure_set(failure, REFUSAL_Failed, "the service manager has not kept its descriptor");
        if (fstat(stored_fd, &st) < 0)
                return failure_set_errno(failure, -errno, "cannot look at its descriptor");

        seals = fcntl(stored_fd, F_GET_SEALS);
        if (seals < 0 || (seals & (F_SEAL_GROW | F_SEAL_SEAL | F_SEAL_SHRINK)) != (F_SEAL_GROW | F_SEAL_SEAL))
                return failure_set(failure, REFUSAL_Failed, "the descriptor kept for it is not one of ours");
        if (st.st_size == 0)
                return -ESTALE;

        piece->fd = TAKE_FD(stored_fds[0]);
        return 0;
}

const Provider provider_memfd = {
        .name = "memfd",
        .isolation = "inode",
        .persistent = false,
        .stores_fd = true,
        .grants = true,
        .probe = memfd_probe,
        .plan = memfd_plan,
        .at_once = memfd_at_once,
        .carve = memfd_carve,
        .carve_ahead = memfd_carve_ahead,
        .open = memfd_open,
        .revoke = memfd_revoke,
        .recover = memfd_recover,
};
