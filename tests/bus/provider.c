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
#define FILES_REGION "directory"
#define NVDIMM "nvdimm:"

#define KIB (UINT64_C(1) << 10)
#define PAGE (UINT64_C(2) << 20)
/* The kernel makes namespaces of so many bytes, or several times that. */
#define SPACE (UINT64_C(16) << 20)

static bool begins_with(const char *prefix) {
        const char *name = g_getenv("DAXBROKER_TEST_REGION");

        return name && g_str_has_prefix(name, prefix);
}

static const char *sync_mode(void) {
        const char *name = g_getenv("DAXBROKER_TEST_SYNC");

        return name ? name : "none";
}

bool provider_is_files(void) {
        return begins_with(FILES);
}

bool provider_has_dax_files(void) {
        return provider_is_files() && g_str_equal(sync_mode(), "dax");
}

bool provider_has_huge_pages(void) {
        return !provider_is_files() || provider_has_dax_files();
}

bool provider_is_nvdimm(void) {
        return begins_with(NVDIMM);
}

bool provider_is_medium(void) {
        return provider_is_files() || provider_is_nvdimm();
}

static const char *other_region(void) {
        const char *name = g_getenv("DAXBROKER_TEST_REGION");

        if (provider_is_files())
                return FILES_REGION;
        if (provider_is_nvdimm())
                return name + strlen(NVDIMM);
        return name && name[0] != '\0' ? name : NULL;
}

bool provider_zeroed_by_kernel(void) {
        return !other_region();
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
        return provider_is_device() ? PAGE : 4096;
}

const char *provider_name(void) {
        return provider_is_files() ? "fsdax" : provider_is_nvdimm() ? "nvdimm" : other_region() ? "devdax" : "memfd";
}

static uint64_t round_up(uint64_t size, uint64_t unit) {
        return (size + unit - 1) / unit * unit;
}

/* What the kernel knows of the pages of a namespace lies in front of them. */
static uint64_t page_map(uint64_t space) {
        return round_up(8 * KIB + (space - 8 * KIB) / 4096 * 64, PAGE);
}

uint64_t provider_taken(uint64_t size) {
        uint64_t space = round_up(size, SPACE);

        if (!provider_is_nvdimm())
                return provider_length(size);
        while (space - page_map(space) < size)
                space += SPACE;
        return space;
}

uint64_t provider_length(uint64_t size) {
        if (provider_is_nvdimm())
                return provider_taken(size) - page_map(provider_taken(size));
        return round_up(size, provider_page_size());
}

uint64_t provider_largest(uint64_t bytes) {
        return provider_is_nvdimm() ? bytes - page_map(bytes) : bytes;
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

bool provider_is_slow(void) {
        return provider_is_device() || provider_has_dax_files();
}

unsigned provider_rounds(unsigned rounds) {
        return provider_is_slow() ? (rounds + 9) / 10 : rounds;
}

int64_t provider_patience(unsigned seconds) {
        return (provider_is_slow() ? 5 : 1) * (int64_t) seconds * G_USEC_PER_SEC;
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
        GString *translated = g_string_new(NULL);
        bool in_section = false;

        if (!other_region())
                return g_string_free(g_string_append(translated, text ? text : ""), FALSE);

        g_string_append_printf(translated, "[Broker]\nDefaultRegion=%s\n", other_region());
        if (provider_is_slow())
                g_string_append(translated, "PolkitTimeoutSec=60\n");
        if (folder || provider_is_nvdimm()) /* there may be other memory as well */
                g_string_append(translated, "DiscoverDax=no\n");
        g_string_append(translated, "[Region dram]\nEnabled=no\n");
        if (folder)
                g_string_append_printf(translated, "[Region %s]\nProvider=fsdax\nPath=%s\nSync=%s\nSize=25%%\n",
                                       other_region(), folder, sync_mode());
        else
                g_string_append_printf(translated, "[Region %s]\nProvider=%s\nRecycle=any\n", other_region(),
                                       provider_name());
        for (char **line = lines; *line; line++) {
                if (**line == '[') {
                        in_section = g_str_equal(*line, "[Region dram]");
                        if (in_section) {
                                g_string_append_printf(translated, "[Region %s]\n", other_region());
                                continue;
                        }
                }
                if (g_str_equal(*line, "Sync=none") && folder) /* where there are others, they are of that kind, too */
                        g_string_append_printf(translated, "Sync=%s\n", sync_mode());
                else if (!in_section || folder || !g_str_has_prefix(*line, "Size="))
                        g_string_append_printf(translated, "%s\n", *line);
        }
        return g_string_free(translated, FALSE);
}
