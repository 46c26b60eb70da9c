/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/* Room for a moment as text. */
#define MOMENT_TEXT_MAX 40

/* Microseconds since 1970 as "2026-01-02 15:04", local time, or as "2026-01-02T14:04:05.000006Z"; "-" if
 * that is 0 or beyond what a calendar can tell. Both return text. */
char *moment_format(uint64_t usec, char text[static MOMENT_TEXT_MAX]);
char *moment_format_iso(uint64_t usec, char text[static MOMENT_TEXT_MAX]);

/* The time of day, "15:04:05". */
char *moment_format_clock(uint64_t usec, char text[static MOMENT_TEXT_MAX]);

/* This very moment. */
uint64_t moment_now(void);
