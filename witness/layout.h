/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>
#include <stdio.h>

struct btf;

/* Where this kernel keeps what we want to know: offsets in bytes, from the beginning of the struct page or the struct
 * dev_pagemap. All of a page's fit into its first 64 bytes, but pins. */
typedef struct Layout {
        uint32_t page_size; /* sizeof(struct page) */
        uint32_t page_references;
        uint32_t page_map;  /* the pointer to the struct dev_pagemap */
        uint32_t page_pins; /* of a compound page only, in one of its other struct pages; 0 if it is not known */

        uint32_t map_type;
        uint32_t map_order;
        uint32_t map_n_ranges;
        uint32_t map_ranges; /* pairs of 64 bits: the first and the last address */
        uint32_t type_generic; /* the type of what belongs to a dax device */
} Layout;

/* -ENOENT if the types are not as we know them; ret_why says which. */
int layout_find(const struct btf *btf, Layout *ret, const char **ret_why);

/* Finds the address of a symbol in something like /proc/kallsyms. -ENOENT if it is not there, -EACCES if it is, but all
 * addresses are hidden. */
int symbol_find(FILE *symbols, const char *name, uint64_t *ret);
