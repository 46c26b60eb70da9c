/* SPDX-License-Identifier: MIT */

/* org.daxbroker1.Manager: where every caller starts. A handler reads, validates, looks up and authorizes, all without side
 * effects, since it may have to run again; then the allocation is created and answers by itself. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "creation.h"
#include "names.h"
#include "options-bus.h"
#include "preference.h"
#include "regions.h"
#include "server-bus.h"
#include "size.h"
#include "warming.h"

/* A request that was read, validated and planned. */
typedef struct Wish {
        Request request;
        Region *region;
        Grant *grant;         /* that it is to be taken from, or NULL */
        Piece plan;
        Allocation *retained; /* whose memory it gets, or NULL */
        Allocation *twin;     /* what an earlier call for the same has made, or NULL */
} Wish;

/* For people: none is -1. */
static int64_t group_to_number(uint32_t group) {
        return group == DAXBROKER_NO_GROUP ? -1 : (int64_t) group;
}

/* A caller who has lost the answer asks again, and shall get what he got. NULL if there is nothing of this name that is
 * his, and that is kept for him. */
static Allocation *find_twin(Call *call, const Request *request) {
        Allocation *twin;

        if (!request->name || !request->persistent)
                return NULL;

        twin = manager_find_allocation_by_name(call->server->manager, request->name);
        if (!twin || !twin->persistent || !allocation_is_owned_by(twin, call->caller->user->uid) ||
            allocation_is_ending(twin) || twin->end_cause)
                return NULL;
        return twin;
}

/* What else than the twin he asks for. */
static int compare_with_twin(const Wish *wish, Failure *failure) {
        const Allocation *twin = wish->twin;
        const Request *request = &wish->request;
        uint32_t group = request->group_set ? request->group : DAXBROKER_NO_GROUP;
        uint32_t mode = request->mode_set ? request->mode : REQUEST_MODE_DEFAULT;
        char differences[FAILURE_TEXT_MAX / 2] = "";
        size_t n = 0, max = sizeof(differences);

        if (wish->region != twin->reservation.region)
                n += (size_t) snprintf(differences, max, ", region '%s' (not '%s')", twin->reservation.region->name,
                                       wish->region->name);
        if (wish->plan.length != twin->piece.length)
                n += (size_t) snprintf(differences + n, max - n, ", length %s (not %s)", SIZE_TEXT(twin->piece.length),
                                       SIZE_TEXT(wish->plan.length));
        if (request->page_size_set && request->page_size != twin->piece.page_size)
                n += (size_t) snprintf(differences + n, max - n, ", pages of %" PRIu64 " (not %" PRIu64 ")",
                                       twin->piece.page_size, request->page_size);
        if (request->alignment != twin->piece.alignment)
                n += (size_t) snprintf(differences + n, max - n, ", alignment %" PRIu64 " (not %" PRIu64 ")",
                                       twin->piece.alignment, request->alignment);
        if (mode != twin->mode)
                n += (size_t) snprintf(differences + n, max - n, ", mode 0%" PRIo32 " (not 0%" PRIo32 ")", twin->mode, mode);
        if (group != twin->group)
                n += (size_t) snprintf(differences + n, max - n, ", group %" PRIi64 " (not %" PRIi64 ")",
                                       group_to_number(twin->group), group_to_number(group));
        if (n == 0)
                return 0;

        return failure_set(failure, REFUSAL_NameExists, "your allocation named '%s' has %s; open it, or choose another name",
                           request->name, differences + 2);
}

/* Where it is to be taken from. */
static int wish_choose(Call *call, Wish *wish, Failure *failure) {
        const Request *request = &wish->request;

        if (request->grant) {
                wish->grant = call_grant_to_use(call, request->grant, failure);
                if (!wish->grant)
                        return -refusal_to_errno(failure->refusal);
                wish->region = wish->grant->reservation.region;
                if (request->region && strcmp(request->region, wish->region->name) != 0)
                        return failure_set(failure, REFUSAL_BadOption,
                                           "options grant and region: the grant is of region '%s'", wish->region->name);
                return 0;
        }

        /* who does not say which region has said the same before */
        wish->region = wish->twin && !request->region ? wish->twin->reservation.region
                                                      : region_choose(call->server->manager, request, failure);
        return wish->region ? 0 : -refusal_to_errno(failure->refusal);
}

static int wish_read(Call *call, Wish *ret, Failure *failure) {
        Wish wish = { 0 };
        int r;

        r = request_read(call->message, &wish.request, failure);
        if (r < 0)
                return r;
        r = request_validate(&wish.request, call->caller->groups, call->caller->n_groups, failure);
        if (r < 0)
                return r;

        if (wish.request.name) {
                r = call_look_up(call, call->caller->user, false, failure);
                if (r <= 0)
                        return r;
        }

        wish.twin = find_twin(call, &wish.request);
        r = wish_choose(call, &wish, failure);
        if (r < 0)
                return r;
        call->about.region = wish.region->name;
        if (wish.region->reason)
                return failure_set(failure, REFUSAL_RegionUnusable, "region '%s' cannot be used: %s", wish.region->name,
                                   wish.region->reason);

        r = wish.region->provider->plan(wish.region, &wish.request, &wish.plan, failure);
        if (r < 0)
                return r;
        if (wish.request.reserve && !wish.region->provider->claim_anew && !wish.region->provider->list)
                return failure_set(failure, REFUSAL_BadOption,
                                   "option reserve: region '%s' (%s) does not place memory itself, so there is no place to "
                                   "keep",
                                   wish.region->name, wish.region->provider->name);
        if (wish.request.reserve && wish.region->provider->list)
                return failure_set(failure, REFUSAL_BadOption,
                                   "option reserve: region '%s' (%s) keeps memory over a reboot, and contents with it; ask "
                                   "for that with persistent",
                                   wish.region->name, wish.region->provider->name);
        call->about.length = wish.plan.length;
        if (wish.grant) {
                call->about.grant = wish.grant->id;
                if (wish.request.persistent && !wish.grant->persistent)
                        return failure_set(failure, REFUSAL_NotAuthorized,
                                           "options grant and persistent: the grant was reserved without the option "
                                           "persistent, so nobody was asked whether what is taken from it may last");
                wish.plan.hold = wish.grant->hold;
        }

        *ret = wish;
        return CALL_DONE;
}

void details_add_request(Details *details, const Region *region, const Piece *plan, const Request *request, bool grant) {
        details_add(details, "region", "%s", region->name);
        details_add(details, "provider", "%s", region->provider->name);
        details_add(details, "size", "%" PRIu64, plan->length);
        details_add(details, "size-mib", "%" PRIu64, (plan->length + MIB - 1) / MIB);
        details_add(details, "alignment", "%" PRIu64, request->alignment);
        details_add(details, "name", "%s", request->name ? request->name : "");
        details_add(details, "persistent", "%s", request->persistent ? "true" : "false");
        details_add(details, "grant", "%s", grant ? "true" : "false");
        if (plan->numa_node >= 0)
                details_add(details, "numa-node", "%d", plan->numa_node);
        else
                details_add(details, "numa-node", "any");
}

void details_add_held(Details *details, uint64_t bytes, uint64_t count) {
        details_add_fleeting(details, "held", "%" PRIu64, bytes);
        details_add_fleeting(details, "held-mib", "%" PRIu64, (bytes + MIB - 1) / MIB);
        details_add_fleeting(details, "held-count", "%" PRIu64, count);
}

static int wish_authorize(Call *call, const Wish *wish, bool interactive, Failure *failure) {
        const User *user = call->caller->user;
        const Request *request = &wish->request;
        Details details = { .wanted_bytes = wish->plan.length, .wanted_count = 1 };
        /* Of several requests at the same time each must count those before it, or a rule about the sum is none. */
        uint64_t held = user->bytes + user->wanted_bytes, held_count = user->count + user->wanted_count;
        Allocation *retained = NULL;
        Failure ignored = { 0 };

        if (wish->grant) /* was decided about as a whole */
                return CALL_DONE;

        /* What it would get again, and holds until then, it does not get in addition. */
        (void) manager_admit(call->server->manager, wish->region, request, &wish->plan, NULL, user, call->caller->groups,
                             call->caller->n_groups, &retained, &ignored);
        if (retained) {
                held -= retained->piece.length;
                held_count--;
        }
        if (wish->twin) {
                held -= wish->twin->piece.length;
                held_count--;
                details.wanted_bytes = details.wanted_count = 0;
        }

        details_add_request(&details, wish->region, &wish->plan, request, false);
        details_add_held(&details, held, held_count);
        details_add(&details, "polkit.message", "Authentication is required to take %s of memory from region %s",
                    SIZE_TEXT(wish->plan.length), wish->region->name);

        return authorize(call, request->persistent ? "org.daxbroker1.allocate-persistent" : "org.daxbroker1.allocate",
                         &details, interactive, failure);
}

/* A medium may hold what has this name, and not have been looked at yet: after a boot, or just after it came. CALL_WAITS
 * while that may take a moment, Busy if it takes longer. */
static int await_media(Call *call, const char *name, Failure *failure) {
        const Manager *manager = call->server->manager;
        const Region *region = regions_find_unlisted(manager, true);

        if (!region || manager_find_allocation_by_name(manager, name))
                return CALL_DONE;

        return call_wait_for_media(call,
                                   failure_set(failure, REFUSAL_Busy,
                                               "it is not known yet whether region '%s' holds something named '%s' (%s); "
                                               "try again in a moment",
                                               region->name, name, region->reason ? region->reason : "it is being read"),
                                   failure);
}

/* CALL_WAITS as long as it is being carved, or anything else is done to it. */
static int twin_admit(Call *call, const Wish *wish, Failure *failure) {
        Allocation *twin = wish->twin;
        int r;

        r = compare_with_twin(wish, failure);
        if (r < 0)
                return r;
        if (allocation_is_busy(twin))
                return call_wait(call, &twin->waiters, failure);

        return twin->state == ALLOCATION_LIVE ? CALL_DONE : refuse_state(twin, failure);
}

static int wish_admit(Call *call, Wish *wish, Failure *failure) {
        Manager *manager = call->server->manager;
        const Caller *caller = call->caller;
        int r;

        if (wish->twin)
                return twin_admit(call, wish, failure);

        r = wish->request.name ? await_media(call, wish->request.name, failure) : CALL_DONE;
        if (r <= 0)
                return r;
        r = manager_admit(manager, wish->region, &wish->request, &wish->plan, wish->grant, caller->user, caller->groups,
                          caller->n_groups, &wish->retained, failure);
        if (r < 0 && failure->refusal == REFUSAL_NoSpace)
                regions_refresh(manager, wish->region);
        if (r < 0 && manager_is_settling(manager, wish->region, &wish->request, &wish->plan, wish->grant, caller->user,
                                         failure->refusal))
                return call_wait_for_space(call, r, failure);
        if (r >= 0 && !wish->retained && !warm_find(&wish->region->warm, &wish->plan)) {
                r = warming_make_way(manager, wish->region, &wish->plan, failure);
                if (r < 0)
                        return call_wait_for_space(call, r, failure);
        }

        return r < 0 ? r : CALL_DONE;
}

/* Makes it; or opens what there is. */
static int wish_fulfil(Call *call, Wish *wish, const Origin *origin, FdReply *reply, Failure *failure) {
        if (wish->twin) {
                call_set_about(call, wish->twin);
                return allocation_open(wish->twin, false, origin->user->uid, origin->decision, reply_with_memory, reply);
        }

        return allocation_create(call->server->manager, wish->region, &wish->request, &wish->plan, wish->retained, origin,
                                 reply_with_new_memory, reply, failure);
}

static int do_allocate(Call *call, Failure *failure) {
        const Caller *caller = call->caller;
        Origin origin = { .user = caller->user, .pid = caller->pid, .unit = caller->unit };
        FdReply *reply;
        Wish wish;
        int r;

        r = wish_read(call, &wish, failure);
        if (r <= 0)
                return r;

        r = wish_authorize(call, &wish, true, failure);
        if (r <= 0)
                return r;

        r = wish_admit(call, &wish, failure);
        if (r <= 0)
                return r;

        origin.grant = wish.grant;
        origin.decision = "org.daxbroker1.allocate: yes";
        if (wish.request.persistent)
                origin.decision = "org.daxbroker1.allocate-persistent: yes";
        if (wish.grant)
                origin.decision = "grant";
        reply = fd_reply_new(call, MEMORY_REPLY_FDS);
        if (!reply)
                return -ENOMEM;
        r = wish_fulfil(call, &wish, &origin, reply, failure);
        if (r < 0) {
                fd_reply_free(reply);
                return r;
        }

        return CALL_DONE;
}

static int do_check(Call *call, Failure *failure) {
        Wish wish = { 0 };
        int r;

        r = wish_read(call, &wish, failure);
        if (r > 0)
                r = wish_authorize(call, &wish, false, failure);
        if (r == CALL_WAITS)
                return r;
        if (r >= 0 && wish.twin)
                r = compare_with_twin(&wish, failure);
        else if (r >= 0)
                r = manager_admit(call->server->manager, wish.region, &wish.request, &wish.plan, wish.grant,
                                  call->caller->user, call->caller->groups, call->caller->n_groups, &wish.retained, failure);

        r = sd_bus_reply_method_return(call->message, "bsst", r >= 0, r >= 0 ? "" : refusal_to_bus_name(failure->refusal),
                                       r >= 0 ? "" : failure->text, wish.plan.length);
        return r < 0 ? r : CALL_DONE;
}

/* Reads a name and finds the allocation it names. CALL_WAITS while it may turn up. */
static int call_named_allocation(Call *call, Allocation **ret, Failure *failure) {
        const Manager *manager = call->server->manager;
        Allocation *allocation;
        const Region *region;
        const char *name;
        int r;

        r = sd_bus_message_read(call->message, "s", &name);
        if (r < 0)
                return r;
        r = name_validate(name, failure);
        if (r >= 0)
                r = await_media(call, name, failure);
        if (r <= 0)
                return r;

        allocation = manager_find_allocation_by_name(manager, name);
        if (allocation) {
                *ret = allocation;
                return CALL_DONE;
        }

        region = regions_find_unlisted(manager, false);
        if (region)
                return failure_set(failure, REFUSAL_NoSuchAllocation,
                                   "there is no allocation named '%s', as far as is known: what region '%s' holds cannot be "
                                   "read (%s)",
                                   name, region->name, region->reason ? region->reason : "");
        return failure_set(failure, REFUSAL_NoSuchAllocation, "there is no allocation named '%s'", name);
}

static int do_open(Call *call, Failure *failure) {
        Allocation *allocation = NULL;
        int r;

        r = call_named_allocation(call, &allocation, failure);
        return allocation ? allocation_open_for(call, allocation, failure) : r;
}

static int do_get_allocation(Call *call, Failure *failure) {
        char path[ALLOCATION_PATH_MAX];
        Allocation *allocation = NULL;
        int r;

        r = call_named_allocation(call, &allocation, failure);
        if (!allocation)
                return r;
        if (allocation->state == ALLOCATION_CARVING)
                return call_wait(call, &allocation->waiters, failure);
        call_set_about(call, allocation);
        r = call_knows_owner_to_show(call, allocation);
        if (r == CALL_WAITS)
                return r;
        if (!allocation_is_visible(allocation, call->caller)) {
                r = call_sees_all(call, failure);
                if (r <= 0)
                        return call_refuse_stranger(call, allocation, r, failure);
        }

        r = sd_bus_reply_method_return(call->message, "o", allocation_path(allocation, path));
        return r < 0 ? r : CALL_DONE;
}

/* ---- Reload ---- */

typedef struct Reload {
        Waiter waiter;
        sd_bus_message *message;
} Reload;

static void on_reloaded(Waiter *waiter) {
        Reload *reload = (Reload *) waiter;

        (void) sd_bus_reply_method_return(reload->message, NULL);
        sd_bus_message_unref(reload->message);
        free(reload);
}

static int do_reload(Call *call, Failure *failure) {
        Details details = { 0 };
        Reload *reload;
        int r;

        details_add(&details, "method", "Reload");
        details_add(&details, "polkit.message",
                    "Authentication is required to reload the configuration of the memory broker");
        r = authorize(call, "org.daxbroker1.manage", &details, true, failure);
        if (r <= 0)
                return r;

        reload = calloc(1, sizeof(*reload));
        if (!reload)
                return -ENOMEM;

        reload->waiter.wake = on_reloaded;
        reload->message = sd_bus_message_ref(call->message);
        manager_reload(call->server->manager, &reload->waiter);
        return CALL_DONE;
}

/* ---- The table ---- */

static int method_run(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        static const Method methods[] = {
                { "Allocate", do_allocate },
                { "Open", do_open },
                { "Check", do_check },
                { "ListRegions", do_list_regions },
                { "ListAllocations", do_list_allocations },
                { "ListAllocationsPaged", do_list_allocations_paged },
                { "ListGrants", do_list_grants },
                { "ListGrantsPaged", do_list_grants_paged },
                { "Reserve", do_reserve },
                { "GetAllocation", do_get_allocation },
                { "Reload", do_reload },
        };

        (void) error;
        return call_dispatch(userdata, message, methods);
}

static int get_string(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                      void *userdata, sd_bus_error *error) {
        const Server *server = userdata;

        (void) bus;
        (void) path;
        (void) interface;
        (void) error;
        return sd_bus_message_append(reply, "s",
                                     strcmp(property, "Version") == 0 ? PACKAGE_VERSION
                                                                      : server->manager->config->default_region);
}

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        /* polkit: allocate, allocate-persistent */
        SD_BUS_METHOD_WITH_ARGS("Allocate", SD_BUS_ARGS("t", size, "t", alignment, "a{sv}", options),
                                SD_BUS_RESULT("o", allocation, "h", memory, "h", lease, "t", offset, "t", length),
                                method_run, SD_BUS_VTABLE_UNPRIVILEGED),
        /* polkit: allocate */
        SD_BUS_METHOD_WITH_ARGS("Reserve", SD_BUS_ARGS("t", size, "a{sv}", options),
                                SD_BUS_RESULT("o", grant, "h", lease, "t", length), method_run, SD_BUS_VTABLE_UNPRIVILEGED),
        /* by mode, or polkit: open-other */
        SD_BUS_METHOD_WITH_ARGS("Open", SD_BUS_ARGS("s", name, "a{sv}", options),
                                SD_BUS_RESULT("o", allocation, "h", memory, "h", lease, "t", offset, "t", length),
                                method_run, SD_BUS_VTABLE_UNPRIVILEGED),
        /* polkit is asked what it would say, and nothing else happens */
        SD_BUS_METHOD_WITH_ARGS("Check", SD_BUS_ARGS("t", size, "t", alignment, "a{sv}", options),
                                SD_BUS_RESULT("b", allowed, "s", error, "s", reason, "t", length), method_run,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        /* everybody */
        SD_BUS_METHOD_WITH_ARGS("ListRegions", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(soa{sv})", regions), method_run,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        /* everybody sees his own, polkit: inspect-other */
        SD_BUS_METHOD_WITH_ARGS("ListAllocations", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(soa{sv})", allocations), method_run,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListAllocationsPaged", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("a(soa{sv})", allocations, "b", more), method_run,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListGrants", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(soa{sv})", grants), method_run,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListGrantsPaged", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("a(soa{sv})", grants, "b", more), method_run, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetAllocation", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", allocation), method_run,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        /* polkit: manage */
        SD_BUS_METHOD_WITH_ARGS("Reload", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_run, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Version", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("DefaultRegion", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};

int server_add_manager(Server *server, sd_bus *bus) {
        return sd_bus_add_object_vtable(bus, NULL, DAXBROKER_ROOT_PATH, DAXBROKER_MANAGER_INTERFACE, manager_vtable, server);
}
