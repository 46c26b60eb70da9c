/* SPDX-License-Identifier: MIT */
#pragma once

/* Asks daxbroker-witness, which is optional, whether anybody still has a reference to pages of dax memory. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "range.h"

typedef enum WitnessVerdict {
        WITNESS_IDLE,       /* nobody: nothing maps them, nothing has them pinned */
        WITNESS_REFERENCED, /* somebody does */
        WITNESS_UNKNOWN,    /* it cannot tell, or could not be asked */
} WitnessVerdict;

/* Whether its socket exists. */
bool witness_installed(void);

/* About physical addresses of a device that is bound with this page size (its alignment). Blocks for at most some seconds:
 * worker threads only. ret_why: a sentence without full stop, into the caller's buffer; empty if idle. */
WitnessVerdict witness_ask(const Range *ranges, size_t n_ranges, uint64_t page_size, char *ret_why, size_t size);

/* Tells it that nobody holds these just now, so that it learns what idle looks like: of a device that was bound a moment
 * ago and that nobody has been given yet. 0 if it has learnt that; -EBUSY if it sees references in spite of it, -ENODATA if
 * it cannot tell, and what went wrong if it could not be asked. Blocks as witness_ask() does. */
int witness_teach(const Range *ranges, size_t n_ranges, uint64_t page_size);
