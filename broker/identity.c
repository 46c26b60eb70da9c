/* SPDX-License-Identifier: MIT */

/* The user database may be on another machine, and takes its time then, or does not answer. So it is asked in a worker
 * thread, in a lane of its own for each uid, and only when the answer matters: when
 * the owner of a named allocation calls, or somebody looks at what there is.
 *
 * A look-up keeps its user alive. What it has found becomes the identity's in the event loop. Who needs to know it as of
 * now says since when: a caller must be somebody who existed when he connected, while a list may be some seconds old. */

#include "identity.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "log.h"
#include "user.h"

/* No entry of a user database is longer, and nobody is in more groups. */
#define ENTRY_SIZE_MAX (UINT64_C(1) << 20)
#define GROUPS_MAX 65536

/* Nobody waits longer for an answer. The thread does. */
#define PATIENCE_USEC (5 * UINT64_C(1000000))

typedef struct Lookup {
        Job job;
        User *user; /* owned reference */
        bool with_groups;
        uint64_t began;
        /* what was found */
        char *name;
        gid_t *groups;
        size_t n_groups;
} Lookup;

/* Records and the bus take printable ASCII; two names that differ still do so afterwards. */
static int name_escape(const char *name, char **ret) {
        char text[IDENTITY_NAME_MAX];
        size_t n = 0;

        for (; *name && n + 3 < sizeof(text); name++) {
                unsigned char c = (unsigned char) *name;

                if (c > ' ' && c <= '~' && c != '%' && (c != '-' || n > 0))
                        text[n++] = (char) c;
                else
                        n += (size_t) snprintf(text + n, sizeof(text) - n, "%%%02X", c);
        }
        text[n] = '\0';
        if (*name)
                return -ENAMETOOLONG;

        *ret = strdup(text);
        return *ret ? 0 : -ENOMEM;
}

static int lookup_groups(Lookup *lookup, const struct passwd *entry) {
        int n = 64, room;
        gid_t *groups = NULL, *larger;

        do {
                room = n;
                larger = reallocarray(groups, (size_t) room, sizeof(*groups));
                if (!larger) {
                        free(groups);
                        return -ENOMEM;
                }
                groups = larger;
                if (getgrouplist(entry->pw_name, entry->pw_gid, groups, &n) >= 0) {
                        lookup->groups = groups;
                        lookup->n_groups = (size_t) n;
                        return 0;
                }
        } while (n > room && n <= GROUPS_MAX);

        free(groups);
        return -E2BIG;
}

static int lookup_work(Job *job) {
        Lookup *lookup = (Lookup *) job;
        _cleanup_free_ char *buffer = NULL;
        struct passwd *found, entry;
        size_t size = 1024;
        int r;

        do {
                size *= 2;
                free(buffer);
                buffer = malloc(size);
                if (!buffer)
                        return -ENOMEM;
                r = getpwuid_r(lookup->user->uid, &entry, buffer, size, &found);
        } while (r == ERANGE && size < ENTRY_SIZE_MAX);

        /* databases have several ways to say that there is none */
        if (!found && r != 0 && r != ENOENT && r != ESRCH)
                return -r;

        if (!found) {
                lookup->name = strdup(IDENTITY_NOBODY);
                return lookup->name ? 0 : -ENOMEM;
        }

        r = name_escape(entry.pw_name, &lookup->name);
        if (r < 0)
                return r;
        return lookup->with_groups ? lookup_groups(lookup, &entry) : 0;
}

/* Takes over what was found. Whether that is another name than the one that was known. */
static bool identity_take(Identity *identity, Lookup *lookup) {
        bool changed = identity->name && strcmp(identity->name, lookup->name) != 0;

        identity->told_as_of = lookup->began;
        if (lookup->with_groups)
                identity->groups_told_as_of = lookup->began;
        free(identity->name);
        identity->name = TAKE_PTR(lookup->name);
        if (lookup->with_groups) {
                free(identity->groups);
                identity->groups = TAKE_PTR(lookup->groups);
                identity->n_groups = lookup->n_groups;
        }
        return changed;
}

static void lookup_done(Job *job, int r) {
        Lookup *lookup = (Lookup *) job;
        User *user = lookup->user;
        Identity *identity = &user->identity;
        bool changed = false;

        identity->running = NULL;
        identity->patience = sd_event_source_disable_unref(identity->patience);
        identity->as_of = lookup->began;
        if (lookup->with_groups)
                identity->groups_as_of = lookup->began;
        if (r < 0 && identity->error != r)
                log_warning("cannot find out who user %u is: %s", (unsigned) user->uid, strerror(-r));
        identity->error = r;
        if (r >= 0)
                changed = identity_take(identity, lookup);
        free(lookup->name);
        free(lookup->groups);
        free(lookup);

        if (changed && user->table->renamed)
                user->table->renamed(user, user->table->userdata);
        waiters_wake(&identity->waiters);
        user_unref(user);
}

static int on_patience(sd_event_source *source, uint64_t usec, void *userdata) {
        User *user = userdata;
        Identity *identity = &user->identity;

        (void) source;
        (void) usec;
        identity->patience = sd_event_source_disable_unref(identity->patience);
        identity->as_of = identity->groups_as_of = identity->patient_since;
        identity->error = -ETIMEDOUT;
        log_warning("the user database does not tell who user %u is, still waiting", (unsigned) user->uid);
        waiters_wake(&identity->waiters);
        return 0;
}

/* From now on somebody waits. */
static int identity_expect(User *user) {
        Identity *identity = &user->identity;

        if (identity->patience)
                return 0;

        identity->patient_since = now_usec();
        return sd_event_add_time_relative(user->table->event, &identity->patience, CLOCK_MONOTONIC, PATIENCE_USEC, 0,
                                          on_patience, user);
}

int identity_look_up(User *user, bool with_groups) {
        Lookup *lookup;
        int r;

        r = identity_expect(user);
        if (r < 0 || user->identity.running)
                return r;

        lookup = calloc(1, sizeof(*lookup));
        if (!lookup) {
                user->identity.patience = sd_event_source_disable_unref(user->identity.patience);
                return -ENOMEM;
        }

        lookup->user = user_ref(user);
        lookup->with_groups = with_groups;
        lookup->began = now_usec();
        lookup->job = (Job){ .work = lookup_work, .done = lookup_done };
        user->identity.running = lookup;
        worker_pool_submit(user->table->pool, &lookup->job, WORKER_NAMES | user->uid);
        return 0;
}

bool identity_is_known(const User *user, uint64_t since, bool with_groups) {
        const Identity *identity = &user->identity;

        return identity->as_of > since && (!with_groups || identity->groups_as_of > since);
}

bool identity_was_told(const User *user, uint64_t since, bool with_groups) {
        const Identity *identity = &user->identity;

        return identity->told_as_of > since && (!with_groups || identity->groups_told_as_of > since);
}

bool identity_is(const User *user, const char *name) {
        return !name || !user->identity.name || strcmp(user->identity.name, name) == 0;
}

void identity_done(Identity *identity) {
        free(identity->name);
        free(identity->groups);
        *identity = (Identity){ 0 };
}
