/* SPDX-License-Identifier: MIT */

/* What can be shown: as wide as the terminal, or whatever COLUMNS says; coloured only on a terminal that
 * is not dumb and where NO_COLOR (no-color.org) is not set; beyond ASCII only where the locale says
 * UTF-8. Into a pipe or file, lines have no limit: what reads them wants all of it. */

#include "terminal.h"

#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_DEFAULT 80
#define COLUMNS_MAX 65535

static size_t columns_look(bool tty) {
        const char *text = getenv("COLUMNS");
        struct winsize size = {};

        if (text) {
                char *end;
                unsigned long columns = strtoul(text, &end, 10);

                if (*text >= '0' && *text <= '9' && *end == '\0' && columns > 0 && columns <= COLUMNS_MAX)
                        return columns;
        }

        if (!tty)
                return 0;
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
                return COLUMNS_DEFAULT;
        return size.ws_col;
}

static bool colour_look(bool tty) {
        const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

        return tty && (!no_color || *no_color == '\0') && term && strcmp(term, "dumb") != 0;
}

Terminal terminal_look(void) {
        bool tty = isatty(STDOUT_FILENO);

        return (Terminal) {
                .columns = columns_look(tty),
                .utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
                .colour = colour_look(tty),
        };
}
