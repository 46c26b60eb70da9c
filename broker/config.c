/* SPDX-License-Identifier: MIT */

/* The configuration: sections [Broker], [Quota], [Quota user:NAME], [Quota uid:N], [Quota group:NAME], [Quota gid:N] and
 * [Region NAME]. Everything has a default, so that the broker works with no file at all: one region, dram, that hands out
 * a quarter of the machine's memory. A line that cannot be understood changes nothing but the log. */

#include "config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "cleanup.h"
#include "config-file.h"
#include "log.h"
#include "name.h"
#include "size.h"

#define DEFAULT_DIRECTORIES "/etc:/run:/usr/local/lib:/usr/lib"

static RegionConfig *region_config_free(RegionConfig *region) {
        if (!region)
                return NULL;

        free(region->name);
        free(region->provider);
        free(region->size);
        free(region->warm);
        free(region->source);
        free(region->path);
        free(region);
        return NULL;
}

static QuotaRule *quota_rule_free(QuotaRule *rule) {
        if (!rule)
                return NULL;

        free(rule->name);
        free(rule);
        return NULL;
}

Config *config_free(Config *config) {
        RegionConfig *region, *next_region;
        QuotaRule *rule, *next_rule;

        if (!config)
                return NULL;

        DL_FOREACH_SAFE(config->regions, region, next_region)
                region_config_free(region);
        DL_FOREACH_SAFE(config->quotas, rule, next_rule)
                quota_rule_free(rule);
        free(config->default_region);
        free(config);
        return NULL;
}

static int string_replace(char **target, const char *value) {
        char *copy;

        copy = strdup(value);
        if (!copy)
                return -ENOMEM;

        free(*target);
        *target = copy;
        return 0;
}

RegionConfig config_region_default(const char *name) {
        return (RegionConfig){
                .name = (char *) (uintptr_t) name,
                .numa_node = -1,
                .enabled = true,
                .clean = CLEAN_ON_FREE,
                .recycle = RECYCLE_DEFAULT,
                .drain_timeout = 30 * UINT64_C(1000000),
        };
}

static RegionConfig *config_region(Config *config, const char *name) {
        RegionConfig *region;

        DL_FOREACH(config->regions, region)
                if (strcmp(region->name, name) == 0)
                        return region;

        region = calloc(1, sizeof(*region));
        if (!region)
                return NULL;
        *region = config_region_default(NULL);
        region->name = strdup(name);
        if (!region->name)
                return region_config_free(region);

        DL_APPEND(config->regions, region);
        return region;
}

static QuotaRule *config_quota(Config *config, QuotaScope scope, uint32_t id, const char *name) {
        QuotaRule *rule;

        DL_FOREACH(config->quotas, rule)
                if (rule->scope == scope && rule->id == id)
                        return rule;

        rule = calloc(1, sizeof(*rule));
        if (!rule)
                return NULL;
        rule->scope = scope;
        rule->id = id;
        rule->name = strdup(name);
        if (!rule->name)
                return quota_rule_free(rule);

        DL_APPEND(config->quotas, rule);
        return rule;
}

static const char *parse_bool(const char *value, bool *ret) {
        static const char *const yes[] = { "yes", "true", "on", "1" }, *const no[] = { "no", "false", "off", "0" };

        for (size_t i = 0; i < 4; i++) {
                if (strcmp(value, yes[i]) == 0) {
                        *ret = true;
                        return NULL;
                }
                if (strcmp(value, no[i]) == 0) {
                        *ret = false;
                        return NULL;
                }
        }

        return "not yes or no";
}

static const char *parse_number(const char *value, uint64_t min, uint64_t max, uint64_t *ret) {
        static _Thread_local char problem[80];
        uint64_t number;
        char *end;

        errno = 0;
        number = strtoull(value, &end, 10);
        if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || number < min || number > max) {
                (void) snprintf(problem, sizeof(problem), "not a number from %llu to %llu", (unsigned long long) min,
                                (unsigned long long) max);
                return problem;
        }

        *ret = number;
        return NULL;
}

static const char *parse_seconds(const char *value, uint64_t min, uint64_t *ret_usec) {
        uint64_t seconds;
        const char *problem;

        problem = parse_number(value, min, 3600, &seconds);
        if (!problem)
                *ret_usec = seconds * 1000000;
        return problem;
}

/* A value that is one of n words: which. */
static const char *parse_word(const char *value, const char *const *words, unsigned n, const char *problem, unsigned *ret) {
        for (unsigned i = 0; i < n; i++)
                if (strcmp(value, words[i]) == 0) {
                        *ret = i;
                        return NULL;
                }

        return problem;
}

static const char *parse_filter(const char *value, FilterMode *ret) {
        static const char *const words[] = { "kill", "log", "off" };
        const char *problem;
        unsigned i;

        problem = parse_word(value, words, 3, "not kill, log or off", &i);
        if (!problem)
                *ret = (FilterMode) i;
        return problem;
}

static const char *parse_clean(const char *value, CleanPolicy *ret) {
        static const char *const words[] = { "on-free", "on-alloc", "both" };
        const char *problem;
        unsigned i;

        problem = parse_word(value, words, 3, "not on-free, on-alloc or both", &i);
        if (!problem)
                *ret = (CleanPolicy) (i + 1);
        return problem;
}

static const char *parse_recycle(const char *value, RecyclePolicy *ret) {
        static const char *const words[] = { "auto", "owner", "witnessed", "any" };
        const char *problem;
        unsigned i;

        problem = parse_word(value, words, 4, "not auto, owner, witnessed or any", &i);
        if (!problem)
                *ret = (RecyclePolicy) i;
        return problem;
}

static const char *parse_sync(const char *value, SyncPolicy *ret) {
        static const char *const words[] = { "dax", "none" };
        const char *problem;
        unsigned i;

        problem = parse_word(value, words, 2, "not dax or none", &i);
        if (!problem)
                *ret = (SyncPolicy) i;
        return problem;
}

static const char *parse_growth(const char *value, GrowthPolicy *ret) {
        static const char *const words[] = { "trim", "end" };
        const char *problem;
        unsigned i;

        problem = parse_word(value, words, 2, "not trim or end", &i);
        if (!problem)
                *ret = (GrowthPolicy) i;
        return problem;
}

static const char *parse_bandwidth(const char *value, uint64_t *ret) {
        uint64_t bandwidth;

        if (size_parse(value, &bandwidth) < 0 || bandwidth < MIB)
                return "not a size from 1M up, nor infinity";

        *ret = bandwidth == SIZE_INFINITE ? 0 : bandwidth;
        return NULL;
}

static const char *apply_broker(Config *config, const char *key, const char *value) {
        if (strcmp(key, "DefaultRegion") == 0) {
                if (!name_is_valid(value))
                        return "not a region's name";
                return string_replace(&config->default_region, value) < 0 ? "out of memory" : NULL;
        }
        if (strcmp(key, "PolkitTimeoutSec") == 0)
                return parse_seconds(value, 1, &config->polkit_timeout);
        if (strcmp(key, "DecisionCacheSec") == 0)
                return parse_seconds(value, 0, &config->decision_lifetime);
        if (strcmp(key, "RevokeTimeoutSec") == 0)
                return parse_seconds(value, 1, &config->revoke_timeout);
        if (strcmp(key, "MaxPendingPerUser") == 0)
                return parse_number(value, 1, 1000000, &config->max_pending_per_user);
        if (strcmp(key, "MaxConnections") == 0)
                return parse_number(value, 1, 100000, &config->max_connections);
        if (strcmp(key, "MaxConnectionsPerUser") == 0)
                return parse_number(value, 1, 100000, &config->max_connections_per_user);
        if (strcmp(key, "ConnectionIdleSec") == 0)
                return parse_seconds(value, 1, &config->connection_idle);
        if (strcmp(key, "SystemCallFilter") == 0)
                return parse_filter(value, &config->filter);
        if (strcmp(key, "DiscoverDax") == 0)
                return parse_bool(value, &config->discover_dax);

        return "no such key in this section";
}

static const char *parse_quota_scope(const char *text, QuotaScope *ret_scope, uint32_t *ret_id) {
        const char *problem;
        uint64_t number;

        if (strncmp(text, "uid:", 4) == 0 || strncmp(text, "gid:", 4) == 0) {
                problem = parse_number(text + 4, 0, UINT32_MAX - 1, &number);
                if (problem)
                        return problem;
                *ret_scope = text[0] == 'u' ? QUOTA_USER : QUOTA_GROUP;
                *ret_id = (uint32_t) number;
                return NULL;
        }
        if (strncmp(text, "user:", 5) == 0) {
                const struct passwd *user = getpwnam(text + 5);

                if (!user)
                        return "there is no such user";
                *ret_scope = QUOTA_USER;
                *ret_id = user->pw_uid;
                return NULL;
        }
        if (strncmp(text, "group:", 6) == 0) {
                const struct group *group = getgrnam(text + 6);

                if (!group)
                        return "there is no such group";
                *ret_scope = QUOTA_GROUP;
                *ret_id = group->gr_gid;
                return NULL;
        }

        return "no such section: [Quota], or [Quota user:NAME], uid:NUMBER, group:NAME, gid:NUMBER";
}

static const char *apply_quota(Config *config, const char *whom, const char *key, const char *value) {
        QuotaScope scope = QUOTA_EVERYBODY;
        uint32_t id = 0;
        uint64_t bytes;
        QuotaRule *rule;
        const char *problem;
        bool of_bytes = strcmp(key, "MaxBytes") == 0;

        if (!of_bytes && strcmp(key, "MaxAllocations") != 0)
                return "no such key in this section";

        if (of_bytes) {
                if (size_parse(value, &bytes) < 0)
                        return "not a size such as 512M or 16G, nor infinity";
        } else if (strcmp(value, "infinity") == 0)
                bytes = SIZE_INFINITE;
        else {
                if (parse_number(value, 0, SIZE_INFINITE - 1, &bytes))
                        return "not a number, nor infinity";
        }

        if (whom[0] != '\0') {
                problem = parse_quota_scope(whom, &scope, &id);
                if (problem)
                        return problem;
        }

        rule = config_quota(config, scope, id, whom);
        if (!rule)
                return "out of memory";
        if (of_bytes) {
                rule->max_bytes = bytes;
                rule->limits_bytes = true;
        } else {
                rule->max_count = bytes;
                rule->limits_count = true;
        }
        return NULL;
}

static const char *apply_region(Config *config, const char *name, const char *key, const char *value) {
        RegionConfig *region;
        const char *problem;
        uint64_t number;

        if (!name_is_valid(name) || strlen(name) > REGION_NAME_MAX)
                return "a region's name has 1 to 40 characters A-Z a-z 0-9 . _ -";
        region = config_region(config, name);
        if (!region)
                return "out of memory";

        if (strcmp(key, "Provider") == 0)
                return string_replace(&region->provider, value) < 0 ? "out of memory" : NULL;
        if (strcmp(key, "Enabled") == 0)
                return parse_bool(value, &region->enabled);
        if (strcmp(key, "Size") == 0) {
                if (size_parse_part(value, SIZE_INFINITE - 1, &number) < 0)
                        return "not a size such as 512M or 16G, nor a part such as 25%, up to 100%";
                return string_replace(&region->size, value) < 0 ? "out of memory" : NULL;
        }
        if (strcmp(key, "Warm") == 0) {
                if (size_parse_part(value, SIZE_INFINITE - 1, &number) < 0 || number == SIZE_INFINITE)
                        return "not a size such as 512M or 16G, nor a part such as 25%, up to 100%";
                return string_replace(&region->warm, value) < 0 ? "out of memory" : NULL;
        }
        if (strcmp(key, "NumaNode") == 0) {
                problem = parse_number(value, 0, 1023, &number);
                if (!problem)
                        region->numa_node = (int) number;
                return problem;
        }
        if (strcmp(key, "Source") == 0) {
                if (value[0] == '\0' || strchr(value, '/') || strcmp(value, ".") == 0 || strcmp(value, "..") == 0)
                        return "not the name of a device";
                return string_replace(&region->source, value) < 0 ? "out of memory" : NULL;
        }
        if (strcmp(key, "Path") == 0) {
                if (value[0] != '/')
                        return "not the absolute path of a directory";
                return string_replace(&region->path, value) < 0 ? "out of memory" : NULL;
        }
        if (strcmp(key, "Sync") == 0)
                return parse_sync(value, &region->sync);
        if (strcmp(key, "Growth") == 0)
                return parse_growth(value, &region->growth);
        if (strcmp(key, "Clean") == 0)
                return parse_clean(value, &region->clean);
        if (strcmp(key, "CleanBandwidth") == 0)
                return parse_bandwidth(value, &region->clean_bandwidth);
        if (strcmp(key, "Recycle") == 0)
                return parse_recycle(value, &region->recycle);
        if (strcmp(key, "DrainSec") == 0)
                return parse_seconds(value, 1, &region->drain_timeout);

        return "no such key in this section";
}

const char *config_apply(Config *config, const char *section, const char *key, const char *value) {
        if (strcmp(section, "Broker") == 0)
                return apply_broker(config, key, value);
        if (strcmp(section, "Quota") == 0)
                return apply_quota(config, "", key, value);
        if (strncmp(section, "Quota ", 6) == 0)
                return apply_quota(config, section + 6, key, value);
        if (strncmp(section, "Region ", 7) == 0)
                return apply_region(config, section + 7, key, value);

        return "no such section";
}

static const char *apply_line(const char *section, const char *key, const char *value, void *userdata) {
        return config_apply(userdata, section, key, value);
}

int config_new(Config **ret) {
        Config *config;
        RegionConfig *dram;
        QuotaRule *everybody;

        config = calloc(1, sizeof(*config));
        if (!config)
                return -ENOMEM;

        config->polkit_timeout = 20 * UINT64_C(1000000); /* polkit itself ends a rule after 15 */
        config->decision_lifetime = 5 * UINT64_C(1000000);
        config->revoke_timeout = 10 * UINT64_C(1000000);
        config->max_pending_per_user = 1024;
        config->max_connections = 4096;
        config->max_connections_per_user = 512;
        config->connection_idle = 60 * UINT64_C(1000000);
        config->filter = FILTER_KILL;
        config->discover_dax = true;

        dram = config_region(config, "dram");
        everybody = config_quota(config, QUOTA_EVERYBODY, 0, "");
        if (!dram || !everybody || string_replace(&config->default_region, "dram") < 0 ||
            string_replace(&dram->provider, "memfd") < 0 || string_replace(&dram->size, "25%") < 0) {
                config_free(config);
                return -ENOMEM;
        }

        everybody->limits_bytes = everybody->limits_count = true;
        everybody->max_bytes = SIZE_INFINITE;
        everybody->max_count = 1024;

        *ret = config;
        return 0;
}

static const char *configuration_directories(void) {
        const char *directories = getenv("CONFIGURATION_DIRECTORY");

        return directories ? directories : DEFAULT_DIRECTORIES;
}

int config_load(Config **ret) {
        Config *config;
        int r;

        r = config_new(&config);
        if (r < 0)
                return r;

        r = config_files_read(configuration_directories(), "daxbroker.conf", false, apply_line, config);
        if (r < 0) {
                config_free(config);
                return r;
        }

        *ret = config;
        return 0;
}

typedef struct PathReader {
        int (*handle)(const char *path, void *userdata);
        void *userdata;
        int r;
} PathReader;

/* What is wrong with other lines is said when they are read for good. */
static const char *handle_path_line(const char *section, const char *key, const char *value, void *userdata) {
        PathReader *reader = userdata;

        if (reader->r >= 0 && strncmp(section, "Region ", 7) == 0 && strcmp(key, "Path") == 0 && value[0] == '/')
                reader->r = reader->handle(value, reader->userdata);
        return NULL;
}

int config_each_path(int (*handle)(const char *path, void *userdata), void *userdata) {
        PathReader reader = { .handle = handle, .userdata = userdata };
        int r;

        r = config_files_read(configuration_directories(), "daxbroker.conf", true, handle_path_line, &reader);
        return r < 0 ? r : reader.r;
}
