/* SPDX-License-Identifier: MIT */

/* Room of a file system that is kept for grants: files that are as long as what is not taken, and the account of that. */

#include "fsdax-directory.h"
#include "fsdax-faults.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "size.h"

typedef struct Kept {
        Hold *hold;
        char *handle, *path;
} Kept;

static void keep(Directory *directory, uint64_t size, Kept *ret) {
        Request request = { .size = size, .alignment = 1 };
        g_autofree char *name = NULL;
        Failure failure = { 0 };
        Piece plan;

        g_assert_cmpint(provider_fsdax.plan(directory->region, &request, &plan, &failure), ==, 0);
        g_assert_cmpint(provider_fsdax.hold(directory->region, &plan, &ret->hold, &ret->handle, &failure), ==, 0);
        name = g_strdup_printf(".hold-%s", ret->handle);
        ret->path = directory_file(directory, name);
}

static void make(Kept *kept) {
        Failure failure = { 0 };

        if (provider_fsdax.hold_make(kept->hold, &failure) < 0)
                g_error("cannot keep room: %s", failure.text);
}

static void keep_made(Directory *directory, uint64_t size, Kept *ret) {
        keep(directory, size, ret);
        make(ret);
}

static void replenish(Directory *directory) {
        Failure failure = { 0 };

        g_assert_cmpint(provider_fsdax.replenish(directory->region, &failure), ==, 0);
        provider_fsdax.replenished(directory->region);
}

static void end(Directory *directory, Kept *kept) {
        provider_fsdax.hold_end(directory->region, kept->hold);
        g_assert_true(provider_fsdax.is_low(directory->region));
        replenish(directory);
        g_assert_false(provider_fsdax.is_low(directory->region));
        g_assert_false(g_file_test(kept->path, G_FILE_TEST_EXISTS));
        g_free(kept->handle);
        g_free(kept->path);
}

static uint64_t room(const Kept *kept) {
        struct stat st;

        g_assert_cmpint(stat(kept->path, &st), ==, 0);
        return (uint64_t) st.st_size;
}

/* With something to spare for blocks that describe members. */
static void assert_room(const Kept *kept, uint64_t size) {
        g_assert_cmpuint(room(kept), >=, size);
        g_assert_cmpuint(room(kept), <=, size + size / 16);
}

static void take(Directory *directory, Kept *kept, uint64_t size, Piece *ret) {
        Request request = { .size = size, .alignment = 1 };
        Failure failure = { 0 };

        g_assert_cmpint(provider_fsdax.plan(directory->region, &request, ret, &failure), ==, 0);
        ret->hold = kept->hold;
        g_assert_cmpint(provider_fsdax.fits(directory->region, ret, &failure), ==, 0);
        g_assert_cmpint(provider_fsdax.reserve(directory->region, ret, &failure), ==, 0);
}

static void carve(Piece *piece, const char *id) {
        Failure failure = { 0 };

        if (provider_fsdax.carve(piece, id, &failure) < 0 || provider_fsdax.write_record(piece, id, TEXT, &failure) < 0)
                g_error("cannot carve: %s", failure.text);
}

/* ---- Its file ---- */

static void test_members(Directory *directory) {
        Piece one, two;
        Kept kept;

        keep_made(directory, 16 * MIB, &kept);
        assert_room(&kept, 16 * MIB);
        g_assert_cmpuint(room(&kept), >, 16 * MIB);
        g_assert_cmpuint(provider_fsdax.hold_largest(kept.hold), ==, 16 * MIB);

        /* its room is free before the member asks the file system for it */
        take(directory, &kept, 10 * MIB, &one);
        provider_fsdax.hold_resize(kept.hold, 6 * MIB, 16 * MIB, 1);
        g_assert_false(provider_fsdax.is_low(directory->region));
        carve(&one, ID);
        assert_room(&kept, 6 * MIB);
        take(directory, &kept, 6 * MIB, &two);
        provider_fsdax.hold_resize(kept.hold, 0, 16 * MIB, 2);
        carve(&two, OTHER);
        g_assert_cmpuint(room(&kept), ==, 0);

        piece_revoke(&one);
        provider_fsdax.hold_resize(kept.hold, 10 * MIB, 16 * MIB, 1);
        g_assert_true(provider_fsdax.is_low(directory->region));
        replenish(directory);
        g_assert_false(provider_fsdax.is_low(directory->region));
        assert_room(&kept, 10 * MIB);
        end(directory, &kept);
        two.hold = NULL;
        piece_revoke(&two);
}

/* Each of the first members leaves something for the blocks that describe it. */
static void test_spare(Directory *directory) {
        _cleanup_close_ int dir_fd = -EBADF;
        uint64_t before, size = 64 * MIB;
        Kept kept;

        dir_fd = open(directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        keep_made(directory, size, &kept);
        for (unsigned i = 1; i <= 65; i++) {
                before = room(&kept);
                size -= 4 * KIB;
                provider_fsdax.hold_resize(kept.hold, size, size, i);
                fsdax_holds_settle(directory->region->state, dir_fd);
                g_assert_cmpuint(before - room(&kept), ==, i <= 64 ? 68 * KIB : 4 * KIB);
        }
        g_assert_cmpuint(room(&kept), ==, size);
        end(directory, &kept);
}

/* There is not always room for it. Members have theirs nevertheless. */
static void test_no_spare(Directory *directory) {
        Piece piece;
        Kept kept;

        keep(directory, 16 * MIB, &kept);
        limit = 16 * MIB;
        make(&kept);
        g_assert_cmpuint(room(&kept), ==, 16 * MIB);
        g_assert_false(fsdax_holds_lack(directory->region->state));
        take(directory, &kept, 2 * MIB, &piece);
        provider_fsdax.hold_resize(kept.hold, 14 * MIB, 16 * MIB, 1);
        carve(&piece, ID);
        g_assert_cmpuint(room(&kept), ==, 14 * MIB);
        limit = INT64_MAX;
        piece_revoke(&piece);
        end(directory, &kept);
}

/* Where there is less of it, the first member has its part of that, too. */
static void test_little_spare(Directory *directory) {
        Piece piece;
        Kept kept;

        keep(directory, 16 * MIB, &kept);
        available = (uint64_t) (limit = 16 * MIB + 512 * KIB);
        make(&kept);
        g_assert_cmpuint(room(&kept), ==, 16 * MIB + 512 * KIB);
        limit = INT64_MAX;
        available = UINT64_MAX;
        take(directory, &kept, 2 * MIB, &piece);
        provider_fsdax.hold_resize(kept.hold, 14 * MIB, 16 * MIB, 1);
        carve(&piece, ID);
        g_assert_cmpuint(room(&kept), ==, 14 * MIB + 384 * KIB);
        piece_revoke(&piece);
        end(directory, &kept);
}

/* What there is to spare can stand for what a member has given back; then it is nothing to spare any more. */
static void test_spare_used(Directory *directory) {
        Piece one, stranger;
        uint64_t before;
        Kept kept;

        keep_made(directory, 16 * MIB, &kept);
        take(directory, &kept, 512 * KIB, &one);
        provider_fsdax.hold_resize(kept.hold, 16 * MIB - 512 * KIB, 16 * MIB, 1);
        carve(&one, ID);
        piece_revoke(&one);
        provider_fsdax.hold_resize(kept.hold, 16 * MIB, 16 * MIB, 0);
        directory_carve(directory, OTHER, 512 * KIB, &stranger);

        before = room(&kept);
        take(directory, &kept, 8 * MIB, &one);
        provider_fsdax.hold_resize(kept.hold, 8 * MIB, 16 * MIB, 1);
        carve(&one, ID);
        g_assert_cmpuint(before - room(&kept), >=, 8 * MIB);
        piece_revoke(&one);
        piece_revoke(&stranger);
        end(directory, &kept);
}

static void test_refused(Directory *directory) {
        Failure failure = { 0 };
        Kept kept;

        keep(directory, 16 * MIB, &kept);
        n_full = 2; /* it is tried for all, and then for this one */
        g_assert_cmpint(provider_fsdax.hold_make(kept.hold, &failure), ==, -ENOSPC);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_NoSpace);
        g_assert_cmpuint(n_full, ==, 0);
        end(directory, &kept);

        /* what is in the way of its file */
        keep(directory, 16 * MIB, &kept);
        g_assert_cmpint(mkdir(kept.path, 0700), ==, 0);
        g_assert_cmpint(provider_fsdax.hold_make(kept.hold, &failure), <, 0);
        g_assert_cmpint(rmdir(kept.path), ==, 0);
        end(directory, &kept);
}

/* ---- What others take ---- */

/* What a member has given back was somebody else's before it could be kept again. */
static void test_lack(Directory *directory) {
        Failure failure = { 0 };
        uint64_t before;
        Piece one, two;
        Kept kept;

        keep_made(directory, 16 * MIB, &kept);
        take(directory, &kept, 12 * MIB, &one);
        provider_fsdax.hold_resize(kept.hold, 4 * MIB, 16 * MIB, 1);
        carve(&one, ID);
        piece_revoke(&one);
        provider_fsdax.hold_resize(kept.hold, 16 * MIB, 16 * MIB, 0);
        n_full = 1;
        replenish(directory);
        g_assert_cmpuint(n_full, ==, 0);
        g_assert_cmpuint(provider_fsdax.hold_largest(kept.hold), >=, 3 * MIB);
        g_assert_cmpuint(provider_fsdax.hold_largest(kept.hold), <, 5 * MIB);
        g_assert_true(fsdax_holds_lack(directory->region->state));
        two = (Piece){ .length = 6 * MIB, .hold = kept.hold };
        g_assert_cmpint(provider_fsdax.fits(directory->region, &two, &failure), ==, -ENOSPC);
        g_assert_nonnull(strstr(failure.text, "others"));

        /* what there is has its room from what is kept, and not from what others may take */
        before = room(&kept);
        take(directory, &kept, 2 * MIB, &two);
        provider_fsdax.hold_resize(kept.hold, 14 * MIB, 16 * MIB, 1);
        carve(&two, ID);
        g_assert_cmpuint(before - room(&kept), >=, 2 * MIB);
        g_assert_cmpuint(provider_fsdax.hold_largest(kept.hold), <, 3 * MIB);

        replenish(directory);
        g_assert_false(fsdax_holds_lack(directory->region->state));
        assert_room(&kept, 14 * MIB);
        g_assert_cmpuint(provider_fsdax.hold_largest(kept.hold), ==, 14 * MIB);
        piece_revoke(&two);
        end(directory, &kept);
}

/* Whoever is no member waits until what is kept has got its own. */
static void test_order(Directory *directory) {
        Piece one, stranger;
        Kept kept;

        keep_made(directory, 16 * MIB, &kept);
        take(directory, &kept, 12 * MIB, &one);
        provider_fsdax.hold_resize(kept.hold, 4 * MIB, 16 * MIB, 1);
        carve(&one, ID);
        assert_room(&kept, 4 * MIB);
        piece_revoke(&one);
        provider_fsdax.hold_resize(kept.hold, 16 * MIB, 16 * MIB, 0);
        directory_carve(directory, OTHER, 2 * MIB, &stranger);
        assert_room(&kept, 16 * MIB);
        piece_revoke(&stranger);
        end(directory, &kept);
}

static void settle(Directory *directory) {
        _cleanup_close_ int dir_fd = open(directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        fsdax_holds_settle(directory->region->state, dir_fd);
}

/* Others have taken some of what is kept for one; it does not get it from another one. */
static void test_sound(Directory *directory) {
        Kept robbed, sound, late;
        Failure failure = { 0 };
        Piece one;

        keep_made(directory, 16 * MIB, &robbed);
        keep_made(directory, 16 * MIB, &sound);
        g_assert_cmpint(truncate(robbed.path, 10 * MIB), ==, 0);
        n_full = 1;
        settle(directory);
        g_assert_cmpuint(n_full, ==, 0);
        available = 0;
        settle(directory); /* it loses no more with time */
        g_assert_cmpuint(room(&robbed), ==, 10 * MIB);

        /* not of what is promised, */
        take(directory, &sound, 8 * MIB, &one);
        provider_fsdax.hold_resize(sound.hold, 8 * MIB, 16 * MIB, 1);
        settle(directory);
        assert_room(&sound, 16 * MIB);
        carve(&one, ID);
        assert_room(&sound, 8 * MIB);

        /* nor of what is given back, from before the file system says that it is free */
        available = 8 * MIB;
        fsdax_hold_expect(&one, 0);
        settle(directory);
        g_assert_cmpuint(available, ==, 8 * MIB);
        g_assert_cmpuint(room(&robbed), ==, 10 * MIB);
        keep(directory, 4 * MIB, &late);
        g_assert_cmpint(provider_fsdax.hold_make(late.hold, &failure), ==, -ENOSPC);
        end(directory, &late);
        g_assert_cmpuint(available, ==, 8 * MIB);
        fsdax_hold_return(&one, 0, false);
        piece_revoke(&one);
        settle(directory);
        provider_fsdax.hold_resize(sound.hold, 16 * MIB, 16 * MIB, 0);
        assert_room(&sound, 16 * MIB);
        available = 0;
        settle(directory);
        g_assert_cmpuint(room(&robbed), ==, 10 * MIB);
        g_assert_cmpuint(provider_fsdax.hold_largest(sound.hold), ==, 16 * MIB);
        g_assert_cmpuint(provider_fsdax.hold_largest(robbed.hold), <=, 10 * MIB);

        /* but of what else there is */
        available = 2 * MIB;
        settle(directory);
        g_assert_cmpuint(room(&robbed), ==, 12 * MIB);
        available = UINT64_MAX;
        settle(directory);
        assert_room(&robbed, 16 * MIB);
        g_assert_false(fsdax_holds_lack(directory->region->state));
        end(directory, &robbed);
        end(directory, &sound);
}

static Directory *settled;

static void settle_cut_room(void) {
        available = 8 * MIB; /* what has just been cut */
        settle(settled);
        g_assert_cmpuint(available, ==, 8 * MIB);
        available = UINT64_MAX;
}

/* Nor of what a member is about to become longer by. */
static void test_growing(Directory *directory) {
        Kept robbed, sound;
        Failure failure = { 0 };
        Piece one;

        keep_made(directory, 16 * MIB, &robbed);
        keep_made(directory, 16 * MIB, &sound);
        take(directory, &sound, 4 * MIB, &one);
        provider_fsdax.hold_resize(sound.hold, 12 * MIB, 16 * MIB, 1);
        carve(&one, ID);
        g_assert_cmpint(truncate(robbed.path, 10 * MIB), ==, 0);
        n_full = 1;
        settle(directory);

        provider_fsdax.hold_resize(sound.hold, 4 * MIB, 16 * MIB, 1);
        settled = directory;
        meanwhile = settle_cut_room;
        g_assert_cmpint(provider_fsdax.resize(&one, 12 * MIB, &failure), ==, 0);
        g_assert_null(meanwhile);
        one.length = 12 * MIB;
        settle(directory);
        assert_room(&sound, 4 * MIB);
        assert_room(&robbed, 16 * MIB);
        piece_revoke(&one);
        provider_fsdax.hold_resize(sound.hold, 16 * MIB, 16 * MIB, 0);
        end(directory, &robbed);
        end(directory, &sound);
}

static void get_stuck(void) {
        n_stuck = 1;
}

/* What cannot be made has its room back. */
static void test_failed(Directory *directory) {
        Failure failure = { 0 };
        Piece one;
        Kept kept;

        keep_made(directory, 16 * MIB, &kept);
        take(directory, &kept, 8 * MIB, &one);
        provider_fsdax.hold_resize(kept.hold, 8 * MIB, 16 * MIB, 1);
        n_full = 1;
        g_assert_cmpint(provider_fsdax.carve(&one, ID, &failure), ==, -ENOSPC);
        g_assert_cmpuint(n_full, ==, 0);
        carve(&one, ID);
        assert_room(&kept, 8 * MIB);
        g_assert_cmpint(provider_fsdax.resize(&one, 4 * MIB, &failure), ==, 0);
        one.length = 4 * MIB;
        provider_fsdax.hold_resize(kept.hold, 12 * MIB, 16 * MIB, 1);
        replenish(directory);
        assert_room(&kept, 12 * MIB);
        provider_fsdax.hold_resize(kept.hold, 4 * MIB, 16 * MIB, 1);
        n_full = 1;
        g_assert_cmpint(provider_fsdax.resize(&one, 12 * MIB, &failure), ==, -ENOSPC);
        provider_fsdax.hold_resize(kept.hold, 12 * MIB, 16 * MIB, 1);
        replenish(directory);
        assert_room(&kept, 12 * MIB);
        piece_revoke(&one);
        provider_fsdax.hold_resize(kept.hold, 16 * MIB, 16 * MIB, 0);
        replenish(directory);
        assert_room(&kept, 16 * MIB);
        end(directory, &kept);
}

static void assert_inspected(Directory *directory, const Kept *kept, Piece *piece, void (*other)(void)) {
        Failure failure = { 0 };

        replenish(directory);
        g_assert_false(provider_fsdax.is_low(directory->region));
        g_assert_cmpuint(room(kept), <, 12 * MIB);
        after_cut = other;
        g_assert_cmpint(provider_fsdax.inspect(piece, &failure), ==, 0);
        g_assert_null(after_cut);
        g_assert_true(provider_fsdax.is_low(directory->region));
        replenish(directory);
        assert_room(kept, 12 * MIB);
}

/* What a member had got more, and could not be cut, is its grant's again when it is. */
static void test_stuck(Directory *directory) {
        Failure failure = { 0 };
        Kept kept, robbed;
        Piece one, grown;

        keep_made(directory, MIB, &robbed);
        keep_made(directory, 16 * MIB, &kept);
        take(directory, &kept, 4 * MIB, &one);
        provider_fsdax.hold_resize(kept.hold, 12 * MIB, 16 * MIB, 1);
        carve(&one, ID);

        provider_fsdax.hold_resize(kept.hold, 4 * MIB, 16 * MIB, 1);
        n_full = 1;
        meanwhile = get_stuck;
        g_assert_cmpint(provider_fsdax.resize(&one, 12 * MIB, &failure), ==, -ENOSPC);
        g_assert_cmpuint(n_stuck, ==, 0);
        provider_fsdax.hold_resize(kept.hold, 12 * MIB, 16 * MIB, 1);
        assert_inspected(directory, &kept, &one, NULL);

        /* it is longer, and has to be shorter again, as that cannot be put on record */
        provider_fsdax.hold_resize(kept.hold, 4 * MIB, 16 * MIB, 1);
        g_assert_cmpint(provider_fsdax.resize(&one, 12 * MIB, &failure), ==, 0);
        grown = one;
        grown.length = 12 * MIB;
        n_stuck = 1;
        g_assert_cmpint(provider_fsdax.resize(&grown, 4 * MIB, &failure), ==, -EBUSY);
        one.counted = grown.counted;
        one.measured = false;
        provider_fsdax.hold_resize(kept.hold, 12 * MIB, 16 * MIB, 1);
        g_assert_cmpint(truncate(robbed.path, 0), ==, 0);
        available = 0;
        n_full = 1;
        settled = directory;
        assert_inspected(directory, &kept, &one, settle_cut_room);
        assert_room(&robbed, MIB);
        piece_revoke(&one);
        provider_fsdax.hold_resize(kept.hold, 16 * MIB, 16 * MIB, 0);
        replenish(directory);
        assert_room(&kept, 16 * MIB);
        end(directory, &kept);
        end(directory, &robbed);
}

/* Something is where its file should be: then it has nothing, and that is tried again. */
static void test_in_the_way(Directory *directory) {
        Kept kept;

        keep_made(directory, 16 * MIB, &kept);
        g_assert_cmpint(unlink(kept.path), ==, 0);
        g_assert_cmpint(mkdir(kept.path, 0700), ==, 0);
        settle(directory);
        g_assert_cmpuint(provider_fsdax.hold_largest(kept.hold), ==, 0);
        g_assert_true(fsdax_holds_lack(directory->region->state));
        g_assert_cmpint(rmdir(kept.path), ==, 0);
        replenish(directory);
        assert_room(&kept, 16 * MIB);
        g_assert_cmpuint(provider_fsdax.hold_largest(kept.hold), ==, 16 * MIB);

        /* nor can it be removed */
        g_assert_cmpint(unlink(kept.path), ==, 0);
        g_assert_cmpint(mkdir(kept.path, 0700), ==, 0);
        provider_fsdax.hold_end(directory->region, kept.hold);
        replenish(directory);
        g_assert_false(provider_fsdax.is_low(directory->region));
        g_assert_true(fsdax_holds_lack(directory->region->state));
        g_assert_cmpint(rmdir(kept.path), ==, 0);
        replenish(directory);
        g_assert_false(fsdax_holds_lack(directory->region->state));
        g_free(kept.handle);
        g_free(kept.path);
}

/* Whoever makes a file does not look for what there is to spare. */
static void test_calls(Directory *directory) {
        Piece stranger;
        unsigned before;
        Kept kept;

        keep(directory, 16 * MIB, &kept);
        limit = 16 * MIB;
        make(&kept);
        before = n_calls;
        directory_carve(directory, OTHER, MIB, &stranger);
        g_assert_cmpuint(n_calls - before, ==, 1);
        limit = INT64_MAX;
        replenish(directory);
        piece_revoke(&stranger);
        end(directory, &kept);
}

/* Nor does he look at all that is kept; only what was given back is to be seen to first. */
static void test_many(Directory *directory) {
        Piece one, stranger;
        unsigned before;
        Kept kept[100];

        for (size_t i = 0; i < G_N_ELEMENTS(kept); i++) {
                keep(directory, 64 * KIB, &kept[i]);
                before = n_looks;
                make(&kept[i]);
                g_assert_cmpuint(n_looks - before, <=, 1);
        }
        take(directory, &kept[50], 64 * KIB, &one);
        provider_fsdax.hold_resize(kept[50].hold, 0, 64 * KIB, 1);
        before = n_looks;
        carve(&one, ID);
        piece_revoke(&one);
        provider_fsdax.hold_resize(kept[50].hold, 64 * KIB, 64 * KIB, 0);
        g_assert_cmpuint(room(&kept[50]), ==, 0);
        directory_carve(directory, OTHER, MIB, &stranger);
        g_assert_cmpuint(n_looks - before, <, 10);
        assert_room(&kept[50], 64 * KIB);
        piece_revoke(&stranger);
        for (size_t i = 0; i < G_N_ELEMENTS(kept); i++)
                end(directory, &kept[i]);
}

/* Ended while a worker is looking at them. */
static void *settle_on(void *userdata) {
        Directory *directory = userdata;

        for (unsigned i = 0; i < 2000; i++)
                settle(directory);
        return NULL;
}

static void test_ends(Directory *directory) {
        pthread_t thread;

        g_assert_cmpint(pthread_create(&thread, NULL, settle_on, directory), ==, 0);
        for (unsigned i = 0; i < 500; i++) {
                Kept kept;

                keep(directory, 4 * KIB, &kept);
                provider_fsdax.hold_end(directory->region, kept.hold);
                g_free(kept.handle);
                g_free(kept.path);
        }
        g_assert_cmpint(pthread_join(thread, NULL), ==, 0);
        replenish(directory);
        g_assert_false(fsdax_holds_lack(directory->region->state));
}

/* A region that is refused, because it is this one's directory, leaves alone what is kept there. */
static void test_twin(Directory *directory) {
        g_autofree char *path = g_strdup_printf("%s/", directory->path);
        char name[] = "twin";
        Inventory found = { 0 };
        Failure failure = { 0 };
        RegionConfig config;
        Region *twin;
        Kept kept;

        keep_made(directory, 16 * MIB, &kept);
        config = directory->config;
        config.name = name;
        config.path = path;
        g_assert_cmpint(region_new(&config, NULL, -EBADF, &twin), ==, 0);
        g_assert_cmpint(provider_fsdax.list(twin, &found, &failure), ==, 0);
        (void) provider_fsdax.replenish(twin, &failure);
        twin->listed = true;
        g_assert_cmpint(region_configure(twin, &config), ==, 0);
        g_assert_nonnull(twin->reason);
        g_assert_false(provider_fsdax.is_low(twin));
        (void) provider_fsdax.replenish(twin, &failure);
        assert_room(&kept, 16 * MIB);
        inventory_done(&found);
        region_free(twin);
        end(directory, &kept);
}

/* ---- The account ---- */

static void test_account(Directory *directory) {
        Reservation reservation = { 0 };
        Region *region = directory->region;
        char size[] = "64M";
        Fsdax *fsdax;
        Piece one;
        Kept kept;

        directory->config.size = size;
        directory_look(directory);
        fsdax = region->state;

        /* it has no room yet, and so what is free is not all for others */
        keep(directory, 16 * MIB, &kept);
        reservation_take(&reservation, region, 16 * MIB);
        fsdax->facts.available = 40 * MIB;
        fsdax_account(region, region->used);
        g_assert_cmpuint(fsdax_holds_owed(fsdax), ==, 16 * MIB);
        g_assert_cmpuint(region_available(region), ==, 24 * MIB);

        /* others learn of what has changed, and not of what has not */
        region->changed = false;
        fsdax_account(region, region->used);
        g_assert_false(region->changed);
        fsdax->facts.available = 39 * MIB;
        fsdax_account(region, region->used);
        g_assert_true(region->changed);
        g_assert_cmpuint(region_available(region), ==, 23 * MIB);

        /* it has */
        make(&kept);
        fsdax->facts.available = 24 * MIB;
        fsdax_account(region, region->used);
        g_assert_cmpuint(fsdax_holds_owed(fsdax), ==, 0);
        g_assert_cmpuint(region_available(region), ==, 24 * MIB);

        /* what it has to spare is not for what a member gives back */
        take(directory, &kept, 8 * MIB, &one);
        provider_fsdax.hold_resize(kept.hold, 8 * MIB, 16 * MIB, 1);
        carve(&one, ID);
        g_assert_cmpuint(fsdax_holds_owed(fsdax), ==, 0);
        piece_revoke(&one);
        provider_fsdax.hold_resize(kept.hold, 16 * MIB, 16 * MIB, 0);
        g_assert_cmpuint(fsdax_holds_owed(fsdax), ==, 8 * MIB);

        reservation_release(&reservation);
        end(directory, &kept);
        g_assert_cmpuint(region_available(region), ==, 64 * MIB);
}

/* ---- After a restart ---- */

static void restart(Directory *directory) {
        region_free(directory->region);
        g_assert_cmpint(region_new(&directory->config, NULL, -EBADF, &directory->region), ==, 0);
}

static void test_again(Directory *directory) {
        g_autofree char *away = g_strdup_printf("%s.away", directory->path);
        Failure failure = { 0 };
        struct stat before, st;
        Piece one;
        Hold *hold;
        Kept kept;

        keep_made(directory, 16 * MIB, &kept);
        g_assert_cmpint(stat(kept.path, &before), ==, 0);
        restart(directory);
        g_assert_cmpint(provider_fsdax.hold_again(directory->region, NULL, MIB, &hold, &failure), <, 0);
        g_assert_cmpint(provider_fsdax.hold_again(directory->region, "../../etc/passwd", MIB, &hold, &failure), <, 0);
        g_assert_cmpint(provider_fsdax.hold_again(directory->region, kept.handle, 16 * MIB, &kept.hold, &failure), ==, 0);
        g_assert_cmpint(provider_fsdax.hold_again(directory->region, kept.handle, 16 * MIB, &hold, &failure), <, 0);
        directory_look(directory);
        g_assert_cmpuint(fsdax_holds_owed(directory->region->state), ==, 0);
        replenish(directory);
        g_assert_false(provider_fsdax.is_low(directory->region));
        one = (Piece){ .handle = g_strdup(ID), .length = 10 * MIB, .hold = kept.hold, .fd = -EBADF, .fd_read_only = -EBADF };
        g_assert_cmpint(provider_fsdax.claim(directory->region, &one, &failure), ==, 0); /* as its members are found */
        g_assert_true(provider_fsdax.is_low(directory->region)); /* its file has those bytes as well */
        provider_fsdax.hold_resize(kept.hold, 6 * MIB, 16 * MIB, 1);
        g_assert_true(provider_fsdax.is_low(directory->region));
        replenish(directory);
        assert_room(&kept, 6 * MIB);
        g_assert_cmpint(stat(kept.path, &st), ==, 0);
        g_assert_cmpuint(st.st_ino, ==, before.st_ino);

        /* where there is no room for another file, it says what files are like */
        n_none = 1;
        directory_look(directory);
        g_assert_cmpuint(n_none, ==, 0);

        /* somebody has removed it */
        g_assert_cmpint(unlink(kept.path), ==, 0);
        directory_look(directory);
        replenish(directory);
        assert_room(&kept, 6 * MIB);

        /* nobody knows of it any more */
        piece_release(&one);
        restart(directory);
        directory_look(directory);
        g_assert_true(provider_fsdax.is_low(directory->region));

        /* while its directory is away there is nothing to be done */
        g_assert_cmpint(rename(directory->path, away), ==, 0);
        replenish(directory);
        g_assert_false(provider_fsdax.is_low(directory->region));
        g_assert_cmpint(rename(away, directory->path), ==, 0);
        directory_look(directory);
        g_assert_true(provider_fsdax.is_low(directory->region));
        replenish(directory);
        g_assert_false(g_file_test(kept.path, G_FILE_TEST_EXISTS));
        g_free(kept.handle);
        g_free(kept.path);
}

/* What is only called like one is none of ours. */
static void test_strangers(Directory *directory) {
        static const char *const names[] = { ".hold-", ".hold-0123", ".hold-0123456789ABCDEF", ".hold-0123456789abcdef0" };
        g_autofree char *folder = NULL, *other = NULL;
        _cleanup_close_ int dir_fd = -EBADF;
        int fd;

        folder = directory_file(directory, ".hold-0123456789abcdef");
        other = directory_file(directory, ".hold-fedcba9876543210");
        g_assert_cmpint(mkdir(folder, 0700), ==, 0);
        g_assert_true(g_file_set_contents(other, "else", -1, NULL));
        if (geteuid() == 0)
                g_assert_cmpint(chown(other, NOBODY, NOBODY), ==, 0);
        dir_fd = open(directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *path = directory_file(directory, names[i]);

                g_assert_true(g_file_set_contents(path, "", 0, NULL));
                g_assert_cmpint(fsdax_hold_file_open(dir_fd, names[i], &fd), ==, -EINVAL);
        }
        g_assert_cmpint(fsdax_hold_file_open(dir_fd, ".hold-0123456789abcdef", &fd), ==, -EUCLEAN);
        if (geteuid() == 0)
                g_assert_cmpint(fsdax_hold_file_open(dir_fd, ".hold-fedcba9876543210", &fd), ==, -EUCLEAN);
        directory_look(directory);
        replenish(directory);
        g_assert_false(provider_fsdax.is_low(directory->region));
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *path = directory_file(directory, names[i]);

                g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
        }
        g_assert_true(g_file_test(folder, G_FILE_TEST_IS_DIR));
        g_assert_true(g_file_test(other, G_FILE_TEST_EXISTS) == (geteuid() == 0));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        directory_add_test("/fsdax-hold/members", test_members);
        directory_add_test("/fsdax-hold/spare", test_spare);
        directory_add_test("/fsdax-hold/no-spare", test_no_spare);
        directory_add_test("/fsdax-hold/little-spare", test_little_spare);
        directory_add_test("/fsdax-hold/spare-used", test_spare_used);
        directory_add_test("/fsdax-hold/refused", test_refused);
        directory_add_test("/fsdax-hold/lack", test_lack);
        directory_add_test("/fsdax-hold/order", test_order);
        directory_add_test("/fsdax-hold/sound", test_sound);
        directory_add_test("/fsdax-hold/growing", test_growing);
        directory_add_test("/fsdax-hold/failed", test_failed);
        directory_add_test("/fsdax-hold/stuck", test_stuck);
        directory_add_test("/fsdax-hold/in-the-way", test_in_the_way);
        directory_add_test("/fsdax-hold/calls", test_calls);
        directory_add_test("/fsdax-hold/many", test_many);
        directory_add_test("/fsdax-hold/ends", test_ends);
        directory_add_test("/fsdax-hold/twin", test_twin);
        directory_add_test("/fsdax-hold/account", test_account);
        directory_add_test("/fsdax-hold/again", test_again);
        directory_add_test("/fsdax-hold/strangers", test_strangers);
        return g_test_run();
}
