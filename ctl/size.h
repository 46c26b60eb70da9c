/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/* The longest is "1023.9E" and its NUL; any 64-bit number in bytes fits, too. */
#define SIZE_TEXT_MAX 24

/* "4096", "64M", "64MiB", "1.5G": base 1024, B K M G T P E in either case. A fraction is rounded up to a
 * whole byte. Errors: EINVAL (not a size), ERANGE (beyond 2^64-1). */
int size_parse(const char *text, uint64_t *ret);

/* What a size looks like, for the message that says that something does not. */
#define SIZE_FORMS "4096, 64M, 64MiB or 1.5G"

/* "64M", "1.5G", "0B": at most one decimal, and never more than there is. Returns text. */
char *size_format(uint64_t size, char text[static SIZE_TEXT_MAX]);
