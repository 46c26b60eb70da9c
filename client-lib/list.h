/* SPDX-License-Identifier: MIT */
#pragma once

#include "daxbroker.h"

/* What a method of the service lists as names, objects and properties. */
int list_get(daxbroker_client *client, const char *method, daxbroker_list **ret);
