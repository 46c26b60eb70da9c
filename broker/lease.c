/* SPDX-License-Identifier: MIT */

/* Leases survive the broker because they are FIFOs with a name: the holders keep their ends, and the next broker opens
 * the same FIFO again.
 *
 * Holders have reading ends, and nobody ever writes. That is how it has to be: whoever copies something into a pipe, or out
 * of it, keeps it locked meanwhile, for as long as it takes to get the page that he copies from or to; and the broker would
 * wait for that lock as soon as it opened or closed its own end. Out of an empty pipe nothing can be copied. The FIFO
 * belongs to the broker's user, so nobody can open it to write. */

#include "lease.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "lease-watch.h"

static int lease_open_end(int dir_fd, const char *id, int flags) {
        int fd;

        fd = openat(dir_fd, id, flags | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY);
        return fd < 0 ? -errno : fd;
}

static void lease_init(Lease *lease, int dir_fd, const char *id) {
        *lease = (Lease){ .dir_fd = dir_fd, .ours = -EBADF };
        (void) snprintf(lease->id, sizeof(lease->id), "%s", id);
}

/* What has the size of a pipe is one. */
static int check_fifo(int fd) {
        return fcntl(fd, F_GETPIPE_SZ) < 0 ? -EBADMSG : 0;
}

/* Opens both ends; there has to be a holders' one before there can be ours. */
static int lease_open(Lease *lease, int *ret_holders) {
        _cleanup_close_ int holders = -EBADF, ours = -EBADF;
        int r;

        holders = lease_open_end(lease->dir_fd, lease->id, O_RDONLY);
        if (holders < 0)
                return holders;
        r = check_fifo(holders);
        if (r < 0)
                return r;

        ours = lease_open_end(lease->dir_fd, lease->id, O_WRONLY);
        if (ours < 0)
                return ours;

        lease->ours = TAKE_FD(ours);
        *ret_holders = TAKE_FD(holders);
        return 0;
}

int lease_make(Lease *lease, int dir_fd, const char *id, int *ret_holders) {
        int fd, r;

        lease_init(lease, dir_fd, id);
        if (mkfifoat(dir_fd, id, 0600) < 0) {
                lease->id[0] = '\0'; /* whatever is there is not ours to remove */
                return -errno;
        }

        r = lease_open(lease, &fd);
        if (r < 0) {
                lease_end(lease);
                return r;
        }

        *ret_holders = fd;
        return 0;
}

int lease_recover(Lease *lease, int dir_fd, const char *id) {
        _cleanup_close_ int ours = -EBADF;
        int fd, r;

        lease_init(lease, dir_fd, id);
        /* it can be opened like this if somebody holds it, as most do, of many that there may be */
        ours = lease_open_end(dir_fd, id, O_WRONLY);
        if (ours >= 0 && check_fifo(ours) >= 0) {
                lease->ours = TAKE_FD(ours);
                return 1;
        }

        r = lease_open(lease, &fd);
        if (r < 0)
                return r;

        safe_close(fd); /* if nobody else has one, that is its lapse */
        return lease_has_holders(lease);
}

int lease_open_holders(const Lease *lease, int *ret_holders) {
        int fd;

        fd = lease_open_end(lease->dir_fd, lease->id, O_RDONLY);
        if (fd < 0)
                return fd;

        *ret_holders = fd;
        return 0;
}

bool lease_has_holders(const Lease *lease) {
        struct pollfd now = { .fd = lease->ours };

        return lease->ours >= 0 && !(poll(&now, 1, 0) == 1 && (now.revents & POLLERR));
}

int lease_watch(Lease *lease, LeaseWatch *watch, void (*lapsed)(Lease *lease)) {
        lease->lapsed = lapsed;
        return lease_watch_add(watch, lease);
}

void lease_close(Lease *lease) {
        if (lease->watch)
                lease_watch_remove(lease->watch, lease);
        lease->ours = safe_close(lease->ours);
}

void lease_end(Lease *lease) {
        lease_close(lease);
        if (lease->id[0] != '\0') {
                (void) unlinkat(lease->dir_fd, lease->id, 0);
                lease->id[0] = '\0';
        }
}
