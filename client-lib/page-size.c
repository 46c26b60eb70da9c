/* SPDX-License-Identifier: MIT */

/* The size of the pages that a mapping really has.
 *
 * The kernel maps with large pages when it can and small ones when it must, and only says afterwards, in
 * /proc/self/smaps: per area, the size of its pages (which is that of huge pages for hugetlb and DAX
 * devices), and how many bytes happen to be mapped by a huge page where small ones are the rule. A range
 * is said to have huge pages if all of it has. */

#include "page-size.h"

#include "allocation.h"
#include "error.h"
#include "util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HUGE_PAGE_DEFAULT (UINT64_C(2) << 20)

/* The area is complete: take it into account. Areas come in ascending order. */
static void page_size_scan_finish_area(PageSizeScan *scan) {
        uint64_t page = scan->page;

        if (!scan->inside)
                return;

        scan->inside = false;
        if (page == 0)
                return; /* it did not say, so it counts as a gap */

        if (scan->huge_page > page && scan->huge >= scan->area_end - scan->area_start)
                page = scan->huge_page;
        if (scan->smallest == 0 || page < scan->smallest)
                scan->smallest = page;

        if (scan->area_start <= scan->covered && scan->area_end > scan->covered)
                scan->covered = scan->area_end;
}

/* "7f0000000000-7f0000200000 rw-s ...", which no other line looks like. */
static bool page_size_read_header(const char *line, uint64_t *ret_start, uint64_t *ret_end) {
        char *end;

        *ret_start = strtoull(line, &end, 16);
        if (end == line || *end != '-')
                return false;

        line = end + 1;
        *ret_end = strtoull(line, &end, 16);
        return end != line && *end == ' ' && *ret_start < *ret_end;
}

/* "Name:      2048 kB" */
static bool page_size_read_field(const char *line, const char *name, uint64_t *ret_bytes) {
        size_t length = strlen(name);
        uint64_t kilobytes, bytes;
        char *end;

        if (strncmp(line, name, length) != 0 || line[length] != ':')
                return false;

        line += length + 1;
        kilobytes = strtoull(line, &end, 10);
        if (end == line || strncmp(end, " kB", 3) != 0)
                return false;

        if (__builtin_mul_overflow(kilobytes, 1024, &bytes))
                return false;

        *ret_bytes = bytes;
        return true;
}

void page_size_scan_line(PageSizeScan *scan, const char *line) {
        static const char *const huge_fields[] = { "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped" };
        uint64_t start, end, bytes;

        if (page_size_read_header(line, &start, &end)) {
                page_size_scan_finish_area(scan);
                scan->inside = start < scan->end && end > scan->start;
                scan->area_start = start;
                scan->area_end = end;
                scan->page = scan->huge = 0;
                return;
        }

        if (!scan->inside)
                return;

        if (page_size_read_field(line, "KernelPageSize", &bytes)) {
                scan->page = bytes;
                return;
        }

        for (size_t i = 0; i < sizeof(huge_fields) / sizeof(huge_fields[0]); i++)
                if (page_size_read_field(line, huge_fields[i], &bytes) &&
                    __builtin_add_overflow(scan->huge, bytes, &scan->huge))
                        scan->huge = 0;
}

int page_size_scan_end(PageSizeScan *scan, uint64_t *ret) {
        page_size_scan_finish_area(scan);

        if (scan->covered < scan->end || scan->smallest == 0)
                return -ENODATA;

        *ret = scan->smallest;
        return 0;
}

static uint64_t page_size_of_huge_pages(void) {
        uint64_t size = 0;
        char line[32];
        FILE *file;

        file = fopen("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "re");
        if (!file)
                return HUGE_PAGE_DEFAULT;

        if (fgets(line, sizeof(line), file))
                size = strtoull(line, NULL, 10);

        (void) fclose(file);
        return size > 0 ? size : HUGE_PAGE_DEFAULT;
}

static int page_size_read(PageSizeScan *scan, uint64_t *ret) {
        char *line = NULL;
        size_t room = 0;
        bool failed;
        FILE *file;
        int r;

        file = fopen("/proc/self/smaps", "re");
        if (!file)
                return -errno;

        errno = 0;
        while (getline(&line, &room, file) >= 0)
                page_size_scan_line(scan, line);
        r = -errno;
        failed = !feof(file);

        free(line);
        (void) fclose(file);
        if (failed)
                return r < 0 ? r : -EIO;

        return page_size_scan_end(scan, ret);
}

_public_ int daxbroker_allocation_get_page_size(daxbroker_allocation *allocation, uint64_t *ret) {
        uintptr_t address = (uintptr_t) atomic_load(&allocation->address);
        PageSizeScan scan;
        int r;

        if (address == 0)
                return error_set(-ENODATA, "the memory is not mapped");

        scan = PAGE_SIZE_SCAN(address, address + allocation->mapped_length, page_size_of_huge_pages());
        r = page_size_read(&scan, ret);
        if (r == -ENODATA)
                return error_set(r, "the memory is no longer mapped as a whole");
        if (r < 0)
                return error_set_errno(r, "cannot read /proc/self/smaps");

        return 0;
}
