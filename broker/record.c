/* SPDX-License-Identifier: MIT */

/* A record is a small text, one "key=value" per line, in a fixed order, between a first line that says what it is, and of
 * which version, and a last one that says it is complete. An earlier version has fewer lines, and is read as such. One that
 * is a file is replaced by writing another file and renaming it. Reading is strict: a line that is missing, out of place,
 * unknown or out of range, or anything after the last one, makes the record unusable as a whole, because half a record about
 * somebody's memory is worse than none. */

#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "file.h"
#include "name.h"
#include "size.h"

#define FIRST_KEY "daxbroker-record="
#define VERSION 3
#define LAST_LINE "complete=yes"

typedef enum FieldType {
        FIELD_NAME,  /* as name_is_valid() says, or empty if optional */
        FIELD_TEXT,  /* anything of printable ASCII, or empty if optional */
        FIELD_U32,
        FIELD_U64,
        FIELD_BOOL,
        FIELD_STAGE,
} FieldType;

static const struct Field {
        const char *key;
        FieldType type;
        size_t offset;
        bool optional;
        unsigned since; /* the first version that has it */
} fields[] = {
        { "name", FIELD_NAME, offsetof(Record, name), true, 1 },
        { "region", FIELD_NAME, offsetof(Record, region), false, 1 },
        { "provider", FIELD_NAME, offsetof(Record, provider), false, 1 },
        { "owner", FIELD_U32, offsetof(Record, owner), false, 1 },
        { "group", FIELD_U32, offsetof(Record, group), false, 1 },
        { "mode", FIELD_U32, offsetof(Record, mode), false, 1 },
        { "offset", FIELD_U64, offsetof(Record, offset), false, 1 },
        { "length", FIELD_U64, offsetof(Record, length), false, 1 },
        { "alignment", FIELD_U64, offsetof(Record, alignment), false, 1 },
        { "page-size", FIELD_U64, offsetof(Record, page_size), false, 1 },
        { "persistent", FIELD_BOOL, offsetof(Record, persistent), false, 1 },
        { "created", FIELD_U64, offsetof(Record, created), false, 1 },
        { "unit", FIELD_TEXT, offsetof(Record, unit), true, 1 },
        { "pid", FIELD_U32, offsetof(Record, pid), false, 1 },
        { "handle", FIELD_TEXT, offsetof(Record, handle), true, 1 },
        { "shared", FIELD_BOOL, offsetof(Record, shared), false, 1 },
        { "read-only", FIELD_BOOL, offsetof(Record, read_only), false, 1 },
        { "marks", FIELD_TEXT, offsetof(Record, marks), true, 1 },
        { "owner-name", FIELD_TEXT, offsetof(Record, owner_name), true, 2 },
        { "reserve", FIELD_BOOL, offsetof(Record, reserve), false, 2 },
        { "grant", FIELD_NAME, offsetof(Record, grant), true, 3 },
        { "stage", FIELD_STAGE, offsetof(Record, stage), false, 1 },
};

static const char *const stages[N_RECORD_STAGES] = {
        [RECORD_CARVING] = "carving",
        [RECORD_LIVE] = "live",
        [RECORD_ENDING] = "ending",
        [RECORD_DRAINED] = "drained",
};

#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

void record_done(Record *record) {
        free(record->name);
        free(record->region);
        free(record->provider);
        free(record->unit);
        free(record->handle);
        free(record->marks);
        free(record->owner_name);
        free(record->grant);
        *record = (Record){ 0 };
}

/* The member of the record that the field is about; the table says its type. */
static void *field_target(Record *record, const struct Field *field) {
        return (char *) record + field->offset;
}

static const void *field_source(const Record *record, const struct Field *field) {
        return (const char *) record + field->offset;
}

/* One that is being written: for each allocation, so it does without streams. */
typedef struct Text {
        size_t length;
        bool too_long;
        char text[RECORD_SIZE_MAX];
} Text;

static void text_add_char(Text *text, char c) {
        if (text->length < sizeof(text->text))
                text->text[text->length++] = c;
        else
                text->too_long = true;
}

static void text_add(Text *text, const char *words) {
        for (; *words; words++)
                text_add_char(text, *words);
}

static void text_add_number(Text *text, uint64_t number) {
        char digits[20];
        unsigned n = 0;

        do
                digits[n++] = (char) ('0' + number % 10);
        while ((number /= 10) > 0);
        while (n > 0)
                text_add_char(text, digits[--n]);
}

static void text_add_field(Text *text, const struct Field *field, const void *source) {
        const char *value;

        text_add(text, field->key);
        text_add_char(text, '=');
        switch (field->type) {
        case FIELD_NAME:
        case FIELD_TEXT:
                value = *(char *const *) source;
                for (; value && *value; value++)
                        text_add_char(text, *value < ' ' || *value > '~' ? '?' : *value);
                break;
        case FIELD_U32:
                text_add_number(text, *(const uint32_t *) source);
                break;
        case FIELD_U64:
                text_add_number(text, *(const uint64_t *) source);
                break;
        case FIELD_BOOL:
                text_add(text, *(const bool *) source ? "yes" : "no");
                break;
        case FIELD_STAGE:
                text_add(text, stages[*(const RecordStage *) source]);
        }
        text_add_char(text, '\n');
}

int record_format(const Record *record, char **ret) {
        Text text;
        char *copy;

        text.length = 0;
        text.too_long = false;
        text_add(&text, FIRST_KEY);
        text_add_number(&text, VERSION);
        text_add_char(&text, '\n');
        for (size_t i = 0; i < N_FIELDS; i++)
                text_add_field(&text, &fields[i], field_source(record, &fields[i]));
        text_add(&text, LAST_LINE "\n");
        if (text.too_long)
                return -E2BIG;

        copy = strndup(text.text, text.length);
        if (!copy)
                return -ENOMEM;

        *ret = copy;
        return 0;
}

static int number_parse(const char *text, uint64_t max, uint64_t *ret) {
        uint64_t value = 0;

        if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
                return -EBADMSG;
        for (; *text; text++)
                if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, (uint64_t) (*text - '0'), &value))
                        return -EBADMSG;

        if (value > max)
                return -EBADMSG;
        *ret = value;
        return 0;
}

static int string_parse(const struct Field *field, const char *text, char **ret) {
        if (text[0] == '\0') {
                *ret = NULL;
                return field->optional ? 0 : -EBADMSG;
        }
        if (field->type == FIELD_NAME && !name_is_valid(text))
                return -EBADMSG;
        for (const char *c = text; *c; c++)
                if (*c < ' ' || *c > '~')
                        return -EBADMSG;

        *ret = strdup(text);
        return *ret ? 0 : -ENOMEM;
}

static int field_parse(const struct Field *field, const char *text, void *target) {
        uint64_t number;
        int r;

        switch (field->type) {
        case FIELD_NAME:
        case FIELD_TEXT:
                return string_parse(field, text, target);
        case FIELD_U32:
                r = number_parse(text, UINT32_MAX, &number);
                if (r >= 0)
                        *(uint32_t *) target = (uint32_t) number;
                return r;
        case FIELD_U64:
                return number_parse(text, UINT64_MAX, target);
        case FIELD_BOOL:
                if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
                        return -EBADMSG;
                *(bool *) target = text[0] == 'y';
                return 0;
        case FIELD_STAGE:
                for (unsigned i = 0; i < N_RECORD_STAGES; i++)
                        if (strcmp(text, stages[i]) == 0) {
                                *(RecordStage *) target = (RecordStage) i;
                                return 0;
                        }
                return -EBADMSG;
        }

        return -EBADMSG;
}

/* What the fields have to be to each other. */
static const char *record_problem(const Record *record) {
        if (record->length == 0 || record->length > INT64_MAX || record->offset > INT64_MAX - record->length)
                return "offset and length are no range";
        if (!is_power_of_two(record->alignment) || record->alignment > DAXBROKER_ALIGNMENT_MAX)
                return "the alignment is none";
        if (!is_power_of_two(record->page_size))
                return "the page size is none";
        if (record->mode & ~UINT32_C(0666))
                return "the mode is none";
        return NULL;
}

static int version_parse(const char *line, uint64_t *ret) {
        size_t n = strlen(FIRST_KEY);
        uint64_t version;

        if (strncmp(line, FIRST_KEY, n) != 0 || number_parse(line + n, VERSION, &version) < 0 || version == 0)
                return -EBADMSG;

        *ret = version;
        return 0;
}

/* Makes strings of its lines. */
static int lines_parse(char *rest, Record *ret, const char **ret_problem) {
        Record record = { 0 };
        uint64_t version;
        int r = -EBADMSG;
        char *line;

        line = strsep(&rest, "\n");
        if (version_parse(line, &version) < 0) {
                *ret_problem = "it is no record of a version known here";
                return -EBADMSG;
        }

        for (size_t i = 0; i < N_FIELDS; i++) {
                size_t n = strlen(fields[i].key);

                if (fields[i].since > version)
                        continue;
                line = strsep(&rest, "\n");
                *ret_problem = fields[i].key;
                if (!line || strncmp(line, fields[i].key, n) != 0 || line[n] != '=')
                        goto fail;
                r = field_parse(&fields[i], line + n + 1, field_target(&record, &fields[i]));
                if (r < 0)
                        goto fail;
                r = -EBADMSG;
        }

        line = strsep(&rest, "\n");
        *ret_problem = "its end is missing";
        if (!line || strcmp(line, LAST_LINE) != 0 || !rest || rest[0] != '\0')
                goto fail;

        *ret_problem = record_problem(&record);
        if (*ret_problem)
                goto fail;

        *ret = record;
        return 0;

fail:
        record_done(&record);
        return r;
}

int record_parse(const char *text, Record *ret, const char **ret_problem) {
        _cleanup_free_ char *copy = strdup(text);

        return copy ? lines_parse(copy, ret, ret_problem) : -ENOMEM;
}

bool record_is_whole(const char *text) {
        size_t size = strlen(text), end = strlen(LAST_LINE "\n");

        return size >= end && strcmp(text + size - end, LAST_LINE "\n") == 0;
}

/* Each is read at once: what that does not get of one makes it an incomplete one. */
int record_read(int dir_fd, const char *id, Record *ret, const char **ret_problem) {
        _cleanup_close_ int fd = -EBADF;
        char text[RECORD_SIZE_MAX + 1];
        ssize_t n;

        fd = openat(dir_fd, id, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        do
                n = read(fd, text, sizeof(text));
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;

        if (n == (ssize_t) sizeof(text) || memchr(text, '\0', (size_t) n)) {
                *ret_problem = "it is too long, or not text";
                return -EBADMSG;
        }
        text[n] = '\0';
        return lines_parse(text, ret, ret_problem);
}

int record_write(int dir_fd, const char *id, const Record *record) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = record_format(record, &text);
        return r < 0 ? r : file_replace(dir_fd, id, text);
}

int record_remove(int dir_fd, const char *id) {
        if (unlinkat(dir_fd, id, 0) < 0)
                return -errno;

        return fsync(dir_fd) < 0 ? -errno : 0;
}
