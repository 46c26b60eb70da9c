/* SPDX-License-Identifier: MIT */

/* Dax regions of a kernel that is a folder: which there are, and why one cannot be used. */

#include "dax-region.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <utlist.h>

#include "dax-scene.h"
#include "fake-dax.h"
#include "size.h"

static void test_scan(void) {
        g_autofree char *initiators = fake_path("sys/devices/system/node/node3/access0/initiators");
        DaxRegion *list, *first, *second;

        g_free(fake_region("platform/ACPI0017:00/root0/dax_region1", 1, 16 * GIB, 256 * MIB));
        g_assert_no_errno(g_mkdir_with_parents(initiators, 0700));
        fake_write("5120\n", "sys/devices/system/node/node3/access0/initiators/read_bandwidth");
        fake_write("2560\n", "sys/devices/system/node/node3/access0/initiators/write_bandwidth");
        fake_write("nonsense\n", "sys/devices/system/node/node3/access0/initiators/read_latency");
        fake_device(region, 0, 7);
        for (unsigned i = 0; i <= 7; i += 7) {
                fake_write("1\n", "sys/devices/platform/hmem.0/dax0.%u/numa_node", i);
                fake_write("3\n", "sys/devices/platform/hmem.0/dax0.%u/target_node", i);
        }
        fake_add_range(region, "dax0.7", START + 4 * MIB, 2 * MIB);
        fake_add_range(region, "dax0.7", START + 8 * MIB, 2 * MIB);
        fake_bind(region, "dax0.7", "kmem");

        list = dax_scene_scan();
        first = strcmp(list->name, "hmem.0") == 0 ? list : list->next;
        second = first == list ? list->next : list;
        g_assert_cmpstr(first->name, ==, "hmem.0");
        g_assert_cmpstr(first->path, ==, region);
        g_assert_cmpstr(first->reason, ==, NULL);
        g_assert_true(first->start_known);
        g_assert_cmpuint(first->range.start, ==, START);
        g_assert_cmpuint(first->range.length, ==, GIB);
        g_assert_cmpuint(first->available, ==, GIB - 4 * MIB);
        g_assert_cmpuint(first->alignment, ==, 2 * MIB);
        g_assert_cmpint(first->numa_node, ==, 1);
        g_assert_cmpint(first->target_node, ==, 3);
        g_assert_cmpuint(first->performance.read_bandwidth, ==, 5120);
        g_assert_cmpuint(first->performance.write_bandwidth, ==, 2560);
        g_assert_cmpuint(first->performance.read_latency, ==, 0);
        g_assert_cmpuint(first->performance.write_latency, ==, 0);
        g_assert_cmpuint(first->n_devices, ==, 2);
        for (size_t i = 0; i < 2; i++) {
                const DaxDevice *device = &first->devices[i];

                if (strcmp(device->name, "dax0.7") != 0)
                        continue;
                g_assert_cmpuint(device->size, ==, 4 * MIB);
                g_assert_cmpint(device->driver, ==, DAX_DRIVER_OTHER);
                g_assert_true(device->ranges_known);
                g_assert_cmpuint(device->n_ranges, ==, 2);
                g_assert_cmpuint(device->ranges[1].start, ==, START + 8 * MIB);
                g_assert_cmpuint(device->ranges[1].length, ==, 2 * MIB);
                g_assert_cmpuint(device->node, ==, makedev(252, 8));
        }

        g_assert_cmpstr(second->name, ==, "dax_region1");
        g_assert_cmpuint(second->id, ==, 1);
        g_assert_cmpint(second->target_node, ==, -1);
        g_assert_null(second == list ? list->next->next : second->next);
        dax_regions_free(list);
}

static void test_scan_nothing(void) {
        fake_dax_teardown();
        fake_dax_setup();
        g_assert_null(dax_scene_scan());

        dax_set_roots("/nonexistent", "/nonexistent");
        g_assert_cmpint(dax_scan(&(DaxRegion *){ NULL }), ==, -ENOENT);
        dax_set_roots("/proc", "/dev"); /* no bus */
        g_assert_null(dax_scene_scan());
}

static void test_scan_strange_entries(void) {
        g_autofree char *gone = fake_path("sys/bus/dax/devices/dax0.5"), *out = fake_path("sys/bus/dax/devices/dax0.6");
        g_autofree char *renamed = fake_path("sys/bus/dax/devices/dax0.8");
        g_autofree char *itself = fake_path("sys/bus/dax/devices/dax0.9");
        DaxRegion *list;

        g_assert_no_errno(symlink("/nonexistent", gone));
        g_assert_no_errno(symlink("/tmp", out));
        g_assert_no_errno(symlink(region, renamed));
        g_assert_no_errno(symlink("dax0.9", itself));
        fake_write("x", "sys/bus/dax/devices/daxophone");

        list = dax_scene_scan();
        g_assert_cmpstr(list->reason, ==, NULL);
        g_assert_cmpuint(list->n_devices, ==, 1);
        g_assert_null(list->next);
        dax_regions_free(list);
}

/* What goes while it is looked at is left out; a region with it if that was all. */
static void test_scan_gone(void) {
        g_autofree char *root_device = fake_path("sys/dax0.5"), *link = fake_path("sys/bus/dax/devices/dax0.5");
        DaxRegion *list;

        fake_device(region, 0, 1);
        dax_scene_drop("dax0.1/size");
        g_assert_no_errno(g_mkdir(root_device, 0700)); /* belongs to nothing */
        g_assert_no_errno(symlink(root_device, link));
        list = dax_scene_scan();
        g_assert_nonnull(list);
        g_assert_null(list->next);
        g_assert_cmpuint(list->n_devices, ==, 1);
        g_assert_cmpstr(list->devices[0].name, ==, "dax0.0");
        g_assert_cmpstr(list->reason, ==, NULL);
        dax_regions_free(list);
        dax_scene_drop("dax0.0/size");
        g_assert_null(dax_scene_scan());
}

/* For want of descriptors nothing is said about any region. */
static void test_scan_without_descriptors(void) {
        struct rlimit before, few;
        unsigned n_failed = 0;
        bool failed = true;

        fake_device(region, 0, 1);
        g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &before));
        for (unsigned n_left = 0; failed; n_left++) {
                DaxRegion *list = NULL;
                int next = dup(0), r;

                close(next);
                few = (struct rlimit){ (rlim_t) next + n_left, before.rlim_max };
                g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &few));
                r = dax_scan(&list);
                g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &before));
                failed = r < 0;
                if (failed) {
                        g_assert_cmpint(r, ==, -EMFILE);
                        n_failed++;
                        continue;
                }
                g_assert_cmpstr(list->reason, ==, NULL);
                g_assert_cmpuint(list->n_devices, ==, 2);
                dax_regions_free(list);
        }
        g_assert_cmpuint(n_failed, >=, 2);
}

/* The memory is that of the target node, also if that is the first of all. */
static void test_scan_node_0(void) {
        DaxRegion *list;

        for (unsigned i = 0; i < 2; i++) {
                g_autofree char *folder = fake_path("sys/devices/system/node/node%u/access0/initiators", i);

                g_assert_no_errno(g_mkdir_with_parents(folder, 0700));
                fake_write(i == 0 ? "11\n" : "22\n", "sys/devices/system/node/node%u/access0/initiators/read_bandwidth", i);
        }
        dax_scene_set_own("dax0.0/numa_node", "1\n");
        dax_scene_set_own("dax0.0/target_node", "0\n");
        list = dax_scene_scan();
        g_assert_cmpuint(list->performance.read_bandwidth, ==, 11);
        dax_regions_free(list);
        dax_scene_drop("dax0.0/target_node");
        list = dax_scene_scan();
        g_assert_cmpuint(list->performance.read_bandwidth, ==, 22);
        dax_regions_free(list);
}

/* More than there can be is nothing left. And what the region is aligned to may be root's to know. */
static void test_scan_sizes(void) {
        DaxRegion *list;

        dax_scene_forbid("dax_region/align");
        dax_scene_assert_reason(NULL);
        fake_device(region, 0, 1);
        dax_scene_set_own("dax0.1/size", "17179869184\n");
        list = dax_scene_scan();
        g_assert_cmpuint(list->available, ==, 0);
        dax_regions_free(list);
}

static void test_scan_many(void) {
        DaxRegion *list;

        for (unsigned i = 1; i <= 500; i++) {
                g_autofree char *name = g_strdup_printf("dax0.%u", i);

                fake_device(region, 0, i);
                g_assert_cmpint(strlen(name), <, DAX_NAME_MAX);
        }
        list = dax_scene_scan();
        g_assert_cmpuint(list->n_devices, ==, 501);
        g_assert_cmpstr(list->reason, ==, NULL);
        dax_regions_free(list);
}

static void test_start(void) {
        DaxRegion *list;

        /* told by a device without a size, also by another than the first */
        fake_add_range(region, "dax0.0", START + 4 * MIB, 2 * MIB);
        fake_device(region, 0, 1);
        list = dax_scene_scan();
        g_assert_true(list->start_known);
        g_assert_cmpuint(list->range.start, ==, START);
        dax_regions_free(list);

        /* that we may not read, and there is room */
        dax_scene_forbid("dax0.1/resource");
        list = dax_scene_scan();
        g_assert_false(list->start_known);
        g_assert_cmpstr(list->reason, ==, NULL);
        dax_regions_free(list);

        /* no room: all of it has a known place */
        dax_scene_allow("dax0.1/resource");
        fake_add_range(region, "dax0.1", START + 6 * MIB, GIB - 6 * MIB);
        fake_device(region, 0, 2);
        fake_add_range(region, "dax0.2", START, 4 * MIB);
        list = dax_scene_scan();
        g_assert_true(list->start_known);
        g_assert_cmpuint(list->range.start, ==, START);
        dax_regions_free(list);

        /* not all of it */
        dax_scene_forbid("dax0.2/resource");
        list = dax_scene_scan();
        g_assert_false(list->start_known);
        g_assert_cmpuint(list->available, ==, 0);
        dax_regions_free(list);
}

static void test_reason_static(void) {
        dax_scene_drop("dax_region/create");
        dax_scene_drop("dax_region/available_size");
        dax_scene_assert_reason("it is static");
}

static void test_reason_held(void) {
        fake_add_range(region, "dax0.0", START, GIB / 2);
        dax_scene_assert_reason(NULL);
        fake_device(region, 0, 1);
        fake_add_range(region, "dax0.1", START + GIB / 2, GIB / 2);
        dax_scene_assert_reason(NULL); /* may be ours */
        fake_bind(region, "dax0.1", "kmem");
        dax_scene_assert_reason("daxctl reconfigure-device -f -m devdax dax0.1");
}

/* One piece is enough. */
static void test_reason_held_almost(void) {
        fake_add_range(region, "dax0.0", START, GIB - 2 * MIB);
        fake_bind(region, "dax0.0", "kmem");
        dax_scene_assert_reason(NULL);
}

static void test_reason_held_by_first(void) {
        fake_add_range(region, "dax0.0", START, GIB);
        fake_bind(region, "dax0.0", "device_dax");
        dax_scene_assert_reason("dax0.0 has all of it: \"options dax_hmem region_idle=1\"");
}

static void test_reason_misaligned(void) {
        dax_scene_set_own("dax0.0/resource", "0x100001000\n");
        dax_scene_assert_reason("2 MiB");
        dax_scene_set_own("dax0.0/resource", "0x100000000\n");
        dax_scene_assert_reason(NULL);
        dax_scene_set_own("dax_region/size", "1073745920\n");
        dax_scene_assert_reason("2 MiB");
        dax_scene_set_own("dax_region/size", "0\n");
        dax_scene_assert_reason("2 MiB");
}

static void test_reason_rights(void) {
        g_autofree char *bind = fake_path("sys/bus/dax/drivers/device_dax/bind"), *driver = g_path_get_dirname(bind);
        g_autofree char *moved = fake_path("moved");

        g_assert_no_errno(chmod(bind, 0));
        dax_scene_assert_reason("no right to write /sys/bus/dax/drivers/device_dax/bind");
        dax_scene_forbid("dax_region/delete");
        dax_scene_assert_reason("dax_region/delete: the broker's udev rule is missing");

        g_assert_no_errno(g_rename(driver, moved));
        dax_scene_assert_reason("modprobe device_dax");
        g_assert_no_errno(g_rename(moved, driver));
}

static void test_reason_names(void) {
        unsigned n_usable = 0, n_second = 0, n_unnamed = 0;
        DaxRegion *list, *each;

        g_free(fake_region("virtual/hmem.0", 1, 16 * GIB, GIB));
        g_free(fake_region("virtual/what is:this", 2, 32 * GIB, GIB));
        g_free(fake_region("virtual/1234567890123456789012345678901234567890", 4, 128 * GIB, GIB));
        g_free(fake_region("virtual/12345678901234567890123456789012345678901", 3, 64 * GIB, GIB));
        list = dax_scene_scan();
        DL_FOREACH(list, each) {
                if (!each->reason) {
                        n_usable++;
                        if (strlen(each->name) != 40)
                                g_assert_cmpstr(each->name, ==, "hmem.0");
                } else if (strstr(each->reason, "that of another one")) {
                        n_second++;
                        g_assert_true(g_str_has_prefix(each->name, "second-dax"));
                } else if (strstr(each->reason, "1 to 40 characters")) {
                        n_unnamed++;
                        g_assert_true(g_str_has_prefix(each->name, "unnamed-dax"));
                }
        }
        g_assert_cmpuint(n_usable, ==, 2);
        g_assert_cmpuint(n_second, ==, 1);
        g_assert_cmpuint(n_unnamed, ==, 2);
        dax_regions_free(list);
}

/* One wrong answer makes its region unusable, and leaves the others. */
static void test_reason_nonsense(void) {
        static const struct {
                const char *attribute, *text;
        } lies[] = {
                { "dax_region/id", "x\n" },
                { "dax_region/id", "99999999999\n" },
                { "dax_region/size", "-1\n" },
                { "dax_region/size", "1\n2\n" },
                { "dax_region/size", "18446744071562067968\n" }, /* 2^64 - 2 GiB: beyond the end of all */
                { "dax_region/align", "" },
                { "dax0.0/size", "one\n" },
                { "dax0.0/align", "2M\n" },
                { "dax0.0/dev", "252\n" },
                { "dax0.0/numa_node", "-2\n" },
                { "dax0.0/target_node", "4294967296\n" },
                { "dax0.0/resource", "100000000x\n" },
        };

        g_free(fake_region("platform/hmem.1", 1, 16 * GIB, GIB));
        for (size_t i = 0; i < G_N_ELEMENTS(lies); i++) {
                g_autofree char *path = g_build_filename(region, lies[i].attribute, NULL), *before = NULL;
                bool existed = g_file_get_contents(path, &before, NULL, NULL);
                DaxRegion *list, *each;
                unsigned n = 0;

                dax_scene_set_own(lies[i].attribute, lies[i].text);
                list = dax_scene_scan();
                DL_FOREACH(list, each) {
                        if (strcmp(each->name, "hmem.1") == 0)
                                g_assert_cmpstr(each->reason, ==, NULL);
                        else if (!each->reason || !strstr(each->reason, "makes no sense"))
                                g_error("%s=%s: %s", lies[i].attribute, lies[i].text,
                                        each->reason ? each->reason : "no reason");
                        n++;
                }
                g_assert_cmpuint(n, ==, 2);
                dax_regions_free(list);

                if (existed)
                        dax_scene_set_own(lies[i].attribute, before);
                else
                        dax_scene_drop(lies[i].attribute);
        }
        dax_scene_assert_reason(NULL);

        /* a device beyond the end of its region */
        fake_device(region, 0, 1);
        fake_add_range(region, "dax0.1", START + GIB, 2 * MIB);
        dax_scene_assert_reason("makes no sense");
}

static const DaxTest tests[] = {
        { "/dax-region/scan", test_scan },
        { "/dax-region/scan-nothing", test_scan_nothing },
        { "/dax-region/scan-strange-entries", test_scan_strange_entries },
        { "/dax-region/scan-gone", test_scan_gone },
        { "/dax-region/scan-without-descriptors", test_scan_without_descriptors },
        { "/dax-region/scan-node-0", test_scan_node_0 },
        { "/dax-region/scan-sizes", test_scan_sizes },
        { "/dax-region/scan-many", test_scan_many },
        { "/dax-region/start", test_start },
        { "/dax-region/reason-static", test_reason_static },
        { "/dax-region/reason-held", test_reason_held },
        { "/dax-region/reason-held-almost", test_reason_held_almost },
        { "/dax-region/reason-held-by-first", test_reason_held_by_first },
        { "/dax-region/reason-misaligned", test_reason_misaligned },
        { "/dax-region/reason-rights", test_reason_rights },
        { "/dax-region/reason-names", test_reason_names },
        { "/dax-region/reason-nonsense", test_reason_nonsense },
};

int main(int argc, char **argv) {
        dax_scene_init(&argc, &argv);
        dax_scene_add(tests, G_N_ELEMENTS(tests));
        return g_test_run();
}
