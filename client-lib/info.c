/* SPDX-License-Identifier: MIT */

/* The properties of one region or allocation: a bag of names with values.
 *
 * It knows types, not names, so a property that a newer service adds can be read by an older library.
 * Values of a type that it has no form for are left out. */

#include "info.h"

#include "error.h"
#include "util.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum PropertyType {
        PROPERTY_STRING,
        PROPERTY_UINT64,
        PROPERTY_INT64,
} PropertyType;

typedef struct Property {
        char *name;
        PropertyType type;
        union {
                char *string;
                uint64_t uint64;
                int64_t int64;
        };
} Property;

struct daxbroker_info {
        char *object;
        Property *properties;
        size_t n_properties, n_room;
};

int info_new(const char *object, daxbroker_info **ret) {
        daxbroker_info *info;

        info = calloc(1, sizeof(*info));
        if (!info)
                return -ENOMEM;

        info->object = strdup(object);
        if (!info->object) {
                free(info);
                return -ENOMEM;
        }

        *ret = info;
        return 0;
}

_public_ daxbroker_info *daxbroker_info_free(daxbroker_info *info) {
        if (!info)
                return NULL;

        for (size_t i = 0; i < info->n_properties; i++) {
                free(info->properties[i].name);
                if (info->properties[i].type == PROPERTY_STRING)
                        free(info->properties[i].string);
        }

        free(info->properties);
        free(info->object);
        free(info);
        return NULL;
}

static const Property *info_find(const daxbroker_info *info, const char *name) {
        for (size_t i = 0; i < info->n_properties; i++)
                if (strcmp(info->properties[i].name, name) == 0)
                        return &info->properties[i];

        return NULL;
}

/* Room for one more; NULL if there is none. */
static Property *info_reserve(daxbroker_info *info) {
        if (info->n_properties == info->n_room) {
                size_t room = info->n_room > 0 ? 2 * info->n_room : 16;
                Property *properties = reallocarray(info->properties, room, sizeof(*properties));

                if (!properties)
                        return NULL;

                info->properties = properties;
                info->n_room = room;
        }

        return &info->properties[info->n_properties];
}

/* Takes over the value's string, on success only. 0 if the name was there already. */
static int info_add(daxbroker_info *info, const char *name, Property value) {
        Property *property;

        if (info_find(info, name))
                return 0;

        property = info_reserve(info);
        if (!property)
                return -ENOMEM;

        value.name = strdup(name);
        if (!value.name)
                return -ENOMEM;

        *property = value;
        info->n_properties++;
        return 1;
}

int info_add_string(daxbroker_info *info, const char *name, const char *value) {
        char *copy;
        int r;

        copy = strdup(value);
        if (!copy)
                return -ENOMEM;

        r = info_add(info, name, (Property) { .type = PROPERTY_STRING, .string = copy });
        if (r <= 0)
                free(copy);

        return r;
}

int info_add_uint64(daxbroker_info *info, const char *name, uint64_t value) {
        return info_add(info, name, (Property) { .type = PROPERTY_UINT64, .uint64 = value });
}

int info_add_int64(daxbroker_info *info, const char *name, int64_t value) {
        return info_add(info, name, (Property) { .type = PROPERTY_INT64, .int64 = value });
}

/* A string, or anything that is one on the bus, or an integer. */
static int info_add_basic(daxbroker_info *info, const char *name, sd_bus_message *message, char type) {
        union {
                const char *string;
                uint8_t y;
                int b;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
        } value;
        int r;

        r = sd_bus_message_read_basic(message, type, &value);
        if (r < 0)
                return r;

        switch (type) {
        case 'y':
                return info_add_uint64(info, name, value.y);
        case 'b':
                return info_add_uint64(info, name, value.b != 0);
        case 'q':
                return info_add_uint64(info, name, value.q);
        case 'u':
                return info_add_uint64(info, name, value.u);
        case 't':
                return info_add_uint64(info, name, value.t);
        case 'n':
                return info_add_int64(info, name, value.n);
        case 'i':
                return info_add_int64(info, name, value.i);
        case 'x':
                return info_add_int64(info, name, value.x);
        default:
                return info_add_string(info, name, value.string);
        }
}

/* (su), a unit and a pid: two properties, such as HolderUnit and HolderPid. */
static int info_add_holder(daxbroker_info *info, const char *name, sd_bus_message *message) {
        _cleanup_(freep) char *unit_name = NULL, *pid_name = NULL;
        const char *unit;
        uint32_t pid;
        int r;

        r = sd_bus_message_read(message, "(su)", &unit, &pid);
        if (r < 0)
                return r;

        if (asprintf(&unit_name, "%sUnit", name) < 0) {
                unit_name = NULL;
                return -ENOMEM;
        }

        if (asprintf(&pid_name, "%sPid", name) < 0) {
                pid_name = NULL;
                return -ENOMEM;
        }

        r = info_add_string(info, unit_name, unit);
        if (r < 0)
                return r;

        return info_add_uint64(info, pid_name, pid);
}

/* at: one string, the numbers with a blank between them. */
static int info_add_numbers(daxbroker_info *info, const char *name, sd_bus_message *message) {
        _cleanup_(freep) char *text = NULL;
        const uint64_t *numbers;
        size_t size, length;
        FILE *stream;
        int r;

        r = sd_bus_message_read_array(message, 't', (const void **) &numbers, &size);
        if (r < 0)
                return r;

        stream = open_memstream(&text, &length);
        if (!stream)
                return -ENOMEM;

        for (size_t i = 0; i < size / sizeof(*numbers); i++)
                (void) fprintf(stream, "%s%" PRIu64, i > 0 ? " " : "", numbers[i]);

        if (fclose(stream) != 0)
                return -ENOMEM;

        return info_add_string(info, name, text);
}

/* a(tt), offsets and lengths: one string, such as "0+4096 8192+4096". */
static int info_add_ranges(daxbroker_info *info, const char *name, sd_bus_message *message) {
        _cleanup_(freep) char *text = NULL;
        uint64_t offset, length;
        size_t size;
        FILE *stream;
        bool first = true;
        int r;

        r = sd_bus_message_enter_container(message, 'a', "(tt)");
        if (r < 0)
                return r;

        stream = open_memstream(&text, &size);
        if (!stream)
                return -ENOMEM;

        while ((r = sd_bus_message_read(message, "(tt)", &offset, &length)) > 0) {
                (void) fprintf(stream, "%s%" PRIu64 "+%" PRIu64, first ? "" : " ", offset, length);
                first = false;
        }

        if (fclose(stream) != 0)
                return -ENOMEM;
        if (r >= 0)
                r = sd_bus_message_exit_container(message);

        return r < 0 ? r : info_add_string(info, name, text);
}

/* What comes next is the variant's content, entered already. */
static int info_add_value(daxbroker_info *info, const char *name, const char *type,
                          sd_bus_message *message) {
        if (type[0] != '\0' && type[1] == '\0' && strchr("ybnqiuxtsog", type[0]))
                return info_add_basic(info, name, message, type[0]);

        if (strcmp(type, "(su)") == 0)
                return info_add_holder(info, name, message);

        if (strcmp(type, "at") == 0)
                return info_add_numbers(info, name, message);

        if (strcmp(type, "a(tt)") == 0)
                return info_add_ranges(info, name, message);

        return sd_bus_message_skip(message, type);
}

static int info_add_pair(daxbroker_info *info, sd_bus_message *message) {
        const char *name, *type;
        int r;

        r = sd_bus_message_read_basic(message, 's', &name);
        if (r < 0)
                return r;

        r = sd_bus_message_peek_type(message, NULL, &type);
        if (r < 0)
                return r;

        r = sd_bus_message_enter_container(message, 'v', type);
        if (r < 0)
                return r;

        r = info_add_value(info, name, type, message);
        if (r < 0)
                return r;

        return sd_bus_message_exit_container(message);
}

int info_add_message(daxbroker_info *info, sd_bus_message *message) {
        int r;

        r = sd_bus_message_enter_container(message, 'a', "{sv}");
        if (r < 0)
                return r;

        for (;;) {
                r = sd_bus_message_enter_container(message, 'e', "sv");
                if (r < 0)
                        return r;
                if (r == 0)
                        return sd_bus_message_exit_container(message);

                r = info_add_pair(info, message);
                if (r < 0)
                        return r;

                r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }
}

_public_ const char *daxbroker_info_get_object(const daxbroker_info *info) {
        return info->object;
}

static int info_get(const daxbroker_info *info, const char *name, const Property **ret) {
        const Property *property = info_find(info, name);

        if (!property)
                return error_set(-ENOENT, "%s has no property '%s'", info->object, name);

        *ret = property;
        return 0;
}

_public_ int daxbroker_info_get_string(const daxbroker_info *info, const char *property, const char **ret) {
        const Property *found = NULL;
        int r;

        r = info_get(info, property, &found);
        if (r < 0)
                return r;

        if (found->type != PROPERTY_STRING)
                return error_set(-EINVAL, "the property '%s' is not a string", property);

        *ret = found->string;
        return 0;
}

_public_ int daxbroker_info_get_uint64(const daxbroker_info *info, const char *property, uint64_t *ret) {
        const Property *found = NULL;
        int r;

        r = info_get(info, property, &found);
        if (r < 0)
                return r;

        if (found->type == PROPERTY_UINT64)
                *ret = found->uint64;
        else if (found->type == PROPERTY_INT64 && found->int64 >= 0)
                *ret = (uint64_t) found->int64;
        else
                return error_set(-EINVAL, "the property '%s' is not a positive number", property);

        return 0;
}

_public_ int daxbroker_info_get_int64(const daxbroker_info *info, const char *property, int64_t *ret) {
        const Property *found = NULL;
        int r;

        r = info_get(info, property, &found);
        if (r < 0)
                return r;

        if (found->type == PROPERTY_INT64)
                *ret = found->int64;
        else if (found->type == PROPERTY_UINT64 && found->uint64 <= INT64_MAX)
                *ret = (int64_t) found->uint64;
        else
                return error_set(-EINVAL, "the property '%s' is not a number that fits", property);

        return 0;
}
