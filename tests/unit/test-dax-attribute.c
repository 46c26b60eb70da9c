/* SPDX-License-Identifier: MIT */

/* The small files of a kernel that is a folder: what they are called, and what is read of them. */

#include "dax-attribute.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "dax-scene.h"
#include "fake-dax.h"
#include "size.h"

static void test_numbers(void) {
        static const char *const bad[] = {
                "", "x", "-1", "+1", " 1", "1 ", "1x", "01", "0x", "0xG", "0xg", "0x1/", "0x01", "0X1", "0xA", "1\n",
                "18446744073709551616", "0x10000000000000000", "1e3", "1.0",
        };
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
        g_autofree char *socket_path = fake_path("sys/socket"), *folder = fake_path("sys/folder");
        g_autofree char *nul = fake_path("sys/nul");
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

static const DaxTest tests[] = {
        { "/dax-attribute/folders", test_folders },
        { "/dax-attribute/lines", test_lines },
        { "/dax-attribute/numbers", test_numbers },
        { "/dax-attribute/names", test_names },
        { "/dax-attribute/nodes", test_nodes },
};

int main(int argc, char **argv) {
        dax_scene_init(&argc, &argv);
        dax_scene_add(tests, G_N_ELEMENTS(tests));
        return g_test_run();
}
