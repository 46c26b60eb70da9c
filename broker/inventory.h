/* SPDX-License-Identifier: MIT */
#pragma once

/* What a region's medium holds, together with the records of it that are kept elsewhere. */

#include "provider.h"
#include "region.h"

/* Asks the provider, and where the medium keeps no records looks for those below records_dir: each find that has one gets
 * it, and the id by which it is known. A record of this region that is of nothing that was found is a find, too, an absent
 * one. For worker threads, one at a time for a region. */
int inventory_read(Region *region, int records_dir, Inventory *ret, Failure *failure);
