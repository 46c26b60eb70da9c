/* SPDX-License-Identifier: MIT */
#pragma once

/* What carves one kind of region. A provider is a table of functions and facts, one file each; nothing else in the broker
 * knows which kind it deals with.
 *
 * Some functions run in the event loop, never block, and keep the account of a region's places. The others may block and
 * run in worker threads, one at a time for one piece; of a region they touch only what the provider has made for several
 * threads. Where a function is NULL, there is nothing to do. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "config.h"
#include "dax.h"
#include "failure.h"
#include "range.h"
#include "request.h"

typedef struct Region Region;

/* Places of a region that are kept for one user; the provider's, in the event loop. */
typedef struct Hold Hold;

#define PIECE_RANGES_MAX 16

/* The provider's side of an allocation. */
typedef struct Piece {
        uint64_t offset, length, alignment;
        uint64_t page_size;       /* planned by plan(), what it really became after carve() */
        int numa_node;            /* -1 for anywhere */
        _Atomic uint64_t seen_page_size; /* what it can be mapped by where it lies now, if that is known to be less; or 0 */
        bool page_size_demanded;  /* page_size or nothing */
        bool prefault;
        bool contiguous;          /* one range or nothing */
        bool insists;             /* page_size, or a failure: others may give back pages, and then it is asked for again */
        bool clean;               /* known to hold nothing but zeros */
        uint64_t hold_number;     /* of the hold that there is room for it in, even when that is gone; or 0 */
        uint64_t counted;         /* what that hold counts its file as having */
        bool ahead;               /* made ahead of requests: nobody has it, and its place counts as free */
        Range *ranges;            /* of the region, as offsets in it; where the provider places pieces itself; else NULL */
        unsigned n_ranges;
        _Atomic uint64_t cleaned; /* bytes zeroed so far, while it is being cleaned */
        int fd;           /* the broker's own way to the memory */
        int fd_read_only; /* another one with which nobody can write, where that cannot be made of the first */
        uint64_t made;    /* CLOCK_MONOTONIC in microseconds: who looked before does not know of it */
        bool held;        /* asked about by force: somebody has a descriptor or a mapping of it */
        bool disturbed;   /* somebody else has unbound or changed its device: what refers to it cannot be told any more */
        bool foreign;     /* carving found somebody else in its ranges */
        bool stuck;       /* it cannot be used, and what there is of it could not be undone */
        bool measured;    /* its length was seen to be what it has to be, since we know it */
        bool unheld;      /* found on a medium after the machine was started anew: nobody can have a descriptor of it */
        char device[DAX_NAME_MAX]; /* of its node: "dax0.3"; "" where it has none, or none yet */
        const char *name; /* while it is carved: what its owner calls it, for media that have names; NULL if it has none */
        char *handle; /* what the provider finds it by after a restart; NULL where the descriptor is all there is */
        void *state;  /* the provider's, of the region */
        Hold *hold;   /* borrowed: where its ranges come from and go to, if that is not the region; the event loop's */
} Piece;

/* One thing that a medium holds. */
typedef struct Find {
        char id[17];    /* of the allocation; where the medium does not know it, one made of what it is called there */
        char *record;   /* text of the record that is kept with it; NULL if none is, or none that can be read */
        char *problem;  /* why there is no record; NULL where the medium keeps none */
        bool absent;    /* there is only a record of it, kept elsewhere */
        bool rest;      /* it had ended, and who had had it has put something into it since */
        uid_t owner;    /* of a rest: whose it was, or -1; there is no record of it any more */
        char *handle;   /* as in Piece; NULL if it has none */
        char *name;     /* what the medium calls it; NULL if it has no name */
        uint64_t length;
} Find;

typedef struct Inventory {
        Find *finds;
        size_t n_finds;
        uint64_t size; /* nothing there can be longer; 0 if that is not known */
} Inventory;

void inventory_done(Inventory *inventory);


/* About the piece of this allocation; of all of the region's if the id is "", and about the region itself if it is NULL. */
typedef void (*PieceHandler)(Region *region, const char *id, void *userdata);

typedef struct Provider {
        const char *name;
        const char *isolation; /* what keeps allocations apart, for the property */
        bool persistent;       /* pieces survive a reboot where that is asked for */
        bool stores_fd;        /* the service manager keeps the descriptors over a restart */
        bool discovered;       /* its regions are found by themselves, see discovery.h */
        bool grants;           /* memory can be kept for a grant, with the functions about holds or by the account */
        bool drains;           /* memory is not taken from its holders: an end waits until they have let go */
        bool takes_locks;      /* carve_ahead() holds what other threads need */

        /* ---- in the event loop ---- */

        /* Finds out what is there: size, granularity, alignments, node. A failure makes the region unusable, with the text
         * as its reason, and leaves the account as it is. */
        int (*probe)(Region *region, const RegionConfig *config, Failure *failure);

        /* What this request would become: fills all of piece but descriptors, handle and ranges. No side effects. */
        int (*plan)(const Region *region, const Request *request, Piece *piece, Failure *failure);

        /* Whether there is room for it the way it has to lie, beyond the count of bytes. What pieces have that are made
         * ahead counts as room. */
        int (*fits)(const Region *region, const Piece *plan, Failure *failure);
        /* Whether all the room that there is for what fits is theirs: they have to go before it can be reserved. */
        bool (*crowded)(const Region *region, const Piece *plan);

        /* Takes its ranges; or those that a record says it has. -EADDRINUSE: they are not free. */
        int (*reserve)(Region *region, Piece *piece, Failure *failure);
        int (*claim)(Region *region, Piece *piece, Failure *failure);
        /* Takes the ranges that a record of an earlier boot says, for carve() to make something new there. */
        int (*claim_anew)(Region *region, Piece *piece, Failure *failure);

        /* Gives its ranges back: nothing is there any more, and clean says whether they hold nothing but zeros. */
        void (*release)(Piece *piece);

        /* A piece that was made ahead, with ranges of its own, is somebody's from now on. */
        void (*hand_out)(Piece *piece);

        /* Keeps free what a plan says that fits, for pieces that have this hold; or what a handle says that was kept by an
         * earlier broker. fits(), reserve(), claim() and release() of pieces with a hold are about that. */
        int (*hold)(Region *region, const Piece *plan, Hold **ret, char **ret_handle, Failure *failure);
        int (*hold_again)(Region *region, const char *handle, uint64_t length, Hold **ret, Failure *failure);
        uint64_t (*hold_largest)(const Hold *hold);
        /* So much of it is not taken now, of so much in all, and by so many pieces the rest is. */
        void (*hold_resize)(Hold *hold, uint64_t length, uint64_t size, unsigned n_taken);
        /* What is free of it is the region's again. No piece has it any more. */
        void (*hold_end)(Region *region, Hold *hold);

        /* Only of pieces that drain, as the next one. What is wrong with one that is alive, as far as the last look at its
         * region tells; or 0. */
        int (*examine)(const Piece *piece, Failure *failure);
        /* Whether discovery does not show a complete piece as it was made. It may have looked too early, or too late. */
        bool (*misses)(const Region *region, const Piece *piece);

        /* Whether the region's next request would have to wait for what replenish() can do ahead. */
        bool (*is_low)(const Region *region);

        /* Whether what is known of the region's free memory may be out of date, and replenish() would find it out. */
        bool (*is_stale)(const Region *region);
        /* After each replenish(): what it has found out becomes the region's account. */
        void (*replenished)(Region *region);

        /* Has handler called in the event loop when a holder may have done something to a piece that inspect() should look
         * at. Once for a region; may be called again. */
        int (*watch)(Region *region, sd_event *event, PieceHandler handler, void *userdata);
        /* Whether another piece with pages like this one's would help to tell whether it is referred to: see lesson.h. */
        bool (*wants_lesson)(const Region *region, const Piece *piece);

        /* Forgets what it keeps of the region. */
        void (*forget)(Region *region);

        /* Whether carve() and open() of what was planned would neither wait for anything nor take long. Then they are called
         * in the event loop, which saves waking a thread. May settle now for what carve() would have to settle for. Where this
         * is NULL, they never are. */
        bool (*at_once)(Piece *piece);

        /* ---- in worker threads ---- */

        /* Makes a new hold what it promises. On failure it is ended. */
        int (*hold_make)(Hold *hold, Failure *failure);

        /* Sets handle, and so names what carve() will make, for the record that is written in between. Where there is no
         * such function, nothing that carve() makes outlives the broker. */
        int (*prepare)(Piece *piece, Failure *failure);
        /* The record is written (or will not be: recorded is false, and the piece is dropped). */
        void (*prepared)(Piece *piece, bool recorded);

        /* Makes it, full of zeros. On failure nothing is left; -EAGAIN: somebody else was in the way,
         * and it may be prepared anew. id is for people who look at maps and device lists. */
        int (*carve)(Piece *piece, const char *id, Failure *failure);

        /* Makes it as carve() does, but with all of its memory present, as nobody waits for it; where this is NULL, nothing
         * is made ahead of requests. A thread does it that may not run for seconds at any point: it must hold nothing that
         * other threads need; unless it says that it does (takes_locks): then it is a worker. -ECANCELED, soon, once stop is
         * set. NoSpace, if memory is short.
         * Who has prepare() sees to it that the next broker undoes what this one has made, until prepared() says that there
         * is a record of it. */
        int (*carve_ahead)(Piece *piece, const char *id, const atomic_bool *stop, Failure *failure);

        /* Makes a drained piece usable again, for the user who had it before, full of zeros. */
        int (*reuse)(Piece *piece, Failure *failure);

        /* A new descriptor for a holder. With read_only, one with which writing is impossible, also by opening it again. */
        int (*open)(Piece *piece, bool read_only, int *ret_fd, Failure *failure);

        /* Sees to it that the piece is what it was handed out as; 1 if its seen page size has changed. With QuotaExceeded: a
         * holder has made more of it, and it shall end. */
        int (*inspect)(Piece *piece, Failure *failure);
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

        /* Path of its device node, where it drains. -ENOENT: its device is gone, or nobody can have it. Does not block. */
        int (*node)(const Piece *piece, char *ret, size_t size);

        /* After a restart: whether the kernel still has what the record says. stored_fds (read-write and read-only) are
         * what the service manager kept, or -EBADF; they are taken over on success. -ESTALE: it was already revoked;
         * -EUCLEAN: there is something else in its place. */
        int (*recover)(Piece *piece, int stored_fds[static 2], Failure *failure);

        /* Prepares for the next requests; at the start, also puts in order what an earlier broker has left. */
        int (*replenish)(Region *region, Failure *failure);

        /* ---- media that outlive the machine's power; in worker threads, or before the event loop runs ---- */

        /* Keeps this text, at most RECORD_SIZE_MAX bytes of it, with the piece, so that list() finds it there: after a power
         * cut the old one or the new one, and the new one once this has returned. The first one is what makes the piece
         * something that outlives the broker; revoke() removes it with the piece. NULL: the broker keeps records itself, of
         * persistent pieces in STATE_DIRECTORY. */
        int (*write_record)(Piece *piece, const char *id, const char *text, Failure *failure);

        /* What the region's medium holds, whoever has put it there. A failure makes the region unusable. Where there is this
         * function, probe() only says what the configuration says until region->listed is set, and can unset it. The size
         * of what is found, and all else that takes a look at the medium, is this function's to find out. */
        int (*list)(Region *region, Inventory *ret, Failure *failure);
        /* What a record is of is not there any more, and was not revoked just now: what was noted of it goes, too. */
        void (*gone)(const Region *region, const char *handle);

        /* Makes it longer, with zeros, or shorter, also under its holders' feet; both lengths are what plan() would give.
         * piece->length is what it has had, and stays: others set it when the new one is on record. On failure it is as it
         * was. */
        int (*resize)(Piece *piece, uint64_t length, Failure *failure);

        /* The broker is about to be stopped: what takes long is given up from now on, with ShuttingDown, so that the next
         * broker begins it anew. In the event loop, while threads are at work. */
        void (*hurry)(Region *region);

        /* The broker is being stopped, and no thread is at work: undoes what was prepared. */
        void (*rest)(Region *region);
} Provider;

extern const Provider provider_memfd;
extern const Provider provider_devdax;
extern const Provider provider_fsdax;
extern const Provider provider_nvdimm;

/* Provider.open for devices: a copy of what the broker has open, because the end of that is what is watched. */
int piece_copy_fd(Piece *piece, bool read_only, int *ret_fd, Failure *failure);

/* NULL if there is none of this name. */
const Provider *provider_find(const char *name);

/* Makes it as long as so many bytes are in whole pages of its size. Refuses with BadSize what no file can be. */
int piece_round_up(Piece *piece, uint64_t size, Failure *failure);

/* Closes its descriptors; frees what it has. */
void piece_close(Piece *piece);
void piece_done(Piece *piece);
