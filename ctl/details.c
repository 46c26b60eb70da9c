/* SPDX-License-Identifier: MIT */

/* What the service tells about an allocation, read once and then shown in three ways: a row, a page,
 * JSON. A service of another version may tell less; what is missing stays empty. */

#include "details.h"
#include "output.h"
#include "user.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *info_string(const daxbroker_info *info, const char *property) {
        const char *value;
        int r = info ? daxbroker_info_get_string(info, property, &value) : -ENOENT;

        return r < 0 ? "" : value;
}

uint64_t info_number(const daxbroker_info *info, const char *property) {
        uint64_t value;
        int r = info ? daxbroker_info_get_uint64(info, property, &value) : -ENOENT;

        return r < 0 ? 0 : value;
}

static const char *object_get_id(const char *object) {
        const char *slash = strrchr(object, '/');

        return slash ? slash + 1 : object;
}

Details details_read(const daxbroker_info *info) {
        const char *object = info ? daxbroker_info_get_object(info) : "";

        return (Details) {
                .object = object,
                .id = object_get_id(object),
                .name = info_string(info, "Name"),
                .region = info_string(info, "Region"),
                .state = info_string(info, "State"),
                .reason = info_string(info, "Reason"),
                .holder_unit = info_string(info, "HolderUnit"),
                .holder_pid = info_number(info, "HolderPid"),
                .owner = info_number(info, "Owner"),
                .group = info_number(info, "Group"),
                .mode = info_number(info, "Mode"),
                .offset = info_number(info, "Offset"),
                .length = info_number(info, "Length"),
                .alignment = info_number(info, "Alignment"),
                .page_size = info_number(info, "PageSize"),
                .created = info_number(info, "Created"),
                .persistent = info_number(info, "Persistent"),
                .in_use = info_number(info, "InUse"),
        };
}

const char *details_get_title(const Details *details) {
        return *details->name ? details->name : details->id;
}

char *details_format_holder(const Details *details, char text[static HOLDER_TEXT_MAX]) {
        const char *unit = details->holder_unit;

        if (details->holder_pid > 0)
                snprintf(text, HOLDER_TEXT_MAX, "%s[%" PRIu64 "]", unit, details->holder_pid);
        else
                snprintf(text, HOLDER_TEXT_MAX, "%s", *unit ? unit : "-");
        return text;
}

static json_t *owner_to_json(const Details *details) {
        char user[USER_TEXT_MAX];

        return output_string(user_format((uid_t) details->owner, user));
}

static json_t *group_to_json(const Details *details) {
        char group[USER_TEXT_MAX];

        if (details->group == DETAILS_NO_GROUP)
                return json_null();
        return output_string(group_format((gid_t) details->group, group));
}

/* A string, as JSON has no octal numbers. */
static json_t *mode_to_json(const Details *details) {
        char mode[32];

        snprintf(mode, sizeof mode, "%04" PRIo64, details->mode);
        return json_string(mode);
}

json_t *details_to_json(const Details *details) {
        bool grouped = details->group != DETAILS_NO_GROUP;

        return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
                         "s:b, s:b, s:o, s:{s:o, s:o}}",
                         "object", output_string(details->object),
                         "id", output_string(details->id),
                         "name", output_string(details->name),
                         "region", output_string(details->region),
                         "owner", output_number(details->owner),
                         "owner_name", owner_to_json(details),
                         "group", grouped ? output_number(details->group) : json_null(),
                         "group_name", group_to_json(details),
                         "mode", mode_to_json(details),
                         "offset", output_number(details->offset),
                         "length", output_number(details->length),
                         "alignment", output_number(details->alignment),
                         "page_size", output_number(details->page_size),
                         "state", output_string(details->state),
                         "reason", output_string(details->reason),
                         "persistent", details->persistent != 0,
                         "in_use", details->in_use != 0,
                         "created", output_moment(details->created),
                         "holder",
                         "unit", output_string(details->holder_unit),
                         "pid", output_number(details->holder_pid));
}
