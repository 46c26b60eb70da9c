/* SPDX-License-Identifier: MIT */

/* One thing at a time is done to an allocation: in a worker, or in the event loop where nothing can block. An operation is
 * part of its allocation, which cannot go while one is under way. Who wants to hear of its end, or of the allocation's, is in
 * a list of completions, each of which is called once. */

#include "operation.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <utlist.h>

#include "cleanup.h"
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

static Allocation *operation_allocation(Job *job) {
        return (Allocation *) (void *) ((char *) job - offsetof(Allocation, operation.job));
}

/* In a worker thread. Without memory for it, what has failed is known by its errno alone. */
static int operation_work(Job *job) {
        Allocation *allocation = operation_allocation(job);
        Failure failure = { 0 };
        int r;

        r = allocation->operation.work(allocation, &failure);
        if (failure.refusal == REFUSAL_NONE)
                return r;
        allocation->operation.failure = malloc(sizeof(failure));
        if (allocation->operation.failure)
                *allocation->operation.failure = failure;
        return r;
}

static void operation_done(Job *job, int r) {
        Allocation *allocation = operation_allocation(job);
        Failure *carried = TAKE_PTR(allocation->operation.failure), none = { 0 };

        allocation->operation.done(allocation, r, carried ? carried : &none);
        free(carried);
}

static void operation_begin(Operation *operation, bool at_once, OperationWork work, OperationDone done) {
        assert(!operation->running);
        operation->running = true;
        operation->at_once = at_once;
        operation->memory = operation->lease = -EBADF;
        operation->work = work;
        operation->done = done;
        operation->job = (Job){ .work = operation_work, .done = operation_done };
}

static void operation_start_in(Allocation *allocation, uint64_t lane, OperationWork work, OperationDone done) {
        operation_begin(&allocation->operation, false, work, done);
        worker_pool_submit(allocation->manager->pool, &allocation->operation.job, lane);
}

void operation_start(Allocation *allocation, OperationWork work, OperationDone done) {
        operation_start_in(allocation, allocation->owner, work, done);
}

void operation_start_aside(Allocation *allocation, OperationWork work, OperationDone done) {
        operation_start_in(allocation, WORKER_ASIDE | allocation->owner, work, done);
}

void operation_do(Allocation *allocation, OperationWork work, OperationDone done) {
        Job *job = &allocation->operation.job;

        operation_begin(&allocation->operation, true, work, done);
        operation_done(job, operation_work(job));
}
