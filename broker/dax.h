/* SPDX-License-Identifier: MIT */
#pragma once

/* Dynamic dax regions as the kernel shows them under /sys, and the few writes that make and unmake devices in them.
 *
 * Every function may block and is for worker threads, or for before the event loop runs. None of them believes that a
 * write did what it was meant to: each reads again what the kernel made of it. Errors are negative errno; what is not
 * as it was expected is -EUCLEAN. Nothing here is for devices of anybody else: callers name only devices they made. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "range.h"

#define DAX_NAME_MAX 32   /* "dax4294967295.4294967295" and its end */
#define DAX_RANGES_MAX 16 /* that one device of ours may consist of */

/* Physical memory is hot-plugged, and its page structures are made, in pieces of this. */
#define DAX_GRANULARITY (UINT64_C(2) << 20)

typedef enum DaxDriver {
        DAX_DRIVER_NONE,
        DAX_DRIVER_DEVICE, /* device_dax: it can be opened and mapped */
        DAX_DRIVER_OTHER,  /* kmem: it is ordinary memory; or one unknown here */
} DaxDriver;

/* One daxX.Y as it is now. */
typedef struct DaxDevice {
        char name[DAX_NAME_MAX];
        uint64_t size, alignment;
        DaxDriver driver;
        dev_t node; /* of /dev/daxX.Y */
        unsigned n_ranges;
        bool ranges_known; /* false: we may not read where, there are too many, or several and it is not bound */
        Range ranges[DAX_RANGES_MAX];
} DaxDevice;

/* What the kernel publishes about the path from the nearest processors, from the best access class; 0 if nothing. */
typedef struct DaxPerformance {
        uint64_t read_bandwidth, write_bandwidth; /* MiB/s */
        uint64_t read_latency, write_latency;     /* ns */
} DaxPerformance;

/* One region as it is now. */
typedef struct DaxRegion {
        char *name;       /* of the device it belongs to, such as "hmem.0": the same after each boot; unique in a list */
        const char *provider; /* the one that carves from it: "devdax", or "nvdimm" if it is persistent; static */
        char *alias;      /* what else it can be called, and is wherever its memory is put; NULL if there is nothing */
        char *path;       /* that device's folder below /sys, with no links in it */
        char *reason;     /* why nothing can be carved from it and what to do about it; NULL if it can be */
        unsigned id;      /* the X of its devices daxX.Y */
        bool start_known; /* else nothing tells where it begins until a device of size 0 is made: then scan again */
        Range range;      /* of physical addresses; the length is 0 if it could not be read */
        uint64_t available; /* bytes that no device has, whoever made them */
        uint64_t alignment; /* the region's own, 0 if unknown */
        uint64_t scanned; /* when this was begun to be read, CLOCK_MONOTONIC in microseconds */
        int numa_node, target_node; /* -1 if there is none */
        DaxPerformance performance;
        DaxDevice *devices; /* by name */
        size_t n_devices;
        struct NvdimmNamespace *namespaces; /* see nvdimm.h */
        size_t n_namespaces;
        bool indivisible; /* persistent, and has no labels: so nothing of it can be ours */
        uint64_t largest; /* the longest namespace that there is room for */
        struct DaxRegion *prev, *next;
} DaxRegion;

/* All regions there are, usable or not; a utlist. Errors of one region become its reason. A region that is full has a
 * reason only if nothing of it can be ours: the rest is for those to say who know which devices are. */
int dax_scan(DaxRegion **ret);
DaxRegion *dax_region_free(DaxRegion *region);
void dax_regions_free(DaxRegion *list);

/* Of the devices that a scan has found; NULL if it is none of them. */
const DaxDevice *dax_region_find(const DaxRegion *region, const char *name);

/* Of the memory of a node; -1 for none. What cannot be read is not known. */
void dax_read_performance(int node, DaxPerformance *ret);

/* One device. -ENOENT: there is none of this name. path is the region's. */
int dax_inspect(const char *path, const char *name, DaxDevice *ret);

/* Makes a device of size 0 and says its name. -ENOSPC: the region is full. -EUCLEAN: there may be one of which we do not
 * know the name. */
int dax_create(const char *path, char ret_name[static DAX_NAME_MAX]);

/* The idle device that daxctl would use next; "" if it would make one. */
int dax_seed(const char *path, char ret_name[static DAX_NAME_MAX]);

/* Waits until udev has handed the attributes and the node of a new device over to us; by event. -ETIMEDOUT, -ENODEV if it
 * vanished, -EACCES if udev gave us only a part. */
int dax_await_rights(const char *path, const char *name, uint64_t usec);

/* Claims a device for the device_dax driver, so that no other driver takes it; before it has a size. Where no other driver
 * would, nothing is done. */
int dax_claim(const char *name);
/* Forgets the claim. Also when there is none. Before dax_delete(): after that the name may be another device's. */
int dax_unclaim(const char *name);

/* Sets the alignment of a device of size 0: 4 KiB, 2 MiB or 1 GiB. */
int dax_align(const char *path, const char *name, uint64_t alignment);

/* Gives a device that is not bound more ranges of physical addresses, in this order; each start and length is a multiple of
 * DAX_GRANULARITY and of its alignment, else -EINVAL. No dax_claim() of ours comes between them and has the driver bind a
 * part. -EADDRINUSE: (part of) one is taken; -EBUSY: it is bound, because somebody's claim made the driver take all that has
 * a size: it can only be unmade then. -ENODEV: the region goes. After other errors the device may have a range or not. */
int dax_add_ranges(const char *path, const char *name, const Range *ranges, size_t n_ranges);

/* Binds to device_dax, for the first and only time. Afterwards the driver is that, and the size is size; -EUCLEAN: one of
 * them is not, and the device may be bound. -ENODEV: device_dax does not want it, or is not loaded. */
int dax_bind(const char *path, const char *name, uint64_t size);

/* Opens the node of a bound device, also of a static one; makes sure that it is still that device that is bound
 * afterwards. */
int dax_open(const char *path, const char *name, bool read_only, int *ret_fd);

/* The end, step by step; each succeeds if it is already done.
 * dax_unbind() also takes its ranges away, before any claim of ours has the driver bind it again, which would bring old
 * descriptors and mappings back to life; somebody else's claim that comes in between is undone. -EBUSY: too many of them.
 * dax_delete() deletes one that has no ranges; -EBUSY: it has some, or is bound. */
int dax_unbind(const char *path, const char *name);
int dax_delete(const char *path, const char *name);

/* Where /sys and /dev are; for tests with folders of their own. */
void dax_set_roots(const char *sys, const char *dev);
