/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/* Microseconds that only ever grow, CLOCK_MONOTONIC: for deadlines, and for what came before what. */
uint64_t now_usec(void);

/* The same, CLOCK_BOOTTIME: it goes on while the machine sleeps. */
uint64_t now_boottime(void);

/* When something was: microseconds since 1970, CLOCK_REALTIME, which may jump. */
uint64_t now_realtime(void);
