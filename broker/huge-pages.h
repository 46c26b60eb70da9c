/* SPDX-License-Identifier: MIT */
#pragma once

/* What the kernel says about huge pages. */

#include <stdbool.h>
#include <stdint.h>

/* Makes ready what is asked most. Once, before any thread asks; without it everything works, and takes longer. */
void huge_pages_begin(void);

/* Whether the kernel has a hugetlb pool for pages of this size. */
bool huge_pages_exist(uint64_t page_size);

/* Pages of this size that are free and promised to nobody, on one node or (-1) anywhere. 0 if it cannot be told. */
uint64_t huge_pages_free(uint64_t page_size, int numa_node);

/* Whether shared memory can get transparent huge pages when asked (shmem_enabled is not "never" or "deny"). */
bool huge_pages_for_shmem(void);

/* Bytes the machine could still give to programs without swapping, or this node (unless -1) as it is; UINT64_MAX if it
 * cannot be told. */
uint64_t memory_available(int numa_node);
