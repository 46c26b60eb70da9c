/* SPDX-License-Identifier: MIT */

/* What is left of a file that was revoked, when somebody still has a descriptor with which he could put new room into it.
 * Without a name it would be out of sight, and take room that is nobody's. So it keeps one, as an empty file, and goes when
 * nobody can write to it any more: which is when the kernel grants us a lease for reading. Instead of its record it has a
 * note whose it was: as soon as there is something in it, it is an allocation of that user once more, which is listed,
 * charged, and ends again.
 *
 * The look at it never waits for who can write to it, who may keep it locked. That is for whoever ends it. */

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
#include "fsdax.h"
#include "log.h"
#include "name.h"
#include "record.h"

#define PREFIX ".gone-"
#define OWNER_ATTRIBUTE "user.daxbroker.owner"

bool fsdax_is_leftover(const char *name) {
        return strncmp(name, PREFIX, strlen(PREFIX)) == 0 && is_id(name + strlen(PREFIX));
}

const char *fsdax_leftover_id(const char *name) {
        return name + strlen(PREFIX);
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

/* Takes its record away, and notes whose it was instead. */
static int replace_record(int fd) {
        _cleanup_free_ char *text = NULL;
        const char *problem = "";
        Record record = { 0 };
        char owner[16] = "";
        struct stat st;
        int r;

        r = fsdax_file_read_record(fd, &text, &problem);
        if (r >= 0)
                r = record_parse(text, &record, &problem);
        if (r == -ENODATA) /* it has been replaced before */
                return 0;
        if (r >= 0)
                (void) snprintf(owner, sizeof(owner), "%" PRIu32, record.owner);
        record_done(&record);

        if (owner[0] != '\0' && fsetxattr(fd, OWNER_ATTRIBUTE, owner, strlen(owner), 0) < 0)
                log_warning("cannot note whose what is left of a file was: %s", strerror(errno));
        r = fsdax_file_remove_record(fd);
        /* if it takes room of its own, that would look as if somebody had taken it */
        if (r >= 0 && (fstat(fd, &st) < 0 || st.st_blocks > 0))
                (void) fremovexattr(fd, OWNER_ATTRIBUTE);
        return r;
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

int fsdax_leftover_drop(int dir_fd, const char *name, int *fd) {
        char gone[sizeof(PREFIX) + 16];
        int r;

        r = replace_record(*fd);
        if (r < 0)
                return r;
        *fd = safe_close(*fd); /* which is one for writing, too */
        if (!has_writers(dir_fd, name))
                return fsdax_file_unlink(dir_fd, name);
        if (fsdax_is_leftover(name))
                return 0;

        (void) snprintf(gone, sizeof(gone), PREFIX "%.16s", name);
        if (renameat(dir_fd, name, dir_fd, gone) < 0)
                return -errno;
        return fsync(dir_fd) < 0 ? -errno : 0;
}

uint64_t fsdax_leftover_room(const struct stat *st) {
        uint64_t room = (uint64_t) st->st_blocks * 512;

        if (st->st_size == 0 && room == 0)
                return 0;
        return room > FSDAX_PAGE ? room - room % FSDAX_PAGE : FSDAX_PAGE;
}

int fsdax_leftover_sweep(int dir_fd, const char *name) {
        struct stat st;
        int r;

        r = fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
        if (r >= 0 && (!S_ISREG(st.st_mode) || st.st_uid != geteuid()))
                r = -EUCLEAN;
        if (r >= 0 && fsdax_leftover_room(&st) > 0)
                return 1;
        if (r >= 0 && !has_writers(dir_fd, name))
                r = fsdax_file_unlink(dir_fd, name);
        if (r < 0 && r != -ENOENT)
                log_warning("%s is in the way and cannot be removed: %s", name, strerror(-r));
        return r;
}
