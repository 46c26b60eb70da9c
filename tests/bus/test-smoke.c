/* SPDX-License-Identifier: MIT */

/* The whole path once: start, look around, allocate as somebody who may, be refused as somebody who may not, stop. */

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "broker.h"
#include "calls.h"
#include "memory.h"
#include "polkit.h"
#include "provider.h"
#include "world.h"

#define MIB (UINT64_C(1) << 20)

#define CONFIGURATION                                                                                                  \
        "[Region dram]\n"                                                                                              \
        "Size=256M\n"

static void test_introspect(void) {
        static const char *const objects[] = { "/org/daxbroker1", "/org/daxbroker1/region/dram" };
        static const char *const members[] = { "ListAllocations", "LargestAvailable" };
        Broker *broker = broker_new(CONFIGURATION);

        broker_start(broker);
        for (size_t i = 0; i < G_N_ELEMENTS(objects); i++) {
                const char *argv[] = { "busctl", "introspect", "org.daxbroker1", objects[i], NULL };
                g_autofree char *output = NULL;

                g_assert_cmpint(user_run("bob", argv, &output), ==, 0);
                g_assert_nonnull(strstr(output, members[i]));
        }
        broker_free(broker);
}

static void test_allocate(void) {
        Broker *broker = broker_new(CONFIGURATION);
        User *alice = user_new("alice");
        uint64_t before;
        Reply reply;

        broker_start(broker);
        before = region_get("dram", "Available");

        reply = user_allocate(alice, 64 * MIB, 2 * MIB, NULL);
        reply_assert(reply, "");
        g_assert_cmpuint(reply.length, ==, provider_length(64 * MIB));
        g_assert_cmpuint(region_get("dram", "Available"), ==, before - provider_taken(64 * MIB));

        g_assert_cmpint(user_map(alice, reply.slot), ==, 0);
        g_assert_cmpint(user_is_filled(alice, reply.slot, 0), ==, 1);
        g_assert_cmpint(user_fill(alice, reply.slot, 0xa5), ==, 0);
        g_assert_cmpint(user_is_filled(alice, reply.slot, 0xa5), ==, 1);

        user_drop(alice, reply.slot);
        g_assert_cmpuint(region_wait("dram", "Available", before), ==, before);

        user_free(alice);
        broker_free(broker);
}

static void test_refuse(void) {
        Broker *broker = broker_new(CONFIGURATION);
        User *bob = user_new("bob");
        uint64_t before;
        Reply reply;

        broker_start(broker);
        before = region_get("dram", "Available");

        reply = user_allocate(bob, MIB, 1, NULL);
        reply_assert(reply, "NotAuthorized");
        g_assert_cmpstr(reply.message, !=, "");
        g_assert_cmpuint(region_get("dram", "Available"), ==, before);

        user_free(bob);
        broker_free(broker);
}

/* A restart is the fixture's hardest job: descriptors go to the service manager and come back. */
static void test_restart(void) {
        Broker *broker = broker_new(CONFIGURATION);
        User *alice = user_new("alice");
        uint64_t available;
        unsigned stored;
        Reply reply, again;

        broker_start(broker);
        available = region_get("dram", "Available");

        /* what a broker has stored besides once it has worked stays */
        reply = user_allocate(alice, MIB, 1, NULL);
        reply_assert(reply, "");
        user_drop(alice, reply.slot);
        g_assert_cmpuint(region_wait("dram", "Available", available), ==, available);
        stored = service_manager_count_fds(broker->manager, NULL);
        reply = user_allocate(alice, MIB, 1, "name=smoke");
        reply_assert(reply, "");
        g_assert_cmpuint(service_manager_count_fds(broker->manager, NULL), ==, stored + provider_stored_fds(1));
        g_assert_cmpint(user_map(alice, reply.slot), ==, 0);
        g_assert_cmpint(user_poke(alice, reply.slot, 4711, 42), ==, 0);

        broker_kill(broker);
        broker_start(broker);
        g_assert_cmpint(user_peek(alice, reply.slot, 4711), ==, 42);

        again = user_open(alice, "smoke", NULL);
        reply_assert(again, "");
        g_assert_cmpint(user_map(alice, again.slot), ==, 0);
        g_assert_cmpint(user_peek(alice, again.slot, 4711), ==, 42);

        again = user_release(alice, reply.object);
        reply_assert(again, "");
        user_let_go(alice, -1);
        g_assert_cmpint(user_peek(alice, reply.slot, 4711), ==, -EFAULT);
        g_assert_cmpuint(region_wait("dram", "Available", available), ==, available);
        g_assert_cmpuint(service_manager_count_fds(broker->manager, NULL), ==, stored);

        user_free(alice);
        broker_free(broker);
}

static void test_rules(void) {
        Broker *broker = broker_new(CONFIGURATION);
        User *alice = user_new("alice"), *bob = user_new("bob");
        uint64_t available;
        Reply reply;

        broker_start(broker);
        available = region_get("dram", "Available");
        polkit_set_rules("polkit.addRule(function(action, subject) {\n"
                         "    return subject.user == 'bob' ? polkit.Result.YES : polkit.Result.NO;\n"
                         "});\n");
        reply = user_allocate(bob, MIB, 1, NULL);
        reply_assert(reply, "");
        reply = user_allocate(alice, MIB, 1, NULL);
        reply_assert(reply, "NotAuthorized");

        polkit_set_rules(NULL);
        reply = user_allocate(alice, MIB, 1, NULL);
        reply_assert(reply, "");

        user_free(alice);
        user_free(bob);
        g_assert_cmpuint(region_wait("dram", "Available", available), ==, available);
        broker_free(broker);
}

static void test_no_polkit(void) {
        Broker *broker = broker_new("[Broker]\nPolkitTimeoutSec=1\n" CONFIGURATION);
        User *alice = user_new("alice");
        uint64_t available;
        Reply reply;

        broker_start(broker);
        available = region_get("dram", "Available");
        polkit_freeze();
        reply = user_allocate(alice, MIB, 1, NULL);
        reply_assert(reply, "AuthorityUnavailable");
        polkit_thaw();

        polkit_kill();
        reply = user_allocate(alice, MIB, 1, NULL);
        reply_assert(reply, "AuthorityUnavailable");

        polkit_start();
        reply = user_allocate(alice, MIB, 1, NULL);
        reply_assert(reply, "");

        user_free(alice);
        g_assert_cmpuint(region_wait("dram", "Available", available), ==, available);
        broker_free(broker);
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        g_test_add_func("/smoke/introspect", test_introspect);
        g_test_add_func("/smoke/allocate", test_allocate);
        g_test_add_func("/smoke/refuse", test_refuse);
        g_test_add_func("/smoke/restart", test_restart);
        g_test_add_func("/smoke/rules", test_rules);
        g_test_add_func("/smoke/no-polkit", test_no_polkit);
        return g_test_run();
}
