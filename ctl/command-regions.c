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

static int64_t region_get_node(const daxbroker_info *region) {
        int64_t node;
        int r = daxbroker_info_get_int64(region, "NumaNode", &node);

        return r < 0 ? -1 : node;
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
        int64_t node = region_get_node(region);

        return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o}",
                         "object", output_string(daxbroker_info_get_object(region)),
                         "name", output_string(info_string(region, "Name")),
                         "provider", output_string(info_string(region, "Provider")),
                         "size", output_number(info_number(region, "Size")),
                         "available", output_number(info_number(region, "Available")),
                         "largest_available", output_number(info_number(region, "LargestAvailable")),
                         "granularity", output_number(info_number(region, "Granularity")),
                         "alignments", alignments_to_json(info_string(region, "Alignments")),
                         "numa_node", node < 0 ? json_null() : json_integer(node),
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

static void region_add(Table *table, const daxbroker_info *region) {
        const char *state = info_string(region, "State"), *reason = info_string(region, "Reason");
        bool usable = strcmp(state, "usable") == 0;
        int64_t node = region_get_node(region);
        char text[SIZE_TEXT_MAX];

        table_add(table, COLOUR_PLAIN, "%s", info_string(region, "Name"));
        table_add(table, COLOUR_PLAIN, "%s", info_string(region, "Provider"));
        table_add(table, COLOUR_PLAIN, "%s", size_format(info_number(region, "Size"), text));
        table_add(table, COLOUR_PLAIN, "%s", size_format(info_number(region, "Available"), text));
        if (node < 0)
                table_add(table, COLOUR_PLAIN, "-");
        else
                table_add(table, COLOUR_PLAIN, "%" PRId64, node);
        table_add(table, usable ? COLOUR_GOOD : COLOUR_BAD, "%s", state);
        if (*reason)
                table_add_note(table, reason);
}

static Status regions_print(const daxbroker_list *list, const Options *options) {
        static const TableColumn columns[] = {
                { .title = "NAME", .shortened = 1, .minimum = 8 },
                { .title = "PROVIDER", .shortened = 2, .minimum = 5 },
                { .title = "SIZE", .right = true },
                { .title = "AVAILABLE", .right = true },
                { .title = "NODE", .right = true },
                { .title = "STATE" },
        };
        _cleanup_(table_freep) Table *table = table_new(columns, sizeof columns / sizeof columns[0]);
        size_t n = daxbroker_list_get_size(list);
        Status status;

        for (size_t i = 0; i < n; i++)
                region_add(table, daxbroker_list_get(list, i));

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
