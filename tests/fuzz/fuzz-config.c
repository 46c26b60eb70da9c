/* SPDX-License-Identifier: MIT */

/* Configuration files, from the bytes to the structure. Whatever is in them, what comes out is within its limits. */

#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utlist.h>

#include "config-file.h"
#include "config.h"
#include "file.h"
#include "log.h"
#include "name.h"

/* A folder whose x.conf is a link to a memory file of ours, so that no disk is worn out. */
static char directory[] = "/tmp/daxbroker-fuzz-XXXXXX";
static int file = -1;

static void clean_up(void) {
        char path[sizeof(directory) + 16];

        (void) snprintf(path, sizeof(path), "%s/x.conf", directory);
        (void) unlink(path);
        (void) rmdir(directory);
}

static void set_up(void) {
        char path[sizeof(directory) + 16], target[64];

        file = memfd_create("x.conf", MFD_CLOEXEC);
        check(file >= 0);
        check(mkdtemp(directory));
        (void) atexit(clean_up);
        (void) snprintf(path, sizeof(path), "%s/x.conf", directory);
        (void) snprintf(target, sizeof(target), "/proc/self/fd/%d", file);
        check(symlink(target, path) >= 0);

        /* warnings are what this is about, and nobody reads them */
        check(setenv("DAXBROKER_LOG", "err", 1) >= 0);
        check(log_start() >= 0);
        log_stop();
}

static const char *on_line(const char *section, const char *key, const char *value, void *userdata) {
        check(strlen(section) < 50 && strlen(key) < 50 && strlen(value) < 200);
        check(!strchr(section, '\n') && !strchr(key, '\n') && !strchr(value, '\n'));
        return config_apply(userdata, section, key, value);
}

static void check_config(const Config *config) {
        const RegionConfig *region;
        const QuotaRule *rule;

        check(name_is_valid(config->default_region));
        check(config->polkit_timeout >= 1000000 && config->polkit_timeout <= UINT64_C(3600000000));
        check(config->revoke_timeout >= 1000000 && config->revoke_timeout <= UINT64_C(3600000000));
        check(config->max_pending_per_user >= 1 && config->max_pending_per_user <= 1000000);
        check(config->filter <= FILTER_OFF);
        check(config->quotas->scope == QUOTA_EVERYBODY && config->quotas->limits_bytes && config->quotas->limits_count);
        DL_FOREACH(config->quotas, rule)
                check(rule->limits_bytes || rule->limits_count);
        DL_FOREACH(config->regions, region) {
                check(name_is_valid(region->name) && strlen(region->name) <= REGION_NAME_MAX);
                check(region->numa_node >= -1 && region->numa_node <= 1023);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Config *config;

        if (file < 0)
                set_up();
        check(ftruncate(file, 0) >= 0);
        check(lseek(file, 0, SEEK_SET) == 0);
        check(fd_write_all(file, (const char *) data, size) >= 0);

        check(config_new(&config) >= 0);
        check(config_files_read(directory, "x.conf", on_line, config) >= 0);
        check_config(config);
        config_free(config);
        return 0;
}
