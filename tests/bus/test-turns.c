/* SPDX-License-Identifier: MIT */

/* Users on direct connections take turns, however many each has. */

#include <signal.h>
#include <string.h>

#include "memory.h"
#include "names.h"
#include "polkit.h"
#include "scene.h"
#include "world.h"

#define ASKED 5

static sd_bus *buses[40];
static unsigned n_buses;

static int64_t do_connect(UserCall *call) {
        n_buses = *(const unsigned *) call->data;
        for (unsigned i = 0; i < n_buses; i++) {
                const char *name;

                g_assert_cmpint(sd_bus_new(&buses[i]), >=, 0);
                g_assert_cmpint(sd_bus_set_address(buses[i], "unix:path=" DAXBROKER_DIRECT_SOCKET), >=, 0);
                g_assert_cmpint(sd_bus_set_bus_client(buses[i], true), >=, 0);
                g_assert_cmpint(sd_bus_start(buses[i]), >=, 0);
                g_assert_cmpint(sd_bus_get_unique_name(buses[i], &name), >=, 0);
        }
        return 0;
}

/* Each of them asks for a few pieces of a grant. */
static int64_t do_ask_with_each(UserCall *call) {
        for (unsigned i = 0; i < ASKED * n_buses; i++) {
                sd_bus *bus = buses[i % n_buses];
                sd_bus_message *message;

                g_assert_cmpint(sd_bus_message_new_method_call(bus, &message, NULL, DAXBROKER_ROOT_PATH,
                                                               DAXBROKER_MANAGER_INTERFACE, "Allocate"), >=, 0);
                g_assert_cmpint(sd_bus_message_append(message, "tta{sv}", UINT64_C(4096), UINT64_C(1), 1, "grant", "o",
                                                      call->data), >=, 0);
                g_assert_cmpint(sd_bus_call_async(bus, NULL, message, NULL, NULL, 0), >=, 0);
                g_assert_cmpint(sd_bus_flush(bus), >=, 0);
                sd_bus_message_unref(message);
        }
        return 0;
}

static int64_t do_disconnect(UserCall *call) {
        (void) call;
        for (unsigned i = 0; i < n_buses; i++)
                sd_bus_close_unref(buses[i]);
        return 0;
}

static void ask_with_each(User *user, const Reply *grant) {
        user_call(user, do_ask_with_each, grant->object, strlen(grant->object) + 1, NULL, 0);
}

/* A user with many connections has no more turns than one who has a single one: the log tells how many of his were before
 * the last one of hers, which would be almost all if connections had turns. */
static void test_turns(Scene *scene, const void *unused) {
        unsigned many = G_N_ELEMENTS(buses), one = 1, n_hers = 0, before = 0;
        g_autofree char *hers = NULL, *text = NULL;
        Reply bobs, alices;
        size_t mark;

        (void) unused;
        skip_on_devices("there a worker makes what is asked for, and these have turns of their own");
        skip_on_media("there, too");
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
        bobs = user_reserve(scene->bob, MIB, NULL);
        alices = user_reserve(scene->alice, MIB, NULL);
        reply_assert(bobs, "");
        reply_assert(alices, "");
        user_call(scene->bob, do_connect, &many, sizeof(many), NULL, 0);
        user_call(scene->alice, do_connect, &one, sizeof(one), NULL, 0);

        mark = broker_mark_log(scene->broker);
        g_assert_cmpint(kill(scene->broker->pid, SIGSTOP), ==, 0);
        ask_with_each(scene->bob, &bobs);
        ask_with_each(scene->alice, &alices);
        g_assert_cmpint(kill(scene->broker->pid, SIGCONT), ==, 0);
        g_assert_true(wait_until(20, broker_count_log(scene->broker, mark, "EVENT=grant ") == ASKED * (many + one)));

        text = broker_get_log(scene->broker);
        hers = g_strdup_printf("EVENT=grant DAXBROKER_UID=%u ", (unsigned) world_get_uid("alice"));
        for (const char *at = text + mark; n_hers < ASKED && (at = strstr(at, "EVENT=grant ")); at++) {
                bool is_hers = g_str_has_prefix(at, hers);

                n_hers += is_hers;
                before += !is_hers;
        }
        g_test_message("%u before hers", before);
        g_assert_cmpuint(n_hers, ==, ASKED);
        g_assert_cmpuint(before, <, ASKED * many / 2);
        user_call(scene->bob, do_disconnect, NULL, 0, NULL, 0);
        user_call(scene->alice, do_disconnect, NULL, 0, NULL, 0);
        user_drop_all(scene->bob);
        user_drop_all(scene->alice);
        footprint_assert_back(scene->broker, &scene->before);
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        scene_add("/turns/users", "[Region dram]\nSize=256M\n", test_turns);
        return g_test_run();
}
