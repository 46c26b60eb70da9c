/* SPDX-License-Identifier: MIT */
#pragma once

/* What a broker has at one moment: to find out whether something was left over later. */

#include "broker.h"
#include "user.h"

typedef struct Footprint {
        uint64_t available; /* of region dram */
        unsigned fds, files, stored;
} Footprint;

/* Nothing may be under way. */
Footprint footprint_take(Broker *broker);
/* Waits until the broker has again what it had. Fails the test if that does not come to pass within 30 seconds. */
void footprint_assert_back(Broker *broker, const Footprint *before);

/* Fails the test unless free and handed out bytes of region dram are all there are; user has to be root. */
void footprint_assert_sums(User *root);
/* What region dram has left. With ordinary memory it has to be so now: whoever is told that something has ended may count on
 * it. A device comes back only when it has been let go of and is clean, which is waited for. */
void footprint_assert_available(uint64_t bytes);
