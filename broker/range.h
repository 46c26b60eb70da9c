/* SPDX-License-Identifier: MIT */
#pragma once

/* A range of bytes: of physical addresses, or of offsets, as whoever uses it says. */

#include <stdint.h>

typedef struct Range {
        uint64_t start, length;
} Range;
