/* SPDX-License-Identifier: MIT */
#pragma once

#include "daxbroker.h"

/* What a method of the service lists as names, objects and properties, page by page. */
int list_get_paged(daxbroker_client *client, const char *method, daxbroker_list **ret);
