/* SPDX-License-Identifier: MIT */

/* A broker that has run out of something says what, leaves nothing half done, still takes back what is returned, and works
 * again when there is room. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"
#include "polkit.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

#define CONFIGURATION                                                                                                  \
        "[Region dram]\n"                                                                                              \
        "Size=256M\n"

/* Several at once: whatever runs out can do so at different points. */
static void assert_refused(Scene *scene) {
        static const char *const options[] = { NULL, "name=one-more", "prefault=1",
                                               "name=one-more mode=0644" };
        Footprint before = footprint_take(scene->broker);

        for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
                Reply reply = user_allocate(scene->bob, UNIT, 1, options[i]);

                reply_assert(reply, "NoResources");
                g_assert_cmpstr(reply.message, !=, "");
                reply_assert(user_get_allocation(scene->bob, "one-more"), "NoSuchAllocation");
        }
        footprint_assert_back(scene->broker, &before);
        footprint_assert_sums(scene->root);
}

static void free_now(Scene *scene, User *user, const Reply *reply) {
        user_give_back(user, reply);
        g_assert_cmpint(user_peek(user, reply->slot, 0), ==, -EFAULT);
        scene_assert_gone(scene, reply);
}

/* ---- Descriptors -------------------------------------------------------------------------------------------------- */

static void limit_fds(Scene *scene, uint64_t n) {
        scene_limit_broker(scene, RLIMIT_NOFILE, n);
}

/* The limit it was started with: it knows how far it can go. */
static void test_known_fds(Scene *scene, const void *unused) {
        Reply replies[20], reply;
        size_t mark;

        (void) unused;
        skip_on_nvdimm("there is not room for so many namespaces");
        scene->broker->max_fds = 128 + 3 * G_N_ELEMENTS(replies);
        mark = broker_mark_log(scene->broker);
        broker_restart(scene->broker);
        g_assert_true(broker_wait_log(scene->broker, mark, "^warning: the broker can keep 20 allocations .* is 1024 "));
        for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
                g_autofree char *name = g_strdup_printf("name=limits-%zu", i);

                replies[i] = user_take(scene->alice, UNIT, i % 2 == 0 ? name : NULL, (uint8_t) (i + 1));
        }
        assert_refused(scene);
        reply = user_allocate(scene->bob, UNIT, 1, NULL);
        assert_says(reply.message, "LimitNOFILE=");

        /* what is there can be worked with */
        reply = user_open(scene->alice, "limits-0", NULL);
        reply_assert(reply, "");
        g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
        g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 1), ==, 1);
        user_drop(scene->alice, reply.slot);

        free_now(scene, scene->alice, &replies[7]);
        reply = user_take(scene->bob, UNIT, NULL, 1);
        assert_refused(scene);
        free_now(scene, scene->bob, &reply);

        /* a successor with less keeps what there is */
        broker_kill(scene->broker);
        scene->broker->max_fds = 128 + 3 * 4;
        broker_start(scene->broker);
        for (size_t i = 0; i < G_N_ELEMENTS(replies); i++)
                if (i != 7) {
                        g_assert_cmpint(user_is_filled(scene->alice, replies[i].slot, (int) (i + 1)), ==, 1);
                        assert_refused(scene);
                        free_now(scene, scene->alice, &replies[i]);
                        if (i == 16)
                                break;
                }
        for (size_t i = 17; i < G_N_ELEMENTS(replies); i++)
                free_now(scene, scene->alice, &replies[i]);

        scene->broker->max_fds = 0;
        broker_restart(scene->broker);
}

/* ---- What the machine is good for --------------------------------------------------------------------------------- */

/* The broker reads a file of ours instead of the kernel's. */
static void pretend(Scene *scene, const char *path, const char *value) {
        g_autofree char *file = g_build_filename(scene->broker->directory, "pretended", NULL);

        g_assert_true(g_file_set_contents(file, value, -1, NULL));
        g_assert_cmpint(mount(file, path, NULL, MS_BIND, NULL), ==, 0);
}

/* What one that has stopped has said of a limit: a line like this, or nothing. */
static void assert_warned(Scene *scene, size_t mark, const char *limit, const char *warning) {
        g_autofree char *about = g_strdup_printf("^warning: the broker can keep .*%s", limit);

        g_assert_cmpuint(broker_count_log(scene->broker, mark, about), ==, warning ? 1 : 0);
        if (warning)
                g_assert_cmpuint(broker_count_log(scene->broker, mark, warning), ==, 1);
}

/* Each limit is named that is not good for what one user may have. */
static void test_small(Scene *scene, const void *unused) {
        static const struct {
                const char *limit, *value, *warning; /* NULL for none */
        } small[] = {
                { "nr_open", "1000\n", "can keep 290 allocations .* is 1024 for one of them; the sysctl fs.nr_open" },
                { "file-max", "4000\n", "can keep 1000 allocations .* is 1024 for one of them; the sysctl fs.file-max" },
                { "file-max", "4096\n", NULL },
                { "file-max", "9223372036854775807\n", NULL },
                { "file-max", "many\n", NULL },
        };
        size_t mark;

        (void) unused;
        broker_stop(scene->broker);
        for (size_t i = 0; i < G_N_ELEMENTS(small); i++) {
                g_autofree char *path = g_build_filename("/proc/sys/fs", small[i].limit, NULL);

                pretend(scene, path, small[i].value);
                mark = broker_mark_log(scene->broker);
                broker_start(scene->broker);
                broker_stop(scene->broker);
                g_assert_cmpint(umount(path), ==, 0);
                assert_warned(scene, mark, small[i].limit, small[i].warning);
        }

        broker_start(scene->broker);
        pretend(scene, "/proc/sys/fs/file-max", "4096\n");
        broker_configure(scene->broker, CONFIGURATION "[Quota]\nMaxAllocations=1025\n");
        mark = broker_mark_log(scene->broker);
        broker_reload(scene->broker);
        g_assert_cmpint(umount("/proc/sys/fs/file-max"), ==, 0);
        g_assert_true(broker_wait_log(scene->broker, mark, "can keep 1024 allocations .* is 1025 for one .*file-max"));
}

static bool is_missing(User *user, const char *name) {
        Reply reply = user_get_allocation(user, name);

        if (!g_str_equal(reply.error, ""))
                reply_assert(reply, "NoSuchAllocation");
        return !g_str_equal(reply.error, "");
}

/* A limit that comes as a surprise, at each descriptor that it could hit. */
static void test_sudden_fds(Scene *scene, const void *unused) {
        Reply named = user_take(scene->alice, UNIT, "name=limits", 1);
        Reply unnamed = user_take(scene->alice, UNIT, NULL, 2), reply;
        unsigned n = broker_count_fds(scene->broker), n_refused = 0, n_granted = 0, more;

        (void) unused;
        /* until it was enough several times; the numbers of descriptors have gaps */
        for (more = 0; n_granted < 9 && more < 64; more++) {
                limit_fds(scene, n + more);
                for (unsigned i = 0; i < 3; i++) {
                        reply = i == 0 ? user_open(scene->alice, "limits", NULL)
                                       : user_allocate(scene->alice, UNIT, 1,
                                                       i == 1 ? NULL : "name=one-more");
                        if (g_str_equal(reply.error, "")) {
                                n_granted++;
                                g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
                                g_assert_cmpint(user_is_filled(scene->alice, reply.slot, i == 0), ==, 1);
                                if (i != 0)
                                        free_now(scene, scene->alice, &reply);
                                user_drop(scene->alice, reply.slot);
                        } else {
                                n_refused++;
                                reply_assert(reply, "NoResources");
                                /* "open files", or "references": descriptors that are in flight count for the user,
                                 * and brokers of other tests may have some */
                                assert_says(reply.message, "Too many ");
                        }
                }
                /* one that was made and could not be sent is on its way out */
                g_assert_true(wait_until(20, is_missing(scene->alice, "one-more")));
                footprint_assert_sums(scene->root);
        }
        g_test_message("%u of %u were refused", n_refused, 3 * more);
        g_assert_cmpuint(n_refused, >, 0);
        g_assert_cmpuint(n_granted, >=, 9);

        /* giving back takes none, but for files, of which each is opened again for that */
        limit_fds(scene, provider_is_files() ? n + 8 : n);
        g_assert_cmpint(user_is_filled(scene->alice, named.slot, 1), ==, 1);
        free_now(scene, scene->alice, &named);
        user_drop(scene->alice, unnamed.slot);
        g_assert_true(allocation_wait_gone(scene->root, unnamed.object));

        limit_fds(scene, 4096);
        reply = user_take(scene->bob, UNIT, NULL, 1);
        free_now(scene, scene->bob, &reply);
        g_assert_true(wait_until(20, broker_count_fds(scene->broker) <= scene->before.fds));
        broker_restart(scene->broker);
}

/* For a moment, nobody can be asked who an owner is. */
static void test_unknown_owner(Scene *scene, const void *unused) {
        Reply named = user_take(scene->alice, UNIT, "name=limits", 1), reply;
        User *guest = user_new("alice");

        (void) unused;
        (void) user_get_allocation(guest, "nothing"); /* so that the broker knows the connection */
        limit_fds(scene, 3);
        reply = user_open(guest, "limits", NULL);
        reply_assert(reply, "NoResources");
        assert_says(reply.message, "user database");

        limit_fds(scene, 4096);
        reply = user_open(guest, "limits", NULL);
        reply_assert(reply, "");
        g_assert_cmpint(user_map(guest, reply.slot), ==, 0);
        g_assert_cmpint(user_is_filled(guest, reply.slot, 1), ==, 1);
        user_free(guest);
        free_now(scene, scene->alice, &named);
        broker_restart(scene->broker);
}

/* ---- RUNTIME_DIRECTORY -------------------------------------------------------------------------------------------- */

static void restart_with(Scene *scene, const char *options) {
        broker_stop(scene->broker);
        broker_limit_runtime(scene->broker, options);
        broker_start(scene->broker);
}

/* Takes until it is refused; how many it were. */
static unsigned take_all(Scene *scene, Reply *replies, unsigned max) {
        unsigned n = 0;

        while (n < max) {
                g_autofree char *name = g_strdup_printf("name=limits-%u", n);
                Reply reply = user_allocate(scene->alice, UNIT, 1, n % 2 == 0 ? name : NULL);

                if (!g_str_equal(reply.error, "")) {
                        reply_assert(reply, "NoResources");
                        assert_says(reply.message, "No space left on device");
                        break;
                }
                g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
                g_assert_cmpint(user_fill(scene->alice, reply.slot, (uint8_t) (n + 1)), ==, 0);
                replies[n++] = reply;
        }
        return n;
}

static void test_runtime_full(Scene *scene, const char *limits) {
        Reply replies[100], reply;
        unsigned n;

        restart_with(scene, limits);
        n = take_all(scene, replies, G_N_ELEMENTS(replies));
        g_test_message("%s: %u allocations", limits, n);
        g_assert_cmpuint(n, >, 1);
        g_assert_cmpuint(n, <, G_N_ELEMENTS(replies));
        assert_refused(scene);

        /* opening needs no room, and a mode that cannot be written down is not changed */
        reply = user_open(scene->alice, "limits-0", NULL);
        reply_assert(reply, "");
        user_drop(scene->alice, reply.slot);
        reply = user_set_mode(scene->alice, replies[0].object, 0666);
        if (!g_str_equal(reply.error, "")) {
                reply_assert(reply, "NoResources");
                g_assert_cmpuint(allocation_get(scene->alice, replies[0].object, "Mode"), ==, 0600);
        }

        /* one that comes back finds everything */
        broker_kill(scene->broker);
        broker_start(scene->broker);
        footprint_assert_sums(scene->root);
        for (unsigned i = 0; i < n; i++)
                g_assert_cmpint(user_is_filled(scene->alice, replies[i].slot, (uint8_t) (i + 1)), ==, 1);
        assert_refused(scene);

        /* room for one makes room for one; her end of the lease is an inode, too */
        free_now(scene, scene->alice, &replies[--n]);
        user_drop(scene->alice, replies[n].slot);
        reply = user_take(scene->bob, UNIT, NULL, 1);
        free_now(scene, scene->bob, &reply);
        while (n > 0)
                free_now(scene, scene->alice, &replies[--n]);
        broker_stop(scene->broker);
        broker_limit_runtime(scene->broker, NULL);
        broker_start(scene->broker);
}

static void test_no_inodes(Scene *scene, const void *unused) {
        (void) unused;
        test_runtime_full(scene, "nr_inodes=24");
        test_runtime_full(scene, "nr_inodes=25");
}

static void test_no_blocks(Scene *scene, const void *unused) {
        (void) unused;
        skip_on_media("records of what may last are not in RUNTIME_DIRECTORY");
        test_runtime_full(scene, "size=32k");
}

/* Full from one moment to the next, and not by us. */
static void test_filled(Scene *scene, const void *unused) {
        Reply named, unnamed, reply;

        (void) unused;
        skip_on_media("records of what may last are not in RUNTIME_DIRECTORY");
        restart_with(scene, "size=256k");
        named = user_take(scene->alice, UNIT, "name=limits", 1);
        unnamed = user_take(scene->alice, UNIT, NULL, 2);
        broker_fill_runtime(scene->broker);

        assert_refused(scene);
        reply = user_set_mode(scene->alice, named.object, 0644);
        reply_assert(reply, "NoResources");
        assert_says(reply.message, "No space left on device");
        g_assert_cmpuint(allocation_get(scene->alice, named.object, "Mode"), ==, 0600);
        g_assert_cmpint(user_is_filled(scene->alice, named.slot, 1), ==, 1);
        free_now(scene, scene->alice, &named);
        user_drop(scene->alice, unnamed.slot);
        g_assert_true(allocation_wait_gone(scene->root, unnamed.object));

        broker_unfill_runtime(scene->broker);
        reply = user_take(scene->bob, UNIT, NULL, 1);
        free_now(scene, scene->bob, &reply);
        broker_stop(scene->broker);
        broker_limit_runtime(scene->broker, NULL);
        broker_start(scene->broker);
}

/* That is known at the start. */
static void test_small_runtime(Scene *scene, const void *unused) {
        static const struct {
                const char *options, *room, *inodes; /* what is said */
        } file_systems[] = {
                { "size=64k,nr_inodes=10k", "can keep 1[0-6] allocations .* is 1024 for one of them; more room ", NULL },
                { "size=64m,nr_inodes=24", NULL, "can keep 1[0-9] allocations .* is 1024 for one of them; more inodes " },
                { "size=64m,nr_inodes=10k", NULL, NULL },
                { "size=0,nr_inodes=0", NULL, NULL }, /* no limits */
        };

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(file_systems); i++) {
                size_t mark = broker_mark_log(scene->broker);

                restart_with(scene, file_systems[i].options);
                broker_stop(scene->broker);
                assert_warned(scene, mark, "size=", file_systems[i].room);
                assert_warned(scene, mark, "nr_inodes=", file_systems[i].inodes);
                broker_limit_runtime(scene->broker, NULL);
                broker_start(scene->broker);
        }
}

static int remount(Scene *scene, unsigned long flags) {
        return mount(NULL, scene->broker->runtime, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV | flags, NULL);
}

static void test_read_only(Scene *scene, const void *unused) {
        Reply reply;
        size_t mark;

        (void) unused;
        /* from the beginning */
        broker_stop(scene->broker);
        broker_limit_runtime(scene->broker, "size=64k");
        g_assert_cmpint(remount(scene, MS_RDONLY), ==, 0);
        mark = broker_mark_log(scene->broker);
        g_assert_cmpint(broker_start_failing(scene->broker), ==, 1);
        g_assert_cmpuint(broker_count_log(scene->broker, mark, "Read-only file system"), >=, 1);

        /* nor can it become so later on, as the broker has its records open */
        g_assert_cmpint(remount(scene, 0), ==, 0);
        broker_start(scene->broker);
        g_assert_cmpint(remount(scene, MS_RDONLY), <, 0);
        g_assert_cmpint(errno, ==, EBUSY);

        reply = user_take(scene->bob, UNIT, NULL, 1);
        free_now(scene, scene->bob, &reply);
        broker_stop(scene->broker);
        broker_limit_runtime(scene->broker, NULL);
        broker_start(scene->broker);
}

static void test_no_runtime(Scene *scene, const void *unused) {
        static char empty[] = "RUNTIME_DIRECTORY=", relative[] = "RUNTIME_DIRECTORY=tmp",
                    missing[] = "RUNTIME_DIRECTORY=/nowhere/at/all",
                    file[] = "RUNTIME_DIRECTORY=/etc/passwd",
                    foreign[] = "RUNTIME_DIRECTORY=/etc";
        char *const variables[] = { empty, relative, missing, file, foreign };

        (void) unused;
        broker_stop(scene->broker);
        for (size_t i = 0; i < G_N_ELEMENTS(variables); i++) {
                char *environment[] = { variables[i], NULL };
                size_t mark = broker_mark_log(scene->broker);

                scene->broker->environment = environment;
                g_assert_cmpint(broker_start_failing(scene->broker), ==, 1);
                g_assert_cmpuint(broker_count_log(scene->broker, mark, i < 2 ? "is not set" : "below /"),
                                 ==, 1);
        }
        scene->broker->environment = NULL;
        broker_start(scene->broker);
}

/* ---- Others ------------------------------------------------------------------------------------------------------- */

/* It has one thread for its work, and gets no more. */
static void test_no_threads(Scene *scene, const void *unused) {
        User *const users[] = { scene->alice, scene->bob, scene->carol };

        (void) unused;
        skip_on_files("a file is opened by a thread of its own");
        broker_restart(scene->broker);
        scene_limit_broker(scene, RLIMIT_NPROC, 1);
        for (unsigned round = 0; round < 5; round++) {
                for (size_t i = 0; i < G_N_ELEMENTS(users); i++)
                        user_begin_allocate(users[i], 16 * MIB, 1, "prefault=1");
                for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
                        Reply reply = user_end_reply(users[i]);

                        reply_assert(reply, "");
                        g_assert_cmpint(user_map(users[i], reply.slot), ==, 0);
                        g_assert_cmpint(user_is_filled(users[i], reply.slot, 0), ==, 1);
                        free_now(scene, users[i], &reply);
                        user_drop_all(users[i]);
                }
        }
        scene_limit_broker(scene, RLIMIT_NPROC, 1024); /* sanitizers need a thread to look for leaks */
        broker_restart(scene->broker);
}

/* Only one can work on a directory. */
static void test_two_brokers(Scene *scene, const void *unused) {
        Reply reply = user_take(scene->alice, UNIT, "name=limits", 1), again;
        pid_t first = scene->broker->pid;
        size_t mark = broker_mark_log(scene->broker);

        (void) unused;
        scene->broker->pid = 0;
        scene->broker->has_manager = false; /* which is the first one's */
        g_assert_cmpint(broker_start_failing(scene->broker), ==, 1);
        g_assert_cmpuint(broker_count_log(scene->broker, mark, "another broker"), ==, 1);
        scene->broker->has_manager = true;
        scene->broker->pid = first;
        service_manager_set_main(scene->broker->manager, first);

        g_assert_true(broker_is_running(scene->broker));
        g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 1), ==, 1);
        again = user_open(scene->alice, "limits", NULL);
        reply_assert(again, "");
        user_drop(scene->alice, again.slot);
        free_now(scene, scene->alice, &reply);
}

static void set_up(Scene *scene, const void *configuration) {
        scene_set_up(scene, configuration);
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
}

int main(int argc, char **argv) {
        static const struct {
                const char *name;
                void (*test)(Scene *scene, const void *unused);
        } tests[] = {
                { "/limits/known-fds", test_known_fds },
                { "/limits/sudden-fds", test_sudden_fds },
                { "/limits/unknown-owner", test_unknown_owner },
                { "/limits/small", test_small },
                { "/limits/small-runtime", test_small_runtime },
                { "/limits/no-inodes", test_no_inodes },
                { "/limits/no-blocks", test_no_blocks },
                { "/limits/filled", test_filled },
                { "/limits/read-only", test_read_only },
                { "/limits/no-runtime", test_no_runtime },
                { "/limits/no-threads", test_no_threads },
                { "/limits/two-brokers", test_two_brokers },
        };

        world_init(&argc, &argv);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add(tests[i].name, Scene, CONFIGURATION, set_up, tests[i].test, scene_tear_down);
        return g_test_run();
}
