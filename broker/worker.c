/* SPDX-License-Identifier: MIT */

/* A pool of threads that is fair and cannot be exhausted by one user.
 *
 * A holder of memory can make the kernel hang in work on that memory for as long as it likes, for instance by keeping a
 * write to its memfd waiting for a page that a file system of its own serves: the inode stays locked, and revoking it
 * waits. So jobs belong to lanes, one per uid, another one per uid for zeroing what he has had, which can take minutes
 * and must not keep him from anything else, and a third one for asking the user database about him. A lane has at most
 * LANE_MAX jobs running; the lanes that have jobs waiting and room to run them stand in a ring and take turns. Threads are
 * made when needed, up to THREADS_MAX, and leave when idle, all but the first, so that there always is one.
 *
 * Finished jobs return to the event loop through an eventfd. Everything below the mutex is shared; Lane and ring are only
 * ever touched with it held. */

#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>
#include <utlist.h>

#include "cleanup.h"
#include "thread.h"

#define THREADS_MAX 128
#define LANE_MAX 4
#define STACK_SIZE (1024 * 1024) /* name services want some */
#define IDLE_SEC 10

typedef struct Lane {
        uint64_t id;
        unsigned running;
        uint64_t n_waiting;
        bool in_ring;
        Job *waiting; /* utlist, singly linked; tail kept beside it because appending must be cheap */
        Job *waiting_last;
        struct Lane *prev, *next;
        UT_hash_handle hh;
} Lane;

struct WorkerPool {
        pthread_mutex_t mutex;
        pthread_cond_t work;   /* a lane came into the ring, or the pool ends */
        pthread_cond_t leaving; /* a thread left */
        Lane *lanes;           /* those with anything waiting or running */
        Lane common;           /* for whoever there is no memory for one of his own; not among them */
        Lane *ring;
        unsigned n_threads, n_running; /* the others sleep, or are about to look at the ring */
        unsigned n_runnable;           /* jobs that could run at once, given threads */
        bool stopping;
        Job *finished;
        int event_fd;
        sd_event_source *source;
        uint64_t n_unfinished; /* the loop's own: submitted, done() not yet called */
};

static void lane_update_ring(WorkerPool *pool, Lane *lane) {
        bool ready = lane->waiting && lane->running < LANE_MAX;

        if (ready && !lane->in_ring)
                DL_APPEND(pool->ring, lane);
        else if (!ready && lane->in_ring)
                DL_DELETE(pool->ring, lane);
        lane->in_ring = ready;

        if (!lane->waiting && lane->running == 0 && lane != &pool->common) {
                HASH_DEL(pool->lanes, lane);
                free(lane);
        }
}

/* Takes the next job of the next lane, and sends that lane to the end of the ring. */
static Job *pool_take(WorkerPool *pool, Lane **ret_lane) {
        Lane *lane = pool->ring;
        Job *job = lane->waiting;

        lane->waiting = job->next;
        if (!lane->waiting)
                lane->waiting_last = NULL;
        lane->n_waiting--;
        lane->running++;
        pool->n_runnable--;
        pool->n_running++;
        DL_DELETE(pool->ring, lane);
        lane->in_ring = false;
        lane_update_ring(pool, lane);

        *ret_lane = lane;
        return job;
}

static void pool_wake_loop(WorkerPool *pool) {
        uint64_t one = 1;

        (void) !write(pool->event_fd, &one, sizeof(one));
}

static void pool_run_one(WorkerPool *pool) {
        bool is_first;
        Lane *lane;
        Job *job;

        job = pool_take(pool, &lane);
        pthread_mutex_unlock(&pool->mutex);

        job->result = job->work(job);

        pthread_mutex_lock(&pool->mutex);
        is_first = !pool->finished;
        LL_PREPEND(pool->finished, job);
        pool->n_running--;
        lane->running--;
        if (lane->n_waiting + lane->running >= LANE_MAX)
                pool->n_runnable++; /* one of those that wait for their lane */
        lane_update_ring(pool, lane);

        /* not with the mutex, which is the first thing that the loop wants then */
        pthread_mutex_unlock(&pool->mutex);
        if (is_first)
                pool_wake_loop(pool);
        pthread_mutex_lock(&pool->mutex);
}

/* Waits for work. False if the thread has been idle for long enough to leave, or if the pool ends. */
static bool pool_wait(WorkerPool *pool) {
        struct timespec deadline;

        (void) clock_gettime(CLOCK_MONOTONIC, &deadline);
        deadline.tv_sec += IDLE_SEC;

        while (!pool->ring) {
                int r;

                if (pool->stopping)
                        return false;

                r = pthread_cond_timedwait(&pool->work, &pool->mutex, &deadline);
                if (r == ETIMEDOUT && !pool->ring) {
                        if (pool->n_threads > 1)
                                return false;
                        (void) clock_gettime(CLOCK_MONOTONIC, &deadline);
                        deadline.tv_sec += IDLE_SEC;
                }
        }

        return true;
}

static void *worker_thread(void *userdata) {
        WorkerPool *pool = userdata;

        pthread_mutex_lock(&pool->mutex);
        while (pool_wait(pool))
                pool_run_one(pool);
        pool->n_threads--;
        pthread_cond_broadcast(&pool->leaving);
        pthread_mutex_unlock(&pool->mutex);

        return NULL;
}

/* Called with the mutex held. */
static int pool_add_thread(WorkerPool *pool) {
        int r;

        r = thread_start(STACK_SIZE, worker_thread, pool, NULL);
        if (r < 0)
                return r;

        pool->n_threads++;
        return 0;
}

static void pool_finish_jobs(WorkerPool *pool) {
        Job *finished, *job, *next;

        pthread_mutex_lock(&pool->mutex);
        finished = pool->finished;
        pool->finished = NULL;
        pthread_mutex_unlock(&pool->mutex);

        LL_FOREACH_SAFE(finished, job, next) {
                pool->n_unfinished--;
                job->done(job, job->result);
        }
}

static int on_finished(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        uint64_t count;

        (void) source;
        (void) revents;
        (void) !read(fd, &count, sizeof(count));
        pool_finish_jobs(userdata);
        return 0;
}

int worker_pool_new(sd_event *event, WorkerPool **ret) {
        pthread_condattr_t monotonic;
        WorkerPool *pool;
        int r;

        pool = calloc(1, sizeof(*pool));
        if (!pool)
                return -ENOMEM;

        pthread_mutex_init(&pool->mutex, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&pool->work, &monotonic);
        pthread_cond_init(&pool->leaving, &monotonic);
        pthread_condattr_destroy(&monotonic);

        pool->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (pool->event_fd < 0) {
                r = -errno;
                goto fail;
        }
        r = sd_event_add_io(event, &pool->source, pool->event_fd, EPOLLIN, on_finished, pool);
        if (r < 0)
                goto fail;

        pthread_mutex_lock(&pool->mutex);
        r = pool_add_thread(pool);
        pthread_mutex_unlock(&pool->mutex);
        if (r < 0)
                goto fail;

        *ret = pool;
        return 0;

fail:
        worker_pool_free(pool);
        return r;
}

bool worker_pool_drain(WorkerPool *pool, uint64_t grace) {
        struct timespec deadline, now;
        bool stuck;

        (void) clock_gettime(CLOCK_MONOTONIC, &deadline);
        deadline.tv_sec += (time_t) (grace / 1000000);
        deadline.tv_nsec += (long) (grace % 1000000) * 1000;
        if (deadline.tv_nsec >= 1000000000) {
                deadline.tv_sec++;
                deadline.tv_nsec -= 1000000000;
        }

        /* done() may submit further jobs, which are waited for too */
        while (pool->n_unfinished > 0) {
                struct pollfd wait = { .fd = pool->event_fd, .events = POLLIN };
                int64_t left;

                (void) clock_gettime(CLOCK_MONOTONIC, &now);
                left = (deadline.tv_sec - now.tv_sec) * 1000 + (deadline.tv_nsec - now.tv_nsec) / 1000000;
                if (left <= 0 || (poll(&wait, 1, (int) left) < 0 && errno != EINTR))
                        break;
                (void) on_finished(NULL, pool->event_fd, 0, pool);
        }

        pthread_mutex_lock(&pool->mutex);
        pool->stopping = true;
        pthread_cond_broadcast(&pool->work);
        while (pool->n_threads > 0)
                if (pthread_cond_timedwait(&pool->leaving, &pool->mutex, &deadline) == ETIMEDOUT)
                        break;
        stuck = pool->n_threads > 0;
        pthread_mutex_unlock(&pool->mutex);

        return !stuck && pool->n_unfinished == 0;
}

WorkerPool *worker_pool_free(WorkerPool *pool) {
        if (!pool)
                return NULL;

        sd_event_source_disable_unref(pool->source);
        safe_close(pool->event_fd);
        pthread_cond_destroy(&pool->work);
        pthread_cond_destroy(&pool->leaving);
        pthread_mutex_destroy(&pool->mutex);
        free(pool);
        return NULL;
}

/* Called with the mutex held. A job that is not done would be an end that never comes, so there is a lane for each. */
static Lane *pool_lane(WorkerPool *pool, uint64_t id) {
        Lane *lane;

        HASH_FIND(hh, pool->lanes, &id, sizeof(id), lane);
        if (lane)
                return lane;

        lane = calloc(1, sizeof(*lane));
        if (!lane)
                return &pool->common;

        lane->id = id;
        HASH_ADD(hh, pool->lanes, id, sizeof(lane->id), lane);
        return lane;
}

void worker_pool_submit(WorkerPool *pool, Job *job, uint64_t id) {
        bool can_run;
        Lane *lane;

        job->next = NULL;
        job->result = 0;
        pool->n_unfinished++;

        pthread_mutex_lock(&pool->mutex);
        lane = pool_lane(pool, id);
        if (lane->waiting_last)
                lane->waiting_last->next = job;
        else
                lane->waiting = job;
        lane->waiting_last = job;
        lane->n_waiting++;
        can_run = lane->n_waiting + lane->running <= LANE_MAX;
        lane_update_ring(pool, lane);

        if (can_run) {
                pool->n_runnable++;
                if (pool->n_threads - pool->n_running < pool->n_runnable && pool->n_threads < THREADS_MAX)
                        /* where none can be added the job waits for one of those that are there */
                        (void) pool_add_thread(pool);
        }
        pthread_mutex_unlock(&pool->mutex);
        if (can_run)
                pthread_cond_signal(&pool->work);
}
