/* SPDX-License-Identifier: MIT */
#pragma once

/* How a D-Bus connection begins: the server's side, for a client of whom the kernel has told who he is. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* What may be there at a time, and what is answered to it at most. */
#define HANDSHAKE_MAX 1024
#define HANDSHAKE_REPLY_MAX 2048

typedef struct Handshake {
        uid_t uid;      /* the client's */
        const char *id; /* ours, 32 characters; borrowed */
        bool begun;     /* the byte before the first line has come */
        bool asked;     /* the client is to say who he is */
        bool accepted;  /* he has */
        bool fds;       /* descriptors may be sent */
        bool done;      /* what follows are messages */
        unsigned n_lines;
} Handshake;

/* Reads the complete lines in text and says how long these are, but not what comes behind the last one of the handshake.
 * What is to be sent is put into the reply. -EPROTO for somebody who does not speak D-Bus. */
ssize_t handshake_read(Handshake *handshake, const char *text, size_t n, char reply[static HANDSHAKE_REPLY_MAX]);
