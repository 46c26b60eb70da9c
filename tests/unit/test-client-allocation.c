/* SPDX-License-Identifier: MIT */

/* The client library's allocations, on memory that no service made: adopting, mapping, flushing, closing. */

#include "adopt.h"
#include "daxbroker.h"
#include "map.h"
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)

static int make_memory(off_t size) {
        int fd = memfd_create("test", 0);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(ftruncate(fd, size), ==, 0);
        return fd;
}

static daxbroker_allocation *adopt(int fd, uint64_t offset, uint64_t length) {
        daxbroker_allocation *allocation = NULL;

        g_assert_cmpint(daxbroker_adopt_fds(fd, -1, offset, length, &allocation), ==, 0);
        return allocation;
}

static void test_numbers(void) {
        static const char *const bad[] = { "", " 1", "-1", "+1", "1 ", "0x1", "1k", "18446744073709551616" };
        uint64_t value = 5;

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_cmpint(adopt_parse_uint64(bad[i], &value), <, 0);
        g_assert_cmpuint(value, ==, 5);

        g_assert_cmpint(adopt_parse_uint64("18446744073709551615", &value), ==, 0);
        g_assert_cmpuint(value, ==, UINT64_MAX);
        g_assert_cmpint(adopt_parse_uint64("0", &value), ==, 0);
        g_assert_cmpuint(value, ==, 0);
}

static void test_ids(void) {
        g_assert_true(service_is_allocation_id("0123456789abcdef"));
        g_assert_false(service_is_allocation_id("0123456789ABCDEF"));
        g_assert_false(service_is_allocation_id("0123456789abcde"));
        g_assert_false(service_is_allocation_id("0123456789abcdef0"));
        g_assert_false(service_is_allocation_id("0123456789abcdeg"));
        g_assert_false(service_is_allocation_id(""));
}

static void test_layout(void) {
        size_t length = 7, reserve = 7;

        g_assert_cmpint(map_layout(1, 4096, 4096, &length, &reserve), ==, 0);
        g_assert_cmpuint(length, ==, 4096);
        g_assert_cmpuint(reserve, ==, 8192);

        g_assert_cmpint(map_layout(4097, 4096, 1 << 30, &length, &reserve), ==, 0);
        g_assert_cmpuint(length, ==, 8192);
        g_assert_cmpuint(reserve, ==, (1 << 30) + 8192);

        g_assert_cmpint(map_layout(UINT64_MAX, 4096, 1, &length, &reserve), ==, -EOVERFLOW);
        g_assert_cmpint(map_layout(UINT64_MAX - 4095, 4096, 4096, &length, &reserve), ==, -EOVERFLOW);
        g_assert_cmpuint(length, ==, 8192);
}

static void test_adopt_refuses(void) {
        daxbroker_allocation *allocation = NULL;
        int fd = make_memory(2 * PAGE), empty = make_memory(0), pipes[2];

        g_assert_cmpint(pipe(pipes), ==, 0);
        g_assert_cmpint(daxbroker_adopt_fds(-1, -1, 0, 0, &allocation), ==, -EBADF);
        g_assert_cmpint(daxbroker_adopt_fds(1000000, -1, 0, 0, &allocation), ==, -EBADF);
        g_assert_cmpint(daxbroker_adopt_fds(fd, 1000000, 0, 0, &allocation), ==, -EBADF);
        g_assert_cmpint(daxbroker_adopt_fds(fd, -2, 0, 0, &allocation), ==, -EBADF);
        g_assert_cmpint(daxbroker_adopt_fds(fd, fd, 0, 0, &allocation), ==, -EINVAL);
        g_assert_cmpint(daxbroker_adopt_fds(fd, -1, 0, 2 * PAGE + 1, &allocation), ==, -EINVAL);
        g_assert_cmpint(daxbroker_adopt_fds(fd, -1, 2 * PAGE, 0, &allocation), ==, -EINVAL);
        g_assert_cmpint(daxbroker_adopt_fds(fd, -1, UINT64_MAX, 2, &allocation), ==, -EINVAL);
        g_assert_cmpint(daxbroker_adopt_fds(empty, -1, 0, 0, &allocation), ==, -EINVAL);
        g_assert_cmpint(daxbroker_adopt_fds(pipes[0], -1, 0, 0, &allocation), ==, -EINVAL);
        g_assert_null(allocation);

        /* What was refused is still the caller's, as it was. */
        g_assert_cmpint(fcntl(fd, F_GETFD), ==, 0);
        close(fd);
        close(empty);
        close(pipes[0]);
        close(pipes[1]);
}

static void test_adopt_owns(void) {
        daxbroker_allocation *allocation;
        int fd = make_memory(3 * PAGE), lease = dup(fd);

        g_assert_cmpint(daxbroker_adopt_fds(fd, lease, PAGE, 0, &allocation), ==, 0);
        g_assert_cmpuint(daxbroker_allocation_get_length(allocation), ==, 2 * PAGE);
        g_assert_cmpuint(daxbroker_allocation_get_offset(allocation), ==, PAGE);
        g_assert_cmpint(daxbroker_allocation_get_fd(allocation), ==, fd);
        g_assert_cmpint(daxbroker_allocation_get_lease_fd(allocation), ==, lease);
        g_assert_cmpstr(daxbroker_allocation_get_object(allocation), ==, "");
        g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
        g_assert_cmpint(fcntl(lease, F_GETFD), ==, FD_CLOEXEC);

        g_assert_null(daxbroker_allocation_close(allocation));
        g_assert_cmpint(fcntl(fd, F_GETFD), ==, -1);
        g_assert_cmpint(fcntl(lease, F_GETFD), ==, -1);
        g_assert_null(daxbroker_allocation_close(NULL));
}

static void test_environment(void) {
        g_autofree char *number = NULL;
        daxbroker_allocation *allocation;
        int fd = make_memory(PAGE);

        g_unsetenv("DAXBROKER_FD");
        g_assert_cmpint(daxbroker_adopt_environment(&allocation), ==, -ENXIO);

        number = g_strdup_printf("%d", fd);
        g_setenv("DAXBROKER_FD", number, TRUE);
        g_setenv("DAXBROKER_LENGTH", "much", TRUE);
        g_assert_cmpint(daxbroker_adopt_environment(&allocation), ==, -EINVAL);
        g_unsetenv("DAXBROKER_LENGTH");

        g_assert_cmpint(daxbroker_adopt_environment(&allocation), ==, 0);
        g_assert_cmpuint(daxbroker_allocation_get_length(allocation), ==, PAGE);
        g_assert_cmpint(daxbroker_allocation_get_lease_fd(allocation), ==, -1);

        /* It cannot be had twice, neither now nor when the number is another file's. */
        g_assert_cmpint(daxbroker_adopt_environment(&(daxbroker_allocation *) { NULL }), ==, -ENXIO);
        daxbroker_allocation_close(allocation);
        g_assert_cmpint(daxbroker_adopt_environment(&allocation), ==, -ENXIO);
        g_assert_cmpint(fcntl(fd, F_GETFD), ==, -1);
        g_assert_cmpint(open("/dev/null", O_RDONLY | O_CLOEXEC), ==, fd);
        g_assert_cmpint(daxbroker_adopt_environment(&allocation), ==, -ENXIO);
        close(fd);
        g_unsetenv("DAXBROKER_FD");
}

static void test_map(void) {
        daxbroker_allocation *allocation = adopt(make_memory(3 * PAGE), PAGE, PAGE + 1);
        void *address = NULL, *again = NULL;
        char *bytes, found[2];

        g_assert_null(daxbroker_allocation_get_address(allocation));
        g_assert_cmpint(daxbroker_allocation_map(allocation, &address), ==, 0);
        g_assert_cmpint(daxbroker_allocation_map(allocation, &again), ==, 0);
        g_assert_true(address == again && address == daxbroker_allocation_get_address(allocation));
        g_assert_cmpuint((uintptr_t) address % (1 << 30), ==, 0);

        bytes = address;
        bytes[0] = 'a';
        bytes[PAGE] = 'b';
        g_assert_cmpint(pread(daxbroker_allocation_get_fd(allocation), found, 2, 2 * PAGE - 1), ==, 2);
        g_assert_cmpint(found[1], ==, 'b');

        daxbroker_allocation_close(allocation);
        g_assert_cmpint(msync(address, PAGE, MS_ASYNC), ==, -1);
        g_assert_cmpint(errno, ==, ENOMEM);
}

static void test_map_read_only(void) {
        daxbroker_allocation *allocation;
        int fd = make_memory(PAGE), read_only;
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
        void *address;

        read_only = open(path, O_RDONLY | O_CLOEXEC);
        g_assert_cmpint(read_only, >=, 0);
        close(fd);

        allocation = adopt(read_only, 0, 0);
        g_assert_cmpint(daxbroker_allocation_map(allocation, &address), ==, 0);
        g_assert_cmpint(*(char *) address, ==, 0);
        g_assert_cmpint(mprotect(address, PAGE, PROT_READ | PROT_WRITE), ==, -1);
        g_assert_cmpint(daxbroker_persist(allocation, address, 1), ==, 0);
        daxbroker_allocation_close(allocation);
}

static void test_map_refuses(void) {
        daxbroker_allocation *allocation = adopt(make_memory(2 * PAGE), 1, PAGE);
        void *address = NULL;
        uint64_t size;

        g_assert_cmpint(daxbroker_allocation_map(allocation, &address), ==, -EINVAL);
        g_assert_null(address);
        g_assert_cmpint(daxbroker_allocation_get_page_size(allocation, &size), ==, -ENODATA);
        g_assert_cmpint(daxbroker_persist(allocation, &size, 1), ==, -EINVAL);
        g_assert_cmpint(daxbroker_drain(allocation), ==, -ENODATA);
        daxbroker_allocation_close(allocation);
}

static void test_page_size(void) {
        daxbroker_allocation *allocation = adopt(make_memory(2 * PAGE), 0, 0);
        uint64_t size = 0;
        void *address;

        g_assert_cmpint(daxbroker_allocation_map(allocation, &address), ==, 0);
        g_assert_cmpint(daxbroker_allocation_get_page_size(allocation, &size), ==, 0);
        g_assert_cmpuint(size, ==, (uint64_t) sysconf(_SC_PAGESIZE));

        g_assert_cmpint(munmap(address, PAGE), ==, 0);
        g_assert_cmpint(daxbroker_allocation_get_page_size(allocation, &size), ==, -ENODATA);
        daxbroker_allocation_close(allocation);
}

static void test_persist(void) {
        daxbroker_allocation *allocation = adopt(make_memory(2 * PAGE), 0, 0);
        uint64_t granularity = 0;
        void *address;
        char *bytes;

        g_assert_cmpint(daxbroker_allocation_map(allocation, &address), ==, 0);
        bytes = address;
        memset(bytes, 1, 2 * PAGE);

        g_assert_cmpint(daxbroker_get_store_granularity(allocation, &granularity), ==, 0);
        g_assert_cmpuint(granularity, >, 0);
        g_assert_cmpint(daxbroker_persist(allocation, bytes, 2 * PAGE), ==, 0);
        g_assert_cmpint(daxbroker_persist(allocation, bytes + 2 * PAGE, 0), ==, 0);
        g_assert_cmpint(daxbroker_flush(allocation, bytes + 100, 3), ==, 0);
        g_assert_cmpint(daxbroker_drain(allocation), ==, 0);
        g_assert_cmpint(daxbroker_deep_flush(allocation, bytes + PAGE - 1, 2), ==, 0);

        g_assert_cmpint(daxbroker_persist(allocation, bytes - 1, 1), ==, -EINVAL);
        g_assert_cmpint(daxbroker_persist(allocation, bytes, 2 * PAGE + 1), ==, -EINVAL);
        g_assert_cmpint(daxbroker_flush(allocation, bytes + 2 * PAGE, 1), ==, -EINVAL);
        g_assert_cmpint(daxbroker_deep_flush(allocation, bytes + 1, SIZE_MAX), ==, -EINVAL);
        daxbroker_allocation_close(allocation);
}

/* As if the memory were behind the processor's caches: the functions are libpmem2's then. */
static void test_persist_by_cache_line(void) {
        g_setenv("PMEM2_FORCE_GRANULARITY", "CACHE_LINE", TRUE);
        test_persist();
        g_setenv("PMEM2_FORCE_GRANULARITY", "BYTE", TRUE);
        test_persist();
        g_unsetenv("PMEM2_FORCE_GRANULARITY");
}

/* A device is mapped in pages of its own, and flushed by cache lines whatever libpmem2 would think of it; msync() is no way
 * out, and is not tried. */
static void test_device(void) {
        const size_t length = 2 << 20;
        int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
        daxbroker_allocation *allocation;
        uint64_t granularity = 0;
        void *address;

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(daxbroker_adopt_fds(fd, -1, 0, 0, &allocation), ==, -EINVAL);
        for (unsigned round = 0; round < 2; round++) {
                allocation = adopt(dup(fd), 0, length);
                g_assert_cmpint(daxbroker_allocation_map(allocation, &address), ==, 0);
                memset(address, 1, length);
                g_assert_cmpint(daxbroker_get_store_granularity(allocation, &granularity), ==, 0);
                g_assert_cmpuint(granularity, >=, 16);
                g_assert_cmpuint(granularity, <=, 256);
                g_assert_cmpint(daxbroker_persist(allocation, address, length), ==, 0);
                g_assert_cmpint(daxbroker_flush(allocation, (char *) address + 100, 3), ==, 0);
                g_assert_cmpint(daxbroker_drain(allocation), ==, 0);
                g_assert_cmpint(daxbroker_deep_flush(allocation, address, 1), ==, 0);
                g_assert_cmpint(daxbroker_persist(allocation, address, length + 1), ==, -EINVAL);
                daxbroker_allocation_close(allocation);
        }
        close(fd);
}

static void test_foreign_free(void) {
        int local = 0;

        errno = 123;
        daxbroker_free(NULL);
        daxbroker_free(&local);
        g_assert_cmpint(errno, ==, 123);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/client/allocation/numbers", test_numbers);
        g_test_add_func("/client/allocation/ids", test_ids);
        g_test_add_func("/client/allocation/layout", test_layout);
        g_test_add_func("/client/allocation/adopt-refuses", test_adopt_refuses);
        g_test_add_func("/client/allocation/adopt-owns", test_adopt_owns);
        g_test_add_func("/client/allocation/environment", test_environment);
        g_test_add_func("/client/allocation/map", test_map);
        g_test_add_func("/client/allocation/map-read-only", test_map_read_only);
        g_test_add_func("/client/allocation/map-refuses", test_map_refuses);
        g_test_add_func("/client/allocation/page-size", test_page_size);
        g_test_add_func("/client/allocation/persist", test_persist);
        g_test_add_func("/client/allocation/persist-by-cache-line", test_persist_by_cache_line);
        g_test_add_func("/client/allocation/device", test_device);
        g_test_add_func("/client/allocation/foreign-free", test_foreign_free);
        return g_test_run();
}
