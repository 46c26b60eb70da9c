/* SPDX-License-Identifier: MIT */

/* Not one of the threads in worker.c, for two reasons. The kernel lets nobody without privileges return from SCHED_IDLE, so
 * this thread is made for one job and ends with it. And where every processor is busy, such a thread may not run for
 * seconds: whoever wants a lock that it holds waits as long. So it shares none with the event loop: what it works on is its
 * own from start to end, and the end is a write to an eventfd. */

#include "idler.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "cleanup.h"
#include "thread.h"

#define STACK_SIZE (256 * 1024)

struct Idler {
        int event_fd;
        sd_event_source *source;
        IdleWork work;
        bool busy; /* the event loop's */
};

static int on_finished(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Idler *idler = userdata;
        uint64_t count;

        (void) source;
        (void) revents;
        if (read(fd, &count, sizeof(count)) < 0)
                return 0;

        idler->busy = false;
        idler->work.done(idler->work.userdata);
        return 0;
}

int idler_new(sd_event *event, Idler **ret) {
        Idler *idler;
        int r;

        idler = calloc(1, sizeof(*idler));
        if (!idler)
                return -ENOMEM;

        idler->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = idler->event_fd < 0 ? -errno
                                : sd_event_add_io(event, &idler->source, idler->event_fd, EPOLLIN, on_finished, idler);
        if (r < 0) {
                idler_free(idler);
                return r;
        }

        *ret = idler;
        return 0;
}

static void *idle_thread(void *userdata) {
        const struct sched_param none = { 0 };
        Idler *idler = userdata;
        uint64_t one = 1;
        int fd = idler->event_fd;

        (void) sched_setscheduler(0, SCHED_IDLE, &none); /* of this thread; where it is forbidden, it is one like others */
        idler->work.work(idler->work.userdata);
        (void) !write(fd, &one, sizeof(one));
        return NULL;
}

int idler_start(Idler *idler, const IdleWork *work) {
        int r;

        idler->work = *work;
        r = thread_start(STACK_SIZE, idle_thread, idler, NULL);
        if (r < 0)
                return r;

        idler->busy = true;
        return 0;
}

bool idler_is_busy(const Idler *idler) {
        return idler->busy;
}

bool idler_drain(Idler *idler, uint64_t grace) {
        struct pollfd wait = { .fd = idler->event_fd, .events = POLLIN };

        if (idler->busy) {
                int r;

                do /* signals are blocked, or few */
                        r = poll(&wait, 1, (int) (grace / 1000));
                while (r < 0 && errno == EINTR);
                if (r > 0)
                        (void) on_finished(NULL, idler->event_fd, 0, idler);
        }
        return !idler->busy;
}

/* What a thread still uses when nobody waits for it any more. */
static Idler *abandoned;

Idler *idler_free(Idler *idler) {
        if (!idler)
                return NULL;

        idler->source = sd_event_source_disable_unref(idler->source);
        if (idler->busy) {
                abandoned = idler;
                return NULL;
        }
        safe_close(idler->event_fd);
        free(idler);
        return NULL;
}
