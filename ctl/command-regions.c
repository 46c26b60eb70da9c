/* SPDX-License-Identifier: MIT */

/* daxbrokerctl regions: where memory can be had from. A region that cannot be used is listed with the
 * reason. */

#include "cleanup.h"
#include "command.h"
#include "details.h"
#include "output.h"
#include "refusal.h"
#include "size.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(Table, table_free)

#define COLUMNS_MAX 12

static int64_t region_get_node(const daxbroker_info *region, const char *property) {
        int64_t node;
        int r = daxbroker_info_get_int64(region, property, &node);

        return r < 0 ? -1 : node;
}

static json_t *node_to_json(const daxbroker_info *region, const char *property) {
        int64_t node = region_get_node(region, property);

        return node < 0 ? json_null() : json_integer(node);
}

/* What is 0 where it is not known. */
static json_t *figure_to_json(const daxbroker_info *region, const char *property) {
        uint64_t figure = info_number(region, property);

        return figure > 0 ? output_number(figure) : json_null();
}

static json_t *policy_to_json(const daxbroker_info *region, const char *property) {
        const char *policy = info_string(region, property);

        return *policy ? output_string(policy) : json_null();
}

/* "4096 2097152" as an array. NULL if out of memory. */
static json_t *alignments_to_json(const char *alignments) {
        json_t *array = json_array();
        char *end;

        for (;; alignments = end) {
                uint64_t alignment = strtoull(alignments, &end, 10);

                if (end == alignments)
                        return array;
                if (json_array_append_new(array, output_number(alignment)) < 0) {
                        json_decref(array);
                        return NULL;
                }
        }
}

static json_t *region_to_json(const daxbroker_info *region) {
        return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
                         "s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o}",
                         "object", output_string(daxbroker_info_get_object(region)),
                         "name", output_string(info_string(region, "Name")),
                         "provider", output_string(info_string(region, "Provider")),
                         "size", output_number(info_number(region, "Size")),
                         "available", output_number(info_number(region, "Available")),
                         "largest_available", output_number(info_number(region, "LargestAvailable")),
                         "granted", output_number(info_number(region, "Granted")),
                         "quarantined", output_number(info_number(region, "Quarantined")),
                         "cleaning", output_number(info_number(region, "Cleaning")),
                         "warm", output_number(info_number(region, "Warm")),
                         "warm_available", output_number(info_number(region, "WarmAvailable")),
                         "warm_length", output_number(info_number(region, "WarmLength")),
                         "warm_hits", output_number(info_number(region, "WarmHits")),
                         "warm_misses", output_number(info_number(region, "WarmMisses")),
                         "granularity", output_number(info_number(region, "Granularity")),
                         "alignments", alignments_to_json(info_string(region, "Alignments")),
                         "numa_node", node_to_json(region, "NumaNode"),
                         "target_node", node_to_json(region, "TargetNode"),
                         "read_bandwidth", figure_to_json(region, "ReadBandwidth"),
                         "write_bandwidth", figure_to_json(region, "WriteBandwidth"),
                         "read_latency", figure_to_json(region, "ReadLatency"),
                         "write_latency", figure_to_json(region, "WriteLatency"),
                         "clean", policy_to_json(region, "Clean"),
                         "recycle", policy_to_json(region, "Recycle"),
                         "persistent", info_number(region, "Persistent") != 0,
                         "isolation", output_string(info_string(region, "Isolation")),
                         "state", output_string(info_string(region, "State")),
                         "reason", output_string(info_string(region, "Reason")));
}

static Status regions_print_json(const daxbroker_list *list, JsonMode mode) {
        _cleanup_(json_decrefp) json_t *array = json_array();

        for (size_t i = 0; i < daxbroker_list_get_size(list); i++)
                if (json_array_append_new(array, region_to_json(daxbroker_list_get(list, i))) < 0)
                        return output_json(NULL, mode);

        return output_json(array, mode);
}

/* Columns that are left out where they would tell nothing. */
typedef struct Extras {
        bool granted, quarantined, warm, bandwidth, latency;
} Extras;

static Extras extras_look(const daxbroker_list *list) {
        Extras extras = {};

        for (size_t i = 0; i < daxbroker_list_get_size(list); i++) {
                const daxbroker_info *region = daxbroker_list_get(list, i);

                extras.granted |= info_number(region, "Granted") > 0;
                extras.quarantined |= info_number(region, "Quarantined") > 0;
                extras.warm |= info_number(region, "Warm") > 0;
                extras.bandwidth |= info_number(region, "ReadBandwidth") > 0 || info_number(region, "WriteBandwidth") > 0;
                extras.latency |= info_number(region, "ReadLatency") > 0 || info_number(region, "WriteLatency") > 0;
        }
        return extras;
}

static void node_add(Table *table, int64_t node) {
        if (node < 0)
                table_add(table, COLOUR_PLAIN, "-");
        else
                table_add(table, COLOUR_PLAIN, "%" PRId64, node);
}

/* For reading and writing; the service says MiB. */
static void bandwidth_add(Table *table, const daxbroker_info *region) {
        uint64_t reading = info_number(region, "ReadBandwidth"), writing = info_number(region, "WriteBandwidth");
        char read_text[SIZE_TEXT_MAX], write_text[SIZE_TEXT_MAX];

        if (reading == 0 && writing == 0)
                table_add(table, COLOUR_PLAIN, "-");
        else
                table_add(table, COLOUR_PLAIN, "%s/%s", size_format(reading << 20, read_text),
                          size_format(writing << 20, write_text));
}

static void latency_add(Table *table, const daxbroker_info *region) {
        uint64_t reading = info_number(region, "ReadLatency"), writing = info_number(region, "WriteLatency");

        if (reading == 0 && writing == 0)
                table_add(table, COLOUR_PLAIN, "-");
        else
                table_add(table, COLOUR_PLAIN, "%" PRIu64 "/%" PRIu64, reading, writing);
}

static void warm_add(Table *table, const daxbroker_info *region) {
        uint64_t hits = info_number(region, "WarmHits"), misses = info_number(region, "WarmMisses");
        char text[SIZE_TEXT_MAX];

        table_add(table, COLOUR_PLAIN, "%s", size_format(info_number(region, "WarmAvailable"), text));
        if (hits == 0 && misses == 0)
                table_add(table, COLOUR_PLAIN, "-");
        else
                table_add(table, COLOUR_PLAIN, "%.0f%%", 100 * (double) hits / ((double) hits + (double) misses));
}

static void region_add(Table *table, const daxbroker_info *region, const Extras *extras) {
        const char *state = info_string(region, "State"), *reason = info_string(region, "Reason");
        bool usable = strcmp(state, "usable") == 0;
        uint64_t quarantined = info_number(region, "Quarantined");
        char text[SIZE_TEXT_MAX];

        table_add(table, COLOUR_PLAIN, "%s", info_string(region, "Name"));
        table_add(table, COLOUR_PLAIN, "%s", info_string(region, "Provider"));
        table_add(table, COLOUR_PLAIN, "%s", size_format(info_number(region, "Size"), text));
        table_add(table, COLOUR_PLAIN, "%s", size_format(info_number(region, "Available"), text));
        if (extras->granted)
                table_add(table, COLOUR_PLAIN, "%s", size_format(info_number(region, "Granted"), text));
        if (extras->quarantined)
                table_add(table, quarantined > 0 ? COLOUR_WARNING : COLOUR_PLAIN, "%s", size_format(quarantined, text));
        if (extras->warm)
                warm_add(table, region);
        node_add(table, region_get_node(region, "NumaNode"));
        if (extras->bandwidth)
                bandwidth_add(table, region);
        if (extras->latency)
                latency_add(table, region);
        table_add(table, usable ? COLOUR_GOOD : COLOUR_BAD, "%s", state);
        if (*reason)
                table_add_note(table, reason);
}

static size_t columns_choose(const Extras *extras, TableColumn *ret) {
        const struct {
                TableColumn column;
                bool shown;
        } all[] = {
                { { .title = "NAME", .shortened = 1, .minimum = 8 }, true },
                { { .title = "PROVIDER", .shortened = 2, .minimum = 5 }, true },
                { { .title = "SIZE", .right = true }, true },
                { { .title = "AVAILABLE", .right = true }, true },
                { { .title = "GRANTED", .right = true }, extras->granted },
                { { .title = "QUARANTINED", .right = true }, extras->quarantined },
                { { .title = "WARM", .right = true }, extras->warm },
                { { .title = "HITS", .right = true }, extras->warm },
                { { .title = "NODE", .right = true }, true },
                { { .title = "BYTES/S", .right = true }, extras->bandwidth },
                { { .title = "NS", .right = true }, extras->latency },
                { { .title = "STATE" }, true },
        };
        size_t n = 0;

        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
                if (all[i].shown)
                        ret[n++] = all[i].column;
        return n;
}

static Status regions_print(const daxbroker_list *list, const Options *options) {
        TableColumn columns[COLUMNS_MAX];
        Extras extras = extras_look(list);
        _cleanup_(table_freep) Table *table = table_new(columns, columns_choose(&extras, columns));
        size_t n = daxbroker_list_get_size(list);
        Status status;

        for (size_t i = 0; i < n; i++)
                region_add(table, daxbroker_list_get(list, i), &extras);

        status = output_table(table, options);
        if (status == STATUS_OK && !(options->given & OPTION_NO_LEGEND))
                printf("\n%zu region%s listed.\n", n, n == 1 ? "" : "s");
        return status;
}

Status command_regions(const Options *options) {
        _cleanup_(daxbroker_list_freep) daxbroker_list *list = NULL;
        int r;

        r = daxbroker_list_regions(NULL, &list);
        if (r < 0)
                return refusal_tell(r, "list regions");

        return options->json != JSON_OFF ? regions_print_json(list, options->json)
                                         : regions_print(list, options);
}
