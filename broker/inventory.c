/* SPDX-License-Identifier: MIT */

/* What is found on a medium, and the records of the folder, matched by what the medium calls each piece: what is left over on
 * one side has no record, on the other side it is absent. */

#include "inventory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "file.h"
#include "log.h"
#include "name.h"
#include "record.h"

void inventory_done(Inventory *inventory) {
        for (size_t i = 0; i < inventory->n_finds; i++) {
                free(inventory->finds[i].record);
                free(inventory->finds[i].problem);
                free(inventory->finds[i].handle);
                free(inventory->finds[i].name);
        }
        free(inventory->finds);
        *inventory = (Inventory){ 0 };
}

static Find *find_by_handle(const Inventory *inventory, const char *handle) {
        for (size_t i = 0; handle && i < inventory->n_finds; i++)
                if (inventory->finds[i].handle && strcmp(inventory->finds[i].handle, handle) == 0)
                        return &inventory->finds[i];

        return NULL;
}

static int add_absent(Inventory *inventory, Find **ret) {
        Find *finds;

        finds = reallocarray(inventory->finds, inventory->n_finds + 1, sizeof(*finds));
        if (!finds)
                return -ENOMEM;

        inventory->finds = finds;
        finds[inventory->n_finds] = (Find){ .absent = true };
        *ret = &finds[inventory->n_finds++];
        return 0;
}

/* What has no record yet and is called like this one, which is about something else, is called otherwise: whoever has
 * written a label may have written anybody's id. */
static void displace(Inventory *inventory, const char *id, const Record *record) {
        for (size_t i = 0; i < inventory->n_finds; i++) {
                Find *find = &inventory->finds[i];
                uint64_t number = UINT64_C(0xcbf29ce484222325);

                if (find->record || !find->handle || strcmp(find->id, id) != 0 ||
                    (record->handle && strcmp(record->handle, find->handle) == 0))
                        continue;
                for (const char *c = find->handle; *c; c++) /* FNV-1a: the same after each boot */
                        number = (number ^ (unsigned char) *c) * UINT64_C(0x100000001b3);
                log_warning("what is called allocation %s on its medium is something else, listed as %016" PRIx64, id,
                            number);
                (void) snprintf(find->id, sizeof(find->id), "%016" PRIx64, number);
        }
}

/* The record in the file called id, if it is about this region or something that was found in it. */
static int attach_record(const Region *region, int records_dir, const char *id, Inventory *inventory) {
        const char *problem = "";
        Record record = { 0 };
        Find *find;
        int r;

        r = record_read(records_dir, id, &record, &problem);
        if (r == -EBADMSG)
                log_error("the record of allocation %s cannot be used: %s; what it is of has no owner until an admin says "
                          "so", id, problem);
        if (r < 0) /* -ENOENT: it was removed while we looked */
                return r == -EBADMSG || r == -ENOENT ? 0 : r;

        displace(inventory, id, &record);
        r = 0;
        if (strcmp(record.provider, region->provider->name) == 0) {
                find = find_by_handle(inventory, record.handle);
                if (!find && strcmp(record.region, region->name) == 0)
                        r = add_absent(inventory, &find);
                if (find && find->record)
                        log_error("there are two records of what allocation %s is made of: that of %s is left alone",
                                  find->id, id);
                else if (find) {
                        (void) snprintf(find->id, sizeof(find->id), "%.16s", id);
                        r = record_format(&record, &find->record);
                }
        }
        record_done(&record);
        return r;
}

static int attach_records(const Region *region, int records_dir, Inventory *inventory) {
        _cleanup_closedir_ DIR *dir = NULL;
        struct dirent *entry;
        int r;

        r = directory_read(records_dir, &dir);
        if (r < 0)
                return r;

        while (r >= 0 && (errno = 0, entry = readdir(dir)))
                if (is_id(entry->d_name))
                        r = attach_record(region, records_dir, entry->d_name, inventory);
        return r >= 0 && errno > 0 ? -errno : r;
}

int inventory_read(Region *region, int records_dir, Inventory *ret, Failure *failure) {
        Inventory inventory = { 0 };
        int r;

        r = region->provider->list(region, &inventory, failure);
        if (r >= 0 && !region->provider->write_record) {
                r = records_dir < 0 ? -ENOENT : attach_records(region, records_dir, &inventory);
                if (r < 0)
                        (void) failure_set_errno(failure, r, "cannot read the records below STATE_DIRECTORY");
        }
        if (r < 0) {
                inventory_done(&inventory);
                return r;
        }

        *ret = inventory;
        return 0;
}
