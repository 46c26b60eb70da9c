/* SPDX-License-Identifier: MIT */
#pragma once

/* What the provider fsdax keeps of a region, and the things that it deals with: the directory that is the region, the files
 * in it, where these lie, and who opens them for holders. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#include <uthash.h>

#include "clean.h"
#include "provider.h"
#include "region.h"

#define FSDAX_PAGE ((uint64_t) sysconf(_SC_PAGESIZE))
/* What a file has to lie at, and be as long as, to be mapped by pages of this size. */
#define FSDAX_HUGE_PAGE (UINT64_C(2) << 20)

/* What a look at the directory finds out. */
typedef struct FsdaxFacts {
        bool known;
        dev_t device; /* which directory it was */
        ino_t inode;
        uint64_t file_system;
        uint64_t total;     /* bytes of the file system, as far as they are for files */
        uint64_t available; /* of these, free for us */
        uint64_t measured;  /* when that was, in microseconds of the monotonic clock */
        uint64_t skew;      /* of the file system's beginning to huge pages of the device */
        int numa_node;
        bool can_seal;      /* files can be made immutable */
} FsdaxFacts;

typedef struct FsdaxWatch FsdaxWatch;

/* How often it is looked at what is left of a file: its holders can put something into it as often as they like, and each
 * time that it is seen it is listed, revoked, and said in the log. */
#define FSDAX_LEFTOVERS_USEC (UINT64_C(1000) * 1000)

typedef struct FsdaxLeftover {
        char id[17];
        bool told;       /* that there is something in it */
        uint64_t looked; /* when; CLOCK_MONOTONIC microseconds */
        UT_hash_handle hh;
} FsdaxLeftover;

typedef struct Fsdax {
        Region *region;       /* the event loop's */
        char *path;
        FsdaxWatch *watch;    /* NULL before there is an event loop to tell */
        atomic_int sync;      /* SyncPolicy */
        atomic_int growth;    /* GrowthPolicy */
        atomic_bool leftovers_changed; /* they are to be looked at */
        atomic_bool leftovers_filled;  /* there are some that hold something, for whoever lists it */
        atomic_bool read_only; /* it has seemed so, which is to be looked at */
        atomic_bool stopping;
        Throttle *throttle;
        pthread_mutex_t mutex;
        FsdaxFacts facts;     /* guarded by it */
        FsdaxLeftover *leftovers; /* the same */
        Hold *holds;          /* the same: uthash, what is kept for grants; oldest first */
        pthread_mutex_t holding; /* of workers, before the other: who changes what the holds have */
        atomic_bool holds_changed; /* they are to be settled */
        atomic_bool holds_stray;   /* there seem to be files that are none of theirs */
        atomic_bool sole;          /* since the directory was looked at, it was seen to be no other region's */
        struct Fsdax *prev, *next; /* the event loop's: all that there are, the oldest first */
        unsigned n_strangers; /* things in the directory that are not ours; of whoever lists it */
} Fsdax;

FsdaxFacts fsdax_facts(Fsdax *fsdax);

/* Functions of the provider, see provider.h. */
int fsdax_probe(Region *region, const RegionConfig *config, Failure *failure);
int fsdax_plan(const Region *region, const Request *request, Piece *piece, Failure *failure);
int fsdax_fits(const Region *region, const Piece *plan, Failure *failure);
int fsdax_reserve(Region *region, Piece *piece, Failure *failure);
int fsdax_claim(Region *region, Piece *piece, Failure *failure);
void fsdax_release(Piece *piece);
void fsdax_forget(Region *region);
bool fsdax_is_low(const Region *region);
bool fsdax_is_stale(const Region *region);
void fsdax_replenished(Region *region);
int fsdax_watch(Region *region, sd_event *event, PieceHandler handler, void *userdata);
int fsdax_hold(Region *region, const Piece *plan, Hold **ret, char **ret_handle, Failure *failure);
int fsdax_hold_again(Region *region, const char *handle, uint64_t length, Hold **ret, Failure *failure);
void fsdax_hold_resize(Hold *hold, uint64_t length, uint64_t size, unsigned n_taken);
uint64_t fsdax_hold_largest(const Hold *hold);
void fsdax_hold_end(Region *region, Hold *hold);
int fsdax_hold_make(Hold *hold, Failure *failure);

/* What is somebody else's of the region, when this much of it is used. */
void fsdax_account(Region *region, uint64_t used);

/* ---- What is kept for grants ---- */

/* Makes all of them as long as they have to be, as far as there is room; or only those shorter that are too long, and
 * removes those of grants that have ended. */
void fsdax_holds_settle(Fsdax *fsdax, int dir_fd);
void fsdax_holds_cut(Fsdax *fsdax, int dir_fd);

/* Keeps others from room of so many bytes that a file is about to take. A member's is free then, and counted; for all else,
 * the holds have got first what they lack. Not with a file that holders have, for they can make it last. False if there is
 * nothing to lock. */
bool fsdax_holds_lock(Piece *piece, int dir_fd, uint64_t bytes);
void fsdax_holds_unlock(Fsdax *fsdax, bool locked);

/* What a piece refers to its hold by, which it can outlive; 0 for none. */
uint64_t fsdax_hold_number(const Hold *hold);
/* The file of a member has so many bytes, or as many more. */
void fsdax_hold_count(Piece *piece, uint64_t bytes);
/* It is about to be cut to this length, and what it has more is nobody else's hold's; and it was, or could not be, or has its
 * room by now. What of that it still has is counted until it is cut. */
void fsdax_hold_expect(const Piece *piece, uint64_t length);
void fsdax_hold_return(Piece *piece, uint64_t length, bool done);

/* What they lacked when the room was last measured, and will get. */
uint64_t fsdax_holds_owed(Fsdax *fsdax);
/* The room is being measured; with the mutex held. */
void fsdax_holds_measured(Fsdax *fsdax);
/* Whether one could not get what is kept when it was tried, or not be removed. It is tried again now and then. */
bool fsdax_holds_lack(Fsdax *fsdax);
void fsdax_holds_forget(Fsdax *fsdax);

/* Looks how long they are; the directory may be another one than before. */
void fsdax_holds_look(Fsdax *fsdax, int dir_fd);
/* The file of one, for reading: nothing in it is anybody's. -EINVAL: it is not called like one. */
int fsdax_hold_file_open(int dir_fd, const char *name, int *ret_fd);
/* Whether an entry of the directory is called like one. If no grant is known of it, holds_stray is set. */
bool fsdax_hold_is(Fsdax *fsdax, const char *name);
/* Removes those that no grant is known of. Another region with this directory would know of them. */
void fsdax_holds_remove_strays(Fsdax *fsdax, int dir_fd);

/* ---- The directory ---- */

/* Opens it for what is to be done in it. -ENODEV, and failure says so: it is not the one that was looked at. */
int fsdax_directory_open(Fsdax *fsdax, int *ret_fd, Failure *failure);

/* Opens it, whichever it is now, and finds out whether it is good for a region. */
int fsdax_directory_look(Fsdax *fsdax, FsdaxFacts *ret, int *ret_fd, Failure *failure);

bool fsdax_directory_is_read_only(int dir_fd);
#define FSDAX_READ_ONLY "Path=%s: its file system is mounted read-only"

/* Measures the room in the file system that it lies on; and notes that. */
int fsdax_directory_measure(int dir_fd, FsdaxFacts *facts);
void fsdax_measure(Fsdax *fsdax, int dir_fd);

/* ---- Files; names are ids of allocations ---- */

/* A new file of its owner's alone, without a name. */
int fsdax_file_make(int dir_fd, int *ret_fd);

/* Opens one for ourselves. -EUCLEAN: it is no file of ours; -EINVAL: nothing of ours has such a name. */
int fsdax_file_open(int dir_fd, const char *name, bool read_only, int *ret_fd);
/* The same of one that is not called so; and whether what is there can be a file of ours. */
int fsdax_file_open_own(int dir_fd, const char *name, bool read_only, int *ret_fd);
bool fsdax_file_may_be_ours(const struct stat *st);

/* Gives it a name. When it returns that is there to stay. */
int fsdax_file_link(int fd, int dir_fd, const char *name);

/* Removes one that holds nothing any more. */
int fsdax_file_unlink(int dir_fd, const char *name);

/* Takes the bytes beyond length from whoever has it open or mapped. Waits while the kernel refers to any of the file's; not
 * for longer than patience, if that is not 0, and then returns -EBUSY. */
#define FSDAX_PATIENCE_USEC (UINT64_C(2) * 1000 * 1000)
int fsdax_file_truncate(int fd, uint64_t length, uint64_t patience);

/* Writes zeros from start to end. progress and throttle may be NULL; *stop ends it with -ECANCELED. */
int fsdax_file_zero(int fd, uint64_t start, uint64_t end, Throttle *throttle, _Atomic uint64_t *progress,
                    const atomic_bool *stop);

/* Its record, which is an attribute. At most RECORD_SIZE_MAX bytes; -ENODATA if it has none, -EBADMSG with *ret_problem
 * (static) if it has something else. */
int fsdax_file_read_record(int fd, char **ret, const char **ret_problem);
int fsdax_file_write_record(int fd, const char *text);
int fsdax_file_remove_record(int fd);

/* Whether it is sealed, and makes it so, or not: with the capability for that an immutable file keeps its length, on some
 * file systems. */
bool fsdax_file_is_sealed(int fd);
int fsdax_file_seal(int fd, bool sealed);

/* ---- Where they lie ---- */

typedef struct FsdaxExtent {
        uint64_t logical, physical, length;
} FsdaxExtent;

typedef struct FsdaxExtents {
        FsdaxExtent *extents; /* by place in the file; what follows each other in it and on the device is one */
        size_t n_extents;
        bool known; /* false: some of it is nowhere, or where it is does not tell */
} FsdaxExtents;

/* Where the bytes up to length are. */
int fsdax_extents_read(int fd, uint64_t length, FsdaxExtents *ret);
void fsdax_extents_done(FsdaxExtents *extents);

/* Whether all of a file of this length can be mapped by huge pages. */
bool fsdax_extents_are_huge(const FsdaxExtents *extents, uint64_t length, uint64_t skew);

/* Whether the file has room of its own beyond this length. */
int fsdax_extents_beyond(int fd, uint64_t length);

/* Gives a file that has the first from bytes the rest up to length: room that is its own, and the length. With huge, so that
 * the new part can be mapped by huge pages, if there is a way; whether there was is for fsdax_extents_are_huge() to see. */
int fsdax_extents_allocate(int fd, uint64_t from, uint64_t length, bool huge, uint64_t skew);

/* What has to go so that the rest lies as huge pages have to; in the order in which it can go. For tests. */
int fsdax_extents_misplaced(const FsdaxExtents *extents, uint64_t from, uint64_t skew, FsdaxExtents *ret,
                            uint64_t *ret_left);

/* ---- What is left of files that were revoked, and that somebody still has open ---- */

/* Has to be called by whoever has emptied it: takes its record away, and removes it if nobody else has it open; -ENOENT if
 * it is gone. *fd is a descriptor of it, and closed. */
int fsdax_leftover_drop(Fsdax *fsdax, int dir_fd, const char *name, int *fd);

/* Whether a file that has no record is one; and whose it was, -1 if nobody can tell. */
bool fsdax_leftover_is(int fd);
uid_t fsdax_leftover_owner(int fd);

/* Removes it if it is empty and nobody has it open; then it is gone, -ENOENT. What somebody has put into it takes *ret_room,
 * which is 0 of an empty one. */
int fsdax_leftover_sweep(int dir_fd, const char *name, uint64_t *ret_room);

/* The list of them. If there is something in one, leftovers_filled is set, once until it is empty again, or its allocation
 * released. */
void fsdax_leftover_add(Fsdax *fsdax, const char *id, bool told);
void fsdax_leftover_released(Fsdax *fsdax, const char *id);
void fsdax_leftovers_sweep(Fsdax *fsdax, int dir_fd);
bool fsdax_leftovers_exist(Fsdax *fsdax);
void fsdax_leftovers_forget(Fsdax *fsdax);

/* ---- The watch ---- */

int fsdax_watch_new(Region *region, sd_event *event, PieceHandler handler, void *userdata, FsdaxWatch **ret);
FsdaxWatch *fsdax_watch_free(FsdaxWatch *watch);

/* Watches this directory, and no other any more. For any thread, one at a time. */
int fsdax_watch_directory(FsdaxWatch *watch, const char *path);

/* Has what is left of files looked at in a while, and whether there is room for what is kept. */
void fsdax_watch_again(FsdaxWatch *watch);

/* ---- For holders ---- */

/* Opens a file below dir_fd, or dir_fd itself if the name is "", so that nobody who gets the descriptor can truncate it with
 * that; on kernels that have this. The file is not looked at. */
int fsdax_opener_open(int dir_fd, const char *name, bool read_only, int *ret_fd);
