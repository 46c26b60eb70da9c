/* SPDX-License-Identifier: MIT */

/* What the service tells about an allocation, read once and then shown in three ways: a row, a page,
 * JSON. A service of another version may tell less; what is missing stays empty. */

#include "details.h"
#include "output.h"
#include "progress.h"
#include "user.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
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

static const char *read_owner_name(const daxbroker_info *info) {
        const char *name;
        int r = info ? daxbroker_info_get_string(info, "OwnerName", &name) : -ENOENT;

        return r < 0 ? NULL : name;
}

Details details_read(const daxbroker_info *info) {
        const char *object = info ? daxbroker_info_get_object(info) : "";

        return (Details) {
                .object = object,
                .id = object_get_id(object),
                .name = info_string(info, "Name"),
                .region = info_string(info, "Region"),
                .owner_name = read_owner_name(info),
                .device = info_string(info, "Device"),
                .ranges = info_string(info, "Ranges"),
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
                .cleaned = info_number(info, "Cleaned"),
                .created = info_number(info, "Created"),
                .persistent = info_number(info, "Persistent"),
                .reserve = info_number(info, "Reserve"),
                .grant = info_string(info, "Grant"),
                .in_use = info_number(info, "InUse"),
        };
}

const char *details_get_title(const Details *details) {
        return *details->name ? details->name : details->id;
}

bool details_is_cleaning(const Details *details) {
        return strcmp(details->state, "cleaning") == 0;
}

char *details_format_state(const Details *details, char text[static STATE_TEXT_MAX]) {
        char progress[PROGRESS_TEXT_MAX];

        if (details_is_cleaning(details))
                snprintf(text, STATE_TEXT_MAX, "cleaning %.8s",
                         progress_format(details->cleaned, details->length, progress));
        else
                snprintf(text, STATE_TEXT_MAX, "%s", details->state);
        return text;
}

bool ranges_read(const char **ranges, uint64_t *ret_offset, uint64_t *ret_length) {
        unsigned long long offset, length;
        char *end;

        offset = strtoull(*ranges, &end, 10);
        if (end == *ranges || *end != '+')
                return false;
        *ranges = end + 1;
        length = strtoull(*ranges, &end, 10);
        if (end == *ranges)
                return false;

        *ranges = end;
        *ret_offset = offset;
        *ret_length = length;
        return true;
}

char *details_format_holder(const Details *details, char text[static HOLDER_TEXT_MAX]) {
        const char *unit = details->holder_unit;

        if (details->holder_pid > 0)
                snprintf(text, HOLDER_TEXT_MAX, "%s[%" PRIu64 "]", unit, details->holder_pid);
        else
                snprintf(text, HOLDER_TEXT_MAX, "%s", *unit ? unit : "-");
        return text;
}

char *details_format_owner(const Details *details, char text[static OWNER_TEXT_MAX]) {
        char user[USER_TEXT_MAX];

        if (details->owner == DETAILS_NOBODY)
                snprintf(text, OWNER_TEXT_MAX, "-");
        else if (!details->owner_name)
                snprintf(text, OWNER_TEXT_MAX, "%s", user_format((uid_t) details->owner, user));
        else if (*details->owner_name)
                snprintf(text, OWNER_TEXT_MAX, "%s", details->owner_name);
        else
                snprintf(text, OWNER_TEXT_MAX, "%" PRIu64 " (gone)", details->owner);
        return text;
}

static json_t *owner_to_json(const Details *details) {
        char owner[OWNER_TEXT_MAX];

        if (details->owner == DETAILS_NOBODY || (details->owner_name && !*details->owner_name))
                return json_null();
        return output_string(details_format_owner(details, owner));
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

static json_t *ranges_to_json(const char *ranges) {
        json_t *array = json_array();
        uint64_t offset, length;

        while (array && ranges_read(&ranges, &offset, &length))
                if (json_array_append_new(array, json_pack("{s:o, s:o}", "offset", output_number(offset),
                                                           "length", output_number(length))) < 0) {
                        json_decref(array);
                        return NULL;
                }
        return array;
}

json_t *details_to_json(const Details *details) {
        bool grouped = details->group != DETAILS_NO_GROUP;

        return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
                         "s:o, s:b, s:b, s:b, s:o, s:o, s:{s:o, s:o}}",
                         "object", output_string(details->object),
                         "id", output_string(details->id),
                         "name", output_string(details->name),
                         "region", output_string(details->region),
                         "owner", details->owner == DETAILS_NOBODY ? json_null() : output_number(details->owner),
                         "owner_name", owner_to_json(details),
                         "group", grouped ? output_number(details->group) : json_null(),
                         "group_name", group_to_json(details),
                         "mode", mode_to_json(details),
                         "offset", output_number(details->offset),
                         "length", output_number(details->length),
                         "alignment", output_number(details->alignment),
                         "page_size", output_number(details->page_size),
                         "device", *details->device ? output_string(details->device) : json_null(),
                         "ranges", ranges_to_json(details->ranges),
                         "state", output_string(details->state),
                         "cleaned", details_is_cleaning(details) ? output_number(details->cleaned) : json_null(),
                         "reason", output_string(details->reason),
                         "persistent", details->persistent != 0,
                         "reserve", details->reserve != 0,
                         "in_use", details->in_use != 0,
                         "grant", *details->grant ? output_string(details->grant) : json_null(),
                         "created", output_moment(details->created),
                         "holder",
                         "unit", output_string(details->holder_unit),
                         "pid", output_number(details->holder_pid));
}
