/* SPDX-License-Identifier: MIT */
#pragma once

#include "complaint.h"
#include "options.h"
#include "table.h"

#include <jansson.h>
#include <stdint.h>

/* Any string as JSON; what is not UTF-8 in it is replaced. NULL if out of memory. */
json_t *output_string(const char *text);

/* Any number as JSON, see output.c on large ones. NULL if out of memory. */
json_t *output_number(uint64_t number);

/* A moment as JSON, null if it is unknown. NULL if out of memory. */
json_t *output_moment(uint64_t usec);

/* The value as text, without a newline. NULL if out of memory or if the value is; free() it. */
char *output_dump(const json_t *value, JsonMode mode);

/* Prints a value, or a table, to standard output. A NULL value or table means that memory ran out when it
 * was made; that is told here. */
Status output_json(const json_t *value, JsonMode mode);
Status output_table(const Table *table, const Options *options);
