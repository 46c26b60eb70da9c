/* SPDX-License-Identifier: MIT */

/* The provider of dax devices, with a kernel that is a folder: where pieces are put, what others have of the region, what a
 * device becomes and what is left of it. Nodes cannot be opened there, so opening is left out: all of them are one memfd. */

#include "provider.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "dax-attribute.h"
#include "fake-dax.h"
#include "region.h"
#include "size.h"

#define START (4 * GIB)
#define SIZE (4 * GIB)
#define UNIT DAX_GRANULARITY
#define NAME "hmem.0"

static const Provider *const devdax = &provider_devdax;

static char *path;
static int notes, memory, open_error;
static DaxRegion *found;
static RegionConfig config;
static Region *region;

int __wrap_dax_open(const char *region_path, const char *name, bool read_only, int *ret_fd);
int __wrap_dax_open(const char *region_path, const char *name, bool read_only, int *ret_fd) {
        (void) region_path;
        (void) name;
        (void) read_only;
        if (open_error)
                return open_error;

        *ret_fd = fcntl(memory, F_DUPFD_CLOEXEC, 0);
        g_assert_cmpint(*ret_fd, >=, 0);
        return 0;
}

static DaxRegion *scan(void) {
        DaxRegion *list;

        g_assert_cmpint(dax_scan(&list), ==, 0);
        g_assert_nonnull(list);
        g_assert_cmpstr(list->name, ==, NAME);
        return list;
}

/* What was found is the region's from here on. */
static void apply(DaxRegion *now) {
        DaxRegion *before = found;

        found = region->dax = now;
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        if (before != now)
                dax_regions_free(before);
}

static void rescan(void) {
        apply(scan());
}

static void make_region(bool recovered) {
        g_assert_cmpint(region_new(&config, found, notes, &region), ==, 0);
        region->recovered = recovered;
        g_assert_cmpint(region_configure(region, &config), ==, 0);
}

static void setup(void) {
        g_autofree char *folder = NULL;

        fake_dax_setup();
        path = fake_region("platform/" NAME, 0, START, SIZE);
        folder = fake_path("notes");
        g_assert_no_errno(g_mkdir(folder, 0700));
        notes = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        g_assert_cmpint(notes, >=, 0);
        memory = memfd_create("devices", MFD_CLOEXEC);
        g_assert_no_errno(ftruncate(memory, SIZE));
        open_error = 0;

        config = config_region_default(NAME);
        config.provider = (char *) (uintptr_t) devdax->name;
        found = scan();
        make_region(true);
        g_assert_cmpstr(region->reason, ==, NULL);
}

static void teardown(void) {
        g_assert_null(region_free(region));
        dax_regions_free(found);
        close(memory);
        close(notes);
        g_clear_pointer(&path, g_free);
        fake_dax_teardown();
}

static void assert_text(const char *text, const char *words) {
        if (!text || !strstr(text, words))
                g_error("\"%s\" does not say \"%s\"", text ? text : "", words);
}

/* ---- Pieces ---- */

static Request request_of(uint64_t size) {
        return (Request){ .size = size, .alignment = 1 };
}

static Piece plan(const Request *request) {
        Failure failure = { 0 };
        Piece piece;

        if (devdax->plan(region, request, &piece, &failure) < 0)
                g_error("it cannot be planned: %s", failure.text);
        return piece;
}

static void assert_refused(const Request *request, Refusal refusal, const char *words) {
        Failure failure = { 0 };
        Piece piece;

        g_assert_cmpint(devdax->plan(region, request, &piece, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, refusal);
        assert_text(failure.text, words);
}

/* What fits() says is what reserve() does. */
static int try_reserve(Piece *piece, Failure *failure) {
        int expected = devdax->fits(region, piece, failure), r;

        r = devdax->reserve(region, piece, failure);
        g_assert_cmpint(r, ==, expected);
        return r;
}

static Piece reserve(uint64_t size) {
        Request request = request_of(size);
        Piece piece = plan(&request);
        Failure failure = { 0 };

        if (try_reserve(&piece, &failure) < 0)
                g_error("it cannot be reserved: %s", failure.text);
        return piece;
}

static void assert_no_room(const Request *request, const char *words) {
        Piece piece = plan(request);
        Failure failure = { 0 };

        g_assert_cmpint(try_reserve(&piece, &failure), ==, -ENOSPC);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_NoSpace);
        assert_text(failure.text, words);
        g_assert_cmpuint(piece.n_ranges, ==, 0);
        g_assert_null(piece.state);
}

static void release(Piece *piece, bool clean) {
        piece->clean = clean;
        devdax->release(piece);
        g_assert_cmpuint(piece->n_ranges, ==, 0);
        g_assert_null(piece->state);
        piece_done(piece);
}

/* A device for it, in two steps, as allocations do. */
static int carve(Piece *piece, Failure *failure) {
        int r;

        r = devdax->prepare(piece, failure);
        if (r < 0)
                return r;
        devdax->prepared(piece, true);
        return devdax->carve(piece, "0123456789abcdef", failure);
}

static Piece carved(uint64_t size) {
        Piece piece = reserve(size);
        Failure failure = { 0 };

        if (carve(&piece, &failure) < 0)
                g_error("it cannot be carved: %s", failure.text);
        return piece;
}

static void take_down(Piece *piece) {
        Failure failure = { 0 };

        if (devdax->revoke(piece, &failure) < 0)
                g_error("it cannot be revoked: %s", failure.text);
}

static const char *device_of(const Piece *piece) {
        static char name[DAX_NAME_MAX];

        return piece_device(piece, name);
}

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
        assert_no_room(&request, "64 MiB free, but in pieces: 2 MiB at most can be had at an alignment of 2 MiB in one piece");
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

/* ---- Claims: what a record says ---- */

static int try_claim(const char *handle, uint64_t length, Piece *piece, Failure *failure) {
        *piece = (Piece){ .length = length, .handle = strdup(handle), .fd = -EBADF, .fd_read_only = -EBADF, .clean = true };
        return devdax->claim(region, piece, failure);
}

static Piece claim(const char *handle, uint64_t length) {
        Failure failure = { 0 };
        Piece piece;

        if (try_claim(handle, length, &piece, &failure) < 0)
                g_error("%s cannot be claimed: %s", handle, failure.text);
        return piece;
}

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

/* ---- Devices ---- */

static char byte_at(uint64_t offset) {
        char byte;

        g_assert_cmpint(pread(memory, &byte, 1, (off_t) offset), ==, 1);
        return byte;
}

static void test_life(void) {
        static const uint64_t pages[] = { 4 * KIB, UNIT, GIB };

        for (size_t i = 0; i < G_N_ELEMENTS(pages); i++) {
                bool dirty = pages[i] < GIB; /* that would take long */
                Request request = request_of(1);
                Failure failure = { 0 };
                g_autofree char *name = NULL;
                DaxDevice device;
                Piece piece;
                int fd;

                request.page_size = pages[i];
                request.page_size_set = true;
                piece = plan(&request);
                g_assert_cmpint(try_reserve(&piece, &failure), ==, 0);
                piece.clean = !dirty;
                g_assert_cmpint(pwrite(memory, "x", 1, (off_t) piece.length - 1), ==, 1);
                g_assert_cmpint(carve(&piece, &failure), ==, 0);
                name = g_strdup(device_of(&piece));

                g_assert_cmpint(dax_inspect(path, name, &device), ==, 0);
                g_assert_cmpint(device.driver, ==, DAX_DRIVER_DEVICE);
                g_assert_cmpuint(device.size, ==, piece.length);
                g_assert_cmpuint(device.alignment, ==, pages[i]);
                g_assert_cmpuint(device.ranges[0].start, ==, START + piece.ranges[0].start);
                g_assert_false(fake_is_claimed(name)); /* what an admin makes of this name later is not claimed */
                g_assert_cmpint(byte_at(piece.length - 1), ==, dirty ? 0 : 'x');
                g_assert_cmpuint(piece.cleaned, ==, dirty ? piece.length : 0);
                g_assert_false(piece.clean);

                g_assert_cmpint(devdax->open(&piece, true, &fd, &failure), ==, 0);
                g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
                g_assert_cmpint(fd, !=, piece.fd_read_only);
                close(fd);

                take_down(&piece);
                g_assert_false(fake_exists(name));
                g_assert_cmpint(piece.fd, <, 0);
                g_assert_cmpint(piece.fd_read_only, <, 0);
                take_down(&piece);
                release(&piece, false);
        }
        devdax->rest(region);
        g_assert_cmpuint(fake_count_devices(), ==, 1);
}

/* In many ranges it is one device all the same. */
static void test_life_in_ranges(void) {
        Piece first = reserve(UNIT), second = reserve(SIZE - 2 * UNIT), piece;
        DaxDevice device;

        release(&first, false);
        piece = reserve(2 * UNIT);
        g_assert_cmpuint(piece.n_ranges, ==, 2);
        g_assert_cmpint(carve(&piece, &(Failure){ 0 }), ==, 0);
        g_assert_cmpint(dax_inspect(path, device_of(&piece), &device), ==, 0);
        g_assert_cmpuint(device.n_ranges, ==, 2);
        g_assert_cmpuint(device.size, ==, 2 * UNIT);
        fake_inject(FAKE_NONE, 0, 0);
        take_down(&piece);
        g_assert_cmpuint(fake_count_writes(), ==, 4); /* claim, driver, ranges, device: each is taken back once */
        release(&piece, false);
        release(&second, false);
        devdax->rest(region);
}

/* The record could not be written: the device is as good as new. */
static void test_not_recorded(void) {
        Piece piece = reserve(UNIT);
        Failure failure = { 0 };
        unsigned n;

        g_assert_cmpint(devdax->prepare(&piece, &failure), ==, 0);
        g_assert_nonnull(piece.handle);
        n = fake_count_devices();
        devdax->prepared(&piece, false);
        g_assert_null(piece.handle);
        g_assert_cmpuint(fake_count_devices(), ==, n);
        release(&piece, false);
        devdax->rest(region);
        g_assert_cmpuint(fake_count_devices(), ==, 1);
}

/* Whichever write fails, or says that it was done and was not: nothing is left, or it is said that something is. */
static void test_failures(void) {
        static const FakeFault faults[] = { FAKE_ERROR, FAKE_LIE };
        Failure failure = { 0 };

        g_assert_cmpint(devdax->replenish(region, &failure), ==, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(faults); i++)
                for (unsigned n = 1;; n++) {
                        Piece piece = reserve(2 * UNIT);
                        g_autofree char *name = NULL;
                        bool ended;
                        int r;

                        g_assert_cmpint(devdax->prepare(&piece, &failure), ==, 0);
                        devdax->prepared(&piece, true);
                        name = g_strdup(device_of(&piece));
                        fake_inject(faults[i], n, EIO);
                        r = devdax->carve(&piece, "0123456789abcdef", &failure);
                        ended = fake_count_writes() < n;
                        fake_inject(FAKE_NONE, 0, 0);
                        if (r < 0 && !piece.stuck)
                                g_assert_false(fake_exists(name));
                        /* where it may be tried again, it is as before prepare() */
                        g_assert_cmpint(piece.handle == NULL, ==, r == -EAGAIN);
                        if (piece.handle)
                                take_down(&piece);
                        g_assert_false(fake_exists(name));
                        release(&piece, false);
                        g_assert_cmpuint(region_available(region), ==, SIZE);
                        g_assert_cmpint(devdax->replenish(region, &failure), ==, 0);
                        if (ended)
                                break;
                }
        rescan();
        g_assert_cmpuint(region->foreign, ==, 0);
        devdax->rest(region);
        g_assert_cmpuint(fake_count_devices(), ==, 1);
}

static void test_open_fails(void) {
        Piece piece = reserve(UNIT);
        Failure failure = { 0 };

        open_error = -EACCES;
        g_assert_cmpint(carve(&piece, &failure), <, 0);
        assert_text(failure.text, "cannot open /dev/dax0.");
        g_assert_false(piece.stuck);
        g_assert_false(fake_exists(device_of(&piece)));
        release(&piece, false);
        devdax->rest(region);
}

/* An admin has deleted it, and made another one of this name. */
static void test_name_of_another(void) {
        Piece piece = carved(UNIT);
        g_autofree char *name = g_strdup(device_of(&piece));
        Failure failure = { 0 };
        unsigned id, number;

        g_assert_cmpint(dax_name_parse(name, &id, &number), ==, 0);
        g_assert_cmpint(dax_unbind(path, name), ==, 0);
        g_assert_cmpint(dax_delete(path, name), ==, 0);
        fake_device(path, id, number);
        fake_add_range(path, name, START + 3 * GIB, 4 * UNIT);
        fake_bind(path, name, "device_dax");

        /* which is not cleaned for ours, nor handed out as ours; and ours is nobody's any more */
        piece_close(&piece);
        g_assert_cmpint(pwrite(memory, "x", 1, 0), ==, 1);
        g_assert_cmpint(devdax->clean(&piece, &failure), ==, 0);
        g_assert_cmpint(byte_at(0), ==, 'x');
        g_assert_false(piece.clean);
        g_assert_cmpint(devdax->reuse(&piece, &failure), ==, -ENOENT);
        g_assert_cmpint(byte_at(0), ==, 'x');
        g_assert_true(piece.stuck);
        g_assert_cmpint(devdax->judge(&piece, &failure), ==, 0);

        piece.clean = true;
        take_down(&piece);
        g_assert_true(fake_exists(name));
        g_assert_false(piece.clean);
        release(&piece, piece.clean);
        rescan();
        g_assert_cmpuint(region->foreign, ==, 4 * UNIT);
        devdax->rest(region);
}

/* ---- The end, step by step ---- */

static void test_judge(void) {
        Piece piece = carved(UNIT);
        Failure failure = { 0 };

        g_assert_cmpint(devdax->judge(&piece, &failure), ==, -EBUSY);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_StillReferenced);
        assert_text(failure.text, "Recycle=owner");

        piece.held = true;
        g_assert_cmpint(devdax->judge(&piece, &failure), ==, -EBUSY);
        assert_text(failure.text, "somebody still has it");
        piece.held = false;

        config.recycle = RECYCLE_WITNESSED; /* and there is none */
        apply(found);
        g_assert_cmpint(devdax->judge(&piece, &failure), ==, -EBUSY);
        assert_text(failure.text, "the witness cannot tell");

        config.recycle = RECYCLE_ANY;
        apply(found);
        g_assert_cmpint(devdax->judge(&piece, &failure), ==, 0);
        take_down(&piece);
        release(&piece, false);
        devdax->rest(region);
}

/* What discovery shows, as far as it can know of it. */
static void test_misses(void) {
        Piece piece = carved(2 * UNIT), early;
        g_autofree char *name = g_strdup(device_of(&piece));
        DaxRegion *before = found;

        g_assert_false(devdax->misses(region, &piece)); /* who looked before it was made does not know it */
        g_usleep(1000);
        rescan();
        g_assert_true(found != before);
        g_assert_false(devdax->misses(region, &piece));
        early = piece;
        early.made = 0;
        apply(NULL);
        g_assert_true(devdax->misses(region, &early));
        early.state = NULL;
        g_assert_false(devdax->misses(region, &early));

        fake_unbind(path, name);
        rescan();
        g_assert_true(devdax->misses(region, &piece));
        g_assert_cmpint(dax_unbind(path, name), ==, 0);
        rescan();
        g_assert_true(devdax->misses(region, &piece));
        g_assert_cmpint(dax_delete(path, name), ==, 0);
        rescan();
        g_assert_true(devdax->misses(region, &piece));
        release(&piece, false);
        devdax->rest(region);
}

static void assert_looks(const Piece *piece, int expected, const char *words) {
        Failure failure = { 0 };

        g_assert_cmpint(devdax->look(piece, &failure), ==, expected);
        assert_text(failure.text, words);
}

static void test_look(void) {
        Piece piece = carved(2 * UNIT);
        g_autofree char *name = g_strdup(device_of(&piece));
        Failure failure = { 0 };

        assert_looks(&piece, 0, "");
        piece.ranges[0].start += UNIT;
        assert_looks(&piece, -EUCLEAN, "not as it was made");
        piece.ranges[0].start -= UNIT;

        /* who refers to it cannot be told any more, also when it is bound again */
        config.recycle = RECYCLE_WITNESSED;
        apply(found);
        fake_unbind(path, name);
        assert_looks(&piece, -EUCLEAN, "disabled");
        g_assert_false(piece.disturbed);
        g_assert_cmpint(devdax->judge(&piece, &failure), ==, -EBUSY);
        assert_text(failure.text, "disabled or changed");
        g_assert_true(piece.disturbed);
        fake_bind(path, name, "device_dax");
        assert_looks(&piece, 0, "");
        g_assert_cmpint(devdax->judge(&piece, &failure), ==, -EBUSY);
        assert_text(failure.text, "disabled or changed");

        g_assert_cmpint(dax_unbind(path, name), ==, 0);
        assert_looks(&piece, -ENOENT, "is gone");
        g_assert_cmpint(dax_delete(path, name), ==, 0);
        assert_looks(&piece, -ENOENT, "is gone");
        release(&piece, false);
        devdax->rest(region);
}

/* Something else would help where the witness might tell if only it had seen pages of this size. */
static void test_wants_lesson(void) {
        Piece piece = carved(UNIT);

        g_assert_false(devdax->wants_lesson(region, &piece));
        config.recycle = RECYCLE_WITNESSED;
        apply(found);
        g_assert_true(devdax->wants_lesson(region, &piece));
        config.recycle = RECYCLE_ANY;
        apply(found);
        g_assert_false(devdax->wants_lesson(region, &piece));
        take_down(&piece);
        release(&piece, false);
        devdax->rest(region);
}

static void test_clean(void) {
        static const struct {
                CleanPolicy policy;
                bool at_end, before_use;
        } cases[] = {
                { CLEAN_ON_FREE, true, false },
                { CLEAN_ON_ALLOC, false, true },
                { CLEAN_BOTH, true, true },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                Failure failure = { 0 };
                Piece piece;

                config.clean = cases[i].policy;
                apply(found);
                piece = carved(UNIT);
                piece_close(&piece);
                g_assert_cmpint(pwrite(memory, "x", 1, 0), ==, 1);
                g_assert_cmpint(devdax->clean(&piece, &failure), ==, 0);
                g_assert_cmpint(piece.clean, ==, cases[i].at_end);
                g_assert_cmpint(byte_at(0) == 0, ==, cases[i].at_end);

                /* for its owner, once more */
                g_assert_cmpint(pwrite(memory, "x", 1, UNIT - 1), ==, 1);
                g_assert_cmpint(devdax->reuse(&piece, &failure), ==, 0);
                g_assert_cmpint(byte_at(UNIT - 1) == 0, ==, cases[i].before_use);
                g_assert_cmpint(piece.fd, >=, 0);
                g_assert_false(piece.clean);

                /* what cannot be zeroed is not clean */
                piece_close(&piece);
                open_error = -ENXIO;
                g_assert_cmpint(devdax->clean(&piece, &failure) < 0, ==, cases[i].at_end);
                g_assert_false(piece.clean);
                open_error = 0;
                take_down(&piece);
                release(&piece, false);
        }
        devdax->rest(region);
}

/* What is clean is not zeroed before it is handed out, unless that is wanted. */
static void test_clean_once(void) {
        Piece piece = carved(UNIT);

        take_down(&piece);
        release(&piece, true);
        g_assert_cmpint(pwrite(memory, "x", 1, 0), ==, 1);
        piece = carved(UNIT);
        g_assert_cmpint(byte_at(0), ==, 'x');
        g_assert_cmpuint(piece.cleaned, ==, 0);
        take_down(&piece);
        release(&piece, true);

        config.clean = CLEAN_BOTH;
        apply(found);
        piece = carved(UNIT);
        g_assert_cmpint(byte_at(0), ==, 0);
        take_down(&piece);
        release(&piece, false);
        devdax->rest(region);
}

static void test_node(void) {
        Piece piece = claim("dax0.12 100000000+200000", UNIT);
        char node[32], little[8];

        g_assert_cmpint(devdax->node(&piece, node, sizeof(node)), ==, -ENOENT);
        fake_device(path, 0, 12);
        fake_add_range(path, "dax0.12", START, UNIT);
        g_assert_cmpint(devdax->node(&piece, node, sizeof(node)), ==, 0);
        g_assert_cmpstr(node, ==, "/dev/dax0.12");
        g_assert_cmpint(devdax->node(&piece, little, sizeof(little)), ==, -ENAMETOOLONG);
        release(&piece, false);
}

/* ---- After a restart ---- */

static int open_null(void) {
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        return fd;
}

static void assert_recovers(Piece *piece, int writable, int readable, int expected) {
        int fds[2] = { writable, readable };
        Failure failure = { 0 };

        g_assert_cmpint(devdax->recover(piece, fds, &failure), ==, expected);
        if (expected < 0) {
                g_assert_cmpstr(failure.text, !=, "");
                g_assert_cmpint(piece->fd, <, 0);
                g_assert_cmpint(piece->fd_read_only, <, 0);
        } else
                g_assert_cmpint(piece->fd, ==, writable);
        g_assert_cmpint(fds[0] < 0, ==, writable < 0 || expected >= 0);
        safe_close(fds[0]);
        safe_close(fds[1]);
        piece_close(piece);
}

static void test_recover(void) {
        Piece piece = carved(2 * UNIT);
        g_autofree char *name = g_strdup(device_of(&piece));
        struct stat st;

        /* the node that the kernel has for it is one that can be opened */
        fake_write("1:3\n", "sys/devices/platform/" NAME "/%s/dev", name);
        g_assert_no_errno(stat("/dev/null", &st));
        piece_close(&piece);

        assert_recovers(&piece, open_null(), open_null(), 0);
        assert_recovers(&piece, -EBADF, -EBADF, -ENOENT);
        assert_recovers(&piece, open_null(), -EBADF, -ENOENT);
        assert_recovers(&piece, -EBADF, open_null(), -ENOENT);
        assert_recovers(&piece, open_null(), fcntl(memory, F_DUPFD_CLOEXEC, 0), -ENOENT);
        assert_recovers(&piece, open("/dev/zero", O_RDWR | O_CLOEXEC), open_null(), -ENOENT);

        /* not as it was left */
        piece.length = UNIT;
        assert_recovers(&piece, open_null(), open_null(), -EUCLEAN);
        piece.length = 2 * UNIT;
        piece.ranges[0].start += UNIT;
        assert_recovers(&piece, open_null(), open_null(), -EUCLEAN);
        piece.ranges[0].start += UNIT; /* and this is another one */
        assert_recovers(&piece, open_null(), open_null(), -ESTALE);
        piece.ranges[0].start -= 2 * UNIT;
        g_assert_cmpint(dax_unbind(path, name), ==, 0);
        assert_recovers(&piece, open_null(), open_null(), -EUCLEAN);
        g_assert_cmpint(dax_delete(path, name), ==, 0);
        assert_recovers(&piece, open_null(), open_null(), -ESTALE);
        release(&piece, false);
        devdax->rest(region);
}

/* ---- Ahead of requests ---- */

static void test_replenish(void) {
        Failure failure = { 0 };
        unsigned n;
        Piece piece;

        g_assert_true(devdax->is_low(region));
        g_assert_cmpint(devdax->replenish(region, &failure), ==, 0);
        g_assert_false(devdax->is_low(region));
        n = fake_count_devices();
        g_assert_cmpuint(n, >, 1);

        /* a request takes one of them, and there should be another */
        piece = carved(UNIT);
        g_assert_cmpuint(fake_count_devices(), ==, n);
        g_assert_true(devdax->is_low(region));
        g_assert_cmpint(devdax->replenish(region, &failure), ==, 0);
        g_assert_cmpuint(fake_count_devices(), ==, n + 1);

        /* devices of no size are nobody else's */
        rescan();
        g_assert_cmpuint(region->foreign, ==, 0);
        devdax->rest(region);
        g_assert_cmpuint(fake_count_devices(), ==, 2);
        g_assert_true(fake_exists(device_of(&piece)));

        /* nothing is made ahead of what cannot be had */
        region_disable(region, "for a test");
        g_assert_false(devdax->is_low(region));
        take_down(&piece);
        release(&piece, false);
}

static void test_replenish_full(void) {
        Failure failure = { 0 };
        Piece all = reserve(SIZE);

        release(&all, true); /* so that it need not be zeroed */
        g_assert_cmpint(devdax->replenish(region, &failure), ==, 0);
        all = carved(SIZE);
        g_assert_false(devdax->is_low(region));
        g_assert_cmpint(devdax->replenish(region, &failure), ==, 0); /* there is no room, and that is no failure */
        take_down(&all);
        release(&all, false);
        g_assert_true(devdax->is_low(region));
        devdax->rest(region);
}

/* With a kernel of its own. */
static const struct Test {
        const char *path;
        void (*function)(void);
} tests[] = {
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
        { "/devdax/life", test_life },
        { "/devdax/life-in-ranges", test_life_in_ranges },
        { "/devdax/not-recorded", test_not_recorded },
        { "/devdax/failures", test_failures },
        { "/devdax/open-fails", test_open_fails },
        { "/devdax/name-of-another", test_name_of_another },
        { "/devdax/judge", test_judge },
        { "/devdax/wants-lesson", test_wants_lesson },
        { "/devdax/misses", test_misses },
        { "/devdax/look", test_look },
        { "/devdax/clean", test_clean },
        { "/devdax/clean-once", test_clean_once },
        { "/devdax/node", test_node },
        { "/devdax/recover", test_recover },
        { "/devdax/replenish", test_replenish },
        { "/devdax/replenish-full", test_replenish_full },
};

static void run(gconstpointer test) {
        setup();
        ((const struct Test *) test)->function();
        teardown();
}

int main(int argc, char **argv) {
        /* root has all rights */
        if (getuid() == 0 && (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
                return 77;
        g_test_init(&argc, &argv, NULL);
        g_assert_true(g_setenv("DAXBROKER_WITNESS", "/nonexistent", TRUE));

        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add_data_func(tests[i].path, &tests[i], run);
        return g_test_run();
}
