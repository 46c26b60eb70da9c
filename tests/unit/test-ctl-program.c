/* SPDX-License-Identifier: MIT */

/* daxbrokerctl running commands: what they inherit, what their end is told as, which signals reach them. */

#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LENGTH 8192

static daxbroker_allocation *allocation_new(bool with_lease) {
        daxbroker_allocation *allocation;
        int memory = memfd_create("test-ctl-program", MFD_CLOEXEC), lease = -1, r;

        g_assert_cmpint(memory, >=, 0);
        g_assert_cmpint(ftruncate(memory, LENGTH), ==, 0);
        if (with_lease) {
                lease = open("/dev/null", O_WRONLY | O_CLOEXEC);
                g_assert_cmpint(lease, >=, 0);
        }

        r = daxbroker_adopt_fds(memory, lease, 0, LENGTH, &allocation);
        g_assert_cmpint(r, ==, 0);
        return allocation;
}

/* program_run() in a process of its own: it changes signals and environment for good. */
static pid_t start(const char *script, bool with_lease) {
        pid_t pid = fork();

        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                char *argv[] = { (char[]) { "sh" }, (char[]) { "-c" }, g_strdup(script), NULL };

                _exit(program_run(argv, allocation_new(with_lease)));
        }
        return pid;
}

static int finish(pid_t pid) {
        int status;

        while (waitpid(pid, &status, 0) < 0)
                g_assert_cmpint(errno, ==, EINTR);
        g_assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static void test_exit_status(void) {
        g_assert_cmpint(finish(start("exit 0", true)), ==, 0);
        g_assert_cmpint(finish(start("exit 42", true)), ==, 42);
        g_assert_cmpint(finish(start("kill -KILL $$", true)), ==, 128 + SIGKILL);
        g_assert_cmpint(finish(start("kill -TERM $$", true)), ==, 128 + SIGTERM);
}

static void test_inheritance(void) {
        g_assert_cmpint(finish(start("test \"$DAXBROKER_LENGTH\" = 8192 && "
                                     "test \"$DAXBROKER_OFFSET\" = 0 && "
                                     "test \"$(stat -Lc %s /proc/self/fd/$DAXBROKER_FD)\" = 8192 && "
                                     "test -e /proc/self/fd/$DAXBROKER_LEASE_FD",
                                     true)),
                        ==, 0);

        /* one that is inherited is about other memory */
        g_setenv("DAXBROKER_LEASE_FD", "1", TRUE);
        g_assert_cmpint(finish(start("test -z \"$DAXBROKER_LEASE_FD\"", false)), ==, 0);
        g_unsetenv("DAXBROKER_LEASE_FD");
}

static void test_cannot_run(void) {
        static const struct {
                const char *program;
                int status;
        } cases[] = {
                { "/no/such/program", 127 }, { "no-such-program", 127 }, { "", 127 },
                { "/dev/null", 126 }, { "/", 126 },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                pid_t pid = fork();

                g_assert_cmpint(pid, >=, 0);
                if (pid == 0) {
                        char *argv[] = { g_strdup(cases[i].program), NULL };

                        g_assert_nonnull(freopen("/dev/null", "w", stderr));
                        _exit(program_run(argv, allocation_new(true)));
                }
                g_assert_cmpint(finish(pid), ==, cases[i].status);
        }
}

/* Sends a signal to the tool once the command says that it is ready. */
static int signal_when_ready(const char *script, int signal) {
        int ready[2];
        pid_t pid;
        char byte;

        g_assert_cmpint(pipe(ready), ==, 0);
        g_assert_cmpint(dup2(ready[1], 9), ==, 9);
        pid = start(script, true);
        close(9);
        close(ready[1]);

        g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
        close(ready[0]);
        kill(pid, signal);
        return finish(pid);
}

static void test_signals(void) {
        g_assert_cmpint(signal_when_ready("echo >&9; exec sleep 60", SIGTERM), ==, 128 + SIGTERM);
        g_assert_cmpint(signal_when_ready("echo >&9; exec sleep 60", SIGHUP), ==, 128 + SIGHUP);
        g_assert_cmpint(signal_when_ready("trap 'exit 7' INT; echo >&9; while :; do sleep .1; done", SIGINT),
                        ==, 7);
}

/* As a parent may have left it: the exit status must come all the same. */
static void test_ignored_sigchld(void) {
        pid_t pid = fork();

        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                char *argv[] = { (char[]) { "sh" }, (char[]) { "-c" }, (char[]) { "exit 5" }, NULL };

                signal(SIGCHLD, SIG_IGN);
                _exit(program_run(argv, allocation_new(true)));
        }
        g_assert_cmpint(finish(pid), ==, 5);
}

int main(int argc, char *argv[]) {
        static const int signals[] = { SIGHUP, SIGINT, SIGTERM };

        /* who started us may have had some ignored, and programs inherit that */
        for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
                signal(signals[i], SIG_DFL);

        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/ctl/program/exit-status", test_exit_status);
        g_test_add_func("/ctl/program/inheritance", test_inheritance);
        g_test_add_func("/ctl/program/cannot-run", test_cannot_run);
        g_test_add_func("/ctl/program/signals", test_signals);
        g_test_add_func("/ctl/program/ignored-sigchld", test_ignored_sigchld);
        return g_test_run();
}
