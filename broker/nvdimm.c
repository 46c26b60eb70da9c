/* SPDX-License-Identifier: MIT */

/* The life of one namespace, write by write. What libnvdimm does that one has to know:
 *
 * - A region has always one namespace without a size, its seed, and one device of each kind that has no namespace. What is
 *   made is made of these; when the device is bound the kernel makes the next ones, which takes it a moment longer than the
 *   bind. So one is made at a time.
 * - The label is written when the namespace gets its size, with everything that was said before. So the size comes last: a
 *   power cut leaves no namespace, or one with its uuid, its name, and what it is for.
 * - The device gets its page map and its info block on the medium when it is bound. A namespace whose power was cut between
 *   the two is found as a raw block device at the next boot; our udev rule then frees it, for nobody has had it.
 * - The info block has a uuid of its own, and that is the one that ndctl shows. We give it that of the namespace.
 * - A uuid that was given to a seed stays there, and may be in the way of the next one, until 0 is written to its size.
 * - A region that is disabled, or just being enabled, has its folder, and no namespaces or only some of them. What is not
 *   found then is still there. Something is only believed to be gone if the region was whole before and after the look.
 * - Nothing is zeroed but the info block, neither when a namespace is made nor when it is destroyed.
 * - Names and device numbers are those of the next one as soon as they are free, and are given anew at each boot.
 *
 * Everything here is done with plain files below /sys. libndctl does the same, but loses the kernel's error on the way, and
 * wants the nodes of all devices to be there. */

#include "nvdimm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "dax-attribute.h"
#include "dax-rights.h"
#include "size.h"

/* How long udev may take. */
#define RIGHTS_USEC (10 * UINT64_C(1000000))

/* A uuid on the seed may be that of somebody who is just making one, or who died before he had. */
#define SEED_USEC (UINT64_C(1000000))
#define SEED_STEP_USEC (UINT64_C(20000))

/* What the kernel writes in front of the data: the info block, and for each page of 4 KiB what it knows of it. */
#define INFO_SIZE (8 * KIB)
#define PAGE_MAP_ENTRY UINT64_C(64)

static pthread_mutex_t make_mutex = PTHREAD_MUTEX_INITIALIZER;

/* ---- Lengths ---- */

uint64_t nvdimm_usable_of(uint64_t size, uint64_t page_size) {
        uint64_t unit = page_size > DAX_GRANULARITY ? page_size : DAX_GRANULARITY, reserved;

        if (size <= INFO_SIZE)
                return 0;

        reserved = INFO_SIZE + (size - INFO_SIZE) / (4 * KIB) * PAGE_MAP_ENTRY;
        if (size_round_up(reserved, unit, &reserved) < 0 || reserved >= size)
                return 0;
        return size - reserved;
}

/* The region's alignment is 16 MiB for each DIMM that memory is spread over, which may be three of them. */
int nvdimm_size_for(uint64_t usable, uint64_t alignment, uint64_t page_size, uint64_t *ret) {
        uint64_t size;

        if (__builtin_add_overflow(usable, usable / (4 * KIB) * PAGE_MAP_ENTRY, &size) ||
            __builtin_add_overflow(size, alignment - 1, &size))
                return -EOVERFLOW;
        size -= size % alignment;
        while (nvdimm_usable_of(size, page_size) < usable)
                if (__builtin_add_overflow(size, alignment, &size))
                        return -EOVERFLOW;

        *ret = size;
        return 0;
}

/* ---- Reading ---- */

/* The device of namespace3.14 is dax3.14. */
static int device_name(const char *name, char ret[static DAX_NAME_MAX]) {
        unsigned region, number;

        if (strncmp(name, "namespace", 9) != 0 || snprintf(ret, DAX_NAME_MAX, "dax%s", name + 9) >= DAX_NAME_MAX)
                return -EINVAL;
        return dax_name_parse(ret, &region, &number);
}

static int space_open(const char *path, const char *name, int *ret_folder) {
        char device[DAX_NAME_MAX];
        int r;

        r = device_name(name, device);
        return r < 0 ? r : dax_open_folder(path, name, ret_folder);
}

/* libnvdimm's device, not the one with a node. */
static int holder_open(const char *path, const char *name, int *ret_folder) {
        unsigned region, number;
        int r;

        r = dax_name_parse(name, &region, &number);
        return r < 0 ? r : dax_open_folder(path, name, ret_folder);
}

/* "" if it has none. */
static int driver_read(int folder, char *ret, size_t size) {
        char target[PATH_MAX];
        const char *name;
        ssize_t n;

        n = readlinkat(folder, "driver", target, sizeof(target) - 1);
        if (n < 0 && errno != ENOENT)
                return -errno;

        target[n < 0 ? 0 : n] = '\0';
        name = strrchr(target, '/');
        return snprintf(ret, size, "%s", name ? name + 1 : target) < (int) size ? 0 : -EUCLEAN;
}

bool nvdimm_is_uuid(const char *text) {
        for (size_t i = 0; i < NVDIMM_UUID_SIZE - 1; i++) {
                bool dash = i == 8 || i == 13 || i == 18 || i == 23;

                if (dash ? text[i] != '-' : !strchr("0123456789abcdef", text[i]) || text[i] == '\0')
                        return false;
        }

        return text[NVDIMM_UUID_SIZE - 1] == '\0';
}

/* Whoever has written the label may have written anything. */
static int label_read(int folder, char ret[static NVDIMM_LABEL_SIZE]) {
        int r;

        r = dax_read_text(folder, "alt_name", ret, NVDIMM_LABEL_SIZE);
        if (r == -EUCLEAN) {
                (void) snprintf(ret, NVDIMM_LABEL_SIZE, "?");
                return 0;
        }
        for (char *c = ret; r >= 0 && *c; c++)
                if (*c < ' ' || *c > '~')
                        *c = '?';
        return r;
}

static int start_read(int folder, NvdimmNamespace *space) {
        int r;

        r = dax_read_number(folder, "resource", &space->start);
        space->start_known = r >= 0;
        return r == -EACCES || r == -EPERM || r == -ENOENT ? 0 : r;
}

static int use_read(const char *path, int folder, NvdimmNamespace *space) {
        char driver[32], parent[PATH_MAX], device[DAX_NAME_MAX];
        unsigned region, number;
        DaxDevice dax;
        int r;

        r = dax_read_text(folder, "holder", space->holder, sizeof(space->holder));
        if (r >= 0)
                r = driver_read(folder, driver, sizeof(driver));
        if (r < 0)
                return r;
        if (space->holder[0] == '\0' || dax_name_parse(space->holder, &region, &number) < 0) {
                space->use = space->holder[0] != '\0' || driver[0] != '\0' ? NVDIMM_OTHER : NVDIMM_IDLE;
                return 0;
        }

        space->use = NVDIMM_DEVICE;
        r = device_name(space->name, device);
        if (r >= 0)
                r = nvdimm_device_path(path, space, parent, sizeof(parent));
        if (r >= 0)
                r = dax_inspect(parent, device, &dax);
        /* It is not enabled, or just comes or goes: whose it is will look again, and others are not to be troubled. */
        if (r == -ENOENT || r == -ENODEV || r == -EUCLEAN)
                return 0;
        if (r < 0)
                return r;

        (void) snprintf(space->device, sizeof(space->device), "%s", device);
        space->usable = dax.size;
        space->alignment = dax.alignment;
        return 0;
}

/* Also of one without a size, of which only that and its uuid are of interest. */
static int space_read(const char *path, const char *name, NvdimmNamespace *ret) {
        _cleanup_close_ int folder = -EBADF;
        NvdimmNamespace space = { 0 };
        int r;

        r = space_open(path, name, &folder);
        if (r < 0)
                return r;
        (void) snprintf(space.name, sizeof(space.name), "%s", name);
        r = dax_read_number(folder, "size", &space.size);
        if (r >= 0)
                r = dax_read_text(folder, "uuid", space.uuid, sizeof(space.uuid));
        if (r >= 0 && space.uuid[0] != '\0' && !nvdimm_is_uuid(space.uuid))
                r = -EUCLEAN;
        if (r >= 0)
                r = label_read(folder, space.label);
        if (r >= 0 && space.size > 0)
                r = start_read(folder, &space);
        if (r >= 0 && space.size > 0)
                r = use_read(path, folder, &space);
        if (r < 0)
                return r;

        *ret = space;
        return 0;
}

static void free_spaces_p(NvdimmNamespace **spaces) {
        free(*spaces);
}

static int compare_spaces(const void *a, const void *b) {
        return strverscmp(((const NvdimmNamespace *) a)->name, ((const NvdimmNamespace *) b)->name);
}

/* sized: those that have one. */
static int spaces_read(const char *path, bool sized, NvdimmNamespace **ret, size_t *ret_n) {
        _cleanup_closedir_ DIR *dir = NULL;
        _cleanup_(free_spaces_p) NvdimmNamespace *spaces = NULL;
        size_t n = 0;

        dir = opendir(path);
        if (!dir)
                return -errno;

        for (;;) {
                const struct dirent *entry;
                NvdimmNamespace space, *more;
                char device[DAX_NAME_MAX];
                int r;

                errno = 0;
                entry = readdir(dir);
                if (!entry && errno != 0)
                        return -errno;
                if (!entry)
                        break;
                if (device_name(entry->d_name, device) < 0)
                        continue;
                r = space_read(path, entry->d_name, &space);
                if (r == -ENOENT || r == -ENODEV || (r >= 0 && sized && space.size == 0)) /* it has just gone */
                        continue;
                if (r < 0)
                        return r;

                more = reallocarray(spaces, n + 1, sizeof(*spaces));
                if (!more)
                        return -ENOMEM;
                spaces = more;
                spaces[n++] = space;
        }

        if (n > 0)
                qsort(spaces, n, sizeof(*spaces), compare_spaces);
        *ret = TAKE_PTR(spaces);
        *ret_n = n;
        return 0;
}

/* -ENODEV: there may be namespaces that are not shown just now. */
static int region_check_whole(const char *path) {
        _cleanup_close_ int folder = -EBADF;
        char text[32];
        int r;

        r = dax_open_folder(path, NULL, &folder);
        if (r >= 0 && faccessat(folder, "driver", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
                r = -errno;
        if (r >= 0) /* answered once all namespaces are there, and until the first of them goes */
                r = dax_read_text(folder, "init_namespaces", text, sizeof(text));
        return r == -ENOENT ? -ENODEV : r;
}

/* The bus answers when it has nothing left to do. */
static int region_settle(const char *path) {
        _cleanup_close_ int bus = -EBADF;
        _cleanup_free_ char *above = NULL;
        char text[32];
        int r;

        if (asprintf(&above, "%s/..", path) < 0) {
                above = NULL;
                return -ENOMEM;
        }
        r = dax_open_folder(above, NULL, &bus);
        if (r >= 0)
                r = dax_read_text(bus, "wait_probe", text, sizeof(text));
        return r == -ENOENT ? -ENODEV : r;
}

static int spaces_read_whole(const char *path, bool sized, NvdimmNamespace **ret, size_t *ret_n) {
        NvdimmNamespace *spaces;
        size_t n;
        int r;

        r = region_check_whole(path);
        if (r >= 0)
                r = spaces_read(path, sized, &spaces, &n);
        if (r < 0)
                return r == -ENOENT ? -ENODEV : r;
        r = region_check_whole(path);
        if (r < 0) {
                free(spaces);
                return r;
        }

        *ret = spaces;
        *ret_n = n;
        return 0;
}

int nvdimm_list(const char *path, NvdimmNamespace **ret, size_t *ret_n) {
        int r;

        r = region_settle(path);
        return r < 0 ? r : spaces_read_whole(path, true, ret, ret_n);
}

static int space_find(const char *path, const char *uuid, bool sized, NvdimmNamespace *ret) {
        _cleanup_(free_spaces_p) NvdimmNamespace *spaces = NULL;
        size_t n;
        int r;

        if (!nvdimm_is_uuid(uuid))
                return -EINVAL;
        r = spaces_read_whole(path, sized, &spaces, &n);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n; i++)
                if (strcmp(spaces[i].uuid, uuid) == 0) {
                        *ret = spaces[i];
                        return 0;
                }
        return -ENOENT;
}

int nvdimm_find(const char *path, const char *uuid, NvdimmNamespace *ret) {
        return space_find(path, uuid, true, ret);
}

int nvdimm_device_path(const char *path, const NvdimmNamespace *space, char *ret, size_t size) {
        return snprintf(ret, size, "%s/%s", path, space->holder) < (int) size ? 0 : -ENAMETOOLONG;
}

/* ---- Making ---- */

static int driver_write(const char *file, const char *text) {
        _cleanup_close_ int folder = -EBADF;
        _cleanup_free_ char *path = NULL;
        int r;

        if (asprintf(&path, "%s/bus/nd/drivers/dax_pmem", dax_sys_root()) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        r = dax_open_folder(path, NULL, &folder);
        if (r < 0)
                return r == -ENOENT ? -ENODEV : r;

        return dax_write_text(folder, file, text);
}

/* The files that udev hands over, the last one first. */
typedef struct Awaited {
        int folder;
        const char *const *files;
} Awaited;

static int awaited_check(const void *userdata) {
        const Awaited *awaited = userdata;

        for (size_t i = 0; awaited->files[i]; i++)
                if (faccessat(awaited->folder, awaited->files[i], W_OK, AT_EACCESS) < 0) {
                        if (errno == ENOENT)
                                return -ENODEV;
                        return i == 0 && errno == EACCES ? -EAGAIN : -errno;
                }

        return 0;
}

/* Opens what the region says is next, once it is ours. -EAGAIN: it is not there yet; the region names it first. */
static int seed_open(const char *path, const char *attribute, const char *const *files,
                     char ret_name[static NVDIMM_NAME_MAX], int *ret_folder) {
        _cleanup_close_ int region = -EBADF, folder = -EBADF;
        _cleanup_free_ char *seed = NULL;
        char name[NVDIMM_NAME_MAX];
        Awaited awaited;
        int r;

        r = dax_open_folder(path, NULL, &region);
        if (r >= 0)
                r = dax_read_text(region, attribute, name, sizeof(name));
        if (r < 0)
                return r == -ENOENT ? -ENODEV : r;
        if (name[0] == '\0')
                return -ENODEV;
        r = name[0] == 'n' ? space_open(path, name, &folder) : holder_open(path, name, &folder);
        if (r < 0)
                return r == -ENOENT ? -EAGAIN : r == -EINVAL ? -EUCLEAN : r;
        if (asprintf(&seed, "%s/%s", path, name) < 0) {
                seed = NULL;
                return -ENOMEM;
        }

        awaited = (Awaited){ folder, files };
        r = dax_await(seed, awaited_check, &awaited, RIGHTS_USEC);
        if (r < 0)
                return r == -ENODEV ? -EAGAIN : r;

        (void) snprintf(ret_name, NVDIMM_NAME_MAX, "%s", name);
        *ret_folder = TAKE_FD(folder);
        return 0;
}

/* Of one that nobody else is just making something of. */
static int seed_clear(int folder) {
        char before[NVDIMM_UUID_SIZE] = "", uuid[NVDIMM_UUID_SIZE];
        uint64_t size;
        int r;

        for (uint64_t waited = 0;; waited += SEED_STEP_USEC) {
                r = dax_read_number(folder, "size", &size);
                if (r >= 0)
                        r = dax_read_text(folder, "uuid", uuid, sizeof(uuid));
                if (r < 0)
                        return r == -ENOENT ? -EAGAIN : r;
                if (size != 0)
                        return -EAGAIN;
                if (uuid[0] == '\0')
                        return 0;
                if (waited >= SEED_USEC && strcmp(uuid, before) == 0)
                        break;
                if (waited >= 2 * SEED_USEC)
                        return -EAGAIN;
                if (strcmp(uuid, before) != 0)
                        memcpy(before, uuid, sizeof(before));
                (void) usleep(SEED_STEP_USEC);
        }

        r = dax_write_text(folder, "size", "0");
        return r == -EBUSY ? -EAGAIN : r;
}

static int space_make(const char *path, const char *uuid, const char *label, uint64_t size, NvdimmNamespace *ret) {
        static const char *const files[] = { "size", "holder_class", "alt_name", "uuid", NULL };
        _cleanup_close_ int folder = -EBADF;
        char name[NVDIMM_NAME_MAX], text[32];
        NvdimmNamespace space;
        int r;

        r = seed_open(path, "namespace_seed", files, name, &folder);
        if (r >= 0)
                r = seed_clear(folder);
        if (r < 0)
                return r;

        r = dax_write_text(folder, "uuid", uuid);
        if (r >= 0)
                r = dax_write_text(folder, "alt_name", label);
        if (r >= 0)
                r = dax_write_text(folder, "holder_class", "dax");
        if (r >= 0) {
                (void) snprintf(text, sizeof(text), "%" PRIu64, size);
                r = dax_write_text(folder, "size", text);
        }
        if (r < 0)
                return r == -EBUSY ? -EAGAIN : r;

        r = space_read(path, name, &space);
        if (r < 0)
                return r;
        if (strcmp(space.uuid, uuid) != 0) /* somebody has had the same seed in his hands */
                return -EAGAIN;
        if (space.size != size || strcmp(space.label, label) != 0 || space.use != NVDIMM_IDLE)
                return -EUCLEAN;

        *ret = space;
        return 0;
}

static int holder_make(const char *path, const NvdimmNamespace *space, uint64_t page_size) {
        static const char *const files[] = { "namespace", "align", "mode", "uuid", NULL };
        _cleanup_close_ int folder = -EBADF;
        char name[NVDIMM_NAME_MAX], text[NVDIMM_NAME_MAX];
        int r;

        r = seed_open(path, "dax_seed", files, name, &folder);
        if (r >= 0)
                r = dax_read_text(folder, "namespace", text, sizeof(text));
        if (r < 0)
                return r;
        if (text[0] != '\0')
                return -EAGAIN;

        r = dax_write_text(folder, "uuid", space->uuid);
        if (r >= 0)
                r = dax_write_text(folder, "mode", "pmem");
        if (r >= 0) {
                (void) snprintf(text, sizeof(text), "%" PRIu64, page_size);
                r = dax_write_text(folder, "align", text);
        }
        if (r >= 0)
                r = dax_write_text(folder, "namespace", space->name);
        if (r >= 0)
                r = driver_write("bind", name);
        return r;
}

/* It is looked at before anything is written to it: a write can make broken memory hard to find. */
static int space_check(const char *path, const NvdimmNamespace *space) {
        uint64_t bad;
        int r;

        if (!space->start_known)
                return -EACCES;
        r = nvdimm_count_bad(path, (Range){ space->start, space->size }, &bad);
        return r >= 0 && bad > 0 ? -EIO : r;
}

static int device_make(const char *path, const NvdimmNamespace *space, uint64_t page_size, NvdimmNamespace *ret) {
        NvdimmNamespace made;
        int r;

        r = holder_make(path, space, page_size);
        if (r >= 0)
                r = nvdimm_find(path, space->uuid, &made);
        if (r < 0)
                return r == -ENOENT ? -EUCLEAN : r;
        if (made.use != NVDIMM_DEVICE || made.device[0] == '\0' || made.alignment != page_size)
                return -EUCLEAN;

        *ret = made;
        return 0;
}

int nvdimm_make(const char *path, const char *uuid, const char *label, uint64_t size, uint64_t page_size,
                NvdimmNamespace *ret) {
        NvdimmNamespace space;
        int r;

        if (!nvdimm_is_uuid(uuid) || strlen(label) >= NVDIMM_LABEL_SIZE || size == 0)
                return -EINVAL;

        pthread_mutex_lock(&make_mutex);
        r = space_make(path, uuid, label, size, &space);
        if (r >= 0)
                r = space_check(path, &space);
        if (r >= 0)
                r = device_make(path, &space, page_size, &space);
        if (r < 0)
                (void) nvdimm_destroy(path, uuid); /* before the next one wants the seed */
        pthread_mutex_unlock(&make_mutex);
        if (r >= 0)
                r = nvdimm_await_node(path, &space, RIGHTS_USEC);
        if (r < 0)
                return r;

        *ret = space;
        return 0;
}

typedef struct AwaitedNode {
        int folder, dev_folder;
        const char *name;
} AwaitedNode;

static int node_check(const void *userdata) {
        const AwaitedNode *node = userdata;
        char driver[32];
        int r;

        if (faccessat(node->folder, "size", F_OK, 0) < 0)
                return errno == ENOENT ? -ENODEV : -errno;
        if (faccessat(node->folder, "resource", R_OK, AT_EACCESS) < 0)
                return errno == EACCES ? -EAGAIN : -errno;
        if (faccessat(node->dev_folder, node->name, R_OK | W_OK, AT_EACCESS) < 0)
                return errno == ENOENT ? -EAGAIN : -errno;

        /* its module may be on its way */
        r = driver_read(node->folder, driver, sizeof(driver));
        if (r < 0)
                return r;
        return strcmp(driver, "device_dax") == 0 ? 0 : driver[0] == '\0' ? -EAGAIN : -EUCLEAN;
}

int nvdimm_await_node(const char *path, const NvdimmNamespace *space, uint64_t usec) {
        _cleanup_close_ int folder = -EBADF, dev_folder = -EBADF;
        char parent[PATH_MAX], device[PATH_MAX];
        AwaitedNode node;
        int r;

        if (space->device[0] == '\0')
                return -ENODEV;
        r = nvdimm_device_path(path, space, parent, sizeof(parent));
        if (r >= 0)
                r = dax_open_folder(parent, space->device, &folder);
        if (r >= 0)
                r = dax_open_folder(dax_dev_root(), NULL, &dev_folder);
        if (r < 0)
                return r == -ENOENT ? -ENODEV : r;
        if (snprintf(device, sizeof(device), "%s/%s", parent, space->device) >= (int) sizeof(device))
                return -ENAMETOOLONG;

        node = (AwaitedNode){ folder, dev_folder, space->device };
        return dax_await(device, node_check, &node, usec);
}

/* ---- The end ---- */

/* Takes the device from its namespace, and so from all who have it. */
static int holder_remove(const char *path, const NvdimmNamespace *space) {
        _cleanup_close_ int folder = -EBADF;
        char driver[32];
        int r;

        r = holder_open(path, space->holder, &folder);
        if (r == -ENOENT)
                return 0;
        if (r >= 0)
                r = driver_read(folder, driver, sizeof(driver));
        if (r < 0)
                return r;
        if (driver[0] != '\0') {
                r = driver_write("unbind", space->holder);
                if (r < 0 && r != -ENODEV) /* no device: it is not bound any more */
                        return r;
        }

        /* an empty line; it is gone with that */
        r = dax_write_text(folder, "namespace", "\n");
        return r == -ENOENT || r == -ENODEV ? 0 : r;
}

int nvdimm_destroy(const char *path, const char *uuid) {
        _cleanup_close_ int folder = -EBADF;
        NvdimmNamespace space;
        uint64_t size;
        int r;

        r = space_find(path, uuid, false, &space);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        if (space.use == NVDIMM_OTHER)
                return -EBUSY;

        r = space_open(path, space.name, &folder);
        if (r >= 0 && space.use == NVDIMM_DEVICE)
                r = holder_remove(path, &space);
        if (r >= 0)
                r = dax_write_text(folder, "size", "0");
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;

        r = dax_read_number(folder, "size", &size);
        return r == -ENOENT || (r >= 0 && size == 0) ? 0 : r < 0 ? r : -EUCLEAN;
}
