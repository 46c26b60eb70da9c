/* SPDX-License-Identifier: MIT */
#pragma once

/* What a region has made ahead of requests: whole pieces, clean and present, that nobody has yet. */

#include <stdbool.h>
#include <stdint.h>

#include "demand.h"
#include "provider.h"
#include "worker.h"

/* One of them. Its id becomes that of the allocation. */
typedef struct WarmPiece {
        Piece piece;
        SizeClass class;
        char id[17];
        const Provider *provider;
        Region *region;  /* where it has a place; NULL if the provider gives none */
        int result;      /* of making it */
        Failure failure;
        Job job;         /* gives it back, and those after it */
        struct Warming *warming; /* who does that */
        struct WarmPiece *prev, *next;
} WarmPiece;

/* The account. What is in it counts as available in the region, and is charged to nobody. */
typedef struct Warm {
        uint64_t limit; /* bytes that are kept ready; 0: nothing is made ahead */
        unsigned max;   /* pieces, at most */
        SizeClass guess;
        Demand demand;
        WarmPiece *pieces; /* utlist */
        unsigned n;
        uint64_t bytes;
        uint64_t paused_until;     /* nothing is made before, as it could not be */
        uint64_t n_hits, n_misses; /* requests that found their memory ready, and those that did not */
} Warm;

/* 0 ends it: everything is in excess then. What is asked for is learnt; the guess is for before that. */
void warm_set_limit(Warm *warm, uint64_t limit, const SizeClass *guess);

/* How many more are to be made if so many bytes are available in the region. */
unsigned warm_missing(const Warm *warm, uint64_t available);

/* Takes out and returns one that is to be given back, as it is of the wrong class or more than there is room for. NULL if
 * none is. */
WarmPiece *warm_take_excess(Warm *warm, uint64_t available);

/* Takes out this one. */
WarmPiece *warm_take(Warm *warm, WarmPiece *piece);

/* Takes out any; NULL if there is none. */
WarmPiece *warm_take_any(Warm *warm);

void warm_add(Warm *warm, WarmPiece *piece);

/* One that will do for this plan; NULL if there is none. */
WarmPiece *warm_find(const Warm *warm, const Piece *plan);

/* A request is met, with this one, which is taken out, or with what was made for it (NULL). */
void warm_count(Warm *warm, const Piece *plan, WarmPiece *hit);

/* Somebody has got memory of this class. What was only asked for may be impossible. */
void warm_learn(Warm *warm, const SizeClass *class);

SizeClass size_class_of(const Piece *plan);
