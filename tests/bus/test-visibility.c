/* SPDX-License-Identifier: MIT */

/* Who sees which allocations, by every way there is to look at them, and what signals tell everybody. */

#include <errno.h>
#include <glib.h>
#include <grp.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"
#include "names.h"
#include "polkit.h"
#include "provider.h"
#include "scene.h"
#include "signals.h"
#include "world.h"

#define N_PROPERTIES 21 /* of an allocation */
#define CONFIGURATION "[Region dram]\nSize=256M\n"
#define OBJECT_MANAGER "org.freedesktop.DBus.ObjectManager"
#define PROPERTIES_INTERFACE "org.freedesktop.DBus.Properties"
#define MAY_INSPECT                                                                            \
        "polkit.addRule(function(action, subject) {\n"                                         \
        "    if (action.id == 'org.daxbroker1.inspect-other' && subject.user == 'carol')\n"    \
        "        return polkit.Result.YES;\n"                                                  \
        "});\n"

/* ---- Looking around, in the user's process --------------------------------------------------------------------- */

static sd_bus_message *ask(const char *path, const char *interface, const char *member) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;

        if (sd_bus_call_method(user_bus(), DAXBROKER_BUS_NAME, path, interface, member, &error, &reply,
                               NULL) < 0)
                g_error("%s %s: %s", path, member, error.message);
        return reply;
}

static int compare_keys(const void *a, const void *b, void *unused) {
        (void) unused;
        return strcmp(a, b);
}

static gboolean append_key(void *key, void *value, void *text) {
        (void) value;
        g_string_append_printf(text, "%s ", (const char *) key);
        return FALSE;
}

/* The last parts of the paths of allocations that the text has in it. */
static void find_ids(GTree *ids, const char *text) {
        g_autoptr(GRegex) regex = g_regex_new("\\b[0-9a-f]{16}\\b", 0, 0, NULL);
        g_autoptr(GMatchInfo) match = NULL;

        for (g_regex_match(regex, text, 0, &match); g_match_info_matches(match);
             g_match_info_next(match, NULL))
                g_tree_insert(ids, g_match_info_fetch(match, 0), NULL);
}

static void see_list(GTree *ids) {
        sd_bus_message *m = ask(DAXBROKER_ROOT_PATH, DAXBROKER_MANAGER_INTERFACE, "ListAllocations");
        const char *name, *path;

        g_assert_cmpint(sd_bus_message_enter_container(m, 'a', "(soa{sv})"), >, 0);
        while (sd_bus_message_enter_container(m, 'r', "soa{sv}") > 0) {
                g_assert_cmpint(sd_bus_message_read(m, "so", &name, &path), >, 0);
                g_assert_cmpuint(message_skip_values(m), ==, N_PROPERTIES);
                g_assert_cmpint(sd_bus_message_exit_container(m), >=, 0);
                find_ids(ids, path);
        }
        sd_bus_message_unref(m);
}

static void see_managed_objects(GTree *ids) {
        sd_bus_message *m = ask(DAXBROKER_ROOT_PATH, OBJECT_MANAGER, "GetManagedObjects");
        const char *path, *interface;
        bool has_region = false;

        g_assert_cmpint(sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}"), >, 0);
        while (sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}") > 0) {
                g_assert_cmpint(sd_bus_message_read(m, "o", &path), >, 0);
                find_ids(ids, path);
                g_assert_cmpint(sd_bus_message_enter_container(m, 'a', "{sa{sv}}"), >, 0);
                while (sd_bus_message_enter_container(m, 'e', "sa{sv}") > 0) {
                        unsigned n;

                        g_assert_cmpint(sd_bus_message_read(m, "s", &interface), >, 0);
                        n = message_skip_values(m);
                        if (g_str_equal(interface, DAXBROKER_ALLOCATION_INTERFACE))
                                g_assert_cmpuint(n, ==, N_PROPERTIES);
                        has_region = has_region || g_str_equal(interface, DAXBROKER_REGION_INTERFACE);
                        g_assert_cmpint(sd_bus_message_exit_container(m), >=, 0);
                }
                g_assert_cmpint(sd_bus_message_exit_container(m), >=, 0);
                g_assert_cmpint(sd_bus_message_exit_container(m), >=, 0);
        }
        g_assert_true(has_region);
        sd_bus_message_unref(m);
}

static void see_introspection(GTree *ids) {
        static const char *const paths[] = { "/", "/org", DAXBROKER_ROOT_PATH, DAXBROKER_ALLOCATION_PATH };
        const char *xml;

        for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
                sd_bus_message *m = ask(paths[i], "org.freedesktop.DBus.Introspectable", "Introspect");

                g_assert_cmpint(sd_bus_message_read(m, "s", &xml), >, 0);
                find_ids(ids, xml);
                sd_bus_message_unref(m);
        }
}

static void (*const ways[])(GTree *ids) = { see_list, see_managed_objects, see_introspection };

static int64_t do_see(UserCall *call) {
        g_autoptr(GTree) ids = g_tree_new_full(compare_keys, NULL, g_free, NULL);
        g_autoptr(GString) text = g_string_new(NULL);

        ways[*(const size_t *) call->data](ids);
        g_tree_foreach(ids, append_key, text);

        memcpy(call->answer, text->str, text->len + 1);
        call->answer_size = text->len + 1;
        return 0;
}

/* ---- What was handed out --------------------------------------------------------------------------------------- */

typedef struct Things {
        Reply secret, shared, unnamed, of_root;
} Things;

/* As do_see() writes it. */
static char *join(const Reply *const *replies, unsigned n) {
        g_autoptr(GTree) ids = g_tree_new_full(compare_keys, NULL, g_free, NULL);
        GString *text = g_string_new(NULL);

        for (unsigned i = 0; i < n; i++)
                g_tree_insert(ids, g_strdup(strrchr(replies[i]->object, '/') + 1), NULL);
        g_tree_foreach(ids, append_key, text);
        return g_string_free(text, FALSE);
}

static Things things_make(Scene *scene) {
        return (Things) {
                .secret = user_get(scene->alice, UNIT, "name=secret"),
                .shared = user_get(scene->alice, UNIT, "name=shared mode=0604"),
                .unnamed = user_get(scene->alice, UNIT, NULL),
                .of_root = user_get(scene->root, UNIT, "name=of-root"),
        };
}

static void assert_sees(User *user, const char *expected) {
        for (size_t way = 0; way < G_N_ELEMENTS(ways); way++) {
                g_autofree char *seen = g_malloc(USER_DATA_MAX);

                user_call(user, do_see, &way, sizeof(way), seen, USER_DATA_MAX);
                if (!g_str_equal(seen, expected))
                        g_error("%s sees \"%s\" the way %zu, and should see \"%s\"", user->name, seen, way,
                                expected);
        }
}

static char *things_of_alice(const Things *things) {
        return join((const Reply *const[]) { &things->secret, &things->shared, &things->unnamed }, 3);
}

static char *things_all(const Things *things) {
        const Reply *const all[] = { &things->secret, &things->shared, &things->unnamed, &things->of_root };

        return join(all, G_N_ELEMENTS(all));
}

static char *things_shared(const Things *things) {
        return join((const Reply *const[]) { &things->shared }, 1);
}

/* ---- Lists ----------------------------------------------------------------------------------------------------- */

static void test_lists(Scene *scene, gconstpointer unused) {
        Things things = things_make(scene);
        g_autofree char *of_alice = things_of_alice(&things), *all = things_all(&things),
                        *shared = things_shared(&things);

        (void) unused;
        assert_sees(scene->alice, of_alice);
        assert_sees(scene->bob, shared);
        assert_sees(scene->carol, shared);
        assert_sees(scene->root, all);

        scene_set_rules(scene, MAY_INSPECT);
        assert_sees(scene->carol, all);
        assert_sees(scene->bob, shared);
        assert_sees(scene->alice, of_alice);

        reply_assert(user_set_mode(scene->alice, things.shared.object, 0600), "");
        assert_sees(scene->bob, "");
        assert_sees(scene->alice, of_alice);
}

static int64_t do_join(UserCall *call) {
        const gid_t groups[] = { 0, *(const gid_t *) call->data };

        return setgroups(G_N_ELEMENTS(groups), groups);
}

static void test_groups(Scene *scene, gconstpointer unused) {
        gid_t dax = getgrnam("dax")->gr_gid;
        g_autofree char *options = g_strdup_printf("name=ours mode=0640 group=%u", dax);
        User *owner = user_new("root");
        Reply reply;
        g_autofree char *expected = NULL;

        (void) unused;
        g_assert_cmpint(user_call(owner, do_join, &dax, sizeof(dax), NULL, 0), ==, 0);
        reply = user_get(owner, UNIT, options);
        expected = join((const Reply *const[]) { &reply }, 1);
        assert_sees(scene->alice, expected);
        assert_sees(scene->bob, "");
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Owner"), ==, 0);
        user_drop_all(owner);
        user_free(owner);
}

/* Everybody at the same time, each has to get what is his. */
static void test_at_once(Scene *scene, gconstpointer unused) {
        Things things = things_make(scene);
        g_autofree char *of_alice = things_of_alice(&things), *all = things_all(&things),
                        *shared = things_shared(&things);
        User *const users[] = { scene->alice, scene->bob, scene->carol, scene->root };
        const char *const expected[] = { of_alice, shared, shared, all };

        (void) unused;
        for (unsigned round = 0; round < 60; round++) {
                size_t way = round % G_N_ELEMENTS(ways);

                for (size_t i = 0; i < G_N_ELEMENTS(users); i++)
                        user_begin(users[i], do_see, &way, sizeof(way), NULL, 0);
                for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
                        g_autofree char *seen = g_malloc(USER_DATA_MAX);

                        user_end(users[i], seen, USER_DATA_MAX, NULL, NULL);
                        g_assert_cmpstr(seen, ==, expected[i]);
                }
        }
}

static void test_without_polkit(Scene *scene, gconstpointer unused) {
        Things things = things_make(scene);
        g_autofree char *of_alice = things_of_alice(&things), *shared = things_shared(&things);

        (void) unused;
        polkit_kill();
        assert_sees(scene->alice, of_alice);
        assert_sees(scene->bob, shared);
        reply_assert(user_get_allocation(scene->bob, "secret"), "AuthorityUnavailable");
        polkit_start();
}

/* As people look around. */
static void test_busctl(Scene *scene, gconstpointer unused) {
        static const char *const argv[] = { "busctl", "tree", "--list", DAXBROKER_BUS_NAME, NULL };
        Things things = things_make(scene);
        g_autofree char *of_alice = NULL, *of_bob = NULL;

        (void) unused;
        g_assert_cmpint(user_run("alice", argv, &of_alice), ==, 0);
        g_assert_nonnull(strstr(of_alice, things.secret.object));
        g_assert_nonnull(strstr(of_alice, things.shared.object));
        g_assert_null(strstr(of_alice, things.of_root.object));
        g_assert_cmpint(user_run("bob", argv, &of_bob), ==, 0);
        g_assert_nonnull(strstr(of_bob, things.shared.object));
        g_assert_null(strstr(of_bob, things.secret.object));
        g_assert_nonnull(strstr(of_bob, DAXBROKER_REGION_PATH "/dram"));
}

/* ---- Properties ------------------------------------------------------------------------------------------------ */

typedef struct Look {
        char path[128], interface[64], member[16], of[64];
        bool anonymous; /* the message does not say which interface the member is of */
} Look;

static int64_t do_look(UserCall *call) {
        const Look *look = call->data;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *m = NULL;
        Reply *reply = call->answer;

        *reply = (Reply) {};
        call->answer_size = sizeof(*reply);
        g_assert_cmpint(sd_bus_message_new_method_call(user_bus(), &m, DAXBROKER_BUS_NAME, look->path,
                                                       look->anonymous ? NULL : look->interface,
                                                       look->member),
                        >=, 0);
        if (g_str_equal(look->member, "Get"))
                g_assert_cmpint(sd_bus_message_append(m, "ss", look->of, "Name"), >=, 0);
        else if (g_str_equal(look->member, "GetAll"))
                g_assert_cmpint(sd_bus_message_append(m, "s", look->of), >=, 0);
        if (sd_bus_call(user_bus(), m, 0, &error, NULL) < 0) {
                g_strlcpy(reply->error, error.name, sizeof(reply->error));
                g_strlcpy(reply->message, error.message, sizeof(reply->message));
        }
        sd_bus_error_free(&error);
        sd_bus_message_unref(m);
        return 0;
}

static Reply look(User *user, const char *path, const char *interface, const char *member, const char *of) {
        Look request = { .anonymous = !interface };
        Reply reply;

        g_strlcpy(request.path, path, sizeof(request.path));
        g_strlcpy(request.interface, interface ? interface : "", sizeof(request.interface));
        g_strlcpy(request.member, member, sizeof(request.member));
        g_strlcpy(request.of, of, sizeof(request.of));
        user_call(user, do_look, &request, sizeof(request), &reply, sizeof(reply));
        return reply;
}

static void assert_properties(User *user, const Reply *reply, const char *error) {
        reply_assert(look(user, reply->object, PROPERTIES_INTERFACE, "Get", DAXBROKER_ALLOCATION_INTERFACE),
                     error);
        reply_assert(look(user, reply->object, PROPERTIES_INTERFACE, "GetAll",
                          DAXBROKER_ALLOCATION_INTERFACE),
                     error);
        /* of all interfaces together */
        reply_assert(look(user, reply->object, PROPERTIES_INTERFACE, "GetAll", ""), error);
}

static void test_properties(Scene *scene, gconstpointer unused) {
        Things things = things_make(scene);

        (void) unused;
        assert_properties(scene->alice, &things.secret, "");
        assert_properties(scene->alice, &things.unnamed, "");
        assert_properties(scene->alice, &things.of_root, "AuthenticationRequired");
        assert_properties(scene->bob, &things.shared, "");
        assert_properties(scene->bob, &things.secret, "AuthenticationRequired");
        assert_properties(scene->bob, &things.unnamed, "AuthenticationRequired");
        assert_properties(scene->root, &things.secret, "");

        scene_set_rules(scene, MAY_INSPECT);
        assert_properties(scene->carol, &things.secret, "");
        assert_properties(scene->carol, &things.of_root, "");
        assert_properties(scene->bob, &things.secret, "AuthenticationRequired");
}

/* Messages that try to come in by another door. */
static void test_side_doors(Scene *scene, gconstpointer unused) {
        Things things = things_make(scene);
        const char *path = things.secret.object;

        (void) unused;
        g_assert_cmpstr(look(scene->bob, path, NULL, "Get", DAXBROKER_ALLOCATION_INTERFACE).error, !=, "");
        g_assert_cmpstr(look(scene->bob, path, NULL, "GetAll", DAXBROKER_ALLOCATION_INTERFACE).error, !=,
                        "");
        g_assert_cmpstr(look(scene->bob, path, NULL, "Free", "").error, !=, "");
        g_assert_cmpstr(look(scene->bob, DAXBROKER_ROOT_PATH, NULL, "GetManagedObjects", "").error, !=, "");
        path = DAXBROKER_ALLOCATION_PATH;
        g_assert_cmpstr(look(scene->bob, path, OBJECT_MANAGER, "GetManagedObjects", "").error, !=, "");
        path = things.secret.object;
        /* it is no secret that there is something, InterfacesAdded has told everybody; what it is remains one */
        g_assert_cmpstr(look(scene->bob, path, "org.freedesktop.DBus.Peer", "Ping", "").error, ==, "");
        reply_assert(user_release(scene->alice, path), "");
}

/* Regions are everybody's business. */
static void test_regions(Scene *scene, gconstpointer unused) {
        static const char *const argv[] = {
                "busctl", "get-property", DAXBROKER_BUS_NAME, DAXBROKER_REGION_PATH "/dram",
                DAXBROKER_REGION_INTERFACE, "Size", "Available", "LargestAvailable", "Granularity", "Alignments",
                "NumaNode", "Persistent", "Isolation", "State", "Reason", "Name", "Provider",
                "Quarantined", "Cleaning", "TargetNode", "ReadBandwidth", "WriteLatency", "Clean", "Recycle", "Warm",
                "WarmAvailable", "WarmLength", "WarmHits", "WarmMisses", NULL
        };
        g_autofree char *output = NULL;

        (void) unused;
        skip_on_files("what a region of files says of itself is different");
        skip_on_devices("what a dax region says of itself is different");
        (void) user_get(scene->alice, 56 * MIB, NULL);
        g_assert_cmpint(user_run("bob", argv, &output), ==, 0);
        g_assert_cmpstr(output, ==,
                        "t 268435456\nt 209715200\nt 209715200\nt 4096\nat 3 4096 2097152 1073741824\n"
                        "i -1\nb false\ns \"inode\"\ns \"usable\"\ns \"\"\ns \"dram\"\ns \"memfd\"\n"
                        "t 0\nt 0\ni -1\nt 0\nt 0\ns \"\"\ns \"\"\nt 0\nt 0\nt 0\nt 0\nt 0\n");
}

/* ---- Signals --------------------------------------------------------------------------------------------------- */

#define ALLOCATION_CHANGED "changed %s " DAXBROKER_ALLOCATION_INTERFACE
#define REGION_CHANGED "changed " DAXBROKER_REGION_PATH "/dram " DAXBROKER_REGION_INTERFACE "*"

static void assert_no_values_heard(User *user) {
        g_autofree char *text = user_get_heard(user);
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

        g_assert_null(strstr(text, "unexpected"));
        for (char **line = lines; *line; line++)
                if (strstr(*line, DAXBROKER_ALLOCATION_PATH)) {
                        g_assert_null(strchr(*line, '='));
                        if (g_str_has_prefix(*line, "added"))
                                g_assert_true(g_str_has_suffix(*line, "(0)"));
                }
}

/* Of a region of 256 MiB, while 56 MiB of it are in use. */
#define LEFT (256 * MIB - provider_taken(56 * MIB))

static void test_signals(Scene *scene, gconstpointer unused) {
        User *listener = scene_listener(scene);
        Reply reply;

        (void) unused;
        user_listen(listener);

        reply = user_get(scene->alice, 56 * MIB, "name=secret");
        user_assert_hears(listener, "added %s " DAXBROKER_ALLOCATION_INTERFACE "(0)", reply.object);
        user_assert_hears(listener, REGION_CHANGED " Available=%" G_GUINT64_FORMAT "*", LEFT);
        user_assert_hears(listener, REGION_CHANGED " LargestAvailable=%" G_GUINT64_FORMAT "*", provider_largest(LEFT));

        reply_assert(user_set_mode(scene->alice, reply.object, 0604), "");
        user_assert_hears(listener, ALLOCATION_CHANGED " -Mode", reply.object);
        user_drop_all(scene->alice);
        user_assert_hears(listener, ALLOCATION_CHANGED " -InUse", reply.object);

        reply_assert(user_release(scene->alice, reply.object), "");
        user_assert_hears(listener, ALLOCATION_CHANGED " -State", reply.object);
        user_assert_hears(listener, "removed %s " DAXBROKER_ALLOCATION_INTERFACE, reply.object);
        user_assert_hears(listener, REGION_CHANGED " Available=%" G_GUINT64_FORMAT "*", 256 * MIB);
        user_assert_hears(listener, REGION_CHANGED " LargestAvailable=%" G_GUINT64_FORMAT "*",
                          provider_largest(256 * MIB));
        assert_no_values_heard(listener);
}

/* Directly, who may not see an allocation does not even hear that there is one. */
static void test_signals_direct(Scene *scene, gconstpointer unused) {
        g_autofree char *before = NULL, *after = NULL;
        Reply reply;

        (void) unused;
        if (!world_is_direct()) {
                g_test_skip("over the bus everybody hears all signals");
                return;
        }

        user_listen(scene->bob);
        reply = user_get(scene->alice, 56 * MIB, "name=secret mode=0600");
        user_assert_hears(scene->bob, REGION_CHANGED " Available=%" G_GUINT64_FORMAT "*", LEFT);
        before = user_get_heard(scene->bob);
        g_assert_null(strstr(before, DAXBROKER_ALLOCATION_PATH));

        reply_assert(user_set_mode(scene->alice, reply.object, 0604), "");
        user_assert_hears(scene->bob, ALLOCATION_CHANGED " -Mode", reply.object);
        reply_assert(user_set_mode(scene->alice, reply.object, 0600), "");
        user_drop_all(scene->alice);
        reply_assert(user_release(scene->alice, reply.object), "");
        user_assert_hears(scene->bob, REGION_CHANGED " Available=%" G_GUINT64_FORMAT "*", 256 * MIB);
        after = user_get_heard(scene->bob);
        g_assert_null(strstr(after, "removed"));
        g_assert_null(strstr(after, "-State"));
        g_assert_null(strstr(after, "-InUse"));
}

/* Not even to the owner: it is one signal for everybody. */
static void test_signals_unnamed(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        user_listen(scene->alice);
        reply = user_get(scene->alice, UNIT, NULL);
        user_assert_hears(scene->alice, "added %s " DAXBROKER_ALLOCATION_INTERFACE "(0)", reply.object);
        user_drop_all(scene->alice);
        user_assert_hears(scene->alice, "removed %s " DAXBROKER_ALLOCATION_INTERFACE, reply.object);
        assert_no_values_heard(scene->alice);

        /* what was refused was never there */
        reply_assert(user_allocate(scene->alice, GIB, 1, NULL), "NoSpace");
        reply_assert(user_allocate(scene->bob, UNIT, 1, NULL), "NotAuthorized");
        assert_no_values_heard(scene->alice);
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        scene_add("/visibility/lists", CONFIGURATION, test_lists);
        scene_add("/visibility/groups", CONFIGURATION, test_groups);
        scene_add("/visibility/at-once", CONFIGURATION, test_at_once);
        scene_add("/visibility/without-polkit", CONFIGURATION, test_without_polkit);
        scene_add("/visibility/busctl", CONFIGURATION, test_busctl);
        scene_add("/visibility/properties", CONFIGURATION, test_properties);
        scene_add("/visibility/side-doors", CONFIGURATION, test_side_doors);
        scene_add("/visibility/regions", CONFIGURATION, test_regions);
        scene_add("/visibility/signals", CONFIGURATION, test_signals);
        scene_add("/visibility/signals-direct", CONFIGURATION, test_signals_direct);
        scene_add("/visibility/signals-unnamed", CONFIGURATION, test_signals_unnamed);
        return g_test_run();
}
