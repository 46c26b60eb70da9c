/* SPDX-License-Identifier: MIT */

/* Ids in their order, against a sorted array. */

#include "roll.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define IDS_MAX 500

typedef char Id[17];

static void test_order(void) {
        static Id ids[IDS_MAX];
        static bool in[IDS_MAX];
        Roll roll = { 0 };

        /* in the order of their numbers, with gaps between them */
        for (unsigned i = 0; i < IDS_MAX; i++)
                (void) snprintf(ids[i], sizeof(ids[i]), "%016" PRIx64, (uint64_t) (i + 1) * 0x20000000000000);

        for (unsigned round = 0; round < 20; round++) {
                const char *id = "";
                unsigned i;

                for (unsigned change = 0; change < 200; change++) {
                        i = (unsigned) g_test_rand_int_range(0, IDS_MAX);
                        if (in[i])
                                roll_remove(&roll, ids[i]);
                        else
                                g_assert_cmpint(roll_add(&roll, ids[i]), ==, 0);
                        in[i] = !in[i];
                }

                for (i = 0; i < IDS_MAX; i++)
                        if (in[i]) {
                                id = roll_next(&roll, id);
                                g_assert_true(id == ids[i]);
                        }
                g_assert_null(roll_next(&roll, id));

                /* behind one that is not there, or never was */
                i = (unsigned) g_test_rand_int_range(0, IDS_MAX - 1);
                id = roll_next(&roll, ids[i]);
                for (i++; i < IDS_MAX && !in[i]; i++)
                        ;
                g_assert_true(id == (i < IDS_MAX ? ids[i] : NULL));
        }

        for (unsigned i = 0; i < IDS_MAX; i++)
                roll_remove(&roll, ids[i]);
        g_assert_null(roll_next(&roll, ""));
        g_assert_null(roll.root);
}

static void test_same(void) {
        static const char mine[] = "0123456789abcdef";
        char another[] = "0123456789abcdef";
        Roll roll = { 0 };

        g_assert_null(roll_next(&roll, ""));
        roll_remove(&roll, mine);
        g_assert_cmpint(roll_add(&roll, mine), ==, 0);
        g_assert_cmpint(roll_add(&roll, another), ==, -EEXIST);
        roll_remove(&roll, another); /* is not in it */
        g_assert_true(roll_next(&roll, "") == mine);
        g_assert_true(roll_next(&roll, "0123456789abcde") == mine);
        g_assert_null(roll_next(&roll, "0123456789abcdef"));
        g_assert_null(roll_next(&roll, "0123456789abcdefg"));
        g_assert_null(roll_next(&roll, "zzz"));
        roll_remove(&roll, mine);
        g_assert_null(roll.root);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/roll/order", test_order);
        g_test_add_func("/roll/same", test_same);
        return g_test_run();
}
