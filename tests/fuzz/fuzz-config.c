/* SPDX-License-Identifier: MIT */

/* Configuration files, from the bytes to the structure. Whatever is in them, what comes out is within its limits. */

#include "fuzz.h"

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
#include "size.h"

/* A memory file of ours, so that no disk is worn out: "fd/N", below /proc/self. */
static char name[32];
static int file = -1;

static void set_up(void) {
        file = memfd_create("daxbroker.conf", MFD_CLOEXEC);
        check(file >= 0);
        (void) snprintf(name, sizeof(name), "fd/%d", file);

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
                check(region->clean >= CLEAN_ON_FREE && region->clean <= CLEAN_BOTH && region->recycle <= RECYCLE_ANY);
                check(region->clean_bandwidth == 0 || region->clean_bandwidth >= MIB);
                check(region->drain_timeout >= 1000000 && region->drain_timeout <= UINT64_C(3600000000));
                check(!region->source || (region->source[0] != '\0' && !strchr(region->source, '/')));
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
        check(config_files_read("/proc/self", name, false, on_line, config) >= 0);
        check_config(config);
        config_free(config);
        return 0;
}
