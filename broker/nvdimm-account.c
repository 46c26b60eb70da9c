/* SPDX-License-Identifier: MIT */

/* The account of a region of persistent memory, in the event loop. Where a namespace lies is decided by the kernel, so there
 * is nothing to place; what is counted is how much is ours, how much is somebody else's, and the longest extent that is
 * free, as of the last look at it.
 *
 * Users are charged for what they can use. The rest of their namespaces, the page map that is, counts as foreign: nobody can
 * have it. */

#include "nvdimm-account.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <utlist.h>

#include "clock.h"
#include "log.h"
#include "size.h"

void nvdimm_forget(Region *region) {
        Nvdimm *nvdimm = region->state;
        NvdimmClaim *claim, *next;

        if (!nvdimm)
                return;

        region->state = NULL;
        region->foreign = 0;
        DL_FOREACH_SAFE(nvdimm->claims, claim, next)
                free(claim);
        recycling_done(&nvdimm->recycling);
        free(nvdimm->path);
        free(nvdimm);
}

static int nvdimm_new(Region *region, const char *path) {
        Nvdimm *nvdimm;
        int r;

        nvdimm = calloc(1, sizeof(*nvdimm));
        if (!nvdimm)
                return -ENOMEM;

        region->state = nvdimm;
        nvdimm->region = region;
        nvdimm->path = strdup(path);
        r = nvdimm->path ? recycling_init(&nvdimm->recycling) : -ENOMEM;
        if (r < 0)
                nvdimm_forget(region);
        return r;
}

static NvdimmClaim *claim_find(const Nvdimm *nvdimm, const char *uuid) {
        NvdimmClaim *claim;

        DL_FOREACH(nvdimm->claims, claim)
                if (strcmp(claim->uuid, uuid) == 0)
                        return claim;

        return NULL;
}

static const NvdimmNamespace *space_find(const DaxRegion *dax, const char *uuid) {
        for (size_t i = 0; dax && i < dax->n_namespaces; i++)
                if (strcmp(dax->namespaces[i].uuid, uuid) == 0)
                        return &dax->namespaces[i];

        return NULL;
}

static void nvdimm_count(Region *region) {
        const Nvdimm *nvdimm = region->state;
        uint64_t taken = nvdimm->others, extent;
        const NvdimmClaim *claim;

        region->foreign = nvdimm->others;
        DL_FOREACH(nvdimm->claims, claim)
                if (claim->released == 0) {
                        region->foreign += claim->size - claim->length;
                        taken += claim->size;
                }
        /* until it is looked at again it may be all in one piece */
        extent = nvdimm->changed < nvdimm->looked ? nvdimm->extent : region->size > taken ? region->size - taken : 0;
        region->largest = nvdimm_usable_of(extent, DAX_GRANULARITY);
        region->changed = true;
}

/* What is neither ours nor was so until a moment ago. */
static void nvdimm_count_others(Region *region) {
        const DaxRegion *dax = region->dax;
        Nvdimm *nvdimm = region->state;
        NvdimmClaim *claim, *next;

        DL_FOREACH_SAFE(nvdimm->claims, claim, next)
                if (claim->released > 0 && claim->released < dax->scanned) {
                        DL_DELETE(nvdimm->claims, claim);
                        free(claim);
                }

        nvdimm->others = 0;
        for (size_t i = 0; i < dax->n_namespaces; i++)
                if (!claim_find(nvdimm, dax->namespaces[i].uuid))
                        nvdimm->others += dax->namespaces[i].size;
        nvdimm->extent = dax->largest;
        nvdimm->looked = dax->scanned;
}

int nvdimm_probe(Region *region, const RegionConfig *config, Failure *failure) {
        const DaxRegion *dax = region->dax;
        Nvdimm *nvdimm = region->state;
        int r;

        if (!dax) {
                region->listed = false;
                return failure_set(failure, REFUSAL_RegionUnusable,
                                   "there is no region of persistent memory '%s' now; \"ndctl list -R\" shows what there is",
                                   config->source ? config->source : config->name);
        }
        if (strcmp(dax->provider, provider_nvdimm.name) != 0)
                return failure_set(failure, REFUSAL_RegionUnusable, "'%s' is no region of persistent memory, but one for "
                                                                    "Provider=%s", dax->name, dax->provider);
        if (dax->reason) {
                region->listed = false;
                return failure_set(failure, REFUSAL_RegionUnusable, "%s", dax->reason);
        }
        if (nvdimm && strcmp(nvdimm->path, dax->path) != 0) {
                region->listed = false;
                if (region->n_reservations > 0)
                        return failure_set(failure, REFUSAL_RegionUnusable,
                                           "it has moved, and there are allocations from where it was");
                if (region->listing) {
                        region->configure_again = true;
                        return failure_set(failure, REFUSAL_RegionUnusable, "it has moved just now");
                }
                nvdimm_forget(region);
                nvdimm = NULL;
        }
        if (!nvdimm) {
                r = nvdimm_new(region, dax->path);
                if (r < 0)
                        return failure_set_errno(failure, r, "cannot keep an account of it");
                nvdimm = region->state;
        }

        nvdimm->alignment = dax->alignment;
        recycling_configure(&nvdimm->recycling, region, config);
        region->size = dax->range.length - dax->range.length % dax->alignment;
        region->granularity = dax->alignment;
        region->numa_node = dax->numa_node;
        region->target_node = dax->target_node;
        region->performance = dax->performance;
        region->n_alignments = 1;
        region->alignments[0] = DAX_GRANULARITY;
        nvdimm_count_others(region);
        nvdimm_count(region);
        return 0;
}

/* ---- Requests ---- */

int nvdimm_plan(const Region *region, const Request *request, Piece *piece, Failure *failure) {
        const Nvdimm *nvdimm = region->state;
        uint64_t size;

        *piece = (Piece){
                .alignment = request->alignment,
                .page_size = request->page_size_set ? request->page_size : DAX_GRANULARITY,
                .numa_node = region->numa_node,
                .prefault = true,
                .fd = -EBADF,
                .fd_read_only = -EBADF,
        };

        if (!nvdimm)
                return failure_set(failure, REFUSAL_RegionUnusable, "region '%s' cannot be used: %s", region->name,
                                   region->reason ? region->reason : "");
        if (piece->page_size != 4 * KIB && piece->page_size != DAX_GRANULARITY)
                return failure_set(failure, REFUSAL_BadOption,
                                   "option page-size: region '%s' has pages of 4096 or 2097152 bytes", region->name);
        if (request->numa_node_set && (int64_t) request->numa_node != region->numa_node &&
            (int64_t) request->numa_node != region->target_node)
                return failure_set(failure, REFUSAL_BadOption, "option numa-node: region '%s' lies on node %d", region->name,
                                   region->target_node >= 0 ? region->target_node : region->numa_node);
        if (nvdimm_size_for(request->size, nvdimm->alignment, piece->page_size, &size) < 0 || size > INT64_MAX)
                return failure_set(failure, REFUSAL_BadSize,
                                   "the size %" PRIu64 ", with a page map and rounded up to %s, is beyond what any "
                                   "descriptor can hold (2^63 - 1 bytes)",
                                   request->size, SIZE_TEXT(nvdimm->alignment));

        piece->length = nvdimm_usable_of(size, piece->page_size);
        return 0;
}

/* How long the namespace is that a piece takes. */
static uint64_t nvdimm_size(const Nvdimm *nvdimm, const Piece *piece) {
        uint64_t size;

        return nvdimm_size_for(piece->length, nvdimm->alignment, piece->page_size, &size) < 0 ? UINT64_MAX : size;
}

int nvdimm_fits(const Region *region, const Piece *plan, Failure *failure) {
        const Nvdimm *nvdimm = region->state;
        uint64_t size = nvdimm_size(nvdimm, plan), available = region_available(region);

        if (size > available)
                return failure_set(failure, REFUSAL_NoSpace,
                                   "region '%s' has %s free, %s with the page map is what it takes to use %s", region->name,
                                   SIZE_TEXT(available), SIZE_TEXT(size), SIZE_TEXT(plan->length));
        if (size > nvdimm->extent && nvdimm->changed < nvdimm->looked)
                return failure_set(failure, REFUSAL_NoSpace,
                                   "region '%s' has %s free, but in pieces: %s at most can be used in one piece",
                                   region->name, SIZE_TEXT(available),
                                   SIZE_TEXT(nvdimm_usable_of(nvdimm->extent, plan->page_size)));
        return 0;
}

static int claim_add(Region *region, Piece *piece, const char *uuid, uint64_t size) {
        Nvdimm *nvdimm = region->state;
        NvdimmClaim *claim;

        claim = calloc(1, sizeof(*claim));
        if (!claim)
                return -ENOMEM;

        (void) snprintf(claim->uuid, sizeof(claim->uuid), "%s", uuid);
        claim->size = size > piece->length ? size : piece->length;
        claim->length = piece->length;
        DL_APPEND(nvdimm->claims, claim);
        piece->state = nvdimm;
        return 0;
}

static int uuid_make(char **ret) {
        uint8_t bytes[16];

        if (getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) != sizeof(bytes))
                return -EAGAIN;
        bytes[6] = (uint8_t) ((bytes[6] & 0x0f) | 0x40); /* random, */
        bytes[8] = (uint8_t) ((bytes[8] & 0x3f) | 0x80); /* in the usual layout */

        if (asprintf(ret, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", bytes[0], bytes[1],
                     bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7], bytes[8], bytes[9], bytes[10], bytes[11],
                     bytes[12], bytes[13], bytes[14], bytes[15]) < 0) {
                *ret = NULL;
                return -ENOMEM;
        }
        return 0;
}

int nvdimm_reserve(Region *region, Piece *piece, Failure *failure) {
        Nvdimm *nvdimm = region->state;
        char *uuid;
        int r;

        r = uuid_make(&uuid);
        if (r >= 0) {
                r = claim_add(region, piece, uuid, nvdimm_size(nvdimm, piece));
                if (r < 0)
                        free(uuid);
        }
        if (r < 0)
                return failure_set_errno(failure, r, "cannot keep an account of it");

        piece->handle = uuid;
        nvdimm->changed = now_usec();
        nvdimm_count(region);
        return 0;
}

int nvdimm_claim(Region *region, Piece *piece, Failure *failure) {
        const NvdimmNamespace *space;
        Nvdimm *nvdimm = region->state;
        int r;

        if (!nvdimm)
                return failure_set(failure, REFUSAL_RegionUnusable, "its region is not there: %s",
                                   region->reason ? region->reason : "");
        if (!piece->handle || strlen(piece->handle) != NVDIMM_UUID_SIZE - 1)
                return failure_set(failure, REFUSAL_Failed, "its record does not say which namespace it is");
        if (claim_find(nvdimm, piece->handle))
                return failure_set(failure, REFUSAL_Failed, "its record says that it is a namespace that something else is");

        /* which it cannot have been made with, whatever its record says */
        if (piece->page_size != 4 * KIB && piece->page_size != DAX_GRANULARITY)
                piece->page_size = DAX_GRANULARITY;
        space = space_find(region->dax, piece->handle);
        if (space && space->alignment > 0)
                piece->page_size = space->alignment;
        r = claim_add(region, piece, piece->handle, space ? space->size : nvdimm_size(nvdimm, piece));
        if (r < 0)
                return failure_set_errno(failure, r, "cannot keep an account of it");

        piece->clean = false;
        nvdimm_count_others(region);
        nvdimm_count(region);
        return 0;
}

void nvdimm_release(Piece *piece) {
        Nvdimm *nvdimm = piece->state;
        NvdimmClaim *claim = claim_find(nvdimm, piece->handle);

        piece->state = NULL;
        piece->device[0] = '\0';
        if (claim)
                claim->released = nvdimm->changed = now_usec();
        nvdimm_count(nvdimm->region);
}

int nvdimm_examine(const Piece *piece, Failure *failure) {
        const Nvdimm *nvdimm = piece->state;
        const NvdimmNamespace *space = space_find(nvdimm->region->dax, piece->handle);

        if (!space || space->bad == 0)
                return 0;
        return failure_set(failure, REFUSAL_Failed,
                           "%s of it are broken: who reads them gets SIGBUS; \"ndctl list -RM\" shows where, \"ndctl "
                           "clear-errors\" may repair them",
                           SIZE_TEXT(space->bad));
}
