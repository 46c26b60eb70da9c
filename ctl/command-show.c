/* SPDX-License-Identifier: MIT */

/* daxbrokerctl show: everything about one allocation, a line each. */

#include "cleanup.h"
#include "command.h"
#include "details.h"
#include "fields.h"
#include "moment.h"
#include "output.h"
#include "progress.h"
#include "refusal.h"
#include "size.h"
#include "user.h"

#include <inttypes.h>

/* A line for each part. */
static void ranges_print(const char *ranges) {
        const char *label = "Range";
        uint64_t offset, length;
        char size[SIZE_TEXT_MAX];

        for (; ranges_read(&ranges, &offset, &length); label = "and")
                field_print(label, "%s at %" PRIu64, size_format(length, size), offset);
}

static void progress_print(const Details *details) {
        char bar[PROGRESS_TEXT_MAX], done[SIZE_TEXT_MAX], all[SIZE_TEXT_MAX];
        Terminal terminal = terminal_look();

        field_print("Cleaned", "%s (%s of %s)",
                    progress_format_bar(details->cleaned, details->length, &terminal, bar),
                    size_format(details->cleaned, done), size_format(details->length, all));
}

static void allocation_print(const Details *details) {
        char text[USER_TEXT_MAX], owner[OWNER_TEXT_MAX], moment[MOMENT_TEXT_MAX], holder[HOLDER_TEXT_MAX];

        field_print("Object", "%s", details->object);
        if (*details->name)
                field_print("Name", "%s", details->name);
        field_print("Region", "%s", details->region);
        field_print("Owner", "%s", details_format_owner(details, owner));
        if (details->group != DETAILS_NO_GROUP)
                field_print("Group", "%s", group_format((gid_t) details->group, text));
        field_print("Mode", "%04" PRIo64, details->mode);
        field_print_size("Length", details->length);
        field_print_size("Alignment", details->alignment);
        field_print_size("Page size", details->page_size);
        field_print("Offset", "%" PRIu64, details->offset);
        if (*details->device)
                field_print("Device", "%s", details->device);
        ranges_print(details->ranges);
        field_print("State", "%s", details->state);
        if (details_is_cleaning(details))
                progress_print(details);
        if (*details->reason)
                field_print("Reason", "%s", details->reason);
        field_print("In use", "%s", details->in_use ? "yes" : "no");
        field_print("Persistent", "%s", details->persistent ? "yes" : "no");
        if (*details->grant)
                field_print("Grant", "%s", details->grant);
        if (details->reserve)
                field_print("Reserve", "yes");
        field_print("Created", "%s", moment_format(details->created, moment));
        field_print("Holder", "%s", details_format_holder(details, holder));
}

Status command_show(const Options *options) {
        _cleanup_(daxbroker_info_freep) daxbroker_info *info = NULL;
        const char *which = options->arguments[0];
        Details details;
        int r;

        r = daxbroker_get_allocation(NULL, which, &info);
        if (r < 0)
                return refusal_tell(r, "show '%s'", which);
        details = details_read(info);

        if (options->json != JSON_OFF) {
                _cleanup_(json_decrefp) json_t *value = details_to_json(&details);

                return output_json(value, options->json);
        }

        allocation_print(&details);
        return STATUS_OK;
}
