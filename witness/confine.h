/* SPDX-License-Identifier: MIT */
#pragma once

/* -EPERM if we are root; no way to any privilege beyond those that we came with. To be called first. */
int confine_begin(void);

/* Gives up every capability, and by a filter every system call that serving does not need. */
int confine_finish(void);
