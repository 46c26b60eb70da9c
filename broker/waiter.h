/* SPDX-License-Identifier: MIT */
#pragma once

/* Something that has to wait until something else is over, and then looks at the world anew. */

#include <stddef.h>
#include <utlist.h>

typedef struct Waiter {
        void (*wake)(struct Waiter *waiter); /* called off the list */
        struct Waiter **list;                /* where it waits; NULL if nowhere */
        struct Waiter *prev, *next;
} Waiter;

static inline void waiter_add(Waiter **list, Waiter *waiter) {
        DL_APPEND(*list, waiter);
        waiter->list = list;
}

static inline void waiter_remove(Waiter *waiter) {
        if (!waiter->list)
                return;

        DL_DELETE(*waiter->list, waiter);
        waiter->list = NULL;
}

/* Wakes those that wait now; who starts to wait meanwhile stays. */
static inline void waiters_wake(Waiter **list) {
        Waiter *waiting = *list, *waiter, *next;

        *list = NULL;
        DL_FOREACH(waiting, waiter)
                waiter->list = NULL;
        DL_FOREACH_SAFE(waiting, waiter, next)
                waiter->wake(waiter);
}
