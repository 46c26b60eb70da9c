/* SPDX-License-Identifier: MIT */

/* Leases survive the broker because they are FIFOs with a name: the holders keep their ends, and the next broker opens
 * the same FIFO again. A reader that was opened after the last writer had gone would wait for ever; so after a restart the
 * writing end is opened once and closed again, and if nobody else has it, that hangs up.
 *
 * The FIFO belongs to the broker's user and nobody else may open it. Holders can write into it; nobody reads that. */

#include "lease.h"

#include <errno.h>
#include <fcntl.h>
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
        *lease = (Lease){ .dir_fd = dir_fd, .reader = -EBADF };
        (void) snprintf(lease->id, sizeof(lease->id), "%s", id);
}

int lease_make(Lease *lease, int dir_fd, const char *id, int *ret_writer) {
        int r;

        lease_init(lease, dir_fd, id);
        if (mkfifoat(dir_fd, id, 0600) < 0) {
                lease->id[0] = '\0'; /* whatever is there is not ours to remove */
                return -errno;
        }

        lease->reader = lease_open_end(dir_fd, id, O_RDONLY);
        if (lease->reader < 0) {
                r = lease->reader;
                goto fail;
        }
        r = lease_open_end(dir_fd, id, O_WRONLY);
        if (r < 0)
                goto fail;

        *ret_writer = r;
        return 0;

fail:
        lease_end(lease);
        return r;
}

int lease_recover(Lease *lease, int dir_fd, const char *id) {
        _cleanup_close_ int reader = -EBADF, writer = -EBADF;
        struct stat st;

        lease_init(lease, dir_fd, id);
        reader = lease_open_end(dir_fd, id, O_RDONLY);
        if (reader < 0)
                return reader;
        if (fstat(reader, &st) < 0)
                return -errno;
        if (!S_ISFIFO(st.st_mode))
                return -EBADMSG;

        writer = lease_open_end(dir_fd, id, O_WRONLY);
        if (writer < 0)
                return writer;

        lease->reader = TAKE_FD(reader);
        return 0;
}

int lease_open_writer(const Lease *lease, int *ret_writer) {
        int fd;

        fd = lease_open_end(lease->dir_fd, lease->id, O_WRONLY);
        if (fd < 0)
                return fd;

        *ret_writer = fd;
        return 0;
}

int lease_watch(Lease *lease, LeaseWatch *watch, void (*lapsed)(Lease *lease)) {
        lease->lapsed = lapsed;
        return lease_watch_add(watch, lease);
}

void lease_close(Lease *lease) {
        if (lease->watch)
                lease_watch_remove(lease->watch, lease);
        lease->reader = safe_close(lease->reader);
}

void lease_end(Lease *lease) {
        lease_close(lease);
        if (lease->id[0] != '\0') {
                (void) unlinkat(lease->dir_fd, lease->id, 0);
                lease->id[0] = '\0';
        }
}
