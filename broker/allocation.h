/* SPDX-License-Identifier: MIT */
#pragma once

/* One piece of memory that was handed out: its life from the reservation to the end. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uthash.h>

#include "failure.h"
#include "lease.h"
#include "node-watch.h"
#include "operation.h"
#include "provider.h"
#include "record.h"
#include "region.h"
#include "request.h"
#include "user.h"
#include "waiter.h"
#include "worker.h"

typedef struct Manager Manager;
typedef struct Grant Grant;

typedef enum AllocationState {
        ALLOCATION_CARVING,     /* reserved; nobody has seen it yet */
        ALLOCATION_LIVE,
        ALLOCATION_DRAINING,    /* ending; somebody may still have a descriptor or a mapping of it */
        ALLOCATION_CLEANING,    /* ending; nobody has it, it is being zeroed */
        ALLOCATION_REVOKING,    /* ending; its memory is not free before that is over */
        ALLOCATION_DETACHED,    /* its holders have it and we have no descriptor: only they can end it */
        ALLOCATION_QUARANTINED, /* nobody may have it; an admin may end it */
        ALLOCATION_ORPHAN,      /* found on a medium, and nothing says whose it is; an admin may */
} AllocationState;

struct Allocation {
        Manager *manager;
        char id[17];
        char *name;   /* NULL if it has none */
        char *name_on_record; /* what its record calls it while that name is another's; else NULL */
        char *reason; /* what is the matter with it, or NULL */
        char *unit;   /* of the process that asked, or NULL */
        char *owner_name; /* what its owner was called when it became his; NULL if that does not matter */
        uid_t owner;
        pid_t pid;
        uint32_t group, mode;
        bool persistent;
        bool reserve; /* its place is kept over a reboot, without its contents */
        bool restored; /* and it was, or was to be; nobody has asked */
        bool in_use; /* a copy of its lease is open somewhere */
        bool away;   /* what it lies on is not there just now; detached for as long */
        bool missed; /* not found yet by the look at its region's medium that is going on */
        uint64_t created;
        AllocationState state;
        const Provider *provider; /* that made it; a region can get another when none of its pieces are left */
        Piece piece;
        Reservation reservation;
        Charge charge;
        Lease lease;
        Node node;             /* where the provider drains */
        Grant *grant;          /* that it is taken from, as long as that is there; the event loop's, as its places in lists */
        Allocation *member_prev, *member_next;
        char grant_id[17];     /* that it was taken from, or "" */
        Operation operation;
        const char *decision;  /* how it was authorized; static */
        const char *end_cause; /* it shall end as soon as the operation is over; static */
        const char *end_decision; /* why he could who ended it; NULL if nobody did; static */
        uid_t end_uid;
        bool end_late;         /* revoking takes longer than it should */
        unsigned n_tries;      /* to carve it where nobody else is */
        bool untouched;        /* nobody has ever got it */
        bool shared;           /* somebody else than its owner has opened it, and may refer to its pages still */
        bool read_only;        /* somebody has got a descriptor for reading only */
        bool marked;           /* a later broker can find out who has let go */
        bool suspect;          /* it is to be inspected when the operation is over */
        bool drained;          /* nobody has a descriptor or a mapping any more */
        bool lost;             /* its device is gone, and what has its name is none of ours */
        bool doubted;          /* discovery does not show its device; to be looked at when the operation is over */
        bool referenced;       /* as far as it was judged */
        char *reason_kept;     /* why, and for whom it is kept; NULL if it is not, or if there was no memory for it */
        unsigned n_judged;     /* how often somebody was found to refer to it still */
        Completion *ending;    /* who wants to know when it has ended */
        sd_event_source *end_timer; /* of whatever its end waits for */
        Waiter *waiters; /* calls that wait for the operation to be over */
        Allocation *drain_prev, *drain_next; /* among those whose provider drains */
        UT_hash_handle by_id, by_name, by_claim;
};

/* Who asks, as far as an allocation remembers it. */
typedef struct Origin {
        User *user;
        pid_t pid;
        const char *unit;
        const char *decision; /* how it was authorized, for the log; static */
        Grant *grant;         /* that it is to be taken from, or NULL */
} Origin;

/* Whether it is retained: drained and kept for its owner. */
bool allocation_is_retained(const Allocation *allocation);

/* The following start something; not while allocation_is_busy(). -ENOMEM, or the handler is called later. */
bool allocation_is_busy(const Allocation *allocation);
int allocation_open(Allocation *allocation, bool read_only, uid_t opener, const char *decision,
                    AllocationHandler handler, void *userdata);

/* Looks whether a holder has done something to its memory that has to be undone; at once, or when what is being done to it is
 * over. */
void allocation_inspect(Allocation *allocation);

/* How it is changed is in change.h, */
/* Who ended an allocation, and why he could; the string is static. */
typedef struct Ender {
        uid_t uid;
        const char *decision;
} Ender;

/* and its end in ending.c.
 *
 * Ends it, at any time; at once, or when what is being done to it is over. cause is a static string for the log, ender NULL
 * if nobody asked for it. The handler (may be NULL) hears when the memory is free again, or why that takes longer than
 * RevokeTimeoutSec=; where memory is not taken from its holders, when nothing can stop the end any more. -EBUSY if it takes
 * that long already, or if too many want to hear. */
int allocation_end(Allocation *allocation, const char *cause, const Ender *ender, AllocationHandler handler, void *userdata);

/* Takes what is draining or quarantined from its holders, who get SIGBUS, and their descriptors die. Refuses with
 * StillReferenced while the kernel may refer to its pages, unless despite_references; with Busy where it cannot be done.
 * The handler hears as that of allocation_end() does. */
int allocation_force(Allocation *allocation, bool despite_references, const Ender *ender, AllocationHandler handler,
                     void *userdata, Failure *failure);

/* Whether it belongs to who has this uid today, as far as that is known (owner-bus.c sees to that): not to somebody who
 * has got the uid of a user that is gone. */
bool allocation_is_owned_by(const Allocation *allocation, uid_t uid);

/* Whether its owner is gone, that is, his uid is nobody's or somebody else's. */
bool allocation_has_lost_owner(const Allocation *allocation);

/* Whether a holder with this uid and these groups may read, or read and write, as the mode says. */
bool allocation_mode_allows(const Allocation *allocation, uid_t uid, const gid_t *groups, size_t n_groups,
                            bool read_only);

const char *allocation_state_to_string(AllocationState state);

/* Says in its reason what is wrong with its memory, if anything is. */
void allocation_examine(Allocation *allocation);

/* Into the log: what keeps it from being used, as state and reason say. */
void allocation_log_unusable(const Allocation *allocation);

/* Begins the end that end_cause asks for; when no operation runs. */
void allocation_end_now(Allocation *allocation);

/* Goes on with an end that an earlier broker has begun: nobody has seen what was being carved, or its holders may have it,
 * or nobody has it any more. */
int allocation_resume_end(Allocation *allocation, RecordStage stage);

/* Whether it is quarantined for what somebody else did to its device, and has not ended. */
bool allocation_is_taken_down(const Allocation *allocation);

/* Parts of its end that others bring about: it is quarantined; nobody has it any more; it is judged again, if nobody has it
 * and that is not being done; and, after something that has changed nothing, what came meanwhile. */
void allocation_quarantine(Allocation *allocation, const char *why);
void allocation_drained(Allocation *allocation);
void allocation_judge_now(Allocation *allocation);
void allocation_catch_up(Allocation *allocation);

/* Gives its memory and its shares back; nobody has it, and nothing of it is left. */
void allocation_release(Allocation *allocation);

/* Watches its node; only ending.c wants to know. by_path is NULL where the descriptor is there. */
int allocation_watch_node(Allocation *allocation, const char *by_path);

/* Has the service manager keep copies of its descriptors, if the next broker needs them. May block. */
int allocation_store_fds(const Allocation *allocation);

/* Tells the service manager to drop its copies of the descriptors. May block. */
void allocation_unstore_fds(const Allocation *allocation);

/* For all who change it: the record as of now, at this stage; into the log; to whoever watches. */
int allocation_write_record(Allocation *allocation, RecordStage stage);
/* Says why it could not be written. Returns r, or what the refusal is as an errno. */
int allocation_refuse_record(const Allocation *allocation, int r, Failure *failure);
int allocation_remove_record(const Allocation *allocation);
/* Makes the record of that id its own. */
int allocation_take_record(const Allocation *allocation, const char *id);

/* Removes the record of something that this provider has made, or of which nobody knows who has, NULL. */
int manager_remove_record(Manager *manager, const Provider *provider, const char *id);
void allocation_log(const Allocation *allocation, const char *event, uid_t uid, const char *unit, const char *decision,
                    const char *message);
/* Of what went wrong when everybody had said yes. */
void allocation_log_refusal(const Allocation *allocation, uid_t uid, const char *unit, const Failure *failure);
void allocation_notify(Allocation *allocation, const char *property);
void allocation_notify_added(Allocation *allocation);

/* Ends an operation: the results go to whom they are for, then to whoever waited for his turn. */
void allocation_finish_operation(Allocation *allocation, int r, const Failure *failure);
void allocation_set_state(Allocation *allocation, AllocationState state);

/* For recovery.c: an empty one, and what makes it known. */
Allocation *allocation_new(Manager *manager, const char *id);
Allocation *allocation_free(Allocation *allocation);
void allocation_link(Allocation *allocation);
void allocation_unlink(Allocation *allocation);
int allocation_watch(Allocation *allocation);
