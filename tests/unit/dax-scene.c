/* SPDX-License-Identifier: MIT */

#include "dax-scene.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake-dax.h"
#include "open-fds.h"

char *region;

void dax_scene_init(int *argc, char ***argv) {
        if (getuid() == 0 && (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
                exit(77);
        g_test_init(argc, argv, NULL);
}

static void run(gconstpointer userdata) {
        const DaxTest *test = userdata;
        unsigned n_fds = open_fds_count();

        fake_dax_setup();
        region = fake_region("platform/hmem.0", 0, START, GIB);
        test->function();
        g_clear_pointer(&region, g_free);
        fake_dax_teardown();
        g_assert_cmpuint(open_fds_count(), ==, n_fds);
}

void dax_scene_add(const DaxTest *tests, size_t n_tests) {
        for (size_t i = 0; i < n_tests; i++)
                g_test_add_data_func(tests[i].path, &tests[i], run);
}

void dax_scene_set_own(const char *attribute, const char *text) {
        fake_write(text, "sys/devices/platform/hmem.0/%s", attribute);
}

void dax_scene_forbid(const char *attribute) {
        g_autofree char *path = fake_path("sys/devices/platform/hmem.0/%s", attribute);

        g_assert_no_errno(chmod(path, 0));
}

void dax_scene_allow(const char *attribute) {
        g_autofree char *path = fake_path("sys/devices/platform/hmem.0/%s", attribute);

        g_assert_no_errno(chmod(path, 0600));
}

void dax_scene_drop(const char *attribute) {
        g_autofree char *path = fake_path("sys/devices/platform/hmem.0/%s", attribute);

        g_assert_no_errno(g_remove(path));
}

DaxRegion *dax_scene_scan(void) {
        DaxRegion *list = NULL;

        g_assert_cmpint(dax_scan(&list), ==, 0);
        return list;
}

void dax_scene_assert_reason(const char *part) {
        DaxRegion *list = dax_scene_scan();

        g_assert_nonnull(list);
        if (!part)
                g_assert_cmpstr(list->reason, ==, NULL);
        else if (!list->reason || !strstr(list->reason, part))
                g_error("The reason is not '%s': %s", part, list->reason ? list->reason : "none");
        dax_regions_free(list);
}
