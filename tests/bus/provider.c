/* SPDX-License-Identifier: MIT */

#include "provider.h"

#include <glib.h>
#include <string.h>

static const char *device_region(void) {
        const char *name = g_getenv("DAXBROKER_TEST_REGION");

        return name && name[0] != '\0' ? name : NULL;
}

bool provider_is_device(void) {
        return device_region();
}

const char *provider_region(const char *region) {
        return device_region() && strcmp(region, "dram") == 0 ? device_region() : region;
}

/* Users trust each other, as far as recycling goes: a test that gives memory from one to another is not about that. The
 * region has the size it has. */
char *provider_configuration(const char *text) {
        g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);
        GString *translated = g_string_new(NULL);
        bool in_section = false;

        if (!device_region())
                return g_string_free(g_string_append(translated, text ? text : ""), FALSE);

        g_string_append_printf(translated, "[Broker]\nDefaultRegion=%s\nPolkitTimeoutSec=60\n", device_region());
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
