/* SPDX-License-Identifier: MIT */

/* What the client library does to make stores durable, on each kind of mapping. The machine has no persistent memory:
 * mmap() and libpmem2 say what they would say if it had, and msync() tells what it is asked. */

#include "daxbroker.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <libpmem2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)
#define SIZE (4 * PAGE)

/* What the file system can do, and how often a mapping that it could have made is refused first. With the offsets that
 * meson asks for, mmap() is mmap64(). */
static bool can_sync;
static unsigned refused;

static enum pmem2_granularity opinion;
static unsigned opinions;

static unsigned msyncs;
static int msync_error;
static uintptr_t msync_address;
static size_t msync_length;

void *__real_mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __wrap_msync(void *address, size_t length, int flags);
enum pmem2_granularity __wrap_pmem2_map_get_store_granularity(struct pmem2_map *map);

void *__wrap_mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
        if ((flags & MAP_SYNC) && can_sync) {
                if (refused == 0)
                        flags = (flags & ~(MAP_SYNC | MAP_SHARED_VALIDATE)) | MAP_SHARED;
                else
                        refused--;
        }

        return __real_mmap64(address, length, protection, flags, fd, offset);
}

int __wrap_msync(void *address, size_t length, int flags) {
        g_assert_cmpint(flags, ==, MS_SYNC);
        msyncs++;
        msync_address = (uintptr_t) address;
        msync_length = length;

        errno = msync_error;
        return msync_error != 0 ? -1 : 0;
}

enum pmem2_granularity __wrap_pmem2_map_get_store_granularity(struct pmem2_map *map) {
        g_assert_nonnull(map);
        opinions++;
        return opinion;
}

static char *make(daxbroker_allocation **ret) {
        int fd = memfd_create("test", MFD_CLOEXEC);
        void *address;

        msyncs = opinions = 0;
        msync_error = 0;
        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(ftruncate(fd, SIZE), ==, 0);
        g_assert_cmpint(daxbroker_adopt_fds(fd, -1, 0, 0, ret), ==, 0);
        g_assert_cmpint(daxbroker_allocation_map(*ret, &address), ==, 0);
        memset(address, 1, SIZE);
        return address;
}

static uint64_t granularity_of(daxbroker_allocation *allocation) {
        uint64_t granularity = 0;

        g_assert_cmpint(daxbroker_get_store_granularity(allocation, &granularity), ==, 0);
        return granularity;
}

/* Every call goes through the kernel: by whole pages, and none too many. */
static void assert_by_pages(daxbroker_allocation *allocation, char *memory) {
        g_assert_cmpuint(granularity_of(allocation), ==, PAGE);
        g_assert_cmpint(daxbroker_persist(allocation, memory + PAGE - 1, 2), ==, 0);
        g_assert_cmpuint(msyncs, ==, 1);
        g_assert_cmpuint(msync_address, ==, (uintptr_t) memory);
        g_assert_cmpuint(msync_length, ==, PAGE + 1);

        g_assert_cmpint(daxbroker_flush(allocation, memory + 2 * PAGE, PAGE), ==, 0);
        g_assert_cmpuint(msyncs, ==, 2);
        g_assert_cmpuint(msync_address, ==, (uintptr_t) memory + 2 * PAGE);
        g_assert_cmpuint(msync_length, ==, PAGE);
        g_assert_cmpint(daxbroker_drain(allocation), ==, 0);
        g_assert_cmpuint(msyncs, ==, 2);

        g_assert_cmpint(daxbroker_deep_flush(allocation, memory, SIZE), ==, 0);
        g_assert_cmpuint(msyncs, ==, 3);
        g_assert_cmpuint(msync_length, ==, SIZE);
}

/* None does, except where the medium itself is meant. */
static void assert_without_kernel(daxbroker_allocation *allocation, char *memory) {
        g_assert_cmpint(daxbroker_persist(allocation, memory + PAGE - 1, 2), ==, 0);
        g_assert_cmpint(daxbroker_persist(allocation, memory, SIZE), ==, 0);
        g_assert_cmpint(daxbroker_persist(allocation, memory + SIZE, 0), ==, 0);
        g_assert_cmpint(daxbroker_flush(allocation, memory + 100, 3), ==, 0);
        g_assert_cmpint(daxbroker_drain(allocation), ==, 0);
        g_assert_cmpuint(msyncs, ==, 0);

        g_assert_cmpint(daxbroker_deep_flush(allocation, memory + PAGE + 1, 1), ==, 0);
        g_assert_cmpuint(msyncs, ==, 1);
        g_assert_cmpuint(msync_address, ==, (uintptr_t) memory + PAGE);
        g_assert_cmpuint(msync_length, ==, 2);
}

static void test_by_pages(void) {
        daxbroker_allocation *allocation;
        char *memory;

        can_sync = false;
        opinion = PMEM2_GRANULARITY_PAGE;
        memory = make(&allocation);
        assert_by_pages(allocation, memory);
        daxbroker_allocation_close(allocation);
}

/* As on a file system with DAX, when a mapping of libpmem2's has what ours has not. */
static void test_by_pages_despite_libpmem2(void) {
        daxbroker_allocation *allocation;
        char *memory;

        can_sync = false;
        opinion = PMEM2_GRANULARITY_CACHE_LINE;
        memory = make(&allocation);
        assert_by_pages(allocation, memory);
        g_assert_cmpuint(opinions, ==, 0);
        daxbroker_allocation_close(allocation);
}

/* The first attempt at a mapping, which is not the last one as it is not aligned, says nothing about the second. */
static void test_by_pages_at_aligned_address(void) {
        daxbroker_allocation *allocation;
        char *memory;

        can_sync = true;
        refused = 2;
        opinion = PMEM2_GRANULARITY_CACHE_LINE;
        memory = make(&allocation);
        g_assert_cmpuint((uintptr_t) memory % (1 << 30), ==, 0);
        /* of the two, one was the last one's, unless the first one was aligned */
        g_assert_cmpuint(refused, <=, 1);
        refused = 0;
        assert_by_pages(allocation, memory);
        daxbroker_allocation_close(allocation);

        refused = 1;
        memory = make(&allocation);
        g_assert_cmpuint(refused, ==, 0);
        g_assert_cmpuint(granularity_of(allocation), <, PAGE);
        daxbroker_allocation_close(allocation);
}

static void test_by_cache_lines(void) {
        daxbroker_allocation *allocation;
        char *memory;

        can_sync = true;
        opinion = PMEM2_GRANULARITY_CACHE_LINE;
        memory = make(&allocation);
        g_assert_cmpuint(granularity_of(allocation), >=, 16);
        g_assert_cmpuint(granularity_of(allocation), <=, 256);
        g_assert_cmpuint(opinions, ==, 1);
        assert_without_kernel(allocation, memory);
        daxbroker_allocation_close(allocation);
}

static void test_by_bytes(void) {
        daxbroker_allocation *allocation;
        char *memory;

        can_sync = true;
        opinion = PMEM2_GRANULARITY_BYTE;
        memory = make(&allocation);
        g_assert_cmpuint(granularity_of(allocation), ==, 1);
        assert_without_kernel(allocation, memory);
        daxbroker_allocation_close(allocation);
}

/* What was right for one mapping need not be for the next. */
static void test_by_pages_after_remap(void) {
        daxbroker_allocation *allocation;
        void *address;

        can_sync = true;
        opinion = PMEM2_GRANULARITY_CACHE_LINE;
        (void) make(&allocation);
        g_assert_cmpuint(granularity_of(allocation), <, PAGE);

        /* in the way of making it longer where it is */
        can_sync = false;
        address = (char *) daxbroker_allocation_get_address(allocation) + SIZE;
        g_assert_true(__real_mmap64(address, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == address);
        g_assert_cmpint(ftruncate(daxbroker_allocation_get_fd(allocation), 2 * SIZE), ==, 0);
        g_assert_cmpint(daxbroker_allocation_remap(allocation, 0, &address), ==, 0);
        assert_by_pages(allocation, address);
        daxbroker_allocation_close(allocation);
}

/* libpmem2 knows of something that makes even MAP_SYNC not enough. */
static void test_libpmem2_doubts(void) {
        daxbroker_allocation *allocation;
        char *memory;

        can_sync = true;
        opinion = PMEM2_GRANULARITY_PAGE;
        memory = make(&allocation);
        assert_by_pages(allocation, memory);
        daxbroker_allocation_close(allocation);
}

static void test_forced(void) {
        daxbroker_allocation *allocation;
        char *memory;

        g_setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", TRUE);
        can_sync = false;
        opinion = PMEM2_GRANULARITY_CACHE_LINE;
        memory = make(&allocation);
        g_assert_cmpuint(granularity_of(allocation), <, PAGE);
        assert_without_kernel(allocation, memory);
        daxbroker_allocation_close(allocation);
        g_unsetenv("PMEM2_FORCE_GRANULARITY");
}

static void test_failure(void) {
        daxbroker_allocation *allocation;
        char *memory;

        can_sync = false;
        memory = make(&allocation);
        msync_error = EIO;
        g_assert_cmpint(daxbroker_persist(allocation, memory, 1), ==, -EIO);
        g_assert_nonnull(strstr(daxbroker_last_error(), "durable"));
        g_assert_cmpint(daxbroker_flush(allocation, memory, 1), ==, -EIO);
        g_assert_cmpint(daxbroker_deep_flush(allocation, memory, 1), ==, -EIO);
        daxbroker_allocation_close(allocation);
}

/* ---- Threads ------------------------------------------------------------------------------------------------------- */

#define THREADS 8

static gpointer persist_in_thread(gpointer data) {
        daxbroker_allocation *allocation = data;
        uint64_t granularity = 0;
        void *address;

        g_assert_cmpint(daxbroker_allocation_map(allocation, &address), ==, 0);
        g_assert_cmpint(daxbroker_get_store_granularity(allocation, &granularity), ==, 0);
        g_assert_cmpint(daxbroker_flush(allocation, address, 64), ==, 0);
        g_assert_cmpint(daxbroker_drain(allocation), ==, 0);
        return GUINT_TO_POINTER((guint) granularity);
}

/* All of them map it and ask at once, and hear the same. */
static void test_threads(void) {
        can_sync = true;
        opinion = PMEM2_GRANULARITY_CACHE_LINE;
        for (unsigned round = 0; round < 50; round++) {
                int fd = memfd_create("test", MFD_CLOEXEC);
                daxbroker_allocation *allocation;
                GThread *threads[THREADS];

                opinions = 0;
                g_assert_cmpint(ftruncate(fd, SIZE), ==, 0);
                g_assert_cmpint(daxbroker_adopt_fds(fd, -1, 0, 0, &allocation), ==, 0);
                for (unsigned i = 0; i < THREADS; i++)
                        threads[i] = g_thread_new("persist", persist_in_thread, allocation);
                for (unsigned i = 0; i < THREADS; i++)
                        g_assert_cmpuint(GPOINTER_TO_UINT(g_thread_join(threads[i])), ==, 64);
                g_assert_cmpuint(opinions, ==, 1);
                daxbroker_allocation_close(allocation);
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/client/persist/by-pages", test_by_pages);
        g_test_add_func("/client/persist/by-pages-despite-libpmem2", test_by_pages_despite_libpmem2);
        g_test_add_func("/client/persist/by-pages-at-aligned-address", test_by_pages_at_aligned_address);
        g_test_add_func("/client/persist/by-cache-lines", test_by_cache_lines);
        g_test_add_func("/client/persist/by-bytes", test_by_bytes);
        g_test_add_func("/client/persist/by-pages-after-remap", test_by_pages_after_remap);
        g_test_add_func("/client/persist/libpmem2-doubts", test_libpmem2_doubts);
        g_test_add_func("/client/persist/forced", test_forced);
        g_test_add_func("/client/persist/failure", test_failure);
        g_test_add_func("/client/persist/threads", test_threads);
        return g_test_run();
}
