/* SPDX-License-Identifier: MIT */

/* Who has let go of a node, as a later broker finds out, on an ordinary file. There is a service manager that keeps what it
 * is given: descriptors are copied by name, as they would be inherited. */

#include "end-marks.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cleanup.h"
#include "open-fds.h"

static StoredFd *store;
static char *folder, *path;
static int writer, reader;
static int store_answer, store_failure; /* the next answer, if it is not 0 */

static void keep(const char *name, int fd) {
        StoredFd *stored = calloc(1, sizeof(*stored));

        stored->name = strdup(name);
        stored->fd = fd;
        HASH_ADD_KEYPTR(hh, store, stored->name, strlen(stored->name), stored);
}

int __wrap_fd_store_push(const char *name, int fd);
int __wrap_fd_store_push(const char *name, int fd) {
        int failure = store_failure;

        g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
        g_assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        store_failure = 0;
        if (failure < 0)
                return failure;
        if (store_answer > 0)
                keep(name, fcntl(fd, F_DUPFD_CLOEXEC, 0));
        return store_answer;
}

static EndMarks *make(void) {
        EndMarks *marks;

        store_answer = 1;
        g_assert_cmpint(end_marks_new(&marks), ==, 0);
        return marks;
}

/* As the next broker has them. */
static EndMarks *inherit(EndMarks *marks) {
        g_autofree char *name = g_strdup(end_marks_name(marks));

        marks = end_marks_free(marks);
        g_assert_cmpint(end_marks_recover(store, &marks), ==, 0);
        g_assert_cmpstr(end_marks_name(marks), ==, name);
        return marks;
}

static void setup(void) {
        folder = g_dir_make_tmp("end-marks-XXXXXX", NULL);
        path = g_build_filename(folder, "node", NULL);
        g_assert_true(g_file_set_contents(path, "", 0, NULL));
        writer = open(path, O_RDWR | O_CLOEXEC);
        reader = open(path, O_RDONLY | O_CLOEXEC);
        store = NULL;
}

static void teardown(void) {
        safe_close(writer);
        safe_close(reader);
        store = fd_store_free(store);
        (void) g_unlink(path);
        (void) g_rmdir(folder);
        g_free(path);
        g_free(folder);
}

static void assert_gone(EndMarks *marks, bool writer_gone, bool reader_gone) {
        bool w = !writer_gone, r = !reader_gone;

        g_assert_cmpint(end_marks_look(marks, path, &w, &r), ==, 0);
        g_assert_cmpint(w, ==, writer_gone);
        g_assert_cmpint(r, ==, reader_gone);
}

/* Each end is remembered, however often it is asked for and by whom. */
static void test_ends(void) {
        EndMarks *marks = make();
        int copy;

        g_assert_cmpint(end_marks_set(marks, path), ==, 0);
        assert_gone(marks, false, false);
        copy = dup(reader);
        reader = safe_close(reader);
        assert_gone(marks, false, false);
        close(copy);
        assert_gone(marks, false, true);
        marks = inherit(marks);
        assert_gone(marks, false, true);
        writer = safe_close(writer);
        assert_gone(marks, true, true);
        assert_gone(marks, true, true);
        end_marks_free(marks);
}

/* An end that comes while there is no broker. */
static void test_between(void) {
        EndMarks *marks = make();

        g_assert_cmpint(end_marks_set(marks, path), ==, 0);
        end_marks_free(marks);
        writer = safe_close(writer);
        g_assert_cmpint(end_marks_recover(store, &marks), ==, 0);
        assert_gone(marks, true, false);
        end_marks_free(marks);
}

/* The end of a file that was opened later would look like one of those that are waited for. */
static void test_others(void) {
        EndMarks *marks = make();
        bool w = false, r = false;

        g_assert_cmpint(end_marks_set(marks, path), ==, 0);
        close(open(path, O_RDWR | O_CLOEXEC));
        g_assert_cmpint(end_marks_look(marks, path, &w, &r), ==, -EUCLEAN);
        g_assert_cmpint(end_marks_look(marks, path, &w, &r), ==, -EUCLEAN);
        g_assert_false(w || r);
        end_marks_free(marks);
}

/* A second life of the same node begins anew. */
static void test_again(void) {
        EndMarks *marks = make();

        g_assert_cmpint(end_marks_set(marks, path), ==, 0);
        writer = safe_close(writer);
        reader = safe_close(reader);
        assert_gone(marks, true, true);
        writer = open(path, O_RDWR | O_CLOEXEC);
        reader = open(path, O_RDONLY | O_CLOEXEC);
        g_assert_cmpint(end_marks_set(marks, path), ==, 0);
        assert_gone(marks, false, false);
        writer = safe_close(writer);
        assert_gone(marks, true, false);
        end_marks_free(marks);
}

static void test_refused(void) {
        EndMarks *marks;
        bool w, r;

        store_answer = 0; /* there is no service manager */
        g_assert_cmpint(end_marks_new(&marks), ==, -ENOTCONN);
        store_answer = -EPIPE;
        g_assert_cmpint(end_marks_new(&marks), ==, -EPIPE);
        g_assert_cmpint(end_marks_recover(store, &marks), ==, -ENOENT);
        g_assert_null(end_marks_free(NULL));

        marks = make();
        g_assert_cmpint(end_marks_set(marks, "/nowhere"), ==, -ENOENT);
        g_assert_cmpint(end_marks_look(marks, "/nowhere", &w, &r), ==, -ENOENT);
        end_marks_free(marks);

        /* what goes wrong once is not made good by what goes well after it */
        store_failure = -EPIPE;
        g_assert_cmpint(end_marks_new(&marks), ==, -EPIPE);
}

/* Marks are three descriptors; there may be fewer to be had. */
static void test_no_descriptors(void) {
        struct rlimit before, few;

        g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &before));
        for (int n_left = 0; n_left < 3; n_left++) {
                EndMarks *marks = NULL;
                int next = dup(0), r;

                close(next);
                store_answer = 1;
                few = (struct rlimit){ (rlim_t) (next + n_left), before.rlim_max };
                g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &few));
                store_failure = n_left == 2 ? -EPIPE : 0;
                r = end_marks_new(&marks);
                g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &before));
                g_assert_cmpint(r, ==, n_left == 2 ? -EPIPE : -EMFILE);
                g_assert_null(marks);
        }
}

static StoredFd *kept(const char *prefix) {
        StoredFd *stored, *next;

        HASH_ITER(hh, store, stored, next)
                if (g_str_has_prefix(stored->name, prefix))
                        return stored;
        g_assert_not_reached();
}

/* All of them, or none. */
static void test_incomplete(void) {
        static const char *const prefixes[] = { "ends-w-", "ends-r-", "ends-o-" };

        for (size_t i = 0; i < G_N_ELEMENTS(prefixes); i++) {
                EndMarks *marks = end_marks_free(make());
                StoredFd *lost;

                lost = kept(prefixes[i]);
                lost->fd = safe_close(lost->fd);
                g_assert_cmpint(end_marks_recover(store, &marks), ==, -ENOENT);
                g_assert_null(marks);
                store = fd_store_free(store);
        }
}

/* They are found among whatever else the service manager keeps. */
static void test_among_others(void) {
        EndMarks *marks;

        keep("e", dup(0));
        keep("ends-w-", dup(0));
        keep("ends-w-0123456789abcde", dup(0));
        keep("ends-w-0123456789abcdef0", dup(0));
        keep("ends-w-fedcba9876543210", -EBADF);
        keep("0123456789abcdef", dup(0));
        keep("ends-x-0123456789abcdef", dup(0));
        g_assert_cmpint(end_marks_recover(store, &marks), ==, -ENOENT);
        marks = inherit(make());
        end_marks_free(marks);
}

typedef struct Case {
        void (*function)(void);
} Case;

static void run(gconstpointer data) {
        unsigned n_fds = open_fds_count();
        const Case *test = data;

        setup();
        test->function();
        teardown();
        g_assert_cmpuint(open_fds_count(), ==, n_fds);
}

int main(int argc, char *argv[]) {
        static const struct {
                const char *path;
                Case test;
        } tests[] = {
                { "/end-marks/ends", { test_ends } },       { "/end-marks/between", { test_between } },
                { "/end-marks/others", { test_others } },   { "/end-marks/again", { test_again } },
                { "/end-marks/refused", { test_refused } },
                { "/end-marks/no-descriptors", { test_no_descriptors } },
                { "/end-marks/incomplete", { test_incomplete } },
                { "/end-marks/among-others", { test_among_others } },
        };

        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add_data_func(tests[i].path, &tests[i].test, run);
        return g_test_run();
}
