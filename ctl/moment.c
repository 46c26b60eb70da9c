/* SPDX-License-Identifier: MIT */

/* Moments as people and programs read them: people in their own time zone, programs in ISO 8601 and UTC. */

#include "moment.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define USEC_PER_SEC UINT64_C(1000000)

/* What is told of a moment that is not known. */
#define UNKNOWN "-"

typedef struct tm *(*Conversion)(const time_t *, struct tm *);

/* False if there is nothing to tell. */
static bool moment_convert(uint64_t usec, Conversion convert, struct tm *ret) {
        time_t seconds = (time_t) (usec / USEC_PER_SEC);

        return usec > 0 && convert(&seconds, ret);
}

char *moment_format(uint64_t usec, char text[static MOMENT_TEXT_MAX]) {
        struct tm tm;

        if (!moment_convert(usec, localtime_r, &tm) ||
            strftime(text, MOMENT_TEXT_MAX, "%Y-%m-%d %H:%M", &tm) == 0)
                memcpy(text, UNKNOWN, sizeof UNKNOWN);
        return text;
}

char *moment_format_clock(uint64_t usec, char text[static MOMENT_TEXT_MAX]) {
        struct tm tm;

        if (!moment_convert(usec, localtime_r, &tm) || strftime(text, MOMENT_TEXT_MAX, "%H:%M:%S", &tm) == 0)
                memcpy(text, UNKNOWN, sizeof UNKNOWN);
        return text;
}

char *moment_format_iso(uint64_t usec, char text[static MOMENT_TEXT_MAX]) {
        struct tm tm;
        size_t length = 0;

        if (moment_convert(usec, gmtime_r, &tm))
                length = strftime(text, MOMENT_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);

        if (length == 0)
                memcpy(text, UNKNOWN, sizeof UNKNOWN);
        else
                snprintf(text + length, MOMENT_TEXT_MAX - length, ".%06" PRIu64 "Z", usec % USEC_PER_SEC);
        return text;
}

uint64_t moment_now(void) {
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t) now.tv_sec * USEC_PER_SEC + (uint64_t) now.tv_nsec / 1000;
}
