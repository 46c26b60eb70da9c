/* SPDX-License-Identifier: MIT */

#include "provider.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "names.h"

static const char *device_region(void) {
        const char *name = g_getenv("DAXBROKER_TEST_REGION");

        return name && name[0] != '\0' ? name : NULL;
}

bool provider_is_device(void) {
        return device_region();
}

uint64_t provider_page_size(void) {
        return provider_is_device() ? UINT64_C(2) << 20 : 4096;
}

unsigned provider_regions(unsigned regions) {
        return provider_is_device() ? regions + 1 : regions;
}

unsigned provider_stored_fds(void) {
        return provider_is_device() ? 2 : 1;
}

unsigned provider_rounds(unsigned rounds) {
        return provider_is_device() ? (rounds + 9) / 10 : rounds;
}

int64_t provider_patience(unsigned seconds) {
        return (provider_is_device() ? 5 : 1) * (int64_t) seconds * G_USEC_PER_SEC;
}

const char *provider_region(const char *region) {
        return device_region() && strcmp(region, "dram") == 0 ? device_region() : region;
}

char *provider_text(const char *text) {
        GString *translated = g_string_new(text);

        if (device_region()) {
                g_autofree char *single = g_strdup_printf("'%s'", device_region());
                g_autofree char *twice = g_strdup_printf("\"%s\"", device_region());
                g_autofree char *field = g_strdup_printf("REGION=%s ", device_region());
                char *path = NULL;

                g_assert_cmpint(sd_bus_path_encode(DAXBROKER_REGION_PATH, device_region(), &path), >=, 0);
                g_string_replace(translated, "'dram'", single, 0);
                g_string_replace(translated, "\"dram\"", twice, 0);
                g_string_replace(translated, "REGION=dram ", field, 0);
                g_string_replace(translated, DAXBROKER_REGION_PATH "/dram", path, 0);
                free(path);
        }
        return g_string_free(translated, FALSE);
}

/* Users trust each other, as far as recycling goes: a test that gives memory from one to another is not about that. The
 * region has the size it has, and stands where dram does, which is there without configuration and would be another one. */
char *provider_configuration(const char *text) {
        g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);
        GString *translated = g_string_new(NULL);
        bool in_section = false;

        if (!device_region())
                return g_string_free(g_string_append(translated, text ? text : ""), FALSE);

        g_string_append_printf(translated, "[Broker]\nDefaultRegion=%s\nPolkitTimeoutSec=60\n", device_region());
        g_string_append(translated, "[Region dram]\nEnabled=no\n");
        g_string_append_printf(translated, "[Region %s]\nProvider=devdax\nRecycle=any\n", device_region());
        for (char **line = lines; *line; line++) {
                if (**line == '[') {
                        in_section = g_str_equal(*line, "[Region dram]");
                        if (in_section) {
                                g_string_append_printf(translated, "[Region %s]\n", device_region());
                                continue;
                        }
                }
                if (!in_section || !g_str_has_prefix(*line, "Size="))
                        g_string_append_printf(translated, "%s\n", *line);
        }
        return g_string_free(translated, FALSE);
}
