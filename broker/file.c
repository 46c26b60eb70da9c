/* SPDX-License-Identifier: MIT */

/* Reading and writing of small files whose content is not to be trusted. */

#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

int directory_read(int dir_fd, DIR **ret) {
        _cleanup_close_ int fd = -EBADF;
        DIR *dir;

        fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        dir = fdopendir(fd);
        if (!dir)
                return -ENOMEM;

        TAKE_FD(fd); /* the stream closes it */
        *ret = dir;
        return 0;
}

int file_read(int dir_fd, const char *path, size_t max, char **ret) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *text = NULL;
        size_t size = 0;

        fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;

        text = malloc(max + 2);
        if (!text)
                return -ENOMEM;

        for (;;) {
                ssize_t n;

                n = read(fd, text + size, max + 1 - size);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        break;
                size += (size_t) n;
                if (size > max)
                        return -EFBIG;
        }

        text[size] = '\0';
        if (strlen(text) != size)
                return -EINVAL;

        *ret = TAKE_PTR(text);
        return 0;
}

int fd_write_all(int fd, const char *data, size_t size) {
        while (size > 0) {
                ssize_t n;

                n = write(fd, data, size);
                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        return -EIO;
                data += n;
                size -= (size_t) n;
        }

        return 0;
}

int text_stream_close(FILE *file, char **text, size_t max, char **ret) {
        bool failed = ferror(file);
        int r;

        failed = fclose(file) != 0 || failed; /* before that there is no text */
        r = failed ? -ENOMEM : strlen(*text) > max ? -E2BIG : 0;
        if (r < 0) {
                free(*text);
                return r;
        }

        *ret = *text;
        return 0;
}

int file_read_start(const char *path, char *buffer, size_t size) {
        _cleanup_close_ int fd = -EBADF;
        size_t used = 0;
        ssize_t n;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return -errno;

        do {
                n = read(fd, buffer + used, size - 1 - used);
                if (n > 0)
                        used += (size_t) n;
                else if (n < 0 && errno != EINTR)
                        return -errno;
        } while (n != 0 && used < size - 1);

        buffer[used] = '\0';
        return 0;
}

int fd_read_uint64(int fd, uint64_t *ret) {
        unsigned long long value;
        char text[64], *end;
        ssize_t n;

        do
                n = pread(fd, text, sizeof(text) - 1, 0);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        text[n] = '\0';

        if (text[0] < '0' || text[0] > '9')
                return -EINVAL;
        errno = 0;
        value = strtoull(text, &end, 10);
        if (errno != 0 || (*end != '\0' && *end != '\n'))
                return -EINVAL;

        *ret = value;
        return 0;
}

int file_read_uint64(const char *path, uint64_t *ret) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

        return fd < 0 ? -errno : fd_read_uint64(fd, ret);
}
