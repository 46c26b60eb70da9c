/* SPDX-License-Identifier: MIT */
#pragma once

/* Memory of a region that is kept for one user, who takes allocations from it without being asked for each. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uthash.h>

#include "allocation.h"
#include "failure.h"
#include "lease.h"
#include "provider.h"
#include "region.h"
#include "user.h"
#include "worker.h"

typedef struct Manager Manager;
typedef struct Grant Grant;

/* Hears that a grant was made, or why not; then it is NULL. The lease is the callee's. */
typedef void (*GrantHandler)(Grant *grant, int r, const Failure *failure, int lease, void *userdata);

struct Grant {
        Manager *manager;
        char id[17];
        uid_t owner;
        pid_t pid;
        char *unit;   /* of the process that asked, or NULL */
        char *handle; /* what the provider finds its places by after a restart; NULL where there are none */
        uint64_t created;
        uint64_t size;   /* in all; less than was reserved if somebody else has made something of it */
        uint64_t alignment, page_size;
        uint64_t taken;  /* of size, by its members, those that are ending included */
        uint64_t ending; /* of that, by those; expected back soon */
        Hold *hold;      /* the places, where the provider has such */
        Reservation reservation; /* of the region: what is not taken */
        Charge charge;           /* the same */
        Lease lease;
        Allocation *members;     /* utlist: allocations that were taken from it and are not gone */
        unsigned n_members;
        bool persistent;         /* what is taken from it may be */
        const char *decision;    /* how it was authorized; static */
        bool making;
        Job job;
        int lease_fd;   /* result of the job */
        Failure failure; /* the same */
        GrantHandler handler;
        void *userdata;
        UT_hash_handle hh;
};

/* Keeps what the plan says for a user. Everything was judged before: only limits of the broker itself can fail here.
 * Otherwise the handler is called exactly once, later. */
int grant_create(Manager *manager, Region *region, const Request *request, const Piece *plan, const Origin *origin,
                 GrantHandler handler, void *userdata, Failure *failure);

/* Gives back what is not taken; what is, lives on by itself. cause is a static string for the log, ender NULL if nobody asked
 * for it. Frees it. */
void grant_end(Grant *grant, const char *cause, const Ender *ender);

/* What can still be taken from it in all, and at once. */
uint64_t grant_available(const Grant *grant);
uint64_t grant_largest(const Grant *grant);

/* Whether a planned request can be taken from it now; refuses with NoSpace. */
int grant_admit(const Grant *grant, const Piece *plan, Failure *failure);

/* Whether it might, when endings of its members that are in progress are over. */
bool grant_is_settling(const Grant *grant, const Piece *plan);

/* An allocation, which has its own shares already, is taken from it; and gives what it had back, before it gives back these.
 * The last one: its memory was found to be somebody else's. */
void grant_take(Grant *grant, Allocation *allocation);
void grant_give(Allocation *allocation);
void grant_lose(Allocation *allocation);

/* What an allocation that is a member has is expected back soon, or is not any more; to be called before its share of the
 * region says so. */
void grant_expect(const Allocation *allocation, bool ending);

/* Whether a member can become longer by this much; refuses with NoSpace. Its shares have become others; these are what they
 * were. */
int grant_admit_growth(const Grant *grant, uint64_t more, Failure *failure);
void grant_follow(Allocation *allocation, uint64_t before);

/* The memory of one member becomes that of another allocation. */
void grant_pass(Allocation *from, Allocation *to);

/* Makes one again of a record of an earlier broker's; before the allocations that were taken from it. What has lapsed since
 * then ends as soon as the event loop runs. -ENOMEM and the like; what is lost is said in the log. */
int grant_recover(Manager *manager, const char *id);

/* The grant that an allocation which is found again was taken from, if it is there still; NULL otherwise. */
Grant *grant_find_origin(const Manager *manager, const Allocation *allocation, const Region *region);

Grant *manager_find_grant(const Manager *manager, const char *id);

/* Forgets them all, and leaves them for the next broker. */
void grants_free(Manager *manager);
