/* SPDX-License-Identifier: MIT */

/* Hundreds of clients at once, and then none: the broker has again what it had. */

#include <glib.h>
#include <signal.h>
#include <string.h>

#include "memory.h"
#include "names.h"
#include "polkit.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

#define CLIENTS_MAX 500
#define CLIENTS (provider_is_nvdimm() ? 15U : provider_is_device() ? 100U : CLIENTS_MAX)
#define SIZE (provider_is_device() ? UNIT : 256 * KIB)

/* What the broker's own memory may have grown by when everything is over: after the first time, by what the C library keeps
 * for the next, and after that by next to nothing. With sanitizers each block is larger by a multiple. */
#if defined(__SANITIZE_ADDRESS__)
#define RSS_TOLERANCE (24 * MIB)
#else
#define RSS_TOLERANCE (8 * MIB)
#endif

#define CONFIGURATION                                                                                                  \
        "[Broker]\n"                                                                                                   \
        "PolkitTimeoutSec=120\n"                                                                                       \
        "[Region dram]\n"                                                                                              \
        "Size=256M\n"

/* Freed memory that a sanitizer keeps back to see it used is not left over. */
static void start_without_quarantine(Scene *scene) {
        const char *options = g_getenv("ASAN_OPTIONS");
        g_autofree char *variable = g_strdup_printf("ASAN_OPTIONS=%s%squarantine_size_mb=0:"
                                                    "thread_local_quarantine_size_kb=0",
                                                    options ? options : "", options ? ":" : "");
        char *environment[] = { variable, NULL };
        Reply reply;

        scene->broker->environment = environment;
        broker_restart(scene->broker);
        scene->broker->environment = NULL;

        /* as scene_set_up() does, for the new one */
        reply = user_get(scene->alice, 1, NULL);
        user_drop(scene->alice, reply.slot);
        g_assert_cmpuint(region_wait("dram", "Available", scene->before.available), ==,
                         scene->before.available);
        scene->before = footprint_take(scene->broker);
}

static void assert_rss_back(Scene *scene, uint64_t before, uint64_t tolerance) {
        uint64_t now = 0;

        g_assert_true(wait_until(30, (now = broker_get_rss(scene->broker)) <= before + tolerance));
        g_test_message("the broker has %" G_GUINT64_FORMAT " KiB, and had %" G_GUINT64_FORMAT, now / KIB,
                       before / KIB);
}

static void all_at_once(Scene *scene) {
        static const char *const names[] = { "alice", "bob", "carol", "root" };
        static User *clients[CLIENTS_MAX];
        static Reply replies[CLIENTS_MAX];
        unsigned n_named = 0;

        for (unsigned i = 0; i < CLIENTS; i++)
                clients[i] = user_new(names[i % G_N_ELEMENTS(names)]);
        for (unsigned i = 0; i < CLIENTS; i++) {
                g_autofree char *options = g_strdup_printf("name=client-%u", i);

                user_begin_allocate(clients[i], SIZE, 4096, i % 10 == 0 ? options : NULL);
        }
        for (unsigned i = 0; i < CLIENTS; i++) {
                replies[i] = user_end_reply(clients[i]);
                reply_assert(replies[i], "");
                n_named += i % 10 == 0;
        }
        g_assert_cmpuint(region_get("dram", "Available"), ==, scene->before.available - CLIENTS * provider_taken(SIZE));

        /* all of it is there, and everybody's own */
        for (unsigned i = 0; i < CLIENTS; i++) {
                g_assert_cmpint(user_map(clients[i], replies[i].slot), ==, 0);
                g_assert_cmpint(user_is_filled(clients[i], replies[i].slot, 0), ==, 1);
                g_assert_cmpint(user_fill(clients[i], replies[i].slot, (uint8_t) (i % 251 + 1)), ==, 0);
        }
        for (unsigned i = 0; i < CLIENTS; i++)
                g_assert_cmpint(user_is_filled(clients[i], replies[i].slot, (uint8_t) (i % 251 + 1)), ==, 1);
        g_assert_cmpuint(service_manager_count_fds(scene->broker->manager, NULL), ==,
                         scene->before.stored + provider_stored_fds(CLIENTS));

        for (unsigned i = 0; i < CLIENTS; i++)
                g_assert_cmpint(kill(clients[i]->pid, SIGKILL), ==, 0);
        for (unsigned i = 0; i < CLIENTS; i++) {
                user_kill(clients[i]);
                user_free(clients[i]);
        }

        /* what has a name is what is left */
        g_assert_cmpuint(region_wait("dram", "Available", scene->before.available - n_named * provider_taken(SIZE)), ==,
                         scene->before.available - n_named * provider_taken(SIZE));
        footprint_assert_sums(scene->root);
        for (unsigned i = 0; i < CLIENTS; i += 10)
                reply_assert(user_release(scene->root, replies[i].object), "");
        footprint_assert_back(scene->broker, &scene->before);
}

static void test_clients(Scene *scene, const void *unused) {
        uint64_t before, between;

        (void) unused;
        start_without_quarantine(scene);
        before = broker_get_rss(scene->broker);
        all_at_once(scene);
        assert_rss_back(scene, before, RSS_TOLERANCE);

        /* and it does not become more each time */
        between = broker_get_rss(scene->broker);
        all_at_once(scene);
        assert_rss_back(scene, between, RSS_TOLERANCE / 6);
}

/* Clients of the broker that are killed while they wait for an answer. */
static void test_killed_waiting(Scene *scene, const void *unused) {
        static const char *const names[] = { "alice", "bob", "carol", "root" };
        static User *clients[CLIENTS_MAX / 2];

        (void) scene;
        (void) unused;
        for (unsigned i = 0; i < CLIENTS / 2; i++)
                clients[i] = user_new(names[i % G_N_ELEMENTS(names)]);
        for (unsigned i = 0; i < CLIENTS / 2; i++)
                user_begin_allocate(clients[i], SIZE, 4096, "prefault=1");
        for (unsigned i = 0; i < CLIENTS / 2; i++)
                g_assert_cmpint(kill(clients[i]->pid, SIGKILL), ==, 0);
        for (unsigned i = 0; i < CLIENTS / 2; i++) {
                user_kill(clients[i]);
                user_free(clients[i]);
        }
}

/* Connections that come, ask and go. */
static int64_t do_come_and_go(UserCall *call) {
        const unsigned *n = call->data;

        for (unsigned i = 0; i < *n; i++) {
                sd_bus *bus = NULL;

                g_assert_cmpint(world_connect(&bus), >=, 0);
                g_assert_cmpint(sd_bus_call_method(bus, DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH,
                                                   DAXBROKER_MANAGER_INTERFACE,
                                                   "ListRegions", NULL, NULL, ""), >=, 0);
                sd_bus_flush_close_unref(bus);
        }
        return 0;
}

static void test_connections(Scene *scene, const void *unused) {
        User *const users[] = { scene->alice, scene->bob, scene->carol, scene->root };
        unsigned n = CLIENTS;
        uint64_t before = 0;

        (void) unused;
        start_without_quarantine(scene);
        for (unsigned round = 0; round < 2; round++) {
                for (size_t i = 0; i < G_N_ELEMENTS(users); i++)
                        user_begin(users[i], do_come_and_go, &n, sizeof(n), NULL, 0);
                for (size_t i = 0; i < G_N_ELEMENTS(users); i++)
                        user_end(users[i], NULL, 0, NULL, NULL);
                if (round == 0)
                        before = broker_get_rss(scene->broker);
        }
        assert_rss_back(scene, before, MIB / 4);
}

static void set_up(Scene *scene, const void *configuration) {
        scene_set_up(scene, configuration);
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        g_test_add("/many/clients", Scene, CONFIGURATION, set_up, test_clients, scene_tear_down);
        g_test_add("/many/killed-waiting", Scene, CONFIGURATION, set_up, test_killed_waiting,
                   scene_tear_down);
        g_test_add("/many/connections", Scene, CONFIGURATION, set_up, test_connections, scene_tear_down);
        return g_test_run();
}
