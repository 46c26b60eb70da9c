/* SPDX-License-Identifier: MIT */
#pragma once

/* What is being done to an allocation, mostly in a worker thread, one thing at a time, and who wants to know of it. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "failure.h"
#include "user.h"
#include "worker.h"

typedef struct Allocation Allocation;

/* What somebody hears when an allocation is done with something. r is 0, or a negative errno with failure saying why. The
 * descriptors are -EBADF where there are none, and belong to the callee. */
typedef void (*AllocationHandler)(Allocation *allocation, int r, const Failure *failure, int memory, int lease,
                                  void *userdata);

typedef struct Completion {
        AllocationHandler handler;
        void *userdata;
        struct Completion *next;
} Completion;

/* What an allocation is to become, see change.h. */
typedef struct Change {
        bool sets_mode, sets_owner;
        uint32_t mode;
        uid_t owner;
        char *owner_name; /* owned, as name; NULL if that stays as it is */
        Charge charge;    /* of the new owner */
        char *name;
        uint64_t length;  /* 0 if that stays as it is */
        uint64_t created; /* the same */
        bool shared;      /* the owner that was may refer to it */
        uid_t changer;
        const char *decision; /* how that was authorized; static */
} Change;

/* What is done in a worker thread or at once, and in the event loop when that is over. failure says why it has failed, if r
 * is negative and somebody has said so; it is there for the length of the call. */
typedef int (*OperationWork)(Allocation *allocation, Failure *failure);
typedef void (*OperationDone)(Allocation *allocation, int r, Failure *failure);

typedef struct Operation {
        Job job;
        OperationWork work;
        OperationDone done;
        Failure *failure;     /* on its way from the worker; NULL if there is none, and nearly always */
        bool running;
        bool read_only;       /* of an open, as the next five */
        bool first;           /* that it is opened by somebody else, or for reading only, is not on record yet */
        bool was_shared, was_read_only;
        uid_t opener;         /* or who revokes by force */
        const char *decision; /* how that was authorized; static */
        Change change;        /* all of it 0 if none is made */
        bool reuse;           /* of a creation: the memory is one that this user had before */
        char reused[17];      /* the id it had then */
        bool ready;           /* of a creation: the memory was made ahead */
        uint64_t planned_page_size; /* of a creation that can be learnt from, see warming.h; else 0 */
        bool makes_room;      /* of a creation: others are giving memory back for it */
        bool at_once;         /* it is done in the event loop and must not wait; what would have to fails with -EAGAIN */
        bool despite_references; /* of a revocation by force */
        int memory, lease;    /* results */
        Completion *completion;
} Operation;

/* handler may be NULL: then nobody is told. -ENOMEM. */
int completion_add(Completion **list, AllocationHandler handler, void *userdata);

/* Tells everybody on the list, and empties it; descriptors can go to one only. */
void completions_run(Completion **list, Allocation *allocation, int r, const Failure *failure, int memory, int lease);

/* Starts one. Aside is for what may take long and that nobody waits for. */
void operation_start(Allocation *allocation, OperationWork work, OperationDone done);
void operation_start_aside(Allocation *allocation, OperationWork work, OperationDone done);

/* Does it here and now, in the event loop; for what need not wait for anything. It is over when this returns, and so may the
 * allocation be. */
void operation_do(Allocation *allocation, OperationWork work, OperationDone done);
