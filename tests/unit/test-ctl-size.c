/* SPDX-License-Identifier: MIT */

/* daxbrokerctl's sizes: what people write, and what they are shown. */

#include "size.h"

#include <errno.h>
#include <glib.h>

static void assert_size(const char *text, uint64_t expected) {
        uint64_t size = 12345;

        g_assert_cmpint(size_parse(text, &size), ==, 0);
        g_assert_cmpuint(size, ==, expected);
}

static void assert_no_size(const char *text, int error) {
        uint64_t size = 12345;

        g_assert_cmpint(size_parse(text, &size), ==, error);
        g_assert_cmpuint(size, ==, 12345);
}

static void test_valid(void) {
        assert_size("0", 0);
        assert_size("1", 1);
        assert_size("4096", 4096);
        assert_size("4096B", 4096);
        assert_size("00016", 16);
        assert_size("4k", 4096);
        assert_size("4K", 4096);
        assert_size("4KB", 4096);
        assert_size("64M", UINT64_C(64) << 20);
        assert_size("64MiB", UINT64_C(64) << 20);
        assert_size("64 MiB", UINT64_C(64) << 20);
        assert_size("64mib", UINT64_C(64) << 20);
        assert_size("1G", UINT64_C(1) << 30);
        assert_size("3T", UINT64_C(3) << 40);
        assert_size("3P", UINT64_C(3) << 50);
        assert_size("15E", UINT64_C(15) << 60);
}

static void test_fractions(void) {
        assert_size("1.5G", UINT64_C(3) << 29);
        assert_size("1.50G", UINT64_C(3) << 29);
        assert_size("0.5K", 512);
        assert_size("1.0K", 1024);
        /* never less than what was asked for */
        assert_size("0.1K", 103);
        assert_size("0.000000000000000001E", 2);
        assert_size("15.999999999999999999E", UINT64_MAX);
}

static void test_limits(void) {
        assert_size("18446744073709551615", UINT64_MAX);
        assert_size("16383P", UINT64_C(16383) << 50);
        assert_no_size("18446744073709551616", -ERANGE);
        assert_no_size("99999999999999999999999999999999", -ERANGE);
        assert_no_size("16E", -ERANGE);
        assert_no_size("16384P", -ERANGE);
        assert_no_size("17179869184G", -ERANGE);
}

static void test_nonsense(void) {
        static const char *const texts[] = {
                "", " ", " 1", "1 ", "1  M", "-1", "+1", "M", "B", "0x10", "1e9", "1X", "1Mi", "1MM",
                "1Bi", "1BiB", "1.G", ".5G", "1.5", "1.5B", "1..5G", "1.5.G", "1,5G", "1G5", "1 G 5", "1G\n",
                "\u0661", "one", "1.0000000000000000001G", "99999999999999999999x",
        };

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
                assert_no_size(texts[i], -EINVAL);
}

static void assert_text(uint64_t size, const char *expected) {
        char text[SIZE_TEXT_MAX];

        g_assert_true(size_format(size, text) == text);
        g_assert_cmpstr(text, ==, expected);
}

static void test_format(void) {
        assert_text(0, "0B");
        assert_text(1, "1B");
        assert_text(1023, "1023B");
        assert_text(1024, "1K");
        assert_text(1025, "1K");
        assert_text(1536, "1.5K");
        assert_text((UINT64_C(1) << 20) - 1, "1023.9K");
        assert_text(UINT64_C(64) << 20, "64M");
        assert_text(UINT64_C(3) << 29, "1.5G");
        assert_text(UINT64_C(1) << 60, "1E");
        assert_text(UINT64_MAX, "15.9E");
}

/* What was shown can be typed in again, and is never more than there was. */
static void test_there_and_back(void) {
        for (unsigned i = 0; i < 100000; i++) {
                uint64_t high = (uint32_t) g_test_rand_int(), low = (uint32_t) g_test_rand_int();
                uint64_t size = (high << 32 | low) >> g_test_rand_int_range(0, 64);
                char text[SIZE_TEXT_MAX];
                uint64_t back;

                g_assert_cmpint(size_parse(size_format(size, text), &back), ==, 0);
                g_assert_cmpuint(back, <=, size);
        }

        for (unsigned shift = 0; shift < 64; shift++)
                for (uint64_t factor = 1; factor < 1024 && factor <= UINT64_MAX >> shift; factor += 2) {
                        uint64_t size = factor << (shift - shift % 10), back;
                        char text[SIZE_TEXT_MAX];

                        g_assert_cmpint(size_parse(size_format(size, text), &back), ==, 0);
                        g_assert_cmpuint(back, ==, size);
                }
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/ctl/size/valid", test_valid);
        g_test_add_func("/ctl/size/fractions", test_fractions);
        g_test_add_func("/ctl/size/limits", test_limits);
        g_test_add_func("/ctl/size/nonsense", test_nonsense);
        g_test_add_func("/ctl/size/format", test_format);
        g_test_add_func("/ctl/size/there-and-back", test_there_and_back);
        return g_test_run();
}
