/* SPDX-License-Identifier: MIT */

/* What was decided is known for a while, to whom it was said and for what it was said; and forgotten in time. */

#include "decision.h"

#include <glib.h>
#include <string.h>

#define LIFETIME 100

static const char connections[4]; /* their addresses are all that counts */

static void keep_at(DecisionCache *cache, unsigned connection, uid_t uid, const char *key, uint64_t asked, uint64_t now) {
        decisions_keep(cache, (DecisionSubject){ &connections[connection], uid }, key, strlen(key), asked, cache->generation,
                       now, LIFETIME);
}

static void keep(DecisionCache *cache, unsigned connection, const char *key) {
        keep_at(cache, connection, 1000 + connection, key, 1000, 1000);
}

static bool has_at(const DecisionCache *cache, unsigned connection, const char *key, uint64_t now) {
        return decisions_have(cache, &connections[connection], key, strlen(key), now, LIFETIME);
}

static bool has(const DecisionCache *cache, unsigned connection, const char *key) {
        return has_at(cache, connection, key, 1000);
}

static void test_same(void) {
        DecisionCache cache = { 0 };

        g_assert_false(has(&cache, 0, "size=1"));
        keep(&cache, 0, "size=1");
        g_assert_true(has(&cache, 0, "size=1"));
        g_assert_false(has(&cache, 0, "size=2"));
        g_assert_false(has(&cache, 0, "size="));
        g_assert_false(has(&cache, 0, "size=1 "));
        g_assert_false(has(&cache, 1, "size=1"));

        keep(&cache, 0, "size=1");
        g_assert_cmpuint(cache.n, ==, 1);
        keep(&cache, 0, "size=2");
        keep(&cache, 1, "size=1");
        g_assert_cmpuint(cache.n, ==, 3);
        g_assert_true(has(&cache, 0, "size=1"));
        decisions_drop(&cache);
        g_assert_cmpuint(cache.n, ==, 0);
}

/* Counted from the question, not from the answer. */
static void test_time(void) {
        DecisionCache cache = { 0 };

        keep_at(&cache, 0, 1000, "a", 1000, 1030);
        g_assert_true(has_at(&cache, 0, "a", 1030));
        g_assert_true(has_at(&cache, 0, "a", 1000 + LIFETIME - 1));
        g_assert_false(has_at(&cache, 0, "a", 1000 + LIFETIME));
        g_assert_false(has_at(&cache, 0, "a", UINT64_MAX));
        g_assert_false(has_at(&cache, 0, "a", 999));

        /* a lifetime that has become shorter counts */
        g_assert_false(decisions_have(&cache, &connections[0], "a", 1, 1050, 50));
        g_assert_false(decisions_have(&cache, &connections[0], "a", 1, 1000, 0));

        /* an answer that took too long is none to keep */
        keep_at(&cache, 0, 1000, "late", 1000, 1000 + LIFETIME);
        g_assert_false(has_at(&cache, 0, "late", 1000 + LIFETIME));
        g_assert_cmpuint(cache.n, ==, 1);

        /* asked again it holds longer, and what is over makes room */
        keep_at(&cache, 0, 1000, "a", 1050, 1050);
        g_assert_true(has_at(&cache, 0, "a", 1149));
        keep_at(&cache, 0, 1000, "b", 1200, 1200);
        g_assert_cmpuint(cache.n, ==, 1);
        decisions_drop(&cache);
}

static void test_drop(void) {
        DecisionCache cache = { 0 };
        uint64_t before;

        keep(&cache, 0, "a");
        keep(&cache, 1, "a");
        before = cache.generation;
        decisions_drop(&cache);
        g_assert_false(has(&cache, 0, "a"));
        g_assert_false(has(&cache, 1, "a"));

        /* the answer to what was asked before it */
        decisions_keep(&cache, (DecisionSubject){ &connections[0], 1000 }, "a", 1, 1000, before, 1000, LIFETIME);
        g_assert_false(has(&cache, 0, "a"));
        g_assert_cmpuint(cache.n, ==, 0);

        keep(&cache, 0, "a");
        g_assert_true(has(&cache, 0, "a"));
        decisions_drop(&cache);
        decisions_drop(&cache);
}

static void test_connection(void) {
        DecisionCache cache = { 0 };

        for (unsigned i = 0; i < 3; i++) {
                keep(&cache, i, "a");
                keep(&cache, i, "b");
                keep(&cache, i, "c");
        }
        decisions_drop_connection(&cache, &connections[1]);
        g_assert_cmpuint(cache.n, ==, 6);
        g_assert_true(has(&cache, 0, "a") && has(&cache, 2, "c"));
        g_assert_false(has(&cache, 1, "a") || has(&cache, 1, "b") || has(&cache, 1, "c"));
        decisions_drop_connection(&cache, &connections[1]);
        decisions_drop_connection(&cache, &connections[3]);

        /* somebody else at the same place starts with nothing */
        keep(&cache, 1, "d");
        g_assert_false(has(&cache, 1, "a"));
        g_assert_true(has(&cache, 1, "d"));
        decisions_drop(&cache);
        g_assert_null(cache.users);
        g_assert_null(cache.connections);
}

/* One user with many questions pushes out his own. */
static void test_user_limit(void) {
        DecisionCache cache = { 0 };
        char key[32];

        keep(&cache, 0, "others");
        for (unsigned i = 0; i < DECISIONS_PER_USER_MAX + 10; i++) {
                g_snprintf(key, sizeof(key), "%u", i);
                keep_at(&cache, 1 + i % 2, 2000, key, 1000, 1000);
        }
        g_assert_cmpuint(cache.n, ==, DECISIONS_PER_USER_MAX + 1);
        g_assert_true(has(&cache, 0, "others"));
        g_assert_false(has(&cache, 2, "9"));
        g_assert_true(has(&cache, 1, "10"));
        g_assert_true(has(&cache, 2, "11"));
        decisions_drop(&cache);
}

static void test_limit(void) {
        DecisionCache cache = { 0 };
        char key[32];

        for (unsigned i = 0; i < DECISIONS_MAX + 10; i++) {
                g_snprintf(key, sizeof(key), "%u", i);
                keep_at(&cache, 0, 2000 + i / 1000, key, 1000, 1000);
        }
        g_assert_cmpuint(cache.n, ==, DECISIONS_MAX);
        g_assert_false(has(&cache, 0, "9"));
        g_assert_true(has(&cache, 0, "10"));
        decisions_drop(&cache);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/decision/same", test_same);
        g_test_add_func("/decision/time", test_time);
        g_test_add_func("/decision/drop", test_drop);
        g_test_add_func("/decision/connection", test_connection);
        g_test_add_func("/decision/user-limit", test_user_limit);
        g_test_add_func("/decision/limit", test_limit);
        return g_test_run();
}
