/* SPDX-License-Identifier: MIT */

/* The kernel notes uid, gid, groups and pid of whoever calls connect(). The first three are what decisions rest on and
 * cannot change. The pid is only a number, which another process gets when the first one has ended; what may not be about
 * another process is therefore asked with a pidfd in hand. As long as the process behind the pidfd lives, its number means
 * it and nobody else: so the number is used first, and whether it is still alive is looked at afterwards.
 *
 * Before Linux 6.5 a pidfd can only be had by the number. Whoever connects and ends at once, and manages that another
 * process gets his number before the connection is accepted, is taken for that one. His uid and groups are right even
 * then. */

#include "credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

/* Later than the oldest headers that this is built with. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* What the kernel calls a user whose uid does not exist in our user namespace. That it is also the uid of "nobody" is a
 * reason more not to take it for anybody. */
#define OVERFLOW_UID ((uid_t) 65534)

static int read_groups(int fd, gid_t primary, Credentials *credentials) {
        socklen_t size = 64 * sizeof(gid_t);

        for (;;) {
                gid_t *groups = malloc(sizeof(gid_t) + size);

                if (!groups)
                        return -ENOMEM;
                groups[0] = primary;
                if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups + 1, &size) >= 0) {
                        credentials->groups = groups;
                        credentials->n_groups = 1 + size / sizeof(gid_t);
                        return 0;
                }
                free(groups);
                if (errno != ERANGE) /* size says now how much it takes */
                        return -errno;
        }
}

static int open_pidfd(int fd, pid_t pid) {
        socklen_t size = sizeof(int);
        int pidfd;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) >= 0)
                return pidfd;
        if (errno != ENOPROTOOPT)
                return -EBADF;

        pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        return pidfd < 0 ? -EBADF : pidfd;
}

int credentials_read(int fd, Credentials *ret) {
        Credentials credentials = { .pidfd = -EBADF };
        struct ucred peer;
        socklen_t size = sizeof(peer);
        int r;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return -errno;
        if (peer.uid == (uid_t) -1 || peer.uid == OVERFLOW_UID)
                return -EOVERFLOW;
        r = read_groups(fd, peer.gid, &credentials);
        if (r < 0)
                return r;

        credentials.uid = peer.uid;
        credentials.pid = peer.pid;
        if (peer.pid > 0)
                credentials.pidfd = open_pidfd(fd, peer.pid);
        *ret = credentials;
        return 0;
}

void credentials_clear(Credentials *credentials) {
        credentials->pidfd = safe_close(credentials->pidfd);
        free(credentials->groups);
        credentials->groups = NULL;
        credentials->n_groups = 0;
}

/* A pidfd can be read when its process has ended. */
static bool is_alive(const Credentials *credentials) {
        struct pollfd polled = { .fd = credentials->pidfd, .events = POLLIN };

        return credentials->pidfd >= 0 && poll(&polled, 1, 0) == 0;
}

/* The 22nd field of /proc/PID/stat; the second one, the program's name, can hold anything. */
static int read_start_time(pid_t pid, uint64_t *ret) {
        char path[64], text[1024], *field;
        _cleanup_close_ int fd = -EBADF;
        ssize_t n;

        (void) snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read(fd, text, sizeof(text) - 1);
        if (n < 0)
                return -errno;
        text[n] = '\0';

        field = strrchr(text, ')');
        for (unsigned i = 2; field && i < 22; i++)
                field = strchr(field + 1, ' ');
        if (!field || sscanf(field, " %" SCNu64, ret) != 1)
                return -EBADMSG;
        return 0;
}

int credentials_identify(Credentials *credentials, Failure *failure) {
        int r;

        if (credentials->pid <= 0)
                return failure_set(failure, REFUSAL_NotAuthorized,
                                   "your process is in a PID namespace that the broker cannot look into, so polkit cannot "
                                   "be asked about it; the system bus can help");

        if (credentials->start_time == 0 && credentials->pidfd >= 0) {
                r = read_start_time(credentials->pid, &credentials->start_time);
                if (r < 0 && r != -ENOENT && r != -ESRCH)
                        return failure_set(failure, REFUSAL_NotAuthorized,
                                           "process %d cannot be looked at, so polkit cannot be asked about it: %s",
                                           credentials->pid, strerror(-r));
        }
        if (is_alive(credentials))
                return 0;

        credentials->start_time = 0;
        return failure_set(failure, REFUSAL_NotAuthorized,
                           "process %d, which has connected, has ended, and polkit cannot be asked about anybody else; "
                           "connect anew",
                           credentials->pid);
}
