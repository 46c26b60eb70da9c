/* SPDX-License-Identifier: MIT */

/* Direct connections that cannot be served: nothing of them is left, or given back twice. */

#include "peer-bus.h"

#include <errno.h>
#include <glib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "open-fds.h"
#include "server-bus.h"

/* What fails next: a call of this, when it has worked so many times. */
static const char *failing;
static unsigned n_before;

static bool fails(const char *what) {
        return failing && g_str_equal(what, failing) && n_before-- == 0;
}

int __real_sd_event_add_io(sd_event *event, sd_event_source **source, int fd, uint32_t events, sd_event_io_handler_t handler,
                           void *userdata);
int __wrap_sd_event_add_io(sd_event *event, sd_event_source **source, int fd, uint32_t events, sd_event_io_handler_t handler,
                           void *userdata);
int __wrap_sd_event_add_io(sd_event *event, sd_event_source **source, int fd, uint32_t events, sd_event_io_handler_t handler,
                           void *userdata) {
        return fails("io") ? -ENOSPC : __real_sd_event_add_io(event, source, fd, events, handler, userdata);
}

int __real_sd_event_add_time_relative(sd_event *event, sd_event_source **source, clockid_t clock, uint64_t usec,
                                      uint64_t accuracy, sd_event_time_handler_t handler, void *userdata);
int __wrap_sd_event_add_time_relative(sd_event *event, sd_event_source **source, clockid_t clock, uint64_t usec,
                                      uint64_t accuracy, sd_event_time_handler_t handler, void *userdata);
int __wrap_sd_event_add_time_relative(sd_event *event, sd_event_source **source, clockid_t clock, uint64_t usec,
                                      uint64_t accuracy, sd_event_time_handler_t handler, void *userdata) {
        return fails("time") ? -ENOMEM
                             : __real_sd_event_add_time_relative(event, source, clock, usec, accuracy, handler, userdata);
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size) {
        return fails("calloc") ? NULL : __real_calloc(n, size);
}

typedef struct Scene {
        sd_event *event;
        Config *config;
        Manager manager;
        Server server;
        struct sockaddr_un address;
        socklen_t size;
} Scene;

static void set_up(Scene *scene, gconstpointer unused) {
        int fd;

        (void) unused;
        g_assert_cmpint(sd_event_new(&scene->event), ==, 0);
        g_assert_cmpint(config_new(&scene->config), ==, 0);
        scene->manager = (Manager){ .event = scene->event, .config = scene->config };
        scene->server.manager = &scene->manager;

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        scene->address.sun_family = AF_UNIX;
        g_assert_cmpint(bind(fd, (struct sockaddr *) &scene->address, sizeof(sa_family_t)), ==, 0);
        scene->size = sizeof(scene->address);
        g_assert_cmpint(getsockname(fd, (struct sockaddr *) &scene->address, &scene->size), ==, 0);
        g_assert_cmpint(listen(fd, 16), ==, 0);
        peers_listen_consume_fd(&scene->server, fd);
}

static void tear_down(Scene *scene, gconstpointer unused) {
        (void) unused;
        peers_free(&scene->server);
        g_assert_null(scene->manager.users.users);
        config_free(scene->config);
        sd_event_unref(scene->event);
}

/* Says nothing, and waits until the broker has heard of it. */
static int connect_to(Scene *scene) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_assert_cmpint(connect(fd, (struct sockaddr *) &scene->address, scene->size), ==, 0);
        g_assert_cmpint(sd_event_run(scene->event, 5 * G_USEC_PER_SEC), >, 0);
        return fd;
}

static void test_failing(Scene *scene, gconstpointer unused) {
        static const struct {
                const char *what;
                unsigned n_before;
        } failures[] = {
                /* the connection, who is calling, and his user */
                { "calloc", 0 }, { "calloc", 1 }, { "calloc", 2 }, { "io", 0 }, { "time", 0 },
        };
        unsigned n = open_fds_count();

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(failures); i++) {
                char byte;
                int fd;

                failing = failures[i].what;
                n_before = failures[i].n_before;
                fd = connect_to(scene);
                g_assert_cmpuint(n_before, ==, UINT_MAX); /* it has failed */
                failing = NULL;
                g_assert_cmpuint(scene->server.peers.n, ==, 0);
                g_assert_null(scene->manager.users.users);
                g_assert_cmpint(recv(fd, &byte, 1, 0), ==, 0);
                close(fd);
                g_assert_cmpuint(open_fds_count(), ==, n);
        }

        close(connect_to(scene));
        g_assert_cmpuint(scene->server.peers.n, ==, 1);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add("/peer/failing", Scene, NULL, set_up, test_failing, tear_down);
        return g_test_run();
}
