/* SPDX-License-Identifier: MIT */
#pragma once

/* A kernel with dax regions, in a folder: it does what the real one does when its files are written to, as far as the
 * broker depends on it. */

#include "fake-kernel.h"

/* Makes the folder and has the broker look there. Not as root, for whom there are no rights to miss. */
void fake_dax_setup(void);
void fake_dax_teardown(void);

/* A dynamic region with its first device, of size 0. Returns its path. Its devices are for kmem unless claimed for
 * device_dax, until it is said that they are not. */
char *fake_region(const char *parent, unsigned id, uint64_t start, uint64_t size);
void fake_region_is_not_for_kmem(const char *region);
void fake_device(const char *region, unsigned id, unsigned number);
/* As an admin would do it. */
void fake_add_range(const char *region, const char *device, uint64_t start, uint64_t length);
void fake_bind(const char *region, const char *device, const char *driver);
void fake_unbind(const char *region, const char *device);
bool fake_is_claimed(const char *device);
bool fake_exists(const char *device);
/* daxX.Y that there are in all regions. */
unsigned fake_count_devices(void);

/* New devices belong to somebody else until this is called. */
void fake_withhold_rights(bool withhold);
void fake_hand_over(const char *region, const char *device);

/* Somebody uses each device that is made for him before the next one is made, until this is called again. */
void fake_take_decoys(bool take);
