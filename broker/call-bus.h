/* SPDX-License-Identifier: MIT */
#pragma once

/* One method call being served. */

#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <uthash.h>

#include "caller.h"
#include "failure.h"
#include "log.h"
#include "waiter.h"

typedef struct Question Question;
typedef struct Listing Listing;

struct Call {
        Server *server;
        sd_bus_message *message; /* owned reference */
        Caller *caller;          /* borrowed: a caller that goes takes its calls with it */
        uint64_t began;          /* CLOCK_MONOTONIC microseconds */
        User *subject;           /* owned reference: whom it is about, where that is somebody else than the caller */
        bool counted;            /* among its user's pending ones */
        bool measured;           /* it is short enough to wait */
        Question *question;      /* owned: what polkit was asked for it */
        Listing *listing;        /* owned: what was put together of the list that it asks for */
        Waiter waiter;
        bool again;                /* to be run again, as soon as its direct connection has room */
        sd_event_source *patience; /* runs while it waits for space */
        bool impatient;            /* it has waited long enough */
        LogFields about;           /* for the log: what it is about, as far as that is known; borrowed */
        Call *prev, *next;         /* the caller's */
        Call *again_prev, *again_next;
        UT_hash_handle hh;
};

enum {
        CALL_WAITS = 0, /* the handler will run again from the top */
        CALL_DONE = 1,  /* it was answered, or somebody else will answer it */
        CALL_PASS = 2,  /* filters only: process the message further */
};

/* Reads, validates, looks up, authorizes; has no side effects until it no longer returns CALL_WAITS. A negative return
 * value refuses, with failure saying why. */
typedef int (*CallHandler)(Call *call, Failure *failure);

/* Runs a handler for a message: the first time, or again. Returns what an sd-bus callback should: 1 if the message was
 * dealt with, 0 for CALL_PASS. */
int call_run(Server *server, sd_bus_message *message, CallHandler handler);

/* The same with the handler of the method that the message calls. */
typedef struct Method {
        const char *member;
        CallHandler handler;
} Method;
#define call_dispatch(server, message, methods) \
        call_dispatch_among(server, message, methods, sizeof(methods) / sizeof((methods)[0]))
int call_dispatch_among(Server *server, sd_bus_message *message, const Method *methods, size_t n_methods);

/* Makes the call wait until the list is woken. Refuses with TooManyRequests if its user has too many that wait. */
int call_wait(Call *call, Waiter **list, Failure *failure);

/* The same for space that is on its way back, or for a medium that is being looked at, and not for ever: CALL_WAITS, or r if
 * it has waited long enough. */
int call_wait_for_space(Call *call, int r, Failure *failure);
int call_wait_for_media(Call *call, int r, Failure *failure);

/* Has it go on when others have had a turn; CALL_WAITS. For handlers with much to do. */
int call_yield(Call *call);

Call *call_from_waiter(Waiter *waiter);

/* Counts it among its user's pending calls. */
int call_count(Call *call, Failure *failure);

/* Runs it again. */
void call_again(Call *call);
Call *call_free(Call *call);

/* Answers a message with a refusal. */
void reply_refusal(sd_bus_message *message, int r, const Failure *failure);
