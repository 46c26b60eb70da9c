/* SPDX-License-Identifier: MIT */
#pragma once

/* Who sent a message: what the bus, or the kernel, vouches for. */

#include <sys/types.h>
#include <systemd/sd-bus.h>
#include <uthash.h>

#include "credentials.h"
#include "user.h"
#include "waiter.h"

typedef struct Server Server;
typedef struct Call Call;
typedef struct Peer Peer;

/* One connection that has called us: to the bus, kept until it leaves that, or to us. */
typedef struct Caller {
        Server *server;
        char *name; /* the unique one on the bus; or one that none on the bus can have */
        Peer *peer; /* its direct connection; NULL if it calls over the bus */
        Credentials credentials; /* of that one */
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

/* For a direct connection, which owns it; takes the credentials over if that works. */
int caller_new_direct(Server *server, const char *name, Peer *peer, const Credentials *credentials, Caller **ret);

/* Drops its calls and forgets it. */
void caller_gone(Caller *caller);

/* Whether polkit can be asked about it: refuses if its process is gone, or was never to be seen. */
int caller_identify(Caller *caller, Failure *failure);

/* Appends it as a subject, as polkit calls it. */
int caller_append_subject(const Caller *caller, sd_bus_message *m);

/* Starts to notice when callers leave the bus. */
int callers_watch(Server *server);
void callers_free(Server *server);
