/* SPDX-License-Identifier: MIT */

/* Quotas: which limit is whose, and the last byte on either side of it. */

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "config.h"
#include "size.h"
#include "user.h"

#define HALF (UINT64_C(1) << 63)

static const gid_t groups[] = { 100, 200, 300 };

typedef struct World {
        Config *config;
        UserTable table;
        User *user; /* uid 1000, in the groups above */
        Charge held;
} World;

/* What it holds before the question. */
static void hold(World *world, uint64_t bytes, uint64_t count) {
        world->user->count = 1;
        charge_release(&world->held);
        charge_take(&world->held, world->user, bytes);
        world->user->count = count;
}

static void world_set(World *world, const char *section, const char *key, const char *value) {
        g_assert_cmpstr(config_apply(world->config, section, key, value), ==, NULL);
}

/* In place: users point to their table. */
static void world_init(World *world) {
        *world = (World) { 0 };
        g_assert_cmpint(config_new(&world->config), ==, 0);
        g_assert_cmpint(user_get(&world->table, 1000, &world->user), ==, 0);
}

static void world_done(World *world) {
        world->user->count = 1;
        charge_release(&world->held);
        world->user->count = 0;
        user_unref(world->user);
        g_assert_null(world->table.users);
        config_free(world->config);
}

static bool admits(const World *world, uint64_t bytes) {
        Failure failure = { 0 };
        int r;

        r = quota_admit(world->config->quotas, world->user, groups, G_N_ELEMENTS(groups), bytes, &failure);
        if (r == 0) {
                g_assert_cmpint(failure.refusal, ==, REFUSAL_NONE);
                return true;
        }

        g_assert_cmpint(r, ==, -EDQUOT);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_QuotaExceeded);
        return false;
}

static void assert_says(const World *world, uint64_t bytes, const char *words) {
        Failure failure = { 0 };

        g_assert_cmpint(quota_admit(world->config->quotas, world->user, groups, G_N_ELEMENTS(groups), bytes, &failure), ==,
                        -EDQUOT);
        if (!strstr(failure.text, words))
                g_error("\"%s\" does not say \"%s\"", failure.text, words);
}

static void test_bytes(void) {
        static const uint64_t limits[] = { 1, 2, 4096, GIB, HALF - 1, HALF, HALF + 1, UINT64_MAX - 1 };
        World world;

        world_init(&world);
        for (size_t i = 0; i < G_N_ELEMENTS(limits); i++) {
                uint64_t limit = limits[i];
                g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, limit);

                world_set(&world, "Quota", "MaxBytes", text);
                g_assert_true(admits(&world, 0));
                g_assert_true(admits(&world, 1));
                g_assert_true(admits(&world, limit - 1));
                g_assert_true(admits(&world, limit));
                g_assert_false(admits(&world, limit + 1));
                g_assert_false(admits(&world, UINT64_MAX));
        }
        world_done(&world);
}

static void test_bytes_held(void) {
        World world;

        world_init(&world);
        world_set(&world, "Quota", "MaxBytes", "100");
        hold(&world, 1, 1);
        g_assert_true(admits(&world, 99));
        g_assert_false(admits(&world, 100));
        g_assert_false(admits(&world, UINT64_MAX)); /* 1 more than which is 0 */
        g_assert_false(admits(&world, UINT64_MAX - 1));

        hold(&world, 100, 1);
        g_assert_true(admits(&world, 0));
        g_assert_false(admits(&world, 1));

        /* More than the limit, because that was larger once. */
        hold(&world, 101, 1);
        g_assert_false(admits(&world, 1));
        g_assert_false(admits(&world, HALF));
        hold(&world, UINT64_MAX, 1);
        g_assert_false(admits(&world, 1));
        assert_says(&world, 1, "0 bytes are left");
        world_done(&world);
}

static void test_zero(void) {
        World world;

        world_init(&world);
        world_set(&world, "Quota", "MaxBytes", "0");
        g_assert_false(admits(&world, 1));
        world_set(&world, "Quota", "MaxBytes", "infinity");
        g_assert_true(admits(&world, 1));
        world_set(&world, "Quota", "MaxAllocations", "0");
        g_assert_false(admits(&world, 1));
        world_done(&world);
}

static void test_infinity(void) {
        World world;

        world_init(&world);
        g_assert_true(admits(&world, UINT64_MAX));
        hold(&world, UINT64_MAX - 1, 1);
        g_assert_true(admits(&world, UINT64_MAX)); /* it is the region that says no */

        world_set(&world, "Quota", "MaxAllocations", "infinity");
        hold(&world, 0, UINT64_MAX - 1);
        g_assert_true(admits(&world, 1));
        world_done(&world);
}

static void test_count(void) {
        World world;

        world_init(&world);
        /* The default. */
        hold(&world, 0, 1023);
        g_assert_true(admits(&world, 1));
        hold(&world, 0, 1024);
        g_assert_false(admits(&world, 1));

        world_set(&world, "Quota", "MaxAllocations", "1");
        hold(&world, 0, 0);
        g_assert_true(admits(&world, 1));
        hold(&world, 0, 1);
        g_assert_false(admits(&world, 0));
        hold(&world, 0, 2);
        g_assert_false(admits(&world, 1));
        world_done(&world);
}

static void test_user_beats_group(void) {
        World world;

        world_init(&world);
        world_set(&world, "Quota", "MaxBytes", "10");
        g_assert_false(admits(&world, 11));

        world_set(&world, "Quota gid:100", "MaxBytes", "20");
        g_assert_true(admits(&world, 20));
        g_assert_false(admits(&world, 21));

        /* Also where that is less. */
        world_set(&world, "Quota uid:1000", "MaxBytes", "5");
        g_assert_true(admits(&world, 5));
        g_assert_false(admits(&world, 6));
        world_done(&world);
}

static void test_group_beats_everybody(void) {
        World world;

        world_init(&world);
        world_set(&world, "Quota gid:200", "MaxBytes", "5");
        world_set(&world, "Quota", "MaxBytes", "10");
        g_assert_true(admits(&world, 5));
        g_assert_false(admits(&world, 6));
        world_done(&world);
}

static void test_most_generous_group(void) {
        static const char *const orders[][3] = { { "10", "30", "20" }, { "30", "20", "10" }, { "10", "20", "30" } };

        for (size_t i = 0; i < G_N_ELEMENTS(orders); i++) {
                World world;

                world_init(&world);
                world_set(&world, "Quota gid:100", "MaxBytes", orders[i][0]);
                world_set(&world, "Quota gid:200", "MaxBytes", orders[i][1]);
                world_set(&world, "Quota gid:300", "MaxBytes", orders[i][2]);
                world_set(&world, "Quota gid:400", "MaxBytes", "1000"); /* not a member */
                g_assert_true(admits(&world, 30));
                g_assert_false(admits(&world, 31));

                world_set(&world, "Quota gid:300", "MaxBytes", "infinity");
                g_assert_true(admits(&world, UINT64_MAX));
                world_done(&world);
        }
}

/* A section that says something about one limit leaves the other to the next that applies. */
static void test_limits_apart(void) {
        World world;

        world_init(&world);
        world_set(&world, "Quota", "MaxAllocations", "2");
        world_set(&world, "Quota", "MaxBytes", "10");
        world_set(&world, "Quota gid:100", "MaxAllocations", "3");
        world_set(&world, "Quota uid:1000", "MaxBytes", "20");
        hold(&world, 0, 2);
        g_assert_true(admits(&world, 20));
        g_assert_false(admits(&world, 21));
        hold(&world, 0, 3);
        g_assert_false(admits(&world, 1));
        world_done(&world);
}

static void test_others(void) {
        World world;
        Failure failure = { 0 };

        world_init(&world);
        world_set(&world, "Quota uid:1001", "MaxBytes", "0");
        world_set(&world, "Quota uid:100", "MaxBytes", "0"); /* a group of the user's has this number */
        world_set(&world, "Quota gid:1000", "MaxBytes", "0"); /* and the user this one */
        g_assert_true(admits(&world, GIB));

        world_set(&world, "Quota gid:100", "MaxBytes", "0");
        g_assert_false(admits(&world, 1));
        g_assert_cmpint(quota_admit(world.config->quotas, world.user, NULL, 0, 1, &failure), ==, 0);
        world_done(&world);
}

static void test_root(void) {
        World world;
        Failure failure = { 0 };
        User *root;

        world_init(&world);
        g_assert_cmpint(user_get(&world.table, 0, &root), ==, 0);
        world_set(&world, "Quota", "MaxBytes", "10");
        g_assert_cmpint(quota_admit(world.config->quotas, root, NULL, 0, 10, &failure), ==, 0);
        g_assert_cmpint(quota_admit(world.config->quotas, root, NULL, 0, 11, &failure), ==, -EDQUOT);
        world_set(&world, "Quota uid:0", "MaxBytes", "infinity");
        g_assert_cmpint(quota_admit(world.config->quotas, root, NULL, 0, 11, &failure), ==, 0);
        user_unref(root);
        world_done(&world);
}

static void test_sentences(void) {
        World world;

        world_init(&world);
        world_set(&world, "Quota", "MaxBytes", "1G");
        hold(&world, 512 * MIB, 1);
        assert_says(&world, GIB, "user 1000 may hold 1 GiB ([Quota] MaxBytes), holds 512 MiB, 512 MiB are left, 1 GiB were");
        world_set(&world, "Quota gid:100", "MaxBytes", "768M");
        assert_says(&world, GIB, "may hold 768 MiB ([Quota gid:100] MaxBytes), holds 512 MiB, 256 MiB are left");
        world_set(&world, "Quota uid:1000", "MaxAllocations", "1");
        assert_says(&world, 1, "user 1000 may hold no more allocations: holds 1, [Quota uid:1000] MaxAllocations is 1");
        world_done(&world);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/quota/bytes", test_bytes);
        g_test_add_func("/quota/bytes-held", test_bytes_held);
        g_test_add_func("/quota/zero", test_zero);
        g_test_add_func("/quota/infinity", test_infinity);
        g_test_add_func("/quota/count", test_count);
        g_test_add_func("/quota/user-beats-group", test_user_beats_group);
        g_test_add_func("/quota/group-beats-everybody", test_group_beats_everybody);
        g_test_add_func("/quota/most-generous-group", test_most_generous_group);
        g_test_add_func("/quota/limits-apart", test_limits_apart);
        g_test_add_func("/quota/others", test_others);
        g_test_add_func("/quota/root", test_root);
        g_test_add_func("/quota/sentences", test_sentences);
        return g_test_run();
}
