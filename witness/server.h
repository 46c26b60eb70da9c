/* SPDX-License-Identifier: MIT */
#pragma once

#include <sys/types.h>

#include "judge.h"

typedef struct Server {
        int listener;
        uid_t broker; /* the only one who is answered */
        Judge *judge;
        int lessons; /* where lessons are kept, or -EBADF */
        int idle_seconds;    /* without any connection, then it ends */
        int silence_seconds; /* of a connection, then it is hung up on */
} Server;

/* Serves until nobody has asked for a while: 0, or what kept it from going on. */
int server_run(Server *server);
