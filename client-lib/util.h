/* SPDX-License-Identifier: MIT */
#pragma once

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Small tools of the library: exported symbols, owners that clean up after themselves, and the clock. */

#define _public_ __attribute__((visibility("default")))
#define _cleanup_(function) __attribute__((cleanup(function)))

#define TAKE_PTR(pointer)                                                                               \
        ({                                                                                              \
                __typeof__(pointer) *_taken_from = &(pointer);                                          \
                __typeof__(pointer) _taken = *_taken_from;                                              \
                *_taken_from = NULL;                                                                    \
                _taken;                                                                                 \
        })

#define TAKE_FD(fd)                                                                                     \
        ({                                                                                              \
                int *_taken_from = &(fd);                                                               \
                int _taken = *_taken_from;                                                              \
                *_taken_from = -EBADF;                                                                  \
                _taken;                                                                                 \
        })

#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MSEC UINT64_C(1000)
#define NSEC_PER_USEC UINT64_C(1000)

/* Returns -EBADF, to be assigned to the variable that held the descriptor. Keeps errno; a negative fd is
 * fine. */
static inline int fd_close(int fd) {
        int saved = errno;

        if (fd >= 0)
                (void) close(fd);

        errno = saved;
        return -EBADF;
}

static inline void fd_close_p(int *fd) {
        *fd = fd_close(*fd);
}

/* For variables of any pointer type, hence the copying. */
static inline void freep(void *pointer) {
        void *memory;

        memcpy(&memory, pointer, sizeof(memory));
        free(memory);
}

/* CLOCK_MONOTONIC, which is also what sd-bus counts in. */
static inline uint64_t now_usec(void) {
        struct timespec now = { 0 };

        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * USEC_PER_SEC + (uint64_t) now.tv_nsec / NSEC_PER_USEC;
}
