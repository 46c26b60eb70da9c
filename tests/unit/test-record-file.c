/* SPDX-License-Identifier: MIT */

/* All records in one file: whatever is killed, or fails, the old one is there, or the new one; and what is no longer used
 * takes no room. */

#include "record-file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ID "0123456789abcdef"
#define OTHER "fedcba9876543210"
#define TEXT(words) words "\ncomplete=yes\n"

typedef struct Fixture {
        char *path, *name;
        int dir;
        off_t slot_size;
        RecordFile *file;
} Fixture;

static void open_file(Fixture *f) {
        f->file = record_file_free(f->file);
        g_assert_cmpint(record_file_new(f->dir, "allocations", &f->file), ==, 0);
}

static void set_up(Fixture *f, gconstpointer data) {
        (void) data;
        /* where it is a tmpfs, as in life, if that can be */
        f->path = g_mkdtemp(g_strdup("/dev/shm/daxbroker-records-XXXXXX"));
        if (!f->path)
                f->path = g_dir_make_tmp("daxbroker-records-XXXXXX", NULL);
        g_assert_nonnull(f->path);
        f->name = g_build_filename(f->path, "allocations", NULL);
        f->dir = open(f->path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        g_assert_cmpint(f->dir, >=, 0);
        f->slot_size = MAX(sysconf(_SC_PAGESIZE), 4096);
        open_file(f);
}

static void tear_down(Fixture *f, gconstpointer data) {
        (void) data;
        record_file_free(f->file);
        g_assert_cmpint(unlinkat(f->dir, "allocations", 0), ==, 0);
        close(f->dir);
        g_assert_cmpint(g_rmdir(f->path), ==, 0); /* nothing else was left */
        g_free(f->path);
        g_free(f->name);
}

/* ---- What is in it ---- */

static int add_line(const char *id, const char *text, void *userdata) {
        g_string_append_printf(userdata, "%s %s;", id, text);
        return 0;
}

/* In the order in which they were written, as "ID text;ID text;". */
static void assert_records(Fixture *f, const char *expected) {
        g_autoptr(GString) all = g_string_new(NULL);

        g_assert_cmpint(record_file_each(f->file, add_line, all), ==, 0);
        g_assert_cmpstr(all->str, ==, expected);
}

/* Also in that of the next broker. */
static void assert_found(Fixture *f, const char *expected) {
        open_file(f);
        assert_records(f, expected);
}

static off_t size_of(Fixture *f) {
        struct stat st;

        g_assert_cmpint(fstatat(f->dir, "allocations", &st, 0), ==, 0);
        return st.st_size;
}

static off_t room_of(Fixture *f) {
        struct stat st;

        g_assert_cmpint(fstatat(f->dir, "allocations", &st, 0), ==, 0);
        return st.st_blocks * 512;
}

/* Of the first slots, as they are. */
static void put(Fixture *f, unsigned slot, size_t at, const char *bytes, size_t size) {
        int fd = open(f->name, O_WRONLY | O_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(pwrite(fd, bytes, size, slot * f->slot_size + (off_t) at), ==, size);
        close(fd);
}

static void put_record(Fixture *f, unsigned slot, const char *id, unsigned sequence, const char *text) {
        g_autofree char *bytes = g_strdup_printf("id=%s\nsequence=%016x\n%s", id, sequence, text);

        put(f, slot, 0, bytes, strlen(bytes));
}

static void write_record(Fixture *f, const char *id, const char *text) {
        g_assert_cmpint(record_file_write(f->file, id, text), ==, 0);
}

/* ---- Tests ---- */

static void test_life(Fixture *f, gconstpointer data) {
        struct stat st;

        (void) data;
        assert_records(f, "");
        g_assert_false(record_file_has(f->file, ID));
        g_assert_cmpint(record_file_remove(f->file, ID), ==, -ENOENT);
        g_assert_cmpint(record_file_rename(f->file, ID, OTHER), ==, -ENOENT);
        g_assert_cmpint(fstatat(f->dir, "allocations", &st, 0), ==, 0);
        g_assert_cmpuint(st.st_mode, ==, S_IFREG | 0600);

        write_record(f, ID, TEXT("one"));
        g_assert_true(record_file_has(f->file, ID));
        write_record(f, OTHER, TEXT("two"));
        assert_records(f, ID " " TEXT("one") ";" OTHER " " TEXT("two") ";");
        assert_found(f, ID " " TEXT("one") ";" OTHER " " TEXT("two") ";");

        /* changed, to something shorter */
        write_record(f, ID, TEXT("1"));
        assert_records(f, OTHER " " TEXT("two") ";" ID " " TEXT("1") ";");
        assert_found(f, OTHER " " TEXT("two") ";" ID " " TEXT("1") ";");

        g_assert_cmpint(record_file_remove(f->file, OTHER), ==, 0);
        g_assert_cmpint(record_file_remove(f->file, OTHER), ==, -ENOENT);
        g_assert_false(record_file_has(f->file, OTHER));
        g_assert_cmpint(record_file_rename(f->file, ID, OTHER), ==, 0);
        g_assert_false(record_file_has(f->file, ID));
        assert_records(f, OTHER " " TEXT("1") ";");
        assert_found(f, OTHER " " TEXT("1") ";");
        g_assert_cmpint(record_file_remove(f->file, OTHER), ==, 0);
        assert_found(f, "");
        g_assert_cmpint(size_of(f), ==, 0);
}

static void test_longest(Fixture *f, gconstpointer data) {
        g_autofree char *longest = g_strnfill(4096 - 46, 'x'), *longer = g_strnfill(4096 - 45, 'x');
        g_autofree char *expected = g_strconcat(ID " ", longest, ";", NULL);

        (void) data;
        write_record(f, ID, longest);
        g_assert_cmpint(record_file_write(f->file, ID, longer), ==, -E2BIG);
        assert_found(f, expected);
        write_record(f, ID, "");
        assert_found(f, ID " ;");
}

/* Each beginning of what is written, which is all that there can be of it when we are killed. */
static void test_torn(Fixture *f, gconstpointer data) {
        g_autofree char *whole = g_strdup_printf("id=%s\nsequence=%016x\n%s", ID, 7U, TEXT("new"));

        (void) data;
        for (size_t size = 1; size <= strlen(whole); size++) {
                write_record(f, ID, TEXT("old"));
                f->file = record_file_free(f->file);
                put(f, 1, 0, whole, size);
                open_file(f);
                if (size < strlen("id=" ID)) {
                        g_assert_true(record_file_is_damaged(f->file));
                        g_assert_cmpint(record_file_mend(f->file), ==, 0);
                }
                g_assert_false(record_file_is_damaged(f->file));
                assert_found(f, size < strlen(whole) ? ID " " TEXT("old") ";" : ID " " TEXT("new") ";");
                g_assert_cmpint(record_file_remove(f->file, ID), ==, 0);
                assert_found(f, "");
        }
}

/* The old one was not cleared any more, whichever slot that is. */
static void test_twins(Fixture *f, gconstpointer data) {
        (void) data;
        for (unsigned i = 0; i < 2; i++) {
                f->file = record_file_free(f->file);
                put_record(f, i, ID, 9, TEXT("old"));
                put_record(f, 1 - i, ID, 10, TEXT("new"));
                open_file(f);
                assert_records(f, ID " " TEXT("new") ";");
                assert_found(f, ID " " TEXT("new") ";");

                /* what follows is later than that */
                write_record(f, ID, TEXT("newer"));
                record_file_free(f->file);
                f->file = NULL;
                put_record(f, 5, ID, 10, TEXT("old"));
                assert_found(f, ID " " TEXT("newer") ";");
                g_assert_cmpint(record_file_remove(f->file, ID), ==, 0);
                assert_found(f, "");
        }
}

static void test_damaged(Fixture *f, gconstpointer data) {
        static const char *const ids[] = { "x", "id=0123", "id=0123456789ABCDEF\n", "jd=" ID "\n" };
        static const char zeros[46];

        (void) data;
        for (size_t i = 0; i <= G_N_ELEMENTS(ids); i++) {
                write_record(f, OTHER, TEXT("two"));
                write_record(f, ID, TEXT("one"));
                if (i < G_N_ELEMENTS(ids))
                        put(f, 1, 0, ids[i], strlen(ids[i]) + (i == 1));
                else
                        put(f, 1, 0, zeros, sizeof(zeros));

                /* it stays, as long as nobody says that it is of no use */
                for (unsigned round = 0; round < 2; round++) {
                        assert_found(f, OTHER " " TEXT("two") ";");
                        g_assert_true(record_file_is_damaged(f->file));
                        write_record(f, OTHER, TEXT("two"));
                        g_assert_true(record_file_is_damaged(f->file));
                }
                g_assert_cmpint(record_file_mend(f->file), ==, 0);
                g_assert_false(record_file_is_damaged(f->file));
                assert_found(f, OTHER " " TEXT("two") ";");
                g_assert_false(record_file_is_damaged(f->file));
                g_assert_cmpint(record_file_remove(f->file, OTHER), ==, 0);
                assert_found(f, "");
        }

        /* what says whose it is, and nothing that could be read */
        write_record(f, ID, TEXT("one"));
        put(f, 0, 4095, "x", 1);
        assert_found(f, ID " ;");
        g_assert_false(record_file_is_damaged(f->file));
        put(f, 0, 19, "\nsequins=", 9);
        assert_found(f, ID " ;");
        g_assert_cmpint(record_file_remove(f->file, ID), ==, 0);
        assert_found(f, "");
}

/* Whatever is in the file, what can be told apart can be removed, and is never found again. */
static int remove_it(const char *id, const char *text, void *userdata) {
        Fixture *f = userdata;

        (void) text;
        return record_file_remove(f->file, id);
}

static void test_rubbish(Fixture *f, gconstpointer data) {
        static const char *const ids[] = { ID, OTHER, "00000000000000aa" };

        (void) data;
        for (unsigned round = 0; round < 300; round++) {
                for (size_t i = 0; i < G_N_ELEMENTS(ids); i++) {
                        write_record(f, ids[i], TEXT("one"));
                        put_record(f, 3 + (unsigned) i, ids[i], round, TEXT("two"));
                }
                f->file = record_file_free(f->file);
                for (unsigned i = 0; i < 20; i++) {
                        char byte = (char) g_test_rand_int_range(0, 256);
                        int at = g_test_rand_int_range(0, g_test_rand_int_range(0, 2) ? 4096 : 64);

                        put(f, (unsigned) g_test_rand_int_range(0, 8), (size_t) at, &byte, 1);
                }
                g_assert_cmpint(truncate(f->name, g_test_rand_int_range(0, 9 * (int) f->slot_size)), ==, 0);
                open_file(f);
                g_assert_cmpint(record_file_each(f->file, remove_it, f), ==, 0);
                g_assert_cmpint(record_file_mend(f->file), ==, 0);
                assert_found(f, "");
                g_assert_false(record_file_is_damaged(f->file));
                g_assert_cmpint(size_of(f), ==, 0);
        }
}

/* Its end is missing, and is zeros then. */
static void test_cut_off(Fixture *f, gconstpointer data) {
        (void) data;
        write_record(f, OTHER, TEXT("two"));
        write_record(f, ID, TEXT("one"));
        f->file = record_file_free(f->file);
        g_assert_cmpint(truncate(f->name, f->slot_size + 47), ==, 0);
        assert_found(f, OTHER " " TEXT("two") ";" ID " o;");
        write_record(f, ID, TEXT("one"));
        assert_found(f, OTHER " " TEXT("two") ";" ID " " TEXT("one") ";");
        g_assert_cmpint(size_of(f) % f->slot_size, ==, 0);
}

static void assert_refused(Fixture *f, int expected) {
        RecordFile *file = NULL;

        g_assert_cmpint(record_file_new(f->dir, "allocations", &file), ==, expected);
        g_assert_null(file);
}

static void test_foreign(Fixture *f, gconstpointer data) {
        g_autofree char *other = g_build_filename(f->path, "other", NULL);

        (void) data;
        write_record(f, ID, TEXT("one"));
        f->file = record_file_free(f->file);
        g_assert_cmpint(rename(f->name, other), ==, 0);

        g_assert_cmpint(symlink("other", f->name), ==, 0);
        assert_refused(f, -ELOOP);
        g_assert_cmpint(unlink(f->name), ==, 0);
        g_assert_cmpint(link(other, f->name), ==, 0);
        assert_refused(f, -EBADF);
        g_assert_cmpint(unlink(f->name), ==, 0);
        g_assert_cmpint(mkfifo(f->name, 0600), ==, 0);
        assert_refused(f, -EBADF);
        g_assert_cmpint(unlink(f->name), ==, 0);

        g_assert_cmpint(rename(other, f->name), ==, 0);
        if (geteuid() == 0) {
                g_assert_cmpint(chown(f->name, 1, 1), ==, 0);
                assert_refused(f, -EBADF);
                g_assert_cmpint(chown(f->name, 0, 0), ==, 0);
        }
        /* of no length that it could have */
        g_assert_cmpint(truncate(f->name, f->slot_size * ((off_t) 1 << 20) + 1), ==, 0);
        assert_refused(f, -EBADF);
        g_assert_cmpint(truncate(f->name, f->slot_size), ==, 0);
        assert_found(f, ID " " TEXT("one") ";");
}

static void ignore(int signal) {
        (void) signal;
}

/* Without room for the new one, the old one stays. */
static void test_no_room(Fixture *f, gconstpointer data) {
        struct rlimit limit, none = { 0 };

        (void) data;
        write_record(f, ID, TEXT("one"));
        (void) signal(SIGXFSZ, ignore);
        g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &limit), ==, 0);
        none.rlim_cur = (rlim_t) f->slot_size;
        none.rlim_max = limit.rlim_max;
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &none), ==, 0);
        for (unsigned i = 0; i < 3; i++) {
                g_assert_cmpint(record_file_write(f->file, ID, TEXT("two")), ==, -EFBIG);
                g_assert_cmpint(record_file_write(f->file, OTHER, TEXT("two")), ==, -EFBIG);
        }
        g_assert_false(record_file_has(f->file, OTHER));
        assert_records(f, ID " " TEXT("one") ";");
        none.rlim_cur = (rlim_t) f->slot_size + 20; /* for a part of it */
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &none), ==, 0);
        g_assert_cmpint(record_file_write(f->file, ID, TEXT("two")), ==, -ENOSPC);
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
        assert_found(f, ID " " TEXT("one") ";");
        g_assert_false(record_file_is_damaged(f->file));

        /* nor was its slot lost with that */
        write_record(f, ID, TEXT("two"));
        assert_found(f, ID " " TEXT("two") ";");
        g_assert_cmpint(size_of(f), <=, 2 * f->slot_size);
}

/* Many that have ended take no more room than a few. */
static void test_room(Fixture *f, gconstpointer data) {
        enum { N = 500 };

        (void) data;
        for (unsigned round = 0; round < 3; round++) {
                for (unsigned i = 0; i < N; i++) {
                        g_autofree char *id = g_strdup_printf("%016x", i);

                        write_record(f, id, TEXT("one"));
                }
                g_assert_cmpint(room_of(f), >=, N * f->slot_size);
                for (unsigned i = 0; i < N; i++) {
                        g_autofree char *id = g_strdup_printf("%016x", round == 1 ? N - 1 - i : i);

                        if (i != N / 2)
                                g_assert_cmpint(record_file_remove(f->file, id), ==, 0);
                }
                g_assert_cmpint(room_of(f), <, 100 * f->slot_size);
                g_assert_cmpint(size_of(f), <=, (N + 3) * f->slot_size);
                /* the next broker uses the same again */
                open_file(f);
        }
}

/* Whoever handles one can write, rename and remove it, and others. */
static int change_all(const char *id, const char *text, void *userdata) {
        Fixture *f = userdata;

        (void) text;
        write_record(f, id, TEXT("changed"));
        if (g_str_equal(id, ID)) {
                g_assert_cmpint(record_file_remove(f->file, id), ==, 0);
                write_record(f, "00000000000000aa", TEXT("made"));
        }
        return 0;
}

static int stop(const char *id, const char *text, void *userdata) {
        (void) text;
        g_assert_cmpstr(id, ==, userdata);
        return -ECANCELED;
}

static void test_each(Fixture *f, gconstpointer data) {
        static char id[] = ID;

        (void) data;
        write_record(f, ID, TEXT("one"));
        write_record(f, OTHER, TEXT("two"));
        g_assert_cmpint(record_file_each(f->file, stop, id), ==, -ECANCELED);
        g_assert_cmpint(record_file_each(f->file, change_all, f), ==, 0);
        assert_records(f, "00000000000000aa " TEXT("made") ";" OTHER " " TEXT("changed") ";");
}

/* ---- Killed ---- */

/* A record says how far it was, and what was said to be there is. */
static void write_for_ever(Fixture *f, int progress) {
        open_file(f);
        for (unsigned i = 1;; i++) {
                g_autofree char *text = g_strdup_printf("%0*u\ncomplete=yes\n", 1 + (int) (i % 1500), i);

                if (record_file_write(f->file, ID, text) < 0 || write(progress, &i, sizeof(i)) != sizeof(i) ||
                    record_file_write(f->file, OTHER, text) < 0 || record_file_remove(f->file, OTHER) < 0)
                        _exit(1);
        }
}

static int find_progress(const char *id, const char *text, void *userdata) {
        unsigned *i = userdata;

        g_assert_true(g_str_has_suffix(text, "\ncomplete=yes\n"));
        if (g_str_equal(id, ID))
                *i = (unsigned) g_ascii_strtoull(text, NULL, 10);
        return 0;
}

static void test_killed(Fixture *f, gconstpointer data) {
        (void) data;
        for (unsigned round = 0; round < 100; round++) {
                unsigned said = 0, last, found = 0;
                int progress[2], status;
                pid_t pid;

                g_assert_cmpint(pipe2(progress, O_CLOEXEC), ==, 0);
                pid = fork();
                g_assert_cmpint(pid, >=, 0);
                if (pid == 0)
                        write_for_ever(f, progress[1]);
                close(progress[1]);
                do
                        g_assert_cmpint(read(progress[0], &said, sizeof(said)), ==, sizeof(said));
                while (said < 10 + round);
                g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
                g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
                g_assert_true(WIFSIGNALED(status));
                while (read(progress[0], &last, sizeof(last)) == sizeof(last))
                        said = last;
                close(progress[0]);

                open_file(f);
                g_assert_false(record_file_is_damaged(f->file));
                g_assert_cmpint(record_file_each(f->file, find_progress, &found), ==, 0);
                g_assert_true(found == said || found == said + 1);
        }
}

/* ---- Threads ---- */

typedef struct Writer {
        Fixture *fixture;
        unsigned number;
} Writer;

static gpointer run_writer(gpointer data) {
        const Writer *writer = data;
        g_autofree char *id = g_strdup_printf("%016x", writer->number);
        g_autofree char *text = g_strdup_printf("%u\ncomplete=yes\n", writer->number);

        for (unsigned i = 0; i < 2000; i++) {
                write_record(writer->fixture, id, text);
                write_record(writer->fixture, ID, text);
                if (i % 3 > 0)
                        g_assert_cmpint(record_file_remove(writer->fixture->file, id), ==, 0);
                if (i % 3 > 1)
                        (void) record_file_remove(writer->fixture->file, ID);
        }
        write_record(writer->fixture, id, text);
        return NULL;
}

static int check_writer(const char *id, const char *text, void *userdata) {
        g_autofree char *expected = g_strdup_printf("%u\ncomplete=yes\n", (unsigned) g_ascii_strtoull(id, NULL, 16));
        unsigned *n = userdata;

        if (g_str_equal(id, ID))
                return 0;
        g_assert_cmpstr(text, ==, expected);
        (*n)++;
        return 0;
}

static void test_threads(Fixture *f, gconstpointer data) {
        enum { N = 8 };
        GThread *threads[N];
        Writer writers[N];
        unsigned n = 0;

        (void) data;
        for (unsigned i = 0; i < N; i++) {
                writers[i] = (Writer){ f, i };
                threads[i] = g_thread_new("writer", run_writer, &writers[i]);
        }
        for (unsigned i = 0; i < N; i++)
                (void) g_thread_join(threads[i]);
        (void) record_file_remove(f->file, ID);
        open_file(f);
        g_assert_false(record_file_has(f->file, ID));
        g_assert_false(record_file_is_damaged(f->file));
        g_assert_cmpint(record_file_each(f->file, check_writer, &n), ==, 0);
        g_assert_cmpuint(n, ==, N);
        g_assert_cmpint(size_of(f), <=, 5 * N * f->slot_size);
}

/* ---- Of earlier brokers ---- */

static void put_file(const char *folder, const char *name, const char *text, gssize size) {
        g_autofree char *path = g_build_filename(folder, name, NULL);

        (void) mkdir(folder, 0700);
        g_assert_true(g_file_set_contents(path, text, size, NULL));
}

static void test_take_over(Fixture *f, gconstpointer data) {
        g_autofree char *old = g_strconcat(f->name, ".old", NULL), *long_text = g_strnfill(5000, 'x');
        g_autofree char *sub = g_build_filename(old, OTHER, NULL), *stranger = g_build_filename(old, "stranger", NULL);
        g_autofree char *stray = g_build_filename(old, ID, NULL);

        (void) data;
        f->file = record_file_free(f->file);
        g_assert_cmpint(unlink(f->name), ==, 0);
        put_file(f->name, ID, TEXT("one"), -1);
        put_file(f->name, ID ".tmp", "half", -1);
        assert_found(f, ID " " TEXT("one") ";");
        g_assert_false(g_file_test(old, G_FILE_TEST_EXISTS));

        /* it died before it could remove the file, or before it had taken all of them */
        write_record(f, ID, TEXT("later"));
        put_file(old, ID, TEXT("one"), -1);
        put_file(old, OTHER, TEXT("two"), -1);
        assert_found(f, ID " " TEXT("later") ";" OTHER " " TEXT("two") ";");
        assert_found(f, OTHER " " TEXT("two") ";" ID " " TEXT("later") ";");
        g_assert_cmpint(record_file_remove(f->file, ID), ==, 0);
        g_assert_cmpint(record_file_remove(f->file, OTHER), ==, 0);

        /* what is no record is one that cannot be read, as it was */
        for (unsigned i = 0; i < 3; i++) {
                put_file(old, ID, i == 0 ? long_text : "one\0complete=yes\n", i == 0 ? -1 : i == 1 ? 17 : 0);
                assert_found(f, ID " ;");
                g_assert_cmpint(record_file_remove(f->file, ID), ==, 0);
        }
        put_file(old, "stranger", "", 0);
        g_assert_cmpint(mkdir(sub, 0700), ==, 0);
        g_assert_cmpint(symlink("stranger", stray), ==, 0);
        open_file(f);
        g_assert_true(record_file_has(f->file, ID));
        g_assert_true(record_file_has(f->file, OTHER));
        g_assert_cmpint(record_file_remove(f->file, ID), ==, 0);
        assert_records(f, OTHER " ;");
        g_assert_cmpint(unlink(stranger), ==, 0);
        g_assert_cmpint(rmdir(sub), ==, 0);
        assert_found(f, OTHER " ;");
        g_assert_false(g_file_test(old, G_FILE_TEST_EXISTS));

        g_assert_cmpint(symlink("/", old), ==, 0);
        assert_refused(f, -ENOTDIR);
        g_assert_cmpint(unlink(old), ==, 0);
}

int main(int argc, char **argv) {
        static const struct {
                const char *name;
                void (*test)(Fixture *f, gconstpointer data);
        } tests[] = {
                { "/record-file/life", test_life },
                { "/record-file/longest", test_longest },
                { "/record-file/torn", test_torn },
                { "/record-file/twins", test_twins },
                { "/record-file/damaged", test_damaged },
                { "/record-file/rubbish", test_rubbish },
                { "/record-file/cut-off", test_cut_off },
                { "/record-file/foreign", test_foreign },
                { "/record-file/no-room", test_no_room },
                { "/record-file/room", test_room },
                { "/record-file/each", test_each },
                { "/record-file/killed", test_killed },
                { "/record-file/threads", test_threads },
                { "/record-file/take-over", test_take_over },
        };

        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add(tests[i].name, Fixture, NULL, set_up, tests[i].test, tear_down);
        return g_test_run();
}
