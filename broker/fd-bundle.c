/* SPDX-License-Identifier: MIT */

/* A bundle is the reading end of a stream socket. Each message in its queue is an id with the descriptor attached, and
 * stays there: reading only looks (MSG_PEEK). The writing end is ours alone and closed when the bundle is full, or by our
 * end, which leaves the queue as it is. When all that was put into the open one has been removed its queue is emptied, and it
 * stays for what comes next: a new one for each allocation of who has one at a time would be a tenth of the work for that.
 *
 * In the service manager's hands a bundle is before anything is in it, and what is moved into another one is there before
 * it leaves the first. So a kill at any moment loses nothing; it may leave a descriptor in two bundles. */

#include "fd-bundle.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uthash.h>
#include <utlist.h>

#include "cleanup.h"
#include "fd-store.h"
#include "log.h"

#define PREFIX "bundle"
#define ID_LENGTH 16

typedef struct Bundle {
        unsigned number;
        int reader;
        int writer; /* -EBADF once nothing more is put in */
        unsigned n_sent, n_kept;
        struct Bundle *prev, *next;
} Bundle;

typedef struct Bundled {
        uint64_t id;
        Bundle *bundle;
        UT_hash_handle hh;
} Bundled;

/* There is one service manager, and so one of these. */
static struct {
        pthread_mutex_t mutex;
        Bundle *bundles;
        unsigned n_bundles, last_number;
        Bundle *open; /* that is not full */
        Bundled *bundled;
} all = { .mutex = PTHREAD_MUTEX_INITIALIZER };

/* ---- Messages ---- */

static int id_parse(const char *text, uint64_t *ret) {
        if (strspn(text, "0123456789abcdef") != ID_LENGTH || text[ID_LENGTH] != '\0')
                return -EINVAL;
        *ret = strtoull(text, NULL, 16);
        return 0;
}

static int bundle_send(const Bundle *bundle, uint64_t id, int fd) {
        union {
                struct cmsghdr header;
                uint8_t space[CMSG_SPACE(sizeof(int))];
        } control = { 0 };
        struct iovec data = { &id, sizeof(id) };
        struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
                                  .msg_controllen = sizeof(control) };
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        ssize_t n;

        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
        do
                n = sendmsg(bundle->writer, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : 0;
}

/* The next message; with MSG_PEEK it stays there. 0 at the end. The descriptor is -EBADF if we could have no more. */
static int bundle_receive(const Bundle *bundle, int flags, uint64_t *ret_id, int *ret_fd) {
        union {
                struct cmsghdr header;
                uint8_t space[CMSG_SPACE(sizeof(int))];
        } control;
        uint64_t id;
        struct iovec data = { &id, sizeof(id) };
        struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
                                  .msg_controllen = sizeof(control) };
        const struct cmsghdr *header;
        ssize_t n;

        do
                n = recvmsg(bundle->reader, &message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return errno == EAGAIN ? 0 : -errno;
        if (n == 0)
                return 0;

        *ret_fd = -EBADF;
        header = CMSG_FIRSTHDR(&message);
        if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
            header->cmsg_len == CMSG_LEN(sizeof(int)))
                memcpy(ret_fd, CMSG_DATA(header), sizeof(int));
        if (n != sizeof(id)) {
                *ret_fd = safe_close(*ret_fd);
                return -EBADMSG;
        }
        *ret_id = id;
        return 1;
}

/* ---- One bundle ---- */

static void bundle_name(const Bundle *bundle, char *ret, size_t size) {
        (void) snprintf(ret, size, PREFIX "%u", bundle->number);
}

static Bundle *bundle_free(Bundle *bundle) {
        safe_close(bundle->reader);
        safe_close(bundle->writer);
        free(bundle);
        return NULL;
}

static void bundle_drop(Bundle *bundle) {
        char name[32];

        bundle_name(bundle, name, sizeof(name));
        if (fd_store_remove(name) < 0)
                log_warning("cannot tell the service manager to drop '%s'", name);
        if (all.open == bundle)
                all.open = NULL;
        DL_DELETE(all.bundles, bundle);
        all.n_bundles--;
        bundle_free(bundle);
}

/* 0 without a service manager. */
static int bundle_open(void) {
        Bundle *bundle;
        char name[32];
        int fds[2], r;

        if (all.n_bundles >= FD_BUNDLES_MAX)
                return -ENOSPC;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;
        bundle = calloc(1, sizeof(*bundle));
        if (!bundle) {
                safe_close(fds[0]);
                safe_close(fds[1]);
                return -ENOMEM;
        }

        *bundle = (Bundle){ .number = all.last_number + 1, .reader = fds[0], .writer = fds[1] };
        bundle_name(bundle, name, sizeof(name));
        r = fd_store_push(name, bundle->reader);
        if (r <= 0) {
                bundle_free(bundle);
                return r;
        }

        all.last_number++;
        all.n_bundles++;
        DL_APPEND(all.bundles, bundle);
        all.open = bundle;
        return 1;
}

static void bundle_close(Bundle *bundle) {
        bundle->writer = safe_close(bundle->writer);
        if (all.open == bundle)
                all.open = NULL;
}

/* ---- All of them ---- */

/* Into the open one, or a new one if it may take as long as that does. */
static int put(Bundled *entry, int fd, bool may_wait) {
        for (;;) {
                int r = all.open ? 1 : may_wait ? bundle_open() : -EAGAIN;

                if (r <= 0)
                        return r;
                r = bundle_send(all.open, entry->id, fd);
                if (r < 0 && !may_wait)
                        return -EAGAIN; /* whoever may looks what is the matter */
                if (r < 0 && (r != -EAGAIN || all.open->n_sent == 0)) {
                        if (all.open->n_sent == 0)
                                bundle_drop(all.open);
                        return r;
                }
                if (r >= 0) {
                        entry->bundle = all.open;
                        entry->bundle->n_kept++;
                        if (++entry->bundle->n_sent == FD_BUNDLE_MAX)
                                bundle_close(entry->bundle);
                        return 1;
                }
                bundle_close(all.open); /* its queue is full */
        }
}

/* What is still wanted of it goes to where there is room. */
static void bundle_empty(Bundle *bundle) {
        int off = -1;

        /* look at the first one again */
        (void) setsockopt(bundle->reader, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off));
        bundle_close(bundle);
        while (bundle->n_kept > 0) {
                _cleanup_close_ int fd = -EBADF, again = -EBADF;
                Bundled *entry;
                uint64_t id;

                if (bundle_receive(bundle, MSG_PEEK, &id, &fd) <= 0)
                        break;
                HASH_FIND(hh, all.bundled, &id, sizeof(id), entry);
                if (entry && entry->bundle == bundle) {
                        if (fd < 0 || put(entry, fd, true) <= 0)
                                break;
                        bundle->n_kept--;
                }
                if (bundle_receive(bundle, 0, &id, &again) <= 0)
                        break;
                bundle->n_sent--;
        }
        if (bundle->n_kept == 0)
                bundle_drop(bundle);
}

/* Takes everything out of its queue; without room for descriptors the kernel closes them. */
static bool bundle_clear(Bundle *bundle) {
        for (; bundle->n_sent > 0; bundle->n_sent--) {
                uint64_t id;
                struct iovec data = { &id, sizeof(id) };
                struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };

                if (recvmsg(bundle->reader, &message, MSG_DONTWAIT) != sizeof(id))
                        return false;
        }
        return true;
}

static void bundle_tidy(Bundle *bundle) {
        if (bundle->n_kept == 0 && (bundle != all.open || !bundle_clear(bundle)))
                bundle_drop(bundle);
        else if (bundle->writer < 0 && bundle->n_kept <= FD_BUNDLE_MAX / 2)
                bundle_empty(bundle);
}

/* With the mutex. */
static int add(const char *id, int fd, bool may_wait) {
        Bundled *entry, *twin;
        int r;

        entry = calloc(1, sizeof(*entry));
        if (!entry)
                return -ENOMEM;

        r = id_parse(id, &entry->id);
        if (r >= 0) {
                HASH_FIND(hh, all.bundled, &entry->id, sizeof(entry->id), twin);
                r = twin ? -EEXIST : put(entry, fd, may_wait);
        }
        if (r > 0)
                HASH_ADD(hh, all.bundled, id, sizeof(entry->id), entry);
        else
                free(entry);
        return r;
}

int fd_bundle_add(const char *id, int fd) {
        int r;

        pthread_mutex_lock(&all.mutex);
        r = add(id, fd, true);
        pthread_mutex_unlock(&all.mutex);
        return r;
}

int fd_bundle_try_add(const char *id, int fd) {
        int r;

        if (pthread_mutex_trylock(&all.mutex) != 0)
                return -EAGAIN;
        r = add(id, fd, false);
        pthread_mutex_unlock(&all.mutex);
        return r;
}

bool fd_bundle_remove(const char *id) {
        Bundled *entry = NULL;
        uint64_t number;

        if (id_parse(id, &number) < 0)
                return false;

        pthread_mutex_lock(&all.mutex);
        HASH_FIND(hh, all.bundled, &number, sizeof(number), entry);
        if (entry) {
                Bundle *bundle = entry->bundle;

                HASH_DEL(all.bundled, entry);
                free(entry);
                bundle->n_kept--;
                bundle_tidy(bundle);
        }
        pthread_mutex_unlock(&all.mutex);
        return entry;
}

/* ---- Those of an earlier broker ---- */

static int name_parse(const char *name, unsigned *ret) {
        unsigned number;
        char again[32];

        if (sscanf(name, PREFIX "%9u", &number) != 1)
                return -EINVAL;
        (void) snprintf(again, sizeof(again), PREFIX "%u", number);
        if (strcmp(name, again) != 0)
                return -EINVAL;

        *ret = number;
        return 0;
}

bool fd_bundle_is_name(const char *name) {
        unsigned number;

        return name_parse(name, &number) >= 0;
}

/* What was sent later is in the bundle of the higher number: where both have it, either does. */
static int bundle_take_all(Bundle *bundle, FdBundleHandler handler, void *userdata) {
        int from = 0, fd, r;
        uint64_t id;

        /* each look goes on where the last one ended */
        if (setsockopt(bundle->reader, SOL_SOCKET, SO_PEEK_OFF, &from, sizeof(from)) < 0)
                return -errno;

        while ((r = bundle_receive(bundle, MSG_PEEK, &id, &fd)) > 0) {
                Bundled *entry;
                char text[ID_LENGTH + 1];

                bundle->n_sent++;
                HASH_FIND(hh, all.bundled, &id, sizeof(id), entry);
                if (entry) {
                        safe_close(fd);
                        continue;
                }
                if (fd < 0)
                        return -EMFILE;

                entry = calloc(1, sizeof(*entry));
                if (!entry) {
                        safe_close(fd);
                        return -ENOMEM;
                }
                *entry = (Bundled){ .id = id, .bundle = bundle };
                HASH_ADD(hh, all.bundled, id, sizeof(entry->id), entry);
                bundle->n_kept++;
                (void) snprintf(text, sizeof(text), "%016llx", (unsigned long long) id);
                r = handler(text, fd, userdata);
                if (r < 0)
                        return r;
        }
        return r;
}

int fd_bundle_take(const char *name, int reader, FdBundleHandler handler, void *userdata) {
        Bundle *bundle;
        int r;

        bundle = calloc(1, sizeof(*bundle));
        if (!bundle || name_parse(name, &bundle->number) < 0) {
                free(bundle);
                safe_close(reader);
                return bundle ? -EINVAL : -ENOMEM;
        }

        bundle->reader = reader;
        bundle->writer = -EBADF;
        pthread_mutex_lock(&all.mutex);
        if (bundle->number > all.last_number)
                all.last_number = bundle->number;
        DL_APPEND(all.bundles, bundle);
        all.n_bundles++;
        r = bundle_take_all(bundle, handler, userdata);
        pthread_mutex_unlock(&all.mutex);
        return r;
}

void fd_bundle_tidy(void) {
        Bundle *bundle, *next;

        pthread_mutex_lock(&all.mutex);
        DL_FOREACH_SAFE(all.bundles, bundle, next)
                bundle_tidy(bundle);
        pthread_mutex_unlock(&all.mutex);
}

void fd_bundle_forget(void) {
        Bundled *entry, *next_entry;
        Bundle *bundle, *next;

        HASH_ITER(hh, all.bundled, entry, next_entry) {
                HASH_DEL(all.bundled, entry);
                free(entry);
        }
        DL_FOREACH_SAFE(all.bundles, bundle, next) {
                DL_DELETE(all.bundles, bundle);
                bundle_free(bundle);
        }
        all.open = NULL;
        all.n_bundles = all.last_number = 0;
}
