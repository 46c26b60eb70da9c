/* SPDX-License-Identifier: MIT */

/* Ranges of a dax region that are kept for one user: a map of their own, split from the region's, from which the ranges of
 * his pieces are taken, and to which they go back. The kernel knows nothing of it: to it they are free, and whoever is root
 * can make a device there. Then carving fails, and the ranges are somebody else's, as in the region.
 *
 * The handle has the ranges as they were split, whatever was taken of them since. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "devdax-handle.h"
#include "devdax.h"

#define HANDLE_BEGIN "hold "

/* Takes over the map. */
static int hold_new(Region *region, RangeMap *map, Hold **ret) {
        Devdax *devdax = region->state;
        Hold *hold;

        hold = calloc(1, sizeof(*hold));
        if (!hold) {
                range_map_join(devdax->map, map);
                return -ENOMEM;
        }

        hold->map = map;
        DL_APPEND(devdax->holds, hold);
        devdax_count(region);
        *ret = hold;
        return 0;
}

int devdax_hold(Region *region, const Piece *plan, Hold **ret, char **ret_handle, Failure *failure) {
        Devdax *devdax = region->state;
        RangeWish wish = devdax_wish(plan);
        Range ranges[PIECE_RANGES_MAX];
        RangeMap *map;
        size_t n;
        int r;

        r = range_map_split(devdax->map, &wish, ranges, &n, &map);
        if (r >= 0)
                r = hold_new(region, map, ret);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot keep ranges of region '%s'", region->name);

        r = devdax_handle_format("hold", ranges, n, ret_handle);
        if (r < 0) {
                devdax_hold_end(region, *ret);
                *ret = NULL;
                return failure_set_errno(failure, r, "cannot keep ranges of region '%s'", region->name);
        }

        return 0;
}

int devdax_hold_again(Region *region, const char *handle, uint64_t length, Hold **ret, Failure *failure) {
        Devdax *devdax = region->state;
        Range ranges[DAX_RANGES_MAX];
        uint64_t sum = 0;
        RangeMap *map;
        unsigned n;
        int r;

        if (!devdax || !devdax->map)
                return failure_set(failure, REFUSAL_RegionUnusable, "its region is not there: %s",
                                   region->reason ? region->reason : "");
        if (!handle || strncmp(handle, HANDLE_BEGIN, strlen(HANDLE_BEGIN)) != 0 ||
            devdax_ranges_parse(handle + strlen(HANDLE_BEGIN), ranges, &n) < 0)
                return failure_set(failure, REFUSAL_Failed, "its record does not say where it lies");
        for (unsigned i = 0; i < n; i++)
                if (__builtin_add_overflow(sum, ranges[i].length, &sum))
                        break;
        if (sum != length)
                return failure_set(failure, REFUSAL_Failed, "its record says that it lies where it cannot");

        r = range_map_split_ranges(devdax->map, ranges, n, &map);
        if (r == -EADDRINUSE || r == -ERANGE || r == -EINVAL)
                return failure_set(failure, REFUSAL_Failed, "its record says that it lies where something else is");
        if (r >= 0)
                r = hold_new(region, map, ret);
        return r < 0 ? failure_set_errno(failure, r, "cannot keep an account of it") : 0;
}

uint64_t devdax_hold_largest(const Hold *hold) {
        return range_map_largest(hold->map, DAX_GRANULARITY, PIECE_RANGES_MAX);
}

void devdax_hold_end(Region *region, Hold *hold) {
        Devdax *devdax = region->state;

        DL_DELETE(devdax->holds, hold);
        range_map_join(devdax->map, hold->map);
        free(hold);
        devdax_count(region);
}
