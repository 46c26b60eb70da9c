/* SPDX-License-Identifier: MIT */
#pragma once

#include <sys/types.h>

/* Lets polkit ask for a password on this terminal while something is being asked for. Returns once it
 * can, or once it is clear that it cannot. Returns 0 if there is no need or no way. */
pid_t agent_start(void);

/* Ends that; 0 is fine. */
void agent_stop(pid_t agent);
