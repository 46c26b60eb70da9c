/* SPDX-License-Identifier: MIT */

/* Holders who get the kernel to hang while it works on their memory: revoking it has to wait, and nobody else has to. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "memory.h"
#include "names.h"
#include "polkit.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

#define REVOKE_TIMEOUT_SEC 1

#define CONFIGURATION                                                                                                  \
        "[Broker]\n"                                                                                                   \
        "RevokeTimeoutSec=1\n"                                                                                         \
        "[Region dram]\n"                                                                                              \
        "Size=256M\n"

static Reply take(User *user, uint64_t size, const char *options, uint8_t value) {
        Reply reply = user_get(user, size, options);

        g_assert_cmpint(user_map(user, reply.slot), ==, 0);
        g_assert_cmpint(user_fill(user, reply.slot, value), ==, 0);
        return reply;
}

static void free_now(User *user, const Reply *reply) {
        reply_assert(user_release(user, reply->object), "");
}

static int64_t on_slot(User *user, UserFunction function, int slot) {
        return user_call(user, function, &slot, sizeof(slot), NULL, 0);
}

/* A write to the memory hangs in the kernel, with the file locked, because the page it reads from is one that its owner is
 * to provide and does not. In these tests it takes root to have such pages; in the world outside a file system in user
 * space does as well. */
typedef struct Hang {
        int uffd, memory, lease;
        bool amid; /* what comes before that page is written first */
        void *page;
        pthread_t thread;
} Hang;

static Hang hangs[16];
static unsigned n_hangs, n_let_go; /* the first ones */

static void *hang(void *userdata) {
        /* some kernels look at 2 MiB before they write any of them */
        static char before[2 * MIB + MIB / 4];
        const Hang *self = userdata;
        struct iovec parts[] = { { before, sizeof(before) }, { self->page, 1 } };
        unsigned first = self->amid ? 0 : 1;

        /* not pwritev(): what a sanitizer wraps around it may look at the page first */
        (void) syscall(SYS_pwritev, self->memory, parts + first, (unsigned long) (2 - first), 0UL, 0UL);
        return NULL;
}

/* The same with the lease, as far as it goes. */
static void *hang_lease(void *userdata) {
        const Hang *self = userdata;

        (void) fcntl(self->lease, F_SETFL, 0);
        (void) syscall(SYS_write, self->lease, self->page, 1UL);
        (void) syscall(SYS_read, self->lease, self->page, 1UL);
        return NULL;
}

static int64_t hang_begin(UserCall *call, void *(*thread)(void *), bool amid) {
        struct uffdio_api api = { .api = UFFD_API };
        struct uffdio_register region = { .range.len = 4096, .mode = UFFDIO_REGISTER_MODE_MISSING };
        Hang *self = &hangs[n_hangs];

        g_assert_cmpuint(n_hangs, <, G_N_ELEMENTS(hangs));
        self->uffd = (int) syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
        if (self->uffd < 0 || ioctl(self->uffd, UFFDIO_API, &api) < 0)
                return -errno;
        self->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        g_assert_true(self->page != MAP_FAILED);
        region.range.start = (uintptr_t) self->page;
        g_assert_cmpint(ioctl(self->uffd, UFFDIO_REGISTER, &region), ==, 0);

        self->amid = amid;
        slot_borrow(*(const int *) call->data, &self->memory, &self->lease, NULL);
        g_assert_cmpint(pthread_create(&self->thread, NULL, thread, self), ==, 0);
        n_hangs++;
        return 0;
}

static int64_t do_hang(UserCall *call) {
        return hang_begin(call, hang, false);
}

static int64_t do_hang_amid(UserCall *call) {
        return hang_begin(call, hang, true);
}

static int64_t do_hang_lease(UserCall *call) {
        return hang_begin(call, hang_lease, false);
}

/* The kernel asks for the page with the file locked. */
static int64_t do_await_hang(UserCall *call) {
        struct pollfd asked = { .fd = hangs[n_hangs - 1].uffd, .events = POLLIN };

        (void) call;
        return poll(&asked, 1, 60000);
}

/* Those that wait for each other get the lock in whichever order. */
static int64_t do_let_one_go(UserCall *call) {
        const Hang *self = &hangs[n_let_go++];
        struct uffdio_zeropage zero = { .range = { .start = (uintptr_t) self->page, .len = 4096 } };

        (void) call;
        g_assert_cmpuint(n_let_go, <=, n_hangs);
        g_assert_cmpint(ioctl(self->uffd, UFFDIO_ZEROPAGE, &zero), ==, 0);
        return 0;
}

static int64_t do_let_go(UserCall *call) {
        while (n_let_go < n_hangs)
                (void) do_let_one_go(call);
        for (; n_hangs > 0; n_hangs--) {
                const Hang *self = &hangs[n_hangs - 1];

                g_assert_cmpint(pthread_join(self->thread, NULL), ==, 0);
                close(self->uffd);
                g_assert_cmpint(munmap(self->page, 4096), ==, 0);
        }
        n_let_go = 0;
        return 0;
}

/* Whether it has come to hang: somebody who would have to wait says so. */
static bool can_hang(User *user, int slot) {
        if (on_slot(user, do_hang, slot) < 0) {
                g_test_skip("there is no userfaultfd(2) here");
                return false;
        }
        g_assert_cmpint(user_call(user, do_await_hang, NULL, 0, NULL, 0), ==, 1);
        return true;
}

static void assert_revoking(Scene *scene, const Reply *reply) {
        g_autofree char *state = allocation_get_string(scene->root, reply->object, "State");

        g_assert_cmpstr(state, ==, "revoking");
}

/* Free is answered, and in time. */
static void assert_busy(User *user, const Reply *reply) {
        gint64 begin = g_get_monotonic_time();

        reply_assert(user_release(user, reply->object), "Busy");
        g_assert_cmpint(g_get_monotonic_time() - begin, >=, REVOKE_TIMEOUT_SEC * G_USEC_PER_SEC * 9 / 10);
        g_assert_cmpint(g_get_monotonic_time() - begin, <, (REVOKE_TIMEOUT_SEC + 5) * G_USEC_PER_SEC);
}

static void test_one(Scene *scene, const void *unused) {
        (void) unused;
        skip_on_devices("neither a holder nor the broker has to wait for the lock of a device");
        for (unsigned round = 0; round < 2; round++) {
                User *guest = user_new("root");
                Reply reply = take(guest, MIB, "name=scratch", 1);

                if (!can_hang(guest, reply.slot)) {
                        free_now(scene->root, &reply);
                        user_free(guest);
                        return;
                }
                assert_busy(scene->root, &reply);
                assert_revoking(scene, &reply);
                assert_others_go_on(scene->alice);
                /* the second who asks is told as well */
                reply_assert(user_release(scene->root, reply.object), "Busy");

                /* it stays charged, and nobody gets it */
                g_assert_cmpuint(region_get("dram", "Available"), ==, scene->before.available - MIB);
                footprint_assert_sums(scene->root);
                reply_assert(user_open(scene->root, "scratch", NULL), "NoSuchAllocation");
                reply_assert(user_allocate(scene->alice, 256 * MIB, 1, NULL), "NoSpace");
                reply_assert(user_allocate(scene->alice, MIB, 1, "name=scratch"), "NameExists");

                /* the end comes by itself */
                if (round == 0)
                        user_call(guest, do_let_go, NULL, 0, NULL, 0);
                else
                        user_kill(guest);
                g_assert_true(allocation_wait_gone(scene->root, reply.object));
                if (round == 0)
                        g_assert_cmpint(user_peek(guest, reply.slot, 0), ==, -EFAULT);
                footprint_assert_back(scene->broker, &scene->before);
                user_free(guest);
        }
}

static void test_many(Scene *scene, const void *unused) {
        User *guest, *another, *asking[8];
        Reply replies[G_N_ELEMENTS(asking)], reply;

        (void) unused;
        skip_on_devices("neither a holder nor the broker has to wait for the lock of a device");
        guest = user_new("root");
        for (size_t i = 0; i < G_N_ELEMENTS(asking); i++) {
                asking[i] = user_new("root");
                replies[i] = take(guest, MIB, NULL, 1);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(asking); i++)
                if (!can_hang(guest, replies[i].slot)) {
                        for (size_t k = 0; k < G_N_ELEMENTS(asking); k++)
                                user_free(asking[k]);
                        user_free(guest);
                        return;
                }

        for (size_t i = 0; i < G_N_ELEMENTS(asking); i++)
                user_begin_release(asking[i], replies[i].object);
        assert_others_go_on(scene->alice);
        assert_others_go_on(scene->bob);
        for (size_t i = 0; i < G_N_ELEMENTS(asking); i++) {
                reply_assert(user_end_reply(asking[i]), "Busy");
                assert_revoking(scene, &replies[i]);
        }
        assert_others_go_on(scene->carol);
        g_assert_cmpuint(region_get("dram", "Available"), ==, scene->before.available - 8 * MIB);
        footprint_assert_sums(scene->root);
        /* all of its workers hang: making a file has to wait for one, making memory takes none */
        another = user_new("root");
        user_begin_allocate(another, MIB, 1, NULL);
        if (provider_is_files()) {
                assert_others_go_on(scene->alice);
                g_assert_false(user_is_done(another));
        } else {
                reply = user_end_reply(another);
                reply_assert(reply, "");
        }

        user_call(guest, do_let_go, NULL, 0, NULL, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(asking); i++) {
                g_assert_true(allocation_wait_gone(scene->root, replies[i].object));
                user_free(asking[i]);
        }
        if (provider_is_files()) {
                reply = user_end_reply(another);
                reply_assert(reply, "");
        }
        free_now(another, &reply);
        user_free(another);
        reply = user_get(guest, MIB, "name=scratch");
        free_now(guest, &reply);
        user_free(guest);
}

/* Nobody can make the broker wait with a lease: neither its end, nor a broker that starts and opens it again. */
static void test_lease(Scene *scene, const void *unused) {
        User *guest = user_new("root");
        Reply kept = user_get(guest, MIB, "name=scratch"), ended = user_get(guest, MIB, NULL);

        (void) unused;
        if (on_slot(guest, do_hang_lease, kept.slot) < 0 || on_slot(guest, do_hang_lease, ended.slot) < 0)
                g_test_skip("there is no userfaultfd(2) here");
        g_usleep(50000);
        free_now(scene->root, &ended);
        assert_others_go_on(scene->alice);
        broker_restart(scene->broker);
        assert_others_go_on(scene->alice);
        g_assert_true(allocation_get(scene->root, kept.object, "InUse"));
        free_now(scene->root, &kept);
        assert_others_go_on(scene->alice);
        user_call(guest, do_let_go, NULL, 0, NULL, 0);
        user_free(guest);
}

/* A broker that is told to stop meanwhile leaves the bus. What was to end has not come back to life with the next one. */
static void test_stop(Scene *scene, const void *unused) {
        User *guest;
        Reply reply;
        pid_t pid = scene->broker->pid;
        bool exited;
        int status;

        (void) unused;
        skip_on_devices("neither a holder nor the broker has to wait for the lock of a device");
        guest = user_new("root");
        reply = take(guest, MIB, "name=scratch", 1);
        if (!can_hang(guest, reply.slot)) {
                free_now(scene->root, &reply);
                user_free(guest);
                return;
        }

        assert_busy(scene->root, &reply);
        g_assert_cmpint(kill(pid, SIGTERM), ==, 0);
        g_assert_true(bus_wait_name(DAXBROKER_BUS_NAME, false, 20));

        /* some kernels let a thread that waits for a file's lock die, others have the whole process wait for it */
        exited = wait_until(5, waitpid(pid, &status, WNOHANG) == pid);
        if (exited) {
                scene->broker->pid = 0;
                broker_start(scene->broker);
                assert_revoking(scene, &reply);
                g_assert_cmpuint(region_get("dram", "Available"), ==, scene->before.available - MIB);
                assert_others_go_on(scene->alice);
                user_call(guest, do_let_go, NULL, 0, NULL, 0);
        } else {
                user_call(guest, do_let_go, NULL, 0, NULL, 0);
                g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
                scene->broker->pid = 0;
                broker_start(scene->broker);
        }
        g_assert_true(WIFEXITED(status));
        g_assert_true(allocation_wait_gone(scene->root, reply.object));
        g_assert_cmpint(user_peek(guest, reply.slot, 0), ==, -EFAULT);
        user_free(guest);
}

static bool is_in_state(User *user, const char *object, const char *state) {
        g_autofree char *list = user_list(user), *seen = NULL;

        if (!strstr(list, object))
                return false;
        seen = allocation_get_string(user, object, "State");
        return strcmp(seen, state) == 0;
}

/* A file that is locked at each step of its end keeps nobody from the others of its directory. */
static void test_directory(Scene *scene, const void *unused) {
        g_autofree char *path = NULL;
        User *guest;
        Reply data, open;

        (void) unused;
        data = user_get(scene->alice, MIB, "region=files persistent=1 name=data");
        path = g_strdup_printf(FILES_PATH "/%s", strrchr(data.object, '/') + 1);
        guest = user_new("root");
        open = user_open_object(guest, data.object, NULL);
        reply_assert(open, "");
        if (!can_hang(guest, open.slot)) {
                user_free(guest);
                free_now(scene->alice, &data);
                return;
        }

        assert_busy(scene->alice, &data);
        for (unsigned i = 0; i < 10; i++) {
                Reply other;

                /* the next one gets in line before the broker's next step does */
                g_assert_cmpint(on_slot(guest, do_hang, open.slot), ==, 0);
                g_usleep(50000);
                user_call(guest, do_let_one_go, NULL, 0, NULL, 0);
                g_usleep(50000);
                other = user_get(scene->bob, MIB, "region=files persistent=1 name=other");
                free_now(scene->bob, &other);
                user_drop_all(scene->bob);
        }

        user_call(guest, do_let_go, NULL, 0, NULL, 0);
        user_free(guest);
        user_drop_all(scene->alice);
        g_assert_true(wait_until(20, access(path, F_OK) < 0));
        g_assert_true(allocation_wait_gone(scene->root, data.object));
}

/* What a holder puts into what is left of a file that has ended is charged to whose it was, until it is gone. */
static void test_rest(Scene *scene, const void *unused) {
        g_autofree char *path = NULL;
        User *guest;
        Reply data, open;
        struct stat st;

        (void) unused;
        data = user_get(scene->alice, MIB, "region=files persistent=1 name=data");
        path = g_strdup_printf(FILES_PATH "/%s", strrchr(data.object, '/') + 1);
        guest = user_new("root");
        open = user_open_object(guest, data.object, NULL);
        reply_assert(open, "");
        free_now(scene->alice, &data);
        g_assert_true(allocation_wait_gone(scene->root, data.object));
        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_cmpint(st.st_size, ==, 0);

        if (on_slot(guest, do_hang_amid, open.slot) < 0) {
                g_test_skip("there is no userfaultfd(2) here");
                user_free(guest);
                return;
        }
        /* how many blocks that is nobody can say as long as the file is locked */
        g_assert_true(wait_until(20, stat(path, &st) == 0 && (st.st_size > 0 || st.st_blocks >= 256)));
        user_drop_all(scene->alice); /* an event of the directory */
        g_assert_true(wait_until(20, is_in_state(scene->root, data.object, "revoking")));
        g_assert_true(is_in_state(scene->alice, data.object, "revoking"));
        g_assert_cmpuint(allocation_get(scene->root, data.object, "Owner"), ==, world_get_uid("alice"));
        g_assert_cmpuint(allocation_get(scene->root, data.object, "Length"), >=, 4096);
        g_assert_true(wait_until(20, region_get("files", "Available") ==
                                                     64 * MIB - allocation_get(scene->root, data.object, "Length")));
        reply_assert(user_allocate(scene->alice, 4096, 1, "region=files persistent=1 name=more"), "QuotaExceeded");
        reply_assert(user_open(scene->alice, "data", NULL), "NoSuchAllocation");
        /* its name is as free as before, and nobody else has to wait */
        data = user_get(scene->bob, MIB, "region=files persistent=1 name=data");
        free_now(scene->bob, &data);
        user_drop_all(scene->bob);

        user_call(guest, do_let_go, NULL, 0, NULL, 0);
        g_assert_true(allocation_wait_gone(scene->root, open.object));
        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_cmpint(st.st_size, ==, 0);
        data = user_get(scene->alice, 4096, "region=files persistent=1 name=more");
        free_now(scene->alice, &data);
        user_drop_all(scene->alice);
        user_drop_all(guest);
        user_free(guest);
        /* with its last writer it goes by itself */
        g_assert_true(wait_until(20, stat(path, &st) < 0 && errno == ENOENT));
}

/* As many as dbus-daemon lets a connection have. */
#define CROWD 120

/* Requests that wait for what is ending, of a user who can have no more. */
static int64_t do_crowd(UserCall *call) {
        (void) call;
        for (unsigned i = 0; i < CROWD; i++) {
                sd_bus_message *message;

                g_assert_cmpint(sd_bus_message_new_method_call(user_bus(), &message, DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH,
                                                               DAXBROKER_MANAGER_INTERFACE, "Allocate"), >=, 0);
                g_assert_cmpint(sd_bus_message_append(message, "tta{sv}", (uint64_t) MIB, UINT64_C(1), 0), >=, 0);
                g_assert_cmpint(sd_bus_call_async(user_bus(), NULL, message, NULL, NULL, 0), >=, 0);
                sd_bus_message_unref(message);
        }
        return sd_bus_flush(user_bus());
}

/* Whenever something comes back they look whether it is for them, and others do not wait for all of them to do so. */
static void test_crowd(Scene *scene, const void *unused) {
        User *guest = user_new("root"), *crowds[12];
        Reply reply = take(guest, MIB, NULL, 1);

        (void) unused;
        if (!can_hang(guest, reply.slot)) {
                free_now(scene->root, &reply);
                user_free(guest);
                return;
        }
        user_begin_release(scene->root, reply.object);
        for (size_t i = 0; i < G_N_ELEMENTS(crowds); i++) {
                crowds[i] = user_new("root");
                g_assert_cmpint(user_call(crowds[i], do_crowd, NULL, 0, NULL, 0), >=, 0);
        }
        (void) user_check(crowds[0], MIB, 1, NULL); /* polkit has answered all of them before it answers this */
        assert_others_go_on(scene->alice);
        for (size_t i = 0; i < G_N_ELEMENTS(crowds); i++) {
                user_kill(crowds[i]);
                user_free(crowds[i]);
        }
        user_kill(guest);
        user_free(guest);
        reply_assert(user_end_reply(scene->root), "");
        footprint_assert_back(scene->broker, &scene->before);
}

static void set_up(Scene *scene, const void *configuration) {
        scene_set_up(scene, configuration);
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        g_test_add("/hang/one", Scene, CONFIGURATION, set_up, test_one, scene_tear_down);
        g_test_add("/hang/many", Scene, CONFIGURATION, set_up, test_many, scene_tear_down);
        g_test_add("/hang/lease", Scene, CONFIGURATION, set_up, test_lease, scene_tear_down);
        g_test_add("/hang/crowd", Scene,
                   "[Broker]\nRevokeTimeoutSec=60\nMaxPendingPerUser=4096\n[Quota user:root]\nMaxAllocations=1\n"
                   "[Region dram]\nSize=256M\n", set_up, test_crowd, scene_tear_down);
        g_test_add("/hang/stop", Scene, CONFIGURATION, set_up, test_stop, scene_tear_down);
        files_add("/hang/directory", CONFIGURATION, test_directory);
        files_add("/hang/rest", CONFIGURATION "[Quota user:alice]\nMaxAllocations=1\n", test_rest);
        return g_test_run();
}
