/* SPDX-License-Identifier: MIT */

/* The manager ties the objects together and owns them. It decides whether a request can be met; how it is met is the
 * allocation's business. Nothing here knows of the bus. */

#include "manager.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "capacity.h"
#include "cleanup.h"
#include "fd-store.h"
#include "log.h"
#include "regions.h"
#include "reserve.h"
#include "warming.h"

/* How long a stopping broker waits for what its worker threads are doing. */
#define DRAIN_USEC (5 * UINT64_C(1000000))

/* How long changes of a region are gathered before they are told. */
#define ANNOUNCE_USEC (50 * UINT64_C(1000))

/* No user has this uid, so nobody's jobs are in its way. */
#define LANE_RELOAD ((uid_t) -1)

Region *manager_find_region(const Manager *manager, const char *name) {
        Region *region;

        DL_FOREACH(manager->regions, region)
                if (strcmp(region->name, name) == 0)
                        return region;

        return NULL;
}

Allocation *manager_find_allocation(const Manager *manager, const char *id) {
        Allocation *allocation;

        HASH_FIND(by_id, manager->by_id, id, strlen(id), allocation);
        return allocation;
}

Allocation *manager_find_allocation_by_name(const Manager *manager, const char *name) {
        Allocation *allocation;

        HASH_FIND(by_name, manager->by_name, name, strlen(name), allocation);
        return allocation;
}

int manager_make_id(const Manager *manager, char ret[static 17]) {
        uint64_t number;

        do {
                if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
                        return -EAGAIN;
                (void) snprintf(ret, 17, "%016" PRIx64, number);
        } while (manager_find_allocation(manager, ret) || manager_find_grant(manager, ret));

        return 0;
}

int manager_admit_name(const Manager *manager, const char *name, Failure *failure) {
        Allocation *claimant;

        HASH_FIND(by_claim, manager->by_claim, name, strlen(name), claimant);
        if (!claimant && !manager_find_allocation_by_name(manager, name))
                return 0;

        return failure_set(failure, REFUSAL_NameExists, "there is an allocation named '%s'; choose another name, or open it",
                           name);
}

/* The smallest that this user has had before, that is kept for him, and that will do for this; exactly as long as it, or
 * longer. What was taken from a grant is that grant's. */
static Allocation *manager_find_retained(const Manager *manager, const Region *region, const Piece *plan,
                                         const Grant *grant, uid_t uid, bool exactly) {
        Allocation *allocation, *best = NULL;

        if (region->reason || region->quarantined == 0)
                return NULL;

        DL_FOREACH2(manager->draining, allocation, drain_next) {
                const Piece *piece = &allocation->piece;

                if (allocation->owner != uid || allocation->reservation.region != region ||
                    allocation->grant != grant || !allocation_is_retained(allocation) ||
                    piece->page_size != plan->page_size || (plan->contiguous && piece->n_ranges > 1) ||
                    piece->length < plan->length || (exactly && piece->length != plan->length))
                        continue;
                if (!best || piece->length < best->piece.length)
                        best = allocation;
        }

        return best;
}

/* Whether the broker itself can keep one more. */
static int admit_one_more(const Manager *manager, Failure *failure) {
        uint64_t n = manager->n_allocations + HASH_COUNT(manager->grants);

        if (n < manager->max_allocations &&
            (!getenv("NOTIFY_SOCKET") || manager->n_stored + FD_STORE_OTHERS + 2 <= FD_STORE_MAX)) /* a device has two */
                return 0;
        return failure_set(failure, REFUSAL_NoResources,
                           "the broker keeps as many allocations as it can, %" PRIu64
                           "; free one, or see LimitNOFILE= in daxbroker.conf(5)", n);
}

static int admit_bytes(const Manager *manager, const Region *region, const Piece *plan, const User *user,
                       const gid_t *groups, size_t n_groups, Failure *failure) {
        int r;

        r = quota_admit(manager->config->quotas, user, groups, n_groups, plan->length, failure);
        if (r >= 0)
                r = region_admit(region, plan->length, failure);
        if (r >= 0 && region->provider->fits)
                r = region->provider->fits(region, plan, failure);
        return r;
}

int manager_admit(const Manager *manager, const Region *region, const Request *request, const Piece *plan,
                  const Grant *grant, const User *user, const gid_t *groups, size_t n_groups, Allocation **ret_retained,
                  Failure *failure) {
        int r;

        *ret_retained = NULL;
        if (request->name) {
                r = manager_admit_name(manager, request->name, failure);
                if (r < 0)
                        return r;
        }

        *ret_retained = manager_find_retained(manager, region, plan, grant, user->uid, true);
        if (*ret_retained)
                return 0;

        if (grant) {
                r = quota_admit_count(manager->config->quotas, user, groups, n_groups, failure);
                if (r >= 0)
                        r = grant_admit(grant, plan, failure);
        } else
                r = admit_bytes(manager, region, plan, user, groups, n_groups, failure);
        if (r < 0) {
                if (failure->refusal == REFUSAL_NoSpace || failure->refusal == REFUSAL_QuotaExceeded)
                        *ret_retained = manager_find_retained(manager, region, plan, grant, user->uid, false);
                return *ret_retained ? 0 : r;
        }

        return admit_one_more(manager, failure);
}

int manager_admit_grant(const Manager *manager, const Region *region, const Piece *plan, const User *user,
                        const gid_t *groups, size_t n_groups, Failure *failure) {
        int r;

        if (!region->provider->grants)
                return failure_set(failure, REFUSAL_NotSupported,
                                   "nothing can be promised of region '%s' (%s): where its parts lie is the kernel's choice",
                                   region->name, region->provider->name);

        r = admit_bytes(manager, region, plan, user, groups, n_groups, failure);
        return r < 0 ? r : admit_one_more(manager, failure);
}

bool manager_is_settling(const Manager *manager, const Region *region, const Request *request, const Piece *plan,
                         const Grant *grant, const User *user, Refusal refusal) {
        const Allocation *twin;

        switch (refusal) {
        case REFUSAL_NameExists:
                twin = manager_find_allocation_by_name(manager, request->name);
                return twin && twin->state == ALLOCATION_REVOKING && !twin->end_late;
        case REFUSAL_QuotaExceeded:
                return user->n_ending > 0 || lease_watch_is_behind(manager->leases);
        case REFUSAL_NoSpace:
                if (lease_watch_is_behind(manager->leases))
                        return true;
                if (grant)
                        return grant_is_settling(grant, plan);
                if (region->replenishing && region->provider->is_stale)
                        return true;
                return region->ending > 0 && region->used - region->ending <= region->size &&
                       region->size - (region->used - region->ending) >= plan->length;
        default:
                return false;
        }
}

static int on_settle(sd_event_source *source, void *userdata) {
        Manager *manager = userdata;
        Region *region;

        (void) source;
        waiters_wake(&manager->waiting_for_space);
        DL_FOREACH(manager->regions, region)
                warming_tend(manager, region);
        return 0;
}

static int on_announce(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *manager = userdata;
        Region *region;

        (void) source;
        (void) usec;
        DL_FOREACH(manager->regions, region) {
                if (region->changed && manager->observer)
                        manager->observer->region_changed(region, manager->observer->userdata);
                region->changed = false;
        }

        return 0;
}

void manager_settle(Manager *manager) {
        int announcing = SD_EVENT_OFF;

        (void) sd_event_source_set_enabled(manager->settle, SD_EVENT_ONESHOT);
        (void) sd_event_source_get_enabled(manager->announce, &announcing);
        if (announcing == SD_EVENT_OFF) {
                (void) sd_event_source_set_time_relative(manager->announce, ANNOUNCE_USEC);
                (void) sd_event_source_set_enabled(manager->announce, SD_EVENT_ONESHOT);
        }
}

/* ---- Configuration ---- */

int manager_get_nodes(Manager *manager, NodeWatch **ret) {
        int r;

        if (!manager->nodes) {
                r = node_watch_new(manager->event, -EBADF, &manager->nodes);
                if (r < 0)
                        return r;
                if (fd_store_push(FD_STORE_WATCH, node_watch_fd(manager->nodes)) < 0)
                        log_warning("cannot give the watch over device nodes to the service manager");
        }
        if (!manager->marks) {
                r = end_marks_new(&manager->marks);
                if (r < 0 && r != -ENOTCONN)
                        log_warning("a later broker may not be able to tell who has let go of memory: %s", strerror(-r));
        }

        *ret = manager->nodes;
        return 0;
}

int manager_start(Manager *manager) {
        Region *region;
        int r;

        r = discovery_new(manager->event, manager->pool, TAKE_FD(manager->uevents), regions_on_discovered, manager,
                          &manager->discovery);
        if (r < 0)
                return r;

        manager->started = true;
        capacity_check(manager);
        DL_FOREACH(manager->regions, region)
                region->recovered = true;
        r = regions_watch_mounts(manager);
        if (r < 0)
                log_warning("cannot watch mounts: %s; file systems that come or go are only seen at a reload", strerror(-r));
        regions_apply_found(manager);
        discovery_scan(manager->discovery); /* what came or went since the first look */
        return 0;
}

void manager_judge_again(Manager *manager) {
        Allocation *allocation, *next;

        DL_FOREACH_SAFE2(manager->draining, allocation, next, drain_next)
                allocation_judge_now(allocation);
}

static int reload_work(Job *job) {
        Manager *manager = (Manager *) (void *) ((char *) job - offsetof(Manager, reload_job));

        return config_load(&manager->reloaded);
}

static void reload_start(Manager *manager);

static void reload_done(Job *job, int r) {
        Manager *manager = (Manager *) (void *) ((char *) job - offsetof(Manager, reload_job));
        Config *config = TAKE_PTR(manager->reloaded);

        manager->reloading = false;
        if (r >= 0) {
                if (config->filter != manager->config->filter)
                        log_warning("SystemCallFilter= has changed; that takes a restart");
                r = regions_configure(manager, config);
                config_free(manager->config);
                manager->config = config;
                capacity_check(manager);
                manager_judge_again(manager);
                if (manager->observer)
                        manager->observer->config_changed(manager->observer->userdata);
                manager_settle(manager);
        }
        if (r < 0)
                log_error("the configuration was not wholly applied: %s", strerror(-r));
        else
                log_notice("configuration loaded");

        waiters_wake(&manager->waiting_for_reload);
        if (manager->reload_again)
                reload_start(manager);
}

static void reload_start(Manager *manager) {
        manager->reloading = true;
        manager->reload_again = false;
        while (manager->waiting_for_next_reload) {
                Waiter *waiter = manager->waiting_for_next_reload;

                waiter_remove(waiter);
                waiter_add(&manager->waiting_for_reload, waiter);
        }
        manager->reload_job = (Job){ .work = reload_work, .done = reload_done };
        worker_pool_submit(manager->pool, &manager->reload_job, LANE_RELOAD);
}

void manager_reload(Manager *manager, Waiter *waiter) {
        /* One that is running may have read files that have changed since. */
        if (waiter)
                waiter_add(&manager->waiting_for_next_reload, waiter);
        if (manager->reloading)
                manager->reload_again = true;
        else
                reload_start(manager);
}

/* ---- Construction ---- */

static int open_directory(int parent, const char *path, int *ret) {
        int fd;

        if (mkdirat(parent, path, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;

        *ret = fd;
        return 0;
}

/* Without one there is nothing that outlives the machine's power, and needs a record there. */
static int open_lasting_directory(Manager *manager) {
        const char *path = getenv("STATE_DIRECTORY");
        _cleanup_close_ int state = -EBADF;
        int r;

        if (!path || path[0] != '/')
                return 0;

        state = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = state < 0 ? -errno : open_directory(state, "allocations", &manager->lasting_dir);
        if (r < 0)
                log_error("cannot open the directory 'allocations' below %s: %s; no region can be used that needs it", path,
                          strerror(-r));
        return 0;
}

static int open_directories(Manager *manager) {
        const char *path = getenv("RUNTIME_DIRECTORY");
        _cleanup_close_ int runtime = -EBADF;
        int r;

        if (!path || path[0] != '/') {
                log_error("RUNTIME_DIRECTORY is not set to an absolute path; the unit's RuntimeDirectory= does that");
                return -EINVAL;
        }

        runtime = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = runtime < 0 ? -errno : open_directory(runtime, "leases", &manager->leases_dir);
        if (r >= 0)
                r = open_directory(runtime, "grants", &manager->grants_dir);
        if (r >= 0)
                r = open_directory(runtime, "devices", &manager->devices_dir);
        if (r < 0) {
                log_error("cannot open the directories below %s: %s", path, strerror(-r));
                return r;
        }

        if (flock(manager->leases_dir, LOCK_EX | LOCK_NB) < 0) {
                r = -errno;
                log_error("cannot have %s for ourselves: %s", path,
                          r == -EWOULDBLOCK ? "another broker works there" : strerror(-r));
                return r;
        }
        r = record_file_new(runtime, "allocations", &manager->records);
        if (r < 0) {
                log_error("cannot use the file 'allocations' below %s: %s", path, strerror(-r));
                return r;
        }
        return open_lasting_directory(manager);
}

/* Of what he has, it may no longer be his. */
static void on_renamed(User *user, void *userdata) {
        Manager *manager = userdata;
        Allocation *allocation, *next;

        HASH_ITER(by_id, manager->by_id, allocation, next)
                if (allocation->charge.user == user)
                        allocation_notify(allocation, "OwnerName");
}

int manager_new(sd_event *event, Config *config, Manager **ret) {
        Manager *manager;
        int r;

        manager = calloc(1, sizeof(*manager));
        if (!manager)
                return -ENOMEM;

        manager->leases_dir = manager->devices_dir = manager->uevents = -EBADF;
        manager->grants_dir = manager->lasting_dir = manager->listener = -EBADF;
        manager->event = sd_event_ref(event);
        manager->max_allocations = capacity_raise();

        r = worker_pool_new(event, &manager->pool);
        if (r < 0)
                goto fail;
        manager->users = (UserTable){ .event = event, .pool = manager->pool, .renamed = on_renamed, .userdata = manager };
        r = lease_watch_new(event, &manager->leases);
        if (r >= 0)
                r = sd_event_add_defer(event, &manager->settle, on_settle, manager);
        if (r < 0)
                goto fail;
        r = sd_event_add_time_relative(event, &manager->announce, CLOCK_MONOTONIC, ANNOUNCE_USEC, 0, on_announce, manager);
        if (r < 0)
                goto fail;
        r = sd_event_add_time_relative(event, &manager->prepare_again, CLOCK_MONOTONIC, 0, 0, regions_on_prepare_again,
                                       manager);
        if (r >= 0)
                r = sd_event_source_set_enabled(manager->prepare_again, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &manager->patience, CLOCK_MONOTONIC, REGIONS_PATIENCE_USEC, 0,
                                               regions_on_patience, manager);
        if (r < 0)
                goto fail;
        r = open_directories(manager);
        if (r < 0)
                goto fail;
        r = dax_scan(&manager->dax);
        if (r < 0)
                log_warning("cannot look for dax regions: %s", strerror(-r));
        r = regions_configure(manager, config);
        if (r < 0)
                goto fail;

        manager->config = config;
        *ret = manager;
        return 0;

fail:
        if (!manager->pool || worker_pool_drain(manager->pool, DRAIN_USEC))
                manager_free(manager);
        return r;
}

bool manager_drain(Manager *manager) {
        Region *region;

        DL_FOREACH(manager->regions, region)
                if (region->provider && region->provider->hurry)
                        region->provider->hurry(region);
        warming_drain(manager);
        if (worker_pool_drain(manager->pool, DRAIN_USEC)) {
                DL_FOREACH(manager->regions, region)
                        if (region->provider && region->provider->rest)
                                region->provider->rest(region);
                return true;
        }

        log_warning("something is still being done that cannot be waited for; the next broker will finish it");
        /* a thread that hangs in the kernel keeps our descriptors, and would keep the next broker out */
        (void) flock(manager->leases_dir, LOCK_UN);
        return false;
}

Manager *manager_free(Manager *manager) {
        Allocation *allocation, *next_allocation;
        Region *region, *next_region;

        if (!manager)
                return NULL;

        HASH_ITER(by_id, manager->by_id, allocation, next_allocation) {
                HASH_DELETE(by_id, manager->by_id, allocation);
                if (allocation->name)
                        HASH_DELETE(by_name, manager->by_name, allocation);
                allocation_free(allocation);
        }
        grants_free(manager);
        warming_free(manager);
        DL_FOREACH_SAFE(manager->regions, region, next_region)
                region_free(region);
        assert(!manager->users.users);
        discovery_free(manager->discovery);
        dax_regions_free(manager->dax);
        reserves_free(manager);
        lease_watch_free(manager->leases);
        node_watch_free(manager->nodes);
        end_marks_free(manager->marks);

        sd_event_source_disable_unref(manager->settle);
        sd_event_source_disable_unref(manager->announce);
        sd_event_source_disable_unref(manager->prepare_again);
        sd_event_source_disable_unref(manager->patience);
        sd_event_source_disable_unref(manager->mounts);
        worker_pool_free(manager->pool);
        safe_close(manager->leases_dir);
        record_file_free(manager->records);
        safe_close(manager->grants_dir);
        safe_close(manager->devices_dir);
        safe_close(manager->lasting_dir);
        safe_close(manager->uevents);
        safe_close(manager->listener);
        config_free(manager->config);
        config_free(manager->reloaded);
        sd_event_unref(manager->event);
        free(manager);
        return NULL;
}
