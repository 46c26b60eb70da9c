/* SPDX-License-Identifier: MIT */
#pragma once

/* All leases that are watched, as one source of events, however many they are. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "lease.h"

typedef struct LeaseWatch LeaseWatch;

int lease_watch_new(sd_event *event, LeaseWatch **ret);

/* No lease is in it any more. */
LeaseWatch *lease_watch_free(LeaseWatch *watch);

/* Whether a lease has lapsed that was not told of it yet. */
bool lease_watch_is_behind(const LeaseWatch *watch);

/* Has it call lapsed() once, when the last holder is gone; for what is in it already, once more. */
int lease_watch_add(LeaseWatch *watch, Lease *lease);
void lease_watch_remove(LeaseWatch *watch, Lease *lease);
