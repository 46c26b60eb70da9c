/* SPDX-License-Identifier: MIT */
#pragma once

/* Which ranges of a region are free, and which of those are known to hold nothing but zeros. Pure bookkeeping; not to be
 * used by two threads at once. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "range.h"

/* A wish is never met with more ranges than this, whatever it allows. */
#define RANGE_MAP_RANGES_MAX 64

typedef struct RangeMap RangeMap;

/* How a piece shall lie. */
typedef struct RangeWish {
        uint64_t length;    /* in all: a multiple of granularity and alignment */
        uint64_t alignment; /* of the start and of the length of each range: a power of two */
        bool contiguous;    /* one range or nothing */
        size_t max_ranges;
} RangeWish;

/* Everything is free, nothing known to be clean. granularity is a power of two; start and length are multiples of it, and
 * length is not 0: -EINVAL otherwise. */
int range_map_new(Range whole, uint64_t granularity, RangeMap **ret);
RangeMap *range_map_free(RangeMap *map);

/* Chooses free ranges and takes them. What counts, from what matters most: as few ranges as possible; clean ones; leaving
 * gigabytes whole for those who need one; a tight fit; a low address. Ranges never touch each other. ret has room for
 * wish->max_ranges, or for RANGE_MAP_RANGES_MAX if that is less. ret_clean: all of it was clean.
 * -ENOSPC: there is no such choice. -EINVAL: the wish is not as described above. */
int range_map_take(RangeMap *map, const RangeWish *wish, Range *ret, size_t *ret_n, bool *ret_clean);

/* The same without taking. */
bool range_map_fits(const RangeMap *map, const RangeWish *wish);

/* The same into a map of their own, which knows what is clean of them. */
int range_map_split(RangeMap *map, const RangeWish *wish, Range *ret, size_t *ret_n, RangeMap **ret_part);

/* Takes exactly these ranges, of which no two overlap, into a map of their own. Errors: as of range_map_claim(); then
 * nothing was taken. */
int range_map_split_ranges(RangeMap *map, const Range *ranges, size_t n, RangeMap **ret_part);

/* Gives back what is free in a part. Cannot fail. Returns NULL. */
RangeMap *range_map_join(RangeMap *map, RangeMap *part);

/* What is free in either of two maps of the same whole; of which nothing is known to be clean. -ENOMEM. */
int range_map_unite(const RangeMap *a, const RangeMap *b, RangeMap **ret);

/* Takes exactly this. -EADDRINUSE: not all of it is free; -ERANGE: outside; -EINVAL: not of this granularity. */
int range_map_claim(RangeMap *map, Range range);

/* Gives back what was taken or claimed, or a part of it. Cannot fail. */
void range_map_give(RangeMap *map, Range range, bool clean);

/* Nothing that is free is known to be clean any more. */
void range_map_soil(RangeMap *map);

uint64_t range_map_available(const RangeMap *map);

/* The longest wish of this alignment that could be met with so many ranges; 1 for one that is contiguous. */
uint64_t range_map_largest(const RangeMap *map, uint64_t alignment, size_t max_ranges);
