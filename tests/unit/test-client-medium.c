/* SPDX-License-Identifier: MIT */

/* The NVDIMM region below a device, in a sysfs of our own. */

#include "medium.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define REGION "devices/bus/ndbus0/region0"

static char *sysfs;

static char *path_of(const char *name) {
        return g_build_filename(sysfs, name, NULL);
}

static void make_folder(const char *name) {
        g_autofree char *path = path_of(name);

        g_assert_cmpint(g_mkdir_with_parents(path, 0755), ==, 0);
}

static void make_attribute(const char *name, const char *text, mode_t mode) {
        g_autofree char *path = path_of(name);

        g_assert_true(g_file_set_contents(path, text, -1, NULL));
        g_assert_cmpint(chmod(path, mode), ==, 0);
}

static void assert_attribute(const char *name, const char *text) {
        g_autofree char *path = path_of(name), *found = NULL;

        g_assert_true(g_file_get_contents(path, &found, NULL, NULL));
        g_assert_cmpstr(found, ==, text);
}

/* As the kernel has it: the device's number leads to its folder. */
static void make_device(const char *number, const char *folder) {
        g_autofree char *target = g_build_filename("../..", folder, NULL);
        g_autofree char *name = g_build_filename("dev/char", number, NULL), *link = path_of(name);

        make_folder(folder);
        g_assert_cmpint(symlink(target, link), ==, 0);
}

static int open_region(unsigned minor) {
        int fd = -EBADF;

        g_assert_cmpint(medium_open_region(sysfs, makedev(252, minor), &fd), ==, 0);
        return fd;
}

static void test_find(void) {
        int fd = -4711;

        g_assert_cmpint(medium_open_region(sysfs, makedev(252, 9), &fd), ==, -ENOENT);
        /* memory that the firmware has set apart */
        g_assert_cmpint(medium_open_region(sysfs, makedev(252, 2), &fd), ==, -ENOENT);
        g_assert_cmpint(fd, ==, -4711);

        fd = open_region(1);
        g_assert_cmpint(faccessat(fd, "dax0.1/dax0.1", F_OK, 0), ==, 0);
        g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
        close(fd);
}

static void test_domain(void) {
        static const struct {
                const char *text;
                bool durable;
        } cases[] = {
                { "cpu_cache\n", true }, { "memory_controller\n", false }, { "\n", false }, { "", false },
                { "cpu_cache of another kind, whose description is longer than it should be\n", false },
        };
        int fd = open_region(1);

        /* as long as nobody knows */
        g_assert_false(medium_has_durable_caches(fd));
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                make_attribute(REGION "/persistence_domain", cases[i].text, 0444);
                g_assert_cmpint(medium_has_durable_caches(fd), ==, cases[i].durable);
        }
        close(fd);
}

static void test_flush(void) {
        g_autofree char *path = path_of(REGION "/deep_flush");
        int fd = open_region(1);

        /* where nothing is known about such buffers, and where there are none */
        g_assert_cmpint(medium_flush(fd), ==, 0);
        g_assert_cmpint(g_access(path, F_OK), ==, -1);
        make_attribute(REGION "/deep_flush", "0\n", 0444);
        g_assert_cmpint(medium_flush(fd), ==, 0);
        assert_attribute(REGION "/deep_flush", "0\n");

        /* a file keeps what is beyond that */
        make_attribute(REGION "/deep_flush", "1\n\n", 0644);
        g_assert_cmpint(medium_flush(fd), ==, 0);
        assert_attribute(REGION "/deep_flush", "1\n\n");
        close(fd);
}

static void test_flush_refused(void) {
        int fd = open_region(1);

        make_attribute(REGION "/deep_flush", "1\n", 0444);
        (void) setfsuid(65534);
        g_assert_cmpint(medium_flush(fd), ==, -EACCES);
        (void) setfsuid(geteuid());
        close(fd);
}

int main(int argc, char **argv) {
        g_autofree char *command = NULL;
        int status;

        g_test_init(&argc, &argv, NULL);
        sysfs = g_dir_make_tmp("medium-XXXXXX", NULL);
        g_assert_nonnull(sysfs);
        g_assert_cmpint(chmod(sysfs, 0755), ==, 0);
        make_folder("dev/char");
        make_device("252:1", REGION "/dax0.1/dax0.1");
        make_attribute(REGION "/mappings", "1\n", 0444);
        make_device("252:2", "devices/platform/hmem.0/dax1.0");

        g_test_add_func("/client/medium/find", test_find);
        g_test_add_func("/client/medium/domain", test_domain);
        g_test_add_func("/client/medium/flush", test_flush);
        g_test_add_func("/client/medium/flush-refused", test_flush_refused);
        status = g_test_run();

        command = g_strdup_printf("rm -r '%s'", sysfs);
        g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
        g_free(sysfs);
        return status;
}
