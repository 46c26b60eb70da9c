/* SPDX-License-Identifier: MIT */

/* Files of a directory on a DAX file system: memory that outlives the machine's power. Each allocation is a file that is
 * called like its id, belongs to the broker, and has its record as an attribute; so the directory is all there is to know,
 * and what is copied or carried to another machine is found again there.
 *
 *  - Only the broker can open the files: to open a descriptor again through /proc is opening the file. What holders get is
 *    opened with as few rights as this kernel and file system can take away (fsdax-opener.c, and seals).
 *  - What is revoked is truncated, which takes it out of all mappings and waits while the kernel refers to a page of it.
 *    Only then it is removed: on older kernels, removing does not wait, and the next file's bytes could be read. Who makes
 *    truncating wait keeps it in quarantine, charged to him.
 *  - All room is allocated before, and what is zero is really written, so that no store needs the file system any more.
 *  - A holder can still make his file longer or shorter. Its record says what it has to be; when the directory tells of a
 *    change, and whenever it is opened, it is made that again. What he has still open after its end stays in sight until he
 *    has not (fsdax-leftover.c).
 *  - No descriptor is kept, and the file system can be unmounted when no holder has any of it. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "fsdax.h"
#include "log.h"
#include "name.h"
#include "size.h"

/* What the file system or the device says, as a refusal. */
static int refuse_errno(const Piece *piece, int r, const char *what, Failure *failure) {
        Fsdax *fsdax = piece->state;

        if (r == -ENOSPC || r == -EDQUOT || r == -EFBIG)
                return failure_set(failure, REFUSAL_NoSpace, "the file system of %s has no room for it: %s", fsdax->path,
                                   strerror(-r));
        if (r == -EROFS) {
                fsdax->read_only = true;
                return failure_set(failure, REFUSAL_RegionUnusable, FSDAX_READ_ONLY, fsdax->path);
        }
        if (r == -EBUSY)
                return failure_set(failure, REFUSAL_Busy, "%s: the kernel refers to pages of its file for a holder", what);
        if (r == -ECANCELED)
                return failure_set(failure, REFUSAL_ShuttingDown,
                                   "the broker was stopped while it zeroed the memory; ask again");
        return failure_set_errno(failure, r, "%s", what);
}

/* ---- A file, while something is done with it ---- */

typedef struct OwnFile {
        int dir_fd, fd;
        bool sealed; /* it was, or is to be when this is over */
} OwnFile;

#define OWN_FILE_NONE ((OwnFile){ .dir_fd = -EBADF, .fd = -EBADF })

static void own_file_close(OwnFile *file) {
        int r;

        r = file->fd >= 0 && file->sealed ? fsdax_file_seal(file->fd, true) : 0;
        if (r < 0)
                log_warning("a file cannot be sealed: %s", strerror(-r));
        file->fd = safe_close(file->fd);
        file->dir_fd = safe_close(file->dir_fd);
}

#define _cleanup_own_file_ _cleanup_(own_file_close)

/* A sealed file cannot be opened for writing. As long as it is not sealed a holder can make it longer, which the
 * directory tells like everywhere where files cannot be sealed: then it is looked at when this is over, and cut back. The
 * same goes for what is done after we have died here, until somebody opens it for writing. */
static int own_file_unseal(int dir_fd, const char *name, OwnFile *file) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = fsdax_file_open(dir_fd, name, true, &fd);
        if (r >= 0)
                r = fsdax_file_is_sealed(fd) ? fsdax_file_seal(fd, false) : -EPERM;
        if (r < 0)
                return r;

        file->sealed = true;
        return fsdax_file_open(dir_fd, name, false, &file->fd);
}

/* Opens the file of a piece. -ENOENT: the directory is there, and the file is not. */
static int own_file_open_for(const Piece *piece, bool read_only, OwnFile *ret, Failure *failure) {
        _cleanup_own_file_ OwnFile file = OWN_FILE_NONE;
        int r;

        r = fsdax_directory_open(piece->state, &file.dir_fd, failure);
        if (r < 0)
                return r;

        r = fsdax_file_open(file.dir_fd, piece->handle, read_only, &file.fd);
        if (r == -EPERM && !read_only)
                r = own_file_unseal(file.dir_fd, piece->handle, &file);
        if (r == -EUCLEAN)
                (void) failure_set(failure, REFUSAL_Failed, "somebody has put something else where its file was");
        else if (r < 0)
                (void) refuse_errno(piece, r, "cannot open its file", failure);
        if (r < 0)
                return r;

        *ret = file;
        file = OWN_FILE_NONE;
        return 0;
}

static int own_file_open(const Piece *piece, OwnFile *ret, Failure *failure) {
        return own_file_open_for(piece, false, ret, failure);
}

static int see_extents(const Piece *piece, int fd, bool *ret_huge, bool *ret_whole) {
        FsdaxFacts facts = fsdax_facts(piece->state);
        FsdaxExtents extents;
        int r;

        r = fsdax_extents_read(fd, piece->length, &extents);
        if (r < 0)
                return r;
        *ret_huge = fsdax_extents_are_huge(&extents, piece->length, facts.skew);
        *ret_whole = extents.known && extents.n_extents == 1;
        fsdax_extents_done(&extents);
        return 0;
}

/* Sees where a new file lies: piece->page_size becomes what it can be mapped by. */
static int check_extents(Piece *piece, int fd, Failure *failure) {
        const Fsdax *fsdax = piece->state;
        bool huge, whole;
        int r;

        if (piece->page_size < FSDAX_HUGE_PAGE && !piece->contiguous)
                return 0;

        r = see_extents(piece, fd, &huge, &whole);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot see where it lies");
        if (piece->contiguous && !whole)
                return failure_set(failure, REFUSAL_NoSpace,
                                   "option contiguous: what is free in %s is in pieces that are shorter than %s",
                                   fsdax->path, SIZE_TEXT(piece->length));
        if (piece->page_size >= FSDAX_HUGE_PAGE && !huge) {
                if (piece->page_size_demanded)
                        return failure_set(failure, REFUSAL_NoHugePages,
                                           "what is free in %s does not lie so that %s of it could be mapped by pages of "
                                           "2 MiB",
                                           fsdax->path, SIZE_TEXT(piece->length));
                piece->page_size = FSDAX_PAGE;
        }
        return 0;
}

/* On a file system without DAX they are only in its caches anyway. */
static int write_zeros(Piece *piece, int fd, uint64_t from) {
        Fsdax *fsdax = piece->state;
        int r = 0;

        if (fsdax->sync == SYNC_DAX)
                r = fsdax_file_zero(fd, from, piece->length, fsdax->throttle, &piece->cleaned, &fsdax->stopping);
        return r >= 0 && fsync(fd) < 0 ? -errno : r;
}

/* ---- Carving ---- */

/* A new file, which nobody else has, with its room. The file itself can take some, too. What there is of it on failure is
 * the caller's to drop. */
static int make_file(Piece *piece, int dir_fd, int *fd, Failure *failure) {
        FsdaxFacts facts = fsdax_facts(piece->state);
        bool locked = fsdax_holds_lock(piece, dir_fd, piece->length);
        const char *problem = "cannot make a file";
        int r;

        r = fsdax_file_make(dir_fd, fd);
        if (r >= 0) {
                problem = "cannot get room for it";
                r = fsdax_extents_allocate(*fd, 0, piece->length, piece->page_size >= FSDAX_HUGE_PAGE, facts.skew);
        }
        fsdax_holds_unlock(piece->state, locked);
        return r < 0 ? refuse_errno(piece, r, problem, failure) : 0;
}

/* What its file has goes when that is closed, and a hold has it again. */
static void drop_file(Piece *piece, int *fd) {
        fsdax_hold_expect(piece, 0);
        *fd = safe_close(*fd);
        fsdax_hold_return(piece, 0, true);
}

static int carve_file(Piece *piece, int dir_fd, int *fd, Failure *failure) {
        int r;

        r = make_file(piece, dir_fd, fd, failure);
        if (r < 0)
                return r;
        r = check_extents(piece, *fd, failure);
        if (r < 0)
                return r;
        r = write_zeros(piece, *fd, 0);
        return r < 0 ? refuse_errno(piece, r, "cannot zero it", failure) : 0;
}

static int fsdax_carve(Piece *piece, const char *id, Failure *failure) {
        _cleanup_close_ int dir_fd = -EBADF, fd = -EBADF;
        _cleanup_free_ char *handle = NULL;
        int r;

        handle = strdup(id);
        if (!handle)
                return failure_set_errno(failure, -ENOMEM, "cannot name it");
        r = fsdax_directory_open(piece->state, &dir_fd, failure);
        if (r < 0)
                return r;
        r = carve_file(piece, dir_fd, &fd, failure);
        if (r < 0) {
                drop_file(piece, &fd);
                return r;
        }

        fsdax_measure(piece->state, dir_fd);
        piece->handle = TAKE_PTR(handle);
        piece->fd = TAKE_FD(fd);
        piece->measured = true;
        return 0;
}

static int link_with_record(Piece *piece, const char *text, Failure *failure) {
        _cleanup_close_ int dir_fd = -EBADF;
        int r;

        r = fsdax_directory_open(piece->state, &dir_fd, failure);
        if (r < 0)
                return r;
        r = fsdax_file_write_record(piece->fd, text);
        if (r >= 0)
                r = fsdax_file_link(piece->fd, dir_fd, piece->handle);
        if (r < 0)
                return refuse_errno(piece, r, "cannot give the file its record and its name", failure);

        piece->fd = safe_close(piece->fd);
        return 0;
}

static int fsdax_write_record(Piece *piece, const char *id, const char *text, Failure *failure) {
        _cleanup_own_file_ OwnFile file = OWN_FILE_NONE;
        int r;

        (void) id;
        if (piece->fd >= 0)
                return link_with_record(piece, text, failure);

        r = own_file_open(piece, &file, failure);
        if (r < 0)
                return r;
        r = fsdax_file_write_record(file.fd, text);
        if (r >= 0 && fsync(file.fd) < 0)
                r = -errno;
        return r < 0 ? refuse_errno(piece, r, "cannot write the record", failure) : 0;
}

/* ---- Holders ---- */

/* A holder can make a file longer, and with it what he takes of the region; or shorter, which is nobody's loss but his. Also
 * a file that is shorter can have room beyond its end. */
static bool too_long(const Piece *piece, int fd, uint64_t size) {
        return size > piece->length || fsdax_extents_beyond(fd, piece->length) > 0;
}

/* Takes what is beyond this length from whoever has it. Of a member a hold has that again then; but what a holder has cut
 * himself, within what the file has to have, is to be there again. */
static int cut(Piece *piece, int fd, uint64_t length, uint64_t size, uint64_t patience) {
        int r;

        fsdax_hold_expect(piece, length);
        r = fsdax_file_truncate(fd, size, patience);
        fsdax_hold_return(piece, length, r >= 0);
        return r;
}

/* It was seen to have no more than it has to have. What we had made more of it, and could not cut then, is gone, too. */
static void set_measured(Piece *piece) {
        fsdax_hold_expect(piece, piece->length);
        fsdax_hold_return(piece, piece->length, true);
        piece->measured = true;
}

/* Takes back what a holder has made more of it. */
static int cut_back(Piece *piece, int fd, uint64_t *ret_size, Failure *failure) {
        struct stat st;
        uint64_t size;
        int r;

        if (fstat(fd, &st) < 0)
                return failure_set_errno(failure, -errno, "cannot look at its file");

        size = (uint64_t) st.st_size;
        if (too_long(piece, fd, size)) {
                log_warning("a holder of allocation %s has made its file longer than %s: it is cut back", piece->handle,
                            SIZE_TEXT(piece->length));
                /* to be made as long as it was would not take what is beyond the end of a shorter one */
                size = size < piece->length ? size : piece->length;
                r = cut(piece, fd, piece->length, size, FSDAX_PATIENCE_USEC);
                if (r < 0)
                        return refuse_errno(piece, r, "cannot cut its file back", failure);
        }

        *ret_size = size;
        return 0;
}

/* Makes it as long as it has to be. */
static int settle_length(Piece *piece, int fd, Failure *failure) {
        uint64_t size;
        int r;

        r = cut_back(piece, fd, &size, failure);
        if (r < 0)
                return r;
        set_measured(piece);
        if (size == piece->length)
                return 0;

        log_warning("a holder of allocation %s has cut its file from %s to %s: the rest is zeros now", piece->handle,
                    SIZE_TEXT(piece->length), SIZE_TEXT(size));
        r = fsdax_extents_allocate(fd, size, piece->length, false, 0);
        if (r >= 0)
                r = write_zeros(piece, fd, size);
        return r < 0 ? refuse_errno(piece, r, "cannot make its file as long as it has to be", failure) : 0;
}

/* What it is on record with was true where it was made, and before it got another length. Whether that has changed. */
static bool see_page_size(Piece *piece, int fd) {
        uint64_t seen = 0;
        const Fsdax *fsdax = piece->state;
        bool huge, whole;

        if (piece->page_size >= FSDAX_HUGE_PAGE &&
            (fsdax->sync != SYNC_DAX || see_extents(piece, fd, &huge, &whole) < 0 || !huge))
                seen = FSDAX_PAGE;
        return atomic_exchange(&piece->seen_page_size, seen) != seen;
}

static int take_back(Piece *piece, Failure *failure) {
        _cleanup_own_file_ OwnFile file = OWN_FILE_NONE;
        uint64_t size;
        int r;

        r = own_file_open(piece, &file, failure);
        if (r < 0)
                return r;
        r = cut_back(piece, file.fd, &size, failure);
        piece->measured = r >= 0;
        fsdax_measure(piece->state, file.dir_fd);
        if (r < 0 && failure->refusal == REFUSAL_Busy) /* he has it still, so he must not keep it */
                return failure_set(failure, REFUSAL_QuotaExceeded,
                                   "a holder has made its file longer, and keeps the broker from cutting it back");
        return r;
}

/* What is too short is left so until somebody else opens it: it is his who has cut it. A file that is as it should be is
 * only read, and stays sealed. */
static int fsdax_inspect(Piece *piece, Failure *failure) {
        _cleanup_own_file_ OwnFile file = OWN_FILE_NONE;
        const Fsdax *fsdax = piece->state;
        struct stat st;
        int r;

        r = own_file_open_for(piece, true, &file, failure);
        if (r < 0)
                return r;
        if (fstat(file.fd, &st) < 0)
                return failure_set_errno(failure, -errno, "cannot look at its file");
        if (too_long(piece, file.fd, (uint64_t) st.st_size)) {
                /* unless it is a broker that has died while it made it longer, or shorter */
                if (fsdax->growth == GROWTH_END && piece->measured)
                        return failure_set(failure, REFUSAL_QuotaExceeded, "a holder has made its file longer (Growth=end)");
                r = take_back(piece, failure);
                if (r < 0)
                        return r;
        }

        set_measured(piece);
        return see_page_size(piece, file.fd);
}

static int fsdax_open(Piece *piece, bool read_only, int *ret_fd, Failure *failure) {
        _cleanup_own_file_ OwnFile file = OWN_FILE_NONE;
        FsdaxFacts facts = fsdax_facts(piece->state);
        int r;

        if (piece->fd >= 0) { /* it has no name yet */
                r = fsdax_opener_open(piece->fd, "", read_only, ret_fd);
                return r < 0 ? failure_set_errno(failure, r, "cannot open the file for its holder") : 0;
        }

        r = own_file_open(piece, &file, failure);
        if (r >= 0)
                r = settle_length(piece, file.fd, failure);
        if (r < 0)
                return r;

        r = fsdax_opener_open(file.dir_fd, piece->handle, read_only, ret_fd);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot open the file for its holder");
        /* to be closed last, and sealed with it */
        file.sealed = file.sealed || (facts.can_seal && !read_only);
        return 0;
}

static int fsdax_revoke(Piece *piece, Failure *failure) {
        _cleanup_own_file_ OwnFile file = OWN_FILE_NONE;
        int r;

        if (piece->fd >= 0) {
                r = cut(piece, piece->fd, 0, 0, 0);
                if (r < 0)
                        return failure_set_errno(failure, r, "cannot truncate its file");
                piece->fd = safe_close(piece->fd);
        }
        if (!piece->handle)
                return 0;

        r = own_file_open(piece, &file, failure);
        if (r == -ENOENT)
                return 0;
        if (r == -EUCLEAN) {
                log_warning("allocation %s: somebody has put something else where its file was; that is left alone",
                            piece->handle);
                return 0;
        }
        if (r < 0)
                return r;

        file.sealed = false;
        r = cut(piece, file.fd, 0, 0, 0);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot truncate its file");
        r = fsdax_leftover_drop(piece->state, file.dir_fd, piece->handle, &file.fd);
        if (r < 0 && r != -ENOENT)
                return failure_set_errno(failure, r, "cannot remove its file");

        fsdax_measure(piece->state, file.dir_fd);
        return 0;
}

/* It was found, with a record that says how long it is; that is seen to when it is opened. */
static int fsdax_recover(Piece *piece, int stored_fds[static 2], Failure *failure) {
        (void) piece;
        (void) stored_fds;
        (void) failure;
        return 0;
}

/* ---- Another length ---- */

static int grow(Piece *piece, int fd, uint64_t length) {
        FsdaxFacts facts = fsdax_facts(piece->state);
        Fsdax *fsdax = piece->state;
        int r;

        /* Nothing is cut out of what has holders, so it lies as the file system likes. */
        r = fsdax_extents_allocate(fd, piece->length, length, false, facts.skew);
        fsdax_hold_return(piece, piece->length, false);
        if (r >= 0 && fsdax->sync == SYNC_DAX)
                r = fsdax_file_zero(fd, piece->length, length, fsdax->throttle, NULL, &fsdax->stopping);
        if (r >= 0 && fsync(fd) < 0)
                r = -errno;
        if (r < 0 && cut(piece, fd, piece->length, piece->length, FSDAX_PATIENCE_USEC) < 0)
                piece->measured = false;
        return r;
}

static int shrink(Piece *piece, int fd, uint64_t length) {
        int r;

        r = cut(piece, fd, length, length, FSDAX_PATIENCE_USEC);
        return r >= 0 && fsync(fd) < 0 ? -errno : r;
}

static int fsdax_resize(Piece *piece, uint64_t length, Failure *failure) {
        _cleanup_own_file_ OwnFile file = OWN_FILE_NONE;
        int r;

        r = own_file_open(piece, &file, failure);
        if (r >= 0)
                r = settle_length(piece, file.fd, failure);
        if (r < 0)
                return r;

        /* holders can keep it locked, so nothing else may be meanwhile */
        if (length > piece->length) {
                bool locked = fsdax_holds_lock(piece, file.dir_fd, length - piece->length);

                fsdax_hold_expect(piece, piece->length);
                fsdax_holds_unlock(piece->state, locked);
        }
        r = length > piece->length ? grow(piece, file.fd, length) : shrink(piece, file.fd, length);
        if (r < 0)
                return refuse_errno(piece, r, "cannot change its length", failure);

        fsdax_measure(piece->state, file.dir_fd);
        return 0;
}

/* ---- What the directory holds ---- */

static int inventory_append(Inventory *inventory, Find **ret) {
        Find *finds;

        finds = reallocarray(inventory->finds, inventory->n_finds + 1, sizeof(*finds));
        if (!finds)
                return -ENOMEM;

        inventory->finds = finds;
        finds[inventory->n_finds] = (Find){ 0 };
        *ret = &finds[inventory->n_finds++];
        return 0;
}

static int inventory_add(Inventory *inventory, const char *id, uint64_t length, Find **ret) {
        Find *find;
        int r;

        r = inventory_append(inventory, &find);
        if (r < 0)
                return r;
        (void) snprintf(find->id, sizeof(find->id), "%.16s", id);
        find->length = length;
        find->handle = strdup(id);
        if (!find->handle)
                return -ENOMEM;

        *ret = find;
        return 0;
}

/* What somebody has put into one is a find. */
static int list_leftover(Fsdax *fsdax, int dir_fd, const char *name, uid_t owner, Inventory *inventory) {
        uint64_t room;
        Find *find;
        int r;

        r = fsdax_leftover_sweep(dir_fd, name, &room);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        fsdax_leftover_add(fsdax, name, room > 0);
        if (room == 0)
                return 0;

        r = inventory_add(inventory, name, room, &find);
        if (r < 0)
                return r;
        find->rest = true;
        find->owner = owner;
        return 0;
}

/* One entry. -EUCLEAN: it is nothing of ours. */
static int list_file(Fsdax *fsdax, int dir_fd, const char *name, Inventory *inventory) {
        _cleanup_free_ char *record = NULL;
        _cleanup_close_ int fd = -EBADF;
        const char *problem = NULL;
        struct stat st;
        uid_t owner;
        Find *find;
        int r;

        if (!is_id(name))
                return -EUCLEAN;
        r = fsdax_file_open(dir_fd, name, true, &fd);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0)
                return -errno;
        /* with two names here, nobody could tell whose it is */
        for (size_t i = 0; i < inventory->n_finds && st.st_nlink > 1; i++) {
                struct stat other;

                if (fstatat(dir_fd, inventory->finds[i].id, &other, AT_SYMLINK_NOFOLLOW) >= 0 && other.st_ino == st.st_ino)
                        return -EUCLEAN;
        }

        r = fsdax_file_read_record(fd, &record, &problem);
        if (r == -ENOMEM)
                return r;
        if (r == -ENODATA && (st.st_size == 0 || fsdax_leftover_is(fd))) {
                owner = fsdax_leftover_owner(fd);
                fd = safe_close(fd); /* we would not be alone with it */
                return list_leftover(fsdax, dir_fd, name, owner, inventory);
        }
        if (r < 0 && !problem)
                problem = r == -ENODATA ? "the file has no record" : strerror(-r);

        r = inventory_add(inventory, name, (uint64_t) st.st_size, &find);
        if (r < 0)
                return r;
        find->record = TAKE_PTR(record);
        find->problem = problem ? strdup(problem) : NULL;
        return problem && !find->problem ? -ENOMEM : 0;
}

static int fsdax_replenish(Region *region, Failure *failure) {
        _cleanup_close_ int dir_fd = -EBADF;
        Fsdax *fsdax = region->state;
        bool changed, holds_changed, stray;

        if (!fsdax)
                return 0;
        changed = atomic_exchange(&fsdax->leftovers_changed, false);
        holds_changed = atomic_exchange(&fsdax->holds_changed, false);
        stray = fsdax->sole && atomic_exchange(&fsdax->holds_stray, false);
        fsdax->read_only = false;
        /* that it is not there is for whoever lists it to say */
        if (fsdax_directory_open(fsdax, &dir_fd, failure) < 0)
                return 0;

        if (fsdax_directory_is_read_only(dir_fd))
                return failure_set(failure, REFUSAL_RegionUnusable, FSDAX_READ_ONLY, fsdax->path);
        if (changed)
                fsdax_leftovers_sweep(fsdax, dir_fd);
        if (stray)
                fsdax_holds_remove_strays(fsdax, dir_fd);
        if (holds_changed || fsdax_holds_lack(fsdax))
                fsdax_holds_settle(fsdax, dir_fd);
        fsdax_measure(fsdax, dir_fd);
        return 0;
}

/* What file systems make themselves, and what people hide. */
static bool is_usual(const char *name) {
        return name[0] == '.' || strcmp(name, "lost+found") == 0;
}

static int list_entries(Fsdax *fsdax, int dir_fd, Inventory *inventory) {
        _cleanup_closedir_ DIR *dir = NULL;
        char stranger[NAME_MAX + 1] = "";
        struct dirent *entry;
        unsigned n = 0;
        int r;

        r = directory_read(dir_fd, &dir);
        if (r < 0)
                return r;

        while ((errno = 0, entry = readdir(dir))) {
                if (fsdax_hold_is(fsdax, entry->d_name))
                        continue;
                r = list_file(fsdax, dir_fd, entry->d_name, inventory);
                if (r == -ENOMEM || r == -EMFILE || r == -ENFILE)
                        return r;
                if (r < 0 && r != -EUCLEAN) { /* which is no reason to keep everybody from the others */
                        log_warning("%s/%s cannot be read, and is left alone: %s", fsdax->path, entry->d_name, strerror(-r));
                        continue;
                }
                if (r < 0 && !is_usual(entry->d_name) && n++ == 0)
                        (void) snprintf(stranger, sizeof(stranger), "%s", entry->d_name);
        }
        if (errno > 0)
                return -errno;

        if (n != fsdax->n_strangers && n > 0)
                log_notice("%s holds %u things that are nothing of ours, such as '%s'; they are left alone", fsdax->path, n,
                           stranger);
        fsdax->n_strangers = n;
        return 0;
}

static int fsdax_list(Region *region, Inventory *ret, Failure *failure) {
        _cleanup_close_ int dir_fd = -EBADF;
        Fsdax *fsdax = region->state;
        Inventory inventory = { 0 };
        FsdaxFacts facts;
        int r;

        if (!fsdax)
                return failure_set(failure, REFUSAL_RegionUnusable, "%s",
                                   region->reason ? region->reason : "it is not configured");
        r = fsdax_directory_look(fsdax, &facts, &dir_fd, failure);
        if (r < 0)
                return r;
        r = fsdax->watch ? fsdax_watch_directory(fsdax->watch, fsdax->path) : 0;
        if (r < 0)
                log_warning("cannot watch %s: %s; what holders do to lengths is seen when it is opened", fsdax->path,
                            strerror(-r));
        r = list_entries(fsdax, dir_fd, &inventory);
        if (r < 0) {
                inventory_done(&inventory);
                return failure_set_errno(failure, r, "cannot read %s", fsdax->path);
        }

        fsdax_holds_look(fsdax, dir_fd);
        pthread_mutex_lock(&fsdax->mutex);
        fsdax->facts = facts;
        fsdax->sole = false; /* the next probe sees to that */
        fsdax_holds_measured(fsdax);
        pthread_mutex_unlock(&fsdax->mutex);
        inventory.size = facts.total;
        *ret = inventory;
        return 0;
}

static void fsdax_hurry(Region *region) {
        Fsdax *fsdax = region->state;

        if (fsdax)
                fsdax->stopping = true;
}

/* The room of grants that have ended is not kept for the next broker. */
static void fsdax_rest(Region *region) {
        _cleanup_close_ int dir_fd = -EBADF;
        Fsdax *fsdax = region->state;
        Failure ignored;

        if (fsdax && atomic_exchange(&fsdax->holds_changed, false) && fsdax_directory_open(fsdax, &dir_fd, &ignored) >= 0)
                fsdax_holds_cut(fsdax, dir_fd);
}

const Provider provider_fsdax = {
        .name = "fsdax",
        .isolation = "file",
        .persistent = true,
        .grants = true,
        .probe = fsdax_probe,
        .plan = fsdax_plan,
        .fits = fsdax_fits,
        .reserve = fsdax_reserve,
        .claim = fsdax_claim,
        .release = fsdax_release,
        .hold = fsdax_hold,
        .hold_again = fsdax_hold_again,
        .hold_largest = fsdax_hold_largest,
        .hold_resize = fsdax_hold_resize,
        .hold_end = fsdax_hold_end,
        .forget = fsdax_forget,
        .is_low = fsdax_is_low,
        .is_stale = fsdax_is_stale,
        .replenished = fsdax_replenished,
        .watch = fsdax_watch,
        .hold_make = fsdax_hold_make,
        .carve = fsdax_carve,
        .open = fsdax_open,
        .revoke = fsdax_revoke,
        .inspect = fsdax_inspect,
        .recover = fsdax_recover,
        .replenish = fsdax_replenish,
        .write_record = fsdax_write_record,
        .list = fsdax_list,
        .resize = fsdax_resize,
        .hurry = fsdax_hurry,
        .rest = fsdax_rest,
};
