/* SPDX-License-Identifier: MIT */
#pragma once

/* What a record says of a device: "dax0.1 START+LENGTH,…", its name and its physical addresses, in hexadecimal. */

#include <stddef.h>

#include "dax.h"

int devdax_handle_format(const char *device, const Range *ranges, size_t n_ranges, char **ret);

/* The part of it that says where. -EBADMSG, as below. */
int devdax_ranges_parse(const char *text, Range ret[static DAX_RANGES_MAX], unsigned *ret_n);

/* -EBADMSG if it is not wholly as devdax_handle_format() would have written it for a device that can be ours. */
int devdax_handle_parse(const char *handle, char ret_device[static DAX_NAME_MAX], Range ret[static DAX_RANGES_MAX],
                        unsigned *ret_n);
