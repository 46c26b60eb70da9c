/* SPDX-License-Identifier: MIT */
#pragma once

/* Waiting until udev has handed files of a new device over to us. */

#include <stdint.h>

/* Asks check() now and whenever a file in the folder, or a node, changes hands, until it answers something else than -EAGAIN
 * (udev has not been there) and -EACCES (it has done a part), which is returned. -ENODEV: the folder is gone; -ETIMEDOUT, or
 * -EACCES if udev gave us only a part. Blocks for at most so long. */
int dax_await(const char *folder, int (*check)(const void *userdata), const void *userdata, uint64_t usec);
