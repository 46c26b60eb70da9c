/* SPDX-License-Identifier: MIT */

/* The life of an allocation up to its end, which is in ending.c:
 *
 *      allocation_create() → carving → live → …
 *
 * What may block is done in a worker thread, as an Operation, of which an allocation has one at a time: carving, opening,
 * changing its record, and the steps of its end. While one runs, its thread may use the piece and the lease's directory
 * entry, and the event loop leaves them alone. Everything else belongs to the event loop. Carving that cannot block is done
 * there, too, and at once.
 *
 * The bytes stay reserved and charged from before the carving until after the end, so that nobody else can be given memory
 * that somebody still reaches. If carving fails, what it did is undone in reverse order.
 *
 * The record is written when the allocation is complete, and before anything is made that would outlive the broker; it is
 * removed when it is over. A memfd leaves nothing behind when the broker dies before that: it vanishes with the process, or
 * is found in the service manager's store without a record and revoked. */

#include "allocation.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "change.h"
#include "cleanup.h"
#include "fd-store.h"
#include "grant.h"
#include "intake.h"
#include "log.h"
#include "loss.h"
#include "manager.h"
#include "recovery.h"
#include "regions.h"
#include "size.h"
#include "warming.h"

/* Calls of Free that can wait for the end of one allocation. */
#define ENDING_MAX 16

/* How often carving is begun anew when somebody else was in its way. */
#define CARVE_TRIES 3

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

/* Of what went wrong when everybody had said yes. */
static void allocation_log_refusal(const Allocation *allocation, uid_t uid, const char *unit, const Failure *failure) {
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

static void allocation_notify_added(Allocation *allocation) {
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

/* ---- Carving ---- */

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

/* Takes the piece and the record of what this user had before. */
static int reuse_piece(Allocation *allocation, Failure *failure) {
        int dir = allocation_records_dir(allocation->manager, allocation->provider);
        int r;

        if (renameat(dir, allocation->operation.reused, dir, allocation->id) < 0)
                return failure_set_errno(failure, -errno, "cannot rename the record");

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

        r = allocation_create_record(allocation);
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

uint64_t now_realtime(void) {
        struct timespec now;

        (void) clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
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
