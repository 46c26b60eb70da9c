/* SPDX-License-Identifier: MIT */

/* Users and what they are charged: it all comes back, in whatever order. */

#include "user.h"

#include <glib.h>

static void test_references(void) {
        UserTable table = { 0 };
        User *one, *again, *other;

        g_assert_cmpint(user_get(&table, 1000, &one), ==, 0);
        g_assert_cmpint(user_get(&table, 1000, &again), ==, 0);
        g_assert_cmpint(user_get(&table, 1001, &other), ==, 0);
        g_assert_true(one == again);
        g_assert_true(one != other);
        g_assert_cmpuint(one->uid, ==, 1000);
        g_assert_true(user_ref(one) == one);

        g_assert_null(user_unref(one));
        g_assert_null(user_unref(one));
        g_assert_cmpuint(HASH_COUNT(table.users), ==, 2);
        g_assert_null(user_unref(one));
        g_assert_cmpuint(HASH_COUNT(table.users), ==, 1);
        g_assert_null(user_unref(other));
        g_assert_null(table.users);
        g_assert_null(user_unref(NULL));
}

static void test_extreme_uids(void) {
        static const uid_t uids[] = { 0, 1, 65534, INT32_MAX, UINT32_MAX - 1 };
        User *users[G_N_ELEMENTS(uids)];
        UserTable table = { 0 };

        for (size_t i = 0; i < G_N_ELEMENTS(uids); i++)
                g_assert_cmpint(user_get(&table, uids[i], &users[i]), ==, 0);
        g_assert_cmpuint(HASH_COUNT(table.users), ==, G_N_ELEMENTS(uids));
        for (size_t i = 0; i < G_N_ELEMENTS(uids); i++)
                user_unref(users[i]);
        g_assert_null(table.users);
}

static void test_charges(void) {
        Charge a = { 0 }, b = { 0 };
        UserTable table = { 0 };
        User *user;

        g_assert_cmpint(user_get(&table, 1000, &user), ==, 0);
        charge_take(&a, user, 100);
        charge_take(&b, user, 0);
        g_assert_cmpuint(user->bytes, ==, 100);
        g_assert_cmpuint(user->count, ==, 2);

        /* A charge keeps its user. */
        user_unref(user);
        g_assert_true(table.users == user);

        charge_set_ending(&a, true);
        charge_set_ending(&a, true);
        g_assert_cmpuint(user->n_ending, ==, 1);
        g_assert_cmpuint(user->bytes, ==, 100);
        charge_release(&a);
        g_assert_null(a.user);
        g_assert_cmpuint(user->n_ending, ==, 0);
        g_assert_cmpuint(user->bytes, ==, 0);
        g_assert_cmpuint(user->count, ==, 1);

        /* Once only. */
        charge_release(&a);
        charge_set_ending(&a, true);
        g_assert_cmpuint(user->count, ==, 1);
        g_assert_cmpuint(user->n_ending, ==, 0);

        charge_release(&b);
        g_assert_null(table.users);

        /* Nothing was ever charged. */
        charge_release(&b);
        charge_set_ending(&b, true);
}

static void test_reuse(void) {
        Charge charge = { 0 };
        UserTable table = { 0 };

        for (unsigned i = 0; i < 3; i++) {
                User *user;

                g_assert_cmpint(user_get(&table, 7, &user), ==, 0);
                charge_take(&charge, user, i);
                charge_set_ending(&charge, true);
                user_unref(user);
                charge_release(&charge);
                g_assert_null(table.users);
        }
}

static void test_many(void) {
        enum { N_USERS = 17, N_CHARGES = 2000 };
        g_autofree Charge *charges = g_new0(Charge, N_CHARGES);
        uint64_t bytes[N_USERS] = { 0 }, count[N_USERS] = { 0 };
        g_autoptr(GRand) random = g_rand_new_with_seed(1);
        UserTable table = { 0 };

        for (unsigned i = 0; i < 20 * N_CHARGES; i++) {
                Charge *charge = &charges[g_rand_int_range(random, 0, N_CHARGES)];
                User *user;

                if (charge->user) {
                        bytes[charge->user->uid] -= charge->bytes;
                        count[charge->user->uid]--;
                        if (g_rand_boolean(random))
                                charge_set_ending(charge, true);
                        charge_release(charge);
                } else {
                        uint64_t size = g_rand_int(random);

                        g_assert_cmpint(user_get(&table, (uid_t) g_rand_int_range(random, 0, N_USERS), &user), ==, 0);
                        charge_take(charge, user, size);
                        bytes[user->uid] += size;
                        count[user->uid]++;
                        user_unref(user);
                }
        }

        for (User *user = table.users; user; user = user->hh.next) {
                g_assert_cmpuint(user->bytes, ==, bytes[user->uid]);
                g_assert_cmpuint(user->count, ==, count[user->uid]);
                g_assert_cmpuint(user->n_ending, ==, 0);
        }
        for (unsigned i = 0; i < N_CHARGES; i++)
                charge_release(&charges[i]);
        g_assert_null(table.users);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/user/references", test_references);
        g_test_add_func("/user/extreme-uids", test_extreme_uids);
        g_test_add_func("/user/charges", test_charges);
        g_test_add_func("/user/reuse", test_reuse);
        g_test_add_func("/user/many", test_many);
        return g_test_run();
}
