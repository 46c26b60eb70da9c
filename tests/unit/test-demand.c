/* SPDX-License-Identifier: MIT */

/* What is learnt from requests. */

#include "demand.h"

#include <glib.h>

#include "size.h"

static SizeClass class_of(uint64_t length) {
        return (SizeClass){ .length = length, .page_size = 4 * KIB, .numa_node = -1 };
}

static Demand demand_of(uint64_t length) {
        SizeClass guess = class_of(length);
        Demand demand;

        demand_init(&demand, &guess);
        return demand;
}

static void note(Demand *demand, uint64_t length, unsigned n) {
        SizeClass asked = class_of(length);

        while (n-- > 0)
                demand_note(demand, &asked);
}

static void assert_chosen(const Demand *demand, uint64_t length) {
        g_assert_cmpuint(demand_class(demand)->length, ==, length);
}

static void test_guess(void) {
        Demand demand = demand_of(2 * MIB);

        assert_chosen(&demand, 2 * MIB);
        /* two may be by chance */
        note(&demand, MIB, 2);
        assert_chosen(&demand, 2 * MIB);
        note(&demand, MIB, 1);
        assert_chosen(&demand, MIB);
}

/* Each part of it makes another class. */
static void test_class(void) {
        SizeClass a = class_of(MIB), b = a;

        g_assert_true(size_class_equal(&a, &b));
        b.length = 2 * MIB;
        g_assert_false(size_class_equal(&a, &b));
        b = a;
        b.page_size = 2 * MIB;
        g_assert_false(size_class_equal(&a, &b));
        b = a;
        b.numa_node = 0;
        g_assert_false(size_class_equal(&a, &b));
        b = a;
        b.page_size_demanded = true;
        g_assert_false(size_class_equal(&a, &b));
}

static void test_change(void) {
        Demand demand = demand_of(2 * MIB);

        note(&demand, 2 * MIB, 1000);
        note(&demand, MIB, 20);
        assert_chosen(&demand, 2 * MIB);
        note(&demand, MIB, 40);
        assert_chosen(&demand, MIB);
        note(&demand, 2 * MIB, 60);
        assert_chosen(&demand, 2 * MIB);
}

/* Two that are asked for alike, and one that is asked for twice as often as another: nothing goes back and forth. */
static void test_steady(void) {
        Demand demand = demand_of(2 * MIB);

        for (unsigned i = 0; i < 1000; i++) {
                note(&demand, i % 2 ? MIB : 2 * MIB, 1);
                assert_chosen(&demand, 2 * MIB);
        }
        note(&demand, MIB, 100);
        for (unsigned i = 0; i < 1000; i++) {
                note(&demand, i % 3 ? 2 * MIB : MIB, 1);
                assert_chosen(&demand, MIB);
        }
        for (unsigned i = 0; i < 1000; i++) {
                note(&demand, i % 8 ? 4 * MIB : MIB, 1);
                if (i > 100)
                        assert_chosen(&demand, 4 * MIB);
        }
}

/* More classes than there is room for do not push out the one that matters. */
static void test_many(void) {
        Demand demand = demand_of(2 * MIB);

        for (unsigned i = 0; i < 10000; i++) {
                note(&demand, MIB, 1);
                note(&demand, (100 + i) * MIB, 1);
                g_assert_cmpuint(demand.n, <=, DEMAND_CLASSES);
                if (i > 100)
                        assert_chosen(&demand, MIB);
        }
        /* and what is asked for once each is no class */
        for (unsigned i = 0; i < 10000; i++)
                note(&demand, (100 + i) * MIB, 1);
        assert_chosen(&demand, MIB);
        note(&demand, 3 * MIB, 10);
        assert_chosen(&demand, 3 * MIB);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/demand/guess", test_guess);
        g_test_add_func("/demand/class", test_class);
        g_test_add_func("/demand/change", test_change);
        g_test_add_func("/demand/steady", test_steady);
        g_test_add_func("/demand/many", test_many);
        return g_test_run();
}
