/* SPDX-License-Identifier: MIT */

/* Facts about huge pages and memory, read from sysfs and procfs each time they are needed: an admin may change them at
 * any moment. All of them are hints; the kernel's answer to the allocation itself decides.
 *
 * The one that is needed for every allocation is kept open, since to open it takes seven times as long as to read it. */

#include "huge-pages.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "size.h"

#define POOLS "/sys/kernel/mm/hugepages"
#define KEPT_PAGE_SIZE (2 * MIB)
#define NODES "/sys/devices/system/node"

bool huge_pages_exist(uint64_t page_size) {
        char path[128];

        (void) snprintf(path, sizeof(path), POOLS "/hugepages-%" PRIu64 "kB", page_size / KIB);
        return page_size >= KIB && access(path, F_OK) >= 0;
}

static int kept_pool = -EBADF; /* free_hugepages of the pool of KEPT_PAGE_SIZE */

void huge_pages_begin(void) {
        kept_pool = open(POOLS "/hugepages-2048kB/free_hugepages", O_RDONLY | O_CLOEXEC | O_NOCTTY);
}

uint64_t huge_pages_free(uint64_t page_size, int numa_node) {
        bool is_kept = page_size == KEPT_PAGE_SIZE && numa_node < 0 && kept_pool >= 0;
        char path[128];
        uint64_t free_pages, reserved = 0;
        int r;

        if (numa_node >= 0)
                (void) snprintf(path, sizeof(path), NODES "/node%d/hugepages/hugepages-%" PRIu64 "kB/free_hugepages",
                                numa_node, page_size / KIB);
        else
                (void) snprintf(path, sizeof(path), POOLS "/hugepages-%" PRIu64 "kB/free_hugepages", page_size / KIB);
        r = is_kept ? fd_read_uint64(kept_pool, &free_pages) : file_read_uint64(path, &free_pages);
        if (r < 0 || free_pages == 0)
                return 0;

        /* reservations are not counted by node */
        (void) snprintf(path, sizeof(path), POOLS "/hugepages-%" PRIu64 "kB/resv_hugepages", page_size / KIB);
        (void) file_read_uint64(path, &reserved);

        return free_pages > reserved ? free_pages - reserved : 0;
}

bool huge_pages_for_shmem(void) {
        _cleanup_free_ char *text = NULL;

        if (file_read(AT_FDCWD, "/sys/kernel/mm/transparent_hugepage/shmem_enabled", 256, &text) < 0)
                return false;

        return !strstr(text, "[never]") && !strstr(text, "[deny]");
}

/* The first lines of such a file have what is looked for. */
static uint64_t read_meminfo(const char *path, const char *key) {
        char text[512];
        const char *line;

        if (file_read_start(path, text, sizeof(text)) < 0)
                return UINT64_MAX;
        line = strstr(text, key);

        return line ? strtoull(line + strlen(key), NULL, 10) * KIB : UINT64_MAX;
}

uint64_t memory_available(int numa_node) {
        uint64_t available = read_meminfo("/proc/meminfo", "MemAvailable:"), on_node = UINT64_MAX;
        char path[128];

        if (numa_node >= 0) {
                (void) snprintf(path, sizeof(path), NODES "/node%d/meminfo", numa_node);
                on_node = read_meminfo(path, "MemFree:");
        }
        return on_node < available ? on_node : available;
}
