/* SPDX-License-Identifier: MIT */
#pragma once

/* What the files that find regions share: a region being read, and why it cannot be used. */

#include <stdbool.h>

#include "dax.h"

/* Errors that say nothing about a region: without memory or descriptors nothing can be said about any. */
bool dax_error_is_ours(int r);

/* The reason why it cannot be used; the first one stays. -ENOMEM. */
__attribute__((format(printf, 2, 3))) int dax_region_refuse(DaxRegion *region, const char *format, ...);

/* For an error when reading something below the region's path. */
int dax_region_refuse_error(DaxRegion *region, const char *what, int r);

/* Refuses if we may not write this file, which udev should have handed over. path is what folder is the folder of. */
int dax_region_check_file(DaxRegion *region, int folder, const char *path, const char *file);

/* Calls a function with the name of each device of a bus, and with where /sys really is; of a bus that there is not, there
 * are none. Ends with the first negative result. */
typedef int (*DaxBusFunction)(const char *root, const char *name, DaxRegion **list);
int dax_bus_walk(const char *bus, DaxBusFunction function, DaxRegion **list);

/* An empty one at the end of the list. */
int dax_region_append(DaxRegion **list, const char *path, const char *provider, DaxRegion **ret);

/* That of its folder, if that is fit and nobody else in the list has it; else another one, and it cannot be used. */
int dax_region_choose_name(DaxRegion *region, const DaxRegion *list);
