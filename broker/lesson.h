/* SPDX-License-Identifier: MIT */
#pragma once

/* Memory that is made only so that the witness can see what memory looks like that nobody refers to. */

#include "allocation.h"

/* A piece was kept because nothing and nobody could tell whether it is referred to. */
void lesson_give(const Allocation *kept);
