/* SPDX-License-Identifier: MIT */

#include "footprint.h"

#include <glib.h>

#include "calls.h"
#include "provider.h"
#include "world.h"

#define PATIENCE_SEC 30

Footprint footprint_take(Broker *broker) {
        return (Footprint) {
                .available = region_get("dram", "Available"),
                .fds = broker_count_fds(broker),
                .files = broker_count_runtime_files(broker),
                .stored = service_manager_count_fds(broker->manager, NULL),
        };
}

static bool is_back(Broker *broker, const Footprint *before, Footprint *now) {
        *now = footprint_take(broker);
        /* what a broker has open in advance for devices comes and goes */
        return now->available == before->available && now->files == before->files && now->stored == before->stored &&
                        (provider_is_device() ? now->fds <= before->fds : now->fds == before->fds);
}

void footprint_assert_back(Broker *broker, const Footprint *before) {
        Footprint now;

        if (wait_until(PATIENCE_SEC, is_back(broker, before, &now)))
                return;

        broker_print_log(broker);
        if (now.files != before->files)
                broker_print_runtime_files(broker);
        g_error("Something was left over: %" G_GUINT64_FORMAT " bytes available (%" G_GUINT64_FORMAT " before), "
                "%u descriptors (%u), %u files (%u), %u stored descriptors (%u)",
                now.available, before->available, now.fds, before->fds, now.files, before->files, now.stored,
                before->stored);
}

/* At one moment: what ends in between would count twice or not at all. */
static uint64_t sum_up(User *root) {
        uint64_t available, sum;

        do {
                available = region_get("dram", "Available");
                sum = user_sum(root, NULL);
        } while (region_get("dram", "Available") != available);
        return available + sum;
}

void footprint_assert_sums(User *root) {
        uint64_t size = region_get("dram", "Size");

        /* devices that have ended go while we look */
        if (provider_is_device())
                (void) wait_until(PATIENCE_SEC, sum_up(root) == size);
        g_assert_cmpuint(sum_up(root), ==, size);
}

void footprint_assert_available(uint64_t bytes) {
        if (provider_is_device())
                (void) region_wait("dram", "Available", bytes);
        g_assert_cmpuint(region_get("dram", "Available"), ==, bytes);
}
