/* SPDX-License-Identifier: MIT */
#pragma once

#include "options.h"

#include <daxbroker.h>

/* The request that the options describe. Errors: ENOMEM, and what the library's setters say. */
int request_new(const Options *options, daxbroker_request **ret);
