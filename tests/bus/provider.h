/* SPDX-License-Identifier: MIT */
#pragma once

/* The suite speaks of region dram. Where DAXBROKER_TEST_REGION names a dax region, it is run on that one instead; where it
 * is "nvdimm:" and the name of a region of persistent memory, on namespaces of that; and where it is "fsdax:" and a
 * directory, on files in that (with Sync= as DAXBROKER_TEST_SYNC says, else none). Names and configuration are translated
 * on their way to the broker. What is different on devices or files by its nature is skipped there. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

bool provider_is_device(void);
bool provider_is_nvdimm(void); /* then it is a device, too */
bool provider_is_files(void);
bool provider_has_dax_files(void);
/* Whether it can keep contents, as files and namespaces do. */
bool provider_is_medium(void);
bool provider_zeroed_by_kernel(void);
/* Whether there are pages of 2 MiB. */
bool provider_has_huge_pages(void);

/* As configuration and rules call it. */
const char *provider_name(void);

/* A folder for the files of one broker, which belongs to this user; NULL if there are none. g_free() it when it is gone. */
char *provider_make_folder(uid_t uid);

/* The region that a test means. Borrowed. */
const char *provider_region(const char *region);

/* A text in which a test speaks of it, in quotes, by its object's path or in a field of the log; g_free() it. */
char *provider_text(const char *text);

/* The configuration that a test means; g_free() it. text may be NULL, and so may folder, where the files are. */
char *provider_configuration(const char *text, const char *folder);

/* How many regions there are, if a test means so many: dram stays one when it is not the one that is meant. */
unsigned provider_regions(unsigned regions);

/* The least there is to be had; all sizes are rounded up to it. */
uint64_t provider_page_size(void);

/* How many bytes somebody gets who asks for so many, and how many less are available then. */
uint64_t provider_length(uint64_t size);
uint64_t provider_taken(uint64_t size);

/* The longest that there is in so many bytes. */
uint64_t provider_largest(uint64_t bytes);

/* How many descriptors the service manager keeps of so many allocations; those of ordinary memory come in bundles. */
unsigned provider_stored_fds(unsigned allocations);

/* What a holder gets who opens his descriptor again: 0, or a negative errno. */
int provider_reopened(void);

/* Whether processors are emulated, as they are wherever there is memory for DAX. */
bool provider_is_slow(void);

/* So often, or where it takes much longer a tenth of it. */
unsigned provider_rounds(unsigned rounds);

/* What may take so many seconds, in microseconds. */
int64_t provider_patience(unsigned seconds);

/* In a test, first thing. */
#define skip_on_files(why)                         \
        do {                                       \
                if (provider_is_files()) {         \
                        g_test_skip(why);          \
                        return;                    \
                }                                  \
        } while (false)
#define skip_on_media(why)                         \
        do {                                       \
                if (provider_is_medium()) {        \
                        g_test_skip(why);          \
                        return;                    \
                }                                  \
        } while (false)
#define skip_on_nvdimm(why)                        \
        do {                                       \
                if (provider_is_nvdimm()) {        \
                        g_test_skip(why);          \
                        return;                    \
                }                                  \
        } while (false)
#define skip_on_small_pages(why)                   \
        do {                                       \
                if (!provider_has_huge_pages()) {  \
                        g_test_skip(why);          \
                        return;                    \
                }                                  \
        } while (false)
#define skip_on_devices(why)                       \
        do {                                       \
                if (provider_is_device()) {        \
                        g_test_skip(why);          \
                        return;                    \
                }                                  \
        } while (false)
