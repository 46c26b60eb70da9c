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

static const Provider some = { .name = "some", .plan = plan }, any = { .name = "any", .plan = plan_any };

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

#define add_test(path, function) g_test_add(path, World, NULL, set_up, function, tear_down)

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        add_test("/preference/names", test_names);
        add_test("/preference/best", test_best);
        add_test("/preference/ties", test_ties);
        add_test("/preference/room", test_room);
        add_test("/preference/nodes", test_nodes);
        return g_test_run();
}
