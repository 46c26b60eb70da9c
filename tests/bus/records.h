/* SPDX-License-Identifier: MIT */
#pragma once

/* The record of an allocation, wherever the provider that is tested keeps it: in a file below the broker's runtime or state
 * directory, or in an attribute of the memory itself. */

#include "broker.h"
#include "calls.h"

/* Of a file that is an allocation. */
#define RECORD_ATTRIBUTE "user.daxbroker.record"

/* g_free() it. */
char *broker_get_record(Broker *broker, const Reply *reply);
/* As the broker would have written it, of so many bytes. */
void broker_set_record(Broker *broker, const Reply *reply, const char *text, size_t length);
