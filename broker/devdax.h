/* SPDX-License-Identifier: MIT */
#pragma once

/* What the provider devdax keeps of a region, for its two halves: devdax-region.c keeps the account of its ranges, in the
 * event loop; provider-devdax.c makes and unmakes devices, in worker threads. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dax.h"
#include "provider.h"
#include "range-map.h"
#include "recycling.h"
#include "region.h"
#include "seeds.h"

/* Ranges that were given back lately; a scan that began before may still show what was in them. */
#define GIVEN_MAX 1024

/* What somebody else has. */
typedef struct Foreign {
        char device[DAX_NAME_MAX]; /* empty if only the kernel knows whose it is */
        Range range;
        bool seen;
        struct Foreign *prev, *next;
} Foreign;

struct Hold {
        RangeMap *map; /* what is free of it, of physical addresses */
        Hold *prev, *next;
};

/* What is kept of a region. */
typedef struct Devdax {
        char *path;
        Range whole;        /* physical addresses that can be carved */
        uint64_t alignment; /* that a new device has, 0 if unknown */
        RangeMap *map;      /* of physical addresses; the event loop's alone, as the rest up to here */
        Foreign *foreign;
        Hold *holds;
        RangeMap *ahead; /* free in it is what pieces have that are made ahead, or were by an earlier broker */
        Range *left;     /* of which this is the latter */
        size_t n_left;
        bool left_known;
        struct {
                Range range;
                uint64_t time;
        } given[GIVEN_MAX];
        unsigned n_given;
        SeedPool *seeds; /* for any thread, as all that follows */
        Recycling recycling;
        pthread_mutex_t order_mutex;
        atomic_bool put_in_order;
} Devdax;

/* One range of a piece, as physical addresses. */
Range devdax_range(const Piece *piece, unsigned i);

/* Whether the device is the one that the piece says, or has the first of its ranges, as while it is being carved; and not
 * one that was made under the same name after ours was destroyed. Since nobody else is given the ranges of a piece, it is
 * they that tell. */
bool devdax_begins_as(const DaxDevice *device, const Piece *piece);

/* Whether it is all of it; or surely another one, which lies elsewhere. */
bool devdax_is_of(const DaxDevice *device, const Piece *piece);
bool devdax_is_elsewhere(const DaxDevice *device, const Piece *piece);

/* How a piece has to lie; and in which map, the region's or that of its hold. */
RangeWish devdax_wish(const Piece *piece);
RangeMap *devdax_map(const Devdax *devdax, const Piece *piece);

/* Counts what can still be had in one piece, if all that is made ahead goes. */
void devdax_count(Region *region);

/* Functions of the provider, see provider.h. */
int devdax_probe(Region *region, const RegionConfig *config, Failure *failure);
int devdax_plan(const Region *region, const Request *request, Piece *piece, Failure *failure);
int devdax_fits(const Region *region, const Piece *plan, Failure *failure);
int devdax_reserve(Region *region, Piece *piece, Failure *failure);
int devdax_claim(Region *region, Piece *piece, Failure *failure);
int devdax_claim_anew(Region *region, Piece *piece, Failure *failure);
void devdax_release(Piece *piece);
bool devdax_crowded(const Region *region, const Piece *plan);
void devdax_hand_out(Piece *piece);
void devdax_replenished(Region *region);
int devdax_hold(Region *region, const Piece *plan, Hold **ret, char **ret_handle, Failure *failure);
int devdax_hold_again(Region *region, const char *handle, uint64_t length, Hold **ret, Failure *failure);
uint64_t devdax_hold_largest(const Hold *hold);
void devdax_hold_end(Region *region, Hold *hold);
bool devdax_wants_lesson(const Region *region, const Piece *piece);
bool devdax_misses(const Region *region, const Piece *piece);
bool devdax_is_low(const Region *region);
void devdax_forget(Region *region);
