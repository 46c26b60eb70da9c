/* SPDX-License-Identifier: MIT */

/* What the provider has others do for a device: the witness look at it, udev hand it over, memory be zeroed; and what it
 * does if they do not. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clean.h"
#include "devdax-scene.h"
#include "devdax.h"
#include "seed-note.h"
#include "witness.h"

static WitnessVerdict verdict;
static int lesson; /* what becomes of one */
static unsigned n_asked, n_taught;
static Range asked[PIECE_RANGES_MAX], taught;
static uint64_t asked_page_size, taught_page_size;
static size_t n_ranges;

WitnessVerdict __wrap_witness_ask(const Range *ranges, size_t n, uint64_t page_size, char *ret_why, size_t size);
WitnessVerdict __wrap_witness_ask(const Range *ranges, size_t n, uint64_t page_size, char *ret_why, size_t size) {
        n_asked++;
        memcpy(asked, ranges, n * sizeof(*ranges));
        n_ranges = n;
        asked_page_size = page_size;
        g_strlcpy(ret_why, "so it is said", size);
        return verdict;
}

int __wrap_witness_teach(const Range *ranges, size_t n, uint64_t page_size);
int __wrap_witness_teach(const Range *ranges, size_t n, uint64_t page_size) {
        g_assert_cmpuint(n, ==, 1);
        n_taught++;
        taught = ranges[0];
        taught_page_size = page_size;
        return lesson;
}

static int rights; /* if it is not 0 */

int __real_dax_await_rights(const char *region_path, const char *name, uint64_t usec);
int __wrap_dax_await_rights(const char *region_path, const char *name, uint64_t usec);
int __wrap_dax_await_rights(const char *region_path, const char *name, uint64_t usec) {
        return rights != 0 ? rights : __real_dax_await_rights(region_path, name, usec);
}

static int clean_result; /* if it is not 0 */
static unsigned n_cleaned;
static uint64_t clean_alignment;

int __real_clean_fd(int fd, uint64_t length, uint64_t alignment, Throttle *throttle, _Atomic uint64_t *progress,
                    const atomic_bool *stop);
int __wrap_clean_fd(int fd, uint64_t length, uint64_t alignment, Throttle *throttle, _Atomic uint64_t *progress,
                    const atomic_bool *stop);
int __wrap_clean_fd(int fd, uint64_t length, uint64_t alignment, Throttle *throttle, _Atomic uint64_t *progress,
                    const atomic_bool *stop) {
        n_cleaned++;
        clean_alignment = alignment;
        g_assert_nonnull(throttle);
        g_assert_nonnull(stop);
        return clean_result != 0 ? clean_result : length > GIB / 2 ? 0 :
               __real_clean_fd(fd, length, alignment, throttle, progress, stop);
}

static void begin(void) {
        n_asked = n_taught = n_cleaned = 0;
        lesson = rights = clean_result = 0;
        verdict = WITNESS_UNKNOWN;
        config.recycle = RECYCLE_WITNESSED;
        apply(found);
        g_assert_cmpstr(region->recycle, ==, "witnessed");
}

static Piece carved_with(uint64_t page_size) {
        Request request = request_of(2 * UNIT);
        Failure failure = { 0 };
        Piece piece;

        request.page_size = page_size;
        request.page_size_set = true;
        piece = plan(&request);
        g_assert_cmpint(try_reserve(&piece, &failure), ==, 0);
        if (carve(&piece, &failure) < 0)
                g_error("it cannot be carved: %s", failure.text);
        return piece;
}

static void end(Piece *piece) {
        take_down(piece);
        release(piece, false);
}

/* ---- The witness ---- */

/* It learns once for each page size, from memory of a page that nobody has had yet; and again if that came to nothing. */
static void test_teach(void) {
        static const uint64_t sizes[] = { 4 * KIB, UNIT, GIB };

        begin();
        for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
                for (unsigned j = 0; j < 4; j++) {
                        Piece piece;

                        lesson = j < 2 ? -EPROTO : 0;
                        piece = carved_with(sizes[i]);
                        if (j == 0) {
                                g_assert_cmpuint(taught.start, ==, START + piece.ranges[0].start);
                                g_assert_cmpuint(taught.length, ==, sizes[i] == GIB ? GIB : UNIT);
                                g_assert_cmpuint(taught_page_size, ==, sizes[i]);
                        }
                        end(&piece);
                }
                g_assert_cmpuint(n_taught, ==, 3 * (i + 1));
        }
        devdax->rest(region);
}

static void test_teach_nobody(void) {
        static const RecyclePolicy policies[] = { RECYCLE_OWNER, RECYCLE_ANY };

        begin();
        for (size_t i = 0; i < G_N_ELEMENTS(policies); i++) {
                Piece piece;

                config.recycle = policies[i];
                apply(found);
                piece = carved(UNIT);
                end(&piece);
        }
        g_assert_cmpuint(n_taught, ==, 0);
        devdax->rest(region);
}

/* It is asked about all of it, and is right. */
static void test_judge(void) {
        Piece apart = reserve(UNIT), rest = reserve(SIZE - 2 * UNIT), piece;
        Failure failure = { 0 };

        begin();
        release(&apart, false);
        piece = carved(2 * UNIT);
        g_assert_cmpuint(piece.n_ranges, ==, 2);
        verdict = WITNESS_IDLE;
        g_assert_cmpint(devdax->judge(&piece, &failure), ==, 0);
        g_assert_cmpuint(n_ranges, ==, 2);
        for (unsigned i = 0; i < 2; i++) {
                g_assert_cmpuint(asked[i].start, ==, START + piece.ranges[i].start);
                g_assert_cmpuint(asked[i].length, ==, UNIT);
        }
        g_assert_cmpuint(asked_page_size, ==, UNIT);
        verdict = WITNESS_REFERENCED;
        g_assert_cmpint(devdax->judge(&piece, &failure), ==, -EBUSY);
        assert_text(failure.text, "refers to its pages still (so it is said)");
        verdict = WITNESS_UNKNOWN;
        g_assert_cmpint(devdax->judge(&piece, &failure), ==, -EBUSY);
        assert_text(failure.text, "cannot tell (so it is said)");
        g_assert_cmpuint(n_asked, ==, 3);

        /* there is no time to ask it when the broker is being stopped */
        verdict = WITNESS_IDLE;
        devdax->hurry(region);
        g_assert_cmpint(devdax->judge(&piece, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_ShuttingDown);
        g_assert_cmpuint(n_asked, ==, 3);
        end(&piece);
        release(&rest, false);
        devdax->rest(region);
}

/* ---- udev ---- */

static void test_no_rights(void) {
        static const int errors[] = { -ETIMEDOUT, -EACCES };
        Failure failure = { 0 };
        Piece piece = reserve(UNIT);

        begin();
        for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
                rights = errors[i];
                g_assert_cmpint(devdax->prepare(&piece, &failure), <, 0);
                assert_text(failure.text, "udev does not hand");
                g_assert_null(piece.handle);
                failure.text[0] = '\0';
                g_assert_cmpint(devdax->replenish(region, &failure), <, 0);
                assert_text(failure.text, "udev does not hand");
        }
        rights = -ENOMEM;
        g_assert_cmpint(devdax->prepare(&piece, &failure), <, 0);
        assert_text(failure.text, "cannot make a device");
        g_assert_cmpint(devdax->replenish(region, &failure), <, 0);
        assert_text(failure.text, "cannot make devices ahead");
        rights = 0;
        release(&piece, false);
        devdax->rest(region);
        g_assert_cmpuint(fake_count_devices(), ==, 1);
}

/* ---- Zeroing ---- */

/* In parts of a page; and if it was stopped, that is why there is no memory. */
static void test_zero(void) {
        Piece piece;
        Failure failure = { 0 };

        begin();
        piece = carved_with(4 * KIB);
        g_assert_cmpuint(clean_alignment, ==, UNIT);
        end(&piece);
        piece = carved_with(GIB);
        g_assert_cmpuint(clean_alignment, ==, GIB);
        end(&piece);
        g_assert_cmpuint(n_cleaned, ==, 2);

        piece = reserve(UNIT);
        clean_result = -ECANCELED;
        g_assert_cmpint(carve(&piece, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_ShuttingDown);
        g_assert_false(piece.clean);
        release(&piece, false);
        piece = reserve(UNIT);
        clean_result = -EFAULT;
        g_assert_cmpint(carve(&piece, &failure), ==, -EFAULT);
        assert_text(failure.text, "cannot zero it");
        release(&piece, false);
        devdax->rest(region);
        g_assert_cmpuint(fake_count_devices(), ==, 1);
}

/* What its owner gets again: zeroed if it is not clean already, and not offered again if something is wrong with it. */
static void test_reuse(void) {
        static const struct {
                int result;
                bool stuck;
        } cases[] = { { -ECANCELED, false }, { -EIO, false }, { -EFAULT, true }, { -ENXIO, true } };
        Failure failure = { 0 };
        Piece piece;

        begin();
        piece = carved(UNIT);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                piece_close(&piece);
                piece.clean = piece.stuck = false;
                clean_result = cases[i].result;
                g_assert_cmpint(devdax->reuse(&piece, &failure), <, 0);
                g_assert_cmpint(piece.stuck, ==, cases[i].stuck);
        }
        clean_result = 0;
        for (unsigned i = 0; i < 2; i++) {
                piece_close(&piece);
                piece.stuck = false;
                piece.clean = i == 1;
                n_cleaned = 0;
                g_assert_cmpint(devdax->reuse(&piece, &failure), ==, 0);
                g_assert_cmpuint(n_cleaned, ==, i == 0);
                g_assert_false(piece.clean);
        }

        piece_close(&piece);
        open_error = -EIO;
        g_assert_cmpint(devdax->reuse(&piece, &failure), ==, -EIO);
        assert_text(failure.text, "again");
        g_assert_false(piece.stuck);
        open_error = 0;
        end(&piece);
        devdax->rest(region);
}

/* ---- Descriptors ---- */

static int flags_of(int fd) {
        return fcntl(fd, F_GETFL) & O_ACCMODE;
}

static void assert_descriptors(Piece *piece) {
        Failure failure = { 0 };
        int fd;

        g_assert_cmpint(flags_of(piece->fd), ==, O_RDWR);
        g_assert_cmpint(flags_of(piece->fd_read_only), ==, O_RDONLY);
        g_assert_cmpint(devdax->open(piece, false, &fd, &failure), ==, 0);
        g_assert_cmpint(flags_of(fd), ==, O_RDWR);
        close(fd);
        g_assert_cmpint(devdax->open(piece, true, &fd, &failure), ==, 0);
        g_assert_cmpint(flags_of(fd), ==, O_RDONLY);
        close(fd);
}

static void test_descriptors(void) {
        Failure failure = { 0 };
        Piece piece;
        int fd = -1;

        begin();
        piece = carved(UNIT);
        assert_descriptors(&piece);
        piece_close(&piece);
        g_assert_cmpint(devdax->open(&piece, false, &fd, &failure), ==, -EBADF);
        assert_text(failure.text, "cannot copy the descriptor");
        g_assert_cmpint(fd, ==, -1);
        g_assert_cmpint(devdax->reuse(&piece, &failure), ==, 0);
        assert_descriptors(&piece);
        end(&piece);
        devdax->rest(region);
}

/* ---- Devices ---- */

/* Each has one of its own, which from the record on is not in the note. */
static void test_prepare(void) {
        Piece first, second;
        g_autofree char *name = NULL;
        Failure failure = { 0 };
        SeedNote note;

        begin();
        first = reserve(UNIT);
        second = reserve(UNIT);
        g_assert_cmpint(devdax->prepare(&first, &failure), ==, 0);
        name = g_strdup(device_of(&first));
        g_assert_cmpint(devdax->prepare(&second, &failure), ==, 0);
        g_assert_cmpstr(device_of(&second), !=, name);
        devdax->prepared(&first, true);
        g_assert_cmpint(seed_note_read(notes, NAME, &note), ==, 0);
        g_assert_false(dax_names_have(&note.ours, name));
        g_assert_true(dax_names_have(&note.ours, device_of(&second)));
        seed_note_done(&note);

        /* an end before there is anything */
        g_assert_true(fake_is_claimed(name));
        end(&first);
        g_assert_false(fake_is_claimed(name));
        devdax->prepared(&second, false);
        release(&second, false);
        devdax->rest(region);
}

/* What an earlier broker has made ahead is its successor's to take away, before it makes any; if it cannot be told what that
 * is, none is made. */
static void test_put_in_order(void) {
        Failure failure = { 0 };
        Piece piece;
        unsigned n;

        begin();
        g_assert_cmpint(devdax->replenish(region, &failure), ==, 0);
        n = fake_count_devices();
        g_assert_null(region_free(region));
        make_region(true);
        g_assert_cmpint(devdax->replenish(region, &failure), ==, 0);
        g_assert_cmpuint(fake_count_devices(), ==, n);
        devdax->rest(region);
        g_assert_cmpuint(fake_count_devices(), ==, 1);

        fake_write("nonsense", "notes/" NAME);
        g_assert_null(region_free(region));
        make_region(true);
        g_assert_cmpint(devdax->replenish(region, &failure), <, 0);
        assert_text(failure.text, "cannot put in order");
        piece = reserve(UNIT);
        g_assert_cmpint(devdax->prepare(&piece, &failure), <, 0);
        assert_text(failure.text, "cannot make a device");
        g_assert_cmpuint(fake_count_devices(), ==, 1);
        release(&piece, false);
}

/* What cannot be made and cannot be unmade is stuck. */
static void test_stuck(void) {
        g_autofree char *delete = g_build_filename(path, "dax_region", "delete", NULL);
        Failure failure = { 0 };
        Piece piece = reserve(UNIT);

        begin();
        g_assert_no_errno(chmod(delete, 0));
        open_error = -EIO;
        g_assert_cmpint(carve(&piece, &failure), ==, -EIO);
        assert_text(failure.text, "cannot open");
        g_assert_true(piece.stuck);
        g_assert_nonnull(piece.handle);
        g_assert_no_errno(chmod(delete, 0200));
        open_error = 0;
        end(&piece);
        devdax->rest(region);
}

/* In somebody else's hands while it was made: another one will do. */
static void test_try_another(void) {
        unsigned n_again = 0;

        begin();
        for (unsigned n = 1;; n++) {
                Piece piece = reserve(UNIT);
                Failure failure = { 0 };
                bool ended;
                int r;

                g_assert_cmpint(devdax->prepare(&piece, &failure), ==, 0);
                devdax->prepared(&piece, true);
                fake_inject(FAKE_ERROR, n, EBUSY);
                r = devdax->carve(&piece, "0123456789abcdef", &failure);
                ended = fake_count_writes() < n;
                fake_inject(FAKE_NONE, 0, 0);
                n_again += r == -EAGAIN;
                g_assert_cmpint(r < 0, ==, !ended);
                if (piece.handle)
                        take_down(&piece);
                release(&piece, false);
                if (ended)
                        break;
        }
        g_assert_cmpuint(n_again, >, 0);
        devdax->rest(region);
}

/* Whichever write of the end fails, it is not over; and then it is. */
static void test_end_fails(void) {
        begin();
        for (unsigned n = 2;; n++) { /* the first is about the claim, which is of no use any more */
                Piece piece = carved(UNIT);
                g_autofree char *name = g_strdup(device_of(&piece));
                Failure failure = { 0 };
                bool ended;
                int r;

                fake_inject(FAKE_ERROR, n, EIO);
                r = devdax->revoke(&piece, &failure);
                ended = fake_count_writes() < n;
                fake_inject(FAKE_NONE, 0, 0);
                g_assert_cmpint(r < 0, ==, !ended);
                g_assert_cmpint(fake_exists(name), ==, !ended);
                end(&piece);
                g_assert_false(fake_exists(name));
                if (ended) {
                        g_assert_cmpuint(n, >, 3);
                        break;
                }
        }
        devdax->rest(region);
}

/* A device that makes no sense is left alone. */
static void test_nonsense(void) {
        int fds[2] = { -EBADF, -EBADF };
        Failure failure = { 0 };
        Piece piece;
        g_autofree char *name = NULL;

        begin();
        piece = carved(UNIT);
        name = g_strdup(device_of(&piece));
        fake_write("x\n", "sys/devices/platform/" NAME "/%s/align", name);
        fake_inject(FAKE_NONE, 0, 0);
        g_assert_cmpint(devdax->revoke(&piece, &failure), ==, -EUCLEAN);
        assert_text(failure.text, "cannot look at");
        g_assert_true(fake_exists(name));
        g_assert_cmpint(devdax->recover(&piece, fds, &failure), ==, -EUCLEAN);
        assert_text(failure.text, "cannot look at");
        fake_write("2097152\n", "sys/devices/platform/" NAME "/%s/align", name);
        end(&piece);
        devdax->rest(region);
}

static void test_no_region(void) {
        Failure failure = { 0 };
        Region *gone;

        g_assert_cmpint(region_new_unconfigured("gone", devdax, notes, &gone), ==, 0);
        g_assert_cmpint(devdax->replenish(gone, &failure), ==, 0);
        devdax->hurry(gone);
        devdax->rest(gone);
        region_free(gone);
}

static const SceneTest tests[] = {
        { "/devdax/witness/teach", test_teach },
        { "/devdax/witness/teach-nobody", test_teach_nobody },
        { "/devdax/witness/judge", test_judge },
        { "/devdax/udev/no-rights", test_no_rights },
        { "/devdax/zero", test_zero },
        { "/devdax/reuse", test_reuse },
        { "/devdax/descriptors", test_descriptors },
        { "/devdax/prepare", test_prepare },
        { "/devdax/put-in-order", test_put_in_order },
        { "/devdax/stuck", test_stuck },
        { "/devdax/try-another", test_try_another },
        { "/devdax/end-fails", test_end_fails },
        { "/devdax/nonsense", test_nonsense },
        { "/devdax/no-region", test_no_region },
};

int main(int argc, char **argv) {
        return scene_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
