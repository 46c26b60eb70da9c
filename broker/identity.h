/* SPDX-License-Identifier: MIT */
#pragma once

/* Who has a uid today. Uids are given to somebody else when their user was deleted, and memory that has a name may outlive
 * that: so it is compared with what the user was called when he took it. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "waiter.h"
#include "worker.h"

typedef struct User User;
typedef struct UserTable UserTable;

/* What a uid that no user has is called; no user is called so. */
#define IDENTITY_NOBODY "-"

/* Names are kept in this many bytes, the last one is NUL: printable ASCII, the rest written as %XX. */
#define IDENTITY_NAME_MAX 256

/* What the user database says about a uid. Belongs to the event loop, but for what the job works on. */
typedef struct Identity {
        char *name;      /* IDENTITY_NOBODY if there is no such user; NULL if it is not known */
        gid_t *groups;   /* of that user; only if somebody has asked for them */
        size_t n_groups;
        uint64_t as_of, groups_as_of; /* CLOCK_MONOTONIC microseconds when it was asked; 0 for never */
        uint64_t told_as_of, groups_told_as_of; /* the same of the last answer that was one */
        int error;       /* why it is not known, or 0 */
        Waiter *waiters; /* for the running look-up */
        struct Lookup *running;
        sd_event_source *patience; /* how long they wait for it */
        uint64_t patient_since;
} Identity;

/* Whether it is known who has the uid, or that it cannot be found out, as of a moment not before since. */
bool identity_is_known(const User *user, uint64_t since, bool with_groups);

/* Whether it was told who has the uid, as of a moment not before since, whatever has become of later questions. */
bool identity_was_told(const User *user, uint64_t since, bool with_groups);

/* Asks the user database in a worker thread, if nobody does already. Waiters are woken when it has answered, or has not in
 * some seconds. */
int identity_look_up(User *user, bool with_groups);

/* Whether who is called so still has the uid, as far as is known. NULL is anybody. */
bool identity_is(const User *user, const char *name);

void identity_done(Identity *identity);

