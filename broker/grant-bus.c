/* SPDX-License-Identifier: MIT */

/* org.daxbroker1.Grant, and how one is made: Manager.Reserve. A grant is its owner's alone: he may take from it and release it,
 * and sees it; who else may release and see it is polkit's to say, as with allocations. To take from it is nobody else's. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "log.h"
#include "names.h"
#include "options-bus.h"
#include "preference.h"
#include "regions.h"
#include "server-bus.h"
#include "size.h"
#include "warming.h"

char *grant_path(const Grant *grant, char buffer[static GRANT_PATH_MAX]) {
        (void) snprintf(buffer, GRANT_PATH_MAX, DAXBROKER_GRANT_PATH "/%s", grant->id);
        return buffer;
}

Grant *grant_from_path(const Server *server, const char *path) {
        size_t n = strlen(DAXBROKER_GRANT_PATH "/");
        Grant *grant;

        if (strncmp(path, DAXBROKER_GRANT_PATH "/", n) != 0)
                return NULL;

        grant = manager_find_grant(server->manager, path + n);
        return grant && !grant->making ? grant : NULL;
}

bool grant_is_visible(const Grant *grant, const Caller *caller) {
        return grant->owner == caller->user->uid;
}

Grant *call_grant_to_use(Call *call, const char *path, Failure *failure) {
        Grant *grant = grant_from_path(call->server, path);

        if (!grant)
                (void) failure_set(failure, REFUSAL_NoSuchGrant, "option grant: there is no grant %.64s, or it has ended", path);
        else if (grant->owner != call->caller->user->uid) {
                (void) failure_set(failure, REFUSAL_NotAuthorized,
                                   "option grant: it is user %" PRIu32 "'s, and nobody else can take from it",
                                   (uint32_t) grant->owner);
                grant = NULL;
        }

        return grant;
}

/* ---- Reserve ---- */

static void reply_with_grant(Grant *grant, int r, const Failure *failure, int lease, void *userdata) {
        FdReply *reply = userdata;
        char path[GRANT_PATH_MAX];

        if (r < 0)
                fd_reply_refuse(reply, r, failure);
        else if (!fd_reply_send(reply, "oht", grant_path(grant, path), lease, grant->size))
                grant_end(grant, "who asked for it did not get it", NULL);

        safe_close(lease);
        fd_reply_free(reply);
}

/* What is taken from it has names, as far as it has to. */
static int reserve_validate(const Request *request, const Caller *caller, Failure *failure) {
        Request nameless = *request;

        nameless.persistent = false;
        return request_validate(&nameless, caller->groups, caller->n_groups, failure);
}

static int reserve_authorize(Call *call, const Region *region, const Piece *plan, const Request *request,
                             Failure *failure) {
        const User *user = call->caller->user;
        Details details = { .wanted_bytes = plan->length, .wanted_count = 1 };

        details_add_request(&details, region, plan, request, true);
        details_add_held(&details, user->bytes + user->wanted_bytes, user->count + user->wanted_count);
        details_add(&details, "polkit.message", "Authentication is required to reserve %s of memory in region %s",
                    SIZE_TEXT(plan->length), region->name);
        return authorize(call, request->persistent ? "org.daxbroker1.allocate-persistent" : "org.daxbroker1.allocate",
                         &details, true, failure);
}

static int reserve_admit(Call *call, Region *region, const Request *request, const Piece *plan, Failure *failure) {
        Manager *manager = call->server->manager;
        const Caller *caller = call->caller;
        int r;

        r = manager_admit_grant(manager, region, plan, caller->user, caller->groups, caller->n_groups, failure);
        if (r < 0 && manager_is_settling(manager, region, request, plan, NULL, caller->user, failure->refusal))
                return call_wait_for_space(call, r, failure);
        if (r >= 0) {
                r = warming_make_way(manager, region, plan, failure);
                if (r < 0)
                        return call_wait_for_space(call, r, failure);
        }

        return r < 0 ? r : CALL_DONE;
}

int do_reserve(Call *call, Failure *failure) {
        const Caller *caller = call->caller;
        Origin origin = { .user = caller->user, .pid = caller->pid, .unit = caller->unit };
        Request request = { 0 };
        FdReply *reply;
        Region *region;
        Piece plan;
        int r;

        r = reserve_request_read(call->message, &request, failure);
        if (r >= 0)
                r = reserve_validate(&request, caller, failure);
        if (r < 0)
                return r;
        region = region_choose(call->server->manager, &request, failure);
        if (!region)
                return -refusal_to_errno(failure->refusal);
        call->about.region = region->name;
        if (region->reason)
                return failure_set(failure, REFUSAL_RegionUnusable, "region '%s' cannot be used: %s", region->name,
                                   region->reason);
        r = region->provider->plan(region, &request, &plan, failure);
        if (r < 0)
                return r;
        call->about.length = plan.length;

        r = reserve_authorize(call, region, &plan, &request, failure);
        if (r <= 0)
                return r;
        r = reserve_admit(call, region, &request, &plan, failure);
        if (r <= 0)
                return r;

        origin.decision = request.persistent ? "org.daxbroker1.allocate-persistent: yes" : "org.daxbroker1.allocate: yes";
        reply = fd_reply_new(call, 1);
        if (!reply)
                return -ENOMEM;
        r = grant_create(call->server->manager, region, &request, &plan, &origin, reply_with_grant, reply, failure);
        if (r < 0) {
                fd_reply_free(reply);
                return r;
        }

        return CALL_DONE;
}

/* ---- Release ---- */

static int do_release(Call *call, Failure *failure) {
        Grant *grant = grant_from_path(call->server, sd_bus_message_get_path(call->message));
        Ender ender = { .uid = call->caller->user->uid, .decision = "owner" };
        Details details = { 0 };
        int r;

        if (!grant)
                return failure_set(failure, REFUSAL_NoSuchGrant, "there is no such grant, or it has ended");

        call->about.region = grant->reservation.region->name;
        call->about.grant = grant->id;
        call->about.length = grant->size;
        if (grant->owner != call->caller->user->uid) {
                ender.decision = "org.daxbroker1.free-other: yes";
                details_add(&details, "region", "%s", grant->reservation.region->name);
                details_add(&details, "name", "%s", "");
                details_add(&details, "owner", "%" PRIu32, (uint32_t) grant->owner);
                details_add(&details, "size", "%" PRIu64, grant->size);
                details_add(&details, "size-mib", "%" PRIu64, (grant->size + MIB - 1) / MIB);
                details_add(&details, "grant", "%s", "true");
                details_add(&details, "polkit.message", "Authentication is required to release memory of another user: %s",
                            grant->id);
                r = authorize(call, "org.daxbroker1.free-other", &details, true, failure);
                if (r <= 0)
                        return r;
        }

        grant_end(grant, "it was released", &ender);
        call->about = (LogFields){ 0 };
        r = sd_bus_reply_method_return(call->message, NULL);
        return r < 0 ? r : CALL_DONE;
}

static int method_release(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        (void) error;
        return call_run(userdata, message, do_release);
}

/* ---- Properties ---- */

static int get_bytes(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                     void *userdata, sd_bus_error *error) {
        const Grant *grant = grant_from_path(userdata, path);
        uint64_t value;

        (void) bus;
        (void) interface;
        (void) error;
        if (!grant)
                return -ENOENT;

        if (strcmp(property, "Size") == 0)
                value = grant->size;
        else if (strcmp(property, "Available") == 0)
                value = grant_available(grant);
        else if (strcmp(property, "LargestAvailable") == 0)
                value = grant_largest(grant);
        else
                value = grant->created;

        return sd_bus_message_append(reply, "t", value);
}

static int get_other(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                     void *userdata, sd_bus_error *error) {
        const Grant *grant = grant_from_path(userdata, path);

        (void) bus;
        (void) interface;
        (void) error;
        if (!grant)
                return -ENOENT;

        if (strcmp(property, "Owner") == 0)
                return sd_bus_message_append(reply, "u", (uint32_t) grant->owner);
        if (strcmp(property, "Region") == 0)
                return sd_bus_message_append(reply, "s", grant->reservation.region->name);
        if (strcmp(property, "Persistent") == 0)
                return sd_bus_message_append(reply, "b", (int) grant->persistent);

        return sd_bus_message_append(reply, "(su)", grant->unit ? grant->unit : "", (uint32_t) grant->pid);
}

const sd_bus_vtable grant_vtable[] = {
        SD_BUS_VTABLE_START(0),
        /* by its owner, or polkit: free-other */
        SD_BUS_METHOD_WITH_ARGS("Release", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_release, SD_BUS_VTABLE_UNPRIVILEGED),
        /* to be seen by its owner, or polkit: inspect-other */
        SD_BUS_PROPERTY("Owner", "u", get_other, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Region", "s", get_other, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Size", "t", get_bytes, 0, 0),
        SD_BUS_PROPERTY("Available", "t", get_bytes, 0, 0), /* it changes all the time */
        SD_BUS_PROPERTY("LargestAvailable", "t", get_bytes, 0, 0),
        SD_BUS_PROPERTY("Persistent", "b", get_other, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Created", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Holder", "(su)", get_other, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_VTABLE_END,
};

static int grant_find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found,
                      sd_bus_error *ret_error) {
        (void) bus;
        (void) interface;
        (void) ret_error;
        if (!grant_from_path(userdata, path))
                return 0;

        *ret_found = userdata;
        return 1;
}

int server_add_grants(Server *server, sd_bus *bus) {
        int r;

        r = sd_bus_add_fallback_vtable(bus, NULL, DAXBROKER_GRANT_PATH, DAXBROKER_GRANT_INTERFACE, grant_vtable, grant_find,
                                       server);
        return r < 0 ? r : sd_bus_add_node_enumerator(bus, NULL, DAXBROKER_GRANT_PATH, names_enumerate, server);
}
