/* SPDX-License-Identifier: MIT */

/* Dax devices of a kernel that is a folder: what is read of them, what is written, and that no answer is believed. */

#include "dax.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#include "dax-attribute.h"
#include "fake-dax.h"
#include "open-fds.h"
#include "size.h"

#define START (4 * GIB)
#define SECOND (UINT64_C(1000000))

static char *region;

static void setup(void) {
        fake_dax_setup();
        region = fake_region("platform/hmem.0", 0, START, GIB);
}

static void teardown(void) {
        g_clear_pointer(&region, g_free);
        fake_dax_teardown();
}

static void set_own(const char *attribute, const char *text) {
        fake_write(text, "sys/devices/platform/hmem.0/%s", attribute);
}

static void forbid(const char *attribute) {
        g_autofree char *path = fake_path("sys/devices/platform/hmem.0/%s", attribute);

        g_assert_no_errno(chmod(path, 0));
}

static void allow(const char *attribute) {
        g_autofree char *path = fake_path("sys/devices/platform/hmem.0/%s", attribute);

        g_assert_no_errno(chmod(path, 0600));
}

static void drop(const char *attribute) {
        g_autofree char *path = fake_path("sys/devices/platform/hmem.0/%s", attribute);

        g_assert_no_errno(g_remove(path));
}

static DaxRegion *scan(void) {
        DaxRegion *list = NULL;

        g_assert_cmpint(dax_scan(&list), ==, 0);
        return list;
}

static void assert_reason(const char *part) {
        DaxRegion *list = scan();

        g_assert_nonnull(list);
        if (!part)
                g_assert_cmpstr(list->reason, ==, NULL);
        else if (!list->reason || !strstr(list->reason, part))
                g_error("The reason is not '%s': %s", part, list->reason ? list->reason : "none");
        dax_regions_free(list);
}

/* ---- Text ---- */

static void test_numbers(void) {
        static const char *const bad[] = { "", "x", "-1", "+1", " 1", "1 ", "1x", "01", "0x", "0xG", "0xg", "0x1/", "0x01", "0X1", "0xA",
                                           "1\n", "18446744073709551616", "0x10000000000000000", "1e3", "1.0" };
        uint64_t value;

        g_assert_cmpint(dax_number_parse("0", &value), ==, 0);
        g_assert_cmpuint(value, ==, 0);
        g_assert_cmpint(dax_number_parse("18446744073709551615", &value), ==, 0);
        g_assert_cmpuint(value, ==, UINT64_MAX);
        g_assert_cmpint(dax_number_parse("0xffffffffffffffff", &value), ==, 0);
        g_assert_cmpuint(value, ==, UINT64_MAX);
        g_assert_cmpint(dax_number_parse("0xabcdef0123456789", &value), ==, 0);
        g_assert_cmpuint(value, ==, UINT64_C(0xabcdef0123456789));
        g_assert_cmpint(dax_number_parse("0x140000000", &value), ==, 0);
        g_assert_cmpuint(value, ==, 5 * GIB);

        value = 7;
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                if (dax_number_parse(bad[i], &value) != -EUCLEAN)
                        g_error("This was taken for a number: '%s'", bad[i]);
        g_assert_cmpuint(value, ==, 7);
}

static void test_names(void) {
        static const char *const bad[] = { "", "dax", "dax0", "dax0.", "dax.0", "dax0.0.0", "dax00.0", "dax0.01", "dax-1.0",
                                           "dax0.-1", "dax0.1\n", "dax0.1/..", "../dax0.1", "dax 0.1", "dax0.2147483648",
                                           "Dax0.1", "dax99999999999999999999.0", "pmem0.1", "dab0.1",
                                           "dax0:1", "dax2147483648.0" };
        unsigned id, number;

        g_assert_cmpint(dax_name_parse("dax2147483647.2147483647", &id, &number), ==, 0);
        g_assert_cmpuint(id, ==, 2147483647);
        g_assert_cmpuint(number, ==, 2147483647);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                if (dax_name_parse(bad[i], &id, &number) != -EINVAL)
                        g_error("This was taken for a name: '%s'", bad[i]);
}

static void test_nodes(void) {
        static const char *const bad[] = { "", ":", "1", "1:", ":1", "1:2:3", "1:x", "4294967296:0", "-1:0", "1: 2", "1.2",
                                           "0:4294967296" };
        dev_t node;

        g_assert_cmpint(dax_node_parse("252:17", &node), ==, 0);
        g_assert_cmpuint(major(node), ==, 252);
        g_assert_cmpuint(minor(node), ==, 17);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_cmpint(dax_node_parse(bad[i], &node), ==, -EUCLEAN);
}

/* ---- Small files ---- */

static int open_folder(const char *name) {
        g_autofree char *sys = fake_path("sys");
        int fd = -EBADF, r;

        r = dax_open_folder(sys, name, &fd);
        if (r < 0) {
                g_assert_cmpint(fd, ==, -EBADF);
                return r;
        }
        g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
        return fd;
}

static void test_folders(void) {
        g_autofree char *link = fake_path("sys/link"), *missing = fake_path("missing"), *file = fake_path("sys/file");
        g_autofree char *driver = fake_path("sys/bus/dax/drivers/device_dax"), *moved = fake_path("moved");
        int fd = -EBADF;

        fake_write("", "sys/file");
        g_assert_no_errno(symlink("bus", link));
        g_assert_cmpint(open_folder("nothing"), ==, -ENOENT);
        g_assert_cmpint(open_folder("file"), ==, -ENOTDIR);
        g_assert_cmpint(open_folder("link"), ==, -ENOTDIR); /* there are none where we look */
        g_assert_cmpint(dax_open_folder(missing, NULL, &fd), ==, -ENOENT);
        g_assert_cmpint(dax_open_folder(file, NULL, &fd), ==, -ENOTDIR);
        g_assert_cmpint(dax_open_folder(missing, "bus", &fd), ==, -ENOENT);
        g_assert_cmpint(fd, ==, -EBADF);
        close(open_folder(NULL));
        close(open_folder("bus"));

        g_assert_cmpint(dax_open_driver(&fd), ==, 0);
        close(fd);
        g_assert_no_errno(g_rename(driver, moved));
        g_assert_cmpint(dax_open_driver(&fd), ==, -ENODEV);
}

/* What is no line, or no file, makes no sense; what is not there is gone. */
static void test_lines(void) {
        g_autofree char *socket_path = fake_path("sys/socket"), *folder = fake_path("sys/folder"), *nul = fake_path("sys/nul");
        g_autofree char *hidden = fake_path("sys/hidden"), *full = g_strnfill(128, '1'), *long_ = g_strnfill(129, '1');
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = open_folder(NULL), listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), node = 7;
        char text[130] = "untouched", little[4];
        uint64_t number;

        g_assert_no_errno(g_mkdir(folder, 0700));
        g_assert_cmpint(g_strlcpy(address.sun_path, socket_path, sizeof(address.sun_path)), <, sizeof(address.sun_path));
        g_assert_no_errno(bind(listener, (const struct sockaddr *) &address, sizeof(address)));
        g_assert_true(g_file_set_contents(nul, "1\0", 2, NULL));
        fake_write(long_, "sys/long");
        fake_write("1\n\n", "sys/two");
        fake_write("1", "sys/hidden");
        g_assert_no_errno(chmod(hidden, 0));

        g_assert_cmpint(dax_read_text(fd, "nothing", text, sizeof(text)), ==, -ENOENT);
        g_assert_cmpint(dax_read_text(fd, "socket", text, sizeof(text)), ==, -ENOENT); /* as what goes is: ENXIO */
        g_assert_cmpint(dax_read_text(fd, "folder", text, sizeof(text)), ==, -EUCLEAN);
        g_assert_cmpint(dax_read_text(fd, "nul", text, sizeof(text)), ==, -EUCLEAN);
        g_assert_cmpint(dax_read_text(fd, "long", text, sizeof(text)), ==, -EUCLEAN);
        g_assert_cmpint(dax_read_text(fd, "two", text, sizeof(text)), ==, -EUCLEAN);
        g_assert_cmpint(dax_read_text(fd, "hidden", text, sizeof(text)), ==, -EACCES);
        g_assert_cmpstr(text, ==, "untouched");

        fake_write(full, "sys/full");
        g_assert_cmpint(dax_read_text(fd, "full", text, sizeof(text)), ==, 0);
        g_assert_cmpstr(text, ==, full);
        g_assert_cmpint(dax_read_number(fd, "full", &number), ==, -EUCLEAN);
        fake_write("abc", "sys/letters");
        g_assert_cmpint(dax_read_text(fd, "letters", little, sizeof(little)), ==, 0);
        g_assert_cmpstr(little, ==, "abc");
        fake_write("abcd\n", "sys/letters");
        g_assert_cmpint(dax_read_text(fd, "letters", little, sizeof(little)), ==, -EUCLEAN);

        /* a node may be none */
        g_assert_cmpint(dax_read_node(fd, "hidden", &node), ==, -EACCES);
        g_assert_cmpint(dax_read_node(fd, "letters", &node), ==, -EUCLEAN);
        fake_write("2147483648\n", "sys/node");
        g_assert_cmpint(dax_read_node(fd, "node", &node), ==, -EUCLEAN);
        g_assert_cmpint(node, ==, 7);
        fake_write("2147483647\n", "sys/node");
        g_assert_cmpint(dax_read_node(fd, "node", &node), ==, 0);
        g_assert_cmpint(node, ==, INT_MAX);
        fake_write("-1\n", "sys/node");
        g_assert_cmpint(dax_read_node(fd, "node", &node), ==, 0);
        g_assert_cmpint(node, ==, -1);
        node = 7;
        g_assert_cmpint(dax_read_node(fd, "nothing", &node), ==, 0);
        g_assert_cmpint(node, ==, -1);

        g_assert_cmpint(dax_write_text(fd, "nothing", "1"), ==, -ENOENT);
        g_assert_cmpint(dax_write_text(fd, "hidden", "1"), ==, -EACCES);
        close(listener);
        close(fd);
}

/* ---- Regions ---- */

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

        list = scan();
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
        g_assert_null(scan());

        dax_set_roots("/nonexistent", "/nonexistent");
        g_assert_cmpint(dax_scan(&(DaxRegion *){ NULL }), ==, -ENOENT);
        dax_set_roots("/proc", "/dev"); /* no bus */
        g_assert_null(scan());
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

        list = scan();
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
        drop("dax0.1/size");
        g_assert_no_errno(g_mkdir(root_device, 0700)); /* belongs to nothing */
        g_assert_no_errno(symlink(root_device, link));
        list = scan();
        g_assert_nonnull(list);
        g_assert_null(list->next);
        g_assert_cmpuint(list->n_devices, ==, 1);
        g_assert_cmpstr(list->devices[0].name, ==, "dax0.0");
        g_assert_cmpstr(list->reason, ==, NULL);
        dax_regions_free(list);
        drop("dax0.0/size");
        g_assert_null(scan());
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
        set_own("dax0.0/numa_node", "1\n");
        set_own("dax0.0/target_node", "0\n");
        list = scan();
        g_assert_cmpuint(list->performance.read_bandwidth, ==, 11);
        dax_regions_free(list);
        drop("dax0.0/target_node");
        list = scan();
        g_assert_cmpuint(list->performance.read_bandwidth, ==, 22);
        dax_regions_free(list);
}

/* More than there can be is nothing left. And what the region is aligned to may be root's to know. */
static void test_scan_sizes(void) {
        DaxRegion *list;

        forbid("dax_region/align");
        assert_reason(NULL);
        fake_device(region, 0, 1);
        set_own("dax0.1/size", "17179869184\n");
        list = scan();
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
        list = scan();
        g_assert_cmpuint(list->n_devices, ==, 501);
        g_assert_cmpstr(list->reason, ==, NULL);
        dax_regions_free(list);
}

static void test_start(void) {
        DaxRegion *list;

        /* told by a device without a size, also by another than the first */
        fake_add_range(region, "dax0.0", START + 4 * MIB, 2 * MIB);
        fake_device(region, 0, 1);
        list = scan();
        g_assert_true(list->start_known);
        g_assert_cmpuint(list->range.start, ==, START);
        dax_regions_free(list);

        /* that we may not read, and there is room */
        forbid("dax0.1/resource");
        list = scan();
        g_assert_false(list->start_known);
        g_assert_cmpstr(list->reason, ==, NULL);
        dax_regions_free(list);

        /* no room: all of it has a known place */
        allow("dax0.1/resource");
        fake_add_range(region, "dax0.1", START + 6 * MIB, GIB - 6 * MIB);
        fake_device(region, 0, 2);
        fake_add_range(region, "dax0.2", START, 4 * MIB);
        list = scan();
        g_assert_true(list->start_known);
        g_assert_cmpuint(list->range.start, ==, START);
        dax_regions_free(list);

        /* not all of it */
        forbid("dax0.2/resource");
        list = scan();
        g_assert_false(list->start_known);
        g_assert_cmpuint(list->available, ==, 0);
        dax_regions_free(list);
}

static void test_reason_static(void) {
        drop("dax_region/create");
        drop("dax_region/available_size");
        assert_reason("it is static");
}

static void test_reason_held(void) {
        fake_add_range(region, "dax0.0", START, GIB / 2);
        assert_reason(NULL);
        fake_device(region, 0, 1);
        fake_add_range(region, "dax0.1", START + GIB / 2, GIB / 2);
        assert_reason(NULL); /* may be ours */
        fake_bind(region, "dax0.1", "kmem");
        assert_reason("daxctl reconfigure-device -f -m devdax dax0.1");
}

/* One piece is enough. */
static void test_reason_held_almost(void) {
        fake_add_range(region, "dax0.0", START, GIB - 2 * MIB);
        fake_bind(region, "dax0.0", "kmem");
        assert_reason(NULL);
}

static void test_reason_held_by_first(void) {
        fake_add_range(region, "dax0.0", START, GIB);
        fake_bind(region, "dax0.0", "device_dax");
        assert_reason("dax0.0 has all of it: \"options dax_hmem region_idle=1\"");
}

static void test_reason_misaligned(void) {
        set_own("dax0.0/resource", "0x100001000\n");
        assert_reason("2 MiB");
        set_own("dax0.0/resource", "0x100000000\n");
        assert_reason(NULL);
        set_own("dax_region/size", "1073745920\n");
        assert_reason("2 MiB");
        set_own("dax_region/size", "0\n");
        assert_reason("2 MiB");
}

static void test_reason_rights(void) {
        g_autofree char *bind = fake_path("sys/bus/dax/drivers/device_dax/bind"), *driver = g_path_get_dirname(bind);
        g_autofree char *moved = fake_path("moved");

        g_assert_no_errno(chmod(bind, 0));
        assert_reason("no right to write /sys/bus/dax/drivers/device_dax/bind");
        forbid("dax_region/delete");
        assert_reason("dax_region/delete: the broker's udev rule is missing");

        g_assert_no_errno(g_rename(driver, moved));
        assert_reason("modprobe device_dax");
        g_assert_no_errno(g_rename(moved, driver));
}

static void test_reason_names(void) {
        unsigned n_usable = 0, n_second = 0, n_unnamed = 0;
        DaxRegion *list, *each;

        g_free(fake_region("virtual/hmem.0", 1, 16 * GIB, GIB));
        g_free(fake_region("virtual/what is:this", 2, 32 * GIB, GIB));
        g_free(fake_region("virtual/1234567890123456789012345678901234567890", 4, 128 * GIB, GIB));
        g_free(fake_region("virtual/12345678901234567890123456789012345678901", 3, 64 * GIB, GIB));
        list = scan();
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

                set_own(lies[i].attribute, lies[i].text);
                list = scan();
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
                        set_own(lies[i].attribute, before);
                else
                        drop(lies[i].attribute);
        }
        assert_reason(NULL);

        /* a device beyond the end of its region */
        fake_device(region, 0, 1);
        fake_add_range(region, "dax0.1", START + GIB, 2 * MIB);
        assert_reason("makes no sense");
}

/* ---- Devices ---- */

static void test_inspect(void) {
        DaxDevice device;

        memset(&device, 0xa5, sizeof(device));
        g_assert_cmpint(dax_inspect(region, "dax0.1", &device), ==, -ENOENT);
        g_assert_cmpint(dax_inspect(region, "../hmem.0", &device), ==, -EINVAL);
        g_assert_cmpint(dax_inspect("/nonexistent", "dax0.1", &device), ==, -ENOENT);
        g_assert_cmpuint(device.size, ==, UINT64_C(0xa5a5a5a5a5a5a5a5));

        g_assert_cmpint(dax_inspect(region, "dax0.0", &device), ==, 0);
        g_assert_cmpstr(device.name, ==, "dax0.0");
        g_assert_cmpuint(device.size, ==, 0);
        g_assert_cmpint(device.driver, ==, DAX_DRIVER_NONE);
        g_assert_true(device.ranges_known);
        g_assert_cmpuint(device.n_ranges, ==, 0);

        /* one range: its own file is not needed */
        fake_add_range(region, "dax0.0", START + 2 * MIB, 2 * MIB);
        forbid("dax0.0/mapping0/start");
        g_assert_cmpint(dax_inspect(region, "dax0.0", &device), ==, 0);
        g_assert_true(device.ranges_known);
        g_assert_cmpuint(device.n_ranges, ==, 1);
        g_assert_cmpuint(device.ranges[0].start, ==, START + 2 * MIB);
        g_assert_cmpuint(device.ranges[0].length, ==, 2 * MIB);
        forbid("dax0.0/resource");
        g_assert_cmpint(dax_inspect(region, "dax0.0", &device), ==, 0);
        g_assert_false(device.ranges_known);

        /* of several, one unreadable */
        fake_add_range(region, "dax0.0", START + 8 * MIB, 2 * MIB);
        set_own("dax0.0/resource", "0x100200000\n");
        g_assert_cmpint(dax_inspect(region, "dax0.0", &device), ==, 0);
        g_assert_false(device.ranges_known);
        g_assert_cmpuint(device.size, ==, 4 * MIB);

        /* missing, and not because the device went */
        drop("dax0.0/align");
        g_assert_cmpint(dax_inspect(region, "dax0.0", &device), ==, -EUCLEAN);
}

/* In the middle of being made or deleted it is left out, and its region is as good as ever. */
static void test_inspect_halfway(void) {
        DaxDevice device;

        fake_device(region, 0, 1);
        drop("dax0.1/dev");
        g_assert_cmpint(dax_inspect(region, "dax0.1", &device), ==, -ENOENT);
        assert_reason(NULL);

        fake_add_range(region, "dax0.1", START + 2 * MIB, 2 * MIB);
        g_assert_cmpint(dax_inspect(region, "dax0.1", &device), ==, -EUCLEAN);
        assert_reason("makes no sense");
}

static void test_inspect_ranges(void) {
        DaxDevice device;

        fake_device(region, 0, 1);
        for (unsigned i = 0; i < DAX_RANGES_MAX; i++)
                fake_add_range(region, "dax0.1", START + i * 4 * MIB, 2 * MIB);
        g_assert_cmpint(dax_inspect(region, "dax0.1", &device), ==, 0);
        g_assert_false(device.ranges_known); /* they may go */
        fake_bind(region, "dax0.1", "kmem");
        g_assert_cmpint(dax_inspect(region, "dax0.1", &device), ==, 0);
        g_assert_true(device.ranges_known);
        g_assert_cmpuint(device.n_ranges, ==, DAX_RANGES_MAX);
        set_own("dax0.1/mapping3/end", "0x0\n");
        g_assert_cmpint(dax_inspect(region, "dax0.1", &device), ==, -EUCLEAN);
        set_own("dax0.1/mapping3/start", "0x0\n");
        set_own("dax0.1/mapping3/end", "0xffffffffffffffff\n");
        g_assert_cmpint(dax_inspect(region, "dax0.1", &device), ==, -EUCLEAN);

        fake_add_range(region, "dax0.1", START + 512 * MIB, 2 * MIB);
        g_assert_cmpint(dax_inspect(region, "dax0.1", &device), ==, 0);
        g_assert_false(device.ranges_known);
        g_assert_cmpuint(device.n_ranges, ==, DAX_RANGES_MAX);
}

static int add_range(const char *name, uint64_t start, uint64_t length) {
        Range range = { start, length };

        return dax_add_ranges(region, name, &range, 1);
}

static void test_life(void) {
        static const Range ranges[] = { { START + 2 * MIB, 2 * MIB }, { START + 16 * MIB, 4 * MIB } };
        char name[DAX_NAME_MAX];
        DaxDevice device;

        g_assert_cmpint(dax_create(region, name), ==, 0);
        g_assert_cmpstr(name, ==, "dax0.1");
        g_assert_cmpint(dax_await_rights(region, name, 0), ==, 0);
        g_assert_cmpint(dax_claim(name), ==, 0);
        g_assert_cmpint(dax_claim(name), ==, 0);
        g_assert_true(fake_is_claimed(name));
        g_assert_cmpint(dax_align(region, name, 4 * KIB), ==, 0);
        g_assert_cmpint(dax_align(region, name, 2 * MIB), ==, 0);
        g_assert_cmpint(dax_align(region, name, 8 * KIB), ==, -EINVAL);
        g_assert_cmpint(dax_bind(region, name, 0), ==, -ENXIO);
        g_assert_cmpint(dax_add_ranges(region, name, ranges, 2), ==, 0);
        g_assert_cmpint(dax_align(region, name, 4 * KIB), ==, -EUCLEAN);
        g_assert_cmpint(dax_delete(region, name), ==, -EBUSY);
        g_assert_cmpint(dax_bind(region, name, 6 * MIB), ==, 0);
        g_assert_cmpint(dax_inspect(region, name, &device), ==, 0);
        g_assert_cmpint(device.driver, ==, DAX_DRIVER_DEVICE);
        g_assert_cmpuint(device.n_ranges, ==, 2);

        g_assert_cmpint(add_range(name, START, 2 * MIB), ==, -EBUSY);
        fake_inject(FAKE_NONE, 0, 0);
        for (unsigned i = 0; i < 2; i++)
                g_assert_cmpint(dax_unbind(region, name), ==, 0);
        g_assert_cmpuint(fake_count_writes(), ==, 2); /* from the driver, and of its ranges, once */
        for (unsigned i = 0; i < 2; i++)
                g_assert_cmpint(dax_unclaim(name), ==, 0);
        for (unsigned i = 0; i < 2; i++)
                g_assert_cmpint(dax_delete(region, name), ==, 0);
        g_assert_cmpint(dax_unbind(region, name), ==, 0);
        g_assert_false(fake_is_claimed(name));
        g_assert_false(fake_exists(name));
}

static void test_ranges_refused(void) {
        static const Range bad[] = {
                { START, 0 },
                { START, 4 * KIB },
                { START, 3 * MIB },
                { START + MIB, 2 * MIB },
                { UINT64_MAX - MIB, 2 * MIB },
                { UINT64_MAX - 2 * MIB + 1, 4 * MIB },
        };
        char name[DAX_NAME_MAX];

        g_assert_cmpint(dax_create(region, name), ==, 0);
        fake_inject(FAKE_NONE, 0, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_cmpint(dax_add_ranges(region, name, &bad[i], 1), ==, -EINVAL);
        g_assert_cmpuint(fake_count_writes(), ==, 0);

        fake_add_range(region, "dax0.0", START, 4 * MIB);
        g_assert_cmpint(add_range(name, START + 2 * MIB, 4 * MIB), ==, -EADDRINUSE);
        g_assert_cmpint(add_range(name, START - 2 * MIB, 2 * MIB), ==, -EADDRINUSE);
        g_assert_cmpint(add_range(name, START + GIB - 2 * MIB, 4 * MIB), ==, -EADDRINUSE);

        /* the region's alignment is the device's, too */
        set_own("dax0.1/align", "1073741824\n");
        g_assert_cmpint(add_range(name, START + 4 * MIB, 2 * MIB), ==, -EINVAL);
        set_own("dax0.1/align", "0\n");
        g_assert_cmpint(add_range(name, START + 4 * MIB, 2 * MIB), ==, -EUCLEAN);
}

/* The first device of a region stays as it is, and so does what is no device. */
static void test_not_ours(void) {
        static const char *const names[] = { "dax0.0", "", "dax0.1/../dax0.0", "hmem.0", "dax0.1\ndax0.2" };

        fake_inject(FAKE_NONE, 0, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                int fd = -1;

                g_assert_cmpint(dax_claim(names[i]), ==, -EINVAL);
                g_assert_cmpint(dax_unclaim(names[i]), ==, -EINVAL);
                g_assert_cmpint(dax_align(region, names[i], 4 * KIB), ==, -EINVAL);
                g_assert_cmpint(add_range(names[i], START, 2 * MIB), ==, -EINVAL);
                g_assert_cmpint(dax_bind(region, names[i], 2 * MIB), ==, -EINVAL);
                g_assert_cmpint(dax_open(region, names[i], false, &fd), ==, i == 0 ? -EUCLEAN : -EINVAL); /* not bound */
                g_assert_cmpint(dax_unbind(region, names[i]), ==, -EINVAL);
                g_assert_cmpint(dax_delete(region, names[i]), ==, -EINVAL);
                g_assert_cmpint(fd, ==, -1);
        }
        g_assert_cmpuint(fake_count_writes(), ==, 0);
}

static void test_other_driver(void) {
        int fd;

        fake_region_is_not_for_kmem(region);
        fake_device(region, 0, 1);
        fake_add_range(region, "dax0.1", START, 2 * MIB);
        fake_bind(region, "dax0.1", "kmem");
        g_assert_cmpint(dax_unbind(region, "dax0.1"), ==, -EUCLEAN);
        g_assert_cmpint(dax_bind(region, "dax0.1", 2 * MIB), ==, -EUCLEAN);
        g_assert_cmpint(dax_open(region, "dax0.1", false, &fd), ==, -EUCLEAN);
        g_assert_cmpint(add_range("dax0.1", START + 4 * MIB, 2 * MIB), ==, -EBUSY);
}

/* Somebody's claim has the driver bind what has a size, with us between two writes. */
static void test_attached_early(void) {
        char name[DAX_NAME_MAX], other[DAX_NAME_MAX];

        g_assert_cmpint(dax_create(region, name), ==, 0);
        g_assert_cmpint(dax_claim(name), ==, 0);
        g_assert_cmpint(dax_create(region, other), ==, 0);
        g_assert_cmpint(add_range(name, START, 2 * MIB), ==, 0);
        g_assert_cmpint(dax_claim(other), ==, 0);
        g_assert_cmpint(add_range(name, START + 4 * MIB, 2 * MIB), ==, -EBUSY);
        g_assert_cmpint(dax_bind(region, name, 2 * MIB), ==, 0);
        g_assert_cmpint(dax_bind(region, name, 4 * MIB), ==, -EUCLEAN);
}

/* No claim where none is needed: it would bind what an admin has just unbound. */
static void test_claim_needless(void) {
        char name[DAX_NAME_MAX];
        DaxDevice device;

        fake_region_is_not_for_kmem(region);
        fake_device(region, 0, 5);
        fake_add_range(region, "dax0.5", START, 2 * MIB);

        g_assert_cmpint(dax_create(region, name), ==, 0);
        g_assert_cmpint(dax_claim(name), ==, 0);
        g_assert_false(fake_is_claimed(name));
        g_assert_cmpint(dax_inspect(region, "dax0.5", &device), ==, 0);
        g_assert_cmpint(device.driver, ==, DAX_DRIVER_NONE);
        g_assert_cmpint(add_range(name, START + 2 * MIB, 2 * MIB), ==, 0);
        g_assert_cmpint(dax_bind(region, name, 2 * MIB), ==, 0);
        g_assert_cmpint(dax_claim(name), ==, -EBUSY);
        g_assert_cmpint(dax_unclaim(name), ==, 0);
}

/* Somebody's claim comes between the unbinding and the taking away of its ranges. */
static void test_attached_again(void) {
        DaxDevice device;

        for (unsigned i = 1; i <= 2; i++) {
                g_autofree char *name = g_strdup_printf("dax0.%u", i);

                fake_device(region, 0, i);
                fake_add_range(region, name, START, 2 * MIB);
                fake_bind(region, name, "device_dax");
                if (i == 1)
                        fake_inject(FAKE_LIE, 1, 0); /* as if it were bound again at once */
                else
                        fake_inject(FAKE_ERROR, 2, EBUSY);
                g_assert_cmpint(dax_unbind(region, name), ==, 0);
                g_assert_cmpuint(fake_count_writes(), >, 2);
                g_assert_cmpint(dax_inspect(region, name, &device), ==, 0);
                g_assert_cmpint(device.driver, ==, DAX_DRIVER_NONE);
                g_assert_cmpuint(device.size, ==, 0);
        }
}

/* The kernel says yes and does nothing; or says no. */
static void test_lies(void) {
        char name[DAX_NAME_MAX] = "untouched";

        fake_inject(FAKE_LIE, 1, 0);
        g_assert_cmpint(dax_create(region, name), ==, -EUCLEAN);
        g_assert_cmpstr(name, ==, "untouched");
        fake_inject(FAKE_ERROR, 1, ENOSPC);
        g_assert_cmpint(dax_create(region, name), ==, -ENOSPC);

        g_assert_cmpint(dax_create(region, name), ==, 0);
        g_assert_cmpint(dax_claim(name), ==, 0);
        fake_inject(FAKE_LIE, 1, 0);
        g_assert_cmpint(dax_align(region, name, 4 * KIB), ==, -EUCLEAN);
        fake_inject(FAKE_LIE, 1, 0);
        g_assert_cmpint(add_range(name, START, 2 * MIB), ==, -EUCLEAN);
        fake_inject(FAKE_ERROR, 1, ENXIO);
        g_assert_cmpint(add_range(name, START, 2 * MIB), ==, -ENODEV);
        g_assert_cmpint(add_range(name, START, 2 * MIB), ==, 0);
        fake_inject(FAKE_LIE, 1, 0);
        g_assert_cmpint(dax_bind(region, name, 2 * MIB), ==, -EUCLEAN);
        fake_inject(FAKE_ERROR, 1, EBUSY);
        g_assert_cmpint(dax_bind(region, name, 2 * MIB), ==, -EUCLEAN);
        g_assert_cmpint(dax_bind(region, name, 2 * MIB), ==, 0);
        fake_inject(FAKE_ERROR, 1, EIO);
        g_assert_cmpint(dax_unbind(region, name), ==, -EIO);
        fake_inject(FAKE_LIE, 2, 0);
        g_assert_cmpint(dax_unbind(region, name), ==, -EUCLEAN);
        fake_inject(FAKE_LIE, 1, 0);
        g_assert_cmpint(dax_unbind(region, name), ==, -EUCLEAN);
        g_assert_cmpint(dax_unbind(region, name), ==, 0);
        fake_inject(FAKE_LIE, 1, 0);
        g_assert_cmpint(dax_delete(region, name), ==, -EUCLEAN);
        fake_inject(FAKE_ERROR, 1, EBUSY);
        g_assert_cmpint(dax_delete(region, name), ==, -EBUSY);
        g_assert_cmpint(dax_delete(region, name), ==, 0);
}

/* Errors of the kernel that are not those one knows what to make of are passed on, and what makes no sense is not written. */
static void test_errors(void) {
        static const Range half = { START + MIB, 2 * MIB }, small = { START, 2 * MIB };
        char name[DAX_NAME_MAX];

        g_assert_cmpint(dax_create(region, name), ==, 0);
        fake_inject(FAKE_ERROR, 1, EIO);
        g_assert_cmpint(dax_align(region, name, 4 * KIB), ==, -EIO);
        g_assert_cmpint(dax_align(region, name, 4 * KIB), ==, 0);
        fake_inject(FAKE_NONE, 0, 0);
        g_assert_cmpint(dax_add_ranges(region, name, &half, 1), ==, -EINVAL); /* whatever it is aligned to */
        set_own("dax0.1/align", "1073741824\n");
        g_assert_cmpint(dax_add_ranges(region, name, &small, 1), ==, -EINVAL);
        set_own("dax0.1/align", "4096\n");
        g_assert_cmpuint(fake_count_writes(), ==, 0);
        fake_inject(FAKE_ERROR, 1, EIO);
        g_assert_cmpint(dax_add_ranges(region, name, &small, 1), ==, -EIO);

        /* what has a size is not deleted: one need not ask */
        fake_add_range(region, name, START, 2 * MIB);
        fake_inject(FAKE_NONE, 0, 0);
        g_assert_cmpint(dax_delete(region, name), ==, -EBUSY);
        g_assert_cmpuint(fake_count_writes(), ==, 0);
        g_assert_cmpint(dax_unbind(region, name), ==, 0);

        /* somebody was faster, says the kernel, but it is there */
        fake_inject(FAKE_ERROR, 1, ENXIO);
        g_assert_cmpint(dax_delete(region, name), ==, -EUCLEAN);
        g_assert_cmpint(dax_delete(region, name), ==, 0);
}

/* A link in place of a device is none. */
static void test_link(void) {
        g_autofree char *link = g_build_filename(region, "dax0.1", NULL);
        DaxDevice device;

        g_assert_no_errno(symlink("dax0.0", link));
        g_assert_cmpint(dax_inspect(region, "dax0.1", &device), ==, -EUCLEAN);
        g_assert_no_errno(g_remove(link));
}

static void test_create_says_nonsense(void) {
        static const char *const answers[] = { "", "\n", "dax0.0\n", "dax0.77\n", "../../etc\n", "dax0.1\nx\n" };
        char name[DAX_NAME_MAX];

        for (size_t i = 0; i < G_N_ELEMENTS(answers); i++) {
                set_own("dax_region/create", answers[i]);
                fake_inject(FAKE_LIE, 1, 0);
                g_assert_cmpint(dax_create(region, name), ==, -EUCLEAN);
        }

        /* one that is in use */
        fake_device(region, 0, 3);
        fake_add_range(region, "dax0.3", START, 2 * MIB);
        set_own("dax_region/create", "dax0.3\n");
        fake_inject(FAKE_LIE, 1, 0);
        g_assert_cmpint(dax_create(region, name), ==, -EUCLEAN);
}

static void test_open_refused(void) {
        g_autofree char *node = fake_path("dev/dax0.1");
        int fd = -1;

        g_assert_cmpint(dax_open(region, "dax0.1", false, &fd), ==, -ENOENT);
        fake_device(region, 0, 1);
        g_assert_cmpint(dax_open(region, "dax0.1", false, &fd), ==, -EUCLEAN); /* not bound */
        fake_add_range(region, "dax0.1", START, 2 * MIB);
        fake_bind(region, "dax0.1", "device_dax");

        g_assert_cmpint(dax_open(region, "dax0.1", false, &fd), ==, -EUCLEAN); /* an ordinary file */
        g_assert_no_errno(g_remove(node));
        g_assert_cmpint(dax_open(region, "dax0.1", false, &fd), ==, -ENOENT);
        g_assert_no_errno(symlink("/dev/null", node));
        g_assert_cmpint(dax_open(region, "dax0.1", false, &fd), ==, -EUCLEAN);
        g_assert_no_errno(g_remove(node));
        g_assert_no_errno(mkfifo(node, 0600));
        g_assert_cmpint(dax_open(region, "dax0.1", true, &fd), ==, -EUCLEAN); /* and does not hang */
        g_assert_cmpint(fd, ==, -1);
}

/* ---- Waiting for udev ---- */

static void *hand_over_soon(void *userdata) {
        g_usleep(100 * 1000);
        fake_hand_over(region, userdata);
        return NULL;
}

static void *remove_soon(void *userdata) {
        g_autofree char *node = fake_path("dev/%s", (char *) userdata);
        g_autofree char *folder = g_build_filename(region, (char *) userdata, NULL);
        g_autofree char *elsewhere = g_strconcat(folder, "-gone", NULL), *size = g_build_filename(elsewhere, "size", NULL);

        g_usleep(100 * 1000);
        g_assert_no_errno(g_rename(folder, elsewhere));
        g_assert_no_errno(g_remove(size));
        g_assert_no_errno(g_remove(node));
        return NULL;
}

static void test_await_rights(void) {
        gint64 begin = g_get_monotonic_time();
        g_autofree char *node = NULL;
        GThread *thread;

        g_assert_cmpint(dax_await_rights(region, "dax0.1", SECOND), ==, -ENODEV);

        fake_withhold_rights(true);
        fake_device(region, 0, 1);
        g_assert_cmpint(dax_await_rights(region, "dax0.1", 0), ==, -ETIMEDOUT);
        g_assert_cmpint(dax_await_rights(region, "dax0.1", SECOND / 20), ==, -ETIMEDOUT);

        thread = g_thread_new("udev", hand_over_soon, (char[]){ "dax0.1" });
        g_assert_cmpint(dax_await_rights(region, "dax0.1", UINT64_MAX), ==, 0);
        g_thread_join(thread);

        fake_device(region, 0, 2);
        thread = g_thread_new("kernel", remove_soon, (char[]){ "dax0.2" });
        g_assert_cmpint(dax_await_rights(region, "dax0.2", 60 * SECOND), ==, -ENODEV);
        g_thread_join(thread);

        /* only a part of them */
        fake_device(region, 0, 3);
        forbid("dax0.3/size");
        fake_hand_over(region, "dax0.3");
        g_assert_cmpint(dax_await_rights(region, "dax0.3", SECOND / 20), ==, -EACCES);

        /* all of the attributes, but not the node */
        fake_device(region, 0, 4);
        fake_hand_over(region, "dax0.4");
        g_assert_cmpint(dax_await_rights(region, "dax0.4", 0), ==, 0);
        node = fake_path("dev/dax0.4");
        g_assert_no_errno(chmod(node, 0400));
        g_assert_cmpint(dax_await_rights(region, "dax0.4", SECOND / 20), ==, -EACCES);
        g_assert_no_errno(g_remove(node));
        g_assert_cmpint(dax_await_rights(region, "dax0.4", 60 * SECOND), ==, -ENODEV);

        /* what will never be there is not waited for */
        fake_device(region, 0, 5);
        drop("dax0.5/align");
        fake_hand_over(region, "dax0.5");
        g_assert_cmpint(dax_await_rights(region, "dax0.5", 60 * SECOND), ==, -EUCLEAN);

        g_assert_cmpint(g_get_monotonic_time() - begin, <, 30 * (gint64) SECOND);
}

/* In a folder of its own. */
static const struct Test {
        const char *path;
        void (*function)(void);
} tests[] = {
        { "/dax/folders", test_folders },
        { "/dax/lines", test_lines },
        { "/dax/scan", test_scan },
        { "/dax/scan-nothing", test_scan_nothing },
        { "/dax/scan-strange-entries", test_scan_strange_entries },
        { "/dax/scan-gone", test_scan_gone },
        { "/dax/scan-without-descriptors", test_scan_without_descriptors },
        { "/dax/scan-node-0", test_scan_node_0 },
        { "/dax/scan-sizes", test_scan_sizes },
        { "/dax/scan-many", test_scan_many },
        { "/dax/start", test_start },
        { "/dax/reason-static", test_reason_static },
        { "/dax/reason-held", test_reason_held },
        { "/dax/reason-held-almost", test_reason_held_almost },
        { "/dax/reason-held-by-first", test_reason_held_by_first },
        { "/dax/reason-misaligned", test_reason_misaligned },
        { "/dax/reason-rights", test_reason_rights },
        { "/dax/reason-names", test_reason_names },
        { "/dax/reason-nonsense", test_reason_nonsense },
        { "/dax/inspect", test_inspect },
        { "/dax/inspect-halfway", test_inspect_halfway },
        { "/dax/inspect-ranges", test_inspect_ranges },
        { "/dax/life", test_life },
        { "/dax/ranges-refused", test_ranges_refused },
        { "/dax/not-ours", test_not_ours },
        { "/dax/other-driver", test_other_driver },
        { "/dax/attached-early", test_attached_early },
        { "/dax/claim-needless", test_claim_needless },
        { "/dax/attached-again", test_attached_again },
        { "/dax/lies", test_lies },
        { "/dax/errors", test_errors },
        { "/dax/link", test_link },
        { "/dax/create-says-nonsense", test_create_says_nonsense },
        { "/dax/open-refused", test_open_refused },
        { "/dax/await-rights", test_await_rights },
};

static void run(gconstpointer test) {
        unsigned n_fds = open_fds_count();

        setup();
        ((const struct Test *) test)->function();
        teardown();
        g_assert_cmpuint(open_fds_count(), ==, n_fds);
}

int main(int argc, char **argv) {
        /* root has all rights */
        if (getuid() == 0 && (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
                return 77;
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/dax/numbers", test_numbers);
        g_test_add_func("/dax/names", test_names);
        g_test_add_func("/dax/nodes", test_nodes);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add_data_func(tests[i].path, &tests[i], run);
        return g_test_run();
}
