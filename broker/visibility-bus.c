/* SPDX-License-Identifier: MIT */

/* Who may see which allocation. Every message passes here before sd-bus processes it; those that would show allocations to
 * somebody are held until it is known what he may see:
 *
 *      properties of a grant: its owner's, else polkit's inspect-other
 *      properties of an allocation: its owner's, whom its mode lets read it, else polkit's inspect-other; not of somebody
 *              who has the uid of an owner that is gone
 *
 * So are lists of the standard interfaces, which are put together elsewhere (list-bus.c): GetManagedObjects is answered, and
 * introspection goes on in sd-bus, whose enumerators then have the names for the current message. Calls to allocations that
 * do not exist get the error of our table here, for sd-bus knows none but its own. */

#include <string.h>

#include "names.h"
#include "server-bus.h"

#define PROPERTIES_INTERFACE "org.freedesktop.DBus.Properties"

int call_sees_all(Call *call, Failure *failure) {
        Details details = { 0 };

        details_add(&details, "polkit.message", "Authentication is required to list the memory of other users");
        return authorize(call, "org.daxbroker1.inspect-other", &details, false, failure);
}

static int judge_properties(Call *call, Failure *failure) {
        const Allocation *allocation = allocation_from_path(call->server, sd_bus_message_get_path(call->message));
        Details details = { 0 };
        int r;

        if (!allocation)
                return failure_set(failure, REFUSAL_NoSuchAllocation, "there is no such allocation, or it has ended");
        news_show(call->server, allocation);
        r = call_knows_owner_to_show(call, allocation);
        if (r == CALL_WAITS)
                return r;
        if (allocation_is_visible(allocation, call->caller))
                return CALL_PASS;

        call_set_about(call, allocation);
        details_add(&details, "region", "%s", allocation->reservation.region->name);
        details_add(&details, "owner", "%u", (unsigned) allocation->owner);
        details_add(&details, "polkit.message", "Authentication is required to look at memory of another user");
        r = authorize(call, "org.daxbroker1.inspect-other", &details, true, failure);
        return r > 0 ? CALL_PASS : call_refuse_stranger(call, allocation, r, failure);
}

static int judge_grant_properties(Call *call, Failure *failure) {
        const Grant *grant = grant_from_path(call->server, sd_bus_message_get_path(call->message));
        Details details = { 0 };
        int r;

        if (!grant)
                return failure_set(failure, REFUSAL_NoSuchGrant, "there is no such grant, or it has ended");
        if (grant_is_visible(grant, call->caller))
                return CALL_PASS;

        details_add(&details, "region", "%s", grant->reservation.region->name);
        details_add(&details, "owner", "%u", (unsigned) grant->owner);
        details_add(&details, "polkit.message", "Authentication is required to look at memory of another user");
        r = authorize(call, "org.daxbroker1.inspect-other", &details, true, failure);
        return r > 0 ? CALL_PASS : r;
}

static int refuse_missing_grant(Call *call, Failure *failure) {
        (void) call;
        return failure_set(failure, REFUSAL_NoSuchGrant, "there is no such grant, or it has ended");
}

static int refuse_missing(Call *call, Failure *failure) {
        (void) call;
        return failure_set(failure, REFUSAL_NoSuchAllocation, "there is no such allocation, or it has ended");
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Server *server = userdata;
        const char *path = sd_bus_message_get_path(message), *interface = sd_bus_message_get_interface(message);

        (void) error;
        server->viewed = NULL;
        server->viewed_names = names_free(server->viewed_names);
        if (!sd_bus_message_is_method_call(message, NULL, NULL) || !path || !interface ||
            strncmp(path, DAXBROKER_ROOT_PATH, strlen(DAXBROKER_ROOT_PATH)) != 0)
                return 0;

        if (strcmp(path, DAXBROKER_ROOT_PATH) == 0 &&
            sd_bus_message_is_method_call(message, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"))
                return call_run(server, message, do_get_managed_objects);
        if (sd_bus_message_is_method_call(message, "org.freedesktop.DBus.Introspectable", "Introspect")) {
                if (strcmp(path, DAXBROKER_ALLOCATION_PATH) == 0)
                        return call_run(server, message, do_introspect_allocations);
                if (strcmp(path, DAXBROKER_GRANT_PATH) == 0)
                        return call_run(server, message, do_introspect_grants);
        }

        if (strncmp(path, DAXBROKER_GRANT_PATH "/", strlen(DAXBROKER_GRANT_PATH "/")) == 0) {
                if (strcmp(interface, PROPERTIES_INTERFACE) == 0)
                        return call_run(server, message, judge_grant_properties);
                if (strcmp(interface, DAXBROKER_GRANT_INTERFACE) == 0 && !grant_from_path(server, path))
                        return call_run(server, message, refuse_missing_grant);
                return 0;
        }
        if (strncmp(path, DAXBROKER_ALLOCATION_PATH "/", strlen(DAXBROKER_ALLOCATION_PATH "/")) != 0)
                return 0;
        if (strcmp(interface, PROPERTIES_INTERFACE) == 0)
                return call_run(server, message, judge_properties);
        if (strcmp(interface, DAXBROKER_ALLOCATION_INTERFACE) == 0 && !allocation_from_path(server, path))
                return call_run(server, message, refuse_missing);
        return 0;
}

int server_add_visibility(Server *server, sd_bus *bus) {
        return sd_bus_add_filter(bus, NULL, on_message, server);
}
