/* SPDX-License-Identifier: MIT */

/* The provider of dax devices: what a device becomes and what is left of it, by whosever hand; after a restart; and what is
 * made ahead. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "dax-attribute.h"
#include "devdax-scene.h"

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

int main(int argc, char **argv) {
        static const SceneTest tests[] = {
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

        return scene_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
