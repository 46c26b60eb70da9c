/* SPDX-License-Identifier: MIT */
#pragma once

/* What the provider nvdimm keeps of a region, for its two halves: nvdimm-account.c keeps the account of its bytes, in the
 * event loop; provider-nvdimm.c makes and unmakes namespaces, in worker threads. */

#include "nvdimm.h"
#include "provider.h"
#include "recycling.h"
#include "region.h"

/* A namespace that is ours. Lives a little longer than its piece: a scan that began before may still show it. */
typedef struct NvdimmClaim {
        char uuid[NVDIMM_UUID_SIZE];
        uint64_t size, length; /* of the region, and usable */
        uint64_t released;     /* CLOCK_MONOTONIC in microseconds; 0: it has a piece */
        struct NvdimmClaim *prev, *next;
} NvdimmClaim;

typedef struct Nvdimm {
        Region *region;
        char *path; /* its folder below /sys */
        uint64_t alignment; /* of lengths of namespaces */
        NvdimmClaim *claims; /* the event loop's, as all of these but path */
        uint64_t others;     /* bytes that somebody else has */
        uint64_t extent;     /* the longest namespace that there was room for, ... */
        uint64_t looked;     /* ... when it was looked at */
        uint64_t changed;    /* when we last took something, or gave it back */
        Recycling recycling; /* for any thread */
} Nvdimm;

/* Functions of the provider, see provider.h. */
int nvdimm_probe(Region *region, const RegionConfig *config, Failure *failure);
int nvdimm_plan(const Region *region, const Request *request, Piece *piece, Failure *failure);
int nvdimm_fits(const Region *region, const Piece *plan, Failure *failure);
int nvdimm_reserve(Region *region, Piece *piece, Failure *failure);
int nvdimm_claim(Region *region, Piece *piece, Failure *failure);
void nvdimm_release(Piece *piece);
int nvdimm_examine(const Piece *piece, Failure *failure);
void nvdimm_forget(Region *region);
