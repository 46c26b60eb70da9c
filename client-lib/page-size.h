/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What /proc/self/smaps says about the pages that map a range; see page-size.c. Feed it line by line. */

typedef struct PageSizeScan {
        uint64_t start, end; /* the range */
        uint64_t huge_page;  /* bytes of the pages that smaps calls PMD-mapped */

        uint64_t covered;  /* up to here by areas that have been seen whole, without a gap */
        uint64_t smallest; /* of the areas so far; 0 for none yet */

        /* The area whose lines are being read. */
        bool inside;
        uint64_t area_start, area_end;
        uint64_t page, huge;
} PageSizeScan;

#define PAGE_SIZE_SCAN(first, last, pmd)                                                                \
        ((PageSizeScan) { .start = (first), .end = (last), .huge_page = (pmd), .covered = (first) })

void page_size_scan_line(PageSizeScan *scan, const char *line);

/* After the last line. Errors: -ENODATA if the range is not mapped throughout. */
int page_size_scan_end(PageSizeScan *scan, uint64_t *ret);
