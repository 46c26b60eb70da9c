/* SPDX-License-Identifier: MIT */

/* Files that nobody gave us yet cannot be watched themselves, but the folders that they are in can. sysfs does not tell that
 * something went, but the folder of nodes does. */

#include "dax-rights.h"

#include <errno.h>
#include <poll.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "dax-attribute.h"

static int rights_watch(const char *folder, int *ret_fd) {
        _cleanup_close_ int fd = -EBADF;

        fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (fd < 0)
                return -errno;
        if (inotify_add_watch(fd, folder, IN_ATTRIB | IN_ONLYDIR) < 0)
                return errno == ENOENT ? -ENODEV : -errno;
        if (inotify_add_watch(fd, dax_dev_root(), IN_ATTRIB | IN_DELETE | IN_ONLYDIR) < 0)
                return -errno;

        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int rights_wait(int fd, uint64_t deadline) {
        char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
        struct pollfd wait = { .fd = fd, .events = POLLIN };
        uint64_t now = now_usec();
        struct timespec left;

        if (now >= deadline)
                return -ETIMEDOUT;
        left.tv_sec = (time_t) ((deadline - now) / 1000000);
        left.tv_nsec = (long) ((deadline - now) % 1000000) * 1000;
        if (ppoll(&wait, 1, &left, NULL) < 0 && errno != EINTR)
                return -errno;

        /* what happened is of no interest, only that something did */
        while (read(fd, events, sizeof(events)) > 0)
                ;
        return 0;
}

int dax_await(const char *folder, int (*check)(const void *userdata), const void *userdata, uint64_t usec) {
        _cleanup_close_ int watch = -EBADF;
        uint64_t deadline;
        int r;

        if (__builtin_add_overflow(now_usec(), usec, &deadline))
                deadline = UINT64_MAX;
        r = check(userdata);
        if (r != -EAGAIN && r != -EACCES)
                return r;
        r = rights_watch(folder, &watch);
        if (r < 0)
                return r;

        /* once more before the first wait: it may have come before there was a watch */
        for (;;) {
                int missing;

                missing = check(userdata);
                if (missing != -EAGAIN && missing != -EACCES)
                        return missing;
                r = rights_wait(watch, deadline);
                if (r == -ETIMEDOUT && missing == -EACCES)
                        return -EACCES;
                if (r < 0)
                        return r;
        }
}
