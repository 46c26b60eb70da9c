/* SPDX-License-Identifier: MIT */

/* The map of free ranges against a model that is too simple to be wrong: one byte for each unit, and every place looked at.
 * The input is a region and what is done to it. Whether something fits, in how many ranges, whether clean, and how good a
 * single range lies must be what the model says. */

#include "fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "range-map.h"
#include "size.h"

#define UNITS_MAX 96
#define UNIT (128 * MIB) /* eight of which are one of the gigabytes that shall stay whole */
#define BLOCK 8
#define TAKEN_MAX 64

typedef enum Unit {
        UNIT_TAKEN,
        UNIT_DIRTY,
        UNIT_CLEAN,
} Unit;

typedef struct Model {
        uint64_t start; /* of the region, in units */
        unsigned n;
        uint8_t units[UNITS_MAX];
        Range taken[TAKEN_MAX];
        unsigned n_taken;
} Model;

typedef struct Score {
        unsigned broken, room;
} Score;

static bool is_aligned(const Model *model, unsigned unit, uint64_t alignment) {
        return (model->start + unit) % alignment == 0;
}

static bool all_are(const Model *model, unsigned unit, unsigned n, Unit at_least) {
        for (unsigned i = unit; i < unit + n; i++)
                if (i >= model->n || model->units[i] < at_least)
                        return false;
        return true;
}

static bool block_is_whole(const Model *model, unsigned unit) {
        unsigned offset = (unsigned) ((model->start + unit) % BLOCK);

        return unit >= offset && all_are(model, unit - offset, BLOCK, UNIT_DIRTY);
}

/* The sum of the n largest places, each as long as alignment lets it be. */
static unsigned largest_sum(const Model *model, uint64_t alignment, Unit at_least, size_t n) {
        unsigned lengths[UNITS_MAX + 1] = { 0 }, sum = 0;

        for (unsigned i = 0; i < model->n;) {
                unsigned length = 0;

                if (is_aligned(model, i, alignment))
                        while (all_are(model, i + length, (unsigned) alignment, at_least))
                                length += (unsigned) alignment;
                lengths[length]++;
                i += length > 0 ? length : 1;
        }

        for (unsigned length = UNITS_MAX; length > 0; length--)
                for (; lengths[length] > 0 && n > 0; lengths[length]--, n--)
                        sum += length;
        return sum;
}

static size_t count_needed(const Model *model, unsigned length, uint64_t alignment, Unit at_least) {
        for (size_t n = 1; n <= RANGE_MAP_RANGES_MAX && n <= model->n; n++)
                if (largest_sum(model, alignment, at_least, n) >= length)
                        return n;
        return 0;
}

/* What speaks against this place: whole gigabytes that are broken, and how much more would have fitted, where a gigabyte
 * that is left whole is a wall. */
static Score score(const Model *model, unsigned unit, unsigned n, Unit at_least) {
        unsigned low = unit, high = unit + n;
        Score result = { 0 };
        bool blocks;

        for (unsigned i = unit; i < unit + n; i++)
                if (block_is_whole(model, i) && (i == unit || is_aligned(model, i, BLOCK)))
                        result.broken++;

        blocks = result.broken > 0;
        while (low > 0 && model->units[low - 1] >= at_least && (blocks || !block_is_whole(model, low - 1)))
                low--;
        while (high < model->n && model->units[high] >= at_least && (blocks || !block_is_whole(model, high)))
                high++;
        result.room = high - low;
        return result;
}

static Score best_score(const Model *model, unsigned n, uint64_t alignment, Unit at_least) {
        Score best = { UINT32_MAX, UINT32_MAX };

        for (unsigned i = 0; i + n <= model->n; i++)
                if (is_aligned(model, i, alignment) && all_are(model, i, n, at_least)) {
                        Score here = score(model, i, n, at_least);

                        if (here.broken < best.broken || (here.broken == best.broken && here.room < best.room))
                                best = here;
                }
        return best;
}

static unsigned unit_of(const Model *model, Range range) {
        return (unsigned) (range.start / UNIT - model->start);
}

static void model_take(Model *model, Range range) {
        unsigned n = (unsigned) (range.length / UNIT);

        check(range.start % UNIT == 0 && range.length % UNIT == 0 && n > 0);
        check(all_are(model, unit_of(model, range), n, UNIT_DIRTY));
        memset(model->units + unit_of(model, range), UNIT_TAKEN, n);
        model->taken[model->n_taken++] = range;
}

static void check_place(const Model *model, Range range, uint64_t alignment, bool clean) {
        Unit kind = clean ? UNIT_CLEAN : UNIT_DIRTY;
        unsigned unit = unit_of(model, range), n = (unsigned) (range.length / UNIT);
        Score here = score(model, unit, n, kind), best = best_score(model, n, alignment, kind);

        check(all_are(model, unit, n, kind));
        check(here.broken == best.broken && here.room == best.room);
}

static void take(RangeMap *map, Model *model, Input *input) {
        uint64_t alignment = UINT64_C(1) << input_byte(input) % 7, sum = 0;
        unsigned length = (unsigned) alignment * (input_byte(input) % 64 + 1);
        uint8_t how = input_byte(input);
        RangeWish wish = { length * UNIT, alignment * UNIT, how & 1, (size_t) (how >> 1) % 20 + 1 };
        size_t max = wish.contiguous ? 1 : wish.max_ranges, n = 77, n_any, n_clean;
        Range ranges[RANGE_MAP_RANGES_MAX];
        bool clean = false, fits;
        int r;

        if (alignment == 1 && how & 0x80)
                wish.alignment = 4096;
        if (model->n_taken + max > TAKEN_MAX)
                return;

        n_any = count_needed(model, length, alignment, UNIT_DIRTY);
        n_clean = count_needed(model, length, alignment, UNIT_CLEAN);
        fits = n_any > 0 && n_any <= max;
        check(range_map_fits(map, &wish) == fits);
        r = range_map_take(map, &wish, ranges, &n, &clean);
        if (!fits) {
                check(r == -ENOSPC && n == 77 && !clean);
                return;
        }

        check(r == 0 && n == n_any && clean == (n_clean == n_any));
        for (size_t i = 0; i < n; i++) {
                check(ranges[i].start % wish.alignment == 0 && ranges[i].length % wish.alignment == 0);
                if (i == n - 1)
                        check_place(model, ranges[i], alignment, clean);
                model_take(model, ranges[i]);
                sum += ranges[i].length;
        }
        check(sum == wish.length);
}

static void claim(RangeMap *map, Model *model, Input *input) {
        int first = input_byte(input) % (UNITS_MAX + 16) - 8;
        unsigned n = input_byte(input) % 40 + 1;
        Range range = { (model->start + (uint64_t) first) * UNIT, n * UNIT };
        int r;

        if (model->n_taken == TAKEN_MAX)
                return;

        r = range_map_claim(map, range);
        if (first < 0 || (unsigned) first + n > model->n)
                check(r == -ERANGE);
        else if (!all_are(model, (unsigned) first, n, UNIT_DIRTY))
                check(r == -EADDRINUSE);
        else {
                check(r == 0);
                model_take(model, range);
        }
}

/* All of one that was taken, or its first half. */
static void give(RangeMap *map, Model *model, Input *input) {
        uint8_t which = input_byte(input), how = input_byte(input);
        Range *taken, range;

        if (model->n_taken == 0)
                return;

        taken = &model->taken[which % model->n_taken];
        range = *taken;
        if (how & 2 && range.length > UNIT)
                range.length = range.length / UNIT / 2 * UNIT;
        memset(model->units + unit_of(model, range), how & 1 ? UNIT_CLEAN : UNIT_DIRTY, range.length / UNIT);
        range_map_give(map, range, how & 1);

        taken->start += range.length;
        taken->length -= range.length;
        if (taken->length == 0)
                *taken = model->taken[--model->n_taken];
}

static void soil(RangeMap *map, Model *model) {
        range_map_soil(map);
        for (unsigned i = 0; i < model->n; i++)
                if (model->units[i] == UNIT_CLEAN)
                        model->units[i] = UNIT_DIRTY;
}

static void check_sums(const RangeMap *map, const Model *model) {
        unsigned n = 0;

        for (unsigned i = 0; i < model->n; i++)
                n += model->units[i] != UNIT_TAKEN;
        check(range_map_available(map) == n * UNIT);
        check(range_map_largest(map, UNIT, 0) == 0);
        check(range_map_largest(map, UNIT, 1) == largest_sum(model, 1, UNIT_DIRTY, 1) * UNIT);
        check(range_map_largest(map, GIB, 3) == largest_sum(model, BLOCK, UNIT_DIRTY, 3) * UNIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Input input = { data, size };
        Model model = { .n = input_byte(&input) % UNITS_MAX + 1 };
        uint8_t start = input_byte(&input);
        RangeMap *map;

        /* at the beginning of what can be addressed, or at its end */
        model.start = start & 0x80 ? UINT64_MAX / UNIT + 1 - model.n - start % 16 : start;
        memset(model.units, UNIT_DIRTY, model.n);
        check(range_map_new((Range) { model.start * UNIT, model.n * UNIT }, UNIT, &map) == 0);

        while (input.size > 0) {
                switch (input_byte(&input) % 8) {
                case 0 ... 2:
                        take(map, &model, &input);
                        break;
                case 3:
                        claim(map, &model, &input);
                        break;
                case 4 ... 6:
                        give(map, &model, &input);
                        break;
                case 7:
                        if (input_byte(&input) % 8 == 0)
                                soil(map, &model);
                        break;
                }
                check_sums(map, &model);
        }

        while (model.n_taken > 0) {
                Range range = model.taken[--model.n_taken];

                range_map_give(map, range, true);
        }
        check(range_map_largest(map, UNIT, 1) == model.n * UNIT);
        range_map_free(map);
        return 0;
}
