/* SPDX-License-Identifier: MIT */

/* A refusal with its sentence. Functions that can be refused fill one in and return its errno; the bus layer turns it
 * into an error reply, tests compare it.
 *
 * Sentences quote what clients and configuration files say, cut where it gets too long. The bus takes nothing that is not
 * UTF-8, and people read it on terminals, so a sentence is made of printable ASCII whatever is quoted. */

#include "failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void text_clean(char *text) {
        for (; *text; text++)
                if (*text < ' ' || *text > '~')
                        *text = '?';
}

int failure_set(Failure *failure, Refusal refusal, const char *format, ...) {
        va_list ap;

        failure->refusal = refusal;
        va_start(ap, format);
        (void) vsnprintf(failure->text, sizeof(failure->text), format, ap);
        va_end(ap);
        text_clean(failure->text);

        return -refusal_to_errno(refusal);
}

int failure_set_errno(Failure *failure, int error, const char *format, ...) {
        size_t n;
        va_list ap;

        switch (-error) {
        case EMFILE:
        case ENFILE:
        case ENOMEM:
        case ENOSPC:
        case EDQUOT:
        case EAGAIN:
        case ETOOMANYREFS:
                failure->refusal = REFUSAL_NoResources;
                break;
        default:
                failure->refusal = REFUSAL_Failed;
        }

        va_start(ap, format);
        (void) vsnprintf(failure->text, sizeof(failure->text), format, ap);
        va_end(ap);

        n = strlen(failure->text);
        (void) snprintf(failure->text + n, sizeof(failure->text) - n, ": %s", strerror(-error));
        text_clean(failure->text);
        return error;
}
