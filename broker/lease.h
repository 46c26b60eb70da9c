/* SPDX-License-Identifier: MIT */
#pragma once

/* The lease of an allocation: a FIFO whose writing end its holders have. When the last copy of that end is closed, in
 * whatever process, the reading end hangs up. */

typedef struct Lease Lease;
typedef struct LeaseWatch LeaseWatch;

struct Lease {
        int dir_fd;   /* borrowed: the directory of all leases */
        char id[17];
        int reader;
        LeaseWatch *watch; /* that it is in; NULL if none */
        void (*lapsed)(Lease *lease); /* called in the event loop, once each time the last holder is gone */
};

/* Makes the FIFO and opens both ends; may block on the file system. The writer belongs to the caller. */
int lease_make(Lease *lease, int dir_fd, const char *id, int *ret_writer);

/* Opens the reading end of a FIFO that an earlier broker made. -ENOENT, or -EBADMSG if it is no FIFO of ours. */
int lease_recover(Lease *lease, int dir_fd, const char *id);

/* One more writing end, for one more holder. */
int lease_open_writer(const Lease *lease, int *ret_writer);

/* Starts to watch, or starts again once there is a holder after it lapsed. */
int lease_watch(Lease *lease, LeaseWatch *watch, void (*lapsed)(Lease *lease));

/* Closes, and removes the FIFO. */
void lease_end(Lease *lease);

/* Closes, and leaves the FIFO for the next broker. */
void lease_close(Lease *lease);
