/* SPDX-License-Identifier: MIT */

#include "fake-nvdimm.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

/* What udev hands over, the last one last. */
static const char *const namespace_files[] = { "uuid", "alt_name", "holder_class", "size" };
static const char *const dax_files[] = { "uuid", "mode", "align", "namespace" };

static bool withheld;

static char *below(const char *folder, const char *name) {
        return g_build_filename(folder, name, NULL);
}

/* One line of a file, without its end. */
static char *line(const char *folder, const char *file) {
        char *text = fake_get(folder, file);

        g_assert_nonnull(text);
        return g_strchomp(text);
}

static void give(const char *folder, const char *const *files, bool take_away) {
        for (size_t i = 0; i < 4; i++) {
                g_autofree char *path = below(folder, files[i]);

                g_assert_no_errno(chmod(path, take_away ? 0400 : 0600));
        }
}

/* ---- Regions, namespaces and what makes devices of them ---- */

static void link_on_bus(const char *bus, const char *folder) {
        g_autofree char *name = g_path_get_basename(folder), *link = fake_path("sys/bus/%s/devices/%s", bus, name);

        (void) g_remove(link);
        g_assert_no_errno(symlink(folder, link));
}

static void bind_to(const char *folder, const char *driver) {
        g_autofree char *link = below(folder, "driver"), *target = fake_path("sys/bus/nd/drivers/%s", driver);

        g_assert_no_errno(symlink(target, link));
}

static unsigned region_id(const char *region) {
        g_autofree char *name = g_path_get_basename(region);

        return (unsigned) g_ascii_strtoull(name + strlen("region"), NULL, 10);
}

/* The lowest number that is free. */
static char *free_name(const char *region, const char *prefix) {
        for (unsigned i = 0;; i++) {
                char *name = g_strdup_printf("%s%u.%u", prefix, region_id(region), i);
                g_autofree char *folder = below(region, name);

                if (!g_file_test(folder, G_FILE_TEST_EXISTS))
                        return name;
                g_free(name);
        }
}

static void make_namespace_seed(const char *region) {
        g_autofree char *name = free_name(region, "namespace"), *folder = below(region, name);

        fake_make_folder("%s", folder);
        fake_set(folder, "size", "0\n");
        fake_set(folder, "uuid", "\n");
        fake_set(folder, "alt_name", "\n");
        fake_set(folder, "holder_class", "\n");
        fake_set(folder, "holder", "\n");
        give(folder, namespace_files, withheld);
        link_on_bus("nd", folder);
        fake_set(region, "namespace_seed", "%s\n", name);
}

static void make_dax_seed(const char *region) {
        g_autofree char *name = free_name(region, "dax"), *folder = below(region, name);
        g_autofree char *nd = fake_path("sys/bus/nd"), *link = below(folder, "subsystem");

        fake_make_folder("%s", folder);
        fake_set(folder, "uuid", "\n");
        fake_set(folder, "mode", "none\n");
        fake_set(folder, "align", "2097152\n");
        fake_set(folder, "namespace", "\n");
        g_assert_no_errno(symlink(nd, link));
        give(folder, dax_files, withheld);
        link_on_bus("nd", folder);
        fake_set(region, "dax_seed", "%s\n", name);
}

/* First fit, as the kernel does it. */
static bool find_extent(const char *region, uint64_t size, uint64_t *ret_start, uint64_t *ret_free, uint64_t *ret_largest) {
        uint64_t start = fake_get_number(region, "resource"), end = start + fake_get_number(region, "size");
        uint64_t from = start, all = 0, largest = 0;
        bool found = false;

        end -= end % FAKE_ND_ALIGNMENT;
        for (;;) {
                uint64_t next = end, next_size = 0;
                GDir *dir = g_dir_open(region, 0, NULL);
                const char *name;

                while ((name = g_dir_read_name(dir))) {
                        g_autofree char *folder = below(region, name);
                        uint64_t length, at;

                        if (!g_str_has_prefix(name, "namespace") || !g_file_test(folder, G_FILE_TEST_IS_DIR))
                                continue;
                        length = fake_get_number(folder, "size");
                        at = length > 0 ? fake_get_number(folder, "resource") : 0;
                        if (length > 0 && at >= from && at < next) {
                                next = at;
                                next_size = length;
                        }
                }
                g_dir_close(dir);
                if (!found && next - from >= size && size > 0) {
                        found = true;
                        *ret_start = from;
                }
                all += next - from;
                largest = MAX(largest, next - from);
                if (next == end)
                        break;
                from = next + next_size;
        }

        *ret_free = all;
        *ret_largest = largest;
        return found;
}

static void count_free(const char *region) {
        uint64_t start, all, largest;

        (void) find_extent(region, 0, &start, &all, &largest);
        fake_set(region, "available_size", "%" PRIu64 "\n", all);
        fake_set(region, "max_available_extent", "%" PRIu64 "\n", largest);
}

char *fake_nd_region(unsigned id, uint64_t start, uint64_t size) {
        char *path = fake_path("sys/devices/nd/region%u", id);
        g_autofree char *dimm = fake_path("sys/devices/nd/nmem%u", id);

        fake_make_folder("%s", path);
        fake_make_folder("%s", dimm);
        fake_set(dimm, "commands", "get_size get_data set_data\n");
        link_on_bus("nd", dimm);
        fake_set(path, "devtype", "nd_pmem\n");
        fake_set(path, "size", "%" PRIu64 "\n", size);
        fake_set(path, "align", "%#" PRIx64 "\n", FAKE_ND_ALIGNMENT);
        fake_set(path, "nstype", "5\n");
        fake_set(path, "mappings", "1\n");
        fake_set(path, "mapping0", "nmem%u,0,%" PRIu64 ",0\n", id, size);
        fake_set(path, "read_only", "0\n");
        fake_set(path, "init_namespaces", "1/1\n");
        fake_write("1\n", "sys/devices/nd/wait_probe");
        fake_set(path, "set_cookie", "0x2468ac%u\n", id);
        fake_set(path, "numa_node", "0\n");
        fake_set(path, "target_node", "1\n");
        fake_set(path, "resource", "%#" PRIx64 "\n", start);
        fake_set(path, "badblocks", "%s", "");
        bind_to(path, "nd_region");
        link_on_bus("nd", path);
        make_namespace_seed(path);
        make_dax_seed(path);
        count_free(path);
        return path;
}

void fake_nd_withhold_rights(bool withhold) {
        withheld = withhold;
}

void fake_nd_hand_over(const char *region) {
        g_autofree char *space = line(region, "namespace_seed"), *dax = line(region, "dax_seed");
        g_autofree char *space_folder = below(region, space), *dax_folder = below(region, dax);

        give(dax_folder, dax_files, false);
        give(space_folder, namespace_files, false);
}

unsigned fake_nd_count(const char *region) {
        GDir *dir = g_dir_open(region, 0, NULL);
        const char *name;
        unsigned n = 0;

        while ((name = g_dir_read_name(dir))) {
                g_autofree char *folder = below(region, name);

                n += g_str_has_prefix(name, "namespace") && g_file_test(folder, G_FILE_TEST_IS_DIR) &&
                     fake_get_number(folder, "size") > 0;
        }
        g_dir_close(dir);
        return n;
}

/* ---- What writes do ---- */

static bool is_claimed(const char *folder) {
        g_autofree char *holder = line(folder, "holder"), *driver = fake_driver_of(folder);

        return holder[0] != '\0' || driver;
}

static void remove_folder(const char *bus, const char *folder) {
        g_autofree char *name = g_path_get_basename(folder), *link = fake_path("sys/bus/%s/devices/%s", bus, name);

        (void) g_remove(link);
        fake_remove_tree(folder);
}

static int do_namespace_size(const char *folder, const char *region, const char *text) {
        g_autofree char *uuid = line(folder, "uuid"), *name = g_path_get_basename(folder),
                        *seed = line(region, "namespace_seed");
        uint64_t size = g_ascii_strtoull(text, NULL, 0), start, all, largest;

        if (is_claimed(folder))
                return -EBUSY;
        if (uuid[0] == '\0')
                return -ENXIO;
        if (size % FAKE_ND_ALIGNMENT != 0)
                return -EINVAL;
        if (size > 0) {
                g_assert_cmpuint(fake_get_number(folder, "size"), ==, 0);
                if (!find_extent(region, size, &start, &all, &largest))
                        return -ENOSPC;
                fake_set(folder, "resource", "%#" PRIx64 "\n", start);
        }
        fake_set(folder, "size", "%" PRIu64 "\n", size);
        if (size == 0) {
                fake_set(folder, "uuid", "\n");
                if (strcmp(name, seed) != 0 && !g_str_has_suffix(name, ".0"))
                        remove_folder("nd", folder);
        }
        count_free(region);
        return 0;
}

static int do_namespace(const char *folder, const char *region, const char *attribute, const char *text) {
        if (strcmp(attribute, "size") == 0)
                return do_namespace_size(folder, region, text);
        if (is_claimed(folder))
                return -EBUSY;

        fake_set(folder, attribute, "%s\n", text);
        return 0;
}

static int detach(const char *folder, const char *region) {
        g_autofree char *space = line(folder, "namespace"), *space_folder = below(region, space);
        g_autofree char *name = g_path_get_basename(folder), *seed = line(region, "dax_seed");

        if (space[0] != '\0')
                fake_set(space_folder, "holder", "\n");
        if (strcmp(name, seed) != 0)
                remove_folder("nd", folder);
        else
                fake_set(folder, "namespace", "\n");
        return 0;
}

static int do_dax(const char *folder, const char *region, const char *attribute, const char *text) {
        g_autofree char *driver = fake_driver_of(folder), *space_folder = NULL, *name = g_path_get_basename(folder);

        if (driver)
                return -EBUSY;
        if (strcmp(attribute, "namespace") != 0) {
                fake_set(folder, attribute, "%s\n", text);
                return 0;
        }
        if (strcmp(text, "\n") == 0)
                return detach(folder, region);
        space_folder = below(region, text);
        if (!g_file_test(space_folder, G_FILE_TEST_EXISTS))
                return -ENODEV;
        if (is_claimed(space_folder))
                return -EBUSY;
        fake_set(space_folder, "holder", "%s\n", name);
        fake_set(folder, "namespace", "%s\n", text);
        return 0;
}

static uint64_t usable_of(uint64_t size) {
        uint64_t map = 8192 + (size - 8192) / 4096 * 64;

        return size - (map + 2 * MIB - 1) / (2 * MIB) * (2 * MIB);
}

/* The device with a node, and then the next seeds. */
static int do_bind(const char *name) {
        g_autofree char *link = fake_path("sys/bus/nd/devices/%s", name), *folder = g_file_read_link(link, NULL);
        g_autofree char *region = NULL, *space = NULL, *space_folder = NULL, *device = NULL, *device_name = NULL;
        g_autofree char *driver = NULL, *target = fake_path("sys/bus/dax/drivers/device_dax"), *driver_link = NULL;
        g_autofree char *space_seed = NULL, *dax_seed = NULL, *dax_region = NULL, *align = NULL;

        if (!folder)
                return -ENODEV;
        driver = fake_driver_of(folder);
        space = line(folder, "namespace");
        if (driver || space[0] == '\0')
                return driver ? -EBUSY : -ENODEV;

        region = g_path_get_dirname(folder);
        space_folder = below(region, space);
        align = line(folder, "align");
        bind_to(folder, "dax_pmem");
        device_name = g_strdup_printf("dax%s", space + strlen("namespace"));
        device = below(folder, device_name);
        fake_make_folder("%s", device);
        dax_region = below(folder, "dax_region");
        fake_make_folder("%s", dax_region);
        fake_set(dax_region, "id", "%u\n", region_id(region));
        fake_set(dax_region, "size", "%" PRIu64 "\n", usable_of(fake_get_number(space_folder, "size")));
        fake_set(device, "size", "%" PRIu64 "\n", usable_of(fake_get_number(space_folder, "size")));
        fake_set(device, "align", "%s\n", align);
        fake_set(device, "dev", "0:0\n"); /* that of ordinary files */
        fake_set(device, "resource", "%#" PRIx64 "\n", fake_get_number(space_folder, "resource") + 2 * MIB);
        driver_link = below(device, "driver");
        g_assert_no_errno(symlink(target, driver_link));
        link_on_bus("dax", device);
        fake_write("", "dev/%s", device_name);

        space_seed = line(region, "namespace_seed");
        dax_seed = line(region, "dax_seed");
        if (strcmp(space_seed, space) == 0)
                make_namespace_seed(region);
        if (strcmp(dax_seed, name) == 0)
                make_dax_seed(region);
        return 0;
}

static int do_unbind(const char *name) {
        g_autofree char *link = fake_path("sys/bus/nd/devices/%s", name), *folder = g_file_read_link(link, NULL);
        g_autofree char *driver = NULL, *space = NULL, *device = NULL, *device_name = NULL, *node = NULL, *dax_region = NULL;

        if (!folder)
                return -ENODEV;
        driver = below(folder, "driver");
        if (g_remove(driver) < 0)
                return -ENODEV;
        space = line(folder, "namespace");
        device_name = g_strdup_printf("dax%s", space + strlen("namespace"));
        device = below(folder, device_name);
        node = fake_path("dev/%s", device_name);
        g_assert_no_errno(g_remove(node));
        remove_folder("dax", device);
        dax_region = below(folder, "dax_region");
        fake_remove_tree(dax_region);
        return 0;
}

static int do_write(const char *path, const char *text) {
        g_autofree char *attribute = g_path_get_basename(path), *folder = g_path_get_dirname(path);
        g_autofree char *name = g_path_get_basename(folder), *region = g_path_get_dirname(folder);

        if (strcmp(attribute, "bind") == 0)
                return do_bind(text);
        if (strcmp(attribute, "unbind") == 0)
                return do_unbind(text);
        if (g_str_has_prefix(name, "namespace"))
                return do_namespace(folder, region, attribute, text);

        g_assert_true(g_str_has_prefix(name, "dax"));
        return do_dax(folder, region, attribute, text);
}

char *fake_nd_namespace(const char *region, const char *uuid, const char *label, uint64_t size, const char *use) {
        g_autofree char *dax = line(region, "dax_seed"), *dax_folder = below(region, dax);
        char *name = line(region, "namespace_seed");
        g_autofree char *folder = below(region, name), *text = g_strdup_printf("%" PRIu64, size);

        fake_set(folder, "uuid", "%s\n", uuid);
        fake_set(folder, "alt_name", "%s\n", label);
        fake_set(folder, "holder_class", "dax\n");
        g_assert_cmpint(do_namespace_size(folder, region, text), ==, 0);
        if (strcmp(use, "dax") == 0) {
                g_assert_cmpint(do_dax(dax_folder, region, "namespace", name), ==, 0);
                g_assert_cmpint(do_bind(dax), ==, 0);
                return name;
        }
        if (strcmp(use, "raw") == 0)
                bind_to(folder, "nd_pmem");
        make_namespace_seed(region);
        return name;
}

void fake_nvdimm_setup(void) {
        static const char *const folders[] = {
                "sys/bus/nd/devices", "sys/bus/nd/drivers/dax_pmem", "sys/bus/nd/drivers/nd_pmem",
                "sys/bus/nd/drivers/nd_region", "sys/bus/dax/devices", "sys/bus/dax/drivers/device_dax",
        };

        fake_setup(do_write);
        for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
                g_autofree char *folder = fake_path("%s", folders[i]);

                fake_make_folder("%s", folder);
        }
        fake_write("", "sys/bus/nd/drivers/dax_pmem/bind");
        fake_write("", "sys/bus/nd/drivers/dax_pmem/unbind");
        withheld = false;
}

void fake_nvdimm_teardown(void) {
        fake_teardown();
}
