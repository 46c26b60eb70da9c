/* SPDX-License-Identifier: MIT */

/* Reserved memory that the kernel shows as a dynamic dax region: HBM, CXL, or whatever firmware has set aside. Each
 * allocation is a kernel device /dev/daxX.Y of its own, made for it and deleted after it, so that the kernel itself keeps
 * its holders within its bounds.
 *
 * Where a device lies is decided here and not by the kernel: it would take the first gap, which knows nothing of
 * alignment, nor of what has been zeroed. Each range is written exactly (`mapping`), and recorded before.
 *
 * What the kernel does not promise, and what is done about it:
 *  - It zeroes nothing. Ranges that are not known to be full of zeros are zeroed before they are handed out.
 *  - A device that is bound a second time revives old descriptors and mappings. Devices are bound once and then deleted;
 *    daxX.0, which cannot be deleted, is never used.
 *  - A reference to a page (by io_uring, vmsplice, a direct read) outlives mapping, descriptor, device and all, and then
 *    reaches the next holder's bytes. So memory is not taken from its holders: they let go of it, which the node tells, and
 *    then somebody has to know that nothing refers to it any more: a witness. Without one the device stays as it is, bound,
 *    and only the user who had it may have it again. (Recycle=any is an admin's word that all users are one.)
 *  - Others may carve from the same region: devices that are not ours are left alone, and their ranges taken for taken.
 *
 * Descriptors of a node are copies of two open files, one for reading only, because it is the end of those that tells that
 * all holders have let go (node-watch.c). */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "devdax-handle.h"
#include "devdax.h"
#include "log.h"
#include "size.h"

/* How long a stopping broker may take to undo what nobody has; the rest is the next one's. */
#define REST_USEC (2 * UINT64_C(1000000))

/* ---- Carving ---- */

/* Before the first device is made: the note about what an earlier broker has left would be gone with it. */
static int devdax_put_in_order(Devdax *devdax) {
        int r = 0;

        pthread_mutex_lock(&devdax->order_mutex);
        if (!devdax->put_in_order) {
                r = seed_pool_recover(devdax->seeds);
                devdax->put_in_order = r >= 0;
        }
        pthread_mutex_unlock(&devdax->order_mutex);
        return r;
}

static int devdax_prepare(Piece *piece, Failure *failure) {
        Devdax *devdax = piece->state;
        Range ranges[PIECE_RANGES_MAX];
        char device[DAX_NAME_MAX];
        int r;

        r = devdax_put_in_order(devdax);
        if (r >= 0)
                r = seed_pool_take(devdax->seeds, device);
        if (r == -ETIMEDOUT || r == -EACCES)
                return failure_set(failure, REFUSAL_Failed,
                                   "udev does not hand new devices over to us: is its rule for daxbroker installed?");
        if (r < 0)
                return failure_set_errno(failure, r, "cannot make a device");

        for (unsigned i = 0; i < piece->n_ranges; i++)
                ranges[i] = devdax_range(piece, i);
        free(piece->handle); /* of what was made ahead, and has gone since */
        piece->handle = NULL;
        r = devdax_handle_format(device, ranges, piece->n_ranges, &piece->handle);
        if (r < 0) {
                seed_pool_return(devdax->seeds, device);
                return failure_set_errno(failure, r, "cannot name the device");
        }

        (void) snprintf(piece->device, sizeof(piece->device), "%s", device);
        return 0;
}

static void devdax_prepared(Piece *piece, bool recorded) {
        Devdax *devdax = piece->state;
        int r;

        if (!recorded) {
                seed_pool_return(devdax->seeds, piece->device);
                free(piece->handle);
                piece->handle = NULL;
                return;
        }

        r = seed_pool_taken(devdax->seeds, piece->device);
        if (r < 0)
                log_warning("cannot note that %s is in use: %s", piece->device, strerror(-r));
}

/* Looks at the device of a piece that was complete. -ENOENT: it is gone, whatever has its name now; -EUCLEAN: somebody has
 * changed it. */
static int devdax_inspect(const Piece *piece, DaxDevice *ret) {
        const Devdax *devdax = piece->state;
        DaxDevice device;
        int r;

        r = dax_inspect(devdax->path, piece->device, &device);
        if (r < 0)
                return r;
        if (!devdax_is_of(&device, piece))
                return devdax_is_elsewhere(&device, piece) ? -ENOENT : -EUCLEAN;

        *ret = device;
        return 0;
}

/* Opens the device of a piece that was complete. It is looked at after that, because what has its name can only change from
 * ours to another. */
static int devdax_open_own(const Piece *piece, bool read_only, int *ret_fd) {
        const Devdax *devdax = piece->state;
        _cleanup_close_ int fd = -EBADF;
        DaxDevice device;
        int r;

        r = dax_open(devdax->path, piece->device, read_only, &fd);
        if (r >= 0)
                r = devdax_inspect(piece, &device);
        if (r < 0)
                return r;
        if (!device.ranges_known)
                return -EUCLEAN;

        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* Whether what has its name by now is another device, maybe one that is just being made. As long as we have it open, no other
 * can have its number. */
static bool devdax_is_another(const Piece *piece, const DaxDevice *device) {
        struct stat st;

        return piece->fd >= 0 && fstat(piece->fd, &st) >= 0 && S_ISCHR(st.st_mode) && st.st_rdev != device->node;
}

static int devdax_destroy(Piece *piece, Failure *failure) {
        const Devdax *devdax = piece->state;
        const char *name = piece->device;
        DaxDevice device;
        bool is_another;
        int r;

        r = dax_inspect(devdax->path, name, &device);
        is_another = r >= 0 && devdax_is_another(piece, &device);
        piece_close(piece);
        if (!is_another)
                (void) dax_unclaim(name);
        if (is_another || r == -ENOENT) {
                piece->clean = false; /* if it was not us, others may have had its memory since */
                return 0;
        }
        if (r < 0)
                return failure_set_errno(failure, r, "cannot look at %s", name);
        if (!devdax_begins_as(&device, piece)) {
                log_warning("%s is not ours any more: somebody has made another one of this name", name);
                piece->clean = false;
                return 0;
        }

        r = dax_unbind(devdax->path, name);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot unbind %s and free its memory", name);
        r = dax_delete(devdax->path, name);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot delete %s", name);
        return 0;
}

static int devdax_revoke(Piece *piece, Failure *failure) {
        const Devdax *devdax = piece->state;
        int r;

        r = devdax_destroy(piece, failure);
        if (r >= 0)
                seed_pool_undone(devdax->seeds, piece->device);
        return r;
}

static int devdax_open_files(Piece *piece, const char *name, Failure *failure) {
        const Devdax *devdax = piece->state;
        int r;

        r = dax_open(devdax->path, name, false, &piece->fd);
        if (r >= 0)
                r = dax_open(devdax->path, name, true, &piece->fd_read_only);
        return r < 0 ? failure_set_errno(failure, r, "cannot open /dev/%s", name) : 0;
}

static int devdax_make_device(Piece *piece, const char *name, Failure *failure) {
        const Devdax *devdax = piece->state;
        Range ranges[PIECE_RANGES_MAX];
        DaxDevice device;
        int r = 0;

        if (piece->page_size != devdax->alignment)
                r = dax_align(devdax->path, name, piece->page_size);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot give %s pages of %s", name, SIZE_TEXT(piece->page_size));

        for (unsigned i = 0; i < piece->n_ranges; i++)
                ranges[i] = devdax_range(piece, i);
        r = dax_add_ranges(devdax->path, name, ranges, piece->n_ranges);
        if (r == -EADDRINUSE) {
                piece->foreign = true;
                return failure_set(failure, REFUSAL_NoSpace,
                                   "somebody else has just taken memory of this region; try again");
        }
        if (r < 0)
                return failure_set_errno(failure, r, "cannot give %s its memory", name);

        r = dax_bind(devdax->path, name, piece->length);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot bind %s", name);
        r = dax_inspect(devdax->path, name, &device);
        if (r >= 0 && (device.driver != DAX_DRIVER_DEVICE || !devdax_is_of(&device, piece) ||
                       device.alignment != piece->page_size))
                r = -EUCLEAN;
        return r < 0 ? failure_set_errno(failure, r, "%s is not what was made of it", name) : 0;
}

/* Makes it of a device that is on record. */
static int devdax_build(Piece *piece, const atomic_bool *stop, Failure *failure) {
        Devdax *devdax = piece->state;
        const char *name = piece->device;
        Failure undo;
        int r;

        r = devdax_make_device(piece, name, failure);
        if (r >= 0) {
                r = dax_unclaim(name);
                if (r < 0)
                        (void) failure_set_errno(failure, r, "cannot take back the claim on %s", name);
        }
        if (r >= 0)
                r = devdax_open_files(piece, name, failure);
        if (r >= 0) {
                recycling_teach(&devdax->recycling, piece, devdax_range(piece, 0));
                if (!piece->clean || devdax->recycling.clean != CLEAN_ON_FREE)
                        r = stop ? recycling_zero_unless(&devdax->recycling, piece, piece->fd, stop, failure)
                                 : recycling_zero(&devdax->recycling, piece, piece->fd, failure);
        }
        if (r < 0 && devdax_revoke(piece, &undo) < 0) {
                piece->stuck = true;
                log_warning("carving failed (%s), and could not be undone: %s", failure->text, undo.text);
        } else if (r == -EBUSY || r == -EUCLEAN) {
                /* an admin's claim has bound it before it was complete, or he has taken it for his own: try another one */
                log_notice("%s was in somebody else's hands while it was made: %s", name, failure->text);
                free(piece->handle);
                piece->handle = NULL;
                return -EAGAIN;
        }
        if (r >= 0)
                piece->made = now_usec();
        return r;
}

static int devdax_carve(Piece *piece, const char *id, Failure *failure) {
        int r;

        (void) id;
        r = devdax_build(piece, NULL, failure);
        if (r >= 0)
                piece->clean = false; /* from the moment somebody has it, nobody knows what is in it */
        return r;
}

/* Instead of a record there is a note. The next broker undoes what that says. */
static int devdax_carve_ahead(Piece *piece, const char *id, const atomic_bool *stop, Failure *failure) {
        const Devdax *devdax = piece->state;
        int r;

        (void) id;
        if (atomic_load(stop))
                return -ECANCELED;

        r = devdax_prepare(piece, failure);
        if (r < 0)
                return r;
        r = piece->n_ranges == 1 ? seed_pool_keep(devdax->seeds, piece->device, devdax_range(piece, 0)) : -EINVAL;
        if (r < 0) {
                devdax_prepared(piece, false);
                return failure_set_errno(failure, r, "cannot note that a device is made");
        }

        r = devdax_build(piece, stop, failure);
        return r == -EAGAIN ? failure_set(failure, REFUSAL_NoSpace, "somebody else works on devices of this region") : r;
}

static int devdax_reuse(Piece *piece, Failure *failure) {
        Devdax *devdax = piece->state;
        int r;

        r = devdax_open_own(piece, false, &piece->fd);
        if (r >= 0)
                r = devdax_open_own(piece, true, &piece->fd_read_only);
        if (r < 0)
                (void) failure_set_errno(failure, r, "cannot open /dev/%s again", piece->device);
        if (r >= 0 && (!piece->clean || devdax->recycling.clean != CLEAN_ON_FREE))
                r = recycling_zero(&devdax->recycling, piece, piece->fd, failure);
        if (r >= 0)
                piece->clean = false;
        /* it is not offered again */
        if (r == -ENOENT || r == -ENXIO || r == -EUCLEAN || r == -EFAULT)
                piece->stuck = true;
        return r;
}

static int devdax_look(const Piece *piece, Failure *failure) {
        DaxDevice device;
        int r;

        r = devdax_inspect(piece, &device);
        if (r == -ENOENT)
                (void) failure_set(failure, REFUSAL_Failed,
                                   "its device %s is gone, and what was in it: somebody has destroyed it, or its region "
                                   "went",
                                   piece->device);
        else if (r == -EUCLEAN)
                (void) failure_set(failure, REFUSAL_Failed,
                                   "its device %s is not as it was made: somebody else has changed it", piece->device);
        else if (r >= 0 && device.driver != DAX_DRIVER_DEVICE) {
                (void) failure_set(failure, REFUSAL_Failed, "its device %s cannot be used: somebody else has disabled it",
                                   piece->device);
                r = -EUCLEAN;
        }
        return r == -ENOENT || r == -EUCLEAN ? r : 0;
}

static int devdax_judge(Piece *piece, Failure *failure) {
        Devdax *devdax = piece->state;
        Range ranges[PIECE_RANGES_MAX];
        DaxDevice device;
        int r;

        r = devdax_inspect(piece, &device);
        if (r >= 0 && device.driver != DAX_DRIVER_DEVICE)
                piece->disturbed = true;
        for (unsigned i = 0; i < piece->n_ranges; i++)
                ranges[i] = devdax_range(piece, i);
        return recycling_judge(&devdax->recycling, piece, ranges, piece->n_ranges, r == -ENOENT, failure);
}

static int devdax_clean(Piece *piece, Failure *failure) {
        Devdax *devdax = piece->state;
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (piece->clean || devdax->recycling.clean == CLEAN_ON_ALLOC)
                return 0;

        r = devdax_open_own(piece, false, &fd);
        if (r == -ENOENT) /* there is nothing to do it with */
                return 0;
        if (r < 0)
                return failure_set_errno(failure, r, "cannot open /dev/%s", piece->device);

        return recycling_zero(&devdax->recycling, piece, fd, failure);
}

static int devdax_node(const Piece *piece, char *ret, size_t size) {
        DaxDevice device;

        if (devdax_inspect(piece, &device) == -ENOENT)
                return -ENOENT;
        return snprintf(ret, size, "/dev/%s", piece->device) < (int) size ? 0 : -ENAMETOOLONG;
}

static int devdax_recover(Piece *piece, int stored_fds[static 2], Failure *failure) {
        const Devdax *devdax = piece->state;
        const char *name = piece->device;
        DaxDevice device;
        struct stat st;
        int r;

        r = dax_inspect(devdax->path, name, &device);
        if (r == -ENOENT || (r >= 0 && device.size > 0 && devdax_is_elsewhere(&device, piece))) {
                (void) failure_set(failure, REFUSAL_Failed, "%s is no longer there", name);
                return -ESTALE;
        }
        if (r < 0)
                return failure_set_errno(failure, r, "cannot look at %s", name);
        if (device.driver != DAX_DRIVER_DEVICE || !devdax_is_of(&device, piece)) {
                (void) failure_set(failure, REFUSAL_Failed, "%s is not as it was left: somebody else has changed it", name);
                return -EUCLEAN;
        }

        for (unsigned i = 0; i < 2; i++)
                if (stored_fds[i] < 0 || fstat(stored_fds[i], &st) < 0 || !S_ISCHR(st.st_mode) ||
                    st.st_rdev != device.node) {
                        (void) failure_set(failure, REFUSAL_Failed,
                                           "the broker has no descriptor of %s any more; its holders have", name);
                        return -ENOENT;
                }

        piece->fd = TAKE_FD(stored_fds[0]);
        piece->fd_read_only = TAKE_FD(stored_fds[1]);
        return 0;
}

static int devdax_replenish(Region *region, Failure *failure) {
        Devdax *devdax = region->state;
        int r;

        if (!devdax) /* it has gone meanwhile */
                return 0;

        r = devdax_put_in_order(devdax);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot put in order what an earlier broker has left");
        r = seed_pool_fill(devdax->seeds);
        if (r == -ETIMEDOUT || r == -EACCES)
                return failure_set(failure, REFUSAL_RegionUnusable,
                                   "udev does not hand new devices over to us: is its rule for daxbroker installed?");
        return r < 0 && r != -ENOSPC ? failure_set_errno(failure, r, "cannot make devices ahead") : 0;
}

static void devdax_hurry(Region *region) {
        Devdax *devdax = region->state;

        if (devdax)
                devdax->recycling.stopping = true;
}

static void devdax_rest(Region *region) {
        Devdax *devdax = region->state;

        if (devdax)
                seed_pool_drain(devdax->seeds, now_usec() + REST_USEC);
}

const Provider provider_devdax = {
        .name = "devdax",
        .isolation = "device",
        .discovered = true,
        .stores_fd = true,
        .grants = true,
        .drains = true,
        .takes_locks = true,
        .probe = devdax_probe,
        .plan = devdax_plan,
        .fits = devdax_fits,
        .crowded = devdax_crowded,
        .reserve = devdax_reserve,
        .claim = devdax_claim,
        .claim_anew = devdax_claim_anew,
        .release = devdax_release,
        .hand_out = devdax_hand_out,
        .hold = devdax_hold,
        .hold_again = devdax_hold_again,
        .hold_largest = devdax_hold_largest,
        .hold_end = devdax_hold_end,
        .misses = devdax_misses,
        .wants_lesson = devdax_wants_lesson,
        .is_low = devdax_is_low,
        .forget = devdax_forget,
        .prepare = devdax_prepare,
        .prepared = devdax_prepared,
        .carve = devdax_carve,
        .carve_ahead = devdax_carve_ahead,
        .reuse = devdax_reuse,
        .open = piece_copy_fd,
        .look = devdax_look,
        .judge = devdax_judge,
        .clean = devdax_clean,
        .revoke = devdax_revoke,
        .node = devdax_node,
        .recover = devdax_recover,
        .replenish = devdax_replenish,
        .replenished = devdax_replenished,
        .hurry = devdax_hurry,
        .rest = devdax_rest,
};
