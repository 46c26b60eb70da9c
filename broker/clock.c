/* SPDX-License-Identifier: MIT */

/* The clocks, in microseconds. */

#include "clock.h"

#include <time.h>

static uint64_t clock_now(clockid_t clock) {
        struct timespec now;

        (void) clock_gettime(clock, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

uint64_t now_usec(void) {
        return clock_now(CLOCK_MONOTONIC);
}

uint64_t now_boottime(void) {
        return clock_now(CLOCK_BOOTTIME);
}

uint64_t now_realtime(void) {
        return clock_now(CLOCK_REALTIME);
}
