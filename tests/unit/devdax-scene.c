/* SPDX-License-Identifier: MIT */

#include "devdax-scene.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const Provider *const devdax = &provider_devdax;

char *path;
int notes, memory, open_error;
DaxRegion *found;
RegionConfig config;
Region *region;

int __wrap_dax_open(const char *region_path, const char *name, bool read_only, int *ret_fd);
int __wrap_dax_open(const char *region_path, const char *name, bool read_only, int *ret_fd) {
        g_autofree char *memory_path = g_strdup_printf("/proc/self/fd/%d", memory);

        (void) region_path;
        (void) name;
        if (open_error)
                return open_error;

        *ret_fd = open(memory_path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        g_assert_cmpint(*ret_fd, >=, 0);
        return 0;
}

DaxRegion *scan(void) {
        DaxRegion *list;

        g_assert_cmpint(dax_scan(&list), ==, 0);
        g_assert_nonnull(list);
        g_assert_cmpstr(list->name, ==, NAME);
        return list;
}

/* What was found is the region's from here on. */
void apply(DaxRegion *now) {
        DaxRegion *before = found;

        found = region->dax = now;
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        if (before != now)
                dax_regions_free(before);
}

void rescan(void) {
        apply(scan());
}

void make_region(bool recovered) {
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

void assert_text(const char *text, const char *words) {
        if (!text || !strstr(text, words))
                g_error("\"%s\" does not say \"%s\"", text ? text : "", words);
}

/* ---- Pieces ---- */

Request request_of(uint64_t size) {
        return (Request){ .size = size, .alignment = 1 };
}

Piece plan(const Request *request) {
        Failure failure = { 0 };
        Piece piece;

        if (devdax->plan(region, request, &piece, &failure) < 0)
                g_error("it cannot be planned: %s", failure.text);
        return piece;
}

/* What fits() says is what reserve() does. */
int try_reserve(Piece *piece, Failure *failure) {
        int expected = devdax->fits(region, piece, failure), r;

        r = devdax->reserve(region, piece, failure);
        g_assert_cmpint(r, ==, expected);
        return r;
}

Piece reserve(uint64_t size) {
        Request request = request_of(size);
        Piece piece = plan(&request);
        Failure failure = { 0 };

        if (try_reserve(&piece, &failure) < 0)
                g_error("it cannot be reserved: %s", failure.text);
        return piece;
}

void release(Piece *piece, bool clean) {
        piece->clean = clean;
        devdax->release(piece);
        g_assert_cmpuint(piece->n_ranges, ==, 0);
        g_assert_null(piece->state);
        piece_done(piece);
}

/* A device for it, in two steps, as allocations do. */
int carve(Piece *piece, Failure *failure) {
        int r;

        r = devdax->prepare(piece, failure);
        if (r < 0)
                return r;
        devdax->prepared(piece, true);
        return devdax->carve(piece, "0123456789abcdef", failure);
}

Piece carved(uint64_t size) {
        Piece piece = reserve(size);
        Failure failure = { 0 };

        if (carve(&piece, &failure) < 0)
                g_error("it cannot be carved: %s", failure.text);
        return piece;
}

void take_down(Piece *piece) {
        Failure failure = { 0 };

        if (devdax->revoke(piece, &failure) < 0)
                g_error("it cannot be revoked: %s", failure.text);
}

const char *device_of(const Piece *piece) {
        return piece->device;
}

int try_claim(const char *handle, uint64_t length, Piece *piece, Failure *failure) {
        *piece = (Piece){ .length = length, .handle = strdup(handle), .fd = -EBADF, .fd_read_only = -EBADF, .clean = true };
        return devdax->claim(region, piece, failure);
}

Piece claim(const char *handle, uint64_t length) {
        Failure failure = { 0 };
        Piece piece;

        if (try_claim(handle, length, &piece, &failure) < 0)
                g_error("%s cannot be claimed: %s", handle, failure.text);
        return piece;
}

/* ---- All of it ---- */

static void run(gconstpointer test) {
        setup();
        ((const SceneTest *) test)->function();
        teardown();
}

int scene_main(int argc, char **argv, const SceneTest *tests, size_t n) {
        /* root has all rights */
        if (getuid() == 0 && (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
                return 77;
        g_test_init(&argc, &argv, NULL);
        g_assert_true(g_setenv("DAXBROKER_WITNESS", "/nonexistent", TRUE));

        for (size_t i = 0; i < n; i++)
                g_test_add_data_func(tests[i].path, &tests[i], run);
        return g_test_run();
}
