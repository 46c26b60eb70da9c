/* SPDX-License-Identifier: MIT */

/* Work that is never done takes turns with everything else. */

#include "turn.h"

#include <glib.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

typedef struct Worker {
        Turn turn;
        unsigned n_turns, n_left; /* how often it has had one, and still wants one */
} Worker;

static void on_turn(void *userdata) {
        Worker *worker = userdata;

        worker->n_turns++;
        worker->n_left--;
        turn_set(&worker->turn, worker->n_left > 0);
}

/* Nobody reads it, so there is always something. */
static int on_event(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        unsigned *n = userdata;

        (void) source;
        (void) fd;
        (void) events;
        (*n)++;
        return 0;
}

static sd_event *new_loop(void) {
        sd_event *event;

        g_assert_cmpint(sd_event_new(&event), >=, 0);
        return event;
}

static void run(sd_event *event, unsigned n) {
        for (unsigned i = 0; i < n; i++)
                g_assert_cmpint(sd_event_run(event, 0), >=, 0);
}

static void begin(Worker *worker, sd_event *event) {
        g_assert_cmpint(turn_begin(&worker->turn, event, on_turn, worker), >=, 0);
}

static void test_alone(void) {
        sd_event *event = new_loop();
        Worker worker = {};

        begin(&worker, event);
        run(event, 3);
        g_assert_cmpuint(worker.n_turns, ==, 0);
        worker.n_left = 3;
        turn_set(&worker.turn, true);
        run(event, 10);
        g_assert_cmpuint(worker.n_turns, ==, 3);

        worker.n_left = 1;
        turn_set(&worker.turn, true);
        turn_set(&worker.turn, false);
        run(event, 3);
        g_assert_cmpuint(worker.n_turns, ==, 3);
        turn_end(&worker.turn);
        turn_set(&worker.turn, true);
        sd_event_unref(event);
}

/* Two that are never done, and one that always has something to say: each has its share. */
static void test_others(void) {
        Worker first = { .n_left = UINT32_MAX }, second = { .n_left = UINT32_MAX };
        sd_event *event = new_loop();
        unsigned n_events = 0;
        int fd;

        fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
        g_assert_cmpint(fd, >=, 0);
        begin(&first, event);
        begin(&second, event);
        turn_set(&first.turn, true);
        turn_set(&second.turn, true);
        run(event, 10);
        g_assert_cmpint(sd_event_add_io(event, NULL, fd, EPOLLIN, on_event, &n_events), >=, 0);
        run(event, 120);
        g_assert_cmpuint(n_events, >=, 30);
        g_assert_cmpuint(first.n_turns, >=, 30);
        g_assert_cmpuint(second.n_turns, >=, 30);

        turn_end(&first.turn);
        turn_end(&second.turn);
        sd_event_unref(event);
        close(fd);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/turn/alone", test_alone);
        g_test_add_func("/turn/others", test_others);
        return g_test_run();
}
