/* SPDX-License-Identifier: MIT */
#pragma once

/* The lease of an allocation: a FIFO whose reading end its holders have, and whose writing end is ours. When the last copy
 * of theirs is closed, in whatever process, ours says so. */

#include <stdbool.h>

typedef struct Lease Lease;
typedef struct LeaseWatch LeaseWatch;

struct Lease {
        int dir_fd;   /* borrowed: the directory of all leases */
        char id[17];
        int ours;
        LeaseWatch *watch; /* that it is in; NULL if none */
        bool armed;        /* it will say so when it lapses; once */
        void (*lapsed)(Lease *lease); /* called in the event loop, once each time the last holder is gone */
};

/* Makes the FIFO and opens both ends. The holders' one belongs to the caller. */
int lease_make(Lease *lease, int dir_fd, const char *id, int *ret_holders);

/* Opens our end of a FIFO that an earlier broker made. Whether somebody holds it; -ENOENT, or -EBADMSG if it is no FIFO. */
int lease_recover(Lease *lease, int dir_fd, const char *id);

/* One more of the holders' ends, for one more of them. */
int lease_open_holders(const Lease *lease, int *ret_holders);

bool lease_has_holders(const Lease *lease);

/* Starts to watch, or starts again once there is a holder after it lapsed. */
int lease_watch(Lease *lease, LeaseWatch *watch, void (*lapsed)(Lease *lease));

/* Closes, and removes the FIFO. */
void lease_end(Lease *lease);

/* Closes, and leaves the FIFO for the next broker. */
void lease_close(Lease *lease);
