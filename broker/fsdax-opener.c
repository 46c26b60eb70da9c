/* SPDX-License-Identifier: MIT */

/* Opens files for holders. From Landlock 3 on (Linux 6.2) a thread can give up the right to truncate what it opens, and
 * whoever gets such a descriptor has it without that right, for good. What was given up cannot be had again, and the broker
 * needs it itself; so each of these files is opened by a thread of its own. That takes a tenth of a millisecond, and there
 * is nothing to be kept, or to be stuck, between two of them.
 *
 * What is left to a holder who may write: to write beyond the end, and fallocate(). A file that is immutable forbids both,
 * on ext4. */

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "fsdax.h"
#include "thread.h"

#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#define FIRST_VERSION 3
#define STACK_SIZE (256 * 1024)

typedef struct Opener {
        int dir_fd;
        const char *name;
        bool read_only;
        int fd; /* or a negative errno */
} Opener;

/* Of this thread, from now on. A kernel that does not know of it has nothing to give up. */
static int give_up_truncating(void) {
        struct landlock_ruleset_attr attr = { .handled_access_fs = LANDLOCK_ACCESS_FS_TRUNCATE };
        _cleanup_close_ int ruleset = -EBADF;

        if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < FIRST_VERSION)
                return 0;

        ruleset = (int) syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
        if (ruleset < 0)
                return -errno;
        return syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? -errno : 0;
}

static void *opener_thread(void *userdata) {
        Opener *opener = userdata;
        int flags = (opener->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
        char path[64];
        int r;

        r = give_up_truncating();
        if (r < 0) {
                opener->fd = r;
                return NULL;
        }

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", opener->dir_fd);
        opener->fd = opener->name[0] == '\0' ? open(path, flags) : openat(opener->dir_fd, opener->name, flags | O_NOFOLLOW);
        if (opener->fd < 0)
                opener->fd = -errno;
        return NULL;
}

int fsdax_opener_open(int dir_fd, const char *name, bool read_only, int *ret_fd) {
        Opener opener = { .dir_fd = dir_fd, .name = name, .read_only = read_only, .fd = -EBADF };
        pthread_t thread;
        int r;

        r = thread_start(STACK_SIZE, opener_thread, &opener, &thread);
        if (r < 0)
                return r;
        (void) pthread_join(thread, NULL);
        if (opener.fd < 0)
                return opener.fd;

        *ret_fd = opener.fd;
        return 0;
}
