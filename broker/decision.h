/* SPDX-License-Identifier: MIT */
#pragma once

/* Decisions that need not be asked for again. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Together and of one user; the oldest go first. */
#define DECISIONS_MAX 8192
#define DECISIONS_PER_USER_MAX 1024

typedef struct Decision Decision;
typedef struct DecisionUser DecisionUser;
typedef struct DecisionConnection DecisionConnection;

typedef struct DecisionCache {
        uint64_t generation; /* how often everything was dropped */
        size_t n;
        Decision *oldest;    /* of all */
        DecisionUser *users;
        DecisionConnection *connections;
} DecisionCache;

/* Who was asked about: connection is never looked into, only compared. */
typedef struct DecisionSubject {
        const void *connection;
        uid_t uid;
} DecisionSubject;

/* Whether the answer to this very question was yes, and is not older than lifetime. Times are microseconds of one clock. */
bool decisions_have(const DecisionCache *cache, const void *connection, const char *key, size_t key_size, uint64_t now,
                    uint64_t lifetime);

/* Keeps a yes to what was asked at this time. Not if everything was dropped since then, which generation tells: what it was
 * at that time. If there is no memory, it is just not kept. */
void decisions_keep(DecisionCache *cache, DecisionSubject subject, const char *key, size_t key_size, uint64_t asked,
                    uint64_t generation, uint64_t now, uint64_t lifetime);

/* Forgets everything, answers on their way included. */
void decisions_drop(DecisionCache *cache);

/* Forgets those about a connection that has ended. */
void decisions_drop_connection(DecisionCache *cache, const void *connection);
