/* SPDX-License-Identifier: MIT */

/* The kernel zeroes nothing of dax memory, and a reference to a page (by io_uring, vmsplice, a direct read) outlives
 * mapping, descriptor, device and all. So each range is zeroed before it can have another holder, and somebody has to know
 * that nothing refers to it: a witness. Without one only the user who had it may have it again. (Recycle=any is an admin's
 * word that all users are one.) */

#include "recycling.h"

#include <errno.h>

#include "log.h"
#include "node-watch.h"
#include "region.h"
#include "size.h"
#include "witness.h"

int recycling_init(Recycling *recycling) {
        return throttle_new(&recycling->throttle);
}

void recycling_done(Recycling *recycling) {
        recycling->throttle = throttle_free(recycling->throttle);
}

void recycling_configure(Recycling *recycling, Region *region, const RegionConfig *config) {
        recycling->clean = config->clean;
        recycling->recycle = config->recycle;
        if (recycling->recycle == RECYCLE_DEFAULT)
                recycling->recycle = witness_installed() ? RECYCLE_WITNESSED : RECYCLE_OWNER;
        /* The witness only knows of references that were there when it looked: who still maps it takes new ones. */
        if (recycling->recycle == RECYCLE_WITNESSED && node_watch_can_be_deceived())
                recycling->recycle = RECYCLE_OWNER;
        throttle_set(recycling->throttle, config->clean_bandwidth);

        region->drain_timeout = config->drain_timeout;
        region->clean = recycling->clean == CLEAN_ON_FREE    ? "on-free"
                        : recycling->clean == CLEAN_ON_ALLOC ? "on-alloc"
                                                             : "both";
        region->recycle = recycling->recycle == RECYCLE_ANY         ? "any"
                          : recycling->recycle == RECYCLE_WITNESSED ? "witnessed"
                                                                    : "owner";
}

int recycling_zero(Recycling *recycling, Piece *piece, int fd, Failure *failure) {
        int r;

        r = recycling_zero_unless(recycling, piece, fd, &recycling->stopping, failure);
        if (r == -ECANCELED)
                return failure_set(failure, REFUSAL_ShuttingDown,
                                   "the broker was stopped while it zeroed the memory; ask again");
        return r;
}

int recycling_zero_unless(Recycling *recycling, Piece *piece, int fd, const atomic_bool *stop, Failure *failure) {
        int r;

        piece->cleaned = 0;
        r = clean_fd(fd, piece->length, piece->page_size > DAX_GRANULARITY ? piece->page_size : DAX_GRANULARITY,
                     recycling->throttle, &piece->cleaned, stop);
        piece->clean = r >= 0;
        return r < 0 && r != -ECANCELED ? failure_set_errno(failure, r, "cannot zero it") : r;
}

static atomic_bool *recycling_taught(Recycling *recycling, uint64_t page_size) {
        return page_size < DAX_GRANULARITY ? &recycling->taught_small
               : page_size < GIB           ? &recycling->taught_large
                                           : &recycling->taught_huge;
}

bool recycling_wants_lesson(Recycling *recycling, const Piece *piece) {
        return recycling->recycle == RECYCLE_WITNESSED && !*recycling_taught(recycling, piece->page_size);
}

void recycling_teach(Recycling *recycling, const Piece *piece, Range first) {
        atomic_bool *taught = recycling_taught(recycling, piece->page_size);

        if (recycling->recycle != RECYCLE_WITNESSED || *taught)
                return;

        first.length = piece->page_size > DAX_GRANULARITY ? piece->page_size : DAX_GRANULARITY;
        *taught = witness_teach(&first, 1, piece->page_size) >= 0;
}

int recycling_judge(Recycling *recycling, const Piece *piece, const Range *ranges, unsigned n_ranges, bool destroyed,
                    Failure *failure) {
        WitnessVerdict verdict;
        char why[256] = "";

        if (recycling->stopping)
                return failure_set(failure, REFUSAL_ShuttingDown, "the broker is being stopped");
        if (recycling->recycle == RECYCLE_ANY)
                return 0;
        /* like any revocation by force: an admin's doing, and his to answer for */
        if (destroyed) {
                log_warning("somebody has destroyed %s, which may have been referred to still", piece->device);
                return 0;
        }
        if (piece->held)
                return failure_set(failure, REFUSAL_StillReferenced,
                                   "somebody still has it, and can have the kernel refer to its pages at any moment");
        /* with what it was bound to, the kernel has forgotten how often its pages are referred to */
        if (piece->disturbed)
                return failure_set(failure, REFUSAL_StillReferenced,
                                   "something may refer to its pages still, and nobody can tell since its device was "
                                   "disabled or changed");
        if (recycling->recycle == RECYCLE_OWNER)
                return failure_set(failure, REFUSAL_StillReferenced,
                                   "something may refer to its pages still, and nobody can tell (Recycle=owner)");

        verdict = witness_ask(ranges, n_ranges, piece->page_size, why, sizeof(why));
        if (verdict != WITNESS_UNKNOWN) /* then it knows what idle pages are */
                *recycling_taught(recycling, piece->page_size) = true;
        switch (verdict) {
        case WITNESS_IDLE:
                return 0;
        case WITNESS_REFERENCED:
                return failure_set(failure, REFUSAL_StillReferenced,
                                   "something refers to its pages still (%s)", why);
        case WITNESS_UNKNOWN:
                break;
        }

        return failure_set(failure, REFUSAL_StillReferenced,
                           "something may refer to its pages still, and the witness cannot tell (%s)", why);
}
