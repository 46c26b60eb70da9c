/* SPDX-License-Identifier: MIT */

/* The record in STATE_DIRECTORY is there as long as the allocation is alive. When its own record, which is gone with the
 * boot that it was from, is not there, the place is taken again: the allocation is what it was, with name, owner and mode,
 * but for its device, which is a new one, and its contents. Who restores it is in nobody's hurry: a region may come late.
 *
 * That record is written after the other one, and removed before it says that the allocation ends: so there is none of what
 * was given up, and what the next broker finds alive without it gets it then.
 *
 * A place that somebody else has now is left to him. The record stays, and the next broker tries again. */

#include "reserve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "cleanup.h"
#include "creation.h"
#include "file.h"
#include "log.h"
#include "name.h"
#include "recovery.h"

typedef struct Reserved {
        char id[17];
        Record record;
        bool refused; /* it was said that it cannot be restored */
        struct Reserved *next;
} Reserved;

int reserve_note(const Allocation *allocation, const Record *record) {
        if (!allocation->reserve || record->stage != RECORD_LIVE)
                return 0; /* while it is carved anew, whoever fails at that leaves the place to the next broker */

        return record_write(allocation->manager->lasting_dir, allocation->id, record);
}

/* What is being carved anew, or was given up while it was, has its place still. */
void reserve_remove(const Allocation *allocation) {
        int r;

        if (!allocation->reserve ||
            (allocation->restored && (allocation->untouched || allocation->state == ALLOCATION_CARVING)))
                return;

        r = record_remove(allocation->manager->lasting_dir, allocation->id);
        if (r < 0 && r != -ENOENT)
                log_warning("the place of allocation %s is given up, which is not on record: %s", allocation->id,
                            strerror(-r));
}

static bool is_as_noted(const Allocation *allocation, const Record *record) {
        _cleanup_free_ char *text = NULL, *noted = NULL;
        const char *problem = "";
        Record found = { 0 };
        bool same;

        same = record_read(allocation->manager->lasting_dir, allocation->id, &found, &problem) >= 0 &&
               record_format(&found, &noted) >= 0 && record_format(record, &text) >= 0 && strcmp(noted, text) == 0;
        record_done(&found);
        return same;
}

void reserve_recover(Allocation *allocation, const Record *record) {
        int r;

        if (!record->reserve)
                return;

        if (record->stage == RECORD_CARVING)
                allocation->restored = true;
        else if (record->stage != RECORD_LIVE)
                reserve_remove(allocation);
        else if (!is_as_noted(allocation, record)) {
                r = reserve_note(allocation, record);
                if (r < 0)
                        log_warning("the place of allocation %s cannot be kept over a reboot: %s", allocation->id,
                                    strerror(-r));
        }
}

static Reserved *reserved_free(Reserved *reserved) {
        record_done(&reserved->record);
        free(reserved);
        return NULL;
}

static int read_one(Manager *manager, const char *id) {
        const char *problem = "";
        const Allocation *allocation = manager_find_allocation(manager, id);
        Reserved *reserved;
        int r;

        if (allocation && !allocation->restored)
                return 0; /* of this boot; else an earlier broker was about to restore it, which is being undone */

        reserved = calloc(1, sizeof(*reserved));
        if (!reserved)
                return -ENOMEM;
        (void) snprintf(reserved->id, sizeof(reserved->id), "%.16s", id);
        r = record_read(manager->lasting_dir, id, &reserved->record, &problem);
        if (r < 0 || !reserved->record.reserve || !reserved->record.name) {
                reserved_free(reserved);
                return r == -ENOMEM ? r : 0; /* what cannot be read may be about a medium: inventory.c speaks of it */
        }

        LL_PREPEND(manager->reserves, reserved);
        return 0;
}

int reserves_read(Manager *manager) {
        _cleanup_closedir_ DIR *dir = NULL;
        struct dirent *entry;
        int r;

        if (manager->lasting_dir < 0)
                return 0;
        r = directory_read(manager->lasting_dir, &dir);
        if (r < 0)
                return r;

        while (r >= 0 && (errno = 0, entry = readdir(dir)))
                if (is_id(entry->d_name))
                        r = read_one(manager, entry->d_name);
        return r >= 0 && errno > 0 ? -errno : r;
}

/* 1 if it was begun, or there is nothing to be begun; 0 for later. */
static int restore(Manager *manager, Reserved *reserved) {
        Region *region = manager_find_region(manager, reserved->record.region);
        const Provider *provider = provider_find(reserved->record.provider);
        Failure failure = { 0 };
        int r;

        if (!region || region->reason || region->provider != provider || !provider->claim_anew ||
            manager_find_allocation(manager, reserved->id))
                return 0;

        if (manager_find_allocation_by_name(manager, reserved->record.name))
                r = failure_set(&failure, REFUSAL_NameExists, "its name is another allocation's now");
        else
                r = allocation_restore(manager, region, reserved->id, &reserved->record, &failure);
        if (r >= 0)
                return 1;

        if (!reserved->refused)
                log_warning("the place of allocation '%s' (%s) in region '%s' cannot be had again: %s",
                            reserved->record.name, reserved->id, region->name, failure.text);
        reserved->refused = true;
        return 0;
}

void reserves_restore(Manager *manager) {
        Reserved *reserved, *next;

        LL_FOREACH_SAFE(manager->reserves, reserved, next)
                if (restore(manager, reserved) > 0) {
                        LL_DELETE(manager->reserves, reserved);
                        reserved_free(reserved);
                }
}

void reserves_free(Manager *manager) {
        Reserved *reserved, *next;

        LL_FOREACH_SAFE(manager->reserves, reserved, next)
                reserved_free(reserved);
        manager->reserves = NULL;
}
