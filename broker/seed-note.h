/* SPDX-License-Identifier: MIT */
#pragma once

/* The file that says which devices of a region are ours, and nobody's yet. */

#include <stdbool.h>
#include <stddef.h>

#include "dax.h"

/* No note is longer; a file that is, is not one. */
#define SEED_NOTE_SIZE_MAX (1024 * 1024)

/* A set of names of devices. */
typedef struct DaxNames {
        char (*names)[DAX_NAME_MAX];
        size_t n;
} DaxNames;

int dax_names_add(DaxNames *names, const char *name);
bool dax_names_have(const DaxNames *names, const char *name);
void dax_names_done(DaxNames *names);

/* One that has memory. */
typedef struct KeptDevice {
        char name[DAX_NAME_MAX];
        Range range; /* physical addresses */
} KeptDevice;

typedef struct SeedNote {
        DaxNames ours;
        KeptDevice *kept;
        size_t n_kept;
        bool creating;   /* one may have been made since, whose name is not in before */
        DaxNames before; /* all that the region had then */
} SeedNote;

int seed_note_keep(SeedNote *note, const char *name, Range range);

/* Replaces the note of this name below dir_fd in one step; there is none where there is nothing to say. */
int seed_note_write(int dir_fd, const char *name, const SeedNote *note);

/* -ENOENT; -EBADMSG if it is not wholly as seed_note_write() would have written it. */
int seed_note_read(int dir_fd, const char *name, SeedNote *ret);
void seed_note_done(SeedNote *note);

/* The text of a note, and back. */
int seed_note_format(const SeedNote *note, char **ret);
int seed_note_parse(const char *text, SeedNote *ret);
