/* SPDX-License-Identifier: MIT */

/* Places that are kept over a reboot: whenever a broker dies, what was acknowledged is on record, and what was given up is
 * not. Each case is a moment between two steps. */

#include "reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "size.h"

#define ID "0123456789abcdef"
#define RECORDS "allocations"

static const Provider provider = { .name = "devdax", .drains = true };

typedef struct Place {
        char *runtime, *lasting;
        int runtime_dir;
        Manager manager;
        Region region;
        Allocation *allocation;
} Place;

static int make_directory(char **ret_path) {
        int fd;

        *ret_path = g_dir_make_tmp("daxbroker-reserve-XXXXXX", NULL);
        g_assert_nonnull(*ret_path);
        fd = open(*ret_path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        g_assert_cmpint(fd, >=, 0);
        return fd;
}

static void remove_directory(char *path, int fd) {
        (void) unlinkat(fd, ID, 0);
        (void) unlinkat(fd, RECORDS, 0);
        close(fd);
        g_assert_cmpint(g_rmdir(path), ==, 0);
        g_free(path);
}

static void set_up(Place *place, const void *unused) {
        static char region_name[] = "pmem";
        Allocation *allocation;

        (void) unused;
        place->runtime_dir = make_directory(&place->runtime);
        g_assert_cmpint(record_file_new(place->runtime_dir, RECORDS, &place->manager.records), ==, 0);
        place->manager.lasting_dir = make_directory(&place->lasting);
        place->region.name = region_name;
        allocation = place->allocation = allocation_new(&place->manager, ID);
        allocation->name = g_strdup("data");
        allocation->provider = &provider;
        allocation->reservation.region = &place->region;
        allocation->reserve = true;
        allocation->state = ALLOCATION_LIVE;
        allocation->piece.length = 2 * MIB;
        allocation->piece.alignment = allocation->piece.page_size = 2 * MIB;
        allocation_link(allocation);
}

static void tear_down(Place *place, const void *unused) {
        (void) unused;
        reserves_free(&place->manager);
        allocation_unlink(place->allocation);
        place->allocation->reservation.region = NULL;
        allocation_free(place->allocation);
        record_file_free(place->manager.records);
        remove_directory(place->runtime, place->runtime_dir);
        remove_directory(place->lasting, place->manager.lasting_dir);
}

static bool is_kept(const Place *place) {
        return faccessat(place->manager.lasting_dir, ID, F_OK, 0) >= 0;
}

static Record read_kept(const Place *place) {
        const char *problem;
        Record record;

        g_assert_cmpint(record_read(place->manager.lasting_dir, ID, &record, &problem), ==, 0);
        return record;
}

static int parse_record(const char *id, const char *text, void *userdata) {
        const char *problem;

        g_assert_cmpstr(id, ==, ID);
        return record_parse(text, userdata, &problem);
}

static Record read_record(const Place *place) {
        Record record = { 0 };

        g_assert_cmpint(record_file_each(place->manager.records, parse_record, &record), ==, 0);
        g_assert_nonnull(record.region);
        return record;
}

static void write_record(Place *place, RecordStage stage) {
        g_assert_cmpint(allocation_write_record(place->allocation, stage), ==, 0);
}

/* What the next broker makes of the record. */
static void recover(Place *place) {
        Record record = read_record(place);

        place->allocation->restored = false;
        reserve_recover(place->allocation, &record);
        record_done(&record);
}

static void test_life(Place *place, const void *unused) {
        (void) unused;
        place->allocation->state = ALLOCATION_CARVING;
        write_record(place, RECORD_CARVING);
        g_assert_false(is_kept(place));
        write_record(place, RECORD_LIVE);
        g_assert_true(is_kept(place));

        place->allocation->state = ALLOCATION_LIVE;
        write_record(place, RECORD_ENDING);
        g_assert_false(is_kept(place));
        write_record(place, RECORD_DRAINED);
        g_assert_false(is_kept(place));
}

static void ignore(int signal) {
        (void) signal;
}

/* That it ends is said even if it cannot be written down, and then no broker and no boot may bring its place back. */
static void test_end_fails(Place *place, const void *unused) {
        struct rlimit limit, none = { 0 };

        (void) unused;
        write_record(place, RECORD_LIVE);
        g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &limit), ==, 0);
        none.rlim_max = limit.rlim_max;
        (void) signal(SIGXFSZ, ignore);
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &none), ==, 0);
        g_assert_cmpint(allocation_write_record(place->allocation, RECORD_ENDING), ==, -EFBIG);
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
        g_assert_false(is_kept(place));
}

/* What was refused is not there after a restart. */
static void test_change_fails(Place *place, const void *unused) {
        Change *change = &place->allocation->operation.change;
        int dir = place->manager.lasting_dir;
        Record record;

        (void) unused;
        write_record(place, RECORD_LIVE);
        *change = (Change) { .sets_mode = true, .mode = 0666 };
        place->manager.lasting_dir = -EBADF;
        g_assert_cmpint(allocation_write_record(place->allocation, RECORD_LIVE), <, 0);
        place->manager.lasting_dir = dir;
        record = read_record(place);
        g_assert_cmpuint(record.mode, ==, place->allocation->mode);
        record_done(&record);
        *change = (Change) { 0 };
}

/* Between the two records of something that is alive: whoever finds it finds it reserved. */
static void test_died_alive(Place *place, const void *unused) {
        Record record;

        (void) unused;
        write_record(place, RECORD_LIVE);
        g_assert_cmpint(record_remove(place->manager.lasting_dir, ID), ==, 0);
        recover(place);
        g_assert_true(is_kept(place));

        /* or as it was before a change */
        place->allocation->mode = 0666;
        record = read_kept(place);
        record.mode = 0600;
        g_assert_cmpint(record_write(place->manager.lasting_dir, ID, &record), ==, 0);
        record_done(&record);
        write_record(place, RECORD_LIVE);
        g_assert_cmpint(reserves_read(&place->manager), ==, 0);
        g_assert_null(place->manager.reserves);
        recover(place);
        record = read_kept(place);
        g_assert_cmpuint(record.mode, ==, 0666);
        record_done(&record);
}

/* Between the first and the second step of its end, in whichever order an earlier broker took them. */
static void test_died_ending(Place *place, const void *unused) {
        static const RecordStage stages[] = { RECORD_ENDING, RECORD_DRAINED };

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(stages); i++) {
                Record record;
                char *text;

                write_record(place, RECORD_LIVE);
                record = read_record(place);
                record.stage = stages[i];
                g_assert_cmpint(record_format(&record, &text), ==, 0);
                g_assert_cmpint(record_file_write(place->manager.records, ID, text), ==, 0);
                record_done(&record);
                free(text);
                g_assert_true(is_kept(place));
                recover(place);
                g_assert_false(is_kept(place));
        }
}

/* While it is carved anew: what there is of that is undone, and then its place is taken again, by the same broker. */
static void test_died_restoring(Place *place, const void *unused) {
        (void) unused;
        write_record(place, RECORD_LIVE);
        place->allocation->restored = true;
        place->allocation->state = ALLOCATION_CARVING;
        write_record(place, RECORD_CARVING);
        g_assert_true(is_kept(place));

        recover(place);
        place->allocation->untouched = true;
        place->allocation->state = ALLOCATION_REVOKING;
        g_assert_cmpint(reserves_read(&place->manager), ==, 0);
        g_assert_nonnull(place->manager.reserves);
        g_assert_cmpint(allocation_remove_record(place->allocation), ==, 0);
        g_assert_true(is_kept(place));
        /* not as long as it is there */
        reserves_restore(&place->manager);
        g_assert_nonnull(place->manager.reserves);
}

/* What nobody has got, and was not there before, leaves nothing. */
static void test_not_handed_out(Place *place, const void *unused) {
        (void) unused;
        write_record(place, RECORD_LIVE);
        place->allocation->untouched = true;
        g_assert_cmpint(allocation_remove_record(place->allocation), ==, 0);
        g_assert_false(is_kept(place));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add("/reserve/life", Place, NULL, set_up, test_life, tear_down);
        g_test_add("/reserve/end-fails", Place, NULL, set_up, test_end_fails, tear_down);
        g_test_add("/reserve/change-fails", Place, NULL, set_up, test_change_fails, tear_down);
        g_test_add("/reserve/died-alive", Place, NULL, set_up, test_died_alive, tear_down);
        g_test_add("/reserve/died-ending", Place, NULL, set_up, test_died_ending, tear_down);
        g_test_add("/reserve/died-restoring", Place, NULL, set_up, test_died_restoring, tear_down);
        g_test_add("/reserve/not-handed-out", Place, NULL, set_up, test_not_handed_out, tear_down);
        return g_test_run();
}
