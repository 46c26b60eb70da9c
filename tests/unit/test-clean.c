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
#include <sys/socket.h>
#include <sys/stat.h>
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

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
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
        struct stat status;

        g_assert_cmpint(pthread_join(cleaner->thread, NULL), ==, 0);
        g_assert_cmpint(fstat(cleaner->fd, &status), ==, 0);
        if (cleaner->result == 0 && status.st_size > 0)
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
        throttle_set(throttle, 512 * MIB);
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

        for (unsigned i = 0; i < 32; i++) {
                Cleaner cleaner;
                int r;

                cleaner_start(&cleaner, 32 * MIB, NULL);
                while (atomic_load(&cleaner.progress) < i % 8 * 4 * MIB)
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

static void test_same_memory(void) {
        Cleaner cleaners[4];

        cleaner_start(&cleaners[0], 64 * MIB, NULL);
        for (unsigned i = 1; i < G_N_ELEMENTS(cleaners); i++) {
                cleaners[i] = (Cleaner) { .fd = dup(cleaners[0].fd), .length = 64 * MIB };
                g_assert_cmpint(pthread_create(&cleaners[i].thread, NULL, cleaner_run, &cleaners[i]), ==, 0);
        }
        for (unsigned i = 0; i < G_N_ELEMENTS(cleaners); i++)
                g_assert_cmpint(cleaner_end(&cleaners[i]), ==, 0);
        assert_nothing_mapped();
}

/* ---- Other bus errors: each in a process of its own ------------------------------------------------------------------ */

static void clean_something(void) {
        int fd = memory_new(PAGE, 0);

        g_assert_cmpint(clean_fd(fd, 2 * PAGE, PAGE, NULL, NULL, NULL), ==, -EFAULT);
        g_assert_cmpint(clean_fd(fd, PAGE, PAGE, NULL, NULL, NULL), ==, 0);
        close(fd);
}

static void touch_what_is_not_there(void) {
        int fd = memory_new(0, 0);
        volatile char *address;

        address = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        g_assert_true(address != MAP_FAILED);
        *address = 1;
}

static void test_fault_elsewhere(void) {
        if (g_test_subprocess()) {
                clean_something();
                touch_what_is_not_there();
                return;
        }
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_failed();
}

static void *touch_run(void *userdata) {
        touch_what_is_not_there();
        return userdata;
}

/* While this thread is in the middle of cleaning. */
static void test_fault_in_other_thread(void) {
        if (g_test_subprocess()) {
                Throttle *throttle;
                Cleaner cleaner;
                pthread_t thread;

                g_assert_cmpint(throttle_new(&throttle), ==, 0);
                throttle_set(throttle, 1);
                cleaner_start(&cleaner, 8 * MIB, throttle);
                await_progress(&cleaner);
                g_assert_cmpint(pthread_create(&thread, NULL, touch_run, NULL), ==, 0);
                pthread_join(thread, NULL);
                return;
        }
        g_test_trap_subprocess(NULL, 30 * G_USEC_PER_SEC, 0);
        g_test_trap_assert_failed();
        g_assert_false(g_test_trap_reached_timeout());
}

static void test_signal(void) {
        if (g_test_subprocess()) {
                clean_something();
                kill(getpid(), SIGBUS);
                return;
        }
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_failed();
}

static void on_signal(int number) {
        (void) number;
        (void) !write(STDOUT_FILENO, "passed on\n", 10);
        _exit(0);
}

static void on_signal_with_address(int number, siginfo_t *info, void *context) {
        (void) context;
        if (info->si_addr)
                on_signal(number);
        _exit(1);
}

static void test_handler_before(void) {
        if (g_test_subprocess()) {
                signal(SIGBUS, on_signal);
                clean_something();
                touch_what_is_not_there();
                return;
        }
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
        g_test_trap_assert_stdout("*passed on*");
}

static void test_detailed_handler_before(void) {
        if (g_test_subprocess()) {
                struct sigaction action = { .sa_sigaction = on_signal_with_address, .sa_flags = SA_SIGINFO };

                sigaction(SIGBUS, &action, NULL);
                clean_something();
                touch_what_is_not_there();
                return;
        }
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
        g_test_trap_assert_stdout("*passed on*");
}

static void test_ignored_before(void) {
        if (g_test_subprocess()) {
                signal(SIGBUS, SIG_IGN);
                clean_something();
                kill(getpid(), SIGBUS);
                g_print("ignored\n");
                touch_what_is_not_there();
                g_print("impossible\n");
                return;
        }
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_failed();
        g_test_trap_assert_stdout("*ignored*");
        g_test_trap_assert_stdout_unmatched("*impossible*");
}

/* The first cleaning of all may be one behind the broker's system call filter. */
static void test_filtered(void) {
        if (g_test_subprocess()) {
                g_assert_cmpint(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
                g_assert_cmpint(sandbox_filter(FILTER_KILL), ==, 0);
                test_short();
                test_truncated();
                return;
        }
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
}

/* ---- Limits ---------------------------------------------------------------------------------------------------------- */

static double seconds_since(gint64 start) {
        return (double) (g_get_monotonic_time() - start) / G_USEC_PER_SEC;
}

static void test_stopped(void) {
        gint64 start = g_get_monotonic_time();
        _Atomic uint64_t progress = 77;
        atomic_bool stop = true;
        Throttle *throttle;
        Cleaner cleaner;
        int fd;

        fd = memory_new(8 * MIB, 0);
        memory_fill(fd, 8 * MIB);
        g_assert_cmpint(clean_fd(fd, 8 * MIB, ALIGNMENT, NULL, &progress, &stop), ==, -ECANCELED);
        g_assert_cmpuint(progress, ==, 0);
        g_assert_true(memory_is(fd, 0, 8 * MIB, 0xa5));
        close(fd);

        /* one that would wait for weeks */
        g_assert_cmpint(throttle_new(&throttle), ==, 0);
        throttle_set(throttle, 1);
        cleaner_start(&cleaner, 8 * MIB, throttle);
        await_progress(&cleaner);
        g_usleep(100000);
        g_assert_cmpuint(cleaner.progress, ==, 4 * MIB);
        atomic_store(&cleaner.stop, true);
        g_assert_cmpint(cleaner_end(&cleaner), ==, -ECANCELED);
        g_assert_cmpuint(cleaner.progress, ==, 4 * MIB);
        g_assert_cmpfloat(seconds_since(start), <, 30);
        assert_nothing_mapped();
        throttle_free(throttle);
}

/* Not faster than that, all together. How much slower is the machine's to say. */
static void test_throttled(void) {
        gint64 start = g_get_monotonic_time();
        Cleaner cleaners[3];
        Throttle *throttle;

        g_assert_cmpint(throttle_new(&throttle), ==, 0);
        throttle_set(throttle, 96 * MIB);
        for (unsigned i = 0; i < G_N_ELEMENTS(cleaners); i++)
                cleaner_start(&cleaners[i], 16 * MIB, throttle);
        for (unsigned i = 0; i < G_N_ELEMENTS(cleaners); i++)
                g_assert_cmpint(cleaner_end(&cleaners[i]), ==, 0);
        /* the first chunk comes at once, and a twentieth of a second may have been made up for */
        g_assert_cmpfloat(seconds_since(start), >=, 44.0 / 96 - 0.06);
        throttle_free(throttle);
}

static void test_limit_changes(void) {
        gint64 start = g_get_monotonic_time();
        Throttle *throttle;
        Cleaner cleaner;

        g_assert_cmpint(throttle_new(&throttle), ==, 0);
        throttle_set(throttle, 1);
        cleaner_start(&cleaner, 64 * MIB, throttle);
        await_progress(&cleaner);
        throttle_set(throttle, UINT64_MAX);
        g_assert_cmpint(cleaner_end(&cleaner), ==, 0);

        throttle_set(throttle, 1);
        cleaner_start(&cleaner, 64 * MIB, throttle);
        await_progress(&cleaner);
        throttle_set(throttle, 0);
        g_assert_cmpint(cleaner_end(&cleaner), ==, 0);
        g_assert_cmpfloat(seconds_since(start), <, 30);
        throttle_free(throttle);
        g_assert_null(throttle_free(NULL));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/clean/sizes", test_sizes);
        g_test_add_func("/clean/file", test_file);
        g_test_add_func("/clean/huge-pages", test_huge_pages);
        g_test_add_func("/clean/cannot-be-mapped", test_cannot_be_mapped);
        g_test_add_func("/clean/short", test_short);
        g_test_add_func("/clean/truncated", test_truncated);
        g_test_add_func("/clean/truncated-anywhere", test_truncated_anywhere);
        g_test_add_func("/clean/same-memory", test_same_memory);
        g_test_add_func("/clean/fault-elsewhere", test_fault_elsewhere);
        g_test_add_func("/clean/fault-in-other-thread", test_fault_in_other_thread);
        g_test_add_func("/clean/signal", test_signal);
        g_test_add_func("/clean/handler-before", test_handler_before);
        g_test_add_func("/clean/detailed-handler-before", test_detailed_handler_before);
        g_test_add_func("/clean/ignored-before", test_ignored_before);
        g_test_add_func("/clean/filtered", test_filtered);
        g_test_add_func("/clean/stopped", test_stopped);
        g_test_add_func("/clean/throttled", test_throttled);
        g_test_add_func("/clean/limit-changes", test_limit_changes);
        return g_test_run();
}
