/* SPDX-License-Identifier: MIT */

/* A broker can end at any moment. Three things outlive it: the records, the descriptors in the service manager's store,
 * and the leases, whose reading ends the holders have. What each combination means:
 *
 *      record, descriptor, lease     it goes on as if nothing had happened; without holders and name it ends
 *      record, descriptor            the lease was taken away: without a name it ends, with one it gets a new lease
 *      record, lease with holders    they keep their memory, it is counted, and ends with its last holder (detached)
 *      record alone                  it is gone; the record is removed
 *      unreadable record             what there is of it is kept in quarantine until an admin has looked at it
 *      descriptor without record     it was never acknowledged, or had ended: revoked; unless there is a record that does
 *                                    not even say what it is about, for then it may be that
 *      lease without record          the same: removed
 *
 * Where an allocation is more than its descriptor, the record is written before anything else is made, and says how far its
 * life had come (record.h): what was being carved is undone, and an end that had begun goes on.
 *
 * What lies on a medium that outlives the machine's power is found there (intake.c).
 *
 * Nobody else's memory is touched meanwhile: requests are only accepted when this is done. */

#include "recovery.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "intake.h"
#include "listener.h"
#include "log.h"
#include "name.h"
#include "record-file.h"
#include "record.h"
#include "reserve.h"
#include "revival.h"

/* A descriptor that nobody has a record of, on its way out. */
typedef struct Orphan {
        Job job;
        int fd;
        char id[24];
} Orphan;

/* Whether a text begins with an id, and what follows it. */
static bool is_id_and(const char *text, const char *suffix) {
        return strspn(text, "0123456789abcdef") == 16 && strcmp(text + 16, suffix) == 0;
}

static bool has_record(const Manager *manager, const char *id) {
        return record_file_has(manager->records, id) ||
               (manager->lasting_dir >= 0 && faccessat(manager->lasting_dir, id, F_OK, 0) >= 0);
}

static int orphan_work(Job *job) {
        Orphan *orphan = (Orphan *) job;
        struct stat st;

        /* a device is revoked by what its record says; without one, its descriptor is all there is to drop */
        if (fstat(orphan->fd, &st) >= 0 && S_ISREG(st.st_mode) && ftruncate(orphan->fd, 0) < 0)
                return -errno;
        (void) fd_store_remove(orphan->id);
        return 0;
}

static void orphan_done(Job *job, int r) {
        Orphan *orphan = (Orphan *) job;

        if (r < 0)
                log_error("descriptor %s has no record and cannot be revoked: %s", orphan->id, strerror(-r));
        safe_close(orphan->fd);
        free(orphan);
}

int recovery_region(Manager *manager, const char *name, const Provider *provider, Region **ret) {
        Region *region;
        int r;

        region = manager_find_region(manager, name);
        if (!region) {
                r = region_new_unconfigured(name, provider, manager->devices_dir, &region);
                if (r < 0)
                        return r;
                DL_APPEND(manager->regions, region);
        } else if (!region->provider)
                region->provider = provider;
        else if (region->provider != provider) {
                region_disable(region, "it has allocations of another provider, from before the configuration was changed");
                region->provider = provider;
        }

        *ret = region;
        return 0;
}

void recovery_remove_traces_but_record(Manager *manager, const char *id) {
        char name[32];

        (void) snprintf(name, sizeof(name), "%.16s" FD_STORE_READ_ONLY, id);
        (void) fd_store_remove(name);
        (void) fd_store_remove(id);
        (void) unlinkat(manager->leases_dir, id, 0);
}

void recovery_remove_traces(Manager *manager, const Provider *provider, const char *id) {
        recovery_remove_traces_but_record(manager, id);
        (void) manager_remove_record(manager, provider, id);
}

bool recovery_is_countable(const Manager *manager, uint64_t length) {
        const Region *region;

        DL_FOREACH(manager->regions, region)
                if (__builtin_add_overflow(length, region->used, &length))
                        return false;
        return true;
}

int recovery_link(Recovery *recovery, Allocation *allocation, Region *region) {
        User *user;
        int r;

        r = user_get(&recovery->manager->users, allocation->owner, &user);
        if (r < 0) {
                allocation_free(allocation);
                return r;
        }

        reservation_take(&allocation->reservation, region, allocation->piece.length);
        reservation_set_quarantined(&allocation->reservation, allocation->state == ALLOCATION_QUARANTINED);
        charge_take(&allocation->charge, user, allocation->piece.length);
        user_unref(user);
        allocation_link(allocation);
        if (allocation->state == ALLOCATION_DETACHED || allocation->state == ALLOCATION_QUARANTINED)
                allocation_log_unusable(allocation);
        return allocation->lease.ours >= 0 ? allocation_watch(allocation) : 0;
}

static int allocation_from_record(Manager *manager, const char *id, Record *record, Allocation **ret) {
        Allocation *allocation;

        allocation = allocation_new(manager, id);
        if (!allocation)
                return -ENOMEM;

        allocation->name = TAKE_PTR(record->name);
        allocation->unit = TAKE_PTR(record->unit);
        allocation->owner_name = TAKE_PTR(record->owner_name);
        allocation->reserve = record->reserve;
        allocation->owner = record->owner;
        allocation->group = record->group;
        allocation->mode = record->mode;
        allocation->pid = (pid_t) record->pid;
        allocation->persistent = record->persistent;
        allocation->shared = record->shared;
        allocation->read_only = record->read_only;
        allocation->marked = record->marks && manager->marks &&
                             strcmp(record->marks, end_marks_name(manager->marks)) == 0;
        allocation->created = record->created;
        (void) snprintf(allocation->grant_id, sizeof(allocation->grant_id), "%.16s", record->grant ? record->grant : "");
        allocation->piece.offset = record->offset;
        allocation->piece.length = record->length;
        allocation->piece.alignment = record->alignment;
        allocation->piece.page_size = record->page_size;
        allocation->piece.handle = TAKE_PTR(record->handle);
        *ret = allocation;
        return 0;
}

int recovery_make(Manager *manager, const char *id, const Record *record, Allocation **ret) {
        _cleanup_free_ char *text = NULL;
        const char *problem = "";
        Record copy = { 0 };
        int r;

        r = record_format(record, &text);
        if (r >= 0)
                r = record_parse(text, &copy, &problem);
        if (r >= 0)
                r = allocation_from_record(manager, id, &copy, ret);
        record_done(&copy);
        return r;
}

/* The descriptors that the service manager kept of it, for writing and for reading only. */
static void take_stored(Recovery *recovery, const char *id, int ret[static 2]) {
        char name[32];

        (void) snprintf(name, sizeof(name), "%.16s" FD_STORE_READ_ONLY, id);
        ret[0] = fd_store_find(recovery->store, id);
        ret[1] = fd_store_find(recovery->store, name);
}

static void allocation_set_unusable(Recovery *recovery, Allocation *allocation, AllocationState state, const char *reason) {
        free(allocation->reason);
        allocation->reason = strdup(reason);
        allocation->state = state;
        if (state == ALLOCATION_DETACHED)
                recovery->n_detached++;
        else
                recovery->n_quarantined++;
}

/* How it stands with an allocation whose record is good, and says that it was alive. */
static int recover_state(Recovery *recovery, Allocation *allocation) {
        Failure failure = { 0 };
        int fds[2], r;

        take_stored(recovery, allocation->id, fds);
        r = allocation->provider->recover ? allocation->provider->recover(&allocation->piece, fds, &failure) : 0;
        safe_close(fds[0]);
        safe_close(fds[1]);
        if (r >= 0) {
                allocation_store_reopened(allocation);
                allocation->state = ALLOCATION_LIVE;
                log_debug("found allocation %s of user %u again", allocation->id, (unsigned) allocation->owner);
                recovery->n_live++;
                return 0;
        }

        if (r == -EUCLEAN) {
                allocation_set_unusable(recovery, allocation, ALLOCATION_QUARANTINED, failure.text);
                return 0;
        }
        if (r == -ESTALE || (!lease_has_holders(&allocation->lease) && !allocation->provider->drains)) {
                if (r != -ESTALE && allocation->name)
                        log_warning("allocation '%s' (%s) is lost: %s", allocation->name, allocation->id, failure.text);
                return -ESTALE;
        }

        allocation_set_unusable(recovery, allocation, ALLOCATION_DETACHED, failure.text);
        return 0;
}

/* Its node tells when its holders have let go. Where its device is not there any more, they have nothing. */
static int recover_node(Allocation *allocation) {
        Node *node = &allocation->node;
        char path[64];
        int r;

        if (!allocation->provider->drains || !allocation->piece.state)
                return 0;

        r = allocation->piece.fd < 0 ? allocation->provider->node(&allocation->piece, path, sizeof(path)) : 0;
        if (r == -ENOENT) {
                allocation->untouched = true;
                return 0;
        }
        if (r >= 0)
                r = allocation_watch_node(allocation, allocation->piece.fd < 0 ? path : NULL);
        /* we have no copies of what it had */
        node->letting_go = allocation->piece.fd < 0;
        /* what is read of the watch again, from now on, comes on top of what the marks say */
        if (r >= 0 && allocation->marked && end_marks_look(allocation->manager->marks, path, &node->writer_gone,
                                                           &node->reader_gone) < 0)
                node->doubtful = true;
        if (r < 0)
                log_warning("cannot watch who has allocation %s: %s", allocation->id, strerror(-r));
        return r == -ENOMEM ? r : 0;
}

/* Nobody can tell whose it was, so nobody gets it; what there is of it stays until an admin frees it. */
static int recover_unreadable(Recovery *recovery, const char *id, const char *problem) {
        Manager *manager = recovery->manager;
        Allocation *allocation;
        Region *region = NULL, *candidate;
        struct stat st;
        int fd;

        log_error("the record of allocation %s cannot be used: %s", id, problem);

        DL_FOREACH(manager->regions, candidate)
                if (candidate->provider && candidate->provider->stores_fd && !candidate->provider->drains && !region)
                        region = candidate;
        fd = fd_store_find(recovery->store, id);
        if (fd >= 0 && fstat(fd, &st) >= 0 && !S_ISREG(st.st_mode)) {
                log_error("the device of allocation %s is left alone, and with it its record and its descriptor", id);
                safe_close(fd);
                return 0;
        }
        if (fd < 0 || !region || fstat(fd, &st) < 0 || st.st_size <= 0) {
                safe_close(fd);
                recovery_remove_traces(manager, NULL, id);
                return 0;
        }

        allocation = allocation_new(manager, id);
        if (!allocation) {
                safe_close(fd);
                return -ENOMEM;
        }

        allocation->provider = region->provider;
        allocation->owner = (uid_t) -1;
        allocation->mode = 0;
        allocation->state = ALLOCATION_QUARANTINED;
        allocation->reason = strdup("its record cannot be read, so nobody can tell whose it is");
        allocation->piece.fd = fd;
        allocation->piece.length = (uint64_t) st.st_size;
        allocation->piece.alignment = allocation->piece.page_size = 1;
        (void) lease_recover(&allocation->lease, manager->leases_dir, id);
        recovery->n_quarantined++;
        return recovery_link(recovery, allocation, region);
}

/* Whether it may be what a damaged record is about. What was revoked is about nothing any more. */
static bool is_doubtful(const Recovery *recovery, int fd) {
        struct stat st;

        return record_file_is_damaged(recovery->manager->records) &&
               !(fstat(fd, &st) >= 0 && S_ISREG(st.st_mode) && st.st_size == 0);
}

/* It is treated as if its record could not be read, but for that it does not say so. */
static int recover_doubtful(Recovery *recovery, const StoredFd *stored, const char *id) {
        struct stat st;

        if (fstat(stored->fd, &st) >= 0 && S_ISREG(st.st_mode))
                return recover_unreadable(recovery, id, "it may be a damaged one, which does not say what it is about");

        log_error("the descriptor of device %s stays with the service manager, as a record is damaged that may be its",
                  stored->name);
        return 0;
}

static int recover_orphans(Recovery *recovery) {
        unsigned n_doubtful = 0;
        StoredFd *stored, *next;
        int r;

        HASH_ITER(hh, recovery->store, stored, next) {
                Orphan *orphan;
                char id[17];

                if (stored->fd < 0)
                        continue;

                if (!is_id(stored->name) && !is_id_and(stored->name, FD_STORE_READ_ONLY)) {
                        log_warning("the descriptor '%s' that was kept for us is none of ours, closed", stored->name);
                        (void) fd_store_remove(stored->name);
                        continue;
                }

                (void) snprintf(id, sizeof(id), "%.16s", stored->name);
                if (has_record(recovery->manager, id)) {
                        log_warning("the descriptor of allocation %s stays with the service manager, since %s", stored->name,
                                    manager_find_allocation(recovery->manager, id) ? "that is quarantined"
                                                                                   : "its record cannot be used");
                        continue;
                }

                if (is_doubtful(recovery, stored->fd)) {
                        r = recover_doubtful(recovery, stored, id);
                        if (r < 0)
                                return r;
                        n_doubtful++;
                        continue;
                }

                orphan = calloc(1, sizeof(*orphan));
                if (!orphan)
                        return -ENOMEM;
                orphan->fd = TAKE_FD(stored->fd);
                orphan->job = (Job){ .work = orphan_work, .done = orphan_done };
                (void) snprintf(orphan->id, sizeof(orphan->id), "%s", stored->name);
                /* a lane for each, for nobody knows whose it was, and one may hang */
                worker_pool_submit(recovery->manager->pool, &orphan->job,
                                   (uid_t) (UINT32_C(0x80000000) + recovery->n_orphans));
                recovery->n_orphans++;
        }

        /* what it was about is no more */
        return n_doubtful > 0 ? 0 : record_file_mend(recovery->manager->records);
}

static int recover_live(Recovery *recovery, Allocation *allocation) {
        Manager *manager = recovery->manager;
        int r;

        /* of what is found on a medium: leases live as long as the machine's power */
        if (allocation->provider->list && faccessat(manager->leases_dir, allocation->id, F_OK, 0) < 0) {
                allocation->piece.unheld = true;
                if (!allocation->persistent) {
                        recovery->n_ending++;
                        return 0;
                }
        }

        r = allocation_recover_lease(allocation);
        if (r < 0)
                return r;

        allocation->in_use = r > 0;
        return recover_state(recovery, allocation);
}

/* Its name is another's by now. On a medium that is nothing strange: it came late, or from elsewhere. Then it can be had
 * without one, and whoever took its name has taken nothing else. */
static void recover_without_name(Recovery *recovery, Allocation *allocation, RecordStage stage) {
        char reason[DAXBROKER_NAME_MAX + 128];

        (void) snprintf(reason, sizeof(reason), "its name '%s' is another allocation's; Rename gives it a new one",
                        allocation->name);
        /* whatever else is changed of it, its record keeps the name, which may be free when it is found again */
        allocation->name_on_record = TAKE_PTR(allocation->name);
        if (stage != RECORD_LIVE)
                return;
        if (!allocation->provider->list || !allocation->persistent || allocation->state != ALLOCATION_LIVE) {
                allocation_set_unusable(recovery, allocation, ALLOCATION_QUARANTINED, reason);
                return;
        }

        log_warning("allocation %s of user %u: %s", allocation->id, (unsigned) allocation->owner, reason);
        free(allocation->reason);
        allocation->reason = strdup(reason);
}

int recovery_allocation(Recovery *recovery, const char *id, Record *record) {
        const Provider *provider = provider_find(record->provider);
        Manager *manager = recovery->manager;
        Failure failure = { 0 };
        Allocation *allocation;
        bool unheld_ends;
        Grant *grant;
        int fds[2], r;
        Region *region;

        if (!provider) {
                log_error("allocation %s was made by provider '%s', which this broker does not have: left alone", id,
                          record->provider);
                return 0;
        }
        r = recovery_region(manager, record->region, provider, &region);
        if (r < 0)
                return r;
        if (!recovery_is_countable(manager, record->length))
                return recover_unreadable(recovery, id, "with the others, its length is more than there can be");

        r = allocation_from_record(manager, id, record, &allocation);
        if (r < 0)
                return r;
        allocation->provider = provider;
        if (!provider->write_record)
                reserve_recover(allocation, record);
        grant = grant_find_origin(manager, allocation, region);
        if (grant)
                allocation->piece.hold = grant->hold;

        if (provider->claim && provider->claim(region, &allocation->piece, &failure) < 0) {
                allocation->piece.hold = NULL; /* it has nothing of it */
                allocation_set_unusable(recovery, allocation, ALLOCATION_QUARANTINED, failure.text);
        } else if (record->stage == RECORD_LIVE || !provider->drains) {
                r = recover_live(recovery, allocation);
                if (r == -ESTALE) {
                        allocation_free(allocation);
                        recovery_remove_traces(manager, provider, id);
                        recovery->n_gone++;
                        return 0;
                }
        } else
                recovery->n_ending++;
        /* it was on its way to a holder, or had one, before the machine was started anew */
        unheld_ends = allocation->piece.unheld && !allocation->persistent && allocation->state == ALLOCATION_CARVING;
        if (r >= 0 && !unheld_ends)
                r = recover_node(allocation);
        if (r < 0) {
                /* what the service manager keeps, it keeps for the next try */
                allocation_free(allocation);
                return r;
        }

        if (allocation->name && manager_find_allocation_by_name(manager, allocation->name))
                recover_without_name(recovery, allocation, record->stage);

        r = recovery_link(recovery, allocation, region);
        if (r >= 0 && grant && (!provider->claim || allocation->piece.state))
                grant_take(grant, allocation);
        if (r >= 0 && unheld_ends) {
                allocation->end_cause = "the machine was started anew";
                return allocation_resume_end(allocation, RECORD_CARVING);
        }
        /* it may have come from elsewhere, where it lay otherwise */
        if (r >= 0 && record->stage == RECORD_LIVE && allocation->piece.page_size > region->granularity)
                allocation_inspect(allocation);
        if (r < 0 || record->stage == RECORD_LIVE || allocation->state == ALLOCATION_QUARANTINED)
                return r;

        if (!provider->drains)
                return allocation->state == ALLOCATION_LIVE
                               ? allocation_end(allocation, "it was ending when the broker stopped", NULL, NULL, NULL)
                               : 0;

        /* we were stopped between saying that it ends and letting go of them */
        allocation_unstore_fds(allocation);
        take_stored(recovery, id, fds);
        safe_close(fds[0]);
        safe_close(fds[1]);
        (void) unlinkat(manager->leases_dir, id, 0);
        return allocation_resume_end(allocation, record->stage);
}

static int recover_record(const char *id, const char *text, void *userdata) {
        Recovery *recovery = userdata;
        const char *problem = NULL;
        Record record = { 0 };
        int r;

        r = record_parse(text, &record, &problem);
        if (r == -EBADMSG)
                return recover_unreadable(recovery, id, problem);
        if (r < 0)
                return r;

        r = recovery_allocation(recovery, id, &record);
        record_done(&record);
        return r;
}

/* Calls handle for each entry of a directory. */
static int each_entry(int dir_fd, int (*handle)(Recovery *, const char *), Recovery *recovery) {
        _cleanup_closedir_ DIR *dir = NULL;
        struct dirent *entry;
        int r;

        r = directory_read(dir_fd, &dir);
        if (r < 0)
                return r;

        while (r >= 0 && (entry = readdir(dir)))
                if (entry->d_name[0] != '.')
                        r = handle(recovery, entry->d_name);
        return r;
}

static int handle_grant_entry(Recovery *recovery, const char *name) {
        int r;

        if (!is_id(name)) {
                (void) unlinkat(recovery->manager->grants_dir, name, 0); /* somebody died writing it */
                return 0;
        }

        r = grant_recover(recovery->manager, name);
        if (r >= 0 && manager_find_grant(recovery->manager, name))
                recovery->n_grants++;
        if (r < 0)
                log_error("grant %s cannot be found again: %s", name, strerror(-r));
        return r;
}

static int handle_lease_entry(Recovery *recovery, const char *name) {
        if (!recovery->unlisted && !record_file_is_damaged(recovery->manager->records) &&
            !manager_find_allocation(recovery->manager, name) && !manager_find_grant(recovery->manager, name) &&
            !has_record(recovery->manager, name))
                (void) unlinkat(recovery->manager->leases_dir, name, 0);
        return 0;
}

/* The watch over device nodes goes on with what has happened meanwhile in its queue. */
static int recover_watch(Recovery *recovery) {
        Manager *manager = recovery->manager;
        int fd = fd_store_find(recovery->store, FD_STORE_WATCH), r;

        r = fd >= 0 ? node_watch_new(manager->event, fd, &manager->nodes) : 0;
        if (r < 0) {
                safe_close(fd);
                return r;
        }

        r = end_marks_recover(recovery->store, &manager->marks);
        return r == -ENOENT ? 0 : r;
}

int recovery_run(Manager *manager) {
        Recovery recovery = { .manager = manager };
        int r;

        r = fd_store_take(&recovery.store);
        if (r < 0) {
                log_error("cannot take over the descriptors of the service manager: %s", strerror(-r));
                return r;
        }

        manager->uevents = fd_store_find(recovery.store, DISCOVERY_SOCKET);
        manager->listener = fd_store_find(recovery.store, LISTENER_SOCKET);
        r = recover_watch(&recovery);
        if (r >= 0) /* before what was taken from them */
                r = each_entry(manager->grants_dir, handle_grant_entry, &recovery);
        if (r >= 0)
                r = record_file_each(manager->records, recover_record, &recovery);
        if (r >= 0)
                r = intake_all(&recovery);
        if (r >= 0)
                r = recover_orphans(&recovery);
        if (r >= 0)
                r = each_entry(manager->leases_dir, handle_lease_entry, &recovery);
        recovery.store = fd_store_free(recovery.store);
        if (r >= 0)
                r = reserves_read(manager);
        if (r < 0) {
                log_error("cannot find again what was handed out earlier: %s", strerror(-r));
                return r;
        }

        if (recovery.n_live + recovery.n_ending + recovery.n_detached + recovery.n_quarantined + recovery.n_gone +
                    recovery.n_orphans >
            0)
                log_notice("allocations found again: %u; also %u ending, %u detached, %u quarantined, %u ended, %u never "
                           "handed out",
                           recovery.n_live, recovery.n_ending, recovery.n_detached, recovery.n_quarantined, recovery.n_gone,
                           recovery.n_orphans);
        if (recovery.n_grants > 0)
                log_notice("grants found again: %u", recovery.n_grants);
        return 0;
}
