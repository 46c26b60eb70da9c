/* SPDX-License-Identifier: MIT */

/* Whose an allocation is. The bus tells the uid of a caller, and what the owner of a named allocation was called when it
 * became his is on record. So when a caller has the uid of an owner, the user database is asked who that is: once for each
 * connection, since a process does not become another user's by growing old.
 *
 * Who only looks at what others have gets answers that may be some seconds old, and gets them also if the database does not
 * answer. Who wants to have something does not get it then. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "server-bus.h"

/* How old an answer may be that is only shown. */
#define SHOWN_USEC_MAX (2 * UINT64_C(1000000))

static int look_up_since(Call *call, User *user, uint64_t since, bool with_groups, Failure *failure) {
        int r;

        /* that somebody of the same user has come since, and the database does not answer, is nothing to him */
        if (identity_was_told(user, since, with_groups))
                return CALL_DONE;

        /* what could not be found out for others may be found out by now; if the database hangs, one wait is enough */
        if (user->identity.error < 0 && !user->identity.running && since < call->began)
                since = call->began;

        if (!identity_is_known(user, since, with_groups)) {
                r = identity_look_up(user, with_groups);
                return r < 0 ? r : call_wait(call, &user->identity.waiters, failure);
        }

        r = user->identity.error;
        if (r == -EMFILE || r == -ENFILE || r == -ENOMEM)
                return failure_set_errno(failure, r, "cannot ask the user database who user %" PRIu32 " is",
                                         (uint32_t) user->uid);
        if (r < 0)
                return failure_set(failure, REFUSAL_AuthorityUnavailable,
                                   "the user database does not tell who user %" PRIu32 " is: %s", (uint32_t) user->uid,
                                   strerror(-r));
        return CALL_DONE;
}

int call_look_up(Call *call, User *user, bool with_groups, Failure *failure) {
        return look_up_since(call, user, call->began, with_groups, failure);
}

int call_knows_owner(Call *call, const Allocation *allocation, Failure *failure) {
        const Caller *caller = call->caller;
        int r;

        if (!allocation->owner_name || caller->user->uid != allocation->owner)
                return CALL_DONE;

        r = look_up_since(call, caller->user, caller->since, false, failure);
        if (r <= 0 || !allocation_has_lost_owner(allocation))
                return r;

        /* databases have bad moments, so nobody is sent away because of one that is over */
        return call_look_up(call, caller->user, false, failure);
}

static bool is_nobody(const char *name) {
        return strcmp(name, IDENTITY_NOBODY) == 0;
}

int call_refuse_stranger(const Call *call, const Allocation *allocation, int r, Failure *failure) {
        const User *user = call->caller->user;
        const char *was = allocation->owner_name, *is = user->identity.name;

        if (r >= 0 || user->uid != allocation->owner || allocation_is_owned_by(allocation, user->uid) ||
            (failure->refusal != REFUSAL_NotAuthorized && failure->refusal != REFUSAL_AuthenticationRequired))
                return r;

        /* both are known, and differ */
        return failure_set(failure, REFUSAL_NotAuthorized,
                           "uid %" PRIu32 " was %s%s%s when this became his, and is %s%s%s today; an administrator can "
                           "decide whose it is now",
                           (uint32_t) user->uid, is_nobody(was) ? "" : "user '", is_nobody(was) ? "no user's" : was,
                           is_nobody(was) ? "" : "'", is_nobody(is) ? "" : "user '", is_nobody(is) ? "no user's" : is,
                           is_nobody(is) ? "" : "'");
}

int call_knows_owner_to_show(Call *call, const Allocation *allocation) {
        User *user = allocation->charge.user;
        Failure ignored = { 0 };
        uint64_t since = call->began > SHOWN_USEC_MAX ? call->began - SHOWN_USEC_MAX : 0;

        if (!user || user->uid == (uid_t) -1)
                return CALL_DONE;
        if (user == call->caller->user && since < call->caller->since)
                since = call->caller->since;
        if (identity_is_known(user, since, false) || identity_look_up(user, false) < 0)
                return CALL_DONE;

        return call_wait(call, &user->identity.waiters, &ignored) < 0 ? CALL_DONE : CALL_WAITS;
}
