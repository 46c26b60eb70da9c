/* SPDX-License-Identifier: MIT */

/* The life of one device, write by write.
 *
 * Some writes do more than they say, or less, and the kernel's answer does not always tell:
 * - A claim for a driver makes that driver look at the whole bus at once, and bind whatever it may have and has a size, also
 *   what was just unbound.
 * - A range can be added to a device that is bound, under the feet of those who use it; one of a wrong length is left out
 *   with no error.
 * - A device that was bound, and is bound again, is what old descriptors and mappings of it reach. The first device of a
 *   region cannot be deleted, so it is never touched here.
 * - The node can be opened at any time, but an open of one that is not bound, while another is open, breaks the kernel.
 * - The name of a deleted device is that of the next one.
 * - Whoever takes something away (a range, a device) waits for those who are in its files, and in most of these files one
 *   waits for whoever changes the region: both wait for ever, and with them all who want anything of that region. So where
 *   ranges lie is read only while they cannot go, and nobody but its owner writes to a device.
 * So everything is read again, through a folder that was opened before the write and has no files once its device went. */

#include "dax.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "dax-attribute.h"
#include "dax-rights.h"
#include "size.h"

#define CREATE_TRIES 10

/* The kernel only tells which device is the youngest, so one is made at a time. And not while one is deleted: its number is
 * free before its name is. */
static pthread_mutex_t create_mutex = PTHREAD_MUTEX_INITIALIZER;

/* Written by those who claim, because that binds every device that has a size and is not bound; read by those who have one
 * that must not be bound: it gets more ranges, or has just been unbound. A claim that waits goes first. */
static pthread_rwlock_t attach_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

/* Read by those who are in files of ranges, written by those who take ranges away. */
static pthread_rwlock_t ranges_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

/* How often somebody else may bind again what we unbind. */
#define UNBIND_TRIES 10

/* ---- Reading ---- */

/* The name is checked wherever it becomes a path or goes to the kernel. */
static int device_open(const char *path, const char *name, int *ret_folder) {
        unsigned region, number;
        int r;

        r = dax_name_parse(name, &region, &number);
        if (r < 0)
                return r;

        r = dax_open_folder(path, name, ret_folder);
        return r == -ENOTDIR || r == -ELOOP ? -EUCLEAN : r;
}

/* For everything that changes a device. */
static int device_open_ours(const char *path, const char *name, int *ret_folder) {
        unsigned region, number;
        int r;

        r = dax_name_parse(name, &region, &number);
        if (r < 0)
                return r;
        if (number == 0)
                return -EINVAL;

        return dax_open_folder(path, name, ret_folder);
}

/* A folder whose device went has no files. */
static bool device_is_gone(int folder) {
        return faccessat(folder, "size", F_OK, 0) < 0 && (errno == ENOENT || errno == ENODEV);
}

static int driver_read(int folder, DaxDriver *ret) {
        char target[PATH_MAX];
        const char *name;
        ssize_t n;

        n = readlinkat(folder, "driver", target, sizeof(target) - 1);
        if (n < 0 && errno != ENOENT)
                return -errno;
        if (n < 0) {
                if (device_is_gone(folder))
                        return -ENOENT;
                *ret = DAX_DRIVER_NONE;
                return 0;
        }

        target[n] = '\0';
        name = strrchr(target, '/');
        name = name ? name + 1 : target;
        *ret = strcmp(name, "device_dax") == 0 ? DAX_DRIVER_DEVICE : DAX_DRIVER_OTHER;
        return 0;
}

static int node_read(int folder, dev_t *ret) {
        char text[32];
        int r;

        r = dax_read_text(folder, "dev", text, sizeof(text));
        if (r < 0)
                return r;

        return dax_node_parse(text, ret);
}

/* -EACCES: we may not read it. */
static int mapping_read(int folder, unsigned i, Range *ret) {
        char attribute[48];
        uint64_t start, end, length;
        int r;

        (void) snprintf(attribute, sizeof(attribute), "mapping%u/start", i);
        r = dax_read_number(folder, attribute, &start);
        if (r < 0)
                return r;
        (void) snprintf(attribute, sizeof(attribute), "mapping%u/end", i);
        r = dax_read_number(folder, attribute, &end);
        if (r < 0)
                return r;
        if (end < start || __builtin_add_overflow(end - start, 1, &length))
                return -EUCLEAN;

        *ret = (Range){ start, length };
        return 0;
}

static bool mapping_exists(int folder, unsigned i) {
        char name[32];

        (void) snprintf(name, sizeof(name), "mapping%u", i);
        return faccessat(folder, name, F_OK, 0) >= 0;
}

/* Where the first range begins is also told in a file that nobody waits in. */
static int ranges_read_single(int folder, DaxDevice *device) {
        int r;

        r = dax_read_number(folder, "resource", &device->ranges[0].start);
        if (r < 0)
                return r;

        device->ranges[0].length = device->size;
        return 0;
}

/* -EACCES: only those of a device that is bound can be read, because only they cannot go. */
static int ranges_read_several(int folder, DaxDevice *device) {
        DaxDriver driver;
        int r;

        pthread_rwlock_rdlock(&ranges_lock);
        r = driver_read(folder, &driver);
        if (r >= 0 && driver == DAX_DRIVER_NONE)
                r = -EACCES;
        for (unsigned i = 0; r >= 0 && i < device->n_ranges; i++)
                r = mapping_read(folder, i, &device->ranges[i]);
        pthread_rwlock_unlock(&ranges_lock);
        return r;
}

static int ranges_read(int folder, DaxDevice *device) {
        uint64_t sum = 0;
        int r;

        if (device->size == 0) {
                device->ranges_known = true;
                return 0;
        }

        while (mapping_exists(folder, device->n_ranges)) {
                if (device->n_ranges == DAX_RANGES_MAX)
                        return 0; /* more than fit here: not known */
                device->n_ranges++;
        }
        if (device->n_ranges <= 1) {
                device->n_ranges = 1;
                r = ranges_read_single(folder, device);
        } else
                r = ranges_read_several(folder, device);
        if (r == -EACCES || r == -EPERM || r == -ENOENT)
                return 0;
        if (r < 0)
                return r;

        for (unsigned i = 0; i < device->n_ranges; i++)
                if (__builtin_add_overflow(sum, device->ranges[i].length, &sum))
                        return -EUCLEAN;
        /* otherwise somebody is just changing it */
        device->ranges_known = sum == device->size;
        return 0;
}

static int device_read(int folder, DaxDevice *ret) {
        int r;

        r = dax_read_number(folder, "size", &ret->size);
        if (r >= 0)
                r = dax_read_number(folder, "align", &ret->alignment);
        if (r >= 0) {
                r = node_read(folder, &ret->node);
                /* The kernel makes it last and removes it first: a device without one, and without memory, comes or goes. */
                if (r == -ENOENT && ret->size == 0)
                        return r;
        }
        if (r >= 0)
                r = driver_read(folder, &ret->driver);
        if (r >= 0)
                r = ranges_read(folder, ret);
        if (r == -ENOENT && !device_is_gone(folder))
                return -EUCLEAN;
        return r;
}

int dax_inspect(const char *path, const char *name, DaxDevice *ret) {
        _cleanup_close_ int folder = -EBADF;
        DaxDevice device = { 0 };
        int r;

        r = device_open(path, name, &folder);
        if (r < 0)
                return r;
        r = device_read(folder, &device);
        if (r < 0)
                return r;

        (void) snprintf(device.name, sizeof(device.name), "%s", name);
        *ret = device;
        return 0;
}

/* The two things that most writes depend on. */
static int state_read(int folder, DaxDriver *ret_driver, uint64_t *ret_size) {
        int r;

        r = driver_read(folder, ret_driver);
        if (r < 0)
                return r;

        return dax_read_number(folder, "size", ret_size);
}

/* ---- The beginning ---- */

static int create_and_name(int folder, char ret_name[static DAX_NAME_MAX]) {
        unsigned tries = 0;
        int r;

        pthread_mutex_lock(&create_mutex);
        do /* somebody else may be deleting one */
                r = dax_write_text(folder, "create", "1");
        while (r == -EEXIST && ++tries < CREATE_TRIES);
        if (r >= 0)
                r = dax_read_text(folder, "create", ret_name, DAX_NAME_MAX);
        pthread_mutex_unlock(&create_mutex);
        return r;
}

int dax_create(const char *path, char ret_name[static DAX_NAME_MAX]) {
        _cleanup_close_ int folder = -EBADF;
        unsigned region, number;
        char name[DAX_NAME_MAX];
        DaxDevice device;
        int r;

        r = dax_open_folder(path, "dax_region", &folder);
        if (r < 0)
                return r;
        r = create_and_name(folder, name);
        if (r < 0)
                return r;

        /* Somebody who makes devices at this very moment may have had us read the name of his, and leaves us ours: they are
         * alike as long as nothing was done to them. */
        r = dax_name_parse(name, &region, &number);
        if (r < 0 || number == 0)
                return -EUCLEAN;
        r = dax_inspect(path, name, &device);
        if (r < 0)
                return r == -ENOENT ? -EUCLEAN : r;
        if (device.size != 0 || device.driver != DAX_DRIVER_NONE)
                return -EUCLEAN;

        (void) snprintf(ret_name, DAX_NAME_MAX, "%s", name);
        return 0;
}

int dax_seed(const char *path, char ret_name[static DAX_NAME_MAX]) {
        _cleanup_close_ int folder = -EBADF;
        int r;

        r = dax_open_folder(path, "dax_region", &folder);
        if (r < 0)
                return r;

        return dax_read_text(folder, "seed", ret_name, DAX_NAME_MAX);
}

/* Writes the name to an attribute of the driver device_dax. */
static int driver_write(const char *attribute, const char *name) {
        _cleanup_close_ int folder = -EBADF;
        unsigned region, number;
        int r;

        r = dax_name_parse(name, &region, &number);
        if (r < 0)
                return r;
        if (number == 0)
                return -EINVAL;
        r = dax_open_driver(&folder);
        if (r < 0)
                return r;

        return dax_write_text(folder, attribute, name);
}

int dax_claim(const char *name) {
        int r;

        /* The driver takes no device without a size, but says whether it otherwise would. Where it would, as in all regions
         * that are not meant for kmem, a claim changes nothing but has it bind what others have just unbound. */
        r = driver_write("bind", name);
        if (r == -ENXIO)
                return 0;
        if (r >= 0)
                return -EBUSY;
        if (r != -ENODEV)
                return r;

        pthread_rwlock_wrlock(&attach_lock);
        r = driver_write("new_id", name);
        pthread_rwlock_unlock(&attach_lock);
        return r == -EEXIST ? 0 : r;
}

int dax_unclaim(const char *name) {
        int r;

        r = driver_write("remove_id", name);
        return r == -ENODEV || r == -ENOENT ? 0 : r;
}

int dax_align(const char *path, const char *name, uint64_t alignment) {
        _cleanup_close_ int folder = -EBADF;
        char text[32];
        uint64_t now;
        int r;

        if (alignment != 4 * KIB && alignment != 2 * MIB && alignment != GIB)
                return -EINVAL;
        r = device_open_ours(path, name, &folder);
        if (r < 0)
                return r;
        r = dax_read_number(folder, "size", &now);
        if (r < 0)
                return r;
        if (now != 0)
                return -EUCLEAN;
        r = dax_read_number(folder, "align", &now);
        if (r < 0 || now == alignment)
                return r;

        (void) snprintf(text, sizeof(text), "%" PRIu64, alignment);
        r = dax_write_text(folder, "align", text);
        if (r < 0)
                return r;
        r = dax_read_number(folder, "align", &now);
        if (r < 0)
                return r;
        return now == alignment ? 0 : -EUCLEAN;
}

/* The range that was added must be the last, and exactly as it was asked for, as far as we can see. */
static int range_verify(int folder, Range range, uint64_t size_before) {
        DaxDevice device = { 0 };
        const Range *last;
        int r;

        r = device_read(folder, &device);
        if (r < 0)
                return r;
        if (device.driver == DAX_DRIVER_OTHER || device.size - size_before != range.length)
                return -EUCLEAN;
        if (!device.ranges_known)
                return 0;

        last = &device.ranges[device.n_ranges - 1];
        return last->start == range.start && last->length == range.length ? 0 : -EUCLEAN;
}

static int add_range(int folder, Range range) {
        DaxDriver driver;
        uint64_t size, alignment, end;
        char text[64];
        int r;

        r = state_read(folder, &driver, &size);
        if (r < 0)
                return r;
        if (driver != DAX_DRIVER_NONE)
                return -EBUSY;
        r = dax_read_number(folder, "align", &alignment);
        if (r < 0)
                return r;
        if (alignment == 0)
                return -EUCLEAN;

        if (range.length == 0 || range.length % DAX_GRANULARITY != 0 || range.length % alignment != 0 ||
            range.start % DAX_GRANULARITY != 0 || range.start % alignment != 0 ||
            __builtin_add_overflow(range.start, range.length - 1, &end) || size > UINT64_MAX - range.length)
                return -EINVAL;

        (void) snprintf(text, sizeof(text), "%" PRIx64 "-%" PRIx64, range.start, end);
        r = dax_write_text(folder, "mapping", text);
        if (r == -ENOMEM)
                return -EADDRINUSE;
        if (r == -ENXIO)
                return -ENODEV; /* the region is going */
        if (r < 0)
                return r;

        return range_verify(folder, range, size);
}

int dax_add_ranges(const char *path, const char *name, const Range *ranges, size_t n_ranges) {
        _cleanup_close_ int folder = -EBADF;
        int r;

        r = device_open_ours(path, name, &folder);
        if (r < 0)
                return r;

        /* A claim that comes after the only range binds what is complete. */
        if (n_ranges > 1)
                pthread_rwlock_rdlock(&attach_lock);
        for (size_t i = 0; r >= 0 && i < n_ranges; i++)
                r = add_range(folder, ranges[i]);
        if (n_ranges > 1)
                pthread_rwlock_unlock(&attach_lock);
        return r;
}

int dax_bind(const char *path, const char *name, uint64_t size) {
        _cleanup_close_ int folder = -EBADF;
        DaxDriver driver;
        uint64_t size_now;
        int r;

        r = device_open_ours(path, name, &folder);
        if (r < 0)
                return r;

        r = driver_write("bind", name);
        if (r < 0 && r != -EBUSY) /* busy: it was bound by somebody's claim as soon as it had a size */
                return r;
        r = state_read(folder, &driver, &size_now);
        if (r < 0)
                return r;

        return driver == DAX_DRIVER_DEVICE && size_now == size ? 0 : -EUCLEAN;
}

/* ---- Waiting for udev ---- */

/* What is needed of a new device. -EAGAIN: udev has not been there, -EACCES: or was not done. It gives the node first and
 * "mapping" last, but what it does late for a device that is gone is also done to the next one of that name. */
static int rights_check(int folder, int dev_folder, const char *name) {
        static const char *const attributes[] = { "mapping", "size", "align" };

        if (device_is_gone(folder))
                return -ENODEV;
        for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
                if (faccessat(folder, attributes[i], W_OK, AT_EACCESS) < 0) {
                        if (errno == ENOENT)
                                return device_is_gone(folder) ? -ENODEV : -EUCLEAN;
                        return i == 0 && errno == EACCES ? -EAGAIN : -errno;
                }
        if (faccessat(dev_folder, name, R_OK | W_OK, AT_EACCESS) < 0)
                return errno == ENOENT ? -ENODEV : -errno;

        return 0;
}

struct Awaited {
        int folder, dev_folder;
        const char *name;
};

static int rights_check_awaited(const void *userdata) {
        const struct Awaited *awaited = userdata;

        return rights_check(awaited->folder, awaited->dev_folder, awaited->name);
}

int dax_await_rights(const char *path, const char *name, uint64_t usec) {
        _cleanup_close_ int folder = -EBADF, dev_folder = -EBADF;
        _cleanup_free_ char *device = NULL;
        struct Awaited awaited;
        int r;

        r = device_open_ours(path, name, &folder);
        if (r < 0)
                return r == -ENOENT ? -ENODEV : r;
        r = dax_open_folder(dax_dev_root(), NULL, &dev_folder);
        if (r < 0)
                return r;
        if (asprintf(&device, "%s/%s", path, name) < 0) {
                device = NULL;
                return -ENOMEM;
        }

        awaited = (struct Awaited){ folder, dev_folder, name };
        return dax_await(device, rights_check_awaited, &awaited, usec);
}

/* ---- Use ---- */

static int open_verify(int folder, int fd, dev_t node) {
        struct stat st;
        DaxDriver driver;
        dev_t node_now;
        int r;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISCHR(st.st_mode) || st.st_rdev != node)
                return -EUCLEAN;
        r = driver_read(folder, &driver);
        if (r >= 0)
                r = node_read(folder, &node_now);
        if (r == -ENOENT)
                return -EUCLEAN;
        if (r < 0)
                return r;

        return driver == DAX_DRIVER_DEVICE && node_now == node ? 0 : -EUCLEAN;
}

int dax_open(const char *path, const char *name, bool read_only, int *ret_fd) {
        _cleanup_close_ int folder = -EBADF, dev_folder = -EBADF, fd = -EBADF;
        DaxDriver driver;
        dev_t node;
        int flags, r;

        r = device_open(path, name, &folder);
        if (r < 0)
                return r;
        r = driver_read(folder, &driver);
        if (r >= 0)
                r = node_read(folder, &node);
        if (r < 0)
                return r;
        if (driver != DAX_DRIVER_DEVICE)
                return -EUCLEAN;

        r = dax_open_folder(dax_dev_root(), NULL, &dev_folder);
        if (r < 0)
                return r;
        fd = openat(dev_folder, name, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return errno == ELOOP ? -EUCLEAN : -errno;
        r = open_verify(folder, fd, node);
        if (r < 0)
                return r;

        /* only there in case that it had been something else */
        flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
                return -errno;

        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* ---- The end ---- */

/* -EAGAIN: it has a size, and is bound again. */
static int unbind_once(int folder, const char *name) {
        DaxDriver driver;
        int r;

        r = driver_read(folder, &driver);
        if (r < 0)
                return r;
        if (driver == DAX_DRIVER_OTHER)
                return -EUCLEAN;
        if (driver == DAX_DRIVER_DEVICE) {
                r = driver_write("unbind", name);
                if (r < 0 && r != -ENODEV) /* no device: it is not bound any more */
                        return r;
        }

        pthread_rwlock_wrlock(&ranges_lock);
        r = dax_write_text(folder, "size", "0");
        pthread_rwlock_unlock(&ranges_lock);
        return r == -EBUSY ? -EAGAIN : r;
}

int dax_unbind(const char *path, const char *name) {
        _cleanup_close_ int folder = -EBADF;
        DaxDriver driver;
        uint64_t size;
        int r;

        r = device_open_ours(path, name, &folder);
        if (r >= 0)
                r = state_read(folder, &driver, &size);
        if (r == -ENOENT || (r >= 0 && driver == DAX_DRIVER_NONE && size == 0))
                return 0;
        if (r < 0)
                return r;

        r = -EAGAIN;
        pthread_rwlock_rdlock(&attach_lock);
        for (unsigned i = 0; r == -EAGAIN && i < UNBIND_TRIES; i++)
                r = unbind_once(folder, name);
        pthread_rwlock_unlock(&attach_lock);
        if (r == -EAGAIN)
                return -EBUSY;
        if (r >= 0)
                r = state_read(folder, &driver, &size);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        return driver == DAX_DRIVER_NONE && size == 0 ? 0 : -EUCLEAN;
}

int dax_delete(const char *path, const char *name) {
        _cleanup_close_ int folder = -EBADF, region = -EBADF;
        DaxDriver driver;
        uint64_t size;
        int r;

        r = device_open_ours(path, name, &folder);
        if (r >= 0)
                r = state_read(folder, &driver, &size);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        if (driver != DAX_DRIVER_NONE || size != 0)
                return -EBUSY;

        r = dax_open_folder(path, "dax_region", &region);
        if (r < 0)
                return r;
        pthread_mutex_lock(&create_mutex);
        r = dax_write_text(region, "delete", name);
        pthread_mutex_unlock(&create_mutex);
        if (r < 0 && r != -ENXIO) /* no such child: somebody was faster */
                return r;

        /* not by name: it may be that of a new one already */
        return device_is_gone(folder) ? 0 : -EUCLEAN;
}
