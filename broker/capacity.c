/* SPDX-License-Identifier: MIT */

/* What an allocation takes of things that the machine has not got without end. One user alone may be allowed more than they
 * are good for, and it is better to be told so at the start, or when the configuration was read again, than by the request
 * that fails. How many users there will be nobody can tell. Only descriptors are counted afterwards: what has run out
 * elsewhere is found out by trying.
 *
 * Pipes are not limited in number, but in what they have room for (fs.pipe-user-pages-soft): leases have no use for that. */

#include "capacity.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "fd-bundle.h"
#include "fd-store.h"
#include "file.h"
#include "log.h"
#include "manager.h"
#include "size.h"

/* Descriptors beside those of allocations: bus, log, timers, and what is in flight. */
#define FDS_RESERVED 128
/* A live allocation needs two, its memory and its lease; the third is for those that are on their way to a holder. */
#define FDS_PER_ALLOCATION 3
/* Of all processes together: the same, and the holder's. */
#define FILES_PER_ALLOCATION 4
/* A device's node is watched, and twice more by the time that it ends. */
#define WATCHES_PER_DEVICE 3

/* As many as bundles can hold when half of what is in each was removed. */
#define STORED_MAX ((uint64_t) FD_BUNDLES_MAX * FD_BUNDLE_MAX / 2)
#define DEVICES_MAX (FD_STORE_MAX / 2)

#define FDS_MAX_FILE "/proc/sys/fs/nr_open"
#define FILES_MAX_FILE "/proc/sys/fs/file-max"
#define WATCHES_MAX_FILE "/proc/sys/fs/inotify/max_user_watches"

static uint64_t lower_of(uint64_t a, uint64_t b) {
        return a < b ? a : b;
}

/* The kernel goes by the lower one, and raises nothing as long as the other is higher. */
static rlim_t fds_max(const struct rlimit *limit) {
        uint64_t nr_open;

        return file_read_uint64(FDS_MAX_FILE, &nr_open) >= 0 ? lower_of(nr_open, limit->rlim_max) : limit->rlim_max;
}

uint64_t capacity_raise(void) {
        struct rlimit limit;
        uint64_t n;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return 1;
        limit.rlim_cur = limit.rlim_max = fds_max(&limit);
        (void) setrlimit(RLIMIT_NOFILE, &limit);
        (void) getrlimit(RLIMIT_NOFILE, &limit);

        n = limit.rlim_cur > FDS_RESERVED + FDS_PER_ALLOCATION ? (limit.rlim_cur - FDS_RESERVED) / FDS_PER_ALLOCATION : 1;
        return getenv("NOTIFY_SOCKET") ? lower_of(n, STORED_MAX) : n;
}

static uint64_t most_allowed(const Config *config) {
        const QuotaRule *rule;
        uint64_t most = 0;

        DL_FOREACH(config->quotas, rule)
                if (rule->limits_count && rule->max_count != SIZE_INFINITE && rule->max_count > most)
                        most = rule->max_count;
        return most;
}

static void check(uint64_t n, uint64_t most, const char *remedy) {
        if (n < most)
                log_warning("the broker can keep %" PRIu64 " allocations of all users together, and MaxAllocations= is %"
                            PRIu64 " for one of them; %s raises the first",
                            n, most, remedy);
}

static void check_fds(const Manager *manager, uint64_t most) {
        struct rlimit limit;
        uint64_t nr_open;

        if (getrlimit(RLIMIT_NOFILE, &limit) >= 0 && file_read_uint64(FDS_MAX_FILE, &nr_open) >= 0 &&
            nr_open <= limit.rlim_max)
                check(manager->max_allocations, most, "the sysctl fs.nr_open, with LimitNOFILE=,");
        else
                check(manager->max_allocations, most,
                      manager->max_allocations < STORED_MAX ? "LimitNOFILE=" : "nothing that can be configured");
}

/* Each has a page for its record, and an inode for its lease. 0 blocks or inodes of a file system are no limit. */
static void check_runtime(const Manager *manager, uint64_t most) {
        struct statvfs fs;

        if (fstatvfs(manager->leases_dir, &fs) < 0)
                return;
        if (fs.f_blocks > 0)
                check(manager->n_allocations + fs.f_bavail, most,
                      "more room where RUNTIME_DIRECTORY is, mount option size=,");
        if (fs.f_files > 0)
                check(manager->n_allocations + fs.f_favail, most,
                      "more inodes where RUNTIME_DIRECTORY is, mount option nr_inodes=,");
}

static bool has_devices(const Manager *manager) {
        const Region *region;

        DL_FOREACH(manager->regions, region)
                if (region->provider && region->provider->node)
                        return true;
        return false;
}

void capacity_check(const Manager *manager) {
        uint64_t most = most_allowed(manager->config), n;

        check_fds(manager, most);
        check_runtime(manager, most);
        if (file_read_uint64(FILES_MAX_FILE, &n) >= 0)
                check(n / FILES_PER_ALLOCATION, most, "the sysctl fs.file-max");
        if (has_devices(manager) && file_read_uint64(WATCHES_MAX_FILE, &n) >= 0)
                check(n / WATCHES_PER_DEVICE, lower_of(most, DEVICES_MAX), "the sysctl fs.inotify.max_user_watches");
}
