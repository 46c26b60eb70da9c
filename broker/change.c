/* SPDX-License-Identifier: MIT */

/* What a live allocation is can be changed: mode, owner, name, length. A change is an operation like any other: one at a
 * time, while calls that come wait.
 *
 * The record says what holds after a crash. So it is written first, in a worker thread, and what others see of the
 * allocation follows when that has worked: a change that was acknowledged is on record, and one that fails has not
 * happened. Only memory that grows is there before the record says so; what a crash leaves of that was promised to nobody.
 *
 * What a change takes is taken before it begins: the new name, the new owner's share of his quota, the bytes of the region.
 * It is given back if the change fails, or what the old state had is. */

#include "change.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "clock.h"
#include "log.h"
#include "manager.h"
#include "regions.h"
#include "revival.h"
#include "size.h"

void change_apply(const Allocation *allocation, Record *record) {
        const Change *change = &allocation->operation.change;

        if (change->sets_mode)
                record->mode = change->mode;
        if (change->sets_owner) {
                record->owner = change->owner;
                record->owner_name = change->owner_name;
                record->shared = record->shared || change->shared;
        }
        if (change->name)
                record->name = change->name;
        if (change->length > 0)
                record->length = change->length;
        if (change->created > 0)
                record->created = change->created;
}

/* Gives back what it has taken, or what it has replaced. */
static void change_reset(Allocation *allocation) {
        Change *change = &allocation->operation.change;

        charge_release(&change->charge);
        free(change->name);
        free(change->owner_name);
        *change = (Change){ 0 };
}

static void swap_text(char **a, char **b) {
        char *text = *a;

        *a = *b;
        *b = text;
}

/* ---- The parts of it, when they are on record ---- */

static void apply_mode(Allocation *allocation) {
        const Change *change = &allocation->operation.change;
        char message[32];

        allocation->mode = change->mode;
        allocation_notify(allocation, "Mode");
        (void) snprintf(message, sizeof(message), "has mode %04o", (unsigned) allocation->mode);
        allocation_log(allocation, "change", change->changer, NULL, change->decision, message);
}

static void apply_name(Allocation *allocation) {
        Manager *manager = allocation->manager;
        Change *change = &allocation->operation.change;
        char message[DAXBROKER_NAME_MAX + 64];

        HASH_DELETE(by_claim, manager->by_claim, allocation);
        if (allocation->name)
                HASH_DELETE(by_name, manager->by_name, allocation);
        swap_text(&allocation->name, &change->name);
        free(allocation->name_on_record);
        allocation->name_on_record = NULL;
        HASH_ADD_KEYPTR(by_name, manager->by_name, allocation->name, strlen(allocation->name), allocation);
        if (!change->name && allocation->state == ALLOCATION_LIVE) { /* it was found without one */
                free(allocation->reason);
                allocation->reason = NULL;
                allocation_notify(allocation, "Reason");
        }
        allocation_notify(allocation, "Name");
        (void) snprintf(message, sizeof(message), "renamed; it was called '%s'", change->name ? change->name : "");
        allocation_log(allocation, "change", change->changer, NULL, change->decision, message);
}

static void apply_owner(Allocation *allocation) {
        Change *change = &allocation->operation.change;
        uid_t before = allocation->owner;
        char message[128];

        if (change->charge.user) {
                Charge old = allocation->charge;

                allocation->charge = change->charge;
                change->charge = old;
        }
        allocation->owner = change->owner;
        swap_text(&allocation->owner_name, &change->owner_name);
        allocation->shared = allocation->shared || change->shared;
        allocation_notify(allocation, "Owner");
        allocation_notify(allocation, "OwnerName");
        (void) snprintf(message, sizeof(message), "given to user %u; it was user %u's", (unsigned) change->owner,
                        (unsigned) before);
        allocation_log(allocation, "change", change->changer, NULL, change->decision, message);
}

/* What it has of a grant is more or less then, and the grant has the rest. */
static void resize_shares(Allocation *allocation, uint64_t length) {
        uint64_t before = allocation->reservation.bytes;

        reservation_resize(&allocation->reservation, length);
        charge_resize(&allocation->charge, length);
        grant_follow(allocation, before);
}

static void apply_length(Allocation *allocation) {
        const Change *change = &allocation->operation.change;
        uint64_t before = allocation->piece.length;
        char message[64];

        allocation->piece.length = change->length;
        if (change->length < before)
                resize_shares(allocation, change->length);
        allocation_notify(allocation, "Length");
        (void) snprintf(message, sizeof(message), "resized; it had %s", SIZE_TEXT(before));
        allocation_log(allocation, "change", change->changer, NULL, change->decision, message);
}

static void change_succeeded(Allocation *allocation) {
        const Change *change = &allocation->operation.change;

        if (change->sets_mode)
                apply_mode(allocation);
        if (change->name)
                apply_name(allocation);
        if (change->sets_owner)
                apply_owner(allocation);
        if (change->length > 0)
                apply_length(allocation);
        if (change->created > 0)
                allocation->created = change->created;
}

static void change_failed(Allocation *allocation, const Failure *failure) {
        const Change *change = &allocation->operation.change;
        char message[sizeof(failure->text) + 16];

        if (change->name)
                HASH_DELETE(by_claim, allocation->manager->by_claim, allocation);
        if (change->length > allocation->piece.length)
                resize_shares(allocation, allocation->piece.length);
        (void) snprintf(message, sizeof(message), "refused: %s", failure->text);
        allocation_log(allocation, "refusal", change->changer, NULL, refusal_to_bus_name(failure->refusal), message);
}

/* ---- As an operation ---- */

static int write_record(Allocation *allocation, Failure *failure) {
        int r;

        r = allocation_write_record(allocation, RECORD_LIVE);
        return r < 0 ? allocation_refuse_record(allocation, r, failure) : 0;
}

static void undo_growth(Allocation *allocation) {
        Piece grown = allocation->piece; /* whose length is the event loop's to change */
        Failure ignored;
        int r;

        grown.length = allocation->operation.change.length;
        r = allocation->provider->resize(&grown, allocation->piece.length, &ignored);
        allocation->piece.counted = grown.counted;
        if (r >= 0)
                return;
        log_warning("allocation %s has grown, which is not on record; the next broker makes it shorter again",
                    allocation->id);
        allocation->piece.measured = false;
}

static int grow_work(Allocation *allocation, Failure *failure) {
        int r;

        r = allocation->provider->resize(&allocation->piece, allocation->operation.change.length, failure);
        if (r < 0)
                return r;
        r = write_record(allocation, failure);
        if (r < 0)
                undo_growth(allocation);
        return r;
}

static int shrink_work(Allocation *allocation, Failure *failure) {
        Operation *operation = &allocation->operation;
        uint64_t length = operation->change.length;
        int r;

        r = write_record(allocation, failure);
        if (r < 0)
                return r;
        r = allocation->provider->resize(&allocation->piece, length, failure);
        if (r >= 0)
                return 0;

        operation->change.length = 0;
        if (allocation_write_record(allocation, RECORD_LIVE) < 0)
                log_warning("allocation %s could not be made shorter; on record it is", allocation->id);
        operation->change.length = length;
        return r;
}

static int change_work(Allocation *allocation, Failure *failure) {
        uint64_t length = allocation->operation.change.length;

        if (length > allocation->piece.length)
                return grow_work(allocation, failure);
        return length > 0 ? shrink_work(allocation, failure) : write_record(allocation, failure);
}

static void adopt_done(Allocation *allocation, int r, Failure *failure) {
        if (r < 0 && failure->refusal == REFUSAL_NONE)
                (void) failure_set_errno(failure, r, "cannot use it");
        if (r >= 0)
                r = revival_finish(allocation, failure);
        manager_settle(allocation->manager);
        allocation_finish_operation(allocation, r, failure);
}

/* It has an owner, so it can be used; if it is found to be what its medium says. */
static void adopt(Allocation *allocation) {
        allocation->operation.running = false;
        operation_start(allocation, revival_work, adopt_done);
}

static void change_done(Allocation *allocation, int r, Failure *failure) {
        if (r < 0 && failure->refusal == REFUSAL_NONE)
                (void) failure_set_errno(failure, r, "cannot change it");
        if (r >= 0)
                change_succeeded(allocation);
        else
                change_failed(allocation, failure);
        change_reset(allocation);
        if (r >= 0 && allocation->state == ALLOCATION_ORPHAN) {
                adopt(allocation);
                return;
        }
        manager_settle(allocation->manager);
        regions_replenish(allocation->manager, allocation->reservation.region); /* what a grant has got back */
        allocation_finish_operation(allocation, r, failure);
}

static int change_start(Allocation *allocation, const Changer *changer, AllocationHandler handler, void *userdata) {
        Change *change = &allocation->operation.change;

        assert(!allocation->operation.running);

        if (completion_add(&allocation->operation.completion, handler, userdata) < 0)
                return -ENOMEM;

        change->changer = changer->uid;
        change->decision = changer->decision;
        if (change->name)
                HASH_ADD_KEYPTR(by_claim, allocation->manager->by_claim, change->name, strlen(change->name), allocation);
        operation_start(allocation, change_work, change_done);
        return 0;
}

/* ---- What can be changed ---- */

int allocation_set_mode(Allocation *allocation, uint32_t mode, const Changer *changer, AllocationHandler handler,
                        void *userdata, Failure *failure) {
        (void) failure;
        allocation->operation.change = (Change){ .sets_mode = true, .mode = mode };
        return change_start(allocation, changer, handler, userdata);
}

/* Notes the new name, if it is one. */
static int change_set_name(Allocation *allocation, const char *name, Failure *failure) {
        int r;

        if (!name || (allocation->name && strcmp(allocation->name, name) == 0))
                return 0;

        r = manager_admit_name(allocation->manager, name, failure);
        if (r < 0)
                return r;
        allocation->operation.change.name = strdup(name);
        return allocation->operation.change.name ? 0 : -ENOMEM;
}

int allocation_rename(Allocation *allocation, const char *name, const Changer *changer, AllocationHandler handler,
                      void *userdata, Failure *failure) {
        int r;

        r = change_set_name(allocation, name, failure);
        if (r >= 0)
                r = change_start(allocation, changer, handler, userdata);
        if (r < 0)
                change_reset(allocation);
        return r;
}

int allocation_set_owner(Allocation *allocation, User *owner, const char *name, const QuotaRule *quotas,
                         const Changer *changer, AllocationHandler handler, void *userdata, Failure *failure) {
        const Identity *identity = &owner->identity;
        Change *change = &allocation->operation.change;
        int r;

        *change = (Change){ .sets_owner = true, .owner = owner->uid };
        if (allocation->state == ALLOCATION_ORPHAN) {
                change->created = now_realtime();
                change->sets_mode = true;
                change->mode = REQUEST_MODE_DEFAULT;
        }
        r = change_set_name(allocation, name, failure);
        if (r >= 0 && owner->uid != allocation->owner) {
                r = quota_admit(quotas, owner, identity->groups, identity->n_groups, allocation->piece.length, failure);
                if (r >= 0)
                        charge_take(&change->charge, owner, allocation->piece.length);
                change->shared = allocation->provider->drains;
        }
        if (r >= 0) {
                change->owner_name = strdup(identity->name);
                r = change->owner_name ? change_start(allocation, changer, handler, userdata) : -ENOMEM;
        }
        if (r < 0)
                change_reset(allocation);
        return r;
}

int allocation_admit_growth(const Allocation *allocation, uint64_t more, Failure *failure) {
        return allocation->grant ? grant_admit_growth(allocation->grant, more, failure)
                                 : region_admit(allocation->reservation.region, more, failure);
}

int allocation_resize(Allocation *allocation, uint64_t length, const Changer *changer, AllocationHandler handler,
                      void *userdata, Failure *failure) {
        uint64_t before = allocation->piece.length;
        int r;

        if (length > before) {
                r = allocation_admit_growth(allocation, length - before, failure);
                if (r < 0)
                        return r;
        }

        allocation->operation.change = (Change){ .length = length != before ? length : 0 };
        if (length > before)
                resize_shares(allocation, length);
        r = change_start(allocation, changer, handler, userdata);
        if (r < 0) {
                if (length > before)
                        resize_shares(allocation, before);
                change_reset(allocation);
        }

        return r;
}
