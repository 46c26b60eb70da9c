/* SPDX-License-Identifier: MIT */

/* Devices that are made ahead of requests: their place counts as free, and is not given to anybody before they are gone; the
 * next broker finds those of a broker that died, and no others. */

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devdax-scene.h"
#include "seed-note.h"

#define ID "0123456789abcdef"

static const atomic_bool never;

static Piece planned(uint64_t size) {
        Request request = request_of(size);

        return plan(&request);
}

static Piece placed(uint64_t size) {
        Piece piece = planned(size);
        Failure failure = { 0 };

        piece.contiguous = piece.ahead = true;
        g_assert_cmpint(devdax->reserve(region, &piece, &failure), ==, 0);
        g_assert_cmpuint(piece.n_ranges, ==, 1);
        return piece;
}

static Piece made(uint64_t size) {
        Piece piece = placed(size);
        Failure failure = { 0 };

        if (devdax->carve_ahead(&piece, ID, &never, &failure) < 0)
                g_error("it cannot be made: %s", failure.text);
        return piece;
}

static size_t count_noted(void) {
        SeedNote note;
        size_t n;

        if (seed_note_read(notes, NAME, &note) < 0)
                return 0;
        n = note.n_kept;
        seed_note_done(&note);
        return n;
}

static bool is_crowded(uint64_t size) {
        Piece piece = planned(size);
        Failure failure = { 0 };

        g_assert_cmpint(devdax->fits(region, &piece, &failure), ==, 0);
        return devdax->crowded(region, &piece);
}

static int try_plan(uint64_t size) {
        Piece piece = planned(size);
        Failure failure = { 0 };

        return devdax->fits(region, &piece, &failure);
}

/* ---- Made, and given back ---- */

static void test_life(void) {
        DaxDevice device;
        Piece piece;
        char byte;

        g_assert_cmpint(pwrite(memory, "x", 1, UNIT - 1), ==, 1);
        piece = made(UNIT);
        g_assert_cmpuint(count_noted(), ==, 1);
        g_assert_cmpint(dax_inspect(path, piece.device, &device), ==, 0);
        g_assert_cmpint(device.driver, ==, DAX_DRIVER_DEVICE);
        g_assert_cmpuint(device.size, ==, UNIT);
        g_assert_false(fake_is_claimed(piece.device));
        g_assert_cmpint(pread(memory, &byte, 1, UNIT - 1), ==, 1);
        g_assert_cmpint(byte, ==, 0);
        g_assert_true(piece.clean);

        rescan();
        g_assert_cmpuint(region->foreign, ==, 0);

        take_down(&piece);
        g_assert_false(fake_exists(piece.device));
        g_assert_cmpuint(count_noted(), ==, 0);
        release(&piece, true);

        /* and it is clean there now, which saves the next one work */
        piece = made(UNIT);
        g_assert_cmpuint(piece.cleaned, ==, 0);
        take_down(&piece);
        release(&piece, true);
        devdax->rest(region);
        g_assert_cmpuint(fake_count_devices(), ==, 1);
}

/* From then on it is like any other. */
static void test_handed_out(void) {
        Piece piece = made(UNIT);

        g_assert_cmpint(devdax->look(&piece, &(Failure){ 0 }), ==, 0);
        devdax->hand_out(&piece);
        g_assert_false(piece.clean || piece.ahead);
        g_assert_false(is_crowded(SIZE - UNIT));
        g_assert_cmpint(try_plan(SIZE), <, 0);
        devdax->prepared(&piece, true);
        g_assert_cmpuint(count_noted(), ==, 0);

        devdax->rest(region);
        g_assert_true(fake_exists(piece.device));
        take_down(&piece);
        release(&piece, false);
        g_assert_false(is_crowded(SIZE));
}

/* Somebody who could has destroyed it, or made it his own. */
static void test_disturbed(void) {
        Piece first = made(UNIT), second = made(UNIT);
        Failure failure = { 0 };

        fake_unbind(path, first.device);
        g_assert_cmpint(devdax->look(&first, &failure), <, 0);
        take_down(&first);
        fake_unbind(path, second.device);
        fake_bind(path, second.device, "kmem");
        g_assert_cmpint(devdax->look(&second, &failure), <, 0);
        g_assert_cmpint(devdax->revoke(&second, &failure), <, 0);
        second.foreign = true;
        release(&first, false);
        release(&second, false);
        rescan();
        g_assert_cmpuint(region->foreign, ==, UNIT);
        g_assert_cmpint(try_plan(SIZE), <, 0);
        g_assert_false(is_crowded(SIZE - UNIT));
}

static void test_given_up(void) {
        Piece piece = placed(UNIT);
        Failure failure = { 0 };
        atomic_bool stop = true;

        g_assert_cmpint(devdax->carve_ahead(&piece, ID, &stop, &failure), ==, -ECANCELED);
        g_assert_cmpuint(count_noted(), ==, 0);
        release(&piece, false);
        devdax->rest(region);
        g_assert_cmpuint(fake_count_devices(), ==, 1);
}

/* ---- Whose place it is ---- */

static void test_place(void) {
        Piece first = made(UNIT), second = made(2 * UNIT), wanted = planned(SIZE);
        Failure failure = { 0 };

        rescan();
        g_assert_cmpuint(region->largest, ==, SIZE);
        g_assert_false(is_crowded(SIZE - 3 * UNIT));
        g_assert_true(is_crowded(SIZE - 2 * UNIT));
        g_assert_true(is_crowded(SIZE));
        g_assert_cmpint(try_plan(SIZE + UNIT), <, 0);
        g_assert_cmpint(devdax->reserve(region, &wanted, &failure), <, 0);

        take_down(&first);
        take_down(&second);
        g_assert_true(is_crowded(SIZE));
        release(&first, true);
        release(&second, true);
        g_assert_false(is_crowded(SIZE));
        g_assert_cmpint(devdax->reserve(region, &wanted, &failure), ==, 0);
        release(&wanted, false);
}

/* A hold is not made of it. */
static void test_hold(void) {
        Piece piece = made(UNIT), wish = planned(SIZE - UNIT);
        Failure failure = { 0 };
        char *handle;
        Hold *hold;

        g_assert_false(devdax->crowded(region, &wish));
        g_assert_cmpint(devdax->hold(region, &wish, &hold, &handle, &failure), ==, 0);
        wish = planned(SIZE - UNIT);
        wish.hold = hold;
        g_assert_cmpint(devdax->fits(region, &wish, &failure), ==, 0);
        g_assert_false(devdax->crowded(region, &wish));
        g_assert_true(is_crowded(UNIT));
        devdax->hold_end(region, hold);
        free(handle);
        take_down(&piece);
        release(&piece, true);
}

/* ---- After a broker that did not stop ---- */

/* What a process that is no more had of it. */
static void forget(Piece *piece) {
        free(piece->ranges);
        piece_done(piece);
}

static void die(void) {
        region_free(region);
        make_region(false);
        region->recovered = true; /* once all records are known */
}

static void put_in_order(void) {
        Failure failure = { 0 };

        g_assert_cmpint(devdax->replenish(region, &failure), ==, 0);
        devdax->replenished(region);
}

static void test_left(void) {
        Piece piece = made(UNIT);
        char device[DAX_NAME_MAX];

        memcpy(device, piece.device, sizeof(device));
        forget(&piece);
        die();
        rescan();
        g_assert_cmpuint(region->foreign, ==, 0);
        g_assert_true(is_crowded(SIZE));
        put_in_order();
        g_assert_cmpuint(count_noted(), ==, 0);
        g_assert_false(is_crowded(SIZE));
        apply(scan());
        g_assert_cmpuint(region->foreign, ==, 0);
        devdax->rest(region);
        g_assert_cmpuint(fake_count_devices(), ==, 1);
        g_assert_false(fake_exists(device));
}

/* It was handed out: there is a record of it, and maybe a note still. */
static void test_left_on_record(void) {
        Piece piece = made(UNIT), again;

        die();
        again = claim(piece.handle, UNIT);
        rescan();
        g_assert_false(is_crowded(SIZE - UNIT));
        put_in_order();
        g_assert_true(fake_exists(piece.device));
        g_assert_cmpint(devdax->look(&again, &(Failure){ 0 }), ==, 0);
        g_assert_cmpuint(count_noted(), ==, 0);
        forget(&piece);
        take_down(&again);
        release(&again, false);
}

/* Somebody has destroyed it, and has made another one of its name. */
static void test_left_to_others(void) {
        Piece piece = made(UNIT), other = made(UNIT);
        DaxDevice device;

        g_assert_cmpint(dax_unbind(path, piece.device), ==, 0);
        fake_add_range(path, piece.device, START + SIZE / 2, UNIT);
        fake_bind(path, piece.device, "device_dax");
        die();
        rescan();
        put_in_order();
        rescan();
        g_assert_cmpint(dax_inspect(path, piece.device, &device), ==, 0);
        g_assert_cmpuint(device.size, ==, UNIT);
        g_assert_cmpint(device.driver, ==, DAX_DRIVER_DEVICE);
        g_assert_cmpuint(region->foreign, ==, UNIT);
        g_assert_true(dax_inspect(path, other.device, &device) == -ENOENT || device.size == 0);
        g_assert_cmpuint(count_noted(), ==, 0);
        g_assert_false(is_crowded(SIZE / 2));
        forget(&piece);
        forget(&other);
}

/* A broker that stops leaves none. */
static void test_rest(void) {
        Piece first = made(UNIT), second = made(UNIT);

        devdax->rest(region);
        g_assert_cmpuint(fake_count_devices(), ==, 1);
        g_assert_cmpuint(count_noted(), ==, 0);
        release(&first, false);
        release(&second, false);
        piece_done(&first);
        piece_done(&second);
}

/* It dies at every single write, before it and after it. */
static bool dies(FakeFault fault, unsigned number) {
        int status;
        pid_t pid;

        pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                Piece piece = placed(UNIT);
                Failure failure = { 0 };
                int r;

                fake_inject(fault, number, 0);
                r = devdax->carve_ahead(&piece, ID, &never, &failure);
                if (r >= 0)
                        r = devdax->revoke(&piece, &failure);
                _exit(r < 0 ? 2 : 1);
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), !=, 2);
        return WEXITSTATUS(status) != 1;
}

static void test_death(void) {
        static const FakeFault faults[] = { FAKE_DIE_BEFORE, FAKE_DIE_AFTER };
        unsigned n_deaths = 0;

        for (size_t i = 0; i < G_N_ELEMENTS(faults); i++) {
                bool died = true;

                for (unsigned j = 1; died; j++) {
                        died = dies(faults[i], j);
                        n_deaths += died;
                        die();
                        rescan();
                        g_assert_cmpuint(region->foreign, ==, 0);
                        put_in_order();
                        g_assert_false(is_crowded(SIZE));
                        g_assert_cmpuint(count_noted(), ==, 0);
                        devdax->rest(region);
                        g_assert_cmpuint(fake_count_devices(), ==, 1);
                }
        }
        g_assert_cmpuint(n_deaths, >=, 20);
}

int main(int argc, char **argv) {
        static const SceneTest tests[] = {
                { "/devdax/warm/life", test_life },
                { "/devdax/warm/handed-out", test_handed_out },
                { "/devdax/warm/disturbed", test_disturbed },
                { "/devdax/warm/given-up", test_given_up },
                { "/devdax/warm/place", test_place },
                { "/devdax/warm/hold", test_hold },
                { "/devdax/warm/left", test_left },
                { "/devdax/warm/left-on-record", test_left_on_record },
                { "/devdax/warm/left-to-others", test_left_to_others },
                { "/devdax/warm/rest", test_rest },
                { "/devdax/warm/death", test_death },
        };

        return scene_main(argc, argv, tests, G_N_ELEMENTS(tests));
}
