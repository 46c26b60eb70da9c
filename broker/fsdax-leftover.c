/* SPDX-License-Identifier: MIT */

/* What is left of a file that was revoked, when somebody still has a descriptor with which he could put new room into it.
 * Without a name it would be out of sight, and take room that is nobody's. So it keeps one, as an empty file without a
 * record, is emptied again whenever it is not, and goes when nobody can write to it any more: which is when the kernel
 * grants us a lease for reading. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "fsdax.h"
#include "log.h"
#include "name.h"

#define PREFIX ".gone-"

bool fsdax_is_leftover(const char *name) {
        return strncmp(name, PREFIX, strlen(PREFIX)) == 0 && is_id(name + strlen(PREFIX));
}

/* Whether there is another descriptor for writing anywhere, or a mapping made of one. Where the file system has no leases,
 * nobody can tell, and it is as if there were none. */
static bool has_writers(int dir_fd, const char *name) {
        _cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

        if (fd < 0) /* if it is only we who cannot look, it had better stay in sight */
                return errno != ENOENT;
        /* if somebody opens it in this moment, we are told by a signal that does nothing */
        if (fcntl(fd, F_SETSIG, SIGURG) < 0 || fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
                return errno == EAGAIN;
        (void) fcntl(fd, F_SETLEASE, F_UNLCK);
        return false;
}

int fsdax_leftover_drop(int dir_fd, const char *name, int *fd) {
        char gone[sizeof(PREFIX) + 16];
        int r;

        r = fsdax_file_remove_record(*fd);
        if (r < 0 && r != -ENODATA)
                return r;
        *fd = safe_close(*fd); /* which is one for writing, too */
        if (!has_writers(dir_fd, name))
                return fsdax_file_unlink(dir_fd, name);

        (void) snprintf(gone, sizeof(gone), PREFIX "%.16s", name);
        if (renameat(dir_fd, name, dir_fd, gone) < 0)
                return -errno;
        return fsync(dir_fd) < 0 ? -errno : 0;
}

/* For one of them. Who keeps one waiting may keep many. */
#define PATIENCE_USEC (UINT64_C(100) * 1000)

static int leftover_empty(int dir_fd, const char *name, uint64_t deadline) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        int r;

        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
                return -EUCLEAN;
        if (st.st_size == 0 && st.st_blocks == 0)
                return 0;
        if (now_usec() >= deadline)
                return -EBUSY;

        fd = openat(dir_fd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = fsdax_file_truncate(fd, 0, PATIENCE_USEC);
        if (r >= 0)
                log_warning("%s: somebody had put something into what is left of an allocation that has ended: it is emptied",
                            name);
        return r;
}

int fsdax_leftover_sweep(int dir_fd, const char *name, uint64_t deadline) {
        int r;

        r = leftover_empty(dir_fd, name, deadline);
        if (r >= 0 && !has_writers(dir_fd, name))
                r = fsdax_file_unlink(dir_fd, name);
        if (r < 0 && r != -ENOENT && r != -EBUSY)
                log_warning("%s is in the way and cannot be removed: %s", name, strerror(-r));
        return r;
}
