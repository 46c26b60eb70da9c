/* SPDX-License-Identifier: MIT */
#pragma once

/* What the admin wants: daxbroker.conf(5) as a structure. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "names.h"

/* inih cuts section names after 49 bytes, and "[Region " stands before the name. */
#define REGION_NAME_MAX 40

typedef enum FilterMode {
        FILTER_KILL, /* a forbidden system call ends the broker */
        FILTER_LOG,  /* the kernel logs it */
        FILTER_OFF,
} FilterMode;

/* When memory that keeps its contents is zeroed; bits. */
typedef enum CleanPolicy {
        CLEAN_ON_FREE = 1,
        CLEAN_ON_ALLOC = 2,
        CLEAN_BOTH = CLEAN_ON_FREE | CLEAN_ON_ALLOC,
} CleanPolicy;

/* Who may have memory again that was freed, and that somebody may still refer to. */
typedef enum RecyclePolicy {
        RECYCLE_DEFAULT, /* witnessed where there is a witness, else owner */
        RECYCLE_OWNER,
        RECYCLE_WITNESSED,
        RECYCLE_ANY,
} RecyclePolicy;

/* What the files of a region have to be good for. */
typedef enum SyncPolicy {
        SYNC_DAX,  /* stores reach the medium by flushes alone: a file system with dax */
        SYNC_NONE, /* any file system; for development */
} SyncPolicy;

/* What is done about a holder who has made his file longer than it is charged for. */
typedef enum GrowthPolicy {
        GROWTH_TRIM, /* it is cut back */
        GROWTH_END,  /* the allocation ends */
} GrowthPolicy;

typedef enum QuotaScope {
        QUOTA_EVERYBODY,
        QUOTA_GROUP,
        QUOTA_USER,
} QuotaScope;

/* Limits of one user, of each member of one group, or of everybody else. */
typedef struct QuotaRule {
        QuotaScope scope;
        uint32_t id;       /* uid or gid */
        uint64_t max_bytes; /* SIZE_INFINITE for no limit */
        uint64_t max_count;
        bool limits_bytes, limits_count; /* which of the two it says anything about */
        char *name;                      /* as written: "user:alice"; "" for everybody's */
        struct QuotaRule *prev, *next;
} QuotaRule;

typedef struct RegionConfig {
        char *name;
        char *provider;
        char *size; /* as written; its meaning can depend on the machine */
        char *source; /* the name of what the kernel has it as; NULL if it is that of the region */
        char *warm;   /* as written, how much of it is made ahead of requests; NULL if not said */
        char *path;   /* the directory of its files, NULL if not said */
        SyncPolicy sync;
        GrowthPolicy growth;
        int numa_node; /* -1 if not said */
        bool enabled;
        CleanPolicy clean;
        uint64_t clean_bandwidth; /* bytes per second, 0 for no limit */
        RecyclePolicy recycle;
        uint64_t drain_timeout; /* microseconds */
        struct RegionConfig *prev, *next;
} RegionConfig;

typedef struct Config {
        char *default_region;
        uint64_t polkit_timeout; /* microseconds */
        uint64_t decision_lifetime; /* microseconds; 0: none is kept */
        uint64_t revoke_timeout; /* microseconds */
        uint64_t max_pending_per_user;
        uint64_t max_connections, max_connections_per_user; /* direct ones */
        uint64_t connection_idle; /* microseconds */
        FilterMode filter;
        bool discover_dax; /* dax regions that no section names become regions, too */
        QuotaRule *quotas; /* utlist; the first is everybody's */
        RegionConfig *regions;
} Config;

/* Reads the files below CONFIGURATION_DIRECTORY, or the usual places. Bad lines are logged, and defaults hold. Reads user
 * and group databases: may block. Errors: -ENOMEM. */
int config_load(Config **ret);
Config *config_free(Config *config);

/* The places where regions keep their files, for the sandbox, which has to be there before anything else is: calls handle
 * with each absolute Path= of the same files, and no word about anything else in them. -ENOMEM, or what handle returns. */
int config_each_path(int (*handle)(const char *path, void *userdata), void *userdata);

/* One line, for config_load() and tests. NULL, or what is wrong with it. */
const char *config_apply(Config *config, const char *section, const char *key, const char *value);
int config_new(Config **ret);

/* What holds of a region that no section says anything about. The name is borrowed. */
RegionConfig config_region_default(const char *name);
