/* SPDX-License-Identifier: MIT */
#pragma once

/* Everything the broker knows: configuration, regions, users, allocations, and the directories it writes to. */

#include <systemd/sd-event.h>

#include "allocation.h"
#include "config.h"
#include "discovery.h"
#include "end-marks.h"
#include "grant.h"
#include "lease-watch.h"
#include "node-watch.h"
#include "record-file.h"
#include "region.h"
#include "roll.h"
#include "user.h"
#include "waiter.h"
#include "worker.h"

/* Who wants to hear of changes; the bus does. */
typedef struct Observer {
        void (*allocation_added)(Allocation *allocation, void *userdata);
        void (*allocation_removed)(Allocation *allocation, void *userdata);
        void (*allocation_changed)(Allocation *allocation, const char *property, void *userdata);
        void (*grant_added)(Grant *grant, void *userdata);
        void (*grant_removed)(Grant *grant, void *userdata);
        void (*region_added)(Region *region, void *userdata);
        void (*region_changed)(Region *region, void *userdata);
        void (*config_changed)(void *userdata);
        void *userdata;
} Observer;

struct Manager {
        sd_event *event;
        WorkerPool *pool;
        Config *config;
        Region *regions; /* utlist */
        DaxRegion *dax;  /* what discovery has found; regions point to it */
        Discovery *discovery;
        struct Warming *warming; /* what is made ahead of requests; NULL while no region wants that */
        LeaseWatch *leases;
        NodeWatch *nodes;
        EndMarks *marks; /* NULL if there is no service manager to keep them */
        UserTable users;
        Allocation *by_id, *by_name; /* uthash */
        Allocation *by_claim;        /* by the name they are about to get */
        Allocation *draining;        /* utlist: those whose provider drains, of which there cannot be very many */
        Grant *grants;               /* uthash, those that are being made included */
        Roll allocation_roll, grant_roll; /* ids of all of them */
        struct Reserved *reserves; /* places of an earlier boot that are still to be taken */
        uint64_t n_allocations;
        uint64_t n_stored;        /* descriptors that the service manager keeps for them, at most */
        uint64_t max_allocations; /* what our limit of descriptors is good for */
        RecordFile *records; /* of what lives no longer than the machine's power */
        int leases_dir, grants_dir, devices_dir;
        int lasting_dir;          /* records of what outlives the machine's power; -EBADF without STATE_DIRECTORY */
        unsigned n_listing;       /* regions whose media are being looked at */
        sd_event_source *mounts;  /* tells that file systems were mounted or unmounted */
        int uevents; /* what the service manager passed for discovery, until that has it */
        int listener; /* the same for direct connections */
        Waiter *waiting_for_space;
        sd_event_source *settle;   /* deferred: wakes who waits for space */
        sd_event_source *patience;      /* a while after something has appeared: what still cannot be used, should be */
        sd_event_source *prepare_again; /* later: regions that could not be */
        uint64_t prepare_pause;         /* how much later it was last, in microseconds; 0 if that has succeeded since */
        sd_event_source *announce; /* a little later: tells of changed regions, so that a burst is told once */
        const Observer *observer;
        Job reload_job;
        Config *reloaded;              /* what the job has read */
        Waiter *waiting_for_reload;    /* the running one */
        Waiter *waiting_for_next_reload;
        bool reloading, reload_again;
        bool started; /* what an earlier broker left is known */
};

/* Takes the configuration over. Opens the directories below RUNTIME_DIRECTORY. */
int manager_new(sd_event *event, Config *config, Manager **ret);

/* To be called when what an earlier broker left is known: from now on regions are prepared ahead of requests. */
int manager_start(Manager *manager);

/* Waits a few seconds for what is being done. False if something is stuck: then nothing may be freed any more. */
bool manager_drain(Manager *manager);

/* Forgets everything, and leaves it all in place for the next broker. After manager_drain(). */
Manager *manager_free(Manager *manager);

Region *manager_find_region(const Manager *manager, const char *name);
Allocation *manager_find_allocation(const Manager *manager, const char *id);
Allocation *manager_find_allocation_by_name(const Manager *manager, const char *name);

/* Refuses with NameExists a name that an allocation has, or is about to get. */
int manager_admit_name(const Manager *manager, const char *name, Failure *failure);

/* An id that nothing has, or has had: 64 random bits, so that an object path that was seen once never means something else
 * later. -EAGAIN: there is no randomness yet. */
int manager_make_id(const Manager *manager, char ret[static 17]);

/* Judges whether a validated and planned request can be met now: its name is free, the quota allows it, there is room,
 * and the broker can keep one more. With a grant (or NULL), from that. No side effects. *ret_retained is what this user has
 * had before and nobody else may have, if that is to be taken, else NULL. */
int manager_admit(const Manager *manager, const Region *region, const Request *request, const Piece *plan,
                  const Grant *grant, const User *user, const gid_t *groups, size_t n_groups, Allocation **ret_retained,
                  Failure *failure);

/* The same for a grant of what the plan says. */
int manager_admit_grant(const Manager *manager, const Region *region, const Piece *plan, const User *user,
                        const gid_t *groups, size_t n_groups, Failure *failure);

/* Whether something that manager_admit() refused might be admitted when endings in progress are over. */
bool manager_is_settling(const Manager *manager, const Region *region, const Request *request, const Piece *plan,
                         const Grant *grant, const User *user, Refusal refusal);

/* The watch over device nodes, which is made when the first one is to be watched. */
int manager_get_nodes(Manager *manager, NodeWatch **ret);

/* To be called after anything that changes a region's account; what follows from it happens later, once. */
void manager_settle(Manager *manager);

/* Whatever is kept because it may be referred to is judged again, now: what judges may know more, or matter less. */
void manager_judge_again(Manager *manager);

/* Reads the configuration again, in a worker thread, and applies it; waiter (may be NULL) is woken when that is done. */
void manager_reload(Manager *manager, Waiter *waiter);
