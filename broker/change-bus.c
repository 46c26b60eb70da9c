/* SPDX-License-Identifier: MIT */

/* The methods of org.daxbroker1.Allocation that change one: mode and name and length, which its owner may, or whom polkit
 * lets manage; and the owner, which is polkit's to decide alone. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "change.h"
#include "options-bus.h"
#include "regions.h"
#include "server-bus.h"
#include "size.h"

/* Whether the caller may, as its owner or by what polkit says; CALL_WAITS, or CALL_DONE with *ret saying why. */
static int authorize_change(Call *call, const Allocation *allocation, Details *details, bool owner_may, Changer *ret,
                            Failure *failure) {
        uid_t uid = call->caller->user->uid;
        int r;

        r = call_knows_owner(call, allocation, failure);
        if (r <= 0)
                return r;

        *ret = (Changer){ .uid = uid, .decision = "owner" };
        if (owner_may && allocation_is_owned_by(allocation, uid))
                return CALL_DONE;

        ret->decision = "org.daxbroker1.manage: yes";
        details_add(details, "method", "%s", sd_bus_message_get_member(call->message));
        details_add_allocation(details, allocation);
        r = authorize(call, "org.daxbroker1.manage", details, true, failure);
        return r < 0 ? call_refuse_stranger(call, allocation, r, failure) : r;
}

/* Whether it can be changed now: CALL_WAITS, CALL_DONE, or why not. */
static int changeable(Call *call, Allocation *allocation, Failure *failure) {
        bool adopted = allocation->state == ALLOCATION_ORPHAN &&
                       sd_bus_message_is_method_call(call->message, NULL, "SetOwner");

        if (allocation_is_busy(allocation) && !allocation_is_ending(allocation))
                return call_wait(call, &allocation->waiters, failure);
        if (allocation->state != ALLOCATION_LIVE && allocation->state != ALLOCATION_DETACHED && !adopted)
                return refuse_state(allocation, failure);
        return CALL_DONE;
}

static const char *title(const Allocation *allocation) {
        return allocation->name ? allocation->name : allocation->id;
}

static void reply_changed(Allocation *allocation, int r, const Failure *failure, int memory, int lease, void *userdata) {
        sd_bus_message *message = userdata;

        (void) memory;
        (void) lease;
        if (r < 0)
                reply_refusal(message, r, failure);
        else if (sd_bus_message_is_method_call(message, NULL, "Resize"))
                (void) sd_bus_reply_method_return(message, "t", allocation->piece.length);
        else
                (void) sd_bus_reply_method_return(message, NULL);
        sd_bus_message_unref(message);
}

/* What a change was started with, or why it was not. */
static int started(Call *call, int r) {
        if (r < 0) {
                sd_bus_message_unref(call->message);
                return r;
        }

        return CALL_DONE;
}

/* ---- Mode ---- */

int do_set_mode(Call *call, Failure *failure) {
        Allocation *allocation = call_allocation(call, failure);
        Details details = { 0 };
        Changer changer;
        uint32_t mode;
        int r;

        if (!allocation)
                return -ENOENT;

        r = sd_bus_message_read(call->message, "u", &mode);
        if (r < 0)
                return r;
        r = mode_validate(mode, allocation->group, failure);
        if (r < 0)
                return r;

        details_add(&details, "mode", "0%" PRIo32, mode);
        details_add(&details, "polkit.message",
                    "Authentication is required to change who may open memory of another user: %s", title(allocation));
        r = authorize_change(call, allocation, &details, true, &changer, failure);
        if (r > 0)
                r = changeable(call, allocation, failure);
        if (r <= 0)
                return r;

        return started(call, allocation_set_mode(allocation, mode, &changer, reply_changed,
                                                 sd_bus_message_ref(call->message), failure));
}

/* ---- Owner ---- */

static int set_owner(Call *call, Allocation *allocation, uint32_t uid, const char *name, const Changer *changer,
                     Failure *failure) {
        int r;

        /* kept by the call, and with it what is found out about him */
        if (!call->subject) {
                r = user_get(&call->server->manager->users, uid, &call->subject);
                if (r < 0)
                        return r;
        }
        r = call_look_up(call, call->subject, true, failure);
        if (r <= 0)
                return r;

        return started(call, allocation_set_owner(allocation, call->subject, name, call->server->manager->config->quotas,
                                                  changer, reply_changed, sd_bus_message_ref(call->message), failure));
}

int do_set_owner(Call *call, Failure *failure) {
        Allocation *allocation = call_allocation(call, failure);
        Details details = { 0 };
        Changer changer;
        const char *name;
        uint32_t uid;
        int r;

        if (!allocation)
                return -ENOENT;

        r = sd_bus_message_read(call->message, "u", &uid);
        if (r < 0)
                return r;
        if (uid == UINT32_MAX)
                return failure_set(failure, REFUSAL_BadOption, "4294967295 is no user's uid");
        r = owner_options_read(call->message, &name, failure);
        if (r >= 0 && name)
                r = name_validate(name, failure);
        if (r < 0)
                return r;

        details_add(&details, "new-owner", "%" PRIu32, uid);
        if (name)
                details_add(&details, "new-name", "%s", name);
        details_add(&details, "polkit.message", "Authentication is required to give memory to user %" PRIu32 ": %s", uid,
                    title(allocation));
        r = authorize_change(call, allocation, &details, false, &changer, failure);
        if (r > 0)
                r = changeable(call, allocation, failure);
        if (r <= 0)
                return r;
        if (allocation->state == ALLOCATION_ORPHAN && !allocation->name && !name)
                return failure_set(failure, REFUSAL_BadOption,
                                   "option name: what is adopted needs a name, and it has none yet");
        if (allocation->state != ALLOCATION_ORPHAN && !allocation->name && !allocation->persistent && name)
                return failure_set(failure, REFUSAL_BadOption, "option name: it has none, and ends with its last holder");

        if (allocation->grant && uid != allocation->owner)
                return failure_set(failure, REFUSAL_Busy,
                                   "it is a part of grant %s, which is its owner's and to which its memory goes back; "
                                   "release that first", allocation->grant->id);

        return set_owner(call, allocation, uid, name, &changer, failure);
}

/* ---- Name ---- */

int do_rename(Call *call, Failure *failure) {
        Allocation *allocation = call_allocation(call, failure);
        Details details = { 0 };
        Changer changer;
        const char *name;
        int r;

        if (!allocation)
                return -ENOENT;

        r = sd_bus_message_read(call->message, "s", &name);
        if (r < 0)
                return r;
        r = no_options_read(call->message, failure);
        if (r >= 0)
                r = name_validate(name, failure);
        if (r < 0)
                return r;

        details_add(&details, "new-name", "%s", name);
        details_add(&details, "polkit.message", "Authentication is required to rename memory of another user: %s",
                    title(allocation));
        r = authorize_change(call, allocation, &details, true, &changer, failure);
        if (r > 0)
                r = changeable(call, allocation, failure);
        if (r <= 0)
                return r;
        if (!allocation->name && !allocation->persistent)
                return failure_set(failure, REFUSAL_BadName,
                                   "it has no name, and ends with its last holder; only what has a name can get another "
                                   "one");

        return started(call, allocation_rename(allocation, name, &changer, reply_changed, sd_bus_message_ref(call->message),
                                               failure));
}

/* ---- Length ---- */

/* What this length would become. */
static int plan_length(const Allocation *allocation, uint64_t size, uint64_t *ret, Failure *failure) {
        const Region *region = allocation->reservation.region;
        Request request = {
                .size = size,
                .alignment = allocation->piece.alignment,
                .persistent = allocation->persistent && allocation->name, /* it may have been found without one */
                .name = allocation->name,
        };
        Piece plan = { 0 };
        int r;

        r = request_validate(&request, NULL, 0, failure);
        if (r < 0)
                return r;
        if (!allocation->provider->resize)
                return failure_set(failure, REFUSAL_NotSupported,
                                   "memory of provider '%s' keeps the length it was made with; allocate another, and copy",
                                   allocation->provider->name);
        if (region->reason)
                return failure_set(failure, REFUSAL_RegionUnusable, "region '%s' cannot be used: %s", region->name,
                                   region->reason);
        r = allocation->provider->plan(region, &request, &plan, failure);
        if (r < 0)
                return r;
        /* as in Allocate, whatever pages would be planned for today */
        r = size_round_up(plan.length, allocation->piece.page_size, ret);
        if (r < 0 || *ret > INT64_MAX)
                return failure_set(failure, REFUSAL_BadSize, "the size %" PRIu64 ", rounded up to pages of %s, is too large",
                                   size, SIZE_TEXT(allocation->piece.page_size));
        return 0;
}

/* Whether its owner may hold that much more. CALL_WAITS while it is asked which groups he is in. What a grant has was
 * charged before. */
static int admit_growth(Call *call, const Allocation *allocation, uint64_t more, Failure *failure) {
        const QuotaRule *quotas = call->server->manager->config->quotas;
        const Caller *caller = call->caller;
        User *owner = allocation->charge.user;
        int r;

        if (allocation->grant)
                return CALL_DONE;
        if (owner == caller->user) {
                r = quota_admit_growth(quotas, owner, caller->groups, caller->n_groups, more, failure);
                return r < 0 ? r : CALL_DONE;
        }

        r = call_look_up(call, owner, true, failure);
        if (r <= 0)
                return r;
        r = quota_admit_growth(quotas, owner, owner->identity.groups, owner->identity.n_groups, more, failure);
        return r < 0 ? r : CALL_DONE;
}

/* Whether there is room for so much more. CALL_WAITS while some is on its way back, as for Allocate. */
static int admit_length(Call *call, const Allocation *allocation, uint64_t more, Failure *failure) {
        Manager *manager = call->server->manager;
        Region *region = allocation->reservation.region;
        Piece plan = { .length = more };
        int r;

        r = admit_growth(call, allocation, more, failure);
        if (r > 0)
                r = allocation_admit_growth(allocation, more, failure) < 0 ? -refusal_to_errno(failure->refusal) : CALL_DONE;
        if (r < 0 && failure->refusal == REFUSAL_NoSpace)
                regions_refresh(manager, region);
        if (r < 0 && manager_is_settling(manager, region, NULL, &plan, allocation->grant, allocation->charge.user,
                                         failure->refusal))
                return call_wait_for_space(call, r, failure);
        return r;
}

static int resize(Call *call, Allocation *allocation, uint64_t length, const Changer *changer, Failure *failure) {
        uint64_t before = allocation->piece.length;
        int r;

        if (length == before) {
                r = sd_bus_reply_method_return(call->message, "t", length);
                return r < 0 ? r : CALL_DONE;
        }
        if (length > before) {
                r = admit_length(call, allocation, length - before, failure);
                if (r <= 0)
                        return r;
        }

        return started(call, allocation_resize(allocation, length, changer, reply_changed,
                                               sd_bus_message_ref(call->message), failure));
}

int do_resize(Call *call, Failure *failure) {
        Allocation *allocation = call_allocation(call, failure);
        uint64_t size, length = 0;
        Details details = { 0 };
        Changer changer;
        int r;

        if (!allocation)
                return -ENOENT;

        r = sd_bus_message_read(call->message, "t", &size);
        if (r < 0)
                return r;
        r = no_options_read(call->message, failure);
        if (r >= 0)
                r = plan_length(allocation, size, &length, failure);
        if (r < 0)
                return r;

        details_add(&details, "new-size", "%" PRIu64, length);
        details_add(&details, "polkit.message",
                    "Authentication is required to change the length of memory of another user: %s", title(allocation));
        r = authorize_change(call, allocation, &details, true, &changer, failure);
        if (r > 0)
                r = changeable(call, allocation, failure);
        if (r <= 0)
                return r;
        if (allocation->state != ALLOCATION_LIVE)
                return refuse_state(allocation, failure);

        return resize(call, allocation, length, &changer, failure);
}
