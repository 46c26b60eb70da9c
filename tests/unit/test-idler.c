/* SPDX-License-Identifier: MIT */

/* The thread for what is done while nothing else is. */

#include "idler.h"

#include <glib.h>
#include <sched.h>
#include <semaphore.h>

typedef struct Task {
        unsigned n_worked, n_done;
        int policy;
        GThread *loop;
        sem_t go, gone;
} Task;

static void work(void *userdata) {
        Task *task = userdata;

        g_assert_true(task->loop != g_thread_self());
        task->policy = sched_getscheduler(0);
        while (sem_wait(&task->go) < 0)
                ;
        task->n_worked++;
}

static void done(void *userdata) {
        Task *task = userdata;

        g_assert_true(task->loop == g_thread_self());
        task->n_done++;
}

static void test_work(void) {
        Task task = { .loop = g_thread_self() };
        const IdleWork idle = { .work = work, .done = done, .userdata = &task };
        sd_event *event;
        Idler *idler;

        g_assert_cmpint(sem_init(&task.go, 0, 0), ==, 0);
        g_assert_cmpint(sd_event_new(&event), ==, 0);
        g_assert_cmpint(idler_new(event, &idler), ==, 0);
        g_assert_false(idler_is_busy(idler));
        for (unsigned i = 0; i < 3; i++) {
                g_assert_cmpint(idler_start(idler, &idle), ==, 0);
                g_assert_true(idler_is_busy(idler));
                g_assert_false(idler_drain(idler, 0));
                g_assert_cmpint(sem_post(&task.go), ==, 0);
                while (task.n_done == i)
                        g_assert_cmpint(sd_event_run(event, UINT64_MAX), >=, 0);
                g_assert_cmpuint(task.n_worked, ==, i + 1);
                g_assert_false(idler_is_busy(idler));
        }
        g_assert_cmpint(task.policy, ==, SCHED_IDLE);
        g_assert_cmpint(sched_getscheduler(0), ==, SCHED_OTHER);

        /* without a loop */
        g_assert_true(idler_drain(idler, 0));
        g_assert_cmpint(idler_start(idler, &idle), ==, 0);
        g_assert_false(idler_drain(idler, 5000));
        g_assert_cmpint(sem_post(&task.go), ==, 0);
        g_assert_true(idler_drain(idler, 60 * G_USEC_PER_SEC));
        g_assert_cmpuint(task.n_done, ==, 4);
        g_assert_null(idler_free(idler));
        g_assert_null(idler_free(NULL));
        sd_event_unref(event);
        g_assert_cmpint(sem_destroy(&task.go), ==, 0);
}

static void work_late(void *userdata) {
        Task *task = userdata;

        while (sem_wait(&task->go) < 0)
                ;
        (void) sem_post(&task->gone);
}

static void never(void *userdata) {
        (void) userdata;
        g_assert_not_reached();
}

/* Nobody waits for it any more, and it goes on. */
static void test_abandoned(void) {
        Task task = { .loop = g_thread_self() };
        const IdleWork idle = { .work = work_late, .done = never, .userdata = &task };
        sd_event *event;
        Idler *idler;

        g_assert_cmpint(sem_init(&task.go, 0, 0), ==, 0);
        g_assert_cmpint(sem_init(&task.gone, 0, 0), ==, 0);
        g_assert_cmpint(sd_event_new(&event), ==, 0);
        g_assert_cmpint(idler_new(event, &idler), ==, 0);
        g_assert_cmpint(idler_start(idler, &idle), ==, 0);
        g_assert_null(idler_free(idler));
        g_assert_cmpint(sem_post(&task.go), ==, 0);
        while (sem_wait(&task.gone) < 0)
                ;
        g_assert_cmpint(sd_event_run(event, 1000), ==, 0);
        sd_event_unref(event);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/idler/work", test_work);
        g_test_add_func("/idler/abandoned", test_abandoned);
        return g_test_run();
}
