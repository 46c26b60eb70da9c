/* SPDX-License-Identifier: MIT */

#include "fake-dax.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dax.h"
#include "file.h"

static char *root, *sys_root, *dev_root;
static FakeFault fault;
static unsigned fault_number, n_writes;
static int fault_error;
static bool withheld, greedy;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* writes come from several threads */

int __real_fd_write_all(int fd, const char *data, size_t size);
int __wrap_fd_write_all(int fd, const char *data, size_t size);

/* ---- The folder ---- */

char *fake_path(const char *format, ...) {
        g_autofree char *rest = NULL;
        va_list arguments;

        va_start(arguments, format);
        rest = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        return g_build_filename(root, rest, NULL);
}

/* An unreadable file is still written: that is what the kernel may. */
static void set_file(const char *path, const char *text) {
        struct stat st;
        bool exists = stat(path, &st) >= 0;
        int fd;

        if (exists)
                g_assert_no_errno(chmod(path, 0600));
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(write(fd, text, strlen(text)), ==, (ssize_t) strlen(text));
        close(fd);
        if (exists)
                g_assert_no_errno(chmod(path, st.st_mode & 0777));
}

__attribute__((format(printf, 3, 4))) static void set(const char *folder, const char *file, const char *format, ...) {
        g_autofree char *path = g_build_filename(folder, file, NULL), *text = NULL;
        va_list arguments;

        va_start(arguments, format);
        text = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        set_file(path, text);
}

static char *get(const char *folder, const char *file) {
        g_autofree char *path = g_build_filename(folder, file, NULL);
        char *text;
        struct stat st;

        if (stat(path, &st) < 0)
                return NULL;
        g_assert_no_errno(chmod(path, 0600));
        if (!g_file_get_contents(path, &text, NULL, NULL))
                return NULL;
        g_assert_no_errno(chmod(path, st.st_mode & 0777));
        return text;
}

static uint64_t get_number(const char *folder, const char *file) {
        g_autofree char *text = get(folder, file);

        g_assert_nonnull(text);
        return g_ascii_strtoull(text, NULL, 0);
}

void fake_write(const char *text, const char *format, ...) {
        g_autofree char *rest = NULL, *path = NULL;
        va_list arguments;

        va_start(arguments, format);
        rest = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        path = g_build_filename(root, rest, NULL);
        set_file(path, text);
}

static void remove_tree(const char *path) {
        GDir *dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
        const char *name;

        if (dir) {
                while ((name = g_dir_read_name(dir))) {
                        g_autofree char *child = g_build_filename(path, name, NULL);

                        remove_tree(child);
                }
                g_dir_close(dir);
        }
        g_assert_no_errno(g_remove(path));
}

static void make_folder(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void make_folder(const char *format, ...) {
        g_autofree char *path = NULL;
        va_list arguments;

        va_start(arguments, format);
        path = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        g_assert_no_errno(g_mkdir_with_parents(path, 0700));
}

void fake_dax_setup(void) {
        static const char *const attributes[] = { "bind", "unbind", "new_id", "remove_id" };

        root = g_strdup("/tmp/fake-dax-XXXXXX");
        g_assert_nonnull(g_mkdtemp(root));
        sys_root = fake_path("sys");
        dev_root = fake_path("dev");
        make_folder("%s/dev", root);
        make_folder("%s/claims", root);
        make_folder("%s/bus/dax/devices", sys_root);
        make_folder("%s/bus/dax/drivers/kmem", sys_root);
        make_folder("%s/bus/dax/drivers/device_dax", sys_root);
        for (size_t i = 0; i < G_N_ELEMENTS(attributes); i++)
                fake_write("", "sys/bus/dax/drivers/device_dax/%s", attributes[i]);

        fake_inject(FAKE_NONE, 0, 0);
        withheld = greedy = false;
        dax_set_roots(sys_root, dev_root);
}

void fake_dax_teardown(void) {
        remove_tree(root);
        g_clear_pointer(&root, g_free);
        g_clear_pointer(&sys_root, g_free);
        g_clear_pointer(&dev_root, g_free);
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
                        s = get_number(mapping, "start");
                        e = get_number(mapping, "end");
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
        set(folder, "available_size", "%" PRIu64 "\n", get_number(folder, "size") - used);
}

static uint64_t region_start(const char *region) {
        g_autofree char *text = get(region, "start");

        return g_ascii_strtoull(text, NULL, 0);
}

void fake_device(const char *region, unsigned id, unsigned number) {
        g_autofree char *name = g_strdup_printf("dax%u.%u", id, number);
        g_autofree char *folder = g_build_filename(region, name, NULL), *link = fake_path("sys/bus/dax/devices/%s", name);

        make_folder("%s", folder);
        set(folder, "size", "0\n");
        set(folder, "align", "2097152\n");
        set(folder, "dev", "252:%u\n", number + 1);
        set(folder, "resource", "%#" PRIx64 "\n", region_start(region));
        set(folder, "numa_node", "-1\n");
        set(folder, "mapping", "%s", "");
        fake_write("", "dev/%s", name);
        g_assert_no_errno(symlink(folder, link));
        if (withheld) {
                g_autofree char *mapping = g_build_filename(folder, "mapping", NULL);

                g_assert_no_errno(chmod(mapping, 0));
        }
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

        make_folder("%s", folder);
        set(path, "start", "%" PRIu64, start);
        set(folder, "id", "%u\n", id);
        set(folder, "size", "%" PRIu64 "\n", size);
        set(folder, "align", "2097152\n");
        set(folder, "create", "\n");
        set(folder, "seed", "\n");
        set(folder, "delete", "%s", "");
        fake_device(path, id, 0);
        update_available(path);
        return path;
}

void fake_region_is_not_for_kmem(const char *region) {
        set(region, "idle", "%s", "");
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
                set(folder, "resource", "%#" PRIx64 "\n", start);
        make_folder("%s", mapping);
        set(mapping, "start", "%#" PRIx64 "\n", start);
        set(mapping, "end", "%#" PRIx64 "\n", start + length - 1);
        set(folder, "size", "%" PRIu64 "\n", get_number(folder, "size") + length);
        update_available(region);
}

static char *driver_of(const char *folder) {
        g_autofree char *link = g_build_filename(folder, "driver", NULL), *target = g_file_read_link(link, NULL);

        return target ? g_path_get_basename(target) : NULL;
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
        g_autofree char *own = g_build_filename(region, "dax_region", NULL), *seed = get(own, "seed");

        if (strcmp(g_strchomp(seed), device) == 0)
                set(own, "seed", "\n");
}

static int do_create(const char *region) {
        g_autofree char *own = g_build_filename(region, "dax_region", NULL);
        unsigned id = (unsigned) get_number(own, "id");

        if (get_number(own, "available_size") == 0)
                return -ENOSPC;
        for (unsigned number = 0;; number++) {
                g_autofree char *name = g_strdup_printf("dax%u.%u", id, number), *seed = NULL;

                if (fake_exists(name))
                        continue;
                fake_device(region, id, number);
                set(own, "create", "%s\n", name);
                seed = get(own, "seed");
                if (greedy || strcmp(seed, "\n") == 0)
                        set(own, "seed", "%s\n", name);
                return 0;
        }
}

static int do_delete(const char *region, const char *device) {
        g_autofree char *folder = g_build_filename(region, device, NULL), *driver = driver_of(folder);
        g_autofree char *link = fake_path("sys/bus/dax/devices/%s", device), *node = fake_path("dev/%s", device);

        if (!g_file_test(folder, G_FILE_TEST_IS_DIR))
                return -ENXIO;
        if (driver || get_number(folder, "size") > 0 || g_str_has_suffix(device, ".0"))
                return -EBUSY;

        not_seed(region, device);
        g_assert_no_errno(g_remove(node));
        remove_tree(folder);
        g_assert_no_errno(g_remove(link));
        return 0;
}

static int do_mapping(const char *region, const char *device, const char *text) {
        g_autofree char *folder = g_build_filename(region, device, NULL);
        g_autofree char *own = g_build_filename(region, "dax_region", NULL);
        uint64_t start, end, used;

        if (sscanf(text, "%" SCNx64 "-%" SCNx64, &start, &end) != 2)
                return -EINVAL;
        if ((end - start + 1) % get_number(folder, "align") != 0)
                return 0; /* says the real one, too */
        if (start < region_start(region) || end - region_start(region) >= get_number(own, "size") ||
            !ranges_account(region, start, end, &used))
                return -ENOMEM;

        fake_add_range(region, device, start, end - start + 1);
        return 0;
}

static int do_size(const char *region, const char *device, const char *text) {
        g_autofree char *folder = g_build_filename(region, device, NULL), *driver = driver_of(folder);

        if (driver)
                return -EBUSY;
        g_assert_cmpstr(text, ==, "0");
        for (unsigned i = count_ranges(folder); i > 0; i--) {
                g_autofree char *mapping = g_strdup_printf("%s/mapping%u", folder, i - 1);

                remove_tree(mapping);
        }
        set(folder, "size", "0\n");
        set(folder, "resource", "%#" PRIx64 "\n", region_start(region));
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
        driver = driver_of(folder);
        if (driver)
                return -EBUSY;
        if (get_number(folder, "size") == 0)
                return -ENXIO;

        not_seed(region, device);
        fake_bind(region, device, "device_dax");
        return 0;
}

static int do_unbind(const char *device) {
        g_autofree char *folder = device_folder(device), *link = NULL, *driver = NULL;

        if (!folder)
                return -ENODEV;
        driver = driver_of(folder);
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
        set(folder, "align", "%s\n", text);
        return 0;
}

void fake_inject(FakeFault what, unsigned number, int error) {
        fault = what;
        fault_number = number;
        fault_error = error;
        n_writes = 0;
}

unsigned fake_count_writes(void) {
        return n_writes;
}

static int write_anything(int fd, const char *path, const char *data, size_t size) {
        g_autofree char *text = g_strndup(data, size);

        if (!g_str_has_prefix(path, sys_root))
                return __real_fd_write_all(fd, data, size);
        return do_write(path, text);
}

static int write_or_fail(int fd, const char *path, const char *data, size_t size) {
        FakeFault now = ++n_writes == fault_number ? fault : FAKE_NONE;
        int r;

        if (now == FAKE_ERROR)
                return -fault_error;
        if (now == FAKE_LIE)
                return 0;
        if (now == FAKE_DIE_BEFORE)
                _exit(0);
        r = write_anything(fd, path, data, size);
        if (now == FAKE_DIE_AFTER)
                _exit(0);
        return r;
}

int __wrap_fd_write_all(int fd, const char *data, size_t size) {
        g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd), *path = g_file_read_link(link, NULL);
        int r;

        g_assert_nonnull(path);
        pthread_mutex_lock(&mutex);
        r = write_or_fail(fd, path, data, size);
        pthread_mutex_unlock(&mutex);
        return r;
}
