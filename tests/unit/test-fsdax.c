/* SPDX-License-Identifier: MIT */

/* Files that are memory, in a directory of this machine: each has its record before it has its name; what is in the directory
 * and is none of ours stays there; and whatever a holder does to his file, it ends as its record says. DAX there is none here,
 * so what takes that is tried in emulated machines. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "fsdax.h"
#include "record.h"
#include "size.h"

#define ID "0123456789abcdef"
#define OTHER "fedcba9876543210"
#define ATTRIBUTE "user.daxbroker.record"
#define TEXT "a record\n"
#define NOBODY 65534

typedef struct Directory {
        char *path;
        RegionConfig config;
        Region *region;
        Inventory found;
        Failure failure;
} Directory;

static char provider_name[] = "fsdax", region_name[] = "files";

static char *directory_file(const Directory *directory, const char *name) {
        return g_build_filename(directory->path, name, NULL);
}

static int directory_list(Directory *directory) {
        inventory_done(&directory->found);
        directory->failure = (Failure){ 0 };
        return provider_fsdax.list(directory->region, &directory->found, &directory->failure);
}

static void directory_look(Directory *directory) {
        g_assert_cmpint(region_configure(directory->region, &directory->config), ==, 0);
        if (directory_list(directory) < 0)
                g_error("cannot list: %s", directory->failure.text);
        directory->region->listed = true;
        g_assert_cmpint(region_configure(directory->region, &directory->config), ==, 0);
        g_assert_cmpstr(directory->region->reason, ==, NULL);
}

/* Why there can be no such region here, or NULL. */
static const char *directory_problem(const char *path) {
        _cleanup_close_ int fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

        if (fd < 0)
                return "the file system has no files without a name";
        return fsetxattr(fd, ATTRIBUTE, "", 0, 0) < 0 ? "the file system keeps no attributes of users" : NULL;
}

static void directory_make(Directory *directory, const void *data) {
        const char *problem;

        (void) data;
        directory->path = g_dir_make_tmp("test-fsdax-XXXXXX", NULL);
        g_assert_nonnull(directory->path);
        problem = directory_problem(directory->path);
        if (problem) {
                g_test_skip(problem);
                return;
        }

        directory->config = config_region_default(region_name);
        directory->config.provider = provider_name;
        directory->config.path = directory->path;
        directory->config.sync = SYNC_NONE;
        g_assert_cmpint(region_new(&directory->config, NULL, -EBADF, &directory->region), ==, 0);
        directory_look(directory);
}

static void directory_remove(Directory *directory, const void *data) {
        g_autofree char *command = g_strdup_printf("chattr -R -i %s 2>/dev/null; rm -rf %s", directory->path, directory->path);

        (void) data;
        inventory_done(&directory->found);
        region_free(directory->region);
        g_assert_cmpint(system(command), ==, 0);
        g_free(directory->path);
}

static void add_test(const char *path, void (*test)(Directory *, const void *)) {
        g_test_add(path, Directory, NULL, directory_make, test, directory_remove);
}

/* ---- Pieces ---- */

static void plan(Directory *directory, uint64_t size, Piece *piece) {
        Request request = { .size = size, .alignment = 4096, .persistent = true };
        Failure failure = { 0 };

        g_assert_cmpint(provider_fsdax.plan(directory->region, &request, piece, &failure), ==, 0);
        g_assert_cmpint(provider_fsdax.reserve(directory->region, piece, &failure), ==, 0);
}

static void carve(Directory *directory, const char *id, uint64_t size, Piece *piece) {
        Failure failure = { 0 };

        plan(directory, size, piece);
        if (provider_fsdax.carve(piece, id, &failure) < 0 || provider_fsdax.write_record(piece, id, TEXT, &failure) < 0)
                g_error("cannot carve: %s", failure.text);
}

static void release(Piece *piece) {
        provider_fsdax.release(piece);
        piece_done(piece);
}

static void piece_revoke(Piece *piece) {
        Failure failure = { 0 };

        if (provider_fsdax.revoke(piece, &failure) < 0)
                g_error("cannot revoke: %s", failure.text);
        release(piece);
}

static int holder_open(Piece *piece, bool read_only) {
        Failure failure = { 0 };
        int fd;

        if (provider_fsdax.open(piece, read_only, &fd, &failure) < 0)
                g_error("cannot open: %s", failure.text);
        return fd;
}

static bool is_zero(int fd, uint64_t start, uint64_t end) {
        static const char zeros[65536];
        char buffer[sizeof(zeros)];

        for (uint64_t n; start < end; start += n) {
                n = MIN(end - start, sizeof(buffer));
                if (pread(fd, buffer, n, (off_t) start) != (ssize_t) n || memcmp(buffer, zeros, n) != 0)
                        return false;
        }
        return true;
}

static uint64_t size_of(int fd) {
        struct stat st;

        g_assert_cmpint(fstat(fd, &st), ==, 0);
        return (uint64_t) st.st_size;
}

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

static void test_region(Directory *directory, const void *data) {
        Region *region = directory->region;
        char small[] = "16M", part[] = "25%", bad[] = "infinity";
        uint64_t whole;

        (void) data;
        if (!region)
                return;

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

static void test_unusable(Directory *directory, const void *data) {
        g_autofree char *path = NULL;
        char nowhere[] = "/nowhere/at/all";

        (void) data;
        if (!directory->region)
                return;

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

static void test_elsewhere(Directory *directory, const void *data) {
        g_autofree char *away = NULL, *other = NULL;
        Failure failure = { 0 };
        Piece piece;
        int fd;

        (void) data;
        if (!directory->region)
                return;

        /* as if its file system were unmounted: below it there is another directory */
        carve(directory, ID, MIB, &piece);
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

static void test_account(Directory *directory, const void *data) {
        Region *region = directory->region;
        Reservation reservation = { 0 };
        char size[] = "64M";
        Fsdax *fsdax;
        Piece piece;

        (void) data;
        if (!region)
                return;

        directory->config.size = size;
        directory_look(directory);
        fsdax = region->state;
        g_assert_cmpuint(region->foreign, ==, 0);
        carve(directory, ID, 16 * MIB, &piece);
        reservation_take(&reservation, region, piece.length);
        directory_look(directory);
        g_assert_cmpuint(fsdax_facts(fsdax).ours, ==, 16 * MIB);
        g_assert_cmpuint(region_available(region), ==, 48 * MIB);

        /* somebody else takes nearly all that is left of the file system */
        fsdax->facts.available = 10 * MIB;
        g_assert_cmpint(region_configure(region, &directory->config), ==, 0);
        g_assert_cmpuint(region_available(region), ==, 10 * MIB);
        g_assert_cmpuint(region->foreign, ==, 38 * MIB);

        reservation_release(&reservation);
        piece_revoke(&piece);
        g_assert_cmpuint(fsdax->ours, ==, 0);
        g_assert_cmpuint(region_available(region), ==, 64 * MIB);
}

/* ---- Requests ---- */

static void test_plan(Directory *directory, const void *data) {
        Request request = { .size = 5000, .alignment = 1 };
        Failure failure = { 0 };
        Fsdax *fsdax;
        Piece piece;

        (void) data;
        if (!directory->region)
                return;

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

static void test_carve(Directory *directory, const void *data) {
        g_autofree char *path = NULL;
        Failure failure = { 0 };
        char text[64] = "";
        struct stat st;
        Piece piece;
        int fd;

        (void) data;
        if (!directory->region)
                return;

        /* nothing is to be seen of it before it is complete */
        plan(directory, 3 * MIB, &piece);
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

static void test_refused(Directory *directory, const void *data) {
        g_autofree char *path = NULL;
        Failure failure = { 0 };
        Piece piece, twin;

        (void) data;
        if (!directory->region)
                return;

        plan(directory, UINT64_C(1) << 46, &piece);
        g_assert_cmpint(provider_fsdax.carve(&piece, ID, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_NoSpace);
        g_assert_null(piece.handle);
        g_assert_cmpint(piece.fd, ==, -EBADF);
        release(&piece);

        /* a name that is taken is not taken over */
        carve(directory, ID, MIB, &piece);
        plan(directory, MIB, &twin);
        g_assert_cmpint(provider_fsdax.carve(&twin, ID, &failure), ==, 0);
        g_assert_cmpint(provider_fsdax.write_record(&twin, ID, "not this", &failure), ==, -EEXIST);
        directory_look(directory);
        g_assert_cmpuint(directory->found.n_finds, ==, 1);
        g_assert_cmpstr(directory->found.finds[0].record, ==, TEXT);
        piece_close(&twin);
        release(&twin);

        /* nor does a name reach anything else */
        g_free(piece.handle);
        piece.handle = g_strdup("../" ID);
        g_assert_cmpint(provider_fsdax.write_record(&piece, ID, TEXT, &failure), ==, -EINVAL);
        g_assert_cmpint(provider_fsdax.revoke(&piece, &failure), ==, -EINVAL);
        release(&piece);
        piece = (Piece){ .fd = -EBADF, .fd_read_only = -EBADF, .handle = g_strdup("/etc/passwd") };
        g_assert_cmpint(provider_fsdax.claim(directory->region, &piece, &failure), <, 0);
        piece_done(&piece);
        path = directory_file(directory, ID);
        g_assert_cmpint(access(path, F_OK), ==, 0);
}

static void test_records(Directory *directory, const void *data) {
        static char text[RECORD_SIZE_MAX + 1];
        g_autofree char *path = NULL;
        Failure failure = { 0 };
        Piece piece;

        (void) data;
        if (!directory->region)
                return;

        carve(directory, ID, MIB, &piece);
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
static void test_strangers(Directory *directory, const void *data) {
        static const char *const names[] = { "notes.txt", "0123456789ABCDEF", ID "0", "0123456789abcde", ".hidden", "lost+found" };
        g_autofree char *symlink_path = NULL, *fifo = NULL, *folder = NULL, *twin = NULL, *path = NULL, *outside = NULL;
        g_autofree char *theirs = NULL;
        Piece piece;

        (void) data;
        if (!directory->region)
                return;

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

        carve(directory, ID, MIB, &piece);
        directory_look(directory);
        g_assert_cmpuint(directory->found.n_finds, ==, 1);
        g_assert_cmpstr(directory->found.finds[0].id, ==, ID);
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *name = directory_file(directory, names[i]);

                g_assert_cmpint(access(name, F_OK), ==, 0);
        }

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

/* ---- Holders ---- */

static bool landlock_truncates(void) {
        return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 3;
}

static void test_open(Directory *directory, const void *data) {
        Piece piece;
        int fd;

        (void) data;
        if (!directory->region)
                return;

        carve(directory, ID, MIB, &piece);
        fd = holder_open(&piece, true);
        g_assert_cmpint(pwrite(fd, "x", 1, 0), ==, -1);
        g_assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
        safe_close(fd);

        fd = holder_open(&piece, false);
        g_assert_cmpint(pwrite(fd, "x", 1, 0), ==, 1);
        g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);

        /* a descriptor is no way to another one, and through that to the record or to rights that it does not have */
        if (geteuid() == 0) {
                pid_t child = fork();
                int status;

                if (child == 0) {
                        char path[64];

                        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
                        if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
                                _exit(1);
                        if (open(path, O_RDWR) >= 0 || open(path, O_RDONLY) >= 0)
                                _exit(2);
                        if (fsetxattr(fd, ATTRIBUTE, "mine", 4, 0) >= 0 && geteuid() != 0)
                                _exit(3);
                        _exit(fchmod(fd, 0666) >= 0 ? 4 : 0);
                }
                g_assert_cmpint(waitpid(child, &status, 0), ==, child);
                g_assert_true(WIFEXITED(status));
                g_assert_cmpint(WEXITSTATUS(status), ==, 0);
        }
        safe_close(fd);
        piece_revoke(&piece);
}

static void test_truncate(Directory *directory, const void *data) {
        Piece piece;
        int fd;

        (void) data;
        if (!directory->region)
                return;
        if (!landlock_truncates()) {
                g_test_skip("this kernel's Landlock does not know of truncating");
                return;
        }

        carve(directory, ID, MIB, &piece);
        fd = holder_open(&piece, false);
        g_assert_cmpint(ftruncate(fd, 0), ==, -1);
        g_assert_cmpint(ftruncate(fd, 2 * MIB), ==, -1);
        g_assert_cmpuint(size_of(fd), ==, MIB);
        safe_close(fd);
        piece_revoke(&piece); /* which we still may */
}

/* Stands for all that holders can do to the length where nothing keeps them from it. */
static void do_to_file(const Directory *directory, uint64_t length, int fallocate_mode) {
        g_autofree char *path = directory_file(directory, ID);
        _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(pwrite(fd, "kept", 4, 0), ==, 4);
        if (fallocate_mode >= 0)
                g_assert_cmpint(fallocate(fd, fallocate_mode, 0, (off_t) length), ==, 0);
        else
                g_assert_cmpint(ftruncate(fd, (off_t) length), ==, 0);
}

static void assert_as_it_was(Piece *piece, uint64_t zeros_from) {
        char text[4] = "";
        struct stat st;
        int fd;

        fd = holder_open(piece, false);
        g_assert_cmpint(fstat(fd, &st), ==, 0);
        g_assert_cmpuint((uint64_t) st.st_size, ==, piece->length);
        g_assert_cmpuint((uint64_t) st.st_blocks * 512, <, piece->length + MIB / 2);
        g_assert_cmpint(fsdax_extents_beyond(fd, piece->length), ==, 0);
        g_assert_cmpint(pread(fd, text, 4, 0), ==, 4);
        g_assert_cmpmem(text, 4, "kept", 4);
        g_assert_true(is_zero(fd, zeros_from, piece->length));
        safe_close(fd);
}

static void test_tricks(Directory *directory, const void *data) {
        Failure failure = { 0 };
        Piece piece;

        (void) data;
        if (!directory->region)
                return;

        carve(directory, ID, 2 * MIB, &piece);
        do_to_file(directory, 8 * MIB, -1);
        assert_as_it_was(&piece, 4);
        do_to_file(directory, 8 * MIB, 0);
        assert_as_it_was(&piece, 4);
        do_to_file(directory, 8 * MIB, FALLOC_FL_KEEP_SIZE);
        assert_as_it_was(&piece, 4);
        do_to_file(directory, 4096, -1);
        assert_as_it_was(&piece, 4);
        do_to_file(directory, 1, FALLOC_FL_KEEP_SIZE);
        assert_as_it_was(&piece, 4);

        /* also before it gets another length */
        do_to_file(directory, 8 * MIB, -1);
        g_assert_cmpint(provider_fsdax.resize(&piece, 3 * MIB, &failure), ==, 0);
        piece.length = 3 * MIB;
        assert_as_it_was(&piece, 4);
        piece_revoke(&piece);
}

static void test_revoke(Directory *directory, const void *data) {
        g_autofree char *path = NULL;
        Failure failure = { 0 };
        const char *mapping;
        pid_t child;
        Piece piece;
        int fd, status;

        (void) data;
        if (!directory->region)
                return;

        carve(directory, ID, MIB, &piece);
        path = directory_file(directory, ID);
        fd = holder_open(&piece, false);
        mapping = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        g_assert_true(mapping != MAP_FAILED);
        g_assert_cmpint(*(const volatile char *) mapping, ==, 0);

        g_assert_cmpint(provider_fsdax.revoke(&piece, &failure), ==, 0);
        g_assert_cmpint(access(path, F_OK), ==, -1);
        g_assert_cmpuint(size_of(fd), ==, 0);
        child = fork();
        if (child == 0) {
                (void) signal(SIGBUS, SIG_DFL);
                _exit(*(const volatile char *) mapping);
        }
        g_assert_cmpint(waitpid(child, &status, 0), ==, child);
        g_assert_true(WIFSIGNALED(status));
        g_assert_cmpint(WTERMSIG(status), ==, SIGBUS);
        g_assert_cmpint(munmap((void *) (uintptr_t) mapping, MIB), ==, 0);
        safe_close(fd);

        /* once more is as good */
        piece_revoke(&piece);
}

static void test_resize(Directory *directory, const void *data) {
        Fsdax *fsdax;
        Failure failure = { 0 };
        Piece piece;
        int fd;

        (void) data;
        if (!directory->region)
                return;

        fsdax = directory->region->state;
        carve(directory, ID, MIB, &piece);
        fd = holder_open(&piece, false);
        g_assert_cmpint(pwrite(fd, "kept", 4, 0), ==, 4);
        g_assert_cmpint(pwrite(fd, "lost", 4, MIB - 4), ==, 4);

        g_assert_cmpint(provider_fsdax.resize(&piece, 4 * MIB, &failure), ==, 0);
        piece.length = 4 * MIB;
        g_assert_cmpuint(fsdax->ours, ==, 4 * MIB);
        g_assert_cmpuint(size_of(fd), ==, 4 * MIB);
        g_assert_true(is_zero(fd, MIB, 4 * MIB));
        g_assert_cmpint(provider_fsdax.resize(&piece, 64 * 1024, &failure), ==, 0);
        piece.length = 64 * 1024;
        g_assert_cmpuint(fsdax->ours, ==, 64 * 1024);
        g_assert_cmpuint(size_of(fd), ==, 64 * 1024);
        g_assert_cmpint(provider_fsdax.resize(&piece, MIB, &failure), ==, 0);
        piece.length = MIB;
        assert_as_it_was(&piece, 4);

        g_assert_cmpint(provider_fsdax.resize(&piece, UINT64_C(1) << 46, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_NoSpace);
        g_assert_cmpuint(fsdax->ours, ==, MIB);
        assert_as_it_was(&piece, 4);
        safe_close(fd);
        piece_revoke(&piece);
}

static void test_seal(Directory *directory, const void *data) {
        Failure failure = { 0 };
        Fsdax *fsdax;
        Piece piece;
        int fd;

        (void) data;
        if (!directory->region)
                return;
        fsdax = directory->region->state;
        carve(directory, ID, MIB, &piece);
        fd = holder_open(&piece, false);
        g_assert_false(fsdax_file_is_sealed(fd));
        fsdax->facts.can_seal = fsdax_file_seal(fd, true) >= 0 && fsdax_file_seal(fd, false) >= 0;
        safe_close(fd);
        if (!fsdax->facts.can_seal) {
                g_test_skip("files cannot be made immutable here");
                piece_revoke(&piece);
                return;
        }
        safe_close(holder_open(&piece, true));
        fd = holder_open(&piece, true);
        g_assert_false(fsdax_file_is_sealed(fd));
        safe_close(fd);
        fd = holder_open(&piece, false);
        g_assert_true(fsdax_file_is_sealed(fd));
        g_assert_cmpint(ftruncate(fd, 0), ==, -1);
        g_assert_cmpint(fallocate(fd, 0, 0, 2 * MIB), ==, -1);
        g_assert_cmpint(pwrite(fd, "x", 1, 2 * MIB), ==, -1);

        g_assert_cmpint(provider_fsdax.write_record(&piece, ID, "another one", &failure), ==, 0);
        g_assert_true(fsdax_file_is_sealed(fd));
        directory_look(directory);
        g_assert_cmpstr(directory->found.finds[0].record, ==, "another one");
        g_assert_cmpint(provider_fsdax.resize(&piece, 2 * MIB, &failure), ==, 0);
        piece.length = 2 * MIB;
        g_assert_true(fsdax_file_is_sealed(fd));
        g_assert_cmpuint(size_of(fd), ==, 2 * MIB);
        safe_close(holder_open(&piece, true));
        g_assert_true(fsdax_file_is_sealed(fd));
        safe_close(fd);
        piece_revoke(&piece);
}

/* ---- Zeros ---- */

static void test_zero(Directory *directory, const void *data) {
        _cleanup_close_ int dir_fd = open(directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -EBADF;
        _Atomic uint64_t progress = 0;
        atomic_bool stop = false;
        char byte;

        (void) data;
        if (!directory->region)
                return;

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

/* ---- Where they lie ---- */

#define H FSDAX_HUGE_PAGE

static FsdaxExtents extents_of(FsdaxExtent *extents, size_t n) {
        return (FsdaxExtents){ .extents = extents, .n_extents = n, .known = true };
}

static void test_huge(void) {
        FsdaxExtent one[] = { { 0, 16 * H, 4 * H } }, off[] = { { 0, 16 * H + 4096, 4 * H } };
        FsdaxExtent two[] = { { 0, 16 * H, H }, { H, 4 * H, 3 * H } };
        FsdaxExtent split[] = { { 0, 16 * H, H / 2 }, { H / 2, 8 * H + H / 2, 3 * H + H / 2 } };
        FsdaxExtents extents = extents_of(one, 1);

        g_assert_true(fsdax_extents_are_huge(&extents, 4 * H, 0));
        g_assert_false(fsdax_extents_are_huge(&extents, 4 * H, 4096));
        g_assert_false(fsdax_extents_are_huge(&extents, 4 * H - 4096, 0));
        extents.known = false;
        g_assert_false(fsdax_extents_are_huge(&extents, 4 * H, 0));

        extents = extents_of(off, 1);
        g_assert_false(fsdax_extents_are_huge(&extents, 4 * H, 0));
        g_assert_true(fsdax_extents_are_huge(&extents, 4 * H, H - 4096));
        extents = extents_of(two, 2);
        g_assert_true(fsdax_extents_are_huge(&extents, 4 * H, 0));
        extents = extents_of(split, 2);
        g_assert_false(fsdax_extents_are_huge(&extents, 4 * H, 0));
}

/* What is left after the cuts, made one after the other in a copy. */
static void assert_cuts(const FsdaxExtents *extents, uint64_t from, uint64_t skew, uint64_t left) {
        uint64_t total = 0, last = UINT64_MAX, cut = 0, found;
        FsdaxExtents cuts;

        for (size_t i = 0; i < extents->n_extents; i++)
                total += extents->extents[i].length;
        g_assert_cmpint(fsdax_extents_misplaced(extents, from, skew, &cuts, &found), ==, 0);
        g_assert_cmpuint(found, ==, left);
        for (size_t i = 0; i < cuts.n_extents; i++) {
                g_assert_cmpuint(cuts.extents[i].logical, >=, from);
                g_assert_cmpuint(cuts.extents[i].logical + cuts.extents[i].length, <=, last);
                last = cuts.extents[i].logical;
                cut += cuts.extents[i].length;
        }
        g_assert_cmpuint(total - cut, ==, left);
        fsdax_extents_done(&cuts);
}

static void test_misplaced(void) {
        FsdaxExtent right[] = { { 0, 16 * H, 4 * H } }, off[] = { { 0, 16 * H + 4096, 4 * H } };
        FsdaxExtent pieces[] = { { 0, 16 * H + 4096, 2 * H }, { 2 * H, 40 * H, H / 2 }, { 2 * H + H / 2, 50 * H, 3 * H + 4096 } };
        FsdaxExtents extents = extents_of(right, 1);

        assert_cuts(&extents, 0, 0, 4 * H);
        assert_cuts(&extents, 2 * H, 0, 4 * H);
        assert_cuts(&extents, 0, 4096, 3 * H);
        extents = extents_of(off, 1);
        assert_cuts(&extents, 0, 0, 3 * H);
        assert_cuts(&extents, 2 * H, 0, 3 * H); /* the first two stay as they are */
        assert_cuts(&extents, 0, H - 4096, 4 * H);
        extents = extents_of(pieces, 3);
        assert_cuts(&extents, 0, 0, 4 * H);
        extents = extents_of(NULL, 0);
        assert_cuts(&extents, 0, 0, 0);
}

static void test_allocate(Directory *directory, const void *data) {
        _cleanup_close_ int dir_fd = open(directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -EBADF;
        FsdaxExtents extents;

        (void) data;
        if (!directory->region)
                return;

        /* wherever the device begins, it can be had */
        for (uint64_t skew = 0; skew < H; skew += H / 2) {
                g_assert_cmpint(fsdax_file_make(dir_fd, &fd), ==, 0);
                g_assert_cmpint(fsdax_extents_allocate(fd, 0, 16 * MIB, true, skew), ==, 0);
                g_assert_cmpuint(size_of(fd), ==, 16 * MIB);
                g_assert_cmpint(fsdax_extents_beyond(fd, 16 * MIB), ==, 0);
                if (fsdax_extents_read(fd, 16 * MIB, &extents) < 0) {
                        g_test_skip("the file system does not say where files lie");
                        return;
                }
                g_assert_true(extents.known);
                if (!fsdax_extents_are_huge(&extents, 16 * MIB, skew))
                        g_test_message("%zu extents, not as huge pages have to lie", extents.n_extents);
                fsdax_extents_done(&extents);
                fd = safe_close(fd);
        }

        /* a hole is nowhere */
        g_assert_cmpint(fsdax_file_make(dir_fd, &fd), ==, 0);
        g_assert_cmpint(ftruncate(fd, MIB), ==, 0);
        g_assert_cmpint(fsdax_extents_read(fd, MIB, &extents), ==, 0);
        g_assert_false(extents.known);
        fsdax_extents_done(&extents);
        g_assert_cmpint(fallocate(fd, FALLOC_FL_KEEP_SIZE, MIB, MIB), ==, 0);
        g_assert_cmpint(fsdax_extents_beyond(fd, MIB), ==, 1);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);

        add_test("/fsdax/region", test_region);
        add_test("/fsdax/unusable", test_unusable);
        add_test("/fsdax/elsewhere", test_elsewhere);
        add_test("/fsdax/account", test_account);
        add_test("/fsdax/plan", test_plan);
        add_test("/fsdax/carve", test_carve);
        add_test("/fsdax/refused", test_refused);
        add_test("/fsdax/records", test_records);
        add_test("/fsdax/strangers", test_strangers);
        add_test("/fsdax/open", test_open);
        add_test("/fsdax/truncate", test_truncate);
        add_test("/fsdax/tricks", test_tricks);
        add_test("/fsdax/revoke", test_revoke);
        add_test("/fsdax/resize", test_resize);
        add_test("/fsdax/seal", test_seal);
        add_test("/fsdax/zero", test_zero);
        g_test_add_func("/fsdax/huge", test_huge);
        g_test_add_func("/fsdax/misplaced", test_misplaced);
        add_test("/fsdax/allocate", test_allocate);
        return g_test_run();
}
