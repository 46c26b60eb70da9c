/* SPDX-License-Identifier: MIT */
#pragma once

/* Which ranges of a region are free, and which of those are known to hold nothing but zeros. Pure bookkeeping. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "range.h"

typedef struct RangeMap RangeMap;

/* How a piece shall lie. */
typedef struct RangeWish {
        uint64_t length;    /* a multiple of granularity */
        uint64_t alignment; /* of the start of each range, and of each length but the last: a power of two */
        bool contiguous;    /* one range or nothing */
        size_t max_ranges;
} RangeWish;

/* Everything is free, nothing known to be clean. start and length are multiples of granularity. */
int range_map_new(Range whole, uint64_t granularity, RangeMap **ret);
RangeMap *range_map_free(RangeMap *map);

/* Chooses free ranges and takes them: one that fits tightly if there is one, clean ones rather than others, else as few as
 * possible. ret_clean: all of it was clean. -ENOSPC: no such ranges; -ENOMEM. */
int range_map_take(RangeMap *map, const RangeWish *wish, Range *ret, size_t *ret_n, bool *ret_clean);

/* The same without taking. */
bool range_map_fits(const RangeMap *map, const RangeWish *wish);

/* Takes exactly this. -EADDRINUSE: not all of it is free; -ERANGE: outside. */
int range_map_claim(RangeMap *map, Range range);

/* Gives back what was taken. Cannot fail. */
void range_map_give(RangeMap *map, Range range, bool clean);

/* Nothing that is free is known to be clean any more. */
void range_map_soil(RangeMap *map);

uint64_t range_map_available(const RangeMap *map);
/* Length of the longest single range of this alignment; and the most that max_ranges of them make up. */
uint64_t range_map_largest(const RangeMap *map, uint64_t alignment, size_t max_ranges);
