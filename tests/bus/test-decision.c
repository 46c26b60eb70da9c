/* SPDX-License-Identifier: MIT */

/* A yes of polkit's is good for a moment: for the connection it was given to, for exactly that question, and only if it was
 * the rules' own. Whatever it rests on makes it void when it changes. */

#include <glib.h>
#include <string.h>

#include "fake-polkit.h"
#include "memory.h"
#include "polkit.h"
#include "scene.h"
#include "world.h"

#define REGION "[Region dram]\nSize=256M\n"
#define FOREVER "[Broker]\nDecisionCacheSec=3600\n" REGION

/* Who asks gets it, and it is gone again afterwards: so what is held is the same each time. */
static void get_once(Scene *scene, User *user, uint64_t size, const char *options) {
        Reply reply = user_get(user, size, options);

        if (options && strstr(options, "name="))
                reply_assert(user_release(user, reply.object), "");
        user_drop(user, reply.slot);
        g_assert_true(allocation_wait_gone(scene->root, reply.object));
        g_assert_cmpuint(region_wait("dram", "Available", scene->before.available), ==, scene->before.available);
}

static void assert_asked(Scene *scene, User *user, uint64_t size, const char *options, unsigned times) {
        (void) fake_polkit_take_questions();
        get_once(scene, user, size, options);
        g_assert_cmpuint(fake_polkit_take_questions(), ==, times);
}

static void test_same(Scene *scene, const void *unused) {
        User *another = user_new("alice");
        Reply held;

        (void) unused;
        fake_polkit_start();
        assert_asked(scene, scene->alice, UNIT, NULL, 1);
        assert_asked(scene, scene->alice, UNIT, NULL, 0);
        assert_asked(scene, scene->alice, UNIT, NULL, 0);

        /* everything that polkit is told makes another question */
        assert_asked(scene, scene->alice, 2 * UNIT, NULL, 1);
        assert_asked(scene, scene->alice, UNIT, "name=scratch", 1);
        assert_asked(scene, scene->alice, UNIT, "name=scratch2", 1);
        assert_asked(scene, scene->alice, UNIT, "numa-node=0", 1);
        reply_assert(user_check(scene->alice, UNIT, 4096, NULL), "");
        g_assert_cmpuint(fake_polkit_take_questions(), ==, 1);
        assert_asked(scene, scene->alice, 2 * UNIT, NULL, 0);

        /* also what it holds already */
        held = user_get(scene->alice, UNIT, NULL);
        g_assert_cmpuint(fake_polkit_take_questions(), ==, 0);
        reply_assert(user_check(scene->alice, UNIT, 1, NULL), "");
        g_assert_cmpuint(fake_polkit_take_questions(), ==, 1);
        reply_assert(user_check(scene->alice, UNIT, 1, NULL), "");
        g_assert_cmpuint(fake_polkit_take_questions(), ==, 0);
        user_drop(scene->alice, held.slot);
        g_assert_true(allocation_wait_gone(scene->root, held.object));

        /* and who asks: the connection, not the user */
        assert_asked(scene, scene->bob, UNIT, NULL, 1);
        assert_asked(scene, another, UNIT, NULL, 1);
        assert_asked(scene, scene->alice, UNIT, NULL, 0);
        user_free(another);
        fake_polkit_stop();
}

/* A thing that holds must not be used for another: what is decided for Open is not for Free. */
static void test_actions(Scene *scene, const void *unused) {
        Reply named;

        (void) unused;
        fake_polkit_start();
        named = user_get(scene->bob, UNIT, "name=bobs");
        (void) fake_polkit_take_questions();
        for (unsigned i = 0; i < 2; i++) {
                Reply reply = user_open(scene->carol, "bobs", NULL);

                reply_assert(reply, "");
                user_drop(scene->carol, reply.slot);
                g_assert_cmpuint(fake_polkit_take_questions(), ==, i == 0);
        }
        reply_assert(user_open(scene->carol, "bobs", "read-only=1"), "");
        g_assert_cmpuint(fake_polkit_take_questions(), ==, 1);
        fake_polkit_set_answer(FAKE_NO);
        reply_assert(user_open(scene->carol, "bobs", NULL), "");
        reply_assert(user_release(scene->carol, named.object), "NotAuthorized");
        g_assert_cmpuint(fake_polkit_take_questions(), ==, 1);
        fake_polkit_set_answer(FAKE_YES);
        reply_assert(user_release(scene->carol, named.object), "");
        user_drop_all(scene->carol);
        fake_polkit_stop();
}

/* Everything but a plain yes of the rules is asked for each time. */
static void test_plain(Scene *scene, const void *unused) {
        static const struct {
                FakeAnswer answer;
                const char *error;
        } refusals[] = {
                { FAKE_NO, "NotAuthorized" },
                { FAKE_CHALLENGE, "AuthenticationRequired" },
                { FAKE_ERROR, "AuthorityUnavailable" },
        };

        (void) unused;
        fake_polkit_start();
        for (size_t i = 0; i < G_N_ELEMENTS(refusals); i++) {
                fake_polkit_set_answer(refusals[i].answer);
                for (unsigned n = 0; n < 3; n++) {
                        reply_assert(user_allocate(scene->alice, UNIT, 1, NULL), refusals[i].error);
                        g_assert_cmpuint(fake_polkit_take_questions(), ==, 1);
                }
        }

        fake_polkit_set_answer(FAKE_TEMPORARY);
        for (unsigned n = 0; n < 3; n++)
                assert_asked(scene, scene->alice, UNIT, NULL, 1);
        fake_polkit_set_answer(FAKE_RETAINED);
        for (unsigned n = 0; n < 3; n++)
                assert_asked(scene, scene->alice, UNIT, NULL, 1);

        fake_polkit_set_answer(FAKE_YES);
        assert_asked(scene, scene->alice, UNIT, NULL, 1);
        assert_asked(scene, scene->alice, UNIT, NULL, 0);
        fake_polkit_stop();
}

static void get_interactively(Scene *scene, unsigned questions, unsigned dialogs) {
        Reply reply;

        user_begin_interactive_allocate(scene->alice, UNIT, 1, NULL);
        reply = user_end_reply(scene->alice);
        reply_assert(reply, "");
        g_assert_cmpuint(fake_polkit_take_questions(), ==, questions);
        g_assert_cmpuint(fake_polkit_take_dialogs(), ==, dialogs);
        user_drop(scene->alice, reply.slot);
        g_assert_true(allocation_wait_gone(scene->root, reply.object));
}

/* What a person has said is said once. What the rules say does not depend on whether there is somebody to ask. */
static void test_dialog(Scene *scene, const void *unused) {
        (void) unused;
        fake_polkit_start();
        fake_polkit_set_answer(FAKE_CHALLENGE);
        for (unsigned n = 0; n < 3; n++)
                get_interactively(scene, 2, 1);
        reply_assert(user_allocate(scene->alice, UNIT, 1, NULL), "AuthenticationRequired");

        (void) fake_polkit_take_questions();
        fake_polkit_set_answer(FAKE_YES);
        get_interactively(scene, 1, 0);
        get_interactively(scene, 0, 0);
        assert_asked(scene, scene->alice, UNIT, NULL, 0);
        fake_polkit_stop();
}

/* ---- What makes it void ---- */

static void test_changed(Scene *scene, const void *unused) {
        (void) unused;
        fake_polkit_start();
        for (unsigned n = 0; n < 3; n++) {
                assert_asked(scene, scene->alice, UNIT, NULL, 1);
                assert_asked(scene, scene->alice, UNIT, NULL, 0);
                fake_polkit_change();
        }
        fake_polkit_set_answer(FAKE_NO);
        reply_assert(user_allocate(scene->alice, UNIT, 1, NULL), "NotAuthorized");
        fake_polkit_stop();
}

/* It says yes, then that something has changed; only the order of the two on their way is another. */
static void test_overtaken(Scene *scene, const void *unused) {
        Reply reply;

        (void) unused;
        fake_polkit_start();
        fake_polkit_hold();
        user_begin_allocate(scene->alice, UNIT, 1, NULL);
        fake_polkit_wait_held(1);
        fake_polkit_change();
        fake_polkit_release();
        reply = user_end_reply(scene->alice);
        reply_assert(reply, "");
        user_drop(scene->alice, reply.slot);
        g_assert_true(allocation_wait_gone(scene->root, reply.object));
        assert_asked(scene, scene->alice, UNIT, NULL, 1);
        assert_asked(scene, scene->alice, UNIT, NULL, 0);

        /* the same with a configuration that is read meanwhile */
        fake_polkit_hold();
        user_begin_allocate(scene->bob, UNIT, 1, NULL);
        fake_polkit_wait_held(1);
        broker_reload(scene->broker);
        fake_polkit_release();
        reply = user_end_reply(scene->bob);
        reply_assert(reply, "");
        user_drop(scene->bob, reply.slot);
        g_assert_true(allocation_wait_gone(scene->root, reply.object));
        assert_asked(scene, scene->bob, UNIT, NULL, 1);
        fake_polkit_stop();
}

static void test_reload(Scene *scene, const void *unused) {
        (void) unused;
        fake_polkit_start();
        assert_asked(scene, scene->alice, UNIT, NULL, 1);
        assert_asked(scene, scene->alice, UNIT, NULL, 0);
        broker_reload(scene->broker);
        assert_asked(scene, scene->alice, UNIT, NULL, 1);
        assert_asked(scene, scene->alice, UNIT, NULL, 0);

        broker_configure(scene->broker, "[Broker]\nDecisionCacheSec=0\n" REGION);
        broker_reload(scene->broker);
        assert_asked(scene, scene->alice, UNIT, NULL, 1);
        assert_asked(scene, scene->alice, UNIT, NULL, 1);
        fake_polkit_stop();
}

/* Another polkit may think otherwise; and when there is none, there is no yes. */
static void test_owner(Scene *scene, const void *unused) {
        (void) unused;
        fake_polkit_start();
        assert_asked(scene, scene->alice, UNIT, NULL, 1);
        assert_asked(scene, scene->alice, UNIT, NULL, 0);
        fake_polkit_stop();
        polkit_set_rules("polkit.addRule(function(action, subject) { return polkit.Result.NO; });\n");
        scene->has_rules = true;
        reply_assert(user_allocate(scene->alice, UNIT, 1, NULL), "NotAuthorized");

        polkit_set_rules(POLKIT_EVERYBODY_ALLOCATES);
        get_once(scene, scene->alice, UNIT, NULL);
        polkit_kill();
        reply_assert(user_allocate(scene->alice, UNIT, 1, NULL), "AuthorityUnavailable");
        polkit_start();
}

/* The same with polkitd and the rules that are shipped: once they have said yes, nobody needs it for a while. */
static void test_silent(Scene *scene, const void *unused) {
        (void) unused;
        polkit_kill(); /* it may still have to say that earlier rules have changed */
        polkit_start();
        get_once(scene, scene->alice, UNIT, NULL);
        polkit_freeze();
        for (unsigned i = 0; i < 10; i++) {
                user_drop(scene->alice, user_get(scene->alice, UNIT, NULL).slot);
                g_assert_cmpuint(region_wait("dram", "Available", scene->before.available), ==, scene->before.available);
        }
        polkit_thaw();
}

/* polkitd itself tells of rules that are new. */
static void test_rules(Scene *scene, const void *unused) {
        (void) unused;
        for (unsigned n = 0; n < 3; n++) {
                scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
                get_once(scene, scene->bob, UNIT, NULL);
                scene_set_rules(scene, "polkit.addRule(function(action, subject) { return polkit.Result.NO; });\n");
                reply_assert(user_allocate(scene->bob, UNIT, 1, NULL), "NotAuthorized");
        }
}

static int64_t do_pretend(UserCall *call) {
        sd_bus_message *message = NULL;
        int r;

        (void) call;
        r = sd_bus_message_new_signal(user_bus(), &message, "/org/freedesktop/PolicyKit1/Authority",
                                      "org.freedesktop.PolicyKit1.Authority", "Changed");
        if (r >= 0)
                r = sd_bus_message_set_destination(message, "org.daxbroker1");
        if (r >= 0)
                r = sd_bus_send(user_bus(), message, NULL);
        if (r >= 0)
                r = sd_bus_flush(user_bus());
        sd_bus_message_unref(message);
        return r;
}

/* Nobody else's word makes it void: that would be a way to have polkit asked all the time. */
static void test_pretender(Scene *scene, const void *unused) {
        (void) unused;
        fake_polkit_start();
        assert_asked(scene, scene->alice, UNIT, NULL, 1);
        g_assert_cmpint(user_call(scene->bob, do_pretend, NULL, 0, NULL, 0), >=, 0);
        reply_assert(user_get_allocation(scene->bob, "nothing"), "NoSuchAllocation"); /* it has been read */
        assert_asked(scene, scene->alice, UNIT, NULL, 0);
        fake_polkit_stop();
}

static void test_lifetime(Scene *scene, const void *unused) {
        gint64 begin;

        (void) unused;
        broker_configure(scene->broker, "[Broker]\nDecisionCacheSec=1\n" REGION);
        broker_reload(scene->broker);
        fake_polkit_start();
        begin = g_get_monotonic_time();
        get_once(scene, scene->alice, UNIT, NULL);
        while (g_get_monotonic_time() - begin < G_USEC_PER_SEC * 11 / 10) {
                get_once(scene, scene->alice, UNIT, NULL); /* using it makes it last no longer */
                g_usleep(50000);
        }
        get_once(scene, scene->alice, UNIT, NULL);
        g_assert_cmpuint(fake_polkit_take_questions(), >=, 2);
        fake_polkit_stop();
}

/* A rule about sums holds also for who asks for the same again and again. */
static void test_sum(Scene *scene, const void *unused) {
        unsigned n = 0;

        (void) unused;
        scene_set_rules(scene, "polkit.addRule(function(action, subject) {\n"
                               "    return Number(action.lookup('held-mib')) + Number(action.lookup('size-mib')) <= 10 ?\n"
                               "           polkit.Result.YES : polkit.Result.NO;\n"
                               "});\n");
        for (unsigned round = 0; round < 3; round++) {
                Reply reply;

                for (n = 0; reply = user_allocate(scene->alice, UNIT, 1, NULL), g_str_equal(reply.error, ""); n++)
                        ;
                reply_assert(reply, "NotAuthorized");
                g_assert_cmpuint(n, ==, 5);
                user_drop_all(scene->alice);
                g_assert_cmpuint(region_wait("dram", "Available", scene->before.available), ==, scene->before.available);
        }
}

int main(int argc, char **argv) {
        static const struct {
                const char *name;
                void (*test)(Scene *scene, const void *unused);
        } tests[] = {
                { "/decision/same", test_same },
                { "/decision/actions", test_actions },
                { "/decision/plain", test_plain },
                { "/decision/dialog", test_dialog },
                { "/decision/changed", test_changed },
                { "/decision/overtaken", test_overtaken },
                { "/decision/reload", test_reload },
                { "/decision/owner", test_owner },
                { "/decision/silent", test_silent },
                { "/decision/rules", test_rules },
                { "/decision/pretender", test_pretender },
                { "/decision/lifetime", test_lifetime },
                { "/decision/sum", test_sum },
        };

        world_init(&argc, &argv);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add(tests[i].name, Scene, FOREVER, scene_set_up, tests[i].test, scene_tear_down);
        return g_test_run();
}
