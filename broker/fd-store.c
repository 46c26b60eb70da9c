/* SPDX-License-Identifier: MIT */

/* systemd's descriptor store: what is pushed with FDSTORE=1 comes back as an inherited descriptor of the next process,
 * whatever way this one ended.
 * The names are short because all of them together come back in one environment variable, see FD_STORE_MAX. */

#include "fd-store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "cleanup.h"
#include "fd-bundle.h"
#include "log.h"

/* To send from, made at the start and kept: sd_notify() makes one for each message, which takes a fifteenth of the time of
 * an allocation. It is not connected, so that it does not matter when a service manager takes the place of another. */
static int notify_socket(void) {
        static _Atomic int kept = -EBADF;
        int fd = kept, none = -EBADF;

        if (fd >= 0)
                return fd;

        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (!atomic_compare_exchange_strong(&kept, &none, fd)) {
                safe_close(fd); /* another thread was faster */
                fd = none;
        }
        return fd;
}

/* Where the service manager listens: a path, or the name of an abstract socket after an @. */
static int notify_address(struct sockaddr_un *ret, socklen_t *ret_size) {
        const char *path = getenv("NOTIFY_SOCKET");
        size_t n = path ? strlen(path) : 0;

        if (n == 0)
                return 0;
        if ((path[0] != '/' && path[0] != '@') || n >= sizeof(ret->sun_path))
                return -EINVAL;

        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        memcpy(ret->sun_path, path, n);
        if (path[0] == '@')
                ret->sun_path[0] = '\0';
        *ret_size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + n + (path[0] == '/' ? 1 : 0));
        return 1;
}

/* As sd_pid_notify_with_fds(): 1 if it was told, 0 if there is no service manager. fd is negative for none. */
static int notify(const char *state, int fd) {
        union {
                struct cmsghdr header;
                uint8_t space[CMSG_SPACE(sizeof(int))];
        } control = { 0 };
        struct iovec data = { (char *) (uintptr_t) state, strlen(state) };
        struct sockaddr_un address;
        struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_name = &address };
        int from, r;
        ssize_t n;

        r = notify_address(&address, &message.msg_namelen);
        if (r <= 0)
                return r;
        from = notify_socket();
        if (from < 0)
                return from;

        if (fd >= 0) {
                control.header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
                                                   .cmsg_len = CMSG_LEN(sizeof(int)) };
                memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
                message.msg_control = &control;
                message.msg_controllen = sizeof(control);
        }
        do
                n = sendmsg(from, &message, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : 1;
}

int fd_store_push(const char *name, int fd) {
        char state[128];

        /* FDPOLL=0: it must not drop one because of what poll says about it */
        (void) snprintf(state, sizeof(state), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
        return notify(state, fd);
}

int fd_store_push_memory(const char *id, int fd) {
        return fd_bundle_add(id, fd);
}

int fd_store_try_push_memory(const char *id, int fd) {
        const char *path = getenv("NOTIFY_SOCKET");

        return path && path[0] != '\0' ? fd_bundle_try_add(id, fd) : 0;
}

int fd_store_remove(const char *name) {
        char state[128];

        if (fd_bundle_remove(name))
                return 1;
        (void) snprintf(state, sizeof(state), "FDSTOREREMOVE=1\nFDNAME=%s", name);
        return notify(state, -EBADF);
}

static StoredFd *stored_fd_free(StoredFd *stored) {
        if (!stored)
                return NULL;

        safe_close(stored->fd);
        free(stored->name);
        free(stored);
        return NULL;
}

/* Adds one, which it takes over. Two under one name cannot be told apart: the first is kept. */
static int store_add_consume_fd(StoredFd **store, const char *name, int fd) {
        StoredFd *stored, *twin;

        stored = calloc(1, sizeof(*stored));
        if (!stored) {
                safe_close(fd);
                return -ENOMEM;
        }

        stored->fd = fd;
        stored->name = strdup(name);
        if (!stored->name) {
                stored_fd_free(stored);
                return -ENOMEM;
        }

        HASH_FIND_STR(*store, name, twin);
        if (twin)
                stored_fd_free(stored);
        else
                HASH_ADD_KEYPTR(hh, *store, stored->name, strlen(stored->name), stored);
        return 0;
}

static int store_add_bundled(const char *id, int fd, void *userdata) {
        return store_add_consume_fd(userdata, id, fd);
}

static void store_clear(StoredFd **store) {
        StoredFd *stored, *next;

        HASH_ITER(hh, *store, stored, next) {
                HASH_DEL(*store, stored);
                stored_fd_free(stored);
        }
}

int fd_store_take(StoredFd **ret) {
        StoredFd *store = NULL;
        char **names = NULL;
        int n, r = 0;

        (void) notify_socket(); /* if there is no room, it is tried again when something is to be sent */
        n = sd_listen_fds_with_names(true, &names);
        if (n < 0)
                return n;

        for (int i = 0; i < n; i++) {
                int fd = SD_LISTEN_FDS_START + i;
                const char *name = names ? names[i] : "";

                (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
                if (r >= 0 && fd_bundle_is_name(name))
                        r = fd_bundle_take(name, fd, store_add_bundled, &store);
                else if (r >= 0)
                        r = store_add_consume_fd(&store, name, fd);
                else
                        safe_close(fd);
                free(names ? names[i] : NULL);
        }
        free(names);
        if (r >= 0)
                fd_bundle_tidy();

        if (r < 0) {
                store_clear(&store);
                return r;
        }

        *ret = store;
        return 0;
}

int fd_store_find(StoredFd *store, const char *name) {
        StoredFd *stored;

        HASH_FIND_STR(store, name, stored);
        return stored ? TAKE_FD(stored->fd) : -EBADF;
}

StoredFd *fd_store_free(StoredFd *store) {
        store_clear(&store);
        return NULL;
}
