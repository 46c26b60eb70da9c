/* SPDX-License-Identifier: MIT */

/* Reserved memory that the kernel shows as a dynamic dax region: HBM, CXL, or whatever firmware has set aside. Each
 * allocation is a kernel device /dev/daxX.Y of its own, made for it and deleted after it, so that the kernel itself keeps
 * its holders within its bounds.
 *
 * Where a device lies is decided here and not by the kernel: it would take the first gap, which knows nothing of
 * alignment, nor of what has been zeroed. Each range is written exactly (`mapping`), and recorded before.
 *
 * What the kernel does not promise, and what is done about it:
 *  - It zeroes nothing. Ranges that are not known to be full of zeros are zeroed before they are handed out.
 *  - A device that is bound a second time revives old descriptors and mappings. Devices are bound once and then deleted;
 *    daxX.0, which cannot be deleted, is never used.
 *  - A reference to a page (by io_uring, vmsplice, a direct read) outlives mapping, descriptor, device and all, and then
 *    reaches the next holder's bytes. So memory is not taken from its holders: they let go of it, which the node tells, and
 *    then somebody has to know that nothing refers to it any more: a witness. Without one the device stays as it is, bound,
 *    and only the user who had it may have it again. (Recycle=any is an admin's word that all users are one.)
 *  - Others may carve from the same region: devices that are not ours are left alone, and their ranges taken for taken.
 *
 * Descriptors of a node are copies of two open files, one for reading only, because it is the end of those that tells that
 * all holders have let go (node-watch.c). */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#include "clean.h"
#include "cleanup.h"
#include "log.h"
#include "provider.h"
#include "range-map.h"
#include "region.h"
#include "seeds.h"
#include "size.h"
#include "witness.h"

/* Ranges that were given back lately; a scan that began before may still show what was in them. */
#define GIVEN_MAX 64

/* What somebody else has. */
typedef struct Foreign {
        char device[DAX_NAME_MAX]; /* empty if only the kernel knows whose it is */
        Range range;
        bool seen;
        struct Foreign *prev, *next;
} Foreign;

/* What is kept of a region. */
typedef struct Devdax {
        char *path;
        Range whole;        /* physical addresses that can be carved */
        uint64_t alignment; /* that a new device has, 0 if unknown */
        RangeMap *map;      /* of physical addresses; the event loop's alone, as the rest up to here */
        Foreign *foreign;
        struct {
                Range range;
                uint64_t time;
        } given[GIVEN_MAX];
        unsigned n_given;
        SeedPool *seeds; /* for any thread, as all that follows */
        Throttle *throttle;
        _Atomic int clean, recycle;
        pthread_mutex_t order_mutex;
        atomic_bool put_in_order;
        atomic_bool stopping;
        atomic_bool taught_small, taught_large, taught_huge; /* page sizes the witness has learnt */
} Devdax;

static uint64_t now(void) {
        struct timespec time;

        (void) clock_gettime(CLOCK_MONOTONIC, &time);
        return (uint64_t) time.tv_sec * 1000000 + (uint64_t) time.tv_nsec / 1000;
}

static bool range_contains(Range outer, Range inner) {
        return inner.start >= outer.start && inner.length <= outer.length &&
               inner.start - outer.start <= outer.length - inner.length;
}

/* ---- Handles: "dax0.1 START+LENGTH,…", physical addresses in hexadecimal ---- */

static int handle_format(const Devdax *devdax, const Piece *piece, const char *device, char **ret) {
        char *text = NULL;
        size_t size;
        FILE *file;
        bool failed;

        file = open_memstream(&text, &size);
        if (!file)
                return -ENOMEM;
        fputs(device, file);
        for (unsigned i = 0; i < piece->n_ranges; i++)
                fprintf(file, "%c%" PRIx64 "+%" PRIx64, i == 0 ? ' ' : ',', devdax->whole.start + piece->ranges[i].start,
                        piece->ranges[i].length);
        failed = ferror(file);
        if (fclose(file) != 0 || failed) {
                free(text);
                return -ENOMEM;
        }

        *ret = text;
        return 0;
}

static int hex_parse(const char **text, uint64_t *ret) {
        static const char digits[] = "0123456789abcdef";
        uint64_t value = 0;
        unsigned n = 0;

        for (; **text; (*text)++) {
                const char *digit = strchr(digits, **text);

                if (!digit)
                        break;
                if (++n > 16)
                        return -EBADMSG;
                value = value << 4 | (uint64_t) (digit - digits);
        }
        if (n == 0)
                return -EBADMSG;

        *ret = value;
        return 0;
}

static int handle_parse(const char *handle, char ret_device[static DAX_NAME_MAX], Range ret[static PIECE_RANGES_MAX],
                        unsigned *ret_n) {
        const char *at = handle ? strchr(handle, ' ') : NULL;
        unsigned n = 0, region, number;
        char end;

        if (!at || at == handle || at - handle >= DAX_NAME_MAX)
                return -EBADMSG;
        (void) snprintf(ret_device, DAX_NAME_MAX, "%.*s", (int) (at - handle), handle);
        /* daxX.0 is never ours */
        if (sscanf(ret_device, "dax%9u.%9u%c", &region, &number, &end) != 2 || number == 0)
                return -EBADMSG;

        do {
                at++;
                if (n == PIECE_RANGES_MAX || hex_parse(&at, &ret[n].start) < 0 || *at++ != '+' ||
                    hex_parse(&at, &ret[n].length) < 0 || ret[n].length == 0 || ret[n].length % DAX_GRANULARITY != 0 ||
                    ret[n].start % DAX_GRANULARITY != 0)
                        return -EBADMSG;
                n++;
        } while (*at == ',');
        if (*at != '\0')
                return -EBADMSG;

        *ret_n = n;
        return 0;
}

static Range piece_range(const Piece *piece, unsigned i) {
        const Devdax *devdax = piece->state;

        return (Range){ devdax->whole.start + piece->ranges[i].start, piece->ranges[i].length };
}

/* ---- The region ---- */

static void devdax_forget(Region *region) {
        Devdax *devdax = region->state;
        Foreign *foreign, *next;

        if (!devdax)
                return;

        region->state = NULL;
        region->foreign = 0;
        DL_FOREACH_SAFE(devdax->foreign, foreign, next)
                free(foreign);
        range_map_free(devdax->map);
        seed_pool_free(devdax->seeds);
        throttle_free(devdax->throttle);
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
                r = throttle_new(&devdax->throttle);
        if (r < 0)
                devdax_forget(region);
        return r;
}

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
        if (changed)
                range_map_soil(devdax->map);
}

static void devdax_count(Region *region) {
        const Devdax *devdax = region->state;

        region->largest = range_map_largest(devdax->map, DAX_GRANULARITY, PIECE_RANGES_MAX);
        region->changed = true;
}

static int devdax_probe(Region *region, const RegionConfig *config, Failure *failure) {
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
                if (region->replenishing) {
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
                r = range_map_new(whole, DAX_GRANULARITY, &devdax->map);
                if (r < 0)
                        return failure_set_errno(failure, r, "cannot keep an account of it");
                devdax->whole = whole;
        }

        devdax->alignment = dax->alignment;
        devdax->clean = config->clean;
        devdax->recycle = config->recycle;
        if (devdax->recycle == RECYCLE_DEFAULT)
                devdax->recycle = witness_installed() ? RECYCLE_WITNESSED : RECYCLE_OWNER;
        throttle_set(devdax->throttle, config->clean_bandwidth);

        region->size = whole.length;
        region->granularity = DAX_GRANULARITY;
        region->numa_node = dax->numa_node;
        region->target_node = dax->target_node;
        region->performance = dax->performance;
        region->drain_timeout = config->drain_timeout;
        region->clean = devdax->clean == CLEAN_ON_FREE ? "on-free" : devdax->clean == CLEAN_ON_ALLOC ? "on-alloc" : "both";
        region->recycle = devdax->recycle == RECYCLE_ANY         ? "any"
                          : devdax->recycle == RECYCLE_WITNESSED ? "witnessed"
                                                                 : "owner";
        region->n_alignments = 2;
        region->alignments[0] = DAX_GRANULARITY;
        region->alignments[1] = GIB;
        if (region->recovered)
                devdax_note_foreign(region, dax);
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

static int devdax_plan(const Region *region, const Request *request, Piece *piece, Failure *failure) {
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
                                   "option persistent: what is carved from region '%s' is gone after a reboot", region->name);
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
static RangeWish devdax_wish(const Piece *piece) {
        return (RangeWish){
                .length = piece->length,
                .alignment = piece->page_size > DAX_GRANULARITY ? piece->page_size : DAX_GRANULARITY,
                .contiguous = piece->contiguous,
                .max_ranges = PIECE_RANGES_MAX,
        };
}

static int devdax_no_room(const Region *region, const Piece *piece, Failure *failure) {
        const Devdax *devdax = region->state;
        RangeWish wish = devdax_wish(piece);

        return failure_set(failure, REFUSAL_NoSpace,
                           "region '%s' has %s free, but in pieces: %s at most can be had at an alignment of %s%s",
                           region->name, SIZE_TEXT(range_map_available(devdax->map)),
                           SIZE_TEXT(range_map_largest(devdax->map, wish.alignment, wish.contiguous ? 1 : PIECE_RANGES_MAX)),
                           SIZE_TEXT(wish.alignment), wish.contiguous ? " in one piece" : "");
}

static int devdax_fits(const Region *region, const Piece *plan, Failure *failure) {
        const Devdax *devdax = region->state;
        RangeWish wish = devdax_wish(plan);

        return devdax && devdax->map && range_map_fits(devdax->map, &wish) ? 0 : devdax_no_room(region, plan, failure);
}

static int devdax_reserve(Region *region, Piece *piece, Failure *failure) {
        Devdax *devdax = region->state;
        RangeWish wish = devdax_wish(piece);
        size_t n = 0;
        int r;

        r = range_map_take(devdax->map, &wish, piece->ranges, &n, &piece->clean);
        if (r == -ENOSPC)
                return devdax_no_room(region, piece, failure);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot take ranges of region '%s'", region->name);

        piece->n_ranges = (unsigned) n;
        for (unsigned i = 0; i < piece->n_ranges; i++)
                piece->ranges[i].start -= devdax->whole.start;
        piece->state = devdax;
        devdax_count(region);
        return 0;
}

static int devdax_claim(Region *region, Piece *piece, Failure *failure) {
        Devdax *devdax = region->state;
        char device[DAX_NAME_MAX];
        Range ranges[PIECE_RANGES_MAX];
        uint64_t length = 0;
        unsigned n, i;
        int r;

        if (!devdax || !devdax->map)
                return failure_set(failure, REFUSAL_RegionUnusable, "its region is not there: %s",
                                   region->reason ? region->reason : "");
        if (handle_parse(piece->handle, device, ranges, &n) < 0)
                return failure_set(failure, REFUSAL_Failed, "its record does not say where it lies");

        for (i = 0; i < n; i++) {
                if (!range_contains(devdax->whole, ranges[i]) || __builtin_add_overflow(length, ranges[i].length, &length))
                        break;
                r = range_map_claim(devdax->map, ranges[i]);
                if (r < 0)
                        break;
                piece->ranges[i] = (Range){ ranges[i].start - devdax->whole.start, ranges[i].length };
        }
        if (i < n || length != piece->length) {
                while (i > 0)
                        range_map_give(devdax->map, ranges[--i], false);
                return failure_set(failure, REFUSAL_Failed, "its record says that it lies where something else is");
        }

        /* before the pool of devices looks for what is ours: this one is not in it */
        (void) seed_pool_taken(devdax->seeds, device);
        piece->n_ranges = n;
        piece->clean = false;
        piece->state = devdax;
        devdax_count(region);
        return 0;
}

static void devdax_release(Piece *piece) {
        Devdax *devdax = piece->state;

        for (unsigned i = 0; i < piece->n_ranges; i++) {
                Range range = piece_range(piece, i);

                if (piece->foreign && foreign_add(devdax, "", range) >= 0)
                        continue;
                range_map_give(devdax->map, range, piece->clean);
                devdax->given[devdax->n_given++ % GIVEN_MAX] = (__typeof__(devdax->given[0])){ range, now() };
        }
        piece->n_ranges = 0;
        piece->state = NULL;
}

static bool devdax_is_low(const Region *region) {
        const Devdax *devdax = region->state;

        if (!devdax || devdax->stopping || (region->reason && devdax->map))
                return false;

        return !devdax->put_in_order ||
               ((!devdax->map || range_map_available(devdax->map) > 0) && seed_pool_is_low(devdax->seeds));
}

/* ---- In worker threads ---- */

/* Before the first device is made: the note about what an earlier broker has left would be gone with it. */
static int devdax_put_in_order(Devdax *devdax) {
        int r = 0;

        pthread_mutex_lock(&devdax->order_mutex);
        if (!devdax->put_in_order) {
                r = seed_pool_recover(devdax->seeds);
                devdax->put_in_order = r >= 0;
        }
        pthread_mutex_unlock(&devdax->order_mutex);
        return r;
}

static int devdax_prepare(Piece *piece, Failure *failure) {
        Devdax *devdax = piece->state;
        char device[DAX_NAME_MAX];
        int r;

        r = devdax_put_in_order(devdax);
        if (r >= 0)
                r = seed_pool_take(devdax->seeds, device);
        if (r == -ETIMEDOUT || r == -EACCES)
                return failure_set(failure, REFUSAL_Failed,
                                   "udev does not hand new devices over to us: is its rule for daxbroker installed?");
        if (r < 0)
                return failure_set_errno(failure, r, "cannot make a device");

        r = handle_format(devdax, piece, device, &piece->handle);
        if (r < 0) {
                seed_pool_return(devdax->seeds, device);
                return failure_set_errno(failure, r, "cannot name the device");
        }

        return 0;
}

static void devdax_prepared(Piece *piece, bool recorded) {
        Devdax *devdax = piece->state;
        char device[DAX_NAME_MAX];
        int r;

        (void) piece_device(piece, device);
        if (!recorded) {
                seed_pool_return(devdax->seeds, device);
                free(piece->handle);
                piece->handle = NULL;
                return;
        }

        r = seed_pool_taken(devdax->seeds, device);
        if (r < 0)
                log_warning("cannot note that %s is in use: %s", device, strerror(-r));
}

/* Whether the device is the one that the piece says, or has the first of its ranges, as while it is being carved; and not
 * one that was made under the same name after ours was destroyed. Since nobody else is given the ranges of a piece, it is
 * they that tell. */
static bool device_begins_as(const DaxDevice *device, const Piece *piece) {
        uint64_t sum = 0;
        unsigned i;

        for (i = 0; i < piece->n_ranges && sum < device->size; i++) {
                Range range = piece_range(piece, i);

                if (device->ranges_known && (i >= device->n_ranges || device->ranges[i].start != range.start ||
                                             device->ranges[i].length != range.length))
                        return false;
                sum += range.length;
        }

        return sum == device->size;
}

static bool device_is_of(const DaxDevice *device, const Piece *piece) {
        return device->size == piece->length && device_begins_as(device, piece);
}

/* Whether it is surely another one, which lies elsewhere. */
static bool device_is_elsewhere(const DaxDevice *device, const Piece *piece) {
        for (unsigned i = 0; i < device->n_ranges && device->size > 0; i++)
                for (unsigned j = 0; j < piece->n_ranges; j++) {
                        Range ours = piece_range(piece, j), theirs = device->ranges[i];

                        if (theirs.start < ours.start + ours.length && ours.start < theirs.start + theirs.length)
                                return false;
                }

        return device->ranges_known;
}

/* Looks at the device of a piece that was complete. -ENOENT: it is gone, whatever has its name now; -EUCLEAN: somebody has
 * changed it. */
static int devdax_inspect(const Piece *piece, DaxDevice *ret) {
        const Devdax *devdax = piece->state;
        char name[DAX_NAME_MAX];
        DaxDevice device;
        int r;

        r = dax_inspect(devdax->path, piece_device(piece, name), &device);
        if (r < 0)
                return r;
        if (!device_is_of(&device, piece))
                return device_is_elsewhere(&device, piece) ? -ENOENT : -EUCLEAN;

        *ret = device;
        return 0;
}

/* Opens the device of a piece that was complete. It is looked at after that, because what has its name can only change from
 * ours to another. */
static int devdax_open_own(const Piece *piece, bool read_only, int *ret_fd) {
        const Devdax *devdax = piece->state;
        _cleanup_close_ int fd = -EBADF;
        char name[DAX_NAME_MAX];
        DaxDevice device;
        int r;

        r = dax_open(devdax->path, piece_device(piece, name), read_only, &fd);
        if (r >= 0)
                r = devdax_inspect(piece, &device);
        if (r < 0)
                return r;
        if (!device.ranges_known)
                return -EUCLEAN;

        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int devdax_revoke(Piece *piece, Failure *failure) {
        const Devdax *devdax = piece->state;
        char name[DAX_NAME_MAX];
        DaxDevice device;
        int r;

        piece_close(piece);
        (void) piece_device(piece, name);
        (void) dax_unclaim(name);
        r = dax_inspect(devdax->path, name, &device);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return failure_set_errno(failure, r, "cannot look at %s", name);
        if (!device_begins_as(&device, piece)) {
                log_warning("%s is not ours any more: somebody has made another one of this name", name);
                piece->clean = false;
                return 0;
        }

        r = dax_unbind(devdax->path, name);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot unbind %s", name);
        r = dax_shrink(devdax->path, name);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot free the memory of %s", name);
        r = dax_delete(devdax->path, name);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot delete %s", name);
        return 0;
}

static int devdax_open_files(Piece *piece, const char *name, Failure *failure) {
        const Devdax *devdax = piece->state;
        int r;

        r = dax_open(devdax->path, name, false, &piece->fd);
        if (r >= 0)
                r = dax_open(devdax->path, name, true, &piece->fd_read_only);
        return r < 0 ? failure_set_errno(failure, r, "cannot open /dev/%s", name) : 0;
}

static int devdax_zero(Piece *piece, int fd, Failure *failure) {
        const Devdax *devdax = piece->state;
        int r;

        piece->cleaned = 0;
        r = clean_fd(fd, piece->length, piece->page_size > DAX_GRANULARITY ? piece->page_size : DAX_GRANULARITY,
                     devdax->throttle, &piece->cleaned, &devdax->stopping);
        piece->clean = r >= 0;
        if (r == -ECANCELED)
                return failure_set(failure, REFUSAL_ShuttingDown, "the broker was stopped while it zeroed the memory; ask again");
        return r < 0 ? failure_set_errno(failure, r, "cannot zero it") : 0;
}

/* Nobody has ever had it, so this is what no references look like. */
static void devdax_teach(Piece *piece) {
        Devdax *devdax = piece->state;
        atomic_bool *taught = piece->page_size < DAX_GRANULARITY   ? &devdax->taught_small
                              : piece->page_size < GIB ? &devdax->taught_large
                                                       : &devdax->taught_huge;
        Range first = piece_range(piece, 0);

        if (devdax->recycle != RECYCLE_WITNESSED || *taught)
                return;

        first.length = piece->page_size > DAX_GRANULARITY ? piece->page_size : DAX_GRANULARITY;
        *taught = witness_teach(&first, 1, piece->page_size) >= 0;
}

static int devdax_make_device(Piece *piece, const char *name, Failure *failure) {
        const Devdax *devdax = piece->state;
        Range ranges[PIECE_RANGES_MAX];
        DaxDevice device;
        int r = 0;

        if (piece->page_size != devdax->alignment)
                r = dax_align(devdax->path, name, piece->page_size);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot give %s pages of %s", name, SIZE_TEXT(piece->page_size));

        for (unsigned i = 0; i < piece->n_ranges; i++)
                ranges[i] = piece_range(piece, i);
        r = dax_add_ranges(devdax->path, name, ranges, piece->n_ranges);
        if (r == -EADDRINUSE) {
                piece->foreign = true;
                return failure_set(failure, REFUSAL_NoSpace,
                                   "somebody else has just taken memory of this region; try again");
        }
        if (r < 0)
                return failure_set_errno(failure, r, "cannot give %s its memory", name);

        r = dax_bind(devdax->path, name, piece->length);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot bind %s", name);
        r = dax_inspect(devdax->path, name, &device);
        if (r >= 0 && (device.driver != DAX_DRIVER_DEVICE || !device_is_of(&device, piece) ||
                       device.alignment != piece->page_size))
                r = -EUCLEAN;
        return r < 0 ? failure_set_errno(failure, r, "%s is not what was made of it", name) : 0;
}

static int devdax_carve(Piece *piece, const char *id, Failure *failure) {
        const Devdax *devdax = piece->state;
        char name[DAX_NAME_MAX];
        Failure undo;
        int r;

        (void) id;
        (void) piece_device(piece, name);
        r = devdax_make_device(piece, name, failure);
        if (r >= 0) {
                r = dax_unclaim(name);
                if (r < 0)
                        (void) failure_set_errno(failure, r, "cannot take back the claim on %s", name);
        }
        if (r >= 0)
                r = devdax_open_files(piece, name, failure);
        if (r >= 0) {
                devdax_teach(piece);
                if (!piece->clean || devdax->clean != CLEAN_ON_FREE)
                        r = devdax_zero(piece, piece->fd, failure);
        }
        if (r < 0 && devdax_revoke(piece, &undo) < 0) {
                piece->stuck = true;
                log_warning("carving failed (%s), and could not be undone: %s", failure->text, undo.text);
        } else if (r == -EBUSY || r == -EUCLEAN) {
                /* an admin's claim has bound it before it was complete, or he has taken it for his own: try another one */
                log_notice("%s was in somebody else's hands while it was made: %s", name, failure->text);
                free(piece->handle);
                piece->handle = NULL;
                return -EAGAIN;
        }
        /* from the moment somebody has it, nobody knows what is in it */
        if (r >= 0)
                piece->clean = false;
        return r;
}

static int devdax_reuse(Piece *piece, Failure *failure) {
        const Devdax *devdax = piece->state;
        char name[DAX_NAME_MAX];
        int r;

        r = devdax_open_own(piece, false, &piece->fd);
        if (r >= 0)
                r = devdax_open_own(piece, true, &piece->fd_read_only);
        if (r < 0)
                (void) failure_set_errno(failure, r, "cannot open /dev/%s again", piece_device(piece, name));
        if (r >= 0 && (!piece->clean || devdax->clean != CLEAN_ON_FREE))
                r = devdax_zero(piece, piece->fd, failure);
        if (r >= 0)
                piece->clean = false;
        /* it is not offered again */
        if (r == -ENOENT || r == -ENXIO || r == -EUCLEAN || r == -EFAULT)
                piece->stuck = true;
        return r;
}

static int devdax_open(Piece *piece, bool read_only, int *ret_fd, Failure *failure) {
        int fd = fcntl(read_only ? piece->fd_read_only : piece->fd, F_DUPFD_CLOEXEC, 0);

        if (fd < 0)
                return failure_set_errno(failure, -errno, "cannot copy the descriptor");

        *ret_fd = fd;
        return 0;
}

static int devdax_judge(Piece *piece, Failure *failure) {
        const Devdax *devdax = piece->state;
        Range ranges[PIECE_RANGES_MAX];
        char name[DAX_NAME_MAX], why[256] = "";
        DaxDevice device;

        if (devdax->stopping)
                return failure_set(failure, REFUSAL_ShuttingDown, "the broker is being stopped");
        if (devdax->recycle == RECYCLE_ANY)
                return 0;
        /* like any revocation by force: an admin's doing, and his to answer for */
        if (devdax_inspect(piece, &device) == -ENOENT) {
                log_warning("somebody has destroyed %s, which may have been referred to still", piece_device(piece, name));
                return 0;
        }
        if (piece->held)
                return failure_set(failure, REFUSAL_StillReferenced,
                                   "somebody still has it, and can have the kernel refer to its pages at any moment");
        if (devdax->recycle == RECYCLE_OWNER)
                return failure_set(failure, REFUSAL_StillReferenced,
                                   "something may refer to its pages still, and nobody can tell (Recycle=owner)");

        for (unsigned i = 0; i < piece->n_ranges; i++)
                ranges[i] = piece_range(piece, i);
        switch (witness_ask(ranges, piece->n_ranges, piece->page_size, why, sizeof(why))) {
        case WITNESS_IDLE:
                return 0;
        case WITNESS_REFERENCED:
                return failure_set(failure, REFUSAL_StillReferenced,
                                   "something refers to its pages still (%s)", why);
        case WITNESS_UNKNOWN:
                break;
        }

        return failure_set(failure, REFUSAL_StillReferenced,
                           "something may refer to its pages still, and the witness cannot tell (%s)", why);
}

static int devdax_clean(Piece *piece, Failure *failure) {
        const Devdax *devdax = piece->state;
        _cleanup_close_ int fd = -EBADF;
        char name[DAX_NAME_MAX];
        int r;

        if (piece->clean || devdax->clean == CLEAN_ON_ALLOC)
                return 0;

        r = devdax_open_own(piece, false, &fd);
        if (r == -ENOENT) /* there is nothing to do it with */
                return 0;
        if (r < 0)
                return failure_set_errno(failure, r, "cannot open /dev/%s", piece_device(piece, name));

        return devdax_zero(piece, fd, failure);
}

static int devdax_node(const Piece *piece, char *ret, size_t size) {
        char name[DAX_NAME_MAX];
        DaxDevice device;

        if (devdax_inspect(piece, &device) == -ENOENT)
                return -ENOENT;
        return snprintf(ret, size, "/dev/%s", piece_device(piece, name)) < (int) size ? 0 : -ENAMETOOLONG;
}

static int devdax_recover(Piece *piece, int stored_fds[static 2], Failure *failure) {
        const Devdax *devdax = piece->state;
        char name[DAX_NAME_MAX];
        DaxDevice device;
        struct stat st;
        int r;

        (void) piece_device(piece, name);
        r = dax_inspect(devdax->path, name, &device);
        if (r == -ENOENT || (r >= 0 && device.size > 0 && device_is_elsewhere(&device, piece))) {
                (void) failure_set(failure, REFUSAL_Failed, "%s is no longer there", name);
                return -ESTALE;
        }
        if (r < 0)
                return failure_set_errno(failure, r, "cannot look at %s", name);
        if (device.driver != DAX_DRIVER_DEVICE || !device_is_of(&device, piece)) {
                (void) failure_set(failure, REFUSAL_Failed, "%s is not as it was left: somebody else has changed it", name);
                return -EUCLEAN;
        }

        for (unsigned i = 0; i < 2; i++)
                if (stored_fds[i] < 0 || fstat(stored_fds[i], &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != device.node) {
                        (void) failure_set(failure, REFUSAL_Failed,
                                           "the broker has no descriptor of %s any more; its holders have", name);
                        return -ENOENT;
                }

        piece->fd = TAKE_FD(stored_fds[0]);
        piece->fd_read_only = TAKE_FD(stored_fds[1]);
        return 0;
}

static int devdax_replenish(Region *region, Failure *failure) {
        Devdax *devdax = region->state;
        int r;

        if (!devdax) /* it has gone meanwhile */
                return 0;

        r = devdax_put_in_order(devdax);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot put in order what an earlier broker has left");
        r = seed_pool_fill(devdax->seeds);
        if (r == -ETIMEDOUT || r == -EACCES)
                return failure_set(failure, REFUSAL_RegionUnusable,
                                   "udev does not hand new devices over to us: is its rule for daxbroker installed?");
        return r < 0 && r != -ENOSPC ? failure_set_errno(failure, r, "cannot make devices ahead") : 0;
}

static void devdax_hurry(Region *region) {
        Devdax *devdax = region->state;

        if (devdax)
                devdax->stopping = true;
}

static void devdax_rest(Region *region) {
        Devdax *devdax = region->state;

        if (devdax)
                seed_pool_drain(devdax->seeds);
}

const Provider provider_devdax = {
        .name = "devdax",
        .isolation = "device",
        .stores_fd = true,
        .drains = true,
        .probe = devdax_probe,
        .plan = devdax_plan,
        .fits = devdax_fits,
        .reserve = devdax_reserve,
        .claim = devdax_claim,
        .release = devdax_release,
        .is_low = devdax_is_low,
        .forget = devdax_forget,
        .prepare = devdax_prepare,
        .prepared = devdax_prepared,
        .carve = devdax_carve,
        .reuse = devdax_reuse,
        .open = devdax_open,
        .judge = devdax_judge,
        .clean = devdax_clean,
        .revoke = devdax_revoke,
        .node = devdax_node,
        .recover = devdax_recover,
        .replenish = devdax_replenish,
        .hurry = devdax_hurry,
        .rest = devdax_rest,
};
