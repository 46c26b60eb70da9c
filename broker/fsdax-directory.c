/* SPDX-License-Identifier: MIT */

/* The directory that a region is: on a file system that an admin has made, mounted, and may unmount, and that others may use
 * as well. It is opened anew for everything that is done in it, so that the broker is never what keeps a file system from
 * being unmounted; and each time it has to be the one that was looked at, because the directory below a mount point has the
 * same path.
 *
 * Nobody else may be able to put anything into it: a file there says whose memory it is. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "file.h"
#include "fsdax.h"
#include "name.h"
#include "sandbox.h"

#ifndef STATX_ATTR_DAX
#define STATX_ATTR_DAX 0x00200000
#endif

#define SECTOR 512

static uint64_t file_system_id(const struct statfs *fs) {
        uint64_t id = 0;

        memcpy(&id, &fs->f_fsid, sizeof(fs->f_fsid) < sizeof(id) ? sizeof(fs->f_fsid) : sizeof(id));
        return id;
}

/* Opens whichever directory is there now, and says which one it is. */
static int directory_open(const char *path, int *ret_fd, struct stat *ret_st, struct statfs *ret_fs) {
        _cleanup_close_ int fd = -EBADF;

        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, ret_st) < 0 || fstatfs(fd, ret_fs) < 0)
                return -errno;

        *ret_fd = TAKE_FD(fd);
        return 0;
}

int fsdax_directory_open(Fsdax *fsdax, int *ret_fd, Failure *failure) {
        _cleanup_close_ int fd = -EBADF;
        FsdaxFacts facts = fsdax_facts(fsdax);
        struct statfs fs;
        struct stat st;
        int r;

        r = directory_open(fsdax->path, &fd, &st, &fs);
        if (r == -ENOENT || r == -ENOTDIR ||
            (r >= 0 && (!facts.known || st.st_dev != facts.device || st.st_ino != facts.inode ||
                        file_system_id(&fs) != facts.file_system))) {
                (void) failure_set(failure, REFUSAL_RegionUnusable,
                                   "%s is not the directory that it was: its file system is not mounted, or another one is",
                                   fsdax->path);
                return -ENODEV;
        }
        if (r < 0)
                return failure_set_errno(failure, r, "cannot open %s", fsdax->path);

        *ret_fd = TAKE_FD(fd);
        return 0;
}

int fsdax_directory_measure(int dir_fd, FsdaxFacts *facts) {
        struct statvfs vfs;

        if (fstatvfs(dir_fd, &vfs) < 0)
                return -errno;

        facts->measured = now_usec();
        /* what is reserved for root is not for us */
        facts->total = (uint64_t) vfs.f_frsize * (vfs.f_blocks - (vfs.f_bfree - vfs.f_bavail));
        facts->available = (uint64_t) vfs.f_frsize * vfs.f_bavail;
        return 0;
}

bool fsdax_directory_is_read_only(int dir_fd) {
        struct statvfs vfs;

        return fstatvfs(dir_fd, &vfs) >= 0 && (vfs.f_flag & ST_RDONLY);
}

void fsdax_measure(Fsdax *fsdax, int dir_fd) {
        FsdaxFacts facts = { 0 };

        if (fsdax_directory_measure(dir_fd, &facts) < 0)
                return;

        pthread_mutex_lock(&fsdax->mutex);
        fsdax->facts.measured = facts.measured;
        fsdax->facts.total = facts.total;
        fsdax->facts.available = facts.available;
        fsdax_holds_measured(fsdax);
        pthread_mutex_unlock(&fsdax->mutex);
}

/* ---- Looking at it ---- */

static int refuse(Failure *failure, const char *path, const char *why) {
        return failure_set(failure, REFUSAL_RegionUnusable, "Path=%s: %s", path, why);
}

static int look_at_owner(const Fsdax *fsdax, const struct stat *st, Failure *failure) {
        if (st->st_uid != geteuid())
                return refuse(failure, fsdax->path, "it does not belong to the broker; see \"chown daxbroker\"");
        if (st->st_mode & 022)
                return refuse(failure, fsdax->path, "others can put files into it; see \"chmod 0700\"");
        return 0;
}

/* A file of ours that is there, of a file system that has no room for another one. */
static int open_any_file(int dir_fd, int *ret_fd) {
        _cleanup_closedir_ DIR *dir = NULL;
        struct dirent *entry;
        int r;

        r = directory_read(dir_fd, &dir);
        if (r < 0)
                return r;

        while ((entry = readdir(dir)))
                if (fsdax_file_open(dir_fd, entry->d_name, true, ret_fd) >= 0 ||
                    fsdax_hold_file_open(dir_fd, entry->d_name, ret_fd) >= 0)
                        return 0;
        return -ENOSPC;
}

/* What new files are like is tried with one that nobody sees. */
static int look_at_files(const Fsdax *fsdax, int dir_fd, int *ret_fd, FsdaxFacts *facts, Failure *failure) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = fsdax_file_make(dir_fd, &fd);
        if (r == -EROFS)
                return failure_set(failure, REFUSAL_RegionUnusable, FSDAX_READ_ONLY, fsdax->path);
        if (r == -EOPNOTSUPP || r == -EISDIR || r == -EINVAL)
                return refuse(failure, fsdax->path, "its file system has no files without a name (O_TMPFILE)");
        if (r == -EACCES || r == -EPERM)
                return refuse(failure, fsdax->path,
                              "the broker may not write there: it has to be mounted below " SANDBOX_FILES ", or be listed "
                              "in ReadWritePaths= of the unit and there when the broker starts");
        if (r == -ENOSPC || r == -EDQUOT) {
                if (open_any_file(dir_fd, ret_fd) >= 0)
                        return 0;
                return refuse(failure, fsdax->path, "its file system has no room for a single file");
        }
        if (r < 0)
                return failure_set_errno(failure, r, "Path=%s: cannot make a file there", fsdax->path);

        r = fsdax_file_write_record(fd, "");
        if (r == -EOPNOTSUPP)
                return refuse(failure, fsdax->path, "its file system keeps no attributes of users (user_xattr)");
        if (r < 0 && r != -ENOSPC && r != -EDQUOT)
                return failure_set_errno(failure, r, "Path=%s: cannot give a file an attribute", fsdax->path);

        /* without DAX, not even mappings of what is immutable can be written to */
        facts->can_seal = fsdax->sync == SYNC_DAX && fsdax_file_seal(fd, true) >= 0 && fsdax_file_seal(fd, false) >= 0;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* Whether a mapping can be had whose stores need nothing but flushes: the kernel is asked for one, and touches nothing. */
static int look_at_sync(const Fsdax *fsdax, int fd, Failure *failure) {
        struct statx stx;
        void *mapping;

        if (fsdax->sync != SYNC_DAX)
                return 0;

        if (statx(fd, "", AT_EMPTY_PATH, 0, &stx) < 0 || !(stx.stx_attributes & STATX_ATTR_DAX))
                return refuse(failure, fsdax->path,
                              "files there are no DAX files: mount an ext4 or XFS file system of /dev/pmem* there, with "
                              "\"-o dax=always\"; or set Sync=none, for development, where power cuts may lose contents");

        mapping = mmap(NULL, 4096, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
        if (mapping == MAP_FAILED)
                return refuse(failure, fsdax->path,
                              "files there are DAX files that cannot be mapped with MAP_SYNC: the device is no persistent "
                              "memory, or does not say so; Sync=none does without");
        (void) munmap(mapping, 4096);
        return 0;
}

/* A number that sysfs has about the block device that the file system lies on. */
static int block_attribute(dev_t device, const char *name, uint64_t *ret) {
        char path[128];

        (void) snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(device), minor(device), name);
        return file_read_uint64(path, ret);
}

static void look_at_device(dev_t device, FsdaxFacts *facts) {
        uint64_t value;

        facts->numa_node = -1;
        if (block_attribute(device, "device/numa_node", &value) >= 0 ||
            block_attribute(device, "../device/numa_node", &value) >= 0)
                facts->numa_node = value <= 1023 ? (int) value : -1;
        /* a partition need not begin where a huge page does */
        if (block_attribute(device, "start", &value) >= 0)
                facts->skew = value * SECTOR % FSDAX_HUGE_PAGE;
}

int fsdax_directory_look(Fsdax *fsdax, FsdaxFacts *ret, int *ret_fd, Failure *failure) {
        _cleanup_close_ int dir_fd = -EBADF, fd = -EBADF;
        FsdaxFacts facts = { .known = true };
        struct statfs fs;
        struct stat st;
        int r;

        r = directory_open(fsdax->path, &dir_fd, &st, &fs);
        if (r == -ENOENT || r == -ENOTDIR)
                return refuse(failure, fsdax->path, "there is no such directory");
        if (r < 0)
                return failure_set_errno(failure, r, "Path=%s: cannot open it", fsdax->path);

        r = look_at_owner(fsdax, &st, failure);
        if (r >= 0)
                r = look_at_files(fsdax, dir_fd, &fd, &facts, failure);
        if (r >= 0)
                r = look_at_sync(fsdax, fd, failure);
        if (r < 0)
                return r;
        r = fsdax_directory_measure(dir_fd, &facts);
        if (r < 0)
                return failure_set_errno(failure, r, "Path=%s: cannot tell how much room there is", fsdax->path);

        facts.device = st.st_dev;
        facts.inode = st.st_ino;
        facts.file_system = file_system_id(&fs);
        look_at_device(st.st_dev, &facts);
        *ret = facts;
        *ret_fd = TAKE_FD(dir_fd);
        return 0;
}
