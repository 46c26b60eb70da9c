/* SPDX-License-Identifier: MIT */

/* The account of what is made ahead. */

#include "warm.h"

#include <glib.h>
#include <utlist.h>

#include "size.h"

#define PIECES_MAX 8

static const SizeClass guess = { .length = 2 * MIB, .page_size = 2 * MIB, .numa_node = -1 };

static Warm warm_of(uint64_t limit) {
        Warm warm = { .max = PIECES_MAX };

        warm_set_limit(&warm, limit, &guess);
        return warm;
}

static Piece plan_of(uint64_t length) {
        return (Piece){ .length = length, .page_size = 2 * MIB, .numa_node = -1, .fd = -EBADF };
}

static void learn(Warm *warm, const Piece *plan, unsigned n) {
        SizeClass class = size_class_of(plan);

        while (n-- > 0)
                warm_learn(warm, &class);
}

static void add(Warm *warm, uint64_t length, unsigned n) {
        while (n-- > 0) {
                WarmPiece *piece = g_new0(WarmPiece, 1);

                piece->piece = plan_of(length);
                piece->class = size_class_of(&piece->piece);
                warm_add(warm, piece);
        }
}

static void drop(WarmPiece *piece, uint64_t length) {
        g_assert_nonnull(piece);
        g_assert_cmpuint(piece->piece.length, ==, length);
        g_free(piece);
}

static void assert_holds(const Warm *warm, unsigned n, uint64_t bytes) {
        const WarmPiece *piece;
        uint64_t sum = 0;
        unsigned count = 0;

        DL_FOREACH(warm->pieces, piece) {
                sum += piece->piece.length;
                count++;
        }
        g_assert_cmpuint(warm->n, ==, n);
        g_assert_cmpuint(count, ==, n);
        g_assert_cmpuint(warm->bytes, ==, bytes);
        g_assert_cmpuint(sum, ==, bytes);
}

static void clear(Warm *warm) {
        WarmPiece *piece;

        while ((piece = warm_take_any(warm)))
                g_free(piece);
        assert_holds(warm, 0, 0);
}

static void test_nothing(void) {
        Warm warm = { .max = PIECES_MAX };
        Piece plan = plan_of(2 * MIB);

        g_assert_cmpuint(warm_missing(&warm, GIB), ==, 0);
        g_assert_null(warm_take_excess(&warm, GIB));
        g_assert_null(warm_take_any(&warm));
        g_assert_null(warm_find(&warm, &plan));
        warm_set_limit(&warm, 0, &guess);
        g_assert_cmpuint(warm_missing(&warm, GIB), ==, 0);
}

static void test_missing(void) {
        Warm warm = warm_of(9 * MIB);

        /* whole pieces, within the limit and what there is */
        g_assert_cmpuint(warm_missing(&warm, GIB), ==, 4);
        g_assert_cmpuint(warm_missing(&warm, 5 * MIB), ==, 2);
        g_assert_cmpuint(warm_missing(&warm, 2 * MIB - 1), ==, 0);
        g_assert_cmpuint(warm_missing(&warm, 0), ==, 0);
        add(&warm, 2 * MIB, 3);
        g_assert_cmpuint(warm_missing(&warm, GIB), ==, 1);
        g_assert_cmpuint(warm_missing(&warm, 7 * MIB), ==, 0);
        g_assert_cmpuint(warm_missing(&warm, MIB), ==, 0);
        add(&warm, 2 * MIB, 1);
        g_assert_cmpuint(warm_missing(&warm, GIB), ==, 0);
        /* and no more than so many */
        warm_set_limit(&warm, GIB, &guess);
        g_assert_cmpuint(warm_missing(&warm, GIB), ==, PIECES_MAX - 4);
        add(&warm, 2 * MIB, PIECES_MAX - 4);
        g_assert_cmpuint(warm_missing(&warm, GIB), ==, 0);
        g_assert_null(warm_take_excess(&warm, GIB));
        clear(&warm);
}

static void test_excess(void) {
        Warm warm = warm_of(9 * MIB);

        add(&warm, 2 * MIB, 4);
        assert_holds(&warm, 4, 8 * MIB);
        g_assert_null(warm_take_excess(&warm, GIB));
        g_assert_null(warm_take_excess(&warm, 8 * MIB));
        /* somebody has taken room */
        drop(warm_take_excess(&warm, 8 * MIB - 1), 2 * MIB);
        g_assert_null(warm_take_excess(&warm, 8 * MIB - 1));
        assert_holds(&warm, 3, 6 * MIB);
        /* the limit has become less */
        warm_set_limit(&warm, 3 * MIB, &guess);
        drop(warm_take_excess(&warm, GIB), 2 * MIB);
        drop(warm_take_excess(&warm, GIB), 2 * MIB);
        g_assert_null(warm_take_excess(&warm, GIB));
        warm_set_limit(&warm, 0, &guess);
        drop(warm_take_excess(&warm, GIB), 2 * MIB);
        assert_holds(&warm, 0, 0);
}

static void test_hits(void) {
        Piece plan = plan_of(2 * MIB), held = plan, other = plan_of(MIB);
        Warm warm = warm_of(8 * MIB);
        WarmPiece *piece;

        held.hold = (Hold *) (void *) &warm; /* any */
        add(&warm, 2 * MIB, 1);
        g_assert_null(warm_find(&warm, &other));
        g_assert_null(warm_find(&warm, &held));
        warm_count(&warm, &other, NULL);
        warm_count(&warm, &held, NULL); /* is neither */
        piece = warm_find(&warm, &plan);
        g_assert_nonnull(piece);
        assert_holds(&warm, 1, 2 * MIB); /* finding is not taking */
        warm_count(&warm, &plan, piece);
        assert_holds(&warm, 0, 0);
        g_free(piece);
        g_assert_null(warm_find(&warm, &plan));
        warm_count(&warm, &plan, NULL);
        g_assert_cmpuint(warm.n_hits, ==, 1);
        g_assert_cmpuint(warm.n_misses, ==, 2);

        /* the limit is 0 as soon as the region cannot be used, or is configured otherwise */
        add(&warm, 2 * MIB, 1);
        warm_set_limit(&warm, 0, &guess);
        g_assert_null(warm_find(&warm, &plan));
        clear(&warm);
}

/* When something else is asked for, what is ready is of no use. */
static void test_learnt(void) {
        Piece plan = plan_of(MIB), great = plan_of(16 * MIB);
        SizeClass elsewhere = guess;
        Warm warm = warm_of(8 * MIB);

        add(&warm, 2 * MIB, 2);
        /* that it is asked for does not mean that it is to be had */
        for (unsigned i = 0; i < 100; i++)
                warm_count(&warm, &plan, NULL);
        g_assert_cmpuint(demand_class(&warm.demand)->length, ==, 2 * MIB);
        learn(&warm, &plan, 3);
        g_assert_cmpuint(demand_class(&warm.demand)->length, ==, MIB);
        add(&warm, MIB, 1);
        drop(warm_take_excess(&warm, GIB), 2 * MIB);
        drop(warm_take_excess(&warm, GIB), 2 * MIB);
        g_assert_null(warm_take_excess(&warm, GIB));
        g_assert_cmpuint(warm_missing(&warm, GIB), ==, 7);

        /* what does not fit is not learnt, however often it is asked for */
        learn(&warm, &great, 100);
        g_assert_cmpuint(demand_class(&warm.demand)->length, ==, MIB);
        warm_set_limit(&warm, 6 * MIB, &guess);
        g_assert_cmpuint(demand_class(&warm.demand)->length, ==, MIB);

        /* another node makes another region of it */
        elsewhere.numa_node = 1;
        warm_set_limit(&warm, 6 * MIB, &elsewhere);
        g_assert_cmpint(demand_class(&warm.demand)->numa_node, ==, 1);
        drop(warm_take_excess(&warm, GIB), MIB);
        assert_holds(&warm, 0, 0);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/warm/nothing", test_nothing);
        g_test_add_func("/warm/missing", test_missing);
        g_test_add_func("/warm/excess", test_excess);
        g_test_add_func("/warm/hits", test_hits);
        g_test_add_func("/warm/learnt", test_learnt);
        return g_test_run();
}
