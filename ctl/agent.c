/* SPDX-License-Identifier: MIT */

/* Passwords on a terminal. Graphical sessions have an agent that polkit can turn to, a plain terminal has
 * none unless somebody starts polkit's own pkttyagent. It is left out where it does not help: for root,
 * who is never asked, and without a terminal. Whether it could be started does not matter here: polkit's
 * answer tells. */

#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child's side: an agent for the parent process, which closes `notify` when it is ready. In a login
 * session it lets a better agent go first; outside of one, polkit knows of no better and passes over
 * those that say so. */
static void __attribute__((noreturn)) agent_become(pid_t parent, int notify) {
        const char *fallback = getenv("XDG_SESSION_ID") ? "--fallback" : NULL;
        char number[16];

        /* it must not outlive its purpose, nor sit on the terminal */
        if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent || fcntl(notify, F_SETFD, 0) < 0)
                _exit(1);

        snprintf(number, sizeof number, "%d", notify);
        execlp("pkttyagent", "pkttyagent", "--notify-fd", number, fallback, (char *) NULL);
        _exit(1);
}

pid_t agent_start(void) {
        pid_t parent = getpid(), agent;
        int ends[2];
        char byte;

        if (geteuid() == 0 || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
                return 0;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return 0;

        agent = fork();
        if (agent == 0)
                agent_become(parent, ends[1]);

        close(ends[1]);
        if (agent > 0)
                while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
                        ;
        close(ends[0]);
        return agent > 0 ? agent : 0;
}

void agent_stop(pid_t agent) {
        if (agent <= 0)
                return;

        kill(agent, SIGTERM);
        while (waitpid(agent, NULL, 0) < 0 && errno == EINTR)
                ;
}
