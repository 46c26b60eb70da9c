/* SPDX-License-Identifier: MIT */
#pragma once

/* Threads for what may block, so that the event loop never does. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

typedef struct WorkerPool WorkerPool;
typedef struct Job Job;

/* One piece of blocking work, embedded in the object it is about. The object must stay until done() was called. */
struct Job {
        int (*work)(Job *job);              /* called in a worker thread; its result goes to done() */
        void (*done)(Job *job, int result); /* called in the event loop */
        Job *next;                          /* the pool's, as the rest */
        int result;
};

int worker_pool_new(sd_event *event, WorkerPool **ret);

/* Waits for running and queued jobs for at most grace microseconds, calling their done(), and ends the threads. Returns
 * false if a thread was stuck: the pool and what its jobs point to must then stay as they are until the process ends. */
bool worker_pool_drain(WorkerPool *pool, uint64_t grace);
WorkerPool *worker_pool_free(WorkerPool *pool);

/* Queues a job, which cannot fail. lane is the user it is done for: jobs of one lane start in the order they came, only a few
 * of them run at once, and lanes take turns, so that a user who makes jobs hang delays nobody but himself. With WORKER_ASIDE
 * it is the user's lane for what takes long and that nobody waits for. */
#define WORKER_ASIDE (UINT64_C(1) << 32)
/* With this, for questions about who he is, which may take as long as a name service does. */
#define WORKER_NAMES (UINT64_C(1) << 33)
void worker_pool_submit(WorkerPool *pool, Job *job, uint64_t lane);
