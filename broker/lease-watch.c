/* SPDX-License-Identifier: MIT */

/* A set of its own for the kernel to watch, in the event loop's. The loop asks for all events that there are before it
 * handles the first of them, and asks again after each; so if ten thousand leases lapsed in it at once, that would be fifty
 * million looks at a FIFO, while nobody is served. Here one is asked for at a time, and comes once.
 *
 * A lapse is handled before requests that came after it, which may want the memory that it frees. But when many come at once
 * they take turns with all else, some at a time; a request that would be refused waits for the rest then
 * (manager_is_settling()). */

#include "lease-watch.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "cleanup.h"

#define FIRST_PRIORITY (SD_EVENT_PRIORITY_NORMAL - 10)

/* Handled before others have their turn. */
#define LAPSES_MAX 8

struct LeaseWatch {
        int fd;
        sd_event_source *source;
};

bool lease_watch_is_behind(const LeaseWatch *watch) {
        struct pollfd more = { .fd = watch->fd, .events = POLLIN };

        return poll(&more, 1, 0) > 0;
}

static int on_ready(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct epoll_event event;

        (void) revents;
        /* one by one, since handling one can end another */
        for (unsigned i = 0; i < LAPSES_MAX && epoll_wait(fd, &event, 1, 0) > 0; i++) {
                Lease *lease = event.data.ptr;

                lease->armed = false;
                lease->lapsed(lease);
        }

        return sd_event_source_set_priority(source, lease_watch_is_behind(userdata) ? SD_EVENT_PRIORITY_NORMAL
                                                                                    : FIRST_PRIORITY);
}

int lease_watch_new(sd_event *event, LeaseWatch **ret) {
        LeaseWatch *watch;
        int r;

        watch = calloc(1, sizeof(*watch));
        if (!watch)
                return -ENOMEM;

        watch->fd = epoll_create1(EPOLL_CLOEXEC);
        r = watch->fd < 0 ? -errno : sd_event_add_io(event, &watch->source, watch->fd, EPOLLIN, on_ready, watch);
        if (r >= 0)
                r = sd_event_source_set_priority(watch->source, FIRST_PRIORITY);
        if (r < 0) {
                lease_watch_free(watch);
                return r;
        }

        *ret = watch;
        return 0;
}

LeaseWatch *lease_watch_free(LeaseWatch *watch) {
        if (!watch)
                return NULL;

        sd_event_source_disable_unref(watch->source);
        safe_close(watch->fd);
        free(watch);
        return NULL;
}

int lease_watch_add(LeaseWatch *watch, Lease *lease) {
        struct epoll_event event = { .events = EPOLLONESHOT, .data.ptr = lease }; /* EPOLLERR comes unasked */

        if (lease->armed)
                return 0;
        if (epoll_ctl(watch->fd, lease->watch ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, lease->ours, &event) < 0)
                return -errno;

        lease->watch = watch;
        lease->armed = true;
        return 0;
}

void lease_watch_remove(LeaseWatch *watch, Lease *lease) {
        (void) epoll_ctl(watch->fd, EPOLL_CTL_DEL, lease->ours, NULL);
        lease->watch = NULL;
        lease->armed = false;
}
