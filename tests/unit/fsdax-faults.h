/* SPDX-License-Identifier: MIT */
#pragma once

/* A file system that fails now and then, for tests that are linked with --wrap for these functions. */

#include <stdint.h>
#include <sys/types.h>

/* So many calls of fallocate() from now on find the file system full, and so do all that are for more than the limit. */
extern unsigned n_full;
extern off_t limit;
extern unsigned n_calls; /* of it, so far */
/* What is free, as fstatvfs() says, if that is not what is; and less with each call. */
extern uint64_t available;
/* What another worker does just before the next call. */
extern void (*meanwhile)(void);

/* So many new files have no room. */
extern unsigned n_none;

/* So many files cannot be cut, as if a holder kept us from it; and what another worker does just after one was. */
extern unsigned n_stuck;
extern void (*after_cut)(void);

/* So many files were looked at by name. */
extern unsigned n_looks;
