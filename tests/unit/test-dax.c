/* SPDX-License-Identifier: MIT */

/* Dax devices of a kernel that is a folder: what is read of them, what is written, and that no answer is believed. */

#include "dax.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dax-scene.h"
#include "fake-dax.h"
#include "size.h"

#define SECOND (UINT64_C(1000000))

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
        dax_scene_forbid("dax0.0/mapping0/start");
        g_assert_cmpint(dax_inspect(region, "dax0.0", &device), ==, 0);
        g_assert_true(device.ranges_known);
        g_assert_cmpuint(device.n_ranges, ==, 1);
        g_assert_cmpuint(device.ranges[0].start, ==, START + 2 * MIB);
        g_assert_cmpuint(device.ranges[0].length, ==, 2 * MIB);
        dax_scene_forbid("dax0.0/resource");
        g_assert_cmpint(dax_inspect(region, "dax0.0", &device), ==, 0);
        g_assert_false(device.ranges_known);

        /* of several, one unreadable */
        fake_add_range(region, "dax0.0", START + 8 * MIB, 2 * MIB);
        dax_scene_set_own("dax0.0/resource", "0x100200000\n");
        g_assert_cmpint(dax_inspect(region, "dax0.0", &device), ==, 0);
        g_assert_false(device.ranges_known);
        g_assert_cmpuint(device.size, ==, 4 * MIB);

        /* missing, and not because the device went */
        dax_scene_drop("dax0.0/align");
        g_assert_cmpint(dax_inspect(region, "dax0.0", &device), ==, -EUCLEAN);
}

/* In the middle of being made or deleted it is left out, and its region is as good as ever. */
static void test_inspect_halfway(void) {
        DaxDevice device;

        fake_device(region, 0, 1);
        dax_scene_drop("dax0.1/dev");
        g_assert_cmpint(dax_inspect(region, "dax0.1", &device), ==, -ENOENT);
        dax_scene_assert_reason(NULL);

        fake_add_range(region, "dax0.1", START + 2 * MIB, 2 * MIB);
        g_assert_cmpint(dax_inspect(region, "dax0.1", &device), ==, -EUCLEAN);
        dax_scene_assert_reason("makes no sense");
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
        dax_scene_set_own("dax0.1/mapping3/end", "0x0\n");
        g_assert_cmpint(dax_inspect(region, "dax0.1", &device), ==, -EUCLEAN);
        dax_scene_set_own("dax0.1/mapping3/start", "0x0\n");
        dax_scene_set_own("dax0.1/mapping3/end", "0xffffffffffffffff\n");
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
        dax_scene_set_own("dax0.1/align", "1073741824\n");
        g_assert_cmpint(add_range(name, START + 4 * MIB, 2 * MIB), ==, -EINVAL);
        dax_scene_set_own("dax0.1/align", "0\n");
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

/* Errors of the kernel that nobody knows what to make of are passed on, and what makes no sense is not written. */
static void test_errors(void) {
        static const Range half = { START + MIB, 2 * MIB }, small = { START, 2 * MIB };
        char name[DAX_NAME_MAX];

        g_assert_cmpint(dax_create(region, name), ==, 0);
        fake_inject(FAKE_ERROR, 1, EIO);
        g_assert_cmpint(dax_align(region, name, 4 * KIB), ==, -EIO);
        g_assert_cmpint(dax_align(region, name, 4 * KIB), ==, 0);
        fake_inject(FAKE_NONE, 0, 0);
        g_assert_cmpint(dax_add_ranges(region, name, &half, 1), ==, -EINVAL); /* whatever it is aligned to */
        dax_scene_set_own("dax0.1/align", "1073741824\n");
        g_assert_cmpint(dax_add_ranges(region, name, &small, 1), ==, -EINVAL);
        dax_scene_set_own("dax0.1/align", "4096\n");
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
                dax_scene_set_own("dax_region/create", answers[i]);
                fake_inject(FAKE_LIE, 1, 0);
                g_assert_cmpint(dax_create(region, name), ==, -EUCLEAN);
        }

        /* one that is in use */
        fake_device(region, 0, 3);
        fake_add_range(region, "dax0.3", START, 2 * MIB);
        dax_scene_set_own("dax_region/create", "dax0.3\n");
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
        dax_scene_forbid("dax0.3/size");
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
        dax_scene_drop("dax0.5/align");
        fake_hand_over(region, "dax0.5");
        g_assert_cmpint(dax_await_rights(region, "dax0.5", 60 * SECOND), ==, -EUCLEAN);

        g_assert_cmpint(g_get_monotonic_time() - begin, <, 30 * (gint64) SECOND);
}

static const DaxTest tests[] = {
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

int main(int argc, char **argv) {
        dax_scene_init(&argc, &argv);
        dax_scene_add(tests, G_N_ELEMENTS(tests));
        return g_test_run();
}
