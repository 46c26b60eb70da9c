/* SPDX-License-Identifier: MIT */

/* The client library's reading of smaps: any text, any range. */

#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "page-size.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char *text = text_of(data, size), *copy = text_of(data, size), *rest = copy, *line;
        const uint64_t start = UINT64_C(0x7f0000000000), end = start + (UINT64_C(4) << 20);
        PageSizeScan scan = PAGE_SIZE_SCAN(start, end, UINT64_C(2) << 20);
        uint64_t page_size = 77;
        int r;

        while ((line = strsep(&rest, "\n")))
                page_size_scan_line(&scan, line);

        r = page_size_scan_end(&scan, &page_size);
        if (r < 0)
                check(r == -ENODATA && page_size == 77);
        else {
                check(page_size > 0 && page_size % 1024 == 0);
                check(strstr(text, "KernelPageSize:") && strchr(text, '-'));
                check(scan.covered >= end);
        }

        free(text);
        free(copy);
        return 0;
}
