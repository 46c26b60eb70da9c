/* SPDX-License-Identifier: MIT */
#pragma once

/* How memory behind dax devices gets from one holder to the next: zeroed, and when it is known that nothing refers to it any
 * more. What all providers of such memory keep of a region for that. */

#include <stdatomic.h>
#include <stdbool.h>

#include "clean.h"
#include "config.h"
#include "provider.h"

typedef struct Recycling {
        Throttle *throttle;
        _Atomic int clean, recycle; /* policies, as in config.h; set by the event loop, used by all threads */
        atomic_bool stopping;
        atomic_bool taught_small, taught_large, taught_huge; /* page sizes the witness has learnt */
} Recycling;

/* -ENOMEM. What has failed, or is all zeros, can be done with. */
int recycling_init(Recycling *recycling);
void recycling_done(Recycling *recycling);

/* In the event loop: applies a configuration, and tells the region what holds. */
void recycling_configure(Recycling *recycling, Region *region, const RegionConfig *config);

/* Whether the witness is asked, and has not learnt yet what idle pages like this piece's look like. */
bool recycling_wants_lesson(Recycling *recycling, const Piece *piece);

/* ---- In worker threads ---- */

/* Zeroes the piece through this descriptor. With stop it is given up, with -ECANCELED, as soon as that is set. */
int recycling_zero(Recycling *recycling, Piece *piece, int fd, Failure *failure);
int recycling_zero_unless(Recycling *recycling, Piece *piece, int fd, const atomic_bool *stop, Failure *failure);

/* Nobody has ever had this piece, so this is what no references look like. first: its first range of physical addresses. */
void recycling_teach(Recycling *recycling, const Piece *piece, Range first);

/* Provider.judge, for a piece that has these ranges of physical addresses; or whose device somebody has destroyed. */
int recycling_judge(Recycling *recycling, const Piece *piece, const Range *ranges, unsigned n_ranges, bool destroyed,
                    Failure *failure);
