/* SPDX-License-Identifier: MIT */

/* The free ranges of a region: where pieces are put, that nothing is handed out twice, and that all of it comes back. The
 * choices are compared with those of a model in fuzz-range-map.c. */

#include "range-map.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "size.h"

#define UNIT (2 * MIB)

static RangeMap *map_new(uint64_t start, uint64_t length) {
        RangeMap *map;

        g_assert_cmpint(range_map_new((Range) { start, length }, UNIT, &map), ==, 0);
        g_assert_cmpuint(range_map_available(map), ==, length);
        return map;
}

static RangeWish wish_of(uint64_t length, uint64_t alignment, size_t max_ranges) {
        return (RangeWish) { length, alignment, max_ranges == 1, max_ranges };
}

/* One range, which must be had. */
static Range take_one(RangeMap *map, uint64_t length, uint64_t alignment, bool expect_clean) {
        RangeWish wish = wish_of(length, alignment, 1);
        bool clean = !expect_clean;
        Range range = { 0 };
        size_t n = 0;

        g_assert_true(range_map_fits(map, &wish));
        g_assert_cmpint(range_map_take(map, &wish, &range, &n, &clean), ==, 0);
        g_assert_cmpuint(n, ==, 1);
        g_assert_cmpuint(range.length, ==, length);
        g_assert_cmpuint(range.start % alignment, ==, 0);
        g_assert_true(clean == expect_clean);
        return range;
}

static void assert_taken_at(RangeMap *map, uint64_t length, uint64_t alignment, bool clean, uint64_t start) {
        g_assert_cmphex(take_one(map, length, alignment, clean).start, ==, start);
}

static void assert_refused(RangeMap *map, RangeWish wish, int error) {
        Range range = { 1, 2 };
        bool clean = true;
        size_t n = 77;

        g_assert_false(range_map_fits(map, &wish));
        g_assert_cmpint(range_map_take(map, &wish, &range, &n, &clean), ==, error);
        g_assert_true(range.start == 1 && range.length == 2 && n == 77 && clean);
}

static void assert_claimed(RangeMap *map, uint64_t start, uint64_t length) {
        g_assert_cmpint(range_map_claim(map, (Range) { start, length }), ==, 0);
}

static void test_new(void) {
        static const struct {
                Range whole;
                uint64_t granularity;
        } bad[] = {
                { { 0, 0 }, UNIT },
                { { 0, UNIT }, 0 },
                { { 0, 3 * UNIT }, 3 * UNIT },
                { { 0, 4 * UNIT }, 3 * UNIT },
                { { 0, UNIT + 1 }, UNIT },
                { { 1, UNIT }, UNIT },
                { { UINT64_MAX, 2 }, 1 },
                { { MIB, UNIT }, UNIT },
                { { UNIT, UNIT + MIB }, UNIT },
                { { -UNIT, 2 * UNIT }, UNIT },
                { { UNIT, -UNIT }, UINT64_C(1) << 63 },
        };
        RangeMap *map = NULL;

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_assert_cmpint(range_map_new(bad[i].whole, bad[i].granularity, &map), ==, -EINVAL);
                g_assert_null(map);
        }
        g_assert_null(range_map_free(NULL));
}

static void test_one_unit(void) {
        RangeMap *map = map_new(4 * GIB, UNIT);
        Range range;

        range = take_one(map, UNIT, 4096, false);
        g_assert_cmphex(range.start, ==, 4 * GIB);
        g_assert_cmpuint(range_map_available(map), ==, 0);
        g_assert_cmpuint(range_map_largest(map, UNIT, 16), ==, 0);
        assert_refused(map, wish_of(UNIT, UNIT, 1), -ENOSPC);
        assert_refused(map, wish_of(UNIT, UNIT, 16), -ENOSPC);

        range_map_give(map, range, true);
        assert_taken_at(map, UNIT, UNIT, true, 4 * GIB);
        range_map_free(map);
}

static void test_bad_wishes(void) {
        RangeMap *map = map_new(4 * GIB, GIB);

        assert_refused(map, wish_of(0, UNIT, 1), -EINVAL);
        assert_refused(map, wish_of(MIB, 4096, 1), -EINVAL);
        assert_refused(map, wish_of(UNIT + MIB, MIB, 1), -EINVAL);
        assert_refused(map, wish_of(UNIT, GIB, 1), -EINVAL);
        assert_refused(map, wish_of(UNIT, 0, 1), -EINVAL);
        assert_refused(map, wish_of(3 * UNIT, 3 * UNIT, 1), -EINVAL);
        assert_refused(map, wish_of(4 * UNIT, 3 * UNIT, 1), -EINVAL);
        assert_refused(map, wish_of(UNIT + 1, 1, 1), -EINVAL);
        assert_refused(map, wish_of(UNIT, UNIT, 0), -EINVAL);
        assert_refused(map, wish_of(GIB + UNIT, UNIT, 16), -ENOSPC);
        assert_refused(map, wish_of(-UNIT, UNIT, 16), -ENOSPC);
        assert_refused(map, wish_of(UINT64_C(1) << 63, UINT64_C(1) << 63, SIZE_MAX), -ENOSPC);
        g_assert_cmpuint(range_map_available(map), ==, GIB);
        range_map_free(map);
}

static void test_claim(void) {
        static const struct {
                Range range;
                int result;
        } cases[] = {
                { { 4 * GIB + UNIT, UNIT }, 0 },
                { { 4 * GIB + UNIT, UNIT }, -EADDRINUSE },
                { { 4 * GIB, 3 * UNIT }, -EADDRINUSE },
                { { 4 * GIB - UNIT, UNIT }, -ERANGE },
                { { 4 * GIB - UNIT, 2 * UNIT }, -ERANGE },
                { { 5 * GIB, UNIT }, -ERANGE },
                { { 5 * GIB - UNIT, 2 * UNIT }, -ERANGE },
                { { 5 * GIB - UNIT, -UNIT }, -ERANGE },
                { { 0, -UNIT }, -ERANGE },
                { { 4 * GIB, 0 }, -EINVAL },
                { { 4 * GIB, MIB }, -EINVAL },
                { { 4 * GIB + MIB, UNIT }, -EINVAL },
                { { 4 * GIB, UNIT + 1 }, -EINVAL },
                { { 4 * GIB + 1, UNIT }, -EINVAL },
                { { 5 * GIB + UNIT, UNIT }, -ERANGE },
                { { -UNIT, UNIT }, -ERANGE },
                { { 5 * GIB - UNIT, UNIT }, 0 },
                { { 4 * GIB, UNIT }, 0 },
                { { 4 * GIB + 2 * UNIT, GIB - 3 * UNIT }, 0 },
        };
        RangeMap *map = map_new(4 * GIB, GIB);

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                g_assert_cmpint(range_map_claim(map, cases[i].range), ==, cases[i].result);
        g_assert_cmpuint(range_map_available(map), ==, 0);
        range_map_free(map);
}

/* The last bytes that an address can name. */
static void test_top(void) {
        RangeMap *map = map_new(-GIB, GIB);

        assert_refused(map, wish_of(GIB + UNIT, UNIT, 16), -ENOSPC);
        assert_refused(map, wish_of(2 * GIB, 2 * GIB, 16), -ENOSPC);
        g_assert_cmpint(range_map_claim(map, (Range) { -UNIT, 2 * UNIT }), ==, -ERANGE);
        g_assert_cmpint(range_map_claim(map, (Range) { 0, UNIT }), ==, -ERANGE);
        assert_claimed(map, -GIB, UNIT);
        assert_claimed(map, -UNIT, UNIT);
        assert_refused(map, wish_of(GIB, GIB, 1), -ENOSPC);
        range_map_give(map, (Range) { -GIB, UNIT }, true);
        range_map_give(map, (Range) { -UNIT, UNIT }, true);
        assert_taken_at(map, GIB, GIB, false, -GIB);
        range_map_free(map);

        map = map_new(-UNIT, UNIT);
        assert_refused(map, wish_of(UINT64_C(1) << 63, UINT64_C(1) << 63, 1), -ENOSPC);
        assert_taken_at(map, UNIT, UNIT, false, -UNIT);
        range_map_free(map);
}

static void test_tight_fit(void) {
        RangeMap *map = map_new(4 * GIB, 64 * UNIT);

        /* holes of 8, 3, 4, 3 and 40 units */
        assert_claimed(map, 4 * GIB + 8 * UNIT, 2 * UNIT);
        assert_claimed(map, 4 * GIB + 13 * UNIT, UNIT);
        assert_claimed(map, 4 * GIB + 18 * UNIT, UNIT);
        assert_claimed(map, 4 * GIB + 22 * UNIT, 2 * UNIT);
        assert_taken_at(map, 3 * UNIT, UNIT, false, 4 * GIB + 10 * UNIT);
        assert_taken_at(map, 2 * UNIT, UNIT, false, 4 * GIB + 19 * UNIT);
        assert_taken_at(map, 4 * UNIT, 4 * UNIT, false, 4 * GIB);
        assert_taken_at(map, 4 * UNIT, UNIT, false, 4 * GIB + 4 * UNIT);
        assert_taken_at(map, 16 * UNIT, 16 * UNIT, false, 4 * GIB + 32 * UNIT);
        assert_taken_at(map, UNIT, UNIT, false, 4 * GIB + 21 * UNIT);
        range_map_free(map);
}

/* Alignment is that of addresses, whatever the region starts with. */
static void test_gigabytes(void) {
        RangeMap *map = map_new(3 * GIB + 512 * MIB, 2 * GIB + 512 * MIB);
        Range low;

        g_assert_cmpuint(range_map_largest(map, GIB, 1), ==, 2 * GIB);
        g_assert_cmpuint(range_map_largest(map, 2 * GIB, 1), ==, 2 * GIB);
        assert_refused(map, wish_of(4 * GIB, 4 * GIB, 1), -ENOSPC);

        low = take_one(map, UNIT, UNIT, false); /* not from one of the gigabytes */
        g_assert_cmphex(low.start, ==, 3 * GIB + 512 * MIB);
        assert_taken_at(map, GIB, GIB, false, 4 * GIB);
        assert_taken_at(map, 4 * MIB, UNIT, false, 3 * GIB + 512 * MIB + UNIT);
        assert_taken_at(map, GIB, GIB, false, 5 * GIB);
        assert_refused(map, wish_of(GIB, GIB, 16), -ENOSPC);
        g_assert_cmpuint(range_map_available(map), ==, 512 * MIB - 3 * UNIT);

        /* free neighbours of a gigabyte do not make its neighbour one */
        range_map_give(map, (Range) { 4 * GIB + UNIT, GIB - UNIT }, true);
        range_map_give(map, (Range) { 5 * GIB, UNIT }, true);
        assert_refused(map, wish_of(GIB, GIB, 16), -ENOSPC);
        assert_taken_at(map, GIB, UNIT, true, 4 * GIB + UNIT);
        range_map_free(map);
}

static void test_gigabytes_stay_whole(void) {
        RangeMap *map = map_new(4 * GIB, 4 * GIB);

        /* a hole of 600 MiB within the second gigabyte; all others are whole */
        assert_claimed(map, 5 * GIB, 100 * MIB);
        assert_claimed(map, 5 * GIB + 700 * MIB, 324 * MIB);
        assert_taken_at(map, 400 * MIB, UNIT, false, 5 * GIB + 100 * MIB);
        assert_taken_at(map, 200 * MIB, UNIT, false, 5 * GIB + 500 * MIB);
        /* now one must be broken: that of the tightest run, and then the rest of it */
        assert_taken_at(map, 200 * MIB, UNIT, false, 4 * GIB);
        assert_taken_at(map, 512 * MIB, 512 * MIB, false, 4 * GIB + 512 * MIB);
        assert_taken_at(map, GIB + 24 * MIB, UNIT, false, 6 * GIB);
        assert_taken_at(map, 1000 * MIB, UNIT, false, 7 * GIB + 24 * MIB);
        g_assert_cmpuint(range_map_available(map), ==, 312 * MIB);
        range_map_free(map);

        /* of a clean part that begins and ends within gigabytes, the one in between is enough */
        map = map_new(4 * GIB, 3 * GIB);
        assert_claimed(map, 4 * GIB + 512 * MIB, 2 * GIB);
        range_map_give(map, (Range) { 4 * GIB + 512 * MIB, 2 * GIB }, true);
        assert_taken_at(map, GIB, UNIT, true, 5 * GIB);
        range_map_free(map);
}

static void make_clean(RangeMap *map, uint64_t start, uint64_t length) {
        assert_claimed(map, start, length);
        range_map_give(map, (Range) { start, length }, true);
}

static void test_clean(void) {
        RangeMap *map = map_new(4 * GIB, 16 * UNIT);

        make_clean(map, 4 * GIB + 2 * UNIT, 2 * UNIT);
        make_clean(map, 4 * GIB + 8 * UNIT, 5 * UNIT);
        assert_taken_at(map, 4 * UNIT, 4 * UNIT, true, 4 * GIB + 8 * UNIT);
        assert_taken_at(map, UNIT, UNIT, true, 4 * GIB + 12 * UNIT);
        assert_taken_at(map, UNIT, UNIT, true, 4 * GIB + 2 * UNIT);
        /* what is clean and what is not are neighbours all the same */
        assert_taken_at(map, 5 * UNIT, UNIT, false, 4 * GIB + 3 * UNIT);
        range_map_give(map, (Range) { 4 * GIB + 8 * UNIT, 5 * UNIT }, true);
        range_map_give(map, (Range) { 4 * GIB + 2 * UNIT, 6 * UNIT }, false);
        assert_taken_at(map, 16 * UNIT, UNIT, false, 4 * GIB);
        range_map_free(map);
}

static void assert_taken(RangeMap *map, RangeWish wish, bool expect_clean, const Range *expected, size_t n_expected) {
        Range ranges[RANGE_MAP_RANGES_MAX];
        bool clean = !expect_clean;
        size_t n = 0;

        g_assert_true(range_map_fits(map, &wish));
        g_assert_cmpint(range_map_take(map, &wish, ranges, &n, &clean), ==, 0);
        g_assert_cmpuint(n, ==, n_expected);
        g_assert_true(clean == expect_clean);
        for (size_t i = 0; i < n; i++) {
                g_assert_cmphex(ranges[i].start, ==, expected[i].start);
                g_assert_cmphex(ranges[i].length, ==, expected[i].length);
        }
}

static void test_pieces(void) {
        static const Range largest[] = { { 4 * GIB + 24 * UNIT, 40 * UNIT }, { 4 * GIB + 10 * UNIT, 3 * UNIT } };
        static const Range second[] = { { 4 * GIB, 8 * UNIT }, { 4 * GIB + 14 * UNIT, 4 * UNIT } };
        static const Range aligned[] = { { 4 * GIB + 24 * UNIT, 40 * UNIT }, { 4 * GIB, 4 * UNIT } };
        static const Range cleans[] = { { 4 * GIB + 24 * UNIT, 8 * UNIT }, { 4 * GIB + 10 * UNIT, 2 * UNIT } };
        RangeMap *map = map_new(4 * GIB, 64 * UNIT);

        /* holes of 8, 3, 4, 3 and 40 units */
        assert_claimed(map, 4 * GIB + 8 * UNIT, 2 * UNIT);
        assert_claimed(map, 4 * GIB + 13 * UNIT, UNIT);
        assert_claimed(map, 4 * GIB + 18 * UNIT, UNIT);
        assert_claimed(map, 4 * GIB + 22 * UNIT, 2 * UNIT);
        g_assert_cmpuint(range_map_largest(map, UNIT, 1), ==, 40 * UNIT);
        g_assert_cmpuint(range_map_largest(map, UNIT, 2), ==, 48 * UNIT);
        g_assert_cmpuint(range_map_largest(map, UNIT, SIZE_MAX), ==, 58 * UNIT);
        g_assert_cmpuint(range_map_largest(map, 4 * UNIT, 2), ==, 48 * UNIT);
        g_assert_cmpuint(range_map_largest(map, 4 * UNIT, 3), ==, 48 * UNIT);
        g_assert_cmpuint(range_map_largest(map, 4 * UNIT, 0), ==, 0);

        assert_refused(map, wish_of(41 * UNIT, UNIT, 1), -ENOSPC);
        assert_refused(map, (RangeWish) { 41 * UNIT, UNIT, true, 16 }, -ENOSPC);
        assert_refused(map, wish_of(49 * UNIT, UNIT, 2), -ENOSPC);
        assert_refused(map, wish_of(52 * UNIT, 4 * UNIT, 16), -ENOSPC);

        assert_taken(map, wish_of(44 * UNIT, 4 * UNIT, 16), false, aligned, 2);
        range_map_give(map, aligned[0], false);
        range_map_give(map, aligned[1], false);
        assert_taken(map, wish_of(43 * UNIT, UNIT, 16), false, largest, 2);
        assert_taken(map, wish_of(12 * UNIT, UNIT, 16), false, second, 2);
        assert_refused(map, wish_of(4 * UNIT, UNIT, 16), -ENOSPC);
        g_assert_cmpuint(range_map_available(map), ==, 3 * UNIT);

        /* clean ones if it does not take more of them */
        range_map_give(map, (Range) { 4 * GIB, 8 * UNIT }, false);
        range_map_give(map, (Range) { 4 * GIB + 10 * UNIT, 3 * UNIT }, true);
        range_map_give(map, (Range) { 4 * GIB + 24 * UNIT, 8 * UNIT }, true);
        assert_taken(map, wish_of(10 * UNIT, UNIT, 16), true, cleans, 2);
        range_map_free(map);
}

/* A part knows what is clean of it, as the whole knows it again in the end. */
static void test_split(void) {
        RangeMap *map = map_new(4 * GIB, 200 * UNIT), *part;
        RangeWish wish = wish_of(80 * UNIT, UNIT, 4);
        Range ranges[4];
        size_t n;

        /* in three pieces, of which one is clean, and one a little */
        assert_claimed(map, 4 * GIB + 50 * UNIT, UNIT);
        assert_claimed(map, 4 * GIB + 80 * UNIT, 120 * UNIT);
        make_clean(map, 4 * GIB, 50 * UNIT);
        make_clean(map, 4 * GIB + 60 * UNIT, 3 * UNIT);
        assert_claimed(map, 4 * GIB + 70 * UNIT, UNIT);
        wish.length = 60 * UNIT;
        g_assert_cmpint(range_map_split(map, &wish, ranges, &n, &part), ==, 0);
        g_assert_cmpuint(n, ==, 2);
        g_assert_cmpuint(range_map_available(part), ==, 60 * UNIT);
        g_assert_cmpuint(range_map_available(map), ==, 18 * UNIT);
        assert_refused(map, wish_of(19 * UNIT, UNIT, 4), -ENOSPC);

        assert_taken_at(part, 50 * UNIT, UNIT, true, 4 * GIB);
        (void) take_one(part, 10 * UNIT, UNIT, false);
        g_assert_cmpuint(range_map_available(part), ==, 0);
        range_map_give(part, (Range) { 4 * GIB, 40 * UNIT }, true);
        g_assert_null(range_map_join(map, part));
        g_assert_cmpuint(range_map_available(map), ==, 58 * UNIT);
        assert_taken_at(map, 40 * UNIT, UNIT, true, 4 * GIB);

        /* all or nothing */
        g_assert_cmpint(range_map_split(map, &wish, ranges, &n, &part), ==, -ENOSPC);
        range_map_give(map, (Range) { 4 * GIB, 40 * UNIT }, true);
        ranges[0] = (Range) { 4 * GIB + 10 * UNIT, 10 * UNIT };
        ranges[1] = (Range) { 4 * GIB + 15 * UNIT, 10 * UNIT };
        g_assert_cmpint(range_map_split_ranges(map, ranges, 2, &part), ==, -EADDRINUSE);
        ranges[1] = (Range) { 4 * GIB + 200 * UNIT, UNIT };
        g_assert_cmpint(range_map_split_ranges(map, ranges, 2, &part), ==, -ERANGE);
        g_assert_cmpint(range_map_split_ranges(map, ranges, 0, &part), ==, -EINVAL);
        g_assert_cmpuint(range_map_available(map), ==, 58 * UNIT);
        ranges[1] = (Range) { 4 * GIB, 2 * UNIT };
        g_assert_cmpint(range_map_split_ranges(map, ranges, 2, &part), ==, 0);
        g_assert_cmpuint(range_map_available(part), ==, 12 * UNIT);
        g_assert_cmpuint(range_map_available(map), ==, 46 * UNIT);
        assert_refused(part, wish_of(11 * UNIT, UNIT, 1), -ENOSPC);
        (void) range_map_join(map, part);
        g_assert_cmpuint(range_map_available(map), ==, 58 * UNIT);
        range_map_free(map);
}

/* What is free in one or the other. */
static void test_unite(void) {
        RangeMap *a = map_new(4 * GIB, 200 * UNIT), *b = map_new(4 * GIB, 200 * UNIT), *both;

        assert_claimed(a, 4 * GIB + 20 * UNIT, 150 * UNIT);
        assert_claimed(b, 4 * GIB, 200 * UNIT);
        range_map_give(b, (Range) { 4 * GIB + 20 * UNIT, 60 * UNIT }, true);
        g_assert_cmpint(range_map_unite(a, b, &both), ==, 0);
        g_assert_cmpuint(range_map_available(both), ==, 110 * UNIT);
        assert_taken_at(both, 80 * UNIT, UNIT, false, 4 * GIB);
        assert_refused(both, wish_of(31 * UNIT, UNIT, 4), -ENOSPC);
        g_assert_cmpuint(range_map_available(a), ==, 50 * UNIT);
        g_assert_cmpuint(range_map_available(b), ==, 60 * UNIT);
        range_map_free(a);
        range_map_free(b);
        range_map_free(both);
}

static void test_soil(void) {
        RangeMap *map = map_new(4 * GIB, 200 * UNIT);

        assert_claimed(map, 4 * GIB, 200 * UNIT);
        range_map_give(map, (Range) { 4 * GIB, 100 * UNIT }, true);
        range_map_soil(map);
        assert_taken_at(map, 50 * UNIT, UNIT, false, 4 * GIB);
        range_map_give(map, (Range) { 4 * GIB + 100 * UNIT, 100 * UNIT }, true);
        assert_taken_at(map, 100 * UNIT, UNIT, true, 4 * GIB + 100 * UNIT);
        g_assert_cmpuint(range_map_available(map), ==, 50 * UNIT);
        range_map_free(map);
}

/* Every second unit is taken; then nothing but single ones is left, until they come back. */
static void test_fragmentation(void) {
        enum { N = 512 };
        RangeMap *map = map_new(4 * GIB, N * UNIT);
        RangeWish pieces = wish_of(64 * UNIT, UNIT, SIZE_MAX), too_many = wish_of(65 * UNIT, UNIT, SIZE_MAX);
        Range ranges[RANGE_MAP_RANGES_MAX];
        bool clean;
        size_t n;

        for (unsigned i = 0; i < N; i++)
                (void) take_one(map, UNIT, UNIT, false);
        for (unsigned i = 0; i < N; i += 2)
                range_map_give(map, (Range) { 4 * GIB + i * UNIT, UNIT }, i % 4 == 0);

        g_assert_cmpuint(range_map_available(map), ==, N / 2 * UNIT);
        assert_refused(map, wish_of(2 * UNIT, UNIT, 1), -ENOSPC);
        assert_refused(map, wish_of(2 * UNIT, 2 * UNIT, 16), -ENOSPC);
        assert_refused(map, wish_of(17 * UNIT, UNIT, 16), -ENOSPC);
        assert_refused(map, too_many, -ENOSPC);
        g_assert_cmpint(range_map_take(map, &pieces, ranges, &n, &clean), ==, 0);
        g_assert_cmpuint(n, ==, RANGE_MAP_RANGES_MAX);
        g_assert_true(clean);

        for (size_t i = 0; i < n; i++)
                range_map_give(map, ranges[i], true);
        for (unsigned i = 1; i < N; i += 2)
                range_map_give(map, (Range) { 4 * GIB + i * UNIT, UNIT }, true);
        g_assert_cmpuint(range_map_largest(map, UNIT, 1), ==, N * UNIT);
        (void) take_one(map, N * UNIT, GIB, false);
        range_map_free(map);
}

/* Takes at random until nothing fits, gives back at random, and looks at each step at whom each unit belongs to. */
static void test_random(void) {
        enum { N_UNITS = 1500, N_PIECES = 256 };
        struct {
                Range ranges[16];
                size_t n;
        } pieces[N_PIECES] = { 0 };
        const uint64_t start = 3 * GIB + 38 * UNIT;
        RangeMap *map = map_new(start, N_UNITS * UNIT);
        unsigned n_taken = 0, n_refused = 0;
        uint8_t owned[N_UNITS] = { 0 };
        uint64_t free_units = N_UNITS;

        for (unsigned round = 0; round < 20000; round++) {
                unsigned i = (unsigned) g_test_rand_int_range(0, N_PIECES);

                if (pieces[i].n > 0) {
                        while (pieces[i].n > 0) {
                                Range range = pieces[i].ranges[--pieces[i].n];

                                memset(owned + (range.start - start) / UNIT, 0, range.length / UNIT);
                                free_units += range.length / UNIT;
                                range_map_give(map, range, g_test_rand_bit());
                        }
                } else {
                        uint64_t alignment = UNIT << g_test_rand_int_range(0, 10), sum = 0;
                        RangeWish wish = { alignment * (unsigned) g_test_rand_int_range(1, 40), alignment,
                                           g_test_rand_bit(), (size_t) g_test_rand_int_range(1, 17) };
                        bool fits = range_map_fits(map, &wish), clean;
                        int r;

                        r = range_map_take(map, &wish, pieces[i].ranges, &pieces[i].n, &clean);
                        g_assert_cmpint(r, ==, fits ? 0 : -ENOSPC);
                        n_taken += fits;
                        n_refused += !fits;
                        g_assert_cmpuint(pieces[i].n, <=, wish.contiguous ? 1 : wish.max_ranges);
                        for (size_t k = 0; k < pieces[i].n; k++) {
                                Range range = pieces[i].ranges[k];

                                g_assert_true(range.start % alignment == 0 && range.length % alignment == 0);
                                sum += range.length;
                                for (uint64_t u = (range.start - start) / UNIT; range.length > 0; u++) {
                                        range.length -= UNIT;
                                        g_assert_cmpuint(u, <, N_UNITS);
                                        g_assert_cmpuint(owned[u], ==, 0);
                                        owned[u] = 1;
                                        free_units--;
                                }
                        }
                        g_assert_cmpuint(sum, ==, fits ? wish.length : 0);
                }
                g_assert_cmpuint(range_map_available(map), ==, free_units * UNIT);
        }
        g_assert_cmpuint(n_taken, >, 1000);
        g_assert_cmpuint(n_refused, >, 1000);

        for (unsigned i = 0; i < N_PIECES; i++)
                while (pieces[i].n > 0)
                        range_map_give(map, pieces[i].ranges[--pieces[i].n], false);
        g_assert_cmpuint(range_map_largest(map, UNIT, 1), ==, N_UNITS * UNIT);
        range_map_free(map);
}

/* What is given back and is free already would belong to two. That ends the broker. */
static void test_given_twice(void) {
        if (g_test_subprocess()) {
                RangeMap *map = map_new(4 * GIB, 4 * UNIT);

                assert_claimed(map, 4 * GIB, 2 * UNIT);
                range_map_give(map, (Range) { 4 * GIB + UNIT, 2 * UNIT }, true);
                return;
        }

        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_failed();
}

/* Terabytes in single units. No time is asserted; the fuzzers and benches would take hours if it were slow. */
static void test_large(void) {
        RangeMap *map = map_new(UINT64_C(1) << 40, UINT64_C(4) << 40);
        unsigned n = 1 << 20;

        for (unsigned i = 0; i < n; i++)
                assert_claimed(map, (UINT64_C(1) << 40) + UINT64_C(2) * i * UNIT, UNIT);
        assert_refused(map, wish_of(2 * UNIT, UNIT, 1), -ENOSPC);
        g_assert_cmpuint(range_map_available(map), ==, UINT64_C(2) << 40);
        for (unsigned i = 0; i < n; i++)
                range_map_give(map, (Range) { (UINT64_C(1) << 40) + UINT64_C(2) * i * UNIT, UNIT }, i & 1);
        assert_taken_at(map, UINT64_C(4) << 40, GIB, false, UINT64_C(1) << 40);
        range_map_free(map);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/range-map/new", test_new);
        g_test_add_func("/range-map/one-unit", test_one_unit);
        g_test_add_func("/range-map/bad-wishes", test_bad_wishes);
        g_test_add_func("/range-map/claim", test_claim);
        g_test_add_func("/range-map/top", test_top);
        g_test_add_func("/range-map/tight-fit", test_tight_fit);
        g_test_add_func("/range-map/gigabytes", test_gigabytes);
        g_test_add_func("/range-map/gigabytes-stay-whole", test_gigabytes_stay_whole);
        g_test_add_func("/range-map/clean", test_clean);
        g_test_add_func("/range-map/pieces", test_pieces);
        g_test_add_func("/range-map/split", test_split);
        g_test_add_func("/range-map/unite", test_unite);
        g_test_add_func("/range-map/soil", test_soil);
        g_test_add_func("/range-map/fragmentation", test_fragmentation);
        g_test_add_func("/range-map/random", test_random);
        g_test_add_func("/range-map/given-twice", test_given_twice);
        g_test_add_func("/range-map/large", test_large);
        return g_test_run();
}
