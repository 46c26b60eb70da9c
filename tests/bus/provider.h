/* SPDX-License-Identifier: MIT */
#pragma once

/* The suite speaks of region dram. Where DAXBROKER_TEST_REGION names a dax region, it is run on that one instead: names and
 * configuration are translated on their way to the broker. What is different on devices by its nature is skipped there. */

#include <stdbool.h>

bool provider_is_device(void);

/* The region that a test means. Borrowed. */
const char *provider_region(const char *region);

/* The configuration that a test means; g_free() it. text may be NULL. */
char *provider_configuration(const char *text);

/* In a test, first thing. */
#define skip_on_devices(why)                       \
        do {                                       \
                if (provider_is_device()) {        \
                        g_test_skip(why);          \
                        return;                    \
                }                                  \
        } while (false)
