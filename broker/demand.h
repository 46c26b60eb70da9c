/* SPDX-License-Identifier: MIT */
#pragma once

/* What is asked for most: the one kind of memory that it pays to make ahead. */

#include <stdbool.h>
#include <stdint.h>

/* Requests that the same piece of memory would do for. */
typedef struct SizeClass {
        uint64_t length, page_size;
        int numa_node;           /* -1 for anywhere */
        bool page_size_demanded; /* as in Piece */
} SizeClass;

#define DEMAND_CLASSES 8

typedef struct Demand {
        SizeClass classes[DEMAND_CLASSES];
        uint32_t weights[DEMAND_CLASSES]; /* how often it was asked for lately */
        unsigned n, chosen;
} Demand;

bool size_class_equal(const SizeClass *a, const SizeClass *b);

/* Starts with a guess, which holds until requests say otherwise. */
void demand_init(Demand *demand, const SizeClass *guess);

/* Somebody has asked for this. */
void demand_note(Demand *demand, const SizeClass *asked);

/* What is asked for most lately. */
const SizeClass *demand_class(const Demand *demand);
