/* SPDX-License-Identifier: MIT */
#pragma once

/* What carves one kind of region. A provider is a table of plain functions and facts, one file each; nothing else in the
 * broker knows which kind it deals with.
 *
 * plan() judges a request and has no side effects; it runs in the event loop. carve(), open() and revoke() may block and
 * run in worker threads, one at a time for one piece; they touch the piece and nothing else. */

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "dax.h"
#include "failure.h"
#include "range.h"
#include "request.h"

typedef struct Region Region;

#define PIECE_RANGES_MAX 16

/* The provider's side of an allocation. */
typedef struct Piece {
        uint64_t offset, length, alignment;
        uint64_t page_size;       /* planned by plan(), what it really became after carve() */
        int numa_node;            /* -1 for anywhere */
        bool page_size_demanded;  /* page_size or nothing */
        bool prefault;
        bool contiguous;          /* one range or nothing */
        bool clean;               /* known to hold nothing but zeros */
        Range ranges[PIECE_RANGES_MAX]; /* of the region, as offsets in it; where the provider places pieces itself */
        unsigned n_ranges;
        _Atomic uint64_t cleaned; /* bytes zeroed so far, while it is being cleaned */
        int fd;       /* the broker's own way to the memory; never handed out itself */
        char *handle; /* what the provider finds it by after a restart; NULL where the descriptor is all there is */
} Piece;

typedef struct Provider {
        const char *name;
        const char *isolation; /* what keeps allocations apart, for the property */
        bool persistent;       /* pieces survive a reboot where that is asked for */
        bool stores_fd;        /* the descriptor is the piece: the service manager keeps it over a restart */

        /* Finds out what is there: size, granularity, alignments, node. A failure makes the region unusable, with the text
         * as its reason. */
        int (*probe)(Region *region, const RegionConfig *config, Failure *failure);

        /* What this request would become: fills all of piece but fd and handle. */
        int (*plan)(const Region *region, const Request *request, Piece *piece, Failure *failure);

        /* Makes it. On failure nothing is left. id is for people who look at maps and device lists. */
        int (*carve)(Piece *piece, const char *id, Failure *failure);

        /* A new descriptor for a holder. With read_only, one with which writing is impossible, also by opening it again. */
        int (*open)(Piece *piece, bool read_only, int *ret_fd, Failure *failure);

        /* Ends it: afterwards no descriptor and no mapping anywhere reaches its memory, and the memory is free. Can be
         * repeated. */
        int (*revoke)(Piece *piece, Failure *failure);

        /* After a restart: whether the kernel still has what the record says. stored_fd is what the service manager kept,
         * or -EBADF; it is taken over on success. -ESTALE: it was already revoked. */
        int (*recover)(Piece *piece, int stored_fd, Failure *failure);
} Provider;

extern const Provider provider_memfd;

/* What people call the piece: the name of its device. "" where it has none. Returns buffer. */
char *piece_device(const Piece *piece, char buffer[static DAX_NAME_MAX]);

/* NULL if there is none of this name. */
const Provider *provider_find(const char *name);

void piece_done(Piece *piece);
