/* SPDX-License-Identifier: MIT */

/* What is told of memory that comes and goes: nothing of what goes at once, unless somebody else was shown it; and
 * everything in the order in which it happened. */

#include <glib.h>
#include <string.h>

#include "memory.h"
#include "names.h"
#include "provider.h"
#include "scene.h"
#include "signals.h"
#include "world.h"

#define CONFIGURATION                                                                                                  \
        "[Region dram]\n"                                                                                              \
        "Size=256M\n"

#define ADDED "added %s " DAXBROKER_ALLOCATION_INTERFACE "(0)"
#define REMOVED "removed %s " DAXBROKER_ALLOCATION_INTERFACE
#define CHANGED "changed %s " DAXBROKER_ALLOCATION_INTERFACE

/* Memory that has a name is told of at once, and whatever was to be told before that has arrived then. */
static void hear_all(Scene *scene, User *listener) {
        Reply last = user_get(scene->alice, UNIT, "name=last");

        user_assert_hears(listener, ADDED, last.object);
        reply_assert(user_release(scene->alice, last.object), "");
        user_drop_all(scene->alice);
        user_assert_hears(listener, REMOVED, last.object);
}

/* Where in what was heard this is; 0 if it is not. */
static size_t place(const char *heard, const char *what, const char *object) {
        g_autofree char *line = g_strdup_printf("%s %s ", what, object);
        const char *found = strstr(heard, line);

        return found ? (size_t) (found - heard) + 1 : 0;
}

/* How soon it has to go depends on how fast all of us are; that some of it goes soon enough does not. */
static void test_brief(Scene *scene, gconstpointer unused) {
        User *listener = scene_listener(scene);
        unsigned n_untold = 0;

        (void) unused;
        skip_on_files("what ends slowly is told of at once");
        skip_on_devices("what ends slowly is told of at once");
        user_listen(listener);
        for (unsigned round = 0; n_untold == 0 && round < 10; round++) {
                g_autofree char *heard = NULL;
                Reply replies[10];

                for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++) {
                        replies[i] = user_get(scene->alice, UNIT, NULL);
                        reply_assert(user_release(scene->alice, replies[i].object), "");
                        user_drop_all(scene->alice);
                }
                hear_all(scene, listener);
                heard = user_get_heard(listener);
                for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++) {
                        size_t added = place(heard, "added", replies[i].object);
                        size_t removed = place(heard, "removed", replies[i].object);

                        g_assert_cmpint(added > 0, ==, removed > 0);
                        g_assert_cmpuint(added, <=, removed);
                        if (added == 0) {
                                g_assert_null(strstr(heard, replies[i].object));
                                n_untold++;
                        }
                }
        }
        g_assert_cmpuint(n_untold, >, 0);
}

/* Whoever is shown it has heard of it before the answer, and so hears of its end. */
static void assert_shown(Scene *scene, User *listener, const Reply *reply) {
        g_autofree char *heard = user_get_heard(listener);

        g_assert_cmpuint(place(heard, "added", reply->object), >, 0);
        reply_assert(user_release(scene->alice, reply->object), "");
        user_drop_all(scene->alice);
        user_assert_hears(listener, REMOVED, reply->object);
}

static void test_shown(Scene *scene, gconstpointer unused) {
        User *listener = scene_listener(scene);

        (void) unused;
        user_listen(listener);
        for (unsigned i = 0; i < 5; i++) {
                Reply reply = user_get(scene->alice, UNIT, NULL);
                g_autofree char *list = user_list(scene->root);

                g_assert_nonnull(strstr(list, reply.object));
                assert_shown(scene, listener, &reply);

                reply = user_get(scene->alice, UNIT, NULL);
                (void) allocation_get(scene->root, reply.object, "Length");
                assert_shown(scene, listener, &reply);

                reply = user_get(scene->alice, UNIT, NULL);
                reply_assert(user_open_object(scene->root, reply.object, NULL), "");
                user_drop_all(scene->root);
                assert_shown(scene, listener, &reply);
        }
}

/* Somebody else has ended it, or nobody: who asked for it, and whom he may have told, hears that. */
static void test_ended(Scene *scene, gconstpointer unused) {
        User *listener = scene_listener(scene);
        g_autofree char *heard = NULL;
        User *guest;
        Reply reply;

        (void) unused;
        user_listen(listener);
        reply = user_get(scene->alice, UNIT, NULL);
        user_drop_all(scene->alice);
        user_assert_hears(listener, REMOVED, reply.object);

        reply = user_get(scene->alice, UNIT, NULL);
        reply_assert(user_release(scene->root, reply.object), "");
        user_drop_all(scene->alice);
        user_assert_hears(listener, REMOVED, reply.object);
        heard = user_get_heard(listener);
        g_assert_cmpuint(place(heard, "added", reply.object), >, 0);
        g_assert_cmpuint(place(heard, "added", reply.object), <, place(heard, "removed", reply.object));

        /* another process of the same user is somebody else */
        guest = user_new("alice");
        reply = user_get(scene->alice, UNIT, NULL);
        reply_assert(user_release(guest, reply.object), "");
        user_drop_all(scene->alice);
        user_assert_hears(listener, REMOVED, reply.object);
        user_free(guest);
}

/* What has changed is heard of after what it has changed of. */
static void test_changed(Scene *scene, gconstpointer unused) {
        User *listener = scene_listener(scene);

        (void) unused;
        user_listen(listener);
        for (unsigned i = 0; i < 5; i++) {
                Reply reply = user_get(scene->alice, UNIT, NULL);
                g_autofree char *heard = NULL;

                reply_assert(user_set_mode(scene->alice, reply.object, 0600), "");
                user_assert_hears(listener, CHANGED " -Mode", reply.object);
                heard = user_get_heard(listener);
                g_assert_cmpuint(place(heard, "added", reply.object), >, 0);
                g_assert_cmpuint(place(heard, "added", reply.object), <, place(heard, "changed", reply.object));
                reply_assert(user_release(scene->alice, reply.object), "");
                user_drop_all(scene->alice);
                user_assert_hears(listener, REMOVED, reply.object);
        }
}

/* What is still to be told when the broker stops is told. */
static void test_stop(Scene *scene, gconstpointer unused) {
        User *listener = scene_listener(scene);
        Reply reply;

        (void) unused;
        if (world_is_direct()) {
                g_test_skip("connections end with the broker");
                return;
        }
        user_listen(listener);
        reply = user_get(scene->alice, UNIT, NULL);
        broker_stop(scene->broker);
        broker_start(scene->broker);
        user_assert_hears(listener, ADDED, reply.object);
        user_drop_all(scene->alice);
        user_assert_hears(listener, REMOVED, reply.object);
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        scene_add("/news/brief", CONFIGURATION, test_brief);
        scene_add("/news/shown", CONFIGURATION, test_shown);
        scene_add("/news/ended", CONFIGURATION, test_ended);
        scene_add("/news/changed", CONFIGURATION, test_changed);
        scene_add("/news/stop", CONFIGURATION, test_stop);
        return g_test_run();
}
