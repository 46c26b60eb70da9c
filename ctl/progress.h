/* SPDX-License-Identifier: MIT */
#pragma once

#include "terminal.h"

#include <stdint.h>

/* Enough for both. */
#define PROGRESS_TEXT_MAX 160

/* "45 %", rounded down, so that 100 means all of it. Returns text. */
char *progress_format(uint64_t done, uint64_t total, char text[static PROGRESS_TEXT_MAX]);

/* "█████░░░░░ 45 %" where there is a terminal that shows it, else without the bar. Returns text. */
char *progress_format_bar(uint64_t done, uint64_t total, const Terminal *terminal,
                          char text[static PROGRESS_TEXT_MAX]);
