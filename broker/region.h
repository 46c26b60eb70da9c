/* SPDX-License-Identifier: MIT */
#pragma once

/* A source of memory, and the account of its bytes: each is free, used, or on its way back. */

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "dax.h"
#include "failure.h"
#include "provider.h"
#include "warm.h"
#include "worker.h"

#define REGION_ALIGNMENTS_MAX 4

struct Region {
        char *name;
        char *reason; /* why it is unusable; NULL if it is not */
        const Provider *provider;
        uint64_t size;
        uint64_t used;   /* of which */
        uint64_t ending;      /* being revoked: still used, soon to be free */
        uint64_t quarantined; /* held back: freed by its holders, and not to be given to everybody */
        uint64_t granted;     /* kept for holders of grants, and not taken yet */
        uint64_t foreign;     /* beside used: what others than the broker have carved from it */
        unsigned n_reservations;
        uint64_t granularity;
        uint64_t alignments[REGION_ALIGNMENTS_MAX];
        unsigned n_alignments;
        int numa_node;              /* of its memory, or the nearest; -1 if there is none */
        int target_node;            /* its memory would be this node as ordinary memory; -1 if none */
        DaxPerformance performance; /* as the kernel publishes it; 0 where it says nothing */
        uint64_t largest;           /* no piece can be longer, however much is free; UINT64_MAX without such a limit */
        const char *clean, *recycle; /* the policies in force, as daxbroker.conf(5) has them; "" where there are none */
        DaxRegion *dax;             /* what discovery found of this name, or NULL */
        Warm warm;                  /* what is made ahead of requests */
        bool warm_refused;          /* it was said that the provider cannot */
        unsigned n_ahead;           /* pieces made ahead that have a place, those on their way back too: state is in use */
        void *state;                /* the provider's */
        int notes_dir;              /* borrowed: where the provider may note what it has made */
        bool settled;               /* what udev and others do about what the kernel shows should be done by now */
        bool recovered;             /* what an earlier broker has carved is known: the rest is somebody else's */
        uint64_t lesson_given;      /* when the last one was begun, if it was not learnt; else 0 */
        uint64_t drain_timeout;     /* how long a holder may take to let go, microseconds */
        Job replenish;
        bool replenishing;    /* and so the provider's state is in use */
        bool configure_again; /* it could not be configured as it should be, because of that */
        void *replenisher;    /* who started it */
        Failure replenish_failure;
        char unprepared[FAILURE_TEXT_MAX]; /* why the last try has failed; "" if it has not */
        bool prepared, prepare_later; /* once, and so a failure of ours is no reason to refuse everything */
        bool listed;          /* what its medium holds is known; only where the provider lists it */
        bool listing, list_again, list_later;
        bool outdated;        /* its medium holds something that is not known yet; the provider's to say */
        Job list;
        void *lister;         /* who started it */
        Inventory inventory;
        uint64_t n_released, n_released_before; /* allocations that have ended; and when the look began */
        Failure list_failure;
        char unlisted[FAILURE_TEXT_MAX]; /* why the last try has failed; "" if it has not */
        bool changed; /* Available and what follows from it, since the last signal */
        struct Region *prev, *next;
};

/* A part of a region's bytes, embedded in what uses them. */
typedef struct Reservation {
        Region *region;
        uint64_t bytes;
        bool ending, quarantined, granted;
} Reservation;

/* Makes a region of a configuration, and probes it. Always succeeds but for -ENOMEM: what cannot be used is an unusable
 * region that says why. */
int region_new(const RegionConfig *config, DaxRegion *dax, int notes_dir, Region **ret);
Region *region_free(Region *region);

/* An unusable region that only keeps the account of what was carved from it when it was configured. */
int region_new_unconfigured(const char *name, const Provider *provider, int notes_dir, Region **ret);

/* Applies a changed configuration. Sizes can grow and shrink; below what is used, nothing is available until enough has
 * come back. -ENOMEM leaves it as it was. */
int region_configure(Region *region, const RegionConfig *config);

/* No more patience with a region that cannot be used yet: it is said in the log. */
void region_expect_no_more(Region *region);

/* Makes it unusable. */
void region_disable(Region *region, const char *reason);

uint64_t region_available(const Region *region);

/* Whether these bytes are to be had now; refuses with NoSpace or RegionUnusable. */
int region_admit(const Region *region, uint64_t bytes, Failure *failure);

/* Takes them, whether there is room or not: what a record or an admitted request says is used, is used. */
void reservation_take(Reservation *reservation, Region *region, uint64_t bytes);
/* Makes it longer or shorter, in the same way. */
void reservation_resize(Reservation *reservation, uint64_t bytes);
void reservation_set_ending(Reservation *reservation, bool ending);
void reservation_set_quarantined(Reservation *reservation, bool quarantined);
void reservation_set_granted(Reservation *reservation);
void reservation_release(Reservation *reservation);
