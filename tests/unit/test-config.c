/* SPDX-License-Identifier: MIT */

/* The configuration: which files are read, what their lines may be, and what the lines mean. */

#include "config.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "config-file.h"
#include "size.h"

/* ---- What lines mean ------------------------------------------------------------------------------------------------ */

static Config *config(void) {
        Config *c;

        g_assert_cmpint(config_new(&c), ==, 0);
        return c;
}

static void assert_takes(Config *c, const char *section, const char *key, const char *value) {
        g_assert_cmpstr(config_apply(c, section, key, value), ==, NULL);
}

static void assert_refuses(Config *c, const char *section, const char *key, const char *value, const char *words) {
        const char *problem = config_apply(c, section, key, value);

        if (!problem || !strstr(problem, words))
                g_error("[%s] %s=%s: \"%s\" does not say \"%s\"", section, key, value, problem ? problem : "(fine)", words);
}

static const RegionConfig *find_region(const Config *c, const char *name) {
        const RegionConfig *region;

        DL_FOREACH(c->regions, region)
                if (strcmp(region->name, name) == 0)
                        return region;
        return NULL;
}

/* One that has to be there. */
static const RegionConfig *get_region(const Config *c, const char *name) {
        const RegionConfig *region = find_region(c, name);

        if (!region)
                g_error("there is no region '%s'", name);
        return region;
}

static unsigned count_quotas(const Config *c) {
        const QuotaRule *rule;
        unsigned n = 0;

        DL_FOREACH(c->quotas, rule)
                n++;
        return n;
}

static void test_defaults(void) {
        Config *c = config();
        const RegionConfig *dram = find_region(c, "dram");

        g_assert_cmpstr(c->default_region, ==, "dram");
        g_assert_cmpuint(c->polkit_timeout, ==, 20000000);
        g_assert_cmpuint(c->revoke_timeout, ==, 10000000);
        g_assert_cmpuint(c->max_pending_per_user, ==, 1024);
        g_assert_cmpint(c->filter, ==, FILTER_KILL);
        g_assert_true(c->discover_dax);
        g_assert_nonnull(dram);
        g_assert_cmpstr(dram->provider, ==, "memfd");
        g_assert_cmpstr(dram->size, ==, "25%");
        g_assert_cmpint(dram->numa_node, ==, -1);
        g_assert_true(dram->enabled);
        g_assert_cmpstr(dram->source, ==, NULL);
        g_assert_cmpint(dram->clean, ==, CLEAN_ON_FREE);
        g_assert_cmpuint(dram->clean_bandwidth, ==, 0);
        g_assert_cmpint(dram->recycle, ==, RECYCLE_DEFAULT);
        g_assert_cmpuint(dram->drain_timeout, ==, 30000000);
        g_assert_null(dram->next);
        g_assert_cmpint(c->quotas->scope, ==, QUOTA_EVERYBODY);
        g_assert_cmpuint(c->quotas->max_bytes, ==, SIZE_INFINITE);
        g_assert_cmpuint(c->quotas->max_count, ==, 1024);
        g_assert_null(config_free(c));
        g_assert_null(config_free(NULL));
}

static void test_broker(void) {
        Config *c = config();

        assert_takes(c, "Broker", "DefaultRegion", "hbm.0");
        g_assert_cmpstr(c->default_region, ==, "hbm.0");
        assert_refuses(c, "Broker", "DefaultRegion", "", "not a region's name");
        assert_refuses(c, "Broker", "DefaultRegion", "a/b", "not a region's name");
        g_assert_cmpstr(c->default_region, ==, "hbm.0");

        assert_takes(c, "Broker", "PolkitTimeoutSec", "1");
        g_assert_cmpuint(c->polkit_timeout, ==, 1000000);
        assert_takes(c, "Broker", "RevokeTimeoutSec", "3600");
        g_assert_cmpuint(c->revoke_timeout, ==, UINT64_C(3600000000));
        g_assert_cmpuint(c->decision_lifetime, ==, 5000000);
        assert_takes(c, "Broker", "DecisionCacheSec", "3600");
        g_assert_cmpuint(c->decision_lifetime, ==, UINT64_C(3600000000));
        assert_takes(c, "Broker", "DecisionCacheSec", "0");
        g_assert_cmpuint(c->decision_lifetime, ==, 0);
        assert_takes(c, "Broker", "MaxPendingPerUser", "1000000");
        assert_takes(c, "Broker", "MaxConnections", "100000");
        assert_takes(c, "Broker", "MaxConnectionsPerUser", "1");
        assert_takes(c, "Broker", "ConnectionIdleSec", "3600");
        g_assert_cmpuint(c->max_pending_per_user, ==, 1000000);

        assert_takes(c, "Broker", "SystemCallFilter", "log");
        g_assert_cmpint(c->filter, ==, FILTER_LOG);
        assert_takes(c, "Broker", "SystemCallFilter", "off");
        g_assert_cmpint(c->filter, ==, FILTER_OFF);
        assert_takes(c, "Broker", "SystemCallFilter", "kill");
        g_assert_cmpint(c->filter, ==, FILTER_KILL);
        assert_refuses(c, "Broker", "SystemCallFilter", "Off", "not kill, log or off");
        assert_refuses(c, "Broker", "SystemCallFilter", "", "not kill, log or off");
        g_assert_cmpint(c->filter, ==, FILTER_KILL);

        assert_takes(c, "Broker", "DiscoverDax", "no");
        g_assert_false(c->discover_dax);
        assert_refuses(c, "Broker", "DiscoverDax", "never", "not yes or no");
        g_assert_false(c->discover_dax);
        config_free(c);
}

static void test_numbers(void) {
        static const char *const bad[] = {
                "", "0", "-1", "+1", " 1", "1 ", "1s", "3601", "0x10", "1.5", "99999999999999999999", "many", "10sec",
        };
        Config *c = config();

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                assert_refuses(c, "Broker", "PolkitTimeoutSec", bad[i], "not a number from 1 to 3600");
                assert_refuses(c, "Broker", "RevokeTimeoutSec", bad[i], "not a number from 1 to 3600");
                if (strcmp(bad[i], "0") != 0)
                        assert_refuses(c, "Broker", "DecisionCacheSec", bad[i], "not a number from 0 to 3600");
        }
        g_assert_cmpuint(c->polkit_timeout, ==, 20000000);
        g_assert_cmpuint(c->revoke_timeout, ==, 10000000);
        assert_refuses(c, "Broker", "MaxPendingPerUser", "0", "1 to 1000000");
        assert_refuses(c, "Broker", "MaxPendingPerUser", "1000001", "1 to 1000000");
        assert_refuses(c, "Broker", "MaxConnections", "0", "1 to 100000");
        assert_refuses(c, "Broker", "MaxConnectionsPerUser", "100001", "1 to 100000");
        assert_refuses(c, "Broker", "ConnectionIdleSec", "0", "1 to 3600");
        config_free(c);
}

static void test_quota(void) {
        Config *c = config();

        assert_takes(c, "Quota", "MaxBytes", "1.5G");
        g_assert_cmpuint(c->quotas->max_bytes, ==, GIB + GIB / 2);
        assert_takes(c, "Quota", "MaxBytes", "0");
        g_assert_cmpuint(c->quotas->max_bytes, ==, 0);
        assert_takes(c, "Quota", "MaxBytes", "18446744073709551614");
        assert_takes(c, "Quota", "MaxBytes", "infinity");
        g_assert_cmpuint(c->quotas->max_bytes, ==, SIZE_INFINITE);
        assert_takes(c, "Quota", "MaxAllocations", "0");
        g_assert_cmpuint(c->quotas->max_count, ==, 0);
        assert_takes(c, "Quota", "MaxAllocations", "infinity");
        g_assert_cmpuint(c->quotas->max_count, ==, SIZE_INFINITE);

        assert_refuses(c, "Quota", "MaxBytes", "25%", "not a size");
        assert_refuses(c, "Quota", "MaxBytes", "", "not a size");
        assert_refuses(c, "Quota", "MaxBytes", "18446744073709551615", "not a size");
        assert_refuses(c, "Quota", "MaxAllocations", "1K", "not a number, nor infinity");
        assert_refuses(c, "Quota", "MaxAllocations", "18446744073709551615", "not a number");
        assert_refuses(c, "Quota", "MaxAllocation", "1", "no such key");
        g_assert_cmpuint(count_quotas(c), ==, 1);
        config_free(c);
}

static void test_quota_scopes(void) {
        static const char *const bad[] = {
                "alice", "uid:", "uid:-1", "uid:x", "uid:4294967295", "uid:4294967296", "gid:", "gid:1 ", "uid:1:2", "UID:1",
                " uid:1",
        };
        const QuotaRule *root;
        Config *c = config();

        assert_takes(c, "Quota user:root", "MaxBytes", "1M");
        root = c->quotas->next;
        g_assert_cmpint(root->scope, ==, QUOTA_USER);
        g_assert_cmpuint(root->id, ==, 0);
        g_assert_cmpstr(root->name, ==, "user:root");
        g_assert_true(root->limits_bytes);
        g_assert_false(root->limits_count);

        /* The same one by its number. */
        assert_takes(c, "Quota uid:0", "MaxAllocations", "7");
        g_assert_cmpuint(count_quotas(c), ==, 2);
        g_assert_true(root->limits_count);
        g_assert_cmpuint(root->max_count, ==, 7);
        g_assert_cmpuint(root->max_bytes, ==, MIB);

        assert_takes(c, "Quota group:root", "MaxBytes", "2M");
        assert_takes(c, "Quota gid:0", "MaxBytes", "3M");
        g_assert_cmpuint(count_quotas(c), ==, 3);
        g_assert_cmpint(root->next->scope, ==, QUOTA_GROUP);
        g_assert_cmpuint(root->next->max_bytes, ==, 3 * MIB);
        assert_takes(c, "Quota uid:4294967294", "MaxBytes", "1");
        g_assert_cmpuint(count_quotas(c), ==, 4);

        assert_refuses(c, "Quota user:no-such-user-here", "MaxBytes", "1", "no such user");
        assert_refuses(c, "Quota group:no-such-group-here", "MaxBytes", "1", "no such group");
        assert_refuses(c, "Quota user:", "MaxBytes", "1", "no such user");
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autofree char *section = g_strconcat("Quota ", bad[i], NULL);

                assert_refuses(c, section, "MaxBytes", "1", "");
        }
        /* Neither does a bad value make one. */
        assert_refuses(c, "Quota uid:5", "MaxBytes", "lots", "not a size");
        g_assert_cmpuint(count_quotas(c), ==, 4);
        config_free(c);
}

static void test_regions(void) {
        g_autofree char *longest = g_strnfill(REGION_NAME_MAX, 'r'), *longer = g_strnfill(REGION_NAME_MAX + 1, 'r');
        g_autofree char *good = g_strconcat("Region ", longest, NULL), *bad = g_strconcat("Region ", longer, NULL);
        const RegionConfig *fast;
        Config *c = config();

        assert_takes(c, "Region fast", "Provider", "memfd");
        assert_takes(c, "Region fast", "Size", "50%");
        g_assert_null(get_region(c, "fast")->warm);
        assert_takes(c, "Region fast", "Warm", "12%");
        assert_takes(c, "Region fast", "Warm", "0");
        assert_takes(c, "Region fast", "NumaNode", "1023");
        assert_takes(c, "Region fast", "Enabled", "no");
        fast = get_region(c, "fast");
        g_assert_cmpstr(fast->provider, ==, "memfd");
        g_assert_cmpstr(fast->size, ==, "50%");
        g_assert_cmpint(fast->numa_node, ==, 1023);
        g_assert_false(fast->enabled);

        assert_refuses(c, "Region fast", "Size", "101%", "up to 100%");
        assert_refuses(c, "Region fast", "Size", "", "not a size");
        assert_refuses(c, "Region fast", "Warm", "101%", "not a size");
        assert_refuses(c, "Region fast", "Warm", "infinity", "not a size");
        assert_refuses(c, "Region fast", "Warm", "", "not a size");
        g_assert_cmpstr(fast->warm, ==, "0");
        assert_refuses(c, "Region fast", "NumaNode", "1024", "0 to 1023");
        assert_refuses(c, "Region fast", "NumaNode", "-1", "0 to 1023");
        assert_refuses(c, "Region fast", "Enabled", "maybe", "not yes or no");
        assert_refuses(c, "Region fast", "Speed", "1", "no such key");
        g_assert_cmpstr(fast->size, ==, "50%");
        g_assert_cmpint(fast->numa_node, ==, 1023);

        assert_takes(c, good, "Size", "1G");
        assert_refuses(c, bad, "Size", "1G", "1 to 40 characters");
        assert_refuses(c, "Region ", "Size", "1G", "1 to 40 characters");
        assert_refuses(c, "Region a b", "Size", "1G", "1 to 40 characters");
        config_free(c);
}

/* What matters where memory keeps its contents. */
static void test_dax_regions(void) {
        static const char *const bad_sources[] = { "", ".", "..", "../hmem.0", "/sys/devices/platform/hmem.0" };
        static const char *const bad_bandwidths[] = { "", "0", "1", "1048575", "25%", "4GB/s", "-1" };
        const RegionConfig *fast;
        Config *c = config();

        assert_takes(c, "Region fast", "Provider", "devdax");
        fast = get_region(c, "fast");
        g_assert_cmpint(fast->clean, ==, CLEAN_ON_FREE);
        assert_takes(c, "Region fast", "Source", "hmem.0");
        for (size_t i = 0; i < G_N_ELEMENTS(bad_sources); i++)
                assert_refuses(c, "Region fast", "Source", bad_sources[i], "not the name of a device");
        g_assert_cmpstr(fast->source, ==, "hmem.0");

        assert_takes(c, "Region fast", "Clean", "both");
        g_assert_cmpint(fast->clean, ==, CLEAN_ON_FREE | CLEAN_ON_ALLOC);
        assert_takes(c, "Region fast", "Clean", "on-free");
        g_assert_cmpint(fast->clean, ==, CLEAN_ON_FREE);
        assert_takes(c, "Region fast", "Clean", "on-alloc");
        assert_refuses(c, "Region fast", "Clean", "never", "not on-free, on-alloc or both");
        assert_refuses(c, "Region fast", "Clean", "", "not on-free, on-alloc or both");
        g_assert_cmpint(fast->clean, ==, CLEAN_ON_ALLOC);

        assert_takes(c, "Region fast", "CleanBandwidth", "1M");
        assert_takes(c, "Region fast", "CleanBandwidth", "1.5G");
        for (size_t i = 0; i < G_N_ELEMENTS(bad_bandwidths); i++)
                assert_refuses(c, "Region fast", "CleanBandwidth", bad_bandwidths[i], "not a size from 1M up");
        g_assert_cmpuint(fast->clean_bandwidth, ==, GIB + GIB / 2);
        assert_takes(c, "Region fast", "CleanBandwidth", "infinity");
        g_assert_cmpuint(fast->clean_bandwidth, ==, 0);

        assert_takes(c, "Region fast", "Recycle", "owner");
        g_assert_cmpint(fast->recycle, ==, RECYCLE_OWNER);
        assert_takes(c, "Region fast", "Recycle", "any");
        g_assert_cmpint(fast->recycle, ==, RECYCLE_ANY);
        assert_takes(c, "Region fast", "Recycle", "auto");
        g_assert_cmpint(fast->recycle, ==, RECYCLE_DEFAULT);
        assert_takes(c, "Region fast", "Recycle", "witnessed");
        assert_refuses(c, "Region fast", "Recycle", "anybody", "not auto, owner, witnessed or any");
        g_assert_cmpint(fast->recycle, ==, RECYCLE_WITNESSED);

        assert_takes(c, "Region fast", "DrainSec", "1");
        g_assert_cmpuint(fast->drain_timeout, ==, 1000000);
        assert_refuses(c, "Region fast", "DrainSec", "0", "1 to 3600");
        assert_refuses(c, "Region fast", "DrainSec", "infinity", "1 to 3600");
        g_assert_cmpuint(fast->drain_timeout, ==, 1000000);
        config_free(c);
}

/* What matters where memory is files. */
static void test_directories(void) {
        const RegionConfig *lasting;
        Config *c = config();

        assert_takes(c, "Region lasting", "Provider", "fsdax");
        lasting = get_region(c, "lasting");
        g_assert_null(lasting->path);
        g_assert_cmpint(lasting->sync, ==, SYNC_DAX);
        g_assert_cmpint(lasting->growth, ==, GROWTH_TRIM);

        assert_takes(c, "Region lasting", "Path", "/srv/daxbroker/pmem0");
        assert_refuses(c, "Region lasting", "Path", "", "absolute path");
        assert_refuses(c, "Region lasting", "Path", "pmem0", "absolute path");
        g_assert_cmpstr(lasting->path, ==, "/srv/daxbroker/pmem0");
        assert_takes(c, "Region lasting", "Sync", "none");
        assert_refuses(c, "Region lasting", "Sync", "yes", "dax or none");
        g_assert_cmpint(lasting->sync, ==, SYNC_NONE);
        assert_takes(c, "Region lasting", "Growth", "end");
        assert_refuses(c, "Region lasting", "Growth", "", "trim or end");
        g_assert_cmpint(lasting->growth, ==, GROWTH_END);
        config_free(c);
}

static void test_bools(void) {
        static const char *const yes[] = { "yes", "true", "on", "1" }, *const no[] = { "no", "false", "off", "0" };
        Config *c = config();
        const RegionConfig *dram = find_region(c, "dram");

        for (size_t i = 0; i < 4; i++) {
                assert_takes(c, "Region dram", "Enabled", no[i]);
                g_assert_false(dram->enabled);
                assert_takes(c, "Region dram", "Enabled", yes[i]);
                g_assert_true(dram->enabled);
        }
        assert_refuses(c, "Region dram", "Enabled", "", "yes or no");
        assert_refuses(c, "Region dram", "Enabled", "YES", "yes or no");
        config_free(c);
}

static void test_sections(void) {
        static const char *const bad[] = {"", "broker", "Broker ", "Quotas", "Region", "Regions", "Broker x", "quota uid:1"};
        Config *c = config();

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                assert_refuses(c, bad[i], "MaxBytes", "1", "no such section");
        assert_refuses(c, "Broker", "MaxBytes", "1", "no such key");
        assert_refuses(c, "Broker", "", "", "no such key");
        g_assert_cmpuint(count_quotas(c), ==, 1);
        config_free(c);
}

/* ---- Files ---------------------------------------------------------------------------------------------------------- */

typedef struct Tree {
        char *path, *first, *second; /* the second and third are folders below the first */
        char *directories;           /* both, as config_files_read() wants them */
        GString *lines;              /* what the handler got, "section|key|value\n" */
        char *log;                   /* what was said about it */
        bool refuses;
} Tree;

static void tree_mkdir(const char *path) {
        g_assert_cmpint(g_mkdir_with_parents(path, 0700), ==, 0);
}

static void tree_init(Tree *tree) {
        *tree = (Tree) { .path = g_dir_make_tmp("daxbroker-config-XXXXXX", NULL), .lines = g_string_new(NULL) };
        g_assert_nonnull(tree->path);
        tree->first = g_build_filename(tree->path, "etc", NULL);
        tree->second = g_build_filename(tree->path, "usr", NULL);
        tree->directories = g_strdup_printf("%s:%s", tree->first, tree->second);
        tree_mkdir(tree->first);
        tree_mkdir(tree->second);
}

static void remove_all(const char *path) {
        g_autoptr(GDir) directory = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
        const char *name;

        while (directory && (name = g_dir_read_name(directory))) {
                g_autofree char *child = g_build_filename(path, name, NULL);

                remove_all(child);
        }
        g_assert_cmpint(g_remove(path), ==, 0);
}

static void tree_done(Tree *tree) {
        remove_all(tree->path);
        g_free(tree->path);
        g_free(tree->first);
        g_free(tree->second);
        g_free(tree->directories);
        g_string_free(tree->lines, TRUE);
        g_free(tree->log);
}

static void tree_put_bytes(const Tree *tree, const char *name, const char *text, gssize size) {
        g_autofree char *path = g_build_filename(tree->path, name, NULL), *directory = g_path_get_dirname(path);

        tree_mkdir(directory);
        g_assert_true(g_file_set_contents(path, text, size, NULL));
}

static void tree_put(const Tree *tree, const char *name, const char *text) {
        tree_put_bytes(tree, name, text, -1);
}

static const char *on_line(const char *section, const char *key, const char *value, void *userdata) {
        Tree *tree = userdata;

        g_string_append_printf(tree->lines, "%s|%s|%s\n", section, key, value);
        return tree->refuses ? "it displeases" : NULL;
}

/* Reads everything, with standard error going to a file. */
static void tree_read(Tree *tree) {
        int file = memfd_create("log", MFD_CLOEXEC), saved = dup(STDERR_FILENO);
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", file);

        g_assert_cmpint(file, >=, 0);
        g_assert_cmpint(saved, >=, 0);
        g_string_truncate(tree->lines, 0);
        g_clear_pointer(&tree->log, g_free);

        g_assert_cmpint(dup2(file, STDERR_FILENO), >=, 0);
        g_assert_cmpint(config_files_read(tree->directories, "x.conf", false, on_line, tree), ==, 0);
        g_assert_cmpint(dup2(saved, STDERR_FILENO), >=, 0);
        g_assert_true(g_file_get_contents(path, &tree->log, NULL, NULL));
        close(file);
        close(saved);
}

static void assert_lines(Tree *tree, const char *lines) {
        tree_read(tree);
        g_assert_cmpstr(tree->lines->str, ==, lines);
}

/* One warning, about this line of that file, with these words. */
static void assert_warning(const Tree *tree, const char *where, const char *words) {
        if (!strstr(tree->log, where) || !strstr(tree->log, words) || strchr(tree->log, '\n') != strrchr(tree->log, '\n'))
                g_error("\"%s\" does not say \"%s\" about %s", tree->log, words, where);
}

static void assert_silent(const Tree *tree) {
        g_assert_cmpstr(tree->log, ==, "");
}

static void test_no_files(void) {
        Tree tree;

        tree_init(&tree);
        assert_lines(&tree, "");
        assert_silent(&tree);
        g_assert_cmpint(config_files_read("", "x.conf", false, on_line, &tree), ==, 0);
        g_assert_cmpint(config_files_read("relative:./also:", "x.conf", false, on_line, &tree), ==, 0);
        g_assert_cmpint(config_files_read("/nowhere/at/all", "x.conf", false, on_line, &tree), ==, 0);
        tree_done(&tree);
}

static void test_precedence(void) {
        Tree tree;

        tree_init(&tree);
        tree_put(&tree, "usr/x.conf", "[S]\nk=usr\n");
        assert_lines(&tree, "S|k|usr\n");
        tree_put(&tree, "etc/x.conf", "[S]\nk=etc\n");
        assert_lines(&tree, "S|k|etc\n");

        /* Drop-ins come after, in the order of their names, wherever they are. */
        tree_put(&tree, "etc/x.conf.d/20.conf", "[S]\nk=etc20\n");
        tree_put(&tree, "usr/x.conf.d/30.conf", "[S]\nk=usr30\n");
        tree_put(&tree, "usr/x.conf.d/10.conf", "[S]\nk=usr10\n");
        assert_lines(&tree, "S|k|etc\nS|k|usr10\nS|k|etc20\nS|k|usr30\n");

        /* One of the same name hides the other. */
        tree_put(&tree, "etc/x.conf.d/10.conf", "[S]\nk=etc10\n");
        assert_lines(&tree, "S|k|etc\nS|k|etc10\nS|k|etc20\nS|k|usr30\n");
        assert_silent(&tree);
        tree_done(&tree);
}

static void test_masks(void) {
        g_autofree char *link = NULL;
        Tree tree;

        tree_init(&tree);
        tree_put(&tree, "usr/x.conf", "[S]\nk=usr\n");
        tree_put(&tree, "etc/x.conf", "");
        tree_put(&tree, "usr/x.conf.d/10.conf", "[S]\nk=10\n");
        tree_put(&tree, "etc/x.conf.d/10.conf", "");
        tree_put(&tree, "usr/x.conf.d/20.conf", "[S]\nk=20\n");
        link = g_build_filename(tree.first, "x.conf.d/20.conf", NULL);
        g_assert_cmpint(symlink("/dev/null", link), ==, 0);
        assert_lines(&tree, "");
        assert_silent(&tree);
        tree_done(&tree);
}

static void test_other_files(void) {
        Tree tree;

        tree_init(&tree);
        tree_put(&tree, "etc/x.conf.d/10.conf~", "[S]\nk=1\n");
        tree_put(&tree, "etc/x.conf.d/.hidden.conf", "[S]\nk=2\n");
        tree_put(&tree, "etc/x.conf.d/.conf", "[S]\nk=3\n");
        tree_put(&tree, "etc/x.conf.d/conf", "[S]\nk=4\n");
        tree_put(&tree, "etc/x.conf.d/README", "[S]\nk=5\n");
        tree_put(&tree, "etc/x.conf.d/10.conf.dpkg-old", "[S]\nk=6\n");
        tree_put(&tree, "etc/y.conf", "[S]\nk=7\n");
        assert_lines(&tree, "");
        assert_silent(&tree);
        tree_done(&tree);
}

/* What is no file is said and passed over, and the rest is read. */
static void test_not_files(void) {
        g_autofree char *fifo = NULL, *drop_ins = NULL;
        Tree tree;

        tree_init(&tree);
        tree_put(&tree, "usr/x.conf", "[S]\nk=usr\n");
        tree_put(&tree, "etc/x.conf/file", "");
        tree_put(&tree, "usr/x.conf.d/50.conf", "[S]\nk=50\n");
        assert_lines(&tree, "S|k|50\n");
        assert_warning(&tree, "etc/x.conf:", "not a file");
        tree_done(&tree);

        tree_init(&tree);
        drop_ins = g_build_filename(tree.first, "x.conf.d", NULL);
        tree_mkdir(drop_ins);
        g_assert_cmpint(symlink("nowhere", (fifo = g_build_filename(drop_ins, "10.conf", NULL))), ==, 0);
        tree_put(&tree, "etc/x.conf.d/20.conf", "[S]\nk=20\n");
        tree_put(&tree, "usr/x.conf.d", "a file where a folder should be");
        assert_lines(&tree, "S|k|20\n");
        assert_silent(&tree);
        tree_done(&tree);
}

static void test_plain_lines(void) {
        Tree tree;

        tree_init(&tree);
        tree_put(&tree, "etc/x.conf",
                 "# comment\n; comment\n# a comment with something far to the right, behind a colon: here\n\n   \n"
                 "[S one]\nk=v\n key = v w \nempty=\na:b\nk=a=b:c\n\t[T]  # why\n\tk=1 ; why\n"
                 "k=2;3\nk=# no comment\n");
        assert_lines(&tree, "S one|k|v\nS one|key|v w\nS one|empty|\nS one|a|b\nS one|k|a=b:c\nT|k|1\nT|k|2;3\n"
                            "T|k|# no comment\n");
        assert_silent(&tree);
        tree_done(&tree);
}

/* Files of other systems, and files that end in the middle. */
static void test_line_ends(void) {
        Tree tree;

        tree_init(&tree);
        tree_put(&tree, "etc/x.conf", "[S]\r\nk=v\r\n\r\nl=w\r\n");
        assert_lines(&tree, "S|k|v\nS|l|w\n");
        assert_silent(&tree);
        tree_put(&tree, "etc/x.conf", "[S]\nk=v");
        assert_lines(&tree, "S|k|v\n");
        assert_silent(&tree);
        tree_put(&tree, "etc/x.conf", "[S]\nk=v\nl");
        assert_lines(&tree, "S|k|v\n");
        assert_warning(&tree, "x.conf:3:", "not a \"key=value\" line");
        tree_put(&tree, "etc/x.conf", "[S");
        assert_lines(&tree, "");
        assert_warning(&tree, "x.conf:1:", "not closed");
        tree_done(&tree);
}

/* inih would append such a line to the value before. */
static void test_continuation(void) {
        Tree tree;

        tree_init(&tree);
        tree_put(&tree, "etc/x.conf", "[S]\nk=v\n  l=w\n\tmore\nm=x\n");
        assert_lines(&tree, "S|k|v\nS|l|w\nS|m|x\n");
        assert_warning(&tree, "x.conf:4:", "not a \"key=value\" line");
        tree_done(&tree);
}

static void test_nul_bytes(void) {
        static const char text[] = "[S]\nk=v\0w\nl=x\n[T\0]\nm=y\n";
        Tree tree;

        tree_init(&tree);
        tree_put_bytes(&tree, "etc/x.conf", text, sizeof(text) - 1);
        assert_lines(&tree, "S|l|x\n|m|y\n");
        g_assert_nonnull(strstr(tree.log, "x.conf:2: the line has a NUL byte"));
        g_assert_nonnull(strstr(tree.log, "x.conf:4: the line has a NUL byte"));
        tree_done(&tree);
}

static void test_long_lines(void) {
        g_autofree char *fits = g_strnfill(197, 'v'), *too_long = g_strnfill(198, 'v'), *huge = g_strnfill(100000, 'v');
        g_autofree char *key = g_strnfill(49, 'k'), *long_key = g_strnfill(50, 'k');
        g_autofree char *text =
                        g_strdup_printf("[S]\nk=%s\nk=%s\nk=%s\n%s=1\n%s=2\nl=w\n", fits, too_long, huge, key, long_key);
        g_autofree char *expected = g_strdup_printf("S|k|%s\nS|%s|1\nS|l|w\n", fits, key);
        Tree tree;

        tree_init(&tree);
        tree_put(&tree, "etc/x.conf", text);
        assert_lines(&tree, expected);
        g_assert_nonnull(strstr(tree.log, "x.conf:3: the line is too long"));
        g_assert_nonnull(strstr(tree.log, "x.conf:4: the line is too long"));
        g_assert_nonnull(strstr(tree.log, "x.conf:6: the key is too long"));
        tree_done(&tree);
}

/* What follows a bad section must not end up in the one before. */
static void test_bad_sections(void) {
        static const struct {
                const char *line, *words;
        } bad[] = {
                { "[Quota uid:1", "not closed with ]" },
                { "[", "not closed with ]" },
                { "[01234567890123456789012345678901234567890123456789]", "section name is too long" },
                { "[Quota uid:1 ; why]", "has a ; in it" },
                { "[T] x=y", "something behind the section name" },
                { "[T]]", "something behind the section name" },
        };
        Tree tree;

        tree_init(&tree);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autofree char *text = g_strdup_printf("[S]\nk=v\n%s\nl=w\n[T]\nm=x\n", bad[i].line);

                tree_put(&tree, "etc/x.conf", text);
                assert_lines(&tree, "S|k|v\n|l|w\nT|m|x\n");
                assert_warning(&tree, "x.conf:3:", bad[i].words);
        }

        tree_put(&tree, "etc/x.conf", "[0123456789012345678901234567890123456789012345678]\nk=v\n");
        assert_lines(&tree, "0123456789012345678901234567890123456789012345678|k|v\n");
        assert_silent(&tree);
        tree_done(&tree);
}

/* A section ends with its file. */
static void test_section_ends(void) {
        Tree tree;

        tree_init(&tree);
        tree_put(&tree, "etc/x.conf", "[S]\nk=v\n");
        tree_put(&tree, "etc/x.conf.d/1.conf", "l=w\n");
        assert_lines(&tree, "S|k|v\n|l|w\n");
        tree_done(&tree);
}

/* The warning names file, line and reason; the lines after are read. */
static void test_refused_lines(void) {
        Tree tree;

        tree_init(&tree);
        tree.refuses = true;
        tree_put(&tree, "etc/x.conf.d/1.conf", "[S]\n\n\nk=v\n");
        assert_lines(&tree, "S|k|v\n");
        assert_warning(&tree, "etc/x.conf.d/1.conf:4: [S] k=v:", "it displeases");
        tree_done(&tree);
}

static void test_load(void) {
        Config *c;
        Tree tree;

        tree_init(&tree);
        tree_put(&tree, "etc/daxbroker.conf", "[Broker]\nDefaultRegion=fast\nNonsense=1\n[Region fast]\nProvider=memfd\n");
        tree_put(&tree, "etc/daxbroker.conf.d/1.conf", "[Region fast]\nSize=2G\nSize=nonsense\n[Quota]\nMaxAllocations=3\n");
        g_assert_true(g_setenv("CONFIGURATION_DIRECTORY", tree.first, TRUE));
        g_assert_cmpint(config_load(&c), ==, 0);
        g_assert_cmpstr(c->default_region, ==, "fast");
        g_assert_cmpstr(get_region(c, "fast")->size, ==, "2G");
        g_assert_nonnull(find_region(c, "dram"));
        g_assert_cmpuint(c->quotas->max_count, ==, 3);
        config_free(c);
        g_unsetenv("CONFIGURATION_DIRECTORY");
        tree_done(&tree);
}

static int on_path(const char *path, void *userdata) {
        g_string_append_printf(userdata, "%s\n", path);
        return strcmp(path, "/stop") == 0 ? -EBADF : 0;
}

/* The sandbox wants to know before anything else is done, and nothing is said twice. */
static void test_paths(void) {
        g_autoptr(GString) paths = g_string_new(NULL);
        int file = memfd_create("log", MFD_CLOEXEC), saved = dup(STDERR_FILENO);
        struct stat st;
        Tree tree;

        tree_init(&tree);
        tree_put(&tree, "etc/daxbroker.conf", "[Broker]\nPath=/broker\nNonsense=1\n[Region a]\nPath=/one\nPath=two\n");
        tree_put(&tree, "etc/daxbroker.conf.d/1.conf", "[Region b]\nPath=/three\nnonsense\n");
        g_assert_true(g_setenv("CONFIGURATION_DIRECTORY", tree.first, TRUE));
        g_assert_cmpint(dup2(file, STDERR_FILENO), >=, 0);
        g_assert_cmpint(config_each_path(on_path, paths), ==, 0);
        g_assert_cmpint(dup2(saved, STDERR_FILENO), >=, 0);
        g_assert_cmpstr(paths->str, ==, "/one\n/three\n");
        g_assert_cmpint(fstat(file, &st), ==, 0);
        g_assert_cmpint(st.st_size, ==, 0);

        tree_put(&tree, "etc/daxbroker.conf.d/0.conf", "[Region b]\nPath=/stop\n");
        g_string_truncate(paths, 0);
        g_assert_cmpint(config_each_path(on_path, paths), ==, -EBADF);
        g_assert_cmpstr(paths->str, ==, "/one\n/stop\n");
        g_unsetenv("CONFIGURATION_DIRECTORY");
        tree_done(&tree);
        close(file);
        close(saved);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/config/defaults", test_defaults);
        g_test_add_func("/config/broker", test_broker);
        g_test_add_func("/config/numbers", test_numbers);
        g_test_add_func("/config/quota", test_quota);
        g_test_add_func("/config/quota-scopes", test_quota_scopes);
        g_test_add_func("/config/regions", test_regions);
        g_test_add_func("/config/dax-regions", test_dax_regions);
        g_test_add_func("/config/directories", test_directories);
        g_test_add_func("/config/bools", test_bools);
        g_test_add_func("/config/sections", test_sections);
        g_test_add_func("/config/files/none", test_no_files);
        g_test_add_func("/config/files/precedence", test_precedence);
        g_test_add_func("/config/files/masks", test_masks);
        g_test_add_func("/config/files/others", test_other_files);
        g_test_add_func("/config/files/not-files", test_not_files);
        g_test_add_func("/config/lines/plain", test_plain_lines);
        g_test_add_func("/config/lines/ends", test_line_ends);
        g_test_add_func("/config/lines/continuation", test_continuation);
        g_test_add_func("/config/lines/nul-bytes", test_nul_bytes);
        g_test_add_func("/config/lines/long", test_long_lines);
        g_test_add_func("/config/lines/bad-sections", test_bad_sections);
        g_test_add_func("/config/lines/section-ends", test_section_ends);
        g_test_add_func("/config/lines/refused", test_refused_lines);
        g_test_add_func("/config/load", test_load);
        g_test_add_func("/config/paths", test_paths);
        return g_test_run();
}
