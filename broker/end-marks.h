/* SPDX-License-Identifier: MIT */
#pragma once

/* What a later broker can still learn about a node of which an earlier one has let go: whose ends have come. Events of
 * node-watch.h are gone once they are read, and a broker may die right after that. */

#include <stdbool.h>

#include "fd-store.h"

typedef struct EndMarks EndMarks;

/* New ones, given to the service manager; -ENOTCONN: there is none. Or those that it has kept; -ENOENT. */
int end_marks_new(EndMarks **ret);
int end_marks_recover(StoredFd *store, EndMarks **ret);
EndMarks *end_marks_free(EndMarks *marks);

/* For the record of whatever is marked: marks of another name say nothing about it. */
const char *end_marks_name(const EndMarks *marks);

/* To be called while both files that were handed out are open, by us too, and nobody else's. */
int end_marks_set(EndMarks *marks, const char *path);

/* Which of the files have ended since then. -EUCLEAN: somebody else has opened the node since, and nobody can tell. */
int end_marks_look(EndMarks *marks, const char *path, bool *ret_writer_gone, bool *ret_reader_gone);
