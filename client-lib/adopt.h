/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/* A decimal number, digits only. Errors: -EINVAL, -ERANGE. */
int adopt_parse_uint64(const char *text, uint64_t *ret);
