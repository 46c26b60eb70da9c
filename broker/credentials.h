/* SPDX-License-Identifier: MIT */
#pragma once

/* Who is at the other end of a local socket, as the kernel has it. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "failure.h"

typedef struct Credentials {
        uid_t uid;
        gid_t *groups; /* all, the primary one first */
        size_t n_groups;
        pid_t pid;           /* of the process that has connected; 0 if it cannot be seen from here */
        int pidfd;           /* of the same process; -EBADF if there is none any more */
        uint64_t start_time; /* in the clock's ticks, as polkit wants it; 0 if nobody has asked yet */
} Credentials;

/* Of a connected socket. Errors: -ENOMEM, -EOVERFLOW for a uid that has no number here, and what the kernel says. */
int credentials_read(int fd, Credentials *ret);
void credentials_clear(Credentials *credentials);

/* Makes sure that pid and start_time stand for the process that has connected, and that it still exists. Refuses with
 * NotAuthorized otherwise. */
int credentials_identify(Credentials *credentials, Failure *failure);
