/* SPDX-License-Identifier: MIT */

/* Which regions there are: those that the configuration names, and those that the kernel shows and no section is about. Both
 * can change while the broker runs; a region that is gone stays listed, and keeps the account of what was carved from it. */

#include "regions.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "cleanup.h"
#include "intake.h"
#include "inventory.h"
#include "log.h"
#include "loss.h"
#include "reserve.h"
#include "warming.h"

/* How long after a try to prepare a region has failed there is another one: at first it may be just a matter of time, such
 * as that udev takes; later tries come less and less often. */
#define PREPARE_SOON_USEC (2 * UINT64_C(1000000))
#define PREPARE_RARELY_USEC (60 * UINT64_C(1000000))

/* So often mounts are looked at in so much time. */
#define MOUNTS_BURST 4
#define MOUNTS_USEC (UINT64_C(1000) * 1000)

/* No user has these uids, so nobody's jobs are in their way. */
#define LANE_REPLENISH ((uid_t) -2)
#define LANE_LIST ((uid_t) -3)

/* ---- As configured ---- */

static DaxRegion *find_dax(const Manager *manager, const char *name) {
        DaxRegion *dax;

        DL_FOREACH(manager->dax, dax)
                if (strcmp(dax->name, name) == 0 || (dax->alias && strcmp(dax->alias, name) == 0))
                        return dax;

        return NULL;
}

static void list_unlisted(Manager *manager, Region *region, const RegionConfig *config) {
        if (manager->started && region->provider && region->provider->list && config->enabled && !region->listed)
                regions_list(manager, region);
}

static void region_replenish(Manager *manager, Region *region);

/* A PieceHandler. */
static void on_suspicion(Region *region, const char *id, void *userdata) {
        Manager *manager = userdata;
        Allocation *allocation, *next;

        if (!id) {
                regions_replenish(manager, region);
                return;
        }
        if (id[0] != '\0') {
                allocation = manager_find_allocation(manager, id);
                if (allocation && allocation->reservation.region == region)
                        allocation_inspect(allocation);
                return;
        }
        HASH_ITER(by_id, manager->by_id, allocation, next)
                if (allocation->reservation.region == region)
                        allocation_inspect(allocation);
}

static void watch_region(Manager *manager, Region *region) {
        int r;

        r = region->provider && region->provider->watch
                    ? region->provider->watch(region, manager->event, on_suspicion, manager)
                    : 0;
        if (r < 0)
                log_warning("region '%s': cannot watch what holders do to its memory: %s", region->name, strerror(-r));
}

static int configure_region(Manager *manager, const RegionConfig *config) {
        DaxRegion *dax = find_dax(manager, config->source ? config->source : config->name);
        Region *region = manager_find_region(manager, config->name);
        RegionConfig completed = *config;

        /* a section can be about a region that is found anyway */
        if (!config->provider && dax)
                completed.provider = (char *) (uintptr_t) dax->provider;
        else if (!config->provider && region && region->provider && region->provider->discovered)
                completed.provider = (char *) (uintptr_t) region->provider->name;

        if (region) {
                int r;

                region->dax = dax;
                r = region_configure(region, &completed);
                watch_region(manager, region);
                /* what was listed is from before, or not known yet */
                if (region->unlisted[0] == '\0')
                        list_unlisted(manager, region, config);
                return r;
        }

        if (region_new(&completed, dax, manager->devices_dir, &region) < 0)
                return -ENOMEM;
        watch_region(manager, region);
        if (manager->started) {
                region->recovered = true;
                (void) region_configure(region, &completed);
                if (region->provider && region->provider->list && config->enabled)
                        regions_list(manager, region);
        }
        (void) sd_event_source_set_time_relative(manager->patience, REGIONS_PATIENCE_USEC);
        (void) sd_event_source_set_enabled(manager->patience, SD_EVENT_ONESHOT);
        DL_APPEND(manager->regions, region);
        if (manager->observer)
                manager->observer->region_added(region, manager->observer->userdata);
        return 0;
}

static const RegionConfig *config_find_region(const Config *config, const char *name) {
        const RegionConfig *region;

        DL_FOREACH(config->regions, region)
                if (strcmp(region->name, name) == 0)
                        return region;

        return NULL;
}

static bool config_uses_name(const Config *config, const char *name) {
        const RegionConfig *region;

        DL_FOREACH(config->regions, region)
                if (strcmp(region->source ? region->source : region->name, name) == 0)
                        return true;

        return false;
}

static bool config_uses_dax(const Config *config, const DaxRegion *dax) {
        return config_uses_name(config, dax->name) || (dax->alias && config_uses_name(config, dax->alias));
}

/* Those that no section is about, whether they are there or were, as they are by default. */
static int configure_discovered(Manager *manager, const Config *config) {
        const DaxRegion *dax;
        Region *region;
        int r = 0;

        DL_FOREACH(manager->dax, dax) {
                RegionConfig by_default = config_region_default(dax->name);

                by_default.provider = (char *) (uintptr_t) dax->provider;
                if (config->discover_dax && !config_uses_dax(config, dax) &&
                    configure_region(manager, &by_default) < 0)
                        r = -ENOMEM;
        }

        DL_FOREACH(manager->regions, region) {
                if (config_find_region(config, region->name))
                        continue;
                if (!config->discover_dax || !region->provider || !region->provider->discovered ||
                    config_uses_name(config, region->name) || (region->dax && config_uses_dax(config, region->dax))) {
                        region->settled = true; /* what it holds is nothing to wait for */
                        region_disable(region, "it is no longer configured");
                } else if (!find_dax(manager, region->name)) {
                        region->dax = NULL;
                        region->unprepared[0] = '\0'; /* with what comes back it may be otherwise */
                        region->prepared = region->prepare_later = false;
                        region_disable(region, "the kernel has no region of this name any more; it appears by itself "
                                               "when the kernel shows it again");
                        if (region->listed && manager->started)
                                regions_list(manager, region);
                        region->listed = false;
                }
        }

        return r;
}

int regions_configure(Manager *manager, const Config *config) {
        const RegionConfig *region_config;
        Region *region;
        int r = 0;

        DL_FOREACH(config->regions, region_config) {
                if (configure_region(manager, region_config) < 0)
                        r = -ENOMEM;
                /* what could not be read may be readable now */
                region = manager_find_region(manager, region_config->name);
                if (region)
                        list_unlisted(manager, region, region_config);
        }
        if (configure_discovered(manager, config) < 0)
                r = -ENOMEM;
        DL_FOREACH(manager->regions, region) {
                regions_replenish(manager, region);
                if (region->unprepared[0] != '\0') /* it may be possible now */
                        region_replenish(manager, region);
        }

        if (!manager_find_region(manager, config->default_region))
                log_warning("DefaultRegion=%s: there is no such region; requests that name none will fail",
                            config->default_region);
        return r;
}

/* ---- What there is to make regions of ---- */

/* Tells the regions that are made of it what was found. */
void regions_apply_found(Manager *manager) {
        Allocation *allocation;
        const RegionConfig *region_config;
        Region *region;

        DL_FOREACH(manager->config->regions, region_config) {
                const Provider *provider = region_config->provider ? provider_find(region_config->provider) : NULL;

                if (!region_config->provider || (provider && (provider->discovered || provider->list)))
                        (void) configure_region(manager, region_config);
                region = manager_find_region(manager, region_config->name);
                if (region && !region->listing)
                        list_unlisted(manager, region, region_config);
        }
        (void) configure_discovered(manager, manager->config);
        if (manager->started) /* before anybody else can have them */
                reserves_restore(manager);
        DL_FOREACH2(manager->draining, allocation, drain_next)
                allocation_examine(allocation);
        DL_FOREACH(manager->regions, region) {
                RegionConfig by_default = config_region_default(region->name);

                if (region->dax && !region->listing && !config_find_region(manager->config, region->name))
                        list_unlisted(manager, region, &by_default);
        }

        DL_FOREACH(manager->regions, region) {
                regions_replenish(manager, region);
                if (region->dax && region->reason && manager->discovery)
                        discovery_scan_later(manager->discovery);
        }
        manager_settle(manager);
}

void regions_on_discovered(DaxRegion *dax, void *userdata) {
        Manager *manager = userdata;
        DaxRegion *before = manager->dax;
        Region *region;

        manager->dax = dax;
        DL_FOREACH(manager->regions, region)
                region->dax = NULL;
        regions_apply_found(manager);
        losses_find(manager);
        warming_find_losses(manager);
        dax_regions_free(before);
}

int regions_on_patience(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *manager = userdata;
        Region *region;

        (void) source;
        (void) usec;
        DL_FOREACH(manager->regions, region)
                region_expect_no_more(region);
        manager_settle(manager); /* who waits for what might have come need not wait longer */
        return 0;
}

/* ---- Prepared ahead of requests ---- */

static int replenish_work(Job *job) {
        Region *region = (Region *) (void *) ((char *) job - offsetof(Region, replenish));

        return region->provider->replenish(region, &region->replenish_failure);
}

void regions_configure_again(Manager *manager, Region *region) {
        const RegionConfig *config = config_find_region(manager->config, region->name);

        region->configure_again = false;
        if (config)
                (void) configure_region(manager, config);
        else
                (void) configure_discovered(manager, manager->config);
        regions_replenish(manager, region);
        manager_settle(manager);
}

static void prepare_again(Manager *manager) {
        uint64_t pause = manager->prepare_pause * 2;

        if (pause < PREPARE_SOON_USEC)
                pause = PREPARE_SOON_USEC;
        if (pause > PREPARE_RARELY_USEC)
                pause = PREPARE_RARELY_USEC;
        manager->prepare_pause = pause;
        (void) sd_event_source_set_time_relative(manager->prepare_again, pause);
        (void) sd_event_source_set_enabled(manager->prepare_again, SD_EVENT_ONESHOT);
}

static void replenish_done(Job *job, int r) {
        Region *region = (Region *) (void *) ((char *) job - offsetof(Region, replenish));
        Manager *manager = region->replenisher;
        bool again = region->configure_again || (r >= 0 && region->unprepared[0] != '\0');

        region->replenishing = region->prepare_later = false;
        region->unprepared[0] = '\0';
        if (region->provider->replenished) {
                region->provider->replenished(region);
                manager_settle(manager);
        }
        if (region->provider->is_stale)
                regions_replenish(manager, region); /* for what has come meanwhile */
        if (region->prepared && region->provider->is_low && (r == -ENOMEM || r == -EMFILE || r == -ENFILE)) {
                log_warning("region '%s': %s; trying again soon", region->name, region->replenish_failure.text);
                region->prepare_later = true;
                prepare_again(manager);
        } else if (r < 0) {
                (void) snprintf(region->unprepared, sizeof(region->unprepared), "%s", region->replenish_failure.text);
                region_disable(region, region->unprepared);
                /* not by the uevents that it has made itself */
                prepare_again(manager);
        } else {
                region->prepared = true;
                manager->prepare_pause = 0;
        }
        if (again)
                regions_configure_again(manager, region);
}

static void region_replenish(Manager *manager, Region *region) {
        if (region->replenishing || !region->provider || !region->provider->replenish)
                return;

        region->replenishing = true;
        region->replenisher = manager;
        region->replenish_failure = (Failure){ 0 };
        region->replenish = (Job){ .work = replenish_work, .done = replenish_done };
        worker_pool_submit(manager->pool, &region->replenish, LANE_REPLENISH);
}

int regions_on_prepare_again(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *manager = userdata;
        Region *region;

        (void) source;
        (void) usec;
        DL_FOREACH(manager->regions, region) {
                if (region->unprepared[0] != '\0' || region->prepare_later)
                        region_replenish(manager, region);
                if (region->list_later) {
                        region->list_later = false;
                        regions_list(manager, region);
                }
        }
        return 0;
}

void regions_replenish(Manager *manager, Region *region) {
        if (manager->started && region->outdated && region->listed) {
                region->outdated = false;
                regions_list(manager, region);
        }
        if (manager->started && !region->replenishing && !region->prepare_later && region->unprepared[0] == '\0' &&
            region->provider && region->provider->is_low && region->provider->is_low(region))
                region_replenish(manager, region);
}

void regions_refresh(Manager *manager, Region *region) {
        if (manager->started && !region->replenishing && region->provider && region->provider->is_stale &&
            region->provider->is_stale(region))
                region_replenish(manager, region);
}

/* ---- What media hold ---- */

const Region *regions_find_unlisted(const Manager *manager, bool soon) {
        const Region *region;

        DL_FOREACH(manager->regions, region)
                if (region->provider && region->provider->list && !region->listed &&
                    !(region->dax && region->dax->indivisible) && (!soon || region->listing || !region->settled))
                        return region;

        return NULL;
}

static int list_work(Job *job) {
        Region *region = (Region *) (void *) ((char *) job - offsetof(Region, list));
        Manager *manager = region->lister;

        return inventory_read(region, manager->lasting_dir, &region->inventory, &region->list_failure);
}

static void list_done(Job *job, int r) {
        Region *region = (Region *) (void *) ((char *) job - offsetof(Region, list));
        Manager *manager = region->lister;

        region->listing = false;
        manager->n_listing--;
        if (region->listed && (r == -ENOMEM || r == -EMFILE || r == -ENFILE)) { /* it is we who could not look */
                log_warning("region '%s': cannot look at what it holds: %s; trying again soon", region->name, strerror(-r));
                region->list_later = true;
                (void) sd_event_source_set_time_relative(manager->prepare_again, PREPARE_SOON_USEC);
                (void) sd_event_source_set_enabled(manager->prepare_again, SD_EVENT_ONESHOT);
        } else
                intake_end(manager, region, r);
        inventory_done(&region->inventory);
        regions_configure_again(manager, region);
        if (region->list_again)
                regions_list(manager, region);
}

void regions_list(Manager *manager, Region *region) {
        /* one that is running may have looked already at what has changed since */
        region->list_again = region->listing;
        if (region->listing)
                return;

        region->listing = true;
        region->lister = manager;
        region->list_failure = (Failure){ 0 };
        region->list = (Job){ .work = list_work, .done = list_done };
        manager->n_listing++;
        intake_begin(manager, region);
        worker_pool_submit(manager->pool, &region->list, LANE_LIST);
}

static int on_mounts(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Manager *manager = userdata;
        Region *region;

        (void) source;
        (void) fd;
        (void) revents;
        DL_FOREACH(manager->regions, region)
                if (region->provider && region->provider->write_record &&
                    (region->listed || region->unlisted[0] != '\0' || region->listing))
                        regions_list(manager, region);
        return 0;
}

int regions_watch_mounts(Manager *manager) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        /* it is never read: the kernel reports a change once for each poll */
        r = sd_event_add_io(manager->event, &manager->mounts, fd, EPOLLPRI, on_mounts, manager);
        if (r >= 0)
                r = sd_event_source_set_io_fd_own(manager->mounts, true);
        if (r >= 0)
                TAKE_FD(fd);
        if (r >= 0) /* everybody who may mount anything, be it by FUSE, could keep us looking */
                r = sd_event_source_set_ratelimit(manager->mounts, MOUNTS_USEC, MOUNTS_BURST);
        return r < 0 ? r : 0;
}
