/* SPDX-License-Identifier: MIT */
#pragma once

#include "daxbroker.h"

#include <stdbool.h>

/* Calls in an event loop; see operation.c. */

/* When the earliest of those that wait to be sent again is due; UINT64_MAX for never. */
uint64_t operation_next_due(const daxbroker_client *client);

/* Sends one that is due. Returns whether there was one. May call a callback. */
bool operation_run_due(daxbroker_client *client);

/* The connection is lost, for that reason: those that can be made again wait for that, the others fail when
 * they are due, which is now. With -EMFILE all of them fail: another answer could be received no better. */
void operation_lose_all(daxbroker_client *client, int error);

/* Drops them, without calling callbacks. */
void operation_forget_all(daxbroker_client *client);
