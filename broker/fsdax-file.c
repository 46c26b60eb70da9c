/* SPDX-License-Identifier: MIT */

/* The files that are the memory. A file is made without a name, and gets one when it is complete and has its record; so what
 * a crash leaves of one that was not complete is nothing. Records are attributes, which file systems replace in one step.
 *
 * Whatever is opened by name is looked at before it is used: names that are no ids, what is no regular file, and what does
 * not belong to us are somebody else's. */

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "fsdax.h"
#include "name.h"
#include "record.h"
#include "size.h"

#define RECORD_ATTRIBUTE "user.daxbroker.record"

#define OPEN_TRIES 100
#define OPEN_PAUSE_USEC 2000

/* Written at once; between two of them it is looked whether to go on. */
#define ZEROS_SIZE (2 * MIB)

int fsdax_file_make(int dir_fd, int *ret_fd) {
        int fd;

        fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;

        *ret_fd = fd;
        return 0;
}

/* Another thread of ours may have a lease of it, for the moment that it takes to see that it has it (fsdax-leftover.c). */
static int open_patiently(int dir_fd, const char *name, int flags) {
        int fd;

        for (unsigned i = 0;; i++) {
                fd = openat(dir_fd, name, flags);
                if (fd >= 0)
                        return fd;
                if (errno != EWOULDBLOCK || i == OPEN_TRIES)
                        return -errno;
                (void) usleep(OPEN_PAUSE_USEC);
        }
}

bool fsdax_file_may_be_ours(const struct stat *st) {
        return S_ISREG(st->st_mode) && st->st_uid == geteuid();
}

int fsdax_file_open_own(int dir_fd, const char *name, bool read_only, int *ret_fd) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        /* what cannot be a file of ours is not even opened, for that can have effects */
        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (!fsdax_file_may_be_ours(&st))
                return -EUCLEAN;

        fd = open_patiently(dir_fd, name, (read_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!fsdax_file_may_be_ours(&st))
                return -EUCLEAN;

        *ret_fd = TAKE_FD(fd);
        return 0;
}

int fsdax_file_open(int dir_fd, const char *name, bool read_only, int *ret_fd) {
        return name && is_id(name) ? fsdax_file_open_own(dir_fd, name, read_only, ret_fd) : -EINVAL;
}

int fsdax_file_link(int fd, int dir_fd, const char *name) {
        char path[64];

        if (!is_id(name))
                return -EINVAL;

        if (fsync(fd) < 0)
                return -errno;
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (linkat(AT_FDCWD, path, dir_fd, name, AT_SYMLINK_FOLLOW) < 0)
                return -errno;

        return fsync(dir_fd) < 0 ? -errno : 0;
}

int fsdax_file_unlink(int dir_fd, const char *name) {
        if (unlinkat(dir_fd, name, 0) < 0)
                return -errno;

        return fsync(dir_fd) < 0 ? -errno : 0;
}

/* Waiting for pages ends with a signal, after which nothing has happened. One that comes before the call is lost, so they
 * come again and again. */
static void on_alarm(int number) {
        (void) number;
}

static void alarm_install(void) {
        struct sigaction action = { .sa_handler = on_alarm };

        (void) sigaction(SIGALRM, &action, NULL);
}

static int alarm_set(uint64_t usec, timer_t *ret) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM };
        struct itimerspec time = {
                .it_value = { .tv_sec = (time_t) (usec / 1000000), .tv_nsec = (long) (usec % 1000000) * 1000 },
                .it_interval = { .tv_nsec = 100000000 },
        };

        (void) pthread_once(&once, alarm_install);
        event._sigev_un._tid = gettid();
        if (timer_create(CLOCK_MONOTONIC, &event, ret) < 0)
                return -errno;
        if (timer_settime(*ret, 0, &time, NULL) < 0) {
                int r = -errno;

                (void) timer_delete(*ret);
                return r;
        }
        return 0;
}

int fsdax_file_truncate(int fd, uint64_t length, uint64_t patience) {
        timer_t timer = { 0 };
        int r;

        if (patience > 0) {
                r = alarm_set(patience, &timer);
                if (r < 0)
                        return r;
        }

        do
                r = ftruncate(fd, (off_t) length) < 0 ? -errno : 0;
        while (r == -EINTR && patience == 0);

        if (patience > 0)
                (void) timer_delete(timer);
        return r == -EINTR ? -EBUSY : r;
}

int fsdax_file_zero(int fd, uint64_t start, uint64_t end, Throttle *throttle, _Atomic uint64_t *progress,
                    const atomic_bool *stop) {
        static const char zeros[ZEROS_SIZE];

        while (start < end) {
                size_t size = end - start < sizeof(zeros) ? (size_t) (end - start) : sizeof(zeros);
                ssize_t n;
                int r;

                r = stop && atomic_load(stop) ? -ECANCELED : throttle_wait(throttle, size, stop);
                if (r < 0)
                        return r;
                n = pwrite(fd, zeros, size, (off_t) start);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                start += (uint64_t) n;
                if (progress)
                        atomic_store(progress, start);
        }

        return 0;
}

/* ---- Records ---- */

int fsdax_file_read_record(int fd, char **ret, const char **ret_problem) {
        _cleanup_free_ char *text = NULL;
        ssize_t size;

        text = malloc(RECORD_SIZE_MAX + 1);
        if (!text)
                return -ENOMEM;

        size = fgetxattr(fd, RECORD_ATTRIBUTE, text, RECORD_SIZE_MAX);
        if (size < 0 && errno == ERANGE) {
                *ret_problem = "what should be its record is too long";
                return -EBADMSG;
        }
        if (size < 0)
                return -errno;
        text[size] = '\0';
        if (strlen(text) != (size_t) size) {
                *ret_problem = "what should be its record is not text";
                return -EBADMSG;
        }

        *ret = TAKE_PTR(text);
        return 0;
}

int fsdax_file_write_record(int fd, const char *text) {
        return fsetxattr(fd, RECORD_ATTRIBUTE, text, strlen(text), 0) < 0 ? -errno : 0;
}

int fsdax_file_remove_record(int fd) {
        return fremovexattr(fd, RECORD_ATTRIBUTE) < 0 ? -errno : 0;
}

/* ---- Seals ---- */

bool fsdax_file_is_sealed(int fd) {
        int flags;

        return ioctl(fd, FS_IOC_GETFLAGS, &flags) >= 0 && (flags & FS_IMMUTABLE_FL);
}

int fsdax_file_seal(int fd, bool sealed) {
        int flags, wanted;

        if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
                return -errno;
        wanted = sealed ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
        return wanted != flags && ioctl(fd, FS_IOC_SETFLAGS, &wanted) < 0 ? -errno : 0;
}
