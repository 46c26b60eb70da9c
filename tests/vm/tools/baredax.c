/* SPDX-License-Identifier: MIT */

/*     baredax [--split] REGION BYTES ROUNDS
 *
 * A piece of a dax region, from nothing to memory that has been written to, and back, by the fewest writes to /sys that the
 * kernel takes: what nobody can be faster than. REGION is a folder such as /sys/devices/platform/hmem.0. Prints a line for
 * each round, the milliseconds until it was usable and those until it was gone; with --split also what each step took. */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DRIVER "/sys/bus/dax/drivers/device_dax"

static bool split;

static double now(void) {
        struct timespec time;

        clock_gettime(CLOCK_MONOTONIC, &time);
        return (double) time.tv_sec * 1e3 + (double) time.tv_nsec / 1e6;
}

static void step(const char *name, double *from) {
        double to = now();

        if (split)
                printf("# %-10s %8.3f\n", name, to - *from);
        *from = to;
}

static _Noreturn void fail(const char *what, const char *path) {
        fprintf(stderr, "baredax: cannot %s %s: %s\n", what, path, strerror(errno));
        exit(EXIT_FAILURE);
}

/* To a file of that folder. */
__attribute__((format(printf, 3, 4))) static void put(const char *folder, const char *file, const char *format, ...) {
        char path[256], text[64];
        va_list list;
        ssize_t n;
        int fd;

        va_start(list, format);
        vsnprintf(text, sizeof(text), format, list);
        va_end(list);
        snprintf(path, sizeof(path), "%s/%s", folder, file);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : write(fd, text, strlen(text));
        /* a new identity may have bound the device already */
        if (n < 0 && !(errno == EBUSY && strcmp(file, "bind") == 0))
                fail("write to", path);
        close(fd);
}

static void get(const char *folder, const char *file, char *ret, size_t room) {
        char path[256];
        ssize_t n;
        int fd;

        snprintf(path, sizeof(path), "%s/%s", folder, file);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, ret, room - 1);
        if (n < 0)
                fail("read", path);
        close(fd);
        ret[n] = '\0';
        ret[strcspn(ret, "\n")] = '\0';
}

typedef struct Piece {
        char region[200];
        char name[32];
        char folder[128];
        uint64_t size;
        int fd;
        uint8_t *memory;
} Piece;

static void piece_make(Piece *piece) {
        char path[64];
        double time = now();

        put(piece->region, "create", "1");
        get(piece->region, "create", piece->name, sizeof(piece->name));
        snprintf(piece->folder, sizeof(piece->folder), "/sys/bus/dax/devices/%s", piece->name);
        step("create", &time);
        put(DRIVER, "new_id", "%s", piece->name);
        step("new_id", &time);
        put(piece->folder, "size", "%#lx", (unsigned long) piece->size);
        step("size", &time);
        put(DRIVER, "bind", "%s", piece->name);
        step("bind", &time);

        snprintf(path, sizeof(path), "/dev/%s", piece->name);
        piece->fd = open(path, O_RDWR | O_CLOEXEC);
        if (piece->fd < 0)
                fail("open", path);
        step("open", &time);
        piece->memory = mmap(NULL, piece->size, PROT_READ | PROT_WRITE, MAP_SHARED, piece->fd, 0);
        if (piece->memory == MAP_FAILED)
                fail("map", path);
        *(volatile uint8_t *) piece->memory = 1;
        step("touch", &time);
}

static void piece_end(Piece *piece) {
        double time = now();

        munmap(piece->memory, piece->size);
        close(piece->fd);
        step("close", &time);
        put(DRIVER, "remove_id", "%s", piece->name);
        step("remove_id", &time);
        put(DRIVER, "unbind", "%s", piece->name);
        step("unbind", &time);
        put(piece->folder, "size", "0");
        step("size 0", &time);
        put(piece->region, "delete", "%s", piece->name);
        step("delete", &time);
}

int main(int argc, char **argv) {
        Piece piece = { .fd = -1 };
        long rounds;

        if (argc > 1 && strcmp(argv[1], "--split") == 0) {
                split = true;
                argv++;
                argc--;
        }
        if (argc != 4) {
                fprintf(stderr, "usage: baredax [--split] REGION BYTES ROUNDS\n");
                return 2;
        }
        snprintf(piece.region, sizeof(piece.region), "%s/dax_region", argv[1]);
        piece.size = strtoull(argv[2], NULL, 0);
        rounds = strtol(argv[3], NULL, 0);

        for (long i = 0; i < rounds; i++) {
                double begin = now(), usable, gone;

                piece_make(&piece);
                usable = now();
                piece_end(&piece);
                gone = now();
                printf("%.3f %.3f\n", usable - begin, gone - usable);
        }
        return EXIT_SUCCESS;
}
