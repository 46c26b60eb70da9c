/* SPDX-License-Identifier: MIT */

/* org.daxbroker1.Allocation: one piece of memory, for its owner and whom else its mode or polkit lets in. Objects are
 * looked up by path each time; that the sender may see their properties was decided before (visibility-bus.c). */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "log.h"
#include "names.h"
#include "options-bus.h"
#include "peer-bus.h"
#include "server-bus.h"
#include "size.h"

char *allocation_path(const Allocation *allocation, char buffer[static ALLOCATION_PATH_MAX]) {
        (void) snprintf(buffer, ALLOCATION_PATH_MAX, DAXBROKER_ALLOCATION_PATH "/%s", allocation->id);
        return buffer;
}

Allocation *allocation_from_path(const Server *server, const char *path) {
        size_t n = strlen(DAXBROKER_ALLOCATION_PATH "/");

        if (strncmp(path, DAXBROKER_ALLOCATION_PATH "/", n) != 0)
                return NULL;

        return manager_find_allocation(server->manager, path + n);
}

bool allocation_is_visible(const Allocation *allocation, const Caller *caller) {
        return allocation_is_owned_by(allocation, caller->user->uid) ||
               allocation_mode_allows(allocation, caller->user->uid, caller->groups, caller->n_groups, true);
}

void call_set_about(Call *call, const Allocation *allocation) {
        call->about.region = allocation->reservation.region->name;
        call->about.allocation = allocation->id;
        call->about.length = allocation->piece.length;
}

/* ---- Methods ---- */

/* Whether it was the same process; where that is not known, it was not. */
static bool was_asked_for_by(const Allocation *allocation, const Caller *caller) {
        return allocation->pid > 0 && allocation->pid == caller->pid && allocation->owner == caller->user->uid;
}

Allocation *call_allocation(Call *call, Failure *failure) {
        Allocation *allocation = allocation_from_path(call->server, sd_bus_message_get_path(call->message));

        if (allocation && allocation->state != ALLOCATION_CARVING) {
                call_set_about(call, allocation);
                if (!was_asked_for_by(allocation, call->caller))
                        news_show(call->server, allocation);
                return allocation;
        }

        (void) failure_set(failure, REFUSAL_NoSuchAllocation, "there is no such allocation, or it has ended");
        return NULL;
}

void details_add_allocation(Details *details, const Allocation *allocation) {
        details_add(details, "region", "%s", allocation->reservation.region->name);
        details_add(details, "name", "%s", allocation->name ? allocation->name : "");
        details_add(details, "owner", "%" PRIu32, (uint32_t) allocation->owner);
        if (allocation_has_lost_owner(allocation))
                details_add(details, "owner-gone", "true");
        details_add(details, "size", "%" PRIu64, allocation->piece.length);
        details_add(details, "size-mib", "%" PRIu64, (allocation->piece.length + MIB - 1) / MIB);
}

/* Whether somebody got it. */
static bool reply_memory(const Allocation *allocation, int r, const Failure *failure, int memory, int lease,
                         FdReply *reply) {
        char path[ALLOCATION_PATH_MAX];
        bool sent = false;

        if (r < 0)
                fd_reply_refuse(reply, r, failure);
        else
                sent = fd_reply_send(reply, "ohhtt", allocation_path(allocation, path), memory, lease,
                                     allocation->piece.offset, allocation->piece.length);

        safe_close(memory);
        safe_close(lease);
        fd_reply_free(reply);
        return sent;
}

void reply_with_memory(Allocation *allocation, int r, const Failure *failure, int memory, int lease, void *userdata) {
        (void) reply_memory(allocation, r, failure, memory, lease, userdata);
}

void reply_with_new_memory(Allocation *allocation, int r, const Failure *failure, int memory, int lease, void *userdata) {
        if (!reply_memory(allocation, r, failure, memory, lease, userdata) && r >= 0)
                (void) allocation_end(allocation, "who asked for it did not get it", NULL, NULL, NULL);
}

static void reply_empty(Allocation *allocation, int r, const Failure *failure, int memory, int lease, void *userdata) {
        sd_bus_message *message = userdata;

        (void) allocation;
        (void) memory;
        (void) lease;
        if (r < 0)
                reply_refusal(message, r, failure);
        else
                (void) sd_bus_reply_method_return(message, NULL);
        sd_bus_message_unref(message);
}

bool allocation_is_ending(const Allocation *allocation) {
        return allocation->state == ALLOCATION_DRAINING || allocation->state == ALLOCATION_CLEANING ||
               allocation->state == ALLOCATION_REVOKING;
}

int refuse_state(const Allocation *allocation, Failure *failure) {
        if (allocation_is_ending(allocation) ||
            (allocation->end_cause && allocation->state != ALLOCATION_QUARANTINED))
                return failure_set(failure, REFUSAL_NoSuchAllocation, "the allocation is ending");

        return failure_set(failure, REFUSAL_Busy, "the allocation is %s: %s", allocation_state_to_string(allocation->state),
                           allocation->reason ? allocation->reason : "");
}

/* Opens an allocation for the caller, who has named it, with the options at the message's position. */
int allocation_open_for(Call *call, Allocation *allocation, Failure *failure) {
        const Caller *caller = call->caller;
        const char *decision;
        Details details = { 0 };
        FdReply *reply;
        bool read_only;
        int r;

        call_set_about(call, allocation);
        r = open_options_read(call->message, &read_only, failure);
        if (r < 0)
                return r;

        r = call_knows_owner(call, allocation, failure);
        if (r <= 0)
                return r;
        decision = allocation_is_owned_by(allocation, caller->user->uid) ? "owner" : "mode";
        if (!allocation_mode_allows(allocation, caller->user->uid, caller->groups, caller->n_groups, read_only)) {
                details_add_allocation(&details, allocation);
                details_add(&details, "read-only", "%s", read_only ? "true" : "false");
                details_add(&details, "polkit.message", "Authentication is required to open memory of another user: %s",
                            allocation->name ? allocation->name : allocation->id);
                r = authorize(call, "org.daxbroker1.open-other", &details, true, failure);
                if (r <= 0)
                        return call_refuse_stranger(call, allocation, r, failure);
                decision = "org.daxbroker1.open-other: yes";
        }

        if (allocation_is_busy(allocation) && !allocation_is_ending(allocation))
                return call_wait(call, &allocation->waiters, failure);
        if (allocation->state != ALLOCATION_LIVE)
                return refuse_state(allocation, failure);

        reply = fd_reply_new(call, MEMORY_REPLY_FDS);
        if (!reply)
                return -ENOMEM;
        r = allocation_open(allocation, read_only, caller->user->uid, decision, reply_with_memory, reply);
        if (r < 0) {
                fd_reply_free(reply);
                return r;
        }

        return CALL_DONE;
}

static int do_open(Call *call, Failure *failure) {
        Allocation *allocation = call_allocation(call, failure);

        return allocation ? allocation_open_for(call, allocation, failure) : -ENOENT;
}

static int refuse_detached(Failure *failure) {
        return failure_set(failure, REFUSAL_Busy,
                           "the broker has no descriptor of it any more and cannot revoke it; it ends when its last holder "
                           "lets go");
}

/* Ends it, and answers when that is over. */
static int end_for(Call *call, Allocation *allocation, const Ender *ender, Failure *failure) {
        int r;

        if (was_asked_for_by(allocation, call->caller))
                news_return(call->server, allocation);
        r = allocation_end(allocation, "it was freed", ender, reply_empty, sd_bus_message_ref(call->message));
        if (r < 0) {
                sd_bus_message_unref(call->message);
                return r == -EBUSY ? failure_set(failure, REFUSAL_Busy,
                                                 "it is ending already, and is charged until its holders let the kernel "
                                                 "revoke it")
                                   : r;
        }

        return CALL_DONE;
}

static int do_free(Call *call, Failure *failure) {
        Allocation *allocation = call_allocation(call, failure);
        Ender ender = { .uid = call->caller->user->uid, .decision = "owner" };
        Details details = { 0 };
        int r;

        if (!allocation)
                return -ENOENT;

        r = call_knows_owner(call, allocation, failure);
        if (r <= 0)
                return r;
        if (!allocation_is_owned_by(allocation, call->caller->user->uid)) {
                ender.decision = "org.daxbroker1.free-other: yes";
                details_add_allocation(&details, allocation);
                details_add(&details, "polkit.message", "Authentication is required to free memory of another user: %s",
                            allocation->name ? allocation->name : allocation->id);
                r = authorize(call, "org.daxbroker1.free-other", &details, true, failure);
                if (r <= 0)
                        return call_refuse_stranger(call, allocation, r, failure);
        }

        if (allocation->state == ALLOCATION_DETACHED)
                return refuse_detached(failure);

        return end_for(call, allocation, &ender, failure);
}

static int authorize_revoke(Call *call, const Allocation *allocation, bool despite_references, Failure *failure) {
        Details details = { 0 };

        details_add(&details, "method", "Revoke");
        details_add_allocation(&details, allocation);
        details_add(&details, "despite-references", "%s", despite_references ? "true" : "false");
        details_add(&details, "polkit.message", "Authentication is required to take memory from whoever has it: %s%s",
                    allocation->name ? allocation->name : allocation->id,
                    despite_references ? ", although the kernel may still refer to it" : "");
        return authorize(call, "org.daxbroker1.manage", &details, true, failure);
}

static int do_revoke(Call *call, Failure *failure) {
        Allocation *allocation = call_allocation(call, failure);
        Ender ender = { .uid = call->caller->user->uid, .decision = "org.daxbroker1.manage: yes" };
        bool despite_references;
        int r;

        if (!allocation)
                return -ENOENT;

        r = revoke_options_read(call->message, &despite_references, failure);
        if (r < 0)
                return r;
        r = authorize_revoke(call, allocation, despite_references, failure);
        if (r <= 0)
                return r;

        if (allocation->state == ALLOCATION_DETACHED)
                return refuse_detached(failure);
        if (allocation->state == ALLOCATION_LIVE)
                return failure_set(failure, REFUSAL_Busy,
                                   allocation->end_cause ? "it is just about to end; try again in a moment"
                                                         : "it is live; free it first, then take it from who does not let "
                                                           "go");
        if (allocation->state == ALLOCATION_CLEANING) {
                /* nobody has it any more */
                r = sd_bus_reply_method_return(call->message, NULL);
                return r < 0 ? r : CALL_DONE;
        }
        if (allocation->state == ALLOCATION_REVOKING)
                return end_for(call, allocation, &ender, failure);

        r = allocation_force(allocation, despite_references, &ender, reply_empty, sd_bus_message_ref(call->message),
                             failure);
        if (r < 0) {
                sd_bus_message_unref(call->message);
                return r;
        }

        return CALL_DONE;
}

static int method_run(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        static const Method methods[] = {
                { "Open", do_open },
                { "Free", do_free },
                { "Revoke", do_revoke },
                { "SetMode", do_set_mode },
                { "SetOwner", do_set_owner },
                { "Rename", do_rename },
                { "Resize", do_resize },
        };

        (void) error;
        return call_dispatch(userdata, message, methods);
}

/* ---- Properties ---- */

/* What its owner is called; NULL if he is gone. */
static const char *allocation_owner_name(const Allocation *allocation) {
        const char *name = allocation->charge.user ? allocation->charge.user->identity.name : NULL;

        if (!name || allocation_has_lost_owner(allocation) || strcmp(name, IDENTITY_NOBODY) == 0)
                return NULL;
        return name;
}

static int get_string(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                      void *userdata, sd_bus_error *error) {
        const Allocation *allocation = allocation_from_path(userdata, path);
        const char *value;

        (void) bus;
        (void) interface;
        (void) error;
        if (!allocation)
                return -ENOENT;

        if (strcmp(property, "Name") == 0)
                value = allocation->name;
        else if (strcmp(property, "OwnerName") == 0)
                value = allocation_owner_name(allocation);
        else if (strcmp(property, "Region") == 0)
                value = allocation->reservation.region->name;
        else if (strcmp(property, "State") == 0)
                value = allocation_state_to_string(allocation->state);
        else if (strcmp(property, "Device") == 0)
                value = allocation->piece.device;
        else
                value = allocation->reason;

        return sd_bus_message_append(reply, "s", value ? value : "");
}

static int get_grant(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                     void *userdata, sd_bus_error *error) {
        const Allocation *allocation = allocation_from_path(userdata, path);
        char buffer[GRANT_PATH_MAX];

        (void) bus;
        (void) interface;
        (void) property;
        (void) error;
        if (!allocation)
                return -ENOENT;

        return sd_bus_message_append(reply, "s", allocation->grant ? grant_path(allocation->grant, buffer) : "");
}

static int get_number(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                      void *userdata, sd_bus_error *error) {
        const Allocation *allocation = allocation_from_path(userdata, path);
        uint32_t value;

        (void) bus;
        (void) interface;
        (void) error;
        if (!allocation)
                return -ENOENT;

        if (strcmp(property, "Owner") == 0)
                value = allocation->owner;
        else if (strcmp(property, "Group") == 0)
                value = allocation->group;
        else
                value = allocation->mode;

        return sd_bus_message_append(reply, "u", value);
}

static int get_bytes(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                     void *userdata, sd_bus_error *error) {
        const Allocation *allocation = allocation_from_path(userdata, path);
        uint64_t value;

        (void) bus;
        (void) interface;
        (void) error;
        if (!allocation)
                return -ENOENT;

        if (strcmp(property, "Offset") == 0)
                value = allocation->piece.offset;
        else if (strcmp(property, "Length") == 0)
                value = allocation->piece.length;
        else if (strcmp(property, "Alignment") == 0)
                value = allocation->piece.alignment;
        else if (strcmp(property, "PageSize") == 0)
                value = allocation->piece.seen_page_size > 0 ? allocation->piece.seen_page_size
                                                             : allocation->piece.page_size;
        else if (strcmp(property, "Cleaned") == 0)
                value = allocation->state == ALLOCATION_CLEANING ? allocation->piece.cleaned : 0;
        else
                value = allocation->created;

        return sd_bus_message_append(reply, "t", value);
}

static int get_truth(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                     void *userdata, sd_bus_error *error) {
        const Allocation *allocation = allocation_from_path(userdata, path);

        (void) bus;
        (void) interface;
        (void) error;
        if (!allocation)
                return -ENOENT;

        return sd_bus_message_append(reply, "b",
                                     strcmp(property, "InUse") == 0     ? allocation->in_use
                                     : strcmp(property, "Reserve") == 0 ? allocation->reserve
                                                                        : allocation->persistent);
}

static int get_holder(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                      void *userdata, sd_bus_error *error) {
        const Allocation *allocation = allocation_from_path(userdata, path);

        (void) bus;
        (void) interface;
        (void) property;
        (void) error;
        if (!allocation)
                return -ENOENT;

        return sd_bus_message_append(reply, "(su)", allocation->unit ? allocation->unit : "", (uint32_t) allocation->pid);
}

static int get_ranges(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                      void *userdata, sd_bus_error *error) {
        const Allocation *allocation = allocation_from_path(userdata, path);
        int r;

        (void) bus;
        (void) interface;
        (void) property;
        (void) error;
        if (!allocation)
                return -ENOENT;

        r = sd_bus_message_open_container(reply, 'a', "(tt)");
        for (unsigned i = 0; r >= 0 && i < allocation->piece.n_ranges; i++)
                r = sd_bus_message_append(reply, "(tt)", allocation->piece.ranges[i].start,
                                          allocation->piece.ranges[i].length);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

const sd_bus_vtable allocation_vtable[] = {
        SD_BUS_VTABLE_START(0),
        /* by mode, or polkit: open-other */
        SD_BUS_METHOD_WITH_ARGS("Open", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("o", allocation, "h", memory, "h", lease, "t", offset, "t", length),
                                method_run, SD_BUS_VTABLE_UNPRIVILEGED),
        /* by its owner, or polkit: free-other */
        SD_BUS_METHOD_WITH_ARGS("Free", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_run, SD_BUS_VTABLE_UNPRIVILEGED),
        /* polkit: manage */
        SD_BUS_METHOD_WITH_ARGS("Revoke", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, method_run,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        /* by its owner, or polkit: manage */
        SD_BUS_METHOD_WITH_ARGS("SetMode", SD_BUS_ARGS("u", mode), SD_BUS_NO_RESULT, method_run,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        /* polkit: manage */
        SD_BUS_METHOD_WITH_ARGS("SetOwner", SD_BUS_ARGS("u", uid, "a{sv}", options), SD_BUS_NO_RESULT, method_run,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        /* by its owner, or polkit: manage */
        SD_BUS_METHOD_WITH_ARGS("Rename", SD_BUS_ARGS("s", name, "a{sv}", options), SD_BUS_NO_RESULT, method_run,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Resize", SD_BUS_ARGS("t", size, "a{sv}", options), SD_BUS_RESULT("t", length),
                                method_run, SD_BUS_VTABLE_UNPRIVILEGED),
        /* to be seen by its owner, by mode, or polkit: inspect-other */
        SD_BUS_PROPERTY("Name", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("Region", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Owner", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("OwnerName", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("Group", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Mode", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("Offset", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Length", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("Alignment", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("PageSize", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("Device", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Ranges", "a(tt)", get_ranges, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("State", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("Cleaned", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("Reason", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("Persistent", "b", get_truth, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Reserve", "b", get_truth, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Grant", "s", get_grant, 0, 0), /* of all its allocations it ends at once */
        SD_BUS_PROPERTY("Created", "t", get_bytes, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Holder", "(su)", get_holder, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("InUse", "b", get_truth, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_VTABLE_END,
};

static int allocation_find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found,
                           sd_bus_error *ret_error) {
        (void) bus;
        (void) interface;
        (void) ret_error;
        if (!allocation_from_path(userdata, path))
                return 0;

        *ret_found = userdata;
        return 1;
}

int server_add_allocations(Server *server, sd_bus *bus) {
        int r;

        r = sd_bus_add_fallback_vtable(bus, NULL, DAXBROKER_ALLOCATION_PATH, DAXBROKER_ALLOCATION_INTERFACE,
                                       allocation_vtable, allocation_find, server);
        return r < 0 ? r : sd_bus_add_node_enumerator(bus, NULL, DAXBROKER_ALLOCATION_PATH, names_enumerate, server);
}
