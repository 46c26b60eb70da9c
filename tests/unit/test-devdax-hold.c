/* SPDX-License-Identifier: MIT */

/* The provider of dax devices: ranges that are kept for somebody, and what he makes of them. */

#include <errno.h>
#include <string.h>

#include "devdax-scene.h"

static Hold *hold_of(const Piece *wanted, char **ret_handle) {
        Failure failure = { 0 };
        Hold *hold = NULL;

        g_assert_cmpint(devdax->fits(region, wanted, &failure), ==, 0);
        if (devdax->hold(region, wanted, &hold, ret_handle, &failure) < 0)
                g_error("nothing is kept: %s", failure.text);
        g_assert_nonnull(hold);
        return hold;
}

static Hold *hold_new(uint64_t size, char **ret_handle) {
        Request request = request_of(size);
        Piece wanted = plan(&request);

        return hold_of(&wanted, ret_handle);
}

static Piece planned(Hold *hold, uint64_t size) {
        Request request = request_of(size);
        Piece piece = plan(&request);

        piece.hold = hold;
        return piece;
}

static Piece take(Hold *hold, uint64_t size) {
        Piece piece = planned(hold, size);
        Failure failure = { 0 };

        if (try_reserve(&piece, &failure) < 0)
                g_error("%s", failure.text);
        return piece;
}

static void assert_no_room(Hold *hold, uint64_t size, const char *words) {
        Piece piece = planned(hold, size);
        Failure failure = { 0 };

        g_assert_cmpint(try_reserve(&piece, &failure), ==, -ENOSPC);
        assert_text(failure.text, words);
}

/* Nobody else gets it, and he gets nothing else. */
static void test_kept(void) {
        g_autofree char *handle = NULL;
        Hold *hold = hold_new(4 * UNIT, &handle);
        Piece others = reserve(SIZE - 4 * UNIT), pieces[4];

        g_assert_cmpuint(region->largest, ==, 0);
        assert_no_room(NULL, UNIT, "region '" NAME "' has 0 bytes free");
        g_assert_cmpuint(devdax->hold_largest(hold), ==, 4 * UNIT);
        for (unsigned i = 0; i < 4; i++)
                pieces[i] = take(hold, UNIT);
        assert_no_room(hold, UNIT, "the grant in region '" NAME "' has 0 bytes free");
        g_assert_cmpuint(devdax->hold_largest(hold), ==, 0);
        for (unsigned i = 0; i < 4; i++)
                for (unsigned j = 0; j < i; j++)
                        g_assert_cmpuint(pieces[i].ranges[0].start, !=, pieces[j].ranges[0].start);

        /* what is given back is his again */
        release(&pieces[1], false);
        release(&pieces[3], false);
        assert_no_room(NULL, UNIT, "0 bytes free");
        g_assert_cmpuint(devdax->hold_largest(hold), ==, 2 * UNIT);
        pieces[1] = take(hold, 2 * UNIT);
        release(&others, false);
        apply(found);
        g_assert_cmpuint(region->largest, ==, SIZE - 4 * UNIT);
        assert_no_room(hold, UNIT, "the grant");

        release(&pieces[1], false);
        devdax->hold_end(region, hold);
        g_assert_cmpuint(region->largest, ==, SIZE - 2 * UNIT);
        pieces[0].hold = pieces[2].hold = NULL;
        release(&pieces[0], false);
        release(&pieces[2], false);
        apply(found);
        g_assert_cmpuint(region->largest, ==, SIZE);
}

/* Memory that is clean stays so on its way to a hold, from it, and back. */
static void test_clean(void) {
        Piece all = reserve(SIZE), piece;
        Hold *hold;
        g_autofree char *handle = NULL;

        release(&all, true);
        hold = hold_new(4 * UNIT, &handle);
        piece = take(hold, 2 * UNIT);
        g_assert_true(piece.clean);
        release(&piece, false);
        piece = take(hold, 2 * UNIT);
        g_assert_true(piece.clean); /* the other two */
        release(&piece, true);
        piece = take(hold, 4 * UNIT);
        g_assert_false(piece.clean);
        release(&piece, true);
        piece = take(hold, 4 * UNIT);
        g_assert_true(piece.clean);
        release(&piece, true);

        /* also if only a part of it is */
        piece = take(hold, UNIT);
        release(&piece, false);
        devdax->hold_end(region, hold);
        piece = reserve(SIZE - UNIT);
        g_assert_true(piece.clean);
        all = reserve(UNIT);
        g_assert_false(all.clean);
        release(&all, false);
        release(&piece, true);
}

/* Whoever is root may have had what is free in a hold as well as anything else. */
static void test_soiled(void) {
        Piece all = reserve(SIZE), piece;
        g_autofree char *handle = NULL;
        Hold *hold;

        release(&all, true);
        hold = hold_new(4 * UNIT, &handle);
        fake_device(path, 0, 1);
        fake_add_range(path, "dax0.1", START + 2 * GIB, UNIT);
        rescan();
        g_assert_cmpuint(region->foreign, ==, UNIT);
        piece = take(hold, UNIT);
        g_assert_false(piece.clean);
        release(&piece, false);
        devdax->hold_end(region, hold);
        g_assert_cmpint(dax_unbind(path, "dax0.1"), ==, 0);
        rescan();
}

/* Whole gigabytes, where that is asked for; and in one piece. */
static void test_shape(void) {
        Request request = { .size = 2 * GIB, .alignment = GIB, .contiguous = true };
        Piece odd = reserve(UNIT), wanted = plan(&request), piece, small;
        g_autofree char *handle = NULL;
        Failure failure = { 0 };
        Hold *hold;

        hold = hold_of(&wanted, &handle);
        request = (Request){ .size = GIB, .alignment = GIB };
        small = take(hold, UNIT);
        piece = plan(&request);
        piece.hold = hold;
        g_assert_cmpint(try_reserve(&piece, &failure), ==, 0); /* the small one has left a gigabyte whole */
        g_assert_cmpuint((START + piece.ranges[0].start) % GIB, ==, 0);
        release(&piece, false);
        release(&small, false);
        devdax->hold_end(region, hold);
        release(&odd, false);
}

static int again(const char *handle, uint64_t length, Hold **ret, Failure *failure) {
        *failure = (Failure){ 0 };
        return devdax->hold_again(region, handle, length, ret, failure);
}

/* The next broker finds it by its handle, and first of all what was taken from it. */
static void test_again(void) {
        static const char *const bad[] = { "", "hold", "hold ", "dax0.1 100000000+200000", "hold 100000000+200000 ",
                                           "hold 100000000+100000", "hold 100000000+200000,100000000+200000" };
        g_autofree char *handle = NULL, *taken = NULL;
        Hold *hold = hold_new(4 * UNIT, &handle);
        Piece piece = take(hold, UNIT), other;
        Failure failure;

        g_assert_true(g_str_has_prefix(handle, "hold "));
        taken = g_strdup_printf("dax0.1 %lx+%lx", START + piece.ranges[0].start, UNIT);
        release(&piece, false);
        devdax->hold_end(region, hold);
        g_assert_null(region_free(region));
        make_region(false);

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_cmpint(again(bad[i], UNIT, &hold, &failure), <, 0);
        g_assert_cmpint(again(NULL, UNIT, &hold, &failure), <, 0);
        g_assert_cmpint(again(handle, 3 * UNIT, &hold, &failure), <, 0);
        g_assert_cmpuint(region->largest, ==, SIZE);

        g_assert_cmpint(again(handle, 4 * UNIT, &hold, &failure), ==, 0);
        g_assert_cmpuint(region->largest, ==, SIZE - 4 * UNIT);
        g_assert_cmpint(again(handle, 4 * UNIT, &(Hold *){ NULL }, &failure), <, 0);
        assert_text(failure.text, "where something else is");
        piece = (Piece){ .length = UNIT, .fd = -EBADF, .fd_read_only = -EBADF, .handle = g_strdup(taken), .hold = hold };
        g_assert_cmpint(devdax->claim(region, &piece, &failure), ==, 0);
        g_assert_cmpuint(devdax->hold_largest(hold), ==, 3 * UNIT);
        other = (Piece){ .length = UNIT, .fd = -EBADF, .fd_read_only = -EBADF, .handle = g_strdup(taken), .hold = hold };
        g_assert_cmpint(devdax->claim(region, &other, &failure), <, 0);
        piece_done(&other);
        release(&piece, false);
        g_assert_cmpuint(devdax->hold_largest(hold), ==, 4 * UNIT);
        devdax->hold_end(region, hold);
        g_assert_cmpuint(region->largest, ==, SIZE);
}

/* Somebody was faster: what he has is no longer kept for anybody. */
static void test_met(void) {
        g_autofree char *handle = NULL;
        Hold *hold = hold_new(4 * UNIT, &handle);
        Failure failure = { 0 };
        Piece piece = take(hold, UNIT);

        fake_device(path, 0, 1);
        fake_add_range(path, "dax0.1", START + piece.ranges[0].start, UNIT);
        g_assert_cmpint(carve(&piece, &failure), <, 0);
        g_assert_true(piece.foreign);
        release(&piece, true);
        g_assert_cmpuint(devdax->hold_largest(hold), ==, 3 * UNIT);
        rescan();
        rescan();
        g_assert_cmpuint(region->foreign, ==, UNIT);
        g_assert_cmpuint(devdax->hold_largest(hold), ==, 3 * UNIT);
        piece = take(hold, 3 * UNIT);
        release(&piece, false);
        devdax->hold_end(region, hold);
        devdax->rest(region);
}

int main(int argc, char **argv) {
        static const SceneTest tests[] = {
                { "/devdax/hold/kept", test_kept },
                { "/devdax/hold/clean", test_clean },
                { "/devdax/hold/soiled", test_soiled },
                { "/devdax/hold/shape", test_shape },
                { "/devdax/hold/again", test_again },
                { "/devdax/hold/met", test_met },
        };

        return scene_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
