/* SPDX-License-Identifier: MIT */

/* daxbrokerctl's JSON and moments. */

#include "details.h"
#include "moment.h"
#include "output.h"
#include "progress.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

static void assert_json(json_t *value, JsonMode mode, const char *expected) {
        char *text = output_dump(value, mode);

        g_assert_cmpstr(text, ==, expected);
        free(text);
        json_decref(value);
}

static void test_strings(void) {
        assert_json(output_string(""), JSON_SHORT, "\"\"");
        assert_json(output_string("a\"b\\c\n\033"), JSON_SHORT, "\"a\\\"b\\\\c\\n\\u001B\"");
        assert_json(output_string("\u00e9\u4e2d"), JSON_SHORT, "\"\u00e9\u4e2d\"");
        assert_json(output_string("a\xff" "b\xed\xa0\x80"), JSON_SHORT, "\"a\ufffdb\ufffd\ufffd\ufffd\"");
}

/* Any bytes at all give JSON that another reader of it accepts. */
static void test_any_string(void) {
        for (unsigned i = 0; i < 20000; i++) {
                json_t *value, *back;
                char bytes[17], *text;

                for (size_t j = 0; j < sizeof bytes - 1; j++)
                        bytes[j] = (char) g_test_rand_int_range(1, 256);
                bytes[sizeof bytes - 1] = '\0';

                value = output_string(bytes);
                g_assert_nonnull(value);
                text = output_dump(value, JSON_SHORT);
                g_assert_true(g_utf8_validate(text, -1, NULL));
                back = json_loads(text, JSON_DECODE_ANY, NULL);
                g_assert_true(json_equal(value, back));

                free(text);
                json_decref(value);
                json_decref(back);
        }
}

static void test_numbers(void) {
        assert_json(output_number(0), JSON_SHORT, "0");
        assert_json(output_number(INT64_MAX), JSON_SHORT, "9223372036854775807");
        assert_json(output_number(UINT64_MAX), JSON_SHORT, "1.8446744073709552e19");
}

static void test_modes(void) {
        json_t *value = json_pack("{s:i, s:[i,i]}", "b", 1, "a", 2, 3);

        assert_json(json_incref(value), JSON_SHORT, "{\"b\":1,\"a\":[2,3]}");
        assert_json(value, JSON_PRETTY,
                    "{\n"
                    "        \"b\": 1,\n"
                    "        \"a\": [\n"
                    "                2,\n"
                    "                3\n"
                    "        ]\n"
                    "}");
}

/* The commands rely on it: a part that could not be made leaves no whole. */
static void test_missing_part(void) {
        g_assert_null(json_pack("{s:o, s:o}", "a", json_string("x"), "b", NULL));
        g_assert_null(output_dump(NULL, JSON_SHORT));
}

static void test_moments(void) {
        char text[MOMENT_TEXT_MAX];

        g_setenv("TZ", "Europe/Berlin", TRUE);
        g_assert_cmpstr(moment_format_iso(1767366245000006, text), ==, "2026-01-02T15:04:05.000006Z");
        g_assert_cmpstr(moment_format_iso(1, text), ==, "1970-01-01T00:00:00.000001Z");
        g_setenv("TZ", "UTC-1", TRUE);
        g_assert_cmpstr(moment_format(1767366245000006, text), ==, "2026-01-02 16:04");
        g_assert_cmpstr(moment_format_clock(1767366245000006, text), ==, "16:04:05");

        g_assert_cmpstr(moment_format(0, text), ==, "-");
        g_assert_cmpstr(moment_format_iso(0, text), ==, "-");
        g_assert_cmpuint(strlen(moment_format_iso(UINT64_MAX, text)), <, MOMENT_TEXT_MAX);
        g_assert_cmpuint(moment_now(), >, 1700000000000000);

        assert_json(output_moment(0), JSON_SHORT, "null");
        assert_json(output_moment(1), JSON_SHORT, "\"1970-01-01T00:00:00.000001Z\"");
}

static void test_progress(void) {
        static const struct {
                uint64_t done, total;
                const char *text;
        } cases[] = {
                { 0, 1, "0 %" }, { 45, 100, "45 %" }, { 999, 1000, "99 %" }, { 1000, 1000, "100 %" },
                { UINT64_MAX - 1, UINT64_MAX, "99 %" }, { 0, 0, "100 %" }, { 7, 5, "100 %" },
        };
        const Terminal ascii = { .columns = 80 }, utf8 = { .columns = 80, .utf8 = true }, none = {};
        char text[PROGRESS_TEXT_MAX];

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_assert_cmpstr(progress_format(cases[i].done, cases[i].total, text), ==, cases[i].text);
                g_assert_cmpstr(progress_format_bar(cases[i].done, cases[i].total, &none, text), ==, cases[i].text);
        }
        g_assert_cmpstr(progress_format_bar(1, 3, &ascii, text), ==, "##########.................... 33 %");
        g_assert_cmpstr(progress_format_bar(3, 3, &utf8, text), ==, "██████████████████████████████ 100 %");
        g_assert_cmpstr(progress_format_bar(0, 3, &utf8, text), ==, "░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ 0 %");
}

static void test_states(void) {
        Details details = { .state = "cleaning", .length = 1000, .cleaned = 456 };
        char text[STATE_TEXT_MAX];

        g_assert_cmpstr(details_format_state(&details, text), ==, "cleaning 45 %");
        details.state = "live";
        g_assert_cmpstr(details_format_state(&details, text), ==, "live");
        details.state = "";
        g_assert_cmpstr(details_format_state(&details, text), ==, "");
}

static void test_ranges(void) {
        const char *text = "0+4096 8192+18446744073709551615";
        static const char *const bad[] = { "", " ", "5", "5+", "+5", "x+5" };
        uint64_t offset, length;

        g_assert_true(ranges_read(&text, &offset, &length));
        g_assert_cmpuint(offset, ==, 0);
        g_assert_cmpuint(length, ==, 4096);
        g_assert_true(ranges_read(&text, &offset, &length));
        g_assert_cmpuint(offset, ==, 8192);
        g_assert_cmpuint(length, ==, UINT64_MAX);
        g_assert_false(ranges_read(&text, &offset, &length));
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                text = bad[i];
                g_assert_false(ranges_read(&text, &offset, &length));
        }
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/ctl/output/strings", test_strings);
        g_test_add_func("/ctl/output/any-string", test_any_string);
        g_test_add_func("/ctl/output/numbers", test_numbers);
        g_test_add_func("/ctl/output/modes", test_modes);
        g_test_add_func("/ctl/output/missing-part", test_missing_part);
        g_test_add_func("/ctl/output/progress", test_progress);
        g_test_add_func("/ctl/output/states", test_states);
        g_test_add_func("/ctl/output/ranges", test_ranges);
        g_test_add_func("/ctl/output/moments", test_moments);
        return g_test_run();
}
