/* SPDX-License-Identifier: MIT */

/* A balanced tree of the C library, which has no "next one" of its own: a search for an id comes past the least one that is
 * behind it, and notes that. Each step takes as long as a search. The owner of an id owns its place in the tree. */

#include "roll.h"

#include <errno.h>
#include <search.h>
#include <stdint.h>
#include <string.h>

static int compare_ids(const void *a, const void *b) {
        return strcmp(a, b);
}

int roll_add(Roll *roll, const char *id) {
        const char *const *place;

        place = tsearch(id, &roll->root, compare_ids);
        if (!place)
                return -ENOMEM;

        return *place == id ? 0 : -EEXIST;
}

void roll_remove(Roll *roll, const char *id) {
        const char *const *place = tfind(id, &roll->root, compare_ids);

        if (place && *place == id)
                (void) tdelete(id, &roll->root, compare_ids);
}

typedef struct Search {
        const char *after;
        const char *next; /* the least one so far that is behind it */
} Search;

/* Never equal, so that the search goes on to a leaf. */
static int compare_search(const void *key, const void *id) {
        Search *search = (Search *) (uintptr_t) key;

        if (strcmp(search->after, id) >= 0)
                return 1;

        search->next = id;
        return -1;
}

const char *roll_next(const Roll *roll, const char *after) {
        Search search = { .after = after };

        (void) tfind(&search, &roll->root, compare_search);
        return search.next;
}
