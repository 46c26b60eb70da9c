/* SPDX-License-Identifier: MIT */

/* A file system that fails when a test wants it to: what the linker puts in place of the functions that it fails in. */

#include "fsdax-faults.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "fsdax.h"

unsigned n_full;
off_t limit = INT64_MAX;
unsigned n_calls;
uint64_t available = UINT64_MAX;
void (*meanwhile)(void);
unsigned n_none;
unsigned n_stuck;
void (*after_cut)(void);
unsigned n_looks;

int __real_fallocate64(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length);

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length) {
        void (*other)(void) = meanwhile;

        n_calls++;
        meanwhile = NULL;
        if (other)
                other();
        if (n_full == 0 && offset + length <= limit) {
                if (available < UINT64_MAX)
                        available -= MIN(available, (uint64_t) length);
                return __real_fallocate64(fd, mode, offset, length);
        }
        if (n_full > 0)
                n_full--;
        errno = ENOSPC;
        return -1;
}

int __real_fstatvfs64(int fd, struct statvfs *vfs);
int __wrap_fstatvfs64(int fd, struct statvfs *vfs);

int __wrap_fstatvfs64(int fd, struct statvfs *vfs) {
        int r = __real_fstatvfs64(fd, vfs);

        if (available < UINT64_MAX)
                vfs->f_bavail = available / vfs->f_frsize;
        return r;
}

int __real_fsdax_file_make(int dir_fd, int *ret_fd);
int __wrap_fsdax_file_make(int dir_fd, int *ret_fd);

int __wrap_fsdax_file_make(int dir_fd, int *ret_fd) {
        if (n_none == 0)
                return __real_fsdax_file_make(dir_fd, ret_fd);
        n_none--;
        return -ENOSPC;
}

int __real_fsdax_file_truncate(int fd, uint64_t length, uint64_t patience);
int __wrap_fsdax_file_truncate(int fd, uint64_t length, uint64_t patience);

int __wrap_fsdax_file_truncate(int fd, uint64_t length, uint64_t patience) {
        void (*other)(void) = after_cut;
        int r;

        if (n_stuck > 0) {
                n_stuck--;
                return -EBUSY;
        }
        after_cut = NULL;
        r = __real_fsdax_file_truncate(fd, length, patience);
        if (other)
                other();
        return r;
}

int __real_fstatat64(int dir_fd, const char *name, struct stat *st, int flags);
int __wrap_fstatat64(int dir_fd, const char *name, struct stat *st, int flags);

int __wrap_fstatat64(int dir_fd, const char *name, struct stat *st, int flags) {
        n_looks++;
        return __real_fstatat64(dir_fd, name, st, flags);
}
