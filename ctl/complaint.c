/* SPDX-License-Identifier: MIT */

/* How things that went wrong are told. Messages quote what came from the command line and from the
 * service, so they are made printable as a whole. */

#include "complaint.h"
#include "text.h"

#include <errno.h>
#include <langinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void __attribute__((format(printf, 1, 0))) complain_va(const char *format, va_list arguments) {
        char *message = NULL, *printable;

        if (vasprintf(&message, format, arguments) < 0) {
                fputs("daxbrokerctl: out of memory\n", stderr);
                return;
        }

        printable = text_to_printable(message, strcmp(nl_langinfo(CODESET), "UTF-8") == 0);
        fprintf(stderr, "daxbrokerctl: %s\n", printable ? printable : "out of memory");
        free(printable);
        free(message);
}

void complain(const char *format, ...) {
        int saved = errno;
        va_list arguments;

        va_start(arguments, format);
        complain_va(format, arguments);
        va_end(arguments);
        errno = saved;
}
