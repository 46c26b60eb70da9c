/* SPDX-License-Identifier: MIT */
#pragma once

/* What polkit rules see of a request. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DETAILS_MAX 16
#define DETAIL_TEXT_MAX 256

/* A key that is longer is none. */
#define DETAILS_KEY_MAX 2048

typedef struct Details {
        /* what a yes would be used for; later questions of this user count it as held */
        uint64_t wanted_bytes, wanted_count;
        unsigned n;
        struct Detail {
                const char *key; /* static */
                bool fleeting;   /* may have changed when the answer comes */
                char value[DETAIL_TEXT_MAX];
        } items[DETAILS_MAX];
} Details;

void details_add(Details *details, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));
void details_add_fleeting(Details *details, const char *key, const char *format, ...)
                __attribute__((format(printf, 3, 4)));

/* Whether they make the same question, although time has passed. */
bool details_equal(const Details *a, const Details *b);

/* A text that two questions have in common only if they are the same to the last letter, fleeting details included. Returns
 * its size, or 0 if it does not fit. */
size_t details_key(const Details *details, const char *action, char ret[static DETAILS_KEY_MAX]);
