/* SPDX-License-Identifier: MIT */
#pragma once

#include "daxbroker.h"

#include <stdbool.h>
#include <systemd/sd-bus.h>

/* The properties of one object. All functions return a negative errno, without a sentence. */

int info_new(const char *object, daxbroker_info **ret);

/* Adds one property; the first of a name wins. */
int info_add_string(daxbroker_info *info, const char *name, const char *value);
int info_add_uint64(daxbroker_info *info, const char *name, uint64_t value);
int info_add_int64(daxbroker_info *info, const char *name, int64_t value);

/* Adds all properties of an a{sv} that comes next in the message. */
int info_add_message(daxbroker_info *info, sd_bus_message *message);
