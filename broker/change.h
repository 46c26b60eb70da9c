/* SPDX-License-Identifier: MIT */
#pragma once

/* A change of what an allocation is: who may open it, whose it is, what it is called, how long it is. */

#include <stdint.h>
#include <sys/types.h>

#include "failure.h"
#include "operation.h"
#include "record.h"
#include "user.h"

/* Who has asked for it, and why he could; for the log. */
typedef struct Changer {
        uid_t uid;
        const char *decision; /* static */
} Changer;

/* All of these start something; not while allocation_is_busy(). They refuse, or the handler is called later. */
int allocation_set_mode(Allocation *allocation, uint32_t mode, const Changer *changer, AllocationHandler handler,
                        void *userdata, Failure *failure);

/* Another name, valid and not NULL; refuses with NameExists. */
int allocation_rename(Allocation *allocation, const char *name, const Changer *changer, AllocationHandler handler,
                      void *userdata, Failure *failure);

/* Another owner, about whom everything is known (identity.h), and who is charged from now on; or the same, by the name that
 * he has today. name may be NULL for the one it has. What is open stays open. QuotaExceeded, NameExists. */
int allocation_set_owner(Allocation *allocation, User *owner, const char *name, const QuotaRule *quotas,
                         const Changer *changer, AllocationHandler handler, void *userdata, Failure *failure);

/* Whether there is room for so many bytes more, in the region or in the grant that it was taken from; refuses with
 * NoSpace. */
int allocation_admit_growth(const Allocation *allocation, uint64_t more, Failure *failure);

/* Another length, which is one that the provider gives. More is charged to its owner, who was asked for his quota before.
 * NoSpace, NotSupported. */
int allocation_resize(Allocation *allocation, uint64_t length, const Changer *changer, AllocationHandler handler,
                      void *userdata, Failure *failure);

/* The record of what an allocation becomes by the change that is being made, if one is. */
void change_apply(const Allocation *allocation, Record *record);
