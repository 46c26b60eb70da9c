/* SPDX-License-Identifier: MIT */
#pragma once

/* Filling memory with zeros, by libpmem2's stores that go past the caches, as fast as a limit allows. */

#include <stdatomic.h>
#include <stdint.h>

/* A limit shared by all who clean one region. Each may be called from any thread. */
typedef struct Throttle Throttle;
int throttle_new(Throttle **ret);
Throttle *throttle_free(Throttle *throttle);
/* Bytes per second; 0 for no limit. */
void throttle_set(Throttle *throttle, uint64_t bandwidth);

/* Zeros length bytes of what fd maps, from 0, in steps aligned to alignment, the bytes done so far in *progress. Blocks
 * for as long as it takes; stop (may be NULL) ends it early with -ECANCELED. A fault, because the device was taken away
 * or the memory is broken, is -EFAULT and harms nothing else. */
int clean_fd(int fd, uint64_t length, uint64_t alignment, Throttle *throttle, _Atomic uint64_t *progress,
             const atomic_bool *stop);
