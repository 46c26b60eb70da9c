/* SPDX-License-Identifier: MIT */

/* Users and their quotas. There is no exception for anybody: root is a user as any other. Charges are embedded in the
 * objects that use the quota and given back by their destructors, so that the sums cannot drift. */

#include "user.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <utlist.h>

#include "size.h"

int user_get(UserTable *table, uid_t uid, User **ret) {
        User *user;

        HASH_FIND(hh, table->users, &uid, sizeof(uid), user);
        if (!user) {
                user = calloc(1, sizeof(*user));
                if (!user)
                        return -ENOMEM;
                user->table = table;
                user->uid = uid;
                HASH_ADD(hh, table->users, uid, sizeof(user->uid), user);
        }

        *ret = user_ref(user);
        return 0;
}

User *user_ref(User *user) {
        user->n_refs++;
        return user;
}

User *user_unref(User *user) {
        if (!user || --user->n_refs > 0)
                return NULL;

        assert(user->bytes == 0 && user->count == 0 && user->n_ending == 0 && user->n_pending == 0);
        HASH_DEL(user->table->users, user);
        identity_done(&user->identity);
        free(user);
        return NULL;
}

static bool rule_applies(const QuotaRule *rule, const User *user, const gid_t *groups, size_t n_groups) {
        switch (rule->scope) {
        case QUOTA_EVERYBODY:
                return true;
        case QUOTA_USER:
                return rule->id == user->uid;
        case QUOTA_GROUP:
                for (size_t i = 0; i < n_groups; i++)
                        if (groups[i] == rule->id)
                                return true;
        }

        return false;
}

/* Whether a beats b for one of the two limits: nearer to the user first, and the more generous of two groups. */
static bool rule_beats(const QuotaRule *a, uint64_t a_max, const QuotaRule *b, uint64_t b_max) {
        return !b || a->scope > b->scope || (a->scope == b->scope && a_max > b_max);
}

static void quota_find(const QuotaRule *rules, const User *user, const gid_t *groups, size_t n_groups,
                       const QuotaRule **ret_bytes, const QuotaRule **ret_count) {
        const QuotaRule *rule, *bytes = NULL, *count = NULL;

        DL_FOREACH(rules, rule) {
                if (!rule_applies(rule, user, groups, n_groups))
                        continue;
                if (rule->limits_bytes && rule_beats(rule, rule->max_bytes, bytes, bytes ? bytes->max_bytes : 0))
                        bytes = rule;
                if (rule->limits_count && rule_beats(rule, rule->max_count, count, count ? count->max_count : 0))
                        count = rule;
        }

        *ret_bytes = bytes;
        *ret_count = count;
}

static int quota_admit_bytes(const QuotaRule *of_bytes, const User *user, uint64_t bytes, Failure *failure) {
        if (of_bytes && of_bytes->max_bytes != SIZE_INFINITE &&
            (user->bytes > of_bytes->max_bytes || bytes > of_bytes->max_bytes - user->bytes))
                return failure_set(failure, REFUSAL_QuotaExceeded,
                                   "user %" PRIu32
                                   " may hold %s ([Quota%s%s] MaxBytes), holds %s, %s are left, %s were asked for",
                                   (uint32_t) user->uid, SIZE_TEXT(of_bytes->max_bytes), of_bytes->name[0] ? " " : "",
                                   of_bytes->name, SIZE_TEXT(user->bytes),
                                   SIZE_TEXT(user->bytes < of_bytes->max_bytes ? of_bytes->max_bytes - user->bytes : 0),
                                   SIZE_TEXT(bytes));
        return 0;
}

static int quota_admit_one(const QuotaRule *of_count, const User *user, Failure *failure) {
        if (of_count && user->count >= of_count->max_count)
                return failure_set(failure, REFUSAL_QuotaExceeded,
                                   "user %" PRIu32 " may hold no more allocations: holds %" PRIu64
                                   ", [Quota%s%s] MaxAllocations is %" PRIu64,
                                   (uint32_t) user->uid, user->count, of_count->name[0] ? " " : "", of_count->name,
                                   of_count->max_count);
        return 0;
}

int quota_admit(const QuotaRule *rules, const User *user, const gid_t *groups, size_t n_groups, uint64_t bytes,
                Failure *failure) {
        const QuotaRule *of_bytes, *of_count;
        int r;

        quota_find(rules, user, groups, n_groups, &of_bytes, &of_count);
        r = quota_admit_one(of_count, user, failure);
        return r < 0 ? r : quota_admit_bytes(of_bytes, user, bytes, failure);
}

int quota_admit_count(const QuotaRule *rules, const User *user, const gid_t *groups, size_t n_groups, Failure *failure) {
        const QuotaRule *of_bytes, *of_count;

        quota_find(rules, user, groups, n_groups, &of_bytes, &of_count);
        return quota_admit_one(of_count, user, failure);
}

int quota_admit_growth(const QuotaRule *rules, const User *user, const gid_t *groups, size_t n_groups, uint64_t bytes,
                       Failure *failure) {
        const QuotaRule *of_bytes, *of_count;

        quota_find(rules, user, groups, n_groups, &of_bytes, &of_count);
        return quota_admit_bytes(of_bytes, user, bytes, failure);
}

void charge_take(Charge *charge, User *user, uint64_t bytes) {
        assert(!charge->user);

        charge->user = user_ref(user);
        charge->bytes = bytes;
        charge->ending = false;
        user->bytes += bytes;
        user->count++;
}

void charge_resize(Charge *charge, uint64_t bytes) {
        if (!charge->user)
                return;

        charge->user->bytes += bytes - charge->bytes; /* wraps as it should */
        charge->bytes = bytes;
}

void charge_set_ending(Charge *charge, bool ending) {
        if (!charge->user || charge->ending == ending)
                return;

        charge->ending = ending;
        if (ending)
                charge->user->n_ending++;
        else
                charge->user->n_ending--;
}

void charge_release(Charge *charge) {
        User *user = charge->user;

        if (!user)
                return;

        assert(user->bytes >= charge->bytes && user->count > 0);
        user->bytes -= charge->bytes;
        user->count--;
        if (charge->ending)
                user->n_ending--;
        *charge = (Charge){ 0 };
        user_unref(user);
}
