/* SPDX-License-Identifier: MIT */

/* What lies on a medium that outlives the machine's power is found there, with its record or beside it; also later, when the
 * medium comes, and again when it comes back. After a boot nobody can have any of it:
 *
 *      record, found       persistent: it is there again, without holders; not persistent: it ends
 *      record alone        its medium is there and does not hold it: the record is removed, unless it is persistent, for it
 *                          may have been taken out with a part of the medium, and come back
 *      found alone         an orphan: it stays as it is, and an admin may say whose it is
 *      found as a rest     somebody has put something into what is left of it after its end: it ends once more
 *
 * The look at a medium is a worker's job (inventory.c); what was found, and what was not, is taken in by the event loop. */

#include "intake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "inventory.h"
#include "log.h"
#include "record.h"
#include "revival.h"
#include "size.h"

static void allocation_announce(const Allocation *allocation, bool added) {
        const Observer *observer = allocation->manager->observer;

        if (!observer || !allocation->manager->started)
                return;
        if (added)
                observer->allocation_added((Allocation *) (uintptr_t) allocation, observer->userdata);
        else
                observer->allocation_removed((Allocation *) (uintptr_t) allocation, observer->userdata);
}

/* What there is of it stays where it is, and is found again when that comes back. */
static void allocation_forget(Allocation *allocation) {
        Manager *manager = allocation->manager;

        log_notice("allocation %s%s%s is forgotten: %s", allocation->name ? allocation->name : allocation->id,
                   allocation->name ? " " : "", allocation->name ? allocation->id : "", allocation->reason);
        allocation_announce(allocation, false);
        allocation_unlink(allocation);
        allocation_free(allocation);
        manager_settle(manager);
}

void intake_on_released(Allocation *allocation) {
        if (allocation->away)
                allocation_forget(allocation);
        else
                allocation_revive(allocation);
}

static int take_in_orphan(Recovery *recovery, Region *region, const Find *find, const char *problem) {
        Allocation *allocation;
        Failure failure = { 0 };
        int r;

        if (find->length == 0 || !recovery_is_countable(recovery->manager, find->length)) {
                log_error("region '%s' holds %s, which cannot be anything of ours, left alone: %s", region->name, find->id,
                          problem);
                return 0;
        }

        allocation = allocation_new(recovery->manager, find->id);
        if (!allocation)
                return -ENOMEM;
        if (asprintf(&allocation->reason, "nothing says whose it is: %s%s%s%s; an admin may adopt it", problem,
                     find->name ? " (on its medium it is called '" : "", find->name ? find->name : "",
                     find->name ? "')" : "") < 0)
                allocation->reason = NULL;
        allocation->provider = region->provider;
        allocation->owner = (uid_t) -1;
        allocation->mode = 0;
        allocation->persistent = true;
        allocation->state = ALLOCATION_ORPHAN;
        allocation->piece.length = find->length;
        allocation->piece.alignment = allocation->piece.page_size = (uint64_t) sysconf(_SC_PAGESIZE);
        allocation->piece.handle = find->handle ? strdup(find->handle) : NULL;
        if (!allocation->reason || (find->handle && !allocation->piece.handle)) {
                allocation_free(allocation);
                return -ENOMEM;
        }

        r = allocation->provider->claim ? allocation->provider->claim(region, &allocation->piece, &failure) : 0;
        if (r < 0) {
                if (r != -ENOENT) /* else it has gone since the look */
                        log_warning("region '%s' holds %s, left alone: %s", region->name, find->id, failure.text);
                allocation_free(allocation);
                return r == -ENOMEM ? r : 0;
        }

        recovery->n_ownerless++;
        r = recovery_link(recovery, allocation, region);
        if (r >= 0)
                log_warning("region '%s' holds %s of %s: %s", region->name, allocation->id,
                            SIZE_TEXT(allocation->piece.length), allocation->reason);
        return r;
}

static int take_in_record(Recovery *recovery, Region *region, const Find *find) {
        const char *problem = "";
        Record record = { 0 };
        int r;

        r = record_parse(find->record, &record, &problem);
        if (r == -EBADMSG)
                return take_in_orphan(recovery, region, find, problem);
        if (r < 0)
                return r;
        if (strcmp(record.provider, region->provider->name) != 0) {
                record_done(&record);
                return take_in_orphan(recovery, region, find, "its record is that of another provider");
        }

        if (region->inventory.size > 0 && record.length > region->inventory.size) {
                record_done(&record);
                return take_in_orphan(recovery, region, find, "its record says that it is longer than its medium");
        }

        if (find->absent) {
                /* What it is of may have been taken out, and come back. */
                if (record.stage == RECORD_LIVE && record.persistent)
                        log_notice("allocation %s%s%s of user %u is not there: its record is kept, in case that region '%s' "
                                   "has it again", record.name ? record.name : "", record.name ? " " : "", find->id,
                                   (unsigned) record.owner, region->name);
                else {
                        recovery_remove_traces(recovery->manager, region->provider, find->id);
                        recovery->n_gone++;
                }
                if (region->provider->gone && record.handle)
                        region->provider->gone(region, record.handle);
                record_done(&record);
                return 0;
        }

        /* it may have come from elsewhere, under another name */
        free(record.region);
        free(record.handle);
        record.region = strdup(region->name);
        record.handle = find->handle ? strdup(find->handle) : NULL;
        r = record.region && (record.handle || !find->handle) ? recovery_allocation(recovery, find->id, &record) : -ENOMEM;
        record_done(&record);
        return r;
}

/* Until it has ended once more it is charged to who had it. */
static int take_in_rest(Recovery *recovery, Region *region, const Find *find) {
        Failure failure = { 0 };
        Allocation *allocation;
        int r;

        if (!recovery_is_countable(recovery->manager, find->length))
                return 0;
        allocation = allocation_new(recovery->manager, find->id);
        if (!allocation)
                return -ENOMEM;
        allocation->provider = region->provider;
        allocation->owner = find->owner;
        allocation->mode = 0;
        allocation->reason = strdup("somebody has put something into what was left of it when it had ended");
        allocation->end_cause = "what was put into it after its end is gone";
        allocation->piece.length = find->length;
        allocation->piece.alignment = allocation->piece.page_size = (uint64_t) sysconf(_SC_PAGESIZE);
        allocation->piece.handle = strdup(find->handle);
        if (!allocation->reason || !allocation->piece.handle) {
                allocation_free(allocation);
                return -ENOMEM;
        }

        r = allocation->provider->claim(region, &allocation->piece, &failure);
        if (r < 0) {
                log_warning("region '%s' holds what is left of %s, left alone: %s", region->name, find->id, failure.text);
                allocation_free(allocation);
                return 0;
        }
        recovery->n_ending++;
        r = recovery_link(recovery, allocation, region);
        if (r < 0)
                return r;
        log_warning("region '%s' holds %s of allocation %s, which had ended: somebody has put them there since, and user %u "
                    "is charged until they are gone", region->name, SIZE_TEXT(find->length), find->id,
                    (unsigned) allocation->owner);
        return allocation_resume_end(allocation, RECORD_CARVING);
}

static int take_in_new(Recovery *recovery, Region *region, const Find *find) {
        if (find->rest)
                return take_in_rest(recovery, region, find);
        if (find->record)
                return take_in_record(recovery, region, find);
        return take_in_orphan(recovery, region, find, find->problem ? find->problem : "there is no record of it");
}

static int take_in_find(Recovery *recovery, Region *region, const Find *find) {
        Allocation *allocation = manager_find_allocation(recovery->manager, find->id);
        int r;

        if (!allocation) {
                r = take_in_new(recovery, region, find);
                allocation = r >= 0 ? manager_find_allocation(recovery->manager, find->id) : NULL;
                if (allocation)
                        allocation_announce(allocation, true);
                return r;
        }
        if (allocation->reservation.region != region) {
                log_error("region '%s' holds a copy of allocation %s of region '%s', left alone", region->name, find->id,
                          allocation->reservation.region->name);
                return 0;
        }
        if (find->absent)
                return 0;
        allocation->missed = false;
        if (allocation->away && !allocation_is_busy(allocation))
                allocation_revive(allocation);
        return 0;
}

/* What was there, and is not any more, or cannot be reached. */
static void take_out(Manager *manager, Region *region, const char *unreachable) {
        Allocation *allocation, *next;

        HASH_ITER(by_id, manager->by_id, allocation, next) {
                if (allocation->reservation.region != region || !allocation->missed)
                        continue;
                allocation->missed = false;
                if (allocation_is_busy(allocation) || allocation->away ||
                    (allocation->state != ALLOCATION_LIVE && allocation->state != ALLOCATION_ORPHAN))
                        continue;

                free(allocation->reason);
                if (asprintf(&allocation->reason, "%s%s", unreachable ? "what it lies on cannot be reached: " : "",
                             unreachable ? unreachable : "it is not on its medium any more") < 0)
                        allocation->reason = NULL;
                if (!allocation->in_use) {
                        if (!unreachable && !allocation->persistent)
                                recovery_remove_traces(manager, allocation->provider, allocation->id);
                        else if (!unreachable)
                                recovery_remove_traces_but_record(manager, allocation->id);
                        if (!unreachable && region->provider->gone && allocation->piece.handle)
                                region->provider->gone(region, allocation->piece.handle);
                        allocation_forget(allocation);
                        continue;
                }

                allocation->away = unreachable;
                allocation_set_state(allocation, ALLOCATION_DETACHED);
                allocation_notify(allocation, "Reason");
                allocation_log_unusable(allocation);
        }
}

void intake_begin(Manager *manager, Region *region) {
        Allocation *allocation, *next;

        region->n_released_before = region->n_released;
        HASH_ITER(by_id, manager->by_id, allocation, next)
                if (allocation->reservation.region == region && allocation->state != ALLOCATION_CARVING)
                        allocation->missed = true;
}

static int take_in(Recovery *recovery, Region *region, int listed) {
        Manager *manager = recovery->manager;
        int r = 0;

        if (listed < 0) {
                region->listed = false;
                (void) snprintf(region->unlisted, sizeof(region->unlisted), "%s",
                                region->list_failure.refusal != REFUSAL_NONE ? region->list_failure.text
                                                                             : strerror(-listed));
                take_out(manager, region, region->unlisted);
                return 0;
        }

        for (size_t i = 0; r >= 0 && i < region->inventory.n_finds; i++) {
                const Find *find = &region->inventory.finds[i];

                /* What ended during the look must not come to life again. */
                if (region->n_released != region->n_released_before && !manager_find_allocation(manager, find->id)) {
                        region->list_again = true;
                        continue;
                }
                r = take_in_find(recovery, region, find);
        }
        if (r < 0) {
                (void) snprintf(region->unlisted, sizeof(region->unlisted), "what it holds cannot be taken in: %s",
                                strerror(-r));
                return r;
        }

        take_out(manager, region, NULL);
        region->listed = true;
        region->unlisted[0] = '\0';
        return 0;
}

void intake_end(Manager *manager, Region *region, int listed) {
        Recovery recovery = { .manager = manager };

        if (take_in(&recovery, region, listed) < 0)
                region->listed = false;
}

/* At the start, nobody waits for us yet. */
int intake_all(Recovery *recovery) {
        Manager *manager = recovery->manager;
        Region *region;
        int r = 0, listed;

        DL_FOREACH(manager->regions, region) {
                if (!region->provider || !region->provider->list || region->listed)
                        continue;

                intake_begin(manager, region);
                region->list_failure = (Failure){ 0 };
                listed = inventory_read(region, manager->lasting_dir, &region->inventory, &region->list_failure);
                r = take_in(recovery, region, listed);
                inventory_done(&region->inventory);
                if (r < 0)
                        return r;
                recovery->unlisted = recovery->unlisted || !region->listed;
        }

        return 0;
}
