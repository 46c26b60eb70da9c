/* SPDX-License-Identifier: MIT */

/* org.daxbroker1.Region: facts about a region that anybody may read. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "names.h"
#include "server-bus.h"

int region_path(const Region *region, char **ret) {
        return sd_bus_path_encode(DAXBROKER_REGION_PATH, region->name, ret);
}

static Region *region_from_path(const Server *server, const char *path) {
        _cleanup_free_ char *name = NULL;

        if (sd_bus_path_decode(path, DAXBROKER_REGION_PATH, &name) <= 0)
                return NULL;

        return manager_find_region(server->manager, name);
}

static int region_find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found,
                       sd_bus_error *ret_error) {
        (void) bus;
        (void) interface;
        (void) ret_error;
        if (!region_from_path(userdata, path))
                return 0;

        *ret_found = userdata; /* getters look it up by the path they are given */
        return 1;
}

static int region_enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *ret_error) {
        Server *server = userdata;
        size_t n = 0, i = 0;
        Region *region;
        char **nodes;

        (void) bus;
        (void) prefix;
        (void) ret_error;
        DL_COUNT(server->manager->regions, region, n);
        nodes = calloc(n + 1, sizeof(*nodes));
        if (!nodes)
                return -ENOMEM;

        DL_FOREACH(server->manager->regions, region)
                if (region_path(region, &nodes[i++]) < 0) {
                        while (i > 0)
                                free(nodes[--i]);
                        free(nodes);
                        return -ENOMEM;
                }

        *ret_nodes = nodes;
        return 1;
}

static int get_string(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                      void *userdata, sd_bus_error *error) {
        const Region *region = region_from_path(userdata, path);
        const char *value;

        (void) bus;
        (void) interface;
        (void) error;
        if (!region)
                return -ENOENT;

        if (strcmp(property, "Name") == 0)
                value = region->name;
        else if (strcmp(property, "Provider") == 0)
                value = region->provider ? region->provider->name : "";
        else if (strcmp(property, "Isolation") == 0)
                value = region->provider ? region->provider->isolation : "";
        else if (strcmp(property, "State") == 0)
                value = region->reason ? "unusable" : "usable";
        else if (strcmp(property, "Clean") == 0)
                value = region->clean;
        else if (strcmp(property, "Recycle") == 0)
                value = region->recycle;
        else
                value = region->reason ? region->reason : "";

        return sd_bus_message_append(reply, "s", value);
}

/* What is left to be zeroed of memory whose end waits for that. */
static uint64_t region_cleaning(const Server *server, const Region *region) {
        const Allocation *allocation;
        uint64_t bytes = 0;

        DL_FOREACH2(server->manager->draining, allocation, drain_next) {
                uint64_t cleaned = allocation->piece.cleaned;

                if (allocation->state == ALLOCATION_CLEANING && allocation->reservation.region == region &&
                    cleaned < allocation->piece.length)
                        bytes += allocation->piece.length - cleaned;
        }

        return bytes;
}

static int get_bytes(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                     void *userdata, sd_bus_error *error) {
        const Region *region = region_from_path(userdata, path);
        uint64_t value, available;

        (void) bus;
        (void) interface;
        (void) error;
        if (!region)
                return -ENOENT;

        available = region_available(region);
        if (strcmp(property, "Size") == 0)
                value = region->size;
        else if (strcmp(property, "Granularity") == 0)
                value = region->granularity;
        else if (strcmp(property, "Quarantined") == 0)
                value = region->quarantined;
        else if (strcmp(property, "Granted") == 0)
                value = region->granted;
        else if (strcmp(property, "Cleaning") == 0)
                value = region_cleaning(userdata, region);
        else if (strcmp(property, "Warm") == 0)
                value = region->warm.limit;
        else if (strcmp(property, "WarmAvailable") == 0)
                value = region->warm.bytes;
        else if (strcmp(property, "WarmLength") == 0)
                value = region->warm.limit > 0 ? demand_class(&region->warm.demand)->length : 0;
        else if (strcmp(property, "WarmHits") == 0)
                value = region->warm.n_hits;
        else if (strcmp(property, "WarmMisses") == 0)
                value = region->warm.n_misses;
        else if (strcmp(property, "LargestAvailable") == 0)
                value = region->largest < available ? region->largest : available;
        else
                value = available;

        return sd_bus_message_append(reply, "t", value);
}

static int get_performance(sd_bus *bus, const char *path, const char *interface, const char *property,
                           sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Region *region = region_from_path(userdata, path);
        uint64_t value;

        (void) bus;
        (void) interface;
        (void) error;
        if (!region)
                return -ENOENT;

        if (strcmp(property, "ReadBandwidth") == 0)
                value = region->performance.read_bandwidth;
        else if (strcmp(property, "WriteBandwidth") == 0)
                value = region->performance.write_bandwidth;
        else if (strcmp(property, "ReadLatency") == 0)
                value = region->performance.read_latency;
        else
                value = region->performance.write_latency;

        return sd_bus_message_append(reply, "t", value);
}

static int get_other(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                     void *userdata, sd_bus_error *error) {
        const Region *region = region_from_path(userdata, path);

        (void) bus;
        (void) interface;
        (void) error;
        if (!region)
                return -ENOENT;

        if (strcmp(property, "Alignments") == 0)
                return sd_bus_message_append_array(reply, 't', region->alignments,
                                                   region->n_alignments * sizeof(region->alignments[0]));
        if (strcmp(property, "NumaNode") == 0)
                return sd_bus_message_append(reply, "i", region->numa_node);
        if (strcmp(property, "TargetNode") == 0)
                return sd_bus_message_append(reply, "i", region->target_node);

        return sd_bus_message_append(reply, "b", region->provider && region->provider->persistent);
}

const sd_bus_vtable region_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Name", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Provider", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Size", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Available", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("LargestAvailable", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Granted", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Quarantined", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Cleaning", "t", get_bytes, 0, 0), /* it changes all the time */
        SD_BUS_PROPERTY("Warm", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("WarmAvailable", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("WarmLength", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("WarmHits", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("WarmMisses", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Granularity", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Alignments", "at", get_other, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("NumaNode", "i", get_other, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("TargetNode", "i", get_other, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("ReadBandwidth", "t", get_performance, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("WriteBandwidth", "t", get_performance, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("ReadLatency", "t", get_performance, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("WriteLatency", "t", get_performance, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Clean", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Recycle", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Persistent", "b", get_other, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Isolation", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("State", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Reason", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};

int server_add_regions(Server *server, sd_bus *bus) {
        int r;

        r = sd_bus_add_fallback_vtable(bus, NULL, DAXBROKER_REGION_PATH, DAXBROKER_REGION_INTERFACE, region_vtable,
                                       region_find, server);
        return r < 0 ? r : sd_bus_add_node_enumerator(bus, NULL, DAXBROKER_REGION_PATH, region_enumerate, server);
}
