/* SPDX-License-Identifier: MIT */
#pragma once

/* Who sent a message: what the bus vouches for. */

#include <sys/types.h>
#include <systemd/sd-bus.h>
#include <uthash.h>

#include "user.h"
#include "waiter.h"

typedef struct Server Server;
typedef struct Call Call;

/* One connection to the bus that has called us. Kept until it leaves the bus. */
typedef struct Caller {
        Server *server;
        char *name; /* the unique one */
        User *user; /* owned reference; NULL as long as the bus has not answered */
        gid_t *groups;
        size_t n_groups;
        unsigned n_sent; /* replies with descriptors */
        uint64_t since; /* when it was first heard of; CLOCK_MONOTONIC microseconds */
        pid_t pid;  /* for the log, never for a decision */
        char *unit; /* the same */
        sd_bus_slot *slot;
        Waiter *waiters; /* calls that wait for the answer */
        Call *calls;     /* all of its calls that wait for anything */
        unsigned n_calls;
        UT_hash_handle hh;
} Caller;

/* The sender of a message. *ret->user is NULL if the bus is still being asked. */
int caller_get(Server *server, sd_bus_message *message, Caller **ret);

/* The same if it is known; NULL also if it has left the bus. */
Caller *caller_find(Server *server, sd_bus_message *message);

/* Starts to notice when callers leave the bus. */
int callers_watch(Server *server);
void callers_free(Server *server);
