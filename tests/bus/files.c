/* SPDX-License-Identifier: MIT */

#include "files.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "provider.h"
#include "records.h"
#include "world.h"

/* What is mounted there, if the suite is about files of another file system. */
static char *folder;

#define EVERYBODY_MAY                                                                                                   \
        "polkit.addRule(function(action, subject) {\n"                                                                  \
        "    if (action.id == 'org.daxbroker1.allocate-persistent' || action.id == 'org.daxbroker1.allocate')\n"        \
        "        return polkit.Result.YES;\n"                                                                           \
        "});\n"

/* Who only lists the cases has no world, but a folder on a file system of that kind. */
bool files_are_possible(void) {
        const char *world = g_getenv("DAXBROKER_WORLD");
        g_autofree char *path = g_build_filename(world ? world : "/run", "attribute", NULL);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        bool possible = provider_is_files() || fsetxattr(fd, "user.test", "1", 1, 0) == 0;

        close(fd);
        (void) unlink(path);
        return possible;
}

char *files_get_record(const char *path) {
        char text[4096];
        ssize_t n = getxattr(path, RECORD_ATTRIBUTE, text, sizeof(text));

        g_assert_cmpint(n, >, 0);
        return g_strndup(text, (gsize) n);
}

void files_put_record(const char *path, const char *record, const char *line, const char *replacement) {
        uid_t uid = world_get_uid("daxbroker");
        g_autoptr(GString) text = g_string_new(record);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpuint(g_string_replace(text, line, replacement, 1), ==, 1);
        g_assert_cmpint(fchown(fd, uid, uid), ==, 0);
        g_assert_cmpint(fsetxattr(fd, RECORD_ATTRIBUTE, text->str, text->len, 0), ==, 0);
        close(fd);
}

void files_allow_everybody(Scene *scene) {
        scene_set_rules(scene, EVERYBODY_MAY);
}

void files_set_up(Scene *scene, gconstpointer configuration) {
        uid_t uid = world_get_uid("daxbroker");

        g_assert_cmpint(mkdir(FILES_PATH, 0700), ==, 0);
        g_assert_cmpint(chown(FILES_PATH, uid, uid), ==, 0);
        folder = provider_make_folder(uid);
        if (folder)
                g_assert_cmpint(mount(folder, FILES_PATH, NULL, MS_BIND, NULL), ==, 0);
        scene_set_up(scene, configuration);
        files_allow_everybody(scene);
}

/* What was freed while somebody had it open may have an empty file left, until the broker looks again. */
static void remove_leftovers(void) {
        g_autoptr(GDir) directory = g_dir_open(FILES_PATH, 0, NULL);
        const char *name;

        g_assert_nonnull(directory);
        while ((name = g_dir_read_name(directory))) {
                g_autofree char *path = g_build_filename(FILES_PATH, name, NULL);
                struct stat st;

                g_assert_cmpint(stat(path, &st), ==, 0);
                if (st.st_size > 0 || getxattr(path, "user.daxbroker.record", NULL, 0) >= 0)
                        g_error("%s is left", name);
                g_assert_cmpint(unlink(path), ==, 0);
        }
}

void files_tear_down(Scene *scene, gconstpointer configuration) {
        scene_tear_down(scene, configuration);
        remove_leftovers();
        if (folder) {
                g_assert_cmpint(umount2(FILES_PATH, MNT_DETACH), ==, 0);
                g_assert_cmpint(rmdir(folder), ==, 0);
                g_clear_pointer(&folder, g_free);
        }
        g_assert_cmpint(rmdir(FILES_PATH), ==, 0);
}
