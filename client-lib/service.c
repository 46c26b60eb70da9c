/* SPDX-License-Identifier: MIT */

/* Questions and orders to the service that yield no memory: about one allocation, which may be named in
 * three ways, and about the service itself. */

#include "call.h"
#include "error-names.h"
#include "info.h"
#include "names.h"
#include "request.h"
#include "service.h"
#include "util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What SetOwner is called with; name may be NULL. */
typedef struct OwnerArguments {
        uid_t uid;
        const char *name;
} OwnerArguments;

#define ALLOCATION_PREFIX DAXBROKER_ALLOCATION_PATH "/"

bool service_is_allocation_id(const char *text) {
        return strlen(text) == 16 && strspn(text, "0123456789abcdef") == 16;
}

/* The object for "which". It may have ended when it is used; then the service says so. */
static int service_resolve(daxbroker_client *client, const char *which, char **ret) {
        Call call = {
                .path = DAXBROKER_ROOT_PATH,
                .interface = DAXBROKER_MANAGER_INTERFACE,
                .member = "GetAllocation",
                .append = call_append_string,
                .arguments = which,
                .parse = call_parse_string,
                .result = ret,
        };
        int r;

        if (!which)
                return error_set(-EINVAL, "no allocation is named");

        if (which[0] == '/') {
                if (strncmp(which, ALLOCATION_PREFIX, strlen(ALLOCATION_PREFIX)) != 0 ||
                    sd_bus_object_path_is_valid(which) <= 0)
                        return error_set(-ENOENT, "'%s' is not the object of an allocation", which);

                *ret = strdup(which);
                return *ret ? 0 : error_set(-ENOMEM, "out of memory");
        }

        r = call_run(client, &call, NULL);
        if (r != -ENOENT || !service_is_allocation_id(which))
                return r;

        if (asprintf(ret, "%s%s", ALLOCATION_PREFIX, which) < 0)
                return error_set(-ENOMEM, "out of memory");

        return 0;
}

/* Calls a method of the allocation. call says all but where; acted as for call_run(), and untouched if there is no such
 * allocation. */
static int service_call(daxbroker_client *client, const char *which, Call *call, bool *acted) {
        _cleanup_(freep) char *object = NULL;
        int r;

        r = service_resolve(client, which, &object);
        if (r < 0)
                return r;

        call->path = object;
        call->interface = DAXBROKER_ALLOCATION_INTERFACE;
        r = call_run(client, call, acted);
        call->path = NULL;
        return r;
}

/* For Call.parse; arguments is the interface, result the daxbroker_info that is filled in. */
static int service_parse_properties(sd_bus_message *reply, const void *arguments, void *result) {
        int r;

        (void) arguments;

        r = info_add_message(result, reply);
        if (r == -ENOMEM)
                return error_set(r, "out of memory");
        if (r < 0)
                return error_set(-EPROTO, "the service's answer is not what its interface says");

        return 0;
}

int service_get_properties(daxbroker_client *client, const char *object, const char *interface, daxbroker_info **ret) {
        daxbroker_info *info;
        Call call;
        int r;

        r = info_new(object, &info);
        if (r < 0)
                return error_set(r, "out of memory");

        call = (Call) {
                .path = object,
                .interface = "org.freedesktop.DBus.Properties",
                .member = "GetAll",
                .append = call_append_string,
                .arguments = interface,
                .parse = service_parse_properties,
                .result = info,
        };
        r = call_run(client, &call, NULL);
        if (r < 0) {
                daxbroker_info_free(info);
                return r;
        }

        *ret = info;
        return 0;
}

_public_ int daxbroker_get_allocation(daxbroker_client *client, const char *which, daxbroker_info **ret) {
        _cleanup_(freep) char *object = NULL;
        int r;

        r = service_resolve(client, which, &object);
        return r < 0 ? r : service_get_properties(client, object, DAXBROKER_ALLOCATION_INTERFACE, ret);
}

_public_ int daxbroker_end_allocation(daxbroker_client *client, const char *which) {
        bool acted = false;
        Call call = { .member = "Free" };
        int r;

        r = service_call(client, which, &call, &acted);
        if (r == -ENOENT && acted)
                return 0; /* an attempt whose answer was lost has done it */

        return r;
}

static int service_append_revoke(sd_bus_message *message, const void *arguments) {
        if (*(const uint64_t *) arguments & DAXBROKER_DESPITE_REFERENCES)
                return sd_bus_message_append(message, "a{sv}", 1, "despite-references", "b", 1);

        return sd_bus_message_append(message, "a{sv}", 0);
}

_public_ int daxbroker_revoke_allocation(daxbroker_client *client, const char *which, uint64_t flags) {
        bool acted = false;
        Call call = {
                .member = "Revoke",
                .append = service_append_revoke,
                .arguments = &flags,
        };
        int r;

        if (flags & ~DAXBROKER_DESPITE_REFERENCES)
                return error_set(-EINVAL, "a flag is unknown");

        r = service_call(client, which, &call, &acted);
        if (r == -ENOENT && acted)
                return 0; /* as above */

        return r;
}

static int service_append_mode(sd_bus_message *message, const void *arguments) {
        return sd_bus_message_append(message, "u", (uint32_t) *(const mode_t *) arguments);
}

_public_ int daxbroker_set_mode(daxbroker_client *client, const char *which, mode_t mode) {
        Call call = {
                .member = "SetMode",
                .append = service_append_mode,
                .arguments = &mode,
        };

        return service_call(client, which, &call, NULL);
}

static int service_append_owner(sd_bus_message *message, const void *arguments) {
        const OwnerArguments *owner = arguments;

        if (owner->name)
                return sd_bus_message_append(message, "ua{sv}", (uint32_t) owner->uid, 1, "name", "s", owner->name);

        return sd_bus_message_append(message, "ua{sv}", (uint32_t) owner->uid, 0);
}

_public_ int daxbroker_set_owner(daxbroker_client *client, const char *which, uid_t owner, const char *name) {
        OwnerArguments arguments = { .uid = owner, .name = name };
        Call call = {
                .member = "SetOwner",
                .append = service_append_owner,
                .arguments = &arguments,
        };

        return service_call(client, which, &call, NULL);
}

static int service_append_name(sd_bus_message *message, const void *arguments) {
        return sd_bus_message_append(message, "sa{sv}", (const char *) arguments, 0);
}

_public_ int daxbroker_rename(daxbroker_client *client, const char *which, const char *name) {
        Call call = {
                .member = "Rename",
                .append = service_append_name,
                .arguments = name,
        };

        if (!name)
                return error_set(-EINVAL, "there is no new name");

        return service_call(client, which, &call, NULL);
}

static int service_append_size(sd_bus_message *message, const void *arguments) {
        return sd_bus_message_append(message, "ta{sv}", *(const uint64_t *) arguments, 0);
}

static int service_parse_length(sd_bus_message *reply, const void *arguments, void *result) {
        (void) arguments;

        if (sd_bus_message_read(reply, "t", result) <= 0)
                return error_set(-EPROTO, "the service's answer is not what its interface says");

        return 0;
}

_public_ int daxbroker_resize(daxbroker_client *client, const char *which, uint64_t size, uint64_t *ret_length) {
        uint64_t length = 0;
        Call call = {
                .member = "Resize",
                .append = service_append_size,
                .arguments = &size,
                .parse = service_parse_length,
                .result = &length,
                .slow = true,
        };
        int r;

        r = service_call(client, which, &call, NULL);
        if (r < 0)
                return r;

        if (ret_length)
                *ret_length = length;
        return 0;
}

static int service_parse_check(sd_bus_message *reply, const void *arguments, void *result) {
        const char *name, *reason;
        uint64_t length;
        int allowed, r;

        (void) arguments;

        r = sd_bus_message_read(reply, "bsst", &allowed, &name, &reason, &length);
        if (r <= 0)
                return error_set(-EPROTO, "the service's answer is not what its interface says");

        if (!allowed)
                return error_set_bus(&SD_BUS_ERROR_MAKE_CONST(name, reason), -EACCES);

        *(uint64_t *) result = length;
        return 0;
}

_public_ int daxbroker_check(daxbroker_client *client, const daxbroker_request *request,
                             uint64_t *ret_length) {
        uint64_t length;
        Call call = {
                .path = DAXBROKER_ROOT_PATH,
                .interface = DAXBROKER_MANAGER_INTERFACE,
                .member = "Check",
                .append = request_append,
                .arguments = request,
                .parse = service_parse_check,
                .result = &length,
        };
        int r;

        if (!request)
                return error_set(-EINVAL, "there is no request");

        r = call_run(client, &call, NULL);
        if (r < 0)
                return r;

        if (ret_length)
                *ret_length = length;
        return 0;
}

_public_ int daxbroker_reload(daxbroker_client *client) {
        Call call = {
                .path = DAXBROKER_ROOT_PATH,
                .interface = DAXBROKER_MANAGER_INTERFACE,
                .member = "Reload",
        };

        return call_run(client, &call, NULL);
}

static int service_append_version(sd_bus_message *message, const void *arguments) {
        (void) arguments;

        return sd_bus_message_append(message, "ss", DAXBROKER_MANAGER_INTERFACE, "Version");
}

static int service_parse_version(sd_bus_message *reply, const void *arguments, void *result) {
        int r;

        r = sd_bus_message_enter_container(reply, 'v', "s");
        if (r <= 0)
                return error_set(-EPROTO, "the service's answer is not what its interface says");

        return call_parse_string(reply, arguments, result);
}

_public_ int daxbroker_get_version(daxbroker_client *client, char **ret) {
        Call call = {
                .path = DAXBROKER_ROOT_PATH,
                .interface = "org.freedesktop.DBus.Properties",
                .member = "Get",
                .append = service_append_version,
                .parse = service_parse_version,
                .result = ret,
        };

        return call_run(client, &call, NULL);
}
