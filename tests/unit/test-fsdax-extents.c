/* SPDX-License-Identifier: MIT */

/* Where files lie: what can be mapped by huge pages is told from what cannot, and what lies wrongly is cut out. */

#include "fsdax-directory.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <unistd.h>

#include "cleanup.h"
#include "size.h"

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
        FsdaxExtent pieces[] = { { 0, 16 * H + 4096, 2 * H },
                                 { 2 * H, 40 * H, H / 2 },
                                 { 2 * H + H / 2, 50 * H, 3 * H + 4096 } };
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

static void test_allocate(Directory *directory) {
        _cleanup_close_ int dir_fd = open(directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -EBADF;
        FsdaxExtents extents;

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
        g_test_add_func("/fsdax/huge", test_huge);
        g_test_add_func("/fsdax/misplaced", test_misplaced);
        directory_add_test("/fsdax/allocate", test_allocate);
        return g_test_run();
}
