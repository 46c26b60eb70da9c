/* SPDX-License-Identifier: MIT */

/* Devices kept ready: none is given out twice, none that somebody uses, and none of ours is left behind or mistaken for
 * another's, whenever the broker dies. */

#include "seeds.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake-dax.h"
#include "seed-note.h"
#include "size.h"

#define START (4 * GIB)
#define NOTE "hmem.0"

static char *region;
static int notes;
static SeedPool *pool;

static void open_pool(void) {
        g_assert_cmpint(seed_pool_new(region, notes, NOTE, &pool), ==, 0);
}

/* The seed is nobody's of ours here, so no decoy is needed. */
static void set_seed(const char *name) {
        fake_write(name, "sys/devices/platform/hmem.0/dax_region/seed");
}

static void setup(void) {
        g_autofree char *path = NULL;

        fake_dax_setup();
        region = fake_region("platform/hmem.0", 0, START, GIB);
        path = fake_path("notes");
        g_assert_no_errno(g_mkdir(path, 0700));
        notes = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        g_assert_cmpint(notes, >=, 0);
        open_pool();
        set_seed("dax0.0\n");
}

static void teardown(void) {
        pool = seed_pool_free(pool);
        close(notes);
        g_clear_pointer(&region, g_free);
        fake_dax_teardown();
}

/* What the next broker does first. */
static void succeed(void) {
        pool = seed_pool_free(pool);
        open_pool();
        g_assert_cmpint(seed_pool_recover(pool), ==, 0);
}

static bool note_exists(void) {
        return faccessat(notes, NOTE, F_OK, 0) >= 0;
}

static bool note_has(const char *name) {
        SeedNote note;
        bool has;

        if (seed_note_read(notes, NOTE, &note) < 0)
                return false;
        has = dax_names_have(&note.ours, name);
        seed_note_done(&note);
        return has;
}

/* ---- Notes ---- */

static SeedNote sample(bool creating) {
        SeedNote note = { .creating = creating };

        g_assert_cmpint(dax_names_add(&note.ours, "dax0.3"), ==, 0);
        g_assert_cmpint(dax_names_add(&note.ours, "dax0.17"), ==, 0);
        g_assert_cmpint(seed_note_keep(&note, "dax0.5", (Range){ START, 2 * MIB }), ==, 0);
        for (unsigned i = 0; creating && i < 20; i++) {
                g_autofree char *name = g_strdup_printf("dax0.%u", i);

                g_assert_cmpint(dax_names_add(&note.before, name), ==, 0);
        }
        return note;
}

static void test_note_round_trip(void) {
        for (unsigned i = 0; i < 2; i++) {
                SeedNote note = sample(i), again;
                char *text, *text_again;

                g_assert_cmpint(seed_note_format(&note, &text), ==, 0);
                g_assert_cmpint(seed_note_parse(text, &again), ==, 0);
                g_assert_cmpint(seed_note_format(&again, &text_again), ==, 0);
                g_assert_cmpstr(text, ==, text_again);
                g_assert_cmpuint(again.ours.n, ==, 2);
                g_assert_cmpuint(again.n_kept, ==, 1);
                g_assert_cmpstr(again.kept[0].name, ==, "dax0.5");
                g_assert_cmpuint(again.kept[0].range.start, ==, START);
                g_assert_cmpuint(again.kept[0].range.length, ==, 2 * MIB);
                g_assert_cmpint(again.creating, ==, i == 1);
                g_assert_cmpuint(again.before.n, ==, i * 20);
                free(text);
                free(text_again);
                seed_note_done(&note);
                seed_note_done(&again);
        }
}

/* Cut off anywhere, or with anything after the end, it is no note; nor with a line out of its place. */
static void test_note_torn(void) {
        static const char *const bad[] = {
                "daxbroker-seeds=2\ncreating=no\ncomplete=yes\n",
                "daxbroker-seeds=1\ncomplete=yes\n",
                "daxbroker-seeds=1\ncreating=maybe\ncomplete=yes\n",
                "daxbroker-seeds=1\ncreating=no\nbefore=dax0.1\ncomplete=yes\n",
                "daxbroker-seeds=1\ncreating=no\nseed=dax0.1\ncomplete=yes\n",
                "daxbroker-seeds=1\nseed=\ncreating=no\ncomplete=yes\n",
                "daxbroker-seeds=1\nseed=dax0\ncreating=no\ncomplete=yes\n",
                "daxbroker-seeds=1\nseed=dax0.99999999999999999999999999999\ncreating=no\ncomplete=yes\n",
                "daxbroker-seeds=1\nkept=dax0.1\ncreating=no\ncomplete=yes\n",
                "daxbroker-seeds=1\nkept=dax0.0 100000000+200000\ncreating=no\ncomplete=yes\n",
                "daxbroker-seeds=1\nkept=dax0.1 100000000+0\ncreating=no\ncomplete=yes\n",
                "daxbroker-seeds=1\nkept=dax0.1 100000000+200000,200000000+200000\ncreating=no\ncomplete=yes\n",
                "daxbroker-seeds=1\nkept=dax0.1 100000000+200000\nseed=dax0.2\ncreating=no\ncomplete=yes\n",
                "daxbroker-seeds=1\n\ncreating=no\ncomplete=yes\n",
                "daxbroker-seeds=1\nseed:dax0.1\ncreating=no\ncomplete=yes\n",
                "daxbroker-seeds=1\nsee =dax0.1\ncreating=no\ncomplete=yes\n",
                "daxbroker-seeds=1\ncreating=no\ncomplete=no\n",
        };
        SeedNote note = sample(true), again;
        g_autofree char *longer = NULL;
        char *text;

        g_assert_cmpint(seed_note_format(&note, &text), ==, 0);
        for (size_t i = 0; i < strlen(text); i++) {
                g_autofree char *torn = g_strndup(text, i);

                g_assert_cmpint(seed_note_parse(torn, &again), ==, -EBADMSG);
        }
        longer = g_strconcat(text, "\n", NULL);
        g_assert_cmpint(seed_note_parse(longer, &again), ==, -EBADMSG);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                if (seed_note_parse(bad[i], &again) != -EBADMSG)
                        g_error("This was taken for a note:\n%s", bad[i]);

        free(text);
        seed_note_done(&note);
}

static void test_note_file(void) {
        SeedNote note = sample(true), again;
        g_autofree char *large = NULL, *path = NULL;

        g_assert_cmpint(seed_note_read(notes, NOTE, &again), ==, -ENOENT);
        g_assert_cmpint(seed_note_write(notes, NOTE, &note), ==, 0);
        g_assert_cmpint(seed_note_read(notes, NOTE, &again), ==, 0);
        g_assert_cmpuint(again.before.n, ==, 20);
        seed_note_done(&again);

        /* a failure leaves the old one */
        fake_inject(FAKE_ERROR, 1, ENOSPC);
        g_assert_cmpint(seed_note_write(notes, NOTE, &again), ==, 0); /* nothing to say: no file, no write */
        g_assert_false(note_exists());
        g_assert_cmpint(seed_note_write(notes, NOTE, &again), ==, 0);
        g_assert_cmpint(seed_note_write(notes, NOTE, &note), ==, -ENOSPC);
        g_assert_false(note_exists());
        g_assert_cmpint(faccessat(notes, NOTE ".tmp", F_OK, 0), <, 0);

        large = g_strnfill(SEED_NOTE_SIZE_MAX + 1, 'x');
        fake_write(large, "notes/" NOTE);
        g_assert_cmpint(seed_note_read(notes, NOTE, &again), ==, -EBADMSG);
        path = fake_path("notes/" NOTE);
        g_assert_true(g_file_set_contents(path, "daxbroker-seeds=1\ncreating=no\ncomplete=yes\n\0", 44, NULL));
        g_assert_cmpint(seed_note_read(notes, NOTE, &again), ==, -EBADMSG);
        seed_note_done(&note);
}

static void test_note_sizes(void) {
        g_autofree char *longest = g_strnfill(DAX_NAME_MAX - 1, 'x'), *too_long = g_strnfill(DAX_NAME_MAX, 'x');
        SeedNote note = { 0 };
        char *text;
        int r;

        g_assert_cmpint(dax_names_add(&note.ours, too_long), ==, -EINVAL);
        g_assert_cmpuint(note.ours.n, ==, 0);
        g_assert_cmpint(dax_names_add(&note.ours, longest), ==, 0);
        g_assert_true(dax_names_have(&note.ours, longest));

        /* of what there was before nothing is said when nothing is being made */
        g_assert_cmpint(dax_names_add(&note.before, "dax0.1"), ==, 0);
        g_assert_cmpint(seed_note_format(&note, &text), ==, 0);
        g_assert_null(strstr(text, "before"));
        free(text);

        /* what is written is never too large to be read */
        for (;;) {
                r = seed_note_format(&note, &text);
                if (r < 0)
                        break;
                g_assert_cmpuint(strlen(text), <=, SEED_NOTE_SIZE_MAX);
                free(text);
                for (unsigned i = 0; i < 50; i++)
                        g_assert_cmpint(dax_names_add(&note.ours, longest), ==, 0);
        }
        g_assert_cmpint(r, ==, -E2BIG);
        g_assert_cmpint(seed_note_write(notes, NOTE, &note), ==, -E2BIG);
        g_assert_false(note_exists());
        seed_note_done(&note);
}

/* ---- Pools ---- */

static void test_fill(void) {
        g_assert_true(seed_pool_is_low(pool));
        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        g_assert_false(seed_pool_is_low(pool));
        g_assert_cmpuint(fake_count_devices(), ==, 3);
        g_assert_true(fake_is_claimed("dax0.1"));
        g_assert_true(fake_is_claimed("dax0.2"));
        g_assert_true(note_has("dax0.1"));
        g_assert_true(note_has("dax0.2"));
        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        g_assert_cmpuint(fake_count_devices(), ==, 3);

        seed_pool_drain(pool, UINT64_MAX);
        g_assert_cmpuint(fake_count_devices(), ==, 1);
        g_assert_false(fake_is_claimed("dax0.1"));
        g_assert_false(note_exists());
        g_assert_true(seed_pool_is_low(pool));
}

static void test_take(void) {
        char name[DAX_NAME_MAX], other[DAX_NAME_MAX];

        /* none is ready: one is made */
        g_assert_cmpint(seed_pool_take(pool, name), ==, 0);
        g_assert_cmpstr(name, ==, "dax0.1");
        g_assert_true(fake_is_claimed(name));
        g_assert_true(note_has(name));
        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        g_assert_cmpint(seed_pool_take(pool, other), ==, 0);
        g_assert_cmpstr(other, !=, name);
        g_assert_true(seed_pool_is_low(pool));

        g_assert_cmpint(seed_pool_taken(pool, name), ==, 0);
        g_assert_false(note_has(name));
        g_assert_cmpint(seed_pool_taken(pool, name), ==, 0);
        g_assert_true(note_has(other));

        /* back, and out again */
        seed_pool_return(pool, other);
        g_assert_false(seed_pool_is_low(pool));
        seed_pool_drain(pool, UINT64_MAX);
        g_assert_cmpuint(fake_count_devices(), ==, 2);
        g_assert_true(fake_exists(name));
        seed_pool_return(pool, name);
        g_assert_cmpuint(fake_count_devices(), ==, 1);
        g_assert_false(fake_is_claimed(name));
}

/* More come back than are wanted. */
static void test_return_many(void) {
        char names[5][DAX_NAME_MAX];

        for (size_t i = 0; i < 5; i++)
                g_assert_cmpint(seed_pool_take(pool, names[i]), ==, 0);
        for (size_t i = 0; i < 5; i++)
                seed_pool_return(pool, names[i]);
        g_assert_cmpuint(fake_count_devices(), ==, 3);
        seed_pool_drain(pool, UINT64_MAX);
        g_assert_false(note_exists());
}

/* Somebody else takes them, as daxctl does, or deletes them. */
static void test_used_by_others(void) {
        char name[DAX_NAME_MAX];

        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        fake_add_range(region, "dax0.1", START, 2 * MIB);
        fake_add_range(region, "dax0.2", START + 2 * MIB, 2 * MIB);
        fake_bind(region, "dax0.2", "kmem");

        g_assert_cmpint(seed_pool_take(pool, name), ==, 0);
        g_assert_cmpstr(name, ==, "dax0.3");
        g_assert_false(note_has("dax0.1"));
        g_assert_false(note_has("dax0.2"));
        g_assert_false(fake_is_claimed("dax0.1"));

        seed_pool_drain(pool, UINT64_MAX);
        succeed();
        g_assert_true(fake_exists("dax0.1"));
        g_assert_true(fake_exists("dax0.2"));
        g_assert_false(fake_exists("dax0.3"));
}

/* It cannot be told what others have done with one that we have no right to any more, or that a driver has. */
static void test_not_as_it_was(void) {
        g_autofree char *size = g_build_filename(region, "dax0.1", "size", NULL);
        char name[DAX_NAME_MAX];

        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        g_assert_no_errno(chmod(size, 0400));
        g_assert_cmpint(seed_pool_take(pool, name), ==, 0);
        g_assert_cmpstr(name, ==, "dax0.2");
        g_assert_false(note_has("dax0.1"));
        g_assert_no_errno(chmod(size, 0600));

        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        fake_bind(region, "dax0.3", "kmem");
        g_assert_cmpint(seed_pool_take(pool, name), ==, 0);
        g_assert_cmpstr(name, ==, "dax0.4");
}

static void test_drain_used(void) {
        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        fake_add_range(region, "dax0.1", START, 2 * MIB);
        seed_pool_drain(pool, UINT64_MAX);
        g_assert_true(fake_exists("dax0.1"));
        g_assert_false(fake_exists("dax0.2"));
        g_assert_false(note_exists());
}

static void test_full(void) {
        char name[DAX_NAME_MAX];

        fake_add_range(region, "dax0.0", START, GIB);
        g_assert_cmpint(seed_pool_take(pool, name), ==, -ENOSPC);
        g_assert_cmpint(seed_pool_fill(pool), ==, -ENOSPC);
        g_assert_false(note_exists());
        g_assert_cmpuint(fake_count_devices(), ==, 1);
}

/* What daxctl would use is there for it alone. */
static void test_decoy(void) {
        char name[DAX_NAME_MAX];

        set_seed("\n");
        g_assert_cmpint(seed_pool_take(pool, name), ==, 0);
        g_assert_cmpstr(name, ==, "dax0.2");
        g_assert_true(note_has("dax0.1"));
        g_assert_false(fake_is_claimed("dax0.1"));
        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        g_assert_cmpuint(fake_count_devices(), ==, 5);

        /* used */
        fake_add_range(region, "dax0.1", START, 2 * MIB);
        fake_bind(region, "dax0.1", "device_dax");
        set_seed("\n");
        g_assert_cmpint(seed_pool_taken(pool, name), ==, 0);
        g_assert_cmpint(seed_pool_take(pool, name), ==, 0);
        g_assert_cmpstr(name, ==, "dax0.3");
        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        g_assert_false(note_has("dax0.1"));
        g_assert_true(note_has("dax0.5")); /* the next one */
        g_assert_false(fake_is_claimed("dax0.5"));
        g_assert_true(fake_is_claimed("dax0.6"));

        /* kept by the next broker, which needs no other */
        succeed();
        g_assert_true(note_has("dax0.5"));
        g_assert_false(fake_exists("dax0.6"));
        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        g_assert_true(note_has("dax0.5"));
        g_assert_cmpuint(fake_count_devices(), ==, 6); /* first, used, taken, decoy, two */
        seed_pool_drain(pool, UINT64_MAX);
        g_assert_false(note_exists());
        g_assert_false(fake_exists("dax0.5"));
        g_assert_true(fake_exists("dax0.1"));
}

/* As often as one is made, somebody takes it. */
static void test_decoys_taken(void) {
        char name[DAX_NAME_MAX];

        fake_take_decoys(true);
        g_assert_cmpint(seed_pool_take(pool, name), ==, -EAGAIN);
        g_assert_cmpuint(fake_count_devices(), ==, 11);
        fake_take_decoys(false);
        set_seed("dax0.0\n");
        g_assert_cmpint(seed_pool_take(pool, name), ==, 0);
}

/* ---- udev ---- */

static void *hand_over_soon(void *userdata) {
        g_usleep(100000);
        fake_hand_over(region, userdata);
        return NULL;
}

static void *remove_soon(void *userdata) {
        g_autofree char *folder = g_build_filename(region, userdata, NULL), *gone = g_strconcat(folder, "-gone", NULL);
        g_autofree char *size = g_build_filename(gone, "size", NULL), *node = fake_path("dev/%s", (char *) userdata);

        while (!fake_exists(userdata))
                g_usleep(1000);
        g_usleep(50000);
        g_assert_no_errno(g_rename(folder, gone));
        g_assert_no_errno(g_remove(size));
        g_assert_no_errno(g_remove(node));
        return NULL;
}

/* A device is given out when it is ours. */
static void test_rights(void) {
        g_autofree char *size = g_build_filename(region, "dax0.1", "size", NULL);
        char name[DAX_NAME_MAX] = "untouched";
        GThread *udev;

        fake_withhold_rights(true);
        udev = g_thread_new("udev", hand_over_soon, (char[]){ "dax0.1" });
        g_assert_cmpint(seed_pool_take(pool, name), ==, 0);
        g_assert_cmpint(g_access(size, W_OK), ==, 0);
        g_assert_cmpstr(name, ==, "dax0.1");
        g_thread_join(udev);

        g_strlcpy(name, "untouched", sizeof(name));
        udev = g_thread_new("kernel", remove_soon, (char[]){ "dax0.2" });
        g_assert_cmpint(seed_pool_take(pool, name), ==, -ENODEV);
        g_assert_cmpstr(name, ==, "untouched");
        g_assert_false(fake_is_claimed("dax0.2"));
        g_thread_join(udev);
}

static void *fill(void *unused) {
        (void) unused;
        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        return NULL;
}

static void await_device(const char *name) {
        gint64 end = g_get_monotonic_time() + 20 * G_TIME_SPAN_SECOND;

        while (!fake_exists(name)) {
                g_assert_cmpint(g_get_monotonic_time(), <, end);
                g_usleep(1000);
        }
        g_usleep(20000);
}

/* What is being made counts: two who fill at once make two, and not four. */
static void test_fill_twice(void) {
        GThread *first, *second;

        fake_withhold_rights(true);
        first = g_thread_new("first", fill, NULL);
        await_device("dax0.1");
        g_assert_true(seed_pool_is_low(pool));
        second = g_thread_new("second", fill, NULL);
        await_device("dax0.2");
        g_assert_false(seed_pool_is_low(pool));
        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        fake_hand_over(region, "dax0.1");
        fake_hand_over(region, "dax0.2");
        g_thread_join(first);
        g_thread_join(second);
        g_assert_false(seed_pool_is_low(pool));
        g_assert_cmpuint(fake_count_devices(), ==, 3);
}

/* ---- Failures ---- */

/* A region that is gone says so, and takes no note with it. */
static void test_gone(void) {
        g_autofree char *gone = g_strconcat(region, "-gone", NULL);
        char name[DAX_NAME_MAX];

        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        g_assert_no_errno(g_rename(region, gone));
        g_assert_null(seed_pool_free(pool));
        g_assert_null(seed_pool_free(NULL));
        open_pool();
        fake_inject(FAKE_NONE, 0, 0);
        g_assert_cmpint(seed_pool_recover(pool), ==, -ENOENT);
        g_assert_true(note_has("dax0.1"));
        g_assert_true(note_has("dax0.2"));
        g_assert_cmpuint(fake_count_writes(), ==, 0);
        g_assert_cmpint(seed_pool_take(pool, name), ==, -ENOENT);
        g_assert_cmpint(seed_pool_fill(pool), ==, -ENOENT);
        g_assert_no_errno(g_rename(gone, region));
}

/* Whichever write fails, or does nothing: nothing is left when the pool is drained, or else it is known to the next. */
static void test_failures(void) {
        unsigned n_writes;
        char name[DAX_NAME_MAX];

        fake_inject(FAKE_NONE, 0, 0);
        g_assert_cmpint(seed_pool_take(pool, name), ==, 0);
        n_writes = fake_count_writes();
        g_assert_cmpuint(n_writes, ==, 5); /* note, device, note, question, claim */
        seed_pool_return(pool, name);
        seed_pool_drain(pool, UINT64_MAX);

        for (unsigned i = 1; i <= n_writes; i++) {
                fake_inject(FAKE_ERROR, i, ENOSPC);
                g_assert_cmpint(seed_pool_take(pool, name), ==, -ENOSPC);
                seed_pool_drain(pool, UINT64_MAX);
                g_assert_cmpuint(fake_count_devices(), ==, 1);
                g_assert_false(note_exists());
        }
}

/* What cannot be deleted stays in the note, and is deleted later. */
static void test_strays(void) {
        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        fake_inject(FAKE_ERROR, 2, EIO); /* after the claim */
        seed_pool_drain(pool, UINT64_MAX);
        g_assert_cmpuint(fake_count_devices(), ==, 1);

        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        for (unsigned i = 0; i < 2; i++) {
                g_autofree char *path = g_build_filename(region, "dax_region", "delete", NULL);

                g_assert_no_errno(chmod(path, i == 0 ? 0 : 0200));
                seed_pool_drain(pool, UINT64_MAX);
                g_assert_cmpuint(fake_count_devices(), ==, i == 0 ? 3 : 1);
                g_assert_cmpint(note_exists(), ==, i == 0);
                if (i == 0)
                        g_assert_true(seed_pool_is_low(pool)); /* they are not given out */
        }
}

/* ---- The next broker ---- */

static void test_recover(void) {
        char name[DAX_NAME_MAX];

        fake_device(region, 0, 1); /* somebody's, and as idle as ours will be */
        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        g_assert_cmpint(seed_pool_take(pool, name), ==, 0);
        g_assert_cmpuint(fake_count_devices(), ==, 4);
        fake_add_range(region, "dax0.3", START, 2 * MIB);

        succeed();
        g_assert_cmpuint(fake_count_devices(), ==, 3);
        g_assert_true(fake_exists("dax0.1"));
        g_assert_true(fake_exists("dax0.3"));
        g_assert_false(note_exists());
        g_assert_false(fake_is_claimed("dax0.2"));
        succeed();
        g_assert_cmpuint(fake_count_devices(), ==, 3);
}

/* Nothing is deleted of which no note could be taken. */
static void test_recover_without_note(void) {
        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        seed_pool_free(pool);
        open_pool();
        fake_inject(FAKE_ERROR, 1, ENOSPC);
        g_assert_cmpint(seed_pool_recover(pool), ==, -ENOSPC);
        g_assert_cmpuint(fake_count_devices(), ==, 3);
        g_assert_true(note_has("dax0.1"));
        g_assert_true(note_has("dax0.2"));
}

/* A record is about the device as well: it ends with what the record is about. */
static void test_recover_excepted(void) {
        char name[DAX_NAME_MAX];

        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        g_assert_cmpint(seed_pool_take(pool, name), ==, 0);

        seed_pool_free(pool);
        open_pool();
        g_assert_cmpint(seed_pool_except(pool, name), ==, 0);
        g_assert_cmpint(seed_pool_recover(pool), ==, 0);
        g_assert_true(fake_exists(name));
        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        g_assert_true(fake_exists(name));
}

/* The first device is nobody's to delete, whatever a note says. */
static void test_recover_lies(void) {
        fake_device(region, 0, 4);
        fake_write("daxbroker-seeds=1\n"
                   "seed=dax0.0\nseed=dax0.4\nseed=dax0.4\nseed=dax0.5\nseed=dax9.1\n"
                   "creating=no\ncomplete=yes\n",
                   "notes/" NOTE);
        fake_inject(FAKE_NONE, 0, 0);
        succeed();
        g_assert_true(fake_exists("dax0.0"));
        g_assert_false(fake_exists("dax0.4"));
        g_assert_false(note_exists());

        fake_device(region, 0, 4);
        fake_write("daxbroker-seeds=1\nseed=dax0.4\ncreating=no\ncomplete=y", "notes/" NOTE);
        fake_inject(FAKE_NONE, 0, 0);
        g_assert_cmpint(seed_pool_recover(pool), ==, -EBADMSG);
        g_assert_cmpuint(fake_count_writes(), ==, 0);
        g_assert_true(fake_exists("dax0.4"));
        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
        g_assert_true(note_has("dax0.1"));
}

#define SURVIVED 1
#define FAILED 2

static int use_pool(void) {
        char name[DAX_NAME_MAX];

        if (seed_pool_fill(pool) < 0 || seed_pool_take(pool, name) < 0)
                return FAILED;
        if (seed_pool_taken(pool, name) < 0 || seed_pool_fill(pool) < 0 || seed_pool_take(pool, name) < 0)
                return FAILED;
        seed_pool_return(pool, name);
        seed_pool_drain(pool, UINT64_MAX);
        return SURVIVED;
}

static int recover(void) {
        return seed_pool_recover(pool) < 0 ? FAILED : SURVIVED;
}

/* In another process, which may die at one of its writes. Returns whether it did. */
static bool dies(int (*function)(void), FakeFault fault, unsigned number) {
        int status;
        pid_t pid;

        pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                fake_inject(fault, number, 0);
                _exit(function());
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), !=, FAILED);
        return WEXITSTATUS(status) != SURVIVED;
}

/* At the end there is what others have, and the one that left the note for an allocation's record. */
static void assert_recovered(void) {
        unsigned n_taken;

        succeed();
        g_assert_false(note_exists());
        g_assert_true(fake_exists("dax0.2"));
        n_taken = fake_count_devices() - 2;
        g_assert_cmpuint(n_taken, <=, 1);
        g_assert_cmpint(fake_exists("dax0.1"), ==, n_taken == 1);

        seed_pool_return(pool, "dax0.1");
        seed_pool_return(pool, "dax0.2");
        g_assert_cmpuint(fake_count_devices(), ==, 1);
}

/* The broker dies at every single write to the kernel or to a note, before it and after it; then its successor does, while
 * it recovers. */
static void test_death(void) {
        static const FakeFault faults[] = { FAKE_DIE_BEFORE, FAKE_DIE_AFTER };
        unsigned n_deaths = 0;

        for (size_t i = 0; i < G_N_ELEMENTS(faults); i++) {
                bool died = true;

                for (unsigned j = 1; died; j++) {
                        bool died_again = true;

                        for (unsigned k = 1; died_again; k++) {
                                fake_device(region, 0, 2); /* somebody's */
                                died = dies(use_pool, faults[i], j);
                                died_again = dies(recover, faults[i], k);
                                n_deaths += died;
                                assert_recovered();
                        }
                }
        }
        g_assert_cmpuint(n_deaths, >=, 50);
}

/* ---- Several at once ---- */

#define N_THREADS 8

static void *take_and_give(void *userdata) {
        GHashTable *taken = userdata;
        static GMutex mutex;

        for (unsigned i = 0; i < 40; i++) {
                char name[DAX_NAME_MAX];

                if (i % 4 == 0)
                        g_assert_cmpint(seed_pool_fill(pool), ==, 0);
                g_assert_cmpint(seed_pool_take(pool, name), ==, 0);
                g_mutex_lock(&mutex);
                if (!g_hash_table_add(taken, g_strdup(name)))
                        g_error("%s was given out twice", name);
                g_mutex_unlock(&mutex);

                g_thread_yield();
                if (i % 2 == 0)
                        g_assert_cmpint(seed_pool_taken(pool, name), ==, 0);
                g_mutex_lock(&mutex);
                g_assert_true(g_hash_table_remove(taken, name));
                g_mutex_unlock(&mutex);
                seed_pool_return(pool, name);
        }
        return NULL;
}

static void test_threads(void) {
        g_autoptr(GHashTable) taken = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        GThread *threads[N_THREADS];

        for (size_t i = 0; i < N_THREADS; i++)
                threads[i] = g_thread_new("user", take_and_give, taken);
        for (size_t i = 0; i < N_THREADS; i++)
                g_thread_join(threads[i]);

        seed_pool_drain(pool, UINT64_MAX);
        g_assert_cmpuint(fake_count_devices(), ==, 1);
        g_assert_false(note_exists());
}

/* In a folder of its own. */
static const struct Test {
        const char *path;
        void (*function)(void);
} tests[] = {
        { "/seeds/note-file", test_note_file },
        { "/seeds/note-sizes", test_note_sizes },
        { "/seeds/fill", test_fill },
        { "/seeds/take", test_take },
        { "/seeds/return-many", test_return_many },
        { "/seeds/used-by-others", test_used_by_others },
        { "/seeds/not-as-it-was", test_not_as_it_was },
        { "/seeds/drain-used", test_drain_used },
        { "/seeds/full", test_full },
        { "/seeds/decoy", test_decoy },
        { "/seeds/decoys-taken", test_decoys_taken },
        { "/seeds/rights", test_rights },
        { "/seeds/fill-twice", test_fill_twice },
        { "/seeds/gone", test_gone },
        { "/seeds/failures", test_failures },
        { "/seeds/strays", test_strays },
        { "/seeds/recover", test_recover },
        { "/seeds/recover-without-note", test_recover_without_note },
        { "/seeds/recover-excepted", test_recover_excepted },
        { "/seeds/recover-lies", test_recover_lies },
        { "/seeds/death", test_death },
        { "/seeds/threads", test_threads },
};

static void run(gconstpointer test) {
        setup();
        ((const struct Test *) test)->function();
        teardown();
}

int main(int argc, char **argv) {
        /* root has all rights */
        if (getuid() == 0 && (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
                return 77;
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/seeds/note-round-trip", test_note_round_trip);
        g_test_add_func("/seeds/note-torn", test_note_torn);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add_data_func(tests[i].path, &tests[i], run);
        return g_test_run();
}
