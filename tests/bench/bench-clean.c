/* SPDX-License-Identifier: MIT */

/* How fast memory is cleaned, compared with memset(), and what it does to others on the same processor.
 *
 *     bench-clean [--size=MIB] [--rounds=N] [--file=PATH] [--tap | --values]
 *
 * The memory is a memfd of huge pages if there are enough, or of ordinary ones; or what PATH opens, for instance a device
 * with at least so much memory. Its contents are lost. The rows take turns in one process. After each the time is taken that
 * it takes to read a working set of 1 MiB which had been in the caches before: that is what everybody else pays.
 *
 * With --values it prints what memory it is, and a line for each row: its name, and the microseconds for each MiB. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "clean.h"
#include "size.h"

#define HUGE_PAGE (2 * MIB)
#define WINDOW (256 * MIB) /* as clean_fd() maps it */
#define WORKING_SET MIB

typedef enum Row {
        ROW_WARM,
        ROW_MEMSET,
        ROW_WINDOWS,
        ROW_CLEAN,
        ROW_CLEAN_TWO,
        ROW_STREAM,
        _ROW_MAX,
} Row;

static const struct {
        const char *name, *what;
} rows[_ROW_MAX] = {
        [ROW_WARM] = { "nothing", "the working set is read again, that is all" },
        [ROW_MEMSET] = { "memset", "memset() of memory that stays mapped" },
        [ROW_WINDOWS] = { "windows", "the same, mapped and unmapped in parts as clean_fd() does" },
        [ROW_CLEAN] = { "clean", "clean_fd()" },
        [ROW_CLEAN_TWO] = { "clean-two", "two threads with clean_fd() on the same memory, both counted" },
        [ROW_STREAM] = { "stream", "the widest stores past the caches that the processor has, a thread for each CPU" },
};

static int fd = -EBADF;
static uint64_t size = 512 * MIB;
static char *mapped;
static volatile uint64_t working_set[WORKING_SET / sizeof(uint64_t)];
static GArray *seconds[_ROW_MAX], *after[_ROW_MAX]; /* of double */

static double now(void) {
        struct timespec time;

        g_assert_cmpint(clock_gettime(CLOCK_MONOTONIC, &time), ==, 0);
        return (double) time.tv_sec + (double) time.tv_nsec / 1e9;
}

static double read_working_set(void) {
        double start = now();

        for (size_t i = 0; i < G_N_ELEMENTS(working_set); i += 64 / sizeof(uint64_t))
                (void) working_set[i];
        return now() - start;
}

static char *map(uint64_t offset, uint64_t length) {
        char *address;

        address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t) offset);
        if (address == MAP_FAILED)
                g_error("cannot map: %s", strerror(errno));
        return address;
}

static void clean_windows(void) {
        for (uint64_t done = 0; done < size; done += WINDOW) {
                uint64_t length = MIN(WINDOW, size - done);
                char *address = map(done, length);

                memset(address, 0, length);
                (void) munmap(address, length);
        }
}

static void *clean(void *userdata) {
        int r;

        r = clean_fd(fd, size, HUGE_PAGE, NULL, NULL, NULL);
        if (r < 0)
                g_error("cannot clean: %s", strerror(-r));
        return userdata;
}

static void clean_two(void) {
        pthread_t other;

        g_assert_cmpint(pthread_create(&other, NULL, clean, NULL), ==, 0);
        (void) clean(NULL);
        g_assert_cmpint(pthread_join(other, NULL), ==, 0);
}

/* ---- The most that this machine can do -------------------------------------------------------------------------------- */

#define THREADS_MAX 64

#ifdef __x86_64__
__attribute__((target("avx512f"))) static void stream_avx512(char *to, size_t length) {
        for (size_t i = 0; i < length; i += 64)
                _mm512_stream_si512((void *) (to + i), _mm512_setzero_si512());
}

__attribute__((target("avx"))) static void stream_avx(char *to, size_t length) {
        for (size_t i = 0; i < length; i += 32)
                _mm256_stream_si256((void *) (to + i), _mm256_setzero_si256());
}

static void stream(char *to, size_t length) {
        if (__builtin_cpu_supports("avx512f"))
                stream_avx512(to, length);
        else if (__builtin_cpu_supports("avx"))
                stream_avx(to, length);
        else
                memset(to, 0, length);
        _mm_sfence();
}
#else
static void stream(char *to, size_t length) {
        memset(to, 0, length);
}
#endif

typedef struct Part {
        pthread_t thread;
        char *start;
        size_t length;
} Part;

static void *stream_part(void *userdata) {
        Part *part = userdata;

        stream(part->start, part->length);
        return NULL;
}

static void stream_all(void) {
        size_t n = CLAMP(g_get_num_processors(), 1, THREADS_MAX), length = size / n / 4096 * 4096;
        Part parts[THREADS_MAX];

        for (size_t i = 0; i < n; i++) {
                parts[i] = (Part) { .start = mapped + i * length, .length = i == n - 1 ? size - i * length : length };
                g_assert_cmpint(pthread_create(&parts[i].thread, NULL, stream_part, &parts[i]), ==, 0);
        }
        for (size_t i = 0; i < n; i++)
                g_assert_cmpint(pthread_join(parts[i].thread, NULL), ==, 0);
}

static void measure(Row row) {
        double start, time;

        (void) read_working_set();
        (void) read_working_set();

        start = now();
        switch (row) {
        case ROW_MEMSET:
                memset(mapped, 0, size);
                break;
        case ROW_WINDOWS:
                clean_windows();
                break;
        case ROW_CLEAN:
                (void) clean(NULL);
                break;
        case ROW_CLEAN_TWO:
                clean_two();
                break;
        case ROW_STREAM:
                stream_all();
                break;
        case ROW_WARM:
        case _ROW_MAX:
                break;
        }
        time = now() - start;
        g_array_append_val(seconds[row], time);

        time = read_working_set();
        g_array_append_val(after[row], time);
}

static int compare(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

static double median(GArray *samples) {
        g_array_sort(samples, compare);
        return g_array_index(samples, double, samples->len / 2);
}

static const char *memory_open(const char *path) {
        if (path) {
                fd = open(path, O_RDWR | O_CLOEXEC);
                if (fd < 0)
                        g_error("cannot open %s: %s", path, strerror(errno));
                return path;
        }

        fd = memfd_create("bench", MFD_CLOEXEC | MFD_HUGETLB);
        if (fd >= 0 && fallocate(fd, 0, 0, (off_t) size) == 0)
                return "huge pages";

        if (fd >= 0)
                (void) munmap(mapped, size);
        (void) close(fd);
        fd = memfd_create("bench", MFD_CLOEXEC);
        if (fd < 0 || fallocate(fd, 0, 0, (off_t) size) < 0)
                g_error("cannot make memory: %s", strerror(errno));
        return "ordinary pages";
}

/* No time is asserted: a test machine may be as slow as it likes. */
static void print_tap(unsigned rounds) {
        printf("1..%u\n", (unsigned) _ROW_MAX);
        for (Row row = 0; row < _ROW_MAX; row++)
                printf("%sok %u %s\n", seconds[row]->len == rounds && median(after[row]) > 0 ? "" : "not ",
                       (unsigned) row + 1, rows[row].name);
}

static void print_table(const char *memory, unsigned rounds) {
        printf("%" G_GUINT64_FORMAT " MiB of %s, medians of %u\n\n", size / MIB, memory, rounds);
        printf("%-10s %8s %14s\n", "", "GiB/s", "reread, us");
        for (Row row = 0; row < _ROW_MAX; row++) {
                double bytes = (double) size * (row == ROW_CLEAN_TWO ? 2 : 1);

                if (row == ROW_WARM)
                        printf("%-10s %8s", rows[row].name, "");
                else
                        printf("%-10s %8.2f", rows[row].name, bytes / (double) GIB / median(seconds[row]));
                printf(" %14.1f   %s\n", median(after[row]) * 1e6, rows[row].what);
        }
        printf("\nclean / memset  %.2f\nclean / windows %.2f   of the speed\n",
               median(seconds[ROW_MEMSET]) / median(seconds[ROW_CLEAN]),
               median(seconds[ROW_WINDOWS]) / median(seconds[ROW_CLEAN]));
}

static void print_values(const char *memory) {
        printf("%s\n", memory);
        for (Row row = ROW_MEMSET; row < _ROW_MAX; row++)
                printf("%s %.4f\n", rows[row].name,
                       median(seconds[row]) * 1e6 / ((double) size / (double) MIB * (row == ROW_CLEAN_TWO ? 2 : 1)));
}

int main(int argc, char **argv) {
        const char *path = NULL, *memory;
        unsigned rounds = 15;
        bool tap = false, values = false;

        for (int i = 1; i < argc; i++)
                if (strcmp(argv[i], "--tap") == 0)
                        tap = true;
                else if (strcmp(argv[i], "--values") == 0)
                        values = true;
                else if (g_str_has_prefix(argv[i], "--file="))
                        path = argv[i] + strlen("--file=");
                else if (g_str_has_prefix(argv[i], "--size="))
                        size = strtoul(argv[i] + strlen("--size="), NULL, 10) * MIB;
                else if (g_str_has_prefix(argv[i], "--rounds="))
                        rounds = (unsigned) strtoul(argv[i] + strlen("--rounds="), NULL, 10);
                else {
                        fprintf(stderr, "usage: %s [--size=MIB] [--rounds=N] [--file=PATH] [--tap | --values]\n", argv[0]);
                        return EXIT_FAILURE;
                }
        if (size == 0 || size % HUGE_PAGE != 0 || rounds == 0) {
                fprintf(stderr, "%s: the size is a multiple of 2 MiB, and there is at least one round\n", argv[0]);
                return EXIT_FAILURE;
        }

        for (size_t i = 0; i < G_N_ELEMENTS(working_set); i++)
                working_set[i] = i;
        for (Row row = 0; row < _ROW_MAX; row++) {
                seconds[row] = g_array_new(FALSE, FALSE, sizeof(double));
                after[row] = g_array_new(FALSE, FALSE, sizeof(double));
        }

        memory = memory_open(path);
        mapped = map(0, size);
        memset(mapped, 1, size);
        for (unsigned i = 0; i < rounds; i++)
                for (unsigned j = 0; j < _ROW_MAX; j++)
                        measure((i + j) % _ROW_MAX);
        (void) close(fd);

        if (tap)
                print_tap(rounds);
        else if (values)
                print_values(memory);
        else
                print_table(memory, rounds);

        for (Row row = 0; row < _ROW_MAX; row++) {
                g_array_unref(seconds[row]);
                g_array_unref(after[row]);
        }
        return EXIT_SUCCESS;
}
