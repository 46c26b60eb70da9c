/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Bytes of the smallest pages that this descriptor can be mapped with. */
uint64_t map_page_size(int fd);

/* length in whole pages, and the address space in which a place of that length and alignment is sure to be
 * found. page and alignment are powers of two. Errors: -EOVERFLOW. */
int map_layout(uint64_t length, uint64_t page, uint64_t alignment, size_t *ret_length, size_t *ret_reserve);
