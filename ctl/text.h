/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads one character of UTF-8; returns the bytes it takes, 0 at the end. What is not valid UTF-8 is read
 * as U+FFFD, a byte at a time. */
size_t text_decode(const char *text, uint32_t *ret);

/* A copy that is valid UTF-8 whatever the original was. NULL if out of memory; free() it. */
char *text_to_utf8(const char *text);

/* A copy that can be shown on one line of a terminal: what is unprintable, or beyond ASCII where the
 * terminal does not speak UTF-8, is replaced. NULL if out of memory; free() it. */
char *text_to_printable(const char *text, bool utf8);

/* Columns that a printable text takes on the terminal. */
size_t text_width(const char *printable);

/* A copy of at most this many columns, the last of them telling that something was cut off. NULL if out
 * of memory. */
char *text_shorten(const char *printable, size_t columns, bool utf8);
