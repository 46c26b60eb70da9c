/* SPDX-License-Identifier: MIT */

/* Calls into the library that failed: what was tried, why it did not work, and what to do next. The
 * reason is the service's own sentence where there is one. */

#include "refusal.h"

#include <daxbroker.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
        int error;
        const char *hint;
} hints[] = {
        { EACCES, "ask an administrator for a polkit rule, or try 'daxbrokerctl check-policy'" },
        { ENOKEY, "a password can be asked for by run, alloc, open and grant, on a terminal or with --interactive; "
                  "the rest needs root, or a polkit rule" },
        { EHOSTDOWN, "see 'systemctl status daxbroker'" },
        { ETIMEDOUT, "see 'systemctl status daxbroker'" },
        { EAGAIN, "try again in a moment, or see 'systemctl status polkit daxbroker'" },
        { EBUSY, "try again in a moment" },
        { ENODEV, "'daxbrokerctl regions' lists the regions" },
        { ENXIO, "'daxbrokerctl regions' tells what is the matter with it" },
        { ENOSPC, "'daxbrokerctl regions' shows what is available, 'daxbrokerctl grants' what is left of a grant" },
        { EDQUOT, "'daxbrokerctl list' and 'daxbrokerctl grants' show what you hold, 'free' and 'release' give it back" },
        { EEXIST, "open it with 'daxbrokerctl open', or choose another name" },
        { ENOENT, "'daxbrokerctl list' shows the allocations that you may see, 'daxbrokerctl grants' the grants" },
};

static const char *hint_from_error(int error) {
        for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++)
                if (hints[i].error == -error)
                        return hints[i].hint;
        return NULL;
}

Status refusal_get_status(int error) {
        switch (-error) {
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ECONNREFUSED:
        case ECONNRESET:
        case ENOTCONN:
        case ETIMEDOUT:
                return STATUS_UNREACHABLE;
        default:
                return STATUS_REFUSED;
        }
}

Status refusal_tell(int error, const char *what, ...) {
        const char *sentence = daxbroker_last_error(), *hint = hint_from_error(error);
        char *action = NULL;
        va_list arguments;
        int r;

        va_start(arguments, what);
        r = vasprintf(&action, what, arguments);
        va_end(arguments);

        complain("cannot %s: %s", r < 0 ? "do that" : action, *sentence ? sentence : strerror(-error));
        if (hint)
                complain("%s", hint);

        if (r >= 0)
                free(action);
        return refusal_get_status(error);
}
