/* SPDX-License-Identifier: MIT */

#include "fsdax-directory.h"

#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"

static char provider_name[] = "fsdax", region_name[] = "files";

char *directory_file(const Directory *directory, const char *name) {
        return g_build_filename(directory->path, name, NULL);
}

int directory_list(Directory *directory) {
        inventory_done(&directory->found);
        directory->failure = (Failure){ 0 };
        return provider_fsdax.list(directory->region, &directory->found, &directory->failure);
}

void directory_look(Directory *directory) {
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

static void directory_make(Directory *directory) {
        const char *problem;

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

static void directory_remove(Directory *directory) {
        g_autofree char *command = g_strdup_printf("chattr -R -i %1$s 2>/dev/null; rm -rf %1$s", directory->path);

        inventory_done(&directory->found);
        region_free(directory->region);
        g_assert_cmpint(system(command), ==, 0);
        g_free(directory->path);
}

typedef struct Case {
        void (*test)(Directory *directory);
} Case;

static void run(const void *data) {
        const Case *meant = data;
        Directory directory = {};

        directory_make(&directory);
        if (directory.region)
                meant->test(&directory);
        directory_remove(&directory);
}

void directory_add_test(const char *path, void (*test)(Directory *directory)) {
        Case *added = g_new(Case, 1);

        added->test = test;
        g_test_add_data_func_full(path, added, run, g_free);
}

void directory_plan(Directory *directory, uint64_t size, Piece *piece) {
        Request request = { .size = size, .alignment = 4096, .persistent = true };
        Failure failure = { 0 };

        g_assert_cmpint(provider_fsdax.plan(directory->region, &request, piece, &failure), ==, 0);
        g_assert_cmpint(provider_fsdax.reserve(directory->region, piece, &failure), ==, 0);
}

void directory_carve(Directory *directory, const char *id, uint64_t size, Piece *piece) {
        Failure failure = { 0 };

        directory_plan(directory, size, piece);
        if (provider_fsdax.carve(piece, id, &failure) < 0 || provider_fsdax.write_record(piece, id, TEXT, &failure) < 0)
                g_error("cannot carve: %s", failure.text);
}

void piece_release(Piece *piece) {
        provider_fsdax.release(piece);
        piece_done(piece);
}

void piece_revoke(Piece *piece) {
        Failure failure = { 0 };

        if (provider_fsdax.revoke(piece, &failure) < 0)
                g_error("cannot revoke: %s", failure.text);
        piece_release(piece);
}

int holder_open(Piece *piece, bool read_only) {
        Failure failure = { 0 };
        int fd;

        if (provider_fsdax.open(piece, read_only, &fd, &failure) < 0)
                g_error("cannot open: %s", failure.text);
        return fd;
}

bool is_zero(int fd, uint64_t start, uint64_t end) {
        static const char zeros[65536];
        char buffer[sizeof(zeros)];

        for (uint64_t n; start < end; start += n) {
                n = MIN(end - start, sizeof(buffer));
                if (pread(fd, buffer, n, (off_t) start) != (ssize_t) n || memcmp(buffer, zeros, n) != 0)
                        return false;
        }
        return true;
}

uint64_t size_of(int fd) {
        struct stat st;

        g_assert_cmpint(fstat(fd, &st), ==, 0);
        return (uint64_t) st.st_size;
}
