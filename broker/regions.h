/* SPDX-License-Identifier: MIT */
#pragma once

#include "manager.h"

/* Applies a configuration. -ENOMEM: not wholly. */
int regions_configure(Manager *manager, const Config *config);

/* Tells the regions that are made of it what was found. */
void regions_apply_found(Manager *manager);

/* A DiscoveryHandler, for the manager. */
void regions_on_discovered(DaxRegion *dax, void *userdata);

/* How long it may take udev to hand over what has appeared. */
#define REGIONS_PATIENCE_USEC (10 * UINT64_C(1000000))

/* For the timer of the manager that ends the patience with what has appeared lately. */
int regions_on_patience(sd_event_source *source, uint64_t usec, void *userdata);

/* For the timer of the manager that lets what could not be prepared be tried again. */
int regions_on_prepare_again(sd_event_source *source, uint64_t usec, void *userdata);

/* Looks at media again whenever file systems are mounted or unmounted. */
int regions_watch_mounts(Manager *manager);

/* A region of which it is not known what its medium holds; with soon, only if it may be known in a moment. NULL if there is
 * none. */
const Region *regions_find_unlisted(const Manager *manager, bool soon);

/* Starts to look at what the region's medium holds. */
void regions_list(Manager *manager, Region *region);

/* What it could not be configured as, because its provider's state was in use, it becomes now. */
void regions_configure_again(Manager *manager, Region *region);

/* Starts to prepare for the region's next request, if there is need. */
void regions_replenish(Manager *manager, Region *region);

/* Starts to find out how much is free in the region, if what is known of that may be out of date. */
void regions_refresh(Manager *manager, Region *region);
