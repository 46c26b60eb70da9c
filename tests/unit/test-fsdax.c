/* SPDX-License-Identifier: MIT */

/* Files that are memory, in a directory of this machine: each has its record before it has its name, and what is in the
 * directory and is none of ours stays there. DAX there is none here, so what takes that is tried in emulated machines. */

#include "fsdax-directory.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "record.h"
#include "size.h"

/* ---- The region ---- */

static void assert_unusable(Directory *directory, const char *words) {
        directory->region->listed = false;
        g_assert_cmpint(region_configure(directory->region, &directory->config), ==, 0);
        if (directory->region->state && directory_list(directory) < 0) {
                if (!strstr(directory->failure.text, words))
                        g_error("\"%s\" does not say \"%s\"", directory->failure.text, words);
                g_assert_cmpint(directory->failure.refusal, ==, REFUSAL_RegionUnusable);
                return;
        }
        g_assert_nonnull(directory->region->reason);
        if (!strstr(directory->region->reason, words))
                g_error("\"%s\" does not say \"%s\"", directory->region->reason, words);
}

static void test_region(Directory *directory) {
        Region *region = directory->region;
        char small[] = "16M", part[] = "25%", bad[] = "infinity";
        uint64_t whole;

        whole = region->size;
        g_assert_cmpuint(whole, >, MIB);
        g_assert_cmpuint(region_available(region), <=, whole);
        g_assert_cmpuint(region->n_alignments, ==, 3);

        directory->config.size = small;
        directory_look(directory);
        g_assert_cmpuint(region->size, ==, 16 * MIB);
        g_assert_cmpuint(region_available(region), ==, 16 * MIB);
        directory->config.size = part;
        directory_look(directory);
        g_assert_cmpuint(region->size, >, whole / 5);
        g_assert_cmpuint(region->size, <=, whole / 4 + MIB);
        directory->config.size = bad;
        assert_unusable(directory, "Size=");
}

/* Two that lie in one directory would give the same room twice, and have each other's allocations. */
static void test_same(Directory *directory) {
        static char name[] = "again";
        g_autofree char *path = NULL;
        Directory again;

        path = g_strconcat(directory->path, "/.", NULL);
        again = (Directory){ .config = directory->config, .path = path };
        again.config.name = name;
        again.config.path = path;
        g_assert_cmpint(region_new(&again.config, NULL, -EBADF, &again.region), ==, 0);
        g_assert_cmpint(directory_list(&again), ==, 0);
        again.region->listed = true;
        g_assert_cmpint(region_configure(again.region, &again.config), ==, 0);
        g_assert_nonnull(again.region->reason);
        g_assert_nonnull(strstr(again.region->reason, "'files'"));
        directory_look(directory);

        region_free(directory->region);
        directory->region = NULL;
        directory_look(&again);
        inventory_done(&again.found);
        region_free(again.region);
}

static void test_unusable(Directory *directory) {
        g_autofree char *path = NULL;
        char nowhere[] = "/nowhere/at/all";

        directory->config.path = NULL;
        assert_unusable(directory, "no Path=");
        directory->config.path = nowhere;
        assert_unusable(directory, "there is no such directory");
        path = directory_file(directory, "file");
        g_assert_true(g_file_set_contents(path, "", 0, NULL));
        directory->config.path = path;
        assert_unusable(directory, "there is no such directory");

        directory->config.path = directory->path;
        g_assert_cmpint(chmod(directory->path, 0770), ==, 0);
        assert_unusable(directory, "chmod 0700");
        g_assert_cmpint(chmod(directory->path, 0700), ==, 0);
        if (geteuid() == 0) {
                g_assert_cmpint(chown(directory->path, NOBODY, NOBODY), ==, 0);
                assert_unusable(directory, "chown daxbroker");
                g_assert_cmpint(chown(directory->path, 0, 0), ==, 0);
        }

        directory->config.sync = SYNC_DAX;
        assert_unusable(directory, "-o dax=always");
        directory->config.sync = SYNC_NONE;
        directory_look(directory);
}

static void test_elsewhere(Directory *directory) {
        g_autofree char *away = NULL, *other = NULL;
        Failure failure = { 0 };
        Piece piece;
        int fd;

        /* as if its file system were unmounted: below it there is another directory */
        directory_carve(directory, ID, MIB, &piece);
        away = g_strconcat(directory->path, ".away", NULL);
        g_assert_cmpint(g_rename(directory->path, away), ==, 0);
        g_assert_cmpint(provider_fsdax.open(&piece, false, &fd, &failure), ==, -ENODEV);
        g_assert_nonnull(strstr(failure.text, "not mounted"));
        g_assert_cmpint(g_mkdir(directory->path, 0700), ==, 0);
        g_assert_cmpint(provider_fsdax.open(&piece, false, &fd, &failure), ==, -ENODEV);
        g_assert_cmpint(provider_fsdax.write_record(&piece, ID, TEXT, &failure), ==, -ENODEV);
        g_assert_cmpint(provider_fsdax.revoke(&piece, &failure), ==, -ENODEV);
        g_assert_cmpint(provider_fsdax.resize(&piece, 2 * MIB, &failure), ==, -ENODEV);
        g_assert_cmpint(directory_list(directory), ==, 0);
        g_assert_cmpuint(directory->found.n_finds, ==, 0);

        g_assert_cmpint(g_rmdir(directory->path), ==, 0);
        g_assert_cmpint(g_rename(away, directory->path), ==, 0);
        directory_look(directory);
        g_assert_cmpuint(directory->found.n_finds, ==, 1);
        safe_close(holder_open(&piece, false));

        /* while it has something, it is not moved by a line in the configuration */
        other = directory_file(directory, "other");
        directory->config.path = other;
        reservation_take(&(Reservation){ 0 }, directory->region, 0);
        assert_unusable(directory, "takes a restart");
        directory->region->n_reservations = 0;
        directory->config.path = directory->path;
        directory_look(directory);
        piece_revoke(&piece);
}

static void test_account(Directory *directory) {
        Region *region = directory->region;
        Reservation reservation = { 0 };
        char size[] = "64M";
        Fsdax *fsdax;
        Piece piece;

        directory->config.size = size;
        directory_look(directory);
        fsdax = region->state;
        g_assert_cmpuint(region->foreign, ==, 0);
        directory_carve(directory, ID, 16 * MIB, &piece);
        reservation_take(&reservation, region, piece.length);
        directory_look(directory);
        g_assert_cmpuint(region_available(region), ==, 48 * MIB);

        /* somebody else takes nearly all that is left of the file system */
        fsdax->facts.available = 10 * MIB;
        g_assert_cmpint(region_configure(region, &directory->config), ==, 0);
        g_assert_cmpuint(region_available(region), ==, 10 * MIB);
        g_assert_cmpuint(region->foreign, ==, 38 * MIB);

        reservation_release(&reservation);
        piece_revoke(&piece);
        provider_fsdax.replenished(region);
        g_assert_cmpuint(region_available(region), ==, 64 * MIB);
}

/* ---- Requests ---- */

static void test_plan(Directory *directory) {
        Request request = { .size = 5000, .alignment = 1 };
        Failure failure = { 0 };
        Fsdax *fsdax;
        Piece piece;

        g_assert_cmpint(provider_fsdax.plan(directory->region, &request, &piece, &failure), ==, 0);
        g_assert_cmpuint(piece.length, ==, 8192);
        g_assert_cmpuint(piece.page_size, ==, 4096);
        request.alignment = FSDAX_HUGE_PAGE;
        g_assert_cmpint(provider_fsdax.plan(directory->region, &request, &piece, &failure), ==, 0);
        g_assert_cmpuint(piece.page_size, ==, 4096);
        request.page_size_set = true;
        request.page_size = FSDAX_HUGE_PAGE;
        g_assert_cmpint(provider_fsdax.plan(directory->region, &request, &piece, &failure), ==, -EINVAL);
        g_assert_nonnull(strstr(failure.text, "Sync=none"));

        fsdax = directory->region->state;
        fsdax->sync = SYNC_DAX;
        g_assert_cmpint(provider_fsdax.plan(directory->region, &request, &piece, &failure), ==, 0);
        g_assert_cmpuint(piece.length, ==, FSDAX_HUGE_PAGE);
        g_assert_true(piece.page_size_demanded);
        request.page_size = GIB;
        g_assert_cmpint(provider_fsdax.plan(directory->region, &request, &piece, &failure), ==, -EINVAL);
        request.page_size_set = false;
        g_assert_cmpint(provider_fsdax.plan(directory->region, &request, &piece, &failure), ==, 0);
        g_assert_cmpuint(piece.page_size, ==, FSDAX_HUGE_PAGE);
        g_assert_false(piece.page_size_demanded);
        request.alignment = 1;
        request.size = UINT64_MAX;
        g_assert_cmpint(provider_fsdax.plan(directory->region, &request, &piece, &failure), ==, -EINVAL);
        request.size = (uint64_t) INT64_MAX + 1;
        g_assert_cmpint(provider_fsdax.plan(directory->region, &request, &piece, &failure), ==, -EINVAL);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_BadSize);

        request = (Request){ .size = 1, .alignment = 1, .numa_node_set = true, .numa_node = 7 };
        g_assert_cmpint(provider_fsdax.plan(directory->region, &request, &piece, &failure), ==, -EINVAL);
        fsdax->sync = SYNC_NONE;
}

/* ---- Files ---- */

static void test_carve(Directory *directory) {
        g_autofree char *path = NULL;
        Failure failure = { 0 };
        char text[64] = "";
        struct stat st;
        Piece piece;
        int fd;

        /* nothing is to be seen of it before it is complete */
        directory_plan(directory, 3 * MIB, &piece);
        g_assert_cmpint(provider_fsdax.carve(&piece, ID, &failure), ==, 0);
        g_assert_cmpint(directory_list(directory), ==, 0);
        g_assert_cmpuint(directory->found.n_finds, ==, 0);
        fd = holder_open(&piece, false);
        g_assert_cmpuint(size_of(fd), ==, 3 * MIB);
        g_assert_true(is_zero(fd, 0, 3 * MIB));
        safe_close(fd);

        g_assert_cmpint(provider_fsdax.write_record(&piece, ID, TEXT, &failure), ==, 0);
        g_assert_cmpint(piece.fd, ==, -EBADF);
        g_assert_cmpstr(piece.handle, ==, ID);
        path = directory_file(directory, ID);
        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_cmpuint(st.st_mode, ==, S_IFREG | 0600);
        g_assert_cmpuint(st.st_nlink, ==, 1);
        g_assert_cmpuint((uint64_t) st.st_blocks * 512, >=, 3 * MIB);
        g_assert_cmpint(getxattr(path, ATTRIBUTE, text, sizeof(text)), ==, strlen(TEXT));
        g_assert_cmpstr(text, ==, TEXT);

        g_assert_cmpint(provider_fsdax.write_record(&piece, ID, "another one", &failure), ==, 0);
        directory_look(directory);
        g_assert_cmpuint(directory->found.n_finds, ==, 1);
        g_assert_cmpstr(directory->found.finds[0].id, ==, ID);
        g_assert_cmpstr(directory->found.finds[0].handle, ==, ID);
        g_assert_cmpstr(directory->found.finds[0].record, ==, "another one");
        g_assert_cmpuint(directory->found.finds[0].length, ==, 3 * MIB);
        g_assert_null(directory->found.finds[0].problem);
        piece_revoke(&piece);
}

static void test_refused(Directory *directory) {
        g_autofree char *path = NULL;
        Failure failure = { 0 };
        Piece piece, twin;

        directory_plan(directory, UINT64_C(1) << 46, &piece);
        g_assert_cmpint(provider_fsdax.carve(&piece, ID, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_NoSpace);
        g_assert_null(piece.handle);
        g_assert_cmpint(piece.fd, ==, -EBADF);
        piece_release(&piece);

        /* a name that is taken is not taken over */
        directory_carve(directory, ID, MIB, &piece);
        directory_plan(directory, MIB, &twin);
        g_assert_cmpint(provider_fsdax.carve(&twin, ID, &failure), ==, 0);
        g_assert_cmpint(provider_fsdax.write_record(&twin, ID, "not this", &failure), ==, -EEXIST);
        directory_look(directory);
        g_assert_cmpuint(directory->found.n_finds, ==, 1);
        g_assert_cmpstr(directory->found.finds[0].record, ==, TEXT);
        piece_close(&twin);
        piece_release(&twin);

        /* nor does a name reach anything else */
        g_free(piece.handle);
        piece.handle = g_strdup("../" ID);
        g_assert_cmpint(provider_fsdax.write_record(&piece, ID, TEXT, &failure), ==, -EINVAL);
        g_assert_cmpint(provider_fsdax.revoke(&piece, &failure), ==, -EINVAL);
        piece_release(&piece);
        piece = (Piece){ .fd = -EBADF, .fd_read_only = -EBADF, .handle = g_strdup("/etc/passwd") };
        g_assert_cmpint(provider_fsdax.claim(directory->region, &piece, &failure), <, 0);
        piece_done(&piece);
        path = directory_file(directory, ID);
        g_assert_cmpint(access(path, F_OK), ==, 0);
}

static void test_records(Directory *directory) {
        static char text[RECORD_SIZE_MAX + 1];
        g_autofree char *path = NULL;
        Failure failure = { 0 };
        Piece piece;

        directory_carve(directory, ID, MIB, &piece);
        path = directory_file(directory, ID);

        g_assert_cmpint(removexattr(path, ATTRIBUTE), ==, 0);
        directory_look(directory);
        g_assert_null(directory->found.finds[0].record);
        g_assert_nonnull(strstr(directory->found.finds[0].problem, "no record"));

        g_assert_cmpint(setxattr(path, ATTRIBUTE, "a\0b", 3, 0), ==, 0);
        directory_look(directory);
        g_assert_null(directory->found.finds[0].record);
        g_assert_nonnull(strstr(directory->found.finds[0].problem, "not text"));

        g_assert_cmpint(setxattr(path, ATTRIBUTE, "", 0, 0), ==, 0);
        directory_look(directory);
        g_assert_cmpstr(directory->found.finds[0].record, ==, "");

        /* not on all file systems is there room for this */
        memset(text, 'x', sizeof(text));
        if (setxattr(path, ATTRIBUTE, text, sizeof(text), 0) >= 0) {
                directory_look(directory);
                g_assert_null(directory->found.finds[0].record);
                g_assert_nonnull(strstr(directory->found.finds[0].problem, "too long"));
        }

        g_assert_cmpint(provider_fsdax.write_record(&piece, ID, TEXT, &failure), ==, 0);
        directory_look(directory);
        g_assert_cmpstr(directory->found.finds[0].record, ==, TEXT);

        g_assert_cmpint(unlink(path), ==, 0);
        g_assert_cmpint(provider_fsdax.write_record(&piece, ID, TEXT, &failure), ==, -ENOENT);
        piece_revoke(&piece);
}

/* Whatever else there is in the directory is neither listed nor touched. */
static void test_strangers(Directory *directory) {
        static const char *const names[] = { "notes.txt", "0123456789ABCDEF", ID "0", "0123456789abcde", ".hidden",
                                             "lost+found" };
        g_autofree char *symlink_path = NULL, *fifo = NULL, *folder = NULL, *twin = NULL, *path = NULL, *outside = NULL;
        g_autofree char *theirs = NULL, *empty = NULL;
        int leased;
        Piece piece;

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *name = directory_file(directory, names[i]);

                g_assert_true(g_file_set_contents(name, "theirs", -1, NULL));
        }
        symlink_path = directory_file(directory, "1111111111111111");
        g_assert_cmpint(symlink("/etc/passwd", symlink_path), ==, 0);
        fifo = directory_file(directory, "2222222222222222");
        g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
        folder = directory_file(directory, "3333333333333333");
        g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
        theirs = directory_file(directory, "4444444444444444");
        g_assert_true(g_file_set_contents(theirs, "theirs", -1, NULL));
        if (geteuid() == 0)
                g_assert_cmpint(chown(theirs, NOBODY, NOBODY), ==, 0);
        else
                g_assert_cmpint(unlink(theirs), ==, 0);

        /* what we have emptied, and died before it was removed */
        empty = directory_file(directory, "5555555555555555");
        g_assert_true(g_file_set_contents(empty, "", 0, NULL));

        directory_carve(directory, ID, MIB, &piece);
        directory_look(directory);
        g_assert_cmpuint(directory->found.n_finds, ==, 1);
        g_assert_cmpstr(directory->found.finds[0].id, ==, ID);
        g_assert_cmpint(access(empty, F_OK), ==, -1);
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *name = directory_file(directory, names[i]);

                g_assert_cmpint(access(name, F_OK), ==, 0);
        }

        /* one that cannot be read is nothing to the others: here it is somebody's, who has a lease of it */
        outside = directory_file(directory, OTHER);
        g_assert_true(g_file_set_contents(outside, "x", -1, NULL));
        leased = open(outside, O_RDWR | O_CLOEXEC);
        g_assert_cmpint(fcntl(leased, F_SETSIG, SIGURG), ==, 0);
        g_assert_cmpint(fcntl(leased, F_SETLEASE, F_WRLCK), ==, 0);
        directory_look(directory);
        g_assert_cmpuint(directory->found.n_finds, ==, 1);
        safe_close(leased);
        g_assert_cmpint(unlink(outside), ==, 0);
        g_free(outside);

        /* another name outside is a backup; inside it would be somebody else's memory, too */
        path = directory_file(directory, ID);
        outside = g_strconcat(directory->path, ".link", NULL);
        g_assert_cmpint(link(path, outside), ==, 0);
        directory_look(directory);
        g_assert_cmpuint(directory->found.n_finds, ==, 1);
        g_assert_cmpint(unlink(outside), ==, 0);
        twin = directory_file(directory, OTHER);
        g_assert_cmpint(link(path, twin), ==, 0);
        directory_look(directory);
        g_assert_cmpuint(directory->found.n_finds, ==, 1);
        g_assert_cmpint(unlink(twin), ==, 0);

        /* what takes the place of ours is not ours */
        g_assert_cmpint(unlink(path), ==, 0);
        g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
        piece_revoke(&piece);
        g_assert_cmpint(access(path, F_OK), ==, 0);
}

/* ---- Zeros ---- */

static void test_zero(Directory *directory) {
        _cleanup_close_ int dir_fd = open(directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -EBADF;
        _Atomic uint64_t progress = 0;
        atomic_bool stop = false;
        char byte;

        g_assert_cmpint(fsdax_file_make(dir_fd, &fd), ==, 0);
        for (unsigned i = 0; i < 5; i++)
                for (unsigned j = 0; j < MIB / 4096; j++)
                        g_assert_cmpint(pwrite(fd, "x", 1, (off_t) (i * MIB + j * 4096)), ==, 1);
        g_assert_cmpint(fsdax_file_zero(fd, 4097, 4 * MIB + 5, NULL, &progress, &stop), ==, 0);
        g_assert_cmpuint(progress, ==, 4 * MIB + 5);
        g_assert_true(is_zero(fd, 4097, 4 * MIB + 5));
        g_assert_cmpint(pread(fd, &byte, 1, 4096), ==, 1);
        g_assert_cmpint(byte, ==, 'x');
        g_assert_cmpint(pread(fd, &byte, 1, 4 * MIB + 4096), ==, 1);
        g_assert_cmpint(byte, ==, 'x');

        stop = true;
        g_assert_cmpint(fsdax_file_zero(fd, 0, 4097, NULL, NULL, &stop), ==, -ECANCELED);
        g_assert_cmpint(pread(fd, &byte, 1, 4096), ==, 1);
        g_assert_cmpint(byte, ==, 'x');
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        directory_add_test("/fsdax/region", test_region);
        directory_add_test("/fsdax/same", test_same);
        directory_add_test("/fsdax/unusable", test_unusable);
        directory_add_test("/fsdax/elsewhere", test_elsewhere);
        directory_add_test("/fsdax/account", test_account);
        directory_add_test("/fsdax/plan", test_plan);
        directory_add_test("/fsdax/carve", test_carve);
        directory_add_test("/fsdax/refused", test_refused);
        directory_add_test("/fsdax/records", test_records);
        directory_add_test("/fsdax/strangers", test_strangers);
        directory_add_test("/fsdax/zero", test_zero);
        return g_test_run();
}
