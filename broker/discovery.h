/* SPDX-License-Identifier: MIT */
#pragma once

/* What there is to make regions of, at the start and whenever the kernel adds or removes some. */

#include <systemd/sd-event.h>

#include "dax.h"
#include "worker.h"

typedef struct Discovery Discovery;

/* Called in the event loop with all that is there now, after each change; the list becomes the handler's. */
typedef void (*DiscoveryHandler)(DaxRegion *regions, void *userdata);

/* The name of a descriptor that the service manager may pass: a netlink socket for what udev tells (multicast group 2). A
 * service in a network namespace of its own hears nothing through a socket that it makes itself. */
#define DISCOVERY_SOCKET "uevents"

/* Listens for uevents of the dax bus, and of its drivers, from now on; does not scan by itself before one comes. Scans in
 * worker threads; changes that come while a scan runs cause another one after it. Where uevents cannot be had that is
 * logged, and only discovery_scan() sees changes. uevents: the socket that was passed, taken over, or -EBADF to make one. */
int discovery_new(sd_event *event, WorkerPool *pool, int uevents, DiscoveryHandler handler, void *userdata, Discovery **ret);

/* Only after the pool was drained: a scan may be running. */
Discovery *discovery_free(Discovery *discovery);

/* Scans soon; at once if there was no scan yet. */
void discovery_scan(Discovery *discovery);

/* Scans within 10 seconds, for what makes no uevents, such as that somebody gives up the size of a device. */
void discovery_scan_later(Discovery *discovery);
