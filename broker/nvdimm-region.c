/* SPDX-License-Identifier: MIT */

/* Finds the regions of persistent memory, and says of each whether namespaces can be made in it and if not, why. Memory
 * whose DIMMs hold no labels is one single namespace: such a region is listed with what would change that, for only an
 * admin can know whether what is in it is still needed. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "cleanup.h"
#include "clock.h"
#include "dax-attribute.h"
#include "dax-region.h"
#include "file.h"
#include "nvdimm.h"
#include "size.h"

/* Of a region that can be divided. */
#define TYPE_LABELLED 5

/* The kernel prints at most a page. */
#define BAD_BLOCKS_MAX (64 * 1024)
#define SECTOR UINT64_C(512)

/* A region over more DIMMs than this is none. */
#define DIMMS_MAX 32

/* ---- Broken memory ---- */

/* Lines of two numbers, in sectors from the region's beginning: where, and how many. */
static int bad_blocks_parse(const char *text, Range range, uint64_t *ret) {
        uint64_t sum = 0;

        while (*text) {
                uint64_t sector, n, start, end, range_end;
                int length;

                if (sscanf(text, "%" SCNu64 " %" SCNu64 "%n", &sector, &n, &length) != 2)
                        return strspn(text, "\n") == strlen(text) ? (*ret = sum, 0) : -EUCLEAN;
                text += length;
                if (*text != '\n' && *text != '\0')
                        return -EUCLEAN;
                text += *text == '\n';
                if (__builtin_mul_overflow(sector, SECTOR, &start) || __builtin_mul_overflow(n, SECTOR, &n) ||
                    __builtin_add_overflow(start, n, &end) || __builtin_add_overflow(range.start, range.length, &range_end))
                        return -EUCLEAN;
                start = start > range.start ? start : range.start;
                end = end < range_end ? end : range_end;
                if (start < end)
                        sum += end - start;
        }

        *ret = sum;
        return 0;
}

static int bad_blocks_read(const char *path, uint64_t *ret_start, char **ret_text) {
        _cleanup_close_ int folder = -EBADF;
        int r;

        r = dax_open_folder(path, NULL, &folder);
        if (r >= 0)
                r = dax_read_number(folder, "resource", ret_start);
        return r < 0 ? r : file_read(folder, "badblocks", BAD_BLOCKS_MAX, ret_text);
}

int nvdimm_count_bad(const char *path, Range range, uint64_t *ret) {
        _cleanup_free_ char *text = NULL;
        uint64_t start;
        int r;

        r = bad_blocks_read(path, &start, &text);
        if (r < 0)
                return r;
        if (range.start < start)
                return -EUCLEAN;

        range.start -= start;
        return bad_blocks_parse(text, range, ret);
}

/* Of all namespaces of a region. */
static int region_read_bad(DaxRegion *region) {
        _cleanup_free_ char *text = NULL;
        uint64_t start;
        int r;

        r = bad_blocks_read(region->path, &start, &text);
        for (size_t i = 0; r >= 0 && i < region->n_namespaces; i++) {
                NvdimmNamespace *space = &region->namespaces[i];

                if (space->start_known && space->start >= start)
                        r = bad_blocks_parse(text, (Range){ space->start - start, space->size }, &space->bad);
        }
        return r == -ENOENT ? r : r < 0 ? dax_region_refuse_error(region, "badblocks", r) : 0;
}

/* ---- Labels ---- */

/* "nmem0 nmem1", as ndctl wants them; whether they have room for labels. */
static int dimms_read(int folder, char *ret, size_t size, bool *ret_can_label) {
        uint64_t n;
        size_t length = 0;
        int r;

        ret[0] = '\0';
        *ret_can_label = false;
        r = dax_read_number(folder, "mappings", &n);
        if (r < 0)
                return r;
        if (n > DIMMS_MAX)
                return -EUCLEAN;

        for (unsigned i = 0; i < n; i++) {
                _cleanup_close_ int dimm = -EBADF;
                _cleanup_free_ char *path = NULL;
                char attribute[32], text[128], commands[128];

                (void) snprintf(attribute, sizeof(attribute), "mapping%u", i);
                r = dax_read_text(folder, attribute, text, sizeof(text));
                if (r < 0)
                        return r;
                text[strcspn(text, ",")] = '\0';
                if (strchr(text, '/') || length + strlen(text) + 2 > size)
                        return -EUCLEAN;
                length += (size_t) snprintf(ret + length, size - length, "%s%s", i > 0 ? " " : "", text);

                if (asprintf(&path, "%s/bus/nd/devices/%s", dax_sys_root(), text) < 0) {
                        path = NULL;
                        return -ENOMEM;
                }
                r = dax_open_folder(path, NULL, &dimm);
                if (r >= 0)
                        r = dax_read_text(dimm, "commands", commands, sizeof(commands));
                if (dax_error_is_ours(r))
                        return r;
                if (r >= 0 && strstr(commands, "set_data"))
                        *ret_can_label = true;
        }

        return 0;
}

static int region_check_labels(DaxRegion *region, int folder) {
        char dimms[512];
        bool can_label;
        uint64_t type;
        int r;

        r = dax_read_number(folder, "nstype", &type);
        if (r < 0)
                return dax_region_refuse_error(region, "nstype", r);
        if (type == TYPE_LABELLED)
                return 0;

        region->indivisible = true;
        r = dimms_read(folder, dimms, sizeof(dimms), &can_label);
        if (r < 0)
                return dax_region_refuse_error(region, "mappings", r);
        if (!can_label)
                return dax_region_refuse(region, "it is label-less: nothing of it can hold labels, so all of it is one "
                                                 "namespace, for a file system for example, and cannot be divided");
        return dax_region_refuse(region, "it is label-less: there are no labels on %s, so all of it is one namespace and "
                                         "cannot be divided. If nothing in it is needed any more, do "
                                         "\"ndctl disable-region %s\", \"ndctl init-labels -f %s\", "
                                         "\"ndctl enable-region %s\"",
                                 dimms, region->name, dimms, region->name);
}

/* ---- What a region says of itself ---- */

static int region_read_numbers(DaxRegion *region, int folder) {
        const struct {
                const char *file;
                uint64_t *number;
        } numbers[] = {
                { "size", &region->range.length },
                { "align", &region->alignment },
                { "available_size", &region->available },
                { "max_available_extent", &region->largest },
        };
        int r;

        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
                r = dax_read_number(folder, numbers[i].file, numbers[i].number);
                if (r < 0)
                        return dax_region_refuse_error(region, numbers[i].file, r);
        }
        if (region->alignment == 0 || region->range.length == 0)
                return dax_region_refuse_error(region, "align", -EUCLEAN);
        if (region->alignment % DAX_GRANULARITY != 0)
                return dax_region_refuse(region, "its namespaces may begin at multiples of %s, and devices have pages of "
                                                 "2 MiB: write 0x1000000 to %s/align",
                                         SIZE_TEXT(region->alignment), region->path);

        r = dax_read_node(folder, "numa_node", &region->numa_node);
        if (r >= 0)
                r = dax_read_node(folder, "target_node", &region->target_node);
        return r < 0 ? dax_region_refuse_error(region, "numa_node", r) : 0;
}

static int region_check_driver(DaxRegion *region) {
        static const char *const files[] = { "bind", "unbind" };
        _cleanup_close_ int folder = -EBADF, device = -EBADF;
        _cleanup_free_ char *path = NULL;
        int r;

        if (asprintf(&path, "%s/bus/nd/drivers/dax_pmem", dax_sys_root()) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        r = dax_open_folder(path, NULL, &folder);
        if (r >= 0)
                r = dax_open_driver(&device);
        if (dax_error_is_ours(r))
                return r;
        if (r < 0)
                return dax_region_refuse(region, "the drivers dax_pmem and device_dax are not loaded: "
                                                 "\"modprobe dax_pmem device_dax\"");

        for (size_t i = 0; r >= 0 && i < sizeof(files) / sizeof(files[0]); i++)
                r = dax_region_check_file(region, folder, "/sys/bus/nd/drivers/dax_pmem", files[i]);
        return r;
}

/* Where it begins is root's to know, unless udev has handed it over, as it has to. */
static int region_read_start(DaxRegion *region, int folder) {
        int r;

        r = dax_read_number(folder, "resource", &region->range.start);
        region->start_known = r >= 0;
        if (r == -EACCES)
                return dax_region_refuse(region, "no right to read %s/resource: the broker's udev rule is missing, or was "
                                                 "not run (\"systemctl restart systemd-udev-trigger\" does that)",
                                         region->path);
        return r < 0 ? dax_region_refuse_error(region, "resource", r) : 0;
}

/* Regions are numbered anew at each boot. The set of DIMMs that one is made of has a number of its own: ndctl's iset_id. */
static int region_read_alias(DaxRegion *region, int folder) {
        char text[32];
        int r;

        r = dax_read_text(folder, "set_cookie", text, sizeof(text));
        if (r < 0)
                return r == -ENOENT ? 0 : dax_region_refuse_error(region, "set_cookie", r);

        region->alias = strdup(text);
        return region->alias ? 0 : -ENOMEM;
}

static int region_check_state(DaxRegion *region, int folder) {
        char text[16];
        int r;

        if (faccessat(folder, "driver", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
                return dax_region_refuse(region, "it is disabled: \"ndctl enable-region %s\"", region->name);

        r = dax_read_text(folder, "read_only", text, sizeof(text));
        if (r >= 0 && strcmp(text, "0") != 0)
                return dax_region_refuse(region, "the kernel has it read-only: see %s/read_only", region->path);
        return r < 0 && r != -ENOENT ? dax_region_refuse_error(region, "read_only", r) : 0;
}

/* -ENOENT: it is gone. */
static int region_read(DaxRegion *region, const DaxRegion *list) {
        _cleanup_close_ int folder = -EBADF;
        int r;

        r = dax_region_choose_name(region, list);
        if (r < 0)
                return r;
        r = dax_open_folder(region->path, NULL, &folder);
        if (r < 0)
                return r == -ENOENT ? r : dax_region_refuse_error(region, "size", r);

        r = region_read_alias(region, folder);
        if (r >= 0 && !region->reason)
                r = region_check_state(region, folder);
        if (r >= 0 && !region->reason)
                r = region_read_numbers(region, folder);
        if (r >= 0 && !region->reason)
                r = region_check_labels(region, folder);
        if (r >= 0 && !region->reason)
                r = region_read_start(region, folder);
        if (r >= 0 && !region->reason)
                r = region_check_driver(region);
        if (r >= 0 && !region->reason) {
                r = nvdimm_list(region->path, &region->namespaces, &region->n_namespaces);
                r = r < 0 ? dax_region_refuse_error(region, "namespace*", r) : region_read_bad(region);
        }
        if (r >= 0)
                dax_read_performance(region->target_node >= 0 ? region->target_node : region->numa_node,
                                     &region->performance);
        return r;
}

/* ---- All of them ---- */

static int scan_one(const char *root, const char *name, DaxRegion **list) {
        _cleanup_close_ int folder = -EBADF;
        _cleanup_free_ char *link = NULL, *path = NULL;
        DaxRegion *region;
        char type[32];
        unsigned id;
        char end;
        int r;

        if (sscanf(name, "region%9u%c", &id, &end) != 1)
                return 0;
        if (asprintf(&link, "%s/bus/nd/devices/%s", root, name) < 0) {
                link = NULL;
                return -ENOMEM;
        }
        path = realpath(link, NULL);
        if (!path)
                return dax_error_is_ours(-errno) ? -errno : 0;
        r = dax_open_folder(path, NULL, &folder);
        if (r >= 0)
                r = dax_read_text(folder, "devtype", type, sizeof(type));
        if (dax_error_is_ours(r))
                return r;
        if (r < 0 || strcmp(type, "nd_pmem") != 0) /* volatile ones, and whatever else there may be */
                return 0;

        r = dax_region_append(list, path, "nvdimm", &region);
        if (r < 0)
                return r;
        region->id = id;
        region->scanned = now_usec();
        r = region_read(region, *list);
        if (r == -ENOENT) {
                DL_DELETE(*list, region);
                dax_region_free(region);
                return 0;
        }
        return r;
}

int nvdimm_scan(DaxRegion **list) {
        return dax_bus_walk("nd", scan_one, list);
}
