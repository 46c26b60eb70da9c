/* SPDX-License-Identifier: MIT */
#pragma once

/* The records of what does not outlive the machine's power, in one file. Safe to use from several threads. */

#include <stdbool.h>

typedef struct RecordFile RecordFile;

/* Opens it below a directory, or makes it, and finds out what is in it. What an earlier broker has left, a directory of this
 * name with a file for each record, is taken over. -EBADF if what is there is no file of ours. */
int record_file_new(int dir_fd, const char *name, RecordFile **ret);
RecordFile *record_file_free(RecordFile *file);

/* Makes text the record of this id: when we are killed or it fails, the old one is there, or the new one. -E2BIG if it is
 * too long. Waits for nobody. */
int record_file_write(RecordFile *file, const char *id, const char *text);

/* -ENOENT if there is none of that id; there must be none of the new one. */
int record_file_rename(RecordFile *file, const char *id, const char *new_id);
int record_file_remove(RecordFile *file, const char *id);

bool record_file_has(RecordFile *file, const char *id);

/* Calls handle for each that is there now, with what can be read of it, until that fails. It may write and remove any. */
int record_file_each(RecordFile *file, int (*handle)(const char *id, const char *text, void *userdata), void *userdata);

/* Whether anything is in it of which nobody can tell what it is about. Only while nobody else uses it. */
bool record_file_is_damaged(const RecordFile *file);
/* Removes that. */
int record_file_mend(RecordFile *file);
