/* SPDX-License-Identifier: MIT */
#pragma once

/* What media hold becomes known, whenever they come, go, and come back. */

#include "recovery.h"

/* Before a region's medium is looked at: notes what is known to be there. */
void intake_begin(Manager *manager, Region *region);

/* Afterwards: takes in what was found, which is the region's inventory, and what was not. listed < 0: the look has failed,
 * and what was there cannot be reached; its list_failure says why. */
void intake_end(Manager *manager, Region *region, int listed);

/* Both, and the look, for all regions; at the start, when nobody waits for us yet. */
int intake_all(Recovery *recovery);

/* The last holder has let go of what is detached and keeps its contents. */
void intake_on_released(Allocation *allocation);
