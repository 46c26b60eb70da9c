/* SPDX-License-Identifier: MIT */

/* Who tells that memory is short, and how it is understood. */

#include "pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_parse(void) {
        static const char *const bad[] = {
                "", "some", "some ", "some avg10=0.00", "full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
                "some avg10=0.00\nfull total=5\n", "some total=\n", "some total=-5\n", "some total=5x\n",
                "some total=99999999999999999999\n", "avg10=0.00 total=5\n",
        };
        uint64_t usec = 77;

        g_assert_cmpint(pressure_parse("some avg10=1.00 avg60=0.20 avg300=0.00 total=123456\n"
                                       "full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n", &usec), ==, 0);
        g_assert_cmpuint(usec, ==, 123456);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_assert_cmpint(pressure_parse(bad[i], &usec), ==, -EBADMSG);
                g_assert_cmpuint(usec, ==, 123456);
        }
}

static void count(void *userdata) {
        (*(unsigned *) userdata)++;
}

static void run(sd_event *event) {
        g_assert_cmpint(sd_event_run(event, 0), >=, 0);
}

/* A FIFO, which is what an admin, or a test, can name instead of the kernel's file. */
static void test_fifo(void) {
        g_autofree char *directory = g_dir_make_tmp("pressure-XXXXXX", NULL);
        g_autofree char *path = g_build_filename(directory, "fifo", NULL);
        unsigned n = 0;
        Pressure *pressure;
        sd_event *event;
        int fd;

        g_assert_cmpint(mkfifo(path, 0600), ==, 0);
        g_assert_cmpint(setenv("MEMORY_PRESSURE_WATCH", path, 1), ==, 0);
        g_assert_cmpint(sd_event_new(&event), ==, 0);
        g_assert_cmpint(pressure_new(event, count, &n, &pressure), ==, 0);
        pressure_listen(pressure, true);
        fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        g_assert_cmpint(fd, >=, 0);
        for (unsigned i = 0; i < 3; i++) {
                g_assert_cmpuint(n, ==, i);
                g_assert_cmpint(write(fd, "some", 4), ==, 4);
                run(event);
        }
        close(fd);
        run(event); /* that nobody can write any more is nothing to hear of */
        g_assert_cmpuint(n, ==, 3);
        pressure_listen(pressure, false);
        g_assert_null(pressure_free(pressure));
        sd_event_unref(event);
        g_unlink(path);
        g_rmdir(directory);
}

/* The control group that is watched is removed, which nobody is told as a shortage. */
static void test_gone(void) {
        static const char *const parents[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
        g_autofree char *name = g_strdup_printf("test-pressure-%d", getpid()), *group = NULL, *path = NULL;
        unsigned n = 0;
        Pressure *pressure;
        sd_event *event;

        for (size_t i = 0; i < G_N_ELEMENTS(parents) && !path; i++) {
                group = g_build_filename(parents[i], name, NULL);
                if (g_mkdir(group, 0755) >= 0)
                        path = g_build_filename(group, "memory.pressure", NULL);
                if (path && access(path, W_OK) < 0) {
                        g_rmdir(group);
                        g_clear_pointer(&path, g_free);
                }
                if (!path)
                        g_clear_pointer(&group, g_free);
        }
        if (!path) {
                g_test_skip("this takes a control group of one's own");
                return;
        }

        unsetenv("MEMORY_PRESSURE_WRITE");
        g_assert_cmpint(setenv("MEMORY_PRESSURE_WATCH", path, 1), ==, 0);
        g_assert_cmpint(sd_event_new(&event), ==, 0);
        g_assert_cmpint(pressure_new(event, count, &n, &pressure), ==, 0);
        run(event);
        g_assert_cmpint(g_rmdir(group), ==, 0);
        for (unsigned i = 0; i < 10; i++)
                run(event);
        g_assert_cmpuint(n, ==, 0);
        g_assert_cmpint(sd_event_run(event, 0), ==, 0); /* and the loop does not spin */
        pressure_free(pressure);
        sd_event_unref(event);
}

/* Whatever is wrong with what is named, or with what is to be written there, is no reason to have nothing at all. */
static void test_named(void) {
        static const struct {
                const char *watch, *write;
        } cases[] = {
                { NULL, NULL },
                { "/dev/null", NULL },
                { "/nowhere/at/all", NULL },
                { "pressure", NULL },
                { "/proc/pressure/memory", "c29tZSAyMDAwMDAgMjAwMDAwMAA=" },
                { "/proc/pressure/memory", "!!!" },
                { "/proc/pressure/memory", "bm9uc2Vuc2UA" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                unsigned n = 0;
                Pressure *pressure;
                sd_event *event;

                unsetenv("MEMORY_PRESSURE_WATCH");
                unsetenv("MEMORY_PRESSURE_WRITE");
                if (cases[i].watch)
                        g_assert_cmpint(setenv("MEMORY_PRESSURE_WATCH", cases[i].watch, 1), ==, 0);
                if (cases[i].write)
                        g_assert_cmpint(setenv("MEMORY_PRESSURE_WRITE", cases[i].write, 1), ==, 0);
                g_assert_cmpint(sd_event_new(&event), ==, 0);
                g_assert_cmpint(pressure_new(event, count, &n, &pressure), ==, 0);
                pressure_listen(pressure, true);
                run(event);
                pressure_free(pressure);
                sd_event_unref(event);
        }
        g_assert_null(pressure_free(NULL));
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/pressure/parse", test_parse);
        g_test_add_func("/pressure/fifo", test_fifo);
        g_test_add_func("/pressure/gone", test_gone);
        g_test_add_func("/pressure/named", test_named);
        return g_test_run();
}
