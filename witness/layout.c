/* SPDX-License-Identifier: MIT */

/* The kernel describes its own types (BTF), and its symbols in /proc/kallsyms. Structures are put together differently
 * in each version, with members inside of nameless unions: what is looked for is a name and a size, at whatever depth.
 * What is not found as expected is not guessed. */

#include "layout.h"

#include <bpf/btf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

#define DEPTH_MAX 8
#define PAGE_STRUCT_SIZE 64 /* a larger one would not fit into the program's buffer; there is none */

/* The offset in bits of a member of this size, from the beginning of the outermost structure. */
static int64_t type_find(const struct btf *btf, uint32_t id, const char *name, int64_t size, unsigned depth) {
        const struct btf_type *type = btf__type_by_id(btf, id);
        const struct btf_member *members;

        if (!type || !btf_is_composite(type) || depth > DEPTH_MAX)
                return -ENOENT;

        members = btf_members(type);
        for (uint32_t i = 0; i < btf_vlen(type); i++) {
                const char *member = btf__name_by_offset(btf, members[i].name_off);
                int64_t offset = btf_member_bit_offset(type, i), inner;

                if (!member)
                        return -ENOENT;
                if (strcmp(member, name) == 0)
                        return btf__resolve_size(btf, members[i].type) == size && btf_member_bitfield_size(type, i) == 0
                                               ? offset
                                               : -ENOENT;
                if (*member)
                        continue;
                inner = type_find(btf, members[i].type, name, size, depth + 1);
                if (inner >= 0)
                        return offset + inner;
        }

        return -ENOENT;
}

static int member_find(const struct btf *btf, const char *structure, const char *name, int64_t size, uint32_t *ret) {
        int id = btf__find_by_name_kind(btf, structure, BTF_KIND_STRUCT);
        int64_t bits;

        if (id < 0)
                return -ENOENT;
        bits = type_find(btf, (uint32_t) id, name, size, 0);
        if (bits < 0 || bits % 8 != 0 || bits / 8 > INT16_MAX)
                return -ENOENT;

        *ret = (uint32_t) (bits / 8);
        return 0;
}

static int enumerator_find(const struct btf *btf, const char *enumeration, const char *name, uint32_t *ret) {
        int id = btf__find_by_name_kind(btf, enumeration, BTF_KIND_ENUM);
        const struct btf_type *type = id < 0 ? NULL : btf__type_by_id(btf, (uint32_t) id);

        if (!type)
                return -ENOENT;
        for (uint32_t i = 0; i < btf_vlen(type); i++) {
                const struct btf_enum *each = &btf_enum(type)[i];
                const char *found = btf__name_by_offset(btf, each->name_off);

                if (found && strcmp(found, name) == 0) {
                        *ret = (uint32_t) each->val;
                        return 0;
                }
        }

        return -ENOENT;
}

static int page_find(const struct btf *btf, Layout *layout) {
        int id = btf__find_by_name_kind(btf, "page", BTF_KIND_STRUCT), r;
        int64_t size = id < 0 ? -1 : btf__resolve_size(btf, (uint32_t) id);

        if (size <= 0 || size > PAGE_STRUCT_SIZE)
                return -ENOENT;
        layout->page_size = (uint32_t) size;

        r = member_find(btf, "page", "_refcount", 4, &layout->page_references);
        if (r < 0)
                return r;

        /* It moved from the page to the folio, which begins with the page. */
        r = member_find(btf, "folio", "pgmap", 8, &layout->page_map);
        if (r < 0)
                r = member_find(btf, "page", "pgmap", 8, &layout->page_map);
        if (r < 0)
                return r;

        /* A pin counts as a reference as well, so that this is one more sign and not the only one. */
        r = member_find(btf, "folio", "_pincount", 4, &layout->page_pins);
        if (r < 0)
                layout->page_pins = 0;
        return layout->page_references + 4 > layout->page_size || layout->page_map + 8 > layout->page_size ? -ENOENT : 0;
}

static int map_find(const struct btf *btf, Layout *layout) {
        int r;

        r = enumerator_find(btf, "memory_type", "MEMORY_DEVICE_GENERIC", &layout->type_generic);
        if (r >= 0)
                r = member_find(btf, "dev_pagemap", "type", 4, &layout->map_type);
        if (r >= 0)
                r = member_find(btf, "dev_pagemap", "vmemmap_shift", 8, &layout->map_order);
        if (r >= 0)
                r = member_find(btf, "dev_pagemap", "nr_range", 4, &layout->map_n_ranges);
        if (r >= 0)
                r = member_find(btf, "dev_pagemap", "range", 16, &layout->map_ranges);
        return r;
}

int layout_find(const struct btf *btf, Layout *ret, const char **ret_why) {
        Layout layout = { 0 };
        int r;

        r = page_find(btf, &layout);
        if (r < 0) {
                *ret_why = "this kernel's struct page is not as we know it";
                return r;
        }
        r = map_find(btf, &layout);
        if (r < 0) {
                *ret_why = "this kernel's struct dev_pagemap is not as we know it";
                return r;
        }

        *ret = layout;
        return 0;
}

int symbol_find(FILE *symbols, const char *name, uint64_t *ret) {
        _cleanup_free_ char *line = NULL;
        size_t size = 0;

        /* ADDRESS TYPE NAME [MODULE], those of modules last */
        while (getline(&line, &size, symbols) > 0) {
                uint64_t address;
                char found[128];

                if (sscanf(line, "%" SCNx64 " %*c %127s", &address, found) != 2 || strcmp(found, name) != 0)
                        continue;
                if (address == 0)
                        return -EACCES;
                *ret = address;
                return 0;
        }

        return -ENOENT;
}
