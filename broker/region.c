/* SPDX-License-Identifier: MIT */

/* Regions count bytes; providers know what they are. The account is kept by reservations alone, which are embedded in
 * allocations: used is always the sum of them, and at the end it is zero. */

#include "region.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "size.h"

/* The reason of a region until the first look at its medium is over. */
#define REGION_IS_READ "what it holds is being read; that takes a moment"

/* What a provider that knows nothing of it leaves as it is. */
static void region_clear_facts(Region *region) {
        region->numa_node = region->target_node = -1;
        region->performance = (DaxPerformance){ 0 };
        region->largest = UINT64_MAX;
        region->clean = region->recycle = "";
}

Region *region_free(Region *region) {
        if (!region)
                return NULL;

        assert(region->used == 0 && region->quarantined == 0 && region->ending == 0 && region->n_reservations == 0);
        if (region->provider && region->provider->forget)
                region->provider->forget(region);
        free(region->name);
        free(region->reason);
        free(region);
        return NULL;
}

static void region_log_unusable(const Region *region, int priority) {
        LogFields fields = { .event = "unusable", .region = region->name };

        log_record(priority, &fields, "region '%s' cannot be used: %s", region->name, region->reason);
}

void region_expect_no_more(Region *region) {
        if (region->reason && region->dax && !region->settled)
                region_log_unusable(region, LOG_WARNING);
        region->settled = true;
}

void region_disable(Region *region, const char *reason) {
        char *copy;

        region->warm.limit = 0;
        if (region->reason && strcmp(region->reason, reason) == 0)
                return;
        copy = strdup(reason);
        if (!copy)
                return;

        free(region->reason);
        region->reason = copy;
        region->changed = true;
        region_log_unusable(region, (region->dax && !region->settled) || strcmp(reason, REGION_IS_READ) == 0 ? LOG_INFO
                                                                                                             : LOG_WARNING);
}

/* Before anybody has asked for anything. */
#define WARM_GUESS (2 * MIB)

static void region_configure_warm(Region *region, const RegionConfig *config) {
        SizeClass guess = { .length = WARM_GUESS, .page_size = WARM_GUESS, .numa_node = region->numa_node };
        uint64_t limit = 0;

        if (config->warm && region->provider->carve_ahead)
                (void) size_parse_part(config->warm, region->size, &limit);
        warm_set_limit(&region->warm, limit < region->size ? limit : region->size, &guess);
}

/* Said once. */
static void region_refuse_warm(Region *region, const RegionConfig *config) {
        uint64_t limit = 0;
        bool refused;

        if (config->warm)
                (void) size_parse_part(config->warm, SIZE_INFINITE - 1, &limit);
        refused = limit > 0 && !region->provider->carve_ahead;
        if (refused && !region->warm_refused)
                log_warning("region '%s': Warm=%s is not supported for provider '%s': nothing is made ahead of requests",
                            region->name, config->warm, region->provider->name);
        region->warm_refused = refused;
}

int region_configure(Region *region, const RegionConfig *config) {
        const Provider *provider = config->provider ? provider_find(config->provider) : NULL;
        Failure failure = { 0 };

        if (!config->enabled) {
                region->unprepared[0] = '\0';
                (void) failure_set(&failure, REFUSAL_RegionUnusable, "the configuration disables it (Enabled=no)");
        } else if (!config->provider)
                (void) failure_set(&failure, REFUSAL_RegionUnusable, "the configuration has no Provider= for it");
        else if (!provider)
                (void) failure_set(&failure, REFUSAL_RegionUnusable, "there is no provider '%s'", config->provider);
        else if (region->provider && region->provider != provider && region->n_reservations > 0)
                (void) failure_set(&failure, REFUSAL_RegionUnusable,
                                   "it has allocations of provider '%s'; another one takes a restart without them",
                                   region->provider->name);
        else if (region->provider && region->provider != provider &&
                 (region->replenishing || region->listing || region->n_ahead > 0)) {
                region->configure_again = true;
                (void) failure_set(&failure, REFUSAL_RegionUnusable, "its provider '%s' is about to leave it",
                                   region->provider->name);
        } else {
                if (region->provider && region->provider != provider && region->provider->forget)
                        region->provider->forget(region);
                if (region->provider != provider) { /* else a worker may be reading it */
                        region->unprepared[0] = region->unlisted[0] = '\0';
                        region->listed = region->prepared = region->prepare_later = false;
                        region->provider = provider;
                }
                region_clear_facts(region);
                region_refuse_warm(region, config);
                if (provider->probe(region, config, &failure) >= 0 && region->unprepared[0] != '\0')
                        (void) failure_set(&failure, REFUSAL_RegionUnusable, "%s", region->unprepared);
                else if (failure.refusal == REFUSAL_NONE && provider->list && !region->listed)
                        (void) failure_set(&failure, REFUSAL_RegionUnusable, "%s",
                                           region->unlisted[0] != '\0' ? region->unlisted : REGION_IS_READ);
                else if (failure.refusal == REFUSAL_NONE) {
                        if (region->reason)
                                log_notice("region '%s' can be used now", region->name);
                        free(region->reason);
                        region->reason = NULL;
                        region_configure_warm(region, config);
                        region->changed = true;
                        return 0;
                }
        }

        region_disable(region, failure.text);
        return region->reason ? 0 : -ENOMEM;
}

static Region *region_new_empty(const char *name) {
        Region *region;

        region = calloc(1, sizeof(*region));
        if (!region)
                return NULL;

        region_clear_facts(region);
        region->name = strdup(name);
        return region->name ? region : region_free(region);
}

int region_new(const RegionConfig *config, DaxRegion *dax, int notes_dir, Region **ret) {
        Region *region;

        region = region_new_empty(config->name);
        if (!region)
                return -ENOMEM;
        region->dax = dax;
        region->notes_dir = notes_dir;
        if (region_configure(region, config) < 0) {
                region_free(region);
                return -ENOMEM;
        }

        *ret = region;
        return 0;
}

int region_new_unconfigured(const char *name, const Provider *provider, int notes_dir, Region **ret) {
        Region *region;

        region = region_new_empty(name);
        if (!region)
                return -ENOMEM;

        region->notes_dir = notes_dir;
        region->provider = provider;
        region_disable(region, "it is no longer configured, and has allocations");
        if (!region->reason) {
                region_free(region);
                return -ENOMEM;
        }

        *ret = region;
        return 0;
}

uint64_t region_available(const Region *region) {
        uint64_t taken = region->used + region->foreign;

        return !region->reason && region->size > taken ? region->size - taken : 0;
}

int region_admit(const Region *region, uint64_t bytes, Failure *failure) {
        uint64_t available = region_available(region);

        if (region->reason)
                return failure_set(failure, REFUSAL_RegionUnusable, "region '%s' cannot be used: %s", region->name,
                                   region->reason);
        if (bytes > region->size)
                return failure_set(failure, REFUSAL_NoSpace, "region '%s' holds %s in all, %s were asked for",
                                   region->name, SIZE_TEXT(region->size), SIZE_TEXT(bytes));
        if (bytes > available && region->ending > 0)
                return failure_set(failure, REFUSAL_NoSpace,
                                   "region '%s' has %s free of %s, %s were asked for; %s are on their way back",
                                   region->name, SIZE_TEXT(available), SIZE_TEXT(region->size), SIZE_TEXT(bytes),
                                   SIZE_TEXT(region->ending));
        if (bytes > available)
                return failure_set(failure, REFUSAL_NoSpace, "region '%s' has %s free of %s, %s were asked for",
                                   region->name, SIZE_TEXT(available), SIZE_TEXT(region->size), SIZE_TEXT(bytes));
        return 0;
}

void reservation_take(Reservation *reservation, Region *region, uint64_t bytes) {
        assert(!reservation->region);

        reservation->region = region;
        reservation->bytes = bytes;
        reservation->ending = false;
        region->used += bytes;
        region->n_reservations++;
        region->changed = true;
}

void reservation_resize(Reservation *reservation, uint64_t bytes) {
        Region *region = reservation->region;
        uint64_t more = bytes - reservation->bytes; /* or less: these wrap as they should */

        if (!region)
                return;

        region->used += more;
        if (reservation->ending)
                region->ending += more;
        if (reservation->quarantined)
                region->quarantined += more;
        if (reservation->granted)
                region->granted += more;
        reservation->bytes = bytes;
        region->changed = true;
}

void reservation_set_ending(Reservation *reservation, bool ending) {
        if (!reservation->region || reservation->ending == ending)
                return;

        reservation->ending = ending;
        if (ending)
                reservation->region->ending += reservation->bytes;
        else
                reservation->region->ending -= reservation->bytes;
}

void reservation_set_quarantined(Reservation *reservation, bool quarantined) {
        if (!reservation->region || reservation->quarantined == quarantined)
                return;

        reservation->quarantined = quarantined;
        reservation->region->changed = true;
        if (quarantined)
                reservation->region->quarantined += reservation->bytes;
        else
                reservation->region->quarantined -= reservation->bytes;
}

void reservation_set_granted(Reservation *reservation) {
        assert(reservation->region && !reservation->granted);

        reservation->granted = true;
        reservation->region->granted += reservation->bytes;
}

void reservation_release(Reservation *reservation) {
        Region *region = reservation->region;

        if (!region)
                return;

        assert(region->used >= reservation->bytes && region->n_reservations > 0);
        region->used -= reservation->bytes;
        if (reservation->ending)
                region->ending -= reservation->bytes;
        if (reservation->quarantined)
                region->quarantined -= reservation->bytes;
        if (reservation->granted)
                region->granted -= reservation->bytes;
        region->n_reservations--;
        region->n_released++;
        region->changed = true;
        *reservation = (Reservation){ 0 };
}
