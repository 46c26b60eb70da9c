/* SPDX-License-Identifier: MIT */
#pragma once

/* Huge pages of 2 MiB, of which a machine has one pool for all worlds: tests that use this are listed as alone. */

#include <stdbool.h>
#include <stdint.h>

/* Has the machine keep that many more, if it can; false if fewer than that are free afterwards. Undone by
 * huge_pages_restore(), also if the test fails in between. */
bool huge_pages_reserve(unsigned n);
void huge_pages_restore(void);
uint64_t huge_pages_count_free(void);
