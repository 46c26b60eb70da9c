/* SPDX-License-Identifier: MIT */
#pragma once

/* A direct connection: a client that talks to the broker without a bus in between. */

#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <uthash.h>

#include "call-bus.h"
#include "caller.h"
#include "handshake.h"
#include "hang-up.h"
#include "listener.h"
#include "turn.h"

typedef struct Peer {
        Server *server;
        int fd; /* the bus has a copy */
        sd_event_source *source;
        sd_event_source *deadline; /* for the handshake; NULL when that is over */
        Caller *caller;            /* owned */
        Handshake handshake;
        sd_bus *bus;               /* NULL until that is over */
        uint64_t active;           /* when it was last served; CLOCK_MONOTONIC microseconds */
        unsigned n_whole;          /* messages that are known to be there as a whole, and in order */
        unsigned n_fds;            /* sent since it was last seen to have read everything */
        unsigned n_promised;       /* descriptors that are being made for it */
        unsigned n_matches;        /* it wants signals if there are any */
        bool writable;             /* perhaps */
        bool more;                 /* there is perhaps more to read than was looked at */
        bool behind;               /* it was sent more than the socket takes, and that is not read yet */
        bool scheduled;
        bool doomed;   /* to be closed as soon as nobody is busy with it */
        bool judged, sees_all; /* whether it is known, and so, that polkit lets it hear of everybody's allocations */
        Call *again;   /* those of its calls that are to be run again */
        struct Peer *prev, *next;             /* all of them */
        struct Peer *run_prev, *run_next;     /* those that there is something to do for */
        struct Peer *listen_prev, *listen_next; /* those that want signals */
        UT_hash_handle hh;                    /* by bus */
} Peer;

/* All direct connections of one server. */
typedef struct Peers {
        Listener *listener;
        HangUps *hang_ups;
        Turn run;
        sd_event_source *trim;
        char id[SD_ID128_STRING_MAX]; /* that of the "bus" */
        uint64_t last_number;
        unsigned n, peak; /* the most since the heap was trimmed */
        Peer *all, *by_bus, *listening;
        User *scheduled; /* who have something to do */
} Peers;

/* Begins to accept connections; fd as for listener_new_consume_fd(). Whatever fails is logged: there is the bus, too. */
void peers_listen_consume_fd(Server *server, int fd);
void peers_free(Server *server);

/* Whose connection it is; NULL if it is the system bus's, or that of somebody who has gone. */
Peer *peer_find(Server *server, sd_bus *bus);

/* Has one of its calls run again, when there is room for the answer. */
void peer_run_again(Peer *peer, Call *call);

/* To be called when a long answer was sent: counts who does not read it. */
void peer_has_been_answered(Peer *peer);

/* To be called when something is begun whose reply will have descriptors, and when it has ended, whatever it was; and before
 * that when such a reply was sent. */
void peer_promise_fds(Peer *peer, unsigned n);
void peer_has_been_sent_fds(Peer *peer, unsigned n);
void peer_end_promise(Peer *peer, unsigned n);

/* To be called when a signal was sent. */
void peer_has_been_told(Peer *peer);

/* One more thing that it wants to hear of, and one less. */
void peer_add_match(Peer *peer);
void peer_remove_match(Peer *peer);

/* driver-bus.c: what clients ask a bus for. */
int server_add_driver(Server *server, sd_bus *bus);
