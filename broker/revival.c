/* SPDX-License-Identifier: MIT */

/* Something that was known and could not be used becomes what it was. Looking at it, opening it and having the service
 * manager keep what was opened is a worker's job, for a device may take its time and the service manager does; then the
 * event loop watches who has it. What fails leaves the allocation as it was, and is not tried again by itself. */

#include "revival.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"
#include "manager.h"

int allocation_recover_lease(Allocation *allocation) {
        int leases_dir = allocation->manager->leases_dir, fd, r;

        r = lease_recover(&allocation->lease, leases_dir, allocation->id);
        if (r >= 0 || r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -EINTR || r == -EIO)
                return r; /* good, or something that may pass and must not cost a holder its lease */

        log_warning("the lease of allocation %s cannot be opened again: %s", allocation->id, strerror(-r));
        if (unlinkat(leases_dir, allocation->id, 0) < 0)
                (void) unlinkat(leases_dir, allocation->id, AT_REMOVEDIR);
        r = lease_make(&allocation->lease, leases_dir, allocation->id, &fd);
        if (r >= 0)
                safe_close(fd); /* without a name it lapses with this, and ends */
        return r;
}

/* It is kept for the next broker as if it had just been made; and nothing of what it was before. */
void allocation_store_reopened(const Allocation *allocation) {
        if (!allocation->piece.unheld || allocation->piece.fd < 0)
                return;

        allocation_unstore_fds(allocation);
        if (allocation_store_fds(allocation) < 0)
                log_warning("the service manager does not keep the descriptor of allocation %s", allocation->id);
}

int revival_work(Allocation *allocation, Failure *failure) {
        int none[2] = { -EBADF, -EBADF }, r;

        if (allocation->lease.ours < 0) {
                r = allocation_recover_lease(allocation);
                if (r < 0)
                        return failure_set_errno(failure, r, "cannot make a lease");
        }
        allocation->piece.unheld = !lease_has_holders(&allocation->lease);
        r = allocation->provider->recover ? allocation->provider->recover(&allocation->piece, none, failure) : 0;
        if (r >= 0)
                allocation_store_reopened(allocation);
        return r;
}

int revival_finish(Allocation *allocation, Failure *failure) {
        int r;

        allocation->in_use = lease_has_holders(&allocation->lease);
        /* as long as it was detached, it was watched by its path */
        node_watch_remove(allocation->manager->nodes, &allocation->node);
        r = allocation_watch_node(allocation, NULL);
        if (r >= 0)
                r = allocation_watch(allocation);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot watch it");

        allocation->away = false;
        free(allocation->reason);
        allocation->reason = NULL;
        allocation_set_state(allocation, ALLOCATION_LIVE);
        allocation_notify(allocation, "Reason");
        return 0;
}

static void revive_done(Allocation *allocation, int r, Failure *failure) {
        allocation->operation.running = false;
        if (r >= 0)
                r = revival_finish(allocation, failure);
        if (r >= 0) {
                allocation_catch_up(allocation);
                return;
        }

        log_warning("allocation %s stays %s: %s", allocation->id, allocation_state_to_string(allocation->state),
                    failure->refusal != REFUSAL_NONE ? failure->text : strerror(-r));
        if (allocation->end_cause)
                allocation_end_now(allocation);
        waiters_wake(&allocation->waiters);
}

void allocation_revive(Allocation *allocation) {
        operation_start(allocation, revival_work, revive_done);
}
