/* SPDX-License-Identifier: MIT */

/* The witness goes when nobody asks, and what it learnt must not go with it: there may be nothing left to learn from. It
 * is kept in a file of its own below /run, which lasts exactly as long as the kernel that it is true of. */

#include "lessons.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LESSONS_VERSION UINT64_C(1)

typedef struct Lessons {
        uint64_t version;
        int64_t idle[N_PAGE_SIZES];
} Lessons;

int lessons_open(const char *folder, int *ret_fd) {
        char path[256];
        int n, fd;

        n = snprintf(path, sizeof(path), "%s/idle", folder);
        if (n < 0 || (size_t) n >= sizeof(path))
                return -ENAMETOOLONG;

        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
        if (fd < 0)
                return -errno;

        *ret_fd = fd;
        return 0;
}

void lessons_read(int fd, Judge *judge) {
        Lessons lessons;

        if (pread(fd, &lessons, sizeof(lessons), 0) != (ssize_t) sizeof(lessons) || lessons.version != LESSONS_VERSION)
                return;
        for (size_t i = 0; i < N_PAGE_SIZES; i++)
                if (lessons.idle[i] >= 0 && lessons.idle[i] <= INT32_MAX)
                        judge->idle[i] = lessons.idle[i];
}

int lessons_write(int fd, const Judge *judge) {
        Lessons lessons = { .version = LESSONS_VERSION };
        ssize_t n;

        memcpy(lessons.idle, judge->idle, sizeof(lessons.idle));
        n = pwrite(fd, &lessons, sizeof(lessons), 0);
        if (n < 0)
                return -errno;
        return n == (ssize_t) sizeof(lessons) ? 0 : -ENOSPC;
}
