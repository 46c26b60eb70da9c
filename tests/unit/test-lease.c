/* SPDX-License-Identifier: MIT */

/* Leases: they lapse when the last holder lets go, once, and outlive whoever watches them. */

#include "lease-watch.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ID "0123456789abcdef"

typedef struct Fixture {
        char *path;
        int dir;
        sd_event *event;
        LeaseWatch *watch;
        Lease lease;
        unsigned n_lapsed;
} Fixture;

static void on_lapsed(Lease *lease) {
        Fixture *f = (Fixture *) (void *) ((char *) lease - offsetof(Fixture, lease));

        f->n_lapsed++;
}

static void set_up(Fixture *f, gconstpointer data) {
        (void) data;
        f->path = g_dir_make_tmp("daxbroker-lease-XXXXXX", NULL);
        g_assert_nonnull(f->path);
        f->dir = open(f->path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        g_assert_cmpint(f->dir, >=, 0);
        g_assert_cmpint(sd_event_new(&f->event), ==, 0);
        g_assert_cmpint(lease_watch_new(f->event, &f->watch), ==, 0);
        f->lease.ours = -EBADF;
}

static void tear_down(Fixture *f, gconstpointer data) {
        (void) data;
        lease_end(&f->lease);
        lease_end(&f->lease);
        close(f->dir);
        g_assert_cmpint(g_rmdir(f->path), ==, 0); /* nothing was left */
        g_free(f->path);
        lease_watch_free(f->watch);
        sd_event_unref(f->event);
}

static int make(Fixture *f) {
        int holder = -1;

        g_assert_cmpint(lease_make(&f->lease, f->dir, ID, &holder), ==, 0);
        g_assert_cmpint(holder, >=, 0);
        g_assert_cmpint(lease_watch(&f->lease, f->watch, on_lapsed), >=, 0);
        return holder;
}

/* Runs the loop for as long as there is something to do; returns how often the lease has lapsed so far. */
static unsigned run(Fixture *f) {
        while (sd_event_run(f->event, 20000) > 0)
                ;
        return f->n_lapsed;
}

static void test_make(Fixture *f, gconstpointer data) {
        struct stat st;
        int holder = make(f), flags;

        (void) data;
        g_assert_cmpint(fstatat(f->dir, ID, &st, AT_SYMLINK_NOFOLLOW), ==, 0);
        g_assert_true(S_ISFIFO(st.st_mode));
        g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
        g_assert_cmpint(fcntl(holder, F_GETFD) & FD_CLOEXEC, !=, 0);
        g_assert_cmpint(fcntl(f->lease.ours, F_GETFD) & FD_CLOEXEC, !=, 0);
        flags = fcntl(holder, F_GETFL);
        g_assert_cmpint(flags & O_ACCMODE, ==, O_RDONLY);
        g_assert_cmpuint(run(f), ==, 0);
        close(holder);
        g_assert_cmpuint(run(f), ==, 1);
        g_assert_cmpuint(run(f), ==, 1);
}

static void test_copies(Fixture *f, gconstpointer data) {
        int holder = make(f), copy = dup(holder);

        (void) data;
        close(holder);
        g_assert_cmpuint(run(f), ==, 0);
        close(copy);
        g_assert_cmpuint(run(f), ==, 1);
}

/* A holder that was forked, and is killed. */
static void test_processes(Fixture *f, gconstpointer data) {
        int holder = make(f), status;
        pid_t child;

        (void) data;
        child = fork();
        g_assert_cmpint(child, >=, 0);
        if (child == 0)
                for (;;)
                        pause();

        close(holder);
        g_assert_cmpuint(run(f), ==, 0);
        g_assert_cmpint(kill(child, SIGKILL), ==, 0);
        g_assert_cmpint(waitpid(child, &status, 0), ==, child);
        g_assert_cmpuint(run(f), ==, 1);
}

/* Nothing comes into it, and so nothing out of it. */
static void test_empty(Fixture *f, gconstpointer data) {
        int holder = make(f);
        char byte = 0;

        (void) data;
        g_assert_cmpint(write(holder, &byte, 1), ==, -1);
        g_assert_cmpint(errno, ==, EBADF);
        g_assert_cmpint(read(holder, &byte, 1), ==, -1);
        g_assert_cmpint(errno, ==, EAGAIN);
        g_assert_cmpint(sd_event_run(f->event, 20000), ==, 0);
        g_assert_cmpuint(run(f), ==, 0);
        close(holder);
        g_assert_cmpuint(run(f), ==, 1);
}

static void test_again(Fixture *f, gconstpointer data) {
        int holder = make(f);

        (void) data;
        close(holder);
        g_assert_cmpuint(run(f), ==, 1);

        for (unsigned i = 2; i < 5; i++) {
                g_assert_cmpint(lease_open_holders(&f->lease, &holder), ==, 0);
                g_assert_cmpint(fcntl(holder, F_GETFD) & FD_CLOEXEC, !=, 0);
                g_assert_cmpint(lease_watch(&f->lease, f->watch, on_lapsed), >=, 0);
                g_assert_cmpuint(run(f), ==, i - 1);
                close(holder);
                g_assert_cmpuint(run(f), ==, i);
        }
}

static void test_recover_held(Fixture *f, gconstpointer data) {
        int holder = make(f);

        (void) data;
        lease_close(&f->lease);
        lease_close(&f->lease);
        g_assert_cmpint(f->lease.ours, <, 0);

        g_assert_cmpint(lease_recover(&f->lease, f->dir, ID), ==, 1);
        g_assert_cmpint(lease_watch(&f->lease, f->watch, on_lapsed), >=, 0);
        g_assert_cmpuint(run(f), ==, 0);
        close(holder);
        g_assert_cmpuint(run(f), ==, 1);
}

/* The holder went while nobody watched. */
static void test_recover_lapsed(Fixture *f, gconstpointer data) {
        int holder = make(f);

        (void) data;
        lease_close(&f->lease);
        close(holder);
        g_assert_cmpint(lease_recover(&f->lease, f->dir, ID), ==, 0);
        g_assert_cmpint(lease_watch(&f->lease, f->watch, on_lapsed), >=, 0);
        g_assert_cmpuint(run(f), ==, 1);
}

static void test_recover_strange(Fixture *f, gconstpointer data) {
        int fd;

        (void) data;
        g_assert_cmpint(lease_recover(&f->lease, f->dir, ID), ==, -ENOENT);

        fd = openat(f->dir, ID, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        close(fd);
        g_assert_cmpint(lease_recover(&f->lease, f->dir, ID), ==, -EBADMSG);
        g_assert_cmpint(f->lease.ours, <, 0);
        g_assert_cmpint(unlinkat(f->dir, ID, 0), ==, 0);

        g_assert_cmpint(mkdirat(f->dir, ID, 0700), ==, 0);
        g_assert_cmpint(lease_recover(&f->lease, f->dir, ID), ==, -EBADMSG);
        g_assert_cmpint(unlinkat(f->dir, ID, AT_REMOVEDIR), ==, 0);

        g_assert_cmpint(symlinkat("/dev/null", f->dir, ID), ==, 0);
        g_assert_cmpint(lease_recover(&f->lease, f->dir, ID), ==, -ELOOP);
        g_assert_cmpint(unlinkat(f->dir, ID, 0), ==, 0);
}

static void test_make_fails(Fixture *f, gconstpointer data) {
        int holder = -7;

        (void) data;
        g_assert_cmpint(mkfifoat(f->dir, ID, 0600), ==, 0);
        g_assert_cmpint(lease_make(&f->lease, f->dir, ID, &holder), ==, -EEXIST);
        g_assert_cmpint(holder, ==, -7);
        g_assert_cmpint(faccessat(f->dir, ID, F_OK, 0), ==, 0); /* not ours to remove */
        g_assert_cmpint(unlinkat(f->dir, ID, 0), ==, 0);
        g_assert_cmpint(lease_make(&f->lease, f->dir, "no/where", &holder), ==, -ENOENT);
}

static void test_end(Fixture *f, gconstpointer data) {
        int holder = make(f);

        (void) data;
        lease_end(&f->lease);
        g_assert_cmpint(faccessat(f->dir, ID, F_OK, 0), <, 0);
        close(holder);
        g_assert_cmpuint(run(f), ==, 0); /* nobody is told after the end */
}

#define MANY 40U

/* Many leases, and somebody whose turn comes as soon as nothing is more urgent. */
static struct {
        Lease leases[MANY];
        unsigned n_lapsed, n_lapsed_at_turn;
        Lease *neighbour; /* to be ended by who lapses first */
} many;

static void on_one_of_many(Lease *lease) {
        many.n_lapsed++;
        if (many.neighbour)
                lease_end(many.neighbour == lease ? lease - 1 : many.neighbour);
        many.neighbour = NULL;
}

static int on_turn(sd_event_source *source, void *userdata) {
        (void) source;
        (void) userdata;
        many.n_lapsed_at_turn = many.n_lapsed;
        return 0;
}

static void let_lapse(Fixture *f, unsigned n) {
        sd_event_source *turn = NULL;
        int holders[MANY];

        many.n_lapsed = 0;
        for (unsigned i = 0; i < n; i++) {
                g_autofree char *id = g_strdup_printf("%016x", i);

                g_assert_cmpint(lease_make(&many.leases[i], f->dir, id, &holders[i]), ==, 0);
                g_assert_cmpint(lease_watch(&many.leases[i], f->watch, on_one_of_many), >=, 0);
        }
        for (unsigned i = 0; i < n; i++)
                close(holders[i]);
        g_assert_cmpint(sd_event_add_defer(f->event, &turn, on_turn, NULL), >=, 0);
        (void) run(f);
        sd_event_source_unref(turn);
        for (unsigned i = 0; i < n; i++)
                lease_end(&many.leases[i]);
}

/* A few go before everything else, and many take turns with it. */
static void test_turns(Fixture *f, gconstpointer data) {
        (void) data;
        let_lapse(f, 2);
        g_assert_cmpuint(many.n_lapsed_at_turn, ==, 2);
        let_lapse(f, MANY);
        g_assert_cmpuint(many.n_lapsed_at_turn, <, MANY);
        g_assert_cmpuint(many.n_lapsed, ==, MANY);
        let_lapse(f, 2);
        g_assert_cmpuint(many.n_lapsed_at_turn, ==, 2);
}

/* What is ended while others lapse does not lapse any more. */
static void test_neighbours(Fixture *f, gconstpointer data) {
        (void) data;
        many.neighbour = &many.leases[1];
        let_lapse(f, 2);
        g_assert_cmpuint(many.n_lapsed, ==, 1);
}

int main(int argc, char **argv) {
        static const struct {
                const char *name;
                void (*function)(Fixture *f, gconstpointer data);
        } tests[] = {
                { "/lease/make", test_make },
                { "/lease/copies", test_copies },
                { "/lease/processes", test_processes },
                { "/lease/empty", test_empty },
                { "/lease/again", test_again },
                { "/lease/recover-held", test_recover_held },
                { "/lease/recover-lapsed", test_recover_lapsed },
                { "/lease/recover-strange", test_recover_strange },
                { "/lease/make-fails", test_make_fails },
                { "/lease/end", test_end },
                { "/lease/turns", test_turns },
                { "/lease/neighbours", test_neighbours },
        };

        g_test_init(&argc, &argv, NULL);
        signal(SIGPIPE, SIG_IGN);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add(tests[i].name, Fixture, NULL, set_up, tests[i].function, tear_down);
        return g_test_run();
}
