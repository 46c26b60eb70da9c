/* SPDX-License-Identifier: MIT */

/* How far something is. A bar needs a terminal; in a file it would be noise. */

#include "progress.h"

#include <stdio.h>
#include <string.h>

#define BAR_COLUMNS 30

/* Of total parts, how many are done. */
static unsigned progress_scale(uint64_t done, uint64_t total, unsigned parts) {
        if (total == 0 || done >= total)
                return parts;
        return (unsigned) ((__uint128_t) done * parts / total);
}

char *progress_format(uint64_t done, uint64_t total, char text[static PROGRESS_TEXT_MAX]) {
        snprintf(text, PROGRESS_TEXT_MAX, "%u %%", progress_scale(done, total, 100));
        return text;
}

char *progress_format_bar(uint64_t done, uint64_t total, const Terminal *terminal,
                          char text[static PROGRESS_TEXT_MAX]) {
        const char *full = terminal->utf8 ? "█" : "#", *empty = terminal->utf8 ? "░" : ".";
        unsigned filled = progress_scale(done, total, BAR_COLUMNS);
        char *end = text;

        for (unsigned i = 0; i < BAR_COLUMNS && terminal->columns > 0; i++)
                end = stpcpy(end, i < filled ? full : empty);
        if (end > text)
                *end++ = ' ';
        snprintf(end, (size_t) (text + PROGRESS_TEXT_MAX - end), "%u %%", progress_scale(done, total, 100));
        return text;
}
