/* SPDX-License-Identifier: MIT */
#pragma once

/* Devices of size 0, made ahead: created, handed over by udev and claimed for device_dax, so that a request costs only
 * the writes that give one its ranges and bind it. And the names of those that have been given ranges ahead of requests, and
 * are nobody's yet. One pool for each dax region. All functions may be called from several
 * worker threads at once. Which devices are ours is written down before and after each is made, so that the next broker
 * finds those that this one left, and no others. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dax.h"

typedef struct SeedPool SeedPool;

/* notes_dir and note: the file that says which idle devices of this region are ours. Does not touch the kernel. */
int seed_pool_new(const char *path, int notes_dir, const char *note, SeedPool **ret);

/* Forgets it, and leaves the devices for seed_pool_recover() of the next broker. */
SeedPool *seed_pool_free(SeedPool *pool);

/* A record is about this device, which the note may have, too: seed_pool_recover() leaves it alone. Before that. -ENOMEM. */
int seed_pool_except(SeedPool *pool, const char *name);

/* Where the devices with memory lie that the note says an earlier broker left, before seed_pool_recover() has undone
 * them; free() it. */
int seed_pool_find_left(SeedPool *pool, Range **ret, size_t *ret_n);

/* Deletes what the note says an earlier broker left, but for the decoy. Devices that are not as the note says, or not in it,
 * are left alone.
 * -EBADMSG: there is a note, but it cannot be understood; nothing was done then. */
int seed_pool_recover(SeedPool *pool);

/* A device of size 0, claimed and with all rights on it, that is now the caller's. It is in the note until he has written
 * its name down elsewhere and called seed_pool_taken(); only after that he gives it a size. Makes one if none is ready.
 * -ENOSPC: the region is full; -ETIMEDOUT: udev does not hand over what is new. */
int seed_pool_take(SeedPool *pool, char ret_name[static DAX_NAME_MAX]);

/* It gets a size, and nobody shall have it yet: this is noted first, so that whoever comes after us undoes it. Until
 * seed_pool_taken(), or seed_pool_undone() when it is deleted. */
int seed_pool_keep(SeedPool *pool, const char *name, Range range);
void seed_pool_undone(SeedPool *pool, const char *name);

/* The caller has recorded that the device is his: it leaves the note. */
int seed_pool_taken(SeedPool *pool, const char *name);

/* It was not used: it never had a size and was not bound. */
void seed_pool_return(SeedPool *pool, const char *name);

/* Whether fewer are ready than should be; seed_pool_fill() makes them. */
bool seed_pool_is_low(SeedPool *pool);
int seed_pool_fill(SeedPool *pool);

/* Deletes those that are ready, and undoes those that are kept, as many as there is time for (CLOCK_MONOTONIC,
 * microseconds): the region goes, or the broker is stopped. */
void seed_pool_drain(SeedPool *pool, uint64_t deadline);
