/* SPDX-License-Identifier: MIT */
#pragma once

#include "manager.h"

/* The region for a validated request: the one it names, one as it prefers, or the default. A preference chooses among the
 * regions that could meet the request if they were empty, on its NUMA node if it names one; those that have room for it
 * now go first, then the better ones, then the default region. What the kernel says nothing about is worst. */
Region *region_choose(const Manager *manager, const Request *request, Failure *failure);
