/* SPDX-License-Identifier: MIT */

/* daxbrokerctl's tables, and the text in them. */

#include "table.h"
#include "text.h"

#include <errno.h>
#include <glib.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const TableColumn columns[] = {
        { .title = "NAME", .shortened = 1, .minimum = 4 },
        { .title = "SIZE", .right = true },
        { .title = "HOLDER", .shortened = 2, .minimum = 3 },
};

static Table *sample_new(void) {
        Table *table = table_new(columns, G_N_ELEMENTS(columns));

        table_add(table, COLOUR_PLAIN, "%s", "database");
        table_add(table, COLOUR_PLAIN, "%d%c", 64, 'M');
        table_add(table, COLOUR_GOOD, "postgresql.service");
        table_add(table, COLOUR_PLAIN, "x");
        table_add(table, COLOUR_PLAIN, "1023.9G");
        table_add(table, COLOUR_PLAIN, "%s", "");
        return table;
}

static void assert_table(Table *table, Terminal terminal, bool legend, const char *expected) {
        char *output = NULL;
        size_t length;
        FILE *file = open_memstream(&output, &length);

        g_assert_nonnull(file);
        g_assert_cmpint(table_print(table, &terminal, legend, file), ==, 0);
        fclose(file);
        g_assert_cmpstr(output, ==, expected);
        free(output);
        table_free(table);
}

static void test_unlimited(void) {
        assert_table(sample_new(), (Terminal) {}, true,
                     "NAME        SIZE HOLDER\n"
                     "database     64M postgresql.service\n"
                     "x        1023.9G \n");
        assert_table(sample_new(), (Terminal) {}, false,
                     "database     64M postgresql.service\n"
                     "x        1023.9G \n");
}

static void test_least_important_gives_way(void) {
        Terminal terminal = { .columns = 30, .utf8 = true };

        assert_table(sample_new(), terminal, true,
                     "NAME        SIZE HOLDER\n"
                     "database     64M postgresql.s\u2026\n"
                     "x        1023.9G \n");
        terminal.columns = 17;
        assert_table(sample_new(), terminal, true,
                     "NAME     SIZE HO\u2026\n"
                     "data\u2026     64M po\u2026\n"
                     "x     1023.9G \n");
        /* nothing is lost where it does not fit at all */
        terminal.columns = 5;
        assert_table(sample_new(), terminal, true,
                     "NAME    SIZE HO\u2026\n"
                     "dat\u2026     64M po\u2026\n"
                     "x    1023.9G \n");
}

static void test_ascii(void) {
        assert_table(sample_new(), (Terminal) { .columns = 30 }, false,
                     "database     64M postgresql...\n"
                     "x        1023.9G \n");
}

static void test_colour(void) {
        assert_table(sample_new(), (Terminal) { .colour = true }, true,
                     "\033[4mNAME\033[0m        \033[4mSIZE\033[0m \033[4mHOLDER\033[0m\n"
                     "database     64M \033[32mpostgresql.service\033[0m\n"
                     "x        1023.9G \n");
}

static void test_notes(void) {
        Table *table = sample_new();

        g_assert_cmpuint(table_get_rows(table), ==, 2);
        table_add_note(table, "is \033[31mbroken\n\xff");
        /* never cut, and harmless */
        assert_table(table, (Terminal) { .columns = 21 }, false,
                     "database     64M p...\n"
                     "x        1023.9G \n"
                     "  `- is ?[31mbroken??\n");
}

static void test_empty(void) {
        assert_table(table_new(columns, G_N_ELEMENTS(columns)), (Terminal) { .columns = 80 }, true,
                     "NAME SIZE HOLDER\n");
        assert_table(table_new(columns, G_N_ELEMENTS(columns)), (Terminal) {}, false, "");
}

static void test_out_of_memory(void) {
        Terminal terminal = {};

        /* what table_new() returns then */
        table_add(NULL, COLOUR_PLAIN, "x");
        table_add_note(NULL, "x");
        g_assert_cmpint(table_print(NULL, &terminal, true, stdout), ==, -ENOMEM);
        g_assert_null(table_free(NULL));
}

static void assert_printable(const char *text, bool utf8, const char *expected) {
        char *printable = text_to_printable(text, utf8);

        g_assert_cmpstr(printable, ==, expected);
        free(printable);
}

static void test_printable(void) {
        assert_printable("plain ~!", true, "plain ~!");
        assert_printable("a\033[2Jb\nc\177", true, "a\ufffd[2Jb\ufffdc\ufffd");
        assert_printable("a\033[2Jb\nc\177", false, "a?[2Jb?c?");
        assert_printable("gr\u00f6\u00dfe \u4e2d", true, "gr\u00f6\u00dfe \u4e2d");
        assert_printable("gr\u00f6\u00dfe", false, "gr??e");
        /* a C1 control character, which some terminals obey */
        assert_printable("\xc2\x9b" "31m", true, "\ufffd31m");
}

/* Every way in which bytes are not UTF-8; what comes out is, and the same as the input if that was. */
static void test_utf8(void) {
        static const char *const broken[] = {
                "\x80", "\xff", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf0\x80\x80\xaf",
                "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xe4\xb8", "\xe4", "\xf0\x9f\x98",
                "\xe4xyz", "a\xc3",
        };
        static const char *const valid[] = {
                "", "abc", "\u00e9", "\u4e2d\u6587", "\U0001f600", "\uffff", "\U0010ffff", "\ufffd",
        };

        for (size_t i = 0; i < G_N_ELEMENTS(broken); i++) {
                char *copy = text_to_utf8(broken[i]);

                g_assert_true(g_utf8_validate(copy, -1, NULL));
                g_assert_nonnull(strstr(copy, "\ufffd"));
                free(copy);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(valid); i++) {
                char *copy = text_to_utf8(valid[i]);

                g_assert_cmpstr(copy, ==, valid[i]);
                free(copy);
        }
        for (unsigned i = 0; i < 100000; i++) {
                char text[9], *copy;

                for (size_t j = 0; j < sizeof text - 1; j++)
                        text[j] = (char) g_test_rand_int();
                text[sizeof text - 1] = '\0';

                copy = text_to_utf8(text);
                g_assert_true(g_utf8_validate(copy, -1, NULL));
                if (g_utf8_validate(text, -1, NULL))
                        g_assert_cmpstr(copy, ==, text);
                free(copy);
        }
}

static void assert_shortened(const char *text, size_t width, bool utf8, const char *expected) {
        char *shortened = text_shorten(text, width, utf8);

        g_assert_cmpstr(shortened, ==, expected);
        g_assert_cmpuint(text_width(shortened), <=, width);
        free(shortened);
}

static void test_shorten(void) {
        assert_shortened("abcdef", 6, true, "abcdef");
        assert_shortened("abcdef", 5, true, "abcd\u2026");
        assert_shortened("abcdef", 2, true, "a\u2026");
        assert_shortened("abcdef", 1, true, "a");
        assert_shortened("abcdef", 0, true, "");
        assert_shortened("abcdef", 5, false, "ab...");
        assert_shortened("abcdef", 3, false, "abc");
        /* a wide character is never halved */
        assert_shortened("\u4e2d\u6587\u4e2d", 6, true, "\u4e2d\u6587\u4e2d");
        assert_shortened("\u4e2d\u6587\u4e2d", 4, true, "\u4e2d\u2026");
}

int main(int argc, char *argv[]) {
        setlocale(LC_CTYPE, "C.UTF-8");
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/ctl/table/unlimited", test_unlimited);
        g_test_add_func("/ctl/table/least-important-gives-way", test_least_important_gives_way);
        g_test_add_func("/ctl/table/ascii", test_ascii);
        g_test_add_func("/ctl/table/colour", test_colour);
        g_test_add_func("/ctl/table/notes", test_notes);
        g_test_add_func("/ctl/table/empty", test_empty);
        g_test_add_func("/ctl/table/out-of-memory", test_out_of_memory);
        g_test_add_func("/ctl/text/printable", test_printable);
        g_test_add_func("/ctl/text/utf8", test_utf8);
        g_test_add_func("/ctl/text/shorten", test_shorten);
        return g_test_run();
}
