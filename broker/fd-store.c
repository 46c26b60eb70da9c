/* SPDX-License-Identifier: MIT */

/* systemd's descriptor store: what is pushed with FDSTORE=1 comes back as an inherited descriptor of the next process,
 * whatever way this one ended.
 * The names are short because all of them together come back in one environment variable, see FD_STORE_MAX. */

#include "fd-store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "cleanup.h"
#include "fd-bundle.h"
#include "log.h"

int fd_store_push(const char *name, int fd) {
        char state[128];

        /* FDPOLL=0: it must not drop one because of what poll says about it */
        (void) snprintf(state, sizeof(state), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
        return sd_pid_notify_with_fds(0, false, state, &fd, 1);
}

int fd_store_push_memory(const char *id, int fd) {
        return fd_bundle_add(id, fd);
}

int fd_store_remove(const char *name) {
        char state[128];

        if (fd_bundle_remove(name))
                return 1;
        (void) snprintf(state, sizeof(state), "FDSTOREREMOVE=1\nFDNAME=%s", name);
        return sd_notify(false, state);
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
