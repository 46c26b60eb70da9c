/* SPDX-License-Identifier: MIT */
#pragma once

/* Ids in their order, so that what has them can be listed in parts: a part goes on behind the id at which the last one
 * ended, whatever has come or gone meanwhile, that id included. */

typedef struct Roll {
        void *root; /* of a tree, as tsearch() makes it */
} Roll;

/* The id is borrowed and stays where it is until it is removed. -ENOMEM, -EEXIST. */
int roll_add(Roll *roll, const char *id);

/* Does nothing if it is another one's, or none. */
void roll_remove(Roll *roll, const char *id);

/* The first one behind this; NULL if there is none. Before the first one is "". */
const char *roll_next(const Roll *roll, const char *after);
