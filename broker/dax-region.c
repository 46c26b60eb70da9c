/* SPDX-License-Identifier: MIT */

/* Finds the regions that there are, and says of each whether something can be carved from it and if not, why.
 *
 * There is no list of regions, but every one always has a device: so the devices of the bus are grouped by the device they
 * belong to. What vanishes while it is read is left out. What makes no sense makes its region unusable, and no other.
 *
 * Where a region begins is told by any device of it that has no size. If none is there that we may read, it is only known
 * if the devices fill the region; otherwise there is room for one more device, and whoever wants to know makes one. */

#include "dax.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "cleanup.h"
#include "clock.h"
#include "dax-attribute.h"
#include "dax-region.h"
#include "name.h"
#include "nvdimm.h"
#include "size.h"

/* Leaves room for what makes a name unique. */
#define REGION_NAME_MAX 40

/* ---- Construction ---- */

DaxRegion *dax_region_free(DaxRegion *region) {
        if (!region)
                return NULL;

        free(region->name);
        free(region->alias);
        free(region->path);
        free(region->reason);
        free(region->devices);
        free(region->namespaces);
        free(region);
        return NULL;
}

void dax_regions_free(DaxRegion *list) {
        DaxRegion *region, *next;

        DL_FOREACH_SAFE(list, region, next)
                dax_region_free(region);
}

static void free_regions_p(DaxRegion **list) {
        dax_regions_free(*list);
}

bool dax_error_is_ours(int r) {
        return r == -ENOMEM || r == -EMFILE || r == -ENFILE;
}

int dax_region_refuse(DaxRegion *region, const char *format, ...) {
        va_list arguments;
        int n;

        if (region->reason)
                return 0;

        va_start(arguments, format);
        n = vasprintf(&region->reason, format, arguments);
        va_end(arguments);
        if (n < 0) {
                region->reason = NULL;
                return -ENOMEM;
        }
        return 0;
}

int dax_region_refuse_error(DaxRegion *region, const char *what, int r) {
        if (dax_error_is_ours(r))
                return r;
        if (r == -EUCLEAN)
                return dax_region_refuse(region, "what the kernel says in %s/%s makes no sense here", region->path, what);

        return dax_region_refuse(region, "cannot read %s/%s: %s", region->path, what, strerror(-r));
}

/* ---- Enumeration ---- */

int dax_region_append(DaxRegion **list, const char *path, const char *provider, DaxRegion **ret) {
        DaxRegion *region;

        region = calloc(1, sizeof(*region));
        if (!region)
                return -ENOMEM;
        region->provider = provider;
        region->numa_node = region->target_node = -1;
        region->path = strdup(path);
        if (!region->path) {
                dax_region_free(region);
                return -ENOMEM;
        }

        DL_APPEND(*list, region);
        *ret = region;
        return 0;
}

static int region_find_or_add(DaxRegion **list, const char *path, DaxRegion **ret) {
        DaxRegion *region;

        DL_FOREACH(*list, region)
                if (strcmp(region->path, path) == 0) {
                        *ret = region;
                        return 0;
                }

        return dax_region_append(list, path, "devdax", ret);
}

static int region_add_device(DaxRegion *region, const char *name) {
        size_t n = region->n_devices, size = strlen(name) + 1;

        if (size > sizeof(region->devices[n].name))
                return -EINVAL;
        if ((n & (n - 1)) == 0) { /* full at each power of two */
                DaxDevice *devices = reallocarray(region->devices, n > 0 ? 2 * n : 1, sizeof(*devices));

                if (!devices)
                        return -ENOMEM;
                region->devices = devices;
        }

        region->devices[n] = (DaxDevice){ 0 };
        memcpy(region->devices[n].name, name, size);
        region->n_devices++;
        return 0;
}

/* The folder that a device's is in, with no links in it. -ENOENT: it went, or is nothing that belongs there. */
static int find_parent(const char *root, const char *device, char **ret) {
        _cleanup_free_ char *link = NULL, *path = NULL;
        char *slash;
        size_t n = strlen(root);

        if (asprintf(&link, "%s/bus/dax/devices/%s", root, device) < 0) {
                link = NULL;
                return -ENOMEM;
        }
        path = realpath(link, NULL);
        if (!path)
                return dax_error_is_ours(-errno) ? -errno : -ENOENT;

        slash = strrchr(path, '/');
        if (strncmp(path, root, n) != 0 || path[n] != '/' || slash <= path + n || strcmp(slash + 1, device) != 0)
                return -ENOENT;

        *slash = '\0';
        *ret = TAKE_PTR(path);
        return 0;
}

/* Devices of namespaces: what they are made of is the region, see nvdimm-region.c. */
static bool is_persistent(const char *path) {
        _cleanup_close_ int folder = -EBADF;
        char subsystem[PATH_MAX];
        const char *slash;
        ssize_t n;

        if (dax_open_folder(path, NULL, &folder) < 0)
                return false;
        n = readlinkat(folder, "subsystem", subsystem, sizeof(subsystem) - 1);
        if (n <= 0)
                return false;

        subsystem[n] = '\0';
        slash = strrchr(subsystem, '/');
        return slash && strcmp(slash, "/nd") == 0;
}

static int enumerate_one(const char *root, const char *device, DaxRegion **list) {
        _cleanup_free_ char *path = NULL;
        DaxRegion *region;
        unsigned id, number;
        int r;

        if (dax_name_parse(device, &id, &number) < 0)
                return 0;
        r = find_parent(root, device, &path);
        if (r == -ENOENT || (r >= 0 && is_persistent(path)))
                return 0;
        if (r < 0)
                return r;
        r = region_find_or_add(list, path, &region);
        if (r < 0)
                return r;

        return region_add_device(region, device);
}

static int device_compare(const void *a, const void *b) {
        return strcmp(((const DaxDevice *) a)->name, ((const DaxDevice *) b)->name);
}

const DaxDevice *dax_region_find(const DaxRegion *region, const char *name) {
        DaxDevice key = { 0 };

        (void) snprintf(key.name, sizeof(key.name), "%s", name);
        return region->n_devices > 0 ? bsearch(&key, region->devices, region->n_devices, sizeof(key), device_compare) : NULL;
}

int dax_bus_walk(const char *bus, DaxBusFunction function, DaxRegion **list) {
        _cleanup_closedir_ DIR *devices = NULL;
        _cleanup_free_ char *root = NULL, *path = NULL;

        root = realpath(dax_sys_root(), NULL);
        if (!root)
                return -errno;
        if (asprintf(&path, "%s/bus/%s/devices", root, bus) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        devices = opendir(path);
        if (!devices)
                return errno == ENOENT ? 0 : -errno;

        for (;;) {
                const struct dirent *entry;
                int r;

                errno = 0;
                entry = readdir(devices);
                if (!entry)
                        return -errno;
                r = function(root, entry->d_name, list);
                if (r < 0)
                        return r;
        }
}

/* ---- What a region says of itself ---- */

/* Devices that are gone are left out. */
static int region_read_devices(DaxRegion *region) {
        size_t n = 0;
        int r;

        qsort(region->devices, region->n_devices, sizeof(DaxDevice), device_compare);
        for (size_t i = 0; i < region->n_devices; i++) {
                DaxDevice device = region->devices[i];

                r = dax_inspect(region->path, device.name, &device);
                if (r == -ENOENT)
                        continue;
                if (r < 0) {
                        r = dax_region_refuse_error(region, device.name, r);
                        if (r < 0)
                                return r;
                }
                region->devices[n++] = device;
        }

        region->n_devices = n;
        return 0;
}

/* The region's own numbers. -ENOENT: it is gone. */
static int region_read_own(DaxRegion *region) {
        _cleanup_close_ int folder = -EBADF;
        uint64_t id;
        int r;

        r = dax_open_folder(region->path, "dax_region", &folder);
        if (r == -ENOENT)
                return r;
        if (r < 0)
                return dax_region_refuse_error(region, "dax_region", r);

        r = dax_read_number(folder, "id", &id);
        if (r >= 0 && id > INT_MAX)
                r = -EUCLEAN;
        if (r < 0)
                return dax_region_refuse_error(region, "dax_region/id", r);
        region->id = (unsigned) id;

        r = dax_read_number(folder, "size", &region->range.length);
        if (r < 0)
                return dax_region_refuse_error(region, "dax_region/size", r);

        /* root's alone unless it was handed over; good to know, but nothing depends on it */
        r = dax_read_number(folder, "align", &region->alignment);
        if (r < 0 && r != -EACCES)
                return dax_region_refuse_error(region, "dax_region/align", r);

        if (faccessat(folder, "create", F_OK, 0) < 0 && errno == ENOENT)
                return dax_region_refuse(region, "it is static: the kernel cannot divide it (persistent memory is divided "
                                                 "into namespaces, with ndctl)");
        return 0;
}

/* Not asked from the kernel: who reads it while the region goes waits for ever. */
static void region_count_available(DaxRegion *region) {
        region->available = region->range.length;
        for (size_t i = 0; i < region->n_devices; i++)
                if (__builtin_sub_overflow(region->available, region->devices[i].size, &region->available))
                        region->available = 0;
}

/* Any device knows, as long as it is there: then it has a size, too. */
static int region_read_nodes(DaxRegion *region) {
        for (size_t i = 0; i < region->n_devices; i++) {
                _cleanup_close_ int folder = -EBADF;
                int r;

                r = dax_open_folder(region->path, region->devices[i].name, &folder);
                if (r >= 0)
                        r = dax_read_node(folder, "numa_node", &region->numa_node);
                if (r >= 0)
                        r = dax_read_node(folder, "target_node", &region->target_node);
                if (r < 0 && r != -ENOENT)
                        return dax_region_refuse_error(region, region->devices[i].name, r);
                if (r >= 0 && faccessat(folder, "size", F_OK, 0) >= 0)
                        break;
        }
        return 0;
}

/* Only hints: what cannot be read is not known. */
void dax_read_performance(int node, DaxPerformance *ret) {
        _cleanup_close_ int folder = -EBADF;
        _cleanup_free_ char *path = NULL;

        *ret = (DaxPerformance){ 0 };
        if (node < 0)
                return;
        if (asprintf(&path, "%s/devices/system/node/node%d/access0/initiators", dax_sys_root(), node) < 0) {
                path = NULL;
                return;
        }
        if (dax_open_folder(path, NULL, &folder) < 0)
                return;

        (void) dax_read_number(folder, "read_bandwidth", &ret->read_bandwidth);
        (void) dax_read_number(folder, "write_bandwidth", &ret->write_bandwidth);
        (void) dax_read_number(folder, "read_latency", &ret->read_latency);
        (void) dax_read_number(folder, "write_latency", &ret->write_latency);
}

/* A device of no size says where its region begins. It may be given one at any time, and then says where that is; so it
 * is asked for its size again after that. */
static int region_ask_start(DaxRegion *region) {
        for (size_t i = 0; i < region->n_devices && !region->start_known; i++) {
                _cleanup_close_ int folder = -EBADF;
                uint64_t start = 0, size = 0;
                int r;

                if (region->devices[i].size != 0)
                        continue;
                r = dax_open_folder(region->path, region->devices[i].name, &folder);
                if (r >= 0)
                        r = dax_read_number(folder, "resource", &start);
                if (r >= 0)
                        r = dax_read_number(folder, "size", &size);
                if (r == -EUCLEAN || dax_error_is_ours(r))
                        return dax_region_refuse_error(region, region->devices[i].name, r);
                if (r < 0 || size != 0)
                        continue;
                region->range.start = start;
                region->start_known = true;
        }

        return 0;
}

/* If the devices fill the region, it begins where the first of them does. */
static void region_deduce_start(DaxRegion *region) {
        uint64_t first = UINT64_MAX, sum = 0;

        for (size_t i = 0; i < region->n_devices; i++) {
                const DaxDevice *device = &region->devices[i];

                if (!device->ranges_known)
                        return;
                for (unsigned j = 0; j < device->n_ranges; j++) {
                        if (device->ranges[j].start < first)
                                first = device->ranges[j].start;
                        if (__builtin_add_overflow(sum, device->ranges[j].length, &sum))
                                return;
                }
        }
        if (sum != region->range.length)
                return;

        region->range.start = first;
        region->start_known = true;
}

static int region_find_start(DaxRegion *region) {
        uint64_t end;
        int r;

        r = region_ask_start(region);
        if (r < 0)
                return r;
        if (!region->start_known)
                region_deduce_start(region);
        if (!region->start_known)
                return 0;

        if (__builtin_add_overflow(region->range.start, region->range.length, &end))
                return dax_region_refuse_error(region, "dax_region/size", -EUCLEAN);
        for (size_t i = 0; i < region->n_devices; i++)
                for (unsigned j = 0; region->devices[i].ranges_known && j < region->devices[i].n_ranges; j++) {
                        Range range = region->devices[i].ranges[j];

                        if (range.start < region->range.start || range.length > end - range.start)
                                return dax_region_refuse_error(region, region->devices[i].name, -EUCLEAN);
                }

        return 0;
}

/* ---- Why it cannot be used ---- */

static int region_check_alignment(DaxRegion *region) {
        if (region->range.length == 0 || region->range.length % DAX_GRANULARITY != 0 ||
            (region->start_known && region->range.start % DAX_GRANULARITY != 0))
                return dax_region_refuse(region, "it begins at 0x%" PRIx64 " and is 0x%" PRIx64 " long, which are no "
                                                 "multiples of 2 MiB: reserve the memory on such boundaries",
                                         region->range.start, region->range.length);
        return 0;
}

/* The first device of a region is never ours, nor is what another driver has. */
static int region_check_held(DaxRegion *region) {
        const char *prevention = strncmp(region->name, "hmem.", 5) == 0 ? "\"options dax_hmem region_idle=1\" in modprobe.d"
                                                                        : "a machine that does not load kmem";
        const DaxDevice *holder = NULL, *device;
        uint64_t held = 0;

        for (size_t i = 0; i < region->n_devices; i++) {
                unsigned id, number;

                device = &region->devices[i];
                if (device->size == 0 || dax_name_parse(device->name, &id, &number) < 0)
                        continue;
                if (number != 0 && device->driver != DAX_DRIVER_OTHER)
                        continue;
                if (!holder || device->driver == DAX_DRIVER_OTHER)
                        holder = device;
                if (__builtin_add_overflow(held, device->size, &held))
                        held = UINT64_MAX;
        }
        if (!holder || (held < region->range.length && region->range.length - held >= DAX_GRANULARITY))
                return 0;

        if (holder->driver == DAX_DRIVER_OTHER)
                return dax_region_refuse(region, "all of it is the system's memory, through %s and the driver kmem: %s "
                                                 "keeps it free from the next boot on; now, do "
                                                 "\"daxctl reconfigure-device -f -m devdax %s\", \"daxctl disable-device "
                                                 "%s\" and write 0 to %s/%s/size",
                                         holder->name, prevention, holder->name, holder->name, region->path,
                                         holder->name);
        return dax_region_refuse(region, "%s has all of it: %s keeps it free from the next boot on; now, do "
                                         "\"daxctl disable-device %s\" and write 0 to %s/%s/size",
                                 holder->name, prevention, holder->name, region->path, holder->name);
}

int dax_region_check_file(DaxRegion *region, int folder, const char *path, const char *file) {
        if (faccessat(folder, file, W_OK, AT_EACCESS) >= 0)
                return 0;

        if (errno != EACCES)
                return dax_region_refuse(region, "cannot write %s/%s: %s", path, file, strerror(errno));
        return dax_region_refuse(region, "no right to write %s/%s: the broker's udev rule is missing, or was not run "
                                         "(\"systemctl restart systemd-udev-trigger\" does that)",
                                 path, file);
}

static int region_check_rights(DaxRegion *region) {
        static const char *const own[] = { "dax_region/create", "dax_region/delete" };
        static const char *const drivers[] = { "new_id", "remove_id", "bind", "unbind" };
        _cleanup_close_ int driver = -EBADF, folder = -EBADF;
        int r;

        r = dax_open_driver(&driver);
        if (dax_error_is_ours(r))
                return r;
        if (r < 0)
                return dax_region_refuse(region, "the driver device_dax is not loaded: \"modprobe device_dax\"");
        r = dax_open_folder(region->path, NULL, &folder);
        if (r < 0)
                return dax_region_refuse_error(region, "dax_region", r);

        for (size_t i = 0; r >= 0 && i < sizeof(own) / sizeof(own[0]); i++)
                r = dax_region_check_file(region, folder, region->path, own[i]);
        for (size_t i = 0; r >= 0 && i < sizeof(drivers) / sizeof(drivers[0]); i++)
                r = dax_region_check_file(region, driver, "/sys/bus/dax/drivers/device_dax", drivers[i]);
        return r;
}

/* ---- All of it ---- */

static bool name_is_fit(const char *name) {
        return strlen(name) <= REGION_NAME_MAX && name_is_valid(name);
}

int dax_region_choose_name(DaxRegion *region, const DaxRegion *list) {
        const char *name = strrchr(region->path, '/') + 1;
        const DaxRegion *other;
        bool taken = false;

        for (other = list; other != region; other = other->next)
                if (strcmp(strrchr(other->path, '/') + 1, name) == 0)
                        taken = true;

        if (name_is_fit(name) && !taken) {
                region->name = strdup(name);
                return region->name ? 0 : -ENOMEM;
        }

        /* listed, so that it is seen */
        if (asprintf(&region->name, "%s-%.18s", taken ? "second" : "unnamed",
                     region->n_devices > 0 ? region->devices[0].name : name) < 0) {
                region->name = NULL;
                return -ENOMEM;
        }
        return taken ? dax_region_refuse(region, "its name is that of another one, so nobody can ask for it (%s)",
                                         region->path)
                     : dax_region_refuse(region, "its name is not 1 to %d characters A-Z a-z 0-9 . _ - (%s)",
                                         REGION_NAME_MAX, region->path);
}

/* -ENOENT: it is gone. */
static int region_read(DaxRegion *region, const DaxRegion *list) {
        int r;

        r = region_read_devices(region);
        if (r < 0)
                return r;
        if (region->n_devices == 0)
                return -ENOENT;

        r = dax_region_choose_name(region, list);
        if (r >= 0)
                r = region_read_own(region);
        if (r >= 0) {
                region_count_available(region);
                r = region_read_nodes(region);
        }
        if (r >= 0)
                dax_read_performance(region->target_node >= 0 ? region->target_node : region->numa_node,
                                     &region->performance);
        if (r >= 0 && !region->reason)
                r = region_find_start(region);
        if (r >= 0 && !region->reason)
                r = region_check_alignment(region);
        if (r >= 0 && !region->reason)
                r = region_check_held(region);
        if (r >= 0 && !region->reason)
                r = region_check_rights(region);
        return r;
}

int dax_scan(DaxRegion **ret) {
        _cleanup_(free_regions_p) DaxRegion *list = NULL;
        DaxRegion *region, *next;
        uint64_t begin = now_usec();
        int r;

        r = dax_bus_walk("dax", enumerate_one, &list);
        if (r < 0)
                return r;

        DL_FOREACH_SAFE(list, region, next) {
                region->scanned = begin;
                r = region_read(region, list);
                if (r == -ENOENT) {
                        DL_DELETE(list, region);
                        dax_region_free(region);
                } else if (r < 0)
                        return r;
        }

        r = nvdimm_scan(&list);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(list);
        return 0;
}
