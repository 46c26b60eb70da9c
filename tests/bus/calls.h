/* SPDX-License-Identifier: MIT */
#pragma once

/* What users ask for: calls of the broker over sd-bus, without the library.
 *
 * What a user gets stays in its process, under a number; memory.h has what can be done with it.
 *
 * Options are written as one string, "name=scratch mode=0640 prefault=1": the type follows from the name; another one
 * is written as "name/t=5". An unknown name has type s. */

#include <stdbool.h>
#include <stdint.h>

#include "user.h"

typedef struct Reply {
        char error[128];   /* "" if it went well, otherwise such as "org.daxbroker1.Error.NoSpace" */
        char message[512]; /* the sentence that came with it */
        char object[128];
        uint64_t offset, length;
        int slot; /* -1 if there is nothing to keep */
        bool allowed; /* of a Check; its error and reason are in error and message */
} Reply;

/* Fails the test unless the reply is that error, given without its prefix: reply_assert(r, "NoSpace"), or success: "". */
#define reply_assert(reply, name) reply_assert_error(reply, name, __FILE__, __LINE__)
void reply_assert_error(Reply reply, const char *name, const char *file, int line);

/* Calls. options and name may be NULL for none. */
Reply user_allocate(User *user, uint64_t size, uint64_t alignment, const char *options);
Reply user_open(User *user, const char *name, const char *options);
Reply user_open_object(User *user, const char *object, const char *options);
Reply user_release(User *user, const char *object); /* Free */
Reply user_revoke(User *user, const char *object, const char *options);
Reply user_set_mode(User *user, const char *object, uint32_t mode);
Reply user_set_owner(User *user, const char *object, uint32_t uid, const char *options);
Reply user_rename(User *user, const char *object, const char *name);
Reply user_resize(User *user, const char *object, uint64_t size); /* length is what it has then */
Reply user_check(User *user, uint64_t size, uint64_t alignment, const char *options);
Reply user_reserve(User *user, uint64_t size, const char *options); /* the slot has a lease, and no memory */
Reply user_release_grant(User *user, const char *object);
Reply user_get_allocation(User *user, const char *name);
Reply user_reload(User *user);
/* What ListAllocations returns: "NAME OBJECT" lines, sorted; g_free() it. */
char *user_list(User *user);
/* The same of ListGrants, which have no names. */
char *user_list_grants(User *user);
/* What all of them together take of their regions, and how many there are; ret_n may be NULL. */
uint64_t user_sum(User *user, unsigned *ret_n);

/* Sent, and the reply comes later: user_end_reply(). Interactive authorization is allowed if asked for. */
void user_begin_allocate(User *user, uint64_t size, uint64_t alignment, const char *options);
void user_begin_interactive_allocate(User *user, uint64_t size, uint64_t alignment, const char *options);
void user_begin_reserve(User *user, uint64_t size, const char *options);
void user_begin_rename(User *user, const char *object, const char *name);
void user_begin_release(User *user, const char *object);
void user_begin_open(User *user, const char *name, const char *options);
void user_begin_open_object(User *user, const char *object, const char *options);
Reply user_end_reply(User *user);

/* Properties, as a number (whatever its type) or as a text to g_free(). Those of regions are read by the test itself, as
 * root, those of allocations by the user. */
uint64_t region_get(const char *region, const char *property);
char *region_get_string(const char *region, const char *property);
uint64_t allocation_get(User *user, const char *object, const char *property);
/* Those of grants; and the error there is instead, or "". */
uint64_t grant_get(User *user, const char *object, const char *property);
char *grant_get_error(User *user, const char *object, const char *property);
char *allocation_get_string(User *user, const char *object, const char *property);
/* Waits, for at most 20 seconds, until region property has this value; the last one seen is returned. */
uint64_t region_wait(const char *region, const char *property, uint64_t value);
/* Whether the object is still listed; polls for at most 20 seconds until it is as said. */
bool allocation_wait_gone(User *user, const char *object);
