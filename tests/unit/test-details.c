/* SPDX-License-Identifier: MIT */

/* What polkit is told about a request: bounded in number and length, and always text. */

#include "details.h"

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

static GBytes *key_of(const Details *details, const char *action) {
        char key[DETAILS_KEY_MAX];

        return g_bytes_new(key, details_key(details, action, key));
}

/* Whatever polkit would see differently makes another key. */
static void test_key(void) {
        static const char *const pairs[][4] = {
                { "size", "4096", "held", "0" }, { "size", "4096", "held", "4096" }, { "size", "4097", "held", "0" },
                { "size", "4096held", "", "0" }, { "size", "", "4096held", "0" }, { "held", "0", "size", "4096" },
        };
        g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
        Details more = { 0 };

        for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
                Details details = { 0 };

                details_add(&details, pairs[i][0], "%s", pairs[i][1]);
                details_add_fleeting(&details, pairs[i][2], "%s", pairs[i][3]);
                g_ptr_array_add(keys, key_of(&details, "action"));
                g_ptr_array_add(keys, key_of(&details, "actio"));
                g_ptr_array_add(keys, key_of(&details, "actionsize"));
        }
        details_add(&more, "size", "4096");
        g_ptr_array_add(keys, key_of(&more, "action"));

        for (guint i = 0; i < keys->len; i++) {
                g_assert_cmpuint(g_bytes_get_size(keys->pdata[i]), >, 0);
                for (guint j = 0; j < keys->len; j++)
                        g_assert_cmpint(g_bytes_equal(keys->pdata[i], keys->pdata[j]), ==, i == j);
        }
}

/* What is too long has no key, rather than half a one. */
static void test_long_key(void) {
        g_autofree char *text = g_strnfill(DETAIL_TEXT_MAX - 1, 'x');
        char key[DETAILS_KEY_MAX];
        Details details = { 0 };

        for (unsigned i = 0; i < DETAILS_MAX; i++) {
                size_t size;

                details_add(&details, "k", "%s", text);
                size = details_key(&details, "action", key);
                g_assert_cmpuint(size, ==, strlen("action") + 1 + (i + 1) * 258 <= DETAILS_KEY_MAX
                                                           ? strlen("action") + 1 + (i + 1) * 258 : 0);
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/details/add", test_add);
        g_test_add_func("/details/length", test_length);
        g_test_add_func("/details/number", test_number);
        g_test_add_func("/details/key", test_key);
        g_test_add_func("/details/long-key", test_long_key);
        return g_test_run();
}
