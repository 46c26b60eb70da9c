/* SPDX-License-Identifier: MIT */
#pragma once

/* The provider of dax devices, with a kernel that is a folder. Nodes cannot be opened there, so opening is left out: all of
 * them are one memfd. Each test has a kernel of its own, with one region, all of it free. */

#include <glib.h>

#include "fake-dax.h"
#include "provider.h"
#include "region.h"
#include "size.h"

#define START (4 * GIB)
#define SIZE (4 * GIB)
#define UNIT DAX_GRANULARITY
#define NAME "hmem.0"

extern const Provider *const devdax;

extern Region *region;
extern RegionConfig config; /* of the region */
extern DaxRegion *found;    /* what it knows of the kernel */
extern char *path;          /* where the kernel has it */
extern int notes;           /* the folder for its notes */
extern int memory;          /* what all nodes are */
extern int open_error;      /* instead of opening one, if it is not 0 */

/* What the kernel has now; and what was found, or is to be found, becomes the region's. */
DaxRegion *scan(void);
void apply(DaxRegion *now);
void rescan(void);

/* Another one in place of one that was freed. */
void make_region(bool recovered);

/* Pieces, step by step. Those that return one succeed. */
Request request_of(uint64_t size);
Piece plan(const Request *request);
int try_reserve(Piece *piece, Failure *failure);
Piece reserve(uint64_t size);
int carve(Piece *piece, Failure *failure);
Piece carved(uint64_t size);
void take_down(Piece *piece);
void release(Piece *piece, bool clean);

/* One of which a record says where it lies. */
int try_claim(const char *handle, uint64_t length, Piece *piece, Failure *failure);
Piece claim(const char *handle, uint64_t length);

/* Until it is called again. */
const char *device_of(const Piece *piece);

void assert_text(const char *text, const char *words);

typedef struct SceneTest {
        const char *path;
        void (*function)(void);
} SceneTest;

/* What main() returns. */
int scene_main(int argc, char **argv, const SceneTest *tests, size_t n);
