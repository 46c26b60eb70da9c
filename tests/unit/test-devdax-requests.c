/* SPDX-License-Identifier: MIT */

/* The provider of dax devices: what becomes of a region, of a request, and where a piece is put. */

#include <errno.h>
#include <string.h>

#include "devdax-scene.h"

/* ---- The region ---- */

static void test_facts(void) {
        g_assert_cmpuint(region->size, ==, SIZE);
        g_assert_cmpuint(region_available(region), ==, SIZE);
        g_assert_cmpuint(region->largest, ==, SIZE);
        g_assert_cmpuint(region->granularity, ==, UNIT);
        g_assert_cmpuint(region->n_alignments, ==, 2);
        g_assert_cmpuint(region->alignments[1], ==, GIB);
        g_assert_cmpstr(region->clean, ==, "on-free");
        g_assert_cmpstr(region->recycle, ==, "owner"); /* there is no witness here */
        g_assert_cmpuint(region->drain_timeout, ==, config.drain_timeout);

        config.clean = CLEAN_BOTH;
        config.recycle = RECYCLE_ANY;
        apply(found);
        g_assert_cmpstr(region->clean, ==, "both");
        g_assert_cmpstr(region->recycle, ==, "any");
        config.clean = CLEAN_ON_ALLOC;
        config.recycle = RECYCLE_WITNESSED;
        apply(found);
        g_assert_cmpstr(region->clean, ==, "on-alloc");
        g_assert_cmpstr(region->recycle, ==, "witnessed");
}

static void test_not_there(void) {
        char source[] = "cxl.7";

        apply(NULL);
        assert_text(region->reason, "no dax region 'hmem.0' now");
        g_assert_cmpuint(region_available(region), ==, 0);
        config.source = source;
        apply(NULL);
        assert_text(region->reason, "no dax region 'cxl.7' now");
        config.source = NULL;
        rescan();
        g_assert_cmpstr(region->reason, ==, NULL);
}

/* Why the kernel's region cannot be used is why ours cannot. */
static void test_reason(void) {
        Piece piece = reserve(UNIT);

        g_assert_null(found->reason);
        found->reason = strdup("it is the wrong colour");
        apply(found);
        g_assert_cmpstr(region->reason, ==, "it is the wrong colour");
        g_assert_cmpuint(region->size, ==, SIZE); /* the account is kept */
        release(&piece, false);
        rescan();
        g_assert_cmpstr(region->reason, ==, NULL);
}

/* It takes a device of size 0 to see where a region begins, so one is made. */
static void test_unknown_start(void) {
        Failure failure = { 0 };

        g_assert_null(region_free(region));
        found->start_known = false;
        make_region(true);
        assert_text(region->reason, "not known yet where it begins");
        g_assert_true(devdax->is_low(region));
        g_assert_cmpint(devdax->replenish(region, &failure), ==, 0);
        rescan();
        g_assert_cmpstr(region->reason, ==, NULL);
        g_assert_cmpuint(region_available(region), ==, SIZE);

        /* and what is known stays known when it is full */
        found->start_known = false;
        found->range.start = 0;
        apply(found);
        g_assert_cmpstr(region->reason, ==, NULL);
        devdax->rest(region);
}

static void test_moved(void) {
        Reservation reservation = { 0 };
        Piece piece = reserve(UNIT);

        reservation_take(&reservation, region, UNIT);
        found->range.start += GIB;
        found->range.length -= GIB;
        apply(found);
        assert_text(region->reason, "it has moved");
        g_assert_cmpuint(region->size, ==, SIZE);

        release(&piece, false);
        reservation_release(&reservation);
        apply(found);
        g_assert_cmpstr(region->reason, ==, NULL);
        g_assert_cmpuint(region->size, ==, SIZE - GIB);
        g_assert_cmpuint(region_available(region), ==, SIZE - GIB);
}

/* ---- Plans ---- */

static void assert_refused(const Request *request, Refusal refusal, const char *words) {
        Failure failure = { 0 };
        Piece piece;

        g_assert_cmpint(devdax->plan(region, request, &piece, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, refusal);
        assert_text(failure.text, words);
}

static void test_plan(void) {
        static const struct {
                uint64_t size, alignment, page_size; /* 0: not said */
                uint64_t length, pages;
        } cases[] = {
                { 1, 1, 0, UNIT, UNIT },
                { UNIT, UNIT, 0, UNIT, UNIT },
                { UNIT + 1, 1, 0, 2 * UNIT, UNIT },
                { 1, 1, 4 * KIB, UNIT, 4 * KIB },
                { UNIT + 1, 1, UNIT, 2 * UNIT, UNIT },
                { 1, 1, GIB, GIB, GIB },
                { GIB + 1, GIB, GIB, 2 * GIB, GIB },
                /* an alignment of addresses asks for pages of it only if nothing is lost by that */
                { GIB, GIB, 0, GIB, GIB },
                { 2 * GIB, GIB, 0, 2 * GIB, GIB },
                { UNIT, GIB, 0, UNIT, UNIT },
                { GIB, UNIT, 0, GIB, UNIT },
                { GIB, GIB, 4 * KIB, GIB, 4 * KIB },
                /* more than there is: that is for others to say */
                { 2 * SIZE, 1, 0, 2 * SIZE, UNIT },
                { INT64_MAX - UNIT, 1, 0, (UINT64_C(1) << 63) - UNIT, UNIT },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                Request request = request_of(cases[i].size);
                Piece piece;

                request.alignment = cases[i].alignment;
                request.page_size = cases[i].page_size;
                request.page_size_set = cases[i].page_size > 0;
                piece = plan(&request);
                g_assert_cmpuint(piece.length, ==, cases[i].length);
                g_assert_cmpuint(piece.page_size, ==, cases[i].pages);
                g_assert_cmpuint(piece.alignment, ==, cases[i].alignment);
                g_assert_cmpuint(piece.n_ranges, ==, 0);
                g_assert_cmpint(piece.fd, <, 0);
                g_assert_cmpint(piece.fd_read_only, <, 0);
        }
        g_assert_cmpuint(region->largest, ==, SIZE);
}

static void test_plan_refused(void) {
        static const uint64_t pages[] = { 1, 8 * KIB, MIB, 4 * MIB, 2 * GIB, UINT64_C(1) << 63 };
        static const uint64_t sizes[] = { UINT64_MAX, UINT64_MAX - UNIT + 1, UINT64_C(1) << 63, INT64_MAX };
        Request request = request_of(UNIT);

        request.page_size_set = true;
        for (size_t i = 0; i < G_N_ELEMENTS(pages); i++) {
                request.page_size = pages[i];
                assert_refused(&request, REFUSAL_BadOption, "4096, 2097152 or 1073741824");
        }
        for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
                request = request_of(sizes[i]);
                assert_refused(&request, REFUSAL_BadSize, "2^63 - 1");
        }
        request = request_of(INT64_MAX - UNIT);
        request.page_size_set = true;
        request.page_size = GIB;
        assert_refused(&request, REFUSAL_BadSize, "1 GiB");

        request = request_of(UNIT);
        request.persistent = true;
        assert_refused(&request, REFUSAL_BadOption, "gone after a reboot");
}

static void test_nodes(void) {
        Request request = request_of(UNIT);

        request.numa_node_set = true;
        request.numa_node = 0;
        assert_refused(&request, REFUSAL_BadOption, "node -1");

        fake_write("1\n", "sys/devices/platform/" NAME "/dax0.0/numa_node");
        fake_write("5\n", "sys/devices/platform/" NAME "/dax0.0/target_node");
        rescan();
        g_assert_cmpint(region->numa_node, ==, 1);
        g_assert_cmpint(region->target_node, ==, 5);
        assert_refused(&request, REFUSAL_BadOption, "lies on node 5");
        request.numa_node = UINT32_MAX; /* not -1 */
        assert_refused(&request, REFUSAL_BadOption, "lies on node 5");
        request.numa_node = 1;
        (void) plan(&request);
        request.numa_node = 5;
        (void) plan(&request);
}

/* ---- Places ---- */

static void assert_no_room(const Request *request, const char *words) {
        Piece piece = plan(request);
        Failure failure = { 0 };

        g_assert_cmpint(try_reserve(&piece, &failure), ==, -ENOSPC);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_NoSpace);
        assert_text(failure.text, words);
        g_assert_cmpuint(piece.n_ranges, ==, 0);
        g_assert_null(piece.state);
}

static void test_account(void) {
        Piece all = reserve(SIZE), small;
        Request one = request_of(1);

        g_assert_cmpuint(all.n_ranges, ==, 1);
        g_assert_cmpuint(all.ranges[0].start, ==, 0); /* offsets, not addresses */
        g_assert_cmpuint(all.ranges[0].length, ==, SIZE);
        g_assert_false(all.clean); /* nobody knows what was there before us */
        g_assert_cmpuint(region->largest, ==, 0);
        assert_no_room(&one, "0 bytes free");
        release(&all, true);

        /* what was given back clean is clean, once */
        small = reserve(UNIT);
        g_assert_true(small.clean);
        release(&small, false);
        all = reserve(SIZE);
        g_assert_false(all.clean);
        release(&all, false);

        region->changed = false;
        small = reserve(UNIT);
        g_assert_true(region->changed);
        g_assert_cmpuint(region->largest, ==, SIZE - UNIT);
        release(&small, false);
}

static void test_fragments(void) {
        enum { N = 64 };
        Request request = request_of(2 * UNIT);
        Piece rest = reserve(SIZE - N * UNIT), pieces[N], torn;

        for (size_t i = 0; i < N; i++)
                pieces[i] = reserve(UNIT);
        for (size_t i = 0; i < N; i += 2)
                release(&pieces[i], false);

        request.contiguous = true;
        assert_no_room(&request,
                       "64 MiB free, but in pieces: 2 MiB at most can be had at an alignment of 2 MiB in one piece");
        request = request_of((PIECE_RANGES_MAX + 1) * UNIT);
        assert_no_room(&request, "32 MiB at most can be had at an alignment of 2 MiB");

        torn = reserve(PIECE_RANGES_MAX * UNIT);
        g_assert_cmpuint(torn.n_ranges, ==, PIECE_RANGES_MAX);
        for (unsigned i = 0; i < torn.n_ranges; i++)
                for (unsigned j = 0; j < i; j++)
                        g_assert_cmpuint(torn.ranges[i].start, !=, torn.ranges[j].start);
        release(&torn, false);

        /* whole again when all is back */
        for (size_t i = 1; i < N; i += 2)
                release(&pieces[i], false);
        request = request_of(N * UNIT);
        request.contiguous = true;
        torn = plan(&request);
        g_assert_cmpint(devdax->reserve(region, &torn, &(Failure){ 0 }), ==, 0);
        g_assert_cmpuint(torn.n_ranges, ==, 1);
        release(&torn, false);
        release(&rest, false);
}

/* Pages of 1 GiB begin where the address says so, whatever small pieces are there. */
static void test_gigabytes(void) {
        Request request = request_of(3 * GIB);
        Piece small = reserve(UNIT), large;

        request.alignment = GIB;
        large = plan(&request);
        g_assert_cmpuint(large.page_size, ==, GIB);
        g_assert_cmpint(try_reserve(&large, &(Failure){ 0 }), ==, 0);
        for (unsigned i = 0; i < large.n_ranges; i++) {
                g_assert_cmpuint((START + large.ranges[i].start) % GIB, ==, 0);
                g_assert_cmpuint(large.ranges[i].length % GIB, ==, 0);
        }
        request.size = GIB;
        assert_no_room(&request, "0 bytes at most can be had at an alignment of 1 GiB");
        release(&large, false);
        release(&small, false);
}

int main(int argc, char **argv) {
        static const SceneTest tests[] = {
                { "/devdax/facts", test_facts },
                { "/devdax/not-there", test_not_there },
                { "/devdax/reason", test_reason },
                { "/devdax/unknown-start", test_unknown_start },
                { "/devdax/moved", test_moved },
                { "/devdax/plan", test_plan },
                { "/devdax/plan-refused", test_plan_refused },
                { "/devdax/nodes", test_nodes },
                { "/devdax/account", test_account },
                { "/devdax/fragments", test_fragments },
                { "/devdax/gigabytes", test_gigabytes },
        };

        return scene_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
