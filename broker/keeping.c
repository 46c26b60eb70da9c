/* SPDX-License-Identifier: MIT */

/* What of an allocation outlives the broker: its record, on its medium or in a file of ours, and the copies of its
 * descriptors that the service manager keeps. Most of it may block, and is done by the worker that works for the allocation;
 * what it reads of the allocation does not change meanwhile. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "allocation.h"
#include "change.h"
#include "cleanup.h"
#include "end-marks.h"
#include "fd-store.h"
#include "log.h"
#include "manager.h"
#include "record-file.h"
#include "record.h"
#include "reserve.h"

/* ---- Records ---- */

int manager_remove_record(Manager *manager, const Provider *provider, const char *id) {
        if (provider && provider->write_record)
                return 0; /* on the medium it goes with the piece */
        if (provider && provider->list)
                return record_remove(manager->lasting_dir, id);

        return record_file_remove(manager->records, id);
}

int allocation_remove_record(const Allocation *allocation) {
        if (!allocation->provider->write_record)
                reserve_remove(allocation);
        return manager_remove_record(allocation->manager, allocation->provider, allocation->id);
}

int allocation_take_record(const Allocation *allocation, const char *id) {
        Manager *manager = allocation->manager;

        if (!allocation->provider->list)
                return record_file_rename(manager->records, id, allocation->id);

        return renameat(manager->lasting_dir, id, manager->lasting_dir, allocation->id) < 0 ? -errno : 0;
}

static int record_write_to_medium(Allocation *allocation, const Record *record) {
        _cleanup_free_ char *text = NULL;
        Failure failure = { 0 };
        int r;

        r = record_format(record, &text);
        if (r < 0)
                return r;
        r = allocation->provider->write_record(&allocation->piece, allocation->id, text, &failure);
        if (r < 0)
                log_warning("the record of allocation %s is not on its medium: %s", allocation->id, failure.text);
        return r;
}

/* What it says belongs to the allocation. */
static Record allocation_describe(const Allocation *allocation, RecordStage stage) {
        return (Record){
                .name = allocation->name ? allocation->name : allocation->name_on_record,
                .region = allocation->reservation.region->name,
                .provider = (char *) (uintptr_t) allocation->provider->name,
                .unit = allocation->unit,
                .handle = allocation->piece.handle,
                .owner = allocation->owner,
                .group = allocation->group,
                .mode = allocation->mode,
                .pid = (uint32_t) allocation->pid,
                .offset = allocation->piece.offset,
                .length = allocation->piece.length,
                .alignment = allocation->piece.alignment,
                .page_size = allocation->piece.page_size,
                .created = allocation->created,
                .persistent = allocation->persistent,
                .shared = allocation->shared,
                .read_only = allocation->read_only,
                .marks = stage == RECORD_ENDING && allocation->marked
                                 ? (char *) (uintptr_t) end_marks_name(allocation->manager->marks)
                                 : NULL,
                .owner_name = allocation->owner_name,
                .reserve = allocation->reserve,
                .grant = allocation->grant_id[0] != '\0' ? (char *) (uintptr_t) allocation->grant_id : NULL,
                .stage = stage,
        };
}

static int record_keep(Allocation *allocation, const Record *record) {
        _cleanup_free_ char *text = NULL;
        int r;

        if (allocation->provider->list)
                return record_write(allocation->manager->lasting_dir, allocation->id, record);

        r = record_format(record, &text);
        return r < 0 ? r : record_file_write(allocation->manager->records, allocation->id, text);
}

int allocation_write_record(Allocation *allocation, RecordStage stage) {
        Record record = allocation_describe(allocation, stage), before = record;
        int r;

        change_apply(allocation, &record);
        if (allocation->provider->write_record)
                return record_write_to_medium(allocation, &record);

        if (stage == RECORD_ENDING || stage == RECORD_DRAINED)
                reserve_remove(allocation);
        r = record_keep(allocation, &record);
        if (r < 0)
                return r;
        r = reserve_note(allocation, &record);
        if (r < 0) /* a change that is refused must not be there for the next broker */
                (void) record_keep(allocation, &before);
        return r;
}

int allocation_refuse_record(const Allocation *allocation, int r, Failure *failure) {
        if (allocation->provider->write_record && (r == -ENOSPC || r == -EDQUOT))
                return failure_set(failure, REFUSAL_NoSpace, "region '%s' has no room left for the record: %s",
                                   allocation->reservation.region->name, strerror(-r));

        return failure_set_errno(failure, r, "cannot write the record");
}

/* ---- The service manager's copies ---- */

int allocation_store_fds(const Allocation *allocation) {
        const Piece *piece = &allocation->piece;
        char name[32];
        int r;

        if (!allocation->provider->stores_fd)
                return 0;

        if (!allocation->provider->drains)
                return fd_store_push_memory(allocation->id, piece->fd);

        r = fd_store_push(allocation->id, piece->fd);
        if (r < 0 || piece->fd_read_only < 0)
                return r;

        (void) snprintf(name, sizeof(name), "%s" FD_STORE_READ_ONLY, allocation->id);
        r = fd_store_push(name, piece->fd_read_only);
        if (r < 0)
                (void) fd_store_remove(allocation->id);
        return r;
}

void allocation_unstore_fds(const Allocation *allocation) {
        char name[32];

        if (!allocation->provider->stores_fd)
                return;

        if (fd_store_remove(allocation->id) < 0)
                log_warning("cannot tell the service manager to drop the descriptor of %s", allocation->id);
        if (allocation->provider->drains) {
                (void) snprintf(name, sizeof(name), "%s" FD_STORE_READ_ONLY, allocation->id);
                (void) fd_store_remove(name);
        }
}
