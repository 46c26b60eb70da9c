/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

/* One connection to the service, of one process; see connection.c. */

typedef struct Connection Connection;

struct Connection {
        sd_bus *bus;
        int fd;    /* what bus has open; kept here because sd-bus does not tell a child */
        pid_t pid; /* the process it belongs to */
        bool direct;      /* to the service itself */
        bool second_best; /* over the bus, because there was nobody to be reached directly */
        Connection *next, *previous;
};

/* Connects, and waits for the other side to say hello. On failure the error is filled in. */
int connection_open(Connection **ret, sd_bus_error *error);
Connection *connection_free(Connection *connection);

/* Whether it belongs to this process and not to one that this one was forked from. */
bool connection_is_ours(const Connection *connection);

/* Takes in what has arrived meanwhile and tells whether a call can be made. */
bool connection_is_usable(Connection *connection);

/* In a child, with the library locked: closes this process's copies of the parent's sockets. */
void connection_disown_all(void);
