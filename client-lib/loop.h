/* SPDX-License-Identifier: MIT */
#pragma once

#include "connection.h"
#include "daxbroker.h"

#include <errno.h>

/* The part of a client that lives in somebody's event loop; see loop.c. */

typedef struct Operation Operation;

typedef struct Loop {
        Connection *connection; /* NULL if there is none yet, or none just now */
        int idle_fd;            /* what is polled meanwhile; it never fires */
        Operation *operations;  /* calls whose callback is still to come */

        daxbroker_watch_callback watch; /* NULL for none */
        void *watch_userdata;
        char *owner;         /* the service's unique name, NULL while it is away */
        uint64_t connect_at; /* when to connect again for the watch's sake; UINT64_MAX: no need to */
        unsigned attempt;
        bool reset_due; /* the watch is to be told that it has missed something */

        bool processing; /* daxbroker_client_process() is at work, */
        bool orphaned;   /* and a callback has freed the client */
} Loop;

#define LOOP_NONE { .idle_fd = -EBADF, .connect_at = UINT64_MAX }

/* Makes sure that there is a connection, with the watch on it if there is one. */
int loop_connect(daxbroker_client *client, sd_bus_error *error);

/* Closes and forgets everything, callbacks included. */
void loop_clear(daxbroker_client *client);

/* See watch.c: puts the matches on a new connection; the negative errno has no sentence. */
int watch_install(daxbroker_client *client);
void watch_tell(daxbroker_client *client, const char *event, const char *object, const char *properties);
