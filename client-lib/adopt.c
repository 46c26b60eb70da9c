/* SPDX-License-Identifier: MIT */

/* Allocations from elsewhere: descriptors that a parent passed on or that came over a socket. The service
 * is not asked; who has the descriptors has the memory. */

#include "adopt.h"

#include "allocation.h"
#include "error.h"
#include "util.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Plain decimal digits and nothing else: strtoull() on its own takes blanks, signs and wraps negative
 * numbers. */
int adopt_parse_uint64(const char *text, uint64_t *ret) {
        unsigned long long value;
        char *end;

        if (!isdigit((unsigned char) text[0]))
                return -EINVAL;

        errno = 0;
        value = strtoull(text, &end, 10);
        if (errno != 0)
                return -errno;
        if (*end != '\0')
                return -EINVAL;

        *ret = value;
        return 0;
}

static int adopt_determine_length(int memory, uint64_t offset, uint64_t length, uint64_t *ret) {
        struct stat status;
        uint64_t end;

        if (fstat(memory, &status) < 0)
                return error_set_errno(-errno, "cannot look at the memory's descriptor");

        if (length == 0) {
                if (!S_ISREG(status.st_mode) || (uint64_t) status.st_size <= offset)
                        return error_set(-EINVAL, "no length is given, and the descriptor has none");

                length = (uint64_t) status.st_size - offset;
        }

        if (length > SIZE_MAX || __builtin_add_overflow(offset, length, &end) || end > INT64_MAX ||
            (S_ISREG(status.st_mode) && (uint64_t) status.st_size < end))
                return error_set(-EINVAL, "offset and length reach beyond the end of the descriptor");

        *ret = length;
        return 0;
}

static int adopt_set_cloexec(int fd) {
        int flags;

        flags = fcntl(fd, F_GETFD);
        if (flags < 0)
                return -errno;

        return fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0 ? -errno : 0;
}

_public_ int daxbroker_adopt_fds(int memory, int lease, uint64_t offset, uint64_t length,
                                 daxbroker_allocation **ret) {
        daxbroker_allocation *allocation;
        int r;

        if (memory < 0 || fcntl(memory, F_GETFD) < 0)
                return error_set(-EBADF, "the memory's descriptor is not open");

        if (lease != -1 && (lease < 0 || fcntl(lease, F_GETFD) < 0))
                return error_set(-EBADF, "the lease's descriptor is not open");

        if (memory == lease)
                return error_set(-EINVAL, "memory and lease are the same descriptor");

        r = adopt_determine_length(memory, offset, length, &length);
        if (r < 0)
                return r;

        r = allocation_new_consume_fds(memory, lease, offset, length, 0, NULL, &allocation);
        if (r < 0)
                return r;

        (void) adopt_set_cloexec(memory);
        if (lease >= 0)
                (void) adopt_set_cloexec(lease);

        *ret = allocation;
        return 0;
}

/* A number from the environment. A missing one is left as it is. */
static int adopt_getenv(const char *variable, uint64_t limit, uint64_t *value) {
        const char *text;
        int r;

        text = secure_getenv(variable);
        if (!text)
                return 0;

        r = adopt_parse_uint64(text, value);
        if (r < 0 || *value > limit)
                return error_set(-EINVAL, "%s in the environment is no valid number", variable);

        return 1;
}

_public_ int daxbroker_adopt_environment(daxbroker_allocation **ret) {
        uint64_t memory = 0, lease = 0, offset = 0, length = 0;
        int have_lease, flags, r;

        r = adopt_getenv("DAXBROKER_FD", INT_MAX, &memory);
        if (r < 0)
                return r;
        if (r == 0)
                return error_set(-ENXIO, "there is no DAXBROKER_FD in the environment");

        have_lease = adopt_getenv("DAXBROKER_LEASE_FD", INT_MAX, &lease);
        if (have_lease < 0)
                return have_lease;

        r = adopt_getenv("DAXBROKER_OFFSET", UINT64_MAX, &offset);
        if (r < 0)
                return r;

        r = adopt_getenv("DAXBROKER_LENGTH", UINT64_MAX, &length);
        if (r < 0)
                return r;

        /* What came through execve() cannot be close-on-exec. So if it is, the variables were meant for an
         * ancestor, or have been made use of already, and the number is somebody else's by now. */
        flags = fcntl((int) memory, F_GETFD);
        if (flags < 0 || (flags & FD_CLOEXEC))
                return error_set(-ENXIO, "DAXBROKER_FD was not passed to this process, or is taken already");

        return daxbroker_adopt_fds((int) memory, have_lease ? (int) lease : -1, offset, length, ret);
}
