/* SPDX-License-Identifier: MIT */

/* The account of a region, and what happens to it when the configuration changes. */

#include "region.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "size.h"

static char memfd[] = "memfd", unknown[] = "punchcards", name[] = "r";

static RegionConfig config_of(char *size) {
        return (RegionConfig) { .name = name, .provider = memfd, .size = size, .numa_node = -1, .enabled = true };
}

static Region *region_of(const char *size) {
        g_autofree char *copy = g_strdup(size);
        RegionConfig config = config_of(copy);
        Region *region;

        g_assert_cmpint(region_new(&config, NULL, -EBADF, &region), ==, 0);
        return region;
}

static void assert_unusable(const RegionConfig *config, const char *words) {
        Failure failure = { 0 };
        Region *region;

        g_assert_cmpint(region_new(config, NULL, -EBADF, &region), ==, 0);
        g_assert_nonnull(region->reason);
        if (!strstr(region->reason, words))
                g_error("\"%s\" does not say \"%s\"", region->reason, words);
        g_assert_cmpuint(region_available(region), ==, 0);
        g_assert_cmpint(region_admit(region, 0, &failure), ==, -ENXIO);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_RegionUnusable);
        g_assert_nonnull(strstr(failure.text, region->reason));
        g_assert_null(region_free(region));
}

static void test_new(void) {
        Region *region = region_of("1M");

        g_assert_null(region->reason);
        g_assert_cmpuint(region->size, ==, MIB);
        g_assert_cmpuint(region_available(region), ==, MIB);
        g_assert_cmpuint(region->granularity, ==, (uint64_t) sysconf(_SC_PAGESIZE));
        g_assert_true(region->changed);
        region_free(region);
        g_assert_null(region_free(NULL));
}

static void test_unusable(void) {
        RegionConfig config = config_of(NULL);
        char latin[] = "\xe4";

        assert_unusable(&config, "no Size=");
        config.provider = NULL;
        assert_unusable(&config, "no Provider=");
        config.provider = unknown;
        assert_unusable(&config, "no provider 'punchcards'");
        config.enabled = false;
        assert_unusable(&config, "Enabled=no");

        /* A property must not keep the bus from sending all of them. */
        config.enabled = true;
        config.provider = latin;
        assert_unusable(&config, "no provider '?'");
}

static void test_sizes(void) {
        static const char *const bad[] = { "0", "1", "4095", "infinity", "1E", "16E", "many", "0%" };
        Region *region;

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autofree char *size = g_strdup(bad[i]);
                RegionConfig config = config_of(size);

                assert_unusable(&config, "Size=");
        }

        region = region_of("1048577");
        g_assert_cmpuint(region->size, ==, MIB);
        region_free(region);
        region = region_of("100%");
        g_assert_null(region->reason);
        region_free(region);
}

static void test_nodes(void) {
        char size[] = "1M";
        RegionConfig config = config_of(size);

        config.numa_node = 1023;
        assert_unusable(&config, "NumaNode=1023");
}

static void test_account(void) {
        Reservation a = { 0 }, b = { 0 };
        Region *region = region_of("1M");
        Failure failure = { 0 };

        g_assert_cmpint(region_admit(region, 0, &failure), ==, 0);
        g_assert_cmpint(region_admit(region, MIB, &failure), ==, 0);
        g_assert_cmpint(region_admit(region, MIB + 1, &failure), ==, -ENOSPC);
        g_assert_nonnull(strstr(failure.text, "1 MiB in all"));
        g_assert_cmpint(region_admit(region, UINT64_MAX, &failure), ==, -ENOSPC);

        region->changed = false;
        reservation_take(&a, region, MIB / 2);
        g_assert_true(region->changed);
        reservation_take(&b, region, MIB / 4);
        g_assert_cmpuint(region_available(region), ==, MIB / 4);
        g_assert_cmpuint(region->used, ==, 3 * MIB / 4);
        g_assert_cmpuint(region->n_reservations, ==, 2);
        g_assert_cmpint(region_admit(region, MIB / 4, &failure), ==, 0);
        g_assert_cmpint(region_admit(region, MIB / 4 + 1, &failure), ==, -ENOSPC);
        g_assert_cmpint(failure.refusal, ==, REFUSAL_NoSpace);
        g_assert_nonnull(strstr(failure.text, "256 KiB free of 1 MiB, 262145 bytes were asked for"));

        /* Ending is not free yet. */
        reservation_set_ending(&a, true);
        reservation_set_ending(&a, true);
        g_assert_cmpuint(region->ending, ==, MIB / 2);
        g_assert_cmpuint(region_available(region), ==, MIB / 4);
        g_assert_cmpint(region_admit(region, MIB / 2, &failure), ==, -ENOSPC);
        g_assert_nonnull(strstr(failure.text, "512 KiB were asked for; 512 KiB are on their way back"));

        region->changed = false;
        reservation_release(&a);
        g_assert_true(region->changed);
        g_assert_cmpuint(region->ending, ==, 0);
        g_assert_cmpuint(region->used, ==, MIB / 4);
        reservation_release(&a);
        reservation_set_ending(&a, true);
        g_assert_cmpuint(region->used, ==, MIB / 4);
        g_assert_cmpuint(region->ending, ==, 0);
        g_assert_cmpuint(region->n_reservations, ==, 1);

        reservation_release(&b);
        g_assert_cmpuint(region_available(region), ==, MIB);
        region_free(region);
}

/* A part of what is used, for as long as it is not taken. */
static void test_granted(void) {
        Reservation grant = { 0 }, other = { 0 };
        Region *region = region_of("1M");

        reservation_take(&other, region, MIB / 4);
        reservation_take(&grant, region, MIB / 2);
        g_assert_cmpuint(region->granted, ==, 0);
        reservation_set_granted(&grant);
        g_assert_cmpuint(region->granted, ==, MIB / 2);
        reservation_resize(&grant, MIB / 8);
        g_assert_cmpuint(region->granted, ==, MIB / 8);
        reservation_resize(&grant, 0);
        g_assert_cmpuint(region->granted, ==, 0);
        reservation_resize(&grant, MIB / 4);
        reservation_release(&other);
        g_assert_cmpuint(region->granted, ==, MIB / 4);
        reservation_release(&grant);
        g_assert_cmpuint(region->granted, ==, 0);
        g_assert_cmpuint(region_available(region), ==, MIB);
        region_free(region);
}

/* What a record says is used is used, also where the region has become smaller. */
static void test_more_than_there_is(void) {
        Reservation a = { 0 }, b = { 0 };
        Region *region = region_of("1M");
        Failure failure = { 0 };

        reservation_take(&a, region, MIB);
        reservation_take(&b, region, MIB);
        g_assert_cmpuint(region_available(region), ==, 0);
        g_assert_cmpint(region_admit(region, 1, &failure), ==, -ENOSPC);
        g_assert_cmpint(region_admit(region, 0, &failure), ==, 0);
        reservation_release(&a);
        g_assert_cmpuint(region_available(region), ==, 0);
        reservation_release(&b);
        g_assert_cmpuint(region_available(region), ==, MIB);
        region_free(region);
}

static void test_reconfigure(void) {
        char small[] = "512K", large[] = "2M", bad[] = "0";
        RegionConfig config = config_of(small);
        Reservation reservation = { 0 };
        Region *region = region_of("1M");

        reservation_take(&reservation, region, 768 * KIB);

        g_assert_cmpint(region_configure(region, &config), ==, 0);
        g_assert_null(region->reason);
        g_assert_cmpuint(region->size, ==, 512 * KIB);
        g_assert_cmpuint(region_available(region), ==, 0);

        config.size = large;
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        g_assert_cmpuint(region_available(region), ==, 2 * MIB - 768 * KIB);

        /* A mistake costs nothing but what would be new. */
        config.size = bad;
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        g_assert_nonnull(region->reason);
        g_assert_cmpuint(region_available(region), ==, 0);
        g_assert_cmpuint(region->used, ==, 768 * KIB);
        g_assert_cmpuint(region->size, ==, 2 * MIB);

        config.size = large;
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        g_assert_null(region->reason);
        g_assert_cmpuint(region_available(region), ==, 2 * MIB - 768 * KIB);

        config.enabled = false;
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        g_assert_cmpuint(region_available(region), ==, 0);
        reservation_release(&reservation);
        g_assert_cmpuint(region->used, ==, 0);
        region_free(region);
}

static void test_unconfigured(void) {
        Reservation reservation = { 0 };
        char size[] = "1M";
        RegionConfig config = config_of(size);
        Region *region;

        g_assert_cmpint(region_new_unconfigured("old", &provider_memfd, -EBADF, &region), ==, 0);
        g_assert_cmpstr(region->name, ==, "old");
        g_assert_nonnull(region->reason);
        reservation_take(&reservation, region, GIB);
        g_assert_cmpuint(region_available(region), ==, 0);

        /* It comes back. */
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        g_assert_null(region->reason);
        g_assert_cmpuint(region_available(region), ==, 0);
        reservation_release(&reservation);
        g_assert_cmpuint(region_available(region), ==, MIB);
        region_free(region);
}

static void test_warm(void) {
        char size[] = "8M", part[] = "50%", bytes[] = "3M", much[] = "1G", none[] = "0";
        RegionConfig config = config_of(size);
        Region *region = region_of("8M");

        g_assert_cmpuint(region->warm.limit, ==, 0);
        config.warm = part;
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        g_assert_cmpuint(region->warm.limit, ==, 4 * MIB);
        config.warm = bytes;
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        g_assert_cmpuint(region->warm.limit, ==, 3 * MIB);
        /* no more than there is */
        config.warm = much;
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        g_assert_cmpuint(region->warm.limit, ==, 8 * MIB);
        region_disable(region, "for a moment");
        g_assert_cmpuint(region->warm.limit, ==, 0);
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        g_assert_cmpuint(region->warm.limit, ==, 8 * MIB);
        config.warm = none;
        g_assert_cmpint(region_configure(region, &config), ==, 0);
        g_assert_cmpuint(region->warm.limit, ==, 0);
        region_free(region);
}

static void test_disable(void) {
        Region *region = region_of("1M");

        region_disable(region, "first");
        region_disable(region, "second");
        g_assert_cmpstr(region->reason, ==, "second");
        region_free(region);
}

static void test_providers(void) {
        g_assert_true(provider_find("memfd") == &provider_memfd);
        g_assert_null(provider_find(""));
        g_assert_null(provider_find("memfd "));
        g_assert_null(provider_find("MEMFD"));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/region/new", test_new);
        g_test_add_func("/region/unusable", test_unusable);
        g_test_add_func("/region/sizes", test_sizes);
        g_test_add_func("/region/nodes", test_nodes);
        g_test_add_func("/region/account", test_account);
        g_test_add_func("/region/granted", test_granted);
        g_test_add_func("/region/more-than-there-is", test_more_than_there_is);
        g_test_add_func("/region/reconfigure", test_reconfigure);
        g_test_add_func("/region/unconfigured", test_unconfigured);
        g_test_add_func("/region/warm", test_warm);
        g_test_add_func("/region/disable", test_disable);
        g_test_add_func("/region/providers", test_providers);
        return g_test_run();
}
