/* SPDX-License-Identifier: MIT */

/* Which region a request gets that names none. */

#include "preference.h"

#include <glib.h>
#include <string.h>
#include <utlist.h>

#include "size.h"

/* Three regions: plain memory, which says nothing about itself and is the default, a fast one and a large one. */
typedef struct World {
        Manager manager;
        Config config;
        Region dram, hbm, cxl;
} World;

/* Grants everything but page sizes of 1 GiB. */
static int plan(const Region *region, const Request *request, Piece *piece, Failure *failure) {
        (void) region;
        if (request->page_size_set && request->page_size == GIB)
                return failure_set(failure, REFUSAL_BadOption, "no such pages in region '%s'", region->name);

        *piece = (Piece) { .length = request->size, .fd = -1 };
        return 0;
}

static int plan_any(const Region *region, const Request *request, Piece *piece, Failure *failure) {
        (void) region;
        (void) failure;
        *piece = (Piece) { .length = request->size, .fd = -1 };
        return 0;
}

static int plan_nothing(const Region *region, const Request *request, Piece *piece, Failure *failure) {
        (void) request;
        (void) piece;
        return failure_set(failure, REFUSAL_BadOption, "%s wants no one", region->name);
}

static const Provider some = { .name = "some", .plan = plan }, any = { .name = "any", .plan = plan_any },
                      nobody = { .name = "nobody", .plan = plan_nothing };

static void add(World *world, Region *region, const char *name, const Provider *provider, uint64_t size, int node) {
        *region = (Region) {
                .name = g_strdup(name), .provider = provider, .size = size, .numa_node = node, .target_node = -1
        };
        DL_APPEND(world->manager.regions, region);
}

static void set_up(World *world, gconstpointer unused) {
        (void) unused;
        memset(world, 0, sizeof(*world));
        world->manager.config = &world->config;
        world->config.default_region = g_strdup("dram");
        add(world, &world->cxl, "cxl", &any, 100 * GIB, 0);
        add(world, &world->dram, "dram", &some, 10 * GIB, -1);
        add(world, &world->hbm, "hbm", &any, GIB, 0);
        world->hbm.target_node = 2;
        world->hbm.performance = (DaxPerformance) { 200000, 100000, 130, 0 };
        world->cxl.target_node = 3;
        world->cxl.performance = (DaxPerformance) { 20000, 20000, 250, 250 };
}

static void tear_down(World *world, gconstpointer unused) {
        (void) unused;
        g_free(world->dram.name);
        g_free(world->hbm.name);
        g_free(world->cxl.name);
        g_free(world->config.default_region);
}

static const char *choose(World *world, Request request) {
        Failure failure = { 0 };
        const Region *region = region_choose(&world->manager, &request, &failure);

        g_assert_cmpint(!region, ==, failure.refusal != REFUSAL_NONE);
        return region ? region->name : refusal_to_bus_name(failure.refusal);
}

static void assert_refused(World *world, Request request, const char *part) {
        Failure failure = { 0 };

        request.size = MIB;
        g_assert_null(region_choose(&world->manager, &request, &failure));
        if (!strstr(failure.text, part))
                g_error("'%s' does not say '%s'", failure.text, part);
}

#define chosen_of(world, bytes, ...) choose(world, (Request) { .size = (bytes), .alignment = 1, __VA_ARGS__ })
#define chosen(world, ...) chosen_of(world, MIB, __VA_ARGS__)

static void test_names(World *world, gconstpointer unused) {
        (void) unused;
        g_assert_cmpstr(chosen(world, .region = NULL), ==, "dram");
        g_assert_cmpstr(chosen(world, .region = "cxl"), ==, "cxl");
        g_assert_cmpstr(chosen(world, .region = "none"), ==, "org.daxbroker1.Error.NoSuchRegion");

        /* what is named is not judged here */
        world->cxl.reason = (char *) (uintptr_t) "broken";
        g_assert_cmpstr(chosen_of(world, 1000 * GIB, .region = "cxl"), ==, "cxl");
        world->config.default_region[0] = 'D';
        g_assert_cmpstr(chosen(world, .region = NULL), ==, "org.daxbroker1.Error.NoSuchRegion");
        g_assert_cmpstr(chosen(world, .prefer = PREFER_CAPACITY), ==, "dram");
}

static void test_best(World *world, gconstpointer unused) {
        (void) unused;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_BANDWIDTH), ==, "hbm");
        g_assert_cmpstr(chosen(world, .prefer = PREFER_LATENCY), ==, "hbm");
        g_assert_cmpstr(chosen(world, .prefer = PREFER_CAPACITY), ==, "cxl");

        world->hbm.reason = (char *) (uintptr_t) "broken";
        g_assert_cmpstr(chosen(world, .prefer = PREFER_BANDWIDTH), ==, "cxl");
        g_assert_cmpstr(chosen(world, .prefer = PREFER_LATENCY), ==, "cxl");

        world->cxl.used = 95 * GIB;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_CAPACITY), ==, "dram");
        world->dram.foreign = 6 * GIB;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_CAPACITY), ==, "cxl");
}

/* Of a path of which one direction is unknown, the other one counts for both. */
static void test_both_directions(World *world, gconstpointer unused) {
        DaxPerformance *hbm = &world->hbm.performance;

        (void) unused;
        hbm->read_latency = 200; /* of cxl, 250 and 250 */
        hbm->write_latency = 400;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_LATENCY), ==, "cxl");
        hbm->write_latency = 200;
        hbm->read_latency = 400;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_LATENCY), ==, "cxl");
        hbm->write_latency = 0;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_LATENCY), ==, "cxl");
        hbm->write_latency = 400;
        hbm->read_latency = 0;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_LATENCY), ==, "cxl");
        hbm->write_latency = 240;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_LATENCY), ==, "hbm");
        hbm->read_latency = 240;
        hbm->write_latency = 0;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_LATENCY), ==, "hbm");
}

/* Nobody says anything, or all say the same. */
static void test_ties(World *world, gconstpointer unused) {
        (void) unused;
        world->hbm.performance = world->cxl.performance;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_BANDWIDTH), ==, "cxl");
        world->hbm.performance = world->cxl.performance = (DaxPerformance) { 0 };
        g_assert_cmpstr(chosen(world, .prefer = PREFER_BANDWIDTH), ==, "dram");
        g_assert_cmpstr(chosen(world, .prefer = PREFER_LATENCY), ==, "dram");
}

/* What is full goes last, and what can never hold it, or refuses it, not at all. */
static void test_room(World *world, gconstpointer unused) {
        (void) unused;
        g_assert_cmpstr(chosen_of(world, 2 * GIB, .prefer = PREFER_BANDWIDTH), ==, "cxl");
        world->hbm.used = GIB;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_BANDWIDTH), ==, "cxl");
        world->cxl.used = 100 * GIB;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_BANDWIDTH), ==, "dram");
        world->dram.used = 10 * GIB;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_BANDWIDTH), ==, "hbm");
        g_assert_cmpstr(chosen_of(world, 101 * GIB, .prefer = PREFER_BANDWIDTH), ==, "org.daxbroker1.Error.NoSpace");

        world->cxl.reason = world->hbm.reason = (char *) (uintptr_t) "broken";
        g_assert_cmpstr(chosen(world, .prefer = PREFER_LATENCY, .page_size_set = true, .page_size = GIB), ==,
                        "org.daxbroker1.Error.BadOption");
        world->dram.reason = world->hbm.reason;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_LATENCY), ==, "org.daxbroker1.Error.RegionUnusable");
}

/* Room for exactly so much is room; and the only one gets what has to be waited for, however little is known of it. */
static void test_exactly(World *world, gconstpointer unused) {
        (void) unused;
        g_assert_cmpstr(chosen_of(world, GIB, .prefer = PREFER_BANDWIDTH), ==, "hbm");
        world->hbm.used = GIB;
        world->cxl.reason = world->dram.reason = (char *) (uintptr_t) "broken";
        g_assert_cmpstr(chosen_of(world, GIB, .prefer = PREFER_BANDWIDTH), ==, "hbm");
        world->hbm.performance = (DaxPerformance) { 0 };
        g_assert_cmpstr(chosen_of(world, GIB, .prefer = PREFER_BANDWIDTH), ==, "hbm");
}

/* Of several reasons, that of the default region, and else the first. */
static void test_reasons(World *world, gconstpointer unused) {
        const Request request = { .prefer = PREFER_CAPACITY };

        (void) unused;
        world->cxl.provider = world->dram.provider = world->hbm.provider = &nobody;
        assert_refused(world, request, "dram wants no one");
        world->dram.reason = (char *) (uintptr_t) "broken";
        assert_refused(world, request, "cxl wants no one");
}

static void test_nodes(World *world, gconstpointer unused) {
        (void) unused;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_CAPACITY, .numa_node_set = true, .numa_node = 2), ==, "dram");
        g_assert_cmpstr(chosen(world, .prefer = PREFER_BANDWIDTH, .numa_node_set = true, .numa_node = 2), ==, "hbm");
        g_assert_cmpstr(chosen(world, .prefer = PREFER_BANDWIDTH, .numa_node_set = true, .numa_node = 3), ==, "cxl");
        g_assert_cmpstr(chosen(world, .prefer = PREFER_BANDWIDTH, .numa_node_set = true, .numa_node = 0), ==, "hbm");
        world->dram.reason = (char *) (uintptr_t) "broken";
        g_assert_cmpstr(chosen(world, .prefer = PREFER_CAPACITY, .numa_node_set = true, .numa_node = 2), ==, "hbm");
        g_assert_cmpstr(chosen(world, .prefer = PREFER_CAPACITY, .numa_node_set = true, .numa_node = UINT32_MAX), ==,
                        "org.daxbroker1.Error.RegionUnusable");
}

/* A region may be near a node, or be one, or know of neither. */
static void test_half_known_nodes(World *world, gconstpointer unused) {
        Request request = { .prefer = PREFER_BANDWIDTH, .numa_node_set = true };

        (void) unused;
        world->dram.reason = world->hbm.reason = (char *) (uintptr_t) "broken";
        assert_refused(world, (Request) { .prefer = PREFER_BANDWIDTH, .numa_node_set = true, .numa_node = 2 }, "of node 2");

        for (unsigned i = 0; i < 2; i++) {
                world->cxl.numa_node = i == 0 ? -1 : 0;
                world->cxl.target_node = i == 0 ? 0 : -1;
                g_assert_cmpstr(chosen(world, .prefer = PREFER_BANDWIDTH, .numa_node_set = true, .numa_node = 0), ==, "cxl");
                request.numa_node = 2;
                assert_refused(world, request, "of node 2");
                request.numa_node = UINT32_MAX;
                assert_refused(world, request, "of node 4294967295");
        }

        /* who does not ask for a node gets any */
        world->cxl.numa_node = world->cxl.target_node = 1;
        g_assert_cmpstr(chosen(world, .prefer = PREFER_BANDWIDTH), ==, "cxl");
        world->cxl.reason = world->hbm.reason;
        assert_refused(world, (Request) { .prefer = PREFER_BANDWIDTH }, "there is no region that can be used");
}

#define add_test(path, function) g_test_add(path, World, NULL, set_up, function, tear_down)

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        add_test("/preference/names", test_names);
        add_test("/preference/best", test_best);
        add_test("/preference/both-directions", test_both_directions);
        add_test("/preference/ties", test_ties);
        add_test("/preference/room", test_room);
        add_test("/preference/exactly", test_exactly);
        add_test("/preference/reasons", test_reasons);
        add_test("/preference/nodes", test_nodes);
        add_test("/preference/half-known-nodes", test_half_known_nodes);
        return g_test_run();
}
