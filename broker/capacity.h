/* SPDX-License-Identifier: MIT */
#pragma once

/* How many allocations the limits of the machine and of the unit are good for. */

#include <stdint.h>

typedef struct Manager Manager;

/* Gets as many descriptors as we may have, and returns how many allocations they are good for. */
uint64_t capacity_raise(void);

/* Says in the log which limits are not good for what the manager's configuration allows one user. */
void capacity_check(const Manager *manager);
