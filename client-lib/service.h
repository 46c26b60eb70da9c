/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/* Whether this looks like the last part of an allocation's object: sixteen hexadecimal digits. */
bool service_is_allocation_id(const char *text);
