/* SPDX-License-Identifier: MIT */
#pragma once

#include "config.h"

/* Where directories that are regions can be mounted at any time; others have to be there, and in the configuration, when the
 * broker starts. */
#define SANDBOX_FILES "/srv/daxbroker"

/* Gives up what privileges there are, but for the capability to make files immutable, and the way to any: to be called
 * first. -EPERM if we are root. */
int sandbox_drop_privileges(void);

/* Allows this thread, and all that it makes, to open only files that the broker has to do with: to be called before any
 * other thread is made. Says the version of Landlock that is in force, 0 if the kernel has none. */
int sandbox_restrict_files(int *ret_version);

/* Allows this process, all threads of it, only the system calls that the broker makes. To be called when everything that
 * starting up needs is done. */
int sandbox_filter(FilterMode mode);
