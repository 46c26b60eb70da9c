/* SPDX-License-Identifier: MIT */

/* Users: their names for people, and becoming one of them. */

#include "user.h"
#include "complaint.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *user_format(uid_t uid, char text[static USER_TEXT_MAX]) {
        const struct passwd *passwd = getpwuid(uid);

        /* a name that is cut off would be another's */
        if (passwd && strlen(passwd->pw_name) < USER_TEXT_MAX)
                snprintf(text, USER_TEXT_MAX, "%s", passwd->pw_name);
        else
                snprintf(text, USER_TEXT_MAX, "%u", uid);
        return text;
}

char *group_format(gid_t gid, char text[static USER_TEXT_MAX]) {
        const struct group *group = getgrgid(gid);

        if (group && strlen(group->gr_name) < USER_TEXT_MAX)
                snprintf(text, USER_TEXT_MAX, "%s", group->gr_name);
        else
                snprintf(text, USER_TEXT_MAX, "%u", gid);
        return text;
}

/* By name or, as a name may not be all digits, by number. */
static const struct passwd *user_find(const char *user) {
        const struct passwd *passwd = getpwnam(user);
        unsigned long uid;
        char *end;

        if (passwd || *user < '0' || *user > '9')
                return passwd;

        errno = 0;
        uid = strtoul(user, &end, 10);
        return errno == 0 && *end == '\0' && uid < UINT32_MAX ? getpwuid((uid_t) uid) : NULL;
}

int user_to_uid(const char *user, uid_t *ret) {
        const struct passwd *passwd = getpwnam(user);
        unsigned long uid;
        char *end;

        if (passwd) {
                *ret = passwd->pw_uid;
                return 0;
        }

        errno = 0;
        uid = *user >= '0' && *user <= '9' ? strtoul(user, &end, 10) : ULONG_MAX;
        if (uid >= UINT32_MAX || errno != 0 || *end != '\0') {
                complain("there is no user '%s'", user);
                return -ENOENT;
        }

        *ret = (uid_t) uid;
        return 0;
}

/* The groups first, since only root may change them. */
static int identity_take_over(const struct passwd *passwd) {
        uid_t real, effective, saved;

        if (initgroups(passwd->pw_name, passwd->pw_gid) < 0 ||
            setresgid(passwd->pw_gid, passwd->pw_gid, passwd->pw_gid) < 0 ||
            setresuid(passwd->pw_uid, passwd->pw_uid, passwd->pw_uid) < 0)
                return -errno;

        if (getresuid(&real, &effective, &saved) < 0)
                return -errno;
        if (real != passwd->pw_uid || effective != passwd->pw_uid || saved != passwd->pw_uid)
                return -EPERM;
        return 0;
}

int user_become(const char *user) {
        const struct passwd *passwd = user_find(user);
        int r;

        if (!passwd) {
                complain("there is no user '%s'", user);
                return -ENOENT;
        }
        if (geteuid() == passwd->pw_uid && geteuid() != 0)
                return 0;
        if (geteuid() != 0) {
                complain("only root can ask for another user");
                return -EPERM;
        }

        r = identity_take_over(passwd);
        if (r < 0)
                complain("cannot become user '%s': %s", user, strerror(-r));
        return r;
}
