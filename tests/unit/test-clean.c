/* SPDX-License-Identifier: MIT */

/* Cleaning: everything is zero and nothing else is; it can be stopped and slowed down; memory that goes away under it is an
 * error for that call alone, and any other bus error ends the process as ever. */

#include "clean.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "sandbox.h"
#include "size.h"

#define NAME "clean-test"
#define PAGE UINT64_C(4096)
#define ALIGNMENT (2 * MIB)

static int memory_new(uint64_t size, unsigned flags) {
        int fd;

        fd = memfd_create(NAME, MFD_CLOEXEC | flags);
        if (fd >= 0)
                g_assert_cmpint(ftruncate(fd, (off_t) size), ==, 0);
        return fd;
}

static void memory_fill(int fd, uint64_t size) {
        void *address;

        if (size == 0)
                return;
        address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        g_assert_true(address != MAP_FAILED);
        memset(address, 0xa5, size);
        g_assert_cmpint(munmap(address, size), ==, 0);
}

/* Whether the bytes are all value. */
static bool memory_is(int fd, uint64_t start, uint64_t length, uint8_t value) {
        const uint8_t *address;
        bool is = true;

        if (length == 0)
                return true;
        address = mmap(NULL, start + length, PROT_READ, MAP_SHARED, fd, 0);
        g_assert_true(address != MAP_FAILED);
        is = address[start] == value && memcmp(address + start, address + start + 1, length - 1) == 0;
        g_assert_cmpint(munmap((void *) (uintptr_t) address, start + length), ==, 0);
        return is;
}

static void assert_nothing_mapped(void) {
        g_autofree char *maps = NULL;

        g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
        g_assert_null(strstr(maps, NAME));
}

static void test_sizes(void) {
        static const struct {
                uint64_t size, length, alignment;
        } cases[] = {
                { PAGE, 0, PAGE },
                { PAGE, 1, PAGE },
                { PAGE, 65, 1 },
                { PAGE, PAGE - 1, PAGE },
                { 8 * PAGE, 3 * PAGE, PAGE },
                { 4 * MIB, 4 * MIB, ALIGNMENT },
                { 8 * MIB, 4 * MIB + PAGE, ALIGNMENT },
                { 20 * MIB, 18 * MIB, GIB },
                { 264 * MIB, 262 * MIB, ALIGNMENT }, /* more than is mapped at once */
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                _Atomic uint64_t progress = 77;
                int fd = memory_new(cases[i].size, 0);

                memory_fill(fd, cases[i].size);
                g_assert_cmpint(clean_fd(fd, cases[i].length, cases[i].alignment, NULL, &progress, NULL), ==, 0);
                g_assert_cmpuint(progress, ==, cases[i].length);
                g_assert_true(memory_is(fd, 0, cases[i].length, 0));
                g_assert_true(memory_is(fd, cases[i].length, cases[i].size - cases[i].length, 0xa5));
                close(fd);
        }
        assert_nothing_mapped();
}

static void test_file(void) {
        g_autofree char *path = NULL;
        int fd;

        fd = g_file_open_tmp(NAME "-XXXXXX", &path, NULL);
        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(unlink(path), ==, 0);
        g_assert_cmpint(ftruncate(fd, 3 * MIB), ==, 0);
        memory_fill(fd, 3 * MIB);
        g_assert_cmpint(clean_fd(fd, 2 * MIB, PAGE, NULL, NULL, NULL), ==, 0);
        g_assert_true(memory_is(fd, 0, 2 * MIB, 0));
        g_assert_true(memory_is(fd, 2 * MIB, MIB, 0xa5));
        close(fd);
}

static void test_huge_pages(void) {
        int fd;

        fd = memory_new(2 * ALIGNMENT, MFD_HUGETLB);
        if (fd < 0 || fallocate(fd, 0, 0, 2 * ALIGNMENT) < 0) {
                g_test_skip("there are no huge pages");
                goto finish;
        }

        memory_fill(fd, 2 * ALIGNMENT);
        g_assert_cmpint(clean_fd(fd, ALIGNMENT, ALIGNMENT, NULL, NULL, NULL), ==, 0);
        g_assert_true(memory_is(fd, 0, ALIGNMENT, 0));
        g_assert_true(memory_is(fd, ALIGNMENT, ALIGNMENT, 0xa5));
        /* the pages that there are not */
        g_assert_cmpint(clean_fd(fd, 4 * ALIGNMENT, ALIGNMENT, NULL, NULL, NULL), ==, -EFAULT);
        assert_nothing_mapped();

finish:
        if (fd >= 0)
                close(fd);
}

static void test_cannot_be_mapped(void) {
        _Atomic uint64_t progress = 77;
        g_autofree char *path = NULL;
        int fd, read_only, fds[2];

        g_assert_cmpint(clean_fd(-1, PAGE, PAGE, NULL, &progress, NULL), ==, -EBADF);
        g_assert_cmpuint(progress, ==, 0);

        g_assert_cmpint(pipe(fds), ==, 0);
        g_assert_cmpint(clean_fd(fds[1], PAGE, PAGE, NULL, NULL, NULL), ==, -EACCES);
        g_assert_cmpint(clean_fd(fds[0], PAGE, PAGE, NULL, NULL, NULL), ==, -ENODEV);
        close(fds[0]);
        close(fds[1]);

        fd = memory_new(PAGE, MFD_ALLOW_SEALING);
        path = g_strdup_printf("/proc/self/fd/%d", fd);
        read_only = open(path, O_RDONLY | O_CLOEXEC);
        g_assert_cmpint(read_only, >=, 0);
        g_assert_cmpint(clean_fd(read_only, PAGE, PAGE, NULL, NULL, NULL), ==, -EACCES);
        close(read_only);

        g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), ==, 0);
        g_assert_cmpint(clean_fd(fd, PAGE, PAGE, NULL, NULL, NULL), ==, -EPERM);
        close(fd);
        assert_nothing_mapped();
}

/* ---- Faults ---------------------------------------------------------------------------------------------------------- */

static void test_short(void) {
        int fd = memory_new(6 * MIB, 0);

        for (unsigned i = 0; i < 3; i++) {
                _Atomic uint64_t progress = 77;

                memory_fill(fd, 6 * MIB);
                g_assert_cmpint(clean_fd(fd, 16 * MIB, ALIGNMENT, NULL, &progress, NULL), ==, -EFAULT);
                g_assert_cmpuint(progress, ==, 4 * MIB);
                assert_nothing_mapped();
                g_assert_cmpint(clean_fd(fd, 6 * MIB, ALIGNMENT, NULL, &progress, NULL), ==, 0);
                g_assert_cmpuint(progress, ==, 6 * MIB);
                g_assert_true(memory_is(fd, 0, 6 * MIB, 0));
        }
        close(fd);

        fd = memory_new(0, 0);
        g_assert_cmpint(clean_fd(fd, PAGE, PAGE, NULL, NULL, NULL), ==, -EFAULT);
        close(fd);
}

typedef struct Cleaner {
        pthread_t thread;
        int fd;
        uint64_t length;
        Throttle *throttle;
        _Atomic uint64_t progress;
        atomic_bool stop;
        int result;
} Cleaner;

static void *cleaner_run(void *userdata) {
        Cleaner *cleaner = userdata;

        cleaner->result = clean_fd(cleaner->fd, cleaner->length, ALIGNMENT, cleaner->throttle, &cleaner->progress,
                                   &cleaner->stop);
        return NULL;
}

static void cleaner_start(Cleaner *cleaner, uint64_t length, Throttle *throttle) {
        *cleaner = (Cleaner) { .fd = memory_new(length, 0), .length = length, .throttle = throttle, .result = 77 };
        memory_fill(cleaner->fd, length);
        g_assert_cmpint(pthread_create(&cleaner->thread, NULL, cleaner_run, cleaner), ==, 0);
}

static int cleaner_end(Cleaner *cleaner) {
        g_assert_cmpint(pthread_join(cleaner->thread, NULL), ==, 0);
        if (cleaner->result == 0)
                g_assert_true(memory_is(cleaner->fd, 0, cleaner->length, 0));
        close(cleaner->fd);
        return cleaner->result;
}

static void await_progress(Cleaner *cleaner) {
        while (atomic_load(&cleaner->progress) == 0)
                g_usleep(1000);
}

/* In some of many threads the memory goes away in the middle; the others do not notice. */
static void test_truncated(void) {
        enum { N = 12 };
        Cleaner cleaners[N];
        Throttle *throttle;

        g_assert_cmpint(throttle_new(&throttle), ==, 0);
        throttle_set(throttle, 256 * MIB);
        for (unsigned i = 0; i < N; i++)
                cleaner_start(&cleaners[i], 32 * MIB, throttle);
        for (unsigned i = 0; i < N; i += 2) {
                await_progress(&cleaners[i]);
                g_assert_cmpint(ftruncate(cleaners[i].fd, 0), ==, 0);
        }
        throttle_set(throttle, 0);
        for (unsigned i = 0; i < N; i++) {
                int r = cleaner_end(&cleaners[i]);

                /* whoever was done already need not have noticed */
                if (i % 2 == 0 && atomic_load(&cleaners[i].progress) < 32 * MIB)
                        g_assert_cmpint(r, ==, -EFAULT);
                else if (i % 2 != 0)
                        g_assert_cmpint(r, ==, 0);
        }
        assert_nothing_mapped();
        g_assert_null(throttle_free(throttle));
}

/* Again and again, without any limit: the fault comes wherever it happens to. */
static void test_truncated_anywhere(void) {
        unsigned n_faults = 0;

        for (unsigned i = 0; i < 50; i++) {
                Cleaner cleaner;
                int r;

                cleaner_start(&cleaner, 32 * MIB, NULL);
                while (atomic_load(&cleaner.progress) < i % 8 * CLEAN_STEP)
                        ;
                g_assert_cmpint(ftruncate(cleaner.fd, 0), ==, 0);
                g_assert_cmpint(ftruncate(cleaner.fd, 32 * MIB), ==, 0);
                r = cleaner_end(&cleaner);
                g_assert_true(r == 0 || r == -EFAULT);
                n_faults += r < 0;
        }
        g_test_message("%u faults", n_faults);
        assert_nothing_mapped();
}
