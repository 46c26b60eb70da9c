/* SPDX-License-Identifier: MIT */

/* An allocation without a name lives as long as the last copy of its lease, wherever that is and however it goes. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "polkit.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

#define CONFIGURATION                                                                                                  \
        "[Region dram]\n"                                                                                              \
        "Size=256M\n"

/* It is there and will stay: whatever had ended before this has been dealt with when the broker answers. */
static void assert_stays(Scene *scene, const Reply *reply) {
        for (unsigned i = 0; i < 3; i++) {
                g_autofree char *list = NULL;

                g_usleep(10000);
                list = user_list(scene->root);
                g_assert_nonnull(strstr(list, reply->object));
        }
        g_assert_cmpuint(allocation_get(scene->root, reply->object, "InUse"), ==, 1);
        footprint_assert_sums(scene->root);
}

static void assert_ends(Scene *scene, const Reply *reply) {
        g_assert_true(allocation_wait_gone(scene->root, reply->object));
}

static void test_close(Scene *scene, const void *unused) {
        Reply one = user_take(scene->alice, UNIT, NULL, 1), two = user_take(scene->alice, UNIT, NULL, 2);

        (void) unused;
        user_close_lease(scene->alice, one.slot);
        user_let_go(scene->alice, one.slot);
        assert_ends(scene, &one);
        g_assert_cmpint(user_peek(scene->alice, one.slot, 0), ==, -EFAULT);
        assert_stays(scene, &two);

        /* the lease alone counts */
        user_unmap(scene->alice, two.slot);
        user_close_memory(scene->alice, two.slot);
        assert_stays(scene, &two);
        user_close_lease(scene->alice, two.slot);
        assert_ends(scene, &two);
        user_drop_all(scene->alice);
}

static void test_exit(Scene *scene, const void *unused) {
        User *guest = user_new("alice");
        Reply reply = user_take(guest, UNIT, NULL, 1);

        (void) unused;
        user_free(guest);
        assert_ends(scene, &reply);
}

static void test_kill(Scene *scene, const void *unused) {
        User *guest = user_new("bob");
        Reply one = user_take(guest, UNIT, NULL, 1), two = user_take(guest, UNIT, NULL, 2);

        (void) unused;
        user_kill(guest);
        assert_ends(scene, &one);
        assert_ends(scene, &two);
        user_free(guest);
}

static void test_fork(Scene *scene, const void *unused) {
        Reply reply = user_take(scene->alice, UNIT, NULL, 1);

        (void) unused;
        user_fork_child(scene->alice);
        user_fork_child(scene->alice);
        user_drop_all(scene->alice);
        assert_stays(scene, &reply);
        user_end_children(scene->alice);
        assert_ends(scene, &reply);
}

/* A child that is an orphan by now. */
static void test_fork_kill(Scene *scene, const void *unused) {
        User *guest = user_new("alice");
        Reply reply = user_take(guest, UNIT, NULL, 1);
        pid_t child;

        (void) unused;
        child = user_fork_child(guest);
        user_kill(guest);
        assert_stays(scene, &reply);
        process_kill(child);
        assert_ends(scene, &reply);
        user_free(guest);
}

static void test_passed(Scene *scene, const void *unused) {
        User *guest = user_new("alice");
        Reply reply = user_take(guest, UNIT, NULL, 7);
        int slot;

        (void) unused;
        slot = user_give(guest, reply.slot, scene->bob);
        user_kill(guest);
        assert_stays(scene, &reply);
        g_assert_cmpint(user_map(scene->bob, slot), ==, 0);
        g_assert_cmpint(user_is_filled(scene->bob, slot, 7), ==, 1);
        user_close_lease(scene->bob, slot);
        user_let_go(scene->bob, slot);
        assert_ends(scene, &reply);
        g_assert_cmpint(user_peek(scene->bob, slot, 0), ==, -EFAULT);
        user_drop_all(scene->bob);
        user_free(guest);
}

/* Puts the lease into a socket that nobody reads, and keeps it nowhere else; the second call empties the socket. */
static int64_t do_set_adrift(UserCall *call) {
        static int pair[2];
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        char byte = 0;
        struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };
        int lease;

        if (call->size == 0) {
                close(pair[0]);
                close(pair[1]);
                return 0;
        }

        slot_borrow(*(const int *) call->data, NULL, &lease, NULL);
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &lease, sizeof(lease));
        g_assert_cmpint(sendmsg(pair[0], &message, 0), ==, 1);
        return 0;
}

static void test_adrift(Scene *scene, const void *unused) {
        Reply reply = user_take(scene->alice, UNIT, NULL, 1);

        (void) unused;
        user_call(scene->alice, do_set_adrift, &reply.slot, sizeof(reply.slot), NULL, 0);
        user_close_lease(scene->alice, reply.slot);
        assert_stays(scene, &reply);
        g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 1), ==, 1);
        user_call(scene->alice, do_set_adrift, NULL, 0, NULL, 0);
        user_let_go(scene->alice, reply.slot);
        assert_ends(scene, &reply);
        user_drop_all(scene->alice);
}

static bool is_in_use(Scene *scene, const Reply *reply) {
        return allocation_get(scene->root, reply->object, "InUse");
}

static void test_named(Scene *scene, const void *unused) {
        User *guest = user_new("alice");
        Reply reply = user_take(guest, UNIT, "name=scratch", 3), again;

        (void) unused;
        g_assert_true(is_in_use(scene, &reply));
        user_drop_all(guest);
        g_assert_true(wait_until(20, !is_in_use(scene, &reply)));

        again = user_open(scene->alice, "scratch", NULL);
        reply_assert(again, "");
        g_assert_cmpstr(again.object, ==, reply.object);
        g_assert_true(is_in_use(scene, &reply));
        g_assert_cmpint(user_map(scene->alice, again.slot), ==, 0);
        g_assert_cmpint(user_is_filled(scene->alice, again.slot, 3), ==, 1);

        /* two holders: both have to be gone */
        again = user_open(guest, "scratch", NULL);
        reply_assert(again, "");
        user_drop_all(scene->alice);
        assert_stays(scene, &reply);
        user_kill(guest);
        g_assert_true(wait_until(20, !is_in_use(scene, &reply)));

        /* again and again */
        for (unsigned i = 0; i < 20; i++) {
                again = user_open(scene->alice, "scratch", "read-only=1");
                reply_assert(again, "");
                g_assert_true(is_in_use(scene, &reply));
                g_assert_cmpint(user_map_read_only(scene->alice, again.slot), ==, 0);
                g_assert_cmpint(user_is_filled(scene->alice, again.slot, 3), ==, 1);
                user_drop_all(scene->alice);
                g_assert_true(wait_until(20, !is_in_use(scene, &reply)));
        }

        again = user_release(scene->alice, reply.object);
        reply_assert(again, "");
        user_free(guest);
}

/* Everything that the lease itself lets its holder do. */
static int64_t do_misuse(UserCall *call) {
        static const int flags[] = { O_RDONLY | O_NONBLOCK, O_WRONLY | O_NONBLOCK, O_RDWR | O_NONBLOCK };
        g_autofree char *path = NULL;
        struct stat st;
        char byte = 0;
        int lease;

        slot_borrow(*(const int *) call->data, NULL, &lease, NULL);
        path = g_strdup_printf("/proc/self/fd/%d", lease);
        for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
                g_assert_cmpint(open(path, flags[i] | O_CLOEXEC), ==, -1);
                g_assert_cmpint(errno, ==, EACCES);
        }
        g_assert_cmpint(write(lease, &byte, 1), ==, -1);
        g_assert_cmpint(errno, ==, EBADF);
        g_assert_cmpint(fchmod(lease, 0666), ==, -1);
        g_assert_cmpint(errno, ==, EPERM);
        g_assert_cmpint(fchown(lease, getuid(), (gid_t) -1), ==, -1);
        g_assert_cmpint(errno, ==, EPERM);
        g_assert_cmpint(fstat(lease, &st), ==, 0);
        g_assert_cmpuint(st.st_mode & 07777, ==, 0600);

        (void) fcntl(lease, F_SETPIPE_SZ, 1 << 20);
        g_assert_cmpint(fcntl(lease, F_SETFL, O_NONBLOCK), ==, 0);
        g_assert_cmpint(read(lease, &byte, 1), ==, -1);
        g_assert_cmpint(errno, ==, EAGAIN);
        /* a holder may ask for signals about its pipe; the broker must not get any */
        (void) fcntl(lease, F_SETFL, O_NONBLOCK | O_ASYNC);
        return 0;
}

static uint64_t used_ticks(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid), *text = NULL;
        g_auto(GStrv) words = NULL;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        words = g_strsplit(strrchr(text, ')') + 2, " ", -1);
        return g_ascii_strtoull(words[11], NULL, 10) + g_ascii_strtoull(words[12], NULL, 10);
}

static void test_misuse(Scene *scene, const void *unused) {
        User *const users[] = { scene->alice, scene->bob };
        g_autofree char *leases = g_build_filename(scene->broker->runtime, "leases", NULL);
        const char *list[] = { "ls", leases, NULL };
        Reply replies[G_N_ELEMENTS(users)];
        uint64_t ticks;

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
                g_autofree char *output = NULL;

                g_assert_cmpint(user_run(users[i]->name, list, &output), !=, 0);
                replies[i] = user_take(users[i], UNIT, i == 0 ? NULL : "name=scratch", 1);
                user_call(users[i], do_misuse, &replies[i].slot, sizeof(replies[i].slot), NULL, 0);
                assert_stays(scene, &replies[i]);
        }

        /* none of that is a reason to be busy */
        ticks = used_ticks(scene->broker->pid);
        g_usleep(500000);
        g_assert_cmpuint(used_ticks(scene->broker->pid) - ticks, <=, (uint64_t) sysconf(_SC_CLK_TCK) / 10);

        user_drop_all(scene->alice);
        assert_ends(scene, &replies[0]);
        user_drop_all(scene->bob);
        g_assert_true(wait_until(20, !is_in_use(scene, &replies[1])));
        ticks = used_ticks(scene->broker->pid);
        g_usleep(500000);
        g_assert_cmpuint(used_ticks(scene->broker->pid) - ticks, <=, (uint64_t) sysconf(_SC_CLK_TCK) / 10);
        reply_assert(user_release(scene->bob, replies[1].object), "");
}

/* A holder that is killed while somebody else asks to open: either it is too late, or the allocation is alive. */
static void test_race(Scene *scene, const void *unused) {
        g_autoptr(GRand) random = g_rand_new_with_seed(4711);
        unsigned n_opened = 0;

        (void) unused;
        for (unsigned i = 0; i < provider_rounds(200); i++) {
                User *guest = user_new("alice");
                Reply reply = user_take(guest, UNIT, NULL, 5), again;

                /* dying takes a while */
                g_assert_cmpint(kill(guest->pid, SIGKILL), ==, 0);
                g_usleep((gulong) g_rand_int_range(random, 0, 1500));
                again = user_open_object(scene->alice, reply.object, NULL);
                user_kill(guest);

                if (g_str_equal(again.error, "")) {
                        n_opened++;
                        assert_stays(scene, &reply);
                        g_assert_cmpint(user_map(scene->alice, again.slot), ==, 0);
                        g_assert_cmpint(user_is_filled(scene->alice, again.slot, 5), ==, 1);
                        user_drop_all(scene->alice);
                } else
                        reply_assert(again, "NoSuchAllocation");
                assert_ends(scene, &reply);
                user_free(guest);
        }
        g_test_message("%u of %u were opened in time", n_opened, provider_rounds(200));
}

/* The same while the allocation's record is being written. */
static void test_race_mode(Scene *scene, const void *unused) {
        g_autoptr(GRand) random = g_rand_new_with_seed(4711);
        unsigned n_changed = 0;

        (void) unused;
        for (unsigned i = 0; i < provider_rounds(200); i++) {
                User *guest = user_new("alice");
                Reply reply = user_take(guest, UNIT, NULL, 5), changed;

                g_assert_cmpint(kill(guest->pid, SIGKILL), ==, 0);
                g_usleep((gulong) g_rand_int_range(random, 0, 1500));
                do {
                        changed = user_set_mode(scene->alice, reply.object, 0644);
                        n_changed += g_str_equal(changed.error, "");
                } while (g_str_equal(changed.error, "") && process_is_alive(guest->pid));
                if (!g_str_equal(changed.error, ""))
                        reply_assert(changed, "NoSuchAllocation");
                user_kill(guest);
                assert_ends(scene, &reply);
                user_free(guest);
        }
        g_test_message("%u changes", n_changed);
}

/* A client that is killed while it waits for its memory, which may be on its way already. */
static void test_kill_asking(Scene *scene, const void *unused) {
        g_autoptr(GRand) random = g_rand_new_with_seed(4711);

        (void) unused;
        (void) scene;
        for (unsigned i = 0; i < provider_rounds(100); i++) {
                User *guest = user_new("bob");

                user_begin_allocate(guest, 64 * MIB, 1, i % 2 == 0 ? "prefault=1" : NULL);
                g_usleep((gulong) g_rand_int_range(random, 0, 20000));
                user_kill(guest);
                user_free(guest);
        }
}

static void set_up(Scene *scene, const void *configuration) {
        scene_set_up(scene, configuration);
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
}

#define MANY 64

/* More leases lapse at once than are looked at in one go; who asks for all of that memory meanwhile gets it. */
static void test_many(Scene *scene, const void *unused) {
        uint64_t all = scene->before.available;
        User *guest;
        Reply reply;

        (void) unused;
        if (provider_is_device()) {
                g_test_skip("devices are freed one by one, and are not waited for");
                return;
        }

        for (unsigned round = 0; round < 5; round++) {
                guest = user_new("bob");
                for (unsigned i = 0; i < MANY; i++)
                        reply_assert(user_get(guest, all / MANY, NULL), "");
                user_kill(guest);
                reply = user_get(scene->alice, all, NULL);
                reply_assert(reply, "");
                user_drop(scene->alice, reply.slot);
                user_free(guest);
        }
}

int main(int argc, char **argv) {
        static const struct {
                const char *name;
                void (*test)(Scene *scene, const void *unused);
        } tests[] = {
                { "/lease/close", test_close },
                { "/lease/exit", test_exit },
                { "/lease/kill", test_kill },
                { "/lease/fork", test_fork },
                { "/lease/fork-kill", test_fork_kill },
                { "/lease/passed", test_passed },
                { "/lease/adrift", test_adrift },
                { "/lease/named", test_named },
                { "/lease/misuse", test_misuse },
                { "/lease/race", test_race },
                { "/lease/race-mode", test_race_mode },
                { "/lease/kill-asking", test_kill_asking },
                { "/lease/many", test_many },
        };

        world_init(&argc, &argv);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add(tests[i].name, Scene, CONFIGURATION, set_up, tests[i].test, scene_tear_down);
        return g_test_run();
}
