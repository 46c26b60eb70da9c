/* SPDX-License-Identifier: MIT */

/* What somebody else does to a device that we have handed out. Root can disable it, destroy it, or take its whole region
 * away, and nobody asks us. Discovery tells, but its picture is as old as the scan; so what is not in it as it should be is
 * looked at by a worker thread before anything is said about it.
 *
 *      live → quarantined      disabled, changed, or gone: it stays charged and listed until it is freed, or let go of
 *
 * What is gone cannot come back: whatever has its name or lies in its place later is another device, even if an admin has
 * made it just so. So it is not touched any more, nobody is waited for, and its end takes no time. What is only disabled is
 * as good as held: enabled again it is back in the hands of those who had it open, so the end goes its usual way, and since
 * the kernel has forgotten who refers to it, nothing but an admin's word frees it for others. */

#include "loss.h"

#include <errno.h>

#include "log.h"
#include "manager.h"

static void allocation_lose(Allocation *allocation, const char *why) {
        bool before_its_end = allocation->state == ALLOCATION_LIVE || allocation_is_taken_down(allocation);

        allocation->lost = true;
        if (before_its_end) {
                allocation->piece.disturbed = true;
                allocation_quarantine(allocation, why);
                return;
        }

        log_warning("allocation %s: %s; something may have referred to its pages still", allocation->id, why);
        if (allocation->state == ALLOCATION_DETACHED)
                (void) allocation_end(allocation, "its device is gone", NULL, NULL, NULL);
        else
                allocation_drained(allocation);
}

static void allocation_disturb(Allocation *allocation, const char *why) {
        allocation->piece.disturbed = true;
        if (allocation->state == ALLOCATION_LIVE)
                allocation_quarantine(allocation, why);
}

static int look_work(Allocation *allocation, Failure *failure) {
        return allocation->provider->look(&allocation->piece, failure);
}

static void look_done(Allocation *allocation, int r, Failure *failure) {
        allocation->operation.running = false;
        if (r == -ENOENT)
                allocation_lose(allocation, failure->text);
        else if (r == -EUCLEAN)
                allocation_disturb(allocation, failure->text);
        allocation_catch_up(allocation);
}

void allocation_doubt(Allocation *allocation) {
        bool waits = allocation->state == ALLOCATION_DRAINING || allocation->state == ALLOCATION_QUARANTINED;

        if (allocation->lost || (!waits && allocation->state != ALLOCATION_LIVE && allocation->state != ALLOCATION_DETACHED))
                return;

        allocation->doubted = allocation->operation.running;
        if (allocation->operation.running)
                return;

        /* who judges looks first */
        if (!allocation->drained)
                operation_start_aside(allocation, look_work, look_done);
        else if (!allocation->piece.disturbed)
                allocation_judge_now(allocation);
}

void losses_find(Manager *manager) {
        Allocation *allocation, *next;

        DL_FOREACH_SAFE2(manager->draining, allocation, next, drain_next) {
                const Provider *provider = allocation->provider;

                if (provider->misses && provider->misses(allocation->reservation.region, &allocation->piece))
                        allocation_doubt(allocation);
        }
}
