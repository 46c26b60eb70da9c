/* SPDX-License-Identifier: MIT */

/* Watches for regions. A uevent says only that something is different; what there is is found out by scanning, in a worker
 * thread, and all changes that come until it begins are served by one scan. The broker's own devices make uevents too, by
 * the hundred when it is busy, so after each scan there is a pause that is long compared to the scan. */

#include "discovery.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <systemd/sd-device.h>

#include "cleanup.h"
#include "clock.h"
#include "log.h"

/* No user has this uid, so nobody's jobs are in its way. */
#define LANE_DISCOVERY ((uid_t) -1)

/* Between the first change and the scan: changes come in swarms. */
#define GATHER_USEC (50 * UINT64_C(1000))
/* Scans take at most this part of the time, */
#define SCAN_PART 20
/* unless the pause became so long: a scan can have been slow since others were busy. */
#define PAUSE_MAX_USEC (2 * UINT64_C(1000000))
/* Before a scan for what makes no uevents. */
#define LATER_USEC (10 * UINT64_C(1000000))
/* After a scan that failed for want of memory or descriptors. */
#define RETRY_USEC (2 * UINT64_C(1000000))

#define RECEIVE_BUFFER (1024 * 1024)

struct Discovery {
        WorkerPool *pool;
        DiscoveryHandler handler;
        void *userdata;
        sd_device_monitor *monitor; /* one of the two */
        int uevents;
        sd_event_source *source;
        sd_event_source *timer;
        bool scheduled, later, scanning, again;
        uint64_t pause;
        /* the worker's, while scanning */
        Job job;
        DaxRegion *found;
        uint64_t duration;
};

static void schedule(Discovery *discovery, uint64_t usec) {
        int r;

        r = sd_event_source_set_time_relative(discovery->timer, usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(discovery->timer, SD_EVENT_ONESHOT);
        if (r < 0)
                log_error("cannot look for dax regions: %s", strerror(-r));
        discovery->scheduled = r >= 0;
        discovery->later = false;
}

void discovery_scan(Discovery *discovery) {
        if (discovery->scanning)
                discovery->again = true;
        else if (!discovery->scheduled || discovery->later)
                schedule(discovery, discovery->pause);
}

void discovery_scan_later(Discovery *discovery) {
        if (discovery->scanning || discovery->scheduled)
                return;
        schedule(discovery, LATER_USEC);
        discovery->later = true;
}

static int scan_work(Job *job) {
        Discovery *discovery = (Discovery *) (void *) ((char *) job - offsetof(Discovery, job));
        uint64_t begin = now_usec();
        int r;

        r = dax_scan(&discovery->found);
        discovery->duration = now_usec() - begin;
        return r;
}

static void scan_done(Job *job, int r) {
        Discovery *discovery = (Discovery *) (void *) ((char *) job - offsetof(Discovery, job));

        discovery->scanning = false;
        discovery->pause = discovery->duration * SCAN_PART;
        if (discovery->pause < GATHER_USEC)
                discovery->pause = GATHER_USEC;
        if (discovery->pause > PAUSE_MAX_USEC)
                discovery->pause = PAUSE_MAX_USEC;

        if (r < 0) {
                log_warning("cannot look for dax regions, trying again: %s", strerror(-r));
                schedule(discovery, RETRY_USEC);
                return;
        }
        if (discovery->again)
                schedule(discovery, discovery->pause);
        discovery->handler(TAKE_PTR(discovery->found), discovery->userdata);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Discovery *discovery = userdata;

        (void) source;
        (void) usec;
        discovery->scheduled = discovery->later = discovery->again = false;
        discovery->scanning = true;
        discovery->job = (Job){ .work = scan_work, .done = scan_done };
        worker_pool_submit(discovery->pool, &discovery->job, LANE_DISCOVERY);
        return 0;
}

static int on_uevent(sd_device_monitor *monitor, sd_device *device, void *userdata) {
        const char *subsystem, *path;

        (void) monitor;
        /* of the drivers, those of these buses */
        if (sd_device_get_subsystem(device, &subsystem) >= 0 && strcmp(subsystem, "drivers") == 0 &&
            (sd_device_get_devpath(device, &path) < 0 ||
             (strncmp(path, "/bus/dax/", 9) != 0 && strncmp(path, "/bus/nd/", 8) != 0)))
                return 0;

        discovery_scan(userdata);
        return 0;
}

/* Of what udev tells, properties are strings that end in a zero; which ones they are is all that is of interest. */
static bool is_about_dax(const char *message, size_t size) {
        static const char dax[] = "SUBSYSTEM=dax", nd[] = "SUBSYSTEM=nd";
        static const char dax_driver[] = "DEVPATH=/bus/dax/drivers/", nd_driver[] = "DEVPATH=/bus/nd/drivers/";

        return memmem(message, size, dax, sizeof(dax)) || memmem(message, size, nd, sizeof(nd)) ||
               memmem(message, size, dax_driver, sizeof(dax_driver) - 1) ||
               memmem(message, size, nd_driver, sizeof(nd_driver) - 1);
}

static int on_message(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        char message[8192];

        (void) source;
        (void) revents;
        for (;;) {
                ssize_t n = recv(fd, message, sizeof(message), MSG_DONTWAIT);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == ENOBUFS) { /* some were lost */
                        discovery_scan(userdata);
                        continue;
                }
                if (n < 0)
                        return 0;
                if (is_about_dax(message, (size_t) n))
                        discovery_scan(userdata);
        }
}

static int discovery_listen(Discovery *discovery, sd_event *event) {
        int r;

        if (discovery->uevents >= 0)
                return sd_event_add_io(event, &discovery->source, discovery->uevents, EPOLLIN, on_message, discovery);

        r = sd_device_monitor_new(&discovery->monitor);
        if (r < 0)
                return r;
        (void) sd_device_monitor_set_receive_buffer_size(discovery->monitor, RECEIVE_BUFFER);

        r = sd_device_monitor_filter_add_match_subsystem_devtype(discovery->monitor, "dax", NULL);
        if (r >= 0)
                r = sd_device_monitor_filter_add_match_subsystem_devtype(discovery->monitor, "nd", NULL);
        if (r >= 0)
                r = sd_device_monitor_filter_add_match_subsystem_devtype(discovery->monitor, "drivers", NULL);
        if (r >= 0)
                r = sd_device_monitor_attach_event(discovery->monitor, event);
        if (r >= 0)
                r = sd_device_monitor_start(discovery->monitor, on_uevent, discovery);
        if (r < 0)
                discovery->monitor = sd_device_monitor_unref(discovery->monitor);
        return r;
}

int discovery_new(sd_event *event, WorkerPool *pool, int uevents, DiscoveryHandler handler, void *userdata,
                  Discovery **ret) {
        Discovery *discovery;
        int r;

        discovery = calloc(1, sizeof(*discovery));
        if (!discovery)
                return -ENOMEM;

        discovery->pool = pool;
        discovery->uevents = -EBADF;
        discovery->handler = handler;
        discovery->userdata = userdata;
        r = sd_event_add_time_relative(event, &discovery->timer, CLOCK_MONOTONIC, 0, 0, on_timer, discovery);
        if (r >= 0)
                r = sd_event_source_set_enabled(discovery->timer, SD_EVENT_OFF);
        if (r < 0) {
                discovery_free(discovery);
                return r;
        }

        discovery->uevents = uevents;
        r = discovery_listen(discovery, event);
        if (r < 0)
                log_warning("no uevents can be had, so it is seen only at a reload that dax regions come or go: %s",
                            strerror(-r));

        *ret = discovery;
        return 0;
}

Discovery *discovery_free(Discovery *discovery) {
        if (!discovery)
                return NULL;

        sd_device_monitor_unref(discovery->monitor);
        sd_event_source_disable_unref(discovery->source);
        safe_close(discovery->uevents);
        sd_event_source_disable_unref(discovery->timer);
        dax_regions_free(discovery->found);
        free(discovery);
        return NULL;
}
