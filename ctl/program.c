/* SPDX-License-Identifier: MIT */

/* Running a command with an allocation, and holding one without.
 *
 * The tool stays as the command's parent and keeps its own copy of the lease: the memory lasts as long as
 * the command, also if that closes descriptors it does not know or hands its work to a child that does.
 * Signals that were meant for the tool alone are passed on; those that the terminal sends have reached
 * the command already, since both are in the same process group. Whether the tool ends is then up to the
 * command. */

#include "program.h"
#include "complaint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const int passed_on[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

static int environment_set(const char *name, uint64_t value) {
        char text[24];

        snprintf(text, sizeof text, "%" PRIu64, value);
        return setenv(name, text, 1) < 0 ? -errno : 0;
}

static int environment_prepare(const daxbroker_allocation *allocation) {
        int lease = daxbroker_allocation_get_lease_fd(allocation), r;

        r = environment_set("DAXBROKER_FD", (uint64_t) daxbroker_allocation_get_fd(allocation));
        if (r < 0)
                return r;
        r = environment_set("DAXBROKER_OFFSET", daxbroker_allocation_get_offset(allocation));
        if (r < 0)
                return r;
        r = environment_set("DAXBROKER_LENGTH", daxbroker_allocation_get_length(allocation));
        if (r < 0)
                return r;

        /* one that was inherited would be about other memory */
        if (lease < 0)
                return unsetenv("DAXBROKER_LEASE_FD") < 0 ? -errno : 0;
        return environment_set("DAXBROKER_LEASE_FD", (uint64_t) lease);
}

/* The child's side. Descriptors lose close-on-exec here and not earlier, so that no other child can get
 * them. */
static void __attribute__((noreturn))
program_become(char *const argv[], const daxbroker_allocation *allocation, const sigset_t *mask) {
        int lease = allocation ? daxbroker_allocation_get_lease_fd(allocation) : -1, error;

        if ((allocation && fcntl(daxbroker_allocation_get_fd(allocation), F_SETFD, 0) < 0) ||
            (lease >= 0 && fcntl(lease, F_SETFD, 0) < 0)) {
                complain("cannot pass descriptors on: %s", strerror(errno));
                _exit(STATUS_CANNOT_EXECUTE);
        }

        sigprocmask(SIG_SETMASK, mask, NULL);
        execvp(argv[0], argv);
        error = errno;
        complain("cannot run '%s': %s", argv[0], strerror(error));
        _exit(error == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_EXECUTE);
}

/* Whether the command got this signal without our help, or sent it itself (to its process group, or to
 * its parent). */
static bool is_known_to_child(const siginfo_t *info, pid_t child) {
        if (info->si_code > 0)
                return getpgid(child) == getpgrp();
        return info->si_pid == child;
}

static int status_from_wait(int status) {
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Waits for the child to end, and for signals, both of which come as signals that are blocked. */
static int program_wait(pid_t child, const sigset_t *signals) {
        for (;;) {
                siginfo_t info;
                int signal, status;
                pid_t pid;

                /* looked at before each wait: a SIGCHLD tells of any number of children */
                pid = waitpid(child, &status, WNOHANG);
                if (pid == child)
                        return status_from_wait(status);
                if (pid < 0 && errno != EINTR) {
                        complain("cannot wait for the command: %s", strerror(errno));
                        return STATUS_CANNOT_EXECUTE;
                }

                signal = sigwaitinfo(signals, &info);
                if (signal > 0 && signal != SIGCHLD && !is_known_to_child(&info, child))
                        kill(child, signal);
        }
}

int program_run(char *const argv[], const daxbroker_allocation *allocation) {
        sigset_t signals, mask;
        pid_t child;
        int r;

        r = allocation ? environment_prepare(allocation) : 0;
        if (r < 0) {
                complain("cannot set the environment: %s", strerror(-r));
                return STATUS_CANNOT_EXECUTE;
        }

        /* ignored SIGCHLDs, which can be inherited, would take the exit status away */
        signal(SIGCHLD, SIG_DFL);
        sigemptyset(&signals);
        sigaddset(&signals, SIGCHLD);
        for (size_t i = 0; i < sizeof passed_on / sizeof passed_on[0]; i++)
                sigaddset(&signals, passed_on[i]);
        sigprocmask(SIG_BLOCK, &signals, &mask);

        fflush(stdout);
        child = fork();
        if (child < 0) {
                complain("cannot make a process: %s", strerror(errno));
                return STATUS_CANNOT_EXECUTE;
        }
        if (child == 0)
                program_become(argv, allocation, &mask);

        return program_wait(child, &signals);
}

/* Those that end a wait. One that was to be ignored, as nohup(1) and shells arrange it, stays so:
 * blocking it would bring it back. */
static void hold_signals(sigset_t *ret) {
        static const int ending[] = { SIGINT, SIGTERM, SIGHUP };

        sigemptyset(ret);
        for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) {
                struct sigaction action;

                if (sigaction(ending[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
                        sigaddset(ret, ending[i]);
        }
}

void hold_prepare(void) {
        sigset_t signals;

        hold_signals(&signals);
        sigprocmask(SIG_BLOCK, &signals, NULL);
}

void hold_wait(void) {
        sigset_t signals;

        hold_signals(&signals);
        while (sigwaitinfo(&signals, NULL) < 0 && errno == EINTR)
                ;
}
