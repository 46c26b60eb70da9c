/* SPDX-License-Identifier: MIT */

/* The account of a dax region: which of its ranges are free, clean, ours, or somebody else's. All of it is the event
 * loop's, and nothing here touches the kernel: what the kernel says comes from discovery. */

#include "devdax.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "clock.h"
#include "devdax-handle.h"
#include "log.h"
#include "size.h"

static bool range_contains(Range outer, Range inner) {
        return inner.start >= outer.start && inner.length <= outer.length &&
               inner.start - outer.start <= outer.length - inner.length;
}

Range devdax_range(const Piece *piece, unsigned i) {
        const Devdax *devdax = piece->state;

        return (Range){ devdax->whole.start + piece->ranges[i].start, piece->ranges[i].length };
}

bool devdax_begins_as(const DaxDevice *device, const Piece *piece) {
        uint64_t sum = 0;
        unsigned i;

        for (i = 0; i < piece->n_ranges && sum < device->size; i++) {
                Range range = devdax_range(piece, i);

                if (device->ranges_known && (i >= device->n_ranges || device->ranges[i].start != range.start ||
                                             device->ranges[i].length != range.length))
                        return false;
                sum += range.length;
        }

        return sum == device->size;
}

bool devdax_is_of(const DaxDevice *device, const Piece *piece) {
        return device->size == piece->length && devdax_begins_as(device, piece);
}

bool devdax_is_elsewhere(const DaxDevice *device, const Piece *piece) {
        for (unsigned i = 0; i < device->n_ranges && device->size > 0; i++)
                for (unsigned j = 0; j < piece->n_ranges; j++) {
                        Range ours = devdax_range(piece, j), theirs = device->ranges[i];

                        if (theirs.start < ours.start + ours.length && ours.start < theirs.start + theirs.length)
                                return false;
                }

        return device->ranges_known;
}

bool devdax_wants_lesson(const Region *region, const Piece *piece) {
        Devdax *devdax = region->state;

        return devdax && recycling_wants_lesson(&devdax->recycling, piece);
}

bool devdax_misses(const Region *region, const Piece *piece) {
        const DaxDevice *device;

        if (!piece->state || !region->dax)
                return piece->state;
        if (piece->made >= region->dax->scanned)
                return false;

        device = dax_region_find(region->dax, piece->device);
        return !device || device->driver != DAX_DRIVER_DEVICE || !devdax_is_of(device, piece);
}

void devdax_forget(Region *region) {
        Devdax *devdax = region->state;
        Foreign *foreign, *next;

        if (!devdax)
                return;

        region->state = NULL;
        region->foreign = 0;
        DL_FOREACH_SAFE(devdax->foreign, foreign, next)
                free(foreign);
        range_map_free(devdax->map);
        range_map_free(devdax->ahead);
        free(devdax->left);
        seed_pool_free(devdax->seeds);
        recycling_done(&devdax->recycling);
        pthread_mutex_destroy(&devdax->order_mutex);
        free(devdax->path);
        free(devdax);
}

/* Where a region begins may be unknown until there is a device of ours in it: until then there is no map. */
static int devdax_make(Region *region, const DaxRegion *dax) {
        Devdax *devdax;
        int r;

        devdax = calloc(1, sizeof(*devdax));
        if (!devdax)
                return -ENOMEM;

        region->state = devdax;
        pthread_mutex_init(&devdax->order_mutex, NULL);
        devdax->path = strdup(dax->path);
        r = !devdax->path ? -ENOMEM : seed_pool_new(devdax->path, region->notes_dir, dax->name, &devdax->seeds);
        if (r >= 0)
                r = recycling_init(&devdax->recycling);
        if (r < 0)
                devdax_forget(region);
        return r;
}

static int devdax_make_maps(Devdax *devdax, Range whole) {
        RangeMap *map, *ahead;
        int r;

        r = range_map_new(whole, DAX_GRANULARITY, &map);
        if (r < 0)
                return r;
        r = range_map_new(whole, DAX_GRANULARITY, &ahead);
        if (r < 0) {
                range_map_free(map);
                return r;
        }

        (void) range_map_claim(ahead, whole);
        devdax->map = map;
        devdax->ahead = ahead;
        devdax->whole = whole;
        return 0;
}

static void devdax_give(Devdax *devdax, RangeMap *map, Range range, bool clean) {
        range_map_give(map, range, clean);
        devdax->given[devdax->n_given++ % GIVEN_MAX] = (__typeof__(devdax->given[0])){ range, now_usec() };
}

/* ---- What an earlier broker has made ahead ---- */

/* It is about to be undone. Until then it is neither free nor somebody else's. */
static void devdax_find_left(Devdax *devdax) {
        size_t n, n_claimed = 0;
        Range *left;
        int r;

        r = devdax->put_in_order ? 0 : seed_pool_find_left(devdax->seeds, &left, &n);
        devdax->left_known = r != -ENOMEM;
        if (r < 0 || devdax->put_in_order)
                return; /* who puts it in order says what is wrong */

        for (size_t i = 0; i < n; i++) {
                if (range_map_claim(devdax->map, left[i]) < 0)
                        continue;
                range_map_give(devdax->ahead, left[i], false);
                left[n_claimed++] = left[i];
        }
        devdax->left = left;
        devdax->n_left = n_claimed;
}

void devdax_replenished(Region *region) {
        Devdax *devdax = region->state;

        if (!devdax || !devdax->put_in_order)
                return;

        for (size_t i = 0; i < devdax->n_left; i++) {
                (void) range_map_claim(devdax->ahead, devdax->left[i]);
                devdax_give(devdax, devdax->map, devdax->left[i], false);
        }
        free(devdax->left);
        devdax->left = NULL;
        devdax->n_left = 0;
}

/* ---- What somebody else has ---- */

/* Whether a range was ours until a moment ago, and whoever looked began before. */
static bool devdax_gave(const Devdax *devdax, Range range, uint64_t since) {
        unsigned n = devdax->n_given < GIVEN_MAX ? devdax->n_given : GIVEN_MAX;

        for (unsigned i = 0; i < n; i++)
                if (devdax->given[i].time >= since && range_contains(devdax->given[i].range, range))
                        return true;

        return false;
}

static Foreign *foreign_find(Devdax *devdax, const char *device, Range range) {
        Foreign *foreign;

        DL_FOREACH(devdax->foreign, foreign)
                if (strcmp(foreign->device, device) == 0 && foreign->range.start == range.start &&
                    foreign->range.length == range.length)
                        return foreign;

        return NULL;
}

static int foreign_add(Devdax *devdax, const char *device, Range range) {
        Foreign *foreign;

        foreign = calloc(1, sizeof(*foreign));
        if (!foreign)
                return -ENOMEM;

        (void) snprintf(foreign->device, sizeof(foreign->device), "%s", device);
        foreign->range = range;
        foreign->seen = true;
        DL_APPEND(devdax->foreign, foreign);
        return 0;
}

/* Where a device lies that we know cannot be told just now. */
static void foreign_keep(Devdax *devdax, const char *device) {
        Foreign *foreign;

        DL_FOREACH(devdax->foreign, foreign)
                if (strcmp(foreign->device, device) == 0)
                        foreign->seen = true;
}

/* Forgets what others do not have any more; also what was only known to be somebody's, as soon as it is known of all
 * devices what they have, for otherwise it would hide whose it is. Returns whether there was something. */
static bool devdax_forget_foreign(Devdax *devdax, const DaxRegion *dax) {
        Foreign *foreign, *next;
        bool changed = false, unknown = false;

        DL_FOREACH(devdax->foreign, foreign)
                foreign->seen = false;
        for (size_t i = 0; i < dax->n_devices; i++) {
                const DaxDevice *device = &dax->devices[i];

                if (device->size > 0 && !device->ranges_known) {
                        unknown = true;
                        foreign_keep(devdax, device->name);
                        continue;
                }
                for (unsigned j = 0; j < device->n_ranges && device->size > 0; j++) {
                        foreign = foreign_find(devdax, device->name, device->ranges[j]);
                        if (foreign)
                                foreign->seen = true;
                }
        }

        DL_FOREACH_SAFE(devdax->foreign, foreign, next) {
                if (foreign->seen || (foreign->device[0] == '\0' && unknown))
                        continue;
                range_map_give(devdax->map, foreign->range, false);
                DL_DELETE(devdax->foreign, foreign);
                free(foreign);
                changed = true;
        }

        return changed;
}

/* Keeps an account of what others have carved. Whatever they have had in their hands is not clean any more, and since they
 * may come and go between two looks, nor is anything that they might have had. */
static void devdax_note_foreign(Region *region, const DaxRegion *dax) {
        Devdax *devdax = region->state;
        bool changed = devdax_forget_foreign(devdax, dax);
        const Foreign *foreign;

        for (size_t i = 0; i < dax->n_devices; i++) {
                const DaxDevice *device = &dax->devices[i];

                for (unsigned j = 0; j < device->n_ranges && device->size > 0 && device->ranges_known; j++) {
                        Range range = device->ranges[j];

                        /* if it is not free it is one of ours */
                        if (foreign_find(devdax, device->name, range) || devdax_gave(devdax, range, dax->scanned) ||
                            range_map_claim(devdax->map, range) < 0)
                                continue;
                        if (foreign_add(devdax, device->name, range) < 0) {
                                range_map_give(devdax->map, range, false);
                                continue;
                        }
                        log_notice("region '%s': %s of it belong to %s, which somebody else has made", region->name,
                                   SIZE_TEXT(range.length), device->name);
                        changed = true;
                }
        }

        region->foreign = 0;
        DL_FOREACH(devdax->foreign, foreign)
                region->foreign += foreign->range.length;
        if (changed) {
                const Hold *hold;

                range_map_soil(devdax->map);
                DL_FOREACH(devdax->holds, hold)
                        range_map_soil(hold->map);
        }
}

void devdax_count(Region *region) {
        const Devdax *devdax = region->state;
        RangeMap *room = NULL;

        if (range_map_available(devdax->ahead) > 0)
                (void) range_map_unite(devdax->map, devdax->ahead, &room);
        region->largest = range_map_largest(room ? room : devdax->map, DAX_GRANULARITY, PIECE_RANGES_MAX);
        region->changed = true;
        range_map_free(room);
}

int devdax_probe(Region *region, const RegionConfig *config, Failure *failure) {
        const DaxRegion *dax = region->dax;
        Devdax *devdax = region->state;
        Range whole;
        int r;

        if (!dax)
                return failure_set(failure, REFUSAL_RegionUnusable,
                                   "there is no dax region '%s' now; \"ls -l /sys/bus/dax/devices\" shows what there is",
                                   config->source ? config->source : config->name);
        if (dax->reason && !devdax &&
            (!dax->start_known || dax->range.start % DAX_GRANULARITY != 0 || dax->range.length % DAX_GRANULARITY != 0))
                return failure_set(failure, REFUSAL_RegionUnusable, "%s", dax->reason);
        whole = dax->start_known || !devdax ? dax->range : devdax->whole;
        if (devdax && ((devdax->map && (devdax->whole.start != whole.start || devdax->whole.length != whole.length)) ||
                       strcmp(devdax->path, dax->path) != 0)) {
                if (region->n_reservations > 0)
                        return failure_set(failure, REFUSAL_RegionUnusable,
                                           "it has moved, and there are allocations from where it was");
                if (region->replenishing || region->n_ahead > 0) {
                        region->configure_again = true;
                        return failure_set(failure, REFUSAL_RegionUnusable, "it has moved just now");
                }
                devdax_forget(region);
                devdax = NULL;
        }
        if (!devdax) {
                r = devdax_make(region, dax);
                if (r < 0)
                        return failure_set_errno(failure, r, "cannot keep an account of it");
                devdax = region->state;
        }

        if (!devdax->map) {
                if (!dax->start_known)
                        return failure_set(failure, REFUSAL_RegionUnusable,
                                           "it is not known yet where it begins: a device is being made to see that");
                r = devdax_make_maps(devdax, whole);
                if (r < 0)
                        return failure_set_errno(failure, r, "cannot keep an account of it");
        }

        devdax->alignment = dax->alignment;
        region->size = whole.length;
        region->granularity = DAX_GRANULARITY;
        region->numa_node = dax->numa_node;
        region->target_node = dax->target_node;
        region->performance = dax->performance;
        recycling_configure(&devdax->recycling, region, config);
        region->n_alignments = 2;
        region->alignments[0] = DAX_GRANULARITY;
        region->alignments[1] = GIB;
        if (region->recovered) {
                if (!devdax->left_known)
                        devdax_find_left(devdax);
                devdax_note_foreign(region, dax);
        }
        devdax_count(region);
        if (dax->reason)
                return failure_set(failure, REFUSAL_RegionUnusable, "%s", dax->reason);
        if (region->foreign >= region->size)
                return failure_set(failure, REFUSAL_RegionUnusable,
                                   "all of it belongs to devices that somebody else has made, such as %s; "
                                   "\"daxctl list -R -D\" shows them, and what they give back is used",
                                   devdax->foreign ? devdax->foreign->device : "daxX.0");
        return 0;
}

/* ---- Requests ---- */

int devdax_plan(const Region *region, const Request *request, Piece *piece, Failure *failure) {
        uint64_t unit;
        int r;

        *piece = (Piece){
                .alignment = request->alignment,
                .page_size = DAX_GRANULARITY,
                .contiguous = request->contiguous,
                .numa_node = region->numa_node,
                .prefault = true,
                .fd = -EBADF,
                .fd_read_only = -EBADF,
        };

        if (request->persistent)
                return failure_set(failure, REFUSAL_BadOption,
                                   "option persistent: what is carved from region '%s' is gone after a reboot",
                                   region->name);
        if (request->numa_node_set && (int64_t) request->numa_node != region->numa_node &&
            (int64_t) request->numa_node != region->target_node)
                return failure_set(failure, REFUSAL_BadOption, "option numa-node: region '%s' lies on node %d", region->name,
                                   region->target_node >= 0 ? region->target_node : region->numa_node);

        if (request->page_size_set) {
                if (request->page_size != 4 * KIB && request->page_size != DAX_GRANULARITY && request->page_size != GIB)
                        return failure_set(failure, REFUSAL_BadOption,
                                           "option page-size: region '%s' has pages of 4096, 2097152 or 1073741824 bytes",
                                           region->name);
                piece->page_size = request->page_size;
        } else if (request->alignment >= GIB && request->size % GIB == 0)
                piece->page_size = GIB;

        unit = piece->page_size > DAX_GRANULARITY ? piece->page_size : DAX_GRANULARITY;
        r = size_round_up(request->size, unit, &piece->length);
        if (r < 0 || piece->length > INT64_MAX)
                return failure_set(failure, REFUSAL_BadSize,
                                   "the size %" PRIu64 ", rounded up to %s, is beyond what any descriptor can hold "
                                   "(2^63 - 1 bytes)",
                                   request->size, SIZE_TEXT(unit));
        return 0;
}

/* The address at which a holder maps it is his; of physical addresses only the page size asks for alignment. */
RangeWish devdax_wish(const Piece *piece) {
        return (RangeWish){
                .length = piece->length,
                .alignment = piece->page_size > DAX_GRANULARITY ? piece->page_size : DAX_GRANULARITY,
                .contiguous = piece->contiguous,
                .max_ranges = PIECE_RANGES_MAX,
        };
}

RangeMap *devdax_map(const Devdax *devdax, const Piece *piece) {
        return piece->hold ? piece->hold->map : devdax->map;
}

static int devdax_no_room(const Region *region, const RangeMap *map, const Piece *piece, Failure *failure) {
        RangeWish wish = devdax_wish(piece);

        return failure_set(failure, REFUSAL_NoSpace,
                           "%sregion '%s' has %s free, but in pieces: %s at most can be had at an alignment of %s%s",
                           piece->hold ? "the grant in " : "", region->name, SIZE_TEXT(range_map_available(map)),
                           SIZE_TEXT(range_map_largest(map, wish.alignment, wish.contiguous ? 1 : PIECE_RANGES_MAX)),
                           SIZE_TEXT(wish.alignment), wish.contiguous ? " in one piece" : "");
}

int devdax_fits(const Region *region, const Piece *plan, Failure *failure) {
        const Devdax *devdax = region->state;
        const RangeMap *map = devdax_map(devdax, plan);
        RangeWish wish = devdax_wish(plan);
        RangeMap *room = NULL;
        int r = 0;

        if (range_map_fits(map, &wish))
                return 0;

        if (!plan->hold)
                r = range_map_unite(map, devdax->ahead, &room);
        if (r >= 0 && (!room || !range_map_fits(room, &wish)))
                r = devdax_no_room(region, room ? room : map, plan, failure);
        range_map_free(room);
        return r;
}

bool devdax_crowded(const Region *region, const Piece *plan) {
        const Devdax *devdax = region->state;
        RangeWish wish = devdax_wish(plan);

        return !plan->hold && !range_map_fits(devdax->map, &wish);
}

/* Counts the ranges of a piece as room, or not any more. */
static void devdax_count_ahead(const Piece *piece, bool ahead) {
        Devdax *devdax = piece->state;

        for (unsigned i = 0; i < piece->n_ranges; i++) {
                if (ahead)
                        range_map_give(devdax->ahead, devdax_range(piece, i), false);
                else
                        (void) range_map_claim(devdax->ahead, devdax_range(piece, i));
        }
}

void devdax_hand_out(Piece *piece) {
        devdax_count_ahead(piece, false);
        piece->ahead = false;
        piece->clean = false; /* from now on nobody knows what is in it */
}

/* Its ranges are these, addresses that were taken from the map for it. */
static int piece_place(Devdax *devdax, Piece *piece, const Range *ranges, unsigned n) {
        piece->ranges = calloc(n, sizeof(*piece->ranges));
        if (!piece->ranges)
                return -ENOMEM;

        for (unsigned i = 0; i < n; i++)
                piece->ranges[i] = (Range){ ranges[i].start - devdax->whole.start, ranges[i].length };
        piece->n_ranges = n;
        piece->state = devdax;
        return 0;
}

int devdax_reserve(Region *region, Piece *piece, Failure *failure) {
        Devdax *devdax = region->state;
        RangeWish wish = devdax_wish(piece);
        Range ranges[PIECE_RANGES_MAX];
        size_t n = 0;
        int r;

        r = range_map_take(devdax_map(devdax, piece), &wish, ranges, &n, &piece->clean);
        if (r == -ENOSPC)
                return devdax_no_room(region, devdax_map(devdax, piece), piece, failure);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot take ranges of region '%s'", region->name);

        r = piece_place(devdax, piece, ranges, (unsigned) n);
        if (r < 0) {
                while (n > 0)
                        range_map_give(devdax_map(devdax, piece), ranges[--n], piece->clean);
                return failure_set_errno(failure, r, "cannot keep an account of it");
        }
        if (piece->ahead)
                devdax_count_ahead(piece, true);
        devdax_count(region);
        return 0;
}

/* Takes the ranges that the handle names; device is what was made of them. */
static int claim_ranges(Region *region, Piece *piece, char device[static DAX_NAME_MAX], Failure *failure) {
        Devdax *devdax = region->state;
        Range ranges[PIECE_RANGES_MAX];
        uint64_t length = 0;
        unsigned n, i;
        int r;

        if (!devdax || !devdax->map)
                return failure_set(failure, REFUSAL_RegionUnusable, "its region is not there: %s",
                                   region->reason ? region->reason : "");
        if (devdax_handle_parse(piece->handle, device, ranges, &n) < 0)
                return failure_set(failure, REFUSAL_Failed, "its record does not say where it lies");

        for (i = 0; i < n; i++) {
                if (!range_contains(devdax->whole, ranges[i]) || __builtin_add_overflow(length, ranges[i].length, &length))
                        break;
                r = range_map_claim(devdax_map(devdax, piece), ranges[i]);
                if (r < 0)
                        break;
        }
        r = i == n && length == piece->length ? piece_place(devdax, piece, ranges, n) : -EADDRINUSE;
        if (r < 0) {
                while (i > 0)
                        range_map_give(devdax_map(devdax, piece), ranges[--i], false);
                return r == -ENOMEM ? failure_set_errno(failure, r, "cannot keep an account of it")
                                    : failure_set(failure, REFUSAL_Failed,
                                                  "its record says that it lies where something else is");
        }

        piece->clean = false;
        devdax_count(region);
        return 0;
}

int devdax_claim(Region *region, Piece *piece, Failure *failure) {
        char device[DAX_NAME_MAX];
        Devdax *devdax;
        int r;

        r = claim_ranges(region, piece, device, failure);
        if (r < 0)
                return r;

        devdax = piece->state;
        if (seed_pool_except(devdax->seeds, device) < 0) {
                devdax_release(piece);
                return failure_set_errno(failure, -ENOMEM, "cannot keep an account of it");
        }
        (void) snprintf(piece->device, sizeof(piece->device), "%s", device);
        return 0;
}

int devdax_claim_anew(Region *region, Piece *piece, Failure *failure) {
        char device[DAX_NAME_MAX]; /* gone with its boot */

        return claim_ranges(region, piece, device, failure);
}

void devdax_release(Piece *piece) {
        Devdax *devdax = piece->state;

        if (piece->ahead)
                devdax_count_ahead(piece, false);
        for (unsigned i = 0; i < piece->n_ranges; i++) {
                Range range = devdax_range(piece, i);

                if (!piece->foreign || foreign_add(devdax, "", range) < 0)
                        devdax_give(devdax, devdax_map(devdax, piece), range, piece->clean);
        }
        free(piece->ranges);
        piece->ranges = NULL;
        piece->n_ranges = 0;
        piece->state = NULL;
}

bool devdax_is_low(const Region *region) {
        const Devdax *devdax = region->state;

        if (!devdax || devdax->recycling.stopping || (region->reason && devdax->map))
                return false;

        return !devdax->put_in_order ||
               ((!devdax->map || range_map_available(devdax->map) > 0) && seed_pool_is_low(devdax->seeds));
}
