/* SPDX-License-Identifier: MIT */

/* What is left of a file that was revoked, as long as somebody still has it open.
 *
 * The kernel locks a file to remove its name or to change it, with the directory locked meanwhile; and whoever has a file
 * open can keep it locked, by a write from a page that he does not let come, by a look at its extents into such a page, and
 * by more of that kind. All others would have to wait for the directory then. So nothing is done to the name of a file that
 * somebody else has open, be it only to read: it stays there, empty, until the kernel grants us a lease for writing, which
 * it does only to whoever is alone with it. That nobody else can open it makes this last.
 *
 * Instead of its record it has a note whose it was. Who can write to it can put new room into it: as soon as there is
 * something in it, it is an allocation of that user once more, which is listed, charged, and ends again. The look at it
 * waits for nobody; what may wait is for whoever ends it. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "fsdax.h"
#include "log.h"
#include "record.h"

#define OWNER_ATTRIBUTE "user.daxbroker.owner"

/* ---- The file ---- */

bool fsdax_leftover_is(int fd) {
        return fgetxattr(fd, OWNER_ATTRIBUTE, NULL, 0) >= 0;
}

uid_t fsdax_leftover_owner(int fd) {
        char text[16] = "";
        unsigned long long owner;
        ssize_t n;

        n = fgetxattr(fd, OWNER_ATTRIBUTE, text, sizeof(text) - 1);
        if (n <= 0 || strspn(text, "0123456789") != (size_t) n)
                return (uid_t) -1;
        owner = strtoull(text, NULL, 10);
        return owner < UINT32_MAX ? (uid_t) owner : (uid_t) -1;
}

/* Whether anybody else has it open, or mapped. Where the file system has no leases, nobody can tell, and it is as if nobody
 * had. */
static bool is_open(int dir_fd, const char *name) {
        _cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

        if (fd < 0) /* if it is only we who cannot look, it had better stay in sight */
                return errno != ENOENT;
        /* if another thread of ours opens it in this moment, we are told by a signal that does nothing */
        if (fcntl(fd, F_SETSIG, SIGURG) < 0 || fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
                return errno == EAGAIN;
        (void) fcntl(fd, F_SETLEASE, F_UNLCK);
        return false;
}

/* Its attributes can take a page beside the inode, which is nobody's doing. */
static uint64_t room_of(const struct stat *st) {
        uint64_t room = (uint64_t) st->st_blocks * 512;

        if (st->st_size == 0 && room <= FSDAX_PAGE)
                return 0;
        return room > FSDAX_PAGE ? room - room % FSDAX_PAGE : FSDAX_PAGE;
}

static int look(int dir_fd, const char *name, uint64_t *ret_room) {
        struct stat st;

        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (!fsdax_file_may_be_ours(&st))
                return -EUCLEAN;

        *ret_room = room_of(&st);
        return 0;
}

int fsdax_leftover_sweep(int dir_fd, const char *name, uint64_t *ret_room) {
        uint64_t room = 0;
        int r;

        r = look(dir_fd, name, &room);
        if (r >= 0 && !is_open(dir_fd, name)) {
                r = look(dir_fd, name, &room); /* from now on that is how it stays */
                if (r >= 0 && room == 0)
                        r = fsdax_file_unlink(dir_fd, name);
                if (r >= 0 && room == 0)
                        r = -ENOENT;
        }
        if (r < 0 && r != -ENOENT)
                log_warning("%s is in the way and cannot be removed: %s", name, strerror(-r));
        if (r < 0)
                return r;

        *ret_room = room;
        return 0;
}

/* Takes its record away, and notes whose it was instead. */
static int replace_record(int fd) {
        _cleanup_free_ char *text = NULL;
        const char *problem = "";
        Record record = { 0 };
        char owner[16] = "";
        int r;

        r = fsdax_file_read_record(fd, &text, &problem);
        if (r >= 0 && record_parse(text, &record, &problem) >= 0)
                (void) snprintf(owner, sizeof(owner), "%" PRIu32, record.owner);
        record_done(&record);

        if (fsetxattr(fd, OWNER_ATTRIBUTE, owner, strlen(owner), XATTR_CREATE) < 0 && errno != EEXIST)
                log_warning("cannot note whose what is left of a file was: %s", strerror(errno));
        return r == -ENODATA ? 0 : fsdax_file_remove_record(fd);
}

int fsdax_leftover_drop(Fsdax *fsdax, int dir_fd, const char *name, int *fd) {
        uint64_t room;
        int r;

        r = replace_record(*fd);
        if (r < 0)
                return r;

        *fd = safe_close(*fd); /* we would not be alone with it */
        r = fsdax_leftover_sweep(dir_fd, name, &room);
        if (r >= 0)
                fsdax_leftover_add(fsdax, name, false);
        return r;
}

/* ---- Those that there are ---- */

static FsdaxLeftover *find(Fsdax *fsdax, const char *id) {
        FsdaxLeftover *leftover;

        HASH_FIND_STR(fsdax->leftovers, id, leftover);
        return leftover;
}

void fsdax_leftover_add(Fsdax *fsdax, const char *id, bool told) {
        FsdaxLeftover *leftover;

        pthread_mutex_lock(&fsdax->mutex);
        leftover = find(fsdax, id);
        if (!leftover) {
                leftover = calloc(1, sizeof(*leftover));
                if (leftover) {
                        (void) snprintf(leftover->id, sizeof(leftover->id), "%s", id);
                        HASH_ADD_STR(fsdax->leftovers, id, leftover);
                }
        }
        if (leftover) {
                leftover->told = told;
                leftover->looked = now_usec();
        }
        pthread_mutex_unlock(&fsdax->mutex);

        fsdax->leftovers_changed = true;
        if (!leftover) /* whoever lists the directory comes upon it again */
                fsdax->leftovers_filled = true;
}

void fsdax_leftover_released(Fsdax *fsdax, const char *id) {
        FsdaxLeftover *leftover;

        pthread_mutex_lock(&fsdax->mutex);
        leftover = find(fsdax, id);
        if (leftover) {
                leftover->told = false;
                fsdax->leftovers_changed = true;
        }
        pthread_mutex_unlock(&fsdax->mutex);
}

static void forget(Fsdax *fsdax, FsdaxLeftover *leftover) {
        HASH_DEL(fsdax->leftovers, leftover);
        free(leftover);
}

void fsdax_leftovers_forget(Fsdax *fsdax) {
        FsdaxLeftover *leftover, *next;

        HASH_ITER(hh, fsdax->leftovers, leftover, next)
                forget(fsdax, leftover);
}

bool fsdax_leftovers_exist(Fsdax *fsdax) {
        bool exist;

        pthread_mutex_lock(&fsdax->mutex);
        exist = fsdax->leftovers;
        pthread_mutex_unlock(&fsdax->mutex);
        return exist;
}

static void sweep_one(Fsdax *fsdax, int dir_fd, const char *id) {
        FsdaxLeftover *leftover;
        uint64_t room = 0;
        int r;

        r = fsdax_leftover_sweep(dir_fd, id, &room);
        pthread_mutex_lock(&fsdax->mutex);
        leftover = find(fsdax, id);
        if (leftover && r < 0)
                forget(fsdax, leftover);
        else if (leftover) {
                if (room > 0 && !leftover->told)
                        fsdax->leftovers_filled = true;
                leftover->told = room > 0;
        }
        pthread_mutex_unlock(&fsdax->mutex);
}

void fsdax_leftovers_sweep(Fsdax *fsdax, int dir_fd) {
        const size_t id_size = sizeof(((FsdaxLeftover *) 0)->id);
        _cleanup_free_ char *ids = NULL;
        FsdaxLeftover *leftover, *next;
        uint64_t now = now_usec();
        size_t n = 0;

        /* not with the mutex held, which the event loop takes */
        pthread_mutex_lock(&fsdax->mutex);
        ids = calloc(HASH_COUNT(fsdax->leftovers) + 1, id_size);
        HASH_ITER(hh, fsdax->leftovers, leftover, next)
                if (ids && leftover->looked + FSDAX_LEFTOVERS_USEC <= now) {
                        leftover->looked = now;
                        memcpy(ids + n++ * id_size, leftover->id, id_size);
                }
        pthread_mutex_unlock(&fsdax->mutex);

        for (size_t i = 0; i < n; i++)
                sweep_one(fsdax, dir_fd, ids + i * id_size);
}
