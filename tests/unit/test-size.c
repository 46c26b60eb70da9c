/* SPDX-License-Identifier: MIT */

/* The broker's sizes: rounding, reading, writing. */

#include "size.h"

#include <errno.h>
#include <glib.h>

#define PAGE UINT64_C(4096)

/* What no function may leave behind in its output when it fails. */
#define UNTOUCHED UINT64_C(0x5ca1ab1e)

static void test_power_of_two(void) {
        g_assert_false(is_power_of_two(0));
        for (unsigned i = 0; i < 64; i++) {
                g_assert_true(is_power_of_two(UINT64_C(1) << i));
                if (i > 1)
                        g_assert_false(is_power_of_two((UINT64_C(1) << i) - 1));
                if (i > 0)
                        g_assert_false(is_power_of_two((UINT64_C(1) << i) + 1));
        }
}

static void test_round_up(void) {
        static const struct {
                uint64_t size, multiple, result;
        } good[] = {
                { 0, 1, 0 },
                { 0, PAGE, 0 },
                { 1, 1, 1 },
                { 1, PAGE, PAGE },
                { PAGE - 1, PAGE, PAGE },
                { PAGE, PAGE, PAGE },
                { PAGE + 1, PAGE, 2 * PAGE },
                { 2 * MIB + 1, 2 * MIB, 4 * MIB },
                { UINT64_C(1) << 63, GIB, UINT64_C(1) << 63 },
                { UINT64_C(1) << 63, UINT64_C(1) << 63, UINT64_C(1) << 63 },
                { UINT64_MAX, 1, UINT64_MAX },
                { UINT64_MAX - PAGE + 1, PAGE, UINT64_MAX - PAGE + 1 },
                { UINT64_MAX - 2 * PAGE + 2, PAGE, UINT64_MAX - PAGE + 1 },
        }, bad[] = {
                { UINT64_MAX, 2, 0 },
                { UINT64_MAX, PAGE, 0 },
                { UINT64_MAX - PAGE + 2, PAGE, 0 },
                { UINT64_MAX - 1, GIB, 0 },
                { (UINT64_C(1) << 63) + 1, UINT64_C(1) << 63, 0 },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
                uint64_t size = UNTOUCHED;

                g_assert_cmpint(size_round_up(good[i].size, good[i].multiple, &size), ==, 0);
                g_assert_cmpuint(size, ==, good[i].result);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                uint64_t size = UNTOUCHED;

                g_assert_cmpint(size_round_up(bad[i].size, bad[i].multiple, &size), ==, -EOVERFLOW);
                g_assert_cmpuint(size, ==, UNTOUCHED);
        }
}

static void assert_parses(const char *text, uint64_t expected) {
        uint64_t size = UNTOUCHED;

        g_assert_cmpint(size_parse(text, &size), ==, 0);
        g_assert_cmpuint(size, ==, expected);
        g_assert_cmpint(size_parse_part(text, 1000, &size), ==, 0);
        g_assert_cmpuint(size, ==, expected);
}

static void assert_refuses(const char *text, int error) {
        uint64_t size = UNTOUCHED;

        g_assert_cmpint(size_parse(text, &size), ==, error);
        g_assert_cmpint(size_parse_part(text, 1000, &size), ==, error);
        g_assert_cmpuint(size, ==, UNTOUCHED);
}

static void test_units(void) {
        static const char units[] = "KMGTPE";

        assert_parses("0", 0);
        assert_parses("1", 1);
        assert_parses("1B", 1);
        assert_parses("007", 7);
        assert_parses("4096", PAGE);
        assert_parses("64 MiB", 64 * MIB);
        assert_parses("0G", 0);
        for (unsigned i = 0; units[i]; i++) {
                static const char *const endings[] = { "", "B", "iB" };

                for (unsigned j = 0; j < G_N_ELEMENTS(endings); j++) {
                        g_autofree char *text = g_strdup_printf("3%c%s", units[i], endings[j]);

                        assert_parses(text, UINT64_C(3) << (10 * (i + 1)));
                }
        }
        assert_parses("infinity", SIZE_INFINITE);
}

static void test_fractions(void) {
        assert_parses("1.5K", 1536);
        assert_parses("1.5G", GIB + 512 * MIB);
        assert_parses("0.25 M", 256 * KIB);
        assert_parses("1.0", 1);
        assert_parses("2.000000E", UINT64_C(2) << 60);
        assert_parses("0.000001E", UINT64_C(1152921504606));
        assert_parses("15.999999E", UINT64_C(18446742920788047009));

        assert_refuses("1.5", -EINVAL);
        assert_refuses("0.1B", -EINVAL);
        assert_refuses("1.", -EINVAL);
        assert_refuses("1.K", -EINVAL);
        assert_refuses(".5K", -EINVAL);
        assert_refuses("1..5K", -EINVAL);
        assert_refuses("1.5.5K", -EINVAL);
        assert_refuses("1.-5K", -EINVAL);
        assert_refuses("1.0000001K", -ERANGE);
}

static void test_nonsense(void) {
        static const char *const texts[] = {
                        "",      " ",     "K",    "B",        "-1",        "+1",        " 1", "1K ", "1KK",  "1Ki",
                        "1KiBB", "1BB",   "1BiB", "1iB",      "1k",        "1g",        "1X", "1Z",  "0x10", "1e3",
                        "1,5K",  "1_000", "one",  "Infinity", "infinity ", "infinityK", "%",  "1%1", "\xff", "1\xff",
        };

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
                assert_refuses(texts[i], -EINVAL);
}

static void test_overflow(void) {
        assert_parses("18446744073709551614", UINT64_MAX - 1);
        assert_parses("15E", UINT64_C(15) << 60);
        assert_parses("18014398509481983K", UINT64_MAX - 1023);

        /* the largest number means something else */
        assert_refuses("18446744073709551615", -ERANGE);
        assert_refuses("18446744073709551616", -ERANGE);
        assert_refuses("99999999999999999999999999999999", -ERANGE);
        assert_refuses("18014398509481984K", -ERANGE);
        assert_refuses("16E", -ERANGE);
        assert_refuses("16777216T", -ERANGE);
        assert_refuses("15.9999999E", -ERANGE);
}

static void assert_part(const char *text, uint64_t whole, uint64_t expected) {
        uint64_t size = UNTOUCHED;

        g_assert_cmpint(size_parse_part(text, whole, &size), ==, 0);
        g_assert_cmpuint(size, ==, expected);
}

static void assert_no_part(const char *text, int error) {
        uint64_t size = UNTOUCHED;

        g_assert_cmpint(size_parse_part(text, GIB, &size), ==, error);
        g_assert_cmpuint(size, ==, UNTOUCHED);
}

static void test_percent(void) {
        assert_part("0%", GIB, 0);
        assert_part("25%", GIB, 256 * MIB);
        assert_part("100%", GIB, GIB);
        assert_part("100%", UINT64_MAX, UINT64_MAX);
        assert_part("1%", 99, 0);
        assert_part("99%", UINT64_MAX, UINT64_C(18262276632972456098));
        assert_part("50%", 0, 0);

        assert_no_part("101%", -ERANGE);
        assert_no_part("18446744073709551616%", -ERANGE);
        assert_no_part("2.5%", -EINVAL);
        assert_no_part("25%%", -EINVAL);
        assert_no_part("25 %", -EINVAL);
        assert_no_part("-5%", -EINVAL);
        assert_no_part("%", -EINVAL);
        assert_no_part("25%K", -EINVAL);
}

static void test_format(void) {
        static const struct {
                uint64_t size;
                const char *text;
        } cases[] = {
                { 0, "0 bytes" },
                { 1, "1 byte" },
                { 2, "2 bytes" },
                { 1023, "1023 bytes" },
                { KIB, "1 KiB" },
                { KIB + 1, "1025 bytes" },
                { 1536 * KIB, "1536 KiB" },
                { 64 * MIB, "64 MiB" },
                { 3 * GIB, "3 GiB" },
                { UINT64_C(5) << 40, "5 TiB" },
                { UINT64_C(7) << 50, "7 PiB" },
                { UINT64_C(1) << 63, "8192 PiB" },
                { UINT64_MAX - 1, "18446744073709551614 bytes" },
                { SIZE_INFINITE, "no limit" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                g_assert_cmpstr(SIZE_TEXT(cases[i].size), ==, cases[i].text);
}

/* What is written can be read again, and means the same. */
static void test_round_trip(void) {
        for (unsigned i = 0; i < 64; i++)
                for (int64_t near = -1; near <= 1; near++) {
                        uint64_t size = (UINT64_C(1) << i) + (uint64_t) near, again = UNTOUCHED;
                        const char *text = SIZE_TEXT(size);
                        g_autofree char *number = g_str_has_suffix(text, " bytes") || g_str_has_suffix(text, " byte")
                                        ? g_strdup_printf("%" G_GUINT64_FORMAT, size)
                                        : g_strdup(text);

                        g_assert_cmpint(size_parse(number, &again), ==, 0);
                        g_assert_cmpuint(again, ==, size);
                }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/size/power-of-two", test_power_of_two);
        g_test_add_func("/size/round-up", test_round_up);
        g_test_add_func("/size/units", test_units);
        g_test_add_func("/size/fractions", test_fractions);
        g_test_add_func("/size/nonsense", test_nonsense);
        g_test_add_func("/size/overflow", test_overflow);
        g_test_add_func("/size/percent", test_percent);
        g_test_add_func("/size/format", test_format);
        g_test_add_func("/size/round-trip", test_round_trip);
        return g_test_run();
}
