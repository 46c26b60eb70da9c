/* SPDX-License-Identifier: MIT */
#pragma once

/* Namespaces of persistent memory as the kernel shows them under /sys, and the writes that make and unmake those that are
 * device-dax. A namespace is known by its uuid: its name, and that of its device, can be another's after each boot.
 *
 * What is said in dax.h holds here, too: every function may block, nothing is believed that was not read again, and what is
 * not as expected is -EUCLEAN. The path is that of the region's folder below /sys. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dax.h"

#define NVDIMM_NAME_MAX 40  /* "namespace4294967295.4294967295" and its end */
#define NVDIMM_UUID_SIZE 37
#define NVDIMM_LABEL_SIZE 64 /* of the name in the label, with its end */

/* So begin the names of those that are ours, in their labels: udev hands over those and no others. */
#define NVDIMM_LABEL_OURS "daxbroker-"

typedef enum NvdimmUse {
        NVDIMM_IDLE,   /* nothing: it is half made, or was disabled */
        NVDIMM_DEVICE, /* a dax device */
        NVDIMM_OTHER,  /* a block device */
} NvdimmUse;

/* One namespace that has a size, as it is now. */
typedef struct NvdimmNamespace {
        char name[NVDIMM_NAME_MAX];
        char uuid[NVDIMM_UUID_SIZE];   /* "" if it has none */
        char label[NVDIMM_LABEL_SIZE]; /* its name there: printable ASCII, with '?' for what is not */
        uint64_t size;                 /* of the region, with the page map and all */
        bool start_known;              /* else we may not read where it begins */
        uint64_t start;
        NvdimmUse use;
        char holder[NVDIMM_NAME_MAX];  /* what of libnvdimm has it: "dax0.3"; "" if nothing has */
        char device[DAX_NAME_MAX];     /* of the node, as soon as there is one; "" before */
        uint64_t usable, alignment;    /* of that device; 0 before */
        uint64_t bad;                  /* bytes that the kernel knows to be broken; as nvdimm_scan() has found */
} NvdimmNamespace;

/* Whether a text is one as the kernel prints them. */
bool nvdimm_is_uuid(const char *text);

/* How long a namespace must be for so many usable bytes, and what is usable of one: the rest is for the page map. alignment
 * is the region's, page_size that of the device. -EOVERFLOW. */
int nvdimm_size_for(uint64_t usable, uint64_t alignment, uint64_t page_size, uint64_t *ret);
uint64_t nvdimm_usable_of(uint64_t size, uint64_t page_size);

/* All that have a size. Those that vanish meanwhile are left out. -ENODEV: the region is disabled, or goes or comes, so
 * there may be others. Freed by the caller. */
int nvdimm_list(const char *path, NvdimmNamespace **ret, size_t *ret_n);

/* One of them. -ENOENT: there is none; -ENODEV: as above. */
int nvdimm_find(const char *path, const char *uuid, NvdimmNamespace *ret);

/* Makes one with a device, whose pages have this size, and waits until udev has handed its node over. On failure nothing is
 * left of it, as far as nvdimm_destroy() can see to that. -ENOSPC: there is no such extent free; -ETIMEDOUT, -EACCES: udev
 * does not hand over; -EAGAIN: somebody else is making one just now; -EIO: memory of the extent is broken. */
int nvdimm_make(const char *path, const char *uuid, const char *label, uint64_t size, uint64_t page_size,
                NvdimmNamespace *ret);

/* Waits until the node of a device is handed over; for at most so long. */
int nvdimm_await_node(const char *path, const NvdimmNamespace *space, uint64_t usec);

/* The end: the device and its node go, all that is mapped of it gets SIGBUS, and the label is removed. Also for what is half
 * made; succeeds if there is nothing. -EBUSY: a block device has it; -ENODEV: as above. */
int nvdimm_destroy(const char *path, const char *uuid);

/* The folder of its device's parent, as dax.h calls a region's: for dax_inspect() and dax_open(). */
int nvdimm_device_path(const char *path, const NvdimmNamespace *space, char *ret, size_t size);

/* How many bytes of a range of physical addresses the region knows to be broken. */
int nvdimm_count_bad(const char *path, Range range, uint64_t *ret);

/* Appends the regions of persistent memory that there are to the list, each with its namespaces. */
int nvdimm_scan(DaxRegion **list);
