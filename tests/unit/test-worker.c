/* SPDX-License-Identifier: MIT */

/* The worker threads: every job is done once, nobody's jobs delay another's, and the end waits for what it should. */

#include "worker.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>

#define LANE_MAX 4 /* as worker.c promises: "only a few" */
#define THREADS_MAX 128

/* Long enough for a loaded machine, shorter than the pool's own timers. */
#define SOON_USEC (5 * G_USEC_PER_SEC)

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static bool no_memory;

void *__wrap_calloc(size_t n, size_t size) {
        return no_memory ? NULL : __real_calloc(n, size);
}

/* With pthread's means rather than GLib's, which ThreadSanitizer does not understand. */
typedef struct Gate {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        bool open;
        unsigned n_running, n_running_max, n_started;
} Gate;

typedef struct TestJob {
        Job job;
        Gate *gate;      /* waits here; NULL for one that just runs */
        Gate *statistics;
        int result;
        unsigned position; /* when it started, from 1 */
        unsigned n_done;
        int seen;
        struct TestJob *then; /* submitted by done() */
        WorkerPool *pool;
} TestJob;

static void gate_init(Gate *gate) {
        *gate = (Gate) { 0 };
        pthread_mutex_init(&gate->mutex, NULL);
        pthread_cond_init(&gate->changed, NULL);
}

static void gate_open(Gate *gate) {
        pthread_mutex_lock(&gate->mutex);
        gate->open = true;
        pthread_cond_broadcast(&gate->changed);
        pthread_mutex_unlock(&gate->mutex);
}

static void gate_done(Gate *gate) {
        pthread_mutex_destroy(&gate->mutex);
        pthread_cond_destroy(&gate->changed);
}

static unsigned gate_count_started(Gate *gate) {
        unsigned n;

        pthread_mutex_lock(&gate->mutex);
        n = gate->n_started;
        pthread_mutex_unlock(&gate->mutex);
        return n;
}

static int work(Job *job) {
        TestJob *test = (TestJob *) job;
        Gate *gate = test->gate, *statistics = test->statistics;

        if (statistics) {
                pthread_mutex_lock(&statistics->mutex);
                test->position = ++statistics->n_started;
                statistics->n_running++;
                statistics->n_running_max = MAX(statistics->n_running_max, statistics->n_running);
                pthread_mutex_unlock(&statistics->mutex);
        }
        if (gate) {
                pthread_mutex_lock(&gate->mutex);
                while (!gate->open)
                        pthread_cond_wait(&gate->changed, &gate->mutex);
                pthread_mutex_unlock(&gate->mutex);
        }
        if (statistics) {
                pthread_mutex_lock(&statistics->mutex);
                statistics->n_running--;
                pthread_mutex_unlock(&statistics->mutex);
        }
        return test->result;
}

static void done(Job *job, int result) {
        TestJob *test = (TestJob *) job;

        test->n_done++;
        test->seen = result;
        if (test->then)
                worker_pool_submit(test->pool, &test->then->job, 9);
}

static TestJob job_of(int result, Gate *gate, Gate *statistics) {
        return (TestJob) {
                .job = { .work = work, .done = done }, .result = result, .gate = gate, .statistics = statistics, .seen = -1
        };
}

typedef struct Pool {
        sd_event *event;
        WorkerPool *pool;
} Pool;

static Pool pool_new(void) {
        Pool pool;

        g_assert_cmpint(sd_event_new(&pool.event), ==, 0);
        g_assert_cmpint(worker_pool_new(pool.event, &pool.pool), ==, 0);
        return pool;
}

static void pool_end(Pool *pool) {
        g_assert_true(worker_pool_drain(pool->pool, 60 * G_USEC_PER_SEC));
        g_assert_null(worker_pool_free(pool->pool));
        sd_event_unref(pool->event);
}

/* Runs the loop until all n jobs are done; false if that takes too long. */
static bool pool_wait(Pool *pool, const TestJob *jobs, size_t n) {
        gint64 end = g_get_monotonic_time() + SOON_USEC;

        while (g_get_monotonic_time() < end) {
                size_t i;

                for (i = 0; i < n && jobs[i].n_done > 0; i++)
                        ;
                if (i == n)
                        return true;
                g_assert_cmpint(sd_event_run(pool->event, 10000), >=, 0);
        }
        return false;
}

static void wait_started(Gate *statistics, unsigned n) {
        gint64 end = g_get_monotonic_time() + SOON_USEC;

        while (gate_count_started(statistics) < n) {
                g_assert_cmpint(g_get_monotonic_time(), <, end);
                g_usleep(1000);
        }
}

static void assert_done_once(const TestJob *jobs, size_t n) {
        for (size_t i = 0; i < n; i++) {
                g_assert_cmpuint(jobs[i].n_done, ==, 1);
                g_assert_cmpint(jobs[i].seen, ==, jobs[i].result);
        }
}

static void test_empty(void) {
        Pool pool = pool_new();

        pool_end(&pool);
        g_assert_null(worker_pool_free(NULL));
}

static void test_results(void) {
        enum { N = 500 };
        g_autofree TestJob *jobs = g_new(TestJob, N);
        Pool pool = pool_new();

        for (int i = 0; i < N; i++) {
                jobs[i] = job_of(i % 3 == 0 ? -EIO : i, NULL, NULL);
                worker_pool_submit(pool.pool, &jobs[i].job, (uid_t) i % 7);
        }
        g_assert_true(pool_wait(&pool, jobs, N));
        assert_done_once(jobs, N);

        /* The same object once more. */
        jobs[0].n_done = 0;
        worker_pool_submit(pool.pool, &jobs[0].job, 3);
        g_assert_true(pool_wait(&pool, jobs, 1));
        assert_done_once(jobs, N);
        pool_end(&pool);
}

/* done() is for the loop alone: nothing happens before it runs. */
static void test_done_in_loop(void) {
        Pool pool = pool_new();
        TestJob job;
        Gate statistics;

        gate_init(&statistics);
        job = job_of(5, NULL, &statistics);
        worker_pool_submit(pool.pool, &job.job, 0);
        wait_started(&statistics, 1);
        g_usleep(20000);
        g_assert_cmpuint(job.n_done, ==, 0);
        g_assert_true(pool_wait(&pool, &job, 1));
        pool_end(&pool);
        gate_done(&statistics);
}

static void test_lane_limit(void) {
        enum { N = 40 };
        TestJob jobs[N];
        Pool pool = pool_new();
        Gate gate, statistics;

        gate_init(&gate);
        gate_init(&statistics);
        for (int i = 0; i < N; i++) {
                jobs[i] = job_of(i, &gate, &statistics);
                worker_pool_submit(pool.pool, &jobs[i].job, 1000);
        }
        wait_started(&statistics, LANE_MAX);
        g_usleep(50000);
        g_assert_cmpuint(gate_count_started(&statistics), ==, LANE_MAX);
        gate_open(&gate);
        g_assert_true(pool_wait(&pool, jobs, N));
        assert_done_once(jobs, N);
        g_assert_cmpuint(statistics.n_running_max, ==, LANE_MAX);
        pool_end(&pool);
        gate_done(&gate);
        gate_done(&statistics);
}

/* With all but one of the lane's places taken, its jobs run one by one, as they came. */
static void test_order(void) {
        enum { N = 200 };
        TestJob stuck[LANE_MAX - 1], jobs[N];
        Pool pool = pool_new();
        Gate gate, started, statistics;

        gate_init(&gate);
        gate_init(&started);
        gate_init(&statistics);
        for (size_t i = 0; i < G_N_ELEMENTS(stuck); i++) {
                stuck[i] = job_of(0, &gate, &started);
                worker_pool_submit(pool.pool, &stuck[i].job, 1000);
        }
        wait_started(&started, G_N_ELEMENTS(stuck));

        for (int i = 0; i < N; i++) {
                jobs[i] = job_of(i, NULL, &statistics);
                worker_pool_submit(pool.pool, &jobs[i].job, 1000);
        }
        g_assert_true(pool_wait(&pool, jobs, N));
        g_assert_cmpuint(statistics.n_running_max, ==, 1);
        for (unsigned i = 0; i < N; i++)
                g_assert_cmpuint(jobs[i].position, ==, i + 1);

        gate_open(&gate);
        pool_end(&pool);
        assert_done_once(stuck, G_N_ELEMENTS(stuck));
        gate_done(&gate);
        gate_done(&started);
        gate_done(&statistics);
}

/* A user whose jobs hang, with many more behind them, delays nobody else. */
static void test_stuck_lane(void) {
        enum { N_STUCK = LANE_MAX + 100, N = 50 };
        TestJob stuck[N_STUCK], jobs[N];
        Pool pool = pool_new();
        Gate gate, statistics;

        gate_init(&gate);
        gate_init(&statistics);
        for (int i = 0; i < N_STUCK; i++) {
                stuck[i] = job_of(i, &gate, &statistics);
                worker_pool_submit(pool.pool, &stuck[i].job, 1000);
        }
        wait_started(&statistics, LANE_MAX);

        for (int i = 0; i < N; i++) {
                jobs[i] = job_of(i, NULL, NULL);
                worker_pool_submit(pool.pool, &jobs[i].job, 1001);
        }
        g_assert_true(pool_wait(&pool, jobs, N));
        g_assert_cmpuint(gate_count_started(&statistics), ==, LANE_MAX);
        for (int i = 0; i < N_STUCK; i++)
                g_assert_cmpuint(stuck[i].n_done, ==, 0);

        gate_open(&gate);
        g_assert_true(pool_wait(&pool, stuck, N_STUCK));
        assert_done_once(stuck, N_STUCK);
        pool_end(&pool);
        gate_done(&gate);
        gate_done(&statistics);
}

/* All threads exist, few are idle, and one user asks for all of those at once. The ones it cannot use are there for the
 * next. Whether its jobs come before the threads wake up is luck, so it is tried more than once. */
static void test_idle_threads(void) {
        enum { N_IDLE = 2 * LANE_MAX, N_STUCK = THREADS_MAX - N_IDLE, N_ROUNDS = 10 };
        TestJob stuck[N_STUCK], short_ones[N_IDLE], greedy[N_IDLE], job;
        Pool pool = pool_new();
        Gate gate, start, greedy_gate, statistics;

        gate_init(&gate);
        gate_init(&start);
        gate_init(&statistics);
        for (unsigned i = 0; i < N_STUCK; i++) {
                stuck[i] = job_of(0, &gate, &statistics);
                worker_pool_submit(pool.pool, &stuck[i].job, i / LANE_MAX);
        }
        for (unsigned i = 0; i < N_IDLE; i++) {
                short_ones[i] = job_of(0, &start, &statistics);
                worker_pool_submit(pool.pool, &short_ones[i].job, 100 + i);
        }
        wait_started(&statistics, THREADS_MAX);
        gate_open(&start);
        g_assert_true(pool_wait(&pool, short_ones, N_IDLE));

        for (unsigned round = 0; round < N_ROUNDS; round++) {
                g_usleep(10000); /* until they all wait again */
                gate_init(&greedy_gate);
                for (unsigned i = 0; i < N_IDLE; i++)
                        greedy[i] = job_of(0, &greedy_gate, NULL);
                for (unsigned i = 0; i < N_IDLE; i++)
                        worker_pool_submit(pool.pool, &greedy[i].job, 1000);
                g_usleep(10000); /* until they have seen that there is nothing for them */

                job = job_of(7, NULL, NULL);
                worker_pool_submit(pool.pool, &job.job, 1001);
                g_assert_true(pool_wait(&pool, &job, 1));

                gate_open(&greedy_gate);
                g_assert_true(pool_wait(&pool, greedy, N_IDLE));
                assert_done_once(greedy, N_IDLE);
                gate_done(&greedy_gate);
        }

        gate_open(&gate);
        pool_end(&pool);
        assert_done_once(stuck, N_STUCK);
        gate_done(&gate);
        gate_done(&start);
        gate_done(&statistics);
}

/* Every thread is stuck: what comes then waits, and is done as soon as one is free. */
static void test_all_stuck(void) {
        TestJob stuck[THREADS_MAX], job = job_of(3, NULL, NULL);
        Pool pool = pool_new();
        Gate gate, statistics;

        gate_init(&gate);
        gate_init(&statistics);
        for (unsigned i = 0; i < THREADS_MAX; i++) {
                stuck[i] = job_of(0, &gate, &statistics);
                worker_pool_submit(pool.pool, &stuck[i].job, i / LANE_MAX);
        }
        wait_started(&statistics, THREADS_MAX);
        worker_pool_submit(pool.pool, &job.job, 5000);
        g_assert_cmpint(sd_event_run(pool.event, 50000), >=, 0);
        g_assert_cmpuint(job.n_done, ==, 0);

        gate_open(&gate);
        g_assert_true(pool_wait(&pool, &job, 1));
        pool_end(&pool);
        assert_done_once(stuck, THREADS_MAX);
        gate_done(&gate);
        gate_done(&statistics);
}

/* With one thread left for all, lanes take turns, however long their queues are. */
static void test_turns(void) {
        enum { N_STUCK = THREADS_MAX - 1, N_LONG = 50, N_SHORT = 3 };
        TestJob stuck[N_STUCK], long_lane[N_LONG], short_lane[N_SHORT], first;
        Pool pool = pool_new();
        Gate gate, start, started, statistics;

        gate_init(&gate);
        gate_init(&start);
        gate_init(&started);
        gate_init(&statistics);
        for (unsigned i = 0; i < N_STUCK; i++) {
                stuck[i] = job_of(0, &gate, &started);
                worker_pool_submit(pool.pool, &stuck[i].job, i / LANE_MAX);
        }
        first = job_of(0, &start, &started);
        worker_pool_submit(pool.pool, &first.job, 999);
        wait_started(&started, THREADS_MAX);

        for (unsigned i = 0; i < N_LONG; i++) {
                long_lane[i] = job_of(0, NULL, &statistics);
                worker_pool_submit(pool.pool, &long_lane[i].job, 1000);
        }
        for (unsigned i = 0; i < N_SHORT; i++) {
                short_lane[i] = job_of(0, NULL, &statistics);
                worker_pool_submit(pool.pool, &short_lane[i].job, 1001);
        }
        gate_open(&start);
        g_assert_true(pool_wait(&pool, long_lane, N_LONG));
        g_assert_true(pool_wait(&pool, short_lane, N_SHORT));
        for (unsigned i = 0; i < N_SHORT; i++)
                g_assert_cmpuint(short_lane[i].position, ==, 2 * (i + 1));

        gate_open(&gate);
        pool_end(&pool);
        gate_done(&gate);
        gate_done(&start);
        gate_done(&started);
        gate_done(&statistics);
}

/* Without memory for lanes all of it is done nevertheless. */
static void test_no_memory(void) {
        enum { N = 100 };
        TestJob jobs[N];
        Pool pool = pool_new();

        no_memory = true;
        for (int i = 0; i < N; i++) {
                jobs[i] = job_of(i % 3 == 0 ? -EIO : i, NULL, NULL);
                worker_pool_submit(pool.pool, &jobs[i].job, (uid_t) i % 7);
        }
        no_memory = false;
        g_assert_true(pool_wait(&pool, jobs, N));
        assert_done_once(jobs, N);
        pool_end(&pool);
}

/* Draining does what is queued, and what that leads to. */
static void test_drain(void) {
        enum { N = 100 };
        TestJob jobs[N], chain[10];
        Pool pool = pool_new();

        for (int i = 0; i < N; i++) {
                jobs[i] = job_of(i, NULL, NULL);
                worker_pool_submit(pool.pool, &jobs[i].job, (uid_t) i % 3);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(chain); i++) {
                chain[i] = job_of((int) i, NULL, NULL);
                chain[i].pool = pool.pool;
                chain[i].then = i + 1 < G_N_ELEMENTS(chain) ? &chain[i + 1] : NULL;
        }
        worker_pool_submit(pool.pool, &chain[0].job, 9);

        pool_end(&pool);
        assert_done_once(jobs, N);
        assert_done_once(chain, G_N_ELEMENTS(chain));
}

static void test_drain_stuck(void) {
        TestJob stuck, job = job_of(1, NULL, NULL);
        Pool pool = pool_new();
        Gate gate, statistics;
        gint64 start;

        gate_init(&gate);
        gate_init(&statistics);
        stuck = job_of(0, &gate, &statistics);
        worker_pool_submit(pool.pool, &stuck.job, 1);
        worker_pool_submit(pool.pool, &job.job, 2);
        wait_started(&statistics, 1);

        start = g_get_monotonic_time();
        g_assert_false(worker_pool_drain(pool.pool, 200000));
        g_assert_cmpint(g_get_monotonic_time() - start, >=, 150000);
        g_assert_cmpint(g_get_monotonic_time() - start, <, SOON_USEC);
        g_assert_cmpuint(job.n_done, ==, 1);
        g_assert_cmpuint(stuck.n_done, ==, 0);

        /* Once it is no longer stuck. */
        gate_open(&gate);
        pool_end(&pool);
        assert_done_once(&stuck, 1);
        gate_done(&gate);
        gate_done(&statistics);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/worker/empty", test_empty);
        g_test_add_func("/worker/results", test_results);
        g_test_add_func("/worker/done-in-loop", test_done_in_loop);
        g_test_add_func("/worker/lane-limit", test_lane_limit);
        g_test_add_func("/worker/order", test_order);
        g_test_add_func("/worker/stuck-lane", test_stuck_lane);
        g_test_add_func("/worker/idle-threads", test_idle_threads);
        g_test_add_func("/worker/all-stuck", test_all_stuck);
        g_test_add_func("/worker/turns", test_turns);
        g_test_add_func("/worker/no-memory", test_no_memory);
        g_test_add_func("/worker/drain", test_drain);
        g_test_add_func("/worker/drain-stuck", test_drain_stuck);
        return g_test_run();
}
