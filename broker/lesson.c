/* SPDX-License-Identifier: MIT */

/* The witness has to be shown idle pages, of each size, before it can tell others from them. Each device that is made new is
 * such a lesson, so usually there has been one before there is anything to judge. A witness that comes late, though, may
 * find nothing but memory that is kept for its owners, and nobody who asks for new. Then a small piece is made for no other
 * purpose; it is an allocation of the broker's own user, with a record like any other, and ends as soon as it is there.
 *
 * What is kept cannot serve instead. Who had it may have had the kernel refer to every page of it, once: a witness that
 * takes that for idle clears what he still reaches, his own next pieces included. Nobody can tell such pages from idle
 * ones, or else no lesson were needed. So where all of a region is kept, and no other region has shown pages of that size
 * either, it stays kept until some of it is free again. */

#include "lesson.h"

#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "creation.h"
#include "log.h"
#include "manager.h"

/* A witness that cannot learn is not shown anything again before that. */
#define AGAIN_USEC (UINT64_C(60) * 1000000)

static void on_made(Allocation *allocation, int r, const Failure *failure, int memory, int lease, void *userdata) {
        Region *region = allocation->reservation.region;
        Manager *manager = userdata;

        safe_close(memory);
        safe_close(lease);
        if (r < 0) {
                log_debug("cannot show the witness what idle memory looks like: %s", failure->text);
                return;
        }

        allocation->untouched = true;
        (void) allocation_end(allocation, "the witness has seen it", NULL, NULL, NULL);
        if (!allocation->provider->wants_lesson(region, &allocation->piece)) {
                region->lesson_given = 0; /* there may be need of other pages */
                manager_judge_again(manager);
        }
}

void lesson_give(const Allocation *kept) {
        const Provider *provider = kept->provider;
        Region *region = kept->reservation.region;
        Manager *manager = kept->manager;
        Request request = { .size = 1, .alignment = 1, .page_size = kept->piece.page_size, .page_size_set = true };
        Origin origin = { .pid = getpid(), .decision = "for the witness to learn from" };
        Failure failure = { 0 };
        Piece plan;

        if (!provider->wants_lesson || !provider->wants_lesson(region, &kept->piece) ||
            (region->lesson_given > 0 && now_usec() - region->lesson_given < AGAIN_USEC))
                return;
        if (provider->plan(region, &request, &plan, &failure) < 0 || region_admit(region, plan.length, &failure) < 0 ||
            (provider->fits && provider->fits(region, &plan, &failure) < 0) ||
            (provider->crowded && provider->crowded(region, &plan)) ||
            manager->n_allocations >= manager->max_allocations ||
            user_get(&manager->users, getuid(), &origin.user) < 0)
                return;

        region->lesson_given = now_usec();
        if (allocation_create(manager, region, &request, &plan, NULL, &origin, on_made, manager, &failure) < 0)
                log_debug("cannot show the witness what idle memory looks like: %s", failure.text);
        user_unref(origin.user);
}
