/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/* A line "       Label: value" on standard output, made printable. */
void field_print(const char *label, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A size, for people and exactly. */
void field_print_size(const char *label, uint64_t size);
