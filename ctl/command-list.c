/* SPDX-License-Identifier: MIT */

/* daxbrokerctl list: a row for each allocation that the caller may see. */

#include "cleanup.h"
#include "command.h"
#include "details.h"
#include "moment.h"
#include "output.h"
#include "refusal.h"
#include "size.h"

#include <inttypes.h>
#include <string.h>

DEFINE_CLEANUP(Table, table_free)

static Status allocations_print_json(const daxbroker_list *list, JsonMode mode) {
        _cleanup_(json_decrefp) json_t *array = json_array();

        for (size_t i = 0; i < daxbroker_list_get_size(list); i++) {
                Details details = details_read(daxbroker_list_get(list, i));

                if (json_array_append_new(array, details_to_json(&details)) < 0)
                        return output_json(NULL, mode);
        }

        return output_json(array, mode);
}

static Colour state_to_colour(const char *state) {
        if (strcmp(state, "live") == 0)
                return COLOUR_GOOD;
        return strcmp(state, "quarantined") == 0 ? COLOUR_BAD : COLOUR_WARNING;
}

static void allocation_add(Table *table, const Details *details) {
        char size[SIZE_TEXT_MAX], owner[OWNER_TEXT_MAX], moment[MOMENT_TEXT_MAX];
        char state[STATE_TEXT_MAX], holder[HOLDER_TEXT_MAX];

        table_add(table, COLOUR_PLAIN, "%s", details_get_title(details));
        table_add(table, COLOUR_PLAIN, "%s", details->region);
        table_add(table, COLOUR_PLAIN, "%s", details_format_owner(details, owner));
        table_add(table, COLOUR_PLAIN, "%04" PRIo64, details->mode);
        table_add(table, COLOUR_PLAIN, "%s", size_format(details->length, size));
        table_add(table, COLOUR_PLAIN, "%s", size_format(details->alignment, size));
        table_add(table, state_to_colour(details->state), "%s",
                  details_format_state(details, state));
        table_add(table, COLOUR_PLAIN, "%s", moment_format(details->created, moment));
        table_add(table, COLOUR_PLAIN, "%s", details_format_holder(details, holder));
        if (*details->reason)
                table_add_note(table, details->reason);
}

static Status allocations_print(const daxbroker_list *list, const Options *options) {
        static const TableColumn columns[] = {
                { .title = "NAME/ID", .shortened = 1, .minimum = 8 },
                { .title = "REGION", .shortened = 3, .minimum = 6 },
                { .title = "OWNER", .shortened = 2, .minimum = 5 },
                { .title = "MODE" },
                { .title = "LENGTH", .right = true },
                { .title = "ALIGN", .right = true },
                { .title = "STATE" },
                { .title = "CREATED" },
                { .title = "HOLDER", .shortened = 4, .minimum = 6 },
        };
        _cleanup_(table_freep) Table *table = table_new(columns, sizeof columns / sizeof columns[0]);
        size_t n = daxbroker_list_get_size(list);
        Status status;

        for (size_t i = 0; i < n; i++) {
                Details details = details_read(daxbroker_list_get(list, i));

                allocation_add(table, &details);
        }

        status = output_table(table, options);
        if (status == STATUS_OK && !(options->given & OPTION_NO_LEGEND))
                printf("\n%zu allocation%s listed.\n", n, n == 1 ? "" : "s");
        return status;
}

Status command_list(const Options *options) {
        _cleanup_(daxbroker_list_freep) daxbroker_list *list = NULL;
        int r;

        r = daxbroker_list_allocations(NULL, &list);
        if (r < 0)
                return refusal_tell(r, "list allocations");

        return options->json != JSON_OFF ? allocations_print_json(list, options->json)
                                         : allocations_print(list, options);
}
