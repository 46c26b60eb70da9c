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
 * So there is something to spare for the first ones.
 *
 * The event loop says how much a grant has; workers count what members' files have, and see to the rest, one at a time.
 * Only they free a Hold, so that theirs is there as long as they have the lock. A member can outlive its hold, and so
 * knows its number only. A file that no grant is known of is from before the machine was started anew. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <utlist.h>

#include "cleanup.h"
#include "file.h"
#include "fsdax.h"
#include "log.h"
#include "name.h"
#include "size.h"

#define PREFIX ".hold-"
#define PREFIX_SIZE (sizeof(PREFIX) - 1)
#define ID_SIZE 16

/* So many members have something to spare for the blocks that describe them, but together no more than this part. */
#define SPARE_MEMBERS 64
#define SPARE_SIZE (64 * KIB)
#define SPARE_PART 16

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
        uint64_t measured;        /* the length when the room of the file system was measured; guarded by fsdax->mutex */
        uint64_t spare;           /* of length, beside what can be taken; workers' */
        bool made;                /* the same: it had all of it once */
        bool lacked;              /* the same: something was missing when they began to settle */
        Hold *prev, *next;
};

/* ---- In the event loop ---- */

static uint64_t subtract(uint64_t a, uint64_t b) {
        return a > b ? a - b : 0;
}

static int hold_new(Region *region, const char *id, uint64_t length, Hold **ret) {
        Fsdax *fsdax = region->state;
        Hold *hold;

        hold = calloc(1, sizeof(*hold));
        if (!hold)
                return -ENOMEM;

        hold->fsdax = fsdax;
        hold->number = strtoull(id, NULL, 16);
        hold->kept = length;
        hold->size = length;
        hold->spare = UINT64_MAX; /* as it should be */
        (void) snprintf(hold->name, sizeof(hold->name), PREFIX "%.16s", id);
        pthread_mutex_lock(&fsdax->mutex);
        DL_APPEND(fsdax->holds, hold);
        pthread_mutex_unlock(&fsdax->mutex);
        *ret = hold;
        return 0;
}

int fsdax_hold(Region *region, const Piece *plan, Hold **ret, char **ret_handle, Failure *failure) {
        char id[ID_SIZE + 1];
        uint64_t number;
        char *handle;
        int r;

        if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
                return failure_set_errno(failure, -EAGAIN, "there is no randomness yet");
        (void) snprintf(id, sizeof(id), "%016llx", (unsigned long long) number);
        handle = strdup(id);
        r = handle ? hold_new(region, id, plan->length, ret) : -ENOMEM;
        if (r < 0) {
                free(handle);
                return failure_set_errno(failure, r, "cannot keep an account of it");
        }

        *ret_handle = handle;
        fsdax_account(region, region->used + plan->length);
        return 0;
}

static Hold *find_hold(Fsdax *fsdax, const char *name) {
        Hold *hold;

        pthread_mutex_lock(&fsdax->mutex);
        DL_FOREACH(fsdax->holds, hold)
                if (strcmp(hold->name, name) == 0)
                        break;
        pthread_mutex_unlock(&fsdax->mutex);
        return hold;
}

int fsdax_hold_again(Region *region, const char *handle, uint64_t length, Hold **ret, Failure *failure) {
        Fsdax *fsdax = region->state;
        char name[PREFIX_SIZE + ID_SIZE + 1];
        int r;

        if (!fsdax)
                return failure_set(failure, REFUSAL_RegionUnusable, "its directory is not there: %s",
                                   region->reason ? region->reason : "");
        if (!handle || !is_id(handle))
                return failure_set(failure, REFUSAL_Failed, "its record does not say which file keeps its room");
        (void) snprintf(name, sizeof(name), PREFIX "%.16s", handle);
        if (find_hold(fsdax, name))
                return failure_set(failure, REFUSAL_Failed, "its record names a file that keeps room for another one");

        r = hold_new(region, handle, length, ret);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot keep an account of it");
        (*ret)->made = true;
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

/* What its file should have. */
static uint64_t hold_needs(const Hold *hold) {
        return subtract(hold->size, hold->taken);
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
        DL_FOREACH(fsdax->holds, hold)
                if (!hold->ended)
                        owed += subtract(hold->kept, hold->measured);
        pthread_mutex_unlock(&fsdax->mutex);
        return owed;
}

bool fsdax_holds_lack(Fsdax *fsdax) {
        Hold *hold;

        pthread_mutex_lock(&fsdax->mutex);
        DL_FOREACH(fsdax->holds, hold)
                if (hold->ended || hold->missing > 0)
                        break;
        pthread_mutex_unlock(&fsdax->mutex);
        return hold;
}

void fsdax_holds_forget(Fsdax *fsdax) {
        Hold *hold, *next;

        DL_FOREACH_SAFE(fsdax->holds, hold, next)
                free(hold);
        fsdax->holds = NULL;
}

/* ---- What members' files have ---- */

/* With the mutex held. Its grant can have ended since. */
static Hold *hold_of(const Piece *piece) {
        Fsdax *fsdax = piece->state;
        Hold *hold;

        DL_FOREACH(fsdax->holds, hold)
                if (hold->number == piece->hold_number && !hold->ended)
                        break;
        return hold;
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
        }
        pthread_mutex_unlock(&fsdax->mutex);
}

void fsdax_hold_count(Piece *piece, uint64_t bytes) {
        if (piece->hold_number == 0)
                return;
        hold_change(piece, bytes, 0);
        piece->counted = true;
}

void fsdax_hold_expect(const Piece *piece, uint64_t bytes) {
        if (piece->counted)
                hold_change(piece, 0, bytes);
}

void fsdax_hold_return(const Piece *piece, uint64_t bytes, bool done) {
        if (piece->counted)
                hold_change(piece, done ? -bytes : 0, -bytes);
}

/* ---- In workers ---- */

void fsdax_holds_measured(Fsdax *fsdax) {
        Hold *hold;

        DL_FOREACH(fsdax->holds, hold)
                hold->measured = hold->length;
}

/* The next one, NULL after the last. The event loop adds some meanwhile. */
static Hold *next_hold(Fsdax *fsdax, const Hold *hold) {
        Hold *next;

        pthread_mutex_lock(&fsdax->mutex);
        next = hold ? hold->next : fsdax->holds;
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

/* What cannot be cut keeps room from members, who are refused then; so it is said. */
static void hold_shrink(Hold *hold, int dir_fd) {
        uint64_t has = subtract(hold_needs(hold), hold->missing), spare = hold_spare(hold, has), length;
        _cleanup_close_ int fd = -EBADF;
        int r;

        hold_look(hold, dir_fd);

        spare = spare < hold->spare ? spare : hold->spare;
        length = has + spare;
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

/* What is free, but for what others have had and are to have again. */
static uint64_t hold_room(const Hold *hold, int dir_fd) {
        Fsdax *fsdax = hold->fsdax;
        struct statvfs vfs;
        uint64_t room;
        Hold *other;

        room = fstatvfs(dir_fd, &vfs) < 0 ? 0 : (uint64_t) vfs.f_frsize * vfs.f_bavail;
        pthread_mutex_lock(&fsdax->mutex);
        DL_FOREACH(fsdax->holds, other) {
                uint64_t spare = hold_spare(other, other->length), own;

                own = subtract(other->length, spare < other->spare ? spare : other->spare);
                if (other != hold && !other->ended)
                        room = subtract(room, subtract(hold_needs(other) + other->returning, other->missing + own));
        }
        pthread_mutex_unlock(&fsdax->mutex);
        return room - room % FSDAX_PAGE;
}

/* r: why it is no longer. */
static void hold_set_missing(Hold *hold, uint64_t missing, int r) {
        if (hold->made && missing > 0 && hold->missing == 0)
                log_warning("region '%s': %s of what is kept for a grant cannot be had: %s", hold->fsdax->region->name,
                            SIZE_TEXT(missing), strerror(-r));
        hold->missing = missing;
}

/* With spare, to what it should have beside, too. */
static int hold_grow(Hold *hold, int dir_fd, bool spare) {
        uint64_t needs = hold_needs(hold), wanted = needs + (spare ? hold_spare(hold, needs) : 0), most = UINT64_MAX;
        _cleanup_close_ int fd = -EBADF;
        int r;

        hold_look(hold, dir_fd);
        if (hold->length >= wanted && hold->missing == 0)
                return 0;
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

/* Whether there is nothing left of it. */
static bool hold_remove(Hold *hold, int dir_fd) {
        Fsdax *fsdax = hold->fsdax;

        if (unlinkat(dir_fd, hold->name, 0) < 0 && errno != ENOENT)
                return false;

        pthread_mutex_lock(&fsdax->mutex);
        DL_DELETE(fsdax->holds, hold);
        pthread_mutex_unlock(&fsdax->mutex);
        free(hold);
        return true;
}

static void holds_cut(Fsdax *fsdax, int dir_fd) {
        Hold *hold, *next;

        for (hold = next_hold(fsdax, NULL); hold; hold = next) {
                next = next_hold(fsdax, hold);
                if (!hold->ended)
                        hold_shrink(hold, dir_fd);
                else if (!hold_remove(hold, dir_fd))
                        log_debug("%s/%s cannot be removed now", fsdax->path, hold->name);
        }
}

/* What they have too much goes before others get what they lack. What was just given back to one that has lacked nothing
 * is its own, and nothing for those from which others had taken some. */
static void holds_settle(Fsdax *fsdax, int dir_fd, bool spare) {
        Hold *hold;

        holds_cut(fsdax, dir_fd);
        for (hold = next_hold(fsdax, NULL); hold; hold = next_hold(fsdax, hold)) {
                hold->lacked = hold->missing > 0;
                if (!hold->ended && !hold->lacked)
                        (void) hold_grow(hold, dir_fd, spare);
        }
        for (hold = next_hold(fsdax, NULL); hold; hold = next_hold(fsdax, hold))
                if (!hold->ended && hold->lacked)
                        (void) hold_grow(hold, dir_fd, spare);
}

void fsdax_holds_cut(Fsdax *fsdax, int dir_fd) {
        pthread_mutex_lock(&fsdax->holding);
        holds_cut(fsdax, dir_fd);
        pthread_mutex_unlock(&fsdax->holding);
}

void fsdax_holds_settle(Fsdax *fsdax, int dir_fd) {
        pthread_mutex_lock(&fsdax->holding);
        holds_settle(fsdax, dir_fd, true);
        pthread_mutex_unlock(&fsdax->holding);
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
        if (!hold)
                holds_settle(fsdax, dir_fd, false);
        if (piece->hold_number == 0)
                return true;

        fsdax_hold_count(piece, bytes);
        if (hold)
                hold_shrink(hold, dir_fd);
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
        holds_settle(fsdax, dir_fd, true);
        r = hold_grow(hold, dir_fd, true); /* which it has, unless something is in the way */
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
        Hold *hold;

        pthread_mutex_lock(&fsdax->holding);
        for (hold = next_hold(fsdax, NULL); hold; hold = next_hold(fsdax, hold)) {
                hold_look(hold, dir_fd);
                fsdax->holds_changed = true;
        }
        pthread_mutex_unlock(&fsdax->holding);
}

static bool is_called_hold(const char *name) {
        return strncmp(name, PREFIX, PREFIX_SIZE) == 0 && is_id(name + PREFIX_SIZE);
}

int fsdax_hold_file_open(int dir_fd, const char *name, int *ret_fd) {
        return is_called_hold(name) ? fsdax_file_open_own(dir_fd, name, true, ret_fd) : -EINVAL;
}

bool fsdax_hold_is(Fsdax *fsdax, const char *name) {
        if (!is_called_hold(name))
                return false;

        if (!find_hold(fsdax, name))
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

                if (!is_called_hold(name) || find_hold(fsdax, name) ||
                    fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !fsdax_file_may_be_ours(&st))
                        continue;
                if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
                        log_warning("%s/%s is kept for nobody, and cannot be removed: %s", fsdax->path, name,
                                    strerror(errno));
        }
}
