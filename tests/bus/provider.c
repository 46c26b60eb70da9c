/* SPDX-License-Identifier: MIT */

#include "provider.h"

#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "names.h"

/* Descriptors of ordinary memory that are stored as one. */
#define BUNDLE_MAX 128

#define FILES "fsdax:"
#define FILES_REGION "files"

bool provider_is_files(void) {
        const char *name = g_getenv("DAXBROKER_TEST_REGION");

        return name && g_str_has_prefix(name, FILES);
}

static const char *other_region(void) {
        const char *name = g_getenv("DAXBROKER_TEST_REGION");

        if (provider_is_files())
                return FILES_REGION;
        return name && name[0] != '\0' ? name : NULL;
}

bool provider_is_device(void) {
        return other_region() && !provider_is_files();
}

char *provider_make_folder(uid_t uid) {
        char *path;

        if (!provider_is_files())
                return NULL;

        path = g_build_filename(g_getenv("DAXBROKER_TEST_REGION") + strlen(FILES), "broker-XXXXXX", NULL);
        g_assert_nonnull(g_mkdtemp_full(path, 0700));
        g_assert_cmpint(chown(path, uid, (gid_t) -1), ==, 0);
        return path;
}

uint64_t provider_page_size(void) {
        return provider_is_device() ? UINT64_C(2) << 20 : 4096;
}

unsigned provider_regions(unsigned regions) {
        return other_region() ? regions + 1 : regions;
}

unsigned provider_stored_fds(unsigned allocations) {
        return provider_is_device() ? 2 * allocations
               : provider_is_files() ? 0
                                     : (allocations + BUNDLE_MAX - 1) / BUNDLE_MAX;
}

int provider_reopened(void) {
        return provider_is_device() || provider_is_files() ? -EACCES : 0;
}

unsigned provider_rounds(unsigned rounds) {
        return provider_is_device() ? (rounds + 9) / 10 : rounds;
}

int64_t provider_patience(unsigned seconds) {
        return (provider_is_device() ? 5 : 1) * (int64_t) seconds * G_USEC_PER_SEC;
}

const char *provider_region(const char *region) {
        return other_region() && strcmp(region, "dram") == 0 ? other_region() : region;
}

char *provider_text(const char *text) {
        GString *translated = g_string_new(text);

        if (other_region()) {
                g_autofree char *single = g_strdup_printf("'%s'", other_region());
                g_autofree char *twice = g_strdup_printf("\"%s\"", other_region());
                g_autofree char *field = g_strdup_printf("REGION=%s ", other_region());
                char *path = NULL;

                g_assert_cmpint(sd_bus_path_encode(DAXBROKER_REGION_PATH, other_region(), &path), >=, 0);
                g_string_replace(translated, "'dram'", single, 0);
                g_string_replace(translated, "\"dram\"", twice, 0);
                g_string_replace(translated, "REGION=dram ", field, 0);
                g_string_replace(translated, DAXBROKER_REGION_PATH "/dram", path, 0);
                free(path);
        }
        return g_string_free(translated, FALSE);
}

/* Users trust each other, as far as recycling goes: a test that gives memory from one to another is not about that. A dax
 * region has the size it has. Either stands where dram does, which is there without configuration and would be another
 * one. */
char *provider_configuration(const char *text, const char *folder) {
        g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);
        const char *sync = g_getenv("DAXBROKER_TEST_SYNC");
        GString *translated = g_string_new(NULL);
        bool in_section = false;

        if (!other_region())
                return g_string_free(g_string_append(translated, text ? text : ""), FALSE);

        g_string_append_printf(translated, "[Broker]\nDefaultRegion=%s\n", other_region());
        if (!folder)
                g_string_append(translated, "PolkitTimeoutSec=60\n");
        g_string_append(translated, "[Region dram]\nEnabled=no\n");
        if (folder)
                g_string_append_printf(translated, "[Region %s]\nProvider=fsdax\nPath=%s\nSync=%s\nSize=25%%\n",
                                       other_region(), folder, sync ? sync : "none");
        else
                g_string_append_printf(translated, "[Region %s]\nProvider=devdax\nRecycle=any\n", other_region());
        for (char **line = lines; *line; line++) {
                if (**line == '[') {
                        in_section = g_str_equal(*line, "[Region dram]");
                        if (in_section) {
                                g_string_append_printf(translated, "[Region %s]\n", other_region());
                                continue;
                        }
                }
                if (!in_section || folder || !g_str_has_prefix(*line, "Size="))
                        g_string_append_printf(translated, "%s\n", *line);
        }
        return g_string_free(translated, FALSE);
}
