/* SPDX-License-Identifier: MIT */
#pragma once

/* New allocations, and those that are made anew. */

#include "allocation.h"

/* Reserves what plan says and starts to carve it; or takes the memory of retained, which the same user had and which
 * nobody else may have, and is then over itself. Everything was judged before; only limits of the broker itself can fail
 * here. Otherwise the handler is called exactly once: later, or before this returns. */
int allocation_create(Manager *manager, Region *region, const Request *request, const Piece *plan, Allocation *retained,
                      const Origin *origin, AllocationHandler handler, void *userdata, Failure *failure);

/* Carves anew, at its old place, what was there before the machine was started anew; reserve.h. */
int allocation_restore(Manager *manager, Region *region, const char *id, const Record *record, Failure *failure);
