/* SPDX-License-Identifier: MIT */
#pragma once

/* Filling memory with zeros, by libpmem2's stores that go past the caches, as fast as a limit allows. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A limit shared by all who clean one region. Each may be called from any thread; nobody may clean with one that is being
 * freed. */
typedef struct Throttle Throttle;
int throttle_new(Throttle **ret);
Throttle *throttle_free(Throttle *throttle);
/* Bytes per second; 0 for no limit. Who is waiting goes on at the new pace. */
void throttle_set(Throttle *throttle, uint64_t bandwidth);
/* Waits until it is time for the next bytes, which are at most some MiB; NULL is no limit. -ECANCELED if *stop is set. */
int throttle_wait(Throttle *throttle, uint64_t bytes, const atomic_bool *stop);

/* Zeros length bytes of what fd maps, from 0. It is mapped in parts whose length is a multiple of alignment (a power of
 * two), but for the last if length is none. *progress is set to 0 first, and then to the bytes done so far. throttle,
 * progress and stop may be NULL.
 *
 * Blocks for as long as it takes, a few seconds for 10 GiB; stop ends it within a tenth of a second with -ECANCELED. A
 * fault, because the device was taken away, the memory is broken or the file is shorter, is -EFAULT and harms nothing
 * else: for that a handler of SIGBUS stays installed, which passes on all others. SIGBUS must not be blocked in the
 * calling thread. What cannot be mapped is the errno of mmap(): -ENXIO for a device that is not bound. Nothing stays
 * mapped. Several threads may clean at once, also the same memory. */
int clean_fd(int fd, uint64_t length, uint64_t alignment, Throttle *throttle, _Atomic uint64_t *progress,
             const atomic_bool *stop);
