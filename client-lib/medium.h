/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* The NVDIMM region that a DAX device is on; see medium.c. */

/* Its directory in sysfs, which the caller closes. Errors: -ENOENT if the device is on none. */
int medium_open_region(const char *sysfs, dev_t device, int *ret);

/* Whether the processor's caches are written back when the power goes. */
bool medium_has_durable_caches(int region);

/* Empties the buffers between the processor and the medium, as far as there are any that are not written back when the
 * power goes. Errors: -EACCES, if there are and the caller may not. */
int medium_flush(int region);
