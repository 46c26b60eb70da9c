/* SPDX-License-Identifier: MIT */

/* Memory that is reserved for one user: asked for once, charged once, nobody in its way, and nothing of it lost or counted
 * twice whatever ends first. */

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "fake-polkit.h"
#include "memory.h"
#include "polkit.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

#define CONFIGURATION "[Broker]\nDecisionCacheSec=0\n[Region dram]\nSize=256M\n[Region other]\nProvider=memfd\nSize=64M\n"

static Reply reserve(User *user, uint64_t size) {
        Reply reply = user_reserve(user, size, NULL);

        reply_assert(reply, "");
        g_assert_cmpuint(reply.length, ==, size);
        return reply;
}

static Reply get(User *user, const Reply *grant, uint64_t size) {
        Reply reply = user_allocate_from(user, grant, size, NULL);

        reply_assert(reply, "");
        g_assert_cmpuint(reply.length, ==, provider_length(size));
        return reply;
}

static void assert_left(User *user, const Reply *grant, uint64_t bytes) {
        g_assert_cmpuint(grant_get(user, grant->object, "Available"), ==, bytes);
        g_assert_cmpuint(grant_get(user, grant->object, "LargestAvailable"), ==, bytes);
}

static bool is_listed(User *user, const Reply *grant) {
        g_autofree char *list = user_list_grants(user);

        return strstr(list, grant->object);
}

static void drop(Scene *scene, User *user, const Reply *reply) {
        user_drop(user, reply->slot);
        g_assert_true(allocation_wait_gone(scene->root, reply->object));
}

/* ---- Its life ---- */

static void test_life(Scene *scene, const void *unused) {
        uint64_t all = scene->before.available;
        Reply grant = reserve(scene->alice, 16 * MIB), one, two;
        g_autofree char *of = NULL, *after = NULL;

        (void) unused;
        g_assert_cmpuint(region_get("dram", "Available"), ==, all - 16 * MIB);
        g_assert_cmpuint(region_get("dram", "Granted"), ==, 16 * MIB);
        g_assert_cmpuint(grant_get(scene->alice, grant.object, "Size"), ==, 16 * MIB);
        g_assert_cmpuint(grant_get(scene->alice, grant.object, "Owner"), ==, world_get_uid("alice"));
        assert_left(scene->alice, &grant, 16 * MIB);

        one = get(scene->alice, &grant, 4 * MIB);
        two = get(scene->alice, &grant, 12 * MIB);
        assert_left(scene->alice, &grant, 0);
        g_assert_cmpuint(region_get("dram", "Available"), ==, all - 16 * MIB);
        g_assert_cmpuint(region_get("dram", "Granted"), ==, 0);
        g_assert_cmpint(user_map(scene->alice, one.slot), ==, 0);
        g_assert_cmpint(user_fill(scene->alice, one.slot, 1), ==, 0);
        of = allocation_get_string(scene->alice, one.object, "Grant");
        g_assert_cmpstr(of, ==, grant.object);

        /* what ends before it goes back to it, and is clean */
        drop(scene, scene->alice, &two);
        assert_left(scene->alice, &grant, 12 * MIB);
        g_assert_cmpuint(region_get("dram", "Available"), ==, all - 16 * MIB);
        two = get(scene->alice, &grant, 12 * MIB);
        g_assert_cmpint(user_map(scene->alice, two.slot), ==, 0);
        g_assert_cmpint(user_is_filled(scene->alice, two.slot, 0), ==, 1);
        drop(scene, scene->alice, &two);

        /* what is there when it ends stays, and the rest is everybody's */
        user_drop(scene->alice, grant.slot);
        g_assert_cmpuint(region_wait("dram", "Available", all - 4 * MIB), ==, all - 4 * MIB);
        g_assert_cmpuint(region_get("dram", "Granted"), ==, 0);
        g_assert_false(is_listed(scene->alice, &grant));
        reply_assert(user_allocate_from(scene->alice, &grant, MIB, NULL), "NoSuchGrant");
        g_assert_cmpint(user_is_filled(scene->alice, one.slot, 1), ==, 1);
        after = allocation_get_string(scene->alice, one.object, "Grant");
        g_assert_cmpstr(after, ==, "");
        drop(scene, scene->alice, &one);
        g_assert_cmpuint(region_wait("dram", "Available", all), ==, all);
}

static void test_release(Scene *scene, const void *unused) {
        uint64_t all = scene->before.available;
        Reply grant = reserve(scene->alice, 16 * MIB), one = get(scene->alice, &grant, 4 * MIB);

        (void) unused;
        reply_assert(user_release_grant(scene->bob, grant.object), "AuthenticationRequired");
        reply_assert(user_release_grant(scene->alice, grant.object), "");
        g_assert_cmpuint(region_get("dram", "Available"), ==, all - 4 * MIB);
        reply_assert(user_release_grant(scene->alice, grant.object), "NoSuchGrant");
        user_drop(scene->alice, grant.slot);
        drop(scene, scene->alice, &one);

        /* root may do it for somebody else; what is being made then is finished */
        grant = reserve(scene->carol, 16 * MIB);
        reply_assert(user_release_grant(scene->root, grant.object), "");
        g_assert_cmpuint(region_wait("dram", "Available", all), ==, all);
}

/* Each copy of the lease counts, wherever it is. */
static void test_lease(Scene *scene, const void *unused) {
        Reply grant = reserve(scene->alice, 16 * MIB);
        User *another = user_new("alice");
        int slot;

        (void) unused;
        slot = user_give(scene->alice, grant.slot, scene->carol);
        (void) user_fork_child(scene->alice);
        user_drop(scene->alice, grant.slot);
        g_assert_true(is_listed(scene->alice, &grant));
        /* it is the user's, not the process's */
        user_drop(another, get(another, &grant, MIB).slot);
        user_end_children(scene->alice);
        g_assert_true(is_listed(scene->alice, &grant));
        reply_assert(user_allocate_from(scene->carol, &grant, MIB, NULL), "NotAuthorized");
        user_drop(scene->carol, slot);
        g_assert_true(wait_until(20, !is_listed(scene->alice, &grant)));
        user_free(another);

        /* who dies lets go */
        another = user_new("alice");
        grant = reserve(another, 16 * MIB);
        user_kill(another);
        g_assert_true(wait_until(20, !is_listed(scene->alice, &grant)));
        user_free(another);
}

/* ---- Its promise ---- */

/* Others have all there is; what was promised is there. */
static void test_promise(Scene *scene, const void *unused) {
        uint64_t all = scene->before.available;
        Reply grant = reserve(scene->alice, 64 * MIB), pieces[32];

        (void) unused;
        for (unsigned round = 0; round < 3; round++) {
                user_drop(scene->root, user_get(scene->root, all - 64 * MIB, NULL).slot);
                g_assert_cmpuint(region_wait("dram", "Available", all - 64 * MIB), ==, all - 64 * MIB);
        }
        (void) user_get(scene->root, all - 64 * MIB, NULL);
        reply_assert(user_allocate(scene->root, 1, 1, NULL), "NoSpace");
        reply_assert(user_allocate(scene->alice, 1, 1, NULL), "NoSpace");
        for (unsigned round = 0; round < 2; round++) {
                for (unsigned i = 0; i < G_N_ELEMENTS(pieces); i++)
                        pieces[i] = get(scene->alice, &grant, 2 * MIB);
                reply_assert(user_allocate_from(scene->alice, &grant, 1, NULL), "NoSpace");
                footprint_assert_sums(scene->root);
                for (unsigned i = 0; i < G_N_ELEMENTS(pieces); i++)
                        drop(scene, scene->alice, &pieces[(i * 7) % G_N_ELEMENTS(pieces)]);
        }
        assert_left(scene->alice, &grant, 64 * MIB);
        (void) get(scene->alice, &grant, 64 * MIB);
}

/* More of it is asked for while some of it is on its way back: that is waited for. What is not on its way back is not. */
static void test_settling(Scene *scene, const void *unused) {
        Reply grant = reserve(scene->alice, 64 * MIB), one = get(scene->alice, &grant, 64 * MIB);
        gint64 began;

        (void) unused;
        for (unsigned round = 0; round < 10; round++) {
                g_assert_cmpint(user_map(scene->alice, one.slot), ==, 0);
                g_assert_cmpint(user_fill(scene->alice, one.slot, 1), ==, 0);
                user_drop(scene->alice, one.slot);
                one = get(scene->alice, &grant, 64 * MIB);
        }
        began = g_get_monotonic_time();
        reply_assert(user_allocate_from(scene->alice, &grant, 64 * MIB, NULL), "NoSpace");
        g_assert_cmpint(g_get_monotonic_time() - began, <, 10 * G_USEC_PER_SEC); /* who waits for space waits for 15 */
}

/* Also if the region has become smaller than what there is in it. */
static void test_smaller(Scene *scene, const void *unused) {
        Reply grant;

        (void) unused;
        skip_on_devices("the size of a device is what it is");
        grant = reserve(scene->alice, 64 * MIB);
        broker_configure(scene->broker, "[Region dram]\nSize=8M\n[Quota]\nMaxBytes=1M\n");
        broker_reload(scene->broker);
        reply_assert(user_allocate(scene->alice, MIB, 1, NULL), "QuotaExceeded");
        (void) get(scene->alice, &grant, 64 * MIB);
        broker_configure(scene->broker, "[Region dram]\nEnabled=no\n");
        broker_reload(scene->broker);
        reply_assert(user_allocate_from(scene->alice, &grant, MIB, NULL), "RegionUnusable");
        broker_configure(scene->broker, CONFIGURATION);
        broker_reload(scene->broker);
}

/* ---- Questions ---- */

static void test_asked_once(Scene *scene, const void *unused) {
        Reply grant;

        (void) unused;
        fake_polkit_start();
        grant = reserve(scene->alice, 64 * MIB);
        g_assert_cmpuint(fake_polkit_take_questions(), ==, 1);
        fake_polkit_set_answer(FAKE_NO);
        for (unsigned i = 0; i < 32; i++)
                (void) get(scene->alice, &grant, 2 * MIB);
        g_assert_cmpuint(fake_polkit_take_questions(), ==, 0);
        reply_assert(user_reserve(scene->alice, 1, NULL), "NotAuthorized");
        reply_assert(user_allocate(scene->alice, 1, 1, NULL), "NotAuthorized");
        fake_polkit_set_answer(FAKE_YES);
        fake_polkit_stop();
}

/* A rule can tell one from an allocation, and sees the sum. */
static void test_details(Scene *scene, const void *unused) {
        Reply grant;

        (void) unused;
        scene_set_rules(scene, "polkit.addRule(function(action, subject) {\n"
                               "    if (action.id == 'org.daxbroker1.allocate' && action.lookup('grant') == 'true' &&\n"
                               "        action.lookup('size') == '16777216' && action.lookup('region') == 'dram' &&\n"
                               "        action.lookup('alignment') == '2097152' && action.lookup('name') == '' &&\n"
                               "        action.lookup('held') == '0')\n"
                               "        return polkit.Result.YES;\n"
                               "    return polkit.Result.NO;\n"
                               "});\n");
        reply_assert(user_allocate(scene->alice, 16 * MIB, 2 * MIB, NULL), "NotAuthorized");
        reply_assert(user_reserve(scene->alice, 16 * MIB, NULL), "NotAuthorized");
        grant = user_reserve(scene->alice, 16 * MIB, "alignment=2097152");
        reply_assert(grant, "");
        reply_assert(user_reserve(scene->alice, 16 * MIB, "alignment=2097152"), "NotAuthorized"); /* it is held by now */
        (void) get(scene->alice, &grant, 16 * MIB);
}

/* ---- Quotas ---- */

static void test_quota(Scene *scene, const void *unused) {
        Reply grant, reply;

        (void) unused;
        broker_configure(scene->broker, "[Region dram]\nSize=256M\n[Quota]\nMaxBytes=64M\nMaxAllocations=4\n");
        broker_reload(scene->broker);
        reply_assert(user_reserve(scene->alice, 64 * MIB + 1, NULL), "QuotaExceeded");
        grant = reserve(scene->alice, 48 * MIB);
        reply_assert(user_reserve(scene->alice, 16 * MIB + 1, NULL), "QuotaExceeded");
        reply_assert(user_allocate(scene->alice, 16 * MIB + 1, 1, NULL), "QuotaExceeded");
        reply = user_get(scene->alice, 16 * MIB, NULL);

        /* what is taken from it is charged once; a grant counts as one, and so does each that is taken */
        (void) get(scene->alice, &grant, 32 * MIB);
        (void) get(scene->alice, &grant, 2 * MIB);
        reply = user_allocate_from(scene->alice, &grant, 2 * MIB, NULL);
        reply_assert(reply, "QuotaExceeded");
        assert_says(reply.message, "MaxAllocations");
        reply_assert(user_reserve(scene->alice, 1, NULL), "QuotaExceeded");

        /* when it ends, what was taken is still his */
        reply_assert(user_release_grant(scene->alice, grant.object), "");
        reply = user_allocate(scene->alice, 16 * MIB, 1, NULL);
        reply_assert(reply, "QuotaExceeded");
        assert_says(reply.message, "holds 50 MiB, 14 MiB are left");
        (void) user_get(scene->alice, 14 * MIB, NULL);
        broker_configure(scene->broker, CONFIGURATION);
        broker_reload(scene->broker);
}

/* ---- What is refused ---- */

static void test_refusals(Scene *scene, const void *unused) {
        Reply grant = reserve(scene->alice, 16 * MIB), reply;
        g_autofree char *none = g_strdup("grant=/org/daxbroker1/grant/0123456789abcdef");

        (void) unused;
        reply_assert(user_reserve(scene->alice, 0, NULL), "BadSize");
        reply_assert(user_reserve(scene->alice, UINT64_MAX, NULL), "BadSize");
        reply_assert(user_reserve(scene->alice, 1, "alignment=3"), "BadAlignment");
        reply_assert(user_reserve(scene->alice, 1, "alignment=0"), "BadAlignment");
        reply_assert(user_reserve(scene->alice, 1, "region=nowhere"), "NoSuchRegion");
        reply_assert(user_reserve(scene->alice, 1, "name=scratch"), "BadOption");
        reply_assert(user_reserve(scene->alice, 1, "page-size=5"), "BadOption");
        if (!provider_is_files())
                reply_assert(user_reserve(scene->alice, 1, "persistent=1"), "BadOption");
        reply_assert(user_reserve(scene->alice, 1, "region=dram prefer=capacity"), "BadOption");
        reply_assert(user_reserve(scene->alice, UINT64_C(1) << 40, NULL), "NoSpace");
        reply_assert(user_reserve(scene->bob, 1, NULL), "NotAuthorized");

        reply_assert(user_allocate(scene->alice, 1, 1, none), "NoSuchGrant");
        reply_assert(user_allocate(scene->alice, 1, 1, "grant=/"), "NoSuchGrant");
        reply_assert(user_allocate(scene->alice, 1, 1, "grant/s=x"), "BadOption");
        reply_assert(user_check(scene->alice, 1, 1, none), "NoSuchGrant");
        reply_assert(user_allocate_from(scene->bob, &grant, 1, NULL), "NotAuthorized");
        /* polkit allows root everything, and this is not asked */
        reply_assert(user_allocate_from(scene->root, &grant, 1, NULL), "NotAuthorized");
        reply_assert(user_allocate_from(scene->alice, &grant, 1, "prefer=capacity"), "BadOption");
        reply_assert(user_allocate_from(scene->alice, &grant, 1, "region=other"), "BadOption");
        reply_assert(user_allocate_from(scene->alice, &grant, 1, "persistent=1 name=p"),
                     provider_is_files() ? "NotAuthorized" : "BadOption");
        reply = user_allocate_from(scene->alice, &grant, 16 * MIB + 1, NULL);
        reply_assert(reply, "NoSpace");
        assert_says(reply.message, "the grant has 16 MiB left of 16 MiB");
        (void) get(scene->alice, &grant, 10 * MIB);
        reply = user_allocate_from(scene->alice, &grant, 8 * MIB, NULL);
        reply_assert(reply, "NoSpace");
        assert_says(reply.message, "the grant has 6 MiB left of 16 MiB, 8 MiB were asked for");
        reply = user_check(scene->alice, 8 * MIB, 1, NULL);
        reply_assert(reply, "");
        reply_assert(user_allocate_from(scene->alice, &grant, MIB, "region=dram"), "");
}

/* Named ones belong to nobody else, and to no one's grant but this. */
static void test_named(Scene *scene, const void *unused) {
        Reply grant = reserve(scene->alice, 16 * MIB), reply;
        Reply named = user_allocate_from(scene->alice, &grant, 4 * MIB, "name=scratch");

        (void) unused;
        reply_assert(named, "");
        user_drop(scene->alice, named.slot);
        reply = user_set_owner(scene->root, named.object, world_get_uid("bob"), NULL);
        reply_assert(reply, "Busy");
        assert_says(reply.message, "release that first");
        reply_assert(user_rename(scene->alice, named.object, "renamed"), "");
        reply_assert(user_release(scene->alice, named.object), "");
        user_let_go(scene->alice, -1);
        g_assert_true(wait_until(20, grant_get(scene->alice, grant.object, "Available") == 16 * MIB));

        named = user_allocate_from(scene->alice, &grant, 4 * MIB, "name=scratch");
        reply_assert(named, "");
        user_drop(scene->alice, grant.slot);
        g_assert_true(wait_until(20, !is_listed(scene->alice, &grant)));
        reply_assert(user_set_owner(scene->root, named.object, world_get_uid("bob"), NULL), "");
        reply_assert(user_open(scene->bob, "scratch", NULL), "");
        user_drop_all(scene->bob);
}

/* ---- Who sees it ---- */

static char *managed_objects(User *user);

static int64_t do_managed(UserCall *call) {
        sd_bus_message *reply = NULL;
        GString *text = g_string_new(NULL);
        const char *path;

        g_assert_cmpint(sd_bus_call_method(user_bus(), "org.daxbroker1", "/org/daxbroker1", "org.freedesktop.DBus.ObjectManager",
                                           "GetManagedObjects", NULL, &reply, NULL), >=, 0);
        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "{oa{sa{sv}}}"), >, 0);
        while (sd_bus_message_enter_container(reply, 'e', "oa{sa{sv}}") > 0) {
                g_assert_cmpint(sd_bus_message_read(reply, "o", &path), >, 0);
                g_string_append_printf(text, "%s\n", path);
                g_assert_cmpint(sd_bus_message_skip(reply, "a{sa{sv}}"), >, 0);
                g_assert_cmpint(sd_bus_message_exit_container(reply), >=, 0);
        }
        sd_bus_message_unref(reply);
        call->answer_size = text->len + 1;
        memcpy(call->answer, text->str, call->answer_size);
        g_string_free(text, TRUE);
        return 0;
}

static char *managed_objects(User *user) {
        char *text = g_malloc(USER_DATA_MAX);

        user_call(user, do_managed, NULL, 0, text, USER_DATA_MAX);
        return text;
}

static bool is_managed(User *user, const Reply *grant) {
        g_autofree char *objects = managed_objects(user);

        return strstr(objects, grant->object);
}

static void test_visibility(Scene *scene, const void *unused) {
        Reply grant = reserve(scene->alice, 16 * MIB);
        g_autofree char *error = NULL;

        (void) unused;
        g_assert_true(is_listed(scene->alice, &grant) && is_managed(scene->alice, &grant));
        g_assert_true(is_listed(scene->root, &grant) && is_managed(scene->root, &grant));
        g_assert_false(is_listed(scene->bob, &grant) || is_managed(scene->bob, &grant));
        g_assert_cmpuint(grant_get(scene->root, grant.object, "Size"), ==, 16 * MIB);
        error = grant_get_error(scene->bob, grant.object, "Size");
        g_assert_cmpstr(error, ==, "org.daxbroker1.Error.AuthenticationRequired");
        g_free(error);
        user_drop(scene->alice, grant.slot);
        g_assert_true(wait_until(20, !is_listed(scene->root, &grant)));
        error = grant_get_error(scene->alice, grant.object, "Size");
        g_assert_cmpstr(error, ==, "org.daxbroker1.Error.NoSuchGrant");
}

static void test_log(Scene *scene, const void *unused) {
        size_t mark = broker_mark_log(scene->broker);
        g_autofree char *reserved = NULL, *taken = NULL, *released = NULL, *refused = NULL;
        Reply grant = reserve(scene->alice, 16 * MIB);
        const char *id = strrchr(grant.object, '/') + 1;

        (void) unused;
        (void) get(scene->alice, &grant, 2 * MIB);
        reply_assert(user_allocate_from(scene->alice, &grant, 16 * MIB, NULL), "NoSpace");
        user_drop(scene->alice, grant.slot);
        reserved = g_strdup_printf("16 MiB reserved.*EVENT=reserve.*GRANT=%s.*org.daxbroker1.allocate: yes", id);
        taken = g_strdup_printf("2 MiB granted.*GRANT=%s.*DECISION=grant", id);
        refused = g_strdup_printf("Allocate refused: the grant has 14 MiB left.*GRANT=%s", id);
        released = g_strdup_printf("16 MiB are no longer reserved: the last holder.*EVENT=release.*GRANT=%s", id);
        g_assert_true(broker_wait_log(scene->broker, mark, reserved));
        g_assert_true(broker_wait_log(scene->broker, mark, taken));
        g_assert_true(broker_wait_log(scene->broker, mark, refused));
        g_assert_true(broker_wait_log(scene->broker, mark, released));
}

/* ---- What outlives the broker ---- */

static void (*const restarts[])(Broker *broker) = { broker_restart, broker_kill };

static void restart(Scene *scene, size_t how) {
        restarts[how](scene->broker);
        if (restarts[how] == broker_kill)
                broker_start(scene->broker);
}

static void test_restart(Scene *scene, const void *unused) {
        uint64_t all = scene->before.available;

        (void) unused;
        for (size_t how = 0; how < 2; how++) {
                Reply grant = reserve(scene->alice, 16 * MIB), other = reserve(scene->carol, 8 * MIB), one, two;

                one = get(scene->alice, &grant, 4 * MIB);
                two = get(scene->carol, &other, 8 * MIB);
                g_assert_cmpint(user_map(scene->alice, one.slot), ==, 0);
                g_assert_cmpint(user_fill(scene->alice, one.slot, 7), ==, 0);
                restart(scene, how);

                g_assert_cmpuint(region_get("dram", "Available"), ==, all - 24 * MIB);
                g_assert_cmpuint(region_get("dram", "Granted"), ==, 12 * MIB);
                g_assert_cmpuint(grant_get(scene->alice, grant.object, "Size"), ==, 16 * MIB);
                assert_left(scene->alice, &grant, 12 * MIB);
                assert_left(scene->carol, &other, 0);
                g_assert_cmpint(user_is_filled(scene->alice, one.slot, 7), ==, 1);
                drop(scene, scene->alice, &one);
                assert_left(scene->alice, &grant, 16 * MIB);
                one = get(scene->alice, &grant, 16 * MIB);

                /* what ends while nobody looks */
                broker_stop(scene->broker);
                user_drop(scene->alice, grant.slot);
                user_drop(scene->carol, two.slot);
                broker_start(scene->broker);
                g_assert_true(wait_until(20, !is_listed(scene->root, &grant)));
                g_assert_true(wait_until(20, grant_get(scene->carol, other.object, "Available") == 8 * MIB));
                g_assert_cmpuint(region_wait("dram", "Available", all - 24 * MIB), ==, all - 24 * MIB);
                drop(scene, scene->alice, &one);
                g_assert_cmpuint(region_wait("dram", "Available", all - 8 * MIB), ==, all - 8 * MIB);
                user_drop_all(scene->alice);
                user_drop_all(scene->carol);
                g_assert_cmpuint(region_wait("dram", "Available", all), ==, all);
        }
}

/* Everything goes on while it is killed again and again; in the end the sums are right. */
static void test_kills(Scene *scene, const void *unused) {
        uint64_t all = scene->before.available;
        unsigned n_granted = 0;

        (void) unused;
        for (unsigned round = 0; round < provider_rounds(20); round++) {
                Reply grant, one = { .slot = -1 };

                user_begin_reserve(scene->alice, 16 * MIB, NULL);
                g_usleep(round % 5 * 1000);
                if (round % 2 == 0) {
                        broker_kill(scene->broker);
                        broker_start(scene->broker);
                }
                grant = user_end_reply(scene->alice);
                if (g_str_equal(grant.error, "")) {
                        n_granted++;
                        g_assert_true(is_listed(scene->alice, &grant));
                        assert_left(scene->alice, &grant, 16 * MIB);
                        user_begin_allocate(scene->alice, UNIT, 1, ({
                                static char options[128];

                                g_snprintf(options, sizeof(options), "grant=%s", grant.object);
                                options;
                        }));
                        g_usleep(round % 7 * 500);
                        broker_kill(scene->broker);
                        broker_start(scene->broker);
                        one = user_end_reply(scene->alice);
                        g_assert_cmpuint(region_wait("dram", "Available", all - 16 * MIB), ==, all - 16 * MIB);
                }
                user_drop_all(scene->alice);
                g_assert_cmpuint(region_wait("dram", "Available", all), ==, all);
                g_assert_cmpuint(region_get("dram", "Granted"), ==, 0);
                (void) one;
        }
        g_assert_cmpuint(n_granted, >, 0);
}

/* Records that were damaged cost their grant, and nothing else. */
static void test_records(Scene *scene, const void *unused) {
        Reply grant = reserve(scene->alice, 16 * MIB), one = get(scene->alice, &grant, 4 * MIB);
        g_autofree char *path = g_build_filename(scene->broker->runtime, "grants", strrchr(grant.object, '/') + 1, NULL);
        uint64_t all = scene->before.available;

        (void) unused;
        g_assert_cmpint(user_map(scene->alice, one.slot), ==, 0);
        broker_stop(scene->broker);
        g_assert_true(g_file_set_contents(path, "nonsense", -1, NULL));
        broker_start(scene->broker);
        g_assert_cmpuint(region_get("dram", "Available"), ==, all - 4 * MIB);
        reply_assert(user_allocate_from(scene->alice, &grant, MIB, NULL), "NoSuchGrant");
        g_assert_cmpint(user_is_filled(scene->alice, one.slot, 0), ==, 1);
        g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
        user_drop(scene->alice, grant.slot);
        drop(scene, scene->alice, &one);
}

/* Who leaves before he gets it has nothing. */
static void test_gone(Scene *scene, const void *unused) {
        (void) unused;
        for (unsigned round = 0; round < 10; round++) {
                User *guest = user_new("alice");

                (void) user_get_allocation(guest, "nothing");
                user_begin_reserve(guest, 64 * MIB, NULL);
                g_usleep(round * 200);
                user_kill(guest);
                user_free(guest);
                g_assert_cmpuint(region_wait("dram", "Available", scene->before.available), ==, scene->before.available);
        }
}

static void test_many(Scene *scene, const void *unused) {
        Reply grants[64];

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(grants); i++)
                grants[i] = reserve(i % 2 ? scene->alice : scene->carol, 2 * MIB);
        for (size_t i = 0; i < G_N_ELEMENTS(grants); i++)
                (void) get(i % 2 ? scene->alice : scene->carol, &grants[i], 2 * MIB);
        g_assert_cmpuint(region_get("dram", "Available"), ==, scene->before.available - 128 * MIB);
        footprint_assert_sums(scene->root);
        user_kill(scene->alice);
        scene->alice = user_free(scene->alice);
        scene->alice = user_new("alice");
        g_assert_cmpuint(region_wait("dram", "Available", scene->before.available - 64 * MIB), ==,
                         scene->before.available - 64 * MIB);
}

static void set_up(Scene *scene, const void *configuration) {
        scene_set_up(scene, configuration);
        scene_set_rules(scene, "polkit.addRule(function(action, subject) {\n"
                               "    if (action.id == 'org.daxbroker1.allocate' && subject.user == 'carol')\n"
                               "        return polkit.Result.YES;\n"
                               "});\n");
}

/* The kernel decides where namespaces lie, and what beside them is taken for page maps. */
static void test_unsupported(Scene *scene, const void *unused) {
        Reply reply = user_reserve(scene->alice, 16 * MIB, NULL);

        (void) unused;
        reply_assert(reply, "NotSupported");
        assert_says(reply.message, "the kernel's choice");
        reply_assert(user_reserve(scene->alice, UINT64_MAX, NULL), "BadSize");
}

int main(int argc, char **argv) {
        static const struct {
                const char *name;
                void (*test)(Scene *scene, const void *unused);
        } tests[] = {
                { "/grant/life", test_life },
                { "/grant/release", test_release },
                { "/grant/lease", test_lease },
                { "/grant/promise", test_promise },
                { "/grant/settling", test_settling },
                { "/grant/smaller", test_smaller },
                { "/grant/asked-once", test_asked_once },
                { "/grant/details", test_details },
                { "/grant/quota", test_quota },
                { "/grant/refusals", test_refusals },
                { "/grant/named", test_named },
                { "/grant/visibility", test_visibility },
                { "/grant/log", test_log },
                { "/grant/restart", test_restart },
                { "/grant/kills", test_kills },
                { "/grant/records", test_records },
                { "/grant/gone", test_gone },
                { "/grant/many", test_many },
        };

        world_init(&argc, &argv);
        if (provider_is_nvdimm()) {
                g_test_add("/grant/unsupported", Scene, CONFIGURATION, set_up, test_unsupported, scene_tear_down);
                return g_test_run();
        }
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add(tests[i].name, Scene, CONFIGURATION, set_up, tests[i].test, scene_tear_down);
        return g_test_run();
}
