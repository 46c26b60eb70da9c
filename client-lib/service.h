/* SPDX-License-Identifier: MIT */
#pragma once

#include "daxbroker.h"

#include <stdbool.h>

/* Whether this looks like the last part of an allocation's or grant's object: sixteen hexadecimal digits. */
bool service_is_allocation_id(const char *text);

/* The properties that an object has of one interface. */
int service_get_properties(daxbroker_client *client, const char *object, const char *interface, daxbroker_info **ret);
