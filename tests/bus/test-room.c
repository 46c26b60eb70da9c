/* SPDX-License-Identifier: MIT */

/* Room of a file system that is kept for a grant, in spite of whoever else takes room there; and what is taken from it may
 * last. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "memory.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

#define CONFIGURATION "[Broker]\nDecisionCacheSec=0\n[Region dram]\nSize=256M\n"

static Reply reserve(User *user, uint64_t size, const char *more) {
        g_autofree char *options = g_strdup_printf("region=files %s", more ? more : "");
        Reply reply = user_reserve(user, size, options);

        reply_assert(reply, "");
        return reply;
}

/* Then it must not be filled. */
static bool is_shared(void) {
        bool shared = provider_is_files() && !provider_has_dax_files();

        if (shared)
                g_test_skip("others need the file system, too");
        return shared;
}

static Reply get(User *user, const Reply *grant, uint64_t size) {
        Reply reply = user_allocate_from(user, grant, size, NULL);

        reply_assert(reply, "");
        return reply;
}

static uint64_t left(const Scene *scene, const Reply *grant) {
        return grant_get(scene->root, grant->object, "Available");
}

static uint64_t largest(const Scene *scene, const Reply *grant) {
        return grant_get(scene->root, grant->object, "LargestAvailable");
}

static bool is_there(const Scene *scene, const Reply *grant) {
        g_autofree char *list = user_list_grants(scene->root);

        return strstr(list, grant->object);
}

/* The files that keep room: how many, and how much in all. */
static unsigned holds(uint64_t *ret_room) {
        g_autoptr(GDir) directory = g_dir_open(FILES_PATH, 0, NULL);
        const char *name;
        unsigned n = 0;

        *ret_room = 0;
        g_assert_nonnull(directory);
        while ((name = g_dir_read_name(directory))) {
                g_autofree char *path = g_build_filename(FILES_PATH, name, NULL);
                struct stat st;

                if (!g_str_has_prefix(name, ".hold-") || stat(path, &st) < 0)
                        continue;
                n++;
                *ret_room += (uint64_t) st.st_blocks * 512;
        }
        return n;
}

static bool room_is_kept(uint64_t size) {
        uint64_t room;

        (void) holds(&room);
        return room >= size && room <= size + size / 16 + 64 * KIB; /* of blocks for where it lies */
}

static bool nothing_is_kept(void) {
        uint64_t room;

        return holds(&room) == 0;
}

static void drop(Scene *scene, User *user, const Reply *reply) {
        user_drop(user, reply->slot);
        g_assert_true(allocation_wait_gone(scene->root, reply->object));
}

/* ---- What keeps it ---- */

static void test_room(Scene *scene, const void *unused) {
        Reply grant = reserve(scene->alice, 16 * MIB, NULL), other = reserve(scene->carol, 4 * MIB, NULL), one;
        uint64_t room;

        (void) unused;
        g_assert_cmpuint(holds(&room), ==, 2);
        g_assert_true(room_is_kept(20 * MIB));
        one = get(scene->alice, &grant, 10 * MIB);
        g_assert_true(room_is_kept(10 * MIB));
        g_assert_cmpuint(region_get("files", "Available"), ==, 44 * MIB);
        drop(scene, scene->alice, &one);
        g_assert_true(wait_until(20, room_is_kept(20 * MIB)));
        reply_assert(user_release_grant(scene->carol, other.object), "");
        g_assert_true(wait_until(20, room_is_kept(16 * MIB)));
        user_drop(scene->alice, grant.slot);
        g_assert_true(wait_until(20, nothing_is_kept()));
        g_assert_cmpuint(region_wait("files", "Available", 64 * MIB), ==, 64 * MIB);
}

/* What a broker has kept is kept by the next one, and nothing that is nobody's. */
static void test_restart(Scene *scene, const void *unused) {
        Reply grant = reserve(scene->alice, 16 * MIB, NULL), one = get(scene->alice, &grant, 4 * MIB);
        static const char *const strangers[] = { ".hold-0123456789abcdef", ".hold-0123", ".hold-0123456789ABCDEF" };
        const uid_t uid = world_get_uid("daxbroker");
        uint64_t room;

        (void) unused;
        broker_kill(scene->broker);
        for (size_t i = 0; i < G_N_ELEMENTS(strangers); i++) {
                g_autofree char *path = g_build_filename(FILES_PATH, strangers[i], NULL);

                g_assert_true(g_file_set_contents(path, "something", -1, NULL));
                g_assert_cmpint(chown(path, uid, uid), ==, 0);
        }
        broker_start(scene->broker);
        g_assert_true(wait_until(20, !g_file_test(FILES_PATH "/.hold-0123456789abcdef", G_FILE_TEST_EXISTS)));
        for (size_t i = 1; i < G_N_ELEMENTS(strangers); i++) {
                g_autofree char *path = g_build_filename(FILES_PATH, strangers[i], NULL);

                g_assert_cmpint(unlink(path), ==, 0);
        }
        g_assert_true(wait_until(20, room_is_kept(12 * MIB)));
        g_assert_cmpuint(left(scene, &grant), ==, 12 * MIB);
        g_assert_cmpuint(region_wait("files", "Available", 48 * MIB), ==, 48 * MIB);

        /* what has ended meanwhile keeps nothing */
        broker_stop(scene->broker);
        user_drop(scene->alice, grant.slot);
        broker_start(scene->broker);
        g_assert_true(wait_until(20, holds(&room) == 0));
        g_assert_cmpuint(region_wait("files", "Available", 60 * MIB), ==, 60 * MIB);
        drop(scene, scene->alice, &one);
}

/* Ended, and at once stopped: nothing is left that the next one would not know. */
static void test_stop(Scene *scene, const void *unused) {
        (void) unused;
        for (unsigned i = 0; i < 5; i++) {
                Reply grant = reserve(scene->alice, 16 * MIB, NULL);

                reply_assert(user_release_grant(scene->alice, grant.object), "");
                broker_stop(scene->broker);
                g_assert_true(nothing_is_kept());
                broker_start(scene->broker);
                user_drop(scene->alice, grant.slot);
        }
}

/* Another region with this directory is refused, and does nothing to what is kept there. */
static void test_twin(Scene *scene, const void *unused) {
        Reply grant = reserve(scene->alice, 16 * MIB, NULL);
        size_t mark = broker_mark_log(scene->broker);

        (void) unused;
        broker_configure(scene->broker,
                         CONFIGURATION FILES_REGION "[Region twin]\nProvider=fsdax\nPath=" FILES_PATH "/\nSync=none\n");
        broker_reload(scene->broker);
        g_assert_true(broker_wait_log(scene->broker, mark, "that is the directory of region 'files'"));
        g_assert_true(room_is_kept(16 * MIB));
        (void) get(scene->alice, &grant, 16 * MIB);
        user_drop_all(scene->alice);
        broker_configure(scene->broker, CONFIGURATION FILES_REGION);
        scene_restart(scene); /* a region that is not configured any more is still there */
}

/* ---- Lengths ---- */

static void test_resize(Scene *scene, const void *unused) {
        Reply grant = reserve(scene->alice, 16 * MIB, NULL), one = get(scene->alice, &grant, 4 * MIB), reply;

        (void) unused;
        reply_assert(user_resize(scene->alice, one.object, 12 * MIB), "");
        g_assert_cmpuint(left(scene, &grant), ==, 4 * MIB);
        g_assert_cmpuint(region_get("files", "Available"), ==, 48 * MIB);
        g_assert_true(room_is_kept(4 * MIB));
        reply = user_resize(scene->alice, one.object, 16 * MIB + 1);
        reply_assert(reply, "NoSpace");
        assert_says(reply.message, "the grant that it was taken from has 4 MiB left of 16 MiB");

        reply_assert(user_resize(scene->alice, one.object, 2 * MIB), "");
        g_assert_cmpuint(left(scene, &grant), ==, 14 * MIB);
        g_assert_true(wait_until(20, room_is_kept(14 * MIB)));
        g_assert_cmpuint(region_get("files", "Available"), ==, 48 * MIB);

        /* without it, it is the region's */
        reply_assert(user_release_grant(scene->alice, grant.object), "");
        g_assert_cmpuint(region_wait("files", "Available", 62 * MIB), ==, 62 * MIB);
        reply_assert(user_resize(scene->alice, one.object, 32 * MIB), "");
        g_assert_cmpuint(region_wait("files", "Available", 32 * MIB), ==, 32 * MIB);
        drop(scene, scene->alice, &one);
}

/* ---- What lasts ---- */

static void test_persistent(Scene *scene, const void *unused) {
        Reply plain, grant, one, reply;
        g_autofree char *of = NULL;

        (void) unused;
        scene_set_rules(scene, "polkit.addRule(function(action, subject) {\n"
                               "    if (action.id == 'org.daxbroker1.allocate' ||\n"
                               "        action.id == 'org.daxbroker1.allocate-persistent' &&\n"
                               "        action.lookup('grant') == 'true' && action.lookup('persistent') == 'true' &&\n"
                               "        action.lookup('name') == '')\n"
                               "        return polkit.Result.YES;\n"
                               "    return polkit.Result.NO;\n"
                               "});\n");
        plain = reserve(scene->alice, 8 * MIB, NULL);
        reply = user_allocate_from(scene->alice, &plain, MIB, "persistent=1 name=lasting");
        reply_assert(reply, "NotAuthorized");
        assert_says(reply.message, "reserved without the option persistent");
        reply_assert(user_allocate(scene->alice, MIB, 1, "region=files persistent=1 name=lasting"), "NotAuthorized");

        grant = reserve(scene->alice, 8 * MIB, "persistent=1");
        reply_assert(user_allocate_from(scene->alice, &grant, MIB, "persistent=1"), "BadOption");
        scene_restart(scene);
        one = user_allocate_from(scene->alice, &grant, 4 * MIB, "persistent=1 name=lasting");
        reply_assert(one, "");
        /* who asks again, as he did not hear of it, gets the same */
        reply = user_allocate_from(scene->alice, &grant, 4 * MIB, "persistent=1 name=lasting");
        reply_assert(reply, "");
        g_assert_cmpstr(reply.object, ==, one.object);
        user_drop_all(scene->alice);
        g_assert_true(wait_until(20, !is_there(scene, &grant) && !is_there(scene, &plain)));
        of = allocation_get_string(scene->root, one.object, "Grant");
        g_assert_cmpstr(of, ==, "");
        g_assert_cmpuint(region_wait("files", "Available", 60 * MIB), ==, 60 * MIB);
        reply_assert(user_release(scene->alice, one.object), "");
}

/* ---- In spite of others ---- */

#define ALIEN FILES_PATH "/.alien"

/* Somebody else takes all the room that there is; but for what ext4 sets aside for root. */
static void fill(void) {
        int fd = open(ALIEN, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        struct stat st;

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(seteuid(world_get_uid("daxbroker")), ==, 0);
        for (uint64_t step = MIB; step >= 4 * KIB; step /= 2) {
                do
                        g_assert_cmpint(fstat(fd, &st), ==, 0);
                while (fallocate(fd, 0, st.st_size, (off_t) step) == 0);
                g_assert_cmpint(errno, ==, ENOSPC);
        }
        g_assert_cmpint(seteuid(0), ==, 0);
        close(fd);
}

/* A file that keeps room, but not the one of this name; which one it is, g_free() it. */
static char *find_hold(const char *but) {
        g_autoptr(GDir) directory = g_dir_open(FILES_PATH, 0, NULL);
        const char *name;

        while ((name = g_dir_read_name(directory)))
                if (g_str_has_prefix(name, ".hold-") && g_strcmp0(name, but) != 0)
                        return g_strdup(name);
        return NULL;
}

static uint64_t hold_length(const char *name) {
        g_autofree char *path = g_build_filename(FILES_PATH, name, NULL);
        struct stat st;

        g_assert_cmpint(stat(path, &st), ==, 0);
        return (uint64_t) st.st_size;
}

/* Others have taken some of what is kept for one. It does not get it from another one's, which comes and goes. */
static void test_robbed(Scene *scene, const void *unused) {
        g_autofree char *lacking = NULL, *sound = NULL, *path = NULL;
        Reply robbed, other, one;
        struct stat st;

        (void) unused;
        if (is_shared())
                return;
        other = reserve(scene->carol, 16 * MIB, NULL);
        sound = find_hold(NULL);
        robbed = reserve(scene->alice, 16 * MIB, NULL);
        lacking = find_hold(sound);
        broker_stop(scene->broker);
        path = g_build_filename(FILES_PATH, lacking, NULL);
        g_assert_cmpint(truncate(path, 6 * MIB), ==, 0);
        fill();
        g_assert_cmpint(stat(ALIEN, &st), ==, 0);
        g_assert_cmpint(truncate(ALIEN, st.st_size - (off_t) MIB), ==, 0); /* a region has to have room for one file */
        broker_start(scene->broker);
        g_assert_true(wait_until(20, largest(scene, &robbed) < 10 * MIB));
        for (unsigned round = 0; round < 5; round++) {
                one = get(scene->carol, &other, 8 * MIB);
                drop(scene, scene->carol, &one);
                g_assert_true(wait_until(20, hold_length(sound) >= 16 * MIB));
                g_assert_cmpuint(largest(scene, &other), ==, 16 * MIB);
                g_assert_cmpuint(hold_length(lacking), <, 10 * MIB);
        }
        one = get(scene->carol, &other, 16 * MIB);
        g_assert_cmpuint(hold_length(lacking), <, 10 * MIB);
        g_assert_cmpint(unlink(ALIEN), ==, 0);
        g_assert_true(wait_until(20, largest(scene, &robbed) == 16 * MIB));
        scene_restart(scene); /* other regions of this file system see that there is room again */
}

static void test_full(Scene *scene, const void *unused) {
        Reply grant, pieces[8], reply;
        struct stat st;

        (void) unused;
        if (is_shared())
                return;
        grant = reserve(scene->alice, 16 * MIB, NULL);
        fill();
        for (unsigned round = 0; round < 3; round++) {
                for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++)
                        pieces[i] = get(scene->alice, &grant, 2 * MIB);
                reply_assert(user_allocate(scene->carol, MIB, 1, "region=files"), "NoSpace");
                for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++)
                        drop(scene, scene->alice, &pieces[i]);
                g_assert_true(wait_until(20, room_is_kept(16 * MIB)));
                fill();
        }
        pieces[0] = get(scene->alice, &grant, 4 * MIB);
        reply_assert(user_resize(scene->alice, pieces[0].object, 16 * MIB), "");
        reply_assert(user_resize(scene->alice, pieces[0].object, 2 * MIB), "");
        g_assert_true(wait_until(20, room_is_kept(14 * MIB)));
        drop(scene, scene->alice, &pieces[0]);
        g_assert_true(wait_until(20, room_is_kept(16 * MIB)));

        /* somebody takes it away: then it is said how much there is, and it comes back when there is room */
        broker_stop(scene->broker);
        {
                g_autoptr(GDir) directory = g_dir_open(FILES_PATH, 0, NULL);
                const char *name;

                while ((name = g_dir_read_name(directory)))
                        if (g_str_has_prefix(name, ".hold-")) {
                                g_autofree char *path = g_build_filename(FILES_PATH, name, NULL);

                                g_assert_cmpint(truncate(path, 4 * MIB), ==, 0);
                        }
        }
        fill();
        g_assert_cmpint(stat(ALIEN, &st), ==, 0);
        g_assert_cmpint(truncate(ALIEN, st.st_size - (off_t) MIB), ==, 0); /* a region has to have room for one file */
        broker_start(scene->broker);
        g_assert_true(wait_until(20, largest(scene, &grant) < 16 * MIB));
        g_assert_cmpuint(left(scene, &grant), ==, 16 * MIB);
        reply = user_allocate_from(scene->alice, &grant, 16 * MIB, NULL);
        reply_assert(reply, "NoSpace");
        pieces[0] = get(scene->alice, &grant, 2 * MIB);
        drop(scene, scene->alice, &pieces[0]);
        g_assert_cmpint(unlink(ALIEN), ==, 0);
        g_assert_true(wait_until(20, largest(scene, &grant) == 16 * MIB));
        g_assert_true(room_is_kept(16 * MIB));
        (void) get(scene->alice, &grant, 16 * MIB);
        scene_restart(scene); /* other regions of this file system see that there is room again */
}

/* On a file system of its own, unless the suite is about one. */
static void full_set_up(Scene *scene, const void *configuration) {
        g_autofree char *options = g_strdup_printf("size=96M,mode=0700,uid=%u", (unsigned) world_get_uid("daxbroker"));

        if (provider_is_files()) {
                files_set_up(scene, configuration);
                return;
        }
        g_assert_cmpint(mkdir(FILES_PATH, 0700), ==, 0);
        g_assert_cmpint(mount("tmpfs", FILES_PATH, "tmpfs", 0, options), ==, 0);
        scene_set_up(scene, configuration);
        files_allow_everybody(scene);
}

static void full_tear_down(Scene *scene, const void *configuration) {
        (void) unlink(ALIEN);
        if (provider_is_files()) {
                files_tear_down(scene, configuration);
                return;
        }
        scene_tear_down(scene, configuration);
        g_assert_true(nothing_is_kept());
        g_assert_cmpint(umount2(FILES_PATH, MNT_DETACH), ==, 0);
        g_assert_cmpint(rmdir(FILES_PATH), ==, 0);
}

static void test_nowhere(void) {
        g_test_skip("files of tmpfs have no attributes here");
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        if (!files_are_possible()) {
                g_test_add_func("/room/nowhere", test_nowhere);
                return g_test_run();
        }
        files_add("/room/room", CONFIGURATION, test_room);
        files_add("/room/restart", CONFIGURATION, test_restart);
        files_add("/room/stop", CONFIGURATION, test_stop);
        files_add("/room/twin", CONFIGURATION, test_twin);
        files_add("/room/resize", CONFIGURATION, test_resize);
        files_add("/room/persistent", CONFIGURATION, test_persistent);
        g_test_add("/room/robbed", Scene, CONFIGURATION FILES_REGION, full_set_up, test_robbed, full_tear_down);
        g_test_add("/room/full", Scene, CONFIGURATION FILES_REGION, full_set_up, test_full, full_tear_down);
        return g_test_run();
}
