/* SPDX-License-Identifier: MIT */
#pragma once

/* What carves one kind of region. A provider is a table of functions and facts, one file each; nothing else in the broker
 * knows which kind it deals with.
 *
 * Some functions run in the event loop, never block, and keep the account of a region's places. The others may block and
 * run in worker threads, one at a time for one piece; of a region they touch only what the provider has made for several
 * threads. Where a function is NULL, there is nothing to do. */

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
        int fd;           /* the broker's own way to the memory */
        int fd_read_only; /* another one with which nobody can write, where that cannot be made of the first */
        uint64_t made;    /* CLOCK_MONOTONIC in microseconds: who looked before does not know of it */
        bool held;        /* asked about by force: somebody has a descriptor or a mapping of it */
        bool disturbed;   /* somebody else has unbound or changed its device: what refers to it cannot be told any more */
        bool foreign;     /* carving found somebody else in its ranges */
        bool stuck;       /* it cannot be used, and what there is of it could not be undone */
        char *handle; /* what the provider finds it by after a restart; NULL where the descriptor is all there is */
        void *state;  /* the provider's, of the region */
} Piece;

typedef struct Provider {
        const char *name;
        const char *isolation; /* what keeps allocations apart, for the property */
        bool persistent;       /* pieces survive a reboot where that is asked for */
        bool stores_fd;        /* the service manager keeps the descriptors over a restart */
        bool drains;           /* memory is not taken from its holders: an end waits until they have let go */

        /* ---- in the event loop ---- */

        /* Finds out what is there: size, granularity, alignments, node. A failure makes the region unusable, with the text
         * as its reason, and leaves the account as it is. */
        int (*probe)(Region *region, const RegionConfig *config, Failure *failure);

        /* What this request would become: fills all of piece but descriptors, handle and ranges. No side effects. */
        int (*plan)(const Region *region, const Request *request, Piece *piece, Failure *failure);

        /* Whether there is room for it the way it has to lie, beyond the count of bytes. */
        int (*fits)(const Region *region, const Piece *plan, Failure *failure);

        /* Takes its ranges; or those that a record says it has. -EADDRINUSE: they are not free. */
        int (*reserve)(Region *region, Piece *piece, Failure *failure);
        int (*claim)(Region *region, Piece *piece, Failure *failure);

        /* Gives its ranges back: nothing is there any more, and clean says whether they hold nothing but zeros. */
        void (*release)(Piece *piece);

        /* Whether discovery does not show a complete piece as it was made. It may have looked too early, or too late. */
        bool (*misses)(const Region *region, const Piece *piece);

        /* Whether the region's next request would have to wait for what replenish() can do ahead. */
        bool (*is_low)(const Region *region);

        /* Whether another piece with pages like this one's would help to tell whether it is referred to: see lesson.h. */
        bool (*wants_lesson)(const Region *region, const Piece *piece);

        /* Forgets what it keeps of the region. */
        void (*forget)(Region *region);

        /* ---- in worker threads ---- */

        /* Sets handle, and so names what carve() will make, for the record that is written in between. Where there is no such
         * function, nothing that carve() makes outlives the broker. */
        int (*prepare)(Piece *piece, Failure *failure);
        /* The record is written (or will not be: recorded is false, and the piece is dropped). */
        void (*prepared)(Piece *piece, bool recorded);

        /* Makes it, full of zeros. On failure nothing is left; -EAGAIN: somebody else was in the way,
         * and it may be prepared anew. id is for people who look at maps and device lists. */
        int (*carve)(Piece *piece, const char *id, Failure *failure);

        /* Makes a drained piece usable again, for the user who had it before, full of zeros. */
        int (*reuse)(Piece *piece, Failure *failure);

        /* A new descriptor for a holder. With read_only, one with which writing is impossible, also by opening it again. */
        int (*open)(Piece *piece, bool read_only, int *ret_fd, Failure *failure);

        /* Whether a complete piece is as it was made. -ENOENT: its device is gone, and nobody reaches its memory through it;
         * -EUCLEAN: somebody else has taken it down, or changed it. What cannot be told is 0. */
        int (*look)(const Piece *piece, Failure *failure);

        /* Whether anything may still refer to the memory of a drained piece, or of one that is held: 0 if surely not, else
         * -EBUSY, and failure says what is known. */
        int (*judge)(Piece *piece, Failure *failure);

        /* Zeroes the memory of a drained piece, if that is to be done now rather than when it is handed out again. */
        int (*clean)(Piece *piece, Failure *failure);

        /* Ends it: afterwards no descriptor and no mapping anywhere reaches its memory, and the memory is free. Can be
         * repeated. */
        int (*revoke)(Piece *piece, Failure *failure);

        /* The path of its device node; where it drains. -ENOENT: its device is gone. Does not block. */
        int (*node)(const Piece *piece, char *ret, size_t size);

        /* After a restart: whether the kernel still has what the record says. stored_fds (read-write and read-only) are
         * what the service manager kept, or -EBADF; they are taken over on success. -ESTALE: it was already revoked;
         * -EUCLEAN: there is something else in its place. */
        int (*recover)(Piece *piece, int stored_fds[static 2], Failure *failure);

        /* Prepares for the next requests; at the start, also puts in order what an earlier broker has left. */
        int (*replenish)(Region *region, Failure *failure);

        /* The broker is about to be stopped: what takes long is given up from now on, with ShuttingDown, so that the next
         * broker begins it anew. In the event loop, while threads are at work. */
        void (*hurry)(Region *region);

        /* The broker is being stopped, and no thread is at work: undoes what was prepared. */
        void (*rest)(Region *region);
} Provider;

extern const Provider provider_memfd;
extern const Provider provider_devdax;

/* What people call the piece: the name of its device. "" where it has none. Returns buffer. */
char *piece_device(const Piece *piece, char buffer[static DAX_NAME_MAX]);

/* NULL if there is none of this name. */
const Provider *provider_find(const char *name);

/* Closes its descriptors; frees what it has. */
void piece_close(Piece *piece);
void piece_done(Piece *piece);
