/* SPDX-License-Identifier: MIT */
#pragma once

#include "connection.h"
#include "daxbroker.h"
#include "loop.h"

#include <stdatomic.h>

/* A client: a pool of connections for synchronous calls, and one more for an event loop; see client.c. */

#define CLIENT_IDLE_MAX 4

struct daxbroker_client {
        Connection *idle[CLIENT_IDLE_MAX]; /* guarded by the library's lock, as is the next */
        unsigned n_idle;
        atomic_bool answered; /* the service is known to exist, so waiting for its return makes sense */
        Loop loop;            /* belongs to the thread that runs the event loop */
};

/* The client itself, or the hidden one for NULL. */
daxbroker_client *client_or_default(daxbroker_client *client);

/* Takes a connection that nobody else uses. Give it back, or free it. */
int client_take(daxbroker_client *client, Connection **ret, sd_bus_error *error);
void client_give(daxbroker_client *client, Connection *connection);
