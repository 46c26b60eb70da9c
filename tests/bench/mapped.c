/* SPDX-License-Identifier: MIT */

/* Memory in use: what the broker has handed out against a file of the process's own with pages of the same size. No
 * difference is expected, as the same kernel maps both in the same way. Each time both are new, because where pages lie in
 * the caches is a matter of luck. */

#include <daxbroker.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define LINE 64
#define PAGE 4096
#define HUGE_PAGE (UINT64_C(2) << 20)
#define RANDOM_ACCESSES (1u << 20)

typedef struct Memory {
        daxbroker_allocation *allocation; /* or */
        char *base;
        uint64_t room;
        char *bytes;
        uint64_t size;
} Memory;

static uint64_t state = 88172645463325252;

static uint64_t next_random(void) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state;
}

static int take_broker(uint64_t size, Memory *ret) {
        daxbroker_request *request;
        void *bytes;
        int r;

        r = daxbroker_request_new(size, HUGE_PAGE, &request);
        if (r < 0)
                return failed("%s", strerror(-r));
        r = daxbroker_allocate(NULL, request, &ret->allocation);
        daxbroker_request_free(request);
        if (r >= 0)
                r = daxbroker_allocation_map(ret->allocation, &bytes);
        if (r < 0)
                return failed("%s", daxbroker_last_error());
        ret->bytes = bytes;
        return 0;
}

static int take_own(uint64_t size, bool huge, Memory *ret) {
        char *base, *bytes;
        int fd;

        ret->room = size + HUGE_PAGE;
        fd = memfd_create("own", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, (off_t) size) < 0)
                return failed("memfd: %s", strerror(errno));
        base = mmap(NULL, ret->room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base == MAP_FAILED)
                return failed("mmap: %s", strerror(errno));
        bytes = base + -(uintptr_t) base % HUGE_PAGE;
        if (mmap(bytes, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
                return failed("mmap: %s", strerror(errno));
        close(fd);
        if (huge)
                (void) madvise(bytes, size, MADV_HUGEPAGE);
        ret->base = base;
        ret->bytes = bytes;
        return 0;
}

static void memory_release(Memory *memory) {
        if (memory->base)
                (void) munmap(memory->base, memory->room);
        daxbroker_allocation_close(memory->allocation);
}

/* A page size that the broker's memory turns out to have is what the process's own gets. */
static int memory_take(bool is_own, uint64_t size, Memory *ret) {
        static uint64_t page_size = PAGE;

        *ret = (Memory) { .size = size };
        if (is_own)
                return take_own(size, page_size > PAGE, ret);
        if (take_broker(size, ret) < 0)
                return -1;
        memset(ret->bytes, 1, size);
        (void) daxbroker_allocation_get_page_size(ret->allocation, &page_size);
        return 0;
}

static void read_all(const Memory *memory) {
        const uint64_t *words = (const uint64_t *) memory->bytes;
        uint64_t sum[4] = { 0 };

        for (uint64_t i = 0; i < memory->size / sizeof(uint64_t); i += 4)
                for (unsigned j = 0; j < 4; j++)
                        sum[j] += words[i + j];
        *(volatile uint64_t *) sum = sum[0] + sum[1] + sum[2] + sum[3];
}

static void read_random(const Memory *memory) {
        uint64_t n_lines = memory->size / LINE, sum = 0;

        for (unsigned i = 0; i < RANDOM_ACCESSES; i++)
                sum += *(const volatile uint64_t *) (memory->bytes + next_random() % n_lines * LINE);
        (void) sum;
}

static void write_random(const Memory *memory) {
        uint64_t n_lines = memory->size / LINE;

        for (unsigned i = 0; i < RANDOM_ACCESSES; i++)
                *(volatile uint64_t *) (memory->bytes + next_random() % n_lines * LINE) = i;
}

/* One line of each page leads to one of another, all of them in a circle: each step waits for the one before, and for the
 * page tables. */
static int prepare_chase(const Memory *memory) {
        uint64_t n = memory->size / PAGE, *order = calloc(n, sizeof(*order));

        if (!order)
                return failed("no memory");
        for (uint64_t i = 0; i < n; i++)
                order[i] = i;
        for (uint64_t i = n - 1; i > 0; i--) {
                uint64_t j = next_random() % (i + 1), other = order[j];

                order[j] = order[i];
                order[i] = other;
        }
        /* not the same line of each, or they would all be in the same few sets of the cache */
        for (uint64_t i = 0; i < n; i++) {
                uint64_t from = order[i], to = order[(i + 1) % n];

                *(void **) (void *) (memory->bytes + from * PAGE + from % (PAGE / LINE) * LINE) =
                        memory->bytes + to * PAGE + to % (PAGE / LINE) * LINE;
        }
        free(order);
        return 0;
}

static void chase(const Memory *memory) {
        void *volatile *at = (void *volatile *) (void *) memory->bytes;

        for (uint64_t i = 0; i < memory->size / PAGE * 4; i++)
                at = (void *volatile *) *at;
}

/* mapped broker|own read|write|random-read|random-write|chase SIZE COUNT: microseconds for each MiB, or access */
static int mapped(char **words) {
        bool is_own = strcmp(words[0], "own") == 0;
        uint64_t size = parse_size(words[2]);
        int count = atoi(words[3]), r = 0;
        const char *what = words[1];
        Memory memory;

        if (memory_take(is_own, size, &memory) < 0)
                return -1;
        memset(memory.bytes, 1, size);
        if (strcmp(what, "chase") == 0)
                r = prepare_chase(&memory);

        for (int i = 0; r >= 0 && i < count; i++) {
                double start = now(), per = RANDOM_ACCESSES;

                if (strcmp(what, "read") == 0) {
                        read_all(&memory);
                        per = (double) (size >> 20);
                } else if (strcmp(what, "write") == 0) {
                        memset(memory.bytes, i + 2, size);
                        per = (double) (size >> 20);
                } else if (strcmp(what, "random-read") == 0)
                        read_random(&memory);
                else if (strcmp(what, "random-write") == 0)
                        write_random(&memory);
                else {
                        chase(&memory);
                        per = (double) (size / PAGE * 4);
                }
                sample_add((now() - start) / per);
        }
        memory_release(&memory);
        return r;
}

const Command mapped_commands[] = {
        { "mapped", 4, mapped },
        { NULL, 0, NULL },
};
