/* SPDX-License-Identifier: MIT */
#pragma once

/* Owners that clean up after themselves when they go out of scope. A variable marked so owns what it points to, and
 * gives it away with TAKE_PTR or TAKE_FD. */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))

#define TAKE_PTR(pointer)                                                                                      \
        ({                                                                                                     \
                __typeof__(pointer) *_owner = &(pointer);                                                      \
                __typeof__(pointer) _taken = *_owner;                                                          \
                *_owner = NULL;                                                                                \
                _taken;                                                                                        \
        })

#define TAKE_FD(fd)                                                                                            \
        ({                                                                                                     \
                int *_owner = &(fd);                                                                           \
                int _taken = *_owner;                                                                          \
                *_owner = -EBADF;                                                                              \
                _taken;                                                                                        \
        })

/* Closes fd if it is one and keeps errno. Returns -EBADF, so that the owner can be reset in the same line. */
static inline int safe_close(int fd) {
        if (fd >= 0) {
                int saved = errno;

                (void) close(fd);
                errno = saved;
        }

        return -EBADF;
}

static inline void close_fd_p(int *fd) {
        *fd = safe_close(*fd);
}

static inline void free_string_p(char **p) {
        free(*p);
}

static inline void close_dir_p(DIR **p) {
        if (*p)
                (void) closedir(*p);
}

static inline void close_file_p(FILE **p) {
        if (*p)
                (void) fclose(*p);
}

#define _cleanup_free_ _cleanup_(free_string_p)
#define _cleanup_close_ _cleanup_(close_fd_p)
#define _cleanup_closedir_ _cleanup_(close_dir_p)
#define _cleanup_fclose_ _cleanup_(close_file_p)
