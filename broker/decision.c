/* SPDX-License-Identifier: MIT */

/* A yes that was given to a connection holds for a moment: the same question of the same connection need not be asked again.
 * The same is meant literally: action and all details, what the caller holds included, so that a rule about sums is never
 * evaded. What may be kept is for others to judge (authorize.c); here it is only kept, and forgotten:
 *
 *      its time is over                counted from when it was asked
 *      the connection has ended        another one may get its name, and is somebody else
 *      the world has changed           everything goes, and so do answers to questions that were asked before
 *      there is no more room           the oldest of the user goes, or the oldest of all
 *
 * Each decision is in three places: among those of its connection, by key; in its user's list; in the list of all. */

#include "decision.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

struct DecisionUser {
        uid_t uid;
        size_t n;
        Decision *oldest;
        UT_hash_handle hh;
};

struct DecisionConnection {
        const void *connection;
        Decision *decisions;
        UT_hash_handle hh;
};

struct Decision {
        DecisionUser *user;
        DecisionConnection *connection;
        uint64_t asked;
        Decision *prev, *next;           /* of all */
        Decision *user_prev, *user_next; /* of the user */
        UT_hash_handle hh;               /* of the connection */
        size_t key_size;
        char key[];
};

static bool is_over(const Decision *decision, uint64_t now, uint64_t lifetime) {
        return now < decision->asked || now - decision->asked >= lifetime;
}

static void decision_forget(DecisionCache *cache, Decision *decision) {
        DecisionConnection *connection = decision->connection;
        DecisionUser *user = decision->user;

        HASH_DEL(connection->decisions, decision);
        DL_DELETE2(user->oldest, decision, user_prev, user_next);
        DL_DELETE(cache->oldest, decision);
        cache->n--;
        free(decision);

        if (!connection->decisions) {
                HASH_DEL(cache->connections, connection);
                free(connection);
        }
        if (--user->n == 0) {
                HASH_DEL(cache->users, user);
                free(user);
        }
}

static DecisionConnection *connection_find(const DecisionCache *cache, const void *connection) {
        DecisionConnection *found;

        HASH_FIND_PTR(cache->connections, &connection, found);
        return found;
}

static Decision *decision_find(const DecisionCache *cache, const void *connection, const char *key, size_t key_size) {
        DecisionConnection *of = connection_find(cache, connection);
        Decision *decision = NULL;

        if (of)
                HASH_FIND(hh, of->decisions, key, key_size, decision);
        return decision;
}

bool decisions_have(const DecisionCache *cache, const void *connection, const char *key, size_t key_size, uint64_t now,
                    uint64_t lifetime) {
        const Decision *decision = decision_find(cache, connection, key, key_size);

        return decision && !is_over(decision, now, lifetime);
}

static DecisionUser *user_make(DecisionCache *cache, uid_t uid) {
        DecisionUser *user;

        HASH_FIND(hh, cache->users, &uid, sizeof(uid), user);
        if (user)
                return user;

        user = calloc(1, sizeof(*user));
        if (!user)
                return NULL;
        user->uid = uid;
        HASH_ADD(hh, cache->users, uid, sizeof(user->uid), user);
        return user;
}

static DecisionConnection *connection_make(DecisionCache *cache, const void *connection) {
        DecisionConnection *made = connection_find(cache, connection);

        if (made)
                return made;

        made = calloc(1, sizeof(*made));
        if (!made)
                return NULL;
        made->connection = connection;
        HASH_ADD_PTR(cache->connections, connection, made);
        return made;
}

static void make_room(DecisionCache *cache, uid_t uid, uint64_t now, uint64_t lifetime) {
        DecisionUser *user;

        while (cache->oldest && is_over(cache->oldest, now, lifetime))
                decision_forget(cache, cache->oldest);

        HASH_FIND(hh, cache->users, &uid, sizeof(uid), user);
        if (user && user->n >= DECISIONS_PER_USER_MAX)
                decision_forget(cache, user->oldest);
        else if (cache->n >= DECISIONS_MAX)
                decision_forget(cache, cache->oldest);
}

void decisions_keep(DecisionCache *cache, DecisionSubject subject, const char *key, size_t key_size, uint64_t asked,
                    uint64_t generation, uint64_t now, uint64_t lifetime) {
        DecisionConnection *connection;
        Decision *decision;
        DecisionUser *user;

        if (generation != cache->generation || now < asked || now - asked >= lifetime)
                return;

        decision = decision_find(cache, subject.connection, key, key_size);
        if (decision)
                decision_forget(cache, decision);
        make_room(cache, subject.uid, now, lifetime);

        decision = calloc(1, sizeof(*decision) + key_size);
        if (!decision)
                return;
        user = user_make(cache, subject.uid);
        connection = user ? connection_make(cache, subject.connection) : NULL;
        if (!connection) {
                if (user && user->n == 0) {
                        HASH_DEL(cache->users, user);
                        free(user);
                }
                free(decision);
                return;
        }

        decision->user = user;
        decision->connection = connection;
        decision->asked = asked;
        decision->key_size = key_size;
        memcpy(decision->key, key, key_size);
        HASH_ADD_KEYPTR(hh, connection->decisions, decision->key, decision->key_size, decision);
        DL_APPEND2(user->oldest, decision, user_prev, user_next);
        DL_APPEND(cache->oldest, decision);
        user->n++;
        cache->n++;
}

void decisions_drop(DecisionCache *cache) {
        cache->generation++;
        while (cache->oldest)
                decision_forget(cache, cache->oldest);
}

void decisions_drop_connection(DecisionCache *cache, const void *connection) {
        DecisionConnection *of = connection_find(cache, connection);
        Decision *decision, *next;

        if (!of)
                return;

        /* the last one takes the connection with it */
        for (decision = of->decisions; decision; decision = next) {
                next = decision->hh.next;
                decision_forget(cache, decision);
        }
}
