/* SPDX-License-Identifier: MIT */
#pragma once

/* The broker as a service: starts everything in order, runs until it is told to stop, and stops everything in order.
 * Returns the exit status. */
int service_run(void);
