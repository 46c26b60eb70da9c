/* SPDX-License-Identifier: MIT */

/* Accepts connections, a few at a time, so that a crowd at the door does not keep those from being served who are in.
 * Without descriptors or memory for another one the socket is left alone for a moment: those who wait wait in the kernel,
 * and the event loop does not spin. */

#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"

#define BATCH 8
#define BACKLOG 4096
#define PAUSE_USEC (200 * UINT64_C(1000))

struct Listener {
        int fd;
        sd_event_source *source, *pause;
        bool closed; /* those who connect wait in the kernel */
        ListenerHandler handler;
        void *userdata;
};

static void listener_pause(Listener *listener, int error) {
        int r;

        log_notice("cannot accept a connection, and will try again: %s", strerror(-error));
        r = sd_event_source_set_time_relative(listener->pause, PAUSE_USEC);
        if (r >= 0)
                r = sd_event_source_set_enabled(listener->pause, SD_EVENT_ONESHOT);
        if (r >= 0)
                (void) sd_event_source_set_enabled(listener->source, SD_EVENT_OFF);
}

static int on_pause_over(sd_event_source *source, uint64_t usec, void *userdata) {
        Listener *listener = userdata;

        (void) source;
        (void) usec;
        return listener->closed ? 0 : sd_event_source_set_enabled(listener->source, SD_EVENT_ON);
}

void listener_set_closed(Listener *listener, bool closed) {
        int pausing = SD_EVENT_OFF;

        listener->closed = closed;
        (void) sd_event_source_get_enabled(listener->pause, &pausing);
        if (pausing == SD_EVENT_OFF)
                (void) sd_event_source_set_enabled(listener->source, closed ? SD_EVENT_OFF : SD_EVENT_ON);
}

static int on_connection(sd_event_source *source, int listening, uint32_t events, void *userdata) {
        Listener *listener = userdata;

        (void) source;
        (void) events;
        for (unsigned i = 0; i < BATCH && !((Listener *) userdata)->closed; i++) {
                int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (fd >= 0)
                        listener->handler(fd, listener->userdata);
                else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                        listener_pause(listener, -errno);
                        return 0;
                } else if (errno != ECONNABORTED && errno != EINTR)
                        return 0; /* mostly that there is nobody else */
        }

        return 0;
}

/* Everybody may connect: who may do what is decided call by call. There is no other broker that it could belong to, for
 * our directories are locked. */
static int make_socket(int *ret) {
        const char *directory = getenv("RUNTIME_DIRECTORY");
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF;
        int n;

        n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/" LISTENER_SOCKET, directory ? directory : "");
        if (n < 0 || (size_t) n >= sizeof(address.sun_path))
                return -ENAMETOOLONG;

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (unlink(address.sun_path) < 0 && errno != ENOENT)
                return -errno;
        if (bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 || chmod(address.sun_path, 0666) < 0 ||
            listen(fd, BACKLOG) < 0)
                return -errno;

        *ret = TAKE_FD(fd);
        return 0;
}

/* One that was given to us need not be what we think it is. */
static int take_socket(int fd) {
        int flags, r;

        r = sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1);
        if (r <= 0)
                return r < 0 ? r : -ENOTSOCK;

        flags = fcntl(fd, F_GETFL);
        return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int listener_new_consume_fd(sd_event *event, int fd, ListenerHandler handler, void *userdata, Listener **ret) {
        Listener *listener;
        int r;

        listener = calloc(1, sizeof(*listener));
        if (!listener) {
                safe_close(fd);
                return -ENOMEM;
        }

        listener->fd = fd;
        listener->handler = handler;
        listener->userdata = userdata;
        r = fd >= 0 ? take_socket(fd) : make_socket(&listener->fd);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &listener->pause, CLOCK_MONOTONIC, PAUSE_USEC, 0, on_pause_over,
                                               listener);
        if (r >= 0)
                r = sd_event_source_set_enabled(listener->pause, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_io(event, &listener->source, listener->fd, EPOLLIN, on_connection, listener);
        if (r < 0) {
                listener_free(listener);
                return r;
        }

        *ret = listener;
        return 0;
}

Listener *listener_free(Listener *listener) {
        if (!listener)
                return NULL;

        sd_event_source_disable_unref(listener->source);
        sd_event_source_disable_unref(listener->pause);
        safe_close(listener->fd);
        free(listener);
        return NULL;
}
