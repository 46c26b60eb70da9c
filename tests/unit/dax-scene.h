/* SPDX-License-Identifier: MIT */
#pragma once

/* One region of a kernel that is a folder, made for each test anew. */

#include "dax.h"
#include "size.h"

#define START (4 * GIB)

/* The path of the region: platform/hmem.0, of 1 GiB from START. */
extern char *region;

/* First thing in main(). Ends the program where root cannot become somebody for whom there are rights to miss. */
void dax_scene_init(int *argc, char ***argv);
/* At the end of each no more descriptors are open than before. Borrowed until all have run. */
typedef struct DaxTest {
        const char *path;
        void (*function)(void);
} DaxTest;
void dax_scene_add(const DaxTest *tests, size_t n_tests);

/* What an attribute of the region's device says; whether it may be read and written; and that it is not there. */
void dax_scene_set_own(const char *attribute, const char *text);
void dax_scene_forbid(const char *attribute);
void dax_scene_allow(const char *attribute);
void dax_scene_drop(const char *attribute);

/* dax_scan(); dax_regions_free() it. */
DaxRegion *dax_scene_scan(void);
/* A part of why the region cannot be used; NULL: it can be. */
void dax_scene_assert_reason(const char *part);
