/* SPDX-License-Identifier: MIT */

#include "operation.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <utlist.h>

#include "manager.h"

int completion_add(Completion **list, AllocationHandler handler, void *userdata) {
        Completion *completion;

        if (!handler)
                return 0;

        completion = calloc(1, sizeof(*completion));
        if (!completion)
                return -ENOMEM;

        completion->handler = handler;
        completion->userdata = userdata;
        LL_PREPEND(*list, completion);
        return 0;
}

void completions_run(Completion **list, Allocation *allocation, int r, const Failure *failure, int memory, int lease) {
        Completion *completion, *next, *taken = *list;

        *list = NULL;
        LL_FOREACH_SAFE(taken, completion, next) {
                completion->handler(allocation, r, failure, memory, lease, completion->userdata);
                free(completion);
        }
}

static void operation_start_in(Allocation *allocation, uint64_t lane, int (*work)(Job *), void (*done)(Job *, int)) {
        Operation *operation = &allocation->operation;

        assert(!operation->running);
        operation->running = true;
        operation->failure = (Failure){ 0 };
        operation->memory = operation->lease = -EBADF;
        operation->job = (Job){ .work = work, .done = done };
        worker_pool_submit(allocation->manager->pool, &operation->job, lane);
}

void operation_start(Allocation *allocation, int (*work)(Job *), void (*done)(Job *, int)) {
        operation_start_in(allocation, allocation->owner, work, done);
}

void operation_start_aside(Allocation *allocation, int (*work)(Job *), void (*done)(Job *, int)) {
        operation_start_in(allocation, WORKER_ASIDE | allocation->owner, work, done);
}

Allocation *operation_allocation(Job *job) {
        return (Allocation *) (void *) ((char *) job - offsetof(Allocation, operation.job));
}
