/* SPDX-License-Identifier: MIT */

/* What happens to an allocation after it was made: who may open it and how, who may change that, who may end it, and what
 * is left of it then. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"
#include "names.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define CONFIGURATION "[Region dram]\nSize=256M\n"

/* Anything but the errors of our table, which reply_assert() is for. */
static void assert_error(Reply reply, const char *error) {
        g_assert_cmpstr(reply.error, ==, error);
}

static gid_t group_dax(void) {
        const struct group *group = getgrnam("dax");

        g_assert_nonnull(group);
        return group->gr_gid;
}

/* Before its first call: the bus looks at the groups when somebody connects. */
static int64_t do_join(UserCall *call) {
        const gid_t groups[] = { 0, *(const gid_t *) call->data };

        return setgroups(G_N_ELEMENTS(groups), groups);
}

/* ---- By name --------------------------------------------------------------------------------------------------- */

static void test_same_memory(Scene *scene, gconstpointer unused) {
        Reply first = user_get(scene->alice, UNIT, "name=twice"), second;

        (void) unused;
        second = user_open(scene->alice, "twice", NULL);
        reply_assert(second, "");
        g_assert_cmpstr(first.object, ==, second.object);
        g_assert_cmpuint(first.length, ==, second.length);
        g_assert_cmpuint(second.offset, ==, 0);

        g_assert_cmpint(user_map(scene->alice, first.slot), ==, 0);
        g_assert_cmpint(user_map(scene->alice, second.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, first.slot, 4711, 17), ==, 0);
        g_assert_cmpint(user_peek(scene->alice, second.slot, 4711), ==, 17);

        /* it stays without any holder, with what was written */
        user_drop_all(scene->alice);
        g_assert_true(wait_until(20, allocation_get(scene->alice, first.object, "InUse") == 0));
        second = user_open(scene->alice, "twice", NULL);
        reply_assert(second, "");
        g_assert_cmpuint(allocation_get(scene->alice, first.object, "InUse"), ==, 1);
        g_assert_cmpint(user_map(scene->alice, second.slot), ==, 0);
        g_assert_cmpint(user_peek(scene->alice, second.slot, 4711), ==, 17);
}

static int64_t do_seek(UserCall *call) {
        int memory;

        slot_borrow(*(const int *) call->data, &memory, NULL, NULL);
        return lseek(memory, 7, SEEK_CUR);
}

/* Where one holder reads, and how, is nothing to another one. */
static void test_positions(Scene *scene, gconstpointer unused) {
        Reply first = user_get(scene->alice, UNIT, "name=tape mode=0666"), second, third;

        (void) unused;
        skip_on_devices("a device has no position");
        second = user_open(scene->bob, "tape", NULL);
        reply_assert(second, "");
        g_assert_cmpint(user_call(scene->alice, do_seek, &first.slot, sizeof(first.slot), NULL, 0), ==, 7);
        g_assert_cmpint(user_call(scene->bob, do_seek, &second.slot, sizeof(second.slot), NULL, 0), ==, 7);
        g_assert_cmpint(user_call(scene->alice, do_seek, &first.slot, sizeof(first.slot), NULL, 0), ==, 14);

        broker_kill(scene->broker);
        broker_start(scene->broker);
        third = user_open(scene->bob, "tape", NULL);
        reply_assert(third, "");
        g_assert_cmpint(user_call(scene->bob, do_seek, &third.slot, sizeof(third.slot), NULL, 0), ==, 7);
        user_give_back(scene->alice, &first);
}

static int64_t do_lock(UserCall *call) {
        int memory;

        slot_borrow(*(const int *) call->data, &memory, NULL, NULL);
        return flock(memory, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

/* Nobody else has a lock that somebody took: it ends with him. */
static void test_locks(Scene *scene, gconstpointer unused) {
        Reply first = user_get(scene->alice, UNIT, "name=shared mode=0666"), second;

        (void) unused;
        skip_on_devices("a device is locked by whoever has its node open");
        second = user_open(scene->bob, "shared", NULL);
        reply_assert(second, "");
        g_assert_cmpint(user_call(scene->alice, do_lock, &first.slot, sizeof(first.slot), NULL, 0), ==, 0);
        g_assert_cmpint(user_call(scene->bob, do_lock, &second.slot, sizeof(second.slot), NULL, 0), ==, -EAGAIN);
        user_drop_all(scene->alice);
        g_assert_cmpint(user_call(scene->bob, do_lock, &second.slot, sizeof(second.slot), NULL, 0), ==, 0);
        user_drop_all(scene->bob);
        reply_assert(user_release(scene->alice, first.object), "");
}

static void test_names(Scene *scene, gconstpointer unused) {
        static const char *const bad[] = { "", "a/b", "a b", "\xc3\xa4", "*", "name\n" };
        g_autofree char *long_name = g_strnfill(64, 'x');
        Reply reply;

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                reply_assert(user_open(scene->alice, bad[i], NULL), "BadName");
                reply_assert(user_get_allocation(scene->alice, bad[i]), "BadName");
        }
        reply = user_open(scene->alice, long_name, NULL);
        reply_assert(reply, "BadName");
        assert_says(reply.message, "64 bytes, 63 are allowed");

        long_name[63] = '\0';
        reply = user_open(scene->alice, long_name, NULL);
        reply_assert(reply, "NoSuchAllocation");
        assert_says(reply.message, long_name);
        reply_assert(user_get_allocation(scene->alice, long_name), "NoSuchAllocation");
}

static void test_options(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        (void) user_get(scene->alice, UNIT, "name=options");
        reply = user_open(scene->alice, "options", "mode=0600");
        reply_assert(reply, "BadOption");
        assert_says(reply.message, "there are: read-only");
        reply = user_open(scene->alice, "options", "read-only/s=yes");
        reply_assert(reply, "BadOption");
        assert_says(reply.message, "boolean (b)");
        reply = user_open(scene->alice, "options", "read-only=0 read-only=1");
        reply_assert(reply, "BadOption");
        assert_says(reply.message, "given twice");
}

/* ---- Modes ----------------------------------------------------------------------------------------------------- */

/* Opens both ways, and it has to go as these three bits say. */
static void assert_bits(User *user, const char *name, uint32_t bits) {
        Reply both = user_open(user, name, "read-only=0"), reading = user_open(user, name, "read-only=1");

        reply_assert(both, (bits & 6) == 6 ? "" : "AuthenticationRequired");
        reply_assert(reading, bits & 4 ? "" : "AuthenticationRequired");
        user_drop_all(user);
}

/* Owner, group, others: the first that fits decides alone, as with files. */
static void test_mode_bits(Scene *scene, gconstpointer unused) {
        static const uint32_t values[] = { 0, 4, 6 };
        User *owner = user_new("root");
        gid_t dax = group_dax();
        g_autofree char *of_root = g_strdup_printf("name=of-root group=%u", dax);
        g_autofree char *of_alice = g_strdup_printf("name=of-alice group=%u", world_get_uid("alice"));
        Reply one, two;

        (void) unused;
        g_assert_cmpint(user_call(owner, do_join, &dax, sizeof(dax), NULL, 0), ==, 0);
        one = user_get(owner, UNIT, of_root);
        two = user_get(scene->alice, UNIT, of_alice);

        for (unsigned i = 0; i < 27; i++) {
                uint32_t user = values[i / 9], group = values[i / 3 % 3], others = values[i % 3];
                uint32_t mode = user << 6 | group << 3 | others;

                reply_assert(user_set_mode(owner, one.object, mode), "");
                reply_assert(user_set_mode(scene->alice, two.object, mode), "");
                assert_bits(scene->alice, "of-root", group);
                assert_bits(scene->bob, "of-root", others);
                assert_bits(scene->alice, "of-alice", user);
                assert_bits(scene->bob, "of-alice", others);
        }

        user_drop_all(owner);
        user_free(owner);
}

static void test_set_mode(Scene *scene, gconstpointer unused) {
        static const uint32_t bad[] = { 0700, 0111, 01600, UINT32_MAX, 0200, 0620, 0602, 0640, 0060 };
        Reply reply = user_get(scene->alice, UNIT, "name=modes"), open;

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                reply_assert(user_set_mode(scene->alice, reply.object, bad[i]), "BadMode");
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Mode"), ==, 0600);

        reply_assert(user_set_mode(scene->bob, reply.object, 0666), "AuthenticationRequired");
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Mode"), ==, 0600);

        reply_assert(user_set_mode(scene->alice, reply.object, 0606), "");
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Mode"), ==, 0606);
        open = user_open(scene->bob, "modes", NULL);
        reply_assert(open, "");
        reply_assert(user_set_mode(scene->bob, reply.object, 0600), "AuthenticationRequired");

        /* what is open stays open */
        reply_assert(user_set_mode(scene->alice, reply.object, 0600), "");
        reply_assert(user_open(scene->bob, "modes", NULL), "AuthenticationRequired");
        g_assert_cmpint(user_map(scene->bob, open.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->bob, open.slot, 0, 5), ==, 0);
}

static void test_mode_survives(Scene *scene, gconstpointer unused) {
        Reply reply = user_get(scene->alice, UNIT, "name=modes");

        (void) unused;
        reply_assert(user_set_mode(scene->alice, reply.object, 0604), "");
        broker_kill(scene->broker);
        broker_start(scene->broker);
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Mode"), ==, 0604);
        reply_assert(user_open(scene->bob, "modes", NULL), "AuthenticationRequired");
        reply_assert(user_open(scene->bob, "modes", "read-only=1"), "");
}

/* ---- Read-only ------------------------------------------------------------------------------------------------- */

/* Every other way that comes to mind; each has to fail. */
static int64_t do_try_to_write(UserCall *call) {
        int slot = *(const int *) call->data, memory;
        const size_t page = provider_page_size();
        g_autofree char *path = NULL;
        uint8_t *address;
        void *second;

        slot_borrow(slot, &memory, NULL, &address);
        path = g_strdup_printf("/proc/self/fd/%d", memory);

        g_assert_cmpint(mprotect(address, page, PROT_READ | PROT_WRITE), <, 0);
        g_assert_cmpint(errno, ==, EACCES);
        g_assert_true(mmap(NULL, page, PROT_WRITE, MAP_SHARED, memory, 0) == MAP_FAILED);
        g_assert_cmpint(errno, ==, EACCES);
        /* this gives a second mapping, which can do no more than the first */
        second = mremap(address, 0, page, MREMAP_MAYMOVE);
        g_assert_true(second != MAP_FAILED);
        g_assert_cmpint(mprotect(second, page, PROT_READ | PROT_WRITE), <, 0);
        g_assert_cmpint(errno, ==, EACCES);
        g_assert_cmpint(munmap(second, page), ==, 0);
        g_assert_cmpint(madvise(address, page, MADV_REMOVE), <, 0);
        g_assert_cmpint(errno, ==, EACCES);
        g_assert_cmpint(truncate(path, 0), <, 0);
        g_assert_cmpint(errno, ==, provider_is_device() ? EINVAL : EACCES);
        g_assert_cmpint(open(path, O_WRONLY), <, 0);
        g_assert_cmpint(errno, ==, EACCES);
        g_assert_cmpint(open(path, O_RDONLY | O_TRUNC), <, 0);
        g_assert_cmpint(errno, ==, EACCES);
        g_assert_cmpint(fchmod(memory, 0666), <, 0);
        g_assert_cmpint(errno, ==, EPERM);
        return 0;
}

/* For whom else: the owner himself is no exception, once he has a descriptor that is read-only. */
static void assert_read_only(User *user, const char *name) {
        Reply reply = user_open(user, name, "read-only=1");

        reply_assert(reply, "");
        g_assert_cmpint(user_map(user, reply.slot), ==, -EACCES);
        g_assert_cmpint(user_map_read_only(user, reply.slot), ==, 0);
        g_assert_cmpint(user_poke(user, reply.slot, 0, 99), ==, -EFAULT);
        g_assert_cmpint(user_pwrite(user, reply.slot, 0, 99), ==, -EBADF);
        g_assert_cmpint(user_truncate(user, reply.slot, 0), ==, -EINVAL);
        g_assert_cmpint(user_fallocate(user, reply.slot, PUNCH, 0, 4096), ==, -EBADF);
        g_assert_cmpint(user_add_seals(user, reply.slot, F_SEAL_WRITE), ==, -EPERM);
        user_call(user, do_try_to_write, &reply.slot, sizeof(reply.slot), NULL, 0);

        g_assert_cmpint(user_reopen(user, reply.slot, O_RDWR), ==, -EACCES);
        /* nobody but the broker opens the node of a device */
        g_assert_cmpint(user_reopen(user, reply.slot, O_RDONLY), ==, provider_reopened());
        user_call(user, do_try_to_write, &reply.slot, sizeof(reply.slot), NULL, 0);
        g_assert_cmpint(user_peek(user, reply.slot, 0), ==, 7);
}

static void test_read_only(Scene *scene, gconstpointer unused) {
        Reply reply = user_get(scene->alice, UNIT, "name=exhibit mode=0604"), given;
        int slot;

        (void) unused;
        g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, reply.slot, 0, 7), ==, 0);
        assert_read_only(scene->bob, "exhibit");
        assert_read_only(scene->alice, "exhibit");

        /* somebody it was handed on to */
        given = user_open(scene->bob, "exhibit", "read-only=1");
        reply_assert(given, "");
        slot = user_give(scene->bob, given.slot, scene->carol);
        g_assert_cmpint(user_reopen(scene->carol, slot, O_RDWR), ==, -EACCES);
        g_assert_cmpint(user_map(scene->carol, slot), ==, -EACCES);
        g_assert_cmpint(user_map_read_only(scene->carol, slot), ==, 0);
        g_assert_cmpint(user_peek(scene->carol, slot, 0), ==, 7);

        /* those who may write still do, and may ask for that again */
        g_assert_cmpint(user_poke(scene->alice, reply.slot, 0, 8), ==, 0);
        g_assert_cmpint(user_peek(scene->carol, slot, 0), ==, 8);
        reply = user_open(scene->alice, "exhibit", NULL);
        reply_assert(reply, "");
        g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, reply.slot, 0, 9), ==, 0);
        g_assert_cmpint(user_peek(scene->carol, slot, 0), ==, 9);
}

/* A holder who was there before the first reader, and opens his descriptor again afterwards. */
static void test_read_only_survives(Scene *scene, gconstpointer unused) {
        Reply reply = user_get(scene->alice, UNIT, "name=exhibit mode=0604"), reading;

        (void) unused;
        g_assert_cmpint(user_reopen(scene->alice, reply.slot, O_RDWR), ==, provider_reopened());
        reading = user_open(scene->bob, "exhibit", "read-only=1");
        reply_assert(reading, "");
        broker_kill(scene->broker);
        broker_start(scene->broker);
        reply_assert(user_open(scene->alice, "exhibit", NULL), "");
        g_assert_cmpint(user_reopen(scene->bob, reading.slot, O_RDWR), ==, -EACCES);
}

/* ---- polkit ---------------------------------------------------------------------------------------------------- */

static void test_open_other(Scene *scene, gconstpointer unused) {
        g_autofree char *rules = g_strdup_printf(
                        "polkit.addRule(function(action, subject) {\n"
                        "    if (action.id == 'org.daxbroker1.open-other' && subject.user == 'bob' &&\n"
                        "        action.lookup('name') == 'lent' && action.lookup('owner') == '%u' &&\n"
                        "        action.lookup('region') == 'dram' &&\n"
                        "        action.lookup('size') == '%" G_GUINT64_FORMAT "' &&\n"
                        "        action.lookup('size-mib') == '%" G_GUINT64_FORMAT "' &&\n"
                        "        action.lookup('read-only') == 'true')\n"
                        "        return polkit.Result.YES;\n"
                        "    if (action.id.indexOf('org.daxbroker1.') == 0 && subject.user != 'alice')\n"
                        "        return polkit.Result.NO;\n"
                        "});\n",
                        world_get_uid("alice"), UNIT, UNIT / MIB);
        Reply reply;

        (void) unused;
        scene_set_rules(scene, rules);
        (void) user_get(scene->alice, UNIT, "name=lent");
        (void) user_get(scene->alice, UNIT, "name=kept");

        reply_assert(user_open(scene->bob, "lent", "read-only=1"), "");
        reply = user_open(scene->bob, "lent", NULL);
        reply_assert(reply, "NotAuthorized");
        assert_says(reply.message, "org.daxbroker1.open-other");
        reply_assert(user_open(scene->bob, "kept", "read-only=1"), "NotAuthorized");
        reply_assert(user_open(scene->carol, "lent", "read-only=1"), "NotAuthorized");
}

static void test_manage_other(Scene *scene, gconstpointer unused) {
        Reply reply = user_get(scene->alice, UNIT, "name=managed");

        (void) unused;
        scene_set_rules(scene,
                        "polkit.addRule(function(action, subject) {\n"
                        "    if (action.id == 'org.daxbroker1.manage' && subject.user == 'bob' &&\n"
                        "        action.lookup('name') == 'managed' && action.lookup('mode') == '0606')\n"
                        "        return polkit.Result.YES;\n"
                        "});\n");
        reply_assert(user_set_mode(scene->bob, reply.object, 0604), "AuthenticationRequired");
        reply_assert(user_set_mode(scene->carol, reply.object, 0606), "AuthenticationRequired");
        reply_assert(user_set_mode(scene->bob, reply.object, 0606), "");
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Mode"), ==, 0606);
}

/* ---- The end --------------------------------------------------------------------------------------------------- */

static void assert_ended(Scene *scene, const Reply *reply, const char *name) {
        User *const users[] = { scene->alice, scene->bob, scene->root };
        const char *object = reply->object;

        scene_assert_gone(scene, reply);
        for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
                reply_assert(user_release(users[i], object), "NoSuchAllocation");
                reply_assert(user_open_object(users[i], object, NULL), "NoSuchAllocation");
                reply_assert(user_set_mode(users[i], object, 0600), "NoSuchAllocation");
                if (name) {
                        reply_assert(user_open(users[i], name, NULL), "NoSuchAllocation");
                        reply_assert(user_get_allocation(users[i], name), "NoSuchAllocation");
                }
        }
}

static void test_free(Scene *scene, gconstpointer unused) {
        Reply reply = user_get(scene->alice, UNIT, "name=short mode=0606"),
              other = user_open(scene->bob, "short", NULL);

        (void) unused;
        reply_assert(other, "");
        g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
        g_assert_cmpint(user_map(scene->bob, other.slot), ==, 0);

        /* that he may write to it does not mean that he may end it */
        reply_assert(user_release(scene->bob, reply.object), "AuthenticationRequired");
        g_assert_cmpint(user_peek(scene->alice, reply.slot, 0), ==, 0);

        reply_assert(user_release(scene->alice, reply.object), "");
        user_let_go(scene->alice, reply.slot);
        user_let_go(scene->bob, other.slot);
        footprint_assert_available(256 * MIB);
        g_assert_cmpint(user_peek(scene->alice, reply.slot, 0), ==, -EFAULT);
        g_assert_cmpint(user_peek(scene->bob, other.slot, 0), ==, -EFAULT);
        assert_ended(scene, &reply, "short");
}

static void test_free_unnamed(Scene *scene, gconstpointer unused) {
        Reply reply = user_get(scene->alice, UNIT, NULL);

        (void) unused;
        reply_assert(user_release(scene->bob, reply.object), "AuthenticationRequired");
        reply_assert(user_release(scene->alice, reply.object), "");
        user_let_go(scene->alice, reply.slot);
        assert_ended(scene, &reply, NULL);
        /* the lease of what has ended means nothing any more */
        user_drop_all(scene->alice);
        assert_ended(scene, &reply, NULL);
}

static void test_free_other(Scene *scene, gconstpointer unused) {
        Reply reply = user_get(scene->alice, UNIT, "name=doomed"),
              spared = user_get(scene->alice, UNIT, "name=spared");

        (void) unused;
        scene_set_rules(scene,
                        "polkit.addRule(function(action, subject) {\n"
                        "    if (action.id == 'org.daxbroker1.free-other' && subject.user == 'bob' &&\n"
                        "        action.lookup('name') == 'doomed' && action.lookup('region') == 'dram')\n"
                        "        return polkit.Result.YES;\n"
                        "});\n");
        g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
        reply_assert(user_release(scene->carol, reply.object), "AuthenticationRequired");
        reply_assert(user_release(scene->bob, spared.object), "AuthenticationRequired");
        reply_assert(user_release(scene->bob, reply.object), "");
        user_let_go(scene->alice, reply.slot);
        g_assert_cmpint(user_peek(scene->alice, reply.slot, 0), ==, -EFAULT);
        assert_ended(scene, &reply, "doomed");
}

static void test_reuse_name(Scene *scene, gconstpointer unused) {
        Reply reply = user_get(scene->alice, UNIT, "name=place mode=0606"), next;

        (void) unused;
        g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
        g_assert_cmpint(user_fill(scene->alice, reply.slot, 1), ==, 0);
        reply_assert(user_release(scene->alice, reply.object), "");

        /* another's now, whether the first one has let go or not; nothing is inherited */
        next = user_get(scene->root, 4 * MIB, "name=place");
        g_assert_cmpstr(next.object, !=, reply.object);
        g_assert_cmpint(user_map(scene->root, next.slot), ==, 0);
        g_assert_cmpint(user_is_filled(scene->root, next.slot, 0), ==, 1);
        g_assert_cmpuint(allocation_get(scene->root, next.object, "Mode"), ==, 0600);
        reply_assert(user_open(scene->alice, "place", NULL), "AuthenticationRequired");
        user_let_go(scene->alice, reply.slot);
        scene_assert_gone(scene, &reply);
        reply_assert(user_open_object(scene->alice, reply.object, NULL), "NoSuchAllocation");
        g_assert_cmpint(user_peek(scene->alice, reply.slot, 0), ==, -EFAULT);
}

/* ---- By object ------------------------------------------------------------------------------------------------- */

static void test_unnamed(Scene *scene, gconstpointer unused) {
        Reply reply = user_get(scene->alice, UNIT, NULL), again, read;

        (void) unused;
        again = user_open_object(scene->alice, reply.object, NULL);
        reply_assert(again, "");
        g_assert_cmpstr(again.object, ==, reply.object);
        reply_assert(user_open_object(scene->bob, reply.object, NULL), "AuthenticationRequired");
        reply_assert(user_set_mode(scene->alice, reply.object, 0604), "");
        read = user_open_object(scene->bob, reply.object, "read-only=1");
        reply_assert(read, "");

        /* each of the three leases keeps it, and only they do */
        user_drop_all(scene->alice);
        g_assert_cmpint(user_map_read_only(scene->bob, read.slot), ==, 0);
        reply_assert(user_open_object(scene->bob, reply.object, "read-only=1"), "");
        user_close_lease(scene->bob, read.slot + 1);
        g_assert_cmpint(user_peek(scene->bob, read.slot, 0), ==, 0);
        user_close_lease(scene->bob, read.slot);
        user_let_go(scene->bob, -1);
        g_assert_true(allocation_wait_gone(scene->root, reply.object));
        g_assert_cmpint(user_peek(scene->bob, read.slot, 0), ==, -EFAULT);
}

static void test_get_allocation(Scene *scene, gconstpointer unused) {
        Reply reply = user_get(scene->alice, UNIT, "name=found"), found;

        (void) unused;
        found = user_get_allocation(scene->alice, "found");
        reply_assert(found, "");
        g_assert_cmpstr(found.object, ==, reply.object);
        reply_assert(user_get_allocation(scene->bob, "found"), "AuthenticationRequired");
        reply_assert(user_set_mode(scene->alice, reply.object, 0604), "");
        found = user_get_allocation(scene->bob, "found");
        reply_assert(found, "");
        g_assert_cmpstr(found.object, ==, reply.object);
}

typedef struct OddCall {
        char path[128], interface[64], member[32];
} OddCall;

static int64_t do_odd_call(UserCall *call) {
        const OddCall *odd = call->data;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *message = NULL;
        Reply *reply = call->answer;

        g_assert_cmpint(sd_bus_message_new_method_call(user_bus(), &message, DAXBROKER_BUS_NAME, odd->path,
                                                       odd->interface, odd->member),
                        >=, 0);
        if (g_str_equal(odd->member, "Get"))
                g_assert_cmpint(sd_bus_message_append(message, "ss", DAXBROKER_ALLOCATION_INTERFACE, "Name"),
                                >=, 0);
        else if (g_str_equal(odd->member, "GetAll"))
                g_assert_cmpint(sd_bus_message_append(message, "s", DAXBROKER_ALLOCATION_INTERFACE), >=, 0);
        else if (g_str_equal(odd->member, "Set"))
                g_assert_cmpint(sd_bus_message_append(message, "ssv", DAXBROKER_ALLOCATION_INTERFACE, "Mode",
                                                      "u", (uint32_t) 0666),
                                >=, 0);

        *reply = (Reply) {};
        call->answer_size = sizeof(*reply);
        g_assert_cmpint(sd_bus_call(user_bus(), message, 0, &error, NULL), <, 0);
        g_strlcpy(reply->error, error.name, sizeof(reply->error));
        g_strlcpy(reply->message, error.message, sizeof(reply->message));
        sd_bus_error_free(&error);
        sd_bus_message_unref(message);
        return 0;
}

static Reply odd_call(User *user, const char *path, const char *interface, const char *member) {
        OddCall odd = {};
        Reply reply;

        g_strlcpy(odd.path, path, sizeof(odd.path));
        g_strlcpy(odd.interface, interface, sizeof(odd.interface));
        g_strlcpy(odd.member, member, sizeof(odd.member));
        user_call(user, do_odd_call, &odd, sizeof(odd), &reply, sizeof(reply));
        return reply;
}

static void test_missing(Scene *scene, gconstpointer unused) {
        static const char *const paths[] = {
                        DAXBROKER_ALLOCATION_PATH "/0123456789abcdef",
                        DAXBROKER_ALLOCATION_PATH "/x",
                        DAXBROKER_ALLOCATION_PATH "/0123456789abcdef/x",
                        DAXBROKER_ALLOCATION_PATH "/0123456789ABCDEF",
        };
        Reply reply = user_get(scene->alice, UNIT, "name=there");
        g_autofree char *below = g_strconcat(reply.object, "/x", NULL);

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
                reply_assert(user_open_object(scene->alice, paths[i], NULL), "NoSuchAllocation");
                reply_assert(user_release(scene->alice, paths[i]), "NoSuchAllocation");
                reply_assert(user_set_mode(scene->alice, paths[i], 0600), "NoSuchAllocation");
                reply_assert(odd_call(scene->alice, paths[i], "org.freedesktop.DBus.Properties", "Get"),
                             "NoSuchAllocation");
                reply_assert(odd_call(scene->alice, paths[i], "org.freedesktop.DBus.Properties", "GetAll"),
                             "NoSuchAllocation");
        }
        reply_assert(user_release(scene->alice, below), "NoSuchAllocation");

        /* objects and members that cannot be meant */
        assert_error(user_release(scene->alice, DAXBROKER_ROOT_PATH), SD_BUS_ERROR_UNKNOWN_METHOD);
        assert_error(user_release(scene->alice, DAXBROKER_REGION_PATH "/dram"), SD_BUS_ERROR_UNKNOWN_METHOD);
        assert_error(odd_call(scene->alice, reply.object, DAXBROKER_ALLOCATION_INTERFACE, "Shred"),
                     SD_BUS_ERROR_UNKNOWN_METHOD);
        assert_error(odd_call(scene->alice, reply.object, DAXBROKER_MANAGER_INTERFACE, "Reload"),
                     SD_BUS_ERROR_UNKNOWN_METHOD);
        assert_error(odd_call(scene->alice, reply.object, "org.freedesktop.DBus.Properties", "Set"),
                     SD_BUS_ERROR_PROPERTY_READ_ONLY);
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Mode"), ==, 0600);
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        scene_add("/open/same-memory", CONFIGURATION, test_same_memory);
        scene_add("/open/positions", CONFIGURATION, test_positions);
        scene_add("/open/locks", CONFIGURATION, test_locks);
        scene_add("/open/names", CONFIGURATION, test_names);
        scene_add("/open/options", CONFIGURATION, test_options);
        scene_add("/open/mode-bits", CONFIGURATION, test_mode_bits);
        scene_add("/open/set-mode", CONFIGURATION, test_set_mode);
        scene_add("/open/mode-survives", CONFIGURATION, test_mode_survives);
        scene_add("/open/read-only", CONFIGURATION, test_read_only);
        scene_add("/open/read-only-survives", CONFIGURATION, test_read_only_survives);
        scene_add("/open/open-other", CONFIGURATION, test_open_other);
        scene_add("/open/manage-other", CONFIGURATION, test_manage_other);
        scene_add("/open/free", CONFIGURATION, test_free);
        scene_add("/open/free-unnamed", CONFIGURATION, test_free_unnamed);
        scene_add("/open/free-other", CONFIGURATION, test_free_other);
        scene_add("/open/reuse-name", CONFIGURATION, test_reuse_name);
        scene_add("/open/unnamed", CONFIGURATION, test_unnamed);
        scene_add("/open/get-allocation", CONFIGURATION, test_get_allocation);
        scene_add("/open/missing", CONFIGURATION, test_missing);
        return g_test_run();
}
