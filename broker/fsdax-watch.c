/* SPDX-License-Identifier: MIT */

/* What holders do to the lengths of their files, as the directory tells it: each write that is not made through a mapping,
 * each truncation and each allocation of room is an event. Which of these it was is seen by looking at the file. After some
 * events there is a pause, and what comes meanwhile is merged by the kernel, so that who makes many costs little.
 *
 * A watch does not keep a file system mounted; it goes with it, and is set again when the directory is looked at again. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "fsdax.h"
#include "log.h"
#include "name.h"

#define PAUSE_USEC (UINT64_C(500) * 1000)

/* What is read before it: about as much as the kernel's queue holds, so that nobody who adds to it meanwhile can keep us. */
#define READS_MAX 64

struct FsdaxWatch {
        int fd;
        atomic_int wd; /* of whoever looks at the directory */
        Region *region;
        PieceHandler handler;
        void *userdata;
        sd_event_source *source, *pause, *leftovers;
};

FsdaxWatch *fsdax_watch_free(FsdaxWatch *watch) {
        if (!watch)
                return NULL;

        sd_event_source_disable_unref(watch->source);
        sd_event_source_disable_unref(watch->pause);
        sd_event_source_disable_unref(watch->leftovers);
        safe_close(watch->fd);
        free(watch);
        return NULL;
}

static void handle(FsdaxWatch *watch, const struct inotify_event *event) {
        if (event->mask & IN_Q_OVERFLOW)
                watch->handler(watch->region, "", watch->userdata);
        else if (event->len > 0 && is_id(event->name))
                watch->handler(watch->region, event->name, watch->userdata);
}

static int on_event(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        _Alignas(struct inotify_event) char buffer[16384];
        FsdaxWatch *watch = userdata;
        ssize_t n;

        (void) revents;
        for (unsigned i = 0; i < READS_MAX; i++) {
                n = read(fd, buffer, sizeof(buffer));
                if (n <= 0)
                        break;
                for (char *next = buffer; next < buffer + n;) {
                        const struct inotify_event *event = (const struct inotify_event *) (void *) next;

                        handle(watch, event);
                        next += sizeof(*event) + event->len;
                }
        }

        (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        (void) sd_event_source_set_time_relative(watch->pause, PAUSE_USEC);
        (void) sd_event_source_set_enabled(watch->pause, SD_EVENT_ONESHOT);
        return 0;
}

static int on_pause(sd_event_source *source, uint64_t usec, void *userdata) {
        FsdaxWatch *watch = userdata;

        (void) source;
        (void) usec;
        (void) sd_event_source_set_enabled(watch->source, SD_EVENT_ON);
        return 0;
}

static int on_leftovers(sd_event_source *source, uint64_t usec, void *userdata) {
        FsdaxWatch *watch = userdata;
        Fsdax *fsdax = watch->region->state;

        (void) source;
        (void) usec;
        fsdax->leftovers_changed = true;
        watch->handler(watch->region, NULL, watch->userdata);
        return 0;
}

/* That somebody closes a file is told before the kernel has done it, and everybody does that. So what is left of files is
 * looked at now and then, as long as there is any. That there is room again on the file system is not told at all. */
void fsdax_watch_again(FsdaxWatch *watch) {
        int enabled = SD_EVENT_OFF;

        (void) sd_event_source_get_enabled(watch->leftovers, &enabled);
        if (enabled != SD_EVENT_OFF)
                return;
        (void) sd_event_source_set_time_relative(watch->leftovers, FSDAX_LEFTOVERS_USEC);
        (void) sd_event_source_set_enabled(watch->leftovers, SD_EVENT_ONESHOT);
}

int fsdax_watch_new(Region *region, sd_event *event, PieceHandler handler, void *userdata, FsdaxWatch **ret) {
        FsdaxWatch *watch;
        int r;

        watch = calloc(1, sizeof(*watch));
        if (!watch)
                return -ENOMEM;

        watch->wd = -1;
        watch->region = region;
        watch->handler = handler;
        watch->userdata = userdata;
        watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        r = watch->fd < 0 ? -errno : sd_event_add_io(event, &watch->source, watch->fd, EPOLLIN, on_event, watch);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &watch->pause, CLOCK_MONOTONIC, 0, 0, on_pause, watch);
        if (r >= 0)
                r = sd_event_source_set_enabled(watch->pause, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &watch->leftovers, CLOCK_MONOTONIC, 0, 0, on_leftovers, watch);
        if (r >= 0)
                r = sd_event_source_set_enabled(watch->leftovers, SD_EVENT_OFF);
        if (r < 0) {
                fsdax_watch_free(watch);
                return r;
        }

        *ret = watch;
        return 0;
}

int fsdax_watch_directory(FsdaxWatch *watch, const char *path) {
        int wd;

        wd = inotify_add_watch(watch->fd, path, IN_MODIFY | IN_ONLYDIR);
        if (wd < 0)
                return -errno;

        if (watch->wd >= 0 && watch->wd != wd)
                (void) inotify_rm_watch(watch->fd, watch->wd);
        watch->wd = wd;
        return 0;
}
