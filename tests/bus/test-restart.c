/* SPDX-License-Identifier: MIT */

/* Whatever way a broker ends: its holders notice nothing, and the next one goes on. test-recovery.c has what it may find
 * that is not as it was left. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
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

/* ---- Small things ------------------------------------------------------------------------------------------------- */

/* What a record says, as root sees it. */
static char *describe(Scene *scene, const Reply *reply) {
        static const char *const numbers[] = { "Owner", "Group", "Mode", "Offset", "Length", "Alignment",
                                               "PageSize", "Persistent", "Created", "InUse" };
        static const char *const texts[] = { "Name", "Region", "State", "Reason" };
        GString *text = g_string_new(NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
                g_string_append_printf(text, "%s=%" G_GUINT64_FORMAT "\n", numbers[i],
                                       allocation_get(scene->root, reply->object, numbers[i]));
        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autofree char *value = allocation_get_string(scene->root, reply->object, texts[i]);

                g_string_append_printf(text, "%s=%s\n", texts[i], value);
        }
        return g_string_free(text, FALSE);
}

/* ---- Holders of all kinds ----------------------------------------------------------------------------------------- */

typedef struct Holders {
        User *orphaned;   /* is killed; a child of it holds on */
        pid_t child;
        Reply unnamed, named, kept, forked;
        int reader; /* carol's, read-only, of named */
} Holders;

static Holders hold(Scene *scene) {
        Holders holders = { .orphaned = user_new("bob") };
        Reply reply;

        holders.unnamed = user_take(scene->alice, UNIT, NULL, 1);
        holders.named = user_take(scene->alice, UNIT, "name=named mode=0644", 2);
        reply = user_open(scene->carol, "named", "read-only=1");
        reply_assert(reply, "");
        holders.reader = reply.slot;
        g_assert_cmpint(user_map_read_only(scene->carol, holders.reader), ==, 0);

        holders.kept = user_take(scene->bob, UNIT, "name=kept", 3);
        user_drop(scene->bob, holders.kept.slot);

        holders.forked = user_take(holders.orphaned, UNIT, NULL, 4);
        holders.child = user_fork_child(holders.orphaned);
        user_kill(holders.orphaned);
        user_free(holders.orphaned);
        (void) region_get("dram", "Available"); /* what was let go by now has been noticed */
        return holders;
}

static void assert_held(Scene *scene, const Holders *holders) {
        Reply reply;

        g_assert_cmpuint(region_get("dram", "Available"), ==, scene->before.available - 4 * provider_taken(UNIT));
        footprint_assert_sums(scene->root);

        g_assert_cmpint(user_is_filled(scene->alice, holders->unnamed.slot, 1), ==, 1);
        g_assert_cmpint(user_is_filled(scene->alice, holders->named.slot, 2), ==, 1);
        g_assert_cmpint(user_is_filled(scene->carol, holders->reader, 2), ==, 1);
        g_assert_true(scene_is_listed(scene, &holders->forked));

        reply = user_open(scene->bob, "kept", NULL);
        reply_assert(reply, "");
        g_assert_cmpstr(reply.object, ==, holders->kept.object);
        g_assert_cmpint(user_map(scene->bob, reply.slot), ==, 0);
        g_assert_cmpint(user_is_filled(scene->bob, reply.slot, 3), ==, 1);
        user_drop(scene->bob, reply.slot);
        reply_assert(user_open(scene->bob, "named", NULL), "AuthenticationRequired");
        g_assert_true(wait_until(20, allocation_get(scene->root, holders->kept.object, "InUse") == 0));
}

static void let_go(Scene *scene, const Holders *holders) {
        user_give_back(scene->alice, &holders->named);
        user_let_go(scene->carol, holders->reader);
        g_assert_cmpint(user_peek(scene->alice, holders->named.slot, 0), ==, -EFAULT);
        g_assert_cmpint(user_peek(scene->carol, holders->reader, 0), ==, -EFAULT);
        user_give_back(scene->bob, &holders->kept);
        user_close_lease(scene->alice, holders->unnamed.slot);
        user_let_go(scene->alice, holders->unnamed.slot);
        g_assert_true(allocation_wait_gone(scene->root, holders->unnamed.object));
        g_assert_cmpint(user_peek(scene->alice, holders->unnamed.slot, 0), ==, -EFAULT);
        g_assert_true(scene_is_listed(scene, &holders->forked));
        process_kill(holders->child);
        g_assert_true(allocation_wait_gone(scene->root, holders->forked.object));
}

static void test_survive(Scene *scene, void (*end)(Broker *broker)) {
        Holders holders = hold(scene);
        const Reply *all[] = { &holders.unnamed, &holders.named, &holders.kept, &holders.forked };
        char *before[G_N_ELEMENTS(all)];
        Reply reply;

        assert_held(scene, &holders);
        for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
                before[i] = describe(scene, all[i]);

        for (unsigned round = 0; round < 4; round++) {
                end(scene->broker);
                g_assert_cmpint(user_is_filled(scene->alice, holders.unnamed.slot, 1), ==, 1);
                g_assert_cmpint(user_is_filled(scene->carol, holders.reader, 2), ==, 1);
                g_assert_cmpint(user_poke(scene->alice, holders.unnamed.slot, MIB - 1, 1), ==, 0);

                broker_start(scene->broker);
                for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
                        g_autofree char *after = describe(scene, all[i]);

                        g_assert_cmpstr(after, ==, before[i]);
                }
                assert_held(scene, &holders);

                /* everybody's next call succeeds, and the account is right to the byte; where there is room for a namespace
                 * is the kernel's to say */
                if (!provider_is_nvdimm()) {
                        reply = user_allocate(scene->carol, 250 * MIB, 1, NULL);
                        reply_assert(reply, "NoSpace");
                        reply = user_get(scene->carol, 248 * MIB, NULL);
                        g_assert_cmpuint(region_get("dram", "Available"), ==, 0);
                        user_drop(scene->carol, reply.slot);
                        g_assert_true(allocation_wait_gone(scene->root, reply.object));
                }
                reply_assert(user_allocate(scene->alice, UNIT, 1, "name=named"), "NameExists");
        }

        for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
                g_free(before[i]);
        let_go(scene, &holders);
}

static void test_stop(Scene *scene, const void *unused) {
        (void) unused;
        test_survive(scene, broker_stop);
}

static void test_kill(Scene *scene, const void *unused) {
        (void) unused;
        test_survive(scene, broker_kill);
}

/* Modes, and what is open, live on as well. */
static void test_mode(Scene *scene, const void *unused) {
        Reply reply = user_take(scene->alice, UNIT, "name=scratch", 1), again;

        (void) unused;
        reply_assert(user_set_mode(scene->alice, reply.object, 0666), "");
        broker_kill(scene->broker);
        broker_start(scene->broker);
        again = user_open(scene->bob, "scratch", NULL);
        reply_assert(again, "");
        reply_assert(user_set_mode(scene->alice, reply.object, 0600), "");
        broker_restart(scene->broker);
        reply_assert(user_open(scene->carol, "scratch", NULL), "AuthenticationRequired");
        g_assert_cmpint(user_map(scene->bob, again.slot), ==, 0);
        g_assert_cmpint(user_is_filled(scene->bob, again.slot, 1), ==, 1);

        /* a read-only holder stays one */
        reply_assert(user_set_mode(scene->alice, reply.object, 0644), "");
        again = user_open(scene->carol, "scratch", "read-only=1");
        reply_assert(again, "");
        broker_kill(scene->broker);
        broker_start(scene->broker);
        g_assert_cmpint(user_reopen(scene->carol, again.slot, O_RDWR), ==, -EACCES);
        g_assert_cmpint(user_map(scene->carol, again.slot), ==, -EACCES);
        user_give_back(scene->alice, &reply);
}

/* Nobody is there to see a lease end. */
static void test_lapse_meanwhile(Scene *scene, const void *unused) {
        (void) unused;
        for (unsigned i = 0; i < 2; i++) {
                User *guest = user_new("alice");
                Reply unnamed = user_take(guest, UNIT, NULL, 1), named = user_take(guest, UNIT, "name=scratch", 2);
                int slot = user_give(guest, unnamed.slot, scene->bob);

                user_close_lease(scene->bob, slot);
                g_assert_cmpint(user_map(scene->bob, slot), ==, 0);
                (i == 0 ? broker_kill : broker_stop)(scene->broker);
                user_kill(guest);
                g_assert_cmpint(user_is_filled(scene->bob, slot, 1), ==, 1);
                broker_start(scene->broker);

                user_let_go(scene->bob, slot);
                g_assert_true(allocation_wait_gone(scene->root, unnamed.object));
                g_assert_cmpint(user_peek(scene->bob, slot, 0), ==, -EFAULT);
                g_assert_cmpuint(allocation_get(scene->alice, named.object, "InUse"), ==, 0);
                user_give_back(scene->alice, &named);
                user_drop_all(scene->bob);
                user_free(guest);
        }
}

/* ---- Without a service manager ------------------------------------------------------------------------------------ */

/* Detached: counted and listed, beyond revoking, and over with the last holder. */
static void assert_detached(Scene *scene, User *user, const Reply *reply, uint8_t value) {
        scene_assert_state(scene, reply, "detached");
        g_assert_cmpint(user_is_filled(user, reply->slot, value), ==, 1);
        reply_assert(user_release(user, reply->object), "Busy");
        reply_assert(user_release(scene->root, reply->object), "Busy");
        reply_assert(user_open_object(user, reply->object, NULL), "Busy");
        g_assert_cmpint(user_is_filled(user, reply->slot, value), ==, 1);
        footprint_assert_sums(scene->root);
}

static void test_no_manager(Scene *scene, const void *unused) {
        Holders holders;
        size_t mark;

        (void) unused;
        skip_on_files("files are found again without a descriptor");
        if (world_skips_direct("nobody listens while it is away"))
                return;
        broker_stop(scene->broker);
        scene->broker->has_manager = false;
        mark = broker_mark_log(scene->broker);
        broker_start(scene->broker);
        g_assert_true(broker_wait_log(scene->broker, mark, "there is no service manager"));
        holders = hold(scene);

        for (unsigned round = 0; round < 3; round++) {
                if (round % 2 == 0)
                        broker_kill(scene->broker);
                else
                        broker_stop(scene->broker);
                mark = broker_mark_log(scene->broker);
                broker_start(scene->broker);

                /* nobody has the one that nobody held, and it is said */
                if (round == 0 && provider_is_device())
                        scene_revoke(scene, &holders.kept);
                else if (round == 0)
                        g_assert_true(broker_wait_log(scene->broker, mark, "'kept'.* is lost"));
                g_assert_false(scene_is_listed(scene, &holders.kept));
                reply_assert(user_open(scene->bob, "kept", NULL), "NoSuchAllocation");

                g_assert_cmpuint(region_get("dram", "Available"), ==, scene->before.available - 3 * provider_taken(UNIT));
                assert_detached(scene, scene->alice, &holders.unnamed, 1);
                assert_detached(scene, scene->alice, &holders.named, 2);
                g_assert_cmpint(user_is_filled(scene->carol, holders.reader, 2), ==, 1);
                scene_assert_state(scene, &holders.forked, "detached");
                reply_assert(user_allocate(scene->bob, 1, 1, "name=named"), "NameExists");
                reply_assert(user_set_mode(scene->alice, holders.named.object, 0644), "");
        }

        /* the broker learns of both together, as when a holder exits */
        g_assert_cmpint(kill(scene->broker->pid, SIGSTOP), ==, 0);
        user_close_lease(scene->alice, holders.unnamed.slot);
        user_let_go(scene->alice, holders.unnamed.slot);
        g_assert_cmpint(kill(scene->broker->pid, SIGCONT), ==, 0);
        g_assert_true(allocation_wait_gone(scene->root, holders.unnamed.object));
        user_drop_all(scene->alice);
        g_assert_true(scene_is_listed(scene, &holders.named));
        user_drop_all(scene->carol);
        g_assert_true(allocation_wait_gone(scene->root, holders.named.object));
        process_kill(holders.child);
        g_assert_true(allocation_wait_gone(scene->root, holders.forked.object));

        broker_stop(scene->broker);
        scene->broker->has_manager = true;
        broker_start(scene->broker);
}

/* ---- Regions that change meanwhile -------------------------------------------------------------------------------- */

static void test_shrunken(Scene *scene, const void *unused) {
        Reply reply = user_take(scene->alice, UNIT, "name=scratch", 1), big = user_get(scene->bob, 128 * MIB, NULL);

        (void) unused;
        skip_on_devices("a dax region has the size it has");
        broker_stop(scene->broker);
        broker_configure(scene->broker, "[Region dram]\nSize=64M\n");
        broker_start(scene->broker);
        g_assert_cmpuint(region_get("dram", "Size"), ==, 64 * MIB);
        g_assert_cmpuint(region_get("dram", "Available"), ==, 0);
        g_assert_cmpuint(region_get("dram", "LargestAvailable"), ==, 0);
        reply_assert(user_allocate(scene->carol, 1, 1, NULL), "NoSpace");
        g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 1), ==, 1);
        user_drop(scene->bob, big.slot);
        g_assert_cmpuint(region_wait("dram", "Available", 62 * MIB), ==, 62 * MIB);
        footprint_assert_sums(scene->root);
        user_give_back(scene->alice, &reply);
        g_assert_cmpuint(region_get("dram", "Available"), ==, 64 * MIB);

        broker_configure(scene->broker, CONFIGURATION);
        broker_restart(scene->broker);
}

static void test_removed(Scene *scene, const void *unused) {
        static const char with_second[] = CONFIGURATION "[Region second]\nProvider=memfd\nSize=16M\n";
        g_autofree char *state = NULL;
        Reply reply;

        (void) unused;
        broker_configure(scene->broker, with_second);
        broker_restart(scene->broker);
        reply = user_take(scene->alice, UNIT, "name=scratch region=second", 1);
        broker_configure(scene->broker, CONFIGURATION);
        broker_restart(scene->broker);

        state = region_get_string("second", "State");
        g_assert_cmpstr(state, ==, "unusable");
        g_assert_cmpuint(region_get("dram", "Available"), ==, scene->before.available);
        g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 1), ==, 1);
        scene_assert_state(scene, &reply, "live");
        reply_assert(user_allocate(scene->alice, 1, 1, "region=second"), "RegionUnusable");

        broker_configure(scene->broker, with_second);
        broker_restart(scene->broker);
        g_assert_cmpuint(region_get("second", "Available"), ==, 16 * MIB - UNIT);
        user_give_back(scene->alice, &reply);
        g_assert_cmpuint(region_get("second", "Available"), ==, 16 * MIB);
        broker_configure(scene->broker, CONFIGURATION);
        broker_restart(scene->broker);
}

/* ---- Stopping in the middle --------------------------------------------------------------------------------------- */

static void test_stop_while_carving(Scene *scene, const void *unused) {
        g_autoptr(GRand) random = g_rand_new_with_seed(4711);
        unsigned n_granted = 0;

        (void) unused;
        for (unsigned i = 0; i < 12; i++) {
                uint64_t left = scene->before.available - provider_taken(192 * MIB);
                bool stop = i % 2 == 0;
                Reply reply;

                user_begin_allocate(scene->alice, 192 * MIB, 1, "prefault=1 name=scratch");
                g_assert_cmpuint(region_wait("dram", "Available", left), ==, left);
                g_usleep((gulong) g_rand_int_range(random, 0, 60000));
                (stop ? broker_stop : broker_kill)(scene->broker);
                reply = user_end_reply(scene->alice);
                /* it finishes what it has begun, but for the zeros that are not the kernel's to write */
                if (stop && (provider_zeroed_by_kernel() || !g_str_has_suffix(reply.error, ".ShuttingDown")))
                        reply_assert(reply, "");
                broker_start(scene->broker);
                footprint_assert_sums(scene->root);

                if (g_str_equal(reply.error, "")) {
                        n_granted++;
                        g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
                        g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 0), ==, 1);
                } else {
                        /* it may exist: the reply was lost, and the name tells */
                        reply = user_get_allocation(scene->alice, "scratch");
                        if (!g_str_equal(reply.error, ""))
                                reply_assert(reply, "NoSuchAllocation");
                }
                if (g_str_equal(reply.error, ""))
                        user_give_back(scene->alice, &reply);
                user_drop_all(scene->alice);
                footprint_assert_back(scene->broker, &scene->before);
        }
        g_test_message("%u of 12 were granted in time", n_granted);
}

static void test_stop_while_asking(Scene *scene, const void *unused) {
        Reply reply;

        (void) unused;
        for (unsigned i = 0; i < 2; i++) {
                polkit_freeze();
                user_begin_allocate(scene->alice, UNIT, 1, "name=scratch");
                user_begin_interactive_allocate(scene->bob, UNIT, 1, NULL);
                g_usleep(50000);
                g_assert_false(user_is_done(scene->alice));
                (i == 0 ? broker_stop : broker_kill)(scene->broker);
                reply = user_end_reply(scene->alice);
                g_assert_cmpstr(reply.error, !=, "");
                reply = user_end_reply(scene->bob);
                g_assert_cmpstr(reply.error, !=, "");
                polkit_thaw();
                broker_start(scene->broker);
                reply_assert(user_get_allocation(scene->alice, "scratch"), "NoSuchAllocation");
                footprint_assert_back(scene->broker, &scene->before);
        }
}

/* Without the bus there is no broker; with it, the next one goes on. */
static void test_bus(Scene *scene, const void *unused) {
        User *const users[] = { scene->alice, scene->bob, scene->carol, scene->root };
        Holders holders = hold(scene);
        int status;

        (void) unused;
        bus_kill();
        g_assert_true(wait_until(60, waitpid(scene->broker->pid, &status, WNOHANG) == scene->broker->pid));
        g_assert_true(WIFEXITED(status));
        scene->broker->pid = 0;
        g_assert_cmpint(user_is_filled(scene->alice, holders.unnamed.slot, 1), ==, 1);
        bus_start();
        broker_start(scene->broker);
        for (size_t i = 0; i < G_N_ELEMENTS(users); i++)
                (void) user_get_allocation(users[i], "kept"); /* notices that its connection is gone */
        assert_held(scene, &holders);
        let_go(scene, &holders);
}

/* ---- Service manager ---------------------------------------------------------------------------------------------- */

static void test_watchdog(Scene *scene, const void *unused) {
        (void) unused;
        broker_stop(scene->broker);
        scene->broker->watchdog_usec = 400000;
        broker_start(scene->broker);
        g_assert_true(wait_until(20, service_manager_count_watchdog(scene->broker->manager) >= 4));
        broker_stop(scene->broker);
        g_assert_cmpuint(service_manager_count_stopping(scene->broker->manager), ==, 1);

        scene->broker->watchdog_usec = 0;
        broker_start(scene->broker);
        g_usleep(G_USEC_PER_SEC);
        g_assert_cmpuint(service_manager_count_watchdog(scene->broker->manager), ==, 0);
        g_assert_cmpuint(service_manager_count_ready(scene->broker->manager), ==, 1);
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
                { "/restart/stop", test_stop },
                { "/restart/kill", test_kill },
                { "/restart/mode", test_mode },
                { "/restart/lapse-meanwhile", test_lapse_meanwhile },
                { "/restart/no-manager", test_no_manager },
                { "/restart/shrunken", test_shrunken },
                { "/restart/removed", test_removed },
                { "/restart/stop-while-carving", test_stop_while_carving },
                { "/restart/stop-while-asking", test_stop_while_asking },
                { "/restart/bus", test_bus },
                { "/restart/watchdog", test_watchdog },
        };

        world_init(&argc, &argv);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add(tests[i].name, Scene, CONFIGURATION, set_up, tests[i].test, scene_tear_down);
        return g_test_run();
}
