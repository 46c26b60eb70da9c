/* SPDX-License-Identifier: MIT */

/* The life of an allocation:
 *
 *      allocation_create() → carving → live → revoking → gone
 *
 * What may block is done in a worker thread, as an Operation, of which an allocation has one at a time: carving, opening,
 * changing its record, revoking. While one runs, its thread may use the piece and the lease's directory entry, and the
 * event loop leaves them alone. Everything else belongs to the event loop.
 *
 * The bytes stay reserved and charged from before the carving until after the revoking, so that nobody else can be given
 * memory that somebody still reaches. If carving fails, what it did is undone in reverse order. If revoking fails, the
 * allocation is quarantined: it stays, charged and visible.
 *
 * The record is written when the allocation is complete, and removed when it is over. A memfd leaves nothing behind when
 * the broker dies before that: it vanishes with the process, or is found in the service manager's store without a record
 * and revoked. */

#include "allocation.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "cleanup.h"
#include "fd-store.h"
#include "log.h"
#include "manager.h"
#include "record.h"
#include "size.h"

/* Calls of Free that can wait for the end of one allocation. */
#define ENDING_MAX 16

const char *allocation_state_to_string(AllocationState state) {
        static const char *const names[] = {
                [ALLOCATION_CARVING] = "carving",   [ALLOCATION_LIVE] = "live",
                [ALLOCATION_DRAINING] = "draining", [ALLOCATION_CLEANING] = "cleaning",
                [ALLOCATION_REVOKING] = "revoking", [ALLOCATION_DETACHED] = "detached",
                [ALLOCATION_QUARANTINED] = "quarantined",
        };

        return names[state];
}

bool allocation_mode_allows(const Allocation *allocation, uid_t uid, const gid_t *groups, size_t n_groups,
                            bool read_only) {
        uint32_t wanted = read_only ? 04 : 06;

        if (uid == allocation->owner)
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
        allocation->group = DAXBROKER_NO_GROUP;
        allocation->mode = REQUEST_MODE_DEFAULT;
        allocation->piece.fd = -EBADF;
        allocation->piece.numa_node = -1;
        allocation->lease.reader = -EBADF;
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
}

static void allocation_unlink(Allocation *allocation) {
        Manager *manager = allocation->manager;

        HASH_DELETE(by_id, manager->by_id, allocation);
        if (allocation->name)
                HASH_DELETE(by_name, manager->by_name, allocation);
        manager->n_allocations--;
}

/* Forgets it and gives its shares back. What is on disk, in the service manager's store and in its holders' hands stays as
 * it is. */
Allocation *allocation_free(Allocation *allocation) {
        if (!allocation)
                return NULL;

        assert(!allocation->operation.running && !allocation->ending);
        lease_close(&allocation->lease);
        sd_event_source_disable_unref(allocation->end_timer);
        reservation_release(&allocation->reservation);
        charge_release(&allocation->charge);
        waiters_wake(&allocation->waiters);
        piece_done(&allocation->piece);
        free(allocation->name);
        free(allocation->reason);
        free(allocation->unit);
        free(allocation);
        return NULL;
}

static void allocation_log(const Allocation *allocation, const char *event, uid_t uid, const char *unit,
                           const char *decision, const char *message) {
        LogFields fields = {
                .event = event,
                .uid = &uid,
                .unit = unit,
                .region = allocation->reservation.region ? allocation->reservation.region->name : NULL,
                .allocation = allocation->id,
                .decision = decision,
                .length = allocation->piece.length,
        };

        log_record(LOG_INFO, &fields, "%s%s%s%s %s", allocation->name ? "'" : "", allocation->name ? allocation->name : "",
                   allocation->name ? "': " : "", SIZE_TEXT(allocation->piece.length), message);
}

/* Of what went wrong when everybody had said yes. */
static void allocation_log_refusal(const Allocation *allocation, uid_t uid, const char *unit) {
        const Failure *failure = &allocation->operation.failure;
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

static void allocation_log_end(const Allocation *allocation) {
        char message[128];

        if (allocation->end_decision)
                (void) snprintf(message, sizeof(message), "%s by user %u", allocation->end_cause,
                                (unsigned) allocation->end_uid);
        else
                (void) snprintf(message, sizeof(message), "%s", allocation->end_cause);
        allocation_log(allocation, "end", allocation->owner, allocation->unit, allocation->end_decision, message);
}

static void allocation_notify(Allocation *allocation, const char *property) {
        const Observer *observer = allocation->manager->observer;

        if (observer)
                observer->allocation_changed(allocation, property, observer->userdata);
}

static void allocation_set_state(Allocation *allocation, AllocationState state) {
        allocation->state = state;
        allocation_notify(allocation, "State");
}

/* ---- Operations ---- */

static int completion_add(Completion **list, AllocationHandler handler, void *userdata) {
        Completion *completion;

        if (!handler)
                return 0;

        completion = calloc(1, sizeof(*completion));
        if (!completion)
                return -ENOMEM;

        completion->handler = handler;
        completion->userdata = userdata;
        LL_PREPEND(*list, completion);
        return 0;
}

/* Tells everybody on the list; descriptors can go to one only. */
static void completions_run(Completion **list, Allocation *allocation, int r, const Failure *failure, int memory,
                            int lease) {
        Completion *completion, *next, *taken = *list;

        *list = NULL;
        LL_FOREACH_SAFE(taken, completion, next) {
                completion->handler(allocation, r, failure, memory, lease, completion->userdata);
                free(completion);
        }
}

static void operation_start(Allocation *allocation, int (*work)(Job *), void (*done)(Job *, int)) {
        Operation *operation = &allocation->operation;

        assert(!operation->running);
        operation->running = true;
        operation->failure = (Failure){ 0 };
        operation->memory = operation->lease = -EBADF;
        operation->job = (Job){ .work = work, .done = done };
        worker_pool_submit(allocation->manager->pool, &operation->job, allocation->owner);
}

static Allocation *operation_allocation(Job *job) {
        return (Allocation *) (void *) ((char *) job - offsetof(Allocation, operation.job));
}

static void allocation_revoke(Allocation *allocation);

/* Ends an operation: the results go to whom they are for, then to whoever waited for his turn. */
static void operation_finish(Allocation *allocation, int r) {
        Operation *operation = &allocation->operation;
        int memory = TAKE_FD(operation->memory), lease = TAKE_FD(operation->lease);

        /* who hears of it may end it, which then begins below */
        if (operation->completion)
                completions_run(&operation->completion, allocation, r, &operation->failure, memory, lease);
        else {
                safe_close(memory);
                safe_close(lease);
        }

        operation->running = false;
        if (allocation->end_cause)
                allocation_revoke(allocation);
        else
                (void) allocation_watch(allocation); /* a lapse meanwhile was not looked at */
        waiters_wake(&allocation->waiters);
}

static int allocation_write_record(const Allocation *allocation, uint32_t mode) {
        Record record = {
                .name = allocation->name,
                .region = allocation->reservation.region->name,
                .provider = (char *) (uintptr_t) allocation->provider->name,
                .unit = allocation->unit,
                .handle = allocation->piece.handle,
                .owner = allocation->owner,
                .group = allocation->group,
                .mode = mode,
                .pid = (uint32_t) allocation->pid,
                .offset = allocation->piece.offset,
                .length = allocation->piece.length,
                .alignment = allocation->piece.alignment,
                .page_size = allocation->piece.page_size,
                .created = allocation->created,
                .persistent = allocation->persistent,
                .ending = allocation->end_late,
        };

        return record_write(allocation->manager->records_dir, allocation->id, &record);
}

/* ---- Carving ---- */

static int create_work(Job *job) {
        Allocation *allocation = operation_allocation(job);
        const Provider *provider = allocation->provider;
        Operation *operation = &allocation->operation;
        Failure undo;
        int r;

        r = lease_make(&allocation->lease, allocation->manager->leases_dir, allocation->id, &operation->lease);
        if (r < 0)
                return failure_set_errno(&operation->failure, r, "cannot make a lease");

        r = provider->carve(&allocation->piece, allocation->id, &operation->failure);
        if (r < 0)
                goto undo_lease;

        r = provider->open(&allocation->piece, false, &operation->memory, &operation->failure);
        if (r < 0)
                goto undo_piece;

        r = provider->stores_fd ? fd_store_push(allocation->id, allocation->piece.fd) : 0;
        if (r < 0) {
                (void) failure_set_errno(&operation->failure, r, "cannot give the descriptor to the service manager");
                goto undo_piece;
        }

        r = allocation_write_record(allocation, allocation->mode);
        if (r < 0) {
                (void) failure_set_errno(&operation->failure, r, "cannot write the record");
                if (provider->stores_fd)
                        (void) fd_store_remove(allocation->id);
                goto undo_piece;
        }

        return 0;

undo_piece:
        operation->memory = safe_close(operation->memory);
        (void) provider->revoke(&allocation->piece, &undo);
undo_lease:
        operation->lease = safe_close(operation->lease);
        lease_end(&allocation->lease);
        return r;
}

static void create_done(Job *job, int r) {
        Allocation *allocation = operation_allocation(job);
        Manager *manager = allocation->manager;

        if (r >= 0)
                r = allocation_watch(allocation);
        if (r < 0) {
                Operation *operation = &allocation->operation;

                /* nobody has seen it, so nobody needs to be told but who asked */
                if (operation->failure.refusal == REFUSAL_NONE)
                        (void) failure_set_errno(&operation->failure, r, "cannot carve");
                allocation_log_refusal(allocation, allocation->owner, allocation->unit);
                operation->running = false;
                completions_run(&operation->completion, allocation, r, &operation->failure, -EBADF, -EBADF);
                completions_run(&allocation->ending, allocation, r, &operation->failure, -EBADF, -EBADF);
                safe_close(operation->memory);
                safe_close(operation->lease);
                if (allocation->lease.reader >= 0) {
                        /* it was complete, and cannot be watched: what create_work() did is over */
                        (void) allocation->provider->revoke(&allocation->piece, &operation->failure);
                        (void) fd_store_remove(allocation->id);
                        (void) record_remove(manager->records_dir, allocation->id);
                        lease_end(&allocation->lease);
                }
                allocation_unlink(allocation);
                allocation_free(allocation);
                manager_settle(manager);
                return;
        }

        allocation->state = ALLOCATION_LIVE;
        allocation->in_use = true;
        allocation_log(allocation, "grant", allocation->owner, allocation->unit, allocation->decision, "granted");
        if (manager->observer)
                manager->observer->allocation_added(allocation, manager->observer->userdata);
        manager_settle(manager);
        operation_finish(allocation, 0);
}

/* 64 random bits: an object path that was seen once never means another allocation later. */
static int id_make(const Manager *manager, char ret[static 17]) {
        uint64_t number;

        do {
                if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
                        return -EAGAIN;
                (void) snprintf(ret, 17, "%016" PRIx64, number);
        } while (manager_find_allocation(manager, ret));

        return 0;
}

static uint64_t now_realtime(void) {
        struct timespec now;

        (void) clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

int allocation_create(Manager *manager, Region *region, const Request *request, const Piece *plan, const Origin *origin,
                      AllocationHandler handler, void *userdata, Failure *failure) {
        Allocation *allocation;
        char id[17];
        int r;

        r = id_make(manager, id);
        if (r < 0)
                return failure_set_errno(failure, r, "there is no randomness yet");

        allocation = allocation_new(manager, id);
        if (!allocation)
                return failure_set_errno(failure, -ENOMEM, "cannot keep one more allocation");

        allocation->name = request->name ? strdup(request->name) : NULL;
        allocation->unit = origin->unit ? strdup(origin->unit) : NULL;
        if ((request->name && !allocation->name) || (origin->unit && !allocation->unit) ||
            completion_add(&allocation->operation.completion, handler, userdata) < 0) {
                allocation_free(allocation);
                return failure_set_errno(failure, -ENOMEM, "cannot keep one more allocation");
        }

        allocation->provider = region->provider;
        allocation->owner = origin->user->uid;
        allocation->pid = origin->pid;
        allocation->group = request->group_set ? request->group : DAXBROKER_NO_GROUP;
        allocation->mode = request->mode_set ? request->mode : REQUEST_MODE_DEFAULT;
        allocation->persistent = request->persistent;
        allocation->created = now_realtime();
        allocation->piece = *plan;
        allocation->piece.fd = -EBADF;
        reservation_take(&allocation->reservation, region, plan->length);
        charge_take(&allocation->charge, origin->user, plan->length);
        allocation_link(allocation);
        allocation->decision = origin->decision;
        operation_start(allocation, create_work, create_done);
        return 0;
}

/* ---- Opening, and changing who may ---- */

static int open_work(Job *job) {
        Allocation *allocation = operation_allocation(job);
        const Provider *provider = allocation->provider;
        Operation *operation = &allocation->operation;
        int r;

        r = lease_open_writer(&allocation->lease, &operation->lease);
        if (r < 0)
                return failure_set_errno(&operation->failure, r, "cannot open the lease");

        r = provider->open(&allocation->piece, operation->read_only, &operation->memory, &operation->failure);
        if (r < 0)
                operation->lease = safe_close(operation->lease);
        return r;
}

static void open_done(Job *job, int r) {
        Allocation *allocation = operation_allocation(job);

        if (r >= 0) {
                r = allocation_watch(allocation);
                if (r < 0)
                        (void) failure_set_errno(&allocation->operation.failure, r, "cannot watch the lease");
        }
        if (r < 0) {
                allocation->operation.memory = safe_close(allocation->operation.memory);
                allocation->operation.lease = safe_close(allocation->operation.lease);
                allocation_log_refusal(allocation, allocation->operation.opener, NULL);
        } else {
                allocation_log(allocation, "open", allocation->operation.opener, NULL, allocation->operation.decision,
                               allocation->operation.read_only ? "opened read-only" : "opened");
                if (!allocation->in_use) {
                        allocation->in_use = true;
                        allocation_notify(allocation, "InUse");
                }
        }

        operation_finish(allocation, r);
}

int allocation_open(Allocation *allocation, bool read_only, uid_t opener, const char *decision,
                    AllocationHandler handler, void *userdata) {
        assert(!allocation->operation.running && allocation->state == ALLOCATION_LIVE);

        if (completion_add(&allocation->operation.completion, handler, userdata) < 0)
                return -ENOMEM;

        allocation->operation.read_only = read_only;
        allocation->operation.opener = opener;
        allocation->operation.decision = decision;
        operation_start(allocation, open_work, open_done);
        return 0;
}

static int set_mode_work(Job *job) {
        Allocation *allocation = operation_allocation(job);
        Operation *operation = &allocation->operation;
        int r;

        r = allocation_write_record(allocation, operation->mode);
        return r < 0 ? failure_set_errno(&operation->failure, r, "cannot write the record") : 0;
}

static void set_mode_done(Job *job, int r) {
        Allocation *allocation = operation_allocation(job);

        if (r >= 0) {
                allocation->mode = allocation->operation.mode;
                allocation_notify(allocation, "Mode");
        }
        operation_finish(allocation, r);
}

int allocation_set_mode(Allocation *allocation, uint32_t mode, AllocationHandler handler, void *userdata) {
        assert(!allocation->operation.running);

        if (completion_add(&allocation->operation.completion, handler, userdata) < 0)
                return -ENOMEM;

        allocation->operation.mode = mode;
        operation_start(allocation, set_mode_work, set_mode_done);
        return 0;
}

/* ---- The end ---- */

static int revoke_work(Job *job) {
        Allocation *allocation = operation_allocation(job);
        const Provider *provider = allocation->provider;
        int r;

        r = provider->revoke(&allocation->piece, &allocation->operation.failure);
        if (r < 0)
                return r;

        /* The record first: should we die in between, a descriptor without a record is dropped by the next broker, while a
         * record without its descriptor would be taken for memory that its holders still have. */
        r = record_remove(allocation->manager->records_dir, allocation->id);
        if (r < 0 && r != -ENOENT)
                log_warning("cannot remove the record of %s: %s", allocation->id, strerror(-r));
        if (provider->stores_fd && fd_store_remove(allocation->id) < 0)
                log_warning("cannot tell the service manager to drop the descriptor of %s", allocation->id);
        return 0;
}

static void allocation_quarantine(Allocation *allocation, const char *why) {
        free(allocation->reason);
        allocation->reason = strdup(why);
        allocation->end_cause = NULL;
        allocation->end_late = false;
        reservation_set_ending(&allocation->reservation, false);
        charge_set_ending(&allocation->charge, false);
        allocation_notify(allocation, "Reason");
        allocation_set_state(allocation, ALLOCATION_QUARANTINED);
        allocation_log_unusable(allocation);
}

static void revoke_done(Job *job, int r) {
        Allocation *allocation = operation_allocation(job);
        Manager *manager = allocation->manager;
        Failure failure = allocation->operation.failure;

        allocation->operation.running = false;
        allocation->end_timer = sd_event_source_disable_unref(allocation->end_timer);

        if (r < 0) {
                if (failure.refusal == REFUSAL_NONE)
                        (void) failure_set_errno(&failure, r, "cannot revoke it");
                allocation_quarantine(allocation, failure.text);
                completions_run(&allocation->ending, allocation, r, &failure, -EBADF, -EBADF);
                waiters_wake(&allocation->waiters);
                return;
        }

        lease_end(&allocation->lease);
        if (allocation->end_late) /* it may have been written when revoke_work() had removed it */
                (void) record_remove(manager->records_dir, allocation->id);
        allocation_log_end(allocation);
        if (manager->observer)
                manager->observer->allocation_removed(allocation, manager->observer->userdata);
        allocation_unlink(allocation);
        reservation_release(&allocation->reservation);
        charge_release(&allocation->charge);
        manager_settle(manager);
        completions_run(&allocation->ending, allocation, 0, NULL, -EBADF, -EBADF);
        allocation_free(allocation);
}

static int on_end_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Allocation *allocation = userdata;
        Failure failure;
        int r;

        (void) source;
        (void) usec;
        r = failure_set(&failure, REFUSAL_Busy,
                        "a holder keeps the kernel from revoking %s; it ends, and is charged until then, when that is over",
                        allocation->id);
        log_warning("allocation %s: revoking it takes longer than RevokeTimeoutSec= allows, still trying", allocation->id);
        /* nobody should wait for these bytes any more, and no later broker take it for alive */
        allocation->end_late = true;
        if (allocation_write_record(allocation, allocation->mode) < 0)
                log_warning("cannot note that allocation %s is ending", allocation->id);
        reservation_set_ending(&allocation->reservation, false);
        charge_set_ending(&allocation->charge, false);
        completions_run(&allocation->ending, allocation, r, &failure, -EBADF, -EBADF);
        return 0;
}

static void allocation_revoke(Allocation *allocation) {
        Manager *manager = allocation->manager;

        allocation->end_late = false;
        reservation_set_ending(&allocation->reservation, true);
        charge_set_ending(&allocation->charge, true);
        allocation_set_state(allocation, ALLOCATION_REVOKING);
        /* Without the timer those who wait just wait. */
        (void) sd_event_add_time_relative(manager->event, &allocation->end_timer, CLOCK_MONOTONIC,
                                          manager->config->revoke_timeout, 0, on_end_timeout, allocation);
        operation_start(allocation, revoke_work, revoke_done);
}

int allocation_end(Allocation *allocation, const char *cause, const Ender *ender, AllocationHandler handler,
                   void *userdata) {
        const Completion *completion;
        unsigned n;
        int r;

        LL_COUNT(allocation->ending, completion, n);
        if (handler && (allocation->end_late || n >= ENDING_MAX))
                return -EBUSY;

        r = completion_add(&allocation->ending, handler, userdata);
        if (r < 0)
                return r;

        if (allocation->state == ALLOCATION_REVOKING)
                return 0;
        if (!allocation->end_cause) {
                allocation->end_cause = cause;
                allocation->end_decision = ender ? ender->decision : NULL;
                allocation->end_uid = ender ? ender->uid : 0;
        }
        if (!allocation->operation.running)
                allocation_revoke(allocation);
        return 0;
}

int allocation_force(Allocation *allocation, bool despite_references, const Ender *ender, AllocationHandler handler,
                     void *userdata, Failure *failure) {
        (void) despite_references;
        (void) ender;
        (void) handler;
        (void) userdata;
        return failure_set(failure, REFUSAL_Busy, "provider '%s' cannot take memory from its holders",
                           allocation->provider->name);
}

static void on_lapsed(Lease *lease) {
        Allocation *allocation = (Allocation *) (void *) ((char *) lease - offsetof(Allocation, lease));
        struct pollfd now = { .fd = lease->reader };

        /* Somebody may be getting it anew just now; when that is over it is looked at again. */
        if (allocation->operation.running)
                return;
        if (poll(&now, 1, 0) != 1 || !(now.revents & POLLHUP)) {
                (void) allocation_watch(allocation);
                return;
        }

        if (allocation->in_use) {
                allocation->in_use = false;
                allocation_notify(allocation, "InUse");
        }
        if (allocation->state == ALLOCATION_DETACHED || (allocation->state == ALLOCATION_LIVE && !allocation->name))
                (void) allocation_end(allocation, "its last holder let go", NULL, NULL, NULL);
}

int allocation_watch(Allocation *allocation) {
        return lease_watch(&allocation->lease, allocation->manager->event, on_lapsed);
}
