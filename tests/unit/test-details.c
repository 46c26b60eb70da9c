/* SPDX-License-Identifier: MIT */

/* What polkit is told about a request: bounded in number and length, and always text. */

#include "authorize.h"

#include <glib.h>
#include <string.h>

static void test_add(void) {
        Details details = { 0 };

        details_add(&details, "size", "%d", 4096);
        details_add_fleeting(&details, "held", "%s", "0");
        details_add(&details, "empty", "%s", "");
        g_assert_cmpuint(details.n, ==, 3);
        g_assert_cmpstr(details.items[0].key, ==, "size");
        g_assert_cmpstr(details.items[0].value, ==, "4096");
        g_assert_false(details.items[0].fleeting);
        g_assert_cmpstr(details.items[1].key, ==, "held");
        g_assert_true(details.items[1].fleeting);
        g_assert_cmpstr(details.items[2].value, ==, "");
}

static void test_length(void) {
        g_autofree char *text = g_strnfill(2 * DETAIL_TEXT_MAX, 'x');
        Details details = { 0 };

        for (int size = DETAIL_TEXT_MAX - 2; size <= DETAIL_TEXT_MAX + 2; size++) {
                details.n = 0;
                details_add(&details, "text", "%.*s", size, text);
                g_assert_cmpuint(strlen(details.items[0].value), ==, MIN(size, DETAIL_TEXT_MAX - 1));
        }
}

static void test_number(void) {
        g_autofree Details *details = g_new0(Details, 1); /* of its own, so that nothing lies behind it */

        for (unsigned i = 0; i < DETAILS_MAX + 5; i++)
                details_add(details, "key", "%u", i);
        g_assert_cmpuint(details->n, ==, DETAILS_MAX);
        for (unsigned i = 0; i < DETAILS_MAX; i++)
                g_assert_cmpuint(g_ascii_strtoull(details->items[i].value, NULL, 10), ==, i);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/details/add", test_add);
        g_test_add_func("/details/length", test_length);
        g_test_add_func("/details/number", test_number);
        return g_test_run();
}
