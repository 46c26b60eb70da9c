/* SPDX-License-Identifier: MIT */

/* An allocation while it lives. How it comes to be is in creation.c, and its end in ending.c:
 *
 *      allocation_create() → carving → live → …
 *
 * What may block is done in a worker thread, as an Operation, of which an allocation has one at a time: carving, opening,
 * changing its record, and the steps of its end. While one runs, its thread may use the piece and the lease's directory
 * entry, and the event loop leaves them alone. Everything else belongs to the event loop.
 *
 * The bytes stay reserved and charged from before the carving until after the end, so that nobody else can be given memory
 * that somebody still reaches. */

#include "allocation.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "grant.h"
#include "intake.h"
#include "log.h"
#include "loss.h"
#include "manager.h"
#include "regions.h"
#include "size.h"

const char *allocation_state_to_string(AllocationState state) {
        static const char *const names[] = {
                [ALLOCATION_CARVING] = "carving",   [ALLOCATION_LIVE] = "live",
                [ALLOCATION_DRAINING] = "draining", [ALLOCATION_CLEANING] = "cleaning",
                [ALLOCATION_REVOKING] = "revoking", [ALLOCATION_DETACHED] = "detached",
                [ALLOCATION_QUARANTINED] = "quarantined", [ALLOCATION_ORPHAN] = "orphan",
        };

        return names[state];
}

bool allocation_has_lost_owner(const Allocation *allocation) {
        return allocation->charge.user && !identity_is(allocation->charge.user, allocation->owner_name);
}

bool allocation_is_owned_by(const Allocation *allocation, uid_t uid) {
        return uid == allocation->owner && !allocation_has_lost_owner(allocation);
}

bool allocation_mode_allows(const Allocation *allocation, uid_t uid, const gid_t *groups, size_t n_groups,
                            bool read_only) {
        uint32_t wanted = read_only ? 04 : 06;

        if (allocation_is_owned_by(allocation, uid))
                return (allocation->mode >> 6 & wanted) == wanted;

        for (size_t i = 0; i < n_groups && allocation->group != DAXBROKER_NO_GROUP; i++)
                if (groups[i] == allocation->group)
                        return (allocation->mode >> 3 & wanted) == wanted;

        return (allocation->mode & wanted) == wanted;
}

bool allocation_is_busy(const Allocation *allocation) {
        return allocation->operation.running;
}

Allocation *allocation_new(Manager *manager, const char *id) {
        Allocation *allocation;

        allocation = calloc(1, sizeof(*allocation));
        if (!allocation)
                return NULL;

        allocation->manager = manager;
        (void) snprintf(allocation->id, sizeof(allocation->id), "%s", id);
        if (roll_add(&manager->allocation_roll, allocation->id) < 0) {
                free(allocation);
                return NULL;
        }
        allocation->group = DAXBROKER_NO_GROUP;
        allocation->mode = REQUEST_MODE_DEFAULT;
        allocation->piece.fd = allocation->piece.fd_read_only = -EBADF;
        allocation->piece.numa_node = -1;
        allocation->node.wd = -1;
        allocation->lease.ours = -EBADF;
        allocation->operation.memory = allocation->operation.lease = -EBADF;
        return allocation;
}

/* Makes it known by id and name; both must be free. */
void allocation_link(Allocation *allocation) {
        Manager *manager = allocation->manager;

        HASH_ADD(by_id, manager->by_id, id[0], strlen(allocation->id), allocation);
        if (allocation->name)
                HASH_ADD_KEYPTR(by_name, manager->by_name, allocation->name, strlen(allocation->name), allocation);
        manager->n_allocations++;
        if (allocation->provider->drains) {
                DL_APPEND2(manager->draining, allocation, drain_prev, drain_next);
                manager->n_stored += 2; /* others are in bundles */
        }
}

void allocation_unlink(Allocation *allocation) {
        Manager *manager = allocation->manager;

        HASH_DELETE(by_id, manager->by_id, allocation);
        if (allocation->name)
                HASH_DELETE(by_name, manager->by_name, allocation);
        manager->n_allocations--;
        if (allocation->provider->drains) {
                DL_DELETE2(manager->draining, allocation, drain_prev, drain_next);
                manager->n_stored -= 2;
        }
}

void allocation_release(Allocation *allocation) {
        bool foreign = allocation->piece.foreign;

        if (allocation->piece.state)
                allocation->provider->release(&allocation->piece);
        if (foreign)
                grant_lose(allocation);
        grant_give(allocation);
        reservation_release(&allocation->reservation);
        charge_release(&allocation->charge);
}

/* Forgets it and gives its shares back. What is on disk, in the service manager's store and in its holders' hands stays as
 * it is. */
Allocation *allocation_free(Allocation *allocation) {
        if (!allocation)
                return NULL;

        assert(!allocation->operation.running && !allocation->ending);
        roll_remove(&allocation->manager->allocation_roll, allocation->id);
        lease_close(&allocation->lease);
        sd_event_source_disable_unref(allocation->end_timer);
        node_watch_remove(allocation->manager->nodes, &allocation->node);
        allocation_release(allocation);
        waiters_wake(&allocation->waiters);
        piece_done(&allocation->piece);
        free(allocation->name);
        free(allocation->name_on_record);
        free(allocation->reason);
        free(allocation->reason_kept);
        free(allocation->unit);
        free(allocation->owner_name);
        free(allocation);
        return NULL;
}

void allocation_log(const Allocation *allocation, const char *event, uid_t uid, const char *unit,
                           const char *decision, const char *message) {
        LogFields fields = {
                .event = event,
                .uid = &uid,
                .unit = unit,
                .region = allocation->reservation.region ? allocation->reservation.region->name : NULL,
                .allocation = allocation->id,
                .grant = allocation->grant_id[0] != '\0' ? allocation->grant_id : NULL,
                .decision = decision,
                .length = allocation->piece.length,
        };

        log_record(LOG_INFO, &fields, "%s%s%s%s %s", allocation->name ? "'" : "", allocation->name ? allocation->name : "",
                   allocation->name ? "': " : "", SIZE_TEXT(allocation->piece.length), message);
}

void allocation_log_refusal(const Allocation *allocation, uid_t uid, const char *unit, const Failure *failure) {
        char message[sizeof(failure->text) + 16];

        (void) snprintf(message, sizeof(message), "refused: %s", failure->text);
        allocation_log(allocation, "refusal", uid, unit, refusal_to_bus_name(failure->refusal), message);
}

void allocation_log_unusable(const Allocation *allocation) {
        LogFields fields = {
                .event = "unusable",
                .uid = &allocation->owner,
                .unit = allocation->unit,
                .region = allocation->reservation.region->name,
                .allocation = allocation->id,
                .length = allocation->piece.length,
        };

        log_record(LOG_WARNING, &fields, "allocation %s is %s: %s", allocation->id,
                   allocation_state_to_string(allocation->state), allocation->reason ? allocation->reason : "");
}

void allocation_notify(Allocation *allocation, const char *property) {
        const Observer *observer = allocation->manager->observer;

        if (observer)
                observer->allocation_changed(allocation, property, observer->userdata);
}

void allocation_notify_added(Allocation *allocation) {
        const Observer *observer = allocation->manager->observer;

        if (observer)
                observer->allocation_added(allocation, observer->userdata);
}

void allocation_set_state(Allocation *allocation, AllocationState state) {
        allocation->state = state;
        allocation_notify(allocation, "State");
}

void allocation_examine(Allocation *allocation) {
        const char *reason = allocation->reason ? allocation->reason : "";
        Failure failure = { 0 };
        char *copy;

        if (allocation->state != ALLOCATION_LIVE || !allocation->provider->examine || !allocation->piece.state)
                return;
        (void) allocation->provider->examine(&allocation->piece, &failure);
        if (strcmp(reason, failure.text) == 0 || (!allocation->name && allocation->persistent && failure.text[0] == '\0'))
                return;

        copy = failure.text[0] != '\0' ? strdup(failure.text) : NULL;
        free(allocation->reason);
        allocation->reason = copy;
        allocation_notify(allocation, "Reason");
        if (copy)
                allocation_log_unusable(allocation);
}

/* ---- Operations ---- */

void allocation_finish_operation(Allocation *allocation, int r, const Failure *failure) {
        Operation *operation = &allocation->operation;
        int memory = TAKE_FD(operation->memory), lease = TAKE_FD(operation->lease);

        /* who hears of it may end it, which then begins below */
        if (operation->completion)
                completions_run(&operation->completion, allocation, r, failure, memory, lease);
        else {
                safe_close(memory);
                safe_close(lease);
        }

        operation->running = false;
        if (allocation->end_cause)
                allocation_end_now(allocation);
        else {
                (void) allocation_watch(allocation); /* a lapse meanwhile was not looked at */
                if (allocation->suspect)
                        allocation_inspect(allocation);
        }
        if (allocation->doubted)
                allocation_doubt(allocation);
        waiters_wake(&allocation->waiters);
}

/* ---- Opening ---- */

static int open_work(Allocation *allocation, Failure *failure) {
        const Provider *provider = allocation->provider;
        Operation *operation = &allocation->operation;
        int r;

        if (operation->first) {
                r = allocation_write_record(allocation, RECORD_LIVE);
                if (r < 0)
                        return allocation_refuse_record(allocation, r, failure);
        }

        r = lease_open_holders(&allocation->lease, &operation->lease);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot open the lease");

        r = provider->open(&allocation->piece, operation->read_only, &operation->memory, failure);
        if (r < 0)
                operation->lease = safe_close(operation->lease);
        return r;
}

static void open_done(Allocation *allocation, int r, Failure *failure) {
        if (r < 0) { /* nobody has got it, so it may be on record or not */
                allocation->shared = allocation->operation.was_shared;
                allocation->read_only = allocation->operation.was_read_only;
        }
        if (r >= 0) {
                r = allocation_watch(allocation);
                if (r < 0)
                        (void) failure_set_errno(failure, r, "cannot watch the lease");
        }
        if (r < 0) {
                allocation->operation.memory = safe_close(allocation->operation.memory);
                allocation->operation.lease = safe_close(allocation->operation.lease);
                allocation_log_refusal(allocation, allocation->operation.opener, NULL, failure);
        } else {
                allocation_log(allocation, "open", allocation->operation.opener, NULL, allocation->operation.decision,
                               allocation->operation.read_only ? "opened read-only" : "opened");
                if (!allocation->in_use) {
                        allocation->in_use = true;
                        allocation_notify(allocation, "InUse");
                }
        }

        allocation_finish_operation(allocation, r, failure);
}

int allocation_open(Allocation *allocation, bool read_only, uid_t opener, const char *decision,
                    AllocationHandler handler, void *userdata) {
        assert(!allocation->operation.running && allocation->state == ALLOCATION_LIVE);

        if (completion_add(&allocation->operation.completion, handler, userdata) < 0)
                return -ENOMEM;

        allocation->operation.was_shared = allocation->shared;
        allocation->operation.was_read_only = allocation->read_only;
        if (allocation->provider->drains) {
                /* root reaches everybody's memory anyway */
                allocation->shared = allocation->shared || (opener != allocation->owner && opener != 0);
                allocation->read_only = allocation->read_only || read_only;
        }
        allocation->operation.first = allocation->shared != allocation->operation.was_shared ||
                                      allocation->read_only != allocation->operation.was_read_only;
        allocation->operation.read_only = read_only;
        allocation->operation.opener = opener;
        allocation->operation.decision = decision;
        operation_start(allocation, open_work, open_done);
        return 0;
}

/* ---- What holders do ---- */

static int inspect_work(Allocation *allocation, Failure *failure) {
        return allocation->provider->inspect(&allocation->piece, failure);
}

static void inspect_done(Allocation *allocation, int r, Failure *failure) {
        if (r > 0)
                allocation_notify(allocation, "PageSize");
        if (r < 0)
                log_warning("allocation %s: %s", allocation->id, failure->text);
        if (r < 0 && failure->refusal == REFUSAL_QuotaExceeded && !allocation->end_cause)
                allocation->end_cause = "a holder had made more of it";
        regions_replenish(allocation->manager, allocation->reservation.region); /* what a grant has got back */
        allocation_finish_operation(allocation, r, failure);
}

void allocation_inspect(Allocation *allocation) {
        if (!allocation->provider->inspect || allocation->state != ALLOCATION_LIVE)
                return;

        allocation->suspect = allocation->operation.running;
        if (!allocation->operation.running)
                operation_start(allocation, inspect_work, inspect_done);
}

/* ---- The lease ---- */

static void on_lapsed(Lease *lease) {
        Allocation *allocation = (Allocation *) (void *) ((char *) lease - offsetof(Allocation, lease));

        manager_settle(allocation->manager); /* who waits for lapses looks what is left */
        /* Somebody may be getting it anew just now; when that is over it is looked at again. */
        if (allocation->operation.running)
                return;
        if (lease_has_holders(lease)) {
                (void) allocation_watch(allocation);
                return;
        }

        if (allocation->in_use) {
                allocation->in_use = false;
                allocation_notify(allocation, "InUse");
        }
        if (allocation->state == ALLOCATION_DETACHED && allocation->persistent)
                intake_on_released(allocation);
        else if (allocation->state == ALLOCATION_DETACHED ||
                 ((allocation->state == ALLOCATION_LIVE || allocation_is_taken_down(allocation)) && !allocation->name &&
                  !allocation->persistent))
                (void) allocation_end(allocation, "its last holder let go", NULL, NULL, NULL);
}

int allocation_watch(Allocation *allocation) {
        return lease_watch(&allocation->lease, allocation->manager->leases, on_lapsed);
}
