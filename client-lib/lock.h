/* SPDX-License-Identifier: MIT */
#pragma once

/* The one lock of the library, see lock.c. Never held across a call on the bus or a callback. */

void library_lock(void);
void library_unlock(void);
