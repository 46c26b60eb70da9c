/* SPDX-License-Identifier: MIT */
#pragma once

/* Devices that somebody else destroys, disables or changes while they are handed out. */

#include "allocation.h"

/* To be called when discovery has found something: looks for what it does not show, and at that. */
void losses_find(Manager *manager);

/* Has it looked at, now or when the operation that runs is over. */
void allocation_doubt(Allocation *allocation);
