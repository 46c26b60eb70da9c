/* SPDX-License-Identifier: MIT */

#include "fake-dax.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool withheld, greedy;

static int do_write(const char *path, const char *text);

void fake_dax_setup(void) {
        static const char *const attributes[] = { "bind", "unbind", "new_id", "remove_id" };
        static const char *const folders[] = { "claims", "sys/bus/dax/devices", "sys/bus/dax/drivers/kmem",
                                               "sys/bus/dax/drivers/device_dax" };

        fake_setup(do_write);
        for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
                g_autofree char *folder = fake_path("%s", folders[i]);

                fake_make_folder("%s", folder);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(attributes); i++)
                fake_write("", "sys/bus/dax/drivers/device_dax/%s", attributes[i]);
        withheld = greedy = false;
}

void fake_dax_teardown(void) {
        fake_teardown();
}

/* ---- Regions and devices ---- */

/* Of all devices of a region: calls back for each range. Returns whether the range is free of all of them. */
static bool ranges_account(const char *region, uint64_t start, uint64_t end, uint64_t *ret_used) {
        GDir *dir = g_dir_open(region, 0, NULL);
        const char *name;
        bool is_free = true;

        *ret_used = 0;
        while ((name = g_dir_read_name(dir))) {
                for (unsigned i = 0;; i++) {
                        g_autofree char *mapping = g_strdup_printf("%s/%s/mapping%u", region, name, i);
                        uint64_t s, e;

                        if (!g_file_test(mapping, G_FILE_TEST_IS_DIR))
                                break;
                        s = fake_get_number(mapping, "start");
                        e = fake_get_number(mapping, "end");
                        *ret_used += e - s + 1;
                        if (s <= end && start <= e)
                                is_free = false;
                }
        }
        g_dir_close(dir);
        return is_free;
}

static void update_available(const char *region) {
        g_autofree char *folder = g_build_filename(region, "dax_region", NULL);
        uint64_t used;

        (void) ranges_account(region, 1, 0, &used);
        fake_set(folder, "available_size", "%" PRIu64 "\n", fake_get_number(folder, "size") - used);
}

static uint64_t region_start(const char *region) {
        g_autofree char *text = fake_get(region, "start");

        return g_ascii_strtoull(text, NULL, 0);
}

void fake_device(const char *region, unsigned id, unsigned number) {
        g_autofree char *name = g_strdup_printf("dax%u.%u", id, number);
        g_autofree char *folder = g_build_filename(region, name, NULL), *link = fake_path("sys/bus/dax/devices/%s", name);

        fake_make_folder("%s", folder);
        fake_set(folder, "size", "0\n");
        fake_set(folder, "align", "2097152\n");
        fake_set(folder, "dev", "252:%u\n", number + 1);
        fake_set(folder, "resource", "%#" PRIx64 "\n", region_start(region));
        fake_set(folder, "numa_node", "-1\n");
        fake_set(folder, "mapping", "%s", "");
        if (withheld) {
                g_autofree char *mapping = g_build_filename(folder, "mapping", NULL);

                g_assert_no_errno(chmod(mapping, 0));
        }
        fake_write("", "dev/%s", name);
        g_assert_no_errno(symlink(folder, link)); /* last, for who sees that may delete it */
}

void fake_take_decoys(bool take) {
        greedy = take;
}

void fake_withhold_rights(bool withhold) {
        withheld = withhold;
}

void fake_hand_over(const char *region, const char *device) {
        g_autofree char *mapping = g_build_filename(region, device, "mapping", NULL);

        g_assert_no_errno(chmod(mapping, 0200));
}

char *fake_region(const char *parent, unsigned id, uint64_t start, uint64_t size) {
        char *path = fake_path("sys/devices/%s", parent);
        g_autofree char *folder = g_build_filename(path, "dax_region", NULL);

        fake_make_folder("%s", folder);
        fake_set(path, "start", "%" PRIu64, start);
        fake_set(folder, "id", "%u\n", id);
        fake_set(folder, "size", "%" PRIu64 "\n", size);
        fake_set(folder, "align", "2097152\n");
        fake_set(folder, "create", "\n");
        fake_set(folder, "seed", "\n");
        fake_set(folder, "delete", "%s", "");
        fake_device(path, id, 0);
        update_available(path);
        return path;
}

void fake_region_is_not_for_kmem(const char *region) {
        fake_set(region, "idle", "%s", "");
}

static unsigned count_ranges(const char *folder) {
        for (unsigned i = 0;; i++) {
                g_autofree char *mapping = g_strdup_printf("%s/mapping%u", folder, i);

                if (!g_file_test(mapping, G_FILE_TEST_IS_DIR))
                        return i;
        }
}

void fake_add_range(const char *region, const char *device, uint64_t start, uint64_t length) {
        g_autofree char *folder = g_build_filename(region, device, NULL);
        g_autofree char *mapping = g_strdup_printf("%s/mapping%u", folder, count_ranges(folder));

        if (count_ranges(folder) == 0)
                fake_set(folder, "resource", "%#" PRIx64 "\n", start);
        fake_make_folder("%s", mapping);
        fake_set(mapping, "start", "%#" PRIx64 "\n", start);
        fake_set(mapping, "end", "%#" PRIx64 "\n", start + length - 1);
        fake_set(folder, "size", "%" PRIu64 "\n", fake_get_number(folder, "size") + length);
        update_available(region);
}

void fake_bind(const char *region, const char *device, const char *driver) {
        g_autofree char *link = g_build_filename(region, device, "driver", NULL);
        g_autofree char *target = fake_path("sys/bus/dax/drivers/%s", driver);

        g_assert_no_errno(symlink(target, link));
}

void fake_unbind(const char *region, const char *device) {
        g_autofree char *link = g_build_filename(region, device, "driver", NULL);

        g_assert_no_errno(g_remove(link));
}

bool fake_is_claimed(const char *device) {
        g_autofree char *path = fake_path("claims/%s", device);

        return g_file_test(path, G_FILE_TEST_EXISTS);
}

static char *device_folder(const char *device) {
        g_autofree char *link = fake_path("sys/bus/dax/devices/%s", device);

        return g_file_read_link(link, NULL);
}

bool fake_exists(const char *device) {
        g_autofree char *folder = device_folder(device);

        return folder != NULL;
}

unsigned fake_count_devices(void) {
        g_autofree char *path = fake_path("sys/bus/dax/devices");
        GDir *dir = g_dir_open(path, 0, NULL);
        unsigned n = 0;

        while (g_dir_read_name(dir))
                n++;
        g_dir_close(dir);
        return n;
}

/* ---- What writes do ---- */

/* It is bound, or goes. */
static void not_seed(const char *region, const char *device) {
        g_autofree char *own = g_build_filename(region, "dax_region", NULL), *seed = fake_get(own, "seed");

        if (strcmp(g_strchomp(seed), device) == 0)
                fake_set(own, "seed", "\n");
}

static int do_create(const char *region) {
        g_autofree char *own = g_build_filename(region, "dax_region", NULL);
        unsigned id = (unsigned) fake_get_number(own, "id");

        if (fake_get_number(own, "available_size") == 0)
                return -ENOSPC;
        for (unsigned number = 0;; number++) {
                g_autofree char *name = g_strdup_printf("dax%u.%u", id, number), *seed = NULL;

                if (fake_exists(name))
                        continue;
                fake_device(region, id, number);
                fake_set(own, "create", "%s\n", name);
                seed = fake_get(own, "seed");
                if (greedy || strcmp(seed, "\n") == 0)
                        fake_set(own, "seed", "%s\n", name);
                return 0;
        }
}

static int do_delete(const char *region, const char *device) {
        g_autofree char *folder = g_build_filename(region, device, NULL), *driver = fake_driver_of(folder);
        g_autofree char *link = fake_path("sys/bus/dax/devices/%s", device), *node = fake_path("dev/%s", device);

        if (!g_file_test(folder, G_FILE_TEST_IS_DIR))
                return -ENXIO;
        if (driver || fake_get_number(folder, "size") > 0 || g_str_has_suffix(device, ".0"))
                return -EBUSY;

        not_seed(region, device);
        g_assert_no_errno(g_remove(node));
        fake_remove_tree(folder);
        g_assert_no_errno(g_remove(link));
        return 0;
}

static int do_mapping(const char *region, const char *device, const char *text) {
        g_autofree char *folder = g_build_filename(region, device, NULL);
        g_autofree char *own = g_build_filename(region, "dax_region", NULL);
        uint64_t start, end, used;

        if (sscanf(text, "%" SCNx64 "-%" SCNx64, &start, &end) != 2)
                return -EINVAL;
        if ((end - start + 1) % fake_get_number(folder, "align") != 0)
                return 0; /* says the real one, too */
        if (start < region_start(region) || end - region_start(region) >= fake_get_number(own, "size") ||
            !ranges_account(region, start, end, &used))
                return -ENOMEM;

        fake_add_range(region, device, start, end - start + 1);
        return 0;
}

static int do_size(const char *region, const char *device, const char *text) {
        g_autofree char *folder = g_build_filename(region, device, NULL), *driver = fake_driver_of(folder);

        if (driver)
                return -EBUSY;
        g_assert_cmpstr(text, ==, "0");
        for (unsigned i = count_ranges(folder); i > 0; i--) {
                g_autofree char *mapping = g_strdup_printf("%s/mapping%u", folder, i - 1);

                fake_remove_tree(mapping);
        }
        fake_set(folder, "size", "0\n");
        fake_set(folder, "resource", "%#" PRIx64 "\n", region_start(region));
        update_available(region);
        return 0;
}

static int do_bind(const char *device) {
        g_autofree char *folder = device_folder(device), *driver = NULL, *region = NULL, *idle = NULL;

        if (!folder)
                return -ENODEV;
        region = g_path_get_dirname(folder);
        idle = g_build_filename(region, "idle", NULL);
        if (!g_file_test(idle, G_FILE_TEST_EXISTS) && !fake_is_claimed(device))
                return -ENODEV;
        driver = fake_driver_of(folder);
        if (driver)
                return -EBUSY;
        if (fake_get_number(folder, "size") == 0)
                return -ENXIO;

        not_seed(region, device);
        fake_bind(region, device, "device_dax");
        return 0;
}

static int do_unbind(const char *device) {
        g_autofree char *folder = device_folder(device), *link = NULL, *driver = NULL;

        if (!folder)
                return -ENODEV;
        driver = fake_driver_of(folder);
        if (g_strcmp0(driver, "device_dax") != 0)
                return -ENODEV;
        link = g_build_filename(folder, "driver", NULL);
        g_assert_no_errno(g_remove(link));
        return 0;
}

/* All of the bus that has a size and is for this driver is bound as well. */
static int do_new_id(const char *device) {
        g_autofree char *path = fake_path("sys/bus/dax/devices");
        GDir *dir = g_dir_open(path, 0, NULL);
        const char *name;

        fake_write("", "claims/%s", device);
        while ((name = g_dir_read_name(dir)))
                (void) do_bind(name);
        g_dir_close(dir);
        return 0;
}

static int do_remove_id(const char *device) {
        g_autofree char *path = fake_path("claims/%s", device);

        (void) g_remove(path);
        return 0;
}

static int do_write(const char *path, const char *text) {
        g_autofree char *attribute = g_path_get_basename(path), *folder = g_path_get_dirname(path);
        g_autofree char *device = g_path_get_basename(folder), *region = g_path_get_dirname(folder);

        if (strcmp(attribute, "create") == 0)
                return do_create(region);
        if (strcmp(attribute, "delete") == 0)
                return do_delete(region, text);
        if (strcmp(attribute, "mapping") == 0)
                return do_mapping(region, device, text);
        if (strcmp(attribute, "size") == 0)
                return do_size(region, device, text);
        if (strcmp(attribute, "bind") == 0)
                return do_bind(text);
        if (strcmp(attribute, "unbind") == 0)
                return do_unbind(text);
        if (strcmp(attribute, "new_id") == 0)
                return do_new_id(text);
        if (strcmp(attribute, "remove_id") == 0)
                return do_remove_id(text);

        g_assert_cmpstr(attribute, ==, "align");
        fake_set(folder, "align", "%s\n", text);
        return 0;
}
