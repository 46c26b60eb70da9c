/* SPDX-License-Identifier: MIT */

/* Which region a request is for, if it does not say. */

#include "preference.h"

#include <inttypes.h>
#include <string.h>

/* Both directions of a path, of which one may be unknown. */
static uint64_t both(uint64_t read, uint64_t write) {
        return (read > 0 ? read : write) + (write > 0 ? write : read);
}

/* How well a region suits a request that was planned for it; more is better. */
static uint64_t region_merit(const Region *region, Preference prefer) {
        uint64_t latency;

        switch (prefer) {
        case PREFER_BANDWIDTH:
                return both(region->performance.read_bandwidth, region->performance.write_bandwidth);
        case PREFER_LATENCY:
                latency = both(region->performance.read_latency, region->performance.write_latency);
                return latency > 0 ? UINT64_MAX - latency : 0;
        case PREFER_CAPACITY:
                return region_available(region);
        case PREFER_NOTHING:
                break;
        }

        return 0;
}

/* Whether memory of a region can be what a request for a node means: near it, or it. Plain memory can come from any. */
static bool region_is_on_node(const Region *region, uint32_t node) {
        return (region->numa_node < 0 && region->target_node < 0) ||
               (region->numa_node >= 0 && (uint32_t) region->numa_node == node) ||
               (region->target_node >= 0 && (uint32_t) region->target_node == node);
}

static Region *choose_preferred(const Manager *manager, const Request *request, Failure *failure) {
        const char *usual = manager->config->default_region;
        Region *region, *best = NULL;
        bool best_has_room = false;
        Failure because = { 0 }, reason = { 0 };

        DL_FOREACH(manager->regions, region) {
                bool has_room, is_usual = strcmp(region->name, usual) == 0;
                uint64_t merit, best_merit;
                Piece plan;

                if (region->reason || (request->numa_node_set && !region_is_on_node(region, request->numa_node)))
                        continue;
                if (region->provider->plan(region, request, &plan, &because) < 0 ||
                    (plan.length > region->size && region_admit(region, plan.length, &because) < 0)) {
                        /* the default region's reason says most to who knows of no other */
                        if (reason.refusal == REFUSAL_NONE || is_usual)
                                reason = because;
                        continue;
                }

                has_room = region_available(region) >= plan.length;
                merit = region_merit(region, request->prefer);
                best_merit = best ? region_merit(best, request->prefer) : 0;
                if (!best || has_room > best_has_room ||
                    (has_room == best_has_room && (merit > best_merit || (merit == best_merit && is_usual)))) {
                        best = region;
                        best_has_room = has_room;
                }
        }

        if (best)
                return best;

        if (reason.refusal != REFUSAL_NONE)
                *failure = reason;
        else if (request->numa_node_set)
                (void) failure_set(failure, REFUSAL_RegionUnusable,
                                   "no region that can be used has memory of node %" PRIu32, request->numa_node);
        else
                (void) failure_set(failure, REFUSAL_RegionUnusable, "there is no region that can be used");
        return NULL;
}

Region *region_choose(const Manager *manager, const Request *request, Failure *failure) {
        const char *name = request->region ? request->region : manager->config->default_region;
        Region *region;

        if (request->prefer != PREFER_NOTHING)
                return choose_preferred(manager, request, failure);

        region = manager_find_region(manager, name);
        if (!region)
                (void) failure_set(failure, REFUSAL_NoSuchRegion,
                                   "there is no region '%.64s'; ListRegions has those there are", name);
        return region;
}
