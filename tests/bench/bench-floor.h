/* SPDX-License-Identifier: MIT */
#pragma once

/* The least that any service on this bus takes to hand out memory; see bench-floor.c. */

#include "user.h"

#define FLOOR_NAME "org.daxbroker1.Floor"
#define FLOOR_PATH "/org/daxbroker1/Floor"

/* For user_begin(); runs until it is killed. */
int64_t floor_serve(UserCall *call);
