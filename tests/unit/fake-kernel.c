/* SPDX-License-Identifier: MIT */

#include "fake-kernel.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dax.h"
#include "file.h"

static char *root, *sys_root, *dev_root;
static FakeWrite write_handler;
static FakeFault fault;
static unsigned fault_number, n_writes;
static int fault_error;
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

void fake_set(const char *folder, const char *file, const char *format, ...) {
        g_autofree char *path = g_build_filename(folder, file, NULL), *text = NULL;
        va_list arguments;

        va_start(arguments, format);
        text = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        set_file(path, text);
}

char *fake_get(const char *folder, const char *file) {
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

uint64_t fake_get_number(const char *folder, const char *file) {
        g_autofree char *text = fake_get(folder, file);

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

void fake_remove_tree(const char *path) {
        GDir *dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
        const char *name;

        if (dir) {
                while ((name = g_dir_read_name(dir))) {
                        g_autofree char *child = g_build_filename(path, name, NULL);

                        fake_remove_tree(child);
                }
                g_dir_close(dir);
        }
        g_assert_no_errno(g_remove(path));
}

void fake_make_folder(const char *format, ...) {
        g_autofree char *path = NULL;
        va_list arguments;

        va_start(arguments, format);
        path = g_strdup_vprintf(format, arguments);
        va_end(arguments);
        g_assert_no_errno(g_mkdir_with_parents(path, 0700));
}

char *fake_driver_of(const char *folder) {
        g_autofree char *link = g_build_filename(folder, "driver", NULL), *target = g_file_read_link(link, NULL);

        return target ? g_path_get_basename(target) : NULL;
}

void fake_setup(FakeWrite handler) {
        root = g_strdup("/tmp/fake-kernel-XXXXXX");
        g_assert_nonnull(g_mkdtemp(root));
        sys_root = fake_path("sys");
        dev_root = fake_path("dev");
        fake_make_folder("%s", sys_root);
        fake_make_folder("%s", dev_root);
        write_handler = handler;
        fake_inject(FAKE_NONE, 0, 0);
        dax_set_roots(sys_root, dev_root);
}

void fake_teardown(void) {
        fake_remove_tree(root);
        g_clear_pointer(&root, g_free);
        g_clear_pointer(&sys_root, g_free);
        g_clear_pointer(&dev_root, g_free);
}

/* ---- What is written ---- */

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
        return write_handler(path, text);
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
