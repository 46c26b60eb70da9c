/* SPDX-License-Identifier: MIT */
#pragma once

#include <sys/types.h>

#define USER_TEXT_MAX 64

/* The user's or group's name; its number if it has none. Both return text. */
char *user_format(uid_t uid, char text[static USER_TEXT_MAX]);
char *group_format(gid_t gid, char text[static USER_TEXT_MAX]);

/* The uid of a user, by name; or any number, as users can be gone. Complains if there is none. Errors: ENOENT. */
int user_to_uid(const char *user, uid_t *ret);

/* Makes this process one of another user (name or uid) for good: uid, gid and groups. Complains if that
 * fails; then nothing should be done in anybody's name. Errors: ENOENT (no such user), EPERM and whatever
 * else the kernel says. */
int user_become(const char *user);
