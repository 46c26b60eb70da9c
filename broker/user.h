/* SPDX-License-Identifier: MIT */
#pragma once

/* What each uid holds and has waiting, and what it may. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uthash.h>

#include "config.h"
#include "failure.h"
#include "identity.h"

/* One uid. Exists as long as it holds anything, or somebody references it. */
struct User {
        struct UserTable *table;
        uid_t uid;
        unsigned n_refs;
        uint64_t bytes, count; /* held, endings in progress included */
        uint64_t n_ending;     /* of count */
        uint64_t n_pending;    /* calls that wait for an answer */
        uint64_t n_peers;      /* direct connections */
        uint64_t n_handshakes; /* of these, that have not yet said who they are */
        uint64_t n_listening;  /* of the others, that want signals */
        uint64_t n_behind;     /* and those with answers that are not read and so lie in our memory */
        unsigned n_questions[2], n_asked[2]; /* of them to polkit, see authorize.c */
        uint64_t wanted_bytes, wanted_count; /* what these are about */
        void *lister;             /* the call that a list is being put together for, see list-bus.c */
        Waiter *waiting_to_list;
        Waiter *waiting_for_turn; /* his calls that can go on, see server-bus.c */
        bool has_turn;            /* is among those whose calls can */
        User *turn_prev, *turn_next;
        struct Peer *scheduled;   /* his direct connections with something to do, see peer-bus.c */
        User *run_prev, *run_next; /* among those who have such */
        Identity identity;     /* who has the uid */
        UT_hash_handle hh;
};

struct UserTable {
        User *users;
        sd_event *event;  /* as the pool, to ask who has a uid */
        WorkerPool *pool;
        void (*renamed)(User *user, void *userdata); /* it is another user, or his name is another; may be NULL */
        void *userdata;
};

/* A reference to the user of this uid. -ENOMEM. */
int user_get(UserTable *table, uid_t uid, User **ret);
User *user_ref(User *user);
User *user_unref(User *user);

/* A share of a user's quota, embedded in what uses it. */
typedef struct Charge {
        User *user; /* owned reference */
        uint64_t bytes;
        bool ending;
} Charge;

/* Whether the user may hold these bytes in one more allocation: its own rule, else the most generous of its groups', else
 * everybody's. Refuses with QuotaExceeded. */
int quota_admit(const QuotaRule *rules, const User *user, const gid_t *groups, size_t n_groups, uint64_t bytes,
                Failure *failure);

/* The same for one more that takes no more bytes than he holds already. */
int quota_admit_count(const QuotaRule *rules, const User *user, const gid_t *groups, size_t n_groups, Failure *failure);

/* The same for so many more bytes in one that he holds already. */
int quota_admit_growth(const QuotaRule *rules, const User *user, const gid_t *groups, size_t n_groups, uint64_t bytes,
                       Failure *failure);

/* Takes the share, whether there is room or not. */
void charge_take(Charge *charge, User *user, uint64_t bytes);
void charge_resize(Charge *charge, uint64_t bytes);
void charge_set_ending(Charge *charge, bool ending);
void charge_release(Charge *charge);
