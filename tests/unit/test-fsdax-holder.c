/* SPDX-License-Identifier: MIT */

/* What holders can do with a file that is their memory, and what becomes of it: it is made as long as its record says, it
 * cannot be kept by who has a descriptor, and what holders do to its length is heard of. */

#include "fsdax-directory.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "record.h"
#include "size.h"

#define OWNER_ATTRIBUTE "user.daxbroker.owner"

/* ---- What they have ---- */

static bool landlock_truncates(void) {
        return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 3;
}

static void test_open(Directory *directory) {
        Piece piece;
        int fd;

        directory_carve(directory, ID, MIB, &piece);
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

static void test_truncate(Directory *directory) {
        Piece piece;
        int fd;

        if (!landlock_truncates()) {
                g_test_skip("this kernel's Landlock does not know of truncating");
                return;
        }

        directory_carve(directory, ID, MIB, &piece);
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

static void assert_beyond(const Directory *directory, uint64_t length, bool expected) {
        g_autofree char *path = directory_file(directory, ID);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(fsdax_extents_beyond(fd, length) > 0, ==, expected);
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

static void test_tricks(Directory *directory) {
        struct rlimit before, none;
        Failure failure = { 0 };
        Piece piece;

        directory_carve(directory, ID, 2 * MIB, &piece);
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

        /* shorter, and yet with more than its share */
        do_to_file(directory, 4096, -1);
        do_to_file(directory, 8 * MIB, FALLOC_FL_KEEP_SIZE);
        g_assert_cmpint(provider_fsdax.inspect(&piece, &failure), ==, 0);
        assert_beyond(directory, piece.length, false);
        assert_as_it_was(&piece, 4);
        do_to_file(directory, 4096, -1);
        do_to_file(directory, 8 * MIB, FALLOC_FL_KEEP_SIZE);
        assert_as_it_was(&piece, 4);

        /* what keeps us for a moment is no reason to end it */
        do_to_file(directory, 8 * MIB, -1);
        g_assert_cmpint(getrlimit(RLIMIT_SIGPENDING, &before), ==, 0);
        none = (struct rlimit){ .rlim_cur = 0, .rlim_max = before.rlim_max };
        g_assert_cmpint(setrlimit(RLIMIT_SIGPENDING, &none), ==, 0); /* there is no timer to be had */
        g_assert_cmpint(provider_fsdax.inspect(&piece, &failure), <, 0);
        g_assert_cmpint(failure.refusal, !=, REFUSAL_QuotaExceeded);
        g_assert_cmpint(setrlimit(RLIMIT_SIGPENDING, &before), ==, 0);
        g_assert_cmpint(provider_fsdax.inspect(&piece, &failure), ==, 0);
        assert_as_it_was(&piece, 4);

        /* also before it gets another length */
        do_to_file(directory, 8 * MIB, -1);
        g_assert_cmpint(provider_fsdax.resize(&piece, 3 * MIB, &failure), ==, 0);
        piece.length = 3 * MIB;
        assert_as_it_was(&piece, 4);
        piece_revoke(&piece);
}

static void test_revoke(Directory *directory) {
        g_autofree char *path = NULL;
        Failure failure = { 0 };
        const char *mapping;
        pid_t child;
        Piece piece;
        int fd, status;

        directory_carve(directory, ID, MIB, &piece);
        path = directory_file(directory, ID);
        fd = holder_open(&piece, false);
        mapping = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        g_assert_true(mapping != MAP_FAILED);
        g_assert_cmpint(*(const volatile char *) mapping, ==, 0);

        g_assert_cmpint(provider_fsdax.revoke(&piece, &failure), ==, 0);
        g_assert_cmpuint(size_of(fd), ==, 0);
        g_assert_cmpint(access(path, F_OK), ==, 0);
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
        g_assert_cmpint(access(path, F_OK), ==, -1);
}

/* ---- What they do meanwhile ---- */

typedef struct Heard {
        GString *ids;
        unsigned n_of_region, n_of_all;
} Heard;

static void on_piece(Region *region, const char *id, void *userdata) {
        Heard *heard = userdata;

        (void) region;
        if (!id)
                heard->n_of_region++;
        else if (id[0] == '\0')
                heard->n_of_all++;
        else if (!strstr(heard->ids->str, id))
                g_string_append_printf(heard->ids, "%s ", id);
}

static void wait_until_heard(sd_event *event, const Heard *heard, const char *ids, unsigned n_of_region) {
        gint64 end = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;

        while (strcmp(heard->ids->str, ids) != 0 || heard->n_of_region < n_of_region) {
                if (g_get_monotonic_time() > end)
                        g_error("heard of \"%s\" and %u, not of \"%s\" and %u", heard->ids->str, heard->n_of_region, ids,
                                n_of_region);
                g_assert_cmpint(sd_event_run(event, 100000), >=, 0);
        }
}

static void test_watch(Directory *directory) {
        Heard heard = { .ids = g_string_new(NULL) };
        Failure failure = { 0 };
        Piece piece, other;
        sd_event *event;
        int fd, fd_other;

        g_assert_cmpint(sd_event_new(&event), ==, 0);
        g_assert_cmpint(provider_fsdax.watch(directory->region, event, on_piece, &heard), ==, 0);
        g_assert_cmpint(provider_fsdax.watch(directory->region, event, on_piece, &heard), ==, 0);
        directory_look(directory);
        directory_carve(directory, ID, MIB, &piece);
        directory_carve(directory, OTHER, MIB, &other);
        fd = holder_open(&piece, false);
        fd_other = holder_open(&other, false);
        while (sd_event_run(event, 0) > 0)
                continue;
        g_string_truncate(heard.ids, 0);

        g_assert_cmpint(pwrite(fd, "x", 1, 2 * MIB), ==, 1);
        wait_until_heard(event, &heard, ID " ", 0);
        g_assert_cmpint(provider_fsdax.inspect(&piece, &failure), ==, 0);
        g_assert_cmpuint(size_of(fd), ==, MIB);
        g_string_truncate(heard.ids, 0);
        g_assert_cmpint(fallocate(fd_other, FALLOC_FL_KEEP_SIZE, 0, 4 * MIB), ==, 0);
        while (!strstr(heard.ids->str, OTHER))
                g_assert_cmpint(sd_event_run(event, 1000000), >=, 0);
        g_assert_cmpint(fsdax_extents_beyond(fd_other, MIB), !=, 0);
        g_assert_cmpint(provider_fsdax.inspect(&other, &failure), ==, 0);
        g_assert_cmpint(fsdax_extents_beyond(fd_other, MIB), <=, 0);
        g_assert_cmpint(provider_fsdax.inspect(&other, &failure), ==, 0);

        directory->config.growth = GROWTH_END;
        directory_look(directory);
        g_assert_cmpint(provider_fsdax.inspect(&piece, &failure), ==, 0);
        g_assert_cmpint(pwrite(fd, "x", 1, 2 * MIB), ==, 1);
        g_assert_cmpint(provider_fsdax.inspect(&piece, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_QuotaExceeded);
        /* found so by the next broker, it may be that one's doing who has died */
        piece.measured = false;
        g_assert_cmpint(provider_fsdax.inspect(&piece, &failure), ==, 0);
        g_assert_cmpuint(size_of(fd), ==, MIB);
        g_assert_cmpint(pwrite(fd, "x", 1, 2 * MIB), ==, 1);
        g_assert_cmpint(provider_fsdax.inspect(&piece, &failure), <, 0);

        safe_close(fd);
        safe_close(fd_other);
        piece_revoke(&piece);
        piece_revoke(&other);
        /* it ends before the loop does */
        region_free(directory->region);
        directory->region = NULL;
        sd_event_unref(event);
        g_string_free(heard.ids, TRUE);
}

static void assert_entries(const Directory *directory, const char *expected) {
        g_autoptr(GDir) dir = g_dir_open(directory->path, 0, NULL);
        g_autoptr(GString) names = g_string_new(NULL);
        const char *name;

        while ((name = g_dir_read_name(dir)))
                g_string_append_printf(names, "%s ", name);
        g_assert_cmpstr(names->str, ==, expected);
}

/* What somebody has put into what is left is found, with whose it was, and waits for whoever ends it. */
static void assert_rest(Directory *directory, uid_t owner, uint64_t room) {
        Fsdax *fsdax = directory->region->state;
        Failure failure = { 0 };
        const Find *find;
        Piece piece;

        for (unsigned i = 0; i < 2; i++) {
                directory_look(directory);
                g_assert_cmpuint(directory->found.n_finds, ==, 1);
                find = directory->found.finds;
                g_assert_true(find->rest);
                g_assert_cmpstr(find->id, ==, ID);
                g_assert_cmpstr(find->handle, ==, ID);
                g_assert_null(find->record);
                g_assert_cmpuint(find->owner, ==, owner);
                g_assert_cmpuint(find->length, >=, MAX(room, 4096));
                g_assert_cmpuint(find->length, <=, room + 4 * MIB);
        }

        piece = (Piece){ .length = find->length, .handle = g_strdup(find->handle), .fd = -EBADF, .fd_read_only = -EBADF };
        g_assert_cmpint(provider_fsdax.claim(directory->region, &piece, &failure), ==, 0);
        fsdax->leftovers_changed = false;
        piece_revoke(&piece);
        g_assert_true(fsdax->leftovers_changed); /* what was put there meanwhile was not looked at */
        assert_entries(directory, ID " ");
        directory_look(directory);
        g_assert_cmpuint(directory->found.n_finds, ==, 0);
}

/* What is left was looked at then. */
static void sweep_after(Directory *directory, uint64_t looked) {
        Fsdax *fsdax = directory->region->state;
        FsdaxLeftover *leftover, *next;
        Failure failure = { 0 };

        HASH_ITER(hh, fsdax->leftovers, leftover, next)
                leftover->looked = looked;
        fsdax->leftovers_changed = true;
        g_assert_true(provider_fsdax.is_low(directory->region));
        g_assert_cmpint(provider_fsdax.replenish(directory->region, &failure), ==, 0);
        provider_fsdax.replenished(directory->region);
        g_assert_false(provider_fsdax.is_low(directory->region));
}

static void sweep(Directory *directory) {
        sweep_after(directory, 0);
}

static void test_leftover(Directory *directory) {
        Failure failure = { 0 };
        Piece piece;
        Record record = { .region = g_strdup("files"), .provider = g_strdup("fsdax"), .owner = 1000, .length = MIB,
                          .alignment = 4096, .page_size = 4096, .group = UINT32_MAX, .mode = 0600, .stage = RECORD_LIVE };
        _cleanup_free_ char *text = NULL;
        char *mapping;
        int fd;

        /* who can only read can take no room, but can keep it locked, and the directory with it as soon as that is */
        directory_carve(directory, ID, MIB, &piece);
        fd = holder_open(&piece, true);
        piece_revoke(&piece);
        assert_entries(directory, ID " ");
        sweep(directory);
        assert_entries(directory, ID " ");
        safe_close(fd);
        sweep_after(directory, now_usec() + 60 * FSDAX_LEFTOVERS_USEC); /* too soon */
        assert_entries(directory, ID " ");
        sweep(directory);
        assert_entries(directory, "");

        directory_carve(directory, ID, MIB, &piece);
        fd = holder_open(&piece, false);
        g_assert_cmpint(record_format(&record, &text), ==, 0);
        g_assert_cmpint(provider_fsdax.write_record(&piece, ID, text, &failure), ==, 0);
        piece_revoke(&piece);
        assert_entries(directory, ID " ");
        g_assert_cmpint(fgetxattr(fd, ATTRIBUTE, NULL, 0), ==, -1);
        directory_look(directory);
        g_assert_cmpuint(directory->found.n_finds, ==, 0);
        assert_entries(directory, ID " ");

        /* a length without room is something, and so is room without a length */
        g_assert_cmpint(pwrite(fd, "x", 1, 2 * MIB), ==, 1);
        assert_rest(directory, 1000, 4096);
        g_assert_cmpuint(size_of(fd), ==, 0);
        g_assert_cmpint(fsdax_extents_beyond(fd, 0), <=, 0);
        g_assert_cmpint(fallocate(fd, 0, 0, MIB), ==, 0);
        assert_rest(directory, 1000, MIB);
        g_assert_cmpint(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 3 * MIB), ==, 0);
        assert_rest(directory, 1000, 3 * MIB);
        g_assert_cmpint(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 3 * MIB), ==, 0);
        /* which is said once */
        directory->region->outdated = false;
        sweep(directory);
        g_assert_true(directory->region->outdated);
        directory->region->outdated = false;
        sweep(directory);
        g_assert_false(directory->region->outdated);
        assert_rest(directory, 1000, 3 * MIB);

        g_assert_cmpint(fsetxattr(fd, OWNER_ATTRIBUTE, "4294967295", 10, 0), ==, 0);
        g_assert_cmpint(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, MIB), ==, 0);
        assert_rest(directory, (uid_t) -1, MIB);
        g_assert_cmpint(fsetxattr(fd, OWNER_ATTRIBUTE, "1000x", 5, 0), ==, 0);
        g_assert_cmpint(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, MIB), ==, 0);
        assert_rest(directory, (uid_t) -1, MIB);
        g_assert_cmpint(fremovexattr(fd, OWNER_ATTRIBUTE), ==, 0);
        g_assert_cmpint(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, MIB), ==, 0);
        assert_rest(directory, (uid_t) -1, MIB);

        /* a mapping is as good as a descriptor */
        mapping = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        g_assert_true(mapping != MAP_FAILED);
        safe_close(fd);
        directory_look(directory);
        assert_entries(directory, ID " ");
        g_assert_cmpint(munmap(mapping, 4096), ==, 0);
        directory_look(directory);
        assert_entries(directory, "");
        record_done(&record);
}

/* Others fill the file system, and empty it. */
static void test_stale(Directory *directory) {
        Fsdax *fsdax;
        Failure failure = { 0 };

        fsdax = directory->region->state;
        g_assert_false(provider_fsdax.is_stale(directory->region));
        fsdax->facts.measured -= 2000000;
        fsdax->facts.available = 0;
        provider_fsdax.replenished(directory->region);
        g_assert_cmpuint(region_available(directory->region), ==, 0);
        g_assert_true(provider_fsdax.is_stale(directory->region));
        g_assert_cmpint(provider_fsdax.replenish(directory->region, &failure), ==, 0);
        provider_fsdax.replenished(directory->region);
        g_assert_cmpuint(region_available(directory->region), >, 0);
        g_assert_false(provider_fsdax.is_stale(directory->region));
}

static void test_resize(Directory *directory) {
        Failure failure = { 0 };
        Piece piece;
        int fd;

        directory_carve(directory, ID, MIB, &piece);
        fd = holder_open(&piece, false);
        g_assert_cmpint(pwrite(fd, "kept", 4, 0), ==, 4);
        g_assert_cmpint(pwrite(fd, "lost", 4, MIB - 4), ==, 4);

        g_assert_cmpint(provider_fsdax.resize(&piece, 4 * MIB, &failure), ==, 0);
        piece.length = 4 * MIB;
        g_assert_cmpuint(size_of(fd), ==, 4 * MIB);
        g_assert_true(is_zero(fd, MIB, 4 * MIB));
        g_assert_cmpint(provider_fsdax.resize(&piece, 64 * 1024, &failure), ==, 0);
        piece.length = 64 * 1024;
        g_assert_cmpuint(size_of(fd), ==, 64 * 1024);
        g_assert_cmpint(provider_fsdax.resize(&piece, MIB, &failure), ==, 0);
        piece.length = MIB;
        assert_as_it_was(&piece, 4);

        g_assert_cmpint(provider_fsdax.resize(&piece, UINT64_C(1) << 46, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_NoSpace);
        assert_as_it_was(&piece, 4);
        safe_close(fd);
        piece_revoke(&piece);
}

/* How often a file's attributes have changed, the seal among them. */
static unsigned n_changes(int inotify) {
        _Alignas(struct inotify_event) char buffer[4096];
        unsigned n = 0;
        ssize_t size;

        while ((size = read(inotify, buffer, sizeof(buffer))) > 0)
                for (const char *at = buffer; at < buffer + size; n++)
                        at += sizeof(struct inotify_event) + ((const struct inotify_event *) (const void *) at)->len;
        return n;
}

/* A file is copied with its record, and lies otherwise: here with a length that huge pages cannot map, or where nobody
 * can tell how. */
static void test_copied(Directory *directory) {
        Failure failure = { 0 };
        Fsdax *fsdax;
        Piece piece;

        fsdax = directory->region->state;
        directory_carve(directory, ID, MIB, &piece);
        piece.page_size = FSDAX_HUGE_PAGE;
        fsdax->sync = SYNC_DAX;
        g_assert_cmpint(provider_fsdax.claim(directory->region, &piece, &failure), ==, 0);
        g_assert_cmpuint(piece.seen_page_size, ==, 0);
        g_assert_cmpint(provider_fsdax.inspect(&piece, &failure), ==, 1);
        g_assert_cmpuint(piece.seen_page_size, ==, FSDAX_PAGE);
        g_assert_cmpint(provider_fsdax.inspect(&piece, &failure), ==, 0);
        g_assert_cmpuint(piece.seen_page_size, ==, FSDAX_PAGE);
        /* there are none at all without DAX */
        fsdax->sync = SYNC_NONE;
        piece.seen_page_size = 0;
        g_assert_cmpint(provider_fsdax.claim(directory->region, &piece, &failure), ==, 0);
        g_assert_cmpuint(piece.seen_page_size, ==, FSDAX_PAGE);
        g_assert_cmpint(provider_fsdax.inspect(&piece, &failure), ==, 0);
        g_assert_cmpuint(piece.seen_page_size, ==, FSDAX_PAGE);
        /* nor was there more to be promised of another one */
        piece.page_size = FSDAX_PAGE;
        g_assert_cmpint(provider_fsdax.inspect(&piece, &failure), ==, 1);
        g_assert_cmpuint(piece.seen_page_size, ==, 0);
        piece_revoke(&piece);
}

static void test_seal(Directory *directory) {
        Failure failure = { 0 };
        g_autofree char *path = NULL;
        int fd, inotify;
        Fsdax *fsdax;
        Piece piece;

        fsdax = directory->region->state;
        directory_carve(directory, ID, MIB, &piece);
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

        /* who only looks does not unseal it */
        path = directory_file(directory, ID);
        inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        g_assert_cmpint(inotify_add_watch(inotify, path, IN_ATTRIB | IN_CLOSE_WRITE), >=, 0);
        g_assert_cmpint(provider_fsdax.inspect(&piece, &failure), ==, 0);
        g_assert_cmpuint(n_changes(inotify), ==, 0);
        g_assert_true(fsdax_file_is_sealed(fd));

        g_assert_cmpint(provider_fsdax.write_record(&piece, ID, "another one", &failure), ==, 0);
        g_assert_cmpuint(n_changes(inotify), >, 0);
        safe_close(inotify);
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

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        directory_add_test("/fsdax/open", test_open);
        directory_add_test("/fsdax/truncate", test_truncate);
        directory_add_test("/fsdax/tricks", test_tricks);
        directory_add_test("/fsdax/revoke", test_revoke);
        directory_add_test("/fsdax/watch", test_watch);
        directory_add_test("/fsdax/leftover", test_leftover);
        directory_add_test("/fsdax/stale", test_stale);
        directory_add_test("/fsdax/resize", test_resize);
        directory_add_test("/fsdax/copied", test_copied);
        directory_add_test("/fsdax/seal", test_seal);
        return g_test_run();
}
