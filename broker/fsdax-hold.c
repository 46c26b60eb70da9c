/* SPDX-License-Identifier: MIT */

/* Room of a file system that is kept for grants. Others take room there without a word, so it is taken before they
 * can: each grant has a file, which nobody opens, as long as what the files of its members do not have of it. Before a
 * member gets its room the file is cut by as much; when a member has ended it gets as much again.
 *
 * In between, that much is free for a moment. No file of ours can get it, because whoever makes one does it with
 * these here locked, and sees first to what they lack, unless his file is a member itself. Somebody else on the file
 * system can: then the file is shorter than it should be, which LargestAvailable says, until there is room again. It is
 * not made up with what another one is about to get back.
 *
 * A member is a file with a record, which takes blocks beside its bytes, on XFS a number of them for the file alone.
 * So there is something to spare for the first ones; but more of it is got only when everybody has his own.
 *
 * Why a file for each: when others have taken some, its length tells the next broker, too, whose that was.
 *
 * The event loop says how much a grant has; workers count what members' files have, and see to the rest, one at a time.
 * Only they free a Hold, so that theirs is there as long as they have the lock. A member can outlive its hold, and so
 * knows its number only. A file that no grant is known of is from before the machine was started anew. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <uthash.h>

#include "cleanup.h"
#include "file.h"
#include "fsdax.h"
#include "log.h"
#include "name.h"
#include "size.h"

#define PREFIX ".hold-"
#define PREFIX_SIZE (sizeof(PREFIX) - 1)
#define ID "%016" PRIx64
#define ID_SIZE 16

/* So many members have something to spare for the blocks that describe them, but together no more than this part. */
#define SPARE_MEMBERS 64
#define SPARE_SIZE (64 * KIB)
#define SPARE_PART 16
#define SPARE_UNKNOWN UINT64_MAX

struct Hold {
        Fsdax *fsdax;
        uint64_t number;
        char name[PREFIX_SIZE + ID_SIZE + 1];
        uint64_t kept;            /* what no member has been promised; the event loop's */
        _Atomic uint64_t size;    /* with what its members have; the event loop's to say, as the next two */
        atomic_uint n_taken;
        atomic_bool ended;        /* a worker may free it from then on */
        _Atomic uint64_t taken;   /* of size: what members' files have; changed with fsdax->mutex held, as the next one */
        uint64_t returning;       /* of that: what is about to be free again */
        _Atomic uint64_t length;  /* of the file, as far as we know */
        _Atomic uint64_t missing; /* of what it needs, as others had it when it was tried to get it */
        _Atomic uint64_t spare;   /* of length, beside what can be taken; or SPARE_UNKNOWN */
        uint64_t measured;        /* length without it when the file system's room was measured; guarded by fsdax->mutex */
        bool made;                /* workers', as the next one: it had all of it once */
        bool lacked;              /* something was missing when they began to settle */
        UT_hash_handle hh;
};

/* ---- In the event loop ---- */

static uint64_t subtract(uint64_t a, uint64_t b) {
        return a > b ? a - b : 0;
}

/* With the mutex held. */
static Hold *get_hold(Fsdax *fsdax, uint64_t number) {
        Hold *hold;

        HASH_FIND(hh, fsdax->holds, &number, sizeof(number), hold);
        return hold;
}

static bool hold_exists(Fsdax *fsdax, uint64_t number) {
        const Hold *hold;

        pthread_mutex_lock(&fsdax->mutex);
        hold = get_hold(fsdax, number);
        pthread_mutex_unlock(&fsdax->mutex);
        return hold;
}

static int hold_new(Region *region, uint64_t number, uint64_t length, Hold **ret) {
        Fsdax *fsdax = region->state;
        Hold *hold;

        hold = calloc(1, sizeof(*hold));
        if (!hold)
                return -ENOMEM;

        hold->fsdax = fsdax;
        hold->number = number;
        hold->kept = length;
        hold->size = length;
        (void) snprintf(hold->name, sizeof(hold->name), PREFIX ID, number);
        pthread_mutex_lock(&fsdax->mutex);
        HASH_ADD(hh, fsdax->holds, number, sizeof(hold->number), hold);
        pthread_mutex_unlock(&fsdax->mutex);
        *ret = hold;
        return 0;
}

int fsdax_hold(Region *region, const Piece *plan, Hold **ret, char **ret_handle, Failure *failure) {
        uint64_t number;
        char *handle;
        int r;

        if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
                return failure_set_errno(failure, -EAGAIN, "there is no randomness yet");
        r = asprintf(&handle, ID, number) < 0 ? -ENOMEM : 0;
        if (r >= 0) {
                r = hold_new(region, number, plan->length, ret);
                if (r < 0)
                        free(handle);
        }
        if (r < 0)
                return failure_set_errno(failure, r, "cannot keep an account of it");

        *ret_handle = handle;
        fsdax_account(region, region->used + plan->length);
        return 0;
}

int fsdax_hold_again(Region *region, const char *handle, uint64_t length, Hold **ret, Failure *failure) {
        Fsdax *fsdax = region->state;
        uint64_t number;
        int r;

        if (!fsdax)
                return failure_set(failure, REFUSAL_RegionUnusable, "its directory is not there: %s",
                                   region->reason ? region->reason : "");
        if (!handle || !is_id(handle))
                return failure_set(failure, REFUSAL_Failed, "its record does not say which file keeps its room");
        number = strtoull(handle, NULL, 16);
        if (hold_exists(fsdax, number))
                return failure_set(failure, REFUSAL_Failed, "its record names a file that keeps room for another one");

        r = hold_new(region, number, length, ret);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot keep an account of it");
        (*ret)->made = true;
        (*ret)->spare = SPARE_UNKNOWN;
        fsdax->holds_changed = true;
        fsdax_account(region, region->used + length);
        return 0;
}

/* What it should have to spare beside these bytes. */
static uint64_t hold_spare(const Hold *hold, uint64_t bytes) {
        uint64_t part = bytes / SPARE_PART, spare;
        unsigned n = hold->n_taken;

        spare = n < SPARE_MEMBERS ? (SPARE_MEMBERS - n) * SPARE_SIZE : 0;
        spare = spare < part ? spare : part;
        return spare - spare % FSDAX_PAGE;
}

/* What of that it has; more than it should have goes. */
static uint64_t hold_kept_spare(const Hold *hold, uint64_t bytes) {
        uint64_t spare = hold_spare(hold, bytes);

        return spare < hold->spare ? spare : hold->spare;
}

/* What its file has of what can be taken. */
static uint64_t hold_own(const Hold *hold) {
        return subtract(hold->length, hold->spare == SPARE_UNKNOWN ? 0 : hold_kept_spare(hold, hold->length));
}

/* What its file should have; and what it has of that when others have the rest. */
static uint64_t hold_needs(const Hold *hold) {
        return subtract(hold->size, hold->taken);
}

static uint64_t hold_has(const Hold *hold) {
        return subtract(hold_needs(hold), hold->missing);
}

void fsdax_hold_resize(Hold *hold, uint64_t length, uint64_t size, unsigned n_taken) {
        hold->kept = length;
        hold->size = size;
        hold->n_taken = n_taken;
        if (hold->length < hold_needs(hold) || hold->length < length + hold_spare(hold, length))
                hold->fsdax->holds_changed = true;
}

uint64_t fsdax_hold_number(const Hold *hold) {
        return hold ? hold->number : 0;
}

/* If it lacks some, its file is shorter than what is kept, and a member has its room from it nevertheless. */
uint64_t fsdax_hold_largest(const Hold *hold) {
        return subtract(hold->kept, hold->missing);
}

int fsdax_fits(const Region *region, const Piece *plan, Failure *failure) {
        uint64_t largest = plan->hold ? fsdax_hold_largest(plan->hold) : UINT64_MAX;

        if (plan->length <= largest)
                return 0;
        return failure_set(failure, REFUSAL_NoSpace,
                           "others on the file system of region '%s' have taken room that was kept for the grant: %s of it "
                           "are left",
                           region->name, SIZE_TEXT(largest));
}

/* Its file is removed by whoever settles holds next. */
void fsdax_hold_end(Region *region, Hold *hold) {
        Fsdax *fsdax = hold->fsdax;
        uint64_t kept = hold->kept;

        hold->ended = true;
        fsdax->holds_changed = true;
        fsdax_account(region, subtract(region->used, kept));
}

uint64_t fsdax_holds_owed(Fsdax *fsdax) {
        uint64_t owed = 0;
        Hold *hold;

        pthread_mutex_lock(&fsdax->mutex);
        for (hold = fsdax->holds; hold; hold = hold->hh.next)
                if (!hold->ended)
                        owed += subtract(hold->kept, hold->measured);
        pthread_mutex_unlock(&fsdax->mutex);
        return owed;
}

bool fsdax_holds_lack(Fsdax *fsdax) {
        Hold *hold;

        pthread_mutex_lock(&fsdax->mutex);
        for (hold = fsdax->holds; hold; hold = hold->hh.next)
                if (hold->ended || hold->missing > 0)
                        break;
        pthread_mutex_unlock(&fsdax->mutex);
        return hold;
}

void fsdax_holds_forget(Fsdax *fsdax) {
        Hold *hold, *next;

        HASH_ITER(hh, fsdax->holds, hold, next) {
                HASH_DEL(fsdax->holds, hold);
                free(hold);
        }
}

/* ---- What members' files have ---- */

/* With the mutex held. Its grant can have ended since. */
static Hold *hold_of(const Piece *piece) {
        Hold *hold = get_hold(piece->state, piece->hold_number);

        return hold && !hold->ended ? hold : NULL;
}

/* By so much; or by less, which wraps as it should. */
static void hold_change(const Piece *piece, uint64_t taken, uint64_t returning) {
        Fsdax *fsdax = piece->state;
        Hold *hold;

        pthread_mutex_lock(&fsdax->mutex);
        hold = hold_of(piece);
        if (hold) {
                hold->taken += taken;
                hold->returning += returning;
                if (hold->length < hold_needs(hold))
                        fsdax->holds_changed = true;
        }
        pthread_mutex_unlock(&fsdax->mutex);
}

void fsdax_hold_count(Piece *piece, uint64_t bytes) {
        if (piece->hold_number == 0)
                return;
        hold_change(piece, bytes, 0);
        piece->counted += bytes;
}

void fsdax_hold_expect(const Piece *piece, uint64_t length) {
        if (piece->counted > length)
                hold_change(piece, 0, piece->counted - length);
}

void fsdax_hold_return(Piece *piece, uint64_t length, bool done) {
        uint64_t bytes = subtract(piece->counted, length);

        if (bytes == 0)
                return;
        hold_change(piece, done ? -bytes : 0, -bytes);
        if (done)
                piece->counted = length;
}

/* ---- In workers ---- */

void fsdax_holds_measured(Fsdax *fsdax) {
        Hold *hold;

        for (hold = fsdax->holds; hold; hold = hold->hh.next)
                hold->measured = hold_own(hold);
}

/* The next one, NULL after the last. The event loop adds some meanwhile. */
static Hold *next_hold(Fsdax *fsdax, const Hold *hold) {
        Hold *next;

        pthread_mutex_lock(&fsdax->mutex);
        next = hold ? hold->hh.next : fsdax->holds;
        pthread_mutex_unlock(&fsdax->mutex);
        return next;
}

static int hold_open(Hold *hold, int dir_fd, int *ret_fd) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        fd = openat(dir_fd, hold->name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!fsdax_file_may_be_ours(&st))
                return -EUCLEAN;

        hold->length = (uint64_t) st.st_size;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* Others than we can cut or remove it: somebody who may, or a broker that knows nothing of it. */
static void hold_look(Hold *hold, int dir_fd) {
        struct stat st;

        if (fstatat(dir_fd, hold->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                hold->length = errno == ENOENT ? 0 : hold->length;
        else
                hold->length = fsdax_file_may_be_ours(&st) ? (uint64_t) st.st_size : 0;
}

/* Of one that an earlier broker has made its file tells, when its members are known. */
static void hold_see_spare(Hold *hold) {
        if (hold->spare == SPARE_UNKNOWN)
                hold->spare = subtract(hold->length, hold_needs(hold));
}

/* What cannot be cut keeps room from members, who are refused then; so it is said. */
static void hold_shrink(Hold *hold, int dir_fd) {
        uint64_t has = hold_has(hold), spare = hold_kept_spare(hold, has), length = has + spare;
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (hold->length <= length)
                return;

        r = hold_open(hold, dir_fd, &fd);
        if (r >= 0 && hold->length > length) {
                r = fsdax_file_truncate(fd, length, FSDAX_PATIENCE_USEC);
                if (r >= 0) {
                        hold->length = length;
                        hold->spare = spare;
                }
        }
        if (r < 0)
                log_warning("%s/%s cannot be cut: %s", hold->fsdax->path, hold->name, strerror(-r));
}

/* As far as there is room; what it has then is its own. */
static int hold_allocate(Hold *hold, int fd, uint64_t length) {
        struct stat st;
        int r;

        r = fsdax_extents_allocate(fd, hold->length, length, false, 0);
        if (fstat(fd, &st) < 0)
                return -errno;
        hold->length = (uint64_t) st.st_size;
        if (r < 0) /* there may be more of it beyond its end */
                (void) fsdax_file_truncate(fd, hold->length, FSDAX_PATIENCE_USEC);
        return r;
}

/* What others have had and are to have again. */
static uint64_t others_due(const Hold *hold) {
        Fsdax *fsdax = hold->fsdax;
        uint64_t due = 0;
        Hold *other;

        pthread_mutex_lock(&fsdax->mutex);
        for (other = fsdax->holds; other; other = other->hh.next)
                if (other != hold && !other->ended)
                        due += subtract(hold_needs(other) + other->returning, other->missing + hold_own(other));
        pthread_mutex_unlock(&fsdax->mutex);
        return due;
}

/* What is free but for that. */
static uint64_t hold_room(const Hold *hold, int dir_fd) {
        struct statvfs vfs;
        uint64_t room;

        room = fstatvfs(dir_fd, &vfs) < 0 ? 0 : subtract((uint64_t) vfs.f_frsize * vfs.f_bavail, others_due(hold));
        return room - room % FSDAX_PAGE;
}

/* r: why it is no longer. */
static void hold_set_missing(Hold *hold, uint64_t missing, int r) {
        if (hold->made && missing > 0 && hold->missing == 0)
                log_warning("region '%s': %s of what is kept for a grant cannot be had: %s", hold->fsdax->region->name,
                            SIZE_TEXT(missing), strerror(-r));
        hold->missing = missing;
}

/* With spare, with as much of that as it had: what a member has given back is enough for both. */
static int hold_grow(Hold *hold, int dir_fd, bool spare) {
        uint64_t needs = hold_needs(hold), wanted = needs + (spare ? hold_kept_spare(hold, needs) : 0), most = UINT64_MAX;
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (hold->length >= wanted && hold->missing == 0) {
                if (hold->spare > hold->length - needs) /* what was given back is free, and anybody's */
                        hold->spare = hold->length - needs;
                return 0;
        }
        r = hold_open(hold, dir_fd, &fd);
        if (r < 0) {
                hold_set_missing(hold, subtract(needs, hold->length), r);
                return r;
        }

        /* what was somebody else's already is not made up with what a sound one is about to get */
        if (hold->missing > 0 || !hold->made)
                most = hold->length + hold_room(hold, dir_fd);
        if (hold->length < needs && hold->length < most)
                r = hold_allocate(hold, fd, needs < most ? needs : most);
        if (r >= 0 && hold->length < needs)
                r = -ENOSPC;
        if (r >= 0 && hold->length < wanted && hold->length < most)
                (void) hold_allocate(hold, fd, wanted < most ? wanted : most);
        /* of what there is of too little, some is to spare as well; no more than what it comes to without that asks for, or
         * its file would be cut again and again */
        hold->spare = hold->length < needs ? hold_spare(hold, hold->length - hold_spare(hold, hold->length))
                                           : hold->length - needs;
        hold_set_missing(hold, hold->length < needs ? needs - (hold->length - hold->spare) : 0, r);
        return hold->missing > 0 ? r : 0;
}

/* What it should have to spare, of what is left when everybody has got his own. */
static void hold_grow_spare(Hold *hold, int dir_fd) {
        uint64_t needs = hold_needs(hold), wanted = needs + hold_spare(hold, needs), most;
        _cleanup_close_ int fd = -EBADF;

        if (hold->length >= wanted || hold->missing > 0 || hold_open(hold, dir_fd, &fd) < 0 || hold->length < needs)
                return;

        /* XFS does not count at once what was just freed; but it gets that if it is asked for */
        if (others_due(hold) == 0)
                (void) hold_allocate(hold, fd, wanted);
        most = hold->length + hold_room(hold, dir_fd);
        if (hold->length < wanted && hold->length < most)
                (void) hold_allocate(hold, fd, wanted < most ? wanted : most);
        hold->spare = subtract(hold->length, needs);
}

/* Whether there is nothing left of it. */
static bool hold_remove(Hold *hold, int dir_fd) {
        Fsdax *fsdax = hold->fsdax;

        if (unlinkat(dir_fd, hold->name, 0) < 0 && errno != ENOENT)
                return false;

        pthread_mutex_lock(&fsdax->mutex);
        HASH_DEL(fsdax->holds, hold);
        pthread_mutex_unlock(&fsdax->mutex);
        free(hold);
        return true;
}

static void holds_cut(Fsdax *fsdax, int dir_fd) {
        Hold *hold, *next;

        for (hold = next_hold(fsdax, NULL); hold; hold = next) {
                next = next_hold(fsdax, hold);
                if (!hold->ended) {
                        hold_see_spare(hold);
                        hold_shrink(hold, dir_fd);
                } else if (!hold_remove(hold, dir_fd))
                        log_debug("%s/%s cannot be removed now", fsdax->path, hold->name);
        }
}

static void holds_grow(Fsdax *fsdax, int dir_fd, bool lacked, bool spare) {
        Hold *hold;

        for (hold = next_hold(fsdax, NULL); hold; hold = next_hold(fsdax, hold))
                if (!hold->ended && hold->lacked == lacked)
                        (void) hold_grow(hold, dir_fd, spare);
}

/* What they have too much goes before others get what they lack. What was just given back to one that has lacked nothing
 * is its own, and nothing for those from which others had taken some; only what is left then is more to spare. */
static void holds_settle(Fsdax *fsdax, int dir_fd, bool spare) {
        Hold *hold;

        holds_cut(fsdax, dir_fd);
        for (hold = next_hold(fsdax, NULL); hold; hold = next_hold(fsdax, hold))
                hold->lacked = hold->missing > 0;
        holds_grow(fsdax, dir_fd, false, spare);
        holds_grow(fsdax, dir_fd, true, spare);
        for (hold = next_hold(fsdax, NULL); spare && hold; hold = next_hold(fsdax, hold))
                if (!hold->ended)
                        hold_grow_spare(hold, dir_fd);
}

void fsdax_holds_cut(Fsdax *fsdax, int dir_fd) {
        pthread_mutex_lock(&fsdax->holding);
        holds_cut(fsdax, dir_fd);
        pthread_mutex_unlock(&fsdax->holding);
}

static void holds_look(Fsdax *fsdax, int dir_fd) {
        Hold *hold;

        for (hold = next_hold(fsdax, NULL); hold; hold = next_hold(fsdax, hold))
                hold_look(hold, dir_fd);
}

void fsdax_holds_settle(Fsdax *fsdax, int dir_fd) {
        pthread_mutex_lock(&fsdax->holding);
        holds_look(fsdax, dir_fd);
        holds_settle(fsdax, dir_fd, true);
        pthread_mutex_unlock(&fsdax->holding);
}

/* Counts what a member is about to have, and cuts the file by that. It has its part of what there is to spare, too, even if
 * that is less than there should be: on a full file system there is nothing else for the blocks that describe it. */
static void hold_give(Hold *hold, int dir_fd, Piece *piece, uint64_t bytes) {
        uint64_t share;

        hold_see_spare(hold);
        share = hold_spare(hold, hold_has(hold));
        fsdax_hold_count(piece, bytes);
        share = subtract(share, hold_spare(hold, hold_has(hold)));
        if (share == 0 && hold->n_taken <= SPARE_MEMBERS)
                share = SPARE_SIZE;
        hold->spare = subtract(hold->spare, share);
        hold_shrink(hold, dir_fd);
}

bool fsdax_holds_lock(Piece *piece, int dir_fd, uint64_t bytes) {
        Fsdax *fsdax = piece->state;
        Hold *hold;

        if (!next_hold(fsdax, NULL))
                return false;

        pthread_mutex_lock(&fsdax->holding);
        pthread_mutex_lock(&fsdax->mutex);
        hold = hold_of(piece);
        pthread_mutex_unlock(&fsdax->mutex);
        if (!hold) {
                holds_settle(fsdax, dir_fd, false);
                return true;
        }

        hold_look(hold, dir_fd);
        hold_give(hold, dir_fd, piece, bytes);
        return true;
}

void fsdax_holds_unlock(Fsdax *fsdax, bool locked) {
        if (locked)
                pthread_mutex_unlock(&fsdax->holding);
}

int fsdax_hold_make(Hold *hold, Failure *failure) {
        _cleanup_close_ int dir_fd = -EBADF;
        Fsdax *fsdax = hold->fsdax;
        int r;

        r = fsdax_directory_open(fsdax, &dir_fd, failure);
        if (r < 0)
                return r;

        pthread_mutex_lock(&fsdax->holding);
        holds_settle(fsdax, dir_fd, false);
        r = hold_grow(hold, dir_fd, false);
        hold_grow_spare(hold, dir_fd);
        hold->made = r >= 0;
        pthread_mutex_unlock(&fsdax->holding);
        fsdax_measure(fsdax, dir_fd);
        if (r == -ENOSPC || r == -EDQUOT)
                return failure_set(failure, REFUSAL_NoSpace, "the file system of %s has no room for it: %s", fsdax->path,
                                   strerror(-r));
        return r < 0 ? failure_set_errno(failure, r, "cannot keep room in %s", fsdax->path) : 0;
}

/* ---- What the directory holds ---- */

void fsdax_holds_look(Fsdax *fsdax, int dir_fd) {
        pthread_mutex_lock(&fsdax->holding);
        holds_look(fsdax, dir_fd);
        if (next_hold(fsdax, NULL))
                fsdax->holds_changed = true;
        pthread_mutex_unlock(&fsdax->holding);
}

static bool is_called_hold(const char *name, uint64_t *ret_number) {
        if (strncmp(name, PREFIX, PREFIX_SIZE) != 0 || !is_id(name + PREFIX_SIZE))
                return false;
        *ret_number = strtoull(name + PREFIX_SIZE, NULL, 16);
        return true;
}

int fsdax_hold_file_open(int dir_fd, const char *name, int *ret_fd) {
        uint64_t number;

        return is_called_hold(name, &number) ? fsdax_file_open_own(dir_fd, name, true, ret_fd) : -EINVAL;
}

bool fsdax_hold_is(Fsdax *fsdax, const char *name) {
        uint64_t number;

        if (!is_called_hold(name, &number))
                return false;

        if (!hold_exists(fsdax, number))
                fsdax->holds_stray = true;
        return true;
}

void fsdax_holds_remove_strays(Fsdax *fsdax, int dir_fd) {
        _cleanup_closedir_ DIR *dir = NULL;
        struct dirent *entry;
        struct stat st;

        if (directory_read(dir_fd, &dir) < 0)
                return;

        while ((entry = readdir(dir))) {
                const char *name = entry->d_name;
                uint64_t number;

                if (!is_called_hold(name, &number) || hold_exists(fsdax, number) ||
                    fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !fsdax_file_may_be_ours(&st))
                        continue;
                if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
                        log_warning("%s/%s is kept for nobody, and cannot be removed: %s", fsdax->path, name,
                                    strerror(errno));
        }
}
