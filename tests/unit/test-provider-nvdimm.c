/* SPDX-License-Identifier: MIT */

/* The provider of persistent memory, with a kernel that is a folder: what a region is said to have, what an allocation
 * becomes, and what is found of it later. Nodes cannot be opened there: all of them are one memfd. */

#include "provider.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "fake-nvdimm.h"
#include "inventory.h"
#include "nvdimm.h"
#include "region.h"
#include "size.h"

#define START (4 * GIB)
#define SIZE (256 * MIB + 3 * MIB)
#define WHOLE (256 * MIB)
#define OURS "11111111-2222-4333-8444-555555555555"
#define THEIRS "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
#define GONE "cccccccc-bbbb-4ccc-8ddd-eeeeeeeeeeee"
#define ID "0123456789abcdef"

static const Provider *const nvdimm = &provider_nvdimm;

static char *path;
static int memory, notes, open_error;
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

static void rescan(void) {
        DaxRegion *before = found;

        g_assert_cmpint(dax_scan(&found), ==, 0);
        region->dax = found;
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        dax_regions_free(before);
}

static void setup(void) {
        g_autofree char *folder = NULL;

        fake_nvdimm_setup();
        path = fake_nd_region(0, START, SIZE);
        folder = fake_path("notes");
        fake_make_folder("%s", folder);
        notes = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        g_assert_cmpint(notes, >=, 0);
        memory = memfd_create("devices", MFD_CLOEXEC);
        g_assert_no_errno(ftruncate(memory, SIZE));
        open_error = 0;

        config = config_region_default("region0");
        config.provider = (char *) (uintptr_t) nvdimm->name;
        g_assert_cmpint(dax_scan(&found), ==, 0);
        g_assert_cmpint(region_new(&config, found, notes, &region), ==, 0);
        region->recovered = region->listed = true;
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        g_assert_cmpstr(region->reason, ==, NULL);
}

static void teardown(void) {
        g_assert_null(region_free(region));
        dax_regions_free(found);
        close(memory);
        close(notes);
        g_clear_pointer(&path, g_free);
        fake_nvdimm_teardown();
}

static void assert_text(const char *text, const char *words) {
        if (!text || !strstr(text, words))
                g_error("\"%s\" does not say \"%s\"", text ? text : "", words);
}

/* ---- Pieces ---- */

static Piece plan(uint64_t size) {
        Request request = { .size = size, .alignment = 1 };
        Failure failure = { 0 };
        Piece piece;

        if (nvdimm->plan(region, &request, &piece, &failure) < 0)
                g_error("no plan: %s", failure.text);
        return piece;
}

static Piece reserve(uint64_t size) {
        Piece piece = plan(size);
        Failure failure = { 0 };

        g_assert_cmpint(nvdimm->fits(region, &piece, &failure), ==, 0);
        g_assert_cmpint(nvdimm->reserve(region, &piece, &failure), ==, 0);
        g_assert_nonnull(piece.handle);
        return piece;
}

static Piece carve(uint64_t size) {
        Piece piece = reserve(size);
        Failure failure = { 0 };

        g_assert_cmpint(nvdimm->prepare(&piece, &failure), ==, 0);
        nvdimm->prepared(&piece, true);
        piece.name = "store";
        if (nvdimm->carve(&piece, ID, &failure) < 0)
                g_error("not carved: %s", failure.text);
        piece.name = NULL;
        return piece;
}

static void end(Piece *piece) {
        Failure failure = { 0 };

        if (nvdimm->revoke(piece, &failure) < 0)
                g_error("not revoked: %s", failure.text);
        nvdimm->release(piece);
        piece_done(piece);
}

/* ---- The region ---- */

static void test_facts(void) {
        g_assert_cmpuint(region->size, ==, WHOLE);
        g_assert_cmpuint(region->granularity, ==, 16 * MIB);
        g_assert_cmpuint(region->foreign, ==, 0);
        g_assert_cmpuint(region->largest, ==, 250 * MIB);
        g_assert_cmpint(region->target_node, ==, 1);
        g_assert_true(nvdimm->persistent);
        g_assert_nonnull(nvdimm->list); /* so records are kept where they outlive the machine's power */
}

static void test_not_there(void) {
        fake_set(path, "nstype", "4\n");
        rescan();
        assert_text(region->reason, "ndctl init-labels");
        g_assert_false(region->listed);
        fake_set(path, "nstype", "5\n");
        region->listed = true;
        rescan();
        g_assert_cmpstr(region->reason, ==, NULL);

        region->dax = NULL;
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        assert_text(region->reason, "ndctl list -R");
        g_assert_false(region->listed);
}

static void test_plan(void) {
        static const struct {
                uint64_t asked, length;
        } plans[] = {
                { 1, 14 * MIB }, { 14 * MIB, 14 * MIB }, { 14 * MIB + 1, 30 * MIB }, { 100 * MIB, 110 * MIB },
        };
        Request request = { .size = MIB, .alignment = GIB, .page_size = GIB, .page_size_set = true };
        Failure failure = { 0 };
        Piece piece;

        for (size_t i = 0; i < G_N_ELEMENTS(plans); i++)
                g_assert_cmpuint(plan(plans[i].asked).length, ==, plans[i].length);

        g_assert_cmpint(nvdimm->plan(region, &request, &piece, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_BadOption);
        request.page_size = 4 * KIB;
        g_assert_cmpint(nvdimm->plan(region, &request, &piece, &failure), ==, 0);
        g_assert_cmpuint(piece.page_size, ==, 4 * KIB);
        request.size = UINT64_MAX;
        g_assert_cmpint(nvdimm->plan(region, &request, &piece, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_BadSize);
}

/* What is used, what is usable and what others have adds up to the region, whoever looks when. */
static void test_account(void) {
        Piece first = carve(100 * MIB), second;
        Failure failure = { 0 };
        Piece large;

        g_assert_cmpuint(first.length + region->foreign, ==, 112 * MIB); /* its page map is nobody's */
        rescan();
        g_assert_cmpuint(first.length + region->foreign, ==, 112 * MIB);
        g_assert_cmpuint(region->largest, ==, nvdimm_usable_of(144 * MIB, DAX_GRANULARITY));

        g_free(fake_nd_namespace(path, THEIRS, "disk", 64 * MIB, "raw"));
        rescan();
        g_assert_cmpuint(first.length + region->foreign, ==, 176 * MIB);

        second = carve(1);
        region->used = first.length + second.length; /* as the core has it */
        g_assert_cmpuint(region_available(region), ==, 64 * MIB);
        large = plan(60 * MIB);
        g_assert_cmpint(nvdimm->fits(region, &large, &failure), ==, 0);
        large = plan(63 * MIB);
        g_assert_cmpint(nvdimm->fits(region, &large, &failure), <, 0);
        assert_text(failure.text, "with the page map");

        end(&first);
        region->used = second.length;
        rescan();
        g_assert_cmpuint(region_available(region), ==, 176 * MIB);
        large = plan(120 * MIB);
        g_assert_cmpint(nvdimm->fits(region, &large, &failure), <, 0);
        assert_text(failure.text, "in pieces");
        region->used = 0;
        end(&second);
        rescan();
        g_assert_cmpuint(region->foreign, ==, 64 * MIB);
}

/* A scan that began before something of ours was given back does not take it for somebody else's. */
static void test_stale_scan(void) {
        Piece piece = carve(100 * MIB);
        DaxRegion *stale;

        g_assert_cmpint(dax_scan(&stale), ==, 0);
        end(&piece);
        dax_regions_free(found);
        found = region->dax = stale;
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        g_assert_cmpuint(region->foreign, ==, 0);
        g_assert_cmpuint(region->largest, ==, 250 * MIB);
        rescan();
        g_assert_cmpuint(region->foreign, ==, 0);
}

/* ---- The life of a piece ---- */

static void test_life(void) {
        Failure failure = { 0 };
        NvdimmNamespace space;
        uint8_t byte = 7;
        Piece piece;
        char node[64];
        int fd;

        g_assert_cmpint(pwrite(memory, &byte, 1, (off_t) (100 * MIB)), ==, 1);
        piece = carve(100 * MIB);
        g_assert_cmpint(nvdimm_find(path, piece.handle, &space), ==, 0);
        g_assert_cmpstr(space.label, ==, "daxbroker-" ID "-store");
        g_assert_cmpstr(piece.device, ==, space.device);
        g_assert_cmpuint(piece.length, ==, space.usable);
        g_assert_cmpint(pread(memory, &byte, 1, (off_t) (100 * MIB)), ==, 1);
        g_assert_cmpuint(byte, ==, 0);
        g_assert_cmpint(nvdimm->open(&piece, true, &fd, &failure), ==, 0);
        close(fd);
        g_assert_cmpint(nvdimm->node(&piece, node, sizeof(node)), ==, 0);
        g_assert_cmpstr(node, ==, "/dev/dax0.0");

        byte = 8;
        g_assert_cmpint(pwrite(memory, &byte, 1, 12345), ==, 1);
        g_assert_cmpint(nvdimm->clean(&piece, &failure), ==, 0);
        g_assert_cmpint(pread(memory, &byte, 1, 12345), ==, 1);
        g_assert_cmpuint(byte, ==, 0);
        end(&piece);
        g_assert_cmpuint(fake_nd_count(path), ==, 0);
}

static void test_carve_fails(void) {
        Piece piece = reserve(100 * MIB);
        Failure failure = { 0 };

        open_error = -EACCES;
        g_assert_cmpint(nvdimm->carve(&piece, ID, &failure), <, 0);
        g_assert_cmpuint(fake_nd_count(path), ==, 0);
        open_error = 0;
        fake_set(path, "badblocks", "%s", "0 1\n");
        g_assert_cmpint(nvdimm->carve(&piece, ID, &failure), <, 0);
        assert_text(failure.text, "broken");
        g_assert_cmpuint(fake_nd_count(path), ==, 0);
        fake_set(path, "badblocks", "%s", "");
        g_assert_false(piece.stuck);

        g_free(fake_nd_namespace(path, THEIRS, "disk", 240 * MIB, "raw"));
        g_assert_cmpint(nvdimm->carve(&piece, ID, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_NoSpace);
        g_assert_cmpuint(fake_nd_count(path), ==, 1);
        nvdimm->release(&piece);
        piece_done(&piece);
}

/* A name that is longer than what labels hold is cut; what udev goes by and the id are there. */
static void test_long_name(void) {
        Piece piece = reserve(1);
        Failure failure = { 0 };
        NvdimmNamespace space;

        piece.name = "a-name-of-sixty-three-characters-which-is-as-long-as-one-can-be";
        g_assert_cmpint(nvdimm->carve(&piece, ID, &failure), ==, 0);
        g_assert_cmpint(nvdimm_find(path, piece.handle, &space), ==, 0);
        g_assert_cmpstr(space.label, ==, "daxbroker-" ID "-a-name-of-sixty-three-characters-whi");
        end(&piece);
}

static void test_judge(void) {
        Piece piece = carve(1);
        Failure failure = { 0 };

        config.recycle = RECYCLE_OWNER;
        rescan();
        g_assert_cmpint(nvdimm->judge(&piece, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_StillReferenced);
        config.recycle = RECYCLE_ANY;
        rescan();
        g_assert_cmpint(nvdimm->judge(&piece, &failure), ==, 0);
        nvdimm->hurry(region);
        g_assert_cmpint(nvdimm->judge(&piece, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_ShuttingDown);
        config.recycle = RECYCLE_DEFAULT;
        end(&piece);
}

/* Memory that breaks while somebody has it is told, and forgotten when it is repaired. */
static void test_examine(void) {
        Piece first = carve(1), second = carve(1);
        Failure failure = { 0 };

        rescan();
        g_assert_cmpint(nvdimm->examine(&first, &failure), ==, 0);
        fake_set(path, "badblocks", "%s", "32768 2\n");
        rescan();
        g_assert_cmpint(nvdimm->examine(&first, &failure), ==, 0);
        g_assert_cmpint(nvdimm->examine(&second, &failure), <, 0);
        assert_text(failure.text, "1 KiB of it are broken");
        fake_set(path, "badblocks", "%s", "");
        rescan();
        g_assert_cmpint(nvdimm->examine(&second, &failure), ==, 0);
        end(&first);
        end(&second);
}

/* ---- What is found ---- */

static Piece claimed(const char *uuid, uint64_t length) {
        Piece piece = { .length = length, .page_size = DAX_GRANULARITY, .fd = -EBADF, .fd_read_only = -EBADF };
        Failure failure = { 0 };

        piece.handle = strdup(uuid);
        if (nvdimm->claim(region, &piece, &failure) < 0)
                g_error("not claimed: %s", failure.text);
        return piece;
}

static void forget(Piece *piece) {
        nvdimm->release(piece);
        piece_done(piece);
}

static void test_list(void) {
        g_autofree char *note = NULL;
        Inventory inventory = { 0 };
        Failure failure = { 0 };

        g_free(fake_nd_namespace(path, OURS, "daxbroker-" ID "-store", 32 * MIB, "dax"));
        g_free(fake_nd_namespace(path, THEIRS, "admins", 16 * MIB, "dax"));
        g_free(fake_nd_namespace(path, "cccccccc-bbbb-4ccc-8ddd-eeeeeeeeeeee", "disk", 16 * MIB, "raw"));
        g_free(fake_nd_namespace(path, "dddddddd-bbbb-4ccc-8ddd-eeeeeeeeeeee", "idle", 16 * MIB, ""));
        rescan();
        g_assert_cmpint(nvdimm->list(region, &inventory, &failure), ==, 0);
        g_assert_cmpuint(inventory.n_finds, ==, 2);
        g_assert_cmpstr(inventory.finds[0].id, ==, ID);
        g_assert_cmpstr(inventory.finds[0].handle, ==, OURS);
        g_assert_cmpstr(inventory.finds[0].name, ==, "daxbroker-" ID "-store");
        g_assert_cmpuint(inventory.finds[0].length, ==, 30 * MIB);
        g_assert_cmpstr(inventory.finds[0].record, ==, NULL);
        g_assert_cmpstr(inventory.finds[1].id, ==, "aaaaaaaabbbb4ccc");
        g_assert_cmpstr(inventory.finds[1].name, ==, "admins");
        g_assert_cmpuint(inventory.finds[1].length, ==, 14 * MIB);
        note = fake_path("notes/region0.ready");
        g_assert_true(g_file_test(note, G_FILE_TEST_EXISTS));
        inventory_done(&inventory);
        g_assert_cmpuint(region->foreign, ==, 80 * MIB);
}

/* Devices of what is ours appear a while after the region: at the start that is not waited for, later it is. */
static void test_list_early(void) {
        Inventory inventory = { 0 };
        Failure failure = { 0 };

        g_free(fake_nd_namespace(path, OURS, "daxbroker-" ID, 32 * MIB, ""));
        rescan();
        region->recovered = false;
        g_assert_cmpint(nvdimm->list(region, &inventory, &failure), ==, -EAGAIN);
        assert_text(failure.text, "namespace0.0 is not ready");
        /* nor by a broker that is started anew where all was ready before */
        fake_write("", "notes/region0.ready");
        g_assert_cmpint(nvdimm->list(region, &inventory, &failure), ==, 0);
        g_assert_cmpuint(inventory.n_finds, ==, 1);
        inventory_done(&inventory);
        region->recovered = true;
        nvdimm->hurry(region);
        g_assert_cmpint(nvdimm->list(region, &inventory, &failure), <, 0);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_ShuttingDown);
}

static void test_claim(void) {
        Piece piece, twin = { .length = MIB, .page_size = DAX_GRANULARITY };
        Piece absurd = { .length = MIB, .page_size = UINT64_C(1) << 62, .fd = -EBADF, .fd_read_only = -EBADF };
        Failure failure = { 0 };

        g_free(fake_nd_namespace(path, OURS, "daxbroker-" ID, 48 * MIB, "dax"));
        rescan();
        g_assert_cmpuint(region->foreign, ==, 48 * MIB);
        piece = claimed(OURS, 46 * MIB);
        g_assert_cmpuint(region->foreign, ==, 2 * MIB);
        twin.handle = (char *) (uintptr_t) OURS;
        g_assert_cmpint(nvdimm->claim(region, &twin, &failure), <, 0);
        twin.handle = NULL;
        g_assert_cmpint(nvdimm->claim(region, &twin, &failure), <, 0);
        /* a record may say anything */
        absurd.handle = strdup(THEIRS);
        g_assert_cmpint(nvdimm->claim(region, &absurd, &failure), ==, 0);
        g_assert_cmpuint(absurd.page_size, ==, DAX_GRANULARITY);
        forget(&absurd);
        forget(&piece);
        rescan();
        g_assert_cmpuint(region->foreign, ==, 48 * MIB); /* it is still there, and not ours any more */
}

static void note(const char *name) {
        _cleanup_close_ int fd = openat(notes, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        g_assert_cmpint(fd, >=, 0);
}

static bool is_noted(const char *name) {
        return faccessat(notes, name, F_OK, 0) >= 0;
}

/* Of what is not there any more nothing stays; and what stays is not what a record says. */
static void test_gone(void) {
        Failure failure = { 0 };
        Piece piece;

        g_free(fake_nd_namespace(path, OURS, "daxbroker-" ID, 32 * MIB, "dax"));
        rescan();
        piece = claimed(OURS, 30 * MIB);
        note(OURS);
        note(OURS ".tmp");
        note(GONE);
        g_assert_cmpint(nvdimm->revoke(&piece, &failure), ==, 0);
        g_assert_false(is_noted(OURS));
        g_assert_false(is_noted(OURS ".tmp"));
        forget(&piece);

        note("another");
        nvdimm->gone(region, "another");
        nvdimm->gone(region, "../notes/another");
        nvdimm->gone(region, "");
        g_assert_true(is_noted("another"));
        g_assert_true(is_noted(GONE));
        nvdimm->gone(region, GONE);
        nvdimm->gone(region, GONE);
        g_assert_false(is_noted(GONE));
}

static void test_recover(void) {
        Failure failure = { 0 };
        Piece piece, gone;
        int fds[2] = { -EBADF, -EBADF };
        char node[64];
        g_autofree char *ready = NULL, *disabled = NULL;

        g_free(fake_nd_namespace(path, OURS, "daxbroker-" ID, 32 * MIB, "dax"));
        rescan();
        piece = claimed(OURS, 30 * MIB);
        g_assert_cmpint(nvdimm->node(&piece, node, sizeof(node)), ==, -ENOENT); /* nobody can have it */
        g_assert_cmpint(nvdimm->recover(&piece, fds, &failure), ==, 0);
        g_assert_true(piece.unheld);
        piece_close(&piece);
        piece.unheld = false;
        g_assert_cmpint(nvdimm->recover(&piece, fds, &failure), ==, -ENOENT); /* it was opened: its holders have it */
        g_assert_cmpint(nvdimm->node(&piece, node, sizeof(node)), ==, 0);
        g_assert_cmpint(piece.fd, <, 0);
        fake_write("dax0.0 1\n", "notes/" OURS); /* which was another device of this name */
        g_assert_cmpint(nvdimm->node(&piece, node, sizeof(node)), ==, -ENOENT);
        piece.unheld = true;
        g_assert_cmpint(nvdimm->recover(&piece, fds, &failure), ==, 0);
        g_assert_cmpint(piece.fd, >=, 0);
        g_assert_cmpint(piece.fd_read_only, >=, 0);
        g_assert_cmpstr(piece.device, ==, "dax0.0");
        piece_close(&piece);

        /* not as long as it was */
        piece.length = 32 * MIB;
        g_assert_cmpint(nvdimm->recover(&piece, fds, &failure), ==, -EUCLEAN);
        piece.length = 30 * MIB;
        /* not ours to open */
        open_error = -EACCES;
        g_assert_cmpint(nvdimm->recover(&piece, fds, &failure), ==, -EUCLEAN);
        assert_text(failure.text, "chown");
        open_error = 0;
        forget(&piece);

        disabled = fake_nd_namespace(path, THEIRS, "daxbroker-" ID, 32 * MIB, "");
        rescan();
        piece = claimed(THEIRS, 30 * MIB);
        piece.unheld = true;
        g_assert_cmpint(nvdimm->recover(&piece, fds, &failure), ==, -EUCLEAN);
        assert_text(failure.text, "enable-namespace");
        forget(&piece);

        gone = claimed(GONE, 30 * MIB);
        gone.unheld = true;
        note(GONE);
        note(GONE ".tmp");
        g_assert_cmpint(nvdimm->recover(&gone, fds, &failure), ==, -ESTALE);
        g_assert_false(is_noted(GONE));
        g_assert_false(is_noted(GONE ".tmp"));
        ready = g_build_filename(path, "init_namespaces", NULL);
        g_assert_no_errno(unlink(ready)); /* just now nobody can tell */
        g_assert_cmpint(nvdimm->recover(&gone, fds, &failure), ==, -ENODEV);
        forget(&gone);
}

/* With a kernel of its own. */
static const struct Test {
        const char *path;
        void (*function)(void);
} tests[] = {
        { "/provider-nvdimm/facts", test_facts },
        { "/provider-nvdimm/not-there", test_not_there },
        { "/provider-nvdimm/plan", test_plan },
        { "/provider-nvdimm/account", test_account },
        { "/provider-nvdimm/stale-scan", test_stale_scan },
        { "/provider-nvdimm/life", test_life },
        { "/provider-nvdimm/carve-fails", test_carve_fails },
        { "/provider-nvdimm/long-name", test_long_name },
        { "/provider-nvdimm/judge", test_judge },
        { "/provider-nvdimm/examine", test_examine },
        { "/provider-nvdimm/list", test_list },
        { "/provider-nvdimm/list-early", test_list_early },
        { "/provider-nvdimm/claim", test_claim },
        { "/provider-nvdimm/gone", test_gone },
        { "/provider-nvdimm/recover", test_recover },
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
