/* SPDX-License-Identifier: MIT */
#pragma once

#include <daxbroker.h>

/* Runs a command line that inherits the allocation's descriptors and is told of them in the environment; or none, if that is
 * NULL. Returns its exit status, 128 + the signal that ended it, or 126 or 127 if it cannot be run. */
int program_run(char *const argv[], const daxbroker_allocation *allocation);

/* From now on INT, TERM and HUP wait for hold_wait(), unless they were to be ignored. */
void hold_prepare(void);

/* Waits for one of them. */
void hold_wait(void);
