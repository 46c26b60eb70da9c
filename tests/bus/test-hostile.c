/* SPDX-License-Identifier: MIT */

/* Users who mean harm, with what they hold and on the bus: none of it may get them more than their share, touch anybody
 * else's, or make others wait. test-hang.c has those who get the kernel to help them. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "names.h"
#include "polkit.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

#define PENDING_MAX 16U

#define CONFIGURATION                                                                                                  \
        "[Broker]\n"                                                                                                   \
        "PolkitTimeoutSec=60\n"                                                                                        \
        "MaxPendingPerUser=16\n"                                                                                       \
        "[Region dram]\n"                                                                                              \
        "Size=256M\n"

#define MANAGER DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH, DAXBROKER_MANAGER_INTERFACE

#define append(message, ...) g_assert_cmpint(sd_bus_message_append(message, __VA_ARGS__), >=, 0)

/* ---- Small things ------------------------------------------------------------------------------------------------- */

static int64_t on_slot(User *user, UserFunction function, int slot) {
        return user_call(user, function, &slot, sizeof(slot), NULL, 0);
}

/* ---- What is held ------------------------------------------------------------------------------------------------- */

static int64_t do_assert_not_owner(UserCall *call) {
        int memory;

        slot_borrow(*(const int *) call->data, &memory, NULL, NULL);
        g_assert_cmpint(fchmod(memory, 0666), ==, -1);
        g_assert_cmpint(errno, ==, EPERM);
        g_assert_cmpint(fchmod(memory, 0), ==, -1);
        g_assert_cmpint(errno, ==, EPERM);
        g_assert_cmpint(fchown(memory, getuid(), getgid()), ==, -1);
        g_assert_cmpint(errno, ==, EPERM);
        /* would have the broker wait when it opens the file for somebody else */
        g_assert_cmpint(fcntl(memory, F_SETLEASE, F_WRLCK), ==, -1);
        g_assert_cmpint(errno, ==, EACCES);
        return 0;
}

/* The kernel says no: to sealed memory because of the seals, to a device because it is none of these things. */
static void assert_denied(int r) {
        if (provider_is_device())
                g_assert_cmpint(r, <, 0);
        else
                g_assert_cmpint(r, ==, -EPERM);
}

/* Not one byte more than was granted, however it is tried. What the length of a file is made to be it is not for long, which
 * test-fsdax-holder.c is about. */
static void assert_cannot_grow(User *user, int slot, uint64_t length) {
        static const unsigned seals[] = { F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE,
                                          F_SEAL_SEAL };

        if (provider_is_files()) {
                on_slot(user, do_assert_not_owner, slot);
                return;
        }
        assert_denied(user_truncate(user, slot, length + 1));
        assert_denied(user_truncate(user, slot, UINT64_C(1) << 40));
        assert_denied(user_fallocate(user, slot, 0, length, 1));
        assert_denied(user_fallocate(user, slot, 0, 0, length + 1));
        assert_denied(user_fallocate(user, slot, FALLOC_FL_KEEP_SIZE, length, UNIT));
        g_assert_cmpint(user_pwrite(user, slot, length, 1), <, 0);
        g_assert_cmpint(user_pwrite(user, slot, length + UNIT, 1), <, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(seals); i++)
                assert_denied(user_add_seals(user, slot, seals[i]));
        /* newer kernels have one against execution, too */
        if (!provider_is_device())
                g_assert_cmpint(user_get_seals(user, slot) & 0x1f, ==, F_SEAL_GROW | F_SEAL_SEAL);
        on_slot(user, do_assert_not_owner, slot);
}

/* Holes are his own business, and what he throws away he has thrown away: it still counts. */
static void assert_holes(Scene *scene, const Reply *own, int given) {
        uint64_t available = region_get("dram", "Available");

        g_assert_cmpint(user_fallocate(scene->alice, own->slot, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, UNIT), ==, 0);
        g_assert_cmpint(user_is_filled(scene->alice, own->slot, 0), ==, 1);
        g_assert_cmpint(user_fallocate(scene->alice, own->slot, FALLOC_FL_KEEP_SIZE, 0, UNIT), ==, 0);
        g_assert_cmpint(user_fallocate(scene->alice, own->slot, 0, 0, UNIT), ==, 0);
        g_assert_cmpint(user_is_filled(scene->alice, own->slot, 0), ==, 1);
        g_assert_cmpuint(region_get("dram", "Available"), ==, available);

        g_assert_cmpint(user_truncate(scene->alice, own->slot, 64 * KIB), ==, 0);
        assert_cannot_grow(scene->alice, own->slot, 64 * KIB);
        g_assert_cmpint(user_peek(scene->alice, own->slot, 64 * KIB), ==, -EFAULT);
        g_assert_cmpint(user_peek(scene->alice, own->slot, 0), ==, 0);
        g_assert_cmpint(user_reopen(scene->carol, given, O_RDWR | O_TRUNC), ==, 0);
        assert_cannot_grow(scene->carol, given, 0);
        g_assert_cmpint(user_peek(scene->alice, own->slot, 0), ==, -EFAULT);
}

static void test_holder(Scene *scene, const void *unused) {
        Reply own = user_take(scene->alice, UNIT, NULL, 1), bobs = user_take(scene->bob, UNIT, NULL, 2);
        uint64_t available = region_get("dram", "Available");
        int given = user_give(scene->alice, own.slot, scene->carol);

        (void) unused;
        assert_cannot_grow(scene->alice, own.slot, UNIT);
        assert_cannot_grow(scene->carol, given, UNIT);
        /* nobody but the broker opens the node of a device */
        g_assert_cmpint(user_reopen(scene->carol, given, O_RDWR), ==, provider_reopened());
        assert_cannot_grow(scene->carol, given, UNIT);
        g_assert_cmpint(user_is_filled(scene->alice, own.slot, 1), ==, 1);
        if (!provider_is_device() && !provider_is_files())
                assert_holes(scene, &own, given);
        g_assert_cmpuint(region_get("dram", "Available"), ==, available);
        g_assert_cmpuint(allocation_get(scene->alice, own.object, "Length"), ==, UNIT);
        footprint_assert_sums(scene->root);
        g_assert_cmpint(user_is_filled(scene->bob, bobs.slot, 2), ==, 1);

        user_give_back(scene->alice, &own);
        user_let_go(scene->carol, given);
        footprint_assert_available(available + provider_taken(UNIT));
        g_assert_cmpint(user_is_filled(scene->bob, bobs.slot, 2), ==, 1);
}

/* One who throws everything away, and a broker that comes back after that. */
static void test_holder_restart(Scene *scene, const void *unused) {
        Reply own = user_take(scene->alice, UNIT, "name=scratch", 1);
        Reply half = user_take(scene->alice, UNIT, "name=half", 2);

        (void) unused;
        skip_on_files("a file is made as long as its record says, as test-fsdax-holder.c has it");
        skip_on_devices("a device cannot be truncated");
        g_assert_cmpint(user_truncate(scene->alice, own.slot, 0), ==, 0);
        g_assert_cmpint(user_truncate(scene->alice, half.slot, UNIT / 2), ==, 0);
        broker_kill(scene->broker);
        broker_start(scene->broker);
        footprint_assert_sums(scene->root);
        reply_assert(user_open(scene->alice, "half", NULL), "");
        g_assert_cmpint(user_peek(scene->alice, half.slot, 0), ==, 2);
        assert_cannot_grow(scene->alice, own.slot, 0);
        assert_cannot_grow(scene->alice, half.slot, UNIT / 2);
        user_give_back(scene->alice, &half);
}

static int64_t do_assert_not_writable(UserCall *call) {
        static const int flags[] = { O_RDWR, O_WRONLY, O_RDWR | O_TRUNC, O_RDONLY | O_TRUNC };
        const size_t page = provider_page_size();
        g_autofree char *path = NULL;
        uint8_t *address;
        int memory;

        slot_borrow(*(const int *) call->data, &memory, NULL, &address);
        path = g_strdup_printf("/proc/self/fd/%d", memory);
        for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
                g_assert_cmpint(open(path, flags[i] | O_CLOEXEC), ==, -1);
                g_assert_cmpint(errno, ==, EACCES);
        }
        g_assert_cmpint(truncate(path, 0), ==, -1);
        g_assert_cmpint(errno, ==, provider_is_device() ? EINVAL : EACCES);
        g_assert_cmpint(mprotect(address, page, PROT_READ | PROT_WRITE), ==, -1);
        g_assert_cmpint(errno, ==, EACCES);
        g_assert_true(mmap(NULL, page, PROT_WRITE, MAP_SHARED, memory, 0) == MAP_FAILED);
        g_assert_cmpint(errno, ==, EACCES);
        /* through somebody else's eyes */
        g_free(path);
        path = g_strdup_printf("/proc/%d/fd/%d", getpid(), memory);
        g_assert_cmpint(open(path, O_RDWR | O_CLOEXEC), ==, -1);
        return 0;
}

static void test_reader(Scene *scene, const void *unused) {
        Reply own = user_take(scene->alice, UNIT, "name=scratch mode=0644", 1), reader;
        int given;

        (void) unused;
        reader = user_open(scene->bob, "scratch", "read-only=1");
        reply_assert(reader, "");
        given = user_give(scene->bob, reader.slot, scene->carol);
        g_assert_cmpint(user_map_read_only(scene->bob, reader.slot), ==, 0);
        g_assert_cmpint(user_map_read_only(scene->carol, given), ==, 0);
        on_slot(scene->bob, do_assert_not_writable, reader.slot);
        on_slot(scene->carol, do_assert_not_writable, given);
        on_slot(scene->bob, do_assert_not_owner, reader.slot);

        g_assert_cmpint(user_truncate(scene->bob, reader.slot, 0), <, 0);
        g_assert_cmpint(user_fallocate(scene->bob, reader.slot, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                       0, UNIT), ==, -EBADF);
        g_assert_cmpint(user_fallocate(scene->bob, reader.slot, 0, 0, 2 * UNIT), ==, -EBADF);
        g_assert_cmpint(user_pwrite(scene->bob, reader.slot, 0, 9), ==, -EBADF);
        assert_denied(user_add_seals(scene->bob, reader.slot, F_SEAL_WRITE));
        g_assert_cmpint(user_poke(scene->bob, reader.slot, 0, 9), ==, -EFAULT);
        g_assert_cmpint(user_is_filled(scene->alice, own.slot, 1), ==, 1);
        g_assert_cmpint(user_poke(scene->alice, own.slot, 5, 7), ==, 0);
        g_assert_cmpint(user_peek(scene->carol, given, 5), ==, 7);
        user_give_back(scene->alice, &own);
        user_let_go(scene->carol, given);
        g_assert_cmpint(user_peek(scene->carol, given, 5), ==, -EFAULT);
}

/* ---- On the bus --------------------------------------------------------------------------------------------------- */

/* Sends it, and wants it refused with one of the errors the bus knows for calls that mean nothing. */
static void assert_refused(sd_bus_message *message, const char *how) {
        sd_bus_error error = SD_BUS_ERROR_NULL;

        g_assert_cmpint(sd_bus_call(user_bus(), message, 0, &error, NULL), <, 0);
        /* a bus would bring them; without one in between, that is the end of the connection */
        if (world_is_direct() && g_str_has_prefix(how, "descriptors")) {
                if (!sd_bus_error_has_names(&error, SD_BUS_ERROR_DISCONNECTED, "System.Error.ENOTCONN"))
                        g_error("%s: %s (%s)", how, error.name, error.message);
        } else if (!sd_bus_error_has_names(&error, SD_BUS_ERROR_INVALID_ARGS, SD_BUS_ERROR_UNKNOWN_METHOD,
                                    SD_BUS_ERROR_UNKNOWN_INTERFACE, SD_BUS_ERROR_UNKNOWN_OBJECT,
                                    SD_BUS_ERROR_UNKNOWN_PROPERTY, SD_BUS_ERROR_PROPERTY_READ_ONLY,
                                    SD_BUS_ERROR_ACCESS_DENIED, DAXBROKER_BUS_NAME ".Error.BadOption",
                                    DAXBROKER_BUS_NAME ".Error.BadName",
                                    DAXBROKER_BUS_NAME ".Error.NoSuchRegion",
                                    DAXBROKER_BUS_NAME ".Error.NoSuchAllocation"))
                g_error("%s: %s (%s)", how, error.name, error.message);
        sd_bus_error_free(&error);
        sd_bus_message_unref(message);
}

static sd_bus_message *new_call(const char *path, const char *interface, const char *member) {
        sd_bus_message *message = NULL;

        g_assert_cmpint(sd_bus_message_new_method_call(user_bus(), &message, DAXBROKER_BUS_NAME, path,
                                                       interface, member),
                        >=, 0);
        return message;
}

static sd_bus_message *new_manager_call(const char *member) {
        return new_call(DAXBROKER_ROOT_PATH, DAXBROKER_MANAGER_INTERFACE, member);
}

static int64_t do_send_nonsense(UserCall *call) {
        static const char *const members[] = { "Allocate", "Open", "Check", "GetAllocation", "Allocate2",
                                               "" };
        g_autofree char *deep = g_strdup_printf("%s/%0*d", DAXBROKER_ALLOCATION_PATH, 4000, 0);
        const char *const paths[] = { DAXBROKER_ROOT_PATH, DAXBROKER_REGION_PATH "/dram",
                                      DAXBROKER_ALLOCATION_PATH, "/", deep,
                                      DAXBROKER_ALLOCATION_PATH "/0123456789abcdef" };
        sd_bus_message *message;

        (void) call;
        for (size_t i = 0; members[i][0] != '\0'; i++) {
                assert_refused(new_manager_call(members[i]), members[i]);
                message = new_manager_call(members[i]);
                append(message, "ssss", "a", "b", "c", "d");
                assert_refused(message, members[i]);
                message = new_manager_call(members[i]);
                append(message, "a{sv}", 0);
                assert_refused(message, members[i]);
                message = new_manager_call(members[i]);
                append(message, "tta{sv}t", UINT64_C(1), UINT64_C(1), 0, UINT64_C(1));
                assert_refused(message, members[i]);
                message = new_manager_call(members[i]);
                append(message, "(ta(tv))", UINT64_C(1), 1, UINT64_C(1), "av", 0);
                assert_refused(message, members[i]);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
                assert_refused(new_call(paths[i], DAXBROKER_ALLOCATION_INTERFACE, "Free"), paths[i]);
                assert_refused(new_call(paths[i], "org.daxbroker1.Nothing", "Nothing"), paths[i]);
                message = new_call(paths[i], "org.freedesktop.DBus.Properties", "Set");
                append(message, "ssv", DAXBROKER_REGION_INTERFACE, "Size", "t", UINT64_MAX);
                assert_refused(message, paths[i]);
                message = new_call(paths[i], "org.freedesktop.DBus.Properties", "Get");
                append(message, "ss", DAXBROKER_ALLOCATION_INTERFACE, "Owner");
                assert_refused(message, paths[i]);
        }
        return 0;
}

/* Names, options and values of a size that nobody means. */
static int64_t do_send_large(UserCall *call) {
        g_autofree char *name = g_strnfill(world_is_direct() ? 8000 : 1 << 20, 'x');
        sd_bus_message *message;

        (void) call;
        for (unsigned i = 0; i < 4; i++) {
                message = new_manager_call("Allocate");
                append(message, "tta{sv}", UINT64_C(1), UINT64_C(1), 1,
                       i == 0 ? "name" : i == 1 ? "region" : name, "s", name);
                assert_refused(message, "a long name");
                message = new_manager_call(i % 2 == 0 ? "Open" : "GetAllocation");
                g_assert_cmpint(i % 2 == 0 ? sd_bus_message_append(message, "sa{sv}", name, 0)
                                           : sd_bus_message_append(message, "s", name), >=, 0);
                assert_refused(message, "a long name");
        }

        message = new_manager_call("Allocate");
        append(message, "tt", UINT64_C(1), UINT64_C(1));
        g_assert_cmpint(sd_bus_message_open_container(message, 'a', "{sv}"), >=, 0);
        for (unsigned i = 0; i < (world_is_direct() ? 400 : 200000); i++)
                append(message, "{sv}", i == 0 ? "prefault" : "an option", "b", 1);
        g_assert_cmpint(sd_bus_message_close_container(message), >=, 0);
        assert_refused(message, "many options");

        for (unsigned i = 0; i < 3; i++) {
                message = new_manager_call("Allocate");
                append(message, "tt", UINT64_C(1), UINT64_C(1));
                g_assert_cmpint(sd_bus_message_open_container(message, 'a', "{sv}"), >=, 0);
                for (unsigned k = 0; k < 200; k++)
                        if (i == 0) /* the same again and again */
                                append(message, "{sv}", "name", "s", "scratch");
                        else if (i == 1) /* of a type that contains others */
                                append(message, "{sv}", "mode", "v", "v", "v", "au", 3, 1, 2, 3);
                        else {
                                g_autofree char *key = g_strdup_printf("option-%u", k);

                                append(message, "{sv}", key, "t", UINT64_MAX);
                        }
                g_assert_cmpint(sd_bus_message_close_container(message), >=, 0);
                assert_refused(message, "200 options");
        }
        return 0;
}

/* Descriptors that nobody asked for. */
static int64_t do_send_fds(UserCall *call) {
        int pair[2];

        (void) call;
        g_assert_cmpint(pipe2(pair, O_CLOEXEC), ==, 0);
        for (unsigned i = 0; i < 100; i++) {
                sd_bus_message *message = new_manager_call("Allocate");

                append(message, "tta{sv}", UINT64_C(1), UINT64_C(1), 2, "name", "h", pair[0], "fd", "ah", 2,
                       pair[0], pair[1]);
                assert_refused(message, "descriptors as options");
                message = new_manager_call("ListRegions");
                append(message, "hh", pair[0], pair[1]);
                assert_refused(message, "descriptors as arguments");
        }
        close(pair[0]);
        close(pair[1]);
        return 0;
}

static void test_nonsense(Scene *scene, const void *unused) {
        static const UserFunction functions[] = { do_send_nonsense, do_send_large, do_send_fds };

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(functions); i++) {
                user_call(scene->bob, functions[i], NULL, 0, NULL, 0);
                assert_others_go_on(scene->alice);
                footprint_assert_back(scene->broker, &scene->before);
        }
}

/* Whether somebody may see a property is asked before it is known which. */
static int64_t do_ask_at_length(UserCall *call) {
        g_autofree char *name = g_strnfill(1 << 20, 'x');
        sd_bus_message *message = new_call(call->data, "org.freedesktop.DBus.Properties", "Get");
        sd_bus_error error = SD_BUS_ERROR_NULL;

        append(message, "ss", name, name);
        g_assert_cmpint(sd_bus_call(user_bus(), message, 0, &error, NULL), <, 0);
        g_assert_cmpstr(error.name, ==, DAXBROKER_BUS_NAME ".Error.BadOption");
        sd_bus_error_free(&error);
        sd_bus_message_unref(message);
        return 0;
}

/* Many can wait for polkit, and none of them may be long. */
static void test_length(Scene *scene, const void *unused) {
        Reply taken;

        (void) unused;
        if (world_skips_direct("nothing as long is read"))
                return;
        taken = user_get(scene->alice, UNIT, NULL);
        polkit_freeze();
        user_call(scene->bob, do_ask_at_length, taken.object, strlen(taken.object) + 1, NULL, 0);
        polkit_thaw();
}

/* Messages of other kinds: answers to questions that were not asked, and news that the bus itself would bring. */
static int64_t do_send_forgeries(UserCall *call) {
        const char *victim = call->data;
        sd_bus_message *message = NULL;
        sd_bus *bus = user_bus();

        for (unsigned i = 0; i < 50; i++) {
                g_assert_cmpint(sd_bus_message_new_signal(bus, &message, "/org/freedesktop/DBus",
                                                          "org.freedesktop.DBus",
                                                          "NameOwnerChanged"), >=, 0);
                append(message, "sss", victim, victim, "");
                g_assert_cmpint(sd_bus_message_set_destination(message, DAXBROKER_BUS_NAME), >=, 0);
                g_assert_cmpint(sd_bus_send(bus, message, NULL), >=, 0);
                message = sd_bus_message_unref(message);
        }
        g_assert_cmpint(sd_bus_flush(bus), >=, 0);
        return 0;
}

static int64_t do_get_unique_name(UserCall *call) {
        const char *name;

        g_assert_cmpint(sd_bus_get_unique_name(user_bus(), &name), >=, 0);
        g_strlcpy(call->answer, name, USER_DATA_MAX);
        call->answer_size = strlen(name) + 1;
        return 0;
}

static void test_forgeries(Scene *scene, const void *unused) {
        char victim[64];
        Reply reply;

        (void) unused;
        user_call(scene->alice, do_get_unique_name, NULL, 0, victim, sizeof(victim));
        polkit_freeze();
        user_begin_allocate(scene->alice, UNIT, 1, NULL);
        g_usleep(20000);
        user_call(scene->bob, do_send_forgeries, victim, sizeof(victim), NULL, 0);
        (void) region_get("dram", "Available");
        polkit_thaw();
        reply = user_end_reply(scene->alice);
        reply_assert(reply, "");
        user_give_back(scene->alice, &reply);
}

/* Calls that nobody waits for, as many as go. */
static int64_t do_flood(UserCall *call) {
        unsigned n = *(const unsigned *) call->data;
        sd_bus *bus = user_bus();

        for (unsigned i = 0; i < n; i++) {
                sd_bus_message *message = new_manager_call("Allocate");

                append(message, "tta{sv}", UINT64_C(4096), UINT64_C(1), 0);
                g_assert_cmpint(sd_bus_message_set_expect_reply(message, false), >=, 0);
                g_assert_cmpint(sd_bus_send(bus, message, NULL), >=, 0);
                sd_bus_message_unref(message);
        }

        /* when this is answered they have all been looked at */
        g_assert_cmpint(sd_bus_call_method(bus, MANAGER, "ListRegions", NULL, NULL, ""), >=, 0);
        return 0;
}

static void test_flood(Scene *scene, const void *unused) {
        User *guest = user_new("bob");
        unsigned n = 3000;
        Reply reply;

        (void) unused;
        polkit_freeze();
        user_call(guest, do_flood, &n, sizeof(n), NULL, 0);
        /* the uid counts, not the connection */
        reply_assert(user_allocate(scene->bob, UNIT, 1, NULL), "TooManyRequests");
        user_begin_allocate(scene->alice, UNIT, 1, NULL);
        g_usleep(50000);
        g_assert_false(user_is_done(scene->alice));
        user_kill(guest);
        polkit_thaw();
        reply = user_end_reply(scene->alice);
        reply_assert(reply, "");
        user_give_back(scene->alice, &reply);
        footprint_assert_back(scene->broker, &scene->before);
        assert_others_go_on(scene->bob);
        user_free(guest);

        /* the same with a polkit that answers: whoever does not want a reply gets no memory, as nobody holds it */
        guest = user_new("bob");
        n = provider_is_nvdimm() ? 8 : 500; /* and there is room for others */
        user_call(guest, do_flood, &n, sizeof(n), NULL, 0);
        assert_others_go_on(scene->alice);
        user_kill(guest);
        user_free(guest);
}

/* More questions than one user may have waiting: that many wait, the others are refused at once. */
typedef struct Queue {
        unsigned granted, refused, other;
} Queue;

static int on_queued(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Queue *queue = userdata;

        (void) error;
        if (!sd_bus_message_is_method_error(message, NULL))
                queue->granted++;
        else if (sd_bus_message_is_method_error(message, DAXBROKER_BUS_NAME ".Error.TooManyRequests"))
                queue->refused++;
        else
                queue->other++;
        return 0;
}

/* Asks that often if data says so, then reads until there were so many answers. */
static int64_t do_queue(UserCall *call) {
        static Queue queue;
        const unsigned *numbers = call->data;
        sd_bus *bus = user_bus();

        for (unsigned i = 0; i < numbers[0]; i++) {
                sd_bus_message *message = new_manager_call("Allocate");

                append(message, "tta{sv}", UINT64_C(4096), UINT64_C(1), 0);
                g_assert_cmpint(sd_bus_call_async(bus, NULL, message, on_queued, &queue,
                                                  60 * G_USEC_PER_SEC), >=, 0);
                sd_bus_message_unref(message);
        }
        while (queue.granted + queue.refused + queue.other < numbers[1])
                if (sd_bus_process(bus, NULL) == 0)
                        g_assert_cmpint(sd_bus_wait(bus, 30 * G_USEC_PER_SEC), >, 0);

        memcpy(call->answer, &queue, sizeof(queue));
        call->answer_size = sizeof(queue);
        return 0;
}

static void test_queue(Scene *scene, const void *unused) {
        User *guest = user_new("bob");
        unsigned all = 100, ask[] = { all, all - PENDING_MAX }, wait[] = { 0, all };
        Queue queue;

        (void) unused;
        (void) user_get_allocation(guest, "nothing"); /* who he is is known by then */
        polkit_freeze();
        user_call(guest, do_queue, ask, sizeof(ask), &queue, sizeof(queue));
        g_assert_cmpuint(queue.refused, ==, all - PENDING_MAX);
        user_begin_allocate(scene->alice, UNIT, 1, NULL);
        g_usleep(50000);
        g_assert_false(user_is_done(scene->alice));

        polkit_thaw();
        user_call(guest, do_queue, wait, sizeof(wait), &queue, sizeof(queue));
        g_assert_cmpuint(queue.refused, ==, all - PENDING_MAX);
        g_assert_cmpuint(queue.granted, ==, PENDING_MAX);
        reply_assert(user_end_reply(scene->alice), "");
        user_free(guest);
}

static int on_never(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        (void) message;
        (void) userdata;
        (void) error;
        g_assert_not_reached();
}

/* Asks and never reads the answers, so that descriptors pile up in the bus. */
static int64_t do_ask_only(UserCall *call) {
        static sd_bus *bus;

        (void) call;
        if (!bus) {
                g_assert_cmpint(sd_bus_open_system(&bus), >=, 0);
                /* what the kernel takes between the bus and him, and some more */
                for (unsigned i = 0; i < 100; i++)
                        (void) sd_bus_call_method_async(bus, NULL, DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH,
                                                        "org.freedesktop.DBus.Introspectable", "Introspect",
                                                        on_never, NULL, "");
        }
        for (unsigned i = 0; i < PENDING_MAX; i++) {
                sd_bus_message *message = NULL;

                g_assert_cmpint(sd_bus_message_new_method_call(bus, &message, MANAGER, "Allocate"), >=, 0);
                append(message, "tta{sv}", UINT64_C(65536), UINT64_C(1), 0);
                g_assert_cmpint(sd_bus_call_async(bus, NULL, message, on_never, NULL, 0), >=, 0);
                sd_bus_message_unref(message);
        }
        g_assert_cmpint(sd_bus_flush(bus), >=, 0);
        return 0;
}

/* What the service manager does with one that ended by itself. */
static void start_again_if_ended(Broker *broker) {
        int status;

        if (waitpid(broker->pid, &status, WNOHANG) != broker->pid)
                return;
        g_assert_true(WIFEXITED(status));
        g_test_message("the broker has left the bus for a new connection");
        broker->pid = 0;
        broker_start(broker);
}

/* dbus-daemon reads nothing more from a connection that has too many descriptors on their way to others. The broker finds
 * that out and comes back on a new one; nobody loses anything by it. */
static void test_deaf(Scene *scene, const void *unused) {
        User *guests[] = { user_new("bob"), user_new("bob"), user_new("carol") };
        Reply unnamed = user_take(scene->alice, UNIT, NULL, 1), reply;
        Reply named = user_take(scene->alice, UNIT, "name=scratch", 2);
        gint64 begin;

        (void) unused;
        for (unsigned round = 0; round < 4; round++)
                for (size_t i = 0; i < G_N_ELEMENTS(guests); i++) {
                        user_call(guests[i], do_ask_only, NULL, 0, NULL, 0);
                        g_usleep(50000);
                }

        begin = g_get_monotonic_time();
        do {
                user_begin_open_object(scene->alice, named.object, NULL);
                while (!user_is_done(scene->alice)) {
                        g_assert_cmpint(g_get_monotonic_time() - begin, <, provider_patience(30));
                        start_again_if_ended(scene->broker);
                        g_usleep(10000);
                }
                reply = user_end_reply(scene->alice);
        } while (!g_str_equal(reply.error, ""));

        g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
        g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 2), ==, 1);
        g_assert_cmpint(user_is_filled(scene->alice, named.slot, 2), ==, 1);
        g_assert_cmpint(user_is_filled(scene->alice, unnamed.slot, 1), ==, 1);
        user_drop(scene->alice, reply.slot);
        user_give_back(scene->alice, &named);
        user_give_back(scene->alice, &unnamed);

        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++) {
                user_kill(guests[i]);
                user_free(guests[i]);
        }
        start_again_if_ended(scene->broker);
        assert_others_go_on(scene->bob);
        g_assert_cmpuint(region_wait("dram", "Available", scene->before.available), ==,
                         scene->before.available);
        broker_restart(scene->broker); /* whatever it was in the middle of finding out */
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
                { "/hostile/holder", test_holder },
                { "/hostile/holder-restart", test_holder_restart },
                { "/hostile/reader", test_reader },
                { "/hostile/nonsense", test_nonsense },
                { "/hostile/length", test_length },
                { "/hostile/forgeries", test_forgeries },
                { "/hostile/flood", test_flood },
                { "/hostile/queue", test_queue },
                { "/hostile/deaf", test_deaf },
        };

        world_init(&argc, &argv);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add(tests[i].name, Scene, CONFIGURATION, set_up, tests[i].test, scene_tear_down);
        return g_test_run();
}
