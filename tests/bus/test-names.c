/* SPDX-License-Identifier: MIT */

/* Names: one belongs to one allocation, can be changed, and asks for the same thing as often as it is said. */

#include <glib.h>
#include <grp.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "memory.h"
#include "polkit.h"
#include "provider.h"
#include "scene.h"
#include "signals.h"
#include "world.h"

#define CONFIGURATION "[Region dram]\nSize=256M\n"

static void test_rename(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data mode=0600"), again;

        (void) unused;
        user_listen(scene_listener(scene));
        g_assert_cmpint(user_map(scene->alice, data.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, data.slot, 5, 42), ==, 0);

        reply_assert(user_rename(scene->alice, data.object, "results"), "");
        user_assert_hears(scene_listener(scene), "changed %s org.daxbroker1.Allocation -Name", data.object);
        scene_assert_named(scene, data.object, "results");
        reply_assert(user_open(scene->alice, "data", NULL), "NoSuchAllocation");
        again = user_open(scene->alice, "results", NULL);
        reply_assert(again, "");
        g_assert_cmpstr(again.object, ==, data.object);
        g_assert_cmpint(user_map(scene->alice, again.slot), ==, 0);
        g_assert_cmpint(user_peek(scene->alice, again.slot, 5), ==, 42);

        /* the name is free, and the new one is not */
        (void) user_get(scene->alice, MIB, "name=data");
        reply_assert(user_allocate(scene->alice, MIB, 1, "name=results"), "NameExists");

        /* it is on record */
        scene_restart(scene);
        scene_assert_named(scene, data.object, "results");
        reply_assert(user_open(scene->alice, "results", NULL), "");

        /* the one it has */
        reply_assert(user_rename(scene->alice, data.object, "results"), "");
        scene_assert_named(scene, data.object, "results");
}

static void test_rename_refused(Scene *scene, gconstpointer unused) {
        static const char *const bad[] = { "", "a/b", "a b", "*" };
        Reply data = user_get(scene->alice, MIB, "name=data mode=0666"), unnamed = user_get(scene->alice, MIB, NULL), reply;
        g_autofree char *long_name = g_strnfill(64, 'x');

        (void) unused;
        (void) user_get(scene->root, MIB, "name=taken");
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                reply_assert(user_rename(scene->alice, data.object, bad[i]), "BadName");
        reply_assert(user_rename(scene->alice, data.object, long_name), "BadName");
        reply = user_rename(scene->alice, data.object, "taken");
        reply_assert(reply, "NameExists");
        assert_says(reply.message, "'taken'");
        reply = user_rename(scene->alice, unnamed.object, "name");
        reply_assert(reply, "BadName");
        assert_says(reply.message, "has no name");

        /* who may write to it, may not do that */
        reply_assert(user_rename(scene->bob, data.object, "mine"), "AuthenticationRequired");
        scene_assert_named(scene, data.object, "data");
        scene_set_rules(scene, POLKIT_CAROL_MAY("manage"));
        reply_assert(user_rename(scene->carol, data.object, "theirs"), "");
        scene_assert_named(scene, data.object, "theirs");
        reply_assert(user_rename(scene->bob, data.object, "mine"), "AuthenticationRequired");

        reply_assert(user_release(scene->alice, data.object), "");
        reply_assert(user_rename(scene->alice, data.object, "late"), "NoSuchAllocation");
}

/* Each name is one's at any time, however many want it at once. */
static void test_rename_race(Scene *scene, gconstpointer unused) {
        Reply one = user_get(scene->alice, MIB, "name=one"), two = user_get(scene->root, MIB, "name=two"), replies[3];

        (void) unused;
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
        for (unsigned i = 0; i < 50; i++) {
                g_autofree char *name = g_strdup_printf("wanted-%u", i), *options = g_strconcat("name=", name, NULL);
                User *third = scene->carol;
                unsigned n = 0;

                user_begin_rename(scene->alice, one.object, name);
                user_begin_rename(scene->root, two.object, name);
                user_begin_allocate(third, MIB, 1, options);
                replies[0] = user_end_reply(scene->alice);
                replies[1] = user_end_reply(scene->root);
                replies[2] = user_end_reply(third);
                for (size_t j = 0; j < G_N_ELEMENTS(replies); j++) {
                        if (replies[j].error[0] != '\0')
                                reply_assert(replies[j], "NameExists");
                        else
                                n++;
                }
                g_assert_cmpuint(n, ==, 1);
                if (replies[2].error[0] == '\0')
                        reply_assert(user_release(third, replies[2].object), "");
                user_drop_all(third);
        }
        scene_restart(scene);
        reply_assert(user_release(scene->alice, one.object), "");
        reply_assert(user_release(scene->root, two.object), "");
}

/* Either a file is in the way of the new record, or there is no room for it. */
static void set_writable(Scene *scene, const Reply *reply, bool writable) {
        g_autofree char *temporary = g_strdup_printf("%s/allocations/%s.tmp", scene->broker->state,
                                                     strrchr(reply->object, '/') + 1);

        if (provider_is_nvdimm())
                g_assert_cmpint(writable ? rmdir(temporary) : mkdir(temporary, 0700), ==, 0);
        else if (writable)
                broker_unfill_runtime(scene->broker);
        else
                broker_fill_runtime(scene->broker);
}

/* Whatever cannot be written down has not happened. */
static void test_rename_unwritable(Scene *scene, gconstpointer unused) {
        Reply data, reply;

        (void) unused;
        skip_on_files("a record that is an attribute takes no file of its own");
        if (world_skips_direct("the socket is where the records are, which gets another file system"))
                return;
        broker_stop(scene->broker);
        broker_limit_runtime(scene->broker, "size=256k");
        broker_start(scene->broker);
        data = user_get(scene->alice, MIB, "name=data");
        set_writable(scene, &data, false);
        reply = user_rename(scene->alice, data.object, "other");
        g_assert_cmpstr(reply.error, !=, "");
        assert_says(reply.message, "record");
        reply = user_set_owner(scene->root, data.object, world_get_uid("bob"), "name=other");
        g_assert_cmpstr(reply.error, !=, "");
        reply = user_set_mode(scene->alice, data.object, 0644);
        g_assert_cmpstr(reply.error, !=, "");
        scene_assert_named(scene, data.object, "data");
        scene_assert_owner(scene, data.object, "alice");
        g_assert_cmpuint(allocation_get(scene->alice, data.object, "Mode"), ==, 0600);

        /* the name was not lost with that */
        set_writable(scene, &data, true);
        reply = user_get(scene->alice, MIB, "name=other");
        reply_assert(user_release(scene->alice, reply.object), "");
        reply_assert(user_rename(scene->alice, data.object, "other"), "");
        reply_assert(user_open(scene->alice, "other", NULL), "");

        reply_assert(user_release(scene->alice, data.object), "");
        broker_stop(scene->broker);
        broker_limit_runtime(scene->broker, NULL);
        broker_start(scene->broker);
}

static void test_reserve(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        reply = user_allocate(scene->alice, MIB, 1, "reserve=1");
        reply_assert(reply, "BadOption");
        assert_says(reply.message, "needs a name");
        reply_assert(user_allocate(scene->alice, MIB, 1, "reserve=1 persistent=1 name=data"), "BadOption");
        reply_assert(user_allocate(scene->alice, MIB, 1, "reserve/s=yes name=data"), "BadOption");
        reply = user_allocate(scene->alice, MIB, 1, "reserve=1 name=data");
        reply_assert(reply, "BadOption");
        assert_says(reply.message, provider_is_medium() ? "with persistent" : "does not place memory");
        reply = user_get(scene->alice, MIB, "reserve=0 name=data");
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Reserve"), ==, 0);
}

/* What a region holds may not be known yet: then nobody is told that there is nothing of that name, and nobody else gets the
 * name. */
static void test_not_known_yet(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data region=files persistent=1 mode=0666"), opened, reply;

        (void) unused;
        g_assert_cmpint(user_map(scene->alice, data.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, data.slot, 5, 42), ==, 0);
        user_drop_all(scene->alice);
        broker_stop(scene->broker);
        g_assert_cmpint(chmod(FILES_PATH, 0777), ==, 0); /* it is no region so */
        broker_start(scene->broker);

        user_begin_open(scene->bob, "data", NULL);
        user_begin_allocate(scene->root, MIB, 1, "name=data region=dram");
        user_begin_allocate(scene->alice, MIB, 1, "region=dram"); /* which has nothing to do with it */
        reply_assert(user_end_reply(scene->alice), "");
        /* nobody knows how soon, and nobody waits for ever */
        opened = user_end_reply(scene->bob);
        reply_assert(opened, "Busy");
        assert_says(opened.message, "'files'");
        reply = user_end_reply(scene->root);
        reply_assert(reply, "Busy");
        assert_says(reply.message, "'data'");

        user_begin_open(scene->bob, "data", NULL);
        user_begin_allocate(scene->root, MIB, 1, "name=data region=dram");
        reply_assert(user_open(scene->alice, "a name", NULL), "BadName");
        g_assert_cmpint(chmod(FILES_PATH, 0700), ==, 0);
        broker_reload(scene->broker);
        opened = user_end_reply(scene->bob);
        reply_assert(opened, "");
        g_assert_cmpstr(opened.object, ==, data.object);
        g_assert_cmpint(user_map(scene->bob, opened.slot), ==, 0);
        g_assert_cmpint(user_peek(scene->bob, opened.slot, 5), ==, 42);
        reply_assert(user_end_reply(scene->root), "NameExists");
        reply_assert(user_open(scene->bob, "nothing", NULL), "NoSuchAllocation");
}

/* What a region holds that is not configured any more nobody will know soon. */
static void test_not_configured(Scene *scene, gconstpointer unused) {
        (void) unused;
        broker_stop(scene->broker);
        g_assert_cmpint(chmod(FILES_PATH, 0777), ==, 0); /* it is no region so */
        broker_start(scene->broker);
        broker_configure(scene->broker, CONFIGURATION);
        broker_reload(scene->broker);
        reply_assert(user_allocate(scene->alice, MIB, 1, "name=data region=dram"), "");
        reply_assert(user_open(scene->bob, "nothing", NULL), "NoSuchAllocation");
        g_assert_cmpint(chmod(FILES_PATH, 0700), ==, 0);
}

static bool user_tries(User *user, const char *name, const char *error) {
        Reply reply = user_open(user, name, NULL);

        return g_str_has_suffix(reply.error, error);
}

static bool is_there(User *user, const char *object) {
        return user_open_object(user, object, NULL).error[0] == '\0';
}

/* What is not there and will not be there soon keeps nobody waiting, and is not forgotten. */
static void test_not_known(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data region=files persistent=1"), reply;
        g_autofree char *reason = NULL;

        (void) unused;
        g_assert_cmpint(user_map(scene->alice, data.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, data.slot, 5, 42), ==, 0);
        user_drop_all(scene->alice);
        broker_stop(scene->broker);
        g_assert_cmpint(chmod(FILES_PATH, 0777), ==, 0); /* it is no region so */
        broker_start(scene->broker);
        g_assert_true(wait_until(20, user_tries(scene->bob, "data", "NoSuchAllocation")));
        reply = user_open(scene->bob, "data", NULL);
        reply_assert(reply, "NoSuchAllocation");
        assert_says(reply.message, "'files'");
        reply_assert(user_allocate(scene->root, MIB, 1, "name=data region=dram"), "");
        g_assert_cmpint(chmod(FILES_PATH, 0700), ==, 0);
        broker_reload(scene->broker);

        /* whoever has taken the name has taken nothing else */
        g_assert_true(wait_until(20, is_there(scene->alice, data.object)));
        scene_assert_named(scene, data.object, "");
        reason = allocation_get_string(scene->alice, data.object, "Reason");
        assert_says(reason, "'data'");
        reply = user_open_object(scene->alice, data.object, NULL);
        reply_assert(reply, "");
        g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
        g_assert_cmpint(user_peek(scene->alice, reply.slot, 5), ==, 42);
        reply_assert(user_rename(scene->alice, data.object, "data"), "NameExists");
        user_drop_all(scene->alice);
        reply_assert(user_rename(scene->alice, data.object, "mine"), "");
        scene_restart(scene);
        scene_assert_named(scene, data.object, "mine");
        reply_assert(user_open(scene->alice, "mine", NULL), "");
}

/* As its own user, who may: RLIMIT_NOFILE of the broker, 0 for as many as it can have. */
static void limit_fds(const Broker *broker, rlim_t n) {
        pid_t child = world_fork();
        int status;

        if (child == 0) {
                struct rlimit limit;

                world_become("daxbroker");
                if (prlimit(broker->pid, RLIMIT_NOFILE, NULL, &limit) < 0)
                        _exit(1);
                limit.rlim_cur = n > 0 ? n : limit.rlim_max;
                _exit(prlimit(broker->pid, RLIMIT_NOFILE, &limit, NULL) < 0 ? 2 : 0);
        }
        g_assert_cmpint(waitpid(child, &status, 0), ==, child);
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

/* A broker that is short of descriptors cannot look, and forgets nothing for that. */
static void test_not_seen(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data region=files persistent=1"), found;
        g_autofree char *folder = g_build_filename(world_get_path(), "mounted", NULL), *state = NULL;
        size_t mark;

        (void) unused;
        user_drop_all(scene->alice);
        mark = broker_mark_log(scene->broker);
        g_assert_cmpint(mkdir(folder, 0700), ==, 0);
        limit_fds(scene->broker, 3);
        g_assert_cmpint(mount("none", folder, "tmpfs", 0, NULL), ==, 0);
        g_assert_cmpint(umount2(folder, 0), ==, 0);
        g_assert_true(broker_wait_log(scene->broker, mark, "'files': cannot look at what it holds: Too many open files"));
        found = user_get_allocation(scene->alice, "data");
        reply_assert(found, "");
        g_assert_cmpstr(found.object, ==, data.object);
        state = allocation_get_string(scene->alice, data.object, "State");
        g_assert_cmpstr(state, ==, "live");

        /* and looks again */
        mark = broker_mark_log(scene->broker);
        g_assert_true(broker_wait_log(scene->broker, mark, "'files': cannot look at what it holds: Too many open files"));
        limit_fds(scene->broker, 0);
        reply_assert(user_open(scene->alice, "data", NULL), "");
        g_assert_cmpint(rmdir(folder), ==, 0);
}

#define SAME "name=data region=files persistent=1 mode=0640"

static void test_exactly_once(Scene *scene, gconstpointer unused) {
        g_autofree char *options = g_strdup_printf(SAME " group=%u", world_get_uid("alice")), *list = NULL;
        Reply first = user_get(scene->alice, MIB, options), again;

        (void) unused;
        g_assert_cmpint(user_map(scene->alice, first.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, first.slot, 5, 42), ==, 0);

        /* once, twice, from elsewhere, and after a restart */
        for (unsigned i = 0; i < 4; i++) {
                User *user = i == 2 ? user_new("alice") : scene->alice;

                reply_assert(user_check(user, MIB - 5, 1, options), "");
                again = user_allocate(user, MIB - 5, 1, options);
                reply_assert(again, "");
                g_assert_cmpstr(again.object, ==, first.object);
                g_assert_cmpuint(again.length, ==, MIB);
                g_assert_cmpint(user_map(user, again.slot), ==, 0);
                g_assert_cmpint(user_peek(user, again.slot, 5), ==, 42);
                user_drop_all(user);
                if (user != scene->alice)
                        user_free(user);
                if (i == 2)
                        scene_restart(scene);
        }
        g_assert_cmpuint(region_wait("files", "Available", 63 * MIB), ==, 63 * MIB);
        list = user_list(scene->alice);
        g_assert_true(strstr(list, first.object) == g_strrstr(list, first.object));
}

static void assert_differs(User *user, uint64_t size, uint64_t alignment, const char *options, const char *says) {
        Reply reply = user_allocate(user, size, alignment, options);

        reply_assert(reply, "NameExists");
        assert_says(reply.message, says);
        reply = user_check(user, size, alignment, options);
        reply_assert(reply, "NameExists");
}

static void test_not_the_same(Scene *scene, gconstpointer unused) {
        g_autofree char *options = g_strdup_printf(SAME " group=%u", world_get_uid("alice"));
        g_autofree char *other_group = g_strdup_printf(SAME " group=%u", getgrnam("dax")->gr_gid);
        Reply first = user_get(scene->alice, MIB, options);

        (void) unused;
        assert_differs(scene->alice, MIB + 1, 1, options, "length 1 MiB (not 1028 KiB)");
        assert_differs(scene->alice, MIB, 4096, options, "alignment 1 (not 4096)");
        assert_differs(scene->alice, MIB, 1, "name=data region=files persistent=1 mode=0644", "mode 0640 (not 0644), group");
        assert_differs(scene->alice, 2 * MIB, 1, "name=data region=files persistent=1", "length 1 MiB (not 2 MiB), mode");
        assert_differs(scene->alice, MIB, 1, other_group, "has group ");
        /* of another kind, or another's */
        reply_assert(user_allocate(scene->alice, MIB, 1, "name=data"), "NameExists");
        reply_assert(user_allocate(scene->alice, MIB, 1, "name=data region=files"), "NameExists");
        g_assert_cmpstr(user_allocate(scene->bob, MIB, 1, "name=data region=files persistent=1").error, ==,
                        "org.daxbroker1.Error.NameExists");
        (void) user_get(scene->alice, MIB, "name=volatile region=files");
        reply_assert(user_allocate(scene->alice, MIB, 1, "name=volatile region=files"), "NameExists");
        reply_assert(user_allocate(scene->alice, MIB, 1, "name=volatile region=files persistent=1"), "NameExists");

        /* as it is today */
        reply_assert(user_resize(scene->alice, first.object, 2 * MIB), "");
        assert_differs(scene->alice, MIB, 1, options, "length 2 MiB (not 1 MiB)");
        reply_assert(user_allocate(scene->alice, 2 * MIB, 1, options), "");
        reply_assert(user_set_mode(scene->alice, first.object, 0600), "");
        assert_differs(scene->alice, 2 * MIB, 1, options, "mode 0600 (not 0640)");
        reply_assert(user_rename(scene->alice, first.object, "elsewhere"), "");
        reply_assert(user_allocate(scene->alice, MIB, 1, options), "");
        reply_assert(user_set_owner(scene->root, first.object, world_get_uid("bob"), NULL), "");
        reply_assert(user_allocate(scene->alice, 2 * MIB, 1, "name=elsewhere region=files persistent=1 mode=0600"),
                     "NameExists");
        reply_assert(user_allocate(scene->bob, 2 * MIB, 1, "name=elsewhere region=files persistent=1 mode=0600"),
                     "NameExists");
}

/* All that come while it is made wait, and get the one that is. */
static void test_at_once(Scene *scene, gconstpointer unused) {
        User *users[8];

        (void) unused;
        for (unsigned i = 0; i < G_N_ELEMENTS(users); i++)
                users[i] = user_new("alice");
        for (unsigned round = 0; round < 10; round++) {
                Reply first = {};

                for (unsigned i = 0; i < G_N_ELEMENTS(users); i++)
                        user_begin_allocate(users[i], 8 * MIB, 1, "name=data region=files persistent=1");
                for (unsigned i = 0; i < G_N_ELEMENTS(users); i++) {
                        Reply reply = user_end_reply(users[i]);

                        reply_assert(reply, "");
                        if (i == 0)
                                first = reply;
                        g_assert_cmpstr(reply.object, ==, first.object);
                }
                g_assert_cmpuint(region_wait("files", "Available", 56 * MIB), ==, 56 * MIB);
                reply_assert(user_release(scene->alice, first.object), "");
                for (unsigned i = 0; i < G_N_ELEMENTS(users); i++)
                        user_drop_all(users[i]);
        }
        for (unsigned i = 0; i < G_N_ELEMENTS(users); i++)
                user_free(users[i]);
}

/* A region that is said, and one that is not: it is not asked which one would be chosen today. */
static void test_once_anywhere(Scene *scene, gconstpointer unused) {
        Reply first, again;

        (void) unused;
        broker_configure(scene->broker, "[Broker]\nDefaultRegion=files\n" CONFIGURATION FILES_REGION);
        broker_reload(scene->broker);
        first = user_get(scene->alice, 40 * MIB, "name=data persistent=1");
        broker_configure(scene->broker, CONFIGURATION FILES_REGION);
        broker_reload(scene->broker);
        again = user_get(scene->alice, 40 * MIB, "name=data persistent=1");
        g_assert_cmpstr(first.object, ==, again.object);
        again = user_get(scene->alice, 40 * MIB, "name=data persistent=1 prefer=capacity");
        g_assert_cmpstr(first.object, ==, again.object);
        again = user_get(scene->alice, 40 * MIB, "name=data persistent=1 region=files");
        g_assert_cmpstr(first.object, ==, again.object);
}

/* What is found without its name, since that is another's, keeps it on record, whatever else is changed. */
static void test_name_on_record(Scene *scene, gconstpointer unused) {
        Reply one = user_get(scene->alice, MIB, "name=one region=files persistent=1");
        Reply two = user_get(scene->alice, MIB, "name=two region=files persistent=1");
        g_autofree char *path = g_build_filename(FILES_PATH, strrchr(two.object, '/') + 1, NULL);
        g_autofree char *record = NULL, *name = NULL;
        const Reply *named = &one, *nameless = &two;

        (void) unused;
        user_drop_all(scene->alice);
        broker_stop(scene->broker);
        record = files_get_record(path);
        files_put_record(path, record, "name=two\n", "name=one\n");
        broker_start(scene->broker);

        name = allocation_get_string(scene->alice, two.object, "Name");
        if (name[0] != '\0') { /* whichever was found first */
                named = &two;
                nameless = &one;
        }
        scene_assert_named(scene, named->object, "one");
        scene_assert_named(scene, nameless->object, "");
        reply_assert(user_set_mode(scene->alice, nameless->object, 0604), "");
        reply_assert(user_resize(scene->alice, nameless->object, 2 * MIB), "");
        reply_assert(user_set_owner(scene->root, nameless->object, world_get_uid("bob"), NULL), "");
        reply_assert(user_release(scene->alice, named->object), "");
        scene_restart(scene);
        scene_assert_named(scene, nameless->object, "one");
        scene_assert_owner(scene, nameless->object, "bob");
        g_assert_cmpuint(allocation_get(scene->bob, nameless->object, "Mode"), ==, 0604);

        reply_assert(user_rename(scene->bob, nameless->object, "three"), "");
        scene_restart(scene);
        scene_assert_named(scene, nameless->object, "three");
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        scene_add("/names/rename", CONFIGURATION, test_rename);
        scene_add("/names/rename-refused", CONFIGURATION, test_rename_refused);
        scene_add("/names/rename-race", CONFIGURATION, test_rename_race);
        scene_add("/names/rename-unwritable", CONFIGURATION, test_rename_unwritable);
        scene_add("/names/reserve", CONFIGURATION, test_reserve);
        files_add("/names/not-known-yet", CONFIGURATION, test_not_known_yet);
        files_add("/names/not-configured", CONFIGURATION, test_not_configured);
        files_add("/names/not-seen", CONFIGURATION, test_not_seen);
        files_add("/names/not-known", CONFIGURATION, test_not_known);
        files_add("/names/exactly-once", CONFIGURATION, test_exactly_once);
        files_add("/names/not-the-same", CONFIGURATION, test_not_the_same);
        files_add("/names/at-once", CONFIGURATION, test_at_once);
        files_add("/names/once-anywhere", CONFIGURATION, test_once_anywhere);
        files_add("/names/name-on-record", CONFIGURATION, test_name_on_record);
        return g_test_run();
}
