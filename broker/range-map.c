/* SPDX-License-Identifier: MIT */

/* The free ranges of one region: two bits for each unit of memory, "free" and, of those, "clean".
 *
 * Bits rather than a tree or a list of ranges, because neighbours then are one range by themselves, giving back needs no
 * memory and cannot fail, and any range can be claimed, whatever was taken before. A terabyte in units of 2 MiB is 128 KiB
 * of them. Claiming and giving back cost a word for each 64 units that they are about. Choosing and asking are one to three
 * passes over all of it, a word at a time where nothing changes: 20 µs for a terabyte that is one piece, and as much again
 * for each few hundred pieces. If every second unit were taken it would be 20 ms.
 *
 * Words used here: a unit is granularity bytes, numbered from the start of the region. A run is as many free units in a row
 * as there are. A hole is what is considered for one range: a run, or, when only clean memory will do, a part of one that is
 * clean. A block is an aligned gigabyte, which is the largest alignment that somebody may need. */

#include "range-map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "size.h"

#define BITS 64

struct RangeMap {
        Range whole;
        unsigned shift; /* a unit has 1 << shift bytes */
        uint64_t n_units, n_free;
        uint64_t *free, *clean; /* clean is never set where free is not */
};

/* Of units: from start to just before end. */
typedef struct Span {
        uint64_t start, end;
} Span;

/* Goes over the holes, upwards. */
typedef struct Holes {
        const RangeMap *map;
        bool clean;
        Span run, hole;
} Holes;

/* Where a range could lie, and what speaks against it. */
typedef struct Place {
        uint64_t start;
        uint64_t broken; /* whole blocks that it takes something from */
        uint64_t room;   /* units there are at this place, blocks that are left whole not counted */
} Place;

/* ---- Bits ------------------------------------------------------------------------------------------------------------ */

/* The first unit from at on whose bit is value; end if there is none before. */
static uint64_t bits_find(const uint64_t *bits, uint64_t at, uint64_t end, bool value) {
        uint64_t flip = value ? 0 : UINT64_MAX, word;

        if (at >= end)
                return end;

        word = (bits[at / BITS] ^ flip) & UINT64_MAX << at % BITS;
        at -= at % BITS;
        while (word == 0) {
                at += BITS;
                if (at >= end)
                        return end;
                word = bits[at / BITS] ^ flip;
        }

        at += (unsigned) __builtin_ctzll(word);
        return at < end ? at : end;
}

/* The next units in a row whose bit is set; an empty span at end if there are none. */
static Span bits_find_span(const uint64_t *bits, uint64_t at, uint64_t end) {
        uint64_t start = bits_find(bits, at, end, true);

        return (Span) { start, bits_find(bits, start, end, false) };
}

static void bits_fill(uint64_t *bits, Span span, bool value) {
        while (span.start < span.end) {
                uint64_t n = BITS - span.start % BITS, mask;

                if (n > span.end - span.start)
                        n = span.end - span.start;
                mask = UINT64_MAX >> (BITS - n) << span.start % BITS;
                if (value)
                        bits[span.start / BITS] |= mask;
                else
                        bits[span.start / BITS] &= ~mask;
                span.start += n;
        }
}

/* ---- Units ----------------------------------------------------------------------------------------------------------- */

/* What is smaller than a unit is one. */
static uint64_t units_of(const RangeMap *map, uint64_t bytes) {
        uint64_t units = bytes >> map->shift;

        return units > 0 ? units : 1;
}

/* Alignment is that of addresses, so it matters where the region starts. */
static uint64_t misalignment(const RangeMap *map, uint64_t unit, uint64_t alignment) {
        return ((map->whole.start >> map->shift) + unit) & (alignment - 1);
}

/* May be behind the end of the region. */
static uint64_t align_up(const RangeMap *map, uint64_t unit, uint64_t alignment) {
        uint64_t beyond = misalignment(map, unit, alignment);

        return beyond == 0 ? unit : unit + (alignment - beyond);
}

/* The part of a span that starts aligned and has an aligned length; it may be empty. */
static Span align_inside(const RangeMap *map, Span span, uint64_t alignment) {
        uint64_t start = align_up(map, span.start, alignment);

        if (start >= span.end)
                return (Span) { span.end, span.end };
        return (Span) { start, start + ((span.end - start) & ~(alignment - 1)) };
}

static Range span_to_range(const RangeMap *map, Span span) {
        return (Range) { map->whole.start + (span.start << map->shift), (span.end - span.start) << map->shift };
}

static int span_from_range(const RangeMap *map, Range range, Span *ret) {
        uint64_t offset = range.start - map->whole.start, unit = UINT64_C(1) << map->shift;

        if (range.length == 0 || ((range.start | range.length) & (unit - 1)) != 0)
                return -EINVAL;
        if (range.start < map->whole.start || offset > map->whole.length || range.length > map->whole.length - offset)
                return -ERANGE;

        *ret = (Span) { offset >> map->shift, (offset + range.length) >> map->shift };
        return 0;
}

/* ---- Holes ----------------------------------------------------------------------------------------------------------- */

static bool holes_next(Holes *holes) {
        const RangeMap *map = holes->map;

        for (;;) {
                if (holes->clean) {
                        holes->hole = bits_find_span(map->clean, holes->hole.end, holes->run.end);
                        if (holes->hole.start < holes->run.end)
                                return true;
                }

                holes->run = bits_find_span(map->free, holes->run.end, map->n_units);
                if (holes->run.start == map->n_units)
                        return false;
                if (!holes->clean) {
                        holes->hole = holes->run;
                        return true;
                }
                holes->hole.end = holes->run.start;
        }
}

/* What a range of n units from start on would mean for the blocks in its run. */
static Place place_judge(const RangeMap *map, const Holes *holes, uint64_t start, uint64_t n) {
        uint64_t block = units_of(map, GIB), end = start + n;
        Span blocks = align_inside(map, holes->run, block), room = holes->hole;
        Place place = { .start = start };

        if (blocks.start < blocks.end) {
                if (end <= blocks.start && room.end > blocks.start)
                        room.end = blocks.start;
                else if (start >= blocks.end && room.start < blocks.end)
                        room.start = blocks.end;
                else if (end > blocks.start && start < blocks.end) {
                        uint64_t first = start > blocks.start ? start - blocks.start : 0;
                        uint64_t last = (end < blocks.end ? end : blocks.end) - 1 - blocks.start;

                        place.broken = last / block - first / block + 1;
                }
        }

        place.room = room.end - room.start;
        return place;
}

static bool place_is_better(const Place *a, const Place *b) {
        return a->broken != b->broken ? a->broken < b->broken : a->room < b->room;
}

/* The best place for one range; leaves *ret as it is if there is none. In each hole it is at the bottom, at the top, or
 * where a block starts: any other breaks no fewer blocks. */
static void place_choose(const RangeMap *map, bool clean, uint64_t n, uint64_t alignment, Span *ret) {
        uint64_t block = units_of(map, GIB), coarser = alignment > block ? alignment : block;
        Place best = { .broken = UINT64_MAX, .room = UINT64_MAX };
        Holes holes = { .map = map, .clean = clean };

        while (holes_next(&holes)) {
                uint64_t lowest = align_up(map, holes.hole.start, alignment), highest;

                if (lowest > holes.hole.end || n > holes.hole.end - lowest)
                        continue;
                highest = holes.hole.end - n;
                highest -= misalignment(map, highest, alignment);

                for (unsigned i = 0; i < 3; i++) {
                        uint64_t start = i == 0 ? lowest : i == 1 ? highest : align_up(map, lowest, coarser);
                        Place place;

                        if (start > highest)
                                continue;
                        place = place_judge(map, &holes, start, n);
                        if (place_is_better(&place, &best))
                                best = place;
                }
        }

        if (best.room < UINT64_MAX)
                *ret = (Span) { best.start, best.start + n };
}

/* The largest aligned spans that there are, the largest first. */
static size_t largest_spans(const RangeMap *map, bool clean, uint64_t alignment, size_t max, Span *ret) {
        Holes holes = { .map = map, .clean = clean };
        size_t n = 0;

        while (max > 0 && holes_next(&holes)) {
                Span span = align_inside(map, holes.hole, alignment);
                uint64_t length = span.end - span.start;
                size_t i;

                if (length == 0 || (n == max && length <= ret[n - 1].end - ret[n - 1].start))
                        continue;
                if (n < max)
                        n++;
                for (i = n - 1; i > 0 && length > ret[i - 1].end - ret[i - 1].start; i--)
                        ret[i] = ret[i - 1];
                ret[i] = span;
        }

        return n;
}

/* How many of the largest it takes for n units; 0 if all of them are too few. */
static size_t count_needed(const Span *spans, size_t n_spans, uint64_t n) {
        for (size_t i = 0; i < n_spans; i++) {
                uint64_t length = spans[i].end - spans[i].start;

                if (length >= n)
                        return i + 1;
                n -= length;
        }

        return 0;
}

/* ---- What others see ------------------------------------------------------------------------------------------------- */

static size_t ranges_max(size_t max_ranges, bool contiguous) {
        if (contiguous && max_ranges > 1)
                return 1;
        return max_ranges < RANGE_MAP_RANGES_MAX ? max_ranges : RANGE_MAP_RANGES_MAX;
}

static bool wish_is_valid(const RangeMap *map, const RangeWish *wish) {
        uint64_t unit = UINT64_C(1) << map->shift;

        return wish->length > 0 && is_power_of_two(wish->alignment) && wish->max_ranges > 0 &&
               (wish->length & ((wish->alignment - 1) | (unit - 1))) == 0;
}

/* How many ranges the wish takes, and which ones are the largest of their kind; 0 if it cannot be met. */
static size_t wish_plan(const RangeMap *map, const RangeWish *wish, bool clean, Span ret[static RANGE_MAP_RANGES_MAX]) {
        size_t n;

        n = largest_spans(map, clean, units_of(map, wish->alignment), ranges_max(wish->max_ranges, wish->contiguous), ret);
        return count_needed(ret, n, wish->length >> map->shift);
}

static void map_take(RangeMap *map, Span span) {
        bits_fill(map->free, span, false);
        bits_fill(map->clean, span, false);
        map->n_free -= span.end - span.start;
}

int range_map_new(Range whole, uint64_t granularity, RangeMap **ret) {
        RangeMap *map;
        uint64_t n_words;

        if (!is_power_of_two(granularity) || whole.length == 0 || ((whole.start | whole.length) & (granularity - 1)) != 0 ||
            whole.start > UINT64_MAX - (whole.length - 1))
                return -EINVAL;

        map = calloc(1, sizeof(*map));
        if (!map)
                return -ENOMEM;
        map->whole = whole;
        map->shift = (unsigned) __builtin_ctzll(granularity);
        map->n_units = map->n_free = whole.length >> map->shift;

        n_words = map->n_units / BITS + 1;
        map->free = calloc(n_words, sizeof(*map->free));
        map->clean = calloc(n_words, sizeof(*map->clean));
        if (!map->free || !map->clean) {
                range_map_free(map);
                return -ENOMEM;
        }

        bits_fill(map->free, (Span) { 0, map->n_units }, true);
        *ret = map;
        return 0;
}

RangeMap *range_map_free(RangeMap *map) {
        if (!map)
                return NULL;

        free(map->free);
        free(map->clean);
        free(map);
        return NULL;
}

int range_map_take(RangeMap *map, const RangeWish *wish, Range *ret, size_t *ret_n, bool *ret_clean) {
        Span any[RANGE_MAP_RANGES_MAX], cleans[RANGE_MAP_RANGES_MAX], *spans = any;
        uint64_t left;
        size_t n;
        bool clean;

        if (!wish_is_valid(map, wish))
                return -EINVAL;

        n = wish_plan(map, wish, false, any);
        if (n == 0)
                return -ENOSPC;
        clean = wish_plan(map, wish, true, cleans) == n;
        if (clean)
                spans = cleans;

        /* all but one are the largest there are, and taken as they are; the last one is for the rest, and may be chosen */
        left = wish->length >> map->shift;
        for (size_t i = 0; i + 1 < n; i++) {
                map_take(map, spans[i]);
                left -= spans[i].end - spans[i].start;
        }
        spans[n - 1].end = spans[n - 1].start + left;
        place_choose(map, clean, left, units_of(map, wish->alignment), &spans[n - 1]);
        map_take(map, spans[n - 1]);

        for (size_t i = 0; i < n; i++)
                ret[i] = span_to_range(map, spans[i]);
        *ret_n = n;
        *ret_clean = clean;
        return 0;
}

bool range_map_fits(const RangeMap *map, const RangeWish *wish) {
        Span spans[RANGE_MAP_RANGES_MAX];

        return wish_is_valid(map, wish) && wish_plan(map, wish, false, spans) > 0;
}

/* Where a range of one map lies in another one. */
static Span span_elsewhere(const RangeMap *from, Span span, const RangeMap *to) {
        uint64_t start = (from->whole.start >> from->shift) + span.start - (to->whole.start >> to->shift);

        return (Span) { start, start + (span.end - span.start) };
}

/* A map in which nothing is free but these ranges, and clean what is said to be so in the first one. */
static int part_new(const RangeMap *map, const uint64_t *clean, const Range *ranges, size_t n, RangeMap **ret) {
        uint64_t start = UINT64_MAX, last = 0;
        RangeMap *part;
        int r;

        for (size_t i = 0; i < n; i++) {
                if (ranges[i].start < start)
                        start = ranges[i].start;
                if (ranges[i].start + (ranges[i].length - 1) > last)
                        last = ranges[i].start + (ranges[i].length - 1);
        }
        r = range_map_new((Range) { start, last - start + 1 }, UINT64_C(1) << map->shift, &part);
        if (r < 0)
                return r;

        map_take(part, (Span) { 0, part->n_units });
        for (size_t i = 0; i < n; i++) {
                Span span, clean_span = { 0, 0 };

                r = span_from_range(map, ranges[i], &span);
                if (r < 0) {
                        range_map_free(part);
                        return r;
                }
                range_map_give(part, ranges[i], false);
                clean_span.end = span.start;
                while (clean_span = bits_find_span(clean, clean_span.end, span.end), clean_span.start < span.end)
                        bits_fill(part->clean, span_elsewhere(map, clean_span, part), true);
        }

        *ret = part;
        return 0;
}

/* What is clean now; free() it. */
static uint64_t *copy_clean(const RangeMap *map) {
        size_t size = (map->n_units / BITS + 1) * sizeof(*map->clean);
        uint64_t *copy;

        copy = malloc(size);
        return copy ? memcpy(copy, map->clean, size) : NULL;
}

int range_map_split(RangeMap *map, const RangeWish *wish, Range *ret, size_t *ret_n, RangeMap **ret_part) {
        bool all_clean;
        uint64_t *clean;
        size_t n;
        int r;

        clean = copy_clean(map);
        if (!clean)
                return -ENOMEM;
        r = range_map_take(map, wish, ret, &n, &all_clean);
        if (r >= 0) {
                r = part_new(map, clean, ret, n, ret_part);
                for (size_t i = 0; r < 0 && i < n; i++)
                        range_map_give(map, ret[i], all_clean);
        }
        free(clean);
        if (r < 0)
                return r;

        *ret_n = n;
        return 0;
}

int range_map_split_ranges(RangeMap *map, const Range *ranges, size_t n, RangeMap **ret_part) {
        uint64_t *clean;
        size_t i = 0;
        int r = n > 0 ? 0 : -EINVAL;

        clean = copy_clean(map);
        if (!clean)
                return -ENOMEM;
        while (r >= 0 && i < n) {
                r = range_map_claim(map, ranges[i]);
                if (r >= 0)
                        i++;
        }
        if (r >= 0)
                r = part_new(map, clean, ranges, n, ret_part);
        while (r < 0 && i > 0)
                range_map_give(map, ranges[--i], false);
        free(clean);
        return r;
}

RangeMap *range_map_join(RangeMap *map, RangeMap *part) {
        Span span = { 0, 0 };

        while (span = bits_find_span(part->free, span.end, part->n_units), span.start < part->n_units)
                range_map_give(map, span_to_range(part, span), false);
        span.end = 0;
        while (span = bits_find_span(part->clean, span.end, part->n_units), span.start < part->n_units)
                bits_fill(map->clean, span_elsewhere(part, span, map), true);

        return range_map_free(part);
}

int range_map_unite(const RangeMap *a, const RangeMap *b, RangeMap **ret) {
        RangeMap *map;
        int r;

        r = range_map_new(a->whole, UINT64_C(1) << a->shift, &map);
        if (r < 0)
                return r;

        map->n_free = 0;
        for (uint64_t i = 0; i <= map->n_units / BITS; i++) {
                map->free[i] = a->free[i] | b->free[i];
                map->n_free += (unsigned) __builtin_popcountll(map->free[i]);
        }
        *ret = map;
        return 0;
}

int range_map_claim(RangeMap *map, Range range) {
        Span span;
        int r;

        r = span_from_range(map, range, &span);
        if (r < 0)
                return r;
        if (bits_find(map->free, span.start, span.end, false) < span.end)
                return -EADDRINUSE;

        map_take(map, span);
        return 0;
}

void range_map_give(RangeMap *map, Range range, bool clean) {
        Span span;
        int r;

        r = span_from_range(map, range, &span);
        /* whoever gives back what is not his would have two allocations share memory next */
        if (r < 0 || bits_find(map->free, span.start, span.end, true) < span.end)
                abort();

        bits_fill(map->free, span, true);
        bits_fill(map->clean, span, clean);
        map->n_free += span.end - span.start;
}

void range_map_soil(RangeMap *map) {
        bits_fill(map->clean, (Span) { 0, map->n_units }, false);
}

uint64_t range_map_available(const RangeMap *map) {
        return map->n_free << map->shift;
}

uint64_t range_map_largest(const RangeMap *map, uint64_t alignment, size_t max_ranges) {
        Span spans[RANGE_MAP_RANGES_MAX];
        uint64_t sum = 0;
        size_t n;

        n = largest_spans(map, false, units_of(map, alignment), ranges_max(max_ranges, false), spans);
        for (size_t i = 0; i < n; i++)
                sum += spans[i].end - spans[i].start;
        return sum << map->shift;
}
