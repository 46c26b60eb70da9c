/* SPDX-License-Identifier: MIT */

/* The account of a dax region: what others have of it, what was given back only now, and when it has to begin anew. What the
 * kernel says is written into what was found, so that it can be anything. */

#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "clean.h"
#include "devdax-scene.h"
#include "devdax.h"
#include "node-watch.h"

static bool deceived;
static uint64_t bandwidth;

bool __wrap_node_watch_can_be_deceived(void);
bool __wrap_node_watch_can_be_deceived(void) {
        return deceived;
}

void __wrap_throttle_set(Throttle *throttle, uint64_t limit);
void __wrap_throttle_set(Throttle *throttle, uint64_t limit) {
        (void) throttle;
        bandwidth = limit;
}

/* In what was found, which is then to be applied. */
static DaxDevice *device_found(const char *name) {
        for (size_t i = 0; i < found->n_devices; i++)
                if (strcmp(found->devices[i].name, name) == 0)
                        return &found->devices[i];
        g_assert_not_reached();
}

static void assert_free(uint64_t start, bool is_free) {
        g_autofree char *handle = g_strdup_printf("dax0.99 %" PRIx64 "+200000", start);
        Failure failure = { 0 };
        Piece piece;
        int r;

        r = try_claim(handle, UNIT, &piece, &failure);
        g_assert_cmpint(r >= 0, ==, is_free);
        if (r >= 0)
                release(&piece, false);
        else
                piece_done(&piece);
}

static bool is_clean(uint64_t size) {
        Piece piece = reserve(size);
        bool clean = piece.clean;

        release(&piece, clean);
        return clean;
}

static void make_all_clean(void) {
        Piece all = reserve(SIZE);

        release(&all, true);
        g_assert_true(is_clean(SIZE));
}

/* ---- The region ---- */

static void test_facts(void) {
        found->performance = (DaxPerformance){ 1, 2, 3, 4 };
        config.clean_bandwidth = 12345;
        apply(found);
        g_assert_cmpuint(region->alignments[0], ==, UNIT);
        g_assert_cmpmem(&region->performance, sizeof(region->performance), &found->performance, sizeof(found->performance));
        g_assert_cmpuint(bandwidth, ==, 12345);

        /* whom a witness would believe too much is not believed */
        config.recycle = RECYCLE_WITNESSED;
        apply(found);
        g_assert_cmpstr(region->recycle, ==, "witnessed");
        deceived = true;
        apply(found);
        g_assert_cmpstr(region->recycle, ==, "owner");
        config.recycle = RECYCLE_ANY;
        apply(found);
        g_assert_cmpstr(region->recycle, ==, "any");
        deceived = false;
}

static void test_plan(void) {
        Request request = request_of(UNIT);
        Failure failure = { 0 };
        Piece piece = plan(&request);

        g_assert_true(piece.prefault);
        found->target_node = 0;
        apply(found);
        request.numa_node_set = true;
        request.numa_node = 7;
        g_assert_cmpint(devdax->plan(region, &request, &piece, &failure), <, 0);
        assert_text(failure.text, "lies on node 0");
}

static void renew(void) {
        g_assert_null(region_free(region));
        make_region(true);
}

/* Why the kernel's cannot be used is told, and where it lies is known all the same if that can be. */
static void test_reason_at_first(void) {
        found->reason = strdup("it is the wrong colour");
        renew();
        g_assert_cmpstr(region->reason, ==, found->reason);
        g_assert_cmpuint(region->size, ==, SIZE);
        g_assert_nonnull(region->state);

        for (unsigned i = 0; i < 3; i++) {
                found->start_known = i != 0;
                found->range.start = START + (i == 1 ? UNIT / 2 : 0);
                found->range.length = SIZE - (i == 2 ? UNIT / 2 : 0);
                renew();
                g_assert_cmpstr(region->reason, ==, found->reason);
                g_assert_null(region->state);
        }
}

static void test_moved(void) {
        Reservation reservation = { 0 };
        Piece piece = reserve(UNIT);

        reservation_take(&reservation, region, UNIT);
        for (unsigned i = 0; i < 3; i++) {
                char *before = found->path;

                found->range.start += i == 0 ? UNIT : 0;
                found->range.length -= i == 1 ? UNIT : 0;
                found->path = i == 2 ? g_strconcat(before, "-new", NULL) : before;
                apply(found);
                assert_text(region->reason, "it has moved, and there are allocations");
                found->range = (Range){ START, SIZE };
                if (i == 2)
                        g_free(found->path);
                found->path = before;
                apply(found);
                g_assert_cmpstr(region->reason, ==, NULL);
        }
        release(&piece, false);
        reservation_release(&reservation);

        /* not under the hands of the thread that makes devices ahead; it is seen to when that has ended */
        region->replenishing = true;
        found->range.length -= UNIT;
        apply(found);
        assert_text(region->reason, "it has moved just now");
        g_assert_true(region->configure_again);
        g_assert_cmpuint(((Devdax *) region->state)->whole.length, ==, SIZE);
        region->replenishing = region->configure_again = false;
        apply(found);
        g_assert_cmpstr(region->reason, ==, NULL);
        g_assert_false(region->configure_again);
        g_assert_cmpuint(region->size, ==, SIZE - UNIT);
}

/* Before it is known where a region begins there is nothing to be claimed, and once there are devices none to be made. */
static void test_unknown_start(void) {
        Failure failure = { 0 };
        Piece piece;

        g_assert_null(region_free(region));
        found->start_known = false;
        make_region(true);
        g_assert_cmpint(try_claim("dax0.1 100000000+200000", UNIT, &piece, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_RegionUnusable);
        piece_done(&piece);
        g_assert_true(devdax->is_low(region));
        g_assert_cmpint(devdax->replenish(region, &failure), ==, 0);
        g_assert_false(devdax->is_low(region));
        devdax->rest(region);
        g_assert_true(devdax->is_low(region));
        devdax->hurry(region);
        g_assert_false(devdax->is_low(region));
}

/* What an earlier broker has left is put in order even where there is nothing to be had. */
static void test_full_at_first(void) {
        Failure failure = { 0 };
        Piece all = reserve(SIZE);

        g_assert_true(devdax->is_low(region));
        g_assert_cmpint(devdax->replenish(region, &failure), ==, 0);
        devdax->rest(region);
        g_assert_false(devdax->is_low(region));
        release(&all, false);
        g_assert_true(devdax->is_low(region));
}

/* ---- What others have ---- */

/* The same device with other ranges, and the same range in another device. */
static void test_replaced(void) {
        fake_device(path, 0, 1);
        fake_add_range(path, "dax0.1", START + GIB, UNIT);
        rescan();
        g_assert_cmpuint(region->foreign, ==, UNIT);
        assert_free(START + GIB, false);

        g_assert_cmpint(dax_unbind(path, "dax0.1"), ==, 0);
        fake_add_range(path, "dax0.1", START + GIB, 2 * UNIT);
        rescan();
        g_assert_cmpuint(region->foreign, ==, 2 * UNIT);
        assert_free(START + GIB + UNIT, false);

        g_assert_cmpint(dax_unbind(path, "dax0.1"), ==, 0);
        fake_add_range(path, "dax0.1", START + 2 * GIB, 2 * UNIT);
        rescan();
        g_assert_cmpuint(region->foreign, ==, 2 * UNIT);
        assert_free(START + GIB, true);
        assert_free(START + 2 * GIB, false);

        g_assert_cmpint(dax_unbind(path, "dax0.1"), ==, 0);
        fake_add_range(path, "dax0.1", START, SIZE);
        rescan();
        assert_text(region->reason, "such as dax0.1");
        g_assert_cmpint(dax_unbind(path, "dax0.1"), ==, 0);
        fake_device(path, 0, 2);
        fake_add_range(path, "dax0.2", START, SIZE);
        rescan();
        assert_text(region->reason, "such as dax0.2");
}

/* Of two, one is gone, and where the other lies cannot be told. */
static void test_one_unknown(void) {
        fake_device(path, 0, 1);
        fake_device(path, 0, 2);
        fake_add_range(path, "dax0.1", START, UNIT);
        fake_add_range(path, "dax0.2", START + GIB, UNIT);
        rescan();
        g_assert_cmpuint(region->foreign, ==, 2 * UNIT);

        device_found("dax0.1")->ranges_known = false;
        device_found("dax0.1")->n_ranges = 0;
        device_found("dax0.2")->size = 0;
        apply(found);
        g_assert_cmpuint(region->foreign, ==, UNIT);
        assert_free(START, false);
        assert_free(START + GIB, true);
}

/* A part of the truth is none; and what has no size has no ranges. */
static void test_half_known(void) {
        DaxDevice *device;

        fake_device(path, 0, 1);
        fake_add_range(path, "dax0.1", START, UNIT);
        g_assert_null(region_free(region));
        dax_regions_free(found);
        found = scan();
        device = device_found("dax0.1");
        device->ranges_known = false;
        make_region(true);
        g_assert_cmpuint(region->foreign, ==, 0);
        device->ranges_known = true;
        device->size = 0;
        apply(found);
        g_assert_cmpuint(region->foreign, ==, 0);
        device->size = UNIT;
        apply(found);
        g_assert_cmpuint(region->foreign, ==, UNIT);
}

/* What is somebody's, and not known whose, stays so until it is known of all devices what they have. */
static void test_somebodys(void) {
        Piece piece = reserve(UNIT);
        uint64_t place = START + piece.ranges[0].start;

        fake_device(path, 0, 1);
        fake_add_range(path, "dax0.1", START + GIB, UNIT);
        rescan();
        piece.foreign = true;
        release(&piece, true);
        device_found("dax0.1")->ranges_known = false;
        apply(found);
        assert_free(place, false);
        g_assert_cmpuint(region->foreign, ==, 2 * UNIT);

        /* a device of no size is nothing that one would have to know of */
        device_found("dax0.1")->ranges_known = true;
        device_found("dax0.0")->ranges_known = false;
        apply(found);
        assert_free(place, true);
        g_assert_cmpuint(region->foreign, ==, UNIT);
}

/* Who was there may have been anywhere. */
static void test_soiled(void) {
        make_all_clean();
        fake_device(path, 0, 1);
        fake_add_range(path, "dax0.1", START + GIB, UNIT);
        rescan();
        for (unsigned i = 0; i < 2; i++) {
                Piece most = reserve(2 * GIB);

                g_assert_false(most.clean);
                release(&most, true);
                g_assert_true(is_clean(2 * GIB));
                if (i == 1)
                        break;
                g_assert_cmpint(dax_unbind(path, "dax0.1"), ==, 0);
                rescan();
        }
}

/* A claim that comes to nothing leaves nothing taken, and nothing clean that was not. */
static void test_claim_undone(void) {
        Piece piece;

        make_all_clean();
        g_assert_cmpint(try_claim("dax0.1 100000000+200000,ff0000000+200000", 2 * UNIT, &piece, &(Failure){ 0 }), <, 0);
        piece_done(&piece);
        apply(found);
        g_assert_cmpuint(region->largest, ==, SIZE);
        g_assert_true(is_clean(SIZE - UNIT));
        g_assert_false(is_clean(SIZE));
}

/* ---- What was given back only now ---- */

static void assert_taken_for_foreign(Range given, Range seen, bool expected) {
        g_autofree char *handle = g_strdup_printf("dax0.1 %" PRIx64 "+%" PRIx64, given.start, given.length);
        Piece piece = claim(handle, given.length);
        DaxRegion *stale;

        fake_add_range(path, "dax0.1", seen.start, seen.length);
        stale = scan();
        release(&piece, false);
        apply(stale);
        g_assert_cmpuint(region->foreign, ==, expected ? seen.length : 0);
        g_assert_cmpint(dax_unbind(path, "dax0.1"), ==, 0);
        g_usleep(1000);
        rescan();
        g_assert_cmpuint(region->foreign, ==, 0);
}

/* Seen by who looked before, it is what was ours if it lies within that. */
static void test_given(void) {
        const Range ours = { START + GIB, 4 * UNIT };

        fake_device(path, 0, 1);
        assert_taken_for_foreign(ours, ours, false);
        assert_taken_for_foreign(ours, (Range){ ours.start + UNIT, 2 * UNIT }, false);
        assert_taken_for_foreign(ours, (Range){ ours.start + 3 * UNIT, UNIT }, false);
        assert_taken_for_foreign(ours, (Range){ ours.start + 3 * UNIT, 2 * UNIT }, true);
        assert_taken_for_foreign(ours, (Range){ ours.start - UNIT, 2 * UNIT }, true);
        assert_taken_for_foreign(ours, (Range){ ours.start - UNIT, 6 * UNIT }, true);
        assert_taken_for_foreign(ours, (Range){ ours.start + 4 * UNIT, UNIT }, true);
}

/* Of what was given back, the last is known, however much it was. */
static void test_given_much(void) {
        DaxRegion *stale;

        fake_device(path, 0, 1);
        fake_add_range(path, "dax0.1", START + GIB, UNIT);
        stale = scan();
        for (unsigned i = 0; i < 3 * GIVEN_MAX; i++) {
                Piece piece = claim("dax0.1 100000000+200000", UNIT);

                release(&piece, false);
        }
        for (unsigned i = 0; i < GIVEN_MAX; i++) {
                Piece piece = claim("dax0.1 140000000+200000", UNIT);

                release(&piece, false);
        }
        apply(stale);
        g_assert_cmpuint(region->foreign, ==, 0);
}

static const SceneTest tests[] = {
        { "/devdax/account/facts", test_facts },
        { "/devdax/account/plan", test_plan },
        { "/devdax/account/reason-at-first", test_reason_at_first },
        { "/devdax/account/moved", test_moved },
        { "/devdax/account/unknown-start", test_unknown_start },
        { "/devdax/account/full-at-first", test_full_at_first },
        { "/devdax/account/replaced", test_replaced },
        { "/devdax/account/one-unknown", test_one_unknown },
        { "/devdax/account/half-known", test_half_known },
        { "/devdax/account/somebodys", test_somebodys },
        { "/devdax/account/soiled", test_soiled },
        { "/devdax/account/claim-undone", test_claim_undone },
        { "/devdax/account/given", test_given },
        { "/devdax/account/given-much", test_given_much },
};

int main(int argc, char **argv) {
        return scene_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
