/* SPDX-License-Identifier: MIT */

/* The client library's reading of /proc/self/smaps. */

#include "page-size.h"

#include <errno.h>
#include <glib.h>

#define HUGE (UINT64_C(2) << 20)

static int scan(const char *text, uint64_t start, uint64_t end, uint64_t *ret) {
        PageSizeScan scan = PAGE_SIZE_SCAN(start, end, HUGE);
        char **lines = g_strsplit(text, "\n", -1);

        for (char **line = lines; *line; line++)
                page_size_scan_line(&scan, *line);

        g_strfreev(lines);
        return page_size_scan_end(&scan, ret);
}

static void assert_pages(const char *text, uint64_t start, uint64_t end, uint64_t expected) {
        uint64_t size = 0;

        g_assert_cmpint(scan(text, start, end, &size), ==, 0);
        g_assert_cmpuint(size, ==, expected);
}

static void assert_gap(const char *text, uint64_t start, uint64_t end) {
        uint64_t size = 77;

        g_assert_cmpint(scan(text, start, end, &size), ==, -ENODATA);
        g_assert_cmpuint(size, ==, 77);
}

/* An area as the kernel describes it, cut down to what might matter. */
#define AREA(range, page, huge_name, huge)                                                              \
        range " rw-s 00000000 00:01 1030 /memfd:daxbroker (deleted)\n"                                  \
        "Size:               4096 kB\n"                                                                 \
        "KernelPageSize:     " page " kB\n"                                                             \
        "MMUPageSize:        " page " kB\n"                                                             \
        "Rss:                4096 kB\n"                                                                 \
        "AnonHugePages:         0 kB\n"                                                                 \
        huge_name ":     " huge " kB\n"                                                                 \
        "Shared_Hugetlb:        0 kB\n"                                                                 \
        "THPeligible:    0\n"                                                                           \
        "VmFlags: rd wr sh mr mw me ms sd\n"

#define FIRST UINT64_C(0x7f0000000000)
#define SECOND (FIRST + (UINT64_C(4) << 20))
#define THIRD (SECOND + (UINT64_C(4) << 20))

static void test_small(void) {
        assert_pages(AREA("7f0000000000-7f0000400000", "4", "ShmemPmdMapped", "0"), FIRST, SECOND, 4096);
}

static void test_huge_by_chance(void) {
        assert_pages(AREA("7f0000000000-7f0000400000", "4", "ShmemPmdMapped", "4096"), FIRST, SECOND, HUGE);
        assert_pages(AREA("7f0000000000-7f0000400000", "4", "FilePmdMapped", "4096"), FIRST, SECOND, HUGE);
        assert_pages(AREA("7f0000000000-7f0000400000", "4", "ShmemPmdMapped", "2048"), FIRST, SECOND, 4096);
}

static void test_huge_by_nature(void) {
        assert_pages(AREA("7f0000000000-7f0000400000", "2048", "ShmemPmdMapped", "0"), FIRST, SECOND, HUGE);
        assert_pages(AREA("7f0000000000-7f0000400000", "1048576", "ShmemPmdMapped", "0"), FIRST, SECOND,
                     UINT64_C(1) << 30);
}

static void test_several_areas(void) {
        const char *both = AREA("7f0000000000-7f0000400000", "4", "ShmemPmdMapped", "4096")
                AREA("7f0000400000-7f0000800000", "4", "ShmemPmdMapped", "0");

        assert_pages(both, FIRST, THIRD, 4096);
        assert_pages(both, FIRST, SECOND, HUGE);
        assert_pages(both, SECOND, THIRD, 4096);
        assert_pages(both, FIRST + 8192, FIRST + 12288, HUGE);
}

static void test_gaps(void) {
        const char *apart = AREA("7f0000000000-7f0000400000", "4", "ShmemPmdMapped", "0")
                AREA("7f0000800000-7f0000c00000", "4", "ShmemPmdMapped", "0");

        assert_gap("", FIRST, SECOND);
        assert_gap(apart, FIRST, THIRD);
        assert_gap(apart, FIRST, THIRD + 4096);
        assert_gap(apart, SECOND, THIRD);
        assert_gap(apart, FIRST - 4096, SECOND);
        assert_pages(apart, FIRST, SECOND, 4096);
}

static void test_nonsense(void) {
        assert_gap("7f0000000000-7f0000400000 rw-s\nKernelPageSize: many kB\n", FIRST, SECOND);
        assert_gap("7f0000000000-7f0000400000 rw-s\nKernelPageSize: 4 MB\n", FIRST, SECOND);
        assert_gap("7f0000000000-7f0000400000 rw-s\nKernelPageSize:\n", FIRST, SECOND);
        assert_gap("7f0000000000-7f0000400000 rw-s\nKernelPageSize: 18446744073709551615 kB\n", FIRST,
                   SECOND);
        assert_gap("7f0000400000-7f0000000000 rw-s\nKernelPageSize: 4 kB\n", FIRST, SECOND);
        assert_gap("-7f0000400000 rw-s\nKernelPageSize: 4 kB\n", FIRST, SECOND);
        assert_gap("KernelPageSize: 4 kB\n", FIRST, SECOND);

        /* A name that looks like a field belongs to an area's first line. */
        assert_pages("7f0000000000-7f0000400000 rw-s 0 0:1 5 KernelPageSize: 2048 kB\n"
                     "KernelPageSize: 4 kB\n", FIRST, SECOND, 4096);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/client/page-size/small", test_small);
        g_test_add_func("/client/page-size/huge-by-chance", test_huge_by_chance);
        g_test_add_func("/client/page-size/huge-by-nature", test_huge_by_nature);
        g_test_add_func("/client/page-size/several-areas", test_several_areas);
        g_test_add_func("/client/page-size/gaps", test_gaps);
        g_test_add_func("/client/page-size/nonsense", test_nonsense);
        return g_test_run();
}
