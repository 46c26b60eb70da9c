/* SPDX-License-Identifier: MIT */

/* The provider of dax devices: what a record says is its, and what others have of the region. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "devdax-scene.h"

/* ---- Claims: what a record says ---- */

/* And nothing is taken. */
static void assert_not_claimed(const char *handle, uint64_t length, const char *words) {
        uint64_t largest = region->largest;
        Failure failure = { 0 };
        Piece piece;

        if (try_claim(handle, length, &piece, &failure) >= 0)
                g_error("%s was claimed", handle);
        assert_text(failure.text, words);
        g_assert_cmpuint(piece.n_ranges, ==, 0);
        g_assert_null(piece.state);
        apply(found);
        g_assert_cmpuint(region->largest, ==, largest);
        piece_done(&piece);
}

static void test_claim(void) {
        Piece piece = claim("dax0.1 100000000+200000,100400000+400000", 3 * UNIT), other;

        g_assert_cmpuint(piece.n_ranges, ==, 2);
        g_assert_cmpuint(piece.ranges[0].start, ==, 0);
        g_assert_cmpuint(piece.ranges[0].length, ==, UNIT);
        g_assert_cmpuint(piece.ranges[1].start, ==, 2 * UNIT);
        g_assert_cmpuint(piece.ranges[1].length, ==, 2 * UNIT);
        g_assert_false(piece.clean);
        g_assert_cmpstr(device_of(&piece), ==, "dax0.1");

        /* the gap is still free, and all the rest */
        other = claim("dax0.2 100200000+200000", UNIT);
        release(&other, false);
        other = claim("dax0.2 100800000+ff800000", SIZE - 4 * UNIT);
        g_assert_cmpuint(region->largest, ==, UNIT);
        release(&other, false);
        release(&piece, false);
        apply(found);
        g_assert_cmpuint(region->largest, ==, SIZE);
}

static void test_claim_malformed(void) {
        static const char *const bad[] = {
                "", " ", "dax0.1", "dax0.1 ", "dax0.1 100000000", "dax0.1 100000000+", "dax0.1 +200000",
                "dax0.1 100000000+200000,", "dax0.1 100000000+200000;", "dax0.1 100000000+200000 ",
                "dax0.1 0x100000000+200000", "dax0.1 100000000+200000\n", "dax0.1 100000000-200000",
                "dax0.1  100000000+200000", "dax0.1 100000000+20000", "dax0.1 100000001+200000", "dax0.1 100000000+0",
                "dax0.1 10000000000000000+200000", "dax0.1 100000000+00000000000200000", "dax0.1 100000000+20000G",
                " 100000000+200000", "dax 100000000+200000", "dax0 100000000+200000", "dax0. 100000000+200000",
                "dax0.0 100000000+200000", "dax0.00 100000000+200000", "dax0.1x 100000000+200000",
                "../etc/passwd 100000000+200000", "dax0.1/.. 100000000+200000",
                "dax0.11111111111111111111111111111111 100000000+200000",
                "DAX0.1 100000000+200000", "dax0.1\t100000000+200000",
        };
        GString *many = g_string_new("dax0.1 ");

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                assert_not_claimed(bad[i], UNIT, "does not say where it lies");

        for (unsigned i = 0; i <= PIECE_RANGES_MAX; i++)
                g_string_append_printf(many, "%s%" PRIx64 "+200000", i > 0 ? "," : "", START + 2 * i * UNIT);
        assert_not_claimed(many->str, (PIECE_RANGES_MAX + 1) * UNIT, "does not say where it lies");
        g_string_free(many, TRUE);

        /* no handle at all */
        g_assert_cmpint(devdax->claim(region, &(Piece){ .length = UNIT }, &(Failure){ 0 }), <, 0);
}

static void test_claim_elsewhere(void) {
        static const char words[] = "where something else is";
        Piece piece = claim("dax0.1 100200000+200000", UNIT);

        assert_not_claimed("dax0.2 100200000+200000", UNIT, words);
        assert_not_claimed("dax0.2 100000000+400000", 2 * UNIT, words);
        assert_not_claimed("dax0.2 100000000+200000,100200000+200000", 2 * UNIT, words);
        /* twice the same */
        assert_not_claimed("dax0.2 100400000+200000,100400000+200000", 2 * UNIT, words);
        /* before, behind, across the end, around the world */
        assert_not_claimed("dax0.2 ffe00000+200000", UNIT, words);
        assert_not_claimed("dax0.2 200000000+200000", UNIT, words);
        assert_not_claimed("dax0.2 1ffe00000+400000", 2 * UNIT, words);
        assert_not_claimed("dax0.2 0+200000", UNIT, words);
        assert_not_claimed("dax0.2 ffffffffffe00000+200000", UNIT, words);
        assert_not_claimed("dax0.2 100400000+fffffffffffe00000", UNIT, "does not say where it lies");
        assert_not_claimed("dax0.2 100400000+ffffffffffe00000", UINT64_MAX - UNIT + 1, words);
        /* not as long as the record says */
        assert_not_claimed("dax0.2 100400000+200000", 2 * UNIT, words);
        assert_not_claimed("dax0.2 100400000+400000", UNIT, words);
        release(&piece, false);
}

static void test_claim_nowhere(void) {
        Failure failure = { 0 };
        Region *gone;
        Piece piece;

        g_assert_cmpint(region_new_unconfigured("gone", devdax, notes, &gone), ==, 0);
        piece = (Piece){ .length = UNIT, .handle = strdup("dax0.1 100000000+200000"), .fd = -EBADF, .fd_read_only = -EBADF };
        g_assert_cmpint(devdax->claim(gone, &piece, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_RegionUnusable);
        assert_text(failure.text, "no longer configured");
        g_assert_false(devdax->is_low(gone));
        devdax->rest(gone);
        piece_done(&piece);
        region_free(gone);
}

/* A handle that was written is one that can be read. */
static void test_handle(void) {
        Piece piece = carved(3 * UNIT);
        g_autofree char *handle = g_strdup(piece.handle);
        Range range = piece.ranges[0];

        g_assert_true(g_str_has_prefix(handle, "dax0."));
        take_down(&piece);
        release(&piece, true);
        piece = claim(handle, 3 * UNIT);
        g_assert_cmpuint(piece.n_ranges, ==, 1);
        g_assert_cmpuint(piece.ranges[0].start, ==, range.start);
        release(&piece, false);
        devdax->rest(region);
}

/* ---- Somebody else ---- */

static void test_foreign(void) {
        Piece clean = reserve(SIZE), piece;

        release(&clean, true);
        fake_device(path, 0, 1);
        fake_add_range(path, "dax0.1", START + GIB, UNIT);
        fake_add_range(path, "dax0.1", START + 2 * GIB, 4 * UNIT);
        fake_bind(path, "dax0.1", "device_dax");
        rescan();
        g_assert_cmpuint(region->foreign, ==, 5 * UNIT);
        g_assert_cmpuint(region_available(region), ==, SIZE - 5 * UNIT);
        assert_not_claimed("dax0.2 140000000+200000", UNIT, "where something else is");

        /* who goes and comes may have had any of it in his hands */
        piece = reserve(SIZE - 5 * UNIT);
        g_assert_false(piece.clean);
        for (unsigned i = 0; i < piece.n_ranges; i++)
                g_assert_true(piece.ranges[i].start + piece.ranges[i].length <= GIB || piece.ranges[i].start > GIB);
        release(&piece, true);
        rescan();
        piece = reserve(UNIT);
        g_assert_true(piece.clean); /* nothing new */
        release(&piece, true);

        g_assert_cmpint(dax_unbind(path, "dax0.1"), ==, 0);
        rescan();
        g_assert_cmpuint(region->foreign, ==, 0);
        g_assert_cmpuint(region_available(region), ==, SIZE);
        piece = reserve(SIZE);
        g_assert_false(piece.clean);
        release(&piece, false);
}

static void test_foreign_all(void) {
        fake_device(path, 0, 1);
        fake_add_range(path, "dax0.1", START, SIZE);
        rescan();
        assert_text(region->reason, "such as dax0.1");
        g_assert_cmpint(dax_unbind(path, "dax0.1"), ==, 0);
        rescan();
        g_assert_cmpstr(region->reason, ==, NULL);
        g_assert_cmpuint(region_available(region), ==, SIZE);
}

/* Ours are not somebody else's: neither those that were carved, nor, before all records are read, those that may be. */
static void test_not_foreign(void) {
        Piece piece = carved(2 * UNIT);
        g_autofree char *handle = NULL;

        rescan();
        g_assert_cmpuint(region->foreign, ==, 0);
        handle = g_strdup(piece.handle);
        release(&piece, false);
        g_assert_null(region_free(region));

        make_region(false);
        rescan();
        g_assert_cmpuint(region->foreign, ==, 0);
        piece = claim(handle, 2 * UNIT);
        region->recovered = true;
        rescan();
        g_assert_cmpuint(region->foreign, ==, 0);
        take_down(&piece);
        release(&piece, false);
        devdax->rest(region);
}

/* Who looked before it was given back sees it there; who looks afterwards sees somebody else. */
static void test_stale_scan(void) {
        Piece piece = claim("dax0.1 140000000+200000", UNIT);
        DaxRegion *stale;

        fake_device(path, 0, 1);
        fake_add_range(path, "dax0.1", START + GIB, UNIT);
        stale = scan();
        release(&piece, false);
        apply(stale);
        g_assert_cmpuint(region->foreign, ==, 0);
        g_assert_cmpuint(region_available(region), ==, SIZE);

        g_usleep(1000);
        rescan();
        g_assert_cmpuint(region->foreign, ==, UNIT);
}

/* Where a device lies cannot be told at every moment; as long as it is there it is where it was. */
static void test_foreign_unknown(void) {
        fake_device(path, 0, 1);
        fake_add_range(path, "dax0.1", START, UNIT);
        rescan();
        g_assert_cmpuint(region->foreign, ==, UNIT);
        g_assert_cmpuint(found->n_devices, ==, 2);
        for (size_t i = 0; i < found->n_devices; i++)
                if (strcmp(found->devices[i].name, "dax0.1") == 0)
                        found->devices[i].ranges_known = false;
        apply(found);
        g_assert_cmpuint(region->foreign, ==, UNIT);
        g_assert_cmpint(dax_unbind(path, "dax0.1"), ==, 0);
        rescan();
        g_assert_cmpuint(region->foreign, ==, 0);
}

/* Somebody was faster than we, and nobody has seen him yet. */
static void test_foreign_met(void) {
        Failure failure = { 0 };
        Piece piece = reserve(SIZE), next;

        fake_device(path, 0, 1);
        fake_add_range(path, "dax0.1", START + GIB, UNIT);
        g_assert_cmpint(carve(&piece, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_NoSpace);
        assert_text(failure.text, "somebody else");
        g_assert_true(piece.foreign);
        g_assert_false(piece.stuck);
        release(&piece, true);

        /* until the next look nothing of it is handed out; then all but what is his */
        g_assert_cmpint(devdax->fits(region, &(Piece){ .length = UNIT, .page_size = UNIT }, &failure), ==, -ENOSPC);
        rescan();
        rescan();
        g_assert_cmpuint(region->foreign, ==, UNIT);
        next = reserve(SIZE - UNIT);
        g_assert_false(next.clean);
        release(&next, false);
        devdax->rest(region);
}

int main(int argc, char **argv) {
        static const SceneTest tests[] = {
                { "/devdax/claim", test_claim },
                { "/devdax/claim-malformed", test_claim_malformed },
                { "/devdax/claim-elsewhere", test_claim_elsewhere },
                { "/devdax/claim-nowhere", test_claim_nowhere },
                { "/devdax/handle", test_handle },
                { "/devdax/foreign", test_foreign },
                { "/devdax/foreign-all", test_foreign_all },
                { "/devdax/foreign-unknown", test_foreign_unknown },
                { "/devdax/foreign-met", test_foreign_met },
                { "/devdax/not-foreign", test_not_foreign },
                { "/devdax/stale-scan", test_stale_scan },
        };

        return scene_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
