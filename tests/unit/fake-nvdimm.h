/* SPDX-License-Identifier: MIT */
#pragma once

/* A kernel with regions of persistent memory, in a folder: it does what the real one does when its files are written to, as
 * far as the broker depends on it. */

#include "fake-kernel.h"

#define FAKE_ND_ALIGNMENT (UINT64_C(16) << 20)

/* Makes the folder and has the broker look there. Not as root, for whom there are no rights to miss. */
void fake_nvdimm_setup(void);
void fake_nvdimm_teardown(void);

/* A labelled region with its seeds, that udev has handed over. Returns its path. */
char *fake_nd_region(unsigned id, uint64_t start, uint64_t size);

/* A namespace as the kernel finds it at boot: with a device if use is "dax", with a disk if it is "raw", idle if it is "".
 * Returns its name. */
char *fake_nd_namespace(const char *region, const char *uuid, const char *label, uint64_t size, const char *use);

/* New seeds belong to root until this is called for them. */
void fake_nd_withhold_rights(bool withhold);
void fake_nd_hand_over(const char *region);

/* Namespaces with a size. */
unsigned fake_nd_count(const char *region);
