/* SPDX-License-Identifier: MIT */
#pragma once

/* Makes memory ahead of requests, and gives it back when anybody else needs it. */

#include "manager.h"

/* Nothing is done before the first region wants it. */
typedef struct Warming Warming;

/* To be called when a region's account may have changed: gives back what is too much, makes what is missing, a little later
 * and while no processor has anything better to do. */
void warming_tend(Manager *manager, Region *region);

/* The piece that was chosen with warm_find(), or none, is what this allocation is made of. */
void warming_take(Region *region, const Piece *plan, WarmPiece *chosen, Piece *ret);

/* The allocation has got this, and page_size is what was planned: zero for what could not have been made ahead. */
void warming_learn(Region *region, const Piece *piece, uint64_t page_size);

/* After a scan: hands out nothing that somebody has destroyed or changed. */
void warming_find_losses(Manager *manager);

/* Refuses with NoSpace a plan that fits, while pieces that are made ahead in this region lie where it has to: they are given
 * back, and those who wait for space are woken when they are gone. */
int warming_make_way(Manager *manager, Region *region, const Piece *plan, Failure *failure);

/* Whether memory that this region's provider has made ahead, in whatever region, may be what others are short of; and
 * whether it has pages of the size that was planned, of which there is a fixed number. */
bool warming_may_help(const Manager *manager, const Region *region);
bool warming_has_pages(const Manager *manager, const Region *region, const Piece *plan);

/* Gives all of it back, and makes nothing for a while. */
void warming_cede(Manager *manager, const Provider *provider);

/* In a worker thread: waits until what is being given back is free. */
void warming_await(Warming *warming);

/* At the end: has it all given up. */
void warming_drain(Manager *manager);
void warming_free(Manager *manager);
