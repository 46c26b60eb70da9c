/* SPDX-License-Identifier: MIT */

/* What the kernel says about the NVDIMM region that a DAX device is on.
 *
 * Everybody may read it. There is none below other memory, such as HBM, nor where sysfs cannot be seen: then
 * nothing is known, and it is right to expect nothing. */

#include "medium.h"

#include "error.h"
#include "util.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* A device is a few folders below its region. */
#define DEPTH_MAX 16

int medium_open_region(const char *sysfs, dev_t device, int *ret) {
        _cleanup_(fd_close_p) int folder = -EBADF;
        char path[128];

        if (snprintf(path, sizeof(path), "%s/dev/char/%u:%u", sysfs, major(device), minor(device)) >= (int) sizeof(path))
                return -ENAMETOOLONG;

        folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (folder < 0)
                return -errno;

        for (unsigned i = 0; i < DEPTH_MAX; i++) {
                int parent;

                /* Of how many pieces of DIMMs it is made. What else is of interest here is not there if nothing is
                 * known about it. */
                if (faccessat(folder, "mappings", F_OK, 0) == 0) {
                        *ret = TAKE_FD(folder);
                        return 0;
                }

                parent = openat(folder, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (parent < 0)
                        return -errno;

                fd_close(folder);
                folder = parent;
        }

        return -ENOENT;
}

/* An attribute without its newline; "" if it cannot be read. */
static void medium_read(int region, const char *attribute, char text[static 32]) {
        _cleanup_(fd_close_p) int fd = -EBADF;
        ssize_t n = 0;

        fd = openat(region, attribute, O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
                n = read(fd, text, 31);

        text[n > 0 ? n : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
}

bool medium_has_durable_caches(int region) {
        char domain[32];

        medium_read(region, "persistence_domain", domain);
        return strcmp(domain, "cpu_cache") == 0;
}

int medium_flush(int region) {
        _cleanup_(fd_close_p) int fd = -EBADF;
        char has_buffers[32];

        medium_read(region, "deep_flush", has_buffers);
        if (strcmp(has_buffers, "1") != 0)
                return 0;

        fd = openat(region, "deep_flush", O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        return write(fd, "1", 1) < 0 ? -errno : 0;
}
