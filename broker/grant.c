/* SPDX-License-Identifier: MIT */

/* A grant is a part of a region that was decided about once: it is reserved and charged like an allocation, and kept free for
 * its owner. What he takes from it has shares of its own from the beginning, and is given to it out of those of the grant, so
 * that the sum is the same before and after; what he gives back goes the other way. So nobody can be in his way, and when
 * the grant ends, which it does with its lease, what was taken is what it is, and the rest is everybody's.
 *
 * Its members are those allocations that were taken from it and are not gone. Where a provider places memory itself, a hold
 * (provider.h) has the places that are not taken.
 *
 * The record is written before anybody has the lease, and is removed before anything is given back. It says how it began;
 * what of it is taken is told by the records of its members. Everything but writing the record, and making what keeps the
 * places where the account alone cannot, happens in the event loop. */

#include "grant.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "cleanup.h"
#include "clock.h"
#include "log.h"
#include "manager.h"
#include "record.h"
#include "recovery.h"
#include "regions.h"
#include "size.h"

Grant *manager_find_grant(const Manager *manager, const char *id) {
        Grant *grant;

        HASH_FIND_STR(manager->grants, id, grant);
        return grant;
}

static Grant *grant_new(Manager *manager, const char *id) {
        Grant *grant;

        grant = calloc(1, sizeof(*grant));
        if (!grant)
                return NULL;

        grant->manager = manager;
        (void) snprintf(grant->id, sizeof(grant->id), "%s", id);
        if (roll_add(&manager->grant_roll, grant->id) < 0) {
                free(grant);
                return NULL;
        }
        grant->lease_fd = grant->lease.ours = -EBADF;
        return grant;
}

/* What was taken from it goes on without it. */
static void grant_dismiss(Grant *grant) {
        Allocation *member, *next;

        DL_FOREACH_SAFE2(grant->members, member, next, member_next) {
                DL_DELETE2(grant->members, member, member_prev, member_next);
                member->grant = NULL;
                member->piece.hold = NULL;
        }
}

static Grant *grant_free(Grant *grant) {
        if (!grant)
                return NULL;

        roll_remove(&grant->manager->grant_roll, grant->id);
        grant_dismiss(grant);
        if (grant->hold)
                grant->reservation.region->provider->hold_end(grant->reservation.region, grant->hold);
        reservation_release(&grant->reservation);
        charge_release(&grant->charge);
        lease_close(&grant->lease);
        safe_close(grant->lease_fd);
        free(grant->unit);
        free(grant->handle);
        free(grant);
        return NULL;
}

static void grant_log(const Grant *grant, const char *event, const char *decision, const char *message) {
        LogFields fields = {
                .event = event,
                .uid = &grant->owner,
                .unit = grant->unit,
                .region = grant->reservation.region->name,
                .grant = grant->id,
                .decision = decision,
                .length = grant->size,
        };

        log_record(LOG_INFO, &fields, "%s %s", SIZE_TEXT(grant->size), message);
}

/* ---- Its account ---- */

uint64_t grant_available(const Grant *grant) {
        return grant->size > grant->taken ? grant->size - grant->taken : 0;
}

uint64_t grant_largest(const Grant *grant) {
        const Provider *provider = grant->reservation.region->provider;
        uint64_t available = grant_available(grant), largest;

        if (!grant->hold)
                return available;

        largest = provider->hold_largest(grant->hold);
        return largest < available ? largest : available;
}

static void grant_count(Grant *grant) {
        const Provider *provider = grant->reservation.region->provider;

        if (provider->hold_resize && grant->hold)
                provider->hold_resize(grant->hold, grant_available(grant), grant->size, grant->n_members);
        reservation_resize(&grant->reservation, grant_available(grant));
        charge_resize(&grant->charge, grant_available(grant));
}

int grant_admit(const Grant *grant, const Piece *plan, Failure *failure) {
        const Region *region = grant->reservation.region;
        uint64_t available = grant_available(grant);

        if (plan->length > available)
                return failure_set(failure, REFUSAL_NoSpace, "the grant has %s left of %s, %s were asked for",
                                   SIZE_TEXT(available), SIZE_TEXT(grant->size), SIZE_TEXT(plan->length));
        return region->provider->fits ? region->provider->fits(region, plan, failure) : 0;
}

bool grant_is_settling(const Grant *grant, const Piece *plan) {
        return grant->ending > 0 && plan->length <= grant->size && plan->length <= grant_available(grant) + grant->ending;
}

void grant_expect(const Allocation *allocation, bool ending) {
        Grant *grant = allocation->grant;

        if (!grant || allocation->reservation.ending == ending)
                return;

        if (ending)
                grant->ending += allocation->reservation.bytes;
        else
                grant->ending -= allocation->reservation.bytes;
}

void grant_take(Grant *grant, Allocation *allocation) {
        assert(!allocation->grant && !allocation->reservation.ending);

        allocation->grant = grant;
        DL_APPEND2(grant->members, allocation, member_prev, member_next);
        grant->n_members++;
        grant->taken += allocation->reservation.bytes;
        grant_count(grant);
}

/* The shares are still the allocation's, and are about to be nobody's. */
void grant_give(Allocation *allocation) {
        Grant *grant = allocation->grant;

        if (!grant)
                return;

        grant_expect(allocation, false);
        grant->taken -= allocation->reservation.bytes;
        DL_DELETE2(grant->members, allocation, member_prev, member_next);
        grant->n_members--;
        allocation->grant = NULL;
        allocation->piece.hold = NULL;
        grant_count(grant);
}

void grant_lose(Allocation *allocation) {
        Grant *grant = allocation->grant;

        if (!grant)
                return;

        grant->size -= grant->size < allocation->piece.length ? grant->size : allocation->piece.length;
        grant_count(grant);
}

int grant_admit_growth(const Grant *grant, uint64_t more, Failure *failure) {
        uint64_t available = grant_largest(grant);

        if (more > available)
                return failure_set(failure, REFUSAL_NoSpace,
                                   "the grant that it was taken from has %s left of %s, %s more were asked for",
                                   SIZE_TEXT(available), SIZE_TEXT(grant->size), SIZE_TEXT(more));
        return 0;
}

void grant_follow(Allocation *allocation, uint64_t before) {
        Grant *grant = allocation->grant;

        if (!grant)
                return;

        grant->taken += allocation->reservation.bytes - before; /* or less: it wraps as it should */
        if (allocation->reservation.ending)
                grant->ending += allocation->reservation.bytes - before;
        grant_count(grant);
}

void grant_pass(Allocation *from, Allocation *to) {
        Grant *grant = from->grant;

        if (!grant)
                return;

        grant_expect(from, false);
        DL_REPLACE_ELEM2(grant->members, from, to, member_prev, member_next);
        to->grant = grant;
        from->grant = NULL;
}

/* ---- The end ---- */

void grant_end(Grant *grant, const char *cause, const Ender *ender) {
        Region *region = grant->reservation.region;
        Manager *manager = grant->manager;
        char message[128];
        int r;

        r = record_remove(manager->grants_dir, grant->id);
        if (r < 0 && r != -ENOENT)
                log_warning("cannot remove the record of grant %s: %s", grant->id, strerror(-r));
        lease_end(&grant->lease);

        if (ender)
                (void) snprintf(message, sizeof(message), "are no longer reserved: %s by user %u", cause,
                                (unsigned) ender->uid);
        else
                (void) snprintf(message, sizeof(message), "are no longer reserved: %s", cause);
        grant_log(grant, "release", ender ? ender->decision : NULL, message);
        if (manager->observer)
                manager->observer->grant_removed(grant, manager->observer->userdata);
        HASH_DEL(manager->grants, grant);
        grant_free(grant);
        manager_settle(manager);
        regions_replenish(manager, region); /* it may have been full */
}

static void on_lapsed(Lease *lease) {
        Grant *grant = (Grant *) (void *) ((char *) lease - offsetof(Grant, lease));

        grant_end(grant, "the last holder of the lease let go", NULL);
}

/* ---- Making one ---- */

static int write_record(const Grant *grant) {
        const Region *region = grant->reservation.region;
        Record record = {
                .region = region->name,
                .provider = (char *) (uintptr_t) region->provider->name,
                .unit = grant->unit,
                .handle = grant->handle,
                .owner = grant->owner,
                .group = DAXBROKER_NO_GROUP,
                .pid = (uint32_t) grant->pid,
                .length = grant->size,
                .alignment = grant->alignment,
                .page_size = grant->page_size,
                .persistent = grant->persistent,
                .created = grant->created,
                .stage = RECORD_LIVE,
        };

        return record_write(grant->manager->grants_dir, grant->id, &record);
}

static int make_work(Job *job) {
        Grant *grant = (Grant *) (void *) ((char *) job - offsetof(Grant, job));
        const Provider *provider = grant->reservation.region->provider;
        int r;

        if (provider->hold_make) {
                r = provider->hold_make(grant->hold, &grant->failure);
                if (r < 0)
                        return r;
        }

        r = lease_make(&grant->lease, grant->manager->leases_dir, grant->id, &grant->lease_fd);
        if (r < 0)
                return failure_set_errno(&grant->failure, r, "cannot make a lease");

        r = write_record(grant);
        if (r < 0) {
                grant->lease_fd = safe_close(grant->lease_fd);
                lease_end(&grant->lease);
                return failure_set_errno(&grant->failure, r, "cannot write the record");
        }

        return 0;
}

static void make_failed(Grant *grant, int r) {
        Region *region = grant->reservation.region;
        Manager *manager = grant->manager;
        char message[sizeof(grant->failure.text) + 16];

        (void) snprintf(message, sizeof(message), "refused: %s", grant->failure.text);
        grant_log(grant, "refusal", refusal_to_bus_name(grant->failure.refusal), message);
        grant->handler(NULL, r, &grant->failure, -EBADF, grant->userdata);
        (void) record_remove(manager->grants_dir, grant->id);
        lease_end(&grant->lease);
        HASH_DEL(manager->grants, grant);
        grant_free(grant);
        manager_settle(manager);
        regions_replenish(manager, region);
}

static void make_done(Job *job, int r) {
        Grant *grant = (Grant *) (void *) ((char *) job - offsetof(Grant, job));
        Manager *manager = grant->manager;

        if (r >= 0) {
                r = lease_watch(&grant->lease, manager->leases, on_lapsed);
                if (r < 0)
                        (void) failure_set_errno(&grant->failure, r, "cannot watch the lease");
        }
        if (r < 0) {
                make_failed(grant, r);
                return;
        }

        grant->making = false;
        grant_log(grant, "reserve", grant->decision, "reserved");
        if (manager->observer)
                manager->observer->grant_added(grant, manager->observer->userdata);
        manager_settle(manager);
        grant->handler(grant, 0, NULL, TAKE_FD(grant->lease_fd), grant->userdata); /* who may end it */
}

int grant_create(Manager *manager, Region *region, const Request *request, const Piece *plan, const Origin *origin,
                 GrantHandler handler, void *userdata, Failure *failure) {
        const Provider *provider = region->provider;
        char id[17];
        Grant *grant;
        int r;

        r = manager_make_id(manager, id);
        if (r < 0)
                return failure_set_errno(failure, r, "there is no randomness yet");

        grant = grant_new(manager, id);
        if (grant && origin->unit)
                grant->unit = strdup(origin->unit);
        if (!grant || (origin->unit && !grant->unit)) {
                grant_free(grant);
                return failure_set_errno(failure, -ENOMEM, "cannot keep one more grant");
        }
        r = provider->hold ? provider->hold(region, plan, &grant->hold, &grant->handle, failure) : 0;
        if (r < 0) {
                grant_free(grant);
                return r;
        }

        grant->owner = origin->user->uid;
        grant->pid = origin->pid;
        grant->decision = origin->decision;
        grant->created = now_realtime();
        grant->size = plan->length;
        grant->alignment = plan->alignment;
        grant->page_size = plan->page_size;
        grant->persistent = request->persistent;
        grant->handler = handler;
        grant->userdata = userdata;
        grant->making = true;
        reservation_take(&grant->reservation, region, grant->size);
        reservation_set_granted(&grant->reservation);
        charge_take(&grant->charge, origin->user, grant->size);
        HASH_ADD_STR(manager->grants, id, grant);
        grant->job = (Job){ .work = make_work, .done = make_done };
        worker_pool_submit(manager->pool, &grant->job, grant->owner);
        return 0;
}

/* ---- After a restart ---- */

/* Nobody knows any more what it had. Its members go on as allocations that were taken from none. */
static int grant_lost(Manager *manager, const char *id, const char *why) {
        log_warning("grant %s is lost: %s", id, why);
        (void) record_remove(manager->grants_dir, id);
        (void) unlinkat(manager->leases_dir, id, 0);
        return 0;
}

static int recover_account(Grant *grant, Region *region, Failure *failure) {
        User *user;
        uint64_t sum;
        int r;

        if (__builtin_add_overflow(region->used, grant->size, &sum))
                return failure_set(failure, REFUSAL_Failed, "with what else there is, it is more than there can be");
        r = region->provider->hold_again ? region->provider->hold_again(region, grant->handle, grant->size, &grant->hold,
                                                                        failure)
                                         : 0;
        if (r < 0)
                return r;
        reservation_take(&grant->reservation, region, grant->size);
        reservation_set_granted(&grant->reservation);
        r = user_get(&grant->manager->users, grant->owner, &user);
        if (r < 0)
                return r;
        charge_take(&grant->charge, user, grant->size);
        user_unref(user);
        return 0;
}

static int recover(Manager *manager, const char *id, Record *record) {
        const Provider *provider = provider_find(record->provider);
        Failure failure = { 0 };
        Region *region;
        Grant *grant;
        int r;

        if (!provider || !provider->grants)
                return grant_lost(manager, id, "this broker cannot keep memory of that kind");
        r = recovery_region(manager, record->region, provider, &region);
        if (r < 0)
                return r;

        grant = grant_new(manager, id);
        if (!grant)
                return -ENOMEM;
        grant->owner = record->owner;
        grant->pid = (pid_t) record->pid;
        grant->unit = TAKE_PTR(record->unit);
        grant->handle = TAKE_PTR(record->handle);
        grant->created = record->created;
        grant->size = record->length;
        grant->alignment = record->alignment;
        grant->page_size = record->page_size;
        grant->persistent = record->persistent;

        r = lease_recover(&grant->lease, manager->leases_dir, id);
        if (r == -ENOENT || r == -EBADMSG) {
                grant_free(grant);
                return grant_lost(manager, id, "its lease was taken away");
        }
        if (r >= 0)
                r = recover_account(grant, region, &failure);
        if (r >= 0) {
                HASH_ADD_STR(manager->grants, id, grant);
                return lease_watch(&grant->lease, manager->leases, on_lapsed);
        }

        grant_free(grant);
        return failure.refusal != REFUSAL_NONE && r != -ENOMEM ? grant_lost(manager, id, failure.text) : r;
}

int grant_recover(Manager *manager, const char *id) {
        const char *problem = "";
        Record record = { 0 };
        int r;

        r = record_read(manager->grants_dir, id, &record, &problem);
        if (r == -EBADMSG)
                return grant_lost(manager, id, problem);
        if (r < 0)
                return r;

        r = recover(manager, id, &record);
        record_done(&record);
        return r;
}

Grant *grant_find_origin(const Manager *manager, const Allocation *allocation, const Region *region) {
        Grant *grant = manager_find_grant(manager, allocation->grant_id);

        return grant && grant->owner == allocation->owner && grant->reservation.region == region &&
                               allocation->piece.length <= grant_available(grant)
                       ? grant
                       : NULL;
}

void grants_free(Manager *manager) {
        Grant *grant, *next;

        HASH_ITER(hh, manager->grants, grant, next) {
                HASH_DEL(manager->grants, grant);
                grant_free(grant);
        }
}
