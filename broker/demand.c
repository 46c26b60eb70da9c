/* SPDX-License-Identifier: MIT */

/* A few size classes, each with a weight that grows with each request for it and fades with each request at all, so that
 * what was asked for a hundred requests ago hardly counts. The chosen one changes only for another that was asked for more
 * than twice as often: what is made ahead for one class is of no use for another, and has to be made anew. */

#include "demand.h"

#include <assert.h>

#define WEIGHT_ONE (UINT32_C(1) << 16)
#define FADING 5 /* a 32nd each time */

bool size_class_equal(const SizeClass *a, const SizeClass *b) {
        return a->length == b->length && a->page_size == b->page_size && a->numa_node == b->numa_node &&
               a->page_size_demanded == b->page_size_demanded;
}

void demand_init(Demand *demand, const SizeClass *guess) {
        *demand = (Demand){ .classes = { *guess }, .n = 1 };
}

/* Where it is, or is from now on: in the place of the one that was asked for least. */
static unsigned demand_find(Demand *demand, const SizeClass *asked) {
        unsigned least = demand->chosen == 0 ? 1 : 0;

        for (unsigned i = 0; i < demand->n; i++)
                if (size_class_equal(&demand->classes[i], asked))
                        return i;

        if (demand->n < DEMAND_CLASSES)
                least = demand->n++;
        else
                for (unsigned i = 0; i < demand->n; i++)
                        if (i != demand->chosen && demand->weights[i] < demand->weights[least])
                                least = i;
        demand->classes[least] = *asked;
        demand->weights[least] = 0;
        return least;
}

void demand_note(Demand *demand, const SizeClass *asked) {
        unsigned found;

        assert(demand->n > 0);
        found = demand_find(demand, asked);
        for (unsigned i = 0; i < demand->n; i++)
                demand->weights[i] -= demand->weights[i] >> FADING;
        demand->weights[found] += WEIGHT_ONE;

        if (demand->weights[found] > 2 * demand->weights[demand->chosen] + 2 * WEIGHT_ONE)
                demand->chosen = found;
}

const SizeClass *demand_class(const Demand *demand) {
        return &demand->classes[demand->chosen];
}
