/* SPDX-License-Identifier: MIT */

/* How an allocation comes to be: it is charged for, carved in a worker thread, recorded, and handed out. Carving that cannot
 * block is done in the event loop, and at once. If it fails, what it did is undone in reverse order.
 *
 * The record is written when the allocation is complete, and before anything is made that would outlive the broker; it is
 * removed when it is over. A memfd leaves nothing behind when the broker dies before that: it vanishes with the process, or
 * is found in the service manager's store without a record and revoked. */

#include "creation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "fd-store.h"
#include "grant.h"
#include "log.h"
#include "manager.h"
#include "recovery.h"
#include "regions.h"
#include "warming.h"

/* How often carving is begun anew when somebody else was in its way. */
#define CARVE_TRIES 3

/* Makes the piece, with a record of what is being made before anything is that would outlive us. */
static int create_piece_once(Allocation *allocation, Failure *failure) {
        const Provider *provider = allocation->provider;
        int r;

        if (provider->prepare) {
                r = provider->prepare(&allocation->piece, failure);
                if (r < 0)
                        return r;
                r = allocation_write_record(allocation, RECORD_CARVING);
                provider->prepared(&allocation->piece, r >= 0);
                if (r < 0)
                        return allocation_refuse_record(allocation, r, failure);
        }

        allocation->piece.name = allocation->name;
        r = provider->carve(&allocation->piece, allocation->id, failure);
        allocation->piece.name = NULL;
        if (r < 0 && provider->prepare && !allocation->piece.stuck)
                (void) allocation_remove_record(allocation);
        return r;
}

static int create_piece(Allocation *allocation, Failure *failure) {
        int r = -EAGAIN;

        for (unsigned i = 0; r == -EAGAIN && i < CARVE_TRIES; i++)
                r = create_piece_once(allocation, failure);
        return r;
}

/* Takes the piece of what this user had before. */
static int reuse_piece(Allocation *allocation, Failure *failure) {
        int r;

        r = allocation->provider->reuse(&allocation->piece, failure);
        if (r < 0)
                piece_close(&allocation->piece);
        return r;
}

static int create_stored(Allocation *allocation, Failure *failure) {
        int r;

        r = allocation_store_fds(allocation);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot give the descriptor to the service manager");

        r = allocation_write_record(allocation, RECORD_LIVE);
        if (r < 0) {
                allocation_unstore_fds(allocation);
                return allocation_refuse_record(allocation, r, failure);
        }

        return 0;
}

/* In the event loop. The record comes first, because taking back what the service manager has may block. Should we die in
 * between, it is about something that nobody holds and nobody has a descriptor of: it is gone, as it would have been without
 * a record. */
static int create_stored_at_once(Allocation *allocation, Failure *failure) {
        int r;

        r = allocation_write_record(allocation, RECORD_LIVE);
        if (r < 0)
                return allocation_refuse_record(allocation, r, failure);

        r = fd_store_try_push_memory(allocation->id, allocation->piece.fd);
        if (r < 0)
                (void) allocation_remove_record(allocation);
        return r;
}

/* What was made ahead may have been destroyed or changed since by somebody else. Then another one is made in its place. */
static bool is_ready(Allocation *allocation) {
        const Provider *provider = allocation->provider;
        Failure problem = { 0 };

        if (!allocation->operation.ready || (!allocation->piece.disturbed &&
                                             (!provider->look || provider->look(&allocation->piece, &problem) >= 0)))
                return allocation->operation.ready;

        log_debug("what was made ahead of requests cannot be used: %s", problem.text);
        (void) provider->revoke(&allocation->piece, &problem);
        allocation->operation.ready = allocation->piece.disturbed = false;
        return false;
}

static void create_done(Allocation *allocation, int r, Failure *failure);

static int create_work(Allocation *allocation, Failure *failure) {
        const Provider *provider = allocation->provider;
        Operation *operation = &allocation->operation;
        Failure undo;
        int r;

        /* first of all, for what fails after that stays, and needs no second one */
        r = operation->reuse ? allocation_take_record(allocation, operation->reused) : 0;
        if (r < 0)
                return failure_set_errno(failure, r, "cannot rename the record");

        r = lease_make(&allocation->lease, allocation->manager->leases_dir, allocation->id, &operation->lease);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot make a lease");

        if (operation->makes_room)
                warming_await(allocation->manager->warming);
        if (operation->reuse)
                r = reuse_piece(allocation, failure);
        else
                r = is_ready(allocation) ? 0 : create_piece(allocation, failure);
        if (r < 0)
                goto undo_lease;

        /* what is kept on a medium gets its name there with its record, and has to have it when somebody opens it */
        r = provider->write_record ? create_stored(allocation, failure) : 0;
        if (r >= 0)
                r = provider->open(&allocation->piece, false, &operation->memory, failure);
        if (r >= 0 && !provider->write_record)
                r = operation->at_once ? create_stored_at_once(allocation, failure) : create_stored(allocation, failure);
        if (r < 0)
                goto undo_piece;

        if (operation->ready && provider->prepared)
                provider->prepared(&allocation->piece, true);
        return 0;

undo_piece:
        operation->memory = safe_close(operation->memory);
        if (operation->at_once && operation->ready && r == -EAGAIN)
                goto undo_lease; /* a worker hands it out */
        if (operation->reuse)
                piece_close(&allocation->piece);
        else if (provider->revoke(&allocation->piece, &undo) < 0)
                allocation->piece.stuck = provider->prepare || provider->write_record;
        else if (provider->prepare)
                (void) allocation_remove_record(allocation);
        operation->ready = false;
undo_lease:
        operation->lease = safe_close(operation->lease);
        lease_end(&allocation->lease);
        return r;
}

/* Whether it need not wait for anything, as far as is known before. What has a name is missed if there is only a record of
 * it, see create_stored_at_once(). */
static bool may_create_at_once(Allocation *allocation) {
        const Provider *provider = allocation->provider;

        return provider->at_once && !allocation->name &&
               (allocation->operation.ready || provider->at_once(&allocation->piece));
}

/* It would have to wait after all. Nothing of it is left, and a worker begins anew. */
static bool create_in_worker(Allocation *allocation, int r) {
        Operation *operation = &allocation->operation;

        if (r != -EAGAIN || !operation->at_once)
                return false;

        operation->running = false;
        operation_start(allocation, create_work, create_done);
        return true;
}

/* Somebody else was where it should lie. By now that is known, so it is tried elsewhere. */
static bool create_elsewhere(Allocation *allocation, Failure *failure) {
        const Provider *provider = allocation->provider;
        Operation *operation = &allocation->operation;
        Piece *piece = &allocation->piece;

        if (!piece->foreign || piece->stuck || operation->reuse || allocation->restored || allocation->end_cause ||
            ++allocation->n_tries >= CARVE_TRIES)
                return false;

        provider->release(piece);
        grant_lose(allocation);
        piece->foreign = false;
        free(piece->handle);
        piece->handle = NULL;
        if (provider->reserve(allocation->reservation.region, piece, failure) < 0)
                return false;

        operation->running = false;
        operation_start(allocation, create_work, create_done);
        return true;
}

/* Whether what was made ahead of requests may be what it was short of: pages of another size are not. */
static bool warm_memory_may_help(const Allocation *allocation, int r, Refusal refusal) {
        const Region *region = allocation->reservation.region;

        if (refusal == REFUSAL_NoHugePages)
                return allocation->piece.insists || warming_has_pages(allocation->manager, region, &allocation->piece);
        if (refusal != REFUSAL_NoSpace && r != -ENOMEM && r != -EMFILE && r != -ENFILE)
                return false;
        return allocation->piece.insists || warming_may_help(allocation->manager, region);
}

/* What was made ahead of requests is given back, and it is tried again. */
static bool create_with_more_room(Allocation *allocation, int r, Refusal refusal) {
        Operation *operation = &allocation->operation;

        if (allocation->piece.stuck || operation->reuse || allocation->end_cause ||
            (allocation->provider->reserve && !allocation->piece.state) || !warm_memory_may_help(allocation, r, refusal) ||
            ++allocation->n_tries >= CARVE_TRIES)
                return false;

        warming_cede(allocation->manager, allocation->provider);
        allocation->piece.insists = false;
        operation->makes_room = true;
        operation->running = false;
        operation_start(allocation, create_work, create_done);
        return true;
}

/* Nobody has seen it, so nobody needs to be told but who asked. */
static void create_failed(Allocation *allocation, int r, Failure *failure) {
        Operation *operation = &allocation->operation;
        Region *region = allocation->reservation.region;
        Manager *manager = allocation->manager;

        if (failure->refusal == REFUSAL_NONE)
                (void) failure_set_errno(failure, r, "cannot carve");
        allocation_log_refusal(allocation, allocation->owner, allocation->unit, failure);
        operation->running = false;
        completions_run(&operation->completion, allocation, r, failure, -EBADF, -EBADF);
        completions_run(&allocation->ending, allocation, r, failure, -EBADF, -EBADF);

        if (operation->reuse || allocation->piece.stuck) {
                /* what there is of it stays, as something that has ended */
                allocation->untouched = !operation->reuse;
                allocation->state = ALLOCATION_QUARANTINED;
                allocation_notify_added(allocation);
                (void) allocation_resume_end(allocation, RECORD_DRAINED);
                return;
        }
        allocation_unlink(allocation);
        allocation_free(allocation);
        manager_settle(manager);
        regions_replenish(manager, region); /* it may be what was missing */
}

static void create_done(Allocation *allocation, int r, Failure *failure) {
        Operation *operation = &allocation->operation;
        Manager *manager = allocation->manager;

        if (r < 0) {
                if (!create_in_worker(allocation, r) && !create_elsewhere(allocation, failure) &&
                    !create_with_more_room(allocation, r, failure->refusal))
                        create_failed(allocation, r, failure);
                return;
        }

        r = allocation_watch(allocation);
        if (r >= 0)
                r = allocation_watch_node(allocation, NULL);
        if (r < 0) {
                /* complete, and useless: nobody has got it, and it ends like any other */
                if (r == -ESTALE) /* there is no event loop any more */
                        (void) failure_set(failure, REFUSAL_ShuttingDown,
                                           "the broker was stopped before the memory was handed out; ask again");
                else
                        (void) failure_set_errno(failure, r, "cannot watch what was carved");
                operation->memory = safe_close(operation->memory);
                operation->lease = safe_close(operation->lease);
                allocation->end_cause = "it cannot be watched";
                allocation->untouched = true;
        }

        allocation->state = ALLOCATION_LIVE;
        allocation->in_use = true;
        warming_learn(allocation->reservation.region, &allocation->piece, operation->planned_page_size);
        if (r >= 0)
                allocation_log(allocation, "grant", allocation->owner, allocation->unit, allocation->decision, "granted");
        else
                allocation_log_refusal(allocation, allocation->owner, allocation->unit, failure);
        allocation_notify_added(allocation);
        manager_settle(manager);
        regions_replenish(manager, allocation->reservation.region);
        allocation_finish_operation(allocation, r, failure);
}

/* One that was never known to anybody, and tells nobody. */
static void allocation_forget(Allocation *allocation) {
        free(allocation->operation.completion);
        allocation_free(allocation);
}

/* The memory of a retained allocation goes to another one of the same owner; the old one is over. */
static void allocation_hand_over(Allocation *from, Allocation *to, const Piece *plan) {
        Manager *manager = from->manager;
        Region *region = from->reservation.region;
        User *user = from->charge.user;

        from->end_timer = sd_event_source_disable_unref(from->end_timer);
        to->operation.reuse = true;
        (void) snprintf(to->operation.reused, sizeof(to->operation.reused), "%s", from->id);
        to->piece = from->piece;
        from->piece = (Piece){ .fd = -EBADF, .fd_read_only = -EBADF };
        to->piece.alignment = plan->alignment; /* of addresses at which it is mapped, which are the holders' */
        reservation_take(&to->reservation, region, to->piece.length);
        charge_take(&to->charge, user, to->piece.length);
        grant_pass(from, to);
        reservation_release(&from->reservation);
        charge_release(&from->charge);

        if (manager->observer)
                manager->observer->allocation_removed(from, manager->observer->userdata);
        allocation_unlink(from);
        allocation_free(from);
}

/* Gives the new allocation what it is to be made of: the ranges of the plan, what was made ahead, or all of what the owner
 * has had before. */
static int allocation_take_memory(Allocation *allocation, Region *region, const Piece *plan, Allocation *retained,
                                  WarmPiece *warm, const Origin *origin, Failure *failure) {
        int r;

        if (retained) {
                allocation_hand_over(retained, allocation, plan);
                return 0;
        }

        allocation->piece = *plan;
        allocation->piece.fd = allocation->piece.fd_read_only = -EBADF;
        allocation->piece.insists = !warm && warming_has_pages(allocation->manager, region, plan);
        r = region->provider->reserve && !warm ? region->provider->reserve(region, &allocation->piece, failure) : 0;
        if (r < 0)
                return r;
        warming_take(region, plan, warm, &allocation->piece);
        allocation->operation.ready = warm;
        allocation->operation.planned_page_size = plan->hold ? 0 : plan->page_size;

        reservation_take(&allocation->reservation, region, plan->length);
        charge_take(&allocation->charge, origin->user, plan->length);
        if (origin->grant)
                grant_take(origin->grant, allocation);
        return 0;
}

int allocation_create(Manager *manager, Region *region, const Request *request, const Piece *plan, Allocation *retained,
                      const Origin *origin, AllocationHandler handler, void *userdata, Failure *failure) {
        WarmPiece *warm = retained ? NULL : warm_find(&region->warm, plan);
        Allocation *allocation;
        char id[17];
        int r;

        r = manager_make_id(manager, id);
        if (r < 0)
                return failure_set_errno(failure, r, "there is no randomness yet");

        allocation = allocation_new(manager, warm ? warm->id : id);
        if (!allocation)
                return failure_set_errno(failure, -ENOMEM, "cannot keep one more allocation");

        allocation->name = request->name ? strdup(request->name) : NULL;
        allocation->unit = origin->unit ? strdup(origin->unit) : NULL;
        allocation->owner_name = request->name && origin->user->identity.name ? strdup(origin->user->identity.name) : NULL;
        if ((request->name && !allocation->name) || (origin->unit && !allocation->unit) ||
            (request->name && origin->user->identity.name && !allocation->owner_name) ||
            completion_add(&allocation->operation.completion, handler, userdata) < 0) {
                allocation_forget(allocation);
                return failure_set_errno(failure, -ENOMEM, "cannot keep one more allocation");
        }

        allocation->provider = region->provider;
        allocation->owner = origin->user->uid;
        allocation->pid = origin->pid;
        allocation->group = request->group_set ? request->group : DAXBROKER_NO_GROUP;
        allocation->mode = request->mode_set ? request->mode : REQUEST_MODE_DEFAULT;
        allocation->persistent = request->persistent;
        allocation->reserve = request->reserve;
        allocation->created = now_realtime();
        if (origin->grant)
                (void) snprintf(allocation->grant_id, sizeof(allocation->grant_id), "%s", origin->grant->id);
        r = allocation_take_memory(allocation, region, plan, retained, warm, origin, failure);
        if (r < 0) {
                allocation_forget(allocation);
                return r;
        }
        allocation_link(allocation);
        allocation->decision = origin->decision;
        if (may_create_at_once(allocation))
                operation_do(allocation, create_work, create_done);
        else
                operation_start(allocation, create_work, create_done);
        return 0;
}

int allocation_restore(Manager *manager, Region *region, const char *id, const Record *record, Failure *failure) {
        Allocation *allocation;
        User *user;
        int r;

        r = recovery_make(manager, id, record, &allocation);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot keep one more allocation");
        allocation->provider = region->provider;
        allocation->restored = true;
        allocation->shared = allocation->read_only = allocation->marked = false; /* nobody has it */
        allocation->decision = "its place was kept";

        r = user_get(&manager->users, allocation->owner, &user);
        if (r < 0) {
                allocation_free(allocation);
                return failure_set_errno(failure, r, "cannot keep one more user");
        }
        r = region_admit(region, allocation->piece.length, failure);
        if (r >= 0)
                r = region->provider->claim_anew(region, &allocation->piece, failure);
        if (r < 0) {
                user_unref(user);
                allocation_free(allocation);
                return r;
        }

        free(allocation->piece.handle);
        allocation->piece.handle = NULL;
        reservation_take(&allocation->reservation, region, allocation->piece.length);
        charge_take(&allocation->charge, user, allocation->piece.length);
        user_unref(user);
        allocation_link(allocation);
        operation_start(allocation, create_work, create_done);
        return 0;
}
