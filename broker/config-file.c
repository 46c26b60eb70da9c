/* SPDX-License-Identifier: MIT */

/* Configuration files, with the precedence that services of a systemd machine have. inih does the parsing; the line
 * reader here counts lines for it and finds those that it would pass over in silence or cut. */

#include "config-file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

#include "cleanup.h"
#include "log.h"

/* inih's compiled-in limits: it cuts what is longer. */
#define LINE_MAX_BYTES 199
#define SECTION_MAX_BYTES 49
#define KEY_MAX_BYTES 49

#define complain(quiet, ...)                          \
        do {                                          \
                if (!(quiet))                         \
                        log_warning(__VA_ARGS__);     \
        } while (false)

typedef struct DropIn {
        char *name, *path;
        struct DropIn *prev, *next;
} DropIn;

typedef struct Reader {
        FILE *file;
        const char *path;
        unsigned line;
        bool expected; /* the line should have reached the handler */
        bool quiet;
        ConfigLineHandler handler;
        void *userdata;
} Reader;

static void reader_check_handled(Reader *reader) {
        if (reader->expected)
                complain(reader->quiet, "%s:%u: not a \"key=value\" line, ignored", reader->path, reader->line);
        reader->expected = false;
}

/* What keeps the line from being understood as it was meant, or NULL. */
static const char *line_problem(const char *text, size_t size, bool whole) {
        const char *end;

        if (!whole)
                return "the line is too long (at most 199 bytes)";
        if (strlen(text) != size)
                return "the line has a NUL byte in it";
        if (*text == '[') {
                end = strchr(text, ']');
                if (!end)
                        return "the section name is not closed with ]";
                if (end - text - 1 > SECTION_MAX_BYTES)
                        return "the section name is too long (at most 49 bytes)";
                if (memchr(text, ';', (size_t) (end - text)))
                        return "the section name has a ; in it";
                end += 1 + strspn(end + 1, " \t");
                if (*end != '\0' && *end != '#' && *end != ';')
                        return "there is something behind the section name";
        } else {
                end = strpbrk(text, "=:");
                if (end && end - text > KEY_MAX_BYTES)
                        return "the key is too long (at most 49 bytes)";
        }

        return NULL;
}

/* Gives inih the next line. Lines it could not take are replaced by empty ones, so that line numbers stay true, or by a
 * section that nobody knows, so that what follows is not taken for a part of the section before; leading blanks are
 * dropped, because inih would take such a line for the rest of the one before. */
static char *reader_next(char *line, int max, void *stream) {
        Reader *reader = stream;
        _cleanup_free_ char *full = NULL;
        size_t capacity = 0, start;
        ssize_t size;
        const char *problem;

        reader_check_handled(reader);
        size = getline(&full, &capacity, reader->file);
        if (size < 0)
                return NULL;
        reader->line++;

        while (size > 0 && isspace((unsigned char) full[size - 1]))
                full[--size] = '\0';
        for (start = 0; isspace((unsigned char) full[start]);)
                start++;

        /* A comment may be as long as it likes, and have a colon in it. */
        if (full[start] == '#' || full[start] == ';') {
                *line = '\0';
                return line;
        }

        problem = line_problem(full + start, (size_t) size - start,
                               (size_t) size - start <= LINE_MAX_BYTES && (size_t) size - start + 1 <= (size_t) max);
        if (problem) {
                complain(reader->quiet, "%s:%u: %s, ignored", reader->path, reader->line, problem);
                memcpy(line, full[start] == '[' ? "[]" : "", full[start] == '[' ? 3 : 1);
                return line;
        }

        memcpy(line, full + start, (size_t) size - start + 1);
        reader->expected = line[0] != '\0' && line[0] != '[';
        return line;
}

static int reader_handle(void *userdata, const char *section, const char *key, const char *value) {
        Reader *reader = userdata;
        const char *problem;

        reader->expected = false;
        problem = reader->handler(section, key, value, reader->userdata);
        if (problem)
                complain(reader->quiet, "%s:%u: [%s] %s=%s: %s, ignored", reader->path, reader->line, section, key, value,
                         problem);
        return 1;
}

/* 0 if the file is there, read or not; -ENOENT if it is not. */
static int file_parse(const char *path, bool quiet, ConfigLineHandler handler, void *userdata) {
        _cleanup_fclose_ FILE *file = NULL;
        _cleanup_close_ int fd = -EBADF;
        Reader reader = { .path = path, .quiet = quiet, .handler = handler, .userdata = userdata };
        struct stat st;
        int r;

        /* a FIFO must not keep us waiting for its writer */
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0) {
                if (errno == ENOENT || errno == ENOTDIR)
                        return -ENOENT;
                complain(quiet, "%s: cannot be read, ignored: %s", path, strerror(errno));
                return 0;
        }
        if (fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))) {
                complain(quiet, "%s: not a file, ignored", path);
                return 0;
        }

        file = fdopen(fd, "r");
        if (!file) {
                complain(quiet, "%s: cannot be read, ignored: %s", path, strerror(errno));
                return 0;
        }
        fd = -EBADF; /* the stream's now */

        reader.file = file;
        r = ini_parse_stream(reader_next, &reader, reader_handle, &reader);
        reader_check_handled(&reader);
        if (r < 0)
                complain(quiet, "%s: not read to its end: out of memory", path);
        if (ferror(file))
                complain(quiet, "%s: not read to its end: %s", path, strerror(errno));
        return 0;
}

static int drop_in_compare(DropIn *a, DropIn *b) {
        return strcmp(a->name, b->name);
}

static DropIn *drop_in_free(DropIn *drop_in) {
        if (!drop_in)
                return NULL;

        free(drop_in->name);
        free(drop_in->path);
        free(drop_in);
        return NULL;
}

/* Adds the directory's files to the list, but for those an earlier directory had. */
static int drop_ins_add(DropIn **list, const char *directory, bool quiet) {
        _cleanup_closedir_ DIR *dir = NULL;
        struct dirent *entry;

        dir = opendir(directory);
        if (!dir) {
                if (errno != ENOENT && errno != ENOTDIR)
                        complain(quiet, "%s: cannot be read, ignored: %s", directory, strerror(errno));
                return 0;
        }

        while ((entry = readdir(dir))) {
                size_t size = strlen(entry->d_name);
                DropIn *drop_in, *twin;

                if (entry->d_name[0] == '.' || size < 6 || strcmp(entry->d_name + size - 5, ".conf") != 0)
                        continue;

                drop_in = calloc(1, sizeof(*drop_in));
                if (!drop_in)
                        return -ENOMEM;
                drop_in->name = strdup(entry->d_name);
                if (!drop_in->name || asprintf(&drop_in->path, "%s/%s", directory, entry->d_name) < 0) {
                        drop_in->path = NULL;
                        drop_in_free(drop_in);
                        return -ENOMEM;
                }

                DL_SEARCH(*list, twin, drop_in, drop_in_compare);
                if (twin)
                        drop_in_free(drop_in);
                else
                        DL_APPEND(*list, drop_in);
        }

        return 0;
}

int config_files_read(const char *directories, const char *name, bool quiet, ConfigLineHandler handler, void *userdata) {
        _cleanup_free_ char *copy = NULL;
        DropIn *drop_ins = NULL, *drop_in, *next;
        char *rest, *directory;
        bool found = false;
        int r = 0;

        copy = strdup(directories);
        if (!copy)
                return -ENOMEM;

        rest = copy;
        while ((directory = strsep(&rest, ":"))) {
                _cleanup_free_ char *path = NULL;

                if (directory[0] != '/')
                        continue;
                if (asprintf(&path, "%s/%s.d", directory, name) < 0) {
                        path = NULL;
                        r = -ENOMEM;
                        goto finish;
                }

                r = drop_ins_add(&drop_ins, path, quiet);
                if (r < 0)
                        goto finish;

                path[strlen(path) - 2] = '\0'; /* the same without ".d" */
                if (!found)
                        found = file_parse(path, quiet, handler, userdata) >= 0;
        }

        DL_SORT(drop_ins, drop_in_compare);
        DL_FOREACH(drop_ins, drop_in)
                (void) file_parse(drop_in->path, quiet, handler, userdata);

finish:
        DL_FOREACH_SAFE(drop_ins, drop_in, next)
                drop_in_free(drop_in);
        return r;
}
