/* SPDX-License-Identifier: MIT */
#pragma once

/* What lies on its medium can be used again: somebody has adopted it, its medium has come back, or the last holder has
 * let go of what was detached. */

#include "allocation.h"

/* Opens its lease again, or makes a new one where that is gone. Whether somebody holds it. May block. */
int allocation_recover_lease(Allocation *allocation);

/* Has the service manager keep what was opened anew, because nobody could have it. May block. */
void allocation_store_reopened(const Allocation *allocation);

/* Has a worker open it, and makes it live; what keeps it from that is said in the log. Not while it is busy. */
void allocation_revive(Allocation *allocation);

/* The same as a part of others' operations: what the worker does, and when that has gone well, the event loop. */
int revival_work(Allocation *allocation, Failure *failure);
int revival_finish(Allocation *allocation, Failure *failure);
