/* SPDX-License-Identifier: MIT */

/* Small files below /sys. Each holds one short line. Folders are opened once and files relative to them, so that what is
 * read of one device is of one device: the folder of a device that went has no files any more, even if another of the
 * same name has come. */

#include "dax-attribute.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "dax.h"
#include "file.h"

/* Longer than any line that the files read here hold. */
#define LINE_MAX_SIZE 128

static const char *sys_root = "/sys", *dev_root = "/dev";

void dax_set_roots(const char *sys, const char *dev) {
        sys_root = sys;
        dev_root = dev;
}

const char *dax_sys_root(void) {
        return sys_root;
}

const char *dax_dev_root(void) {
        return dev_root;
}

/* Digits of one number, as the kernel prints them; where they end goes to *text. */
static int digits_parse(const char **text, unsigned base, uint64_t max, uint64_t *ret) {
        const char *start = *text, *c = start;
        uint64_t value = 0;

        for (;; c++) {
                unsigned digit;

                if (*c >= '0' && *c <= '9')
                        digit = (unsigned) (*c - '0');
                else if (base == 16 && *c >= 'a' && *c <= 'f')
                        digit = (unsigned) (*c - 'a') + 10;
                else
                        break;
                if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, digit, &value))
                        return -EUCLEAN;
        }
        if (c == start || (*start == '0' && c > start + 1) || value > max)
                return -EUCLEAN;

        *text = c;
        *ret = value;
        return 0;
}

int dax_number_parse(const char *text, uint64_t *ret) {
        bool hexadecimal = strncmp(text, "0x", 2) == 0;
        uint64_t value;
        int r;

        if (hexadecimal)
                text += 2;
        r = digits_parse(&text, hexadecimal ? 16 : 10, UINT64_MAX, &value);
        if (r < 0)
                return r;
        if (*text != '\0')
                return -EUCLEAN;

        *ret = value;
        return 0;
}

int dax_node_parse(const char *text, dev_t *ret) {
        uint64_t major, minor;

        if (digits_parse(&text, 10, UINT32_MAX, &major) < 0 || *text++ != ':')
                return -EUCLEAN;
        if (digits_parse(&text, 10, UINT32_MAX, &minor) < 0 || *text != '\0')
                return -EUCLEAN;

        *ret = makedev((unsigned) major, (unsigned) minor);
        return 0;
}

int dax_name_parse(const char *name, unsigned *ret_region, unsigned *ret_number) {
        uint64_t region, number;

        if (strncmp(name, "dax", 3) != 0)
                return -EINVAL;
        name += 3;
        if (digits_parse(&name, 10, INT_MAX, &region) < 0 || *name++ != '.')
                return -EINVAL;
        if (digits_parse(&name, 10, INT_MAX, &number) < 0 || *name != '\0')
                return -EINVAL;

        *ret_region = (unsigned) region;
        *ret_number = (unsigned) number;
        return 0;
}

int dax_open_folder(const char *path, const char *name, int *ret_fd) {
        _cleanup_close_ int parent = -EBADF;
        int fd;

        parent = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (parent < 0)
                return -errno;
        if (name) {
                fd = openat(parent, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
                if (fd < 0)
                        return -errno;
        } else
                fd = TAKE_FD(parent);

        *ret_fd = fd;
        return 0;
}

int dax_open_driver(int *ret_fd) {
        _cleanup_free_ char *path = NULL;
        int r;

        if (asprintf(&path, "%s/bus/dax/drivers/device_dax", sys_root) < 0) {
                path = NULL;
                return -ENOMEM;
        }

        r = dax_open_folder(path, NULL, ret_fd);
        return r == -ENOENT ? -ENODEV : r;
}

int dax_read_text(int folder, const char *attribute, char *ret_text, size_t size) {
        _cleanup_free_ char *text = NULL;
        size_t length;
        int r;

        r = file_read(folder, attribute, LINE_MAX_SIZE, &text);
        /* how the kernel answers when what is described goes away meanwhile */
        if (r == -ENODEV || r == -ENXIO)
                return -ENOENT;
        if (r == -EFBIG || r == -EINVAL || r == -EISDIR)
                return -EUCLEAN;
        if (r < 0)
                return r;

        length = strcspn(text, "\n");
        if (text[length] == '\n' && text[length + 1] != '\0')
                return -EUCLEAN;
        if (length >= size)
                return -EUCLEAN;

        memcpy(ret_text, text, length);
        ret_text[length] = '\0';
        return 0;
}

int dax_read_number(int folder, const char *attribute, uint64_t *ret) {
        char text[LINE_MAX_SIZE + 1];
        int r;

        r = dax_read_text(folder, attribute, text, sizeof(text));
        if (r < 0)
                return r;

        return dax_number_parse(text, ret);
}

int dax_read_node(int folder, const char *attribute, int *ret) {
        char text[LINE_MAX_SIZE + 1];
        uint64_t value;
        int r;

        r = dax_read_text(folder, attribute, text, sizeof(text));
        if (r == -ENOENT || (r >= 0 && strcmp(text, "-1") == 0)) {
                *ret = -1;
                return 0;
        }
        if (r >= 0)
                r = dax_number_parse(text, &value);
        if (r >= 0 && value > INT_MAX)
                r = -EUCLEAN;
        if (r < 0)
                return r;

        *ret = (int) value;
        return 0;
}

int dax_write_text(int folder, const char *attribute, const char *text) {
        _cleanup_close_ int fd = -EBADF;

        fd = openat(folder, attribute, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;

        return fd_write_all(fd, text, strlen(text));
}
