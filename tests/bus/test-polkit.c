/* SPDX-License-Identifier: MIT */

/* polkit absent, dying, silent, slow, refusing, asking back: there is no memory without its yes, for anybody, and nobody
 * waits for it who does not need it. */

#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <string.h>

#include "memory.h"
#include "polkit.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

/* polkitd is emulated as well where there are devices. */
#define TIMEOUT_SEC (provider_is_slow() ? 6 : 2)

#define CONFIGURATION_OF(timeout)                                                                                      \
        "[Broker]\n"                                                                                                   \
        "PolkitTimeoutSec=" timeout "\n"                                                                               \
        "MaxPendingPerUser=4\n"                                                                                        \
        "DecisionCacheSec=0\n"                                                                                         \
        "[Region dram]\n"                                                                                              \
        "Size=256M\n"
#define IMPATIENT (provider_is_slow() ? CONFIGURATION_OF("6") : CONFIGURATION_OF("2"))
/* polkitd itself may be silent for 15 s, though seldom. */
#define PATIENT CONFIGURATION_OF("60")

/* ---- Small things ------------------------------------------------------------------------------------------------- */

/* Calls that need no decision, by somebody who holds two things of his own: none may take longer than it always does. */
static void assert_nobody_waits(Scene *scene, const Reply *named, unsigned rounds) {
        gint64 begin, longest = 0;

        for (unsigned i = 0; i < rounds; i++) {
                Reply reply;

                begin = g_get_monotonic_time();
                (void) region_get("dram", "Available");
                longest = MAX(longest, g_get_monotonic_time() - begin);

                begin = g_get_monotonic_time();
                reply = user_open(scene->carol, "carols", NULL);
                reply_assert(reply, "");
                reply_assert(user_set_mode(scene->carol, named->object, 0600), "");
                reply_assert(user_get_allocation(scene->carol, "carols"), "");
                g_assert_cmpuint(allocation_get(scene->carol, named->object, "Length"), ==, UNIT);
                user_drop(scene->carol, reply.slot);
                longest = MAX(longest, g_get_monotonic_time() - begin);
        }
        g_assert_cmpint(longest, <, provider_patience(1));
}

static void assert_free_goes_on(User *user, const Reply *reply) {
        gint64 begin = g_get_monotonic_time();

        user_give_back(user, reply);
        g_assert_cmpint(g_get_monotonic_time() - begin, <, provider_patience(1));
        g_assert_cmpint(user_peek(user, reply->slot, 0), ==, -EFAULT);
}

/* The broker stays as it is for a moment: nobody gets anything. */
static void assert_nothing_happens(Scene *scene, uint64_t available) {
        for (unsigned i = 0; i < 50; i++) {
                g_assert_cmpuint(region_get("dram", "Available"), ==, available);
                g_usleep(5000);
        }
        footprint_assert_sums(scene->root);
}

static void assert_works(Scene *scene) {
        User *const users[] = { scene->alice, scene->bob, scene->carol, scene->root };

        for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
                Reply reply = user_get(users[i], UNIT, NULL);

                g_assert_cmpint(user_map(users[i], reply.slot), ==, 0);
                g_assert_cmpint(user_is_filled(users[i], reply.slot, 0), ==, 1);
                user_drop(users[i], reply.slot);
                g_assert_true(allocation_wait_gone(scene->root, reply.object));
        }
}

/* ---- Not there ---------------------------------------------------------------------------------------------------- */

static void test_absent(Scene *scene, const void *unused) {
        Reply named = user_get(scene->carol, UNIT, "name=carols"), other = user_get(scene->carol, UNIT, NULL);
        Reply alices = user_get(scene->alice, UNIT, "name=alices");
        User *const users[] = { scene->alice, scene->bob, scene->carol, scene->root };
        g_autofree char *list = NULL;

        (void) unused;
        g_assert_cmpint(user_map(scene->carol, other.slot), ==, 0);
        polkit_kill();
        for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
                reply_assert(user_allocate(users[i], UNIT, 1, NULL), "AuthorityUnavailable");
                reply_assert(user_allocate(users[i], UNIT, 1, "name=scratch prefault=1"),
                             "AuthorityUnavailable");
                reply_assert(user_check(users[i], UNIT, 1, NULL), "AuthorityUnavailable");
                reply_assert(user_reload(users[i]), "AuthorityUnavailable");
                if (users[i] == scene->carol)
                        continue;
                reply_assert(user_release(users[i], named.object), "AuthorityUnavailable");
                reply_assert(user_set_mode(users[i], named.object, 0666), "AuthorityUnavailable");
                reply_assert(user_open(users[i], "carols", NULL), "AuthorityUnavailable");
                reply_assert(user_open(users[i], "carols", "read-only=1"), "AuthorityUnavailable");
        }

        /* what needs no yes needs no polkit */
        assert_nobody_waits(scene, &named, 3);
        assert_free_goes_on(scene->carol, &other);
        list = user_list(scene->carol);
        g_assert_nonnull(strstr(list, named.object));
        g_assert_null(strstr(list, alices.object));
        g_free(list);
        list = user_list(scene->root);
        g_assert_cmpstr(list, ==, "");

        polkit_start();
        assert_works(scene);
        user_give_back(scene->carol, &named);
        user_give_back(scene->root, &alices);
}

static void test_dies(Scene *scene, const void *unused) {
        User *const users[] = { scene->alice, scene->bob, scene->root };

        (void) unused;
        for (unsigned round = 0; round < 3; round++) {
                polkit_freeze();
                for (size_t i = 0; i < G_N_ELEMENTS(users); i++)
                        if (round == 1)
                                user_begin_interactive_allocate(users[i], UNIT, 1, NULL);
                        else
                                user_begin_allocate(users[i], UNIT, 1, NULL);
                g_usleep(20000);
                polkit_kill();
                for (size_t i = 0; i < G_N_ELEMENTS(users); i++)
                        reply_assert(user_end_reply(users[i]), "AuthorityUnavailable");
                assert_nothing_happens(scene, scene->before.available);
                polkit_start();
                assert_works(scene);
        }
}

/* It comes and goes while people ask. */
static void test_restarts(Scene *scene, const void *unused) {
        User *const users[] = { scene->alice, scene->bob, scene->carol, scene->root };
        Reply replies[G_N_ELEMENTS(users)];
        unsigned n_granted = 0;

        (void) unused;
        for (unsigned round = 0; round < 5; round++) {
                for (size_t i = 0; i < G_N_ELEMENTS(users); i++)
                        user_begin_allocate(users[i], UNIT, 1, NULL);
                polkit_kill();
                polkit_start();
                for (size_t i = 0; i < G_N_ELEMENTS(users); i++)
                        replies[i] = user_end_reply(users[i]);
                for (size_t i = 0; i < G_N_ELEMENTS(users); i++)
                        if (g_str_equal(replies[i].error, "")) {
                                n_granted++;
                                user_drop(users[i], replies[i].slot);
                                g_assert_true(allocation_wait_gone(scene->root, replies[i].object));
                        } else
                                reply_assert(replies[i], "AuthorityUnavailable");
                assert_works(scene);
        }
        g_test_message("%u of 20 were granted", n_granted);
}

/* ---- There, and silent -------------------------------------------------------------------------------------------- */

static void test_frozen(Scene *scene, const void *unused) {
        Reply named = user_get(scene->carol, UNIT, "name=carols"), other = user_get(scene->carol, UNIT, NULL);
        Reply reply;
        uint64_t available;
        gint64 begin, took;

        (void) unused;
        g_assert_cmpint(user_map(scene->carol, other.slot), ==, 0);
        polkit_freeze();
        begin = g_get_monotonic_time();
        user_begin_allocate(scene->alice, UNIT, 1, "name=scratch");
        user_begin_allocate(scene->bob, 64 * MIB, 1, "prefault=1");
        assert_nobody_waits(scene, &named, provider_rounds(20));
        assert_free_goes_on(scene->carol, &other);
        g_assert_false(user_is_done(scene->alice));

        reply = user_end_reply(scene->alice);
        took = g_get_monotonic_time() - begin;
        reply_assert(reply, "AuthorityUnavailable");
        assert_says(reply.message, "in time");
        g_assert_cmpint(took, >=, (TIMEOUT_SEC * 9 / 10) * G_USEC_PER_SEC);
        g_assert_cmpint(took, <, TIMEOUT_SEC * G_USEC_PER_SEC + provider_patience(5));
        reply_assert(user_end_reply(scene->bob), "AuthorityUnavailable");

        /* its late yes is nobody's any more */
        available = region_get("dram", "Available");
        polkit_thaw();
        assert_nothing_happens(scene, available);
        reply_assert(user_get_allocation(scene->alice, "scratch"), "NoSuchAllocation");
        assert_works(scene);
        user_give_back(scene->carol, &named);
}

/* Nobody is above it, root and the broker's own user included. */
static void test_nobody_above(Scene *scene, const void *unused) {
        User *daxbroker = user_new("daxbroker"), *root = user_new("root");
        Reply named = user_get(scene->carol, UNIT, "name=carols");

        (void) unused;
        polkit_freeze();
        user_begin_allocate(scene->root, UNIT, 1, NULL);
        user_begin_allocate(daxbroker, UNIT, 1, NULL);
        user_begin_release(root, named.object);
        reply_assert(user_end_reply(scene->root), "AuthorityUnavailable");
        reply_assert(user_end_reply(daxbroker), "AuthorityUnavailable");
        reply_assert(user_end_reply(root), "AuthorityUnavailable");
        polkit_thaw();
        reply_assert(user_get_allocation(scene->carol, "carols"), "");

        scene_set_rules(scene, "polkit.addRule(function(action, subject) {\n"
                               "    return subject.user == 'daxbroker' ? polkit.Result.NO : null;\n"
                               "});\n");
        reply_assert(user_allocate(daxbroker, UNIT, 1, NULL), "NotAuthorized");
        reply_assert(user_release(daxbroker, named.object), "NotAuthorized");
        reply_assert(user_open(daxbroker, "carols", NULL), "NotAuthorized");
        reply_assert(user_reload(daxbroker), "NotAuthorized");
        user_give_back(scene->carol, &named);
        user_free(daxbroker);
        user_free(root);
}

/* Who has gone before the answer comes gets nothing, and leaves nothing. */
static void test_gone(Scene *scene, const void *unused) {
        (void) unused;
        for (unsigned round = 0; round < 4; round++) {
                User *guests[] = { user_new("alice"), user_new("alice"), user_new("bob"), user_new("root") };

                polkit_freeze();
                for (size_t i = 0; i < G_N_ELEMENTS(guests); i++) {
                        g_autofree char *options = g_strdup_printf("name=guest-%zu", i);

                        if (round % 2 == 0)
                                user_begin_allocate(guests[i], 32 * MIB, 1, options);
                        else
                                user_begin_interactive_allocate(guests[i], 32 * MIB, 1, options);
                }
                g_usleep(20000);
                for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
                        user_kill(guests[i]);
                g_usleep(20000);
                polkit_thaw();
                assert_nothing_happens(scene, scene->before.available);
                footprint_assert_back(scene->broker, &scene->before);
                for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
                        user_free(guests[i]);

                /* and their place among the waiting is free again */
                assert_works(scene);
        }
}

/* A rule that takes its time delays decisions, and nothing else. */
static void test_slow(Scene *scene, const void *unused) {
        const char *const ways[] = {
                provider_is_slow() ? "polkit.spawn(['sleep', '3']);" : "polkit.spawn(['sleep', '1']);",
                provider_is_slow() ? "polkit.spawn(['sleep', '9']);" : "polkit.spawn(['sleep', '4']);",
                provider_is_slow() ? "var end = Date.now() + 9000; while (Date.now() < end) ;"
                                     : "var end = Date.now() + 4000; while (Date.now() < end) ;",
        };
        Reply named = user_get(scene->carol, UNIT, "name=carols"), reply;

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
                Reply other = user_get(scene->carol, UNIT, NULL);
                g_autofree char *rules = g_strdup_printf("polkit.addRule(function(action, subject) {\n"
                                                         "    if (action.lookup('name') == 'slow') {\n"
                                                         "        %s\n"
                                                         "    }\n"
                                                         "});\n%s", ways[i], POLKIT_EVERYBODY_ALLOCATES);

                g_assert_cmpint(user_map(scene->carol, other.slot), ==, 0);
                scene_set_rules(scene, rules);
                user_begin_allocate(scene->alice, UNIT, 1, "name=slow");
                g_usleep(50000);
                user_begin_allocate(scene->bob, UNIT, 1, "name=quick");
                assert_nobody_waits(scene, &named, provider_rounds(10));
                assert_free_goes_on(scene->carol, &other);
                g_assert_false(user_is_done(scene->alice));

                reply = user_end_reply(scene->alice);
                reply_assert(reply, i == 0 ? "" : "AuthorityUnavailable");
                if (i == 0)
                        user_give_back(scene->alice, &reply);
                reply = user_end_reply(scene->bob);
                reply_assert(reply, i == 0 ? "" : "AuthorityUnavailable");
                if (i == 0)
                        user_give_back(scene->bob, &reply);
                user_drop_all(scene->alice);
                user_drop_all(scene->bob);
        }

        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES); /* waits for polkitd, too */
        assert_works(scene);
        user_give_back(scene->carol, &named);
}

/* ---- Its answers -------------------------------------------------------------------------------------------------- */

static void test_deny(Scene *scene, const void *unused) {
        Reply reply;

        (void) unused;
        scene_set_rules(scene, "polkit.addRule(function(action, subject) { return polkit.Result.NO; });\n");
        for (unsigned i = 0; i < 3; i++) {
                reply = user_allocate(scene->alice, UNIT, 1, "name=scratch");
                reply_assert(reply, "NotAuthorized");
                assert_says(reply.message, "org.daxbroker1.allocate");
                user_begin_interactive_allocate(scene->bob, UNIT, 1, NULL);
                reply_assert(user_end_reply(scene->bob), "NotAuthorized");
        }
        assert_nothing_happens(scene, scene->before.available);

        /* a rule that fails is a no as well */
        scene_set_rules(scene, "polkit.addRule(function(action, subject) {\n"
                               "    if (action.id == 'org.daxbroker1.allocate') return nothing.of.this;\n"
                               "});\n");
        reply_assert(user_allocate(scene->alice, UNIT, 1, NULL), "NotAuthorized");
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
        assert_works(scene);
}

static void test_challenge(Scene *scene, const void *unused) {
        static const char *const results[] = { "AUTH_SELF", "AUTH_ADMIN", "AUTH_SELF_KEEP",
                                               "AUTH_ADMIN_KEEP" };
        Reply reply;

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(results); i++) {
                g_autofree char *rules = g_strdup_printf(
                                "polkit.addRule(function(action, subject) { return polkit.Result.%s; });\n",
                                results[i]);

                scene_set_rules(scene, rules);
                reply = user_allocate(scene->alice, UNIT, 1, NULL);
                reply_assert(reply, "AuthenticationRequired");
                assert_says(reply.message, "allow interactive authorization");

                user_begin_interactive_allocate(scene->alice, UNIT, 1, NULL);
                reply = user_end_reply(scene->alice);
                reply_assert(reply, "AuthenticationRequired");
                assert_says(reply.message, "nobody to ask");
        }
        assert_nothing_happens(scene, scene->before.available);
}

/* ---- What it is told ---------------------------------------------------------------------------------------------- */

typedef struct Detail {
        const char *key, *value;
} Detail;

/* Rules that say yes if all of it is so, and no otherwise; wrong is the number of one that is spoilt on purpose. */
static void expect(Scene *scene, const char *action, const char *user, const Detail *details, size_t n,
                   size_t wrong) {
        GString *text = g_string_new(NULL);

        g_string_append_printf(text, "polkit.addRule(function(action, subject) {\n"
                                     "    if (action.id != '%s')\n"
                                     "        return polkit.Result.NO;\n"
                                     "    if (subject.user != '%s'", action, user);
        for (size_t i = 0; i < n; i++)
                g_string_append_printf(text, " ||\n        action.lookup('%s') !== '%s%s'", details[i].key,
                                       details[i].value, i == wrong ? "-" : "");
        g_string_append(text, ")\n"
                              "        return polkit.Result.NO;\n"
                              "    return polkit.Result.YES;\n"
                              "});\n");
        scene_set_rules(scene, text->str);
        g_string_free(text, TRUE);
}

typedef Reply (*Ask)(Scene *scene, const char *object);

static void assert_details(Scene *scene, const char *action, const char *user, Ask ask, const char *object,
                           const Detail *details, size_t n) {
        Reply reply;

        for (size_t wrong = 0; wrong < n; wrong++) {
                expect(scene, action, user, details, n, wrong);
                reply = ask(scene, object);
                reply_assert(reply, "NotAuthorized");
        }
        expect(scene, action, user, details, n, SIZE_MAX);
        reply = ask(scene, object);
        if (!g_str_equal(reply.error, ""))
                g_test_message("%s for %s: other details than expected", action, user);
        reply_assert(reply, "");
}

static Reply ask_plain(Scene *scene, const char *unused) {
        (void) unused;
        return user_allocate(scene->alice, UNIT, 1, NULL);
}

static Reply ask_more(Scene *scene, const char *unused) {
        (void) unused;
        return user_allocate(scene->bob, 3 * MIB - 1, 2 * MIB,
                             "name=scratch region=dram mode=0600 numa-node=0");
}

static Reply ask_held(Scene *scene, const char *unused) {
        (void) unused;
        return user_allocate(scene->bob, UNIT, 4096, NULL);
}

static Reply ask_open(Scene *scene, const char *unused) {
        (void) unused;
        return user_open(scene->carol, "scratch", "read-only=1");
}

static Reply ask_open_object(Scene *scene, const char *object) {
        return user_open_object(scene->carol, object, NULL);
}

static Reply ask_mode(Scene *scene, const char *object) {
        return user_set_mode(scene->carol, object, 0604);
}

static Reply ask_free(Scene *scene, const char *object) {
        return user_release(scene->carol, object);
}

static char *decimal(uint64_t number) {
        return g_strdup_printf("%" G_GUINT64_FORMAT, number);
}

static void test_details(Scene *scene, const void *unused) {
        const char *region = provider_region("dram"), *provider = provider_name();
        /* what lies somewhere lies there */
        const char *node = (int64_t) region_get("dram", "NumaNode") >= 0 ? "0" : "any";
        /* two sizes, the larger one for what is asked with an alignment */
        g_autofree char *unit = decimal(UNIT), *unit_mib = decimal(UNIT / MIB);
        g_autofree char *large = decimal(provider_length(4 * MIB)), *large_mib = decimal(provider_length(4 * MIB) / MIB);
        g_autofree char *message = g_strdup_printf("Authentication is required to take %s MiB of memory from region %s",
                                                   unit_mib, region);
        const Detail plain[] = {
                { "region", region }, { "provider", provider }, { "size", unit }, { "size-mib", unit_mib },
                { "alignment", "1" }, { "name", "" }, { "persistent", "false" },
                { "numa-node", node }, { "held", "0" },
                { "held-mib", "0" }, { "held-count", "0" },
                { "polkit.message", message },
        };
        const Detail more[] = {
                { "region", region }, { "provider", provider }, { "size", large }, { "size-mib", large_mib },
                { "alignment", "2097152" }, { "name", "scratch" }, { "persistent", "false" },
                { "numa-node", "0" },
                { "held", "0" }, { "held-mib", "0" }, { "held-count", "0" },
        };
        const Detail held[] = {
                { "size", unit }, { "size-mib", unit_mib }, { "alignment", "4096" }, { "name", "" },
                { "held", large },
                { "held-mib", large_mib }, { "held-count", "1" },
        };
        g_autofree char *owner = g_strdup_printf("%u", world_get_uid("bob"));
        const Detail open[] = {
                { "region", region }, { "name", "scratch" }, { "owner", owner }, { "size", large },
                { "size-mib", large_mib }, { "read-only", "true" },
        };
        const Detail open_object[] = {
                { "region", region }, { "name", "" }, { "owner", owner }, { "size", unit },
                { "size-mib", unit_mib },
                { "read-only", "false" },
        };
        const Detail mode[] = {
                { "region", region }, { "name", "scratch" }, { "owner", owner }, { "size", large },
                { "size-mib", large_mib }, { "mode", "0604" },
        };
        char bobs[128], scratch[128];
        Reply reply;

        (void) unused;
        if (provider_is_files() && (int64_t) region_get("dram", "NumaNode") < 0) {
                g_test_skip("nobody knows which node these files lie on");
                return;
        }
        assert_details(scene, "org.daxbroker1.allocate", "alice", ask_plain, NULL, plain,
                       G_N_ELEMENTS(plain));
        assert_details(scene, "org.daxbroker1.allocate", "bob", ask_more, NULL, more, G_N_ELEMENTS(more));
        reply = user_get_allocation(scene->bob, "scratch");
        reply_assert(reply, "");
        g_strlcpy(scratch, reply.object, sizeof(scratch));

        expect(scene, "org.daxbroker1.allocate", "bob", held, G_N_ELEMENTS(held), SIZE_MAX);
        reply = ask_held(scene, NULL);
        reply_assert(reply, "");
        g_strlcpy(bobs, reply.object, sizeof(bobs));
        expect(scene, "org.daxbroker1.allocate", "bob", held, G_N_ELEMENTS(held), SIZE_MAX);
        reply_assert(ask_held(scene, NULL), "NotAuthorized"); /* he holds more by now */

        assert_details(scene, "org.daxbroker1.open-other", "carol", ask_open, NULL, open,
                       G_N_ELEMENTS(open));
        assert_details(scene, "org.daxbroker1.open-other", "carol", ask_open_object, bobs, open_object,
                       G_N_ELEMENTS(open_object));
        assert_details(scene, "org.daxbroker1.manage", "carol", ask_mode, scratch, mode, G_N_ELEMENTS(mode));
        /* what opening said, without the last */
        assert_details(scene, "org.daxbroker1.free-other", "carol", ask_free, scratch, open,
                       G_N_ELEMENTS(open) - 1);

        /* a region that forgets is no place for what shall be remembered: nobody is asked */
        scene_set_rules(scene, "polkit.addRule(function(action, subject) { return polkit.Result.YES; });\n");
        reply_assert(user_allocate(scene->alice, 1, 1, "persistent=1"), "BadOption");
}

/* ---- Many questions, and what changes meanwhile ------------------------------------------------------------------- */

/* One that has been answered, or NULL. */
static User *find_done(User *const *users, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (users[i]->busy && user_is_done(users[i]))
                        return users[i];
        return NULL;
}

static void test_pending(Scene *scene, const void *unused) {
        User *guests[5], *refused = NULL;
        Reply reply;

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++) {
                guests[i] = user_new("alice");
                (void) user_get_allocation(guests[i], "nothing"); /* so that the broker knows them */
        }
        polkit_freeze();
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
                user_begin_allocate(guests[i], UNIT, 1, NULL);
        /* whoever comes last */
        g_assert_true(wait_until(20, (refused = find_done(guests, G_N_ELEMENTS(guests))) != NULL));
        reply = user_end_reply(refused);
        reply_assert(reply, "TooManyRequests");
        assert_says(reply.message, "MaxPendingPerUser=");
        user_begin_allocate(scene->bob, UNIT, 1, NULL);
        g_usleep(20000);
        g_assert_false(user_is_done(scene->bob));
        g_assert_null(find_done(guests, G_N_ELEMENTS(guests)));

        polkit_thaw();
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
                if (guests[i] != refused)
                        reply_assert(user_end_reply(guests[i]), "");
        reply_assert(user_end_reply(scene->bob), "");
        reply_assert(user_allocate(refused, UNIT, 1, NULL), "");
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
                user_free(guests[i]);
}

/* A yes to something that is no longer so. */
static void test_changes(Scene *scene, const void *unused) {
        Reply one, two;

        (void) unused;
        polkit_freeze();
        user_begin_allocate(scene->alice, UNIT, 1, "name=scratch");
        user_begin_allocate(scene->bob, UNIT, 1, "name=scratch");
        g_usleep(20000);
        polkit_thaw();
        one = user_end_reply(scene->alice);
        two = user_end_reply(scene->bob);
        reply_assert(g_str_equal(one.error, "") ? two : one, "NameExists");
        reply_assert(g_str_equal(one.error, "") ? one : two, "");
        user_give_back(g_str_equal(one.error, "") ? scene->alice : scene->bob,
                 g_str_equal(one.error, "") ? &one : &two);

        polkit_freeze();
        user_begin_allocate(scene->alice, 160 * MIB, 1, NULL);
        user_begin_allocate(scene->bob, 160 * MIB, 1, NULL);
        g_usleep(20000);
        polkit_thaw();
        one = user_end_reply(scene->alice);
        two = user_end_reply(scene->bob);
        reply_assert(g_str_equal(one.error, "") ? two : one, "NoSpace");
        reply_assert(g_str_equal(one.error, "") ? one : two, "");
        user_drop_all(scene->alice);
        user_drop_all(scene->bob);
        g_assert_cmpuint(region_wait("dram", "Available", scene->before.available), ==,
                         scene->before.available);

        if (!provider_is_device()) {
                polkit_freeze();
                user_begin_allocate(scene->alice, 160 * MIB, 1, NULL);
                g_usleep(20000);
                broker_configure(scene->broker, "[Region dram]\nSize=128M\n");
                broker_reload(scene->broker);
                polkit_thaw();
                reply_assert(user_end_reply(scene->alice), "NoSpace");
        }

        polkit_freeze();
        user_begin_allocate(scene->alice, UNIT, 1, NULL);
        g_usleep(20000);
        broker_configure(scene->broker, "[Region dram]\nEnabled=no\n");
        broker_reload(scene->broker);
        polkit_thaw();
        reply_assert(user_end_reply(scene->alice), "RegionUnusable");
        broker_configure(scene->broker, PATIENT);
        broker_reload(scene->broker);
        assert_works(scene);
}

static void set_up(Scene *scene, const void *configuration) {
        scene_set_up(scene, configuration);
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
}

int main(int argc, char **argv) {
        static const struct {
                const char *name;
                void (*test)(Scene *scene, const void *unused);
                bool waits; /* for the time-out */
        } tests[] = {
                { "/polkit/absent", test_absent, false },
                { "/polkit/dies", test_dies, false },
                { "/polkit/restarts", test_restarts, false },
                { "/polkit/frozen", test_frozen, true },
                { "/polkit/nobody-above", test_nobody_above, true },
                { "/polkit/gone", test_gone, false },
                { "/polkit/slow", test_slow, true },
                { "/polkit/deny", test_deny, false },
                { "/polkit/challenge", test_challenge, false },
                { "/polkit/details", test_details, false },
                { "/polkit/pending", test_pending, false },
                { "/polkit/changes", test_changes, false },
        };

        world_init(&argc, &argv);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add(tests[i].name, Scene, tests[i].waits ? IMPATIENT : PATIENT, set_up, tests[i].test,
                           scene_tear_down);
        return g_test_run();
}
