/* SPDX-License-Identifier: MIT */
#pragma once

/* Bytes: written by people, rounded, and told to people. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* "No limit", wherever a limit in bytes or in pieces is kept. */
#define SIZE_INFINITE UINT64_MAX

static inline bool is_power_of_two(uint64_t value) {
        return value != 0 && (value & (value - 1)) == 0;
}

/* Rounds up to a multiple of a power of two. -EOVERFLOW if that has no representation. */
int size_round_up(uint64_t size, uint64_t multiple, uint64_t *ret);

/* Parses "4096", "64K", "64KiB", "1.5G" (base 1024, B K M G T P E) and "infinity". -EINVAL, -ERANGE. */
int size_parse(const char *text, uint64_t *ret);

/* Parses the same, and "25%" as that part of whole. Percentages above 100: -ERANGE. */
int size_parse_part(const char *text, uint64_t whole, uint64_t *ret);

/* Enough for any size_format(). */
#define SIZE_TEXT_MAX 32

/* "64 MiB", "1536 KiB", "4097 bytes", "no limit": the largest unit that says it exactly. Returns buffer. */
char *size_format(uint64_t size, char buffer[static SIZE_TEXT_MAX]);

/* The same into a buffer that lives to the end of the calling block. */
#define SIZE_TEXT(size) size_format((size), (char[SIZE_TEXT_MAX]){ 0 })
