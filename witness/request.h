/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

#include "witness-wire.h"

/* Whether these bytes are a request that makes sense. -EPROTO if they are none at all, -EINVAL if what they ask cannot be
 * answered; ret_why then says what is wrong. What is accepted has at least one page, no more than the protocol allows,
 * and ranges that are aligned, inside of the address space and free of overflow. */
int request_check(const void *data, size_t size, WitnessRequest *ret, const char **ret_why);

/* Of one of the page sizes that requests may have: the exponent of its number of 4 KiB pages. -EINVAL for others. */
int page_size_order(uint64_t page_size);
