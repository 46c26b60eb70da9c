/* SPDX-License-Identifier: MIT */

/* A note is a small text file: a line that says what it is, one for each idle device that is ours, one for each that has
 * memory, with where that lies (as in records), one that says whether a device is just being made, if so one for each that
 * the region had before, and a last one that says that this is all. It is replaced as a whole. Reading is strict: what is
 * not a note in every byte names nothing of ours. */

#include "seed-note.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "dax-attribute.h"
#include "devdax-handle.h"
#include "file.h"

#define FIRST_LINE "daxbroker-seeds=1"
#define LAST_LINE "complete=yes"

/* ---- Sets of names ---- */

int dax_names_add(DaxNames *names, const char *name) {
        size_t size = strlen(name) + 1;

        if (size > DAX_NAME_MAX)
                return -EINVAL;
        if ((names->n & (names->n - 1)) == 0) { /* full at each power of two */
                void *larger = reallocarray(names->names, names->n > 0 ? 2 * names->n : 1, DAX_NAME_MAX);

                if (!larger)
                        return -ENOMEM;
                names->names = larger;
        }

        memcpy(names->names[names->n++], name, size);
        return 0;
}

bool dax_names_have(const DaxNames *names, const char *name) {
        for (size_t i = 0; i < names->n; i++)
                if (strcmp(names->names[i], name) == 0)
                        return true;

        return false;
}

void dax_names_done(DaxNames *names) {
        free(names->names);
        *names = (DaxNames){ 0 };
}

int seed_note_keep(SeedNote *note, const char *name, Range range) {
        KeptDevice *larger;

        if (strlen(name) >= DAX_NAME_MAX)
                return -EINVAL;
        larger = reallocarray(note->kept, note->n_kept + 1, sizeof(*larger));
        if (!larger)
                return -ENOMEM;

        note->kept = larger;
        larger[note->n_kept] = (KeptDevice){ .range = range };
        memcpy(larger[note->n_kept++].name, name, strlen(name) + 1);
        return 0;
}

void seed_note_done(SeedNote *note) {
        dax_names_done(&note->ours);
        free(note->kept);
        note->kept = NULL;
        note->n_kept = 0;
        dax_names_done(&note->before);
        note->creating = false;
}

/* ---- Text ---- */

int seed_note_format(const SeedNote *note, char **ret) {
        char *text = NULL;
        size_t size;
        FILE *file;

        file = open_memstream(&text, &size);
        if (!file)
                return -ENOMEM;

        fputs(FIRST_LINE "\n", file);
        for (size_t i = 0; i < note->ours.n; i++)
                fprintf(file, "seed=%s\n", note->ours.names[i]);
        for (size_t i = 0; i < note->n_kept; i++)
                fprintf(file, "kept=%s %" PRIx64 "+%" PRIx64 "\n", note->kept[i].name, note->kept[i].range.start,
                        note->kept[i].range.length);
        fprintf(file, "creating=%s\n", note->creating ? "yes" : "no");
        for (size_t i = 0; note->creating && i < note->before.n; i++)
                fprintf(file, "before=%s\n", note->before.names[i]);
        fputs(LAST_LINE "\n", file);

        return text_stream_close(file, &text, SEED_NOTE_SIZE_MAX, ret);
}

/* The lines "key=NAME" from *line on; *line and *rest are then at what follows them. */
static int names_parse(const char *key, char **line, char **rest, DaxNames *names) {
        size_t n = strlen(key);

        while (*line && strncmp(*line, key, n) == 0 && (*line)[n] == '=') {
                const char *name = *line + n + 1;
                unsigned region, number;
                int r;

                if (dax_name_parse(name, &region, &number) < 0)
                        return -EBADMSG;
                r = dax_names_add(names, name);
                if (r < 0)
                        return r;
                *line = strsep(rest, "\n");
        }

        return 0;
}

static int kept_parse(char **line, char **rest, SeedNote *note) {
        while (*line && strncmp(*line, "kept=", 5) == 0) {
                Range ranges[DAX_RANGES_MAX];
                char name[DAX_NAME_MAX];
                unsigned n;
                int r;

                if (devdax_handle_parse(*line + 5, name, ranges, &n) < 0 || n != 1)
                        return -EBADMSG;
                r = seed_note_keep(note, name, ranges[0]);
                if (r < 0)
                        return r;
                *line = strsep(rest, "\n");
        }

        return 0;
}

static int note_parse_lines(char *text, SeedNote *note) {
        char *rest = text, *line;
        int r;

        line = strsep(&rest, "\n");
        if (strcmp(line, FIRST_LINE) != 0)
                return -EBADMSG;

        line = strsep(&rest, "\n");
        r = names_parse("seed", &line, &rest, &note->ours);
        if (r >= 0)
                r = kept_parse(&line, &rest, note);
        if (r < 0)
                return r;
        if (!line || (strcmp(line, "creating=yes") != 0 && strcmp(line, "creating=no") != 0))
                return -EBADMSG;
        note->creating = strcmp(line, "creating=yes") == 0;

        line = strsep(&rest, "\n");
        if (note->creating) {
                r = names_parse("before", &line, &rest, &note->before);
                if (r < 0)
                        return r;
        }

        return line && strcmp(line, LAST_LINE) == 0 && rest && rest[0] == '\0' ? 0 : -EBADMSG;
}

int seed_note_parse(const char *text, SeedNote *ret) {
        _cleanup_free_ char *copy = NULL;
        SeedNote note = { 0 };
        int r;

        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        r = note_parse_lines(copy, &note);
        if (r < 0) {
                seed_note_done(&note);
                return r;
        }

        *ret = note;
        return 0;
}

/* ---- The file ---- */

int seed_note_read(int dir_fd, const char *name, SeedNote *ret) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = file_read(dir_fd, name, SEED_NOTE_SIZE_MAX, &text);
        if (r == -EFBIG || r == -EINVAL)
                return -EBADMSG;
        if (r < 0)
                return r;

        return seed_note_parse(text, ret);
}

int seed_note_write(int dir_fd, const char *name, const SeedNote *note) {
        _cleanup_free_ char *text = NULL;
        int r;

        if (note->ours.n == 0 && note->n_kept == 0 && !note->creating)
                return unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;

        r = seed_note_format(note, &text);
        return r < 0 ? r : file_replace(dir_fd, name, text);
}
