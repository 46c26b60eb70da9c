/* SPDX-License-Identifier: MIT */

/* Records: what is written is read again as it was, and anything else is not read at all. */

#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "names.h"

static Record sample(void) {
        return (Record) {
                .name = g_strdup("scratch"),
                .region = g_strdup("dram"),
                .provider = g_strdup("memfd"),
                .unit = g_strdup("user@1000.service"),
                .handle = g_strdup("dax0.1"),
                .owner_name = g_strdup("alice"),
                .grant = g_strdup("0123456789abcdef"),
                .owner = 1000,
                .group = 100,
                .mode = 0640,
                .pid = 4711,
                .offset = 0,
                .length = 8192,
                .alignment = 4096,
                .page_size = 4096,
                .created = UINT64_C(1700000000000000),
                .persistent = true,
        };
}

static char *format(const Record *record) {
        char *text;

        g_assert_cmpint(record_format(record, &text), ==, 0);
        return text;
}

static char *sample_text(void) {
        Record record = sample();
        char *text = format(&record);

        record_done(&record);
        return text;
}

static void assert_same(const Record *a, const Record *b) {
        g_assert_cmpstr(a->name, ==, b->name);
        g_assert_cmpstr(a->region, ==, b->region);
        g_assert_cmpstr(a->provider, ==, b->provider);
        g_assert_cmpstr(a->unit, ==, b->unit);
        g_assert_cmpstr(a->handle, ==, b->handle);
        g_assert_cmpstr(a->marks, ==, b->marks);
        g_assert_cmpstr(a->owner_name, ==, b->owner_name);
        g_assert_cmpstr(a->grant, ==, b->grant);
        g_assert_cmpint(a->reserve, ==, b->reserve);
        g_assert_cmpuint(a->owner, ==, b->owner);
        g_assert_cmpuint(a->group, ==, b->group);
        g_assert_cmpuint(a->mode, ==, b->mode);
        g_assert_cmpuint(a->pid, ==, b->pid);
        g_assert_cmpuint(a->offset, ==, b->offset);
        g_assert_cmpuint(a->length, ==, b->length);
        g_assert_cmpuint(a->alignment, ==, b->alignment);
        g_assert_cmpuint(a->page_size, ==, b->page_size);
        g_assert_cmpuint(a->created, ==, b->created);
        g_assert_cmpint(a->persistent, ==, b->persistent);
        g_assert_cmpint(a->shared, ==, b->shared);
        g_assert_cmpint(a->read_only, ==, b->read_only);
        g_assert_cmpint((int) a->stage, ==, (int) b->stage);
}

/* Refused, with a reason, and nothing written to the result. */
static void assert_refused(const char *text) {
        const char *problem = NULL;
        Record record;

        memset(&record, 0xa5, sizeof(record));
        if (record_parse(text, &record, &problem) != -EBADMSG)
                g_error("This was taken for a record:\n%s", text);
        g_assert_nonnull(problem);
        for (size_t i = 0; i < sizeof(record); i++)
                g_assert_cmpuint(((unsigned char *) &record)[i], ==, 0xa5);
}

static void assert_round_trip(const Record *record) {
        g_autofree char *text = format(record), *text_again = NULL;
        const char *problem = NULL;
        Record again;

        g_assert_cmpint(record_parse(text, &again, &problem), ==, 0);
        assert_same(record, &again);
        text_again = format(&again);
        g_assert_cmpstr(text_again, ==, text);
        record_done(&again);
}

static void test_round_trip(void) {
        Record record = sample();

        assert_round_trip(&record);

        g_clear_pointer(&record.name, g_free);
        g_clear_pointer(&record.unit, g_free);
        g_clear_pointer(&record.handle, g_free);
        g_clear_pointer(&record.owner_name, g_free);
        assert_round_trip(&record);

        record.unit = g_strdup("a=b=c complete=yes");
        record.handle = g_strdup("=");
        record.owner = record.group = record.pid = UINT32_MAX;
        record.created = UINT64_MAX;
        record.mode = 0666;
        record.persistent = false;
        record.shared = true;
        record.read_only = true;
        record.marks = g_strdup("0123456789abcdef");
        g_free(record.owner_name);
        record.owner_name = g_strdup("-");
        record.reserve = true;
        record.stage = RECORD_DRAINED;
        record.offset = 1;
        record.length = INT64_MAX - 1;
        record.alignment = DAXBROKER_ALIGNMENT_MAX;
        record.page_size = UINT64_C(1) << 63;
        assert_round_trip(&record);

        record.offset = 0;
        record.length = INT64_MAX;
        assert_round_trip(&record);

        record.owner = record.group = record.pid = record.mode = 0;
        record.created = record.offset = 0;
        record.length = record.alignment = record.page_size = 1;
        assert_round_trip(&record);

        record_done(&record);
        g_assert_null(record.region);
        record_done(&record);
}

/* A line break in a value must not become a line. */
static void test_control_characters(void) {
        Record record = sample(), again;
        const char *problem;
        char *text;

        g_free(record.unit);
        record.unit = g_strdup("a\nowner=0\r\t\x01z ~\x7f\xc3");
        text = format(&record);
        g_assert_cmpint(record_parse(text, &again, &problem), ==, 0);
        g_assert_cmpstr(again.unit, ==, "a?owner=0???z ~??");
        g_assert_cmpuint(again.owner, ==, 1000);
        record_done(&again);
        record_done(&record);
        g_free(text);
}

static void test_torn(void) {
        g_autofree char *text = sample_text();

        for (size_t size = 0; size < strlen(text); size++) {
                g_autofree char *torn = g_strndup(text, size);

                assert_refused(torn);
        }
        for (size_t start = 1; start <= strlen(text); start++)
                assert_refused(text + start);
}

/* Each byte replaced: it is refused, or what was read is what the text says. */
static void test_damaged(void) {
        g_autofree char *text = sample_text();
        size_t size = strlen(text);

        for (size_t i = 0; i < size; i++)
                for (unsigned byte = 1; byte < 256; byte++) {
                        g_autofree char *damaged = g_strndup(text, size);
                        const char *problem = NULL;
                        Record record;

                        damaged[i] = (char) byte;
                        if (record_parse(damaged, &record, &problem) == 0) {
                                g_autofree char *again = format(&record);

                                g_assert_cmpstr(again, ==, damaged);
                                record_done(&record);
                        } else
                                g_assert_nonnull(problem);
                }
}

static char *join(char **lines) {
        return g_strjoinv("\n", lines);
}

static void test_lines(void) {
        g_autofree char *text = sample_text();
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        guint n = g_strv_length(lines) - 1; /* the last one is what follows the last line break */

        g_assert_cmpuint(n, ==, 24);
        for (guint i = 0; i < n; i++) {
                g_autoptr(GStrvBuilder) missing = g_strv_builder_new(), doubled = g_strv_builder_new();
                g_auto(GStrv) without = NULL, twice = NULL;
                g_autofree char *missing_text = NULL, *doubled_text = NULL, *swapped_text = NULL, *renamed_text = NULL;

                for (guint j = 0; j <= n; j++) {
                        if (i != j)
                                g_strv_builder_add(missing, lines[j]);
                        else
                                g_strv_builder_add(doubled, lines[j]);
                        g_strv_builder_add(doubled, lines[j]);
                }
                without = g_strv_builder_end(missing);
                twice = g_strv_builder_end(doubled);
                missing_text = join(without);
                doubled_text = join(twice);
                assert_refused(missing_text);
                assert_refused(doubled_text);

                if (i + 1 < n) {
                        char *line = lines[i];

                        lines[i] = lines[i + 1];
                        lines[i + 1] = line;
                        swapped_text = join(lines);
                        assert_refused(swapped_text);
                        lines[i + 1] = lines[i];
                        lines[i] = line;
                }

                {
                        char *line = lines[i];
                        g_autofree char *renamed = g_strconcat("x", line, NULL);

                        lines[i] = renamed;
                        renamed_text = join(lines);
                        assert_refused(renamed_text);
                        lines[i] = line;
                }
        }
}

static void test_trailing(void) {
        static const char *const tails[] = { "\n", "x", " ", "complete=yes\n", "name=other\n" };
        g_autofree char *text = sample_text();

        for (size_t i = 0; i < G_N_ELEMENTS(tails); i++) {
                g_autofree char *longer = g_strconcat(text, tails[i], NULL);

                assert_refused(longer);
        }
        assert_refused("");
        assert_refused("\n");
}

/* What an earlier broker has written: without the lines that have come since. */
static char *sample_of_version(unsigned version) {
        g_autofree char *text = sample_text();
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        GString *old = g_string_new(NULL);

        g_string_printf(old, "daxbroker-record=%u\n", version);
        for (char **line = lines + 1; *line && **line; line++)
                if (!g_str_has_prefix(*line, "grant=") &&
                    (version > 1 || (!g_str_has_prefix(*line, "owner-name=") && !g_str_has_prefix(*line, "reserve="))))
                        g_string_append_printf(old, "%s\n", *line);
        return g_string_free(old, FALSE);
}

static void test_versions(void) {
        for (unsigned version = 1; version < 3; version++) {
                g_autofree char *text = sample_of_version(version);
                g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
                guint n = g_strv_length(lines) - 1;
                Record record, expected = sample();
                const char *problem;

                g_assert_cmpint(record_parse(text, &record, &problem), ==, 0);
                g_clear_pointer(&expected.grant, g_free);
                if (version == 1)
                        g_clear_pointer(&expected.owner_name, g_free);
                assert_same(&record, &expected);
                assert_round_trip(&record);
                record_done(&record);
                record_done(&expected);

                /* as strict as with its own: it has to be whole, and has nothing that came later */
                for (size_t size = 0; size < strlen(text); size++) {
                        g_autofree char *torn = g_strndup(text, size);

                        assert_refused(torn);
                }
                for (guint i = 1; i < n; i++) {
                        g_autofree char *line = lines[i], *with = NULL;

                        lines[i] = g_strconcat(version == 1 ? "owner-name=alice\n" : "grant=0123456789abcdef\n", line, NULL);
                        with = join(lines);
                        assert_refused(with);
                        g_free(lines[i]);
                        lines[i] = g_steal_pointer(&line);
                }
        }
}

/* The record with one value replaced. */
static char *sample_with(const char *key, const char *value) {
        g_autofree char *text = sample_text(), *start = g_strdup_printf("%s=", key);
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

        for (char **line = lines; *line; line++)
                if (g_str_has_prefix(*line, start)) {
                        g_free(*line);
                        *line = g_strconcat(start, value, NULL);
                        return join(lines);
                }

        g_error("There is no key %s", key);
}

static void test_values(void) {
        static const struct {
                const char *key, *value;
        } bad[] = {
                { "daxbroker-record", "0" },
                { "daxbroker-record", "1" }, /* it had not got all of these */
                { "daxbroker-record", "2" },
                { "daxbroker-record", "4" },
                { "daxbroker-record", "-1" },
                { "daxbroker-record", "11" },
                { "daxbroker-record", "" },
                { "name", "a b" },
                { "name", "a/b" },
                { "name", "0123456789012345678901234567890123456789012345678901234567890123" },
                { "region", "" },
                { "region", "/" },
                { "provider", "" },
                { "owner", "" },
                { "owner", "-1" },
                { "owner", "+1" },
                { "owner", "01" },
                { "owner", "00" },
                { "owner", "0x1" },
                { "owner", " 1" },
                { "owner", "1 " },
                { "owner", "4294967296" },
                { "owner", "root" },
                { "group", "4294967296" },
                { "mode", "0640" },
                { "mode", "73" },
                { "mode", "512" },
                { "mode", "1" },
                { "mode", "." },
                { "mode", "1/" },
                { "mode", "4(" },
                { "mode", "33206" },
                { "pid", "4294967296" },
                { "offset", "18446744073709551616" },
                { "offset", "18446744073709551615" },
                { "offset", "9223372036854775807" },
                { "length", "0" },
                { "length", "9223372036854775808" },
                { "length", "18446744073709551615" },
                { "alignment", "0" },
                { "alignment", "3" },
                { "alignment", "2147483648" },
                { "page-size", "0" },
                { "page-size", "4095" },
                { "persistent", "" },
                { "persistent", "1" },
                { "persistent", "Yes" },
                { "persistent", "yess" },
                { "owner-name", "a\tb" },
                { "reserve", "" },
                { "reserve", "true" },
                { "grant", "a/b" },
                { "grant", "a b" },
                { "stage", "" },
                { "stage", "maybe" },
                { "created", "99999999999999999999999999" },
                { "unit", "a\tb" },
                { "handle", "\x1b[2J" },
                { "unit", "\xff\xfe" },
                { "unit", "a\r" },
                { "complete", "no" },
                { "complete", "" },
                { "complete", "yes " },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autofree char *text = sample_with(bad[i].key, bad[i].value);

                assert_refused(text);
        }
}

typedef struct Directory {
        char *path;
        int fd;
} Directory;

static Directory directory_new(void) {
        Directory directory = { .path = g_dir_make_tmp("daxbroker-record-XXXXXX", NULL) };

        g_assert_nonnull(directory.path);
        directory.fd = open(directory.path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        g_assert_cmpint(directory.fd, >=, 0);
        return directory;
}

static void directory_done(Directory *directory) {
        close(directory->fd);
        g_assert_cmpint(g_rmdir(directory->path), ==, 0); /* it was left empty */
        g_free(directory->path);
}

static void directory_put(const Directory *directory, const char *name, const char *text, gssize size) {
        g_autofree char *path = g_build_filename(directory->path, name, NULL);

        g_assert_true(g_file_set_contents(path, text, size, NULL));
}

static void test_files(void) {
        Directory directory = directory_new();
        Record record = sample(), again;
        const char *problem = NULL;
        struct stat st;

        g_assert_cmpint(record_read(directory.fd, "1", &again, &problem), ==, -ENOENT);
        g_assert_cmpint(record_write(directory.fd, "1", &record), ==, 0);
        g_assert_cmpint(fstatat(directory.fd, "1", &st, 0), ==, 0);
        g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
        g_assert_cmpint(record_read(directory.fd, "1", &again, &problem), ==, 0);
        assert_same(&record, &again);
        record_done(&again);

        /* Replaced. */
        record.mode = 0600;
        g_assert_cmpint(record_write(directory.fd, "1", &record), ==, 0);
        g_assert_cmpint(record_read(directory.fd, "1", &again, &problem), ==, 0);
        g_assert_cmpuint(again.mode, ==, 0600);
        record_done(&again);

        g_assert_cmpint(record_remove(directory.fd, "1"), ==, 0);
        g_assert_cmpint(record_remove(directory.fd, "1"), ==, -ENOENT);
        record_done(&record);
        directory_done(&directory);
}

static void test_bad_files(void) {
        Directory directory = directory_new();
        g_autofree char *text = sample_text();
        g_autofree char *long_line = g_strnfill(RECORD_SIZE_MAX, 'x');
        g_autofree char *long_text = sample_with("unit", long_line);
        g_autofree char *nul = g_strdup(text);
        const char *problem = NULL;
        Record record;

        directory_put(&directory, "long", long_text, -1);
        g_assert_cmpint(record_read(directory.fd, "long", &record, &problem), ==, -EBADMSG);
        g_assert_nonnull(problem);

        nul[20] = '\0';
        directory_put(&directory, "nul", nul, (gssize) strlen(text));
        problem = NULL;
        g_assert_cmpint(record_read(directory.fd, "nul", &record, &problem), ==, -EBADMSG);
        g_assert_nonnull(problem);

        directory_put(&directory, "empty", "", 0);
        g_assert_cmpint(record_read(directory.fd, "empty", &record, &problem), ==, -EBADMSG);

        g_assert_cmpint(mkdirat(directory.fd, "directory", 0700), ==, 0);
        g_assert_cmpint(record_read(directory.fd, "directory", &record, &problem), <, 0);
        g_assert_cmpint(mkfifoat(directory.fd, "fifo", 0600), ==, 0); /* must not be waited for */
        g_assert_cmpint(record_read(directory.fd, "fifo", &record, &problem), <, 0);

        for (size_t i = 0; i < 3; i++)
                g_assert_cmpint(record_remove(directory.fd, ((const char *[]) { "long", "nul", "empty" })[i]), ==, 0);
        g_assert_cmpint(record_remove(directory.fd, "fifo"), ==, 0);
        g_assert_cmpint(unlinkat(directory.fd, "directory", AT_REMOVEDIR), ==, 0);
        directory_done(&directory);
}

/* The longest that can be written can be read; what is longer is not written, and what was there stays. */
static void test_longest(void) {
        Directory directory = directory_new();
        Record record = sample(), again;
        g_autofree char *text = format(&record);
        size_t room = RECORD_SIZE_MAX - strlen(text) + strlen(record.unit);
        const char *problem;

        g_free(record.unit);
        record.unit = g_strnfill(room, 'u');
        g_assert_cmpint(record_write(directory.fd, "1", &record), ==, 0);
        g_assert_cmpint(record_read(directory.fd, "1", &again, &problem), ==, 0);
        assert_same(&record, &again);
        record_done(&again);

        g_free(record.unit);
        record.unit = g_strnfill(room + 1, 'u');
        g_assert_cmpint(record_write(directory.fd, "1", &record), ==, -E2BIG);
        g_assert_cmpint(record_read(directory.fd, "1", &again, &problem), ==, 0);
        g_assert_cmpuint(strlen(again.unit), ==, room);
        record_done(&again);

        g_assert_cmpint(record_remove(directory.fd, "1"), ==, 0);
        record_done(&record);
        directory_done(&directory);
}

/* Writing that fails leaves neither half a record nor its temporary file. */
static void test_write_fails(void) {
        Directory directory = directory_new();
        Record record = sample();
        int missing;

        g_assert_cmpint(mkdirat(directory.fd, "1", 0700), ==, 0);
        g_assert_cmpint(record_write(directory.fd, "1", &record), <, 0);
        g_assert_cmpint(unlinkat(directory.fd, "1", AT_REMOVEDIR), ==, 0);

        /* A link where the temporary file goes is not followed. */
        g_assert_cmpint(symlinkat("elsewhere", directory.fd, "1.tmp"), ==, 0);
        g_assert_cmpint(record_write(directory.fd, "1", &record), ==, -ELOOP);
        g_assert_cmpint(unlinkat(directory.fd, "1.tmp", 0), ==, 0);

        g_assert_cmpint(mkdirat(directory.fd, "gone", 0700), ==, 0);
        missing = openat(directory.fd, "gone", O_DIRECTORY | O_CLOEXEC);
        g_assert_cmpint(missing, >=, 0);
        g_assert_cmpint(unlinkat(directory.fd, "gone", AT_REMOVEDIR), ==, 0);
        g_assert_cmpint(record_write(missing, "1", &record), ==, -ENOENT);
        close(missing);

        record_done(&record);
        directory_done(&directory);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/record/round-trip", test_round_trip);
        g_test_add_func("/record/control-characters", test_control_characters);
        g_test_add_func("/record/torn", test_torn);
        g_test_add_func("/record/damaged", test_damaged);
        g_test_add_func("/record/lines", test_lines);
        g_test_add_func("/record/trailing", test_trailing);
        g_test_add_func("/record/versions", test_versions);
        g_test_add_func("/record/values", test_values);
        g_test_add_func("/record/files", test_files);
        g_test_add_func("/record/bad-files", test_bad_files);
        g_test_add_func("/record/longest", test_longest);
        g_test_add_func("/record/write-fails", test_write_fails);
        return g_test_run();
}
