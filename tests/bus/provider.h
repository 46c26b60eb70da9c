/* SPDX-License-Identifier: MIT */
#pragma once

/* The suite speaks of region dram. Where DAXBROKER_TEST_REGION names a dax region, it is run on that one instead: names and
 * configuration are translated on their way to the broker. What is different on devices by its nature is skipped there. */

#include <stdbool.h>
#include <stdint.h>

bool provider_is_device(void);

/* The region that a test means. Borrowed. */
const char *provider_region(const char *region);

/* A text in which a test speaks of it, in quotes, by its object's path or in a field of the log; g_free() it. */
char *provider_text(const char *text);

/* The configuration that a test means; g_free() it. text may be NULL. */
char *provider_configuration(const char *text);

/* How many regions there are, if a test means so many: dram stays one when it is not the one that is meant. */
unsigned provider_regions(unsigned regions);

/* The least there is to be had; all sizes are rounded up to it. */
uint64_t provider_page_size(void);

/* How many descriptors the service manager keeps of an allocation. */
unsigned provider_stored_fds(void);

/* So often, or where it takes much longer a tenth of it. */
unsigned provider_rounds(unsigned rounds);

/* What may take so many seconds, in microseconds: machines with devices are emulated. */
int64_t provider_patience(unsigned seconds);

/* In a test, first thing. */
#define skip_on_devices(why)                       \
        do {                                       \
                if (provider_is_device()) {        \
                        g_test_skip(why);          \
                        return;                    \
                }                                  \
        } while (false)
