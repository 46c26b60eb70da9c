/* SPDX-License-Identifier: MIT */

/* Namespaces of persistent memory, with a kernel that is a folder. */

#include "nvdimm.h"

#include <errno.h>
#include <glib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake-nvdimm.h"
#include "size.h"

#define START (4 * GIB)
#define SIZE (256 * MIB + 3 * MIB) /* of which the last part is too short for anything */
#define OURS "11111111-2222-4333-8444-555555555555"
#define THEIRS "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
#define LABEL "daxbroker-0123456789abcdef-store"

static char *path;

static void setup(void) {
        fake_nvdimm_setup();
        path = fake_nd_region(0, START, SIZE);
}

static void teardown(void) {
        g_clear_pointer(&path, g_free);
        fake_nvdimm_teardown();
}

static int make(const char *uuid, uint64_t size, NvdimmNamespace *ret) {
        return nvdimm_make(path, uuid, LABEL, size, DAX_GRANULARITY, ret);
}

static DaxRegion *scan(void) {
        DaxRegion *list;

        g_assert_cmpint(dax_scan(&list), ==, 0);
        return list;
}

static void assert_reason(const char *words) {
        DaxRegion *list = scan();

        g_assert_nonnull(list);
        if (!list->reason || !strstr(list->reason, words))
                g_error("\"%s\" does not say \"%s\"", list->reason ? list->reason : "", words);
        dax_regions_free(list);
}

/* ---- Lengths ---- */

static void test_lengths(void) {
        static const uint64_t seen[][2] = { { 16, 14 }, { 32, 30 }, { 64, 62 }, { 112, 110 }, { 128, 124 } };
        uint64_t size;

        for (size_t i = 0; i < G_N_ELEMENTS(seen); i++)
                g_assert_cmpuint(nvdimm_usable_of(seen[i][0] * MIB, DAX_GRANULARITY), ==, seen[i][1] * MIB);
        g_assert_cmpuint(nvdimm_usable_of(0, DAX_GRANULARITY), ==, 0);
        g_assert_cmpuint(nvdimm_usable_of(2 * MIB, DAX_GRANULARITY), ==, 0);

        for (uint64_t alignment = 16 * MIB; alignment <= 48 * MIB; alignment += 32 * MIB)
                for (uint64_t usable = 1; usable < 4 * GIB; usable += 37 * MIB + 4095) {
                        g_assert_cmpint(nvdimm_size_for(usable, alignment, DAX_GRANULARITY, &size), ==, 0);
                        g_assert_cmpuint(size % alignment, ==, 0);
                        g_assert_cmpuint(nvdimm_usable_of(size, DAX_GRANULARITY), >=, usable);
                        g_assert_cmpuint(nvdimm_usable_of(size - alignment, DAX_GRANULARITY), <, usable);
                }
        g_assert_cmpint(nvdimm_size_for(UINT64_MAX - 1, 16 * MIB, DAX_GRANULARITY, &size), ==, -EOVERFLOW);
        g_assert_cmpint(nvdimm_size_for(UINT64_MAX - 20 * MIB, 16 * MIB, DAX_GRANULARITY, &size), ==, -EOVERFLOW);
}

/* ---- Regions ---- */

static void test_region(void) {
        g_autofree char *ours = fake_nd_namespace(path, OURS, LABEL, 32 * MIB, "dax");
        g_autofree char *disk = fake_nd_namespace(path, THEIRS, "disk", 16 * MIB, "raw");
        DaxRegion *list = scan();

        g_assert_nonnull(list);
        g_assert_null(list->next); /* the device of a namespace is no region */
        g_assert_cmpstr(list->name, ==, "region0");
        g_assert_cmpstr(list->alias, ==, "0x2468ac0");
        g_assert_cmpstr(list->provider, ==, "nvdimm");
        g_assert_cmpstr(list->reason, ==, NULL);
        g_assert_false(list->indivisible);
        g_assert_cmpuint(list->range.start, ==, START);
        g_assert_cmpuint(list->range.length, ==, SIZE);
        g_assert_cmpuint(list->available, ==, (256 - 48) * MIB);
        g_assert_cmpuint(list->largest, ==, (256 - 48) * MIB);
        g_assert_cmpuint(list->alignment, ==, 16 * MIB);
        g_assert_cmpint(list->target_node, ==, 1);
        g_assert_cmpuint(list->n_namespaces, ==, 2);

        g_assert_cmpstr(list->namespaces[0].name, ==, ours);
        g_assert_cmpstr(list->namespaces[0].uuid, ==, OURS);
        g_assert_cmpstr(list->namespaces[0].label, ==, LABEL);
        g_assert_cmpuint(list->namespaces[0].size, ==, 32 * MIB);
        g_assert_cmpuint(list->namespaces[0].usable, ==, 30 * MIB);
        g_assert_cmpint(list->namespaces[0].use, ==, NVDIMM_DEVICE);
        g_assert_cmpstr(list->namespaces[0].device, ==, "dax0.0");
        g_assert_true(list->namespaces[0].start_known);
        g_assert_cmpuint(list->namespaces[0].start, ==, START);
        g_assert_cmpstr(list->namespaces[1].name, ==, disk);
        g_assert_cmpint(list->namespaces[1].use, ==, NVDIMM_OTHER);
        dax_regions_free(list);
}

static void test_reasons(void) {
        DaxRegion *list;
        static const struct {
                const char *file, *text, *words, *again;
        } reasons[] = {
                { "nstype", "4\n", "\"ndctl init-labels -f nmem0\"", "5\n" },
                { "read_only", "1\n", "read-only", "0\n" },
                { "align", "4096\n", "region0/align", "0x1000000\n" },
                { "align", "0\n", "makes no sense", "0x1000000\n" },
                { "size", "much\n", "region0/size makes no sense", "16777216\n" },
        };
        g_autofree char *driver = g_build_filename(path, "driver", NULL), *target = g_file_read_link(driver, NULL);
        g_autofree char *resource = g_build_filename(path, "resource", NULL);
        g_autofree char *bind = fake_path("sys/bus/nd/drivers/dax_pmem/bind");
        g_autofree char *dax_pmem = fake_path("sys/bus/nd/drivers/dax_pmem");

        for (size_t i = 0; i < G_N_ELEMENTS(reasons); i++) {
                fake_set(path, reasons[i].file, "%s", reasons[i].text);
                assert_reason(reasons[i].words);
                fake_set(path, reasons[i].file, "%s", reasons[i].again);
        }

        fake_set(path, "nstype", "4\n");
        fake_set(path, "mappings", "0\n");
        assert_reason("nothing of it can hold labels");
        list = scan();
        g_assert_true(list->indivisible);
        dax_regions_free(list);
        fake_set(path, "nstype", "5\n");

        g_assert_no_errno(unlink(driver));
        assert_reason("\"ndctl enable-region region0\"");
        g_assert_no_errno(symlink(target, driver));
        g_assert_no_errno(chmod(resource, 0));
        assert_reason("udev rule");
        g_assert_no_errno(chmod(resource, 0400));
        g_assert_no_errno(chmod(bind, 0400));
        assert_reason("no right to write /sys/bus/nd/drivers/dax_pmem/bind");
        fake_remove_tree(dax_pmem);
        assert_reason("modprobe dax_pmem");
}

/* What is no region of persistent memory is none. */
static void test_others(void) {
        DaxRegion *list;

        fake_set(path, "devtype", "nd_volatile\n");
        list = scan();
        g_assert_null(list);
}

/* ---- Making ---- */

static void test_make(void) {
        NvdimmNamespace first, second, found;
        g_autofree char *node = fake_path("dev/dax0.0");

        g_assert_cmpint(make(OURS, 64 * MIB, &first), ==, 0);
        g_assert_cmpstr(first.uuid, ==, OURS);
        g_assert_cmpstr(first.label, ==, LABEL);
        g_assert_cmpstr(first.device, ==, "dax0.0");
        g_assert_cmpuint(first.usable, ==, 62 * MIB);
        g_assert_true(g_file_test(node, G_FILE_TEST_EXISTS));
        g_assert_cmpint(nvdimm_make(path, THEIRS, "daxbroker-2", 16 * MIB, 4 * KIB, &second), ==, 0);
        g_assert_cmpuint(second.start, ==, START + 64 * MIB);
        g_assert_cmpuint(second.alignment, ==, 4 * KIB);
        g_assert_cmpstr(second.device, ==, "dax0.1");

        g_assert_cmpint(nvdimm_find(path, OURS, &found), ==, 0);
        g_assert_cmpstr(found.name, ==, first.name);
        g_assert_cmpint(nvdimm_destroy(path, OURS), ==, 0);
        g_assert_cmpint(nvdimm_find(path, OURS, &found), ==, -ENOENT);
        g_assert_false(g_file_test(node, G_FILE_TEST_EXISTS));
        g_assert_cmpint(nvdimm_destroy(path, OURS), ==, 0); /* as often as one likes */
        g_assert_cmpint(nvdimm_find(path, THEIRS, &found), ==, 0);
        g_assert_cmpint(nvdimm_destroy(path, THEIRS), ==, 0);
        g_assert_cmpuint(fake_nd_count(path), ==, 0);
}

static void test_refused(void) {
        NvdimmNamespace space;

        g_assert_cmpint(make(OURS, 272 * MIB, &space), ==, -ENOSPC);
        g_assert_cmpint(make(OURS, 17 * MIB, &space), ==, -EINVAL);
        g_assert_cmpint(make("1111", 16 * MIB, &space), ==, -EINVAL);
        g_assert_cmpint(make(OURS "\n", 16 * MIB, &space), ==, -EINVAL);
        g_assert_cmpint(make(OURS, 0, &space), ==, -EINVAL);
        g_assert_cmpuint(fake_nd_count(path), ==, 0);
        /* nothing of them is in the way of what follows */
        g_assert_cmpint(make(OURS, 256 * MIB, &space), ==, 0);
}

/* Where memory is broken nothing is made. */
static void test_broken(void) {
        NvdimmNamespace space;
        uint64_t bad;

        fake_set(path, "badblocks", "%s", "8 1\n32767 2\n65536 4\n");
        g_assert_cmpint(nvdimm_count_bad(path, (Range){ START, SIZE }, &bad), ==, 0);
        g_assert_cmpuint(bad, ==, 7 * 512);
        g_assert_cmpint(nvdimm_count_bad(path, (Range){ START + 16 * MIB, 16 * MIB }, &bad), ==, 0);
        g_assert_cmpuint(bad, ==, 512);
        g_assert_cmpint(nvdimm_count_bad(path, (Range){ START + 64 * MIB, 64 * MIB }, &bad), ==, 0);
        g_assert_cmpuint(bad, ==, 0);
        g_assert_cmpint(nvdimm_count_bad(path, (Range){ START - MIB, MIB }, &bad), ==, -EUCLEAN);

        g_assert_cmpint(make(OURS, 16 * MIB, &space), ==, -EIO);
        g_assert_cmpuint(fake_nd_count(path), ==, 0);
        fake_set(path, "badblocks", "%s", "some\n");
        g_assert_cmpint(make(OURS, 16 * MIB, &space), ==, -EUCLEAN);
        g_assert_cmpuint(fake_nd_count(path), ==, 0);
        fake_set(path, "badblocks", "%s", "\n");
        g_assert_cmpint(make(OURS, 16 * MIB, &space), ==, 0);
}

/* Each write fails, or does nothing though it says so: nothing is left, and the next one can be made. */
static void test_failures(void) {
        static const FakeFault faults[] = { FAKE_ERROR, FAKE_LIE };

        for (size_t i = 0; i < G_N_ELEMENTS(faults); i++)
                for (unsigned number = 1;; number++) {
                        NvdimmNamespace space;
                        unsigned n;
                        int r;

                        fake_inject(faults[i], number, EIO);
                        r = make(OURS, 32 * MIB, &space);
                        n = fake_count_writes();
                        fake_inject(FAKE_NONE, 0, 0);
                        if (n < number) {
                                g_assert_cmpint(r, ==, 0);
                                g_assert_cmpint(nvdimm_destroy(path, OURS), ==, 0);
                                g_assert_cmpuint(number, >, 9);
                                break;
                        }
                        if (r >= 0) { /* it was not needed */
                                g_assert_cmpuint(space.usable, ==, 30 * MIB);
                                g_assert_cmpstr(space.label, ==, LABEL);
                        }
                        g_assert_cmpint(nvdimm_destroy(path, OURS), ==, 0);
                        g_assert_cmpuint(fake_nd_count(path), ==, 0);
                        g_assert_cmpint(make(OURS, 256 * MIB, &space), ==, 0);
                        g_assert_cmpint(nvdimm_destroy(path, OURS), ==, 0);
                }
}

/* The next one finds by the uuid what there is of it. */
static void test_deaths(void) {
        static const FakeFault deaths[] = { FAKE_DIE_BEFORE, FAKE_DIE_AFTER };

        for (size_t i = 0; i < G_N_ELEMENTS(deaths); i++)
                for (unsigned number = 1;; number++) {
                        NvdimmNamespace space;
                        int status;
                        pid_t pid;

                        pid = fork();
                        g_assert_cmpint(pid, >=, 0);
                        if (pid == 0) {
                                fake_inject(deaths[i], number, 0);
                                if (make(OURS, 32 * MIB, &space) < 0)
                                        _exit(2);
                                if (nvdimm_destroy(path, OURS) < 0)
                                        _exit(3);
                                _exit(1);
                        }
                        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
                        g_assert_true(WIFEXITED(status));
                        g_assert_cmpint(WEXITSTATUS(status), <, 2);

                        g_assert_cmpint(nvdimm_destroy(path, OURS), ==, 0);
                        g_assert_cmpuint(fake_nd_count(path), ==, 0);
                        g_assert_cmpint(make(THEIRS, 256 * MIB, &space), ==, 0);
                        g_assert_cmpint(nvdimm_destroy(path, THEIRS), ==, 0);
                        if (WEXITSTATUS(status) == 1)
                                break;
                }
}

/* Who has died while he made one has left his uuid on the seed; who is making one is not disturbed. */
static void test_seed_in_use(void) {
        g_autofree char *seed = g_build_filename(path, "namespace0.0", NULL);
        NvdimmNamespace space;

        fake_set(seed, "uuid", THEIRS "\n");
        g_assert_cmpint(make(OURS, 16 * MIB, &space), ==, 0);
        g_assert_cmpint(nvdimm_destroy(path, OURS), ==, 0);

        g_free(seed);
        seed = g_build_filename(path, "namespace0.1", NULL);
        fake_set(seed, "uuid", THEIRS "\n");
        fake_set(seed, "resource", "%#" G_GINT64_MODIFIER "x\n", (guint64) START);
        fake_set(seed, "size", "%d\n", 16 << 20);
        g_assert_cmpint(make(OURS, 16 * MIB, &space), ==, -EAGAIN);
        g_assert_cmpint(nvdimm_find(path, THEIRS, &space), ==, 0);
}

/* The kernel names the next ones before they are there, and their folders before their files. */
static void test_seed_to_come(void) {
        static const char *const attributes[] = { "namespace_seed", "dax_seed" };
        NvdimmNamespace space, *spaces;
        size_t n;

        for (size_t i = 0; i < G_N_ELEMENTS(attributes); i++) {
                g_autofree char *before = g_strchomp(fake_get(path, attributes[i]));

                fake_set(path, attributes[i], i == 0 ? "namespace0.77\n" : "dax0.77\n");
                g_assert_cmpint(make(OURS, 16 * MIB, &space), ==, -EAGAIN);
                g_assert_cmpint(nvdimm_list(path, &spaces, &n), ==, 0);
                g_assert_cmpuint(n, ==, 0);
                free(spaces);

                fake_set(path, attributes[i], "%s\n", before);
                if (i == 0) {
                        g_autofree char *file = g_build_filename(path, before, "holder_class", NULL);
                        g_autofree char *away = g_strconcat(file, ".away", NULL);

                        g_assert_no_errno(rename(file, away));
                        g_assert_cmpint(make(OURS, 16 * MIB, &space), ==, -EAGAIN);
                        g_assert_no_errno(rename(away, file));
                }
        }
        g_assert_cmpint(make(OURS, 16 * MIB, &space), ==, 0);
}

/* ---- What is somebody else's ---- */

static void test_disk(void) {
        g_free(fake_nd_namespace(path, THEIRS, "disk", 16 * MIB, "raw"));
        fake_inject(FAKE_NONE, 0, 0);
        g_assert_cmpint(nvdimm_destroy(path, THEIRS), ==, -EBUSY);
        g_assert_cmpuint(fake_count_writes(), ==, 0);
        g_assert_cmpuint(fake_nd_count(path), ==, 1);
        g_assert_cmpint(nvdimm_destroy(path, OURS), ==, 0); /* there is none */
        g_assert_cmpint(nvdimm_destroy(path, "../nmem0"), ==, -EINVAL);
        g_assert_cmpuint(fake_count_writes(), ==, 0);
}

/* Labels say anything. */
static void test_labels(void) {
        static const char *const labels[][2] = {
                { "\n", "" }, { "two\nlines\n", "?" }, { "caf\xc3\xa9\n", "caf??" }, { "a b\t\n", "a b?" },
                { "0123456789012345678901234567890123456789012345678901234567890123456789\n", "?" },
        };
        g_autofree char *ours = fake_nd_namespace(path, OURS, LABEL, 16 * MIB, "dax");
        g_autofree char *folder = g_build_filename(path, ours, NULL);
        NvdimmNamespace space;

        for (size_t i = 0; i < G_N_ELEMENTS(labels); i++) {
                fake_set(folder, "alt_name", "%s", labels[i][0]);
                g_assert_cmpint(nvdimm_find(path, OURS, &space), ==, 0);
                g_assert_cmpstr(space.label, ==, labels[i][1]);
        }

        fake_set(folder, "uuid", "11111111-2222-4333-8444-55555555555g\n");
        g_assert_cmpint(nvdimm_find(path, OURS, &space), ==, -EUCLEAN);
}

/* What is not shown because its region is disabled, or just being enabled, is not gone. */
static void test_not_whole(void) {
        g_autofree char *driver = g_build_filename(path, "driver", NULL), *target = g_file_read_link(driver, NULL);
        g_autofree char *ready = g_build_filename(path, "init_namespaces", NULL);
        NvdimmNamespace space, *spaces;
        size_t n;

        g_assert_no_errno(unlink(driver));
        g_assert_cmpint(nvdimm_find(path, OURS, &space), ==, -ENODEV);
        g_assert_cmpint(nvdimm_list(path, &spaces, &n), ==, -ENODEV);
        g_assert_cmpint(nvdimm_destroy(path, OURS), ==, -ENODEV);
        g_assert_no_errno(symlink(target, driver));
        g_assert_cmpint(nvdimm_find(path, OURS, &space), ==, -ENOENT);
        g_assert_no_errno(unlink(ready));
        g_assert_cmpint(nvdimm_find(path, OURS, &space), ==, -ENODEV);
        fake_remove_tree(path);
        g_assert_cmpint(nvdimm_find(path, OURS, &space), ==, -ENODEV);
        g_assert_cmpint(nvdimm_destroy(path, OURS), ==, -ENODEV);
}

/* The files of a device go one after the other. That is nothing to others. */
static void test_half_gone(void) {
        static const char *const files[] = { "dev", "align", "size" };
        NvdimmNamespace ours, theirs, found;
        char parent[PATH_MAX];

        g_assert_cmpint(make(OURS, 16 * MIB, &ours), ==, 0);
        g_assert_cmpint(make(THEIRS, 16 * MIB, &theirs), ==, 0);
        g_assert_cmpint(nvdimm_device_path(path, &theirs, parent, sizeof(parent)), ==, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
                g_autofree char *file = g_build_filename(parent, theirs.device, files[i], NULL);

                g_assert_no_errno(unlink(file));
                g_assert_cmpint(nvdimm_find(path, OURS, &found), ==, 0);
                g_assert_cmpstr(found.device, ==, ours.device);
                g_assert_cmpint(nvdimm_find(path, THEIRS, &found), ==, 0);
                g_assert_cmpstr(found.device, ==, "");
        }
}

/* ---- udev ---- */

static gpointer hand_over(gpointer data) {
        (void) data;
        g_usleep(200000);
        fake_nd_hand_over(path);
        return NULL;
}

static void test_handing_over(void) {
        NvdimmNamespace space;
        GThread *udev;

        fake_nd_withhold_rights(true);
        g_assert_cmpint(make(OURS, 16 * MIB, &space), ==, 0); /* these seeds were there before */
        udev = g_thread_new("udev", hand_over, NULL);
        g_assert_cmpint(make(THEIRS, 16 * MIB, &space), ==, 0);
        g_thread_join(udev);
}

/* With a kernel of its own. */
static const struct Test {
        const char *path;
        void (*function)(void);
} tests[] = {
        { "/nvdimm/lengths", test_lengths },
        { "/nvdimm/region", test_region },
        { "/nvdimm/reasons", test_reasons },
        { "/nvdimm/others", test_others },
        { "/nvdimm/make", test_make },
        { "/nvdimm/refused", test_refused },
        { "/nvdimm/broken", test_broken },
        { "/nvdimm/failures", test_failures },
        { "/nvdimm/deaths", test_deaths },
        { "/nvdimm/seed-in-use", test_seed_in_use },
        { "/nvdimm/seed-to-come", test_seed_to_come },
        { "/nvdimm/disk", test_disk },
        { "/nvdimm/labels", test_labels },
        { "/nvdimm/not-whole", test_not_whole },
        { "/nvdimm/half-gone", test_half_gone },
        { "/nvdimm/handing-over", test_handing_over },
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

        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add_data_func(tests[i].path, &tests[i], run);
        return g_test_run();
}
